/* stage_lookup.c - $lookup, in its equality form, its pipeline form, and both together; $unionWith.
 *
 * Equality opens the foreign collection with a filter for each document (an index may serve it). A pipeline runs anew for each document
 * with `let` evaluated into the variables of its own request context; one that reads no variable of the outer document runs once and
 * is kept.
 */
#include "agg_priv.h"

#include "base/mem.h"

struct lookup {
    struct slice from;
    const struct slice *local, *as;
    int n_local, n_as;
    struct slice foreign; /* dotted; empty without the equality form */
    bool has_equality;
    struct pipeline *sub; /* NULL without the pipeline form */
    const struct slice *let_names;
    struct expr **let;
    int n_let;
    bool own_source; /* the pipeline starts with $documents */
};

struct lookup_iter {
    struct iter it;
    struct qctx q; /* of the sub-pipeline: own let */
};

static RC eq_condition(struct arena *a, struct slice path, struct bval v, struct bval *out,
                       struct err *e)
{
    struct slice eq = SLICE_LIT("$eq");
    struct bval o;

    TRY(vals_object(a, &eq, &v, 1, &o, e));
    return vals_object(a, &path, &o, 1, out, e);
}

/* {foreign: {$eq: v}}, or {foreign: {$in: [...]}} for an array; regexes are values here, so they take $eq one by one. */
static RC equality_filter(struct arena *a, const struct lookup *lk, struct bval v, struct bval *out,
                          struct err *e)
{
    struct slice in = SLICE_LIT("$in"), or_name = SLICE_LIT("$or");
    struct vals ors = vals_in(a);
    struct biter it;
    bool has_regex = false;
    struct bval o;

    if (bval_is_missing(v) || v.type == BT_UNDEFINED)
        v = bval_new_null();
    if (v.type != BT_ARRAY)
        return eq_condition(a, lk->foreign, v, out, e);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        has_regex |= it.val.type == BT_REGEX;
        TRY(eq_condition(a, lk->foreign, it.val, &o, e));
        vals_push(&ors, o);
    }
    if (has_regex) {
        TRY(vals_array(a, ors.v, ors.n, &o, e));
        return vals_object(a, &or_name, &o, 1, out, e);
    }
    TRY(vals_object(a, &in, &v, 1, &o, e));
    return vals_object(a, &lk->foreign, &o, 1, out, e);
}

/* The filter of the equality and of the sub-pipeline's leading $match together. */
static RC join_filter(struct lookup_iter *li, struct bdoc doc, struct bdoc lead, struct bdoc *out,
                      struct err *e)
{
    const struct lookup *lk = li->it.s->data;
    struct arena *a = li->it.r.q->scratch;
    struct slice and_name = SLICE_LIT("$and");
    struct bval v, both[2], arr, o;

    *out = lead;
    if (!lk->has_equality)
        return RC_OK;
    TRY(val_path(a, bval_of_doc(doc, BT_DOCUMENT), lk->local, lk->n_local, &v, e));
    TRY(equality_filter(a, lk, v, &both[0], e));
    *out = bval_doc(both[0]);
    if (bdoc_is_empty(lead))
        return RC_OK;
    both[1] = bval_of_doc(lead, BT_DOCUMENT);
    TRY(vals_array(a, both, 2, &arr, e));
    TRY(vals_object(a, &and_name, &arr, 1, &o, e));
    *out = bval_doc(o);
    return RC_OK;
}

static RC bind_let(struct lookup_iter *li, struct bdoc doc, struct err *e)
{
    const struct lookup *lk = li->it.s->data;
    struct fields f = fields_in(li->it.r.q->scratch);
    struct bval v, o;

    li->q = *li->it.r.q;
    li->q.meta = (struct bdoc){ 0 };
    if (lk->n_let == 0)
        return RC_OK;
    fields_push_all(&f, li->q.let);
    for (int i = 0; i < lk->n_let; i++) {
        TRY(stage__eval(lk->let[i], li->it.r.q, doc, &v, e));
        fields_set(&f, lk->let_names[i], v);
    }
    TRY(fields_object(&f, &o, e));
    li->q.let = bval_doc(o);
    return RC_OK;
}

static RC open_foreign(struct lookup_iter *li, struct bdoc doc, struct doc_source **out,
                       struct err *e)
{
    const struct lookup *lk = li->it.s->data;
    struct pipeline_lead lead = { .filter = BDOC_EMPTY, .sort = BVAL_MISSING };
    struct bdoc filter;
    struct stage_run r = { .q = &li->q, .env = li->it.r.env };

    TRY(bind_let(li, doc, e));
    if (lk->own_source)
        return pipeline__run(lk->sub, &r, source_empty(), 0, out, e);
    if (lk->sub)
        pipeline_leading(lk->sub, &lead);
    TRY(join_filter(li, doc, lead.filter, &filter, e));
    if (!r.env || !r.env->open_collection)
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "$lookup has no collections here");
    struct doc_source *src;
    TRY(r.env->open_collection(r.env->env, &li->q, lk->from, filter, &src, e));
    if (!lk->sub) {
        *out = src;
        return RC_OK;
    }
    return pipeline__run(lk->sub, &r, src, lead.n_filter_stages, out, e);
}

static RC gather(struct lookup_iter *li, struct doc_source *src, struct vals *l, struct err *e)
{
    size_t total = 0;

    for (;;) {
        struct bdoc d;
        bool valid;
        TRY(src->next(src, &d, &valid, e));
        if (!valid)
            return RC_OK;
        total += d.len;
        if (total > DOC_BYTES_MAX * 4ull)
            FAIL(
                e, ERR_LOC(4568),
                "Total size of documents in %.*s matching pipeline's $lookup stage exceeds the maximum document size",
                (int)((const struct lookup *)li->it.s->data)->from.len,
                (const char *)((const struct lookup *)li->it.s->data)->from.p);
        vals_push(l, bval_dup(l->arena, bval_of_doc(d, BT_DOCUMENT)));
        TRY(qctx_check(li->it.r.q, e));
    }
}

static RC lookup_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct lookup_iter *li = (struct lookup_iter *)s;
    const struct lookup *lk = li->it.s->data;
    struct arena *a = li->it.r.q->scratch;
    struct vals l = vals_in(a);
    struct doc_source *src = NULL;
    struct bval arr;
    struct bdoc in;

    TRY(iter_pull(&li->it, &in, valid, e));
    if (!*valid)
        return RC_OK;
    /* The outer document must last while the foreign ones are read through the same scratch. */
    TRY(open_foreign(li, in, &src, e));
    rc_t rc = gather(li, src, &l, e);
    doc_source_close(src);
    TRY(rc);
    TRY(vals_array(a, l.v, l.n, &arr, e));
    TRY(doc_set_path(a, in, lk->as, lk->n_as, arr, doc, e));
    return stage__check_made(*doc, e);
}

static STAGE_OPEN(open_lookup)
{
    (void)e;
    *out = iter_new(sizeof(struct lookup_iter), s, r, in, lookup_next, NULL);
    return RC_OK;
}

/* ---- parsing ---- */

static RC string_option(struct bval v, const char *name, struct err *e)
{
    if (!bval_is_missing(v) && v.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$lookup.%s' is the wrong type '%s', expected type 'string'", name,
             btype_name(v.type));
    return RC_OK;
}

static RC parse_let(struct stage_parser *sp, struct bval let, struct lookup *lk, struct qctx *sub_q,
                    struct err *e)
{
    struct arena *a = sp->q->arena;
    struct fields f = fields_in(a);
    struct biter it;
    struct bval o;

    if (bval_is_missing(let) || let.type == BT_NULL)
        return RC_OK;
    struct slice *names = ARENA_ARRAY(a, struct slice, bdoc_count(bval_doc(let)) + 1);
    lk->let = ARENA_ARRAY(a, struct expr *, bdoc_count(bval_doc(let)) + 1);
    lk->let_names = names;
    fields_push_all(&f, sp->q->let);
    biter_init(&it, bval_doc(let));
    while (biter_next(&it)) {
        TRY(expr_check_var_name(it.name, e));
        TRY(expr_parse(sp->q, it.val, &lk->let[lk->n_let], e));
        names[lk->n_let++] = it.name;
        /* in scope while the sub-pipeline is parsed; its value comes with each document */
        fields_set(&f, it.name, bval_new_null());
    }
    TRY(fields_object(&f, &o, e));
    sub_q->let = bval_doc(o);
    return RC_OK;
}

static RC parse_join(struct stage_parser *sp, struct bval local, struct bval foreign,
                     struct lookup *lk, struct err *e)
{
    const struct slice *parts;
    int n;

    if (bval_is_missing(local) != bval_is_missing(foreign))
        FAIL(e, ERR_FAILED_TO_PARSE,
             "$lookup requires both or neither of 'localField' and 'foreignField' to be specified");
    if (bval_is_missing(local))
        return RC_OK;
    lk->has_equality = true;
    lk->foreign = bval_str(foreign);
    TRY(expr_split_path(sp->q->arena, bval_str(local), &lk->local, &lk->n_local, e));
    return expr_split_path(sp->q->arena, bval_str(foreign), &parts, &n, e);
}

static RC parse_from(struct bval from, struct lookup *lk, struct bval pipeline, struct err *e)
{
    if (bval_is_missing(from)) {
        struct bval first =
            bval_is_missing(pipeline) ? BVAL_MISSING : bdoc_get(bval_doc(pipeline), "0");
        lk->own_source =
            first.type == BT_DOCUMENT && !bval_is_missing(bdoc_get(bval_doc(first), "$documents"));
        if (!lk->own_source)
            FAIL(e, ERR_FAILED_TO_PARSE, "must specify 'pipeline' when 'from' is empty");
        return RC_OK;
    }
    if (from.type != BT_STRING)
        FAIL(e, ERR_FAILED_TO_PARSE, "$lookup argument 'from' must be a string, is type %s",
             btype_name(from.type));
    lk->from = bval_str(from);
    if (lk->from.len == 0 || memchr(lk->from.p, 0, lk->from.len))
        FAIL(e, ERR_INVALID_NAMESPACE, "Invalid collection name specified in $lookup");
    return RC_OK;
}

STAGE_PARSE(stage__parse_lookup)
{
    struct bval from, as, local, foreign, let, pipeline;
    const struct stage_opt opts[] = { { "from", &from },        { "as", &as },
                                      { "localField", &local }, { "foreignField", &foreign },
                                      { "let", &let },          { "pipeline", &pipeline } };
    struct lookup *lk = ARENA_NEW(sp->q->arena, struct lookup);
    struct qctx sub_q = *sp->q;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "the $lookup specification must be an object, but found %s",
             btype_name(spec.type));
    TRY(stage__options(spec, "lookup", opts, 6, ERR_IDL_UNKNOWN_FIELD, e));
    struct bval *optional[] = { &from, &as, &local, &foreign };
    for (size_t i = 0; i < ARRAY_LEN(optional); i++)
        if (optional[i]->type == BT_NULL)
            *optional[i] = BVAL_MISSING;
    TRY(string_option(as, "as", e));
    TRY(string_option(local, "localField", e));
    TRY(string_option(foreign, "foreignField", e));
    if (local.type == BT_STRING && bval_str(local).len == 0)
        local = BVAL_MISSING;
    if (foreign.type == BT_STRING && bval_str(foreign).len == 0)
        foreign = BVAL_MISSING;
    if (!bval_is_missing(let) && let.type != BT_NULL && let.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$lookup.let' is the wrong type '%s', expected type 'object'",
             btype_name(let.type));
    if (!bval_is_missing(pipeline) && pipeline.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH, "'pipeline' option must be specified as an array");
    TRY(parse_from(from, lk, pipeline, e));
    if (bval_is_missing(as))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE, "BSON field '$lookup.as' is missing but a required field");
    TRY(expr_split_path(sp->q->arena, bval_str(as), &lk->as, &lk->n_as, e));
    TRY(parse_join(sp, local, foreign, lk, e));
    if (bval_is_missing(pipeline)) {
        if (!bval_is_missing(let) && let.type != BT_NULL)
            FAIL(e, ERR_FAILED_TO_PARSE,
                 "$lookup with a 'let' argument must also specify 'pipeline'");
        if (!lk->has_equality)
            FAIL(
                e, ERR_FAILED_TO_PARSE,
                "$lookup requires either 'pipeline' or both 'localField' and 'foreignField' to be specified");
    } else {
        TRY(parse_let(sp, let, lk, &sub_q, e));
        TRY(pipeline__parse_sub(sp, &sub_q, bval_doc(pipeline),
                                PIPELINE_SUB | (sp->flags & PIPELINE_FACET), &lk->sub, e));
    }
    struct stage *st = pipeline__add(sp, def, spec, lk);
    st->open = open_lookup;
    st->from = lk->from;
    if (lk->sub) {
        st->subs = ARENA_NEW(sp->q->arena, struct pipeline *);
        st->subs[0] = lk->sub;
        st->n_subs = 1;
    }
    return RC_OK;
}

/* ---- $unionWith ---- */

struct unite {
    struct slice coll;
    struct pipeline *sub; /* NULL: the collection as it is */
    bool own_source;
};

struct unite_iter {
    struct iter it;
    bool first_done;
};

static RC open_second(struct unite_iter *u, struct doc_source **out, struct err *e)
{
    const struct unite *un = u->it.s->data;
    struct pipeline_lead lead = { .filter = BDOC_EMPTY, .sort = BVAL_MISSING };
    const struct agg_env *env = u->it.r.env;

    *out = NULL;
    if (un->own_source)
        return pipeline__run(un->sub, &u->it.r, source_empty(), 0, out, e);
    if (un->sub)
        pipeline_leading(un->sub, &lead);
    if (!env || !env->open_collection)
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "$unionWith has no collections here");
    TRY(env->open_collection(env->env, u->it.r.q, un->coll, lead.filter, out, e));
    if (!un->sub)
        return RC_OK;
    struct doc_source *src = *out;
    *out = NULL;
    return pipeline__run(un->sub, &u->it.r, src, lead.n_filter_stages, out, e);
}

static RC unite_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct unite_iter *u = (struct unite_iter *)s;

    if (!u->first_done) {
        TRY(iter_pull(&u->it, doc, valid, e));
        if (*valid)
            return RC_OK;
        doc_source_close(u->it.in);
        u->it.in = NULL;
        u->first_done = true;
        u->it.r.q->meta = (struct bdoc){ 0 };
        TRY(open_second(u, &u->it.in, e));
    }
    *valid = false;
    return u->it.in ? iter_pull(&u->it, doc, valid, e) : RC_OK;
}

static STAGE_OPEN(open_unite)
{
    (void)e;
    *out = iter_new(sizeof(struct unite_iter), s, r, in, unite_next, NULL);
    return RC_OK;
}

STAGE_PARSE(stage__parse_union_with)
{
    struct bval coll = spec, pipeline = BVAL_MISSING;
    const struct stage_opt opts[] = { { "coll", &coll }, { "pipeline", &pipeline } };
    struct unite *un = ARENA_NEW(sp->q->arena, struct unite);

    if (spec.type == BT_DOCUMENT)
        TRY(stage__options(spec, "unionWith", opts, 2, ERR_IDL_UNKNOWN_FIELD, e));
    else if (spec.type != BT_STRING)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "the $unionWith stage specification must be an object or string, but found %s",
             btype_name(spec.type));
    if (!bval_is_missing(pipeline) && pipeline.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH, "'pipeline' option must be specified as an array");
    if (bval_is_missing(coll)) {
        struct bval first =
            bval_is_missing(pipeline) ? BVAL_MISSING : bdoc_get(bval_doc(pipeline), "0");
        un->own_source =
            first.type == BT_DOCUMENT && !bval_is_missing(bdoc_get(bval_doc(first), "$documents"));
        if (!un->own_source)
            FAIL(
                e, ERR_FAILED_TO_PARSE,
                "$unionWith stage without explicit collection must have a pipeline with $documents as first stage");
    } else if (coll.type != BT_STRING) {
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$unionWith.coll' is the wrong type '%s', expected type 'string'",
             btype_name(coll.type));
    } else {
        un->coll = bval_str(coll);
        if (un->coll.len == 0 || un->coll.p[0] == '$' || memchr(un->coll.p, 0, un->coll.len))
            FAIL(e, ERR_INVALID_NAMESPACE, "Invalid collection name specified in $unionWith");
    }
    if (!bval_is_missing(pipeline))
        TRY(pipeline__parse_sub(sp, sp->q, bval_doc(pipeline),
                                PIPELINE_SUB | PIPELINE_UNION | (sp->flags & PIPELINE_FACET),
                                &un->sub, e));
    struct stage *st = pipeline__add(sp, def, spec, un);
    st->open = open_unite;
    st->from = un->coll;
    if (un->sub) {
        st->subs = ARENA_NEW(sp->q->arena, struct pipeline *);
        st->subs[0] = un->sub;
        st->n_subs = 1;
    }
    return RC_OK;
}
