/* preflight.c - see keys/preflight.h. */
#include "keys/preflight.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys_priv.h"

enum { EXPIRES_SOON_S = 30 * 86400 };

const char *preflight_verdict_name(enum preflight_verdict v)
{
    static const char *const names[] = { [PREFLIGHT_OK] = "ok",
                                         [PREFLIGHT_FAILED] = "failed",
                                         [PREFLIGHT_WARNING] = "warning",
                                         [PREFLIGHT_UNKNOWN] = "unknown" };

    return names[v];
}

const char *preflight_rule_name(enum preflight_rule r)
{
    static const char *const names[PREFLIGHT_NR] = {
#define PREFLIGHT_NAME(id, name) [PREFLIGHT_##id] = (name),
        PREFLIGHT_RULES(PREFLIGHT_NAME)
#undef PREFLIGHT_NAME
    };

    return names[r];
}

/* ---- verdicts ---- */

__attribute__((format(printf, 4, 5))) static void say(struct preflight *f, enum preflight_rule r,
                                                      enum preflight_verdict v, const char *format,
                                                      ...)
{
    va_list ap;

    va_start(ap, format);
    f->rule[r].verdict = v;
    (void)vsnprintf(f->rule[r].text, sizeof(f->rule[r].text), format, ap);
    va_end(ap);
    if (v == PREFLIGHT_FAILED && f->n_failed++ == 0)
        f->first = ERR_KEY_DENIED;
}

/* A call that failed: its class goes with it. */
static void say_error(struct preflight *f, enum preflight_rule r, const struct err *why)
{
    bool first = f->n_failed == 0;

    say(f, r, PREFLIGHT_FAILED, "%s", why->msg);
    f->token_refused |= why->code == ERR_KEY_TOKEN_REFUSED;
    if (first)
        f->first = why->code;
}

/* ---- what only trying tells ---- */

static void try_wrap(struct key_provider *p, uint64_t deadline_us, const struct secret *plain,
                     struct wrapped_key *w, struct preflight *f)
{
    struct err why = { 0 };

    memset(w, 0, sizeof(*w));
    if (p->wrap(p, f->have_key ? f->key.version : NULL, plain, deadline_us, w, &why).failed) {
        memset(w, 0, sizeof(*w));
        say_error(f, PREFLIGHT_WRAP, &why);
        return;
    }
    say(f, PREFLIGHT_WRAP, PREFLIGHT_OK, "32 random bytes were wrapped with %s", w->alg);
}

static void try_unwrap(struct key_provider *p, uint64_t deadline_us, const struct secret *plain,
                       const struct wrapped_key *w, struct preflight *f)
{
    AUTO(secret_freep) struct secret *back = NULL;
    struct err why = { 0 };

    if (w->len == 0) {
        say(f, PREFLIGHT_UNWRAP, PREFLIGHT_UNKNOWN, "nothing could be wrapped to unwrap again");
        return;
    }
    if (p->unwrap(p, w, /* fresh= */ true, deadline_us, &back, &why).failed) {
        say_error(f, PREFLIGHT_UNWRAP, &why);
        return;
    }
    if (!secret_equal(plain, back)) {
        why.code = ERR_KEY_BAD_ANSWER;
        (void)snprintf(why.msg, sizeof(why.msg),
                       "the vault unwrapped something else than it wrapped");
        say_error(f, PREFLIGHT_UNWRAP, &why);
        return;
    }
    say(f, PREFLIGHT_UNWRAP, PREFLIGHT_OK, "and unwrapped again, on a new connection");
}

static void try_in_use(struct key_provider *p, uint64_t deadline_us, const struct probe_target *t,
                       struct preflight *f)
{
    struct err why = { 0 };

    if (probe_canary(p, t, /* fresh= */ true, deadline_us, &why).failed) {
        say_error(f, PREFLIGHT_IN_USE, &why);
        return;
    }
    say(f, PREFLIGHT_IN_USE, PREFLIGHT_OK, "it unwraps what the cluster has wrapped");
}

/* A vault takes only tokens of its own tenant: there is no other way to ask it. */
static void judge_tenant(struct preflight *f)
{
    if (f->have_key)
        say(f, PREFLIGHT_TENANT, PREFLIGHT_OK, "the vault takes the identity's token");
    else if (f->token_refused)
        say(f, PREFLIGHT_TENANT, PREFLIGHT_FAILED,
            "the vault takes no token of the identity's tenant");
    else
        say(f, PREFLIGHT_TENANT, PREFLIGHT_UNKNOWN, "the vault did not say");
}

/* ---- what the key says of itself ---- */

static void judge_region(const char *wanted, struct preflight *f)
{
    const char *has = f->key.region;

    if (!*wanted)
        say(f, PREFLIGHT_REGION, PREFLIGHT_UNKNOWN, "the cluster's region is not set");
    else if (!*has)
        say(f, PREFLIGHT_REGION, PREFLIGHT_UNKNOWN, "the vault does not say where it is");
    else
        say(f, PREFLIGHT_REGION, strcasecmp(wanted, has) == 0 ? PREFLIGHT_OK : PREFLIGHT_FAILED,
            "the vault is in %s, the cluster in %s", has, wanted);
}

static void judge_kind(struct preflight *f)
{
    const struct key_info *k = &f->key;
    bool rsa = strncmp(k->kty, "RSA", 3) == 0;
    bool size = k->bits == 2048 || k->bits == 3072 || k->bits == 4096;

    if (k->wrong_type)
        say(f, PREFLIGHT_TYPE, PREFLIGHT_FAILED, "%s: the SMK cannot be wrapped with such a key",
            k->kty);
    else
        say(f, PREFLIGHT_TYPE, *k->kty ? PREFLIGHT_OK : PREFLIGHT_UNKNOWN, "%s",
            *k->kty ? k->kty : "the vault does not say");
    if (!rsa)
        say(f, PREFLIGHT_SIZE, PREFLIGHT_UNKNOWN, "the rule is one for RSA keys");
    else
        say(f, PREFLIGHT_SIZE, size ? PREFLIGHT_OK : PREFLIGHT_FAILED,
            "%d bits; 2048, 3072 and 4096 are allowed", k->bits);
}

static void judge_life(struct preflight *f)
{
    const struct key_info *k = &f->key;

    say(f, PREFLIGHT_ENABLED, k->enabled ? PREFLIGHT_OK : PREFLIGHT_FAILED, "version %s is %s",
        k->version, k->enabled ? "enabled" : "disabled");
    if (k->not_before_s && k->server_date_s < k->not_before_s)
        say(f, PREFLIGHT_DATES, PREFLIGHT_FAILED, "version %s is not valid yet", k->version);
    else if (k->expires_s && k->server_date_s >= k->expires_s)
        say(f, PREFLIGHT_DATES, PREFLIGHT_FAILED, "version %s has expired", k->version);
    else if (k->expires_s && k->expires_s - k->server_date_s < EXPIRES_SOON_S)
        say(f, PREFLIGHT_DATES, PREFLIGHT_WARNING, "version %s expires in %lld days", k->version,
            (long long)((k->expires_s - k->server_date_s) / 86400));
    else
        say(f, PREFLIGHT_DATES, PREFLIGHT_OK, "%s",
            k->expires_s ? "valid" : "valid; never expires");
    if (k->can_wrap && k->can_unwrap)
        say(f, PREFLIGHT_OPERATIONS, PREFLIGHT_OK, "the key's operations include both");
    else
        say(f, PREFLIGHT_OPERATIONS, PREFLIGHT_FAILED, "the key's operations lack %s%s%s",
            k->can_wrap ? "" : "wrapKey", k->can_wrap || k->can_unwrap ? "" : " and ",
            k->can_unwrap ? "" : "unwrapKey");
}

/* "Purgeable", "Recoverable+Purgeable", "Recoverable", "CustomizedRecoverable+ProtectedSubscription", ... */
static void judge_deletion(struct preflight *f)
{
    const char *level = f->key.recovery_level;

    if (!*level) {
        say(f, PREFLIGHT_SOFT_DELETE, PREFLIGHT_UNKNOWN, "the vault does not say");
        say(f, PREFLIGHT_PURGE, PREFLIGHT_UNKNOWN, "the vault does not say");
        return;
    }
    say(f, PREFLIGHT_SOFT_DELETE, strstr(level, "Recoverable") ? PREFLIGHT_OK : PREFLIGHT_FAILED,
        "the recovery level is %s", level);
    say(f, PREFLIGHT_PURGE, strstr(level, "Purgeable") ? PREFLIGHT_FAILED : PREFLIGHT_OK,
        "the recovery level is %s", level);
}

static void judge_grace(struct preflight *f)
{
    if (f->key.grace_malformed)
        say(f, PREFLIGHT_GRACE, PREFLIGHT_WARNING,
            "the tag coffer-grace-period is no duration (\"90s\", \"10min\", \"1h\"): the setting's holds");
    else if (f->key.grace_ms == GRACE_UNREAD)
        say(f, PREFLIGHT_GRACE, PREFLIGHT_WARNING,
            "the tag coffer-grace-period could not be read (%s): what was read of it before holds, else the setting's",
            f->key.grace_why);
    else if (f->key.grace_ms >= 0)
        say(f, PREFLIGHT_GRACE, PREFLIGHT_OK, "%lld s", (long long)(f->key.grace_ms / 1000));
    else
        say(f, PREFLIGHT_GRACE, PREFLIGHT_OK, "no tag: the setting's holds");
}

static void judge_key(const struct preflight_options *o, struct preflight *f)
{
    if (!f->have_key) {
        for (int r = PREFLIGHT_REGION; r < PREFLIGHT_NR; r++)
            say(f, (enum preflight_rule)r, PREFLIGHT_UNKNOWN, "the key could not be read");
        return;
    }
    judge_region(o->region ? o->region : "", f);
    judge_kind(f);
    judge_life(f);
    judge_deletion(f);
    judge_grace(f);
}

void preflight_run(struct key_provider *p, const struct preflight_options *o, struct preflight *out)
{
    AUTO(secret_freep) struct secret *plain = NULL;
    struct wrapped_key w = { 0 };
    struct err why = { 0 };

    memset(out, 0, sizeof(*out));
    out->have_key = !p->get_key(p, NULL, clock_mono_us() + o->timeout_us, &out->key, &why).failed;
    if (out->have_key)
        say(out, PREFLIGHT_GET, PREFLIGHT_OK, "version %s", out->key.version);
    else
        say_error(out, PREFLIGHT_GET, &why);
    err_reset(&why);
    if (secret_random(CANARY_LEN, &plain, &why).failed) {
        say_error(out, PREFLIGHT_WRAP, &why);
    } else {
        try_wrap(p, clock_mono_us() + o->timeout_us, plain, &w, out);
        try_unwrap(p, clock_mono_us() + o->timeout_us, plain, &w, out);
    }
    if (o->in_use)
        try_in_use(p, clock_mono_us() + o->timeout_us, o->in_use, out);
    else
        say(out, PREFLIGHT_IN_USE, PREFLIGHT_OK, "nothing of this cluster is wrapped with it yet");
    judge_tenant(out);
    judge_key(o, out);
}

RC preflight_require(const struct preflight *f, struct err *e)
{
    char names[120] = "";
    const char *text = "";

    if (f->n_failed == 0)
        return RC_OK;
    for (int r = 0; r < PREFLIGHT_NR; r++) {
        if (f->rule[r].verdict != PREFLIGHT_FAILED)
            continue;
        size_t len = strlen(names);
        if (!*names)
            text = f->rule[r].text;
        (void)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "",
                       preflight_rule_name((enum preflight_rule)r));
    }
    rc_t rc = err_set(e, f->first, __FILE__, __LINE__, "the key cannot be used (%s)", names);
    err_detail(e, "%s", text);
    return rc;
}
