/* vault_rest_record.c - what is written down of a request: its record in the audit log, without which it is not answered, and its line in the log of
 * events, which may be lost. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault/vault_admin.h"
#include "vault_priv.h"

enum { ACT_VALUE_MAX = 512 };

bool vault__is_version(const char *v)
{
    size_t n = strspn(v, "0123456789abcdefABCDEF");

    return v[n] == 0 && n <= VERSION_LEN;
}

/* One line for each operation. Names of keys are the operator's, what is no name is a client's and stays out; nothing of a body or
 * a token is in it. */
void vault__record_log(const struct rest_call *c, uint64_t started_us)
{
    bool sound = !*c->key || vault__valid_key_name(c->key);

    log_event(EV_VAULT_OPERATION, KV_STR("operation", c->op->name), KV_STR("vault", c->vault),
              KV_STR("key", sound ? c->key : "(invalid)"),
              KV_STR("version", sound && vault__is_version(c->version) ? c->version : "(invalid)"),
              KV_I64("status", c->status), KV_STR("principal", c->who.object_id),
              KV_STR("requestId", c->request_id),
              KV_U64("microseconds", clock_mono_us() - started_us));
}

/* The caller's name, for readers; what counts is its object id. "" when it is gone. In the request's arena. */
static const char *who_is_it(struct rest_call *c)
{
    const char *name = "";

    mutex_lock(&c->s->lock);
    const struct identity *p = vault__identity_by_object(c->s, c->who.object_id);
    if (p)
        name = arena_strdup(http_arena(c->q), p->name);
    mutex_unlock(&c->s->lock);
    return name;
}

const char *vault__header_or_empty(struct http_request *q, const char *name)
{
    const char *v = http_header(q, name);

    return v && strlen(v) <= 200 && utf8_valid(slice_str(v)) ? v : "";
}

/* Of the path only what can be read: the rest of it, and the query, are the client's own. */
static const char *readable_path(struct http_request *q)
{
    const char *path = http_path(q);
    size_t n = 0;

    while (path[n] > ' ' && path[n] <= '~' && path[n] != '"' && path[n] != '\\')
        n++;
    return path[n] == 0 && n <= 200 ? path : "";
}

/* The api-version, when it is one that could be. */
static const char *operation_version(struct rest_call *c)
{
    const char *v = http_query(c->q, "api-version");

    return v && strlen(v) <= 24 && v[strspn(v, "0123456789.-abcdefghijklmnopqrstuvwxyz")] == 0 ? v
                                                                                               : "";
}

/* A record in the form of the reference service's log. correlationId is the answer's x-ms-request-id; what the client made up stands apart from it. */
static json_t *audit_json(struct rest_call *c, uint64_t started_us)
{
    char at[32], from[64], status[8];
    struct arena *a = http_arena(c->q);
    bool sound = !*c->key || vault__valid_key_name(c->key);
    const char *version = sound && vault__is_version(c->version) ? c->version : "",
               *vault = c->props ? c->vault : "";

    clock_iso8601(clock_real_ms(), at, sizeof at);
    (void)snprintf(status, sizeof status, "%d", c->status);
    vault__address_text(http_peer(c->q), from, sizeof from);
    json_t *who =
        json_pack("{s:s,s:s,s:s,s:s,s:s}", "oid", c->who.object_id, "appid", c->who.client_id,
                  "tid", c->who.tenant, "name", who_is_it(c), "uti", c->who.uti);
    const char *base = c->props ? vault__rest_base(c) : "", *path = readable_path(c->q);
    json_t *what =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:s,s:s}", "vault", vault, "key", sound ? c->key : "",
                  "version", version, "clientInfo", vault__header_or_empty(c->q, "User-Agent"),
                  "clientRequestId", vault__header_or_empty(c->q, "x-ms-client-request-id"),
                  "httpStatusCode", c->status, "requestUri",
                  *path ? arena_printf(a, "%s%s", base, path) : "", "id",
                  *base && *c->key && sound ? arena_printf(a, "%s/keys/%s%s%s", base, c->key,
                                                           *version ? "/" : "", version)
                                            : "");
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:s,s:{s:o},s:o}", "time", at,
                     "category", "AuditEvent", "operationName", c->op->name, "operationVersion",
                     operation_version(c), "resourceId",
                     *vault ? arena_printf(a, "/vaults/%s", vault) : "", "resultType",
                     c->status < 400 ? "Success" : "Failed", "resultSignature", status,
                     "resultDescription", c->refusal, "durationMs",
                     (json_int_t)((clock_mono_us() - started_us) / 1000), "callerIpAddress", from,
                     "correlationId", c->request_id, "identity", "claim", who, "properties", what);
}

/* Does it change what the vault holds? Then its record is on the disk before it is answered. */
static bool changes_a_key(const struct rest_call *c)
{
    const uint32_t looks = 1u << PERM_GET | 1u << PERM_LIST | 1u << PERM_GET_POLICY;

    return c->status < 400 && c->op->use == 0 && !(looks & 1u << c->op->perm);
}

static void unrecorded(struct rest_call *c, const struct err *e, const char *text)
{
    log_err(EV_VAULT_UNRECORDED, e,
            (const struct kv[]){ KV_STR("operation", c->op->name),
                                 KV_STR("requestId", c->request_id) },
            2);
    vault__rest_error(c, 500, "InternalServerError", "AuditLogUnavailable", "%s", text);
}

bool vault__record_ready(struct rest_call *c)
{
    struct err e = { 0 };

    if (!vault__audit_ready(c->s, &e).failed)
        return true;
    unrecorded(c, &e, "The operation is refused: the audit log cannot take its record.");
    return false;
}

bool vault__record(struct rest_call *c, uint64_t started_us)
{
    if (!c->entered && !vault__refused_take(c->s, c->known ? REFUSED_KNOWN : REFUSED_STRANGER)) {
        vault__refused_count(c->s, c->status, http_peer(c->q), c->who.object_id);
        vault__audit_skip(c->s);
        return false;
    }
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(kjson_freep) json_t *j = audit_json(c, started_us);
    struct err e = { 0 };

    INVARIANT(j != NULL);
    kjson_dump(j, &text);
    if (vault__audit_write(c->s, buf_view(&text), changes_a_key(c), &e).failed)
        unrecorded(c, &e,
                   "The operation was carried out, but the audit log could not take its record: "
                   "the result is withheld.");
    return true;
}

void vault__record_stray(struct vault_service *s, struct http_request *q, int status,
                         const char *code, const char *request_id)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    char at[32], from[64], number[8];
    struct err e = { 0 };

    if (!vault__refused_take(s, REFUSED_STRANGER)) {
        vault__refused_count(s, status, http_peer(q), "");
        return;
    }
    clock_iso8601(clock_real_ms(), at, sizeof at);
    (void)snprintf(number, sizeof number, "%d", status);
    vault__address_text(http_peer(q), from, sizeof from);
    AUTO(kjson_freep) json_t *j =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:{s:s,s:i}}", "time", at, "category",
                  "AuditEvent", "operationName", "RequestRefused", "resultType", "Failed",
                  "resultSignature", number, "resultDescription", code, "callerIpAddress", from,
                  "correlationId", request_id, "properties", "requestPath", readable_path(q),
                  "httpStatusCode", status);
    INVARIANT(j != NULL);
    kjson_dump(j, &text);
    if (vault__audit_ready(s, &e).failed ||
        vault__audit_write(s, buf_view(&text), /* lasting= */ false, &e).failed)
        log_err(EV_VAULT_UNRECORDED, &e, (const struct kv[]){ KV_I64("status", status) }, 1);
}

void vault__record_own(struct vault_service *s, const char *operation, const char *by,
                       const char *vault, const char *key, const char *version, const char *refusal)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(mem_freep) char *resource = mem_printf("/vaults/%s", vault);
    char at[32];
    struct err e = { 0 };

    clock_iso8601(clock_real_ms(), at, sizeof at);
    AUTO(kjson_freep) json_t *j =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:{s:{s:s}},s:{s:s,s:s,s:s}}", "time", at, "category",
                  "AuditEvent", "operationName", operation, "resourceId", resource, "resultType",
                  *refusal ? "Failed" : "Success", "resultDescription", refusal, "identity",
                  "claim", "by", by, "properties", "vault", vault, "key", key, "version", version);
    INVARIANT(j != NULL);
    kjson_dump(j, &text);
    if (vault__audit_write(s, buf_view(&text), /* lasting= */ true, &e).failed)
        log_err(EV_VAULT_UNRECORDED, &e, (const struct kv[]){ KV_STR("operation", operation) }, 1);
}

/* ---- what the owner does ---- */

RC vault_act_begin(struct vault_service *s, struct err *e)
{
    return vault__audit_ready(s, e);
}

static const char *act_field(const struct vault_act *a, const char *name)
{
    for (int i = 0; i < a->n_fields; i++)
        if (strcmp(a->field[i].name, name) == 0)
            return a->field[i].value;
    return "";
}

static json_t *act_fields(const struct vault_act *a)
{
    json_t *o = json_object();

    for (int i = 0; i < a->n_fields; i++) {
        char value[ACT_VALUE_MAX + 1];
        (void)snprintf(value, sizeof value, "%s", a->field[i].value);
        /* cut in the middle of a letter, or none to begin with */
        for (size_t n = strlen(value); n > 0 && !utf8_valid(slice_str(value)); n--)
            value[n - 1] = 0;
        json_object_set_new(o, a->field[i].name, json_string(value));
    }
    return o;
}

void vault_act_end(struct vault_service *s, const struct vault_act *a, const struct err *outcome)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    const char *vault = act_field(a, "vault");
    bool named = vault__valid_vault_name(vault);
    AUTO(mem_freep) char *resource =
        mem_printf("%s%s", named ? "/vaults/" : "", named ? vault : "");
    char at[32], code[24];
    struct err e = { 0 };

    clock_iso8601(clock_real_ms(), at, sizeof at);
    AUTO(kjson_freep) json_t *j =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:{s:{s:s}},s:o}", "time", at, "category",
                  "Administration", "operationName", a->operation, "resourceId", resource,
                  "resultType", err_is(outcome) ? "Failed" : "Success", "resultDescription",
                  err_is(outcome) ? err_code_name(outcome->code, code, sizeof code) : "",
                  "identity", "claim", "by", a->by, "properties", act_fields(a));
    INVARIANT(j != NULL);
    kjson_dump(j, &text);
    if (vault__audit_write(s, buf_view(&text), /* lasting= */ true, &e).failed)
        log_err(EV_VAULT_UNRECORDED, &e, (const struct kv[]){ KV_STR("operation", a->operation) },
                1);
}
