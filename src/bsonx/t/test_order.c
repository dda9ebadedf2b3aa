/* test_order.c - the order of values, equality across number types, hashing. */

#include "unit.h"

#include <stdio.h>

#include "base/mem.h"
#include "bsonx/bw.h"
#include "bsonx/dec.h"

static struct bdoc json(struct arena *a, const char *text)
{
    struct err e = { 0 };
    struct bdoc d;

    if (bdoc_from_json(a, text, &d, &e).failed)
        fail_msg("%s: %s", text, e.msg);
    return d;
}

/* Strictly ascending, each line one class of equal values. */
static const char *const ladder[] = {
    "[{$minKey:1}]",
    "[{$undefined:true}]",
    "[null]",
    "[{$numberDouble:'NaN'},{$numberDecimal:'NaN'}]",
    "[{$numberDouble:'-Infinity'},{$numberDecimal:'-Infinity'}]",
    "[{$numberDecimal:'-1E+400'}]",
    "[-1e300]",
    "[{$numberLong:'-9223372036854775808'},-9223372036854775808.0,{$numberDecimal:'-9223372036854775808'}]",
    "[{$numberLong:'-9223372036854775807'}]",
    "[-1,-1.0,{$numberLong:'-1'},{$numberDecimal:'-1.00'}]",
    "[-0.5]",
    "[0,0.0,-0.0,{$numberDecimal:'0'},{$numberDecimal:'-0'},{$numberDecimal:'0E+10'}]",
    "[{$numberDecimal:'0.1'}]", /* 0.1 as a double is a little more than a tenth */
    "[0.1]",
    "[{$numberDecimal:'0.1000000000000000055511151231257828'}]",
    "[0.5,{$numberDecimal:'0.5'},{$numberDecimal:'0.500'}]",
    "[1,1.0,{$numberLong:'1'},{$numberDecimal:'1.000'}]",
    "[1.5,{$numberDecimal:'1.5'}]",
    "[{$numberLong:'9007199254740992'},9007199254740992.0]",
    "[{$numberLong:'9007199254740993'},{$numberDecimal:'9007199254740993'}]",
    "[{$numberLong:'9223372036854775807'},{$numberDecimal:'9223372036854775807'}]",
    "[9223372036854775808.0,{$numberDecimal:'9223372036854775808'}]",
    "[1e300]",
    "[{$numberDecimal:'1E+400'}]",
    "[{$numberDouble:'Infinity'},{$numberDecimal:'Infinity'}]",
    "['',{$symbol:''}]",
    "['a',{$symbol:'a'}]",
    "['a\\u0000']",
    "['b']",
    "[{}]",
    "[{a:1},{a:1.0}]",
    "[{a:1,b:1}]",
    "[{b:1}]",
    "[{a:'x'}]",
    "[[]]",
    "[[1],[1.0]]",
    "[[1,1]]",
    "[[2]]",
    "[['x']]",
    "[{$binary:{base64:'',subType:'00'}}]",
    "[{$binary:{base64:'/w==',subType:'00'}}]",
    "[{$binary:{base64:'AAA=',subType:'00'}}]",
    "[{$binary:{base64:'AAA=',subType:'05'}}]",
    "[{$binary:{base64:'AAA=',subType:'02'}}]",
    "[{$oid:'000000000000000000000000'}]",
    "[{$oid:'00000000000000000000000a'}]",
    "[false]",
    "[true]",
    "[{$date:{$numberLong:'-1'}}]",
    "[{$date:'1970-01-01T00:00:00Z'}]",
    "[{$timestamp:{t:1,i:2}}]",
    "[{$timestamp:{t:4294967295,i:0}}]",
    "[{$regularExpression:{pattern:'a',options:''}}]",
    "[{$regularExpression:{pattern:'a',options:'i'}}]",
    "[{$regularExpression:{pattern:'b',options:''}}]",
    "[{$code:'x'}]",
    "[{$maxKey:1}]",
};

static void order_is_total(void **state)
{
    struct arena *a = arena_new(0);
    struct bdoc rungs[ARRAY_LEN(ladder)];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ladder); i++)
        rungs[i] = json(a, ladder[i]);
    for (size_t i = 0; i < ARRAY_LEN(ladder); i++) {
        for (size_t k = 0; k < ARRAY_LEN(ladder); k++) {
            struct biter x, y;
            int want = i < k ? -1 : i > k;

            biter_init(&x, rungs[i]);
            while (biter_next(&x)) {
                biter_init(&y, rungs[k]);
                while (biter_next(&y)) {
                    int c = bval_cmp(x.val, y.val);

                    if (c != want)
                        fail_msg("%s against %s: %d", ladder[i], ladder[k], c);
                    if (c == 0)
                        assert_true(bval_hash(x.val) == bval_hash(y.val));
                }
            }
        }
    }
    arena_free(a);
}

/* The exact comparison of decimals with doubles, against the full expansion of the double that printf gives. */
static void decimals_against_doubles(void **state)
{
    uint64_t seed = 88172645463325252ull;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint64_t bits;
        double d;
        char text[64];
        struct dec128 dec;

        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bits = (seed & 0x800fffffffffffffull) | ((uint64_t)(1023 - 200 + seed % 400) << 52);
        memcpy(&d, &bits, sizeof(d));
        snprintf(text, sizeof(text), "%.*e", (int)(seed % 34), d);
        assert_true(dec_from_str(slice_str(text), &dec, NULL));

        /* glibc converts the text back exactly rounded in long double: enough digits to know the side unless it is a tie. */
        char full[1200];
        snprintf(full, sizeof(full), "%.760e", d);
        char printed[1200];
        size_t n = strcspn(text, "e");
        memcpy(printed, text, n);
        if (!memchr(text, '.', n))
            printed[n++] = '.';
        size_t digits = strcspn(full, "e");
        memset(printed + n, '0', digits - n);
        snprintf(printed + digits, sizeof(printed) - digits, "%s", text + strcspn(text, "e"));
        int want = 0;
        if (strcmp(printed + digits, full + digits) == 0) {
            want = memcmp(printed, full, digits);
            if (d < 0)
                want = -want;
            want = (want > 0) - (want < 0);
            if (dec_cmp_double(dec, d) != want)
                fail_msg("%s against %s: want %d got %d", text, full, want, dec_cmp_double(dec, d));
        }
    }
}

static void decimal_text(void **state)
{
    static const struct {
        const char *in, *out; /* out NULL: refused */
    } rows[] = {
        { "0", "0" },
        { "-0", "-0" },
        { "1.0", "1.0" },
        { "1E+3", "1E+3" },
        { "1000", "1000" },
        { "1.10E1", "11.0" },
        { "0.000001", "0.000001" },
        { "0.0000001", "1E-7" },
        { "12E-9", "1.2E-8" },
        { "inf", "Infinity" },
        { "-Infinity", "-Infinity" },
        { "nan", "NaN" },
        { "1234567890123456789012345678901234", "1234567890123456789012345678901234" },
        { "12345678901234567890123456789012345", "1.234567890123456789012345678901234E+34" },
        { "1e6144", "1.000000000000000000000000000000000E+6144" },
        { "1e7000", "Infinity" },
        { "1E-6176", "1E-6176" },
        { "0E+3", "0E+3" },
        { ".5", "0.5" },
        { "5.", "5" },
        { "", NULL },
        { "1x", NULL },
        { "e5", NULL },
        { "1e", NULL },
        { "--1", NULL },
        { " 1", NULL },
        { ".", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dec128 d;
        char text[DEC_STR_MAX];
        bool ok = dec_from_str(slice_str(rows[i].in), &d, NULL);

        assert_int_equal(ok, rows[i].out != NULL);
        if (ok) {
            dec_to_str(d, text);
            assert_string_equal(text, rows[i].out);
        }
    }
}

static void decimal_arithmetic(void **state)
{
    char text[DEC_STR_MAX];
    struct dec128 a, b;
    int64_t i;
    bool exact;

    (void)state;
    dec_from_str(SLICE_LIT("1.10"), &a, NULL);
    dec_from_str(SLICE_LIT("2.205"), &b, NULL);
    dec_to_str(dec_add(a, b, NULL), text);
    assert_string_equal(text, "3.305");
    dec_to_str(dec_from_double(1.5), text);
    assert_string_equal(text, "1.50000000000000");
    dec_to_str(dec_round_place(b, 2, DEC_HALF_EVEN), text);
    assert_string_equal(text, "2.20");
    dec_to_str(dec_round_place(b, -1, DEC_HALF_EVEN), text);
    assert_string_equal(text, "0E+1");
    assert_true(dec_to_i64(b, DEC_TRUNC, &i, &exact));
    assert_int_equal(i, 2);
    assert_false(exact);
    dec_from_str(SLICE_LIT("9223372036854775808"), &a, NULL);
    assert_false(dec_to_i64(a, DEC_TRUNC, &i, NULL));
    unsigned flags = 0;
    dec_to_str(dec_div(b, DEC_ZERO, &flags), text);
    assert_string_equal(text, "Infinity");
    assert_true(flags & DEC_DIV_BY_ZERO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_total),
        cmocka_unit_test(decimals_against_doubles),
        cmocka_unit_test(decimal_text),
        cmocka_unit_test(decimal_arithmetic),
    };

    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
