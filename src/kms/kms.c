/* kms.c - the table of providers, and what they share: how an answer, or none, becomes an error. See kms/kms.h. */
#include "kms/kms.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "http/http_client.h"
#include "kms_priv.h"
#include "kmsg/kjson.h"

enum { OWN_FILE_MAX = 65536 };

RC kms_init(bool wiping, struct err *e)
{
    if (wiping)
        kjson_wiping();
    return http_client_global_init(wiping, e);
}

/* ---- the table ---- */

static RC make_azure(const struct kms_config *c, const char *url, struct key_provider **out,
                     struct err *e)
{
    static const struct {
        const char *name;
        enum kms_token_source source;
    } sources[] = {
        { "imds", KMS_TOKEN_IMDS },
        { "app-service", KMS_TOKEN_APP_SERVICE },
        { "arc", KMS_TOKEN_ARC },
        { "workload", KMS_TOKEN_WORKLOAD },
        { "client-secret", KMS_TOKEN_CLIENT_SECRET },
        { "client-certificate", KMS_TOKEN_CLIENT_CERTIFICATE },
    };
    struct kms_azure_config a = {
        .key_url = url,
        .ca_file = c->ca_file,
        .proxy = c->proxy,
        .audience = c->audience,
        .token_endpoint = c->token_endpoint,
        .token_secret_file = c->token_secret_file,
        .client_id = c->client_id,
        .tenant_id = c->tenant_id,
    };

    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        if (strcmp(c->token_source, sources[i].name) == 0) {
            a.token_source = sources[i].source;
            return kms_azure_new(&a, out, e);
        }
    FAIL(
        e, ERR_CONFIG,
        "the token source for a key in Azure is imds, app-service, arc, workload, client-secret or client-certificate, not \"%.60s\"",
        c->token_source);
}

static void by_hand_azure(const char *url, const char *version, struct buf *out)
{
    buf_printf(out, "az keyvault key set-attributes --enabled true --id %s/%s", url, version);
}

/* A provider is a row here, its file, and its dialect in kmsg. */
static const struct scheme {
    const char *scheme;
    RC (*make)(const struct kms_config *c, const char *url, struct key_provider **out,
               struct err *e);
    struct kms_disabling disabling;
    void (*by_hand)(const char *url, const char *version, struct buf *out); /* NULL: none */
} schemes[] = {
    { "https:", make_azure, { true, "" }, by_hand_azure },
    { "vault:",
      kms__transit_new,
      { false,
        "a transit key has no switch for one version: its min_decryption_version is raised above this version, which shuts older ones too, after a rotation if this one is the newest" },
      NULL },
    { "kmip:",
      kms__kmip_new,
      { false,
        "KMIP takes an object out of use for ever only: its owner revokes or destroys it at the server" },
      NULL },
    { "pkcs11:",
      kms__p11_new,
      { false,
        "PKCS #11 has no switch for a key: its owner deletes the object with the token's tools, or takes the token away" },
      NULL },
    { "aws-kms:",
      kms__aws_new,
      { true, "AWS has one switch for the whole key, with all versions of its material" },
      kms__aws_by_hand },
    { "gcp-kms:", kms__gcp_new, { true, "" }, kms__gcp_by_hand },
};

static const struct scheme *scheme_of(const char *url)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (strncasecmp(url, schemes[i].scheme, strlen(schemes[i].scheme)) == 0)
            return &schemes[i];
    return NULL;
}

static RC make_one(const struct kms_config *c, const char *url, struct key_provider **out,
                   struct err *e)
{
    const struct scheme *s = scheme_of(url);

    if (s)
        return s->make(c, url, out, e);
    FAIL(e, ERR_CONFIG, "\"%.100s\" is not the URL of a key: no provider takes its scheme", url);
}

/* The next of a list, without the spaces around it; *rest becomes NULL behind the last one. */
static char *next_url(const char **rest)
{
    const char *from = *rest + strspn(*rest, " ");
    size_t len = strcspn(from, ",");

    *rest = from[len] ? from + len + 1 : NULL;
    while (len > 0 && from[len - 1] == ' ')
        len--;
    return mem_strndup(from, len);
}

bool kms_needs_process(const char *key_url)
{
    static const char scheme[] = "pkcs11:";

    for (const char *rest = key_url; rest;) {
        AUTO(mem_freep) char *url = next_url(&rest);
        if (strncasecmp(url, scheme, sizeof scheme - 1) == 0)
            return true;
    }
    return false;
}

/* ---- what the key's owner does ---- */

struct kms_disabling kms_disabling(const char *key_url)
{
    const struct scheme *s = scheme_of(key_url);

    return s ? s->disabling : (struct kms_disabling){ .note = "" };
}

void kms_enable_by_hand(const char *key_url, const char *version, struct buf *out)
{
    const struct scheme *s = scheme_of(key_url);
    AUTO(mem_freep) char *first = next_url(&key_url);

    if (s && s->by_hand)
        s->by_hand(first, version, out);
}

/* ---- making one ---- */

static void free_all(struct key_provider **p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i]->free(p[i]);
}

RC kms_provider_new(const struct kms_config *c, struct key_provider **out, struct err *e)
{
    struct key_provider *made[KMS_LIST_MAX];
    size_t n = 0;

    *out = NULL;
    for (const char *rest = c->key_url; rest;) {
        AUTO(mem_freep) char *url = next_url(&rest);
        rc_t rc = RC_OK;
        if (n == KMS_LIST_MAX)
            rc = err_set(e, ERR_CONFIG, __FILE__, __LINE__,
                         "the list of the key's URLs has more than %d entries", KMS_LIST_MAX);
        else
            rc = make_one(c, url, &made[n], e);
        if (rc.failed) {
            free_all(made, n);
            return rc;
        }
        n++;
    }
    if (n > 1)
        return kms_list_new(made, n, out, e);
    *out = made[0];
    return RC_OK;
}

/* ---- what went wrong ---- */

RC kms__no_answer(struct err *e, const char *what, const struct http_answer *a)
{
    char detail[160];

    kmsg_printable(a->detail, detail, sizeof detail);
    if (a->outcome == HTTP_OUT_LOCAL)
        FAIL(e, ERR_CONFIG, "the %s cannot be called: %s", what, detail);
    if (a->outcome == HTTP_OUT_CREDENTIAL)
        FAIL(e, ERR_KEY_CREDENTIAL, "the node's own credential cannot be used: %s", detail);
    if (a->outcome == HTTP_OUT_BAD)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the %s's answer is malformed: %s", what, detail);
    FAIL(e, ERR_KEY_UNREACHABLE, "could not reach the %s (%s): %s", what,
         http_outcome_name(a->outcome), detail);
}

RC kms__ask(struct http_client *c, const struct http_call *q, const char *what,
            struct http_answer *a, struct err *e)
{
    http_answer_fini(a);
    http_client_call(c, q, a);
    return a->outcome == HTTP_OUT_ANSWER ? RC_OK : kms__no_answer(e, what, a);
}

RC kms__fail(struct err *e, enum kmsg_class class, const char *cause)
{
    static const enum err_code codes[] = {
        [KMSG_OK] = ERR_INTERNAL,
        [KMSG_DENIED] = ERR_KEY_DENIED,
        [KMSG_NOT_FOUND] = ERR_KEY_NOT_FOUND,
        /* with a fresh token: a mismatch of audience, tenant or clocks */
        [KMSG_UNAUTHORIZED] = ERR_KEY_TOKEN_REFUSED,
        [KMSG_THROTTLED] = ERR_KEY_THROTTLED,
        [KMSG_UNREACHABLE] = ERR_KEY_UNREACHABLE,
        [KMSG_BAD] = ERR_KEY_BAD_ANSWER,
        [KMSG_EXPIRED] = ERR_KEY_BAD_ANSWER,
    };

    FAIL(e, codes[class], "%s", cause);
}

struct kmsg_reply kms__reply(const struct http_answer *a)
{
    return (struct kmsg_reply){
        .status = a->status,
        .is_json = http_answer_is_json(a),
        .body = buf_view(&a->body),
        .date_s = a->date_s,
    };
}

bool kms__is_line(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

/* Plain HTTP carries a token in the clear: only where it does not leave the machine or its host. */
bool kms__is_local_http(const char *url)
{
    static const char *const hosts[] = {
        "http://127.0.0.1",
        "http://localhost",
        "http://[::1]",
        "http://169.254.169.254",
        /* of containers in AWS */
        "http://169.254.170.2",
        "http://169.254.170.23",
    };

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        size_t n = strlen(hosts[i]);
        if (strncmp(url, hosts[i], n) == 0 && (url[n] == ':' || url[n] == '/' || url[n] == 0))
            return strchr(url, '@') == NULL; /* "http://127.0.0.1:1@elsewhere/" */
    }
    return false;
}

RC kms__endpoint_client(const struct kms_config *c, const char *endpoint, struct http_client **out,
                        struct err *e)
{
    bool local = kms__is_local_http(endpoint);

    *out = NULL;
    if (!kms__is_line(endpoint) || (!local && strncmp(endpoint, "https://", 8) != 0))
        FAIL(e, ERR_CONFIG,
             "the token endpoint must be an https URL, or an http one on this machine");
    struct http_client_config hc = { .ca_file = c->ca_file,
                                     .allow_http = local,
                                     .proxy = local ? NULL : c->proxy };
    return http_client_new(&hc, out, e);
}

RC kms__context(const struct kms_config *c, char **out, struct err *e)
{
    *out = mem_strdup(*c->key_context ? c->key_context : "cofferdb");
    if (!kmsg_is_context(*out))
        FAIL(e, ERR_CONFIG,
             "the key-context is 1 to %d printable characters without \" and backslash",
             KMSG_CONTEXT_MAX);
    return RC_OK;
}

/* Judged by what was opened, not by its name. */
static RC read_own(const char *path, struct buf *out, struct err *e)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0)
        return file_err(e, errno, "open", path);
    if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IRWXG | S_IRWXO)) ||
        (st.st_uid != geteuid() && st.st_uid != 0))
        FAIL(e, ERR_CONFIG, "it may be read by others, or is theirs: mode 0600 is needed");
    return file_read_fd(fd, OWN_FILE_MAX, out, e);
}

RC kms__read_own(const char *path, struct buf *out, struct err *e)
{
    struct err why = { 0 };

    return read_own(path, out, &why).failed ? kms__credential_fail(path, &why, e) : RC_OK;
}

RC kms__credential_fail(const char *path, struct err *why, struct err *e)
{
    rc_t rc = err_set(e, ERR_KEY_CREDENTIAL, __FILE__, __LINE__,
                      "the node's own credential \"%s\": %s", path, why->msg);

    err_reset(why);
    return rc;
}
