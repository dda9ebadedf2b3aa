/* op_accum.c - accumulators used as expressions: over a list of arguments, or over one argument that is an array. */
#include <math.h>

#include "num_priv.h"
#include "query/accum.h"

#include "base/mem.h"

/* each_value(): the values that an accumulator expression folds. */
static RC gather(const struct expr *x, struct expr_env *env, struct vals *l, struct err *e)
{
    *l = vals_in(env_arena(env));
    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (x->n_args == 1 && v.type == BT_ARRAY)
            vals_push_all(l, bval_doc(v));
        else
            vals_push(l, v);
    }
    return qctx_check(env->q, e);
}

EXPR_EVAL(expr__eval_accum)
{
    struct num_sum sum;
    struct num_dev dev = { 0 };
    struct vals l;
    struct bval best = BVAL_MISSING;

    num_sum_init(&sum);
    TRY(gather(x, env, &l, e));
    for (uint32_t i = 0; i < l.n; i++) {
        struct bval v = l.v[i];
        switch ((enum accum_kind)x->op->aux) {
        case ACCUM_SUM: num_sum_add(&sum, v); break;
        case ACCUM_AVG: num_avg_add(&sum, v); break;
        case ACCUM_MAX:
        case ACCUM_MIN:
            if (!bval_is_nullish(v) &&
                (bval_is_missing(best) ||
                 (x->op->aux == ACCUM_MAX ? bval_cmp_in(env->q->collator, v, best) > 0
                                          : bval_cmp_in(env->q->collator, v, best) < 0)))
                best = v;
            break;
        default:
            if (bval_is_number(v))
                num_dev_add(&dev, bval_to_double(v));
            break;
        }
    }
    struct arena *a = env_arena(env);
    switch ((enum accum_kind)x->op->aux) {
    case ACCUM_SUM: *out = num_sum_value(&sum, a); break;
    case ACCUM_AVG: *out = num_sum_avg(&sum, a); break;
    case ACCUM_DEV_POP: *out = num_dev_value(&dev, false, a); break;
    case ACCUM_DEV_SAMP: *out = num_dev_value(&dev, true, a); break;
    default: *out = bval_is_missing(best) ? val_null() : best; break;
    }
    return RC_OK;
}

/* ---- $median, $percentile: input, method, p ---- */

struct pct {
    double *p;
    uint32_t n;
};

EXPR_EVAL(expr__eval_percentile)
{
    const struct pct *pc = x->impl;
    struct arena *a = env_arena(env);
    struct vals l = vals_in(a);
    struct bval v, r;

    TRY(expr__arg(x, 0, env, &v, e));
    if (v.type == BT_ARRAY)
        vals_push_all(&l, bval_doc(v));
    else
        vals_push(&l, v);
    double *d = arena_alloc(a, sizeof(*d) * (l.n + 1));
    uint32_t n = 0;
    for (uint32_t i = 0; i < l.n; i++)
        if (bval_is_number(l.v[i]))
            d[n++] = bval_to_double(l.v[i]);
    TRY(percentiles_of(a, d, n, pc->p, pc->n, &r, e));
    *out = x->op->aux ? r : bdoc_get(bval_doc(r), "0"); /* $median gives the one value */
    return RC_OK;
}

EXPR_PARSE(expr__parse_percentile)
{
    struct bval raw[3] = { BVAL_MISSING, BVAL_MISSING, BVAL_MISSING }, p;
    struct pct *pc = ARENA_NEW(ps->q->arena, struct pct);
    struct expr *px;

    TRY(expr__named_args(op, arg, raw, e));
    if (raw[1].type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$%s.method' is the wrong type '%s', expected type 'string'", op->name,
             btype_name(raw[1].type));
    if (!slice_eq_str(bval_str(raw[1]), "approximate"))
        FAIL(e, ERR_BAD_VALUE, "Currently only 'approximate' can be used as a percentile 'method'");
    if (op->aux) {
        TRY(expr__parse(ps, raw[2], &px, e));
        if (!expr_is_const(px, &p))
            FAIL(e, ERR_LOC(7750300),
                 "The $percentile 'p' field must be an array of constant values");
        TRY(percentile_p_parse(ps->q->arena, p, &pc->p, &pc->n, e));
    } else {
        pc->p = ARENA_NEW(ps->q->arena, double);
        *pc->p = 0.5;
        pc->n = 1;
    }
    struct expr *x = expr__new_call(ps, op, 1);
    x->impl = pc;
    TRY(expr__parse(ps, raw[0], &x->args[0], e));
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}
