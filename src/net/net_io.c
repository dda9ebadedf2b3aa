/* net_io.c - bytes in and out of one socket, TLS or not. The only file, with net_tls.c, that calls OpenSSL. */
#include "net_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/metrics.h"

static enum net__io tls_verdict(struct net_conn *c, int rc)
{
    int why = SSL_get_error(c->ssl, rc), sys = errno;

    ERR_clear_error(); /* the queue belongs to the thread, not to the connection */
    switch (why) {
    case SSL_ERROR_WANT_READ: c->want_write = false; return NET__IO_AGAIN;
    case SSL_ERROR_WANT_WRITE: c->want_write = true; return NET__IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return NET__IO_EOF;
    case SSL_ERROR_SYSCALL: return sys == 0 ? NET__IO_EOF : NET__IO_ERROR;
    default: return NET__IO_ERROR;
    }
}

enum net__io net__handshake(struct net_conn *c)
{
    int rc;

    ERR_clear_error();
    rc = SSL_accept(c->ssl);
    if (rc == 1) {
        c->want_write = false;
        return NET__IO_OK;
    }
    return tls_verdict(c, rc);
}

enum net__io net__recv(struct net_conn *c, void *p, size_t len, size_t *got)
{
    ssize_t n;

    if (c->ssl) {
        int rc;

        ERR_clear_error();
        rc = SSL_read_ex(c->ssl, p, len, got);
        if (rc == 1) {
            c->want_write = false;
            return NET__IO_OK;
        }
        return tls_verdict(c, rc);
    }
    do
        n = recv(c->fd, p, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *got = (size_t)n;
        return NET__IO_OK;
    }
    if (n == 0)
        return NET__IO_EOF;
    return errno == EAGAIN || errno == EWOULDBLOCK ? NET__IO_AGAIN : NET__IO_ERROR;
}

enum net__io net__send(struct net_conn *c, const void *p, size_t len, size_t *sent)
{
    ssize_t n;

    if (c->ssl) {
        int rc;

        ERR_clear_error();
        rc = SSL_write_ex(c->ssl, p, len, sent);
        if (rc != 1)
            return tls_verdict(c, rc);
    } else {
        do
            n = send(c->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? NET__IO_AGAIN : NET__IO_ERROR;
        *sent = (size_t)n;
    }
    atomic_fetch_add_explicit(&c->net->bytes_out, (int64_t)*sent, memory_order_relaxed);
    return NET__IO_OK;
}

bool net__has_buffered(const struct net_conn *c)
{
    return c->ssl && SSL_has_pending(c->ssl);
}
