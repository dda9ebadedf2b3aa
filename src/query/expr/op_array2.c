/* op_array2.c - $zip, $sortArray and the pickers $firstN, $lastN, $minN, $maxN. */
#include "num_priv.h"
#include "query/sortby.h"

#include "base/mem.h"

/* ---- $zip: args are the inputs, then the defaults; aux data says how many ---- */

struct zip {
    int n_inputs, n_defaults;
    bool longest;
};

EXPR_EVAL(expr__eval_zip)
{
    const struct zip *z = x->impl;
    struct arena *a = env_arena(env);
    struct vals *cols = ARENA_ARRAY(a, struct vals, (size_t)z->n_inputs);
    struct vals rows = vals_in(a);
    uint32_t n = z->longest ? 0 : UINT32_MAX;
    bool is_null = false;

    for (int i = 0; i < z->n_inputs; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_is_nullish(v)) {
            is_null = true;
            continue;
        }
        if (v.type != BT_ARRAY)
            FAIL(e, ERR_LOC(34468), "$zip found a non-array expression in input: %s",
                 btype_name(v.type));
        cols[i] = vals_in(a);
        vals_push_all(&cols[i], bval_doc(v));
        n = z->longest ? MAX(n, cols[i].n) : MIN(n, cols[i].n);
    }
    if (is_null) {
        *out = val_null();
        return RC_OK;
    }
    struct bval *def = ARENA_ARRAY(a, struct bval, (size_t)z->n_inputs);
    for (int i = 0; i < z->n_inputs; i++) {
        def[i] = val_null();
        if (i < z->n_defaults)
            TRY(expr__arg(x, z->n_inputs + i, env, &def[i], e));
    }
    struct bval *row = ARENA_ARRAY(a, struct bval, (size_t)z->n_inputs);
    for (uint32_t r = 0; r < n; r++) {
        struct bval v;
        TRY(qctx_check(env->q, e));
        for (int i = 0; i < z->n_inputs; i++)
            row[i] = r < cols[i].n ? cols[i].v[r] : def[i];
        TRY(vals_array(a, row, (uint32_t)z->n_inputs, &v, e));
        vals_push(&rows, v);
    }
    return vals_array(a, rows.v, rows.n, out, e);
}

EXPR_PARSE(expr__parse_zip)
{
    struct bval inputs = BVAL_MISSING, defaults = BVAL_MISSING;
    struct zip *z = ARENA_NEW(ps->q->arena, struct zip);
    struct biter it;

    if (arg.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(34460), "$zip only supports an object as an argument, found %s",
             btype_name(arg.type));
    biter_init(&it, bval_doc(arg));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "inputs")) {
            if (it.val.type != BT_ARRAY)
                FAIL(e, ERR_LOC(34461), "inputs must be an array of expressions, found %s",
                     btype_name(it.val.type));
            inputs = it.val;
        } else if (slice_eq_str(it.name, "defaults")) {
            if (it.val.type != BT_ARRAY)
                FAIL(e, ERR_LOC(34462), "defaults must be an array of expressions, found %s",
                     btype_name(it.val.type));
            defaults = it.val;
        } else if (slice_eq_str(it.name, "useLongestLength")) {
            if (it.val.type != BT_BOOL)
                FAIL(e, ERR_LOC(34463), "useLongestLength must be a bool, found %s",
                     btype_name(it.val.type));
            z->longest = bval_bool(it.val);
        } else {
            FAIL(e, ERR_LOC(34464), "$zip found an unknown argument: %.*s", (int)it.name.len,
                 (const char *)it.name.p);
        }
    }
    z->n_inputs = bval_is_missing(inputs) ? 0 : (int)bdoc_count(bval_doc(inputs));
    z->n_defaults = bval_is_missing(defaults) ? 0 : (int)bdoc_count(bval_doc(defaults));
    if (z->n_inputs == 0)
        FAIL(e, ERR_LOC(34465), "$zip requires at least one input array");
    if (z->n_defaults && !z->longest)
        FAIL(e, ERR_LOC(34466), "cannot specify defaults unless useLongestLength is true");
    if (z->n_defaults && z->n_defaults != z->n_inputs)
        FAIL(e, ERR_LOC(34467), "defaults and inputs must have the same length");
    struct expr *x = expr__new_call(ps, op, z->n_inputs + z->n_defaults);
    x->impl = z;
    int i = 0;
    biter_init(&it, bval_doc(inputs));
    while (biter_next(&it))
        TRY(expr__parse(ps, it.val, &x->args[i++], e));
    if (z->n_defaults) {
        biter_init(&it, bval_doc(defaults));
        while (biter_next(&it))
            TRY(expr__parse(ps, it.val, &x->args[i++], e));
    }
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

/* ---- $sortArray ---- */

static int cmp_sort_by(const struct bval *p, const struct bval *q, void *arg)
{
    return sort_by_cmp(arg, *p, *q);
}

EXPR_EVAL(expr__eval_sort_array)
{
    struct vals l = vals_in(env_arena(env));
    struct sort_by *by = x->impl;
    struct bval arr;

    TRY(expr__arg(x, 0, env, &arr, e));
    if (bval_is_nullish(arr)) {
        *out = val_null();
        return RC_OK;
    }
    if (arr.type != BT_ARRAY)
        FAIL(e, ERR_LOC(2942504),
             "The input argument to $sortArray must be an array, but was of type: %s",
             btype_name(arr.type));
    vals_push_all(&l, bval_doc(arr));
    TRY(qctx_check(env->q, e));
    struct sort_by here = *by;
    here.scratch = l.arena;
    here.collator = env->q->collator;
    val_sort(l.arena, l.v, l.n, cmp_sort_by, &here);
    return vals_array(l.arena, l.v, l.n, out, e);
}

EXPR_PARSE(expr__parse_sort_array)
{
    static const struct expr_param params[] = { { "input", 2942502 }, { "sortBy", 2942503 } };
    static const struct expr_named named = { params, 2, 2942500, 2942501 };
    struct expr_op as_named = *op;
    struct sort_by *by = ARENA_NEW(ps->q->arena, struct sort_by);
    struct bval raw[2];

    as_named.named = &named;
    TRY(expr__named_args(&as_named, arg, raw, e));
    struct expr *x = expr__new_call(ps, op, 1);
    TRY(expr__parse(ps, raw[0], &x->args[0], e));
    TRY(sort_by_parse(ps->q->arena, raw[1], by, e));
    x->impl = by;
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

/* ---- $firstN, $lastN, $minN, $maxN: n, input ---- */

static RC pick_n_check(struct bval n, int64_t *out, struct err *e)
{
    *out = 0;
    if (!bval_is_number(n))
        FAIL(e, ERR_LOC(5787902), "Value for 'n' must be of integral type, but found %s",
             btype_name(n.type));
    if (!bval_to_i64(n, out))
        FAIL(e, ERR_LOC(5787903), "Value for 'n' must be of integral type");
    if (*out <= 0)
        FAIL(e, ERR_LOC(5787908), "'n' must be greater than 0, found %lld", (long long)*out);
    return RC_OK;
}

static int cmp_asc(const struct bval *p, const struct bval *q, void *arg)
{
    return bval_cmp_in(arg, *p, *q);
}

static int cmp_desc(const struct bval *p, const struct bval *q, void *arg)
{
    return bval_cmp_in(arg, *q, *p);
}

EXPR_EVAL(expr__eval_pick_n)
{
    struct vals l = vals_in(env_arena(env));
    struct bval nv, in;
    struct biter it;
    int64_t n;
    bool by_order = x->op->aux == PICK_MIN || x->op->aux == PICK_MAX;

    TRY(expr__arg(x, 0, env, &nv, e));
    TRY(pick_n_check(nv, &n, e));
    TRY(expr__arg(x, 1, env, &in, e));
    if (in.type != BT_ARRAY)
        FAIL(e, ERR_LOC(5788200), "Input must be an array");
    biter_init(&it, bval_doc(in));
    while (biter_next(&it))
        if (!by_order || !bval_is_nullish(it.val))
            vals_push(&l, it.val);
    if (by_order)
        val_sort(l.arena, l.v, l.n, x->op->aux == PICK_MIN ? cmp_asc : cmp_desc,
                 (void *)env->q->collator);
    uint32_t keep = (uint32_t)MIN((int64_t)l.n, n);
    return vals_array(l.arena, x->op->aux == PICK_LAST ? l.v + (l.n - keep) : l.v, keep, out, e);
}
