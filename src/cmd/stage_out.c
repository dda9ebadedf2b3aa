/* stage_out.c - $out: the pipeline's documents become the content of a collection.
 *
 * They are written to a collection of a name that nobody uses, with the options and indexes of the target; then it takes the target's place in one change
 * of the catalogue. Until then the target is as it was; on failure the new one is dropped. One that a crash leaves behind carries the option `temp` and
 * goes at the next start (node_open()).
 */
#include "cmd_stages.h"
#include "cmd_stmt.h"

struct out_args {
    struct slice db, coll;
    struct bval timeseries;
};

struct series_args {
    struct slice time, meta, granularity;
    int64_t max_span, rounding;
};

static RC check_series(struct bval v, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct series_args, time, "timeField", ARG_STR, ARG_REQUIRED),
        ARG(struct series_args, meta, "metaField", ARG_STR, 0),
        ARG(struct series_args, granularity, "granularity", ARG_STR, 0),
        ARG(struct series_args, max_span, "bucketMaxSpanSeconds", ARG_I64, ARG_POSITIVE),
        ARG(struct series_args, rounding, "bucketRoundingSeconds", ARG_I64, ARG_POSITIVE),
    };
    struct series_args a = { 0 };

    TRY(cmd_fields(bval_doc(v), "$out.timeseries", table, ARRAY_LEN(table), &a, e));
    if (a.granularity.p && !slice_eq_str(a.granularity, "seconds") &&
        !slice_eq_str(a.granularity, "minutes") && !slice_eq_str(a.granularity, "hours"))
        FAIL(
            e, ERR_BAD_VALUE,
            "Enumeration value '%.*s' for field '$out.timeseries.granularity' is not a valid value.",
            (int)MIN(a.granularity.len, 64u), a.granularity.p);
    if (a.max_span != a.rounding)
        FAIL(e, ERR_INVALID_OPTIONS,
             "bucketMaxSpanSeconds and bucketRoundingSeconds must be given together and be equal");
    return RC_OK;
}

static RC check_names(struct cmd_stages *s, const struct out_args *a, struct err *e)
{
    static const char *const restricted[] = { "admin", "config", "local" };

    if (a->coll.len == 0)
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid $out target namespace, %.*s.",
             (int)MIN(a->db.len, 64u), a->db.p);
    if (slice_has_prefix(a->coll, SLICE_LIT("system.")))
        FAIL(e, ERR_LOC(17385), "Can't $out to special collection: %.*s",
             (int)MIN(a->coll.len, 100u), a->coll.p);
    if (a->coll.p[0] == '$' || a->db.len + 1 + a->coll.len > CATALOG_NS_MAX)
        FAIL(e, ERR_ILLEGAL_OPERATION, "the target of $out is not a name for a collection");
    TRY(catalog_db_check(a->db, e));
    TRY(catalog_ns_check(a->db, a->coll, e));
    for (size_t i = 0; i < ARRAY_LEN(restricted); i++)
        if (slice_eq_str(a->db, restricted[i]))
            FAIL(e, ERR_LOC(31321), "Can't $out to internal database: %s", restricted[i]);
    (void)s;
    return RC_OK;
}

static RC parse(struct cmd_stages *s, struct bval spec, struct out_args *a, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct out_args, db, "db", ARG_STR, ARG_REQUIRED),
        ARG(struct out_args, coll, "coll", ARG_STR, ARG_REQUIRED),
        ARG(struct out_args, timeseries, "timeseries", ARG_DOC, 0),
    };

    *a = (struct out_args){ .db = s->r->db };
    if (spec.type == BT_STRING) {
        a->coll = bval_str(spec);
        return check_names(s, a, e);
    }
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(16990), "$out only supports a string or object argument, but found %s",
             btype_name(spec.type));
    TRY(cmd_fields(bval_doc(spec), "$out", table, ARRAY_LEN(table), a, e));
    if (!bval_is_missing(a->timeseries))
        TRY(check_series(a->timeseries, e));
    return check_names(s, a, e);
}

RC cmd_stage_check_out(struct cmd_stages *s, struct qctx *q, struct bval spec, struct err *e)
{
    struct out_args a;

    (void)q;
    return parse(s, spec, &a, e);
}

static RC check_target(struct catalog_coll *target, const struct out_args *a, const char *ns,
                       struct err *e)
{
    if (!bval_is_missing(a->timeseries)) {
        if (target)
            FAIL(e, ERR_LOC(7268700),
                 "cannot $out with time-series options to a collection that is no time series");
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED,
             "time-series collections are not available in this release");
    }
    if (!target)
        return RC_OK;
    TRY(cmd_not_view(target, e));
    if (catalog_is_capped(target))
        FAIL(e, ERR_LOC(17152), "namespace '%s' is capped so it can't be used for $out", ns);
    return RC_OK;
}

static struct bdoc options_of(struct arena *a, struct catalog_coll *target)
{
    return target ? catalog_options(target, a) : BDOC_EMPTY;
}

static RC write_all(struct cmd_stages *s, struct qctx *q, const struct cmd_ns *ns,
                    struct catalog_coll *coll, struct doc_source *in, struct err *e)
{
    AUTO(arena_freep) struct arena *work = arena_new(0);
    struct cmd_req own = *s->r;
    struct inserter x = {
        .r = &own, .ns = ns, .bypass = s->bypass, .coll = catalog_coll_ref(coll)
    };
    rc_t rc = RC_OK;

    own.arena = work;
    while (!rc.failed) {
        struct bdoc doc, stored;
        bool valid = false;

        arena_reset(q->scratch);
        rc = in->next(in, &doc, &valid, e);
        if (rc.failed || !valid)
            break;
        arena_reset(work);
        rc = cmd_prepare_insert(work, doc, &stored, e);
        if (!rc.failed)
            rc = cmd_inserter_add(&x, stored, e);
        if (!rc.failed && cmd_inserter_full(&x))
            rc = cmd_inserter_commit(&x, STORE_NOSYNC, e);
    }
    if (!rc.failed && x.w)
        rc = cmd_inserter_commit(&x, STORE_NOSYNC, e);
    cmd_inserter_fini(&x);
    return rc;
}

static RC replace(struct cmd_stages *s, struct qctx *q, const struct out_args *a,
                  struct doc_source *in, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *made = NULL, *target = NULL;
    struct cmd_ns ns = { .db = a->db, .coll = a->coll }, tmp;

    ns.ns =
        arena_printf(q->arena, "%.*s.%.*s", (int)a->db.len, a->db.p, (int)a->coll.len, a->coll.p);
    target = cmd_coll(s->r, &ns);
    TRY(check_target(target, a, ns.ns, e));
    struct cmd_req own = *s->r;
    own.arena = q->arena;
    TRY(cmd_temporary_new(&own, CMD_TEMPORARY_OUT, a->db, options_of(q->arena, target), &tmp, &made,
                          e));
    rc_t rc = target ? cmd_copy_indexes(target, made, e) : RC_OK;
    if (!rc.failed)
        rc = write_all(s, q, &tmp, made, in, e);
    if (!rc.failed)
        rc = cmd_temporary_settle(s->r, made, options_of(s->r->arena, target), slice_str(ns.ns),
                                  target, e);
    if (rc.failed)
        cmd_temporary_drop(made);
    return rc;
}

RC cmd_stage_open_out(struct cmd_stages *s, struct qctx *q, struct bval spec, struct doc_source *in,
                      struct doc_source **out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct out_args a;
    struct bw w;

    if (s->explain) {
        *out = in;
        return RC_OK;
    }
    rc_t rc = parse(s, spec, &a, e);
    if (!rc.failed)
        rc = replace(s, q, &a, in, e);
    doc_source_close(in);
    if (rc.failed)
        return rc;
    bw_init(&w, &b);
    bw_array_begin(&w, "d");
    bw_array_end(&w);
    *out = cmd_stage_docs(q, &w);
    return RC_OK;
}
