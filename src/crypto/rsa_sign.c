/* rsa_sign.c - RSA signatures over digests (RS*, PS*, RSNULL), and private keys put together from their numbers. See crypto/rsa.h. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

enum { PKCS1_OVERHEAD = 11 }; /* RFC 8017 9.2 */

static const struct {
    const char *md; /* NULL: the caller's bytes as they are */
    uint32_t len;
    bool pss;
} sigs[RSA_SIG_NR] = {
    [RSA_SIG_RS256] = { "SHA256", 32, false }, [RSA_SIG_RS384] = { "SHA384", 48, false },
    [RSA_SIG_RS512] = { "SHA512", 64, false }, [RSA_SIG_PS256] = { "SHA256", 32, true },
    [RSA_SIG_PS384] = { "SHA384", 48, true },  [RSA_SIG_PS512] = { "SHA512", 64, true },
    [RSA_SIG_NULL] = { NULL, 0, false },
};

static bool fits(size_t modulus_len, enum rsa_sig sig, size_t len)
{
    if (sigs[sig].md)
        return len == sigs[sig].len;
    return len > 0 && modulus_len > PKCS1_OVERHEAD && len <= modulus_len - PKCS1_OVERHEAD;
}

bool rsa_digest_fits(const struct rsa_public *k, enum rsa_sig sig, size_t len)
{
    return fits(k->n_len, sig, len);
}

static bool set_up(EVP_PKEY_CTX *ctx, enum rsa_sig sig)
{
    const EVP_MD *md = sigs[sig].md ? EVP_get_digestbyname(sigs[sig].md) : NULL;

    if (EVP_PKEY_CTX_set_rsa_padding(ctx, sigs[sig].pss ? RSA_PKCS1_PSS_PADDING
                                                        : RSA_PKCS1_PADDING) != 1)
        return false;
    if (!sigs[sig].md)
        return true;
    if (!md || EVP_PKEY_CTX_set_signature_md(ctx, md) != 1)
        return false;
    return !sigs[sig].pss || (EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
                              EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
}

RC rsa_sign(const struct secret *private_der, enum rsa_sig sig, struct slice digest,
            struct buf *signature, struct err *e)
{
    AUTO_PKEY *k = NULL;
    uint8_t out[RSA_BYTES_MAX];
    size_t len = sizeof out;

    TRY(pkey__from_der(EVP_PKEY_RSA, private_der, &k, e));
    size_t modulus = (size_t)EVP_PKEY_get_size(k);
    if (modulus > sizeof out)
        FAIL(e, ERR_CRYPTO, "a key of more than %d bits cannot sign", RSA_BYTES_MAX * 8);
    if (!fits(modulus, sig, digest.len))
        FAIL(e, ERR_BAD_VALUE, "the digest does not have the length that goes with the algorithm");
    AUTO_PCTX *ctx = EVP_PKEY_CTX_new(k, NULL);
    if (!ctx || EVP_PKEY_sign_init(ctx) != 1 || !set_up(ctx, sig) ||
        EVP_PKEY_sign(ctx, out, &len, digest.p, digest.len) != 1)
        OSSL_FAIL(e, "sign with an RSA key");
    buf_push(signature, out, len);
    return RC_OK;
}

static RC sign_message(const struct secret *private_der, enum rsa_sig sig, struct slice message,
                       struct buf *signature, struct err *e)
{
    uint8_t digest[SHA256_LEN];

    TRY(sha256(&message, 1, digest, e));
    return rsa_sign(private_der, sig, SLICE(digest, sizeof digest), signature, e);
}

RC rsa_sign_sha256(const struct secret *private_der, struct slice message, struct buf *signature,
                   struct err *e)
{
    return sign_message(private_der, RSA_SIG_RS256, message, signature, e);
}

RC rsa_sign_pss_sha256(const struct secret *private_der, struct slice message,
                       struct buf *signature, struct err *e)
{
    return sign_message(private_der, RSA_SIG_PS256, message, signature, e);
}

RC rsa_verify(const struct rsa_public *k, enum rsa_sig sig, struct slice digest,
              struct slice signature, bool *holds, struct err *e)
{
    AUTO_PKEY *key = NULL;

    *holds = false;
    TRY(rsa__parse_public(k, &key, e));
    if (!rsa_digest_fits(k, sig, digest.len))
        FAIL(e, ERR_BAD_VALUE, "the digest does not have the length that goes with the algorithm");
    if (signature.len != k->n_len)
        return RC_OK;
    AUTO_PCTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    if (!ctx || EVP_PKEY_verify_init(ctx) != 1 || !set_up(ctx, sig))
        OSSL_FAIL(e, "prepare the check of a signature");
    *holds = EVP_PKEY_verify(ctx, signature.p, signature.len, digest.p, digest.len) == 1;
    ERR_clear_error();
    return RC_OK;
}

/* ---- a private key from its numbers ---- */

static const char *const names[RSA_NUMBER_NR] = {
    [RSA_D] = OSSL_PKEY_PARAM_RSA_D,          [RSA_P] = OSSL_PKEY_PARAM_RSA_FACTOR1,
    [RSA_Q] = OSSL_PKEY_PARAM_RSA_FACTOR2,    [RSA_DP] = OSSL_PKEY_PARAM_RSA_EXPONENT1,
    [RSA_DQ] = OSSL_PKEY_PARAM_RSA_EXPONENT2, [RSA_QI] = OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
};

struct numbers {
    BIGNUM *n, *e, *priv[RSA_NUMBER_NR];
};

static void numbers_fini(struct numbers *x)
{
    BN_free(x->n);
    BN_free(x->e);
    for (int i = 0; i < RSA_NUMBER_NR; i++)
        BN_clear_free(x->priv[i]);
}

static bool numbers_read(const struct rsa_public *pub,
                         const struct secret *const from[RSA_NUMBER_NR], struct numbers *x)
{
    x->n = BN_bin2bn(pub->n, (int)pub->n_len, NULL);
    x->e = BN_bin2bn(pub->e, (int)pub->e_len, NULL);
    for (int i = 0; i < RSA_NUMBER_NR; i++) {
        x->priv[i] = BN_secure_new();
        if (!x->priv[i] || !BN_bin2bn(secret_view(from[i]), (int)secret_len(from[i]), x->priv[i]))
            return false;
        BN_set_flags(x->priv[i], BN_FLG_CONSTTIME);
    }
    return x->n && x->e;
}

/* NULL when the numbers are no key */
static EVP_PKEY *build(const struct numbers *x)
{
    AUTO_NUMBERS *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *k = NULL;
    bool ok = bld && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, x->n) == 1 &&
              OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, x->e) == 1;

    for (int i = 0; ok && i < RSA_NUMBER_NR; i++)
        ok = OSSL_PARAM_BLD_push_BN(bld, names[i], x->priv[i]) == 1;
    if (!ok || pkey__from_numbers("RSA", EVP_PKEY_KEYPAIR, bld, &k, NULL).failed)
        return NULL;
    return k;
}

RC rsa_private(const struct rsa_public *pub, const struct secret *const from[RSA_NUMBER_NR],
               struct secret **private_der, struct err *e)
{
    AUTO_PKEY *k = NULL;
    struct numbers x = { 0 };
    int bits = rsa_bits(pub);

    *private_der = NULL;
    if ((bits != 2048 && bits != 3072 && bits != 4096) || pub->n_len > RSA_BYTES_MAX)
        FAIL(e, ERR_BAD_VALUE, "an RSA key has 2048, 3072 or 4096 bits");
    if (numbers_read(pub, from, &x))
        k = build(&x);
    numbers_fini(&x);
    /* p and q are primes of n, d goes with e, and the three numbers of the remainder theorem with them all */
    if (!pkey__belongs_together(k))
        FAIL(e, ERR_BAD_VALUE, "the numbers are not those of one RSA key");
    return pkey__to_der(k, private_der, e);
}

static RC number_of(EVP_PKEY *k, int which, struct secret **out, struct err *e)
{
    BIGNUM *b = NULL;

    if (EVP_PKEY_get_bn_param(k, names[which], &b) != 1)
        OSSL_FAIL(e, "read a number of an RSA key");
    int len = BN_num_bytes(b);
    rc_t rc = secret_new((size_t)len, out, e);
    if (!rc.failed)
        BN_bn2binpad(b, secret_bytes(*out), len);
    BN_clear_free(b);
    return rc;
}

RC rsa_private_numbers(const struct secret *private_der, struct secret *out[RSA_NUMBER_NR],
                       struct err *e)
{
    AUTO_PKEY *k = NULL;

    memset(out, 0, RSA_NUMBER_NR * sizeof out[0]);
    TRY(pkey__from_der(EVP_PKEY_RSA, private_der, &k, e));
    for (int i = 0; i < RSA_NUMBER_NR; i++)
        if (number_of(k, i, &out[i], e).failed) {
            for (int n = 0; n < i; n++) {
                secret_free(out[n]);
                out[n] = NULL;
            }
            return RC_FAILED;
        }
    return RC_OK;
}
