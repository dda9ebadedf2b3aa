/* admin_socket.c - the administration socket: accepts, checks who asks, runs one operation a line.
 *
 * It stands apart from the data plane on purpose: no event loop, no BSON from the network, no users. It must answer when nothing else does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

enum { LISTEN_RETRY_MS = 1000 };

struct admin_server {
    int fd, wake[2]; /* fd -1: the thread has nothing to listen on yet */
    char *path;
    const struct admin_ops *ops;
    pthread_t thread;
    atomic_bool stopping;
    struct mutex lock;
    struct cond idle;
    int n_connections; /* guarded by lock */
};

struct connection {
    struct admin_server *server;
    int fd;
    char who[24]; /* of the peer, for the log */
};

static RC socket_address(const char *path, struct sockaddr_un *out, struct err *e)
{
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(out->sun_path))
        FAIL(e, ERR_CONFIG,
             "the path of the administration socket, \"%s\", is longer than %zu bytes", path,
             sizeof(out->sun_path) - 1);
    memcpy(out->sun_path, path, strlen(path));
    return RC_OK;
}

static int millis_until(uint64_t deadline_us)
{
    uint64_t now = clock_mono_us();
    return deadline_us > now ? (int)MIN((deadline_us - now) / 1000 + 1, (uint64_t)INT32_MAX) : 0;
}

/* Wait until fd is readable or the server stops; false on a time-out (0: never), a stop or an error. */
static bool wait_readable(int fd, int wake_fd, uint64_t deadline_us)
{
    struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = wake_fd, .events = POLLIN } };
    int n;
    do {
        n = poll(p, 2, deadline_us ? millis_until(deadline_us) : -1);
    } while (n < 0 && errno == EINTR);
    return n > 0 && !p[1].revents && (p[0].revents & (POLLIN | POLLHUP));
}

/* One line without its end; false when the peer left, was too slow (for the whole line) or sent too much. */
static bool read_line(int fd, int wake_fd, struct buf *pending, struct buf *line, size_t max,
                      uint64_t timeout_ms)
{
    uint64_t deadline_us = clock_mono_us() + timeout_ms * 1000;
    buf_clear(line);
    for (;;) {
        uint8_t *end = pending->len ? memchr(pending->p, '\n', pending->len) : NULL;
        if (end) {
            size_t n = (size_t)(end - pending->p);
            buf_push(line, pending->p, n);
            memmove(pending->p, end + 1, pending->len - n - 1);
            pending->len -= n + 1;
            return true;
        }
        if (pending->len >= max || !wait_readable(fd, wake_fd, deadline_us))
            return false;
        buf_reserve(pending, 4096);
        ssize_t got = recv(fd, pending->p + pending->len, 4096, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        pending->len += (size_t)got;
    }
}

/* Wait for room to write. Once the server stops (wake_fd), a peer that does not read gets ADMIN_STOP_MS more. */
static bool wait_writable(int fd, int wake_fd, uint64_t *deadline_us)
{
    struct pollfd p[2] = { { .fd = fd, .events = POLLOUT }, { .fd = wake_fd, .events = POLLIN } };
    for (;;) {
        int n = poll(p, 2, millis_until(*deadline_us));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || p[0].revents)
            return n > 0 && (p[0].revents & POLLOUT);
        *deadline_us = MIN(*deadline_us, clock_mono_us() + (uint64_t)ADMIN_STOP_MS * 1000);
        p[1].fd = -1;
    }
}

static bool send_all(int fd, int wake_fd, struct slice s)
{
    uint64_t deadline_us = clock_mono_us() + (uint64_t)ADMIN_IDLE_MS * 1000;
    while (s.len) {
        ssize_t n = send(fd, s.p, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN && wait_writable(fd, wake_fd, &deadline_us))
            continue;
        if (n <= 0)
            return false;
        s.p += n;
        s.len -= (size_t)n;
    }
    return true;
}

/* The request without the field that names the operation. */
static struct bdoc args_of(struct bdoc request, struct buf *space)
{
    struct biter it;
    struct bw w;
    bw_init(&w, space);
    biter_init(&it, request);
    while (biter_next(&it)) {
        if (!slice_eq_str(it.name, "op"))
            bw_val_slice(&w, it.name, it.val);
    }
    return bw_finish(&w);
}

static RC run_op(struct connection *c, struct arena *a, struct buf *line, struct bw *w,
                 struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct admin_caller caller = { .via = ADMIN_VIA_SOCKET, .who = c->who };
    struct bdoc request;
    TRY(bdoc_from_json(a, buf_cstr(line), &request, e));
    struct bval op = bdoc_get(request, "op");
    if (op.type != BT_STRING)
        FAIL(e, ERR_BAD_VALUE, "the request has no text field \"op\"");
    return admin_run(c->server->ops, &caller, bval_str(op), args_of(request, &space), w, e);
}

static void answer(struct connection *c, struct buf *line, struct buf *out)
{
    AUTO(arena_freep) struct arena *a = arena_new((size_t)4 << 20);
    AUTO(buf_fini) struct buf doc = BUF_INIT;
    struct err e = { 0 };
    struct bw w;
    bw_init(&w, &doc);
    bw_bool(&w, "ok", true);
    if (run_op(c, a, line, &w, &e).failed) {
        char name[24];
        buf_clear(&doc);
        bw_init(&w, &doc);
        bw_bool(&w, "ok", false);
        bw_i32(&w, "code", e.code);
        bw_str(&w, "codeName", err_code_name(e.code, name, sizeof(name)));
        bw_str(&w, "error", e.msg);
        bw_str(&w, "advice", err_advice(e.code));
        log_err(EV_ADMIN_FAILED, &e, NULL, 0);
        err_reset(&e);
    }
    bval_to_json(bval_of_doc(bw_finish(&w), BT_DOCUMENT), out);
    buf_push_u8(out, '\n');
}

static bool peer_may_administer(int fd, char *who, size_t who_len)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    snprintf(who, who_len, "uid %u", (unsigned)peer.uid);
    return peer.uid == 0 || peer.uid == geteuid();
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    struct admin_server *s = c->server;
    AUTO(buf_fini) struct buf pending = BUF_INIT;
    AUTO(buf_fini) struct buf line = BUF_INIT;
    AUTO(buf_fini) struct buf out = BUF_INIT;
    while (!atomic_load(&s->stopping) &&
           read_line(c->fd, s->wake[0], &pending, &line, ADMIN_LINE_MAX, ADMIN_IDLE_MS)) {
        buf_clear(&out);
        answer(c, &line, &out);
        if (!send_all(c->fd, s->wake[0], buf_view(&out)))
            break;
    }
    close(c->fd);
    mem_free(c);
    mutex_lock(&s->lock);
    s->n_connections--;
    cond_broadcast(&s->idle);
    mutex_unlock(&s->lock);
    return NULL;
}

static void start_connection(struct admin_server *s, int fd)
{
    mutex_lock(&s->lock);
    bool room = s->n_connections < ADMIN_CONNECTIONS_MAX;
    if (room)
        s->n_connections++;
    mutex_unlock(&s->lock);
    char who[24] = "";
    if (!room || !peer_may_administer(fd, who, sizeof(who))) {
        log_event(EV_ADMIN_REFUSED, KV_STR("why", room ? "not root and not the node's user"
                                                       : "too many connections"));
        close(fd);
        if (room) {
            mutex_lock(&s->lock);
            s->n_connections--;
            mutex_unlock(&s->lock);
        }
        return;
    }
    struct connection *c = NEW(struct connection);
    c->server = s;
    c->fd = fd;
    memcpy(c->who, who, sizeof(c->who));
    pthread_t thread;
    if (thread_try_start("admin-conn", serve, c, &thread)) {
        pthread_detach(thread);
        return;
    }
    log_event(EV_ADMIN_REFUSED, KV_STR("why", "no thread can be had"));
    close(fd);
    mem_free(c);
    mutex_lock(&s->lock);
    s->n_connections--;
    mutex_unlock(&s->lock);
}

static void *accept_loop(void *arg)
{
    struct admin_server *s = arg;
    while (!atomic_load(&s->stopping)) {
        if (!wait_readable(s->fd, s->wake[0], 0))
            continue;
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            start_connection(s, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            clock_sleep_us(100000);
    }
    return NULL;
}

static RC bind_socket(const char *path, int *out, struct err *e)
{
    struct sockaddr_un addr;
    TRY(socket_address(path, &addr, e));
    AUTO(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return file_err(e, errno, "make the socket", path);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        FAIL(e, ERR_DIRECTORY_BUSY, "another process listens on the administration socket \"%s\"",
             path);
    unlink(path);
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
    int sys = errno;
    umask(old);
    if (rc < 0)
        return file_err(e, sys, "bind", path);
    if (listen(fd, ADMIN_CONNECTIONS_MAX) < 0)
        return file_err(e, errno, "listen on", path);
    *out = fd;
    fd = -1;
    return RC_OK;
}

static struct admin_server *server_new(int fd, const char *path, const struct admin_ops *ops,
                                       void *(*run)(void *arg))
{
    struct admin_server *s = NEW(struct admin_server);
    *s = (struct admin_server){ .fd = fd, .path = mem_strdup(path), .ops = ops };
    mutex_init(&s->lock);
    cond_init(&s->idle);
    INVARIANT(pipe2(s->wake, O_CLOEXEC) == 0);
    s->thread = thread_start("admin", run, s);
    return s;
}

RC admin_listen(const char *path, const struct admin_ops *ops, struct admin_server **out,
                struct err *e)
{
    *out = NULL;
    int fd = -1;
    TRY(bind_socket(path, &fd, e));
    *out = server_new(fd, path, ops, accept_loop);
    return RC_OK;
}

/* False: the server stops. */
static bool bind_at_last(struct admin_server *s)
{
    struct err e = { 0 };
    for (bool told = false; bind_socket(s->path, &s->fd, &e).failed; told = true) {
        if (!told)
            log_err(EV_ADMIN_UNAVAILABLE, &e, NULL, 0);
        err_reset(&e);
        struct pollfd wake = { .fd = s->wake[0], .events = POLLIN };
        if (poll(&wake, 1, LISTEN_RETRY_MS) > 0)
            return false;
    }
    return true;
}

static void *listen_and_accept(void *arg)
{
    return bind_at_last(arg) ? accept_loop(arg) : NULL;
}

struct admin_server *admin_listen_patiently(const char *path, const struct admin_ops *ops)
{
    return server_new(-1, path, ops, listen_and_accept);
}

void admin_close(struct admin_server *s)
{
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    /* The byte is never read: every waiter sees it. */
    INVARIANT(write(s->wake[1], "x", 1) == 1);
    thread_join(s->thread);
    mutex_lock(&s->lock);
    while (s->n_connections)
        cond_wait(&s->idle, &s->lock);
    mutex_unlock(&s->lock);
    if (s->fd >= 0) {
        unlink(s->path);
        close(s->fd);
    }
    close(s->wake[0]);
    close(s->wake[1]);
    cond_fini(&s->idle);
    mutex_fini(&s->lock);
    mem_free(s->path);
    mem_free(s);
}

/* The answer's own error, as an error of ours. */
static RC raise_answer(struct bdoc d, struct err *e)
{
    struct bval ok = bdoc_get(d, "ok");
    if (ok.type == BT_BOOL && bval_bool(ok))
        return RC_OK;
    int64_t code;
    struct bval text = bdoc_get(d, "error");
    if (!bval_to_i64(bdoc_get(d, "code"), &code))
        code = ERR_INTERNAL;
    struct slice t =
        text.type == BT_STRING ? bval_str(text) : SLICE_LIT("the node answered without a reason");
    FAIL(e, (enum err_code)code, "%.*s", (int)t.len, (const char *)t.p);
}

enum { CONNECT_AGAIN_US = 20000 };

/* Until somebody listens, or patience is over. The file is missing (ENOENT) or is nobody's any more (ECONNREFUSED) while a node replaces its image. */
static RC connect_to(const char *path, uint64_t patience_ms, int *out, struct err *e)
{
    uint64_t deadline = clock_mono_us() + patience_ms * 1000;
    struct sockaddr_un addr;
    *out = -1;
    TRY(socket_address(path, &addr, e));
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return file_err(e, errno, "make the socket", path);
        if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
            *out = fd;
            return RC_OK;
        }
        int sys = errno;
        fd_close(fd);
        if ((sys != ENOENT && sys != ECONNREFUSED) || clock_mono_us() >= deadline)
            FAIL(e, ERR_NOT_FOUND, "no node listens on \"%s\": %s", path, strerror(sys));
        clock_sleep_us(CONNECT_AGAIN_US);
    }
}

RC admin_call(const char *path, struct bdoc request, uint64_t timeout_ms, struct arena *a,
              struct bdoc *out, struct err *e)
{
    return admin_call_patiently(path, request, timeout_ms, /* patience_ms= */ 0, a, out, e);
}

RC admin_call_patiently(const char *path, struct bdoc request, uint64_t timeout_ms,
                        uint64_t patience_ms, struct arena *a, struct bdoc *out, struct err *e)
{
    AUTO(fd_closep) int fd = -1;
    *out = BDOC_EMPTY;
    TRY(connect_to(path, patience_ms, &fd, e));
    AUTO(buf_fini) struct buf text = BUF_INIT;
    bval_to_json(bval_of_doc(request, BT_DOCUMENT), &text);
    buf_push_u8(&text, '\n');
    AUTO(buf_fini) struct buf pending = BUF_INIT;
    AUTO(buf_fini) struct buf line = BUF_INIT;
    if (!send_all(fd, -1, buf_view(&text)))
        FAIL(e, ERR_IO, "the node on \"%s\" closed the connection", path);
    if (!read_line(fd, -1, &pending, &line, ADMIN_ANSWER_MAX, timeout_ms))
        FAIL(e, ERR_TIMEOUT, "the node on \"%s\" did not answer", path);
    TRY(bdoc_from_json(a, buf_cstr(&line), out, e));
    return raise_answer(*out, e);
}
