/* cmd_ops.c - what runs: who may see it (currentOp), who may end it (killOp, killSessions), and ending it.
 *
 * A connection runs one command at a time; its cmd_client says which one, under a lock of its own that is taken twice a command and by whoever looks. An
 * interruption is set under that lock while the command runs and taken back at its end, so it never meets the next command.
 */
#include "cmd_ops.h"

#include <stdio.h>
#include <time.h>

#include "bsonx/dec.h"

enum { COMMAND_SHOWN_MAX = 16 * 1024 };

static atomic_int next_id = 1;

static int32_t new_id(void)
{
    return (int32_t)((unsigned)atomic_fetch_add_explicit(&next_id, 1, memory_order_relaxed) &
                     0x7fffffff);
}

uint64_t cmd__op_since(struct cmd_client *c)
{
    return c && c->resumed && c->op.waits ? c->op.since_us : 0;
}

void cmd__op_begin(struct cmd_req *r)
{
    struct cmd_client *c = r->client;

    if (!c)
        return;
    const char *user = cmd_user(r, r->arena);
    mutex_lock(&c->op_lock);
    int32_t id = c->op.waits ? c->op.id : new_id(); /* the same operation goes on */
    c->op = (struct cmd_op){
        .id = id,
        .since_us = r->start_us,
        .def = r->def,
        .body = r->body,
        .db = r->db,
        .user = user,
        .has_lsid = r->g.has_lsid,
        .nobody_waits = r->w0,
    };
    memcpy(c->op.lsid, r->g.lsid, sizeof(c->op.lsid));
    mutex_unlock(&c->op_lock);
}

/* What is shown of a request that waits without a thread: a copy, since the request's own memory goes to others meanwhile. */
static struct bdoc kept_body(struct buf *b, struct bdoc body, bool secret)
{
    struct biter it;
    struct bw w;

    if (!secret && body.len <= COMMAND_SHOWN_MAX) {
        buf_push(b, body.p, body.len);
        return (struct bdoc){ .p = b->p, .len = body.len };
    }
    bw_init(&w, b);
    biter_init(&it, body);
    if (biter_next(&it))
        bw_val_slice(&w, it.name, it.val.type == BT_STRING ? it.val : bval_new_null());
    bw_bool(&w, "$truncated", true);
    return bw_finish(&w);
}

void cmd__op_wait(struct cmd_req *r)
{
    struct cmd_client *c = r->client;
    struct buf kept = BUF_INIT;

    mutex_lock(&c->op_lock);
    if (!c->op.def) {
        mutex_unlock(&c->op_lock);
        return;
    }
    c->op.body = kept_body(&kept, r->body, r->def->flags & CMD_NO_LOG);
    size_t db_at = kept.len, user_at = db_at + c->op.db.len;
    buf_push(&kept, c->op.db.p, c->op.db.len);
    buf_push(&kept, c->op.user, strlen(c->op.user) + 1);
    buf_fini(&c->op_kept);
    c->op_kept = kept;
    c->op.body.p = kept.p;
    c->op.db = SLICE(kept.p + db_at, c->op.db.len);
    c->op.user = (const char *)kept.p + user_at;
    c->op.waits = true;
    mutex_unlock(&c->op_lock);
}

void cmd__op_end(struct cmd_req *r)
{
    struct cmd_client *c = r->client;

    if (!c)
        return;
    mutex_lock(&c->op_lock);
    if (c->parked && c->op.waits) { /* goes on later */
        mutex_unlock(&c->op_lock);
        return;
    }
    c->op.def = NULL;
    c->op.waits = false;
    buf_fini(&c->op_kept);
    /* What ends the whole connection stays. */
    int code = atomic_load(&c->interrupt);
    if (code && code != ERR_CLUSTER_INACCESSIBLE && code != ERR_INTERRUPTED_AT_SHUTDOWN)
        atomic_compare_exchange_strong(&c->interrupt, &code, 0);
    mutex_unlock(&c->op_lock);
}

bool cmd_client_interrupt(struct cmd_client *c, cmd_op_fn pick, void *arg, enum err_code code)
{
    int none = 0;

    mutex_lock(&c->op_lock);
    bool picked = c->op.def && pick(arg, c, &c->op);
    if (picked)
        atomic_compare_exchange_strong(&c->interrupt, &none, (int)code);
    mutex_unlock(&c->op_lock);
    return picked;
}

/* ---- all connections ---- */

struct visit {
    cmd_op_fn pick;
    void *arg;
    enum err_code code;
    int n;
};

static void visit_one(void *arg, struct cmd_client *c)
{
    struct visit *v = arg;

    v->n += cmd_client_interrupt(c, v->pick, v->arg, v->code);
}

static int visit_all(struct cmd_req *r, cmd_op_fn pick, void *arg, enum err_code code)
{
    struct visit v = { .pick = pick, .arg = arg, .code = code };

    if (r->node->net && r->node->net->each_client)
        r->node->net->each_client(r->node->net_ctx, visit_one, &v);
    else if (r->client)
        visit_one(&v, r->client);
    return v.n;
}

struct by_session {
    const struct cmd_client *self;
    const uint8_t *lsid; /* NULL: any */
    const char *user;    /* NULL: any */
};

static bool of_session(void *arg, const struct cmd_client *c, const struct cmd_op *op)
{
    const struct by_session *s = arg;

    return c != s->self && op->has_lsid &&
           (!s->lsid || memcmp(op->lsid, s->lsid, sizeof(op->lsid)) == 0) &&
           (!s->user || strcmp(op->user, s->user) == 0);
}

void cmd_ops_kill_session(struct cmd_req *r, const uint8_t *lsid, const char *user)
{
    struct by_session s = { .self = r->client, .lsid = lsid, .user = user };

    visit_all(r, of_session, &s, ERR_INTERRUPTED);
}

static bool count_op(void *arg, const struct cmd_client *c, const struct cmd_op *op)
{
    struct cmd_ops_count *n = arg;

    (void)c;
    n->running++;
    n->writing += cmd_writes(op->def, op->body);
    n->waiting += op->waits;
    return false; /* looked at only */
}

void cmd_ops_count(struct cmd_req *r, struct cmd_ops_count *out)
{
    *out = (struct cmd_ops_count){ 0 };
    visit_all(r, count_op, out, ERR_INTERRUPTED);
}

/* ---- currentOp ---- */

struct listing {
    struct cmd_req *r;
    struct bw *w;
    const char *user; /* NULL: everybody's */
};

static void write_command(const struct cmd_def *def, struct bdoc body, struct bw *w)
{
    bool secret = def->flags & CMD_NO_LOG;

    if (secret || body.len > COMMAND_SHOWN_MAX) {
        struct bval comment = secret ? BVAL_MISSING : bdoc_get(body, "comment");

        bw_doc_begin(w, "command");
        bw_str(w, "$truncated", def->name);
        /* by which its sender knows it */
        if (comment.type == BT_STRING && bval_str(comment).len <= COMMAND_SHOWN_MAX)
            bw_val(w, "comment", comment);
        bw_doc_end(w);
    } else {
        bw_doc(w, "command", body);
    }
}

static void write_ns(const struct cmd_def *def, struct bdoc body, struct slice db, struct bw *w)
{
    char ns[512];
    struct bval coll = BVAL_MISSING;
    struct biter it;

    biter_init(&it, body);
    if (strcmp(def->name, "getMore") == 0)
        coll = bdoc_get(body, "collection");
    else if (biter_next(&it))
        coll = it.val;
    if (coll.type != BT_STRING)
        snprintf(ns, sizeof(ns), "%.*s.$cmd", (int)MIN(db.len, 64u), db.p);
    else
        snprintf(ns, sizeof(ns), "%.*s.%.*s", (int)MIN(db.len, 64u), db.p,
                 (int)MIN(bval_str(coll).len, 400u), bval_str(coll).p);
    bw_str(w, "ns", ns);
}

/* The kinds that clients know; every other command is a command. */
static const char *kind_of(const struct cmd_def *def)
{
    static const char *const kinds[][2] = { { "find", "query" },
                                            { "getMore", "getmore" },
                                            { "insert", "insert" },
                                            { "update", "update" },
                                            { "delete", "remove" } };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(def->name, kinds[i][0]) == 0)
            return kinds[i][1];
    return "command";
}

void cmd__op_describe(const struct cmd_def *def, struct bdoc body, struct slice db, struct bw *w)
{
    bw_str(w, "op", kind_of(def));
    write_ns(def, body, db, w);
    write_command(def, body, w);
}

static void write_now(struct bw *w)
{
    char text[40];
    int64_t ms = clock_real_ms();
    time_t s = (time_t)(ms / 1000);
    struct tm t;

    if (!gmtime_r(&s, &t))
        return;
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(text + len, sizeof(text) - len, ".%03d+00:00", (int)(ms % 1000));
    bw_str(w, "currentOpTime", text);
}

/* user: "db.name"; "" is nobody. */
static void write_user(const char *user, struct bw *w)
{
    const char *dot = strchr(user, '.');

    if (!dot)
        return;
    bw_array_begin(w, "effectiveUsers");
    bw_doc_begin(w, NULL);
    bw_str(w, "user", dot + 1);
    bw_str_slice(w, "db", SLICE(user, (size_t)(dot - user)));
    bw_doc_end(w);
    bw_array_end(w);
}

static bool write_op(void *arg, const struct cmd_client *c, const struct cmd_op *op)
{
    struct listing *l = arg;
    struct bw *w = l->w;
    uint64_t us = clock_mono_us() - op->since_us;
    char desc[32];

    if (l->user && strcmp(l->user, op->user) != 0)
        return false;
    snprintf(desc, sizeof(desc), "conn%d", c->id);
    bw_doc_begin(w, NULL);
    bw_str(w, "type", "op");
    bw_str(w, "host", l->r->node->host);
    write_now(w);
    bw_str(w, "desc", desc);
    bw_i32(w, "connectionId", c->id);
    bw_str(w, "client", c->peer);
    if (c->app_name[0])
        bw_str(w, "appName", c->app_name);
    bw_bool(w, "active", true);
    bw_bool(w, "threaded", !op->waits);
    bw_i32(w, "opid", op->id);
    write_user(op->user, w);
    if (op->has_lsid) {
        bw_doc_begin(w, "lsid");
        bw_bin(w, "id", 4, SLICE(op->lsid, sizeof(op->lsid)));
        bw_doc_end(w);
    }
    bw_i64(w, "secs_running", (int64_t)(us / 1000000));
    bw_i64(w, "microsecs_running", (int64_t)us);
    cmd__op_describe(op->def, op->body, op->db, w);
    bw_bool(w, "killPending", atomic_load(&c->interrupt) != 0);
    bw_i64(w, "numYields", 0);
    bw_bool(w, "waitingForLock", op->waits);
    bw_doc_end(w);
    return false; /* looked at only */
}

RC cmd_ops_write(struct cmd_req *r, bool all_users, struct bw *w, struct err *e)
{
    struct listing l = { .r = r, .w = w };

    if (r->node->auth_enabled && all_users)
        TRY(identity_require(r->client->identity, RES_CLUSTER, ACT_INPROG, "currentOp", e));
    if (r->node->auth_enabled && !all_users)
        l.user = cmd_user(r, r->arena);
    visit_all(r, write_op, &l, ERR_INTERRUPTED);
    return RC_OK;
}

/* Every other field of the command is of a filter on what it shows. */
static RC parse_filter(struct cmd_req *r, struct qctx *q, struct match **out, struct err *e)
{
    static const char *const own[] = { "$ownOps", "$all", "$truncateOps" };
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;
    struct bw w;

    bw_init(&w, &b);
    biter_init(&it, r->body);
    for (bool first = true; biter_next(&it); first = false) {
        bool mine = first || cmd_is_generic(it.name);
        for (size_t i = 0; i < ARRAY_LEN(own); i++)
            mine |= slice_eq_str(it.name, own[i]);
        if (!mine)
            bw_val_slice(&w, it.name, it.val);
    }
    return match_parse(q, bw_done_arena(&w, r->arena), 0, out, e);
}

/* The command is older than the stage: it shows everybody's, or with $ownOps one's own. */
RC cmd__currentOp(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf all = BUF_INIT;
    struct bval own = bdoc_get(r->body, "$ownOps");
    struct match *m;
    struct biter it;
    struct qctx q;
    struct bw ops;

    cmd_qctx(r, r->arena, r->scratch, &q);
    TRY(parse_filter(r, &q, &m, e));
    bw_init(&ops, &all);
    bw_array_begin(&ops, "all");
    TRY(cmd_ops_write(r, bval_is_missing(own) || !bval_truthy(own), &ops, e));
    bw_array_end(&ops);
    biter_init(&it, bval_doc(bdoc_get(bw_finish(&ops), "all")));
    bw_array_begin(w, "inprog");
    while (biter_next(&it)) {
        bool ok;
        TRY(match_eval(m, &q, bval_doc(it.val), NULL, &ok, e));
        if (ok)
            bw_val(w, NULL, it.val);
    }
    bw_array_end(w);
    if (atomic_load(&r->node->n_write_locks) > 0) {
        bw_bool(w, "fsyncLock", true);
        bw_str(w, "info", "use db.fsyncUnlock() to terminate the fsync write/snapshot lock");
    }
    return RC_OK;
}

/* ---- killOp ---- */

struct by_id {
    int32_t id;
    const char *user; /* NULL: anybody's */
    bool refused;
};

static bool of_id(void *arg, const struct cmd_client *c, const struct cmd_op *op)
{
    struct by_id *k = arg;

    (void)c;
    if (op->id != k->id)
        return false;
    k->refused = k->user && strcmp(k->user, op->user) != 0;
    return !k->refused;
}

static RC op_id(struct cmd_req *r, int32_t *out, struct err *e)
{
    struct bval op = bdoc_get(r->body, "op");
    int64_t id;

    if (bval_is_missing(op))
        FAIL(e, ERR_NO_SUCH_KEY, "Missing expected field \"op\"");
    if (!bval_is_number(op))
        FAIL(e, ERR_TYPE_MISMATCH, "Expected field \"op\" to have numeric type, but found %s",
             btype_name(op.type));
    if (!bval_to_i64(op, &id))
        FAIL(e, ERR_BAD_VALUE,
             "Expected field \"op\" to have a value exactly representable as a "
             "64-bit integer");
    if (id < INT32_MIN || id > INT32_MAX)
        FAIL(e, ERR_LOC(26823), "invalid op : %lld. Op ID cannot be represented with 32 bits",
             (long long)id);
    *out = (int32_t)id;
    return RC_OK;
}

RC cmd__killOp(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct by_id k = { 0 };

    TRY(op_id(r, &k.id, e));
    if (r->node->auth_enabled && !identity_allows(r->client->identity, RES_CLUSTER, ACT_KILLOP))
        k.user = cmd_user(r, r->arena);
    visit_all(r, of_id, &k, ERR_INTERRUPTED);
    if (k.refused)
        FAIL(e, ERR_UNAUTHORIZED, "not authorized to kill operation %d", k.id);
    bw_str(w, "info", "attempting to kill op");
    return RC_OK;
}
