/* aead.h - AES-256-GCM (NIST SP 800-38D), sealed and opened whole.
 *
 * Nonces   The caller's rule; this module never invents one. 12 bytes, 16-byte tag.
 * Engines  libipsec-mb where the CPU has AES-NI, else OpenSSL; known answers are tested at crypto_init(). Same bytes, same tags.
 * Failure  aead_open() compares tags in constant time; on a mismatch the output is wiped and ERR_CORRUPT returned.
 * Threads  A struct aead_key may be used by many threads at once; expanded schedules live in per-thread locked scratch.
 */
#ifndef CRYPTO_AEAD_H
#define CRYPTO_AEAD_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum { AEAD_KEY_LEN = 32, AEAD_NONCE_LEN = 12, AEAD_TAG_LEN = 16, AEAD_AAD_MAX = 1 << 16 };

struct secret;
struct aead_key;

/* crypto_init(): chooses the engine, runs the known answers, refuses to go on when two random draws are equal. Once, before threads; after secret_arena_init(). */
RC crypto_init(struct err *e);
const char *crypto_engine(void); /* "ipsec-mb avx512-vaes", "openssl": for serverStatus; static */

/* aead_key_new(): copies the 32 bytes of key into its own secret. */
RC aead_key_new(const struct secret *key, struct aead_key **out, struct err *e);
void aead_key_free(struct aead_key *k);
void aead_key_freep(struct aead_key **k);

struct aead_seal {
    const uint8_t *nonce;  /* AEAD_NONCE_LEN */
    struct slice aad;
    struct slice plain;
    uint8_t *out;          /* plain.len bytes; may equal plain.p */
    uint8_t *tag;          /* AEAD_TAG_LEN */
};
RC aead_seal(struct aead_key *k, const struct aead_seal *m, struct err *e);

struct aead_open {
    const uint8_t *nonce;
    struct slice aad;
    struct slice cipher;
    const uint8_t *tag;
    uint8_t *out;          /* cipher.len bytes; may equal cipher.p; wiped on failure */
};
/* Errors: ERR_CORRUPT (the tag does not match), ERR_CRYPTO. */
RC aead_open(struct aead_key *k, const struct aead_open *m, struct err *e);

#endif
