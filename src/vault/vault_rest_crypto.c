/* vault_rest_crypto.c - wrapkey, unwrapkey, encrypt, decrypt, sign, verify: handlers told apart by the operation they stand for.
 *
 * What a version allows (key-vault.md 5): disabled, nothing; outside of nbf to exp, only the opening direction; never what its
 * key_ops leave out. The private key is opened outside of the lock, for this one request.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/secret.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

/* The version as it was when the request was allowed. */
struct picked {
    struct key_public pub;
    struct buf sealed;
    char id[VERSION_LEN + 1];
    char key[KEY_NAME_MAX + 1]; /* as it was created */
};

static bool allowed_now(struct rest_call *c, const struct key_version *v)
{
    const char *op = vault__op_name(c->op->use);
    bool opens = c->op->use == OP_UNWRAP || c->op->use == OP_DECRYPT || c->op->use == OP_VERIFY;
    int64_t now_s = clock_real_s();

    if (!v->enabled) {
        vault__rest_error(c, 403, "Forbidden", "KeyDisabled",
                          "Operation %s is not allowed on a disabled key.", op);
        return false;
    }
    if (!(v->ops & c->op->use)) {
        vault__rest_error(c, 403, "Forbidden", "KeyOperationForbidden",
                          "Operation %s is not permitted on this key.", op);
        return false;
    }
    if (!opens && ((v->nbf && now_s < v->nbf) || (v->exp && now_s >= v->exp))) {
        vault__rest_error(c, 403, "Forbidden", "KeyNotYetValidOrExpired",
                          "Operation %s is not allowed on an expired or not yet valid key.", op);
        return false;
    }
    return true;
}

static bool pick(struct rest_call *c, struct picked *out)
{
    bool ok = false;

    mutex_lock(&c->s->lock);
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;
    struct key_version *v = k ? vault__find_version(k, c->version) : NULL;
    if (v)
        c->version = arena_strdup(http_arena(c->q), v->id); /* for the record */
    if (!v) {
        vault__not_found(c);
    } else if (allowed_now(c, v)) {
        out->pub = v->pub;
        buf_push(&out->sealed, v->sealed.p, v->sealed.len);
        memcpy(out->id, v->id, sizeof out->id);
        memcpy(out->key, k->name, sizeof out->key);
        ok = true;
    }
    mutex_unlock(&c->s->lock);
    return ok;
}

static bool incompatible(struct rest_call *c, const struct picked *k, const char *alg)
{
    char text[160];

    (void)snprintf(
        text, sizeof text,
        "Key and algorithm are incompatible: the key is of type %s%s%s, the algorithm is %.40s.",
        k->pub.type == KEY_EC ? "EC" : "RSA", k->pub.type == KEY_EC ? " on curve " : "",
        k->pub.type == KEY_EC ? ec_curve_name(k->pub.ec.curve) : "", alg);
    return vault__bad(c, text);
}

static bool get_alg(struct rest_call *c, const json_t *body, const char **alg)
{
    *alg = kjson_str(body, "alg");
    return *alg || vault__bad(c, "The property alg is required.");
}

static bool get_bytes(struct rest_call *c, const json_t *body, const char *member, struct buf *out)
{
    const char *text = kjson_str(body, member);
    char why[80];

    if (text && vault__base64url(text, out))
        return true;
    (void)snprintf(why, sizeof why, "The property %s is %s.", member,
                   !text    ? "required"
                   : !*text ? "empty"
                            : "not base64url");
    return vault__bad(c, why);
}

static void answer(struct rest_call *c, const struct picked *k, struct slice value)
{
    AUTO(buf_wipe) struct buf text = BUF_INIT;

    buf_reserve(&text, value.len * 2 + 8);
    base64url_encode(value, &text);
    vault__rest_answer(c, 200,
                       json_pack("{s:s,s:s%}", "kid",
                                 arena_printf(http_arena(c->q), "%s/keys/%s/%s",
                                              vault__rest_base(c), k->key, k->id),
                                 "value", (const char *)text.p, text.len));
}

/* ---- closing and opening ---- */

static bool read_padded(struct rest_call *c, const struct picked *k, enum rsa_pad *pad,
                        struct buf *value)
{
    static const struct {
        const char *name;
        enum rsa_pad pad;
    } algs[] = { { "RSA-OAEP-256", RSA_PAD_OAEP_SHA256 },
                 { "RSA-OAEP", RSA_PAD_OAEP_SHA1 },
                 { "RSA1_5", RSA_PAD_PKCS1 } };
    const char *alg;
    json_t *body;
    size_t i = 0;

    if (!vault__read_body(c, &body) || !get_alg(c, body, &alg))
        return false;
    while (i < ARRAY_LEN(algs) && strcmp(algs[i].name, alg) != 0)
        i++;
    if (i == ARRAY_LEN(algs) || k->pub.type != KEY_RSA)
        return incompatible(c, k, alg);
    *pad = algs[i].pad;
    return get_bytes(c, body, "value", value);
}

void vault__key_seal(struct rest_call *c)
{
    AUTO(buf_wipe) struct buf value = BUF_INIT;
    AUTO(buf_fini) struct buf out = BUF_INIT;
    struct picked k = { 0 };
    enum rsa_pad pad;
    struct err e = { 0 };

    if (pick(c, &k) && read_padded(c, &k, &pad, &value)) {
        if (value.len > rsa_plain_max(&k.pub.rsa, pad))
            (void)vault__bad(c, "The value is too long for this key and algorithm.");
        else if (rsa_encrypt(&k.pub.rsa, pad, buf_view(&value), &out, &e).failed)
            vault__rest_internal(c, &e);
        else
            answer(c, &k, buf_view(&out));
    }
    buf_fini(&k.sealed);
}

static RC open_with(struct rest_call *c, const struct picked *k, enum rsa_pad pad,
                    struct slice value, struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *der = NULL;

    TRY(vault__open_version(c->s, c->vault, k->key, k->id, buf_view(&k->sealed), &der, e));
    return rsa_decrypt(der, pad, value, out, e);
}

void vault__key_unseal(struct rest_call *c)
{
    AUTO(secret_freep) struct secret *plain = NULL;
    AUTO(buf_fini) struct buf value = BUF_INIT;
    struct picked k = { 0 };
    enum rsa_pad pad;
    struct err e = { 0 };

    if (pick(c, &k) && read_padded(c, &k, &pad, &value)) {
        if (value.len != k.pub.rsa.n_len)
            (void)vault__bad(c, "The value does not have the length of the key's modulus.");
        else if (!open_with(c, &k, pad, buf_view(&value), &plain, &e).failed)
            answer(c, &k, plain ? SLICE(secret_view(plain), secret_len(plain)) : SLICE_EMPTY);
        else if (e.code == ERR_BAD_VALUE)
            (void)vault__bad(c, "The parameter is incorrect.");
        else
            vault__rest_internal(c, &e);
    }
    buf_fini(&k.sealed);
}

/* ---- signatures ---- */

/* RFC 7518 3.1, and RFC 8812 for ES256K: an algorithm goes with one type of key, on a curve with one curve. */
static const struct sig_alg {
    const char *name;
    enum key_type type;
    enum rsa_sig rsa;
    enum ec_curve curve;
} sig_algs[] = {
    { "RS256", KEY_RSA, RSA_SIG_RS256, 0 }, { "RS384", KEY_RSA, RSA_SIG_RS384, 0 },
    { "RS512", KEY_RSA, RSA_SIG_RS512, 0 }, { "PS256", KEY_RSA, RSA_SIG_PS256, 0 },
    { "PS384", KEY_RSA, RSA_SIG_PS384, 0 }, { "PS512", KEY_RSA, RSA_SIG_PS512, 0 },
    { "RSNULL", KEY_RSA, RSA_SIG_NULL, 0 }, { "ES256", KEY_EC, 0, EC_P256 },
    { "ES384", KEY_EC, 0, EC_P384 },        { "ES512", KEY_EC, 0, EC_P521 },
    { "ES256K", KEY_EC, 0, EC_P256K },
};

static const struct sig_alg *sig_alg(struct rest_call *c, const struct picked *k,
                                     const json_t *body)
{
    const char *name;

    if (!get_alg(c, body, &name))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(sig_algs); i++) {
        const struct sig_alg *a = &sig_algs[i];
        if (strcmp(a->name, name) == 0 && a->type == k->pub.type &&
            (a->type == KEY_RSA || a->curve == k->pub.ec.curve))
            return a;
    }
    (void)incompatible(c, k, name);
    return NULL;
}

/* The digest in the member, of the length that goes with the algorithm. */
static bool get_digest(struct rest_call *c, const struct picked *k, const struct sig_alg *alg,
                       const json_t *body, const char *member, struct buf *out)
{
    if (!get_bytes(c, body, member, out))
        return false;
    bool fits = alg->type == KEY_EC ? out->len == ec_digest_len(alg->curve)
                                    : rsa_digest_fits(&k->pub.rsa, alg->rsa, out->len);
    return fits ||
           vault__bad(c, "The digest does not have the length that the algorithm asks for.");
}

static RC sign_with(struct rest_call *c, const struct picked *k, const struct sig_alg *alg,
                    struct slice digest, struct buf *out, struct err *e)
{
    AUTO(secret_freep) struct secret *der = NULL;

    TRY(vault__open_version(c->s, c->vault, k->key, k->id, buf_view(&k->sealed), &der, e));
    return alg->type == KEY_EC ? ec_sign(der, digest, out, e)
                               : rsa_sign(der, alg->rsa, digest, out, e);
}

void vault__key_sign(struct rest_call *c)
{
    AUTO(buf_fini) struct buf digest = BUF_INIT;
    AUTO(buf_fini) struct buf out = BUF_INIT;
    const struct sig_alg *alg;
    struct picked k = { 0 };
    struct err e = { 0 };
    json_t *body;

    if (pick(c, &k) && vault__read_body(c, &body) && (alg = sig_alg(c, &k, body)) &&
        get_digest(c, &k, alg, body, "value", &digest)) {
        if (sign_with(c, &k, alg, buf_view(&digest), &out, &e).failed)
            vault__rest_internal(c, &e);
        else
            answer(c, &k, buf_view(&out));
    }
    buf_fini(&k.sealed);
}

void vault__key_verify(struct rest_call *c)
{
    AUTO(buf_fini) struct buf digest = BUF_INIT;
    AUTO(buf_fini) struct buf signature = BUF_INIT;
    const struct sig_alg *alg;
    struct picked k = { 0 };
    struct err e = { 0 };
    bool holds;
    json_t *body;

    if (pick(c, &k) && vault__read_body(c, &body) && (alg = sig_alg(c, &k, body)) &&
        get_digest(c, &k, alg, body, "digest", &digest) &&
        get_bytes(c, body, "value", &signature)) {
        rc_t rc = alg->type == KEY_EC
                      ? ec_verify(&k.pub.ec, buf_view(&digest), buf_view(&signature), &holds, &e)
                      : rsa_verify(&k.pub.rsa, alg->rsa, buf_view(&digest), buf_view(&signature),
                                   &holds, &e);
        if (rc.failed)
            vault__rest_internal(c, &e);
        else
            vault__rest_answer(c, 200, json_pack("{s:b}", "value", holds));
    }
    buf_fini(&k.sealed);
}
