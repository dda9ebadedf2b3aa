/* coll_entries.c - index entries of one document: writing, removing, changing, and what a duplicate looks like. */
#include "coll_priv.h"

#include <stdio.h>

void coll_record_key(uint8_t out[16], uint64_t ident, uint64_t rid)
{
    put_be64(out, ident);
    put_be64(out + 8, rid);
}

void coll__entry_key(struct buf *out, const struct index_def *d, struct slice key, uint64_t rid)
{
    buf_clear(out);
    buf_push_be64(out, d->ident);
    buf_push(out, key.p, key.len);
    if (!d->unique)
        buf_push_be64(out, rid);
}

void coll__entry_value(struct buf *out, const struct index_def *d, struct slice tags, uint64_t rid)
{
    if (d->unique)
        buf_push_be64(out, rid);
    buf_push(out, tags.p, tags.len);
}

RC coll_entry_rid(const struct index_def *d, struct slice key, struct slice value, uint64_t *rid,
                  struct slice *fields, struct slice *tags, struct err *e)
{
    if (d->unique) {
        if (value.len < 8 || key.len < 8)
            FAIL(e, ERR_CORRUPT, "an index entry is too short");
        *rid = get_be64(value.p);
        *fields = SLICE(key.p + 8, key.len - 8);
        *tags = SLICE(value.p + 8, value.len - 8);
        return RC_OK;
    }
    if (key.len < 16)
        FAIL(e, ERR_CORRUPT, "an index entry is too short");
    *rid = get_be64(key.p + key.len - 8);
    *fields = SLICE(key.p + 8, key.len - 16);
    *tags = value;
    return RC_OK;
}

/* The message that MongoDB writes, and {keyPattern, keyValue} for the reply. */
RC coll__dup_error(const struct catalog_coll *x, const struct index_def *d, struct bdoc doc,
                   struct slice key, struct slice tags, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct buf info = BUF_INIT;
    struct bval v[INDEX_FIELDS_MAX];
    struct slice rest;
    struct bw w;

    (void)doc;
    TRY(index_decode(d, key, tags, a, v, &rest, e));
    bw_init(&w, &info);
    bw_doc(&w, "keyPattern", d->pattern);
    bw_doc_begin(&w, "keyValue");
    for (int i = 0; i < d->n_fields; i++) {
        struct bval shown = bval_is_missing(v[i]) ? bval_new_null() : v[i];
        if (i)
            buf_push(&text, ", ", 2);
        buf_printf(&text, "%.*s: ", (int)d->fields[i].path.len, d->fields[i].path.p);
        bval_to_json(shown, &text);
        bw_val_slice(&w, d->fields[i].path, shown);
    }
    bw_doc_end(&w);
    bw_finish(&w);
    if (err_is(e)) {
        buf_fini(&info);
        return RC_FAILED;
    }
    rc_t rc = err_set(e, ERR_DUPLICATE_KEY, __FILE__, __LINE__,
                      "E11000 duplicate key error collection: %s index: %s dup key: { %s }", x->ns,
                      d->name, buf_cstr(&text));
    e->info = info.p;
    e->info_free = mem_free;
    return rc;
}

RC coll__mark_multikey(struct coll_txn *w, int at, uint32_t bits, struct err *e)
{
    struct index_def *d = w->indexes->v[at];
    uint32_t durable = atomic_load(&d->multikey_durable) | w->multikey_put[at];
    uint8_t key[16], value[4];

    if (!(bits & ~durable))
        return RC_OK;
    /* In memory first: a reader whose snapshot shows this document must see the bits. */
    uint32_t all = atomic_fetch_or(&d->multikey, bits) | bits;
    coll__multikey_key(key, d->ident);
    put_be32(value, all);
    TRY(store_put(w->t, STORE_META, SLICE(key, 16), SLICE(value, 4), e));
    w->multikey_put[at] |= all;
    return RC_OK;
}

static RC put_one(struct coll_txn *w, int at, uint64_t rid, const struct index_key *k,
                  struct err *e)
{
    const struct index_def *d = w->indexes->v[at];
    uint8_t small[64];
    struct buf value = BUF_INIT;
    struct slice v = k->tags;

    coll__entry_key(&w->key, d, k->key, rid);
    if (d->unique) {
        struct err missing = { 0 };
        struct slice there;
        rc_t rc =
            store_get_for_update(w->t, STORE_INDEXES, buf_view(&w->key), &w->pin, &there, &missing);
        if (rc.failed && missing.code != ERR_NOT_FOUND)
            return err_take(e, &missing);
        if (!rc.failed && (there.len < 8 || get_be64(there.p) != rid)) {
            if (coll__is_building(w, at))
                return coll__put_aside(w, at, rid, k, e);
            return coll__dup_error(w->x, d, BDOC_EMPTY, k->key, k->tags, e);
        }
        if (coll__is_building(w, at)) {
            TRY(coll__drop_aside(w, at, rid, k->key, e));
            coll__entry_key(&w->key, d, k->key, rid);
        }
        if (8 + k->tags.len <= sizeof(small)) {
            put_be64(small, rid);
            if (k->tags.len)
                memcpy(small + 8, k->tags.p, k->tags.len);
            v = SLICE(small, 8 + k->tags.len);
        } else {
            coll__entry_value(&value, d, k->tags, rid);
            v = buf_view(&value);
        }
    }
    rc_t rc = store_put(w->t, STORE_INDEXES, buf_view(&w->key), v, e);
    buf_fini(&value);
    return rc;
}

RC coll__put_keys(struct coll_txn *w, int at, uint64_t rid, const struct index_keys *keys,
                  struct err *e)
{
    if (keys->multikey)
        TRY(coll__mark_multikey(w, at, keys->multikey, e));
    for (int i = 0; i < keys->n; i++)
        TRY(put_one(w, at, rid, &keys->v[i], e));
    return RC_OK;
}

static RC del_one(struct coll_txn *w, int at, uint64_t rid, struct slice key, struct err *e)
{
    const struct index_def *d = w->indexes->v[at];

    if (d->unique && coll__is_building(w, at))
        return coll__del_building(w, at, rid, key, e);
    coll__entry_key(&w->key, d, key, rid);
    return store_del(w->t, STORE_INDEXES, buf_view(&w->key), e);
}

RC coll__del_keys(struct coll_txn *w, int at, uint64_t rid, const struct index_keys *keys,
                  struct err *e)
{
    for (int i = 0; i < keys->n; i++)
        TRY(del_one(w, at, rid, keys->v[i].key, e));
    return RC_OK;
}

/* Both lists are sorted: remove what only the old one has, then write what is new or has other tags. */
RC coll__diff_keys(struct coll_txn *w, int at, uint64_t rid, const struct index_keys *old,
                   const struct index_keys *new, struct err *e)
{
    if (new->multikey)
        TRY(coll__mark_multikey(w, at, new->multikey, e));
    for (int i = 0, j = 0; i < old->n; i++) {
        while (j < new->n &&slice_cmp(new->v[j].key, old->v[i].key) < 0)
            j++;
        if (j < new->n &&slice_eq(new->v[j].key, old->v[i].key))
            continue;
        TRY(del_one(w, at, rid, old->v[i].key, e));
    }
    for (int i = 0, j = 0; j < new->n; j++) {
        while (i < old->n && slice_cmp(old->v[i].key, new->v[j].key) < 0)
            i++;
        if (i < old->n && slice_eq(old->v[i].key, new->v[j].key) &&
            slice_eq(old->v[i].tags, new->v[j].tags))
            continue;
        TRY(put_one(w, at, rid, &new->v[j], e));
    }
    return RC_OK;
}
