/* kms_gcp_tokens.c - see kms_gcp.h. Tokens are kept in wiped memory and renewed from half of their life on (kms_cache.c); every file is read anew for
 * each of them. A file with a private key must be readable by the node's user alone; that of a federation holds no secret.
 */
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "http/http_client.h"
#include "kms_gcp.h"
#include "kmsg/kjson.h"
#include "kmsg/kmsg_jwt.h"
#include "kmsg/kmsg_token.h"

enum { ASSERTION_LIFE_S = 3600, FILE_MAX = 65536 };

/* ---- from the configuration ---- */

static RC read_source(struct kms_gcp_identity *i, const struct kms_config *c, struct err *e)
{
    static const char *const names[] = {
        [KMS_GCP_METADATA] = "imds",
        [KMS_GCP_ACCOUNT] = "service-account",
        [KMS_GCP_FEDERATION] = "external-account",
    };

    for (size_t s = 0; s < ARRAY_LEN(names); s++)
        if (strcmp(c->token_source, names[s]) == 0) {
            i->source = (enum kms_gcp_source)s;
            return RC_OK;
        }
    FAIL(
        e, ERR_CONFIG,
        "the token source for a key in Google Cloud is imds, service-account or external-account, not \"%.60s\"",
        c->token_source);
}

RC kms__gcp_identity_init(struct kms_gcp_identity *i, const struct kms_config *c, struct err *e)
{
    TRY(read_source(i, c, e));
    bool metadata = i->source == KMS_GCP_METADATA;
    i->file = mem_strdup(c->token_secret_file);
    i->account = mem_strdup(*c->client_id ? c->client_id : "default");
    i->endpoint = mem_strdup(*c->token_endpoint ? c->token_endpoint : "http://169.254.169.254");
    if (!metadata && !*i->file)
        FAIL(e, ERR_CONFIG, "the token source %s needs token-secret-file", c->token_source);
    if (!metadata && *c->token_endpoint)
        FAIL(e, ERR_CONFIG, "the token endpoint stands in the file of the token source %s",
             c->token_source);
    if (strpbrk(i->account, "/?#% ") || !kms__is_line(i->account))
        FAIL(e, ERR_CONFIG, "the client id is no address of a service account");
    /* the other two know their endpoints when the file is read, https alone */
    return kms__endpoint_client(c, metadata ? i->endpoint : "https://", &i->http, e);
}

void kms__gcp_identity_fini(struct kms_gcp_identity *i)
{
    http_client_free(i->http);
    kms__cache_drop(&i->cache);
    mem_free(i->endpoint);
    mem_free(i->file);
    mem_free(i->account);
}

/* ---- asking ---- */

typedef enum kmsg_class (*classify_fn)(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

static RC ask(struct kms_gcp_identity *i, const struct http_call *q, const char *what,
              classify_fn classify, struct http_answer *a, struct err *e)
{
    char cause[KMSG_CAUSE_MAX];

    TRY(kms__ask(i->http, q, what, a, e));
    struct kmsg_reply r = kms__reply(a);
    enum kmsg_class class = classify(&r, cause);
    if (class == KMSG_UNAUTHORIZED) /* of whoever impersonates: our token is seconds old */
        class = KMSG_BAD;
    return class == KMSG_OK ? RC_OK : kms__fail(e, class, cause);
}

static RC take_token(const struct http_answer *a, struct buf *token, int64_t *lifetime_s,
                     struct err *e)
{
    struct kmsg_reply r = kms__reply(a);

    return kmsg_token_read(&r, "", clock_real_s(), token, lifetime_s, e);
}

static RC fetch_metadata(struct kms_gcp_identity *i, uint64_t deadline_us, struct buf *token,
                         int64_t *lifetime_s, struct err *e)
{
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    const char *headers[] = { "Metadata-Flavor: Google", NULL };

    buf_printf(&url,
               "%s/computeMetadata/v1/instance/service-accounts/%s/token?scopes=", i->endpoint,
               i->account);
    kmsg_escape(SLICE_LIT(KMSG_GCP_SCOPE), &url);
    struct http_call q = {
        .method = "GET", .url = buf_cstr(&url), .headers = headers, .deadline_us = deadline_us
    };
    TRY(ask(i, &q, "metadata service", kmsg_gcp_classify_metadata, &a, e));
    return take_token(&a, token, lifetime_s, e);
}

static RC post_form(struct kms_gcp_identity *i, const char *url, const struct buf *body,
                    uint64_t deadline_us, struct http_answer *a, struct err *e)
{
    struct http_call q = {
        .method = "POST",
        .url = url,
        .body = buf_view(body),
        .content_type = "application/x-www-form-urlencoded",
        .deadline_us = deadline_us,
    };
    return ask(i, &q, "token endpoint", kmsg_gcp_classify_token, a, e);
}

/* ---- service accounts ---- */

static RC sign_assertion(const struct kmsg_gcp_account *account, const struct buf *pem,
                         struct buf *out, struct err *e)
{
    AUTO(secret_freep) struct secret *key = NULL;
    AUTO(kjson_freep) json_t *header = json_object();
    AUTO(kjson_freep) json_t *claims = json_object();
    int64_t now = clock_real_s();

    TRY(rsa_private_from_pem(buf_view(pem), &key, e));
    json_object_set_new(header, "kid", json_string(account->key_id));
    json_object_set_new(claims, "iss", json_string(account->email));
    json_object_set_new(claims, "scope", json_string(KMSG_GCP_SCOPE));
    json_object_set_new(claims, "aud", json_string(account->token_url));
    json_object_set_new(claims, "iat", json_integer(now));
    json_object_set_new(claims, "exp", json_integer(now + ASSERTION_LIFE_S));
    return kmsg_jwt(KMSG_JWT_RS256, header, claims, key, out, e);
}

static RC build_assertion(const struct kms_gcp_identity *i, struct kmsg_gcp_account *account,
                          struct buf *out, struct err *e)
{
    AUTO(buf_wipe) struct buf file = BUF_INIT;
    AUTO(buf_wipe) struct buf pem = BUF_INIT;
    struct err why = { 0 };

    TRY(kms__read_own(i->file, &file, e));
    buf_reserve(&pem, file.len);
    if (kmsg_gcp_read_account(buf_view(&file), account, &pem, &why).failed ||
        sign_assertion(account, &pem, out, &why).failed)
        return kms__credential_fail(i->file, &why, e);
    return RC_OK;
}

static RC fetch_account(struct kms_gcp_identity *i, uint64_t deadline_us, struct buf *token,
                        int64_t *lifetime_s, struct err *e)
{
    AUTO(buf_wipe) struct buf assertion = BUF_INIT;
    AUTO(buf_wipe) struct buf body = BUF_INIT;
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    struct kmsg_gcp_account account;

    TRY(build_assertion(i, &account, &assertion, e));
    kmsg_gcp_assertion_form(buf_view(&assertion), &body);
    TRY(post_form(i, account.token_url, &body, deadline_us, &a, e));
    return take_token(&a, token, lifetime_s, e);
}

/* ---- federations ---- */

static RC read_federation(const struct kms_gcp_identity *i, struct kmsg_gcp_federation *f,
                          struct buf *subject, struct err *e)
{
    AUTO(buf_wipe) struct buf file = BUF_INIT;
    AUTO(buf_wipe) struct buf token = BUF_INIT;
    struct err why = { 0 };

    if (file_read(i->file, FILE_MAX, &file, &why).failed ||
        kmsg_gcp_read_federation(buf_view(&file), f, &why).failed)
        return kms__credential_fail(i->file, &why, e);
    if (file_read(f->token_file, FILE_MAX, &token, &why).failed ||
        kmsg_gcp_read_subject(f, buf_view(&token), subject, &why).failed)
        return kms__credential_fail(f->token_file, &why, e);
    return RC_OK;
}

/* As the service account that lets the federated identity act for it. */
static RC impersonate(struct kms_gcp_identity *i, const char *url, const struct buf *federated,
                      uint64_t deadline_us, struct buf *token, int64_t *lifetime_s, struct err *e)
{
    AUTO(buf_wipe) struct buf header = BUF_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT;
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;

    buf_reserve(&header, federated->len + 32);
    buf_printf(&header, "Authorization: Bearer ");
    buf_push(&header, federated->p, federated->len);
    const char *headers[] = { buf_cstr(&header), NULL };
    kmsg_gcp_impersonation_body(&body);
    struct http_call q = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = buf_view(&body),
        .content_type = "application/json",
        .deadline_us = deadline_us,
    };
    TRY(ask(i, &q, "token endpoint", kmsg_gcp_classify, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    return kmsg_gcp_read_impersonated(&r, clock_real_s(), token, lifetime_s, e);
}

static RC fetch_federation(struct kms_gcp_identity *i, uint64_t deadline_us, struct buf *token,
                           int64_t *lifetime_s, struct err *e)
{
    AUTO(buf_wipe) struct buf subject = BUF_INIT;
    AUTO(buf_wipe) struct buf body = BUF_INIT;
    AUTO(buf_wipe) struct buf federated = BUF_INIT;
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    struct kmsg_gcp_federation f;

    TRY(read_federation(i, &f, &subject, e));
    kmsg_gcp_exchange_form(&f, buf_view(&subject), &body);
    TRY(post_form(i, f.token_url, &body, deadline_us, &a, e));
    if (!*f.impersonation_url)
        return take_token(&a, token, lifetime_s, e);
    TRY(take_token(&a, &federated, lifetime_s, e));
    return impersonate(i, f.impersonation_url, &federated, deadline_us, token, lifetime_s, e);
}

/* ---- all of them ---- */

static RC fetch(void *arg, uint64_t deadline_us, struct buf *text, int64_t *lifetime_s,
                struct err *e)
{
    struct kms_gcp_identity *i = arg;
    AUTO(buf_wipe) struct buf token = BUF_INIT;

    if (i->source == KMS_GCP_METADATA)
        TRY(fetch_metadata(i, deadline_us, &token, lifetime_s, e));
    else if (i->source == KMS_GCP_ACCOUNT)
        TRY(fetch_account(i, deadline_us, &token, lifetime_s, e));
    else
        TRY(fetch_federation(i, deadline_us, &token, lifetime_s, e));
    buf_reserve(text, token.len + 32);
    buf_printf(text, "Authorization: Bearer ");
    buf_push(text, token.p, token.len);
    return RC_OK;
}

RC kms__gcp_identity_get(struct kms_gcp_identity *i, uint64_t deadline_us, const char **header,
                         struct err *e)
{
    *header = NULL;
    TRY(kms__cache_get(&i->cache, fetch, i, deadline_us, e));
    *header = buf_cstr(&i->cache.text);
    return RC_OK;
}
