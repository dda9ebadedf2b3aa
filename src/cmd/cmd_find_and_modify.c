/* cmd_find_and_modify.c - findAndModify (compatibility 10). Its errors are the command's. */
#include "cmd_stmt.h"

struct fam_args {
    struct bval query, sort, update, fields, array_filters, let, collation, hint, uuid;
    bool remove, new, upsert, bypass;
};

static const struct arg args[] = {
    ARG(struct fam_args, query, "query", ARG_DOC, 0),
    ARG(struct fam_args, sort, "sort", ARG_DOC, 0),
    ARG(struct fam_args, update, "update", ARG_ANY, 0),
    ARG(struct fam_args, fields, "fields", ARG_DOC, 0),
    ARG(struct fam_args, array_filters, "arrayFilters", ARG_ARRAY, 0),
    ARG(struct fam_args, let, "let", ARG_DOC, 0),
    ARG(struct fam_args, collation, "collation", ARG_ANY, 0),
    ARG(struct fam_args, hint, "hint", ARG_ANY, 0),
    ARG(struct fam_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG(struct fam_args, remove, "remove", ARG_SAFE_BOOL, 0),
    ARG(struct fam_args, new, "new", ARG_SAFE_BOOL, 0),
    ARG(struct fam_args, upsert, "upsert", ARG_SAFE_BOOL, 0),
    ARG(struct fam_args, bypass, "bypassDocumentValidation", ARG_SAFE_BOOL, 0),
    ARG_SKIP("stmtId"),
    ARG_SKIP("bypassEmptyTsReplacement"),
    ARG_SKIP("sampleId"),
    ARG_SKIP("encryptionInformation"),
};

struct fam {
    struct cmd_req *r;
    const struct fam_args *a;
    struct cmd_ns ns;
    struct bdoc let;
    struct update *u;
    struct project *project;
    bool found, upserted;
    struct bdoc value; /* in the request's arena */
    bool has_value;
    struct bval id; /* of the upserted document */
};

static RC keep_value(struct fam *x, struct stmt *s, struct bdoc doc, const struct match_hit *hit,
                     struct err *e)
{
    struct bdoc shown = doc;

    if (x->project) {
        struct match_hit fresh = { 0 };
        if (!hit && project_needs_hit(x->project)) {
            bool ok;
            TRY(match_eval(s->match, &s->q, doc, &fresh, &ok, e));
        }
        TRY(project_apply(x->project, &s->q, doc, hit ? hit : &fresh, &shown, e));
    }
    x->value = (struct bdoc){ .p = arena_dup(x->r->arena, shown.p, shown.len), .len = shown.len };
    x->has_value = true;
    return RC_OK;
}

static RC apply(struct stmt *s, struct coll_txn *w, uint64_t rid, struct bdoc old,
                const struct match_hit *hit, bool *wrote, struct err *e)
{
    struct fam *x = s->arg;
    struct bdoc doc;

    if (x->a->remove) {
        TRY(keep_value(x, s, old, hit, e));
        *wrote = true;
        return coll_delete(w, rid, old, s->q.scratch, e);
    }
    TRY(update_apply(x->u, &s->q, old, hit, &doc, wrote, e));
    if (doc.len > 16 << 20)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE, "Resulting document after update is larger than %d",
             16 << 20);
    TRY(keep_value(x, s, x->a->new ? doc : old, hit, e));
    return *wrote ? coll_update(w, rid, old, doc, s->q.scratch, e) : RC_OK;
}

static RC insert_upsert(struct fam *x, struct stmt *s, struct err *e)
{
    struct bdoc made, doc;

    TRY(update_upsert(x->u, &s->q, s->match, &made, e));
    TRY(cmd_prepare_insert(x->r->arena, made, &doc, e));
    TRY(stmt_insert(s, doc, e));
    x->upserted = true;
    x->id = bval_dup(x->r->arena, bdoc_get(doc, "_id"));
    if (x->a->new)
        TRY(keep_value(x, s, doc, NULL, e));
    return RC_OK;
}

static RC run_once(struct fam *x, bool *retry, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *coll = cmd_coll(x->r, &x->ns);
    const struct fam_args *a = x->a;
    struct stmt s = { .bypass = a->bypass,
                      .sync = true,
                      .apply = apply,
                      .hint = a->hint,
                      .collation = a->collation,
                      .arg = x };

    TRY(cmd_not_view(coll, e));
    TRY(stmt_init(&s, x->r, &x->ns, a->query.type == BT_DOCUMENT ? bval_doc(a->query) : BDOC_EMPTY,
                  x->let, e));
    if (!a->remove) {
        struct update_spec spec = { .u = a->update,
                                    .array_filters = a->array_filters,
                                    .upsert = a->upsert };
        stmt_update_spec(&spec);
        TRY(update_parse(&s.q, &spec, &x->u, e));
    }
    if (a->fields.type == BT_DOCUMENT && !bdoc_is_empty(bval_doc(a->fields)))
        TRY(project_parse(&s.q, PROJECT_FIND, bval_doc(a->fields), s.match, &x->project, e));
    s.coll = coll;
    if (a->sort.type == BT_DOCUMENT)
        s.sort = bval_doc(a->sort);
    x->has_value = false;
    TRY(stmt_run(&s, e));
    x->found = s.n_matched > 0;
    if (x->found || !a->upsert)
        return RC_OK;
    struct err why = { 0 };
    if (!insert_upsert(x, &s, &why).failed)
        return RC_OK;
    if (why.code == ERR_DUPLICATE_KEY && !*retry) {
        *retry = true;
        err_reset(&why);
        return RC_OK;
    }
    *retry = false;
    return err_take(e, &why);
}

static RC check(const struct fam_args *a, struct err *e)
{
    bool has_update = !bval_is_missing(a->update) && a->update.type != BT_NULL;

    if (a->remove && has_update)
        FAIL(e, ERR_FAILED_TO_PARSE, "Cannot specify both an update and remove=true");
    if (a->remove && a->upsert)
        FAIL(e, ERR_FAILED_TO_PARSE, "Cannot specify both upsert=true and remove=true");
    if (a->remove && a->new)
        FAIL(
            e, ERR_FAILED_TO_PARSE,
            "Cannot specify both new=true and remove=true; 'remove' always returns the deleted document");
    if (a->remove && !bval_is_missing(a->array_filters))
        FAIL(e, ERR_FAILED_TO_PARSE, "Cannot specify arrayFilters and remove=true");
    if (!a->remove && !has_update)
        FAIL(e, ERR_FAILED_TO_PARSE, "Either an update or remove=true must be specified");
    if (has_update && a->update.type != BT_DOCUMENT && a->update.type != BT_ARRAY)
        FAIL(e, ERR_FAILED_TO_PARSE, "Update argument must be either an object or an array");
    TRY(cmd_hint(a->hint, e));
    return cmd_collation(a->collation, e);
}

static void put_reply(const struct fam *x, struct bw *w)
{
    bw_doc_begin(w, "lastErrorObject");
    bw_i32(w, "n", x->found || x->upserted);
    if (!x->a->remove) {
        bw_bool(w, "updatedExisting", x->found);
        if (x->upserted)
            bw_val(w, "upserted", x->id);
    }
    bw_doc_end(w);
    if (x->has_value)
        bw_doc(w, "value", x->value);
    else
        bw_null(w, "value");
}

RC cmd__findAndModify(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct fam_args a = { 0 };
    struct fam x = { .r = r, .a = &a };
    struct qctx q;
    bool retry = false;

    TRY(cmd_ns(r, &x.ns, e));
    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    TRY(check(&a, e));
    TRY(cmd_check_writable_ns(&x.ns, e));
    TRY(cmd_uuid_check(r, a.uuid, &x.ns, e));
    cmd_qctx(r, r->arena, r->scratch, &q);
    TRY(cmd_let(&q, a.let, e));
    x.let = q.let;
    TRY(run_once(&x, &retry, e));
    if (retry)
        TRY(run_once(&x, &retry, e));
    put_reply(&x, w);
    return RC_OK;
}
