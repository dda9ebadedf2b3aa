/* preflight.h - can this key hold a cluster's SMK, and does it keep the rules? Everything that fails is listed, before anything is made or changed.
 *
 * It asks for the key, wraps random bytes with it and unwraps them again on a new connection; no SMK is involved, so the provider may work inside the
 * server. The rules are those of the reference service: RSA of 2048, 3072 or 4096 bits, enabled, begun and not expired by the vault's own clock, allowed
 * to wrap and unwrap, soft delete and purge protection on, in the cluster's region and tenant. [net] [any thread]
 */
#ifndef KEYS_PREFLIGHT_H
#define KEYS_PREFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "keys/probe.h"
#include "keys/provider.h"

enum preflight_verdict {
    PREFLIGHT_OK,
    PREFLIGHT_FAILED,
    PREFLIGHT_WARNING, /* allowed, but somebody should know */
    /* could not be looked at, because of what failed before, or because the vault does not say */
    PREFLIGHT_UNKNOWN,
};
const char *preflight_verdict_name(enum preflight_verdict v); /* "ok", "failed", ... */

/* The rules, in the order in which they are listed: PREFLIGHT_RULE(identifier, name). */
#define PREFLIGHT_RULES(RULE)                                                                      \
    RULE(GET, "get")                                                                               \
    RULE(WRAP, "wrapKey")                                                                          \
    RULE(UNWRAP, "unwrapKey")                                                                      \
    RULE(IN_USE, "keyInUse")                                                                       \
    RULE(TENANT, "tenant")                                                                         \
    RULE(REGION, "region")                                                                         \
    RULE(TYPE, "type")                                                                             \
    RULE(SIZE, "size")                                                                             \
    RULE(ENABLED, "enabled")                                                                       \
    RULE(DATES, "dates")                                                                           \
    RULE(OPERATIONS, "keyOps")                                                                     \
    RULE(SOFT_DELETE, "softDelete")                                                                \
    RULE(PURGE, "purgeProtection")                                                                 \
    RULE(GRACE, "gracePeriodTag")

enum preflight_rule {
#define PREFLIGHT_ID(id, name) PREFLIGHT_##id,
    PREFLIGHT_RULES(PREFLIGHT_ID)
#undef PREFLIGHT_ID
        PREFLIGHT_NR
};
const char *preflight_rule_name(enum preflight_rule r);

struct preflight_options {
    uint64_t timeout_us;
    const char *region; /* the cluster's; "" = not known, so not compared */
    /* the canary of the cluster: the key must unwrap it too (an identity that changes, a key of the same material); NULL: need not */
    const struct probe_target *in_use;
};
struct preflight {
    struct {
        enum preflight_verdict verdict;
        char text[ERR_MSG_MAX]; /* the names of keys in clouds alone are longer than a line */
    } rule[PREFLIGHT_NR];
    bool have_key; /* key is set */
    struct key_info key;
    bool token_refused; /* the vault answered that it does not take the identity's token */
    int n_failed;
    enum err_code first; /* the class of the first rule that failed */
};
void preflight_run(struct key_provider *p, const struct preflight_options *o,
                   struct preflight *out);
/* preflight_require(): RC_OK when nothing failed; else the first failure's code and a message that names every rule that failed. */
RC preflight_require(const struct preflight *f, struct err *e);

#endif
