/* aead.c - which engine seals, and what all engines have in common.
 *
 * After an engine has computed, the sealed flag of the key arena is read once more: had the arena been wiped meanwhile, the
 * result might be sealed under a schedule of zeroes, that is, readable by anyone. Then the output is wiped and the call
 * fails.
 */
#include "crypto/aead.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

const struct aead_engine *const aead__engines[] = {
#ifdef COFFER_IPSEC_MB
    &aead__ipsec,
#endif
    &aead__openssl,
};
const size_t aead__n_engines = ARRAY_LEN(aead__engines);

static const struct aead_engine *engine; /* set once by crypto_init() */
static bool openssl_only;
static _Atomic uint64_t next_id = 1;

int aead__lru_slot(struct aead__lru *l, uint64_t id, bool *hit)
{
    int oldest = 0;

    l->tick++;
    for (int i = 0; i < AEAD__SLOTS; i++) {
        if (l->id[i] == id) {
            l->used[i] = l->tick;
            *hit = true;
            return i;
        }
        if (l->used[i] < l->used[oldest])
            oldest = i;
    }
    l->id[oldest] = 0;
    l->used[oldest] = l->tick;
    *hit = false;
    return oldest;
}

static RC check_random(struct err *e)
{
    uint8_t a[32], b[32];

    TRY(random_bytes(a, sizeof(a), e));
    TRY(random_bytes(b, sizeof(b), e));
    if (memcmp(a, b, sizeof(a)) == 0)
        FAIL(e, ERR_CRYPTO, "the kernel's random generator repeats itself");
    return RC_OK;
}

void crypto_require_openssl(void)
{
    INVARIANT(engine == NULL);
    openssl_only = true;
}

RC crypto_init(struct err *e)
{
    const struct aead_engine *en = NULL;
    bool usable = false;

    if (engine)
        return RC_OK;
    TRY(check_random(e));
    for (size_t i = 0; i < aead__n_engines && !usable; i++) {
        en = aead__engines[i];
        if (!openssl_only || en == &aead__openssl)
            TRY(en->start(&usable, e));
    }
    if (!usable)
        FAIL(e, ERR_CRYPTO, "no engine for AES-256-GCM works on this machine");
    TRY(aead__known_answers(en, e));
    engine = en;
    return RC_OK;
}

const char *crypto_engine(void)
{
    return engine ? engine->name() : "none";
}

int aead_algorithm(void)
{
    return AEAD_ALG_AES_256_GCM;
}

RC aead_key_new(const struct secret *key, struct aead_key **out, struct err *e)
{
    AUTO(secret_freep) struct secret *copy = NULL;

    *out = NULL;
    if (secret_arena_sealed())
        FAIL(e, ERR_KEY_LOCKED, "the keys were wiped from memory");
    if (secret_len(key) != AEAD_KEY_LEN)
        FAIL(e, ERR_CRYPTO, "AES-256-GCM takes a key of 32 bytes, not %zu", secret_len(key));
    TRY(secret_dup(key, &copy, e));
    *out = NEW(struct aead_key);
    (*out)->id = atomic_fetch_add(&next_id, 1);
    (*out)->key = TAKE(copy);
    return RC_OK;
}

void aead_key_free(struct aead_key *k)
{
    if (!k)
        return;
    secret_free(k->key);
    mem_free(k);
}

void aead_key_freep(struct aead_key **k)
{
    aead_key_free(*k);
    *k = NULL;
}

static RC check_args(struct slice aad, struct err *e)
{
    if (aad.len > AEAD_AAD_MAX)
        FAIL(e, ERR_CRYPTO, "associated data of %zu bytes is too long", aad.len);
    if (secret_arena_sealed())
        FAIL(e, ERR_KEY_LOCKED, "the keys were wiped from memory");
    return RC_OK;
}

RC aead__seal_with(const struct aead_engine *en, const struct aead_key *k,
                   const struct aead_seal *m, struct err *e)
{
    rc_t rc;

    INVARIANT(m->nonce && m->tag && (m->out || m->plain.len == 0) && (m->aad.p || m->aad.len == 0));
    TRY(check_args(m->aad, e));
    rc = en->seal(k, m, e);
    if (!rc.failed && secret_arena_sealed())
        rc = err_set(e, ERR_KEY_LOCKED, __FILE__, __LINE__, "the keys were wiped from memory");
    if (rc.failed) {
        mem_wipe(m->out, m->plain.len);
        mem_wipe(m->tag, AEAD_TAG_LEN);
    }
    return rc;
}

RC aead__open_with(const struct aead_engine *en, const struct aead_key *k,
                   const struct aead_open *m, struct err *e)
{
    bool match = false;
    rc_t rc;

    INVARIANT(m->nonce && m->tag && (m->out || m->cipher.len == 0) &&
              (m->aad.p || m->aad.len == 0));
    TRY(check_args(m->aad, e));
    rc = en->open(k, m, &match, e);
    if (!rc.failed && secret_arena_sealed())
        rc = err_set(e, ERR_KEY_LOCKED, __FILE__, __LINE__, "the keys were wiped from memory");
    if (!rc.failed && !match)
        rc = err_set(e, ERR_CORRUPT, __FILE__, __LINE__, "an authentication tag does not match");
    if (rc.failed)
        mem_wipe(m->out, m->cipher.len);
    return rc;
}

RC aead_seal(struct aead_key *k, const struct aead_seal *m, struct err *e)
{
    INVARIANT(engine != NULL);
    return aead__seal_with(engine, k, m, e);
}

RC aead_open(struct aead_key *k, const struct aead_open *m, struct err *e)
{
    INVARIANT(engine != NULL);
    return aead__open_with(engine, k, m, e);
}
