/* net_timer.c - a hashed timer wheel and the thread that turns it.
 *
 * One slot a tick, NET__WHEEL ticks around; a timer whose time lies a whole turn or more ahead stays in its slot until the wheel comes by at the right time. The timekeeper
 * sleeps while the wheel is empty and nobody wants the pool watched.
 */
#include "net_priv.h"

#include "base/clock.h"

void net__timer_set(struct net_conn *c, uint64_t at_us)
{
    struct net *n = c->net;
    bool first = false;

    if (at_us == 0 && atomic_load(&c->timer_at_us) == 0)
        return; /* only the owner puts a timer in, so it may look at its own without the lock */
    mutex_lock(&n->wheel_lock);
    if (atomic_load(&c->timer_at_us)) {
        list_remove(&c->timer);
        atomic_store(&c->timer_at_us, 0);
        n->n_timers--;
    }
    if (at_us) {
        uint64_t tick = at_us / NET__TICK_US + 1;

        if (n->n_timers == 0)
            /* nothing was there to be missed */
            n->wheel_now = MAX(n->wheel_now, clock_mono_us() / NET__TICK_US);
        if (tick <= n->wheel_now)
            tick = n->wheel_now + 1;
        atomic_store(&c->timer_at_us, at_us);
        list_push_back(&n->wheel[tick % NET__WHEEL], &c->timer);
        first = n->n_timers++ == 0;
    }
    if (first)
        cond_signal(&n->wheel_cond);
    mutex_unlock(&n->wheel_lock);
}

/* Names every connection of one slot that is due. timer_at_us falls to 0 last: an owner that sees it so without the lock knows that nobody is looking at
 * its connection from here any more. */
static void turn(struct net *n, uint64_t tick, uint64_t now_us) TS_REQUIRES(n->wheel_lock)
{
    LIST_FOR_SAFE(it, nx, &n->wheel[tick % NET__WHEEL]) {
        struct net_conn *c = CONTAINER_OF(it, struct net_conn, timer);

        if (atomic_load(&c->timer_at_us) > now_us)
            continue;
        list_remove(&c->timer);
        n->n_timers--;
        if (net__news(c, atomic_load(&c->word) >> NET__GEN_SHIFT, NET__P_TIME))
            net__run_later(c, NET__P_TIME);
        atomic_store(&c->timer_at_us, 0);
    }
}

void *net__timekeeper(void *arg)
{
    struct net *n = arg;

    mutex_lock(&n->wheel_lock);
    while (!atomic_load(&n->stopping) || atomic_load(&n->n_conns) > 0) {
        uint64_t now_us, now;
        bool watch = atomic_load(&n->watch_wanted);

        if (n->n_timers == 0 && !watch)
            cond_wait(&n->wheel_cond, &n->wheel_lock);
        else
            cond_wait_until(&n->wheel_cond, &n->wheel_lock,
                            clock_mono_us() + (n->n_timers ? NET__TICK_US : NET__WATCH_US));
        now_us = clock_mono_us();
        now = now_us / NET__TICK_US;
        if (now > n->wheel_now + NET__WHEEL)
            n->wheel_now = now - NET__WHEEL;
        while (n->n_timers && n->wheel_now < now)
            turn(n, ++n->wheel_now, now_us);
        if (watch) {
            mutex_unlock(&n->wheel_lock);
            net__pool_watch(n);
            mutex_lock(&n->wheel_lock);
        }
    }
    mutex_unlock(&n->wheel_lock);
    return NULL;
}
