/* rsa.h - RSA keys: made, used, described. The private key is DER in a struct secret and is parsed for one operation at a time.
 *
 * Padding  OAEP with SHA-256 (MGF1 too), OAEP with SHA-1, PKCS #1 v1.5. Signatures are PKCS #1 v1.5 (RS256, RS384, RS512) or PSS
 *          with a salt as long as the digest (PS256, PS384, PS512; RFC 7518 3.3, 3.5), over a digest that the caller computed; and
 *          PKCS #1 v1.5 around the caller's own bytes (RSNULL).
 * Failure  A ciphertext that cannot be opened is ERR_BAD_VALUE with one text, whatever the reason: nothing tells a padding error
 *          from another.
 * Heap     While an operation runs, OpenSSL holds copies of the private numbers in its own memory; a process that keeps private keys
 *          calls wipe_install_openssl() (crypto/wipe.h) first thing, so that they are overwritten when OpenSSL lets them go.
 * Threads  [any]
 */
#ifndef CRYPTO_RSA_H
#define CRYPTO_RSA_H

#include <stdbool.h>
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
/* rsa_decrypt(): *plain is NULL on success when the text is empty: rsa_encrypt() refuses to make such a one, others do not.
 * Errors: ERR_BAD_VALUE, in the same words whatever is wrong with cipher. */
RC rsa_decrypt(const struct secret *private_der, enum rsa_pad pad, struct slice cipher,
               struct secret **plain, struct err *e);

enum rsa_sig {
    RSA_SIG_RS256,
    RSA_SIG_RS384,
    RSA_SIG_RS512,
    RSA_SIG_PS256,
    RSA_SIG_PS384,
    RSA_SIG_PS512,
    RSA_SIG_NULL,
    RSA_SIG_NR
};
/* rsa_digest_fits(): whether a digest of len bytes can be signed: 32, 48 or 64; under RSA_SIG_NULL 1 to the modulus less 11. */
bool rsa_digest_fits(const struct rsa_public *k, enum rsa_sig sig, size_t len);
/* rsa_sign(): Errors: ERR_BAD_VALUE when the digest does not fit. */
RC rsa_sign(const struct secret *private_der, enum rsa_sig sig, struct slice digest,
            struct buf *signature, struct err *e);
/* rsa_verify(): *holds is false for any signature that is not this key's over digest, whatever its length. */
RC rsa_verify(const struct rsa_public *k, enum rsa_sig sig, struct slice digest,
              struct slice signature, bool *holds, struct err *e);

/* rsa_private(): from the numbers of RFC 8017 3.2, big-endian; all of them. Errors: ERR_BAD_VALUE when they do not belong together, or the
 * key is not one of 2048, 3072 or 4096 bits. */
enum rsa_number { RSA_D, RSA_P, RSA_Q, RSA_DP, RSA_DQ, RSA_QI, RSA_NUMBER_NR };
RC rsa_private(const struct rsa_public *pub, const struct secret *const numbers[RSA_NUMBER_NR],
               struct secret **private_der, struct err *e);
/* rsa_private_numbers(): the numbers of a private key, big-endian; all six are the caller's, or NULL on failure. */
RC rsa_private_numbers(const struct secret *private_der, struct secret *out[RSA_NUMBER_NR],
                       struct err *e);

RC rsa_sign_sha256(const struct secret *private_der, struct slice message, struct buf *signature,
                   struct err *e);
/* rsa_sign_pss_sha256(): PSS with SHA-256, MGF1 and a salt of 32 bytes (PS256 of RFC 7518 3.5). */
RC rsa_sign_pss_sha256(const struct secret *private_der, struct slice message,
                       struct buf *signature, struct err *e);
/* rsa_private_from_pem(): the first private key of an unencrypted PEM text (PKCS #8 or PKCS #1). Errors: ERR_BAD_VALUE. */
RC rsa_private_from_pem(struct slice pem, struct secret **private_der, struct err *e);

#endif
