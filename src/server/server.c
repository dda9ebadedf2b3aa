/* server.c - the server's life: making it, listening, ending its clients. */
#include "server_priv.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "identity/identity.h"

void server_config_init(struct server_config *c)
{
    *c = (struct server_config){
        .max_workers = 256,
        .max_connections = 65536,
        .max_inflight_bytes = (int64_t)1 << 30,
        .request_memory_bytes = (int64_t)256 << 20,
        .handshake_timeout_us = 10 * 1000000,
        .message_timeout_us = 30 * 1000000,
        .write_timeout_us = 60 * 1000000,
    };
}

/* ---- connections ---- */

static bool may_serve_others(const struct server *s)
{
    return s->cfg.tls && identity_auth_on(s->cfg.identity);
}

static RC on_opened(void *arg, struct net_conn *nc, void **user, struct err *e)
{
    struct server *s = arg;
    struct server__conn *c;
    struct cmd_client_config cc = {
        .identity = s->cfg.identity,
        .transport = net_conn_is_unix(nc)   ? CLIENT_UNIX
                     : net_conn_has_tls(nc) ? CLIENT_TLS
                                            : CLIENT_TCP,
        .loopback = net_conn_is_loopback(nc),
        .peer = net_conn_peer(nc),
    };

    if (!cc.loopback && !may_serve_others(s)) {
        metric_add(M_CONNECTIONS_REFUSED, 1);
        FAIL(e, ERR_UNAUTHORIZED,
             "clients from other machines need authentication and TLS to be on");
    }
    cc.id = (int32_t)((unsigned)atomic_fetch_add(&s->next_client_id, 1) & 0x7fffffff);
    c = NEW(struct server__conn);
    c->magic = SERVER__CONN_MAGIC;
    c->s = s;
    c->ref = net_conn_ref(nc);
    c->client = cmd_client_new(&cc);
    list_init(&c->park);
    mutex_lock(&s->conns_lock);
    list_push_back(&s->conns, &c->link);
    mutex_unlock(&s->conns_lock);
    metric_add(M_CONNECTIONS_CURRENT, 1);
    metric_add(M_CONNECTIONS_AVAILABLE, -1);
    metric_add(M_CONNECTIONS_TOTAL, 1);
    if (!atomic_load_explicit(&s->cfg.node->p.quiet, memory_order_relaxed))
        log_event(EV_CLIENT_CONNECTED, KV_STR("peer", c->client->peer),
                  KV_I64("connection", c->client->id));
    *user = c;
    return RC_OK;
}

static void on_closed(struct net_conn *nc, const struct err *e)
{
    struct server__conn *c = server__conn_of(nc);
    struct server *s = c->s;

    server__unpark(c);
    mutex_lock(&s->conns_lock);
    list_remove(&c->link);
    mutex_unlock(&s->conns_lock);
    metric_add(M_CONNECTIONS_CURRENT, -1);
    metric_add(M_CONNECTIONS_AVAILABLE, 1);
    if (!atomic_load_explicit(&s->cfg.node->p.quiet, memory_order_relaxed))
        log_event(EV_CLIENT_GONE, KV_STR("peer", c->client->peer),
                  KV_I64("connection", c->client->id), KV_STR("reason", e ? e->msg : "closed"));
    node_client_gone(s->cfg.node, c->client);
    cmd_client_free(c->client);
    buf_fini(&c->request);
    c->magic = 0;
    mem_free(c);
}

static RC on_frame(struct net_conn *nc, struct slice have, size_t *need, struct err *e)
{
    (void)nc;
    return wire_frame(have, WIRE_MAX_MESSAGE, need, e);
}

static void *worker_new(void *arg)
{
    struct server *s = arg;
    struct server__worker *w = NEW(struct server__worker);

    w->arena = arena_new((size_t)s->cfg.request_memory_bytes);
    w->scratch = arena_new((size_t)s->cfg.request_memory_bytes);
    w->codec = wire_codec_new();
    return w;
}

static void worker_free(void *arg, void *worker)
{
    struct server__worker *w = worker;

    (void)arg;
    arena_free(w->arena);
    arena_free(w->scratch);
    wire_codec_free(w->codec);
    mem_free(w);
}

/* ---- life ---- */

RC server_new(const struct server_config *c, struct server **out, struct err *e)
{
    struct server *s = NEW(struct server);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int workers = c->workers > 0 ? c->workers : (int)(cpus > 0 ? 2 * cpus : 4);
    struct net_config nc = {
        .n_workers = workers,
        .max_workers = MAX(workers, c->max_workers),
        .max_conns = c->max_connections,
        .max_inflight_bytes = c->max_inflight_bytes,
        .handshake_timeout_us = c->handshake_timeout_us,
        .message_timeout_us = c->message_timeout_us,
        .write_timeout_us = c->write_timeout_us,
        .idle_timeout_us = c->idle_timeout_us,
        .worker_new = worker_new,
        .worker_free = worker_free,
        .worker_arg = s,
    };

    *out = NULL;
    s->cfg = *c;
    s->proto = (struct net_proto){ .opened = on_opened,
                                   .frame = on_frame,
                                   .message = server__message,
                                   .wake = server__wake,
                                   .closed = on_closed,
                                   .arg = s };
    mutex_init(&s->conns_lock);
    mutex_init(&s->park_lock);
    mutex_init(&s->watch_lock);
    cond_init(&s->watch_cond);
    list_init(&s->conns);
    for (int i = 0; i < SERVER__PARK_NR; i++)
        list_init(&s->parked[i]);
    atomic_store(&s->next_client_id, 1);
    atomic_store(&s->next_reply_id, 1);
    if (net_new(&nc, &s->net, e).failed) {
        server_free(s);
        return RC_FAILED;
    }
    metric_set(M_CONNECTIONS_AVAILABLE, c->max_connections);
    cmd_client_set_signal_fn(server__signal, s);
    *out = s;
    return RC_OK;
}

/* Every address that host stands for is this machine's loopback. */
static bool is_loopback_name(const char *host)
{
    struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *list, *ai;
    bool yes = true;

    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return true; /* listening will say what is wrong */
    for (ai = list; ai; ai = ai->ai_next) {
        if (ai->ai_family == AF_INET)
            yes &= (ntohl(((struct sockaddr_in *)ai->ai_addr)->sin_addr.s_addr) >> 24) == 127;
        else if (ai->ai_family == AF_INET6)
            yes &= IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)ai->ai_addr)->sin6_addr);
        else
            yes = false;
    }
    freeaddrinfo(list);
    return yes;
}

static RC listen_one(struct server *s, const char *host, int *port, struct err *e)
{
    struct net_listener *l;

    if (!may_serve_others(s) && !is_loopback_name(host))
        FAIL(
            e, ERR_CONFIG,
            "cannot listen on \"%s\": addresses other than loopback need authentication and TLS to be on",
            host);
    if (s->n_listeners == SERVER__LISTENERS)
        FAIL(e, ERR_CONFIG, "more than %d addresses to listen on", SERVER__LISTENERS);
    TRY(net_listen_tcp(s->net, host, *port, s->cfg.tls, &s->proto, &l, e));
    *port = net_listener_port(l);
    s->listeners[s->n_listeners++] = l;
    return RC_OK;
}

RC server_listen(struct server *s, const char *hosts, int port, struct err *e)
{
    AUTO(mem_freep) char *list = mem_strdup(hosts);
    char *rest = list, *host;
    int n = 0;

    while ((host = strsep(&rest, ",")) != NULL) {
        host += strspn(host, " ");
        host[strcspn(host, " ")] = 0;
        if (!*host)
            continue;
        TRY(listen_one(s, host, &port, e));
        n++;
    }
    if (n == 0)
        FAIL(e, ERR_CONFIG, "no address to listen on");
    return RC_OK;
}

RC server_listen_unix(struct server *s, const char *path, struct err *e)
{
    struct net_listener *l;

    return net_listen_unix(s->net, path, 0700, &s->proto, &l, e);
}

RC server_adopt(struct server *s, int fd, struct err *e)
{
    struct net_listener *l;

    if (s->n_listeners == SERVER__LISTENERS)
        FAIL(e, ERR_CONFIG, "more than %d addresses to listen on", SERVER__LISTENERS);
    TRY(net_listen_fd(s->net, fd, s->cfg.tls, &s->proto, &l, e));
    s->listeners[s->n_listeners++] = l;
    return RC_OK;
}

int server_port(const struct server *s)
{
    for (int i = 0; i < s->n_listeners; i++)
        if (net_listener_port(s->listeners[i]))
            return net_listener_port(s->listeners[i]);
    return 0;
}

int server_listener_fds(const struct server *s, int *fds, int max)
{
    for (int i = 0; i < s->n_listeners && i < max; i++)
        fds[i] = net_listener_fd(s->listeners[i]);
    return s->n_listeners;
}

RC server_start(struct server *s, struct err *e)
{
    TRY(net_start(s->net, e));
    server__watch_start(s);
    return RC_OK;
}

static void interrupt_all(struct server *s, enum err_code code)
{
    mutex_lock(&s->conns_lock);
    LIST_FOR(it, &s->conns)
        atomic_store(&CONTAINER_OF(it, struct server__conn, link)->client->interrupt, (int)code);
    mutex_unlock(&s->conns_lock);
}

bool server_end_clients(struct server *s, uint64_t deadline_us)
{
    atomic_store(&s->ending, ERR_CLUSTER_INACCESSIBLE);
    net_stop_accepting(s->net);
    interrupt_all(s, ERR_CLUSTER_INACCESSIBLE);
    net_end_all(s->net);
    return net_drain(s->net, deadline_us);
}

void server_resume(struct server *s)
{
    atomic_store(&s->ending, 0);
    net_resume_accepting(s->net);
}

void server_stop(struct server *s, uint64_t deadline_us)
{
    net_stop_accepting(s->net);
    atomic_store(&s->ending, ERR_INTERRUPTED_AT_SHUTDOWN);
    net_end_all(s->net); /* idle and waiting ones go now, running ones after their reply */
    if (!net_drain(s->net, deadline_us))
        interrupt_all(s, ERR_INTERRUPTED_AT_SHUTDOWN);
    net_stop(s->net);
    server__watch_stop(s);
    cmd_client_set_signal_fn(NULL, NULL);
}

void server_free(struct server *s)
{
    if (!s)
        return;
    net_free(s->net);
    mutex_fini(&s->conns_lock);
    mutex_fini(&s->park_lock);
    cond_fini(&s->watch_cond);
    mutex_fini(&s->watch_lock);
    mem_free(s);
}

/* ---- how commands see us ---- */

static void ops_stats(void *ctx, struct node_net_stats *out)
{
    struct server *s = ctx;
    struct net_stats st;

    net_stats(s->net, &st);
    metric_set(M_NET_BYTES_IN, st.bytes_in);
    metric_set(M_NET_BYTES_OUT, st.bytes_out);
    *out = (struct node_net_stats){
        .current = st.n_conns,
        .available = s->cfg.max_connections - st.n_conns,
        .total_created = st.n_conns_total,
        .bytes_in = st.bytes_in,
        .bytes_out = st.bytes_out,
        .n_requests = metric_get(M_NET_REQUESTS),
    };
}

static void ops_shutdown(void *ctx)
{
    struct server *s = ctx;

    if (s->cfg.shutdown)
        s->cfg.shutdown(s->cfg.shutdown_ctx);
}

static void ops_each_client(void *ctx, void (*fn)(void *arg, struct cmd_client *c), void *arg)
{
    struct server *s = ctx;

    mutex_lock(&s->conns_lock);
    LIST_FOR(it, &s->conns)
        fn(arg, CONTAINER_OF(it, struct server__conn, link)->client);
    mutex_unlock(&s->conns_lock);
}

const struct node_net_ops server_node_ops = { .stats = ops_stats,
                                              .shutdown = ops_shutdown,
                                              .each_client = ops_each_client };
