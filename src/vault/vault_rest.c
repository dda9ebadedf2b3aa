/* vault_rest.c - the entrance of every operation on keys: token, api-version, permission, then the handler, then the record of it.
 *
 * The order matters: a request without a good token learns nothing but where tokens come from; the body is looked at last. A new
 * operation is a row in the two tables at the end.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

static json_t *error_json(const char *code, const char *inner, const char *text)
{
    if (inner)
        return json_pack("{s:{s:s,s:s,s:{s:s}}}", "error", "code", code, "message", text,
                         "innererror", "code", inner);
    return json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", text);
}

void vault__rest_error(struct rest_call *c, int status, const char *code, const char *inner,
                       const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!utf8_valid(slice_str(text))) /* cut in the middle, or a name that a client made up */
        (void)snprintf(text, sizeof text, "The request is malformed.");
    AUTO(kjson_freep) json_t *j = error_json(code, inner, text);
    c->status = status;
    c->refusal = inner ? inner : code;
    http_reply_json(c->r, status, j);
}

void vault__rest_internal(struct rest_call *c, const struct err *e)
{
    log_err(EV_VAULT_FAILED, e,
            (const struct kv[]){ KV_STR("operation", c->op ? c->op->name : ""),
                                 KV_STR("requestId", c->request_id) },
            2);
    vault__rest_error(c, 500, "InternalServerError", NULL, "An unexpected error occurred.");
}

void vault__rest_answer(struct rest_call *c, int status, json_t *body)
{
    INVARIANT(body != NULL);
    c->status = status;
    http_reply_json(c->r, status, body);
    json_decref(body);
}

void vault__rest_empty(struct rest_call *c, int status)
{
    c->status = status;
    http_reply_status(c->r, status);
}

void vault__rest_on_error(struct http_request *q, struct http_reply *r, int status, const char *why)
{
    const char *code = status == 404   ? "NotFound"
                       : status == 405 ? "MethodNotAllowed"
                       : status == 413 ? "RequestEntityTooLarge"
                       : status == 503 ? "ServiceUnavailable"
                       : status >= 500 ? "InternalServerError"
                                       : "BadParameter";
    AUTO(kjson_freep) json_t *j = error_json(code, NULL, why);

    char request_id[UUID_LEN + 1] = "";
    struct err e = { 0 };

    http_reply_json(r, status, j);
    if (vault__random_uuid(request_id, &e).failed)
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
    else
        http_reply_header(r, "x-ms-request-id", request_id);
    vault__record_stray(http_ctx(q), q, status, code, request_id);
}

const char *vault__rest_base(struct rest_call *c)
{
    return arena_printf(http_arena(c->q), "https://%s.%s:%u", c->vault, c->s->domain,
                        vault_port(c->s));
}

void vault__not_found(struct rest_call *c)
{
    vault__rest_error(
        c, 404, "KeyNotFound", NULL,
        "A key with (name/id) %s%s%s was not found in this key vault. If you recently deleted this key you may be able to "
        "recover it using the correct recovery command.",
        c->key, *c->version ? "/" : "", c->version);
}

/* "main" of "main.vault.localhost"; other names of this machine mean the first vault. */
static const char *vault_of_host(struct vault_service *s, struct http_request *q)
{
    const char *host = http_host(q);
    size_t hl = strlen(host), dl = strlen(s->domain);

    if (hl > dl + 1 && host[hl - dl - 1] == '.' && strcasecmp(host + hl - dl, s->domain) == 0)
        return arena_strndup(http_arena(q), host, hl - dl - 1);
    return "";
}

/* Which vault is meant, and its settings for as long as the call lasts. */
static void settle_vault(struct rest_call *c)
{
    struct vault_service *s = c->s;

    c->vault = vault_of_host(s, c->q);
    mutex_lock(&s->lock);
    struct keyvault *kv = *c->vault         ? vault__find_vault(s, c->vault)
                          : s->n_vaults > 0 ? s->vaults[0]
                                            : NULL;
    if (kv) {
        c->vault = arena_strdup(http_arena(c->q), kv->name);
        c->props = vault__props_ref(kv->props);
    }
    mutex_unlock(&s->lock);
}

/* Whose tokens are taken: the vault's tenant's; where there is no such vault, the first one's. */
static const char *tenant_of(const struct rest_call *c)
{
    return c->props ? c->props->tenant : vault_tenant(c->s);
}

/* Where the request came from, as the vault sees it: for whoever wonders about its address rules. */
static void add_network_info(struct rest_call *c)
{
    const struct sockaddr *peer = http_peer(c->q);
    bool six = peer && peer->sa_family == AF_INET6;
    char from[64];

    http_reply_header(c->r, "x-ms-keyvault-network-info",
                      arena_printf(http_arena(c->q), "conn_type=%s;addr=%s;act_addr_fam=%s;",
                                   six ? "Ipv6" : "Ipv4",
                                   vault__address_text(peer, from, sizeof from),
                                   six ? "InterNetworkV6" : "InterNetwork"));
}

/* key-vault.md 6: what makes a client ask past its cache. Clients differ in the alphabet of base64 that they read: this text has the same in both. */
static const char *claims_challenge(struct rest_call *c)
{
    AUTO(buf_fini) struct buf json = BUF_INIT, text = BUF_INIT;

    if (!c->who.stale)
        return "";
    buf_printf(&json, "{\"access_token\":{\"nbf\":{\"essential\":true,\"value\":\"%lld\"}}}",
               (long long)clock_real_s());
    base64_encode(buf_view(&json), &text);
    return arena_printf(http_arena(c->q), ", error=\"insufficient_claims\", claims=\"%s\"",
                        buf_cstr(&text));
}

static void challenge(struct rest_call *c, const char *why)
{
    struct vault_service *s = c->s;
    char resource[VAULT_AUDIENCE_MAX];
    /* key-vault.md 6: a space after each comma, none inside a value, no slash at the end of the tenant's path. */
    const char *text =
        arena_printf(http_arena(c->q),
                     "Bearer authorization=\"https://%s:%u/%s\", resource=\"%s\"%s", s->login_host,
                     vault_port(s), tenant_of(c),
                     vault__audience(s, /* with_port= */ true, resource, sizeof resource),
                     claims_challenge(c));

    vault__rest_error(c, 401, "Unauthorized", NULL, "%s", why);
    http_reply_header(c->r, "WWW-Authenticate", text);
}

static bool version_is_known(const char *v)
{
    static const char *const dated[] = {
        "2025-06-01-preview", "2025-07-01",         "2026-01-01-preview", "2026-03-01-preview",
        "2026-04-01",         "2026-05-01-preview", "2026-07-01-preview",
    };

    /* 7.0 to 7.6, and their previews: 7.6-preview, 7.6-preview.2 */
    if (v[0] == '7' && v[1] == '.' && v[2] >= '0' && v[2] <= '6') {
        const char *p = v + 3;
        if (*p == 0)
            return true;
        if (strncmp(p, "-preview", 8) != 0)
            return false;
        p += 8;
        return *p == 0 || (*p == '.' && isdigit((unsigned char)p[1]) && p[2] == 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(dated); i++)
        if (strcmp(v, dated[i]) == 0)
            return true;
    return false;
}

static bool check_api_version(struct rest_call *c)
{
    const char *v = http_query(c->q, "api-version");

    if (!v || !*v) {
        vault__rest_error(c, 400, "BadParameter", NULL,
                          "The required query parameter api-version is missing.");
        return false;
    }
    if (!version_is_known(v)) {
        vault__rest_error(c, 400, "BadParameter", NULL, "The specified version is not recognized.");
        return false;
    }
    http_reply_header(c->r, "x-ms-keyvault-service-version", "coffer-vault/" COFFER_VERSION);
    return true;
}

static bool check_vault(struct rest_call *c)
{
    if (!c->props) {
        vault__rest_error(c, 404, "VaultNotFound", NULL, "There is no key vault of this name.");
        return false;
    }
    http_reply_header(c->r, "x-ms-keyvault-region", c->props->location);
    return true;
}

static bool check_rate(struct rest_call *c)
{
    struct vault_service *s = c->s;
    bool creates = c->op->makes_a_key, by_subscription = false;
    uint32_t wait_s = 0;

    mutex_lock(&s->lock);
    struct keyvault *kv = vault__find_vault(s, c->vault);
    if (kv)
        wait_s = vault__rate_take_both(
            s, kv, creates, creates ? 1 : vault__rate_cost(vault__find_key(kv, c->key), c->version),
            clock_mono_us() / 1000000, &by_subscription);
    mutex_unlock(&s->lock);
    if (wait_s == 0)
        return true;
    vault__rest_error(
        c, 429, "Throttled", NULL,
        "Request was not processed because too many requests were received. Reason: %sRequestTypeLimitReached",
        by_subscription ? "Subscription" : "Vault");
    /* without it the SDKs do not try again */
    http_reply_header(c->r, "Retry-After", arena_printf(http_arena(c->q), "%u", wait_s));
    return false;
}

static bool check_path(struct rest_call *c)
{
    if (*c->key && !vault__valid_key_name(c->key)) {
        vault__rest_error(c, 400, "BadParameter", NULL,
                          "The request URI contains an invalid name.");
        return false;
    }
    if (!vault__is_version(c->version)) {
        vault__rest_error(c, 400, "BadParameter", NULL,
                          "The request URI contains an invalid version.");
        return false;
    }
    return true;
}

/* With room for its record: the request, from its token to its record. */
static void serve(struct rest_call *c, uint64_t started_us)
{
    char why[640];

    c->known = vault__token_check(c->s, http_bearer(c->q), tenant_of(c), clock_real_s(), &c->who,
                                  why, sizeof why);
    if (!c->known)
        challenge(c, why);
    else
        c->entered = check_vault(c) && vault__admit_address(c) && check_api_version(c) &&
                     check_path(c) && vault__admit_permission(c) && check_rate(c);
    if (c->entered)
        c->op->run(c);
    if (vault__record(c, started_us))
        vault__record_log(c, started_us);
}

static void enter(struct http_request *q, struct http_reply *r)
{
    const struct vault_op *op = http_route_arg(q);
    struct rest_call c = {
        .s = http_ctx(q), .q = q, .r = r, .op = op, .key = "", .version = "", .refusal = ""
    };
    uint64_t started_us = clock_mono_us();
    struct err e = { 0 };

    settle_vault(&c);
    c.key = http_param_or(q, 0, "");
    c.version = http_param_or(q, 1, "");
    if (vault__random_uuid(c.request_id, &e).failed) {
        vault__rest_internal(&c, &e);
        vault__props_unref(c.props);
        return;
    }
    http_reply_header(r, "x-ms-request-id", c.request_id);
    add_network_info(&c);
    const char *client_id = http_header(q, "x-ms-client-request-id");
    if (client_id && strlen(client_id) <= 64)
        http_reply_header(r, "x-ms-client-request-id", client_id);

    if (vault__record_ready(&c))
        serve(&c, started_us);
    else
        vault__record_log(&c, started_us);
    vault__props_unref(c.props);
}

/* Only backups are large, and only somebody whom the vault knows can make it hold one. */
size_t vault__rest_max_body(struct http_request *q)
{
    struct rest_call c = { .s = http_ctx(q), .q = q, .op = http_route_arg(q) };
    size_t max = 0;
    char why[640];

    if (c.op->run != vault__key_restore)
        return 0;
    settle_vault(&c);
    if (vault__token_check(c.s, http_bearer(q), tenant_of(&c), clock_real_s(), &c.who, why,
                           sizeof why))
        max = BACKUP_BODY_MAX;
    vault__props_unref(c.props);
    return max;
}

#define OP(id, name_, perm_, run_, ...)                                                            \
    static const struct vault_op id = { .name = name_, .perm = perm_, .run = run_, __VA_ARGS__ }

OP(op_create, "KeyCreate", PERM_CREATE, vault__key_create, .makes_a_key = true);
OP(op_import, "KeyImport", PERM_IMPORT, vault__key_import);
OP(op_get, "KeyGet", PERM_GET, vault__key_get);
OP(op_update, "KeyUpdate", PERM_UPDATE, vault__key_update);
OP(op_list, "KeyList", PERM_LIST, vault__key_list);
OP(op_versions, "KeyListVersions", PERM_LIST, vault__key_list_versions);
OP(op_delete, "KeyDelete", PERM_DELETE, vault__key_delete);
OP(op_get_deleted, "KeyGetDeleted", PERM_GET, vault__deleted_get);
OP(op_list_deleted, "KeyListDeleted", PERM_LIST, vault__deleted_list);
OP(op_recover, "KeyRecover", PERM_RECOVER, vault__deleted_recover);
OP(op_purge, "KeyPurge", PERM_PURGE, vault__deleted_purge);
OP(op_rotate, "KeyRotate", PERM_ROTATE, vault__key_rotate, .makes_a_key = true);
OP(op_policy_get, "KeyRotationPolicyGet", PERM_GET_POLICY, vault__policy_get);
OP(op_policy_set, "KeyRotationPolicySet", PERM_SET_POLICY, vault__policy_put);
OP(op_backup, "KeyBackup", PERM_BACKUP, vault__key_backup);
OP(op_restore, "KeyRestore", PERM_RESTORE, vault__key_restore);
/* key-vault.md 8: "Release shares the create bucket" */
OP(op_release, "KeyRelease", PERM_RELEASE, vault__key_release, .makes_a_key = true);
OP(op_wrap, "KeyWrap", PERM_WRAP, vault__key_seal, .use = OP_WRAP);
OP(op_unwrap, "KeyUnwrap", PERM_UNWRAP, vault__key_unseal, .use = OP_UNWRAP);
OP(op_encrypt, "KeyEncrypt", PERM_ENCRYPT, vault__key_seal, .use = OP_ENCRYPT);
OP(op_decrypt, "KeyDecrypt", PERM_DECRYPT, vault__key_unseal, .use = OP_DECRYPT);
OP(op_sign, "KeySign", PERM_SIGN, vault__key_sign, .use = OP_SIGN);
OP(op_verify, "KeyVerify", PERM_VERIFY, vault__key_verify, .use = OP_VERIFY);

/* The first route that fits is taken: literal segments stand before "{}". */
const struct http_route vault__rest_routes[] = {
    { HTTP_GET, "/keys", enter, &op_list },
    { HTTP_GET, "/keys/{}/versions", enter, &op_versions },
    { HTTP_POST, "/keys/{}/create", enter, &op_create },
    { HTTP_PUT, "/keys/{}", enter, &op_import },
    { HTTP_GET, "/keys/{}/rotationpolicy", enter, &op_policy_get },
    { HTTP_PUT, "/keys/{}/rotationpolicy", enter, &op_policy_set },
    { HTTP_POST, "/keys/{}/rotate", enter, &op_rotate },
    { HTTP_POST, "/keys/{}/backup", enter, &op_backup },
    { HTTP_POST, "/keys/restore", enter, &op_restore },
    { HTTP_GET, "/keys/{}", enter, &op_get },
    { HTTP_GET, "/keys/{}/{}", enter, &op_get },
    { HTTP_PATCH, "/keys/{}", enter, &op_update },
    { HTTP_PATCH, "/keys/{}/{}", enter, &op_update },
    { HTTP_DELETE, "/keys/{}", enter, &op_delete },
    { HTTP_GET, "/deletedkeys", enter, &op_list_deleted },
    { HTTP_GET, "/deletedkeys/{}", enter, &op_get_deleted },
    { HTTP_DELETE, "/deletedkeys/{}", enter, &op_purge },
    { HTTP_POST, "/deletedkeys/{}/recover", enter, &op_recover },
    { HTTP_POST, "/keys/{}/{}/wrapkey", enter, &op_wrap },
    { HTTP_POST, "/keys/{}/{}/unwrapkey", enter, &op_unwrap },
    { HTTP_POST, "/keys/{}/{}/encrypt", enter, &op_encrypt },
    { HTTP_POST, "/keys/{}/{}/decrypt", enter, &op_decrypt },
    { HTTP_POST, "/keys/{}/{}/sign", enter, &op_sign },
    { HTTP_POST, "/keys/{}/{}/verify", enter, &op_verify },
    { HTTP_POST, "/keys/{}/{}/release", enter, &op_release },
    /* without a version some clients leave its segment out: the JS SDK where it releases, .NET's, which appends to an id */
    { HTTP_POST, "/keys/{}/wrapkey", enter, &op_wrap },
    { HTTP_POST, "/keys/{}/unwrapkey", enter, &op_unwrap },
    { HTTP_POST, "/keys/{}/encrypt", enter, &op_encrypt },
    { HTTP_POST, "/keys/{}/decrypt", enter, &op_decrypt },
    { HTTP_POST, "/keys/{}/sign", enter, &op_sign },
    { HTTP_POST, "/keys/{}/verify", enter, &op_verify },
    { HTTP_POST, "/keys/{}/release", enter, &op_release },
};
const int vault__n_rest_routes = (int)ARRAY_LEN(vault__rest_routes);
