/* wire_build.c - messages to bytes.
 *
 *   OP_MSG    0 header(16) · 16 flagBits · 20 kind 0 · 21 document
 *   OP_REPLY  0 header(16) · 16 flags · 20 cursorID(8) · 28 startingFrom · 32 numberReturned = 1 · 36 document
 */
#include "wire/wire.h"

enum { MSG_HEAD = WIRE_HEADER_LEN + 5, REPLY_HEAD = WIRE_HEADER_LEN + 20, REPLY_AWAIT_CAPABLE = 8 };

static void put_header(uint8_t *p, size_t len, int32_t request_id, int32_t response_to,
                       enum wire_op op)
{
    put_le32(p, (uint32_t)len);
    put_le32(p + 4, (uint32_t)request_id);
    put_le32(p + 8, (uint32_t)response_to);
    put_le32(p + 12, (uint32_t)op);
}

void wire_reply_begin(struct wire_reply *r, enum wire_reply_kind kind, struct buf *b)
{
    size_t head = kind == WIRE_REPLY_MSG ? MSG_HEAD : REPLY_HEAD;

    r->kind = kind;
    r->start = b->len;
    memset(buf_extend(b, head), 0, head);
}

size_t wire_reply_doc(const struct wire_reply *r)
{
    return r->start + (r->kind == WIRE_REPLY_MSG ? MSG_HEAD : REPLY_HEAD);
}

void wire_reply_end(struct wire_reply *r, int32_t request_id, int32_t response_to, uint32_t flags,
                    struct buf *b)
{
    uint8_t *p = b->p + r->start;
    size_t len = b->len - r->start;

    if (r->kind == WIRE_REPLY_MSG) {
        INVARIANT(len >= MSG_HEAD + 5);
        put_header(p, len, request_id, response_to, WIRE_OP_MSG);
        put_le32(p + 16, flags);
        p[20] = 0;
        return;
    }
    INVARIANT(len >= REPLY_HEAD + 5);
    put_header(p, len, request_id, response_to, WIRE_OP_REPLY);
    put_le32(p + 16, REPLY_AWAIT_CAPABLE);
    put_le32(p + 32, 1);
}

void wire_put_msg(struct buf *b, int32_t request_id, uint32_t flags, struct bdoc body)
{
    uint8_t *p = buf_extend(b, MSG_HEAD);

    put_header(p, MSG_HEAD + body.len, request_id, 0, WIRE_OP_MSG);
    put_le32(p + 16, flags & ~(uint32_t)WIRE_CHECKSUM_PRESENT);
    p[20] = 0;
    buf_push(b, body.p, body.len);
}
