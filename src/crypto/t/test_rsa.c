/* test_rsa.c - RSA keys and certificates: round trips, limits, what must be refused. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/aead.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "crypto/x509.h"
#include "rfc7515_key.h"
#include "unit.h"

static struct secret *der;
static struct rsa_public pub;

static const enum rsa_pad pads[] = { RSA_PAD_OAEP_SHA256, RSA_PAD_OAEP_SHA1, RSA_PAD_PKCS1 };

static void what_is_closed_is_opened(void **state)
{
    (void)state;
    assert_int_equal(rsa_bits(&pub), 2048);
    for (size_t i = 0; i < ARRAY_LEN(pads); i++) {
        uint8_t text[256];
        struct err e = { 0 };
        uint32_t max = rsa_plain_max(&pub, pads[i]);
        for (size_t n = 0; n < sizeof text; n++)
            text[n] = (uint8_t)(n * 7 + 1);
        const uint32_t lens[] = { 1, 32, max };
        for (size_t n = 0; n < ARRAY_LEN(lens); n++) {
            struct buf c = BUF_INIT;
            struct secret *back;
            CHECK_RC_OK(rsa_encrypt(&pub, pads[i], SLICE(text, lens[n]), &c, &e), &e);
            assert_int_equal(c.len, 256);
            CHECK_RC_OK(rsa_decrypt(der, pads[i], buf_view(&c), &back, &e), &e);
            assert_int_equal(secret_len(back), lens[n]);
            assert_memory_equal(secret_view(back), text, lens[n]);
            secret_free(back);
            buf_fini(&c);
        }
        struct buf c = BUF_INIT;
        CHECK_RC_FAILS(rsa_encrypt(&pub, pads[i], SLICE(text, max + 1), &c, &e), &e, ERR_BAD_VALUE);
        CHECK_RC_FAILS(rsa_encrypt(&pub, pads[i], SLICE_EMPTY, &c, &e), &e, ERR_BAD_VALUE);
        assert_int_equal(c.len, 0);
    }
    assert_int_equal(rsa_plain_max(&pub, RSA_PAD_OAEP_SHA256), 190);
}

static void every_damage_is_one_error(void **state)
{
    struct buf c = BUF_INIT;
    struct err e = { 0 };
    struct secret *s;
    char first[ERR_MSG_MAX] = "";
    (void)state;

    CHECK_RC_OK(rsa_encrypt(&pub, RSA_PAD_OAEP_SHA256,
                            SLICE_LIT("0123456789abcdef0123456789abcdef"), &c, &e),
                &e);
    for (size_t i = 0; i < c.len; i += 17) {
        c.p[i] ^= 0x40;
        assert_true(rsa_decrypt(der, RSA_PAD_OAEP_SHA256, buf_view(&c), &s, &e).failed);
        assert_null(s);
        assert_int_equal(e.code, ERR_BAD_VALUE);
        if (!*first)
            memcpy(first, e.msg, sizeof first);
        assert_string_equal(first, e.msg);
        err_reset(&e);
        c.p[i] ^= 0x40;
    }
    CHECK_RC_FAILS(rsa_decrypt(der, RSA_PAD_OAEP_SHA1, buf_view(&c), &s, &e), &e, ERR_BAD_VALUE);
    for (size_t len = 0; len < 300; len += 37) {
        uint8_t junk[300];
        memset(junk, 0xff, sizeof junk);
        CHECK_RC_FAILS(rsa_decrypt(der, RSA_PAD_OAEP_SHA256, SLICE(junk, len), &s, &e), &e,
                       ERR_BAD_VALUE);
    }
    buf_fini(&c);
}

static void public_numbers_are_checked(void **state)
{
    struct rsa_public k = pub;
    struct err e = { 0 };
    uint8_t a[32], b[32];
    (void)state;

    CHECK_RC_OK(rsa_public_sha256(&pub, a, &e), &e);
    CHECK_RC_OK(rsa_public_sha256(&k, b, &e), &e);
    assert_memory_equal(a, b, 32);
    k.n[k.n_len - 1] ^= 1; /* even */
    CHECK_RC_FAILS(rsa_public_sha256(&k, b, &e), &e, ERR_BAD_VALUE);
    k = pub;
    k.n[0] = 0;
    k.n[1] = 0; /* 2032 bits */
    CHECK_RC_FAILS(rsa_public_sha256(&k, b, &e), &e, ERR_BAD_VALUE);
    k = pub;
    k.e[0] = 1;
    k.e_len = 1;
    CHECK_RC_FAILS(rsa_public_sha256(&k, b, &e), &e, ERR_BAD_VALUE);
    k.e_len = 0;
    CHECK_RC_FAILS(rsa_public_sha256(&k, b, &e), &e, ERR_BAD_VALUE);
    k.n_len = 0;
    CHECK_RC_FAILS(rsa_public_sha256(&k, b, &e), &e, ERR_BAD_VALUE);
    struct secret *s;
    CHECK_RC_FAILS(rsa_generate(1024, &s, &e), &e, ERR_BAD_VALUE);
    assert_null(s);
}

static void certificates_are_made(void **state)
{
    struct err e = { 0 };
    struct secret *key, *other;
    struct buf ca = BUF_INIT, ca2 = BUF_INIT, cert = BUF_INIT, pem = BUF_INIT;
    const char *dns[] = { "*.vault.localhost", "localhost" }, *ips[] = { "127.0.0.1", "::1" };
    struct x509_leaf spec = {
        .common_name = "x", .dns = dns, .n_dns = 2, .ips = ips, .n_ips = 2, .days = 10
    };
    int64_t ends;
    (void)state;

    CHECK_RC_OK(x509_make_ca("one", 100, &key, &ca, &e), &e);
    CHECK_RC_OK(x509_make_ca("two", 100, &other, &ca2, &e), &e);
    CHECK_RC_OK(x509_expires(buf_view(&ca), &ends, &e), &e);
    assert_in_range(ends - clock_real_s(), 99 * 86400, 101 * 86400);
    CHECK_RC_OK(x509_make_leaf(key, buf_view(&ca), &spec, &cert, &pem, &e), &e);
    assert_non_null(strstr(buf_cstr(&cert), "BEGIN CERTIFICATE"));
    assert_non_null(strstr(buf_cstr(&pem), "BEGIN PRIVATE KEY"));
    buf_clear(&cert);
    buf_clear(&pem);
    CHECK_RC_FAILS(x509_make_leaf(other, buf_view(&ca), &spec, &cert, &pem, &e), &e, ERR_CRYPTO);
    const char *wrong[] = { "not an address" };
    spec.ips = wrong;
    spec.n_ips = 1;
    CHECK_RC_FAILS(x509_make_leaf(key, buf_view(&ca), &spec, &cert, &pem, &e), &e, ERR_CRYPTO);
    CHECK_RC_FAILS(x509_expires(SLICE_LIT("junk"), &ends, &e), &e, ERR_CRYPTO);
    assert_int_equal(cert.len + pem.len, 0);
    secret_free(key);
    secret_free(other);
    buf_fini(&ca);
    buf_fini(&ca2);
    buf_fini(&cert);
    buf_wipe(&pem);
}

static void keys_come_from_pem_files(void **state)
{
    static const char *const refused[] = {
        "",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        /* an EC key, RFC 8410's neighbour: not RSA */
        "-----BEGIN PRIVATE KEY-----\n"
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\n"
        "OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n"
        "1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n"
        "-----END PRIVATE KEY-----\n",
    };
    struct buf sig = BUF_INIT, text = BUF_INIT;
    struct secret *key;
    struct err e = { 0 };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        CHECK_RC_FAILS(rsa_private_from_pem(slice_str(refused[i]), &key, &e), &e, ERR_BAD_VALUE);
        assert_null(key);
    }
    CHECK_RC_OK(rsa_private_from_pem(slice_str(rfc7515_pem), &key, &e), &e);
    CHECK_RC_OK(rsa_sign_sha256(key, slice_str(rfc7515_input), &sig, &e), &e);
    base64url_encode(buf_view(&sig), &text);
    assert_string_equal(buf_cstr(&text), rfc7515_signature);
    /* PSS has a random salt: two signatures differ. That they hold is checked by another library, in tests/keys. */
    struct buf a = BUF_INIT, b = BUF_INIT;
    CHECK_RC_OK(rsa_sign_pss_sha256(key, slice_str(rfc7515_input), &a, &e), &e);
    CHECK_RC_OK(rsa_sign_pss_sha256(key, slice_str(rfc7515_input), &b, &e), &e);
    assert_int_equal(a.len, 256);
    assert_memory_not_equal(a.p, b.p, 256);
    secret_free(key);
    buf_fini(&sig);
    buf_fini(&text);
    buf_fini(&a);
    buf_fini(&b);
}

int main(void)
{
    struct err e = { 0 };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_come_from_pem_files),  cmocka_unit_test(what_is_closed_is_opened),
        cmocka_unit_test(every_damage_is_one_error), cmocka_unit_test(public_numbers_are_checked),
        cmocka_unit_test(certificates_are_made),
    };

    if (secret_arena_init(1 << 18, &e).failed || crypto_init(&e).failed ||
        rsa_generate(2048, &der, &e).failed || rsa_public_of(der, &pub, &e).failed) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    int failed = cmocka_run_group_tests_name("rsa", tests, NULL, NULL);
    secret_free(der);
    return failed;
}
