/* kmsg_aws.h - AWS Key Management Service from the client's side: requests out, answers in, everything checked; and the places that an identity's
 * credentials come from.
 *
 * Where a key lives comes from the configured URL alone: aws-kms:///ARN, or aws-kms://HOST[:PORT]/ARN for another endpoint than the region's own.
 * A version is the id of the key's material, 64 hexadecimal digits; "0" for a key that has one material for ever and no name for it.
 * Secrets  the bodies of encryptions, plaintexts and credentials are the caller's to wipe.
 */
#ifndef KMSG_KMSG_AWS_H
#define KMSG_KMSG_AWS_H

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

enum {
    KMSG_AWS_HOST_MAX = 256,
    KMSG_AWS_ARN_MAX = 256,
    KMSG_AWS_VERSION_MAX = 65,
    KMSG_AWS_CIPHER_MAX = 1000
};
#define KMSG_AWS_NO_MATERIAL "0"

struct kmsg_aws_target {
    char host[KMSG_AWS_HOST_MAX]; /* lower case; with its port unless that is 443 */
    char arn[KMSG_AWS_ARN_MAX];   /* arn:PARTITION:kms:REGION:ACCOUNT:key/ID */
    char region[32];
    char account[16], id[72];
    const char *partition, *dns_suffix; /* static */
};

/* Errors: ERR_CONFIG. */
RC kmsg_aws_target(const char *url, struct kmsg_aws_target *out, struct err *e);
bool kmsg_aws_is_version(const char *v);

/* Bodies. context: the value of the one pair of the encryption context, "cofferdb-cluster"; kmsg_is_context() holds. */
void kmsg_aws_describe_body(const struct kmsg_aws_target *t, struct buf *out);
/* kmsg_aws_tags_body(): marker "": from the first tag on. */
void kmsg_aws_tags_body(const struct kmsg_aws_target *t, const char *marker, struct buf *out);
void kmsg_aws_encrypt_body(const struct kmsg_aws_target *t, const char *context, struct slice plain,
                           struct buf *out);
void kmsg_aws_decrypt_body(const struct kmsg_aws_target *t, const char *context,
                           struct slice ciphertext, struct buf *out);

/* kmsg_aws_classify(): the answers of KMS. KMSG_UNAUTHORIZED: it does not know the credential; KMSG_EXPIRED: the credential or the signature is
 * not good now, which says nothing about the identity. */
enum kmsg_class kmsg_aws_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

struct kmsg_aws_key {
    char version[KMSG_AWS_VERSION_MAX]; /* of the current material */
    bool enabled;
    int64_t expires_s; /* imported material; 0 = never */
};

/* One answer of the key's tags. */
struct kmsg_aws_tags {
    bool has_grace, grace_malformed; /* the tag coffer-grace-period */
    int64_t grace_ms;
    char marker[1025]; /* where the next one goes on; "" = these were all */
};

/* The readers take an answer of class KMSG_OK. Errors: ERR_KEY_BAD_ANSWER; kmsg_aws_read_key() also what the key's state means (ERR_KEY_DENIED,
 * ERR_KEY_UNREACHABLE) and ERR_CONFIG (a key of a kind that cannot be used). */
RC kmsg_aws_read_key(const struct kmsg_reply *r, const struct kmsg_aws_target *t,
                     struct kmsg_aws_key *out, struct err *e);
RC kmsg_aws_read_tags(const struct kmsg_reply *r, struct kmsg_aws_tags *out, struct err *e);
/* kmsg_aws_read_done(): of an operation that says nothing: an empty body, or an empty object. */
RC kmsg_aws_read_done(const struct kmsg_reply *r, struct err *e);
RC kmsg_aws_read_ciphertext(const struct kmsg_reply *r, const struct kmsg_aws_target *t,
                            struct buf *out, struct err *e);
/* kmsg_aws_read_plaintext(): must have len bytes, not all zero; version: of the material that decrypted it. */
RC kmsg_aws_read_plaintext(const struct kmsg_reply *r, const struct kmsg_aws_target *t,
                           uint32_t len, struct buf *out, char version[KMSG_AWS_VERSION_MAX],
                           struct err *e);

/* ---- credentials ---- */

/* Pieces of one text, a NUL behind each; valid as long as that text. */
struct kmsg_aws_credential {
    const char *access_key, *secret_key;
    const char *token; /* "" = none */
};
struct kmsg_aws_credential kmsg_aws_credential_of(const struct buf *text);

/* kmsg_aws_read_profile(): of a credentials file as AWS's tools write it; no section [profile] or an incomplete one is ERR_CONFIG. */
RC kmsg_aws_read_profile(struct slice file, const char *profile, struct buf *out, struct err *e);
/* kmsg_aws_read_credential(): of the metadata service and of containers, whatever the content type. now_s: for lack of a Date. */
RC kmsg_aws_read_credential(const struct kmsg_reply *r, int64_t now_s, struct buf *out,
                            int64_t *lifetime_s, struct err *e);
/* kmsg_aws_classify_metadata(): of these two places. what: who answers, for the cause. */
enum kmsg_class kmsg_aws_classify_metadata(const struct kmsg_reply *r, const char *what,
                                           char cause[KMSG_CAUSE_MAX]);

/* AssumeRoleWithWebIdentity: the body of the form, what an answer means, and what is in it. */
void kmsg_aws_web_identity_form(const char *role_arn, struct slice token, struct buf *out);
enum kmsg_class kmsg_aws_classify_sts(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);
RC kmsg_aws_read_sts(const struct kmsg_reply *r, int64_t now_s, struct buf *out,
                     int64_t *lifetime_s, struct err *e);

#endif
