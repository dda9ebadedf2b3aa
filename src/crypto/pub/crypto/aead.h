/* aead.h - AES-256-GCM (NIST SP 800-38D), sealed and opened whole.
 *
 * Nonces   The caller's rule; this module never invents one. 12 bytes, 16-byte tag. At most 2^32 messages or 256 GiB under one key.
 * Engines  libipsec-mb where the CPU has AES-NI, else OpenSSL; known answers are tested at crypto_init(). Same bytes, same tags.
 * Failure  aead_open() compares tags in constant time; on a mismatch the output is wiped and ERR_CORRUPT returned. When the key
 *          arena is wiped (sealing) before or during a call, it answers ERR_KEY_LOCKED with its output wiped: nothing
 *          leaves that was computed under zeroed keys.
 * Threads  A struct aead_key may be used by many threads at once; expanded schedules live in per-thread locked scratch.
 */
#ifndef CRYPTO_AEAD_H
#define CRYPTO_AEAD_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum { AEAD_KEY_LEN = 32, AEAD_NONCE_LEN = 12, AEAD_TAG_LEN = 16, AEAD_AAD_MAX = 1 << 16 };

/* Algorithm ids, as stored in the headers of files. */
enum { AEAD_ALG_AES_256_GCM = 1, AEAD_ALG_NULL = 0xFF };

struct secret;
struct aead_key;

/* crypto_init(): chooses the engine, runs the known answers, refuses to go on when two random draws are equal. Once, before
 * threads; after secret_arena_init(). A second call does nothing. */
RC crypto_init(struct err *e);
/* crypto_require_openssl(): before crypto_init(): use no other engine (a FIPS provider is configured in OpenSSL). */
void crypto_require_openssl(void);
const char *crypto_engine(void); /* "ipsec-mb avx512-vaes", "openssl": for serverStatus; static */
/* aead_algorithm(): AEAD_ALG_AES_256_GCM; AEAD_ALG_NULL only in a benchmark that links crypto_null. A file whose header has
 * another id than this is refused. */
int aead_algorithm(void);

/* aead_key_new(): copies the 32 bytes of key into its own secret. */
RC aead_key_new(const struct secret *key, struct aead_key **out, struct err *e);
void aead_key_free(struct aead_key *k);
void aead_key_freep(struct aead_key **k);

struct aead_seal {
    const uint8_t *nonce; /* AEAD_NONCE_LEN */
    struct slice aad;
    struct slice plain;
    uint8_t *out; /* plain.len bytes; may equal plain.p; wiped on failure */
    uint8_t *tag; /* AEAD_TAG_LEN; not inside out */
};
/* Errors: ERR_KEY_LOCKED, ERR_CRYPTO. */
RC aead_seal(struct aead_key *k, const struct aead_seal *m, struct err *e);

struct aead_open {
    const uint8_t *nonce;
    struct slice aad;
    struct slice cipher;
    const uint8_t *tag; /* AEAD_TAG_LEN; not inside out */
    uint8_t *out;       /* cipher.len bytes; may equal cipher.p; wiped on failure */
};
/* Errors: ERR_CORRUPT (the tag does not match), ERR_KEY_LOCKED, ERR_CRYPTO. */
RC aead_open(struct aead_key *k, const struct aead_open *m, struct err *e);

#endif
