/* Encodings, numbers, UTF-8. */
#include "unit.h"

#include <string.h>

#include "base/text.h"

static void base64_vectors(void **state)
{
    (void)state;
    /* RFC 4648 10 */
    static const char *const v[][2] = { { "", "" },
                                        { "f", "Zg==" },
                                        { "fo", "Zm8=" },
                                        { "foo", "Zm9v" },
                                        { "foob", "Zm9vYg==" },
                                        { "fooba", "Zm9vYmE=" },
                                        { "foobar", "Zm9vYmFy" } };
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        struct buf b = BUF_INIT;
        base64_encode(slice_str(v[i][0]), &b);
        assert_string_equal(buf_cstr(&b), v[i][1]);
        buf_clear(&b);
        assert_true(base64_decode(slice_str(v[i][1]), &b));
        assert_string_equal(buf_cstr(&b), v[i][0]);
        buf_fini(&b);
    }
}

static void decoders_are_strict(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    assert_false(base64_decode(SLICE_LIT("Zg"), &b));   /* no padding */
    assert_false(base64_decode(SLICE_LIT("Zh=="), &b)); /* unused bits set */
    assert_false(base64_decode(SLICE_LIT("Z==="), &b));
    assert_false(base64_decode(SLICE_LIT("Zg==Zg=="), &b));
    assert_false(base64_decode(SLICE_LIT("Zm 9v"), &b));
    assert_false(base64url_decode(SLICE_LIT("Zg=="), &b)); /* padding */
    assert_false(base64url_decode(SLICE_LIT("+/+/"), &b));
    assert_true(base64url_decode(SLICE_LIT("-_-_"), &b));
    assert_false(hex_decode(SLICE_LIT("abc"), &b));
    assert_false(hex_decode(SLICE_LIT("zz"), &b));
    assert_int_equal(b.len, 3);
    buf_fini(&b);
}

static void numbers(void **state)
{
    (void)state;
    int64_t i;
    uint64_t u;
    double d;
    assert_true(text_i64(SLICE_LIT("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_false(text_i64(SLICE_LIT("9223372036854775808"), &i));
    assert_false(text_i64(SLICE_LIT(" 1"), &i));
    assert_false(text_i64(SLICE_LIT("1x"), &i));
    assert_false(text_i64(SLICE_LIT(""), &i));
    assert_false(text_u64(SLICE_LIT("-1"), &u));
    assert_true(text_u64(SLICE_LIT("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_true(text_f64(SLICE_LIT("1e-400"), &d) && d < 1e-300);
    assert_false(text_f64(SLICE_LIT("1e400"), &d));
}

static void utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } v[] = {
        { "plain ascii text", true },  { "gr\xc3\xbc\xc3\x9f", true }, { "\xe2\x82\xac", true },
        { "\xf0\x9f\x98\x80", true },  { "\xc0\x80", false },          { "\xed\xa0\x80", false },
        { "\xf4\x90\x80\x80", false }, { "\xe2\x82", false },          { "\x80", false },
        { "\xf0\x80\x80\x80", false }, { "12345678\xff", false },      { "\xef\xbf\xbf", true },
    };
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
        assert_int_equal(utf8_valid(slice_str(v[i].text)), v[i].valid);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(base64_vectors),
    cmocka_unit_test(decoders_are_strict),
    cmocka_unit_test(numbers),
    cmocka_unit_test(utf8),
};

TEST_MAIN(tests)
