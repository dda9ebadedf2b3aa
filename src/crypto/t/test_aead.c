/* test_aead.c - both engines: known answers, equal bytes, refusals that wipe, many threads with many keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/mem.h"
#include "base/thread.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

static bool usable(const struct aead_engine *en)
{
    bool ok = false;
    struct err e = { 0 };

    assert_false(en->start(&ok, &e).failed);
    return ok;
}

static struct aead_key *fresh_key(void)
{
    struct secret *s = NULL;
    struct aead_key *k = NULL;
    struct err e = { 0 };

    assert_false(secret_random(AEAD_KEY_LEN, &s, &e).failed);
    assert_false(aead_key_new(s, &k, &e).failed);
    secret_free(s);
    return k;
}

static void known_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < aead__n_engines; i++) {
        struct err e = { 0 };

        if (usable(aead__engines[i]))
            assert_false(aead__known_answers(aead__engines[i], &e).failed);
    }
}

/* A planted defect: an engine that forgets the associated data must not pass. */
static RC forgetful_seal(const struct aead_key *k, const struct aead_seal *m, struct err *e)
{
    struct aead_seal n = *m;

    n.aad = SLICE_EMPTY;
    return aead__openssl.seal(k, &n, e);
}
static RC forgetful_open(const struct aead_key *k, const struct aead_open *m, bool *match,
                         struct err *e)
{
    struct aead_open n = *m;

    n.aad = SLICE_EMPTY;
    return aead__openssl.open(k, &n, match, e);
}
static RC trusting_open(const struct aead_key *k, const struct aead_open *m, bool *match,
                        struct err *e)
{
    rc_t rc = aead__openssl.open(k, m, match, e);

    *match = true;
    return rc;
}

static void self_test_catches_defects(void **state)
{
    struct aead_engine forgetful = aead__openssl, trusting = aead__openssl;
    struct err e = { 0 };

    (void)state;
    forgetful.seal = forgetful_seal;
    forgetful.open = forgetful_open;
    trusting.open = trusting_open;
    assert_true(usable(&aead__openssl));
    assert_true(aead__known_answers(&forgetful, &e).failed);
    assert_int_equal(e.code, ERR_CRYPTO);
    err_reset(&e);
    assert_true(aead__known_answers(&trusting, &e).failed);
    assert_non_null(strstr(e.msg, "forged"));
}

static void engines_agree(void **state)
{
    static uint8_t plain[70000], aad[300], out[2][70000];
    uint8_t nonce[AEAD_NONCE_LEN], tag[2][AEAD_TAG_LEN];
    const size_t n = aead__n_engines;
    struct err e = { 0 };

    (void)state;
    for (size_t i = 0; i < n; i++)
        if (!usable(aead__engines[i]))
            skip();
    assert_false(random_bytes(plain, sizeof(plain), &e).failed);
    assert_false(random_bytes(aad, sizeof(aad), &e).failed);
    for (int round = 0; round < 1200; round++) {
        struct aead_key *k = fresh_key();
        size_t len = round < 600 ? (size_t)round % 300 : (size_t)rand() % sizeof(plain);
        size_t aad_len = (size_t)round % sizeof(aad);

        assert_false(random_bytes(nonce, sizeof(nonce), &e).failed);
        for (size_t i = 0; i < n; i++) {
            struct aead_seal m = { .nonce = nonce,
                                   .aad = SLICE(aad, aad_len),
                                   .plain = SLICE(plain, len),
                                   .out = out[i],
                                   .tag = tag[i] };

            assert_false(aead__seal_with(aead__engines[i], k, &m, &e).failed);
        }
        if (n == 2) {
            assert_memory_equal(out[0], out[1], len);
            assert_memory_equal(tag[0], tag[1], AEAD_TAG_LEN);
        }
        for (size_t i = 0; i < n; i++) { /* each opens what the other sealed, in place */
            struct aead_open m = { .nonce = nonce,
                                   .aad = SLICE(aad, aad_len),
                                   .cipher = SLICE(out[n - 1 - i], len),
                                   .tag = tag[n - 1 - i],
                                   .out = out[n - 1 - i] };

            assert_false(aead__open_with(aead__engines[i], k, &m, &e).failed);
            assert_memory_equal(out[n - 1 - i], plain, len);
        }
        aead_key_free(k);
    }
}

/* Every bit of the tag, and samples of the text, the associated data and the nonce: refused, and the output is wiped. */
static void refusals_wipe(void **state)
{
    uint8_t text[100], sealed[100], out[100], zero[100] = { 0 }, aad[20] = "who", nonce[12] = { 1 },
                                              tag[16];

    (void)state;
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < aead__n_engines; i++) {
        struct aead_key *k = fresh_key(), *other = fresh_key();
        struct aead_seal s = { .nonce = nonce,
                               .aad = SLICE(aad, 20),
                               .plain = SLICE(text, 100),
                               .out = sealed,
                               .tag = tag };
        struct aead_open o = { .nonce = nonce,
                               .aad = SLICE(aad, 20),
                               .cipher = SLICE(sealed, 100),
                               .tag = tag,
                               .out = out };
        struct {
            uint8_t *p;
            size_t len;
        } field[] = { { tag, 16 }, { sealed, 100 }, { aad, 20 }, { nonce, 12 } };
        struct err e = { 0 };

        if (!usable(aead__engines[i]))
            continue;
        assert_false(aead__seal_with(aead__engines[i], k, &s, &e).failed);
        for (size_t f = 0; f < ARRAY_LEN(field); f++) {
            for (size_t bit = 0; bit < field[f].len * 8; bit++) {
                struct err r = { 0 };

                field[f].p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
                memset(out, 0xee, sizeof(out));
                assert_true(aead__open_with(aead__engines[i], k, &o, &r).failed);
                assert_int_equal(r.code, ERR_CORRUPT);
                assert_memory_equal(out, zero, sizeof(out));
                field[f].p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
            }
        }
        for (size_t len = 0; len < 100; len++) { /* cut at every length */
            struct aead_open cut = o;
            struct err r = { 0 };

            cut.cipher.len = len;
            assert_true(aead__open_with(aead__engines[i], k, &cut, &r).failed);
            assert_int_equal(r.code, ERR_CORRUPT);
        }
        assert_true(aead__open_with(aead__engines[i], other, &o, &e).failed);
        err_reset(&e);
        /* and the right one still opens */
        assert_false(aead__open_with(aead__engines[i], k, &o, &e).failed);
        assert_memory_equal(out, text, sizeof(out));
        aead_key_free(k);
        aead_key_free(other);
    }
}

static void arguments_refused(void **state)
{
    struct secret *s = NULL;
    struct aead_key *k = NULL;
    uint8_t *aad = mem_calloc(1, AEAD_AAD_MAX + 1);
    uint8_t nonce[12] = { 0 }, tag[16];
    struct err e = { 0 };

    (void)state;
    for (size_t len = 1; len < 64; len++) {
        if (len == AEAD_KEY_LEN)
            continue;
        struct err r = { 0 };
        assert_false(secret_new(len, &s, &e).failed);
        assert_true(aead_key_new(s, &k, &r).failed);
        assert_int_equal(r.code, ERR_CRYPTO);
        assert_null(k);
        secret_freep(&s);
    }
    k = fresh_key();
    struct aead_seal m = { .nonce = nonce, .aad = SLICE(aad, AEAD_AAD_MAX + 1), .tag = tag };
    assert_true(aead_seal(k, &m, &e).failed);
    assert_int_equal(e.code, ERR_CRYPTO);
    m.aad.len = AEAD_AAD_MAX;
    err_reset(&e);
    assert_false(aead_seal(k, &m, &e).failed);
    aead_key_free(k);
    mem_free(aad);
}

static void a_failing_engine_leaks_nothing(void **state)
{
    uint8_t text[64], zero[64] = { 0 }, nonce[12] = { 0 }, tag[16];

    (void)state;
    for (size_t i = 0; i < aead__n_engines; i++) {
        struct aead_key *k = fresh_key();
        struct aead_seal m = { .nonce = nonce, .plain = SLICE(text, 64), .out = text, .tag = tag };
        struct err e = { 0 };

        if (!usable(aead__engines[i]))
            continue;
        memset(text, 'x', sizeof(text));
        fault_arm("crypto.aead", "EIO", 0, 1);
        assert_true(aead__seal_with(aead__engines[i], k, &m, &e).failed);
        fault_disarm_all();
        assert_int_equal(e.code, ERR_CRYPTO);
        /* in place: the plain text does not stay where cipher text is expected */
        assert_memory_equal(text, zero, sizeof(text));
        aead_key_free(k);
    }
}

/* Many threads, more keys than a thread's cache has slots, keys shared between threads and short-lived ones. */
enum { N_KEYS = 24, N_THREADS = 8 };
struct crowd {
    const struct aead_engine *en;
    struct aead_key *shared[N_KEYS];
    unsigned seed;
};

static void *crowd_member(void *arg)
{
    struct crowd c = *(struct crowd *)arg;
    uint8_t plain[512], out[512], tag[16], nonce[12] = { 0 };
    struct err e = { 0 };

    for (unsigned i = 0; i < 3000; i++) {
        bool own = rand_r(&c.seed) % 8 == 0;
        struct aead_key *k = c.shared[rand_r(&c.seed) % N_KEYS], *mine = NULL;
        size_t len = (size_t)(rand_r(&c.seed) % 512);

        if (own) {
            struct secret *s = NULL;

            INVARIANT(!secret_random(32, &s, &e).failed && !aead_key_new(s, &mine, &e).failed);
            secret_free(s);
            k = mine;
        }
        memset(plain, (int)i, sizeof(plain));
        memcpy(nonce, &i, sizeof(i));
        INVARIANT(!aead__seal_with(c.en, k,
                                   &(struct aead_seal){ .nonce = nonce,
                                                        .plain = SLICE(plain, len),
                                                        .out = out,
                                                        .tag = tag },
                                   &e)
                       .failed);
        INVARIANT(!aead__open_with(c.en, k,
                                   &(struct aead_open){ .nonce = nonce,
                                                        .cipher = SLICE(out, len),
                                                        .tag = tag,
                                                        .out = out },
                                   &e)
                       .failed);
        INVARIANT(memcmp(out, plain, len) == 0);
        aead_key_free(mine);
    }
    return NULL;
}

static void threads_share_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < aead__n_engines; i++) {
        struct crowd c[N_THREADS];
        pthread_t t[N_THREADS];

        if (!usable(aead__engines[i]))
            continue;
        c[0].en = aead__engines[i];
        for (int k = 0; k < N_KEYS; k++)
            c[0].shared[k] = fresh_key();
        for (unsigned j = 0; j < N_THREADS; j++) {
            c[j] = c[0];
            c[j].seed = j + 1;
        }
        uint64_t before = secret_live_count();
        for (int j = 0; j < N_THREADS; j++)
            t[j] = thread_start("crowd", crowd_member, &c[j]);
        for (int j = 0; j < N_THREADS; j++)
            thread_join(t[j]);
        assert_int_equal(secret_live_count(), before); /* a thread takes its schedules with it */
        for (int k = 0; k < N_KEYS; k++)
            aead_key_free(c[0].shared[k]);
    }
}

static void names_itself(void **state)
{
    (void)state;
    assert_int_equal(aead_algorithm(), AEAD_ALG_AES_256_GCM);
    assert_string_equal(crypto_engine(),
                        (usable(aead__engines[0]) ? aead__engines[0] : &aead__openssl)->name());
    print_message("engine: %s\n", crypto_engine());
}

static int setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(1 << 20, &e).failed || crypto_init(&e).failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),      cmocka_unit_test(self_test_catches_defects),
        cmocka_unit_test(engines_agree),      cmocka_unit_test(refusals_wipe),
        cmocka_unit_test(arguments_refused),  cmocka_unit_test(a_failing_engine_leaks_nothing),
        cmocka_unit_test(threads_share_keys), cmocka_unit_test(names_itself),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
