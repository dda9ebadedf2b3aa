/* catalog.c - opening, looking up, listing. Changes are in catalog_ddl.c. */
#include "catalog_priv.h"

#include <stdlib.h>

struct store *catalog_store(const struct catalog *c)
{
    return c->store;
}

static RC load_entries(struct catalog *c, struct err *e)
{
    AUTO(buf_fini) struct buf lower = BUF_INIT, upper = BUF_INIT;
    AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
    bool valid;

    catalog__meta_key(&lower, META_CATALOG, SLICE_EMPTY);
    catalog__meta_key(&upper, META_CATALOG + 1, SLICE_EMPTY);
    struct store_snapshot *snap = store_snapshot(c->store);
    struct store_cursor_opts o = { .space = STORE_META,
                                   .lower = buf_view(&lower),
                                   .upper = buf_view(&upper) };
    rc_t rc = store_cursor_open(c->store, NULL, snap, &o, &cur, e);
    if (!rc.failed)
        rc = store_cursor_first(cur, &valid, e);
    while (!rc.failed && valid) {
        struct slice k = store_cursor_key(cur), v = store_cursor_value(cur);
        struct slice ns = SLICE(k.p + STORE_IDENT_LEN, k.len - STORE_IDENT_LEN);
        struct bdoc record;
        rc = bdoc_validate(v.p, v.len, CATALOG_DEPTH_MAX, &record, e);
        if (rc.failed)
            break;
        struct catalog_coll *x = catalog__coll_new(c, ns, record, e);
        if (!x) {
            rc = RC_FAILED;
            break;
        }
        map_put(c->by_ns, ns, x);
        rc = store_cursor_next(cur, &valid, e);
    }
    store_cursor_close(TAKE(cur));
    store_snapshot_release(snap);
    return rc;
}

/* Finish the removal of tables that a crash (or a busy cursor at the end of the last process) left. */
static RC finish_drops(struct catalog *c, struct err *e)
{
    AUTO(buf_fini) struct buf lower = BUF_INIT, upper = BUF_INIT, doomed = BUF_INIT;
    AUTO(store_cursor_closep) struct store_cursor *cur = NULL;
    bool valid;

    catalog__meta_key(&lower, META_DROPS, SLICE_EMPTY);
    catalog__meta_key(&upper, META_DROPS + 1, SLICE_EMPTY);
    struct store_snapshot *snap = store_snapshot(c->store);
    struct store_cursor_opts o = { .space = STORE_META,
                                   .lower = buf_view(&lower),
                                   .upper = buf_view(&upper) };
    rc_t rc = store_cursor_open(c->store, NULL, snap, &o, &cur, e);
    if (!rc.failed)
        rc = store_cursor_first(cur, &valid, e);
    while (!rc.failed && valid) {
        struct slice k = store_cursor_key(cur);
        if (k.len == STORE_IDENT_LEN + 9)
            buf_push(&doomed, k.p + STORE_IDENT_LEN, 9);
        rc = store_cursor_next(cur, &valid, e);
    }
    store_cursor_close(TAKE(cur));
    store_snapshot_release(snap);
    if (rc.failed)
        return rc;
    for (size_t at = 0; at < doomed.len; at += 9)
        TRY(catalog_reap(c, (enum store_space)doomed.p[at], get_be64(doomed.p + at + 1), e));
    return RC_OK;
}

RC catalog_open(struct store *s, struct catalog **out, struct err *e)
{
    struct catalog *c = NEW(struct catalog);

    *out = NULL;
    c->store = s;
    mutex_init(&c->ddl);
    pthread_rwlock_init(&c->map_lock, NULL);
    c->by_ns = map_new();
    if (finish_drops(c, e).failed || load_entries(c, e).failed) {
        catalog_close(c);
        return RC_FAILED;
    }
    *out = c;
    return RC_OK;
}

void catalog_close(struct catalog *c)
{
    if (!c)
        return;
    size_t it = 0;
    void *x;
    struct slice key;
    while (map_next(c->by_ns, &it, &key, &x))
        catalog_coll_unref(x);
    map_free(c->by_ns);
    pthread_rwlock_destroy(&c->map_lock);
    mutex_fini(&c->ddl);
    mem_free(c);
}

struct catalog_coll *catalog_find(struct catalog *c, struct slice ns)
{
    pthread_rwlock_rdlock(&c->map_lock);
    struct catalog_coll *x = map_get(c->by_ns, ns);
    if (x)
        catalog_coll_ref(x);
    pthread_rwlock_unlock(&c->map_lock);
    return x;
}

struct catalog_coll *catalog_find_uuid(struct catalog *c, const uint8_t uuid[CATALOG_UUID_LEN])
{
    struct catalog_coll *found = NULL;
    size_t it = 0;
    struct slice key;
    void *x;

    pthread_rwlock_rdlock(&c->map_lock);
    while (!found && map_next(c->by_ns, &it, &key, &x))
        if (memcmp(((struct catalog_coll *)x)->uuid, uuid, CATALOG_UUID_LEN) == 0)
            found = catalog_coll_ref(x);
    pthread_rwlock_unlock(&c->map_lock);
    return found;
}

static int cmp_named(const void *a, const void *b)
{
    return strcmp(((const struct catalog_named *)a)->ns, ((const struct catalog_named *)b)->ns);
}

static struct catalog_named named(struct slice ns, struct catalog_coll *x)
{
    char *copy = mem_strndup((const char *)ns.p, ns.len), *dot = strchr(copy, '.');

    INVARIANT(dot);
    return (struct catalog_named){ .x = catalog_coll_ref(x),
                                   .ns = copy,
                                   .db = SLICE(copy, (size_t)(dot - copy)),
                                   .name = slice_str(dot + 1) };
}

void catalog_list(struct catalog *c, struct slice db, struct catalog_list *out)
{
    struct slice key;
    size_t it = 0;
    int n = 0;
    void *x;

    pthread_rwlock_rdlock(&c->map_lock);
    struct catalog_named *v = NEW_ARRAY(struct catalog_named, map_count(c->by_ns) + 1);
    while (map_next(c->by_ns, &it, &key, &x)) {
        bool in_db = db.len == 0 ||
                     (key.len > db.len && key.p[db.len] == '.' && memcmp(key.p, db.p, db.len) == 0);
        if (in_db)
            v[n++] = named(key, x);
    }
    pthread_rwlock_unlock(&c->map_lock);
    qsort(v, (size_t)n, sizeof(*v), cmp_named);
    *out = (struct catalog_list){ .v = v, .n = n };
}

void catalog_list_free(struct catalog_list *l)
{
    for (int i = 0; i < l->n; i++) {
        catalog_coll_unref(l->v[i].x);
        mem_free(l->v[i].ns);
    }
    mem_free(l->v);
    *l = (struct catalog_list){ 0 };
}
