/* arena.c - chunks carved from the front, freed at once.
 *
 * Chunks double up to 1 MiB; a larger wish gets a chunk of its own. A rewind frees the chunks made since the mark but keeps the one
 * that the mark stands in, so a per-document loop settles on one chunk and stops allocating. Under ASan the room after a rewind is
 * poisoned, so a value that outlived its document is found.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#ifdef COFFER_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { CHUNK_FIRST = 4096, CHUNK_MAX = 1 << 20, ALIGN = 16 };

struct chunk {
    struct chunk *up;
    size_t cap, used; /* bytes of data[] */
    alignas(ALIGN) uint8_t data[];
};

struct deferred {
    struct deferred *up;
    void (*fn)(void *arg);
    void *arg;
};

struct arena {
    struct chunk *top;
    struct chunk *spare; /* one freed chunk kept for the next wish */
    struct deferred *defers;
    size_t budget, total; /* total: bytes handed out, rounded */
};

static atomic_size_t all_bytes, all_limit;

static struct chunk *chunk_new(size_t cap)
{
    atomic_fetch_add_explicit(&all_bytes, cap, memory_order_relaxed);
    struct chunk *c = mem_alloc(sizeof(struct chunk) + cap);
    c->up = NULL;
    c->cap = cap;
    c->used = 0;
    POISON(c->data, cap);
    return c;
}

static void chunk_free(struct arena *a, struct chunk *c)
{
    if (a && (!a->spare || a->spare->cap < c->cap) && c->cap <= CHUNK_MAX) {
        struct chunk *old = a->spare;
        POISON(c->data, c->cap);
        a->spare = c;
        c = old;
    }
    if (c) {
        UNPOISON(c->data, c->cap);
        atomic_fetch_sub_explicit(&all_bytes, c->cap, memory_order_relaxed);
        mem_free(c);
    }
}

static void run_defers(struct arena *a, const struct deferred *until)
{
    while (a->defers != until) {
        struct deferred d = *a->defers;
        a->defers = d.up;
        d.fn(d.arg);
    }
}

struct arena *arena_new(size_t budget)
{
    struct arena *a = NEW(struct arena);
    a->budget = budget;
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    run_defers(a, NULL);
    while (a->top) {
        struct chunk *c = a->top;
        a->top = c->up;
        chunk_free(NULL, c);
    }
    if (a->spare)
        chunk_free(NULL, a->spare);
    mem_free(a);
}

void arena_freep(struct arena **a)
{
    arena_free(*a);
    *a = NULL;
}

void arena_reset(struct arena *a)
{
    arena_rewind(a, (struct arena_mark){ 0 });
}

static void grow(struct arena *a, size_t len)
{
    size_t cap = a->top ? MIN(a->top->cap * 2, (size_t)CHUNK_MAX) : (size_t)CHUNK_FIRST;
    if (cap < len)
        cap = len;
    struct chunk *c;
    if (a->spare && a->spare->cap >= len) {
        c = TAKE(a->spare);
        c->used = 0;
    } else {
        c = chunk_new(cap);
    }
    c->up = a->top;
    a->top = c;
}

void *arena_alloc(struct arena *a, size_t len)
{
    INVARIANT(len <= SIZE_MAX / 2);
    size_t want = (len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (want == 0)
        want = ALIGN;
    if (!a->top || a->top->cap - a->top->used < want)
        grow(a, want);
    uint8_t *p = a->top->data + a->top->used;
    a->top->used += want;
    a->total += want;
    UNPOISON(p, len);
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
    size_t len;
    INVARIANT(size_mul(n, size, &len));
    void *p = arena_alloc(a, len);
    memset(p, 0, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *p = arena_alloc(a, len + 1);
    if (len)
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

void *arena_dup(struct arena *a, const void *p, size_t len)
{
    void *q = arena_alloc(a, len);
    if (len)
        memcpy(q, p, len);
    return q;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    INVARIANT(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void arena_defer(struct arena *a, void (*fn)(void *arg), void *arg)
{
    struct deferred *d = arena_alloc(a, sizeof(*d));
    *d = (struct deferred){ .up = a->defers, .fn = fn, .arg = arg };
    a->defers = d;
}

size_t arena_used(const struct arena *a)
{
    return a->total;
}

void arena_limit_all(size_t bytes)
{
    atomic_store_explicit(&all_limit, bytes, memory_order_relaxed);
}

size_t arena_all(void)
{
    return atomic_load_explicit(&all_bytes, memory_order_relaxed);
}

static bool all_over(size_t parts)
{
    size_t limit = atomic_load_explicit(&all_limit, memory_order_relaxed);

    return limit && arena_all() > limit / parts;
}

bool arena_scarce(void)
{
    return all_over(2);
}

bool arena_over(const struct arena *a)
{
    return a->budget && (a->total > a->budget || (a->total > ARENA_FEW && all_over(1)));
}

RC arena_check(const struct arena *a, struct err *e)
{
    if (arena_over(a) && a->total <= a->budget)
        FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT,
             "the requests of all clients together need more than the node's memory limit");
    if (arena_over(a))
        FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT,
             "the request needs more than its memory limit of %zu bytes", a->budget);
    return RC_OK;
}

struct arena_mark arena_mark(const struct arena *a)
{
    return (struct arena_mark){
        .chunk = a->top,
        .used = a->top ? a->top->used : 0,
        .total = a->total,
        .defers = a->defers,
    };
}

void arena_rewind(struct arena *a, struct arena_mark m)
{
    run_defers(a, m.defers);
    while (a->top != m.chunk) {
        INVARIANT(a->top);
        struct chunk *c = a->top;
        a->top = c->up;
        chunk_free(a, c);
    }
    if (a->top) {
        a->top->used = m.used;
        POISON(a->top->data + m.used, a->top->cap - m.used);
    }
    a->total = m.total;
}
