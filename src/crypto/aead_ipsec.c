/* aead_ipsec.c - AES-256-GCM by libipsec-mb, through its direct (not job) interface.
 *
 * What the library does not do, and this file does:
 *  - Its functions return void. A tag is filled with a random pattern first; a tag that still shows it was never written.
 *  - Decryption writes the plain text before anything is verified and gives no verdict: the tag is compared here, in constant
 *    time, and aead.c wipes the output on a mismatch.
 *  - Expanded keys (1,008 bytes each) and the operation context, which holds a block of key stream, lie in the key arena:
 *    a small cache per thread, freed with the thread. An expansion costs 0.1 us, so the cache is short.
 *  - A forked child sees a zeroed arena; secret_bytes() checks the canary of the schedule before each use.
 *
 * The manager is allocated once and only read afterwards: the direct interface keeps no state in it.
 */
#ifdef COFFER_IPSEC_MB

#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <string.h>

#include "base/fault.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

struct scratch {
    struct aead__lru lru;
    struct secret *schedule[AEAD__SLOTS]; /* struct gcm_key_data; NULL until first used */
    struct secret *op;                    /* struct gcm_context_data */
};

static IMB_MGR *mgr;
/* the pattern; random, so that no input can be made to yield it */
static uint8_t unwritten[AEAD_TAG_LEN];
static pthread_key_t scratch_key;
static _Thread_local struct scratch *mine;

static void scratch_free(void *p)
{
    struct scratch *s = p;

    for (int i = 0; i < AEAD__SLOTS; i++)
        secret_free(s->schedule[i]);
    secret_free(s->op);
    mem_free(s);
    mine = NULL;
}

static const char *ipsec_name(void)
{
    switch ((IMB_ARCH)mgr->used_arch) {
    case IMB_ARCH_AVX512:
        return mgr->features & IMB_FEATURE_VAES ? "ipsec-mb avx512-vaes" : "ipsec-mb avx512";
    case IMB_ARCH_AVX2:
        return mgr->features & IMB_FEATURE_VAES ? "ipsec-mb avx2-vaes" : "ipsec-mb avx2";
    default: return "ipsec-mb sse"; /* release 1 also knows AVX, release 2 does not */
    }
}

static RC ipsec_start(bool *usable, struct err *e)
{
    const uint64_t need = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    IMB_MGR *m;

    *usable = mgr != NULL;
    if (mgr || !(m = alloc_mb_mgr(0)))
        return RC_OK;
    init_mb_mgr_auto(m, NULL);
    if ((m->features & need) != need) { /* emulated AES is neither fast nor constant-time */
        free_mb_mgr(m);
        return RC_OK;
    }
    if ((m->features & IMB_FEATURE_SELF_TEST) && !(m->features & IMB_FEATURE_SELF_TEST_PASS)) {
        free_mb_mgr(m);
        FAIL(e, ERR_CRYPTO, "libipsec-mb fails its own self-test");
    }
    if (random_bytes(unwritten, sizeof(unwritten), e).failed) {
        free_mb_mgr(m);
        return RC_FAILED;
    }
    INVARIANT(pthread_key_create(&scratch_key, scratch_free) == 0);
    mgr = m;
    *usable = true;
    return RC_OK;
}

/* prepare(): the expanded key and the operation context of this thread. */
static RC prepare(const struct aead_key *k, struct gcm_key_data **sched,
                  struct gcm_context_data **op, struct err *e)
{
    bool hit;
    int i;

    if (!mine) {
        mine = NEW(struct scratch);
        INVARIANT(pthread_setspecific(scratch_key, mine) == 0);
    }
    if (!mine->op)
        TRY(secret_new(sizeof(struct gcm_context_data), &mine->op, e));
    i = aead__lru_slot(&mine->lru, k->id, &hit);
    if (!mine->schedule[i])
        TRY(secret_new(sizeof(struct gcm_key_data), &mine->schedule[i], e));
    *sched = (struct gcm_key_data *)(void *)secret_bytes(mine->schedule[i]);
    *op = (struct gcm_context_data *)(void *)secret_bytes(mine->op);
    if (!hit) {
        IMB_AES256_GCM_PRE(mgr, secret_view(k->key), *sched);
        mine->lru.id[i] = k->id;
    }
    return RC_OK;
}

/* some(): the library takes no NULL, not even for nothing. */
static const uint8_t *some(struct slice s)
{
    static const uint8_t nothing[AEAD_TAG_LEN];

    return s.len ? s.p : nothing;
}

static RC ipsec_seal(const struct aead_key *k, const struct aead_seal *m, struct err *e)
{
    struct gcm_key_data *sched;
    struct gcm_context_data *op;
    uint8_t none[AEAD_TAG_LEN];

    if (fault_hit("crypto.aead"))
        FAIL(e, ERR_CRYPTO, "libipsec-mb could not seal");
    TRY(prepare(k, &sched, &op, e));
    memcpy(m->tag, unwritten, AEAD_TAG_LEN);
    IMB_AES256_GCM_ENC(mgr, sched, op, m->out ? m->out : none, some(m->plain), m->plain.len,
                       m->nonce, some(m->aad), m->aad.len, m->tag, AEAD_TAG_LEN);
    if (ct_equal(m->tag, unwritten, AEAD_TAG_LEN)) /* was anything written at all */
        FAIL(e, ERR_CRYPTO, "libipsec-mb did not seal");
    return RC_OK;
}

static RC ipsec_open(const struct aead_key *k, const struct aead_open *m, bool *match,
                     struct err *e)
{
    struct gcm_key_data *sched;
    struct gcm_context_data *op;
    uint8_t tag[AEAD_TAG_LEN], none[AEAD_TAG_LEN];

    *match = false;
    if (fault_hit("crypto.aead"))
        FAIL(e, ERR_CRYPTO, "libipsec-mb could not open");
    TRY(prepare(k, &sched, &op, e));
    memcpy(tag, unwritten, AEAD_TAG_LEN);
    IMB_AES256_GCM_DEC(mgr, sched, op, m->out ? m->out : none, some(m->cipher), m->cipher.len,
                       m->nonce, some(m->aad), m->aad.len, tag, AEAD_TAG_LEN);
    /* as above; a memcmp would show the right tag to a fuzzer that watches it */
    if (ct_equal(tag, unwritten, AEAD_TAG_LEN))
        FAIL(e, ERR_CRYPTO, "libipsec-mb did not open");
    *match = ct_equal(tag, m->tag, AEAD_TAG_LEN);
    mem_wipe(tag, sizeof(tag)); /* the right tag of a forged message is not left on the stack */
    return RC_OK;
}

const struct aead_engine aead__ipsec = {
    .name = ipsec_name, .start = ipsec_start, .seal = ipsec_seal, .open = ipsec_open
};

#else
typedef int aead_ipsec_is_not_here; /* ISO C wants one declaration per file */
#endif
