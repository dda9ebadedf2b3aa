/* kms_kmip.c - a KMIP server as a key provider. See kms/kms.h, kmsg/kmsg_kmip.h.
 *
 * The key is an AES key that the server encrypts and decrypts with; it is never fetched. The node proves itself by its TLS certificate. Each call is
 * a connection of its own, so every probe is a fresh one.
 *
 * Newer versions: a re-key makes a new object and links it from the old one. The chain is followed from the URL's object to its end, or to the last
 * one before an object that is not active yet. An envelope names the object that wrapped, and unwrapping asks that one alone.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "http/http_client.h"
#include "kms_priv.h"
#include "kmsg/kmsg_kmip.h"

enum { CHAIN_MAX = 16 };

struct kms_kmip {
    struct kms_remote remote; /* first */
    struct kmsg_kmip_target target;
    char *url; /* "https://HOST:PORT": TLS to there */
};

static struct kms_kmip *kmip_of(struct kms_remote *r)
{
    return CONTAINER_OF(r, struct kms_kmip, remote);
}

/* One request and its answer, whose payload lies in a->body: the caller wipes it in any case. */
static RC ask(struct kms_kmip *k, enum kmsg_kmip_mode mode, enum kmsg_kmip_op op,
              struct slice request, uint64_t deadline_us, struct http_answer *a,
              struct kmsg_kmip_answer *out, struct err *e)
{
    char cause[KMSG_CAUSE_MAX];
    struct http_exchange x = {
        .url = k->url,
        .request = request,
        .frame = kmsg_kmip_frame,
        .head_len = KMSG_KMIP_HEAD_LEN,
        .max_answer = KMSG_KMIP_ANSWER_MAX,
        .deadline_us = deadline_us,
    };

    http_client_exchange(k->remote.http, &x, a);
    if (a->outcome != HTTP_OUT_ANSWER)
        return kms__no_answer(e, "KMIP server", a);
    enum kmsg_class class = kmsg_kmip_open(mode, op, buf_view(&a->body), out, cause);
    return class == KMSG_OK ? RC_OK : kms__fail(e, class, cause);
}

static RC describe(struct kms_kmip *k, const char *id, uint64_t deadline_us,
                   struct kmsg_kmip_key *out, int64_t *date_s, struct err *e)
{
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf request = BUF_INIT;
    struct kmsg_kmip_answer answer = { .date_s = 0 };

    kmsg_kmip_describe(k->target.mode, id, &request);
    TRY(ask(k, k->target.mode, KMSG_KMIP_OP_DESCRIBE, buf_view(&request), deadline_us, &a, &answer,
            e));
    *date_s = answer.date_s ? answer.date_s : clock_real_s();
    return kmsg_kmip_read_key(answer.payload, id, out, e);
}

/* id: of the object that is described; version "" looks for the newest. */
static RC find_key(struct kms_kmip *k, const char *version, uint64_t deadline_us,
                   char id[KMSG_KMIP_ID_MAX + 1], struct kmsg_kmip_key *out, int64_t *date_s,
                   struct err *e)
{
    struct kmsg_kmip_key next;

    (void)snprintf(id, KMSG_KMIP_ID_MAX + 1, "%s", *version ? version : k->target.id);
    TRY(describe(k, id, deadline_us, out, date_s, e));
    if (*version)
        return RC_OK;
    for (int n = 0; *out->replacement; n++) {
        if (n == CHAIN_MAX)
            FAIL(e, ERR_KEY_BAD_ANSWER, "more than %d objects replace one another", CHAIN_MAX);
        TRY(describe(k, out->replacement, deadline_us, &next, date_s, e));
        if (next.state == KMSG_KMIP_PRE_ACTIVE)
            return RC_OK;
        memcpy(id, out->replacement, sizeof out->replacement);
        *out = next;
    }
    return RC_OK;
}

static RC kmip_get_key(struct kms_remote *r, const char *version, uint64_t deadline_us,
                       struct key_info *out, struct err *e)
{
    struct kms_kmip *k = kmip_of(r);
    char id[KMSG_KMIP_ID_MAX + 1];
    struct kmsg_kmip_key key;

    TRY(find_key(k, version, deadline_us, id, &key, &out->server_date_s, e));
    (void)snprintf(out->version, sizeof out->version, "%s", id);
    (void)snprintf(out->kid, sizeof out->kid, "kmip://%s/%s", k->target.host, id);
    (void)snprintf(out->kty, sizeof out->kty, "oct-HSM");
    out->bits = key.bits;
    out->enabled = key.state == KMSG_KMIP_ACTIVE;
    out->not_before_s = key.active_s;
    out->expires_s = key.inactive_s;
    out->can_wrap = key.can_wrap;
    out->can_unwrap = key.can_unwrap;
    /* There is no public half: the key is the same when its object is, on whichever server of one replica set. Whoever acts on that has the canary
     * unwrapped first. */
    const struct slice object[] = { SLICE_LIT("kmip:"), slice_str(id) };
    return sha256(object, ARRAY_LEN(object), out->public_sha256, e);
}

static RC kmip_wrap(struct kms_remote *r, const char *version, const struct secret *plain,
                    uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct kms_kmip *k = kmip_of(r);
    enum kmsg_kmip_mode mode = k->target.mode;
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_wipe) struct buf request = BUF_INIT;
    AUTO(buf_fini) struct buf wrapped = BUF_INIT;
    struct kmsg_kmip_answer answer = { .date_s = 0 };
    struct kmsg_kmip_key key;
    char id[KMSG_KMIP_ID_MAX + 1];
    int64_t date_s;

    TRY(find_key(k, version, deadline_us, id, &key, &date_s, e));
    kmsg_kmip_encrypt(mode, id, SLICE(secret_view(plain), secret_len(plain)), &request);
    TRY(ask(k, mode, KMSG_KMIP_OP_ENCRYPT, buf_view(&request), deadline_us, &a, &answer, e));
    TRY(kmsg_kmip_read_wrapped(mode, answer.payload, id, KMS_PLAIN_LEN, &wrapped, e));
    _Static_assert((int)KMSG_KMIP_WRAP_MAX <= (int)WRAP_MAX, "the longest one fits");
    (void)snprintf(out->version, sizeof out->version, "%s", id);
    (void)snprintf(out->alg, sizeof out->alg, "%s", kmsg_kmip_alg(mode));
    memcpy(out->bytes, wrapped.p, wrapped.len);
    out->len = (uint32_t)wrapped.len;
    return RC_OK;
}

static RC kmip_unwrap(struct kms_remote *r, const struct wrapped_key *w, bool fresh,
                      uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct kms_kmip *k = kmip_of(r);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf request = BUF_INIT;
    struct kmsg_kmip_answer answer = { .date_s = 0 };
    struct slice plain;
    enum kmsg_kmip_mode mode;
    (void)fresh; /* every connection is */

    if (!kmsg_kmip_mode_of(w->alg, &mode))
        FAIL(e, ERR_BAD_VALUE, "the wrapped key is not one of this provider's");
    TRY(kmsg_kmip_decrypt(mode, w->version, SLICE(w->bytes, w->len), &request, e));
    TRY(ask(k, mode, KMSG_KMIP_OP_DECRYPT, buf_view(&request), deadline_us, &a, &answer, e));
    TRY(kmsg_kmip_read_plain(answer.payload, w->version, KMS_PLAIN_LEN, &plain, e));
    return secret_from(plain.p, plain.len, out, e);
}

static bool is_alg(const char *alg)
{
    enum kmsg_kmip_mode mode;

    return kmsg_kmip_mode_of(alg, &mode);
}

static void kmip_free(struct kms_remote *r)
{
    struct kms_kmip *k = kmip_of(r);

    mem_free(k->url);
    mem_free(k);
}

static const struct kms_remote_ops ops = {
    .name = "kmip",
    .is_version = kmsg_kmip_is_id,
    .is_alg = is_alg,
    .get_key = kmip_get_key,
    .wrap = kmip_wrap,
    .unwrap = kmip_unwrap,
    .free = kmip_free,
};

static RC setup(struct kms_kmip *k, const struct kms_config *c, const char *url, struct err *e)
{
    TRY(kmsg_kmip_target(url, &k->target, e));
    k->remote.shown = mem_printf("%s/%s", k->target.host, k->target.id);
    k->url = mem_printf("https://%s", k->target.host);
    if (strcmp(c->token_source, "cert") != 0 || !*c->token_secret_file)
        FAIL(
            e, ERR_CONFIG,
            "a key in KMIP needs the token source cert and a token-secret-file: client certificate and its key");
    struct http_client_config hc = {
        .ca_file = c->ca_file,
        .proxy = c->proxy,
        .cert_file = c->token_secret_file,
    };
    return http_client_new(&hc, &k->remote.http, e);
}

RC kms__kmip_new(const struct kms_config *c, const char *url, struct key_provider **out,
                 struct err *e)
{
    struct kms_kmip *k = NEW(struct kms_kmip);

    *out = NULL;
    kms__remote_init(&k->remote, &ops);
    if (setup(k, c, url, e).failed) {
        k->remote.table.free(&k->remote.table);
        return RC_FAILED;
    }
    *out = &k->remote.table;
    return RC_OK;
}
