/* vault_signer.c - the RSA keys that sign tokens, and how one takes over from another.
 *
 *   made ──▶ signs ──▶ retired: in the key set, its tokens good ──▶ gone
 *             │ signing-key-lifetime,       │ the longest life of a token
 *             └ or by hand                  └ or at once, when it was compromised
 *
 * No clock runs for it: whoever makes a token looks whether the key's time is over, and whoever checks one looks whether its key's is. A
 * private key is opened for one signature and stays in a struct secret.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/secret.h"
#include "kmsg/kjson.h"
#include "kmsg/kmsg_jwt.h"
#include "vault_priv.h"

enum { SIGNER_BITS = 2048 };

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
    base64url_encode(SLICE(hash, sizeof hash), &kid);
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

json_t *vault__signer_json(const struct signer *k)
{
    return json_pack("{s:s,s:o,s:o,s:o,s:I,s:I}", "kid", k->kid, "n",
                     vault__bytes_json(SLICE(k->pub.n, k->pub.n_len)), "e",
                     vault__bytes_json(SLICE(k->pub.e, k->pub.e_len)), "sealed",
                     vault__bytes_json(buf_view(&k->sealed)), "created", (json_int_t)k->created,
                     "retired", (json_int_t)k->retired);
}

bool vault__signer_read(struct vault_service *s, const json_t *o, int64_t format)
{
    struct signer *k = NEW(struct signer);

    s->signers[s->n_signers++] = k;
    return vault__get_text(o, "kid", k->kid, sizeof k->kid) && vault__get_public(o, &k->pub) &&
           vault__get_bytes(o, "sealed", &k->sealed) && kjson_i64(o, "created", &k->created) &&
           (format < 3 || kjson_i64(o, "retired", &k->retired));
}

/* Whether tokens of this key are good at now_s. */
static bool is_live(const struct vault_service *s, const struct signer *k, int64_t now_s)
{
    return !k->retired || now_s < k->retired + s->token_lifetime_max_s + TOKEN_SKEW_S;
}

/* next signs from now on. Keys whose tokens have all expired go; with compromised, every older one does. */
static RC take_over(struct vault_service *s, struct signer *next, bool compromised, int64_t now_s,
                    struct err *e) TS_REQUIRES(s->lock)
{
    struct signer *was[SIGNERS_MAX] = { NULL }, *kept[SIGNERS_MAX], *gone[SIGNERS_MAX];
    int n_was = s->n_signers, n_gone = 0, n = 0;
    struct signer *old = s->signers[n_was - 1];

    for (int i = 0; i < n_was; i++) {
        was[i] = s->signers[i];
        if (!compromised && is_live(s, was[i], now_s))
            kept[n++] = was[i];
        else
            gone[n_gone++] = was[i];
    }
    if (n == SIGNERS_MAX)
        FAIL(e, ERR_CONFLICT, "the tokens of %d older signing keys are still good", n);
    kept[n++] = next;
    memcpy(s->signers, kept, (size_t)n * sizeof kept[0]);
    s->n_signers = n;
    old->retired = now_s;
    if (vault__state_save(s, e).failed) {
        memcpy(s->signers, was, (size_t)n_was * sizeof was[0]);
        s->n_signers = n_was;
        old->retired = 0;
        return RC_FAILED;
    }
    for (int i = 0; i < n_gone; i++)
        vault__signer_free(gone[i]);
    return RC_OK;
}

/* The key's time is over, and there is room for another beside those whose tokens are still good. */
static bool is_due(const struct vault_service *s, int64_t now_s) TS_REQUIRES(s->lock)
{
    int n_live = 0;

    for (int i = 0; i < s->n_signers; i++)
        n_live += is_live(s, s->signers[i], now_s);
    return s->signing_key_lifetime_s && n_live < SIGNERS_MAX &&
           now_s >= s->signers[s->n_signers - 1]->created + s->signing_key_lifetime_s;
}

static RC rotate(struct vault_service *s, bool compromised, bool only_if_due, int64_t now_s,
                 bool *done, struct err *e)
{
    char kid[sizeof s->signers[0]->kid];
    struct signer *next;

    *done = false;
    TRY(vault__signer_new(s, &next, e));
    memcpy(kid, next->kid, sizeof kid);
    mutex_lock(&s->lock);
    bool still = !only_if_due || is_due(s, now_s);
    rc_t rc = still ? take_over(s, next, compromised, now_s, e) : RC_OK;
    mutex_unlock(&s->lock);
    if (!still || rc.failed) {
        vault__signer_free(next);
        return rc;
    }
    *done = true;
    log_event(EV_VAULT_SIGNING_KEY, KV_STR("kid", kid),
              KV_STR("why", compromised   ? "compromised"
                            : only_if_due ? "its time was over"
                                          : "asked for"));
    return RC_OK;
}

void vault__signer_turn(struct vault_service *s, int64_t now_s)
{
    static const struct vault_act act = { .operation = "SigningKeyRotate",
                                          .by = "signing-key-lifetime" };
    struct err e = { 0 };
    bool done = false;

    mutex_lock(&s->lock);
    bool due = is_due(s, now_s);
    mutex_unlock(&s->lock);
    if (due &&
        rotate(s, /* compromised= */ false, /* only_if_due= */ true, now_s, &done, &e).failed)
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
    if (done)
        vault_act_end(s, &act, &e);
}

RC vault_signing_key_rotate(struct vault_service *s, bool compromised, struct err *e)
{
    bool done;

    return rotate(s, compromised, false, clock_real_s(), &done, e);
}

RC vault__sign(struct vault_service *s, const json_t *claims, struct buf *out, struct err *e)
{
    AUTO(secret_freep) struct secret *der = NULL;
    AUTO(buf_fini) struct buf context = BUF_INIT;
    AUTO(buf_fini) struct buf sealed = BUF_INIT;
    char kid[sizeof s->signers[0]->kid];

    mutex_lock(&s->lock);
    const struct signer *k = s->signers[s->n_signers - 1];
    memcpy(kid, k->kid, sizeof kid);
    buf_push(&sealed, k->sealed.p, k->sealed.len);
    mutex_unlock(&s->lock);

    AUTO(kjson_freep) json_t *header = json_pack("{s:s,s:s}", "kid", kid, "x5t", kid);
    INVARIANT(header && claims);
    vault__key_context(&context, "", "token-signer", kid);
    TRY(vault__unseal_key(s, buf_view(&context), buf_view(&sealed), &der, e));
    return kmsg_jwt(KMSG_JWT_RS256, header, claims, der, out, e);
}

bool vault__signer_public(struct vault_service *s, const char *kid, int64_t now_s,
                          struct rsa_public *out)
{
    bool found = false;

    mutex_lock(&s->lock);
    for (int i = 0; i < s->n_signers && !found; i++)
        if (strcmp(s->signers[i]->kid, kid) == 0 && is_live(s, s->signers[i], now_s)) {
            *out = s->signers[i]->pub;
            found = true;
        }
    mutex_unlock(&s->lock);
    return found;
}

json_t *vault__jwks(struct vault_service *s, int64_t now_s)
{
    json_t *keys = json_array();

    mutex_lock(&s->lock);
    for (int i = 0; i < s->n_signers; i++) {
        const struct signer *k = s->signers[i];
        if (!is_live(s, k, now_s))
            continue;
        json_t *n = vault__bytes_json(SLICE(k->pub.n, k->pub.n_len)),
               *x = vault__bytes_json(SLICE(k->pub.e, k->pub.e_len));
        json_array_append_new(keys, json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o}", "kty", "RSA", "use",
                                              "sig", "alg", "RS256", "kid", k->kid, "x5t", k->kid,
                                              "n", n, "e", x));
    }
    mutex_unlock(&s->lock);
    return json_pack("{s:o}", "keys", keys);
}
