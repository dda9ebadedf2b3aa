/* node.c - opening and closing a node's shared state, and its background work. */
#include "cmd_write.h"

#include "base/log.h"
#include "kept.h"

void node_init(struct node *n)
{
    memset(n, 0, sizeof(*n));
    n->limits = (struct node_limits){
        .cursor_timeout_ms = 10 * 60 * 1000,
        .session_timeout_ms = 30 * 60 * 1000,
        .max_cursors = 100000,
        .max_sessions = 1000000,
        .query_memory_bytes = 100 << 20,
        .request_memory_bytes = 256 << 20,
        .ttl_sleep_ms = 60 * 1000,
    };
    mutex_init(&n->p.lock);
    n->start_us = clock_mono_us();
    n->start_ms = clock_real_ms();
    oid_new(n->process_oid);
}

/* What $out or a copy was writing when the process ended. */
static RC drop_temporary(struct catalog *c, struct err *e)
{
    struct catalog_list l;
    rc_t rc = RC_OK;

    catalog_list(c, SLICE_EMPTY, &l);
    for (int i = 0; !rc.failed && i < l.n; i++)
        if (cmd_temporary_is(l.v[i].name, l.v[i].x->options))
            rc = coll_drop(l.v[i].x, e);
    catalog_list_free(&l);
    return rc;
}

static RC renew_indexes(struct catalog *c, struct err *e)
{
    int n = 0;
    rc_t rc = coll_renew_indexes(c, &n, e);

    if (n)
        log_event(EV_INDEXES_RENEWED, KV_I64("indexes", n));
    return rc;
}

RC node_open(struct node *n, struct err *e)
{
    struct cursors_config c = { .max = n->limits.max_cursors,
                                .timeout_us = n->limits.cursor_timeout_ms * 1000 };

    atomic_store(&n->p.ttl_sleep_ms, n->limits.ttl_sleep_ms);
    TRY(catalog_open(n->store, &n->catalog, e));
    TRY(drop_temporary(n->catalog, e));
    TRY(renew_indexes(n->catalog, e));
    TRY(kept_open(n->store, &n->kept, e));
    cmd_cluster_parameters_apply(n);
    n->profiler = cmd_profiler_new();
    n->auto_compact = cmd_auto_compact_new(n);
    n->cursors = cursors_new(&c);
    n->sessions = sessions_new(n->limits.max_sessions, n->limits.session_timeout_ms);
    return RC_OK;
}

void node_close(struct node *n)
{
    cmd_auto_compact_free(TAKE(n->auto_compact));
    cmd_profiler_free(TAKE(n->profiler));
    cursors_free(TAKE(n->cursors));
    sessions_free(TAKE(n->sessions));
    kept_free(TAKE(n->kept));
    catalog_close(TAKE(n->catalog));
}

void node_descriptor(struct node *n, char out[NODE_DESCRIPTOR_MAX + 1])
{
    mutex_lock(&n->p.lock);
    memcpy(out, n->p.descriptor, sizeof(n->p.descriptor));
    mutex_unlock(&n->p.lock);
}

void node_set_descriptor(struct node *n, struct slice text)
{
    size_t len = MIN(text.len, (size_t)NODE_DESCRIPTOR_MAX);

    mutex_lock(&n->p.lock);
    memset(n->p.descriptor, 0, sizeof(n->p.descriptor));
    if (len)
        memcpy(n->p.descriptor, text.p, len);
    mutex_unlock(&n->p.lock);
}

static void end_session(void *arg, const uint8_t lsid[16], const char *user)
{
    cursors_kill_session(((struct node *)arg)->cursors, lsid, user);
}

void node_tick(struct node *n)
{
    uint64_t now = clock_mono_us();

    cursors_reap(n->cursors, now);
    sessions_reap(n->sessions, now, end_session, n);
    if (!atomic_load(&n->stopping))
        node__ttl_pass(n, now);
}

void node_client_gone(struct node *n, struct cmd_client *client)
{
    /* cursors belong to sessions and users, not to connections: another connection of the pool may go on with them */
    (void)n;
    (void)client;
}
