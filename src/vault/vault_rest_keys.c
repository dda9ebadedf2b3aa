/* vault_rest_keys.c - create, import, get and update keys. See vault_rest.c for what happened before these run. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

/* ---- the operations ---- */

/* Takes *v where the key may have it. */
static void publish(struct rest_call *c, struct key_version **v) TS_REQUIRES(c->s->lock)
{
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;
    struct err e = { 0 };

    if (kv && vault__name_is_kept(c->s, kv, c->key)) {
        vault__rest_error(
            c, 409, "Conflict", "ObjectIsDeletedButRecoverable",
            "Key %s is currently in a deleted but recoverable state, and its name cannot be reused; in "
            "this state, the key can only be recovered or purged.",
            c->key);
        return;
    }
    if (!kv || (!k && kv->n_keys >= KEYS_MAX) || (k && k->n_versions >= VERSIONS_MAX)) {
        vault__rest_error(c, 403, "Forbidden", "LimitReached",
                          "The vault or the key is at its limit.");
        return;
    }
    c->version = arena_strdup(http_arena(c->q), (*v)->id);
    if (vault__add_version(c->s, kv, c->key, c->op->name, v, &e).failed) {
        vault__rest_internal(c, &e);
        return;
    }
    k = vault__find_key(kv, c->key);
    vault__rest_answer(c, 200, vault__bundle_json(c, k->name, k->versions[k->n_versions - 1]));
}

static bool read_bits(struct rest_call *c, const json_t *body, int *bits)
{
    int64_t n = 2048, exponent;

    if (kjson_has(body, "key_size") && !kjson_i64(body, "key_size", &n))
        return vault__bad(c, "key_size is not a number.");
    if (n != 2048 && n != 3072 && n != 4096)
        return vault__bad(c, "key_size is 2048, 3072 or 4096.");
    if (kjson_has(body, "public_exponent") &&
        (!kjson_i64(body, "public_exponent", &exponent) || exponent != 65537))
        return vault__bad(c, "public_exponent is 65537.");
    *bits = (int)n;
    return true;
}

static bool read_curve(struct rest_call *c, const json_t *body, enum ec_curve *curve)
{
    const char *crv = kjson_str(body, "crv");

    if (kjson_has(body, "key_size") || kjson_has(body, "public_exponent"))
        return vault__bad(c, "key_size and public_exponent are for RSA keys.");
    *curve = EC_P256;
    if (kjson_has(body, "crv") && (!crv || !ec_curve_named(crv, curve)))
        return vault__bad(c, "crv is P-256, P-384, P-521 or P-256K.");
    return true;
}

static bool read_spec(struct rest_call *c, const json_t *body, struct key_spec *spec)
{
    const char *kty = kjson_str(body, "kty");
    struct err e = { 0 };

    if (!kty)
        return vault__bad(c, "The property kty is required.");
    if (vault__key_type(kty, &spec->type, &e).failed)
        return vault__bad(c, e.msg);
    return spec->type == KEY_EC ? read_curve(c, body, &spec->curve)
                                : read_bits(c, body, &spec->bits);
}

void vault__publish_new(struct rest_call *c, struct key_version *v, struct wishes *w)
{
    vault__wishes_grant(v, w);
    mutex_lock(&c->s->lock);
    publish(c, &v);
    mutex_unlock(&c->s->lock);
    vault__version_free(v);
}

static bool check_wishes(struct rest_call *c, const struct wishes *w, enum key_type type)
{
    if (!vault__dates_fit(w->nbf, w->exp))
        return vault__bad(c, "nbf must be before exp.");
    return vault__wishes_fit(c, w, type);
}

static void create_with(struct rest_call *c, const json_t *body, struct wishes *w)
{
    struct key_version *v = NULL;
    struct key_spec spec = { 0 };
    struct err e = { 0 };

    if (!read_spec(c, body, &spec) || !vault__wishes_read(c, body, w) ||
        !check_wishes(c, w, spec.type))
        return;
    /* takes its time: not under the lock */
    if (vault__make_version(c->s, c->vault, c->key, &spec, &v, &e).failed)
        vault__rest_internal(c, &e);
    else
        vault__publish_new(c, v, w);
}

static bool has_name(struct rest_call *c)
{
    return *c->key || vault__bad(c, "The request URI contains an invalid name.");
}

void vault__key_create(struct rest_call *c)
{
    struct wishes w = { 0 };
    json_t *body;

    if (has_name(c) && vault__read_body(c, &body))
        create_with(c, body, &w);
    vault__wishes_free(&w);
}

static void import_with(struct rest_call *c, json_t *body, struct wishes *w)
{
    AUTO(secret_freep) struct secret *der = NULL;
    struct key_version *v = NULL;
    json_t *jwk = json_object_get(body, "key");
    struct key_public pub;
    struct err e = { 0 };
    bool hsm = false;

    if (!json_is_object(jwk)) {
        (void)vault__bad(c, "The property key is required.");
        return;
    }
    if (kjson_has(body, "Hsm") && (!kjson_bool(body, "Hsm", &hsm) || hsm)) {
        (void)vault__bad(c, "This vault holds no keys protected by hardware.");
        return;
    }
    /* key_ops stand in the key here */
    json_object_del(body, "key_ops");
    if (json_object_get(jwk, "key_ops"))
        json_object_set(body, "key_ops", json_object_get(jwk, "key_ops"));
    if (!vault__wishes_read(c, body, w))
        return;
    if (vault__jwk_read(jwk, &pub, &der, &e).failed) {
        if (e.code == ERR_BAD_VALUE)
            (void)vault__bad(c, e.msg);
        else
            vault__rest_internal(c, &e);
        return;
    }
    if (!check_wishes(c, w, pub.type))
        return;
    if (vault__version_of(c->s, c->vault, c->key, &pub, der, &v, &e).failed)
        vault__rest_internal(c, &e);
    else
        vault__publish_new(c, v, w);
}

void vault__key_import(struct rest_call *c)
{
    struct wishes w = { 0 };
    json_t *body;

    if (has_name(c) && vault__read_body(c, &body))
        import_with(c, body, &w);
    vault__wishes_free(&w);
}

static struct key_version *find(struct rest_call *c, struct vkey **key)
{
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;
    struct key_version *v = k ? vault__find_version(k, c->version) : NULL;

    *key = k;
    if (!v)
        vault__not_found(c);
    else
        c->version = arena_strdup(http_arena(c->q), v->id); /* for the record */
    return v;
}

void vault__key_get(struct rest_call *c)
{
    struct vkey *k;

    mutex_lock(&c->s->lock);
    struct key_version *v = find(c, &k);
    if (v && !v->enabled)
        vault__rest_error(c, 403, "Forbidden", "KeyDisabled",
                          "Operation get is not allowed on a disabled key.");
    else if (v)
        vault__rest_answer(c, 200, vault__bundle_json(c, k->name, v));
    mutex_unlock(&c->s->lock);
}

static void update_locked(struct rest_call *c, struct wishes *w) TS_REQUIRES(c->s->lock)
{
    struct vkey *k;
    struct key_version *v = find(c, &k);
    struct err e = { 0 };

    if (!v)
        return;
    if (!vault__dates_fit(w->has_nbf ? w->nbf : v->nbf, w->has_exp ? w->exp : v->exp)) {
        (void)vault__bad(c, "nbf must be before exp.");
        return;
    }
    if (!vault__wishes_fit(c, w, v->pub.type))
        return;
    int64_t was_updated = v->updated;
    vault__wishes_grant(v, w);
    v->updated = clock_real_s();
    if (vault__state_save(c->s, &e).failed) {
        vault__wishes_grant(v, w);
        v->updated = was_updated;
        vault__rest_internal(c, &e);
        return;
    }
    vault__rest_answer(c, 200, vault__bundle_json(c, k->name, v));
}

void vault__key_update(struct rest_call *c)
{
    struct wishes w = { 0 };
    json_t *body;

    if (vault__read_body(c, &body) && vault__wishes_read(c, body, &w)) {
        mutex_lock(&c->s->lock);
        update_locked(c, &w);
        mutex_unlock(&c->s->lock);
    }
    vault__wishes_free(&w);
}
