/* kmsg_gcp.c - see kmsg/kmsg_gcp.h; spec: Cloud KMS API v1 (REST), "Verifying end-to-end data integrity", "google.rpc.Status". */
#include "kmsg/kmsg_gcp.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "kmsg_priv.h"

/* ---- where a key lives ---- */

/* "KIND/ID", and the slash behind it unless it is the last; the id goes to out. */
static bool take_pair(const char **s, const char *kind, const char *allowed, char *out, size_t room)
{
    size_t len = strlen(kind);

    if (strncmp(*s, kind, len) != 0 || (*s)[len] != '/')
        return false;
    *s += len + 1;
    len = strcspn(*s, "/");
    if (!kmsg__copy_part(*s, len, allowed, out, room))
        return false;
    *s += len;
    return true;
}

static bool take_slash(const char **s)
{
    return *(*s)++ == '/';
}

static bool cut_name(const char *name, struct kmsg_gcp_target *t)
{
    static const char ids[] = KMSG__LETTERS KMSG__DIGITS "_-";
    const char *s = name;
    char id[128];

    return strlen(name) < sizeof t->name &&
           /* "example.com:project" was made in a domain */
           take_pair(&s, "projects", KMSG__LETTERS KMSG__DIGITS "-.:", id, sizeof id) &&
           take_slash(&s) &&
           take_pair(&s, "locations", KMSG__LETTERS KMSG__DIGITS "-", t->location,
                     sizeof t->location) &&
           take_slash(&s) && take_pair(&s, "keyRings", ids, id, sizeof id) && take_slash(&s) &&
           take_pair(&s, "cryptoKeys", ids, id, sizeof id) && *s == 0 &&
           kmsg__copy_part(name, strlen(name), KMSG__LETTERS KMSG__DIGITS "_-.:/", t->name,
                           sizeof t->name);
}

static bool cut_url(const char *url, struct kmsg_gcp_target *t)
{
    static const char scheme[] = "gcp-kms://", own[] = "cloudkms.googleapis.com";

    if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *s = url + sizeof scheme - 1;
    if (strncmp(s, "projects/", 9) == 0) /* as Tink writes it */
        return kmsg__copy_host(own, sizeof own - 1, t->host, sizeof t->host) && cut_name(s, t);
    size_t len = strcspn(s, "/");
    return s[len] == '/' && kmsg__copy_host(s, len, t->host, sizeof t->host) &&
           cut_name(s + len + 1, t);
}

RC kmsg_gcp_target(const char *url, struct kmsg_gcp_target *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (cut_url(url, out))
        return RC_OK;
    memset(out, 0, sizeof *out);
    return kmsg__bad_url(e, url,
                         "a key in Google Cloud, which has no version: "
                         "gcp-kms://projects/P/locations/L/keyRings/R/cryptoKeys/K is");
}

bool kmsg_gcp_is_version(const char *v)
{
    size_t len = strlen(v);

    return len >= 1 && len <= 9 && v[0] != '0' && strspn(v, KMSG__DIGITS) == len;
}

void kmsg_gcp_url(const struct kmsg_gcp_target *t, const char *version, const char *op,
                  struct buf *out)
{
    buf_printf(out, "https://%s/v1/%s%s%s%s", t->host, t->name,
               *version ? "/cryptoKeyVersions/" : "", version, op);
}

/* ---- requests ---- */

uint32_t kmsg_gcp_crc32c(struct slice in)
{
    uint32_t crc = 0xffffffff;

    for (size_t i = 0; i < in.len; i++) {
        crc ^= in.p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78 & (0 - (crc & 1)));
    }
    return ~crc;
}

/* "NAME":"base64","NAMECrc32c":"number"; an int64 is a string in Google's JSON. */
static void push_checked(const char *name, struct slice value, struct buf *out)
{
    buf_printf(out, "\"%s\":\"", name);
    base64_encode(value, out);
    buf_printf(out, "\",\"%sCrc32c\":\"%u\"", name, kmsg_gcp_crc32c(value));
}

static void push_body(const char *name, struct slice value, const char *context, struct buf *out)
{
    AUTO(buf_fini) struct buf aad = BUF_INIT;

    buf_printf(&aad, "cofferdb-cluster=%s", context);
    buf_reserve(out, 256 + 2 * (value.len + aad.len));
    buf_push_u8(out, '{');
    push_checked(name, value, out);
    buf_push_u8(out, ',');
    push_checked("additionalAuthenticatedData", buf_view(&aad), out);
    buf_push_u8(out, '}');
}

void kmsg_gcp_encrypt_body(const char *context, struct slice plain, struct buf *out)
{
    push_body("plaintext", plain, context, out);
}

void kmsg_gcp_decrypt_body(const char *context, struct slice ciphertext, struct buf *out)
{
    push_body("ciphertext", ciphertext, context, out);
}

/* ---- what an answer means ---- */

/* What an error of Google's says of itself; j keeps it alive. false: none of Google's own. */
static bool read_error(const struct kmsg_reply *r, json_t **j, const char **status, char said[160])
{
    struct err ignored = { 0 };

    *j = NULL;
    said[0] = 0;
    if (!r->is_json || kjson_load(r->body, KJSON_DEPTH_MAX, j, &ignored).failed)
        return false;
    const json_t *error = kjson_obj(*j, "error");
    const char *message = kjson_str(error, "message");
    *status = kjson_str(error, "status");
    if (message)
        kmsg_printable(message, said, 160);
    return *status != NULL;
}

/* "Permission 'cloudkms.cryptoKeyVersions.useToDecrypt' denied on resource ...", or the same in the details. */
static void name_permission(const json_t *j, const char *said, char *cause)
{
    static const char words[] = "Permission '";
    const json_t *details = kjson_arr(kjson_obj(j, "error"), "details");
    const char *at = strstr(said, words), *permission = NULL;
    char shown[80];

    for (size_t i = 0; details && i < json_array_size(details) && !permission; i++)
        permission = kjson_str(kjson_obj(json_array_get(details, i), "metadata"), "permission");
    if (!permission && !at) {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "Google refuses access to the key: %s", said);
        return;
    }
    kmsg_printable(at ? at + sizeof words - 1 : permission, shown, sizeof shown);
    shown[strcspn(shown, "' ")] = 0;
    (void)snprintf(cause, KMSG_CAUSE_MAX, "the identity lacks the permission %s", shown);
}

static const struct kmsg__error errors[] = {
    { "PERMISSION_DENIED", NULL, KMSG_DENIED, NULL },
    { "UNAUTHENTICATED", NULL, KMSG_UNAUTHORIZED, "Google does not take the token" },
    { "NOT_FOUND", NULL, KMSG_NOT_FOUND, "the key is gone" },
    { "FAILED_PRECONDITION", "current state is: DISABLED", KMSG_DENIED,
      "the key's version is disabled" },
    { "FAILED_PRECONDITION", "current state is: DESTROY_SCHEDULED", KMSG_DENIED,
      "the key's version is scheduled for destruction" },
    { "FAILED_PRECONDITION", "current state is: DESTROYED", KMSG_NOT_FOUND,
      "the key's version is destroyed" },
    { "FAILED_PRECONDITION", "current state is: PENDING_GENERATION", KMSG_UNREACHABLE,
      "the key's version is being made" },
    { "FAILED_PRECONDITION", "current state is: PENDING_IMPORT", KMSG_UNREACHABLE,
      "the key's version is being imported" },
    { "RESOURCE_EXHAUSTED", NULL, KMSG_THROTTLED, "Google Cloud KMS is over its limit" },
    { "UNAVAILABLE", NULL, KMSG_UNREACHABLE, "Google Cloud KMS is unavailable" },
    { "INTERNAL", NULL, KMSG_UNREACHABLE, "Google Cloud KMS has failed inside" },
    { "DEADLINE_EXCEEDED", NULL, KMSG_UNREACHABLE, "Google Cloud KMS timed out" },
    { "ABORTED", NULL, KMSG_UNREACHABLE, "Google Cloud KMS gave the request up" },
    { "CANCELLED", NULL, KMSG_UNREACHABLE, "Google Cloud KMS gave the request up" },
    { "INVALID_ARGUMENT", "Decryption failed", KMSG_BAD,
      "Google finds the ciphertext damaged, or wrapped by another key or under another key-context" },
};

static enum kmsg_class classify_status(const struct kmsg_reply *r, const json_t *j,
                                       const char *status, const char *said, char *cause)
{
    const struct kmsg__error *row = kmsg__find_error(errors, ARRAY_LEN(errors), status, said);
    char shown[64];

    kmsg_printable(status, shown, sizeof shown);
    if (!row)
        (void)snprintf(cause, KMSG_CAUSE_MAX, "Google answered %d %s: %s", r->status, shown, said);
    else if (row->cause)
        (void)snprintf(cause, KMSG_CAUSE_MAX, "%s", row->cause);
    else
        name_permission(j, said, cause);
    return row ? row->class : KMSG_BAD;
}

enum kmsg_class kmsg_gcp_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    AUTO(kjson_freep) json_t *j = NULL;
    const char *status = NULL;
    enum kmsg_class class = KMSG_BAD;
    char said[160];

    cause[0] = 0;
    if (r->status == 200 && r->is_json)
        return KMSG_OK;
    bool own = read_error(r, &j, &status, said);
    if (own && r->status >= 400)
        class = classify_status(r, j, status, said, cause);
    else
        (void)snprintf(cause, KMSG_CAUSE_MAX, "Google answered %d without an error of its own",
                       r->status);
    return class != KMSG_BAD ? class : kmsg__class_of_status(r->status);
}

/* ---- answers of class KMSG_OK ---- */

/* What a version's state means: whether it may be used, or an error. */
static RC check_state(const json_t *version, bool *enabled, struct err *e)
{
    static const char *const denied[] = { "IMPORT_FAILED", "GENERATION_FAILED",
                                          "PENDING_EXTERNAL_DESTRUCTION",
                                          "EXTERNAL_DESTRUCTION_FAILED" };
    const char *state = kjson_str(version, "state");

    *enabled = false;
    if (!state)
        return kmsg__bad(e, "does not say which state the key's version is in");
    *enabled = strcmp(state, "ENABLED") == 0;
    if (*enabled || strcmp(state, "DISABLED") == 0)
        return RC_OK;
    if (strcmp(state, "DESTROY_SCHEDULED") == 0)
        FAIL(e, ERR_KEY_DENIED, "the key's version is scheduled for destruction");
    if (strcmp(state, "DESTROYED") == 0)
        FAIL(e, ERR_KEY_NOT_FOUND, "the key's version is destroyed");
    if (strcmp(state, "PENDING_GENERATION") == 0 || strcmp(state, "PENDING_IMPORT") == 0)
        FAIL(e, ERR_KEY_UNREACHABLE, "the key's version is not ready yet");
    for (size_t i = 0; i < ARRAY_LEN(denied); i++)
        if (strcmp(state, denied[i]) == 0)
            FAIL(e, ERR_KEY_DENIED, "the key's version is in the state %s", state);
    return kmsg__bad(e, "has a state of the key's version that is not known here");
}

/* The number at the end of a version's name: "NAME/cryptoKeyVersions/3". */
static RC read_number(const json_t *j, const struct kmsg_gcp_target *t, char version[16],
                      struct err *e)
{
    static const char between[] = "/cryptoKeyVersions/";
    const char *name = kjson_str(j, "name");
    size_t len = strlen(t->name);

    if (!name || strncmp(name, t->name, len) != 0 ||
        strncmp(name + len, between, sizeof between - 1) != 0 ||
        !kmsg_gcp_is_version(name + len + sizeof between - 1))
        return kmsg__bad(e, "is about another key than asked for");
    (void)snprintf(version, 16, "%s", name + len + sizeof between - 1);
    return RC_OK;
}

static RC check_kind(const json_t *j, const json_t *primary, struct err *e)
{
    const char *purpose = kjson_str(j, "purpose"), *algorithm = kjson_str(primary, "algorithm");

    if (!purpose)
        return kmsg__bad(e, "does not say what the key is for");
    if (strcmp(purpose, "ENCRYPT_DECRYPT") != 0 ||
        (algorithm && strcmp(algorithm, "GOOGLE_SYMMETRIC_ENCRYPTION") != 0 &&
         strcmp(algorithm, "EXTERNAL_SYMMETRIC_ENCRYPTION") != 0))
        FAIL(e, ERR_CONFIG,
             "the key in Google Cloud is none with the purpose ENCRYPT_DECRYPT and symmetric");
    return RC_OK;
}

RC kmsg_gcp_read_key(const struct kmsg_reply *r, const struct kmsg_gcp_target *t,
                     struct kmsg_gcp_key *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct kmsg_gcp_key k = { 0 };
    struct err ignored = { 0 };

    memset(out, 0, sizeof *out);
    TRY(kmsg__load(r, &j, e));
    const char *name = kjson_str(j, "name");
    const json_t *primary = kjson_obj(j, "primary");
    if (!name || strcmp(name, t->name) != 0)
        return kmsg__bad(e, "is about another key than asked for");
    TRY(check_kind(j, primary, e));
    if (primary) {
        TRY(read_number(primary, t, k.version, e));
        const char *level = kjson_str(primary, "protectionLevel");
        k.is_hsm = level && strcmp(level, "SOFTWARE") != 0;
        /* whatever else its state is, it cannot be used; whoever asks for this version is told why */
        (void)!check_state(primary, &k.enabled, &ignored).failed;
    }
    const char *label = kjson_str(kjson_obj(j, "labels"), "coffer-grace-period");
    if (label) {
        k.has_grace = kmsg__read_duration(label, &k.grace_ms);
        k.grace_malformed = !k.has_grace;
    }
    *out = k;
    return RC_OK;
}

RC kmsg_gcp_read_version(const struct kmsg_reply *r, const struct kmsg_gcp_target *t,
                         const char *version, bool *enabled, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    char is[16];

    *enabled = false;
    TRY(kmsg__load(r, &j, e));
    TRY(read_number(j, t, is, e));
    if (strcmp(is, version) != 0)
        return kmsg__bad(e, "is about another version than asked for");
    return check_state(j, enabled, e);
}

/* The checksum that comes with a value, as a string or a number. */
static bool is_whole(const json_t *j, const char *member, struct slice value)
{
    const char *text = kjson_str(j, member);
    int64_t crc;

    return (text ? text_i64(slice_str(text), &crc) : kjson_i64(j, member, &crc)) &&
           crc == (int64_t)kmsg_gcp_crc32c(value);
}

static bool is_true(const json_t *j, const char *member)
{
    bool value = false;

    return kjson_bool(j, member, &value) && value;
}

RC kmsg_gcp_read_ciphertext(const struct kmsg_reply *r, const struct kmsg_gcp_target *t,
                            const char *version, struct buf *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    AUTO(buf_fini) struct buf value = BUF_INIT;
    char by[16];

    TRY(kmsg__load(r, &j, e));
    TRY(read_number(j, t, by, e));
    if (strcmp(by, version) != 0)
        return kmsg__bad(e, "is of another version than asked for");
    const char *text = kjson_str(j, "ciphertext");
    if (!text || !base64_decode(slice_str(text), &value) || value.len == 0 ||
        value.len > KMSG_GCP_CIPHER_MAX)
        return kmsg__bad(e, "has no ciphertext of a length that fits");
    if (!is_true(j, "verifiedPlaintextCrc32c") ||
        !is_true(j, "verifiedAdditionalAuthenticatedDataCrc32c"))
        return kmsg__bad(e, "does not say that what it encrypted had arrived whole");
    if (!is_whole(j, "ciphertextCrc32c", buf_view(&value)))
        return kmsg__bad(e, "was changed on its way: its checksum is another one");
    buf_push(out, value.p, value.len);
    return RC_OK;
}

RC kmsg_gcp_read_plaintext(const struct kmsg_reply *r, uint32_t len, struct buf *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    TRY(kmsg__load(r, &j, e));
    TRY(kmsg__read_plaintext(kjson_str(j, "plaintext"), len, out, e));
    if (!is_whole(j, "plaintextCrc32c", buf_view(out))) {
        buf_wipe(out);
        return kmsg__bad(e, "was changed on its way: its checksum is another one");
    }
    return RC_OK;
}
