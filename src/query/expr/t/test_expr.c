/* Expressions: a table of (expression, document, result or error code). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "expr_priv.h"

struct row {
    const char *x; /* the expression, as the field "x" of a document */
    const char *doc;
    const char *want; /* as the field "r"; "" = missing */
    int code;         /* or the error */
};

static const struct row rows[] = {
#include "rows_core.inc"
#include "rows_date.inc"
#include "rows_text.inc"
};

static void run_row(const struct row *r)
{
    struct arena *a = arena_new(0), *s = arena_new(0);
    struct err e = { 0 };
    struct bdoc xd, d;
    struct qctx q = { .arena = a, .scratch = s, .let = BDOC_EMPTY, .now_ms = 1500000000000 };
    struct expr *x = NULL;
    struct bval v = BVAL_MISSING;
    struct buf got = BUF_INIT;
    char *json = arena_printf(a, "{\"x\": %s}", r->x);

    if (bdoc_from_json(a, json, &xd, &e).failed ||
        bdoc_from_json(a, r->doc ? r->doc : "{}", &d, &e).failed)
        fail_msg("bad JSON in row %s: %s", r->x, e.msg);
    struct expr_env env = { .q = &q,
                            .root = bval_of_doc(d, BT_DOCUMENT),
                            .current = bval_of_doc(d, BT_DOCUMENT) };
    rc_t rc = expr_parse(&q, bdoc_get(xd, "x"), &x, &e);
    if (!rc.failed)
        rc = expr_eval(x, &env, &v, &e);
    if (r->code) {
        if (!rc.failed || e.code != (enum err_code)r->code) {
            bval_to_json(v, &got);
            fail_msg("%s: want error %d, got %d (%s) %s", r->x, r->code, (int)e.code, e.msg,
                     buf_cstr(&got));
        }
    } else if (rc.failed) {
        fail_msg("%s: error %d: %s", r->x, (int)e.code, e.msg);
    } else if (!*r->want) {
        if (!bval_is_missing(v))
            fail_msg("%s: want missing, got %s", r->x, btype_name(v.type));
    } else {
        struct bdoc wd;
        if (bdoc_from_json(a, arena_printf(a, "{\"r\": %s}", r->want), &wd, &e).failed)
            fail_msg("bad JSON in row %s: %s", r->want, e.msg);
        if (!bval_identical(bdoc_get(wd, "r"), v)) {
            bval_to_json(v, &got);
            fail_msg("%s: want %s, got %s (%s)", r->x, r->want, buf_cstr(&got), btype_name(v.type));
        }
    }
    buf_fini(&got);
    err_reset(&e);
    arena_free(s);
    arena_free(a);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        run_row(&rows[i]);
}

static void test_table_is_sorted(void **state)
{
    int n;
    const struct expr_op *t = expr_op_table(&n);

    (void)state;
    for (int i = 1; i < n; i++)
        if (slice_cmp(slice_str(t[i - 1].name), slice_str(t[i].name)) >= 0)
            fail_msg("operators out of order: %s, %s", t[i - 1].name, t[i].name);
    for (int i = 0; i < n; i++)
        assert_ptr_equal(expr_op_find(slice_str(t[i].name)), &t[i]);
    assert_null(expr_op_find(SLICE_LIT("nope")));
}

static void test_let_of_the_command(void **state)
{
    struct arena *a = arena_new(0), *s = arena_new(0);
    struct err e = { 0 };
    struct bdoc let, xd;
    struct expr *x;
    struct bval v;

    (void)state;
    assert_false(bdoc_from_json(a, "{\"k\": 5}", &let, &e).failed);
    assert_false(bdoc_from_json(a, "{\"x\": {\"$add\": [\"$$k\", 1]}}", &xd, &e).failed);
    struct qctx q = { .arena = a, .scratch = s, .let = let };
    struct expr_env env = { .q = &q,
                            .root = bval_of_doc(BDOC_EMPTY, BT_DOCUMENT),
                            .current = bval_of_doc(BDOC_EMPTY, BT_DOCUMENT) };
    assert_false(expr_parse(&q, bdoc_get(xd, "x"), &x, &e).failed);
    assert_false(expr_eval(x, &env, &v, &e).failed);
    assert_int_equal(bval_i32(v), 6);
    /* the same nodes under another value, as $lookup's let does */
    assert_false(bdoc_from_json(a, "{\"k\": 41}", &q.let, &e).failed);
    assert_false(expr_eval(x, &env, &v, &e).failed);
    assert_int_equal(bval_i32(v), 42);
    arena_free(s);
    arena_free(a);
}

static void test_depth_is_bounded(void **state)
{
    struct arena *a = arena_new(0);
    struct err e = { 0 };
    struct expr *x;
    struct bval v = bval_new_bool(a, true);

    (void)state;
    for (int i = 0; i < QUERY_DEPTH_MAX + 5; i++) {
        struct slice name = SLICE_LIT("$not");
        struct bval arr;
        assert_false(vals_array(a, &v, 1, &arr, &e).failed);
        assert_false(vals_object(a, &name, &arr, 1, &v, &e).failed);
    }
    struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };
    assert_true(expr_parse(&q, v, &x, &e).failed);
    assert_int_equal(e.code, ERR_OVERFLOW);
    arena_free(a);
}

static void note_path(struct slice path, void *arg)
{
    buf_push(arg, path.p, path.len);
    buf_push_u8(arg, ' ');
}

static void test_deps(void **state)
{
    struct arena *a = arena_new(0);
    struct err e = { 0 };
    struct bdoc xd;
    struct expr *x;
    struct buf b = BUF_INIT;
    bool whole = false;

    (void)state;
    assert_false(
        bdoc_from_json(
            a,
            "{\"x\": {\"$add\": [\"$a.b\", {\"$map\": {\"input\": \"$l\", \"in\": \"$$this.z\"}}, \"$$NOW\"]}}",
            &xd, &e)
            .failed);
    struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };
    assert_false(expr_parse(&q, bdoc_get(xd, "x"), &x, &e).failed);
    expr_deps(x, note_path, &b, &whole);
    assert_string_equal(buf_cstr(&b), "a.b l ");
    assert_false(whole);
    buf_fini(&b);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_table_is_sorted),
        cmocka_unit_test(test_let_of_the_command),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_deps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
