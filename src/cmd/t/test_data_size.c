/* test_data_size.c - dataSize: of a collection, of ranges, up to a limit; planCacheClear. */
#include "cmd_fixture.h"

enum { N = 50 };

static void fill(struct fixture *f)
{
    char text[200];

    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof(text),
                 "{\"insert\": \"a\", \"documents\": [{\"_id\": %d, \"x\": %d, \"y\": %d, "
                 "\"s\": \"%016d\"}]}",
                 i, i, i % 5, i);
        CHECK_CODE(run_json(f, "t", text), 0);
    }
    CHECK_CODE(run_json(f, "t",
                        "{\"createIndexes\": \"a\", \"indexes\": ["
                        "{\"key\": {\"x\": 1}, \"name\": \"x\"}, "
                        "{\"key\": {\"y\": -1, \"x\": 1}, \"name\": \"yx\"}, "
                        "{\"key\": {\"s\": 1}, \"name\": \"s\", \"sparse\": true}]}"),
               0);
}

static const struct {
    const char *args; /* of dataSize: "t.a" */
    int code;
    int n;
} row[] = {
    { "", 0, N },
    { ", \"estimate\": true", 0, N },
    { ", \"keyPattern\": {\"none\": 1}", 0, N },
    { ", \"keyPattern\": {\"x\": 1}, \"min\": {\"x\": 10}, \"max\": {\"x\": 20}", 0, 10 },
    { ", \"min\": {\"x\": 10}, \"max\": {\"x\": 20}", 0, 10 },
    { ", \"min\": {\"x\": 20}, \"max\": {\"x\": 20}", 0, 0 },
    { ", \"min\": {\"x\": 20}, \"max\": {\"x\": 10}", 0, 0 },
    { ", \"min\": {\"x\": {\"$minKey\": 1}}, \"max\": {\"x\": {\"$maxKey\": 1}}", 0, N },
    { ", \"min\": {\"y\": 4}, \"max\": {\"y\": 2}", 0, 20 }, /* descending */
    { ", \"min\": {\"y\": 4, \"x\": 20}, \"max\": {\"y\": 3, \"x\": 10}", 0, 8 },
    { ", \"keyPattern\": {\"y\": 1}, \"min\": {\"y\": 4}, \"max\": {\"y\": 2}", 96, 0 },
    /* not every document is in it */
    { ", \"min\": {\"s\": \"a\"}, \"max\": {\"s\": \"b\"}", 96, 0 },
    { ", \"min\": {\"none\": 1}, \"max\": {\"none\": 2}", 96, 0 },
    { ", \"min\": {\"x\": 1}", 2, 0 },
    { ", \"min\": {\"x\": 1}, \"max\": null", 2, 0 },
    { ", \"max\": {\"x\": 1}", 2, 0 },
    { ", \"min\": 1, \"max\": {\"x\": 1}", 14, 0 },
    { ", \"keyPattern\": [1]", 14, 0 },
    { ", \"estimate\": \"yes\"", 14, 0 },
    { ", \"maxObjects\": -1", 2, 0 },
    { ", \"foo\": 1", 40415, 0 },
    { ", \"maxObjects\": 7", 0, 8 },
    { ", \"maxObjects\": 7, \"min\": {\"x\": 10}, \"max\": {\"x\": 12}", 0, 2 },
};

static void test_sizes(void **state)
{
    struct fixture *f = *state;
    struct bdoc whole, r;
    int64_t each;

    fill(f);
    whole = run_json(f, "t", "{\"dataSize\": \"t.a\"}");
    each = bval_i64(at(whole, "size")) / N;
    assert_true(each > 40);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        AUTO(buf_fini) struct buf text = BUF_INIT;
        buf_printf(&text, "{\"dataSize\": \"t.a\"%s}", row[i].args);
        r = run_json(f, "other", buf_cstr(&text));
        CHECK_CODE(r, row[i].code);
        if (row[i].code)
            continue;
        CHECK_I64(r, "numObjects", row[i].n);
        CHECK_I64(r, "size", each * row[i].n); /* they are all of one size */
    }
    r = run_json(f, "t", "{\"dataSize\": \"t.a\", \"maxSize\": 100}");
    assert_true(bval_bool(at(r, "maxReached")));
    assert_true(bval_i64(at(r, "size")) > 100 && bval_i64(at(r, "size")) <= 100 + each);
}

static void test_names(void **state)
{
    struct fixture *f = *state;

    CHECK_I64(run_json(f, "t", "{\"dataSize\": \"t.none\"}"), "numObjects", 0);
    CHECK_I64(run_json(f, "t",
                       "{\"dataSize\": \"t.none\", \"min\": {\"x\": 1}, \"max\": {\"x\": 2}}"),
              "size", 0);
    CHECK_CODE(run_json(f, "t", "{\"dataSize\": \"none\"}"), 73);
    CHECK_CODE(run_json(f, "t", "{\"dataSize\": \"\"}"), 73);
    CHECK_CODE(run_json(f, "t", "{\"dataSize\": 1}"), 14);
    CHECK_CODE(run_json(f, "t", "{\"dataSize\": null}"), 40414);
    CHECK_CODE(run_json(f, "t", "{\"create\": \"v\", \"viewOn\": \"a\", \"pipeline\": []}"), 0);
    CHECK_CODE(run_json(f, "t", "{\"dataSize\": \"t.v\"}"), 166);
}

static void test_plan_cache_clear(void **state)
{
    struct fixture *f = *state;

    CHECK_CODE(run_json(f, "t", "{\"planCacheClear\": \"a\"}"), 0);
    CHECK_CODE(run_json(f, "t", "{\"planCacheClear\": \"a\", \"query\": {\"x\": 1}, \"foo\": 1}"),
               0);
    CHECK_CODE(run_json(f, "t", "{\"planCacheClear\": \"\"}"), 73);
    CHECK_CODE(run_json(f, "t", "{\"planCacheClear\": 1}"), 73);
    CHECK_CODE(run_json(f, "t", "{\"create\": \"v\", \"viewOn\": \"a\", \"pipeline\": []}"), 0);
    CHECK_CODE(run_json(f, "t", "{\"planCacheClear\": \"v\"}"), 166);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sizes, fixture_clean),
        cmocka_unit_test_setup(test_names, fixture_clean),
        cmocka_unit_test_setup(test_plan_cache_clear, fixture_clean),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
