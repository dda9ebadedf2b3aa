/* cmd_profile.c - profile: which operations of a database are written to its system.profile, and writing them (compatibility 20).
 *
 * Level 1: those that took slowms or more, of them the share sampleRate, or, instead of both, those that the filter matches. Level 2: all. An operation is written after
 * its reply was made, by who ran it, without waiting for the disk; one that cannot be written is left out. What carries credentials is never written, and
 * what was refused before it began is not either: strangers fill no collection.
 */
#include "cmd_ops.h"
#include "cmd_write.h"

#include <math.h>

#include "crypto/kdf.h"

enum {
    PROFILE_BYTES = 1 << 20, /* of system.profile, which is capped */
    PROFILE_DATABASES_MAX = 1000,
    PROFILE_TRIES = 3,
};

struct profile_db {
    struct profile_db *next;
    char *name;
    int level;
    struct buf filter; /* a document; empty: none */
};

struct profiler {
    struct mutex lock; /* a leaf; guards all that follows */
    struct profile_db *first;
    int n;
    int64_t slow_ms;
    double sample_rate;
};

struct profiler *cmd_profiler_new(void)
{
    struct profiler *p = NEW(struct profiler);

    mutex_init(&p->lock);
    p->slow_ms = 100;
    p->sample_rate = 1.0;
    return p;
}

void cmd_profiler_free(struct profiler *p)
{
    if (!p)
        return;
    while (p->first) {
        struct profile_db *d = p->first;
        p->first = d->next;
        buf_fini(&d->filter);
        mem_free(d->name);
        mem_free(d);
    }
    mutex_fini(&p->lock);
    mem_free(p);
}

static struct profile_db *find_db(struct profiler *p, struct slice db)
{
    for (struct profile_db *d = p->first; d; d = d->next)
        if (slice_eq_str(db, d->name))
            return d;
    return NULL;
}

/* ---- the command ---- */

struct profile_args {
    struct bval filter, slow_ms, sample_rate;
};

static const struct arg args[] = {
    ARG(struct profile_args, slow_ms, "slowms", ARG_ANY, 0),
    ARG(struct profile_args, sample_rate, "sampleRate", ARG_ANY, 0),
    ARG(struct profile_args, filter, "filter", ARG_ANY, 0),
};

static RC want_number(struct cmd_req *r, const char *name, struct bval v, struct err *e)
{
    if (bval_is_nullish(v) || bval_is_number(v))
        return RC_OK;
    return cmd_wrong_type(r->def->name, name, v, "[long, int, decimal, double]", e);
}

/* *unset: it is to go. */
static RC check_filter(struct cmd_req *r, struct bval v, bool *unset, struct err *e)
{
    struct match *m;
    struct qctx q;

    *unset = v.type == BT_STRING && slice_eq_str(bval_str(v), "unset");
    if (bval_is_missing(v) || *unset)
        return RC_OK;
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_BAD_VALUE, "Expected an object, or the string 'unset'.");
    cmd_qctx(r, r->arena, r->scratch, &q);
    return match_parse(&q, bval_doc(v), 0, &m, e);
}

static void put_settings(const struct profiler *p, const struct profile_db *d, struct cmd_req *r,
                         struct bw *w)
{
    struct match *m;
    struct qctx q;
    struct err why = { 0 };

    bw_i32(w, "was", d ? d->level : 0);
    bw_i32(w, "slowms", (int32_t)p->slow_ms);
    bw_double(w, "sampleRate", p->sample_rate);
    if (!d || !d->filter.len)
        return;
    struct bdoc text = { .p = arena_dup(r->arena, d->filter.p, d->filter.len),
                         .len = (uint32_t)d->filter.len };
    cmd_qctx(r, r->arena, r->scratch, &q);
    if (match_parse(&q, text, 0, &m, &why).failed)
        err_reset(&why); /* it was parsed before */
    else
        text = match_to_bson(m, r->arena);
    bw_doc(w, "filter", text);
    bw_str(w, "note",
           "When a filter expression is set, slowms and sampleRate are not used for profiling and "
           "slow-query log lines.");
}

static RC set_db(struct node *n, struct slice db, int level, const struct profile_args *a,
                 bool unset, struct err *e)
{
    struct profiler *p = n->profiler;
    struct profile_db *d = find_db(p, db);

    if (!d && level == 0 && a->filter.type != BT_DOCUMENT)
        return RC_OK;
    if (!d) {
        if (p->n == PROFILE_DATABASES_MAX)
            FAIL(e, ERR_BAD_VALUE, "too many databases are profiled: at most %d",
                 PROFILE_DATABASES_MAX);
        d = NEW(struct profile_db);
        d->name = mem_strndup((const char *)db.p, db.len);
        d->next = p->first;
        p->first = d;
        p->n++;
    }
    if (unset || a->filter.type == BT_DOCUMENT)
        buf_clear(&d->filter);
    if (a->filter.type == BT_DOCUMENT)
        buf_push(&d->filter, bval_doc(a->filter).p, bval_doc(a->filter).len);
    atomic_fetch_add(&n->n_profiled, (level > 0) - (d->level > 0));
    d->level = level;
    return RC_OK;
}

static RC set_locked(struct cmd_req *r, int64_t level, const struct profile_args *a, bool unset,
                     struct bw *w, struct err *e)
{
    struct profiler *p = r->node->profiler;

    put_settings(p, find_db(p, r->db), r, w);
    if (level >= 0 && level <= 2) /* anything else asks only */
        TRY(set_db(r->node, r->db, (int)level, a, unset, e));
    if (!bval_is_nullish(a->slow_ms))
        p->slow_ms = MAX(MIN(cmd_i64(a->slow_ms), (int64_t)INT32_MAX), (int64_t)INT32_MIN);
    if (!bval_is_nullish(a->sample_rate))
        p->sample_rate = bval_to_double(a->sample_rate);
    return RC_OK;
}

RC cmd__profile(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct profile_args a = { 0 };
    struct bval level = cmd_first(r);
    bool unset;

    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    TRY(cmd_first_required(r, e));
    if (!bval_is_number(level))
        return cmd_wrong_type("profile", "profile", level, "[long, int, decimal, double]", e);
    TRY(want_number(r, "slowms", a.slow_ms, e));
    TRY(want_number(r, "sampleRate", a.sample_rate, e));
    if (!bval_is_nullish(a.sample_rate)) {
        double rate = bval_to_double(a.sample_rate);
        if (isnan(rate) || rate < 0 || rate > 1)
            FAIL(e, ERR_BAD_VALUE, "'sampleRate' must be between 0.0 and 1.0 inclusive");
    }
    TRY(check_filter(r, a.filter, &unset, e));
    mutex_lock(&r->node->profiler->lock);
    rc_t rc = set_locked(r, cmd_i64(level), &a, unset, w, e);
    mutex_unlock(&r->node->profiler->lock);
    return rc;
}

bool cmd_profiler_writes(struct node *n, struct slice db)
{
    if (!n->profiler || atomic_load_explicit(&n->n_profiled, memory_order_relaxed) == 0)
        return false;
    mutex_lock(&n->profiler->lock);
    const struct profile_db *d = find_db(n->profiler, db);
    bool any = d && d->level > 0;
    mutex_unlock(&n->profiler->lock);
    return any;
}

/* ---- writing ---- */

static void put_batch(struct bdoc reply, struct bw *w)
{
    struct bval cursor = bdoc_get(reply, "cursor");

    if (cursor.type != BT_DOCUMENT)
        return;
    struct bval batch = bdoc_get(bval_doc(cursor), "firstBatch"),
                id = bdoc_get(bval_doc(cursor), "id");
    if (bval_is_missing(batch))
        batch = bdoc_get(bval_doc(cursor), "nextBatch");
    if (batch.type == BT_ARRAY)
        bw_count(w, "nreturned", (int64_t)bdoc_count(bval_doc(batch)));
    if (id.type == BT_INT64 && bval_i64(id) != 0)
        bw_val(w, "cursorid", id);
}

static void put_counts(const char *name, struct bdoc reply, struct bw *w)
{
    struct bval n = bdoc_get(reply, "n"), modified = bdoc_get(reply, "nModified");

    if (strcmp(name, "insert") == 0)
        bw_val(w, "ninserted", n);
    if (strcmp(name, "delete") == 0)
        bw_val(w, "ndeleted", n);
    if (strcmp(name, "update") == 0) {
        bw_val(w, "nMatched", n);
        bw_val(w, "nModified", modified);
    }
}

static struct bdoc operation(struct cmd_req *r, struct bdoc reply, uint64_t us)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bval code = bdoc_get(reply, "code");
    struct bw w;

    bw_init(&w, &b);
    cmd__op_describe(r->def, r->body, r->db, &w);
    put_batch(reply, &w);
    put_counts(r->def->name, reply, &w);
    bw_count(&w, "responseLength", (int64_t)reply.len);
    bw_str(&w, "protocol", r->wire == CMD_OP_QUERY ? "op_query" : "op_msg");
    bw_count(&w, "millis", (int64_t)(us / 1000));
    bw_i64(&w, "durationMicros", (int64_t)us);
    if (!bval_is_missing(code)) {
        bw_val(&w, "errMsg", bdoc_get(reply, "errmsg"));
        bw_val(&w, "errName", bdoc_get(reply, "codeName"));
        bw_val(&w, "errCode", code);
    }
    bw_date(&w, "ts", clock_real_ms());
    if (r->client) {
        bw_str(&w, "client", r->client->peer);
        if (r->client->app_name[0])
            bw_str(&w, "appName", r->client->app_name);
    }
    bw_str(&w, "user", cmd_user(r, r->arena));
    return bw_done_arena(&w, r->arena);
}

static RC matches(struct cmd_req *r, struct bdoc filter, struct bdoc doc, bool *out, struct err *e)
{
    struct match *m;
    struct qctx q;

    cmd_qctx(r, r->arena, r->scratch, &q);
    q.interrupt = NULL;
    q.deadline_us = 0;
    TRY(match_parse(&q, filter, 0, &m, e));
    return match_eval(m, &q, doc, NULL, out, e);
}

static bool drawn(double rate)
{
    uint32_t r = 0;
    struct err e = { 0 };

    if (rate >= 1)
        return true;
    if (random_bytes(&r, sizeof(r), &e).failed)
        err_reset(&e);
    return r < rate * 4294967296.0;
}

/* What decides about one operation. */
struct choice {
    int level;
    bool filtered;
    struct bdoc filter;
    int64_t slow_ms;
    double sample_rate;
};

/* choice_of(): a copy, made under the lock; what takes time is done outside of it. */
static struct choice choice_of(struct cmd_req *r)
{
    struct profiler *p = r->node->profiler;
    struct choice c = { 0 };

    mutex_lock(&p->lock);
    const struct profile_db *d = find_db(p, r->db);
    if (d) {
        c = (struct choice){ .level = d->level,
                             .filtered = d->filter.len > 0,
                             .slow_ms = p->slow_ms,
                             .sample_rate = p->sample_rate };
        if (c.level == 1 && c.filtered)
            c.filter = (struct bdoc){ .p = arena_dup(r->arena, d->filter.p, d->filter.len),
                                      .len = (uint32_t)d->filter.len };
    }
    mutex_unlock(&p->lock);
    return c;
}

/* may_be_wanted(): by what is known without the document that would be written. */
static bool may_be_wanted(const struct choice *c, uint64_t us)
{
    if (c->level != 1 || c->filtered)
        return c->level > 0;
    return (int64_t)(us / 1000) >= c->slow_ms && drawn(c->sample_rate);
}

static RC open_profile(struct cmd_req *r, struct catalog_coll **out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    char *ns = arena_printf(r->arena, "%.*s.system.profile", (int)r->db.len, r->db.p);
    struct err why = { 0 };
    struct bw w;

    *out = catalog_find(r->node->catalog, slice_str(ns));
    if (*out)
        return RC_OK;
    bw_init(&w, &b);
    bw_bool(&w, "capped", true);
    bw_i64(&w, "size", PROFILE_BYTES);
    if (!coll_create(r->node->catalog, slice_str(ns), bw_finish(&w), out, &why).failed)
        return RC_OK;
    if (why.code != ERR_NAMESPACE_EXISTS)
        return err_take(e, &why);
    err_reset(&why);
    return coll_open(r->node->catalog, slice_str(ns), false, out, e);
}

static RC write_one(struct cmd_req *r, struct catalog_coll *x, struct bdoc doc, struct err *e)
{
    AUTO(coll_abort) struct coll_txn *t = NULL;

    TRY(coll_begin(x, &t, e));
    TRY(coll_insert(t, doc, r->scratch, e));
    return coll_commit(&t, STORE_NOSYNC, e);
}

static RC write_doc(struct cmd_req *r, struct bdoc doc, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct bdoc with_id;

    TRY(open_profile(r, &x, e));
    TRY(cmd_prepare_insert(r->arena, doc, &with_id, e));
    for (int i = 1; x && !x->is_view; i++) {
        struct err why = { 0 };
        if (!write_one(r, x, with_id, &why).failed)
            return RC_OK;
        if (why.code != ERR_WRITE_CONFLICT || i == PROFILE_TRIES)
            return err_take(e, &why);
        err_reset(&why);
        coll_backoff(i);
    }
    return RC_OK;
}

static RC note(struct cmd_req *r, struct bdoc reply, struct err *e)
{
    uint64_t us = clock_mono_us() - r->start_us;
    struct choice c = choice_of(r);
    bool yes = true;

    if (!may_be_wanted(&c, us))
        return RC_OK;
    struct bdoc doc = operation(r, reply, us);
    if (c.level == 1 && c.filtered)
        TRY(matches(r, c.filter, doc, &yes, e));
    if (!yes || !node__write_enter(r->node))
        return RC_OK;
    rc_t rc = write_doc(r, doc, e);
    node__write_leave(r->node);
    return rc;
}

void cmd_profiler_note(struct cmd_req *r, struct bdoc reply)
{
    struct err e = { 0 };

    if (!r->admitted || (r->def->flags & CMD_NO_LOG) || !r->node->profiler)
        return;
    if (note(r, reply, &e).failed)
        err_reset(&e); /* the operation itself is not concerned */
}
