/* mongo.c - OP_MSG with one body section: header (length, request id, response to, opcode), flags, section kind 0, document. */
#include "mongo.h"

#include "net/client.h"

enum {
    HEADER = 16,
    PROLOGUE = HEADER + 4 + 1,
    OP_MSG = 2013,
    REPLY_MAX = 48 << 20,
    DEPTH_MAX = 200
};

RC mongo_open(struct mongo *m, const struct mongo_place *at, uint64_t timeout_ms, struct err *e)
{
    struct net_client_config c = { .host = at->host,
                                   .port = at->port,
                                   .timeout_ms = timeout_ms,
                                   .tls = at->tls,
                                   .ca_file = at->ca_file,
                                   .cert_file = at->cert_file };

    *m = MONGO_INIT;
    return net_client_open(&c, &m->client, e);
}

void mongo_close(struct mongo *m)
{
    net_client_closep(&m->client);
}

static RC check_ok(struct bdoc reply, struct err *e)
{
    struct bval ok = bdoc_get(reply, "ok"), code = bdoc_get(reply, "code"),
                text = bdoc_get(reply, "errmsg");
    int64_t number = ERR_OPERATION_FAILED;

    if (bval_is_number(ok) && bval_to_double(ok) == 1.0)
        return RC_OK;
    if (bval_is_number(code) && bval_to_i64(code, &number) &&
        (number <= 0 || number > ERR_CODE_MAX))
        number = ERR_OPERATION_FAILED;
    struct slice s =
        text.type == BT_STRING ? bval_str(text) : SLICE_LIT("the server gave no reason");
    FAIL(e, (enum err_code)number, "%.*s", (int)s.len, (const char *)s.p);
}

RC mongo_run(struct mongo *m, struct bdoc command, struct arena *a, struct bdoc *reply,
             struct err *e)
{
    struct buf out = BUF_INIT;
    uint8_t head[PROLOGUE];

    *reply = BDOC_EMPTY;
    buf_push_le32(&out, PROLOGUE + command.len);
    buf_push_le32(&out, (uint32_t)++m->request_id);
    buf_push_le32(&out, 0);
    buf_push_le32(&out, OP_MSG);
    buf_push_le32(&out, 0); /* flags */
    buf_push_u8(&out, 0);   /* body */
    buf_push(&out, command.p, command.len);
    rc_t sent = net_client_send(m->client, buf_view(&out), e);
    buf_wipe(&out); /* createUser carries a password */
    TRY(sent);

    TRY(net_client_receive(m->client, head, sizeof(head), e));
    uint32_t len = get_le32(head);
    if (len < PROLOGUE + 5 || len > REPLY_MAX || get_le32(head + 12) != OP_MSG ||
        get_le32(head + 8) != (uint32_t)m->request_id || head[PROLOGUE - 1] != 0)
        FAIL(e, ERR_PROTOCOL_ERROR, "the answer is not one of a MongoDB server");
    uint8_t *body = arena_alloc(a, len - PROLOGUE);
    TRY(net_client_receive(m->client, body, len - PROLOGUE, e));
    TRY(bdoc_validate(body, len - PROLOGUE, DEPTH_MAX, reply, e));
    return check_ok(*reply, e);
}
