/* http_server.c - the life of a server: socket, libmicrohttpd's callbacks, workers, orderly stop.
 *
 *   first callback      headers are here: route it, refuse what can be refused now
 *   with upload data    collect the body, at most max_body; past that answer, and end the connection (http_cut.c)
 *   final callback      suspend the connection, queue the request, a worker runs the handler and resumes it
 *   once more           queue the answer; PHASE_ANSWERED
 *   completed           everything of the request is wiped and released
 *
 * A refused request that carries a body is answered at once and its connection ends, so that nothing of the body is ever
 * read as a next request; the rest of it is thrown away for a while first, so that the client gets to read the answer (http_linger.c).
 * One without a body is answered at its end: the connection stays open, which a client that is challenged with 401 relies on.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "http_priv.h"

/* What a client may send in vain and still read why. */
enum { LINGER_BYTES = 16 << 20, LINGER_MS = 30000, LINGER_QUIET_MS = 5000 };

static size_t keep_undecoded(void *cls, struct MHD_Connection *conn, char *s)
{
    (void)cls;
    (void)conn;
    return strlen(s);
}

/* libmicrohttpd reports what clients did wrong; nobody has to act on that. */
static void drop_message(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    (void)fmt;
    (void)ap;
}

static void wipe_body(void *p)
{
    struct buf *b = p;

    buf_wipe(b);
    mem_free(b);
}

/* Hands the reply to libmicrohttpd. The body moves into the response, which wipes it. */
static enum MHD_Result send_reply(struct http_request *q, bool close_after)
{
    struct http_reply *r = &q->reply;
    struct buf *body = NEW(struct buf);

    *body = r->body;
    r->body = BUF_INIT;
    struct MHD_Response *resp =
        MHD_create_response_from_buffer_with_free_callback_cls(body->len, body->p, wipe_body, body);
    if (!resp) {
        wipe_body(body);
        return MHD_NO;
    }
    if (r->content_type)
        MHD_add_response_header(resp, "Content-Type", r->content_type);
    MHD_add_response_header(resp, "Cache-Control", "no-store");
    MHD_add_response_header(resp, "X-Content-Type-Options", "nosniff");
    if (close_after)
        MHD_add_response_header(resp, "Connection", "close");
    for (int i = 0; i < r->n_headers; i++)
        MHD_add_response_header(resp, r->headers[i].name, r->headers[i].value);
    enum MHD_Result rc = MHD_queue_response(q->conn, (unsigned)r->status, resp);
    MHD_destroy_response(resp);
    q->phase = PHASE_ANSWERED;
    return rc;
}

/* The connection's socket is kept until its client has had time to read the answer. */
static void linger(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_connection *c = i ? i->socket_context : NULL;

    if (c)
        c->unread = true;
}

/* libmicrohttpd has sent all that it will and is about to close its descriptor: ours keeps the socket. */
static void on_connection(void *cls, struct MHD_Connection *conn, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *slot = NEW(struct http_connection);
        return;
    }
    struct http_connection *c = *slot;
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    int fd = c && c->unread && i ? fcntl(i->connect_fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd >= 0)
        http__linger_add(s->linger, fd);
    mem_free(c);
    *slot = NULL;
}

struct framing {
    int lengths, codings, hosts;
    bool chunked;
};

static enum MHD_Result count_framing(void *arg, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct framing *f = arg;

    (void)kind;
    f->lengths += strcasecmp(name, "Content-Length") == 0;
    f->hosts += strcasecmp(name, "Host") == 0;
    if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->codings++;
        f->chunked = value && strcasecmp(value, "chunked") == 0;
    }
    return MHD_YES;
}

/* RFC 9112 3.2, 6.1, 6.3: what two readers could take for two different requests is refused. libmicrohttpd reads the first of each. */
static const char *ambiguous(struct MHD_Connection *conn)
{
    struct framing f = { 0 };

    MHD_get_connection_values(conn, MHD_HEADER_KIND, count_framing, &f);
    if (f.hosts > 1)
        return "the request names more than one host";
    if (f.lengths > 1 || (f.lengths && f.codings))
        return "the request says its length more than once";
    if (f.codings > 1 || (f.codings && !f.chunked))
        return "the only transfer coding is chunked";
    return NULL;
}

static bool announces_body(struct MHD_Connection *conn, uint64_t *len)
{
    const char *cl = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Content-Length");

    *len = 0;
    if (MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Transfer-Encoding"))
        return true;
    if (!cl)
        return false;
    *len = strtoull(cl, NULL, 10); /* libmicrohttpd has refused what is not a number */
    return *len > 0;
}

static enum MHD_Result first_callback(struct http_server *s, struct MHD_Connection *conn,
                                      const char *url, const char *method, void **slot)
{
    struct http_request *q = http__request_new(s, conn, url);
    uint64_t len;

    *slot = q;
    mutex_lock(&s->lock);
    s->n_live++;
    bool stopping = s->stopping;
    mutex_unlock(&s->lock);

    http__route(q, method);
    q->has_body = announces_body(conn, &len);
    if (!q->refusal && (q->refusal_why = ambiguous(conn)) != NULL) {
        q->refusal = 400;
        q->has_body |= len == 0; /* nobody knows where it ends: the connection does */
    }
    if (q->has_body && !q->refusal && q->site->max_body)
        q->max_body = q->site->max_body(q);
    if (q->max_body == 0)
        q->max_body = s->max_body;
    if (stopping && !q->refusal) {
        q->refusal = 503;
        q->refusal_why = "the server is stopping";
    }
    if (len > q->max_body && !q->refusal) {
        q->refusal = 413;
        q->refusal_why = "the request body is too large";
    }
    if (q->refusal && q->has_body) {
        http__refuse(q, q->refusal, q->refusal_why);
        linger(conn);
        return send_reply(q, true);
    }
    return MHD_YES;
}

/* Only a body that had announced no length can be too large here. */
static enum MHD_Result body_callback(struct http_request *q, const char *data, size_t *len)
{
    if (*len > q->max_body - q->body.len) {
        http__refuse(q, 413, "the request body is too large");
        http__cut(q);
        linger(q->conn);
        return MHD_NO;
    }
    if (!q->body.cap)
        /* growing would leave copies behind */
        buf_reserve(&q->body, MIN(q->max_body, (size_t)16384));
    buf_push(&q->body, data, *len);
    *len = 0;
    return MHD_YES;
}

static enum MHD_Result final_callback(struct http_server *s, struct http_request *q)
{
    if (q->refusal) {
        http__refuse(q, q->refusal, q->refusal_why);
        return send_reply(q, false);
    }
    /* Suspend first: a quick worker may resume the connection before this function returns. */
    MHD_suspend_connection(q->conn);
    mutex_lock(&s->lock);
    bool full = s->n_queued >= s->max_queued || s->stopping;
    if (!full) {
        q->phase = PHASE_WORKING;
        list_push_back(&s->queue, &q->queued);
        s->n_queued++;
        cond_signal(&s->work);
    }
    mutex_unlock(&s->lock);
    if (full) {
        http__refuse(q, 503, "the server is busy");
        http_reply_header(&q->reply, "Retry-After", "1");
        q->phase = PHASE_DONE;
        MHD_resume_connection(q->conn);
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **slot)
{
    struct http_server *s = cls;
    struct http_request *q = *slot;

    (void)version;
    if (!q)
        return first_callback(s, conn, url, method, slot);
    INVARIANT(q->magic == HTTP_REQUEST_MAGIC);
    if (q->phase == PHASE_DONE)
        return send_reply(q, false);
    if (q->phase != PHASE_BODY)
        return MHD_YES;
    if (*len > 0)
        return body_callback(q, data, len);
    return final_callback(s, q);
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **slot,
                         enum MHD_RequestTerminationCode why)
{
    struct http_server *s = cls;
    struct http_request *q = *slot;

    (void)conn;
    (void)why;
    if (!q)
        return;
    *slot = NULL;
    http__request_free(q);
    mutex_lock(&s->lock);
    s->n_live--;
    cond_broadcast(&s->idle);
    mutex_unlock(&s->lock);
}

static void *worker(void *arg)
{
    struct http_server *s = arg;

    mutex_lock(&s->lock);
    for (;;) {
        while (list_empty(&s->queue) && !s->stopping)
            cond_wait(&s->work, &s->lock);
        if (list_empty(&s->queue))
            break;
        struct http_request *q = CONTAINER_OF(s->queue.next, struct http_request, queued);
        list_remove(&q->queued);
        s->n_queued--;
        mutex_unlock(&s->lock);

        q->route->fn(q, &q->reply);
        if (q->reply.status == 0)
            http__refuse(q, 500, "the request was not answered");
        q->phase = PHASE_DONE;
        MHD_resume_connection(q->conn);
        mutex_lock(&s->lock);
    }
    mutex_unlock(&s->lock);
    return NULL;
}

static RC open_socket(struct http_server *s, const struct http_server_config *c, struct err *e)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(c->port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(c->port) };
    bool is_v6 = strchr(c->address, ':') != NULL;
    struct sockaddr *sa = is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    socklen_t len = is_v6 ? sizeof v6 : sizeof v4;
    int on = 1;

    if (inet_pton(is_v6 ? AF_INET6 : AF_INET, c->address,
                  is_v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) != 1)
        FAIL(e, ERR_CONFIG, "\"%s\" is not a numeric address", c->address);
    s->listen_fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0)
        return file_err(e, errno, "could not open a socket for", c->address);
    (void)setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s->listen_fd, sa, len) != 0 || listen(s->listen_fd, 128) != 0) {
        int sys = errno;
        FAIL(e, ERR_IO, "could not listen on %s port %u: %s", c->address, c->port, strerror(sys));
    }
    if (getsockname(s->listen_fd, sa, &len) != 0)
        return file_err(e, errno, "could not examine the socket of", c->address);
    s->port = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
    return RC_OK;
}

static RC start_daemon(struct http_server *s, const struct http_server_config *c, struct err *e)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {
        { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)c->cert_pem },
        { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)c->key_pem },
        { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2" },
        { MHD_OPTION_END, 0, NULL },
    };
    struct MHD_OptionItem none[] = { { MHD_OPTION_END, 0, NULL } };

    if (s->tls)
        flags |= MHD_USE_TLS;
    s->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER,
                         drop_message, NULL, MHD_OPTION_LISTEN_SOCKET, s->listen_fd,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
                         on_connection, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_undecoded, NULL,
                         MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         c->connection_memory ? c->connection_memory : (size_t)32768,
                         MHD_OPTION_CONNECTION_LIMIT,
                         c->max_connections ? c->max_connections : 256u,
                         MHD_OPTION_CONNECTION_TIMEOUT, c->idle_timeout_s ? c->idle_timeout_s : 30u,
                         MHD_OPTION_ARRAY, s->tls ? tls : none, MHD_OPTION_END);
    if (!s->daemon)
        FAIL(e, ERR_CONFIG,
             s->tls ? "could not start the HTTPS server: is the certificate's key the right one?"
                    : "could not start the HTTP server");
    return RC_OK;
}

RC http_server_start(const struct http_server_config *c, struct http_server **out, struct err *e)
{
    *out = NULL;
    if (!c->cert_pem != !c->key_pem)
        FAIL(e, ERR_CONFIG, "a certificate and its key belong together");
    struct http_server *s = NEW(struct http_server);
    s->sites = c->sites;
    s->n_sites = c->n_sites;
    s->max_body = c->max_body ? c->max_body : 65536;
    s->max_queued = c->max_queued ? c->max_queued : 128;
    s->tls = c->cert_pem != NULL;
    s->listen_fd = -1;
    mutex_init(&s->lock);
    cond_init(&s->work);
    cond_init(&s->idle);
    list_init(&s->queue);
    struct http_linger_bounds bounds = {
        .ms = c->linger_ms ? c->linger_ms : (unsigned)LINGER_MS,
        .quiet_ms = c->linger_quiet_ms ? c->linger_quiet_ms : (unsigned)LINGER_QUIET_MS,
        .bytes = c->linger_bytes ? c->linger_bytes : (size_t)LINGER_BYTES,
    };
    if (open_socket(s, c, e).failed || http__linger_new(&bounds, &s->linger, e).failed ||
        start_daemon(s, c, e).failed) {
        fd_close(s->listen_fd);
        s->listen_fd = -1;
        http_server_stop(s, 0);
        return RC_FAILED;
    }
    s->n_workers = c->workers ? c->workers : 4;
    s->workers = NEW_ARRAY(pthread_t, s->n_workers);
    for (unsigned i = 0; i < s->n_workers; i++)
        s->workers[i] = thread_start("http-worker", worker, s);
    *out = s;
    return RC_OK;
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

void http_server_stop(struct http_server *s, unsigned grace_ms)
{
    if (!s)
        return;
    if (s->daemon) {
        int fd = MHD_quiesce_daemon(s->daemon);
        uint64_t deadline = clock_mono_us() + (uint64_t)grace_ms * 1000;
        mutex_lock(&s->lock);
        while (s->n_live > 0)
            if (!cond_wait_until(&s->idle, &s->lock, deadline))
                break;
        s->stopping = true;
        cond_broadcast(&s->work);
        mutex_unlock(&s->lock);
        /* Workers finish what is queued and resume each connection: none is suspended when the daemon stops. */
        for (unsigned i = 0; i < s->n_workers; i++)
            thread_join(s->workers[i]);
        MHD_stop_daemon(s->daemon);
        fd_close(fd);
    }
    http__linger_free(s->linger); /* the daemon handed it sockets until it had stopped */
    mem_free(s->workers);
    cond_fini(&s->work);
    cond_fini(&s->idle);
    mutex_fini(&s->lock);
    mem_free(s);
}
