/* test_args.c - the argument parser: types, what is required, unknown and repeated fields, numbers. */
#include "cmd_fixture.h"

#include <math.h>

struct taken {
    struct bval any, doc, array, timestamp;
    struct slice str, uuid;
    bool strict, safe;
    int64_t n, positive, natural;
};

static const struct arg table[] = {
    ARG(struct taken, any, "any", ARG_ANY, 0),
    ARG(struct taken, str, "str", ARG_STR, ARG_REQUIRED),
    ARG(struct taken, doc, "doc", ARG_DOC, 0),
    ARG(struct taken, array, "array", ARG_ARRAY, 0),
    ARG(struct taken, strict, "strict", ARG_BOOL, 0),
    ARG(struct taken, safe, "safe", ARG_SAFE_BOOL, 0),
    ARG(struct taken, n, "n", ARG_I64, 0),
    ARG(struct taken, positive, "positive", ARG_I64, ARG_POSITIVE),
    ARG(struct taken, natural, "natural", ARG_I64, ARG_NOT_NEGATIVE),
    ARG(struct taken, timestamp, "timestamp", ARG_TIMESTAMP, 0),
    ARG(struct taken, uuid, "uuid", ARG_UUID, 0),
    ARG_SKIP("ignored"),
};

static void parse(struct arena *a, const char *text, int code, struct taken *out)
{
    struct bdoc d = BDOC_EMPTY;
    struct taken mine = { 0 };

    OK(bdoc_from_json(a, text, &d, &err));
    if (code)
        FAILS(code, cmd_fields(d, "what", table, ARRAY_LEN(table), &mine, &err));
    else
        OK(cmd_fields(d, "what", table, ARRAY_LEN(table), &mine, &err));
    if (out)
        *out = mine;
}

static void test_codes(void **state)
{
    static const struct {
        int code;
        const char *text;
    } t[] = {
        { 0, "{\"str\": \"a\"}" },
        { 0, "{\"str\": \"a\", \"ignored\": [1]}" },
        { 0, "{\"str\": \"a\", \"doc\": null, \"n\": null, \"strict\": null}" },
        { ERR_IDL_FAILED_TO_PARSE, "{}" },
        { ERR_IDL_FAILED_TO_PARSE, "{\"str\": null}" },
        { ERR_IDL_UNKNOWN_FIELD, "{\"str\": \"a\", \"Str\": 1}" },
        { ERR_IDL_UNKNOWN_FIELD, "{\"str\": \"a\", \"\": 1}" },
        { ERR_IDL_UNKNOWN_FIELD, "{\"str\": \"a\", \"comment\": 1}" }, /* not in a sub-document */
        { ERR_IDL_DUPLICATE_FIELD, "{\"str\": \"a\", \"n\": 1, \"n\": 1}" },
        { ERR_IDL_DUPLICATE_FIELD, "{\"str\": \"a\", \"n\": null, \"n\": 1}" },
        { ERR_TYPE_MISMATCH, "{\"str\": 1}" },
        { ERR_TYPE_MISMATCH, "{\"str\": \"a\", \"doc\": []}" },
        { ERR_TYPE_MISMATCH, "{\"str\": \"a\", \"array\": {}}" },
        { ERR_TYPE_MISMATCH, "{\"str\": \"a\", \"strict\": 1}" },
        { ERR_TYPE_MISMATCH, "{\"str\": \"a\", \"safe\": \"true\"}" },
        { ERR_TYPE_MISMATCH, "{\"str\": \"a\", \"n\": \"1\"}" },
        { ERR_TYPE_MISMATCH, "{\"str\": \"a\", \"n\": true}" },
        { ERR_TYPE_MISMATCH, "{\"str\": \"a\", \"timestamp\": 1}" },
        { ERR_TYPE_MISMATCH, "{\"str\": \"a\", \"uuid\": \"x\"}" },
        { ERR_TYPE_MISMATCH,
          "{\"str\": \"a\", \"uuid\": {\"$binary\": {\"base64\": \"AAECAwQFBgcICQoLDA0ODw==\", "
          "\"subType\": \"00\"}}}" },
        { ERR_INVALID_UUID,
          "{\"str\": \"a\", \"uuid\": {\"$binary\": {\"base64\": \"AAEC\", \"subType\": \"04\"}}}" },
        { ERR_BAD_VALUE, "{\"str\": \"a\", \"positive\": 0}" },
        { ERR_BAD_VALUE, "{\"str\": \"a\", \"positive\": 0.9}" },
        { ERR_BAD_VALUE, "{\"str\": \"a\", \"natural\": -1}" },
        { 0, "{\"str\": \"a\", \"natural\": -0.5}" },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        parse(a, t[i].text, t[i].code, NULL);
    arena_free(a);
}

static void test_values(void **state)
{
    struct arena *a = arena_new(0);
    struct taken x;

    (void)state;
    parse(a,
          "{\"str\": \"s\", \"safe\": 2, \"strict\": true, \"n\": {\"$numberLong\": \"-7\"}, "
          "\"doc\": {\"a\": 1}, \"array\": [1, 2], \"any\": null}",
          0, &x);
    assert_true(slice_eq_str(x.str, "s") && x.safe && x.strict);
    assert_int_equal(x.n, -7);
    assert_int_equal(bdoc_count(bval_doc(x.doc)), 1);
    assert_int_equal(bdoc_count(bval_doc(x.array)), 2);
    assert_int_equal(x.any.type, BT_NULL);
    assert_true(bval_is_missing(x.timestamp));
    arena_free(a);
}

static void test_numbers(void **state)
{
    static const struct {
        const char *v;
        int64_t want;
    } t[] = {
        { "1.9", 1 },
        { "-1.9", -1 },
        { "{\"$numberDouble\": \"NaN\"}", 0 },
        { "{\"$numberDouble\": \"Infinity\"}", INT64_MAX },
        { "{\"$numberDouble\": \"-Infinity\"}", INT64_MIN },
        { "{\"$numberDecimal\": \"0.5\"}", 0 },
        { "{\"$numberDecimal\": \"1.5\"}", 2 },
        { "{\"$numberDecimal\": \"2.5\"}", 2 },
        { "{\"$numberDecimal\": \"2.5000000000000000001\"}", 3 },
        { "{\"$numberDecimal\": \"1E+6000\"}", INT64_MAX },
        { "{\"$numberDecimal\": \"NaN\"}", 0 },
        { "{\"$numberLong\": \"9223372036854775807\"}", INT64_MAX },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct taken x;
        parse(a, arena_printf(a, "{\"str\": \"a\", \"n\": %s}", t[i].v), 0, &x);
        assert_int_equal(x.n, t[i].want);
    }
    arena_free(a);
}

/* A command's own arguments: generic ones are skipped, a section of the message stands for its field. */
static void test_sections(void **state)
{
    struct fixture *f = *state;
    struct bdoc doc = BDOC_EMPTY, body = BDOC_EMPTY;

    OK(bdoc_from_json(f->a, "{\"_id\": 1}", &doc, &err));
    struct cmd_seq seq = { .name = SLICE_LIT("documents"), .docs = &doc, .n_docs = 1 };
    static const struct {
        int code;
        const char *text, *section;
    } t[] = {
        { 0, "{\"insert\": \"c\", \"comment\": 1}", "documents" },
        { ERR_IDL_DUPLICATE_FIELD, "{\"insert\": \"c\", \"documents\": []}", "documents" },
        { ERR_IDL_UNKNOWN_FIELD, "{\"insert\": \"c\", \"documents\": []}", "docs" },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        AUTO(buf_fini) struct buf out = BUF_INIT;
        OK(bdoc_from_json(f->a, t[i].text, &body, &err));
        seq.name = slice_str(t[i].section);
        struct cmd_req r = { .node = f->node,
                             .client = f->client,
                             .arena = f->a,
                             .scratch = f->a,
                             .body = body,
                             .db = SLICE_LIT("t"),
                             .seqs = &seq,
                             .n_seqs = 1 };
        cmd_run(&r, &out);
        CHECK_CODE(((struct bdoc){ .p = out.p, .len = (uint32_t)out.len }), t[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_sections),
    };

    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
