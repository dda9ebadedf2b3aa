/* coll_rt.c - opening a collection: index definitions, counts, the next record id. Closing it. */
#include "coll_priv.h"

#include <sched.h>
#include <stdlib.h>

struct coll_indexes *coll__indexes_new(int n)
{
    struct coll_indexes *l = mem_calloc(1, sizeof(*l) + (size_t)n * sizeof(l->v[0]));

    atomic_init(&l->refs, 1);
    l->n = n;
    return l;
}

struct coll_indexes *coll__indexes_ref(struct coll_indexes *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void coll_indexes_unref(struct coll_indexes *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (int i = 0; i < l->n; i++)
        index_def_unref(l->v[i]);
    mem_free(l);
}

/* The last reference of a dropped index removes its table. */
static void reap_index(struct index_def *d, void *arg)
{
    struct err e = { 0 };

    if (atomic_load(&d->dropped) && catalog_reap(arg, STORE_INDEXES, d->ident, &e).failed)
        err_reset(&e); /* stays on the durable list: the next start removes it */
}

struct index_def *coll__def_owned(struct catalog *c, struct index_def *d)
{
    d->on_last = reap_index;
    d->on_last_arg = c;
    return d;
}

struct catalog_index coll__row_of(const struct index_def *d)
{
    return (struct catalog_index){ .ident = d->ident,
                                   .spec = d->spec,
                                   .collator = slice_str(d->collator_version) };
}

void coll__count_key(uint8_t out[18], uint64_t ident, uint16_t number)
{
    put_be64(out, META_COUNTS);
    put_be64(out + 8, ident);
    put_be16(out + 16, number);
}

void coll__multikey_key(uint8_t out[16], uint64_t index_ident)
{
    put_be64(out, META_MULTIKEY);
    put_be64(out + 8, index_ident);
}

RC coll__read_counts(struct store *s, struct store_snapshot *snap, uint64_t ident,
                     void (*fn)(void *arg, uint16_t number, int64_t docs, int64_t bytes), void *arg,
                     struct err *e)
{
    AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
    uint8_t lower[18], upper[18];
    bool valid;

    coll__count_key(lower, ident, 0);
    coll__count_key(upper, ident + 1, 0);
    struct store_cursor_opts o = { .space = STORE_META,
                                   .lower = SLICE(lower, 16),
                                   .upper = SLICE(upper, 16) };
    TRY(store_cursor_open(s, NULL, snap, &o, &cur, e));
    TRY(store_cursor_first(cur, &valid, e));
    while (valid) {
        struct slice k = store_cursor_key(cur), v = store_cursor_value(cur);
        if (k.len != 18 || v.len != 16)
            FAIL(e, ERR_CORRUPT, "a row of counts does not parse");
        fn(arg, get_be16(k.p + 16), (int64_t)get_be64(v.p), (int64_t)get_be64(v.p + 8));
        TRY(store_cursor_next(cur, &valid, e));
    }
    return RC_OK;
}

static void add_stripe(void *arg, uint16_t number, int64_t docs, int64_t bytes)
{
    struct rt *rt = arg;
    struct stripe *s = NEW(struct stripe);

    s->number = number;
    s->n_docs = docs;
    s->n_bytes = bytes;
    s->next = rt->free_stripes;
    rt->free_stripes = s;
    rt->n_stripes = MAX(rt->n_stripes, (uint16_t)(number + 1));
    atomic_fetch_add(&rt->n_docs, docs);
    atomic_fetch_add(&rt->n_bytes, bytes);
}

static RC load_next_rid(struct rt *rt, struct store_snapshot *snap, struct err *e)
{
    AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
    uint8_t lower[8], upper[8];
    bool valid;

    put_be64(lower, rt->x->ident);
    put_be64(upper, rt->x->ident + 1);
    struct store_cursor_opts o = { .space = STORE_RECORDS,
                                   .lower = SLICE(lower, 8),
                                   .upper = SLICE(upper, 8) };
    TRY(store_cursor_open(catalog_store(rt->x->cat), NULL, snap, &o, &cur, e));
    TRY(store_cursor_last(cur, &valid, e));
    uint64_t next = 1;
    if (valid) {
        struct slice k = store_cursor_key(cur);
        if (k.len != 16)
            FAIL(e, ERR_CORRUPT, "a record's key does not parse");
        next = get_be64(k.p + 8) + 1;
    }
    atomic_init(&rt->next_rid, next);
    return RC_OK;
}

static RC load_indexes(struct rt *rt, struct store_snapshot *snap, struct err *e)
{
    struct catalog_coll *x = rt->x;

    rt->indexes = coll__indexes_new(x->n_indexes);
    rt->indexes->n = 0;
    for (int i = 0; i < x->n_indexes; i++) {
        struct index_def *d;
        struct store_pin pin = { 0 };
        struct slice v;
        struct err missing = { 0 };
        uint8_t key[16];
        TRY(index_def_new(x->indexes[i].spec, x->indexes[i].ident, &d, e));
        rt->indexes->v[rt->indexes->n++] = coll__def_owned(x->cat, d);
        coll__multikey_key(key, d->ident);
        rc_t rc = store_snapshot_get(catalog_store(x->cat), snap, STORE_META, SLICE(key, 16), &pin,
                                     &v, &missing);
        if (!rc.failed && v.len == 4) {
            atomic_store(&d->multikey, get_be32(v.p));
            atomic_store(&d->multikey_durable, get_be32(v.p));
        }
        store_pin_release(&pin);
        if (rc.failed && missing.code != ERR_NOT_FOUND)
            return err_take(e, &missing);
    }
    return RC_OK;
}

static int64_t option_i64(struct bdoc options, const char *name)
{
    int64_t v = 0;
    struct bval o = bdoc_get(options, name);

    return bval_is_number(o) && bval_to_i64(o, &v) ? v : 0;
}

void coll__load_capped(struct rt *rt)
{
    struct bdoc o = rt->x->options;
    struct bval capped = bdoc_get(o, "capped");

    rt->capped = !bval_is_missing(capped) && bval_truthy(capped);
    rt->capped_bytes = option_i64(o, "size");
    rt->capped_docs = option_i64(o, "max");
}

RC coll__load_validator(struct rt *rt, struct err *e)
{
    struct bdoc o = rt->x->options;
    struct bval v = bdoc_get(o, "validator"), level = bdoc_get(o, "validationLevel"),
                action = bdoc_get(o, "validationAction");
    struct arena *a = arena_new(0);
    struct match *m = NULL;
    struct bdoc doc = BDOC_EMPTY;

    if (v.type == BT_DOCUMENT && !bdoc_is_empty(bval_doc(v))) {
        struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };
        q.collator = rt->indexes->v[0]->collator; /* of _id: the collection's */
        struct bval copy = bval_dup(a, v);
        doc = bval_doc(copy);
        if (match_parse(&q, doc, 0, &m, e).failed) {
            arena_free(a);
            return RC_FAILED;
        }
    }
    arena_free(rt->validator_arena);
    rt->validator_arena = a;
    rt->validator = m;
    rt->validator_doc = doc;
    rt->level = VALIDATE_STRICT;
    if (level.type == BT_STRING && slice_eq_str(bval_str(level), "off"))
        rt->level = VALIDATE_OFF;
    if (level.type == BT_STRING && slice_eq_str(bval_str(level), "moderate"))
        rt->level = VALIDATE_MODERATE;
    rt->warn_only = action.type == BT_STRING && slice_eq_str(bval_str(action), "warn");
    return RC_OK;
}

static void rt_free(void *p)
{
    struct rt *rt = p;

    while (rt->free_stripes) {
        struct stripe *s = rt->free_stripes;
        rt->free_stripes = s->next;
        mem_free(s);
    }
    coll_indexes_unref(rt->indexes);
    coll_indexes_unref(rt->kept);
    arena_free(rt->validator_arena);
    mutex_fini(&rt->stripes_lock);
    mutex_fini(&rt->turn_lock);
    cond_fini(&rt->turn_over);
    mem_free(rt);
}

static RC load(struct rt *rt, struct store_snapshot *snap, struct err *e)
{
    coll__load_capped(rt);
    TRY(coll__read_counts(catalog_store(rt->x->cat), snap, rt->x->ident, add_stripe, rt, e));
    TRY(load_next_rid(rt, snap, e));
    TRY(load_indexes(rt, snap, e));
    rt->kept = coll__indexes_ref(rt->indexes);
    return coll__load_validator(rt, e);
}

RC coll__rt(struct catalog_coll *x, struct rt **out, struct err *e)
{
    rc_t rc = RC_OK;

    *out = NULL;
    INVARIANT(!x->is_view);
    if (atomic_load(&x->dropped))
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "the collection was dropped");
    mutex_lock(&x->rt_lock);
    if (!x->rt) {
        struct rt *rt = NEW(struct rt);
        rt->x = x;
        mutex_init(&rt->stripes_lock);
        mutex_init(&rt->turn_lock);
        cond_init(&rt->turn_over);
        struct store_snapshot *snap = store_snapshot(catalog_store(x->cat));
        rc = load(rt, snap, e);
        store_snapshot_release(snap);
        if (rc.failed) {
            rt_free(rt);
        } else {
            x->rt = rt;
            x->rt_free = rt_free;
        }
    }
    *out = x->rt;
    mutex_unlock(&x->rt_lock);
    return rc;
}

/* The lock is held while the snapshot is taken, so that no index is installed or dropped between the two. */
static RC ref_indexes(struct catalog_coll *x, bool kept, struct coll_indexes **out,
                      struct store_snapshot **snap, struct err *e)
{
    struct rt *rt;

    *out = NULL;
    pthread_rwlock_rdlock(&x->lock);
    rc_t rc = coll__rt(x, &rt, e);
    if (!rc.failed) {
        *out = coll__indexes_ref(kept ? rt->kept : rt->indexes);
        if (snap)
            *snap = store_snapshot(catalog_store(x->cat));
    }
    pthread_rwlock_unlock(&x->lock);
    return rc;
}

RC coll_ref_indexes(struct catalog_coll *x, struct coll_indexes **out, struct err *e)
{
    return ref_indexes(x, false, out, NULL, e);
}

RC coll_ref_kept_indexes(struct catalog_coll *x, struct coll_indexes **out, struct err *e)
{
    return ref_indexes(x, true, out, NULL, e);
}

RC coll_view(struct catalog_coll *x, struct coll_indexes **out, struct store_snapshot **snap,
             struct err *e)
{
    *snap = NULL;
    return ref_indexes(x, false, out, snap, e);
}

static void range_of(uint64_t ident, uint8_t lower[8], uint8_t upper[8])
{
    put_be64(lower, ident);
    put_be64(upper, ident + 1);
}

RC coll_info(struct catalog_coll *x, struct coll_info *out, struct err *e)
{
    struct coll_indexes *l = NULL;
    struct store *s = catalog_store(x->cat);
    uint8_t lower[8], upper[8];
    uint64_t bytes = 0;

    *out = (struct coll_info){ 0 };
    TRY(coll_ref_indexes(x, &l, e));
    struct rt *rt = x->rt;
    out->n_docs = atomic_load(&rt->n_docs);
    out->n_bytes = atomic_load(&rt->n_bytes);
    out->n_indexes = l->n;
    range_of(x->ident, lower, upper);
    store_range_size(s, STORE_RECORDS, SLICE(lower, 8), SLICE(upper, 8), &out->disk_bytes);
    for (int i = 0; i < l->n; i++) {
        range_of(l->v[i]->ident, lower, upper);
        store_range_size(s, STORE_INDEXES, SLICE(lower, 8), SLICE(upper, 8), &bytes);
        out->index_bytes += bytes;
    }
    coll_indexes_unref(l);
    return RC_OK;
}

RC coll_count(struct catalog_coll *x, int64_t *out, struct err *e)
{
    struct rt *rt;

    *out = 0;
    pthread_rwlock_rdlock(&x->lock);
    rc_t rc = coll__rt(x, &rt, e);
    if (!rc.failed)
        *out = atomic_load(&rt->n_docs);
    pthread_rwlock_unlock(&x->lock);
    return rc;
}

void coll_backoff(int n)
{
    if (n < 4) {
        sched_yield();
        return;
    }
    unsigned seed = (unsigned)clock_mono_us();
    uint64_t cap = 1u << MIN(n, 13); /* microseconds */
    clock_sleep_us(cap / 2 + (uint64_t)rand_r(&seed) % (cap / 2 + 1));
}
