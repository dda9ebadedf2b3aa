/* kept.c - see kept.h. */
#include "kept.h"

#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "catalog/catalog.h"

enum { DEPTH_MAX = 32 };

struct entry {
    struct entry *next;
    char *name;
    struct buf doc;
};

struct kept {
    struct store *store;
    struct mutex change; /* one change at a time; before lock */
    struct mutex lock;   /* a leaf */
    struct entry *first; /* guarded by lock */
};

static struct entry *find(const struct kept *k, struct slice name)
{
    struct entry *n = k->first;

    while (n && !slice_eq_str(name, n->name))
        n = n->next;
    return n;
}

static void put(struct kept *k, struct slice name, struct bdoc d)
{
    struct entry *n = find(k, name);

    if (!n) {
        n = NEW(struct entry);
        n->name = mem_strndup((const char *)name.p, name.len);
        n->next = k->first;
        k->first = n;
    }
    n->doc.len = 0;
    buf_push(&n->doc, d.p, d.len);
}

static RC load(struct kept *k, struct err *e)
{
    uint8_t lower[STORE_IDENT_LEN], upper[STORE_IDENT_LEN];

    put_be64(lower, META_KEPT);
    put_be64(upper, META_KEPT + 1);
    struct store_cursor_opts o = { .space = STORE_META,
                                   .lower = SLICE(lower, sizeof(lower)),
                                   .upper = SLICE(upper, sizeof(upper)) };
    AUTO(store_cursor_closep) struct store_cursor *c = NULL;
    struct store_snapshot *snap = store_snapshot(k->store);
    rc_t rc = store_cursor_open(k->store, NULL, snap, &o, &c, e);
    store_snapshot_release(snap);
    TRY(rc);
    bool valid;
    TRY(store_cursor_first(c, &valid, e));
    while (valid) {
        struct slice key = store_cursor_key(c), value = store_cursor_value(c);
        struct bdoc d;
        if (bdoc_validate(value.p, value.len, DEPTH_MAX, &d, e).failed) {
            err_reset(e);
            FAIL(e, ERR_CORRUPT, "a stored document about the node cannot be read");
        }
        put(k, SLICE(key.p + STORE_IDENT_LEN, key.len - STORE_IDENT_LEN), d);
        TRY(store_cursor_next(c, &valid, e));
    }
    return RC_OK;
}

RC kept_open(struct store *s, struct kept **out, struct err *e)
{
    struct kept *k = NEW(struct kept);

    *out = NULL;
    k->store = s;
    mutex_init(&k->change);
    mutex_init(&k->lock);
    if (load(k, e).failed) {
        kept_free(k);
        return RC_FAILED;
    }
    *out = k;
    return RC_OK;
}

void kept_free(struct kept *k)
{
    if (!k)
        return;
    while (k->first) {
        struct entry *n = k->first;
        k->first = n->next;
        buf_fini(&n->doc);
        mem_free(n->name);
        mem_free(n);
    }
    mutex_fini(&k->lock);
    mutex_fini(&k->change);
    mem_free(k);
}

struct bdoc kept_get(struct kept *k, const char *name, struct arena *a)
{
    struct bdoc d = BDOC_EMPTY;

    mutex_lock(&k->lock);
    const struct entry *n = find(k, slice_str(name));
    if (n)
        d = (struct bdoc){ .p = arena_dup(a, n->doc.p, n->doc.len), .len = (uint32_t)n->doc.len };
    mutex_unlock(&k->lock);
    return d;
}

static RC write_durably(struct kept *k, const char *name, struct bdoc d, struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;
    struct store_txn *t = NULL;

    buf_push_be64(&key, META_KEPT);
    buf_push(&key, name, strlen(name));
    TRY(store_begin(k->store, &t, e));
    rc_t rc = store_put(t, STORE_META, buf_view(&key), SLICE(d.p, d.len), e);
    if (!rc.failed)
        rc = store_commit(&t, STORE_SYNC, e);
    store_abort(&t);
    return rc;
}

RC kept_change(struct kept *k, const char *name, kept_fn fn, void *arg, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bdoc d;

    mutex_lock(&k->change);
    rc_t rc = fn(arg, kept_get(k, name, a), a, &d, e);
    if (!rc.failed)
        rc = write_durably(k, name, d, e);
    if (!rc.failed) {
        mutex_lock(&k->lock);
        put(k, slice_str(name), d);
        mutex_unlock(&k->lock);
    }
    mutex_unlock(&k->change);
    return rc;
}
