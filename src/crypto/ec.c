/* ec.c - ECDSA over OpenSSL's EVP. See crypto/ec.h. */
#include "crypto/ec.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

enum { POINT_MAX = 1 + 2 * EC_BYTES_MAX, DER_SIGNATURE_MAX = 2 * EC_BYTES_MAX + 16 };

static const struct {
    const char *name, *group; /* RFC 7518's, OpenSSL's */
    uint32_t len, digest_len;
} curves[EC_CURVE_NR] = {
    [EC_P256] = { "P-256", "prime256v1", 32, 32 },
    [EC_P384] = { "P-384", "secp384r1", 48, 48 },
    [EC_P521] = { "P-521", "secp521r1", 66, 64 },
    [EC_P256K] = { "P-256K", "secp256k1", 32, 32 },
};

static void bn_clearp(BIGNUM **b)
{
    BN_clear_free(*b);
}
static void sig_freep(ECDSA_SIG **s)
{
    ECDSA_SIG_free(*s);
}

bool ec_curve_named(const char *name, enum ec_curve *out)
{
    for (int i = 0; i < EC_CURVE_NR; i++)
        if (strcmp(curves[i].name, name) == 0) {
            *out = (enum ec_curve)i;
            return true;
        }
    return false;
}

const char *ec_curve_name(enum ec_curve c)
{
    return curves[c].name;
}
uint32_t ec_coordinate_len(enum ec_curve c)
{
    return curves[c].len;
}
uint32_t ec_digest_len(enum ec_curve c)
{
    return curves[c].digest_len;
}

RC ec_generate(enum ec_curve c, struct secret **private_der, struct err *e)
{
    *private_der = NULL;
    AUTO_PKEY *k = EVP_EC_gen(curves[c].group);
    if (!k)
        OSSL_FAIL(e, "make an EC key");
    return pkey__to_der(k, private_der, e);
}

static size_t point(const struct ec_public *k, uint8_t out[POINT_MAX])
{
    out[0] = POINT_CONVERSION_UNCOMPRESSED;
    memcpy(out + 1, k->x, k->len);
    memcpy(out + 1 + k->len, k->y, k->len);
    return 1 + 2 * (size_t)k->len;
}

/* With d NULL, a public key. *out stays NULL when the numbers are no key: the point is not on the curve. */
static RC build(const struct ec_public *k, const BIGNUM *d, EVP_PKEY **out, struct err *e)
{
    uint8_t at[POINT_MAX];
    AUTO_NUMBERS *bld = OSSL_PARAM_BLD_new();

    *out = NULL;
    if ((unsigned)k->curve >= EC_CURVE_NR || k->len != curves[k->curve].len)
        FAIL(e, ERR_BAD_VALUE, "the numbers are not those of an EC key");
    if (!bld ||
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, curves[k->curve].group,
                                        0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, at, point(k, at)) != 1 ||
        (d && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_PRIV_KEY, d) != 1))
        OSSL_FAIL(e, "prepare an EC key");
    TRY(pkey__from_numbers("EC", d ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY, bld, out, e));
    ERR_clear_error();
    return RC_OK;
}

static RC parse_public(const struct ec_public *k, EVP_PKEY **out, struct err *e)
{
    TRY(build(k, NULL, out, e));
    if (!*out)
        FAIL(e, ERR_BAD_VALUE, "the numbers are not those of an EC key");
    return RC_OK;
}

RC ec_public_check(const struct ec_public *k, struct err *e)
{
    AUTO_PKEY *key = NULL;

    TRY(parse_public(k, &key, e));
    AUTO_PCTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    bool ok = ctx && EVP_PKEY_public_check(ctx) == 1;
    ERR_clear_error();
    if (!ok)
        FAIL(e, ERR_BAD_VALUE, "the numbers are not those of an EC key");
    return RC_OK;
}

RC ec_private(const struct ec_public *pub, const struct secret *d, struct secret **private_der,
              struct err *e)
{
    AUTO_PKEY *key = NULL;

    *private_der = NULL;
    AUTO(bn_clearp) BIGNUM *number = BN_secure_new();
    if (!number || !BN_bin2bn(secret_view(d), (int)secret_len(d), number))
        OSSL_FAIL(e, "read a private number");
    BN_set_flags(number, BN_FLG_CONSTTIME);
    TRY(build(pub, number, &key, e));
    /* the range of d, the point, and that they are a pair */
    if (!pkey__belongs_together(key))
        FAIL(e, ERR_BAD_VALUE, "the numbers are not those of an EC key");
    return pkey__to_der(key, private_der, e);
}

static bool curve_of(const EVP_PKEY *k, enum ec_curve *out)
{
    char group[64];

    if (EVP_PKEY_get_group_name(k, group, sizeof group, NULL) != 1)
        return false;
    for (int i = 0; i < EC_CURVE_NR; i++)
        if (strcmp(curves[i].group, group) == 0) {
            *out = (enum ec_curve)i;
            return true;
        }
    return false;
}

RC ec_private_from_pem(struct slice pem, struct secret **private_der, struct err *e)
{
    AUTO_PKEY *key = NULL;
    enum ec_curve c;

    *private_der = NULL;
    TRY(pkey__from_pem(pem, &key, e));
    if (!EVP_PKEY_is_a(key, "EC") || !curve_of(key, &c))
        FAIL(
            e, ERR_BAD_VALUE,
            "the text holds no private EC key on P-256, P-384, P-521 or P-256K in unencrypted PEM");
    return pkey__to_der(key, private_der, e);
}

RC ec_public_of(const struct secret *private_der, struct ec_public *out, struct err *e)
{
    AUTO_PKEY *k = NULL;
    AUTO_BN *x = NULL;
    AUTO_BN *y = NULL;

    memset(out, 0, sizeof *out);
    TRY(pkey__from_der(EVP_PKEY_EC, private_der, &k, e));
    if (!curve_of(k, &out->curve))
        FAIL(e, ERR_BAD_VALUE, "the EC key is on none of the curves P-256, P-384, P-521, P-256K");
    out->len = curves[out->curve].len;
    if (EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_EC_PUB_X, &x) != 1 ||
        EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_EC_PUB_Y, &y) != 1 ||
        BN_bn2binpad(x, out->x, (int)out->len) < 0 || BN_bn2binpad(y, out->y, (int)out->len) < 0)
        OSSL_FAIL(e, "read the public half of an EC key");
    return RC_OK;
}

RC ec_private_number(const struct secret *private_der, struct secret **out, struct err *e)
{
    AUTO_PKEY *k = NULL;
    AUTO(bn_clearp) BIGNUM *d = NULL;
    AUTO(secret_freep) struct secret *s = NULL;
    enum ec_curve c;

    *out = NULL;
    TRY(pkey__from_der(EVP_PKEY_EC, private_der, &k, e));
    if (!curve_of(k, &c) || EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_PRIV_KEY, &d) != 1)
        OSSL_FAIL(e, "read the private number of an EC key");
    TRY(secret_new(curves[c].len, &s, e));
    if (BN_bn2binpad(d, secret_bytes(s), (int)curves[c].len) < 0)
        OSSL_FAIL(e, "read the private number of an EC key");
    *out = TAKE(s);
    return RC_OK;
}

RC ec_sign(const struct secret *private_der, struct slice digest, struct buf *signature,
           struct err *e)
{
    AUTO_PKEY *k = NULL;
    AUTO(sig_freep) ECDSA_SIG *sig = NULL;
    uint8_t der[DER_SIGNATURE_MAX];
    const unsigned char *p = der;
    size_t len = sizeof der;
    enum ec_curve c;

    TRY(pkey__from_der(EVP_PKEY_EC, private_der, &k, e));
    if (!curve_of(k, &c) || digest.len != curves[c].digest_len)
        FAIL(e, ERR_BAD_VALUE, "the digest does not have the length that goes with the key");
    AUTO_PCTX *ctx = EVP_PKEY_CTX_new(k, NULL);
    if (!ctx || EVP_PKEY_sign_init(ctx) != 1 ||
        EVP_PKEY_sign(ctx, der, &len, digest.p, digest.len) != 1 ||
        !(sig = d2i_ECDSA_SIG(NULL, &p, (long)len)))
        OSSL_FAIL(e, "sign with an EC key");
    uint8_t *out = buf_extend(signature, 2 * (size_t)curves[c].len);
    if (BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)curves[c].len) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + curves[c].len, (int)curves[c].len) < 0) {
        signature->len -= 2 * (size_t)curves[c].len;
        OSSL_FAIL(e, "encode a signature");
    }
    return RC_OK;
}

static int signature_der(struct slice raw, uint8_t out[DER_SIGNATURE_MAX])
{
    size_t half = raw.len / 2;
    AUTO(sig_freep) ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.p, (int)half, NULL), *s = BN_bin2bn(raw.p + half, (int)half, NULL);
    unsigned char *p = out;

    if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return -1;
    }
    int len = i2d_ECDSA_SIG(sig, NULL);
    return len > 0 && len <= DER_SIGNATURE_MAX ? i2d_ECDSA_SIG(sig, &p) : -1;
}

RC ec_verify(const struct ec_public *k, struct slice digest, struct slice signature, bool *holds,
             struct err *e)
{
    AUTO_PKEY *key = NULL;
    uint8_t der[DER_SIGNATURE_MAX];

    *holds = false;
    TRY(parse_public(k, &key, e));
    if (digest.len != curves[k->curve].digest_len)
        FAIL(e, ERR_BAD_VALUE, "the digest does not have the length that goes with the key");
    if (signature.len != 2 * (size_t)k->len)
        return RC_OK;
    int len = signature_der(signature, der);
    AUTO_PCTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    if (len < 0 || !ctx || EVP_PKEY_verify_init(ctx) != 1)
        OSSL_FAIL(e, "prepare the check of a signature");
    *holds = EVP_PKEY_verify(ctx, der, (size_t)len, digest.p, digest.len) == 1;
    ERR_clear_error();
    return RC_OK;
}
