/* aead_null.c - the null cipher that benchmarks compare with: it copies. Linked instead of aead.c, never installed.
 *
 * Its algorithm id is not the product's, so a store made by one refuses to be opened by the other. It counts on nothing: keys are
 * made and freed as in the product, so that only the cipher itself is missing from a comparison.
 */
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"

struct aead_key {
    struct secret *key;
};

RC crypto_init(struct err *e)
{
    uint8_t probe[16];

    return random_bytes(probe, sizeof(probe), e);
}

void crypto_require_openssl(void)
{
}

const char *crypto_engine(void)
{
    return "null (benchmark only)";
}

int aead_algorithm(void)
{
    return AEAD_ALG_NULL;
}

RC aead_key_new(const struct secret *key, struct aead_key **out, struct err *e)
{
    AUTO(secret_freep) struct secret *copy = NULL;

    *out = NULL;
    TRY(secret_dup(key, &copy, e));
    *out = NEW(struct aead_key);
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

RC aead_seal(struct aead_key *k, const struct aead_seal *m, struct err *e)
{
    (void)k;
    (void)e;
    if (m->plain.len && m->out != m->plain.p)
        memmove(m->out, m->plain.p, m->plain.len);
    memset(m->tag, 0, AEAD_TAG_LEN);
    return RC_OK;
}

RC aead_open(struct aead_key *k, const struct aead_open *m, struct err *e)
{
    static const uint8_t zero[AEAD_TAG_LEN];

    (void)k;
    if (memcmp(m->tag, zero, AEAD_TAG_LEN) != 0) /* banned-ok: no secret in the null cipher */
        FAIL(e, ERR_CORRUPT, "an authentication tag does not match");
    if (m->cipher.len && m->out != m->cipher.p)
        memmove(m->out, m->cipher.p, m->cipher.len);
    return RC_OK;
}
