/* cmd_cursors.c - getMore and killCursors (compatibility 12). */
#include "cmd_priv.h"

struct get_more_args {
    struct slice collection;
    int64_t batch_size;
};

static const struct arg get_more_table[] = {
    ARG(struct get_more_args, collection, "collection", ARG_STR, ARG_REQUIRED),
    ARG(struct get_more_args, batch_size, "batchSize", ARG_I64, ARG_NOT_NEGATIVE),
    ARG_SKIP("term"),
    ARG_SKIP("lastKnownCommittedOpTime"),
    ARG_SKIP("includeQueryStatsMetrics"),
};

static RC check_owner(struct cmd_req *r, const struct cursor *c, const char *ns, struct err *e)
{
    if (strcmp(c->ns, ns) != 0)
        FAIL(
            e, ERR_UNAUTHORIZED,
            "Requested getMore on namespace '%.200s', but cursor belongs to a different namespace %.200s",
            ns, c->ns);
    if (c->has_lsid && (!r->g.has_lsid || memcmp(c->lsid, r->g.lsid, sizeof(c->lsid)) != 0))
        FAIL(e, ERR_LOC(50738),
             "Cannot run getMore on cursor %lld, which was created in another session",
             (long long)c->id);
    if (!c->has_lsid && r->g.has_lsid)
        FAIL(e, ERR_LOC(50738),
             "Cannot run getMore on cursor %lld, which was not created in a session, in a session",
             (long long)c->id);
    return cmd_cursor_privileges(r, c, e);
}

static RC more(struct cmd_req *r, struct cursor *c, int64_t n, const char *ns, struct bw *w,
               struct err *e)
{
    TRY(check_owner(r, c, ns, e));
    if (!bval_is_nullish(bdoc_get(r->body, "maxTimeMS")))
        FAIL(e, ERR_BAD_VALUE,
             "cannot set maxTimeMS on getMore command for a non-awaitData cursor");
    c->q.now_ms = clock_real_ms();
    bw_doc_begin(w, "cursor");
    bw_array_begin(w, "nextBatch");
    TRY(cursor_fill(c, w, n, CURSOR_BATCH_BYTES, e));
    bw_array_end(w);
    bw_i64(w, "id", c->exhausted && !c->has_pending ? 0 : c->id);
    bw_str(w, "ns", c->ns);
    bw_doc_end(w);
    return RC_OK;
}

RC cmd__getMore(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct get_more_args a = { 0 };
    struct bval id = cmd_first(r);
    struct cursor *c;

    if (id.type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'getMore.getMore' is missing but a required field");
    if (id.type != BT_INT64)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field 'getMore.getMore' is the wrong type '%s', expected type 'long'",
             btype_name(id.type));
    TRY(cmd_args(r, get_more_table, ARRAY_LEN(get_more_table), &a, e));
    if (a.collection.len == 0)
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid namespace specified '%.*s.'", (int)r->db.len,
             r->db.p);
    atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_GETMORE], 1,
                              memory_order_relaxed);
    const char *ns = arena_printf(r->arena, "%.*s.%.*s", (int)r->db.len, r->db.p,
                                  (int)a.collection.len, a.collection.p);
    TRY(cursors_checkout(r->node->cursors, bval_i64(id), r->client ? &r->client->interrupt : NULL,
                         &c, e));
    /* what concerns only this request leaves the cursor as it was */
    bool mine = strcmp(c->ns, ns) == 0;
    size_t before = bw_size(w);
    rc_t rc = more(r, c, a.batch_size, ns, w, e);
    if (mine)
        cmd_note_use(r, c->coll, USE_READ);
    bool untouched = rc.failed && (!mine || bw_size(w) == before);
    if (untouched || (!rc.failed && !(c->exhausted && !c->has_pending)))
        cursors_checkin(r->node->cursors, c);
    else
        cursors_finish(r->node->cursors, c);
    return rc;
}

struct kill_args {
    struct bval cursors;
};

static const struct arg kill_table[] = {
    ARG(struct kill_args, cursors, "cursors", ARG_ARRAY, ARG_REQUIRED),
};

RC cmd__killCursors(struct cmd_req *r, struct bw *w, struct err *e)
{
    static const char *const names[] = { "cursorsKilled", "cursorsNotFound" };
    struct kill_args a = { 0 };
    struct biter it;

    struct bval coll = cmd_first(r);
    if (coll.type != BT_STRING)
        FAIL(e, ERR_INVALID_NAMESPACE, "collection name has invalid type %s",
             btype_name(coll.type));
    if (bval_str(coll).len == 0)
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid namespace specified '%.*s.'", (int)r->db.len,
             r->db.p);
    TRY(cmd_args(r, kill_table, ARRAY_LEN(kill_table), &a, e));
    int n = (int)bdoc_count(bval_doc(a.cursors));
    int64_t *ids = ARENA_ARRAY(r->arena, int64_t, (size_t)n);
    enum cursor_kill *how = ARENA_ARRAY(r->arena, enum cursor_kill, (size_t)n);
    biter_init(&it, bval_doc(a.cursors));
    for (int i = 0; biter_next(&it); i++) {
        if (it.val.type != BT_INT64)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "BSON field 'killCursors.cursors.%d' is the wrong type '%s', expected type 'long'",
                 i, btype_name(it.val.type));
        ids[i] = bval_i64(it.val);
    }
    const char *ns = arena_printf(r->arena, "%.*s.%.*s", (int)r->db.len, r->db.p,
                                  (int)bval_str(coll).len, bval_str(coll).p);
    const char *user = r->node->auth_enabled ? cmd_user(r, r->arena) : NULL;
    bool any = r->node->auth_enabled &&
               identity_allows(r->client->identity, RES_CLUSTER, ACT_KILL_ANY_CURSOR);
    for (int i = 0; i < n; i++) {
        how[i] = cursors_kill(r->node->cursors, ids[i], slice_str(ns), any ? NULL : user);
        if (how[i] == CURSOR_REFUSED)
            FAIL(e, ERR_UNAUTHORIZED, "not authorized to kill cursor %lld", (long long)ids[i]);
    }
    for (int k = 0; k < 2; k++) {
        bw_array_begin(w, names[k]);
        for (int i = 0; i < n; i++)
            if (how[i] == (k == 0 ? CURSOR_KILLED : CURSOR_NOT_FOUND))
                bw_i64(w, NULL, ids[i]);
        bw_array_end(w);
    }
    bw_array_begin(w, "cursorsAlive");
    bw_array_end(w);
    bw_array_begin(w, "cursorsUnknown");
    bw_array_end(w);
    return RC_OK;
}
