/* ed25519.h - Ed25519 signatures (RFC 8032): the same key and text give the same signature. [any thread]
 *
 * Heap   While an operation runs, OpenSSL holds a copy of the seed in its own memory; see crypto/rsa.h. */
#ifndef CRYPTO_ED25519_H
#define CRYPTO_ED25519_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct secret;

enum { ED25519_SEED_LEN = 32, ED25519_PUBLIC_LEN = 32, ED25519_SIG_LEN = 64 };

/* seed: ED25519_SEED_LEN random bytes, the private key of RFC 8032 5.1.5. */
RC ed25519_public(const struct secret *seed, uint8_t out[ED25519_PUBLIC_LEN], struct err *e);
RC ed25519_sign(const struct secret *seed, struct slice text, uint8_t out[ED25519_SIG_LEN],
                struct err *e);
/* ed25519_verify(): a signature that does not hold is ERR_BAD_VALUE. */
RC ed25519_verify(const uint8_t key[ED25519_PUBLIC_LEN], struct slice text,
                  const uint8_t sig[ED25519_SIG_LEN], struct err *e);

#endif
