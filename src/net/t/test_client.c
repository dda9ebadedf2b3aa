/* The connection that waits, without TLS: what an absent, silent or vanishing server comes to. With TLS: tests/keys/test_drill.py. */
#include "unit.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "net/client.h"

static int listener(int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 4) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

#define AT(p) ((struct net_client_config){ .host = "127.0.0.1", .port = (p), .timeout_ms = 200 })

static void bytes_go_both_ways(void **state)
{
    int port, fd = listener(&port);
    struct net_client_config at = AT(port);
    struct net_client *c;
    struct err e = { 0 };
    char got[8] = "";
    (void)state;

    CHECK_RC_OK(net_client_open(&at, &c, &e), &e);
    int peer = accept(fd, NULL, NULL);
    assert_true(peer >= 0);
    CHECK_RC_OK(net_client_send(c, slice_str("ping"), &e), &e);
    assert_int_equal(read(peer, got, 4), 4);
    assert_string_equal(got, "ping");
    assert_int_equal(write(peer, "po", 2), 2);
    assert_int_equal(write(peer, "ng", 2), 2);
    CHECK_RC_OK(net_client_receive(c, got, 4, &e), &e);
    assert_string_equal(got, "pong");
    assert_int_equal(write(peer, "x", 1), 1);
    close(peer);
    CHECK_RC_FAILS(net_client_receive(c, got, 2, &e), &e, ERR_IO);
    net_client_close(c);
    close(fd);
}

static void silence_has_an_end(void **state)
{
    int port, fd = listener(&port);
    struct net_client_config at = AT(port);
    struct net_client *c;
    struct err e = { 0 };
    char got[1];
    (void)state;

    CHECK_RC_OK(net_client_open(&at, &c, &e), &e);
    uint64_t began = clock_mono_us();
    CHECK_RC_FAILS(net_client_receive(c, got, 1, &e), &e, ERR_TIMEOUT);
    assert_true(clock_mono_us() - began >= 150000);
    net_client_close(c);
    at.tls = true; /* a server that never answers the handshake */
    CHECK_RC_FAILS(net_client_open(&at, &c, &e), &e, ERR_HOST_UNREACHABLE);
    assert_null(c);
    close(fd);
}

static void nobody_is_there(void **state)
{
    int port, fd = listener(&port);
    struct net_client_config at = AT(port);
    struct net_client *c;
    struct err e = { 0 };
    (void)state;

    at.tls = true;
    at.ca_file = "/nowhere/ca.pem";
    CHECK_RC_FAILS(net_client_open(&at, &c, &e), &e, ERR_INVALID_SSL_CONFIGURATION);
    at.ca_file = "";
    at.cert_file = "/nowhere/cert.pem";
    CHECK_RC_FAILS(net_client_open(&at, &c, &e), &e, ERR_INVALID_SSL_CONFIGURATION);
    close(fd);
    at.tls = false;
    CHECK_RC_FAILS(net_client_open(&at, &c, &e), &e, ERR_HOST_UNREACHABLE);
    at.host = "no-such-host.invalid";
    CHECK_RC_FAILS(net_client_open(&at, &c, &e), &e, ERR_HOST_UNREACHABLE);
    net_client_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(silence_has_an_end),
        cmocka_unit_test(nobody_is_there),
    };

    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
