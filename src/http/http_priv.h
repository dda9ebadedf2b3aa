/* http_priv.h - what the files of the HTTP server share. */
#ifndef HTTP_PRIV_H
#define HTTP_PRIV_H

#include <microhttpd.h>

#include "base/list.h"
#include "base/thread.h"
#include "http/http_server.h"

enum { HTTP_PARAMS_MAX = 8, HTTP_REPLY_HEADERS_MAX = 16, HTTP_REQUEST_MAGIC = 0x48525131 };

struct http_reply {
    struct http_request *q;
    int status;               /* 0: the handler said nothing */
    const char *content_type; /* static */
    struct buf body;
    int n_headers;
    struct {
        char *name, *value; /* in the request's arena */
    } headers[HTTP_REPLY_HEADERS_MAX];
};

enum http_phase {
    PHASE_BODY,    /* reading the body */
    PHASE_WORKING, /* suspended: queued or in a worker */
    PHASE_DONE,    /* resumed: the reply is ready to be queued */
    PHASE_ANSWERED,
};

/* What a connection's socket carries from its first request to its end: the context that libmicrohttpd keeps for it. */
struct http_connection {
    bool unread; /* it was answered before its request was read: it lingers */
};

struct http_request {
    uint32_t magic;
    struct http_server *server;
    struct MHD_Connection *conn;
    struct list queued; /* in server->queue; guarded by server->lock */
    struct arena *arena;
    enum http_method method;
    const char *path;                         /* in the arena */
    const char *host_port, *host;             /* in the arena */
    const struct http_site *site;             /* NULL: no site fits */
    const struct http_route *route;           /* NULL: refused */
    struct slice raw_params[HTTP_PARAMS_MAX]; /* into path */
    const char *params[HTTP_PARAMS_MAX];      /* decoded, in the arena */
    int n_params;
    bool has_body;
    size_t max_body;
    struct buf body;
    json_t *json;
    int refusal; /* HTTP status decided before the body, 0: none */
    const char *refusal_why;
    const char
        *allow; /* the methods of the path that was asked for with another one, in the arena */
    enum http_phase phase; /* written by the worker before it resumes, read after that */
    struct http_reply reply;
};

struct http_server {
    struct MHD_Daemon *daemon;
    const struct http_site *sites;
    int n_sites;
    size_t max_body;
    unsigned max_queued;
    bool tls;
    int listen_fd;
    uint16_t port;
    unsigned n_workers;
    pthread_t *workers;
    struct http_linger *linger;
    struct mutex lock;
    struct cond work, idle;
    struct list queue; /* guarded by lock */
    unsigned n_queued; /* guarded by lock */
    unsigned n_live;   /* requests between their first callback and completion; guarded by lock */
    bool stopping;     /* workers leave when the queue is empty; guarded by lock */
};

/* http__route(): fills site, route and parameters, or refusal. */
void http__route(struct http_request *q, const char *method);
/* http__refuse(): makes the reply of an answer that no handler gave. */
void http__refuse(struct http_request *q, int status, const char *why);
/* http__cut(): writes the reply that was made to the client in the middle of its body, past libmicrohttpd, which has to end the connection next.
 * A client that takes none of it at once gets none. In the thread that does the I/O. */
void http__cut(struct http_request *q);
struct http_request *http__request_new(struct http_server *s, struct MHD_Connection *conn,
                                       const char *url);
void http__request_free(struct http_request *q);

/* Connections that were answered before their request was read: see http_linger.c. */
enum { HTTP_LINGER_MAX = 32 };
struct http_linger;
struct http_linger_bounds {
    unsigned ms, quiet_ms;
    size_t bytes;
};
RC http__linger_new(const struct http_linger_bounds *b, struct http_linger **out, struct err *e);
/* http__linger_add(): takes the socket, which nobody else may use any more. Never blocks. */
void http__linger_add(struct http_linger *l, int fd);
/* http__linger_free(): closes all that linger. */
void http__linger_free(struct http_linger *l);

#endif
