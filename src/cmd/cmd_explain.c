/* cmd_explain.c - explain of find, count, distinct, aggregate, update, delete and findAndModify: the plan, and what running it read. */
#include "cmd_aggregate.h"

#include <unistd.h>

static const char *const explainable[] = {
    "find", "aggregate", "count", "distinct", "update", "delete", "findAndModify", "findandmodify"
};

/* The inner command as a request of its own; its generic arguments are the outer's. */
static RC inner_request(struct cmd_req *r, struct cmd_req *in, struct err *e)
{
    struct bval v = cmd_first(r);
    struct biter it;

    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field 'explain.explain' is the wrong type '%s', expected type 'object'",
             btype_name(v.type));
    biter_init(&it, bval_doc(v));
    if (!biter_next(&it))
        FAIL(e, ERR_COMMAND_NOT_FOUND, "Explain failed due to unknown command: ");
    *in = *r;
    in->body = bval_doc(v);
    in->n_seqs = 0;
    in->def = cmd_find(it.name);
    if (!in->def)
        FAIL(e, ERR_COMMAND_NOT_FOUND, "Explain failed due to unknown command: %.*s",
             (int)MIN(it.name.len, 64u), it.name.p);
    for (size_t i = 0; i < ARRAY_LEN(explainable); i++)
        if (slice_eq_str(it.name, explainable[i]))
            return RC_OK;
    FAIL(e, ERR_ILLEGAL_OPERATION, "Explain is not supported for the command: %s", in->def->name);
}

/* What is explained is asked for as if it were run. */
RC cmd__explain_auth(struct cmd_req *r, struct err *e)
{
    struct cmd_req in;

    TRY(inner_request(r, &in, e));
    return cmd_check_privileges(&in, e);
}

static void put_planner(const struct cmd_ns *ns, struct exec *x, const struct match *m,
                        struct arena *a, struct bw *w)
{
    bw_doc_begin(w, "queryPlanner");
    bw_str(w, "namespace", ns->ns);
    bw_doc(w, "parsedQuery", m ? match_to_bson(m, a) : BDOC_EMPTY);
    bw_bool(w, "indexFilterSet", false);
    exec_explain(x, w, "winningPlan", false);
    bw_array_begin(w, "rejectedPlans");
    bw_array_end(w);
    bw_doc_end(w);
}

/* Run the plan to its end without keeping what it gives. */
static RC put_stats(struct cmd_req *r, struct exec *x, struct bw *w, struct err *e)
{
    uint64_t from = clock_mono_us();
    struct exec_stats st;
    struct exec_row row;
    bool valid = true;

    while (valid) {
        TRY(cmd_check(r, e));
        TRY(exec_next(x, &row, &valid, e));
    }
    exec_stats(x, &st);
    bw_doc_begin(w, "executionStats");
    bw_bool(w, "executionSuccess", true);
    bw_i64(w, "nReturned", st.returned);
    bw_i64(w, "executionTimeMillis", (int64_t)((clock_mono_us() - from) / 1000));
    bw_i64(w, "totalKeysExamined", st.keys_examined);
    bw_i64(w, "totalDocsExamined", st.docs_examined);
    exec_explain(x, w, "executionStages", true);
    bw_doc_end(w);
    return RC_OK;
}

static void put_server(struct cmd_req *r, struct bdoc command, struct bw *w)
{
    char host[256] = "";

    (void)gethostname(host, sizeof(host) - 1);
    bw_doc(w, "command", command);
    bw_doc_begin(w, "serverInfo");
    bw_str(w, "host", host);
    bw_i32(w, "port", r->node->port);
    bw_str(w, "version", "8.2.4");
    bw_str(w, "gitVersion", COFFER_VERSION);
    bw_doc_end(w);
}

/* What an explainable command reads, in find's words. */
struct reading {
    struct find_args f;
};

static RC reading_of(struct cmd_req *in, struct reading *out, struct err *e)
{
    const char *name = in->def->name;
    struct bdoc b = in->body, s = BDOC_EMPTY;
    struct find_args *f = &out->f;

    *f = (struct find_args){ .batch_size = -1, .allow_disk_use = true };
    if (strcmp(name, "find") == 0)
        return cmd_find_parse(in, f, e);
    if (strcmp(name, "update") == 0 || strcmp(name, "delete") == 0) {
        struct bval list = bdoc_get(b, strcmp(name, "update") == 0 ? "updates" : "deletes");
        struct biter it;
        if (list.type != BT_ARRAY || bdoc_count(bval_doc(list)) != 1)
            FAIL(e, ERR_INVALID_LENGTH, "explained write batches must be of size 1");
        biter_init(&it, bval_doc(list));
        biter_next(&it);
        if (it.val.type != BT_DOCUMENT)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "BSON field '%s' is the wrong type '%s', expected type 'object'", name,
                 btype_name(it.val.type));
        s = bval_doc(it.val);
        f->filter = bdoc_get(s, "q");
        f->hint = bdoc_get(s, "hint");
        f->sort = bdoc_get(s, "sort");
    } else {
        f->filter = bdoc_get(b, "query");
        f->hint = bdoc_get(b, "hint");
        f->sort = bdoc_get(b, "sort");
        struct bval limit = bdoc_get(b, "limit"), skip = bdoc_get(b, "skip");
        f->limit = bval_is_number(limit) ? cmd_i64(limit) : 0;
        f->skip = bval_is_number(skip) ? cmd_i64(skip) : 0;
        if (f->limit < 0)
            f->limit = f->limit == INT64_MIN ? INT64_MAX : -f->limit;
    }
    if (!bval_is_missing(f->filter) && f->filter.type != BT_DOCUMENT && f->filter.type != BT_NULL)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '%s.query' is the wrong type '%s', expected type 'object'", name,
             btype_name(f->filter.type));
    return cmd_hint(f->hint, e);
}

RC cmd_explain_aggregate(struct cmd_req *r, const struct aggregate_args *a, const struct cmd_ns *ns,
                         enum explain_verbosity v, struct bw *w, struct err *e)
{
    AUTO(cursor_freep) struct cursor *c = cursor_new((size_t)r->node->limits.request_memory_bytes);
    struct pipeline *p;
    struct exec *x;

    cmd_qctx(r, c->arena, c->scratch, &c->q);
    TRY(cmd_collate(&c->q, a->collation, e));
    TRY(cmd_let(&c->q, a->let, e));
    struct agg_request g = { .pipeline = bval_doc(a->pipeline),
                             .hint = a->hint,
                             .let = c->q.let,
                             .allow_disk_use = a->allow_disk_use,
                             .explain = true };
    TRY(cmd_agg_open(r, ns, &g, c, &x, &p, e));
    bw_str(w, "explainVersion", "1");
    bw_array_begin(w, "stages");
    bw_doc_begin(w, NULL);
    bw_doc_begin(w, "$cursor");
    put_planner(ns, x, NULL, c->arena, w);
    if (v != EXPLAIN_PLANNER)
        TRY(put_stats(r, x, w, e));
    bw_doc_end(w);
    bw_doc_end(w);
    struct biter it;
    biter_init(&it, pipeline_to_bson(p, c->arena));
    while (biter_next(&it))
        bw_val(w, NULL, it.val);
    bw_array_end(w);
    put_server(r, r->body, w);
    return RC_OK;
}

struct explain_args {
    struct slice verbosity;
};

static const struct arg args[] = {
    ARG(struct explain_args, verbosity, "verbosity", ARG_STR, 0),
};

static RC verbosity_of(struct slice s, enum explain_verbosity *out, struct err *e)
{
    *out = EXPLAIN_ALL;
    if (!s.p || slice_eq_str(s, "allPlansExecution"))
        return RC_OK;
    *out = slice_eq_str(s, "queryPlanner") ? EXPLAIN_PLANNER : EXPLAIN_STATS;
    if (*out == EXPLAIN_STATS && !slice_eq_str(s, "executionStats"))
        FAIL(e, ERR_BAD_VALUE,
             "Enumeration value '%.*s' for field 'explain.verbosity' is not a valid value.",
             (int)MIN(s.len, 64u), s.p);
    return RC_OK;
}

RC cmd__explain(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(cursor_freep) struct cursor *c = cursor_new((size_t)r->node->limits.request_memory_bytes);
    struct explain_args a = { 0 };
    struct reading what;
    enum explain_verbosity v;
    struct cmd_req in;
    struct cmd_ns ns;
    struct exec *x;

    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    TRY(verbosity_of(a.verbosity, &v, e));
    TRY(inner_request(r, &in, e));
    if (strcmp(in.def->name, "aggregate") == 0) {
        struct aggregate_args g;
        TRY(cmd_aggregate_parse(&in, true, &g, e));
        TRY(cmd_aggregate_ns(&in, bval_doc(g.pipeline), &ns, e));
        return cmd_explain_aggregate(&in, &g, &ns, v, w, e);
    }
    TRY(cmd_ns(&in, &ns, e));
    TRY(reading_of(&in, &what, e));
    c->coll = cmd_coll(r, &ns);
    TRY(cmd_not_view(c->coll, e));
    TRY(cmd_find_open(&in, &what.f, &ns, c, &x, e));
    c->source = exec_source(x);
    bw_str(w, "explainVersion", "1");
    put_planner(&ns, x, exec_match(x), c->arena, w);
    if (v != EXPLAIN_PLANNER)
        TRY(put_stats(r, x, w, e));
    put_server(r, in.body, w);
    return RC_OK;
}
