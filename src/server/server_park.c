/* server_park.c - requests that wait for something other than time, found by what they wait for. */
#include "server_priv.h"

#include "base/mem.h"

void server__park(struct server__conn *c)
{
    struct server *s = c->s;
    enum park_on on = c->client->park_on;

    INVARIANT((int)on < SERVER__PARK_NR && list_empty(&c->park));
    mutex_lock(&s->park_lock);
    c->park_key = c->client->park_key;
    list_push_back(&s->parked[on], &c->park);
    mutex_unlock(&s->park_lock);
}

void server__unpark(struct server__conn *c)
{
    mutex_lock(&c->s->park_lock);
    list_remove(&c->park);
    mutex_unlock(&c->s->park_lock);
}

/* A wake-up that comes between a handler's decision to wait and its parking is lost to this list; handlers look again at the latest when their time is over, and
 * those that must not miss one compare a counter when they are resumed. Names are gathered first: waking takes other locks. */
void server__signal(void *server, enum park_on on, uint64_t key)
{
    struct server *s = server;
    net_ref *refs = NULL;
    size_t n = 0, cap = 0;

    mutex_lock(&s->park_lock);
    LIST_FOR(it, &s->parked[on]) {
        struct server__conn *c = CONTAINER_OF(it, struct server__conn, park);

        if (c->park_key != key)
            continue;
        if (n == cap) {
            cap = cap * 2 + 16;
            refs = mem_realloc(refs, cap * sizeof(*refs));
        }
        refs[n++] = c->ref;
    }
    mutex_unlock(&s->park_lock);
    for (size_t i = 0; i < n; i++)
        net_wake(s->net, refs[i]);
    mem_free(refs);
}
