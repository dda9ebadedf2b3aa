/* test_p11.c - PKCS #11 URIs: what names a key, what is refused, and what never shows; versions and dates. */
#include <string.h>

#include "base/mem.h"
#include "kmsg/kmsg_p11.h"
#include "unit.h"

#define REST "?module-path=/m.so"

static void uris_name_a_key(void **state)
{
    static const struct {
        const char *uri, *token, *object; /* token NULL: refused */
    } cases[] = {
        { "pkcs11:token=t;object=k" REST, "t", "k" },
        { "PKCS11:object=k;token=My%20Token" REST, "My Token", "k" },
        { "pkcs11:token=%C3%A9;object=a%3Bb;type=private" REST, "\xc3\xa9", "a;b" },
        { "pkcs11:serial=0123;object=k" REST, "", "k" },
        { "pkcs11:token=t;id=%01%fF" REST, "t", "" },
        { "pkcs11:token=t;object=k?module-path=file:///m.so", "t", "k" },
        { "pkcs11:token=t;object=k" REST "&x-env=A_1=b=c&x-env=B=%20", "t", "k" },
        { "pkcs11:token=t;object=k", NULL, NULL },
        { "pkcs11:object=k" REST, NULL, NULL },
        { "pkcs11:token=t" REST, NULL, NULL },
        { "pkcs11:token=;object=k" REST, NULL, NULL },
        { "pkcs11:token=t;token=u;object=k" REST, NULL, NULL },
        { "pkcs11:token=t;object=k;slot-id=1" REST, NULL, NULL },
        { "pkcs11:token=t;object=k;type=cert" REST, NULL, NULL },
        { "pkcs11:token=t;object=k%0" REST, NULL, NULL },
        { "pkcs11:token=t;object=k%0g" REST, NULL, NULL },
        { "pkcs11:token=t;object=k%00" REST, NULL, NULL },
        { "pkcs11:token=t;object" REST, NULL, NULL },
        { "pkcs11:token=123456789012345678901234567890123;object=k" REST, NULL, NULL },
        { "pkcs11:token=t;object=k?module-path=m.so", NULL, NULL },
        { "pkcs11:token=t;object=k" REST "&module-path=/n.so", NULL, NULL },
        { "pkcs11:token=t;object=k" REST "&module-name=m", NULL, NULL },
        { "pkcs11:token=t;object=k" REST "&x-env=LD_PRELOAD=/x.so", NULL, NULL },
        { "pkcs11:token=t;object=k" REST "&x-env=a=b", NULL, NULL },
        { "pkcs11:token=t;object=k" REST "&x-env=1A=b", NULL, NULL },
        { "pkcs11:token=t;object=k" REST "&x-env=A", NULL, NULL },
        { "pkcs11:token=t;object=k" REST "&x-env=A=", NULL, NULL },
        { "pkcs11:token=t;object=k" REST "&x-env=A=1&x-env=A=2&x-env=A=3&x-env=A=4&x-env=A=5", NULL,
          NULL },
        { "pkcs11:", NULL, NULL },
        { "https://t/k", NULL, NULL },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_p11_uri u;
        struct err e = { 0 };
        rc_t rc = kmsg_p11_uri(cases[i].uri, &u, &e);
        if (rc.failed != (cases[i].token == NULL))
            fail_msg("\"%s\": %s", cases[i].uri, e.msg);
        assert_string_equal(u.token, cases[i].token ? cases[i].token : "");
        assert_string_equal(u.object, cases[i].token ? cases[i].object : "");
        assert_string_equal(u.module, cases[i].token ? "/m.so" : "");
    }
}

static void parts_are_decoded(void **state)
{
    struct kmsg_p11_uri u;
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(kmsg_p11_uri("pkcs11:token=t;id=%01%fF" REST "&x-env=A_1=b=c&x-env=B=%20", &u, &e),
                &e);
    assert_int_equal(u.id_len, 2);
    assert_memory_equal(u.id, "\x01\xff", 2);
    assert_int_equal(u.n_env, 2);
    assert_string_equal(u.env[0].name, "A_1");
    assert_string_equal(u.env[0].value, "b=c");
    assert_string_equal(u.env[1].value, " ");
}

static void a_pin_has_no_place_in_a_uri(void **state)
{
    static const char *const uris[] = {
        "pkcs11:token=t;object=k" REST "&pin-value=s3cret",
        "pkcs11:token=t;object=k" REST "&pin-source=file:/s3cret",
        "pkcs11:pin-value=s3cret",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        struct kmsg_p11_uri u;
        struct err e = { 0 };
        assert_true(kmsg_p11_uri(uris[i], &u, &e).failed);
        assert_int_equal(e.code, ERR_CONFIG);
        assert_non_null(strstr(e.msg, "token-secret-file")); /* where it belongs */
        assert_null(strstr(e.msg, "s3cret"));
        assert_null(strstr(e.detail, "s3cret"));
    }
}

static void versions_are_numbers(void **state)
{
    (void)state;
    assert_true(kmsg_p11_is_version("01"));
    assert_true(kmsg_p11_is_version("00ff"));
    assert_false(kmsg_p11_is_version(""));
    assert_false(kmsg_p11_is_version("1"));
    assert_false(kmsg_p11_is_version("0G"));
    assert_false(kmsg_p11_is_version("0A"));
    assert_true(kmsg_p11_is_later(SLICE("\x02", 1), SLICE("\x01", 1)));
    assert_false(kmsg_p11_is_later(SLICE("\x01", 1), SLICE("\x01", 1)));
    assert_true(kmsg_p11_is_later(SLICE("\x01\x00", 2), SLICE("\xff", 1)));
    assert_false(kmsg_p11_is_later(SLICE("\x00\x01", 2), SLICE("\x02", 1)));
    assert_false(kmsg_p11_is_later(SLICE("\x00\x00", 2), SLICE("\x00", 1)));
}

static void dates_are_dates(void **state)
{
    int64_t s;
    (void)state;

    assert_true(kmsg_p11_date("20240229", &s) && s == 1709164800);
    assert_false(kmsg_p11_date("20241301", &s));
    assert_false(kmsg_p11_date("20240230", &s));
    assert_false(kmsg_p11_date("19690101", &s));
    assert_false(kmsg_p11_date("2024 101", &s));
    assert_false(kmsg_p11_date("\0\0\0\0\0\0\0\0", &s));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(uris_name_a_key),
    cmocka_unit_test(parts_are_decoded),
    cmocka_unit_test(a_pin_has_no_place_in_a_uri),
    cmocka_unit_test(versions_are_numbers),
    cmocka_unit_test(dates_are_dates),
};

TEST_MAIN(tests)
