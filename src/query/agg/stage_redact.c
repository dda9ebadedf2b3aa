/* stage_redact.c - $redact: an expression decides for each level of a document: keep, prune, or descend. */
#include "agg_priv.h"

#include "base/mem.h"
#include "bsonx/bw.h"

struct redact {
    struct expr *x;
};

struct redact_run {
    struct qctx q;
    const struct redact *rd;
    struct bval root;
};

static RC redact_doc(struct redact_run *rr, struct bdoc d, bool *keep, struct bdoc *out, int depth,
                     struct err *e);

static RC redact_value(struct redact_run *rr, struct bval v, bool *keep, struct bval *out,
                       int depth, struct err *e)
{
    *keep = true;
    *out = v;
    if (v.type == BT_DOCUMENT) {
        struct bdoc d;
        TRY(redact_doc(rr, bval_doc(v), keep, &d, depth, e));
        if (*keep)
            *out = bval_of_doc(d, BT_DOCUMENT);
        return RC_OK;
    }
    if (v.type != BT_ARRAY)
        return RC_OK;
    struct vals l = vals_in(rr->q.scratch);
    struct biter it;
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct bval w = it.val;
        bool stays = true;
        if (w.type == BT_DOCUMENT || w.type == BT_ARRAY)
            TRY(redact_value(rr, it.val, &stays, &w, depth, e));
        if (stays)
            vals_push(&l, w);
    }
    return vals_array(l.arena, l.v, l.n, out, e);
}

static RC redact_doc(struct redact_run *rr, struct bdoc d, bool *keep, struct bdoc *out, int depth,
                     struct err *e)
{
    struct expr_env env = { .q = &rr->q, .root = rr->root, .current = bval_of_doc(d, BT_DOCUMENT) };
    struct fields f = fields_in(rr->q.scratch);
    struct biter it;
    struct bval v;

    *keep = true;
    *out = d;
    if (depth > QUERY_DEPTH_MAX)
        FAIL(e, ERR_OVERFLOW, "document is nested deeper than %d levels", QUERY_DEPTH_MAX);
    TRY(expr_eval(rr->rd->x, &env, &v, e));
    struct slice s = v.type == BT_STRING ? bval_str(v) : SLICE_EMPTY;
    if (slice_eq_str(s, "keep"))
        return RC_OK;
    if (slice_eq_str(s, "prune")) {
        *keep = false;
        return RC_OK;
    }
    if (!slice_eq_str(s, "descend"))
        FAIL(
            e, ERR_LOC(17053),
            "$redact's expression should not return anything aside from the variables $$KEEP, $$DESCEND, and $$PRUNE, but returned %s",
            btype_name(v.type));
    biter_init(&it, d);
    while (biter_next(&it)) {
        bool stays;
        TRY(redact_value(rr, it.val, &stays, &v, depth + 1, e));
        if (stays)
            fields_push(&f, it.name, v);
    }
    TRY(fields_object(&f, &v, e));
    *out = bval_doc(v);
    return RC_OK;
}

struct redact_iter {
    struct iter it; /* must be first */
    /* the run's variables, which those of the parser only stood in for, and the three of the stage */
    struct buf let;
};

/* variables(): made once a run, because a pipeline below another has other values in each. */
static struct bdoc variables(struct redact_iter *ri)
{
    struct bw w;

    if (!ri->let.len) {
        bw_init(&w, &ri->let);
        bw_fields(&w, ri->it.r.q->let);
        bw_str(&w, "DESCEND", "descend");
        bw_str(&w, "PRUNE", "prune");
        bw_str(&w, "KEEP", "keep");
        bw_finish(&w);
    }
    return (struct bdoc){ .p = ri->let.p, .len = (uint32_t)ri->let.len };
}

static void redact_fini(struct iter *it)
{
    buf_fini(&CONTAINER_OF(it, struct redact_iter, it)->let);
}

static RC redact_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct iter *it = (struct iter *)s;
    struct redact_run rr = { .q = *it->r.q, .rd = it->s->data };

    rr.q.let = variables(CONTAINER_OF(it, struct redact_iter, it));
    for (;;) {
        struct arena_mark mark = arena_mark(it->r.q->scratch);
        struct bdoc in;
        bool keep;
        TRY(qctx_check(it->r.q, e));
        TRY(iter_pull(it, &in, valid, e));
        if (!*valid)
            return RC_OK;
        rr.root = bval_of_doc(in, BT_DOCUMENT);
        TRY(redact_doc(&rr, in, &keep, doc, 0, e));
        if (keep)
            return RC_OK;
        arena_rewind(it->r.q->scratch, mark);
    }
}

static STAGE_OPEN(open_redact)
{
    (void)e;
    *out = iter_new(sizeof(struct redact_iter), s, r, in, redact_next, redact_fini);
    return RC_OK;
}

STAGE_PARSE(stage__parse_redact)
{
    struct redact *rd = ARENA_NEW(sp->q->arena, struct redact);
    struct fields f = fields_in(sp->q->arena);
    struct bdoc outer = sp->q->let;
    struct bval let;

    fields_push_all(&f, outer);
    fields_set(&f, SLICE_LIT("DESCEND"), bval_new_str(f.arena, SLICE_LIT("descend")));
    fields_set(&f, SLICE_LIT("PRUNE"), bval_new_str(f.arena, SLICE_LIT("prune")));
    fields_set(&f, SLICE_LIT("KEEP"), bval_new_str(f.arena, SLICE_LIT("keep")));
    TRY(fields_object(&f, &let, e));
    sp->q->let = bval_doc(let);
    rc_t rc = expr_parse(sp->q, spec, &rd->x, e);
    sp->q->let = outer;
    TRY(rc);
    pipeline__add(sp, def, spec, rd)->open = open_redact;
    return RC_OK;
}
