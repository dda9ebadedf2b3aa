/* kmsg_transit.h - the transit engine of HashiCorp Vault and OpenBao from the client's side: requests out, answers in, everything checked.
 *
 * Where a key lives comes from the configured URL alone: vault://HOST[:PORT]/MOUNT/NAME[?namespace=NS]. A version is a number, and part of
 * every ciphertext ("vault:v3:..."), where it is compared.
 * Secrets  the bodies of logins and of encryptions, tokens and plaintexts are the caller's to wipe.
 */
#ifndef KMSG_KMSG_TRANSIT_H
#define KMSG_KMSG_TRANSIT_H

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

enum { KMSG_TRANSIT_TEXT_MAX = 256, KMSG_TRANSIT_CIPHER_MAX = 1000 };

struct kmsg_transit_target {
    char host[KMSG_TRANSIT_TEXT_MAX];  /* lower case, with its port */
    char mount[KMSG_TRANSIT_TEXT_MAX]; /* "transit"; may have slashes */
    char key[KMSG_TRANSIT_TEXT_MAX];
    char ns[KMSG_TRANSIT_TEXT_MAX]; /* "" = none */
};

/* Errors: ERR_CONFIG. */
RC kmsg_transit_target(const char *url, struct kmsg_transit_target *out, struct err *e);
bool kmsg_transit_is_version(const char *v);

/* what: "keys", "encrypt", "decrypt" */
void kmsg_transit_url(const struct kmsg_transit_target *t, const char *what, struct buf *out);
/* kmsg_transit_login_url(): mount is "auth/approle" and the like. */
void kmsg_transit_login_url(const struct kmsg_transit_target *t, const char *mount,
                            struct buf *out);
/* kmsg_transit_login_body(): {"a":"b"[,"c":"d"]}; c NULL: one member. Refuses (ERR_CONFIG) what would need escapes: no role or credential has
 * such characters. */
RC kmsg_transit_login_body(const char *a, const char *b, const char *c, struct slice d,
                           struct buf *out, struct err *e);
void kmsg_transit_encrypt_body(struct slice plain, const char *version, struct buf *out);
void kmsg_transit_decrypt_body(struct slice ciphertext, struct buf *out);

/* kmsg_transit_config_body(): versions below least decrypt no more. */
void kmsg_transit_config_body(int64_t least, struct buf *out);

/* The classes of answers: to operations (403 is KMSG_UNAUTHORIZED: the token may be the reason) and to logins. */
enum kmsg_class kmsg_transit_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);
enum kmsg_class kmsg_transit_classify_login(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

struct kmsg_transit_key {
    char version[16]; /* the one asked for, or the newest */
    int bits;         /* 256: a symmetric key */
    int64_t number;   /* version, as one */
    int64_t newest;
    bool enabled, can_wrap;
};

/* The readers take an answer of class KMSG_OK. Errors: ERR_KEY_BAD_ANSWER; kmsg_transit_read_key() also ERR_KEY_NOT_FOUND (no such
 * version) and ERR_CONFIG (a key of a kind that cannot be used). version "" = newest. */
RC kmsg_transit_read_key(const struct kmsg_reply *r, const char *version,
                         struct kmsg_transit_key *out, struct err *e);
RC kmsg_transit_read_login(const struct kmsg_reply *r, struct buf *token, int64_t *lifetime_s,
                           struct err *e);
RC kmsg_transit_read_ciphertext(const struct kmsg_reply *r, const char *version, struct buf *out,
                                struct err *e);
/* kmsg_transit_read_plaintext(): must have len bytes, not all zero. */
RC kmsg_transit_read_plaintext(const struct kmsg_reply *r, uint32_t len, struct buf *out,
                               struct err *e);
/* kmsg_transit_is_ciphertext(): "vault:vVERSION:" and base64. */
bool kmsg_transit_is_ciphertext(struct slice text, const char *version);

#endif
