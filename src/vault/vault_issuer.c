/* vault_issuer.c - tokens for managed identities, in the two shapes that the SDKs know.
 *
 *   IMDS         GET /metadata/identity/oauth2/token[/]?api-version&resource[&client_id|object_id|msi_res_id], "Metadata: true"
 *   App Service  GET /msi/token?api-version=2019-08-01&resource[&client_id|...], "X-IDENTITY-HEADER: <credential>"
 *
 * What protects them: both are served on a loopback address of their own port, to no Host but loopback names (a web page that
 * rebinds its name gets 404), and refuse forwarded requests. The App Service shape asks for a credential that belongs to one
 * identity and gives tokens for that identity alone. The IMDS shape has no credential, as at the reference service, so the
 * local user at the other end of the connection must be our own, root, or one on the list in the settings.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { PROC_NET_MAX = 16 << 20 };

static void answer_error(struct http_reply *r, const char *id, int status, const char *error,
                         const char *description)
{
    AUTO(kjson_freep) json_t *j = json_pack("{s:s,s:s,s:s}", "error", error, "error_description",
                                            description, "correlation_id", id);

    http_reply_json(r, status, j);
    http_reply_header(r, "x-ms-request-id", id);
}

static void turn_away(struct sign_in *in, struct http_reply *r, int status, const char *error,
                      const char *description)
{
    answer_error(r, in->correlation, status, error, description);
    vault__sign_in_refused(in, status, error, 0);
}

/* A token that is not on record is not given. */
static void withhold(const struct sign_in *in, struct http_reply *r)
{
    answer_error(r, in->correlation, 500, "server_error",
                 "The audit log cannot take the record of a token");
}

void vault__token_on_error(struct http_request *q, struct http_reply *r, int status,
                           const char *why)
{
    const char *error = status == 404 ? "not_found" : "invalid_request";
    char id[UUID_LEN + 1];
    struct err e = { 0 };

    if (vault__random_uuid(id, &e).failed)
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
    answer_error(r, id, status, error, why);
    vault__record_stray(http_ctx(q), q, status, error, id);
}

/* "0100007F:9AA7 0100007F:8D18" as the kernel prints the client's end of the connection in /proc/net/tcp. */
bool vault__peer_uid(const struct sockaddr *peer, const struct sockaddr *local, uint32_t *uid)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(fd_closep) int fd = -1;
    struct err e = { 0 };
    char want[64];

    if (!peer || !local || peer->sa_family != AF_INET || local->sa_family != AF_INET)
        return false;
    const struct sockaddr_in *p = (const struct sockaddr_in *)peer,
                             *l = (const struct sockaddr_in *)local;
    (void)snprintf(want, sizeof want, " %08X:%04X %08X:%04X 01 ", p->sin_addr.s_addr,
                   ntohs(p->sin_port), l->sin_addr.s_addr, ntohs(l->sin_port));
    FILE *f = fopen("/proc/net/tcp", "re");
    if (!f)
        return false;
    fd = dup(fileno(f));
    fclose(f);
    if (fd < 0 || file_read_fd(fd, PROC_NET_MAX, &text, &e).failed)
        return false;
    const char *row = strstr(buf_cstr(&text), want);
    if (!row)
        return false;
    /* after the state: "tx:rx tr:when retransmits uid timeout inode" */
    row += strlen(want);
    for (int skip = 0; skip < 3; skip++) {
        row += strspn(row, " ");
        row += strcspn(row, " \n");
    }
    row += strspn(row, " ");
    uint64_t found;
    if (!text_u64(SLICE(row, strcspn(row, " \n")), &found) || found > UINT32_MAX)
        return false;
    *uid = (uint32_t)found;
    return true;
}

static bool peer_is_served(struct vault_service *s, struct sign_in *in)
{
    uint32_t uid;

    in->uid_known = vault__peer_uid(http_peer(in->q), http_local(in->q), &in->uid);
    if (!in->uid_known)
        return false;
    uid = in->uid;
    if (uid == 0 || uid == geteuid())
        return true;
    for (int i = 0; i < s->n_token_uids; i++)
        if (s->token_uids[i] == uid)
            return true;
    return false;
}

/* One selector at most; NULL with *several when there are more. */
static const char *selector(struct http_request *q, const char **which, bool *several)
{
    static const char *const names[][2] = {
        { "client_id", "client" },    { "clientid", "client" },     { "object_id", "object" },
        { "principal_id", "object" }, { "msi_res_id", "resource" }, { "mi_res_id", "resource" },
    };
    const char *found = NULL;

    *several = false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *v = http_query(q, names[i][0]);
        if (!v)
            continue;
        if (found)
            *several = true;
        found = v;
        *which = names[i][1];
    }
    return found;
}

/* The managed identity that is meant. */
static const struct identity *pick(struct vault_service *s, const char *which, const char *value)
{
    const struct identity *found = NULL;
    int n = 0;

    for (int i = 0; i < s->n_identities; i++) {
        const struct identity *p = s->identities[i];
        if (p->kind != VAULT_MANAGED_IDENTITY)
            continue;
        n++;
        if (!value || strcasecmp(strcmp(which, "client") == 0   ? p->client_id
                                 : strcmp(which, "object") == 0 ? p->object_id
                                                                : p->resource_id,
                                 value) == 0)
            found = p;
    }
    /* without a selector, the only one there is: the reference service does the same */
    return value || n == 1 ? found : NULL;
}

static const struct identity *owner_of(struct vault_service *s, const uint8_t *credential)
{
    const struct identity *owner = NULL;

    for (int i = 0; i < s->n_identities; i++)
        if (s->identities[i]->kind == VAULT_MANAGED_IDENTITY &&
            ct_equal(s->identities[i]->secret_sha256, credential, SHA256_LEN))
            owner = s->identities[i];
    return owner;
}

/* When the token ends: seconds, or the date that clients of 2017-09-01 read ("09/14/2017 17:05:00 +00:00"). */
static void until_text(const char *api_version, int64_t until_s, char *out, size_t len)
{
    time_t at = (time_t)until_s;
    struct tm tm;

    if (strcmp(api_version, "2017-09-01") == 0 && gmtime_r(&at, &tm))
        (void)strftime(out, len, "%m/%d/%Y %H:%M:%S +00:00", &tm);
    else
        (void)snprintf(out, len, "%lld", (long long)until_s);
}

static void answer_token(struct http_reply *r, const char *api_version, const struct token_wish *w,
                         const struct buf *token)
{
    char lifetime[24], until[48], from[24];

    (void)snprintf(lifetime, sizeof lifetime, "%u", w->lifetime_s);
    until_text(api_version, w->now_s + w->lifetime_s, until, sizeof until);
    (void)snprintf(from, sizeof from, "%lld", (long long)w->now_s);
    AUTO(kjson_freep) json_t *j =
        json_pack("{s:s%,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "access_token", (const char *)token->p,
                  token->len, "refresh_token", "", "expires_in", lifetime, "expires_on", until,
                  "not_before", from, "resource", w->audience, "token_type", "Bearer", "client_id",
                  w->who->client_id);
    http_reply_json(r, 200, j);
}

/* Who gets a token; credential as in issue(). */
static bool subject_of(struct vault_service *s, struct sign_in *in, const char *which,
                       const char *value, const uint8_t *credential)
{
    mutex_lock(&s->lock);
    const struct identity *who = pick(s, which, value);
    if (credential) {
        const struct identity *owner = owner_of(s, credential);
        who = !value || who == owner ? owner : NULL;
    }
    if (who)
        vault__sign_in_is(in, who);
    mutex_unlock(&s->lock);
    return who != NULL;
}

/* credential: NULL at the IMDS endpoint, whose callers were let in already. */
static void issue(struct sign_in *in, struct http_reply *r, const uint8_t *credential)
{
    struct vault_service *s = in->s;
    struct http_request *q = in->q;
    AUTO(buf_wipe) struct buf token = BUF_INIT;
    struct err e = { 0 };
    const char *resource = http_query(q, "resource"), *which = NULL;
    bool several;
    const char *value = selector(q, &which, &several);
    char audience_buf[VAULT_AUDIENCE_MAX];

    if (!http_query(q, "api-version"))
        return turn_away(in, r, 400, "invalid_request",
                         "Required query variable 'api-version' is missing");
    if (!resource || !*resource)
        return turn_away(in, r, 400, "invalid_request",
                         "Required query variable 'resource' is missing");
    if (several)
        return turn_away(in, r, 400, "invalid_request",
                         "Only one of client_id, object_id and msi_res_id may be given");
    const char *audience = vault__audience_asked(s, resource, audience_buf, sizeof audience_buf);
    if (!audience)
        return turn_away(in, r, 400, "invalid_resource",
                         "AADSTS500011: The resource principal was not found in the tenant.");
    if (!subject_of(s, in, which, value, credential))
        return turn_away(in, r, 400, "invalid_request", "Identity not found");
    struct token_wish w = { .who = &in->who,
                            .audience = audience,
                            .id = in->id,
                            .proof = "2",
                            .cae = http_query(q, "xms_cc") != NULL,
                            .now_s = clock_real_s(),
                            .lifetime_s = s->token_lifetime_s };
    in->resource = audience;
    if (!vault__sign_in_ready(in))
        return withhold(in, r);
    if (vault__token_issue(s, &w, &token, &e).failed) {
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
        return turn_away(in, r, 500, "server_error", "The token could not be made");
    }
    if (!vault__sign_in_granted(in))
        return withhold(in, r);
    answer_token(r, http_query(q, "api-version"), &w, &token);
    http_reply_header(r, "x-ms-request-id", in->id);
}

static bool forwarded(struct http_request *q)
{
    return http_header(q, "X-Forwarded-For") || http_header(q, "Forwarded") ||
           http_header(q, "X-Forwarded-Host") || http_header(q, "Via");
}

/* MSAL sends its own id for the request in this header. */
static void begin(struct sign_in *in, struct vault_service *s, struct http_request *q,
                  const char *endpoint)
{
    const char *given = http_header(q, "x-ms-client-request-id");

    vault__sign_in_begin(in, s, q, endpoint);
    if (given && vault__valid_uuid(given))
        memcpy(in->correlation, given, sizeof in->correlation);
}

static void imds_token(struct http_request *q, struct http_reply *r)
{
    struct vault_service *s = http_ctx(q);
    const char *metadata = http_header(q, "Metadata");
    struct sign_in in;

    begin(&in, s, q, "imds");
    in.probe = !metadata;
    if (!metadata || strcasecmp(metadata, "true") != 0)
        return turn_away(&in, r, 400, "bad_request_102", "Required metadata header not specified");
    if (forwarded(q))
        return turn_away(&in, r, 403, "forbidden", "Forwarded requests are refused");
    if (!peer_is_served(s, &in))
        return turn_away(
            &in, r, 403, "forbidden",
            "This local user may not ask for tokens here: use the App Service endpoint");
    in.proof = "local-user";
    issue(&in, r, NULL);
}

static void app_service_token(struct http_request *q, struct http_reply *r)
{
    struct vault_service *s = http_ctx(q);
    const char *secret = http_header(q, "X-IDENTITY-HEADER");
    uint8_t hash[SHA256_LEN];
    struct err e = { 0 };
    struct sign_in in;

    begin(&in, s, q, "app-service");
    if (!secret)
        secret = http_header(q, "Secret"); /* 2017-09-01 */
    struct slice part = slice_str(secret);
    if (forwarded(q))
        return turn_away(&in, r, 403, "forbidden", "Forwarded requests are refused");
    if (!secret || sha256(&part, 1, hash, &e).failed)
        return turn_away(&in, r, 401, "unauthorized_client", "The identity header is missing");
    mutex_lock(&s->lock);
    const struct identity *owner = owner_of(s, hash);
    if (owner)
        vault__sign_in_is(&in, owner);
    mutex_unlock(&s->lock);
    if (!owner) /* a credential whose identity was deleted ends here too */
        return turn_away(&in, r, 401, "unauthorized_client",
                         "The identity header is not known here");
    in.proof = "identity-header";
    issue(&in, r, hash);
}

const struct http_route vault__token_routes[] = {
    { HTTP_GET, "/metadata/identity/oauth2/token", imds_token, NULL },
    { HTTP_GET, "/metadata/identity/oauth2/token/", imds_token, NULL },
    /* for clients that are given the whole URL of the endpoint */
    { HTTP_GET, "/", imds_token, NULL },
    { HTTP_GET, "/msi/token", app_service_token, NULL },
    { HTTP_GET, "/msi/token/", app_service_token, NULL },
};
const int vault__n_token_routes = (int)ARRAY_LEN(vault__token_routes);
