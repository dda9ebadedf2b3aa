/* wire.h - the MongoDB wire protocol: bytes to messages and back, without I/O.
 *
 * Model    wire_frame() says how long the message at the head of some bytes is. wire_parse() turns one whole message into a struct wire_msg, unpacking OP_COMPRESSED on the
 *          way. Replies are built around the document that a command writes: wire_reply_begin() leaves room for the headers, wire_reply_end() fills them in.
 * Input    Everything is hostile until wire_parse() has returned: each length is checked against the bytes that are left and every document is validated.
 * Memory   Documents borrow from the message, or from the arena when it was compressed.
 * Threads  Pure functions; a struct wire_codec belongs to one thread at a time.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "bsonx/bval.h"

struct arena;

enum wire_op {
    WIRE_OP_REPLY = 1,
    WIRE_OP_QUERY = 2004,
    WIRE_OP_COMPRESSED = 2012,
    WIRE_OP_MSG = 2013,
};

enum {
    WIRE_HEADER_LEN = 16,
    WIRE_MAX_MESSAGE = 48000000, /* maxMessageSizeBytes */
    WIRE_MAX_DOC = 16777216,     /* maxBsonObjectSize, of user documents */
    WIRE_DOC_SLACK = 16 * 1024,  /* tolerated above it in what a message carries */
    WIRE_MAX_DEPTH = 200,
    WIRE_MAX_SEQUENCES = 16, /* kind-1 sections of a message */
    /* headers before a reply's document, whichever its kind */
    WIRE_REPLY_ROOM = WIRE_HEADER_LEN + 20,
};

enum wire_flag { /* of OP_MSG */
                 WIRE_CHECKSUM_PRESENT = 1u << 0,
                 WIRE_MORE_TO_COME = 1u << 1,
                 WIRE_EXHAUST_ALLOWED = 1u << 16,
};

/* compressorId of OP_COMPRESSED */
enum wire_compressor { WIRE_NOOP, WIRE_SNAPPY, WIRE_ZLIB, WIRE_ZSTD, WIRE_COMPRESSOR_NR };
const char *wire_compressor_name(enum wire_compressor c); /* "snappy"; static */
int wire_compressor_find(struct slice name);              /* -1 when unknown */

/* A document sequence, kind 1 of OP_MSG. */
struct wire_seq {
    struct slice name;
    struct bdoc *docs;
    int n_docs;
};

struct wire_msg {
    int32_t request_id, response_to;
    enum wire_op op; /* WIRE_OP_MSG, WIRE_OP_QUERY or WIRE_OP_REPLY: what was inside */
    uint32_t flags;  /* OP_MSG's or OP_REPLY's */
    bool compressed;
    enum wire_compressor compressor;
    struct bdoc body;
    struct slice db; /* $db; of OP_QUERY, the name before the dot */
    struct wire_seq *seqs;
    int n_seqs;
};

/* Contexts of the compressors, reused from message to message. */
struct wire_codec;
struct wire_codec *wire_codec_new(void);
void wire_codec_free(struct wire_codec *c); /* NULL is fine */

/* wire_frame(): *need = bytes of the message that starts have, or WIRE_HEADER_LEN while that is not known yet. Errors: ERR_PROTOCOL_ERROR for a length below 16
 * or above max, and for an operation that is not spoken; the stream is lost then. */
RC wire_frame(struct slice have, size_t max, size_t *need, struct err *e);

/* wire_parse(): msg is exactly one message that wire_frame() measured.
 *   codec  NULL refuses compressed messages
 * On failure out->request_id, op and flags are still what the header said, as far as it could be read, so that an error can be answered. Errors: ERR_PROTOCOL_ERROR and MongoDB's own
 * numbers for a malformed message; ERR_INVALID_BSON, ERR_OVERFLOW for a malformed document. */
RC wire_parse(struct slice msg, struct wire_codec *codec, struct arena *a, struct wire_msg *out,
              struct err *e);

/* Replies. What lies between begin and end is one BSON document, appended to b by the caller. */
enum wire_reply_kind { WIRE_REPLY_MSG, WIRE_REPLY_QUERY };
struct wire_reply {
    enum wire_reply_kind kind;
    size_t start; /* where in the buf the message starts */
};
void wire_reply_begin(struct wire_reply *r, enum wire_reply_kind kind, struct buf *b);
/* wire_reply_doc(): where in the buf the document starts. */
size_t wire_reply_doc(const struct wire_reply *r);
/* wire_reply_end(): flags are OP_MSG's (WIRE_MORE_TO_COME). */
void wire_reply_end(struct wire_reply *r, int32_t request_id, int32_t response_to, uint32_t flags,
                    struct buf *b);
/* wire_compress(): replace the message that starts at `start` by an OP_COMPRESSED one. Leaves it as it is when that would not make it smaller. */
RC wire_compress(struct wire_codec *codec, enum wire_compressor c, size_t start, struct buf *b,
                 struct err *e);

/* wire_put_msg(): a whole OP_MSG request with one body, for clients of the protocol. */
void wire_put_msg(struct buf *b, int32_t request_id, uint32_t flags, struct bdoc body);

/* crc32c(): Castagnoli, as RFC 3720 B.4 computes it. */
uint32_t wire_crc32c(struct slice in);

#endif
