/* stage_unwind.c - $unwind: a document for each element of an array. */
#include "agg_priv.h"

#include "base/mem.h"

struct unwind {
    const struct slice *parts;
    int n_parts;
    bool preserve;
    bool has_index;
    const struct slice *index_parts;
    int n_index_parts;
};

struct unwind_iter {
    struct iter it;
    struct buf doc; /* the document being unwound */
    struct biter at;
    int64_t i;
    bool active;
};

/* The document with v at the path (or without it), and the index where it belongs. */
static RC emit(struct unwind_iter *u, struct bdoc doc, bool set, struct bval v, struct bval index,
               struct bdoc *out, struct err *e)
{
    const struct unwind *w = u->it.s->data;
    struct arena *a = u->it.r.q->scratch;

    *out = doc;
    if (set)
        TRY(doc_set_path(a, *out, w->parts, w->n_parts, v, out, e));
    if (w->has_index)
        TRY(doc_set_path(a, *out, w->index_parts, w->n_index_parts, index, out, e));
    return w->has_index ? stage__check_made(*out, e) : RC_OK;
}

static RC start(struct unwind_iter *u, struct bdoc doc, bool *emitted, struct bdoc *out,
                struct err *e)
{
    const struct unwind *w = u->it.s->data;
    struct bval v = doc_plain_path(doc, w->parts, w->n_parts);

    *emitted = false;
    if (v.type == BT_ARRAY && !bdoc_is_empty(bval_doc(v))) {
        buf_clear(&u->doc); /* kept over calls: the caller may rewind what doc stands in */
        buf_push(&u->doc, doc.p, doc.len);
        struct bdoc own = { .p = u->doc.p, .len = (uint32_t)u->doc.len };
        biter_init(&u->at, bval_doc(doc_plain_path(own, w->parts, w->n_parts)));
        u->i = 0;
        u->active = true;
        return RC_OK;
    }
    bool empty = v.type == BT_ARRAY || bval_is_nullish(v);
    if (empty && !w->preserve)
        return RC_OK;
    *emitted = true;
    return emit(u, doc, v.type == BT_ARRAY, BVAL_MISSING, bval_new_null(), out, e);
}

static RC unwind_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct unwind_iter *u = (struct unwind_iter *)s;

    for (;;) {
        struct arena_mark mark = arena_mark(u->it.r.q->scratch);
        struct bdoc in;
        bool emitted;
        if (u->active && biter_next(&u->at)) {
            in = (struct bdoc){ .p = u->doc.p, .len = (uint32_t)u->doc.len };
            *valid = true;
            TRY(qctx_check(u->it.r.q, e));
            return emit(u, in, true, u->at.val, bval_new_i64(u->it.r.q->scratch, u->i++), doc, e);
        }
        u->active = false;
        TRY(iter_pull(&u->it, &in, valid, e));
        if (!*valid)
            return RC_OK;
        TRY(start(u, in, &emitted, doc, e));
        if (emitted)
            return RC_OK;
        arena_rewind(u->it.r.q->scratch, mark);
        TRY(qctx_check(u->it.r.q, e));
    }
}

static void unwind_fini(struct iter *it)
{
    buf_fini(&((struct unwind_iter *)it)->doc);
}

static STAGE_OPEN(open_unwind)
{
    (void)e;
    *out = iter_new(sizeof(struct unwind_iter), s, r, in, unwind_next, unwind_fini);
    return RC_OK;
}

static RC unwind_options(struct bval spec, struct unwind *w, struct bval *path, struct arena *a,
                         struct err *e)
{
    struct biter it;

    *path = BVAL_MISSING;
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "path")) {
            if (it.val.type != BT_STRING)
                FAIL(e, ERR_LOC(28808), "expected a string as the path for $unwind stage, got %s",
                     btype_name(it.val.type));
            *path = it.val;
        } else if (slice_eq_str(it.name, "preserveNullAndEmptyArrays")) {
            if (it.val.type != BT_BOOL)
                FAIL(
                    e, ERR_LOC(28809),
                    "expected a boolean for the preserveNullAndEmptyArrays option to $unwind stage, got %s",
                    btype_name(it.val.type));
            w->preserve = bval_bool(it.val);
        } else if (slice_eq_str(it.name, "includeArrayIndex")) {
            if (it.val.type != BT_STRING || bval_str(it.val).len == 0)
                FAIL(
                    e, ERR_LOC(28810),
                    "expected a non-empty string for the includeArrayIndex option to $unwind stage");
            if (bval_str(it.val).p[0] == '$')
                FAIL(e, ERR_LOC(28822),
                     "includeArrayIndex option to $unwind stage should not be prefixed with a '$'");
            TRY(expr_split_path(a, bval_str(it.val), &w->index_parts, &w->n_index_parts, e));
            w->has_index = true;
        } else {
            FAIL(e, ERR_LOC(28811), "unrecognized option to $unwind stage: %.*s", (int)it.name.len,
                 (const char *)it.name.p);
        }
    }
    return RC_OK;
}

STAGE_PARSE(stage__parse_unwind)
{
    struct unwind *w = ARENA_NEW(sp->q->arena, struct unwind);
    struct bval path = spec;

    if (spec.type == BT_DOCUMENT)
        TRY(unwind_options(spec, w, &path, sp->q->arena, e));
    else if (spec.type != BT_STRING)
        FAIL(e, ERR_LOC(15981),
             "expected either a string or an object as specification for $unwind stage, got %s",
             btype_name(spec.type));
    if (bval_is_missing(path) || bval_str(path).len == 0)
        FAIL(e, ERR_LOC(28812), "no path specified to $unwind stage");
    struct slice p = bval_str(path);
    if (p.p[0] != '$')
        FAIL(e, ERR_LOC(28818), "path option to $unwind stage should be prefixed with a '$'");
    if (memchr(p.p, 0, p.len))
        FAIL(e, ERR_LOC(16419), "field path must not contain embedded null bytes");
    TRY(expr_split_path(sp->q->arena, SLICE(p.p + 1, p.len - 1), &w->parts, &w->n_parts, e));
    pipeline__add(sp, def, spec, w)->open = open_unwind;
    return RC_OK;
}
