/* cmd_explain.c - explain of find, count, distinct, aggregate, update, delete and findAndModify: the plan, and what running it read. */
#include "cmd_aggregate.h"
#include "cmd_shape.h"
#include "cmd_stmt.h"

#include <unistd.h>

static const char *const explainable[] = {
    "find", "aggregate", "count", "distinct", "update", "delete", "findAndModify", "findandmodify"
};

/* The inner command as a request of its own; its generic arguments are the outer's. */
static RC inner_request(struct cmd_req *r, struct cmd_req *in, struct err *e)
{
    struct bval v = cmd_first(r);
    struct biter it;

    if (v.type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'explain.explain' is missing but a required field");
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

static RC put_shape_hash(struct cmd_req *in, const struct cmd_ns *ns, struct bw *w, struct err *e)
{
    static const char *const shaped[] = { "find", "aggregate", "count", "distinct" };
    const char *hash;

    for (size_t i = 0; i < ARRAY_LEN(shaped); i++) {
        if (strcmp(in->def->name, shaped[i]) != 0)
            continue;
        struct bdoc shape = cmd_query_shape(in->arena, shaped[i], ns, in->body);
        TRY(cmd_hash_text(in->arena, SLICE(shape.p, shape.len), 64, &hash, e));
        bw_str(w, "queryShapeHash", hash);
    }
    return RC_OK;
}

/* What an explained write would do with what it finds. */
struct writing {
    const char *stage; /* NULL: it only reads */
    struct bval u, c, array_filters;
    bool multi, upsert;
    struct update *update; /* NULL: a removal */
    int64_t n_matched, n_changed;
};

static RC parse_writing(struct writing *x, struct qctx *q, struct err *e)
{
    struct update_spec spec = { .u = x->u,
                                .constants = x->c,
                                .array_filters = x->array_filters,
                                .multi = x->multi,
                                .upsert = x->upsert };

    if (!x->stage || bval_is_missing(x->u))
        return RC_OK;
    stmt_update_spec(&spec);
    return update_parse(q, &spec, &x->update, e);
}

static RC would_write(struct writing *x, struct qctx *q, const struct match *m, struct bdoc doc,
                      struct err *e)
{
    struct match_hit hit = { 0 };
    bool ok, changed = true;
    struct bdoc after;

    x->n_matched++;
    arena_reset(q->scratch); /* of the one before */
    if (x->update) {
        if (m)
            TRY(match_eval(m, q, doc, &hit, &ok, e));
        TRY(update_apply(x->update, q, doc, &hit, &after, &changed, e));
    }
    x->n_changed += changed;
    return RC_OK;
}

/* The plan, below the stage that writes when there is one. */
static void put_plan(const struct exec *x, const struct writing *wr, const char *name, bool stats,
                     struct bw *w)
{
    if (!wr->stage) {
        exec_explain(x, w, name, stats);
        return;
    }
    bw_doc_begin(w, name);
    bw_str(w, "stage", wr->stage);
    if (stats) {
        bw_i32(w, "nReturned", 0);
        if (wr->update) {
            bw_count(w, "nMatched", wr->n_matched);
            bw_count(w, "nWouldModify", wr->n_changed);
            bw_count(w, "nWouldUpsert", wr->upsert && wr->n_matched == 0);
        } else {
            bw_count(w, "nWouldDelete", wr->n_matched);
        }
    }
    exec_explain(x, w, "inputStage", stats);
    bw_doc_end(w);
}

/* Run the plan to its end without keeping what it gives. */
static RC put_stats(struct cmd_req *r, struct exec *x, struct qctx *q, struct writing *wr,
                    struct bw *w, struct err *e)
{
    uint64_t from = clock_mono_us();
    struct exec_stats st;
    struct exec_row row;
    bool valid = true;

    while (valid && !(wr->stage && !wr->multi && wr->n_matched == 1)) {
        TRY(cmd_check(r, e));
        TRY(exec_next(x, &row, &valid, e));
        if (valid && wr->stage)
            TRY(would_write(wr, q, exec_match(x), row.doc, e));
    }
    exec_stats(x, &st);
    bw_doc_begin(w, "executionStats");
    bw_bool(w, "executionSuccess", true);
    bw_count(w, "nReturned", wr->stage ? 0 : st.returned);
    bw_count(w, "executionTimeMillis", (int64_t)((clock_mono_us() - from) / 1000));
    bw_count(w, "totalKeysExamined", st.keys_examined);
    bw_count(w, "totalDocsExamined", st.docs_examined);
    put_plan(x, wr, "executionStages", true, w);
    bw_doc_end(w);
    return RC_OK;
}

/* The plan cache key is of the shape and of the indexes that there are: with another one, the same query may be planned otherwise. */
static RC put_hashes(struct exec *x, struct catalog_coll *coll, struct arena *a, struct bw *w,
                     struct err *e)
{
    AUTO(buf_fini) struct buf shape = BUF_INIT;
    struct coll_indexes *l;
    const char *hash;

    exec_shape_of(x, &shape);
    TRY(cmd_hash_text(a, buf_view(&shape), 8, &hash, e));
    bw_str(w, "queryHash", hash);
    bw_str(w, "planCacheShapeHash", hash);
    if (coll && !coll->is_view) {
        TRY(coll_ref_indexes(coll, &l, e));
        for (int i = 0; i < l->n; i++)
            buf_printf(&shape, "|i%s", l->v[i]->name);
        coll_indexes_unref(l);
    }
    TRY(cmd_hash_text(a, buf_view(&shape), 8, &hash, e));
    bw_str(w, "planCacheKey", hash);
    return RC_OK;
}

static RC put_planner(const struct cmd_ns *ns, struct exec *x, const struct writing *wr,
                      struct cursor *c, struct bw *w, struct err *e)
{
    const struct match *m = exec_match(x);

    bw_doc_begin(w, "queryPlanner");
    bw_str(w, "namespace", ns->ns);
    bw_doc(w, "parsedQuery", m ? match_to_bson(m, c->arena) : BDOC_EMPTY);
    bw_bool(w, "indexFilterSet", exec_is_filtered(x));
    TRY(put_hashes(x, c->coll, c->arena, w, e));
    put_plan(x, wr, "winningPlan", false, w);
    bw_array_begin(w, "rejectedPlans");
    bw_array_end(w);
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
    struct writing wr;
};

static bool flag_of(struct bdoc d, const char *name)
{
    struct bval v = bdoc_get(d, name);

    return !bval_is_nullish(v) && bval_truthy(v);
}

static void writing_of(const char *name, struct bdoc s, struct writing *out)
{
    bool modify = strcmp(name, "findAndModify") == 0;

    *out = (struct writing){ .u = bdoc_get(s, modify ? "update" : "u"),
                             .c = bdoc_get(s, "c"),
                             .array_filters = bdoc_get(s, "arrayFilters"),
                             .multi = flag_of(s, "multi"),
                             .upsert = flag_of(s, "upsert") };
    out->stage = bval_is_missing(out->u) ? "DELETE" : "UPDATE";
    if (strcmp(name, "delete") == 0)
        out->multi = !flag_of(s, "limit");
}

static RC reading_of(struct cmd_req *in, struct reading *out, struct err *e)
{
    const char *name = in->def->name;
    struct bdoc b = in->body, s = BDOC_EMPTY;
    struct find_args *f = &out->f;

    *f = (struct find_args){ .batch_size = -1, .allow_disk_use = true };
    out->wr = (struct writing){ 0 };
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
        f->collation = bdoc_get(s, "collation");
        writing_of(name, s, &out->wr);
    } else {
        f->collation = bdoc_get(b, "collation");
        if (strcmp(name, "findAndModify") == 0)
            writing_of(name, b, &out->wr);
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

static bool is_limit(struct bdoc stages, int at)
{
    struct biter it;

    biter_init(&it, stages);
    for (int i = 0; biter_next(&it); i++)
        if (i == at)
            return it.val.type == BT_DOCUMENT &&
                   !bval_is_missing(bdoc_get(bval_doc(it.val), "$limit"));
    return false;
}

/* Stages that the scan does are part of its plan; with no other, the plan is all that there is. */
static RC put_pipeline(struct cmd_req *r, const struct cmd_ns *ns, struct exec *x,
                       const struct pipeline *p, struct cursor *c, enum explain_verbosity v,
                       struct bw *w, struct err *e)
{
    struct bdoc stages = pipeline_to_bson(p, c->arena);
    struct pipeline_lead lead;
    struct biter it;

    pipeline_leading(p, &lead);
    int n_scan = lead.n_filter_stages + lead.n_sort_stages;
    bool alone;
    struct writing none = { 0 };
    if (lead.limit > 0 && is_limit(stages, n_scan))
        n_scan++; /* the scan gives no more than that */
    alone = (size_t)n_scan == bdoc_count(stages);
    if (!alone) {
        bw_array_begin(w, "stages");
        bw_doc_begin(w, NULL);
        bw_doc_begin(w, "$cursor");
    }
    TRY(put_planner(ns, x, &none, c, w, e));
    if (v != EXPLAIN_PLANNER)
        TRY(put_stats(r, x, &c->q, &none, w, e));
    if (alone)
        return RC_OK;
    bw_doc_end(w);
    bw_doc_end(w);
    biter_init(&it, stages);
    for (int i = 0; biter_next(&it); i++)
        if (i >= n_scan)
            bw_val(w, NULL, it.val);
    bw_array_end(w);
    return RC_OK;
}

RC cmd_explain_aggregate(struct cmd_req *r, const struct aggregate_args *a, const struct cmd_ns *ns,
                         enum explain_verbosity v, struct bw *w, struct err *e)
{
    AUTO(cursor_freep) struct cursor *c = cursor_new((size_t)r->node->limits.request_memory_bytes);
    AUTO(exec_closep) struct exec *x = NULL;
    struct pipeline *p;

    cmd_qctx(r, c->arena, c->scratch, &c->q);
    TRY(cmd_collate_cursor(r, ns, a->collation, c, e));
    TRY(cmd_let(&c->q, a->let, e));
    struct agg_request g = { .pipeline = bval_doc(a->pipeline),
                             .hint = a->hint,
                             .let = c->q.let,
                             .allow_disk_use = a->allow_disk_use,
                             .explain = true };
    TRY(cmd_agg_open(r, ns, &g, c, &x, &p, e));
    bw_str(w, "explainVersion", "1");
    TRY(put_pipeline(r, ns, x, p, c, v, w, e));
    TRY(put_shape_hash(r, ns, w, e));
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
    TRY(parse_writing(&what.wr, &c->q, e));
    bw_str(w, "explainVersion", "1");
    TRY(put_planner(&ns, x, &what.wr, c, w, e));
    if (v != EXPLAIN_PLANNER)
        TRY(put_stats(r, x, &c->q, &what.wr, w, e));
    TRY(put_shape_hash(&in, &ns, w, e));
    put_server(r, in.body, w);
    return RC_OK;
}
