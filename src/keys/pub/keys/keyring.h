/* keyring.h - the unwrapped SMK generations of one cluster, and everything derived from them.
 *
 * Model    A keyring maps a generation number (from 1) to a 256-bit SMK in the key arena. Exactly one is current: new files use it. The
 *          SMK is only ever the ikm of HKDF-SHA256; it is never a cipher or MAC key.
 * Threads  [any] A keyring is shared by reference counting.
 */
#ifndef KEYS_KEYRING_H
#define KEYS_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "keys/label.h"

enum { SMK_LEN = 32, DERIVED_LEN = 32 };

struct keyring;
struct secret;

struct keyring *keyring_new(void);
struct keyring *keyring_ref(struct keyring *k);
void keyring_unref(struct keyring *k); /* the last one wipes every SMK; NULL is fine */
void keyring_unrefp(struct keyring **k);
/* keyring_add(): takes smk (32 bytes) in any case. gen must be new and not 0 (ERR_CONFLICT, ERR_CRYPTO). It is made current with
 * keyring_set_current() (ERR_MISSING_GENERATION). */
RC keyring_add(struct keyring *k, uint32_t gen, struct secret *smk, struct err *e);
RC keyring_set_current(struct keyring *k, uint32_t gen, struct err *e);
uint32_t keyring_current(const struct keyring *k); /* 0 when empty */
bool keyring_has(const struct keyring *k, uint32_t gen);
/* keyring_list(): how many generations there are; the first max of them in gens, in no order. */
size_t keyring_list(const struct keyring *k, uint32_t *gens, size_t max);
/* wipes that SMK, which must not be the current one */
void keyring_drop(struct keyring *k, uint32_t gen);

/* keyring_derive(): HKDF-SHA256(SMK_gen, salt, "cofferdb/1" || label || context) as a new secret of 32 bytes.
 * context has at most 1,024 bytes. Errors: ERR_MISSING_GENERATION, ERR_KEY_LOCKED, ERR_CRYPTO. */
RC keyring_derive(struct keyring *k, uint32_t gen, enum key_label label, struct slice salt,
                  struct slice context, struct secret **out, struct err *e);
/* key_derive(): the same from a key that is in no ring: a root, the spill key, an SMK that is being verified. */
RC key_derive(const struct secret *ikm, enum key_label label, struct slice salt,
              struct slice context, struct secret **out, struct err *e);

#endif
