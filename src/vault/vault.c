/* vault.c - the life of the service: open or make the state, listen, and what a first installation needs. See vault.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "crypto/x509.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { CA_DAYS = 3650, CA_RENEW_DAYS = 30, LEAF_DAYS = 397, STOP_GRACE_MS = 3000 };

static RC lock_dir(struct vault_service *s, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/lock", s->state_dir);

    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return file_err(e, errno, "open", path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        FAIL(e, ERR_DIRECTORY_BUSY, "another process holds the vault's directory \"%s\"",
             s->state_dir);
    return RC_OK;
}

static RC make_ca(struct vault_service *s, struct err *e)
{
    AUTO(secret_freep) struct secret *der = NULL;
    AUTO(buf_fini) struct buf context = BUF_INIT;

    buf_clear(&s->ca_pem);
    buf_clear(&s->ca_sealed);
    TRY(x509_make_ca("CofferDB local authority", CA_DAYS, &der, &s->ca_pem, e));
    vault__key_context(&context, "", "authority", "");
    return vault__seal_key(s, buf_view(&context), der, &s->ca_sealed, e);
}

static RC make_state(struct vault_service *s, const struct vault_config *c, struct err *e)
{
    struct signer *k;

    TRY(random_bytes(s->store_id, sizeof s->store_id, e));
    TRY(vault__pin_first(s, e));
    TRY(vault__tenant_new(c->tenant, FIRST_TENANT, &s->tenants[0], e));
    s->n_tenants = 1;
    TRY(make_ca(s, e));
    TRY(vault__signer_new(s, &k, e));
    s->signers[s->n_signers++] = k;
    mutex_lock(&s->lock);
    rc_t rc = vault__state_save(s, e);
    mutex_unlock(&s->lock);
    return rc;
}

static RC read_state(struct vault_service *s, const struct vault_config *c, struct err *e)
{
    AUTO(buf_wipe) struct buf text = BUF_INIT;
    int64_t ends;

    TRY(vault__file_load(s, c->adopt, &text, e));
    TRY(vault__state_load(s, buf_view(&text), e));
    if (c->tenant && *c->tenant && strcasecmp(c->tenant, vault_tenant(s)) != 0)
        FAIL(e, ERR_CONFIG, "the vault's tenant is %s, not %s", vault_tenant(s), c->tenant);
    TRY(x509_expires(buf_view(&s->ca_pem), &ends, e));
    if (ends > clock_real_s() + (int64_t)CA_RENEW_DAYS * 86400)
        return RC_OK;
    TRY(make_ca(s, e));
    mutex_lock(&s->lock);
    rc_t rc = vault__state_save(s, e);
    mutex_unlock(&s->lock);
    s->ca_renewed = !rc.failed;
    return rc;
}

/* What this start changed before there was a log to say it in. */
static void note_start(struct vault_service *s, bool adopted)
{
    const struct {
        bool done;
        const char *operation;
    } notes[] = {
        { adopted, "StateAdopt" },
        { s->root_rewrapped, "RootKeyWrap" },
        { s->ca_renewed, "AuthorityRenew" },
    };

    for (size_t i = 0; i < ARRAY_LEN(notes); i++) {
        struct vault_act act = { .operation = notes[i].operation, .by = "start" };
        struct err none = { 0 };
        if (notes[i].done)
            vault_act_end(s, &act, &none);
    }
}

static RC open_state(struct vault_service *s, const struct vault_config *c, struct err *e)
{
    if (c->tenant && *c->tenant && !vault__valid_uuid(c->tenant))
        FAIL(e, ERR_CONFIG, "\"%s\" is not a tenant id: a UUID is", c->tenant);
    TRY(dir_make(s->state_dir, 0700, e));
    TRY(lock_dir(s, e));
    bool fresh = !path_exists(s->state_file);
    TRY(vault__root_open(s, c, fresh && !path_exists(s->pin_file), e));
    TRY(fresh ? make_state(s, c, e) : read_state(s, c, e));
    TRY(vault__root_settle(s, c, e));
    vault__refused_open(s);
    TRY(vault__audit_open(s, e));
    note_start(s, c->adopt && !fresh);
    vault__purge_all(s, clock_real_s());
    return RC_OK;
}

RC vault_open(const struct vault_config *c, struct vault_service **out, struct err *e)
{
    struct vault_service *s = NEW(struct vault_service);

    *out = NULL;
    mutex_init(&s->lock);
    cond_init(&s->rotator_wakes);
    s->rotation_check_ms = c->rotation_check_ms;
    s->audit_keep_s = c->audit_keep_s;
    s->audit_keep_bytes = c->audit_keep_bytes;
    s->lock_fd = -1;
    s->address = mem_strdup(c->address);
    s->port = c->port;
    s->token_port = c->token_port;
    s->state_dir = mem_strdup(c->state_dir);
    s->state_file = mem_printf("%s/vault.state", c->state_dir);
    s->pin_file = c->pin_file && *c->pin_file ? mem_strdup(c->pin_file)
                                              : mem_printf("%s.pin", c->root_key_file);
    s->domain = mem_strdup(c->domain);
    s->login_host = mem_strdup(c->login_host);
    s->region = mem_strdup(c->region);
    s->wildcard = mem_printf("*.%s", c->domain);
    s->audience = mem_printf("https://%s", c->domain);
    s->token_lifetime_s = c->token_lifetime_s;
    s->client_token_lifetime_s = c->client_token_lifetime_s;
    s->token_lifetime_max_s = MAX(c->token_lifetime_s, c->client_token_lifetime_s);
    s->signing_key_lifetime_s = c->signing_key_lifetime_s;
    s->n_token_uids = c->n_token_uids;
    s->token_uids =
        c->n_token_uids ? mem_dup(c->token_uids, (size_t)c->n_token_uids * sizeof(uint32_t)) : NULL;
    s->identities = NEW_ARRAY(struct identity *, IDENTITIES_MAX);
    s->vaults = NEW_ARRAY(struct keyvault *, VAULTS_MAX);
    if (vault__federation_new(c->federation_ca_file, c->federation_refresh_s, &s->federation, e)
            .failed ||
        open_state(s, c, e).failed) {
        vault_close(s);
        return RC_FAILED;
    }
    *out = s;
    return RC_OK;
}

void vault_close(struct vault_service *s)
{
    if (!s)
        return;
    http_server_stop(s->https, STOP_GRACE_MS);
    http_server_stop(s->tokens, STOP_GRACE_MS);
    vault__rotator_stop(s);
    vault__refused_close(s);
    vault__audit_close(s);
    vault__state_free(s);
    secret_free(s->root);
    fd_close(s->lock_fd);
    mem_free(s->address);
    mem_free(s->state_dir);
    mem_free(s->state_file);
    mem_free(s->pin_file);
    mem_free(s->domain);
    mem_free(s->login_host);
    mem_free(s->region);
    mem_free(s->wildcard);
    mem_free(s->audience);
    vault__federation_free(s->federation);
    mem_free(s->token_uids);
    cond_fini(&s->rotator_wakes);
    mutex_fini(&s->lock);
    mem_free(s);
}

void vault_closep(struct vault_service **s)
{
    vault_close(*s);
    *s = NULL;
}

/* ---- serving ---- */

static RC make_leaf(struct vault_service *s, struct buf *cert, struct buf *key, struct err *e)
{
    AUTO(secret_freep) struct secret *ca = NULL;
    AUTO(buf_fini) struct buf context = BUF_INIT;
    const char *dns[] = { s->wildcard, s->domain, s->login_host, "localhost" };
    const char *ips[] = { "127.0.0.1", "::1" };
    struct x509_leaf spec = {
        .common_name = s->domain,
        .dns = dns,
        .n_dns = (int)ARRAY_LEN(dns),
        .ips = ips,
        .n_ips = (int)ARRAY_LEN(ips),
        .days = LEAF_DAYS,
    };

    vault__key_context(&context, "", "authority", "");
    TRY(vault__unseal_key(s, buf_view(&context), buf_view(&s->ca_sealed), &ca, e));
    TRY(x509_make_leaf(ca, buf_view(&s->ca_pem), &spec, cert, key, e));
    return RC_OK;
}

static void set_sites(struct vault_service *s)
{
    static const char *const loopback[] = { "127.0.0.1", "localhost", "[::1]" };
    struct http_site rest = {
        .routes = vault__rest_routes,
        .nocase = true, /* ids are compared without case; the .NET SDK writes wrapKey */
        .slash_ends = true,
        .tunnels = true,
        .n_routes = vault__n_rest_routes,
        .ctx = s,
        .on_error = vault__rest_on_error,
        .max_body = vault__rest_max_body,
    };
    struct http_site tokens = {
        .routes = vault__token_routes,
        .n_routes = vault__n_token_routes,
        .ctx = s,
        .on_error = vault__token_on_error,
    };

    s->sites[0] = rest;
    s->sites[0].host = s->wildcard;
    s->sites[1] = (struct http_site){
        .host = s->login_host,
        .routes = vault__login_routes,
        .n_routes = vault__n_login_routes,
        .ctx = s,
        .on_error = vault__token_on_error,
    };
    for (size_t i = 0; i < ARRAY_LEN(loopback); i++) {
        s->sites[2 + i] = rest;
        s->sites[2 + i].host = loopback[i];
        s->token_sites[i] = tokens;
        s->token_sites[i].host = loopback[i];
    }
}

RC vault_serve(struct vault_service *s, struct err *e)
{
    AUTO(buf_fini) struct buf cert = BUF_INIT;
    AUTO(buf_wipe) struct buf key = BUF_INIT;

    TRY(make_leaf(s, &cert, &key, e));
    set_sites(s);
    struct http_server_config c = {
        .address = s->address,
        .port = s->port,
        .cert_pem = buf_cstr(&cert),
        .key_pem = buf_cstr(&key),
        .sites = s->sites,
        .n_sites = 5,
    };
    TRY(http_server_start(&c, &s->https, e));
    s->port = http_server_port(s->https);
    struct http_server_config t = {
        .address = "127.0.0.1",
        .port = s->token_port,
        .sites = s->token_sites,
        .n_sites = 3,
        .workers = 2,
        .max_body = 1024,
    };
    TRY(http_server_start(&t, &s->tokens, e));
    s->token_port = http_server_port(s->tokens);
    vault__rotator_start(s);
    return RC_OK;
}

uint16_t vault_port(const struct vault_service *s)
{
    return s->port;
}
uint16_t vault_token_port(const struct vault_service *s)
{
    return s->token_port;
}
struct slice vault_ca_pem(const struct vault_service *s)
{
    return buf_view(&s->ca_pem);
}
uint64_t vault_saves(struct vault_service *s)
{
    mutex_lock(&s->lock);
    uint64_t n = s->counter;
    mutex_unlock(&s->lock);
    return n;
}
const char *vault_tenant(const struct vault_service *s)
{
    return s->tenants[0]->id;
}

/* ---- what a first installation needs ---- */

static RC add_vault(struct vault_service *s, const char *vault, struct vault_props **props,
                    struct err *e) TS_REQUIRES(s->lock)
{
    if (!vault__valid_vault_name(vault))
        FAIL(e, ERR_BAD_VALUE,
             "\"%s\" is not a vault's name: 3 to 24 letters, digits and hyphens, a letter first",
             vault);
    if (s->n_vaults >= VAULTS_MAX)
        FAIL(e, ERR_BAD_VALUE, "there are %d vaults: no more fit", VAULTS_MAX);
    s->vaults[s->n_vaults++] = vault__vault_new(vault, TAKE(*props));
    if (vault__state_save(s, e).failed) {
        vault__vault_free(s->vaults[--s->n_vaults]);
        return RC_FAILED;
    }
    return RC_OK;
}

RC vault_ensure_vault(struct vault_service *s, const char *vault, struct err *e)
{
    struct vault_props *props = vault__props_new(s->region, vault_tenant(s));
    rc_t rc = RC_OK;

    mutex_lock(&s->lock);
    if (!vault__find_vault(s, vault))
        rc = add_vault(s, vault, &props, e);
    mutex_unlock(&s->lock);
    vault__props_unref(props);
    return rc;
}

/* Leaves in *props what is no longer needed: the new ones after a failure, else the old ones. */
static RC change_vault(struct vault_service *s, struct keyvault *kv, struct vault_props **props,
                       struct err *e) TS_REQUIRES(s->lock)
{
    struct vault_props *was = kv->props;

    TRY(vault__props_may_change(was, *props, e));
    if (vault__props_equal(was, *props))
        return RC_OK;
    kv->props = *props;
    if (vault__state_save(s, e).failed) {
        kv->props = was;
        return RC_FAILED;
    }
    *props = was;
    return RC_OK;
}

RC vault_put_vault(struct vault_service *s, const char *vault, struct slice settings, struct err *e)
{
    AUTO(kjson_freep) json_t *from = NULL;
    struct vault_props *base = vault__props_new(s->region, vault_tenant(s)), *props = NULL;

    mutex_lock(&s->lock);
    struct keyvault *kv = vault__find_vault(s, vault);
    rc_t rc = kjson_load(settings, KJSON_DEPTH_MAX, &from, e);
    if (!rc.failed)
        rc = vault__props_with(kv ? kv->props : base, from, &props, e);
    if (!rc.failed)
        rc = kv ? change_vault(s, kv, &props, e) : add_vault(s, vault, &props, e);
    mutex_unlock(&s->lock);
    vault__props_unref(props);
    vault__props_unref(base);
    if (rc.failed)
        err_wrap(e, "vault \"%.24s\"", vault);
    return rc;
}

RC vault__add_version(struct vault_service *s, struct keyvault *kv, const char *key, const char *by,
                      struct key_version **v, struct err *e)
{
    struct key_version *mine = TAKE(*v);

    vault__put_version(kv, key, mine);
    if (vault__state_save(s, e).failed) {
        vault__drop_newest(kv, key);
        return RC_FAILED;
    }
    log_event(EV_VAULT_KEY_NEW_VERSION, KV_STR("vault", kv->name),
              KV_STR("key", vault__find_key(kv, key)->name), KV_STR("version", mine->id),
              KV_STR("operation", by));
    return RC_OK;
}

RC vault__publish(struct vault_service *s, const char *vault, const char *key, const char *by,
                  struct key_version **v, struct err *e)
{
    struct keyvault *kv = vault__find_vault(s, vault);

    if (!kv)
        FAIL(e, ERR_NOT_FOUND, "there is no vault \"%s\"", vault);
    if (vault__name_is_kept(s, kv, key))
        FAIL(e, ERR_CONFLICT,
             "the key \"%s\" is deleted: recover it, its name cannot be used again", key);
    const struct vkey *k = vault__find_key(kv, key);
    if (k ? k->n_versions >= VERSIONS_MAX : kv->n_keys >= KEYS_MAX)
        FAIL(e, ERR_CONFLICT, "the vault or the key is at its limit");
    return vault__add_version(s, kv, key, by, v, e);
}

RC vault_ensure_key(struct vault_service *s, const char *vault, const char *key, int bits,
                    struct err *e)
{
    struct key_version *v = NULL;

    mutex_lock(&s->lock);
    struct keyvault *kv = vault__find_vault(s, vault);
    /* what its owner deleted stays deleted */
    bool there = kv && (vault__find_key(kv, key) || vault__find_deleted(kv, key));
    mutex_unlock(&s->lock);
    if (there)
        return RC_OK;
    if (!kv)
        FAIL(e, ERR_NOT_FOUND, "there is no vault \"%s\"", vault);
    if (!vault__valid_key_name(key))
        FAIL(e, ERR_BAD_VALUE, "\"%s\" is not a key's name: 1 to 127 letters, digits and hyphens",
             key);
    struct key_spec spec = { .type = KEY_RSA, .bits = bits };
    TRY(vault__make_version(s, vault, key, &spec, &v, e));
    mutex_lock(&s->lock);
    rc_t rc = vault__publish(s, vault, key, /* by= */ "", &v, e);
    mutex_unlock(&s->lock);
    vault__version_free(v);
    return rc;
}

RC vault_ensure_identity(struct vault_service *s, const char *name, bool renew,
                         struct buf *header_secret, struct err *e)
{
    mutex_lock(&s->lock);
    bool there = vault__find_identity(s, vault_tenant(s), name) != NULL;
    mutex_unlock(&s->lock);
    if (there && !renew)
        return RC_OK;
    if (!there)
        TRY(vault_principal_create(s, NULL, name, VAULT_MANAGED_IDENTITY, e));
    return vault_identity_credential(s, NULL, name, header_secret, e);
}

RC vault_grant(struct vault_service *s, const char *vault, const char *identity, const char *role,
               struct err *e)
{
    char object_id[UUID_LEN + 1];

    mutex_lock(&s->lock);
    const struct identity *p = vault__find_identity(s, vault_tenant(s), identity);
    (void)snprintf(object_id, sizeof object_id, "%s", p ? p->object_id : "");
    mutex_unlock(&s->lock);
    if (!*object_id)
        FAIL(e, ERR_NOT_FOUND, "there is no identity \"%s\"", identity);
    return vault_role_assign(s, vault, NULL, object_id, role, e);
}

static json_t *vault_facts(struct vault_service *s, const struct keyvault *kv)
{
    AUTO(mem_freep) char *url = mem_printf("https://%s.%s:%u", kv->name, s->domain, vault_port(s));
    json_t *keys = json_object();

    for (int i = 0; i < kv->n_keys; i++) {
        const struct vkey *k = kv->keys[i];
        if (k->deleted_s)
            continue;
        AUTO(mem_freep) char *key = mem_printf("%s/keys/%s", url, k->name);
        AUTO(mem_freep) char *kid = mem_printf("%s/%s", key, k->versions[k->n_versions - 1]->id);
        json_object_set_new(keys, k->name, json_pack("{s:s,s:s}", "url", key, "kid", kid));
    }
    return json_pack("{s:s,s:s,s:o,s:o}", "url", url, "region", kv->props->location, "settings",
                     vault__props_json(kv->props), "keys", keys);
}

RC vault_describe(struct vault_service *s, struct buf *out, struct err *e)
{
    AUTO(mem_freep) char *tokens = mem_printf("http://127.0.0.1:%u", vault_token_port(s));
    AUTO(mem_freep) char *app = mem_printf("%s/msi/token", tokens);
    AUTO(mem_freep) char *login = mem_printf("https://%s:%u", s->login_host, vault_port(s));
    AUTO(mem_freep) char *imds = mem_printf("%s/metadata/identity/oauth2/token", tokens);

    if (!s->https || !s->tokens)
        FAIL(e, ERR_NOT_YET_INITIALIZED, "the vault does not serve yet");
    json_t *vaults = json_object(), *people = json_object();
    mutex_lock(&s->lock);
    for (int i = 0; i < s->n_vaults; i++)
        json_object_set_new(vaults, s->vaults[i]->name, vault_facts(s, s->vaults[i]));
    for (int i = 0; i < s->n_identities; i++) {
        const struct identity *p = s->identities[i];
        if (p->kind == VAULT_MANAGED_IDENTITY && strcmp(p->tenant, vault_tenant(s)) == 0)
            json_object_set_new(people, p->name,
                                json_pack("{s:s,s:s,s:s}", "clientId", p->client_id, "objectId",
                                          p->object_id, "resourceId", p->resource_id));
    }
    mutex_unlock(&s->lock);
    AUTO(kjson_freep) json_t *all =
        json_pack("{s:s,s:s,s:s,s:o,s:o,s:s,s:s,s:s,s:i,s:i}", "authority", login, "tenantId",
                  vault_tenant(s), "audience", s->audience, "vaults", vaults, "identities", people,
                  "tokenAuthority", tokens, "imdsEndpoint", imds, "appServiceEndpoint", app, "port",
                  vault_port(s), "tokenPort", vault_token_port(s));
    INVARIANT(all != NULL);
    kjson_dump(all, out);
    return RC_OK;
}
