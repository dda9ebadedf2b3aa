/* envelope.c - the envelope as bytes (docs/formats/envelope.md), written and read field by field.
 *
 * A reader never trusts a length: struct in gives bytes or fails, and counts are compared with their limits before anything is
 * allocated for them. The encoding is canonical: decoding and encoding again yields the same bytes, which the fuzz
 * target checks.
 */
#include <string.h>

#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "frame.h"
#include "keys/inspect.h"
#include "keys_priv.h"

/*   off  size
 *     0     8  magic "COFERENV"
 *     8     2  format, 1
 *    10     2  zero
 *    12     4  length of the file
 *    16     8  sequence
 *    24    16  lineage
 *    40    32  commitment of generation 1
 *    72     1  mode            73  1  rotation state
 *    74     1  rotation kind   75  1  mode after the rotation
 *    76     4  current generation
 *    80     4  next generation's number
 *    84     8  made, Unix seconds
 *    92     8  written, Unix seconds
 *   100    32  SHA-256 of the public key that wraps
 *   132    32  the same of the pending one
 *   164     2  number of generations
 *   166     -  canary, its check value, pending canary, its check value; generations; MACs; digest */
enum {
    OFF_FORMAT = 8,
    OFF_LENGTH = 12,
    OFF_SEQUENCE = 16,
    OFF_LINEAGE = 24,
    OFF_FIRST = 40,
    OFF_MODE = 72,
    OFF_CURRENT = 76,
    OFF_CREATED = 84,
    OFF_KEY_HASH = 100,
    OFF_N_GENS = 164,
    HEAD_LEN = 166
};
_Static_assert(OFF_FIRST == OFF_LINEAGE + LINEAGE_LEN && OFF_MODE == OFF_FIRST + COMMITMENT_LEN,
               "offsets");
_Static_assert(OFF_CURRENT == OFF_MODE + 4 && OFF_CREATED == OFF_CURRENT + 8 &&
                   OFF_KEY_HASH == OFF_CREATED + 16,
               "offsets");
_Static_assert(OFF_N_GENS == OFF_KEY_HASH + 2 * KEY_HASH_LEN && HEAD_LEN == OFF_N_GENS + 2,
               "offsets");

static const char magic[8] = "COFERENV"; /* no NUL */

/* The envelope in memory. */

struct envelope *envelope_new(void)
{
    return NEW(struct envelope);
}

void envelope_free(struct envelope *env)
{
    if (!env)
        return;
    for (size_t i = 0; i < env->n_gens; i++)
        mem_free(env->gens[i].history);
    mem_free(env->gens);
    mem_free(env);
}

void envelope_freep(struct envelope **env)
{
    envelope_free(*env);
    *env = NULL;
}

struct envelope *envelope_dup(const struct envelope *env)
{
    struct envelope *d = mem_dup(env, sizeof(*env));

    d->gens = NEW_ARRAY(struct env_gen, MAX((size_t)1, (size_t)env->n_gens));
    for (size_t i = 0; i < env->n_gens; i++) {
        d->gens[i] = env->gens[i];
        d->gens[i].history =
            NEW_ARRAY(struct env_version, MAX((size_t)1, (size_t)env->gens[i].n_history));
        if (env->gens[i].n_history)
            memcpy(d->gens[i].history, env->gens[i].history,
                   env->gens[i].n_history * sizeof(struct env_version));
    }
    return d;
}

struct env_gen *envelope_gen(const struct envelope *env, uint32_t gen)
{
    for (size_t i = 0; i < env->n_gens; i++)
        if (env->gens[i].gen == gen)
            return &env->gens[i];
    return NULL;
}

struct env_gen *envelope_add_gen(struct envelope *env)
{
    struct env_gen *g;

    INVARIANT(env->n_gens < CUSTODY_GEN_MAX);
    env->gens = mem_realloc(env->gens, (env->n_gens + 1u) * sizeof(*env->gens));
    g = &env->gens[env->n_gens++];
    memset(g, 0, sizeof(*g));
    g->gen = env->next_gen++;
    g->state = GEN_PREPARED;
    return g;
}

void envelope_drop_gen(struct envelope *env, uint32_t gen)
{
    struct env_gen *g = envelope_gen(env, gen);
    size_t at;

    INVARIANT(g != NULL);
    at = (size_t)(g - env->gens);
    mem_free(g->history);
    memmove(g, g + 1, (env->n_gens - at - 1) * sizeof(*g));
    env->n_gens--;
}

void envelope_note_version(struct env_gen *g, const char *version, int64_t now_s)
{
    struct env_version *v;

    if (g->n_history == ENV_HISTORY_MAX) {
        memmove(g->history, g->history + 1, (ENV_HISTORY_MAX - 1) * sizeof(*g->history));
        g->n_history--;
        g->n_dropped++;
    }
    g->history = mem_realloc(g->history, (g->n_history + 1u) * sizeof(*g->history));
    v = &g->history[g->n_history++];
    memset(v, 0, sizeof(*v));
    memcpy(v->version, version, strnlen(version, sizeof(v->version) - 1));
    v->wrapped_s = now_s;
}

bool wrapped_key_equal(const struct wrapped_key *a, const struct wrapped_key *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0 &&
           strcmp(a->version, b->version) == 0 && strcmp(a->alg, b->alg) == 0;
}

/* Rules. */

static bool name_ok(const char *s, size_t size)
{
    size_t len = strnlen(s, size);

    if (len == 0 || len == size)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '-' || c == '.' || c == '_'))
            return false;
    }
    return true;
}

static bool wrap_ok(const struct wrapped_key *w)
{
    return w->len >= 1 && w->len <= WRAP_MAX && name_ok(w->version, sizeof(w->version)) &&
           name_ok(w->alg, sizeof(w->alg));
}

static const char *check_gen(const struct envelope *env, const struct env_gen *g)
{
    bool prepared = g->state == GEN_PREPARED, busy = env->rotation != ROT_IDLE;

    if (g->state < GEN_PREPARED || g->state > GEN_RETIRED || (g->flags & ~GEN_EXPOSED))
        return "a generation is in no known state";
    if (g->gen == 0 || g->gen >= env->next_gen)
        return "a generation's number is out of range";
    if (prepared ? g->wrap.len != 0 : !wrap_ok(&g->wrap))
        return "a generation is not wrapped as its state wants";
    if (prepared && (!busy || !(env->rotation_kind & ROT_NEW_GENERATION) || !wrap_ok(&g->pending)))
        return "a generation is prepared outside of a rotation";
    if (g->state == GEN_LIVE &&
        (busy && (env->rotation_kind & ROT_REWRAP) ? !wrap_ok(&g->pending) : g->pending.len != 0))
        return "a live generation's pending wrap does not fit the rotation";
    if (g->state == GEN_RETIRED && g->pending.len != 0)
        return "a retired generation has a pending wrap";
    if (g->n_history > ENV_HISTORY_MAX || (prepared ? g->n_history != 0 : g->n_history == 0))
        return "a generation's history has a wrong length";
    for (size_t i = 0; i < g->n_history; i++)
        if (!name_ok(g->history[i].version, sizeof(g->history[i].version)))
            return "a generation's history holds no version";
    if (!prepared && strcmp(g->history[g->n_history - 1].version, g->wrap.version) != 0)
        return "a generation's history does not end with its wrap";
    return "";
}

static const char *check_head(const struct envelope *env)
{
    static const uint8_t zero[LINEAGE_LEN];
    bool busy = env->rotation != ROT_IDLE;
    uint8_t kind = env->rotation_kind;

    if (env->sequence == 0 || memcmp(env->lineage, zero, LINEAGE_LEN) == 0)
        return "the sequence or the lineage is zero";
    if (env->mode != KEY_MODE_SMK && env->mode != KEY_MODE_CMK)
        return "the mode is unknown";
    if (env->rotation != ROT_IDLE && env->rotation != ROT_PREPARED && env->rotation != ROT_VERIFIED)
        return "the rotation is in no known state";
    if (busy ? kind == 0 || (kind & ~(ROT_REWRAP | ROT_NEW_GENERATION | ROT_SWITCH)) : kind != 0)
        return "the kind of rotation does not fit its state";
    if ((env->target_mode != KEY_MODE_SMK && env->target_mode != KEY_MODE_CMK) ||
        (env->target_mode != env->mode && !(kind & ROT_SWITCH)))
        return "the mode after the rotation does not fit it";
    if (!wrap_ok(&env->canary) ||
        (busy ? !wrap_ok(&env->pending_canary) : env->pending_canary.len != 0))
        return "the canary is not wrapped as the rotation wants";
    if (env->n_gens == 0 || env->n_gens > CUSTODY_GEN_MAX || env->next_gen == 0)
        return "the number of generations is out of range";
    return "";
}

const char *envelope_check(const struct envelope *env)
{
    const struct env_gen *cur;
    size_t n_prepared = 0;
    const char *why = check_head(env);

    for (size_t i = 0; *why == '\0' && i < env->n_gens; i++) {
        if (i > 0 && env->gens[i].gen <= env->gens[i - 1].gen)
            return "the generations are not in order";
        n_prepared += env->gens[i].state == GEN_PREPARED;
        why = check_gen(env, &env->gens[i]);
    }
    if (*why)
        return why;
    if (n_prepared != (env->rotation_kind & ROT_NEW_GENERATION ? 1u : 0u))
        return "the prepared generations do not fit the rotation";
    cur = envelope_gen(env, env->current);
    if (!cur || cur->state != GEN_LIVE)
        return "the current generation is not live";
    if (strcmp(cur->wrap.version, env->canary.version) != 0)
        return "the canary is under another version than the current generation";
    cur = envelope_gen(env, 1);
    if (cur && memcmp(cur->commitment, env->first_commitment, COMMITMENT_LEN) != 0)
        return "the first commitment is not that of generation 1";
    return "";
}

/* Derived values. */

RC env_commitment(const struct secret *smk, const uint8_t lineage[LINEAGE_LEN], uint32_t gen,
                  uint8_t out[COMMITMENT_LEN], struct err *e)
{
    AUTO(secret_freep) struct secret *c = NULL;
    uint8_t be[4];

    memset(out, 0, COMMITMENT_LEN);
    put_be32(be, gen);
    TRY(key_derive(smk, LABEL_COMMITMENT, SLICE(lineage, LINEAGE_LEN), SLICE(be, sizeof(be)), &c,
                   e));
    memcpy(out, secret_view(c), COMMITMENT_LEN);
    return RC_OK;
}

RC env_canary_mac(const struct secret *canary, const uint8_t lineage[LINEAGE_LEN],
                  uint8_t out[CANARY_MAC_LEN], struct err *e)
{
    AUTO(secret_freep) struct secret *c = NULL;

    memset(out, 0, CANARY_MAC_LEN);
    TRY(key_derive(canary, LABEL_CANARY, SLICE(lineage, LINEAGE_LEN), SLICE_EMPTY, &c, e));
    memcpy(out, secret_view(c), CANARY_MAC_LEN);
    return RC_OK;
}

static RC envelope_mac(struct keyring *ring, uint32_t gen, const uint8_t lineage[LINEAGE_LEN],
                       struct slice body, uint8_t out[ENV_MAC_LEN], struct err *e)
{
    AUTO(secret_freep) struct secret *key = NULL;

    TRY(keyring_derive(ring, gen, LABEL_ENVELOPE_MAC, SLICE(lineage, LINEAGE_LEN), SLICE_EMPTY,
                       &key, e));
    return hmac_sha256(key, &body, 1, out, e);
}

/* Writing. */

static void put_name(struct buf *b, const char *s)
{
    size_t len = strlen(s);

    buf_push_u8(b, (uint8_t)len);
    buf_push(b, s, len);
}

static void put_wrap(struct buf *b, const struct wrapped_key *w)
{
    buf_push_u8(b, w->len != 0);
    if (w->len == 0)
        return;
    put_name(b, w->version);
    put_name(b, w->alg);
    buf_push_be16(b, (uint16_t)w->len);
    buf_push(b, w->bytes, w->len);
}

static void put_gen(struct buf *b, const struct env_gen *g)
{
    buf_push_be32(b, g->gen);
    buf_push_u8(b, (uint8_t)g->state);
    buf_push_u8(b, g->flags);
    buf_push_be64(b, (uint64_t)g->created_s);
    buf_push(b, g->commitment, COMMITMENT_LEN);
    put_wrap(b, &g->wrap);
    put_wrap(b, &g->pending);
    buf_push_be32(b, g->n_dropped);
    buf_push_be16(b, g->n_history);
    for (size_t i = 0; i < g->n_history; i++) {
        put_name(b, g->history[i].version);
        buf_push_be64(b, (uint64_t)g->history[i].wrapped_s);
    }
}

static void put_head(struct buf *b, const struct envelope *env)
{
    buf_push(b, magic, sizeof(magic));
    buf_push_be16(b, ENV_FORMAT);
    buf_push_be16(b, 0);
    buf_push_be32(b, 0); /* the length, filled in at the end */
    buf_push_be64(b, env->sequence);
    buf_push(b, env->lineage, LINEAGE_LEN);
    buf_push(b, env->first_commitment, COMMITMENT_LEN);
    buf_push_u8(b, (uint8_t)env->mode);
    buf_push_u8(b, (uint8_t)env->rotation);
    buf_push_u8(b, env->rotation_kind);
    buf_push_u8(b, (uint8_t)env->target_mode);
    buf_push_be32(b, env->current);
    buf_push_be32(b, env->next_gen);
    buf_push_be64(b, (uint64_t)env->created_s);
    buf_push_be64(b, (uint64_t)env->written_s);
    buf_push(b, env->key_hash, KEY_HASH_LEN);
    buf_push(b, env->pending_key_hash, KEY_HASH_LEN);
    buf_push_be16(b, env->n_gens);
    INVARIANT(b->len == HEAD_LEN);
    put_wrap(b, &env->canary);
    buf_push(b, env->canary_mac, CANARY_MAC_LEN);
    put_wrap(b, &env->pending_canary);
    buf_push(b, env->pending_canary_mac, CANARY_MAC_LEN);
}

static size_t n_live(const struct envelope *env)
{
    size_t n = 0;

    for (size_t i = 0; i < env->n_gens; i++)
        n += env->gens[i].state == GEN_LIVE;
    return n;
}

/* put_body(): everything up to the MACs. */
static void put_body(struct buf *out, const struct envelope *env)
{
    size_t tail = 2 + n_live(env) * (4 + ENV_MAC_LEN) + ENV_DIGEST_LEN;

    buf_clear(out);
    put_head(out, env);
    for (size_t i = 0; i < env->n_gens; i++)
        put_gen(out, &env->gens[i]);
    put_be32(out->p + OFF_LENGTH, (uint32_t)(out->len + tail));
}

RC envelope_encode(const struct envelope *env, struct keyring *ring, struct buf *out, struct err *e)
{
    const char *why = envelope_check(env);
    size_t body_len;
    uint8_t digest[SHA256_LEN];

    if (*why)
        FAIL(e, ERR_INTERNAL, "an envelope was built that breaks a rule: %s", why);
    put_body(out, env);
    body_len = out->len;
    buf_push_be16(out, (uint16_t)n_live(env));
    for (size_t i = 0; i < env->n_gens; i++) {
        uint8_t mac[ENV_MAC_LEN];

        if (env->gens[i].state != GEN_LIVE)
            continue;
        TRY(envelope_mac(ring, env->gens[i].gen, env->lineage, SLICE(out->p, body_len), mac, e));
        buf_push_be32(out, env->gens[i].gen);
        buf_push(out, mac, sizeof(mac));
    }
    TRY(sha256(&SLICE(out->p, out->len), 1, digest, e));
    buf_push(out, digest, sizeof(digest));
    if (out->len > ENV_FILE_MAX || out->len != get_be32(out->p + OFF_LENGTH))
        FAIL(e, ERR_INTERNAL, "an envelope of %zu bytes cannot be written", out->len);
    return RC_OK;
}

/* Reading. */

static void take_wrap(struct in *in, struct wrapped_key *w)
{
    uint8_t there = take_u8(in);
    uint16_t len;

    if (there > 1)
        in->bad = true;
    if (there != 1 || in->bad)
        return;
    take_name(in, w->version, sizeof(w->version));
    take_name(in, w->alg, sizeof(w->alg));
    len = take_u16(in);
    if (len < 1 || len > WRAP_MAX) {
        in->bad = true;
        return;
    }
    take_bytes(in, w->bytes, len);
    w->len = len;
}

static void take_gen(struct in *in, struct env_gen *g)
{
    uint16_t n;

    g->gen = take_u32(in);
    g->state = (enum gen_state)take_u8(in);
    g->flags = take_u8(in);
    g->created_s = (int64_t)take_u64(in);
    take_bytes(in, g->commitment, COMMITMENT_LEN);
    take_wrap(in, &g->wrap);
    take_wrap(in, &g->pending);
    g->n_dropped = take_u32(in);
    n = take_u16(in);
    if (n > ENV_HISTORY_MAX)
        in->bad = true;
    if (in->bad || n == 0)
        return;
    g->history = NEW_ARRAY(struct env_version, n);
    g->n_history = n;
    for (size_t i = 0; i < n && !in->bad; i++) {
        take_name(in, g->history[i].version, sizeof(g->history[i].version));
        g->history[i].wrapped_s = (int64_t)take_u64(in);
    }
}

static void take_head(struct in *in, struct envelope *env, uint16_t *n_gens)
{
    (void)take(in, OFF_SEQUENCE); /* checked by frame_check() */
    env->sequence = take_u64(in);
    take_bytes(in, env->lineage, LINEAGE_LEN);
    take_bytes(in, env->first_commitment, COMMITMENT_LEN);
    env->mode = (enum key_mode)take_u8(in);
    env->rotation = (enum rotation_state)take_u8(in);
    env->rotation_kind = take_u8(in);
    env->target_mode = (enum key_mode)take_u8(in);
    env->current = take_u32(in);
    env->next_gen = take_u32(in);
    env->created_s = (int64_t)take_u64(in);
    env->written_s = (int64_t)take_u64(in);
    take_bytes(in, env->key_hash, KEY_HASH_LEN);
    take_bytes(in, env->pending_key_hash, KEY_HASH_LEN);
    *n_gens = take_u16(in);
    take_wrap(in, &env->canary);
    take_bytes(in, env->canary_mac, CANARY_MAC_LEN);
    take_wrap(in, &env->pending_canary);
    take_bytes(in, env->pending_canary_mac, CANARY_MAC_LEN);
}

/* frame_check(): magic, format, length, digest: damage is told from a newer format before anything inside is looked at. */
static RC frame_check(struct slice bytes, struct err *e)
{
    uint8_t digest[SHA256_LEN];

    if (bytes.len < HEAD_LEN + ENV_DIGEST_LEN || bytes.len > ENV_FILE_MAX)
        FAIL(e, ERR_ENVELOPE_CORRUPT, "an envelope cannot have %zu bytes", bytes.len);
    TRY(sha256(&SLICE(bytes.p, bytes.len - ENV_DIGEST_LEN), 1, digest, e));
    if (!ct_equal(digest, bytes.p + bytes.len - ENV_DIGEST_LEN, ENV_DIGEST_LEN))
        FAIL(e, ERR_ENVELOPE_CORRUPT, "the envelope's digest does not match");
    if (memcmp(bytes.p, magic, sizeof(magic)) != 0)
        FAIL(e, ERR_ENVELOPE_CORRUPT, "this is not an envelope");
    if (get_be16(bytes.p + OFF_FORMAT) != ENV_FORMAT)
        FAIL(e, ERR_UNKNOWN_FORMAT, "the envelope has format %u, this program knows %d",
             get_be16(bytes.p + OFF_FORMAT), ENV_FORMAT);
    if (get_be16(bytes.p + OFF_FORMAT + 2) != 0 || get_be32(bytes.p + OFF_LENGTH) != bytes.len)
        FAIL(e, ERR_ENVELOPE_CORRUPT, "the envelope's length does not match");
    return RC_OK;
}

/* take_macs(): only their place and order; envelope_verify() looks at them. */
static void take_macs(struct in *in, const struct envelope *env)
{
    if (take_u16(in) != n_live(env))
        in->bad = true;
    for (size_t i = 0; i < env->n_gens && !in->bad; i++) {
        if (env->gens[i].state != GEN_LIVE)
            continue;
        if (take_u32(in) != env->gens[i].gen)
            in->bad = true;
        (void)take(in, ENV_MAC_LEN);
    }
}

RC envelope_decode(struct slice bytes, struct envelope **out, struct err *e)
{
    AUTO(envelope_freep) struct envelope *env = NULL;
    struct in in = { 0 };
    uint16_t n_gens = 0;
    const char *why;

    *out = NULL;
    TRY(frame_check(bytes, e));
    in = (struct in){ .p = bytes.p, .left = bytes.len - ENV_DIGEST_LEN };
    env = envelope_new();
    take_head(&in, env, &n_gens);
    if (in.bad || n_gens == 0 || n_gens > CUSTODY_GEN_MAX)
        FAIL(e, ERR_ENVELOPE_CORRUPT, "the envelope's head is malformed");
    env->gens = NEW_ARRAY(struct env_gen, n_gens);
    for (; env->n_gens < n_gens && !in.bad; env->n_gens++)
        take_gen(&in, &env->gens[env->n_gens]);
    if (!in.bad)
        take_macs(&in, env);
    if (in.bad || in.left != 0)
        FAIL(e, ERR_ENVELOPE_CORRUPT, "the envelope is malformed");
    why = envelope_check(env);
    if (*why)
        FAIL(e, ERR_ENVELOPE_CORRUPT, "the envelope breaks a rule: %s", why);
    *out = TAKE(env);
    return RC_OK;
}

RC envelope_verify(const struct envelope *env, struct slice bytes, struct keyring *ring,
                   struct err *e)
{
    size_t n = n_live(env), tail = n * (4 + ENV_MAC_LEN) + ENV_DIGEST_LEN, body_len;
    const uint8_t *p;

    INVARIANT(bytes.len > tail + 2);
    body_len = bytes.len - tail - 2;
    p = bytes.p + body_len + 2;
    for (size_t i = 0; i < env->n_gens; i++) {
        uint8_t mac[ENV_MAC_LEN];

        if (env->gens[i].state != GEN_LIVE)
            continue;
        TRY(envelope_mac(ring, env->gens[i].gen, env->lineage, SLICE(bytes.p, body_len), mac, e));
        if (!ct_equal(mac, p + 4, ENV_MAC_LEN))
            FAIL(e, ERR_ENVELOPE_FORGED, "generation %u does not confirm the envelope",
                 env->gens[i].gen);
        p += 4 + ENV_MAC_LEN;
    }
    return RC_OK;
}

bool envelope_canonical(struct slice bytes)
{
    AUTO(envelope_freep) struct envelope *env = NULL;
    AUTO(buf_fini) struct buf again = BUF_INIT;
    struct err e = { 0 };

    if (envelope_decode(bytes, &env, &e).failed)
        return false;
    put_body(&again, env);
    return slice_has_prefix(bytes, buf_view(&again)) && get_be32(again.p + OFF_LENGTH) == bytes.len;
}
