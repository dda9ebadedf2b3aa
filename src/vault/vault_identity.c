/* vault_identity.c - tenants and principals in memory, and as JSON in the sealed state (docs/formats/vault.md 2). Callers hold the lock. */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

struct tenant *vault__find_tenant(struct vault_service *s, const char *id_or_name)
{
    if (!id_or_name || !*id_or_name)
        return s->tenants[0];
    for (int i = 0; i < s->n_tenants; i++)
        if (strcasecmp(s->tenants[i]->id, id_or_name) == 0 ||
            strcasecmp(s->tenants[i]->name, id_or_name) == 0)
            return s->tenants[i];
    return NULL;
}

RC vault__tenant_new(const char *id, const char *name, struct tenant **out, struct err *e)
{
    struct tenant *t = NEW(struct tenant);

    *out = NULL;
    if (id && *id) {
        (void)snprintf(t->id, sizeof t->id, "%s", id);
    } else if (vault__random_uuid(t->id, e).failed) {
        mem_free(t);
        return RC_FAILED;
    }
    t->name = mem_strdup(name);
    *out = t;
    return RC_OK;
}

void vault__tenant_free(struct tenant *t)
{
    if (!t)
        return;
    mem_free(t->name);
    mem_free(t);
}

struct identity *vault__find_identity(struct vault_service *s, const char *tenant_id,
                                      const char *name)
{
    for (int i = 0; i < s->n_identities; i++)
        if (strcasecmp(s->identities[i]->name, name) == 0 &&
            strcasecmp(s->identities[i]->tenant, tenant_id) == 0)
            return s->identities[i];
    return NULL;
}

struct identity *vault__identity_by_client(struct vault_service *s, const char *client_id)
{
    for (int i = 0; i < s->n_identities; i++)
        if (strcasecmp(s->identities[i]->client_id, client_id) == 0)
            return s->identities[i];
    return NULL;
}

struct identity *vault__identity_by_object(struct vault_service *s, const char *object_id)
{
    for (int i = 0; i < s->n_identities; i++)
        if (strcasecmp(s->identities[i]->object_id, object_id) == 0)
            return s->identities[i];
    return NULL;
}

static char *dup_or_null(const char *s)
{
    return s ? mem_strdup(s) : NULL;
}

struct identity *vault__identity_dup(const struct identity *p)
{
    struct identity *d = mem_dup(p, sizeof *p);

    d->name = mem_strdup(p->name);
    d->resource_id = dup_or_null(p->resource_id);
    for (int i = 0; i < p->n_secrets; i++)
        d->secrets[i].label = mem_strdup(p->secrets[i].label);
    for (int i = 0; i < p->n_certificates; i++)
        d->certificates[i].label = mem_strdup(p->certificates[i].label);
    for (int i = 0; i < p->n_federations; i++) {
        const struct federation *f = &p->federations[i];
        d->federations[i] = (struct federation){
            .name = mem_strdup(f->name),
            .issuer = mem_strdup(f->issuer),
            .subject = mem_strdup(f->subject),
            .audience = mem_strdup(f->audience),
        };
    }
    return d;
}

void vault__federation_fini(struct federation *f)
{
    mem_free(f->name);
    mem_free(f->issuer);
    mem_free(f->subject);
    mem_free(f->audience);
}

void vault__identity_free(struct identity *p)
{
    if (!p)
        return;
    mem_free(p->name);
    mem_free(p->resource_id);
    for (int i = 0; i < p->n_secrets; i++)
        mem_free(p->secrets[i].label);
    for (int i = 0; i < p->n_certificates; i++)
        mem_free(p->certificates[i].label);
    for (int i = 0; i < p->n_federations; i++)
        vault__federation_fini(&p->federations[i]);
    mem_free(p);
}

void vault__subject_of(const struct identity *who, struct arena *a, struct token_subject *out)
{
    memcpy(out->client_id, who->client_id, sizeof out->client_id);
    memcpy(out->object_id, who->object_id, sizeof out->object_id);
    memcpy(out->tenant, who->tenant, sizeof out->tenant);
    out->tokens_from_s = who->tokens_from_s;
    out->resource_id = who->resource_id ? arena_strdup(a, who->resource_id) : NULL;
}

/* ---- as JSON ---- */

json_t *vault__tenant_json(const struct tenant *t)
{
    return json_pack("{s:s,s:s}", "id", t->id, "name", t->name);
}

bool vault__tenant_read(struct vault_service *s, const json_t *o)
{
    const char *id = kjson_str(o, "id"), *name = kjson_str(o, "name");
    struct err e = { 0 };
    struct tenant *t;

    if (!id || strlen(id) != UUID_LEN || !name || !*name ||
        vault__tenant_new(id, name, &t, &e).failed)
        return false;
    s->tenants[s->n_tenants++] = t;
    return true;
}

static json_t *credentials_json(const struct identity *p)
{
    json_t *list = json_array();

    for (int i = 0; i < p->n_secrets; i++) {
        const struct app_secret *c = &p->secrets[i];
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:o,s:I,s:I}", "id", c->id, "label", c->label,
                                        "sha256", vault__bytes_json(SLICE(c->sha256, 32)), "from",
                                        (json_int_t)c->from_s, "until", (json_int_t)c->until_s));
    }
    return list;
}

static json_t *certificates_json(const struct identity *p)
{
    json_t *list = json_array();

    for (int i = 0; i < p->n_certificates; i++) {
        const struct app_certificate *c = &p->certificates[i];
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:o,s:o,s:o,s:o,s:I,s:I}", "id", c->id, "label",
                                        c->label, "sha1", vault__bytes_json(SLICE(c->sha1, 20)),
                                        "sha256", vault__bytes_json(SLICE(c->sha256, 32)), "n",
                                        vault__bytes_json(SLICE(c->pub.n, c->pub.n_len)), "e",
                                        vault__bytes_json(SLICE(c->pub.e, c->pub.e_len)), "from",
                                        (json_int_t)c->from_s, "until", (json_int_t)c->until_s));
    }
    return list;
}

static json_t *federations_json(const struct identity *p)
{
    json_t *list = json_array();

    for (int i = 0; i < p->n_federations; i++) {
        const struct federation *f = &p->federations[i];
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:s,s:s}", "name", f->name, "issuer", f->issuer,
                                        "subject", f->subject, "audience", f->audience));
    }
    return list;
}

json_t *vault__identity_json(const struct identity *p)
{
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:o,s:o,s:o}", "name", p->name, "kind",
                  p->kind == VAULT_APPLICATION ? "application" : "managed", "tenant", p->tenant,
                  "client", p->client_id, "object", p->object_id, "created", (json_int_t)p->created,
                  "tokensFrom", (json_int_t)p->tokens_from_s, "secrets", credentials_json(p),
                  "certificates", certificates_json(p), "federations", federations_json(p));

    if (p->kind == VAULT_MANAGED_IDENTITY) {
        json_object_set_new(o, "resource", json_string(p->resource_id));
        json_object_set_new(o, "secretSha256", vault__bytes_json(SLICE(p->secret_sha256, 32)));
    }
    return o;
}

static bool get_exact(const json_t *o, const char *member, uint8_t *out, size_t len)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    if (!vault__get_bytes(o, member, &b) || b.len != len)
        return false;
    memcpy(out, b.p, len);
    return true;
}

static bool get_dup(const json_t *o, const char *member, char **out)
{
    const char *text = kjson_str(o, member);

    return text && (*out = mem_strdup(text), true);
}

static bool read_secret(struct identity *p, const json_t *o)
{
    struct app_secret *c = &p->secrets[p->n_secrets];

    if (!get_dup(o, "label", &c->label))
        return false;
    p->n_secrets++;
    return vault__get_text(o, "id", c->id, sizeof c->id) && get_exact(o, "sha256", c->sha256, 32) &&
           kjson_i64(o, "from", &c->from_s) && kjson_i64(o, "until", &c->until_s);
}

static bool read_certificate(struct identity *p, const json_t *o)
{
    struct app_certificate *c = &p->certificates[p->n_certificates];

    if (!get_dup(o, "label", &c->label))
        return false;
    p->n_certificates++;
    return vault__get_text(o, "id", c->id, sizeof c->id) && get_exact(o, "sha1", c->sha1, 20) &&
           get_exact(o, "sha256", c->sha256, 32) && vault__get_public(o, &c->pub) &&
           kjson_i64(o, "from", &c->from_s) && kjson_i64(o, "until", &c->until_s);
}

static bool read_federation(struct identity *p, const json_t *o)
{
    struct federation *f = &p->federations[p->n_federations++];

    return get_dup(o, "name", &f->name) && get_dup(o, "issuer", &f->issuer) &&
           get_dup(o, "subject", &f->subject) && get_dup(o, "audience", &f->audience);
}

static bool read_list(struct identity *p, const json_t *o, const char *member,
                      bool (*read)(struct identity *p, const json_t *o))
{
    const json_t *list = kjson_arr(o, member);

    if (!list || json_array_size(list) > CREDENTIALS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!read(p, json_array_get(list, i)))
            return false;
    return true;
}

static bool read_kind(struct vault_service *s, struct identity *p, const json_t *o, int64_t format)
{
    const char *kind = kjson_str(o, "kind");

    if (format < 3) {
        memcpy(p->tenant, s->tenants[0]->id, sizeof p->tenant);
        return !kind;
    }
    if (!kind || (strcmp(kind, "managed") != 0 && strcmp(kind, "application") != 0))
        return false;
    p->kind = strcmp(kind, "managed") == 0 ? VAULT_MANAGED_IDENTITY : VAULT_APPLICATION;
    return vault__get_text(o, "tenant", p->tenant, sizeof p->tenant) &&
           kjson_i64(o, "created", &p->created) &&
           (format < 6 || kjson_i64(o, "tokensFrom", &p->tokens_from_s)) &&
           read_list(p, o, "secrets", read_secret) &&
           read_list(p, o, "certificates", read_certificate) &&
           read_list(p, o, "federations", read_federation);
}

bool vault__identity_read(struct vault_service *s, const json_t *o, int64_t format)
{
    struct identity *p = NEW(struct identity);

    if (!get_dup(o, "name", &p->name)) {
        mem_free(p);
        return false;
    }
    s->identities[s->n_identities++] = p;
    if (!read_kind(s, p, o, format) ||
        !vault__get_text(o, "client", p->client_id, sizeof p->client_id) ||
        !vault__get_text(o, "object", p->object_id, sizeof p->object_id))
        return false;
    return p->kind == VAULT_APPLICATION || (get_dup(o, "resource", &p->resource_id) &&
                                            get_exact(o, "secretSha256", p->secret_sha256, 32));
}
