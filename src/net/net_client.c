/* net_client.c - see net/client.h. */
#include "net/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

struct net_client {
    int fd;
    SSL_CTX *ctx; /* NULL: plain */
    SSL *ssl;
};

static RC ssl_fail(struct err *e, enum err_code code, const char *what, const char *which)
{
    char text[160];

    ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
    ERR_clear_error();
    FAIL(e, code, "%s \"%s\": %s", what, which, text);
}

/* ---- the socket ---- */

static int connect_to(const struct addrinfo *a, uint64_t timeout_ms)
{
    struct timeval t = { .tv_sec = (time_t)(timeout_ms / 1000),
                         .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000) };
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) == 0 &&
        connect(fd, a->ai_addr, a->ai_addrlen) == 0)
        return fd;
    int why = errno;
    fd_close(fd);
    errno = why == EINPROGRESS ? ETIMEDOUT : why; /* what SO_SNDTIMEO makes of it */
    return -1;
}

static RC open_socket(const struct net_client_config *c, int *out, struct err *e)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    AUTO(mem_freep) char *port = mem_printf("%d", c->port);
    struct addrinfo *all = NULL;
    int fd = -1, why = 0;

    int rc = getaddrinfo(c->host, port, &hints, &all);
    if (rc != 0)
        FAIL(e, ERR_HOST_UNREACHABLE, "could not find \"%s\": %s", c->host, gai_strerror(rc));
    for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
        fd = connect_to(a, c->timeout_ms);
        why = errno;
    }
    freeaddrinfo(all);
    if (fd < 0)
        FAIL(e, ERR_HOST_UNREACHABLE, "could not connect to %s, port %d: %s", c->host, c->port,
             strerror(why));
    *out = fd;
    return RC_OK;
}

/* ---- TLS ---- */

static RC load_files(SSL_CTX *ctx, const struct net_client_config *c, struct err *e)
{
    bool own_ca = c->ca_file && *c->ca_file;

    if (own_ca ? SSL_CTX_load_verify_locations(ctx, c->ca_file, NULL) != 1
               : SSL_CTX_set_default_verify_paths(ctx) != 1)
        return ssl_fail(e, ERR_INVALID_SSL_CONFIGURATION, "cannot use the authorities in",
                        own_ca ? c->ca_file : "the system's place");
    if (!c->cert_file || !*c->cert_file)
        return RC_OK;
    if (SSL_CTX_use_certificate_chain_file(ctx, c->cert_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, c->cert_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return ssl_fail(e, ERR_INVALID_SSL_CONFIGURATION, "cannot use the certificate and key in",
                        c->cert_file);
    return RC_OK;
}

/* The certificate must name what was asked for: an address or a name. */
static bool expect_host(SSL *ssl, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static RC shake_hands(struct net_client *n, const struct net_client_config *c, struct err *e)
{
    n->ctx = SSL_CTX_new(TLS_client_method());
    if (!n->ctx || SSL_CTX_set_min_proto_version(n->ctx, TLS1_2_VERSION) != 1)
        return ssl_fail(e, ERR_INVALID_SSL_CONFIGURATION, "cannot use TLS of", "OpenSSL");
    SSL_CTX_set_verify(n->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(n->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    TRY(load_files(n->ctx, c, e));
    n->ssl = SSL_new(n->ctx);
    if (!n->ssl || !expect_host(n->ssl, c->host) || SSL_set_fd(n->ssl, n->fd) != 1)
        return ssl_fail(e, ERR_INVALID_SSL_CONFIGURATION, "cannot use TLS for", c->host);
    if (SSL_connect(n->ssl) == 1)
        return RC_OK;
    long verdict = SSL_get_verify_result(n->ssl);
    if (verdict != X509_V_OK)
        FAIL(e, ERR_HOST_UNREACHABLE, "the certificate of \"%s\" does not hold: %s", c->host,
             X509_verify_cert_error_string(verdict));
    return ssl_fail(e, ERR_HOST_UNREACHABLE, "could not agree on TLS with", c->host);
}

/* ---- the interface ---- */

RC net_client_open(const struct net_client_config *c, struct net_client **out, struct err *e)
{
    AUTO(net_client_closep) struct net_client *n = NEW(struct net_client);

    *out = NULL;
    n->fd = -1;
    TRY(open_socket(c, &n->fd, e));
    if (c->tls)
        TRY(shake_hands(n, c, e));
    *out = TAKE(n);
    return RC_OK;
}

/* Why a step failed: n of send() or recv(), or of their TLS likes. */
static RC step_failed(struct net_client *c, long n, const char *what, struct err *e)
{
    int why = errno;

    if (c->ssl) {
        int reason = SSL_get_error(c->ssl, (int)n);
        ERR_clear_error();
        if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
            why = EAGAIN;
        else if (reason != SSL_ERROR_SYSCALL)
            n = 0; /* an orderly or disorderly end of TLS */
    }
    if (n == 0 || why == 0)
        FAIL(e, ERR_IO, "the server closed the connection");
    FAIL(e, why == EAGAIN ? ERR_TIMEOUT : ERR_IO, "could not %s: %s", what,
         why == EAGAIN ? "no answer in time" : strerror(why));
}

RC net_client_send(struct net_client *c, struct slice s, struct err *e)
{
    while (s.len > 0) {
        errno = 0;
        long n = c->ssl ? SSL_write(c->ssl, s.p, (int)MIN(s.len, (size_t)INT32_MAX))
                        : send(c->fd, s.p, s.len, MSG_NOSIGNAL);
        if (n < 0 && !c->ssl && errno == EINTR)
            continue;
        if (n <= 0)
            return step_failed(c, n, "send the command", e);
        s.p += n;
        s.len -= (size_t)n;
    }
    return RC_OK;
}

RC net_client_receive(struct net_client *c, void *p, size_t len, struct err *e)
{
    uint8_t *at = p;

    while (len > 0) {
        errno = 0;
        long n = c->ssl ? SSL_read(c->ssl, at, (int)MIN(len, (size_t)INT32_MAX))
                        : recv(c->fd, at, len, 0);
        if (n < 0 && !c->ssl && errno == EINTR)
            continue;
        if (n <= 0)
            return step_failed(c, n, "read the answer", e);
        at += n;
        len -= (size_t)n;
    }
    return RC_OK;
}

void net_client_close(struct net_client *c)
{
    if (!c)
        return;
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    fd_close(c->fd);
    ERR_clear_error();
    mem_free(c);
}

void net_client_closep(struct net_client **c)
{
    net_client_close(*c);
    *c = NULL;
}
