/* vault_state.c - the state as one JSON text (docs/formats/vault.md 2), which vault_seal.c puts on the disk.
 *
 * Private keys are in it sealed one by one, so that this text, its parser and its copies never hold key bytes. The text is
 * authenticated before it is read; a member that is missing or wrong is damage all the same, never a default.
 */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { STATE_DEPTH = 12 };

json_t *vault__bytes_json(struct slice in)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    base64url_encode(in, &b);
    return json_stringn((const char *)b.p, b.len);
}

static json_t *text_json(const struct buf *b)
{
    return json_stringn((const char *)b->p, b->len);
}

static json_t *version_json(const struct key_version *v)
{
    json_t *tags = json_array();

    for (int i = 0; i < v->n_tags; i++)
        json_array_append_new(tags, json_pack("[s,s]", v->tags[i].name, v->tags[i].value));
    json_t *o = json_pack("{s:s,s:o,s:b,s:I,s:I,s:I,s:I,s:i,s:i,s:o}", "id", v->id, "sealed",
                          vault__bytes_json(buf_view(&v->sealed)), "enabled", v->enabled, "nbf",
                          (json_int_t)v->nbf, "exp", (json_int_t)v->exp, "created",
                          (json_int_t)v->created, "updated", (json_int_t)v->updated, "ops",
                          (int)v->ops, "told", (int)v->told, "tags", tags);
    vault__jwk_write(&v->pub, o);
    return o;
}

json_t *vault__key_json(const struct vkey *k)
{
    json_t *versions = json_array();

    for (int i = 0; i < k->n_versions; i++)
        json_array_append_new(versions, version_json(k->versions[i]));
    json_t *key = json_pack("{s:s,s:o}", "name", k->name, "versions", versions);
    if (k->deleted_s)
        json_object_set_new(key, "deleted",
                            json_pack("[I,I]", (json_int_t)k->deleted_s, (json_int_t)k->purge_s));
    if (k->policy.created)
        json_object_set_new(key, "rotation", vault__policy_json(&k->policy));
    return key;
}

static json_t *vault_json(const struct keyvault *kv)
{
    json_t *keys = json_array();

    for (int i = 0; i < kv->n_keys; i++)
        json_array_append_new(keys, vault__key_json(kv->keys[i]));
    json_t *o = json_pack("{s:s,s:o,s:o}", "name", kv->name, "settings",
                          vault__props_json(kv->props), "keys", keys);
    vault__access_json(kv->access, o);
    return o;
}

RC vault__state_save(struct vault_service *s, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    json_t *tenants = json_array(), *signers = json_array(), *people = json_array(),
           *vaults = json_array();

    for (int i = 0; i < s->n_tenants; i++)
        json_array_append_new(tenants, vault__tenant_json(s->tenants[i]));
    for (int i = 0; i < s->n_signers; i++)
        json_array_append_new(signers, vault__signer_json(s->signers[i]));
    for (int i = 0; i < s->n_identities; i++)
        json_array_append_new(people, vault__identity_json(s->identities[i]));
    for (int i = 0; i < s->n_vaults; i++)
        json_array_append_new(vaults, vault_json(s->vaults[i]));
    AUTO(kjson_freep) json_t *all =
        json_pack("{s:i,s:o,s:o,s:o,s:o,s:o,s:o}", "format", VAULT_STATE_FORMAT, "tenants", tenants,
                  "caCertificate", text_json(&s->ca_pem), "caKey",
                  vault__bytes_json(buf_view(&s->ca_sealed)), "signers", signers, "identities",
                  people, "vaults", vaults);
    INVARIANT(all != NULL); /* every text in it was valid UTF-8 when it came in */
    if (s->n_roles > 0)
        json_object_set_new(all, "roles", vault__roles_json(s));
    kjson_dump(all, &text);
    return vault__file_save(s, buf_view(&text), e);
}

/* ---- reading ---- */

bool vault__get_bytes(const json_t *o, const char *member, struct buf *out)
{
    const char *text = kjson_str(o, member);

    return text && base64url_decode(slice_str(text), out);
}

bool vault__get_text(const json_t *o, const char *member, char *out, size_t len)
{
    const char *text = kjson_str(o, member);

    return text && strlen(text) < len && (memcpy(out, text, strlen(text) + 1), true);
}

bool vault__get_public(const json_t *o, struct rsa_public *out)
{
    AUTO(buf_fini) struct buf n = BUF_INIT;
    AUTO(buf_fini) struct buf x = BUF_INIT;

    if (!vault__get_bytes(o, "n", &n) || !vault__get_bytes(o, "e", &x) || n.len > RSA_BYTES_MAX ||
        x.len > RSA_EXPONENT_MAX || !n.len || !x.len)
        return false;
    memcpy(out->n, n.p, n.len);
    memcpy(out->e, x.p, x.len);
    out->n_len = (uint32_t)n.len;
    out->e_len = (uint32_t)x.len;
    return true;
}

static bool get_coordinate(const json_t *o, const char *member, uint32_t len, uint8_t *out)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    return vault__get_bytes(o, member, &b) && b.len == len && (memcpy(out, b.p, len), true);
}

static bool get_ec(const json_t *o, struct ec_public *out)
{
    const char *crv = kjson_str(o, "crv");

    if (!crv || !ec_curve_named(crv, &out->curve))
        return false;
    out->len = ec_coordinate_len(out->curve);
    return get_coordinate(o, "x", out->len, out->x) && get_coordinate(o, "y", out->len, out->y);
}

/* Up to format 3 every key was an RSA key. */
static bool get_public(const json_t *o, int64_t format, struct key_public *out)
{
    const char *kty = format < 4 ? "RSA" : kjson_str(o, "kty");
    struct err e = { 0 };

    if (!kty || vault__key_type(kty, &out->type, &e).failed)
        return false;
    return out->type == KEY_EC ? get_ec(o, &out->ec) : vault__get_public(o, &out->rsa);
}

static bool get_tags(const json_t *o, struct key_version *v)
{
    const json_t *tags = kjson_arr(o, "tags");

    if (!tags || json_array_size(tags) > TAGS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *pair = json_array_get(tags, i);
        const char *name = json_string_value(json_array_get(pair, 0)),
                   *value = json_string_value(json_array_get(pair, 1));
        if (!name || !value)
            return false;
        v->tags[v->n_tags].name = mem_strdup(name);
        v->tags[v->n_tags++].value = mem_strdup(value);
    }
    return true;
}

static bool get_version(const json_t *o, int64_t format, struct key_version *v)
{
    int64_t ops, told = 0;

    if (!vault__get_text(o, "id", v->id, sizeof v->id) || !get_public(o, format, &v->pub) ||
        !vault__get_bytes(o, "sealed", &v->sealed) || !kjson_bool(o, "enabled", &v->enabled) ||
        !kjson_i64(o, "nbf", &v->nbf) || !kjson_i64(o, "exp", &v->exp) ||
        !kjson_i64(o, "created", &v->created) || !kjson_i64(o, "updated", &v->updated) ||
        !kjson_i64(o, "ops", &ops) || (format >= 5 && !kjson_i64(o, "told", &told)) ||
        !get_tags(o, v) || strlen(v->id) != VERSION_LEN)
        return false;
    v->told = (unsigned)told & (TOLD_NEAR | TOLD_EXPIRED);
    v->ops = (unsigned)ops & vault__ops_of(v->pub.type);
    return true;
}

static bool get_policy(const json_t *o, struct rotation_policy *p)
{
    const json_t *from = json_object_get(o, "rotation"), *dates = kjson_obj(from, "attributes");
    struct err e = { 0 };

    if (!from)
        return true;
    return !vault__policy_read(from, p, &e).failed && kjson_i64(dates, "created", &p->created) &&
           kjson_i64(dates, "updated", &p->updated) && p->created > 0;
}

static bool get_deleted(const json_t *o, struct vkey *k)
{
    const json_t *deleted = json_object_get(o, "deleted");

    if (!deleted)
        return true;
    k->deleted_s = json_integer_value(json_array_get(deleted, 0));
    k->purge_s = json_integer_value(json_array_get(deleted, 1));
    return k->deleted_s > 0 && k->purge_s > k->deleted_s;
}

static bool get_versions(const json_t *o, int64_t format, struct vkey *k)
{
    const json_t *versions = kjson_arr(o, "versions");
    size_t n = json_array_size(versions);

    if (n == 0 || n > VERSIONS_MAX)
        return false;
    k->versions = NEW_ARRAY(struct key_version *, n);
    for (size_t i = 0; i < n; i++) {
        k->versions[k->n_versions++] = NEW(struct key_version);
        if (!get_version(json_array_get(versions, i), format, k->versions[i]))
            return false;
    }
    return true;
}

struct vkey *vault__key_read(const json_t *o, int64_t format)
{
    struct vkey *k = NEW(struct vkey);

    if (vault__get_text(o, "name", k->name, sizeof k->name) && vault__valid_key_name(k->name) &&
        get_versions(o, format, k) && get_deleted(o, k) && get_policy(o, &k->policy))
        return k;
    vault__key_free(k);
    return NULL;
}

static bool get_key(const json_t *o, int64_t format, struct keyvault *kv)
{
    struct vkey *k = vault__key_read(o, format);

    if (!k)
        return false;
    if (vault__find_key(kv, k->name) || vault__find_deleted(kv, k->name)) {
        vault__key_free(k);
        return false;
    }
    vault__give_key(kv, k);
    return true;
}

/* Up to format 1 a region was all that a vault had of its own. */
static struct vault_props *get_props(struct vault_service *s, const json_t *o, int64_t format)
{
    const char *region = kjson_str(o, "region");
    json_t *settings = json_object_get(o, "settings");
    struct vault_props *props = NULL;
    struct err e = { 0 };

    if (format == 1)
        return region ? vault__props_new(region, vault_tenant(s)) : NULL;
    struct vault_props *base = vault__props_new(s->region, vault_tenant(s));
    if (settings && vault__props_with(base, settings, &props, &e).failed)
        props = NULL;
    vault__props_unref(base);
    return props;
}

static bool get_vault(struct vault_service *s, const json_t *o, int64_t format)
{
    const char *name = kjson_str(o, "name");
    const json_t *keys = kjson_arr(o, "keys");

    if (!name || !vault__valid_vault_name(name) || !keys)
        return false;
    struct vault_props *props = get_props(s, o, format);
    if (!props)
        return false;
    struct keyvault *kv = vault__vault_new(name, props);
    s->vaults[s->n_vaults++] = kv;
    for (size_t i = 0; i < json_array_size(keys); i++)
        if (!get_key(json_array_get(keys, i), format, kv))
            return false;
    return vault__access_read(s, o, kv->access);
}

/* Up to format 2 there was one tenant. */
static bool read_tenants(struct vault_service *s, const json_t *all, int64_t format)
{
    const char *only = kjson_str(all, "tenant");
    const json_t *tenants = kjson_arr(all, "tenants");

    if (format < 3) {
        AUTO(kjson_freep) json_t *one =
            json_pack("{s:s,s:s}", "id", only ? only : "", "name", FIRST_TENANT);
        return vault__tenant_read(s, one);
    }
    if (json_array_size(tenants) == 0 || json_array_size(tenants) > TENANTS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(tenants); i++)
        if (!vault__tenant_read(s, json_array_get(tenants, i)))
            return false;
    return true;
}

static bool read_all(struct vault_service *s, const json_t *all, int64_t format)
{
    const json_t *signers = kjson_arr(all, "signers"), *people = kjson_arr(all, "identities"),
                 *vaults = kjson_arr(all, "vaults");
    const char *ca = kjson_str(all, "caCertificate");

    if (!read_tenants(s, all, format) || !ca || !vault__get_bytes(all, "caKey", &s->ca_sealed) ||
        !signers || !people || !vaults || json_array_size(signers) > SIGNERS_MAX ||
        json_array_size(people) > IDENTITIES_MAX || json_array_size(vaults) > VAULTS_MAX ||
        json_array_size(signers) == 0)
        return false;
    buf_push(&s->ca_pem, ca, strlen(ca));
    for (size_t i = 0; i < json_array_size(signers); i++)
        if (!vault__signer_read(s, json_array_get(signers, i), format))
            return false;
    for (size_t i = 0; i < json_array_size(people); i++)
        if (!vault__identity_read(s, json_array_get(people, i), format))
            return false;
    if (!vault__roles_read(s, json_object_get(all, "roles")))
        return false;
    for (size_t i = 0; i < json_array_size(vaults); i++)
        if (!get_vault(s, json_array_get(vaults, i), format))
            return false;
    return true;
}

RC vault__state_load(struct vault_service *s, struct slice text, struct err *e)
{
    AUTO(kjson_freep) json_t *all = NULL;
    int64_t format;

    TRY(kjson_load(text, STATE_DEPTH, &all, e));
    if (kjson_i64(all, "format", &format) && format > VAULT_STATE_FORMAT)
        FAIL(e, ERR_UNKNOWN_FORMAT, "the vault's state was written by a later release");
    if (!kjson_i64(all, "format", &format) || format < 1 || !read_all(s, all, format))
        FAIL(e, ERR_CORRUPT, "the vault's state does not have the form that it should have");
    return RC_OK;
}

void vault__state_free(struct vault_service *s)
{
    for (int i = 0; i < s->n_tenants; i++)
        vault__tenant_free(s->tenants[i]);
    for (int i = 0; i < s->n_signers; i++)
        vault__signer_free(s->signers[i]);
    for (int i = 0; i < s->n_identities; i++)
        vault__identity_free(s->identities[i]);
    for (int i = 0; i < s->n_vaults; i++)
        vault__vault_free(s->vaults[i]);
    vault__roles_free(s);
    mem_free(s->identities);
    mem_free(s->vaults);
    buf_fini(&s->ca_pem);
    buf_fini(&s->ca_sealed);
}
