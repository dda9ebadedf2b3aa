/* buf.c - growing bytes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/slice.h"

void buf_reserve(struct buf *b, size_t more)
{
    size_t need;
    INVARIANT(size_add(b->len, more, &need));
    if (need <= b->cap)
        return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) {
        size_t twice;
        cap = size_mul(cap, 2, &twice) ? twice : need;
    }
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
}

void buf_push(struct buf *b, const void *p, size_t len)
{
    if (len == 0)
        return;
    buf_reserve(b, len);
    memcpy(b->p + b->len, p, len);
    b->len += len;
}

void buf_push_u8(struct buf *b, uint8_t v)
{
    buf_push(b, &v, 1);
}

void buf_push_be16(struct buf *b, uint16_t v)
{
    put_be16(buf_extend(b, 2), v);
}

void buf_push_be32(struct buf *b, uint32_t v)
{
    put_be32(buf_extend(b, 4), v);
}

void buf_push_be64(struct buf *b, uint64_t v)
{
    put_be64(buf_extend(b, 8), v);
}

void buf_push_le32(struct buf *b, uint32_t v)
{
    put_le32(buf_extend(b, 4), v);
}

void buf_push_le64(struct buf *b, uint64_t v)
{
    put_le64(buf_extend(b, 8), v);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    INVARIANT(n >= 0);
    buf_reserve(b, (size_t)n + 1);
    vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

uint8_t *buf_extend(struct buf *b, size_t len)
{
    buf_reserve(b, len ? len : 1); /* a pointer comes back even when nothing is asked for */
    uint8_t *at = b->p + b->len;
    b->len += len;
    return at;
}

const char *buf_cstr(struct buf *b)
{
    buf_reserve(b, 1);
    b->p[b->len] = '\0';
    return (const char *)b->p;
}

void buf_fini(struct buf *b)
{
    if (!b)
        return;
    mem_free(b->p);
    *b = BUF_INIT;
}

void buf_wipe(struct buf *b)
{
    if (!b)
        return;
    mem_wipe(b->p, b->cap);
    buf_fini(b);
}
