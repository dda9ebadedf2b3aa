/* kmsg_gcp_tokens.c - tokens of an identity in Google Cloud: key files, federations, and what token endpoints say. See kmsg/kmsg_gcp.h; spec: "Using OAuth 2.0
 * for Server to Server Applications", RFC 8693, AIP-4117 (external accounts).
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "kmsg/kmsg_gcp.h"
#include "kmsg/kmsg_token.h"
#include "kmsg_priv.h"

enum { FILE_DEPTH = 8, ERROR_DEPTH = 4, LIFETIME_MAX_S = 7 * 86400 };

/* ---- files ---- */

/* A member that is one line of printable text and fits. */
static bool take_text(const json_t *j, const char *member, char *out, size_t room)
{
    const char *text = kjson_str(j, member);
    size_t len = text ? strlen(text) : 0;

    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f || text[i] == '"' || text[i] == '\\')
            return false;
    if (len == 0 || len >= room)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static bool take_url(const json_t *j, const char *member, char *out, size_t room)
{
    return take_text(j, member, out, room) && strncmp(out, "https://", 8) == 0;
}

static RC load_file(struct slice file, const char *type, json_t **out, struct err *e)
{
    struct err inner = { 0 };

    *out = NULL;
    if (kjson_load(file, FILE_DEPTH, out, &inner).failed)
        FAIL(e, ERR_CONFIG, "it is not a JSON object");
    const char *is = kjson_str(*out, "type");
    if (!is || strcmp(is, type) != 0)
        FAIL(e, ERR_CONFIG, "its type is not \"%s\"", type);
    return RC_OK;
}

RC kmsg_gcp_read_account(struct slice file, struct kmsg_gcp_account *out, struct buf *key,
                         struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct kmsg_gcp_account a;

    memset(out, 0, sizeof *out);
    TRY(load_file(file, "service_account", &j, e));
    const char *pem = kjson_str(j, "private_key");
    if (!take_text(j, "client_email", a.email, sizeof a.email) ||
        !take_text(j, "private_key_id", a.key_id, sizeof a.key_id) ||
        !take_url(j, "token_uri", a.token_url, sizeof a.token_url) || !pem || !*pem)
        FAIL(e, ERR_CONFIG,
             "it lacks client_email, private_key_id, private_key or an https token_uri");
    *out = a;
    buf_push(key, pem, strlen(pem));
    return RC_OK;
}

static bool take_format(const json_t *source, struct kmsg_gcp_federation *f)
{
    const json_t *format = kjson_obj(source, "format");
    const char *type = kjson_str(format, "type");

    f->token_field[0] = 0;
    if (!kjson_has(source, "format") || (type && strcmp(type, "text") == 0))
        return true;
    return type && strcmp(type, "json") == 0 &&
           take_text(format, "subject_token_field_name", f->token_field, sizeof f->token_field);
}

RC kmsg_gcp_read_federation(struct slice file, struct kmsg_gcp_federation *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct kmsg_gcp_federation f = { 0 };

    memset(out, 0, sizeof *out);
    TRY(load_file(file, "external_account", &j, e));
    const json_t *source = kjson_obj(j, "credential_source");
    if (!take_text(j, "audience", f.audience, sizeof f.audience) ||
        !take_text(j, "subject_token_type", f.token_type, sizeof f.token_type) ||
        !take_url(j, "token_url", f.token_url, sizeof f.token_url))
        FAIL(e, ERR_CONFIG, "it lacks audience, subject_token_type or an https token_url");
    if (kjson_has(j, "service_account_impersonation_url") &&
        !take_url(j, "service_account_impersonation_url", f.impersonation_url,
                  sizeof f.impersonation_url))
        FAIL(e, ERR_CONFIG, "its service_account_impersonation_url is none with https");
    if (!take_text(source, "file", f.token_file, sizeof f.token_file) || !take_format(source, &f))
        FAIL(e, ERR_CONFIG, "its credential_source names no file with a token");
    *out = f;
    return RC_OK;
}

RC kmsg_gcp_read_subject(const struct kmsg_gcp_federation *f, struct slice file, struct buf *token,
                         struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err inner = { 0 };
    struct slice text = file;

    if (*f->token_field) {
        if (kjson_load(file, FILE_DEPTH, &j, &inner).failed || !kjson_str(j, f->token_field))
            FAIL(e, ERR_CONFIG, "it is no JSON object with the member %s", f->token_field);
        text = slice_str(kjson_str(j, f->token_field));
    }
    while (text.len > 0 && (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == '\r'))
        text.len--;
    for (size_t i = 0; i < text.len; i++)
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f)
            FAIL(e, ERR_CONFIG, "the token in it is not one word");
    if (text.len == 0 || text.len > KMSG_TOKEN_MAX)
        FAIL(e, ERR_CONFIG, "there is no token of a length that fits in it");
    buf_push(token, text.p, text.len);
    return RC_OK;
}

/* ---- requests ---- */

void kmsg_gcp_assertion_form(struct slice assertion, struct buf *out)
{
    buf_reserve(out, 128 + 3 * assertion.len);
    buf_printf(out, "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Ajwt-bearer"
                    "&assertion=");
    kmsg_escape(assertion, out);
}

void kmsg_gcp_exchange_form(const struct kmsg_gcp_federation *f, struct slice token,
                            struct buf *out)
{
    /* the token that impersonates is used at another service than the key's */
    static const char wide[] = "https://www.googleapis.com/auth/cloud-platform";

    buf_reserve(out, 512 + 3 * (sizeof f->audience + sizeof f->token_type + token.len));
    buf_printf(out, "grant_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Agrant-type%%3Atoken-exchange"
                    "&requested_token_type="
                    "urn%%3Aietf%%3Aparams%%3Aoauth%%3Atoken-type%%3Aaccess_token&audience=");
    kmsg_escape(slice_str(f->audience), out);
    buf_printf(out, "&scope=");
    kmsg_escape(slice_str(*f->impersonation_url ? wide : KMSG_GCP_SCOPE), out);
    buf_printf(out, "&subject_token_type=");
    kmsg_escape(slice_str(f->token_type), out);
    buf_printf(out, "&subject_token=");
    kmsg_escape(token, out);
}

void kmsg_gcp_impersonation_body(struct buf *out)
{
    buf_printf(out, "{\"scope\":[\"" KMSG_GCP_SCOPE "\"],\"lifetime\":\"3600s\"}");
}

/* ---- answers ---- */

static const struct kmsg__error errors[] = {
    { "invalid_grant", "account not found", KMSG_DENIED, "the service account is gone" },
    { "invalid_grant", "account disabled", KMSG_DENIED, "the service account is disabled" },
    { "invalid_grant", "invalid jwt signature", KMSG_DENIED,
      "the key of the service account is gone or disabled" },
    { "disabled_client", NULL, KMSG_DENIED, "the service account is disabled" },
    { "unauthorized_client", NULL, KMSG_DENIED, "the identity is refused" },
    { "access_denied", NULL, KMSG_DENIED, "the identity is refused" },
    { "invalid_target", NULL, KMSG_DENIED,
      "the identity pool or its provider is gone or disabled" },
    { "temporarily_unavailable", NULL, KMSG_UNREACHABLE, "it is out of order for a while" },
    /* a clock that is wrong, here or there, takes no key away */
    { "invalid_grant", NULL, KMSG_BAD,
      "it does not take the assertion: look at the clock, and at what renews the token's file" },
};

enum kmsg_class kmsg_gcp_classify_token(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err ignored = { 0 };
    char shown[128] = "";

    cause[0] = 0;
    if (r->status == 200 && r->is_json)
        return KMSG_OK;
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the token endpoint answered %d", r->status);
    enum kmsg_class class = kmsg__class_of_status(r->status);
    if (class != KMSG_BAD || !r->is_json || kjson_load(r->body, ERROR_DEPTH, &j, &ignored).failed)
        return class;
    const char *error = kjson_str(j, "error");
    const struct kmsg__error *row =
        kmsg__find_error(errors, ARRAY_LEN(errors), error, kjson_str(j, "error_description"));
    if (row) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the token endpoint: %s", row->cause);
        return row->class;
    }
    kmsg_printable(error ? error : "", shown, sizeof shown);
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the token endpoint answered %d: %s", r->status, shown);
    return KMSG_BAD;
}

enum kmsg_class kmsg_gcp_classify_metadata(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    cause[0] = 0;
    if (r->status == 200 && r->is_json)
        return KMSG_OK;
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the metadata service answered %d", r->status);
    /* 404: no account is attached, or not yet. It is no service's signed word, so it is only an outage. */
    return r->status == 404 ? KMSG_UNREACHABLE : kmsg__class_of_status(r->status);
}

RC kmsg_gcp_read_impersonated(const struct kmsg_reply *r, int64_t now_s, struct buf *token,
                              int64_t *lifetime_s, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    int64_t until;

    *lifetime_s = 0;
    TRY(kmsg__load(r, &j, e));
    const char *access = kjson_str(j, "accessToken");
    size_t len = access ? strlen(access) : 0;
    if (!kmsg__read_time(kjson_str(j, "expireTime"), &until))
        return kmsg__bad(e, "does not say how long its token lives");
    for (size_t i = 0; i < len; i++)
        if (access[i] <= ' ' || access[i] >= 0x7f)
            len = 0;
    if (len == 0 || len > KMSG_TOKEN_MAX)
        return kmsg__bad(e, "has no token in it");
    int64_t left = until - (r->date_s ? r->date_s : now_s);
    if (left <= 0)
        return kmsg__bad(e, "has a token that has expired: look at the clock");
    *lifetime_s = MIN(left, (int64_t)LIFETIME_MAX_S);
    buf_push(token, access, len);
    return RC_OK;
}
