/* json_in.c - Extended JSON (version 2, canonical and relaxed) to BSON, for tests and tools.
 *
 * Beyond JSON it takes what makes tests readable: names without quotes and strings in single quotes. The old forms {$regex, $options} and
 * {$type} stay plain documents, because they are query operators.
 */
#include <ctype.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "bsonx/dec.h"
#include "bsonx_priv.h"

enum { JSON_DEPTH_MAX = 220, NUMBER_MAX = 64 };

struct json {
    const char *p, *end;
    int depth;
    struct arena *a;
    struct bw w;
};

static RC value(struct json *j, const char *name, struct err *e);

static RC bad(const struct json *j, const char *what, struct err *e)
{
    FAIL(e, ERR_FAILED_TO_PARSE, "cannot read JSON: %s (%zu bytes before the end)", what,
         (size_t)(j->end - j->p));
}

static void space(struct json *j)
{
    while (j->p < j->end && isspace((unsigned char)*j->p))
        j->p++;
}

static bool accept(struct json *j, char c)
{
    space(j);
    if (j->p == j->end || *j->p != c)
        return false;
    j->p++;
    return true;
}

static RC expect(struct json *j, char c, struct err *e)
{
    char what[] = "expected ' '";

    what[10] = c;
    return accept(j, c) ? RC_OK : bad(j, what, e);
}

static void push_utf8(struct buf *b, uint32_t c)
{
    if (c < 0x80) {
        buf_push_u8(b, (uint8_t)c);
    } else if (c < 0x800) {
        buf_push_u8(b, (uint8_t)(0xc0 | c >> 6));
        buf_push_u8(b, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_push_u8(b, (uint8_t)(0xe0 | c >> 12));
        buf_push_u8(b, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_push_u8(b, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        buf_push_u8(b, (uint8_t)(0xf0 | c >> 18));
        buf_push_u8(b, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        buf_push_u8(b, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        buf_push_u8(b, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

static bool hex4(struct json *j, uint32_t *out)
{
    *out = 0;
    if (j->end - j->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = j->p[i];

        if (!isxdigit((unsigned char)c))
            return false;
        *out = *out << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    j->p += 4;
    return true;
}

static RC escape(struct json *j, struct buf *b, struct err *e)
{
    static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
    uint32_t c, low;

    if (j->p == j->end)
        return bad(j, "a string has no end", e);
    char k = *j->p++;
    const char *at = k ? strchr(from, k) : NULL;

    if (at) {
        buf_push_u8(b, (uint8_t)to[at - from]);
        return RC_OK;
    }
    if (k != 'u' || !hex4(j, &c))
        return bad(j, "unknown escape", e);
    if (c >= 0xd800 && c < 0xdc00) {
        if (j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
            return bad(j, "half a surrogate pair", e);
        j->p += 2;
        if (!hex4(j, &low) || low < 0xdc00 || low > 0xdfff)
            return bad(j, "half a surrogate pair", e);
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c < 0xe000) {
        return bad(j, "half a surrogate pair", e);
    }
    push_utf8(b, c);
    return RC_OK;
}

static RC quoted_into(struct json *j, struct buf *b, struct err *e)
{
    char quote = *j->p++;

    while (j->p < j->end && *j->p != quote) {
        char c = *j->p++;

        if (c == '\\')
            TRY(escape(j, b, e));
        else
            buf_push_u8(b, (uint8_t)c);
    }
    if (j->p == j->end)
        return bad(j, "a string has no end", e);
    j->p++;
    if (!utf8_valid(buf_view(b)))
        return bad(j, "a string is not UTF-8", e);
    return RC_OK;
}

static bool at_quote(struct json *j)
{
    space(j);
    return j->p < j->end && (*j->p == '"' || *j->p == '\'');
}

static RC string(struct json *j, struct slice *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    *out = SLICE_EMPTY;
    if (!at_quote(j))
        return bad(j, "expected a string", e);
    TRY(quoted_into(j, &b, e));
    *out = SLICE(arena_strndup(j->a, (const char *)b.p, b.len), b.len);
    return RC_OK;
}

/* key(): a quoted string or a bare name; NUL-terminated in the arena. */
static RC key(struct json *j, const char **out, struct err *e)
{
    struct slice s;

    *out = "";
    if (at_quote(j)) {
        TRY(string(j, &s, e));
        if (memchr(s.p, 0, s.len))
            return bad(j, "a name holds a NUL byte", e);
        *out = (const char *)s.p;
        return RC_OK;
    }
    const char *start = j->p;

    while (j->p < j->end &&
           (isalnum((unsigned char)*j->p) || *j->p == '_' || *j->p == '$' || *j->p == '.'))
        j->p++;
    if (j->p == start)
        return bad(j, "expected a name", e);
    *out = arena_strndup(j->a, start, (size_t)(j->p - start));
    return RC_OK;
}

static bool word(struct json *j, const char *w)
{
    size_t len = strlen(w);

    space(j);
    if ((size_t)(j->end - j->p) < len || memcmp(j->p, w, len) != 0)
        return false;
    if ((size_t)(j->end - j->p) > len && isalnum((unsigned char)j->p[len]))
        return false;
    j->p += len;
    return true;
}

static RC number(struct json *j, const char *name, struct err *e)
{
    const char *start = j->p;
    bool whole = true;
    int64_t i;
    double d;

    if (j->p < j->end && *j->p == '-')
        j->p++;
    for (; j->p < j->end && (isalnum((unsigned char)*j->p) || strchr("+-.", *j->p)); j->p++) {
        if (!isdigit((unsigned char)*j->p))
            whole = false;
    }
    struct slice s = SLICE(start, j->p - start);

    if (whole && text_i64(s, &i)) {
        if (i >= INT32_MIN && i <= INT32_MAX)
            bw_i32(&j->w, name, (int32_t)i);
        else
            bw_i64(&j->w, name, i);
        return RC_OK;
    }
    if (s.len == 0 || s.len > NUMBER_MAX || !text_f64(s, &d))
        return bad(j, "not a value", e);
    bw_double(&j->w, name, d);
    return RC_OK;
}

/* ---- wrappers: {"$oid": "..."} and its kind ---- */

static RC wrap_oid(struct json *j, const char *name, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct slice s;

    TRY(string(j, &s, e));
    if (!hex_decode(s, &b) || b.len != 12)
        return bad(j, "$oid takes 24 hexadecimal digits", e);
    bw_oid(&j->w, name, b.p);
    return RC_OK;
}

static RC wrap_number(struct json *j, const char *name, const char *kind, struct err *e)
{
    struct slice s;
    struct dec128 dec;
    int64_t i;
    double d;

    TRY(string(j, &s, e));
    if (strcmp(kind, "$numberDecimal") == 0) {
        if (!dec_from_str(s, &dec, NULL))
            return bad(j, "not a decimal", e);
        bw_val(&j->w, name, bval_new_dec(j->a, dec));
    } else if (strcmp(kind, "$numberDouble") == 0) {
        if (slice_eq_str(s, "NaN"))
            d = __builtin_nan("");
        else if (slice_eq_str(s, "Infinity"))
            d = __builtin_inf();
        else if (slice_eq_str(s, "-Infinity"))
            d = -__builtin_inf();
        else if (!text_f64(s, &d))
            return bad(j, "not a double", e);
        bw_double(&j->w, name, d);
    } else if (!text_i64(s, &i)) {
        return bad(j, "not an integer", e);
    } else if (strcmp(kind, "$numberLong") == 0) {
        bw_i64(&j->w, name, i);
    } else {
        if (i < INT32_MIN || i > INT32_MAX)
            return bad(j, "not a 32-bit integer", e);
        bw_i32(&j->w, name, (int32_t)i);
    }
    return RC_OK;
}

static RC wrap_date(struct json *j, const char *name, struct err *e)
{
    struct tm tm = { 0 };
    struct slice s;
    int64_t ms;

    if (accept(j, '{')) {
        const char *k;

        TRY(key(j, &k, e));
        if (strcmp(k, "$numberLong") != 0)
            return bad(j, "$date takes a string or {$numberLong}", e);
        TRY(expect(j, ':', e));
        TRY(string(j, &s, e));
        if (!text_i64(s, &ms))
            return bad(j, "not an integer", e);
        bw_date(&j->w, name, ms);
        return expect(j, '}', e);
    }
    TRY(string(j, &s, e));
    const char *rest = strptime((const char *)s.p, "%Y-%m-%dT%H:%M:%S", &tm);
    int milli = 0;

    if (rest && *rest == '.' && isdigit((unsigned char)rest[1]) &&
        isdigit((unsigned char)rest[2]) && isdigit((unsigned char)rest[3])) {
        milli = (rest[1] - '0') * 100 + (rest[2] - '0') * 10 + (rest[3] - '0');
        rest += 4;
    }
    if (!rest || strcmp(rest, "Z") != 0)
        return bad(j, "$date takes YYYY-MM-DDTHH:MM:SS[.mmm]Z", e);
    bw_date(&j->w, name, (int64_t)timegm(&tm) * 1000 + milli);
    return RC_OK;
}

/* fields(): a small object of up to two named members, in either order; each a string or a whole number kept as text. */
static RC fields(struct json *j, const char *const names[2], struct slice out[2], struct err *e)
{
    out[0] = out[1] = SLICE_EMPTY;
    TRY(expect(j, '{', e));
    do {
        const char *k;
        int which;

        TRY(key(j, &k, e));
        which = strcmp(k, names[0]) == 0 ? 0 : strcmp(k, names[1]) == 0 ? 1 : -1;
        if (which < 0)
            return bad(j, "unexpected member", e);
        TRY(expect(j, ':', e));
        if (at_quote(j)) {
            TRY(string(j, &out[which], e));
        } else {
            const char *start = j->p;

            while (j->p < j->end && isdigit((unsigned char)*j->p))
                j->p++;
            out[which] = SLICE(start, j->p - start);
        }
    } while (accept(j, ','));
    TRY(expect(j, '}', e));
    if (!out[0].p || !out[1].p)
        return bad(j, "a member is missing", e);
    return RC_OK;
}

static RC wrap_binary(struct json *j, const char *name, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    AUTO(buf_fini) struct buf sub = BUF_INIT;
    struct slice f[2];

    TRY(fields(j, (const char *const[]){ "base64", "subType" }, f, e));
    if (!base64_decode(f[0], &bytes) || !hex_decode(f[1], &sub) || sub.len != 1)
        return bad(j, "not base64 or a sub-type of two hexadecimal digits", e);
    bw_bin(&j->w, name, sub.p[0], buf_view(&bytes));
    return RC_OK;
}

static RC wrap_regex(struct json *j, const char *name, struct err *e)
{
    struct slice f[2];

    TRY(fields(j, (const char *const[]){ "pattern", "options" }, f, e));
    if (memchr(f[0].p, 0, f[0].len) || memchr(f[1].p, 0, f[1].len))
        return bad(j, "a regular expression holds a NUL byte", e);
    uint8_t *p = arena_calloc(j->a, 1, f[0].len + f[1].len + 2);

    memcpy(p, f[0].p, f[0].len);
    memcpy(p + f[0].len + 1, f[1].p, f[1].len);
    bw_val(&j->w, name,
           (struct bval){ .type = BT_REGEX, .len = (uint32_t)(f[0].len + f[1].len + 2), .p = p });
    return RC_OK;
}

static RC wrap_timestamp(struct json *j, const char *name, struct err *e)
{
    struct slice f[2];
    uint64_t t, i;

    TRY(fields(j, (const char *const[]){ "t", "i" }, f, e));
    if (!text_u64(f[0], &t) || !text_u64(f[1], &i) || t > UINT32_MAX || i > UINT32_MAX)
        return bad(j, "$timestamp takes two 32-bit numbers", e);
    bw_timestamp(&j->w, name, t << 32 | i);
    return RC_OK;
}

static RC wrap_text(struct json *j, const char *name, enum btype type, struct err *e)
{
    struct slice s;

    TRY(string(j, &s, e));
    struct bval v = bval_new_str(j->a, s);

    v.type = (uint8_t)type;
    bw_val(&j->w, name, v);
    return RC_OK;
}

static RC wrap_empty(struct json *j, const char *name, enum btype type, struct err *e)
{
    if (!accept(j, '1') && !word(j, "true"))
        return bad(j, "expected 1 or true", e);
    bw_val(&j->w, name, (struct bval){ .type = (uint8_t)type, .p = (const uint8_t *)"" });
    return RC_OK;
}

/* wrapper(): the value of a one-member object named k, after its colon; *is false when k is not a wrapper. */
static RC wrapper(struct json *j, const char *name, const char *k, bool *is, struct err *e)
{
    *is = true;
    if (strcmp(k, "$oid") == 0)
        return wrap_oid(j, name, e);
    if (strncmp(k, "$number", 7) == 0 && (!strcmp(k + 7, "Int") || !strcmp(k + 7, "Long") ||
                                          !strcmp(k + 7, "Double") || !strcmp(k + 7, "Decimal")))
        return wrap_number(j, name, k, e);
    if (strcmp(k, "$date") == 0)
        return wrap_date(j, name, e);
    if (strcmp(k, "$binary") == 0)
        return wrap_binary(j, name, e);
    if (strcmp(k, "$regularExpression") == 0)
        return wrap_regex(j, name, e);
    if (strcmp(k, "$timestamp") == 0)
        return wrap_timestamp(j, name, e);
    if (strcmp(k, "$symbol") == 0)
        return wrap_text(j, name, BT_SYMBOL, e);
    if (strcmp(k, "$code") == 0)
        return wrap_text(j, name, BT_CODE, e);
    if (strcmp(k, "$undefined") == 0)
        return wrap_empty(j, name, BT_UNDEFINED, e);
    if (strcmp(k, "$minKey") == 0)
        return wrap_empty(j, name, BT_MIN_KEY, e);
    if (strcmp(k, "$maxKey") == 0)
        return wrap_empty(j, name, BT_MAX_KEY, e);
    *is = false;
    return RC_OK;
}

static RC object(struct json *j, const char *name, struct err *e)
{
    const char *k;
    bool is;

    if (accept(j, '}')) {
        bw_doc(&j->w, name, BDOC_EMPTY);
        return RC_OK;
    }
    TRY(key(j, &k, e));
    TRY(expect(j, ':', e));
    TRY(wrapper(j, name, k, &is, e));
    if (is)
        return expect(j, '}', e);
    bw_doc_begin(&j->w, name);
    TRY(value(j, k, e));
    while (accept(j, ',')) {
        TRY(key(j, &k, e));
        TRY(expect(j, ':', e));
        TRY(value(j, k, e));
    }
    TRY(expect(j, '}', e));
    bw_doc_end(&j->w);
    return RC_OK;
}

static RC array(struct json *j, const char *name, struct err *e)
{
    bw_array_begin(&j->w, name);
    if (!accept(j, ']')) {
        do
            TRY(value(j, NULL, e));
        while (accept(j, ','));
        TRY(expect(j, ']', e));
    }
    bw_array_end(&j->w);
    return RC_OK;
}

static RC value(struct json *j, const char *name, struct err *e)
{
    struct slice s;

    if (++j->depth > JSON_DEPTH_MAX)
        return bad(j, "nested too deeply", e);
    if (at_quote(j)) {
        TRY(string(j, &s, e));
        bw_str_slice(&j->w, name, s);
    } else if (accept(j, '{')) {
        TRY(object(j, name, e));
    } else if (accept(j, '[')) {
        TRY(array(j, name, e));
    } else if (word(j, "true")) {
        bw_bool(&j->w, name, true);
    } else if (word(j, "false")) {
        bw_bool(&j->w, name, false);
    } else if (word(j, "null")) {
        bw_null(&j->w, name);
    } else {
        TRY(number(j, name, e));
    }
    j->depth--;
    return RC_OK;
}

RC bdoc_from_json(struct arena *a, const char *json, struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct json j = { .p = json, .end = json + strlen(json), .a = a };

    *out = BDOC_EMPTY;
    bw_init(&j.w, &b);
    space(&j);
    if (j.p == j.end || (*j.p != '{' && *j.p != '['))
        return bad(&j, "expected a document or an array", e);
    TRY(value(&j, "v", e));
    space(&j);
    if (j.p != j.end)
        return bad(&j, "something follows the value", e);
    struct bdoc outer = bw_finish(&j.w);
    struct bval v = bdoc_get(outer, "v");

    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY)
        return bad(&j, "expected a document or an array", e);
    *out = bval_doc(bval_dup(a, v));
    return RC_OK;
}
