/* test_net.c - the loop under an echo protocol: four bytes of length (counting themselves, little-endian), one of command, the rest.
 *
 *   'e' echo   'p' park for 30 ms, then answer   'n' park until named   'b' wait 100 ms, said to the pool   's' the same, unsaid
 *   'a' answer three times in a row   'q' answer, then close   'B' answer with 8 MB
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/thread.h"
#include "net/net.h"

enum { BIG = 8 * 1024 * 1024 };

static atomic_int n_open, n_closed, n_failed, n_ended;
static _Atomic net_ref named_ref;

static RC on_opened(void *arg, struct net_conn *c, void **user, struct err *e)
{
    (void)arg, (void)c, (void)e;
    *user = NEW(int);
    n_open++;
    return RC_OK;
}

static RC on_frame(struct net_conn *c, struct slice have, size_t *need, struct err *e)
{
    (void)c;
    *need = 4;
    if (have.len < 4)
        return RC_OK;
    *need = get_le32(have.p);
    if (*need < 5 || *need > 2 * BIG)
        FAIL(e, ERR_PROTOCOL_ERROR, "bad length");
    return RC_OK;
}

static void put(struct buf *out, char what, const void *p, size_t len)
{
    buf_push_le32(out, (uint32_t)len + 5);
    buf_push_u8(out, (uint8_t)what);
    buf_push(out, p, len);
}

static enum net_next on_message(struct net_conn *c, void *worker, struct slice msg, struct buf *out)
{
    int *count = net_conn_user(c);

    (void)worker;
    switch (msg.p[4]) {
    case 'p': net_conn_park_until(c, clock_mono_us() + 30000); return NET_PARK;
    case 'n':
        net_conn_park_until(c, clock_mono_us() + 60000000);
        named_ref = net_conn_ref(c);
        return NET_PARK;
    case 'b':
        net_block_begin();
        clock_sleep_us(100000);
        net_block_end();
        break;
    case 's': clock_sleep_us(100000); break;
    case 'a':
        *count = 2;
        put(out, 'a', "", 0);
        return NET_AGAIN;
    case 'q': put(out, 'q', msg.p + 5, msg.len - 5); return NET_CLOSE;
    case 'B': {
        size_t at = out->len;

        memset(buf_extend(out, BIG), 'x', BIG);
        put_le32(out->p + at, BIG);
        return NET_READ;
    }
    default: break;
    }
    put(out, (char)msg.p[4], msg.p + 5, msg.len - 5);
    return NET_READ;
}

static enum net_next on_wake(struct net_conn *c, void *worker, enum net_why why, struct buf *out)
{
    int *count = net_conn_user(c);

    (void)worker;
    if (why == NET_WHY_END) {
        n_ended++;
        put(out, 'E', "", 0);
        return NET_CLOSE;
    }
    put(out, why == NET_WHY_TIME ? 'T' : why == NET_WHY_NAMED ? 'N' : 'A', "", 0);
    if (why == NET_WHY_AGAIN && --*count > 0)
        return NET_AGAIN;
    return NET_READ;
}

static void on_closed(struct net_conn *c, const struct err *e)
{
    mem_free(net_conn_user(c));
    n_closed++;
    if (e)
        n_failed++;
}

static const struct net_proto proto = { .opened = on_opened,
                                        .frame = on_frame,
                                        .message = on_message,
                                        .wake = on_wake,
                                        .closed = on_closed };

static struct net *start(struct net_config *over)
{
    struct net_config c = { .n_workers = 2,
                            .max_workers = 8,
                            .max_conns = 100,
                            .max_inflight_bytes = 64 << 20,
                            .handshake_timeout_us = 2000000,
                            .message_timeout_us = 5000000,
                            .write_timeout_us = 5000000 };
    struct err e = { 0 };
    struct net *n;

    if (over)
        c = *over;
    n_open = n_closed = n_failed = n_ended = 0;
    named_ref = 0;
    assert_false(net_new(&c, &n, &e).failed);
    assert_false(net_start(n, &e).failed);
    return n;
}

static void stop(struct net *n)
{
    net_stop(n);
    assert_int_equal(n_open, n_closed);
    net_free(n);
}

static int client(struct net *n)
{
    struct err e = { 0 };
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    assert_false(net_adopt(n, sv[1], NULL, &proto, &e).failed);
    return sv[0];
}

static void say(int fd, char what, const void *p, size_t len)
{
    struct buf b = BUF_INIT;
    struct err e = { 0 };

    put(&b, what, p, len);
    assert_false(file_write_fd(fd, buf_view(&b), &e).failed);
    buf_fini(&b);
}

/* The command byte of the next answer; 0 at the end of the stream. */
static char hear(int fd, struct buf *body)
{
    uint8_t head[4];
    size_t at = 0, len;
    struct buf b = BUF_INIT;
    char what;

    while (at < 4) {
        ssize_t n = read(fd, head + at, 4 - at);

        if (n <= 0)
            return 0;
        at += (size_t)n;
    }
    len = get_le32(head) - 4;
    buf_reserve(&b, len);
    while (b.len < len) {
        ssize_t n = read(fd, b.p + b.len, len - b.len);

        if (n <= 0) {
            buf_fini(&b);
            return 0;
        }
        b.len += (size_t)n;
    }
    what = (char)b.p[0];
    if (body) {
        buf_clear(body);
        buf_push(body, b.p + 1, b.len - 1);
    }
    buf_fini(&b);
    return what;
}

static void until(atomic_int *v, int want)
{
    uint64_t deadline = clock_mono_us() + 5000000;

    while (*v != want && clock_mono_us() < deadline)
        clock_sleep_us(1000);
    assert_int_equal(*v, want);
}

static void test_echo_whole_split_and_pipelined(void **state)
{
    struct net *n = start(NULL);
    struct buf body = BUF_INIT, many = BUF_INIT;
    struct err e = { 0 };
    int fd = client(n);

    (void)state;
    say(fd, 'e', "hello", 5);
    assert_int_equal(hear(fd, &body), 'e');
    assert_true(slice_eq_str(buf_view(&body), "hello"));
    put(&many, 'e', "one byte at a time", 18);
    for (size_t i = 0; i < many.len; i++) {
        assert_int_equal(write(fd, many.p + i, 1), 1);
        clock_sleep_us(200);
    }
    assert_int_equal(hear(fd, &body), 'e');
    assert_true(slice_eq_str(buf_view(&body), "one byte at a time"));
    buf_clear(&many);
    for (int i = 0; i < 1000; i++)
        put(&many, 'e', &i, sizeof(i));
    many.len -= 2; /* the last one in two parts */
    assert_false(file_write_fd(fd, buf_view(&many), &e).failed);
    for (int i = 0; i < 1000; i++) {
        if (i == 999)
            assert_int_equal(write(fd, many.p + many.len, 2), 2);
        assert_int_equal(hear(fd, &body), 'e');
        assert_memory_equal(body.p, &i, sizeof(i));
    }
    close(fd);
    until(&n_closed, 1);
    stop(n);
    buf_fini(&body);
    buf_fini(&many);
}

static void *write_big(void *arg)
{
    struct buf *b = mem_calloc(1, sizeof(*b));

    memset(buf_extend(b, BIG), 'y', BIG);
    say(*(int *)arg, 'e', b->p, b->len);
    buf_fini(b);
    mem_free(b);
    return NULL;
}

static void test_big_messages_and_a_slow_reader(void **state)
{
    struct net *n = start(NULL);
    struct buf body = BUF_INIT;
    struct net_stats st;
    int fd = client(n);
    pthread_t t;

    (void)state;
    t = thread_start("writer", write_big, &fd);
    thread_join(t);
    clock_sleep_us(50000); /* the answer waits in the connection */
    net_stats(n, &st);
    assert_true(st.inflight_bytes >= BIG / 2);
    say(fd, 'e', "after", 5); /* not read before the answer is gone */
    assert_int_equal(hear(fd, &body), 'e');
    assert_int_equal(body.len, BIG);
    assert_int_equal(body.p[BIG - 1], 'y');
    assert_int_equal(hear(fd, &body), 'e');
    assert_true(slice_eq_str(buf_view(&body), "after"));
    net_stats(n, &st);
    assert_int_equal(st.inflight_bytes, 0);
    close(fd);
    until(&n_closed, 1);
    stop(n);
    buf_fini(&body);
}

static void test_park(void **state)
{
    struct net *n = start(NULL);
    int fd = client(n), other = client(n);
    uint64_t at = clock_mono_us();

    (void)state;
    say(fd, 'p', "", 0);
    say(fd, 'e', "", 0); /* waits its turn */
    assert_int_equal(hear(fd, NULL), 'T');
    assert_true(clock_mono_us() - at >= 30000);
    assert_int_equal(hear(fd, NULL), 'e');
    say(fd, 'n', "", 0);
    while (named_ref == 0)
        clock_sleep_us(1000);
    net_wake(n, named_ref);
    assert_int_equal(hear(fd, NULL), 'N');
    net_wake(n, named_ref ^ ((net_ref)1 << 32)); /* an earlier life's name */
    say(other, 'n', "", 0);
    clock_sleep_us(20000);
    close(other); /* noticed although nobody reads */
    until(&n_closed, 1);
    net_wake(n, named_ref); /* stale */
    say(fd, 'a', "", 0);
    assert_int_equal(hear(fd, NULL), 'a');
    assert_int_equal(hear(fd, NULL), 'A');
    assert_int_equal(hear(fd, NULL), 'A');
    say(fd, 'q', "", 0);
    assert_int_equal(hear(fd, NULL), 'q');
    assert_int_equal(hear(fd, NULL), 0);
    close(fd);
    stop(n);
}

static void test_limits(void **state)
{
    struct net_config c = { .n_workers = 1,
                            .max_workers = 2,
                            .max_conns = 3,
                            .max_inflight_bytes = 1 << 20,
                            .handshake_timeout_us = 50000,
                            .message_timeout_us = 50000,
                            .write_timeout_us = 100000,
                            .idle_timeout_us = 2000000 };
    struct net *n = start(&c);
    int a = client(n), b = client(n), d = client(n), sv[2];
    struct err e = { 0 };
    struct net_stats st;
    uint8_t junk[70000];

    (void)state;
    memset(junk, 1, sizeof(junk));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    assert_true(net_adopt(n, sv[1], NULL, &proto, &e).failed); /* one too many */
    assert_int_equal(hear(sv[0], NULL), 0);
    close(sv[0]);
    net_stats(n, &st);
    assert_int_equal(st.n_refused, 1);
    assert_int_equal(write(a, "\x20\0\0\0e", 5), 5); /* a message that never ends */
    assert_int_equal(hear(a, NULL), 0);
    close(a);
    until(&n_closed, 1);
    say(b, 'B', "", 0); /* more than may wait: refused at once */
    while (hear(b, NULL) != 0)
        ;
    close(b);
    assert_int_equal(hear(d, NULL), 0); /* idle */
    close(d);
    until(&n_closed, 3);
    assert_int_equal(n_failed, 3);
    a = client(n);
    assert_int_equal(write(a, "\x01\0\0\0", 4), 4); /* a length that cannot be */
    assert_int_equal(hear(a, NULL), 0);
    close(a);
    stop(n);
}

static void test_a_client_that_does_not_read(void **state)
{
    struct net_config c = { .n_workers = 1,
                            .max_workers = 2,
                            .max_conns = 3,
                            .max_inflight_bytes = 64 << 20,
                            .handshake_timeout_us = 50000,
                            .message_timeout_us = 50000,
                            .write_timeout_us = 80000 };
    struct net *n = start(&c);
    int a = client(n), b = client(n);
    uint64_t at = clock_mono_us();

    (void)state;
    say(a, 'B', "", 0);
    say(b, 'e', "", 0); /* the only worker is not held */
    assert_int_equal(hear(b, NULL), 'e');
    assert_true(clock_mono_us() - at < 60000);
    until(&n_closed, 1);
    assert_int_equal(n_failed, 1);
    close(a);
    close(b);
    stop(n);
}

static void test_workers_that_wait_are_replaced(void **state)
{
    struct net_config c = { .n_workers = 1,
                            .max_workers = 16,
                            .max_conns = 100,
                            .max_inflight_bytes = 64 << 20,
                            .handshake_timeout_us = 50000,
                            .message_timeout_us = 5000000,
                            .write_timeout_us = 80000 };
    struct net *n = start(&c);
    int fd[8];
    uint64_t at;

    (void)state;
    for (int i = 0; i < 8; i++)
        fd[i] = client(n);
    for (int round = 0; round < 2; round++) {
        at = clock_mono_us();
        for (int i = 0; i < 8; i++)
            say(fd[i], round == 0 ? 'b' : 's', "", 0);
        for (int i = 0; i < 8; i++)
            assert_int_equal(hear(fd[i], NULL), round == 0 ? 'b' : 's');
        /* one after the other would be 800 ms */
        assert_true(clock_mono_us() - at < (round == 0 ? 400000 : 700000));
    }
    for (int i = 0; i < 8; i++)
        close(fd[i]);
    stop(n);
}

static void test_end_all(void **state)
{
    struct net *n = start(NULL);
    int parked = client(n), idle = client(n), busy = client(n);

    (void)state;
    say(parked, 'n', "", 0);
    say(busy, 's', "", 0);
    clock_sleep_us(30000);
    net_stop_accepting(n);
    net_end_all(n);
    assert_int_equal(hear(parked, NULL), 'E');
    assert_int_equal(hear(parked, NULL), 0);
    assert_int_equal(hear(idle, NULL), 'E');
    assert_int_equal(hear(idle, NULL), 0);
    assert_int_equal(hear(busy, NULL), 's'); /* its own answer first */
    assert_int_equal(hear(busy, NULL), 'E');
    assert_int_equal(hear(busy, NULL), 0);
    assert_true(net_drain(n, clock_mono_us() + 1000000));
    assert_int_equal(n_ended, 3);
    close(parked);
    close(idle);
    close(busy);
    stop(n);
}

static void test_listeners(void **state)
{
    struct net *n = start(NULL), *heir;
    struct net_listener *tcp, *un, *busy;
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_un ua = { .sun_family = AF_UNIX };
    struct err e = { 0 };
    int fd, copy;

    (void)state;
    snprintf(ua.sun_path, sizeof(ua.sun_path), "/tmp/coffer-net-%d.sock", (int)getpid());
    assert_false(net_listen_tcp(n, "127.0.0.1", 0, NULL, &proto, &tcp, &e).failed);
    assert_false(net_listen_unix(n, ua.sun_path, 0600, &proto, &un, &e).failed);
    assert_true(
        net_listen_tcp(n, "127.0.0.1", net_listener_port(tcp), NULL, &proto, &busy, &e).failed);
    assert_int_equal(e.code, ERR_CONFIG);
    err_reset(&e);
    /* alive: not taken over */
    assert_true(net_listen_unix(n, ua.sun_path, 0600, &proto, &busy, &e).failed);
    err_reset(&e);
    a.sin_port = htons((uint16_t)net_listener_port(tcp));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    say(fd, 'e', "", 0);
    assert_int_equal(hear(fd, NULL), 'e');
    close(fd);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ua, sizeof(ua)), 0);
    say(fd, 'e', "", 0);
    assert_int_equal(hear(fd, NULL), 'e');
    close(fd);
    /* A successor takes the listener over: who knocks meanwhile waits. */
    copy = dup(net_listener_fd(tcp));
    until(&n_closed, 3); /* the look whether somebody listens was one, too */
    stop(n);
    assert_int_not_equal(access(ua.sun_path, F_OK), 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    say(fd, 'e', "", 0);
    heir = start(NULL);
    assert_false(net_listen_fd(heir, copy, NULL, &proto, &tcp, &e).failed);
    assert_int_equal(hear(fd, NULL), 'e');
    assert_true(net_listen_fd(heir, fd, NULL, &proto, &busy, &e).failed); /* not a listener */
    close(fd);
    stop(heir);
}

/* Many clients at once, some leaving early: nothing is lost and nothing is freed twice (sanitizers look on). */
static void *hammer(void *arg)
{
    struct net *n = arg;

    for (int round = 0; round < 20; round++) {
        int fd = client(n);

        for (int i = 0; i < 20; i++) {
            say(fd, "epae"[i % 4], "x", 1);
            if (i == 17 && round % 3 == 0)
                break;
            for (int k = 0; k < (i % 4 == 2 ? 3 : 1); k++)
                assert_int_not_equal(hear(fd, NULL), 0);
        }
        close(fd);
    }
    return NULL;
}

static void test_many_at_once(void **state)
{
    struct net *n = start(NULL);
    pthread_t t[6];

    (void)state;
    for (int i = 0; i < 6; i++)
        t[i] = thread_start("hammer", hammer, n);
    for (int i = 0; i < 6; i++)
        thread_join(t[i]);
    until(&n_closed, 120);
    stop(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_whole_split_and_pipelined),
        cmocka_unit_test(test_big_messages_and_a_slow_reader),
        cmocka_unit_test(test_park),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_a_client_that_does_not_read),
        cmocka_unit_test(test_workers_that_wait_are_replaced),
        cmocka_unit_test(test_end_all),
        cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_many_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
