/* cmd_generic.c - the arguments that every command takes: comment, maxTimeMS, concerns, session, Stable API, and what drivers add with a dollar. */
#include "cmd_priv.h"

#include <math.h>

static const char *const generic_names[] = {
    "$db",
    "$readPreference",
    "$clusterTime",
    "$audit",
    "$client",
    "$configServerState",
    "$tenant",
    "$queryOptions",
    "$replData",
    "$oplogQueryData",
    "comment",
    "maxTimeMS",
    "readConcern",
    "writeConcern",
    "lsid",
    "txnNumber",
    "startTransaction",
    "autocommit",
    "apiVersion",
    "apiStrict",
    "apiDeprecationErrors",
    "maxTimeMSOpOnly",
    "databaseVersion",
    "shardVersion",
    "rawData",
    "mayBypassWriteBlocking",
    "usesDefaultMaxTimeMS",
};

bool cmd_is_generic(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(generic_names); i++)
        if (slice_eq_str(name, generic_names[i]))
            return true;
    return false;
}

struct generic {
    struct bval max_time, read_concern, write_concern, lsid, txn_number, start_transaction,
        autocommit;
    struct bval api_version, api_strict, api_deprecation, read_preference;
};

/* Of a read that sets no limit itself. */
static void default_max_time(struct cmd_req *r)
{
    int64_t ms = r->node ? atomic_load(&r->node->p.default_max_time_ms) : 0;

    if (ms > 0 && (r->def->flags & CMD_READ_CONCERN) && !cmd_writes(r->def, r->body))
        r->deadline_us = r->start_us + (uint64_t)MIN(ms, (int64_t)INT32_MAX) * 1000;
}

static RC parse_max_time(struct cmd_req *r, struct bval v, struct err *e)
{
    double d;

    if (bval_is_missing(v) || v.type == BT_NULL) {
        default_max_time(r);
        return RC_OK;
    }
    if (!bval_is_number(v))
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field '%s.maxTimeMS' is the wrong type '%s', expected types '[long, int, decimal, double]'",
            r->def->name, btype_name(v.type));
    d = bval_to_double(v);
    int64_t n;
    if (isnan(d) || isinf(d) || !bval_to_i64(v, &n)) {
        if (v.type == BT_DECIMAL128 && !isnan(d) && !isinf(d) && d == trunc(d))
            FAIL(e, ERR_BAD_VALUE, "maxTimeMS is out of range");
        FAIL(e, ERR_FAILED_TO_PARSE, "maxTimeMS has non-integral value");
    }
    if (n < 0 || n > INT32_MAX)
        FAIL(e, ERR_BAD_VALUE, "%lld value for maxTimeMS is out of range", (long long)n);
    r->g.has_max_time = n > 0;
    if (n > 0)
        r->deadline_us = r->start_us + (uint64_t)n * 1000;
    return RC_OK;
}

struct read_concern {
    struct slice level, provenance;
    struct bval after_cluster_time, at_cluster_time, after_op_time;
};

static RC check_provenance(struct slice v, struct err *e)
{
    static const char *const names[] = { "clientSupplied", "implicitDefault", "customDefault",
                                         "getLastErrorDefaults" };

    for (size_t i = 0; v.p && i < ARRAY_LEN(names); i++)
        if (slice_eq_str(v, names[i]))
            return RC_OK;
    if (v.p)
        FAIL(e, ERR_BAD_VALUE,
             "Enumeration value '%.*s' for field 'readConcern.provenance' is not a valid value.",
             (int)MIN(v.len, 64u), v.p);
    return RC_OK;
}

static RC parse_read_concern(struct cmd_req *r, struct bval v, struct err *e)
{
    static const struct arg args[] = {
        ARG(struct read_concern, level, "level", ARG_STR, 0),
        ARG(struct read_concern, after_cluster_time, "afterClusterTime", ARG_ANY, 0),
        ARG(struct read_concern, at_cluster_time, "atClusterTime", ARG_TIMESTAMP, 0),
        ARG(struct read_concern, provenance, "provenance", ARG_STR, 0),
        ARG(struct read_concern, after_op_time, "afterOpTime", ARG_DOC, 0),
    };
    static const char *const levels[] = { "local", "available", "majority", "linearizable",
                                          "snapshot" };
    struct read_concern c = { 0 };
    size_t i = 0;

    if (bval_is_missing(v) || v.type == BT_NULL)
        return RC_OK;
    if (v.type != BT_DOCUMENT)
        return cmd_wrong_type(r->def->name, "readConcern", v, "object", e);
    TRY(cmd_fields(bval_doc(v), "readConcern", args, ARRAY_LEN(args), &c, e));
    TRY(check_provenance(c.provenance, e));
    if (!bval_is_missing(c.after_cluster_time) && c.after_cluster_time.type != BT_TIMESTAMP)
        return cmd_wrong_type("readConcern", "afterClusterTime", c.after_cluster_time, "timestamp",
                              e);
    if (c.level.p)
        for (; i < ARRAY_LEN(levels) && !slice_eq_str(c.level, levels[i]); i++)
            ;
    if (i == ARRAY_LEN(levels))
        FAIL(e, ERR_BAD_VALUE,
             "Enumeration value '%.*s' for field 'readConcern.level' is not a valid value.",
             (int)MIN(c.level.len, 64u), c.level.p);
    if (!(r->def->flags & CMD_READ_CONCERN) && i != 0)
        FAIL(e, ERR_INVALID_OPTIONS,
             "Command %s does not support { readConcern: { level: \"%s\" } }", r->def->name,
             levels[i]);
    if (!bval_is_missing(c.at_cluster_time) && i != 4)
        FAIL(e, ERR_INVALID_OPTIONS,
             "readConcern atClusterTime is only allowed with level 'snapshot'");
    if (i == 3 || i == 4)
        FAIL(e, ERR_NOT_A_REPLICA_SET,
             "node needs to be a replica set member to use readConcern: %s", levels[i]);
    if (!bval_is_missing(c.after_cluster_time) && bval_timestamp(c.after_cluster_time) != 0)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "Cannot specify afterClusterTime: the node is not a member of a replica set");
    return RC_OK;
}

struct write_concern {
    struct bval w, j, fsync, provenance, wtimeout;
};

static RC check_tags(struct bdoc tags, struct err *e)
{
    struct biter it;

    if (bdoc_is_empty(tags))
        FAIL(e, ERR_FAILED_TO_PARSE, "tagged write concern requires tags");
    biter_init(&it, tags);
    while (biter_next(&it))
        if (!bval_is_number(it.val))
            FAIL(e, ERR_FAILED_TO_PARSE,
                 "tags must be a single level document with only number values");
    return RC_OK;
}

static RC parse_w(struct cmd_req *r, struct bval w, struct err *e)
{
    if (bval_is_number(w)) {
        double d = bval_to_double(w);
        int64_t n = cmd_i64(w);
        if (isnan(d) || n < 0 || n > 50)
            FAIL(e, ERR_FAILED_TO_PARSE,
                 "w has to be a non-negative number and not greater than 50; found: %lld",
                 (long long)n);
        if (n > 1)
            FAIL(e, ERR_BAD_VALUE, "cannot use 'w' > 1 when a host is not replicated");
        r->w0 = n == 0;
        return RC_OK;
    }
    if (w.type == BT_STRING && slice_eq_str(bval_str(w), "majority"))
        return RC_OK;
    if (w.type == BT_STRING || w.type == BT_NULL) /* null: an empty mode */
        FAIL(e, ERR_BAD_VALUE,
             "cannot use non-majority 'w' mode when a host is not a member of a replica set");
    if (w.type == BT_DOCUMENT)
        return check_tags(bval_doc(w), e); /* one node has them all */
    FAIL(e, ERR_FAILED_TO_PARSE, "w has to be a number, string, or object; found: %s",
         btype_name(w.type));
}

static RC parse_write_concern(struct cmd_req *r, struct bval v, struct err *e)
{
    static const struct arg args[] = {
        ARG(struct write_concern, w, "w", ARG_ANY, 0),
        ARG(struct write_concern, j, "j", ARG_ANY, 0),
        ARG(struct write_concern, fsync, "fsync", ARG_ANY, 0),
        ARG(struct write_concern, wtimeout, "wtimeout", ARG_ANY, 0),
        ARG(struct write_concern, provenance, "provenance", ARG_ANY, 0),
        ARG_SKIP("getLastError"),
        ARG_SKIP("wElectionId"),
        ARG_SKIP("wOpTime"),
    };
    struct write_concern c = { 0 };

    if (bval_is_missing(v) || v.type == BT_NULL)
        return RC_OK;
    if (v.type != BT_DOCUMENT)
        return cmd_wrong_type(r->def->name, "writeConcern", v, "object", e);
    TRY(cmd_fields(bval_doc(v), "writeConcern", args, ARRAY_LEN(args), &c, e));
    if (!bval_is_nullish(c.j) && c.j.type != BT_BOOL && !bval_is_number(c.j))
        return cmd_wrong_type("writeConcern", "j", c.j, "bool", e);
    if (!bval_is_nullish(c.fsync) && c.fsync.type != BT_BOOL && !bval_is_number(c.fsync))
        return cmd_wrong_type("writeConcern", "fsync", c.fsync, "bool", e);
    if (!(r->def->flags & CMD_WRITE_CONCERN))
        FAIL(e, ERR_INVALID_OPTIONS, "Command does not support writeConcern");
    if (!bval_is_missing(c.w))
        TRY(parse_w(r, c.w, e));
    if (bval_is_number(c.wtimeout) && cmd_i64(c.wtimeout) > INT32_MAX)
        FAIL(e, ERR_FAILED_TO_PARSE, "wtimeout must be a 32-bit integer");
    bool journal = !bval_is_nullish(c.j) && bval_truthy(c.j);
    if (r->w0 && journal)
        r->w0 = false;
    r->g.no_journal = r->w0 || (!bval_is_nullish(c.j) && !journal &&
                                (bval_is_missing(c.w) || bval_is_number(c.w)));
    return RC_OK;
}

struct lsid {
    struct slice id;
};

static RC parse_session(struct cmd_req *r, const struct generic *g, struct err *e)
{
    static const struct arg args[] = {
        ARG(struct lsid, id, "id", ARG_UUID, ARG_REQUIRED),
        ARG_SKIP("uid"),
        ARG_SKIP("txnNumber"),
        ARG_SKIP("txnUUID"),
    };
    struct lsid l = { 0 };

    if (!bval_is_missing(g->lsid) && g->lsid.type != BT_NULL) {
        if (g->lsid.type != BT_DOCUMENT)
            return cmd_wrong_type(r->def->name, "lsid", g->lsid, "object", e);
        TRY(cmd_fields(bval_doc(g->lsid), "lsid", args, ARRAY_LEN(args), &l, e));
        r->g.has_lsid = true;
        memcpy(r->g.lsid, l.id.p, sizeof(r->g.lsid));
    }
    bool has_txn = !bval_is_missing(g->txn_number) && g->txn_number.type != BT_NULL;
    if (has_txn && g->txn_number.type != BT_INT64)
        return cmd_wrong_type(r->def->name, "txnNumber", g->txn_number, "long", e);
    if (!bval_is_missing(g->autocommit) && g->autocommit.type != BT_BOOL)
        return cmd_wrong_type(r->def->name, "autocommit", g->autocommit, "bool", e);
    if (!bval_is_missing(g->start_transaction) && g->start_transaction.type != BT_BOOL)
        return cmd_wrong_type(r->def->name, "startTransaction", g->start_transaction, "bool", e);
    if (has_txn && !r->g.has_lsid)
        FAIL(e, ERR_INVALID_OPTIONS,
             "Transaction number requires a session ID to also be specified");
    if (!has_txn && (!bval_is_missing(g->autocommit) || !bval_is_missing(g->start_transaction)))
        FAIL(e, ERR_INVALID_OPTIONS,
             "'autocommit' and 'startTransaction' require a transaction number");
    if (has_txn)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "Transaction numbers are only allowed on a replica set member or mongos");
    return RC_OK;
}

static RC parse_api(struct cmd_req *r, const struct generic *g, struct err *e)
{
    bool has_version = !bval_is_missing(g->api_version);

    if (has_version && g->api_version.type != BT_STRING)
        return cmd_wrong_type(r->def->name, "apiVersion", g->api_version, "string", e);
    if (!bval_is_missing(g->api_strict) && g->api_strict.type != BT_BOOL)
        return cmd_wrong_type(r->def->name, "apiStrict", g->api_strict, "bool", e);
    if (!bval_is_missing(g->api_deprecation) && g->api_deprecation.type != BT_BOOL)
        return cmd_wrong_type(r->def->name, "apiDeprecationErrors", g->api_deprecation, "bool", e);
    if (!has_version) {
        if (!bval_is_missing(g->api_strict) || !bval_is_missing(g->api_deprecation))
            FAIL(e, ERR_LOC(4886600),
                 "Provided apiStrict and/or apiDeprecationErrors without passing apiVersion");
        return RC_OK;
    }
    if (!slice_eq_str(bval_str(g->api_version), "1"))
        FAIL(e, ERR_API_VERSION_ERROR, "API version must be \"1\"");
    r->g.api_strict = !bval_is_missing(g->api_strict) && bval_bool(g->api_strict);
    if (r->g.api_strict && !(r->def->flags & CMD_API_V1))
        FAIL(e, ERR_API_STRICT_ERROR,
             "Provided apiStrict:true, but the command %s is not in API Version 1", r->def->name);
    return RC_OK;
}

static struct bval *slot(struct generic *g, struct slice name)
{
    const struct {
        const char *name;
        struct bval *at;
    } slots[] = {
        { "maxTimeMS", &g->max_time },
        { "readConcern", &g->read_concern },
        { "writeConcern", &g->write_concern },
        { "lsid", &g->lsid },
        { "txnNumber", &g->txn_number },
        { "startTransaction", &g->start_transaction },
        { "autocommit", &g->autocommit },
        { "apiVersion", &g->api_version },
        { "apiStrict", &g->api_strict },
        { "apiDeprecationErrors", &g->api_deprecation },
        { "$readPreference", &g->read_preference },
    };

    for (size_t i = 0; i < ARRAY_LEN(slots); i++)
        if (slice_eq_str(name, slots[i].name))
            return slots[i].at;
    return NULL;
}

RC cmd_parse_generic(struct cmd_req *r, struct err *e)
{
    struct generic g = { 0 };
    struct biter it;
    bool first = true;

    r->g = (struct cmd_generic){ 0 };
    biter_init(&it, r->body);
    while (biter_next(&it)) {
        if (first) {
            first = false;
            continue;
        }
        struct bval *at = slice_eq_str(it.name, "comment") ? &r->g.comment : slot(&g, it.name);
        if (!at)
            continue;
        if (!bval_is_missing(*at))
            FAIL(e, ERR_IDL_DUPLICATE_FIELD, "BSON field '%s.%.*s' is a duplicate field",
                 r->def->name, (int)it.name.len, it.name.p);
        *at = it.val;
    }
    if (!bval_is_missing(g.read_preference) && g.read_preference.type != BT_DOCUMENT)
        return cmd_wrong_type(r->def->name, "$readPreference", g.read_preference, "object", e);
    TRY(parse_api(r, &g, e));
    TRY(parse_session(r, &g, e));
    TRY(parse_max_time(r, g.max_time, e));
    TRY(parse_read_concern(r, g.read_concern, e));
    return parse_write_concern(r, g.write_concern, e);
}
