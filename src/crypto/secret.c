/* secret.c - the key arena.
 *
 *      guard page | granule granule granule ...                                | guard page        locked, DONTDUMP, WIPEONFORK
 *                   [canary len | bytes ... | canary]
 *
 * The arena is cut into granules of 64 bytes. Which are taken is kept outside of it, so that secret_free() still works after a wipe
 * (the headers inside are zero then) and in a forked child, where the whole arena reads as zero. Allocation is next-fit: secrets
 * are few thousands, nearly all of one granule, and their number never shows on a hot path (file keys are made when a
 * file is opened).
 *
 * secret_arena_wipe() races with readers on purpose. It raises `sealed` first; whoever computed with key bytes looks at the flag
 * after its last read of them and throws the result away when it is up.
 */
#include "crypto/secret.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"
#include "base/thread.h"
#include "crypto/kdf.h"

/* A fence that ThreadSanitizer, which knows none, is spared: it sees the atomic flag instead. */
#if defined(COFFER_TSAN)
#define FENCE(order) ((void)0)
#else
#define FENCE(order) atomic_thread_fence(order)
#endif

enum { GRANULE = 64, HEADER = 16, TRAILER = 8 };

struct secret {
    uint64_t canary;
    uint32_t len; /* bytes */
    uint32_t pad;
    uint8_t bytes[];
};

_Static_assert(sizeof(struct secret) == HEADER, "the header keeps the bytes 16-aligned");
_Static_assert((HEADER + SECRET_MAX + TRAILER + GRANULE - 1) / GRANULE <= UINT8_MAX,
               "a run's length fits its byte");

static struct {
    struct mutex lock; /* guards run, taken, next */
    uint8_t *base;     /* first usable byte; NULL before secret_arena_init() */
    size_t n_granules;
    uint8_t *run;    /* per granule: length of the run that starts here, else 0 */
    uint64_t *taken; /* bit per granule */
    size_t next;     /* where the search goes on */
    uint64_t canary; /* random, never zero */
    atomic_bool sealed;
    _Atomic uint64_t live;
} arena = { .lock = MUTEX_INIT };

static uint64_t canary_of(const struct secret *s)
{
    uint64_t c = arena.canary ^ (uint64_t)(uintptr_t)s;

    return c ? c : 1;
}

static size_t granules_for(size_t len)
{
    return (HEADER + len + TRAILER + GRANULE - 1) / GRANULE;
}

static bool is_taken(size_t g)
{
    return arena.taken[g / 64] >> (g % 64) & 1;
}

static void mark(size_t first, size_t n, bool taken)
{
    for (size_t g = first; g < first + n; g++) {
        uint64_t bit = 1ull << (g % 64);

        if (taken)
            arena.taken[g / 64] |= bit;
        else
            arena.taken[g / 64] &= ~bit;
    }
}

/* find_run(): first granule of n free ones at or after from, or n_granules. */
static size_t find_run(size_t from, size_t n)
{
    size_t free_len = 0;

    for (size_t g = from; g < arena.n_granules; g++) {
        if (free_len == 0 && g % 64 == 0 && arena.taken[g / 64] == UINT64_MAX) {
            g += 63;
            continue;
        }
        free_len = is_taken(g) ? 0 : free_len + 1;
        if (free_len == n)
            return g + 1 - n;
    }
    return arena.n_granules;
}

static void raise_memlock(size_t bytes)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_MEMLOCK, &rl) != 0 || rl.rlim_cur >= bytes || rl.rlim_cur == rl.rlim_max)
        return;
    rl.rlim_cur = rl.rlim_max;
    (void)setrlimit(RLIMIT_MEMLOCK, &rl); /* mlock() below tells whether it was enough */
}

/* protect(): lock the arena and keep it out of dumps and forks; the step that failed in *step. */
static int protect(uint8_t *p, size_t len, const char **step)
{
    int sys = fault_hit("secret.mlock");

    *step = "lock";
    if (sys)
        return sys;
    /* not mlock(3): sanitizers and preloads turn that one into nothing */
    if (syscall(SYS_mlock, p, len) != 0)
        return errno;
    *step = "keep out of dumps";
    sys = fault_hit("secret.madvise");
    if (sys)
        return sys;
    if (madvise(p, len, MADV_DONTDUMP) != 0)
        return errno;
    *step = "keep out of forks";
    if (madvise(p, len, MADV_WIPEONFORK) != 0)
        return errno;
    return 0;
}

RC secret_arena_init(size_t bytes, struct err *e)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), len;
    uint64_t canary = 0;
    const char *step = "";
    uint8_t *map;
    int sys;

    INVARIANT(arena.base == NULL);
    if (bytes < page || !size_add(bytes, page - 1, &len))
        FAIL(e, ERR_CRYPTO, "the key arena cannot have %zu bytes", bytes);
    len -= len % page;
    while (canary == 0)
        TRY(random_bytes(&canary, sizeof(canary), e));
    map = mmap(NULL, len + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        FAIL(e, ERR_CRYPTO, "could not map %zu bytes for the key arena: %s", len, strerror(errno));
    raise_memlock(len);
    sys = mprotect(map + page, len, PROT_READ | PROT_WRITE) == 0 ? protect(map + page, len, &step)
                                                                 : errno;
    if (sys) {
        munmap(map, len + 2 * page);
        FAIL(e, ERR_CRYPTO,
             "could not %s %zu bytes for the key arena: %s (RLIMIT_MEMLOCK must allow it)", step,
             len, strerror(sys));
    }
    arena.canary = canary;
    arena.n_granules = len / GRANULE;
    arena.run = mem_calloc(arena.n_granules, 1);
    arena.taken = mem_calloc((arena.n_granules + 63) / 64, sizeof(uint64_t));
    arena.base = map + page;
    return RC_OK;
}

#if defined(COFFER_TSAN)
__attribute__((no_sanitize("thread")))
#endif
void secret_arena_wipe(void)
{
    volatile uint64_t *p = (volatile uint64_t *)(void *)arena.base;

    atomic_store(&arena.sealed, true);
    FENCE(memory_order_seq_cst);
    if (!arena.base)
        return;
    for (size_t i = 0; i < arena.n_granules * GRANULE / sizeof(*p); i++)
        p[i] = 0;
}

bool secret_arena_sealed(void)
{
    FENCE(memory_order_acquire); /* what was read before is ordered before the flag */
    return atomic_load_explicit(&arena.sealed, memory_order_acquire);
}

static uint8_t *trailer(struct secret *s)
{
    return s->bytes + s->len;
}

RC secret_new(size_t len, struct secret **out, struct err *e)
{
    size_t n = granules_for(len), g;
    struct secret *s;
    uint64_t canary;

    *out = NULL;
    if (fault_hit("secret.new"))
        FAIL(e, ERR_CRYPTO, "the key arena is full");
    if (len < 1 || len > SECRET_MAX)
        FAIL(e, ERR_CRYPTO, "a secret cannot have %zu bytes", len);
    if (secret_arena_sealed())
        FAIL(e, ERR_KEY_LOCKED, "the keys were wiped from memory");
    if (!arena.base)
        FAIL(e, ERR_CRYPTO, "the key arena is not there");
    mutex_lock(&arena.lock);
    g = find_run(arena.next, n);
    if (g == arena.n_granules)
        g = find_run(0, n);
    if (g == arena.n_granules) {
        mutex_unlock(&arena.lock);
        FAIL(e, ERR_CRYPTO, "the key arena of %zu bytes is full", arena.n_granules * GRANULE);
    }
    mark(g, n, true);
    arena.run[g] = (uint8_t)n;
    arena.next = g + n == arena.n_granules ? 0 : g + n;
    mutex_unlock(&arena.lock);

    s = (struct secret *)(void *)(arena.base + g * GRANULE);
    memset(s, 0, n * GRANULE);
    s->len = (uint32_t)len;
    canary = canary_of(s);
    memcpy(trailer(s), &canary, sizeof(canary));
    s->canary = canary;
    atomic_fetch_add(&arena.live, 1);
    *out = s;
    return RC_OK;
}

RC secret_random(size_t len, struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *s = NULL;

    *out = NULL;
    TRY(secret_new(len, &s, e));
    TRY(random_bytes(s->bytes, len, e));
    *out = TAKE(s);
    return RC_OK;
}

RC secret_from(const void *p, size_t len, struct secret **out, struct err *e)
{
    TRY(secret_new(len, out, e));
    memcpy((*out)->bytes, p, len);
    return RC_OK;
}

RC secret_dup(const struct secret *s, struct secret **out, struct err *e)
{
    *out = NULL;
    return secret_from(secret_view(s), secret_len(s), out, e);
}

/* dead(): the canary is gone. Sealing wiped it: this thread has no business left. Otherwise this is a forked child, or memory
 * was overwritten. */
__attribute__((noreturn, cold)) static void dead(void)
{
    if (secret_arena_sealed())
        for (;;)
            pause();
    base_panic(__FILE__, __LINE__,
               "a secret is used whose canary is dead (freed, overwritten, or in a forked child)");
}

void secret_free(struct secret *s)
{
    size_t off, g, n;

    if (!s)
        return;
    INVARIANT(arena.base != NULL && (uint8_t *)s >= arena.base);
    off = (size_t)((uint8_t *)s - arena.base);
    g = off / GRANULE;
    INVARIANT(off % GRANULE == 0 && g < arena.n_granules);
    mutex_lock(&arena.lock);
    n = arena.run[g];
    mutex_unlock(&arena.lock);
    INVARIANT(n != 0); /* freed twice */
    if (s->canary == canary_of(s)) {
        uint64_t end = 0;

        INVARIANT(granules_for(s->len) == n);
        memcpy(&end, trailer(s), sizeof(end));
        if (end != s->canary && !secret_arena_sealed())
            base_panic(__FILE__, __LINE__, "a secret was written past its end");
    } else if (s->canary != 0) {
        base_panic(__FILE__, __LINE__, "a secret's head was overwritten");
    }
    mem_wipe(s, n * GRANULE);
    mutex_lock(&arena.lock);
    mark(g, n, false);
    arena.run[g] = 0;
    mutex_unlock(&arena.lock);
    atomic_fetch_sub(&arena.live, 1);
}

void secret_freep(struct secret **s)
{
    secret_free(*s);
    *s = NULL;
}

uint8_t *secret_bytes(struct secret *s)
{
    if (__builtin_expect(s->canary != canary_of(s), 0))
        dead();
    return s->bytes;
}

const uint8_t *secret_view(const struct secret *s)
{
    if (__builtin_expect(s->canary != canary_of(s), 0))
        dead();
    return s->bytes;
}

size_t secret_len(const struct secret *s)
{
    if (__builtin_expect(s->canary != canary_of(s), 0))
        dead();
    return s->len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
    return secret_len(a) == secret_len(b) &&
           ct_equal(secret_view(a), secret_view(b), secret_len(a));
}

uint64_t secret_live_count(void)
{
    return atomic_load(&arena.live);
}
