/* probe.c - one look at the key. */
#include "keys/probe.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys_priv.h"

const char *probe_class_name(enum probe_class c)
{
    static const char *const name[] = { [PROBE_OK] = "ok",
                                        [PROBE_DENIED] = "denied",
                                        [PROBE_THROTTLED] = "throttled",
                                        [PROBE_UNREACHABLE] = "unreachable",
                                        [PROBE_BAD] = "bad",
                                        [PROBE_CREDENTIAL] = "credential" };

    return c <= PROBE_CREDENTIAL ? name[c] : "unknown";
}

enum probe_class probe_class_of(const struct err *e)
{
    switch (e->code) {
    case ERR_NONE: return PROBE_OK;
    case ERR_KEY_DENIED:
    case ERR_KEY_NOT_FOUND: return PROBE_DENIED;
    case ERR_KEY_THROTTLED: return PROBE_THROTTLED;
    case ERR_KEY_UNREACHABLE:
    case ERR_TIMEOUT: return PROBE_UNREACHABLE;
    case ERR_KEY_CREDENTIAL: return PROBE_CREDENTIAL;
    default: return PROBE_BAD;
    }
}

RC key_info_valid(const struct key_info *i, bool for_wrap, struct err *e)
{
    if (i->version[0] == '\0' || memchr(i->version, '\0', sizeof(i->version)) == NULL)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the vault described a key without a version");
    if (i->wrong_type)
        FAIL(e, ERR_KEY_BAD_ANSWER, "version %s of the key is of type %s, which cannot wrap",
             i->version, i->kty);
    if (!i->enabled)
        FAIL(e, ERR_KEY_DENIED, "version %s of the key is disabled", i->version);
    if (i->not_before_s && i->server_date_s < i->not_before_s)
        FAIL(e, ERR_KEY_DENIED, "version %s of the key is not valid yet", i->version);
    if (i->expires_s && i->server_date_s >= i->expires_s)
        FAIL(e, ERR_KEY_DENIED, "version %s of the key has expired", i->version);
    if (!i->can_unwrap || (for_wrap && !i->can_wrap))
        FAIL(e, ERR_KEY_DENIED, "version %s of the key does not allow %s", i->version,
             i->can_unwrap ? "wrapKey" : "unwrapKey");
    return RC_OK;
}

RC probe_canary(struct key_provider *p, const struct probe_target *t, bool fresh,
                uint64_t deadline_us, struct err *e)
{
    AUTO(secret_freep) struct secret *canary = NULL;
    uint8_t mac[CANARY_MAC_LEN];

    TRY(p->unwrap(p, &t->canary, fresh, deadline_us, &canary, e));
    if (secret_len(canary) != CANARY_LEN)
        FAIL(e, ERR_KEY_BAD_ANSWER, "%s unwrapped the canary to %zu bytes", p->name,
             secret_len(canary));
    TRY(env_canary_mac(canary, t->lineage, mac, e));
    if (!ct_equal(mac, t->mac, sizeof(mac)))
        FAIL(e, ERR_KEY_BAD_ANSWER, "%s unwrapped the canary to something else", p->name);
    return RC_OK;
}

/* look_newer(): a failure to learn about a newer version says nothing about the one in use. */
static void look_newer(struct key_provider *p, const struct probe_target *t, uint64_t deadline_us,
                       struct probe_result *out)
{
    struct key_info newest = { 0 };
    struct err ignored = { 0 };

    if (p->get_key(p, NULL, deadline_us, &newest, &ignored).failed ||
        key_info_valid(&newest, true, &ignored).failed)
        return;
    if (strcmp(newest.version, t->canary.version) == 0)
        return;
    out->newer = true;
    memcpy(out->newest, newest.version, sizeof(out->newest));
}

static RC probe(struct key_provider *p, const struct probe_target *t, const struct probe_options *o,
                uint64_t deadline_us, struct probe_result *out, struct err *e)
{
    struct key_info info = { 0 };
    struct err invalid = { 0 };

    TRY(probe_canary(p, t, o->fresh, deadline_us, e));
    TRY(p->get_key(p, t->canary.version, deadline_us, &info, e));
    if (strcmp(info.version, t->canary.version) != 0)
        FAIL(e, ERR_KEY_BAD_ANSWER, "%s described another version than asked for", p->name);
    out->expires_s = info.expires_s;
    out->clock_known = true;
    out->clock_ahead_s = info.server_date_s - clock_real_s();
    out->grace_ms = info.grace_ms;
    out->grace_malformed = info.grace_malformed;
    if (!key_info_valid(&info, false, &invalid).failed) {
        if (o->look_newer)
            look_newer(p, t, deadline_us, out);
        return RC_OK;
    }
    /* A vault lets an expired version unwrap: the judgement is ours. It is passed on the old version only when there is no newer
     * valid one to go to. A disabled one is refused by the vault itself and never comes here. */
    look_newer(p, t, deadline_us, out);
    if (out->newer && invalid.code == ERR_KEY_DENIED && info.enabled)
        return RC_OK;
    return err_take(e, &invalid);
}

void probe_run(struct key_provider *p, const struct probe_target *t, const struct probe_options *o,
               struct probe_result *out)
{
    uint64_t began = clock_mono_us();

    memset(out, 0, sizeof(*out));
    out->grace_ms = -1;
    (void)!probe(p, t, o, began + o->timeout_us, out, &out->err).failed;
    out->cls = probe_class_of(&out->err);
    out->took_us = clock_mono_us() - began;
}
