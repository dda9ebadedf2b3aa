/* stage_simple.c - stages that look at one document at a time. */
#include <math.h>

#include "agg_priv.h"

#include "base/mem.h"

/* ---- $match ---- */

static RC match_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct iter *it = (struct iter *)s;
    const struct match *m = it->s->data;

    for (;;) {
        struct arena_mark mark = arena_mark(it->r.q->scratch);
        bool hit;
        TRY(iter_pull(it, doc, valid, e));
        if (!*valid)
            return RC_OK;
        TRY(match_eval(m, it->r.q, *doc, NULL, &hit, e));
        if (hit)
            return RC_OK;
        arena_rewind(it->r.q->scratch, mark);
        TRY(qctx_check(it->r.q, e));
    }
}

static STAGE_OPEN(open_match)
{
    (void)e;
    *out = iter_new(sizeof(struct iter), s, r, in, match_next, NULL);
    return RC_OK;
}

STAGE_PARSE(stage__parse_match)
{
    struct match *m;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(15959), "the match filter must be an expression in an object");
    TRY(match_parse(sp->q, bval_doc(spec), MATCH_IN_AGG, &m, e));
    pipeline__add(sp, def, spec, m)->open = open_match;
    return RC_OK;
}

/* ---- $project, $addFields, $set, $unset ---- */

static RC project_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct iter *it = (struct iter *)s;
    struct bdoc in;

    TRY(iter_pull(it, &in, valid, e));
    if (!*valid)
        return RC_OK;
    TRY(qctx_check(it->r.q, e));
    return project_apply(it->s->data, it->r.q, in, NULL, doc, e);
}

static STAGE_OPEN(open_project)
{
    (void)e;
    *out = iter_new(sizeof(struct iter), s, r, in, project_next, NULL);
    return RC_OK;
}

STAGE_PARSE(stage__parse_project)
{
    struct project *p;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(15969), "$project specification must be an object");
    TRY(project_parse(sp->q, PROJECT_STAGE, bval_doc(spec), NULL, &p, e));
    pipeline__add(sp, def, spec, p)->open = open_project;
    return RC_OK;
}

STAGE_PARSE(stage__parse_add_fields)
{
    struct project *p;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40272), "$%s specification stage must be an object, got %s", def->name,
             btype_name(spec.type));
    TRY(project_parse(sp->q, PROJECT_ADD_FIELDS, bval_doc(spec), NULL, &p, e));
    pipeline__add(sp, def, spec, p)->open = open_project;
    return RC_OK;
}

static RC unset_path(struct fields *f, struct bval v, int code, struct err *e)
{
    if (v.type != BT_STRING)
        FAIL(e, ERR_LOC(code),
             "$unset specification must be a string or an array containing only string values");
    struct slice s = bval_str(v);
    if (s.len && memchr(s.p, 0, s.len))
        FAIL(e, ERR_LOC(9527900), "$unset field path must not contain an embedded null byte");
    fields_push(f, s, bval_new_i32(f->arena, 0));
    return RC_OK;
}

STAGE_PARSE(stage__parse_unset)
{
    struct fields f = fields_in(sp->q->arena);
    struct project *p;
    struct bval o;
    struct biter it;

    if (spec.type == BT_STRING) {
        TRY(unset_path(&f, spec, 31002, e));
    } else if (spec.type == BT_ARRAY) {
        if (bdoc_is_empty(bval_doc(spec)))
            FAIL(e, ERR_LOC(31119),
                 "$unset specification must be a string or an array with at least one field");
        biter_init(&it, bval_doc(spec));
        while (biter_next(&it))
            TRY(unset_path(&f, it.val, 31120, e));
    } else {
        FAIL(e, ERR_LOC(31002), "$unset specification must be a string or an array");
    }
    TRY(fields_object(&f, &o, e));
    TRY(project_parse(sp->q, PROJECT_UNSET, bval_doc(o), NULL, &p, e));
    pipeline__add(sp, def, spec, p)->open = open_project;
    return RC_OK;
}

/* ---- $limit, $skip ---- */

struct count_iter {
    struct iter it;
    int64_t left;
};

static RC limit_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct count_iter *c = (struct count_iter *)s;

    *valid = false;
    if (c->left <= 0)
        return RC_OK;
    c->left--;
    return iter_pull(&c->it, doc, valid, e);
}

static RC skip_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct count_iter *c = (struct count_iter *)s;

    for (; c->left > 0; c->left--) {
        struct arena_mark mark = arena_mark(c->it.r.q->scratch);
        TRY(iter_pull(&c->it, doc, valid, e));
        if (!*valid)
            return RC_OK;
        arena_rewind(c->it.r.q->scratch, mark);
        TRY(qctx_check(c->it.r.q, e));
    }
    return iter_pull(&c->it, doc, valid, e);
}

static STAGE_OPEN(open_limit)
{
    struct count_iter *c = iter_new(sizeof(*c), s, r, in, limit_next, NULL);

    (void)e;
    c->left = *(const int64_t *)s->data;
    *out = &c->it.src;
    return RC_OK;
}

static STAGE_OPEN(open_skip)
{
    struct count_iter *c = iter_new(sizeof(*c), s, r, in, skip_next, NULL);

    (void)e;
    c->left = *(const int64_t *)s->data;
    *out = &c->it.src;
    return RC_OK;
}

STAGE_PARSE(stage__parse_limit)
{
    int64_t *n = ARENA_NEW(sp->q->arena, int64_t);

    if (!bval_is_number(spec) || !bval_to_i64(spec, n))
        FAIL(e, ERR_LOC(5107201), "invalid argument to $limit stage: Expected an integer");
    if (*n < 0)
        FAIL(e, ERR_LOC(5107201),
             "invalid argument to $limit stage: Expected a non-negative number");
    if (*n == 0)
        FAIL(e, ERR_LOC(15958), "the limit must be positive");
    pipeline__add(sp, def, spec, n)->open = open_limit;
    return RC_OK;
}

STAGE_PARSE(stage__parse_skip)
{
    int64_t *n = ARENA_NEW(sp->q->arena, int64_t);

    if (!bval_is_number(spec) || !bval_to_i64(spec, n) || *n < 0)
        FAIL(e, ERR_LOC(5107200),
             "invalid argument to $skip stage: Expected a non-negative integer");
    pipeline__add(sp, def, spec, n)->open = open_skip;
    return RC_OK;
}

/* ---- $count ---- */

static RC count_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct count_iter *c = (struct count_iter *)s;
    int64_t n = 0;

    *valid = false;
    if (c->left < 0)
        return RC_OK;
    c->left = -1;
    for (;; n++) {
        struct arena_mark mark = arena_mark(c->it.r.q->scratch);
        TRY(iter_pull(&c->it, doc, valid, e));
        if (!*valid)
            break;
        arena_rewind(c->it.r.q->scratch, mark);
        TRY(qctx_check(c->it.r.q, e));
    }
    if (n == 0)
        return RC_OK;
    struct arena *a = c->it.r.q->scratch;
    struct bval v = n <= INT32_MAX ? bval_new_i32(a, (int32_t)n) : bval_new_i64(a, n), o;
    struct slice name = bval_str(c->it.s->spec);
    TRY(vals_object(a, &name, &v, 1, &o, e));
    *doc = bval_doc(o);
    *valid = true;
    return RC_OK;
}

static STAGE_OPEN(open_count)
{
    (void)e;
    *out = iter_new(sizeof(struct count_iter), s, r, in, count_next, NULL);
    return RC_OK;
}

STAGE_PARSE(stage__parse_count)
{
    if (spec.type != BT_STRING)
        FAIL(e, ERR_LOC(40156), "the count field must be a non-empty string");
    struct slice name = bval_str(spec);
    if (name.len == 0)
        FAIL(e, ERR_LOC(40157), "the count field must be a non-empty string");
    if (name.p[0] == '$')
        FAIL(e, ERR_LOC(40158), "the count field cannot be a $-prefixed path");
    if (memchr(name.p, 0, name.len))
        FAIL(e, ERR_LOC(40159), "the count field cannot contain a null byte");
    if (memchr(name.p, '.', name.len))
        FAIL(e, ERR_LOC(40160), "the count field cannot contain '.'");
    if (slice_eq_str(name, "_id"))
        FAIL(e, ERR_LOC(9039800), "the count field cannot be '_id'");
    pipeline__add(sp, def, spec, NULL)->open = open_count;
    return RC_OK;
}

/* ---- $replaceRoot, $replaceWith ---- */

static RC replace_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct iter *it = (struct iter *)s;
    struct bdoc in;
    struct bval v;

    TRY(iter_pull(it, &in, valid, e));
    if (!*valid)
        return RC_OK;
    TRY(qctx_check(it->r.q, e));
    TRY(stage__eval(it->s->data, it->r.q, in, &v, e));
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40228),
             "'newRoot' expression must evaluate to an object, but resulting value was of type %s",
             btype_name(v.type));
    *doc = bval_doc(v);
    return stage__check_made(*doc, e);
}

static STAGE_OPEN(open_replace)
{
    (void)e;
    *out = iter_new(sizeof(struct iter), s, r, in, replace_next, NULL);
    return RC_OK;
}

static RC add_replace(struct stage_parser *sp, const struct stage_def *def, struct bval spec,
                      struct bval root, struct err *e)
{
    struct expr *x;

    TRY(expr_parse(sp->q, root, &x, e));
    pipeline__add(sp, def, spec, x)->open = open_replace;
    return RC_OK;
}

STAGE_PARSE(stage__parse_replace_root)
{
    struct bval root;
    struct stage_opt opts[] = { { "newRoot", &root } };

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40229),
             "expected an object as specification for $replaceRoot stage, got %s",
             btype_name(spec.type));
    TRY(stage__options(spec, "replaceRoot", opts, 1, ERR_IDL_UNKNOWN_FIELD, e));
    if (bval_is_missing(root))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field '$replaceRoot.newRoot' is missing but a required field");
    return add_replace(sp, def, spec, root, e);
}

STAGE_PARSE(stage__parse_replace_with)
{
    return add_replace(sp, def, spec, spec, e);
}

/* ---- $sortByCount: made of $group and $sort ---- */

STAGE_PARSE(stage__parse_sort_by_count)
{
    struct arena *a = sp->q->arena;
    struct bdoc group, sort;
    struct biter it;

    (void)def;
    if (spec.type == BT_DOCUMENT) {
        biter_init(&it, bval_doc(spec));
        if (!biter_next(&it) || !it.name.len || it.name.p[0] != '$')
            FAIL(
                e, ERR_LOC(40147),
                "the sortByCount field must be defined as a $-prefixed path or an expression inside an object");
    } else if (spec.type == BT_STRING) {
        if (!bval_str(spec).len || bval_str(spec).p[0] != '$')
            FAIL(
                e, ERR_LOC(40148),
                "the sortByCount field must be defined as a $-prefixed path or an expression inside an object");
    } else {
        FAIL(e, ERR_LOC(40149), "the sortByCount field must be specified as a string or an object");
    }
    struct bval one, sum, gv, o, sv;
    TRY(bdoc_from_json(a, "{\"$sum\": 1}", &group, e));
    sum = bval_of_doc(group, BT_DOCUMENT);
    struct slice names[2] = { SLICE_LIT("_id"), SLICE_LIT("count") };
    struct bval vals[2] = { spec, sum };
    TRY(vals_object(a, names, vals, 2, &gv, e));
    struct slice gname = SLICE_LIT("$group"), sname = SLICE_LIT("$sort"),
                 cname = SLICE_LIT("count");
    TRY(vals_object(a, &gname, &gv, 1, &o, e));
    TRY(pipeline__add_spec(sp, bval_doc(o), e));
    one = bval_new_i32(a, -1);
    TRY(vals_object(a, &cname, &one, 1, &sv, e));
    TRY(vals_object(a, &sname, &sv, 1, &o, e));
    sort = bval_doc(o);
    return pipeline__add_spec(sp, sort, e);
}

/* ---- $documents ---- */

struct documents {
    struct bdoc *docs;
    uint32_t n;
};

static STAGE_OPEN(open_documents)
{
    const struct documents *d = s->data;

    (void)r;
    (void)e;
    doc_source_close(in);
    *out = source_docs(d->docs, d->n);
    return RC_OK;
}

STAGE_PARSE(stage__parse_documents)
{
    struct documents *d = ARENA_NEW(sp->q->arena, struct documents);
    struct qctx q = *sp->q;
    struct expr *x;
    struct bval v;
    struct biter it;

    q.scratch = q.arena;
    TRY(expr_parse(&q, spec, &x, e));
    TRY(stage__eval(x, &q, BDOC_EMPTY, &v, e));
    if (v.type != BT_ARRAY)
        FAIL(e, ERR_LOC(5858203), "an array is expected as the argument to $documents, found %s",
             btype_name(v.type));
    d->docs = ARENA_ARRAY(q.arena, struct bdoc, bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        if (it.val.type != BT_DOCUMENT)
            FAIL(
                e, ERR_LOC(40228),
                "'newRoot' expression must evaluate to an object, but resulting value was of type %s",
                btype_name(it.val.type));
        TRY(stage__check_made(bval_doc(it.val), e));
        d->docs[d->n++] = bval_doc(it.val);
    }
    pipeline__add(sp, def, spec, d)->open = open_documents;
    return RC_OK;
}

/* ---- stages of the executor ---- */

static STAGE_OPEN(open_executor)
{
    bool source = s->def->flags & STAGE_SOURCE;

    if (source) {
        doc_source_close(in);
        in = NULL;
    }
    if (!r->env || !r->env->stage) {
        doc_source_close(in);
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "$%s is not available here", s->def->name);
    }
    return r->env->stage(r->env->env, r->q, s->def->name, s->spec, in, out, e);
}

STAGE_PARSE(stage__parse_executor)
{
    /* the executor knows the collection of the command, not that of a sub-pipeline */
    if (sp->depth > 0 && (def->flags & STAGE_SOURCE) && !(sp->flags & PIPELINE_SAME))
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "$%s is not available in a sub-pipeline", def->name);
    if (sp->env && sp->env->check_stage)
        TRY(sp->env->check_stage(sp->env->env, sp->q, def->name, spec, e));
    pipeline__add(sp, def, spec, NULL)->open = open_executor;
    return RC_OK;
}
