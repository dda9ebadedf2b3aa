/* kmsg_token.c - requests for tokens and their answers. See kmsg/kmsg_token.h; spec: managed identities, IMDS and App Service. */
#include "kmsg/kmsg_token.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"

enum { ANSWER_DEPTH = 4, LIFETIME_MAX_S = 7 * 86400 };

static void push_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '.' || c == '_' || c == '~')
            buf_push_u8(out, c); /* RFC 3986 2.3: unreserved */
        else
            buf_printf(out, "%%%02X", c);
    }
}

void kmsg_token_url(enum kmsg_token_source source, const char *endpoint, const char *resource,
                    const char *client_id, struct buf *out)
{
    const char *version = source == KMSG_TOKEN_IMDS ? "2018-02-01" : "2019-08-01";

    buf_printf(out, "%s%sapi-version=%s&resource=", endpoint, strchr(endpoint, '?') ? "&" : "?",
               version);
    push_escaped(out, resource);
    if (*client_id) {
        buf_printf(out, "&client_id=");
        push_escaped(out, client_id);
    }
}

/* What an endpoint says, in its own words, about an identity that it does not know or no longer knows. */
static enum kmsg_class classify_refusal(const struct kmsg_reply *r, const char *error,
                                        const char *description, char *cause)
{
    char shown[160] = "";

    kmsg_printable(description ? description : "", shown, sizeof shown);
    if (r->status == 400 && strcmp(error, "invalid_request") == 0 && description &&
        strcasestr(description, "identity not found")) {
        (void)snprintf(
            cause, KMSG_CAUSE_MAX,
            "the token endpoint does not know the identity: it was deleted or never assigned");
        return KMSG_DENIED;
    }
    if (r->status == 401 || r->status == 403 || strcmp(error, "unauthorized_client") == 0) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the token endpoint refuses the identity: %s", shown);
        return KMSG_DENIED;
    }
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the token endpoint answered %d: %s", r->status, shown);
    return KMSG_BAD;
}

enum kmsg_class kmsg_token_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err ignored = { 0 };

    cause[0] = 0;
    if (r->status == 200 && r->is_json)
        return KMSG_OK;
    if (r->status == 429) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the token endpoint is over its limit");
        return KMSG_THROTTLED;
    }
    /* identity.md 1: 404 and 410 are states of the endpoint, not of the identity; the SDKs retry them too. */
    if (r->status == 404 || r->status == 408 || r->status == 410 || r->status >= 500) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the token endpoint answered %d", r->status);
        return KMSG_UNREACHABLE;
    }
    if (r->is_json && !kjson_load(r->body, ANSWER_DEPTH, &j, &ignored).failed) {
        const char *error = kjson_str(j, "error");
        if (error)
            return classify_refusal(r, error, kjson_str(j, "error_description"), cause);
    }
    (void)snprintf(cause, KMSG_CAUSE_MAX,
                   "the token endpoint answered %d without an error of its own", r->status);
    return KMSG_BAD;
}

/* A number, or a number as text: the shapes differ. */
static bool read_seconds(const json_t *j, const char *member, int64_t *out)
{
    const char *text = kjson_str(j, member);

    return kjson_i64(j, member, out) || (text && text_i64(slice_str(text), out));
}

static bool fits_header(const char *token)
{
    size_t len = strlen(token);

    if (len == 0 || len > KMSG_TOKEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] >= 0x7f)
            return false;
    return true;
}

static bool same_resource(const char *a, const char *b)
{
    size_t al = strlen(a), bl = strlen(b);

    al -= al > 0 && a[al - 1] == '/';
    bl -= bl > 0 && b[bl - 1] == '/';
    return al == bl && strncasecmp(a, b, al) == 0;
}

RC kmsg_token_read(const struct kmsg_reply *r, const char *resource, int64_t now_s,
                   struct buf *token, int64_t *lifetime_s, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err inner = { 0 };
    int64_t until, base = r->date_s ? r->date_s : now_s;

    *lifetime_s = 0;
    if (r->status != 200 || !r->is_json || kjson_load(r->body, ANSWER_DEPTH, &j, &inner).failed)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token endpoint's answer is not JSON with the status 200");
    const char *text = kjson_str(j, "access_token"), *type = kjson_str(j, "token_type"),
               *for_what = kjson_str(j, "resource");
    if (!text || !fits_header(text))
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token endpoint's answer has no token in it");
    if (type && strcasecmp(type, "Bearer") != 0)
        FAIL(e, ERR_KEY_BAD_ANSWER,
             "the token endpoint's answer has a token that is no bearer token");
    if (for_what && !same_resource(for_what, resource))
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token endpoint's answer has a token for another resource");
    if (read_seconds(j, "expires_on", &until))
        *lifetime_s = until > base ? until - base : 0;
    else if (!read_seconds(j, "expires_in", lifetime_s))
        FAIL(e, ERR_KEY_BAD_ANSWER,
             "the token endpoint's answer does not say how long its token lives");
    if (*lifetime_s <= 0)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the token endpoint's answer has a token that has expired");
    if (*lifetime_s > LIFETIME_MAX_S)
        *lifetime_s = LIFETIME_MAX_S;
    buf_push(token, text, strlen(text));
    return RC_OK;
}
