/* parse.c - filters to trees: the top level, the logical operators, fields. The operators of a field are in parse_ops.c. */
#include "match_priv.h"

#include "base/mem.h"
#include "bsonx/bw.h"

void match__list_push(struct arena *a, struct match__list *l, struct match_node *n)
{
    if (l->n == l->cap) {
        int cap = l->cap ? 2 * l->cap : 4;
        struct match_node **v = ARENA_ARRAY(a, struct match_node *, (size_t)cap);

        if (l->n)
            memcpy(v, l->v, (size_t)l->n * sizeof(*v));
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = n;
}

/* split_path(): the components of a dotted path; a node inside value $elemMatch has none. */
static const struct slice *split_path(struct arena *a, struct slice path, int *n)
{
    struct slice *parts;
    size_t start = 0;
    int count = 1, at = 0;

    *n = 0;
    if (!path.p)
        return NULL;
    for (size_t i = 0; i < path.len; i++)
        count += path.p[i] == '.';
    parts = ARENA_ARRAY(a, struct slice, (size_t)count);
    for (size_t i = 0; i <= path.len; i++) {
        if (i == path.len || path.p[i] == '.') {
            parts[at++] = SLICE(path.p + start, i - start);
            start = i + 1;
        }
    }
    *n = count;
    return parts;
}

struct match_node *match__node(struct arena *a, enum match_op op, struct slice path)
{
    struct match_node *n = ARENA_NEW(a, struct match_node);

    n->op = op;
    n->path = path;
    n->parts = split_path(a, path, &n->n_parts);
    return n;
}

struct match_node *match__combine(struct arena *a, enum match_op op, const struct match__list *l)
{
    if (l->n == 1 && (op == MATCH_AND || op == MATCH_OR))
        return l->v[0];
    struct match_node *n = match__node(a, op, SLICE_EMPTY);

    n->children = l->v;
    n->n_children = l->n;
    return n;
}

struct match_node *match__not(struct arena *a, struct match_node *child)
{
    struct match__list one = { 0 };

    match__list_push(a, &one, child);
    return match__combine(a, MATCH_NOT, &one);
}

RC match__enter(struct match__parser *p, struct err *e)
{
    if (p->depth >= MATCH_DEPTH_MAX)
        FAIL(e, ERR_BAD_VALUE, "the query is nested deeper than %d levels", MATCH_DEPTH_MAX);
    p->depth++;
    return arena_check(p->q->arena, e);
}

/* A DBRef is a value although its first name starts with $. */
static bool is_db_ref(struct bdoc d)
{
    struct bval ref = bdoc_get(d, "$ref");

    return ref.type == BT_STRING && !bval_is_missing(bdoc_get(d, "$id"));
}

bool match__is_operator_doc(struct bval v)
{
    struct biter it;

    if (v.type != BT_DOCUMENT)
        return false;
    biter_init(&it, bval_doc(v));
    return biter_next(&it) && it.name.len > 0 && it.name.p[0] == '$' && !is_db_ref(bval_doc(v));
}

/* ---- the logical operators ---- */

/* parse_branch(): one element of $and, $or, $nor as one node. */
static RC parse_branch(struct match__parser *p, struct bval v, struct slice op,
                       struct match_node **out, struct err *e)
{
    struct match__list l = { 0 };

    *out = NULL;
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_BAD_VALUE, "%.*s argument's entries must be objects", (int)op.len, op.p);
    TRY(match__parse_filter(p, bval_doc(v), &l, e));
    *out = match__combine(p->q->arena, MATCH_AND, &l);
    return RC_OK;
}

/* equalities_to_in(): {$or: [{a: 1}, {a: 2}]} is {a: {$in: [1, 2]}}; NULL when l is something else. */
static struct match_node *equalities_to_in(const struct qctx *q, const struct match__list *l)
{
    if (l->n < 2)
        return NULL;
    for (int i = 0; i < l->n; i++) {
        if (l->v[i]->op != MATCH_EQ || l->v[i]->n_parts == 0 ||
            !slice_eq(l->v[i]->path, l->v[0]->path))
            return NULL;
    }
    struct bval *values = ARENA_ARRAY(q->arena, struct bval, (size_t)l->n);

    for (int i = 0; i < l->n; i++)
        values[i] = l->v[i]->operand;
    return match__in(q, l->v[0]->path, values, l->n, NULL);
}

static RC parse_logical(struct match__parser *p, enum match_op op, struct slice name, struct bval v,
                        struct match__list *out, struct err *e)
{
    struct arena *a = p->q->arena;
    struct match__list l = { 0 };
    struct biter it;

    if (v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "%.*s argument must be an array, but was given type: %s",
             (int)name.len, name.p, btype_name(v.type));
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_BAD_VALUE, "%.*s argument must be a non-empty array", (int)name.len, name.p);
    bool was_below = p->below;

    p->below |= op != MATCH_AND;
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct match_node *n;

        TRY(parse_branch(p, it.val, name, &n, e));
        if (op == MATCH_AND && n->op == MATCH_AND) { /* flatten */
            for (int i = 0; i < n->n_children; i++)
                match__list_push(a, out, n->children[i]);
        } else {
            match__list_push(a, op == MATCH_AND ? out : &l, n);
        }
    }
    p->below = was_below;
    if (op != MATCH_AND) {
        struct match_node *n = op == MATCH_OR ? equalities_to_in(p->q, &l) : NULL;

        if (!n)
            n = match__combine(a, op, &l);

        if (n->op == MATCH_AND) { /* $or of one branch */
            for (int i = 0; i < n->n_children; i++)
                match__list_push(a, out, n->children[i]);
        } else {
            match__list_push(a, out, n);
        }
    }
    return RC_OK;
}

static RC parse_expr(struct match__parser *p, struct bval v, struct match__list *out, struct err *e)
{
    struct match_node *n;
    struct expr *x;

    if (p->nested)
        FAIL(e, ERR_BAD_VALUE, "$expr can only be applied to the top-level document");
    if (p->flags & (MATCH_NO_EXPR | MATCH_PARTIAL_INDEX))
        FAIL(e, ERR_QUERY_FEATURE_NOT_ALLOWED, "$expr is not allowed in this context");
    TRY(expr_parse(p->q, v, &x, e));
    n = match__node(p->q->arena, MATCH_EXPR, SLICE_EMPTY);
    n->operand = v;
    n->impl = x;
    match__list_push(p->q->arena, out, n);
    return RC_OK;
}

/* parse_sample_rate(): {$sampleRate: r} is the expression {$lt: [{$rand: {}}, r]}. */
static RC parse_sample_rate(struct match__parser *p, struct bval v, struct match__list *out,
                            struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    double rate = bval_is_number(v) ? bval_to_double(v) : -1;
    struct bw w;

    if (!bval_is_number(v))
        FAIL(e, ERR_BAD_VALUE, "argument to $sampleRate must be a numeric type");
    if (!(rate >= 0 && rate <= 1))
        FAIL(e, ERR_BAD_VALUE, "numeric argument to $sampleRate must be in [0, 1]");
    bw_init(&w, &b);
    bw_array_begin(&w, "$lt");
    bw_doc_begin(&w, NULL);
    bw_doc(&w, "$rand", BDOC_EMPTY);
    bw_doc_end(&w);
    bw_val(&w, NULL, v);
    bw_array_end(&w);
    return parse_expr(p, bval_of_doc(bw_done_arena(&w, p->q->arena), BT_DOCUMENT), out, e);
}

static RC parse_always(struct match__parser *p, enum match_op op, struct slice name, struct bval v,
                       struct match__list *out, struct err *e)
{
    int64_t one;

    if (!bval_to_i64(v, &one) || one != 1)
        FAIL(e, ERR_FAILED_TO_PARSE, "%.*s must be an integer value of 1", (int)name.len, name.p);
    match__list_push(p->q->arena, out, match__node(p->q->arena, op, SLICE_EMPTY));
    return RC_OK;
}

static RC parse_json_schema(struct match__parser *p, struct bval v, struct match__list *out,
                            struct err *e)
{
    struct match__schema *s;

    if (p->flags & (MATCH_NO_EXPR | MATCH_PARTIAL_INDEX))
        FAIL(e, ERR_QUERY_FEATURE_NOT_ALLOWED, "$jsonSchema is not allowed in this context");
    if (p->nested)
        FAIL(e, ERR_BAD_VALUE, "$jsonSchema can only be applied to the top-level document");
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "$jsonSchema must be an object");
    TRY(match__schema_parse(p, v, &s, e));
    struct match_node *n = match__node(p->q->arena, MATCH_JSON_SCHEMA, SLICE_EMPTY);

    n->operand = v;
    n->impl = s;
    match__list_push(p->q->arena, out, n);
    return RC_OK;
}

static RC parse_dollar(struct match__parser *p, struct slice name, struct bval v,
                       struct match__list *out, struct err *e)
{
    if (slice_eq_str(name, "$and"))
        return parse_logical(p, MATCH_AND, name, v, out, e);
    if (slice_eq_str(name, "$or"))
        return parse_logical(p, MATCH_OR, name, v, out, e);
    if (slice_eq_str(name, "$nor"))
        return parse_logical(p, MATCH_NOR, name, v, out, e);
    if (slice_eq_str(name, "$expr"))
        return parse_expr(p, v, out, e);
    if (slice_eq_str(name, "$comment"))
        return RC_OK;
    if (slice_eq_str(name, "$jsonSchema"))
        return parse_json_schema(p, v, out, e);
    if (slice_eq_str(name, "$sampleRate"))
        return parse_sample_rate(p, v, out, e);
    if (slice_eq_str(name, "$alwaysTrue"))
        return parse_always(p, MATCH_TRUE, name, v, out, e);
    if (slice_eq_str(name, "$alwaysFalse"))
        return parse_always(p, MATCH_FALSE, name, v, out, e);
    if (slice_eq_str(name, "$where"))
        FAIL(e, ERR_BAD_VALUE,
             "$where needs server-side JavaScript, which this server does not have");
    if (slice_eq_str(name, "$text") && !p->nested && !(p->flags & MATCH_NO_EXPR)) {
        if (v.type != BT_DOCUMENT)
            FAIL(e, ERR_BAD_VALUE, "$text expects an object");
        if (bdoc_get(bval_doc(v), "$search").type != BT_STRING)
            FAIL(e, ERR_NO_SUCH_KEY, "$text needs a $search string");
        FAIL(e, ERR_INDEX_NOT_FOUND, "text index required for $text query");
    }
    FAIL(
        e, ERR_BAD_VALUE,
        "unknown top level operator: %.*s. If you have a field name that starts with a '$' symbol, consider using $getField or $setField.",
        (int)name.len, name.p);
}

static RC parse_field(struct match__parser *p, struct slice name, struct bval v,
                      struct match__list *out, struct err *e)
{
    struct match_node *n;

    if (match__is_operator_doc(v))
        return match__parse_ops(p, name, bval_doc(v), out, e);
    if (v.type == BT_UNDEFINED)
        FAIL(e, ERR_BAD_VALUE, "cannot compare to undefined");
    if (v.type == BT_REGEX) {
        struct slice pattern, flags;
        struct match__regex *r;

        bval_regex(v, &pattern, &flags);
        TRY(match__regex_parse(p->q, pattern, flags, &r, e));
        n = match__node(p->q->arena, MATCH_REGEX, name);
        n->impl = r;
    } else {
        n = match__node(p->q->arena, MATCH_EQ, name);
    }
    n->operand = v;
    match__list_push(p->q->arena, out, n);
    return RC_OK;
}

RC match__parse_filter(struct match__parser *p, struct bdoc filter, struct match__list *out,
                       struct err *e)
{
    struct biter it;

    TRY(match__enter(p, e));
    biter_init(&it, filter);
    while (biter_next(&it)) {
        if (it.name.len > 0 && it.name.p[0] == '$')
            TRY(parse_dollar(p, it.name, it.val, out, e));
        else
            TRY(parse_field(p, it.name, it.val, out, e));
    }
    p->depth--;
    return RC_OK;
}

/* ---- what a partial index may ask ---- */

static RC check_partial(const struct match_node *n, struct err *e)
{
    switch (n->op) {
    case MATCH_AND:
    case MATCH_OR:
        for (int i = 0; i < n->n_children; i++)
            TRY(check_partial(n->children[i], e));
        return RC_OK;
    case MATCH_IN:
        if (n->n_children > 0)
            break;
        return RC_OK;
    case MATCH_EQ:
    case MATCH_GT:
    case MATCH_GTE:
    case MATCH_LT:
    case MATCH_LTE:
    case MATCH_EXISTS:
    case MATCH_TYPE:
    case MATCH_GEO_WITHIN:
    case MATCH_GEO_INTERSECTS:
    case MATCH_TRUE:
    case MATCH_FALSE: return RC_OK;
    default: break;
    }
    FAIL(e, ERR_CANNOT_CREATE_INDEX, "unsupported expression in partial index");
}

static bool walks_paths(const struct match_node *n)
{
    if (n->op == MATCH_NOT || n->op == MATCH_NOR || n->op == MATCH_OR)
        return false; /* they leave no position behind */
    if (n->n_parts > 0)
        return true;
    for (int i = 0; i < n->n_children; i++) {
        if (walks_paths(n->children[i]))
            return true;
    }
    return false;
}

/* MongoDB evaluates the conjuncts in this order; the last that leaves a position behind wins. */
static int rank(enum match_op op)
{
    static const enum match_op order[] = { MATCH_AND,
                                           MATCH_OR,
                                           MATCH_ELEM_MATCH_OBJECT,
                                           MATCH_ELEM_MATCH_VALUE,
                                           MATCH_SIZE,
                                           MATCH_EQ,
                                           MATCH_LTE,
                                           MATCH_LT,
                                           MATCH_GT,
                                           MATCH_GTE,
                                           MATCH_REGEX,
                                           MATCH_MOD,
                                           MATCH_EXISTS,
                                           MATCH_IN,
                                           MATCH_BITS,
                                           MATCH_NOT,
                                           MATCH_NOR,
                                           MATCH_TYPE };

    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        if (order[i] == op)
            return (int)i;
    }
    return (int)ARRAY_LEN(order);
}

static bool before(const struct match_node *a, const struct match_node *b)
{
    int x = rank(a->op), y = rank(b->op);

    return x != y ? x < y : slice_cmp(a->path, b->path) < 0;
}

/* sort_conjuncts(): a merge sort, because equal ones keep their order. */
static void sort_conjuncts(struct match_node **v, struct match_node **tmp, int n)
{
    int half = n / 2, i = 0, k = half, at = 0;

    if (n < 2)
        return;
    sort_conjuncts(v, tmp, half);
    sort_conjuncts(v + half, tmp, n - half);
    while (i < half || k < n)
        tmp[at++] = k == n || (i < half && !before(v[k], v[i])) ? v[i++] : v[k++];
    memcpy(v, tmp, (size_t)n * sizeof(*v));
}

RC match_parse(struct qctx *q, struct bdoc filter, unsigned flags, struct match **out,
               struct err *e)
{
    struct match__parser p = { .q = q, .flags = flags };
    struct match__list l = { 0 };

    *out = NULL;
    TRY(match__parse_filter(&p, filter, &l, e));
    struct match *m = ARENA_NEW(q->arena, struct match);

    m->root = match__node(q->arena, MATCH_AND, SLICE_EMPTY);
    m->root->children = l.v;
    m->root->n_children = l.n;
    sort_conjuncts(l.v, ARENA_ARRAY(q->arena, struct match_node *, (size_t)l.n + 1), l.n);
    if (flags & MATCH_PARTIAL_INDEX)
        TRY(check_partial(m->root, e));
    m->near = p.near;
    m->uses_positional = walks_paths(m->root);
    *out = m;
    return RC_OK;
}
