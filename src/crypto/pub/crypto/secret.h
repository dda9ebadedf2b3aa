/* secret.h - key bytes: locked, left out of dumps, wiped, never printed.
 *
 * Model    All secrets live in one process-wide key arena (mmap, mlock, MADV_DONTDUMP, MADV_WIPEONFORK, guard pages). Each stands
 *          between two non-zero canaries: secret_bytes() checks the first, since a forked child sees zeroes and must not seal
 *          under a zero key; secret_free() checks both.
 * Sealing  secret_arena_wipe() overwrites everything at once, whatever holds it. From then on nothing is handed out: calls that can
 *          fail answer ERR_KEY_LOCKED, and a thread that asks for bytes is parked for good (the process is about to be
 *          replaced by exec; an abort at that moment would turn sealing into a crash). Work that was under way checks
 *          secret_arena_sealed() before it lets its result out.
 * Limits   The arena's size is bounded by RLIMIT_MEMLOCK (often 8 MiB); secret_new() fails with ERR_CRYPTO when it is full.
 *          A secret of 32 bytes takes 64, one of 1,008 takes 1,088.
 * Threads  [any] for new/free; one secret's bytes are not written while shared.
 */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct secret;

enum { SECRET_MAX = 4096 };

/* secret_arena_init(): map and lock bytes of room; called once at start, before threads. Raises the soft RLIMIT_MEMLOCK to the hard
 * one if it must. Fails when the memory cannot be locked or kept out of dumps and forks: no silent fallback. */
RC secret_arena_init(size_t bytes, struct err *e);
/* secret_arena_wipe(): overwrite every secret at once. Takes no lock and may be called from any thread, also while others hang. */
void secret_arena_wipe(void);
bool secret_arena_sealed(void); /* secret_arena_wipe() was called, or is running */

/* zeroed; 1 to SECRET_MAX bytes */
RC secret_new(size_t len, struct secret **out, struct err *e);
RC secret_random(size_t len, struct secret **out, struct err *e); /* from getrandom() */
/* copies; the caller wipes its own copy */
RC secret_from(const void *p, size_t len, struct secret **out, struct err *e);
RC secret_dup(const struct secret *s, struct secret **out, struct err *e);
/* wipes; NULL is fine, and so is one that sealing wiped */
void secret_free(struct secret *s);
void secret_freep(struct secret **s);
/* valid until secret_free(); panics on a dead canary */
uint8_t *secret_bytes(struct secret *s);
const uint8_t *secret_view(const struct secret *s);
size_t secret_len(const struct secret *s);
/* constant time in the length */
bool secret_equal(const struct secret *a, const struct secret *b);
/* for leak checks in tests */
uint64_t secret_live_count(void);

#endif
