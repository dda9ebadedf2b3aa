/* cmd_view.c - views: finding the collection below, and running reads as pipelines (compatibility 17). */
#include "cmd_shape.h"
#include "cmd_stages.h"
#include "query/collate.h"
#include "query/vals.h"

static struct bdoc arena_doc(struct arena *a, struct bdoc d)
{
    return (struct bdoc){ .p = arena_dup(a, d.p, d.len), .len = d.len };
}

RC cmd_view_resolve(struct cmd_req *r, struct catalog_coll *view, struct arena *a,
                    struct cmd_ns *base, struct bdoc *pipeline, struct err *e)
{
    *base = (struct cmd_ns){ 0 };
    TRY(exec_view_resolve(r->node->catalog, view, a, &base->db, &base->coll, pipeline, e));
    base->ns = arena_printf(a, "%.*s.%.*s", (int)base->db.len, base->db.p, (int)base->coll.len,
                            base->coll.p);
    return RC_OK;
}

RC cmd_foreign_each(struct bval stages, int depth, cmd_foreign_fn fn, void *arg, struct err *e)
{
    struct biter it, fields;

    if (stages.type != BT_DOCUMENT && stages.type != BT_ARRAY)
        return RC_OK;
    if (depth > QUERY_DEPTH_MAX)
        FAIL(e, ERR_OVERFLOW, "pipeline is nested deeper than %d levels", QUERY_DEPTH_MAX);
    biter_init(&it, bval_doc(stages));
    while (biter_next(&it)) {
        bool stage = slice_eq_str(it.name, "$lookup") || slice_eq_str(it.name, "$graphLookup") ||
                     slice_eq_str(it.name, "$unionWith");

        if (stage && it.val.type == BT_STRING)
            TRY(fn(it.val, arg, e));
        if (stage && it.val.type == BT_DOCUMENT) {
            biter_init(&fields, bval_doc(it.val));
            while (biter_next(&fields))
                if (fields.val.type == BT_STRING &&
                    (slice_eq_str(fields.name, "from") || slice_eq_str(fields.name, "coll")))
                    TRY(fn(fields.val, arg, e));
        }
        TRY(cmd_foreign_each(it.val, depth + 1, fn, arg, e));
    }
    return RC_OK;
}

/* The collections and views that a view reads, directly and through other views. */
struct reach {
    struct cmd_req *r;
    struct vals names; /* each once */
    const struct cmd_ns *self;
};

static RC reach_add(struct bval name, void *arg, struct err *e)
{
    struct reach *c = arg;

    if (slice_eq(bval_str(name), c->self->coll))
        FAIL(e, ERR_GRAPH_CONTAINS_CYCLE, "View cycle detected: %s would read itself", c->self->ns);
    for (uint32_t i = 0; i < c->names.n; i++)
        if (slice_eq(bval_str(c->names.v[i]), bval_str(name)))
            return RC_OK;
    vals_push(&c->names, bval_dup(c->names.arena, name));
    return RC_OK;
}

static RC reach_through(struct reach *c, struct bval name, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct cmd_ns at = cmd_ns_join(c->r, c->self->db, bval_str(name));

    x = cmd_coll(c->r, &at);
    if (!x || !x->is_view)
        return RC_OK;
    struct bdoc o = catalog_options(x, c->r->arena);
    TRY(reach_add(bdoc_get(o, "viewOn"), c, e));
    return cmd_foreign_each(bdoc_get(o, "pipeline"), 0, reach_add, c, e);
}

/* How many views a view on `on` would stand over. */
static RC check_depth(struct cmd_req *r, const struct cmd_ns *ns, struct bval on, struct err *e)
{
    for (int depth = 1; on.type == BT_STRING; depth++) {
        if (depth > EXEC_VIEW_DEPTH_MAX)
            FAIL(e, ERR_VIEW_DEPTH_LIMIT_EXCEEDED,
                 "View depth too deep or view cycle detected; %s would be more than %d views deep",
                 ns->ns, EXEC_VIEW_DEPTH_MAX);
        struct cmd_ns at = cmd_ns_join(r, ns->db, bval_str(on));
        AUTO(catalog_coll_unrefp) struct catalog_coll *x = cmd_coll(r, &at);
        on = x && x->is_view ? bdoc_get(catalog_options(x, r->arena), "viewOn") : BVAL_MISSING;
    }
    return RC_OK;
}

RC cmd_view_check_cycle(struct cmd_req *r, const struct cmd_ns *ns, struct bval view_on,
                        struct bval stages, struct err *e)
{
    struct reach c = { .r = r, .names = vals_in(r->arena), .self = ns };

    struct cmd_ns on;

    if (view_on.type == BT_STRING) {
        TRY(cmd_ns_of(r, view_on, &on, e));
        TRY(reach_add(view_on, &c, e));
        TRY(check_depth(r, ns, view_on, e));
    }
    TRY(cmd_foreign_each(stages, 0, reach_add, &c, e));
    for (uint32_t i = 0; i < c.names.n; i++)
        TRY(reach_through(&c, c.names.v[i], e));
    return RC_OK;
}

/* A collation, and the views that stages name: those compare in their own way. */
struct collated {
    struct cmd_req *r;
    struct slice db;
    const struct collator *collator;
};

static RC check_collated(struct bval name, void *arg, struct err *e)
{
    const struct collated *c = arg;
    struct cmd_ns at = cmd_ns_join(c->r, c->db, bval_str(name));
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = cmd_coll(c->r, &at);
    const struct collator *own;

    if (!x || !x->is_view)
        return RC_OK;
    TRY(exec_collator(x, c->r->arena, &own, e));
    if (!collation_same(own, c->collator))
        FAIL(e, ERR_OPTION_NOT_SUPPORTED_ON_VIEW,
             "Cannot override a view's default collation: that of %s is another one", at.ns);
    return RC_OK;
}

RC cmd_view_check_collation(struct cmd_req *r, const struct collator *own, struct bval view_on,
                            struct bval stages, struct err *e)
{
    struct collated c = { .r = r, .db = r->db, .collator = own };

    if (view_on.type == BT_STRING)
        TRY(check_collated(view_on, &c, e));
    return cmd_foreign_each(stages, 0, check_collated, &c, e);
}

RC cmd_collate_cursor(struct cmd_req *r, const struct cmd_ns *ns, struct bval collation,
                      struct cursor *c, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = cmd_coll(r, ns);

    return cmd_collate_on(&c->q, collation, x, e);
}

static RC scan_for(struct cmd_req *r, const struct cmd_ns *ns, const struct agg_request *a,
                   struct cursor *c, struct agg_env *env, const struct pipeline *p, int *skip,
                   struct exec **out, struct err *e)
{
    struct pipeline_lead lead;
    struct match *m;

    pipeline_leading(p, &lead);
    TRY(match_parse(&c->q, lead.filter, MATCH_IN_AGG, &m, e));
    struct exec_spec s = {
        .catalog = r->node->catalog,
        .coll = pipeline_has_source(p) ? NULL : c->coll,
        .q = &c->q,
        .match = m,
        .sort = lead.sort.type == BT_DOCUMENT ? bval_doc(lead.sort) : BDOC_EMPTY,
        .hint = a->hint,
        .min = BDOC_EMPTY,
        .max = BDOC_EMPTY,
        .limit = lead.limit,
        .project_doc = BDOC_EMPTY,
        .env = env,
    };
    (void)ns;
    *skip = lead.n_filter_stages + lead.n_sort_stages;
    if (s.coll && (a->explain || atomic_load(&s.coll->has_filters)))
        s.shape_more = cmd_stages_shape(c->arena, pipeline_to_bson(p, c->arena), *skip);
    return exec_open(&s, out, e);
}

static bool starts_with(struct bdoc pipeline, const char *stage)
{
    struct biter it, fields;

    biter_init(&it, pipeline);
    if (!biter_next(&it) || it.val.type != BT_DOCUMENT)
        return false;
    biter_init(&fields, bval_doc(it.val));
    return biter_next(&fields) && slice_eq_str(fields.name, stage);
}

RC cmd_agg_open(struct cmd_req *r, const struct cmd_ns *ns, const struct agg_request *a,
                struct cursor *c, struct exec **plan, struct pipeline **stages, struct err *e)
{
    struct agg_env *env = exec_env(r->node->catalog, &c->q, ns->db, a->allow_disk_use,
                                   (size_t)r->node->limits.query_memory_bytes);
    struct bdoc pipeline = a->pipeline;
    struct cmd_ns base = *ns;
    unsigned flags = 0;
    struct pipeline *p;
    struct exec *x;
    int skip;

    c->q.let = a->let;
    c->coll = cmd_coll(r, ns);
    struct cmd_stages *own_stages = cmd_stages(r, &c->q, ns, c->coll);
    own_stages->explain = a->explain;
    own_stages->bypass = a->bypass;
    exec_env_stages(env, &own_stages->hooks);
    if (c->coll && c->coll->is_view && !starts_with(pipeline, "$collStats")) {
        struct bdoc own;
        const struct collator *view;
        TRY(exec_collator(c->coll, c->arena, &view, e));
        if (!collation_same(c->q.collator, view))
            FAIL(e, ERR_OPTION_NOT_SUPPORTED_ON_VIEW, "Cannot override a view's default collation");
        /* its own mistakes are told before the view's */
        TRY(pipeline_parse(&c->q, pipeline, 0, env, &p, e));
        TRY(cmd_view_resolve(r, c->coll, c->arena, &base, &own, e));
        pipeline = exec_join_stages(c->arena, own, pipeline);
        flags = PIPELINE_BEHIND_VIEW;
        catalog_coll_unref(TAKE(c->coll));
        c->coll = cmd_coll(r, &base);
        own_stages->coll = c->coll;
    }
    TRY(pipeline_parse(&c->q, pipeline, flags, env, &p, e));
    struct collated cmp = { .r = r, .db = ns->db, .collator = c->q.collator };
    TRY(cmd_foreign_each(bval_of_doc(pipeline, BT_ARRAY), 0, check_collated, &cmp, e));
    TRY(scan_for(r, &base, a, c, env, p, &skip, &x, e));
    struct doc_source *source = a->explain ? exec_lend(x) : exec_source(x);
    if (plan)
        *plan = x;
    if (stages)
        *stages = p;
    return pipeline_run(p, &c->q, env, source, skip, &c->source, e);
}

static void stage_doc(struct bw *w, const char *name, struct bdoc d)
{
    bw_doc_begin(w, NULL);
    bw_doc(w, name, d);
    bw_doc_end(w);
}

static void stage_i64(struct bw *w, const char *name, int64_t v)
{
    bw_doc_begin(w, NULL);
    bw_i64(w, name, v);
    bw_doc_end(w);
}

RC cmd_find_view(struct cmd_req *r, const struct find_args *a, const struct cmd_ns *ns,
                 struct cursor *c, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    if (a->tailable || a->return_key || a->show_record_id || !bval_is_missing(a->min) ||
        !bval_is_missing(a->max))
        FAIL(e, ERR_INVALID_PIPELINE_OPERATOR, "the option is not supported on a view");
    if (a->sort.type == BT_DOCUMENT && !bval_is_missing(bdoc_get(bval_doc(a->sort), "$natural")))
        FAIL(e, ERR_INVALID_PIPELINE_OPERATOR, "sorting by $natural is not supported on a view");
    bw_init(&w, &b);
    bw_array_begin(&w, "p");
    if (a->filter.type == BT_DOCUMENT && !bdoc_is_empty(bval_doc(a->filter)))
        stage_doc(&w, "$match", bval_doc(a->filter));
    if (a->sort.type == BT_DOCUMENT && !bdoc_is_empty(bval_doc(a->sort)))
        stage_doc(&w, "$sort", bval_doc(a->sort));
    if (a->skip)
        stage_i64(&w, "$skip", a->skip);
    if (a->limit)
        stage_i64(&w, "$limit", a->limit);
    if (a->projection.type == BT_DOCUMENT && !bdoc_is_empty(bval_doc(a->projection)))
        stage_doc(&w, "$project", bval_doc(a->projection));
    bw_array_end(&w);
    struct bdoc all = arena_doc(c->arena, bw_finish(&w));
    struct agg_request g = { .pipeline = bval_doc(bdoc_get(all, "p")),
                             .allow_disk_use = a->allow_disk_use,
                             .hint = a->hint };
    catalog_coll_unref(TAKE(c->coll));
    cmd_qctx(r, c->arena, c->scratch, &c->q);
    TRY(cmd_collate_cursor(r, ns, a->collation, c, e));
    TRY(cmd_let(&c->q, a->let, e));
    g.let = c->q.let;
    return cmd_agg_open(r, ns, &g, c, NULL, NULL, e);
}
