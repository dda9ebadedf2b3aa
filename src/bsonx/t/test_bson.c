/* test_bson.c - validation, reading, building, Extended JSON. */

#include "unit.h"

#include "base/mem.h"
#include "bsonx/bw.h"

static const char every_type[] =
    "{\"d\":1.5,\"s\":\"h\\u00e9\\\"\\n\",\"o\":{\"a\":{\"b\":7}},\"e\":{},\"l\":[1,[2],{\"x\":null}],"
    "\"b\":{\"$binary\":{\"base64\":\"AQID\",\"subType\":\"00\"}},\"b2\":{\"$binary\":{\"base64\":\"AQID\",\"subType\":\"02\"}},"
    "\"u\":{\"$undefined\":true},\"i\":{\"$oid\":\"0123456789abcdef01234567\"},\"t\":true,\"f\":false,"
    "\"dt\":{\"$date\":\"2026-11-24T03:49:04.125Z\"},\"dn\":{\"$date\":{\"$numberLong\":\"-5\"}},\"n\":null,"
    "\"r\":{\"$regularExpression\":{\"pattern\":\"^a\",\"options\":\"im\"}},\"c\":{\"$code\":\"f()\"},\"y\":{\"$symbol\":\"q\"},"
    "\"i32\":-7,\"ts\":{\"$timestamp\":{\"t\":5,\"i\":6}},\"i64\":5000000000,\"dec\":{\"$numberDecimal\":\"1.20\"},"
    "\"nan\":{\"$numberDouble\":\"NaN\"},\"min\":{\"$minKey\":1},\"max\":{\"$maxKey\":1}}";

static struct bdoc json(struct arena *a, const char *text)
{
    struct err e = { 0 };
    struct bdoc d;

    if (bdoc_from_json(a, text, &d, &e).failed)
        fail_msg("%s: %s", text, e.msg);
    return d;
}

static void json_round_trip(void **state)
{
    AUTO(buf_fini) struct buf out = BUF_INIT;
    struct arena *a = arena_new(0);
    struct bdoc d = json(a, every_type);

    (void)state;
    bval_to_json(bval_of_doc(d, BT_DOCUMENT), &out);
    assert_string_equal(
        buf_cstr(&out),
        "{\"d\":1.5,\"s\":\"h\303\251\\\"\\n\",\"o\":{\"a\":{\"b\":7}},\"e\":{},\"l\":[1,[2],{\"x\":null}],"
        "\"b\":{\"$binary\":{\"base64\":\"AQID\",\"subType\":\"00\"}},\"b2\":{\"$binary\":{\"base64\":\"AQID\",\"subType\":\"02\"}},"
        "\"u\":{\"$undefined\":true},\"i\":{\"$oid\":\"0123456789abcdef01234567\"},\"t\":true,\"f\":false,"
        "\"dt\":{\"$date\":\"2026-11-24T03:49:04.125Z\"},\"dn\":{\"$date\":{\"$numberLong\":\"-5\"}},\"n\":null,"
        "\"r\":{\"$regularExpression\":{\"pattern\":\"^a\",\"options\":\"im\"}},\"c\":{\"$code\":\"f()\"},\"y\":{\"$symbol\":\"q\"},"
        "\"i32\":-7,\"ts\":{\"$timestamp\":{\"t\":5,\"i\":6}},\"i64\":5000000000,\"dec\":{\"$numberDecimal\":\"1.20\"},"
        "\"nan\":{\"$numberDouble\":\"NaN\"},\"min\":{\"$minKey\":1},\"max\":{\"$maxKey\":1}}");
    arena_free(a);
}

static void json_refuses(void **state)
{
    static const char *const rows[] = {
        "",
        "1",
        "{",
        "{a}",
        "{a:}",
        "{a:1",
        "[1,]",
        "{a:1}x",
        "{a:'\\q'}",
        "{a:'\\ud800'}",
        "{a:{$oid:'12'}}",
        "{a:nul}",
        "{a:1e}",
        "{a:{$date:'yesterday'}}",
        "{a:{$numberLong:'1.5'}}",
        "{a:{$binary:{base64:'?',subType:'00'}}}",
        "{$oid:'0123456789abcdef01234567'}",
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = { 0 };
        struct bdoc d;

        if (!bdoc_from_json(a, rows[i], &d, &e).failed)
            fail_msg("%s was accepted", rows[i]);
        assert_int_equal(e.code, ERR_FAILED_TO_PARSE);
    }
    arena_free(a);
}

static void walk(struct bdoc d)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it)) {
        (void)bval_hash(it.val);
        assert_int_equal(bval_cmp(it.val, it.val), 0);
        if (it.val.type == BT_DOCUMENT || it.val.type == BT_ARRAY)
            walk(bval_doc(it.val));
    }
}

/* Every cut is refused; every change of a byte is refused or gives a document that can be walked. The copy ends where its memory ends, so
 * that the sanitizer sees a read too far. */
static void validation_holds(void **state)
{
    struct arena *a = arena_new(0);
    struct bdoc d = json(a, every_type), out;
    struct err e = { 0 };
    size_t refused = 0;

    (void)state;
    assert_false(bdoc_validate(d.p, d.len, 100, &out, &e).failed);
    assert_int_equal(out.len, d.len);
    walk(out);
    for (uint32_t cut = 0; cut < d.len; cut++) {
        uint8_t *copy = mem_dup(d.p, cut);

        e = (struct err){ 0 };
        assert_true(bdoc_validate(copy, cut, 100, &out, &e).failed);
        assert_int_equal(e.code, ERR_INVALID_BSON);
        mem_free(copy);
    }
    for (uint32_t i = 0; i < d.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t *copy = mem_dup(d.p, d.len);

            copy[i] ^= (uint8_t)(1 << bit);
            e = (struct err){ 0 };
            if (bdoc_validate(copy, d.len, 100, &out, &e).failed)
                refused++;
            else
                walk(out);
            mem_free(copy);
        }
    }
    assert_true(refused > d.len);
    arena_free(a);
}

static void validation_cases(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum err_code code;
    } rows[] = {
        { "\x05\0\0\0\0", 5, ERR_NONE },
        { "\x05\0\0\0\0zz", 7, ERR_NONE }, /* another document may follow */
        { "\x05\0\0\0\1", 5, ERR_INVALID_BSON },
        { "\x04\0\0\0", 4, ERR_INVALID_BSON },
        { "\xff\xff\xff\xff\0", 5, ERR_INVALID_BSON },
        { "\x09\0\0\0\x08"
          "a\0\x02\0",
          9, ERR_INVALID_BSON }, /* a boolean of 2 */
        { "\x09\0\0\0\x14"
          "a\0\x02\0",
          9, ERR_INVALID_BSON },                           /* an unknown type */
        { "\x08\0\0\0\x0a\xff\0\0", 8, ERR_INVALID_BSON }, /* a name that is not UTF-8 */
        { "\x0e\0\0\0\x02"
          "a\0\x02\0\0\0\xff\0\0",
          14, ERR_INVALID_BSON }, /* a string that is not */
        { "\x0c\0\0\0\x02"
          "a\0\0\0\0\0\0",
          12, ERR_INVALID_BSON }, /* a string without room for its NUL */
        { "\x0d\0\0\0\x03"
          "a\0\x05\0\0\0\0\0",
          13, ERR_NONE },
        { "\x12\0\0\0\x05"
          "a\0\x05\0\0\0\x02\x09\0\0\0\x01\0",
          18, ERR_INVALID_BSON }, /* old binary with a wrong inner length */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = { 0 };
        struct bdoc d;
        bool failed = bdoc_validate(rows[i].bytes, rows[i].len, 10, &d, &e).failed;

        if (e.code != rows[i].code || failed != (e.code != ERR_NONE))
            fail_msg("row %zu: %d", i, e.code);
    }
}

static void nesting_is_bounded(void **state)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct err e = { 0 };
    struct bw w;
    struct bdoc d;

    (void)state;
    bw_init(&w, &b);
    for (int i = 0; i < 150; i++)
        bw_doc_begin(&w, "a");
    for (int i = 0; i < 150; i++)
        bw_doc_end(&w);
    struct bdoc deep = bw_finish(&w);

    assert_false(bdoc_validate(deep.p, deep.len, 151, &d, &e).failed);
    assert_true(bdoc_validate(deep.p, deep.len, 150, &d, &e).failed);
    assert_int_equal(e.code, ERR_OVERFLOW);
    assert_true(bdoc_deeper_than(deep, 150));
    assert_false(bdoc_deeper_than(deep, 151));
}

static void reading(void **state)
{
    struct arena *a = arena_new(0);
    struct bdoc d = json(a, every_type);
    int64_t i;
    uint8_t subtype;

    (void)state;
    assert_int_equal(bdoc_count(d), 24);
    assert_int_equal(bval_i32(bdoc_get_path(d, "o.a.b")), 7);
    assert_true(bval_is_missing(bdoc_get_path(d, "l.0")));
    assert_true(bval_is_missing(bdoc_get_path(d, "o.a.b.c")));
    assert_int_equal(bval_bin(bdoc_get(d, "b2"), &subtype).len, 3);
    assert_int_equal(subtype, 2);
    assert_true(bval_to_i64(bdoc_get(d, "i64"), &i));
    assert_int_equal(i, 5000000000);
    assert_false(bval_to_i64(bdoc_get(d, "d"), &i));
    assert_false(bval_to_i64(bdoc_get(d, "nan"), &i));
    assert_true(bval_truthy(bdoc_get(d, "nan")));
    assert_false(bval_truthy(bdoc_get(d, "u")));
    assert_true(bval_truthy(bdoc_get(d, "l")));
    assert_int_equal(btype_alias(SLICE_LIT("objectId")), BT_OBJECT_ID);
    assert_int_equal(btype_alias(SLICE_LIT("minKey")), -1);
    assert_int_equal(btype_alias(SLICE_LIT("missing")), -2);
    assert_int_equal(btype_alias(SLICE_LIT("Int")), -2);
    assert_string_equal(btype_name(BT_INT64), "long");
    arena_free(a);
}

static void writing(void **state)
{
    AUTO(buf_fini) struct buf b = BUF_INIT, out = BUF_INIT;
    struct arena *a = arena_new(0);
    struct bdoc d = json(a, "{p:1,q:2}"), check;
    struct err e = { 0 };
    struct bw w;

    (void)state;
    buf_push(&b, "before", 6);
    bw_init(&w, &b);
    bw_array_begin(&w, "l");
    for (int i = 0; i < 12; i++)
        bw_i32(&w, NULL, i);
    bw_doc_begin(&w, NULL);
    bw_fields(&w, d);
    bw_str(&w, "s", "x");
    bw_doc_end(&w);
    bw_fields(&w, d);
    bw_array_end(&w);
    bw_val(&w, "none", BVAL_MISSING);
    bw_val(&w, "nul", bval_new_null());
    struct bdoc done = bw_finish(&w);

    assert_false(bdoc_validate(done.p, done.len, 10, &check, &e).failed);
    bval_to_json(bval_of_doc(done, BT_DOCUMENT), &out);
    assert_string_equal(
        buf_cstr(&out),
        "{\"l\":[0,1,2,3,4,5,6,7,8,9,10,11,{\"p\":1,\"q\":2,\"s\":\"x\"},1,2],\"nul\":null}");
    assert_int_equal(bval_i32(bdoc_get(bval_doc(bdoc_get(done, "l")), "11")), 11);
    arena_free(a);
}

static void object_ids_differ(void **state)
{
    uint8_t x[12], y[12];

    (void)state;
    oid_new(x);
    oid_new(y);
    assert_memory_equal(x + 4, y + 4, 5);
    assert_int_equal((uint32_t)(get_be32(y + 8) - get_be32(x + 8)) & 0xffffff, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_round_trip),
        cmocka_unit_test(json_refuses),
        cmocka_unit_test(validation_holds),
        cmocka_unit_test(validation_cases),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(reading),
        cmocka_unit_test(writing),
        cmocka_unit_test(object_ids_differ),
    };

    return cmocka_run_group_tests_name("bson", tests, NULL, NULL);
}
