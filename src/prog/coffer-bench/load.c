/* load.c - a thread owns its connections and an epoll; a connection sends a request, reads the whole reply, checks it, sends the next.
 *
 * Latency is from just before the request is written to just after the reply was read whole. Nothing is pipelined.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"

enum { OP_MSG = 2013, HEADER_LEN = 16, REPLY_MAX = 48000000 };

struct conn {
    int fd;
    struct buf out, in;
    size_t sent;
    uint64_t start_us;
    int64_t done;
    struct workload_state state;
};

struct worker {
    const struct load_config *c;
    struct conn *conns;
    int n;
    uint64_t count_from_us, stop_us;
    struct load_result result;
    struct err err;
    bool failed;
    pthread_t thread;
};

static RC connect_to(const struct load_config *c, int *out, struct err *e)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)c->port) };
    if (inet_pton(AF_INET, c->host, &addr.sin_addr) != 1)
        FAIL(e, ERR_CONFIG, "\"%s\" is not an IPv4 address", c->host);
    AUTO(fd_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        FAIL(e, ERR_HOST_UNREACHABLE, "could not connect to %s:%d: %s", c->host, c->port,
             strerror(errno));
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    *out = fd;
    fd = -1;
    return RC_OK;
}

static void start_request(struct conn *k, const struct workload *work)
{
    buf_clear(&k->out);
    buf_extend(&k->out, HEADER_LEN);
    buf_push_le32(&k->out, 0); /* flags */
    buf_push_u8(&k->out, 0);   /* section of kind 0 */
    struct bw w;
    bw_init(&w, &k->out);
    k->state.asked = 0;
    work->build(&k->state, &w);
    bw_finish(&w);
    put_le32(k->out.p, (uint32_t)k->out.len);
    put_le32(k->out.p + 4, (uint32_t)k->done + 1);
    put_le32(k->out.p + 8, 0);
    put_le32(k->out.p + 12, OP_MSG);
    k->sent = 0;
    buf_clear(&k->in);
    k->start_us = clock_mono_us();
}

/* Send what is left; true when nothing is. */
static bool push_out(struct conn *k, bool *broken)
{
    while (k->sent < k->out.len) {
        ssize_t n = send(k->fd, k->out.p + k->sent, k->out.len - k->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0) {
            *broken = true;
            return false;
        }
        k->sent += (size_t)n;
    }
    return true;
}

/* Read what is there; true when a whole reply is. */
static bool pull_in(struct conn *k, bool *broken)
{
    for (;;) {
        size_t want = k->in.len < HEADER_LEN ? HEADER_LEN : get_le32(k->in.p);
        if (k->in.len >= HEADER_LEN && (want < HEADER_LEN + 5 || want > REPLY_MAX)) {
            *broken = true;
            return false;
        }
        if (k->in.len >= HEADER_LEN && k->in.len == want)
            return true;
        buf_reserve(&k->in, 65536);
        size_t room = k->in.len < HEADER_LEN ? 65536 : MIN(want - k->in.len, k->in.cap - k->in.len);
        ssize_t n = recv(k->fd, k->in.p + k->in.len, room, 0);
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0) {
            *broken = true;
            return false;
        }
        k->in.len += (size_t)n;
    }
}

static RC check_reply(struct worker *w, struct conn *k, struct err *e)
{
    struct bdoc reply;
    if (get_le32(k->in.p + 12) != OP_MSG || k->in.p[20] != 0)
        FAIL(e, ERR_OPERATION_FAILED, "the reply is not an OP_MSG with a body");
    TRY(bdoc_validate(k->in.p + 21, k->in.len - 21, 200, &reply, e));
    if (!w->c->work->check(&k->state, reply)) {
        struct bval text = bdoc_get(reply, "errmsg");
        struct slice t =
            text.type == BT_STRING ? bval_str(text) : SLICE_LIT("other content than asked for");
        FAIL(e, ERR_OPERATION_FAILED, "%s: the reply is wrong: %.*s", w->c->work->name, (int)t.len,
             (const char *)t.p);
    }
    return RC_OK;
}

static void arm(int ep, struct conn *k, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.ptr = k };
    INVARIANT(epoll_ctl(ep, EPOLL_CTL_MOD, k->fd, &ev) == 0);
}

/* One event of a connection: *active drops when it has done its share. */
static RC step(struct worker *w, int ep, struct conn *k, int *active, struct err *e)
{
    bool broken = false;
    if (k->sent < k->out.len && !push_out(k, &broken)) {
        if (broken)
            FAIL(e, ERR_HOST_UNREACHABLE, "the server closed a connection");
        arm(ep, k, EPOLLOUT);
        return RC_OK;
    }
    if (!pull_in(k, &broken)) {
        if (broken)
            FAIL(e, ERR_HOST_UNREACHABLE, "the server closed a connection");
        arm(ep, k, EPOLLIN);
        return RC_OK;
    }
    uint64_t now = clock_mono_us();
    TRY(check_reply(w, k, e));
    k->done++;
    if (now >= w->count_from_us && now < w->stop_us) {
        histogram_add(&w->result.latency, now - k->start_us);
        w->result.requests++;
        w->result.documents += (uint64_t)k->state.asked;
    }
    if (now >= w->stop_us || (w->c->max_requests && k->done >= w->c->max_requests)) {
        (*active)--;
        return RC_OK;
    }
    start_request(k, w->c->work);
    if (!push_out(k, &broken) && !broken) {
        arm(ep, k, EPOLLOUT);
        return RC_OK;
    }
    arm(ep, k, EPOLLIN);
    return RC_OK;
}

static RC drive(struct worker *w, struct err *e)
{
    AUTO(fd_closep) int ep = epoll_create1(EPOLL_CLOEXEC);
    INVARIANT(ep >= 0);
    int active = w->n;
    for (int i = 0; i < w->n; i++) {
        struct conn *k = &w->conns[i];
        INVARIANT(fcntl(k->fd, F_SETFL, O_NONBLOCK) == 0);
        struct epoll_event ev = { .events = EPOLLOUT, .data.ptr = k };
        INVARIANT(epoll_ctl(ep, EPOLL_CTL_ADD, k->fd, &ev) == 0);
        start_request(k, w->c->work);
    }
    while (active > 0) {
        struct epoll_event evs[64];
        int n = epoll_wait(ep, evs, 64, 30000);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            FAIL(e, ERR_TIMEOUT, "no reply for 30 seconds");
        for (int i = 0; i < n; i++)
            TRY(step(w, ep, evs[i].data.ptr, &active, e));
    }
    return RC_OK;
}

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    w->failed = drive(w, &w->err).failed;
    return NULL;
}

static RC open_connections(const struct load_config *c, struct conn *conns, struct err *e)
{
    for (int i = 0; i < c->connections; i++) {
        conns[i].fd = -1;
        TRY(connect_to(c, &conns[i].fd, e));
        conns[i].state = (struct workload_state){
            .seed = 0x2545f4914f6cdd1du * (uint64_t)(i + 1),
            .n_docs = c->n_docs,
            .next_id = c->first_id + ((int64_t)i << 40),
        };
    }
    return RC_OK;
}

static RC run_workers(const struct load_config *c, struct conn *conns, struct load_result *out,
                      struct err *e)
{
    int n_workers = MIN(c->threads, c->connections);
    struct worker *workers = NEW_ARRAY(struct worker, (size_t)n_workers);
    uint64_t begin = clock_mono_us();
    for (int t = 0, at = 0; t < n_workers; t++) {
        struct worker *w = &workers[t];
        w->c = c;
        w->conns = conns + at;
        w->n = c->connections / n_workers + (t < c->connections % n_workers);
        at += w->n;
        w->count_from_us = begin + c->warm_us;
        w->stop_us = c->max_requests ? UINT64_MAX : begin + c->warm_us + c->run_us;
        w->thread = thread_start("load", run_worker, w);
    }
    bool failed = false;
    for (int t = 0; t < n_workers; t++) {
        struct worker *w = &workers[t];
        thread_join(w->thread);
        histogram_merge(&out->latency, &w->result.latency);
        out->requests += w->result.requests;
        out->documents += w->result.documents;
        if (w->failed && !failed) {
            *e = w->err;
            failed = true;
        }
    }
    uint64_t end = clock_mono_us();
    out->seconds = (double)(c->max_requests ? end - begin : c->run_us) / 1e6;
    mem_free(workers);
    return failed ? RC_FAILED : RC_OK;
}

RC load_run(const struct load_config *c, struct load_result *out, struct err *e)
{
    *out = (struct load_result){ 0 };
    struct conn *conns = NEW_ARRAY(struct conn, (size_t)c->connections);
    int *idle = NEW_ARRAY(int, (size_t)c->idle_connections + 1);
    for (int i = 0; i < c->connections; i++)
        conns[i].fd = -1;
    rc_t rc = open_connections(c, conns, e);
    int n_idle = 0;
    for (; !rc.failed && n_idle < c->idle_connections; n_idle++)
        rc = connect_to(c, &idle[n_idle], e);
    if (!rc.failed)
        rc = run_workers(c, conns, out, e);
    for (int i = 0; i < c->connections; i++) {
        fd_close(conns[i].fd);
        buf_fini(&conns[i].out);
        buf_fini(&conns[i].in);
    }
    for (int i = 0; i < n_idle; i++)
        fd_close(idle[i]);
    mem_free(idle);
    mem_free(conns);
    return rc;
}
