/* kms_gcp.c - Google Cloud KMS as a key provider. See kms/kms.h, kmsg/kmsg_gcp.h.
 *
 * The key never leaves the service; a wrap is an encryption by exactly one version, bound to the setting key-context by the additional authenticated
 * data. A ciphertext knows its version, which can be disabled alone. Every value is checked by a CRC32C in both directions.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "http/http_client.h"
#include "kms_gcp.h"

#define ALG "GOOGLE-SYMMETRIC"

struct kms_gcp {
    struct kms_remote remote; /* first */
    struct kmsg_gcp_target target;
    struct kms_gcp_identity identity;
    char *context;
};

static struct kms_gcp *gcp_of(struct kms_remote *r)
{
    return CONTAINER_OF(r, struct kms_gcp, remote);
}

static RC gcp_headers(struct kms_remote *remote, const struct kms_exchange *x,
                      const char *out[KMS_HEADERS_MAX], struct err *e)
{
    return kms__gcp_identity_get(&gcp_of(remote)->identity, x->deadline_us, &out[0], e);
}

static void gcp_drop(struct kms_remote *remote)
{
    kms__cache_drop(&gcp_of(remote)->identity.cache);
}

/* ---- the provider ---- */

static RC call(struct kms_gcp *p, const char *version, const char *op, const struct buf *body,
               bool fresh, uint64_t deadline_us, struct http_answer *a, struct err *e)
{
    AUTO(buf_fini) struct buf url = BUF_INIT;

    kmsg_gcp_url(&p->target, version, op, &url);
    struct kms_exchange x = {
        .method = body ? "POST" : "GET",
        .url = buf_cstr(&url),
        .body = body ? buf_view(body) : SLICE_EMPTY,
        .fresh = fresh,
        .deadline_us = deadline_us,
    };
    return kms__exchange(&p->remote, &x, a, e);
}

/* The key, with the state of the version asked for ("" = the primary one) in it. */
static RC read_key(struct kms_gcp *p, const char *version, uint64_t deadline_us,
                   struct kmsg_gcp_key *out, int64_t *date_s, struct err *e)
{
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;

    TRY(call(p, "", "", NULL, false, deadline_us, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    *date_s = a.date_s ? a.date_s : clock_real_s();
    TRY(kmsg_gcp_read_key(&r, &p->target, out, e));
    if (!*version)
        version = out->version;
    if (!*version)
        FAIL(e, ERR_KEY_NOT_FOUND, "the key has no primary version");
    if (out->enabled && strcmp(version, out->version) == 0)
        return RC_OK;
    TRY(call(p, version, "", NULL, false, deadline_us, &a, e));
    r = kms__reply(&a);
    TRY(kmsg_gcp_read_version(&r, &p->target, version, &out->enabled, e));
    if (version != out->version)
        (void)snprintf(out->version, sizeof out->version, "%s", version);
    return RC_OK;
}

static RC gcp_get_key(struct kms_remote *remote, const char *version, uint64_t deadline_us,
                      struct key_info *out, struct err *e)
{
    struct kms_gcp *p = gcp_of(remote);
    struct kmsg_gcp_key k;
    /* there is no public half: the key is the same when its place is */
    const struct slice id[] = { SLICE_LIT("gcp-kms:"), slice_str(p->target.name) };

    TRY(read_key(p, version, deadline_us, &k, &out->server_date_s, e));
    (void)snprintf(out->version, sizeof out->version, "%s", k.version);
    (void)snprintf(out->kid, sizeof out->kid, "%s/cryptoKeyVersions/%s", p->target.name, k.version);
    (void)snprintf(out->kty, sizeof out->kty, "%s", k.is_hsm ? "oct-HSM" : "oct");
    if (strcmp(p->target.location, "global") != 0)
        (void)snprintf(out->region, sizeof out->region, "%.31s", p->target.location);
    /* a version is destroyed a day after it was asked for at the earliest */
    (void)snprintf(out->recovery_level, sizeof out->recovery_level, "Recoverable");
    out->bits = 256;
    out->enabled = k.enabled;
    out->can_wrap = out->can_unwrap = true;
    out->grace_ms = k.has_grace ? k.grace_ms : GRACE_NONE;
    out->grace_malformed = k.grace_malformed;
    return sha256(id, ARRAY_LEN(id), out->public_sha256, e);
}

static RC gcp_wrap(struct kms_remote *remote, const char *version, const struct secret *plain,
                   uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct kms_gcp *p = gcp_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_wipe) struct buf body = BUF_INIT;
    AUTO(buf_fini) struct buf value = BUF_INIT;
    struct kmsg_gcp_key k;
    int64_t date_s;

    TRY(read_key(p, version, deadline_us, &k, &date_s, e));
    kmsg_gcp_encrypt_body(p->context, SLICE(secret_view(plain), secret_len(plain)), &body);
    TRY(call(p, k.version, ":encrypt", &body, false, deadline_us, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_gcp_read_ciphertext(&r, &p->target, k.version, &value, e));
    _Static_assert((int)KMSG_GCP_CIPHER_MAX <= (int)WRAP_MAX, "the longest answer fits");
    (void)snprintf(out->version, sizeof out->version, "%s", k.version);
    (void)snprintf(out->alg, sizeof out->alg, ALG);
    memcpy(out->bytes, value.p, value.len);
    out->len = (uint32_t)value.len;
    return RC_OK;
}

static RC gcp_unwrap(struct kms_remote *remote, const struct wrapped_key *w, bool fresh,
                     uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct kms_gcp *p = gcp_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT;
    AUTO(buf_wipe) struct buf value = BUF_INIT;

    kmsg_gcp_decrypt_body(p->context, SLICE(w->bytes, w->len), &body);
    TRY(call(p, "", ":decrypt", &body, fresh, deadline_us, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_gcp_read_plaintext(&r, KMS_PLAIN_LEN, &value, e));
    return secret_from(value.p, value.len, out, e);
}

static RC gcp_set_enabled(struct kms_remote *remote, const char *version, bool enabled,
                          uint64_t deadline_us, struct err *e)
{
    struct kms_gcp *p = gcp_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    bool is_enabled;

    kmsg_gcp_url(&p->target, version, "?updateMask=state", &url);
    struct kms_exchange x = {
        .method = "PATCH",
        .url = buf_cstr(&url),
        .body =
            enabled ? SLICE_LIT("{\"state\":\"ENABLED\"}") : SLICE_LIT("{\"state\":\"DISABLED\"}"),
        .deadline_us = deadline_us,
    };
    TRY(kms__exchange(&p->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_gcp_read_version(&r, &p->target, version, &is_enabled, e));
    if (is_enabled != enabled)
        FAIL(e, ERR_KEY_BAD_ANSWER, "Google says that version %s is %s after all", version,
             is_enabled ? "enabled" : "disabled");
    return RC_OK;
}

static bool is_alg(const char *alg)
{
    return strcmp(alg, ALG) == 0;
}

static void gcp_free(struct kms_remote *remote)
{
    struct kms_gcp *p = gcp_of(remote);

    kms__gcp_identity_fini(&p->identity);
    mem_free(p->context);
    mem_free(p);
}

static const struct kms_remote_ops ops = {
    .name = "gcp-kms",
    .is_version = kmsg_gcp_is_version,
    .is_alg = is_alg,
    .get_key = gcp_get_key,
    .wrap = gcp_wrap,
    .unwrap = gcp_unwrap,
    .set_enabled = gcp_set_enabled,
    .free = gcp_free,
    .headers = gcp_headers,
    .drop = gcp_drop,
    .classify = kmsg_gcp_classify,
};

static RC setup(struct kms_gcp *p, const struct kms_config *c, const char *url, struct err *e)
{
    struct http_client_config hc = { .ca_file = c->ca_file, .proxy = c->proxy };

    TRY(kmsg_gcp_target(url, &p->target, e));
    p->remote.shown = mem_strdup(p->target.name);
    TRY(kms__context(c, &p->context, e));
    TRY(kms__gcp_identity_init(&p->identity, c, e));
    return http_client_new(&hc, &p->remote.http, e);
}

RC kms__gcp_new(const struct kms_config *c, const char *url, struct key_provider **out,
                struct err *e)
{
    struct kms_gcp *p = NEW(struct kms_gcp);

    *out = NULL;
    kms__remote_init(&p->remote, &ops);
    if (setup(p, c, url, e).failed) {
        p->remote.table.free(&p->remote.table);
        return RC_FAILED;
    }
    *out = &p->remote.table;
    return RC_OK;
}

void kms__gcp_by_hand(const char *url, const char *version, struct buf *out)
{
    struct kmsg_gcp_target t;
    struct err ignored = { 0 };

    if (!kmsg_gcp_target(url, &t, &ignored).failed)
        buf_printf(out, "gcloud kms keys versions enable %s/cryptoKeyVersions/%s", t.name, version);
    err_reset(&ignored);
}
