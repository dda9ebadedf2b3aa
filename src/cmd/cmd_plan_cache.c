/* cmd_plan_cache.c - planCacheClear, and index filters: planCacheSetFilter, planCacheListFilters, planCacheClearFilters. Every query is planned anew, from its
 * bounds and the sizes of the indexes: there is no plan that could be stale, but there are filters on what a plan may use.
 */
#include "cmd_priv.h"

RC cmd__planCacheClear(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct cmd_ns ns;

    (void)w;
    TRY(cmd_ns(r, &ns, e));
    x = cmd_coll(r, &ns);
    return cmd_not_view(x, e);
}

/* The shape that a request names. */
struct named {
    struct qctx q;
    struct bdoc query, sort, projection, collation;
};

/* doc_field(): documents and arrays are documents here; absent: an empty one. */
static RC doc_field(struct cmd_req *r, const char *name, struct bdoc *out, struct err *e)
{
    struct bval v = bdoc_get(r->body, name);

    *out = BDOC_EMPTY;
    if (bval_is_missing(v))
        return RC_OK;
    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "optional field %s must be an object", name);
    *out = bval_doc(v);
    return RC_OK;
}

static RC read_collation(struct cmd_req *r, struct named *out, struct err *e)
{
    struct bval v = bdoc_get(r->body, "collation");

    out->collation = BDOC_EMPTY;
    if (bval_is_missing(v))
        return RC_OK;
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_BAD_VALUE, "optional field collation must be an object");
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_BAD_VALUE, "optional field collation cannot be an empty object");
    TRY(cmd_collate(&out->q, v, e));
    out->collation = collation_doc(out->q.collator);
    return RC_OK;
}

static RC read_shape(struct cmd_req *r, struct named *out, struct buf *shape, struct err *e)
{
    struct bval query = bdoc_get(r->body, "query");
    struct project *p = NULL;
    struct match *m;

    cmd_qctx(r, r->arena, r->scratch, &out->q);
    if (bval_is_missing(query))
        FAIL(e, ERR_BAD_VALUE, "required field query missing");
    if (query.type != BT_DOCUMENT && query.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "required field query must be an object");
    out->query = bval_doc(query);
    TRY(doc_field(r, "sort", &out->sort, e));
    TRY(doc_field(r, "projection", &out->projection, e));
    TRY(read_collation(r, out, e));
    TRY(match_parse(&out->q, out->query, 0, &m, e));
    if (!bdoc_is_empty(out->projection))
        TRY(project_parse(&out->q, PROJECT_FIND, out->projection, m, &p, e));
    if (!bdoc_is_empty(out->sort)) {
        struct sort_spec *s;
        TRY(sort_spec_parse(&out->q, out->sort, &s, e));
    }
    struct exec_spec spec = { .q = &out->q, .match = m, .sort = out->sort, .project = p };
    exec_shape(&spec, shape);
    return RC_OK;
}

static RC read_indexes(struct cmd_req *r, struct bdoc *out, struct err *e)
{
    struct bval v = bdoc_get(r->body, "indexes");
    struct biter it;

    if (bval_is_missing(v))
        FAIL(e, ERR_BAD_VALUE, "required field indexes missing");
    if (v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "required field indexes must be an array");
    *out = bval_doc(v);
    if (bdoc_is_empty(*out))
        FAIL(e, ERR_BAD_VALUE, "required field indexes must contain at least one index");
    biter_init(&it, *out);
    while (biter_next(&it)) {
        if (it.val.type != BT_DOCUMENT && it.val.type != BT_STRING)
            FAIL(e, ERR_BAD_VALUE, "each item in indexes must be an object or a string");
        if (it.val.type == BT_DOCUMENT && bdoc_is_empty(bval_doc(it.val)))
            FAIL(e, ERR_BAD_VALUE, "index specification cannot be empty");
    }
    return RC_OK;
}

static RC filtered_coll(struct cmd_req *r, struct catalog_coll **out, struct err *e)
{
    struct cmd_ns ns;

    *out = NULL;
    TRY(cmd_ns(r, &ns, e));
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = cmd_coll(r, &ns);
    TRY(cmd_not_view(x, e));
    *out = TAKE(x);
    return RC_OK;
}

RC cmd__planCacheSetFilter(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    AUTO(buf_fini) struct buf shape = BUF_INIT;
    struct bdoc indexes;
    struct named n = { 0 };

    (void)w;
    TRY(filtered_coll(r, &x, e));
    if (!x)
        FAIL(e, ERR_BAD_VALUE, "no such collection");
    TRY(read_indexes(r, &indexes, e));
    TRY(read_shape(r, &n, &shape, e));
    struct exec_filter f = { .query = n.query,
                             .sort = n.sort,
                             .projection = n.projection,
                             .collation = n.collation,
                             .indexes = indexes };
    return exec_filter_set(x, buf_view(&shape), &f, e);
}

RC cmd__planCacheListFilters(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;

    TRY(filtered_coll(r, &x, e));
    bw_array_begin(w, "filters");
    if (x)
        exec_filters_write(x, w);
    bw_array_end(w);
    return RC_OK;
}

RC cmd__planCacheClearFilters(struct cmd_req *r, struct bw *w, struct err *e)
{
    static const char *const rest[] = { "sort", "projection", "collation" };
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    AUTO(buf_fini) struct buf shape = BUF_INIT;
    struct named n = { 0 };

    (void)w;
    TRY(filtered_coll(r, &x, e));
    if (!x)
        return RC_OK;
    if (!bval_is_missing(bdoc_get(r->body, "query"))) {
        TRY(read_shape(r, &n, &shape, e));
        exec_filter_clear(x, buf_view(&shape));
        return RC_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(rest); i++)
        if (!bval_is_missing(bdoc_get(r->body, rest[i])))
            FAIL(e, ERR_BAD_VALUE, "sort, projection and collation go with a query");
    exec_filter_clear(x, SLICE_EMPTY);
    return RC_OK;
}
