/* test_http.c - the server against raw bytes and against our own client; the client against servers that misbehave. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "http/http_client.h"
#include "http/http_server.h"
#include "http_priv.h"

struct fixture {
    struct http_server *server;
    int port;
};

static void echo_params(struct http_request *q, struct http_reply *r)
{
    struct buf b = BUF_INIT;

    buf_printf(&b, "[%s][%s] v=%s body=%zu", http_param(q, 0), http_param(q, 1),
               http_query(q, "api-version") ? http_query(q, "api-version") : "-", http_body(q).len);
    http_reply_status(r, 200);
    http_reply_body(r, "text/plain", buf_view(&b));
    buf_fini(&b);
}

static void challenge(struct http_request *q, struct http_reply *r)
{
    struct slice t = http_bearer(q);

    if (!slice_eq_str(t, "good")) {
        http_reply_status(r, 401);
        http_reply_header(r, "WWW-Authenticate",
                          "Bearer authorization=\"https://x/t\", resource=\"https://y\"");
        return;
    }
    http_reply_status(r, 200);
    http_reply_body(r, "text/plain", SLICE_LIT("in"));
}

static void want_json(struct http_request *q, struct http_reply *r)
{
    json_t *j;
    struct err e = { 0 };

    if (http_json(q, &j, &e).failed)
        http_reply_status(r, 400);
    else
        http_reply_json(r, 200, j);
}

static void slow(struct http_request *q, struct http_reply *r)
{
    (void)q;
    clock_sleep_us(300000);
    http_reply_status(r, 200);
    http_reply_body(r, "text/plain", SLICE_LIT("slept"));
}

static void silent(struct http_request *q, struct http_reply *r)
{
    (void)q;
    (void)r;
}

static const struct http_route routes[] = {
    { HTTP_GET, "/keys/{}/{}", echo_params, NULL },
    { HTTP_POST, "/keys/{}/{}/wrapkey", echo_params, NULL },
    { HTTP_POST, "/secure", challenge, NULL },
    { HTTP_POST, "/json", want_json, NULL },
    { HTTP_GET, "/slow", slow, NULL },
    { HTTP_GET, "/silent", silent, NULL },
};
static const struct http_site sites[] = {
    { .host = "*.vault.localhost", .routes = routes, .n_routes = (int)ARRAY_LEN(routes) },
    { .host = "127.0.0.1", .routes = routes, .n_routes = (int)ARRAY_LEN(routes) },
    { .host = "mild.localhost",
      .routes = routes,
      .n_routes = (int)ARRAY_LEN(routes),
      .nocase = true,
      .slash_ends = true },
};

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);
    struct err e = { 0 };
    struct http_server_config c = {
        .address = "127.0.0.1",
        .sites = sites,
        .n_sites = (int)ARRAY_LEN(sites),
        .max_body = 1000,
        .connection_memory = 8192,
        .workers = 2,
    };

    if (http_server_start(&c, &f->server, &e).failed) {
        fprintf(stderr, "%s\n", e.msg);
        return -1;
    }
    f->port = http_server_port(f->server);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    http_server_stop(f->server, 1000);
    mem_free(f);
    return 0;
}

static int dial(int port)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct timeval tv = { .tv_sec = 5 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

/* One answer: up to the end of its body as Content-Length says, or to the end of the connection. */
static char *answer(int fd)
{
    struct buf b = BUF_INIT;

    for (;;) {
        char c;
        if (read(fd, &c, 1) != 1)
            break;
        buf_push(&b, &c, 1);
        char *text = (char *)buf_cstr(&b), *end = strstr(text, "\r\n\r\n");
        char *cl = strcasestr(text, "content-length:");
        if (end && cl && cl < end && b.len >= (size_t)(end + 4 - text) + strtoul(cl + 15, NULL, 10))
            break;
    }
    buf_cstr(&b);
    return (char *)b.p;
}

static char *ask(int port, const char *text)
{
    int fd = dial(port);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    char *a = answer(fd);
    close(fd);
    return a;
}

#define HAS(text, part)                                                                            \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("no \"%s\" in: %s", (part), (text));                                          \
    } while (0)

static void paths_stay_undecoded(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *request, *wants;
    } cases[] = {
        { "GET /keys/k/?api%2Dversion=2025-07-01 HTTP/1.1\r\nHost: a.vault.localhost:1\r\n\r\n",
          "[k][] v=2025-07-01" },
        { "POST /keys/k//wrapkey?api-version=7%2e4 HTTP/1.1\r\nHost: A.VAULT.localhost\r\nContent-Length: 2\r\n\r\nhi",
          "[k][] v=7.4 body=2" },
        { "GET /keys/a%2Fb/c HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", "[a/b][c] v=-" },
        { "GET /keys/a%2/c HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", " 400 " },
        { "GET /keys/a%00/c HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", " 400 " },
        { "GET /keys/a HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", " 404 " },
        { "GET /keys/a/b/ HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", " 404 " },
        { "GET /keys/a/b HTTP/1.1\r\nHost: vault.localhost\r\n\r\n", " 404 " },
        { "GET /keys/a/b HTTP/1.1\r\nHost: evil.example\r\n\r\n", " 404 " },
        { "PUT /keys/a/b HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", " 405 " },
        { "HEAD /keys/a/b HTTP/1.1\r\nHost: a.vault.localhost\r\nConnection: close\r\n\r\n",
          "Allow: GET\r\n" },
        { "OPTIONS /secure HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", "Allow: POST\r\n" },
        { "BREW /keys/a/b HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", " 405 " },
        { "GET /silent HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", " 500 " },
        { "GET /Keys/a/b HTTP/1.1\r\nHost: a.vault.localhost\r\n\r\n", " 404 " },
        { "GET /Keys/A/b HTTP/1.1\r\nHost: mild.localhost\r\n\r\n", "[A][b] " },
        { "POST /keys/k//wrapKey HTTP/1.1\r\nHost: mild.localhost\r\nContent-Length: 0\r\n\r\n",
          "[k][] " },
        { "GET /keys/a/b/ HTTP/1.1\r\nHost: mild.localhost\r\n\r\n", "[a][b] " },
        { "GET /keys/a/ HTTP/1.1\r\nHost: mild.localhost\r\n\r\n", "[a][] " },
        { "GET /keys/a/b// HTTP/1.1\r\nHost: mild.localhost\r\n\r\n", " 404 " },
        { "GET /keys/a/b/c HTTP/1.1\r\nHost: mild.localhost\r\n\r\n", " 404 " },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *a = ask(f->port, cases[i].request);
        HAS(a, cases[i].wants);
        mem_free(a);
    }
}

/* What two readers could take for two different requests: answered, and nothing behind it read as a request. */
static void ambiguous_requests_are_refused(void **state)
{
    static const struct {
        const char *fields, *body;
        int status;
    } cases[] = {
        { "Content-Length: 2\r\nContent-Length: 30\r\n", "{}", 400 },
        { "Content-Length: 0\r\nContent-Length: 2\r\n", "{}", 400 },
        { "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", 400 },
        { "Transfer-Encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", 400 },
        { "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n",
          400 },
        { "Host: mild.localhost\r\nContent-Length: 2\r\n", "{}", 400 },
        { "Content-Length: 2\r\n", "{}", 200 },
        { "Transfer-Encoding: Chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", 200 },
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char want[8];
        char *text = mem_printf("POST /json HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                                "Content-Type: application/json\r\n%s\r\n%s"
                                "GET /keys/next/one HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                                cases[i].fields, cases[i].body);
        int fd = dial(f->port);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        char *first = answer(fd), *second = answer(fd);
        (void)snprintf(want, sizeof want, " %d ", cases[i].status);
        HAS(first, want);
        if (cases[i].status == 200)
            HAS(second, "[next][one]");
        else if (*second)
            fail_msg("case %zu: what followed was read as a request: %s", i, second);
        mem_free(first);
        mem_free(second);
        mem_free(text);
        close(fd);
    }
}

static void connection_survives_a_challenge(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f->port);
    const char *first =
        "POST /secure HTTP/1.1\r\nHost: a.vault.localhost\r\nContent-Length: 0\r\n\r\n";
    const char *second =
        "POST /secure HTTP/1.1\r\nHost: a.vault.localhost\r\nAuthorization: bearer good\r\nContent-Length: 3\r\n\r\nabc";

    for (int round = 0; round < 2; round++) {
        assert_int_equal(write(fd, first, strlen(first)), strlen(first));
        char *a = answer(fd);
        HAS(a, " 401 ");
        HAS(a, "WWW-Authenticate: Bearer authorization=\"https://x/t\", resource=");
        mem_free(a);
        assert_int_equal(write(fd, second, strlen(second)), strlen(second));
        a = answer(fd);
        HAS(a, " 200 ");
        mem_free(a);
    }
    close(fd);
}

static void bodies_are_bounded(void **state)
{
    struct fixture *f = *state;
    char *a =
        ask(f->port, "POST /json HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1001\r\n\r\n{");
    HAS(a, " 413 ");
    HAS(a, "Connection: close");
    mem_free(a);

    int fd = dial(f->port); /* chunked: no length is announced */
    const char *head =
        "POST /json HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_int_equal(write(fd, head, strlen(head)), strlen(head));
    char chunk[520];
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk, "200\r\n", 5);
    memcpy(chunk + 5 + 512, "\r\n", 2);
    for (int i = 0; i < 4; i++)
        assert_int_equal(write(fd, chunk, 519), 519);
    assert_int_equal(write(fd, "0\r\n\r\n", 5), 5);
    a = answer(fd);
    HAS(a, " 413 ");
    mem_free(a);
    close(fd);

    struct buf b = BUF_INIT; /* headers past the connection's memory */
    buf_printf(&b, "GET /keys/a/b HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    for (int i = 0; i < 400; i++)
        buf_printf(&b, "X-H%d: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", i);
    buf_printf(&b, "\r\n");
    fd = dial(f->port);
    ssize_t n = send(fd, b.p, b.len, MSG_NOSIGNAL);
    assert_true(n != 0);
    a = answer(fd);
    assert_null(strstr(a, " 200 "));
    mem_free(a);
    close(fd);
    buf_fini(&b);
}

/* ---- clients that go on sending ---- */

#define TOO_LARGE "POST /json HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10485760\r\n\r\n"

/* A connection whose request was refused and answered, and which the server has ended from its side. */
static int refused(int port)
{
    int fd = dial(port);
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };

    assert_int_equal(write(fd, TOO_LARGE, strlen(TOO_LARGE)), strlen(TOO_LARGE));
    assert_int_equal(poll(&p, 1, 30000), 1);
    assert_int_equal(p.revents, POLLRDHUP);
    return fd;
}

/* Sends so many bytes in pieces; false when the connection was cut before that. */
static bool send_on(int fd, size_t total, size_t piece, unsigned pause_ms)
{
    static const uint8_t bytes[65536];

    for (size_t sent = 0; sent < total; sent += piece) {
        if (send(fd, bytes, piece, MSG_NOSIGNAL) < 0)
            return false;
        clock_sleep_us((uint64_t)pause_ms * 1000);
    }
    return true;
}

static struct http_server *lingering_server(size_t bytes, unsigned ms, unsigned quiet_ms)
{
    struct http_server_config c = {
        .address = "127.0.0.1",
        .sites = sites,
        .n_sites = (int)ARRAY_LEN(sites),
        .max_body = 1000,
        .workers = 1,
        .linger_bytes = bytes,
        .linger_ms = ms,
        .linger_quiet_ms = quiet_ms,
    };
    struct http_server *s;
    struct err e = { 0 };

    assert_false(http_server_start(&c, &s, &e).failed);
    return s;
}

static void who_goes_on_sending_reads_the_answer(void **state)
{
    struct fixture *f = *state;
    int fd = refused(f->port);

    assert_true(send_on(fd, 10 << 20, 65536, 1));
    char *a = answer(fd);
    HAS(a, " 413 ");
    HAS(a, "the request body is too large");
    mem_free(a);
    close(fd);

    fd = dial(f->port); /* a body that announces no length is answered where it is too large */
    const char *head =
        "POST /json HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n";
    assert_int_equal(write(fd, head, strlen(head)), strlen(head));
    assert_true(send_on(fd, 15 << 20, 65536, 0));
    a = answer(fd);
    HAS(a, " 413 ");
    HAS(a, "Connection: close");
    HAS(a, "the request body is too large");
    mem_free(a);
    close(fd);
}

static void lingering_is_bounded(void **state)
{
    static const struct {
        size_t bytes, total, piece;
        unsigned ms, quiet_ms, pause_ms;
    } cases[] = {
        { 200000, 1 << 30, 65536, 600000, 600000, 0 }, /* by bytes */
        { 1 << 30, 6000, 1, 100, 600000, 10 },         /* altogether */
        { 1 << 30, 600, 1, 600000, 10, 100 },          /* in silence */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_server *s = lingering_server(cases[i].bytes, cases[i].ms, cases[i].quiet_ms);
        int fd = refused(http_server_port(s));
        assert_false(send_on(fd, cases[i].total, cases[i].piece, cases[i].pause_ms));
        close(fd);
        http_server_stop(s, 1000);
    }
}

/* A byte to each of them until one has been cut off: which. -1: none within a minute. */
static int first_cut_off(const int *fds, int n)
{
    for (int round = 0; round < 6000; round++) {
        for (int i = 0; i < n; i++)
            if (!send_on(fds[i], 1, 1, 0))
                return i;
        clock_sleep_us(10000);
    }
    return -1;
}

static void the_oldest_that_lingers_gives_way(void **state)
{
    struct http_server *s = lingering_server(1 << 30, 600000, 600000);
    int fds[HTTP_LINGER_MAX + 1];

    (void)state;
    for (int i = 0; i <= HTTP_LINGER_MAX; i++)
        fds[i] = refused(http_server_port(s));
    assert_int_equal(first_cut_off(fds, HTTP_LINGER_MAX + 1), 0);
    assert_true(send_on(fds[1], 1 << 20, 65536, 0));
    assert_true(send_on(fds[HTTP_LINGER_MAX], 1 << 20, 65536, 0));
    http_server_stop(s, 1000); /* and is not held up by the others */
    assert_false(send_on(fds[1], 6000, 1, 10));
    for (int i = 0; i <= HTTP_LINGER_MAX; i++)
        close(fds[i]);
}

static void json_is_checked(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *type, *body;
        int status;
    } cases[] = {
        { "application/json", "{\"a\":1}", 200 },
        { "application/json; charset=utf-8", "{}", 200 },
        { "text/plain", "{}", 400 },
        { "application/json", "[1]", 400 },
        { "application/json", "{\"a\":1,\"a\":2}", 400 },
        { "application/json", "{\"a\":1}x", 400 },
        { "application/json", "", 400 },
        { "application/json", "{\"a\":\"\xff\"}", 400 },
        { "application/json", "{\"a\":[[[[[[[[[[[[[[1]]]]]]]]]]]]]]}", 400 },
        { "application/json", "{\"a\":\"[[[[[[[[[[[[[[[[[[[\"}", 200 },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char want[16];
        char *text = mem_printf(
            "POST /json HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
            cases[i].type, strlen(cases[i].body), cases[i].body);
        char *a = ask(f->port, text);
        snprintf(want, sizeof want, " %d ", cases[i].status);
        HAS(a, want);
        mem_free(a);
        mem_free(text);
    }
}

static void *ask_slow(void *arg)
{
    return ask(*(int *)arg, "GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
}

static void stop_waits_for_what_runs(void **state)
{
    struct http_server *s;
    struct err e = { 0 };
    struct http_server_config c = { .address = "127.0.0.1", .sites = sites, .n_sites = 2 };
    (void)state;

    assert_false(http_server_start(&c, &s, &e).failed);
    int port = http_server_port(s);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, ask_slow, &port), 0);
    clock_sleep_us(100000);
    http_server_stop(s, 2000);
    void *a;
    pthread_join(t, &a);
    HAS((char *)a, "slept");
    mem_free(a);
}

/* Clients that begin and never end hold neither a worker nor the I/O thread. */
static void half_requests_hold_nobody_up(void **state)
{
    static const char *const halves[] = {
        "",
        "GET /keys/a/b HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
        "POST /json HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
        "POST /json HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{",
    };
    struct fixture *f = *state;
    int fds[60];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        const char *half = halves[i % ARRAY_LEN(halves)];
        fds[i] = dial(f->port);
        assert_int_equal(write(fds[i], half, strlen(half)), strlen(half));
    }
    uint64_t from = clock_mono_us();
    for (int i = 0; i < 20; i++) {
        char *a = ask(f->port, "GET /keys/a/b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        HAS(a, " 200 ");
        mem_free(a);
    }
    assert_true(clock_mono_us() - from < 2000000);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

/* More at once than there are workers: all are answered, in turn. */
static void a_burst_is_answered(void **state)
{
    struct fixture *f = *state;
    pthread_t t[8];

    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(pthread_create(&t[i], NULL, ask_slow, &f->port), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        void *a;
        pthread_join(t[i], &a);
        HAS((char *)a, "slept");
        mem_free(a);
    }
}

static void port_in_use_is_named(void **state)
{
    struct fixture *f = *state;
    struct http_server *s;
    struct err e = { 0 };
    struct http_server_config c = {
        .address = "127.0.0.1", .port = (uint16_t)f->port, .sites = sites, .n_sites = 2
    };
    char port[16];

    assert_true(http_server_start(&c, &s, &e).failed);
    assert_null(s);
    snprintf(port, sizeof port, "port %d", f->port);
    HAS(e.msg, port);
}

/* ---- the client ---- */

static void call(const char *url, bool allow_http, const char *method, struct slice body,
                 uint64_t timeout_ms, struct http_answer *a)
{
    struct err e = { 0 };
    struct http_client *c;
    struct http_client_config cc = { .allow_http = allow_http, .connect_timeout_ms = 1000 };
    struct http_call q = {
        .method = method,
        .url = url,
        .body = body,
        .content_type = "application/json",
        .deadline_us = clock_mono_us() + timeout_ms * 1000,
        .max_body = 4096,
    };

    assert_false(http_client_new(&cc, &c, &e).failed);
    http_client_call(c, &q, a);
    http_client_free(c);
}

static void client_gets_answers(void **state)
{
    struct fixture *f = *state;
    struct http_answer a;
    char *url = mem_printf("http://some.vault.localhost:%d/json", f->port);

    call(url, true, "POST", SLICE_LIT("{\"a\":1}"), 3000, &a);
    assert_int_equal(a.outcome, HTTP_OUT_ANSWER);
    assert_int_equal(a.status, 200);
    assert_true(http_answer_is_json(&a));
    assert_true(slice_eq_str(buf_view(&a.body), "{\"a\":1}"));
    assert_true(a.date_s > 1700000000);
    http_answer_fini(&a);
    call(url, false, "POST", SLICE_EMPTY, 3000, &a); /* http where only https is allowed */
    assert_int_equal(a.outcome, HTTP_OUT_LOCAL);
    mem_free(url);
}

struct bad_server {
    int fd, port;
    const char *script; /* what is sent after the request */
    bool drip, endless;
    pthread_t thread;
};

static void *bad_main(void *arg)
{
    struct bad_server *b = arg;
    char in[4096];
    int fd = accept(b->fd, NULL, NULL);

    if (fd >= 0 && read(fd, in, sizeof in) > 0) {
        size_t len = strlen(b->script);
        if (b->drip) {
            for (size_t i = 0; i < len && send(fd, b->script + i, 1, MSG_NOSIGNAL) == 1; i++)
                clock_sleep_us(100000);
        } else {
            (void)!send(fd, b->script, len, MSG_NOSIGNAL);
            while (b->endless && send(fd, "5\r\naaaaa\r\n", 10, MSG_NOSIGNAL) == 10) {
            }
        }
    }
    fd >= 0 ? close(fd) : 0;
    return NULL;
}

static void bad_start(struct bad_server *b)
{
    struct sockaddr_in sa = { .sin_family = AF_INET };
    socklen_t len = sizeof sa;

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    b->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(b->fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(b->fd, 4), 0);
    assert_int_equal(getsockname(b->fd, (struct sockaddr *)&sa, &len), 0);
    b->port = ntohs(sa.sin_port);
    assert_int_equal(pthread_create(&b->thread, NULL, bad_main, b), 0);
}

static void client_survives_bad_servers(void **state)
{
    static const struct {
        const char *script;
        bool drip, endless;
        enum http_outcome want;
        int status;
    } cases[] = {
        { "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false,
          false, HTTP_OUT_ANSWER, 302 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", false, false, HTTP_OUT_TCP, 0 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", false, false, HTTP_OUT_TCP, 0 },
        { "garbage garbage garbage\r\n\r\n", false, false, HTTP_OUT_BAD, 0 },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, true, HTTP_OUT_BAD, 0 },
        { "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true, false, HTTP_OUT_TIMEOUT, 0 },
        { "", false, false, HTTP_OUT_TCP, 0 },
        { "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", false, false,
          HTTP_OUT_ANSWER, 429 },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bad_server b = { .script = cases[i].script,
                                .drip = cases[i].drip,
                                .endless = cases[i].endless };
        struct http_answer a;
        bad_start(&b);
        char *url = mem_printf("http://127.0.0.1:%d/", b.port);
        call(url, true, "GET", SLICE_EMPTY, 700, &a);
        if (a.outcome != cases[i].want)
            fail_msg("case %zu: outcome %s, %s", i, http_outcome_name(a.outcome), a.detail);
        assert_int_equal(a.status, cases[i].status);
        if (a.status == 429)
            assert_int_equal(a.retry_after_s, 7);
        http_answer_fini(&a);
        mem_free(url);
        shutdown(b.fd, SHUT_RDWR);
        pthread_join(b.thread, NULL);
        close(b.fd);
    }
}

static void client_tells_failures_apart(void **state)
{
    struct http_answer a;
    (void)state;

    call("http://127.0.0.1:1/", true, "GET", SLICE_EMPTY, 2000, &a);
    assert_int_equal(a.outcome, HTTP_OUT_TCP);
    call("http://no-such-host.invalid/", true, "GET", SLICE_EMPTY, 5000, &a);
    assert_true(a.outcome == HTTP_OUT_DNS || a.outcome == HTTP_OUT_TIMEOUT);
    call("file:///etc/passwd", true, "GET", SLICE_EMPTY, 2000, &a);
    assert_int_equal(a.outcome, HTTP_OUT_LOCAL);
    call("nonsense", true, "GET", SLICE_EMPTY, 0, &a);
    assert_int_equal(a.outcome, HTTP_OUT_TIMEOUT);
}

int main(void)
{
    struct err e = { 0 };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paths_stay_undecoded, setup, teardown),
        cmocka_unit_test_setup_teardown(ambiguous_requests_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(connection_survives_a_challenge, setup, teardown),
        cmocka_unit_test_setup_teardown(bodies_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(who_goes_on_sending_reads_the_answer, setup, teardown),
        cmocka_unit_test(lingering_is_bounded),
        cmocka_unit_test(the_oldest_that_lingers_gives_way),
        cmocka_unit_test_setup_teardown(json_is_checked, setup, teardown),
        cmocka_unit_test(stop_waits_for_what_runs),
        cmocka_unit_test_setup_teardown(half_requests_hold_nobody_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_burst_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(port_in_use_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(client_gets_answers, setup, teardown),
        cmocka_unit_test(client_survives_bad_servers),
        cmocka_unit_test(client_tells_failures_apart),
    };

    if (http_client_global_init(/* wiping= */ true, &e).failed)
        return 1;
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
