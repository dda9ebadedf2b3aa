/* test_state.c - a node that seals, or stops, answers every command with that: but for the handshake's, which tells the driver. */
#include "cmd_fixture.h"

static RC key_check(void *ctx, struct err *e)
{
    if (*(bool *)ctx)
        FAIL(e, ERR_CLUSTER_INACCESSIBLE, "the key is gone");
    return RC_OK;
}

static const struct node_key_ops key_ops = { .check = key_check };

/* What the commands say; no body but the name is needed, since this comes first. */
static void check_all(struct fixture *f, int code)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    int n_through = 0;

    for (int i = 0; i < cmd_count(); i++) {
        struct bw w;
        buf_clear(&b);
        bw_init(&w, &b);
        bw_i32(&w, cmd_at(i)->name, 1);
        struct bdoc reply = run_doc(f, "admin", bw_finish(&w));
        if (slice_eq_str(slice_str(cmd_at(i)->name), "hello"))
            n_through += code_of(reply) == 0;
        else if (cmd_at(i)->flags & CMD_TEST_ONLY)
            CHECK_CODE(reply, ERR_COMMAND_NOT_FOUND);
        else
            CHECK_CODE(reply, code);
    }
    assert_int_equal(n_through, 1);
}

static void test_sealing(void **state)
{
    struct fixture *f = *state;
    bool sealing = false;

    f->node->key = &key_ops;
    f->node->key_ctx = &sealing;
    CHECK_CODE(run_json(f, "t", "{\"insert\": \"c\", \"documents\": [{\"_id\": 1}]}"), 0);
    sealing = true;
    check_all(f, ERR_CLUSTER_INACCESSIBLE);
    sealing = false;
    CHECK_I64(run_json(f, "t", "{\"count\": \"c\"}"), "n", 1);
    f->node->key = NULL;
}

static void test_stopping(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->node->stopping, true);
    check_all(f, ERR_INTERRUPTED_AT_SHUTDOWN);
    atomic_store(&f->node->stopping, false);
    CHECK_CODE(run_json(f, "t", "{\"ping\": 1}"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sealing, fixture_clean),
        cmocka_unit_test_setup(test_stopping, fixture_clean),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
