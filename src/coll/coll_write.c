/* coll_write.c - transactions on one collection: insert, update, delete. */
#include "coll_priv.h"

static void take_stripe(struct coll_txn *w)
{
    struct rt *rt = w->rt;

    mutex_lock(&rt->stripes_lock);
    w->gen = rt->gen;
    w->settled_rid = rt->settled_rid;
    rt->n_running[w->gen]++;
    struct stripe *s = rt->free_stripes;
    if (s) {
        rt->free_stripes = s->next;
    } else {
        INVARIANT(rt->n_stripes < UINT16_MAX); /* one a concurrent transaction */
        s = NEW(struct stripe);
        s->number = rt->n_stripes++;
    }
    mutex_unlock(&rt->stripes_lock);
    w->stripe = s;
}

static void give_stripe(struct coll_txn *w)
{
    struct rt *rt = w->rt;

    mutex_lock(&rt->stripes_lock);
    w->stripe->next = rt->free_stripes;
    rt->free_stripes = w->stripe;
    rt->n_running[w->gen]--;
    if (rt->n_running[!rt->gen] == 0) {
        rt->settled_rid = rt->given_before;
        rt->given_before = atomic_load(&rt->next_rid);
        rt->gen = !rt->gen;
    }
    mutex_unlock(&rt->stripes_lock);
}

RC coll_begin(struct catalog_coll *x, struct coll_txn **out, struct err *e)
{
    struct rt *rt;

    *out = NULL;
    pthread_rwlock_rdlock(&x->lock);
    if (coll__rt(x, &rt, e).failed) {
        pthread_rwlock_unlock(&x->lock);
        return RC_FAILED;
    }
    struct coll_txn *w = NEW(struct coll_txn);
    w->x = catalog_coll_ref(x);
    w->rt = rt;
    w->indexes = rt->kept;
    /* before the snapshot, so that its row cannot have changed since */
    take_stripe(w);
    if (store_begin(catalog_store(x->cat), &w->t, e).failed) {
        coll_abort(&w);
        return RC_FAILED;
    }
    *out = w;
    return RC_OK;
}

static void finish(struct coll_txn *w)
{
    struct catalog_coll *x = w->x;

    store_pin_release(&w->pin);
    store_abort(&w->t);
    give_stripe(w);
    buf_fini(&w->key);
    mem_free(w);
    pthread_rwlock_unlock(&x->lock);
    catalog_coll_unref(x);
}

void coll_abort(struct coll_txn **w)
{
    if (*w)
        finish(*w);
    *w = NULL;
}

static RC put_counts(struct coll_txn *w, struct err *e)
{
    uint8_t key[18], value[16];

    if (w->d_docs == 0 && w->d_bytes == 0)
        return RC_OK;
    coll__count_key(key, w->x->ident, w->stripe->number);
    put_be64(value, (uint64_t)(w->stripe->n_docs + w->d_docs));
    put_be64(value + 8, (uint64_t)(w->stripe->n_bytes + w->d_bytes));
    return store_put(w->t, STORE_META, SLICE(key, sizeof(key)), SLICE(value, sizeof(value)), e);
}

/* What was removed is gone for all who begin from now on. A document that this transaction did not see, since it came later, has a record id that was not
 * settled. */
static void note_oldest(struct coll_txn *w)
{
    uint64_t rid = MIN(w->trimmed_rid, w->settled_rid), now = atomic_load(&w->rt->oldest_rid);

    while (rid > now && !atomic_compare_exchange_weak(&w->rt->oldest_rid, &now, rid))
        ;
}

RC coll_commit(struct coll_txn **wp, enum store_durability d, struct err *e)
{
    struct coll_txn *w = TAKE(*wp);

    store_pin_release(&w->pin);
    rc_t rc = put_counts(w, e);
    if (!rc.failed)
        rc = store_commit(&w->t, d, e);
    if (!rc.failed) {
        w->stripe->n_docs += w->d_docs;
        w->stripe->n_bytes += w->d_bytes;
        atomic_fetch_add(&w->rt->n_docs, w->d_docs);
        atomic_fetch_add(&w->rt->n_bytes, w->d_bytes);
        note_oldest(w);
        for (int i = 0; i < w->indexes->n; i++)
            if (w->multikey_put[i])
                atomic_fetch_or(&w->indexes->v[i]->multikey_durable, w->multikey_put[i]);
    }
    finish(w);
    return rc;
}

void coll_savepoint(struct coll_txn *w)
{
    store_savepoint(w->t);
    w->save_docs = w->d_docs;
    w->save_bytes = w->d_bytes;
}

RC coll_rollback(struct coll_txn *w, struct err *e)
{
    store_pin_release(&w->pin);
    TRY(store_rollback(w->t, e));
    w->d_docs = w->save_docs;
    w->d_bytes = w->save_bytes;
    w->trimmed_rid = 0;
    /* A multikey row may have been undone with the statement: it is written again by the next one that needs it. */
    memset(w->multikey_put, 0, sizeof(w->multikey_put));
    return RC_OK;
}

void coll_keep(struct coll_txn *w)
{
    store_savepoint_keep(w->t);
}

void coll_set_bypass(struct coll_txn *w, bool bypass)
{
    w->bypass = bypass;
}

void coll_set_run(struct coll_txn *w, const struct qctx *run)
{
    w->run = run;
}

int64_t coll_txn_bytes(const struct coll_txn *w)
{
    return w->written;
}

/* A name with $ in an _id would read as an operator wherever the _id is asked for; those of a DBRef do not. */
static RC check_id_names(struct bdoc id, struct err *e)
{
    struct biter it;

    biter_init(&it, id);
    while (biter_next(&it))
        if (slice_has_prefix(it.name, SLICE_LIT("$")) && !slice_eq_str(it.name, "$ref") &&
            !slice_eq_str(it.name, "$id") && !slice_eq_str(it.name, "$db"))
            FAIL(e, ERR_DOLLAR_PREFIXED_FIELD_NAME,
                 "_id fields may not contain '$'-prefixed fields: %.*s is not valid for storage.",
                 (int)MIN(it.name.len, 100u), it.name.p);
    return RC_OK;
}

static RC check_id(struct bval id, struct err *e)
{
    if (id.type == BT_DOCUMENT)
        return check_id_names(bval_doc(id), e);
    if (id.type == BT_ARRAY || id.type == BT_REGEX || id.type == BT_UNDEFINED)
        FAIL(e, ERR_INVALID_ID_FIELD, "The '_id' value cannot be of type %s", btype_name(id.type));
    INVARIANT(id.type != BT_MISSING);
    return RC_OK;
}

static RC matches_validator(struct coll_txn *w, struct bdoc doc, struct arena *a, bool *ok,
                            struct err *e)
{
    struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY, .now_ms = clock_real_ms() };

    q.collator = w->rt->indexes->v[0]->collator; /* of _id: the collection's */
    return match_eval(w->rt->validator, &q, doc, NULL, ok, e);
}

/* old: the document before an update, NULL for an insert. */
static RC validate(struct coll_txn *w, struct bdoc doc, const struct bdoc *old, struct arena *a,
                   struct err *e)
{
    struct rt *rt = w->rt;
    bool ok;

    if (!rt->validator || rt->level == VALIDATE_OFF || rt->warn_only || w->bypass)
        return RC_OK;
    TRY(matches_validator(w, doc, a, &ok, e));
    if (ok)
        return RC_OK;
    if (old && rt->level == VALIDATE_MODERATE) {
        bool was_valid;
        TRY(matches_validator(w, *old, a, &was_valid, e));
        if (!was_valid)
            return RC_OK;
    }
    if (err_is(e))
        return RC_FAILED;
    struct buf info = BUF_INIT;
    struct bw b;
    bw_init(&b, &info);
    bw_doc_begin(&b, "errInfo");
    bw_val(&b, "failingDocumentId", bdoc_get(doc, "_id"));
    bw_doc_begin(&b, "details");
    struct biter it;
    biter_init(&it, rt->validator_doc);
    bool single_op = biter_next(&it) && it.name.len && it.name.p[0] == '$';
    bw_str_slice(&b, "operatorName", single_op ? it.name : SLICE_LIT("$and"));
    bw_doc_end(&b);
    bw_doc_end(&b);
    bw_finish(&b);
    rc_t rc = err_set(e, ERR_DOCUMENT_VALIDATION_FAILURE, __FILE__, __LINE__,
                      "Document failed validation");
    e->info = info.p;
    e->info_free = mem_free;
    return rc;
}

/* The search for the oldest document starts behind those that were removed before: the engine would look at every one of them again. */
RC coll_trim(struct coll_txn *w, int max, struct arena *a, bool *more, struct err *e)
{
    struct rt *rt = w->rt;
    uint8_t lower[16], upper[8];

    *more = false;
    if (!rt->capped)
        return RC_OK;
    put_be64(upper, w->x->ident + 1);
    for (int n = 0;; n++) {
        AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
        AUTO(buf_fini) struct buf old = BUF_INIT;
        int64_t docs = atomic_load(&rt->n_docs) + w->d_docs,
                bytes = atomic_load(&rt->n_bytes) + w->d_bytes;
        bool valid;
        if (docs <= 1 || ((rt->capped_docs == 0 || docs <= rt->capped_docs) &&
                          (rt->capped_bytes == 0 || bytes <= rt->capped_bytes)))
            return RC_OK;
        *more = n == max;
        if (*more)
            return RC_OK;
        coll_record_key(lower, w->x->ident, MAX(w->trimmed_rid, atomic_load(&rt->oldest_rid)));
        struct store_cursor_opts o = { .space = STORE_RECORDS,
                                       .lower = SLICE(lower, 16),
                                       .upper = SLICE(upper, 8) };
        TRY(store_cursor_open(catalog_store(w->x->cat), w->t, NULL, &o, &cur, e));
        TRY(store_cursor_first(cur, &valid, e));
        if (!valid)
            return RC_OK;
        uint64_t rid = get_be64(store_cursor_key(cur).p + 8);
        struct slice v = store_cursor_value(cur);
        buf_push(&old, v.p, v.len);
        store_cursor_close(TAKE(cur));
        TRY(coll_delete(w, rid, (struct bdoc){ .p = old.p, .len = (uint32_t)old.len }, a, e));
        w->trimmed_rid = rid + 1;
    }
}

RC coll_insert(struct coll_txn *w, struct bdoc doc, struct arena *a, struct err *e)
{
    uint8_t key[16];

    TRY(check_id(bdoc_get(doc, "_id"), e));
    TRY(validate(w, doc, NULL, a, e));
    uint64_t rid = atomic_fetch_add(&w->rt->next_rid, 1);
    for (int i = 0; i < w->indexes->n; i++) {
        struct index_keys keys;
        TRY(index_extract(w->indexes->v[i], doc, w->run, a, &keys, e));
        TRY(coll__put_keys(w, i, rid, &keys, e));
    }
    coll_record_key(key, w->x->ident, rid);
    TRY(store_put(w->t, STORE_RECORDS, SLICE(key, 16), SLICE(doc.p, doc.len), e));
    w->d_docs++;
    w->d_bytes += doc.len;
    w->written += doc.len;
    bool more; /* a capped collection removes its oldest documents until the new one fits */
    return coll_trim(w, INT32_MAX, a, &more, e);
}

RC coll_lock(struct coll_txn *w, uint64_t rid, struct bdoc *doc, struct err *e)
{
    uint8_t key[16];
    struct slice v;

    *doc = BDOC_EMPTY;
    coll_record_key(key, w->x->ident, rid);
    TRY(store_get_for_update(w->t, STORE_RECORDS, SLICE(key, 16), &w->pin, &v, e));
    *doc = (struct bdoc){ .p = v.p, .len = (uint32_t)v.len };
    return RC_OK;
}

/* No index key can change when the first components of all its paths kept their bytes. */
static bool untouched(const struct index_def *d, struct bdoc old, struct bdoc doc)
{
    if (d->partial)
        return false;
    for (int i = 0; i < d->n_fields; i++) {
        struct slice top = d->fields[i].parts[0];
        if (!bval_identical(bdoc_get_slice(old, top), bdoc_get_slice(doc, top)))
            return false;
    }
    return true;
}

/* What is in the index of a document that is there: nothing, if an index that is being built cannot take it. */
static RC present_keys(const struct coll_txn *w, const struct index_def *d, struct bdoc doc,
                       struct arena *a, struct index_keys *out, struct err *e)
{
    struct err why = { 0 };

    if (!index_extract(d, doc, w->run, a, out, &why).failed)
        return RC_OK;
    if (!index_refuses(why.code))
        return err_take(e, &why);
    err_reset(&why);
    *out = (struct index_keys){ 0 };
    return RC_OK;
}

RC coll_update(struct coll_txn *w, uint64_t rid, struct bdoc old, struct bdoc doc, struct arena *a,
               struct err *e)
{
    uint8_t key[16];

    TRY(validate(w, doc, &old, a, e));
    for (int i = 0; i < w->indexes->n; i++) {
        struct index_keys before, after;
        if (untouched(w->indexes->v[i], old, doc))
            continue;
        TRY(present_keys(w, w->indexes->v[i], old, a, &before, e));
        TRY(index_extract(w->indexes->v[i], doc, w->run, a, &after, e));
        TRY(coll__diff_keys(w, i, rid, &before, &after, e));
    }
    coll_record_key(key, w->x->ident, rid);
    TRY(store_put(w->t, STORE_RECORDS, SLICE(key, 16), SLICE(doc.p, doc.len), e));
    w->d_bytes += (int64_t)doc.len - (int64_t)old.len;
    w->written += doc.len;
    return RC_OK;
}

RC coll_delete(struct coll_txn *w, uint64_t rid, struct bdoc old, struct arena *a, struct err *e)
{
    uint8_t key[16];

    for (int i = 0; i < w->indexes->n; i++) {
        struct index_keys keys;
        TRY(present_keys(w, w->indexes->v[i], old, a, &keys, e));
        TRY(coll__del_keys(w, i, rid, &keys, e));
    }
    coll_record_key(key, w->x->ident, rid);
    TRY(store_del(w->t, STORE_RECORDS, SLICE(key, 16), e));
    w->d_docs--;
    w->d_bytes -= old.len;
    w->written += 64;
    return RC_OK;
}
