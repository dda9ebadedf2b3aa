/* keyctl.c - see keyctl.h. */
#include "keyctl.h"

#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "provider.h"
#include "store/store.h"

void keyctl_init(struct keyctl *k, struct process *p)
{
    *k = (struct keyctl){ .process = p };
    mutex_init(&k->lock);
    cond_init(&k->free);
}

void keyctl_fini(struct keyctl *k)
{
    cond_fini(&k->free);
    mutex_fini(&k->lock);
}

/* ---- one at a time ----------------------------------------------------------------------------------------------- */

static uint64_t call_timeout_us(const struct keyctl *k)
{
    return settings_us(k->process->set, SET_PROBE_TIMEOUT) * 2;
}

static RC begin(struct keyctl *k, enum keyctl_who who, struct err *e)
{
    uint64_t until = clock_mono_us() + call_timeout_us(k);

    mutex_lock(&k->lock);
    while (who == KEYCTL_ASKED && k->busy && k->itself &&
           cond_wait_until(&k->free, &k->lock, until)) {
    }
    bool busy = k->busy;
    if (!busy) {
        k->busy = true;
        k->itself = who == KEYCTL_ITSELF;
    }
    mutex_unlock(&k->lock);
    if (busy)
        FAIL(e, ERR_CONFLICT, "another change of this cluster's keys is under way");
    return RC_OK;
}

static void end(struct keyctl *k)
{
    mutex_lock(&k->lock);
    k->busy = false;
    cond_broadcast(&k->free);
    mutex_unlock(&k->lock);
}

static RC need_ready(const struct keyctl *k, struct err *e)
{
    if (!k->custody)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "the cluster is Inaccessible: what wraps the SMK anew needs it to be Ready");
    return RC_OK;
}

/* The envelope moved on: an older one is refused from now on. A failure is made good by the next change, or the next start. */
static void pin_envelope(struct keyctl *k, struct custody_status *st)
{
    struct err e = { 0 };

    custody_status(k->custody, st);
    if (store_pin_envelope(k->store, st->sequence, &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
}

static RC with_provider(struct keyctl *k, keyctl_fn fn, void *arg, struct err *e)
{
    AUTO(provider_freep) struct key_provider *provider = NULL;
    struct keyconf conf;

    process_conf(k->process, &conf);
    rc_t rc = provider_for_smk(k->process, &conf, /* make_root= */ false, &provider, e);
    keyconf_fini(&conf);
    TRY(rc);
    custody_set_provider(k->custody, provider);
    rc = fn(k->custody, arg, e);
    custody_set_provider(k->custody, NULL);
    return rc;
}

RC keyctl_with_provider(struct keyctl *k, enum keyctl_who who, keyctl_fn fn, void *arg,
                        struct err *e)
{
    struct custody_status *st;

    TRY(need_ready(k, e));
    TRY(begin(k, who, e));
    rc_t rc = with_provider(k, fn, arg, e);
    st = NEW(struct custody_status);
    pin_envelope(k, st);
    if (rc.failed && st->rotation != ROT_IDLE)
        err_wrap(e, "what was begun goes on by itself when the key can be used");
    mem_free(st);
    end(k);
    return rc;
}

/* ---- a newer version of the same key ------------------------------------------------------------------------------ */

struct follow {
    const char *version;
    bool compromised;
};

static RC follow(struct custody *custody, void *arg, struct err *e)
{
    const struct follow *f = arg;

    if (f->compromised)
        return custody_new_generation(custody, e);
    return custody_rewrap(custody, f->version, e);
}

/* The envelope names a version of this vault now: nothing has to be translated any more. */
static void drop_alias(struct keyctl *k)
{
    struct keyconf conf;
    struct err e = { 0 };

    process_conf(k->process, &conf);
    if (*conf.alias_from) {
        conf.alias_from[0] = conf.alias_to[0] = '\0';
        if (keyconf_write(k->process->conf_path, &conf, &e).failed)
            /* it does no harm: that version is never asked for again */
            log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
        else
            process_set_conf(k->process, &conf);
    }
    keyconf_fini(&conf);
}

static RC follow_alone(struct keyctl *k, const struct follow *f, struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);

    custody_status(k->custody, st);
    uint64_t before = st->sequence;
    TRY(with_provider(k, follow, (void *)(uintptr_t)f, e));
    pin_envelope(k, st);
    if (st->sequence == before)
        return RC_OK;
    drop_alias(k);
    metric_add(M_KEY_REWRAPS, 1);
    log_event(EV_KEY_REWRAPPED, KV_STR("version", st->version), KV_U64("generation", st->current),
              KV_U64("envelope", st->sequence));
    return RC_OK;
}

RC keyctl_follow(struct keyctl *k, enum keyctl_who who, const char *version, bool compromised,
                 struct err *e)
{
    struct follow f = { .version = version, .compromised = compromised };

    TRY(need_ready(k, e));
    if (process_mode(k->process) != KEY_MODE_CMK)
        FAIL(e, ERR_ILLEGAL_OPERATION, "this cluster is in smk mode: there is no customer's key");
    TRY(begin(k, who, e));
    rc_t rc = follow_alone(k, &f, e);
    end(k);
    return rc;
}

/* ---- another key, vault, identity or mode -------------------------------------------------------------------------- */

/* A change under way. */
struct change {
    struct keyconf from, to;
    bool new_generation;
    bool same_key;              /* only the way to the key changes: the envelope stays as it is */
    struct probe_target target; /* have_target: the canary in use */
    bool have_target;
    struct preflight found;
};

static void change_freep(struct change **c)
{
    if (!*c)
        return;
    keyconf_fini(&(*c)->from);
    keyconf_fini(&(*c)->to);
    mem_freep(c);
}

static RC read_target(struct keyctl *k, struct change *c, struct err *e)
{
    struct process *p = k->process;
    struct custody_config cc = { .dir = p->data_dir,
                                 .pin_path = p->pin_path,
                                 .mode = c->from.mode,
                                 .adopt = settings_bool(p->set, SET_ADOPT) };

    if (c->from.mode != KEY_MODE_CMK)
        return RC_OK;
    c->have_target = true;
    if (!k->custody)
        return custody_read_target(&cc, &c->target, e);
    custody_probe_target(k->custody, &c->target);
    return RC_OK;
}

static RC change_new(struct keyctl *k, const struct keyconf *to, struct change **out, struct err *e)
{
    AUTO(change_freep) struct change *c = NEW(struct change);

    *out = NULL;
    TRY(keyconf_check(to, e));
    process_conf(k->process, &c->from);
    keyconf_copy(to, &c->to);
    c->to.next_version[0] = '\0';
    c->same_key = keyconf_same_key(&c->from, &c->to);
    if (!c->same_key)
        c->to.alias_from[0] = c->to.alias_to[0] = '\0';
    TRY(read_target(k, c, e));
    *out = TAKE(c);
    return RC_OK;
}

/* The other vault has the key that wrapped the SMK if it has, under the same version or as its newest one, the same public key, and if it unwraps
 * the canary. The proof is the canary; the public key decides which version is tried. */
static RC find_same_material(struct keyctl *k, struct change *c, struct err *e)
{
    AUTO(provider_freep) struct key_provider *p = NULL;
    struct custody_root root;
    struct key_info info;
    struct err why = { 0 };
    const char *in_use = c->target.canary.version;

    TRY(custody_root(k->process->data_dir, &root, e));
    TRY(provider_for_probe(k->process, &c->to, &p, e));
    uint64_t deadline = clock_mono_us() + call_timeout_us(k);
    if (p->get_key(p, in_use, deadline, &info, &why).failed ||
        memcmp(info.public_sha256, root.key_sha256, sizeof(root.key_sha256)) != 0) {
        err_reset(&why);
        TRY(p->get_key(p, NULL, clock_mono_us() + call_timeout_us(k), &info, e));
        memcpy(c->to.alias_from, in_use, sizeof(c->to.alias_from));
        memcpy(c->to.alias_to, info.version, sizeof(c->to.alias_to));
    }
    if (memcmp(info.public_sha256, root.key_sha256, sizeof(root.key_sha256)) != 0)
        FAIL(
            e, ERR_ILLEGAL_OPERATION,
            "the key is not the one that wrapped the SMK: another one needs the cluster to be Ready");
    return RC_OK;
}

/* What an earlier change left: one that is in force, whose file could not be written, is written now; one that did not come into force is forgotten. */
static RC clear_the_way(struct keyctl *k, const struct keyconf *in_force, struct err *e)
{
    struct process *p = k->process;
    struct custody_root root;
    struct keyconf next;

    if (!path_exists(p->conf_next_path))
        return RC_OK;
    TRY(keyconf_read(p->conf_next_path, &next, e));
    bool done = keyconf_same_key(&next, in_force);
    rc_t rc = custody_root(p->data_dir, &root, e);
    bool unclear = !rc.failed && !done && keyconf_is_in_force(&next, &root);
    keyconf_fini(&next);
    TRY(rc);
    if (unclear)
        FAIL(e, ERR_CONFLICT,
             "an earlier change may have come into force after all: start the node again first");
    if (done)
        TRY(keyconf_write(p->conf_path, in_force, e));
    return file_remove(p->conf_next_path, e);
}

/* Everything that can be known before anything is changed. */
static RC look(struct keyctl *k, struct change *c, struct err *e)
{
    AUTO(provider_freep) struct key_provider *p = NULL;
    bool needs_canary = c->same_key || !k->custody;
    struct preflight_options o = { .timeout_us = call_timeout_us(k),
                                   .region = settings_str(k->process->set, SET_REGION) };

    if (c->to.mode != KEY_MODE_CMK)
        return RC_OK;
    if (needs_canary && c->have_target)
        o.in_use = &c->target;
    TRY(provider_for_probe(k->process, &c->to, &p, e));
    preflight_run(p, &o, &c->found);
    return RC_OK;
}

RC keyctl_check(struct keyctl *k, const struct keyconf *to, struct preflight *out, struct err *e)
{
    AUTO(change_freep) struct change *c = NULL;

    memset(out, 0, sizeof(*out));
    TRY(change_new(k, to, &c, e));
    struct err why = { 0 };
    bool other = !k->custody && !c->same_key && c->to.mode == KEY_MODE_CMK &&
                 find_same_material(k, c, &why).failed;
    TRY(look(k, c, e));
    *out = c->found;
    if (other && out->rule[PREFLIGHT_IN_USE].verdict == PREFLIGHT_FAILED)
        memcpy(out->rule[PREFLIGHT_IN_USE].text, why.msg,
               MIN(sizeof(why.msg), sizeof(out->rule[PREFLIGHT_IN_USE].text)));
    err_reset(&why);
    return RC_OK;
}

/* The envelope stays; the configuration is one file. */
static RC change_way(struct keyctl *k, struct change *c, struct err *e)
{
    TRY(keyloop_change_begin(k->loop, e));
    rc_t rc = keyconf_write(k->process->conf_path, &c->to, e);
    if (!rc.failed)
        process_set_conf(k->process, &c->to);
    keyloop_change_end(k->loop, /* changed= */ !rc.failed, c->found.key.grace_ms);
    TRY(rc);
    return fault_step("keychange.way-changed", "the change of the key", e);
}

/* What the envelope will say: the version is fixed here, so that a newer one cannot come in between. */
static RC fix_target(struct keyctl *k, struct key_provider *to, struct change *c, struct err *e)
{
    struct key_info info;

    TRY(to->get_key(to, NULL, clock_mono_us() + call_timeout_us(k), &info, e));
    memcpy(c->to.next_version, info.version, sizeof(c->to.next_version));
    memcpy(c->to.next_sha256, info.public_sha256, sizeof(c->to.next_sha256));
    return RC_OK;
}

/* The switch failed, or so it seems: the intention is forgotten only when the files say for sure that it did not come into force. */
static void withdraw(struct keyctl *k, struct change *c)
{
    struct custody_root root;
    struct err e = { 0 };

    if (custody_root(k->process->data_dir, &root, &e).failed ||
        keyconf_is_in_force(&c->to, &root) || file_remove(k->process->conf_next_path, &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
}

static RC take_over(struct keyctl *k, struct change *c, struct err *e)
{
    c->to.next_version[0] = '\0';
    process_set_conf(k->process, &c->to);
    TRY(fault_step("keychange.committed", "the change of the key", e));
    TRY(keyconf_write(k->process->conf_path, &c->to, e));
    TRY(fault_step("keychange.written", "the change of the key", e));
    return file_remove(k->process->conf_next_path, e);
}

static RC switch_root(struct keyctl *k, struct change *c, struct err *e)
{
    AUTO(provider_freep) struct key_provider *to = NULL;
    struct err late = { 0 };

    TRY(provider_for_smk(k->process, &c->to, /* make_root= */ true, &to, e));
    TRY(fix_target(k, to, c, e));
    TRY(keyconf_write(k->process->conf_next_path, &c->to, e));
    TRY(fault_step("keychange.intended", "the change of the key", e));
    struct custody_target target = { .mode = c->to.mode,
                                     .provider = to,
                                     .version = c->to.next_version,
                                     .new_generation = c->new_generation };
    if (keyloop_change_begin(k->loop, e).failed) {
        withdraw(k, c);
        return RC_FAILED;
    }
    rc_t rc = custody_switch(k->custody, &target, e);
    custody_set_provider(k->custody, NULL);
    if (rc.failed)
        withdraw(k, c);
    else if (take_over(k, c, &late).failed)
        /* it is in force; the next start makes the file good */
        log_err(EV_BACKGROUND_ERROR, &late, NULL, 0);
    keyloop_change_end(k->loop, !rc.failed, c->found.have_key ? c->found.key.grace_ms : -1);
    return rc;
}

static RC apply(struct keyctl *k, struct change *c, struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NULL;

    if (c->same_key || !k->custody)
        TRY(change_way(k, c, e));
    else
        TRY(switch_root(k, c, e));
    if (!k->custody) {
        log_event(EV_KEY_CHANGED, KV_STR("mode", key_mode_name(c->to.mode)),
                  KV_STR("url", c->to.value[KEYCONF_KEY_URL]));
        return RC_OK;
    }
    st = NEW(struct custody_status);
    pin_envelope(k, st);
    log_event(EV_KEY_CHANGED, KV_STR("mode", key_mode_name(c->to.mode)),
              KV_STR("url", c->to.value[KEYCONF_KEY_URL]), KV_STR("version", st->version),
              KV_U64("generation", st->current), KV_U64("envelope", st->sequence));
    return RC_OK;
}

static RC set_alone(struct keyctl *k, const struct keyconf *to, bool new_generation, struct err *e)
{
    AUTO(change_freep) struct change *c = NULL;

    TRY(change_new(k, to, &c, e));
    c->new_generation = new_generation;
    TRY(clear_the_way(k, &c->from, e));
    if (!k->custody && (c->to.mode != c->from.mode || new_generation))
        TRY(need_ready(k, e));
    if (c->same_key && c->to.mode == KEY_MODE_SMK)
        FAIL(e, ERR_ILLEGAL_OPERATION, "the cluster is in smk mode already: nothing to change");
    if (!k->custody && !c->same_key)
        TRY(find_same_material(k, c, e));
    TRY(look(k, c, e));
    if (c->to.mode == KEY_MODE_CMK)
        TRY(preflight_require(&c->found, e));
    if (c->same_key && new_generation)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "a new generation under the same key is made by keyFollow with compromised");
    return apply(k, c, e);
}

RC keyctl_set(struct keyctl *k, const struct keyconf *to, bool new_generation, struct err *e)
{
    TRY(begin(k, KEYCTL_ASKED, e));
    rc_t rc = set_alone(k, to, new_generation, e);
    end(k);
    if (rc.failed && e)
        log_err(EV_KEY_CHANGE_FAILED, e, NULL, 0);
    return rc;
}
