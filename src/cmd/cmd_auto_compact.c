/* cmd_auto_compact.c - autoCompact: every collection is compacted once a day in the background, or once and no more (compatibility 20).
 *
 *   off ──enable──▶ on ──disable, or once and done──▶ winding down ──▶ off
 *
 * A collection whose tables together are smaller than freeSpaceTargetMB cannot give that much back and is left alone. Whoever enables it again with other options is
 * refused, and while it winds down everybody is.
 */
#include "cmd_priv.h"

#include <pthread.h>

enum { DEFAULT_TARGET_MB = 20, MB = 1 << 20 };
static const uint64_t day_us = 24ull * 3600 * 1000000;

struct auto_compact {
    struct node *n;
    struct mutex lock; /* a leaf; guards all that follows */
    struct cond changed;
    pthread_t thread;
    bool joinable; /* thread has to be joined before the next */
    bool running;  /* it has not ended */
    atomic_bool stop;
    int64_t target_mb;
    bool once;
};

struct auto_compact *cmd_auto_compact_new(struct node *n)
{
    struct auto_compact *c = NEW(struct auto_compact);

    c->n = n;
    mutex_init(&c->lock);
    cond_init(&c->changed);
    return c;
}

static RC may_go_on(void *arg, struct err *e)
{
    struct auto_compact *c = arg;

    if (atomic_load(&c->stop) || atomic_load(&c->n->stopping) ||
        atomic_load(&c->n->n_write_locks) > 0)
        FAIL(e, ERR_INTERRUPTED, "background compaction ends");
    return RC_OK;
}

static void compact_one(struct auto_compact *c, struct catalog_coll *x)
{
    struct coll_info info;
    struct err e = { 0 };
    int64_t freed;

    if (x->is_view || coll_info(x, &info, &e).failed ||
        (int64_t)((info.disk_bytes + info.index_bytes) / MB) < c->target_mb) {
        err_reset(&e);
        return;
    }
    /* dropped meanwhile, or told to end: the next pass knows */
    if (coll_compact(x, may_go_on, c, &freed, &e).failed)
        err_reset(&e);
}

static void one_pass(struct auto_compact *c)
{
    struct catalog_list l;
    struct err e = { 0 };

    catalog_list(c->n->catalog, SLICE_EMPTY, &l);
    for (int i = 0; i < l.n && !may_go_on(c, &e).failed; i++)
        compact_one(c, l.v[i].x);
    err_reset(&e);
    catalog_list_free(&l);
}

static void *work(void *arg)
{
    struct auto_compact *c = arg;
    uint64_t next_us;

    do {
        next_us = clock_mono_us() + day_us;
        one_pass(c);
        mutex_lock(&c->lock);
        while (!c->once && !atomic_load(&c->stop) && clock_mono_us() < next_us)
            cond_wait_until(&c->changed, &c->lock, next_us);
        bool last = c->once || atomic_load(&c->stop);
        if (last)
            c->running = false;
        mutex_unlock(&c->lock);
        if (last)
            return NULL;
    } while (true);
}

static void tell_to_stop(struct auto_compact *c)
{
    atomic_store(&c->stop, true);
    cond_broadcast(&c->changed);
}

void cmd_auto_compact_free(struct auto_compact *c)
{
    if (!c)
        return;
    mutex_lock(&c->lock);
    tell_to_stop(c);
    bool join = c->joinable;
    mutex_unlock(&c->lock);
    if (join)
        pthread_join(c->thread, NULL);
    cond_fini(&c->changed);
    mutex_fini(&c->lock);
    mem_free(c);
}

static RC enable(struct auto_compact *c, int64_t target_mb, bool once, struct err *e)
{
    if (c->running && atomic_load(&c->stop))
        FAIL(e, ERR_OBJECT_IS_BUSY, "background compaction is still ending");
    if (c->running && (c->target_mb != target_mb || c->once != once))
        FAIL(e, ERR_ALREADY_INITIALIZED,
             "background compaction is enabled already, with other options");
    if (c->running)
        return RC_OK;
    if (c->joinable) /* it has ended, or is about to return */
        pthread_join(c->thread, NULL);
    c->joinable = false;
    atomic_store(&c->stop, false);
    c->target_mb = target_mb;
    c->once = once;
    if (pthread_create(&c->thread, NULL, work, c) != 0)
        FAIL(e, ERR_INTERNAL, "could not start a thread");
    c->joinable = c->running = true;
    return RC_OK;
}

struct compact_args {
    struct bval target;
    bool once;
};

static const struct arg args[] = {
    ARG(struct compact_args, target, "freeSpaceTargetMB", ARG_ANY, 0),
    ARG(struct compact_args, once, "runOnce", ARG_BOOL, 0),
};

RC cmd__autoCompact(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct compact_args a = { 0 };
    struct bval on = cmd_first(r);
    int64_t target_mb = DEFAULT_TARGET_MB;
    struct auto_compact *c = r->node->auto_compact;

    (void)w;
    if (on.type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'autoCompact.autoCompact' is missing but a required field");
    if (on.type != BT_BOOL)
        return cmd_wrong_type("autoCompact", "autoCompact", on, "bool", e);
    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    if (!bval_is_nullish(a.target)) {
        if (!bval_is_number(a.target))
            return cmd_wrong_type("autoCompact", "freeSpaceTargetMB", a.target,
                                  "[long, int, decimal, double]", e);
        target_mb = cmd_i64(a.target);
        if (target_mb > INT64_MAX / MB)
            FAIL(e, ERR_BAD_VALUE, "BSON field 'freeSpaceTargetMB' value is too large");
        if (target_mb < 1)
            FAIL(e, ERR_BAD_VALUE,
                 "BSON field 'freeSpaceTargetMB' value must be >= 1, actual value '%lld'",
                 (long long)target_mb);
    }
    mutex_lock(&c->lock);
    rc_t rc = RC_OK;
    if (bval_bool(on))
        rc = enable(c, target_mb, a.once, e);
    else
        tell_to_stop(c);
    mutex_unlock(&c->lock);
    return rc;
}
