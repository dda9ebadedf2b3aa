/* op_logic.c - comparison, boolean and conditional operators.
 *
 * Comparison is by the order of all BSON types; missing stands below null here. $and, $or, $cond, $ifNull and $switch evaluate only
 * what they need.
 */
#include "expr_priv.h"

#include "base/mem.h"

int val__cmp(const struct collator *in, struct bval a, struct bval b)
{
    bool ma = bval_is_missing(a) || a.type == BT_UNDEFINED,
         mb = bval_is_missing(b) || b.type == BT_UNDEFINED;

    if (ma != mb) {
        if ((ma ? b : a).type == BT_MIN_KEY)
            return ma ? 1 : -1;
        return ma ? -1 : 1;
    }
    return ma ? 0 : bval_cmp_in(in, a, b);
}

EXPR_EVAL(expr__eval_compare)
{
    struct bval a, b;
    bool r = false;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    int c = val__cmp(env->q->collator, a, b);
    switch ((enum cmp_kind)x->op->aux) {
    case CMP_CMP: *out = bval_new_i32(env_arena(env), c < 0 ? -1 : c > 0); return RC_OK;
    case CMP_EQ: r = c == 0; break;
    case CMP_NE: r = c != 0; break;
    case CMP_GT: r = c > 0; break;
    case CMP_GTE: r = c >= 0; break;
    case CMP_LT: r = c < 0; break;
    case CMP_LTE: r = c <= 0; break;
    }
    *out = bval_new_bool(env_arena(env), r);
    return RC_OK;
}

EXPR_EVAL(expr__eval_and)
{
    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (!bval_truthy(v)) {
            *out = bval_new_bool(env_arena(env), false);
            return RC_OK;
        }
    }
    *out = bval_new_bool(env_arena(env), true);
    return RC_OK;
}

EXPR_EVAL(expr__eval_or)
{
    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_truthy(v)) {
            *out = bval_new_bool(env_arena(env), true);
            return RC_OK;
        }
    }
    *out = bval_new_bool(env_arena(env), false);
    return RC_OK;
}

/* One constant that decides does so wherever it stands, whatever the operands before it would raise. */
EXPR_PARSE(expr__parse_and_or)
{
    bool decisive = op->aux;

    TRY(expr__parse_list(ps, op, arg, out, e));
    for (int i = 0; (*out)->kind == EXPR_CALL && i < (*out)->n_args; i++) {
        struct bval v;
        if (expr_is_const((*out)->args[i], &v) && bval_truthy(v) == decisive)
            *out = expr__new_const(ps->q->arena, bval_new_bool(ps->q->arena, decisive));
    }
    return RC_OK;
}

EXPR_EVAL(expr__eval_not)
{
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    *out = bval_new_bool(env_arena(env), !bval_truthy(v));
    return RC_OK;
}

EXPR_EVAL(expr__eval_if_null)
{
    *out = BVAL_MISSING;
    for (int i = 0; i < x->n_args; i++) {
        TRY(expr__arg(x, i, env, out, e));
        if (!bval_is_nullish(*out))
            break;
    }
    return RC_OK;
}

EXPR_PARSE(expr__parse_if_null)
{
    if (arg.type != BT_ARRAY || bdoc_count(bval_doc(arg)) < 2)
        FAIL(e, ERR_LOC(1257300), "$ifNull needs at least two arguments, had: %u",
             arg.type == BT_ARRAY ? bdoc_count(bval_doc(arg)) : 1);
    return expr__parse_list(ps, op, arg, out, e);
}

/* ---- $cond ---- */

EXPR_EVAL(expr__eval_cond)
{
    struct bval c;

    TRY(expr__arg(x, 0, env, &c, e));
    return expr__arg(x, bval_truthy(c) ? 1 : 2, env, out, e);
}

EXPR_PARSE(expr__parse_cond)
{
    static const struct expr_param params[] = { { "if", 17080 },
                                                { "then", 17081 },
                                                { "else", 17082 } };
    static const struct expr_named named = { params, 3, 16020, 17083 };
    struct expr_op as_named = *op;
    struct bval raw[3];

    if (arg.type != BT_DOCUMENT)
        return expr__parse_list(ps, op, arg, out, e);
    as_named.named = &named;
    TRY(expr__named_args(&as_named, arg, raw, e));
    struct expr *x = expr__new_call(ps, op, 3);
    for (int i = 0; i < 3; i++)
        TRY(expr__parse(ps, raw[i], &x->args[i], e));
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

/* ---- $switch: args are case, then, case, then, ..., default (or NULL) ---- */

EXPR_EVAL(expr__eval_switch)
{
    int n = x->n_args - 1;

    for (int i = 0; i < n; i += 2) {
        struct bval c;
        TRY(expr__arg(x, i, env, &c, e));
        if (bval_truthy(c))
            return expr__arg(x, i + 1, env, out, e);
    }
    if (!x->args[n])
        FAIL(
            e, ERR_LOC(40066),
            "$switch could not find a matching branch for an input, and no default was specified.");
    return expr__arg(x, n, env, out, e);
}

/* *taken: its case is a true constant, so that nothing after it is reached. */
static RC parse_branch(struct expr_parser *ps, struct bval branch, struct expr **args, bool *taken,
                       struct err *e)
{
    struct bval c = BVAL_MISSING, then = BVAL_MISSING;
    struct biter it;

    if (branch.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40062), "$switch expected each branch to be an object, found: %s",
             btype_name(branch.type));
    biter_init(&it, bval_doc(branch));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "case"))
            c = it.val;
        else if (slice_eq_str(it.name, "then"))
            then = it.val;
        else
            FAIL(e, ERR_LOC(40063), "$switch found an unknown argument to a branch: %.*s",
                 (int)it.name.len, (const char *)it.name.p);
    }
    if (bval_is_missing(c))
        FAIL(e, ERR_LOC(40064), "$switch requires each branch have a 'case' expression");
    if (bval_is_missing(then))
        FAIL(e, ERR_LOC(40065), "$switch requires each branch have a 'then' expression.");
    TRY(expr__parse(ps, c, &args[0], e));
    bool is_const = expr_is_const(args[0], &c), never = is_const && !bval_truthy(c);
    ps->dead += never;
    rc_t rc = expr__parse(ps, then, &args[1], e);
    ps->dead -= never;
    *taken = is_const && !never;
    return rc;
}

/* Branches whose case is a false constant go; a true constant becomes the default and ends the list. Without any branch or default
 * left, no input can match: that is said while parsing. */
static RC simplify_switch(struct expr_parser *ps, struct expr **xp, struct err *e)
{
    struct expr *x = *xp;
    int n = x->n_args - 1, kept = 0;
    struct expr *def = x->args[n];

    for (int i = 0; i < n; i += 2) {
        struct bval c;
        if (expr_is_const(x->args[i], &c)) {
            if (!bval_truthy(c))
                continue;
            def = x->args[i + 1];
            break;
        }
        x->args[kept++] = x->args[i];
        x->args[kept++] = x->args[i + 1];
    }
    if (kept == 0) {
        if (!def)
            FAIL(
                e, ERR_LOC(40069),
                "Cannot execute a switch statement where all the cases evaluate to false without a default.");
        *xp = def;
        return RC_OK;
    }
    x->args[kept] = def;
    x->n_args = kept + 1;
    (void)ps;
    return RC_OK;
}

EXPR_PARSE(expr__parse_switch)
{
    struct bval branches = BVAL_MISSING, def = BVAL_MISSING;
    struct biter it;

    if (arg.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40060), "$switch requires an object as an argument, found: %s",
             btype_name(arg.type));
    biter_init(&it, bval_doc(arg));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "branches")) {
            if (it.val.type != BT_ARRAY)
                FAIL(e, ERR_LOC(40061), "$switch expected an array for 'branches', found: %s",
                     btype_name(it.val.type));
            branches = it.val;
        } else if (slice_eq_str(it.name, "default")) {
            def = it.val;
        } else {
            FAIL(e, ERR_LOC(40067), "$switch found an unknown argument: %.*s", (int)it.name.len,
                 (const char *)it.name.p);
        }
    }
    int n = bval_is_missing(branches) ? 0 : (int)bdoc_count(bval_doc(branches));
    if (n == 0)
        FAIL(e, ERR_LOC(40068), "$switch requires at least one branch.");
    struct expr *x = expr__new_call(ps, op, 2 * n + 1);
    biter_init(&it, bval_doc(branches));
    int dead = ps->dead;
    for (int i = 0; biter_next(&it); i += 2) {
        bool taken = false;
        TRY(parse_branch(ps, it.val, &x->args[i], &taken, e));
        ps->dead += taken;
    }
    ps->dead = dead;
    if (!bval_is_missing(def))
        TRY(expr__parse(ps, def, &x->args[2 * n], e));
    TRY(simplify_switch(ps, &x, e));
    *out = x;
    return RC_OK;
}
