/* kmsg_gcp.h - Google Cloud KMS from the client's side: requests out, answers in, everything checked; and the tokens of an identity there.
 *
 * Where a key lives comes from the configured URL alone: gcp-kms://projects/P/locations/L/keyRings/R/cryptoKeys/K, with "HOST[:PORT]/" before it for another
 * endpoint than Google's own. A version is a number. What is sent and what comes back carries a CRC32C, which both sides check.
 * Secrets  the bodies of encryptions and logins, plaintexts, tokens and the private key of an account are the caller's to wipe.
 */
#ifndef KMSG_KMSG_GCP_H
#define KMSG_KMSG_GCP_H

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

enum { KMSG_GCP_HOST_MAX = 256, KMSG_GCP_NAME_MAX = 400, KMSG_GCP_CIPHER_MAX = 1000 };
#define KMSG_GCP_SCOPE "https://www.googleapis.com/auth/cloudkms"

struct kmsg_gcp_target {
    char host[KMSG_GCP_HOST_MAX]; /* lower case, with its port */
    char name[KMSG_GCP_NAME_MAX]; /* projects/P/locations/L/keyRings/R/cryptoKeys/K */
    char location[64];
};

/* Errors: ERR_CONFIG. */
RC kmsg_gcp_target(const char *url, struct kmsg_gcp_target *out, struct err *e);
bool kmsg_gcp_is_version(const char *v);
/* kmsg_gcp_url(): version "" = the key itself; op "", ":encrypt", ":decrypt" or a query. */
void kmsg_gcp_url(const struct kmsg_gcp_target *t, const char *version, const char *op,
                  struct buf *out);

/* Bodies. context: what the additional authenticated data is made of: "cofferdb-cluster=" and it. */
void kmsg_gcp_encrypt_body(const char *context, struct slice plain, struct buf *out);
void kmsg_gcp_decrypt_body(const char *context, struct slice ciphertext, struct buf *out);

/* kmsg_gcp_classify(): the answers of Cloud KMS, and of the service that impersonates. */
enum kmsg_class kmsg_gcp_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

struct kmsg_gcp_key {
    char version[16]; /* the primary one; "" = there is none */
    bool enabled, is_hsm;
    bool has_grace, grace_malformed; /* the label coffer-grace-period */
    int64_t grace_ms;
};

/* The readers take an answer of class KMSG_OK. Errors: ERR_KEY_BAD_ANSWER; those of keys and versions also what a state means (ERR_KEY_DENIED,
 * ERR_KEY_NOT_FOUND, ERR_KEY_UNREACHABLE) and ERR_CONFIG (a key of a kind that cannot be used). */
RC kmsg_gcp_read_key(const struct kmsg_reply *r, const struct kmsg_gcp_target *t,
                     struct kmsg_gcp_key *out, struct err *e);
RC kmsg_gcp_read_version(const struct kmsg_reply *r, const struct kmsg_gcp_target *t,
                         const char *version, bool *enabled, struct err *e);
/* kmsg_gcp_read_ciphertext(): made by exactly that version, from what the service says it has received whole. */
RC kmsg_gcp_read_ciphertext(const struct kmsg_reply *r, const struct kmsg_gcp_target *t,
                            const char *version, struct buf *out, struct err *e);
/* kmsg_gcp_read_plaintext(): must have len bytes, not all zero. */
RC kmsg_gcp_read_plaintext(const struct kmsg_reply *r, uint32_t len, struct buf *out,
                           struct err *e);
/* RFC 3720 B.4, Castagnoli */
uint32_t kmsg_gcp_crc32c(struct slice in);

/* ---- tokens ---- */

/* The key file of a service account. */
struct kmsg_gcp_account {
    char email[256], key_id[128], token_url[512];
};
/* kmsg_gcp_read_account(): key gets the PEM of the private key. Errors: ERR_CONFIG. */
RC kmsg_gcp_read_account(struct slice file, struct kmsg_gcp_account *out, struct buf *key,
                         struct err *e);

/* The configuration of a workload identity federation whose token lies in a file. */
struct kmsg_gcp_federation {
    char audience[512], token_type[128], token_url[512];
    char impersonation_url[512]; /* "": the federated token itself is used */
    char token_file[512];
    char token_field[64]; /* "": the file is the token, else a member of the JSON object in it */
};
RC kmsg_gcp_read_federation(struct slice file, struct kmsg_gcp_federation *out, struct err *e);
/* kmsg_gcp_read_subject(): the token of a token file. Errors: ERR_CONFIG. */
RC kmsg_gcp_read_subject(const struct kmsg_gcp_federation *f, struct slice file, struct buf *token,
                         struct err *e);

/* Bodies of forms, and of the request to impersonate. */
void kmsg_gcp_assertion_form(struct slice assertion, struct buf *out);
void kmsg_gcp_exchange_form(const struct kmsg_gcp_federation *f, struct slice token,
                            struct buf *out);
void kmsg_gcp_impersonation_body(struct buf *out);

/* Of the token endpoints; of the metadata service. Their answers are read by kmsg_token_read(), those of the impersonation here. */
enum kmsg_class kmsg_gcp_classify_token(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);
enum kmsg_class kmsg_gcp_classify_metadata(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);
RC kmsg_gcp_read_impersonated(const struct kmsg_reply *r, int64_t now_s, struct buf *token,
                              int64_t *lifetime_s, struct err *e);

#endif
