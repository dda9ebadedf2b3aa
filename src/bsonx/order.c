/* order.c - the order of all BSON values, equality and the hash that agrees with it (compatibility 6). */
#include <math.h>

#include "base/map.h"
#include "bsonx/dec.h"
#include "bsonx_priv.h"

int bval_canonical(enum btype t)
{
    switch (t) {
    case BT_MIN_KEY: return -1;
    case BT_MISSING:
    case BT_UNDEFINED: return 0;
    case BT_NULL: return 5;
    case BT_INT32:
    case BT_INT64:
    case BT_DOUBLE:
    case BT_DECIMAL128: return 10;
    case BT_STRING:
    case BT_SYMBOL: return 15;
    case BT_DOCUMENT: return 20;
    case BT_ARRAY: return 25;
    case BT_BINARY: return 30;
    case BT_OBJECT_ID: return 35;
    case BT_BOOL: return 40;
    case BT_DATE: return 45;
    case BT_TIMESTAMP: return 47;
    case BT_REGEX: return 50;
    case BT_DB_POINTER: return 55;
    case BT_CODE: return 60;
    case BT_CODE_W_SCOPE: return 65;
    case BT_MAX_KEY: return 127;
    }
    INVARIANT(!"known types only");
    return 0;
}

#define CMP(a, b) (((a) > (b)) - ((a) < (b)))

/* cmp_i64_double(): exactly; never by rounding the integer to a double. NaN is below everything. */
static int cmp_i64_double(int64_t a, double b)
{
    if (isnan(b))
        return 1;
    if (b >= 0x1p63)
        return -1;
    if (b < -0x1p63)
        return 1;
    int64_t whole = (int64_t)b;
    int c = CMP(a, whole);

    if (c)
        return c;
    double rest = b - (double)whole;
    return (rest < 0) - (rest > 0);
}

static int cmp_double(double a, double b)
{
    if (a < b)
        return -1;
    if (a > b)
        return 1;
    if (a == b)
        return 0;
    return (isnan(b) != 0) - (isnan(a) != 0);
}

static int64_t integer(struct bval v)
{
    return v.type == BT_INT32 ? bval_i32(v) : bval_i64(v);
}

static int cmp_number(struct bval a, struct bval b)
{
    bool a_int = a.type == BT_INT32 || a.type == BT_INT64;
    bool b_int = b.type == BT_INT32 || b.type == BT_INT64;

    if (a_int && b_int) {
        int64_t x = integer(a), y = integer(b);
        return CMP(x, y);
    }
    if (a.type == BT_DOUBLE && b.type == BT_DOUBLE)
        return cmp_double(bval_double(a), bval_double(b));
    if (a_int && b.type == BT_DOUBLE)
        return cmp_i64_double(integer(a), bval_double(b));
    if (a.type == BT_DOUBLE && b_int)
        return -cmp_i64_double(integer(b), bval_double(a));
    if (a.type == BT_DECIMAL128 && b.type == BT_DOUBLE)
        return dec_cmp_double(bval_dec(a), bval_double(b));
    if (a.type == BT_DOUBLE)
        return -dec_cmp_double(bval_dec(b), bval_double(a));
    return dec_cmp(bval_to_dec(a), bval_to_dec(b));
}

static int cmp_doc(const struct collator *in, struct bdoc a, struct bdoc b, bool names)
{
    struct biter x, y;

    biter_init(&x, a);
    biter_init(&y, b);
    for (;;) {
        bool have_x = biter_next(&x), have_y = biter_next(&y);

        if (!have_x || !have_y)
            return have_x - have_y;
        int c = CMP(bval_canonical(x.val.type), bval_canonical(y.val.type));
        if (c == 0 && names)
            c = slice_cmp(x.name, y.name);
        if (c == 0)
            c = bval_cmp_in(in, x.val, y.val);
        if (c)
            return c;
    }
}

static int cmp_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    int c = len ? memcmp(a, b, len) : 0;

    return CMP(c, 0);
}

static int cmp_regex(struct bval a, struct bval b)
{
    struct slice ap, af, bp, bf;

    bval_regex(a, &ap, &af);
    bval_regex(b, &bp, &bf);
    int c = slice_cmp(ap, bp);
    return CMP(c ? c : slice_cmp(af, bf), 0);
}

static struct slice str_like(struct bval v)
{
    return SLICE(v.p + 4, get_le32(v.p) - 1);
}

static int cmp_code_w_scope(const struct collator *in, struct bval a, struct bval b)
{
    uint32_t a_code = 4 + get_le32(a.p + 4), b_code = 4 + get_le32(b.p + 4);
    int c = slice_cmp(SLICE(a.p + 8, a_code - 5), SLICE(b.p + 8, b_code - 5));

    if (c)
        return CMP(c, 0);
    return cmp_doc(in, (struct bdoc){ .p = a.p + 4 + a_code, .len = get_le32(a.p + 4 + a_code) },
                   (struct bdoc){ .p = b.p + 4 + b_code, .len = get_le32(b.p + 4 + b_code) }, true);
}

int bval_cmp(struct bval a, struct bval b)
{
    return bval_cmp_in(NULL, a, b);
}

int bval_cmp_in(const struct collator *in, struct bval a, struct bval b)
{
    int ca = bval_canonical(a.type), cb = bval_canonical(b.type);
    int c;

    if (ca != cb)
        return CMP(ca, cb);
    switch (a.type) {
    case BT_INT32:
    case BT_INT64:
    case BT_DOUBLE:
    case BT_DECIMAL128: return cmp_number(a, b);
    case BT_STRING:
    case BT_SYMBOL:
        if (in)
            return in->cmp(in, str_like(a), str_like(b));
        c = slice_cmp(str_like(a), str_like(b));
        return CMP(c, 0);
    case BT_CODE: c = slice_cmp(str_like(a), str_like(b)); return CMP(c, 0);
    case BT_DOCUMENT: return cmp_doc(in, bval_doc(a), bval_doc(b), true);
    case BT_ARRAY: return cmp_doc(in, bval_doc(a), bval_doc(b), false);
    case BT_BINARY: /* length, sub-type, bytes */
        c = CMP(get_le32(a.p), get_le32(b.p));
        return c ? c : cmp_bytes(a.p + 4, b.p + 4, (size_t)get_le32(a.p) + 1);
    case BT_OBJECT_ID: return cmp_bytes(a.p, b.p, 12);
    case BT_BOOL: return CMP(a.p[0], b.p[0]);
    case BT_DATE: {
        int64_t x = bval_i64(a), y = bval_i64(b);
        return CMP(x, y);
    }
    case BT_TIMESTAMP: {
        uint64_t x = bval_timestamp(a), y = bval_timestamp(b);
        return CMP(x, y);
    }
    case BT_REGEX: return cmp_regex(a, b);
    case BT_DB_POINTER: c = CMP(a.len, b.len); return c ? c : cmp_bytes(a.p, b.p, a.len);
    case BT_CODE_W_SCOPE: return cmp_code_w_scope(in, a, b);
    default: return 0; /* null, undefined, missing, MinKey, MaxKey: one value each */
    }
}

bool bval_identical(struct bval a, struct bval b)
{
    return a.type == b.type && a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* ---- hash ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdull;
    return h ^ (h >> 32);
}

static uint64_t hash_u64(int tag, uint64_t v)
{
    uint8_t bytes[9];

    bytes[0] = (uint8_t)tag;
    put_le64(bytes + 1, v);
    return hash_bytes(SLICE(bytes, sizeof(bytes)));
}

/* hash_number(): a whole number that fits hashes as that; others as the nearest double, to which equal values of any type round alike. */
static uint64_t hash_number(struct bval v)
{
    int64_t whole;
    uint64_t bits;

    if (bval_to_i64(v, &whole))
        return hash_u64(10, (uint64_t)whole);
    double d = bval_to_double(v);
    if (isnan(d))
        return hash_u64(11, 0);
    memcpy(&bits, &d, sizeof(bits));
    return hash_u64(12, bits);
}

static uint64_t hash_doc(const struct collator *in, struct bdoc d, bool names)
{
    struct biter it;
    uint64_t h = names ? 20 : 25;

    biter_init(&it, d);
    while (biter_next(&it)) {
        if (names)
            h = mix(h, hash_bytes(it.name));
        h = mix(h, bval_hash_in(in, it.val));
    }
    return h;
}

static uint64_t hash_collated(const struct collator *in, struct slice s)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;

    in->key(in, s, &key);
    return hash_bytes(buf_view(&key));
}

uint64_t bval_hash(struct bval v)
{
    return bval_hash_in(NULL, v);
}

uint64_t bval_hash_in(const struct collator *in, struct bval v)
{
    switch (v.type) {
    case BT_INT32:
    case BT_INT64:
    case BT_DOUBLE:
    case BT_DECIMAL128: return hash_number(v);
    case BT_STRING:
    case BT_SYMBOL: return mix(15, in ? hash_collated(in, str_like(v)) : hash_bytes(str_like(v)));
    case BT_DOCUMENT: return hash_doc(in, bval_doc(v), true);
    case BT_ARRAY: return hash_doc(in, bval_doc(v), false);
    case BT_CODE_W_SCOPE: { /* the scope compares by value, so only the code is hashed */
        uint32_t code = get_le32(v.p + 4);
        return mix(65, hash_bytes(SLICE(v.p + 8, code - 1)));
    }
    default: return mix((uint64_t)bval_canonical(v.type), hash_bytes(SLICE(v.p, v.len)));
    }
}
