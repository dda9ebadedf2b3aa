/* server_watch.c - long requests whose clients are gone.
 *
 * While a request runs, its connection is not armed: nobody would hear that the other end has left, and a query of minutes would go on for nobody. So a thread
 * looks, a few times a second, at the sockets of those requests that have run for longer than that. Short requests cost nothing.
 *
 * Reads only: a client that sends a write and leaves may well mean it.
 */
#include "base/clock.h"
#include "server_priv.h"

enum { WATCH_EVERY_US = 250000 };

struct looking {
    struct net *net;
    net_ref ref;
    uint64_t now_us;
};

/* The client's op_lock is held: its request cannot end, nor its connection be closed, before we have looked. */
static bool is_lost(void *arg, const struct cmd_client *c, const struct cmd_op *op)
{
    const struct looking *l = arg;

    (void)c;
    return op->since_us + WATCH_EVERY_US <= l->now_us && !op->nobody_waits &&
           !cmd_writes(op->def, op->body) && net_is_lost(l->net, l->ref);
}

static void look(struct server *s)
{
    struct looking l = { .net = s->net, .now_us = clock_mono_us() };

    mutex_lock(&s->conns_lock);
    LIST_FOR(it, &s->conns) {
        struct server__conn *c = CONTAINER_OF(it, struct server__conn, link);

        l.ref = c->ref;
        cmd_client_interrupt(c->client, is_lost, &l, ERR_CLIENT_DISCONNECT);
    }
    mutex_unlock(&s->conns_lock);
}

static void *watch(void *arg)
{
    struct server *s = arg;

    mutex_lock(&s->watch_lock);
    while (!s->watch_ends) {
        if (cond_wait_until(&s->watch_cond, &s->watch_lock, clock_mono_us() + WATCH_EVERY_US))
            continue;
        mutex_unlock(&s->watch_lock);
        look(s);
        mutex_lock(&s->watch_lock);
    }
    mutex_unlock(&s->watch_lock);
    return NULL;
}

void server__watch_start(struct server *s)
{
    s->watching = thread_try_start("client-watch", watch, s, &s->watch);
}

void server__watch_stop(struct server *s)
{
    if (!s->watching)
        return;
    mutex_lock(&s->watch_lock);
    s->watch_ends = true;
    cond_broadcast(&s->watch_cond);
    mutex_unlock(&s->watch_lock);
    thread_join(s->watch);
    s->watching = false;
}
