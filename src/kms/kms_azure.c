/* kms_azure.c - Azure Key Vault as a key provider. See kms/kms.h.
 *
 * A wrap asks for the key first and wraps under the exact version that it was told of, so that the length of the answer and its
 * version are known beforehand. An unwrap is made with exactly the version stored beside the wrapped key, never "the newest".
 * Key bytes pass through a request's body, an answer's body and the buffers of libcurl and OpenSSL under them: the first two are
 * wiped here, the others by the wiping allocators of the process that may see an SMK.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "http/http_client.h"
#include "kms_priv.h"
#include "kmsg/kmsg_kv.h"

#define ALG "RSA-OAEP-256"

struct kms_azure {
    struct kms_remote remote; /* first */
    struct kmsg_kv_target target;
    struct kms_tokens tokens;
};

static struct kms_azure *azure_of(struct kms_remote *r)
{
    return CONTAINER_OF(r, struct kms_azure, remote);
}

static RC azure_headers(struct kms_remote *remote, const struct kms_exchange *x,
                        const char *out[KMS_HEADERS_MAX], struct err *e)
{
    return kms__tokens_get(&azure_of(remote)->tokens, x->deadline_us, &out[0], e);
}

static void azure_drop(struct kms_remote *remote)
{
    kms__tokens_drop(&azure_of(remote)->tokens);
}

/* ---- the table ---- */

/* What an answer about a key says beside its body. */
struct beside {
    int64_t date_s;
    char region[32];
};

static RC read_key(struct kms_azure *p, const char *version, uint64_t deadline_us,
                   struct kmsg_kv_key *out, struct beside *beside, struct err *e)
{
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;

    kmsg_kv_url(&p->target, version, "", &url);
    struct kms_exchange x = { .method = "GET", .url = buf_cstr(&url), .deadline_us = deadline_us };
    TRY(kms__exchange(&p->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    beside->date_s = a.date_s ? a.date_s : clock_real_s();
    kmsg_printable(a.region, beside->region, sizeof beside->region);
    return kmsg_kv_read_key(&r, &p->target, version, out, e);
}

static RC describe(const struct kmsg_kv_key *k, const struct beside *beside, struct key_info *out,
                   struct err *e)
{
    struct rsa_public pub = { .n_len = k->n_len, .e_len = k->e_len };
    struct key_info i = {
        .enabled = k->enabled,
        .not_before_s = k->not_before_s,
        .expires_s = k->expires_s,
        .server_date_s = beside->date_s,
        .can_wrap = k->can_wrap,
        .can_unwrap = k->can_unwrap,
        .grace_ms = k->has_grace ? k->grace_ms : GRACE_NONE,
        .grace_malformed = k->grace_malformed,
        .wrong_type = !k->is_rsa,
    };
    struct err inner = { 0 };

    memcpy(pub.n, k->n, k->n_len);
    memcpy(pub.e, k->e, k->e_len);
    i.bits = k->is_rsa ? rsa_bits(&pub) : 0;
    if (k->is_rsa && rsa_public_sha256(&pub, i.public_sha256, &inner).failed)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the vault's answer has no usable public RSA key in it");
    _Static_assert(sizeof i.version == sizeof k->version && sizeof i.kid == sizeof k->kid &&
                       sizeof i.kty == sizeof k->kty &&
                       sizeof i.recovery_level == sizeof k->recovery_level,
                   "both sides have the same room");
    memcpy(i.version, k->version, sizeof i.version);
    memcpy(i.kid, k->kid, sizeof i.kid);
    memcpy(i.kty, k->kty, sizeof i.kty);
    memcpy(i.recovery_level, k->recovery_level, sizeof i.recovery_level);
    memcpy(i.region, beside->region, sizeof i.region);
    *out = i;
    return RC_OK;
}

static bool is_version(const char *v)
{
    return *v && strlen(v) < KMSG_VERSION_MAX && strspn(v, "0123456789abcdefABCDEF") == strlen(v);
}

static bool is_alg(const char *alg)
{
    return strcmp(alg, ALG) == 0;
}

static RC azure_get_key(struct kms_remote *remote, const char *version, uint64_t deadline_us,
                        struct key_info *out, struct err *e)
{
    struct kmsg_kv_key k;
    struct beside beside;

    TRY(read_key(azure_of(remote), version, deadline_us, &k, &beside, e));
    return describe(&k, &beside, out, e);
}

static RC azure_wrap(struct kms_remote *remote, const char *version, const struct secret *plain,
                     uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct kms_azure *p = azure_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    AUTO(buf_wipe) struct buf body = BUF_INIT;
    AUTO(buf_fini) struct buf value = BUF_INIT;
    struct kmsg_kv_key k;
    struct beside beside;

    TRY(read_key(p, version, deadline_us, &k, &beside, e));
    if (!k.is_rsa)
        FAIL(e, ERR_KEY_BAD_ANSWER, "version %s is of type %s: an RSA key is needed", k.version,
             k.kty);
    kmsg_kv_url(&p->target, k.version, "wrapkey", &url);
    kmsg_kv_body(SLICE(secret_view(plain), secret_len(plain)), &body);
    struct kms_exchange x = {
        .method = "POST", .url = buf_cstr(&url), .body = buf_view(&body), .deadline_us = deadline_us
    };
    TRY(kms__exchange(&p->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_kv_read_wrapped(&r, &p->target, k.version, k.n_len, &value, e));
    _Static_assert((int)WRAP_MAX >= (int)KMSG_MODULUS_MAX, "the longest answer fits");
    memcpy(out->version, k.version, sizeof out->version);
    (void)snprintf(out->alg, sizeof out->alg, ALG);
    memcpy(out->bytes, value.p, value.len);
    out->len = (uint32_t)value.len;
    return RC_OK;
}

static RC azure_unwrap(struct kms_remote *remote, const struct wrapped_key *w, bool fresh,
                       uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct kms_azure *p = azure_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT;
    AUTO(buf_wipe) struct buf value = BUF_INIT;

    kmsg_kv_url(&p->target, w->version, "unwrapkey", &url);
    kmsg_kv_body(SLICE(w->bytes, w->len), &body);
    struct kms_exchange x = {
        .method = "POST",
        .url = buf_cstr(&url),
        .body = buf_view(&body),
        .fresh = fresh,
        .deadline_us = deadline_us,
    };
    TRY(kms__exchange(&p->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_kv_read_unwrapped(&r, &p->target, w->version, KMS_PLAIN_LEN, &value, e));
    return secret_from(value.p, value.len, out, e);
}

static RC azure_set_enabled(struct kms_remote *remote, const char *version, bool enabled,
                            uint64_t deadline_us, struct err *e)
{
    struct kms_azure *p = azure_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    struct slice body = enabled ? SLICE_LIT("{\"attributes\":{\"enabled\":true}}")
                                : SLICE_LIT("{\"attributes\":{\"enabled\":false}}");
    struct kmsg_kv_key k;

    kmsg_kv_url(&p->target, version, "", &url);
    struct kms_exchange x = {
        .method = "PATCH", .url = buf_cstr(&url), .body = body, .deadline_us = deadline_us
    };
    TRY(kms__exchange(&p->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_kv_read_key(&r, &p->target, version, &k, e));
    if (k.enabled != enabled)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the vault says that version %s is %s after all", version,
             k.enabled ? "enabled" : "disabled");
    return RC_OK;
}

static RC azure_get_tag(struct kms_remote *remote, const char *name, uint64_t deadline_us,
                        char value[KEY_TAG_MAX], struct err *e)
{
    struct kms_azure *p = azure_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    char version[KMSG_VERSION_MAX];

    kmsg_kv_url(&p->target, "", "", &url);
    struct kms_exchange x = { .method = "GET", .url = buf_cstr(&url), .deadline_us = deadline_us };
    TRY(kms__exchange(&p->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    return kmsg_kv_read_tag(&r, &p->target, "", name, version, value, KEY_TAG_MAX, e);
}

/* A change of tags replaces all of them: those that are there go with it. One that the owner sets between the two calls is lost; there is no condition
 * (If-Match) in this protocol. */
static RC azure_set_tag(struct kms_remote *remote, const char *name, const char *value,
                        uint64_t deadline_us, struct err *e)
{
    struct kms_azure *p = azure_of(remote);
    AUTO(http_answer_fini) struct http_answer before = HTTP_ANSWER_INIT;
    AUTO(http_answer_fini) struct http_answer after = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT;
    char version[KMSG_VERSION_MAX], text[KEY_TAG_MAX], same[KMSG_VERSION_MAX];

    kmsg_kv_url(&p->target, "", "", &url);
    struct kms_exchange x = { .method = "GET", .url = buf_cstr(&url), .deadline_us = deadline_us };
    TRY(kms__exchange(&p->remote, &x, &before, e));
    struct kmsg_reply r = kms__reply(&before);
    TRY(kmsg_kv_read_tag(&r, &p->target, "", name, version, text, sizeof text, e));
    TRY(kmsg_kv_tags_body(&r, name, value, &body, e));
    buf_clear(&url);
    kmsg_kv_url(&p->target, version, "", &url);
    x.method = "PATCH";
    x.url = buf_cstr(&url);
    x.body = buf_view(&body);
    TRY(kms__exchange(&p->remote, &x, &after, e));
    r = kms__reply(&after);
    TRY(kmsg_kv_read_tag(&r, &p->target, version, name, same, text, sizeof text, e));
    if (strcmp(text, value) != 0)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the vault says that the tag %s is something else after all",
             name);
    return RC_OK;
}

static void azure_free(struct kms_remote *remote)
{
    struct kms_azure *p = azure_of(remote);

    kms__tokens_fini(&p->tokens);
    mem_free(p);
}

static const struct kms_remote_ops ops = {
    .name = "azure-key-vault",
    .is_version = is_version,
    .is_alg = is_alg,
    .get_key = azure_get_key,
    .wrap = azure_wrap,
    .unwrap = azure_unwrap,
    .set_enabled = azure_set_enabled,
    .get_tag = azure_get_tag,
    .set_tag = azure_set_tag,
    .free = azure_free,
    .headers = azure_headers,
    .drop = azure_drop,
    .classify = kmsg_kv_classify,
};

/* The clouds, by the end of a vault's name: the resource that tokens are for, and who gives them. */
struct cloud {
    const char *domain, *audience, *authority;
};
static const struct cloud clouds[] = {
    { ".vault.azure.net", "https://vault.azure.net", "https://login.microsoftonline.com" },
    { ".managedhsm.azure.net", "https://managedhsm.azure.net",
      "https://login.microsoftonline.com" },
    { ".vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net",
      "https://login.microsoftonline.us" },
    { ".managedhsm.usgovcloudapi.net", "https://managedhsm.usgovcloudapi.net",
      "https://login.microsoftonline.us" },
    { ".vault.azure.cn", "https://vault.azure.cn", "https://login.partner.microsoftonline.cn" },
    { ".managedhsm.azure.cn", "https://managedhsm.azure.cn",
      "https://login.partner.microsoftonline.cn" },
};

static const struct cloud *cloud_of(const char *host)
{
    size_t len = strlen(host);

    for (size_t i = 0; i < ARRAY_LEN(clouds); i++) {
        size_t n = strlen(clouds[i].domain);
        if (len > n && strcmp(host + len - n, clouds[i].domain) == 0)
            return &clouds[i];
    }
    return NULL;
}

static RC init_tokens(struct kms_azure *p, const struct kms_azure_config *c, struct err *e)
{
    const struct cloud *cloud = cloud_of(p->target.host);
    const char *audience = c->audience && *c->audience ? c->audience : NULL;

    if (!audience && !cloud)
        FAIL(e, ERR_CONFIG,
             "\"%s\" is no vault of Azure's own: set the audience that its tokens are for",
             p->target.host);
    return kms__tokens_init(&p->tokens, c, audience ? audience : cloud->audience,
                            cloud ? cloud->authority : NULL, e);
}

static RC setup(struct kms_azure *p, const struct kms_azure_config *c, struct err *e)
{
    struct http_client_config hc = { .ca_file = c->ca_file, .proxy = c->proxy };

    TRY(kmsg_kv_target(c->key_url, &p->target, e));
    p->remote.shown = mem_printf("%s/keys/%s", p->target.host, p->target.key);
    TRY(http_client_new(&hc, &p->remote.http, e));
    return init_tokens(p, c, e);
}

RC kms_azure_new(const struct kms_azure_config *c, struct key_provider **out, struct err *e)
{
    struct kms_azure *p = NEW(struct kms_azure);

    *out = NULL;
    kms__remote_init(&p->remote, &ops);
    if (setup(p, c, e).failed) {
        p->remote.table.free(&p->remote.table);
        return RC_FAILED;
    }
    *out = &p->remote.table;
    return RC_OK;
}
