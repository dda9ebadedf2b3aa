/* cmd_collections.c - create, drop, renameCollection (compatibility 17). Listing is in cmd_list.c. */
#include "cmd_create.h"
#include "cmd_view.h"

#include <math.h>

#include "query/collate.h"

static const struct arg create_table[] = {
    ARG(struct create_args, capped, "capped", ARG_SAFE_BOOL, 0),
    ARG(struct create_args, size, "size", ARG_ANY, 0),
    ARG(struct create_args, max, "max", ARG_ANY, 0),
    ARG(struct create_args, validator, "validator", ARG_DOC, 0),
    ARG(struct create_args, level, "validationLevel", ARG_STR, 0),
    ARG(struct create_args, action, "validationAction", ARG_STR, 0),
    ARG(struct create_args, view_on, "viewOn", ARG_ANY, 0),
    ARG(struct create_args, pipeline, "pipeline", ARG_ARRAY, 0),
    ARG(struct create_args, collation, "collation", ARG_ANY, 0),
    ARG(struct create_args, timeseries, "timeseries", ARG_DOC, 0),
    ARG(struct create_args, clustered, "clusteredIndex", ARG_ANY, 0),
    ARG(struct create_args, expire, "expireAfterSeconds", ARG_ANY, 0),
    ARG(struct create_args, id_index, "idIndex", ARG_DOC, 0),
    ARG(struct create_args, storage, "storageEngine", ARG_DOC, ARG_UNSTABLE),
    ARG(struct create_args, index_defaults, "indexOptionDefaults", ARG_DOC, ARG_UNSTABLE),
    ARG(struct create_args, images, "changeStreamPreAndPostImages", ARG_DOC, 0),
    ARG(struct create_args, encrypted, "encryptedFields", ARG_DOC, 0),
    ARG(struct create_args, auto_index_id, "autoIndexId", ARG_SAFE_BOOL, ARG_UNSTABLE),
    ARG_SKIP("flags"),
    ARG_SKIP("temp"),
};

static bool one_of(struct slice s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq_str(s, names[i]))
            return true;
    return false;
}

static RC check_enums(const struct create_args *a, struct err *e)
{
    static const char *const levels[] = { "off", "strict", "moderate" }, *const actions[] = {
        "error", "warn", "errorAndLog"
    };

    if (a->level.p && !one_of(a->level, levels, ARRAY_LEN(levels)))
        FAIL(e, ERR_BAD_VALUE,
             "Enumeration value '%.*s' for field 'create.validationLevel' is not a valid value.",
             (int)MIN(a->level.len, 64u), a->level.p);
    if (a->action.p && !one_of(a->action, actions, ARRAY_LEN(actions)))
        FAIL(e, ERR_BAD_VALUE,
             "Enumeration value '%.*s' for field 'create.validationAction' is not a valid value.",
             (int)MIN(a->action.len, 64u), a->action.p);
    return RC_OK;
}

static RC check_refused(const struct create_args *a, struct err *e)
{
    TRY(cmd_create_check_kind(a, e));
    if (!bval_is_missing(a->encrypted))
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "queryable encryption is not available in this release");
    return RC_OK;
}

/* *out: completed; empty for none and for the simple one. */
static RC complete_collation(struct cmd_req *r, struct bval v, struct bdoc *out, struct err *e)
{
    *out = BDOC_EMPTY;
    if (bval_is_nullish(v) || (v.type == BT_DOCUMENT && bdoc_is_empty(bval_doc(v))))
        return RC_OK;
    return collation_complete(r->arena, v, out, e);
}

/* The collation of _id is the collection's. */
static RC check_id_collation(struct cmd_req *r, struct bval id, struct bval own, struct err *e)
{
    struct bdoc a, b;

    TRY(complete_collation(r, id, &a, e));
    TRY(complete_collation(r, own, &b, e));
    if (!bval_eq(bval_of_doc(a, BT_DOCUMENT), bval_of_doc(b, BT_DOCUMENT)))
        FAIL(e, ERR_BAD_VALUE, "The _id index must have the same collation as the collection.");
    return RC_OK;
}

static RC check_id_version(struct bval v, struct err *e)
{
    int64_t n;

    if (!bval_is_number(v))
        return cmd_wrong_type("create.idIndex", "v", v, "number", e);
    if (!bval_to_i64(v, &n))
        FAIL(e, ERR_BAD_VALUE, "Index version must be representable as a 32-bit integer");
    if (n != 1 && n != 2)
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "Invalid index specification; unknown index version");
    return RC_OK;
}

bool cmd_is_id_pattern(struct bdoc key)
{
    struct bval one = bdoc_get(key, "_id");
    int64_t n;

    return bdoc_count(key) == 1 && bval_to_i64(one, &n) && n == 1;
}

/* The index of _id is always the same: what is given may only say so. */
static RC check_id_index(struct cmd_req *r, const struct create_args *a, struct err *e)
{
    struct biter it;

    if (a->id_index.type != BT_DOCUMENT)
        return RC_OK;
    if (!bval_is_missing(a->timeseries) || !bval_is_missing(a->clustered))
        FAIL(e, ERR_INVALID_OPTIONS, "'idIndex' is not allowed with this kind of collection");
    struct bdoc d = bval_doc(a->id_index);
    struct bval key = bdoc_get(d, "key"), name = bdoc_get(d, "name");
    if (bval_is_missing(key) || bval_is_missing(name))
        FAIL(e, ERR_FAILED_TO_PARSE, "The '%s' field is a required property of an index",
             bval_is_missing(key) ? "key" : "name");
    if (key.type != BT_DOCUMENT)
        return cmd_wrong_type("create.idIndex", "key", key, "object", e);
    if (name.type != BT_STRING)
        return cmd_wrong_type("create.idIndex", "name", name, "string", e);
    biter_init(&it, d);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "v"))
            TRY(check_id_version(it.val, e));
        else if (slice_eq_str(it.name, "collation"))
            TRY(check_id_collation(r, it.val, a->collation, e));
        else if (!slice_eq_str(it.name, "key") && !slice_eq_str(it.name, "name") &&
                 !slice_eq_str(it.name, "ns"))
            FAIL(e, ERR_INVALID_INDEX_SPECIFICATION_OPTION,
                 "The field '%.*s' is not valid for an _id index specification.",
                 (int)MIN(it.name.len, 100u), it.name.p);
    }
    if (!cmd_is_id_pattern(bval_doc(key)))
        FAIL(e, ERR_BAD_VALUE, "The field 'key' for an _id index must be {_id: 1}");
    if (bval_str(name).len == 0)
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "The index name cannot be empty");
    return RC_OK;
}

RC cmd_check_validator(struct cmd_req *r, const struct cmd_ns *ns, struct bdoc v, struct err *e)
{
    struct qctx q;
    struct match *m;

    if (slice_eq_str(ns->db, "admin") || slice_eq_str(ns->db, "local") ||
        slice_eq_str(ns->db, "config"))
        FAIL(e, ERR_INVALID_OPTIONS,
             "document validators are not allowed on collections in the %.*s database",
             (int)ns->db.len, ns->db.p);
    if (slice_has_prefix(ns->coll, SLICE_LIT("system.")))
        FAIL(e, ERR_INVALID_OPTIONS,
             "document validators are not allowed on system collection %.*s",
             (int)MIN(ns->coll.len, 64u), ns->coll.p);
    cmd_qctx(r, r->arena, r->scratch, &q);
    TRY(match_parse(&q, v, 0, &m, e));
    if (m->near)
        FAIL(e, ERR_LOC(5626500), "$near is not allowed in a validator");
    return RC_OK;
}

struct images_args {
    bool enabled;
};

static RC check_images(const struct create_args *a, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct images_args, enabled, "enabled", ARG_BOOL, ARG_REQUIRED),
    };
    struct images_args i = { 0 };

    if (a->images.type != BT_DOCUMENT)
        return RC_OK;
    TRY(cmd_fields(bval_doc(a->images), "create.changeStreamPreAndPostImages", table,
                   ARRAY_LEN(table), &i, e));
    if (i.enabled && a->view_on.type == BT_STRING)
        FAIL(e, ERR_INVALID_OPTIONS, "a view has no changeStreamPreAndPostImages");
    return RC_OK;
}

static RC check_capped(const struct create_args *a, int64_t *size, int64_t *max, struct err *e)
{
    *size = *max = 0;
    if (!bval_is_missing(a->size) && a->size.type != BT_NULL && !bval_is_number(a->size))
        return cmd_wrong_type("create", "size", a->size, "number", e);
    if (!bval_is_missing(a->max) && a->max.type != BT_NULL && !bval_is_number(a->max))
        return cmd_wrong_type("create", "max", a->max, "number", e);
    bool has_size = bval_is_number(a->size);
    if (a->capped && !has_size)
        FAIL(e, ERR_INVALID_OPTIONS, "the 'size' field is required when 'capped' is true");
    if (!a->capped && (has_size || bval_is_number(a->max)))
        FAIL(
            e, ERR_INVALID_OPTIONS,
            "the 'capped' field needs to be true when either the 'size' or 'max' fields are present");
    if (!a->capped)
        return RC_OK;
    *size = cmd_i64(a->size);
    *max = bval_is_number(a->max) ? cmd_i64(a->max) : 0;
    if (*size < 1 || *size > (int64_t)1 << 50)
        FAIL(e, ERR_BAD_VALUE, "BSON field 'size' value must be >= 1, actual value '%lld'",
             (long long)*size);
    if (*max > INT32_MAX)
        FAIL(e, ERR_BAD_VALUE, "max in a capped collection has to be < 2^31 or not set");
    *size = (*size + 255) / 256 * 256;
    *max = MAX(*max, (int64_t)0);
    return RC_OK;
}

static RC check_view(struct cmd_req *r, const struct create_args *a, struct err *e)
{
    if (bval_is_missing(a->view_on)) {
        if (!bval_is_missing(a->pipeline))
            FAIL(e, ERR_INVALID_OPTIONS, "'pipeline' requires 'viewOn' to also be specified");
        return RC_OK;
    }
    if (a->view_on.type != BT_STRING)
        return cmd_wrong_type("create", "viewOn", a->view_on, "string", e);
    struct cmd_ns on;
    if (bval_str(a->view_on).len == 0)
        FAIL(e, ERR_BAD_VALUE, "'viewOn' cannot be empty");
    TRY(cmd_ns_of(r, a->view_on, &on, e));
    if (!bval_is_missing(a->validator) || !bval_is_missing(a->id_index) || a->level.p ||
        a->action.p)
        FAIL(e, ERR_INVALID_OPTIONS, "the option is not allowed on a view");
    struct qctx q;
    struct pipeline *p;
    cmd_qctx(r, r->arena, r->scratch, &q);
    struct agg_env *env = exec_env(r->node->catalog, &q, r->db, true, 0);
    TRY(pipeline_parse(&q, a->pipeline.type == BT_ARRAY ? bval_doc(a->pipeline) : BDOC_EMPTY,
                       PIPELINE_VIEW, env, &p, e));
    if (pipeline_writes(p))
        FAIL(e, ERR_OPTION_NOT_SUPPORTED_ON_VIEW,
             "the stages $out and $merge cannot be part of a view");
    return RC_OK;
}

static bool has_fields(struct bval v)
{
    return v.type == BT_DOCUMENT && !bdoc_is_empty(bval_doc(v));
}

bool cmd_images_enabled(struct bval v)
{
    return v.type == BT_DOCUMENT && bval_truthy(bdoc_get(bval_doc(v), "enabled"));
}

/* The options as listCollections shows them: those given that say more than nothing, numbers normalised. */
static struct bdoc options_of(struct cmd_req *r, const struct create_args *a, int64_t size,
                              int64_t max, struct bdoc collation)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    if (a->capped && a->view_on.type != BT_STRING) { /* ignored on a view */
        bw_bool(&w, "capped", true);
        bw_i64(&w, "size", size);
        if (max)
            bw_i64(&w, "max", max);
    }
    if (has_fields(a->storage))
        bw_val(&w, "storageEngine", a->storage);
    if (has_fields(a->index_defaults))
        bw_val(&w, "indexOptionDefaults", a->index_defaults);
    if (cmd_images_enabled(a->images))
        bw_val(&w, "changeStreamPreAndPostImages", a->images);
    if (!bval_is_missing(a->validator)) {
        bw_val(&w, "validator", a->validator);
        bw_str_slice(&w, "validationLevel", a->level.p ? a->level : SLICE_LIT("strict"));
        bw_str_slice(&w, "validationAction", a->action.p ? a->action : SLICE_LIT("error"));
    } else {
        if (a->level.p)
            bw_str_slice(&w, "validationLevel", a->level);
        if (a->action.p)
            bw_str_slice(&w, "validationAction", a->action);
    }
    if (a->view_on.type == BT_STRING) {
        bw_val(&w, "viewOn", a->view_on);
        if (a->pipeline.type == BT_ARRAY) {
            bw_val(&w, "pipeline", a->pipeline);
        } else {
            bw_array_begin(&w, "pipeline");
            bw_array_end(&w);
        }
    }
    if (!bdoc_is_empty(collation))
        bw_doc(&w, "collation", collation);
    return bw_done_arena(&w, r->arena);
}

static RC check_view_graph(struct cmd_req *r, const struct cmd_ns *ns, const struct create_args *a,
                           struct bdoc collation, struct err *e)
{
    const struct collator *own;

    TRY(cmd_view_check_cycle(r, ns, a->view_on, a->pipeline, e));
    TRY(collation_in(r->arena, collation, &own, e));
    return cmd_view_check_collation(r, own, a->view_on, a->pipeline, e);
}

RC cmd_coll_made(struct cmd_req *r, const struct cmd_ns *ns, struct catalog_coll **out,
                 struct err *e)
{
    *out = cmd_coll(r, ns);
    if (*out)
        return RC_OK;
    TRY(cmd_check_new_name(ns, e));
    return coll_open(r->node->catalog, slice_str(ns->ns), true, out, e);
}

RC cmd_check_new_name(const struct cmd_ns *ns, struct err *e)
{
    if (memchr(ns->coll.p, '$', ns->coll.len))
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid collection name: %.*s",
             (int)MIN(ns->coll.len, 100u), ns->coll.p);
    return RC_OK;
}

RC cmd__create(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct create_args a = { .auto_index_id = true };
    struct cmd_ns ns;
    struct bdoc collation;
    int64_t size, max;

    (void)w;
    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, create_table, ARRAY_LEN(create_table), &a, e));
    TRY(check_enums(&a, e));
    TRY(check_id_index(r, &a, e));
    TRY(check_refused(&a, e));
    TRY(check_images(&a, e));
    TRY(check_capped(&a, &size, &max, e));
    TRY(complete_collation(r, a.collation, &collation, e));
    TRY(check_view(r, &a, e));
    if (!bval_is_missing(a.view_on))
        TRY(check_view_graph(r, &ns, &a, collation, e));
    TRY(cmd_check_new_name(&ns, e));
    TRY(cmd_check_writable_ns(&ns, e));
    if (!a.auto_index_id)
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "collections without an _id index are not available");
    if (a.validator.type == BT_DOCUMENT)
        TRY(cmd_check_validator(r, &ns, bval_doc(a.validator), e));
    struct bdoc options = options_of(r, &a, size, max, collation);
    x = cmd_coll(r, &ns);
    if (x) {
        if (bval_eq(bval_of_doc(catalog_options(x, r->arena), BT_DOCUMENT),
                    bval_of_doc(options, BT_DOCUMENT)))
            return RC_OK;
        FAIL(e, ERR_NAMESPACE_EXISTS, "namespace %s already exists, but with different options",
             ns.ns);
    }
    return coll_create(r->node->catalog, slice_str(ns.ns), options, &x, e);
}

struct drop_args {
    struct bval uuid;
};

static const struct arg drop_table[] = {
    ARG(struct drop_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("encryptedFields"),
};

RC cmd__drop(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct drop_args a = { 0 };
    struct cmd_ns ns;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, drop_table, ARRAY_LEN(drop_table), &a, e));
    if (slice_eq_str(ns.coll, "system.profile") && cmd_profiler_writes(r->node, r->db))
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "turn off profiling before dropping system.profile collection");
    if (slice_has_prefix(ns.coll, SLICE_LIT("system.")) && !slice_eq_str(ns.coll, "system.js") &&
        !slice_eq_str(ns.coll, "system.views") && !slice_eq_str(ns.coll, "system.profile"))
        FAIL(e, ERR_ILLEGAL_OPERATION, "can't drop system collection %s", ns.ns);
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    x = cmd_coll(r, &ns);
    if (!x)
        return RC_OK;
    pthread_rwlock_rdlock(&x->lock);
    int n = x->n_indexes;
    pthread_rwlock_unlock(&x->lock);
    struct err why = { 0 };
    if (coll_drop(x, &why).failed) {
        if (why.code == ERR_NAMESPACE_NOT_FOUND)
            return RC_OK; /* somebody else was first */
        return err_take(e, &why);
    }
    if (!x->is_view)
        bw_i32(w, "nIndexesWas", n);
    bw_str(w, "ns", ns.ns);
    return RC_OK;
}

RC cmd__dropDatabase(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct catalog_list l;
    struct bval one = cmd_first(r);
    rc_t rc = RC_OK;

    if (one.type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'dropDatabase.dropDatabase' is missing but a required field");
    if (!bval_is_number(one))
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field 'dropDatabase.dropDatabase' is the wrong type '%s', expected type 'number'",
            btype_name(one.type));
    if (cmd_i64(one) != 1)
        FAIL(e, ERR_LOC(5255100), "BSON field 'dropDatabase' must be 1");
    TRY(cmd_no_args(r, e));
    if (slice_eq_str(r->db, "admin") || slice_eq_str(r->db, "local") ||
        slice_eq_str(r->db, "config"))
        FAIL(e, ERR_ILLEGAL_OPERATION, "Dropping the '%.*s' database is prohibited.",
             (int)r->db.len, r->db.p);
    catalog_list(r->node->catalog, r->db, &l);
    for (int i = 0; !rc.failed && i < l.n; i++) {
        struct err why = { 0 };
        if (!coll_drop(l.v[i].x, &why).failed || why.code == ERR_NAMESPACE_NOT_FOUND) {
            err_reset(&why);
            continue;
        }
        *e = why;
        rc = RC_FAILED;
    }
    if (!rc.failed && l.n)
        bw_str_slice(w, "dropped", r->db);
    catalog_list_free(&l);
    return rc;
}
