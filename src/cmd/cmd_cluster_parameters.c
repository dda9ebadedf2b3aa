/* cmd_cluster_parameters.c - setClusterParameter and getClusterParameter (compatibility 20): parameters that are kept, each a document of its own.
 *
 * What is given is laid over what is kept; null takes a field back to its default. defaultMaxTimeMS bounds reads that set no maxTimeMS. The others speak of what a
 * standalone node does not have (change streams, migrations, encrypted fields): they are checked, kept and told to whoever asks.
 */
#include "base/log.h"
#include "kept.h"

#include "cmd_priv.h"

enum field_type {
    FIELD_BOOL,
    FIELD_SECONDS, /* a number above 0 */
    FIELD_MS,      /* a number from 0 */
    FIELD_IMAGES   /* {expireAfterSeconds: "off" or a number above 0} */
};

/* All have one field. */
static const struct cluster_parameter {
    const char *name, *field;
    enum field_type type;
    int64_t by_default;
} parameters[] = {
    { "changeStreamOptions", "preAndPostImages", FIELD_IMAGES, 0 },
    { "changeStreams", "expireAfterSeconds", FIELD_SECONDS, 3600 },
    { "defaultMaxTimeMS", "readOperations", FIELD_MS, 0 },
    { "fleDisableSubstringPreviewParameterLimits", "shouldOverride", FIELD_BOOL, 0 },
    { "pauseMigrationsDuringMultiUpdates", "enabled", FIELD_BOOL, 0 },
};

static RC find(struct slice name, const struct cluster_parameter **out, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
        if (slice_eq_str(name, parameters[i].name)) {
            *out = &parameters[i];
            return RC_OK;
        }
    FAIL(e, ERR_NO_SUCH_KEY, "Unknown server parameter: %.*s", (int)MIN(name.len, 100u), name.p);
}

/* ---- values ---- */

static RC check_seconds(const struct cluster_parameter *p, struct bval v, int64_t min,
                        struct err *e)
{
    if (!bval_is_number(v))
        return cmd_wrong_type(p->name, p->field, v, "long", e);
    if (cmd_i64(v) < min)
        FAIL(e, ERR_BAD_VALUE, "BSON field '%s.%s' value must be >= %lld, actual value '%lld'",
             p->name, p->field, (long long)min, (long long)cmd_i64(v));
    return RC_OK;
}

/* What is wrong with these is all one error to clients. */
static RC check_images(const struct cluster_parameter *p, struct bval v, struct err *e)
{
    struct biter it;

    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_BAD_VALUE, "%s.%s must be an object", p->name, p->field);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        if (!slice_eq_str(it.name, "expireAfterSeconds"))
            FAIL(e, ERR_BAD_VALUE, "%s.%s has an unknown field", p->name, p->field);
        bool off = it.val.type == BT_STRING && slice_eq_str(bval_str(it.val), "off");
        if (!off && (!bval_is_number(it.val) || cmd_i64(it.val) < 1))
            FAIL(e, ERR_BAD_VALUE,
                 "%s.%s.expireAfterSeconds must be 'off' or a number of seconds above 0", p->name,
                 p->field);
    }
    return RC_OK;
}

static RC check_field(const struct cluster_parameter *p, struct bval v, struct err *e)
{
    if (p->type == FIELD_IMAGES)
        return check_images(p, v, e);
    if (v.type == BT_NULL)
        return RC_OK;
    if (p->type == FIELD_SECONDS)
        return check_seconds(p, v, 1, e);
    if (p->type == FIELD_MS)
        return check_seconds(p, v, 0, e);
    return v.type == BT_BOOL ? RC_OK : cmd_wrong_type(p->name, p->field, v, "bool", e);
}

static RC check(const struct cluster_parameter *p, struct bval v, struct err *e)
{
    struct biter it;
    int n = 0;

    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_BAD_VALUE, "the value of cluster parameter %s must be an object", p->name);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        if (slice_has_prefix(it.name, SLICE_LIT("$")))
            FAIL(e, ERR_DOLLAR_PREFIXED_FIELD_NAME,
                 "The dollar ($) prefixed field '%.*s' in '%s' is not valid for storage.",
                 (int)MIN(it.name.len, 60u), it.name.p, p->name);
        if (!slice_eq_str(it.name, p->field)) {
            if (p->type == FIELD_IMAGES)
                FAIL(e, ERR_BAD_VALUE, "cluster parameter %s has no such field", p->name);
            FAIL(e, ERR_IDL_UNKNOWN_FIELD, "BSON field '%s.%.*s' is an unknown field.", p->name,
                 (int)MIN(it.name.len, 60u), it.name.p);
        }
        if (n++)
            FAIL(e, ERR_IDL_DUPLICATE_FIELD, "BSON field '%s.%s' is a duplicate field", p->name,
                 p->field);
        TRY(check_field(p, it.val, e));
    }
    if (!n && p->type == FIELD_IMAGES)
        FAIL(e, ERR_BAD_VALUE, "cluster parameter %s needs the field %s", p->name, p->field);
    return RC_OK;
}

static void put_images(struct bw *w, struct bval v)
{
    struct bval after =
        v.type == BT_DOCUMENT ? bdoc_get(bval_doc(v), "expireAfterSeconds") : (struct bval){ 0 };

    if (bval_is_number(after))
        bw_i64(w, "expireAfterSeconds", cmd_i64(after));
    else
        bw_str(w, "expireAfterSeconds", "off");
}

/* put_field(): as clients read it; what is missing or null has its default. */
static void put_field(const struct cluster_parameter *p, struct bval v, struct bw *w)
{
    switch (p->type) {
    case FIELD_BOOL:
        bw_bool(w, p->field, v.type == BT_BOOL ? bval_bool(v) : p->by_default != 0);
        break;
    case FIELD_SECONDS:
    case FIELD_MS: bw_i64(w, p->field, bval_is_number(v) ? cmd_i64(v) : p->by_default); break;
    case FIELD_IMAGES:
        bw_doc_begin(w, p->field);
        put_images(w, v);
        bw_doc_end(w);
        break;
    }
}

/* ---- what is kept ---- */

struct change {
    const struct cluster_parameter *p;
    struct bdoc given;
};

/* The time of a change: later than that of the one before, whatever the clock does. */
static uint64_t time_after(struct bval before)
{
    uint64_t now = (uint64_t)(clock_real_ms() / 1000) << 32 | 1,
             last = before.type == BT_TIMESTAMP ? bval_timestamp(before) : 0;

    return now > last ? now : last + 1;
}

static RC make(void *arg, struct bdoc old, struct arena *a, struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    const struct change *c = arg;
    struct bval v = bdoc_get(c->given, c->p->field);
    struct bw w;

    (void)e;
    bw_init(&w, &b);
    bw_timestamp(&w, "clusterParameterTime", time_after(bdoc_get(old, "clusterParameterTime")));
    put_field(c->p, bval_is_missing(v) ? bdoc_get(old, c->p->field) : v, &w);
    *out = bw_done_arena(&w, a);
    return RC_OK;
}

void cmd_cluster_parameters_apply(struct node *n)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);

    mutex_lock(&n->p.lock); /* of two changes the later one is applied last */
    struct bval ms = bdoc_get(kept_get(n->kept, "defaultMaxTimeMS", a), "readOperations");
    atomic_store(&n->p.default_max_time_ms, bval_is_number(ms) ? cmd_i64(ms) : 0);
    mutex_unlock(&n->p.lock);
}

RC cmd__setClusterParameter(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct bval v = cmd_first(r);
    struct change c = { 0 };
    struct biter it;

    (void)w;
    TRY(cmd_first_required(r, e));
    if (v.type != BT_DOCUMENT)
        return cmd_wrong_type(r->def->name, r->def->name, v, "object", e);
    if (bdoc_count(bval_doc(v)) > 1)
        FAIL(e, ERR_INVALID_OPTIONS, "%s takes one parameter at a time", r->def->name);
    biter_init(&it, bval_doc(v));
    if (!biter_next(&it))
        FAIL(e, ERR_NO_SUCH_KEY, "no cluster parameter is named");
    TRY(find(it.name, &c.p, e));
    TRY(check(c.p, it.val, e));
    c.given = bval_doc(it.val);
    TRY(kept_change(r->node->kept, c.p->name, make, &c, e));
    cmd_cluster_parameters_apply(r->node);
    log_event(EV_PARAMETER_SET, KV_STR("parameter", c.p->name));
    return RC_OK;
}

/* ---- getClusterParameter ---- */

static void put_parameter(struct cmd_req *r, const struct cluster_parameter *p, struct bw *w)
{
    struct bdoc d = kept_get(r->node->kept, p->name, r->arena);
    struct bval at = bdoc_get(d, "clusterParameterTime");

    bw_doc_begin(w, NULL);
    bw_str(w, "_id", p->name);
    bw_timestamp(w, "clusterParameterTime", at.type == BT_TIMESTAMP ? bval_timestamp(at) : 0);
    put_field(p, bdoc_get(d, p->field), w);
    bw_doc_end(w);
}

static RC put_named(struct cmd_req *r, struct bdoc names, struct bw *w, struct err *e)
{
    const struct cluster_parameter *p;
    struct biter it;

    if (bdoc_is_empty(names))
        FAIL(e, ERR_BAD_VALUE,
             "Must supply at least one cluster parameter name to getClusterParameter");
    biter_init(&it, names);
    while (biter_next(&it)) {
        if (it.val.type != BT_STRING)
            FAIL(e, ERR_TYPE_MISMATCH, "names of cluster parameters are strings, not '%s'",
                 btype_name(it.val.type));
        TRY(find(bval_str(it.val), &p, e));
        put_parameter(r, p, w);
    }
    return RC_OK;
}

RC cmd__getClusterParameter(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct bval v = cmd_first(r);
    const struct cluster_parameter *p;

    if (v.type != BT_STRING && v.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '%s.%s' is the wrong type '%s', expected types '[string, array]'",
             r->def->name, r->def->name, btype_name(v.type));
    bool all = v.type == BT_STRING && slice_eq_str(bval_str(v), "*");
    bw_array_begin(w, "clusterParameters");
    if (v.type == BT_ARRAY)
        TRY(put_named(r, bval_doc(v), w, e));
    for (size_t i = 0; all && i < ARRAY_LEN(parameters); i++)
        put_parameter(r, &parameters[i], w);
    if (v.type == BT_STRING && !all) {
        TRY(find(bval_str(v), &p, e));
        put_parameter(r, p, w);
    }
    bw_array_end(w);
    return RC_OK;
}
