/* x509.c - an authority and server certificates. See crypto/x509.h. */
#include "crypto/x509.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

enum { HOUR_S = 3600, DAY_S = 86400 };

static void cert_freep(X509 **x)
{
    X509_free(*x);
}
static void bio_freep(BIO **b)
{
    BIO_free(*b);
}

static bool set_serial(X509 *x)
{
    uint8_t bytes[16];
    struct err ignored = { 0 };

    if (random_bytes(bytes, sizeof bytes, &ignored).failed)
        return false;
    bytes[0] &= 0x7f; /* RFC 5280 4.1.2.2: positive */
    bytes[0] |= 0x01;
    BIGNUM *b = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = b && BN_to_ASN1_INTEGER(b, X509_get_serialNumber(x)) != NULL;
    BN_free(b);
    return ok;
}

static bool add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(x, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool set_basics(X509 *x, EVP_PKEY *key, const char *common_name, int days)
{
    X509_NAME *name = X509_get_subject_name(x);

    return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
           X509_set_pubkey(x, key) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), -HOUR_S) &&
           X509_time_adj_ex(X509_getm_notAfter(x), days, 0, NULL) &&
           X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"CofferDB",
                                      -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name,
                                      -1, -1, 0) == 1;
}

static RC push_pem(X509 *x, struct buf *out, struct err *e)
{
    AUTO(bio_freep) BIO *b = BIO_new(BIO_s_mem());
    char *p;

    if (!b || PEM_write_bio_X509(b, x) != 1)
        OSSL_FAIL(e, "write a certificate");
    long len = BIO_get_mem_data(b, &p);
    buf_push(out, p, (size_t)len);
    return RC_OK;
}

RC x509_make_ca(const char *common_name, int days, struct secret **key_der, struct buf *cert_pem,
                struct err *e)
{
    AUTO(secret_freep) struct secret *s = NULL;

    *key_der = NULL;
    AUTO_PKEY *key = EVP_EC_gen("P-256");
    AUTO(cert_freep) X509 *x = X509_new();
    if (!key || !x || !set_basics(x, key, common_name, days) ||
        X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 ||
        !add_ext(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_ext(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_ext(x, x, NID_subject_key_identifier, "hash") || X509_sign(x, key, EVP_sha256()) == 0)
        OSSL_FAIL(e, "make a certificate authority");
    TRY(pkey__to_der(key, &s, e));
    TRY(push_pem(x, cert_pem, e));
    *key_der = TAKE(s);
    return RC_OK;
}

static bool add_names(X509 *x, const struct x509_leaf *spec)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL;

    for (int i = 0; ok && i < spec->n_dns + spec->n_ips; i++) {
        bool is_dns = i < spec->n_dns;
        const char *text = is_dns ? spec->dns[i] : spec->ips[i - spec->n_dns];
        GENERAL_NAME *n = a2i_GENERAL_NAME(NULL, NULL, NULL, is_dns ? GEN_DNS : GEN_IPADD, text, 0);
        ok = n && sk_GENERAL_NAME_push(names, n) > 0;
        if (!ok)
            GENERAL_NAME_free(n);
    }
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static RC read_cert(struct slice pem, X509 **out, struct err *e)
{
    AUTO(bio_freep) BIO *b = BIO_new_mem_buf(pem.p, (int)pem.len);

    *out = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
    if (!*out)
        OSSL_FAIL(e, "read a certificate");
    return RC_OK;
}

RC x509_make_leaf(const struct secret *ca_key_der, struct slice ca_cert_pem,
                  const struct x509_leaf *spec, struct buf *cert_pem, struct buf *key_pem,
                  struct err *e)
{
    AUTO(cert_freep) X509 *ca = NULL;
    AUTO_PKEY *ca_key = NULL;
    char *p;

    TRY(read_cert(ca_cert_pem, &ca, e));
    TRY(pkey__from_der(EVP_PKEY_EC, ca_key_der, &ca_key, e));
    AUTO_PKEY *key = EVP_EC_gen("P-256");
    AUTO(cert_freep) X509 *x = X509_new();
    if (X509_check_private_key(ca, ca_key) != 1)
        OSSL_FAIL(e, "use the authority's key: it does not belong to its certificate");
    if (!key || !x || !set_basics(x, key, spec->common_name, spec->days) ||
        X509_set_issuer_name(x, X509_get_subject_name(ca)) != 1 || !add_names(x, spec) ||
        !add_ext(x, ca, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_ext(x, ca, NID_key_usage, "critical,digitalSignature") ||
        !add_ext(x, ca, NID_ext_key_usage, "serverAuth") ||
        !add_ext(x, ca, NID_subject_key_identifier, "hash") ||
        !add_ext(x, ca, NID_authority_key_identifier, "keyid:always") ||
        X509_sign(x, ca_key, EVP_sha256()) == 0)
        OSSL_FAIL(e, "make a server certificate");
    AUTO(bio_freep) BIO *b = BIO_new(BIO_s_secmem());
    if (!b || PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) != 1)
        OSSL_FAIL(e, "write a server's key");
    TRY(push_pem(x, cert_pem, e));
    long len = BIO_get_mem_data(b, &p);
    buf_reserve(key_pem, (size_t)len + 1);
    buf_push(key_pem, p, (size_t)len);
    return RC_OK;
}

RC x509_expires(struct slice cert_pem, int64_t *unix_s, struct err *e)
{
    AUTO(cert_freep) X509 *x = NULL;
    struct tm tm;

    *unix_s = 0;
    TRY(read_cert(cert_pem, &x, e));
    if (ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) != 1)
        OSSL_FAIL(e, "read a certificate's dates");
    *unix_s = (int64_t)timegm(&tm);
    return RC_OK;
}

RC x509_sha256(struct slice cert_pem, uint8_t out[32], struct err *e)
{
    AUTO(cert_freep) X509 *x = NULL;
    unsigned len = 32;

    memset(out, 0, 32);
    TRY(read_cert(cert_pem, &x, e));
    if (X509_digest(x, EVP_sha256(), out, &len) != 1 || len != 32)
        OSSL_FAIL(e, "hash a certificate");
    return RC_OK;
}

static bool read_rsa(X509 *x, struct rsa_public *out)
{
    EVP_PKEY *k = X509_get0_pubkey(x);
    BIGNUM *n = NULL, *exp = NULL;
    bool ok = k && EVP_PKEY_get_base_id(k) == EVP_PKEY_RSA &&
              EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
              EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_RSA_E, &exp) == 1 &&
              BN_num_bytes(n) <= RSA_BYTES_MAX && BN_num_bytes(exp) <= RSA_EXPONENT_MAX;

    if (ok) {
        out->n_len = (uint32_t)BN_bn2bin(n, out->n);
        out->e_len = (uint32_t)BN_bn2bin(exp, out->e);
    }
    BN_free(n);
    BN_free(exp);
    return ok;
}

RC x509_read(struct slice cert_pem, struct x509_facts *out, struct err *e)
{
    AUTO(cert_freep) X509 *x = NULL;
    struct tm from, until;
    struct err ignored = { 0 };
    uint8_t spki[32];
    unsigned len = 0;

    memset(out, 0, sizeof *out);
    if (read_cert(cert_pem, &x, &ignored).failed)
        FAIL(e, ERR_BAD_VALUE, "this is no certificate in PEM");
    bool ok = read_rsa(x, &out->pub) && !rsa_public_sha256(&out->pub, spki, &ignored).failed &&
              X509_digest(x, EVP_sha1(), out->sha1, &len) == 1 && len == sizeof out->sha1 &&
              X509_digest(x, EVP_sha256(), out->sha256, &len) == 1 && len == sizeof out->sha256 &&
              ASN1_TIME_to_tm(X509_get0_notBefore(x), &from) == 1 &&
              ASN1_TIME_to_tm(X509_get0_notAfter(x), &until) == 1;
    ERR_clear_error();
    if (!ok) {
        memset(out, 0, sizeof *out);
        FAIL(e, ERR_BAD_VALUE, "the certificate is not of an RSA key of 2048 to 4096 bits");
    }
    out->from_s = (int64_t)timegm(&from);
    out->until_s = (int64_t)timegm(&until);
    return RC_OK;
}
