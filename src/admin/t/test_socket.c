/* The administration socket, client and server in one process. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

static char dir[64], path[80];

static RC op_echo(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    (void)e;
    (*(int *)ctx)++;
    bw_val(w, "said", bdoc_get(args, "say"));
    return RC_OK;
}

static RC op_fail(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    (void)ctx;
    (void)args;
    bw_str(w, "half", "written");
    FAIL(e, ERR_KEY_DENIED, "the vault said no");
}

static const struct admin_op rows[] = {
    { "echo", "say", ADMIN_OP_SEALED, "repeat", op_echo },
    { "fail", "", 0, "refuse", op_fail },
    { "local", "", ADMIN_OP_LOCAL | ADMIN_OP_CHANGES, "repeat on this machine", op_echo },
};

static struct admin_ops ops_of(int *calls, bool sealed)
{
    return (struct admin_ops){ .row = rows, .n = ARRAY_LEN(rows), .ctx = calls, .sealed = sealed };
}

static RC call(struct arena *a, const char *json, struct bdoc *out, struct err *e)
{
    struct bdoc request;
    TRY(bdoc_from_json(a, json, &request, e));
    return admin_call(path, request, 5000, a, out, e);
}

static void operations_answer(void **state)
{
    (void)state;
    struct err e = { 0 };
    int calls = 0;
    struct admin_ops ops = ops_of(&calls, false);
    struct admin_server *s;
    struct bdoc out;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    CHECK_RC_OK(admin_listen(path, &ops, &s, &e), &e);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    CHECK_RC_OK(call(a, "{\"op\": \"echo\", \"say\": \"hi\\n\"}", &out, &e), &e);
    assert_true(slice_eq_str(bval_str(bdoc_get(out, "said")), "hi\n"));
    assert_int_equal(calls, 1);
    CHECK_RC_FAILS(call(a, "{\"op\": \"fail\"}", &out, &e), &e, ERR_KEY_DENIED);
    assert_true(bval_is_missing(bdoc_get(out, "half")));
    CHECK_RC_FAILS(call(a, "{\"op\": \"none\"}", &out, &e), &e, ERR_COMMAND_NOT_FOUND);
    CHECK_RC_FAILS(call(a, "{\"op\": 5}", &out, &e), &e, ERR_BAD_VALUE);
    CHECK_RC_FAILS(call(a, "{\"op\": \"echo\", \"sya\": 1}", &out, &e), &e, ERR_BAD_VALUE);
    assert_int_equal(calls, 1);
    struct admin_server *second;
    CHECK_RC_FAILS(admin_listen(path, &ops, &second, &e), &e, ERR_DIRECTORY_BUSY);
    assert_null(second);
    admin_close(s);
    CHECK_RC_FAILS(call(a, "{\"op\": \"echo\"}", &out, &e), &e, ERR_NOT_FOUND);
}

static int connect_raw(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    memcpy(addr.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static void bad_input_ends_only_its_connection(void **state)
{
    (void)state;
    struct err e = { 0 };
    int calls = 0;
    struct admin_ops ops = ops_of(&calls, false);
    struct admin_server *s;
    struct bdoc out;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    CHECK_RC_OK(admin_listen(path, &ops, &s, &e), &e);
    char junk[70000], answer[4096];
    int fd = connect_raw();
    assert_int_equal(send(fd, "{]\n", 3, 0), 3);
    ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);
    assert_true(n > 0);
    answer[n] = '\0';
    assert_non_null(strstr(answer, "\"ok\""));
    assert_non_null(strstr(answer, "false"));
    close(fd);
    fd = connect_raw();
    memset(junk, 'x', sizeof(junk));
    (void)!send(fd, junk, sizeof(junk), MSG_NOSIGNAL);
    assert_true(recv(fd, answer, sizeof(answer), 0) <= 0); /* a line too long ends the connection */
    close(fd);
    CHECK_RC_OK(call(a, "{\"op\": \"echo\"}", &out, &e), &e);
    admin_close(s);
}

static RC run(const struct admin_ops *t, enum admin_via via, const char *name, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    struct admin_caller who = { .via = via, .who = "x" };
    struct bw w;
    bw_init(&w, &space);
    return admin_run(t, &who, slice_str(name), BDOC_EMPTY, &w, e);
}

static void rows_say_where_they_are_offered(void **state)
{
    (void)state;
    struct err e = { 0 };
    int calls = 0;
    struct admin_ops ready = ops_of(&calls, false), sealed = ops_of(&calls, true);
    CHECK_RC_OK(run(&ready, ADMIN_VIA_SOCKET, "local", &e), &e);
    CHECK_RC_FAILS(run(&ready, ADMIN_VIA_COMMAND, "local", &e), &e, ERR_ILLEGAL_OPERATION);
    CHECK_RC_FAILS(run(&ready, ADMIN_VIA_COMMAND, "fail", &e), &e, ERR_KEY_DENIED);
    CHECK_RC_FAILS(run(&sealed, ADMIN_VIA_SOCKET, "fail", &e), &e, ERR_CLUSTER_INACCESSIBLE);
    CHECK_RC_FAILS(run(&sealed, ADMIN_VIA_SOCKET, "local", &e), &e, ERR_CLUSTER_INACCESSIBLE);
    CHECK_RC_OK(run(&sealed, ADMIN_VIA_SOCKET, "echo", &e), &e);
    assert_int_equal(calls, 2);
}

struct late {
    struct admin_ops ops;
    struct admin_server *server;
    int after_ms;
};

static void *listen_late(void *arg)
{
    struct late *l = arg;
    struct err e = { 0 };
    clock_sleep_us((uint64_t)l->after_ms * 1000);
    CHECK_RC_OK(admin_listen(path, &l->ops, &l->server, &e), &e);
    return NULL;
}

static RC call_patiently(struct arena *a, uint64_t patience_ms, struct bdoc *out, struct err *e)
{
    struct bdoc request;
    TRY(bdoc_from_json(a, "{\"op\": \"echo\"}", &request, e));
    return admin_call_patiently(path, request, 5000, patience_ms, a, out, e);
}

/* What an image that was replaced leaves: a file that nobody listens on. */
static void leave_a_dead_socket(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    memcpy(addr.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    close(fd);
}

static void a_socket_that_comes_late_is_waited_for(void **state)
{
    (void)state;
    for (int dead = 0; dead < 2; dead++) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        struct err e = { 0 };
        int calls = 0;
        struct late l = { .ops = ops_of(&calls, false), .after_ms = 200 };
        struct bdoc out;
        if (dead)
            leave_a_dead_socket();
        CHECK_RC_FAILS(call_patiently(a, 0, &out, &e), &e, ERR_NOT_FOUND);
        CHECK_RC_FAILS(call_patiently(a, 50, &out, &e), &e, ERR_NOT_FOUND);
        pthread_t t = thread_start("late", listen_late, &l);
        CHECK_RC_OK(call_patiently(a, 60000, &out, &e), &e);
        thread_join(t);
        assert_int_equal(calls, 1);
        admin_close(l.server);
    }
}

static void *accept_and_drop(void *arg)
{
    char byte;
    for (int fd; (fd = accept(*(int *)arg, NULL, NULL)) >= 0; close(fd))
        (void)!recv(fd, &byte, 1, 0);
    return NULL;
}

/* The request may have been carried out: it is not made twice. */
static void what_was_sent_is_not_sent_again(void **state)
{
    (void)state;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct err e = { 0 };
    struct bdoc out;
    memcpy(addr.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 8), 0);
    pthread_t t = thread_start("drops", accept_and_drop, &fd);
    CHECK_RC_FAILS(call_patiently(a, 60000, &out, &e), &e, ERR_TIMEOUT);
    shutdown(fd, SHUT_RDWR);
    thread_join(t);
    close(fd);
    unlink(path);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_socket_that_comes_late_is_waited_for),
    cmocka_unit_test(what_was_sent_is_not_sent_again),
    cmocka_unit_test(operations_answer),
    cmocka_unit_test(bad_input_ends_only_its_connection),
    cmocka_unit_test(rows_say_where_they_are_offered),
};

int main(void)
{
    snprintf(dir, sizeof(dir), "/tmp/coffer-admin-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof(path), "%s/s", dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return rc;
}
