/* kmsg_sigv4.h - AWS Signature Version 4: the Authorization header of a request, from the request as it will be sent. [any thread]
 *
 * spec: AWS, "Create a signed AWS API request". Every header that is handed in is signed. The path is not normalised and is encoded once:
 * callers hand in one without "." and "..", as it was before it was encoded for the wire.
 * Secrets  The secret access key and what is derived from it stay in struct secret. The header itself proves one request for a few minutes.
 */
#ifndef KMSG_KMSG_SIGV4_H
#define KMSG_KMSG_SIGV4_H

#include "base/err.h"
#include "base/slice.h"

struct secret;

enum { KMSG_SIGV4_PARTS_MAX = 16, KMSG_SIGV4_DATE_LEN = 16 };

struct kmsg_sigv4_header {
    const char *name;
    struct slice value;
};

struct kmsg_sigv4 {
    const char *method;
    struct slice path;  /* "/" */
    struct slice query; /* without its "?"; escapes are decoded and written anew */
    const struct kmsg_sigv4_header *headers; /* Host and X-Amz-Date must be among them */
    size_t n_headers;
    struct slice body;
    const char *date;    /* kmsg_sigv4_date() */
    const char *region;  /* "eu-west-1" */
    const char *service; /* "kms" */
};

/* kmsg_sigv4_date(): "20150830T123600Z", and a NUL. */
void kmsg_sigv4_date(int64_t unix_s, char out[KMSG_SIGV4_DATE_LEN + 1]);
/* kmsg_sigv4_authorization(): appends the header's value. Errors: ERR_BAD_VALUE (more than KMSG_SIGV4_PARTS_MAX headers or members of the query),
 * ERR_CRYPTO, ERR_KEY_LOCKED. */
RC kmsg_sigv4_authorization(const struct kmsg_sigv4 *s, const char *access_key_id,
                            const struct secret *secret_key, struct buf *out, struct err *e);

/* The two texts that are on the way to it, appended; for tests. */
RC kmsg_sigv4_canonical(const struct kmsg_sigv4 *s, struct buf *out, struct err *e);
RC kmsg_sigv4_string_to_sign(const struct kmsg_sigv4 *s, struct buf *out, struct err *e);

#endif
