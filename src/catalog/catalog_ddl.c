/* catalog_ddl.c - changes of the catalogue: each is one durable transaction, then the memory. */
#include "catalog_priv.h"

#include <ctype.h>
#include <sys/random.h>

void catalog_ddl_begin(struct catalog *c) TS_NO_ANALYSIS
{
    mutex_lock(&c->ddl);
}

void catalog_ddl_end(struct catalog *c) TS_NO_ANALYSIS
{
    mutex_unlock(&c->ddl);
}

RC catalog_db_check(struct slice db, struct err *e)
{
    if (db.len == 0)
        FAIL(e, ERR_INVALID_NAMESPACE, "database names cannot be empty");
    if (db.len > CATALOG_DB_MAX)
        FAIL(e, ERR_INVALID_NAMESPACE, "a database name has at most %d bytes", CATALOG_DB_MAX);
    for (size_t i = 0; i < db.len; i++)
        if (db.p[i] == 0 || strchr("/\\. \"$*<>:|?", db.p[i]))
            FAIL(e, ERR_INVALID_NAMESPACE,
                 "the database name contains a character that is not allowed");
    return RC_OK;
}

RC catalog_ns_check(struct slice db, struct slice coll, struct err *e)
{
    TRY(catalog_db_check(db, e));
    if (coll.len == 0)
        FAIL(e, ERR_INVALID_NAMESPACE, "collection names cannot be empty");
    if (coll.p[0] == '$')
        FAIL(e, ERR_INVALID_NAMESPACE, "collection names cannot start with '$'");
    if (coll.p[0] == '.')
        FAIL(e, ERR_INVALID_NAMESPACE, "collection names cannot start with '.'");
    if (memchr(coll.p, 0, coll.len))
        FAIL(e, ERR_INVALID_NAMESPACE, "collection names cannot contain NUL bytes");
    if (db.len + 1 + coll.len > CATALOG_NS_MAX)
        FAIL(e, ERR_INVALID_NAMESPACE, "fully qualified namespace is too long: at most %d bytes",
             CATALOG_NS_MAX);
    return RC_OK;
}

static void ns_key(struct buf *out, struct slice ns)
{
    catalog__meta_key(out, META_CATALOG, ns);
}

static RC put_entry(struct store_txn *t, struct slice ns, struct slice record, struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;

    ns_key(&key, ns);
    return store_put(t, STORE_META, buf_view(&key), record, e);
}

static RC del_entry(struct store_txn *t, struct slice ns, struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;

    ns_key(&key, ns);
    return store_del(t, STORE_META, buf_view(&key), e);
}

static RC list_doomed(struct store_txn *t, enum store_space sp, uint64_t ident, struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;

    catalog__drop_key(&key, sp, ident);
    return store_put(t, STORE_META, buf_view(&key), SLICE_LIT("1"), e);
}

static RC strike_doomed(struct store_txn *t, enum store_space sp, uint64_t ident, struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;

    catalog__drop_key(&key, sp, ident);
    return store_del(t, STORE_META, buf_view(&key), e);
}

static void txn_abortp(struct store_txn **t)
{
    store_abort(t);
}

RC catalog_doom(struct catalog *c, enum store_space sp, uint64_t ident, struct err *e)
{
    AUTO(txn_abortp) struct store_txn *t = NULL;

    TRY(store_begin(c->store, &t, e));
    TRY(list_doomed(t, sp, ident, e));
    return store_commit(&t, STORE_SYNC, e);
}

RC catalog_reap(struct catalog *c, enum store_space sp, uint64_t ident, struct err *e)
{
    AUTO(txn_abortp) struct store_txn *t = NULL;
    uint8_t lower[STORE_IDENT_LEN], upper[STORE_IDENT_LEN], counts[2 * STORE_IDENT_LEN],
        counts_end[2 * STORE_IDENT_LEN];

    put_be64(lower, ident);
    put_be64(upper, ident + 1);
    TRY(store_drop_range(c->store, sp, SLICE(lower, sizeof(lower)), SLICE(upper, sizeof(upper)),
                         e));
    /* what else is kept under this ident */
    uint64_t meta = sp == STORE_RECORDS ? META_COUNTS : META_MULTIKEY;
    put_be64(counts, meta);
    put_be64(counts + STORE_IDENT_LEN, ident);
    put_be64(counts_end, meta);
    put_be64(counts_end + STORE_IDENT_LEN, ident + 1);
    TRY(store_drop_range(c->store, STORE_META, SLICE(counts, sizeof(counts)),
                         SLICE(counts_end, sizeof(counts_end)), e));
    TRY(store_begin(c->store, &t, e));
    TRY(strike_doomed(t, sp, ident, e));
    return store_commit(&t, STORE_NOSYNC, e);
}

static bool differs_in_case_only(struct slice a, struct slice b)
{
    if (a.len != b.len || memcmp(a.p, b.p, a.len) == 0)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (tolower(a.p[i]) != tolower(b.p[i]))
            return false;
    return true;
}

static RC check_case(struct catalog *c, struct slice ns, struct err *e)
{
    size_t it = 0, db_len = (size_t)((const uint8_t *)memchr(ns.p, '.', ns.len) - ns.p);
    struct slice key;
    void *x;
    bool clash = false;

    pthread_rwlock_rdlock(&c->map_lock);
    while (!clash && map_next(c->by_ns, &it, &key, &x)) {
        size_t n = (size_t)((const uint8_t *)memchr(key.p, '.', key.len) - key.p);
        clash = differs_in_case_only(SLICE(key.p, n), SLICE(ns.p, db_len));
    }
    pthread_rwlock_unlock(&c->map_lock);
    if (clash)
        FAIL(e, ERR_DATABASE_DIFFERS_IN_CASE, "db already exists with different case");
    return RC_OK;
}

static void new_uuid(uint8_t out[CATALOG_UUID_LEN])
{
    if (getrandom(out, CATALOG_UUID_LEN, 0) != CATALOG_UUID_LEN)
        base_panic(__FILE__, __LINE__, "getrandom");
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

RC catalog_create(struct catalog *c, const struct catalog_new *n, struct catalog_coll **out,
                  struct err *e)
{
    AUTO(txn_abortp) struct store_txn *t = NULL;
    AUTO(buf_fini) struct buf record = BUF_INIT;
    struct catalog_coll tmp = { .is_view = n->is_view };
    struct bdoc doc;

    *out = NULL;
    struct catalog_coll *there = catalog_find(c, n->ns);
    if (there) {
        catalog_coll_unref(there);
        FAIL(e, ERR_NAMESPACE_EXISTS, "namespace %.*s already exists", (int)n->ns.len, n->ns.p);
    }
    TRY(check_case(c, n->ns, e));
    TRY(store_new_ident(c->store, &tmp.ident, e));
    new_uuid(tmp.uuid);
    catalog__record(&tmp, n->options, n->indexes, n->n_indexes, &record);
    doc = (struct bdoc){ .p = record.p, .len = (uint32_t)record.len };
    struct catalog_coll *x = catalog__coll_new(c, n->ns, doc, e);
    if (!x)
        return RC_FAILED;
    rc_t rc = store_begin(c->store, &t, e);
    if (!rc.failed)
        rc = put_entry(t, n->ns, buf_view(&record), e);
    if (!rc.failed)
        rc = store_commit(&t, STORE_SYNC, e);
    if (rc.failed) {
        catalog_coll_unref(x);
        return rc;
    }
    pthread_rwlock_wrlock(&c->map_lock);
    map_put(c->by_ns, n->ns, catalog_coll_ref(x));
    pthread_rwlock_unlock(&c->map_lock);
    *out = x;
    return RC_OK;
}

/* Strike x from the map; its reference there is returned to the caller. */
static void unmap(struct catalog *c, struct catalog_coll *x)
{
    pthread_rwlock_wrlock(&c->map_lock);
    map_del(c->by_ns, slice_str(x->ns));
    pthread_rwlock_unlock(&c->map_lock);
}

static RC drop_in(struct store_txn *t, struct catalog_coll *x, struct err *e)
{
    TRY(del_entry(t, slice_str(x->ns), e));
    if (!x->is_view)
        TRY(list_doomed(t, STORE_RECORDS, x->ident, e));
    for (int i = 0; i < x->n_indexes; i++)
        TRY(list_doomed(t, STORE_INDEXES, x->indexes[i].ident, e));
    return RC_OK;
}

/* Index tables of a collection that no runtime ever opened have no other owner. */
static void reap_unowned_indexes(struct catalog_coll *x)
{
    struct err ignored = { 0 };

    mutex_lock(&x->rt_lock);
    bool owned = x->rt != NULL;
    mutex_unlock(&x->rt_lock);
    for (int i = 0; !owned && i < x->n_indexes; i++)
        if (catalog_reap(x->cat, STORE_INDEXES, x->indexes[i].ident, &ignored).failed)
            err_reset(&ignored); /* listed: the next start removes it */
}

RC catalog_drop(struct catalog_coll *x, struct err *e)
{
    struct catalog *c = x->cat;
    AUTO(txn_abortp) struct store_txn *t = NULL;

    pthread_rwlock_wrlock(&x->lock);
    rc_t rc = RC_OK;
    if (atomic_load(&x->dropped))
        rc = err_set(e, ERR_NAMESPACE_NOT_FOUND, __FILE__, __LINE__, "ns not found");
    if (!rc.failed)
        rc = store_begin(c->store, &t, e);
    if (!rc.failed)
        rc = drop_in(t, x, e);
    if (!rc.failed)
        rc = store_commit(&t, STORE_SYNC, e);
    if (!rc.failed) {
        atomic_store(&x->dropped, true);
        unmap(c, x);
    }
    pthread_rwlock_unlock(&x->lock);
    if (rc.failed)
        return rc;
    reap_unowned_indexes(x);
    catalog_coll_unref(x); /* the map's */
    return RC_OK;
}

static RC rename_txn(struct catalog_coll *x, struct slice ns, struct catalog_coll *target,
                     struct err *e)
{
    AUTO(txn_abortp) struct store_txn *t = NULL;
    AUTO(buf_fini) struct buf record = BUF_INIT;

    catalog__record(x, x->options, x->indexes, x->n_indexes, &record);
    TRY(store_begin(x->cat->store, &t, e));
    if (target)
        TRY(drop_in(t, target, e));
    TRY(del_entry(t, slice_str(x->ns), e));
    TRY(put_entry(t, ns, buf_view(&record), e));
    return store_commit(&t, STORE_SYNC, e);
}

/* The caller looked before it had the ddl mutex: what has the name now must be what is to make way for x. */
static RC check_place(struct catalog *c, struct slice ns, const struct catalog_coll *target,
                      struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *there = catalog_find(c, ns);

    if (there == target)
        return RC_OK;
    if (there)
        FAIL(e, ERR_NAMESPACE_EXISTS, "target namespace exists");
    FAIL(e, ERR_NAMESPACE_NOT_FOUND, "the target was dropped or renamed meanwhile");
}

RC catalog_rename(struct catalog_coll *x, struct slice ns, struct catalog_coll *target,
                  struct err *e)
{
    struct catalog *c = x->cat;

    TRY(check_case(c, ns, e));
    TRY(check_place(c, ns, target, e));
    pthread_rwlock_wrlock(&x->lock);
    if (target)
        pthread_rwlock_wrlock(&target->lock);
    rc_t rc = RC_OK;
    if (atomic_load(&x->dropped) || (target && atomic_load(&target->dropped)))
        rc = err_set(e, ERR_NAMESPACE_NOT_FOUND, __FILE__, __LINE__,
                     "source namespace does not exist");
    if (!rc.failed)
        rc = rename_txn(x, ns, target, e);
    if (!rc.failed) {
        pthread_rwlock_wrlock(&c->map_lock);
        map_del(c->by_ns, slice_str(x->ns));
        map_put(c->by_ns, ns, x); /* the map's reference to target becomes ours */
        pthread_rwlock_unlock(&c->map_lock);
        catalog__set(x, ns, x->options, x->indexes, x->n_indexes);
        if (target)
            atomic_store(&target->dropped, true);
    }
    if (target)
        pthread_rwlock_unlock(&target->lock);
    pthread_rwlock_unlock(&x->lock);
    if (rc.failed || !target)
        return rc;
    reap_unowned_indexes(target);
    catalog_coll_unref(target);
    return RC_OK;
}

RC catalog_set_indexes(struct catalog_coll *x, const struct catalog_index_change *ch, struct err *e)
{
    AUTO(txn_abortp) struct store_txn *t = NULL;
    AUTO(buf_fini) struct buf record = BUF_INIT;

    catalog__record(x, x->options, ch->indexes, ch->n_indexes, &record);
    TRY(store_begin(x->cat->store, &t, e));
    TRY(put_entry(t, slice_str(x->ns), buf_view(&record), e));
    for (int i = 0; i < ch->n_gone; i++)
        TRY(list_doomed(t, STORE_INDEXES, ch->gone[i], e));
    for (int i = 0; i < ch->n_made; i++)
        TRY(strike_doomed(t, STORE_INDEXES, ch->made[i], e));
    TRY(store_commit(&t, STORE_SYNC, e));
    catalog__set(x, slice_str(x->ns), x->options, ch->indexes, ch->n_indexes);
    return RC_OK;
}

RC catalog_set_options(struct catalog_coll *x, struct bdoc options, struct err *e)
{
    AUTO(txn_abortp) struct store_txn *t = NULL;
    AUTO(buf_fini) struct buf record = BUF_INIT;

    catalog__record(x, options, x->indexes, x->n_indexes, &record);
    TRY(store_begin(x->cat->store, &t, e));
    TRY(put_entry(t, slice_str(x->ns), buf_view(&record), e));
    TRY(store_commit(&t, STORE_SYNC, e));
    catalog__set(x, slice_str(x->ns), options, x->indexes, x->n_indexes);
    return RC_OK;
}
