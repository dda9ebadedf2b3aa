/* cmd_sasl.c - logging in and out: saslStart, saslContinue, authenticate, logout, connectionStatus, whatsmyuri (compatibility 3).
 *
 * One conversation a connection. A failure ends it, and every failure of the conversation is the same error 18.
 */
#include "cmd_auth.h"
#include "cmd_priv.h"

#include "base/log.h"
#include "base/text.h"
#include "identity/scram.h"

enum { CONVERSATION = 1 };

/* A payload comes as BinData, or as a base64 string from some clients. */
static RC read_payload(struct cmd_req *r, struct bval v, struct slice *out, struct err *e)
{
    uint8_t subtype;

    if (v.type == BT_BINARY) {
        *out = bval_bin(v, &subtype);
        return RC_OK;
    }
    if (v.type == BT_STRING) {
        struct buf b = BUF_INIT;
        bool good = base64_decode(bval_str(v), &b);

        if (good)
            *out = SLICE(arena_dup(r->arena, b.p, b.len), b.len);
        buf_wipe(&b);
        if (good)
            return RC_OK;
        FAIL(e, ERR_AUTHENTICATION_FAILED, "Authentication failed.");
    }
    return cmd_wrong_type(r->def->name, "payload", v, "binData", e);
}

static void drop_conversation(struct cmd_client *c)
{
    scram_free(c->scram);
    c->scram = NULL;
}

static void write_step(struct bw *w, bool done, struct slice payload)
{
    bw_i32(w, "conversationId", CONVERSATION);
    bw_bool(w, "done", done);
    bw_bin(w, "payload", /* subtype= */ 0, payload);
}

/* What failed is for the log; the client hears error 18 and no more. */
static void log_failure(struct cmd_req *r, const struct err *e)
{
    log_event(EV_AUTHENTICATION_FAILED, KV_STR("peer", r->client->peer),
              KV_I64("connection", r->client->id),
              KV_USER("user", r->client->scram ? scram_user(r->client->scram) : SLICE_EMPTY),
              KV_STR("reason", e->detail[0] ? e->detail : e->msg));
}

/* ---- saslStart ---- */

struct start_args {
    struct slice mechanism, db;
    struct bval payload, options, auto_authorize;
};

static const struct arg start_table[] = {
    ARG(struct start_args, mechanism, "mechanism", ARG_STR, ARG_REQUIRED),
    ARG(struct start_args, payload, "payload", ARG_ANY, ARG_REQUIRED),
    ARG(struct start_args, options, "options", ARG_DOC, 0),
    ARG(struct start_args, auto_authorize, "autoAuthorize", ARG_ANY, 0),
};

static RC start(struct cmd_req *r, const struct start_args *a, struct slice db, struct bw *w,
                struct err *e)
{
    struct cmd_client *c = r->client;
    bool skip_empty = a->options.type == BT_DOCUMENT &&
                      bval_truthy(bdoc_get(bval_doc(a->options), "skipEmptyExchange"));
    struct buf reply = BUF_INIT;
    struct slice payload;

    drop_conversation(c);
    if (!slice_eq_str(a->mechanism, "SCRAM-SHA-256"))
        FAIL(e, ERR_MECHANISM_UNAVAILABLE,
             "Received authentication for mechanism %.*s which is not enabled",
             (int)MIN(a->mechanism.len, (size_t)40), (const char *)a->mechanism.p);
    if (!r->node->identity)
        FAIL(e, ERR_AUTHENTICATION_FAILED, "Authentication failed.");
    TRY(read_payload(r, a->payload, &payload, e));
    if (scram_begin(r->node->identity, db, payload, skip_empty, r->arena, &c->scram, &reply, e)
            .failed) {
        buf_fini(&reply);
        log_failure(r, e);
        return RC_FAILED;
    }
    write_step(w, false, buf_view(&reply));
    buf_fini(&reply);
    return RC_OK;
}

RC cmd__saslStart(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct start_args a = { 0 };

    TRY(cmd_args(r, start_table, ARRAY_LEN(start_table), &a, e));
    return start(r, &a, r->db, w, e);
}

/* spec: "on failure leave the field out and let hello succeed" */
void cmd__speculative_authenticate(struct cmd_req *r, struct bdoc d, struct bw *w)
{
    struct start_args a = { 0 };
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    struct bval db = bdoc_get(d, "db"), mechanism = bdoc_get(d, "mechanism");
    struct bw part;

    a.payload = bdoc_get(d, "payload");
    a.options = bdoc_get(d, "options");
    if (db.type != BT_STRING || mechanism.type != BT_STRING ||
        bdoc_get(d, "saslStart").type == BT_MISSING)
        return;
    a.mechanism = bval_str(mechanism);
    bw_init(&part, &b);
    if (start(r, &a, bval_str(db), &part, &e).failed)
        err_reset(&e);
    else
        bw_doc(w, "speculativeAuthenticate", bw_finish(&part));
    buf_fini(&b);
}

/* ---- saslContinue ---- */

struct continue_args {
    struct bval conversation, payload;
};

static const struct arg continue_table[] = {
    ARG(struct continue_args, conversation, "conversationId", ARG_ANY, ARG_REQUIRED),
    ARG(struct continue_args, payload, "payload", ARG_ANY, ARG_REQUIRED),
};

static RC go_on(struct cmd_req *r, struct slice payload, struct bw *w, bool *done, struct err *e)
{
    struct cmd_client *c = r->client;
    struct buf reply = BUF_INIT;
    rc_t rc = scram_continue(c->scram, payload, &reply, done, e);

    if (!rc.failed && *done &&
        identity_login(c->identity, scram_db(c->scram), scram_user(c->scram), e).failed)
        rc = RC_FAILED; /* dropped between the two messages */
    if (!rc.failed)
        write_step(w, *done, buf_view(&reply));
    buf_fini(&reply);
    return rc;
}

RC cmd__saslContinue(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct continue_args a = { 0 };
    struct cmd_client *c = r->client;
    struct slice payload;
    bool done = false;
    int64_t id;

    TRY(cmd_args(r, continue_table, ARRAY_LEN(continue_table), &a, e));
    if (!c->scram)
        FAIL(e, ERR_PROTOCOL_ERROR, "No SASL session state found");
    if (!bval_is_number(a.conversation) || !bval_to_i64(a.conversation, &id) ||
        id != CONVERSATION) {
        drop_conversation(c);
        FAIL(e, ERR_PROTOCOL_ERROR, "sasl: Mismatched conversation id");
    }
    if (read_payload(r, a.payload, &payload, e).failed || go_on(r, payload, w, &done, e).failed) {
        log_failure(r, e);
        drop_conversation(c);
        if (e->code == ERR_USER_NOT_FOUND) {
            err_reset(e);
            FAIL(e, ERR_AUTHENTICATION_FAILED, "Authentication failed.");
        }
        return RC_FAILED;
    }
    if (done) {
        log_event(EV_AUTHENTICATED, KV_STR("peer", c->peer), KV_I64("connection", c->id),
                  KV_USER("user", scram_user(c->scram)));
        drop_conversation(c);
    }
    return RC_OK;
}

/* ---- the rest ---- */

RC cmd__authenticate(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct bval mechanism = bdoc_get(r->body, "mechanism");

    (void)w;
    FAIL(e, ERR_MECHANISM_UNAVAILABLE,
         "Received authentication for mechanism %.*s which is not enabled",
         mechanism.type == BT_STRING ? (int)MIN(bval_str(mechanism).len, (size_t)40) : 11,
         mechanism.type == BT_STRING ? (const char *)bval_str(mechanism).p : "MONGODB-CR/");
}

RC cmd__logout(struct cmd_req *r, struct bw *w, struct err *e)
{
    (void)w;
    TRY(cmd_no_args(r, e));
    identity_logout(r->client->identity, r->db);
    return RC_OK;
}

struct status_args {
    bool show_privileges;
};

static const struct arg status_table[] = {
    ARG(struct status_args, show_privileges, "showPrivileges", ARG_SAFE_BOOL, 0),
};

RC cmd__connectionStatus(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct status_args a = { 0 };

    TRY(cmd_args(r, status_table, ARRAY_LEN(status_table), &a, e));
    identity_write_status(r->client->identity, a.show_privileges, w);
    return RC_OK;
}

RC cmd__whatsmyuri(struct cmd_req *r, struct bw *w, struct err *e)
{
    TRY(cmd_no_args(r, e));
    bw_str(w, "you", r->client->peer);
    return RC_OK;
}
