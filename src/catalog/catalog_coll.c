/* catalog_coll.c - one collection's entry: its record in STORE_META, its fields in memory, its references. */
#include "catalog_priv.h"

void catalog__meta_key(struct buf *out, enum catalog_meta m, struct slice rest)
{
    buf_push_be64(out, (uint64_t)m);
    buf_push(out, rest.p, rest.len);
}

void catalog__drop_key(struct buf *out, enum store_space sp, uint64_t ident)
{
    buf_push_be64(out, META_DROPS);
    buf_push_u8(out, (uint8_t)sp);
    buf_push_be64(out, ident);
}

void catalog__record(const struct catalog_coll *x, struct bdoc options,
                     const struct catalog_index *indexes, int n, struct buf *out)
{
    struct bw w;

    bw_init(&w, out);
    bw_i64(&w, "ident", (int64_t)x->ident);
    bw_bin(&w, "uuid", 4, SLICE(x->uuid, CATALOG_UUID_LEN));
    bw_bool(&w, "view", x->is_view);
    bw_doc(&w, "options", options);
    bw_array_begin(&w, "indexes");
    for (int i = 0; i < n; i++) {
        bw_doc_begin(&w, NULL);
        bw_i64(&w, "ident", (int64_t)indexes[i].ident);
        bw_doc(&w, "spec", indexes[i].spec);
        if (indexes[i].collator.len)
            bw_str_slice(&w, "collator", indexes[i].collator);
        bw_doc_end(&w);
    }
    bw_array_end(&w);
    bw_finish(&w);
}

static struct bdoc dup_doc(struct arena *a, struct bdoc d)
{
    return (struct bdoc){ .p = arena_dup(a, d.p, d.len), .len = d.len };
}

/* The guarded fields are replaced as a whole; the caller holds x's lock exclusively, or x is new. Inputs may point into the old ones. */
void catalog__set(struct catalog_coll *x, struct slice ns, struct bdoc options,
                  const struct catalog_index *indexes, int n)
{
    struct arena *a = arena_new(0), *old = x->arena;

    x->ns = arena_strndup(a, (const char *)ns.p, ns.len);
    const char *dot = memchr(x->ns, '.', ns.len);
    INVARIANT(dot);
    x->db = SLICE(x->ns, (size_t)(dot - x->ns));
    x->name = SLICE(dot + 1, ns.len - x->db.len - 1);
    x->options = dup_doc(a, options);
    struct catalog_index *v = ARENA_ARRAY(a, struct catalog_index, (size_t)n + 1);
    for (int i = 0; i < n; i++)
        v[i] = (struct catalog_index){
            .ident = indexes[i].ident,
            .spec = dup_doc(a, indexes[i].spec),
            .collator = SLICE(arena_dup(a, indexes[i].collator.p, indexes[i].collator.len),
                              indexes[i].collator.len),
        };
    x->indexes = v;
    x->n_indexes = n;
    x->arena = a;
    arena_free(old);
}

static RC parse_record(struct catalog_coll *x, struct slice ns, struct bdoc r, struct err *e)
{
    struct bval ident = bdoc_get(r, "ident"), uuid = bdoc_get(r, "uuid"),
                options = bdoc_get(r, "options");
    struct bval indexes = bdoc_get(r, "indexes"), view = bdoc_get(r, "view");
    struct catalog_index v[128];
    struct biter it;
    uint8_t subtype;
    int n = 0;

    if (ident.type != BT_INT64 || uuid.type != BT_BINARY || options.type != BT_DOCUMENT ||
        indexes.type != BT_ARRAY || view.type != BT_BOOL || !memchr(ns.p, '.', ns.len) ||
        bval_bin(uuid, &subtype).len != CATALOG_UUID_LEN)
        FAIL(e, ERR_CORRUPT, "an entry of the catalogue does not parse");
    biter_init(&it, bval_doc(indexes));
    while (biter_next(&it)) {
        struct bval id = BVAL_MISSING, spec = BVAL_MISSING, collator = BVAL_MISSING;
        if (it.val.type == BT_DOCUMENT) {
            id = bdoc_get(bval_doc(it.val), "ident");
            spec = bdoc_get(bval_doc(it.val), "spec");
            collator = bdoc_get(bval_doc(it.val), "collator");
        }
        if (id.type != BT_INT64 || spec.type != BT_DOCUMENT || n == (int)ARRAY_LEN(v))
            FAIL(e, ERR_CORRUPT, "an index in the catalogue does not parse");
        v[n++] = (struct catalog_index){
            .ident = (uint64_t)bval_i64(id),
            .spec = bval_doc(spec),
            .collator = collator.type == BT_STRING ? bval_str(collator) : SLICE_EMPTY,
        };
    }
    x->ident = (uint64_t)bval_i64(ident);
    x->is_view = bval_bool(view);
    memcpy(x->uuid, bval_bin(uuid, &subtype).p, CATALOG_UUID_LEN);
    catalog__set(x, ns, bval_doc(options), v, n);
    return RC_OK;
}

struct catalog_coll *catalog__coll_new(struct catalog *c, struct slice ns, struct bdoc record,
                                       struct err *e)
{
    struct catalog_coll *x = NEW(struct catalog_coll);
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&x->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    mutex_init(&x->rt_lock);
    x->cat = c;
    atomic_init(&x->refs, 1);
    if (parse_record(x, ns, record, e).failed) {
        catalog_coll_unref(x);
        return NULL;
    }
    return x;
}

struct catalog_coll *catalog_coll_ref(struct catalog_coll *x)
{
    atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
    return x;
}

void catalog_coll_unref(struct catalog_coll *x)
{
    if (!x || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (x->rt)
        x->rt_free(x->rt);
    if (x->filters)
        x->filters_free(x->filters);
    if (atomic_load(&x->dropped) && !x->is_view) {
        struct err e = { 0 };
        if (catalog_reap(x->cat, STORE_RECORDS, x->ident, &e).failed)
            err_reset(&e); /* stays on the durable list: the next start removes it */
    }
    pthread_rwlock_destroy(&x->lock);
    mutex_fini(&x->rt_lock);
    arena_free(x->arena);
    mem_free(x);
}

struct bdoc catalog_options(struct catalog_coll *x, struct arena *a)
{
    pthread_rwlock_rdlock(&x->lock);
    struct bdoc d = dup_doc(a, x->options);
    pthread_rwlock_unlock(&x->lock);
    return d;
}

bool catalog_is_capped(struct catalog_coll *x)
{
    pthread_rwlock_rdlock(&x->lock);
    struct bval v = bdoc_get(x->options, "capped");
    bool is = !bval_is_missing(v) && bval_truthy(v);
    pthread_rwlock_unlock(&x->lock);
    return is;
}

void catalog_coll_unrefp(struct catalog_coll **x)
{
    catalog_coll_unref(*x);
    *x = NULL;
}
