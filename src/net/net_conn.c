/* net_conn.c - a connection from accept to close: who owns it, what it does next.
 *
 * conn_step() is the machine: given what is pending it flushes, shakes hands, reads, calls the protocol, and says what to wait for. net__conn_run() drives it and lets go of
 * the connection as net_priv.h describes.
 */
#include "net_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

/* ---- slots ---- */

struct net_conn *net__conn_at(struct net *n, uint32_t slot)
{
    struct net_conn *chunk;

    if (slot / NET__CHUNK >= (uint32_t)n->max_chunks)
        return NULL;
    chunk = __atomic_load_n(&n->chunks[slot / NET__CHUNK], __ATOMIC_ACQUIRE);
    return chunk ? &chunk[slot % NET__CHUNK] : NULL;
}

static void add_chunk(struct net *n) TS_REQUIRES(n->slots_lock)
{
    struct net_conn *chunk = NEW_ARRAY(struct net_conn, NET__CHUNK);

    for (uint32_t i = NET__CHUNK; i-- > 0;) {
        chunk[i].slot = (uint32_t)n->n_chunks * NET__CHUNK + i;
        chunk[i].fd = -1;
        /* so that no ref is 0 */
        atomic_store(&chunk[i].word, ((uint64_t)1 << NET__GEN_SHIFT) | NET__FREE);
        n->free_slots[n->n_free++] = chunk[i].slot;
    }
    __atomic_store_n(&n->chunks[n->n_chunks], chunk, __ATOMIC_RELEASE);
    n->n_chunks++;
}

static struct net_conn *take_slot(struct net *n)
{
    struct net_conn *c = NULL;

    mutex_lock(&n->slots_lock);
    if (atomic_load(&n->n_conns) < n->cfg.max_conns) {
        if (n->n_free == 0)
            add_chunk(n);
        c = net__conn_at(n, n->free_slots[--n->n_free]);
        atomic_fetch_add(&n->n_conns, 1);
    }
    mutex_unlock(&n->slots_lock);
    return c;
}

static void give_slot(struct net_conn *c)
{
    struct net *n = c->net;
    uint64_t gen = atomic_load(&c->word) >> NET__GEN_SHIFT;

    mutex_lock(&n->slots_lock);
    c->magic = 0;
    atomic_store(&c->word, ((gen + 1) << NET__GEN_SHIFT) | NET__FREE);
    n->free_slots[n->n_free++] = c->slot;
    if (atomic_fetch_sub(&n->n_conns, 1) == 1)
        cond_broadcast(&n->none_left);
    mutex_unlock(&n->slots_lock);
}

bool net__news(struct net_conn *c, uint64_t gen, unsigned bits)
{
    uint64_t w = atomic_load(&c->word);

    for (;;) {
        if ((uint32_t)(w >> NET__GEN_SHIFT) != (uint32_t)gen)
            return false;
        switch (w & NET__STATE_MASK) {
        case NET__ARMED:
            if (atomic_compare_exchange_weak(&c->word, &w, (w & ~(uint64_t)0xff) | NET__RUNNING))
                return true;
            break;
        case NET__RUNNING:
            if (atomic_compare_exchange_weak(&c->word, &w, w | bits))
                return false;
            break;
        default: return false;
        }
    }
}

static net_ref ref_of(const struct net_conn *c)
{
    return ((atomic_load(&c->word) >> NET__GEN_SHIFT) << 32) | c->slot;
}

/* ---- memory charged against max_inflight_bytes ---- */

static bool charge(struct net_conn *c)
{
    int64_t now = (int64_t)(c->in.cap + c->out.cap), more = now - c->charged;
    struct net *n = c->net;

    if (more == 0)
        return true;
    c->charged = now;
    return atomic_fetch_add(&n->inflight, more) + more <= n->cfg.max_inflight_bytes || more < 0;
}

/* ---- closing ---- */

static void conn_close(struct net_conn *c, const struct err *e)
{
    struct epoll_event ev = { 0 };

    net__timer_set(c, 0);
    if (c->opened)
        c->proto->closed(c, e);
    net__tls_detach(c);
    if (c->fd >= 0) {
        /* A forked helper may hold a copy of the descriptor: take it out of epoll and end the stream by name. */
        epoll_ctl(c->net->ep, EPOLL_CTL_DEL, c->fd, &ev);
        shutdown(c->fd, SHUT_RDWR);
        fd_close(c->fd);
    }
    c->fd = -1;
    buf_fini(&c->in);
    buf_fini(&c->out);
    charge(c);
    give_slot(c);
}

/* ---- opening ---- */

RC net__conn_new(struct net *n, int fd, struct net_listener *l, struct net_tls *tls,
                 const struct net_proto *p, struct err *e)
{
    struct net_conn *c = take_slot(n);
    uint64_t gen;

    if (!c) {
        fd_close(fd);
        atomic_fetch_add(&n->refused, 1);
        FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT, "too many open connections");
    }
    gen = atomic_load(&c->word) >> NET__GEN_SHIFT;
    /* The word is not touched by the reset: late news must go on finding this slot's number in it. */
    memset((char *)c + offsetof(struct net_conn, net), 0,
           sizeof(*c) - offsetof(struct net_conn, net));
    c->magic = NET__CONN_MAGIC;
    c->net = n;
    c->listener = l;
    c->proto = p;
    c->fd = fd;
    list_init(&c->timer);
    list_init(&c->run);
    atomic_store(&c->word, (gen << NET__GEN_SHIFT) | NET__RUNNING);
    atomic_fetch_add(&n->total, 1);
    net__conn_name(c);
    c->since_us = c->idle_since_us = clock_mono_us();
    c->phase = tls ? NET__HANDSHAKE : NET__OPEN;
    if ((tls && net__tls_attach(c, tls, e).failed) || p->opened(p->arg, c, &c->user, e).failed) {
        conn_close(c, e);
        return RC_FAILED;
    }
    c->opened = true;
    if (c->phase == NET__OPEN && p->ready)
        p->ready(c);
    /* Accepted while accepting ended: net_end_all() may have looked here before there was anything to see. */
    net__run_later(c, atomic_load(&n->accepting) ? NET__P_IO : NET__P_END);
    return RC_OK;
}

RC net_adopt(struct net *n, int fd, struct net_tls *tls, const struct net_proto *p, struct err *e)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        int sys = errno;

        fd_close(fd);
        return file_err(e, sys, "could not adopt a", "socket");
    }
    return net__conn_new(n, fd, NULL, tls, p, e);
}

/* ---- the machine ---- */

/* What a step found: wait for more, or it is over. */
enum step { STEP_WAIT, STEP_CLOSE };

static enum step close_over(struct err *e, enum err_code code, const char *why)
{
    rc_t rc = err_set(e, code, __FILE__, __LINE__, "%s", why);

    INVARIANT(rc.failed);
    return STEP_CLOSE;
}

static enum step do_flush(struct net_conn *c, bool *gone)
{
    *gone = false;
    while (c->out_at < c->out.len) {
        size_t sent = 0;

        switch (net__send(c, c->out.p + c->out_at, c->out.len - c->out_at, &sent)) {
        case NET__IO_OK:
            c->out_at += sent;
            c->since_us = clock_mono_us();
            break;
        case NET__IO_AGAIN: return STEP_WAIT;
        default: return STEP_CLOSE;
        }
    }
    buf_fini(&c->out);
    c->out_at = 0;
    charge(c);
    *gone = true;
    return STEP_WAIT;
}

/* Sends what the protocol wrote; what does not go out at once moves to the connection. */
static enum step send_out(struct net_conn *c, struct net__worker *w, struct err *e)
{
    size_t at = 0;

    while (at < w->out.len) {
        size_t sent = 0;
        enum net__io io = net__send(c, w->out.p + at, w->out.len - at, &sent);

        if (io == NET__IO_OK) {
            at += sent;
            continue;
        }
        if (io != NET__IO_AGAIN)
            return STEP_CLOSE;
        c->out = w->out;
        c->out_at = at;
        c->since_us = clock_mono_us();
        w->out = BUF_INIT;
        if (!charge(c))
            return close_over(e, ERR_EXCEEDED_MEMORY_LIMIT,
                              "too many bytes wait for clients that do not read");
        return STEP_WAIT;
    }
    if (w->out.cap > NET__OUT_KEEP)
        buf_fini(&w->out);
    buf_clear(&w->out);
    return STEP_WAIT;
}

/* Acts on what a callback answered. *go_on: more may be read now. */
static enum step after_call(struct net_conn *c, struct net__worker *w, enum net_next next,
                            bool more_follows, bool *go_on, struct err *e)
{
    *go_on = false;
    if (next == NET_CLOSE)
        c->close_when_sent = true;
    c->wait = next == NET_PARK    ? NET__WAIT_PARKED
              : next == NET_AGAIN ? NET__WAIT_AGAIN
                                  : NET__WAIT_READ;
    if (next == NET_READ && more_follows && w->out.len < NET__FLUSH_AT) {
        *go_on = true; /* pipelined requests are answered together */
        return STEP_WAIT;
    }
    if (send_out(c, w, e) == STEP_CLOSE)
        return STEP_CLOSE;
    if (c->out.len)
        return STEP_WAIT;
    if (c->close_when_sent)
        return STEP_CLOSE;
    *go_on = next == NET_READ;
    return STEP_WAIT;
}

/* Calls wake() while it wants to be called again and its answers go out. */
static enum step do_wake(struct net_conn *c, struct net__worker *w, enum net_why why, bool *go_on,
                         struct err *e)
{
    for (;;) {
        enum net_next next = c->proto->wake(c, w->user, why, &w->out);
        enum step s = after_call(c, w, next, /* more_follows= */ false, go_on, e);

        if (s == STEP_CLOSE || c->wait != NET__WAIT_AGAIN || c->out.len)
            return s;
        why = NET_WHY_AGAIN;
    }
}

static void keep_rest(struct net_conn *c, struct slice rest)
{
    if (rest.len == 0) {
        buf_fini(&c->in);
    } else if (rest.p == c->in.p) {
        c->in.len = rest.len;
    } else if (c->in.p && rest.p > c->in.p && rest.p < c->in.p + c->in.cap) {
        memmove(c->in.p, rest.p, rest.len);
        c->in.len = rest.len;
    } else {
        buf_push(&c->in, rest.p, rest.len);
    }
}

/* Hands over every whole message in have. *need: bytes the first incomplete one takes as a whole. */
static enum step do_messages(struct net_conn *c, struct net__worker *w, struct slice have,
                             bool *go_on, size_t *need, struct err *e)
{
    enum step s = STEP_WAIT;

    *go_on = true;
    *need = 0;
    while (have.len && *go_on) {
        struct slice msg;
        enum net_next next;

        if (c->proto->frame(c, have, need, e).failed) {
            s = STEP_CLOSE;
            break;
        }
        if (*need > have.len)
            break;
        INVARIANT(*need > 0);
        msg = SLICE(have.p, *need);
        have.p += *need;
        have.len -= *need;
        *need = 0;
        c->since_us = 0;
        next = c->proto->message(c, w->user, msg, &w->out);
        s = after_call(c, w, next, have.len > 0, go_on, e);
        if (s == STEP_CLOSE)
            return s;
        if (c->wait == NET__WAIT_AGAIN && c->out.len == 0) {
            keep_rest(c, have);
            s = do_wake(c, w, NET_WHY_AGAIN, go_on, e);
            if (s == STEP_CLOSE)
                return s;
            have = buf_view(&c->in);
        }
    }
    /* Answers to pipelined requests before an incomplete one, or before a broken frame. */
    if (w->out.len && send_out(c, w, e) == STEP_CLOSE)
        s = STEP_CLOSE;
    if (s == STEP_WAIT && c->out.len)
        *go_on = false;
    keep_rest(c, have);
    if (c->in.len && c->since_us == 0)
        c->since_us = clock_mono_us();
    return s;
}

/* Room for the next bytes: the worker's buffer, or, once a message is known to be longer, the connection's own. It grows with what arrives, not with what a length promises. */
static uint8_t *read_room(struct net_conn *c, struct net__worker *w, size_t need, size_t *room)
{
    size_t want;

    if (c->in.len == 0) {
        *room = NET__RBUF;
        return w->rbuf;
    }
    want = need > c->in.len ? need - c->in.len : 256;
    want = MIN(want, MAX(c->in.len, (size_t)NET__RBUF));
    buf_reserve(&c->in, want);
    *room = want;
    return c->in.p + c->in.len;
}

static enum step do_read(struct net_conn *c, struct net__worker *w, struct err *e)
{
    size_t need = 0;
    bool go_on = true;

    /* Messages that were read before the connection had to wait come first. */
    if (c->in.len && do_messages(c, w, buf_view(&c->in), &go_on, &need, e) == STEP_CLOSE)
        return STEP_CLOSE;
    while (go_on) {
        size_t room, got = 0;
        uint8_t *p = read_room(c, w, need, &room);
        bool drained;
        enum net__io io = net__recv(c, p, room, &got);

        if (io == NET__IO_AGAIN)
            break;
        if (io != NET__IO_OK)
            return STEP_CLOSE;
        drained = got < room && !net__has_buffered(c);
        atomic_fetch_add_explicit(&c->net->bytes_in, (int64_t)got, memory_order_relaxed);
        c->idle_since_us = 0;
        if (c->in.len == 0) {
            c->since_us = 0;
            if (do_messages(c, w, SLICE(p, got), &go_on, &need, e) == STEP_CLOSE)
                return STEP_CLOSE;
        } else {
            c->in.len += got;
            if (c->in.len >= need &&
                do_messages(c, w, buf_view(&c->in), &go_on, &need, e) == STEP_CLOSE)
                return STEP_CLOSE;
        }
        if (!charge(c))
            return close_over(e, ERR_EXCEEDED_MEMORY_LIMIT,
                              "too many bytes of unfinished messages");
        if (drained)
            break; /* the kernel had no more; what comes later is another event */
    }
    return STEP_WAIT;
}

static bool time_is_over(const struct net_conn *c, uint64_t now, struct err *e)
{
    const struct net_config *cfg = &c->net->cfg;

    if (c->phase == NET__HANDSHAKE && now >= c->since_us + cfg->handshake_timeout_us)
        return err_set(e, ERR_NETWORK_TIMEOUT, __FILE__, __LINE__, "no handshake in time").failed;
    if (c->out.len && now >= c->since_us + cfg->write_timeout_us)
        return err_set(e, ERR_NETWORK_TIMEOUT, __FILE__, __LINE__, "client does not read").failed;
    if (!c->out.len && c->in.len && c->wait == NET__WAIT_READ &&
        now >=
            c->since_us + cfg->message_timeout_us + (uint64_t)c->in.len * 1000000 / NET__MIN_RATE)
        return err_set(e, ERR_NETWORK_TIMEOUT, __FILE__, __LINE__, "message did not arrive in time")
            .failed;
    if (!c->out.len && !c->in.len && c->wait == NET__WAIT_READ && cfg->idle_timeout_us &&
        c->idle_since_us && now >= c->idle_since_us + cfg->idle_timeout_us)
        return err_set(e, ERR_NETWORK_TIMEOUT, __FILE__, __LINE__, "client was idle for too long")
            .failed;
    return false;
}

static enum step do_end(struct net_conn *c, struct net__worker *w, struct err *e)
{
    bool go_on;

    c->close_when_sent = true;
    if (c->end_seen || c->phase == NET__HANDSHAKE)
        return c->out.len ? STEP_WAIT : STEP_CLOSE;
    c->end_seen = true;
    if (c->out.len) {
        /* What goes out first is an answer already under way; what the protocol adds follows it. */
        struct buf more = BUF_INIT;

        c->proto->wake(c, w->user, NET_WHY_END, &more);
        buf_push(&c->out, more.p, more.len);
        buf_fini(&more);
        return STEP_WAIT;
    }
    c->proto->wake(c, w->user, NET_WHY_END, &w->out);
    return after_call(c, w, NET_CLOSE, /* more_follows= */ false, &go_on, e);
}

static enum step conn_step(struct net_conn *c, struct net__worker *w, unsigned why, struct err *e)
{
    bool go_on = c->wait == NET__WAIT_READ;

    if (c->phase == NET__HANDSHAKE) {
        switch (net__handshake(c)) {
        case NET__IO_OK:
            c->phase = NET__OPEN;
            c->since_us = 0;
            if (c->proto->ready)
                c->proto->ready(c);
            break;
        case NET__IO_AGAIN: return time_is_over(c, clock_mono_us(), e) ? STEP_CLOSE : STEP_WAIT;
        default: return close_over(e, ERR_INVALID_SSL_CONFIGURATION, "TLS handshake failed");
        }
    }
    if (c->out.len) {
        bool gone;

        if (do_flush(c, &gone) == STEP_CLOSE)
            return STEP_CLOSE;
        if (!gone) {
            c->named |= (why & NET__P_NAMED) != 0;
            return time_is_over(c, clock_mono_us(), e) ? STEP_CLOSE : STEP_WAIT;
        }
        if (c->close_when_sent)
            return STEP_CLOSE;
    }
    if (c->wait == NET__WAIT_AGAIN) {
        if (do_wake(c, w, NET_WHY_AGAIN, &go_on, e) == STEP_CLOSE)
            return STEP_CLOSE;
    } else if (c->wait == NET__WAIT_PARKED) {
        bool due = clock_mono_us() >= c->park_until_us;

        if (c->named || (why & NET__P_NAMED) || due) {
            enum net_why how =
                due && !c->named && !(why & NET__P_NAMED) ? NET_WHY_TIME : NET_WHY_NAMED;

            c->named = false;
            if (do_wake(c, w, how, &go_on, e) == STEP_CLOSE)
                return STEP_CLOSE;
        } else if (why & NET__P_GONE) {
            return STEP_CLOSE; /* nobody waits for the answer any more */
        }
    }
    if (go_on && do_read(c, w, e) == STEP_CLOSE)
        return STEP_CLOSE;
    return time_is_over(c, clock_mono_us(), e) ? STEP_CLOSE : STEP_WAIT;
}

/* What to wait for, and until when. */
static uint32_t plan_wait(struct net_conn *c, uint64_t *at_us)
{
    const struct net_config *cfg = &c->net->cfg;
    uint32_t events = EPOLLONESHOT | EPOLLRDHUP;

    *at_us = 0;
    if (c->phase == NET__HANDSHAKE) {
        events |= c->want_write ? EPOLLOUT : EPOLLIN;
        *at_us = c->since_us + cfg->handshake_timeout_us;
        return events;
    }
    if (c->out.len) {
        events |= EPOLLOUT;
        *at_us = c->since_us + cfg->write_timeout_us;
        return events;
    }
    if (c->wait == NET__WAIT_PARKED) {
        *at_us = MAX(c->park_until_us, (uint64_t)1);
        return events;
    }
    events |= c->want_write ? EPOLLOUT : EPOLLIN;
    if (c->in.len)
        *at_us =
            c->since_us + cfg->message_timeout_us + (uint64_t)c->in.len * 1000000 / NET__MIN_RATE;
    else if (cfg->idle_timeout_us) {
        if (c->idle_since_us == 0)
            c->idle_since_us = clock_mono_us();
        *at_us = c->idle_since_us + cfg->idle_timeout_us;
    }
    return events;
}

static RC arm(struct net_conn *c, struct err *e)
{
    uint64_t at_us;
    struct epoll_event ev = { .events = plan_wait(c, &at_us), .data.u64 = ref_of(c) };

    if (epoll_ctl(c->net->ep, c->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev) != 0)
        return file_err(e, errno, "could not wait for", c->peer);
    c->armed = true;
    net__timer_set(c, at_us);
    return RC_OK;
}

/* Lets go of c, or takes what came in meanwhile. */
static bool let_go(struct net_conn *c, unsigned *why)
{
    uint64_t w = atomic_load(&c->word);

    for (;;) {
        uint64_t clear = w & ~(uint64_t)0xff;

        if (w & NET__P_MASK) {
            if (!atomic_compare_exchange_weak(&c->word, &w, clear | NET__RUNNING))
                continue;
            *why = (unsigned)(w & NET__P_MASK);
            return false;
        }
        if (atomic_compare_exchange_weak(&c->word, &w, clear | NET__ARMED))
            return true;
    }
}

void net__conn_run(struct net_conn *c, struct net__worker *w, unsigned why)
{
    struct err e = { 0 };

    INVARIANT(c->magic == NET__CONN_MAGIC);
    for (;;) {
        enum step s = why & NET__P_END ? do_end(c, w, &e) : conn_step(c, w, why, &e);

        if (w->out.len)
            buf_clear(&w->out); /* only when the connection is lost */
        if (s == STEP_CLOSE || arm(c, &e).failed) {
            conn_close(c, err_is(&e) ? &e : NULL);
            break;
        }
        if (let_go(c, &why))
            break;
    }
    err_reset(&e);
}

/* ---- for protocols ---- */

void *net_conn_user(const struct net_conn *c)
{
    return c->user;
}

net_ref net_conn_ref(const struct net_conn *c)
{
    return ref_of(c);
}

void net_conn_park_until(struct net_conn *c, uint64_t deadline_us)
{
    c->park_until_us = deadline_us;
}

bool net_is_lost(struct net *n, net_ref ref)
{
    struct net_conn *c = net__conn_at(n, (uint32_t)ref);
    struct pollfd p = { .fd = c ? c->fd : -1, .events = POLLRDHUP };

    return c && poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

void net_wake(struct net *n, net_ref ref)
{
    struct net_conn *c = net__conn_at(n, (uint32_t)ref);

    if (c && net__news(c, ref >> 32, NET__P_NAMED))
        net__run_later(c, NET__P_NAMED);
}
