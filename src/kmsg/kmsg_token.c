/* kmsg_token.c - requests for tokens and their answers. See kmsg/kmsg_token.h; spec: managed identities, IMDS and App Service. */
#include "kmsg/kmsg_token.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"

enum { ANSWER_DEPTH = 4, LIFETIME_MAX_S = 7 * 86400 };

void kmsg_token_url(enum kmsg_token_source source, const char *endpoint, const char *resource,
                    const char *client_id, struct buf *out)
{
    static const char *const versions[] = { [KMSG_TOKEN_IMDS] = "2018-02-01",
                                            [KMSG_TOKEN_APP_SERVICE] = "2019-08-01",
                                            [KMSG_TOKEN_ARC] = "2020-06-01" };

    buf_printf(out, "%s%sapi-version=%s&resource=", endpoint, strchr(endpoint, '?') ? "&" : "?",
               versions[source]);
    kmsg_escape(slice_str(resource), out);
    if (*client_id) {
        buf_printf(out, "&client_id=");
        kmsg_escape(slice_str(client_id), out);
    }
}

void kmsg_token_form(const char *client_id, const char *resource, struct slice secret,
                     struct slice assertion, struct buf *out)
{
    size_t len = strlen(resource);

    buf_reserve(out, 512 + 3 * (strlen(client_id) + len + secret.len + assertion.len));
    buf_printf(out, "grant_type=client_credentials&client_id=");
    kmsg_escape(slice_str(client_id), out);
    buf_printf(out, "&scope=");
    kmsg_escape(SLICE(resource, len - (len > 0 && resource[len - 1] == '/')), out);
    buf_printf(out, "%%2F.default");
    if (secret.len > 0) {
        buf_printf(out, "&client_secret=");
        kmsg_escape(secret, out);
    } else {
        buf_printf(
            out,
            "&client_assertion_type=urn%%3Aietf%%3Aparams%%3Aoauth%%3Aclient-assertion-type%%3Ajwt-bearer&client_assertion=");
        kmsg_escape(assertion, out);
    }
}

bool kmsg_token_arc_file(const char *challenge, const char *dir, struct buf *path)
{
    static const char scheme[] = "Basic realm=", ending[] = ".key";
    size_t dir_len = strlen(dir);

    if (strncasecmp(challenge, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *from = challenge + sizeof scheme - 1;
    size_t len = strlen(from);
    if (len >= 2 && from[0] == '"' && from[len - 1] == '"') {
        from++;
        len -= 2;
    }
    while (dir_len > 1 && dir[dir_len - 1] == '/')
        dir_len--;
    if (len <= dir_len + sizeof ending || strncmp(from, dir, dir_len) != 0 || from[dir_len] != '/')
        return false;
    const char *name = from + dir_len + 1;
    size_t name_len = len - dir_len - 1;
    if (name_len <= sizeof ending - 1 || memchr(name, '/', name_len) || name[0] == '.' ||
        memcmp(name + name_len - (sizeof ending - 1), ending, sizeof ending - 1) != 0)
        return false;
    buf_push(path, from, len);
    return true;
}

/* The numbers by which Entra tells why (AADSTS...). What is in no row goes by status and error name. */
static const struct {
    int64_t number;
    enum kmsg_class class;
    const char *cause;
} entra[] = {
    { 700016, KMSG_DENIED, "the application is not in the tenant" },
    { 7000112, KMSG_DENIED, "the application is disabled" },
    { 7000215, KMSG_DENIED, "the client secret is wrong" },
    { 7000222, KMSG_DENIED, "the client secret has expired" },
    { 700027, KMSG_DENIED, "the certificate is not one of the application's" },
    { 70021, KMSG_DENIED, "no federated credential fits the token" },
    { 700211, KMSG_DENIED, "no federated credential fits the token's issuer" },
    { 700212, KMSG_DENIED, "no federated credential fits the token's audience" },
    { 700213, KMSG_DENIED, "no federated credential fits the token's subject" },
    { 90002, KMSG_DENIED, "the tenant is gone" },
    /* a clock that is wrong, here or there, takes no key away */
    { 700024, KMSG_BAD, "the assertion is not within its dates: look at the clock" },
    { 500011, KMSG_BAD, "the audience is not known in the tenant" },
    { 70011, KMSG_BAD, "the audience is malformed" },
    { 90033, KMSG_UNREACHABLE, "the token endpoint says that it is out of order for a while" },
};

static bool classify_number(const json_t *answer, enum kmsg_class *class, char *cause)
{
    const json_t *numbers = kjson_arr(answer, "error_codes");

    for (size_t i = 0; numbers && i < json_array_size(numbers); i++)
        for (size_t k = 0; k < ARRAY_LEN(entra); k++) {
            const json_t *n = json_array_get(numbers, i);
            if (!json_is_integer(n) || json_integer_value(n) != entra[k].number)
                continue;
            (void)snprintf(cause, KMSG_CAUSE_MAX, "%s (AADSTS%lld)", entra[k].cause,
                           (long long)entra[k].number);
            *class = entra[k].class;
            return true;
        }
    return false;
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
        enum kmsg_class class;
        if (error && classify_number(j, &class, cause))
            return class;
        if (error && strcmp(error, "temporarily_unavailable") == 0) {
            (void)snprintf(cause, KMSG_CAUSE_MAX, "the token endpoint is out of order for a while");
            return KMSG_UNREACHABLE;
        }
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
