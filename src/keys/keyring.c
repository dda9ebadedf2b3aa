/* keyring.c - the unwrapped SMK generations of one cluster. */
#include "keys/keyring.h"

#include "base/mem.h"
#include "base/thread.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys_priv.h"

static const char info_prefix[] = "cofferdb/1"; /* without its NUL */

enum { CONTEXT_MAX = 1024 };

struct generation {
    uint32_t gen;
    struct secret *smk; /* owned */
};

struct keyring {
    /* guards all below; held during a derivation, which takes some microseconds */
    struct mutex lock;
    uint32_t refs;
    uint32_t current; /* 0 = none */
    size_t n;
    struct generation *row; /* n of them */
};

struct keyring *keyring_new(void)
{
    struct keyring *k = NEW(struct keyring);

    mutex_init(&k->lock);
    k->refs = 1;
    return k;
}

struct keyring *keyring_ref(struct keyring *k)
{
    mutex_lock(&k->lock);
    k->refs++;
    mutex_unlock(&k->lock);
    return k;
}

void keyring_unref(struct keyring *k)
{
    uint32_t left;

    if (!k)
        return;
    mutex_lock(&k->lock);
    INVARIANT(k->refs > 0);
    left = --k->refs;
    mutex_unlock(&k->lock);
    if (left)
        return;
    for (size_t i = 0; i < k->n; i++)
        secret_free(k->row[i].smk);
    mem_free(k->row);
    mutex_fini(&k->lock);
    mem_free(k);
}

void keyring_unrefp(struct keyring **k)
{
    keyring_unref(*k);
    *k = NULL;
}

static struct generation *find_locked(const struct keyring *k, uint32_t gen)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->row[i].gen == gen)
            return &k->row[i];
    return NULL;
}

RC keyring_add(struct keyring *k, uint32_t gen, struct secret *smk, struct err *e)
{
    rc_t rc = RC_OK;

    if (gen == 0 || secret_len(smk) != SMK_LEN) {
        secret_free(smk);
        FAIL(e, ERR_CRYPTO, "generation %u cannot have such an SMK", gen);
    }
    mutex_lock(&k->lock);
    if (find_locked(k, gen)) {
        rc = err_set(e, ERR_CONFLICT, __FILE__, __LINE__, "the key ring has generation %u already",
                     gen);
    } else {
        k->row = mem_realloc(k->row, (k->n + 1) * sizeof(*k->row));
        k->row[k->n++] = (struct generation){ .gen = gen, .smk = TAKE(smk) };
    }
    mutex_unlock(&k->lock);
    secret_free(smk);
    return rc;
}

RC keyring_set_current(struct keyring *k, uint32_t gen, struct err *e)
{
    bool there;

    mutex_lock(&k->lock);
    there = find_locked(k, gen) != NULL;
    if (there)
        k->current = gen;
    mutex_unlock(&k->lock);
    if (!there)
        FAIL(e, ERR_MISSING_GENERATION, "the key ring lacks generation %u", gen);
    return RC_OK;
}

uint32_t keyring_current(const struct keyring *k)
{
    /* the lock is not part of what const promises */
    struct keyring *m = (struct keyring *)(uintptr_t)k;
    uint32_t gen;

    mutex_lock(&m->lock);
    gen = m->current;
    mutex_unlock(&m->lock);
    return gen;
}

bool keyring_has(const struct keyring *k, uint32_t gen)
{
    struct keyring *m = (struct keyring *)(uintptr_t)k;
    bool there;

    mutex_lock(&m->lock);
    there = find_locked(m, gen) != NULL;
    mutex_unlock(&m->lock);
    return there;
}

size_t keyring_list(const struct keyring *k, uint32_t *gens, size_t max)
{
    struct keyring *m = (struct keyring *)(uintptr_t)k;
    size_t n;

    mutex_lock(&m->lock);
    n = m->n;
    for (size_t i = 0; i < n && i < max; i++)
        gens[i] = m->row[i].gen;
    mutex_unlock(&m->lock);
    return n;
}

void keyring_drop(struct keyring *k, uint32_t gen)
{
    struct generation *g;

    mutex_lock(&k->lock);
    INVARIANT(k->current != gen); /* the current generation seals new files */
    g = find_locked(k, gen);
    if (g) {
        secret_free(g->smk);
        *g = k->row[--k->n];
    }
    mutex_unlock(&k->lock);
}

/* derive_info(): "cofferdb/1" || label(2, big endian) || context, as label.h fixes it. */
static RC derive_info(enum key_label label, struct slice context, struct buf *info, struct err *e)
{
    if (context.len > CONTEXT_MAX)
        FAIL(e, ERR_CRYPTO, "a derivation context of %zu bytes is too long", context.len);
    buf_push(info, info_prefix, sizeof(info_prefix) - 1);
    buf_push_be16(info, (uint16_t)label);
    buf_push(info, context.p, context.len);
    return RC_OK;
}

RC key_derive(const struct secret *ikm, enum key_label label, struct slice salt,
              struct slice context, struct secret **out, struct err *e)
{
    AUTO(buf_fini) struct buf info = BUF_INIT;

    *out = NULL;
    TRY(derive_info(label, context, &info, e));
    return hkdf_sha256(ikm, salt, buf_view(&info), DERIVED_LEN, out, e);
}

RC keyring_derive(struct keyring *k, uint32_t gen, enum key_label label, struct slice salt,
                  struct slice context, struct secret **out, struct err *e)
{
    struct generation *g;
    rc_t rc;

    *out = NULL;
    if (secret_arena_sealed()) /* before the lock: its holder may be parked on a wiped secret */
        FAIL(e, ERR_KEY_LOCKED, "the keys were wiped from memory");
    mutex_lock(&k->lock);
    g = find_locked(k, gen);
    if (g)
        rc = key_derive(g->smk, label, salt, context, out, e);
    else
        rc = err_set(e, ERR_MISSING_GENERATION, __FILE__, __LINE__,
                     "the key ring lacks generation %u", gen);
    mutex_unlock(&k->lock);
    return rc;
}

RC keyring__dup_smk(struct keyring *k, uint32_t gen, struct secret **out, struct err *e)
{
    struct generation *g;
    rc_t rc;

    *out = NULL;
    if (secret_arena_sealed())
        FAIL(e, ERR_KEY_LOCKED, "the keys were wiped from memory");
    mutex_lock(&k->lock);
    g = find_locked(k, gen);
    if (g)
        rc = secret_dup(g->smk, out, e);
    else
        rc = err_set(e, ERR_MISSING_GENERATION, __FILE__, __LINE__,
                     "the key ring lacks generation %u", gen);
    mutex_unlock(&k->lock);
    return rc;
}
