/* cmd_rename.c - renameCollection: within a database a change of the catalogue, across databases a copy. */
#include "cmd_write.h"

struct rename_args {
    struct bval to, drop_target, uuid;
    bool stay_temp; /* nothing is temporary that a client can name */
};

static const struct arg args[] = {
    ARG(struct rename_args, to, "to", ARG_ANY, ARG_REQUIRED),
    ARG(struct rename_args, drop_target, "dropTarget", ARG_ANY, 0),
    ARG(struct rename_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG(struct rename_args, stay_temp, "stayTemp", ARG_BOOL, 0),
};

/* dropTarget: a bool, or the UUID that the target has to have. */
static RC check_drop_target(struct bval v, struct err *e)
{
    uint8_t subtype;

    if (bval_is_missing(v) || v.type == BT_BOOL)
        return RC_OK;
    if (v.type != BT_BINARY)
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field 'renameCollection.dropTarget' is the wrong type '%s', expected types '[bool, binData]'",
            btype_name(v.type));
    struct slice id = bval_bin(v, &subtype);
    if (subtype != 4 || id.len != CATALOG_UUID_LEN)
        FAIL(e, ERR_INVALID_UUID, "dropTarget is no UUID");
    return RC_OK;
}

static RC check_target_uuid(const struct rename_args *a, bool same_db,
                            const struct catalog_coll *target, struct err *e)
{
    uint8_t subtype;

    if (a->drop_target.type != BT_BINARY)
        return RC_OK;
    if (!same_db)
        FAIL(e, ERR_INVALID_OPTIONS,
             "a UUID for dropTarget is not allowed when renaming between databases");
    struct slice id = bval_bin(a->drop_target, &subtype);
    if (!target || memcmp(target->uuid, id.p, CATALOG_UUID_LEN) != 0)
        FAIL(e, ERR_COLLECTION_UUID_MISMATCH,
             "the target collection has not the UUID that dropTarget names");
    return RC_OK;
}

RC cmd__rename_auth(struct cmd_req *r, struct err *e)
{
    struct identity_session *s = r->client->identity;
    struct cmd_ns from, to;
    struct bval drop = bdoc_get(r->body, "dropTarget");

    TRY(cmd_first_required(r, e));
    TRY(cmd_ns_full(r, cmd_first(r), &from, e));
    TRY(cmd_ns_full(r, bdoc_get(r->body, "to"), &to, e));
    bool same_db = slice_eq(from.db, to.db);
    if (same_db && identity_allows(s, RES_DB(from.db), ACT_RENAME_COLLECTION_SAME_DB))
        return RC_OK;
    TRY(identity_require(s, RES_COLL(from.db, from.coll), ACT_FIND, "renameCollection", e));
    TRY(identity_require(s, RES_COLL(from.db, from.coll), ACT_DROP_COLLECTION, "renameCollection",
                         e));
    TRY(identity_require(s, RES_COLL(to.db, to.coll), ACT_INSERT, "renameCollection", e));
    TRY(identity_require(s, RES_COLL(to.db, to.coll), ACT_CREATE_INDEX, "renameCollection", e));
    if (!bval_is_missing(drop) && bval_truthy(drop))
        TRY(identity_require(s, RES_COLL(to.db, to.coll), ACT_DROP_COLLECTION, "renameCollection",
                             e));
    return RC_OK;
}

RC cmd_copy_documents(struct cmd_req *r, struct catalog_coll *from, struct catalog_coll *to,
                      struct err *e)
{
    struct qctx q;
    struct exec *x;
    struct coll_txn *w = NULL;
    struct exec_row row;
    bool valid = true;
    int n = 0;

    cmd_qctx(r, r->arena, r->scratch, &q);
    struct exec_spec s = { .catalog = r->node->catalog,
                           .coll = from,
                           .q = &q,
                           .sort = BDOC_EMPTY,
                           .min = BDOC_EMPTY,
                           .max = BDOC_EMPTY,
                           .project_doc = BDOC_EMPTY };
    TRY(exec_open(&s, &x, e));
    rc_t rc = RC_OK;
    while (!rc.failed) {
        rc = exec_next(x, &row, &valid, e);
        if (rc.failed || !valid)
            break;
        if (!w)
            rc = coll_begin(to, &w, e);
        struct arena_mark m = arena_mark(r->scratch);
        if (!rc.failed) {
            coll_set_bypass(w, true);
            rc = coll_insert(w, row.doc, r->scratch, e);
        }
        arena_rewind(r->scratch, m);
        if (!rc.failed && (++n % 1000 == 0 || coll_txn_bytes(w) > 4 << 20))
            rc = coll_commit(&w, STORE_NOSYNC, e);
    }
    if (!rc.failed && w)
        rc = coll_commit(&w, STORE_SYNC, e);
    coll_abort(&w);
    exec_close(x);
    return rc;
}

RC cmd_copy_indexes(struct catalog_coll *from, struct catalog_coll *to, struct err *e)
{
    struct coll_indexes *l;
    struct bdoc specs[INDEXES_MAX + 1];

    TRY(coll_ref_indexes(from, &l, e));
    struct coll_build b = { .specs = specs };
    for (int i = 0; i < l->n; i++)
        if (!l->v[i]->is_id)
            specs[b.n_specs++] = l->v[i]->spec;
    rc_t rc = b.n_specs ? coll_create_indexes(to, &b, e) : RC_OK;
    coll_indexes_unref(l);
    return rc;
}

/* The copy is made under a name that nobody uses, then takes the wanted one, then the source goes. */
static RC across_databases(struct cmd_req *r, struct catalog_coll *from, const struct cmd_ns *to,
                           struct catalog_coll *target, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *copy = NULL;
    struct bdoc options = catalog_options(from, r->arena);
    struct cmd_ns tmp;

    TRY(cmd_temporary_new(r, CMD_TEMPORARY_COPY, to->db, options, &tmp, &copy, e));
    rc_t rc = cmd_copy_documents(r, from, copy, e);
    if (!rc.failed)
        rc = cmd_copy_indexes(from, copy, e);
    if (!rc.failed)
        rc = cmd_temporary_settle(r, copy, options, slice_str(to->ns), target, e);
    if (!rc.failed)
        return coll_drop(from, e);
    cmd_temporary_drop(copy);
    return rc;
}

RC cmd__renameCollection(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *from = NULL, *target = NULL;
    struct rename_args a = { 0 };
    struct cmd_ns src, dst;

    (void)w;
    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    TRY(check_drop_target(a.drop_target, e));
    TRY(cmd_first_required(r, e));
    TRY(cmd_ns_full(r, cmd_first(r), &src, e));
    TRY(cmd_ns_full(r, a.to, &dst, e));
    if (strcmp(src.ns, dst.ns) == 0)
        FAIL(e, ERR_ILLEGAL_OPERATION, "Can't rename a collection to itself");
    if (slice_has_prefix(src.coll, SLICE_LIT("system.")) ||
        slice_has_prefix(dst.coll, SLICE_LIT("system.")))
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "a system collection cannot be renamed, nor can a collection become one");
    target = cmd_coll(r, &dst);
    TRY(check_target_uuid(&a, slice_eq(src.db, dst.db), target, e));
    from = cmd_coll(r, &src);
    if (!from)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "Source collection %s does not exist", src.ns);
    TRY(cmd_uuid_check(r, a.uuid, &src, e));
    TRY(cmd_not_view(from, e));
    bool drops = a.drop_target.type == BT_BINARY ||
                 (a.drop_target.type == BT_BOOL && bval_bool(a.drop_target));
    if (target && (!drops || target->is_view))
        FAIL(e, ERR_NAMESPACE_EXISTS, "target namespace exists");
    if (!slice_eq(src.db, dst.db))
        return across_databases(r, from, &dst, target, e);
    return coll_rename(from, slice_str(dst.ns), target, e);
}
