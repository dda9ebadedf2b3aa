/* vault_sign_in.c - requests for tokens on record: each token that is given, and at a bounded cost each that is not.
 *
 * Room is taken before a token is made, and a token whose record cannot be written is not given: whoever holds a token is in the log. Refusals have
 * a bucket of their own (vault_audit_refused.c), so that who floods this endpoint hides nothing of the other one. What a client sent is not in a
 * record: neither secret, assertion nor token, and of names only those that the vault knows.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

void vault__sign_in_begin(struct sign_in *in, struct vault_service *s, struct http_request *q,
                          const char *endpoint)
{
    struct err e = { 0 };

    *in = (struct sign_in){ .s = s,
                            .q = q,
                            .endpoint = endpoint,
                            .proof = "",
                            .credential = "",
                            .name = "",
                            .resource = "",
                            .managed = true,
                            .started_us = clock_mono_us() };
    if (vault__random_uuid(in->id, &e).failed)
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
    memcpy(in->correlation, in->id, sizeof in->correlation);
}

void vault__sign_in_is(struct sign_in *in, const struct identity *who)
{
    vault__subject_of(who, http_arena(in->q), &in->who);
    in->name = arena_strdup(http_arena(in->q), who->name);
    in->managed = who->kind == VAULT_MANAGED_IDENTITY;
}

static json_t *properties(const struct sign_in *in, int status, int code)
{
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i}", "id", in->id, "endpoint", in->endpoint,
                  "proof", in->proof, "credential", in->credential, "resourceId", in->resource,
                  "clientInfo", vault__header_or_empty(in->q, "User-Agent"), "clientRequestId",
                  vault__header_or_empty(in->q, "x-ms-client-request-id"), "errorCode", code,
                  "httpStatusCode", status);

    if (in->uid_known)
        json_object_set_new(o, "uid", json_integer((json_int_t)in->uid));
    return o;
}

/* In the form of the reference service's sign-in logs; resultType is that of this log's other records. */
static void text_of(const struct sign_in *in, int status, const char *error, int code,
                    struct buf *out)
{
    char at[32], from[64], number[8];

    clock_iso8601(clock_real_ms(), at, sizeof at);
    (void)snprintf(number, sizeof number, "%d", status);
    vault__address_text(http_peer(in->q), from, sizeof from);
    json_t *who = json_pack("{s:s,s:s,s:s,s:s}", "oid", in->who.object_id, "appid",
                            in->who.client_id, "tid", in->who.tenant, "name", in->name);
    AUTO(kjson_freep) json_t *j =
        json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:s,s:{s:o},s:o}", "time", at, "category",
                  in->managed ? "ManagedIdentitySignInLogs" : "ServicePrincipalSignInLogs",
                  "operationName", "Sign-in activity", "resultType", *error ? "Failed" : "Success",
                  "resultSignature", number, "resultDescription", error, "durationMs",
                  (json_int_t)((clock_mono_us() - in->started_us) / 1000), "callerIpAddress", from,
                  "correlationId", in->correlation, "identity", "claim", who, "properties",
                  properties(in, status, code));
    INVARIANT(j != NULL);
    kjson_dump(j, out);
}

static void unrecorded(const struct sign_in *in, const struct err *e)
{
    log_err(EV_VAULT_UNRECORDED, e,
            (const struct kv[]){ KV_STR("operation", "Sign-in activity"),
                                 KV_STR("requestId", in->id) },
            2);
}

bool vault__sign_in_ready(struct sign_in *in)
{
    struct err e = { 0 };

    in->ready = !vault__audit_ready(in->s, &e).failed;
    if (!in->ready)
        unrecorded(in, &e);
    return in->ready;
}

bool vault__sign_in_granted(struct sign_in *in)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };

    text_of(in, 200, "", 0, &text);
    INVARIANT(in->ready);
    in->ready = false;
    if (vault__audit_write(in->s, buf_view(&text), /* lasting= */ false, &e).failed) {
        unrecorded(in, &e);
        return false;
    }
    log_event(EV_VAULT_TOKEN, KV_STR("identity", in->name), KV_STR("endpoint", in->endpoint),
              KV_STR("proof", in->proof), KV_STR("correlationId", in->correlation));
    return true;
}

void vault__sign_in_refused(struct sign_in *in, int status, const char *error, int code)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };

    if (!in->probe)
        log_event(EV_VAULT_TOKEN_REFUSED, KV_STR("endpoint", in->endpoint), KV_STR("error", error),
                  KV_I64("code", code ? code : status), KV_STR("identity", in->name),
                  KV_STR("correlationId", in->correlation));
    if (!vault__refused_take(in->s, REFUSED_TOKEN)) {
        vault__refused_count(in->s, status, http_peer(in->q), in->who.object_id);
        if (in->ready)
            vault__audit_skip(in->s);
        in->ready = false;
        return;
    }
    text_of(in, status, error, code, &text);
    if ((!in->ready && vault__audit_ready(in->s, &e).failed) ||
        vault__audit_write(in->s, buf_view(&text), /* lasting= */ false, &e).failed)
        unrecorded(in, &e);
    in->ready = false;
}
