/* unlock.c - see unlock.h. */
#include "unlock.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "keys/preflight.h"
#include "keys/probe.h"
#include "provider.h"

/* A directory without an envelope is a new cluster only if nothing else is in it: an envelope that was lost must not be replaced by a new one. */
static RC check_empty(struct process *p, struct err *e)
{
    DIR *d = opendir(p->data_dir);
    if (!d)
        return file_err(e, errno, "open", p->data_dir);
    struct dirent *entry;
    char found[256] = "";
    while (!*found && (entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            memcpy(found, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(d);
    if (*found)
        FAIL(
            e, ERR_FOREIGN_FILE,
            "the data directory \"%s\" has no key envelope but holds \"%s\": it is no new cluster, and no CofferDB data that can be opened",
            p->data_dir, found);
    return RC_OK;
}

static void log_preflight(const struct preflight *f)
{
    for (int r = 0; r < PREFLIGHT_NR; r++)
        if (f->rule[r].verdict == PREFLIGHT_FAILED)
            log_event(EV_KEY_RULE_BROKEN,
                      KV_STR("rule", preflight_rule_name((enum preflight_rule)r)),
                      KV_STR("found", f->rule[r].text));
}

/* A new cluster takes no key that breaks a rule: every one that does is logged, and named in the error. */
static RC check_new_key(struct process *p, const struct custody_config *cc, struct err *e)
{
    AUTO(provider_freep) struct key_provider *prober = NULL;
    AUTO(mem_freep) struct preflight *f = NEW(struct preflight);
    struct preflight_options o = { .timeout_us = cc->timeout_us,
                                   .region = settings_str(p->set, SET_REGION) };
    struct keyconf conf;
    if (cc->mode != KEY_MODE_CMK)
        return RC_OK;
    process_conf(p, &conf);
    rc_t rc = provider_for_probe(p, &conf, &prober, e);
    keyconf_fini(&conf);
    TRY(rc);
    preflight_run(prober, &o, f);
    log_preflight(f);
    if (f->have_key)
        p->start_grace_ms = f->key.grace_ms;
    return preflight_require(f, e);
}

static void report_open(const struct custody_report *r)
{
    if (r->repaired)
        log_event0(EV_ENVELOPE_REPAIRED);
    if (r->degraded)
        log_err(EV_ENVELOPE_DEGRADED, &r->degraded_err, NULL, 0);
    if (r->adopted)
        log_event0(EV_ENVELOPE_ADOPTED);
    if (r->resumed)
        log_event(EV_ENVELOPE_ROTATION, KV_BOOL("finished", true));
    if (r->pending)
        log_err(EV_ENVELOPE_ROTATION, &r->pending_err, NULL, 0);
}

static RC open_or_create(struct process *p, const struct custody_config *cc, enum making *making,
                         struct custody **out, bool *created, struct err *e)
{
    if (custody_exists(p->data_dir)) {
        struct custody_report report = { 0 };
        TRY(custody_open(cc, out, &report, e));
        report_open(&report);
        return RC_OK;
    }
    if (*making == MAKING_NEW)
        custody_clean(p->data_dir);
    TRY(check_empty(p, e));
    TRY(check_new_key(p, cc, e));
    TRY(making_begin(p, MAKING_NEW, e));
    *making = MAKING_NEW;
    TRY(custody_create(cc, out, e));
    *created = true;
    return RC_OK;
}

/* A key that is disabled, or whose dates are over, counts as refused even where the vault would still unwrap with it: so it is asked first. */
static RC check_not_denied(struct process *p, const struct custody_config *cc, struct err *e)
{
    AUTO(provider_freep) struct key_provider *prober = NULL;
    struct probe_target target;
    struct probe_result r;
    struct probe_options o = { .fresh = true, .timeout_us = cc->timeout_us, .look_newer = true };
    struct keyconf conf;
    TRY(custody_read_target(cc, &target, e));
    process_conf(p, &conf);
    rc_t rc = provider_for_probe(p, &conf, &prober, e);
    keyconf_fini(&conf);
    TRY(rc);
    probe_run(prober, &target, &o, &r);
    if (r.cls == PROBE_OK)
        p->start_grace_ms = r.grace_ms;
    if (r.cls == PROBE_DENIED) {
        *e = r.err;
        return RC_FAILED;
    }
    return RC_OK;
}

RC unlock_keys(struct process *p, enum making *making, struct custody **out, struct err *e)
{
    bool created = false;
    *out = NULL;
    AUTO(provider_freep) struct key_provider *provider = NULL;
    struct keyconf conf;
    process_conf(p, &conf);
    enum key_mode mode = conf.mode;
    rc_t made = provider_for_smk(p, &conf, !custody_exists(p->data_dir), &provider, e);
    keyconf_fini(&conf);
    TRY(made);
    struct custody_config cc = {
        .dir = p->data_dir,
        .pin_path = p->pin_path,
        .mode = mode,
        .provider = provider,
        .timeout_us = settings_us(p->set, SET_PROBE_TIMEOUT) * 2,
        .adopt = *making == MAKING_RESTORE || settings_bool(p->set, SET_ADOPT),
    };
    /* Not twice: of many nodes at a vault that takes few requests, the one that needs fewest gets on. */
    if (mode == KEY_MODE_CMK && custody_exists(p->data_dir) && !p->handoff.key_seen)
        TRY(check_not_denied(p, &cc, e));
    struct custody *k = NULL;
    TRY(open_or_create(p, &cc, making, &k, &created, e));
    if (process_settle_conf(p, e).failed) {
        custody_free(k);
        return RC_FAILED;
    }
    custody_set_provider(k, NULL); /* the helper ends here; a rotation starts another */
    struct custody_status st;
    custody_status(k, &st);
    log_event(created ? EV_KEY_CREATED : EV_KEY_UNSEALED, KV_STR("mode", key_mode_name(st.mode)),
              KV_U64("generation", st.current), KV_STR("version", st.version),
              KV_U64("envelope", st.sequence), KV_HEX("lineage", st.lineage, LINEAGE_LEN));
    *out = k;
    return RC_OK;
}

bool unlock_may_wait(const struct err *e)
{
    switch (e->code) {
    case ERR_KEY_UNREACHABLE:
    case ERR_KEY_THROTTLED:
    case ERR_KEY_DENIED:
    case ERR_KEY_NOT_FOUND:
    case ERR_KEY_BAD_ANSWER:
    case ERR_KEY_TOKEN_REFUSED:
    case ERR_KEY_CREDENTIAL:
    case ERR_TIMEOUT: return true;
    default: return false;
    }
}
