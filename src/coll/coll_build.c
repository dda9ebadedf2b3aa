/* coll_build.c - making and dropping indexes.
 *
 * A build goes on beside readers and writers. It begins with the collection's lock exclusively held, for a moment: from then on every write keeps the new
 * indexes' entries too (rt->kept), so what is left to the build is the documents with record ids given out before. It takes them in batches, each a
 * transaction with its own snapshot and the lock shared. A document's present entries are computed anew; where a write changes the same
 * entries meanwhile, the store says that there is a conflict, and the batch is tried again, smaller. At the end, exclusively for a moment again, the
 * new indexes become part of the catalogue and of what queries may use (rt->indexes).
 *
 *   (turn) ──▶ announced ──▶ filling ──▶ settling ──▶ installed
 *                  └────────────┴───────────┴──▶ given up: interrupted, a duplicate, the collection or its indexes dropped
 *
 * A new index's table is put on the catalogue's list of tables to be removed before its first entry is written, and struck off in the transaction
 * that makes the index part of the collection: a build that fails or dies leaves nothing behind. One build of a collection runs at a time; others wait.
 * A unique index refuses nobody until it is installed: duplicates stand aside (coll_aside.c), and what still is one at the end fails the build.
 */
#include <limits.h>

#include "base/fault.h"
#include "base/file.h"
#include "coll_priv.h"

enum {
    /* of entries: what a conflict makes vain, and the writer that it meets waits for */
    BATCH_BYTES = 1 << 18,
    BATCH_DOCS = 2048,
    TURN_LOOK_US = 20000,
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

/* Names and keys of the indexes that are there and of those before it in the request. */
static RC add_def(struct build *b, struct coll_indexes *all, struct bdoc spec, struct err *e)
{
    struct index_def *d;
    uint64_t ident;
    bool exists;

    TRY(classify(all, spec, &exists, e));
    if (exists)
        return RC_OK;
    if (all->n >= INDEXES_MAX)
        FAIL(e, ERR_CANNOT_CREATE_INDEX,
             "add index fails, too many indexes for the collection: at most %d", INDEXES_MAX);
    TRY(store_new_ident(catalog_store(b->x->cat), &ident, e));
    TRY(index_def_new(spec, ident, &d, e));
    b->made[b->n_made++] = coll__def_owned(b->x->cat, d);
    all->v[all->n++] = index_def_ref(d);
    return RC_OK;
}

struct coll_indexes *coll__list_with(const struct coll_indexes *old, int room)
{
    struct coll_indexes *l = coll__indexes_new(old->n + room);

    for (int i = 0; i < old->n; i++)
        l->v[i] = index_def_ref(old->v[i]);
    l->n = old->n;
    return l;
}

static RC add_defs(struct build *b, struct coll_indexes **all, struct err *e)
{
    struct coll_indexes *old = b->rt->indexes; /* changes are serial, and this is one */

    *all = coll__list_with(old, b->req->n_specs);
    for (int i = 0; i < b->req->n_specs; i++)
        TRY(add_def(b, *all, b->req->specs[i], e));
    for (int i = 0; i < b->n_made; i++)
        TRY(catalog_doom(b->x->cat, STORE_INDEXES, b->made[i]->ident, e));
    b->req->n_before = old->n;
    b->req->n_after = (*all)->n;
    return RC_OK;
}

/* announce(): from here on writes keep the new indexes. No write runs at this moment: those that are over are in every later snapshot, and have lower
 * record ids than those that come. */
static RC announce(struct build *b, struct err *e)
{
    struct coll_indexes *all = NULL;
    rc_t rc = RC_OK;

    catalog_ddl_begin(b->x->cat);
    if (atomic_load(&b->x->dropped))
        rc = err_set(e, ERR_NAMESPACE_NOT_FOUND, __FILE__, __LINE__, "the collection was dropped");
    if (!rc.failed)
        rc = add_defs(b, &all, e);
    if (!rc.failed && b->n_made) {
        pthread_rwlock_wrlock(&b->x->lock);
        b->end_rid = atomic_load(&b->rt->next_rid);
        b->reached_rid = b->next_rid;
        b->rt->build = b;
        coll_indexes_unref(b->rt->kept);
        b->rt->kept = TAKE(all);
        pthread_rwlock_unlock(&b->x->lock);
    }
    catalog_ddl_end(b->x->cat);
    coll_indexes_unref(all);
    return rc;
}

/* One document's entries in the new indexes. w is made up: the caller holds the lock. */
static RC index_document(struct coll_txn *w, uint64_t rid, struct bdoc doc, struct arena *a,
                         size_t *bytes, struct err *e)
{
    for (int i = w->rt->indexes->n; i < w->indexes->n; i++) {
        struct index_keys keys;
        TRY(index_extract(w->indexes->v[i], doc, w->run, a, &keys, e));
        TRY(coll__put_keys(w, i, rid, &keys, e));
        for (int k = 0; k < keys.n; k++)
            *bytes += keys.v[k].key.len + 32;
    }
    return RC_OK;
}

/* index_range(): documents from b->next_rid on, at most max_docs of them; *next is where to go on. */
static RC index_range(struct build *b, struct coll_txn *w, int max_docs, uint64_t *next,
                      struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
    uint8_t lower[16], upper[16];
    size_t bytes = 0;
    bool valid;

    coll_record_key(lower, b->x->ident, b->next_rid);
    coll_record_key(upper, b->x->ident, b->end_rid);
    struct store_cursor_opts o = { .space = STORE_RECORDS,
                                   .lower = SLICE(lower, 16),
                                   .upper = SLICE(upper, 16),
                                   .long_scan = true };
    TRY(store_cursor_open(catalog_store(b->x->cat), w->t, NULL, &o, &cur, e));
    TRY(store_cursor_first(cur, &valid, e));
    *next = b->end_rid;
    for (int n = 0; valid; n++) {
        struct slice k = store_cursor_key(cur), v = store_cursor_value(cur);
        if (k.len != 16)
            FAIL(e, ERR_CORRUPT, "a record's key does not parse");
        if (n == max_docs || bytes > BATCH_BYTES) {
            *next = get_be64(k.p + 8);
            return RC_OK;
        }
        TRY(index_document(w, get_be64(k.p + 8), (struct bdoc){ .p = v.p, .len = (uint32_t)v.len },
                           a, &bytes, e));
        arena_reset(a);
        TRY(store_cursor_next(cur, &valid, e));
    }
    return RC_OK;
}

/* A step of a build: one transaction, on at most max documents or entries. It says in b->more whether something is left. */
typedef rc_t (*step_fn)(struct build *b, struct coll_txn *w, int max, struct err *e);

static RC fill_some(struct build *b, struct coll_txn *w, int max, struct err *e)
{
    TRY(index_range(b, w, max, &b->reached_rid, e));
    b->more = b->reached_rid < b->end_rid;
    return RC_OK;
}

static RC settle_some(struct build *b, struct coll_txn *w, int max, struct err *e)
{
    b->more = false;
    if (!atomic_load(&b->aside))
        return RC_OK;
    for (int i = b->rt->indexes->n; i < w->indexes->n; i++)
        if (w->indexes->v[i]->unique)
            TRY(coll__settle_aside(w, i, max, &b->more, e));
    return RC_OK;
}

static RC step_locked(struct build *b, step_fn step, int max, struct err *e)
{
    const struct qctx run = { .check = b->req->check, .check_arg = b->req->check_arg };
    struct coll_txn w = { .x = b->x, .rt = b->rt, .indexes = b->rt->kept, .run = &run };

    if (b->given_up || atomic_load(&b->x->dropped))
        FAIL(e, ERR_INDEX_BUILD_ABORTED, "Index build aborted: the %s was dropped",
             b->given_up ? "index" : "collection");
    TRY(store_begin(catalog_store(b->x->cat), &w.t, e));
    rc_t rc = step(b, &w, max, e);
    store_pin_release(&w.pin);
    if (!rc.failed)
        rc = store_commit(&w.t, STORE_NOSYNC, e);
    store_abort(&w.t);
    buf_fini(&w.key);
    if (rc.failed)
        return rc;
    for (int i = 0; i < w.indexes->n; i++)
        atomic_fetch_or(&w.indexes->v[i]->multikey_durable, w.multikey_put[i]);
    b->next_rid = b->reached_rid;
    return RC_OK;
}

/* in_steps(): until nothing is left, beside readers and writers. */
static RC in_steps(struct build *b, step_fn step, struct err *e)
{
    int max_docs = BATCH_DOCS,
    try
        = 0;

    for (b->more = true; b->more;) {
        struct err why = { 0 };
        int sys = fault_hit("coll.build");
        if (sys)
            return file_err(e, sys, "build", "an index");
        if (b->req->check)
            TRY(b->req->check(b->req->check_arg, e));
        pthread_rwlock_rdlock(&b->x->lock);
        rc_t rc = step_locked(b, step, max_docs, &why);
        pthread_rwlock_unlock(&b->x->lock);
        if (!rc.failed) {
            max_docs = MIN(BATCH_DOCS, 2 * max_docs);
            try
                = 0;
            continue;
        }
        if (why.code != ERR_WRITE_CONFLICT) {
            *e = why;
            return rc;
        }
        err_reset(&why);
        max_docs = MAX(1, max_docs / 2);
        coll_backoff(++try);
    }
    return RC_OK;
}

RC coll__build_all(struct build *b, struct err *e)
{
    TRY(in_steps(b, fill_some, e));
    return in_steps(b, settle_some, e);
}

static RC install_locked(struct build *b, struct err *e)
{
    struct catalog_index v[INDEXES_MAX + 1];
    uint64_t made[INDEXES_MAX];
    struct rt *rt = b->rt;

    TRY(step_locked(b, settle_some, INT_MAX, e)); /* what came since: little, and the last */
    for (int i = 0; i < rt->kept->n; i++)
        v[i] = coll__row_of(rt->kept->v[i]);
    for (int i = 0; i < b->n_made; i++)
        made[i] = b->made[i]->ident;
    struct catalog_index_change ch = {
        .indexes = v, .n_indexes = rt->kept->n, .made = made, .n_made = b->n_made
    };
    TRY(catalog_set_indexes(b->x, &ch, e));
    coll_indexes_unref(rt->indexes);
    rt->indexes = coll__indexes_ref(rt->kept);
    rt->build = NULL;
    return RC_OK;
}

static RC install(struct build *b, struct err *e)
{
    catalog_ddl_begin(b->x->cat);
    pthread_rwlock_wrlock(&b->x->lock);
    rc_t rc = install_locked(b, e);
    pthread_rwlock_unlock(&b->x->lock);
    catalog_ddl_end(b->x->cat);
    return rc;
}

/* give_up(): writes keep the new indexes no more; who builds them notices. The caller holds the lock exclusively. */
static void give_up(struct rt *rt)
{
    if (!rt->build)
        return;
    rt->build->given_up = true;
    rt->build = NULL;
    coll_indexes_unref(rt->kept);
    rt->kept = coll__indexes_ref(rt->indexes);
}

/* discard(): after a failure; the last reference of each new index removes its table. */
static void discard(struct build *b)
{
    pthread_rwlock_wrlock(&b->x->lock);
    if (b->rt->build == b)
        give_up(b->rt);
    pthread_rwlock_unlock(&b->x->lock);
    for (int i = 0; i < b->n_made; i++)
        atomic_store(&b->made[i]->dropped, true);
}

/* take_turn(): waits until no other build of the collection runs. */
static RC take_turn(struct build *b, struct err *e)
{
    struct rt *rt = b->rt;
    rc_t rc = RC_OK;

    mutex_lock(&rt->turn_lock);
    while (rt->turn_taken && !rc.failed) {
        cond_wait_until(&rt->turn_over, &rt->turn_lock, clock_mono_us() + TURN_LOOK_US);
        mutex_unlock(&rt->turn_lock);
        if (b->req->check)
            rc = b->req->check(b->req->check_arg, e);
        mutex_lock(&rt->turn_lock);
    }
    if (!rc.failed)
        rt->turn_taken = true;
    mutex_unlock(&rt->turn_lock);
    return rc;
}

static void give_turn(struct rt *rt)
{
    mutex_lock(&rt->turn_lock);
    rt->turn_taken = false;
    cond_signal(&rt->turn_over);
    mutex_unlock(&rt->turn_lock);
}

/* all_there(): nothing is to be built, which needs no turn. */
static RC all_there(struct build *b, bool *there, struct err *e)
{
    struct coll_indexes *l;
    rc_t rc = coll_ref_indexes(b->x, &l, e);

    *there = true;
    if (rc.failed)
        return rc;
    for (int i = 0; !rc.failed && i < b->req->n_specs; i++) {
        bool exists;
        rc = classify(l, b->req->specs[i], &exists, e);
        *there &= exists;
    }
    b->req->n_before = b->req->n_after = l->n;
    coll_indexes_unref(l);
    b->rt = b->x->rt;
    return rc;
}

RC coll_create_indexes(struct catalog_coll *x, struct coll_build *req, struct err *e)
{
    struct build b = { .x = x, .req = req };
    bool there;

    TRY(all_there(&b, &there, e));
    if (there)
        return RC_OK;
    TRY(take_turn(&b, e));
    rc_t rc = announce(&b, e);
    if (!rc.failed && b.n_made)
        rc = coll__build_all(&b, e);
    if (!rc.failed && b.n_made)
        rc = install(&b, e);
    if (rc.failed)
        discard(&b);
    for (int i = 0; i < b.n_made; i++)
        index_def_unref(b.made[i]);
    give_turn(b.rt);
    return rc;
}

static bool is_named(const struct index_def *d, const struct slice *names, int n)
{
    for (int i = 0; i < n; i++)
        if (slice_eq_str(names[i], d->name))
            return true;
    return n < 0;
}

void coll__replace_indexes(struct rt *rt, struct coll_indexes *l)
{
    struct build *b = rt->build;
    struct coll_indexes *kept = coll__list_with(l, b ? b->n_made : 0);

    for (int i = 0; b && i < b->n_made; i++)
        kept->v[kept->n++] = index_def_ref(b->made[i]);
    coll_indexes_unref(rt->indexes);
    coll_indexes_unref(rt->kept);
    rt->indexes = l;
    rt->kept = kept;
}

/* A build is given up whole or not at all: whoever names one of its indexes names all of them, and no other. */
static RC check_names(struct rt *rt, const struct slice *names, int n, bool *building,
                      struct err *e)
{
    int n_building = 0, last = 0;

    for (int i = 0; i < n; i++) {
        const struct index_def *d = find_by_name(rt->kept, names[i]);
        if (!d)
            FAIL(e, ERR_INDEX_NOT_FOUND, "index not found with name [%.*s]",
                 (int)MIN(names[i].len, 200u), names[i].p);
        if (d->is_id)
            FAIL(e, ERR_INVALID_OPTIONS, "cannot drop _id index");
        if (find_by_name(rt->indexes, names[i]))
            continue;
        n_building++;
        last = i;
    }
    if (n_building && (n_building != n || n_building != rt->build->n_made))
        FAIL(e, ERR_INDEX_NOT_FOUND, "can't drop unfinished index with name: %.*s",
             (int)MIN(names[last].len, 200u), names[last].p);
    *building = n < 0 || n_building;
    return RC_OK;
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
    *n_before = rt->kept->n;
    bool building = false;
    TRY(check_names(rt, names, n, &building, e));
    struct coll_indexes *next = coll__indexes_new(old->n);
    next->n = 0;
    for (int i = 0; i < old->n; i++) {
        if (!old->v[i]->is_id && is_named(old->v[i], names, n)) {
            gone[n_gone++] = old->v[i]->ident;
            continue;
        }
        v[n_left++] = coll__row_of(old->v[i]);
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
    if (building)
        give_up(rt);
    coll__replace_indexes(rt, next);
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
        v[i] = coll__row_of(next->v[i]);
    }
    struct catalog_index_change ch = { .indexes = v, .n_indexes = old->n };
    if (catalog_set_indexes(x, &ch, e).failed) {
        coll_indexes_unref(next);
        return RC_FAILED;
    }
    coll__replace_indexes(rt, next);
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
