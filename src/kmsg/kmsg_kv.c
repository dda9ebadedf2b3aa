/* kmsg_kv.c - Key Vault's URLs, bodies and answers. See kmsg/kmsg_kv.h; spec: Key Vault REST, keys. */
#include "kmsg/kmsg_kv.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "kmsg_priv.h"

enum { VERSION_DIGITS = 32 };

/* ---- where a key lives ---- */

static bool is_key_name(const char *s, size_t len)
{
    if (len < 1 || len >= KMSG_KEY_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '-')
            return false;
    return true;
}

/* "HOST[:PORT]" in lower case and without the default port. */
static bool copy_host(const char *s, size_t len, char out[KMSG_HOST_MAX])
{
    if (len < 1 || len >= KMSG_HOST_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (!isalnum(c) && c != '.' && c != '-' && c != ':' && c != '[' && c != ']')
            return false;
        out[i] = (char)tolower(c);
    }
    out[len] = 0;
    if (len > 4 && strcmp(out + len - 4, ":443") == 0)
        out[len - 4] = 0;
    return out[0] != 0;
}

/* Cuts "https://HOST/keys/NAME[/VERSION][/]" into its parts; version "" when there is none. */
static bool cut_url(const char *url, struct kmsg_kv_target *t, char version[KMSG_VERSION_MAX])
{
    static const char scheme[] = "https://", keys[] = "/keys/";

    version[0] = 0;
    if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *host = url + sizeof scheme - 1;
    size_t host_len = strcspn(host, "/?#@");
    const char *path = host + host_len;
    if (strncasecmp(path, keys, sizeof keys - 1) != 0 || !copy_host(host, host_len, t->host))
        return false;
    const char *name = path + sizeof keys - 1;
    size_t name_len = strcspn(name, "/");
    if (!is_key_name(name, name_len))
        return false;
    memcpy(t->key, name, name_len);
    t->key[name_len] = 0;
    const char *rest = name + name_len;
    if (*rest == 0 || strcmp(rest, "/") == 0)
        return true;
    rest++;
    if (strlen(rest) >= KMSG_VERSION_MAX || strspn(rest, "0123456789abcdefABCDEF") != strlen(rest))
        return false;
    memcpy(version, rest, strlen(rest) + 1);
    return true;
}

RC kmsg_kv_target(const char *url, struct kmsg_kv_target *out, struct err *e)
{
    char version[KMSG_VERSION_MAX], shown[128];

    memset(out, 0, sizeof *out);
    kmsg_printable(url, shown, sizeof shown);
    if (!cut_url(url, out, version)) {
        memset(out, 0, sizeof *out);
        FAIL(e, ERR_CONFIG, "\"%s\" is not the URL of a key: https://VAULT/keys/NAME is", shown);
    }
    if (*version) {
        memset(out, 0, sizeof *out);
        FAIL(e, ERR_CONFIG,
             "the URL of the key \"%s\" names a version: leave it out, the newest one is followed",
             shown);
    }
    return RC_OK;
}

void kmsg_kv_url(const struct kmsg_kv_target *t, const char *version, const char *op,
                 struct buf *out)
{
    buf_printf(out, "https://%s/keys/%s/%s%s%s?api-version=" KMSG_KV_API_VERSION, t->host, t->key,
               version, *op ? "/" : "", op);
}

void kmsg_kv_body(struct slice value, struct buf *out)
{
    buf_reserve(out, 64 + value.len * 2);
    buf_printf(out, "{\"alg\":\"RSA-OAEP-256\",\"value\":\"");
    base64url_encode(value, out);
    buf_push(out, "\"}", 2);
}

/* ---- what an answer means ---- */

/* The table of refusals. A row without inner code fits any: a vault that says Forbidden in its own words means it. */
static const struct {
    int status;
    const char *code, *inner;
    enum kmsg_class class;
    const char *cause;
} refusals[] = {
    { 403, "Forbidden", "ForbiddenByRbac", KMSG_DENIED,
      "the identity lacks a role with the permission" },
    { 403, "Forbidden", "AccessDenied", KMSG_DENIED, "the access policy lacks the permission" },
    { 403, "Forbidden", "ForbiddenByPolicy", KMSG_DENIED,
      "the access policy lacks the permission" },
    { 403, "Forbidden", "ForbiddenByFirewall", KMSG_DENIED,
      "the vault's firewall refuses this address" },
    { 403, "Forbidden", "ForbiddenByConnection", KMSG_DENIED,
      "the vault's network rules refuse this connection" },
    { 403, "Forbidden", "KeyDisabled", KMSG_DENIED, "the key is disabled" },
    { 403, "Forbidden", "KeyNotYetValid", KMSG_DENIED, "the key is not valid yet" },
    { 403, "Forbidden", "KeyExpired", KMSG_DENIED, "the key has expired" },
    { 403, "Forbidden", "KeyNotYetValidOrExpired", KMSG_DENIED,
      "the key is not valid yet or has expired" },
    { 403, "Forbidden", "KeyOperationForbidden", KMSG_DENIED,
      "the key's operations leave this one out" },
    { 403, "Forbidden", NULL, KMSG_DENIED, "the vault refuses" },
    /* a Managed HSM says it in the outer code */
    { 403, "AccessDenied", NULL, KMSG_DENIED, "the identity lacks a role on the HSM" },
    { 404, "KeyNotFound", NULL, KMSG_NOT_FOUND, "the key or its version is gone" },
    { 404, "VaultNotFound", NULL, KMSG_NOT_FOUND, "the vault is gone" },
};

/* "Action: 'Microsoft.KeyVault/vaults/keys/unwrap/action'" or "does not have keys unwrapKey permission": what is missing. */
static void find_permission(const char *message, char *out, size_t len)
{
    static const char rbac[] = "Action: '", policy[] = "does not have ";
    const char *from = strstr(message, rbac), *to;

    out[0] = 0;
    if (from) {
        from += sizeof rbac - 1;
        to = strchr(from, '\'');
    } else {
        from = strstr(message, policy);
        from = from ? from + sizeof policy - 1 : NULL;
        to = from ? strstr(from, " permission") : NULL;
    }
    if (!from || !to || to - from >= 100)
        return;
    AUTO(mem_freep) char *text = mem_strndup(from, (size_t)(to - from));
    kmsg_printable(text, out, len);
}

static enum kmsg_class classify_refusal(const struct kmsg_reply *r, const json_t *error,
                                        char cause[KMSG_CAUSE_MAX])
{
    const char *code = kjson_str(error, "code"), *message = kjson_str(error, "message");
    const char *inner = kjson_str(kjson_obj(error, "innererror"), "code");
    char permission[110] = "", shown[64] = "";

    for (size_t i = 0; code && i < ARRAY_LEN(refusals); i++) {
        if (refusals[i].status != r->status || strcasecmp(refusals[i].code, code) != 0)
            continue;
        if (refusals[i].inner && (!inner || strcasecmp(refusals[i].inner, inner) != 0))
            continue;
        if (message)
            find_permission(message, permission, sizeof permission);
        kmsg_printable(inner ? inner : code, shown, sizeof shown);
        (void)snprintf(cause, KMSG_CAUSE_MAX, "%s%s%s (%s)", refusals[i].cause,
                       *permission ? " " : "", permission, shown);
        return refusals[i].class;
    }
    kmsg_printable(code ? code : "", shown, sizeof shown);
    (void)snprintf(cause, KMSG_CAUSE_MAX,
                   "the vault answered %d %s, which is not in the table of refusals", r->status,
                   shown);
    return KMSG_BAD;
}

static enum kmsg_class classify_401(const struct kmsg_reply *r, const json_t *error,
                                    char cause[KMSG_CAUSE_MAX])
{
    const char *message = kjson_str(error, "message");
    char shown[160] = "no reason given";

    (void)r;
    if (message)
        kmsg_printable(message, shown, sizeof shown);
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the vault does not take the token: %s", shown);
    return KMSG_UNAUTHORIZED;
}

enum kmsg_class kmsg_kv_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err ignored = { 0 };

    cause[0] = 0;
    if (r->status == 200 && r->is_json)
        return KMSG_OK;
    if (r->status == 429) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the vault is over its limit");
        return KMSG_THROTTLED;
    }
    if (r->status == 408 || r->status >= 500) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the vault answered %d", r->status);
        return KMSG_UNREACHABLE;
    }
    if (r->is_json && kjson_load(r->body, KMSG_ANSWER_DEPTH, &j, &ignored).failed)
        j = NULL;
    const json_t *error = j ? kjson_obj(j, "error") : NULL;
    if (r->status == 401)
        return classify_401(r, error, cause);
    if (error)
        return classify_refusal(r, error, cause);
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the vault answered %d without an error of its own",
                   r->status);
    return KMSG_BAD;
}

/* ---- answers of class KMSG_OK ---- */

/* The answer must speak of the key that was asked about. */
static RC check_kid(const char *kid, const struct kmsg_kv_target *t, const char *version,
                    char found[KMSG_VERSION_MAX], struct err *e)
{
    struct kmsg_kv_target said = { 0 };

    if (!kid)
        return kmsg__bad(e, "names no key");
    if (!cut_url(kid, &said, found))
        return kmsg__bad(e, "names a key whose id cannot be read");
    if (strcmp(said.host, t->host) != 0)
        return kmsg__bad(e, "names a key of another vault");
    if (strcasecmp(said.key, t->key) != 0)
        return kmsg__bad(e, "names another key");
    if (strlen(found) != VERSION_DIGITS)
        return kmsg__bad(e, "names no version of the key");
    if (*version && strcasecmp(version, found) != 0)
        return kmsg__bad(e, "names another version of the key");
    return RC_OK;
}

static bool read_number(const json_t *key, const char *member, uint8_t *out, uint32_t max,
                        uint32_t *len)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    const char *text = kjson_str(key, member);
    size_t skip = 0;

    if (!text || strlen(text) > 4 * (size_t)max || !base64url_decode(slice_str(text), &b))
        return false;
    while (skip < b.len && b.p[skip] == 0)
        skip++;
    if (b.len == skip || b.len - skip > max)
        return false;
    memcpy(out, b.p + skip, b.len - skip);
    *len = (uint32_t)(b.len - skip);
    return true;
}

static RC read_attributes(const json_t *bundle, struct kmsg_kv_key *out, struct err *e)
{
    const json_t *a = kjson_obj(bundle, "attributes");
    const char *level = kjson_str(a, "recoveryLevel"),
               *tag = kjson_str(kjson_obj(bundle, "tags"), KMSG_KV_GRACE_TAG);

    if (!a || !kjson_bool(a, "enabled", &out->enabled))
        return kmsg__bad(e, "does not say whether the key is enabled");
    if (kjson_has(a, "nbf") && (!kjson_i64(a, "nbf", &out->not_before_s) || out->not_before_s < 0))
        return kmsg__bad(e, "has a start date that is no date");
    if (kjson_has(a, "exp") && (!kjson_i64(a, "exp", &out->expires_s) || out->expires_s < 0))
        return kmsg__bad(e, "has an end date that is no date");
    if (level)
        kmsg_printable(level, out->recovery_level, sizeof out->recovery_level);
    if (tag) {
        out->has_grace = kmsg__read_duration(tag, &out->grace_ms);
        out->grace_malformed = !out->has_grace;
    }
    return RC_OK;
}

static RC read_jwk(const json_t *key, struct kmsg_kv_key *out, struct err *e)
{
    const char *kty = kjson_str(key, "kty");
    const json_t *ops = kjson_arr(key, "key_ops");

    if (!kty || !*kty)
        return kmsg__bad(e, "does not say of what type the key is");
    kmsg_printable(kty, out->kty, sizeof out->kty);
    if (strcmp(kty, "RSA") != 0 && strcmp(kty, "RSA-HSM") != 0)
        return RC_OK; /* the rest of it is told all the same */
    out->is_rsa = true;
    if (!read_number(key, "n", out->n, sizeof out->n, &out->n_len) ||
        !read_number(key, "e", out->e, sizeof out->e, &out->e_len))
        return kmsg__bad(e, "has no public RSA key in it");
    if (out->n_len != 256 && out->n_len != 384 && out->n_len != 512)
        return kmsg__bad(e, "describes a key that has not 2048, 3072 or 4096 bits");
    for (size_t i = 0; ops && i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));
        out->can_wrap |= op && strcmp(op, "wrapKey") == 0;
        out->can_unwrap |= op && strcmp(op, "unwrapKey") == 0;
    }
    return RC_OK;
}

RC kmsg_kv_read_key(const struct kmsg_reply *r, const struct kmsg_kv_target *t, const char *version,
                    struct kmsg_kv_key *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct kmsg_kv_key k = { 0 };

    memset(out, 0, sizeof *out);
    TRY(kmsg__load(r, &j, e));
    const json_t *key = kjson_obj(j, "key");
    const char *kid = kjson_str(key, "kid");
    TRY(check_kid(kid, t, version, k.version, e));
    kmsg_printable(kid, k.kid, sizeof k.kid);
    TRY(read_jwk(key, &k, e));
    TRY(read_attributes(j, &k, e));
    *out = k;
    return RC_OK;
}

RC kmsg_kv_read_tag(const struct kmsg_reply *r, const struct kmsg_kv_target *t, const char *version,
                    const char *name, char found[KMSG_VERSION_MAX], char *value, size_t len,
                    struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    value[0] = '\0';
    TRY(kmsg__load(r, &j, e));
    TRY(check_kid(kjson_str(kjson_obj(j, "key"), "kid"), t, version, found, e));
    const char *text = kjson_str(kjson_obj(j, "tags"), name);
    if (text && strlen(text) < len)
        memcpy(value, text, strlen(text) + 1);
    return RC_OK;
}

RC kmsg_kv_tags_body(const struct kmsg_reply *r, const char *name, const char *value,
                     struct buf *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    AUTO(kjson_freep) json_t *body = json_object();

    TRY(kmsg__load(r, &j, e));
    const json_t *theirs = kjson_obj(j, "tags");
    if (json_object_set_new(body, "tags", theirs ? json_deep_copy(theirs) : json_object()) != 0 ||
        json_object_set_new(json_object_get(body, "tags"), name, json_string(value)) != 0)
        return kmsg__bad(e, "has tags that cannot be sent back");
    buf_clear(out);
    kjson_dump(body, out);
    return RC_OK;
}

static RC read_value(const struct kmsg_reply *r, const struct kmsg_kv_target *t,
                     const char *version, uint32_t len, struct buf *value, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    char found[KMSG_VERSION_MAX];

    TRY(kmsg__load(r, &j, e));
    TRY(check_kid(kjson_str(j, "kid"), t, version, found, e));
    const char *text = kjson_str(j, "value");
    size_t at = value->len;
    buf_reserve(value, len + 4);
    if (!text || strlen(text) != ((size_t)len * 4 + 2) / 3 ||
        !base64url_decode(slice_str(text), value) || value->len - at != len) {
        if (value->len > at)
            mem_wipe(value->p + at, value->len - at);
        value->len = at;
        return kmsg__bad(e, "has a value of another length or form than asked for");
    }
    return RC_OK;
}

RC kmsg_kv_read_wrapped(const struct kmsg_reply *r, const struct kmsg_kv_target *t,
                        const char *version, uint32_t len, struct buf *value, struct err *e)
{
    return read_value(r, t, version, len, value, e);
}

RC kmsg_kv_read_unwrapped(const struct kmsg_reply *r, const struct kmsg_kv_target *t,
                          const char *version, uint32_t len, struct buf *value, struct err *e)
{
    size_t at = value->len;
    uint8_t any = 0;

    TRY(read_value(r, t, version, len, value, e));
    for (size_t i = at; i < value->len; i++)
        any |= value->p[i];
    if (any == 0) {
        value->len = at;
        return kmsg__bad(e, "has a value of zeros only");
    }
    return RC_OK;
}
