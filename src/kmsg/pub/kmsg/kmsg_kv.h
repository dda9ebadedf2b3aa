/* kmsg_kv.h - the Azure Key Vault keys protocol from the client's side: URLs and bodies out, answers in, everything checked.
 *
 * Where a key lives comes from the configured URL alone. An answer that speaks of another host, key or version, has a value of an
 * unexpected length or leaves out what it must say is refused.
 * Secrets  kmsg_kv_body() and kmsg_kv_read_unwrapped() handle key bytes: their buffers are the caller's to wipe.
 */
#ifndef KMSG_KMSG_KV_H
#define KMSG_KMSG_KV_H

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

#define KMSG_KV_API_VERSION "7.4"
#define KMSG_KV_GRACE_TAG "coffer-grace-period"

enum { KMSG_HOST_MAX = 256, KMSG_KEY_MAX = 128, KMSG_VERSION_MAX = 65, KMSG_MODULUS_MAX = 512 };

struct kmsg_kv_target {
    char host[KMSG_HOST_MAX]; /* lower case; with the port unless it is 443 */
    char key[KMSG_KEY_MAX];
};

/* kmsg_kv_target(): from "https://HOST[:PORT]/keys/NAME". A URL with a version is refused: the newest one is followed.
 * Errors: ERR_CONFIG. */
RC kmsg_kv_target(const char *url, struct kmsg_kv_target *out, struct err *e);

/* kmsg_kv_url(): op "" for the key itself, else "wrapkey", "unwrapkey". version "" = newest. */
void kmsg_kv_url(const struct kmsg_kv_target *t, const char *version, const char *op,
                 struct buf *out);
/* kmsg_kv_body(): {"alg":"RSA-OAEP-256","value":...}. Room is reserved at once, so that value does not move. */
void kmsg_kv_body(struct slice value, struct buf *out);

/* kmsg_kv_classify(): cause gets a sentence for anything but KMSG_OK; it names the missing permission when the service does. */
enum kmsg_class kmsg_kv_classify(const struct kmsg_reply *r, char cause[KMSG_CAUSE_MAX]);

struct kmsg_kv_key {
    char kid[512];
    char version[KMSG_VERSION_MAX];
    char kty[16];
    bool is_rsa; /* else it has no modulus, and neither wraps nor unwraps here */
    uint8_t n[KMSG_MODULUS_MAX], e[8]; /* big-endian */
    uint32_t n_len, e_len;
    bool enabled, can_wrap, can_unwrap;
    int64_t not_before_s, expires_s; /* 0 = none */
    char recovery_level[48];
    bool has_grace, grace_malformed; /* the tag KMSG_KV_GRACE_TAG */
    int64_t grace_ms;
};

/* The readers take an answer of class KMSG_OK. Errors: ERR_KEY_BAD_ANSWER, saying what is wrong with it. version "" = any. */
RC kmsg_kv_read_key(const struct kmsg_reply *r, const struct kmsg_kv_target *t, const char *version,
                    struct kmsg_kv_key *out, struct err *e);
/* kmsg_kv_read_tag(): of an answer about a key: its version, and the text of one tag; value "" where there is none, or one longer than len - 1. */
RC kmsg_kv_read_tag(const struct kmsg_reply *r, const struct kmsg_kv_target *t, const char *version,
                    const char *name, char found[KMSG_VERSION_MAX], char *value, size_t len,
                    struct err *e);
/* kmsg_kv_tags_body(): of such an answer: the body that sets one tag and leaves all others as they are. */
RC kmsg_kv_tags_body(const struct kmsg_reply *r, const char *name, const char *value,
                     struct buf *out, struct err *e);
/* kmsg_kv_read_wrapped(): value gets len bytes, which must be exactly what the modulus has. */
RC kmsg_kv_read_wrapped(const struct kmsg_reply *r, const struct kmsg_kv_target *t,
                        const char *version, uint32_t len, struct buf *value, struct err *e);
/* kmsg_kv_read_unwrapped(): value must have len bytes, not all zero. */
RC kmsg_kv_read_unwrapped(const struct kmsg_reply *r, const struct kmsg_kv_target *t,
                          const char *version, uint32_t len, struct buf *value, struct err *e);

#endif
