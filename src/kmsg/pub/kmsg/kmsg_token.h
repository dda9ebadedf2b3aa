/* kmsg_token.h - tokens of identities: the requests of IMDS, App Service, Azure Arc and client credentials out, their answers in.
 *
 * The endpoint comes from configuration; a vault's challenge never leads here.
 */
#ifndef KMSG_KMSG_TOKEN_H
#define KMSG_KMSG_TOKEN_H

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

enum kmsg_token_source { KMSG_TOKEN_IMDS, KMSG_TOKEN_APP_SERVICE, KMSG_TOKEN_ARC };

enum { KMSG_TOKEN_MAX = 16384 };

/* kmsg_token_url(): endpoint with the query of the source added; client_id "" = the machine's only identity. */
void kmsg_token_url(enum kmsg_token_source source, const char *endpoint, const char *resource,
                    const char *client_id, struct buf *out);

/* kmsg_token_form(): the body of a client-credentials request (identity.md 3); secret or assertion is empty. It holds a credential. */
void kmsg_token_form(const char *client_id, const char *resource, struct slice secret,
                     struct slice assertion, struct buf *out);

/* kmsg_token_arc_file(): the file that Azure Arc's challenge names: "Basic realm=PATH". Accepted only when it stands directly in dir and
 * ends in ".key". false: not such a challenge. */
bool kmsg_token_arc_file(const char *challenge, const char *dir, struct buf *path);

enum kmsg_class kmsg_token_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

/* kmsg_token_read(): token is text that may stand in a header line; lifetime_s is how long it lives from the answer's Date (from now_s when
 * that is absent). Errors: ERR_KEY_BAD_ANSWER. */
RC kmsg_token_read(const struct kmsg_reply *r, const char *resource, int64_t now_s,
                   struct buf *token, int64_t *lifetime_s, struct err *e);

#endif
