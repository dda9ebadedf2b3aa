/* stage_ops.c - $currentOp, $listLocalSessions, $listSessions.
 */
#include "cmd_ops.h"
#include "cmd_stages.h"

#include "crypto/kdf.h"

/* ---- $currentOp ---- */

struct current_op {
    bool all_users, idle_connections, idle_cursors, idle_sessions, local_ops, target_all, truncate;
};

static RC parse_current_op(struct bval spec, struct current_op *o, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct current_op, all_users, "allUsers", ARG_BOOL, 0),
        ARG(struct current_op, idle_connections, "idleConnections", ARG_BOOL, 0),
        ARG(struct current_op, idle_cursors, "idleCursors", ARG_BOOL, 0),
        ARG(struct current_op, idle_sessions, "idleSessions", ARG_BOOL, 0),
        ARG(struct current_op, local_ops, "localOps", ARG_BOOL, 0),
        ARG(struct current_op, target_all, "targetAllNodes", ARG_BOOL, 0),
        ARG(struct current_op, truncate, "truncateOps", ARG_BOOL, 0),
    };
    struct biter it;

    *o = (struct current_op){ 0 };
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "$currentOp options must be specified in an object, but found: %s",
             btype_name(spec.type));
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it))
        if (it.val.type == BT_NULL)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "BSON field '$currentOp.%.*s' is the wrong type 'null', expected type 'bool'",
                 (int)MIN(it.name.len, 200u), it.name.p);
    TRY(cmd_fields(bval_doc(spec), "$currentOp", table, ARRAY_LEN(table), o, e));
    if (o->target_all)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "$currentOp supports targetAllNodes parameter only for sharded clusters");
    return RC_OK;
}

RC cmd_stage_check_current_op(struct cmd_stages *s, struct qctx *q, struct bval spec, struct err *e)
{
    struct current_op o;

    (void)q;
    if (!slice_eq_str(s->ns.db, "admin") || !slice_eq_str(s->ns.coll, "$cmd.aggregate"))
        FAIL(e, ERR_INVALID_NAMESPACE,
             "$currentOp must be run against the 'admin' database with {aggregate: 1}");
    return parse_current_op(spec, &o, e);
}

RC cmd_stage_open_current_op(struct cmd_stages *s, struct qctx *q, struct bval spec,
                             struct doc_source *in, struct doc_source **out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct current_op o;
    struct bw w;

    doc_source_close(in);
    TRY(parse_current_op(spec, &o, e));
    bw_init(&w, &b);
    bw_array_begin(&w, "d");
    TRY(cmd_ops_write(s->r, o.all_users, &w, e));
    bw_array_end(&w);
    *out = cmd_stage_docs(q, &w);
    return RC_OK;
}

/* ---- $listLocalSessions, $listSessions ---- */

struct list_sessions {
    struct bval users;
    bool all_users;
    const char **names; /* "db.user", sorted as given */
    int n_names;
};
struct user_arg {
    struct slice user, db;
};

static RC parse_sessions(struct qctx *q, struct bval spec, struct list_sessions *l, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct list_sessions, users, "users", ARG_ARRAY, 0),
        ARG(struct list_sessions, all_users, "allUsers", ARG_BOOL, 0),
    };
    static const struct arg user_table[] = {
        ARG(struct user_arg, user, "user", ARG_STR, ARG_REQUIRED),
        ARG(struct user_arg, db, "db", ARG_STR, ARG_REQUIRED),
    };
    struct biter it;

    *l = (struct list_sessions){ 0 };
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "the options of the stage must be an object, not of type %s",
             btype_name(spec.type));
    TRY(cmd_fields(bval_doc(spec), "$listSessions", table, ARRAY_LEN(table), l, e));
    if (l->users.type != BT_ARRAY)
        return RC_OK;
    l->names = ARENA_ARRAY(q->arena, const char *, bdoc_count(bval_doc(l->users)) + 1);
    biter_init(&it, bval_doc(l->users));
    while (biter_next(&it)) {
        struct user_arg u = { 0 };
        if (it.val.type == BT_NULL)
            continue;
        if (it.val.type != BT_DOCUMENT)
            return cmd_wrong_type("$listSessions", "users", it.val, "object", e);
        TRY(cmd_fields(bval_doc(it.val), "$listSessions.users", user_table, ARRAY_LEN(user_table),
                       &u, e));
        l->names[l->n_names++] =
            arena_printf(q->arena, "%.*s.%.*s", (int)u.db.len, u.db.p, (int)u.user.len, u.user.p);
    }
    if (l->n_names && l->all_users)
        FAIL(e, ERR_UNSUPPORTED_FORMAT,
             "$listSessions may not specify allUsers=true and a list of users");
    return RC_OK;
}

RC cmd_stage_check_list_sessions(struct cmd_stages *s, struct qctx *q, struct bval spec,
                                 struct err *e)
{
    struct list_sessions l;
    bool local = slice_eq_str(s->ns.coll, "$cmd.aggregate");

    if (!local && strcmp(s->ns.ns, "config.system.sessions") != 0)
        FAIL(
            e, ERR_INVALID_NAMESPACE,
            "$listSessions may be run only on config.system.sessions, $listLocalSessions only with {aggregate: 1}");
    TRY(parse_sessions(q, spec, &l, e));
    if (!s->r->node->auth_enabled || (!l.all_users && l.n_names == 0))
        return RC_OK;
    return identity_require(s->r->client->identity, RES_CLUSTER, ACT_LIST_SESSIONS, "aggregate", e);
}

struct listing {
    const struct list_sessions *l;
    const char *own; /* "db.user" of who asks */
    struct bw *w;
    rc_t rc;
    struct err *e;
};

static bool wanted(const struct listing *g, const char *user)
{
    if (g->l->all_users)
        return true;
    if (g->l->n_names == 0)
        return strcmp(user, g->own) == 0;
    for (int i = 0; i < g->l->n_names; i++)
        if (strcmp(g->l->names[i], user) == 0)
            return true;
    return false;
}

static void put_session(void *arg, const uint8_t lsid[16], const char *user, uint64_t idle_us)
{
    struct listing *g = arg;
    struct slice name = slice_str(user);
    uint8_t uid[SHA256_LEN];

    if (g->rc.failed || !wanted(g, user))
        return;
    g->rc = sha256(&name, 1, uid, g->e);
    if (g->rc.failed)
        return;
    bw_doc_begin(g->w, NULL);
    bw_doc_begin(g->w, "_id");
    bw_bin(g->w, "id", 4, SLICE(lsid, 16));
    bw_bin(g->w, "uid", 0, SLICE(uid, sizeof(uid)));
    bw_doc_end(g->w);
    bw_date(g->w, "lastUse", clock_real_ms() - (int64_t)(idle_us / 1000));
    if (*user)
        bw_str(g->w, "user", user);
    bw_doc_end(g->w);
}

RC cmd_stage_open_list_sessions(struct cmd_stages *s, struct qctx *q, struct bval spec,
                                struct doc_source *in, struct doc_source **out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct list_sessions l;
    struct bw w;

    doc_source_close(in);
    TRY(parse_sessions(q, spec, &l, e));
    bw_init(&w, &b);
    bw_array_begin(&w, "d");
    struct listing g = { .l = &l, .own = cmd_user(s->r, q->arena), .w = &w, .rc = RC_OK, .e = e };
    if (s->r->node->sessions)
        sessions_each(s->r->node->sessions, put_session, &g);
    TRY(g.rc);
    bw_array_end(&w);
    *out = cmd_stage_docs(q, &w);
    return RC_OK;
}
