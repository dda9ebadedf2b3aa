/* http_client.h - one HTTPS call at a time, bounded in every way, its outcome a class rather than a guess.
 *
 * Model    A client has its own CA file, its own kept-alive connections and its own lock. A call ends with an answer (whatever the
 *          status: that is the caller's to judge) or with the reason why there is none.
 * Refuses  redirects, proxies, cookies, .netrc, compression, HTTP/2, every scheme but https - and http where the client was
 *          made for it; bodies past max_body; header lines past 32 KiB in all; TLS below 1.2; certificates of another name.
 * Secrets  An answer's body and the connection's buffers may hold key bytes: the body has its room reserved at the start, so
 *          that it never moves, and is wiped by http_answer_fini(). See http_client_global_init() for the rest.
 * Threads  [any] calls on one client queue up. Blocking: until the deadline at most.
 */
#ifndef HTTP_HTTP_CLIENT_H
#define HTTP_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct http_client;

/* http_client_global_init(): once, before threads. Takes SSLKEYLOGFILE and every proxy variable out of the environment, and
 * with wiping makes libcurl overwrite its memory before it is released. */
RC http_client_global_init(bool wiping, struct err *e);

struct http_client_config {
    const char *ca_file; /* PEM; NULL or "": the system's authorities */
    bool allow_http;     /* for token endpoints on this machine */
    const char *proxy;   /* "http://HOST:PORT" to go through by CONNECT; NULL or "": none */
    /* PEM, for services that ask for a client certificate; both NULL or "": none */
    const char *cert_file, *key_file;
    /* Names that end in ".localhost" (RFC 6761 6.3) are always taken to 127.0.0.1 without asking a name server. */
    uint64_t connect_timeout_ms; /* 0: 3000 */
};
RC http_client_new(const struct http_client_config *c, struct http_client **out, struct err *e);
void http_client_free(struct http_client *c);
void http_client_freep(struct http_client **c);

enum http_outcome {
    HTTP_OUT_ANSWER,     /* status, headers and body are there */
    HTTP_OUT_DNS,        /* the name does not resolve */
    HTTP_OUT_TCP,        /* refused, reset, unreachable, cut off */
    HTTP_OUT_TLS,        /* handshake, certificate, name */
    HTTP_OUT_TIMEOUT,    /* the deadline passed */
    HTTP_OUT_BAD,        /* what came is not HTTP or is too large */
    HTTP_OUT_CREDENTIAL, /* the client certificate or its key cannot be used */
    HTTP_OUT_LOCAL,      /* the call itself is wrong: URL, scheme, CA file */
};
const char *http_outcome_name(enum http_outcome o); /* "DNS", "TCP", ...; static */

struct http_call {
    const char *method; /* "GET" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    struct slice body;          /* empty: none (a POST then says Content-Length: 0) */
    const char *content_type;   /* NULL without a body */
    uint64_t deadline_us;       /* monotonic */
    size_t max_body;            /* 0: 64 KiB */
    /* a new connection, a new look-up of the name, no resumed TLS session */
    bool fresh;
};

struct http_answer {
    enum http_outcome outcome;
    int status;
    struct buf body;
    char content_type[96];
    int64_t date_s;        /* the Date header as Unix seconds; 0 when absent or malformed */
    int64_t retry_after_s; /* -1 when absent */
    char request_id[80];   /* x-ms-request-id */
    char challenge[320];   /* WWW-Authenticate, the last one; "" when absent */
    char region[32];       /* x-ms-keyvault-region */
    char detail[160];      /* for the log, when there is no answer; holds no header and no body */
};
#define HTTP_ANSWER_INIT ((struct http_answer){ .outcome = HTTP_OUT_LOCAL, .retry_after_s = -1 })

void http_client_call(struct http_client *c, const struct http_call *q, struct http_answer *a);
void http_answer_fini(struct http_answer *a); /* wipes the body */
/* http_answer_is_json(): the content type says application/json, or application/x-amz-json-1.1. */
bool http_answer_is_json(const struct http_answer *a);

/* http_client_exchange(): for a protocol of messages over TLS that is not HTTP, under the same rules: one connection, one request, one answer,
 * which goes to a->body; status and headers stay empty. */
struct http_exchange {
    const char *url; /* "https://HOST:PORT": where to */
    struct slice request;
    /* frame(): the length of the answer that begins so; 0: more is needed to know; SIZE_MAX: it is none of this protocol */
    size_t (*frame)(struct slice have);
    size_t head_len;   /* how much frame() needs */
    size_t max_answer; /* longer ones are HTTP_OUT_BAD */
    uint64_t deadline_us;
};
void http_client_exchange(struct http_client *c, const struct http_exchange *x,
                          struct http_answer *a);

#endif
