/* parse.c - projections to trees.
 *
 * Whether a projection includes or excludes shows at its first field that says so; _id says nothing unless it stands alone. Documents nest
 * paths. What is neither a number, a boolean nor a find operator is an expression.
 */
#include "base/map.h"
#include "base/mem.h"
#include "project_priv.h"

struct parser {
    struct qctx *q;
    enum project_kind kind;
    struct project *p;
    bool typed; /* mode is known */
    bool id_included, id_excluded, has_elem_match;
    struct slice path[PROJECT_PATH_PARTS_MAX]; /* of the field that is being parsed */
    int depth;
};

/* So many children are looked through one by one. A client may name a million, and a document hold as many. */
enum { FEW_CHILDREN = 16 };

/* The slot of that name: its own, or the free one where it belongs. */
static int32_t *slot_of(const struct project__node *n, struct slice name)
{
    size_t mask = 2 * (size_t)n->cap - 1, at = hash_bytes(name) & mask;

    while (n->slots[at] && !slice_eq(n->children[n->slots[at] - 1]->name, name))
        at = (at + 1) & mask;
    return &n->slots[at];
}

int project__find(const struct project__node *n, struct slice name)
{
    if (n->slots)
        return *slot_of(n, name) - 1;
    for (int i = 0; i < n->n; i++) {
        if (slice_eq(n->children[i]->name, name))
            return i;
    }
    return -1;
}

static struct project__node *add_child(struct arena *a, struct project__node *n, struct slice name)
{
    struct project__node *c = ARENA_NEW(a, struct project__node);

    c->name = name;
    if (n->n == n->cap) {
        int cap = n->cap ? 2 * n->cap : 4;
        struct project__node **v = ARENA_ARRAY(a, struct project__node *, (size_t)cap);

        if (n->n)
            memcpy(v, n->children, (size_t)n->n * sizeof(*v));
        n->children = v;
        n->cap = cap;
        if (cap > FEW_CHILDREN) {
            n->slots = ARENA_ARRAY(a, int32_t, 2 * (size_t)cap);
            for (int i = 0; i < n->n; i++)
                *slot_of(n, v[i]->name) = i + 1;
        }
    }
    n->children[n->n++] = c;
    if (n->slots)
        *slot_of(n, name) = n->n;
    return c;
}

/* ---- paths ---- */

/* push_path(): the components of a field name behind those of its parents; *n says how many. */
static RC push_path(struct parser *ps, struct slice name, int *n, struct err *e)
{
    size_t start = 0;

    *n = 0;
    if (name.len == 0)
        FAIL(e, ERR_LOC(40352), "FieldPath cannot be constructed with empty string");
    if (name.p[name.len - 1] == '.')
        FAIL(e, ERR_LOC(40353), "FieldPath must not end with a '.'.");
    for (size_t i = 0; i <= name.len; i++) {
        if (i < name.len && name.p[i] != '.')
            continue;
        if (i == start)
            FAIL(e, ERR_LOC(15998), "FieldPath field names may not be empty strings");
        if (name.p[start] == '$')
            FAIL(
                e, ERR_LOC(16410),
                "FieldPath field names may not start with '$'. Consider using $getField or $setField");
        if (ps->depth + *n == PROJECT_PATH_PARTS_MAX)
            FAIL(e, ERR_OVERFLOW, "FieldPath is too long");
        ps->path[ps->depth + (*n)++] = SLICE(name.p + start, i - start);
        start = i + 1;
    }
    return RC_OK;
}

/* leaf(): the node at the present path, which must be new. */
static RC leaf(struct parser *ps, enum project__leaf kind, struct project__node **out,
               struct err *e)
{
    struct project__node *n = ps->p->root;

    *out = NULL;
    TRY(arena_check(ps->q->arena, e));
    n->computed |= kind == LEAF_EXPR || kind == LEAF_ELEM_MATCH;
    for (int i = 0; i < ps->depth; i++) {
        int at = project__find(n, ps->path[i]);

        if (i + 1 == ps->depth && at >= 0)
            FAIL(e, ERR_LOC(ps->kind == PROJECT_ADD_FIELDS ? 40176 : 31250),
                 "path collision at %.*s", (int)ps->path[i].len, ps->path[i].p);
        n = at >= 0 ? n->children[at] : add_child(ps->q->arena, n, ps->path[i]);
        if (i + 1 < ps->depth && n->leaf != LEAF_NONE)
            FAIL(e, ERR_LOC(ps->kind == PROJECT_ADD_FIELDS ? 40176 : 31249),
                 "path collision at %.*s", (int)ps->path[i + 1].len, ps->path[i + 1].p);
        if (kind == LEAF_EXPR)
            n->computed = true;
    }
    n->leaf = kind;
    *out = n;
    return RC_OK;
}

static RC set_mode(struct parser *ps, enum project__mode mode, struct err *e)
{
    struct slice name = ps->path[ps->depth - 1];

    if (!ps->typed) {
        ps->typed = true;
        ps->p->mode = mode;
        return RC_OK;
    }
    if (ps->p->mode == mode)
        return RC_OK;
    if (mode == MODE_INCLUDE)
        FAIL(e, ERR_LOC(31253), "cannot do inclusion on field %.*s in exclusion projection",
             (int)name.len, name.p);
    FAIL(e, ERR_LOC(31254), "cannot do exclusion on field %.*s in inclusion projection",
         (int)name.len, name.p);
}

static bool is_id(const struct parser *ps)
{
    return ps->depth == 1 && slice_eq_str(ps->path[0], "_id");
}

/* ---- values ---- */

static RC parse_flag(struct parser *ps, bool include, struct err *e)
{
    struct project__node *n;

    if (is_id(ps)) {
        ps->id_included |= include;
        ps->id_excluded |= !include;
        return leaf(ps, include ? LEAF_INCLUDE : LEAF_EXCLUDE, &n, e);
    }
    TRY(set_mode(ps, include ? MODE_INCLUDE : MODE_EXCLUDE, e));
    return leaf(ps, include ? LEAF_INCLUDE : LEAF_EXCLUDE, &n, e);
}

static RC parse_expr(struct parser *ps, struct bval v, bool operator, struct err * e)
{
    struct project__node *n;
    struct expr *x;

    if (ps->kind != PROJECT_ADD_FIELDS && ps->typed && ps->p->mode == MODE_EXCLUDE)
        FAIL(e, ERR_LOC(operator? 31252 : 31310),
             "cannot use an expression in an exclusion projection");
    TRY(expr_parse(ps->q, v, &x, e));
    if (ps->kind != PROJECT_ADD_FIELDS)
        TRY(set_mode(ps, MODE_INCLUDE, e));
    TRY(leaf(ps, LEAF_EXPR, &n, e));
    n->expr = x;
    return RC_OK;
}

/* truncated(): a number without its fraction, clamped to 64 bits; NaN is 0. */
static int64_t truncated(struct bval v)
{
    int64_t i;
    double d;

    if (bval_to_i64(v, &i))
        return i;
    d = bval_to_double(v);
    if (d != d)
        return 0;
    return d >= 0x1p63 ? INT64_MAX : d < -0x1p63 ? INT64_MIN : (int64_t)d;
}

/* find_slice(): whether v is an operand of find's $slice rather than of the expression of that name. */
static bool find_slice(struct bval v, struct bval pair[2])
{
    struct biter it;
    int n = 0;

    if (v.type != BT_ARRAY)
        return bval_is_number(v);
    biter_init(&it, bval_doc(v));
    for (; biter_next(&it); n++) {
        if (n == 2 || !bval_is_number(it.val))
            return false;
        pair[n] = it.val;
    }
    return n == 2;
}

static RC parse_slice(struct parser *ps, struct bval v, const struct bval pair[2], struct err *e)
{
    struct project__node *n;
    bool has_skip = v.type == BT_ARRAY;
    int64_t limit = truncated(has_skip ? pair[1] : v);

    if (has_skip && limit <= 0)
        FAIL(e, ERR_LOC(28724), "$slice limit must be positive");
    TRY(leaf(ps, LEAF_SLICE, &n, e));
    n->has_skip = has_skip;
    n->skip = has_skip ? truncated(pair[0]) : 0;
    n->limit = limit;
    return RC_OK;
}

static RC parse_elem_match(struct parser *ps, struct bdoc spec, struct bval v, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct project__node *n;
    struct bw w;

    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(31274), "elemMatch: invalid argument, object required, but got %s",
             btype_name(v.type));
    if (ps->p->positional)
        FAIL(e, ERR_LOC(31255), "cannot specify positional operator and $elemMatch");
    if (ps->depth > 1)
        FAIL(e, ERR_LOC(31275), "cannot use $elemMatch projection on a nested field");
    ps->has_elem_match = true;
    TRY(leaf(ps, LEAF_ELEM_MATCH, &n, e));
    bw_init(&w, &b);
    bw_val_slice(&w, ps->path[0], bval_of_doc(spec, BT_DOCUMENT));
    return match_parse(ps->q, bw_done_arena(&w, ps->q->arena), MATCH_NO_EXPR | MATCH_IN_AGG,
                       &n->match, e);
}

/* under_positional(): the field is the one that "a.$" speaks of. */
static bool under_positional(const struct parser *ps)
{
    int at = project__find(ps->p->root, ps->path[0]);

    return at >= 0 && ps->p->root->children[at]->positional;
}

/* parse_meta(): metadata goes with either kind of projection. */
static RC parse_meta(struct parser *ps, struct bval spec, struct err *e)
{
    struct project__node *n;
    struct expr *x;

    TRY(expr_parse(ps->q, spec, &x, e));
    TRY(leaf(ps, LEAF_EXPR, &n, e));
    n->expr = x;
    return RC_OK;
}

/* parse_operator(): {$op: operand} as the value of a field. */
static RC parse_operator(struct parser *ps, struct bval spec, struct slice op, struct bval v,
                         struct err *e)
{
    struct bval pair[2];
    bool find = ps->kind == PROJECT_FIND;

    if (find && slice_eq_str(op, "$slice") && !under_positional(ps) && find_slice(v, pair))
        return parse_slice(ps, v, pair, e);
    if (find && slice_eq_str(op, "$elemMatch"))
        return parse_elem_match(ps, bval_doc(spec), v, e);
    if (slice_eq_str(op, "$meta") && ps->kind != PROJECT_ADD_FIELDS)
        return parse_meta(ps, spec, e);
    if (ps->kind != PROJECT_ADD_FIELDS && !expr_is_operator(op))
        FAIL(e, ERR_LOC(slice_eq_str(op, "$elemMatch") ? ERR_INVALID_PIPELINE_OPERATOR : 31325),
             "unknown expression %.*s", (int)op.len, op.p);
    return parse_expr(ps, spec, true, e);
}

static RC parse_value(struct parser *ps, struct bval v, struct err *e);

static RC parse_fields(struct parser *ps, struct bdoc d, struct err *e)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it)) {
        int n;

        if (ps->kind == PROJECT_ADD_FIELDS && memchr(it.name.p, '.', it.name.len))
            FAIL(e, ERR_LOC(40183), "FieldPath field names may not contain '.' in a sub-object");
        TRY(push_path(ps, it.name, &n, e));
        ps->depth += n;
        TRY(parse_value(ps, it.val, e));
        ps->depth -= n;
    }
    return RC_OK;
}

static RC parse_value(struct parser *ps, struct bval v, struct err *e)
{
    struct biter it;

    if (v.type != BT_DOCUMENT) {
        if (ps->kind != PROJECT_ADD_FIELDS && (v.type == BT_BOOL || bval_is_number(v)))
            return parse_flag(ps, bval_truthy(v), e);
        return parse_expr(ps, v, false, e);
    }
    biter_init(&it, bval_doc(v));
    if (!biter_next(&it)) {
        if (ps->kind == PROJECT_ADD_FIELDS)
            return parse_expr(ps, v, false, e);
        FAIL(e, ERR_LOC(51270),
             "an empty sub-projection is not a valid value. Found empty object at path");
    }
    if (it.name.len > 0 && it.name.p[0] == '$' && it.at == it.end)
        return parse_operator(ps, v, it.name, it.val, e);
    if (ps->kind == PROJECT_ADD_FIELDS && it.name.len > 0 && it.name.p[0] == '$')
        FAIL(e, ERR_LOC(40181), "an object representing an expression must have exactly one field");
    return parse_fields(ps, bval_doc(v), e);
}

/* ---- positional ---- */

static bool ends_positional(struct slice name)
{
    return name.len > 2 && name.p[name.len - 1] == '$' && name.p[name.len - 2] == '.';
}

static bool has_positional_middle(struct slice name)
{
    for (size_t i = 0; i + 2 < name.len; i++) {
        if (name.p[i] == '.' && name.p[i + 1] == '$' && name.p[i + 2] == '.')
            return true;
    }
    return false;
}

static RC uses_expr(const struct match_node *n, struct err *e)
{
    if (n->op == MATCH_EXPR)
        FAIL(e, ERR_QUERY_FEATURE_NOT_ALLOWED,
             "$expr is not allowed in a query with a positional projection");
    for (int i = 0; i < n->n_children; i++)
        TRY(uses_expr(n->children[i], e));
    return RC_OK;
}

static RC parse_positional(struct parser *ps, struct slice name, struct bval v,
                           const struct match *match, struct err *e)
{
    struct project__node *n, *at;
    int parts;

    if (ps->kind != PROJECT_FIND)
        FAIL(e, ERR_LOC(31324), "cannot use positional projection in an aggregation projection");
    if (ps->p->positional)
        FAIL(e, ERR_LOC(31276), "cannot specify more than one positional projection per query");
    if (ps->has_elem_match)
        FAIL(e, ERR_LOC(31256), "cannot specify positional operator and $elemMatch");
    TRY(push_path(ps, SLICE(name.p, name.len - 2), &parts, e));
    ps->depth += parts;
    if (v.type == BT_DOCUMENT)
        FAIL(e, ERR_LOC(31271),
             "positional projection cannot be used with an expression or sub-object");
    if (v.type != BT_BOOL && !bval_is_number(v))
        FAIL(e, ERR_LOC(31308), "positional projection cannot be used with a literal");
    if (!bval_truthy(v))
        FAIL(e, ERR_LOC(31395), "positional projection cannot be used with exclusion");
    TRY(set_mode(ps, MODE_INCLUDE, e));
    TRY(leaf(ps, LEAF_INCLUDE, &n, e));
    if (match)
        TRY(uses_expr(match->root, e));
    ps->p->positional = true;
    at = ps->p->root;
    for (int i = 0; i < ps->depth; i++) {
        at = at->children[project__find(at, ps->path[i])];
        at->positional = true;
    }
    ps->depth -= parts;
    return RC_OK;
}

/* ---- the whole ---- */

static void finish(struct parser *ps)
{
    struct project *p = ps->p;

    if (ps->kind == PROJECT_ADD_FIELDS) {
        p->mode = MODE_ADD;
        return;
    }
    if (!ps->typed) {
        bool computed = p->root->computed && ps->kind == PROJECT_STAGE; /* $meta alone */

        p->mode = ps->id_included || ps->has_elem_match || computed ? MODE_INCLUDE : MODE_EXCLUDE;
    }
    if (p->mode == MODE_INCLUDE && !ps->id_excluded && project__find(p->root, SLICE_LIT("_id")) < 0)
        add_child(ps->q->arena, p->root, SLICE_LIT("_id"))->leaf = LEAF_INCLUDE;
}

static RC parse_all(struct parser *ps, struct bdoc spec, const struct match *match, struct err *e)
{
    struct biter it;

    biter_init(&it, spec);
    while (biter_next(&it)) {
        int n;

        if (ps->kind != PROJECT_ADD_FIELDS && ps->kind != PROJECT_UNSET) {
            if (has_positional_middle(it.name))
                FAIL(e, ERR_LOC(31394),
                     "it is illegal to specify a positional operator in the middle of a path");
            if (ends_positional(it.name)) {
                TRY(parse_positional(ps, it.name, it.val, match, e));
                continue;
            }
        }
        TRY(push_path(ps, it.name, &n, e));
        ps->depth += n;
        TRY(parse_value(ps, it.val, e));
        ps->depth -= n;
    }
    return RC_OK;
}

RC project_parse(struct qctx *q, enum project_kind kind, struct bdoc spec,
                 const struct match *match, struct project **out, struct err *e)
{
    struct project *p = ARENA_NEW(q->arena, struct project);
    struct parser ps = { .q = q, .kind = kind, .p = p };

    *out = NULL;
    p->root = ARENA_NEW(q->arena, struct project__node);
    if (bdoc_is_empty(spec) && kind == PROJECT_STAGE)
        FAIL(e, ERR_LOC(51272),
             "invalid $project: projection specification must have at least one field");
    p->empty = bdoc_is_empty(spec);
    TRY(parse_all(&ps, spec, match, e));
    finish(&ps);
    *out = p;
    return RC_OK;
}

bool project_needs_hit(const struct project *p)
{
    return p->positional;
}

/* ---- dependencies ---- */

struct deps {
    void (*fn)(struct slice path, void *arg);
    void *arg;
    bool *whole;
    struct buf path;
};

static void node_deps(const struct project__node *n, struct deps *d)
{
    size_t len = d->path.len;

    if (len)
        buf_push_u8(&d->path, '.');
    buf_push(&d->path, n->name.p, n->name.len);
    if (n->leaf == LEAF_EXPR)
        expr_deps(n->expr, d->fn, d->arg, d->whole);
    else if (n->leaf != LEAF_NONE && n->leaf != LEAF_EXCLUDE)
        d->fn(buf_view(&d->path), d->arg);
    else if (n->leaf == LEAF_NONE && n->computed)
        d->fn(buf_view(&d->path), d->arg); /* what stands there shapes the result */
    for (int i = 0; i < n->n; i++)
        node_deps(n->children[i], d);
    d->path.len = len;
}

void project_deps(const struct project *p, void (*fn)(struct slice path, void *arg), void *arg,
                  bool *whole)
{
    struct deps d = { .fn = fn, .arg = arg, .whole = whole };

    if (p->mode != MODE_INCLUDE || p->empty) {
        *whole = true;
        return;
    }
    for (int i = 0; i < p->root->n; i++)
        node_deps(p->root->children[i], &d);
    buf_fini(&d.path);
}
