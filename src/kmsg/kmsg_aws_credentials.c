/* kmsg_aws_credentials.c - credentials of an identity in AWS, as files, metadata services and STS have them. See kmsg/kmsg_aws.h.
 *
 * spec: AWS SDKs and Tools Reference Guide, "IMDS credential provider", "Container credential provider", "Assume role credential provider"; STS answers
 * in JSON whoever accepts that.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "kmsg/kmsg_aws.h"
#include "kmsg_priv.h"

enum { LIFETIME_MAX_S = 7 * 86400, KEY_MAX = 128, TOKEN_MAX = 16384, ERROR_DEPTH = 4 };

struct kmsg_aws_credential kmsg_aws_credential_of(const struct buf *text)
{
    struct kmsg_aws_credential c = { .access_key = (const char *)text->p };

    c.secret_key = c.access_key + strlen(c.access_key) + 1;
    c.token = c.secret_key + strlen(c.secret_key) + 1;
    return c;
}

/* They stand in headers, the access key between separators too. */
static bool fits(struct slice s, size_t max, bool is_word)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || (is_word && strchr("/,=", s.p[i])))
            return false;
    return s.len <= max;
}

/* false: nothing is appended. */
static bool pack(struct slice access_key, struct slice secret_key, struct slice token,
                 struct buf *out)
{
    if (access_key.len == 0 || !fits(access_key, KEY_MAX, true) || secret_key.len == 0 ||
        !fits(secret_key, KEY_MAX, false) || !fits(token, TOKEN_MAX, false))
        return false;
    buf_reserve(out, access_key.len + secret_key.len + token.len + 3);
    buf_push(out, access_key.p, access_key.len);
    buf_push_u8(out, 0);
    buf_push(out, secret_key.p, secret_key.len);
    buf_push_u8(out, 0);
    buf_push(out, token.p, token.len);
    buf_push_u8(out, 0);
    return true;
}

/* ---- a file ---- */

static struct slice trim(struct slice s)
{
    while (s.len > 0 && strchr(" \t\r", s.p[s.len - 1]))
        s.len--;
    while (s.len > 0 && strchr(" \t", s.p[0]))
        s = SLICE(s.p + 1, s.len - 1);
    return s;
}

static struct slice next_line(struct slice *rest)
{
    const uint8_t *end = memchr(rest->p, '\n', rest->len);
    size_t len = end ? (size_t)(end - rest->p) : rest->len;
    struct slice line = SLICE(rest->p, len);

    *rest = end ? SLICE(end + 1, rest->len - len - 1) : SLICE(rest->p + len, 0);
    return trim(line);
}

/* "[name]" */
static bool is_section(struct slice line, const char *name)
{
    return slice_eq_str(trim(SLICE(line.p + 1, line.len - 2)), name);
}

RC kmsg_aws_read_profile(struct slice file, const char *profile, struct buf *out, struct err *e)
{
    static const char *const names[] = { "aws_access_key_id", "aws_secret_access_key",
                                         "aws_session_token" };
    struct slice values[ARRAY_LEN(names)] = { 0 };
    bool inside = false, found = false;

    if (memchr(file.p, 0, file.len))
        FAIL(e, ERR_CONFIG, "it is no credentials file");
    while (file.len > 0) {
        struct slice line = next_line(&file);
        if (line.len > 2 && line.p[0] == '[' && line.p[line.len - 1] == ']') {
            inside = is_section(line, profile);
            found |= inside;
            continue;
        }
        const uint8_t *equals = memchr(line.p, '=', line.len);
        if (!inside || !equals || line.p[0] == '#' || line.p[0] == ';')
            continue;
        size_t name_len = (size_t)(equals - line.p);
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (slice_eq_str(trim(SLICE(line.p, name_len)), names[i]))
                values[i] = trim(SLICE(equals + 1, line.len - name_len - 1));
    }
    if (!found)
        FAIL(e, ERR_CONFIG, "there is no section [%.60s] in it", profile);
    if (!pack(values[0], values[1], values[2], out))
        FAIL(e, ERR_CONFIG,
             "the section [%.60s] lacks an access key or its secret, or they are malformed",
             profile);
    return RC_OK;
}

/* ---- documents ---- */

static RC read_document(const json_t *j, const char *token_name, int64_t until, int64_t now_s,
                        struct buf *out, int64_t *lifetime_s, struct err *e)
{
    const char *access_key = kjson_str(j, "AccessKeyId"),
               *secret_key = kjson_str(j, "SecretAccessKey"), *token = kjson_str(j, token_name);

    if (until <= now_s)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the credential that was given has expired: look at the clock");
    if (!access_key || !secret_key || !token ||
        !pack(slice_str(access_key), slice_str(secret_key), slice_str(token), out))
        FAIL(e, ERR_KEY_BAD_ANSWER, "the answer has no complete credential in it");
    *lifetime_s = MIN(until - now_s, (int64_t)LIFETIME_MAX_S);
    return RC_OK;
}

static RC load(const struct kmsg_reply *r, json_t **out, struct err *e)
{
    struct err inner = { 0 };

    *out = NULL;
    if (r->status != 200 || kjson_load(r->body, KMSG_ANSWER_DEPTH, out, &inner).failed)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the answer to the request for a credential is not JSON");
    return RC_OK;
}

RC kmsg_aws_read_credential(const struct kmsg_reply *r, int64_t now_s, struct buf *out,
                            int64_t *lifetime_s, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    int64_t until;

    *lifetime_s = 0;
    TRY(load(r, &j, e));
    if (!kmsg__read_time(kjson_str(j, "Expiration"), &until))
        FAIL(e, ERR_KEY_BAD_ANSWER, "the answer does not say how long its credential lives");
    return read_document(j, "Token", until, r->date_s ? r->date_s : now_s, out, lifetime_s, e);
}

/* What the metadata service says, with the status 200, of a role that it cannot take on. */
static enum kmsg_class classify_code(const json_t *j, const char *what, char *cause)
{
    const char *code = kjson_str(j, "Code");
    char shown[64] = "";

    if (!code || strcmp(code, "Success") == 0)
        return KMSG_OK;
    kmsg_printable(code, shown, sizeof shown);
    bool refused = strcmp(code, "AssumeRoleUnauthorizedAccess") == 0 ||
                   strcmp(code, "InstanceProfileNotFound") == 0;
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the %s gives no credential for the role: %s", what,
                   shown);
    return refused ? KMSG_DENIED : KMSG_UNREACHABLE;
}

enum kmsg_class kmsg_aws_classify_metadata(const struct kmsg_reply *r, const char *what,
                                           char cause[KMSG_CAUSE_MAX])
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err ignored = { 0 };

    cause[0] = 0;
    bool is_document = !kjson_load(r->body, KMSG_ANSWER_DEPTH, &j, &ignored).failed;
    if (r->status == 200)
        return is_document ? classify_code(j, what, cause) : KMSG_OK;
    const char *code = is_document ? kjson_str(j, "code") : NULL;
    if (code && strcmp(code, "AccessDeniedException") == 0) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the %s refuses the identity", what);
        return KMSG_DENIED;
    }
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the %s answered %d", what, r->status);
    /* 404: no role is attached, or not yet. It is no service's signed word, so it is only an outage. */
    return r->status == 404 ? KMSG_UNREACHABLE : kmsg__class_of_status(r->status);
}

/* ---- STS ---- */

void kmsg_aws_web_identity_form(const char *role_arn, struct slice token, struct buf *out)
{
    buf_reserve(out, 256 + 3 * (strlen(role_arn) + token.len));
    buf_printf(out, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
    kmsg_escape(slice_str(role_arn), out);
    buf_printf(out, "&RoleSessionName=cofferdb&WebIdentityToken=");
    kmsg_escape(token, out);
}

static const struct kmsg__error sts_errors[] = {
    { "AccessDenied", NULL, KMSG_DENIED,
      "the role does not trust the token (sts:AssumeRoleWithWebIdentity)" },
    { "IDPRejectedClaim", NULL, KMSG_DENIED, "the identity provider rejects the token" },
    { "InvalidIdentityToken", "no openidconnect provider found", KMSG_DENIED,
      "the account no longer trusts the token's issuer" },
    { "InvalidIdentityToken", "retrieve verification key", KMSG_UNREACHABLE,
      "STS could not get the keys of the token's issuer" },
    { "IDPCommunicationError", NULL, KMSG_UNREACHABLE, "STS could not reach the token's issuer" },
    { "Throttling", NULL, KMSG_THROTTLED, "STS is over its limit" },
    { "ThrottlingException", NULL, KMSG_THROTTLED, "STS is over its limit" },
    { "InternalFailure", NULL, KMSG_UNREACHABLE, "STS has failed inside" },
    { "ServiceUnavailable", NULL, KMSG_UNREACHABLE, "STS is unavailable" },
    { "ExpiredTokenException", NULL, KMSG_BAD,
      "the token in the file has expired: look at what renews it, and the clock" },
};

enum kmsg_class kmsg_aws_classify_sts(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err ignored = { 0 };
    char shown[128] = "";

    cause[0] = 0;
    if (r->status == 200 && r->is_json)
        return KMSG_OK;
    (void)snprintf(cause, KMSG_CAUSE_MAX, "STS answered %d", r->status);
    if (r->is_json && !kjson_load(r->body, ERROR_DEPTH, &j, &ignored).failed) {
        const json_t *error = kjson_obj(j, "Error");
        const char *code = kjson_str(error, "Code");
        const struct kmsg__error *row =
            kmsg__find_error(sts_errors, ARRAY_LEN(sts_errors), code, kjson_str(error, "Message"));
        if (row) {
            (void)snprintf(cause, KMSG_CAUSE_MAX, "%s", row->cause);
            return row->class;
        }
        kmsg_printable(code ? code : "", shown, sizeof shown);
        (void)snprintf(cause, KMSG_CAUSE_MAX, "STS answered %d: %s", r->status, shown);
    }
    return kmsg__class_of_status(r->status);
}

RC kmsg_aws_read_sts(const struct kmsg_reply *r, int64_t now_s, struct buf *out,
                     int64_t *lifetime_s, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    *lifetime_s = 0;
    TRY(load(r, &j, e));
    const json_t *result = kjson_obj(kjson_obj(j, "AssumeRoleWithWebIdentityResponse"),
                                     "AssumeRoleWithWebIdentityResult");
    const json_t *c = kjson_obj(result, "Credentials"),
                 *expiration = json_object_get(c, "Expiration");
    double s = json_number_value(expiration);
    if (!c || !json_is_number(expiration) || s < 1 || s > 1e12)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the answer does not say how long its credential lives");
    return read_document(c, "SessionToken", (int64_t)s, r->date_s ? r->date_s : now_s, out,
                         lifetime_s, e);
}
