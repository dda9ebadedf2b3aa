/* test_interrupt.c - what runs ends when its client is interrupted, with the code that says why; what is idle is not touched. */
#include "cmd_fixture.h"

#include <pthread.h>

enum { N_DOCS = 3000 };

static void fill(struct fixture *f)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_str(&w, "insert", "c");
    bw_array_begin(&w, "documents");
    for (int i = 0; i < N_DOCS; i++) {
        bw_doc_begin(&w, NULL);
        bw_i32(&w, "_id", i);
        bw_i32(&w, "x", i % 10);
        bw_doc_end(&w);
    }
    bw_array_end(&w);
    CHECK_CODE(run_doc(f, "t", bw_finish(&w)), 0);
}

struct interrupter {
    struct fixture *f;
    int code;
};

static void *interrupt_soon(void *arg)
{
    struct interrupter *i = arg;

    clock_sleep_us(100000);
    atomic_store(&i->f->client->interrupt, i->code);
    return NULL;
}

/* Runs the command, which would take minutes, and interrupts it on the way. */
static void check_ends(struct fixture *f, const char *command, int code)
{
    struct interrupter i = { .f = f, .code = code };
    pthread_t t;
    uint64_t before = clock_mono_us();

    assert_int_equal(pthread_create(&t, NULL, interrupt_soon, &i), 0);
    struct bdoc reply = run_json(f, "t", command);
    pthread_join(t, NULL);
    atomic_store(&f->client->interrupt, 0);
    CHECK_CODE(reply, code);
    assert_true(clock_mono_us() - before < 20000000);
}

#define CROSS                                                                                      \
    "{\"$lookup\": {\"from\": \"c\", \"pipeline\": [{\"$match\": {\"y\": 1}}], \"as\": \"o\"}}"

static void test_aggregate(void **state)
{
    struct fixture *f = *state;

    fill(f);
    check_ends(f,
               "{\"aggregate\": \"c\", \"cursor\": {}, \"pipeline\": [" CROSS
               ", {\"$group\": {\"_id\": null, \"n\": {\"$sum\": 1}}}]}",
               ERR_INTERRUPTED_AT_SHUTDOWN);
}

static void test_find(void **state)
{
    struct fixture *f = *state;
    static const char slow[] =
        "{\"find\": \"c\", \"filter\": {\"$expr\": {\"$eq\": [{\"$size\": {\"$filter\": {\"input\": "
        "{\"$range\": [0, 20000]}, \"cond\": {\"$eq\": [\"$$this\", -1]}}}}, 1]}}}";

    fill(f);
    check_ends(f, slow, ERR_CLUSTER_INACCESSIBLE);
}

static void test_get_more(void **state)
{
    struct fixture *f = *state;
    char command[128];

    fill(f);
    struct bdoc reply =
        run_json(f, "t",
                 "{\"aggregate\": \"c\", \"cursor\": {\"batchSize\": 1}, \"pipeline\": [" CROSS
                 "]}");
    CHECK_CODE(reply, 0);
    long long id = at_i64(reply, "cursor.id");
    assert_true(id != 0);
    snprintf(command, sizeof(command),
             "{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"c\"}", id);
    check_ends(f, command, ERR_INTERRUPTED_AT_SHUTDOWN);
}

static void test_idle_cursor(void **state)
{
    struct fixture *f = *state;
    char command[128];

    fill(f);
    struct bdoc reply = run_json(f, "t", "{\"find\": \"c\", \"batchSize\": 1}");
    struct cmd_client_config cc = { .identity = f->identity, .id = 2, .peer = "127.0.0.1:2" };
    struct cmd_client *other = cmd_client_new(&cc), *first = f->client;

    /* the client that made the cursor is interrupted: another one may go on with it */
    atomic_store(&first->interrupt, ERR_INTERRUPTED);
    f->client = other;
    snprintf(command, sizeof(command),
             "{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"c\"}",
             (long long)at_i64(reply, "cursor.id"));
    CHECK_CODE(run_json(f, "t", command), 0);
    f->client = first;
    cmd_client_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_aggregate, fixture_clean),
        cmocka_unit_test_setup(test_find, fixture_clean),
        cmocka_unit_test_setup(test_get_more, fixture_clean),
        cmocka_unit_test_setup(test_idle_cursor, fixture_clean),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
