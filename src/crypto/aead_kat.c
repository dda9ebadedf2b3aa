/* aead_kat.c - the known answers that an engine must give before it is trusted: test cases 13 to 16 of McGrew and Viega, "The
 * Galois/Counter Mode of Operation", which NIST published with SP 800-38D. Each is sealed, opened, and refused with a bit of its tag
 * flipped. */
#include "base/mem.h"
#include "base/slice.h"
#include "base/text.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

struct answer {
    const char *name, *key, *nonce, *aad, *plain, *cipher, *tag; /* hex */
};

#define ZERO_KEY "0000000000000000000000000000000000000000000000000000000000000000"
#define KEY_15 "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define PLAIN_15                                                                                   \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"                             \
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define CIPHER_15                                                                                  \
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"                             \
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"

static const struct answer answers[] = {
    { "13", ZERO_KEY, "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
    { "14", ZERO_KEY, "000000000000000000000000", "", "00000000000000000000000000000000",
      "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919" },
    { "15", KEY_15, "cafebabefacedbaddecaf888", "", PLAIN_15 "1aafd255", CIPHER_15 "898015ad",
      "b094dac5d93471bdec1a502270e3cc6c" },
    { "16", KEY_15, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      PLAIN_15, CIPHER_15, "76fc6ece0f4e1768cddf8853bb2d551b" },
};

struct decoded {
    struct buf key, nonce, aad, plain, cipher, tag;
};

static void decode(const struct answer *a, struct decoded *d)
{
    const char *text[] = { a->key, a->nonce, a->aad, a->plain, a->cipher, a->tag };
    struct buf *out[] = { &d->key, &d->nonce, &d->aad, &d->plain, &d->cipher, &d->tag };

    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        INVARIANT(hex_decode(slice_str(text[i]), out[i]));
}

static void decoded_fini(struct decoded *d)
{
    struct buf *all[] = { &d->key, &d->nonce, &d->aad, &d->plain, &d->cipher, &d->tag };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        buf_fini(all[i]);
}

static RC check(const struct aead_engine *en, const struct answer *a, const struct decoded *d,
                struct err *e)
{
    AUTO(secret_freep) struct secret *key = NULL;
    AUTO(aead_key_freep) struct aead_key *k = NULL;
    uint8_t out[64] = { 0 }, tag[AEAD_TAG_LEN];
    struct aead_open open = { .nonce = d->nonce.p,
                              .aad = buf_view(&d->aad),
                              .cipher = SLICE(out, d->plain.len),
                              .tag = tag,
                              .out = out };
    struct err refused = { 0 };

    TRY(secret_from(d->key.p, d->key.len, &key, e));
    TRY(aead_key_new(key, &k, e));
    TRY(aead__seal_with(en, k,
                        &(struct aead_seal){ .nonce = d->nonce.p,
                                             .aad = buf_view(&d->aad),
                                             .plain = buf_view(&d->plain),
                                             .out = out,
                                             .tag = tag },
                        e));
    if (!slice_eq(SLICE(out, d->plain.len), buf_view(&d->cipher)) ||
        !slice_eq(SLICE(tag, sizeof(tag)), buf_view(&d->tag)))
        FAIL(e, ERR_CRYPTO, "%s gives a wrong answer to GCM test case %s", en->name(), a->name);
    TRY(aead__open_with(en, k, &open, e));
    if (!slice_eq(SLICE(out, d->plain.len), buf_view(&d->plain)))
        FAIL(e, ERR_CRYPTO, "%s opens GCM test case %s to something else", en->name(), a->name);
    memcpy(out, d->cipher.p ? d->cipher.p : out, d->cipher.len);
    tag[AEAD_TAG_LEN - 1] ^= 1;
    if (!aead__open_with(en, k, &open, &refused).failed || refused.code != ERR_CORRUPT)
        FAIL(e, ERR_CRYPTO, "%s accepts a forged tag in GCM test case %s", en->name(), a->name);
    return RC_OK;
}

RC aead__known_answers(const struct aead_engine *en, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct decoded d = { 0 };
        rc_t rc;

        decode(&answers[i], &d);
        rc = check(en, &answers[i], &d, e);
        decoded_fini(&d);
        TRY(rc);
    }
    return RC_OK;
}
