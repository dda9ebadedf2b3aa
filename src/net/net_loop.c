/* net_loop.c - the loop that every worker runs, and the net's own life.
 *
 * All workers wait on one epoll descriptor. Every descriptor is armed one-shot, so an event wakes one worker and the next event of the same connection
 * cannot come before that worker lets go. The kick descriptor (an eventfd) announces the run queue: connections that a timer or a name made runnable.
 */
#include "net_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

enum { FDS_BESIDE = 4096 }; /* the store's files and ours */

void net__kick(struct net *n)
{
    uint64_t one = 1;

    /* The counter can only be full when 2^64 kicks are pending; a short write cannot happen. */
    if (write(n->kick, &one, sizeof(one)) < 0)
        INVARIANT(errno == EAGAIN);
}

static struct net_conn *take_runnable(struct net *n, unsigned *why)
{
    struct net_conn *c = NULL;
    bool more;

    mutex_lock(&n->run_lock);
    if (!list_empty(&n->run_queue)) {
        c = CONTAINER_OF(n->run_queue.next, struct net_conn, run);
        list_remove(&c->run);
        *why = c->run_why;
        c->run_why = 0;
    }
    more = !list_empty(&n->run_queue);
    mutex_unlock(&n->run_lock);
    if (more)
        net__kick(n); /* another worker takes the next one */
    return c;
}

void net__run_later(struct net_conn *c, unsigned why)
{
    struct net *n = c->net;

    mutex_lock(&n->run_lock);
    c->run_why = why;
    list_push_back(&n->run_queue, &c->run);
    mutex_unlock(&n->run_lock);
    net__kick(n);
}

static void on_kick(struct net *n, struct net__worker *w)
{
    uint64_t count;
    unsigned why = 0;
    struct net_conn *c;

    if (read(n->kick, &count, sizeof(count)) < 0 && errno != EAGAIN)
        INVARIANT(errno == EINTR);
    c = take_runnable(n, &why);
    if (c)
        net__conn_run(c, w, why);
}

static void on_event(struct net *n, struct net__worker *w, const struct epoll_event *ev)
{
    uint32_t low = (uint32_t)ev->data.u64, high = (uint32_t)(ev->data.u64 >> 32);
    struct net_conn *c;
    unsigned why;

    if (low == NET__TAG_KICK) {
        on_kick(n, w);
        return;
    }
    if (low == NET__TAG_LISTENER) {
        if (atomic_load(&n->accepting))
            net__accept(n->listeners[high]);
        return;
    }
    why = NET__P_IO | (ev->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) ? NET__P_GONE : 0);
    c = net__conn_at(n, low);
    if (c && net__news(c, high, why))
        net__conn_run(c, w, why);
}

void net__worker_loop(struct net__worker *w)
{
    struct net *n = w->net;

    for (;;) {
        struct epoll_event ev;
        int got;

        if (atomic_load(&n->stopping) && atomic_load(&n->n_conns) == 0) {
            net__kick(n); /* the next worker sees it too */
            return;
        }
        if (atomic_load(&n->n_runnable) > atomic_load(&n->target) && !net__pool_rest(w))
            return;
        atomic_fetch_add(&n->n_polling, 1);
        got = epoll_wait(n->ep, &ev, 1, -1);
        net__pool_picked(n);
        if (got == 1)
            on_event(n, w, &ev);
        else
            INVARIANT(got == 0 || errno == EINTR);
    }
}

static RC open_fds(struct net *n, struct err *e)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = NET__TAG_KICK };

    n->ep = epoll_create1(EPOLL_CLOEXEC);
    n->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    n->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (n->ep < 0 || n->kick < 0 || n->spare_fd < 0 ||
        epoll_ctl(n->ep, EPOLL_CTL_ADD, n->kick, &ev) != 0)
        return file_err(e, errno, "could not prepare for clients:", "epoll");
    return RC_OK;
}

RC net_new(const struct net_config *c, struct net **out, struct err *e)
{
    struct net *n = NEW(struct net);

    *out = NULL;
    INVARIANT(c->n_workers > 0 && c->max_workers >= c->n_workers && c->max_conns > 0);
    n->cfg = *c;
    n->ep = n->kick = n->spare_fd = -1;
    mutex_init(&n->slots_lock);
    mutex_init(&n->listen_lock);
    mutex_init(&n->run_lock);
    mutex_init(&n->wheel_lock);
    mutex_init(&n->pool_lock);
    cond_init(&n->none_left);
    cond_init(&n->wheel_cond);
    cond_init(&n->pool_cond);
    list_init(&n->run_queue);
    list_init(&n->workers);
    for (int i = 0; i < NET__WHEEL; i++)
        list_init(&n->wheel[i]);
    n->wheel_now = clock_mono_us() / NET__TICK_US;
    n->max_chunks = (c->max_conns + NET__CHUNK - 1) / NET__CHUNK + 1;
    n->chunks = NEW_ARRAY(struct net_conn *, (size_t)n->max_chunks);
    n->free_slots = NEW_ARRAY(uint32_t, (size_t)n->max_chunks *NET__CHUNK);
    atomic_store(&n->target, c->n_workers);
    atomic_store(&n->accepting, true);
    if (open_fds(n, e).failed) {
        net_free(n);
        return RC_FAILED;
    }
    *out = n;
    return RC_OK;
}

/* A client costs one descriptor, and the soft limit that a shell hands down is often 1024. What the hard limit does not allow is refused client by client. */
static void raise_fd_limit(const struct net *n)
{
    rlim_t want = (rlim_t)n->cfg.max_conns + FDS_BESIDE;
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur >= want)
        return;
    lim.rlim_cur = MIN(want, lim.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &lim) != 0)
        return; /* the old limit stands, and serves as well as it can */
}

RC net_start(struct net *n, struct err *e)
{
    raise_fd_limit(n);
    /* A peer that goes away while we write to it is an error of that write, not of the process. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return file_err(e, errno, "could not ignore", "SIGPIPE");
    n->timekeeper = thread_start("net-time", net__timekeeper, n);
    n->timekeeper_on = true;
    net__pool_start(n, n->cfg.n_workers);
    mutex_lock(&n->listen_lock);
    for (int i = 0; i < n->n_listeners; i++)
        net__listen_arm(n->listeners[i], /* add= */ true);
    mutex_unlock(&n->listen_lock);
    return RC_OK;
}

void net_stop_accepting(struct net *n)
{
    mutex_lock(&n->listen_lock);
    atomic_store(&n->accepting, false);
    for (int i = 0; i < n->n_listeners; i++) {
        struct epoll_event ev = { 0 };

        /* Not there before net_start(): fine. */
        if (epoll_ctl(n->ep, EPOLL_CTL_DEL, n->listeners[i]->fd, &ev) != 0)
            INVARIANT(errno == ENOENT);
    }
    mutex_unlock(&n->listen_lock);
}

void net_resume_accepting(struct net *n)
{
    mutex_lock(&n->listen_lock);
    if (!atomic_exchange(&n->accepting, true))
        for (int i = 0; i < n->n_listeners; i++)
            net__listen_arm(n->listeners[i], /* add= */ true);
    mutex_unlock(&n->listen_lock);
}

void net_end_all(struct net *n)
{
    int n_chunks;

    mutex_lock(&n->slots_lock);
    n_chunks = n->n_chunks;
    mutex_unlock(&n->slots_lock);
    for (int i = 0; i < n_chunks * NET__CHUNK; i++) {
        struct net_conn *c = net__conn_at(n, (uint32_t)i);

        if (net__news(c, atomic_load(&c->word) >> NET__GEN_SHIFT, NET__P_END))
            net__run_later(c, NET__P_END);
    }
}

bool net_drain(struct net *n, uint64_t deadline_us)
{
    bool empty;

    mutex_lock(&n->slots_lock);
    while (atomic_load(&n->n_conns) > 0)
        if (!cond_wait_until(&n->none_left, &n->slots_lock, deadline_us))
            break;
    empty = atomic_load(&n->n_conns) == 0;
    mutex_unlock(&n->slots_lock);
    return empty;
}

void net_stop(struct net *n)
{
    net_stop_accepting(n);
    atomic_store(&n->stopping, true);
    net_end_all(n);
    /* An answer that nobody reads keeps its connection until the write time-out. */
    net_drain(n, clock_mono_us() + n->cfg.write_timeout_us + 1000000);
    net__kick(n);
    net__pool_stop(n);
    if (n->timekeeper_on) {
        mutex_lock(&n->wheel_lock);
        cond_broadcast(&n->wheel_cond);
        mutex_unlock(&n->wheel_lock);
        thread_join(n->timekeeper);
        n->timekeeper_on = false;
    }
}

void net_free(struct net *n)
{
    if (!n)
        return;
    INVARIANT(n->n_threads == 0 && !n->timekeeper_on);
    for (int i = 0; i < n->n_listeners; i++) {
        struct net_listener *l = n->listeners[i];

        fd_close(l->fd);
        if (l->path[0])
            unlink(l->path);
        mem_free(l);
    }
    for (int i = 0; i < n->n_chunks; i++)
        mem_free(n->chunks[i]);
    mem_free(n->chunks);
    mem_free(n->free_slots);
    fd_close(n->ep);
    fd_close(n->kick);
    fd_close(n->spare_fd);
    mutex_fini(&n->slots_lock);
    mutex_fini(&n->listen_lock);
    mutex_fini(&n->run_lock);
    mutex_fini(&n->wheel_lock);
    mutex_fini(&n->pool_lock);
    cond_fini(&n->none_left);
    cond_fini(&n->wheel_cond);
    cond_fini(&n->pool_cond);
    mem_free(n);
}

void net_stats(const struct net *n, struct net_stats *out)
{
    *out = (struct net_stats){
        .n_conns = atomic_load(&n->n_conns),
        .n_conns_total = atomic_load(&n->total),
        .n_refused = atomic_load(&n->refused),
        .bytes_in = atomic_load(&n->bytes_in),
        .bytes_out = atomic_load(&n->bytes_out),
        .inflight_bytes = atomic_load(&n->inflight),
        .n_workers = atomic_load(&n->n_runnable) + atomic_load(&n->n_blocked),
        .n_blocked = atomic_load(&n->n_blocked),
    };
}
