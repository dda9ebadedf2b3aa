/* cursors.c - the registry of open cursors, and filling a batch. */
#include "exec_priv.h"

#include <sys/random.h>

#include "base/map.h"
#include "exec/cursors.h"

struct cursors {
    struct cursors_config config; /* timeout_us guarded by lock */
    struct mutex lock;
    struct map *by_id; /* guarded by lock */
    int64_t n_pinned, n_timed_out, n_total;
};

struct cursors *cursors_new(const struct cursors_config *c)
{
    struct cursors *r = NEW(struct cursors);

    r->config = *c;
    mutex_init(&r->lock);
    r->by_id = map_new();
    return r;
}

void cursors_free(struct cursors *r)
{
    if (!r)
        return;
    size_t it = 0;
    struct slice key;
    void *c;
    while (map_next(r->by_id, &it, &key, &c))
        cursor_free(c);
    map_free(r->by_id);
    mutex_fini(&r->lock);
    mem_free(r);
}

struct cursor *cursor_new(size_t budget)
{
    struct cursor *c = NEW(struct cursor);

    c->arena = arena_new(budget);
    c->scratch = arena_new(budget);
    c->q = (struct qctx){ .arena = c->arena, .scratch = c->scratch, .let = BDOC_EMPTY };
    return c;
}

void cursor_free(struct cursor *c)
{
    if (!c)
        return;
    doc_source_close(c->source);
    catalog_coll_unref(c->coll);
    buf_fini(&c->pending);
    arena_free(c->scratch);
    arena_free(c->arena);
    mem_free(c);
}

void cursor_freep(struct cursor **c)
{
    cursor_free(*c);
    *c = NULL;
}

RC cursor_fill(struct cursor *c, struct bw *w, int64_t n, size_t limit_bytes, struct err *e)
{
    size_t start = bw_size(w);
    int64_t done = 0;

    if (c->has_pending && !(n > 0 && done >= n)) {
        bw_doc(w, NULL, (struct bdoc){ .p = c->pending.p, .len = (uint32_t)c->pending.len });
        c->has_pending = false;
        buf_fini(&c->pending);
        done++;
    }
    while (!c->exhausted && !(n > 0 && done >= n)) {
        struct bdoc doc;
        bool valid;
        arena_reset(c->scratch);
        TRY(c->source->next(c->source, &doc, &valid, e));
        if (!valid) {
            c->exhausted = true;
            break;
        }
        if (doc.len > CURSOR_DOC_MAX)
            FAIL(e, ERR_BSON_OBJECT_TOO_LARGE,
                 "a document of the result has %u bytes, above the limit of %d", doc.len,
                 CURSOR_DOC_MAX);
        if (done > 0 && bw_size(w) - start + doc.len > limit_bytes) {
            buf_push(&c->pending, doc.p, doc.len);
            c->has_pending = true;
            break;
        }
        bw_doc(w, NULL, doc);
        done++;
    }
    c->returned += done;
    return RC_OK;
}

static struct slice id_key(const int64_t *id)
{
    return SLICE(id, sizeof(*id));
}

RC cursors_add(struct cursors *r, struct cursor *c, struct err *e)
{
    rc_t rc = RC_OK;

    mutex_lock(&r->lock);
    if ((int64_t)map_count(r->by_id) >= r->config.max) {
        rc = err_set(e, ERR_EXCEEDED_MEMORY_LIMIT, __FILE__, __LINE__, "too many open cursors");
    } else {
        do {
            if (getrandom(&c->id, sizeof(c->id), 0) != sizeof(c->id))
                base_panic(__FILE__, __LINE__, "getrandom");
            c->id &= INT64_MAX;
        } while (c->id == 0 || map_get(r->by_id, id_key(&c->id)));
        c->last_used_us = clock_mono_us();
        c->q.deadline_us = 0;
        c->q.interrupt = NULL;
        map_put(r->by_id, id_key(&c->id), c);
        r->n_total++;
    }
    mutex_unlock(&r->lock);
    return rc;
}

RC cursors_checkout(struct cursors *r, int64_t id, atomic_int *interrupt, struct cursor **out,
                    struct err *e)
{
    rc_t rc = RC_OK;

    *out = NULL;
    mutex_lock(&r->lock);
    struct cursor *c = map_get(r->by_id, id_key(&id));
    if (!c || c->killed) {
        rc = err_set(e, ERR_CURSOR_NOT_FOUND, __FILE__, __LINE__, "cursor id %lld not found",
                     (long long)id);
    } else if (c->busy) {
        rc = err_set(e, ERR_CURSOR_IN_USE, __FILE__, __LINE__, "cursor id %lld is already in use",
                     (long long)id);
    } else {
        c->busy = true;
        c->q.interrupt = c->interrupt = interrupt;
        r->n_pinned++;
        *out = c;
    }
    mutex_unlock(&r->lock);
    return rc;
}

void cursors_checkin(struct cursors *r, struct cursor *c)
{
    c->q.deadline_us = 0;
    c->q.interrupt = NULL;
    mutex_lock(&r->lock);
    c->busy = false;
    c->interrupt = NULL;
    c->last_used_us = clock_mono_us();
    r->n_pinned--;
    bool killed = c->killed;
    if (killed)
        map_del(r->by_id, id_key(&c->id));
    mutex_unlock(&r->lock);
    if (killed)
        cursor_free(c);
}

void cursors_finish(struct cursors *r, struct cursor *c)
{
    mutex_lock(&r->lock);
    map_del(r->by_id, id_key(&c->id));
    r->n_pinned--;
    mutex_unlock(&r->lock);
    cursor_free(c);
}

/* Whoever holds it gives it back soon. */
static void kill_busy(struct cursor *c)
{
    int none = 0;

    c->killed = true;
    if (c->interrupt)
        atomic_compare_exchange_strong(c->interrupt, &none, ERR_CURSOR_KILLED);
}

enum cursor_kill cursors_kill(struct cursors *r, int64_t id, struct slice ns, const char *user)
{
    struct cursor *gone = NULL;
    enum cursor_kill what = CURSOR_KILLED;

    mutex_lock(&r->lock);
    struct cursor *c = map_get(r->by_id, id_key(&id));
    if (!c || c->killed || !slice_eq_str(ns, c->ns)) {
        what = CURSOR_NOT_FOUND;
    } else if (user && strcmp(user, c->user) != 0) {
        what = CURSOR_REFUSED;
    } else if (c->busy) {
        kill_busy(c);
    } else {
        map_del(r->by_id, id_key(&id));
        gone = c;
    }
    mutex_unlock(&r->lock);
    cursor_free(gone);
    return what;
}

/* Close all idle cursors that fn picks; busy ones are marked. */
static void sweep(struct cursors *r, bool (*fn)(const struct cursor *c, const void *arg),
                  const void *arg, int64_t *n)
{
    struct cursor *gone = NULL;
    struct slice key;
    size_t it = 0;
    void *v;

    mutex_lock(&r->lock);
    while (map_next(r->by_id, &it, &key, &v)) {
        struct cursor *c = v;
        if (!fn(c, arg))
            continue;
        if (c->busy) {
            kill_busy(c);
            continue;
        }
        map_del_last(r->by_id, &it);
        c->next = gone;
        gone = c;
        if (n)
            ++*n;
    }
    mutex_unlock(&r->lock);
    while (gone) {
        struct cursor *c = gone;
        gone = c->next;
        cursor_free(c);
    }
}

struct session_of {
    const uint8_t *lsid;
    const char *user;
};

static bool of_session(const struct cursor *c, const void *arg)
{
    const struct session_of *s = arg;

    return c->has_lsid && memcmp(c->lsid, s->lsid, CURSOR_LSID_LEN) == 0 &&
           strcmp(c->user, s->user) == 0;
}

void cursors_kill_session(struct cursors *r, const uint8_t lsid[CURSOR_LSID_LEN], const char *user)
{
    sweep(r, of_session, &(struct session_of){ .lsid = lsid, .user = user }, NULL);
}

static bool of_user(const struct cursor *c, const void *user)
{
    return c->has_lsid && (!user || strcmp(c->user, user) == 0);
}

void cursors_kill_user(struct cursors *r, const char *user)
{
    sweep(r, of_user, user, NULL);
}

struct idle {
    uint64_t now_us, timeout_us;
};

static bool is_idle(const struct cursor *c, const void *arg)
{
    const struct idle *i = arg;

    return !c->busy && !c->no_timeout && c->last_used_us + i->timeout_us <= i->now_us;
}

void cursors_set_timeout(struct cursors *r, int64_t timeout_us)
{
    mutex_lock(&r->lock);
    r->config.timeout_us = timeout_us;
    mutex_unlock(&r->lock);
}

int64_t cursors_timeout_us(struct cursors *r)
{
    mutex_lock(&r->lock);
    int64_t us = r->config.timeout_us;
    mutex_unlock(&r->lock);
    return us;
}

void cursors_reap(struct cursors *r, uint64_t now_us)
{
    struct idle i = { .now_us = now_us, .timeout_us = (uint64_t)cursors_timeout_us(r) };

    sweep(r, is_idle, &i, &r->n_timed_out);
}

void cursors_stats(struct cursors *r, struct cursors_stats *out)
{
    mutex_lock(&r->lock);
    *out = (struct cursors_stats){ .open = (int64_t)map_count(r->by_id),
                                   .pinned = r->n_pinned,
                                   .timed_out = r->n_timed_out,
                                   .total_opened = r->n_total };
    mutex_unlock(&r->lock);
}
