/* test_vectors.c - published vectors: signatures that hold and that must not, ciphertexts that open and that must not. vectors.txt says
 * where they come from. VECTORS is its path. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "crypto/aead.h"
#include "crypto/ec.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "unit.h"

enum { WORDS_MAX = 10, LINE_MAX_LEN = 16384 };

struct line {
    int nr, n;
    char *words[WORDS_MAX];
    char text[LINE_MAX_LEN];
};

struct keys {
    bool is_ec;
    struct ec_public ec;
    struct rsa_public rsa;
    struct secret *der; /* NULL: public only */
};

static struct buf bytes(const struct line *l, int i)
{
    struct buf b = BUF_INIT;

    if (strcmp(l->words[i], "-") != 0 && !hex_decode(slice_str(l->words[i]), &b))
        fail_msg("line %d, word %d is no hex", l->nr, i);
    return b;
}

static void number(const struct line *l, int i, uint8_t *out, uint32_t max, uint32_t *len)
{
    struct buf b = bytes(l, i);
    size_t skip = 0;

    while (skip < b.len && b.p[skip] == 0)
        skip++;
    assert_true(b.len - skip <= max);
    memcpy(out, b.p + skip, b.len - skip);
    *len = (uint32_t)(b.len - skip);
    buf_fini(&b);
}

static void read_key(const struct line *l, struct keys *k)
{
    secret_free(k->der);
    memset(k, 0, sizeof *k);
    if (strcmp(l->words[0], "ec") == 0) {
        struct err e = { 0 };
        k->is_ec = true;
        assert_true(ec_curve_named(l->words[1], &k->ec.curve));
        k->ec.len = ec_coordinate_len(k->ec.curve);
        struct buf x = bytes(l, 2), y = bytes(l, 3);
        assert_true(x.len == k->ec.len && y.len == k->ec.len);
        memcpy(k->ec.x, x.p, x.len);
        memcpy(k->ec.y, y.p, y.len);
        CHECK_RC_OK(ec_public_check(&k->ec, &e), &e);
        buf_fini(&x);
        buf_fini(&y);
        return;
    }
    number(l, 1, k->rsa.n, RSA_BYTES_MAX, &k->rsa.n_len);
    number(l, 2, k->rsa.e, RSA_EXPONENT_MAX, &k->rsa.e_len);
    if (l->n < 9)
        return;
    const struct secret *numbers[RSA_NUMBER_NR];
    struct secret *mine[RSA_NUMBER_NR];
    struct err e = { 0 };
    for (int i = 0; i < RSA_NUMBER_NR; i++) {
        struct buf b = bytes(l, 3 + i);
        CHECK_RC_OK(secret_from(b.p, b.len, &mine[i], &e), &e);
        numbers[i] = mine[i];
        buf_wipe(&b);
    }
    CHECK_RC_OK(rsa_private(&k->rsa, numbers, &k->der, &e), &e);
    for (int i = 0; i < RSA_NUMBER_NR; i++)
        secret_free(mine[i]);
}

static void check_signature(const struct line *l, const struct keys *k)
{
    static const char *const names[] = { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" };
    struct buf digest = bytes(l, 2), sig = bytes(l, 3);
    struct err e = { 0 };
    bool holds;
    size_t i = 0;

    if (k->is_ec) {
        CHECK_RC_OK(ec_verify(&k->ec, buf_view(&digest), buf_view(&sig), &holds, &e), &e);
    } else {
        while (i < ARRAY_LEN(names) && strcmp(names[i], l->words[1]) != 0)
            i++;
        assert_true(i < ARRAY_LEN(names));
        CHECK_RC_OK(rsa_verify(&k->rsa, (enum rsa_sig)i, buf_view(&digest), buf_view(&sig), &holds,
                               &e),
                    &e);
    }
    if (holds != (strcmp(l->words[4], "valid") == 0))
        fail_msg("line %d: the signature %s", l->nr, holds ? "holds" : "does not hold");
    buf_fini(&digest);
    buf_fini(&sig);
}

static void check_opening(const struct line *l, const struct keys *k)
{
    enum rsa_pad pad = strcmp(l->words[1], "OAEP256") == 0 ? RSA_PAD_OAEP_SHA256
                       : strcmp(l->words[1], "OAEP1") == 0 ? RSA_PAD_OAEP_SHA1
                                                           : RSA_PAD_PKCS1;
    struct buf cipher = bytes(l, 2), plain = bytes(l, 3);
    struct secret *out;
    struct err e = { 0 };

    bool ok = !rsa_decrypt(k->der, pad, buf_view(&cipher), &out, &e).failed;
    if (ok != (strcmp(l->words[4], "valid") == 0))
        fail_msg("line %d: the text %s", l->nr, ok ? "opens" : "does not open");
    if (ok) {
        assert_int_equal(out ? secret_len(out) : 0, plain.len);
        if (out)
            assert_memory_equal(secret_view(out), plain.p, plain.len);
    } else {
        assert_int_equal(e.code, ERR_BAD_VALUE);
    }
    secret_free(out);
    buf_fini(&cipher);
    buf_fini(&plain);
}

static bool next(FILE *f, struct line *l)
{
    while (fgets(l->text, sizeof l->text, f)) {
        l->nr++;
        l->n = 0;
        if (l->text[0] == '#')
            continue;
        for (char *at = NULL, *p = strtok_r(l->text, " \n", &at); p && l->n < WORDS_MAX;
             p = strtok_r(NULL, " \n", &at))
            l->words[l->n++] = p;
        return true;
    }
    return false;
}

static void published_vectors_hold(void **state)
{
    struct keys k = { 0 };
    struct line *l = NEW(struct line);
    int verified = 0, opened = 0;
    FILE *f = fopen(VECTORS, "re");

    (void)state;
    assert_non_null(f);
    while (next(f, l)) {
        if (strcmp(l->words[0], "verify") == 0) {
            check_signature(l, &k);
            verified++;
        } else if (strcmp(l->words[0], "open") == 0) {
            check_opening(l, &k);
            opened++;
        } else {
            read_key(l, &k);
        }
    }
    fclose(f);
    secret_free(k.der);
    mem_free(l);
    assert_true(verified > 500 && opened > 70);
}

static void flip_each(const uint8_t *p, size_t n, size_t step, void (*check)(struct slice, void *),
                      void *arg)
{
    uint8_t *copy = mem_dup(p, n);

    for (size_t i = 0; i < n; i += step) {
        copy[i] ^= 0x10;
        check(SLICE(copy, n), arg);
        copy[i] ^= 0x10;
    }
    mem_free(copy);
}

struct ec_case {
    const struct ec_public *pub;
    struct slice digest;
};

static void ec_must_fail(struct slice sig, void *arg)
{
    const struct ec_case *c = arg;
    struct err e = { 0 };
    bool holds;

    CHECK_RC_OK(ec_verify(c->pub, c->digest, sig, &holds, &e), &e);
    assert_false(holds);
}

static void curves_sign_and_check(void **state)
{
    uint8_t digest[64];
    (void)state;

    for (size_t i = 0; i < sizeof digest; i++)
        digest[i] = (uint8_t)(i * 3);
    for (int i = 0; i < EC_CURVE_NR; i++) {
        enum ec_curve curve = (enum ec_curve)i, back;
        struct secret *der, *again, *d;
        struct ec_public pub, wrong;
        struct buf sig = BUF_INIT;
        struct err e = { 0 };
        bool holds;
        struct slice text = SLICE(digest, ec_digest_len(curve));

        assert_true(ec_curve_named(ec_curve_name(curve), &back) && back == curve);
        CHECK_RC_OK(ec_generate(curve, &der, &e), &e);
        CHECK_RC_OK(ec_public_of(der, &pub, &e), &e);
        assert_int_equal(pub.curve, curve);
        for (int n = 0; n < 20; n++) { /* numbers with leading zeros are padded */
            CHECK_RC_OK(ec_sign(der, text, &sig, &e), &e);
            assert_int_equal(sig.len, 2 * ec_coordinate_len(curve));
            CHECK_RC_OK(ec_verify(&pub, text, buf_view(&sig), &holds, &e), &e);
            assert_true(holds);
            if (n < 19)
                buf_clear(&sig);
        }
        struct ec_case c = { &pub, text };
        flip_each(sig.p, sig.len, 1, ec_must_fail, &c);
        ec_must_fail(SLICE(sig.p, sig.len - 1), &c);
        ec_must_fail(SLICE_EMPTY, &c);
        digest[0] ^= 1;
        ec_must_fail(buf_view(&sig), &c);
        digest[0] ^= 1;
        size_t was = sig.len;
        CHECK_RC_FAILS(ec_sign(der, SLICE(digest, 20), &sig, &e), &e, ERR_BAD_VALUE);
        CHECK_RC_FAILS(ec_verify(&pub, SLICE(digest, 20), buf_view(&sig), &holds, &e), &e,
                       ERR_BAD_VALUE);
        assert_int_equal(sig.len, was);
        /* put together from its numbers it is the same key; with others it is none */
        CHECK_RC_OK(ec_private_number(der, &d, &e), &e);
        CHECK_RC_OK(ec_private(&pub, d, &again, &e), &e);
        assert_true(secret_equal(der, again));
        secret_free(again);
        wrong = pub;
        wrong.x[5] ^= 1;
        CHECK_RC_FAILS(ec_public_check(&wrong, &e), &e, ERR_BAD_VALUE);
        CHECK_RC_FAILS(ec_private(&wrong, d, &again, &e), &e, ERR_BAD_VALUE);
        secret_bytes(d)[10] ^= 1;
        CHECK_RC_FAILS(ec_private(&pub, d, &again, &e), &e, ERR_BAD_VALUE);
        secret_free(d);
        secret_free(der);
        buf_fini(&sig);
    }
}

struct rsa_case {
    const struct rsa_public *pub;
    enum rsa_sig sig;
    struct slice digest;
};

static void rsa_must_fail(struct slice sig, void *arg)
{
    const struct rsa_case *c = arg;
    struct err e = { 0 };
    bool holds;

    CHECK_RC_OK(rsa_verify(c->pub, c->sig, c->digest, sig, &holds, &e), &e);
    assert_false(holds);
}

static void rsa_signs_and_checks(void **state)
{
    static const uint32_t lens[RSA_SIG_NR] = { 32, 48, 64, 32, 48, 64, 245 };
    uint8_t digest[256];
    struct secret *der;
    struct rsa_public pub;
    struct err e = { 0 };
    (void)state;

    for (size_t i = 0; i < sizeof digest; i++)
        digest[i] = (uint8_t)(i * 5 + 1);
    CHECK_RC_OK(rsa_generate(2048, &der, &e), &e);
    CHECK_RC_OK(rsa_public_of(der, &pub, &e), &e);
    for (int i = 0; i < RSA_SIG_NR; i++) {
        struct rsa_case c = { &pub, (enum rsa_sig)i, SLICE(digest, lens[i]) };
        struct buf sig = BUF_INIT;
        bool holds;
        CHECK_RC_OK(rsa_sign(der, c.sig, c.digest, &sig, &e), &e);
        assert_int_equal(sig.len, 256);
        CHECK_RC_OK(rsa_verify(&pub, c.sig, c.digest, buf_view(&sig), &holds, &e), &e);
        assert_true(holds);
        flip_each(sig.p, sig.len, 7, rsa_must_fail, &c);
        rsa_must_fail(SLICE(sig.p, 255), &c);
        rsa_must_fail(SLICE_EMPTY, &c);
        for (int other = 0; other < RSA_SIG_NR; other++)
            if (other != i && lens[other] == lens[i]) {
                struct rsa_case swapped = { &pub, (enum rsa_sig)other, c.digest };
                rsa_must_fail(buf_view(&sig), &swapped);
            }
        size_t was = sig.len;
        CHECK_RC_FAILS(rsa_sign(der, c.sig, SLICE(digest, lens[i] + 1), &sig, &e), &e,
                       ERR_BAD_VALUE);
        CHECK_RC_FAILS(rsa_sign(der, c.sig, SLICE_EMPTY, &sig, &e), &e, ERR_BAD_VALUE);
        CHECK_RC_FAILS(rsa_verify(&pub, c.sig, SLICE(digest, lens[i] + 1), buf_view(&sig), &holds,
                                  &e),
                       &e, ERR_BAD_VALUE);
        assert_int_equal(sig.len, was);
        buf_fini(&sig);
    }
    secret_free(der);
}

static void numbers_that_do_not_belong_together_are_no_key(void **state)
{
    struct secret *der, *again, *numbers[RSA_NUMBER_NR];
    const struct secret *views[RSA_NUMBER_NR];
    struct rsa_public pub;
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(rsa_generate(2048, &der, &e), &e);
    CHECK_RC_OK(rsa_public_of(der, &pub, &e), &e);
    CHECK_RC_OK(rsa_private_numbers(der, numbers, &e), &e);
    for (int i = 0; i < RSA_NUMBER_NR; i++)
        views[i] = numbers[i];
    CHECK_RC_OK(rsa_private(&pub, views, &again, &e), &e);
    assert_true(secret_equal(der, again));
    secret_free(again);
    for (int i = 0; i < RSA_NUMBER_NR; i++) {
        uint8_t *p = secret_bytes(numbers[i]);
        p[7] ^= 2;
        if (!rsa_private(&pub, views, &again, &e).failed)
            fail_msg("number %d is not checked", i);
        assert_int_equal(e.code, ERR_BAD_VALUE);
        e = (struct err){ 0 };
        p[7] ^= 2;
    }
    struct rsa_public small = pub;
    small.n_len = 128;
    CHECK_RC_FAILS(rsa_private(&small, views, &again, &e), &e, ERR_BAD_VALUE);
    for (int i = 0; i < RSA_NUMBER_NR; i++)
        secret_free(numbers[i]);
    secret_free(der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors_hold),
        cmocka_unit_test(curves_sign_and_check),
        cmocka_unit_test(rsa_signs_and_checks),
        cmocka_unit_test(numbers_that_do_not_belong_together_are_no_key),
    };
    struct err e = { 0 };

    CHECK_RC_OK(secret_arena_init(1 << 20, &e), &e);
    CHECK_RC_OK(crypto_init(&e), &e);
    uint64_t before = secret_live_count(); /* the cipher's own schedules */
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    return secret_live_count() != before ? 1 : rc;
}
