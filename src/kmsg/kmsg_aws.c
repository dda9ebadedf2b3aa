/* kmsg_aws.c - see kmsg/kmsg_aws.h; spec: AWS Key Management Service API Reference, 2014-11-01, "AWS JSON 1.1". */
#include "kmsg/kmsg_aws.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "kmsg_priv.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"

/* ---- where a key lives ---- */

/* The partitions, and how the names of their regions begin. */
static const struct {
    const char *name, *region, *dns_suffix;
} partitions[] = {
    { "aws-cn", "cn-", "amazonaws.com.cn" },
    { "aws-us-gov", "us-gov-", "amazonaws.com" },
    { "aws-eusc", "eusc-", "amazonaws.eu" },
    { "aws-iso", "us-iso-", "c2s.ic.gov" },
    { "aws-iso-b", "us-isob-", "sc2s.sgov.gov" },
    { "aws-iso-e", "eu-isoe-", "cloud.adc-e.uk" },
    { "aws-iso-f", "us-isof-", "csp.hci.ic.gov" },
    { "aws", "", "amazonaws.com" }, /* last: every other region */
};

/* The part of an ARN up to the next colon; *s goes behind it. */
static bool take_part(const char **s, const char *allowed, char *out, size_t room)
{
    size_t len = strcspn(*s, ":");

    if ((*s)[len] != ':' || !kmsg__copy_part(*s, len, allowed, out, room))
        return false;
    *s += len + 1;
    return true;
}

static bool find_partition(const char *name, struct kmsg_aws_target *t)
{
    for (size_t i = 0; i < ARRAY_LEN(partitions); i++)
        if (strncmp(t->region, partitions[i].region, strlen(partitions[i].region)) == 0) {
            t->partition = partitions[i].name;
            t->dns_suffix = partitions[i].dns_suffix;
            return strcmp(name, partitions[i].name) == 0;
        }
    return false;
}

static bool cut_arn(const char *arn, struct kmsg_aws_target *t)
{
    const char *s = arn;
    char word[8], partition[16], service[8];

    return kmsg__copy_part(arn, strlen(arn), KMSG__LETTERS KMSG__DIGITS ":/-", t->arn,
                           sizeof t->arn) &&
           take_part(&s, LOWER, word, sizeof word) && strcmp(word, "arn") == 0 &&
           take_part(&s, LOWER "-", partition, sizeof partition) &&
           take_part(&s, LOWER, service, sizeof service) && strcmp(service, "kms") == 0 &&
           take_part(&s, LOWER KMSG__DIGITS "-", t->region, sizeof t->region) &&
           take_part(&s, KMSG__DIGITS, t->account, sizeof t->account) && strlen(t->account) == 12 &&
           strncmp(s, "key/", 4) == 0 &&
           kmsg__copy_part(s + 4, strlen(s + 4), KMSG__LETTERS KMSG__DIGITS "-", t->id,
                           sizeof t->id) &&
           find_partition(partition, t);
}

static bool cut_url(const char *url, struct kmsg_aws_target *t)
{
    static const char scheme[] = "aws-kms://";

    if (strncasecmp(url, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *host = url + sizeof scheme - 1;
    /* Tink writes the ARN where a host would stand */
    size_t host_len = strncmp(host, "arn:", 4) == 0 ? 0 : strcspn(host, "/");
    const char *arn = host + host_len;
    if (*arn == '/')
        arn++;
    else if (host_len > 0)
        return false;
    if (!cut_arn(arn, t))
        return false;
    if (host_len == 0) {
        (void)snprintf(t->host, sizeof t->host, "kms.%s.%s", t->region, t->dns_suffix);
        return true;
    }
    if (host_len > 4 && strncmp(host + host_len - 4, ":443", 4) == 0)
        host_len -= 4; /* as the Host header has it, which is signed */
    return kmsg__copy_host(host, host_len, t->host, sizeof t->host);
}

RC kmsg_aws_target(const char *url, struct kmsg_aws_target *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (cut_url(url, out))
        return RC_OK;
    memset(out, 0, sizeof *out);
    return kmsg__bad_url(
        e, url, "a key in AWS: aws-kms:///arn:aws:kms:REGION:ACCOUNT:key/ID is, without an alias");
}

bool kmsg_aws_is_version(const char *v)
{
    return strcmp(v, KMSG_AWS_NO_MATERIAL) == 0 ||
           (strlen(v) == KMSG_AWS_VERSION_MAX - 1 &&
            strspn(v, KMSG__DIGITS "abcdef") == KMSG_AWS_VERSION_MAX - 1);
}

/* ---- requests ---- */

static void push_context(const char *context, struct buf *out)
{
    buf_printf(out, "\"EncryptionContext\":{\"cofferdb-cluster\":\"%s\"}", context);
}

void kmsg_aws_describe_body(const struct kmsg_aws_target *t, struct buf *out)
{
    buf_printf(out, "{\"KeyId\":\"%s\"}", t->arn);
}

void kmsg_aws_tags_body(const struct kmsg_aws_target *t, const char *marker, struct buf *out)
{
    buf_printf(out, "{\"KeyId\":\"%s\",\"Limit\":50", t->arn);
    if (*marker)
        buf_printf(out, ",\"Marker\":\"%s\"", marker);
    buf_printf(out, "}");
}

void kmsg_aws_encrypt_body(const struct kmsg_aws_target *t, const char *context, struct slice plain,
                           struct buf *out)
{
    buf_reserve(out, 256 + KMSG_AWS_ARN_MAX + KMSG_CONTEXT_MAX + 2 * plain.len);
    buf_printf(out, "{\"KeyId\":\"%s\",", t->arn);
    push_context(context, out);
    buf_printf(out, ",\"Plaintext\":\"");
    base64_encode(plain, out);
    buf_printf(out, "\"}");
}

void kmsg_aws_decrypt_body(const struct kmsg_aws_target *t, const char *context,
                           struct slice ciphertext, struct buf *out)
{
    buf_printf(out, "{\"KeyId\":\"%s\",", t->arn);
    push_context(context, out);
    buf_printf(out, ",\"CiphertextBlob\":\"");
    base64_encode(ciphertext, out);
    buf_printf(out, "\"}");
}

/* ---- what an answer means ---- */

/* "com.amazonaws.kms#NotFoundException:http://..." is NotFoundException. */
static void copy_code(const char *type, char *out, size_t room)
{
    const char *hash = strchr(type, '#');

    kmsg_printable(hash ? hash + 1 : type, out, room);
    out[strcspn(out, ":")] = 0;
}

/* false: no error in the form of AWS's JSON protocol. */
static bool read_error(const struct kmsg_reply *r, char code[64], char said[160])
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err ignored = { 0 };

    code[0] = said[0] = 0;
    if (!r->is_json || kjson_load(r->body, KMSG_ANSWER_DEPTH, &j, &ignored).failed)
        return false;
    const char *type = kjson_str(j, "__type"), *message = kjson_str(j, "message");
    if (!message)
        message = kjson_str(j, "Message");
    if (type)
        copy_code(type, code, 64);
    if (message)
        kmsg_printable(message, said, 160);
    return code[0] != 0;
}

/* "... is not authorized to perform: kms:Decrypt on resource: ..." */
static void name_permission(const char *said, char *cause)
{
    static const char words[] = "not authorized to perform: ";
    const char *at = strstr(said, words);

    if (at) {
        at += sizeof words - 1;
        (void)snprintf(cause, KMSG_CAUSE_MAX, "the identity lacks the permission %.*s",
                       (int)MIN(strcspn(at, " "), (size_t)60), at);
    } else {
        (void)snprintf(cause, KMSG_CAUSE_MAX, "AWS refuses access to the key: %s", said);
    }
}

static const struct kmsg__error errors[] = {
    { "AccessDeniedException", NULL, KMSG_DENIED, NULL },
    { "DisabledException", NULL, KMSG_DENIED, "the key is disabled" },
    { "KMSInvalidStateException", "pending deletion", KMSG_DENIED, "the key is pending deletion" },
    { "KMSInvalidStateException", "pending replica deletion", KMSG_DENIED,
      "the key is pending deletion" },
    { "KMSInvalidStateException", "pending import", KMSG_DENIED,
      "the key's imported material was deleted or has expired" },
    /* its custom key store is disconnected, or it is being made */
    { "KMSInvalidStateException", "unavailable", KMSG_UNREACHABLE, "the key is unavailable" },
    { "KMSInvalidStateException", "creating", KMSG_UNREACHABLE, "the key is being made" },
    { "KMSInvalidStateException", "updating", KMSG_UNREACHABLE, "the key is being changed" },
    { "NotFoundException", NULL, KMSG_NOT_FOUND, "the key is gone" },
    { "OptInRequired", NULL, KMSG_DENIED, "the account has no access to the service" },
    { "KeyUnavailableException", NULL, KMSG_UNREACHABLE, "the key is unavailable for now" },
    { "DependencyTimeoutException", NULL, KMSG_UNREACHABLE, "AWS KMS timed out" },
    { "KMSInternalException", NULL, KMSG_UNREACHABLE, "AWS KMS has failed inside" },
    { "InternalFailure", NULL, KMSG_UNREACHABLE, "AWS KMS has failed inside" },
    { "ServiceUnavailable", NULL, KMSG_UNREACHABLE, "AWS KMS is unavailable" },
    { "ServiceUnavailableException", NULL, KMSG_UNREACHABLE, "AWS KMS is unavailable" },
    { "ThrottlingException", NULL, KMSG_THROTTLED, "AWS KMS is over its limit" },
    { "Throttling", NULL, KMSG_THROTTLED, "AWS KMS is over its limit" },
    { "TooManyRequestsException", NULL, KMSG_THROTTLED, "AWS KMS is over its limit" },
    { "RequestLimitExceeded", NULL, KMSG_THROTTLED, "AWS KMS is over its limit" },
    { "LimitExceededException", NULL, KMSG_THROTTLED, "AWS KMS is over its limit" },
    { "UnrecognizedClientException", NULL, KMSG_UNAUTHORIZED,
      "AWS does not know the credential: its user, role or access key is gone" },
    { "InvalidClientTokenId", NULL, KMSG_UNAUTHORIZED,
      "AWS does not know the credential: its user, role or access key is gone" },
    /* a clock that is wrong, here or there, takes no key away */
    { "ExpiredTokenException", NULL, KMSG_EXPIRED,
      "the credential has expired: look at the clock" },
    { "ExpiredToken", NULL, KMSG_EXPIRED, "the credential has expired: look at the clock" },
    { "RequestExpired", NULL, KMSG_EXPIRED, "the request came late: look at the clock" },
    { "InvalidSignatureException", NULL, KMSG_EXPIRED,
      "AWS does not take the signature: look at the secret access key and the clock" },
    { "SignatureDoesNotMatch", NULL, KMSG_EXPIRED,
      "AWS does not take the signature: look at the secret access key and the clock" },
    { "InvalidCiphertextException", NULL, KMSG_BAD,
      "AWS finds the ciphertext damaged, or wrapped under another key-context" },
    { "IncorrectKeyException", NULL, KMSG_BAD, "another key has wrapped the ciphertext" },
};

static enum kmsg_class classify_code(const struct kmsg_reply *r, const char *code, const char *said,
                                     char *cause)
{
    const struct kmsg__error *row = kmsg__find_error(errors, ARRAY_LEN(errors), code, said);

    if (!row)
        (void)snprintf(cause, KMSG_CAUSE_MAX, "AWS answered %d %s: %s", r->status, code, said);
    else if (row->cause)
        (void)snprintf(cause, KMSG_CAUSE_MAX, "%s", row->cause);
    else
        name_permission(said, cause);
    return row ? row->class : KMSG_BAD;
}

enum kmsg_class kmsg_aws_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX])
{
    char code[64], said[160];

    cause[0] = 0;
    /* an operation that has nothing to say answers without a body, and perhaps without its type */
    if (r->status == 200 && (r->is_json || r->body.len == 0))
        return KMSG_OK;
    bool own = read_error(r, code, said);
    enum kmsg_class class = KMSG_BAD;
    if (own && r->status >= 400)
        class = classify_code(r, code, said, cause);
    else
        (void)snprintf(cause, KMSG_CAUSE_MAX, "AWS answered %d without an error of its own",
                       r->status);
    return class != KMSG_BAD ? class : kmsg__class_of_status(r->status);
}

/* ---- answers of class KMSG_OK ---- */

static RC check_state(const json_t *meta, bool *enabled, struct err *e)
{
    const char *state = kjson_str(meta, "KeyState");

    if (!state)
        return kmsg__bad(e, "does not say which state the key is in");
    *enabled = strcmp(state, "Enabled") == 0 || strcmp(state, "Updating") == 0;
    if (*enabled || strcmp(state, "Disabled") == 0)
        return RC_OK;
    if (strcmp(state, "PendingDeletion") == 0 || strcmp(state, "PendingReplicaDeletion") == 0)
        FAIL(e, ERR_KEY_DENIED, "the key is pending deletion");
    if (strcmp(state, "PendingImport") == 0)
        FAIL(e, ERR_KEY_DENIED, "the key's imported material was deleted or has expired");
    if (strcmp(state, "Unavailable") == 0 || strcmp(state, "Creating") == 0)
        FAIL(e, ERR_KEY_UNREACHABLE, "the key is unavailable");
    return kmsg__bad(e, "has a state of the key that is not known here");
}

static RC check_kind(const json_t *meta, struct err *e)
{
    const char *spec = kjson_str(meta, "KeySpec"), *usage = kjson_str(meta, "KeyUsage");

    if (!spec || !usage)
        return kmsg__bad(e, "does not say what kind of key it is");
    if (strcmp(spec, "SYMMETRIC_DEFAULT") != 0 || strcmp(usage, "ENCRYPT_DECRYPT") != 0)
        FAIL(e, ERR_CONFIG,
             "the key in AWS is none of the kind SYMMETRIC_DEFAULT with the usage ENCRYPT_DECRYPT");
    return RC_OK;
}

static RC read_material(const json_t *j, const char *member, char version[KMSG_AWS_VERSION_MAX],
                        struct err *e)
{
    const char *id = kjson_str(j, member);

    if (!id && !kjson_has(j, member))
        id = KMSG_AWS_NO_MATERIAL; /* a key of a custom key store */
    if (!id || !kmsg_aws_is_version(id))
        return kmsg__bad(e, "has a malformed id of the key's material");
    memcpy(version, id, strlen(id) + 1);
    return RC_OK;
}

static bool is_key(const json_t *j, const char *member, const struct kmsg_aws_target *t)
{
    const char *arn = kjson_str(j, member);

    return arn && strcmp(arn, t->arn) == 0;
}

RC kmsg_aws_read_key(const struct kmsg_reply *r, const struct kmsg_aws_target *t,
                     struct kmsg_aws_key *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct kmsg_aws_key k = { 0 };

    memset(out, 0, sizeof *out);
    TRY(kmsg__load(r, &j, e));
    const json_t *meta = kjson_obj(j, "KeyMetadata");
    if (!is_key(meta, "Arn", t))
        return kmsg__bad(e, "is about another key than asked for");
    TRY(check_kind(meta, e));
    TRY(check_state(meta, &k.enabled, e));
    TRY(read_material(meta, "CurrentKeyMaterialId", k.version, e));
    const json_t *until = json_object_get(meta, "ValidTo");
    double s = json_number_value(until);
    if (kjson_has(meta, "ValidTo") && (!json_is_number(until) || s < 1 || s > 1e12))
        return kmsg__bad(e, "has a malformed date");
    k.expires_s = (int64_t)s;
    *out = k;
    return RC_OK;
}

/* Of one tag: is it the one that is looked for? */
static RC read_tag(const json_t *tag, struct kmsg_aws_tags *out, struct err *e)
{
    const char *name = kjson_str(tag, "TagKey"), *value = kjson_str(tag, "TagValue");

    if (!name || !value)
        return kmsg__bad(e, "has a tag without a name or a value");
    if (strcmp(name, "coffer-grace-period") != 0)
        return RC_OK;
    out->has_grace = kmsg__read_duration(value, &out->grace_ms);
    out->grace_malformed = !out->has_grace;
    return RC_OK;
}

/* Where the next answer goes on. It is sent back as it is, so it has only what needs no escape. */
static RC read_marker(const json_t *j, struct kmsg_aws_tags *out, struct err *e)
{
    const char *marker = kjson_str(j, "NextMarker");
    bool truncated = false;

    if (kjson_has(j, "Truncated") && !kjson_bool(j, "Truncated", &truncated))
        return kmsg__bad(e, "does not say whether it has all tags");
    if (!truncated)
        return RC_OK;
    size_t len = marker ? strlen(marker) : 0;
    if (len < 1 || len >= sizeof out->marker)
        return kmsg__bad(e, "does not say where its other tags are");
    for (const char *c = marker; *c; c++)
        if (*c < ' ' || *c >= 0x7f || *c == '"' || *c == '\\')
            return kmsg__bad(e, "does not say where its other tags are");
    memcpy(out->marker, marker, len + 1);
    return RC_OK;
}

RC kmsg_aws_read_tags(const struct kmsg_reply *r, struct kmsg_aws_tags *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct kmsg_aws_tags t = { 0 };

    memset(out, 0, sizeof *out);
    TRY(kmsg__load(r, &j, e));
    const json_t *tags = kjson_arr(j, "Tags");
    if (!tags)
        return kmsg__bad(e, "has no list of tags");
    for (size_t i = 0; i < json_array_size(tags); i++)
        TRY(read_tag(json_array_get(tags, i), &t, e));
    TRY(read_marker(j, &t, e));
    *out = t;
    return RC_OK;
}

RC kmsg_aws_read_done(const struct kmsg_reply *r, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    if (r->status == 200 && r->body.len == 0)
        return RC_OK;
    TRY(kmsg__load(r, &j, e));
    return json_object_size(j) == 0 ? RC_OK : kmsg__bad(e, "says more than that it is done");
}

RC kmsg_aws_read_ciphertext(const struct kmsg_reply *r, const struct kmsg_aws_target *t,
                            struct buf *out, struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    TRY(kmsg__load(r, &j, e));
    const char *text = kjson_str(j, "CiphertextBlob");
    if (!is_key(j, "KeyId", t))
        return kmsg__bad(e, "is about another key than asked for");
    if (!text || !base64_decode(slice_str(text), out) || out->len == 0 ||
        out->len > KMSG_AWS_CIPHER_MAX) {
        buf_clear(out);
        return kmsg__bad(e, "has no ciphertext of a length that fits");
    }
    return RC_OK;
}

RC kmsg_aws_read_plaintext(const struct kmsg_reply *r, const struct kmsg_aws_target *t,
                           uint32_t len, struct buf *out, char version[KMSG_AWS_VERSION_MAX],
                           struct err *e)
{
    AUTO(kjson_freep) json_t *j = NULL;

    version[0] = 0;
    TRY(kmsg__load(r, &j, e));
    if (!is_key(j, "KeyId", t))
        return kmsg__bad(e, "is about another key than asked for");
    TRY(kmsg__read_plaintext(kjson_str(j, "Plaintext"), len, out, e));
    if (read_material(j, "KeyMaterialId", version, e).failed) {
        buf_wipe(out);
        return RC_FAILED;
    }
    return RC_OK;
}
