/* op_object.c - $mergeObjects, $getField, $setField, $unsetField. */
#include "expr_priv.h"

#include "base/mem.h"

static RC merge_one(struct fields *f, struct bval v, struct err *e)
{
    struct biter it;

    if (bval_is_nullish(v))
        return RC_OK;
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40400), "$mergeObjects requires object inputs, but input is of type %s",
             btype_name(v.type));
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        fields_set(f, it.name, it.val);
    return RC_OK;
}

EXPR_EVAL(expr__eval_merge_objects)
{
    struct fields f = fields_in(env_arena(env));

    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        struct biter it;
        TRY(expr__arg(x, i, env, &v, e));
        if (x->n_args > 1 || v.type != BT_ARRAY) {
            TRY(merge_one(&f, v, e));
            continue;
        }
        biter_init(&it, bval_doc(v)); /* one argument that is an array: its elements */
        while (biter_next(&it)) {
            TRY(qctx_check(env->q, e));
            TRY(merge_one(&f, it.val, e));
        }
    }
    return fields_object(&f, out, e);
}

/* ---- $getField: field, input ---- */

EXPR_EVAL(expr__eval_get_field)
{
    struct bval name, in;

    TRY(expr__arg(x, 0, env, &name, e));
    if (name.type != BT_STRING)
        FAIL(e, ERR_LOC(3041704),
             "$getField requires 'field' to evaluate to type String, but got %s",
             btype_name(name.type));
    if (x->args[1])
        TRY(expr__arg(x, 1, env, &in, e));
    else
        in = env->current;
    if (in.type == BT_DOCUMENT)
        *out = bdoc_get_slice(bval_doc(in), bval_str(name));
    else
        *out =
            bval_is_nullish(in) ? (bval_is_missing(in) ? BVAL_MISSING : val_null()) : BVAL_MISSING;
    return RC_OK;
}

/* The name as given: a string is itself (only $literal may say one that starts with a dollar). */
static RC field_name_expr(struct expr_parser *ps, struct bval spec, struct expr **out,
                          struct err *e)
{
    return expr__parse(ps, spec, out, e);
}

EXPR_PARSE(expr__parse_get_field)
{
    static const struct expr_param params[] = { { "field", 3041702 }, { "input", 3041703 } };
    static const struct expr_named named = { params, 2, 0, 3041701 };
    struct expr_op as_named = *op;
    struct bval raw[2] = { arg, BVAL_MISSING };
    struct biter it;
    bool is_call = false;

    if (arg.type == BT_DOCUMENT) {
        biter_init(&it, bval_doc(arg));
        is_call = biter_next(&it) && it.name.len && it.name.p[0] == '$';
        as_named.named = &named;
        if (!is_call)
            TRY(expr__named_args(&as_named, arg, raw, e));
    }
    struct expr *x = expr__new_call(ps, op, 2);
    struct bval name;
    TRY(field_name_expr(ps, raw[0], &x->args[0], e));
    if (expr_is_const(x->args[0], &name) && name.type != BT_STRING)
        FAIL(e, ERR_LOC(3041704),
             "$getField requires 'field' to evaluate to type String, but got %s",
             btype_name(name.type));
    if (!bval_is_missing(raw[1])) {
        TRY(expr__parse(ps, raw[1], &x->args[1], e));
        TRY(expr__fold(ps, &x, e));
    } else { /* reads $$CURRENT */
        TRY(expr__parse(ps, bval_new_str(ps->q->arena, SLICE_LIT("$$CURRENT")), &x->args[1], e));
    }
    *out = x;
    return RC_OK;
}

/* ---- $setField: field, input, value; $unsetField: field, input ---- */

EXPR_EVAL(expr__eval_set_field)
{
    struct fields f = fields_in(env_arena(env));
    struct bval in, v = BVAL_MISSING;

    TRY(expr__arg(x, 1, env, &in, e));
    if (x->args[2])
        TRY(expr__arg(x, 2, env, &v, e));
    if (bval_is_nullish(in)) {
        *out = val_null();
        return RC_OK;
    }
    if (in.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(4161105), "$%s requires 'input' to evaluate to type Object", x->op->name);
    fields_push_all(&f, bval_doc(in));
    fields_set(&f, bval_str(x->args[0]->val), v);
    return fields_object(&f, out, e);
}

/* A name is a constant as it is written: what only folding makes one does not count. */
static bool written_constant(struct bval spec)
{
    struct biter it;

    if (spec.type != BT_DOCUMENT && spec.type != BT_ARRAY)
        return true;
    biter_init(&it, bval_doc(spec));
    if (!biter_next(&it))
        return true;
    return spec.type == BT_DOCUMENT &&
           (slice_eq_str(it.name, "$literal") || slice_eq_str(it.name, "$const"));
}

EXPR_PARSE(expr__parse_set_field)
{
    bool unset = op->aux;
    static const struct expr_param set_params[] = { { "field", 4161102 },
                                                    { "input", 0 },
                                                    { "value", 4161103 } };
    static const struct expr_named set_named = { set_params, 3, 4161100, 4161101 },
                                   unset_named = { set_params, 2, 4161100, 4161101 };
    struct expr_op as_named = *op;
    struct bval raw[3] = { BVAL_MISSING, BVAL_MISSING, BVAL_MISSING }, name;

    as_named.named = unset ? &unset_named : &set_named;
    TRY(expr__named_args(&as_named, arg, raw, e));
    if (bval_is_missing(raw[1]))
        FAIL(e, ERR_LOC(4161109), "Missing 'input' parameter to $%s", op->name);
    struct expr *x = expr__new_call(ps, op, 3);
    TRY(expr__parse(ps, raw[0], &x->args[0], e));
    TRY(expr__parse(ps, raw[1], &x->args[1], e));
    if (!bval_is_missing(raw[2]))
        TRY(expr__parse(ps, raw[2], &x->args[2], e));
    if (raw[0].type == BT_STRING && bval_str(raw[0]).len && bval_str(raw[0]).p[0] == '$')
        FAIL(e, ERR_LOC(4161108),
             "$%s requires 'field' to evaluate to a constant, but got a field path: use $literal",
             op->name);
    if (!expr_is_const(x->args[0], &name) || !written_constant(raw[0]))
        FAIL(e, ERR_LOC(4161106), "$%s requires 'field' to evaluate to a constant", op->name);
    if (name.type != BT_STRING)
        FAIL(e, ERR_LOC(4161107), "$%s requires 'field' to evaluate to type String, but got %s",
             op->name, btype_name(name.type));
    if (bval_str(name).len && memchr(bval_str(name).p, 0, bval_str(name).len))
        FAIL(e, ERR_LOC(9534700), "$%s: 'field' cannot contain an embedded null byte", op->name);
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}
