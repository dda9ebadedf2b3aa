/* mongo_login.c - SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side, over saslStart and saslContinue. libgsasl computes the messages. */
#include <gsasl.h>
#include <string.h>

#include "base/arena.h"
#include "mongo.h"

enum { MESSAGES_MAX = 4 };

static void context_done(Gsasl **ctx)
{
    if (*ctx)
        gsasl_done(*ctx);
}

static void session_finish(Gsasl_session **s)
{
    if (*s)
        gsasl_finish(*s);
}

/* One step of the conversation: what the server sent in, what it is to get out. */
static RC next(Gsasl_session *s, struct slice in, struct buf *out, bool *done, struct err *e)
{
    char *text = NULL;
    size_t len = 0;
    int rc = gsasl_step(s, (const char *)in.p, in.len, &text, &len);

    if (rc == GSASL_OK || rc == GSASL_NEEDS_MORE)
        buf_push(out, text, len);
    gsasl_free(text);
    *done = rc == GSASL_OK;
    if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
        FAIL(e, ERR_AUTHENTICATION_FAILED, "could not log in: %s", gsasl_strerror(rc));
    return RC_OK;
}

static struct bdoc sasl_command(struct slice payload, int32_t conversation, struct bw *w)
{
    if (conversation) {
        bw_i32(w, "saslContinue", 1);
        bw_i32(w, "conversationId", conversation);
    } else {
        bw_i32(w, "saslStart", 1);
        bw_str(w, "mechanism", "SCRAM-SHA-256");
    }
    bw_bin(w, "payload", 0, payload);
    if (!conversation) {
        bw_doc_begin(w, "options");
        bw_bool(w, "skipEmptyExchange", true);
        bw_doc_end(w);
    }
    bw_str(w, "$db", "admin");
    return bw_finish(w);
}

/* The server's "done" counts only once its signature was verified. */
static RC converse(struct mongo *m, Gsasl_session *s, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct slice in = SLICE_EMPTY;
    int32_t conversation = 0;
    bool verified = false, done = false;

    for (int i = 0; i < MESSAGES_MAX && !(verified && done); i++) {
        AUTO(buf_wipe) struct buf out = BUF_INIT;
        AUTO(buf_wipe) struct buf space = BUF_INIT;
        struct bdoc reply;
        struct bw w;
        uint8_t subtype;

        if (!verified)
            TRY(next(s, in, &out, &verified, e));
        if (verified && done)
            break;
        bw_init(&w, &space);
        TRY(mongo_run(m, sasl_command(buf_view(&out), conversation, &w), a, &reply, e));
        struct bval id = bdoc_get(reply, "conversationId"), payload = bdoc_get(reply, "payload");
        struct bval end = bdoc_get(reply, "done");
        if (id.type != BT_INT32 || payload.type != BT_BINARY || end.type != BT_BOOL)
            FAIL(e, ERR_PROTOCOL_ERROR, "the server's answer to a login is malformed");
        conversation = bval_i32(id);
        in = bval_bin(payload, &subtype);
        done = bval_bool(end);
    }
    if (!verified || !done)
        FAIL(e, ERR_AUTHENTICATION_FAILED, "could not log in: the conversation has no end");
    return RC_OK;
}

RC mongo_login(struct mongo *m, const char *user, const char *password, struct err *e)
{
    AUTO(context_done) Gsasl *ctx = NULL;
    AUTO(session_finish) Gsasl_session *s = NULL;
    int rc = gsasl_init(&ctx);

    if (rc == GSASL_OK)
        rc = gsasl_client_start(ctx, "SCRAM-SHA-256", &s);
    if (rc != GSASL_OK)
        FAIL(e, ERR_OPERATION_FAILED, "could not prepare a login: %s", gsasl_strerror(rc));
    gsasl_property_set(s, GSASL_AUTHID, user);
    gsasl_property_set(s, GSASL_PASSWORD, password);
    return converse(m, s, e);
}
