/* kmsg_token.h - tokens of managed identities: the IMDS and App Service requests out, their answers in.
 *
 * The endpoint comes from configuration; a vault's challenge never leads here.
 */
#ifndef KMSG_KMSG_TOKEN_H
#define KMSG_KMSG_TOKEN_H

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

enum kmsg_token_source { KMSG_TOKEN_IMDS, KMSG_TOKEN_APP_SERVICE };

enum { KMSG_TOKEN_MAX = 16384 };

/* kmsg_token_url(): endpoint with the query of the source added; client_id "" = the machine's only identity. */
void kmsg_token_url(enum kmsg_token_source source, const char *endpoint, const char *resource,
                    const char *client_id, struct buf *out);

enum kmsg_class kmsg_token_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

/* kmsg_token_read(): token is text that may stand in a header line; lifetime_s is how long it lives from the answer's Date (from now_s when
 * that is absent). Errors: ERR_KEY_BAD_ANSWER. */
RC kmsg_token_read(const struct kmsg_reply *r, const char *resource, int64_t now_s,
                   struct buf *token, int64_t *lifetime_s, struct err *e);

#endif
