/* wire_compress.c - OP_COMPRESSED both ways.
 *
 *   0  originalOpcode int32 · 4  uncompressedSize int32 · 8  compressorId uint8 · 9  data
 *
 * uncompressedSize is believed only after it was compared with the limit, and the data must fill it exactly.
 */
#include "wire_priv.h"

#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "base/arena.h"
#include "base/mem.h"

struct wire_codec {
    ZSTD_CCtx *zc;
    ZSTD_DCtx *zd;
};

static const char *const names[WIRE_COMPRESSOR_NR] = { "noop", "snappy", "zlib", "zstd" };

const char *wire_compressor_name(enum wire_compressor c)
{
    INVARIANT(c < WIRE_COMPRESSOR_NR);
    return names[c];
}

int wire_compressor_find(struct slice name)
{
    for (int i = 0; i < WIRE_COMPRESSOR_NR; i++)
        if (slice_eq_str(name, names[i]))
            return i;
    return -1;
}

struct wire_codec *wire_codec_new(void)
{
    return NEW(struct wire_codec);
}

void wire_codec_free(struct wire_codec *c)
{
    if (!c)
        return;
    ZSTD_freeCCtx(c->zc);
    ZSTD_freeDCtx(c->zd);
    mem_free(c);
}

static bool inflate_all(struct wire_codec *c, enum wire_compressor how, struct slice in,
                        uint8_t *out, size_t len)
{
    switch (how) {
    case WIRE_NOOP:
        if (in.len != len)
            return false;
        if (len)
            memcpy(out, in.p, len);
        return true;
    case WIRE_SNAPPY: {
        size_t says = 0, got = len;

        return snappy_uncompressed_length((const char *)in.p, in.len, &says) == SNAPPY_OK &&
               says == len &&
               snappy_uncompress((const char *)in.p, in.len, (char *)out, &got) == SNAPPY_OK &&
               got == len;
    }
    case WIRE_ZLIB: {
        uLongf got = len;
        uLong used = in.len;

        return uncompress2(out, &got, in.p, &used) == Z_OK && got == len && used == in.len;
    }
    case WIRE_ZSTD:
        if (!c->zd)
            c->zd = ZSTD_createDCtx();
        INVARIANT(c->zd != NULL);
        return ZSTD_decompressDCtx(c->zd, out, len, in.p, in.len) == len;
    default: return false;
    }
}

RC wire__uncompress(struct slice body, struct wire_codec *codec, struct arena *a, int32_t *opcode,
                    enum wire_compressor *how, struct slice *out, struct err *e)
{
    uint32_t size;
    uint8_t *room;

    *out = SLICE_EMPTY;
    if (body.len < WIRE__COMPRESSED_HEAD)
        FAIL(e, ERR_PROTOCOL_ERROR, "compressed message is cut short");
    *opcode = (int32_t)get_le32(body.p);
    size = get_le32(body.p + 4);
    if (size > WIRE_MAX_MESSAGE - WIRE_HEADER_LEN)
        FAIL(e, ERR_PROTOCOL_ERROR, "compressed message would unfold to %u bytes", size);
    if (body.p[8] >= WIRE_COMPRESSOR_NR)
        FAIL(e, ERR_PROTOCOL_ERROR, "compressor %u is not known", body.p[8]);
    *how = (enum wire_compressor)body.p[8];
    if (*opcode == WIRE_OP_COMPRESSED)
        FAIL(e, ERR_PROTOCOL_ERROR, "compressed message holds a compressed message");
    body.p += WIRE__COMPRESSED_HEAD;
    body.len -= WIRE__COMPRESSED_HEAD;
    /* What the data cannot possibly unfold to is refused before room is made for it: DEFLATE's best is 1032 to 1, Snappy's 64 bytes from 3;
     * Zstandard has no such bound, so there the size stands in the frame and must agree. */
    if (*how == WIRE_ZSTD) {
        unsigned long long says = ZSTD_getFrameContentSize(body.p, body.len);

        if (says == ZSTD_CONTENTSIZE_ERROR || (says != ZSTD_CONTENTSIZE_UNKNOWN && says != size))
            FAIL(e, ERR_PROTOCOL_ERROR, "compressed message does not unfold to its size");
    } else if (size / 1100 > body.len) {
        FAIL(e, ERR_PROTOCOL_ERROR, "compressed message does not unfold to its size");
    }
    room = arena_alloc(a, size ? size : 1);
    if (!inflate_all(codec, *how, body, room, size))
        FAIL(e, ERR_PROTOCOL_ERROR, "compressed message does not unfold to its size");
    *out = SLICE(room, size);
    return RC_OK;
}

/* Appends the compressed form of in to b; false when the library fails. */
static bool deflate_all(struct wire_codec *c, enum wire_compressor how, struct slice in,
                        struct buf *b)
{
    size_t at = b->len, room, got;
    uint8_t *p;

    switch (how) {
    case WIRE_NOOP: buf_push(b, in.p, in.len); return true;
    case WIRE_SNAPPY:
        room = snappy_max_compressed_length(in.len);
        p = buf_extend(b, room);
        got = room;
        if (snappy_compress((const char *)in.p, in.len, (char *)p, &got) != SNAPPY_OK)
            return false;
        break;
    case WIRE_ZLIB: {
        uLongf zlen = compressBound(in.len);

        p = buf_extend(b, zlen);
        if (compress2(p, &zlen, in.p, in.len, Z_DEFAULT_COMPRESSION) != Z_OK)
            return false;
        got = zlen;
        break;
    }
    case WIRE_ZSTD:
        if (!c->zc)
            c->zc = ZSTD_createCCtx();
        INVARIANT(c->zc != NULL);
        room = ZSTD_compressBound(in.len);
        p = buf_extend(b, room);
        got = ZSTD_compressCCtx(c->zc, p, room, in.p, in.len, /* level= */ 3);
        if (ZSTD_isError(got))
            return false;
        break;
    default: return false;
    }
    b->len = at + got;
    return true;
}

RC wire_compress(struct wire_codec *codec, enum wire_compressor c, size_t start, struct buf *b,
                 struct err *e)
{
    struct buf packed = BUF_INIT;
    struct slice in;

    INVARIANT(b->len >= start + WIRE_HEADER_LEN);
    in = SLICE(b->p + start + WIRE_HEADER_LEN, b->len - start - WIRE_HEADER_LEN);
    buf_push(&packed, b->p + start, WIRE_HEADER_LEN);
    buf_push(&packed, b->p + start + 12, 4); /* originalOpcode */
    buf_push_le32(&packed, (uint32_t)in.len);
    buf_push_u8(&packed, (uint8_t)c);
    if (!deflate_all(codec, c, in, &packed)) {
        buf_fini(&packed);
        FAIL(e, ERR_INTERNAL, "could not compress a reply with %s", wire_compressor_name(c));
    }
    if (packed.len < b->len - start || c == WIRE_NOOP) {
        put_le32(packed.p, (uint32_t)packed.len);
        put_le32(packed.p + 12, WIRE_OP_COMPRESSED);
        b->len = start;
        buf_push(b, packed.p, packed.len);
    }
    buf_fini(&packed);
    return RC_OK;
}
