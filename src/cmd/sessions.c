/* sessions.c - logical sessions: ids that were seen and when (compatibility 18). A session holds nothing here but its cursors, which know their session.
 *
 * A session is its user's: ids are chosen by clients, so the same id under two users is two sessions, and nobody ends or keeps alive another's.
 */
#include "cmd_priv.h"

#include "base/map.h"

struct session {
    uint64_t last_used_us;
    char *user; /* "db.user", "" without authentication */
    uint8_t lsid[16];
    struct session *next; /* in a list of those that end */
};

static void session_free(struct session *x)
{
    if (!x)
        return;
    mem_free(x->user);
    mem_free(x);
}

/* The key in by_id: the id, then the user. */
static struct slice key_of(struct arena *a, const uint8_t lsid[16], const char *user)
{
    size_t len = strlen(user);
    uint8_t *p = arena_alloc(a, 16 + len);

    memcpy(p, lsid, 16);
    memcpy(p + 16, user, len);
    return SLICE(p, 16 + len);
}

struct sessions {
    struct mutex lock;
    struct map *by_id; /* guarded by lock */
    int64_t max;
    uint64_t timeout_us;
};

struct sessions *sessions_new(int64_t max, int64_t timeout_ms)
{
    struct sessions *s = NEW(struct sessions);

    mutex_init(&s->lock);
    s->by_id = map_new();
    s->max = max;
    s->timeout_us = (uint64_t)timeout_ms * 1000;
    return s;
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    size_t it = 0;
    struct slice key;
    void *v;
    while (map_next(s->by_id, &it, &key, &v))
        session_free(v);
    map_free(s->by_id);
    mutex_fini(&s->lock);
    mem_free(s);
}

RC sessions_touch(struct cmd_req *r, const uint8_t lsid[16], struct err *e)
{
    struct sessions *s = r->node->sessions;
    const char *user = cmd_user(r, r->arena);
    struct slice key = key_of(r->arena, lsid, user);
    rc_t rc = RC_OK;

    mutex_lock(&s->lock);
    struct session *x = map_get(s->by_id, key);
    if (!x && (int64_t)map_count(s->by_id) >= s->max) {
        rc = err_set(e, ERR_TOO_MANY_LOGICAL_SESSIONS, __FILE__, __LINE__,
                     "cannot add a session: there are too many active ones");
    } else if (!x) {
        x = NEW(struct session);
        x->user = mem_strdup(user);
        memcpy(x->lsid, lsid, sizeof(x->lsid));
        map_put(s->by_id, key, x);
    }
    if (x)
        x->last_used_us = clock_mono_us();
    mutex_unlock(&s->lock);
    return rc;
}

void sessions_end(struct cmd_req *r, const uint8_t lsid[16])
{
    struct sessions *s = r->node->sessions;
    const char *user = cmd_user(r, r->arena);

    cursors_kill_session(r->node->cursors, lsid, user);
    mutex_lock(&s->lock);
    struct session *x = map_del(s->by_id, key_of(r->arena, lsid, user));
    mutex_unlock(&s->lock);
    session_free(x);
}

void sessions_reap(struct sessions *s, uint64_t now_us,
                   void (*fn)(void *arg, const uint8_t lsid[16], const char *user), void *arg)
{
    struct session *gone = NULL;
    struct slice key;
    size_t it = 0;
    void *v;

    mutex_lock(&s->lock);
    while (map_next(s->by_id, &it, &key, &v)) {
        struct session *x = v;
        if (x->last_used_us + s->timeout_us > now_us)
            continue;
        map_del_last(s->by_id, &it);
        x->next = gone;
        gone = x;
    }
    mutex_unlock(&s->lock);
    while (gone) {
        struct session *x = gone;
        gone = x->next;
        fn(arg, x->lsid, x->user);
        session_free(x);
    }
}

void sessions_each(struct sessions *s, sessions_fn fn, void *arg)
{
    uint64_t now = clock_mono_us();
    struct slice key;
    size_t it = 0;
    void *v;

    mutex_lock(&s->lock);
    while (map_next(s->by_id, &it, &key, &v)) {
        const struct session *x = v;
        fn(arg, x->lsid, x->user, now - MIN(now, x->last_used_us));
    }
    mutex_unlock(&s->lock);
}

int64_t sessions_count(struct sessions *s)
{
    mutex_lock(&s->lock);
    int64_t n = (int64_t)map_count(s->by_id);
    mutex_unlock(&s->lock);
    return n;
}
