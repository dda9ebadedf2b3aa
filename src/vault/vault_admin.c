/* vault_admin.c - who is in a tenant, changed. See vault/vault_admin.h.
 *
 * A principal is changed as a copy: the copy takes its place, the state is saved, and on failure the old one comes back. Readers hold the
 * lock or their own copy, so nobody sees half of a change.
 */
#include "vault/vault_admin.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/x509.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum {
    HEADER_SECRET_DIGITS = 64,
    APP_SECRET_BYTES = 32,
    TENANT_NAME_MAX = 80,
    LIFETIME_MAX_S = 3650 * 86400,
    CERTIFICATE_PEM_MAX = 65536,
};

#define DEFAULT_AUDIENCE "api://AzureADTokenExchange"

static RC tenant_of(struct vault_service *s, const char *tenant, struct tenant **out, struct err *e)
{
    *out = vault__find_tenant(s, tenant);
    if (!*out)
        FAIL(e, ERR_NOT_FOUND, "there is no tenant \"%s\"", tenant);
    return RC_OK;
}

static RC tenant_create_locked(struct vault_service *s, const char *name, struct err *e)
    TS_REQUIRES(s->lock)
{
    struct tenant *t;

    if (!vault__valid_key_name(name) || strlen(name) > TENANT_NAME_MAX)
        FAIL(e, ERR_BAD_VALUE, "\"%s\" is not a tenant's name: 1 to %d letters, digits and hyphens",
             name, TENANT_NAME_MAX);
    if (vault__find_tenant(s, name))
        FAIL(e, ERR_CONFLICT, "there is a tenant \"%s\"", name);
    if (s->n_tenants >= TENANTS_MAX)
        FAIL(e, ERR_BAD_VALUE, "there are %d tenants: no more fit", TENANTS_MAX);
    TRY(vault__tenant_new("", name, &t, e));
    s->tenants[s->n_tenants++] = t;
    if (vault__state_save(s, e).failed) {
        vault__tenant_free(s->tenants[--s->n_tenants]);
        return RC_FAILED;
    }
    return RC_OK;
}

RC vault_tenant_create(struct vault_service *s, const char *name, struct err *e)
{
    mutex_lock(&s->lock);
    rc_t rc = tenant_create_locked(s, name, e);
    mutex_unlock(&s->lock);
    return rc;
}

/* ---- making and deleting ---- */

static RC identity_new(const struct tenant *t, const char *name, enum vault_principal_kind kind,
                       struct identity **out, struct err *e)
{
    struct identity *p = NEW(struct identity);

    *out = NULL;
    p->kind = kind;
    p->name = mem_strdup(name);
    p->created = clock_real_s();
    memcpy(p->tenant, t->id, sizeof p->tenant);
    if (kind == VAULT_MANAGED_IDENTITY)
        p->resource_id = mem_printf(
            "/subscriptions/%s/resourcegroups/coffer/providers/Microsoft.ManagedIdentity/userAssignedIdentities/%s",
            t->id, name);
    /* no credential has this hash until one is made */
    if (vault__random_uuid(p->client_id, e).failed || vault__random_uuid(p->object_id, e).failed ||
        random_bytes(p->secret_sha256, sizeof p->secret_sha256, e).failed) {
        vault__identity_free(p);
        return RC_FAILED;
    }
    *out = p;
    return RC_OK;
}

static RC create_locked(struct vault_service *s, const char *tenant, const char *name,
                        enum vault_principal_kind kind, struct err *e) TS_REQUIRES(s->lock)
{
    struct tenant *t;
    struct identity *p;

    TRY(tenant_of(s, tenant, &t, e));
    if (!vault__valid_key_name(name))
        FAIL(e, ERR_BAD_VALUE,
             "\"%s\" is not a principal's name: 1 to 127 letters, digits and hyphens", name);
    if (vault__find_identity(s, t->id, name))
        FAIL(e, ERR_CONFLICT, "there is a principal \"%s\" in the tenant \"%s\"", name, t->name);
    if (s->n_identities >= IDENTITIES_MAX)
        FAIL(e, ERR_BAD_VALUE, "there are %d principals: no more fit", IDENTITIES_MAX);
    TRY(identity_new(t, name, kind, &p, e));
    s->identities[s->n_identities++] = p;
    if (vault__state_save(s, e).failed) {
        vault__identity_free(s->identities[--s->n_identities]);
        return RC_FAILED;
    }
    return RC_OK;
}

RC vault_principal_create(struct vault_service *s, const char *tenant, const char *name,
                          enum vault_principal_kind kind, struct err *e)
{
    mutex_lock(&s->lock);
    rc_t rc = create_locked(s, tenant, name, kind, e);
    mutex_unlock(&s->lock);
    return rc;
}

static RC find_locked(struct vault_service *s, const char *tenant, const char *name, int *at,
                      struct err *e) TS_REQUIRES(s->lock)
{
    struct tenant *t;

    *at = 0;
    TRY(tenant_of(s, tenant, &t, e));
    const struct identity *p = vault__find_identity(s, t->id, name);
    if (!p)
        FAIL(e, ERR_NOT_FOUND, "there is no principal \"%s\" in the tenant \"%s\"", name, t->name);
    while (s->identities[*at] != p)
        ++*at;
    return RC_OK;
}

static RC delete_locked(struct vault_service *s, const char *tenant, const char *name,
                        struct err *e) TS_REQUIRES(s->lock)
{
    struct vault_access *access[VAULTS_MAX];
    int at;

    TRY(find_locked(s, tenant, name, &at, e));
    struct identity *p = s->identities[at];
    s->identities[at] = s->identities[--s->n_identities];
    vault__forget_principal(s, p->object_id, access);
    if (vault__state_save(s, e).failed) {
        vault__remember_principal(s, access);
        s->identities[s->n_identities++] = s->identities[at];
        s->identities[at] = p;
        return RC_FAILED;
    }
    for (int i = 0; i < s->n_vaults; i++)
        vault__access_free(access[i]);
    vault__identity_free(p);
    return RC_OK;
}

RC vault_principal_delete(struct vault_service *s, const char *tenant, const char *name,
                          struct err *e)
{
    mutex_lock(&s->lock);
    rc_t rc = delete_locked(s, tenant, name, e);
    mutex_unlock(&s->lock);
    return rc;
}

/* ---- changing one ---- */

/* One change: fills in p, a copy; what it needs and gives is in arg. */
typedef rc_t (*change_fn)(struct identity *p, void *arg, struct err *e);

static RC change_locked(struct vault_service *s, const char *tenant, const char *name, change_fn fn,
                        void *arg, struct err *e) TS_REQUIRES(s->lock)
{
    int at;

    TRY(find_locked(s, tenant, name, &at, e));
    struct identity *was = s->identities[at], *next = vault__identity_dup(was);
    s->identities[at] = next;
    if (fn(next, arg, e).failed || vault__state_save(s, e).failed) {
        s->identities[at] = was;
        vault__identity_free(next);
        return RC_FAILED;
    }
    vault__identity_free(was);
    return RC_OK;
}

static RC change(struct vault_service *s, const char *tenant, const char *name, change_fn fn,
                 void *arg, struct err *e)
{
    mutex_lock(&s->lock);
    rc_t rc = change_locked(s, tenant, name, fn, arg, e);
    mutex_unlock(&s->lock);
    return rc;
}

static rc_t new_header_secret(struct identity *p, void *arg, struct err *e)
{
    char text[HEADER_SECRET_DIGITS + 1];
    struct slice part = SLICE(text, HEADER_SECRET_DIGITS);

    if (p->kind != VAULT_MANAGED_IDENTITY)
        FAIL(e, ERR_BAD_VALUE,
             "\"%s\" is an application: it has secrets and certificates, not this credential",
             p->name);
    rc_t rc = vault__random_hex(text, HEADER_SECRET_DIGITS, e);
    if (!rc.failed)
        rc = sha256(&part, 1, p->secret_sha256, e);
    if (!rc.failed)
        buf_push(arg, text, HEADER_SECRET_DIGITS);
    mem_wipe(text, sizeof text);
    return rc;
}

RC vault_identity_credential(struct vault_service *s, const char *tenant, const char *name,
                             struct buf *secret, struct err *e)
{
    buf_reserve(secret, HEADER_SECRET_DIGITS + 1);
    if (change(s, tenant, name, new_header_secret, secret, e).failed) {
        buf_wipe(secret);
        return RC_FAILED;
    }
    return RC_OK;
}

struct new_credential {
    const char *label;
    int64_t lifetime_s;
    struct x509_facts facts;
    char *id;           /* out */
    struct buf *secret; /* out */
};

static RC check_label(const char *label, struct err *e)
{
    if (strlen(label) > LABEL_MAX || !utf8_valid(slice_str(label)))
        FAIL(e, ERR_BAD_VALUE, "a credential's label is UTF-8 text of at most %d bytes", LABEL_MAX);
    return RC_OK;
}

static RC check_application(const struct identity *p, int n, struct err *e)
{
    if (p->kind != VAULT_APPLICATION)
        FAIL(e, ERR_BAD_VALUE, "\"%s\" is a managed identity: only applications have credentials",
             p->name);
    if (n >= CREDENTIALS_MAX)
        FAIL(e, ERR_BAD_VALUE, "\"%s\" has %d credentials of this kind: no more fit", p->name,
             CREDENTIALS_MAX);
    return RC_OK;
}

static rc_t new_app_secret(struct identity *p, void *arg, struct err *e)
{
    struct new_credential *n = arg;
    uint8_t bytes[APP_SECRET_BYTES];

    TRY(check_application(p, p->n_secrets, e));
    struct app_secret *c = &p->secrets[p->n_secrets];
    memset(c, 0, sizeof *c);
    TRY(vault__random_uuid(c->id, e));
    TRY(random_bytes(bytes, sizeof bytes, e));
    base64url_encode(SLICE(bytes, sizeof bytes), n->secret);
    mem_wipe(bytes, sizeof bytes);
    struct slice part = buf_view(n->secret);
    TRY(sha256(&part, 1, c->sha256, e));
    c->label = mem_strdup(n->label);
    c->from_s = clock_real_s();
    c->until_s = c->from_s + n->lifetime_s;
    p->n_secrets++;
    memcpy(n->id, c->id, sizeof c->id);
    return RC_OK;
}

RC vault_secret_add(struct vault_service *s, const char *tenant, const char *app, const char *label,
                    int64_t lifetime_s, char id[VAULT_CREDENTIAL_ID], struct buf *secret,
                    struct err *e)
{
    struct new_credential n = {
        .label = label ? label : "", .lifetime_s = lifetime_s, .id = id, .secret = secret
    };

    id[0] = 0;
    if (lifetime_s < 1 || lifetime_s > LIFETIME_MAX_S)
        FAIL(e, ERR_BAD_VALUE, "a secret lives for 1 second to %d days", LIFETIME_MAX_S / 86400);
    TRY(check_label(n.label, e));
    buf_reserve(secret, (size_t)APP_SECRET_BYTES * 2);
    if (change(s, tenant, app, new_app_secret, &n, e).failed) {
        buf_wipe(secret);
        id[0] = 0;
        return RC_FAILED;
    }
    return RC_OK;
}

static rc_t new_certificate(struct identity *p, void *arg, struct err *e)
{
    struct new_credential *n = arg;

    TRY(check_application(p, p->n_certificates, e));
    for (int i = 0; i < p->n_certificates; i++)
        if (memcmp(p->certificates[i].sha256, n->facts.sha256, 32) == 0)
            FAIL(e, ERR_CONFLICT, "\"%s\" has this certificate", p->name);
    struct app_certificate *c = &p->certificates[p->n_certificates];
    memset(c, 0, sizeof *c);
    TRY(vault__random_uuid(c->id, e));
    c->label = mem_strdup(n->label);
    c->pub = n->facts.pub;
    memcpy(c->sha1, n->facts.sha1, sizeof c->sha1);
    memcpy(c->sha256, n->facts.sha256, sizeof c->sha256);
    c->from_s = n->facts.from_s;
    c->until_s = n->facts.until_s;
    p->n_certificates++;
    memcpy(n->id, c->id, sizeof c->id);
    return RC_OK;
}

RC vault_certificate_add(struct vault_service *s, const char *tenant, const char *app,
                         const char *label, struct slice pem, char id[VAULT_CREDENTIAL_ID],
                         struct err *e)
{
    struct new_credential n = { .label = label ? label : "", .id = id };

    id[0] = 0;
    if (pem.len > CERTIFICATE_PEM_MAX)
        FAIL(e, ERR_BAD_VALUE, "the certificate is too long");
    TRY(check_label(n.label, e));
    TRY(x509_read(pem, &n.facts, e));
    if (n.facts.until_s <= clock_real_s())
        FAIL(e, ERR_BAD_VALUE, "the certificate has expired");
    return change(s, tenant, app, new_certificate, &n, e);
}

static RC check_federation(const struct vault_federation *f, struct err *e)
{
    const char *texts[] = { f->issuer, f->subject, f->audience ? f->audience : "" };

    if (!vault__valid_key_name(f->name))
        FAIL(e, ERR_BAD_VALUE,
             "\"%s\" is not a federation's name: 1 to 127 letters, digits and hyphens", f->name);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strlen(texts[i]) > FEDERATION_TEXT_MAX || !utf8_valid(slice_str(texts[i])))
            FAIL(e, ERR_BAD_VALUE,
                 "issuer, subject and audience are UTF-8 texts of at most %d bytes",
                 FEDERATION_TEXT_MAX);
    if (strncmp(f->issuer, "https://", 8) != 0 || strpbrk(f->issuer, "?# "))
        FAIL(e, ERR_BAD_VALUE, "an issuer is an https URL without query: \"%.100s\" is not",
             f->issuer);
    if (!*f->subject)
        FAIL(e, ERR_BAD_VALUE, "a federation needs a subject");
    return RC_OK;
}

static rc_t new_federation(struct identity *p, void *arg, struct err *e)
{
    const struct vault_federation *f = arg;

    if (p->n_federations >= CREDENTIALS_MAX)
        FAIL(e, ERR_BAD_VALUE, "\"%s\" has %d federations: no more fit", p->name, CREDENTIALS_MAX);
    for (int i = 0; i < p->n_federations; i++)
        if (strcasecmp(p->federations[i].name, f->name) == 0)
            FAIL(e, ERR_CONFLICT, "\"%s\" has a federation \"%s\"", p->name, f->name);
    p->federations[p->n_federations++] = (struct federation){
        .name = mem_strdup(f->name),
        .issuer = mem_strdup(f->issuer),
        .subject = mem_strdup(f->subject),
        .audience = mem_strdup(f->audience && *f->audience ? f->audience : DEFAULT_AUDIENCE),
    };
    return RC_OK;
}

RC vault_federation_add(struct vault_service *s, const char *tenant, const char *principal,
                        const struct vault_federation *f, struct err *e)
{
    struct vault_federation copy = *f;

    TRY(check_federation(f, e));
    return change(s, tenant, principal, new_federation, &copy, e);
}

static rc_t remove_credential(struct identity *p, void *arg, struct err *e)
{
    const char *which = arg;

    for (int i = 0; i < p->n_secrets; i++)
        if (strcasecmp(p->secrets[i].id, which) == 0) {
            mem_free(p->secrets[i].label);
            p->secrets[i] = p->secrets[--p->n_secrets];
            return RC_OK;
        }
    for (int i = 0; i < p->n_certificates; i++)
        if (strcasecmp(p->certificates[i].id, which) == 0) {
            mem_free(p->certificates[i].label);
            p->certificates[i] = p->certificates[--p->n_certificates];
            return RC_OK;
        }
    for (int i = 0; i < p->n_federations; i++)
        if (strcasecmp(p->federations[i].name, which) == 0) {
            vault__federation_fini(&p->federations[i]);
            p->federations[i] = p->federations[--p->n_federations];
            return RC_OK;
        }
    FAIL(e, ERR_NOT_FOUND, "\"%s\" has no credential \"%s\"", p->name, which);
}

RC vault_credential_remove(struct vault_service *s, const char *tenant, const char *principal,
                           const char *id_or_name, struct err *e)
{
    AUTO(mem_freep) char *which = mem_strdup(id_or_name);

    return change(s, tenant, principal, remove_credential, which, e);
}

/* A second is the finest that a token tells: those of this one are taken back too, and new ones name the next (vault__token_issue()). */
static rc_t take_tokens_back(struct identity *p, void *arg, struct err *e)
{
    (void)e;
    p->tokens_from_s = MAX(clock_real_s(), p->tokens_from_s) + 1;
    *(int64_t *)arg = p->tokens_from_s;
    return RC_OK;
}

RC vault_tokens_revoke(struct vault_service *s, const char *tenant, const char *principal,
                       int64_t *from_s, struct err *e)
{
    *from_s = 0;
    if (!change(s, tenant, principal, take_tokens_back, from_s, e).failed)
        return RC_OK;
    *from_s = 0;
    return RC_FAILED;
}

/* ---- telling ---- */

static json_t *principal_facts(struct vault_service *s, const struct identity *p)
{
    const struct tenant *t = vault__find_tenant(s, p->tenant);
    json_t *secrets = json_array(), *certificates = json_array(), *federations = json_array();

    for (int i = 0; i < p->n_secrets; i++)
        json_array_append_new(secrets, json_pack("{s:s,s:s,s:I,s:I}", "id", p->secrets[i].id,
                                                 "label", p->secrets[i].label, "from",
                                                 (json_int_t)p->secrets[i].from_s, "until",
                                                 (json_int_t)p->secrets[i].until_s));
    for (int i = 0; i < p->n_certificates; i++) {
        const struct app_certificate *c = &p->certificates[i];
        AUTO(buf_fini) struct buf print = BUF_INIT;
        hex_encode(SLICE(c->sha256, 32), &print);
        json_array_append_new(certificates,
                              json_pack("{s:s,s:s,s:s,s:I,s:I}", "id", c->id, "label", c->label,
                                        "sha256", buf_cstr(&print), "from", (json_int_t)c->from_s,
                                        "until", (json_int_t)c->until_s));
    }
    for (int i = 0; i < p->n_federations; i++)
        json_array_append_new(federations,
                              json_pack("{s:s,s:s,s:s,s:s}", "name", p->federations[i].name,
                                        "issuer", p->federations[i].issuer, "subject",
                                        p->federations[i].subject, "audience",
                                        p->federations[i].audience));
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:o,s:o,s:o}", "name", p->name, "kind",
                  p->kind == VAULT_APPLICATION ? "application" : "managedIdentity", "tenant",
                  t ? t->name : p->tenant, "tenantId", p->tenant, "clientId", p->client_id,
                  "objectId", p->object_id, "created", (json_int_t)p->created, "secrets", secrets,
                  "certificates", certificates, "federations", federations);
    if (p->resource_id)
        json_object_set_new(o, "resourceId", json_string(p->resource_id));
    if (p->tokens_from_s)
        json_object_set_new(o, "tokensFrom", json_integer(p->tokens_from_s));
    return o;
}

static RC principals_locked(struct vault_service *s, const char *tenant, const char *name,
                            json_t *tenants, json_t *people, struct err *e) TS_REQUIRES(s->lock)
{
    struct tenant *t = NULL;

    if (name || (tenant && *tenant))
        TRY(tenant_of(s, tenant, &t, e));
    for (int i = 0; i < s->n_tenants; i++)
        json_array_append_new(tenants, vault__tenant_json(s->tenants[i]));
    for (int i = 0; i < s->n_identities; i++) {
        const struct identity *p = s->identities[i];
        if ((!t || strcasecmp(p->tenant, t->id) == 0) && (!name || strcasecmp(p->name, name) == 0))
            json_array_append_new(people, principal_facts(s, p));
    }
    if (name && json_array_size(people) == 0)
        FAIL(e, ERR_NOT_FOUND, "there is no principal \"%s\" in the tenant \"%s\"", name, t->name);
    return RC_OK;
}

static RC place_locked(struct vault_service *s, const char *tenant, const char *name,
                       struct buf *out, struct err *e) TS_REQUIRES(s->lock)
{
    struct tenant *t;
    int at;

    TRY(tenant_of(s, tenant, &t, e));
    TRY(find_locked(s, tenant, name, &at, e));
    const struct identity *p = s->identities[at];
    buf_push(out, p->name, strlen(p->name));
    if (t != s->tenants[0])
        buf_printf(out, "@%s", t->name);
    return RC_OK;
}

RC vault_principal_place(struct vault_service *s, const char *tenant, const char *name,
                         struct buf *out, struct err *e)
{
    buf_clear(out);
    mutex_lock(&s->lock);
    rc_t rc = place_locked(s, tenant, name, out, e);
    mutex_unlock(&s->lock);
    return rc;
}

RC vault_principals(struct vault_service *s, const char *tenant, const char *name, struct buf *out,
                    struct err *e)
{
    json_t *tenants = json_array(), *people = json_array();
    AUTO(kjson_freep) json_t *all =
        json_pack("{s:o,s:o}", "tenants", tenants, "principals", people);

    INVARIANT(all != NULL);
    mutex_lock(&s->lock);
    rc_t rc = principals_locked(s, tenant, name, tenants, people, e);
    mutex_unlock(&s->lock);
    TRY(rc);
    kjson_dump(all, out);
    return RC_OK;
}
