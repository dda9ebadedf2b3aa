/* collate.c - collators by ICU, opened once and shared.
 *
 * Compare goes straight over UTF-8; keys go through UTF-16, as ICU makes them, and keep ICU's final zero byte out.
 */
#include "query/collate.h"

#include <pthread.h>
#include <stdio.h>
#include <unicode/ucol.h>
#include <unicode/ustring.h>

#include "base/mem.h"
#include "collate_priv.h"

enum { IDLE_MAX = 64 };

struct collation {
    struct collator base; /* must be first */
    UCollator *icu;
    struct bdoc spec;
    struct arena *arena;
    int refs; /* guarded by lock */
    struct collation *next;
};

/* a leaf: nothing else is taken under it */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct collation *all;

static int compare(const struct collator *c, struct slice a, struct slice b)
{
    const struct collation *x = (const struct collation *)c;
    UErrorCode ec = U_ZERO_ERROR;
    int r = ucol_strcollUTF8(x->icu, a.len ? (const char *)a.p : "", (int32_t)a.len,
                             b.len ? (const char *)b.p : "", (int32_t)b.len, &ec);

    INVARIANT(U_SUCCESS(ec));
    return (r > 0) - (r < 0);
}

static void sort_key(const struct collator *c, struct slice s, struct buf *out)
{
    const struct collation *x = (const struct collation *)c;
    UChar small[256], *wide = small;
    UErrorCode ec = U_ZERO_ERROR;
    int32_t n = 0;

    if (s.len > ARRAY_LEN(small)) /* no text is longer in UTF-16 than in UTF-8 */
        wide = mem_alloc(s.len * sizeof(*wide));
    if (s.len)
        u_strFromUTF8WithSub(wide, (int32_t)MAX(s.len, ARRAY_LEN(small)), &n, (const char *)s.p,
                             (int32_t)s.len, 0xfffd, NULL, &ec);
    INVARIANT(ec == U_ZERO_ERROR || ec == U_STRING_NOT_TERMINATED_WARNING);
    int32_t need = ucol_getSortKey(x->icu, wide, n, NULL, 0);
    INVARIANT(need > 0);
    uint8_t *key = mem_alloc((size_t)need);
    ucol_getSortKey(x->icu, wide, n, key, need);
    buf_push(out, key, (size_t)need - 1);
    mem_free(key);
    if (wide != small)
        mem_free(wide);
}

void collation_build(const struct collator *c, char out[COLLATION_BUILD_MAX])
{
    UVersionInfo icu, data;

    *out = 0;
    if (!c)
        return;
    u_getVersion(icu);
    ucol_getVersion(((const struct collation *)c)->icu, data);
    snprintf(out, COLLATION_BUILD_MAX, "%d.%d/%d.%d.%d.%d", icu[0], icu[1], data[0], data[1],
             data[2], data[3]);
}

static void destroy(struct collation *x)
{
    if (x->icu)
        ucol_close(x->icu);
    arena_free(x->arena);
    mem_free(x);
}

/* Closes the collation that was idle longest when too many are. */
static void trim_idle(void)
{
    struct collation **oldest = NULL;
    int idle = 0;

    for (struct collation **at = &all; *at; at = &(*at)->next) {
        if ((*at)->refs == 0) {
            idle++;
            oldest = at; /* new ones are put in front */
        }
    }
    if (idle <= IDLE_MAX)
        return;
    struct collation *gone = *oldest;
    *oldest = gone->next;
    destroy(gone);
}

static RC open_one(struct bdoc spec, struct collation **out, struct err *e)
{
    struct collation *x = NEW(struct collation);

    *out = NULL;
    x->base = (struct collator){ .cmp = compare, .key = sort_key };
    x->arena = arena_new(0);
    x->spec = (struct bdoc){ .p = arena_dup(x->arena, spec.p, spec.len), .len = spec.len };
    if (collate__open(spec, &x->icu, e).failed) {
        destroy(x);
        return RC_FAILED;
    }
    *out = x;
    return RC_OK;
}

static struct collation *find(struct bdoc spec)
{
    for (struct collation *x = all; x; x = x->next)
        if (x->spec.len == spec.len && memcmp(x->spec.p, spec.p, spec.len) == 0)
            return x;
    return NULL;
}

RC collation_ref(struct bdoc complete, const struct collator **out, struct err *e)
{
    struct collation *made;

    *out = NULL;
    if (bdoc_is_empty(complete))
        return RC_OK;
    pthread_mutex_lock(&lock);
    struct collation *x = find(complete);
    if (x)
        x->refs++;
    pthread_mutex_unlock(&lock);
    if (x) {
        *out = &x->base;
        return RC_OK;
    }
    TRY(open_one(complete, &made, e));
    pthread_mutex_lock(&lock);
    x = find(complete); /* another thread may have been first */
    if (!x) {
        x = TAKE(made);
        x->next = all;
        all = x;
    }
    x->refs++;
    pthread_mutex_unlock(&lock);
    if (made)
        destroy(made);
    *out = &x->base;
    return RC_OK;
}

void collation_unref(const struct collator *c)
{
    struct collation *x = (struct collation *)(uintptr_t)c;

    if (!x)
        return;
    pthread_mutex_lock(&lock);
    INVARIANT(x->refs > 0);
    if (--x->refs == 0)
        trim_idle();
    pthread_mutex_unlock(&lock);
}

static void unref_deferred(void *p)
{
    collation_unref(p);
}

RC collation_in(struct arena *a, struct bdoc complete, const struct collator **out, struct err *e)
{
    TRY(collation_ref(complete, out, e));
    if (*out)
        arena_defer(a, unref_deferred, (void *)(uintptr_t)*out);
    return RC_OK;
}

struct bdoc collation_doc(const struct collator *c)
{
    return c ? ((const struct collation *)c)->spec : BDOC_EMPTY;
}

bool collation_same(const struct collator *a, const struct collator *b)
{
    return a == b; /* equal documents share one collator */
}
