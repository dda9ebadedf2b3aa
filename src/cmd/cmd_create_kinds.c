/* cmd_create_kinds.c - what create asks of collections of other kinds, clustered by _id and of time series: checked whole, so that a client learns what is wrong with
 * its options before it learns that this release has no such collections. */
#include "cmd_create.h"

/* ---- expireAfterSeconds ---- */

static RC check_expire_type(const struct create_args *a, struct err *e)
{
    if (!bval_is_nullish(a->expire) && !bval_is_number(a->expire))
        return cmd_wrong_type("create", "expireAfterSeconds", a->expire, "number", e);
    return RC_OK;
}

static RC check_expire(const struct create_args *a, bool takes_it, struct err *e)
{
    if (bval_is_nullish(a->expire))
        return RC_OK;
    if (!takes_it)
        FAIL(
            e, ERR_INVALID_OPTIONS,
            "'expireAfterSeconds' is only supported on time-series collections or when the 'clusteredIndex' option is specified");
    int64_t s = cmd_i64(a->expire);
    if (s < 0)
        FAIL(e, ERR_INVALID_OPTIONS, "expireAfterSeconds cannot be less than 0");
    if (s > clock_real_ms() / 1000)
        FAIL(e, ERR_INVALID_OPTIONS,
             "expireAfterSeconds cannot be more than the seconds from 1970 until now");
    return RC_OK;
}

/* ---- clusteredIndex ---- */

struct clustered {
    struct bval key, name;
    int64_t v;
    bool unique;
};

static RC check_clustered_spec(struct bdoc spec, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct clustered, v, "v", ARG_I64, 0),
        ARG(struct clustered, key, "key", ARG_DOC, ARG_REQUIRED),
        ARG(struct clustered, name, "name", ARG_ANY, 0),
        ARG(struct clustered, unique, "unique", ARG_SAFE_BOOL, ARG_REQUIRED),
    };
    struct clustered c = { .v = 2 };

    TRY(cmd_fields(spec, "create.clusteredIndex", table, ARRAY_LEN(table), &c, e));
    if (!bval_is_nullish(c.name) && c.name.type != BT_STRING)
        return cmd_wrong_type("create.clusteredIndex", "name", c.name, "string", e);
    if (c.v != 2)
        FAIL(e, ERR_LOC(5979704), "invalid clusteredIndex version %lld: it must be 2",
             (long long)c.v);
    if (!cmd_is_id_pattern(bval_doc(c.key)))
        FAIL(e, ERR_INVALID_INDEX_SPECIFICATION_OPTION,
             "the clusteredIndex option is only supported for key: {_id: 1}");
    if (!c.unique)
        FAIL(e, ERR_LOC(5979700), "the clusteredIndex option requires unique: true");
    return RC_OK;
}

/* *clustered: whether the collection is to be. */
static RC check_clustered(const struct create_args *a, bool *clustered, struct err *e)
{
    struct bval v = a->clustered;

    *clustered = v.type == BT_DOCUMENT;
    if (bval_is_missing(v))
        return RC_OK;
    if (v.type != BT_DOCUMENT && v.type != BT_BOOL && !bval_is_number(v))
        return cmd_wrong_type("create", "clusteredIndex", v, "object", e);
    if (a->capped)
        FAIL(e, ERR_LOC(6049200), "a capped collection cannot have a clusteredIndex");
    if (!*clustered && !bval_truthy(v))
        return RC_OK;
    if (*clustered)
        TRY(check_clustered_spec(bval_doc(v), e));
    if (bval_is_number(a->max))
        FAIL(e, ERR_LOC(6049204), "'max' is for capped collections, which have no clusteredIndex");
    if (a->view_on.type == BT_STRING)
        FAIL(e, ERR_LOC(6026500), "a view cannot have a clusteredIndex");
    if (!bval_is_missing(a->timeseries))
        FAIL(e, ERR_INVALID_OPTIONS, "a time-series collection cannot have a clusteredIndex");
    if (!*clustered)
        FAIL(e, ERR_LOC(5979703),
             "the clusteredIndex option must be an object, like {key: {_id: 1}, unique: true}");
    return RC_OK;
}

/* ---- timeseries ---- */

enum { SPAN_MAX_S = 31536000 };

struct series {
    struct slice time, meta, granularity;
    int64_t span_s, rounding_s; /* 0: not given */
};

static RC check_series_field(const char *name, struct slice v, struct err *e)
{
    if (memchr(v.p, 0, v.len))
        FAIL(e, ERR_BAD_VALUE, "'%s' cannot contain a null byte", name);
    if (memchr(v.p, '.', v.len))
        FAIL(e, ERR_INVALID_OPTIONS, "'%s' cannot contain dots", name);
    return RC_OK;
}

static RC check_series_fields(const struct series *s, struct err *e)
{
    TRY(check_series_field("timeField", s->time, e));
    if (!s->meta.p)
        return RC_OK;
    TRY(check_series_field("metaField", s->meta, e));
    if (slice_eq_str(s->meta, "_id"))
        FAIL(e, ERR_INVALID_OPTIONS, "'metaField' cannot be \"_id\"");
    if (slice_eq(s->meta, s->time))
        FAIL(e, ERR_INVALID_OPTIONS, "'metaField' cannot be the same as 'timeField'");
    return RC_OK;
}

static RC check_span(const char *name, struct bval given, int64_t s, struct err *e)
{
    if (!bval_is_nullish(given) && (s < 1 || s > SPAN_MAX_S))
        FAIL(e, ERR_BAD_VALUE,
             "BSON field 'create.timeseries.%s' value must be within 1 and %d, not '%lld'", name,
             SPAN_MAX_S, (long long)s);
    return RC_OK;
}

static RC check_spans(struct bdoc d, const struct series *s, struct err *e)
{
    TRY(check_span("bucketMaxSpanSeconds", bdoc_get(d, "bucketMaxSpanSeconds"), s->span_s, e));
    TRY(check_span("bucketRoundingSeconds", bdoc_get(d, "bucketRoundingSeconds"), s->rounding_s,
                   e));
    if (s->granularity.p && s->rounding_s)
        FAIL(e, ERR_INVALID_OPTIONS, "'bucketRoundingSeconds' cannot be set with 'granularity'");
    if (!s->granularity.p && s->span_s != s->rounding_s)
        FAIL(
            e, ERR_INVALID_OPTIONS,
            "'bucketMaxSpanSeconds' and 'bucketRoundingSeconds' must be set together and be equal");
    return RC_OK;
}

static RC check_series(struct bdoc d, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct series, time, "timeField", ARG_STR, ARG_REQUIRED),
        ARG(struct series, meta, "metaField", ARG_STR, 0),
        ARG(struct series, granularity, "granularity", ARG_STR, 0),
        ARG(struct series, span_s, "bucketMaxSpanSeconds", ARG_I64, 0),
        ARG(struct series, rounding_s, "bucketRoundingSeconds", ARG_I64, 0),
    };
    struct series s = { 0 };

    TRY(cmd_fields(d, "create.timeseries", table, ARRAY_LEN(table), &s, e));
    if (s.granularity.p && !slice_eq_str(s.granularity, "seconds") &&
        !slice_eq_str(s.granularity, "minutes") && !slice_eq_str(s.granularity, "hours"))
        FAIL(
            e, ERR_BAD_VALUE,
            "Enumeration value '%.*s' for field 'create.timeseries.granularity' is not a valid value.",
            (int)MIN(s.granularity.len, 64u), s.granularity.p);
    TRY(check_series_fields(&s, e));
    return check_spans(d, &s, e);
}

static RC check_timeseries(const struct create_args *a, struct err *e)
{
    if (bval_is_missing(a->timeseries))
        return RC_OK;
    TRY(check_series(bval_doc(a->timeseries), e));
    const char *with = a->capped                        ? "capped"
                       : !bval_is_missing(a->validator) ? "validator"
                       : a->level.p                     ? "validationLevel"
                       : a->action.p                    ? "validationAction"
                       : a->view_on.type == BT_STRING   ? "viewOn"
                       : a->pipeline.type == BT_ARRAY   ? "pipeline"
                       : a->images.type == BT_DOCUMENT  ? "changeStreamPreAndPostImages"
                       : !bval_is_missing(a->encrypted) ? "encryptedFields"
                                                        : NULL;
    if (with)
        FAIL(e, ERR_INVALID_OPTIONS, "'%s' is not allowed with 'timeseries'", with);
    return RC_OK;
}

RC cmd_create_check_kind(const struct create_args *a, struct err *e)
{
    bool clustered;

    TRY(check_expire_type(a, e));
    TRY(check_clustered(a, &clustered, e));
    TRY(check_timeseries(a, e));
    bool series = !bval_is_missing(a->timeseries);
    TRY(check_expire(a, clustered || series, e));
    if (series)
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED,
             "time-series collections are not available in this release");
    if (clustered)
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED,
             "clustered collections are not available in this release");
    return RC_OK;
}
