/* provider.h - what wraps and unwraps: a table of functions that the program picks by URL scheme and hands down.
 *
 * Errors are classes, not causes, and tell the caller what to do (design 4):
 *   ERR_KEY_UNREACHABLE  DNS, TCP, TLS, 5xx, time-out: retry, grace period runs
 *   ERR_KEY_THROTTLED    429: retry later
 *   ERR_KEY_DENIED       the vault's own answer in the table of denials, or the token endpoint saying that the identity is gone
 *   ERR_KEY_NOT_FOUND    key, version or vault gone; counts as denied
 *   ERR_KEY_CREDENTIAL   the node's own credential is missing or unusable, so that nobody was asked: no verdict, grace period runs
 *   ERR_KEY_BAD_ANSWER   anything else: alarms, never revokes, never replaces a key
 * The message names the cause (and the missing permission); it never holds a token or key bytes.
 * Blocking [net] every call may wait for the network, at most until its deadline. [any thread]
 */
#ifndef KEYS_PROVIDER_H
#define KEYS_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct secret;

enum grace_tag {
    GRACE_NONE = -1,   /* no tag */
    GRACE_UNREAD = -2, /* the service did not say: what was known of it goes on to hold */
};

struct key_info {
    char version[65]; /* the newest version: what a wrap would use */
    char kid[512];    /* its full identifier */
    char kty[16];     /* "RSA" */
    int bits;
    /* of a type that this provider cannot wrap with; bits and public_sha256 are zero */
    bool wrong_type;
    bool enabled;
    int64_t not_before_s, expires_s; /* Unix seconds; 0 = none */
    int64_t server_date_s;           /* Date of the answer; expiry is judged by it */
    bool can_wrap, can_unwrap;
    char recovery_level[48]; /* "Recoverable", ... */
    /* of the DER SubjectPublicKeyInfo: "same RSA material" compares this */
    uint8_t public_sha256[32];
    int64_t grace_ms;     /* from the tag coffer-grace-period on the key, or an enum grace_tag */
    bool grace_malformed; /* there is a tag, and it is no duration; grace_ms is -1 */
    char grace_why[160];  /* GRACE_UNREAD: why */
    char region[32];      /* where the vault says it is; "" when it does not say */
};

enum { WRAP_MAX = 1024, KEY_TAG_MAX = 257 };

struct wrapped_key {
    char version[65]; /* the exact version that wrapped it */
    char alg[24];     /* "RSA-OAEP-256" */
    uint8_t bytes[WRAP_MAX];
    uint32_t len;
};

struct key_provider {
    const char *name; /* "azure-key-vault" */
    /* get_key(): about the newest version (version NULL) or a given one. */
    RC (*get_key)(struct key_provider *p, const char *version, uint64_t deadline_us,
                  struct key_info *out, struct err *e);
    /* wrap(): under the newest version (version NULL) or a given one. */
    RC (*wrap)(struct key_provider *p, const char *version, const struct secret *plain,
               uint64_t deadline_us, struct wrapped_key *out, struct err *e);
    /* unwrap(): with exactly w->version. fresh = use a new connection (a confirmation). *out is a new secret. */
    RC (*unwrap)(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                 uint64_t deadline_us, struct secret **out, struct err *e);
    /* set_enabled(): what the key's owner does: the service refuses a version from now on, for everybody, or takes it again. NULL: it has no
     * such verb. Denied where the identity may not. kms_disabling() says what else it does. */
    RC (*set_enabled)(struct key_provider *p, const char *version, bool enabled,
                      uint64_t deadline_us, struct err *e);
    /* get_tag(), set_tag(): a short text of ours on the key's newest version, among the owner's tags, which stay as they are. value "": there is no such
     * tag. NULL: the service has nothing like it, or we do not use it. Denied where the identity may not. */
    RC (*get_tag)(struct key_provider *p, const char *name, uint64_t deadline_us,
                  char value[KEY_TAG_MAX], struct err *e);
    RC (*set_tag)(struct key_provider *p, const char *name, const char *value, uint64_t deadline_us,
                  struct err *e);
    void (*free)(struct key_provider *p);
};

#endif
