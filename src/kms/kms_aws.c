/* kms_aws.c - AWS Key Management Service as a key provider. See kms/kms.h, kmsg/kmsg_aws.h.
 *
 * The key never leaves the service; a wrap is an encryption by its current material, bound to the setting key-context. KMS says which material it
 * was only when it decrypts, so each wrap is decrypted at once: that gives its version, and shows that the identity may unwrap what it wrapped.
 * Older materials decrypt as long as the key lives: unlike elsewhere, a version cannot be switched off alone.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "http/http_client.h"
#include "kms_aws.h"
#include "kmsg/kmsg_sigv4.h"

#define ALG "AWS-SYMMETRIC_DEFAULT"
enum { TAGS_EVERY = 4, TAG_PAGES_MAX = 4 };

#define CONTENT_TYPE "application/x-amz-json-1.1"

struct kms_aws {
    struct kms_remote remote; /* first */
    struct kmsg_aws_target target;
    struct kms_aws_identity identity;
    char *context, *url;
    /* what the key's tags said the last time, and how often the key was described since the start */
    struct kmsg_aws_tags tags;
    /* why they could not be read; "" = they were */
    char tags_why[sizeof(((struct key_info *)0)->grace_why)];
    unsigned n_described;
    /* the headers of the request under way: "Name: value" */
    struct buf authorization, date, token, operation;
};

static struct kms_aws *aws_of(struct kms_remote *r)
{
    return CONTAINER_OF(r, struct kms_aws, remote);
}

/* ---- signing ---- */

/* "Name: value" into line, wiped before; the value as it is signed. */
static struct kmsg_sigv4_header header(struct buf *line, const char *name, const char *value)
{
    size_t name_len = strlen(name);

    buf_wipe(line);
    buf_reserve(line, name_len + strlen(value) + 8);
    buf_printf(line, "%s: ", name);
    buf_push(line, value, strlen(value));
    (void)buf_cstr(line);
    return (struct kmsg_sigv4_header){ name, SLICE(line->p + name_len + 2, strlen(value)) };
}

static RC authorize(struct kms_aws *p, const struct kmsg_sigv4 *s,
                    const struct kmsg_aws_credential *c, struct err *e)
{
    AUTO(secret_freep) struct secret *key = NULL;

    TRY(secret_from(c->secret_key, strlen(c->secret_key), &key, e));
    buf_wipe(&p->authorization);
    buf_printf(&p->authorization, "Authorization: ");
    return kmsg_sigv4_authorization(s, c->access_key, key, &p->authorization, e);
}

static RC aws_headers(struct kms_remote *remote, const struct kms_exchange *x,
                      const char *out[KMS_HEADERS_MAX], struct err *e)
{
    struct kms_aws *p = aws_of(remote);
    struct kmsg_aws_credential c;
    char date[KMSG_SIGV4_DATE_LEN + 1], operation[64];
    struct kmsg_sigv4_header signed_headers[5];
    size_t n = 0;

    TRY(kms__aws_identity_get(&p->identity, x->deadline_us, &c, e));
    kmsg_sigv4_date(clock_real_s(), date);
    (void)snprintf(operation, sizeof operation, "TrentService.%s", x->operation);
    signed_headers[n++] = (struct kmsg_sigv4_header){ "Content-Type", SLICE_LIT(CONTENT_TYPE) };
    signed_headers[n++] = (struct kmsg_sigv4_header){ "Host", slice_str(p->target.host) };
    signed_headers[n++] = header(&p->date, "X-Amz-Date", date);
    signed_headers[n++] = header(&p->operation, "X-Amz-Target", operation);
    if (*c.token)
        signed_headers[n++] = header(&p->token, "X-Amz-Security-Token", c.token);
    struct kmsg_sigv4 s = {
        .method = x->method,
        .path = SLICE_LIT("/"),
        .headers = signed_headers,
        .n_headers = n,
        .body = x->body,
        .date = date,
        .region = p->target.region,
        .service = "kms",
    };
    TRY(authorize(p, &s, &c, e));
    out[0] = buf_cstr(&p->authorization);
    out[1] = buf_cstr(&p->date);
    out[2] = buf_cstr(&p->operation);
    out[3] = *c.token ? buf_cstr(&p->token) : NULL;
    return RC_OK;
}

static void aws_drop(struct kms_remote *remote)
{
    kms__cache_drop(&aws_of(remote)->identity.cache);
}

/* ---- the provider ---- */

static RC call(struct kms_aws *p, const char *operation, const struct buf *body, bool fresh,
               uint64_t deadline_us, struct http_answer *a, struct err *e)
{
    struct kms_exchange x = {
        .method = "POST",
        .url = p->url,
        .operation = operation,
        .content_type = CONTENT_TYPE,
        .body = buf_view(body),
        .fresh = fresh,
        .deadline_us = deadline_us,
    };
    return kms__exchange(&p->remote, &x, a, e);
}

/* There is no public half: the key is the same when its place is. The replicas of a multi-Region key have their material in common. */
static RC describe_place(const struct kmsg_aws_target *t, uint8_t out[32], struct err *e)
{
    const struct slice multi[] = {
        SLICE_LIT("aws-kms:"), slice_str(t->partition), SLICE_LIT(":"),
        slice_str(t->account), SLICE_LIT(":"),          slice_str(t->id)
    };
    const struct slice single[] = { SLICE_LIT("aws-kms:"), slice_str(t->arn) };

    return strncmp(t->id, "mrk-", 4) == 0 ? sha256(multi, ARRAY_LEN(multi), out, e)
                                          : sha256(single, ARRAY_LEN(single), out, e);
}

static RC read_tags(struct kms_aws *p, uint64_t deadline_us, struct kmsg_aws_tags *out,
                    struct err *e)
{
    memset(out, 0, sizeof *out);
    for (int page = 0; page < TAG_PAGES_MAX; page++) {
        AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
        AUTO(buf_fini) struct buf body = BUF_INIT;
        kmsg_aws_tags_body(&p->target, out->marker, &body);
        TRY(call(p, "ListResourceTags", &body, false, deadline_us, &a, e));
        struct kmsg_reply r = kms__reply(&a);
        TRY(kmsg_aws_read_tags(&r, out, e));
        if (out->has_grace || out->grace_malformed || !*out->marker)
            return RC_OK;
    }
    FAIL(e, ERR_KEY_BAD_ANSWER, "the key has more tags than a key can have");
}

/* Tags are a word of the owner's about the key, which answers without them too: not to get them is told, and no verdict on it. AWS allows ten such
 * requests a second to all of an account: they are not asked for with each probe. */
static void look_at_tags(struct kms_aws *p, uint64_t deadline_us, struct key_info *out)
{
    if (p->n_described++ % TAGS_EVERY == 0 || *p->tags_why) {
        uint64_t now = clock_mono_us();
        struct err why = { 0 };
        uint64_t until_us = deadline_us > now ? now + (deadline_us - now) / 4 : deadline_us;
        p->tags_why[0] = 0;
        if (read_tags(p, until_us, &p->tags, &why).failed)
            kmsg_printable(why.msg, p->tags_why, sizeof p->tags_why);
        err_reset(&why);
    }
    out->grace_malformed = p->tags.grace_malformed;
    out->grace_ms = *p->tags_why ? GRACE_UNREAD : p->tags.has_grace ? p->tags.grace_ms : GRACE_NONE;
    memcpy(out->grace_why, p->tags_why, sizeof out->grace_why);
}

static RC aws_get_key(struct kms_remote *remote, const char *version, uint64_t deadline_us,
                      struct key_info *out, struct err *e)
{
    struct kms_aws *p = aws_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT;
    struct kmsg_aws_key k;

    kmsg_aws_describe_body(&p->target, &body);
    TRY(call(p, "DescribeKey", &body, false, deadline_us, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_aws_read_key(&r, &p->target, &k, e));
    const char *asked = *version ? version : k.version;
    _Static_assert(sizeof k.version == sizeof out->version, "both sides have the same room");
    memcpy(out->version, asked, strlen(asked) + 1);
    (void)snprintf(out->kid, sizeof out->kid, "%s:%s", p->target.arn, asked);
    (void)snprintf(out->kty, sizeof out->kty, "oct-HSM");
    (void)snprintf(out->region, sizeof out->region, "%s", p->target.region);
    /* nobody can delete a key in less than seven days */
    (void)snprintf(out->recovery_level, sizeof out->recovery_level, "Recoverable");
    out->bits = 256;
    out->enabled = k.enabled;
    out->expires_s = k.expires_s;
    out->server_date_s = a.date_s ? a.date_s : clock_real_s();
    out->can_wrap = strcmp(asked, k.version) == 0;
    out->can_unwrap = true;
    look_at_tags(p, deadline_us, out);
    return describe_place(&p->target, out->public_sha256, e);
}

/* The plaintext of what KMS encrypted, and by which material. */
static RC decrypt(struct kms_aws *p, struct slice ciphertext, bool fresh, uint64_t deadline_us,
                  struct secret **out, char version[KMSG_AWS_VERSION_MAX], struct err *e)
{
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT;
    AUTO(buf_wipe) struct buf value = BUF_INIT;

    *out = NULL;
    kmsg_aws_decrypt_body(&p->target, p->context, ciphertext, &body);
    TRY(call(p, "Decrypt", &body, fresh, deadline_us, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_aws_read_plaintext(&r, &p->target, KMS_PLAIN_LEN, &value, version, e));
    return secret_from(value.p, value.len, out, e);
}

static RC aws_wrap(struct kms_remote *remote, const char *version, const struct secret *plain,
                   uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct kms_aws *p = aws_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_wipe) struct buf body = BUF_INIT;
    AUTO(buf_fini) struct buf value = BUF_INIT;
    AUTO(secret_freep) struct secret *back = NULL;
    char by[KMSG_AWS_VERSION_MAX];

    kmsg_aws_encrypt_body(&p->target, p->context, SLICE(secret_view(plain), secret_len(plain)),
                          &body);
    TRY(call(p, "Encrypt", &body, false, deadline_us, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_aws_read_ciphertext(&r, &p->target, &value, e));
    TRY(decrypt(p, buf_view(&value), false, deadline_us, &back, by, e));
    if (!secret_equal(plain, back))
        FAIL(e, ERR_KEY_BAD_ANSWER, "AWS decrypted what it encrypted to something else");
    if (*version && strcmp(version, by) != 0)
        FAIL(e, ERR_KEY_UNREACHABLE,
             "the key's material is another one than a moment ago: try again");
    _Static_assert((int)KMSG_AWS_CIPHER_MAX <= (int)WRAP_MAX, "the longest answer fits");
    memcpy(out->version, by, sizeof by);
    (void)snprintf(out->alg, sizeof out->alg, ALG);
    memcpy(out->bytes, value.p, value.len);
    out->len = (uint32_t)value.len;
    return RC_OK;
}

static RC aws_unwrap(struct kms_remote *remote, const struct wrapped_key *w, bool fresh,
                     uint64_t deadline_us, struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *plain = NULL;
    char by[KMSG_AWS_VERSION_MAX];

    TRY(decrypt(aws_of(remote), SLICE(w->bytes, w->len), fresh, deadline_us, &plain, by, e));
    if (strcmp(by, w->version) != 0)
        FAIL(e, ERR_KEY_BAD_ANSWER, "AWS decrypted with another material than has encrypted");
    *out = TAKE(plain);
    return RC_OK;
}

/* A key of AWS's has one switch for all of its materials. */
static RC aws_set_enabled(struct kms_remote *remote, const char *version, bool enabled,
                          uint64_t deadline_us, struct err *e)
{
    struct kms_aws *p = aws_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT;
    (void)version;

    kmsg_aws_describe_body(&p->target, &body);
    TRY(call(p, enabled ? "EnableKey" : "DisableKey", &body, false, deadline_us, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    return kmsg_aws_read_done(&r, e);
}

static bool is_alg(const char *alg)
{
    return strcmp(alg, ALG) == 0;
}

static void aws_free(struct kms_remote *remote)
{
    struct kms_aws *p = aws_of(remote);

    kms__aws_identity_fini(&p->identity);
    buf_wipe(&p->authorization);
    buf_wipe(&p->date);
    buf_wipe(&p->token);
    buf_wipe(&p->operation);
    mem_free(p->context);
    mem_free(p->url);
    mem_free(p);
}

static const struct kms_remote_ops ops = {
    .name = "aws-kms",
    .is_version = kmsg_aws_is_version,
    .is_alg = is_alg,
    .get_key = aws_get_key,
    .wrap = aws_wrap,
    .unwrap = aws_unwrap,
    .set_enabled = aws_set_enabled,
    .free = aws_free,
    .headers = aws_headers,
    .drop = aws_drop,
    .classify = kmsg_aws_classify,
    .second_refusal_denies = true,
};

static RC setup(struct kms_aws *p, const struct kms_config *c, const char *url, struct err *e)
{
    struct http_client_config hc = { .ca_file = c->ca_file, .proxy = c->proxy };

    TRY(kmsg_aws_target(url, &p->target, e));
    p->remote.shown = mem_strdup(p->target.arn);
    p->url = mem_printf("https://%s/", p->target.host);
    TRY(kms__context(c, &p->context, e));
    TRY(kms__aws_identity_init(&p->identity, c, &p->target, e));
    return http_client_new(&hc, &p->remote.http, e);
}

RC kms__aws_new(const struct kms_config *c, const char *url, struct key_provider **out,
                struct err *e)
{
    struct kms_aws *p = NEW(struct kms_aws);

    *out = NULL;
    kms__remote_init(&p->remote, &ops);
    if (setup(p, c, url, e).failed) {
        p->remote.table.free(&p->remote.table);
        return RC_FAILED;
    }
    *out = &p->remote.table;
    return RC_OK;
}

void kms__aws_by_hand(const char *url, const char *version, struct buf *out)
{
    struct kmsg_aws_target t;
    struct err ignored = { 0 };
    (void)version;

    if (!kmsg_aws_target(url, &t, &ignored).failed)
        buf_printf(out, "aws kms enable-key --region %s --key-id %s", t.region, t.arn);
    err_reset(&ignored);
}
