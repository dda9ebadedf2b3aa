/* aead_openssl.c - AES-256-GCM by OpenSSL's EVP: where libipsec-mb is not packaged, the CPU lacks AES-NI, or FIPS is asked for.
 *
 * One cipher context per thread and recent key, so that a message costs a new nonce and not a new key schedule. OpenSSL keeps those
 * schedules in ordinary heap, cleansed when the thread ends or another key takes the slot: with this engine they are not
 * locked in memory (docs/threat-model.md, T6). After the key arena was wiped aead.c lets none of them be used.
 */
#include <openssl/evp.h>
#include <pthread.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "crypto_priv.h"

enum { UPDATE_MAX = 1 << 30 }; /* EVP counts in int */

struct scratch {
    struct aead__lru seal_lru, open_lru;
    EVP_CIPHER_CTX *seal[AEAD__SLOTS], *open[AEAD__SLOTS];
};

static EVP_CIPHER *cipher;
static pthread_key_t scratch_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct scratch *mine;

static void scratch_free(void *p)
{
    struct scratch *s = p;

    for (int i = 0; i < AEAD__SLOTS; i++) {
        EVP_CIPHER_CTX_free(s->seal[i]);
        EVP_CIPHER_CTX_free(s->open[i]);
    }
    mem_free(s);
    mine = NULL;
}

static void prepare_module(void)
{
    cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    INVARIANT(pthread_key_create(&scratch_key, scratch_free) == 0);
}

static const char *openssl_name(void)
{
    return "openssl";
}

static RC openssl_start(bool *usable, struct err *e)
{
    pthread_once(&once, prepare_module);
    *usable = cipher != NULL;
    if (!cipher)
        OSSL_FAIL(e, "fetch AES-256-GCM");
    return RC_OK;
}

/* prepare(): this thread's context for k, with the nonce set. */
static RC prepare(const struct aead_key *k, bool seal, const uint8_t *nonce, EVP_CIPHER_CTX **out,
                  struct err *e)
{
    EVP_CIPHER_CTX **ctx;
    struct aead__lru *lru;
    bool hit;
    int i;

    if (fault_hit("crypto.aead"))
        OSSL_FAIL(e, "prepare AES-256-GCM");
    if (!mine) {
        mine = NEW(struct scratch);
        INVARIANT(pthread_setspecific(scratch_key, mine) == 0);
    }
    lru = seal ? &mine->seal_lru : &mine->open_lru;
    ctx = seal ? mine->seal : mine->open;
    /* a forked child has the contexts, but no business using them: this panics there */
    (void)secret_view(k->key);
    i = aead__lru_slot(lru, k->id, &hit);
    if (!ctx[i] && !(ctx[i] = EVP_CIPHER_CTX_new()))
        OSSL_FAIL(e, "make a cipher context");
    if (!hit && !EVP_CipherInit_ex2(ctx[i], cipher, secret_view(k->key), nonce, seal, NULL))
        OSSL_FAIL(e, "key AES-256-GCM");
    lru->id[i] = k->id;
    if (hit && !EVP_CipherInit_ex2(ctx[i], NULL, NULL, nonce, seal, NULL)) {
        lru->id[i] = 0;
        OSSL_FAIL(e, "set a nonce");
    }
    *out = ctx[i];
    return RC_OK;
}

static bool update(EVP_CIPHER_CTX *c, uint8_t *out, struct slice in)
{
    for (size_t done = 0, n; done < in.len; done += n) {
        int wrote;

        n = MIN(in.len - done, (size_t)UPDATE_MAX);
        if (!EVP_CipherUpdate(c, out ? out + done : NULL, &wrote, in.p + done, (int)n) ||
            wrote != (int)n)
            return false;
    }
    return true;
}

static RC openssl_seal(const struct aead_key *k, const struct aead_seal *m, struct err *e)
{
    EVP_CIPHER_CTX *c;
    uint8_t rest[AEAD_TAG_LEN];
    int n;

    TRY(prepare(k, true, m->nonce, &c, e));
    if (!update(c, NULL, m->aad) || !update(c, m->out, m->plain) ||
        !EVP_CipherFinal_ex(c, rest, &n) ||
        !EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, m->tag))
        OSSL_FAIL(e, "seal with AES-256-GCM");
    return RC_OK;
}

static RC openssl_open(const struct aead_key *k, const struct aead_open *m, bool *match,
                       struct err *e)
{
    uint8_t tag[AEAD_TAG_LEN], rest[AEAD_TAG_LEN];
    EVP_CIPHER_CTX *c;
    int n;

    *match = false;
    memcpy(tag, m->tag, sizeof(tag)); /* the call below takes no const */
    TRY(prepare(k, false, m->nonce, &c, e));
    if (!EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, tag) ||
        !update(c, NULL, m->aad) || !update(c, m->out, m->cipher))
        OSSL_FAIL(e, "open with AES-256-GCM");
    *match = EVP_CipherFinal_ex(c, rest, &n) > 0; /* compares in constant time */
    return RC_OK;
}

const struct aead_engine aead__openssl = {
    .name = openssl_name, .start = openssl_start, .seal = openssl_seal, .open = openssl_open
};
