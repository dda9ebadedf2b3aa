/* vault_rest_crypto.c - wrapkey, unwrapkey, encrypt, decrypt: one pair of handlers, told apart by the operation they stand for.
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
    struct rsa_public pub;
    struct buf sealed;
    char id[VERSION_LEN + 1];
    char key[KEY_NAME_MAX + 1]; /* as it was created */
};

static bool allowed_now(struct rest_call *c, const struct key_version *v)
{
    const char *op = vault__op_name(c->op->use);
    bool opens = c->op->use == OP_UNWRAP || c->op->use == OP_DECRYPT;
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

static bool bad(struct rest_call *c, const char *text)
{
    vault__rest_error(c, 400, "BadParameter", NULL, "%s", text);
    return false;
}

static bool read_request(struct rest_call *c, enum rsa_pad *pad, struct buf *value)
{
    static const struct {
        const char *name;
        enum rsa_pad pad;
    } algs[] = { { "RSA-OAEP-256", RSA_PAD_OAEP_SHA256 },
                 { "RSA-OAEP", RSA_PAD_OAEP_SHA1 },
                 { "RSA1_5", RSA_PAD_PKCS1 } };
    struct err e = { 0 };
    json_t *body;

    if (http_json(c->q, &body, &e).failed) {
        vault__rest_error(c, 400, "BadParameter", NULL, "The request body is malformed: %s.",
                          e.msg);
        return false;
    }
    const char *alg = kjson_str(body, "alg"), *text = kjson_str(body, "value");
    if (!alg || !text)
        return bad(c, "The properties alg and value are required.");
    size_t i = 0;
    while (i < ARRAY_LEN(algs) && strcmp(algs[i].name, alg) != 0)
        i++;
    if (i == ARRAY_LEN(algs))
        return bad(c, "The algorithm is not supported by this key.");
    *pad = algs[i].pad;
    struct slice raw = slice_str(text);
    while (raw.len > 0 && raw.p[raw.len - 1] == '=') /* some clients pad */
        raw.len--;
    buf_reserve(value, raw.len + 1);
    if (raw.len == 0 || !base64url_decode(raw, value))
        return bad(c, "The property value is not base64url.");
    return true;
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

void vault__key_seal(struct rest_call *c)
{
    AUTO(buf_wipe) struct buf value = BUF_INIT;
    AUTO(buf_fini) struct buf out = BUF_INIT;
    struct picked k = { 0 };
    enum rsa_pad pad;
    struct err e = { 0 };

    if (pick(c, &k) && read_request(c, &pad, &value)) {
        if (value.len > rsa_plain_max(&k.pub, pad))
            (void)bad(c, "The value is too long for this key and algorithm.");
        else if (rsa_encrypt(&k.pub, pad, buf_view(&value), &out, &e).failed)
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
    AUTO(buf_fini) struct buf context = BUF_INIT;

    vault__key_context(&context, c->vault, k->key, k->id);
    TRY(vault__unseal_key(c->s, buf_view(&context), buf_view(&k->sealed), &der, e));
    return rsa_decrypt(der, pad, value, out, e);
}

void vault__key_unseal(struct rest_call *c)
{
    AUTO(secret_freep) struct secret *plain = NULL;
    AUTO(buf_fini) struct buf value = BUF_INIT;
    struct picked k = { 0 };
    enum rsa_pad pad;
    struct err e = { 0 };

    if (pick(c, &k) && read_request(c, &pad, &value)) {
        if (value.len != k.pub.n_len)
            (void)bad(c, "The value does not have the length of the key's modulus.");
        else if (!open_with(c, &k, pad, buf_view(&value), &plain, &e).failed)
            answer(c, &k, SLICE(secret_view(plain), secret_len(plain)));
        else if (e.code == ERR_BAD_VALUE)
            (void)bad(c, "The parameter is incorrect.");
        else
            vault__rest_internal(c, &e);
    }
    buf_fini(&k.sealed);
}
