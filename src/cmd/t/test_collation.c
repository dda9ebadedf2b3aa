/* test_collation.c - collations of commands: what is found, its order, groups and distinct values, and that indexes do not mislead. */
#include "cmd_fixture.h"

static void fill(struct fixture *f)
{
    CHECK_CODE(
        run_json(
            f, "t",
            "{\"insert\": \"a\", \"documents\": ["
            "{\"_id\": \"x\", \"s\": \"b\", \"n\": [\"A\", \"c\"]}, {\"_id\": \"y\", \"s\": \"A\"}, "
            "{\"_id\": \"z\", \"s\": \"a\"}, {\"_id\": 4, \"s\": \"B\"}]}"),
        0);
    CHECK_CODE(
        run_json(
            f, "t",
            "{\"createIndexes\": \"a\", \"indexes\": [{\"key\": {\"s\": 1}, \"name\": \"s\"}]}"),
        0);
}

#define CI "\"collation\": {\"locale\": \"en\", \"strength\": 2}"

static uint32_t found(struct bdoc r)
{
    CHECK_CODE(r, 0);
    return bdoc_count(bval_doc(at(r, "cursor.firstBatch")));
}

static void test_reads(void **state)
{
    struct fixture *f = *state;
    struct bdoc r;

    fill(f);
    assert_int_equal(found(run_json(f, "t", "{\"find\": \"a\", \"filter\": {\"s\": \"a\"}}")), 1);
    assert_int_equal(found(
                         run_json(f, "t", "{\"find\": \"a\", \"filter\": {\"s\": \"a\"}, " CI "}")),
                     2);
    assert_int_equal(
        found(run_json(f, "t",
                       "{\"find\": \"a\", \"filter\": {\"s\": {\"$in\": [\"B\", \"q\"]}}, " CI
                       "}")),
        2);
    assert_int_equal(
        found(run_json(f, "t",
                       "{\"find\": \"a\", \"filter\": {\"s\": \"A\"}, \"hint\": \"s\", " CI "}")),
        2);
    assert_int_equal(found(run_json(f, "t",
                                    "{\"find\": \"a\", \"filter\": {\"_id\": \"X\"}, " CI "}")),
                     1);
    assert_int_equal(found(
                         run_json(f, "t", "{\"find\": \"a\", \"filter\": {\"n\": \"a\"}, " CI "}")),
                     1);
    assert_int_equal(
        found(run_json(f, "t",
                       "{\"find\": \"a\", \"filter\": {\"$expr\": {\"$eq\": [\"$s\", \"a\"]}}, " CI
                       "}")),
        2);
    r = run_json(f, "t",
                 "{\"find\": \"a\", \"sort\": {\"s\": 1}, \"collation\": {\"locale\": \"en\"}}");
    assert_string_equal((const char *)bval_str(at(r, "cursor.firstBatch.0.s")).p, "a");
    assert_string_equal((const char *)bval_str(at(r, "cursor.firstBatch.1.s")).p, "A");
    CHECK_I64(run_json(f, "t", "{\"count\": \"a\", \"query\": {\"s\": \"a\"}, " CI "}"), "n", 2);
    r = run_json(f, "t", "{\"distinct\": \"a\", \"key\": \"s\", " CI "}");
    assert_int_equal(bdoc_count(bval_doc(at(r, "values"))), 2);
    r = run_json(
        f, "t",
        "{\"aggregate\": \"a\", \"cursor\": {}, \"pipeline\": [{\"$group\": {\"_id\": \"$s\", "
        "\"n\": {\"$sum\": 1}}}], " CI "}");
    assert_int_equal(found(r), 2);
    CHECK_I64(r, "cursor.firstBatch.0.n", 2);
}

static void test_writes(void **state)
{
    struct fixture *f = *state;

    fill(f);
    CHECK_I64(
        run_json(
            f, "t",
            "{\"update\": \"a\", \"updates\": [{\"q\": {\"s\": \"a\"}, \"u\": {\"$pull\": {\"n\": "
            "\"a\"}, \"$addToSet\": {\"m\": \"k\"}}, \"multi\": true, " CI "}]}"),
        "n", 2);
    CHECK_I64(
        run_json(f, "t",
                 "{\"update\": \"a\", \"updates\": [{\"q\": {\"s\": \"a\"}, \"u\": {\"$addToSet\": "
                 "{\"m\": \"K\"}}, \"multi\": true, " CI "}]}"),
        "nModified", 0);
    CHECK_I64(run_json(f, "t",
                       "{\"delete\": \"a\", \"deletes\": [{\"q\": {\"s\": \"b\"}, \"limit\": 0, " CI
                       "}]}"),
              "n", 2);
    CHECK_CODE(
        run_json(f, "t",
                 "{\"findAndModify\": \"a\", \"query\": {\"_id\": \"Y\"}, \"remove\": true, " CI
                 "}"),
        0);
    CHECK_I64(run_json(f, "t", "{\"count\": \"a\"}"), "n", 1);
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;

    fill(f);
    CHECK_CODE(run_json(f, "t", "{\"find\": \"a\", \"collation\": {\"locale\": \"nope\"}}"), 2);
    CHECK_CODE(run_json(f, "t", "{\"find\": \"a\", \"collation\": {\"strength\": 1}}"), 40414);
    CHECK_CODE(run_json(f, "t", "{\"find\": \"a\", \"collation\": {\"locale\": \"en\", \"x\": 1}}"),
               40415);
    CHECK_CODE(run_json(f, "t", "{\"find\": \"a\", \"collation\": {}}"), 0);
    CHECK_CODE(run_json(f, "t", "{\"create\": \"v\", \"viewOn\": \"a\", \"pipeline\": []}"), 0);
    CHECK_CODE(run_json(f, "t", "{\"find\": \"v\", " CI "}"), 167);
    CHECK_CODE(
        run_json(f, "t",
                 "{\"create\": \"b\", \"collation\": {\"locale\": \"en\", \"strength\": 9}}"),
        2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reads, fixture_clean),
        cmocka_unit_test_setup(test_writes, fixture_clean),
        cmocka_unit_test_setup(test_refusals, fixture_clean),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
