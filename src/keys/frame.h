/* frame.h - building and reading byte strings with bounds, for the formats of this module. Private.
 *
 * Both sides are sticky: after the first thing that does not fit, `bad` is set and nothing more is read or written. */
#ifndef KEYS_FRAME_H
#define KEYS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

struct in {
    const uint8_t *p;
    size_t left;
    bool bad;
};

/* take(): n bytes, valid as long as the input; NULL when there are not so many. */
static inline const uint8_t *take(struct in *in, size_t n)
{
    const uint8_t *p = in->p;

    if (in->bad || n > in->left) {
        in->bad = true;
        return NULL;
    }
    in->p += n;
    in->left -= n;
    return p;
}

static inline uint8_t take_u8(struct in *in)
{
    const uint8_t *p = take(in, 1);

    return p ? *p : 0;
}

static inline uint16_t take_u16(struct in *in)
{
    const uint8_t *p = take(in, 2);

    return p ? get_be16(p) : 0;
}

static inline uint32_t take_u32(struct in *in)
{
    const uint8_t *p = take(in, 4);

    return p ? get_be32(p) : 0;
}

static inline uint64_t take_u64(struct in *in)
{
    const uint8_t *p = take(in, 8);

    return p ? get_be64(p) : 0;
}

static inline void take_bytes(struct in *in, void *out, size_t n)
{
    const uint8_t *p = take(in, n);

    if (p)
        memcpy(out, p, n);
}

/* take_name(): a length byte and so many characters, fewer than size, none of them NUL. out was zeroed. */
static inline void take_name(struct in *in, char *out, size_t size)
{
    size_t len = take_u8(in);

    if (len >= size) {
        in->bad = true;
        return;
    }
    take_bytes(in, out, len);
    if (!in->bad && memchr(out, '\0', len))
        in->bad = true;
}

/* A writer into room that somebody else owns. */
struct out {
    uint8_t *p;
    size_t len, cap;
    bool bad;
};

static inline void put_bytes(struct out *o, const void *p, size_t n)
{
    if (o->bad || n > o->cap - o->len) {
        o->bad = true;
        return;
    }
    if (n)
        memcpy(o->p + o->len, p, n);
    o->len += n;
}

static inline void put_u8(struct out *o, uint8_t v)
{
    put_bytes(o, &v, 1);
}

static inline void put_u16(struct out *o, uint16_t v)
{
    uint8_t b[2];

    put_be16(b, v);
    put_bytes(o, b, sizeof(b));
}

static inline void put_u32(struct out *o, uint32_t v)
{
    uint8_t b[4];

    put_be32(b, v);
    put_bytes(o, b, sizeof(b));
}

static inline void put_u64(struct out *o, uint64_t v)
{
    uint8_t b[8];

    put_be64(b, v);
    put_bytes(o, b, sizeof(b));
}

static inline void put_text(struct out *o, const char *s, size_t max)
{
    size_t len = strnlen(s, max);

    put_u16(o, (uint16_t)len);
    put_bytes(o, s, len);
}

static inline void put_label(struct out *o, const char *s)
{
    size_t len = strlen(s);

    if (len > UINT8_MAX)
        o->bad = true;
    put_u8(o, (uint8_t)len);
    put_bytes(o, s, len);
}

#endif
