/* stage_window.c - $setWindowFields: documents sorted by partition and sort keys, then given out a partition at a time.
 *
 * The input becomes {p: partition, d: document} and goes through the sorter, which spills. One partition is held in memory at a time; one that does
 * not fit is refused.
 */
#include "window_priv.h"

#include "base/mem.h"

struct window_iter {
    struct iter it;
    struct window_part part;
    struct buf ahead; /* the next partition's first document, wrapped */
    uint32_t at;
    bool ended;
};

static RC wrap_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct iter *it = (struct iter *)s;
    const struct windows *w = it->s->data;
    struct slice wrap[2] = { SLICE_LIT("p"), SLICE_LIT("d") };
    struct bval v[2] = { bval_new_null(), BVAL_MISSING }, o;
    struct bdoc in;

    TRY(iter_pull(it, &in, valid, e));
    if (!*valid)
        return RC_OK;
    if (w->partition)
        TRY(stage__eval(w->partition, it->r.q, in, &v[0], e));
    if (bval_is_missing(v[0]))
        v[0] = bval_new_null();
    if (v[0].type == BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH,
             "An expression used to partition cannot evaluate to value of type array");
    v[1] = bval_of_doc(in, BT_DOCUMENT);
    TRY(vals_object(it->r.q->scratch, wrap, v, 2, &o, e));
    *doc = bval_doc(o);
    return RC_OK;
}

static RC add_row(struct window_iter *wi, struct bdoc wrapped, struct err *e)
{
    const struct windows *w = wi->it.s->data;
    struct window_part *p = &wi->part;

    if (p->n == p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 : 64;
        struct window_row *more = arena_alloc(p->mem, sizeof(*more) * cap);
        if (p->n)
            memcpy(more, p->rows, sizeof(*more) * p->n);
        p->rows = more;
        p->cap = cap;
    }
    struct window_row *r = &p->rows[p->n];
    r->doc = bval_doc(bval_dup(p->mem, bdoc_get(wrapped, "d")));
    r->key = w->sort && w->sort->n
                 ? doc_plain_path(r->doc, w->sort->keys[0].parts, w->sort->keys[0].n_parts)
                 : BVAL_MISSING;
    r->x = arena_alloc(p->mem, sizeof(*r->x) * ((size_t)w->n * 2 + 1));
    r->y = r->x + w->n;
    for (int k = 0; k < w->n; k++) {
        const struct window_fn *fn = &w->fns[k];
        struct bval x = BVAL_MISSING, y = BVAL_MISSING;
        if (fn->kind == WIN_ACC)
            TRY(acc_eval(&fn->acc, p->q, r->doc, &x, e));
        else if (fn->x)
            TRY(stage__eval(fn->x, p->q, r->doc, &x, e));
        if (fn->y)
            TRY(stage__eval(fn->y, p->q, r->doc, &y, e));
        r->x[k] = bval_dup(p->mem, x);
        r->y[k] = bval_dup(p->mem, y);
        TRY(window__check_key(fn, r->key, e));
    }
    p->n++;
    if (arena_used(p->mem) > stage__memory(&wi->it.r))
        FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT,
             "a partition of $setWindowFields exceeds the memory limit of %zu bytes",
             stage__memory(&wi->it.r));
    return RC_OK;
}

static RC load_partition(struct window_iter *wi, struct err *e)
{
    const struct windows *w = wi->it.s->data;
    struct window_part *p = &wi->part;
    struct bval id = BVAL_MISSING;

    arena_reset(p->mem);
    p->n = p->cap = 0;
    p->rows = NULL;
    p->st = ARENA_ARRAY(p->mem, struct window_state, (size_t)w->n + 1);
    wi->at = 0;
    if (wi->ahead.len) {
        struct bdoc d = { .p = wi->ahead.p, .len = (uint32_t)wi->ahead.len };
        id = bval_dup(p->mem, bdoc_get(d, "p"));
        TRY(add_row(wi, d, e));
        buf_clear(&wi->ahead);
    }
    while (!wi->ended) {
        struct arena_mark mark = arena_mark(p->q->scratch);
        struct bdoc d;
        bool valid;
        TRY(iter_pull(&wi->it, &d, &valid, e));
        wi->ended = !valid;
        if (!valid)
            break;
        if (p->n == 0) {
            id = bval_dup(p->mem, bdoc_get(d, "p"));
        } else if (bval_cmp_in(p->q->collator, id, bdoc_get(d, "p")) != 0) {
            buf_push(&wi->ahead, d.p, d.len);
            arena_rewind(p->q->scratch, mark);
            break;
        }
        TRY(add_row(wi, d, e));
        arena_rewind(p->q->scratch, mark);
        TRY(qctx_check(p->q, e));
    }
    return RC_OK;
}

static RC window_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct window_iter *wi = (struct window_iter *)s;
    const struct windows *w = wi->it.s->data;
    struct window_part *p = &wi->part;

    *valid = false;
    if (wi->at == p->n) {
        TRY(load_partition(wi, e));
        if (p->n == 0)
            return RC_OK;
    }
    uint32_t i = wi->at++;
    struct bdoc out = p->rows[i].doc;
    for (int k = 0; k < w->n; k++) {
        struct bval v;
        TRY(window__value(p, &w->fns[k], &p->st[k], i, &v, e));
        TRY(doc_set_path(p->q->scratch, out, w->fns[k].parts, w->fns[k].n_parts, v, &out, e));
    }
    TRY(qctx_check(p->q, e));
    *doc = out;
    *valid = true;
    return stage__check_made(out, e);
}

static void window_fini(struct iter *it)
{
    struct window_iter *wi = (struct window_iter *)it;

    buf_fini(&wi->ahead);
    arena_free(wi->part.mem);
}

static STAGE_OPEN(open_window)
{
    const struct windows *w = s->data;
    struct doc_source *at = iter_new(sizeof(struct iter), s, r, in, wrap_next, NULL);

    if (w->order)
        TRY(sort_source(w->order, r->q, r->env, at, 0, &at, e));
    struct window_iter *wi = iter_new(sizeof(*wi), s, r, at, window_next, window_fini);
    wi->part.q = r->q;
    wi->part.mem = arena_new(0);
    *out = &wi->it.src;
    return RC_OK;
}

/* The sort of the wrapped documents: the partition first, then each key below d. */
static RC parse_order(struct qctx *q, struct windows *w, struct bval sort, struct err *e)
{
    struct fields f = fields_in(q->arena);
    struct bval o;
    struct biter it;

    if (!bval_is_missing(sort) && sort.type != BT_NULL) {
        if (sort.type != BT_DOCUMENT)
            FAIL(
                e, ERR_TYPE_MISMATCH,
                "BSON field '$setWindowFields.sortBy' is the wrong type '%s', expected type 'object'",
                btype_name(sort.type));
        TRY(sort_spec_parse(q, bval_doc(sort), &w->sort, e));
    }
    if (!w->partition && !w->sort)
        return RC_OK;
    fields_push(&f, SLICE_LIT("p"), bval_new_i32(q->arena, 1));
    if (w->sort) {
        biter_init(&it, bval_doc(sort));
        while (biter_next(&it))
            fields_push(&f,
                        slice_str(arena_printf(q->arena, "d.%.*s", (int)it.name.len,
                                               (const char *)it.name.p)),
                        it.val);
    }
    TRY(fields_object(&f, &o, e));
    return sort_spec_parse(q, bval_doc(o), &w->order, e);
}

STAGE_PARSE(stage__parse_set_window_fields)
{
    struct windows *w = ARENA_NEW(sp->q->arena, struct windows);
    struct bval partition, sort, output;
    const struct stage_opt opts[] = { { "partitionBy", &partition },
                                      { "sortBy", &sort },
                                      { "output", &output } };
    struct biter it;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "the $setWindowFields stage specification must be an object");
    TRY(stage__options(spec, "setWindowFields", opts, 3, ERR_IDL_UNKNOWN_FIELD, e));
    if (bval_is_missing(output))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field '$setWindowFields.output' is missing but a required field");
    if (output.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$setWindowFields.output' is the wrong type '%s', expected type 'object'",
             btype_name(output.type));
    if (!bval_is_missing(partition))
        TRY(expr_parse(sp->q, partition, &w->partition, e));
    TRY(parse_order(sp->q, w, sort, e));
    w->fns = ARENA_ARRAY(sp->q->arena, struct window_fn, bdoc_count(bval_doc(output)) + 1);
    biter_init(&it, bval_doc(output));
    while (biter_next(&it)) {
        TRY(window__parse_fn(sp->q, w, it.name, it.val, &w->fns[w->n], e));
        w->n++;
    }
    pipeline__add(sp, def, spec, w)->open = open_window;
    return RC_OK;
}
