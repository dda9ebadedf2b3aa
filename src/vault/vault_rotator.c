/* vault_rotator.c - what happens to keys by itself: versions that rotation policies ask for, and what is told of versions that expire.
 *
 * A thread makes a pass every so often (setting rotation-check) and at the start. A pass first lets go what was deleted long enough ago
 * (vault_retention.c), then tells, once for each version and kept
 * over restarts, that the newest version of a key is near its expiry, or past it; then it rotates what is due, a key at a time.
 *
 * A disabled key is not rotated: who disabled it took it away, and a new version would give it back. Nor is a deleted one.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "vault_priv.h"

#define OPERATION "KeyRotateIfDue"

/* A newest version, named: nothing of it is held while the lock is not. */
struct named {
    char vault[VAULT_NAME_MAX + 1], key[KEY_NAME_MAX + 1], version[VERSION_LEN + 1];
    unsigned tell; /* enum key_told bits */
    int64_t exp;
};
struct named_list {
    struct named *v;
    size_t n, cap;
};

static void add(struct named_list *l, const struct keyvault *kv, const struct vkey *k,
                unsigned tell)
{
    const struct key_version *v = k->versions[k->n_versions - 1];

    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->v = mem_realloc(l->v, l->cap * sizeof *l->v);
    }
    struct named *x = &l->v[l->n++];
    memset(x, 0, sizeof *x);
    memcpy(x->vault, kv->name, sizeof x->vault);
    memcpy(x->key, k->name, sizeof x->key);
    memcpy(x->version, v->id, sizeof x->version);
    x->tell = tell;
    x->exp = v->exp;
}

/* ---- what is told ---- */

static unsigned untold(const struct vkey *k, int64_t now_s)
{
    const struct key_version *v = k->versions[k->n_versions - 1];
    int64_t near_s = vault__policy_notifies_at(k);
    unsigned bits = 0;

    if (v->exp && v->exp <= now_s)
        bits = TOLD_EXPIRED;
    else if (near_s && near_s <= now_s)
        bits = TOLD_NEAR;
    return bits & ~v->told;
}

static bool is_due(const struct vkey *k, int64_t now_s)
{
    int64_t at_s = vault__policy_rotates_at(k);

    return at_s && at_s <= now_s && k->versions[k->n_versions - 1]->enabled &&
           k->n_versions < VERSIONS_MAX;
}

static void look(struct vault_service *s, int64_t now_s, struct named_list *tell,
                 struct named_list *due) TS_REQUIRES(s->lock)
{
    for (int i = 0; i < s->n_vaults; i++)
        for (int n = 0; n < s->vaults[i]->n_keys; n++) {
            const struct vkey *k = s->vaults[i]->keys[n];
            if (k->deleted_s)
                continue;
            unsigned bits = untold(k, now_s);
            if (bits)
                add(tell, s->vaults[i], k, bits);
            if (is_due(k, now_s))
                add(due, s->vaults[i], k, 0);
        }
}

static struct vkey *key_of(struct vault_service *s, const struct named *x) TS_REQUIRES(s->lock)
{
    struct keyvault *kv = vault__find_vault(s, x->vault);
    struct vkey *k = kv ? vault__find_key(kv, x->key) : NULL;

    return k && strcmp(k->versions[k->n_versions - 1]->id, x->version) == 0 ? k : NULL;
}

static void set_told(struct vault_service *s, const struct named_list *l, bool told)
    TS_REQUIRES(s->lock)
{
    for (size_t i = 0; i < l->n; i++) {
        struct vkey *k = key_of(s, &l->v[i]);
        INVARIANT(k != NULL); /* the lock was not let go since look() */
        struct key_version *v = k->versions[k->n_versions - 1];
        v->told = told ? v->told | l->v[i].tell : v->told & ~l->v[i].tell;
    }
}

/* First kept, then told: a version is told of once, or, when the process ends in between, not at all. */
static void tell(struct vault_service *s, const struct named_list *l) TS_REQUIRES(s->lock)
{
    struct err e = { 0 };

    if (l->n == 0)
        return;
    set_told(s, l, true);
    if (vault__state_save(s, &e).failed) {
        set_told(s, l, false);
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        const struct named *x = &l->v[i];
        if (x->tell & TOLD_EXPIRED)
            log_event(EV_VAULT_KEY_EXPIRED, KV_STR("vault", x->vault), KV_STR("key", x->key),
                      KV_STR("version", x->version), KV_I64("exp", x->exp));
        else
            log_event(EV_VAULT_KEY_NEAR_EXPIRY, KV_STR("vault", x->vault), KV_STR("key", x->key),
                      KV_STR("version", x->version), KV_I64("exp", x->exp));
    }
}

/* ---- what is rotated ---- */

/* With the lock held: takes *v on success, unless the key has changed meanwhile. */
static RC put_next(struct vault_service *s, const struct named *x, int64_t now_s,
                   struct key_version **v, struct err *e) TS_REQUIRES(s->lock)
{
    const struct vkey *k = key_of(s, x);

    if (!k || !is_due(k, now_s))
        return RC_OK;
    TRY(vault__audit_ready(s, e));
    char id[VERSION_LEN + 1];
    memcpy(id, (*v)->id, sizeof id);
    rc_t rc = vault__add_version(s, vault__find_vault(s, x->vault), x->key, OPERATION, v, e);
    vault__record_own(s, OPERATION, "rotation policy", x->vault, x->key, id,
                      rc.failed ? "InternalServerError" : "");
    return rc;
}

static RC rotate_one(struct vault_service *s, const struct named *x, int64_t now_s, struct err *e)
{
    struct key_version *v = NULL;
    struct key_spec spec;
    struct wishes w = { 0 };

    mutex_lock(&s->lock);
    const struct vkey *k = key_of(s, x);
    if (k)
        vault__next_version(k, now_s, &spec, &w);
    mutex_unlock(&s->lock);
    if (!k)
        return RC_OK;
    /* takes its time: not under the lock */
    rc_t rc = vault__make_version(s, x->vault, x->key, &spec, &v, e);
    if (!rc.failed) {
        vault__wishes_grant(v, &w);
        mutex_lock(&s->lock);
        rc = put_next(s, x, now_s, &v, e);
        mutex_unlock(&s->lock);
        vault__version_free(v);
    }
    vault__wishes_free(&w);
    return rc;
}

static bool stops(struct vault_service *s)
{
    mutex_lock(&s->lock);
    bool stop = s->rotator_stops;
    mutex_unlock(&s->lock);
    return stop;
}

void vault__rotator_pass(struct vault_service *s, int64_t now_s)
{
    struct named_list told = { 0 }, due = { 0 };

    vault__purge_all(s, now_s);
    mutex_lock(&s->lock);
    look(s, now_s, &told, &due);
    tell(s, &told);
    mutex_unlock(&s->lock);
    for (size_t i = 0; i < due.n && !stops(s); i++) {
        struct err e = { 0 };
        if (rotate_one(s, &due.v[i], now_s, &e).failed)
            log_err(EV_VAULT_FAILED, &e,
                    (const struct kv[]){ KV_STR("operation", OPERATION),
                                         KV_STR("vault", due.v[i].vault),
                                         KV_STR("key", due.v[i].key) },
                    3);
    }
    mem_free(told.v);
    mem_free(due.v);
}

/* ---- the thread ---- */

static void *run(void *arg)
{
    struct vault_service *s = arg;

    while (!stops(s)) {
        vault__rotator_pass(s, clock_real_s());
        vault__refused_sum(s);
        vault__audit_keep(s, clock_real_s());
        uint64_t next_us = clock_mono_us() + s->rotation_check_ms * 1000;
        mutex_lock(&s->lock);
        while (!s->rotator_stops && cond_wait_until(&s->rotator_wakes, &s->lock, next_us))
            ;
        mutex_unlock(&s->lock);
    }
    return NULL;
}

void vault__rotator_start(struct vault_service *s)
{
    s->rotator = thread_start("vault-rotator", run, s);
    s->rotator_runs = true;
}

void vault__rotator_stop(struct vault_service *s)
{
    if (!s->rotator_runs)
        return;
    mutex_lock(&s->lock);
    s->rotator_stops = true;
    cond_broadcast(&s->rotator_wakes);
    mutex_unlock(&s->lock);
    thread_join(s->rotator);
    s->rotator_runs = false;
}
