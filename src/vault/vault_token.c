/* vault_token.c - access tokens: RS256 JWTs with the claims of the reference service's v1 tokens, made and checked.
 *
 * A token is checked with the key of ours that its kid names, never with one that came along, and the algorithm is looked at before
 * anything is verified (vault_jwt.c).
 */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

const char *vault__audience(struct vault_service *s, bool with_port, char *out, size_t len)
{
    if (with_port && vault_port(s) != 443)
        (void)snprintf(out, len, "%s:%u", s->audience, vault_port(s));
    else
        (void)snprintf(out, len, "%s", s->audience);
    return out;
}

/* With a slash at the end or without: clients differ. */
static bool same_resource(const char *asked, const char *ours)
{
    size_t a = strlen(asked), o = strlen(ours);

    if (a > 0 && asked[a - 1] == '/')
        a--;
    return a == o && strncasecmp(asked, ours, o) == 0;
}

const char *vault__audience_asked(struct vault_service *s, const char *asked, char *out, size_t len)
{
    if (same_resource(asked, vault__audience(s, /* with_port= */ true, out, len)) ||
        same_resource(asked, vault__audience(s, /* with_port= */ false, out, len)))
        return out;
    return NULL;
}

const char *vault__issuer(struct vault_service *s, const char *tenant_id, bool v2, char *out,
                          size_t len)
{
    char port[8] = "";

    if (vault_port(s) != 443)
        (void)snprintf(port, sizeof port, ":%u", vault_port(s));
    (void)snprintf(out, len, "https://%s%s/%s/%s", s->login_host, port, tenant_id,
                   v2 ? "v2.0" : "");
    return out;
}

/* Texts that the reference service's tokens have and some tools expect: opaque, but for uti, which names the token in the audit log. */
static RC add_opaque(json_t *claims, const char *uti, struct err *e)
{
    static const char *const names[] = { "aio", "rh" };
    char text[33];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        TRY(vault__random_hex(text, 32, e));
        json_object_set_new(claims, names[i], json_string(text));
    }
    json_object_set_new(claims, "uti", json_string(uti));
    return RC_OK;
}

RC vault__token_issue(struct vault_service *s, const struct token_wish *w, struct buf *out,
                      struct err *e)
{
    const struct token_subject *who = w->who;
    char issuer[ISSUER_MAX];

    vault__signer_turn(s, w->now_s);
    vault__issuer(s, who->tenant, /* v2= */ false, issuer, sizeof issuer);
    AUTO(kjson_freep) json_t *c =
        json_pack("{s:s,s:s,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "aud", w->audience,
                  "iss", issuer, "iat", (json_int_t)MAX(w->now_s, who->tokens_from_s), "nbf",
                  (json_int_t)w->now_s, "exp", (json_int_t)w->now_s + w->lifetime_s, "appid",
                  who->client_id, "appidacr", w->proof, "idp", issuer, "idtyp", "app", "oid",
                  who->object_id, "sub", who->object_id, "tid", who->tenant, "ver", "1.0");
    INVARIANT(c != NULL);
    TRY(add_opaque(c, w->id, e));
    if (who->resource_id)
        json_object_set_new(c, "xms_mirid", json_string(who->resource_id));
    if (w->cae)
        json_object_set_new(c, "xms_cc", json_pack("[s]", "cp1"));
    return vault__sign(s, c, out, e);
}

/* ---- checking ---- */

static bool refuse(char *why, size_t len, const char *text)
{
    (void)snprintf(why, len, "%s", text);
    return false;
}

static bool issuer_fits(struct vault_service *s, const json_t *c, const char *tenant_id, char *why,
                        size_t why_len)
{
    const char *iss = kjson_str(c, "iss"), *tid = kjson_str(c, "tid");
    char ours[ISSUER_MAX];

    vault__issuer(s, tenant_id, /* v2= */ false, ours, sizeof ours);
    if (iss && strcmp(iss, ours) == 0 && tid && strcasecmp(tid, tenant_id) == 0)
        return true;
    (void)snprintf(why, why_len, "AKV10032: Invalid issuer. Expected one of %s, found %.160s.",
                   ours, iss ? iss : "none");
    return false;
}

static bool audience_fits(struct vault_service *s, const json_t *c, char *why, size_t why_len)
{
    const char *aud = kjson_str(c, "aud");
    char with_port[VAULT_AUDIENCE_MAX];

    if (aud && (strcmp(aud, s->audience) == 0 ||
                strcmp(aud, vault__audience(s, true, with_port, sizeof with_port)) == 0))
        return true;
    (void)snprintf(why, why_len, "AKV10022: Invalid audience. Expected %s, found: %.120s",
                   s->audience, aud ? aud : "none");
    return false;
}

static bool claims_fit(struct vault_service *s, const json_t *c, const char *tenant_id,
                       int64_t now_s, struct token_claims *out, char *why, size_t why_len)
{
    const char *oid = kjson_str(c, "oid"), *appid = kjson_str(c, "appid"),
               *uti = kjson_str(c, "uti");
    int64_t nbf, exp;

    if (!issuer_fits(s, c, tenant_id, why, why_len) || !audience_fits(s, c, why, why_len))
        return false;
    if (!kjson_i64(c, "exp", &exp) || exp < now_s - TOKEN_SKEW_S)
        return refuse(why, why_len, "AKV10046: The token has expired.");
    if (!kjson_i64(c, "nbf", &nbf) || nbf > now_s + TOKEN_SKEW_S)
        return refuse(why, why_len, "AKV10047: The token is not valid yet.");
    if (!oid || strlen(oid) != UUID_LEN || !appid || strlen(appid) != UUID_LEN)
        return refuse(why, why_len, "AKV10045: The token names no principal.");
    memcpy(out->object_id, oid, UUID_LEN + 1);
    memcpy(out->client_id, appid, UUID_LEN + 1);
    (void)snprintf(out->tenant, sizeof out->tenant, "%s", tenant_id);
    (void)snprintf(out->uti, sizeof out->uti, "%s", uti ? uti : "");
    return true;
}

/* The principal is there still, and has not taken back what it was given until then. */
static bool principal_stands(struct vault_service *s, const json_t *c, const char *object_id,
                             char *why, size_t why_len)
{
    int64_t iat;

    mutex_lock(&s->lock);
    const struct identity *p = vault__identity_by_object(s, object_id);
    int64_t from_s = p ? p->tokens_from_s : 0;
    mutex_unlock(&s->lock);
    if (!p)
        return refuse(why, why_len, "AKV10045: The token's principal does not exist.");
    if (!kjson_i64(c, "iat", &iat) || iat < from_s)
        return refuse(why, why_len, "AKV10048: The token was taken back.");
    return true;
}

/* Its client asks for a new one when it is told that this one does no more (continuous access evaluation): it has declared so (xms_cc), or has a managed
 * identity's token (xms_mirid). Those clients keep tokens for a day and declare nothing, and a claims challenge is what has them ask past their cache. */
static bool client_can_renew(const json_t *claims)
{
    const json_t *list = kjson_arr(claims, "xms_cc");

    if (kjson_str(claims, "xms_mirid"))
        return true;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *v = json_string_value(json_array_get(list, i));
        if (v && strcasecmp(v, "cp1") == 0)
            return true;
    }
    return false;
}

static bool check(struct vault_service *s, struct jwt *t, struct slice token, const char *tenant_id,
                  int64_t now_s, struct token_claims *out, char *why, size_t why_len)
{
    struct rsa_public pub;

    if (!vault__jwt_read(token, t))
        return refuse(why, why_len, "AKV10003: The token is malformed.");
    if (strcmp(t->alg, "RS256") != 0)
        return refuse(why, why_len, "AKV10005: The token's algorithm is not RS256.");
    const char *kid = kjson_str(t->header, "kid");
    /* Past its time, or taken back with the key that signed it: clients keep tokens, and would show this one until it ends. Nothing of it is
     * believed but that. */
    if (!kid || !vault__signer_public(s, kid, now_s, &pub)) {
        out->stale = client_can_renew(t->claims);
        return refuse(why, why_len, "AKV10001: The token's signature does not hold.");
    }
    if (!vault__jwt_holds(t, &pub, "RS256"))
        return refuse(why, why_len, "AKV10001: The token's signature does not hold.");
    if (!claims_fit(s, t->claims, tenant_id, now_s, out, why, why_len)) {
        int64_t exp;
        out->stale = kjson_i64(t->claims, "exp", &exp) && exp < now_s - TOKEN_SKEW_S &&
                     client_can_renew(t->claims);
        return false;
    }
    if (principal_stands(s, t->claims, out->object_id, why, why_len))
        return true;
    out->stale = client_can_renew(t->claims);
    return false;
}

bool vault__token_check(struct vault_service *s, struct slice token, const char *tenant_id,
                        int64_t now_s, struct token_claims *out, char *why, size_t why_len)
{
    struct jwt t = { 0 };

    memset(out, 0, sizeof *out);
    if (token.len == 0)
        return refuse(why, why_len, "AKV10000: Request is missing a Bearer or PoP token.");
    bool ok = check(s, &t, token, tenant_id, now_s, out, why, why_len);
    vault__jwt_fini(&t);
    return ok;
}
