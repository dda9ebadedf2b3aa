/* kms_tokens.c - one cached token, renewed early. Times are boot time: a wall clock that steps changes nothing.
 *
 *      none ──▶ good ──half of its life──▶ due ──▶ good
 *                                           ├── no answer: the old one serves on until it expires, next try in 10 s
 *                                           └── refused: the refusal is the answer
 */
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "http/http_client.h"
#include "kms_priv.h"
#include "kmsg/kmsg_token.h"

enum { SECRET_MAX = 4096, RETRY_US = 10000000 };

/* Plain HTTP carries a token in the clear: only where it does not leave the machine or its host. */
static bool is_local(const char *url)
{
    static const char *const hosts[] = { "http://127.0.0.1", "http://localhost", "http://[::1]",
                                         "http://169.254.169.254" };

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        size_t n = strlen(hosts[i]);
        if (strncmp(url, hosts[i], n) == 0 && (url[n] == ':' || url[n] == '/' || url[n] == 0))
            return strchr(url, '@') == NULL; /* "http://127.0.0.1:1@elsewhere/" */
    }
    return false;
}

static bool fits_line(const char *s)
{
    for (; *s; s++)
        if (*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

RC kms__tokens_init(struct kms_tokens *t, const struct kms_azure_config *c, struct err *e)
{
    struct http_client_config hc = { .ca_file = c->ca_file,
                                     .allow_http = is_local(c->token_endpoint) };

    if (!fits_line(c->token_endpoint) ||
        (!hc.allow_http && strncmp(c->token_endpoint, "https://", 8) != 0))
        FAIL(e, ERR_CONFIG,
             "the token endpoint must be an https URL, or an http one on this machine");
    if (!*c->audience || !fits_line(c->audience) || !fits_line(c->client_id))
        FAIL(e, ERR_CONFIG, "the audience of tokens or the client id is not a line of text");
    if (c->token_source == KMS_TOKEN_APP_SERVICE &&
        (!c->token_secret_file || !*c->token_secret_file))
        FAIL(e, ERR_CONFIG, "the token source app-service needs the file of its secret");
    TRY(http_client_new(&hc, &t->http, e));
    t->source = c->token_source;
    t->endpoint = mem_strdup(c->token_endpoint);
    t->secret_file = mem_strdup(c->token_secret_file ? c->token_secret_file : "");
    t->client_id = mem_strdup(c->client_id);
    t->audience = mem_strdup(c->audience);
    return RC_OK;
}

void kms__tokens_fini(struct kms_tokens *t)
{
    http_client_free(t->http);
    buf_wipe(&t->header);
    mem_free(t->endpoint);
    mem_free(t->secret_file);
    mem_free(t->client_id);
    mem_free(t->audience);
}

void kms__tokens_drop(struct kms_tokens *t)
{
    buf_wipe(&t->header);
    t->renew_at_us = t->expires_at_us = 0;
}

/* "Metadata: true", or the secret header from its file: the file may have been renewed. */
static RC source_header(const struct kms_tokens *t, struct buf *out, struct err *e)
{
    AUTO(buf_wipe) struct buf secret = BUF_INIT;

    if (t->source == KMS_TOKEN_IMDS) {
        buf_printf(out, "Metadata: true");
        return RC_OK;
    }
    TRY(file_read(t->secret_file, SECRET_MAX, &secret, e));
    while (secret.len > 0 && (secret.p[secret.len - 1] == '\n' || secret.p[secret.len - 1] == '\r'))
        secret.len--;
    buf_reserve(out, secret.len + 64);
    buf_printf(out, "X-IDENTITY-HEADER: ");
    buf_push(out, secret.p, secret.len);
    if (secret.len == 0 || memchr(secret.p, 0, secret.len) || !fits_line(buf_cstr(out)))
        FAIL(e, ERR_CONFIG, "the token secret file \"%s\" does not hold one line of text",
             t->secret_file);
    return RC_OK;
}

static void keep(struct kms_tokens *t, const struct buf *token, int64_t lifetime_s)
{
    uint64_t life_us = (uint64_t)lifetime_s * 1000000, now = clock_boot_us();

    buf_wipe(&t->header);
    buf_reserve(&t->header, token->len + 32);
    buf_printf(&t->header, "Authorization: Bearer ");
    buf_push(&t->header, token->p, token->len);
    t->expires_at_us = now + life_us;
    t->renew_at_us = now + life_us / 2;
}

static RC fetch(struct kms_tokens *t, uint64_t deadline_us, struct err *e)
{
    AUTO(buf_wipe) struct buf header = BUF_INIT;
    AUTO(buf_wipe) struct buf token = BUF_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    char cause[KMSG_CAUSE_MAX];
    int64_t lifetime_s;

    TRY(source_header(t, &header, e));
    kmsg_token_url(t->source == KMS_TOKEN_IMDS ? KMSG_TOKEN_IMDS : KMSG_TOKEN_APP_SERVICE,
                   t->endpoint, t->audience, t->client_id, &url);
    const char *headers[] = { buf_cstr(&header), NULL };
    struct http_call q = {
        .method = "GET", .url = buf_cstr(&url), .headers = headers, .deadline_us = deadline_us
    };
    http_client_call(t->http, &q, &a);
    if (a.outcome != HTTP_OUT_ANSWER)
        return kms__no_answer(e, "token endpoint", &a);
    struct kmsg_reply r = kms__reply(&a);
    enum kmsg_class class = kmsg_token_classify(&r, cause);
    if (class != KMSG_OK)
        return kms__fail(e, class, cause);
    TRY(kmsg_token_read(&r, t->audience, clock_real_s(), &token, &lifetime_s, e));
    keep(t, &token, lifetime_s);
    return RC_OK;
}

static bool is_no_answer(const struct err *e)
{
    return e->code == ERR_KEY_UNREACHABLE || e->code == ERR_KEY_THROTTLED;
}

RC kms__tokens_get(struct kms_tokens *t, uint64_t deadline_us, const char **header, struct err *e)
{
    struct err why = { 0 };
    uint64_t now = clock_boot_us();

    *header = NULL;
    if (t->header.len > 0 && now >= t->expires_at_us)
        kms__tokens_drop(t);
    if (t->header.len == 0) {
        TRY(fetch(t, deadline_us, e));
    } else if (now >= t->renew_at_us && fetch(t, deadline_us, &why).failed) {
        if (!is_no_answer(&why)) {
            kms__tokens_drop(t);
            return err_set(e, why.code, why.file, why.line, "%s", why.msg);
        }
        t->renew_at_us = now + RETRY_US;
    }
    *header = buf_cstr(&t->header);
    return RC_OK;
}
