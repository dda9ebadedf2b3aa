/* kms_tokens.c - tokens of Microsoft Entra for the identity that the node has.
 *
 * Where they come from: managed identities (imds, app-service) with one GET; Azure Arc with a GET that is answered by the name of a file
 * which only a member of the agent's group can read, and another with its content; the others with a client-credentials
 * POST, proven by a secret, a federated token or an assertion signed with the key of a certificate.
 */
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "crypto/x509.h"
#include "http/http_client.h"
#include "kms_priv.h"
#include "kmsg/kjson.h"
#include "kmsg/kmsg_jwt.h"
#include "kmsg/kmsg_token.h"

enum { SECRET_FILE_MAX = 16384, ASSERTION_LIFE_S = 600, CHALLENGED = 401 };

static bool is_post(enum kms_token_source s)
{
    return s == KMS_TOKEN_WORKLOAD || s == KMS_TOKEN_CLIENT_SECRET ||
           s == KMS_TOKEN_CLIENT_CERTIFICATE;
}

static bool is_set(const char *s)
{
    return s && *s;
}

/* ---- from the configuration ---- */

static RC check_config(const struct kms_azure_config *c, const char *audience, struct err *e)
{
    bool needs_file = c->token_source != KMS_TOKEN_IMDS && c->token_source != KMS_TOKEN_ARC;

    if (!*audience || !kms__is_line(audience) || !kms__is_line(c->client_id))
        FAIL(e, ERR_CONFIG, "the audience of tokens or the client id is not a line of text");
    if (needs_file && !is_set(c->token_secret_file))
        FAIL(e, ERR_CONFIG, "this token source needs the file of its secret");
    if (is_post(c->token_source) && !*c->client_id)
        FAIL(e, ERR_CONFIG, "this token source needs the client id");
    return RC_OK;
}

static RC endpoint_of(const struct kms_azure_config *c, const char *authority, char **out,
                      struct err *e)
{
    static const char tenant_chars[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-.";

    *out = NULL;
    if (is_set(c->token_endpoint)) {
        *out = mem_strdup(c->token_endpoint);
    } else if (c->token_source == KMS_TOKEN_IMDS) {
        *out = mem_strdup("http://169.254.169.254/metadata/identity/oauth2/token");
    } else if (c->token_source == KMS_TOKEN_ARC) {
        *out = mem_strdup("http://localhost:40342/metadata/identity/oauth2/token");
    } else if (c->token_source == KMS_TOKEN_APP_SERVICE) {
        FAIL(e, ERR_CONFIG, "the token source app-service needs its endpoint");
    } else if (!authority || !is_set(c->tenant_id) ||
               strspn(c->tenant_id, tenant_chars) != strlen(c->tenant_id)) {
        FAIL(
            e, ERR_CONFIG,
            "this token source needs the tenant's id, and its endpoint when the vault is none of Azure's own");
    } else {
        *out = mem_printf("%s/%s/oauth2/v2.0/token", authority, c->tenant_id);
    }
    return RC_OK;
}

RC kms__tokens_init(struct kms_tokens *t, const struct kms_azure_config *c, const char *audience,
                    const char *authority, struct err *e)
{
    TRY(check_config(c, audience, e));
    TRY(endpoint_of(c, authority, &t->endpoint, e));
    bool local = kms__is_local_http(t->endpoint);
    if (!kms__is_line(t->endpoint) || (!local && strncmp(t->endpoint, "https://", 8) != 0))
        FAIL(e, ERR_CONFIG,
             "the token endpoint must be an https URL, or an http one on this machine");
    struct http_client_config hc = { .ca_file = c->ca_file,
                                     .allow_http = local,
                                     .proxy = local ? NULL : c->proxy };
    TRY(http_client_new(&hc, &t->http, e));
    t->source = c->token_source;
    t->secret_file = mem_strdup(is_set(c->token_secret_file) ? c->token_secret_file : "");
    t->client_id = mem_strdup(c->client_id);
    t->audience = mem_strdup(audience);
    return RC_OK;
}

void kms__tokens_fini(struct kms_tokens *t)
{
    http_client_free(t->http);
    kms__cache_drop(&t->cache);
    mem_free(t->endpoint);
    mem_free(t->secret_file);
    mem_free(t->client_id);
    mem_free(t->audience);
}

void kms__tokens_drop(struct kms_tokens *t)
{
    kms__cache_drop(&t->cache);
}

/* ---- credentials ---- */

/* A file that is missing here is no verdict on the key, and nobody's lie: whoever runs the node took it away. */
static RC read_credential(const char *path, struct buf *out, struct err *e)
{
    struct err why = { 0 };

    return file_read(path, SECRET_FILE_MAX, out, &why).failed ? kms__credential_fail(path, &why, e)
                                                              : RC_OK;
}

RC kms__one_line(const char *path, struct buf *out, struct err *e)
{
    while (out->len > 0 && (out->p[out->len - 1] == '\n' || out->p[out->len - 1] == '\r'))
        out->len--;
    if (out->len == 0 || memchr(out->p, 0, out->len) || !kms__is_line(buf_cstr(out)))
        FAIL(e, ERR_KEY_CREDENTIAL, "the node's own credential \"%s\" is not one line of text",
             path);
    return RC_OK;
}

RC kms__read_line(const char *path, struct buf *out, struct err *e)
{
    TRY(read_credential(path, out, e));
    return kms__one_line(path, out, e);
}

/* Microsoft: "certificate credentials": PS256, x5t#S256, aud is the token endpoint. */
static RC sign_assertion(const struct kms_tokens *t, struct buf *out, struct err *e)
{
    AUTO(buf_wipe) struct buf pem = BUF_INIT;
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(secret_freep) struct secret *key = NULL;
    AUTO(kjson_freep) json_t *header = json_object();
    AUTO(kjson_freep) json_t *claims = json_object();
    uint8_t thumb[32], id[16];
    int64_t now = clock_real_s();

    struct err why = { 0 };
    TRY(read_credential(t->secret_file, &pem, e));
    if (rsa_private_from_pem(buf_view(&pem), &key, &why).failed ||
        x509_sha256(buf_view(&pem), thumb, &why).failed)
        return kms__credential_fail(t->secret_file, &why, e);
    TRY(random_bytes(id, sizeof id, e));
    base64url_encode(SLICE(thumb, sizeof thumb), &text);
    json_object_set_new(header, "x5t#S256", json_string(buf_cstr(&text)));
    buf_clear(&text);
    hex_encode(SLICE(id, sizeof id), &text);
    json_object_set_new(claims, "aud", json_string(t->endpoint));
    json_object_set_new(claims, "iss", json_string(t->client_id));
    json_object_set_new(claims, "sub", json_string(t->client_id));
    json_object_set_new(claims, "jti", json_string(buf_cstr(&text)));
    json_object_set_new(claims, "nbf", json_integer(now));
    json_object_set_new(claims, "iat", json_integer(now));
    json_object_set_new(claims, "exp", json_integer(now + ASSERTION_LIFE_S));
    return kmsg_jwt(KMSG_JWT_PS256, header, claims, key, out, e);
}

static RC build_form(const struct kms_tokens *t, struct buf *body, struct err *e)
{
    AUTO(buf_wipe) struct buf proof = BUF_INIT;
    struct slice none = { 0 };

    if (t->source == KMS_TOKEN_CLIENT_CERTIFICATE)
        TRY(sign_assertion(t, &proof, e));
    else
        TRY(kms__read_line(t->secret_file, &proof, e));
    struct slice p = buf_view(&proof);
    bool secret = t->source == KMS_TOKEN_CLIENT_SECRET;
    kmsg_token_form(t->client_id, t->audience, secret ? p : none, secret ? none : p, body);
    return RC_OK;
}

/* "Metadata: true", or the secret header from its file: the file may have been renewed. */
static RC source_header(const struct kms_tokens *t, struct buf *out, struct err *e)
{
    AUTO(buf_wipe) struct buf secret = BUF_INIT;

    if (t->source != KMS_TOKEN_APP_SERVICE) {
        buf_printf(out, "Metadata: true");
        return RC_OK;
    }
    TRY(kms__read_line(t->secret_file, &secret, e));
    buf_reserve(out, secret.len + 64);
    buf_printf(out, "X-IDENTITY-HEADER: ");
    buf_push(out, secret.p, secret.len);
    return RC_OK;
}

/* ---- asking ---- */

/* Arc proves that we may read the agent's files; the file lives for this one answer. */
static RC answer_arc(struct kms_tokens *t, struct http_call *q, struct http_answer *a,
                     struct err *e)
{
    AUTO(buf_fini) struct buf path = BUF_INIT;
    AUTO(buf_wipe) struct buf key = BUF_INIT;
    AUTO(buf_wipe) struct buf header = BUF_INIT;

    if (!kmsg_token_arc_file(a->challenge,
                             *t->secret_file ? t->secret_file : "/var/opt/azcmagent/tokens", &path))
        FAIL(e, ERR_KEY_BAD_ANSWER,
             "the token endpoint's challenge names no file in the agent's directory");
    TRY(kms__read_line(buf_cstr(&path), &key, e));
    buf_reserve(&header, key.len + 64);
    buf_printf(&header, "Authorization: Basic ");
    buf_push(&header, key.p, key.len);
    const char *headers[] = { "Metadata: true", buf_cstr(&header), NULL };
    q->headers = headers;
    http_answer_fini(a);
    http_client_call(t->http, q, a);
    q->headers = NULL;
    return RC_OK;
}

static RC call_get(struct kms_tokens *t, uint64_t deadline_us, struct http_answer *a, struct err *e)
{
    static const enum kmsg_token_source dialects[] = {
        [KMS_TOKEN_IMDS] = KMSG_TOKEN_IMDS,
        [KMS_TOKEN_APP_SERVICE] = KMSG_TOKEN_APP_SERVICE,
        [KMS_TOKEN_ARC] = KMSG_TOKEN_ARC,
    };
    AUTO(buf_wipe) struct buf header = BUF_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;

    TRY(source_header(t, &header, e));
    kmsg_token_url(dialects[t->source], t->endpoint, t->audience, t->client_id, &url);
    const char *headers[] = { buf_cstr(&header), NULL };
    struct http_call q = {
        .method = "GET", .url = buf_cstr(&url), .headers = headers, .deadline_us = deadline_us
    };
    http_client_call(t->http, &q, a);
    if (t->source == KMS_TOKEN_ARC && a->outcome == HTTP_OUT_ANSWER && a->status == CHALLENGED)
        return answer_arc(t, &q, a, e);
    return RC_OK;
}

static RC call_post(struct kms_tokens *t, uint64_t deadline_us, struct http_answer *a,
                    struct err *e)
{
    AUTO(buf_wipe) struct buf body = BUF_INIT;

    TRY(build_form(t, &body, e));
    struct http_call q = {
        .method = "POST",
        .url = t->endpoint,
        .body = buf_view(&body),
        .content_type = "application/x-www-form-urlencoded",
        .deadline_us = deadline_us,
    };
    http_client_call(t->http, &q, a);
    return RC_OK;
}

static RC fetch(void *arg, uint64_t deadline_us, struct buf *text, int64_t *lifetime_s,
                struct err *e)
{
    struct kms_tokens *t = arg;
    AUTO(buf_wipe) struct buf token = BUF_INIT;
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    char cause[KMSG_CAUSE_MAX];

    TRY(is_post(t->source) ? call_post(t, deadline_us, &a, e) : call_get(t, deadline_us, &a, e));
    if (a.outcome != HTTP_OUT_ANSWER)
        return kms__no_answer(e, "token endpoint", &a);
    struct kmsg_reply r = kms__reply(&a);
    enum kmsg_class class = kmsg_token_classify(&r, cause);
    if (class != KMSG_OK)
        return kms__fail(e, class, cause);
    TRY(kmsg_token_read(&r, t->audience, clock_real_s(), &token, lifetime_s, e));
    buf_reserve(text, token.len + 32);
    buf_printf(text, "Authorization: Bearer ");
    buf_push(text, token.p, token.len);
    return RC_OK;
}

RC kms__tokens_get(struct kms_tokens *t, uint64_t deadline_us, const char **header, struct err *e)
{
    *header = NULL;
    TRY(kms__cache_get(&t->cache, fetch, t, deadline_us, e));
    *header = buf_cstr(&t->cache.text);
    return RC_OK;
}
