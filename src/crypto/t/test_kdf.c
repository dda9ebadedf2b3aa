/* test_kdf.c - published vectors of HKDF, HMAC, SHA-256 and AES-KWP; random bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/keywrap.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

static struct buf unhex(const char *text)
{
    struct buf b = BUF_INIT;

    assert_true(hex_decode(slice_str(text), &b));
    return b;
}

static struct secret *secret_hex(const char *text)
{
    struct buf b = unhex(text);
    struct secret *s = NULL;
    struct err e = { 0 };

    assert_false(secret_from(b.p, b.len, &s, &e).failed);
    buf_fini(&b);
    return s;
}

static void assert_hex(const uint8_t *got, const char *want)
{
    struct buf b = unhex(want);

    assert_memory_equal(got, b.p, b.len);
    buf_fini(&b);
}

/* RFC 5869, appendix A: test cases 1 to 3 */
static void hkdf_vectors(void **state)
{
    static const struct {
        const char *ikm, *salt, *info, *okm;
    } v[] = {
        { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
          "f0f1f2f3f4f5f6f7f8f9",
          "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" },
        { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
          "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
          "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f"
          "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
          "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
          "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
          "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
          "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87" },
        { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
          "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct secret *ikm = secret_hex(v[i].ikm), *okm = NULL;
        struct buf salt = unhex(v[i].salt), info = unhex(v[i].info);
        struct err e = { 0 };
        size_t len = strlen(v[i].okm) / 2;

        assert_false(hkdf_sha256(ikm, buf_view(&salt), buf_view(&info), len, &okm, &e).failed);
        assert_int_equal(secret_len(okm), len);
        assert_hex(secret_view(okm), v[i].okm);
        secret_free(ikm);
        secret_free(okm);
        buf_fini(&salt);
        buf_fini(&info);
    }
}

static void hkdf_limits(void **state)
{
    struct secret *ikm = secret_hex("00"), *okm = NULL;
    const size_t bad[] = { 0, SECRET_MAX + 1, HKDF_OUT_MAX + 1 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = { 0 };

        assert_true(hkdf_sha256(ikm, SLICE_EMPTY, SLICE_EMPTY, bad[i], &okm, &e).failed);
        assert_int_equal(e.code, ERR_CRYPTO);
        assert_null(okm);
    }
    secret_free(ikm);
}

/* RFC 4231: test cases 1, 2, 3, 6 */
static void hmac_vectors(void **state)
{
    static const struct {
        const char *key, *data, *mac;
    } v[] = {
        { "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
          "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
        { "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
          "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374",
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct secret *key = secret_hex(v[i].key);
        struct buf data = unhex(v[i].data);
        uint8_t mac[SHA256_LEN];
        struct err e = { 0 };
        struct slice halves[] = { SLICE(data.p, data.len / 2), SLICE_EMPTY,
                                  SLICE(data.p + data.len / 2, data.len - data.len / 2) };

        assert_false(hmac_sha256(key, halves, 3, mac, &e).failed); /* parts are one message */
        assert_hex(mac, v[i].mac);
        secret_free(key);
        buf_fini(&data);
    }
}

/* FIPS 180-4, example of 448 bits */
static void sha_vectors(void **state)
{
    uint8_t out[SHA256_LEN];
    struct err e = { 0 };

    (void)state;
    assert_false(
        sha256(&SLICE_LIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), 1, out, &e)
            .failed);
    assert_hex(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    assert_false(sha256(NULL, 0, out, &e).failed);
    assert_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 5649 6: the two examples, which have a key of 192 bits */
static void keywrap_vectors(void **state)
{
    static const struct {
        const char *plain, *wrapped;
    } v[] = {
        { "c37b7e6492584340bed12207808941155068f738",
          "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a" },
        { "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f" },
    };
    struct buf kek = unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        struct buf plain = unhex(v[i].plain);
        uint8_t out[64];
        size_t len = 0;
        bool match = false;
        struct err e = { 0 };

        assert_false(
            keywrap__run(true, "AES-192-WRAP-PAD", kek.p, plain.p, plain.len, out, &len, &match, &e)
                .failed);
        assert_int_equal(len, strlen(v[i].wrapped) / 2);
        assert_hex(out, v[i].wrapped);
        buf_fini(&plain);
    }
    buf_fini(&kek);
}

static void keywrap_refuses_damage(void **state)
{
    struct err e = { 0 };
    struct secret *kek = NULL, *other = NULL, *plain = NULL, *back = NULL;
    uint8_t out[64];

    (void)state;
    assert_false(secret_random(32, &kek, &e).failed);
    assert_false(secret_random(32, &other, &e).failed);
    for (size_t len = 1; len <= 40; len++) {
        size_t n = keywrap_len(len);

        assert_false(secret_random(len, &plain, &e).failed);
        assert_false(keywrap_wrap(kek, plain, out, &e).failed);
        assert_false(keywrap_unwrap(kek, SLICE(out, n), &back, &e).failed);
        assert_true(secret_equal(plain, back));
        secret_freep(&back);
        for (size_t bit = 0; bit < n * 8; bit++) {
            struct err f = { 0 };

            out[bit / 8] ^= (uint8_t)(1 << (bit % 8));
            assert_true(keywrap_unwrap(kek, SLICE(out, n), &back, &f).failed);
            assert_int_equal(f.code, ERR_CORRUPT);
            assert_null(back);
            out[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        }
        for (size_t cut = 0; cut < n; cut++) {
            struct err f = { 0 };

            assert_true(keywrap_unwrap(kek, SLICE(out, cut), &back, &f).failed);
            assert_int_equal(f.code, ERR_CORRUPT);
        }
        struct err f = { 0 };
        assert_true(keywrap_unwrap(other, SLICE(out, n), &back, &f).failed);
        assert_int_equal(f.code, ERR_CORRUPT);
        secret_freep(&plain);
    }
    secret_free(kek);
    secret_free(other);
}

static void random_fails_loudly(void **state)
{
    uint8_t a[600], zero[600] = { 0 };
    struct err e = { 0 };

    (void)state;
    assert_false(random_bytes(a, sizeof(a), &e).failed);
    assert_memory_not_equal(a + sizeof(a) - 32, zero, 32);
    fault_arm("crypto.random", "EIO", 0, 1);
    assert_true(random_bytes(a, sizeof(a), &e).failed);
    fault_disarm_all();
    assert_int_equal(e.code, ERR_CRYPTO);
    assert_memory_equal(a, zero, sizeof(a));
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct secret *ikm = secret_hex("0102"), *okm = NULL;
        struct err e = { 0 };

        fault_fail_nth(n);
        rc_t rc = hkdf_sha256(ikm, SLICE_LIT("salt"), SLICE_LIT("info"), 70, &okm, &e);
        bool reached = fault_total() >= n;
        fault_disarm_all();
        assert_int_equal(rc.failed, reached);
        assert_int_equal(okm == NULL, rc.failed);
        secret_free(okm);
        secret_free(ikm);
        assert_int_equal(secret_live_count(), 0);
        if (!reached)
            break;
        assert_int_equal(e.code, ERR_CRYPTO);
    }
}

static int setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(1 << 20, &e).failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hkdf_vectors),        cmocka_unit_test(hkdf_limits),
        cmocka_unit_test(hmac_vectors),        cmocka_unit_test(sha_vectors),
        cmocka_unit_test(keywrap_vectors),     cmocka_unit_test(keywrap_refuses_damage),
        cmocka_unit_test(random_fails_loudly), cmocka_unit_test(failures_leave_nothing),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
