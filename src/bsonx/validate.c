/* validate.c - the one gate that BSON from outside passes: afterwards it is read without checks.
 *
 * Checked: every length against the bytes that are left, terminators, UTF-8 of keys and strings, known types, booleans that are 0 or 1,
 * nesting. Not checked: duplicate names, array names (readers never look at them), sub-types of binary data; all of these may be stored.
 */
#include "base/text.h"
#include "bsonx_priv.h"

enum { DOC_MIN = 5 };

struct reader {
    const uint8_t *p, *end;
    int depth_left;
};

static RC check_doc(struct reader *r, struct err *e);

static RC bad(const char *what, struct err *e)
{
    FAIL(e, ERR_INVALID_BSON, "invalid BSON: %s", what);
}

static bool is_utf8(struct slice s)
{
    size_t i = 0;

    for (; i + 8 <= s.len; i += 8) { /* plain ASCII, eight bytes at a time */
        if (get_le64(s.p + i) & 0x8080808080808080ull)
            break;
    }
    return utf8_valid(SLICE(s.p + i, s.len - i));
}

static RC skip(struct reader *r, size_t n, struct err *e)
{
    if ((size_t)(r->end - r->p) < n)
        return bad("a value runs past the end of its document", e);
    r->p += n;
    return RC_OK;
}

static RC check_cstring(struct reader *r, struct err *e)
{
    const uint8_t *nul = memchr(r->p, 0, (size_t)(r->end - r->p));

    if (!nul)
        return bad("a name has no terminator", e);
    if (!is_utf8(SLICE(r->p, nul - r->p)))
        return bad("a name is not UTF-8", e);
    r->p = nul + 1;
    return RC_OK;
}

static RC read_len(struct reader *r, uint32_t *len, struct err *e)
{
    *len = 0;
    if (r->end - r->p < 4)
        return bad("a length runs past the end of its document", e);
    *len = get_le32(r->p);
    if (*len > INT32_MAX)
        return bad("a length is negative", e);
    r->p += 4;
    return RC_OK;
}

static RC check_string(struct reader *r, struct err *e)
{
    uint32_t len;

    TRY(read_len(r, &len, e));
    if (len < 1 || (size_t)(r->end - r->p) < len)
        return bad("a string runs past the end of its document", e);
    if (r->p[len - 1] != 0)
        return bad("a string has no terminator", e);
    if (!is_utf8(SLICE(r->p, len - 1)))
        return bad("a string is not UTF-8", e);
    r->p += len;
    return RC_OK;
}

static RC check_binary(struct reader *r, struct err *e)
{
    uint32_t len;

    TRY(read_len(r, &len, e));
    if ((size_t)(r->end - r->p) < (size_t)len + 1)
        return bad("binary data runs past the end of its document", e);
    if (r->p[0] == 2 && (len < 4 || get_le32(r->p + 1) != len - 4))
        return bad("binary data of sub-type 2 has a wrong inner length", e);
    r->p += (size_t)len + 1;
    return RC_OK;
}

static RC check_code_w_scope(struct reader *r, struct err *e)
{
    const uint8_t *start = r->p, *outer = r->end;
    uint32_t len;

    TRY(read_len(r, &len, e));
    if (len < 4 + 5 + DOC_MIN || (size_t)(outer - start) < len)
        return bad("code with scope has a wrong length", e);
    r->end = start + len;
    TRY(check_string(r, e));
    TRY(check_doc(r, e));
    if (r->p != r->end)
        return bad("code with scope has a wrong length", e);
    r->end = outer;
    return RC_OK;
}

static RC check_value(struct reader *r, uint8_t type, struct err *e)
{
    switch (type) {
    case BT_DOUBLE:
    case BT_DATE:
    case BT_TIMESTAMP:
    case BT_INT64: return skip(r, 8, e);
    case BT_INT32: return skip(r, 4, e);
    case BT_OBJECT_ID: return skip(r, 12, e);
    case BT_DECIMAL128: return skip(r, 16, e);
    case BT_STRING:
    case BT_CODE:
    case BT_SYMBOL: return check_string(r, e);
    case BT_DOCUMENT:
    case BT_ARRAY: return check_doc(r, e);
    case BT_BINARY: return check_binary(r, e);
    case BT_CODE_W_SCOPE: return check_code_w_scope(r, e);
    case BT_BOOL:
        if (r->p < r->end && *r->p > 1)
            return bad("a boolean is neither 0 nor 1", e);
        return skip(r, 1, e);
    case BT_DB_POINTER: TRY(check_string(r, e)); return skip(r, 12, e);
    case BT_REGEX: TRY(check_cstring(r, e)); return check_cstring(r, e);
    case BT_UNDEFINED:
    case BT_NULL:
    case BT_MIN_KEY:
    case BT_MAX_KEY: return RC_OK;
    default: return bad("unknown type", e);
    }
}

/* check_doc(): the document at r->p, which must fit before r->end; leaves r->p behind it. */
static RC check_doc(struct reader *r, struct err *e)
{
    const uint8_t *start = r->p, *outer = r->end;
    uint32_t len;

    if (r->depth_left == 0)
        FAIL(e, ERR_OVERFLOW, "the document is nested too deeply");
    TRY(read_len(r, &len, e));
    if (len < DOC_MIN || (size_t)(outer - start) < len)
        return bad("a document has a wrong length", e);
    if (start[len - 1] != 0)
        return bad("a document has no terminator", e);
    r->end = start + len - 1;
    r->depth_left--;
    while (r->p < r->end) {
        uint8_t type = *r->p++;

        TRY(check_cstring(r, e));
        TRY(check_value(r, type, e));
    }
    r->depth_left++;
    r->p = start + len;
    r->end = outer;
    return RC_OK;
}

RC bdoc_validate(const void *p, size_t len, int max_depth, struct bdoc *out, struct err *e)
{
    struct reader r = { .p = p, .end = (const uint8_t *)p + len, .depth_left = max_depth };

    *out = BDOC_EMPTY;
    TRY(check_doc(&r, e));
    *out = (struct bdoc){ .p = p, .len = (uint32_t)(r.p - (const uint8_t *)p) };
    return RC_OK;
}
