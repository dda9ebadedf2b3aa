/* kmsg_ttlv.c - see kmsg/kmsg_ttlv.h; spec: KMIP 1.4, 9.1 "TTLV Encoding". */
#include "kmsg/kmsg_ttlv.h"

#include "base/err.h"

static size_t padded(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

/* What the length of a type must be; a structure is whole items, which have multiples of eight. */
static bool length_fits(unsigned type, size_t len)
{
    switch (type) {
    case KMSG_TTLV_INTEGER:
    case KMSG_TTLV_ENUMERATION:
    case KMSG_TTLV_INTERVAL: return len == 4;
    case KMSG_TTLV_LONG_INTEGER:
    case KMSG_TTLV_BOOLEAN:
    case KMSG_TTLV_DATE_TIME: return len == 8;
    case KMSG_TTLV_BIG_INTEGER: return len > 0 && len % 8 == 0;
    case KMSG_TTLV_STRUCTURE: return len % 8 == 0;
    case KMSG_TTLV_TEXT:
    case KMSG_TTLV_BYTES: return true;
    default: return false;
    }
}

bool kmsg_ttlv_next(struct slice *in, struct kmsg_ttlv *out)
{
    if (in->len < KMSG_TTLV_HEAD_LEN || (in->p[0] != 0x42 && in->p[0] != 0x54))
        return false;
    size_t len = get_be32(in->p + 4), room = in->len - KMSG_TTLV_HEAD_LEN;
    unsigned type = in->p[3];
    if (!length_fits(type, len) || len > room || padded(len) > room)
        return false;
    struct slice value = SLICE(in->p + KMSG_TTLV_HEAD_LEN, len);
    if (type == KMSG_TTLV_BOOLEAN && get_be64(value.p) > 1)
        return false;
    *out = (struct kmsg_ttlv){ .tag = get_be32(in->p) >> 8,
                               .type = (enum kmsg_ttlv_type)type,
                               .value = value };
    *in = SLICE(value.p + padded(len), room - padded(len));
    return true;
}

enum kmsg_ttlv_found kmsg_ttlv_find(struct slice in, uint32_t tag, enum kmsg_ttlv_type type,
                                    struct slice *value)
{
    enum kmsg_ttlv_found found = KMSG_TTLV_ABSENT;
    struct slice at = SLICE_EMPTY;
    struct kmsg_ttlv t;

    *value = SLICE_EMPTY;
    while (in.len > 0) {
        if (!kmsg_ttlv_next(&in, &t))
            return KMSG_TTLV_MALFORMED;
        if (t.tag != tag)
            continue;
        if (found || t.type != type)
            return KMSG_TTLV_MALFORMED;
        found = KMSG_TTLV_FOUND;
        at = t.value;
    }
    *value = at;
    return found;
}

/* ---- writing ---- */

static void head(struct buf *out, uint32_t tag, enum kmsg_ttlv_type type, uint32_t len)
{
    buf_push_be32(out, tag << 8 | (uint32_t)type);
    buf_push_be32(out, len);
}

size_t kmsg_ttlv_begin(struct buf *out, uint32_t tag)
{
    head(out, tag, KMSG_TTLV_STRUCTURE, 0);
    return out->len;
}

void kmsg_ttlv_end(struct buf *out, size_t begun)
{
    INVARIANT(begun >= 4 && begun <= out->len && out->len - begun <= UINT32_MAX);
    put_be32(out->p + begun - 4, (uint32_t)(out->len - begun));
}

void kmsg_ttlv_put_int(struct buf *out, uint32_t tag, int32_t v)
{
    head(out, tag, KMSG_TTLV_INTEGER, 4);
    buf_push_be32(out, (uint32_t)v);
    buf_push_be32(out, 0);
}

void kmsg_ttlv_put_enum(struct buf *out, uint32_t tag, uint32_t v)
{
    head(out, tag, KMSG_TTLV_ENUMERATION, 4);
    buf_push_be32(out, v);
    buf_push_be32(out, 0);
}

void kmsg_ttlv_put_bool(struct buf *out, uint32_t tag, bool v)
{
    head(out, tag, KMSG_TTLV_BOOLEAN, 8);
    buf_push_be64(out, v);
}

static void put_padded(struct buf *out, uint32_t tag, enum kmsg_ttlv_type type, struct slice v)
{
    static const uint8_t zeroes[8];

    INVARIANT(v.len <= INT32_MAX);
    head(out, tag, type, (uint32_t)v.len);
    buf_push(out, v.p, v.len);
    buf_push(out, zeroes, padded(v.len) - v.len);
}

void kmsg_ttlv_put_text(struct buf *out, uint32_t tag, const char *v)
{
    put_padded(out, tag, KMSG_TTLV_TEXT, slice_str(v));
}

void kmsg_ttlv_put_bytes(struct buf *out, uint32_t tag, struct slice v)
{
    put_padded(out, tag, KMSG_TTLV_BYTES, v);
}
