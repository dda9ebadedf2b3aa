/* pkey.c - OpenSSL's keys between their forms: DER in a secret, PEM, numbers. What rsa.c, rsa_sign.c, ec.c, ed25519.c and x509.c have in common. */
#include <limits.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

void pkey__freep(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}
void pkey__ctx_freep(EVP_PKEY_CTX **c)
{
    EVP_PKEY_CTX_free(*c);
}
void pkey__numbers_freep(OSSL_PARAM_BLD **b)
{
    OSSL_PARAM_BLD_free(*b);
}
void pkey__bn_freep(BIGNUM **b)
{
    BN_free(*b);
}

RC pkey__from_der(int type, const struct secret *der, EVP_PKEY **out, struct err *e)
{
    const unsigned char *p = secret_view(der);

    *out = d2i_PrivateKey(type, NULL, &p, (long)secret_len(der));
    if (!*out)
        OSSL_FAIL(e, "read a private key");
    return RC_OK;
}

RC pkey__to_der(EVP_PKEY *k, struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *s = NULL;

    *out = NULL;
    int len = i2d_PrivateKey(k, NULL);
    if (len <= 0)
        OSSL_FAIL(e, "encode a private key");
    TRY(secret_new((size_t)len, &s, e));
    unsigned char *p = secret_bytes(s);
    if (i2d_PrivateKey(k, &p) != len)
        OSSL_FAIL(e, "encode a private key");
    *out = TAKE(s);
    return RC_OK;
}

/* A key file that asks for a passphrase is refused: there is nobody to ask. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

RC pkey__from_pem(struct slice pem, EVP_PKEY **out, struct err *e)
{
    BIO *b = pem.len > 0 && pem.len <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.len) : NULL;

    *out = b ? PEM_read_bio_PrivateKey(b, NULL, no_passphrase, NULL) : NULL;
    BIO_free(b);
    ERR_clear_error();
    int len = *out ? i2d_PrivateKey(*out, NULL) : 0;
    ERR_clear_error();
    if (len > 0 && len <= SECRET_MAX)
        return RC_OK;
    EVP_PKEY_free(*out);
    *out = NULL;
    FAIL(e, ERR_BAD_VALUE, "the text holds no private key in unencrypted PEM");
}

RC pkey__from_numbers(const char *type, int selection, OSSL_PARAM_BLD *numbers, EVP_PKEY **out,
                      struct err *e)
{
    AUTO_PCTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(numbers);
    bool ready = ctx && params && EVP_PKEY_fromdata_init(ctx) == 1;

    *out = NULL;
    if (ready && EVP_PKEY_fromdata(ctx, out, selection, params) != 1)
        *out = NULL;
    OSSL_PARAM_free(params);
    if (!ready)
        OSSL_FAIL(e, "prepare a key");
    return RC_OK;
}

bool pkey__belongs_together(EVP_PKEY *k)
{
    AUTO_PCTX *ctx = k ? EVP_PKEY_CTX_new(k, NULL) : NULL;
    bool ok = ctx && EVP_PKEY_check(ctx) == 1;

    ERR_clear_error();
    return ok;
}
