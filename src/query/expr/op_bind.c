/* op_bind.c - operators that bind variables: $let, $map, $filter, $reduce. */
#include "num_priv.h"

#include "base/mem.h"

/* ---- $let: args are the variables' values, then the body ---- */

EXPR_EVAL(expr__eval_let)
{
    int n = x->n_args - 1;
    struct expr_var *v = ARENA_ARRAY(env_arena(env), struct expr_var, (size_t)n + 1);
    struct expr_env inner = *env;

    for (int i = 0; i < n; i++) {
        v[i].id = x->var + (uint32_t)i;
        TRY(expr__arg(x, i, env, &v[i].val, e)); /* values see the outer scope only */
        v[i].up = i ? &v[i - 1] : env->vars;
    }
    if (n)
        inner.vars = &v[n - 1];
    return expr__arg(x, n, &inner, out, e);
}

EXPR_PARSE(expr__parse_let)
{
    static const struct expr_param params[] = { { "vars", 16876 }, { "in", 16877 } };
    static const struct expr_named named = { params, 2, 16874, 16875 };
    struct expr_op as_named = *op;
    struct bval raw[2];
    struct biter it;

    as_named.named = &named;
    TRY(expr__named_args(&as_named, arg, raw, e));
    if (raw[0].type != BT_DOCUMENT && raw[0].type != BT_ARRAY) /* an array's keys are bad names */
        FAIL(e, ERR_LOC(10065), "invalid parameter: expected an object (vars)");
    int n = (int)bdoc_count(bval_doc(raw[0]));
    struct expr *x = expr__new_call(ps, op, n + 1);
    x->var = ps->next_id;
    ps->next_id += (uint32_t)n;
    const struct expr_scope *outer = ps->scope, *inner = outer;
    biter_init(&it, bval_doc(raw[0]));
    for (int i = 0; biter_next(&it); i++) {
        TRY(expr__check_var_name(it.name, e));
        TRY(expr__parse(ps, it.val, &x->args[i], e));
        struct expr_scope *s = ARENA_NEW(ps->q->arena, struct expr_scope);
        *s = (struct expr_scope){ .up = inner, .name = it.name, .id = x->var + (uint32_t)i };
        inner = s;
    }
    ps->scope = inner;
    rc_t rc = expr__parse(ps, raw[1], &x->args[n], e);
    ps->scope = outer;
    TRY(rc);
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

/* The variable that `as` names, "this" by default. */
static RC as_name(struct bval as, struct slice *name, struct err *e)
{
    *name = SLICE_LIT("this");
    if (bval_is_missing(as))
        return RC_OK;
    *name = as.type == BT_STRING ? bval_str(as) : SLICE_EMPTY;
    return expr__check_var_name(*name, e);
}

static RC parse_inside(struct expr_parser *ps, const struct expr_scope *scope, struct bval spec,
                       struct expr **out, struct err *e)
{
    const struct expr_scope *outer = ps->scope;

    ps->scope = scope;
    rc_t rc = expr__parse(ps, spec, out, e);
    ps->scope = outer;
    return rc;
}

/* ---- $map ---- */

EXPR_EVAL(expr__eval_map)
{
    struct vals l = vals_in(env_arena(env));
    struct bval in, v;
    struct biter it;

    TRY(expr__arg(x, 0, env, &in, e));
    if (bval_is_nullish(in)) {
        *out = val_null();
        return RC_OK;
    }
    if (in.type != BT_ARRAY)
        FAIL(e, ERR_LOC(16883), "input to $map must be an array not %s", btype_name(in.type));
    struct expr_var var = { .up = env->vars, .id = x->var };
    struct expr_env inner = *env;
    inner.vars = &var;
    biter_init(&it, bval_doc(in));
    while (biter_next(&it)) {
        TRY(qctx_check(env->q, e));
        var.val = it.val;
        TRY(expr__arg(x, 1, &inner, &v, e));
        vals_push(&l, v);
    }
    return vals_array(l.arena, l.v, l.n, out, e);
}

EXPR_PARSE(expr__parse_map)
{
    static const struct expr_param params[] = { { "input", 16880 }, { "as", 0 }, { "in", 16882 } };
    static const struct expr_named named = { params, 3, 16878, 16879 };
    struct expr_op as_named = *op;
    struct bval raw[3];
    struct slice name;

    as_named.named = &named;
    TRY(expr__named_args(&as_named, arg, raw, e));
    struct expr *x = expr__new_call(ps, op, 2);
    TRY(expr__parse(ps, raw[0], &x->args[0], e));
    TRY(as_name(raw[1], &name, e));
    const struct expr_scope *s = expr__bind(ps, name, &x->var);
    TRY(parse_inside(ps, s, raw[2], &x->args[1], e));
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

/* ---- $filter: input, cond, limit ---- */

static RC filter_limit(const struct expr *x, struct expr_env *env, int32_t *limit, struct err *e)
{
    struct bval v;
    bool given;

    *limit = INT32_MAX;
    TRY(expr__opt(x, 2, env, &given, &v, e));
    if (!given || bval_is_nullish(v))
        return RC_OK;
    if (!num__to_i32(v, limit))
        FAIL(e, ERR_LOC(327391), "$filter: limit must be represented as a 32-bit integral value");
    if (*limit <= 0)
        FAIL(e, ERR_LOC(327392), "$filter: limit must be greater than 0: %d", *limit);
    return RC_OK;
}

EXPR_EVAL(expr__eval_filter)
{
    struct vals l = vals_in(env_arena(env));
    struct bval in, v;
    struct biter it;
    int32_t limit;

    TRY(expr__arg(x, 0, env, &in, e));
    if (bval_is_nullish(in)) {
        *out = val_null();
        return RC_OK;
    }
    if (in.type != BT_ARRAY)
        FAIL(e, ERR_LOC(28651), "input to $filter must be an array not %s", btype_name(in.type));
    TRY(filter_limit(x, env, &limit, e));
    struct expr_var var = { .up = env->vars, .id = x->var };
    struct expr_env inner = *env;
    inner.vars = &var;
    biter_init(&it, bval_doc(in));
    while ((int64_t)l.n < limit && biter_next(&it)) {
        TRY(qctx_check(env->q, e));
        var.val = it.val;
        TRY(expr__arg(x, 1, &inner, &v, e));
        if (bval_truthy(v))
            vals_push(&l, it.val);
    }
    return vals_array(l.arena, l.v, l.n, out, e);
}

EXPR_PARSE(expr__parse_filter)
{
    static const struct expr_param params[] = {
        { "input", 28648 }, { "as", 0 }, { "cond", 28650 }, { "limit", 0 }
    };
    static const struct expr_named named = { params, 4, 28646, 28647 };
    struct expr_op as_named = *op;
    struct bval raw[4];
    struct slice name;

    as_named.named = &named;
    TRY(expr__named_args(&as_named, arg, raw, e));
    struct expr *x = expr__new_call(ps, op, 3);
    TRY(expr__parse(ps, raw[0], &x->args[0], e));
    TRY(as_name(raw[1], &name, e));
    const struct expr_scope *s = expr__bind(ps, name, &x->var);
    TRY(parse_inside(ps, s, raw[2], &x->args[1], e));
    if (!bval_is_missing(raw[3]))
        TRY(expr__parse(ps, raw[3], &x->args[2], e));
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

/* ---- $reduce: input, initialValue, in; binds value and this ---- */

EXPR_EVAL(expr__eval_reduce)
{
    struct bval in, acc;
    struct biter it;

    TRY(expr__arg(x, 0, env, &in, e));
    if (bval_is_nullish(in)) {
        *out = val_null();
        return RC_OK;
    }
    if (in.type != BT_ARRAY)
        FAIL(e, ERR_LOC(40080), "$reduce requires that 'input' be an array, found: %s",
             btype_name(in.type));
    TRY(expr__arg(x, 1, env, &acc, e));
    struct expr_var value = { .up = env->vars, .id = x->var },
                    this = { .up = &value, .id = x->var + 1 };
    struct expr_env inner = *env;
    inner.vars = &this;
    biter_init(&it, bval_doc(in));
    while (biter_next(&it)) {
        TRY(qctx_check(env->q, e));
        value.val = acc;
        this.val = it.val;
        TRY(expr__arg(x, 2, &inner, &acc, e));
    }
    *out = acc;
    return RC_OK;
}

EXPR_PARSE(expr__parse_reduce)
{
    static const struct expr_param params[] = { { "input", 40077 },
                                                { "initialValue", 40078 },
                                                { "in", 40079 } };
    static const struct expr_named named = { params, 3, 40075, 40076 };
    struct expr_op as_named = *op;
    struct bval raw[3];
    uint32_t this_id;

    as_named.named = &named;
    TRY(expr__named_args(&as_named, arg, raw, e));
    struct expr *x = expr__new_call(ps, op, 3);
    TRY(expr__parse(ps, raw[0], &x->args[0], e));
    TRY(expr__parse(ps, raw[1], &x->args[1], e));
    const struct expr_scope *outer = ps->scope;
    ps->scope = expr__bind(ps, SLICE_LIT("value"), &x->var);
    const struct expr_scope *s = expr__bind(ps, SLICE_LIT("this"), &this_id);
    ps->scope = outer;
    INVARIANT(this_id == x->var + 1);
    TRY(parse_inside(ps, s, raw[2], &x->args[2], e));
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}
