/* ed25519.c - see crypto/ed25519.h. */
#include "crypto/ed25519.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

static void md_freep(EVP_MD_CTX **c)
{
    EVP_MD_CTX_free(*c);
}

static RC load(const struct secret *seed, EVP_PKEY **out, struct err *e)
{
    if (secret_len(seed) != ED25519_SEED_LEN)
        FAIL(e, ERR_BAD_VALUE, "an Ed25519 key has %d bytes", ED25519_SEED_LEN);
    *out =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret_view(seed), ED25519_SEED_LEN);
    if (!*out)
        OSSL_FAIL(e, "take an Ed25519 key");
    return RC_OK;
}

RC ed25519_public(const struct secret *seed, uint8_t out[ED25519_PUBLIC_LEN], struct err *e)
{
    AUTO_PKEY *key = NULL;
    size_t len = ED25519_PUBLIC_LEN;

    memset(out, 0, ED25519_PUBLIC_LEN);
    TRY(load(seed, &key, e));
    if (EVP_PKEY_get_raw_public_key(key, out, &len) != 1 || len != ED25519_PUBLIC_LEN)
        OSSL_FAIL(e, "compute a public key");
    return RC_OK;
}

RC ed25519_sign(const struct secret *seed, struct slice text, uint8_t out[ED25519_SIG_LEN],
                struct err *e)
{
    AUTO_PKEY *key = NULL;
    AUTO(md_freep) EVP_MD_CTX *md = EVP_MD_CTX_new();
    size_t len = ED25519_SIG_LEN;

    memset(out, 0, ED25519_SIG_LEN);
    TRY(load(seed, &key, e));
    if (!md || EVP_DigestSignInit(md, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(md, out, &len, text.p, text.len) != 1 || len != ED25519_SIG_LEN) {
        memset(out, 0, ED25519_SIG_LEN);
        OSSL_FAIL(e, "sign");
    }
    return RC_OK;
}

RC ed25519_verify(const uint8_t public_key[ED25519_PUBLIC_LEN], struct slice text,
                  const uint8_t sig[ED25519_SIG_LEN], struct err *e)
{
    AUTO_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, ED25519_PUBLIC_LEN);
    AUTO(md_freep) EVP_MD_CTX *md = EVP_MD_CTX_new();

    if (!key || !md || EVP_DigestVerifyInit(md, NULL, NULL, NULL, key) != 1)
        OSSL_FAIL(e, "take an Ed25519 key");
    int held = EVP_DigestVerify(md, sig, ED25519_SIG_LEN, text.p, text.len);
    ERR_clear_error();
    if (held != 1)
        FAIL(e, ERR_BAD_VALUE, "the signature does not hold");
    return RC_OK;
}
