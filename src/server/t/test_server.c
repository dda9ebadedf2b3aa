/* test_server.c - connections and messages over a table of commands made for the test: what the server adds around cmd_run().
 *
 *   ping · big (64 KB of text) · sleep (50 ms, may wait) · hello (answered when sealed; with `await` it parks; with `stream` it exhausts) · secret (never compressed)
 */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "bsonx/bw.h"
#include "cmd/cmd.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "identity/identity.h"
#include "server/server.h"
#include "wire/wire.h"

static struct node node;
static struct identity *identity;
static struct server *server;
static struct arena *a;
static struct wire_codec *codec;
static atomic_bool sealed;
static atomic_int n_gone;

/* ---- the commands ---- */

static const struct cmd_def defs[] = {
    { .name = "ping" },
    { .name = "big" },
    { .name = "sleep", .flags = CMD_WRITES },
    { .name = "hello", .flags = CMD_NO_AUTH | CMD_SEALED_OK },
    { .name = "secret", .flags = CMD_NO_LOG },
};

const struct cmd_def *cmd_find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(defs); i++)
        if (slice_eq_str(name, defs[i].name))
            return &defs[i];
    return NULL;
}

void node_client_gone(struct node *n, struct cmd_client *client)
{
    (void)n, (void)client;
    n_gone++;
}

static void run_hello(struct cmd_req *r, struct bw *w)
{
    if (bdoc_get(r->body, "compression").type != BT_MISSING)
        r->client->compressors = 1 << COMPRESS_SNAPPY | 1 << COMPRESS_ZSTD;
    if (bdoc_get(r->body, "await").type != BT_MISSING && !r->client->resumed) {
        cmd_client_park(r->client, PARK_TOPOLOGY, 0,
                        r->start_us + (uint64_t)bval_i32(bdoc_get(r->body, "await")) * 1000);
        return;
    }
    bw_bool(w, "resumed", r->client->resumed);
    bw_i32(w, "round", (int32_t)r->client->exhaust_round);
    r->client->exhaust_more = r->exhaust_allowed && r->client->exhaust_round < 3;
}

bool cmd_writes(const struct cmd_def *d, struct bdoc body)
{
    (void)body;
    return d->flags & CMD_WRITES;
}

void cmd_run(struct cmd_req *r, struct buf *out)
{
    struct err e = { 0 };
    struct biter it;
    struct bw w;

    bw_init(&w, out);
    biter_init(&it, r->body);
    assert_true(biter_next(&it));
    if (slice_eq_str(it.name, "hello")) {
        run_hello(r, &w);
    } else if (slice_eq_str(it.name, "sleep")) {
        for (int i = 0; i < 200 && !cmd_client_check(r->client, &e).failed; i++)
            clock_sleep_us(1000);
        bw_i32(&w, "code", (int32_t)e.code);
    } else if (slice_eq_str(it.name, "big") || slice_eq_str(it.name, "secret")) {
        static char text[65536];

        memset(text, 'a', sizeof(text));
        bw_str_slice(&w, "text", SLICE(text, sizeof(text)));
    } else {
        bw_i32(&w, "n", r->n_seqs ? r->seqs[0].n_docs : 0);
        bw_str_slice(&w, "db", r->db);
    }
    err_reset(&e);
    bw_double(&w, "ok", 1.0);
    bw_finish(&w);
}

/* ---- a server and a client ---- */

static bool is_sealed(void *ctx, struct cmd_seal *out)
{
    (void)ctx;
    *out = (struct cmd_seal){ .state = "Inaccessible", .since_ms = 1000, .next_probe_ms = 2000 };
    return sealed;
}

static void start_with(bool auth, struct net_tls *tls)
{
    struct identity_config ic = { .auth = auth };
    struct server_config c;
    struct err e = { 0 };

    identity = identity_new(&ic);
    server_config_init(&c);
    c.node = &node;
    c.identity = identity;
    c.tls = tls;
    c.sealed = is_sealed;
    c.message_timeout_us = 200000;
    CHECK_RC_OK(server_new(&c, &server, &e), &e);
    CHECK_RC_OK(server_listen(server, "127.0.0.1", 0, &e), &e);
    CHECK_RC_OK(server_start(server, &e), &e);
}

static int setup(void **state)
{
    (void)state;
    sealed = false;
    n_gone = 0;
    a = arena_new(0);
    codec = wire_codec_new();
    start_with(false, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_stop(server, clock_mono_us() + 2000000);
    server_free(server);
    identity_free(identity);
    arena_free(a);
    wire_codec_free(codec);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons((uint16_t)server_port(server)) };
    struct timeval tv = { .tv_sec = 5 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    return fd;
}

static struct bdoc json(const char *text)
{
    struct err e = { 0 };
    struct bdoc d;

    CHECK_RC_OK(bdoc_from_json(a, text, &d, &e), &e);
    return d;
}

static void send_buf(int fd, struct buf *b)
{
    struct err e = { 0 };

    CHECK_RC_OK(file_write_fd(fd, buf_view(b), &e), &e);
    buf_fini(b);
}

static void ask(int fd, int32_t id, uint32_t flags, const char *text)
{
    struct buf b = BUF_INIT;

    wire_put_msg(&b, id, flags, json(text));
    send_buf(fd, &b);
}

/* One message; false at the end of the stream. */
static bool hear(int fd, struct wire_msg *m)
{
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    uint32_t len;

    buf_extend(&b, 16);
    if (recv(fd, b.p, 16, MSG_WAITALL) != 16) {
        buf_fini(&b);
        return false;
    }
    len = get_le32(b.p);
    buf_extend(&b, len - 16);
    assert_int_equal(recv(fd, b.p + 16, len - 16, MSG_WAITALL), len - 16);
    CHECK_RC_OK(wire_parse(SLICE(arena_dup(a, b.p, b.len), b.len), codec, a, m, &e), &e);
    buf_fini(&b);
    return true;
}

static int32_t number(const struct wire_msg *m, const char *name)
{
    struct bval v = bdoc_get(m->body, name);

    return v.type == BT_INT32 ? bval_i32(v) : -1;
}

/* ---- */

static void test_ping(void **state)
{
    int fd = dial();
    struct wire_msg m;
    struct buf b = BUF_INIT;

    (void)state;
    ask(fd, 41, 0, "{\"ping\": 1, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    assert_int_equal(m.response_to, 41);
    assert_int_equal(m.op, WIRE_OP_MSG);
    assert_true(slice_eq_str(bval_str(bdoc_get(m.body, "db")), "x"));
    /* moreToCome: nothing comes back, also for an error; the next request is answered. */
    ask(fd, 42, WIRE_MORE_TO_COME, "{\"ping\": 1, \"$db\": \"x\"}");
    ask(fd, 43, WIRE_MORE_TO_COME, "{\"ping\": 1}");
    ask(fd, 44, 0, "{\"ping\": 1, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    assert_int_equal(m.response_to, 44);
    ask(fd, 45, 0, "{\"ping\": 1}");
    assert_true(hear(fd, &m));
    assert_int_equal(number(&m, "code"), 40571);
    /* A document that is no good is an error, not the end. */
    wire_put_msg(&b, 46, 0, json("{\"ping\": \"text\", \"$db\": \"x\"}"));
    b.p[21 + 4] = 0x99;
    send_buf(fd, &b);
    assert_true(hear(fd, &m));
    assert_int_equal(m.response_to, 46);
    assert_int_equal(number(&m, "code"), ERR_INVALID_BSON);
    ask(fd, 47, 0, "{\"ping\": 1, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    /* An unknown required flag is the end. */
    ask(fd, 48, 1u << 5, "{\"ping\": 1, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    assert_int_equal(number(&m, "code"), 223);
    assert_false(hear(fd, &m));
    close(fd);
}

static void test_garbage_ends_the_connection(void **state)
{
    static const char *const junk[] = { "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                        "\x10\0\0\0\1\0\0\0\0\0\0\0\xd2\7\0\0", "\1\0\0\0" };
    static const size_t lens[] = { 26, 16, 4 };
    struct wire_msg m;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(junk); i++) {
        int fd = dial();

        assert_int_equal(write(fd, junk[i], lens[i]), lens[i]);
        assert_false(hear(fd, &m));
        close(fd);
    }
}

static void test_compression(void **state)
{
    int fd = dial();
    struct wire_msg m;
    struct buf b = BUF_INIT;
    struct err e = { 0 };

    (void)state;
    ask(fd, 1, 0, "{\"hello\": 1, \"compression\": [\"zstd\"], \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    /* an uncompressed question, a compressed one, one that must not be, and a compressor not agreed on */
    for (int i = 0; i < 4; i++) {
        static const char *const names[] = { "big", "big", "secret", "big" };
        static char text[400];

        snprintf(text, sizeof(text), "{\"%s\": \"%0300d\", \"$db\": \"x\"}", names[i], 0);
        wire_put_msg(&b, 2, 0, json(text));
        if (i > 0)
            CHECK_RC_OK(wire_compress(codec, i == 3 ? WIRE_ZLIB : WIRE_ZSTD, 0, &b, &e), &e);
        send_buf(fd, &b);
        if (i == 3) {
            assert_false(hear(fd, &m));
            break;
        }
        assert_true(hear(fd, &m));
        assert_int_equal(m.compressed, i == 1);
        assert_int_equal(bval_str(bdoc_get(m.body, "text")).len, 65536);
    }
    close(fd);
    /* Nothing was agreed on: a compressed message is refused. */
    fd = dial();
    wire_put_msg(
        &b, 2, 0,
        json(
            "{\"big\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", \"$db\": \"x\"}"));
    CHECK_RC_OK(wire_compress(codec, WIRE_ZSTD, 0, &b, &e), &e);
    send_buf(fd, &b);
    assert_true(hear(fd, &m));
    assert_int_equal(number(&m, "code"), ERR_PROTOCOL_ERROR);
    assert_false(hear(fd, &m));
    close(fd);
}

static void test_await_and_exhaust(void **state)
{
    int fd = dial();
    struct wire_msg m;
    uint64_t at = clock_mono_us();
    int32_t before = 9;

    (void)state;
    ask(fd, 9, 0, "{\"hello\": 1, \"await\": 40, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    assert_true(clock_mono_us() - at >= 40000);
    assert_true(bval_bool(bdoc_get(m.body, "resumed")));
    ask(fd, 9, 0, "{\"hello\": 1, \"await\": 30000, \"$db\": \"x\"}");
    clock_sleep_us(50000);
    cmd_client_signal(PARK_KEY, 0); /* somebody else's event */
    clock_sleep_us(20000);
    cmd_client_signal(PARK_TOPOLOGY, 0);
    assert_true(hear(fd, &m));
    assert_true(clock_mono_us() - at < 10000000);
    /* Each reply of a stream answers the one before. */
    ask(fd, 9, WIRE_EXHAUST_ALLOWED, "{\"hello\": 1, \"await\": 10, \"$db\": \"x\"}");
    for (int i = 0; i < 4; i++) {
        assert_true(hear(fd, &m));
        assert_int_equal(m.response_to, before);
        assert_int_equal(number(&m, "round"), i);
        assert_int_equal((m.flags & WIRE_MORE_TO_COME) != 0, i < 3);
        before = m.request_id;
    }
    ask(fd, 10, 0, "{\"ping\": 1, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    assert_int_equal(m.response_to, 10);
    close(fd);
}

static void test_op_query(void **state)
{
    int fd = dial();
    struct wire_msg m;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct buf b = BUF_INIT;
        struct bdoc d = json("{\"hello\": 1}");

        buf_extend(&b, 16);
        put_le32(b.p + 4, 5);
        put_le32(b.p + 8, 0);
        put_le32(b.p + 12, WIRE_OP_QUERY);
        buf_push_le32(&b, 0);
        buf_push(&b, i == 0 ? "admin.$cmd" : "admin.users", i == 0 ? 11 : 12);
        buf_push_le32(&b, 0);
        buf_push_le32(&b, 1);
        buf_push(&b, d.p, d.len);
        put_le32(b.p, (uint32_t)b.len);
        send_buf(fd, &b);
        assert_true(hear(fd, &m));
        assert_int_equal(m.op, WIRE_OP_REPLY);
        assert_int_equal(m.response_to, 5);
        assert_int_equal(number(&m, "code"), i == 0 ? -1 : ERR_UNSUPPORTED_OP_QUERY_COMMAND);
    }
    close(fd);
}

static void expect_sealed(const struct wire_msg *m)
{
    assert_int_equal(number(m, "code"), ERR_CLUSTER_INACCESSIBLE);
    assert_true(slice_eq_str(bval_str(bdoc_get(m->body, "codeName")), "ClusterInaccessible"));
    assert_true(slice_eq_str(bval_str(bdoc_get(m->body, "state")), "Inaccessible"));
    assert_int_equal(bval_i64(bdoc_get(m->body, "since")), 1000);
    assert_int_equal(bval_i64(bdoc_get(m->body, "nextProbe")), 2000);
    assert_int_equal(bdoc_get(m->body, "errorLabels").type, BT_MISSING);
}

static void test_sealed(void **state)
{
    int fd = dial();
    struct wire_msg m;

    (void)state;
    sealed = true;
    for (int i = 0; i < 3; i++) {
        static const char *const asked[] = { "{\"ping\": 1, \"$db\": \"x\"}",
                                             "{\"saslStart\": 1, \"$db\": \"x\"}",
                                             "{\"nosuch\": 1, \"$db\": \"x\"}" };

        ask(fd, 1, 0, asked[i]);
        assert_true(hear(fd, &m));
        expect_sealed(&m);
    }
    ask(fd, 1, 0, "{\"hello\": 1, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    assert_int_equal(number(&m, "code"), -1);
    sealed = false;
    ask(fd, 1, 0, "{\"ping\": 1, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    assert_int_equal(number(&m, "code"), -1);
    close(fd);
}

/* Going Inaccessible: what runs, what waits and what is idle. */
static void test_sealing_ends_clients(void **state)
{
    int running = dial(), waiting = dial(), idle = dial(), late;
    struct wire_msg m;
    uint64_t at;

    (void)state;
    ask(idle, 1, 0, "{\"ping\": 1, \"$db\": \"x\"}");
    assert_true(hear(idle, &m));
    ask(running, 2, 0, "{\"sleep\": 1, \"$db\": \"x\"}");
    ask(waiting, 3, 0, "{\"hello\": 1, \"await\": 60000, \"$db\": \"x\"}");
    clock_sleep_us(50000);
    at = clock_mono_us();
    sealed = true;
    assert_true(server_end_clients(server, at + 1000000));
    assert_true(clock_mono_us() - at < 120000); /* not the whole of the sleep */
    assert_true(hear(running, &m));
    expect_sealed(&m);
    assert_false(hear(running, &m));
    assert_true(hear(waiting, &m));
    expect_sealed(&m);
    assert_false(hear(waiting, &m));
    assert_false(hear(idle, &m));
    late = dial(); /* the listener is open; nobody looks */
    ask(late, 4, 0, "{\"ping\": 1, \"$db\": \"x\"}");
    sealed = false;
    server_resume(server);
    assert_true(hear(late, &m));
    assert_int_equal(number(&m, "code"), -1);
    assert_int_equal(n_gone, 3);
    close(running);
    close(waiting);
    close(idle);
    close(late);
}

static void test_who_may_connect(void **state)
{
    struct err e = { 0 };

    (void)state;
    CHECK_RC_FAILS(server_listen(server, "0.0.0.0", 0, &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(server_listen(server, "127.0.0.1,::", 0, &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(server_listen(server, " , ", 0, &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(server_listen(server, "not a host", 0, &e), &e, ERR_CONFIG);
    /* With authentication but without TLS it stays like that. */
    assert_int_equal(teardown(NULL), 0);
    a = arena_new(0);
    codec = wire_codec_new();
    start_with(true, NULL);
    CHECK_RC_FAILS(server_listen(server, "0.0.0.0", 0, &e), &e, ERR_CONFIG);
}

static void test_stats(void **state)
{
    struct node_net_stats st;
    struct wire_msg m;
    int fd = dial();

    (void)state;
    ask(fd, 1, 0, "{\"ping\": 1, \"$db\": \"x\"}");
    assert_true(hear(fd, &m));
    /* What was sent is counted after it was sent: the answer may be here first. */
    uint64_t deadline = clock_mono_us() + 5000000;
    do {
        clock_sleep_us(1000);
        server_node_ops.stats(server, &st);
    } while (st.bytes_out <= 30 && clock_mono_us() < deadline);
    assert_int_equal(st.current, 1);
    assert_int_equal(st.total_created, 1);
    assert_int_equal(st.available, 65535);
    assert_true(st.bytes_in > 30 && st.bytes_out > 30 && st.n_requests > 0);
    close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
    T(test_ping),
    T(test_garbage_ends_the_connection),
    T(test_compression),
    T(test_await_and_exhaust),
    T(test_op_query),
    T(test_sealed),
    T(test_sealing_ends_clients),
    T(test_who_may_connect),
    T(test_stats),
};

int main(void)
{
    struct err e = { 0 };

    if (secret_arena_init(1 << 18, &e).failed || crypto_init(&e).failed) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
