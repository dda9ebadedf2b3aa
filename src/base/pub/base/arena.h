/* arena.h - memory that lives as long as a request and is freed at once.
 *
 * Model    Chunks are chained and carved from the front; nothing is freed singly. A byte budget bounds the sum.
 * Errors   arena_alloc() aborts past the budget only if nobody may be told; fallible code calls arena_check() at its loop
 *          heads (parse, evaluate, batch) and gets ERR_EXCEEDED_MEMORY_LIMIT. arena_alloc() itself never returns NULL: it
 *          lets the budget be passed and remembers it (arena_over()).
 * Together arena_limit_all() bounds what all arenas of the process hold. Past it, whoever has a budget and holds more than ARENA_FEW bytes is over it;
 *          from half of it on (arena_scarce()), what can go to disk goes there early. Small requests go on in any case.
 * Threads  One thread at a time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/err.h"
#include "base/slice.h"

struct arena;

struct arena *arena_new(size_t budget); /* bytes; 0 = no budget */
/* NULL is fine; runs the clean-ups, last registered first */
void arena_free(struct arena *a);
void arena_freep(struct arena **a);
void arena_reset(struct arena *a); /* runs the clean-ups; keeps one chunk */

/* 16-aligned, uninitialised */
void *arena_alloc(struct arena *a, size_t len) __attribute__((returns_nonnull, alloc_size(2)));
void *arena_calloc(struct arena *a, size_t n, size_t size) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
char *arena_strndup(struct arena *a, const char *s, size_t len) __attribute__((returns_nonnull));
void *arena_dup(struct arena *a, const void *p, size_t len) __attribute__((returns_nonnull));
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));
#define ARENA_NEW(a, type) ((type *)arena_calloc((a), 1, sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_calloc((a), (n), sizeof(type)))

/* arena_defer(): call fn(arg) when the arena is reset or freed (a regex, a cursor, a libbson document). */
void arena_defer(struct arena *a, void (*fn)(void *arg), void *arg);

enum { ARENA_FEW = 1 << 20 };
void arena_limit_all(size_t bytes); /* 0, as at the start: no limit. [any] */
size_t arena_all(void);             /* bytes that all arenas hold, rounded to chunks. [any] */
bool arena_scarce(void);            /* [any] */

size_t arena_used(const struct arena *a);
bool arena_over(const struct arena *a);
RC arena_check(const struct arena *a, struct err *e);

/* A mark lets a loop give back what one round took: arena_mark() ... arena_rewind(). Clean-ups registered after the mark run. */
struct arena_mark {
    void *chunk;
    size_t used, total;
    void *defers;
};
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m);

#endif
