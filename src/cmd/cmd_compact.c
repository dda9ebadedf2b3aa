/* cmd_compact.c - compact, and validateDBMetadata. */
#include "cmd_priv.h"

/* ---- compact: nothing is locked while it runs, so `force` changes nothing ---- */

struct compact_args {
    bool dry_run, force;
    int64_t free_mb;
};

static const struct arg compact_table[] = {
    ARG(struct compact_args, dry_run, "dryRun", ARG_BOOL, 0),
    ARG(struct compact_args, force, "force", ARG_BOOL, 0),
    ARG(struct compact_args, free_mb, "freeSpaceTargetMB", ARG_I64, ARG_POSITIVE),
};

RC cmd__compact(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct compact_args a = { .free_mb = 20 };
    struct cmd_ns ns;
    int64_t freed = 0;

    TRY(cmd_ns_any(r, &ns, e));
    TRY(cmd_args(r, compact_table, ARRAY_LEN(compact_table), &a, e));
    x = cmd_coll(r, &ns);
    if (!x)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "collection %s does not exist", ns.ns);
    TRY(cmd_not_view(x, e));
    if (!a.dry_run)
        TRY(coll_compact(x, cmd_check, r, &freed, e));
    if (freed <= INT32_MAX)
        bw_i32(w, a.dry_run ? "estimatedBytesFreed" : "bytesFreed", (int32_t)freed);
    else
        bw_i64(w, "bytesFreed", freed);
    return RC_OK;
}

/* ---- validateDBMetadata ---- */

struct api_args {
    struct slice version;
    struct bval strict, deprecation;
};

struct metadata_args {
    struct bval api, db, coll;
};

static const struct arg api_table[] = {
    ARG(struct api_args, version, "version", ARG_STR, ARG_REQUIRED),
    ARG(struct api_args, strict, "strict", ARG_ANY, 0),
    ARG(struct api_args, deprecation, "deprecationErrors", ARG_ANY, 0),
};

static const struct arg metadata_table[] = {
    ARG(struct metadata_args, api, "apiParameters", ARG_DOC, ARG_REQUIRED),
    ARG(struct metadata_args, db, "db", ARG_ANY, 0),
    ARG(struct metadata_args, coll, "collection", ARG_ANY, 0),
};

static RC check_names(struct cmd_req *r, const struct metadata_args *a, struct slice *db,
                      struct slice *coll, struct err *e)
{
    *db = *coll = SLICE_EMPTY;
    if (!bval_is_nullish(a->db)) {
        if (a->db.type != BT_STRING)
            return cmd_wrong_type(r->def->name, "db", a->db, "string", e);
        *db = bval_str(a->db);
        if (db->len == 0)
            FAIL(e, ERR_LOC(28539), "the database name cannot be empty");
        if (db->len > CATALOG_DB_MAX || memchr(db->p, '.', db->len) || memchr(db->p, 0, db->len))
            FAIL(e, ERR_INVALID_NAMESPACE, "Invalid database name");
        for (size_t i = 0; i < db->len; i++)
            if (strchr("/\\ \"", db->p[i]))
                FAIL(e, ERR_LOC(13280), "Invalid database name");
    }
    if (bval_is_nullish(a->coll))
        return RC_OK;
    if (a->coll.type != BT_STRING)
        return cmd_wrong_type(r->def->name, "collection", a->coll, "string", e);
    *coll = bval_str(a->coll);
    if (cmd_is_no_name(*coll))
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid collection name");
    return RC_OK;
}

/* Version 1 knows no sparse and no text index. */
static bool allowed_in_v1(struct bdoc spec)
{
    struct bval sparse = bdoc_get(spec, "sparse"), key = bdoc_get(spec, "key");
    struct biter it;

    if (!bval_is_missing(sparse) && bval_truthy(sparse))
        return false;
    biter_init(&it, key.type == BT_DOCUMENT ? bval_doc(key) : BDOC_EMPTY);
    while (biter_next(&it))
        if (it.val.type == BT_STRING && slice_eq_str(bval_str(it.val), "text"))
            return false;
    return true;
}

static RC put_errors(const struct catalog_named *c, struct bw *w, struct err *e)
{
    struct coll_indexes *l;

    if (c->x->is_view)
        return RC_OK;
    TRY(coll_ref_indexes(c->x, &l, e));
    for (int i = 0; i < l->n; i++) {
        AUTO(buf_fini) struct buf msg = BUF_INIT;
        if (allowed_in_v1(l->v[i]->spec))
            continue;
        buf_printf(&msg, "The index with name %s is not allowed in API version 1.", l->v[i]->name);
        bw_doc_begin(w, NULL);
        bw_str(w, "ns", c->ns);
        bw_i32(w, "code", ERR_API_STRICT_ERROR);
        bw_str(w, "codeName", "APIStrictError");
        bw_str(w, "errmsg", buf_cstr(&msg));
        bw_doc_end(w);
    }
    coll_indexes_unref(l);
    return RC_OK;
}

RC cmd__validateDBMetadata(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct metadata_args a = { 0 };
    struct api_args api = { 0 };
    struct catalog_list l;
    struct slice db, coll;
    rc_t rc = RC_OK;

    TRY(cmd_args(r, metadata_table, ARRAY_LEN(metadata_table), &a, e));
    TRY(cmd_fields(bval_doc(a.api), "validateDBMetadata.apiParameters", api_table,
                   ARRAY_LEN(api_table), &api, e));
    if (!bval_is_missing(api.strict) && api.strict.type != BT_BOOL)
        return cmd_wrong_type("apiParameters", "strict", api.strict, "bool", e);
    if (!bval_is_missing(api.deprecation) && api.deprecation.type != BT_BOOL)
        return cmd_wrong_type("apiParameters", "deprecationErrors", api.deprecation, "bool", e);
    TRY(check_names(r, &a, &db, &coll, e));
    bool look =
        slice_eq_str(api.version, "1") && !bval_is_missing(api.strict) && bval_bool(api.strict);
    bw_array_begin(w, "apiVersionErrors");
    if (look) {
        catalog_list(r->node->catalog, db, &l);
        for (int i = 0; !rc.failed && i < l.n; i++) {
            struct err why = { 0 };
            if ((coll.p && !slice_eq(coll, l.v[i].name)) || !put_errors(&l.v[i], w, &why).failed)
                continue;
            if (why.code == ERR_NAMESPACE_NOT_FOUND) { /* dropped meanwhile */
                err_reset(&why);
                continue;
            }
            *e = why;
            rc = RC_FAILED;
        }
        catalog_list_free(&l);
    }
    bw_array_end(w);
    return rc;
}
