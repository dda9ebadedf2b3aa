/* coll_aside.c - duplicates while a unique index is being built.
 *
 * Until it is installed, a unique index refuses nobody. Of the documents that have one key, one has the index entry; every other has an entry aside, behind all
 * entries of the same table: ident || ff || key || record id -> tags (docs/formats/keys.md). Whoever writes or removes an entry of the key holds the lock of the key's
 * own entry first, so all that concerns one key is in order. An entry aside does not move when the key's place becomes free: the next one may take it. At the end of the
 * build each takes the place of its key, or, when another document has it, is the duplicate that fails the build. So nothing stands aside in an index that
 * is installed, and what a build leaves that fails or dies goes with its table.
 */
#include "coll_priv.h"

enum {
    ASIDE = 0xff, /* above the first byte of every key */
    ASIDE_HEAD = 9,
    CHUNK = 128,
};

bool coll__is_building(const struct coll_txn *w, int at)
{
    return at >= w->rt->indexes->n;
}

static void aside_key(struct buf *out, const struct index_def *d, struct slice key, uint64_t rid)
{
    uint8_t mark = ASIDE;

    buf_clear(out);
    buf_push_be64(out, d->ident);
    buf_push(out, &mark, 1);
    buf_push(out, key.p, key.len);
    buf_push_be64(out, rid);
}

RC coll__put_aside(struct coll_txn *w, int at, uint64_t rid, const struct index_key *k,
                   struct err *e)
{
    atomic_store(&w->rt->build->aside, true);
    aside_key(&w->key, w->indexes->v[at], k->key, rid);
    return store_put(w->t, STORE_INDEXES, buf_view(&w->key), k->tags, e);
}

/* Only a document that this transaction sees can have one, and then the flag is seen too. */
RC coll__drop_aside(struct coll_txn *w, int at, uint64_t rid, struct slice key, struct err *e)
{
    if (!atomic_load(&w->rt->build->aside))
        return RC_OK;
    aside_key(&w->key, w->indexes->v[at], key, rid);
    return store_del(w->t, STORE_INDEXES, buf_view(&w->key), e);
}

/* whose(): the record that has the key, locked; 0 when none. */
static RC whose(struct coll_txn *w, const struct index_def *d, struct slice key, uint64_t *rid,
                struct err *e)
{
    struct err missing = { 0 };
    struct slice there;

    *rid = 0;
    coll__entry_key(&w->key, d, key, 0);
    rc_t rc =
        store_get_for_update(w->t, STORE_INDEXES, buf_view(&w->key), &w->pin, &there, &missing);
    if (rc.failed && missing.code != ERR_NOT_FOUND)
        return err_take(e, &missing);
    if (rc.failed) {
        err_reset(&missing);
        return RC_OK;
    }
    if (there.len < 8)
        FAIL(e, ERR_CORRUPT, "an index entry is too short");
    *rid = get_be64(there.p);
    return RC_OK;
}

/* Something is removed in every case, present or not: a step of the build whose snapshot still shows the document meets a conflict there. */
RC coll__del_building(struct coll_txn *w, int at, uint64_t rid, struct slice key, struct err *e)
{
    const struct index_def *d = w->indexes->v[at];
    uint64_t owner;

    TRY(whose(w, d, key, &owner, e));
    if (owner && owner != rid) {
        aside_key(&w->key, d, key, rid);
        return store_del(w->t, STORE_INDEXES, buf_view(&w->key), e);
    }
    TRY(coll__drop_aside(w, at, rid, key, e));
    coll__entry_key(&w->key, d, key, rid);
    return store_del(w->t, STORE_INDEXES, buf_view(&w->key), e);
}

/* key: of the entry aside, whole. */
static RC settle_one(struct coll_txn *w, const struct index_def *d, struct slice key,
                     struct slice tags, struct err *e)
{
    AUTO(buf_fini) struct buf value = BUF_INIT;
    struct slice fields = SLICE(key.p + ASIDE_HEAD, key.len - ASIDE_HEAD - 8);
    uint64_t rid = get_be64(key.p + key.len - 8), owner;

    TRY(whose(w, d, fields, &owner, e));
    if (owner && owner != rid)
        return coll__dup_error(w->x, d, BDOC_EMPTY, fields, tags, e);
    if (!owner) {
        coll__entry_value(&value, d, tags, rid);
        TRY(store_put(w->t, STORE_INDEXES, buf_view(&w->key), buf_view(&value), e));
    }
    return store_del(w->t, STORE_INDEXES, key, e);
}

struct aside {
    struct slice key, tags;
};

/* The first ones, at most CHUNK: they are read before the first is changed. */
static RC read_aside(struct coll_txn *w, const struct index_def *d, struct arena *a,
                     struct aside *out, int *n, struct err *e)
{
    AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
    uint8_t lower[ASIDE_HEAD], upper[8];
    bool valid;

    put_be64(lower, d->ident);
    lower[8] = ASIDE;
    put_be64(upper, d->ident + 1);
    struct store_cursor_opts o = { .space = STORE_INDEXES,
                                   .lower = SLICE(lower, sizeof(lower)),
                                   .upper = SLICE(upper, sizeof(upper)) };
    TRY(store_cursor_open(catalog_store(w->x->cat), w->t, NULL, &o, &cur, e));
    TRY(store_cursor_first(cur, &valid, e));
    for (*n = 0; valid && *n < CHUNK; (*n)++) {
        struct slice key = store_cursor_key(cur), tags = store_cursor_value(cur);
        if (key.len < ASIDE_HEAD + 8)
            FAIL(e, ERR_CORRUPT, "an index entry is too short");
        out[*n].key = SLICE(arena_dup(a, key.p, key.len), key.len);
        out[*n].tags = SLICE(arena_dup(a, tags.p, tags.len), tags.len);
        TRY(store_cursor_next(cur, &valid, e));
    }
    return RC_OK;
}

RC coll__settle_aside(struct coll_txn *w, int at, int max, bool *more, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct aside some[CHUNK];
    int n;

    for (;;) {
        arena_reset(a);
        TRY(read_aside(w, w->indexes->v[at], a, some, &n, e));
        for (int i = 0; i < MIN(n, max); i++)
            TRY(settle_one(w, w->indexes->v[at], some[i].key, some[i].tags, e));
        if (n < CHUNK && n <= max)
            return RC_OK;
        max -= MIN(n, max);
        if (max == 0) {
            *more = true;
            return RC_OK;
        }
    }
}
