/* cmd_stats.c - collStats, dbStats, dataSize-like figures, validate. */
#include "cmd_stages.h"

#include <inttypes.h>

struct scale_args {
    struct bval scale;
    bool free_storage;
};

static const struct arg coll_stats_table[] = {
    ARG(struct scale_args, scale, "scale", ARG_ANY, 0),
    ARG_SKIP("verbose"),
    ARG_SKIP("waitForLock"),
    ARG_SKIP("numericOnly"),
};

static const struct arg db_stats_table[] = {
    ARG(struct scale_args, scale, "scale", ARG_ANY, 0),
    ARG(struct scale_args, free_storage, "freeStorage", ARG_SAFE_BOOL, 0),
};

static RC scale_of(const char *cmd, struct bval v, int64_t *out, struct err *e)
{
    *out = 1;
    if (bval_is_missing(v) || v.type == BT_NULL)
        return RC_OK;
    if (!bval_is_number(v))
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field '%s.scale' is the wrong type '%s', expected types '[long, int, decimal, double]'",
            cmd, btype_name(v.type));
    *out = cmd_i64(v);
    if (*out < 1)
        FAIL(e, ERR_BAD_VALUE, "BSON field 'scale' value must be >= 1, actual value '%" PRId64 "'",
             *out);
    return RC_OK;
}

/* Small numbers are int32, as MongoDB shows them. */
static void put_n(struct bw *w, const char *name, int64_t v)
{
    if (v >= INT32_MIN && v <= INT32_MAX)
        bw_i32(w, name, (int32_t)v);
    else
        bw_i64(w, name, v);
}

static RC put_index_sizes(struct catalog_coll *x, struct bw *w, int64_t scale, struct err *e)
{
    struct coll_indexes *l;
    uint8_t lower[8], upper[8];
    uint64_t bytes;

    TRY(coll_ref_indexes(x, &l, e));
    bw_doc_begin(w, "indexSizes");
    for (int i = 0; i < l->n; i++) {
        put_be64(lower, l->v[i]->ident);
        put_be64(upper, l->v[i]->ident + 1);
        store_range_size(catalog_store(x->cat), STORE_INDEXES, SLICE(lower, 8), SLICE(upper, 8),
                         &bytes);
        put_n(w, l->v[i]->name, (int64_t)bytes / scale);
    }
    bw_doc_end(w);
    coll_indexes_unref(l);
    return RC_OK;
}

static void put_capped(struct catalog_coll *x, int64_t scale, struct bw *w)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bdoc o = catalog_options(x, a);
    struct bval capped = bdoc_get(o, "capped"), max = bdoc_get(o, "max"),
                size = bdoc_get(o, "size");
    bool is = !bval_is_missing(capped) && bval_truthy(capped);

    bw_bool(w, "capped", is);
    if (!is)
        return;
    put_n(w, "max", bval_is_number(max) ? cmd_i64(max) : 0);
    put_n(w, "maxSize", bval_is_number(size) ? cmd_i64(size) / scale : 0);
}

RC cmd_put_coll_stats(struct catalog_coll *x, int64_t scale, struct bw *w, struct err *e)
{
    struct coll_info i = { 0 };

    if (x)
        TRY(coll_info(x, &i, e));
    put_n(w, "size", i.n_bytes / scale);
    put_n(w, "count", i.n_docs);
    if (i.n_docs)
        put_n(w, "avgObjSize", i.n_bytes / i.n_docs);
    put_n(w, "numOrphanDocs", 0);
    put_n(w, "storageSize", (int64_t)i.disk_bytes / scale);
    put_n(w, "totalIndexSize", (int64_t)i.index_bytes / scale);
    put_n(w, "freeStorageSize", 0);
    put_n(w, "totalSize", (int64_t)(i.disk_bytes + i.index_bytes) / scale);
    put_n(w, "nindexes", i.n_indexes);
    bw_array_begin(w, "indexBuilds");
    bw_array_end(w);
    if (x) {
        TRY(put_index_sizes(x, w, scale, e));
        put_capped(x, scale, w);
    } else {
        bw_doc_begin(w, "indexSizes");
        bw_doc_end(w);
    }
    put_n(w, "scaleFactor", scale);
    return RC_OK;
}

RC cmd__collStats(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct scale_args a = { 0 };
    struct cmd_ns ns;
    int64_t scale;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, coll_stats_table, ARRAY_LEN(coll_stats_table), &a, e));
    TRY(scale_of("collStats", a.scale, &scale, e));
    x = cmd_coll(r, &ns);
    TRY(cmd_not_view(x, e));
    bw_str(w, "ns", ns.ns);
    return cmd_put_coll_stats(x, scale, w, e);
}

RC cmd__dbStats(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct scale_args a = { 0 };
    struct coll_info sum = { 0 };
    struct catalog_list l;
    struct store_stats st;
    int64_t scale, n_colls = 0, n_views = 0;
    struct bval one = cmd_first(r);
    rc_t rc = RC_OK;

    if (!bval_is_number(one) && one.type != BT_BOOL && one.type != BT_STRING &&
        one.type != BT_DOCUMENT && one.type != BT_NULL)
        FAIL(e, ERR_TYPE_MISMATCH, "BSON field 'dbStats.dbStats' is the wrong type '%s'",
             btype_name(one.type));
    TRY(cmd_args(r, db_stats_table, ARRAY_LEN(db_stats_table), &a, e));
    TRY(scale_of("dbStats", a.scale, &scale, e));
    catalog_list(r->node->catalog, r->db, &l);
    for (int i = 0; !rc.failed && i < l.n; i++) {
        struct coll_info info;
        struct err why = { 0 };
        if (l.v[i].x->is_view) {
            n_views++;
            continue;
        }
        if (coll_info(l.v[i].x, &info, &why).failed) {
            if (why.code != ERR_NAMESPACE_NOT_FOUND) {
                *e = why;
                rc = RC_FAILED;
            }
            continue;
        }
        n_colls++;
        sum.n_docs += info.n_docs;
        sum.n_bytes += info.n_bytes;
        sum.disk_bytes += info.disk_bytes;
        sum.index_bytes += info.index_bytes;
        sum.n_indexes += info.n_indexes;
    }
    catalog_list_free(&l);
    TRY(rc);
    store_stats(r->node->store, &st);
    bw_str_slice(w, "db", r->db);
    bw_i64(w, "collections", n_colls);
    bw_i64(w, "views", n_views);
    bw_i64(w, "objects", sum.n_docs);
    bw_double(w, "avgObjSize", sum.n_docs ? (double)sum.n_bytes / (double)sum.n_docs : 0);
    bw_double(w, "dataSize", (double)sum.n_bytes / (double)scale);
    bw_double(w, "storageSize", (double)sum.disk_bytes / (double)scale);
    if (a.free_storage)
        bw_double(w, "freeStorageSize", 0);
    bw_i64(w, "indexes", sum.n_indexes);
    bw_double(w, "indexSize", (double)sum.index_bytes / (double)scale);
    bw_double(w, "totalSize", (double)(sum.disk_bytes + sum.index_bytes) / (double)scale);
    bw_i64(w, "scaleFactor", scale);
    bw_double(w, "fsUsedSize", (double)st.data_bytes / (double)scale);
    bw_double(w, "fsTotalSize", (double)(st.data_bytes + st.free_bytes) / (double)scale);
    return RC_OK;
}

struct validate_args {
    struct bval full, repair, metadata, check_bson, background, fix_multikey, enforce;
};

static const struct arg validate_table[] = {
    /* of older clients, PyMongo among them: what it asked for is always done */
    ARG_SKIP("scandata"),
    ARG(struct validate_args, full, "full", ARG_ANY, 0),
    ARG(struct validate_args, repair, "repair", ARG_ANY, 0),
    ARG(struct validate_args, metadata, "metadata", ARG_ANY, 0),
    ARG(struct validate_args, check_bson, "checkBSONConformance", ARG_ANY, 0),
    ARG(struct validate_args, background, "background", ARG_ANY, 0),
    ARG(struct validate_args, fix_multikey, "fixMultikey", ARG_ANY, 0),
    ARG(struct validate_args, enforce, "enforceFastCount", ARG_ANY, 0),
    ARG_SKIP("enforceTimeseriesBucketsAreAlwaysCompressed"),
    ARG_SKIP("warnOnSchemaValidation"),
    ARG_SKIP("wiredtigerVerifyConfigurationOverride"),
    ARG_SKIP("collHash"),
    ARG_SKIP("hashPrefixes"),
    ARG_SKIP("unhashPrefixes"),
};

RC cmd__validate_auth(struct cmd_req *r, struct err *e)
{
    struct bval v = cmd_first(r);

    return identity_require(r->client->identity,
                            RES_COLL(r->db, v.type == BT_STRING ? bval_str(v) : SLICE_EMPTY),
                            ACT_VALIDATE, "validate", e);
}

static bool on(struct bval v)
{
    return !bval_is_missing(v) && bval_truthy(v);
}

static RC check_validate(const struct validate_args *a, struct err *e)
{
    if (on(a->background) && on(a->full))
        FAIL(
            e, ERR_INVALID_OPTIONS,
            "Running the validate command with { background: true, full: true } is not supported.");
    if (on(a->background) && on(a->repair))
        FAIL(
            e, ERR_INVALID_OPTIONS,
            "Running the validate command with { background: true, repair: true } is not supported.");
    if (on(a->background) && on(a->enforce))
        FAIL(
            e, ERR_INVALID_OPTIONS,
            "Running the validate command with both { enforceFastCount: true } and { background: true } is not supported.");
    if (on(a->metadata) &&
        (on(a->background) || on(a->full) || on(a->repair) || on(a->check_bson) || on(a->enforce)))
        FAIL(
            e, ERR_INVALID_OPTIONS,
            "Running the validate command with { metadata: true } and another option is not supported.");
    if (on(a->repair) || on(a->fix_multikey))
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED,
             "repair is not available: drop and create the index that validate names");
    if (on(a->background))
        FAIL(
            e, ERR_COMMAND_NOT_SUPPORTED,
            "Running validate in the background is not supported on this storage engine: it never blocks readers or writers");
    return RC_OK;
}

RC cmd__validate(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct validate_args a = { 0 };
    struct coll_validation v;
    struct cmd_ns ns;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, validate_table, ARRAY_LEN(validate_table), &a, e));
    TRY(check_validate(&a, e));
    x = cmd_coll(r, &ns);
    if (!x)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "Collection '%s' does not exist to validate.", ns.ns);
    TRY(cmd_not_view(x, e));
    TRY(coll_validate(x, r->arena, cmd_check, r, &v, e));
    bw_str(w, "ns", ns.ns);
    bw_bin(w, "uuid", 4, SLICE(x->uuid, CATALOG_UUID_LEN));
    put_n(w, "nInvalidDocuments", v.n_invalid_documents);
    put_n(w, "nNonCompliantDocuments", 0);
    put_n(w, "nrecords", v.n_records);
    put_n(w, "nIndexes", v.n_indexes);
    bw_doc_begin(w, "keysPerIndex");
    for (int i = 0; i < v.n_indexes; i++)
        put_n(w, v.index[i].name, v.index[i].n_keys);
    bw_doc_end(w);
    bw_doc_begin(w, "indexDetails");
    for (int i = 0; i < v.n_indexes; i++) {
        bw_doc_begin(w, v.index[i].name);
        bw_bool(w, "valid", v.index[i].valid);
        bw_doc_end(w);
    }
    bw_doc_end(w);
    bw_bool(w, "valid", v.valid);
    bw_bool(w, "repaired", false);
    bw_array_doc(w, "warnings", v.warnings);
    bw_array_doc(w, "errors", v.errors);
    bw_array_begin(w, "extraIndexEntries");
    bw_array_end(w);
    bw_array_begin(w, "missingIndexEntries");
    bw_array_end(w);
    bw_array_begin(w, "corruptRecords");
    bw_array_end(w);
    return RC_OK;
}
