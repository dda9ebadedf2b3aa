/* index_key.c - a value as bytes whose memcmp order is the order of compatibility 6.
 *
 * Every encoding is prefix-free, so encodings can be put one after the other and compared as a whole. A descending field is
 * the bitwise complement of its ascending encoding.
 *
 * Numbers of four types share one order. The magnitude is rounded down to a double, whose bits are ordered; a double, and
 * everything else that a double holds exactly, ends with NUM_EXACT. What lies strictly between two doubles (large int64,
 * decimals) is NUM_MORE and then its exact decimal digits: any two such values have at most 34 of them, so the order is exact
 * without rounding anywhere.
 */
#include "index_priv.h"

#include <float.h>
#include <math.h>

uint8_t index__rank(enum btype t)
{
    switch (t) {
    case BT_MIN_KEY: return RANK_MIN_KEY;
    case BT_UNDEFINED: return RANK_UNDEFINED;
    case BT_MISSING:
    case BT_NULL: return RANK_NULL;
    case BT_INT32:
    case BT_INT64:
    case BT_DOUBLE:
    case BT_DECIMAL128: return RANK_NUMBER;
    case BT_STRING:
    case BT_SYMBOL: return RANK_STRING;
    case BT_DOCUMENT: return RANK_OBJECT;
    case BT_ARRAY: return RANK_ARRAY;
    case BT_BINARY: return RANK_BINARY;
    case BT_OBJECT_ID: return RANK_OBJECT_ID;
    case BT_BOOL: return RANK_BOOL;
    case BT_DATE: return RANK_DATE;
    case BT_TIMESTAMP: return RANK_TIMESTAMP;
    case BT_REGEX: return RANK_REGEX;
    case BT_DB_POINTER: return RANK_DB_POINTER;
    case BT_CODE: return RANK_CODE;
    case BT_CODE_W_SCOPE: return RANK_CODE_W_SCOPE;
    case BT_MAX_KEY: return RANK_MAX_KEY;
    }
    base_panic(__FILE__, __LINE__, "a BSON type without a rank");
}

static void put_tag(struct buf *tags, uint8_t tag)
{
    if (tags)
        buf_push_u8(tags, tag);
}

/* Strings may hold NUL bytes: 00 is written 00 ff, the end is 00 01, which is below every continuation. */
static void put_string(struct buf *k, struct slice s)
{
    const uint8_t *p = s.p, *end = s.p + s.len;

    while (p < end) {
        const uint8_t *nul = memchr(p, 0, (size_t)(end - p));
        size_t n = (size_t)((nul ? nul : end) - p);
        buf_push(k, p, n);
        p += n;
        if (nul) {
            buf_push(k, "\x00\xff", 2);
            p++;
        }
    }
    buf_push(k, "\x00\x01", 2);
}

static void put_cstring(struct buf *k, struct slice s)
{
    buf_push(k, s.p, s.len);
    buf_push_u8(k, 0);
}

static void put_magnitude(struct buf *k, double d)
{
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    buf_push_be64(k, bits & 0x7fffffffffffffffull);
}

/* The exact decimal digits of coeff * 10^exp: be16 exponent of the first digit, two digits a byte plus one, then 00. */
static void put_digits(struct buf *k, unsigned __int128 coeff, int exp)
{
    uint8_t digits[40];
    int n = 0, at = (int)sizeof(digits);

    while (coeff) {
        digits[--at] = (uint8_t)(coeff % 10);
        coeff /= 10;
        n++;
    }
    int first = exp + n - 1;
    const uint8_t *p = digits + at;
    while (n > 0 && p[n - 1] == 0)
        n--;
    buf_push_be16(k, (uint16_t)(first + DEC_BIAS));
    for (int i = 0; i < n; i += 2)
        buf_push_u8(k, (uint8_t)(p[i] * 10 + (i + 1 < n ? p[i + 1] : 0) + 1));
    buf_push_u8(k, 0);
}

static void invert(struct buf *k, size_t from)
{
    for (size_t i = from; i < k->len; i++)
        k->p[i] = (uint8_t)~k->p[i];
}

/* floor: the magnitude rounded down; more: it was not exact. Negative numbers are the complement of the positive. */
static void put_finite(struct buf *k, bool neg, double floor, bool more, unsigned __int128 coeff,
                       int exp)
{
    buf_push_u8(k, neg ? RANK_NEGATIVE : RANK_POSITIVE);
    size_t from = k->len;
    put_magnitude(k, floor);
    buf_push_u8(k, more ? NUM_MORE : NUM_EXACT);
    if (more)
        put_digits(k, coeff, exp);
    if (neg)
        invert(k, from);
}

static void put_int(struct buf *k, int64_t v)
{
    if (v == 0) {
        buf_push_u8(k, RANK_ZERO);
        return;
    }
    bool neg = v < 0;
    uint64_t u = neg ? 0 - (uint64_t)v : (uint64_t)v;
    uint64_t down = u;
    int bits = 64 - __builtin_clzll(u);
    if (bits > 53)
        down = (u >> (bits - 53)) << (bits - 53);
    put_finite(k, neg, (double)down, down != u, u, 0);
}

static void put_double(struct buf *k, struct buf *tags, double d)
{
    if (isnan(d)) {
        buf_push_u8(k, RANK_NAN);
        put_tag(tags, TAG_DOUBLE_RAW);
        if (tags)
            buf_push(tags, &d, sizeof(d));
        return;
    }
    if (d == 0) {
        buf_push_u8(k, RANK_ZERO);
        put_tag(tags, signbit(d) ? TAG_DOUBLE_NEG_ZERO : TAG_DOUBLE);
        return;
    }
    put_finite(k, d < 0, fabs(d), false, 0, 0);
    put_tag(tags, TAG_DOUBLE);
}

static void put_decimal(struct buf *k, struct buf *tags, struct bval v)
{
    struct dec128 d = bval_dec(v);
    struct dec_parts parts;

    put_tag(tags, TAG_DECIMAL);
    if (tags)
        buf_push(tags, v.p, 16);
    index__dec_split(d, &parts);
    if (parts.nan) {
        buf_push_u8(k, RANK_NAN);
    } else if (parts.inf) {
        put_finite(k, parts.neg, INFINITY, false, 0, 0);
    } else if (parts.zero) {
        buf_push_u8(k, RANK_ZERO);
    } else {
        bool exact;
        double floor = index__dec_floor(d, &exact);
        put_finite(k, parts.neg, floor, !exact, parts.coeff, parts.exp);
    }
}

static void put_value(const struct collator *c, struct buf *k, struct buf *tags, struct bval v);

static void put_text(const struct collator *c, struct buf *k, struct slice s)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    if (!c) {
        put_string(k, s);
        return;
    }
    c->key(c, s, &b);
    put_string(k, buf_view(&b));
}

static void put_document(const struct collator *c, struct buf *k, struct buf *tags, struct bdoc d,
                         bool is_array)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it)) {
        if (!is_array) {
            buf_push_u8(k, index__rank(it.val.type));
            put_cstring(k, it.name);
        }
        put_value(c, k, tags, it.val);
    }
    buf_push_u8(k, RANK_END);
}

static void put_value(const struct collator *c, struct buf *k, struct buf *tags, struct bval v)
{
    switch ((enum btype)v.type) {
    case BT_INT32:
        put_int(k, bval_i32(v));
        put_tag(tags, TAG_INT32);
        return;
    case BT_INT64:
        put_int(k, bval_i64(v));
        put_tag(tags, TAG_INT64);
        return;
    case BT_DOUBLE: put_double(k, tags, bval_double(v)); return;
    case BT_DECIMAL128: put_decimal(k, tags, v); return;
    default: break;
    }
    buf_push_u8(k, index__rank(v.type));
    switch ((enum btype)v.type) {
    case BT_STRING:
    case BT_SYMBOL:
        put_text(c, k, bval_str(v));
        put_tag(tags, v.type == BT_SYMBOL ? TAG_SYMBOL : TAG_STRING);
        break;
    case BT_NULL:
    case BT_MISSING: put_tag(tags, v.type == BT_MISSING ? TAG_MISSING : TAG_NULL); break;
    case BT_UNDEFINED: put_tag(tags, TAG_UNDEFINED); break;
    case BT_DOCUMENT:
    case BT_ARRAY: put_document(c, k, tags, bval_doc(v), v.type == BT_ARRAY); break;
    case BT_BINARY: /* int32 length, subtype, bytes: the same, length in big endian */
        buf_push_be32(k, get_le32(v.p));
        buf_push(k, v.p + 4, v.len - 4);
        break;
    case BT_OBJECT_ID: buf_push(k, v.p, 12); break;
    case BT_BOOL: buf_push_u8(k, bval_bool(v)); break;
    case BT_DATE: buf_push_be64(k, (uint64_t)bval_i64(v) ^ (1ull << 63)); break;
    case BT_TIMESTAMP: buf_push_be64(k, bval_timestamp(v)); break;
    case BT_REGEX: {
        struct slice pattern, flags;
        bval_regex(v, &pattern, &flags);
        put_cstring(k, pattern);
        put_cstring(k, flags);
        break;
    }
    case BT_DB_POINTER: /* string, then 12 bytes; shorter names first, as they compare */
        buf_push_be32(k, get_le32(v.p));
        buf_push(k, v.p + 4, v.len - 4);
        break;
    case BT_CODE: put_string(k, bval_str(v)); break;
    case BT_CODE_W_SCOPE: { /* int32 total, string, document */
        uint32_t n = get_le32(v.p + 4);
        put_string(k, SLICE(v.p + 8, n - 1));
        put_document(c, k, tags, (struct bdoc){ .p = v.p + 8 + n, .len = v.len - 8 - n }, false);
        break;
    }
    default: break;
    }
}

bool index_by_order(struct bval v)
{
    return v.type == BT_STRING || v.type == BT_SYMBOL || v.type == BT_DOCUMENT ||
           v.type == BT_ARRAY || v.type == BT_CODE_W_SCOPE;
}

void index_encode(const struct collator *c, struct buf *key, struct buf *tags, struct bval v,
                  bool desc)
{
    size_t from = key->len;

    put_value(c, key, tags, v);
    if (desc)
        invert(key, from);
}

void index__encode_empty_array(struct buf *key, struct buf *tags, bool desc)
{
    size_t from = key->len;

    buf_push_u8(key, RANK_UNDEFINED);
    put_tag(tags, TAG_EMPTY_ARRAY);
    if (desc)
        invert(key, from);
}

void index_rank_range(enum btype t, uint8_t *lo, uint8_t *hi)
{
    uint8_t r = index__rank(t);

    *lo = r == RANK_NUMBER ? RANK_NEGATIVE : r;
    *hi = r == RANK_NUMBER ? RANK_POSITIVE + 1 : (uint8_t)(r + 1);
}

void index_succ(struct buf *b, size_t from)
{
    while (b->len > from) {
        if (b->p[b->len - 1] != 0xff) {
            b->p[b->len - 1]++;
            return;
        }
        b->len--;
    }
    base_panic(__FILE__, __LINE__, "a key without a successor");
}
