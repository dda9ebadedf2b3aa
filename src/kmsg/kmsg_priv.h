/* kmsg_priv.h - what the dialects of key services share. */
#ifndef KMSG_PRIV_H
#define KMSG_PRIV_H

#include <jansson.h>

#include "base/err.h"
#include "kmsg/kmsg_reply.h"

enum { KMSG_ANSWER_DEPTH = 8 };

/* kmsg__bad(): ERR_KEY_BAD_ANSWER: "the vault's answer " and what is wrong with it. */
RC kmsg__bad(struct err *e, const char *what);
/* kmsg__read_plaintext(): base64, NULL or of exactly len bytes that are not all zero, else ERR_KEY_BAD_ANSWER. */
RC kmsg__read_plaintext(const char *text, uint32_t len, struct buf *out, struct err *e);
/* kmsg__read_duration(): "600s", "10min", "1h", or a bare number of seconds. */
bool kmsg__read_duration(const char *text, int64_t *ms);
/* kmsg__load(): the body of an answer of class KMSG_OK. Errors: ERR_KEY_BAD_ANSWER. */
RC kmsg__load(const struct kmsg_reply *r, json_t **out, struct err *e);

#endif
