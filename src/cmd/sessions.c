/* sessions.c - logical sessions: ids that were seen and when (compatibility 18). A session holds nothing here but its cursors, which know their session. */
#include "cmd_priv.h"

#include "base/map.h"

struct session {
    uint64_t last_used_us;
    char *user; /* "db.user" of who used it first, "" without authentication */
};

static void session_free(struct session *x)
{
    if (!x)
        return;
    mem_free(x->user);
    mem_free(x);
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
    rc_t rc = RC_OK;

    mutex_lock(&s->lock);
    struct session *x = map_get(s->by_id, SLICE(lsid, 16));
    if (!x && (int64_t)map_count(s->by_id) >= s->max) {
        rc = err_set(e, ERR_TOO_MANY_LOGICAL_SESSIONS, __FILE__, __LINE__,
                     "cannot add a session: there are too many active ones");
    } else if (!x) {
        x = NEW(struct session);
        x->user = mem_strdup(cmd_user(r, r->arena));
        map_put(s->by_id, SLICE(lsid, 16), x);
    }
    if (x)
        x->last_used_us = clock_mono_us();
    mutex_unlock(&s->lock);
    return rc;
}

bool sessions_end(struct sessions *s, const uint8_t lsid[16])
{
    mutex_lock(&s->lock);
    void *x = map_del(s->by_id, SLICE(lsid, 16));
    mutex_unlock(&s->lock);
    bool found = x != NULL;
    session_free(x);
    return found;
}

void sessions_reap(struct sessions *s, uint64_t now_us,
                   void (*fn)(void *arg, const uint8_t lsid[16]), void *arg)
{
    AUTO(buf_fini) struct buf gone = BUF_INIT;
    struct slice key;
    size_t it = 0;
    void *v;

    mutex_lock(&s->lock);
    while (map_next(s->by_id, &it, &key, &v)) {
        if (((struct session *)v)->last_used_us + s->timeout_us > now_us)
            continue;
        buf_push(&gone, key.p, key.len);
        map_del(s->by_id, SLICE(gone.p + gone.len - 16, 16));
        session_free(v);
    }
    mutex_unlock(&s->lock);
    for (size_t i = 0; i < gone.len; i += 16)
        fn(arg, gone.p + i);
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
        fn(arg, key.p, x->user, now - MIN(now, x->last_used_us));
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
