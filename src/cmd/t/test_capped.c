/* test_capped.c - convertToCapped, cloneCollectionAsCapped, compact, validateDBMetadata. */
#include "cmd_fixture.h"

#include "base/fault.h"

#include <pthread.h>

static void fill(struct fixture *f, const char *coll, int n)
{
    char command[256];

    for (int i = 0; i < n; i++) {
        snprintf(command, sizeof(command),
                 "{\"insert\": \"%s\", \"documents\": [{\"_id\": %d, \"x\": \"%080d\"}]}", coll, i,
                 i);
        CHECK_CODE(run_json(f, "t", command), 0);
    }
}

static void test_convert(void **state)
{
    struct fixture *f = *state;
    struct bdoc r;

    fill(f, "a", 20);
    CHECK_CODE(run_json(f, "t",
                        "{\"createIndexes\": \"a\", \"indexes\": [{\"key\": {\"x\": 1}, "
                        "\"name\": \"x_1\"}]}"),
               0);
    CHECK_CODE(run_json(f, "t", "{\"convertToCapped\": \"a\", \"size\": 1000}"), 0);
    r = run_json(f, "t", "{\"find\": \"a\"}");
    CHECK_I64(r, "cursor.firstBatch.0._id", 10); /* 1024 bytes hold ten documents of 102 */
    assert_int_equal(bdoc_count(bval_doc(at(r, "cursor.firstBatch"))), 10);
    r = run_json(f, "t", "{\"collStats\": \"a\"}");
    CHECK_I64(r, "maxSize", 1024);
    CHECK_I64(r, "nindexes", 1);
    CHECK_I64(r, "count", 10);
    fill(f, "b", 1);
    CHECK_CODE(run_json(f, "t",
                        "{\"insert\": \"a\", \"documents\": [{\"_id\": 99, \"x\": \"y\"}]}"),
               0);
    r = run_json(f, "t", "{\"validate\": \"a\"}");
    assert_true(bval_bool(at(r, "valid")));
    CHECK_CODE(run_json(f, "t", "{\"convertToCapped\": \"nope\", \"size\": 1000}"), 26);
    CHECK_CODE(run_json(f, "t", "{\"convertToCapped\": \"b\"}"), 72);
    CHECK_CODE(run_json(f, "t", "{\"convertToCapped\": \"b\", \"size\": 0.9}"), 72);
    CHECK_CODE(run_json(f, "t", "{\"convertToCapped\": \"b\", \"size\": 1e300}"), 2);
    CHECK_CODE(run_json(f, "t", "{\"convertToCapped\": 1, \"size\": 1}"), 73);
}

static void test_clone(void **state)
{
    struct fixture *f = *state;
    struct bdoc r;

    fill(f, "a", 20);
    CHECK_CODE(
        run_json(f, "t",
                 "{\"cloneCollectionAsCapped\": \"a\", \"toCollection\": \"c\", \"size\": 600}"),
        0);
    r = run_json(f, "t", "{\"collStats\": \"c\"}");
    CHECK_I64(r, "maxSize", 768);
    CHECK_I64(r, "count", 7);
    CHECK_I64(run_json(f, "t", "{\"count\": \"a\"}"), "n", 20);
    CHECK_CODE(
        run_json(f, "t",
                 "{\"cloneCollectionAsCapped\": \"a\", \"toCollection\": \"c\", \"size\": 600}"),
        48);
    CHECK_CODE(run_json(f, "t", "{\"cloneCollectionAsCapped\": \"a\", \"size\": 600}"), 14);
    CHECK_CODE(
        run_json(f, "t",
                 "{\"cloneCollectionAsCapped\": \"a\", \"toCollection\": \"$x\", \"size\": 6}"),
        73);
}

static int n_collections(struct fixture *f)
{
    struct bdoc r = run_json(f, "t", "{\"listCollections\": 1, \"nameOnly\": true}");

    return (int)bdoc_count(bval_doc(at(r, "cursor.firstBatch")));
}

static void reopen(struct fixture *f)
{
    struct node_limits limits = f->node->limits;

    node_close(f->node);
    struct store *s = f->node->store;
    node_init(f->node);
    f->node->limits = limits;
    f->node->store = s;
    OK(node_open(f->node, &err));
}

/* A copy is there whole or not at all, whatever stops it; what a stop leaves of it goes when the node opens. */
static void test_copies_are_whole(void **state)
{
    static const char *const copies[] = {
        "{\"cloneCollectionAsCapped\": \"a\", \"toCollection\": \"c\", \"size\": 100000}",
        "{\"renameCollection\": \"t2.a\", \"to\": \"t.c\"}",
        "{\"aggregate\": \"a\", \"pipeline\": [{\"$out\": \"c\"}], \"cursor\": {}}",
    };
    struct fixture *f = *state;
    struct catalog_coll *left = NULL;
    struct bdoc temp = BDOC_EMPTY;

    fill(f, "a", 20);
    CHECK_CODE(run_json(f, "t2",
                        "{\"insert\": \"a\", \"documents\": [{\"_id\": 1}, {\"_id\": 2}]}"),
               0);
    for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
        const char *db = i == 1 ? "admin" : "t";

        fault_arm("temporary.whole", "EIO", 0, 1);
        assert_int_not_equal(bval_to_double(bdoc_get(run_json(f, db, copies[i]), "ok")), 1);
        fault_disarm_all();
        assert_int_equal(n_collections(f), 1);
        CHECK_CODE(run_json(f, db, copies[i]), 0);
        CHECK_I64(run_json(f, "t", "{\"count\": \"c\"}"), "n", i == 1 ? 2 : 20);
        assert_int_equal(n_collections(f), 2);
        assert_true(bval_is_missing(
            at(run_json(f, "t", "{\"listCollections\": 1, \"filter\": {\"name\": \"c\"}}"),
               "cursor.firstBatch.0.options.temp")));
        CHECK_CODE(run_json(f, "t", "{\"drop\": \"c\"}"), 0);
    }
    OK(bdoc_from_json(f->a, "{\"temp\": true}", &temp, &err));
    OK(coll_create(f->node->catalog, SLICE_LIT("t.tmp.copy.1"), temp, &left, &err));
    catalog_coll_unref(left);
    CHECK_CODE(run_json(f, "t", "{\"create\": \"tmp.copy.2\"}"), 0); /* a user's own */
    assert_int_equal(n_collections(f), 3);
    reopen(f);
    assert_int_equal(n_collections(f), 2);
    CHECK_CODE(run_json(f, "t2", "{\"dropDatabase\": 1}"), 0);
}

static void test_compact(void **state)
{
    struct fixture *f = *state;

    fill(f, "a", 20);
    CHECK_I64(run_json(f, "t", "{\"compact\": \"a\"}"), "bytesFreed", 0);
    CHECK_I64(run_json(f, "t", "{\"count\": \"a\"}"), "n", 20);
    CHECK_I64(run_json(f, "t", "{\"compact\": \"a\", \"dryRun\": true}"), "estimatedBytesFreed", 0);
    CHECK_CODE(run_json(f, "t", "{\"compact\": \"nope\"}"), 26);
    CHECK_CODE(run_json(f, "t", "{\"compact\": \"a\", \"freeSpaceTargetMB\": 0}"), 2);
    CHECK_CODE(run_json(f, "t", "{\"compact\": \"a\", \"writeConcern\": {}}"), 72);
    CHECK_CODE(run_json(f, "t",
                        "{\"convertToCapped\": \"a\", \"size\": 9, \"writeConcern\": {\"w\": {}}}"),
               9);
}

static void test_metadata(void **state)
{
    struct fixture *f = *state;
    struct bdoc r;

    CHECK_CODE(run_json(f, "t",
                        "{\"createIndexes\": \"a\", \"indexes\": [{\"key\": {\"x\": 1}, "
                        "\"name\": \"x_1\", \"sparse\": true}]}"),
               0);
    r = run_json(f, "admin",
                 "{\"validateDBMetadata\": 1, \"db\": \"t\", "
                 "\"apiParameters\": {\"version\": \"1\", \"strict\": true}}");
    CHECK_CODE(r, 0);
    CHECK_I64(r, "apiVersionErrors.0.code", 323);
    assert_int_equal(bdoc_count(bval_doc(at(r, "apiVersionErrors"))), 1);
    r = run_json(f, "admin",
                 "{\"validateDBMetadata\": 1, \"db\": \"t\", \"collection\": \"b\", "
                 "\"apiParameters\": {\"version\": \"1\", \"strict\": true}}");
    assert_int_equal(bdoc_count(bval_doc(at(r, "apiVersionErrors"))), 0);
    CHECK_CODE(run_json(f, "admin", "{\"validateDBMetadata\": 1}"), 40414);
    CHECK_CODE(run_json(f, "admin",
                        "{\"validateDBMetadata\": 1, \"db\": \"a b\", "
                        "\"apiParameters\": {\"version\": \"1\"}}"),
               13280);
}

static atomic_bool changed;

static void *change_options(void *arg)
{
    const struct fixture *f = arg;
    struct fixture own = { .node = f->node, .identity = f->identity, .a = arena_new(0) };

    for (int i = 0; i < 100; i++) {
        arena_reset(own.a);
        CHECK_CODE(run_json(&own, "t",
                            i % 2 ? "{\"collMod\": \"a\", \"validationLevel\": \"off\"}"
                                  : "{\"collMod\": \"a\", \"validationLevel\": \"moderate\"}"),
                   0);
    }
    arena_free(own.a);
    atomic_store(&changed, true);
    return NULL;
}

/* Options that are read while they are being replaced are the old ones or the new ones (TSan sees more than the values). */
static void test_options_change(void **state)
{
    struct fixture *f = *state;
    pthread_t t;

    CHECK_CODE(run_json(f, "t", "{\"create\": \"a\", \"capped\": true, \"size\": 1000}"), 0);
    assert_int_equal(pthread_create(&t, NULL, change_options, f), 0);
    while (!atomic_load(&changed)) {
        CHECK_I64(run_json(f, "t", "{\"collStats\": \"a\"}"), "maxSize", 1024);
        CHECK_CODE(run_json(f, "t", "{\"create\": \"a\"}"), 48);
        CHECK_CODE(run_json(f, "t", "{\"find\": \"a\", \"tailable\": true}"), 115);
    }
    pthread_join(t, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_convert, fixture_clean),
        cmocka_unit_test_setup(test_clone, fixture_clean),
        cmocka_unit_test_setup(test_copies_are_whole, fixture_clean),
        cmocka_unit_test_setup(test_compact, fixture_clean),
        cmocka_unit_test_setup(test_metadata, fixture_clean),
        cmocka_unit_test_setup(test_options_change, fixture_clean),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
