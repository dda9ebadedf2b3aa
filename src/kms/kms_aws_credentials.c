/* kms_aws_credentials.c - see kms_aws.h. Credentials are kept in wiped memory and renewed from half of their life on (kms_cache.c); every file is read
 * anew for each of them. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/http_client.h"
#include "kms_aws.h"

enum { FILE_LIFE_S = 60, ROLE_MAX = 64 };

/* ---- from the configuration ---- */

static const struct {
    const char *name, *endpoint; /* "": by the region, or none */
} sources[] = {
    [KMS_AWS_IMDS] = { "imds", "http://169.254.169.254" },
    [KMS_AWS_CONTAINER] = { "container", "" },
    [KMS_AWS_WEB_IDENTITY] = { "web-identity", "" },
    [KMS_AWS_FILE] = { "credentials-file", "" },
};

static RC read_source(struct kms_aws_identity *i, const struct kms_config *c, struct err *e)
{
    for (size_t s = 0; s < ARRAY_LEN(sources); s++)
        if (strcmp(c->token_source, sources[s].name) == 0) {
            i->source = (enum kms_aws_source)s;
            return RC_OK;
        }
    FAIL(
        e, ERR_CONFIG,
        "the token source for a key in AWS is imds, container, web-identity or credentials-file, not \"%.60s\"",
        c->token_source);
}

static RC check(const struct kms_aws_identity *i, struct err *e)
{
    if ((i->source == KMS_AWS_WEB_IDENTITY || i->source == KMS_AWS_FILE) && !*i->file)
        FAIL(e, ERR_CONFIG, "the token source %s needs token-secret-file", sources[i->source].name);
    if (i->source == KMS_AWS_WEB_IDENTITY && strncmp(i->name, "arn:", 4) != 0)
        FAIL(e, ERR_CONFIG, "the token source web-identity needs client-id, the ARN of a role");
    if (i->source == KMS_AWS_CONTAINER && !*i->endpoint)
        FAIL(
            e, ERR_CONFIG,
            "the token source container needs token-endpoint: $AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!kms__is_line(i->name) || (i->source == KMS_AWS_IMDS && strpbrk(i->name, "/?#% ")))
        FAIL(e, ERR_CONFIG, "the client id is no name of a role");
    return RC_OK;
}

RC kms__aws_identity_init(struct kms_aws_identity *i, const struct kms_config *c,
                          const struct kmsg_aws_target *t, struct err *e)
{
    TRY(read_source(i, c, e));
    i->file = mem_strdup(c->token_secret_file);
    i->name = mem_strdup(c->client_id);
    if (*c->token_endpoint)
        i->endpoint = mem_strdup(c->token_endpoint);
    else if (i->source == KMS_AWS_WEB_IDENTITY)
        i->endpoint = mem_printf("https://sts.%s.%s/", t->region, t->dns_suffix);
    else
        i->endpoint = mem_strdup(sources[i->source].endpoint);
    TRY(check(i, e));
    return i->source == KMS_AWS_FILE ? RC_OK : kms__endpoint_client(c, i->endpoint, &i->http, e);
}

void kms__aws_identity_fini(struct kms_aws_identity *i)
{
    http_client_free(i->http);
    kms__cache_drop(&i->cache);
    mem_free(i->endpoint);
    mem_free(i->file);
    mem_free(i->name);
}

/* ---- the metadata service ---- */

/* One answer of a metadata service; classes other than OK are errors. */
static RC ask_metadata(struct kms_aws_identity *i, const struct http_call *q, const char *what,
                       struct http_answer *a, struct err *e)
{
    char cause[KMSG_CAUSE_MAX];

    TRY(kms__ask(i->http, q, what, a, e));
    struct kmsg_reply r = kms__reply(a);
    enum kmsg_class class = kmsg_aws_classify_metadata(&r, what, cause);
    return class == KMSG_OK ? RC_OK : kms__fail(e, class, cause);
}

/* The whole of an answer as one word of text. */
static RC take_word(const struct http_answer *a, size_t max, struct buf *out, struct err *e)
{
    struct slice s = buf_view(&a->body);

    while (s.len > 0 && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r'))
        s.len--;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("/?#%\"", s.p[i]))
            s.len = 0;
    if (s.len == 0 || s.len > max)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the metadata service's answer is not one word");
    buf_push(out, s.p, s.len);
    return RC_OK;
}

/* Version 2: a token first, by PUT, which nobody gets who can only make the machine fetch URLs. */
static RC imds_session(struct kms_aws_identity *i, uint64_t deadline_us, struct buf *header,
                       struct err *e)
{
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    const char *headers[] = { "X-aws-ec2-metadata-token-ttl-seconds: 60", NULL };

    buf_printf(&url, "%s/latest/api/token", i->endpoint);
    struct http_call q = {
        .method = "PUT", .url = buf_cstr(&url), .headers = headers, .deadline_us = deadline_us
    };
    TRY(ask_metadata(i, &q, "metadata service", &a, e));
    buf_reserve(header, a.body.len + 32);
    buf_printf(header, "X-aws-ec2-metadata-token: ");
    return take_word(&a, 1024, header, e);
}

static RC fetch_imds(struct kms_aws_identity *i, uint64_t deadline_us, struct http_answer *a,
                     struct err *e)
{
    AUTO(buf_wipe) struct buf session = BUF_INIT;
    AUTO(buf_fini) struct buf role = BUF_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;

    TRY(imds_session(i, deadline_us, &session, e));
    const char *headers[] = { buf_cstr(&session), NULL };
    struct http_call q = { .method = "GET", .headers = headers, .deadline_us = deadline_us };
    buf_printf(&url, "%s/latest/meta-data/iam/security-credentials/", i->endpoint);
    if (*i->name) {
        buf_push(&role, i->name, strlen(i->name));
    } else {
        q.url = buf_cstr(&url);
        TRY(ask_metadata(i, &q, "metadata service", a, e));
        TRY(take_word(a, ROLE_MAX, &role, e));
    }
    buf_push(&url, role.p, role.len);
    q.url = buf_cstr(&url);
    return ask_metadata(i, &q, "metadata service", a, e);
}

static RC fetch_container(struct kms_aws_identity *i, uint64_t deadline_us, struct http_answer *a,
                          struct err *e)
{
    AUTO(buf_wipe) struct buf token = BUF_INIT;
    AUTO(buf_wipe) struct buf header = BUF_INIT;
    const char *headers[] = { NULL, NULL };

    if (*i->file) {
        TRY(kms__read_line(i->file, &token, e));
        buf_reserve(&header, token.len + 32);
        buf_printf(&header, "Authorization: ");
        buf_push(&header, token.p, token.len);
        headers[0] = buf_cstr(&header);
    }
    struct http_call q = {
        .method = "GET", .url = i->endpoint, .headers = headers, .deadline_us = deadline_us
    };
    return ask_metadata(i, &q, "container's credential endpoint", a, e);
}

/* ---- STS ---- */

static RC fetch_web_identity(struct kms_aws_identity *i, uint64_t deadline_us,
                             struct http_answer *a, struct err *e)
{
    AUTO(buf_wipe) struct buf token = BUF_INIT;
    AUTO(buf_wipe) struct buf body = BUF_INIT;
    char cause[KMSG_CAUSE_MAX];

    TRY(kms__read_line(i->file, &token, e));
    kmsg_aws_web_identity_form(i->name, buf_view(&token), &body);
    struct http_call q = {
        .method = "POST",
        .url = i->endpoint,
        .body = buf_view(&body),
        .content_type = "application/x-www-form-urlencoded",
        .deadline_us = deadline_us,
    };
    TRY(kms__ask(i->http, &q, "token endpoint", a, e));
    struct kmsg_reply r = kms__reply(a);
    enum kmsg_class class = kmsg_aws_classify_sts(&r, cause);
    return class == KMSG_OK ? RC_OK : kms__fail(e, class, cause);
}

/* ---- all of them ---- */

static RC fetch_file(struct kms_aws_identity *i, struct buf *text, int64_t *lifetime_s,
                     struct err *e)
{
    AUTO(buf_wipe) struct buf file = BUF_INIT;
    struct err why = { 0 };

    *lifetime_s = FILE_LIFE_S; /* whoever rotates the keys writes it anew */
    TRY(kms__read_own(i->file, &file, e));
    if (kmsg_aws_read_profile(buf_view(&file), *i->name ? i->name : "default", text, &why).failed)
        return kms__credential_fail(i->file, &why, e);
    return RC_OK;
}

static RC fetch(void *arg, uint64_t deadline_us, struct buf *text, int64_t *lifetime_s,
                struct err *e)
{
    struct kms_aws_identity *i = arg;
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;

    *lifetime_s = 0;
    if (i->source == KMS_AWS_FILE)
        return fetch_file(i, text, lifetime_s, e);
    if (i->source == KMS_AWS_WEB_IDENTITY)
        TRY(fetch_web_identity(i, deadline_us, &a, e));
    else if (i->source == KMS_AWS_CONTAINER)
        TRY(fetch_container(i, deadline_us, &a, e));
    else
        TRY(fetch_imds(i, deadline_us, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    return i->source == KMS_AWS_WEB_IDENTITY
               ? kmsg_aws_read_sts(&r, clock_real_s(), text, lifetime_s, e)
               : kmsg_aws_read_credential(&r, clock_real_s(), text, lifetime_s, e);
}

RC kms__aws_identity_get(struct kms_aws_identity *i, uint64_t deadline_us,
                         struct kmsg_aws_credential *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    TRY(kms__cache_get(&i->cache, fetch, i, deadline_us, e));
    *out = kmsg_aws_credential_of(&i->cache.text);
    return RC_OK;
}
