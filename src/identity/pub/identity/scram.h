/* scram.h - SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, as a step function over bytes.
 *
 *   begin ──▶ challenged ──proof right──▶ proven ──empty message──▶ done        (done at once when the client skips the empty exchange)
 *                 └──anything else──▶ failed
 *
 * Model    The client's first message names a user; its stored keys come from the user document. For a name that is not there the same steps are taken with a salt
 *          made from the name and the cluster's secret, and the proof then never fits: neither the answers nor their timing tell the two apart.
 * Errors   ERR_AUTHENTICATION_FAILED "Authentication failed." whatever went wrong; the reason is in err.detail. ERR_PROTOCOL_ERROR for a message that does not belong here.
 * Secrets  Stored keys live in struct secret while a conversation lasts. Payloads are never logged.
 */
#ifndef IDENTITY_SCRAM_H
#define IDENTITY_SCRAM_H

#include "base/err.h"
#include "base/slice.h"
#include "bsonx/bw.h"

struct arena;
struct identity;
struct scram;
struct secret;

enum {
    SCRAM_ITERATIONS_MIN = 4096,
    SCRAM_ITERATIONS = 15000, /* of new users */
    SCRAM_SALT_LEN = 28,
    SCRAM_KEY_LEN = 32,
    SCRAM_NONCE_MIN = 24, /* characters that we add */
    SCRAM_PAYLOAD_MAX = 8192,
};

/* scram_begin(): the client's first message. reply gets the server's first. Reads the user through id's store.
 *   skip_empty  the client asked for the conversation to end with the server's final message */
RC scram_begin(struct identity *id, struct slice db, struct slice payload, bool skip_empty,
               struct arena *a, struct scram **out, struct buf *reply, struct err *e);
/* scram_continue(): any further message. *done: the user named by scram_user() is who it says. */
RC scram_continue(struct scram *s, struct slice payload, struct buf *reply, bool *done,
                  struct err *e);
void scram_free(struct scram *s); /* NULL is fine */
struct slice scram_db(const struct scram *s);
struct slice scram_user(const struct scram *s);

/* scram_write_credentials(): derive keys from a password and write the field "credentials" of a user document. The password is prepared by SASLprep (RFC 4013).
 * Errors: ERR_BAD_VALUE for a password that cannot be prepared; ERR_LOC(50687) for an empty one. */
RC scram_write_credentials(const struct secret *password, int iterations, struct bw *w,
                           struct err *e);
/* scram_has_credentials(): the user document can log in this way. */
bool scram_has_credentials(struct bdoc user);

/* For tests of known answers: begin with a server nonce given. */
RC scram_begin_with_nonce(struct identity *id, struct slice db, struct slice payload,
                          bool skip_empty, struct slice nonce, struct arena *a, struct scram **out,
                          struct buf *reply, struct err *e);

#endif
