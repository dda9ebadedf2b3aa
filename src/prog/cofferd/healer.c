/* healer.c - see healer.h. */
#include "healer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "crypto/secret.h"

struct healer {
    struct process *process;
    struct custody *custody;
    pthread_t thread;
    bool failed; /* the thread's: the last try, and that is told */

    struct mutex lock;
    struct cond wake;
    bool stopping; /* guarded by lock */
};

static void heal(struct healer *h)
{
    struct err e = { 0 };
    bool did;
    bool failed = custody_heal(h->custody, &did, &e).failed;

    /* a node that is sealing itself has no keys any more, and that is no failure of this */
    if (failed && !h->failed && !secret_arena_sealed())
        log_err(EV_ENVELOPE_DEGRADED, &e, NULL, 0);
    h->failed = failed;
    if (did)
        log_event0(EV_ENVELOPE_REPAIRED);
    err_reset(&e);
}

static void *loop(void *arg)
{
    struct healer *h = arg;
    bool go = true;

    while (go) {
        heal(h);
        uint64_t until = clock_mono_us() + settings_us(h->process->set, SET_PROBE_INTERVAL);
        mutex_lock(&h->lock);
        while (!h->stopping && cond_wait_until(&h->wake, &h->lock, until)) {
        }
        go = !h->stopping;
        mutex_unlock(&h->lock);
    }
    return NULL;
}

struct healer *healer_start(struct process *p, struct custody *custody)
{
    struct healer *h = NEW(struct healer);

    h->process = p;
    h->custody = custody;
    mutex_init(&h->lock);
    cond_init(&h->wake);
    h->thread = thread_start("healer", loop, h);
    return h;
}

void healer_stop(struct healer *h)
{
    if (!h)
        return;
    mutex_lock(&h->lock);
    h->stopping = true;
    cond_broadcast(&h->wake);
    mutex_unlock(&h->lock);
    thread_join(h->thread);
    mutex_fini(&h->lock);
    cond_fini(&h->wake);
    mem_free(h);
}
