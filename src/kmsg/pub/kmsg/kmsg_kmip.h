/* kmsg_kmip.h - KMIP (OASIS, 1.2 to 1.4) from the client's side: three operations on one AES key that never leaves its server.
 *
 * Where a key lives comes from the configured URL alone: kmip://HOST[:PORT]/UNIQUE-ID[?mode=cbc]. In KMIP a key that is re-keyed is another object,
 * which the old one's link names: an object's unique identifier is what elsewhere is a key's version.
 *
 * Modes    gcm (KMIP 1.4) authenticates what it wraps. cbc (1.2, with padding of PKCS #5) is for servers that know no other; what it unwraps to is
 *          told by the SMK's commitment and the canary's MAC alone. The server chooses the nonce.
 * Wrapped  offset 0 length of the nonce · 1 length of the tag · 2 nonce · tag · ciphertext
 * Secrets  the request of an encryption and the answer to a decryption hold key bytes: the caller wipes them.
 */
#ifndef KMSG_KMSG_KMIP_H
#define KMSG_KMSG_KMIP_H

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

enum {
    KMSG_KMIP_HOST_MAX = 256,
    KMSG_KMIP_ID_MAX = 64,
    KMSG_KMIP_PORT = 5696, /* IANA's */
    KMSG_KMIP_HEAD_LEN = 8,
    KMSG_KMIP_ANSWER_MAX = 16384,
    KMSG_KMIP_WRAP_MAX = 2 + 16 + 16 + 64,
};

enum kmsg_kmip_mode { KMSG_KMIP_GCM, KMSG_KMIP_CBC };

struct kmsg_kmip_target {
    char host[KMSG_KMIP_HOST_MAX]; /* lower case, with its port */
    char id[KMSG_KMIP_ID_MAX + 1];
    enum kmsg_kmip_mode mode;
};

/* Errors: ERR_CONFIG. */
RC kmsg_kmip_target(const char *url, struct kmsg_kmip_target *out, struct err *e);
/* kmsg_kmip_is_id(): of those that a URL and an envelope can hold: letters, digits, '-', '_', '.', ':'. */
bool kmsg_kmip_is_id(const char *id);
/* The algorithm that stands beside a wrapped key, and back; false when it is none of these. */
const char *kmsg_kmip_alg(enum kmsg_kmip_mode m);
bool kmsg_kmip_mode_of(const char *alg, enum kmsg_kmip_mode *out);

/* Requests. */
void kmsg_kmip_describe(enum kmsg_kmip_mode m, const char *id, struct buf *out);
void kmsg_kmip_encrypt(enum kmsg_kmip_mode m, const char *id, struct slice plain, struct buf *out);
/* Errors: ERR_BAD_VALUE: wrapped is nothing that kmsg_kmip_read_wrapped() made in this mode. */
RC kmsg_kmip_decrypt(enum kmsg_kmip_mode m, const char *id, struct slice wrapped, struct buf *out,
                     struct err *e);

/* kmsg_kmip_frame(): the length of the answer that begins so; 0: KMSG_KMIP_HEAD_LEN bytes are needed; SIZE_MAX: it is no answer. */
size_t kmsg_kmip_frame(struct slice have);

enum kmsg_kmip_op {
    KMSG_KMIP_OP_DESCRIBE = 0x0b, /* Get Attributes */
    KMSG_KMIP_OP_ENCRYPT = 0x1f,
    KMSG_KMIP_OP_DECRYPT = 0x20,
};
struct kmsg_kmip_answer {
    struct slice payload; /* of class KMSG_OK alone */
    int64_t date_s;       /* the server's; 0: it does not say */
};
/* kmsg_kmip_open(): what a whole answer to that operation means. Anything but one item of exactly what was asked for is KMSG_BAD. */
enum kmsg_class kmsg_kmip_open(enum kmsg_kmip_mode m, enum kmsg_kmip_op op, struct slice message,
                               struct kmsg_kmip_answer *out, char cause[KMSG_CAUSE_MAX]);

/* the others serve no more */
enum kmsg_kmip_state { KMSG_KMIP_PRE_ACTIVE = 1, KMSG_KMIP_ACTIVE = 2 };
struct kmsg_kmip_key {
    int state;
    int bits;
    bool can_wrap, can_unwrap;
    int64_t active_s, inactive_s;           /* its dates; 0 = none */
    char replacement[KMSG_KMIP_ID_MAX + 1]; /* the object that a re-key made of it; "" = none */
};

/* The readers take the payload of an answer of class KMSG_OK, and id as it was sent. Errors: ERR_KEY_BAD_ANSWER; kmsg_kmip_read_key() also
 * ERR_CONFIG: an object that is no AES key of 256 bits. */
RC kmsg_kmip_read_key(struct slice payload, const char *id, struct kmsg_kmip_key *out,
                      struct err *e);
RC kmsg_kmip_read_wrapped(enum kmsg_kmip_mode m, struct slice payload, const char *id,
                          uint32_t plain_len, struct buf *out, struct err *e);
/* kmsg_kmip_read_plain(): must have len bytes, not all zero; points into payload. */
RC kmsg_kmip_read_plain(struct slice payload, const char *id, uint32_t len, struct slice *out,
                        struct err *e);

#endif
