/* exec.c - an opened plan: scan, filter, sort, skip, limit, projection. */
#include "exec_priv.h"

static void row_source_close(struct doc_source *s);
static RC row_source_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e);

/* What a sort reads: filtered rows; the distance before their fields when that is what orders them, their record id behind when it is wanted after the sort. */
struct row_source {
    struct doc_source base;
    struct exec *x;
    struct buf buf;
};

static const char rid_field[] = "$recordId";
static const char distance_field[] = "distance";

static RC filtered(struct exec *x, struct exec_row *row, bool *valid, struct err *e)
{
    for (;;) {
        bool ok = true;
        TRY(qctx_check(&x->q, e));
        arena_reset(x->scratch);
        TRY(exec__scan_next(x->scan, row, valid, e));
        if (!*valid)
            return RC_OK;
        if (x->check_filter)
            TRY(match_eval(x->s.match, &x->q, row->doc, NULL, &ok, e));
        if (ok)
            return RC_OK;
    }
}

static struct bdoc with_rid(struct buf *b, struct bdoc doc, uint64_t rid)
{
    struct bw w;

    buf_clear(b);
    bw_init(&w, b);
    bw_fields(&w, doc);
    bw_i64(&w, rid_field, (int64_t)rid);
    return bw_finish(&w);
}

static bool carries_rid(const struct exec *x)
{
    return x->s.want_rid || x->s.show_record_id;
}

/* carried(): the row as the sort gets it. */
static RC carried(struct row_source *r, const struct exec_row *row, struct bdoc *out, struct err *e)
{
    struct exec *x = r->x;
    double distance;
    bool has;
    struct bw w;

    *out = row->doc;
    if (!x->by_distance && !carries_rid(x))
        return RC_OK;
    buf_clear(&r->buf);
    bw_init(&w, &r->buf);
    if (x->by_distance) {
        TRY(match_distance(x->s.match, &x->q, row->doc, &distance, &has, NULL, e));
        bw_double(&w, distance_field, distance);
    }
    bw_fields(&w, row->doc);
    if (carries_rid(x))
        bw_i64(&w, rid_field, (int64_t)row->rid);
    *out = bw_finish(&w);
    return RC_OK;
}

/* uncarry(): the document as it was before carried(), and its record id. */
static void uncarry(const struct exec *x, struct buf *b, struct exec_row *row)
{
    bool first = x->by_distance;
    struct biter it;
    struct bw w;

    buf_clear(b);
    bw_init(&w, b);
    biter_init(&it, row->doc);
    for (; biter_next(&it); first = false) {
        bool last = it.at >= it.end || !*it.at;
        if (last && carries_rid(x))
            row->rid = (uint64_t)bval_i64(it.val);
        else if (!first)
            bw_val_slice(&w, it.name, it.val);
    }
    row->doc = bw_finish(&w);
}

static RC row_source_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct row_source *r = CONTAINER_OF(s, struct row_source, base);
    struct exec_row row = { 0 };

    TRY(filtered(r->x, &row, valid, e));
    return *valid ? carried(r, &row, doc, e) : RC_OK;
}

static void row_source_close(struct doc_source *s)
{
    struct row_source *r = CONTAINER_OF(s, struct row_source, base);

    buf_fini(&r->buf);
    mem_free(r);
}

static RC open_sort(struct exec *x, struct err *e)
{
    struct row_source *r = NEW(struct row_source);
    int64_t limit = 0;

    r->base = (struct doc_source){ .next = row_source_next, .close = row_source_close };
    r->x = x;
    if (x->s.limit && !i64_add(x->s.limit, x->s.skip, &limit))
        limit = 0;
    return sort_source(x->sort_spec, &x->q, x->s.env, &r->base, limit, &x->sorted, e);
}

static bool is_natural(struct bdoc sort)
{
    return !bval_is_missing(bdoc_get(sort, "$natural"));
}

static void count_use(struct exec *x, const struct plan *p)
{
    if (p->kind == PLAN_COLLSCAN)
        atomic_fetch_add_explicit(&x->s.coll->usage.n_scans, 1, memory_order_relaxed);
    if (p->index)
        atomic_fetch_add_explicit(&p->index->n_uses, 1, memory_order_relaxed);
    for (int i = 0; i < p->n_sub; i++)
        count_use(x, p->sub[i]);
}

static RC sort_by_distance(struct exec *x, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_i32(&w, distance_field, 1);
    return sort_spec_parse(x->s.q, bw_done_arena(&w, x->s.q->arena), &x->sort_spec, e);
}

static RC open_plan(struct exec *x, struct err *e)
{
    struct planner p = { .s = &x->s, .a = x->s.q->arena };

    TRY(coll_view(x->s.coll, &x->indexes, &x->snap, e));
    p.indexes = x->indexes;
    /* min and max go with the index of their hint */
    if (bdoc_is_empty(x->s.min) && bdoc_is_empty(x->s.max))
        p.filtered = exec__filter_find(&x->s, x->s.q->arena, &p.allowed);
    TRY(exec__plan(&p, &x->plan, e));
    x->filtered = p.filtered && x->plan->kind != PLAN_IDHACK; /* which was not chosen from any */
    x->check_filter = x->s.match && x->s.match->root->n_children > 0 &&
                      !(x->plan->kind == PLAN_IDHACK && !x->plan->match);
    if (x->plan->kind == PLAN_IDHACK && !x->plan->match)
        x->check_filter = false;
    x->by_distance = x->s.match && x->s.match->near && !x->sort_spec;
    x->blocking_sort = !x->plan->gives_sort || x->by_distance;
    if (x->by_distance)
        TRY(sort_by_distance(x, e));
    count_use(x, x->plan);
    x->scan = exec__scan_new(x, x->plan);
    return RC_OK;
}

RC exec_open(const struct exec_spec *s, struct exec **out, struct err *e)
{
    struct exec *x = NEW(struct exec);
    rc_t rc = RC_OK;

    *out = NULL;
    x->s = *s;
    if (x->s.coll)
        catalog_coll_ref(x->s.coll);
    x->scratch = arena_new(0);
    x->q = *s->q;
    x->q.scratch = x->scratch;
    x->store = s->catalog ? catalog_store(s->catalog) : NULL;
    if (!bdoc_is_empty(s->sort) && !is_natural(s->sort))
        rc = sort_spec_parse(x->s.q, s->sort, &x->sort_spec, e);
    if (!rc.failed && s->coll && !s->coll->is_view) {
        rc = open_plan(x, e);
    } else if (!rc.failed) {
        x->plan = ARENA_NEW(s->q->arena, struct plan);
        *x->plan = (struct plan){ .kind = PLAN_EOF, .gives_sort = true };
        x->scan = exec__scan_new(x, x->plan);
    }
    if (rc.failed) {
        exec_close(x);
        return rc;
    }
    *out = x;
    return RC_OK;
}

void exec_close(struct exec *x)
{
    if (!x)
        return;
    doc_source_close(x->sorted);
    exec__scan_close(x->scan);
    store_pin_release(&x->pin);
    coll_indexes_unref(x->indexes);
    if (x->snap)
        store_snapshot_release(x->snap);
    catalog_coll_unref(x->s.coll);
    buf_fini(&x->row_buf);
    buf_fini(&x->key_doc);
    arena_free(x->scratch);
    mem_free(x);
}

void exec_closep(struct exec **x)
{
    exec_close(*x);
    *x = NULL;
}

static RC pull(struct exec *x, struct exec_row *row, bool *valid, struct err *e)
{
    if (!x->blocking_sort)
        return filtered(x, row, valid, e);
    if (!x->sorted)
        TRY(open_sort(x, e));
    arena_reset(x->scratch); /* before: what was spilled is read into it */
    TRY(x->sorted->next(x->sorted, &row->doc, valid, e));
    if (*valid) {
        row->rid = 0;
        if (x->by_distance || carries_rid(x))
            uncarry(x, &x->row_buf, row);
    }
    return RC_OK;
}

static RC project_row(struct exec *x, struct exec_row *row, struct err *e)
{
    struct match_hit hit = { 0 };

    if (x->s.project) {
        if (x->s.match && project_needs_hit(x->s.project)) {
            bool ok;
            TRY(match_eval(x->s.match, &x->q, row->doc, &hit, &ok, e));
        }
        TRY(project_apply(x->s.project, &x->q, row->doc, &hit, &row->doc, e));
    }
    if (x->s.return_key)
        row->doc = x->key_doc.len && !x->sorted
                       ? (struct bdoc){ .p = x->key_doc.p, .len = (uint32_t)x->key_doc.len }
                       : BDOC_EMPTY;
    if (x->s.show_record_id) {
        struct buf b = BUF_INIT;
        struct bdoc d = with_rid(&b, row->doc, row->rid);
        row->doc = (struct bdoc){ .p = arena_dup(x->scratch, d.p, d.len), .len = d.len };
        buf_fini(&b);
    }
    return RC_OK;
}

RC exec_next(struct exec *x, struct exec_row *row, bool *valid, struct err *e)
{
    *valid = false;
    *row = (struct exec_row){ .doc = BDOC_EMPTY };
    if (x->done)
        return RC_OK;
    x->q.deadline_us = x->s.q->deadline_us;
    x->q.interrupt = x->s.q->interrupt;
    if (x->s.coll && atomic_load(&x->s.coll->dropped))
        FAIL(e, ERR_QUERY_PLAN_KILLED, "collection dropped");
    do {
        TRY(pull(x, row, valid, e));
        if (!*valid) {
            x->done = true;
            return RC_OK;
        }
    } while (x->skipped++ < x->s.skip);
    x->skipped = x->s.skip;
    TRY(project_row(x, row, e));
    x->stats.returned = ++x->returned;
    if (x->s.limit && x->returned >= x->s.limit)
        x->done = true;
    return RC_OK;
}

void exec_stats(const struct exec *x, struct exec_stats *out)
{
    *out = x->stats;
}

const struct match *exec_match(const struct exec *x)
{
    return x->s.match;
}

void exec_shape_of(const struct exec *x, struct buf *out)
{
    exec_shape(&x->s, out);
}

bool exec_is_filtered(const struct exec *x)
{
    return x->filtered;
}

bool exec_is_point(const struct exec *x)
{
    return x->plan->point || x->plan->kind == PLAN_EOF;
}

struct exec_doc_source {
    struct doc_source base;
    struct exec *x;
};

static RC doc_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct exec_row row;

    TRY(exec_next(CONTAINER_OF(s, struct exec_doc_source, base)->x, &row, valid, e));
    *doc = row.doc;
    return RC_OK;
}

static void doc_close(struct doc_source *s)
{
    struct exec_doc_source *d = CONTAINER_OF(s, struct exec_doc_source, base);

    exec_close(d->x);
    mem_free(d);
}

static void lent_close(struct doc_source *s)
{
    mem_free(CONTAINER_OF(s, struct exec_doc_source, base));
}

static struct doc_source *new_source(struct exec *x, void (*close)(struct doc_source *s))
{
    struct exec_doc_source *d = NEW(struct exec_doc_source);

    d->base = (struct doc_source){ .next = doc_next, .close = close };
    d->x = x;
    return &d->base;
}

struct doc_source *exec_source(struct exec *x)
{
    return new_source(x, doc_close);
}

struct doc_source *exec_lend(struct exec *x)
{
    return new_source(x, lent_close);
}
