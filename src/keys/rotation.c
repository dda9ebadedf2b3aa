/* rotation.c - the life of a wrap and of a generation, as a machine without I/O.
 *
 *      idle ──prepare──▶ PREPARED ──verified──▶ VERIFIED ──commit──▶ idle          generation: PREPARED ─▶ LIVE ─▶ RETIRED ─▶ gone
 *        ▲                   │                      │
 *        └──────abandon──────┴──────────────────────┘                              each arrow is one durable write of the envelope
 *
 * PREPARED holds, beside every wrap in use, the one that will replace it: nothing depends on it yet. VERIFIED: each of them was
 * unwrapped by a real call and gave the committed key. Commit switches all of them, the canary, the mode and the current
 * generation in one write: from then on there is no way back. A stop leaves one of these states, and rotation_next()
 * says how to go on.
 *
 * Room      An envelope holds CUSTODY_GEN_MAX generations. When it is full, the oldest retired one leaves it in the write that prepares a new one: the census
 *           counted nothing under it, and a copy that was made under it has an envelope of its own. What is LIVE never makes room.
 */
#include <string.h>

#include "base/mem.h"
#include "keys_priv.h"

enum rotation_action rotation_next(const struct envelope *env)
{
    switch (env->rotation) {
    case ROT_PREPARED: return ROT_DO_VERIFY;
    case ROT_VERIFIED: return ROT_DO_COMMIT;
    default: return ROT_DO_NOTHING;
    }
}

static RC must_be(const struct envelope *env, enum rotation_state s, const char *what,
                  struct err *e)
{
    if (env->rotation != s)
        FAIL(e, ERR_CONFLICT, "a rotation that is %s cannot be %s",
             rotation_state_name(env->rotation), what);
    return RC_OK;
}

static size_t count_live(const struct envelope *env)
{
    size_t n = 0;

    for (size_t i = 0; i < env->n_gens; i++)
        n += env->gens[i].state == GEN_LIVE;
    return n;
}

/* make_room(): the generations are in ascending order, so that the first retired one is the oldest. */
static RC make_room(struct envelope *env, struct err *e)
{
    if (env->next_gen == UINT32_MAX)
        FAIL(e, ERR_CONFLICT, "no number is left for another generation");
    if (env->n_gens < CUSTODY_GEN_MAX)
        return RC_OK;
    for (size_t i = 0; i < env->n_gens; i++) {
        if (env->gens[i].state == GEN_RETIRED) {
            envelope_drop_gen(env, env->gens[i].gen);
            return RC_OK;
        }
    }
    FAIL(e, ERR_CONFLICT,
         "data is still under each of %u generations: try again when some of it is re-encrypted",
         env->n_gens);
}

RC rotation_prepare(struct envelope *env, const struct rotation_plan *p, int64_t now_s,
                    struct err *e)
{
    size_t w = 0;

    TRY(must_be(env, ROT_IDLE, "prepared", e));
    if (p->kind == 0 || ((p->kind & ROT_REWRAP) && p->n_wraps != count_live(env)) ||
        (!(p->kind & ROT_SWITCH) && p->mode != env->mode))
        FAIL(e, ERR_INTERNAL, "the plan of a rotation does not fit the envelope");
    /* a new generation and its canary are under a new version: whatever is not re-wrapped would stay under the old one */
    if (!(p->kind & ROT_REWRAP))
        FAIL(e, ERR_INTERNAL, "a rotation re-wraps every live generation");
    if (p->kind & ROT_NEW_GENERATION)
        TRY(make_room(env, e));
    for (size_t i = 0; i < env->n_gens; i++)
        if (env->gens[i].state == GEN_LIVE)
            env->gens[i].pending = p->wraps[w++];
    if (p->kind & ROT_NEW_GENERATION) {
        struct env_gen *g = envelope_add_gen(env);

        g->created_s = now_s;
        g->pending = *p->new_wrap;
        memcpy(g->commitment, p->new_commitment, COMMITMENT_LEN);
    }
    env->rotation = ROT_PREPARED;
    env->rotation_kind = p->kind;
    env->target_mode = p->mode;
    env->pending_canary = p->canary;
    memcpy(env->pending_canary_mac, p->canary_mac, CANARY_MAC_LEN);
    memcpy(env->pending_key_hash, p->key_hash, KEY_HASH_LEN);
    return RC_OK;
}

RC rotation_verified(struct envelope *env, struct err *e)
{
    TRY(must_be(env, ROT_PREPARED, "verified", e));
    env->rotation = ROT_VERIFIED;
    return RC_OK;
}

static void clear_pending(struct envelope *env)
{
    for (size_t i = 0; i < env->n_gens; i++)
        memset(&env->gens[i].pending, 0, sizeof(env->gens[i].pending));
    memset(&env->pending_canary, 0, sizeof(env->pending_canary));
    memset(env->pending_canary_mac, 0, CANARY_MAC_LEN);
    memset(env->pending_key_hash, 0, KEY_HASH_LEN);
    env->rotation = ROT_IDLE;
    env->rotation_kind = 0;
    env->target_mode = env->mode;
}

RC rotation_commit(struct envelope *env, int64_t now_s, struct err *e)
{
    bool to_customer = env->mode == KEY_MODE_SMK && env->target_mode == KEY_MODE_CMK;

    TRY(must_be(env, ROT_VERIFIED, "committed", e));
    for (size_t i = 0; i < env->n_gens; i++) {
        struct env_gen *g = &env->gens[i];

        if (g->pending.len == 0)
            continue;
        if (to_customer && g->state == GEN_LIVE)
            /* the service's own key has wrapped it: an old copy of the envelope still opens it */
            g->flags |= GEN_EXPOSED;
        if (g->state == GEN_PREPARED) {
            g->state = GEN_LIVE;
            env->current = g->gen;
        }
        g->wrap = g->pending;
        envelope_note_version(g, g->wrap.version, now_s);
    }
    env->mode = env->target_mode;
    env->canary = env->pending_canary;
    memcpy(env->canary_mac, env->pending_canary_mac, CANARY_MAC_LEN);
    memcpy(env->key_hash, env->pending_key_hash, KEY_HASH_LEN);
    clear_pending(env);
    return RC_OK;
}

RC rotation_abandon(struct envelope *env, struct err *e)
{
    if (env->rotation == ROT_IDLE)
        FAIL(e, ERR_CONFLICT, "no rotation is under way");
    for (size_t i = env->n_gens; i-- > 0;)
        if (env->gens[i].state == GEN_PREPARED)
            envelope_drop_gen(env, env->gens[i].gen);
    clear_pending(env);
    return RC_OK;
}

RC rotation_retire(struct envelope *env, uint32_t gen, struct err *e)
{
    struct env_gen *g = envelope_gen(env, gen);

    TRY(must_be(env, ROT_IDLE, "interrupted", e));
    if (!g)
        FAIL(e, ERR_MISSING_GENERATION, "the envelope lacks generation %u", gen);
    if (gen == env->current || g->state != GEN_LIVE)
        FAIL(e, ERR_CONFLICT, "generation %u cannot be retired: it is %s", gen,
             gen == env->current ? "the current one" : gen_state_name(g->state));
    g->state = GEN_RETIRED;
    return RC_OK;
}

RC rotation_destroy(struct envelope *env, uint32_t gen, struct err *e)
{
    struct env_gen *g = envelope_gen(env, gen);

    TRY(must_be(env, ROT_IDLE, "interrupted", e));
    if (!g)
        FAIL(e, ERR_MISSING_GENERATION, "the envelope lacks generation %u", gen);
    if (g->state != GEN_RETIRED)
        FAIL(e, ERR_CONFLICT, "generation %u cannot be destroyed: it is %s", gen,
             gen_state_name(g->state));
    envelope_drop_gen(env, gen);
    return RC_OK;
}
