/* kdf.c - derivation, MAC, hash and random bytes over OpenSSL's EVP.
 *
 * An OpenSSL context keeps its key in ordinary heap while it lives (measured for HKDF), so no context that saw a key outlives its
 * call; freeing one cleanses it. HKDF is built here from HMAC calls, so that its pseudorandom key lies in the key arena
 * instead of in a KDF context. The fetched algorithms, which hold no key, and one HMAC context that knows its digest
 * but no key are kept: copying that one spares a lookup by name per call.
 */
#include "crypto/kdf.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <sys/random.h>

#include "base/fault.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

RC crypto__openssl_err(struct err *e, const char *what, const char *file, int line)
{
    unsigned long code = ERR_peek_last_error();
    char text[160] = "no reason given";

    if (code)
        ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    rc_t rc = err_set(e, ERR_CRYPTO, file, line, "OpenSSL could not %s", what);

    if (e)
        err_detail(e, "%s", text);
    return rc;
}

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_MD *md_sha256;
static EVP_MAC_CTX *hmac_template; /* digest set, no key; read-only after fetch() */

static void fetch(void)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                            OSSL_PARAM_construct_end() };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    md_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!mac)
        return;
    hmac_template = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac); /* the context holds its own reference */
    if (hmac_template && !EVP_MAC_CTX_set_params(hmac_template, params)) {
        EVP_MAC_CTX_free(hmac_template);
        hmac_template = NULL;
    }
}

static void mac_ctx_freep(EVP_MAC_CTX **c)
{
    EVP_MAC_CTX_free(*c);
}

static void md_ctx_freep(EVP_MD_CTX **c)
{
    EVP_MD_CTX_free(*c);
}

static RC hmac_raw(const uint8_t *key, size_t key_len, const struct slice *parts, int n_parts,
                   uint8_t out[SHA256_LEN], struct err *e)
{
    AUTO(mac_ctx_freep) EVP_MAC_CTX *c = NULL;
    size_t len = 0;

    memset(out, 0, SHA256_LEN);
    pthread_once(&fetch_once, fetch);
    if (fault_hit("crypto.hmac") || !hmac_template || !(c = EVP_MAC_CTX_dup(hmac_template)))
        OSSL_FAIL(e, "make an HMAC context");
    if (!EVP_MAC_init(c, key, key_len, NULL))
        OSSL_FAIL(e, "key an HMAC");
    for (int i = 0; i < n_parts; i++)
        if (parts[i].len && !EVP_MAC_update(c, parts[i].p, parts[i].len))
            OSSL_FAIL(e, "compute an HMAC");
    if (!EVP_MAC_final(c, out, &len, SHA256_LEN) || len != SHA256_LEN) {
        mem_wipe(out, SHA256_LEN);
        OSSL_FAIL(e, "finish an HMAC");
    }
    return RC_OK;
}

static RC refuse_sealed(struct err *e)
{
    if (secret_arena_sealed())
        FAIL(e, ERR_KEY_LOCKED, "the keys were wiped from memory");
    return RC_OK;
}

RC hmac_sha256(const struct secret *key, const struct slice *parts, int n_parts,
               uint8_t out[SHA256_LEN], struct err *e)
{
    memset(out, 0, SHA256_LEN);
    TRY(refuse_sealed(e));
    TRY(hmac_raw(secret_view(key), secret_len(key), parts, n_parts, out, e));
    if (secret_arena_sealed())
        mem_wipe(out, SHA256_LEN);
    return refuse_sealed(e);
}

/* RFC 5869 2.2: "PRK = HMAC-Hash(salt, IKM)"; a salt that is not given is HashLen zeroes, which HMAC's own padding makes of an
 * empty one. 2.3: "T(i) = HMAC-Hash(PRK, T(i-1) | info | i)". */
RC hkdf_sha256(const struct secret *ikm, struct slice salt, struct slice info, size_t out_len,
               struct secret **out, struct err *e)
{
    static const uint8_t no_salt[SHA256_LEN];
    AUTO(secret_freep) struct secret *prk = NULL, *block = NULL, *okm = NULL;

    *out = NULL;
    if (out_len < 1 || out_len > HKDF_OUT_MAX || out_len > SECRET_MAX)
        FAIL(e, ERR_CRYPTO, "HKDF cannot derive %zu bytes", out_len);
    TRY(refuse_sealed(e));
    TRY(secret_new(SHA256_LEN, &prk, e));
    TRY(secret_new(SHA256_LEN, &block, e));
    TRY(secret_new(out_len, &okm, e));
    if (salt.len == 0)
        salt = SLICE(no_salt, sizeof(no_salt));
    TRY(hmac_raw(salt.p, salt.len, &SLICE(secret_view(ikm), secret_len(ikm)), 1, secret_bytes(prk),
                 e));
    for (size_t done = 0, prev_len = 0; done < out_len; prev_len = SHA256_LEN) {
        uint8_t i = (uint8_t)(done / SHA256_LEN + 1);
        size_t n = MIN(out_len - done, (size_t)SHA256_LEN);
        /* the previous block is copied since HMAC writes where it reads from */
        uint8_t prev[SHA256_LEN];
        rc_t rc;

        memcpy(prev, secret_view(block), sizeof(prev));
        rc = hmac_raw(secret_view(prk), SHA256_LEN,
                      (const struct slice[]){ SLICE(prev, prev_len), info, SLICE(&i, 1) }, 3,
                      secret_bytes(block), e);
        mem_wipe(prev, sizeof(prev));
        TRY(rc);
        memcpy(secret_bytes(okm) + done, secret_view(block), n);
        done += n;
    }
    TRY(refuse_sealed(e));
    *out = TAKE(okm);
    return RC_OK;
}

RC sha256(const struct slice *parts, int n_parts, uint8_t out[SHA256_LEN], struct err *e)
{
    AUTO(md_ctx_freep) EVP_MD_CTX *c = EVP_MD_CTX_new();

    memset(out, 0, SHA256_LEN);
    pthread_once(&fetch_once, fetch);
    if (!c || !md_sha256 || !EVP_DigestInit_ex2(c, md_sha256, NULL))
        OSSL_FAIL(e, "start SHA-256");
    for (int i = 0; i < n_parts; i++)
        if (parts[i].len && !EVP_DigestUpdate(c, parts[i].p, parts[i].len))
            OSSL_FAIL(e, "compute SHA-256");
    if (!EVP_DigestFinal_ex(c, out, NULL))
        OSSL_FAIL(e, "finish SHA-256");
    return RC_OK;
}

RC random_bytes(void *out, size_t len, struct err *e)
{
    uint8_t *p = out;
    int sys = fault_hit("crypto.random");

    for (size_t done = 0; done < len && !sys;) {
        ssize_t n = getrandom(p + done, MIN(len - done, (size_t)256), 0);

        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR)
            sys = errno;
    }
    if (!sys)
        return RC_OK;
    mem_wipe(out, len);
    FAIL(e, ERR_CRYPTO, "the kernel gives no random bytes: %s", strerror(sys));
}

bool ct_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}
