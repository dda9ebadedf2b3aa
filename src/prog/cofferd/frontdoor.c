/* frontdoor.c - see frontdoor.h. */
#include "frontdoor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "identity/identity.h"
#include "net/net.h"
#include "server/server.h"

enum { SEAL_DRAIN_US = 1000000, STOP_DRAIN_US = 5000000 };

struct frontdoor {
    struct frontdoor_config c;
    struct net_tls *tls;
    struct server *server;
    /* A sealed image has neither users nor a node: these stand in, empty, so that hello can be answered. */
    struct node *empty_node;
    struct identity *nobody;
    bool started;
    bool adopted; /* the listeners of the image before: their port is known already */

    atomic_bool sealing;
    struct mutex lock;
    struct cmd_seal seal; /* guarded by lock */
};

/* Called for each request. */
static bool sealed(void *ctx, struct cmd_seal *out)
{
    struct frontdoor *d = ctx;
    if (d->c.describe) {
        d->c.describe(d->c.describe_arg, out);
        return true;
    }
    if (!atomic_load_explicit(&d->sealing, memory_order_acquire))
        return false;
    mutex_lock(&d->lock);
    *out = d->seal;
    mutex_unlock(&d->lock);
    return true;
}

static RC client_cert_of(const char *text, enum net_client_cert *out, struct err *e)
{
    static const char *const names[] = { [NET_CLIENT_CERT_NONE] = "none",
                                         [NET_CLIENT_CERT_OPTIONAL] = "optional",
                                         [NET_CLIENT_CERT_REQUIRED] = "required" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum net_client_cert)i;
            return RC_OK;
        }
    }
    FAIL(e, ERR_CONFIG,
         "setting \"tls-client-certificates\" takes none, optional or required, not \"%.100s\"",
         text);
}

static RC make_tls(struct frontdoor *d, struct err *e)
{
    struct settings *s = d->c.process->set;
    if (!*settings_str(s, SET_TLS_CERT_FILE))
        return RC_OK;
    struct net_tls_config tc = { .cert_file = settings_str(s, SET_TLS_CERT_FILE),
                                 .key_file = settings_str(s, SET_TLS_KEY_FILE),
                                 .ca_file = settings_str(s, SET_TLS_CA_FILE) };
    TRY(client_cert_of(settings_str(s, SET_TLS_CLIENT_CERTIFICATES), &tc.client_cert, e));
    return net_tls_new(&tc, &d->tls, e);
}

static RC make_server(struct frontdoor *d, struct err *e)
{
    struct settings *s = d->c.process->set;
    struct server_config sc;
    server_config_init(&sc);
    sc.node = d->c.node ? d->c.node : d->empty_node;
    sc.identity = d->c.identity ? d->c.identity : d->nobody;
    sc.tls = d->tls;
    sc.sealed = sealed;
    sc.sealed_ctx = d;
    sc.shutdown = d->c.shutdown;
    sc.shutdown_ctx = d->c.shutdown_arg;
    sc.workers = (int)settings_i64(s, SET_WORKERS);
    sc.max_workers = (int)settings_i64(s, SET_MAX_WORKERS);
    sc.max_connections = (int)settings_i64(s, SET_MAX_CONNECTIONS);
    sc.max_inflight_bytes = settings_i64(s, SET_MAX_INFLIGHT);
    sc.request_memory_bytes = settings_i64(s, SET_REQUEST_MEMORY);
    sc.handshake_timeout_us = settings_us(s, SET_HANDSHAKE_TIMEOUT);
    sc.message_timeout_us = settings_us(s, SET_MESSAGE_TIMEOUT);
    sc.write_timeout_us = settings_us(s, SET_WRITE_TIMEOUT);
    sc.idle_timeout_us = settings_us(s, SET_IDLE_TIMEOUT);
    return server_new(&sc, &d->server, e);
}

/* The socket for clients is a file, which an image that follows another one may be kept from making: a cluster does not end over it. */
static RC listen_unix(struct frontdoor *d, struct err *e)
{
    const char *path = settings_str(d->c.process->set, SET_CLIENT_SOCKET);
    struct err why = { 0 };
    if (!*path || !server_listen_unix(d->server, path, &why).failed)
        return RC_OK;
    if (!d->adopted)
        return err_take(e, &why);
    log_err(EV_BACKGROUND_ERROR, &why, NULL, 0);
    err_reset(&why);
    return RC_OK;
}

static RC listen_all(struct frontdoor *d, struct err *e)
{
    struct process *p = d->c.process;
    d->adopted = p->handoff.n_fds > 0;
    for (int i = 0; i < p->handoff.n_fds; i++)
        TRY(server_adopt(d->server, p->handoff.fds[i], e));
    if (!d->adopted)
        TRY(server_listen(d->server, settings_str(p->set, SET_BIND),
                          (int)settings_i64(p->set, SET_PORT), e));
    p->handoff.n_fds = 0; /* they are the server's now */
    return listen_unix(d, e);
}

static RC open_door(struct frontdoor *d, struct err *e)
{
    struct process *p = d->c.process;
    bool auth = settings_bool(p->set, SET_AUTH);
    if (!d->c.node) {
        d->empty_node = NEW(struct node);
        node_init(d->empty_node);
        d->empty_node->auth_enabled = auth;
    }
    if (!d->c.identity)
        d->nobody = identity_new(&(struct identity_config){ .auth = auth });
    TRY(make_tls(d, e));
    TRY(make_server(d, e));
    TRY(listen_all(d, e));
    struct node *n = d->c.node ? d->c.node : d->empty_node;
    char host[192] = "localhost";
    if (gethostname(host, sizeof(host) - 1) < 0)
        memcpy(host, "localhost", sizeof("localhost"));
    n->port = server_port(d->server);
    snprintf(n->host, sizeof(n->host), "%s:%d", host, n->port);
    n->net = &server_node_ops;
    n->net_ctx = d->server;
    return RC_OK;
}

RC frontdoor_open(const struct frontdoor_config *c, struct frontdoor **out, struct err *e)
{
    struct frontdoor *d = NEW(struct frontdoor);
    *out = NULL;
    d->c = *c;
    mutex_init(&d->lock);
    if (open_door(d, e).failed) {
        frontdoor_free(d);
        return RC_FAILED;
    }
    *out = d;
    return RC_OK;
}

RC frontdoor_start(struct frontdoor *d, struct err *e)
{
    TRY(server_start(d->server, e));
    d->started = true;
    const char *path = settings_str(d->c.process->set, SET_PORT_FILE);
    if (!*path || d->adopted) /* no room on a full disk is needed to seal */
        return RC_OK;
    char text[16];
    int n = snprintf(text, sizeof(text), "%d\n", server_port(d->server));
    return file_write_atomic(path, 0644, SLICE(text, (size_t)n), e);
}

int frontdoor_port(const struct frontdoor *d)
{
    return server_port(d->server);
}

void frontdoor_seal(struct frontdoor *d, const struct cmd_seal *what)
{
    mutex_lock(&d->lock);
    d->seal = *what;
    mutex_unlock(&d->lock);
    atomic_store_explicit(&d->sealing, true, memory_order_release);
    /* Whoever is not gone by then goes with the image. */
    (void)server_end_clients(d->server, clock_mono_us() + SEAL_DRAIN_US);
}

void frontdoor_fds(const struct frontdoor *d, struct handoff *h)
{
    h->n_fds = server_listener_fds(d->server, h->fds, HANDOFF_FDS_MAX);
}

void frontdoor_stop(struct frontdoor *d)
{
    if (d && d->started)
        server_stop(d->server, clock_mono_us() + STOP_DRAIN_US);
    if (d)
        d->started = false;
}

void frontdoor_free(struct frontdoor *d)
{
    if (!d)
        return;
    frontdoor_stop(d);
    server_free(d->server);
    net_tls_free(d->tls);
    identity_free(d->nobody);
    mem_free(d->empty_node);
    mutex_fini(&d->lock);
    mem_free(d);
}
