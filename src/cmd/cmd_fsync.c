/* cmd_fsync.c - fsync, fsyncUnlock, and the gate that a locked node's writers wait at (compatibility 20).
 *
 *   writer ──▶ in ──▶ writes ──▶ out          fsync {lock: true}: one more lock, then waits until nobody is in
 *     ▲        └─ locked: parked ─┐            fsyncUnlock: one lock fewer; at none, whoever waits is woken
 *     └───────────────────────────┘
 *
 * A writer says that it is in before it looks for locks, a locker sets the lock before it looks for writers: one of them sees the other. Locks belong to the node and
 * not to the connection that asked for them. A waiting writer holds no thread; it ends with killOp and maxTimeMS, and currentOp shows it as waiting.
 */
#include "cmd_ops.h"

enum {
    LOOK_US = 200 * 1000, /* of a waiting writer, for what ends it */
    DRAIN_LOOK_US = 2000, /* of a locker, for writers that are in */
    DRAIN_TIMEOUT_MS = 90000,
};

bool node__write_enter(struct node *n)
{
    atomic_fetch_add(&n->n_writers, 1);
    if (atomic_load(&n->n_write_locks) == 0)
        return true;
    node__write_leave(n);
    return false;
}

void node__write_leave(struct node *n)
{
    atomic_fetch_sub(&n->n_writers, 1);
}

RC cmd__gate(struct cmd_req *r, bool *in, struct err *e)
{
    struct cmd_client *c = r->client;

    for (;;) {
        *in = node__write_enter(r->node);
        if (*in)
            return RC_OK;
        TRY(cmd_check(r, e));
        uint64_t until_us = clock_mono_us() + LOOK_US;
        if (r->deadline_us)
            until_us = MIN(until_us, r->deadline_us + 1);
        if (c) {
            cmd__op_wait(r);
            cmd_client_park(c, PARK_WRITES, 0, until_us);
            return RC_OK;
        }
        clock_sleep_us(DRAIN_LOOK_US); /* a request of the node's own */
    }
}

struct fsync_args {
    bool lock;
    struct bval timeout;
};

static const struct arg args[] = {
    ARG(struct fsync_args, lock, "lock", ARG_SAFE_BOOL, 0),
    ARG(struct fsync_args, timeout, "fsyncLockAcquisitionTimeoutMillis", ARG_ANY, 0),
};

/* unlock(): false when there is no lock, whoever took it away. */
static bool unlock(struct node *n, int64_t *left)
{
    int64_t now = atomic_load(&n->n_write_locks);

    do {
        if (now == 0)
            return false;
    } while (!atomic_compare_exchange_weak(&n->n_write_locks, &now, now - 1));
    *left = now - 1;
    if (*left == 0)
        cmd_client_signal(PARK_WRITES, 0);
    return true;
}

/* drain(): the lock is set; until nobody is in. At least one look, however short the time. */
static RC drain(struct cmd_req *r, int64_t timeout_ms, struct err *e)
{
    uint64_t until_us = clock_mono_us() + (uint64_t)MAX(timeout_ms, 0) * 1000;

    while (atomic_load(&r->node->n_writers) > 0) {
        TRY(cmd_check(r, e));
        if (clock_mono_us() > until_us)
            FAIL(e, ERR_LOCK_TIMEOUT,
                 "could not lock against writes: some were still running after %lld ms",
                 (long long)MAX(timeout_ms, 0));
        clock_sleep_us(DRAIN_LOOK_US);
    }
    return RC_OK;
}

static RC lock_writes(struct cmd_req *r, int64_t timeout_ms, struct bw *w, struct err *e)
{
    int64_t count = atomic_fetch_add(&r->node->n_write_locks, 1) + 1;
    rc_t rc = drain(r, timeout_ms, e);

    if (!rc.failed)
        rc = store_flush(r->node->store, e);
    if (rc.failed) {
        (void)unlock(r->node, &count);
        return rc;
    }
    bw_str(w, "info", "now locked against writes, use db.fsyncUnlock() to unlock");
    bw_i64(w, "lockCount", count);
    bw_str(w, "seeAlso", "http://dochub.mongodb.org/core/fsynccommand");
    return RC_OK;
}

RC cmd__fsync(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct fsync_args a = { 0 };
    int64_t timeout_ms = DRAIN_TIMEOUT_MS;

    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    if (!bval_is_nullish(a.timeout)) {
        if (a.timeout.type != BT_INT32)
            return cmd_wrong_type("fsync", "fsyncLockAcquisitionTimeoutMillis", a.timeout, "int",
                                  e);
        timeout_ms = bval_i32(a.timeout);
    }
    if (a.lock)
        return lock_writes(r, timeout_ms, w, e);
    TRY(store_sync(r->node->store, e));
    bw_i32(w, "numFiles", 1);
    return RC_OK;
}

RC cmd__fsyncUnlock(struct cmd_req *r, struct bw *w, struct err *e)
{
    int64_t left;

    if (!unlock(r->node, &left))
        FAIL(e, ERR_ILLEGAL_OPERATION, "fsyncUnlock called when not locked");
    bw_str(w, "info", "fsyncUnlock completed");
    bw_i64(w, "lockCount", left);
    return RC_OK;
}
