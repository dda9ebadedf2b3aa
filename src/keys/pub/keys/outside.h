/* outside.h - two small files: how far a store had got, kept where a rollback of its directories does not reach, and the permission to go back once.
 *
 * Formats in docs/formats/anchor-outside.md. Pure: bytes and back; a digest tells damage, nothing is authenticated: both files lie where only the operator
 * writes. [any thread]
 */
#ifndef KEYS_OUTSIDE_H
#define KEYS_OUTSIDE_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "keys/custody.h"

enum { OUTSIDE_LEN = 76, TICKET_LEN = 100 };

struct outside_mark {
    uint8_t lineage[LINEAGE_LEN];
    uint64_t counter; /* of an anchor that was on disk */
    int64_t written_s;
};
void outside_encode(const struct outside_mark *m, struct buf *out);
/* Errors: ERR_CORRUPT, ERR_UNKNOWN_FORMAT. */
RC outside_decode(struct slice bytes, struct outside_mark *out, struct err *e);

/* A store whose anchor is exactly this file, of that lineage, may be older than what is kept outside: until it has been opened. */
struct restore_ticket {
    uint8_t lineage[LINEAGE_LEN];
    uint8_t anchor_sha256[32];
    int64_t made_s;
};
void outside_ticket_encode(const struct restore_ticket *t, struct buf *out);
RC outside_ticket_decode(struct slice bytes, struct restore_ticket *out, struct err *e);

#endif
