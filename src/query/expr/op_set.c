/* op_set.c - arrays as sets: duplicates and order do not count; results come out sorted. */
#include "expr_priv.h"

#include "base/mem.h"

static int cmp_vals(const struct bval *p, const struct bval *q, void *arg)
{
    return bval_cmp_in(arg, *p, *q);
}

static RC sorted_array(const struct qctx *q, struct bval *v, uint32_t n, struct bval *out,
                       struct err *e)
{
    struct arena *a = q->scratch;

    val_sort(a, v, n, cmp_vals, (void *)q->collator);
    return vals_array(a, v, n, out, e);
}

static void add_all(struct valset *s, struct bdoc d)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it))
        valset_add(s, it.val);
}

EXPR_EVAL(expr__eval_set_union)
{
    struct valset s = valset_of(env_arena(env), env->q->collator);

    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_is_nullish(v)) {
            *out = val_null();
            return RC_OK;
        }
        if (v.type != BT_ARRAY)
            FAIL(e, ERR_LOC(17043),
                 "All operands of $setUnion must be arrays. One argument is of type: %s",
                 btype_name(v.type));
        add_all(&s, bval_doc(v));
    }
    return sorted_array(env->q, s.v, s.n, out, e);
}

EXPR_EVAL(expr__eval_set_intersection)
{
    struct valset cur = valset_of(env_arena(env), env->q->collator);

    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_is_nullish(v)) {
            *out = val_null();
            return RC_OK;
        }
        if (v.type != BT_ARRAY)
            FAIL(e, ERR_LOC(17047),
                 "All operands of $setIntersection must be arrays. One argument is of type: %s",
                 btype_name(v.type));
        struct valset here = valset_of(cur.arena, env->q->collator),
                      both = valset_of(cur.arena, env->q->collator);
        add_all(&here, bval_doc(v));
        for (uint32_t k = 0; i > 0 && k < cur.n; k++)
            if (valset_find(&here, cur.v[k]) >= 0)
                valset_add(&both, cur.v[k]);
        cur = i ? both : here;
    }
    return sorted_array(env->q, cur.v, cur.n, out, e);
}

EXPR_EVAL(expr__eval_set_difference)
{
    struct arena *a = env_arena(env);
    struct valset minus = valset_of(a, env->q->collator), seen = valset_of(a, env->q->collator);
    struct bval l, r;
    struct biter it;

    TRY(expr__arg(x, 0, env, &l, e));
    TRY(expr__arg(x, 1, env, &r, e));
    if (bval_is_nullish(l) || bval_is_nullish(r)) {
        *out = val_null();
        return RC_OK;
    }
    if (l.type != BT_ARRAY)
        FAIL(e, ERR_LOC(17048),
             "both operands of $setDifference must be arrays. First argument is of type: %s",
             btype_name(l.type));
    if (r.type != BT_ARRAY)
        FAIL(e, ERR_LOC(17049),
             "both operands of $setDifference must be arrays. Second argument is of type: %s",
             btype_name(r.type));
    add_all(&minus, bval_doc(r));
    biter_init(&it, bval_doc(l));
    while (biter_next(&it))
        if (valset_find(&minus, it.val) < 0)
            valset_add(&seen, it.val);
    return vals_array(a, seen.v, seen.n, out, e);
}

EXPR_EVAL(expr__eval_set_equals)
{
    struct valset first = valset_of(env_arena(env), env->q->collator);
    bool equal = true;

    for (int i = 0; i < x->n_args; i++) {
        struct valset here = valset_of(first.arena, env->q->collator);
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (v.type != BT_ARRAY)
            FAIL(e, ERR_LOC(17044),
                 "All operands of $setEquals must be arrays. %d-th argument is of type: %s", i + 1,
                 btype_name(v.type));
        add_all(i ? &here : &first, bval_doc(v));
        if (i == 0)
            continue;
        equal = equal && here.n == first.n;
        for (uint32_t k = 0; equal && k < here.n; k++)
            equal = valset_find(&first, here.v[k]) >= 0;
    }
    *out = bval_new_bool(env_arena(env), equal);
    return RC_OK;
}

EXPR_PARSE(expr__parse_set_equals)
{
    uint32_t n = arg.type == BT_ARRAY ? bdoc_count(bval_doc(arg)) : 1;
    struct bval v;

    if (n < 2)
        FAIL(e, ERR_LOC(17045), "$setEquals needs at least two arguments had: %u", n);
    struct expr *x = expr__new_call(ps, op, (int)n);
    struct biter it;
    biter_init(&it, bval_doc(arg));
    for (int i = 0; biter_next(&it); i++) {
        TRY(expr__parse(ps, it.val, &x->args[i], e));
        if (expr_is_const(x->args[i], &v) && v.type != BT_ARRAY)
            FAIL(e, ERR_LOC(5887502),
                 "All operands of $setEquals must be arrays. %d-th argument is of type: %s", i + 1,
                 btype_name(v.type));
    }
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

EXPR_EVAL(expr__eval_set_is_subset)
{
    struct valset sup = valset_of(env_arena(env), env->q->collator);
    struct bval l, r;
    struct biter it;
    bool all = true;

    TRY(expr__arg(x, 0, env, &l, e));
    TRY(expr__arg(x, 1, env, &r, e));
    if (l.type != BT_ARRAY)
        FAIL(e, ERR_LOC(17046),
             "both operands of $setIsSubset must be arrays. First argument is of type: %s",
             btype_name(l.type));
    if (r.type != BT_ARRAY)
        FAIL(e, ERR_LOC(17042),
             "both operands of $setIsSubset must be arrays. Second argument is of type: %s",
             btype_name(r.type));
    add_all(&sup, bval_doc(r));
    biter_init(&it, bval_doc(l));
    while (all && biter_next(&it))
        all = valset_find(&sup, it.val) >= 0;
    *out = bval_new_bool(env_arena(env), all);
    return RC_OK;
}

/* $allElementsTrue (aux 1) and $anyElementTrue (aux 0) */
EXPR_EVAL(expr__eval_elements_true)
{
    bool all = x->op->aux, r = all;
    struct bval v;
    struct biter it;

    TRY(expr__arg(x, 0, env, &v, e));
    if (v.type != BT_ARRAY)
        FAIL(e, all ? ERR_LOC(17040) : ERR_LOC(17041), "$%s's argument must be an array, but is %s",
             x->op->name, btype_name(v.type));
    biter_init(&it, bval_doc(v));
    while (r == all && biter_next(&it))
        r = bval_truthy(it.val);
    *out = bval_new_bool(env_arena(env), r);
    return RC_OK;
}
