/* kmsg_transit.c - see kmsg/kmsg_transit.h; spec: Vault's HTTP API, "Transit secrets engine", "AppRole", "Kubernetes", "JWT", "TLS certificates". */
#include "kmsg/kmsg_transit.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "kmsg/kmsg_token.h"
#include "kmsg_priv.h"

enum { LIFETIME_MAX_S = 7 * 86400, LIFETIME_ENDLESS_S = 86400 };

/* ---- where a key lives ---- */

/* Copies the part if it is not empty and has only letters, digits, '-', '_', '.' and what more allows. */
static bool copy_part(const char *s, size_t len, const char *more, char out[KMSG_TRANSIT_TEXT_MAX])
{
    if (len < 1 || len >= KMSG_TRANSIT_TEXT_MAX || s[0] == '/' || s[len - 1] == '/')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]) && !strchr(more, s[i]))
            return false;
        if (i > 0 && s[i - 1] == '.' && s[i] == '.')
            return false;
    }
    memcpy(out, s, len);
    out[len] = 0;
    return true;
}

static bool cut_url(const char *url, struct kmsg_transit_target *t)
{
    static const char scheme[] = "vault://", query[] = "?namespace=";

    if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *host = url + sizeof scheme - 1;
    size_t host_len = strcspn(host, "/");
    const char *path = host + host_len;
    if (*path != '/' || !copy_part(host, host_len, ":[]", t->host))
        return false;
    path++;
    size_t path_len = strcspn(path, "?");
    if (path[path_len] && (strncmp(path + path_len, query, sizeof query - 1) != 0 ||
                           !copy_part(path + path_len + sizeof query - 1,
                                      strlen(path + path_len + sizeof query - 1), "/", t->ns)))
        return false;
    size_t name = path_len;
    while (name > 0 && path[name - 1] != '/')
        name--;
    for (char *c = t->host; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return name > 1 && copy_part(path, name - 1, "/", t->mount) &&
           copy_part(path + name, path_len - name, "", t->key);
}

RC kmsg_transit_target(const char *url, struct kmsg_transit_target *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (cut_url(url, out))
        return RC_OK;
    memset(out, 0, sizeof *out);
    return kmsg__bad_url(e, url, "a transit key: vault://HOST:PORT/MOUNT/NAME is");
}

bool kmsg_transit_is_version(const char *v)
{
    size_t len = strlen(v);

    return len >= 1 && len <= 9 && v[0] != '0' && strspn(v, "0123456789") == len;
}

/* ---- requests ---- */

void kmsg_transit_url(const struct kmsg_transit_target *t, const char *what, struct buf *out)
{
    buf_printf(out, "https://%s/v1/%s/%s/%s", t->host, t->mount, what, t->key);
}

void kmsg_transit_login_url(const struct kmsg_transit_target *t, const char *mount, struct buf *out)
{
    buf_printf(out, "https://%s/v1/%s/login", t->host, mount);
}

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.len > 0;
}

static void push_member(const char *name, struct slice value, struct buf *out)
{
    buf_printf(out, "\"%s\":\"", name);
    buf_push(out, value.p, value.len);
    buf_push_u8(out, '"');
}

RC kmsg_transit_login_body(const char *a, const char *b, const char *c, struct slice d,
                           struct buf *out, struct err *e)
{
    if (!is_plain(slice_str(b)) || (c && !is_plain(d)))
        FAIL(e, ERR_CONFIG, "the role or the credential has characters that none has");
    buf_reserve(out, 64 + strlen(a) + strlen(b) + d.len);
    buf_push_u8(out, '{');
    push_member(a, slice_str(b), out);
    if (c) {
        buf_push_u8(out, ',');
        push_member(c, d, out);
    }
    buf_push_u8(out, '}');
    return RC_OK;
}

void kmsg_transit_encrypt_body(struct slice plain, const char *version, struct buf *out)
{
    buf_reserve(out, 96 + 2 * plain.len);
    buf_printf(out, "{\"plaintext\":\"");
    base64_encode(plain, out);
    buf_printf(out, "\",\"key_version\":%s}", version);
}

void kmsg_transit_decrypt_body(struct slice ciphertext, struct buf *out)
{
    buf_reserve(out, 64 + ciphertext.len);
    buf_push_u8(out, '{');
    push_member("ciphertext", ciphertext, out);
    buf_push_u8(out, '}');
}

void kmsg_transit_config_body(int64_t least, struct buf *out)
{
    buf_printf(out, "{\"min_decryption_version\":%lld}", (long long)least);
}

/* ---- what an answer means ---- */

/* The first of the answer's errors, "" when there is none; false when the answer has not the form of an error of Vault's own. */
static bool read_error(const struct kmsg_reply *r, char *out, size_t len)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err ignored = { 0 };

    out[0] = 0;
    if (!r->is_json || kjson_load(r->body, KMSG_ANSWER_DEPTH, &j, &ignored).failed)
        return false;
    const json_t *errors = kjson_arr(j, "errors");
    const char *first = errors ? json_string_value(json_array_get(errors, 0)) : NULL;
    if (first)
        kmsg_printable(first, out, len);
    return errors != NULL;
}

/* What every path can be answered with. false: none of these. */
static bool classify_common(const struct kmsg_reply *r, enum kmsg_class *class, char *cause)
{
    /* 204: an operation that has nothing to say; the readers take none */
    if ((r->status == 200 && r->is_json) || r->status == 204) {
        *class = KMSG_OK;
        return true;
    }
    if (r->status == 429) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the vault is over its limit");
        *class = KMSG_THROTTLED;
        return true;
    }
    /* 412: a node that lags behind; 472, 473: standby nodes */
    if (r->status == 408 || r->status == 412 || r->status == 472 || r->status == 473 ||
        r->status >= 500) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the vault answered %d%s", r->status,
                       r->status == 503 ? ": it is sealed or down for maintenance" : "");
        *class = KMSG_UNREACHABLE;
        return true;
    }
    return false;
}

/* The table of refusals: the words are those of Vault's and OpenBao's source. */
struct refusal {
    int status;
    const char *words; /* part of the first error; NULL: no error at all */
    enum kmsg_class class;
    const char *cause;
};

static enum kmsg_class classify(const struct kmsg_reply *r, const struct refusal *table, size_t n,
                                char cause[KMSG_CAUSE_MAX])
{
    enum kmsg_class class;
    char said[160];

    cause[0] = 0;
    if (classify_common(r, &class, cause))
        return class;
    if (!read_error(r, said, sizeof said)) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the vault answered %d without an error of its own",
                       r->status);
        return KMSG_BAD;
    }
    for (size_t i = 0; i < n; i++) {
        const char *words = table[i].words;
        if (table[i].status != r->status || (words ? !strcasestr(said, words) : *said != 0))
            continue;
        (void)snprintf(cause, KMSG_CAUSE_MAX, "%s", table[i].cause);
        return table[i].class;
    }
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the vault answered %d: %s", r->status, said);
    return KMSG_BAD;
}

enum kmsg_class kmsg_transit_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    static const struct refusal table[] = {
        { 403, "permission denied", KMSG_UNAUTHORIZED,
          "the token's policies lack the permission, or the token is gone" },
        { 404, NULL, KMSG_NOT_FOUND, "the key is gone" },
        { 404, "no handler for route", KMSG_NOT_FOUND, "the transit engine is gone" },
        { 400, "encryption key not found", KMSG_NOT_FOUND, "the key is gone" },
        { 400, "disallowed by policy (too old)", KMSG_DENIED,
          "the key's version is below min_decryption_version" },
        { 400, "less than the minimum encryption key version", KMSG_DENIED,
          "the key's version is below min_encryption_version" },
    };

    return classify(r, table, ARRAY_LEN(table), cause);
}

enum kmsg_class kmsg_transit_classify_login(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    static const struct refusal table[] = {
        { 403, "permission denied", KMSG_DENIED, "the vault refuses the login" },
        { 400, "invalid role", KMSG_DENIED, "the vault does not know the role or its secret id" },
        { 400, "invalid secret id", KMSG_DENIED, "the vault does not know the secret id" },
        { 400, "could not be found", KMSG_DENIED, "the vault does not know the role" },
        { 404, "no handler for route", KMSG_NOT_FOUND, "the vault's auth method is gone" },
    };

    return classify(r, table, ARRAY_LEN(table), cause);
}

/* ---- answers of class KMSG_OK ---- */

static RC read_type(const json_t *data, int *bits, struct err *e)
{
    static const struct {
        const char *type;
        int bits;
    } types[] = {
        { "aes256-gcm96", 256 }, { "chacha20-poly1305", 256 }, { "xchacha20-poly1305", 256 },
        { "rsa-2048", 2048 },    { "rsa-3072", 3072 },         { "rsa-4096", 4096 },
    };
    const char *type = kjson_str(data, "type");
    bool derived = false;

    (void)kjson_bool(data, "derived", &derived);
    if (derived)
        FAIL(e, ERR_CONFIG, "the transit key derives a key for each context: make one without");
    for (size_t i = 0; type && i < ARRAY_LEN(types); i++)
        if (strcmp(type, types[i].type) == 0) {
            *bits = types[i].bits;
            return RC_OK;
        }
    if (!type)
        return kmsg__bad(e, "does not say what kind of key it is");
    FAIL(
        e, ERR_CONFIG,
        "the transit key is none of aes256-gcm96, chacha20-poly1305, rsa-2048, rsa-3072 and rsa-4096");
}

RC kmsg_transit_read_key(const struct kmsg_reply *r, const char *version,
                         struct kmsg_transit_key *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct kmsg_transit_key k = { 0 };
    int64_t newest, least_decrypt, least_encrypt, v;

    memset(out, 0, sizeof *out);
    TRY(kmsg__load(r, &j, e));
    const json_t *data = kjson_obj(j, "data");
    if (!kjson_i64(data, "latest_version", &newest) ||
        !kjson_i64(data, "min_decryption_version", &least_decrypt) ||
        !kjson_i64(data, "min_encryption_version", &least_encrypt) || newest < 1 ||
        newest > 999999999)
        return kmsg__bad(e, "does not say which versions the key has");
    TRY(read_type(data, &k.bits, e));
    if (!text_i64(slice_str(version), &v))
        v = newest;
    if (v < 1 || v > newest)
        FAIL(e, ERR_KEY_NOT_FOUND, "the key has no version %lld", (long long)v);
    (void)snprintf(k.version, sizeof k.version, "%lld", (long long)v);
    k.number = v;
    k.newest = newest;
    k.enabled = v >= least_decrypt;
    k.can_wrap = least_encrypt == 0 ? v == newest || v >= least_decrypt : v >= least_encrypt;
    *out = k;
    return RC_OK;
}

RC kmsg_transit_read_login(const struct kmsg_reply *r, struct buf *token, int64_t *lifetime_s,
                           struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    *lifetime_s = 0;
    TRY(kmsg__load(r, &j, e));
    const json_t *auth = kjson_obj(j, "auth");
    const char *text = kjson_str(auth, "client_token");
    if (!text || strlen(text) > KMSG_TOKEN_MAX || !is_plain(slice_str(text)) || strchr(text, ' '))
        return kmsg__bad(e, "to the login has no token in it");
    if (!kjson_i64(auth, "lease_duration", lifetime_s) || *lifetime_s < 0)
        return kmsg__bad(e, "to the login does not say how long its token lives");
    if (*lifetime_s == 0) /* "does not expire" */
        *lifetime_s = LIFETIME_ENDLESS_S;
    *lifetime_s = MIN(*lifetime_s, (int64_t)LIFETIME_MAX_S);
    buf_push(token, text, strlen(text));
    return RC_OK;
}

bool kmsg_transit_is_ciphertext(struct slice text, const char *version)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    char start[32];
    int n = snprintf(start, sizeof start, "vault:v%s:", version);

    return n > 0 && (size_t)n < sizeof start && text.len > (size_t)n &&
           text.len <= KMSG_TRANSIT_CIPHER_MAX && memcmp(text.p, start, (size_t)n) == 0 &&
           base64_decode(SLICE(text.p + n, text.len - (size_t)n), &bytes) && bytes.len > 0;
}

RC kmsg_transit_read_ciphertext(const struct kmsg_reply *r, const char *version, struct buf *out,
                                struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    TRY(kmsg__load(r, &j, e));
    const char *text = kjson_str(kjson_obj(j, "data"), "ciphertext");
    if (!text || !kmsg_transit_is_ciphertext(slice_str(text), version))
        return kmsg__bad(e, "has no ciphertext of the version that was asked for");
    buf_push(out, text, strlen(text));
    return RC_OK;
}

RC kmsg_transit_read_plaintext(const struct kmsg_reply *r, uint32_t len, struct buf *out,
                               struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    TRY(kmsg__load(r, &j, e));
    return kmsg__read_plaintext(kjson_str(kjson_obj(j, "data"), "plaintext"), len, out, e);
}
