/* test_bulk_write.c - bulkWrite: order, counts, results, and that a malformed operation changes nothing. */
#include "cmd_fixture.h"

static int64_t count(struct fixture *f, const char *coll)
{
    char command[64];

    snprintf(command, sizeof(command), "{\"count\": \"%s\"}", coll);
    return at_i64(run_json(f, "t", command), "n");
}

#define NS "\"nsInfo\": [{\"ns\": \"t.a\"}, {\"ns\": \"t.b\"}]"

static void test_mixed(void **state)
{
    struct fixture *f = *state;
    struct bdoc r = run_json(
        f, "admin",
        "{\"bulkWrite\": 1, " NS ", \"ops\": ["
        "{\"insert\": 0, \"document\": {\"_id\": 1}}, {\"insert\": 0, \"document\": {\"_id\": 2}},"
        "{\"insert\": 1, \"document\": {\"_id\": 1}},"
        "{\"update\": 0, \"filter\": {}, \"updateMods\": {\"$set\": {\"x\": 1}}, \"multi\": true},"
        "{\"update\": 1, \"filter\": {\"_id\": 9}, \"updateMods\": {\"y\": 1}, \"upsert\": true},"
        "{\"delete\": 0, \"filter\": {\"_id\": 1}}]}");

    CHECK_CODE(r, 0);
    CHECK_I64(r, "nErrors", 0);
    CHECK_I64(r, "nInserted", 3);
    CHECK_I64(r, "nMatched", 2);
    CHECK_I64(r, "nModified", 2);
    CHECK_I64(r, "nUpserted", 1);
    CHECK_I64(r, "nDeleted", 1);
    CHECK_I64(r, "cursor.id", 0);
    CHECK_I64(r, "cursor.firstBatch.3.n", 2);
    CHECK_I64(r, "cursor.firstBatch.4.idx", 4);
    CHECK_I64(r, "cursor.firstBatch.4.n", 1);
    CHECK_I64(r, "cursor.firstBatch.4.upserted._id", 9);
    assert_int_equal(count(f, "a"), 1);
    assert_int_equal(count(f, "b"), 2);
}

static const char duplicates[] =
    "{\"bulkWrite\": 1, " NS ", \"ordered\": %s, \"errorsOnly\": true, \"ops\": ["
    "{\"insert\": 0, \"document\": {\"_id\": 1}}, {\"insert\": 0, \"document\": {\"_id\": 1}},"
    "{\"insert\": 1, \"document\": {\"_id\": 1}}]}";

static void test_order(void **state)
{
    struct fixture *f = *state;
    char command[512];

    snprintf(command, sizeof(command), duplicates, "true");
    struct bdoc r = run_json(f, "admin", command);
    CHECK_CODE(r, 0);
    CHECK_I64(r, "nErrors", 1);
    CHECK_I64(r, "nInserted", 1);
    CHECK_I64(r, "cursor.firstBatch.0.idx", 1);
    CHECK_I64(r, "cursor.firstBatch.0.code", ERR_DUPLICATE_KEY);
    assert_int_equal(count(f, "b"), 0);

    snprintf(command, sizeof(command), duplicates, "false");
    r = run_json(f, "admin", command);
    CHECK_CODE(r, 0);
    CHECK_I64(r, "nErrors", 2);
    CHECK_I64(r, "nInserted", 1);
    assert_int_equal(count(f, "a"), 1);
    assert_int_equal(count(f, "b"), 1);
}

static void test_malformed_changes_nothing(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int code;
        const char *op;
    } bad[] = {
        { ERR_BAD_VALUE, "{\"insert\": 2, \"document\": {}}" },
        { ERR_BAD_VALUE, "{\"insert\": -1, \"document\": {}}" },
        { ERR_IDL_UNKNOWN_FIELD, "{\"replace\": 0, \"document\": {}}" },
        { ERR_IDL_UNKNOWN_FIELD, "{\"insert\": 0, \"document\": {}, \"filter\": {}}" },
        { ERR_IDL_FAILED_TO_PARSE, "{\"update\": 0, \"filter\": {}}" },
        { ERR_IDL_FAILED_TO_PARSE, "{\"delete\": 0}" },
        { ERR_TYPE_MISMATCH, "{\"delete\": 0, \"filter\": {}, \"multi\": 1}" },
        { ERR_TYPE_MISMATCH, "7" },
        { ERR_FAILED_TO_PARSE, "{\"update\": 0, \"filter\": {}, \"updateMods\": 1}" },
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char command[256];
        snprintf(command, sizeof(command),
                 "{\"bulkWrite\": 1, " NS
                 ", \"ops\": [{\"insert\": 0, \"document\": {\"_id\": 1}}, %s]}",
                 bad[i].op);
        CHECK_CODE(run_json(f, "admin", command), bad[i].code);
    }
    assert_int_equal(count(f, "a"), 0);
    CHECK_CODE(run_json(f, "admin", "{\"bulkWrite\": 1, " NS ", \"ops\": []}"), ERR_INVALID_LENGTH);
    CHECK_CODE(run_json(f, "t",
                        "{\"bulkWrite\": 1, " NS
                        ", \"ops\": [{\"insert\": 0, \"document\": {\"_id\": 1}}]}"),
               ERR_UNAUTHORIZED);
}

static void test_cursor(void **state)
{
    struct fixture *f = *state;
    char command[128];
    struct bdoc r = run_json(f, "admin",
                             "{\"bulkWrite\": 1, " NS ", \"cursor\": {\"batchSize\": 1}, \"ops\": ["
                             "{\"insert\": 0, \"document\": {}}, {\"insert\": 0, \"document\": {}},"
                             "{\"insert\": 1, \"document\": {}}]}");

    CHECK_CODE(r, 0);
    assert_int_equal(bdoc_count(bval_doc(at(r, "cursor.firstBatch"))), 1);
    snprintf(command, sizeof(command),
             "{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"$cmd.bulkWrite\"}",
             (long long)at_i64(r, "cursor.id"));
    r = run_json(f, "admin", command);
    CHECK_CODE(r, 0);
    CHECK_I64(r, "cursor.nextBatch.0.idx", 1);
    CHECK_I64(r, "cursor.nextBatch.1.idx", 2);
    CHECK_I64(r, "cursor.id", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_mixed, fixture_clean),
        cmocka_unit_test_setup(test_order, fixture_clean),
        cmocka_unit_test_setup(test_malformed_changes_nothing, fixture_clean),
        cmocka_unit_test_setup(test_cursor, fixture_clean),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
