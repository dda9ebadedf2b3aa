/* cmd_session.c - startSession, refreshSessions, endSessions, killSessions (compatibility 18). */
#include "cmd_ops.h"

#include <sys/random.h>

RC cmd__startSession(struct cmd_req *r, struct bw *w, struct err *e)
{
    uint8_t id[16];

    TRY(cmd_no_args(r, e));
    if (getrandom(id, sizeof(id), 0) != sizeof(id))
        base_panic(__FILE__, __LINE__, "getrandom");
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    TRY(sessions_touch(r, id, e));
    bw_doc_begin(w, "id");
    bw_bin(w, "id", 4, SLICE(id, sizeof(id)));
    bw_doc_end(w);
    bw_i32(w, "timeoutMinutes", (int32_t)(r->node->limits.session_timeout_ms / 60000));
    return RC_OK;
}

struct lsid {
    struct slice id;
};

static const struct arg lsid_table[] = {
    ARG(struct lsid, id, "id", ARG_UUID, ARG_REQUIRED),
    ARG_SKIP("uid"),
    ARG_SKIP("txnNumber"),
    ARG_SKIP("txnUUID"),
};

enum verb { REFRESH, END, KILL };

static RC each(struct cmd_req *r, enum verb verb, struct err *e)
{
    struct bval list = cmd_first(r);
    struct biter it;

    if (list.type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE, "BSON field '%s' is missing but a required field",
             r->def->name);
    if (list.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH, "BSON field '%s' is the wrong type '%s', expected type 'array'",
             r->def->name, btype_name(list.type));
    for (int pass = 0; pass < 2; pass++) { /* everything is checked before anything is done */
        biter_init(&it, bval_doc(list));
        while (biter_next(&it)) {
            struct lsid l = { 0 };
            if (it.val.type == BT_NULL && verb == KILL)
                continue;
            if (it.val.type != BT_DOCUMENT)
                FAIL(e, ERR_TYPE_MISMATCH,
                     "BSON field '%s' is the wrong type '%s', expected type 'object'", r->def->name,
                     btype_name(it.val.type));
            TRY(cmd_fields(bval_doc(it.val), r->def->name, lsid_table, ARRAY_LEN(lsid_table), &l,
                           e));
            if (pass == 0)
                continue;
            if (verb == REFRESH)
                TRY(sessions_touch(r, l.id.p, e));
            if (verb == KILL)
                cmd_ops_kill_session(r, l.id.p, cmd_user(r, r->arena));
            if (verb != REFRESH)
                sessions_end(r, l.id.p);
        }
    }
    return RC_OK;
}

RC cmd__refreshSessions(struct cmd_req *r, struct bw *w, struct err *e)
{
    (void)w;
    TRY(cmd_no_args(r, e));
    return each(r, REFRESH, e);
}

RC cmd__endSessions(struct cmd_req *r, struct bw *w, struct err *e)
{
    (void)w;
    TRY(cmd_no_args(r, e));
    return each(r, END, e);
}

RC cmd__killSessions(struct cmd_req *r, struct bw *w, struct err *e)
{
    (void)w;
    TRY(cmd_no_args(r, e));
    return each(r, KILL, e);
}

struct pattern {
    struct slice user, db;
};

static const struct arg user_table[] = {
    ARG(struct pattern, user, "user", ARG_STR, ARG_REQUIRED),
    ARG(struct pattern, db, "db", ARG_STR, ARG_REQUIRED),
};

static void kill_user(struct cmd_req *r, const char *user)
{
    cmd_ops_kill_session(r, NULL, user);
    cursors_kill_user(r->node->cursors, user);
}

/* killAllSessions(): what runs in sessions of the named users, or of everybody when none is named, and the cursors of those sessions. */
RC cmd__killAllSessions(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct bval list = cmd_first(r);
    struct biter it;

    (void)w;
    TRY(cmd_no_args(r, e));
    if (list.type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'killAllSessions' is missing but a required field");
    if (list.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field 'killAllSessions' is the wrong type '%s', expected type 'array'",
             btype_name(list.type));
    if (bdoc_is_empty(bval_doc(list)))
        kill_user(r, NULL);
    for (int pass = 0; pass < 2; pass++) {
        biter_init(&it, bval_doc(list));
        while (biter_next(&it)) {
            struct pattern p = { 0 };
            if (it.val.type != BT_DOCUMENT)
                FAIL(e, ERR_TYPE_MISMATCH,
                     "BSON field 'killAllSessions' is the wrong type '%s', expected type 'object'",
                     btype_name(it.val.type));
            TRY(cmd_fields(bval_doc(it.val), "killAllSessions", user_table, ARRAY_LEN(user_table),
                           &p, e));
            if (pass == 1)
                kill_user(r, arena_printf(r->arena, "%.*s.%.*s", (int)p.db.len, p.db.p,
                                          (int)p.user.len, p.user.p));
        }
    }
    return RC_OK;
}
