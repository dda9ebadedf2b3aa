/* vault_jwt.c - JSON web tokens (RFC 7519, RFC 7515) of anybody's, taken apart and verified.
 *
 * They are verified with libcjose, on a public key that the caller chose and for the one algorithm that the caller named: neither a key nor
 * an algorithm is taken from the token. Our own tokens are signed with crypto/rsa.h: two implementations that have to agree.
 */
#include <cjose/cjose.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

#define DATE_MAX 1e12 /* Unix seconds: further than any calendar */

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

bool vault__jwt_read(struct slice text, struct jwt *out)
{
    *out = (struct jwt){ .text = text };
    if (text.len == 0 || text.len > JWT_MAX)
        return false;
    const uint8_t *end = text.p + text.len, *dot1 = memchr(text.p, '.', text.len);
    const uint8_t *dot2 = dot1 ? memchr(dot1 + 1, '.', (size_t)(end - dot1 - 1)) : NULL;
    if (!dot2 || memchr(dot2 + 1, '.', (size_t)(end - dot2 - 1)))
        return false;
    out->header = part_json(SLICE(text.p, dot1 - text.p));
    out->claims = part_json(SLICE(dot1 + 1, dot2 - dot1 - 1));
    out->alg = kjson_str(out->header, "alg");
    /* libcjose aborts the process on a signature that is no base64url */
    AUTO(buf_fini) struct buf signature = BUF_INIT;
    bool sound = base64url_decode(SLICE(dot2 + 1, end - dot2 - 1), &signature);
    return out->header && out->claims && out->alg && sound;
}

void vault__jwt_fini(struct jwt *t)
{
    json_decref(t->header);
    json_decref(t->claims);
    *t = (struct jwt){ 0 };
}

bool vault__jwt_holds(const struct jwt *t, const struct rsa_public *key, const char *alg)
{
    cjose_jwk_rsa_keyspec spec = {
        .e = (uint8_t *)key->e, .elen = key->e_len, .n = (uint8_t *)key->n, .nlen = key->n_len
    };
    cjose_err ce = { 0 };

    if (strcmp(t->alg, alg) != 0 || (strcmp(alg, "RS256") != 0 && strcmp(alg, "PS256") != 0))
        return false;
    cjose_jwk_t *jwk = cjose_jwk_create_RSA_spec(&spec, &ce);
    cjose_jws_t *jws = jwk ? cjose_jws_import((const char *)t->text.p, t->text.len, &ce) : NULL;
    const char *read =
        jws ? cjose_header_get(cjose_jws_get_protected(jws), CJOSE_HDR_ALG, &ce) : NULL;
    bool ok = read && strcmp(read, alg) == 0 && cjose_jws_verify(jws, jwk, &ce);

    if (jws)
        cjose_jws_release(jws);
    if (jwk)
        cjose_jwk_release(jwk);
    return ok;
}

bool vault__jwt_has_audience(const struct jwt *t, const char *audience)
{
    const char *one = kjson_str(t->claims, "aud");
    const json_t *list = kjson_arr(t->claims, "aud");

    if (one)
        return strcmp(one, audience) == 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text && strcmp(text, audience) == 0)
            return true;
    }
    return false;
}

bool vault__jwt_date(const struct jwt *t, const char *claim, int64_t *out)
{
    const json_t *v = json_object_get(t->claims, claim);
    double d = json_number_value(v);

    if (!json_is_number(v) || !(d > -DATE_MAX && d < DATE_MAX))
        return false;
    *out = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)d;
    return true;
}

bool vault__jwks_key_read(const json_t *jwk, struct rsa_public *out)
{
    const char *kty = kjson_str(jwk, "kty"), *use = kjson_str(jwk, "use"),
               *alg = kjson_str(jwk, "alg");
    uint8_t hash[32];
    struct err e = { 0 };

    memset(out, 0, sizeof *out);
    return kty && strcmp(kty, "RSA") == 0 && (!use || strcmp(use, "sig") == 0) &&
           (!alg || strcmp(alg, "RS256") == 0) && vault__get_public(jwk, out) &&
           !rsa_public_sha256(out, hash, &e).failed;
}
