/* cmd_bulk_write.c - bulkWrite (compatibility 11): inserts, updates and deletes of several collections in one command.
 *
 * All operations are parsed before the first one runs, so that a malformed one changes nothing. What an operation does is the business of insert, update and
 * delete; here are the order, the counts and the results, which are a cursor of "admin.$cmd.bulkWrite". Inserts that follow each other on the same
 * collection share transactions; nothing waits for the journal before the end.
 */
#include "cmd_stmt.h"

struct bulk_args {
    struct bval ops, ns_info, let, cursor;
    bool ordered, errors_only, bypass;
};

static const struct arg args[] = {
    ARG(struct bulk_args, ops, "ops", ARG_ARRAY, ARG_REQUIRED),
    ARG(struct bulk_args, ns_info, "nsInfo", ARG_ARRAY, ARG_REQUIRED),
    ARG(struct bulk_args, ordered, "ordered", ARG_BOOL, 0),
    ARG(struct bulk_args, errors_only, "errorsOnly", ARG_BOOL, 0),
    ARG(struct bulk_args, bypass, "bypassDocumentValidation", ARG_SAFE_BOOL, 0),
    ARG(struct bulk_args, let, "let", ARG_DOC, 0),
    ARG(struct bulk_args, cursor, "cursor", ARG_DOC, 0),
    ARG_SKIP("stmtId"),
    ARG_SKIP("stmtIds"),
    ARG_SKIP("bypassEmptyTsReplacement"),
};

struct cursor_args {
    int64_t batch_size;
};
static const struct arg cursor_table[] = {
    ARG(struct cursor_args, batch_size, "batchSize", ARG_I64, ARG_NOT_NEGATIVE),
};

struct bulk_ns {
    struct cmd_ns ns;
    struct bval name, uuid;
};
static const struct arg ns_table[] = {
    ARG(struct bulk_ns, name, "ns", ARG_ANY, 0),
    ARG(struct bulk_ns, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("encryptionInformation"),
};

enum bulk_kind { BULK_INSERT, BULK_UPDATE, BULK_DELETE, BULK_KIND_NR };
static const char *const kind_names[] = { "insert", "update", "delete" };

struct bulk_op {
    enum bulk_kind kind;
    int64_t ns; /* index in nsInfo */
    union {
        struct bval document;
        struct update_stmt update;
        struct delete_stmt delete;
    };
};

static const struct arg insert_table[] = {
    ARG(struct bulk_op, ns, "insert", ARG_I64, ARG_REQUIRED),
    ARG(struct bulk_op, document, "document", ARG_DOC, ARG_REQUIRED),
};
static const struct arg update_table[] = {
    ARG(struct bulk_op, ns, "update", ARG_I64, ARG_REQUIRED),
    ARG(struct bulk_op, update.q, "filter", ARG_DOC, ARG_REQUIRED),
    ARG(struct bulk_op, update.u, "updateMods", ARG_ANY, 0),
    ARG(struct bulk_op, update.c, "constants", ARG_DOC, 0),
    ARG(struct bulk_op, update.multi, "multi", ARG_BOOL, 0),
    ARG(struct bulk_op, update.upsert, "upsert", ARG_BOOL, 0),
    ARG(struct bulk_op, update.array_filters, "arrayFilters", ARG_ARRAY, 0),
    ARG(struct bulk_op, update.collation, "collation", ARG_ANY, 0),
    ARG(struct bulk_op, update.hint, "hint", ARG_ANY, 0),
    ARG(struct bulk_op, update.sort, "sort", ARG_DOC, 0),
    ARG_SKIP("sampleId"),
    ARG_SKIP("upsertSupplied"),
};
static const struct arg delete_table[] = {
    ARG(struct bulk_op, ns, "delete", ARG_I64, ARG_REQUIRED),
    ARG(struct bulk_op, delete.q, "filter", ARG_DOC, ARG_REQUIRED),
    ARG(struct bulk_op, delete.multi, "multi", ARG_BOOL, 0),
    ARG(struct bulk_op, delete.hint, "hint", ARG_ANY, 0),
    ARG(struct bulk_op, delete.collation, "collation", ARG_ANY, 0),
    ARG_SKIP("sampleId"),
};
static const struct {
    const struct arg *table;
    size_t n;
} tables[] = {
    { insert_table, ARRAY_LEN(insert_table) },
    { update_table, ARRAY_LEN(update_table) },
    { delete_table, ARRAY_LEN(delete_table) },
};

/* What the first field's name says; BULK_KIND_NR for anything else. */
static enum bulk_kind kind_of(struct bval op, struct slice *name)
{
    struct biter it;

    *name = SLICE_EMPTY;
    if (op.type != BT_DOCUMENT)
        return BULK_KIND_NR;
    biter_init(&it, bval_doc(op));
    if (!biter_next(&it))
        return BULK_KIND_NR;
    *name = it.name;
    for (int k = 0; k < BULK_KIND_NR; k++)
        if (slice_eq_str(it.name, kind_names[k]))
            return (enum bulk_kind)k;
    return BULK_KIND_NR;
}

static RC wrong_element(const char *field, int i, struct bval v, struct err *e)
{
    FAIL(e, ERR_TYPE_MISMATCH,
         "BSON field 'bulkWrite.%s.%d' is the wrong type '%s', expected type 'object'", field, i,
         btype_name(v.type));
}

static RC parse_op(struct bval v, int i, int64_t n_ns, struct bulk_op *op, struct err *e)
{
    char what[32];
    struct slice name;

    if (v.type != BT_DOCUMENT)
        return wrong_element("ops", i, v, e);
    *op = (struct bulk_op){ .kind = kind_of(v, &name) };
    if (op->kind == BULK_KIND_NR)
        FAIL(e, ERR_IDL_UNKNOWN_FIELD, "BSON field 'bulkWrite.ops.%.*s' is an unknown field.",
             (int)MIN(name.len, 200u), name.p);
    snprintf(what, sizeof(what), "bulkWrite.ops.%d", i);
    TRY(cmd_fields(bval_doc(v), what, tables[op->kind].table, tables[op->kind].n, op, e));
    if (op->ns < 0 || op->ns >= n_ns)
        FAIL(e, ERR_BAD_VALUE, "BulkWrite ops entry %d has an invalid nsInfo index.", i);
    switch (op->kind) {
    case BULK_UPDATE:
        if (bval_is_missing(op->update.u))
            FAIL(e, ERR_IDL_FAILED_TO_PARSE,
                 "BSON field '%s.updateMods' is missing but a required field", what);
        return cmd_update_check(&op->update, e);
    case BULK_DELETE:
        TRY(cmd_hint(op->delete.hint, e));
        return cmd_collation(op->delete.collation, e);
    default: return RC_OK;
    }
}

static RC parse_ns(struct cmd_req *r, struct bval v, int i, struct bulk_ns *out, struct err *e)
{
    if (v.type != BT_DOCUMENT)
        return wrong_element("nsInfo", i, v, e);
    *out = (struct bulk_ns){ 0 };
    TRY(cmd_fields(bval_doc(v), "bulkWrite.nsInfo", ns_table, ARRAY_LEN(ns_table), out, e));
    if (bval_is_nullish(out->name))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'bulkWrite.nsInfo.ns' is missing but a required field");
    if (out->name.type != BT_STRING)
        return cmd_wrong_type("bulkWrite.nsInfo", "ns", out->name, "string", e);
    return cmd_ns_full(r, out->name, &out->ns, e);
}

RC cmd__bulk_write_auth(struct cmd_req *r, struct err *e)
{
    static const enum action actions[] = { ACT_INSERT, ACT_UPDATE, ACT_REMOVE };
    struct bval bypass = bdoc_get(r->body, "bypassDocumentValidation");
    struct identity_session *s = r->client->identity;
    struct cmd_docs ops, infos;
    struct bval v;

    cmd_docs_any(r, "nsInfo", bdoc_get(r->body, "nsInfo"), &infos);
    struct slice *ns = ARENA_ARRAY(r->arena, struct slice, (size_t)infos.n + 1);
    for (int i = 0; cmd_docs_next(&infos, &v); i++) {
        struct bval name = v.type == BT_DOCUMENT ? bdoc_get(bval_doc(v), "ns") : BVAL_MISSING;
        ns[i] = name.type == BT_STRING ? bval_str(name) : SLICE_EMPTY;
    }
    cmd_docs_any(r, "ops", bdoc_get(r->body, "ops"), &ops);
    while (cmd_docs_next(&ops, &v)) {
        struct slice name;
        enum bulk_kind k = kind_of(v, &name);
        struct bval at = k == BULK_KIND_NR ? BVAL_MISSING : bdoc_get(bval_doc(v), kind_names[k]);
        /* what is malformed is refused by the parser, before anything is done */
        if (!bval_is_number(at) || cmd_i64(at) < 0 || cmd_i64(at) >= infos.n)
            continue;
        struct slice full = ns[cmd_i64(at)];
        const uint8_t *dot = full.len ? memchr(full.p, '.', full.len) : NULL;
        if (!dot)
            continue;
        size_t db_len = (size_t)(dot - full.p);
        struct identity_res res =
            RES_COLL(SLICE(full.p, db_len), SLICE(dot + 1, full.len - db_len - 1));
        TRY(identity_require(s, res, actions[k], "bulkWrite", e));
        struct bval upsert = bdoc_get(bval_doc(v), "upsert");
        if (k == BULK_UPDATE && !bval_is_missing(upsert) && bval_truthy(upsert))
            TRY(identity_require(s, res, ACT_INSERT, "bulkWrite", e));
        if (!bval_is_missing(bypass) && bval_truthy(bypass))
            TRY(identity_require(s, res, ACT_BYPASS_DOCUMENT_VALIDATION, "bulkWrite", e));
    }
    return RC_OK;
}

/* ---- Running ---- */

struct bulk {
    struct cmd_req *r;
    const struct bulk_args *a;
    const struct bulk_ns *ns;
    struct bdoc let;
    struct inserter inserter; /* of the inserts under way; ns NULL: none */
    bool unsynced;
    struct buf results_buf;
    struct bw results;
    int64_t n_errors, n_inserted, n_matched, n_modified, n_upserted, n_deleted;
};

static RC end_inserts(struct bulk *x, struct err *e)
{
    rc_t rc = RC_OK;

    if (x->inserter.w)
        rc = cmd_inserter_commit(&x->inserter, STORE_NOSYNC, e);
    x->unsynced |= x->inserter.unsynced;
    cmd_inserter_fini(&x->inserter);
    x->inserter = (struct inserter){ 0 };
    return rc;
}

static RC run_insert(struct bulk *x, const struct bulk_op *op, const struct bulk_ns *ns,
                     struct err *e)
{
    struct bdoc doc;

    TRY(cmd_prepare_insert(x->r->arena, bval_doc(op->document), &doc, e));
    if (!x->inserter.ns)
        x->inserter = (struct inserter){ .r = x->r, .ns = &ns->ns, .bypass = x->a->bypass };
    TRY(cmd_inserter_add(&x->inserter, doc, e));
    x->n_inserted++;
    return cmd_inserter_full(&x->inserter) ? cmd_inserter_commit(&x->inserter, STORE_NOSYNC, e)
                                           : RC_OK;
}

static RC run_op(struct bulk *x, const struct bulk_op *op, struct write_result *out, struct err *e)
{
    const struct bulk_ns *ns = &x->ns[op->ns];
    struct write_run run = { .r = x->r, .ns = &ns->ns, .let = x->let, .bypass = x->a->bypass };
    rc_t rc;

    *out = (struct write_result){ 0 };
    TRY(cmd_check(x->r, e));
    TRY(cmd_check_writable_ns(&ns->ns, e));
    TRY(cmd_uuid_check(x->r, ns->uuid, &ns->ns, e));
    switch (op->kind) {
    case BULK_INSERT: return run_insert(x, op, ns, e);
    case BULK_UPDATE:
        rc = cmd_update_one(&run, &op->update, out, e);
        x->n_matched += out->n_matched;
        x->n_modified += out->n_changed;
        x->n_upserted += !bval_is_missing(out->upserted_id);
        break;
    default:
        rc = cmd_delete_one(&run, &op->delete, out, e);
        x->n_deleted += out->n_changed;
        break;
    }
    x->unsynced |= out->unsynced;
    return rc;
}

static void put_success(struct bulk *x, const struct bulk_op *op, int i,
                        const struct write_result *one)
{
    struct bw *w = &x->results;
    bool upserted = !bval_is_missing(one->upserted_id);

    if (x->a->errors_only)
        return;
    bw_doc_begin(w, NULL);
    bw_double(w, "ok", 1.0);
    bw_i32(w, "idx", i);
    switch (op->kind) {
    case BULK_INSERT: bw_i32(w, "n", 1); break;
    case BULK_UPDATE:
        bw_i32(w, "n", (int32_t)(one->n_matched + upserted));
        bw_i32(w, "nModified", (int32_t)one->n_changed);
        break;
    default: bw_i32(w, "n", (int32_t)one->n_changed);
    }
    if (upserted) {
        bw_doc_begin(w, "upserted");
        bw_val(w, "_id", one->upserted_id);
        bw_doc_end(w);
    }
    bw_doc_end(w);
}

static void put_failure(struct bulk *x, const struct bulk_op *op, int i, const struct err *why)
{
    struct bw *w = &x->results;

    x->n_errors++;
    bw_doc_begin(w, NULL);
    bw_double(w, "ok", 0.0);
    bw_i32(w, "idx", i);
    cmd_write_error_fields(why, w);
    bw_i32(w, "n", 0);
    if (op->kind == BULK_UPDATE)
        bw_i32(w, "nModified", 0);
    bw_doc_end(w);
}

/* Here a view, or a name that cannot be written to, concerns one operation. */
static bool is_fatal(const struct err *e)
{
    return e->code != ERR_COMMAND_NOT_SUPPORTED_ON_VIEW && e->code != ERR_INVALID_NAMESPACE &&
           e->code != ERR_DATABASE_DIFFERS_IN_CASE && cmd_is_fatal(e);
}

static RC run_all(struct bulk *x, const struct bulk_op *ops, int n, struct err *e)
{
    for (int i = 0; i < n; i++) {
        struct write_result one;
        struct err why = { 0 };

        if (x->inserter.ns &&
            (ops[i].kind != BULK_INSERT || x->inserter.ns != &x->ns[ops[i].ns].ns))
            TRY(end_inserts(x, e));
        if (!run_op(x, &ops[i], &one, &why).failed) {
            put_success(x, &ops[i], i, &one);
            continue;
        }
        if (is_fatal(&why))
            return err_take(e, &why);
        put_failure(x, &ops[i], i, &why);
        err_reset(&why);
        if (x->a->ordered)
            break;
    }
    return end_inserts(x, e);
}

static RC put_reply(struct bulk *x, int64_t batch_size, struct bw *w, struct err *e)
{
    bw_array_end(&x->results);
    struct bdoc all = bw_finish(&x->results);

    TRY(cmd_list_cursor(x->r, w, "admin.$cmd.bulkWrite", bval_doc(bdoc_get(all, "r")), batch_size,
                        e));
    bw_i32(w, "nErrors", (int32_t)x->n_errors);
    bw_i32(w, "nInserted", (int32_t)x->n_inserted);
    bw_i32(w, "nMatched", (int32_t)x->n_matched);
    bw_i32(w, "nModified", (int32_t)x->n_modified);
    bw_i32(w, "nUpserted", (int32_t)x->n_upserted);
    bw_i32(w, "nDeleted", (int32_t)x->n_deleted);
    return RC_OK;
}

static RC parse(struct cmd_req *r, const struct bulk_args *a, struct cmd_docs *ops,
                struct bulk_op **out_ops, struct bulk_ns **out_ns, struct err *e)
{
    struct cmd_docs infos;
    struct bval v;

    TRY(cmd_docs(r, "ops", a->ops, ops, e));
    cmd_docs_any(r, "nsInfo", a->ns_info, &infos);
    *out_ns = ARENA_ARRAY(r->arena, struct bulk_ns, (size_t)infos.n + 1);
    for (int i = 0; cmd_docs_next(&infos, &v); i++)
        TRY(parse_ns(r, v, i, &(*out_ns)[i], e));
    *out_ops = ARENA_ARRAY(r->arena, struct bulk_op, (size_t)ops->n);
    for (int i = 0; cmd_docs_next(ops, &v); i++)
        TRY(parse_op(v, i, infos.n, &(*out_ops)[i], e));
    return RC_OK;
}

static void count(struct cmd_req *r, const struct bulk *x)
{
    atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_INSERT], x->n_inserted,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_UPDATE],
                              x->n_matched + x->n_upserted, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_DELETE], x->n_deleted,
                              memory_order_relaxed);
}

RC cmd__bulkWrite(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct bulk_args a = { .ordered = true };
    struct cursor_args c = { .batch_size = -1 };
    struct bulk x = { .r = r, .a = &a };
    struct cmd_docs docs;
    struct bulk_op *ops;
    struct bulk_ns *ns;
    struct qctx q;

    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    if (!bval_is_missing(a.cursor))
        TRY(cmd_fields(bval_doc(a.cursor), "bulkWrite.cursor", cursor_table,
                       ARRAY_LEN(cursor_table), &c, e));
    TRY(parse(r, &a, &docs, &ops, &ns, e));
    cmd_qctx(r, r->arena, r->scratch, &q);
    TRY(cmd_let(&q, a.let, e));
    x.let = q.let;
    x.ns = ns;
    bw_init(&x.results, &x.results_buf);
    bw_array_begin(&x.results, "r");
    rc_t rc = run_all(&x, ops, docs.n, e);
    cmd_inserter_fini(&x.inserter);
    if (!rc.failed && x.unsynced && cmd_durability(r) == STORE_SYNC)
        rc = store_sync(r->node->store, e);
    count(r, &x);
    if (!rc.failed)
        rc = put_reply(&x, c.batch_size, w, e);
    buf_fini(&x.results_buf);
    return rc;
}
