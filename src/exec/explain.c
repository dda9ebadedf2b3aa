/* explain.c - the winning plan in MongoDB's words: IDHACK, COLLSCAN, IXSCAN under FETCH, OR, SORT, SKIP, LIMIT, PROJECTION_*. */
#include "exec_priv.h"

#include <math.h>

static void put_value(struct buf *b, struct bval v, bool upper)
{
    if (v.type == BT_MIN_KEY)
        buf_printf(b, "MinKey");
    else if (v.type == BT_MAX_KEY)
        buf_printf(b, "MaxKey");
    else if (v.type == BT_MISSING)
        buf_printf(b, upper ? "inf" : "-inf"); /* the end of the operand's class */
    else
        bval_to_json(v, b);
}

static void put_bounds(struct bw *w, const struct plan *p)
{
    const struct index_def *d = p->index;

    bw_doc_begin(w, "indexBounds");
    for (int i = 0; i < d->n_fields; i++) {
        const struct field_bounds *f = &p->bounds[i];
        bool back = p->backward != d->fields[i].desc;
        bw_array_begin_slice(w, d->fields[i].path);
        for (int j = 0; j < f->n; j++) {
            const struct interval *v = &f->v[back ? f->n - 1 - j : j];
            AUTO(buf_fini) struct buf b = BUF_INIT;
            buf_push_u8(&b, (back ? v->hi_incl : v->lo_incl) ? '[' : '(');
            put_value(&b, back ? v->v_hi : v->v_lo, back);
            buf_push(&b, ", ", 2);
            put_value(&b, back ? v->v_lo : v->v_hi, !back);
            buf_push_u8(&b, (back ? v->lo_incl : v->hi_incl) ? ']' : ')');
            bw_str_slice(w, NULL, buf_view(&b));
        }
        bw_array_end(w);
    }
    bw_doc_end(w);
}

static void put_multikey_paths(struct bw *w, const struct index_def *d)
{
    uint32_t bits = atomic_load(&d->multikey);

    bw_doc_begin(w, "multiKeyPaths");
    for (int i = 0; i < d->n_fields; i++) {
        bw_array_begin_slice(w, d->fields[i].path);
        if (bits & (1u << i))
            bw_str_slice(w, NULL, d->fields[i].path);
        bw_array_end(w);
    }
    bw_doc_end(w);
}

static void put_counters(const struct exec *x, struct bw *w, bool keys)
{
    bw_count(w, "nReturned", x->stats.returned);
    bw_count(w, "works", x->stats.docs_examined + x->stats.keys_examined + 1);
    bw_i32(w, "isEOF", 1);
    if (keys)
        bw_count(w, "keysExamined", x->stats.keys_examined);
    else
        bw_count(w, "docsExamined", x->stats.docs_examined);
}

static void put_ixscan(const struct exec *x, const struct plan *p, struct bw *w, const char *name,
                       bool stats)
{
    const struct index_def *d = p->index;

    bw_doc_begin(w, name);
    bw_str(w, "stage", "IXSCAN");
    if (stats)
        put_counters(x, w, true);
    bw_doc(w, "keyPattern", d->pattern);
    bw_str(w, "indexName", d->name);
    if (d->collator)
        bw_doc(w, "collation", collation_doc(d->collator));
    bw_bool(w, "isMultiKey", atomic_load(&d->multikey) != 0);
    put_multikey_paths(w, d);
    bw_bool(w, "isUnique", d->unique);
    bw_bool(w, "isSparse", d->sparse);
    bw_bool(w, "isPartial", d->partial != NULL);
    bw_i32(w, "indexVersion", 2);
    bw_str(w, "direction", p->backward ? "backward" : "forward");
    put_bounds(w, p);
    bw_doc_end(w);
}

static void put_filter(const struct exec *x, struct bw *w)
{
    if (x->check_filter)
        bw_doc(w, "filter", match_to_bson(x->s.match, x->s.q->arena));
}

static void put_access(const struct exec *x, const struct plan *p, struct bw *w, const char *name,
                       bool stats)
{
    switch (p->kind) {
    case PLAN_EOF:
        bw_doc_begin(w, name);
        bw_str(w, "stage", "EOF");
        if (stats)
            put_counters(x, w, false);
        bw_doc_end(w);
        return;
    case PLAN_COLLSCAN:
        bw_doc_begin(w, name);
        bw_str(w, "stage", "COLLSCAN");
        put_filter(x, w);
        if (stats)
            put_counters(x, w, false);
        bw_str(w, "direction", p->backward ? "backward" : "forward");
        bw_doc_end(w);
        return;
    case PLAN_IDHACK:
        bw_doc_begin(w, name);
        bw_str(w, "stage", "IDHACK");
        put_filter(x, w);
        if (stats)
            put_counters(x, w, false);
        bw_doc(w, "keyPattern", p->index->pattern);
        bw_str(w, "indexName", p->index->name);
        bw_doc_end(w);
        return;
    case PLAN_IXSCAN:
        if (p->covered) {
            put_ixscan(x, p, w, name, stats);
            return;
        }
        bw_doc_begin(w, name);
        bw_str(w, "stage", "FETCH");
        put_filter(x, w);
        if (stats)
            put_counters(x, w, false);
        put_ixscan(x, p, w, "inputStage", stats);
        bw_doc_end(w);
        return;
    case PLAN_OR:
        bw_doc_begin(w, name);
        bw_str(w, "stage", "FETCH");
        put_filter(x, w);
        bw_doc_begin(w, "inputStage");
        bw_str(w, "stage", "OR");
        bw_array_begin(w, "inputStages");
        for (int i = 0; i < p->n_sub; i++)
            put_ixscan(x, p->sub[i], w, NULL, stats);
        bw_array_end(w);
        bw_doc_end(w);
        bw_doc_end(w);
        return;
    }
}

static const char *projection_stage(const struct exec *x)
{
    struct biter it;

    if (x->plan->covered)
        return "PROJECTION_COVERED";
    biter_init(&it, x->s.project_doc);
    while (biter_next(&it))
        if (memchr(it.name.p, '.', it.name.len) ||
            (!bval_is_number(it.val) && it.val.type != BT_BOOL))
            return "PROJECTION_DEFAULT";
    return "PROJECTION_SIMPLE";
}

void exec_explain(const struct exec *x, struct bw *w, const char *name, bool stats)
{
    int depth = 0;
    const char *at = name;

    if (x->s.limit && !x->blocking_sort && x->plan->kind != PLAN_EOF) {
        bw_doc_begin(w, at);
        bw_str(w, "stage", "LIMIT");
        if (stats)
            put_counters(x, w, false);
        bw_i64(w, "limitAmount", x->s.limit);
        at = "inputStage";
        depth++;
    }
    if (x->s.project && x->plan->kind != PLAN_EOF) {
        bw_doc_begin(w, at);
        bw_str(w, "stage", projection_stage(x));
        if (stats)
            put_counters(x, w, false);
        bw_doc(w, "transformBy", x->s.project_doc);
        at = "inputStage";
        depth++;
    }
    if (x->s.skip && x->plan->kind != PLAN_EOF) {
        bw_doc_begin(w, at);
        bw_str(w, "stage", "SKIP");
        if (stats)
            put_counters(x, w, false);
        bw_i64(w, "skipAmount", x->s.skip);
        at = "inputStage";
        depth++;
    }
    if (x->blocking_sort) {
        bw_doc_begin(w, at);
        bw_str(w, "stage", "SORT");
        if (stats)
            put_counters(x, w, false);
        bw_doc(w, "sortPattern", x->s.sort);
        bw_i64(w, "memLimit", 104857600);
        if (x->s.limit)
            bw_i64(w, "limitAmount", x->s.limit + x->s.skip);
        bw_str(w, "type", "simple");
        at = "inputStage";
        depth++;
    }
    put_access(x, x->plan, w, at, stats);
    while (depth-- > 0)
        bw_doc_end(w);
}
