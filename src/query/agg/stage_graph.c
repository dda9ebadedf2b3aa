/* stage_graph.c - $graphLookup: what can be reached from a document by following a field, breadth first.
 *
 * Each round asks the foreign collection for the documents whose connectToField is in the frontier ($in: an index may serve it), in portions, so
 * that no filter outgrows a document. A document found for the first time is kept, with its distance, and its connectFromField is the next frontier. Values asked for once are not
 * asked for again, so cycles end.
 *
 * Memory   What was found for one input document is held at once; above the stage's budget it is refused (40099).
 */
#include "agg_priv.h"

#include "base/mem.h"

enum { PORTION_VALUES = 20000, PORTION_BYTES = 4 << 20 };

struct graph {
    struct slice from, to; /* to: the dotted connectToField */
    struct expr *start;
    const struct slice *back, *as, *depth; /* connectFromField, as, depthField */
    int n_back, n_as, n_depth;
    bool limited;
    int64_t max_depth;
    struct bval restrict_to; /* restrictSearchWithMatch; missing if none */
};

/* The search for one input document. */
struct search {
    struct valset asked; /* values of all rounds; the frontier is its tail */
    uint32_t from;       /* where the frontier starts */
    struct valset ids;   /* of the documents in found */
    struct vals found;
};

struct graph_iter {
    struct iter it;
    struct arena *mem; /* of the search */
    struct search s;
};

static RC ask(struct graph_iter *gi, struct bval v, struct err *e)
{
    struct search *s = &gi->s;

    if (bval_is_missing(v) || valset_find(&s->asked, v) >= 0)
        return RC_OK;
    valset_add(&s->asked, bval_dup(gi->mem, v));
    return qctx_check(gi->it.r.q, e);
}

static RC ask_each(struct graph_iter *gi, struct bval v, struct err *e)
{
    struct biter it;

    if (v.type != BT_ARRAY)
        return ask(gi, v, e);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        TRY(ask(gi, it.val, e));
    return RC_OK;
}

/* Every value at a path: through documents, arrays of documents, and positions of arrays. */
static RC ask_path(struct graph_iter *gi, struct bval v, const struct slice *parts, int n,
                   struct err *e)
{
    struct biter it;

    if (n == 0)
        return ask_each(gi, v, e);
    if (v.type == BT_DOCUMENT)
        return ask_path(gi, bdoc_get_slice(bval_doc(v), parts[0]), parts + 1, n - 1, e);
    if (v.type != BT_ARRAY)
        return RC_OK;
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        if (slice_eq(it.name, parts[0]))
            TRY(ask_path(gi, it.val, parts + 1, n - 1, e));
        if (it.val.type == BT_DOCUMENT)
            TRY(ask_path(gi, it.val, parts, n, e));
    }
    return RC_OK;
}

/* *v becomes {name: *v} */
static RC wrap(struct arena *a, const char *name, struct bval *v, struct err *e)
{
    struct slice n = slice_str(name);
    struct bval inner = *v;

    return vals_object(a, &n, &inner, 1, v, e);
}

/* *v becomes {to: {op: *v}} */
static RC condition(const struct graph *g, struct arena *a, const char *op, struct bval *v,
                    struct err *e)
{
    struct bval inner;

    TRY(wrap(a, op, v, e));
    inner = *v;
    return vals_object(a, &g->to, &inner, 1, v, e);
}

/* The end of the portion of the frontier that begins at i: one value at least. */
static uint32_t portion_end(const struct search *s, uint32_t i, uint32_t end)
{
    uint64_t bytes = 0;
    uint32_t at = i;

    while (at < end && at - i < PORTION_VALUES &&
           (at == i || bytes + s->asked.v[at].len < PORTION_BYTES))
        bytes += s->asked.v[at++].len;
    return at;
}

/* Of the values from s->from to end: {$and: [restriction, {to: {$in: [frontier]}}, {to: {$exists: true}} if null is asked for]}: $in would take null for missing too. */
static RC frontier_filter(const struct graph_iter *gi, uint32_t end, struct bdoc *out,
                          struct err *e)
{
    const struct graph *g = gi->it.s->data;
    const struct search *s = &gi->s;
    struct arena *a = gi->it.r.q->scratch;
    struct vals all = vals_in(a), plain = vals_in(a), any = vals_in(a);
    struct bval o;
    bool has_null = false;

    for (uint32_t i = s->from; i < end; i++) {
        o = s->asked.v[i];
        has_null |= o.type == BT_NULL;
        if (o.type != BT_REGEX) {
            vals_push(&plain, o);
            continue;
        }
        /* $in would search by it: here it is a value */
        TRY(condition(g, a, "$eq", &o, e));
        vals_push(&any, o);
    }
    TRY(vals_array(a, plain.v, plain.n, &o, e));
    TRY(condition(g, a, "$in", &o, e));
    if (any.n > 0) {
        vals_push(&any, o);
        TRY(vals_array(a, any.v, any.n, &o, e));
        TRY(wrap(a, "$or", &o, e));
    }
    vals_push(&all, o);
    if (has_null) {
        o = bval_new_bool(a, true);
        TRY(condition(g, a, "$exists", &o, e));
        vals_push(&all, o);
    }
    if (!bval_is_missing(g->restrict_to))
        vals_push(&all, g->restrict_to);
    TRY(vals_array(a, all.v, all.n, &o, e));
    TRY(wrap(a, "$and", &o, e));
    *out = bval_doc(o);
    return RC_OK;
}

static RC keep(struct graph_iter *gi, struct bdoc d, int64_t depth, struct err *e)
{
    const struct graph *g = gi->it.s->data;
    struct search *s = &gi->s;
    struct bval id = bdoc_get(d, "_id");

    if (bval_is_missing(id)) /* a view may leave it out */
        FAIL(e, ERR_LOC(40271),
             "Documents in the '%.*s' namespace must contain an _id for de-duplication in "
             "$graphLookup",
             (int)MIN(g->from.len, 200u), g->from.p);
    if (valset_find(&s->ids, id) >= 0)
        return RC_OK;
    valset_add(&s->ids, bval_dup(gi->mem, id));
    TRY(ask_path(gi, bval_of_doc(d, BT_DOCUMENT), g->back, g->n_back, e));
    if (g->depth) {
        struct arena *a = gi->it.r.q->scratch;
        TRY(doc_set_path(a, d, g->depth, g->n_depth, bval_new_i64(a, depth), &d, e));
    }
    vals_push(&s->found, bval_dup(gi->mem, bval_of_doc(d, BT_DOCUMENT)));
    if (arena_used(gi->mem) > stage__memory(&gi->it.r))
        FAIL(e, ERR_LOC(40099), "$graphLookup reached maximum memory consumption");
    return RC_OK;
}

static RC round_of(struct graph_iter *gi, struct doc_source *src, int64_t depth, struct err *e)
{
    struct qctx *q = gi->it.r.q;

    for (;;) {
        struct arena_mark mark = arena_mark(q->scratch);
        struct bdoc d;
        bool valid;
        TRY(src->next(src, &d, &valid, e));
        if (!valid)
            return RC_OK;
        TRY(keep(gi, d, depth, e));
        arena_rewind(q->scratch, mark);
        TRY(qctx_check(q, e));
    }
}

static RC portion(struct graph_iter *gi, uint32_t end, int64_t depth, struct err *e)
{
    const struct agg_env *env = gi->it.r.env;
    const struct graph *g = gi->it.s->data;
    struct qctx *q = gi->it.r.q;
    struct arena_mark mark = arena_mark(q->scratch);
    struct doc_source *src = NULL;
    struct bdoc filter;

    TRY(frontier_filter(gi, end, &filter, e));
    gi->s.from = end;
    TRY(env->open_collection(env->env, q, g->from, filter, &src, e));
    rc_t rc = round_of(gi, src, depth, e);
    doc_source_close(src);
    arena_rewind(q->scratch, mark);
    return rc;
}

static RC search(struct graph_iter *gi, struct err *e)
{
    const struct graph *g = gi->it.s->data;
    const struct agg_env *env = gi->it.r.env;
    struct search *s = &gi->s;

    if (!env || !env->open_collection)
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "$graphLookup has no collections here");
    for (int64_t depth = 0; s->from < s->asked.n && (!g->limited || depth <= g->max_depth);
         depth++) {
        uint32_t end = s->asked.n;
        while (s->from < end)
            TRY(portion(gi, portion_end(s, s->from, end), depth, e));
    }
    return RC_OK;
}

static RC graph_next(struct doc_source *src, struct bdoc *doc, bool *valid, struct err *e)
{
    struct graph_iter *gi = (struct graph_iter *)src;
    const struct graph *g = gi->it.s->data;
    struct arena *a = gi->it.r.q->scratch;
    struct bval start, arr;
    struct bdoc in;

    TRY(iter_pull(&gi->it, &in, valid, e));
    if (!*valid)
        return RC_OK;
    arena_reset(gi->mem);
    gi->s = (struct search){ .asked = valset_of(gi->mem, gi->it.r.q->collator),
                             .ids = valset_in(gi->mem),
                             .found = vals_in(gi->mem) };
    TRY(stage__eval(g->start, gi->it.r.q, in, &start, e));
    TRY(ask_each(gi, start, e));
    TRY(search(gi, e));
    TRY(vals_array(a, gi->s.found.v, gi->s.found.n, &arr, e));
    TRY(doc_set_path(a, in, g->as, g->n_as, arr, doc, e));
    return stage__check_made(*doc, e);
}

static void graph_fini(struct iter *it)
{
    arena_free(((struct graph_iter *)it)->mem);
}

static STAGE_OPEN(open_graph)
{
    struct graph_iter *gi = iter_new(sizeof(*gi), s, r, in, graph_next, graph_fini);

    (void)e;
    gi->mem = arena_new(0);
    *out = &gi->it.src;
    return RC_OK;
}

/* ---- parsing ---- */

static RC parse_max_depth(struct graph *g, struct bval v, struct err *e)
{
    if (bval_is_missing(v))
        return RC_OK;
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(40100), "maxDepth requires numeric argument, found %s", btype_name(v.type));
    if (bval_to_double(v) <= -1)
        FAIL(e, ERR_LOC(40101), "maxDepth requires a nonnegative argument");
    if (!bval_to_i64(v, &g->max_depth))
        FAIL(e, ERR_LOC(40102), "maxDepth could not be represented as a long long");
    g->limited = true;
    return RC_OK;
}

static RC parse_restriction(struct qctx *q, struct graph *g, struct bval v, struct err *e)
{
    struct match *m;

    g->restrict_to = v;
    if (bval_is_missing(v))
        return RC_OK;
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40185), "restrictSearchWithMatch must be an object, found %s",
             btype_name(v.type));
    return match_parse(q, bval_doc(v), MATCH_IN_AGG, &m, e);
}

static RC parse_from(struct graph *g, struct bval from, struct err *e)
{
    if (bval_is_missing(from))
        FAIL(e, ERR_FAILED_TO_PARSE, "missing 'from' option to $graphLookup stage specification");
    if (from.type != BT_STRING)
        FAIL(e, ERR_FAILED_TO_PARSE, "$graphLookup 'from' field must be a string, but found %s",
             btype_name(from.type));
    g->from = bval_str(from);
    if (g->from.len == 0 || g->from.p[0] == '$' || memchr(g->from.p, 0, g->from.len))
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid collection name specified in $graphLookup");
    return RC_OK;
}

STAGE_PARSE(stage__parse_graph_lookup)
{
    struct graph *g = ARENA_NEW(sp->q->arena, struct graph);
    struct arena *a = sp->q->arena;
    struct bval from, start, back, to, as, depth, max, only;
    const struct stage_opt opts[] = {
        { "from", &from },         { "startWith", &start },
        { "maxDepth", &max },      { "connectFromField", &back },
        { "connectToField", &to }, { "as", &as },
        { "depthField", &depth },  { "restrictSearchWithMatch", &only }
    };
    const struct slice *parts;
    int n;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "the $graphLookup stage specification must be an object, but found %s",
             btype_name(spec.type));
    TRY(stage__options(spec, "graphLookup", opts, ARRAY_LEN(opts), 40104, e));
    TRY(parse_from(g, from, e));
    const struct bval *texts[] = { &back, &to, &as, &depth };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (!bval_is_missing(*texts[i]) && texts[i]->type != BT_STRING)
            FAIL(e, ERR_LOC(40103), "expected string as an argument of $graphLookup, found: %s",
                 btype_name(texts[i]->type));
    TRY(parse_max_depth(g, max, e));
    TRY(parse_restriction(sp->q, g, only, e));
    if (bval_is_missing(start) || bval_is_missing(back) || bval_is_missing(to) ||
        bval_is_missing(as))
        FAIL(
            e, ERR_LOC(40105),
            "$graphLookup requires 'from', 'as', 'startWith', 'connectFromField', and 'connectToField' to be specified.");
    TRY(expr_parse(sp->q, start, &g->start, e));
    TRY(expr_split_path(a, bval_str(back), &g->back, &g->n_back, e));
    TRY(expr_split_path(a, bval_str(to), &parts, &n, e));
    TRY(expr_split_path(a, bval_str(as), &g->as, &g->n_as, e));
    if (!bval_is_missing(depth))
        TRY(expr_split_path(a, bval_str(depth), &g->depth, &g->n_depth, e));
    g->to = bval_str(to);
    struct stage *st = pipeline__add(sp, def, spec, g);
    st->open = open_graph;
    st->from = g->from;
    return RC_OK;
}
