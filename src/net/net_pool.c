/* net_pool.c - how many workers run.
 *
 *   polling ──event──▶ running ──▶ polling            target: how many may be runnable (polling + running)
 *                        │  ▲
 *               block_begin  block_end                blocked ones do not count; somebody takes their place
 *   runnable > target: the worker rests until a token comes
 *
 * The rule: while fewer than `target` are runnable, somebody polls. It is checked when the last polling worker picks an event up and when a worker blocks, with sequentially
 * consistent counters, so that one of two that do it at once sees the other. A store that syncs its journal for 64 writers thus gets 64 waiting workers and one group commit,
 * while work that only computes runs on a few hot threads.
 *
 * Workers that are busy for long without saying so (a scan, a disk) would shut everybody out: the timekeeper then raises the target by one, and lowers it again later.
 */
#include "net_priv.h"

#include "base/clock.h"
#include "base/mem.h"

enum { REST_US = 30 * 1000000, CALM_ROUNDS = 200 };

static _Thread_local struct net__worker *self;

static void *worker_main(void *arg)
{
    struct net__worker *w = arg;
    struct net *n = w->net;

    self = w;
    w->rbuf = mem_alloc(NET__RBUF);
    if (n->cfg.worker_new)
        w->user = n->cfg.worker_new(n->cfg.worker_arg);
    net__worker_loop(w);
    if (n->cfg.worker_free)
        n->cfg.worker_free(n->cfg.worker_arg, w->user);
    mem_free(w->rbuf);
    buf_fini(&w->out);
    mutex_lock(&n->pool_lock);
    w->done = true;
    n->n_threads--;
    cond_broadcast(&n->pool_cond);
    mutex_unlock(&n->pool_lock);
    return NULL;
}

static void join_done(struct net *n) TS_REQUIRES(n->pool_lock)
{
    LIST_FOR_SAFE(it, nx, &n->workers) {
        struct net__worker *w = CONTAINER_OF(it, struct net__worker, link);

        if (!w->done)
            continue;
        list_remove(&w->link);
        thread_join(w->thread); /* it has nothing left to do but return */
        mem_free(w);
    }
}

/* False when the system gives no thread: then those that there are go on. */
static bool spawn(struct net *n) TS_REQUIRES(n->pool_lock)
{
    struct net__worker *w;

    join_done(n);
    w = NEW(struct net__worker);
    w->net = n;
    if (!thread_try_start("net-worker", worker_main, w, &w->thread)) {
        mem_free(w);
        return false;
    }
    n->n_threads++;
    list_push_back(&n->workers, &w->link);
    return true;
}

/* One more may run: wake a resting worker, or start one. */
static void promote(struct net *n)
{
    mutex_lock(&n->pool_lock);
    if (atomic_load(&n->n_runnable) < atomic_load(&n->target)) {
        if (n->n_reserve > n->n_tokens) {
            n->n_tokens++;
            atomic_fetch_add(&n->n_runnable, 1);
            cond_signal(&n->pool_cond);
        } else if (n->n_threads < n->cfg.max_workers && !atomic_load(&n->stopping)) {
            atomic_fetch_add(&n->n_runnable, 1);
            if (!spawn(n))
                atomic_fetch_sub(&n->n_runnable, 1);
        }
    }
    mutex_unlock(&n->pool_lock);
}

static bool lacks_a_poller(struct net *n)
{
    return atomic_load(&n->n_polling) == 0 && atomic_load(&n->n_runnable) < atomic_load(&n->target);
}

void net__pool_picked(struct net *n)
{
    atomic_fetch_sub(&n->n_polling, 1);
    atomic_fetch_add_explicit(&n->n_picked, 1, memory_order_relaxed);
    if (atomic_load(&n->n_polling) != 0)
        return;
    if (lacks_a_poller(n))
        promote(n);
    else if (!atomic_load_explicit(&n->watch_wanted, memory_order_relaxed)) {
        mutex_lock(&n->wheel_lock);
        atomic_store(&n->watch_wanted, true);
        cond_signal(&n->wheel_cond);
        mutex_unlock(&n->wheel_lock);
    }
}

bool net__pool_rest(struct net__worker *w)
{
    struct net *n = w->net;
    bool again = true;
    int runnable;

    mutex_lock(&n->pool_lock);
    runnable = atomic_load(&n->n_runnable);
    if (runnable <= atomic_load(&n->target) || atomic_load(&n->stopping)) {
        mutex_unlock(&n->pool_lock);
        return true;
    }
    atomic_fetch_sub(&n->n_runnable, 1);
    n->n_reserve++;
    while (n->n_tokens == 0 && !atomic_load(&n->stopping)) {
        uint64_t until = clock_mono_us() + REST_US;

        if (!cond_wait_until(&n->pool_cond, &n->pool_lock, until) && n->n_tokens == 0 &&
            n->n_threads > n->cfg.n_workers) {
            again = false;
            break;
        }
    }
    n->n_reserve--;
    if (again) {
        if (n->n_tokens > 0)
            n->n_tokens--; /* counted as runnable by who gave the token */
        else
            atomic_fetch_add(&n->n_runnable, 1); /* stopping */
    }
    mutex_unlock(&n->pool_lock);
    return again;
}

void net_block_begin(void)
{
    struct net__worker *w = self;

    if (!w || w->blocked)
        return;
    w->blocked = true;
    atomic_fetch_add(&w->net->n_blocked, 1);
    atomic_fetch_sub(&w->net->n_runnable, 1);
    if (lacks_a_poller(w->net))
        promote(w->net);
}

void net_block_end(void)
{
    struct net__worker *w = self;

    if (!w || !w->blocked)
        return;
    w->blocked = false;
    atomic_fetch_add(&w->net->n_runnable, 1);
    atomic_fetch_sub(&w->net->n_blocked, 1);
}

/* Called by the timekeeper every NET__WATCH_US while watching. */
void net__pool_watch(struct net *n)
{
    static _Thread_local uint64_t last_picked;
    static _Thread_local int calm;
    uint64_t picked = atomic_load(&n->n_picked);
    bool stuck = atomic_load(&n->n_polling) == 0 && picked == last_picked;

    last_picked = picked;
    if (stuck) {
        calm = 0;
        if (atomic_load(&n->target) < n->cfg.max_workers) {
            atomic_fetch_add(&n->target, 1);
            promote(n);
        }
        return;
    }
    if (++calm < CALM_ROUNDS)
        return;
    calm = 0;
    if (atomic_load(&n->target) > n->cfg.n_workers)
        atomic_fetch_sub(&n->target, 1);
    else if (atomic_load(&n->n_polling) > 0)
        atomic_store(&n->watch_wanted, false);
}

void net__pool_start(struct net *n, int count)
{
    mutex_lock(&n->pool_lock);
    for (int i = 0; i < count; i++) {
        atomic_fetch_add(&n->n_runnable, 1);
        INVARIANT(spawn(n));
    }
    mutex_unlock(&n->pool_lock);
}

void net__pool_stop(struct net *n)
{
    mutex_lock(&n->pool_lock);
    while (n->n_threads > 0) {
        cond_broadcast(&n->pool_cond);
        mutex_unlock(&n->pool_lock);
        net__kick(n);
        mutex_lock(&n->pool_lock);
        if (n->n_threads > 0)
            cond_wait_until(&n->pool_cond, &n->pool_lock, clock_mono_us() + 10000);
    }
    join_done(n);
    mutex_unlock(&n->pool_lock);
}
