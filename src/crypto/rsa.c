/* rsa.c - RSA over OpenSSL's EVP. See crypto/rsa.h. */
#include "crypto/rsa.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

RC rsa_generate(int bits, struct secret **private_der, struct err *e)
{
    *private_der = NULL;
    if (bits != 2048 && bits != 3072 && bits != 4096)
        FAIL(e, ERR_BAD_VALUE, "an RSA key has 2048, 3072 or 4096 bits");
    AUTO_PKEY *k = EVP_RSA_gen((size_t)bits);
    if (!k)
        OSSL_FAIL(e, "make an RSA key");
    return pkey__to_der(k, private_der, e);
}

static bool number_of(const EVP_PKEY *k, const char *name, uint8_t *out, uint32_t max,
                      uint32_t *len)
{
    AUTO_BN *b = NULL;

    if (EVP_PKEY_get_bn_param(k, name, &b) != 1 || BN_num_bytes(b) > (int)max)
        return false;
    *len = (uint32_t)BN_bn2bin(b, out);
    return true;
}

RC rsa_public_of(const struct secret *private_der, struct rsa_public *out, struct err *e)
{
    AUTO_PKEY *k = NULL;

    memset(out, 0, sizeof *out);
    TRY(pkey__from_der(EVP_PKEY_RSA, private_der, &k, e));
    if (!number_of(k, OSSL_PKEY_PARAM_RSA_N, out->n, RSA_BYTES_MAX, &out->n_len) ||
        !number_of(k, OSSL_PKEY_PARAM_RSA_E, out->e, RSA_EXPONENT_MAX, &out->e_len))
        OSSL_FAIL(e, "read the public half of an RSA key");
    return RC_OK;
}

int rsa_bits(const struct rsa_public *k)
{
    int bits = (int)k->n_len * 8;

    if (k->n_len == 0)
        return 0;
    for (uint8_t top = k->n[0]; !(top & 0x80) && bits > 0; top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

RC rsa__parse_public(const struct rsa_public *k, EVP_PKEY **out, struct err *e)
{
    int bits = rsa_bits(k);

    *out = NULL;
    if (k->n_len > RSA_BYTES_MAX || k->e_len == 0 || k->e_len > RSA_EXPONENT_MAX || bits < 2048 ||
        bits > 4096)
        FAIL(e, ERR_BAD_VALUE, "the numbers are not those of an RSA key of 2048 to 4096 bits");
    if (!(k->n[k->n_len - 1] & 1) || !(k->e[k->e_len - 1] & 1) || (k->e_len == 1 && k->e[0] < 3))
        FAIL(e, ERR_BAD_VALUE, "the numbers are not those of an RSA key");
    AUTO_BN *n = BN_bin2bn(k->n, (int)k->n_len, NULL);
    AUTO_BN *x = BN_bin2bn(k->e, (int)k->e_len, NULL);
    AUTO_NUMBERS *bld = OSSL_PARAM_BLD_new();
    if (!n || !x || !bld || OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, x) != 1)
        OSSL_FAIL(e, "prepare a public RSA key");
    TRY(pkey__from_numbers("RSA", EVP_PKEY_PUBLIC_KEY, bld, out, e));
    if (!*out)
        OSSL_FAIL(e, "read a public RSA key");
    return RC_OK;
}

RC rsa_public_sha256(const struct rsa_public *k, uint8_t out[32], struct err *e)
{
    AUTO_PKEY *key = NULL;
    unsigned char *der = NULL;

    memset(out, 0, 32);
    TRY(rsa__parse_public(k, &key, e));
    int len = i2d_PUBKEY(key, &der);
    if (len <= 0)
        OSSL_FAIL(e, "encode a public RSA key");
    struct slice part = SLICE(der, len);
    rc_t rc = sha256(&part, 1, out, e);
    OPENSSL_free(der);
    return rc;
}

uint32_t rsa_plain_max(const struct rsa_public *k, enum rsa_pad pad)
{
    /* RFC 8017 7.1.1, 7.2.1 */
    uint32_t overhead = pad == RSA_PAD_OAEP_SHA256 ? 66 : pad == RSA_PAD_OAEP_SHA1 ? 42 : 11;

    return k->n_len > overhead ? k->n_len - overhead : 0;
}

static bool set_padding(EVP_PKEY_CTX *ctx, enum rsa_pad pad)
{
    const EVP_MD *md = pad == RSA_PAD_OAEP_SHA256 ? EVP_sha256() : EVP_sha1();

    if (pad == RSA_PAD_PKCS1)
        return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1;
}

RC rsa_encrypt(const struct rsa_public *k, enum rsa_pad pad, struct slice plain, struct buf *out,
               struct err *e)
{
    AUTO_PKEY *key = NULL;
    uint8_t cipher[RSA_BYTES_MAX];
    size_t len = sizeof cipher;

    if (plain.len == 0 || plain.len > rsa_plain_max(k, pad))
        FAIL(e, ERR_BAD_VALUE,
             "the value to encrypt has 1 to %u bytes under this key and algorithm",
             rsa_plain_max(k, pad));
    TRY(rsa__parse_public(k, &key, e));
    AUTO_PCTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    if (!ctx || EVP_PKEY_encrypt_init(ctx) != 1 || !set_padding(ctx, pad) ||
        EVP_PKEY_encrypt(ctx, cipher, &len, plain.p, plain.len) != 1)
        OSSL_FAIL(e, "encrypt with an RSA key");
    buf_push(out, cipher, len);
    return RC_OK;
}

RC rsa_decrypt(const struct secret *private_der, enum rsa_pad pad, struct slice cipher,
               struct secret **plain, struct err *e)
{
    AUTO_PKEY *key = NULL;
    uint8_t out[RSA_BYTES_MAX];
    size_t len = sizeof out;

    *plain = NULL;
    TRY(pkey__from_der(EVP_PKEY_RSA, private_der, &key, e));
    AUTO_PCTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    if (!ctx || EVP_PKEY_decrypt_init(ctx) != 1 || !set_padding(ctx, pad))
        OSSL_FAIL(e, "prepare an RSA decryption");
    if (EVP_PKEY_get_size(key) > (int)sizeof out)
        FAIL(e, ERR_BAD_VALUE, "the value cannot be decrypted with this key");
    bool ok = EVP_PKEY_decrypt(ctx, out, &len, cipher.p, cipher.len) == 1;
    rc_t rc = RC_OK;
    if (ok && len > 0)
        rc = secret_from(out, len, plain, e);
    mem_wipe(out, sizeof out);
    ERR_clear_error();
    if (!ok)
        FAIL(e, ERR_BAD_VALUE, "the value cannot be decrypted with this key");
    return rc;
}

RC rsa_private_from_pem(struct slice pem, struct secret **private_der, struct err *e)
{
    AUTO_PKEY *key = NULL;

    *private_der = NULL;
    TRY(pkey__from_pem(pem, &key, e));
    if (!EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_get_bits(key) < 2048)
        FAIL(e, ERR_BAD_VALUE,
             "the text holds no private RSA key of 2048 bits or more in unencrypted PEM");
    return pkey__to_der(key, private_der, e);
}
