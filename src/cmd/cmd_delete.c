/* cmd_delete.c - delete (compatibility 11). */
#include "cmd_stmt.h"

struct delete_args {
    struct bval deletes, let, uuid;
    bool ordered;
};

static const struct arg args[] = {
    ARG(struct delete_args, deletes, "deletes", ARG_ARRAY, ARG_REQUIRED),
    ARG(struct delete_args, ordered, "ordered", ARG_BOOL, 0),
    ARG(struct delete_args, let, "let", ARG_DOC, 0),
    ARG(struct delete_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("bypassDocumentValidation"),
    ARG_SKIP("stmtId"),
    ARG_SKIP("stmtIds"),
    ARG_SKIP("encryptionInformation"),
};

struct delete_stmt {
    struct bval q, limit, collation, hint;
};

static const struct arg stmt_args[] = {
    ARG(struct delete_stmt, q, "q", ARG_DOC, ARG_REQUIRED),
    ARG(struct delete_stmt, limit, "limit", ARG_ANY, ARG_REQUIRED),
    ARG(struct delete_stmt, collation, "collation", ARG_ANY, 0),
    ARG(struct delete_stmt, hint, "hint", ARG_ANY, 0),
    ARG_SKIP("sampleId"),
};

static RC parse_stmt(struct bval v, int i, struct delete_stmt *out, struct err *e)
{
    *out = (struct delete_stmt){ 0 };
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field 'delete.deletes.%d' is the wrong type '%s', expected type 'object'", i,
             btype_name(v.type));
    TRY(cmd_fields(bval_doc(v), "delete.deletes", stmt_args, ARRAY_LEN(stmt_args), out, e));
    int64_t n = -1;
    if (!bval_is_number(out->limit))
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field 'delete.deletes.limit' is the wrong type '%s', expected types '[long, int, decimal, double]'",
            btype_name(out->limit.type));
    if (!bval_to_i64(out->limit, &n) || (n != 0 && n != 1))
        FAIL(e, ERR_FAILED_TO_PARSE, "The limit field in delete objects must be 0 or 1");
    TRY(cmd_hint(out->hint, e));
    return cmd_collation(out->collation, e);
}

static RC apply_delete(struct stmt *s, struct coll_txn *w, uint64_t rid, struct bdoc old,
                       const struct match_hit *hit, bool *wrote, struct err *e)
{
    (void)hit;
    *wrote = true;
    return coll_delete(w, rid, old, s->q.scratch, e);
}

static RC run_stmt(struct cmd_req *r, const struct cmd_ns *ns, const struct delete_stmt *st,
                   struct bdoc let, bool sync, int64_t *n, bool *unsynced, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *coll = cmd_coll(r, ns);
    struct stmt s = { .multi = cmd_i64(st->limit) == 0, .apply = apply_delete, .hint = st->hint };

    TRY(cmd_not_view(coll, e));
    TRY(stmt_init(&s, r, ns, bval_doc(st->q), let, e));
    s.sync = sync && !s.multi;
    s.coll = coll;
    rc_t rc = stmt_run(&s, e);
    *n += s.n_changed;
    *unsynced |= s.unsynced;
    return rc;
}

RC cmd__delete(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct delete_args a = { .ordered = true };
    struct write_errors errors = { 0 };
    struct cmd_ns ns;
    struct cmd_docs docs;
    struct qctx q;
    struct bval v;
    bool unsynced = false;
    int64_t n = 0;
    rc_t rc = RC_OK;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    TRY(cmd_docs(r, "deletes", a.deletes, &docs, e));
    struct delete_stmt *stmts = ARENA_ARRAY(r->arena, struct delete_stmt, (size_t)docs.n);
    for (int i = 0; cmd_docs_next(&docs, &v); i++)
        TRY(parse_stmt(v, i, &stmts[i], e));
    TRY(cmd_check_writable_ns(&ns, e));
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    cmd_qctx(r, r->arena, r->scratch, &q);
    TRY(cmd_let(&q, a.let, e));
    for (int i = 0; !rc.failed && i < docs.n; i++) {
        struct err why = { 0 };
        if (!run_stmt(r, &ns, &stmts[i], q.let, docs.n == 1, &n, &unsynced, &why).failed)
            continue;
        if (cmd_is_fatal(&why)) {
            *e = why;
            rc = RC_FAILED;
            break;
        }
        write_errors_add(&errors, i, &why);
        err_reset(&why);
        if (a.ordered)
            break;
    }
    if (!rc.failed && unsynced && cmd_durability(r) == STORE_SYNC)
        rc = store_sync(r->node->store, e);
    atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_DELETE], docs.n,
                              memory_order_relaxed);
    if (!rc.failed) {
        bw_i32(w, "n", (int32_t)n);
        write_errors_put(&errors, w);
    }
    write_errors_fini(&errors);
    return rc;
}
