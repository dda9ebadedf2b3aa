/* custody.c - making, opening and saving the keys of one cluster. Rotation is in custody_rotate.c. */
#include "keys/custody.h"

#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/inspect.h"
#include "keys/probe.h"
#include "keys_priv.h"

const char *key_mode_name(enum key_mode m)
{
    return m == KEY_MODE_SMK ? "smk" : m == KEY_MODE_CMK ? "cmk" : "unknown";
}

const char *gen_state_name(enum gen_state s)
{
    static const char *const name[] = { [GEN_PREPARED] = "prepared",
                                        [GEN_LIVE] = "live",
                                        [GEN_RETIRED] = "retired" };

    return s >= GEN_PREPARED && s <= GEN_RETIRED ? name[s] : "unknown";
}

const char *rotation_state_name(enum rotation_state s)
{
    static const char *const name[] = { [ROT_IDLE] = "idle",
                                        [ROT_PREPARED] = "prepared",
                                        [ROT_VERIFIED] = "verified" };

    return s <= ROT_VERIFIED ? name[s] : "unknown";
}

bool custody_exists(const char *dir)
{
    return env_files_exist(dir);
}

int custody_clean(const char *dir)
{
    return file_sweep(dir);
}

static struct custody *custody_new(const struct custody_config *c)
{
    struct custody *k = NEW(struct custody);

    mutex_init(&k->lock);
    mutex_init(&k->view);
    k->dir = mem_strdup(c->dir);
    k->pin_path = mem_strdup(c->pin_path);
    k->timeout_us = c->timeout_us;
    k->provider = c->provider;
    k->ring = keyring_new();
    return k;
}

void custody_free(struct custody *k)
{
    if (!k)
        return;
    keyring_unref(k->ring);
    envelope_free(k->env);
    mem_free(k->dir);
    mem_free(k->pin_path);
    mutex_fini(&k->lock);
    mutex_fini(&k->view);
    mem_free(k);
}

void custody_freep(struct custody **k)
{
    custody_free(*k);
    *k = NULL;
}

struct keyring *custody_keyring(struct custody *k)
{
    return k->ring;
}

void custody_set_provider(struct custody *k, struct key_provider *p)
{
    mutex_lock(&k->lock);
    k->provider = p;
    mutex_unlock(&k->lock);
}

/* Calls of a provider, with what it answers looked at. */

static RC need_provider(struct key_provider *p, struct err *e)
{
    if (!p)
        FAIL(e, ERR_KEY_LOCKED, "no key provider is at hand");
    return RC_OK;
}

RC custody__wrapping_key(struct custody *k, struct key_provider *p, const char *version,
                         struct key_info *out, struct err *e)
{
    memset(out, 0, sizeof(*out));
    TRY(need_provider(p, e));
    TRY(p->get_key(p, version, clock_mono_us() + k->timeout_us, out, e));
    return key_info_valid(out, true, e);
}

RC custody__wrap(struct custody *k, struct key_provider *p, const char *version,
                 const struct secret *plain, struct wrapped_key *out, struct err *e)
{
    memset(out, 0, sizeof(*out));
    TRY(need_provider(p, e));
    TRY(p->wrap(p, version, plain, clock_mono_us() + k->timeout_us, out, e));
    if (out->len < 1 || out->len > WRAP_MAX || strcmp(out->version, version) != 0 ||
        out->alg[0] == '\0')
        FAIL(e, ERR_KEY_BAD_ANSWER,
             "%s wrapped with another version than asked for, or with nothing", p->name);
    return RC_OK;
}

RC custody__unwrap(struct custody *k, struct key_provider *p, const struct wrapped_key *w,
                   const struct env_gen *g, struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *smk = NULL;
    uint8_t commitment[COMMITMENT_LEN];

    *out = NULL;
    TRY(need_provider(p, e));
    TRY(p->unwrap(p, w, false, clock_mono_us() + k->timeout_us, &smk, e));
    if (secret_len(smk) != SMK_LEN)
        FAIL(e, ERR_KEY_BAD_ANSWER, "%s unwrapped generation %u to %zu bytes", p->name, g->gen,
             secret_len(smk));
    TRY(env_commitment(smk, k->env->lineage, g->gen, commitment, e));
    if (!ct_equal(commitment, g->commitment, COMMITMENT_LEN))
        FAIL(e, ERR_KEY_BAD_ANSWER, "%s unwrapped generation %u to another key", p->name, g->gen);
    *out = TAKE(smk);
    return RC_OK;
}

RC custody__canary(struct custody *k, struct key_provider *p, const char *version,
                   const uint8_t lineage[LINEAGE_LEN], struct wrapped_key *out,
                   uint8_t mac[CANARY_MAC_LEN], struct err *e)
{
    AUTO(secret_freep) struct secret *canary = NULL, *back = NULL;

    TRY(secret_random(CANARY_LEN, &canary, e));
    TRY(env_canary_mac(canary, lineage, mac, e));
    TRY(custody__wrap(k, p, version, canary, out, e));
    TRY(p->unwrap(p, out, false, clock_mono_us() + k->timeout_us, &back, e));
    if (!secret_equal(canary, back))
        FAIL(e, ERR_KEY_BAD_ANSWER, "%s unwrapped the canary to something else", p->name);
    return RC_OK;
}

/* Saving. */

static void put_in_force(struct custody *k, struct envelope *next, bool degraded)
{
    struct envelope *old;

    mutex_lock(&k->view);
    old = k->env;
    k->env = next;
    k->degraded = degraded;
    mutex_unlock(&k->view);
    if (old != next)
        envelope_free(old);
}

RC custody__heal(struct custody *k, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    struct env_pin pin;
    int written;

    if (!k->degraded)
        return RC_OK;
    TRY(envelope_encode(k->env, k->ring, &bytes, e));
    TRY(env_files_write(k->dir, buf_view(&bytes), &written, e));
    pin_of(k->env, &pin);
    TRY(pin_write(k->pin_path, &pin, e));
    put_in_force(k, k->env, false);
    return RC_OK;
}

RC custody__save(struct custody *k, struct envelope **next, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    struct err second = { 0 };
    struct env_pin pin;
    bool whole;
    int written;

    TRY(custody__heal(k, e)); /* the pin must be at most one step behind: see pin_check() */
    /* a number is not used twice, even when it may not have reached the disk */
    (*next)->sequence = ++k->tried;
    (*next)->written_s = clock_real_s();
    TRY(envelope_encode(*next, k->ring, &bytes, e));
    pin_of(*next, &pin);
    whole = !env_files_write(k->dir, buf_view(&bytes), &written, &second).failed;
    if (written == 0)
        return err_set(e, second.code, __FILE__, __LINE__,
                       "the key envelope could not be written: %s", second.msg);
    if (whole)
        whole = !pin_write(k->pin_path, &pin, &second).failed;
    put_in_force(k, TAKE(*next), !whole);
    return RC_OK;
}

static bool is_whole(struct custody *k, struct slice bytes)
{
    AUTO(buf_fini) struct buf there = BUF_INIT, wanted = BUF_INIT;
    struct err ignored = { 0 };
    struct env_pin pin;

    if (!env_files_hold(k->dir, bytes) || file_read(k->pin_path, 4096, &there, &ignored).failed)
        return false;
    pin_of(k->env, &pin);
    pin_encode(&pin, &wanted);
    return slice_eq(buf_view(&there), buf_view(&wanted));
}

static RC heal_locked(struct custody *k, bool *did, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;

    TRY(envelope_encode(k->env, k->ring, &bytes, e));
    if (!k->degraded && is_whole(k, buf_view(&bytes)))
        return RC_OK;
    put_in_force(k, k->env, /* degraded= */ true);
    TRY(custody__heal(k, e));
    *did = true;
    return RC_OK;
}

RC custody_heal(struct custody *k, bool *did, struct err *e)
{
    rc_t rc;

    *did = false;
    mutex_lock(&k->lock);
    rc = heal_locked(k, did, e);
    mutex_unlock(&k->lock);
    return rc;
}

/* Making. */

static RC refuse_existing(const struct custody_config *c, struct err *e)
{
    struct env_pin pin;

    if (env_files_exist(c->dir))
        FAIL(e, ERR_CONFLICT, "\"%s\" has a key envelope already", c->dir);
    if (!path_exists(c->pin_path))
        return RC_OK;
    TRY(pin_read(c->pin_path, &pin, e));
    if (pin.sequence != 0)
        FAIL(e, ERR_ENVELOPE_CORRUPT,
             "the key envelope is gone; the pin remembers one with sequence %llu",
             (unsigned long long)pin.sequence);
    return RC_OK;
}

/* first_envelope(): k->env with generation 1, its SMK in the ring: nothing is on disk yet. */
static RC first_envelope(struct custody *k, enum key_mode mode, struct err *e)
{
    AUTO(secret_freep) struct secret *smk = NULL, *back = NULL;
    struct envelope *env = k->env = envelope_new();
    struct key_info info;
    struct env_gen *g;

    TRY(custody__wrapping_key(k, k->provider, NULL, &info, e));
    TRY(random_bytes(env->lineage, LINEAGE_LEN, e));
    TRY(secret_random(SMK_LEN, &smk, e));
    env->mode = env->target_mode = mode;
    env->current = env->next_gen = 1;
    env->created_s = clock_real_s();
    memcpy(env->key_hash, info.public_sha256, KEY_HASH_LEN);
    g = envelope_add_gen(env);
    g->state = GEN_LIVE;
    g->created_s = env->created_s;
    TRY(env_commitment(smk, env->lineage, 1, g->commitment, e));
    memcpy(env->first_commitment, g->commitment, COMMITMENT_LEN);
    TRY(custody__wrap(k, k->provider, info.version, smk, &g->wrap, e));
    TRY(custody__unwrap(k, k->provider, &g->wrap, g, &back, e));
    if (!secret_equal(smk, back))
        FAIL(e, ERR_KEY_BAD_ANSWER, "%s unwrapped a new key to another one", k->provider->name);
    envelope_note_version(g, g->wrap.version, env->created_s);
    TRY(custody__canary(k, k->provider, info.version, env->lineage, &env->canary, env->canary_mac,
                        e));
    TRY(keyring_add(k->ring, 1, TAKE(smk), e));
    return keyring_set_current(k->ring, 1, e);
}

RC custody_create(const struct custody_config *c, struct custody **out, struct err *e)
{
    AUTO(custody_freep) struct custody *k = NULL;
    struct envelope *first;
    struct env_pin pin;
    rc_t rc;

    *out = NULL;
    TRY(refuse_existing(c, e));
    k = custody_new(c);
    TRY(first_envelope(k, c->mode, e));
    file_sweep(c->dir);
    pin_of(k->env, &pin); /* sequence 0: an envelope of this lineage may follow */
    TRY(pin_write(c->pin_path, &pin, e));
    first = envelope_dup(k->env);
    rc = custody__save(k, &first, e);
    envelope_free(first);
    TRY(rc);
    *out = TAKE(k);
    return RC_OK;
}

/* Opening. */

static RC load(const struct custody_config *c, struct env_loaded *l, struct err *e)
{
    memset(l, 0, sizeof(*l));
    if (!env_files_exist(c->dir)) {
        if (path_exists(c->pin_path))
            FAIL(e, ERR_ENVELOPE_CORRUPT, "both copies of the key envelope are gone from \"%s\"",
                 c->dir);
        FAIL(e, ERR_NOT_FOUND, "\"%s\" has no key envelope", c->dir);
    }
    return env_files_load(c->dir, l, e);
}

/* compare_pin(): *behind when the pin is to be written. */
static RC compare_pin(const struct custody_config *c, const struct envelope *env, bool *behind,
                      bool *adopted, struct err *e)
{
    struct err why = { 0 };
    struct env_pin pin;

    *behind = *adopted = false;
    if (pin_read(c->pin_path, &pin, &why).failed) {
        if (why.code != ERR_PIN_MISSING || !c->adopt)
            return err_take(e, &why);
        *behind = *adopted = true;
        return RC_OK;
    }
    TRY(pin_check(&pin, env, e));
    *behind = pin.sequence != env->sequence;
    return RC_OK;
}

static RC check_mode(const struct custody_config *c, const struct envelope *env, struct err *e)
{
    if (env->mode != c->mode)
        FAIL(e, ERR_CONFIG, "the cluster is in %s mode, the configuration says %s",
             key_mode_name(env->mode), key_mode_name(c->mode));
    return RC_OK;
}

static RC unwrap_all(struct custody *k, struct err *e)
{
    for (size_t i = 0; i < k->env->n_gens; i++) {
        const struct env_gen *g = &k->env->gens[i];
        struct secret *smk = NULL;

        if (g->state != GEN_LIVE)
            continue;
        TRY(custody__unwrap(k, k->provider, &g->wrap, g, &smk, e));
        TRY(keyring_add(k->ring, g->gen, smk, e));
    }
    return keyring_set_current(k->ring, k->env->current, e);
}

/* settle(): what is written once the envelope is known to be ours. A failure here is reported and leaves the keys usable. */
static void settle(struct custody *k, const struct env_loaded *l, bool pin_behind,
                   struct custody_report *r)
{
    bool copies = l->good[0] && l->good[1];
    struct env_pin pin;

    r->n_leftovers = file_sweep(k->dir);
    pin_of(k->env, &pin);
    if (!copies && env_files_repair(k->dir, l, &r->degraded_err).failed) {
        r->degraded = true;
    } else {
        r->repaired = !copies;
        if (pin_behind && pin_write(k->pin_path, &pin, &r->degraded_err).failed)
            r->degraded = true;
        else
            r->pin_moved = pin_behind && !r->adopted;
    }
    k->degraded = r->degraded;
}

static void resume_at_open(struct custody *k, struct custody_report *r)
{
    if (rotation_next(k->env) == ROT_DO_NOTHING)
        return;
    if (k->env->rotation_kind & ROT_SWITCH)
        r->abandoned = !custody__abandon(k, &r->pending_err).failed;
    else
        r->resumed = !custody__resume(k, k->provider, &r->pending_err).failed;
    r->pending = !r->abandoned && !r->resumed;
}

RC custody_open(const struct custody_config *c, struct custody **out, struct custody_report *r,
                struct err *e)
{
    AUTO(env_loaded_fini) struct env_loaded l = { 0 };
    AUTO(custody_freep) struct custody *k = NULL;
    bool pin_behind;

    *out = NULL;
    memset(r, 0, sizeof(*r));
    TRY(load(c, &l, e));
    TRY(compare_pin(c, l.env, &pin_behind, &r->adopted, e));
    TRY(check_mode(c, l.env, e));
    k = custody_new(c);
    k->env = TAKE(l.env);
    k->tried = k->env->sequence;
    TRY(unwrap_all(k, e));
    TRY(envelope_verify(k->env, buf_view(&l.bytes), k->ring, e));
    settle(k, &l, pin_behind, r);
    resume_at_open(k, r);
    *out = TAKE(k);
    return RC_OK;
}

RC custody_read_copy(const struct custody_config *c, struct keyring **out, struct err *e)
{
    AUTO(env_loaded_fini) struct env_loaded l = { 0 };
    AUTO(custody_freep) struct custody *k = NULL;

    *out = NULL;
    TRY(env_files_load(c->dir, &l, e));
    TRY(check_mode(c, l.env, e));
    k = custody_new(c);
    k->env = TAKE(l.env);
    TRY(unwrap_all(k, e));
    TRY(envelope_verify(k->env, buf_view(&l.bytes), k->ring, e));
    *out = keyring_ref(k->ring);
    return RC_OK;
}

RC custody_read_target(const struct custody_config *c, struct probe_target *out, struct err *e)
{
    AUTO(env_loaded_fini) struct env_loaded l = { 0 };
    bool behind, adopted;

    memset(out, 0, sizeof(*out));
    TRY(load(c, &l, e));
    TRY(compare_pin(c, l.env, &behind, &adopted, e));
    TRY(check_mode(c, l.env, e));
    out->canary = l.env->canary;
    memcpy(out->mac, l.env->canary_mac, CANARY_MAC_LEN);
    memcpy(out->lineage, l.env->lineage, LINEAGE_LEN);
    return RC_OK;
}

RC custody_root(const char *dir, struct custody_root *out, struct err *e)
{
    AUTO(env_loaded_fini) struct env_loaded l = { 0 };

    memset(out, 0, sizeof(*out));
    TRY(env_files_load(dir, &l, e));
    out->mode = l.env->mode;
    memcpy(out->version, l.env->canary.version, sizeof(out->version));
    memcpy(out->key_sha256, l.env->key_hash, KEY_HASH_LEN);
    return RC_OK;
}

/* Looking. */

void custody_probe_target(struct custody *k, struct probe_target *out)
{
    mutex_lock(&k->view);
    out->canary = k->env->canary;
    memcpy(out->mac, k->env->canary_mac, CANARY_MAC_LEN);
    memcpy(out->lineage, k->env->lineage, LINEAGE_LEN);
    mutex_unlock(&k->view);
}

static void status_of_gen(const struct env_gen *g, struct generation_status *s)
{
    memset(s, 0, sizeof(*s));
    s->gen = g->gen;
    s->state = g->state;
    s->exposed = g->flags & GEN_EXPOSED;
    s->created_s = g->created_s;
    s->n_versions = g->n_dropped + g->n_history;
    memcpy(s->version, g->wrap.version, sizeof(s->version));
}

static void status_of(const struct envelope *env, struct custody_status *out)
{
    const struct env_gen *cur = envelope_gen(env, env->current);

    memset(out, 0, sizeof(*out));
    out->mode = env->mode;
    out->sequence = env->sequence;
    memcpy(out->lineage, env->lineage, LINEAGE_LEN);
    out->current = env->current;
    out->rotation = env->rotation;
    if (env->rotation != ROT_IDLE)
        memcpy(out->pending, env->pending_canary.version, sizeof(out->pending));
    memcpy(out->version, cur->wrap.version, sizeof(out->version));
    memcpy(out->alg, cur->wrap.alg, sizeof(out->alg));
    out->wrapped_s = cur->history[cur->n_history - 1].wrapped_s;
    for (; out->n < env->n_gens; out->n++)
        status_of_gen(&env->gens[out->n], &out->row[out->n]);
}

void custody_status(struct custody *k, struct custody_status *out)
{
    mutex_lock(&k->view);
    status_of(k->env, out);
    out->degraded = k->degraded;
    mutex_unlock(&k->view);
}

const struct generation_status *custody_status_of(const struct custody_status *st, uint32_t gen)
{
    for (size_t i = 0; i < st->n; i++)
        if (st->row[i].gen == gen)
            return &st->row[i];
    return NULL;
}

RC envelope_inspect(struct slice bytes, struct custody_status *out, struct err *e)
{
    AUTO(envelope_freep) struct envelope *env = NULL;

    memset(out, 0, sizeof(*out));
    TRY(envelope_decode(bytes, &env, e));
    status_of(env, out);
    return RC_OK;
}

RC envelope_inspect_dir(const char *dir, struct custody_status *out, struct err *e)
{
    AUTO(env_loaded_fini) struct env_loaded l = { 0 };

    memset(out, 0, sizeof(*out));
    if (!env_files_exist(dir))
        FAIL(e, ERR_NOT_FOUND, "\"%s\" has no key envelope", dir);
    TRY(env_files_load(dir, &l, e));
    status_of(l.env, out);
    return RC_OK;
}

RC pin_inspect(struct slice bytes, struct pin_facts *out, struct err *e)
{
    struct env_pin pin;

    memset(out, 0, sizeof(*out));
    TRY(pin_decode(bytes, &pin, e));
    out->sequence = pin.sequence;
    memcpy(out->lineage, pin.lineage, LINEAGE_LEN);
    out->current = pin.gen;
    return RC_OK;
}

void custody_versions(struct custody *k, uint32_t gen,
                      void (*fn)(const char *version, int64_t since_s, void *arg), void *arg)
{
    const struct env_gen *g;

    mutex_lock(&k->view);
    g = envelope_gen(k->env, gen);
    for (size_t i = 0; g && i < g->n_history; i++)
        fn(g->history[i].version, g->history[i].wrapped_s, arg);
    mutex_unlock(&k->view);
}
