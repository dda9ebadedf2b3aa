/* foreign.c - other collections, and views, as a pipeline reads them: each is a source with memory of its own, given back when it is closed.
 *
 * $lookup opens its collection once for each document that it joins: what plans and parsed filters take must not add up over a whole collection. A view is its
 * stages over the collection below it; the filter that was asked for follows them.
 */
#include "exec_priv.h"

struct foreign {
    struct doc_source base;
    struct exec_env_state env; /* of the view's own stages */
    struct arena *arena, *scratch;
    struct qctx q;
    const struct qctx *outer; /* whose time and interruption count */
    struct doc_source *top;
};

RC exec_collator(struct catalog_coll *x, struct arena *a, const struct collator **out,
                 struct err *e)
{
    *out = NULL;
    if (!x)
        return RC_OK;
    pthread_rwlock_rdlock(&x->lock);
    struct bval v = bdoc_get(x->options, "collation");
    struct bdoc spec = v.type == BT_DOCUMENT ? bval_doc(bval_dup(a, v)) : BDOC_EMPTY;
    pthread_rwlock_unlock(&x->lock);
    return collation_in(a, spec, out, e);
}

struct bdoc exec_join_stages(struct arena *a, struct bdoc first, struct bdoc second)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    const struct bdoc both[] = { first, second };
    struct biter it;
    struct bw w;

    bw_init(&w, &b);
    bw_array_begin(&w, "p");
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        biter_init(&it, both[i]);
        while (biter_next(&it))
            bw_val(&w, NULL, it.val);
    }
    bw_array_end(&w);
    return bval_doc(bdoc_get(bw_done_arena(&w, a), "p"));
}

RC exec_view_resolve(struct catalog *cat, struct catalog_coll *view, struct arena *a,
                     struct slice *db, struct slice *coll, struct bdoc *stages, struct err *e)
{
    struct catalog_coll *x = catalog_coll_ref(view);

    *stages = BDOC_EMPTY;
    for (int depth = 0; x && x->is_view; depth++) {
        pthread_rwlock_rdlock(&x->lock);
        struct bval on = bdoc_get(x->options, "viewOn"), own = bdoc_get(x->options, "pipeline");
        *db = SLICE(arena_dup(a, x->db.p, x->db.len), x->db.len);
        *coll = bval_str(bval_dup(a, on));
        if (own.type == BT_ARRAY)
            *stages = exec_join_stages(a, bval_doc(own), *stages);
        pthread_rwlock_unlock(&x->lock);
        catalog_coll_unref(x);
        x = NULL;
        if (depth >= EXEC_VIEW_DEPTH_MAX)
            FAIL(e, ERR_VIEW_DEPTH_LIMIT_EXCEEDED, "View depth too deep or view cycle detected");
        const char *ns = arena_printf(a, "%.*s.%.*s", (int)db->len, db->p, (int)coll->len, coll->p);
        x = catalog_find(cat, slice_str(ns));
    }
    catalog_coll_unref(x);
    return RC_OK;
}

static RC foreign_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct foreign *f = CONTAINER_OF(s, struct foreign, base);

    f->q.deadline_us = f->outer->deadline_us;
    f->q.interrupt = f->outer->interrupt;
    arena_reset(f->scratch);
    return f->top->next(f->top, doc, valid, e);
}

static void foreign_close(struct doc_source *s)
{
    struct foreign *f = CONTAINER_OF(s, struct foreign, base);

    doc_source_close(f->top);
    arena_free(f->arena);
    arena_free(f->scratch);
    mem_free(f);
}

static RC open_scan(struct foreign *f, struct catalog_coll *x, struct bdoc filter, struct bdoc sort,
                    int64_t limit, struct doc_source **out, struct err *e)
{
    struct match *m;
    struct exec *ex;

    TRY(match_parse(&f->q, filter, MATCH_IN_AGG, &m, e));
    struct exec_spec s = { .catalog = f->env.cat,
                           .coll = x,
                           .q = &f->q,
                           .match = m,
                           .hint = BVAL_MISSING,
                           .min = BDOC_EMPTY,
                           .max = BDOC_EMPTY,
                           .sort = sort,
                           .limit = limit,
                           .project_doc = BDOC_EMPTY,
                           .env = &f->env.agg };
    TRY(exec_open(&s, &ex, e));
    *out = exec_source(ex);
    return RC_OK;
}

static struct bdoc match_stage(struct arena *a, struct bdoc filter)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_doc_begin(&w, "0");
    bw_doc(&w, "$match", filter);
    bw_doc_end(&w);
    return bw_done_arena(&w, a);
}

static RC open_view(struct foreign *f, struct catalog_coll *view, struct bdoc filter, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct pipeline_lead lead;
    struct doc_source *scan;
    struct slice db, coll;
    struct bdoc stages;
    struct pipeline *p;

    const struct collator *own;
    TRY(exec_collator(view, f->arena, &own, e));
    if (!collation_same(f->q.collator, own))
        FAIL(e, ERR_OPTION_NOT_SUPPORTED_ON_VIEW, "Cannot override a view's default collation");
    if (++f->env.view_depth > EXEC_VIEW_DEPTH_MAX)
        FAIL(e, ERR_VIEW_DEPTH_LIMIT_EXCEEDED, "View depth too deep or view cycle detected");
    TRY(exec_view_resolve(f->env.cat, view, f->arena, &db, &coll, &stages, e));
    if (!bdoc_is_empty(filter))
        stages = exec_join_stages(f->arena, stages, match_stage(f->arena, filter));
    TRY(pipeline_parse(&f->q, stages, PIPELINE_SUB | PIPELINE_BEHIND_VIEW, &f->env.agg, &p, e));
    if (pipeline_has_source(p))
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED_ON_VIEW,
             "a view that begins with $%s cannot be read from inside a pipeline",
             pipeline_stage_name(p, 0));
    pipeline_leading(p, &lead);
    x = catalog_find(f->env.cat, slice_str(arena_printf(f->arena, "%.*s.%.*s", (int)db.len, db.p,
                                                        (int)coll.len, coll.p)));
    TRY(open_scan(f, x, lead.filter,
                  lead.sort.type == BT_DOCUMENT ? bval_doc(lead.sort) : BDOC_EMPTY, lead.limit,
                  &scan, e));
    return pipeline_run(p, &f->q, &f->env.agg, scan, lead.n_filter_stages + lead.n_sort_stages,
                        &f->top, e);
}

RC exec__foreign_open(void *arg, struct qctx *q, struct slice coll, struct bdoc filter,
                      struct doc_source **out, struct err *e)
{
    struct exec_env_state *outer = arg;
    AUTO(buf_fini) struct buf ns = BUF_INIT;
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct foreign *f = NEW(struct foreign);

    *out = NULL;
    f->base = (struct doc_source){ .next = foreign_next, .close = foreign_close };
    f->arena = arena_new(outer->agg.memory_limit);
    f->scratch = arena_new(0);
    f->outer = q;
    f->q = *q;
    f->q.arena = f->arena;
    f->q.scratch = f->scratch;
    f->q.metas = 0;
    f->q.meta = (struct bdoc){ 0 };
    f->env = *outer;
    f->env.agg.env = &f->env;
    f->env.stages = NULL; /* the request that they serve may be over */
    f->env.agg.stage = NULL;
    f->env.agg.check_stage = NULL;
    buf_printf(&ns, "%s.%.*s", outer->agg.db, (int)coll.len, coll.p);
    x = catalog_find(outer->cat, buf_view(&ns));
    rc_t rc = x && x->is_view ? open_view(f, x, filter, e)
                              : open_scan(f, x, filter, BDOC_EMPTY, 0, &f->top, e);
    if (rc.failed)
        foreign_close(&f->base);
    else
        *out = &f->base;
    return rc;
}
