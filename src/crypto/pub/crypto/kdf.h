/* kdf.h - HKDF-SHA256 (RFC 5869), HMAC-SHA256 (RFC 2104), SHA-256, random bytes, constant-time comparison. [any thread]
 *
 * OpenSSL contexts that see a key live for one call. Answers ERR_KEY_LOCKED, with outputs wiped, once the key arena was wiped. */
#ifndef CRYPTO_KDF_H
#define CRYPTO_KDF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum { SHA256_LEN = 32, HKDF_OUT_MAX = 255 * SHA256_LEN };

struct secret;

/* hkdf_sha256(): out_len 1 to the smaller of HKDF_OUT_MAX and SECRET_MAX bytes as a new secret. */
RC hkdf_sha256(const struct secret *ikm, struct slice salt, struct slice info, size_t out_len,
               struct secret **out, struct err *e);
RC hmac_sha256(const struct secret *key, const struct slice *parts, int n_parts,
               uint8_t out[SHA256_LEN], struct err *e);
RC sha256(const struct slice *parts, int n_parts, uint8_t out[SHA256_LEN], struct err *e);
RC random_bytes(void *out, size_t len, struct err *e);   /* getrandom(2) only */
bool ct_equal(const void *a, const void *b, size_t len); /* constant time in len */

#endif
