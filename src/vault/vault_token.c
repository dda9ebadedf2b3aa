/* vault_token.c - access tokens: RS256 JWTs (RFC 7519, RFC 7515) with the claims of the reference service's v1 tokens.
 *
 * They are signed with crypto/rsa.h, since the private key stays in a struct secret that way, and checked with libcjose on the
 * public key alone: two implementations that have to agree. The algorithm is looked at before anything is verified, and the
 * key is one of ours, chosen by kid, never one that came along.
 */
#include <cjose/cjose.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { SKEW_S = 300, TOKEN_MAX = 8192, SIGNER_BITS = 2048 };

static void b64url(struct buf *out, const void *p, size_t len)
{
    base64url_encode(SLICE(p, len), out);
}

const char *vault__audience(struct vault_service *s, bool with_port, char *out, size_t len)
{
    if (with_port && vault_port(s) != 443)
        (void)snprintf(out, len, "%s:%u", s->audience, vault_port(s));
    else
        (void)snprintf(out, len, "%s", s->audience);
    return out;
}

RC vault__signer_new(struct vault_service *s, struct signer **out, struct err *e)
{
    AUTO(secret_freep) struct secret *der = NULL;
    AUTO(buf_fini) struct buf kid = BUF_INIT;
    AUTO(buf_fini) struct buf context = BUF_INIT;
    AUTO(buf_fini) struct buf sealed = BUF_INIT;
    struct rsa_public pub;
    uint8_t hash[32];

    *out = NULL;
    TRY(rsa_generate(SIGNER_BITS, &der, e));
    TRY(rsa_public_of(der, &pub, e));
    TRY(rsa_public_sha256(&pub, hash, e));
    b64url(&kid, hash, sizeof hash);
    vault__key_context(&context, "", "token-signer", buf_cstr(&kid));
    TRY(vault__seal_key(s, buf_view(&context), der, &sealed, e));
    struct signer *k = NEW(struct signer);
    (void)snprintf(k->kid, sizeof k->kid, "%s", buf_cstr(&kid));
    k->pub = pub;
    k->created = clock_real_s();
    k->sealed = sealed;
    sealed = BUF_INIT;
    *out = k;
    return RC_OK;
}

void vault__signer_free(struct signer *k)
{
    if (!k)
        return;
    buf_fini(&k->sealed);
    mem_free(k);
}

static RC signature(struct vault_service *s, const struct signer *k, struct slice text,
                    struct buf *out, struct err *e)
{
    AUTO(secret_freep) struct secret *der = NULL;
    AUTO(buf_fini) struct buf context = BUF_INIT;

    vault__key_context(&context, "", "token-signer", k->kid);
    TRY(vault__unseal_key(s, buf_view(&context), buf_view(&k->sealed), &der, e));
    return rsa_sign_sha256(der, text, out, e);
}

RC vault__token_issue(struct vault_service *s, const struct identity *who, const char *audience,
                      int64_t now_s, struct buf *out, struct err *e)
{
    const struct signer *k = s->signers[s->n_signers - 1];
    AUTO(buf_fini) struct buf header = BUF_INIT;
    AUTO(buf_fini) struct buf claims = BUF_INIT;
    AUTO(buf_fini) struct buf sig = BUF_INIT;
    char uti[33];
    size_t at = out->len;

    TRY(vault__random_hex(uti, 32, e));
    AUTO(kjson_freep) json_t *h =
        json_pack("{s:s,s:s,s:s,s:s}", "typ", "JWT", "alg", "RS256", "kid", k->kid, "x5t", k->kid);
    AUTO(kjson_freep) json_t *c =
        json_pack("{s:s,s:s,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "aud", audience,
                  "iss", s->issuer, "iat", (json_int_t)now_s, "nbf", (json_int_t)now_s, "exp",
                  (json_int_t)now_s + s->token_lifetime_s, "appid", who->client_id, "appidacr", "2",
                  "idp", s->issuer, "idtyp", "app", "oid", who->object_id, "sub", who->object_id,
                  "tid", s->tenant, "uti", uti, "ver", "1.0", "xms_mirid", who->resource_id);
    INVARIANT(h && c);
    kjson_dump(h, &header);
    kjson_dump(c, &claims);
    b64url(out, header.p, header.len);
    buf_push_u8(out, '.');
    b64url(out, claims.p, claims.len);
    if (signature(s, k, SLICE(out->p + at, out->len - at), &sig, e).failed) {
        out->len = at;
        return RC_FAILED;
    }
    buf_push_u8(out, '.');
    b64url(out, sig.p, sig.len);
    return RC_OK;
}

json_t *vault__jwks(struct vault_service *s)
{
    json_t *keys = json_array();

    for (int i = 0; i < s->n_signers; i++) {
        AUTO(buf_fini) struct buf n = BUF_INIT;
        AUTO(buf_fini) struct buf x = BUF_INIT;
        b64url(&n, s->signers[i]->pub.n, s->signers[i]->pub.n_len);
        b64url(&x, s->signers[i]->pub.e, s->signers[i]->pub.e_len);
        json_array_append_new(keys,
                              json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "kty", "RSA", "use",
                                        "sig", "alg", "RS256", "kid", s->signers[i]->kid, "x5t",
                                        s->signers[i]->kid, "n", buf_cstr(&n), "e", buf_cstr(&x),
                                        "issuer", s->issuer));
    }
    return json_pack("{s:o}", "keys", keys);
}

/* ---- checking ---- */

static bool refuse(char *why, size_t len, const char *text)
{
    (void)snprintf(why, len, "%s", text);
    return false;
}

static json_t *part_json(struct slice part)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };
    json_t *j = NULL;

    if (!base64url_decode(part, &text) ||
        kjson_load(buf_view(&text), KJSON_DEPTH_MAX, &j, &e).failed)
        return NULL;
    return j;
}

/* The public numbers of one of our signers, copied: verification then needs no lock. */
static bool signer_of(struct vault_service *s, const char *kid, struct rsa_public *out)
{
    bool found = false;

    mutex_lock(&s->lock);
    for (int i = 0; i < s->n_signers && !found; i++)
        if (strcmp(s->signers[i]->kid, kid) == 0) {
            *out = s->signers[i]->pub;
            found = true;
        }
    mutex_unlock(&s->lock);
    return found;
}

static bool signature_holds(struct slice token, const struct rsa_public *pub)
{
    cjose_jwk_rsa_keyspec spec = {
        .e = (uint8_t *)pub->e, .elen = pub->e_len, .n = (uint8_t *)pub->n, .nlen = pub->n_len
    };
    cjose_err ce = { 0 };
    cjose_jwk_t *jwk = cjose_jwk_create_RSA_spec(&spec, &ce);
    cjose_jws_t *jws = jwk ? cjose_jws_import((const char *)token.p, token.len, &ce) : NULL;
    const char *alg =
        jws ? cjose_header_get(cjose_jws_get_protected(jws), CJOSE_HDR_ALG, &ce) : NULL;
    bool ok = alg && strcmp(alg, "RS256") == 0 && cjose_jws_verify(jws, jwk, &ce);

    if (jws)
        cjose_jws_release(jws);
    if (jwk)
        cjose_jwk_release(jwk);
    return ok;
}

static bool claims_fit(struct vault_service *s, const json_t *c, int64_t now_s,
                       struct token_claims *out, char *why, size_t why_len)
{
    const char *iss = kjson_str(c, "iss"), *tid = kjson_str(c, "tid"), *aud = kjson_str(c, "aud");
    const char *oid = kjson_str(c, "oid"), *appid = kjson_str(c, "appid");
    int64_t nbf, exp;

    if (!iss || strcmp(iss, s->issuer) != 0 || !tid || strcasecmp(tid, s->tenant) != 0)
        return refuse(why, why_len, "AKV10032: Invalid issuer.");
    char with_port[VAULT_AUDIENCE_MAX];
    if (!aud || (strcmp(aud, s->audience) != 0 &&
                 strcmp(aud, vault__audience(s, true, with_port, sizeof with_port)) != 0)) {
        (void)snprintf(why, why_len, "AKV10022: Invalid audience. Expected %s, found: %.120s",
                       s->audience, aud ? aud : "none");
        return false;
    }
    if (!kjson_i64(c, "exp", &exp) || exp < now_s - SKEW_S)
        return refuse(why, why_len, "AKV10046: The token has expired.");
    if (!kjson_i64(c, "nbf", &nbf) || nbf > now_s + SKEW_S)
        return refuse(why, why_len, "AKV10047: The token is not valid yet.");
    if (!oid || strlen(oid) != UUID_LEN || !appid || strlen(appid) != UUID_LEN)
        return refuse(why, why_len, "AKV10045: The token names no principal.");
    (void)snprintf(out->tenant, sizeof out->tenant, "%s", tid);
    memcpy(out->object_id, oid, UUID_LEN + 1);
    memcpy(out->client_id, appid, UUID_LEN + 1);
    return true;
}

bool vault__token_check(struct vault_service *s, struct slice token, int64_t now_s,
                        struct token_claims *out, char *why, size_t why_len)
{
    struct rsa_public pub;

    memset(out, 0, sizeof *out);
    if (token.len == 0)
        return refuse(why, why_len, "AKV10000: Request is missing a Bearer or PoP token.");
    const uint8_t *dot1 = memchr(token.p, '.', token.len);
    const uint8_t *dot2 =
        dot1 ? memchr(dot1 + 1, '.', token.len - (size_t)(dot1 + 1 - token.p)) : NULL;
    if (token.len > TOKEN_MAX || !dot2)
        return refuse(why, why_len, "AKV10003: The token is malformed.");
    AUTO(kjson_freep) json_t *header = part_json(SLICE(token.p, dot1 - token.p));
    AUTO(kjson_freep) json_t *claims = part_json(SLICE(dot1 + 1, dot2 - dot1 - 1));
    if (!header || !claims)
        return refuse(why, why_len, "AKV10003: The token is malformed.");
    const char *alg = kjson_str(header, "alg"), *kid = kjson_str(header, "kid");
    if (!alg || strcmp(alg, "RS256") != 0)
        return refuse(why, why_len, "AKV10005: The token's algorithm is not RS256.");
    if (!kid || !signer_of(s, kid, &pub) || !signature_holds(token, &pub))
        return refuse(why, why_len, "AKV10001: The token's signature does not hold.");
    return claims_fit(s, claims, now_s, out, why, why_len);
}
