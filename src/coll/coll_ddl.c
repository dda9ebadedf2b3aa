/* coll_ddl.c - making, dropping and renaming collections. */
#include "coll_priv.h"

static RC id_spec(struct arena *a, struct bval collation, struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_i32(&w, "v", 2);
    bw_doc_begin(&w, "key");
    bw_i32(&w, "_id", 1);
    bw_doc_end(&w);
    bw_str(&w, "name", "_id_");
    if (!bval_is_missing(collation))
        bw_val(&w, "collation", collation);
    return index_spec_check(a, bw_finish(&w), out, e);
}

static RC create_locked(struct catalog *c, struct slice ns, struct bdoc options,
                        struct catalog_coll **out, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct catalog_index id = { 0 };
    struct bval view = bdoc_get(options, "viewOn");
    struct catalog_new n = { .ns = ns,
                             .options = options,
                             .indexes = &id,
                             .n_indexes = 1,
                             .is_view = !bval_is_missing(view) };

    if (n.is_view) {
        n.n_indexes = 0;
        return catalog_create(c, &n, out, e);
    }
    struct index_def *d;
    uint64_t ident;
    TRY(id_spec(a, bdoc_get(options, "collation"), &id.spec, e));
    TRY(store_new_ident(catalog_store(c), &ident, e));
    TRY(index_def_new(id.spec, ident, &d, e));
    id = coll__row_of(d);
    rc_t rc = catalog_create(c, &n, out, e);
    index_def_unref(d);
    return rc;
}

RC coll_create(struct catalog *c, struct slice ns, struct bdoc options, struct catalog_coll **out,
               struct err *e)
{
    catalog_ddl_begin(c);
    rc_t rc = create_locked(c, ns, options, out, e);
    catalog_ddl_end(c);
    return rc;
}

RC coll_open(struct catalog *c, struct slice ns, bool create, struct catalog_coll **out,
             struct err *e)
{
    *out = catalog_find(c, ns);
    if (*out || !create)
        return RC_OK;
    catalog_ddl_begin(c);
    rc_t rc = RC_OK;
    *out = catalog_find(c, ns); /* another thread may have been first */
    if (!*out)
        rc = create_locked(c, ns, BDOC_EMPTY, out, e);
    catalog_ddl_end(c);
    return rc;
}

/* From now on the last reference of each index removes its table. */
static void mark_indexes_dropped(struct catalog_coll *x)
{
    mutex_lock(&x->rt_lock);
    struct rt *rt = x->rt;
    mutex_unlock(&x->rt_lock);
    for (int i = 0; rt && i < rt->indexes->n; i++)
        atomic_store(&rt->indexes->v[i]->dropped, true);
}

RC coll_drop(struct catalog_coll *x, struct err *e)
{
    catalog_ddl_begin(x->cat);
    rc_t rc = catalog_drop(x, e);
    if (!rc.failed)
        mark_indexes_dropped(x);
    catalog_ddl_end(x->cat);
    return rc;
}

RC coll_rename(struct catalog_coll *x, struct slice ns, struct catalog_coll *target, struct err *e)
{
    catalog_ddl_begin(x->cat);
    rc_t rc = catalog_rename(x, ns, target, e);
    if (!rc.failed && target)
        mark_indexes_dropped(target);
    catalog_ddl_end(x->cat);
    return rc;
}

enum { FREED_UNIT = 4096 }; /* sizes are estimates: what is less tells nothing */

static RC compact_table(struct catalog_coll *x, enum store_space sp, uint64_t ident,
                        store_check_fn check, void *check_arg, int64_t *freed, struct err *e)
{
    struct store *s = catalog_store(x->cat);
    uint8_t lower[8], upper[8];
    uint64_t before, after;

    put_be64(lower, ident);
    put_be64(upper, ident + 1);
    store_range_size(s, sp, SLICE(lower, 8), SLICE(upper, 8), &before);
    TRY(store_compact_range(s, sp, SLICE(lower, 8), SLICE(upper, 8), check, check_arg, e));
    store_range_size(s, sp, SLICE(lower, 8), SLICE(upper, 8), &after);
    if (before > after)
        *freed += (int64_t)((before - after) / FREED_UNIT * FREED_UNIT);
    return RC_OK;
}

RC coll_compact(struct catalog_coll *x, store_check_fn check, void *check_arg, int64_t *freed,
                struct err *e)
{
    struct coll_indexes *l;

    *freed = 0;
    TRY(store_flush(catalog_store(x->cat), e)); /* so that files are compared with files */
    TRY(coll_ref_indexes(x, &l, e));
    rc_t rc = compact_table(x, STORE_RECORDS, x->ident, check, check_arg, freed, e);
    for (int i = 0; !rc.failed && i < l->n; i++)
        rc = compact_table(x, STORE_INDEXES, l->v[i]->ident, check, check_arg, freed, e);
    coll_indexes_unref(l);
    return rc;
}

static RC set_options_locked(struct catalog_coll *x, struct bdoc options, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };
    struct bval v = bdoc_get(options, "validator");
    struct match *m;
    struct rt *rt;

    if (v.type == BT_DOCUMENT)
        TRY(match_parse(&q, bval_doc(v), 0, &m, e)); /* refused before anything is changed */
    if (x->is_view)
        return catalog_set_options(x, options, e);
    TRY(coll__rt(x, &rt, e));
    TRY(catalog_set_options(x, options, e));
    coll__load_capped(rt);
    return coll__load_validator(rt, e);
}

RC coll_set_options(struct catalog_coll *x, struct bdoc options, struct err *e)
{
    catalog_ddl_begin(x->cat);
    pthread_rwlock_wrlock(&x->lock);
    rc_t rc = RC_OK;
    if (atomic_load(&x->dropped))
        rc = err_set(e, ERR_NAMESPACE_NOT_FOUND, __FILE__, __LINE__, "the collection was dropped");
    if (!rc.failed)
        rc = set_options_locked(x, options, e);
    pthread_rwlock_unlock(&x->lock);
    catalog_ddl_end(x->cat);
    return rc;
}
