/* user_store.c - see user_store.h. One transaction a call, durable when it returns. */
#include "user_store.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "store/store.h"

/* Far more than a journal takes to be synced: whoever meets another administrator waits for the outcome. */
enum { WAIT_MAX_US = 10000000, PAUSE_US = 1000, PAUSE_MAX_US = 20000 };

static void key_of(struct slice id, struct buf *out)
{
    buf_push_be64(out, META_USERS);
    buf_push(out, id.p, id.len);
}

/* What stands in the store was validated when it went in; it is authenticated, but a document is looked at again before it is read unchecked. */
static RC document(struct slice value, struct arena *a, struct bdoc *out, struct err *e)
{
    struct bdoc d;
    if (bdoc_validate(value.p, value.len, 32, &d, e).failed) {
        err_reset(e);
        FAIL(e, ERR_CORRUPT, "the stored document of a user cannot be read");
    }
    *out = (struct bdoc){ .p = arena_dup(a, d.p, d.len), .len = d.len };
    return RC_OK;
}

static RC get(struct store_txn *t, struct slice id, struct arena *a, struct bdoc *out,
              struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;
    struct store_pin pin = { 0 };
    struct slice value;
    key_of(id, &key);
    TRY(store_get_for_update(t, STORE_META, buf_view(&key), &pin, &value, e));
    rc_t rc = document(value, a, out, e);
    store_pin_release(&pin);
    return rc;
}

/* Whether id is there, locked until the end of t. */
static RC exists(struct store_txn *t, struct slice id, bool *out, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct err why = { 0 };
    struct bdoc d;
    *out = !get(t, id, a, &d, &why).failed;
    if (!*out && why.code != ERR_NOT_FOUND)
        return err_take(e, &why);
    return RC_OK;
}

/* From a snapshot: logins read at the same time and must not lock each other out. */
static RC load(void *ctx, struct slice id, struct arena *a, struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;
    struct store_pin pin = { 0 };
    struct slice value;
    struct err why = { 0 };

    key_of(id, &key);
    struct store_snapshot *snap = store_snapshot(ctx);
    rc_t rc = store_snapshot_get(ctx, snap, STORE_META, buf_view(&key), &pin, &value, &why);
    if (!rc.failed)
        rc = document(value, a, out, &why);
    store_pin_release(&pin);
    store_snapshot_release(snap);
    if (!rc.failed)
        return RC_OK;
    if (why.code == ERR_NOT_FOUND)
        FAIL(e, ERR_USER_NOT_FOUND, "Could not find user \"%.*s\"", (int)id.len,
             (const char *)id.p);
    return err_take(e, &why);
}

/* want: whether the user must be there before. */
static RC try_write(struct store *store, struct slice id, const struct bdoc *user, bool want,
                    struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT;
    AUTO(store_abort) struct store_txn *t = NULL;
    bool there;
    key_of(id, &key);
    TRY(store_begin(store, &t, e));
    TRY(exists(t, id, &there, e));
    if (there && !want)
        FAIL(e, ERR_LOC(51003), "User \"%.*s\" already exists", (int)id.len, (const char *)id.p);
    if (!there && want)
        FAIL(e, ERR_USER_NOT_FOUND, "Could not find user \"%.*s\"", (int)id.len,
             (const char *)id.p);
    if (user)
        TRY(store_put(t, STORE_META, buf_view(&key), SLICE(user->p, user->len), e));
    else
        TRY(store_del(t, STORE_META, buf_view(&key), e));
    return store_commit(&t, STORE_SYNC, e);
}

/* Two administrators at once: the later one tries again, on what the earlier one left. */
static RC write_user(struct store *store, struct slice id, const struct bdoc *user, bool want,
                     struct err *e)
{
    uint64_t until = clock_mono_us() + WAIT_MAX_US;

    for (uint64_t pause_us = PAUSE_US;; pause_us = MIN(pause_us * 2, (uint64_t)PAUSE_MAX_US)) {
        struct err why = { 0 };

        if (!try_write(store, id, user, want, &why).failed)
            return RC_OK;
        if (why.code != ERR_WRITE_CONFLICT || clock_mono_us() > until)
            return err_take(e, &why);
        err_reset(&why);
        clock_sleep_us(pause_us);
    }
}

static RC insert(void *ctx, struct slice id, struct bdoc user, struct err *e)
{
    return write_user(ctx, id, &user, /* want= */ false, e);
}

static RC replace(void *ctx, struct slice id, struct bdoc user, struct err *e)
{
    return write_user(ctx, id, &user, /* want= */ true, e);
}

static RC remove_user(void *ctx, struct slice id, struct err *e)
{
    return write_user(ctx, id, NULL, /* want= */ true, e);
}

static RC walk(struct store_cursor *c, RC (*fn)(void *arg, struct bdoc user, struct err *e),
               void *arg, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    bool valid;
    for (rc_t rc = store_cursor_first(c, &valid, e);; rc = store_cursor_next(c, &valid, e)) {
        struct bdoc d;
        if (rc.failed || !valid)
            return rc;
        TRY(document(store_cursor_value(c), a, &d, e));
        TRY(fn(arg, d, e));
        arena_reset(a);
    }
}

static RC each(void *ctx, RC (*fn)(void *arg, struct bdoc user, struct err *e), void *arg,
               struct err *e)
{
    uint8_t lower[STORE_IDENT_LEN], upper[STORE_IDENT_LEN];
    put_be64(lower, META_USERS);
    put_be64(upper, META_USERS + 1);
    struct store_cursor_opts o = { .space = STORE_META,
                                   .lower = SLICE(lower, sizeof(lower)),
                                   .upper = SLICE(upper, sizeof(upper)),
                                   .fill_cache = true };
    struct store_snapshot *snap = store_snapshot(ctx);
    AUTO(store_cursor_closep) struct store_cursor *c = NULL;
    rc_t rc = store_cursor_open(ctx, NULL, snap, &o, &c, e);
    if (!rc.failed)
        rc = walk(c, fn, arg, e);
    store_snapshot_release(snap);
    return rc;
}

void user_store_init(struct identity_store *out, struct store *store)
{
    *out = (struct identity_store){ .ctx = store,
                                    .load = load,
                                    .insert = insert,
                                    .replace = replace,
                                    .remove = remove_user,
                                    .each = each };
}
