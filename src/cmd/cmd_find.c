/* cmd_find.c - find (compatibility 12). */
#include "cmd_find.h"
#include "cmd_view.h"

static const struct arg args[] = {
    ARG(struct find_args, filter, "filter", ARG_DOC, 0),
    ARG(struct find_args, projection, "projection", ARG_DOC, 0),
    ARG(struct find_args, sort, "sort", ARG_DOC, 0),
    ARG(struct find_args, hint, "hint", ARG_ANY, 0),
    ARG(struct find_args, skip, "skip", ARG_I64, ARG_NOT_NEGATIVE),
    ARG(struct find_args, limit, "limit", ARG_I64, ARG_NOT_NEGATIVE),
    ARG(struct find_args, batch_size, "batchSize", ARG_I64, ARG_NOT_NEGATIVE),
    ARG(struct find_args, single_batch, "singleBatch", ARG_BOOL, 0),
    ARG(struct find_args, let, "let", ARG_DOC, 0),
    ARG(struct find_args, collation, "collation", ARG_ANY, 0),
    ARG(struct find_args, min, "min", ARG_DOC, 0),
    ARG(struct find_args, max, "max", ARG_DOC, 0),
    ARG(struct find_args, return_key, "returnKey", ARG_BOOL, 0),
    ARG(struct find_args, show_record_id, "showRecordId", ARG_BOOL, ARG_UNSTABLE),
    ARG(struct find_args, tailable, "tailable", ARG_BOOL, ARG_UNSTABLE),
    ARG(struct find_args, await_data, "awaitData", ARG_BOOL, ARG_UNSTABLE),
    ARG(struct find_args, no_timeout, "noCursorTimeout", ARG_BOOL, ARG_UNSTABLE),
    ARG(struct find_args, allow_disk_use, "allowDiskUse", ARG_BOOL, 0),
    ARG(struct find_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("allowPartialResults"),
    ARG_SKIP("oplogReplay"),
    ARG_SKIP("readOnce"),
    ARG_SKIP("options"),
    ARG_SKIP("includeQueryStatsMetrics"),
    ARG_SKIP("querySettings"),
};

RC cmd_find_parse(struct cmd_req *r, struct find_args *a, struct err *e)
{
    struct bval partial = bdoc_get(r->body, "allowPartialResults"),
                replay = bdoc_get(r->body, "oplogReplay");

    *a = (struct find_args){ .batch_size = -1,
                             .allow_disk_use = !atomic_load(&r->node->p.no_disk_use) };
    TRY(cmd_args(r, args, ARRAY_LEN(args), a, e));
    if (!bval_is_missing(partial) && partial.type != BT_NULL && partial.type != BT_BOOL)
        return cmd_wrong_type("find", "allowPartialResults", partial, "bool", e);
    if (!bval_is_missing(replay) && replay.type != BT_NULL && replay.type != BT_BOOL)
        return cmd_wrong_type("find", "oplogReplay", replay, "bool", e);
    if (bdoc_get(r->body, "filter").type == BT_NULL)
        return cmd_wrong_type("find", "filter", bval_new_null(), "object", e);
    TRY(cmd_collation(a->collation, e));
    TRY(cmd_hint(a->hint, e));
    if (a->await_data && !a->tailable)
        FAIL(e, ERR_FAILED_TO_PARSE, "Cannot set 'awaitData' without also setting 'tailable'");
    bool bounded = (!bval_is_missing(a->min) && !bdoc_is_empty(bval_doc(a->min))) ||
                   (!bval_is_missing(a->max) && !bdoc_is_empty(bval_doc(a->max)));
    if (bounded && bval_is_missing(a->hint))
        FAIL(e, ERR_LOC(51173),
             "When using min()/max() a hint of which index to use must be provided");
    return RC_OK;
}

static struct bdoc doc_or_empty(struct bval v)
{
    return v.type == BT_DOCUMENT ? bval_doc(v) : BDOC_EMPTY;
}

static RC check_tailable(const struct find_args *a, struct catalog_coll *x, struct err *e)
{
    if (!a->tailable)
        return RC_OK;
    if (!x || !catalog_is_capped(x))
        FAIL(e, ERR_BAD_VALUE,
             "error processing query: tailable cursor requested on non capped collection");
    FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "tailable cursors are not available in this release");
}

RC cmd_find_open(struct cmd_req *r, const struct find_args *a, const struct cmd_ns *ns,
                 struct cursor *c, struct exec **x, struct err *e)
{
    struct match *m;
    struct project *p = NULL;
    struct bdoc projection = doc_or_empty(a->projection);

    TRY(check_tailable(a, c->coll, e));
    cmd_qctx(r, c->arena, c->scratch, &c->q);
    TRY(cmd_collate_on(&c->q, a->collation, c->coll, e));
    TRY(cmd_let(&c->q, a->let, e));
    TRY(match_parse(&c->q, doc_or_empty(a->filter), 0, &m, e));
    if (!bdoc_is_empty(projection))
        TRY(project_parse(&c->q, PROJECT_FIND, projection, m, &p, e));
    struct exec_spec s = {
        .catalog = r->node->catalog,
        .coll = c->coll,
        .q = &c->q,
        .match = m,
        .sort = doc_or_empty(a->sort),
        .hint = a->hint,
        .min = doc_or_empty(a->min),
        .max = doc_or_empty(a->max),
        .skip = a->skip,
        .limit = a->limit,
        .project = p,
        .project_doc = projection,
        .show_record_id = a->show_record_id,
        .return_key = a->return_key,
        .env = exec_env(r->node->catalog, &c->q, ns->db, a->allow_disk_use,
                        (size_t)r->node->limits.query_memory_bytes),
    };
    return exec_open(&s, x, e);
}

RC cmd__find(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(cursor_freep) struct cursor *c = NULL;
    struct cmd_ns ns;
    struct find_args a;
    struct exec *x;

    TRY(cmd_ns(r, &ns, e));
    atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_QUERY], 1, memory_order_relaxed);
    c = cursor_new((size_t)r->node->limits.request_memory_bytes);
    /* the cursor may outlive the request */
    r->body = (struct bdoc){ .p = arena_dup(c->arena, r->body.p, r->body.len), .len = r->body.len };
    TRY(cmd_find_parse(r, &a, e));
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    c->ns = arena_strdup(c->arena, ns.ns);
    c->coll = cmd_coll(r, &ns);
    c->no_timeout = a.no_timeout && r->g.has_lsid;
    struct cmd_batch b = { .batch_size = a.batch_size, .single_batch = a.single_batch };
    if (c->coll && c->coll->is_view) {
        TRY(cmd_find_view(r, &a, &ns, c, e));
        return cmd_cursor_reply(r, w, TAKE(c), &b, e);
    }
    TRY(cmd_find_open(r, &a, &ns, c, &x, e));
    c->source = exec_source(x);
    if (a.limit && b.batch_size < 0)
        b.batch_size = MIN(a.limit, (int64_t)CURSOR_FIRST_BATCH);
    AUTO(catalog_coll_unrefp) struct catalog_coll *used =
        c->coll ? catalog_coll_ref(c->coll) : NULL;
    rc_t rc = cmd_cursor_reply(r, w, TAKE(c), &b, e);
    cmd_note_use(r, used, USE_READ);
    return rc;
}
