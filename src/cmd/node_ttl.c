/* node_ttl.c - the TTL monitor: documents whose date is old enough are removed, one index at a time (compatibility 13 "TTL"). */
#include "cmd_stmt.h"

#include "base/log.h"
#include "base/metrics.h"

static atomic_uint_least64_t last_pass_us;

/* The filter {field: {$lt: now - expireAfterSeconds}}: of an array, the lowest date counts, which any element below the bound says as well. */
static struct bdoc filter_for(struct arena *a, const struct index_def *d, int64_t now_ms)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_doc_begin_slice(&w, d->fields[0].path);
    bw_date(&w, "$lte", now_ms - d->ttl_s * 1000);
    bw_doc_end(&w);
    struct bdoc f = bw_finish(&w);
    return (struct bdoc){ .p = arena_dup(a, f.p, f.len), .len = f.len };
}

static RC remove_one(struct stmt *s, struct coll_txn *w, uint64_t rid, struct bdoc old,
                     const struct match_hit *hit, bool *wrote, struct err *e)
{
    (void)hit;
    *wrote = true;
    return coll_delete(w, rid, old, s->q.scratch, e);
}

static RC expire_index(struct node *n, struct catalog_coll *x, const char *ns,
                       const struct index_def *d, int64_t *removed, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(arena_freep) struct arena *scratch = arena_new(0);
    struct cmd_req r = { .node = n, .arena = a, .scratch = scratch };
    struct cmd_ns name = { .ns = arena_strdup(a, ns) };
    struct stmt s = { .multi = true, .bypass = true, .apply = remove_one };
    const char *dot = strchr(name.ns, '.');

    name.db = SLICE(name.ns, (size_t)(dot - name.ns));
    name.coll = slice_str(dot + 1);
    TRY(stmt_init(&s, &r, &name, filter_for(a, d, clock_real_ms()), BDOC_EMPTY, e));
    s.coll = x;
    TRY(stmt_run(&s, e));
    *removed += s.n_changed;
    return RC_OK;
}

static void expire_collection(struct node *n, const struct catalog_named *c, int64_t *removed)
{
    struct catalog_coll *x = c->x;
    struct coll_indexes *l = NULL;
    struct err e = { 0 };

    pthread_rwlock_rdlock(&x->lock);
    bool any = false;
    for (int i = 0; i < x->n_indexes; i++)
        any |= !bval_is_missing(bdoc_get(x->indexes[i].spec, "expireAfterSeconds"));
    pthread_rwlock_unlock(&x->lock);
    rc_t rc = any ? coll_ref_indexes(x, &l, &e) : RC_OK;
    for (int i = 0; !rc.failed && l && i < l->n && !atomic_load(&n->stopping); i++)
        if (l->v[i]->ttl)
            rc = expire_index(n, x, c->ns, l->v[i], removed, &e);
    if (rc.failed && e.code != ERR_NAMESPACE_NOT_FOUND)
        log_err(EV_BACKGROUND_ERROR, &e, (const struct kv[]){ KV_STR("task", "ttl") }, 1);
    err_reset(&e);
    coll_indexes_unref(l);
}

void node__ttl_pass(struct node *n, uint64_t now_us)
{
    struct catalog_list l;
    uint64_t last = atomic_load(&last_pass_us);
    int64_t removed = 0;

    if (atomic_load(&n->p.no_ttl) ||
        (last && last + (uint64_t)atomic_load(&n->p.ttl_sleep_ms) * 1000 > now_us))
        return;
    if (!node__write_enter(n)) /* locked: later */
        return;
    atomic_store(&last_pass_us, now_us);
    catalog_list(n->catalog, SLICE_EMPTY, &l);
    for (int i = 0; i < l.n && !atomic_load(&n->stopping); i++)
        if (!l.v[i].x->is_view)
            expire_collection(n, &l.v[i], &removed);
    catalog_list_free(&l);
    node__write_leave(n);
    metric_add(M_TTL_DELETED, removed);
    metric_add(M_TTL_PASSES, 1);
}
