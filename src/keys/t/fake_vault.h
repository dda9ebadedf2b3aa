/* fake_vault.h - a key provider for tests: versions that can be disabled, expire and be lost, answers that can be wrong. Anyone may wrap
 * with it, as with a public key; only it unwraps. */
#ifndef KEYS_T_FAKE_VAULT_H
#define KEYS_T_FAKE_VAULT_H

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/fault.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/keywrap.h"
#include "crypto/secret.h"
#include "keys/provider.h"

enum { FAKE_VERSIONS = 40 };

enum fake_lie {
    FAKE_HONEST,
    FAKE_OTHER_KEY,    /* unwraps to another key's plain text, with success */
    FAKE_SHORT,        /* 31 bytes */
    FAKE_LONG,         /* 33 bytes */
    FAKE_ZERO,         /* 32 zeroes */
    FAKE_ECHO,         /* the cipher text */
    FAKE_WRAP_OTHER,   /* wraps with another version than asked for, and says so */
    FAKE_WRAP_NOTHING, /* wraps to nothing */
    FAKE_LIES,
};

struct fake_version {
    uint8_t kek[32];
    bool disabled, gone;
    int64_t not_before_s, expires_s;
};

struct fake_vault {
    struct key_provider p;
    struct fake_version v[FAKE_VERSIONS];
    int n; /* versions are "v1" to "v<n>" */
    int64_t now_s;
    enum err_code fail; /* every call fails so; ERR_NONE = none */
    int fail_after;     /* calls that still succeed */
    enum fake_lie lie;
    int calls, unwraps, wraps;
};

static inline int fake_index(const char *version)
{
    int i = 0;
    return version && sscanf(version, "v%d", &i) == 1 ? i - 1 : -1;
}

static inline RC fake_common(struct fake_vault *f, const char *version, int *at, struct err *e)
{
    *at = -1;
    f->calls++;
    if (fault_hit("fake.vault"))
        FAIL(e, ERR_KEY_UNREACHABLE, "the fake vault is made to fail");
    if (f->fail != ERR_NONE && f->fail_after-- <= 0)
        FAIL(e, f->fail, "the fake vault answers so");
    *at = version ? fake_index(version) : f->n - 1;
    if (*at < 0 || *at >= f->n || f->v[*at].gone)
        FAIL(e, ERR_KEY_NOT_FOUND, "there is no such version");
    return RC_OK;
}

static inline RC fake_get_key(struct key_provider *p, const char *version, uint64_t deadline_us,
                              struct key_info *out, struct err *e)
{
    struct fake_vault *f = CONTAINER_OF(p, struct fake_vault, p);
    int at;

    (void)deadline_us;
    memset(out, 0, sizeof(*out));
    TRY(fake_common(f, version, &at, e));
    snprintf(out->version, sizeof(out->version), "v%d", at + 1);
    snprintf(out->kty, sizeof(out->kty), "RSA");
    out->bits = 2048;
    out->enabled = !f->v[at].disabled;
    out->not_before_s = f->v[at].not_before_s;
    out->expires_s = f->v[at].expires_s;
    out->server_date_s = f->now_s;
    out->can_wrap = out->can_unwrap = true;
    out->grace_ms = -1;
    memset(out->public_sha256, at + 1, sizeof(out->public_sha256));
    return RC_OK;
}

static inline RC fake_kek(struct fake_vault *f, int at, struct secret **out, struct err *e)
{
    return secret_from(f->v[at].kek, 32, out, e);
}

static inline RC fake_wrap(struct key_provider *p, const char *version, const struct secret *plain,
                           uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct fake_vault *f = CONTAINER_OF(p, struct fake_vault, p);
    AUTO(secret_freep) struct secret *kek = NULL;
    int at;

    (void)deadline_us;
    memset(out, 0, sizeof(*out));
    TRY(fake_common(f, version, &at, e));
    if (f->v[at].disabled)
        FAIL(e, ERR_KEY_DENIED, "the version is disabled");
    f->wraps++;
    if (f->lie == FAKE_WRAP_NOTHING)
        return RC_OK;
    if (f->lie == FAKE_WRAP_OTHER)
        at = at ? 0 : 1;
    TRY(fake_kek(f, at, &kek, e));
    TRY(keywrap_wrap(kek, plain, out->bytes, e));
    out->len = (uint32_t)keywrap_len(secret_len(plain));
    snprintf(out->version, sizeof(out->version), "v%d", at + 1);
    snprintf(out->alg, sizeof(out->alg), "FAKE-KWP");
    return RC_OK;
}

static inline RC fake_unwrap(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                             uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct fake_vault *f = CONTAINER_OF(p, struct fake_vault, p);
    AUTO(secret_freep) struct secret *kek = NULL;
    int at;

    (void)deadline_us;
    (void)fresh;
    *out = NULL;
    TRY(fake_common(f, w->version, &at, e));
    if (f->v[at].disabled)
        FAIL(e, ERR_KEY_DENIED, "the version is disabled");
    f->unwraps++;
    switch (f->lie) {
    case FAKE_OTHER_KEY: return secret_random(32, out, e);
    case FAKE_SHORT: return secret_new(31, out, e);
    case FAKE_LONG: return secret_new(33, out, e);
    case FAKE_ZERO: return secret_new(32, out, e);
    case FAKE_ECHO: return secret_from(w->bytes, 32, out, e);
    default: break;
    }
    TRY(fake_kek(f, at, &kek, e));
    struct err why = { 0 };
    if (keywrap_unwrap(kek, SLICE(w->bytes, w->len), out, &why).failed)
        FAIL(e, why.code == ERR_CORRUPT ? ERR_KEY_BAD_ANSWER : why.code,
             "the fake vault cannot unwrap this");
    return RC_OK;
}

static inline void fake_free(struct key_provider *p)
{
    (void)p;
}

static inline void fake_add_version(struct fake_vault *f)
{
    /* not a fault point */
    INVARIANT(f->n < FAKE_VERSIONS && getrandom(f->v[f->n].kek, 32, 0) == 32);
    f->n++;
}

static inline void fake_init(struct fake_vault *f)
{
    memset(f, 0, sizeof(*f));
    f->p = (struct key_provider){ .name = "fake-vault",
                                  .get_key = fake_get_key,
                                  .wrap = fake_wrap,
                                  .unwrap = fake_unwrap,
                                  .free = fake_free };
    f->now_s = 1700000000;
    fake_add_version(f);
}

#endif
