/* op_array.c - reading and building arrays: $arrayElemAt, $slice, $range, $concatArrays and their kin. */
#include "num_priv.h"

#include "base/mem.h"

enum { RANGE_MAX = 100 * 1024 * 1024 / 16 };

static bool index_of(struct bval v, int32_t *out)
{
    return num__to_i32(v, out);
}

/* The i-th element; negative counts from the end. Missing when outside. */
static struct bval element_at(struct bdoc d, int64_t i)
{
    struct biter it;

    if (i < 0)
        i += bdoc_count(d);
    if (i < 0)
        return BVAL_MISSING;
    biter_init(&it, d);
    while (biter_next(&it))
        if (i-- == 0)
            return it.val;
    return BVAL_MISSING;
}

EXPR_EVAL(expr__eval_array_elem_at)
{
    struct bval arr, idx;
    int32_t i;

    TRY(expr__arg(x, 0, env, &arr, e));
    TRY(expr__arg(x, 1, env, &idx, e));
    if (bval_is_nullish(arr) || bval_is_nullish(idx)) {
        *out = val_null();
        return RC_OK;
    }
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(28689), "$arrayElemAt's first argument must be an array, but is %s",
             btype_name(arr.type));
    if (!bval_is_number(idx))
        FAIL(e, ERR_LOC(28690), "$arrayElemAt's second argument must be a numeric value, but is %s",
             btype_name(idx.type));
    if (!index_of(idx, &i))
        FAIL(e, ERR_LOC(28691),
             "$arrayElemAt's second argument must be representable as a 32-bit integer");
    *out = element_at(bval_doc(arr), i);
    return RC_OK;
}

EXPR_EVAL(expr__eval_first_last)
{
    struct bval arr;

    TRY(expr__arg(x, 0, env, &arr, e));
    if (bval_is_nullish(arr)) {
        *out = val_null();
        return RC_OK;
    }
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(28689), "$%s's argument must be an array, but is %s", x->op->name,
             btype_name(arr.type));
    *out = element_at(bval_doc(arr), x->op->aux);
    return RC_OK;
}

EXPR_EVAL(expr__eval_size)
{
    struct bval arr;

    TRY(expr__arg(x, 0, env, &arr, e));
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(17124), "The argument to $size must be an array, but was of type: %s",
             btype_name(arr.type));
    *out = bval_new_i32(env_arena(env), (int32_t)bdoc_count(bval_doc(arr)));
    return RC_OK;
}

EXPR_EVAL(expr__eval_is_array)
{
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    *out = bval_new_bool(env_arena(env), v.type == BT_ARRAY);
    return RC_OK;
}

EXPR_EVAL(expr__eval_in)
{
    struct bval v, arr;
    struct biter it;
    bool found = false;

    TRY(expr__arg(x, 0, env, &v, e));
    TRY(expr__arg(x, 1, env, &arr, e));
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(40081), "$in requires an array as a second argument, found: %s",
             btype_name(arr.type));
    biter_init(&it, bval_doc(arr));
    while (!found && biter_next(&it))
        found = val__cmp(env->q->collator, v, it.val) == 0;
    *out = bval_new_bool(env_arena(env), found);
    return RC_OK;
}

EXPR_EVAL(expr__eval_concat_arrays)
{
    struct vals l = vals_in(env_arena(env));

    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_is_nullish(v)) {
            *out = val_null();
            return RC_OK;
        }
        if (v.type != BT_ARRAY)
            FAIL(e, ERR_LOC(28664), "$concatArrays only supports arrays, not %s",
                 btype_name(v.type));
        vals_push_all(&l, bval_doc(v));
    }
    return vals_array(l.arena, l.v, l.n, out, e);
}

/* ---- $slice ---- */

static RC slice_number(struct bval v, const char *which, int32_t *out, struct err *e)
{
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(28725), "%s argument to $slice must be numeric, but is of type: %s", which,
             btype_name(v.type));
    if (!index_of(v, out))
        FAIL(e, ERR_LOC(28726), "%s argument to $slice can't be represented as a 32-bit integer",
             which);
    return RC_OK;
}

EXPR_EVAL(expr__eval_slice)
{
    struct bval arr, second, third = BVAL_MISSING;
    int32_t pos, n;

    TRY(expr__arg(x, 0, env, &arr, e));
    TRY(expr__arg(x, 1, env, &second, e));
    if (x->n_args == 3)
        TRY(expr__arg(x, 2, env, &third, e));
    if (bval_is_nullish(arr) || bval_is_nullish(second) ||
        (x->n_args == 3 && bval_is_nullish(third))) {
        *out = val_null();
        return RC_OK;
    }
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(28724), "First argument to $slice must be an array, but is of type: %s",
             btype_name(arr.type));
    TRY(slice_number(second, "Second", &pos, e));
    int64_t len = bdoc_count(bval_doc(arr)), from, count;
    if (x->n_args == 3) {
        TRY(slice_number(third, "Third", &n, e));
        if (n <= 0)
            FAIL(e, ERR_LOC(28729), "Third argument to $slice must be positive: %d", n);
        from = pos < 0 ? MAX((int64_t)0, len + pos) : MIN((int64_t)pos, len);
        count = MIN((int64_t)n, len - from);
    } else {
        count = MIN(pos < 0 ? -(int64_t)pos : (int64_t)pos, len);
        from = pos < 0 ? len - count : 0;
    }
    struct vals l = vals_in(env_arena(env));
    struct biter it;
    biter_init(&it, bval_doc(arr));
    for (int64_t i = 0; i < from + count && biter_next(&it); i++)
        if (i >= from)
            vals_push(&l, it.val);
    return vals_array(l.arena, l.v, l.n, out, e);
}

/* ---- $range ---- */

static RC range_arg(struct bval v, const char *what, int not_number, int not_int, int32_t *out,
                    struct err *e)
{
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(not_number), "$range requires a numeric %s, found value of type: %s", what,
             btype_name(v.type));
    if (!index_of(v, out))
        FAIL(e, ERR_LOC(not_int),
             "$range requires a %s that can be represented as a 32-bit integer", what);
    return RC_OK;
}

EXPR_EVAL(expr__eval_range)
{
    struct bval a, b, c;
    int32_t start, end, step = 1;
    bool given;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    TRY(range_arg(a, "starting value", 34443, 34444, &start, e));
    TRY(range_arg(b, "ending value", 34445, 34446, &end, e));
    TRY(expr__opt(x, 2, env, &given, &c, e));
    if (given) {
        TRY(range_arg(c, "step value", 34447, 34448, &step, e));
        if (step == 0)
            FAIL(e, ERR_LOC(34449), "$range requires a non-zero step value");
    }
    struct vals l = vals_in(env_arena(env));
    for (int64_t i = start; step > 0 ? i < end : i > end; i += step) {
        if (l.n >= RANGE_MAX)
            FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT, "$range would make more than %d values", RANGE_MAX);
        vals_push(&l, bval_new_i32(l.arena, (int32_t)i));
        if ((l.n & 0xfff) == 0)
            TRY(qctx_check(env->q, e));
    }
    return vals_array(l.arena, l.v, l.n, out, e);
}

EXPR_EVAL(expr__eval_reverse_array)
{
    struct vals l = vals_in(env_arena(env));
    struct bval arr;

    TRY(expr__arg(x, 0, env, &arr, e));
    if (bval_is_nullish(arr)) {
        *out = val_null();
        return RC_OK;
    }
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(34435),
             "The argument to $reverseArray must be an array, but was of type: %s",
             btype_name(arr.type));
    vals_push_all(&l, bval_doc(arr));
    for (uint32_t i = 0; i < l.n / 2; i++) {
        struct bval t = l.v[i];
        l.v[i] = l.v[l.n - 1 - i];
        l.v[l.n - 1 - i] = t;
    }
    return vals_array(l.arena, l.v, l.n, out, e);
}

static RC search_bound(struct bval v, int64_t *out, struct err *e)
{
    int32_t n;

    if (!index_of(v, &n))
        FAIL(e, ERR_LOC(9711600),
             "$indexOfArray requires an integral index, found a value of type: %s",
             btype_name(v.type));
    if (n < 0)
        FAIL(e, ERR_LOC(9711601), "$indexOfArray requires a nonnegative index, found: %d", n);
    *out = n;
    return RC_OK;
}

EXPR_EVAL(expr__eval_index_of_array)
{
    struct bval arr, v, b;
    int64_t from = 0, to = INT64_MAX, i = 0;
    bool given;
    struct biter it;

    TRY(expr__arg(x, 0, env, &arr, e));
    if (bval_is_nullish(arr)) {
        *out = val_null();
        return RC_OK;
    }
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(40090), "$indexOfArray requires an array as a first argument, found: %s",
             btype_name(arr.type));
    TRY(expr__arg(x, 1, env, &v, e));
    TRY(expr__opt(x, 2, env, &given, &b, e));
    if (given)
        TRY(search_bound(b, &from, e));
    TRY(expr__opt(x, 3, env, &given, &b, e));
    if (given)
        TRY(search_bound(b, &to, e));
    *out = bval_new_i32(env_arena(env), -1);
    biter_init(&it, bval_doc(arr));
    for (; i < to && biter_next(&it); i++) {
        if (i >= from && val__cmp(env->q->collator, it.val, v) == 0) {
            *out = bval_new_i32(env_arena(env), (int32_t)i);
            break;
        }
    }
    return RC_OK;
}

/* ---- $arrayToObject, $objectToArray ---- */

static RC key_ok(struct bval k, int not_string, int has_nul, struct err *e)
{
    if (k.type != BT_STRING)
        FAIL(e, ERR_LOC(not_string), "$arrayToObject requires keys of type string, found: %s",
             btype_name(k.type));
    if (bval_str(k).len && memchr(bval_str(k).p, 0, bval_str(k).len))
        FAIL(e, ERR_LOC(has_nul), "Key field cannot contain an embedded null byte");
    return RC_OK;
}

static RC take_pair(struct bval item, struct slice *name, struct bval *v, struct err *e)
{
    if (item.type == BT_ARRAY) {
        if (bdoc_count(bval_doc(item)) != 2)
            FAIL(e, ERR_LOC(40397),
                 "$arrayToObject requires an array of size 2 arrays, found array of size: %u",
                 bdoc_count(bval_doc(item)));
        struct bval k = bdoc_get(bval_doc(item), "0");
        TRY(key_ok(k, 40395, 4940400, e));
        *name = bval_str(k);
        *v = bdoc_get(bval_doc(item), "1");
        return RC_OK;
    }
    if (bdoc_count(bval_doc(item)) != 2)
        FAIL(
            e, ERR_LOC(40392),
            "$arrayToObject requires an object keys of 'k' and 'v'. Found incorrect number of keys: %u",
            bdoc_count(bval_doc(item)));
    struct bval k = bdoc_get(bval_doc(item), "k");
    *v = bdoc_get(bval_doc(item), "v");
    if (bval_is_missing(k) || bval_is_missing(*v))
        FAIL(
            e, ERR_LOC(40393),
            "$arrayToObject requires an object with keys 'k' and 'v'. Missing either or both keys");
    TRY(key_ok(k, 40394, 4940401, e));
    *name = bval_str(k);
    return RC_OK;
}

EXPR_EVAL(expr__eval_array_to_object)
{
    struct fields f = fields_in(env_arena(env));
    struct valset seen = valset_in(env_arena(env)); /* keys, in the order of f */
    struct bval arr;
    struct biter it;
    enum btype kind = BT_MISSING;

    TRY(expr__arg(x, 0, env, &arr, e));
    if (bval_is_nullish(arr)) {
        *out = val_null();
        return RC_OK;
    }
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(40386), "$arrayToObject requires an array input, found: %s",
             btype_name(arr.type));
    biter_init(&it, bval_doc(arr));
    while (biter_next(&it)) {
        struct slice name;
        struct bval v;
        if (kind == BT_MISSING && it.val.type != BT_ARRAY && it.val.type != BT_DOCUMENT)
            FAIL(e, ERR_LOC(40398), "Unrecognised input type format for $arrayToObject: %s",
                 btype_name(it.val.type));
        if (kind != BT_MISSING && it.val.type != kind)
            FAIL(e, kind == BT_ARRAY ? ERR_LOC(40396) : ERR_LOC(40391),
                 "$arrayToObject requires a consistent input format. Found: %s",
                 btype_name(it.val.type));
        kind = it.val.type;
        TRY(take_pair(it.val, &name, &v, e));
        struct bval key = bval_new_str(f.arena, name);
        int64_t at = valset_find(&seen, key);
        if (at >= 0) {
            f.v[at] = v;
        } else {
            valset_add(&seen, key);
            fields_push(&f, name, v);
        }
    }
    return fields_object(&f, out, e);
}

EXPR_EVAL(expr__eval_object_to_array)
{
    static const struct slice names[2] = { { (const uint8_t *)"k", 1 },
                                           { (const uint8_t *)"v", 1 } };
    struct vals l = vals_in(env_arena(env));
    struct bval v;
    struct biter it;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40390), "$objectToArray requires a document input, found: %s",
             btype_name(v.type));
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct bval pair[2] = { bval_new_str(l.arena, it.name), it.val }, o;
        TRY(vals_object(l.arena, names, pair, 2, &o, e));
        vals_push(&l, o);
    }
    return vals_array(l.arena, l.v, l.n, out, e);
}
