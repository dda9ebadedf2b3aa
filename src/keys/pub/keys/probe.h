/* probe.h - one look at the key: can the canary be unwrapped, is the version in use valid, is there a newer one?
 *
 * The verdict is a class (design: states of a node), for state.h; the error says what was seen. [net] [any thread]
 */
#ifndef KEYS_PROBE_H
#define KEYS_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "keys/custody.h"
#include "keys/provider.h"

enum probe_class {
    PROBE_OK,
    PROBE_DENIED, /* the vault or the token endpoint says no */
    PROBE_THROTTLED,
    PROBE_UNREACHABLE,
    PROBE_BAD,        /* an answer that cannot be right: alarms, never revokes */
    PROBE_CREDENTIAL, /* the node has nothing to prove itself with: nobody was asked */
};
const char *probe_class_name(enum probe_class c); /* "ok", "denied", ... */
/* probe_class_of(): what an error of a provider means. */
enum probe_class probe_class_of(const struct err *e);

struct probe_options {
    bool fresh;          /* on a new connection */
    bool look_newer;     /* also ask which version is the newest */
    uint64_t timeout_us; /* for the whole probe */
};
struct probe_result {
    enum probe_class cls;
    struct err err; /* why not OK; not set when OK */
    bool newer;     /* look_newer: a valid newer version exists: custody_rewrap() to it */
    char newest[65];
    int64_t expires_s;    /* of the version in use, 0 = never */
    int64_t grace_ms;     /* tag on the customer's key, or an enum grace_tag */
    bool grace_malformed; /* there is one, but it is no duration */
    bool clock_known;
    int64_t clock_ahead_s; /* clock_known: the vault's, before this machine's */
    uint64_t took_us;
};
/* probe_run(): the provider here never sees an SMK, so it may work inside the server. The dates of the version in use are judged by
 * the vault's clock; a version that has expired while a newer valid one exists is OK with newer set. */
void probe_run(struct key_provider *p, const struct probe_target *t, const struct probe_options *o,
               struct probe_result *out);

/* probe_canary(): the heart of the probe: is the canary unwrapped to what it was? Errors: those of the provider. */
RC probe_canary(struct key_provider *p, const struct probe_target *t, bool fresh,
                uint64_t deadline_us, struct err *e);

/* key_info_valid(): enabled, begun, not expired (by the vault's own Date), and able to wrap and unwrap. Else ERR_KEY_DENIED naming it. */
RC key_info_valid(const struct key_info *i, bool for_wrap, struct err *e);

#endif
