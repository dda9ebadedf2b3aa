/* cmd_update.c - update (compatibility 10). */
#include "cmd_stmt.h"

enum { DOC_BYTES_MAX = 16 << 20 };

struct update_args {
    struct bval updates, let, uuid;
    bool ordered, bypass;
};

static const struct arg args[] = {
    ARG(struct update_args, updates, "updates", ARG_ARRAY, ARG_REQUIRED),
    ARG(struct update_args, ordered, "ordered", ARG_BOOL, 0),
    ARG(struct update_args, bypass, "bypassDocumentValidation", ARG_SAFE_BOOL, 0),
    ARG(struct update_args, let, "let", ARG_DOC, 0),
    ARG(struct update_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("stmtId"),
    ARG_SKIP("stmtIds"),
    ARG_SKIP("bypassEmptyTsReplacement"),
    ARG_SKIP("encryptionInformation"),
};

static const struct arg stmt_args[] = {
    ARG(struct update_stmt, q, "q", ARG_DOC, ARG_REQUIRED),
    ARG(struct update_stmt, u, "u", ARG_ANY, ARG_REQUIRED),
    ARG(struct update_stmt, c, "c", ARG_DOC, 0),
    ARG(struct update_stmt, multi, "multi", ARG_SAFE_BOOL, 0),
    ARG(struct update_stmt, upsert, "upsert", ARG_SAFE_BOOL, 0),
    ARG(struct update_stmt, array_filters, "arrayFilters", ARG_ARRAY, 0),
    ARG(struct update_stmt, collation, "collation", ARG_ANY, 0),
    ARG(struct update_stmt, hint, "hint", ARG_ANY, 0),
    ARG(struct update_stmt, sort, "sort", ARG_DOC, 0),
    ARG_SKIP("sampleId"),
    ARG_SKIP("upsertSupplied"),
};

static RC parse_stmt(struct bval v, int i, struct update_stmt *out, struct err *e)
{
    *out = (struct update_stmt){ 0 };
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field 'update.updates.%d' is the wrong type '%s', expected type 'object'", i,
             btype_name(v.type));
    TRY(cmd_fields(bval_doc(v), "update.updates", stmt_args, ARRAY_LEN(stmt_args), out, e));
    return cmd_update_check(out, e);
}

RC cmd_update_check(const struct update_stmt *out, struct err *e)
{
    if (out->u.type != BT_DOCUMENT && out->u.type != BT_ARRAY)
        FAIL(e, ERR_FAILED_TO_PARSE, "Update argument must be either an object or an array");
    TRY(cmd_hint(out->hint, e));
    TRY(cmd_collation(out->collation, e));
    if (out->multi && !bval_is_missing(out->sort) && !bdoc_is_empty(bval_doc(out->sort)))
        FAIL(e, ERR_FAILED_TO_PARSE, "Cannot specify sort with multi=true");
    return RC_OK;
}

static RC apply_update(struct stmt *s, struct coll_txn *w, uint64_t rid, struct bdoc old,
                       const struct match_hit *hit, bool *wrote, struct err *e)
{
    struct bdoc doc;

    TRY(update_apply(s->arg, &s->q, old, hit, &doc, wrote, e));
    if (!*wrote)
        return RC_OK;
    if (doc.len > DOC_BYTES_MAX)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE, "Resulting document after update is larger than %d",
             DOC_BYTES_MAX);
    return coll_update(w, rid, old, doc, s->q.scratch, e);
}

static RC upsert(struct cmd_req *r, struct stmt *s, struct update *u, struct write_result *out,
                 struct err *e)
{
    struct bdoc made, doc;

    TRY(update_upsert(u, &s->q, s->match, &made, e));
    TRY(cmd_prepare_insert(r->arena, made, &doc, e));
    TRY(stmt_insert(s, doc, e));
    out->upserted_id = bdoc_get(doc, "_id");
    return RC_OK;
}

RC cmd_update_one(const struct write_run *x, const struct update_stmt *st, struct write_result *out,
                  struct err *e)
{
    *out = (struct write_result){ 0 };
    for (int attempt = 0;; attempt++) {
        AUTO(catalog_coll_unrefp) struct catalog_coll *coll = cmd_coll(x->r, x->ns);
        struct stmt s = { .multi = st->multi,
                          .bypass = x->bypass,
                          .sync = x->sync && !st->multi,
                          .apply = apply_update,
                          .hint = st->hint,
                          .collation = st->collation };
        struct update_spec spec = { .u = st->u,
                                    .array_filters = st->array_filters,
                                    .constants = st->c,
                                    .multi = st->multi,
                                    .upsert = st->upsert };
        struct update *u;
        struct err why = { 0 };

        TRY(cmd_not_view(coll, e));
        TRY(stmt_init(&s, x->r, x->ns, bval_doc(st->q), x->let, e));
        stmt_update_spec(&spec);
        TRY(update_parse(&s.q, &spec, &u, e));
        s.coll = coll;
        s.arg = u;
        if (!bval_is_missing(st->sort))
            s.sort = bval_doc(st->sort);
        rc_t rc = stmt_run(&s, &why);
        bool inserting = !rc.failed && s.n_matched == 0 && st->upsert;
        if (inserting)
            rc = upsert(x->r, &s, u, out, &why);
        out->unsynced |= s.unsynced;
        out->n_matched += s.n_matched;
        out->n_changed += s.n_changed;
        cmd_note_use(x->r, coll, USE_WRITE);
        if (!rc.failed)
            return RC_OK;
        if (!inserting || why.code != ERR_DUPLICATE_KEY || attempt > 0)
            return err_take(e, &why);
        /* another upsert of the same key was first: now there is a document to update */
        err_reset(&why);
    }
}

/* A reply while it grows. */
struct updater {
    struct write_run run;
    bool ordered;
    struct write_errors errors;
    struct buf upserted_buf;
    struct bw upserted;
    int n_upserted;
    int64_t n, n_modified;
    bool unsynced;
};

static void add_result(struct updater *x, int index, const struct write_result *w)
{
    bool upserted = !bval_is_missing(w->upserted_id);

    x->unsynced |= w->unsynced;
    x->n += w->n_matched + upserted;
    x->n_modified += w->n_changed;
    if (!upserted)
        return;
    if (x->n_upserted++ == 0) {
        bw_init(&x->upserted, &x->upserted_buf);
        bw_array_begin(&x->upserted, "upserted");
    }
    bw_doc_begin(&x->upserted, NULL);
    bw_i32(&x->upserted, "index", index);
    bw_val(&x->upserted, "_id", w->upserted_id);
    bw_doc_end(&x->upserted);
}

static RC run_all(struct updater *x, struct cmd_docs *docs, const struct update_stmt *stmts,
                  struct err *e)
{
    for (int i = 0; i < docs->n; i++) {
        struct err why = { 0 };
        struct write_result one;
        rc_t rc = cmd_update_one(&x->run, &stmts[i], &one, &why);
        add_result(x, i, &one);
        if (!rc.failed)
            continue;
        if (cmd_is_fatal(&why))
            return err_take(e, &why);
        write_errors_add(&x->errors, i, &why);
        err_reset(&why);
        if (x->ordered)
            break;
    }
    return RC_OK;
}

static void put_reply(struct updater *x, struct bw *w)
{
    bw_i32(w, "n", (int32_t)x->n);
    if (x->n_upserted) {
        bw_array_end(&x->upserted);
        bw_fields(w, bw_finish(&x->upserted));
    }
    bw_i32(w, "nModified", (int32_t)x->n_modified);
    write_errors_put(&x->errors, w);
}

RC cmd__update(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct update_args a = { .ordered = true };
    struct cmd_ns ns;
    struct qctx q;
    struct cmd_docs docs;
    struct bval v;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    TRY(cmd_docs(r, "updates", a.updates, &docs, e));
    struct update_stmt *stmts = ARENA_ARRAY(r->arena, struct update_stmt, (size_t)docs.n);
    for (int i = 0; cmd_docs_next(&docs, &v); i++)
        TRY(parse_stmt(v, i, &stmts[i], e));
    TRY(cmd_check_writable_ns(&ns, e));
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    cmd_qctx(r, r->arena, r->scratch, &q);
    TRY(cmd_let(&q, a.let, e));
    struct updater x = {
        .run = { .r = r, .ns = &ns, .let = q.let, .bypass = a.bypass, .sync = docs.n == 1 },
        .ordered = a.ordered,
    };
    rc_t rc = run_all(&x, &docs, stmts, e);
    if (!rc.failed && x.unsynced && cmd_durability(r) == STORE_SYNC)
        rc = store_sync(r->node->store, e);
    atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_UPDATE], docs.n,
                              memory_order_relaxed);
    if (!rc.failed)
        put_reply(&x, w);
    buf_fini(&x.upserted_buf);
    write_errors_fini(&x.errors);
    return rc;
}
