/* test_ed25519.c - RFC 8032 7.1: published keys, texts and signatures; each changed byte is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "crypto/ed25519.h"
#include "crypto/secret.h"

/* RFC 8032 7.1: tests 1 to 3 */
static const struct {
    const char *seed, *public_key, *text, *sig;
} vectors[] = {
    { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
      "d25bf5f0595bbe24655141438e7a100b" },
    { "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
      "387b2eaeb4302aeeb00d291612bb0c00" },
    { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
      "4a7c15e9716ed28dc027beceea1ec40a" },
};

static struct buf unhex(const char *text)
{
    struct buf b = BUF_INIT;

    assert_true(hex_decode(slice_str(text), &b));
    return b;
}

static void published_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct buf seed = unhex(vectors[i].seed), want = unhex(vectors[i].public_key);
        struct buf text = unhex(vectors[i].text), sig = unhex(vectors[i].sig);
        struct secret *key = NULL;
        struct err e = { 0 };
        uint8_t public_key[ED25519_PUBLIC_LEN], got[ED25519_SIG_LEN];

        assert_false(secret_from(seed.p, seed.len, &key, &e).failed);
        assert_false(ed25519_public(key, public_key, &e).failed);
        assert_memory_equal(public_key, want.p, want.len);
        assert_false(ed25519_sign(key, buf_view(&text), got, &e).failed);
        assert_int_equal(sig.len, sizeof(got));
        assert_memory_equal(got, sig.p, sig.len);
        assert_false(ed25519_verify(public_key, buf_view(&text), got, &e).failed);
        secret_free(key);
        buf_fini(&seed);
        buf_fini(&want);
        buf_fini(&text);
        buf_fini(&sig);
    }
}

static bool holds(const uint8_t *key, struct slice text, const uint8_t *sig)
{
    struct err e = { 0 };
    bool failed = ed25519_verify(key, text, sig, &e).failed;

    err_reset(&e);
    return !failed;
}

static void every_flipped_bit_is_refused(void **state)
{
    struct secret *key = NULL;
    struct err e = { 0 };
    uint8_t public_key[ED25519_PUBLIC_LEN], sig[ED25519_SIG_LEN], text[] = "what is signed";

    (void)state;
    assert_false(secret_random(ED25519_SEED_LEN, &key, &e).failed);
    assert_false(ed25519_public(key, public_key, &e).failed);
    assert_false(ed25519_sign(key, SLICE(text, sizeof(text)), sig, &e).failed);
    assert_true(holds(public_key, SLICE(text, sizeof(text)), sig));
    for (size_t bit = 0; bit < 8 * sizeof(text); bit++) {
        text[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(holds(public_key, SLICE(text, sizeof(text)), sig));
        text[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof(sig); bit++) {
        sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(holds(public_key, SLICE(text, sizeof(text)), sig));
        sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_false(holds(public_key, SLICE(text, sizeof(text) - 1), sig));
    secret_free(key);
}

static void a_key_of_another_length_is_refused(void **state)
{
    struct secret *key = NULL;
    struct err e = { 0 };
    uint8_t out[ED25519_SIG_LEN];

    (void)state;
    assert_false(secret_random(ED25519_SEED_LEN - 1, &key, &e).failed);
    assert_true(ed25519_sign(key, SLICE_LIT("x"), out, &e).failed);
    assert_int_equal(e.code, ERR_BAD_VALUE);
    err_reset(&e);
    secret_free(key);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(a_key_of_another_length_is_refused),
    };
    struct err e = { 0 };

    if (secret_arena_init(65536, &e).failed)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
