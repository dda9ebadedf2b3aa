/* vault_issuer_assertion.c - client assertions (RFC 7523): a token in place of a secret.
 *
 *   iss = sub = the client's id    signed by one of the application's certificates, found by its thumbprint (x5t, x5t#S256)
 *   any other iss                  a token of another issuer, which one of the principal's federations names with this subject and audience
 *
 * What a federation says is compared first, so that no issuer is asked for a token that would not fit anyway.
 */
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { ASSERTION_LIFE_MAX_S = 86400 };

static bool dates_fit(const struct jwt *t, int64_t now_s, bool limited, struct oauth_refusal *why)
{
    int64_t exp, nbf = 0;

    if (!vault__jwt_date(t, "exp", &exp) || exp < now_s - TOKEN_SKEW_S ||
        (kjson_has(t->claims, "nbf") && !vault__jwt_date(t, "nbf", &nbf)) ||
        nbf > now_s + TOKEN_SKEW_S || (limited && exp > now_s + ASSERTION_LIFE_MAX_S))
        return vault__refuse(why, 401, "invalid_client", 700024,
                             "Client assertion is not within its valid time range.");
    return true;
}

/* ---- signed by a certificate ---- */

static bool print_is(const struct jwt *t, const char *member, const uint8_t *print, size_t len)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct slice text = slice_str(kjson_str(t->header, member));

    while (text.len > 0 && text.p[text.len - 1] == '=') /* some clients pad */
        text.len--;
    return text.len > 0 && base64url_decode(text, &b) && b.len == len && ct_equal(b.p, print, len);
}

static const struct app_certificate *certificate_of(const struct identity *who, const struct jwt *t)
{
    for (int i = 0; i < who->n_certificates; i++) {
        const struct app_certificate *c = &who->certificates[i];
        bool by_sha256 = kjson_has(t->header, "x5t#S256");
        if (by_sha256 ? print_is(t, "x5t#S256", c->sha256, 32) : print_is(t, "x5t", c->sha1, 20))
            return c;
    }
    return NULL;
}

/* Clients name the endpoint that they ask, or the issuer that discovery told them. */
static bool addressed_to_us(struct vault_service *s, const struct identity *who,
                            const struct jwt *t)
{
    char base[ISSUER_MAX], text[ISSUER_MAX + 32];
    static const char *const ends[] = { "oauth2/v2.0/token", "oauth2/token", "v2.0", "" };

    vault__issuer(s, who->tenant, /* v2= */ false, base, sizeof base);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        (void)snprintf(text, sizeof text, "%s%s", base, ends[i]);
        if (vault__jwt_has_audience(t, text))
            return true;
    }
    return false;
}

static bool certificate_proves(struct vault_service *s, const struct identity *who,
                               const struct jwt *t, int64_t now_s, const char **credential,
                               struct oauth_refusal *why)
{
    const char *sub = kjson_str(t->claims, "sub");
    const struct app_certificate *c = certificate_of(who, t);

    if (c)
        *credential = c->id;
    if (!sub || strcasecmp(sub, who->client_id) != 0)
        return vault__refuse(
            why, 401, "invalid_client", 700021,
            "Client assertion application identifier doesn't match 'client_id' parameter.");
    if (!c)
        return vault__refuse(
            why, 401, "invalid_client", 700027,
            "The certificate with identifier used to sign the client assertion is not registered on "
            "application.");
    if (!vault__jwt_holds(t, &c->pub, strcmp(t->alg, "PS256") == 0 ? "PS256" : "RS256"))
        return vault__refuse(why, 401, "invalid_client", 700027,
                             "Client assertion failed signature validation.");
    if (now_s < c->from_s || now_s >= c->until_s)
        return vault__refuse(
            why, 401, "invalid_client", 700027,
            "The certificate used to sign the client assertion has expired or is not valid yet.");
    if (!addressed_to_us(s, who, t))
        return vault__refuse(why, 401, "invalid_client", 700023,
                             "Client assertion audience claim does not match Realm issuer.");
    return dates_fit(t, now_s, /* limited= */ true, why);
}

/* ---- by another issuer ---- */

static const struct federation *federation_of(const struct identity *who, const struct jwt *t)
{
    const char *iss = kjson_str(t->claims, "iss"), *sub = kjson_str(t->claims, "sub");

    for (int i = 0; i < who->n_federations; i++) {
        const struct federation *f = &who->federations[i];
        if (sub && strcmp(f->issuer, iss) == 0 && strcmp(f->subject, sub) == 0 &&
            vault__jwt_has_audience(t, f->audience))
            return f;
    }
    return NULL;
}

static bool federation_proves(struct vault_service *s, const struct identity *who,
                              const struct jwt *t, int64_t now_s, const char **credential,
                              struct oauth_refusal *why)
{
    const struct federation *f = federation_of(who, t);
    const char *iss = kjson_str(t->claims, "iss"), *sub = kjson_str(t->claims, "sub");
    char reason[200];

    if (!f)
        return vault__refuse(
            why, 400, "invalid_request", 70021,
            "No matching federated identity record found for presented assertion. Assertion Issuer: "
            "'%.100s'. Assertion Subject: '%.100s'. The issuer, the subject and the audience must all match "
            "exactly.",
            iss, sub ? sub : "");
    *credential = f->name;
    if (!dates_fit(t, now_s, /* limited= */ false, why))
        return false;
    switch (vault__federation_holds(s->federation, iss, t, reason, sizeof reason)) {
    case FEDERATION_HOLDS: return true;
    case FEDERATION_FORGED:
        return vault__refuse(
            why, 401, "invalid_client", 700027,
            "Client assertion failed signature validation: the issuer does not know its key.");
    case FEDERATION_BUSY:
        return vault__refuse(why, 503, "temporarily_unavailable", 90033,
                             "The issuer is being asked for its keys. Try again.");
    case FEDERATION_SILENT:
    default:
        log_event(EV_VAULT_ISSUER_SILENT, KV_STR("issuer", iss), KV_STR("why", reason));
        return vault__refuse(why, 503, "temporarily_unavailable", 90033,
                             "The keys of issuer '%.100s' cannot be had.", iss);
    }
}

bool vault__assertion_proves(struct vault_service *s, const struct identity *who,
                             struct slice assertion, int64_t now_s, const char **credential,
                             struct oauth_refusal *why)
{
    struct jwt t;
    bool ok;

    const char *iss = vault__jwt_read(assertion, &t) ? kjson_str(t.claims, "iss") : NULL;
    if (!iss)
        ok = vault__refuse(why, 401, "invalid_client", 700027,
                           "Client assertion is not a signed token.");
    else if (strcasecmp(iss, who->client_id) == 0)
        ok = certificate_proves(s, who, &t, now_s, credential, why);
    else
        ok = federation_proves(s, who, &t, now_s, credential, why);
    vault__jwt_fini(&t);
    return ok;
}
