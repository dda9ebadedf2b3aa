/* cmd_capped.c - convertToCapped and cloneCollectionAsCapped.
 *
 * A capped collection is any collection whose options bound it, so converting one changes its options in place: first the bounds, which every
 * insert from then on keeps, then the indexes but _id go, as they do in MongoDB, then what is too much, oldest first, in small transactions.
 */
#include "cmd_write.h"

struct capped_args {
    struct bval size, to;
};

static const struct arg capped_table[] = {
    ARG(struct capped_args, size, "size", ARG_ANY, 0),
    ARG(struct capped_args, to, "toCollection", ARG_ANY, 0),
};

enum { TRIM_BATCH = 1000, NS_ROOM = 26 };

static RC size_of(struct bval v, int64_t *out, struct err *e)
{
    *out = bval_is_number(v) ? cmd_i64(v) : 0;
    if (*out < 1)
        FAIL(e, ERR_INVALID_OPTIONS, "Capped collection size must be greater than zero");
    if (*out > (int64_t)1 << 50)
        FAIL(e, ERR_BAD_VALUE, "Capped collection size cannot exceed 1 PB");
    *out = (*out + 255) / 256 * 256;
    return RC_OK;
}

/* The source's options, but for its own bounds. */
static struct bdoc capped_options(struct arena *a, struct catalog_coll *from, int64_t size)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;
    struct bw w;

    bw_init(&w, &b);
    bw_bool(&w, "capped", true);
    bw_i64(&w, "size", size);
    biter_init(&it, catalog_options(from, a));
    while (biter_next(&it))
        if (!slice_eq_str(it.name, "capped") && !slice_eq_str(it.name, "size") &&
            !slice_eq_str(it.name, "max"))
            bw_val_slice(&w, it.name, it.val);
    return bw_done_arena(&w, a);
}

static RC trim(struct cmd_req *r, struct catalog_coll *x, struct err *e)
{
    bool more = true;

    for (int attempt = 1; more;) {
        struct arena_mark m = arena_mark(r->scratch);
        struct coll_txn *w = NULL;
        struct err why = { 0 };
        TRY(cmd_check(r, e));
        rc_t rc = coll_begin(x, &w, &why);
        if (!rc.failed)
            rc = coll_trim(w, TRIM_BATCH, r->scratch, &more, &why);
        if (!rc.failed)
            rc = coll_commit(&w, more ? STORE_NOSYNC : STORE_SYNC, &why);
        coll_abort(&w);
        arena_rewind(r->scratch, m);
        if (rc.failed && why.code != ERR_WRITE_CONFLICT)
            return err_take(e, &why);
        if (rc.failed) { /* an insert was first with the same document */
            err_reset(&why);
            more = true;
            coll_backoff(attempt++);
        }
    }
    return RC_OK;
}

RC cmd__convertToCapped(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct capped_args a = { 0 };
    struct cmd_ns ns;
    int64_t size;
    int n_before;

    (void)w;
    TRY(cmd_ns_any(r, &ns, e));
    if (ns.db.len + ns.coll.len + NS_ROOM > CATALOG_NS_MAX)
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid namespace specified");
    TRY(cmd_args(r, capped_table, ARRAY_LEN(capped_table), &a, e));
    if (slice_has_prefix(ns.coll, SLICE_LIT("system.buckets.")))
        FAIL(e, ERR_ILLEGAL_OPERATION, "Cannot convert a time-series collection's buckets");
    if (slice_eq_str(ns.coll, "system.views"))
        FAIL(e, ERR_BAD_VALUE, "Cannot convert the views of a database");
    TRY(size_of(a.size, &size, e));
    x = cmd_coll(r, &ns);
    if (!x)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "source collection %s does not exist", ns.ns);
    TRY(cmd_not_view(x, e));
    TRY(coll_set_options(x, capped_options(r->arena, x, size), e));
    TRY(coll_drop_indexes(x, NULL, -1, &n_before, e));
    return trim(r, x, e);
}

/* ---- cloneCollectionAsCapped ---- */

static RC name_arg(struct cmd_req *r, const char *field, struct bval v, struct cmd_ns *out,
                   struct err *e)
{
    if (v.type != BT_STRING)
        return cmd_wrong_type(r->def->name, field, v, "string", e);
    struct slice s = bval_str(v);
    if (cmd_is_no_name(s) || memchr(s.p, '$', s.len))
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid collection name");
    *out = cmd_ns_join(r, r->db, s);
    return RC_OK;
}

static RC check_destination(const struct cmd_ns *to, struct err *e)
{
    static const char *const system[] = { "system.users", "system.views", "system.js",
                                          "system.profile" };

    if (slice_has_prefix(to->coll, SLICE_LIT("system.buckets.")))
        FAIL(e, ERR_ILLEGAL_OPERATION, "the buckets of a time series cannot be made by hand");
    if (to->db.len + 1 + to->coll.len > CATALOG_NS_MAX)
        FAIL(e, ERR_INVALID_NAMESPACE, "fully qualified namespace is too long");
    if (!slice_has_prefix(to->coll, SLICE_LIT("system.")))
        return RC_OK;
    for (size_t i = 0; i < ARRAY_LEN(system); i++)
        if (slice_eq_str(to->coll, system[i]))
            return RC_OK;
    FAIL(e, ERR_INVALID_NAMESPACE, "Invalid system namespace: %s", to->ns);
}

RC cmd__cloneCollectionAsCapped(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *src = NULL, *there = NULL, *dst = NULL;
    struct capped_args a = { 0 };
    struct cmd_ns from, to;
    int64_t size;

    (void)w;
    TRY(cmd_args(r, capped_table, ARRAY_LEN(capped_table), &a, e));
    TRY(name_arg(r, "cloneCollectionAsCapped", cmd_first(r), &from, e));
    TRY(name_arg(r, "toCollection", a.to, &to, e));
    TRY(size_of(a.size, &size, e));
    if (slice_has_prefix(from.coll, SLICE_LIT("system.buckets.")))
        FAIL(e, ERR_ILLEGAL_OPERATION, "Cannot copy a time-series collection's buckets");
    src = cmd_coll(r, &from);
    if (!src)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "source collection %s does not exist", from.ns);
    TRY(cmd_not_view(src, e));
    TRY(check_destination(&to, e));
    there = cmd_coll(r, &to);
    TRY(cmd_not_view(there, e));
    if (there)
        FAIL(e, ERR_NAMESPACE_EXISTS, "cloneCollectionAsCapped failed: destination %s exists",
             to.ns);
    struct bdoc options = capped_options(r->arena, src, size);
    struct cmd_ns tmp;
    TRY(cmd_temporary_new(r, CMD_TEMPORARY_COPY, to.db, options, &tmp, &dst, e));
    rc_t rc = cmd_copy_documents(r, src, dst, e);
    if (!rc.failed)
        rc = cmd_temporary_settle(r, dst, options, slice_str(to.ns), NULL, e);
    if (rc.failed)
        cmd_temporary_drop(dst);
    return rc;
}
