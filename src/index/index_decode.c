/* index_decode.c - the exact values back from a key and its tags. Reads only what the encoder wrote, but checks every length. */
#include "index_priv.h"

#include <math.h>
#include <stdio.h>

#include "bsonx/bw.h"

struct reader {
    const uint8_t *p, *end;
    uint8_t flip; /* 0xff in a descending field */
    bool hex;     /* strings are keys of a collation: shown, since they do not say what was */
    const uint8_t *tags, *tags_end;
    struct arena *a;
};

static RC corrupt(struct err *e)
{
    FAIL(e, ERR_CORRUPT, "an index key does not decode");
}

static RC take(struct reader *r, size_t n, uint8_t *out, struct err *e)
{
    if ((size_t)(r->end - r->p) < n)
        return corrupt(e);
    for (size_t i = 0; i < n; i++)
        out[i] = r->p[i] ^ r->flip;
    r->p += n;
    return RC_OK;
}

/* Trailing zero bytes of the tags are not stored. */
static uint8_t take_tag(struct reader *r)
{
    return r->tags < r->tags_end ? *r->tags++ : 0;
}

static void take_tag_bytes(struct reader *r, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = take_tag(r);
}

static RC take_string(struct reader *r, struct buf *out, struct err *e)
{
    for (;;) {
        uint8_t b = 0;
        TRY(take(r, 1, &b, e));
        if (b) {
            buf_push_u8(out, b);
            continue;
        }
        TRY(take(r, 1, &b, e));
        if (b == 0x01)
            return RC_OK;
        if (b != 0xff)
            return corrupt(e);
        buf_push_u8(out, 0);
    }
}

static RC take_cstring(struct reader *r, struct buf *out, struct err *e)
{
    uint8_t b = 0;

    do {
        TRY(take(r, 1, &b, e));
        buf_push_u8(out, b);
    } while (b);
    return RC_OK;
}

static RC take_digits(struct reader *r, uint8_t flip, uint64_t *out, struct err *e)
{
    uint8_t head[2], b;
    unsigned __int128 v = 0; /* the last pair of digits may be padded */
    int n = 0;

    TRY(take(r, 2, head, e));
    int first = (int)get_be16((uint8_t[]){ head[0] ^ flip, head[1] ^ flip }) - DEC_BIAS;
    for (;;) {
        TRY(take(r, 1, &b, e));
        b ^= flip;
        if (!b)
            break;
        if (n >= DEC_DIGITS_MAX)
            return corrupt(e);
        v = v * 100 + (uint64_t)(b - 1);
        n += 2;
    }
    if (first < 0 || first > 18)
        return corrupt(e); /* only an int64 is put together from digits */
    for (; n <= first; n++)
        v *= 10;
    for (; n > first + 1; n--)
        v /= 10;
    *out = (uint64_t)v;
    return RC_OK;
}

static RC skip_digits(struct reader *r, uint8_t flip, struct err *e)
{
    uint8_t head[2], b = 0;

    TRY(take(r, 2, head, e));
    do
        TRY(take(r, 1, &b, e));
    while (b ^ flip);
    return RC_OK;
}

static RC take_number(struct reader *r, uint8_t rank, struct bval *out, struct err *e)
{
    uint8_t bytes[9] = { 0 }, flip = rank == RANK_NEGATIVE ? 0xff : 0;
    uint64_t digits = 0;
    double d = 0;
    bool more = false;

    if (rank == RANK_NEGATIVE || rank == RANK_POSITIVE) {
        TRY(take(r, 9, bytes, e));
        for (int i = 0; i < 9; i++)
            bytes[i] ^= flip;
        uint64_t bits = get_be64(bytes);
        memcpy(&d, &bits, sizeof(d));
        more = bytes[8] == NUM_MORE;
        if (flip)
            d = -d;
    }
    uint8_t raw[16], tag = take_tag(r);
    if (more && tag == TAG_INT64)
        TRY(take_digits(r, flip, &digits, e));
    else if (more)
        TRY(skip_digits(r, flip, e));
    switch (tag) {
    case TAG_INT32:
        if (!(d >= INT32_MIN && d <= INT32_MAX))
            return corrupt(e);
        *out = bval_new_i32(r->a, (int32_t)d);
        return RC_OK;
    case TAG_INT64: {
        if (!(fabs(d) <= 0x1p63))
            return corrupt(e);
        uint64_t u = more ? digits : (uint64_t)fabs(d);
        if (u > (uint64_t)INT64_MAX + (flip != 0))
            return corrupt(e);
        *out = bval_new_i64(r->a, (int64_t)(flip ? 0 - u : u));
        return RC_OK;
    }
    case TAG_DOUBLE: *out = bval_new_double(r->a, d); return RC_OK;
    case TAG_DOUBLE_NEG_ZERO: *out = bval_new_double(r->a, -0.0); return RC_OK;
    case TAG_DOUBLE_RAW:
        take_tag_bytes(r, raw, 8);
        *out = (struct bval){ .type = BT_DOUBLE, .len = 8, .p = arena_dup(r->a, raw, 8) };
        return RC_OK;
    case TAG_DECIMAL:
        take_tag_bytes(r, raw, 16);
        *out = (struct bval){ .type = BT_DECIMAL128, .len = 16, .p = arena_dup(r->a, raw, 16) };
        return RC_OK;
    default: return corrupt(e);
    }
}

static struct bval value_of(struct reader *r, enum btype t, const struct buf *b)
{
    return (struct bval){ .type = t, .len = (uint32_t)b->len, .p = arena_dup(r->a, b->p, b->len) };
}

static void put_bson_string(struct buf *out, const struct buf *text)
{
    buf_push_le32(out, (uint32_t)text->len + 1);
    buf_push(out, text->p, text->len);
    buf_push_u8(out, 0);
}

static RC take_value(struct reader *r, int depth, struct bval *out, struct err *e);

static RC take_document(struct reader *r, bool is_array, int depth, struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT, name = BUF_INIT;
    struct bw w;

    if (depth > QUERY_DEPTH_MAX)
        return corrupt(e);
    bw_init(&w, &b);
    for (uint32_t i = 0;; i++) {
        uint8_t rank;
        struct bval v;
        char index[12];
        if (r->p >= r->end)
            return corrupt(e);
        rank = *r->p ^ r->flip;
        if (rank == RANK_END) {
            r->p++;
            break;
        }
        buf_clear(&name);
        if (is_array) {
            snprintf(index, sizeof(index), "%u", i);
        } else {
            r->p++;
            TRY(take_cstring(r, &name, e));
        }
        TRY(take_value(r, depth + 1, &v, e));
        bw_val(&w, is_array ? index : (const char *)name.p, v);
    }
    *out = bw_done_arena(&w, r->a);
    return RC_OK;
}

static RC take_sized(struct reader *r, enum btype t, size_t fixed, struct bval *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    uint8_t len[4];

    TRY(take(r, 4, len, e));
    uint32_t n = get_be32(len);
    if ((size_t)(r->end - r->p) < n || (size_t)(r->end - r->p) - n < fixed)
        return corrupt(e);
    buf_push_le32(&b, n);
    TRY(take(r, n + fixed, buf_extend(&b, n + fixed), e));
    *out = value_of(r, t, &b);
    return RC_OK;
}

static RC take_text(struct reader *r, uint8_t rank, int depth, struct bval *out, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT, b = BUF_INIT;
    struct bdoc scope;

    TRY(take_string(r, &text, e));
    if (rank == RANK_CODE_W_SCOPE) {
        TRY(take_document(r, false, depth, &scope, e));
        buf_push_le32(&b, (uint32_t)(4 + 4 + text.len + 1 + scope.len));
        put_bson_string(&b, &text);
        buf_push(&b, scope.p, scope.len);
        *out = value_of(r, BT_CODE_W_SCOPE, &b);
        return RC_OK;
    }
    if (rank == RANK_STRING && r->hex) {
        AUTO(buf_fini) struct buf hex = BUF_INIT;
        buf_printf(&hex, "0x");
        for (size_t i = 0; i < text.len; i++)
            buf_printf(&hex, "%02x", text.p[i]);
        put_bson_string(&b, &hex);
    } else {
        put_bson_string(&b, &text);
    }
    enum btype t = rank == RANK_CODE ? BT_CODE : take_tag(r) == TAG_SYMBOL ? BT_SYMBOL : BT_STRING;
    *out = value_of(r, t, &b);
    return RC_OK;
}

static RC take_fixed(struct reader *r, uint8_t rank, struct bval *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    uint8_t raw[16];

    switch (rank) {
    case RANK_OBJECT_ID:
        TRY(take(r, 12, raw, e));
        *out = bval_new_oid(r->a, raw);
        return RC_OK;
    case RANK_BOOL:
        TRY(take(r, 1, raw, e));
        *out = bval_new_bool(r->a, raw[0]);
        return RC_OK;
    case RANK_DATE:
        TRY(take(r, 8, raw, e));
        *out = bval_new_date(r->a, (int64_t)(get_be64(raw) ^ (1ull << 63)));
        return RC_OK;
    case RANK_TIMESTAMP:
        TRY(take(r, 8, raw, e));
        *out = bval_new_timestamp(r->a, get_be64(raw));
        return RC_OK;
    case RANK_REGEX:
        TRY(take_cstring(r, &b, e));
        TRY(take_cstring(r, &b, e));
        *out = value_of(r, BT_REGEX, &b);
        return RC_OK;
    default: return corrupt(e);
    }
}

static RC take_value(struct reader *r, int depth, struct bval *out, struct err *e)
{
    uint8_t rank = 0;
    struct bdoc d;

    TRY(take(r, 1, &rank, e));
    switch (rank) {
    case RANK_MIN_KEY: *out = (struct bval){ .type = BT_MIN_KEY }; return RC_OK;
    case RANK_MAX_KEY: *out = (struct bval){ .type = BT_MAX_KEY }; return RC_OK;
    case RANK_UNDEFINED:
        *out = take_tag(r) == TAG_EMPTY_ARRAY ? bval_of_doc(BDOC_EMPTY, BT_ARRAY)
                                              : (struct bval){ .type = BT_UNDEFINED };
        return RC_OK;
    case RANK_NULL:
        *out = take_tag(r) == TAG_MISSING ? BVAL_MISSING : bval_new_null();
        return RC_OK;
    case RANK_NAN:
    case RANK_NEGATIVE:
    case RANK_ZERO:
    case RANK_POSITIVE: return take_number(r, rank, out, e);
    case RANK_STRING:
    case RANK_CODE:
    case RANK_CODE_W_SCOPE: return take_text(r, rank, depth, out, e);
    case RANK_OBJECT:
    case RANK_ARRAY:
        TRY(take_document(r, rank == RANK_ARRAY, depth, &d, e));
        *out = bval_of_doc(d, rank == RANK_ARRAY ? BT_ARRAY : BT_DOCUMENT);
        return RC_OK;
    case RANK_BINARY: return take_sized(r, BT_BINARY, 1, out, e);
    case RANK_DB_POINTER: return take_sized(r, BT_DB_POINTER, 12, out, e);
    default: return take_fixed(r, rank, out, e);
    }
}

RC index_decode(const struct index_def *d, struct slice key, struct slice tags, struct arena *a,
                struct bval *out, struct slice *rest, struct err *e)
{
    static const uint8_t none[1];
    struct reader r = {
        .p = key.len ? key.p : none, .tags = tags.len ? tags.p : none, .a = a, .hex = d->collator
    };

    r.end = r.p + key.len;
    r.tags_end = r.tags + tags.len;

    for (int i = 0; i < d->n_fields; i++) {
        r.flip = d->fields[i].desc ? 0xff : 0;
        TRY(take_value(&r, 0, &out[i], e));
    }
    *rest = SLICE(r.p, (size_t)(r.end - r.p));
    return RC_OK;
}
