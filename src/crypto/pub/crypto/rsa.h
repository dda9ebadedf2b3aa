/* rsa.h - RSA keys: made, used, described. The private key is DER in a struct secret and is parsed for one operation at a time.
 *
 * Padding  OAEP with SHA-256 (MGF1 too), OAEP with SHA-1, PKCS #1 v1.5. Signatures are PKCS #1 v1.5 with SHA-256 (RS256).
 * Failure  A ciphertext that cannot be opened is ERR_BAD_VALUE with one text, whatever the reason: nothing tells a padding error
 *          from another.
 * Heap     While an operation runs, OpenSSL holds copies of the private numbers in its own memory; a process that keeps private keys
 *          calls wipe_install_openssl() (crypto/wipe.h) first thing, so that they are overwritten when OpenSSL lets them go.
 * Threads  [any]
 */
#ifndef CRYPTO_RSA_H
#define CRYPTO_RSA_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct secret;

enum { RSA_BYTES_MAX = 512, RSA_EXPONENT_MAX = 8 };

enum rsa_pad { RSA_PAD_OAEP_SHA256, RSA_PAD_OAEP_SHA1, RSA_PAD_PKCS1 };

struct rsa_public {
    uint8_t n[RSA_BYTES_MAX]; /* big-endian, no leading zero */
    uint32_t n_len;
    uint8_t e[RSA_EXPONENT_MAX];
    uint32_t e_len;
};

/* rsa_generate(): 2048, 3072 or 4096 bits, exponent 65537. May take seconds. */
RC rsa_generate(int bits, struct secret **private_der, struct err *e);
RC rsa_public_of(const struct secret *private_der, struct rsa_public *out, struct err *e);
int rsa_bits(const struct rsa_public *k);
/* rsa_public_sha256(): of the DER SubjectPublicKeyInfo: two keys with the same material have the same value.
 * Errors: ERR_BAD_VALUE when the numbers are no RSA key of 2048 to 4096 bits. */
RC rsa_public_sha256(const struct rsa_public *k, uint8_t out[32], struct err *e);

/* rsa_plain_max(): the longest text that the padding has room for. */
uint32_t rsa_plain_max(const struct rsa_public *k, enum rsa_pad pad);
RC rsa_encrypt(const struct rsa_public *k, enum rsa_pad pad, struct slice plain, struct buf *out,
               struct err *e);
/* rsa_decrypt(): an empty text is ERR_BAD_VALUE too: no caller wraps nothing. */
RC rsa_decrypt(const struct secret *private_der, enum rsa_pad pad, struct slice cipher,
               struct secret **plain, struct err *e);

RC rsa_sign_sha256(const struct secret *private_der, struct slice message, struct buf *signature,
                   struct err *e);
/* rsa_sign_pss_sha256(): PSS with SHA-256, MGF1 and a salt of 32 bytes (PS256 of RFC 7518 3.5). */
RC rsa_sign_pss_sha256(const struct secret *private_der, struct slice message,
                       struct buf *signature, struct err *e);
/* rsa_private_from_pem(): the first private key of an unencrypted PEM text (PKCS #8 or PKCS #1). Errors: ERR_BAD_VALUE. */
RC rsa_private_from_pem(struct slice pem, struct secret **private_der, struct err *e);

#endif
