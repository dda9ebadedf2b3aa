/* cmd_indexes.c - createIndexes, dropIndexes, listIndexes (compatibility 13). */
#include "cmd_create.h"

struct build_args {
    struct bval indexes, commit_quorum, uuid;
};

static const struct arg create_table[] = {
    ARG(struct build_args, indexes, "indexes", ARG_ARRAY, ARG_REQUIRED),
    ARG(struct build_args, commit_quorum, "commitQuorum", ARG_ANY, 0),
    ARG(struct build_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("ignoreUnknownIndexOptions"),
    ARG_SKIP("isTimeseriesNamespace"),
};

/* with_collation(): spec, with the collection's collation when it says none of its own. */
static struct bdoc with_collation(struct cmd_req *r, struct bdoc spec, struct bval own)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    if (bval_is_missing(own) || !bval_is_missing(bdoc_get(spec, "collation")))
        return spec;
    bw_init(&w, &b);
    bw_fields(&w, spec);
    bw_val(&w, "collation", own);
    return bw_done_arena(&w, r->arena);
}

static RC read_specs(struct cmd_req *r, struct bdoc array, struct bval own, struct bdoc **out,
                     int *n_out, struct err *e)
{
    int n = (int)bdoc_count(array), i = 0;
    struct biter it;

    if (n == 0)
        FAIL(e, ERR_BAD_VALUE, "Must specify at least one index to create");
    *out = ARENA_ARRAY(r->arena, struct bdoc, (size_t)n);
    *n_out = 0;
    biter_init(&it, array);
    while (biter_next(&it)) {
        struct bdoc spec;
        if (it.val.type != BT_DOCUMENT)
            FAIL(
                e, ERR_TYPE_MISMATCH,
                "BSON field 'createIndexes.indexes.%d' is the wrong type '%s', expected type 'object'",
                i, btype_name(it.val.type));
        TRY(index_spec_check(r->arena, with_collation(r, bval_doc(it.val), own), &spec, e));
        if (slice_eq_str(bval_str(bdoc_get(spec, "name")), "_id_") &&
            !bval_eq(bdoc_get(spec, "collation"), own))
            FAIL(e, ERR_BAD_VALUE, "The _id index must have the same collation as the collection.");
        i++;
        bool again = false; /* the same specification twice is one index */
        for (int k = 0; k < *n_out; k++)
            again |= bval_eq(bval_of_doc((*out)[k], BT_DOCUMENT), bval_of_doc(spec, BT_DOCUMENT));
        if (!again)
            (*out)[(*n_out)++] = spec;
    }
    return RC_OK;
}

RC cmd__createIndexes(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct build_args a = { 0 };
    struct coll_build b = { .check = cmd_check, .check_arg = r };
    struct cmd_ns ns;
    struct bdoc *specs = NULL;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, create_table, ARRAY_LEN(create_table), &a, e));
    if (!bval_is_missing(a.commit_quorum))
        FAIL(e, ERR_BAD_VALUE,
             "commitQuorum is supported only for two phase index builds on a replica set");
    x = cmd_coll(r, &ns);
    TRY(cmd_not_view(x, e));
    struct bval own = x ? bdoc_get(catalog_options(x, r->arena), "collation") : BVAL_MISSING;
    TRY(read_specs(r, bval_doc(a.indexes), own, &specs, &b.n_specs, e));
    TRY(cmd_check_writable_ns(&ns, e));
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    b.specs = specs;
    bool created = !x;
    if (!x)
        TRY(cmd_coll_made(r, &ns, &x, e));
    TRY(coll_create_indexes(x, &b, e));
    bw_i32(w, "numIndexesBefore", b.n_before);
    bw_i32(w, "numIndexesAfter", b.n_after);
    if (created)
        bw_bool(w, "createdCollectionAutomatically", true);
    else
        bw_bool(w, "createdCollectionAutomatically", false);
    if (b.n_before == b.n_after)
        bw_str(w, "note", "all indexes already exist");
    return RC_OK;
}

struct drop_args {
    struct bval index, uuid;
};

static const struct arg drop_table[] = {
    ARG(struct drop_args, index, "index", ARG_ANY, 0),
    ARG(struct drop_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("isTimeseriesNamespace"),
};

static RC name_of_pattern(const struct coll_indexes *l, struct bdoc pattern, struct slice *out,
                          struct err *e)
{
    int n = 0;

    for (int i = 0; i < l->n; i++) {
        if (bval_cmp(bval_of_doc(l->v[i]->pattern, BT_DOCUMENT),
                     bval_of_doc(pattern, BT_DOCUMENT)) != 0)
            continue;
        *out = slice_str(l->v[i]->name);
        n++;
    }
    if (n == 0)
        FAIL(e, ERR_INDEX_NOT_FOUND, "can't find index with key");
    if (n > 1)
        FAIL(e, ERR_AMBIGUOUS_INDEX_KEY_PATTERN,
             "%d indexes found for the key pattern: name the one that is meant", n);
    return RC_OK;
}

static RC wanted_names(struct cmd_req *r, const struct coll_indexes *l, struct bval index,
                       struct slice **out, int *n, struct err *e)
{
    struct biter it;

    *n = 1;
    *out = ARENA_NEW(r->arena, struct slice);
    switch (index.type) {
    case BT_STRING:
        **out = bval_str(index);
        if (slice_eq_str(**out, "*"))
            *n = -1;
        return RC_OK;
    case BT_DOCUMENT:
        if (bdoc_is_empty(bval_doc(index)))
            FAIL(e, ERR_INDEX_NOT_FOUND, "can't find index with key: {}");
        return name_of_pattern(l, bval_doc(index), *out, e);
    case BT_ARRAY:
        *n = 0;
        *out = ARENA_ARRAY(r->arena, struct slice, bdoc_count(bval_doc(index)) + 1);
        biter_init(&it, bval_doc(index));
        while (biter_next(&it)) {
            if (it.val.type != BT_STRING)
                FAIL(e, ERR_TYPE_MISMATCH, "dropIndexes.index must be an array of strings");
            if (slice_eq_str(bval_str(it.val), "*")) {
                *n = -1;
                return RC_OK;
            }
            for (int k = 0; k < *n; k++)
                if (slice_eq((*out)[k], bval_str(it.val)))
                    FAIL(e, ERR_INDEX_NOT_FOUND, "an index is named twice");
            (*out)[(*n)++] = bval_str(it.val);
        }
        return RC_OK;
    default:
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field 'dropIndexes.index' is the wrong type '%s', expected types '[string, array, object]'",
            btype_name(index.type));
    }
}

RC cmd__dropIndexes(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct drop_args a = { 0 };
    struct coll_indexes *l;
    struct cmd_ns ns;
    struct slice *names;
    int n, n_before;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, drop_table, ARRAY_LEN(drop_table), &a, e));
    if (bval_is_missing(a.index))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'dropIndexes.index' is missing but a required field");
    if (a.index.type != BT_STRING && a.index.type != BT_DOCUMENT && a.index.type != BT_ARRAY)
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field 'dropIndexes.index' is the wrong type '%s', expected types '[string, array, object]'",
            btype_name(a.index.type));
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    x = cmd_coll(r, &ns);
    if (!x)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "ns not found %s", ns.ns);
    TRY(cmd_not_view(x, e));
    TRY(coll_ref_kept_indexes(x, &l, e));
    rc_t rc = wanted_names(r, l, a.index, &names, &n, e);
    coll_indexes_unref(l);
    TRY(rc);
    TRY(coll_drop_indexes(x, names, n, &n_before, e));
    bw_i32(w, "nIndexesWas", n_before);
    if (n < 0)
        bw_str(w, "msg", "non-_id indexes dropped for collection");
    return RC_OK;
}

struct list_args {
    struct bval cursor, uuid;
    bool uuids, info; /* of builds: those that are listed are over, and have none */
};

static const struct arg list_table[] = {
    ARG(struct list_args, cursor, "cursor", ARG_DOC, 0),
    ARG(struct list_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG(struct list_args, uuids, "includeBuildUUIDs", ARG_SAFE_BOOL, 0),
    ARG(struct list_args, info, "includeIndexBuildInfo", ARG_SAFE_BOOL, 0),
    ARG_SKIP("isTimeseriesNamespace"),
};

struct cursor_args {
    int64_t batch_size;
};

static const struct arg cursor_table[] = {
    ARG(struct cursor_args, batch_size, "batchSize", ARG_I64, ARG_NOT_NEGATIVE),
};

RC cmd__listIndexes(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct list_args a = { 0 };
    struct cursor_args c = { .batch_size = -1 };
    struct coll_indexes *l;
    struct cmd_ns ns;
    struct bw docs;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, list_table, ARRAY_LEN(list_table), &a, e));
    if (!bval_is_missing(a.cursor))
        TRY(cmd_fields(bval_doc(a.cursor), "listIndexes.cursor", cursor_table,
                       ARRAY_LEN(cursor_table), &c, e));
    if (a.uuids && a.info)
        FAIL(e, ERR_INVALID_OPTIONS,
             "includeBuildUUIDs and includeIndexBuildInfo cannot both be true");
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    x = cmd_coll(r, &ns);
    if (!x)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "ns does not exist: %s", ns.ns);
    TRY(cmd_not_view(x, e));
    TRY(coll_ref_indexes(x, &l, e));
    bw_init(&docs, &b);
    bw_array_begin(&docs, "d");
    for (int i = 0; i < l->n; i++) {
        if (a.info) {
            bw_doc_begin(&docs, NULL);
            bw_doc(&docs, "spec", l->v[i]->spec);
            bw_doc_end(&docs);
        } else {
            bw_doc(&docs, NULL, l->v[i]->spec);
        }
    }
    bw_array_end(&docs);
    struct bdoc all = bw_finish(&docs);
    coll_indexes_unref(l);
    return cmd_list_cursor(r, w, ns.ns, bval_doc(bdoc_get(all, "d")), c.batch_size, e);
}
