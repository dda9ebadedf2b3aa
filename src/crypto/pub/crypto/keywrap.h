/* keywrap.h - AES-256-KWP: key wrap with padding (RFC 5649, NIST SP 800-38F). Deterministic and authenticated: no nonce. [any thread] */
#ifndef CRYPTO_KEYWRAP_H
#define CRYPTO_KEYWRAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct secret;

/* keywrap_len(): bytes that wrapping len bytes takes. */
static inline size_t keywrap_len(size_t len)
{
    return (len + 7) / 8 * 8 + 8;
}
/* keywrap_wrap(): kek has 32 bytes; plain 1 to SECRET_MAX. out has room for keywrap_len(). */
RC keywrap_wrap(const struct secret *kek, const struct secret *plain, uint8_t *out, struct err *e);
/* keywrap_unwrap(): Errors: ERR_CORRUPT (another key, or damage: the two cannot be told apart), ERR_CRYPTO. */
RC keywrap_unwrap(const struct secret *kek, struct slice wrapped, struct secret **out,
                  struct err *e);

#endif
