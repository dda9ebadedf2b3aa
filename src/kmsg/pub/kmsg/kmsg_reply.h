/* kmsg_reply.h - what came back from a key service, and the things that it can mean.
 *
 * The classes say what to do, as keys/provider.h asks: a refusal counts only when the service itself said so in its own words. An
 * answer that a proxy, a load balancer or a liar could have made up is KMSG_BAD and revokes nothing.
 */
#ifndef KMSG_KMSG_REPLY_H
#define KMSG_KMSG_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum kmsg_class {
    KMSG_OK,           /* status 200, a JSON body: still to be read and checked */
    KMSG_DENIED,       /* refused by policy, firewall, state of the key; or the identity is gone */
    KMSG_NOT_FOUND,    /* key, version or vault gone */
    KMSG_UNAUTHORIZED, /* 401: get another token, once */
    KMSG_THROTTLED,    /* 429 */
    KMSG_UNREACHABLE,  /* 408, 5xx */
    KMSG_BAD,          /* anything else */
    KMSG_EXPIRED,      /* get another credential, once; a second time it is a bad answer */
};

struct kmsg_reply {
    int status;
    bool is_json; /* its content type says so */
    struct slice body;
    int64_t date_s; /* its Date, Unix seconds; 0 = none */
};

enum { KMSG_CAUSE_MAX = 256, KMSG_CONTEXT_MAX = 128 };

/* kmsg_printable(): copies text of in to out for a message: printable ASCII only, runs of anything else become one space, cut to
 * fit; always terminated. */
void kmsg_printable(const char *in, char *out, size_t len);
/* kmsg_escape(): appends in percent-encoded: all but the unreserved characters of RFC 3986 2.3. */
void kmsg_escape(struct slice in, struct buf *out);

/* kmsg_is_context(): a text that wrapped keys may be bound to: 1 to KMSG_CONTEXT_MAX printable characters that need no escape in JSON. */
bool kmsg_is_context(const char *s);

#endif
