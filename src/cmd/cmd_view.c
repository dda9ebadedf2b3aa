/* cmd_view.c - views: finding the collection below, and running reads as pipelines (compatibility 17). */
#include "cmd_shape.h"
#include "cmd_stages.h"

enum { VIEW_DEPTH_MAX = 20 };

static struct bdoc arena_doc(struct arena *a, struct bdoc d)
{
    return (struct bdoc){ .p = arena_dup(a, d.p, d.len), .len = d.len };
}

/* first's stages, then second's, as one array. */
static struct bdoc join(struct arena *a, struct bdoc first, struct bdoc second)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;
    struct biter it;

    bw_init(&w, &b);
    bw_array_begin(&w, "p");
    biter_init(&it, first);
    while (biter_next(&it))
        bw_val(&w, NULL, it.val);
    biter_init(&it, second);
    while (biter_next(&it))
        bw_val(&w, NULL, it.val);
    bw_array_end(&w);
    struct bdoc all = arena_doc(a, bw_finish(&w));
    return bval_doc(bdoc_get(all, "p"));
}

RC cmd_view_resolve(struct cmd_req *r, struct catalog_coll *view, struct arena *a,
                    struct cmd_ns *base, struct bdoc *pipeline, struct err *e)
{
    struct catalog_coll *x = catalog_coll_ref(view);

    *pipeline = BDOC_EMPTY;
    for (int depth = 0; x && x->is_view; depth++) {
        pthread_rwlock_rdlock(&x->lock);
        struct bval on = bdoc_get(x->options, "viewOn"), stages = bdoc_get(x->options, "pipeline");
        struct slice db = SLICE(arena_dup(a, x->db.p, x->db.len), x->db.len);
        struct bval name = bval_dup(a, on);
        if (stages.type == BT_ARRAY)
            *pipeline = join(a, bval_doc(stages), *pipeline);
        pthread_rwlock_unlock(&x->lock);
        catalog_coll_unref(x);
        x = NULL;
        if (depth > VIEW_DEPTH_MAX)
            FAIL(e, ERR_VIEW_DEPTH_LIMIT_EXCEEDED, "View depth too deep or view cycle detected");
        *base = (struct cmd_ns){ .db = db, .coll = bval_str(name) };
        base->ns =
            arena_printf(a, "%.*s.%.*s", (int)db.len, db.p, (int)base->coll.len, base->coll.p);
        x = catalog_find(r->node->catalog, slice_str(base->ns));
    }
    catalog_coll_unref(x);
    return RC_OK;
}

RC cmd_view_check_cycle(struct cmd_req *r, const struct cmd_ns *ns, struct bval view_on,
                        struct err *e)
{
    struct cmd_ns at;
    struct bdoc stages;

    if (view_on.type != BT_STRING)
        return RC_OK;
    TRY(cmd_ns_of(r, view_on, &at, e));
    if (strcmp(at.ns, ns->ns) == 0)
        FAIL(e, ERR_GRAPH_CONTAINS_CYCLE,
             "View cycle detected: a view cannot be defined on itself");
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = cmd_coll(r, &at);
    if (!x || !x->is_view)
        return RC_OK;
    struct cmd_ns base;
    TRY(cmd_view_resolve(r, x, r->arena, &base, &stages, e));
    if (strcmp(base.ns, ns->ns) == 0)
        FAIL(e, ERR_GRAPH_CONTAINS_CYCLE, "View cycle detected");
    return RC_OK;
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
        if (c->q.collator) /* a view compares by bytes */
            FAIL(e, ERR_OPTION_NOT_SUPPORTED_ON_VIEW, "Cannot override a view's default collation");
        /* its own mistakes are told before the view's */
        TRY(pipeline_parse(&c->q, pipeline, 0, env, &p, e));
        TRY(cmd_view_resolve(r, c->coll, c->arena, &base, &own, e));
        pipeline = join(c->arena, own, pipeline);
        flags = PIPELINE_BEHIND_VIEW;
        catalog_coll_unref(TAKE(c->coll));
        c->coll = cmd_coll(r, &base);
        own_stages->coll = c->coll;
    }
    TRY(pipeline_parse(&c->q, pipeline, flags, env, &p, e));
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
    TRY(cmd_collate(&c->q, a->collation, e));
    TRY(cmd_let(&c->q, a->let, e));
    g.let = c->q.let;
    return cmd_agg_open(r, ns, &g, c, NULL, NULL, e);
}
