/* secret.h - key bytes: locked, left out of dumps, wiped, never printed.
 *
 * Model    All secrets live in one process-wide key arena (mmap, mlock, MADV_DONTDUMP, MADV_WIPEONFORK, guard pages). Each holds a non-zero canary that
 *          secret_bytes() checks, since a forked child sees zeroes and must not seal under a zero key.
 * Limits   The arena's size is bounded by RLIMIT_MEMLOCK (often 8 MiB); secret_new() fails with ERR_CRYPTO when it is full.
 * Threads  [any] for new/free; one secret's bytes are not written while shared.
 */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct secret;

/* secret_arena_init(): map and lock bytes of room; called once at start, before threads. Fails when the memory cannot be locked: no silent fallback. */
RC secret_arena_init(size_t bytes, struct err *e);
/* secret_arena_wipe(): overwrite every secret at once, whatever holds it; later uses panic on the canary. For sealing. */
void secret_arena_wipe(void);

RC secret_new(size_t len, struct secret **out, struct err *e);            /* zeroed; 1 to 4096 bytes */
RC secret_random(size_t len, struct secret **out, struct err *e);         /* from getrandom() */
RC secret_from(const void *p, size_t len, struct secret **out, struct err *e); /* copies; the caller wipes its own copy */
void secret_free(struct secret *s);                                       /* wipes; NULL is fine */
void secret_freep(struct secret **s);
uint8_t *secret_bytes(struct secret *s);                                  /* valid until secret_free(); panics on a dead canary */
const uint8_t *secret_view(const struct secret *s);
size_t secret_len(const struct secret *s);
bool secret_equal(const struct secret *a, const struct secret *b);        /* constant time */
uint64_t secret_live_count(void);                                         /* for leak checks in tests */

#endif
