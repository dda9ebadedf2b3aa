/* kms_transit.c - the transit engine of HashiCorp Vault and OpenBao as a key provider. See kms/kms.h, kmsg/kmsg_transit.h.
 *
 * The key never leaves the engine; a wrap is an encryption by exactly one version, which the ciphertext names. How the node proves itself
 * (token-source): a token that Vault's agent keeps fresh in a file, an AppRole, a Kubernetes or other JWT, a TLS client certificate.
 * Vault answers 403 alike for a token that is gone and for a permission that is lacking: so the first 403 costs the token, and only the
 * second, with a new one, is a denial.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "http/http_client.h"
#include "kms_priv.h"
#include "kmsg/kmsg_transit.h"

#define ALG "vault-transit"

enum { FILE_LIFE_S = 60 };

enum login { LOGIN_FILE, LOGIN_APPROLE, LOGIN_KUBERNETES, LOGIN_JWT, LOGIN_CERT };

struct kms_transit {
    struct kms_remote remote; /* first */
    struct kmsg_transit_target target;
    enum login login;
    char *mount, *role, *file;
    char *ns_header;        /* NULL: no namespace */
    struct kms_cache token; /* "X-Vault-Token: ..." */
};

static struct kms_transit *transit_of(struct kms_remote *r)
{
    return CONTAINER_OF(r, struct kms_transit, remote);
}

/* ---- the token ---- */

static RC login_body(const struct kms_transit *t, struct buf *body, struct err *e)
{
    AUTO(buf_wipe) struct buf proof = BUF_INIT;
    struct slice none = { 0 };

    if (t->login == LOGIN_CERT)
        return kmsg_transit_login_body("name", t->role, NULL, none, body, e);
    TRY(kms__read_line(t->file, &proof, e));
    if (t->login == LOGIN_APPROLE)
        return kmsg_transit_login_body("role_id", t->role, "secret_id", buf_view(&proof), body, e);
    return kmsg_transit_login_body("role", t->role, "jwt", buf_view(&proof), body, e);
}

static RC login(struct kms_transit *t, uint64_t deadline_us, struct buf *token, int64_t *lifetime_s,
                struct err *e)
{
    AUTO(buf_wipe) struct buf body = BUF_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    const char *headers[] = { "X-Vault-Request: true", t->ns_header, NULL };
    char cause[KMSG_CAUSE_MAX];

    TRY(login_body(t, &body, e));
    kmsg_transit_login_url(&t->target, t->mount, &url);
    struct http_call q = {
        .method = "POST",
        .url = buf_cstr(&url),
        .headers = headers,
        .body = buf_view(&body),
        .content_type = "application/json",
        .deadline_us = deadline_us,
    };
    http_client_call(t->remote.http, &q, &a);
    if (a.outcome != HTTP_OUT_ANSWER)
        return kms__no_answer(e, "vault", &a);
    struct kmsg_reply r = kms__reply(&a);
    enum kmsg_class class = kmsg_transit_classify_login(&r, cause);
    return class == KMSG_OK ? kmsg_transit_read_login(&r, token, lifetime_s, e)
                            : kms__fail(e, class, cause);
}

static RC fetch(void *arg, uint64_t deadline_us, struct buf *text, int64_t *lifetime_s,
                struct err *e)
{
    struct kms_transit *t = arg;
    AUTO(buf_wipe) struct buf token = BUF_INIT;

    if (t->login == LOGIN_FILE) {
        TRY(kms__read_line(t->file, &token, e));
        *lifetime_s = FILE_LIFE_S; /* the agent renews it in place */
    } else {
        TRY(login(t, deadline_us, &token, lifetime_s, e));
    }
    buf_reserve(text, token.len + 32);
    buf_printf(text, "X-Vault-Token: ");
    buf_push(text, token.p, token.len);
    return RC_OK;
}

static RC transit_headers(struct kms_remote *remote, const struct kms_exchange *x,
                          const char *out[KMS_HEADERS_MAX], struct err *e)
{
    struct kms_transit *t = transit_of(remote);

    TRY(kms__cache_get(&t->token, fetch, t, x->deadline_us, e));
    out[0] = buf_cstr(&t->token.text);
    out[1] = "X-Vault-Request: true";
    out[2] = t->ns_header;
    return RC_OK;
}

static void transit_drop(struct kms_remote *remote)
{
    kms__cache_drop(&transit_of(remote)->token);
}

/* ---- the provider ---- */

static RC read_key(struct kms_transit *t, const char *version, uint64_t deadline_us,
                   struct kmsg_transit_key *out, int64_t *date_s, struct err *e)
{
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;

    kmsg_transit_url(&t->target, "keys", &url);
    struct kms_exchange x = { .method = "GET", .url = buf_cstr(&url), .deadline_us = deadline_us };
    TRY(kms__exchange(&t->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    *date_s = a.date_s ? a.date_s : clock_real_s();
    return kmsg_transit_read_key(&r, version, out, e);
}

static RC transit_get_key(struct kms_remote *remote, const char *version, uint64_t deadline_us,
                          struct key_info *out, struct err *e)
{
    struct kms_transit *t = transit_of(remote);
    struct kmsg_transit_key k;
    const struct slice id[] = { SLICE_LIT(ALG ":"), slice_str(t->remote.shown) };

    TRY(read_key(t, version, deadline_us, &k, &out->server_date_s, e));
    (void)snprintf(out->version, sizeof out->version, "%s", k.version);
    (void)snprintf(out->kid, sizeof out->kid, "%s:v%s", t->remote.shown, k.version);
    (void)snprintf(out->kty, sizeof out->kty, "%s", k.bits == 256 ? "oct-HSM" : "RSA-HSM");
    out->bits = k.bits;
    out->enabled = k.enabled;
    out->can_wrap = k.can_wrap;
    out->can_unwrap = true;
    /* no recovery level: the engine has no soft delete */
    /* there is no public half: the key is the same when its place is */
    return sha256(id, 2, out->public_sha256, e);
}

static RC transit_wrap(struct kms_remote *remote, const char *version, const struct secret *plain,
                       uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct kms_transit *t = transit_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    AUTO(buf_wipe) struct buf body = BUF_INIT;
    AUTO(buf_fini) struct buf value = BUF_INIT;
    struct kmsg_transit_key k;
    int64_t date_s;

    /* read first: Vault makes a key that is not there when it is asked to encrypt with it by whom may create keys */
    TRY(read_key(t, version, deadline_us, &k, &date_s, e));
    kmsg_transit_encrypt_body(SLICE(secret_view(plain), secret_len(plain)), k.version, &body);
    kmsg_transit_url(&t->target, "encrypt", &url);
    struct kms_exchange x = {
        .method = "POST", .url = buf_cstr(&url), .body = buf_view(&body), .deadline_us = deadline_us
    };
    TRY(kms__exchange(&t->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_transit_read_ciphertext(&r, k.version, &value, e));
    _Static_assert((int)KMSG_TRANSIT_CIPHER_MAX <= (int)WRAP_MAX, "the longest answer fits");
    (void)snprintf(out->version, sizeof out->version, "%s", k.version);
    (void)snprintf(out->alg, sizeof out->alg, ALG);
    memcpy(out->bytes, value.p, value.len);
    out->len = (uint32_t)value.len;
    return RC_OK;
}

static RC transit_unwrap(struct kms_remote *remote, const struct wrapped_key *w, bool fresh,
                         uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct kms_transit *t = transit_of(remote);
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT;
    AUTO(buf_wipe) struct buf value = BUF_INIT;

    if (!kmsg_transit_is_ciphertext(SLICE(w->bytes, w->len), w->version))
        FAIL(e, ERR_BAD_VALUE, "the wrapped key is not a ciphertext of version %s", w->version);
    kmsg_transit_decrypt_body(SLICE(w->bytes, w->len), &body);
    kmsg_transit_url(&t->target, "decrypt", &url);
    struct kms_exchange x = {
        .method = "POST",
        .url = buf_cstr(&url),
        .body = buf_view(&body),
        .fresh = fresh,
        .deadline_us = deadline_us,
    };
    TRY(kms__exchange(&t->remote, &x, &a, e));
    struct kmsg_reply r = kms__reply(&a);
    TRY(kmsg_transit_read_plaintext(&r, KMS_PLAIN_LEN, &value, e));
    return secret_from(value.p, value.len, out, e);
}

/* One of the engine's operations on the key that answer nothing that is needed: "keys/NAME/" and what. */
static RC operate(struct kms_transit *t, const char *what, const struct buf *body,
                  uint64_t deadline_us, struct err *e)
{
    AUTO(http_answer_fini) struct http_answer a = HTTP_ANSWER_INIT;
    AUTO(buf_fini) struct buf url = BUF_INIT;

    kmsg_transit_url(&t->target, "keys", &url);
    buf_printf(&url, "/%s", what);
    struct kms_exchange x = {
        .method = "POST", .url = buf_cstr(&url), .body = buf_view(body), .deadline_us = deadline_us
    };
    return kms__exchange(&t->remote, &x, &a, e);
}

/* The least version that decrypts is raised above this one, or lowered to it. It can be no higher than the newest version: above that one
 * there is room after a rotation alone. What the engine then says of the key is what counts. */
static RC transit_set_enabled(struct kms_remote *remote, const char *version, bool enabled,
                              uint64_t deadline_us, struct err *e)
{
    struct kms_transit *t = transit_of(remote);
    AUTO(buf_fini) struct buf body = BUF_INIT, none = BUF_INIT;
    struct kmsg_transit_key k;
    int64_t date_s;

    TRY(read_key(t, version, deadline_us, &k, &date_s, e));
    if (k.enabled == enabled)
        return RC_OK;
    int64_t v = k.number;
    buf_printf(&none, "{}");
    if (!enabled && v == k.newest)
        TRY(operate(t, "rotate", &none, deadline_us, e));
    kmsg_transit_config_body(enabled ? v : v + 1, &body);
    TRY(operate(t, "config", &body, deadline_us, e));
    TRY(read_key(t, version, deadline_us, &k, &date_s, e));
    if (k.enabled != enabled)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the vault says that version %s is %s after all", version,
             k.enabled ? "enabled" : "disabled");
    return RC_OK;
}

static bool is_alg(const char *alg)
{
    return strcmp(alg, ALG) == 0;
}

static void transit_free(struct kms_remote *remote)
{
    struct kms_transit *t = transit_of(remote);

    kms__cache_drop(&t->token);
    mem_free(t->mount);
    mem_free(t->role);
    mem_free(t->file);
    mem_free(t->ns_header);
    mem_free(t);
}

static const struct kms_remote_ops ops = {
    .name = "vault-transit",
    .is_version = kmsg_transit_is_version,
    .is_alg = is_alg,
    .get_key = transit_get_key,
    .wrap = transit_wrap,
    .unwrap = transit_unwrap,
    .set_enabled = transit_set_enabled,
    .free = transit_free,
    .headers = transit_headers,
    .drop = transit_drop,
    .classify = kmsg_transit_classify,
    .second_refusal_denies = true,
};

static RC read_login(struct kms_transit *t, const struct kms_config *c, struct err *e)
{
    static const struct {
        const char *name, *mount;
        bool has_role;
    } logins[] = {
        [LOGIN_FILE] = { "token-file", "", false },
        [LOGIN_APPROLE] = { "approle", "auth/approle", true },
        [LOGIN_KUBERNETES] = { "kubernetes", "auth/kubernetes", true },
        [LOGIN_JWT] = { "jwt", "auth/jwt", true },
        [LOGIN_CERT] = { "cert", "auth/cert", true },
    };

    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        if (strcmp(c->token_source, logins[i].name) != 0)
            continue;
        t->login = (enum login)i;
        t->mount = mem_strdup(*c->token_endpoint ? c->token_endpoint : logins[i].mount);
        t->role = mem_strdup(c->client_id);
        t->file = mem_strdup(c->token_secret_file);
        if (!*t->file || (logins[i].has_role && !*t->role))
            FAIL(e, ERR_CONFIG, "the token source %s needs token-secret-file%s", logins[i].name,
                 logins[i].has_role ? " and client-id, the role" : "");
        if (*c->token_endpoint && (strncmp(t->mount, "auth/", 5) != 0 || strchr(t->mount, '?') ||
                                   strstr(t->mount, "..") || !kms__is_line(t->mount)))
            FAIL(e, ERR_CONFIG,
                 "the token endpoint of a Vault is the path of its auth method: auth/NAME");
        return RC_OK;
    }
    FAIL(
        e, ERR_CONFIG,
        "the token source for a key in Vault is token-file, approle, kubernetes, jwt or cert, not \"%.60s\"",
        c->token_source);
}

static RC setup(struct kms_transit *t, const struct kms_config *c, const char *url, struct err *e)
{
    TRY(kmsg_transit_target(url, &t->target, e));
    t->remote.shown = mem_printf("%s/%s/%s", t->target.host, t->target.mount, t->target.key);
    if (strlen(t->remote.shown) + sizeof ":v999999999" > sizeof(((struct key_info *)0)->kid))
        FAIL(e, ERR_CONFIG, "the key's URL is too long: host, mount and name have %zu characters",
             strlen(t->remote.shown));
    if (*t->target.ns)
        t->ns_header = mem_printf("X-Vault-Namespace: %s", t->target.ns);
    TRY(read_login(t, c, e));
    struct http_client_config hc = {
        .ca_file = c->ca_file,
        .proxy = c->proxy,
        .cert_file = t->login == LOGIN_CERT ? t->file : NULL,
    };
    return http_client_new(&hc, &t->remote.http, e);
}

RC kms__transit_new(const struct kms_config *c, const char *url, struct key_provider **out,
                    struct err *e)
{
    struct kms_transit *t = NEW(struct kms_transit);

    *out = NULL;
    kms__remote_init(&t->remote, &ops);
    if (setup(t, c, url, e).failed) {
        t->remote.table.free(&t->remote.table);
        return RC_FAILED;
    }
    *out = &t->remote.table;
    return RC_OK;
}
