/* cmd_coll_mod.c - collMod: options of a collection, a view's definition, hidden and expireAfterSeconds of an index (compatibility 17).
 * Everything is checked before the first change; then options and index change, each durably. */
#include "cmd_create.h"
#include "cmd_view.h"

#include <math.h>

struct mod_args {
    struct bval index, validator, level, action, view_on, pipeline, capped_size, capped_max, images,
        expire, timeseries;
    bool dry_run;
};

static const struct arg args[] = {
    ARG(struct mod_args, index, "index", ARG_DOC, 0),
    ARG(struct mod_args, validator, "validator", ARG_DOC, 0),
    ARG(struct mod_args, level, "validationLevel", ARG_ANY, 0),
    ARG(struct mod_args, action, "validationAction", ARG_ANY, 0),
    ARG(struct mod_args, view_on, "viewOn", ARG_ANY, 0),
    ARG(struct mod_args, pipeline, "pipeline", ARG_ARRAY, 0),
    ARG(struct mod_args, capped_size, "cappedSize", ARG_ANY, 0),
    ARG(struct mod_args, capped_max, "cappedMax", ARG_ANY, 0),
    ARG(struct mod_args, images, "changeStreamPreAndPostImages", ARG_DOC, 0),
    ARG(struct mod_args, expire, "expireAfterSeconds", ARG_ANY, 0),
    ARG(struct mod_args, timeseries, "timeseries", ARG_DOC, 0),
    ARG(struct mod_args, dry_run, "dryRun", ARG_SAFE_BOOL, 0),
};

struct index_args {
    struct slice name;
    struct bval pattern, expire, hidden, unique, prepare_unique;
};

static const struct arg index_table[] = {
    ARG(struct index_args, name, "name", ARG_STR, 0),
    ARG(struct index_args, pattern, "keyPattern", ARG_DOC, 0),
    ARG(struct index_args, expire, "expireAfterSeconds", ARG_ANY, 0),
    ARG(struct index_args, hidden, "hidden", ARG_ANY, 0),
    ARG(struct index_args, unique, "unique", ARG_ANY, 0),
    ARG(struct index_args, prepare_unique, "prepareUnique", ARG_ANY, 0),
};

struct images {
    bool enabled;
};

static const struct arg images_table[] = {
    ARG(struct images, enabled, "enabled", ARG_BOOL, ARG_REQUIRED),
};

static bool given(struct bval v)
{
    return !bval_is_nullish(v);
}

static RC check_safe_bool(const char *name, struct bval v, struct err *e)
{
    if (given(v) && v.type != BT_BOOL && !bval_is_number(v))
        return cmd_wrong_type("collMod.index", name, v, "bool", e);
    return RC_OK;
}

static RC check_enum(const char *name, struct bval v, const char *const *names, size_t n,
                     struct err *e)
{
    if (!given(v))
        return RC_OK;
    if (v.type != BT_STRING)
        return cmd_wrong_type("collMod", name, v, "string", e);
    for (size_t i = 0; i < n; i++)
        if (slice_eq_str(bval_str(v), names[i]))
            return RC_OK;
    FAIL(e, ERR_BAD_VALUE, "Enumeration value '%.*s' for field 'collMod.%s' is not a valid value.",
         (int)MIN(bval_str(v).len, 64u), bval_str(v).p, name);
}

static RC check_index_args(const struct index_args *i, struct err *e)
{
    if (given(i->expire) && !bval_is_number(i->expire))
        return cmd_wrong_type("collMod.index", "expireAfterSeconds", i->expire, "long", e);
    TRY(check_safe_bool("hidden", i->hidden, e));
    TRY(check_safe_bool("unique", i->unique, e));
    TRY(check_safe_bool("prepareUnique", i->prepare_unique, e));
    if (i->name.p && given(i->pattern))
        FAIL(e, ERR_INVALID_OPTIONS, "Cannot specify both key pattern and name.");
    if (!i->name.p && !given(i->pattern))
        FAIL(e, ERR_INVALID_OPTIONS, "Must specify either index name or key pattern.");
    if (!given(i->expire) && !given(i->hidden) && !given(i->unique) && !given(i->prepare_unique))
        FAIL(e, ERR_INVALID_OPTIONS,
             "no expireAfterSeconds, hidden, unique, or prepareUnique field");
    if (given(i->unique) && !bval_truthy(i->unique))
        FAIL(e, ERR_BAD_VALUE, "Cannot make an index non-unique");
    if (given(i->prepare_unique) && bval_truthy(i->prepare_unique) &&
        (given(i->hidden) || given(i->expire)))
        FAIL(e, ERR_INVALID_OPTIONS,
             "prepareUnique cannot be combined with any other modification");
    if (given(i->unique) || (given(i->prepare_unique) && bval_truthy(i->prepare_unique)))
        FAIL(
            e, ERR_COMMAND_NOT_SUPPORTED,
            "making an existing index unique is not available in this release: create a unique one");
    if (given(i->expire) && cmd_i64(i->expire) < 0)
        FAIL(e, ERR_INVALID_OPTIONS,
             "TTL index 'expireAfterSeconds' option must be within 0 and 2147483647");
    return RC_OK;
}

static RC check_kind(const struct mod_args *a, struct catalog_coll *x, struct err *e)
{
    if (given(a->timeseries))
        FAIL(e, ERR_INVALID_OPTIONS,
             "option only supported on a time-series collection: timeseries");
    if (given(a->expire))
        FAIL(e, ERR_INVALID_OPTIONS,
             "'expireAfterSeconds' option is only supported on collections clustered by _id");
    if (!x->is_view && (given(a->view_on) || given(a->pipeline)))
        FAIL(e, ERR_INVALID_OPTIONS, "option only supported on a view: viewOn, pipeline");
    if (x->is_view && (given(a->index) || given(a->validator) || given(a->level) ||
                       given(a->action) || given(a->images)))
        FAIL(e, ERR_INVALID_OPTIONS, "option not supported on a view");
    if ((given(a->capped_size) || given(a->capped_max)) && !catalog_is_capped(x))
        FAIL(e, ERR_INVALID_OPTIONS, "Collection must be capped.");
    return RC_OK;
}

static RC check_args(struct cmd_req *r, const struct mod_args *a, struct err *e)
{
    static const char *const levels[] = { "off", "strict", "moderate" }, *const actions[] = {
        "error", "warn", "errorAndLog"
    };
    struct images i = { 0 };

    TRY(check_enum("validationLevel", a->level, levels, ARRAY_LEN(levels), e));
    TRY(check_enum("validationAction", a->action, actions, ARRAY_LEN(actions), e));
    if (given(a->view_on) && a->view_on.type != BT_STRING)
        return cmd_wrong_type("collMod", "viewOn", a->view_on, "string", e);
    if (given(a->view_on) && bval_str(a->view_on).len == 0)
        FAIL(e, ERR_BAD_VALUE, "'viewOn' cannot be empty");
    if (given(a->capped_size) && !bval_is_number(a->capped_size))
        return cmd_wrong_type("collMod", "cappedSize", a->capped_size, "number", e);
    if (given(a->capped_max) && !bval_is_number(a->capped_max))
        return cmd_wrong_type("collMod", "cappedMax", a->capped_max, "number", e);
    if (given(a->images))
        TRY(cmd_fields(bval_doc(a->images), "collMod.changeStreamPreAndPostImages", images_table,
                       ARRAY_LEN(images_table), &i, e));
    if (bval_is_number(a->capped_size) &&
        (cmd_i64(a->capped_size) < 1 || cmd_i64(a->capped_size) > (int64_t)1 << 50))
        FAIL(e, ERR_BAD_VALUE,
             "BSON field 'cappedSize' value must be within 1 and 1125899906842624");
    if (bval_is_number(a->capped_max) && cmd_i64(a->capped_max) > INT32_MAX)
        FAIL(e, ERR_BAD_VALUE, "BSON field 'cappedMax' value must be below 2^31");
    if (given(a->pipeline)) {
        struct qctx q;
        struct pipeline *p;
        cmd_qctx(r, r->arena, r->scratch, &q);
        TRY(pipeline_parse(&q, bval_doc(a->pipeline), PIPELINE_VIEW,
                           exec_env(r->node->catalog, &q, r->db, true, 0), &p, e));
        if (pipeline_writes(p))
            FAIL(e, ERR_OPTION_NOT_SUPPORTED_ON_VIEW,
                 "the stages $out and $merge cannot be part of a view");
    }
    return RC_OK;
}

static bool replaced(const struct mod_args *a, struct slice name)
{
    return (given(a->validator) && slice_eq_str(name, "validator")) ||
           (given(a->level) && slice_eq_str(name, "validationLevel")) ||
           (given(a->action) && slice_eq_str(name, "validationAction")) ||
           (given(a->view_on) && slice_eq_str(name, "viewOn")) ||
           (given(a->pipeline) && slice_eq_str(name, "pipeline")) ||
           (given(a->images) && slice_eq_str(name, "changeStreamPreAndPostImages")) ||
           (given(a->capped_size) && slice_eq_str(name, "size")) ||
           (given(a->capped_max) && slice_eq_str(name, "max"));
}

static RC change_options(struct cmd_req *r, const struct mod_args *a, struct catalog_coll *x,
                         struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;
    struct bw w;
    bool any = false;

    bw_init(&w, &b);
    biter_init(&it, catalog_options(x, r->arena));
    while (biter_next(&it))
        if (!replaced(a, it.name))
            bw_val_slice(&w, it.name, it.val);
    const struct {
        const char *name;
        struct bval v;
    } plain[] = { { "validator", a->validator },
                  { "validationLevel", a->level },
                  { "validationAction", a->action },
                  { "viewOn", a->view_on },
                  { "pipeline", a->pipeline } };
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (!given(plain[i].v))
            continue;
        bw_val(&w, plain[i].name, plain[i].v);
        any = true;
    }
    if (cmd_images_enabled(a->images))
        bw_val(&w, "changeStreamPreAndPostImages", a->images);
    any |= given(a->images);
    if (given(a->capped_size))
        bw_i64(&w, "size", (cmd_i64(a->capped_size) + 255) / 256 * 256);
    if (given(a->capped_max) && cmd_i64(a->capped_max) > 0)
        bw_i64(&w, "max", cmd_i64(a->capped_max));
    any |= given(a->capped_size) || given(a->capped_max);
    struct bdoc d = bw_finish(&w);
    return any ? coll_set_options(x, d, e) : RC_OK;
}

/* The specification with expireAfterSeconds and hidden as they are to be. */
static struct bdoc changed_spec(struct arena *a, const struct index_def *d, bool has_ttl,
                                int64_t ttl_s, bool hidden)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;
    struct bw w;

    bw_init(&w, &b);
    biter_init(&it, d->spec);
    while (biter_next(&it))
        if (!slice_eq_str(it.name, "expireAfterSeconds") && !slice_eq_str(it.name, "hidden"))
            bw_val_slice(&w, it.name, it.val);
    if (has_ttl)
        bw_i32(&w, "expireAfterSeconds", (int32_t)ttl_s);
    if (hidden)
        bw_bool(&w, "hidden", true);
    struct bdoc s = bw_finish(&w);
    return (struct bdoc){ .p = arena_dup(a, s.p, s.len), .len = s.len };
}

static RC find_index(const struct index_args *i, const struct coll_indexes *l,
                     const struct index_def **out, struct err *e)
{
    int n = 0;

    for (int k = 0; k < l->n; k++) {
        bool same = i->name.p
                        ? slice_eq_str(i->name, l->v[k]->name)
                        : bval_cmp(i->pattern, bval_of_doc(l->v[k]->pattern, BT_DOCUMENT)) == 0;
        if (same) {
            *out = l->v[k];
            n++;
        }
    }
    if (n == 0)
        FAIL(e, ERR_INDEX_NOT_FOUND, "cannot find index for ns");
    if (n > 1)
        FAIL(e, ERR_AMBIGUOUS_INDEX_KEY_PATTERN,
             "index keyPattern matches %d indexes, must use index name", n);
    return RC_OK;
}

struct index_change {
    const struct index_def *def;
    bool ttl, hide; /* to be changed */
    int64_t new_ttl_s;
    bool new_hidden;
};

static RC plan_index(const struct index_args *i, const struct coll_indexes *l,
                     struct index_change *c, struct err *e)
{
    TRY(find_index(i, l, &c->def, e));
    if (given(i->expire)) {
        if (c->def->n_fields != 1 || c->def->is_id)
            FAIL(e, ERR_INVALID_OPTIONS, "TTL indexes are single-field indexes, and never on _id");
        bool nan = isnan(bval_to_double(i->expire));
        c->new_ttl_s = nan ? 0 : MIN(cmd_i64(i->expire), (int64_t)INT32_MAX);
        c->ttl = true;
    }
    if (given(i->hidden)) {
        if (c->def->is_id)
            FAIL(e, ERR_BAD_VALUE, "can't hide _id index");
        c->new_hidden = bval_truthy(i->hidden);
        c->hide = c->new_hidden != c->def->hidden;
    }
    return RC_OK;
}

static RC apply_index(struct cmd_req *r, struct catalog_coll *x, const struct index_change *c,
                      struct bw *w, struct err *e)
{
    const struct index_def *d = c->def;

    if (!c->ttl && !c->hide)
        return RC_OK;
    struct bdoc spec = changed_spec(r->arena, d, c->ttl || d->ttl, c->ttl ? c->new_ttl_s : d->ttl_s,
                                    c->hide ? c->new_hidden : d->hidden);
    TRY(coll_set_index_spec(x, slice_str(d->name), spec, e));
    if (c->ttl) {
        if (d->ttl)
            bw_i64(w, "expireAfterSeconds_old", d->ttl_s);
        bw_i64(w, "expireAfterSeconds_new", c->new_ttl_s);
    }
    if (c->hide) {
        bw_bool(w, "hidden_old", d->hidden);
        bw_bool(w, "hidden_new", c->new_hidden);
    }
    return RC_OK;
}

static RC run(struct cmd_req *r, const struct mod_args *a, struct catalog_coll *x, struct bw *w,
              struct err *e)
{
    struct index_args i = { 0 };
    struct index_change c = { 0 };
    struct coll_indexes *l = NULL;

    if (given(a->index)) {
        TRY(cmd_fields(bval_doc(a->index), "collMod.index", index_table, ARRAY_LEN(index_table), &i,
                       e));
        TRY(check_index_args(&i, e));
    }
    if (a->dry_run)
        FAIL(e, ERR_INVALID_OPTIONS,
             "dryRun mode requires an index modification with unique: true");
    TRY(check_kind(a, x, e));
    if (given(a->index))
        TRY(coll_ref_indexes(x, &l, e));
    rc_t rc = l ? plan_index(&i, l, &c, e) : RC_OK;
    if (!rc.failed)
        rc = change_options(r, a, x, e);
    if (!rc.failed && l)
        rc = apply_index(r, x, &c, w, e);
    coll_indexes_unref(l);
    return rc;
}

/* What the view is going to be made of. */
static RC check_reads(struct cmd_req *r, const struct mod_args *a, struct catalog_coll *x,
                      struct err *e)
{
    struct bdoc now = catalog_options(x, r->arena);

    return cmd_view_privileges(r, given(a->view_on) ? a->view_on : bdoc_get(now, "viewOn"),
                               given(a->pipeline) ? a->pipeline : bdoc_get(now, "pipeline"), e);
}

RC cmd__collMod(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct mod_args a = { 0 };
    struct cmd_ns ns;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, args, ARRAY_LEN(args), &a, e));
    TRY(check_args(r, &a, e));
    if (given(a.validator))
        TRY(cmd_check_validator(r, &ns, bval_doc(a.validator), e));
    x = cmd_coll(r, &ns);
    if (!x)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "ns does not exist");
    TRY(cmd_view_check_cycle(r, &ns, a.view_on, a.pipeline, e));
    if (x->is_view)
        TRY(check_reads(r, &a, x, e));
    const struct collator *own;
    TRY(exec_collator(x, r->arena, &own, e));
    TRY(cmd_view_check_collation(r, own, a.view_on, a.pipeline, e));
    return run(r, &a, x, w, e);
}
