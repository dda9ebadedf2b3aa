/* crypto_priv.h - what the files of this module share.
 *
 * An engine computes AES-256-GCM. aead.c chooses one at crypto_init(), checks arguments, and enforces what every engine must
 * have in common: outputs wiped on failure, nothing sealed under a key that was wiped meanwhile.
 */
#ifndef CRYPTO_CRYPTO_PRIV_H
#define CRYPTO_CRYPTO_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/types.h>

#include "base/err.h"
#include "crypto/aead.h"

struct rsa_public;
struct secret;

struct aead_key {
    /* never reused within the process: names the key in the caches of expanded schedules */
    uint64_t id;
    struct secret *key; /* owned */
};

struct aead_engine {
    const char *(*name)(void);
    /* start(): *usable is false when this machine cannot run the engine; an error when it should but does not. */
    RC (*start)(bool *usable, struct err *e);
    RC (*seal)(const struct aead_key *k, const struct aead_seal *m, struct err *e);
    /* open(): writes m->out in any case; *match tells whether the tag is right. */
    RC (*open)(const struct aead_key *k, const struct aead_open *m, bool *match, struct err *e);
};

extern const struct aead_engine aead__openssl;
#ifdef COFFER_IPSEC_MB
extern const struct aead_engine aead__ipsec;
#endif
extern const struct aead_engine *const aead__engines[]; /* all that this build has, best first */
extern const size_t aead__n_engines;

/* aead__seal_with(), aead__open_with(): the public calls, with a given engine; for tests that compare engines. */
RC aead__seal_with(const struct aead_engine *en, const struct aead_key *k,
                   const struct aead_seal *m, struct err *e);
RC aead__open_with(const struct aead_engine *en, const struct aead_key *k,
                   const struct aead_open *m, struct err *e);
/* aead__known_answers(): ERR_CRYPTO naming the first vector that an engine gets wrong. */
RC aead__known_answers(const struct aead_engine *en, struct err *e);

/* A thread's cache of expanded keys: which slot holds key id, least recently used out. */
enum { AEAD__SLOTS = 8 };
struct aead__lru {
    uint64_t id[AEAD__SLOTS]; /* 0 = empty */
    uint64_t used[AEAD__SLOTS];
    uint64_t tick;
};
/* aead__lru_slot(): *hit is false when the slot's content must be made anew; its id is then set to 0 until the caller sets it. */
int aead__lru_slot(struct aead__lru *l, uint64_t id, bool *hit);

/* crypto__openssl_err(): ERR_CRYPTO with OpenSSL's own reason as detail. */
RC crypto__openssl_err(struct err *e, const char *what, const char *file, int line);
#define OSSL_FAIL(e, what) return crypto__openssl_err((e), (what), __FILE__, __LINE__)

/* ---- pkey.c: OpenSSL's keys between their forms ---- */
void pkey__freep(EVP_PKEY **k);
void pkey__ctx_freep(EVP_PKEY_CTX **c);
void pkey__numbers_freep(OSSL_PARAM_BLD **b);
void pkey__bn_freep(BIGNUM **b);
#define AUTO_PKEY AUTO(pkey__freep) EVP_PKEY
#define AUTO_PCTX AUTO(pkey__ctx_freep) EVP_PKEY_CTX
#define AUTO_NUMBERS AUTO(pkey__numbers_freep) OSSL_PARAM_BLD
#define AUTO_BN AUTO(pkey__bn_freep) BIGNUM
/* pkey__from_der(): type: EVP_PKEY_RSA, EVP_PKEY_EC. */
RC pkey__from_der(int type, const struct secret *der, EVP_PKEY **out, struct err *e);
RC pkey__to_der(EVP_PKEY *k, struct secret **out, struct err *e);
/* pkey__from_pem(): the first private key of an unencrypted PEM text, of any type. Errors: ERR_BAD_VALUE. */
RC pkey__from_pem(struct slice pem, EVP_PKEY **out, struct err *e);
/* pkey__from_numbers(): type: "RSA", "EC"; selection: EVP_PKEY_KEYPAIR, EVP_PKEY_PUBLIC_KEY. When they are no key, *out stays NULL and
 * OpenSSL's queue of errors says why. */
RC pkey__from_numbers(const char *type, int selection, OSSL_PARAM_BLD *numbers, EVP_PKEY **out,
                      struct err *e);
/* pkey__belongs_together(): whether the numbers of a whole key are those of one key. k may be NULL. */
bool pkey__belongs_together(EVP_PKEY *k);

/* rsa.c, for rsa_sign.c */
RC rsa__parse_public(const struct rsa_public *k, EVP_PKEY **out, struct err *e);

/* keywrap__run(): RFC 5649 with any AES key size; the public functions allow 256 bits only. *out_len is in/out. */
RC keywrap__run(bool wrap, const char *cipher, const uint8_t *kek, const uint8_t *in, size_t in_len,
                uint8_t *out, size_t *out_len, bool *match, struct err *e);

#endif
