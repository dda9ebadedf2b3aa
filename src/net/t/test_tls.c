/* test_tls.c - TLS over the loop: versions, client certificates, bad files, a handshake that never comes. Certificates are made here. */
#include "unit.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/net.h"

static char dir[] = "/tmp/coffer-tls-XXXXXX";
static char cert_file[64], key_file[64], other_key[64], both_file[64];
static atomic_int n_ready, n_closed;

/* ---- certificates ---- */

static EVP_PKEY *write_key(const char *path, const char *mode)
{
    EVP_PKEY *k = EVP_EC_gen("P-256");
    FILE *f = fopen(path, mode);

    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    return k;
}

static void write_cert(const char *path, EVP_PKEY *k, const char *mode)
{
    X509 *x = X509_new();
    FILE *f = fopen(path, mode);

    assert_non_null(f);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, k);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, k, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    X509_free(x);
}

static int group_setup(void **state)
{
    EVP_PKEY *k;

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", dir);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", dir);
    snprintf(other_key, sizeof(other_key), "%s/other.pem", dir);
    snprintf(both_file, sizeof(both_file), "%s/both.pem", dir);
    EVP_PKEY_free(write_key(other_key, "w"));
    k = write_key(key_file, "w");
    write_cert(cert_file, k, "w");
    EVP_PKEY_free(k);
    k = write_key(both_file, "w");
    write_cert(both_file, k, "a");
    EVP_PKEY_free(k);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    unlink(cert_file);
    unlink(key_file);
    unlink(other_key);
    unlink(both_file);
    return rmdir(dir);
}

/* ---- an echo of fixed frames of 4 bytes of length ---- */

static RC on_opened(void *arg, struct net_conn *c, void **user, struct err *e)
{
    (void)arg, (void)c, (void)user, (void)e;
    return RC_OK;
}

static void on_ready(struct net_conn *c)
{
    assert_true(net_conn_has_tls(c));
    n_ready++;
}

static RC on_frame(struct net_conn *c, struct slice have, size_t *need, struct err *e)
{
    (void)c, (void)e;
    *need = have.len < 4 ? 4 : get_le32(have.p);
    return RC_OK;
}

static enum net_next on_message(struct net_conn *c, void *worker, struct slice msg, struct buf *out)
{
    (void)c, (void)worker;
    buf_push(out, msg.p, msg.len);
    return NET_READ;
}

static enum net_next on_wake(struct net_conn *c, void *worker, enum net_why why, struct buf *out)
{
    (void)c, (void)worker, (void)why, (void)out;
    return NET_CLOSE;
}

static void on_closed(struct net_conn *c, const struct err *e)
{
    (void)c, (void)e;
    n_closed++;
}

static const struct net_proto proto = { .opened = on_opened,
                                        .ready = on_ready,
                                        .frame = on_frame,
                                        .message = on_message,
                                        .wake = on_wake,
                                        .closed = on_closed };

/* For peers that do speak: time enough on the busiest machine. */
enum { PATIENT_US = 20000000, SHORT_US = 1000000 };

static struct net *start(uint64_t handshake_timeout_us)
{
    struct net_config c = { .n_workers = 2,
                            .max_workers = 4,
                            .max_conns = 10,
                            .max_inflight_bytes = 64 << 20,
                            .handshake_timeout_us = handshake_timeout_us,
                            .message_timeout_us = 2000000,
                            .write_timeout_us = 2000000 };
    struct err e = { 0 };
    struct net *n;

    n_ready = n_closed = 0;
    CHECK_RC_OK(net_new(&c, &n, &e), &e);
    CHECK_RC_OK(net_start(n, &e), &e);
    return n;
}

static struct net_tls *server_tls(enum net_client_cert which)
{
    struct net_tls_config c = {
        .cert_file = cert_file, .key_file = key_file, .ca_file = both_file, .client_cert = which
    };
    struct net_tls *t;
    struct err e = { 0 };

    CHECK_RC_OK(net_tls_new(&c, &t, &e), &e);
    return t;
}

struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

/* true: the handshake went through on the client's side and a first byte can be exchanged. */
static bool dial(struct net *n, struct net_tls *t, int max_version, const char *cert,
                 struct client *c)
{
    struct err e = { 0 };
    struct timeval tv = { .tv_sec = PATIENT_US / 1000000 };
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    CHECK_RC_OK(net_adopt(n, sv[1], t, &proto, &e), &e);
    c->fd = sv[0];
    c->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(c->ctx, max_version);
    SSL_CTX_set_security_level(c->ctx, 0); /* so that the refusal of old versions is the server's */
    if (cert) {
        assert_int_equal(SSL_CTX_use_certificate_file(c->ctx, cert, SSL_FILETYPE_PEM), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(c->ctx, cert, SSL_FILETYPE_PEM), 1);
    }
    c->ssl = SSL_new(c->ctx);
    SSL_set_fd(c->ssl, c->fd);
    return SSL_connect(c->ssl) == 1;
}

static bool echo(struct client *c, size_t len)
{
    uint8_t *out = mem_alloc(len), *in = mem_calloc(1, len);
    size_t at = 0;
    bool same;

    memset(out, 'x', len);
    put_le32(out, (uint32_t)len);
    if (SSL_write(c->ssl, out, (int)len) != (int)len)
        len = 0;
    while (at < len) {
        int got = SSL_read(c->ssl, in + at, (int)(len - at));

        if (got <= 0)
            break;
        at += (size_t)got;
    }
    same = len && at == len && memcmp(in, out, len) == 0;
    mem_free(out);
    mem_free(in);
    return same;
}

static void hang_up(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
}

static void finish(struct net *n, struct net_tls *t)
{
    net_stop(n);
    net_free(n);
    net_tls_free(t);
}

static void test_versions(void **state)
{
    struct net *n = start(PATIENT_US);
    struct net_tls *t = server_tls(NET_CLIENT_CERT_NONE);
    static const int good[] = { TLS1_2_VERSION, TLS1_3_VERSION },
                     bad[] = { TLS1_VERSION, TLS1_1_VERSION };
    struct client c;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(dial(n, t, good[i], NULL, &c));
        for (size_t len = 5; len < 3000000; len = len * 7 + 1)
            assert_true(echo(&c, len));
        hang_up(&c);
        assert_false(dial(n, t, bad[i], NULL, &c));
        hang_up(&c);
    }
    assert_int_equal(n_ready, 2);
    finish(n, t);
}

static void test_client_certificates(void **state)
{
    (void)state;
    for (int which = NET_CLIENT_CERT_NONE; which <= NET_CLIENT_CERT_REQUIRED; which++)
        for (int with = 0; with < 2; with++) {
            struct net *n = start(PATIENT_US);
            struct net_tls *t = server_tls((enum net_client_cert)which);
            struct client c;
            bool ok = dial(n, t, TLS1_3_VERSION, with ? both_file : NULL, &c) && echo(&c, 100);

            assert_int_equal(ok, which != NET_CLIENT_CERT_REQUIRED || with);
            hang_up(&c);
            finish(n, t);
        }
}

static void test_no_handshake(void **state)
{
    struct net *n = start(SHORT_US);
    struct net_tls *t = server_tls(NET_CLIENT_CERT_NONE);
    struct err e = { 0 };
    uint64_t at = clock_mono_us();
    char byte;
    int sv[2][2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv[i]), 0);
        CHECK_RC_OK(net_adopt(n, sv[i][1], t, &proto, &e), &e);
    }
    assert_int_equal(write(sv[1][0], "\x05\0\0\0x", 5), 5); /* plain text on a TLS port */
    while (read(sv[1][0], &byte, 1) > 0)
        ;
    assert_true(clock_mono_us() - at < SHORT_US * 9 / 10);
    assert_int_equal(read(sv[0][0], &byte, 1), 0); /* silence */
    assert_true(clock_mono_us() - at >= SHORT_US);
    assert_int_equal(n_ready, 0);
    close(sv[0][0]);
    close(sv[1][0]);
    finish(n, t);
}

static void test_bad_files(void **state)
{
    struct net_tls_config bad[] = {
        { .cert_file = "/nonexistent.pem" },
        { .cert_file = cert_file },
        { .cert_file = cert_file, .key_file = other_key },
        { .cert_file = both_file, .client_cert = NET_CLIENT_CERT_REQUIRED },
        { .cert_file = both_file,
          .client_cert = NET_CLIENT_CERT_REQUIRED,
          .ca_file = "/nonexistent.pem" },
    };
    struct net_tls_config good = { .cert_file = both_file };
    struct net_tls *t;
    struct err e = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CHECK_RC_FAILS(net_tls_new(&bad[i], &t, &e), &e, ERR_INVALID_SSL_CONFIGURATION);
        assert_null(t);
    }
    CHECK_RC_OK(net_tls_new(&good, &t, &e), &e);
    net_tls_free(t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_versions),
    cmocka_unit_test(test_client_certificates),
    cmocka_unit_test(test_no_handshake),
    cmocka_unit_test(test_bad_files),
};

int main(void)
{
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
