/* coll_build.c - making and dropping indexes.
 *
 * A new index's table is put on the catalogue's list of tables to be removed before its first entry is written, and struck off in the transaction
 * that makes the index part of the collection: a build that fails or dies leaves nothing behind. The collection's lock is held exclusively while
 * existing documents are indexed, so writers wait and no document is missed; readers go on with the indexes they hold.
 */
#include "coll_priv.h"

enum { BUILD_BATCH_BYTES = 1 << 20, BUILD_CHECK_EVERY = 256 };

struct build {
    struct catalog_coll *x;
    struct rt *rt;
    struct coll_build *req;
    struct coll_indexes *next; /* the list with the new ones */
    uint64_t made[INDEXES_MAX];
    int n_made;
};

static const struct index_def *find_by_name(const struct coll_indexes *l, struct slice name)
{
    for (int i = 0; i < l->n; i++)
        if (slice_eq_str(name, l->v[i]->name))
            return l->v[i];
    return NULL;
}

/* compatibility 13: same key, options and name: nothing to do; same key and options, other name: 85; same name otherwise: 86. */
static RC classify(const struct coll_indexes *l, struct bdoc spec, bool *exists, struct err *e)
{
    struct slice name = bval_str(bdoc_get(spec, "name"));
    const struct index_def *same = find_by_name(l, name);

    *exists = false;
    if (same) {
        if (index_spec_same_identity(same->spec, spec)) {
            if (!index_spec_same_options(same->spec, spec))
                FAIL(e, ERR_INDEX_OPTIONS_CONFLICT,
                     "an equivalent index already exists with the same name but different options");
            *exists = true;
            return RC_OK;
        }
        FAIL(
            e, ERR_INDEX_KEY_SPECS_CONFLICT,
            "An existing index has the same name as the requested index. When index names are not specified, they are auto generated and can cause "
            "conflicts. Please refer to our documentation.");
    }
    for (int i = 0; i < l->n; i++) {
        if (!index_spec_same_identity(l->v[i]->spec, spec))
            continue;
        if (!index_spec_same_options(l->v[i]->spec, spec))
            FAIL(e, ERR_INDEX_OPTIONS_CONFLICT,
                 "an equivalent index already exists with a different name and options");
        FAIL(e, ERR_INDEX_OPTIONS_CONFLICT, "Index already exists with a different name: %s",
             l->v[i]->name);
    }
    return RC_OK;
}

static RC add_defs(struct build *b, struct err *e)
{
    struct coll_indexes *old = b->rt->indexes;

    b->next = coll__indexes_new(old->n + b->req->n_specs);
    b->next->n = 0;
    for (int i = 0; i < old->n; i++)
        b->next->v[b->next->n++] = index_def_ref(old->v[i]);
    for (int i = 0; i < b->req->n_specs; i++) {
        struct index_def *d;
        bool exists;
        TRY(classify(b->next, b->req->specs[i], &exists, e));
        if (exists)
            continue;
        if (b->next->n >= INDEXES_MAX)
            FAIL(e, ERR_CANNOT_CREATE_INDEX,
                 "add index fails, too many indexes for the collection: at most %d", INDEXES_MAX);
        uint64_t ident;
        TRY(store_new_ident(catalog_store(b->x->cat), &ident, e));
        TRY(index_def_new(b->req->specs[i], ident, &d, e));
        b->next->v[b->next->n++] = coll__def_owned(b->x->cat, d);
    }
    return RC_OK;
}

static RC doom_new(struct build *b, struct err *e)
{
    for (int i = b->rt->indexes->n; i < b->next->n; i++) {
        TRY(catalog_doom(b->x->cat, STORE_INDEXES, b->next->v[i]->ident, e));
        b->made[b->n_made++] = b->next->v[i]->ident;
    }
    return RC_OK;
}

/* One document's entries in the new indexes. w is made up: its lock is the build's. */
static RC index_document(struct coll_txn *w, int first, uint64_t rid, struct bdoc doc,
                         struct arena *a, size_t *bytes, struct err *e)
{
    for (int i = first; i < w->indexes->n; i++) {
        struct index_keys keys;
        TRY(index_extract(w->indexes->v[i], doc, a, &keys, e));
        TRY(coll__put_keys(w, i, rid, &keys, e));
        for (int k = 0; k < keys.n; k++)
            *bytes += keys.v[k].key.len + 32;
    }
    return RC_OK;
}

static RC flush(struct build *b, struct coll_txn *w, struct err *e)
{
    store_pin_release(&w->pin);
    TRY(store_commit(&w->t, STORE_NOSYNC, e));
    for (int i = 0; i < b->next->n; i++)
        atomic_fetch_or(&b->next->v[i]->multikey_durable, w->multikey_put[i]);
    memset(w->multikey_put, 0, sizeof(w->multikey_put));
    return RC_OK;
}

static RC index_all(struct build *b, struct store_cursor *cur, struct coll_txn *w, struct arena *a,
                    struct err *e)
{
    struct store *s = catalog_store(b->x->cat);
    size_t bytes = 0;
    int64_t n = 0;
    bool valid;

    TRY(store_cursor_first(cur, &valid, e));
    while (valid) {
        struct slice k = store_cursor_key(cur), v = store_cursor_value(cur);
        if (!w->t)
            TRY(store_begin(s, &w->t, e));
        TRY(index_document(w, b->rt->indexes->n, get_be64(k.p + 8),
                           (struct bdoc){ .p = v.p, .len = (uint32_t)v.len }, a, &bytes, e));
        arena_reset(a);
        if (bytes > BUILD_BATCH_BYTES) {
            TRY(flush(b, w, e));
            bytes = 0;
        }
        if (b->req->check && ++n % BUILD_CHECK_EVERY == 0)
            TRY(b->req->check(b->req->check_arg, e));
        TRY(store_cursor_next(cur, &valid, e));
    }
    return w->t ? flush(b, w, e) : RC_OK;
}

static RC fill(struct build *b, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
    struct store *s = catalog_store(b->x->cat);
    struct coll_txn w = { .x = b->x, .rt = b->rt, .indexes = b->next };
    uint8_t lower[8], upper[8];

    put_be64(lower, b->x->ident);
    put_be64(upper, b->x->ident + 1);
    struct store_snapshot *snap = store_snapshot(s);
    struct store_cursor_opts o = { .space = STORE_RECORDS,
                                   .lower = SLICE(lower, 8),
                                   .upper = SLICE(upper, 8),
                                   .long_scan = true };
    rc_t rc = store_cursor_open(s, NULL, snap, &o, &cur, e);
    if (!rc.failed)
        rc = index_all(b, cur, &w, a, e);
    store_pin_release(&w.pin);
    store_abort(&w.t);
    buf_fini(&w.key);
    store_cursor_close(TAKE(cur));
    store_snapshot_release(snap);
    return rc;
}

static RC install(struct build *b, struct err *e)
{
    struct catalog_index v[INDEXES_MAX + 1];

    for (int i = 0; i < b->next->n; i++)
        v[i] = (struct catalog_index){ .ident = b->next->v[i]->ident, .spec = b->next->v[i]->spec };
    struct catalog_index_change ch = {
        .indexes = v, .n_indexes = b->next->n, .made = b->made, .n_made = b->n_made
    };
    TRY(catalog_set_indexes(b->x, &ch, e));
    coll_indexes_unref(b->rt->indexes);
    b->rt->indexes = TAKE(b->next);
    return RC_OK;
}

static RC build_locked(struct build *b, struct err *e)
{
    TRY(coll__rt(b->x, &b->rt, e));
    b->req->n_before = b->rt->indexes->n;
    TRY(add_defs(b, e));
    b->req->n_after = b->next->n;
    if (b->next->n == b->rt->indexes->n)
        return RC_OK;
    TRY(doom_new(b, e));
    TRY(fill(b, e));
    return install(b, e);
}

RC coll_create_indexes(struct catalog_coll *x, struct coll_build *req, struct err *e)
{
    struct build b = { .x = x, .req = req };

    catalog_ddl_begin(x->cat);
    pthread_rwlock_wrlock(&x->lock);
    rc_t rc = build_locked(&b, e);
    if (rc.failed && b.next)
        for (int i = b.rt->indexes->n; i < b.next->n; i++)
            atomic_store(&b.next->v[i]->dropped, true); /* releasing them removes their tables */
    coll_indexes_unref(b.next);
    pthread_rwlock_unlock(&x->lock);
    catalog_ddl_end(x->cat);
    return rc;
}

static bool is_named(const struct index_def *d, const struct slice *names, int n)
{
    for (int i = 0; i < n; i++)
        if (slice_eq_str(names[i], d->name))
            return true;
    return n < 0;
}

static RC drop_locked(struct catalog_coll *x, const struct slice *names, int n, int *n_before,
                      struct err *e)
{
    struct catalog_index v[INDEXES_MAX + 1];
    uint64_t gone[INDEXES_MAX + 1];
    struct rt *rt;
    int n_gone = 0, n_left = 0;

    TRY(coll__rt(x, &rt, e));
    struct coll_indexes *old = rt->indexes;
    *n_before = old->n;
    for (int i = 0; i < n; i++) {
        const struct index_def *d = find_by_name(old, names[i]);
        if (!d)
            FAIL(e, ERR_INDEX_NOT_FOUND, "index not found with name [%.*s]",
                 (int)MIN(names[i].len, 200u), names[i].p);
        if (d->is_id)
            FAIL(e, ERR_INVALID_OPTIONS, "cannot drop _id index");
    }
    struct coll_indexes *next = coll__indexes_new(old->n);
    next->n = 0;
    for (int i = 0; i < old->n; i++) {
        if (!old->v[i]->is_id && is_named(old->v[i], names, n)) {
            gone[n_gone++] = old->v[i]->ident;
            continue;
        }
        v[n_left++] = (struct catalog_index){ .ident = old->v[i]->ident, .spec = old->v[i]->spec };
        next->v[next->n++] = index_def_ref(old->v[i]);
    }
    struct catalog_index_change ch = {
        .indexes = v, .n_indexes = n_left, .gone = gone, .n_gone = n_gone
    };
    if (n_gone && catalog_set_indexes(x, &ch, e).failed) {
        coll_indexes_unref(next);
        return RC_FAILED;
    }
    for (int i = 0; i < old->n; i++)
        if (!old->v[i]->is_id && is_named(old->v[i], names, n))
            atomic_store(&old->v[i]->dropped, true);
    rt->indexes = next;
    coll_indexes_unref(old);
    return RC_OK;
}

RC coll_drop_indexes(struct catalog_coll *x, const struct slice *names, int n, int *n_before,
                     struct err *e)
{
    catalog_ddl_begin(x->cat);
    pthread_rwlock_wrlock(&x->lock);
    rc_t rc = drop_locked(x, names, n, n_before, e);
    pthread_rwlock_unlock(&x->lock);
    catalog_ddl_end(x->cat);
    return rc;
}

static RC set_spec_locked(struct catalog_coll *x, struct slice name, struct bdoc spec,
                          struct err *e)
{
    struct catalog_index v[INDEXES_MAX + 1];
    struct index_def *d;
    struct rt *rt;

    TRY(coll__rt(x, &rt, e));
    struct coll_indexes *old = rt->indexes;
    const struct index_def *target = find_by_name(old, name);
    if (!target)
        FAIL(e, ERR_INDEX_NOT_FOUND, "index not found");
    TRY(index_def_new(spec, target->ident, &d, e));
    atomic_store(&d->multikey, atomic_load(&target->multikey));
    atomic_store(&d->multikey_durable, atomic_load(&target->multikey_durable));
    struct coll_indexes *next = coll__indexes_new(old->n);
    for (int i = 0; i < old->n; i++) {
        next->v[i] = old->v[i] == target ? coll__def_owned(x->cat, d) : index_def_ref(old->v[i]);
        v[i] = (struct catalog_index){ .ident = next->v[i]->ident, .spec = next->v[i]->spec };
    }
    struct catalog_index_change ch = { .indexes = v, .n_indexes = old->n };
    if (catalog_set_indexes(x, &ch, e).failed) {
        coll_indexes_unref(next);
        return RC_FAILED;
    }
    rt->indexes = next;
    coll_indexes_unref(old);
    return RC_OK;
}

RC coll_set_index_spec(struct catalog_coll *x, struct slice name, struct bdoc spec, struct err *e)
{
    catalog_ddl_begin(x->cat);
    pthread_rwlock_wrlock(&x->lock);
    rc_t rc = set_spec_locked(x, name, spec, e);
    pthread_rwlock_unlock(&x->lock);
    catalog_ddl_end(x->cat);
    return rc;
}
