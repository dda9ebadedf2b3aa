/* vault_issuer_oauth.c - the public half of the token service: client credentials (RFC 6749 4.4), discovery, key sets.
 *
 *   POST /{tenant}/oauth2/v2.0/token   scope=RESOURCE/.default        answers in numbers
 *   POST /{tenant}/oauth2/token        resource=RESOURCE              answers in texts, as v1 does
 *   GET  /{tenant}[/v2.0]/.well-known/openid-configuration
 *   GET  /{tenant}/discovery[/v2.0]/keys
 *
 * An application proves itself by one of its secrets or an assertion, a managed identity by an assertion of an issuer that it trusts.
 * Errors have the reference service's form and numbers: what the SDKs pass on, and operators look up.
 */
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "http/http_server.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { FIELDS_MAX = 32, SCOPE_SUFFIX = 9 };

#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

struct oauth_call {
    struct vault_service *s;
    struct http_request *q;
    struct http_reply *r;
    bool v2;
    struct sign_in in;
    bool unrecorded; /* the audit log has failed: nothing more is written there */
    const char *names[FIELDS_MAX], *values[FIELDS_MAX]; /* of the form; in the request's arena */
    int n_fields;
    char tenant[UUID_LEN + 1];
};

/* ---- the form ---- */

static const char *decode(struct oauth_call *c, struct slice in)
{
    AUTO(buf_wipe) struct buf out = BUF_INIT;
    char *plain = arena_strndup(http_arena(c->q), (const char *)in.p, in.len);

    for (char *p = plain; *p; p++)
        if (*p == '+')
            *p = ' ';
    buf_reserve(&out, in.len + 1);
    if (strlen(plain) != in.len || !http_unescape(SLICE(plain, in.len), &out) ||
        !utf8_valid(buf_view(&out)))
        return NULL;
    return arena_strndup(http_arena(c->q), (const char *)out.p, out.len);
}

/* False on more fields than anybody sends, a field twice, or text that is no form. */
static bool read_form(struct oauth_call *c)
{
    struct slice body = http_body(c->q);

    while (body.len > 0) {
        const uint8_t *end = memchr(body.p, '&', body.len);
        struct slice pair = SLICE(body.p, end ? (size_t)(end - body.p) : body.len);
        const uint8_t *eq = pair.len ? memchr(pair.p, '=', pair.len) : NULL;
        body = end ? SLICE(end + 1, body.len - pair.len - 1) : SLICE_EMPTY;
        if (pair.len == 0)
            continue;
        if (c->n_fields == FIELDS_MAX)
            return false;
        size_t name_len = eq ? (size_t)(eq - pair.p) : pair.len;
        const char *name = decode(c, SLICE(pair.p, name_len));
        const char *value = eq ? decode(c, SLICE(eq + 1, pair.len - name_len - 1)) : "";
        if (!name || !value)
            return false;
        for (int i = 0; i < c->n_fields; i++)
            if (strcmp(c->names[i], name) == 0)
                return false;
        c->names[c->n_fields] = name;
        c->values[c->n_fields++] = value;
    }
    return true;
}

/* NULL when it is absent or empty. */
static const char *field(const struct oauth_call *c, const char *name)
{
    for (int i = 0; i < c->n_fields; i++)
        if (strcmp(c->names[i], name) == 0)
            return *c->values[i] ? c->values[i] : NULL;
    return NULL;
}

/* ---- refusals ---- */

static void stamp(char *out, size_t len)
{
    time_t now = (time_t)clock_real_s();
    struct tm tm;

    gmtime_r(&now, &tm);
    (void)strftime(out, len, "%Y-%m-%d %H:%M:%SZ", &tm);
}

static void answer_refusal(struct oauth_call *c, const struct oauth_refusal *why)
{
    char at[32];

    stamp(at, sizeof at);
    const char *known = utf8_valid(slice_str(why->text)) ? why->text : "The request is malformed.";
    const char *text =
        arena_printf(http_arena(c->q), "AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
                     why->code, known, c->in.id, c->in.correlation, at);
    AUTO(kjson_freep) json_t *j =
        json_pack("{s:s,s:s,s:[i],s:s,s:s,s:s}", "error", why->error, "error_description", text,
                  "error_codes", why->code, "timestamp", at, "trace_id", c->in.id, "correlation_id",
                  c->in.correlation);
    INVARIANT(j != NULL);
    if (why->status == 503)
        http_reply_header(c->r, "Retry-After", "1");
    http_reply_json(c->r, why->status, j);
}

static void refuse(struct oauth_call *c, const struct oauth_refusal *why)
{
    answer_refusal(c, why);
    if (!c->unrecorded)
        vault__sign_in_refused(&c->in, why->status, why->error, why->code);
}

bool vault__refuse(struct oauth_refusal *why, int status, const char *error, int code,
                   const char *fmt, ...)
{
    va_list ap;

    *why = (struct oauth_refusal){ .status = status, .error = error, .code = code };
    va_start(ap, fmt);
    (void)vsnprintf(why->text, sizeof why->text, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- who asks, and for what ---- */

static bool find_tenant(struct oauth_call *c, struct oauth_refusal *why)
{
    const char *asked = http_param(c->q, 0);

    mutex_lock(&c->s->lock);
    const struct tenant *t = *asked ? vault__find_tenant(c->s, asked) : NULL;
    if (t) {
        memcpy(c->tenant, t->id, sizeof c->tenant);
        memcpy(c->in.who.tenant, t->id, sizeof c->tenant);
    }
    mutex_unlock(&c->s->lock);
    if (t)
        return true;
    return vault__refuse(
        why, 400, "invalid_request", 90002,
        "Tenant '%.100s' not found. Check to make sure you have the correct tenant ID and are signing into "
        "the correct cloud.",
        asked);
}

/* A copy: what follows may take time. */
static bool find_client(struct oauth_call *c, struct identity **out, struct oauth_refusal *why)
{
    const char *client_id = field(c, "client_id");

    *out = NULL;
    if (!client_id)
        return vault__refuse(why, 400, "invalid_request", 900144,
                             "The request body must contain the following parameter: 'client_id'.");
    mutex_lock(&c->s->lock);
    const struct identity *p = vault__identity_by_client(c->s, client_id);
    if (p && strcasecmp(p->tenant, c->tenant) == 0)
        *out = vault__identity_dup(p);
    mutex_unlock(&c->s->lock);
    if (*out) {
        vault__sign_in_is(&c->in, *out);
        return true;
    }
    return vault__refuse(
        why, 400, "unauthorized_client", 700016,
        "Application with identifier '%.100s' was not found in the directory '%s'. This can happen if the "
        "application has not been installed by the administrator of the tenant.",
        client_id, c->tenant);
}

static bool secret_proves(const struct identity *who, const char *secret, int64_t now_s,
                          const char **credential, struct oauth_refusal *why)
{
    struct slice part = slice_str(secret);
    uint8_t hash[SHA256_LEN];
    struct err e = { 0 };

    if (sha256(&part, 1, hash, &e).failed)
        return vault__refuse(why, 500, "server_error", 90033, "The secret could not be compared.");
    for (int i = 0; i < who->n_secrets; i++) {
        if (!ct_equal(who->secrets[i].sha256, hash, SHA256_LEN))
            continue;
        *credential = who->secrets[i].id;
        if (now_s >= who->secrets[i].until_s)
            return vault__refuse(
                why, 401, "invalid_client", 7000222,
                "The provided client secret keys for app are expired. Create new keys for your app.");
        return true;
    }
    return vault__refuse(
        why, 401, "invalid_client", 7000215,
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
        "not the client secret ID.");
}

static bool client_proves(struct oauth_call *c, const struct identity *who, int64_t now_s,
                          struct oauth_refusal *why)
{
    const char *secret = field(c, "client_secret"), *assertion = field(c, "client_assertion"),
               *type = field(c, "client_assertion_type");

    if (!secret == !assertion)
        return vault__refuse(
            why, 401, "invalid_client", 7000216,
            "'client_assertion' or 'client_secret' is required for the 'client_credentials' grant type, and only "
            "one of them.");
    c->in.proof = secret ? "client-secret" : "client-assertion";
    if (secret)
        return secret_proves(who, secret, now_s, &c->in.credential, why);
    if (!type || strcmp(type, ASSERTION_TYPE) != 0)
        return vault__refuse(
            why, 400, "invalid_request", 900144,
            "The request body must contain the following parameter: 'client_assertion_type', "
            "'" ASSERTION_TYPE "'.");
    return vault__assertion_proves(c->s, who, slice_str(assertion), now_s, &c->in.credential, why);
}

static bool find_audience(struct oauth_call *c, char *out, size_t len, struct oauth_refusal *why)
{
    const char *asked = field(c, c->v2 ? "scope" : "resource");

    if (!asked)
        return vault__refuse(why, 400, "invalid_request", 900144,
                             "The request body must contain the following parameter: '%s'.",
                             c->v2 ? "scope" : "resource");
    if (c->v2) {
        size_t n = strlen(asked);
        if (n <= SCOPE_SUFFIX || strcmp(asked + n - SCOPE_SUFFIX, "/.default") != 0 ||
            strchr(asked, ' '))
            return vault__refuse(
                why, 400, "invalid_scope", 70011,
                "The provided request must include a 'scope' input parameter: one resource with /.default "
                "behind it.");
        asked = arena_strndup(http_arena(c->q), asked, n - SCOPE_SUFFIX);
    }
    if (vault__audience_asked(c->s, asked, out, len))
        return true;
    return vault__refuse(
        why, 400, "invalid_resource", 500011,
        "The resource principal named %.100s was not found in the tenant named %s.", asked,
        c->tenant);
}

/* claims={"access_token":{"xms_cc":{"values":["cp1"]}}} */
static bool declares_cae(struct oauth_call *c)
{
    const char *text = field(c, "claims");
    AUTO(kjson_freep) json_t *j = NULL;
    struct err e = { 0 };

    if (!text || kjson_load(slice_str(text), KJSON_DEPTH_MAX, &j, &e).failed)
        return false;
    const json_t *list = kjson_arr(kjson_obj(kjson_obj(j, "access_token"), "xms_cc"), "values");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *v = json_string_value(json_array_get(list, i));
        if (v && strcasecmp(v, "cp1") == 0)
            return true;
    }
    return false;
}

/* ---- the answer ---- */

static void answer(struct oauth_call *c, const struct token_wish *w, const struct buf *token)
{
    AUTO(kjson_freep) json_t *j = NULL;

    if (c->v2) {
        j = json_pack("{s:s,s:i,s:i,s:s%}", "token_type", "Bearer", "expires_in",
                      (int)w->lifetime_s, "ext_expires_in", (int)w->lifetime_s, "access_token",
                      (const char *)token->p, token->len);
    } else {
        char lifetime[24], until[24], from[24];
        (void)snprintf(lifetime, sizeof lifetime, "%u", w->lifetime_s);
        (void)snprintf(until, sizeof until, "%lld", (long long)(w->now_s + w->lifetime_s));
        (void)snprintf(from, sizeof from, "%lld", (long long)w->now_s);
        j = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s%}", "token_type", "Bearer", "expires_in",
                      lifetime, "ext_expires_in", lifetime, "expires_on", until, "not_before", from,
                      "resource", w->audience, "access_token", (const char *)token->p, token->len);
    }
    INVARIANT(j != NULL);
    http_reply_header(c->r, "Cache-Control", "no-store, no-cache");
    http_reply_json(c->r, 200, j);
}

static bool check_grant(struct oauth_call *c, struct oauth_refusal *why)
{
    const char *grant = field(c, "grant_type");

    if (!grant)
        return vault__refuse(
            why, 400, "invalid_request", 900144,
            "The request body must contain the following parameter: 'grant_type'.");
    if (strcmp(grant, "client_credentials") != 0)
        return vault__refuse(
            why, 400, "unsupported_grant_type", 70003,
            "The app requested an unsupported grant type: only client_credentials is supported.");
    return true;
}

/* A token that is not on record is not given. */
static bool withhold(struct oauth_call *c, struct oauth_refusal *why)
{
    c->unrecorded = true;
    return vault__refuse(why, 503, "temporarily_unavailable", 90033,
                         "The audit log cannot take the record of a token. Try again.");
}

static bool grant(struct oauth_call *c, const struct identity *who, struct oauth_refusal *why)
{
    AUTO(buf_wipe) struct buf token = BUF_INIT;
    char audience[VAULT_AUDIENCE_MAX];
    struct token_subject subject;
    struct err e = { 0 };
    struct token_wish w = { .who = &subject,
                            .audience = audience,
                            .id = c->in.id,
                            .proof = field(c, "client_secret") ? "1" : "2",
                            .cae = declares_cae(c),
                            .now_s = clock_real_s(),
                            .lifetime_s = c->s->client_token_lifetime_s };

    if (!client_proves(c, who, w.now_s, why) || !find_audience(c, audience, sizeof audience, why))
        return false;
    vault__subject_of(who, http_arena(c->q), &subject);
    c->in.resource = audience;
    if (!vault__sign_in_ready(&c->in))
        return withhold(c, why);
    if (vault__token_issue(c->s, &w, &token, &e).failed) {
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
        return vault__refuse(why, 500, "server_error", 90033, "The token could not be made.");
    }
    if (!vault__sign_in_granted(&c->in))
        return withhold(c, why);
    answer(c, &w, &token);
    return true;
}

/* The client's own id for the request, when it is one. */
static void choose_ids(struct oauth_call *c)
{
    const char *given = http_query(c->q, "client-request-id");

    if (!given)
        given = field(c, "client-request-id");
    if (!given)
        given = http_header(c->q, "client-request-id");
    if (given && vault__valid_uuid(given))
        (void)snprintf(c->in.correlation, sizeof c->in.correlation, "%s", given);
    http_reply_header(c->r, "x-ms-request-id", c->in.id);
}

static void token(struct http_request *q, struct http_reply *r, bool v2)
{
    struct oauth_call c = { .s = http_ctx(q), .q = q, .r = r, .v2 = v2 };
    struct oauth_refusal why = { 0 };
    struct identity *who = NULL;

    vault__sign_in_begin(&c.in, c.s, q, "token");
    c.in.managed = false;
    bool sound = read_form(&c);
    choose_ids(&c);
    if (!sound)
        (void)vault__refuse(&why, 400, "invalid_request", 900144,
                            "The request body is not a form.");
    bool done = sound && find_tenant(&c, &why) && check_grant(&c, &why) &&
                find_client(&c, &who, &why) && grant(&c, who, &why);
    if (!done)
        refuse(&c, &why);
    vault__identity_free(who);
}

static void token_v2(struct http_request *q, struct http_reply *r)
{
    token(q, r, true);
}

static void token_v1(struct http_request *q, struct http_reply *r)
{
    token(q, r, false);
}

/* ---- discovery ---- */

/* Nobody asks for a token here: what is refused is a request like any other. */
static bool tenant_of_path(struct oauth_call *c)
{
    struct oauth_refusal why;

    vault__sign_in_begin(&c->in, c->s, c->q, "discovery");
    if (find_tenant(c, &why))
        return true;
    choose_ids(c);
    answer_refusal(c, &why);
    vault__record_stray(c->s, c->q, why.status, why.error, c->in.id);
    return false;
}

static void discovery(struct http_request *q, struct http_reply *r, bool v2)
{
    struct oauth_call c = { .s = http_ctx(q), .q = q, .r = r };
    char base[ISSUER_MAX], issuer[ISSUER_MAX];

    if (!tenant_of_path(&c))
        return;
    vault__issuer(c.s, c.tenant, false, base, sizeof base);
    vault__issuer(c.s, c.tenant, v2, issuer, sizeof issuer);
    const char *v = v2 ? "v2.0/" : "";
    struct arena *a = http_arena(q);
    AUTO(kjson_freep) json_t *j = json_pack(
        "{s:s,s:s,s:s,s:s,s:[s],s:[s],s:[s],s:[s,s],s:[s],s:[s,s,s,s,s,s,s,s,s,s],s:[s]}", "issuer",
        issuer, "authorization_endpoint", arena_printf(a, "%soauth2/%sauthorize", base, v),
        "token_endpoint", arena_printf(a, "%soauth2/%stoken", base, v), "jwks_uri",
        arena_printf(a, "%sdiscovery/%skeys", base, v), "response_types_supported", "none",
        "subject_types_supported", "pairwise", "id_token_signing_alg_values_supported", "RS256",
        "token_endpoint_auth_methods_supported", "client_secret_post", "private_key_jwt",
        "scopes_supported", ".default", "claims_supported", "aud", "iss", "iat", "nbf", "exp",
        "appid", "oid", "sub", "tid", "ver", "grant_types_supported", "client_credentials");
    INVARIANT(j != NULL);
    http_reply_json(r, 200, j);
}

static void discovery_v2(struct http_request *q, struct http_reply *r)
{
    discovery(q, r, true);
}

static void discovery_v1(struct http_request *q, struct http_reply *r)
{
    discovery(q, r, false);
}

static void key_set(struct http_request *q, struct http_reply *r)
{
    struct oauth_call c = { .s = http_ctx(q), .q = q, .r = r };

    if (!tenant_of_path(&c))
        return;
    AUTO(kjson_freep) json_t *j = vault__jwks(c.s, clock_real_s());
    http_reply_json(r, 200, j);
}

const struct http_route vault__login_routes[] = {
    { HTTP_POST, "/{}/oauth2/v2.0/token", token_v2, NULL },
    { HTTP_POST, "/{}/oauth2/token", token_v1, NULL },
    { HTTP_GET, "/{}/v2.0/.well-known/openid-configuration", discovery_v2, NULL },
    { HTTP_GET, "/{}/.well-known/openid-configuration", discovery_v1, NULL },
    { HTTP_GET, "/{}/discovery/v2.0/keys", key_set, NULL },
    { HTTP_GET, "/{}/discovery/keys", key_set, NULL },
};
const int vault__n_login_routes = (int)ARRAY_LEN(vault__login_routes);
