/* keyops.c - see keyops.h. */
#include "keyops.h"

#include <string.h>

#include "base/mem.h"
#include "keyctl.h"
#include "needs.h"
#include "rotator.h"

/* ---- keyShow ----------------------------------------------------------------------------------------------------- */

static void show_version(const char *version, int64_t since_s, void *arg)
{
    struct bw *w = arg;

    bw_doc_begin(w, NULL);
    bw_str(w, "version", version);
    bw_date(w, "since", since_s * 1000);
    bw_doc_end(w);
}

/* Every generation with the versions of the key that ever wrapped it, oldest first: an old copy of the envelope, and nothing else, still needs one of
 * those before the last. */
static void show_generations(struct custody *k, const struct custody_status *st, struct bw *w)
{
    bw_array_begin(w, "generations");
    for (size_t i = 0; i < st->n; i++) {
        const struct generation_status *g = &st->row[i];

        bw_doc_begin(w, NULL);
        bw_i32(w, "generation", (int32_t)g->gen);
        bw_bool(w, "current", g->gen == st->current);
        bw_str(w, "state", gen_state_name(g->state));
        bw_bool(w, "exposed", g->exposed);
        bw_str(w, "version", g->version);
        bw_array_begin(w, "wrappedBy");
        custody_versions(k, g->gen, show_version, w);
        bw_array_end(w);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

static void show_configuration(struct process *p, struct bw *w)
{
    struct keyconf conf;

    process_conf(p, &conf);
    bw_doc_begin(w, "configuration");
    keyconf_show(&conf, w);
    if (*conf.alias_from) {
        bw_str(w, "versionInEnvelope", conf.alias_from);
        bw_str(w, "versionInVault", conf.alias_to);
    }
    bw_doc_end(w);
    keyconf_fini(&conf);
}

RC keyops_show(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct status_source *s = &((struct ops_ctx *)ctx)->source;
    AUTO(mem_freep) struct custody_status *st = s->custody ? NEW(struct custody_status) : NULL;

    (void)args;
    (void)e;
    if (st)
        custody_status(s->custody, st);
    bw_str(w, "cluster", settings_str(s->process->set, SET_CLUSTER_NAME));
    bw_str(w, "mode", key_mode_name(process_mode(s->process)));
    show_configuration(s->process, w);
    if (st) {
        bw_doc_begin(w, "key");
        bw_str(w, "version", st->version);
        bw_str(w, "alg", st->alg);
        bw_date(w, "wrapped", st->wrapped_s * 1000);
        bw_doc_end(w);
    }
    if (keyloop_is_active(s->loop) || !s->custody)
        keyloop_status(s->loop, w);
    else
        bw_str(w, "state", key_state_name(KEY_READY));
    if (st) {
        bw_str(w, "rotation", rotation_state_name(st->rotation));
        bw_bool(w, "degraded", st->degraded);
        show_generations(s->custody, st, w);
    }
    needs_write(s, w);
    return RC_OK;
}

/* ---- what is asked for -------------------------------------------------------------------------------------------- */

static bool is_key_field(struct slice name)
{
    for (int f = 0; f < KEYCONF_NR; f++)
        if (slice_eq_str(name, keyconf_name((enum keyconf_field)f)))
            return true;
    return false;
}

static bool names_a_key(struct bdoc args)
{
    struct biter it;

    biter_init(&it, args);
    while (biter_next(&it))
        if (is_key_field(it.name))
            return true;
    return false;
}

/* also: the one field that the operation takes besides; "" = none. */
static RC check_fields(struct bdoc args, const char *also, struct err *e)
{
    struct biter it;

    biter_init(&it, args);
    while (biter_next(&it))
        if (!is_key_field(it.name) && !slice_eq_str(it.name, also))
            FAIL(e, ERR_BAD_VALUE, "the operation takes no field \"%.*s\"",
                 (int)MIN(it.name.len, (size_t)60), (const char *)it.name.p);
    return RC_OK;
}

/* The configuration in force, with the fields that are given in place of its own. */
static RC read_conf(struct ops_ctx *o, struct bdoc args, const char *also, struct keyconf *out,
                    struct err *e)
{
    TRY(check_fields(args, also, e));
    process_conf(o->source.process, out);
    for (int f = 0; f < KEYCONF_NR; f++) {
        AUTO(mem_freep) char *value = NULL;

        TRY(admin_arg_str(args, keyconf_name((enum keyconf_field)f), &value, e));
        if (value)
            keyconf_set(out, (enum keyconf_field)f, value);
    }
    return RC_OK;
}

static void show_result(struct ops_ctx *o, struct bw *w)
{
    bw_str(w, "mode", key_mode_name(process_mode(o->source.process)));
    if (!o->source.custody)
        return;
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    custody_status(o->source.custody, st);
    bw_str(w, "version", st->version);
    bw_i32(w, "generation", (int32_t)st->current);
    bw_i64(w, "envelope", (int64_t)st->sequence);
}

/* ---- keyCheck ------------------------------------------------------------------------------------------------------ */

static void show_preflight(const struct preflight *f, struct bw *w)
{
    bw_bool(w, "usable", f->n_failed == 0);
    if (f->have_key)
        bw_str(w, "version", f->key.version);
    bw_array_begin(w, "rules");
    for (int r = 0; r < PREFLIGHT_NR; r++) {
        bw_doc_begin(w, NULL);
        bw_str(w, "rule", preflight_rule_name((enum preflight_rule)r));
        bw_str(w, "verdict", preflight_verdict_name(f->rule[r].verdict));
        bw_str(w, "found", f->rule[r].text);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

RC keyops_check(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    AUTO(mem_freep) struct preflight *found = NEW(struct preflight);
    AUTO(keyconf_fini) struct keyconf to = KEYCONF_INIT;

    TRY(read_conf(o, args, "", &to, e));
    if (names_a_key(args))
        to.mode = KEY_MODE_CMK; /* a cluster in SMK mode may ask before it switches */
    if (to.mode != KEY_MODE_CMK)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "this cluster is in smk mode: name the key that is to be checked");
    TRY(keyctl_check(o->keys, &to, found, e));
    show_preflight(found, w);
    return RC_OK;
}

/* ---- keySet, keySwitch, keyFollow ---------------------------------------------------------------------------------- */

/* A change that may make a new generation because the older ones are not to be trusted. */
struct wanted {
    struct ops_ctx *o;
    const struct keyconf *to; /* NULL: the newest version of the same key */
    bool compromised;
};

static RC change(void *arg, struct err *e)
{
    const struct wanted *c = arg;

    if (!c->to)
        return keyctl_follow(c->o->keys, KEYCTL_ASKED, NULL, c->compromised, e);
    return keyctl_set(c->o->keys, c->to, c->compromised, e);
}

/* While sealed there is no rotator, and the change says itself that it needs the keys. */
static RC change_urgently(struct wanted *c, struct err *e)
{
    struct rotator *r = c->o->source.rotator;

    return c->compromised && r ? rotator_urgently(r, change, c, e) : change(c, e);
}

RC keyops_set(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    AUTO(keyconf_fini) struct keyconf to = KEYCONF_INIT;
    bool compromised;

    TRY(admin_arg_bool(args, "compromised", &compromised, e));
    TRY(read_conf(o, args, "compromised", &to, e));
    if (!names_a_key(args))
        FAIL(e, ERR_BAD_VALUE, "name what is to be another: key-url, client-id, ...");
    if (to.mode != KEY_MODE_CMK)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "this cluster is in smk mode: switch it to a customer's key (cluster key switch)");
    struct wanted c = { .o = o, .to = &to, .compromised = compromised };
    TRY(change_urgently(&c, e));
    show_result(o, w);
    return RC_OK;
}

RC keyops_switch(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    AUTO(keyconf_fini) struct keyconf to = KEYCONF_INIT;
    AUTO(mem_freep) char *mode = NULL;

    TRY(admin_arg_str(args, "key-mode", &mode, e));
    TRY(read_conf(o, args, "key-mode", &to, e));
    bool to_cmk = mode && strcmp(mode, "cmk") == 0, to_smk = mode && strcmp(mode, "smk") == 0;
    if (!to_cmk && !to_smk)
        FAIL(e, ERR_BAD_VALUE, "the field \"key-mode\" is needed: smk or cmk");
    enum key_mode next = to_cmk ? KEY_MODE_CMK : KEY_MODE_SMK;
    if (next == to.mode)
        FAIL(e, ERR_ILLEGAL_OPERATION, "this cluster is in %s mode already", mode);
    if (to_smk && names_a_key(args))
        FAIL(e, ERR_BAD_VALUE, "the service's key needs no description of a key");
    to.mode = next;
    TRY(keyctl_set(o->keys, &to, /* new_generation= */ true, e));
    show_result(o, w);
    return RC_OK;
}

RC keyops_follow(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    bool compromised;

    TRY(admin_arg_bool(args, "compromised", &compromised, e));
    struct wanted c = { .o = o, .compromised = compromised };
    TRY(change_urgently(&c, e));
    show_result(o, w);
    return RC_OK;
}
