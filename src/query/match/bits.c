/* bits.c - $bitsAllSet, $bitsAllClear, $bitsAnySet, $bitsAnyClear. */
#include "match_priv.h"

static void set_position(struct match__bits *b, uint32_t *positions, uint32_t at)
{
    positions[b->n_positions++] = at;
    if (at < 64)
        b->low |= 1ull << at;
}

static RC from_positions(struct arena *a, struct match__bits *b, struct slice name,
                         struct bdoc list, struct err *e)
{
    uint32_t *positions = ARENA_ARRAY(a, uint32_t, bdoc_count(list) + 1);
    struct biter it;
    int64_t at;

    b->positions = positions;
    biter_init(&it, list);
    while (biter_next(&it)) {
        if (!bval_is_number(it.val) || !bval_to_i64(it.val, &at))
            FAIL(e, ERR_BAD_VALUE, "bit positions of %.*s must be integers", (int)name.len, name.p);
        if (at < 0)
            FAIL(e, ERR_BAD_VALUE, "bit positions of %.*s must not be negative", (int)name.len,
                 name.p);
        if (at > INT32_MAX)
            FAIL(e, ERR_BAD_VALUE, "bit positions of %.*s must fit in 32 bits", (int)name.len,
                 name.p);
        set_position(b, positions, (uint32_t)at);
    }
    return RC_OK;
}

static void from_bytes(struct arena *a, struct match__bits *b, struct slice bytes)
{
    uint32_t *positions = ARENA_ARRAY(a, uint32_t, bytes.len * 8 + 1);

    b->positions = positions;
    for (size_t i = 0; i < bytes.len; i++) {
        for (uint32_t k = 0; k < 8; k++) {
            if (bytes.p[i] >> k & 1)
                set_position(b, positions, (uint32_t)(i * 8) + k);
        }
    }
}

/* whole_binary(): with the inner length of sub-type 2, as MongoDB counts bits. */
static struct slice whole_binary(struct bval v)
{
    return SLICE(v.p + 5, v.len - 5);
}

RC match__bits_parse(struct match__parser *p, enum match__bits_kind kind, struct slice name,
                     struct bval v, struct match__bits **out, struct err *e)
{
    struct arena *a = p->q->arena;
    struct match__bits *b = ARENA_NEW(a, struct match__bits);
    int64_t mask;
    uint8_t bytes[8];

    *out = NULL;
    b->kind = kind;
    if (v.type == BT_ARRAY) {
        TRY(from_positions(a, b, name, bval_doc(v), e));
    } else if (bval_is_number(v)) {
        if (!bval_to_i64(v, &mask))
            FAIL(e, ERR_FAILED_TO_PARSE, "expected an integer for %.*s", (int)name.len, name.p);
        if (mask < 0)
            FAIL(e, ERR_FAILED_TO_PARSE, "expected a non-negative number for %.*s", (int)name.len,
                 name.p);
        put_le64(bytes, (uint64_t)mask);
        from_bytes(a, b, SLICE(bytes, sizeof(bytes)));
    } else if (v.type == BT_BINARY) {
        from_bytes(a, b, whole_binary(v));
    } else {
        FAIL(e, ERR_BAD_VALUE, "%.*s takes an array, a number or binary data but received %s",
             (int)name.len, name.p, btype_name(v.type));
    }
    *out = b;
    return RC_OK;
}

/* verdict(): set says whether the bit at each asked position is set. */
static bool verdict(const struct match__bits *b, bool (*set)(const void *value, uint32_t at),
                    const void *value)
{
    bool want_set = b->kind == BITS_ALL_SET || b->kind == BITS_ANY_SET;
    bool any = b->kind == BITS_ANY_SET || b->kind == BITS_ANY_CLEAR;

    for (uint32_t i = 0; i < b->n_positions; i++) {
        if ((set(value, b->positions[i]) == want_set) == any)
            return any;
    }
    return !any;
}

static bool number_bit(const void *value, uint32_t at)
{
    int64_t x = *(const int64_t *)value;

    return at < 64 ? (uint64_t)x >> at & 1 : x < 0; /* the sign goes on for ever */
}

static bool byte_bit(const void *value, uint32_t at)
{
    const struct slice *s = value;

    return at / 8 < s->len && (s->p[at / 8] >> at % 8 & 1);
}

bool match__bits_test(const struct match__bits *b, struct bval v)
{
    int64_t x;

    if (bval_is_number(v))
        return bval_to_i64(v, &x) && verdict(b, number_bit, &x);
    if (v.type == BT_BINARY) {
        struct slice s = whole_binary(v);
        return verdict(b, byte_bit, &s);
    }
    return false;
}
