/* cmd_insert.c - insert (compatibility 11).
 *
 * Documents are written in transactions of many; a failing document is rolled back to its savepoint and reported, the others of its batch stay.
 * After a write conflict the work done so far is committed and the document is tried again on a new snapshot.
 */
#include "cmd_stmt.h"

enum { INSERT_BATCH_DOCS = 1000, INSERT_BATCH_BYTES = 4 << 20, DOC_BYTES_MAX = 16 << 20 };

struct insert_args {
    struct bval documents, uuid;
    bool ordered, bypass;
    struct bval stmt_ids;
};

static const struct arg args[] = {
    ARG(struct insert_args, documents, "documents", ARG_ARRAY, ARG_REQUIRED),
    ARG(struct insert_args, ordered, "ordered", ARG_BOOL, 0),
    ARG(struct insert_args, bypass, "bypassDocumentValidation", ARG_SAFE_BOOL, 0),
    ARG(struct insert_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("stmtId"),
    ARG_SKIP("stmtIds"),
    ARG_SKIP("bypassEmptyTsReplacement"),
    ARG_SKIP("encryptionInformation"),
};

/* The stored form: _id first (made when absent), a top-level Timestamp(0,0) filled in. */
RC cmd_prepare_insert(struct arena *a, struct bdoc doc, struct bdoc *out, struct err *e)
{
    struct bval id = bdoc_get(doc, "_id");
    struct biter it;
    bool plain = !bval_is_missing(id), first = true;
    uint8_t oid[12];

    if (doc.len > DOC_BYTES_MAX)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE,
             "object to insert too large. size in bytes: %u, max size: %d", doc.len, DOC_BYTES_MAX);
    biter_init(&it, doc);
    while (biter_next(&it)) {
        if (first)
            plain &= slice_eq_str(it.name, "_id");
        first = false;
        plain &= it.val.type != BT_TIMESTAMP || bval_timestamp(it.val) != 0;
    }
    if (plain) {
        *out = doc;
        return RC_OK;
    }
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;
    bw_init(&w, &b);
    if (bval_is_missing(id)) {
        oid_new(oid);
        bw_oid(&w, "_id", oid);
    } else {
        bw_val(&w, "_id", id);
    }
    bool skipped = false;
    biter_init(&it, doc);
    while (biter_next(&it)) {
        if (!skipped && slice_eq_str(it.name, "_id")) {
            skipped = true;
            continue;
        }
        if (it.val.type == BT_TIMESTAMP && bval_timestamp(it.val) == 0)
            bw_timestamp(&w, (const char *)it.name.p, cmd_now_timestamp());
        else
            bw_val_slice(&w, it.name, it.val);
    }
    *out = bw_done_arena(&w, a);
    if (out->len > DOC_BYTES_MAX)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE,
             "object to insert too large. size in bytes: %u, max size: %d", out->len,
             DOC_BYTES_MAX);
    return RC_OK;
}

RC cmd_inserter_commit(struct inserter *x, enum store_durability d, struct err *e)
{
    if (!x->w)
        return RC_OK;
    x->in_txn = 0;
    x->unsynced = d == STORE_NOSYNC;
    return coll_commit(&x->w, d, e);
}

static void set_up(struct inserter *x)
{
    cmd_qctx(x->r, x->r->arena, x->r->scratch, &x->run);
    coll_set_bypass(x->w, x->bypass);
    coll_set_run(x->w, &x->run);
}

/* One document: again after a write conflict, or when the collection was dropped meanwhile. */
RC cmd_inserter_add(struct inserter *x, struct bdoc doc, struct err *e)
{
    struct arena *a = x->r->scratch;

    for (int attempt = 1;; attempt++) {
        struct err why = { 0 };
        rc_t rc = RC_OK;
        TRY(cmd_check(x->r, e));
        if (!x->coll)
            TRY(cmd_coll_made(x->r, x->ns, &x->coll, e));
        TRY(cmd_not_view(x->coll, e));
        if (!x->w) {
            rc = coll_begin(x->coll, &x->w, &why);
            if (!rc.failed)
                set_up(x);
        }
        if (!rc.failed) {
            coll_savepoint(x->w);
            struct arena_mark m = arena_mark(a);
            rc = coll_insert(x->w, doc, a, &why);
            arena_rewind(a, m);
        }
        if (!rc.failed) {
            coll_keep(x->w);
            x->in_txn++;
            return RC_OK;
        }
        bool dropped = why.code == ERR_NAMESPACE_NOT_FOUND,
             conflict = why.code == ERR_WRITE_CONFLICT;
        if (x->w) {
            struct err undo = { 0 };
            if (coll_rollback(x->w, &undo).failed || conflict) {
                err_reset(&undo);
                if (conflict)
                    /* what was done before stays; the end of the command syncs */
                    TRY(cmd_inserter_commit(x, STORE_NOSYNC, e));
                else
                    coll_abort(&x->w);
            }
        }
        if (!dropped && !conflict)
            return err_take(e, &why);
        err_reset(&why);
        if (dropped) {
            catalog_coll_unref(x->coll);
            x->coll = NULL;
        }
        coll_backoff(attempt);
    }
}

bool cmd_inserter_full(const struct inserter *x)
{
    return x->in_txn >= INSERT_BATCH_DOCS || (x->w && coll_txn_bytes(x->w) >= INSERT_BATCH_BYTES);
}

void cmd_inserter_fini(struct inserter *x)
{
    coll_abort(&x->w);
    catalog_coll_unref(x->coll);
    x->coll = NULL;
}

static RC insert_all(struct inserter *x, const struct insert_args *a, struct cmd_docs *docs,
                     struct write_errors *errors, int64_t *n, struct err *e)
{
    struct bval v;

    for (int i = 0; cmd_docs_next(docs, &v); i++) {
        struct err why = { 0 };
        struct bdoc doc;
        rc_t rc = cmd_prepare_insert(x->r->arena, bval_doc(v), &doc, &why);
        if (!rc.failed)
            rc = cmd_inserter_add(x, doc, &why);
        if (!rc.failed) {
            ++*n;
            if (cmd_inserter_full(x))
                TRY(cmd_inserter_commit(x,
                                        docs->at == docs->n ? cmd_durability(x->r) : STORE_NOSYNC,
                                        e));
            continue;
        }
        if (cmd_is_fatal(&why))
            return err_take(e, &why);
        write_errors_add(errors, i, &why);
        err_reset(&why);
        if (a->ordered)
            break;
    }
    return RC_OK;
}

RC cmd__insert(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct insert_args a = { .ordered = true };
    struct write_errors errors = { 0 };
    struct cmd_ns ns;
    struct cmd_docs docs;
    struct bval v;
    int64_t n = 0;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    TRY(cmd_docs(r, "documents", a.documents, &docs, e));
    while (cmd_docs_next(&docs, &v))
        if (v.type != BT_DOCUMENT)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "BSON field 'insert.documents.%d' is the wrong type '%s', expected type 'object'",
                 docs.at - 1, btype_name(v.type));
    cmd_docs_rewind(&docs);
    TRY(cmd_check_writable_ns(&ns, e));
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    struct inserter x = { .r = r, .ns = &ns, .bypass = a.bypass, .coll = cmd_coll(r, &ns) };
    rc_t rc = cmd_not_view(x.coll, e);
    if (!rc.failed)
        rc = insert_all(&x, &a, &docs, &errors, &n, e);
    bool open = x.w != NULL;
    if (!rc.failed && open)
        rc = cmd_inserter_commit(&x, cmd_durability(r), e);
    else if (!rc.failed && x.unsynced && cmd_durability(r) == STORE_SYNC)
        rc = store_sync(r->node->store, e);
    cmd_note_use(r, x.coll, USE_WRITE);
    cmd_inserter_fini(&x);
    atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_INSERT], n, memory_order_relaxed);
    if (!rc.failed) {
        bw_i32(w, "n", (int32_t)n);
        write_errors_put(&errors, w);
    }
    write_errors_fini(&errors);
    return rc;
}
