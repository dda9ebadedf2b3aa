/* outside.c - see keys/outside.h.
 *
 *   outside mark                     restore ticket
 *   off  size                        off  size
 *     0     8  "COFERANC"              0     8  "COFERTKT"
 *     8     2  format, 1               8     2  format, 1
 *    10     2  zero                   10     2  zero
 *    12     8  counter                12     8  made, Unix seconds
 *    20    16  lineage                20    16  lineage
 *    36     8  written, Unix seconds  36    32  SHA-256 of the file ANCHOR
 *    44    32  SHA-256 of all before  68    32  SHA-256 of all before
 */
#include "keys/outside.h"

#include <string.h>

#include "base/mem.h"
#include "crypto/kdf.h"
#include "keys_priv.h"

enum { FORMAT = 1, HEAD_LEN = 12 };

static void begin(const char magic[8], struct buf *out)
{
    buf_clear(out);
    buf_push(out, magic, 8);
    buf_push_be16(out, FORMAT);
    buf_push_be16(out, 0);
}

static void finish(struct buf *out, size_t len)
{
    uint8_t digest[SHA256_LEN];
    struct err e = { 0 };

    INVARIANT(!sha256(&SLICE(out->p, out->len), 1, digest, &e).failed);
    buf_push(out, digest, sizeof(digest));
    INVARIANT(out->len == len);
}

static RC check(struct slice in, const char magic[8], size_t len, const char *what, struct err *e)
{
    uint8_t digest[SHA256_LEN];

    if (in.len != len || memcmp(in.p, magic, 8) != 0)
        FAIL(e, ERR_CORRUPT, "%s is damaged", what);
    TRY(sha256(&SLICE(in.p, len - SHA256_LEN), 1, digest, e));
    if (!ct_equal(digest, in.p + len - SHA256_LEN, SHA256_LEN))
        FAIL(e, ERR_CORRUPT, "%s is damaged", what);
    if (get_be16(in.p + 8) != FORMAT || get_be16(in.p + 10) != 0)
        FAIL(e, ERR_UNKNOWN_FORMAT, "%s has format %u, this program knows %d", what,
             get_be16(in.p + 8), FORMAT);
    return RC_OK;
}

static const char mark_magic[8] = "COFERANC", ticket_magic[8] = "COFERTKT"; /* no NUL */

void outside_encode(const struct outside_mark *m, struct buf *out)
{
    begin(mark_magic, out);
    buf_push_be64(out, m->counter);
    buf_push(out, m->lineage, LINEAGE_LEN);
    buf_push_be64(out, (uint64_t)m->written_s);
    finish(out, OUTSIDE_LEN);
}

RC outside_decode(struct slice in, struct outside_mark *out, struct err *e)
{
    memset(out, 0, sizeof(*out));
    TRY(check(in, mark_magic, OUTSIDE_LEN, "the anchor kept outside", e));
    out->counter = get_be64(in.p + HEAD_LEN);
    memcpy(out->lineage, in.p + 20, LINEAGE_LEN);
    out->written_s = (int64_t)get_be64(in.p + 36);
    return RC_OK;
}

void outside_ticket_encode(const struct restore_ticket *t, struct buf *out)
{
    begin(ticket_magic, out);
    buf_push_be64(out, (uint64_t)t->made_s);
    buf_push(out, t->lineage, LINEAGE_LEN);
    buf_push(out, t->anchor_sha256, sizeof(t->anchor_sha256));
    finish(out, TICKET_LEN);
}

RC outside_ticket_decode(struct slice in, struct restore_ticket *out, struct err *e)
{
    memset(out, 0, sizeof(*out));
    TRY(check(in, ticket_magic, TICKET_LEN, "the restore ticket", e));
    out->made_s = (int64_t)get_be64(in.p + HEAD_LEN);
    memcpy(out->lineage, in.p + 20, LINEAGE_LEN);
    memcpy(out->anchor_sha256, in.p + 36, sizeof(out->anchor_sha256));
    return RC_OK;
}
