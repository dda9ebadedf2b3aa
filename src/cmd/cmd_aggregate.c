/* cmd_aggregate.c - aggregate (compatibility 14). */
#include "cmd_aggregate.h"

static const struct arg args[] = {
    ARG(struct aggregate_args, pipeline, "pipeline", ARG_ARRAY, ARG_REQUIRED),
    ARG(struct aggregate_args, cursor, "cursor", ARG_DOC, 0),
    ARG(struct aggregate_args, hint, "hint", ARG_ANY, 0),
    ARG(struct aggregate_args, let, "let", ARG_DOC, 0),
    ARG(struct aggregate_args, collation, "collation", ARG_ANY, 0),
    ARG(struct aggregate_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG(struct aggregate_args, allow_disk_use, "allowDiskUse", ARG_BOOL, 0),
    ARG(struct aggregate_args, explain, "explain", ARG_SAFE_BOOL, 0),
    ARG(struct aggregate_args, bypass, "bypassDocumentValidation", ARG_SAFE_BOOL, 0),
    ARG_SKIP("fromMongos"),
    ARG_SKIP("needsMerge"),
    ARG_SKIP("exchange"),
    ARG_SKIP("isMapReduceCommand"),
    ARG_SKIP("includeQueryStatsMetrics"),
    ARG_SKIP("querySettings"),
};

struct cursor_args {
    int64_t batch_size;
};

static const struct arg cursor_table[] = {
    ARG(struct cursor_args, batch_size, "batchSize", ARG_I64, ARG_NOT_NEGATIVE),
};

RC cmd_aggregate_parse(struct cmd_req *r, bool explaining, struct aggregate_args *a, struct err *e)
{
    struct cursor_args c = { .batch_size = -1 };

    *a = (struct aggregate_args){ .allow_disk_use = !atomic_load(&r->node->p.no_disk_use) };
    TRY(cmd_args(r, args, ARRAY_LEN(args), a, e));
    if (bval_is_missing(a->cursor) && !a->explain && !explaining)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "The 'cursor' option is required, except for aggregate with the explain argument");
    if (!bval_is_missing(a->cursor))
        TRY(cmd_fields(bval_doc(a->cursor), "cursor", cursor_table, ARRAY_LEN(cursor_table), &c,
                       e));
    a->batch_size = c.batch_size;
    TRY(cmd_hint(a->hint, e));
    return cmd_collation(a->collation, e);
}

static struct slice first_stage(struct bdoc pipeline)
{
    struct biter it, stage;

    biter_init(&it, pipeline);
    if (!biter_next(&it) || it.val.type != BT_DOCUMENT)
        return SLICE_EMPTY;
    biter_init(&stage, bval_doc(it.val));
    return biter_next(&stage) ? stage.name : SLICE_EMPTY;
}

RC cmd_aggregate_ns(struct cmd_req *r, struct bdoc pipeline, struct cmd_ns *ns, struct err *e)
{
    struct bval v = cmd_first(r);
    struct slice stage = first_stage(pipeline);
    int64_t one;

    if (slice_eq_str(stage, "$changeStream"))
        FAIL(e, ERR_LOC(40573), "The $changeStream stage is only supported on replica sets");
    if (!bval_is_number(v))
        return cmd_ns(r, ns, e);
    if (!bval_to_i64(v, &one) || one != 1)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "Invalid command format: the 'aggregate' field must specify a collection name or 1");
    if (!slice_eq_str(stage, "$documents") && !slice_eq_str(stage, "$currentOp") &&
        !slice_eq_str(stage, "$listLocalSessions"))
        FAIL(e, ERR_INVALID_NAMESPACE,
             "{aggregate: 1} is not valid for '%.*s'; a collection is required.",
             (int)MIN(stage.len, 64u), stage.p);
    *ns = (struct cmd_ns){ .db = r->db, .coll = SLICE_LIT("$cmd.aggregate") };
    ns->ns = arena_printf(r->arena, "%.*s.$cmd.aggregate", (int)r->db.len, r->db.p);
    return RC_OK;
}

RC cmd__aggregate(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(cursor_freep) struct cursor *c = cursor_new((size_t)r->node->limits.request_memory_bytes);
    struct aggregate_args a;
    struct cmd_ns ns;

    /* the cursor may outlive the request */
    r->body = (struct bdoc){ .p = arena_dup(c->arena, r->body.p, r->body.len), .len = r->body.len };
    if (!bval_is_number(cmd_first(r)))
        TRY(cmd_ns(r, &ns, e));
    TRY(cmd_aggregate_parse(r, false, &a, e));
    TRY(cmd_aggregate_ns(r, bval_doc(a.pipeline), &ns, e));
    if (a.explain)
        return cmd_explain_aggregate(r, &a, &ns, EXPLAIN_PLANNER, w, e);
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    cmd_qctx(r, c->arena, c->scratch, &c->q);
    TRY(cmd_collate_cursor(r, &ns, a.collation, c, e));
    TRY(cmd_let(&c->q, a.let, e));
    struct agg_request g = { .pipeline = bval_doc(a.pipeline),
                             .hint = a.hint,
                             .let = c->q.let,
                             .allow_disk_use = a.allow_disk_use,
                             .bypass = a.bypass };
    c->ns = arena_strdup(c->arena, ns.ns);
    TRY(cmd_agg_open(r, &ns, &g, c, NULL, NULL, e));
    AUTO(catalog_coll_unrefp) struct catalog_coll *used =
        c->coll ? catalog_coll_ref(c->coll) : NULL;
    struct cmd_batch b = { .batch_size = a.batch_size };
    rc_t rc = cmd_cursor_reply(r, w, TAKE(c), &b, e);
    cmd_note_use(r, used, USE_READ);
    return rc;
}
