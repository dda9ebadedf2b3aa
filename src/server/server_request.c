/* server_request.c - one request, from message to reply.
 *
 *   message ──parse──▶ sealed? ──▶ cmd_run ──▶ reply ──▶ read the next
 *                                    ├─ parked: the message is kept; run again when woken
 *                                    └─ exhaust: reply with moreToCome, then run again once it went out
 *
 * A request with moreToCome gets no answer, not even an error. A message whose frame is sound but whose content is not gets an error and, when what is wrong is the protocol
 * rather than a document, the connection ends.
 */
#include "server_priv.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "bsonx/bw.h"

struct server__conn *server__conn_of(struct net_conn *nc)
{
    struct server__conn *c = net_conn_user(nc);

    INVARIANT(c->magic == SERVER__CONN_MAGIC);
    return c;
}

static bool is_hello(struct slice name)
{
    return slice_eq_str(name, "hello") || slice_eq_str(name, "isMaster") ||
           slice_eq_str(name, "ismaster");
}

static struct slice command_name(struct bdoc body)
{
    struct biter it;

    biter_init(&it, body);
    return biter_next(&it) ? it.name : SLICE_EMPTY;
}

static void put_error(const struct err *e, struct buf *out)
{
    char name[32];
    struct bw w;

    bw_init(&w, out);
    bw_double(&w, "ok", 0.0);
    bw_str(&w, "errmsg", e->msg);
    bw_i32(&w, "code", (int32_t)e->code);
    bw_str(&w, "codeName", err_code_name(e->code, name, sizeof(name)));
    bw_finish(&w);
}

static bool is_sealed(struct server *s, struct cmd_seal *seal)
{
    return s->cfg.sealed && s->cfg.sealed(s->cfg.sealed_ctx, seal);
}

/* ---- replies ---- */

static int32_t finish_reply(struct server__conn *c, struct wire_reply *r, uint32_t flags,
                            struct buf *out)
{
    int32_t id = (int32_t)((unsigned)atomic_fetch_add(&c->s->next_reply_id, 1) & 0x7fffffff);

    wire_reply_end(r, id, c->respond_to, flags, out);
    return id;
}

static enum wire_reply_kind kind_for(const struct wire_msg *m)
{
    return m->op == WIRE_OP_QUERY ? WIRE_REPLY_QUERY : WIRE_REPLY_MSG;
}

/* A reply that is one error, outside of any command. */
static void reply_error(struct server__conn *c, const struct wire_msg *m, const struct err *e,
                        struct buf *out)
{
    struct wire_reply r;

    wire_reply_begin(&r, kind_for(m), out);
    put_error(e, out);
    finish_reply(c, &r, 0, out);
}

/* ---- running a request ---- */

static void fill_request(struct server__conn *c, struct server__worker *w, const struct wire_msg *m,
                         struct cmd_req *r)
{
    struct cmd_seq *seqs = ARENA_ARRAY(w->arena, struct cmd_seq, (size_t)m->n_seqs + 1);

    for (int i = 0; i < m->n_seqs; i++)
        seqs[i] = (struct cmd_seq){ .name = m->seqs[i].name,
                                    .docs = m->seqs[i].docs,
                                    .n_docs = m->seqs[i].n_docs };
    *r = (struct cmd_req){
        .node = c->s->cfg.node,
        .client = c->client,
        .arena = w->arena,
        .scratch = w->scratch,
        .body = m->body,
        .db = m->db,
        .seqs = seqs,
        .n_seqs = m->n_seqs,
        .wire = m->op == WIRE_OP_QUERY ? CMD_OP_QUERY : CMD_OP_MSG,
        .exhaust_allowed = (m->flags & WIRE_EXHAUST_ALLOWED) != 0,
        .start_us = clock_mono_us(),
    };
}

static void keep_request(struct server__conn *c, struct slice msg)
{
    if (c->request.p == msg.p)
        return;
    buf_clear(&c->request);
    buf_push(&c->request, msg.p, msg.len);
}

/* Runs the command and leaves its reply document in out. Writes wait for the journal, and some reads for all of a collection, so another worker takes over
 * meanwhile. */
static void run_command(struct cmd_req *r, const struct cmd_def *def, struct buf *out)
{
    bool may_wait = def && ((def->flags & CMD_LONG) || cmd_writes(def, r->body));

    if (may_wait)
        net_block_begin();
    cmd_run(r, out);
    if (may_wait)
        net_block_end();
}

static void compress_reply(struct server__conn *c, struct server__worker *w,
                           const struct wire_msg *m, const struct cmd_def *def, size_t start,
                           struct buf *out)
{
    struct err e = { 0 };

    /* compatibility 1: replies to an uncompressed request, and whatever carries credentials, go out as they are. */
    if (!m->compressed || !def || (def->flags & CMD_NO_LOG) || is_hello(command_name(m->body)))
        return;
    (void)c;
    if (wire_compress(w->codec, m->compressor, start, out, &e).failed)
        err_reset(&e); /* the reply stays uncompressed, which every client accepts */
}

static enum net_next after_run(struct net_conn *nc, struct server__conn *c,
                               struct server__worker *w, struct slice msg, const struct wire_msg *m,
                               const struct cmd_def *def, struct wire_reply *reply, struct buf *out)
{
    struct cmd_client *client = c->client;
    bool more = client->exhaust_more && (m->flags & WIRE_EXHAUST_ALLOWED) && m->op == WIRE_OP_MSG;
    int ending = atomic_load(&c->s->ending);

    client->resumed = false;
    if (client->parked && !ending) {
        out->len = reply->start;
        keep_request(c, msg);
        net_conn_park_until(nc, client->park_until_us);
        server__park(c);
        return NET_PARK;
    }
    client->parked = false;
    if (m->flags & WIRE_MORE_TO_COME) { /* the client waits for nothing */
        out->len = reply->start;
        more = false;
    } else {
        int32_t id = finish_reply(c, reply, more ? WIRE_MORE_TO_COME : 0, out);

        compress_reply(c, w, m, def, reply->start, out);
        if (more)
            c->respond_to = id;
    }
    client->exhaust_more = false;
    metric_add(M_NET_REQUESTS, 1);
    if (client->close_after || ending)
        return NET_CLOSE;
    if (more) {
        keep_request(c, msg);
        client->exhaust_round++;
        return NET_AGAIN;
    }
    client->exhaust_round = 0;
    buf_fini(&c->request);
    return NET_READ;
}

static struct bdoc reply_doc(const struct wire_reply *r, const struct buf *out)
{
    size_t at = wire_reply_doc(r);

    return (struct bdoc){ .p = out->p + at, .len = (uint32_t)(out->len - at) };
}

/* A command that was interrupted by sealing says so with everything that clients are told then. */
static void tell_sealed(struct server *s, struct bdoc reply, struct buf *out)
{
    struct bval code = bdoc_get(reply, "code");
    struct cmd_seal seal;

    if (code.type != BT_INT32 || bval_i32(code) != ERR_CLUSTER_INACCESSIBLE || !is_sealed(s, &seal))
        return;
    out->len -= reply.len;
    cmd_write_sealed(&seal, out);
}

static enum net_next run_parsed(struct net_conn *nc, struct server__conn *c,
                                struct server__worker *w, struct slice msg,
                                const struct wire_msg *m, struct buf *out)
{
    struct slice name = command_name(m->body);
    const struct cmd_def *def = cmd_find(name);
    struct wire_reply reply;
    struct cmd_seal seal;

    wire_reply_begin(&reply, kind_for(m), out);
    if (!is_hello(name) && is_sealed(c->s, &seal)) {
        cmd_write_sealed(&seal, out);
    } else {
        struct cmd_req r;

        fill_request(c, w, m, &r);
        run_command(&r, def, out);
        tell_sealed(c->s, reply_doc(&reply, out), out);
    }
    return after_run(nc, c, w, msg, m, def, &reply, out);
}

/* Documents that are no good leave the stream intact; anything else does not deserve trust. */
static bool may_go_on(enum err_code code)
{
    return code == ERR_INVALID_BSON || code == ERR_OVERFLOW || code == ERR_BSON_OBJECT_TOO_LARGE ||
           code == ERR_UNSUPPORTED_OP_QUERY_COMMAND;
}

static enum net_next handle(struct net_conn *nc, struct server__worker *w, struct slice msg,
                            struct buf *out)
{
    struct server__conn *c = server__conn_of(nc);
    struct err e = { 0 };
    struct wire_msg m;
    enum net_next next;
    bool agreed = c->client->compressors != 0;

    arena_reset(w->arena);
    arena_reset(w->scratch);
    if (wire_parse(msg, agreed ? w->codec : NULL, w->arena, &m, &e).failed) {
        bool go_on = may_go_on(e.code);

        if (c->client->exhaust_round == 0)
            c->respond_to = m.request_id;
        if (!(m.flags & WIRE_MORE_TO_COME) || m.op == WIRE_OP_QUERY)
            reply_error(c, &m, &e, out);
        err_reset(&e);
        return go_on ? NET_READ : NET_CLOSE;
    }
    if (m.op == WIRE_OP_REPLY || (m.compressed && m.compressor != WIRE_NOOP &&
                                  !(c->client->compressors >> m.compressor & 1)))
        /* a server is not answered, and a compressor that was not agreed on is not spoken */
        return NET_CLOSE;
    if (c->client->exhaust_round == 0)
        c->respond_to = m.request_id;
    if (m.op == WIRE_OP_MSG && bdoc_get(m.body, "$db").type != BT_STRING) {
        rc_t rc = err_set(&e, ERR_LOC(40571), __FILE__, __LINE__,
                          "OP_MSG requests require a $db argument");

        INVARIANT(rc.failed);
        if (!(m.flags & WIRE_MORE_TO_COME))
            reply_error(c, &m, &e, out);
        err_reset(&e);
        return NET_READ;
    }
    next = run_parsed(nc, c, w, msg, &m, out);
    return next;
}

enum net_next server__message(struct net_conn *nc, void *worker, struct slice msg, struct buf *out)
{
    return handle(nc, worker, msg, out);
}

/* The connection ends: what waits gets its last word. */
static enum net_next last_word(struct server__conn *c, struct server__worker *w, struct buf *out)
{
    struct err e = { 0 };
    struct cmd_seal seal;
    struct wire_msg m;

    if (c->request.len == 0)
        return NET_CLOSE;
    arena_reset(w->arena);
    if (!wire_parse(buf_view(&c->request), w->codec, w->arena, &m, &e).failed &&
        !(m.flags & WIRE_MORE_TO_COME)) {
        struct wire_reply r;

        wire_reply_begin(&r, kind_for(&m), out);
        if (is_sealed(c->s, &seal)) {
            cmd_write_sealed(&seal, out);
        } else {
            rc_t rc = err_set(&e, ERR_INTERRUPTED_AT_SHUTDOWN, __FILE__, __LINE__,
                              "the node is shutting down");

            INVARIANT(rc.failed);
            put_error(&e, out);
        }
        finish_reply(c, &r, 0, out);
    }
    err_reset(&e);
    return NET_CLOSE;
}

enum net_next server__wake(struct net_conn *nc, void *worker, enum net_why why, struct buf *out)
{
    struct server__conn *c = server__conn_of(nc);

    server__unpark(c);
    if (why == NET_WHY_END)
        return last_word(c, worker, out);
    if (c->request.len == 0)
        return NET_READ;
    c->client->resumed = c->client->parked;
    c->client->parked = false;
    return handle(nc, worker, buf_view(&c->request), out);
}
