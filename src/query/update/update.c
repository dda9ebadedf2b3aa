/* update.c - the three kinds of update (operators, replacement, pipeline), arrayFilters, upserts. */
#include "base/mem.h"
#include "update_priv.h"

/* ---- arrayFilters ---- */

struct filters {
    struct update__filter *v;
    int n;
};

static bool is_identifier(struct slice id)
{
    if (id.len == 0 || id.p[0] < 'a' || id.p[0] > 'z')
        return false;
    for (size_t i = 1; i < id.len; i++) {
        uint8_t c = id.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
            return false;
    }
    return true;
}

/* identifier_of(): the one name that every path of a filter starts with. */
static RC identifier_of(const struct match_node *n, struct slice *id, struct err *e)
{
    if (n->n_parts > 0) {
        if (!id->p)
            *id = n->parts[0];
        else if (!slice_eq(*id, n->parts[0]))
            FAIL(
                e, ERR_FAILED_TO_PARSE,
                "error parsing array filter: expected a single top-level field name, found '%.*s' and '%.*s'",
                (int)id->len, id->p, (int)n->parts[0].len, n->parts[0].p);
        return RC_OK;
    }
    for (int i = 0; i < n->n_children; i++)
        TRY(identifier_of(n->children[i], id, e));
    return RC_OK;
}

static RC parse_filter(struct qctx *q, struct bval v, struct filters *f, struct err *e)
{
    struct update__filter *filter = &f->v[f->n];

    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "array filters must be objects");
    *filter = (struct update__filter){ 0 };
    TRY(match_parse(q, bval_doc(v), MATCH_NO_EXPR, &filter->match, e));
    TRY(identifier_of(filter->match->root, &filter->id, e));
    if (!filter->id.p)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "cannot use an expression without a top-level field name in arrayFilters");
    if (!is_identifier(filter->id))
        FAIL(
            e, ERR_BAD_VALUE,
            "error parsing array filter: the top-level field name must be an alphanumeric string beginning with a lowercase letter, found '%.*s'",
            (int)filter->id.len, filter->id.p);
    for (int i = 0; i < f->n; i++) {
        if (slice_eq(f->v[i].id, filter->id))
            FAIL(e, ERR_FAILED_TO_PARSE,
                 "found multiple array filters with the same top-level field name %.*s",
                 (int)filter->id.len, filter->id.p);
    }
    f->n++;
    return RC_OK;
}

static RC parse_filters(struct qctx *q, struct bval list, struct filters *f, struct err *e)
{
    struct biter it;

    *f = (struct filters){ 0 };
    if (bval_is_missing(list))
        return RC_OK;
    if (list.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH, "arrayFilters must be an array");
    f->v = ARENA_ARRAY(q->arena, struct update__filter, bdoc_count(bval_doc(list)) + 1);
    biter_init(&it, bval_doc(list));
    while (biter_next(&it)) {
        TRY(qctx_check(q, e)); /* each is compared with those before it */
        TRY(parse_filter(q, it.val, f, e));
    }
    return RC_OK;
}

static RC all_used(const struct filters *f, struct err *e)
{
    for (int i = 0; i < f->n; i++) {
        if (!f->v[i].used)
            FAIL(e, ERR_FAILED_TO_PARSE,
                 "the array filter for identifier '%.*s' was not used in the update",
                 (int)f->v[i].id.len, f->v[i].id.p);
    }
    return RC_OK;
}

/* ---- operators ---- */

static int count_renames(struct bdoc u)
{
    struct bval v = bdoc_get(u, "$rename");

    return v.type == BT_DOCUMENT ? (int)bdoc_count(bval_doc(v)) : 0;
}

/* add_rename(): the source is a leaf that removes; the target one that takes the value. */
static RC add_rename(struct qctx *q, struct update *u, const struct update__mod *source,
                     struct filters *f, struct err *e)
{
    struct update__mod *m = ARENA_NEW(q->arena, struct update__mod);

    m->op = MOD_RENAME_TO;
    m->from = source->path;
    TRY(update__path_parse(q->arena, bval_str(source->operand), &m->path, e));
    u->renames[u->n_renames++] = m;
    return update__tree_add(q->arena, u->root, m, f->v, f->n, e);
}

static RC parse_operator(struct qctx *q, struct update *u, struct slice op, struct bdoc fields,
                         struct filters *f, struct err *e)
{
    struct biter it;

    biter_init(&it, fields);
    while (biter_next(&it)) {
        struct update__mod *m = ARENA_NEW(q->arena, struct update__mod);
        int depth;

        TRY(arena_check(q->arena, e));
        TRY(update__path_parse(q->arena, it.name, &m->path, e));
        m->operand = it.val;
        TRY(update__mod_parse(q, m, op, e));
        depth = m->path.n + update__value_depth(m->operand);
        u->depth = MAX(u->depth, depth);
        TRY(update__tree_add(q->arena, u->root, m, f->v, f->n, e));
        if (m->op == MOD_RENAME_FROM)
            TRY(add_rename(q, u, m, f, e));
    }
    return RC_OK;
}

static RC parse_operators(struct qctx *q, struct update *u, struct bdoc doc, struct filters *f,
                          struct err *e)
{
    struct biter it;

    u->root = ARENA_NEW(q->arena, struct update__node);
    u->renames = ARENA_ARRAY(q->arena, struct update__mod *, (size_t)count_renames(doc) + 1);
    biter_init(&it, doc);
    while (biter_next(&it)) {
        if (!update__is_operator(it.name))
            FAIL(
                e, ERR_FAILED_TO_PARSE,
                "unknown modifier: %.*s. Expected a valid update modifier or pipeline-style update specified as an array",
                (int)it.name.len, it.name.p);
        if (it.val.type != BT_DOCUMENT)
            FAIL(
                e, ERR_FAILED_TO_PARSE,
                "modifiers operate on fields but we found type %s instead. For example: {$mod: {<field>: ...}} not {%.*s: ...}",
                btype_name(it.val.type), (int)it.name.len, it.name.p);
        TRY(parse_operator(q, u, it.name, bval_doc(it.val), f, e));
    }
    return RC_OK;
}

/* ---- parsing ---- */

static RC parse_pipeline(struct qctx *q, const struct update_spec *spec, struct update *u,
                         struct err *e)
{
    u->style = UPDATE_PIPELINE;
    if (!bval_is_missing(spec->array_filters))
        FAIL(e, ERR_FAILED_TO_PARSE, "cannot specify arrayFilters and a pipeline update");
    u->pipeline_apply = spec->pipeline_apply;
    return spec->pipeline_parse(q, bval_doc(spec->u), spec->constants, &u->pipeline, e);
}

static RC check_replacement(const struct update_spec *spec, struct bdoc doc,
                            const struct filters *f, struct err *e)
{
    struct biter it;

    if (spec->multi)
        FAIL(e, ERR_FAILED_TO_PARSE, "multi update is not supported for replacement-style update");
    TRY(all_used(f, e));
    biter_init(&it, doc);
    while (biter_next(&it)) {
        if (it.name.len > 0 && it.name.p[0] == '$')
            FAIL(
                e, ERR_DOLLAR_PREFIXED_FIELD_NAME,
                "the dollar ($) prefixed field '%.*s' is not allowed in the context of an update's replacement document",
                (int)it.name.len, it.name.p);
    }
    return RC_OK;
}

RC update_parse(struct qctx *q, const struct update_spec *spec, struct update **out, struct err *e)
{
    struct update *u = ARENA_NEW(q->arena, struct update);
    struct filters f;
    struct biter it;

    *out = NULL;
    if (spec->u.type == BT_ARRAY) {
        TRY(parse_pipeline(q, spec, u, e));
        *out = u;
        return RC_OK;
    }
    if (spec->u.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "update argument must be either an object or an array");
    if (!bval_is_missing(spec->constants))
        FAIL(e, ERR_LOC(51198), "constant values may only be specified for pipeline updates");
    TRY(parse_filters(q, spec->array_filters, &f, e));
    biter_init(&it, bval_doc(spec->u));
    if (biter_next(&it) && it.name.len > 0 && it.name.p[0] == '$') {
        u->style = UPDATE_OPERATORS;
        TRY(parse_operators(q, u, bval_doc(spec->u), &f, e));
        TRY(all_used(&f, e));
    } else {
        u->style = UPDATE_REPLACEMENT;
        u->replacement = bval_doc(spec->u);
        TRY(check_replacement(spec, u->replacement, &f, e));
    }
    *out = u;
    return RC_OK;
}

bool update_is_replacement(const struct update *u)
{
    return u->style == UPDATE_REPLACEMENT;
}

/* ---- applying ---- */

static RC check_renames(struct update__apply *a, struct err *e)
{
    for (int i = 0; i < a->u->n_renames; i++) {
        const struct update__mod *m = a->u->renames[i];
        struct bval blocked, source = update__path_get(a->root, &m->from, &blocked);

        if (blocked.type == BT_ARRAY)
            FAIL(e, ERR_BAD_VALUE, "the source field cannot be an array element, '%.*s'",
                 (int)m->from.text.len, m->from.text.p);
        if (blocked.type != BT_MISSING)
            FAIL(e, ERR_PATH_NOT_VIABLE,
                 "cannot use the part of '%.*s' to traverse an element of type %s",
                 (int)m->from.text.len, m->from.text.p, btype_name(blocked.type));
        if (bval_is_missing(source))
            continue;
        if (slice_eq_str(m->from.parts[0], "_id") || slice_eq_str(m->path.parts[0], "_id"))
            FAIL(e, ERR_IMMUTABLE_FIELD,
                 "performing a $rename on the path '_id' would modify the immutable field '_id'");
        (void)update__path_get(a->root, &m->path, &blocked);
        if (blocked.type == BT_ARRAY)
            FAIL(e, ERR_BAD_VALUE, "the destination field cannot be an array element, '%.*s'",
                 (int)m->path.text.len, m->path.text.p);
    }
    return RC_OK;
}

static bool is_zero_timestamp(struct bval v)
{
    return v.type == BT_TIMESTAMP && bval_timestamp(v) == 0;
}

/* replace(): fields with _id first: its own, else the old one. */
static void replace(struct update__apply *a, struct bdoc fields, struct bval old_id,
                    bool fill_timestamps, struct bw *w)
{
    struct bval id = bdoc_get(fields, "_id");
    struct biter it;
    bool first = true;

    bw_val(w, "_id", bval_is_missing(id) ? old_id : id);
    biter_init(&it, fields);
    while (biter_next(&it)) {
        if (first && slice_eq_str(it.name, "_id")) {
            first = false;
            continue;
        }
        if (fill_timestamps && is_zero_timestamp(it.val))
            bw_timestamp(w, (const char *)it.name.p, ((uint64_t)(a->q->now_ms / 1000) << 32) | 1);
        else
            bw_val_slice(w, it.name, it.val);
    }
}

/* apply(): the update on doc, written to w (the outer document is open). */
static RC apply(struct update__apply *a, struct bdoc doc, struct bw *w, struct err *e)
{
    struct bdoc made;

    a->root = doc;
    switch (a->u->style) {
    case UPDATE_OPERATORS: TRY(check_renames(a, e)); return update__tree_apply(a, doc, w, e);
    case UPDATE_REPLACEMENT:
        replace(a, a->u->replacement, bdoc_get(doc, "_id"), true, w);
        return RC_OK;
    case UPDATE_PIPELINE:
        TRY(a->u->pipeline_apply(a->u->pipeline, a->q, doc, &made, e));
        replace(a, made, bdoc_get(doc, "_id"), false, w);
        return RC_OK;
    }
    return RC_OK;
}

static RC check_result(const struct update *u, struct bdoc d, struct err *e)
{
    if (d.len > UPDATE_DOC_MAX)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE,
             "the resulting document after the update is larger than %d bytes", UPDATE_DOC_MAX);
    if ((u->depth > 50 || u->n_renames > 0 || u->style == UPDATE_PIPELINE) &&
        bdoc_deeper_than(d, QUERY_DEPTH_MAX))
        FAIL(e, ERR_OVERFLOW, "the resulting document is nested deeper than %d levels",
             QUERY_DEPTH_MAX);
    return RC_OK;
}

static RC same_id(struct bval old, struct bval new_id, struct err *e)
{
    if (bval_is_missing(old) || (!bval_is_missing(new_id) && bval_eq(old, new_id)))
        return RC_OK;
    FAIL(e, ERR_IMMUTABLE_FIELD,
         "performing an update on the path '_id' would modify the immutable field '_id'");
}

RC update_apply(const struct update *u, struct qctx *q, struct bdoc doc,
                const struct match_hit *hit, struct bdoc *out, bool *changed, struct err *e)
{
    struct update__apply a = { .u = u, .q = q, .hit = hit };
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    *out = doc;
    *changed = false;
    buf_reserve(&b, doc.len + 64);
    bw_init(&w, &b);
    TRY(apply(&a, doc, &w, e));
    struct bdoc d = bw_finish(&w);

    TRY(same_id(bdoc_get(doc, "_id"), bdoc_get(d, "_id"), e));
    if (d.len == doc.len && memcmp(d.p, doc.p, d.len) == 0) {
        *changed = u->style == UPDATE_REPLACEMENT; /* MongoDB counts every replacement */
        return RC_OK;
    }
    TRY(check_result(u, d, e));
    TRY(arena_check(q->scratch, e));
    *changed = true;
    *out = (struct bdoc){ .p = arena_dup(q->scratch, d.p, d.len), .len = d.len };
    return RC_OK;
}

/* ---- upserts ---- */

struct seed {
    struct qctx *q;
    struct update *u; /* $set of each equality */
    bool only_id;
};

/* add_seed(): an equality of the query becomes a $set; paths that a stored document cannot have are left out. */
static RC add_seed(struct slice path, struct bval v, void *arg, struct err *e)
{
    struct seed *s = arg;
    struct update__mod *m = ARENA_NEW(s->q->arena, struct update__mod);

    if (s->only_id && !slice_eq_str(path, "_id") && !slice_has_prefix(path, SLICE_LIT("_id.")))
        return RC_OK;
    m->op = MOD_SET;
    m->operand = v;
    TRY(update__path_parse(s->q->arena, path, &m->path, e));
    return update__tree_add(s->q->arena, s->u->root, m, NULL, 0, e);
}

static RC seed_document(const struct update *u, struct qctx *q, const struct match *m,
                        struct bdoc *out, struct err *e)
{
    struct update made = { .style = UPDATE_OPERATORS,
                           .root = ARENA_NEW(q->arena, struct update__node) };
    struct seed s = { .q = q, .u = &made, .only_id = u->style == UPDATE_REPLACEMENT };
    struct update__apply a = { .u = &made, .q = q, .root = BDOC_EMPTY, .inserting = true };
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    *out = BDOC_EMPTY;
    TRY(match_equalities(m, add_seed, &s, e));
    bw_init(&w, &b);
    TRY(update__tree_apply(&a, BDOC_EMPTY, &w, e));
    *out = bw_done_arena(&w, q->arena);
    return RC_OK;
}

static RC check_id(struct bval id, struct err *e)
{
    if (id.type == BT_ARRAY || id.type == BT_REGEX || id.type == BT_UNDEFINED)
        FAIL(e, ERR_INVALID_ID_FIELD, "the '_id' value cannot be of type %s", btype_name(id.type));
    return RC_OK;
}

RC update_upsert(const struct update *u, struct qctx *q, const struct match *m, struct bdoc *out,
                 struct err *e)
{
    struct update__apply a = { .u = u, .q = q, .inserting = true };
    AUTO(buf_fini) struct buf b = BUF_INIT, ordered = BUF_INIT;
    struct bdoc seed;
    struct bw w;

    *out = BDOC_EMPTY;
    TRY(seed_document(u, q, m, &seed, e));
    bw_init(&w, &b);
    TRY(apply(&a, seed, &w, e));
    struct bdoc d = bw_finish(&w);
    struct bval id = bdoc_get(d, "_id");

    TRY(same_id(bdoc_get(seed, "_id"), id, e));
    TRY(check_id(id, e));
    if (bval_is_missing(id)) {
        uint8_t oid[12];

        oid_new(oid);
        id = bval_new_oid(q->scratch, oid);
    }
    bw_init(&w, &ordered); /* _id first */
    replace(&a, d, id, false, &w);
    d = bw_finish(&w);
    TRY(check_result(u, d, e));
    *out = (struct bdoc){ .p = arena_dup(q->scratch, d.p, d.len), .len = d.len };
    return RC_OK;
}
