/* apply.c - a projection on a document: the result is written front to back beside the source. */
#include "project_priv.h"

struct apply {
    const struct project *p;
    struct qctx *q;
    const struct match_hit *hit;
    struct expr_env env;
};

static RC apply_doc(struct apply *a, const struct project__node *n, struct bdoc d, bool cut,
                    struct bw *w, struct err *e);

/* ---- leaves ---- */

static void write_slice(const struct project__node *n, struct slice name, struct bval v,
                        struct bw *w)
{
    struct biter it;

    if (v.type != BT_ARRAY) {
        bw_val_slice(w, name, v);
        return;
    }
    int64_t count = bdoc_count(bval_doc(v)), from = 0, to;

    if (n->has_skip) {
        from = n->skip < 0 ? (n->skip < -count ? 0 : count + n->skip)
                           : (n->skip < count ? n->skip : count);
        to = n->limit < count - from ? from + n->limit : count;
    } else if (n->limit >= 0) {
        to = n->limit < count ? n->limit : count;
    } else {
        from = n->limit < -count ? 0 : count + n->limit;
        to = count;
    }
    bw_array_begin_slice(w, name);
    biter_init(&it, bval_doc(v));
    for (int64_t i = 0; i < to && biter_next(&it); i++) {
        if (i >= from)
            bw_val(w, NULL, it.val);
    }
    bw_array_end(w);
}

static struct bval element(struct bval array, uint32_t index)
{
    struct biter it;

    biter_init(&it, bval_doc(array));
    for (uint32_t i = 0; biter_next(&it); i++) {
        if (i == index)
            return it.val;
    }
    return BVAL_MISSING;
}

static RC write_elem_match(struct apply *a, const struct project__node *n, struct slice name,
                           struct bval v, struct bw *w, struct err *e)
{
    struct match_hit hit;
    bool matches;

    TRY(match_eval(n->match, a->q, bval_doc(a->env.root), &hit, &matches, e));
    if (!matches || !hit.has_index || v.type != BT_ARRAY)
        return RC_OK;
    bw_array_begin_slice(w, name);
    bw_val(w, NULL, element(v, hit.index));
    bw_array_end(w);
    return RC_OK;
}

/* positional(): the element that the query found. */
static RC positional(const struct apply *a, struct bval array, struct bval *out, struct err *e)
{
    *out = BVAL_MISSING;
    if (!a->hit || !a->hit->has_index)
        FAIL(
            e, ERR_LOC(51246),
            "executor error during find command: positional operator '.$' couldn't find a matching element in the array");
    *out = element(array, a->hit->index);
    if (bval_is_missing(*out))
        FAIL(e, ERR_LOC(51247),
             "executor error during find command: positional operator '.$' element mismatch");
    return RC_OK;
}

static RC write_expr(struct apply *a, const struct project__node *n, struct slice name,
                     struct bw *w, struct err *e)
{
    struct bval v;

    TRY(expr_eval(n->expr, &a->env, &v, e));
    bw_val_slice(w, name, v);
    return RC_OK;
}

/* ---- inner nodes ---- */

/* write_computed(): a document with what expressions put below n, where the source has none. */
static RC write_computed(struct apply *a, const struct project__node *n, struct slice name,
                         struct bw *w, struct err *e)
{
    bw_doc_begin_slice(w, name);
    TRY(apply_doc(a, n, BDOC_EMPTY, false, w, e));
    bw_doc_end(w);
    return RC_OK;
}

/* write_inner(): the value at an inner node. cut: the positional operator has yet to cut an array. */
static RC write_inner(struct apply *a, const struct project__node *n, struct slice name,
                      struct bval v, bool cut, struct bw *w, struct err *e)
{
    struct biter it;

    if (w->depth >= 2 * QUERY_DEPTH_MAX)
        FAIL(e, ERR_OVERFLOW, "the projected document is nested deeper than %d levels",
             QUERY_DEPTH_MAX);
    if (v.type == BT_DOCUMENT) {
        bw_doc_begin_slice(w, name);
        TRY(apply_doc(a, n, bval_doc(v), cut, w, e));
        bw_doc_end(w);
        return RC_OK;
    }
    if (v.type == BT_ARRAY) {
        bw_array_begin_slice(w, name);
        if (cut && n->positional) {
            TRY(positional(a, v, &v, e));
            TRY(write_inner(a, n, SLICE_EMPTY, v, false, w, e));
        } else {
            biter_init(&it, bval_doc(v));
            while (biter_next(&it))
                TRY(write_inner(a, n, SLICE_EMPTY, it.val, cut, w, e));
        }
        bw_array_end(w);
        return RC_OK;
    }
    if (n->computed)
        return write_computed(a, n, name, w, e);
    if (a->p->mode != MODE_INCLUDE)
        bw_val_slice(w, name, v);
    return RC_OK;
}

static RC write_present(struct apply *a, const struct project__node *n, struct slice name,
                        struct bval v, bool cut, struct bw *w, struct err *e)
{
    switch (n->leaf) {
    case LEAF_NONE: return write_inner(a, n, name, v, cut, w, e);
    case LEAF_INCLUDE:
        if (cut && n->positional && v.type == BT_ARRAY) {
            TRY(positional(a, v, &v, e));
            bw_array_begin_slice(w, name);
            bw_val(w, NULL, v);
            bw_array_end(w);
            return RC_OK;
        }
        bw_val_slice(w, name, v);
        return RC_OK;
    case LEAF_EXCLUDE: return RC_OK;
    case LEAF_SLICE: write_slice(n, name, v, w); return RC_OK;
    case LEAF_ELEM_MATCH: return write_elem_match(a, n, name, v, w, e);
    case LEAF_EXPR: return write_expr(a, n, name, w, e);
    }
    return RC_OK;
}

/* comes_last(): computed fields stand behind those of the source, but for $addFields, which keeps the place; so do $elemMatch's of an inclusion. */
static bool comes_last(const struct apply *a, const struct project__node *c)
{
    return (c->leaf == LEAF_EXPR && a->p->mode != MODE_ADD) ||
           (c->leaf == LEAF_ELEM_MATCH && a->p->mode == MODE_INCLUDE);
}

/* apply_doc(): the fields of the source in their order, then what is computed, in the order of the specification. */
static RC apply_doc(struct apply *a, const struct project__node *n, struct bdoc d, bool cut,
                    struct bw *w, struct err *e)
{
    bool *seen =
        n->computed || n == a->p->root ? ARENA_ARRAY(a->q->scratch, bool, (size_t)n->n + 1) : NULL;
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it)) {
        int at = project__find(n, it.name);

        if (at < 0) {
            if (a->p->mode != MODE_INCLUDE)
                bw_val_slice(w, it.name, it.val);
            continue;
        }
        const struct project__node *c = n->children[at];

        if (comes_last(a, c) || (c->leaf == LEAF_EXPR && seen && seen[at]))
            continue;
        if (seen)
            seen[at] = true;
        TRY(write_present(a, c, it.name, it.val, cut, w, e));
    }
    for (int i = 0; n->computed && i < n->n; i++) {
        const struct project__node *c = n->children[i];

        if ((!c->computed && !comes_last(a, c)) || (seen && seen[i]))
            continue;
        if (c->leaf == LEAF_ELEM_MATCH)
            TRY(write_elem_match(a, c, c->name, bdoc_get_slice(d, c->name), w, e));
        else if (c->leaf == LEAF_EXPR)
            TRY(write_expr(a, c, c->name, w, e));
        else
            TRY(write_computed(a, c, c->name, w, e));
    }
    return RC_OK;
}

RC project_apply(const struct project *p, struct qctx *q, struct bdoc doc,
                 const struct match_hit *hit, struct bdoc *out, struct err *e)
{
    struct bval root = bval_of_doc(doc, BT_DOCUMENT);
    struct apply a = {
        .p = p, .q = q, .hit = hit, .env = { .q = q, .root = root, .current = root }
    };
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    *out = doc;
    if (p->empty)
        return RC_OK;
    buf_reserve(&b, doc.len + 16);
    bw_init(&w, &b);
    TRY(apply_doc(&a, p->root, doc, true, &w, e));
    struct bdoc made = bw_finish(&w);

    if (p->root->computed && bdoc_deeper_than(made, QUERY_DEPTH_MAX))
        FAIL(e, ERR_OVERFLOW, "the projected document is nested deeper than %d levels",
             QUERY_DEPTH_MAX);
    *out = (struct bdoc){ .p = arena_dup(q->scratch, made.p, made.len), .len = made.len };
    return arena_check(q->scratch, e);
}
