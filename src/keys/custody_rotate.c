/* custody_rotate.c - the driver of the rotation machine (rotation.c): calls the provider and saves after each step. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "keys/custody.h"
#include "keys_priv.h"

/* One transition, saved. The envelope in force changes only when it is durable. */
static RC step_verified(struct custody *k, struct err *e)
{
    AUTO(envelope_freep) struct envelope *next = envelope_dup(k->env);

    TRY(rotation_verified(next, e));
    return custody__save(k, &next, e);
}

static RC step_commit(struct custody *k, struct err *e)
{
    AUTO(envelope_freep) struct envelope *next = envelope_dup(k->env);

    TRY(rotation_commit(next, clock_real_s(), e));
    TRY(custody__save(k, &next, e));
    return keyring_set_current(k->ring, k->env->current, e);
}

RC custody__abandon(struct custody *k, struct err *e)
{
    AUTO(envelope_freep) struct envelope *next = envelope_dup(k->env);
    uint32_t prepared = 0;

    for (size_t i = 0; i < k->env->n_gens; i++)
        if (k->env->gens[i].state == GEN_PREPARED)
            prepared = k->env->gens[i].gen;
    TRY(rotation_abandon(next, e));
    TRY(custody__save(k, &next, e));
    if (prepared)
        keyring_drop(k->ring, prepared);
    return RC_OK;
}

/* verify_pending(): every pending wrap, by a real call. A prepared generation's SMK enters the ring here: the commit needs its MAC. */
static RC verify_pending(struct custody *k, struct key_provider *p, struct err *e)
{
    for (size_t i = 0; i < k->env->n_gens; i++) {
        const struct env_gen *g = &k->env->gens[i];
        struct secret *smk = NULL;

        if (g->pending.len == 0)
            continue;
        TRY(custody__unwrap(k, p, &g->pending, g, &smk, e));
        if (g->state == GEN_PREPARED && !keyring_has(k->ring, g->gen))
            TRY(keyring_add(k->ring, g->gen, smk, e));
        else
            secret_free(smk);
    }
    return RC_OK;
}

RC custody__resume(struct custody *k, struct key_provider *p, struct err *e)
{
    enum rotation_action todo;

    while ((todo = rotation_next(k->env)) != ROT_DO_NOTHING) {
        if (todo == ROT_DO_VERIFY) {
            TRY(verify_pending(k, p, e));
            TRY(step_verified(k, e));
        } else {
            if (k->env->rotation_kind & ROT_NEW_GENERATION &&
                !keyring_has(k->ring, k->env->next_gen - 1))
                TRY(verify_pending(k, p, e)); /* a restart: the new SMK is not in the ring yet */
            TRY(step_commit(k, e));
        }
    }
    return RC_OK;
}

/* worth_retrying(): after an error of a rotation, whether trying the same again later can help. */
static bool worth_retrying(const struct err *e)
{
    return e->code == ERR_KEY_UNREACHABLE || e->code == ERR_KEY_THROTTLED ||
           e->code == ERR_DISK_FULL || e->code == ERR_IO;
}

/* clear_the_way(): an earlier rotation is finished, or, when it never can be, abandoned. */
static RC clear_the_way(struct custody *k, struct err *e)
{
    struct err why = { 0 };

    if (rotation_next(k->env) == ROT_DO_NOTHING)
        return RC_OK;
    if (!(k->env->rotation_kind & ROT_SWITCH)) {
        if (!custody__resume(k, k->provider, &why).failed)
            return RC_OK;
        if (worth_retrying(&why))
            return err_set(e, why.code, __FILE__, __LINE__,
                           "an earlier rotation could not be finished: %s", why.msg);
    }
    return custody__abandon(k, e);
}

/* wrap_live(): every live generation under version. */
static RC wrap_live(struct custody *k, struct key_provider *p, const char *version,
                    struct wrapped_key *wraps, size_t *n, struct err *e)
{
    *n = 0;
    for (size_t i = 0; i < k->env->n_gens; i++) {
        AUTO(secret_freep) struct secret *smk = NULL;

        if (k->env->gens[i].state != GEN_LIVE)
            continue;
        TRY(keyring__dup_smk(k->ring, k->env->gens[i].gen, &smk, e));
        TRY(custody__wrap(k, p, version, smk, &wraps[(*n)++], e));
    }
    return RC_OK;
}

static RC wrap_new(struct custody *k, struct key_provider *p, const char *version,
                   struct wrapped_key *wrap, uint8_t commitment[COMMITMENT_LEN], struct err *e)
{
    AUTO(secret_freep) struct secret *smk = NULL;

    TRY(secret_random(SMK_LEN, &smk, e));
    TRY(env_commitment(smk, k->env->lineage, k->env->next_gen, commitment, e));
    return custody__wrap(k, p, version, smk, wrap, e);
}

struct request {
    struct key_provider *to;
    enum key_mode mode;
    uint8_t kind;
    const char *version; /* NULL: the newest */
};

static RC prepare(struct custody *k, const struct request *r, const struct key_info *info,
                  struct err *e)
{
    AUTO(envelope_freep) struct envelope *next = NULL;
    AUTO(mem_freep) struct wrapped_key *wraps = NEW_ARRAY(struct wrapped_key, CUSTODY_GEN_MAX + 1);
    struct wrapped_key *fresh = &wraps[CUSTODY_GEN_MAX];
    struct rotation_plan plan = {
        .kind = r->kind, .mode = r->mode, .wraps = wraps, .new_wrap = fresh
    };

    memcpy(plan.key_hash, info->public_sha256, KEY_HASH_LEN);
    TRY(wrap_live(k, r->to, info->version, wraps, &plan.n_wraps, e));
    if (r->kind & ROT_NEW_GENERATION)
        TRY(wrap_new(k, r->to, info->version, fresh, plan.new_commitment, e));
    TRY(custody__canary(k, r->to, info->version, k->env->lineage, &plan.canary, plan.canary_mac,
                        e));
    next = envelope_dup(k->env);
    TRY(rotation_prepare(next, &plan, clock_real_s(), e));
    return custody__save(k, &next, e);
}

static bool in_use_everywhere(const struct envelope *env, const char *version)
{
    for (size_t i = 0; i < env->n_gens; i++)
        if (env->gens[i].state == GEN_LIVE && strcmp(env->gens[i].wrap.version, version) != 0)
            return false;
    return strcmp(env->canary.version, version) == 0;
}

static RC rotate_locked(struct custody *k, const struct request *r, struct err *e)
{
    struct key_info info;
    struct err undo = { 0 };

    TRY(custody__heal(k, e));
    TRY(clear_the_way(k, e));
    TRY(custody__wrapping_key(k, r->to, r->version, &info, e));
    if (r->kind == ROT_REWRAP && in_use_everywhere(k->env, info.version))
        return RC_OK;
    TRY(prepare(k, r, &info, e));
    if (!custody__resume(k, r->to, e).failed)
        return RC_OK;
    /* What cannot succeed later is not left lying about; the first error is the one to tell. */
    if (e && !worth_retrying(e) && k->env->rotation != ROT_IDLE &&
        custody__abandon(k, &undo).failed)
        err_detail(e, "and what was prepared could not be withdrawn: %s", undo.msg);
    return RC_FAILED;
}

static RC rotate(struct custody *k, struct request r, struct err *e)
{
    struct err local = { 0 };
    rc_t rc;

    mutex_lock(&k->lock);
    if (!r.to) {
        r.to = k->provider;
        r.mode = k->env->mode;
    }
    rc = rotate_locked(k, &r, e ? e : &local);
    if (!rc.failed)
        k->provider = r.to;
    mutex_unlock(&k->lock);
    return rc;
}

RC custody_rewrap(struct custody *k, const char *version, struct err *e)
{
    return rotate(k, (struct request){ .kind = ROT_REWRAP, .version = version }, e);
}

RC custody_new_generation(struct custody *k, struct err *e)
{
    return rotate(k, (struct request){ .kind = ROT_REWRAP | ROT_NEW_GENERATION }, e);
}

RC custody_switch(struct custody *k, const struct custody_target *to, struct err *e)
{
    struct request r = { .to = to->provider,
                         .mode = to->mode,
                         .kind = ROT_REWRAP | ROT_SWITCH,
                         .version = to->version };
    struct custody_status now;

    custody_status(k, &now);
    /* what one root has wrapped is not what the other protects alone */
    if (to->new_generation || now.mode != to->mode)
        r.kind |= ROT_NEW_GENERATION;
    return rotate(k, r, e);
}

RC custody_resume(struct custody *k, bool *did, struct err *e)
{
    rc_t rc = RC_OK;

    mutex_lock(&k->lock);
    *did = rotation_next(k->env) != ROT_DO_NOTHING;
    if (*did)
        rc = k->env->rotation_kind & ROT_SWITCH ? custody__abandon(k, e)
                                                : custody__resume(k, k->provider, e);
    mutex_unlock(&k->lock);
    return rc;
}

/* Census. */

uint64_t census_bytes(const struct census_row *rows, size_t n, uint32_t gen)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        if (rows[i].gen == gen)
            sum += rows[i].bytes;
    return sum;
}

bool census_unused(const struct census_row *rows, size_t n, uint32_t gen)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].gen == gen && (rows[i].n_files || rows[i].bytes))
            return false;
    return true;
}

bool census_merge(struct census_row *rows, size_t *n, size_t max, const struct census_row *more,
                  size_t n_more)
{
    for (size_t i = 0; i < n_more; i++) {
        size_t at = 0;

        while (at < *n && rows[at].gen != more[i].gen)
            at++;
        if (at == *n) {
            if (*n == max)
                return false;
            rows[(*n)++] = (struct census_row){ .gen = more[i].gen };
        }
        rows[at].n_files += more[i].n_files;
        rows[at].bytes += more[i].bytes;
    }
    return true;
}

static RC retire_locked(struct custody *k, uint32_t gen, struct err *e)
{
    AUTO(envelope_freep) struct envelope *next = envelope_dup(k->env);

    TRY(rotation_retire(next, gen, e));
    TRY(custody__save(k, &next, e));
    keyring_drop(k->ring, gen);
    return RC_OK;
}

RC custody_retire(struct custody *k, uint32_t gen, const struct census_row *rows, size_t n,
                  struct err *e)
{
    rc_t rc;

    if (!census_unused(rows, n, gen))
        FAIL(e, ERR_CONFLICT, "generation %u cannot be retired: %llu bytes lie under it", gen,
             (unsigned long long)census_bytes(rows, n, gen));
    mutex_lock(&k->lock);
    rc = retire_locked(k, gen, e);
    mutex_unlock(&k->lock);
    return rc;
}

static RC destroy_locked(struct custody *k, uint32_t gen, struct err *e)
{
    AUTO(envelope_freep) struct envelope *next = envelope_dup(k->env);

    TRY(rotation_destroy(next, gen, e));
    return custody__save(k, &next, e);
}

RC custody_destroy(struct custody *k, uint32_t gen, struct err *e)
{
    rc_t rc;

    mutex_lock(&k->lock);
    rc = destroy_locked(k, gen, e);
    mutex_unlock(&k->lock);
    return rc;
}
