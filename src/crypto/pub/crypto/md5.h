/* md5.h - MD5 (RFC 1321), for checksums that others expect to be it; nothing is protected by it.
 *
 * A hash belongs to one thread at a time. ERR_INTERNAL where OpenSSL does not offer MD5. */
#ifndef CRYPTO_MD5_H
#define CRYPTO_MD5_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct md5;
enum { MD5_LEN = 16 };

RC md5_new(struct md5 **out, struct err *e);
void md5_freep(struct md5 **h); /* NULL is fine */
RC md5_add(struct md5 *h, struct slice bytes, struct err *e);
/* md5_end(): nothing more is added. */
RC md5_end(struct md5 *h, uint8_t out[MD5_LEN], struct err *e);

#endif
