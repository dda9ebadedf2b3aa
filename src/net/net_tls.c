/* net_tls.c - what TLS this server speaks. There is no setting that weakens it. */
#include "net_priv.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"

static RC tls_fail(struct err *e, const char *what, const char *file)
{
    char text[160];

    ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
    ERR_clear_error();
    FAIL(e, ERR_INVALID_SSL_CONFIGURATION, "cannot use %s \"%s\": %s", what, file, text);
}

static RC load_files(SSL_CTX *ctx, const struct net_tls_config *c, struct err *e)
{
    const char *key = c->key_file && *c->key_file ? c->key_file : c->cert_file;

    if (SSL_CTX_use_certificate_chain_file(ctx, c->cert_file) != 1)
        return tls_fail(e, "the certificate", c->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return tls_fail(e, "the private key", key);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return tls_fail(e, "the private key with this certificate:", key);
    if (c->client_cert == NET_CLIENT_CERT_NONE)
        return RC_OK;
    if (!c->ca_file || !*c->ca_file)
        FAIL(e, ERR_INVALID_SSL_CONFIGURATION, "client certificates need a CA file");
    if (SSL_CTX_load_verify_locations(ctx, c->ca_file, NULL) != 1)
        return tls_fail(e, "the CA file", c->ca_file);
    SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(c->ca_file));
    SSL_CTX_set_verify(ctx,
                       SSL_VERIFY_PEER | (c->client_cert == NET_CLIENT_CERT_REQUIRED
                                              ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                              : 0),
                       NULL);
    return RC_OK;
}

RC net_tls_new(const struct net_tls_config *c, struct net_tls **out, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    struct net_tls *t;

    *out = NULL;
    if (!ctx)
        return tls_fail(e, "TLS", "OpenSSL");
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL") != 1) {
        SSL_CTX_free(ctx);
        return tls_fail(e, "TLS", "OpenSSL");
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (load_files(ctx, c, e).failed) {
        SSL_CTX_free(ctx);
        return RC_FAILED;
    }
    t = NEW(struct net_tls);
    t->ctx = ctx;
    *out = t;
    return RC_OK;
}

void net_tls_free(struct net_tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    mem_free(t);
}

RC net__tls_attach(struct net_conn *c, struct net_tls *t, struct err *e)
{
    c->ssl = SSL_new(t->ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
        return tls_fail(e, "TLS", "connection");
    SSL_set_accept_state(c->ssl);
    return RC_OK;
}

void net__tls_detach(struct net_conn *c)
{
    if (!c->ssl)
        return;
    /* One close_notify if the socket takes it; its answer is not waited for. */
    ERR_clear_error();
    if (c->phase == NET__OPEN)
        SSL_shutdown(c->ssl);
    ERR_clear_error();
    SSL_free(c->ssl);
    c->ssl = NULL;
}
