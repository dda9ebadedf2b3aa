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

struct delete_arg {
    struct bval q, limit, collation, hint;
};

static const struct arg stmt_args[] = {
    ARG(struct delete_arg, q, "q", ARG_DOC, ARG_REQUIRED),
    ARG(struct delete_arg, limit, "limit", ARG_ANY, ARG_REQUIRED),
    ARG(struct delete_arg, collation, "collation", ARG_ANY, 0),
    ARG(struct delete_arg, hint, "hint", ARG_ANY, 0),
    ARG_SKIP("sampleId"),
};

static RC parse_stmt(struct bval v, int i, struct delete_stmt *out, struct err *e)
{
    struct delete_arg a = { 0 };

    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field 'delete.deletes.%d' is the wrong type '%s', expected type 'object'", i,
             btype_name(v.type));
    TRY(cmd_fields(bval_doc(v), "delete.deletes", stmt_args, ARRAY_LEN(stmt_args), &a, e));
    int64_t n = -1;
    if (!bval_is_number(a.limit))
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field 'delete.deletes.limit' is the wrong type '%s', expected types '[long, int, decimal, double]'",
            btype_name(a.limit.type));
    if (!bval_to_i64(a.limit, &n) || (n != 0 && n != 1))
        FAIL(e, ERR_FAILED_TO_PARSE, "The limit field in delete objects must be 0 or 1");
    TRY(cmd_hint(a.hint, e));
    *out =
        (struct delete_stmt){ .q = a.q, .hint = a.hint, .collation = a.collation, .multi = n == 0 };
    return cmd_collation(a.collation, e);
}

static RC apply_delete(struct stmt *s, struct coll_txn *w, uint64_t rid, struct bdoc old,
                       const struct match_hit *hit, bool *wrote, struct err *e)
{
    (void)hit;
    *wrote = true;
    return coll_delete(w, rid, old, s->q.scratch, e);
}

RC cmd_delete_one(const struct write_run *x, const struct delete_stmt *st, struct write_result *out,
                  struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *coll = cmd_coll(x->r, x->ns);
    struct stmt s = {
        .multi = st->multi, .apply = apply_delete, .hint = st->hint, .collation = st->collation
    };

    *out = (struct write_result){ 0 };
    TRY(cmd_not_view(coll, e));
    TRY(stmt_init(&s, x->r, x->ns, bval_doc(st->q), x->let, e));
    s.sync = x->sync && !s.multi;
    s.coll = coll;
    rc_t rc = stmt_run(&s, e);
    cmd_note_use(x->r, coll, USE_WRITE);
    out->n_matched = s.n_matched;
    out->n_changed = s.n_changed;
    out->unsynced = s.unsynced;
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
    struct write_run run = { .r = r, .ns = &ns, .let = q.let, .sync = docs.n == 1 };
    for (int i = 0; !rc.failed && i < docs.n; i++) {
        struct err why = { 0 };
        struct write_result one;
        rc_t rc_one = cmd_delete_one(&run, &stmts[i], &one, &why);
        n += one.n_changed;
        unsynced |= one.unsynced;
        if (!rc_one.failed)
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
