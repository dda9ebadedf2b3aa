/* http_server.h - an HTTP/1.1 server: sites, routes, bounded requests, answers.
 *
 * Model    A server listens on one address. A site is a pattern of host names ("*.vault.localhost") with a table of routes; a
 *          request goes to the first site whose pattern fits its Host header and, there, to the route whose method and path fit.
 *          One thread does the I/O, a pool of workers runs handlers to completion; a waiting client costs no worker.
 * Paths    are matched undecoded, segment by segment: "//" has an empty segment in it, "%2F" is part of a segment and no
 *          separator, a trailing slash makes a last, empty segment. "{}" in a pattern fits any one segment, an empty one too;
 *          http_param() decodes it.
 * Limits   Headers share the connection's memory; bodies past max_body are refused (413); a request that cannot be served is
 *          answered before its body is read, and what of it still arrives is thrown away for a bounded time. Connections, idle time and the queue before the workers are bounded (503).
 * TLS      is libmicrohttpd's own (GnuTLS), 1.2 or newer. It does not leave this module.
 * Threads  http_server_start/stop by the owner; handlers run in worker threads, one request each.
 */
#ifndef HTTP_HTTP_SERVER_H
#define HTTP_HTTP_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

struct http_server;
struct http_request;
struct http_reply;
struct sockaddr;

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_METHOD_NR };

/* A handler fills the reply; one that leaves the status at 0 is answered with 500. */
typedef void (*http_handler_fn)(struct http_request *q, struct http_reply *r);

struct http_route {
    enum http_method method;
    const char *pattern; /* "/keys/{}/{}/wrapkey" */
    http_handler_fn fn;
    const void *arg; /* http_route_arg(): the application's own row */
};

struct http_site {
    /* "*.vault.localhost", "login.localhost" or "*"; without port, compared without case */
    const char *host;
    const struct http_route *routes;
    int n_routes;
    bool nocase;     /* literal segments are compared without case */
    bool slash_ends; /* a path may end in a slash more than its pattern has */
    /* the method that is meant by a POST may stand in its header X-HTTP-Method or X-HTTP-Method-Override */
    bool tunnels;
    void *ctx; /* http_ctx() */
    /* on_error(): writes the body of an answer that no handler gave: 400, 404, 405, 413, 500, 503. NULL: a plain text. */
    void (*on_error)(struct http_request *q, struct http_reply *r, int status, const char *why);
    /* max_body(): bytes that the body of this request may have, of which only the headers are here; 0, or NULL for all: as the server
     * says. Runs in the thread that does the I/O. */
    size_t (*max_body)(struct http_request *q);
};

struct http_server_config {
    const char *address; /* numeric, "127.0.0.1" or "::1" */
    uint16_t port;       /* 0: the system chooses, see http_server_port() */
    const char *cert_pem,
        *key_pem; /* texts of the certificate chain and its key; both NULL: plain HTTP */
    const struct http_site *sites; /* must outlive the server */
    int n_sites;
    /* 0 in the fields below means the default given. */
    unsigned workers;         /* 4 */
    unsigned max_connections; /* 256 */
    unsigned max_queued;      /* 128 requests that wait for a worker */
    unsigned idle_timeout_s;  /* 30 */
    size_t connection_memory; /* 32 KiB: all header lines of a request */
    size_t max_body;          /* 64 KiB */
    /* A client that is answered before its body was read may go on sending, in vain, and still read the answer: for so many bytes, so long
     * altogether and so long in silence. Past that it is cut off. */
    size_t linger_bytes;      /* 16 MiB */
    unsigned linger_ms;       /* 30 s */
    unsigned linger_quiet_ms; /* 5 s */
};

/* http_server_start(). Errors: ERR_CONFIG (address, certificate), ERR_IO (the port is taken: names it). */
RC http_server_start(const struct http_server_config *c, struct http_server **out, struct err *e);
uint16_t http_server_port(const struct http_server *s);
/* http_server_stop(): stops listening, lets requests that run end until grace_ms passed, then closes all. NULL is fine. */
void http_server_stop(struct http_server *s, unsigned grace_ms);

/* The request. Everything returned is valid until the handler returns. */
void *http_ctx(const struct http_request *q);
const void *http_route_arg(const struct http_request *q);
/* the request's: freed after the answer */
struct arena *http_arena(struct http_request *q);
enum http_method http_method(const struct http_request *q);
const char *http_path(const struct http_request *q); /* undecoded, without the query */
/* lower case, without port; "" when absent */
const char *http_host(const struct http_request *q);
const char *http_host_port(const struct http_request *q); /* as sent */
/* http_param(): the i-th "{}" of the pattern, decoded; "" when the segment was empty. */
const char *http_param(const struct http_request *q, int i);
/* http_param_or(): the same, or otherwise when the pattern has no i-th "{}". */
const char *http_param_or(const struct http_request *q, int i, const char *otherwise);
/* decoded, names too; NULL when absent */
const char *http_query(const struct http_request *q, const char *name);
const char *http_header(const struct http_request *q, const char *name); /* NULL when absent */
/* http_bearer(): the token after "Authorization: Bearer ", or an empty slice. */
struct slice http_bearer(const struct http_request *q);
struct slice http_body(const struct http_request *q);
/* http_json(): the body as a JSON object (content type application/json, bounded depth); released with the request. An empty body
 * gives ERR_FAILED_TO_PARSE like a malformed one. */
RC http_json(struct http_request *q, json_t **out, struct err *e);
const struct sockaddr *http_peer(const struct http_request *q);
/* the address that the client connected to; NULL if unknown */
const struct sockaddr *http_local(const struct http_request *q);
bool http_is_tls(const struct http_request *q);

/* The reply. */
void http_reply_status(struct http_reply *r, int status);
/* both are copied */
void http_reply_header(struct http_reply *r, const char *name, const char *value);
/* http_reply_body(): copies; content_type is static. The copy is overwritten before it is released. */
void http_reply_body(struct http_reply *r, const char *content_type, struct slice body);
void http_reply_json(struct http_reply *r, int status, const json_t *j); /* j stays the caller's */

/* http_unescape(): percent-decodes in; false on a malformed escape or a NUL. */
bool http_unescape(struct slice in, struct buf *out);

#endif
