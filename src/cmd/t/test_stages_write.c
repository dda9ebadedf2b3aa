/* test_stages_write.c - $out and $merge. */
#include "cmd_fixture.h"

static struct bdoc pipe_to(struct fixture *f, const char *stage)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    buf_printf(
        &b, "{\"aggregate\": \"c\", \"cursor\": {}, \"pipeline\": [{\"$sort\": {\"_id\": 1}}, %s]}",
        stage);
    return run_json(f, "t", buf_cstr(&b));
}

static struct bdoc all_of(struct fixture *f, const char *coll)
{
    char command[128];

    snprintf(command, sizeof(command), "{\"find\": \"%s\", \"sort\": {\"_id\": 1}}", coll);
    struct bdoc r = run_json(f, "t", command);
    CHECK_CODE(r, 0);
    return bval_doc(at(r, "cursor.firstBatch"));
}

static void fill(struct fixture *f)
{
    CHECK_CODE(run_json(f, "t",
                        "{\"insert\": \"c\", \"documents\": [{\"_id\": 1, \"k\": 1, \"x\": 1}, "
                        "{\"_id\": 2, \"k\": 2, \"x\": 2}, {\"_id\": 3, \"k\": 3, \"x\": 3}]}"),
               0);
}

static int64_t collections(struct fixture *f)
{
    struct bdoc r = run_json(f, "t", "{\"listCollections\": 1}");

    CHECK_CODE(r, 0);
    return bdoc_count(bval_doc(at(r, "cursor.firstBatch")));
}

static void test_out(void **state)
{
    struct fixture *f = *state;

    fill(f);
    CHECK_CODE(run_json(f, "t", "{\"insert\": \"o\", \"documents\": [{\"_id\": 9}]}"), 0);
    CHECK_CODE(run_json(f, "t",
                        "{\"createIndexes\": \"o\", \"indexes\": [{\"key\": {\"k\": 1}, \"name\": "
                        "\"k\", \"unique\": true}]}"),
               0);
    struct bdoc r = pipe_to(f, "{\"$out\": \"o\"}");
    CHECK_CODE(r, 0);
    CHECK_I64(r, "cursor.id", 0);
    assert_int_equal(bdoc_count(bval_doc(at(r, "cursor.firstBatch"))), 0);
    assert_int_equal(bdoc_count(all_of(f, "o")), 3);
    CHECK_I64(all_of(f, "o"), "0.x", 1);
    /* the index was kept, and what breaks it leaves the target as it was */
    r = pipe_to(f, "{\"$addFields\": {\"k\": 7}}, {\"$out\": \"o\"}");
    CHECK_CODE(r, ERR_DUPLICATE_KEY);
    CHECK_I64(all_of(f, "o"), "2.k", 3);
    assert_int_equal(collections(f), 2);
    CHECK_CODE(pipe_to(f, "{\"$out\": \"c\"}"), 0);
    assert_int_equal(bdoc_count(all_of(f, "c")), 3);
    CHECK_CODE(pipe_to(f, "{\"$out\": \"system.x\"}"), 17385);
    CHECK_CODE(pipe_to(f, "{\"$out\": {\"db\": \"admin\", \"coll\": \"x\"}}"), 31321);
    CHECK_CODE(pipe_to(f, "{\"$out\": 1}"), 16990);
    CHECK_CODE(pipe_to(f, "{\"$out\": \"o\"}, {\"$match\": {}}"), 40601);
}

static void test_merge(void **state)
{
    struct fixture *f = *state;

    fill(f);
    CHECK_CODE(run_json(f, "t", "{\"insert\": \"m\", \"documents\": [{\"_id\": 2, \"y\": 5}]}"), 0);
    CHECK_CODE(pipe_to(f, "{\"$merge\": \"m\"}"), 0);
    CHECK_I64(all_of(f, "m"), "1.y", 5);
    CHECK_I64(all_of(f, "m"), "1.x", 2);
    assert_int_equal(bdoc_count(all_of(f, "m")), 3);
    CHECK_CODE(pipe_to(f, "{\"$merge\": {\"into\": \"m\", \"whenMatched\": [{\"$set\": {\"z\": "
                          "{\"$add\": [\"$x\", \"$$new.k\", \"$$v\"]}}}], \"let\": {\"v\": "
                          "\"$x\"}}}"),
               0);
    CHECK_I64(all_of(f, "m"), "2.z", 9);
    /* one that fails does not keep the others from being merged */
    CHECK_CODE(run_json(f, "t",
                        "{\"delete\": \"m\", \"deletes\": [{\"q\": {\"_id\": {\"$ne\": "
                        "1}}, \"limit\": 0}]}"),
               0);
    CHECK_CODE(pipe_to(f, "{\"$merge\": {\"into\": \"m\", \"whenMatched\": \"fail\"}}"),
               ERR_DUPLICATE_KEY);
    assert_int_equal(bdoc_count(all_of(f, "m")), 3);
    CHECK_CODE(pipe_to(f, "{\"$merge\": {\"into\": \"none\", \"whenNotMatched\": \"fail\"}}"),
               13113);
    CHECK_CODE(pipe_to(f, "{\"$merge\": {\"into\": \"m\", \"on\": \"k\"}}"), 51183);
    CHECK_CODE(pipe_to(f, "{\"$merge\": {\"into\": \"m\", \"on\": []}}"), 51187);
    CHECK_CODE(pipe_to(f, "{\"$merge\": {\"into\": \"m\", \"whenMatched\": 1}}"), 51191);
}

static void test_explain_writes_nothing(void **state)
{
    struct fixture *f = *state;

    fill(f);
    CHECK_CODE(
        run_json(f, "t",
                 "{\"aggregate\": \"c\", \"explain\": true, \"pipeline\": [{\"$out\": \"o\"}]}"),
        0);
    CHECK_CODE(
        run_json(f, "t",
                 "{\"aggregate\": \"c\", \"explain\": true, \"pipeline\": [{\"$merge\": \"o\"}]}"),
        0);
    assert_int_equal(collections(f), 1);
}

static void test_leftover_goes(void **state)
{
    struct fixture *f = *state;
    struct catalog_coll *x;
    struct bdoc temp = BDOC_EMPTY;

    OK(bdoc_from_json(f->a, "{\"temp\": true}", &temp, &err));
    OK(coll_create(f->node->catalog, SLICE_LIT("t.tmp.agg_out.1"), temp, &x, &err));
    catalog_coll_unref(x);
    CHECK_CODE(run_json(f, "t", "{\"create\": \"tmp.agg_out.2\"}"), 0);
    node_close(f->node);
    OK(node_open(f->node, &err));
    assert_int_equal(collections(f), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_out, fixture_clean),
        cmocka_unit_test_setup(test_merge, fixture_clean),
        cmocka_unit_test_setup(test_explain_writes_nothing, fixture_clean),
        cmocka_unit_test_setup(test_leftover_goes, fixture_clean),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
