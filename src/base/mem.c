/* mem.c - allocation that aborts when the machine is out of memory. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

void *mem_alloc(size_t len)
{
    void *p = malloc(len ? len : 1);
    INVARIANT(p);
    return p;
}

void *mem_calloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    INVARIANT(p);
    return p;
}

void *mem_realloc(void *p, size_t len)
{
    void *q = realloc(p, len ? len : 1);
    INVARIANT(q);
    return q;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t len)
{
    char *p = mem_alloc(len + 1);
    if (len)
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    char *out = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    INVARIANT(n >= 0 && out);
    return out;
}

void *mem_dup(const void *p, size_t len)
{
    void *q = mem_alloc(len);
    if (len)
        memcpy(q, p, len);
    return q;
}

void mem_free(void *p)
{
    free(p);
}

void mem_freep(void *pp)
{
    void **p = pp;
    free(*p);
    *p = NULL;
}

void mem_wipe(void *p, size_t len)
{
    if (len)
        explicit_bzero(p, len);
}
