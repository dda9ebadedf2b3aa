/* test_stages.c - the stages of a pipeline that need the node. */
#include "cmd_fixture.h"

static struct bdoc aggregate(struct fixture *f, const char *db, const char *target,
                             const char *pipeline)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    buf_printf(&b, "{\"aggregate\": %s, \"cursor\": {}, \"pipeline\": %s}", target, pipeline);
    return run_json(f, db, buf_cstr(&b));
}

static void fill(struct fixture *f)
{
    CHECK_CODE(run_json(f, "t",
                        "{\"insert\": \"c\", \"documents\": [{\"_id\": 1, \"x\": 1}, {\"_id\": 2, "
                        "\"x\": 2}, {\"_id\": 3, \"x\": 3}]}"),
               0);
}

static void test_coll_stats(void **state)
{
    struct fixture *f = *state;

    fill(f);
    CHECK_CODE(run_json(f, "t", "{\"find\": \"c\", \"filter\": {\"x\": 2}}"), 0);
    struct bdoc r =
        aggregate(f, "t", "\"c\"",
                  "[{\"$collStats\": {\"count\": {}, \"storageStats\": {}, \"queryExecStats\": {}, "
                  "\"latencyStats\": {\"histograms\": true}}}]");
    CHECK_CODE(r, 0);
    CHECK_I64(r, "cursor.firstBatch.0.count", 3);
    CHECK_I64(r, "cursor.firstBatch.0.storageStats.count", 3);
    CHECK_I64(r, "cursor.firstBatch.0.queryExecStats.collectionScans.total", 1);
    CHECK_I64(r, "cursor.firstBatch.0.latencyStats.reads.ops", 1);
    CHECK_I64(r, "cursor.firstBatch.0.latencyStats.writes.ops", 1);
    CHECK_I64(r, "cursor.firstBatch.0.latencyStats.reads.histogram.0.count", 1);

    CHECK_CODE(aggregate(f, "t", "\"c\"", "[{\"$collStats\": 1}]"), 5447000);
    CHECK_CODE(aggregate(f, "t", "\"c\"", "[{\"$collStats\": {\"count\": {\"a\": 1}}}]"), 31170);
    CHECK_CODE(aggregate(f, "t", "\"none\"", "[{\"$collStats\": {\"count\": {}}}]"),
               ERR_NAMESPACE_NOT_FOUND);
    CHECK_CODE(aggregate(f, "t", "\"c\"", "[{\"$match\": {}}, {\"$collStats\": {}}]"), 40602);
}

/* A frontier of more than one portion: each document once, at its distance, and in the next round what they lead to. */
static void test_graph_lookup_of_many(void **state)
{
    struct fixture *f = *state;

    CHECK_CODE(run_json(f, "t",
                        "{\"insert\": \"c\", \"documents\": [{\"_id\": 1, \"to\": 90000}, "
                        "{\"_id\": 59999, \"to\": [-5, 1]}, {\"_id\": 90000}, "
                        "{\"_id\": -5, \"to\": -6}, {\"_id\": -6}, {\"_id\": 70000}]}"),
               0);
    struct bdoc r = aggregate(
        f, "t", "\"c\"",
        "[{\"$limit\": 1}, {\"$graphLookup\": {\"from\": \"c\", \"startWith\": {\"$range\": [0, 60000]}, "
        "\"connectFromField\": \"to\", \"connectToField\": \"_id\", \"as\": \"r\", \"maxDepth\": 1, "
        "\"depthField\": \"d\"}}, {\"$unwind\": \"$r\"}, {\"$replaceRoot\": {\"newRoot\": \"$r\"}}, "
        "{\"$sort\": {\"_id\": 1}}]");
    CHECK_CODE(r, 0);
    assert_int_equal(bdoc_count(bval_doc(at(r, "cursor.firstBatch"))), 4);
    CHECK_I64(r, "cursor.firstBatch.0._id", -5);
    CHECK_I64(r, "cursor.firstBatch.0.d", 1);
    CHECK_I64(r, "cursor.firstBatch.1._id", 1);
    CHECK_I64(r, "cursor.firstBatch.1.d", 0);
    CHECK_I64(r, "cursor.firstBatch.2._id", 59999);
    CHECK_I64(r, "cursor.firstBatch.2.d", 0);
    CHECK_I64(r, "cursor.firstBatch.3._id", 90000);
    CHECK_I64(r, "cursor.firstBatch.3.d", 1);
}

static void test_index_stats(void **state)
{
    struct fixture *f = *state;

    fill(f);
    CHECK_CODE(run_json(f, "t",
                        "{\"createIndexes\": \"c\", \"indexes\": [{\"key\": {\"x\": 1}, \"name\": "
                        "\"x_1\"}]}"),
               0);
    for (int i = 0; i < 3; i++)
        CHECK_CODE(run_json(f, "t", "{\"find\": \"c\", \"filter\": {\"x\": 2}}"), 0);
    struct bdoc r =
        aggregate(f, "t", "\"c\"", "[{\"$indexStats\": {}}, {\"$match\": {\"name\": \"x_1\"}}]");
    CHECK_CODE(r, 0);
    CHECK_I64(r, "cursor.firstBatch.0.accesses.ops", 3);
    CHECK_I64(r, "cursor.firstBatch.0.key.x", 1);
    CHECK_CODE(aggregate(f, "t", "\"c\"", "[{\"$indexStats\": {\"a\": 1}}]"), 28803);
}

static void test_current_op(void **state)
{
    struct fixture *f = *state;
    struct bdoc r = aggregate(f, "admin", "1", "[{\"$currentOp\": {}}]");

    CHECK_CODE(r, 0);
    CHECK_I64(r, "cursor.firstBatch.0.connectionId", 1);
    CHECK_I64(r, "cursor.firstBatch.0.command.aggregate", 1);
    CHECK_CODE(aggregate(f, "t", "1", "[{\"$currentOp\": {}}]"), ERR_INVALID_NAMESPACE);
    CHECK_CODE(aggregate(f, "admin", "1", "[{\"$currentOp\": {\"x\": 1}}]"), ERR_IDL_UNKNOWN_FIELD);
    r = run_json(f, "admin", "{\"currentOp\": 1, \"command.currentOp\": 1, \"$ownOps\": true}");
    CHECK_I64(r, "inprog.0.connectionId", 1);
    r = run_json(f, "admin", "{\"currentOp\": 1, \"op\": \"insert\"}");
    assert_true(bdoc_is_empty(bval_doc(at(r, "inprog"))));
    CHECK_CODE(run_json(f, "admin", "{\"currentOp\": 1, \"op\": {\"$x\": 1}}"), ERR_BAD_VALUE);
}

static void test_sessions(void **state)
{
    struct fixture *f = *state;
    static const char start[] = "{\"ping\": 1, \"lsid\": {\"id\": {\"$binary\": {\"base64\": "
                                "\"AAECAwQFBgcICQoLDA0ODw==\", \"subType\": \"04\"}}}}";

    CHECK_CODE(run_json(f, "t", start), 0);
    struct bdoc r = aggregate(f, "t", "1", "[{\"$listLocalSessions\": {}}, {\"$count\": \"n\"}]");
    CHECK_CODE(r, 0);
    CHECK_I64(r, "cursor.firstBatch.0.n", 1);
    CHECK_CODE(aggregate(f, "t", "\"c\"", "[{\"$listLocalSessions\": {}}]"), ERR_INVALID_NAMESPACE);
    CHECK_CODE(aggregate(f, "t", "1",
                         "[{\"$listLocalSessions\": {\"allUsers\": true, \"users\": [{\"user\": "
                         "\"a\", \"db\": \"b\"}]}}]"),
               ERR_UNSUPPORTED_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_coll_stats, fixture_clean),
        cmocka_unit_test_setup(test_graph_lookup_of_many, fixture_clean),
        cmocka_unit_test_setup(test_index_stats, fixture_clean),
        cmocka_unit_test_setup(test_current_op, fixture_clean),
        cmocka_unit_test_setup(test_sessions, fixture_clean),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
