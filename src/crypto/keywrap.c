/* keywrap.c - AES key wrap with padding over OpenSSL's EVP; contexts live for one call. */
#include "crypto/keywrap.h"

#include <openssl/evp.h>

#include "base/fault.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

enum { KEK_LEN = 32, BLOCK = 8 };

static void ctx_freep(EVP_CIPHER_CTX **c)
{
    EVP_CIPHER_CTX_free(*c);
}

static void cipher_freep(EVP_CIPHER **c)
{
    EVP_CIPHER_free(*c);
}

RC keywrap__run(bool wrap, const char *name, const uint8_t *kek, const uint8_t *in, size_t in_len,
                uint8_t *out, size_t *out_len, bool *match, struct err *e)
{
    AUTO(ctx_freep) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    AUTO(cipher_freep) EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    int n = 0;

    *match = false;
    *out_len = 0;
    if (fault_hit("crypto.keywrap") || !c || !cipher)
        OSSL_FAIL(e, "fetch AES key wrap");
    EVP_CIPHER_CTX_set_flags(c, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (!EVP_CipherInit_ex2(c, cipher, kek, NULL, wrap, NULL))
        OSSL_FAIL(e, "key AES key wrap");
    if (EVP_CipherUpdate(c, out, &n, in, (int)in_len) <= 0 || n <= 0) {
        if (wrap)
            OSSL_FAIL(e, "wrap a key");
        return RC_OK; /* *match stays false */
    }
    *out_len = (size_t)n;
    *match = true;
    return RC_OK;
}

static RC check_kek(const struct secret *kek, struct err *e)
{
    if (secret_arena_sealed())
        FAIL(e, ERR_KEY_LOCKED, "the keys were wiped from memory");
    if (secret_len(kek) != KEK_LEN)
        FAIL(e, ERR_CRYPTO, "AES-256 key wrap takes a key of 32 bytes, not %zu", secret_len(kek));
    return RC_OK;
}

RC keywrap_wrap(const struct secret *kek, const struct secret *plain, uint8_t *out, struct err *e)
{
    uint8_t room[SECRET_MAX + 2 * BLOCK];
    size_t n = 0, want;
    bool ok;

    TRY(check_kek(kek, e));
    want = keywrap_len(secret_len(plain));
    memset(out, 0, want);
    TRY(keywrap__run(true, "AES-256-WRAP-PAD", secret_view(kek), secret_view(plain),
                     secret_len(plain), room, &n, &ok, e));
    if (n != want || secret_arena_sealed())
        FAIL(e, secret_arena_sealed() ? ERR_KEY_LOCKED : ERR_CRYPTO, "a key could not be wrapped");
    memcpy(out, room, want);
    return RC_OK;
}

RC keywrap_unwrap(const struct secret *kek, struct slice wrapped, struct secret **out,
                  struct err *e)
{
    AUTO(secret_freep) struct secret *room = NULL;
    size_t n = 0;
    bool match;

    *out = NULL;
    TRY(check_kek(kek, e));
    /* RFC 5649 4.2: at least two semiblocks, whole semiblocks */
    if (wrapped.len < 2 * BLOCK || wrapped.len % BLOCK != 0 || wrapped.len > SECRET_MAX)
        FAIL(e, ERR_CORRUPT, "a wrapped key of %zu bytes is not AES key wrap", wrapped.len);
    TRY(secret_new(wrapped.len, &room, e));
    TRY(keywrap__run(false, "AES-256-WRAP-PAD", secret_view(kek), wrapped.p, wrapped.len,
                     secret_bytes(room), &n, &match, e));
    if (!match || n < 1 || n > wrapped.len - BLOCK)
        FAIL(e, ERR_CORRUPT, "a wrapped key does not unwrap with this key");
    return secret_from(secret_view(room), n, out, e);
}
