/* parse.c - BSON to nodes: literals, field paths, variables, operator calls; and folding.
 *
 * A document whose first key starts with $ is one operator call; any other is an object literal. Constants are folded as soon as a call
 * is complete, so an error that only constants cause is raised while parsing, as MongoDB's optimiser raises it.
 */
#include "text_priv.h"

#include "base/mem.h"

static RC eval_const(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e)
{
    (void)env;
    (void)e;
    *out = x->val;
    return RC_OK;
}

struct expr *expr__new_const(struct arena *a, struct bval v)
{
    struct expr *x = ARENA_NEW(a, struct expr);

    x->kind = EXPR_CONST;
    x->eval = eval_const;
    x->val = v;
    return x;
}

struct expr *expr__new_call(struct expr_parser *ps, const struct expr_op *op, int n_args)
{
    struct expr *x = ARENA_NEW(ps->q->arena, struct expr);

    x->kind = EXPR_CALL;
    x->op = op;
    x->eval = op->eval;
    x->n_args = n_args;
    x->args = n_args ? ARENA_ARRAY(ps->q->arena, struct expr *, (size_t)n_args) : NULL;
    return x;
}

RC expr__fold(struct expr_parser *ps, struct expr **xp, struct err *e)
{
    struct expr *x = *xp;

    if (x->kind == EXPR_CALL && (x->op->flags & OP_IMPURE))
        return RC_OK;
    for (int i = 0; i < x->n_args; i++)
        if (x->args[i] && x->args[i]->kind != EXPR_CONST)
            return RC_OK;
    struct qctx q = *ps->q;
    struct bval v;
    q.scratch = q.arena;
    struct expr_env env = { .q = &q,
                            .root = bval_of_doc(BDOC_EMPTY, BT_DOCUMENT),
                            .current = bval_of_doc(BDOC_EMPTY, BT_DOCUMENT) };
    struct err ignored = { 0 };
    rc_t rc = x->eval(x, &env, &v, ps->dead ? &ignored : e);
    err_reset(&ignored);
    if (rc.failed)
        return ps->dead ? RC_OK : rc;
    *xp = expr__new_const(ps->q->arena, v);
    return RC_OK;
}

/* ---- names and paths ---- */

static RC check_not_empty(struct slice name, struct err *e)
{
    if (name.len == 0)
        FAIL(e, ERR_LOC(15998), "FieldPath field names may not be empty strings.");
    return RC_OK;
}

RC expr__check_field_name(struct slice name, struct err *e)
{
    TRY(check_not_empty(name, e));
    if (name.p[0] == '$')
        FAIL(
            e, ERR_LOC(16410),
            "FieldPath field names may not start with '$'. Consider using $getField or $setField.");
    if (memchr(name.p, 0, name.len))
        FAIL(e, ERR_LOC(16411), "FieldPath field names may not contain '\\0'.");
    if (memchr(name.p, '.', name.len))
        FAIL(e, ERR_LOC(16412),
             "FieldPath field names may not contain '.'. Consider using $getField or $setField.");
    return RC_OK;
}

static RC split(struct arena *a, struct slice path, RC (*check)(struct slice name, struct err *e),
                const struct slice **parts, int *n, struct err *e)
{
    int count = 1;

    *parts = NULL;
    *n = 0;
    if (path.len == 0)
        FAIL(e, ERR_LOC(40352), "FieldPath cannot be constructed with empty string");
    if (path.p[path.len - 1] == '.')
        FAIL(e, ERR_LOC(40353), "FieldPath must not end with a '.'.");
    for (size_t i = 0; i < path.len; i++)
        count += path.p[i] == '.';
    if (count > QUERY_DEPTH_MAX)
        FAIL(e, ERR_OVERFLOW, "FieldPath is too long");
    struct slice *v = ARENA_ARRAY(a, struct slice, (size_t)count);
    size_t from = 0;
    int k = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.p[i] != '.')
            continue;
        v[k] = SLICE(path.p + from, i - from);
        TRY(check(v[k], e));
        k++;
        from = i + 1;
    }
    *parts = v;
    *n = count;
    return RC_OK;
}

RC expr__split_path(struct arena *a, struct slice path, const struct slice **parts, int *n,
                    struct err *e)
{
    return split(a, path, expr__check_field_name, parts, n, e);
}

RC expr__split_key(struct arena *a, struct slice path, const struct slice **parts, int *n,
                   struct err *e)
{
    return split(a, path, check_not_empty, parts, n, e);
}

static bool is_name_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c >= 0x80;
}

static RC check_name_chars(struct slice name, bool may_be_system, struct err *e)
{
    if (name.len == 0)
        FAIL(e, ERR_FAILED_TO_PARSE, "empty variable names are not allowed");
    uint8_t c = name.p[0];
    bool first_ok = (c >= 'a' && c <= 'z') || c >= 0x80 || (may_be_system && c >= 'A' && c <= 'Z');
    if (!first_ok)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "'%.*s' starts with an invalid character for a user variable name", (int)name.len,
             (const char *)name.p);
    for (size_t i = 1; i < name.len; i++)
        if (!is_name_char(name.p[i]))
            FAIL(e, ERR_FAILED_TO_PARSE, "'%.*s' contains an invalid character for a variable name",
                 (int)name.len, (const char *)name.p);
    return RC_OK;
}

RC expr__check_var_name(struct slice name, struct err *e)
{
    if (slice_eq_str(name, "CURRENT"))
        return RC_OK;
    return check_name_chars(name, false, e);
}

RC expr_check_var_name(struct slice name, struct err *e)
{
    return check_name_chars(name, false, e);
}

const struct expr_scope *expr__bind(struct expr_parser *ps, struct slice name, uint32_t *id)
{
    struct expr_scope *s = ARENA_NEW(ps->q->arena, struct expr_scope);

    s->up = ps->scope;
    s->name = name;
    s->id = *id = ps->next_id++;
    return s;
}

static RC find_var(struct expr_parser *ps, struct slice name, uint32_t *id, struct err *e)
{
    static const struct {
        const char *name;
        uint32_t id;
    } system[] = {
        { "CURRENT", VAR_CURRENT },
        { "ROOT", VAR_ROOT },
        { "NOW", VAR_NOW },
        { "REMOVE", VAR_REMOVE },
        { "USER_ROLES", VAR_USER_ROLES },
        { "SEARCH_META", VAR_SEARCH_META },
    };

    for (const struct expr_scope *s = ps->scope; s; s = s->up) {
        if (slice_eq(s->name, name)) {
            *id = s->id;
            return RC_OK;
        }
    }
    struct biter it;
    biter_init(&it, ps->q->let);
    while (biter_next(&it)) {
        if (slice_eq(it.name, name)) {
            *id = VAR_COMMAND_LET;
            return RC_OK;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(system); i++) {
        if (slice_eq_str(name, system[i].name)) {
            *id = system[i].id;
            return RC_OK;
        }
    }
    if (slice_eq_str(name, "CLUSTER_TIME"))
        FAIL(e, ERR_LOC(10071200),
             "system variable CLUSTER_TIME is not available on a standalone node");
    FAIL(e, ERR_LOC(17276), "Use of undefined variable: %.*s", (int)name.len, (const char *)name.p);
}

static RC var_value(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e)
{
    *out = BVAL_MISSING;
    switch (x->var) {
    case VAR_CURRENT: *out = env->current; return RC_OK;
    case VAR_ROOT: *out = env->root; return RC_OK;
    case VAR_NOW: *out = bval_new_date(env_arena(env), env->q->now_ms); return RC_OK;
    case VAR_REMOVE:
    case VAR_SEARCH_META: return RC_OK;
    case VAR_USER_ROLES: /* known only when the executor put it in let */
        return vals_array(env_arena(env), NULL, 0, out, e);
    case VAR_COMMAND_LET: *out = bdoc_get_slice(env->q->let, x->text); return RC_OK;
    default:
        for (const struct expr_var *v = env->vars; v; v = v->up) {
            if (v->id == x->var) {
                *out = v->val;
                return RC_OK;
            }
        }
        return RC_OK;
    }
}

static RC eval_path(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e)
{
    struct bval v;

    TRY(var_value(x, env, &v, e));
    return val_path(env_arena(env), v, x->names, x->n_names, out, e);
}

/* "$a.b" and "$$var.a.b": raw is with its dollars. */
static RC parse_path(struct expr_parser *ps, struct slice raw, struct expr **out, struct err *e)
{
    struct expr *x = ARENA_NEW(ps->q->arena, struct expr);

    *out = NULL;
    x->kind = EXPR_PATH;
    x->eval = eval_path;
    if (raw.len < 2)
        FAIL(e, ERR_LOC(16872), "'$' by itself is not a valid FieldPath");
    if (raw.p[1] != '$') {
        x->text = SLICE(raw.p + 1, raw.len - 1);
        TRY(expr__split_path(ps->q->arena, x->text, &x->names, &x->n_names, e));
        TRY(find_var(ps, SLICE_LIT("CURRENT"), &x->var, e));
        *out = x;
        return RC_OK;
    }
    struct slice rest = SLICE(raw.p + 2, raw.len - 2);
    const uint8_t *dot = rest.len ? memchr(rest.p, '.', rest.len) : NULL;
    struct slice name = SLICE(rest.p, dot ? (size_t)(dot - rest.p) : rest.len);
    TRY(check_name_chars(name, true, e));
    TRY(find_var(ps, name, &x->var, e));
    if (dot && name.len + 1 == rest.len)
        FAIL(e, ERR_LOC(40353), "FieldPath must not end with a '.'.");
    if (dot)
        TRY(expr__split_path(ps->q->arena, SLICE(dot + 1, rest.len - name.len - 1), &x->names,
                             &x->n_names, e));
    x->text = x->var == VAR_COMMAND_LET
                  ? name
                  : (dot ? SLICE(dot + 1, rest.len - name.len - 1) : SLICE_EMPTY);
    *out = x;
    return RC_OK;
}

/* ---- literals ---- */

static RC eval_object(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e)
{
    struct bval *v = ARENA_ARRAY(env_arena(env), struct bval, (size_t)x->n_args + 1);

    for (int i = 0; i < x->n_args; i++)
        TRY(expr__arg(x, i, env, &v[i], e));
    return vals_object(env_arena(env), x->names, v, (uint32_t)x->n_args, out, e);
}

static RC eval_array(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e)
{
    struct bval *v = ARENA_ARRAY(env_arena(env), struct bval, (size_t)x->n_args + 1);

    for (int i = 0; i < x->n_args; i++)
        TRY(expr__arg(x, i, env, &v[i], e));
    return vals_array(env_arena(env), v, (uint32_t)x->n_args, out, e);
}

static RC parse_literal_list(struct expr_parser *ps, struct bdoc d, enum expr_kind kind,
                             struct expr **out, struct err *e)
{
    uint32_t n = bdoc_count(d);
    struct expr *x = ARENA_NEW(ps->q->arena, struct expr);
    struct slice *names = ARENA_ARRAY(ps->q->arena, struct slice, n + 1);
    struct biter it;

    x->kind = kind;
    x->eval = kind == EXPR_OBJECT ? eval_object : eval_array;
    x->args = ARENA_ARRAY(ps->q->arena, struct expr *, n + 1);
    x->names = names;
    biter_init(&it, d);
    for (int i = 0; biter_next(&it); i++) {
        if (kind == EXPR_OBJECT) {
            TRY(expr__check_field_name(it.name, e));
            for (int k = 0; k < i; k++)
                if (slice_eq(names[k], it.name))
                    FAIL(e, ERR_LOC(16406), "duplicate field name specified in object literal");
        }
        names[i] = it.name;
        TRY(expr__parse(ps, it.val, &x->args[i], e));
        x->n_args = x->n_names = i + 1;
    }
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

/* ---- calls ---- */

RC expr__parse_list(struct expr_parser *ps, const struct expr_op *op, struct bval arg,
                    struct expr **out, struct err *e)
{
    bool many = arg.type == BT_ARRAY;
    int n = many ? (int)bdoc_count(bval_doc(arg)) : 1;

    *out = NULL;
    if (op->max >= 0 && op->min == op->max && n != op->min)
        FAIL(e, ERR_LOC(16020), "Expression $%s takes exactly %d arguments. %d were passed in.",
             op->name, op->min, n);
    if (n < op->min || (op->max >= 0 && n > op->max))
        FAIL(e, ERR_LOC(28667),
             "Expression $%s takes at least %d arguments, and at most %d, but %d were passed in.",
             op->name, op->min, op->max, n);
    struct expr *x = expr__new_call(ps, op, n);
    if (many) {
        struct biter it;
        biter_init(&it, bval_doc(arg));
        for (int i = 0; biter_next(&it); i++)
            TRY(expr__parse(ps, it.val, &x->args[i], e));
    } else {
        TRY(expr__parse(ps, arg, &x->args[0], e));
    }
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

RC expr__named_args(const struct expr_op *op, struct bval arg, struct bval *raw, struct err *e)
{
    const struct expr_named *nd = op->named;
    struct biter it;

    for (int i = 0; i < nd->n; i++)
        raw[i] = BVAL_MISSING;
    if (arg.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(nd->not_object_code), "$%s only supports an object as its argument",
             op->name);
    biter_init(&it, bval_doc(arg));
    while (biter_next(&it)) {
        int i = 0;
        while (i < nd->n && !slice_eq_str(it.name, nd->params[i].name))
            i++;
        if (i == nd->n)
            FAIL(e, ERR_LOC(nd->unknown_code), "Unrecognized argument to $%s: %.*s", op->name,
                 (int)it.name.len, (const char *)it.name.p);
        raw[i] = it.val;
    }
    for (int i = 0; i < nd->n; i++)
        if (nd->params[i].missing_code && bval_is_missing(raw[i]))
            FAIL(e, ERR_LOC(nd->params[i].missing_code), "Missing '%s' parameter to $%s",
                 nd->params[i].name, op->name);
    return RC_OK;
}

RC expr__parse_named(struct expr_parser *ps, const struct expr_op *op, struct bval arg,
                     struct expr **out, struct err *e)
{
    struct bval raw[16];

    *out = NULL;
    INVARIANT((size_t)op->named->n <= ARRAY_LEN(raw));
    TRY(expr__named_args(op, arg, raw, e));
    struct expr *x = expr__new_call(ps, op, op->named->n);
    for (int i = 0; i < op->named->n; i++)
        if (!bval_is_missing(raw[i]))
            TRY(expr__parse(ps, raw[i], &x->args[i], e));
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

RC expr__opt(const struct expr *x, int i, struct expr_env *env, bool *given, struct bval *out,
             struct err *e)
{
    *given = i < x->n_args && x->args[i];
    *out = BVAL_MISSING;
    if (*given)
        TRY(expr__arg(x, i, env, out, e));
    return RC_OK;
}

RC expr__parse_literal(struct expr_parser *ps, const struct expr_op *op, struct bval arg,
                       struct expr **out, struct err *e)
{
    (void)op;
    (void)e;
    *out = expr__new_const(ps->q->arena, arg);
    return RC_OK;
}

bool expr_is_operator(struct slice name)
{
    return name.len > 1 && name.p[0] == '$' && expr_op_find(SLICE(name.p + 1, name.len - 1));
}

static RC parse_call(struct expr_parser *ps, struct bdoc d, struct expr **out, struct err *e)
{
    struct biter it;

    biter_init(&it, d);
    if (!biter_next(&it) || bdoc_count(d) != 1)
        FAIL(e, ERR_LOC(15983), "An object representing an expression must have exactly one field");
    const struct expr_op *op = expr_op_find(SLICE(it.name.p + 1, it.name.len - 1));
    if (!op)
        FAIL(e, ERR_INVALID_PIPELINE_OPERATOR, "Unrecognized expression '%.*s'", (int)it.name.len,
             (const char *)it.name.p);
    return (op->parse ? op->parse : expr__parse_list)(ps, op, it.val, out, e);
}

static RC parse_any(struct expr_parser *ps, struct bval spec, struct expr **out, struct err *e)
{
    struct biter it;

    switch (spec.type) {
    case BT_STRING:
        if (bval_str(spec).len && bval_str(spec).p[0] == '$')
            return parse_path(ps, bval_str(spec), out, e);
        if (bval_str(spec).len >= STRING_BYTES_MAX)
            FAIL(e, ERR_LOC(16493), "string of %zu bytes is above the limit of %d",
                 bval_str(spec).len, STRING_BYTES_MAX);
        break;
    case BT_ARRAY: return parse_literal_list(ps, bval_doc(spec), EXPR_ARRAY, out, e);
    case BT_DOCUMENT:
        biter_init(&it, bval_doc(spec));
        if (biter_next(&it) && it.name.len && it.name.p[0] == '$')
            return parse_call(ps, bval_doc(spec), out, e);
        return parse_literal_list(ps, bval_doc(spec), EXPR_OBJECT, out, e);
    default: break;
    }
    *out = expr__new_const(ps->q->arena, spec);
    return RC_OK;
}

RC expr__parse(struct expr_parser *ps, struct bval spec, struct expr **out, struct err *e)
{
    *out = NULL;
    TRY(qctx_check(ps->q, e));
    if (ps->q->depth >= QUERY_DEPTH_MAX)
        FAIL(e, ERR_OVERFLOW, "expression is nested deeper than %d levels", QUERY_DEPTH_MAX);
    ps->q->depth++;
    rc_t rc = parse_any(ps, spec, out, e);
    ps->q->depth--;
    return rc;
}

/* ---- the module's face ---- */

RC expr_parse(struct qctx *q, struct bval spec, struct expr **out, struct err *e)
{
    struct expr_parser ps = { .q = q, .next_id = VAR_FIRST_USER };

    return expr__parse(&ps, spec, out, e);
}

RC expr_eval(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e)
{
    *out = BVAL_MISSING;
    return x->eval(x, env, out, e);
}

bool expr_is_const(const struct expr *x, struct bval *val)
{
    if (x->kind == EXPR_CONST && val)
        *val = x->val;
    return x->kind == EXPR_CONST;
}

bool expr_path(const struct expr *x, struct slice *path)
{
    if (x->kind != EXPR_PATH || (x->var != VAR_CURRENT && x->var != VAR_ROOT) || x->n_names == 0)
        return false;
    *path = x->text;
    return true;
}

bool expr_is_field_path(const struct expr *x)
{
    return x->kind == EXPR_PATH;
}

void expr_deps(const struct expr *x, void (*fn)(struct slice path, void *arg), void *arg,
               bool *whole)
{
    struct slice path;

    if (!x)
        return;
    if (expr_path(x, &path))
        fn(path, arg);
    else if (x->kind == EXPR_PATH && (x->var == VAR_CURRENT || x->var == VAR_ROOT))
        *whole = true;
    for (int i = 0; i < x->n_args; i++)
        expr_deps(x->args[i], fn, arg, whole);
}

RC expr_split_path(struct arena *a, struct slice path, const struct slice **parts, int *n,
                   struct err *e)
{
    return expr__split_path(a, path, parts, n, e);
}

RC expr_check_field_name(struct slice name, struct err *e)
{
    return expr__check_field_name(name, e);
}
