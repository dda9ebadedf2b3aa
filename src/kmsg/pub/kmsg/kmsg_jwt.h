/* kmsg_jwt.h - signed tokens (RFC 7519, compact form of RFC 7515): the assertions that a node proves itself with, the access tokens of the
 * embedded vault. [any thread] */
#ifndef KMSG_KMSG_JWT_H
#define KMSG_KMSG_JWT_H

#include <jansson.h>

#include "base/err.h"
#include "base/slice.h"

struct secret;

enum kmsg_jwt_alg { KMSG_JWT_RS256, KMSG_JWT_PS256 };

/* kmsg_jwt(): header gets "alg" and "typ"; both objects stay the caller's. key: a private RSA key in DER. The text appended to out is a
 * credential: buf_wipe() it. */
RC kmsg_jwt(enum kmsg_jwt_alg alg, json_t *header, const json_t *claims, const struct secret *key,
            struct buf *out, struct err *e);

#endif
