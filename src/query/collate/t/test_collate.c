/* Collations: documents refused and completed, orders, keys that agree with comparison, sharing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "query/collate.h"

static const struct {
    const char *spec;
    int code;
} specs[] = {
    { "{\"locale\": \"en\"}", 0 },
    { "{\"locale\": \"en_US\", \"strength\": 2}", 0 },
    { "{\"locale\": \"de@collation=phonebook\"}", 0 },
    { "{\"locale\": \"simple\"}", 0 },
    { "{\"locale\": \"fr_CA\"}", 0 },
    { "{}", 40414 },
    { "{\"locale\": null}", 40414 },
    { "{\"locale\": 1}", 14 },
    { "{\"locale\": \"en\", \"more\": 1}", 40415 },
    { "{\"locale\": \"\"}", 2 },
    { "{\"locale\": \"nope\"}", 2 },
    { "{\"locale\": \"en_us\"}", 2 },
    { "{\"locale\": \"de@collation=nope\"}", 2 },
    { "{\"locale\": \"de@calendar=buddhist\"}", 2 },
    { "{\"locale\": \"en\", \"strength\": 6}", 2 },
    { "{\"locale\": \"en\", \"strength\": \"2\"}", 14 },
    { "{\"locale\": \"en\", \"alternate\": \"x\"}", 2 },
    { "{\"locale\": \"en\", \"version\": \"1\"}", 161 },
    { "{\"locale\": \"en\", \"strength\": 1, \"backwards\": true}", 2 },
    { "{\"locale\": \"en\", \"strength\": 2, \"caseFirst\": \"upper\"}", 2 },
};

static RC complete(struct arena *a, const char *json, struct bdoc *out, struct err *e)
{
    struct bdoc d;

    if (bdoc_from_json(a, json, &d, e).failed)
        fail_msg("bad JSON: %s", json);
    return collation_complete(a, bval_of_doc(d, BT_DOCUMENT), out, e);
}

static void test_specs(void **state)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        struct err e = { 0 };
        struct bdoc out;
        rc_t rc = complete(a, specs[i].spec, &out, &e);
        if (rc.failed != (specs[i].code != 0) || (rc.failed && (int)e.code != specs[i].code))
            fail_msg("%s: error %d %s", specs[i].spec, (int)e.code, e.msg);
    }
}

static void test_completed(void **state)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };
    struct bdoc out;

    (void)state;
    assert_false(complete(a, "{\"locale\": \"en\", \"strength\": 2}", &out, &e).failed);
    bval_to_json(bval_of_doc(out, BT_DOCUMENT), &text);
    assert_string_equal(
        buf_cstr(&text),
        "{\"locale\":\"en\",\"caseLevel\":false,\"caseFirst\":\"off\",\"strength\":2,"
        "\"numericOrdering\":false,\"alternate\":\"non-ignorable\","
        "\"maxVariable\":\"punct\",\"normalization\":false,\"backwards\":false,"
        "\"version\":\"57.1\"}");
}

static const struct {
    const char *spec, *a, *b;
    int cmp;
} orders[] = {
    { "{\"locale\": \"en\"}", "a", "B", -1 },
    { "{\"locale\": \"en\"}", "a", "A", -1 },
    { "{\"locale\": \"en\", \"strength\": 2}", "a", "A", 0 },
    { "{\"locale\": \"en\", \"strength\": 2}", "e", "\xc3\xa9", -1 },
    { "{\"locale\": \"en\", \"strength\": 1}", "e", "\xc3\xa9", 0 },
    { "{\"locale\": \"en\", \"numericOrdering\": true}", "a10", "a9", 1 },
    { "{\"locale\": \"en\", \"alternate\": \"shifted\"}", "a b", "ab", 0 },
    { "{\"locale\": \"en\", \"caseFirst\": \"upper\"}", "a", "A", 1 },
    { "{\"locale\": \"sv\"}", "z", "\xc3\xb6", -1 },
    { "{\"locale\": \"de\"}", "z", "\xc3\xb6", 1 },
    { "{\"locale\": \"en\"}", "", "a", -1 },
};

static void test_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        AUTO(buf_fini) struct buf ka = BUF_INIT, kb = BUF_INIT;
        const struct collator *c;
        struct err e = { 0 };
        struct bdoc spec;
        assert_false(complete(a, orders[i].spec, &spec, &e).failed);
        assert_false(collation_in(a, spec, &c, &e).failed);
        struct slice x = slice_str(orders[i].a), y = slice_str(orders[i].b);
        c->key(c, x, &ka);
        c->key(c, y, &kb);
        int by_key = slice_cmp(buf_view(&ka), buf_view(&kb));
        if (c->cmp(c, x, y) != orders[i].cmp || (by_key > 0) - (by_key < 0) != orders[i].cmp)
            fail_msg("%s: %s and %s", orders[i].spec, orders[i].a, orders[i].b);
        struct bval vx = bval_new_str(a, x), vy = bval_new_str(a, y);
        assert_int_equal(bval_cmp_in(c, vx, vy), orders[i].cmp);
        assert_true((bval_hash_in(c, vx) == bval_hash_in(c, vy)) == (orders[i].cmp == 0));
    }
}

static void test_shared(void **state)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    const struct collator *c, *d, *none;
    struct err e = { 0 };
    struct bdoc x, y, simple;

    (void)state;
    assert_false(complete(a, "{\"locale\": \"en\", \"strength\": 3}", &x, &e).failed);
    assert_false(complete(a, "{\"locale\": \"en\"}", &y, &e).failed);
    assert_false(complete(a, "{\"locale\": \"simple\"}", &simple, &e).failed);
    assert_false(collation_in(a, x, &c, &e).failed);
    assert_false(collation_in(a, y, &d, &e).failed);
    assert_false(collation_in(a, simple, &none, &e).failed);
    assert_true(collation_same(c, d));
    assert_null(none);
    assert_int_equal(collation_doc(c).len, x.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs),
        cmocka_unit_test(test_completed),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_shared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
