/* slice.h - bytes: struct slice borrows, struct buf owns.
 *
 * A slice is valid as long as whatever it points into; a function that returns one says until when.
 * A buf grows by doubling; a failed allocation aborts (see mem.h), so pushing cannot fail. Callers bound what they push.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *p;
    size_t len; /* bytes */
};

#define SLICE(ptr, n) ((struct slice){ .p = (const uint8_t *)(ptr), .len = (n) })
#define SLICE_LIT(lit) ((struct slice){ .p = (const uint8_t *)("" lit), .len = sizeof(lit) - 1 })
#define SLICE_EMPTY ((struct slice){ .p = NULL, .len = 0 })

static inline struct slice slice_str(const char *s)
{
    return SLICE(s, s ? strlen(s) : 0);
}
static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
static inline bool slice_eq_str(struct slice a, const char *s)
{
    return slice_eq(a, slice_str(s));
}
/* slice_cmp(): order by bytes, a prefix is lower. */
static inline int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}
static inline bool slice_has_prefix(struct slice a, struct slice prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.p, prefix.p, prefix.len) == 0);
}

struct buf {
    uint8_t *p;
    size_t len, cap; /* bytes */
};

#define BUF_INIT ((struct buf){ 0 })

void buf_reserve(struct buf *b, size_t more);
void buf_push(struct buf *b, const void *p, size_t len);
void buf_push_u8(struct buf *b, uint8_t v);
void buf_push_be16(struct buf *b, uint16_t v);
void buf_push_be32(struct buf *b, uint32_t v);
void buf_push_be64(struct buf *b, uint64_t v);
void buf_push_le32(struct buf *b, uint32_t v);
void buf_push_le64(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* buf_extend(): len bytes of uninitialised room at the end, counted in b->len; valid until the next push. */
uint8_t *buf_extend(struct buf *b, size_t len);
/* buf_cstr(): the content with a NUL after it, which is not counted; valid until the next push. */
const char *buf_cstr(struct buf *b);
static inline struct slice buf_view(const struct buf *b)
{
    return SLICE(b->p, b->len);
}
static inline void buf_clear(struct buf *b)
{
    b->len = 0;
}
/* buf_fini(): release; b is empty afterwards and may be used again. NULL is fine. */
void buf_fini(struct buf *b);
/* buf_wipe(): overwrite the whole capacity, then release. */
void buf_wipe(struct buf *b);

/* Unaligned little and big endian access. */
static inline uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}
static inline uint32_t get_be32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}
static inline uint64_t get_be64(const uint8_t *p)
{
    return ((uint64_t)get_be32(p) << 32) | get_be32(p + 4);
}
static inline uint32_t get_le32(const uint8_t *p)
{
    return ((uint32_t)p[3] << 24) | ((uint32_t)p[2] << 16) | ((uint32_t)p[1] << 8) | p[0];
}
static inline uint64_t get_le64(const uint8_t *p)
{
    return ((uint64_t)get_le32(p + 4) << 32) | get_le32(p);
}
static inline void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}
static inline void put_be64(uint8_t *p, uint64_t v)
{
    put_be32(p, (uint32_t)(v >> 32));
    put_be32(p + 4, (uint32_t)v);
}
static inline void put_le32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}
static inline void put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

#endif
