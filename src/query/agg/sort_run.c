/* sort_run.c - sorting a source: in memory, by top-k, or by runs spilled and merged.
 *
 *   gather ──full──▶ sort the run, spill it ──▶ gather ... ──end──▶ merge of the runs and of what is in memory
 *   with a limit: whenever twice the limit is held, sort and keep the limit; nothing spills unless that alone is over the budget.
 *
 * Equal keys come out in the order they went in: runs are stable, and the merge prefers the earlier run.
 */
#include "agg_priv.h"

#include <stdlib.h>

#include "base/mem.h"

struct item {
    struct bdoc doc, meta;
    struct bval *keys;
};

struct run_reader {
    void *file;
    struct buf rec[2];
    struct kept_doc d;
    struct bval *keys;
    bool valid;
};

struct sorter {
    struct iter it;
    const struct sort_spec *spec;
    int64_t limit, given;
    struct arena *arena; /* documents and keys of the present run */
    struct item *items;
    uint32_t n, cap, at;
    struct run_reader *runs;
    uint32_t n_runs;
    bool loaded;
};

static RC add_item(struct sorter *so, struct bdoc d, struct bdoc meta, struct err *e)
{
    struct bdoc own = bdoc_keep(so->arena, d);
    struct bval *keys = arena_alloc(so->arena, sizeof(*keys) * ((size_t)so->spec->n + 1));

    meta = bdoc_keep(so->arena, meta);
    so->it.r.q->meta = meta; /* keys may be of it */
    TRY(sort_keys(so->spec, so->it.r.q, own, keys, e));
    if (so->n == so->cap) {
        so->cap = so->cap ? so->cap * 2 : 256;
        so->items = mem_realloc(so->items, sizeof(*so->items) * so->cap);
    }
    so->items[so->n++] = (struct item){ .doc = own, .meta = meta, .keys = keys };
    return RC_OK;
}

/* Merge sort over items: stable. */
static void sort_items(struct sorter *so)
{
    struct item *from = so->items, *to = mem_alloc(sizeof(*to) * (so->n + 1)), *tmp = to;

    for (uint64_t width = 1; width < so->n; width *= 2) {
        for (uint64_t lo = 0; lo < so->n; lo += 2 * width) {
            uint64_t mid = MIN(lo + width, (uint64_t)so->n),
                     hi = MIN(lo + 2 * width, (uint64_t)so->n);
            uint64_t i = lo, j = mid;
            for (uint64_t k = lo; k < hi; k++)
                to[k] =
                    i < mid && (j >= hi || sort_keys_cmp(so->spec, from[i].keys, from[j].keys) <= 0)
                        ? from[i++]
                        : from[j++];
        }
        struct item *t = from;
        from = to;
        to = t;
    }
    if (from != so->items)
        memcpy(so->items, from, sizeof(*from) * so->n);
    mem_free(tmp);
}

static RC copy_survivors(struct sorter *so, struct err *e)
{
    struct arena *old = so->arena;
    uint32_t keep = (uint32_t)MIN((int64_t)so->n, so->limit);

    so->arena = arena_new(0);
    so->n = 0;
    for (uint32_t i = 0; i < keep; i++) {
        struct item it = so->items[i]; /* add_item() writes at or before i */
        if (add_item(so, it.doc, it.meta, e).failed) {
            arena_free(old);
            return RC_FAILED;
        }
    }
    arena_free(old);
    return RC_OK;
}

static RC spill_run(struct sorter *so, struct err *e)
{
    const struct agg_spill_ops *ops;

    TRY(stage__may_spill(&so->it.r, "Sort", e));
    ops = so->it.r.env->spill;
    sort_items(so);
    so->runs = mem_realloc(so->runs, sizeof(*so->runs) * (so->n_runs + 1));
    struct run_reader *run = &so->runs[so->n_runs];
    *run = (struct run_reader){ 0 };
    TRY(ops->open(so->it.r.env->env, &run->file, e));
    so->n_runs++;
    uint32_t n = so->limit ? (uint32_t)MIN((int64_t)so->n, so->limit) : so->n;
    for (uint32_t i = 0; i < n; i++)
        TRY(spill_write_kept(ops, run->file,
                             (struct kept_doc){ so->items[i].doc, so->items[i].meta }, e));
    so->n = 0;
    arena_free(so->arena);
    so->arena = arena_new(0);
    return RC_OK;
}

static RC read_run(struct sorter *so, struct run_reader *run, struct err *e)
{
    TRY(spill_read_kept(so->it.r.env->spill, run->file, run->rec, &run->d, &run->valid, e));
    if (!run->valid)
        return RC_OK;
    so->it.r.q->meta = run->d.meta;
    return sort_keys(so->spec, so->it.r.q, run->d.doc, run->keys, e);
}

static RC load(struct sorter *so, struct err *e)
{
    for (;;) {
        struct arena_mark mark = arena_mark(so->it.r.q->scratch);
        struct bdoc d;
        bool valid;
        TRY(iter_pull(&so->it, &d, &valid, e));
        if (!valid)
            break;
        TRY(add_item(so, d, so->it.r.q->meta, e));
        arena_rewind(so->it.r.q->scratch, mark);
        TRY(qctx_check(so->it.r.q, e));
        if (so->limit && so->n >= 1024 && (int64_t)so->n >= 2 * so->limit) {
            sort_items(so);
            TRY(copy_survivors(so, e));
        }
        size_t budget = stage__spill_at(&so->it.r);
        if (arena_used(so->arena) + so->cap * sizeof(*so->items) > budget) {
            if (so->limit && (int64_t)so->n > so->limit) {
                sort_items(so);
                TRY(copy_survivors(so, e));
            }
            if (arena_used(so->arena) > budget / 2)
                TRY(spill_run(so, e));
        }
    }
    sort_items(so);
    for (uint32_t i = 0; i < so->n_runs; i++) {
        so->runs[i].keys = mem_calloc((size_t)so->spec->n + 1, sizeof(struct bval));
        TRY(so->it.r.env->spill->rewind(so->runs[i].file, e));
        TRY(read_run(so, &so->runs[i], e));
    }
    so->loaded = true;
    return RC_OK;
}

static RC sorter_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct sorter *so = (struct sorter *)s;
    struct run_reader *low = NULL;

    *valid = false;
    if (!so->loaded)
        TRY(load(so, e));
    if (so->limit && so->given >= so->limit)
        return RC_OK;
    for (uint32_t i = 0; i < so->n_runs; i++) {
        struct run_reader *run = &so->runs[i];
        if (run->valid && (!low || sort_keys_cmp(so->spec, run->keys, low->keys) < 0))
            low = run;
    }
    bool from_memory =
        so->at < so->n && (!low || sort_keys_cmp(so->spec, so->items[so->at].keys, low->keys) < 0);
    if (!from_memory && !low)
        return RC_OK;
    so->given++;
    *valid = true;
    if (from_memory) {
        *doc = so->items[so->at].doc;
        so->it.r.q->meta = so->items[so->at++].meta;
        return RC_OK;
    }
    /* the reader's buffer is about to hold the next record */
    struct arena *a = so->it.r.q->scratch;
    struct bdoc meta = bdoc_keep(a, low->d.meta);
    *doc = bdoc_keep(a, low->d.doc);
    TRY(read_run(so, low, e));
    so->it.r.q->meta = meta;
    return RC_OK;
}

static void sorter_fini(struct iter *it)
{
    struct sorter *so = (struct sorter *)it;

    for (uint32_t i = 0; i < so->n_runs; i++) {
        so->it.r.env->spill->close(so->runs[i].file);
        buf_fini(&so->runs[i].rec[0]);
        buf_fini(&so->runs[i].rec[1]);
        mem_free(so->runs[i].keys);
    }
    mem_free(so->runs);
    mem_free(so->items);
    arena_free(so->arena);
}

static struct doc_source *new_sorter(const struct sort_spec *spec, const struct stage_run *r,
                                     struct doc_source *in, int64_t limit)
{
    struct sorter *so = iter_new(sizeof(*so), NULL, r, in, sorter_next, sorter_fini);

    so->spec = spec;
    so->limit = limit;
    so->arena = arena_new(0);
    return &so->it.src;
}

RC sort_source(const struct sort_spec *s, struct qctx *q, const struct agg_env *env,
               struct doc_source *source, int64_t limit, struct doc_source **out, struct err *e)
{
    struct stage_run r = { .q = q, .env = env };

    (void)e;
    *out = new_sorter(s, &r, source, limit);
    return RC_OK;
}

/* ---- $sort ---- */

struct sort_stage {
    struct sort_spec *spec;
    int64_t limit;
};

static STAGE_OPEN(open_sort)
{
    const struct sort_stage *ss = s->data;

    (void)e;
    *out = new_sorter(ss->spec, r, in, ss->limit);
    return RC_OK;
}

STAGE_PARSE(stage__parse_sort)
{
    struct sort_stage *ss = ARENA_NEW(sp->q->arena, struct sort_stage);

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(15973), "the $sort key specification must be an object");
    if (bdoc_is_empty(bval_doc(spec)))
        FAIL(e, ERR_LOC(15976), "$sort stage must have at least one sort key");
    TRY(sort_spec_parse(sp->q, bval_doc(spec), &ss->spec, e));
    pipeline__add(sp, def, spec, ss)->open = open_sort;
    return RC_OK;
}

const struct sort_spec *sort__of_stage(const struct stage *s)
{
    return ((const struct sort_stage *)s->data)->spec;
}

/* A $limit right behind a $sort makes it a top-k sort; $skips between add to what is needed. */
void pipeline__fuse_limits(struct pipeline *p)
{
    for (int i = 0; i < p->n; i++) {
        int64_t skip = 0;
        if (strcmp(p->stages[i].def->name, "sort") != 0)
            continue;
        for (int k = i + 1; k < p->n; k++) {
            const char *name = p->stages[k].def->name;
            int64_t n;
            if (strcmp(name, "skip") == 0) {
                if (!i64_add(skip, *(const int64_t *)p->stages[k].data, &skip))
                    break;
                continue;
            }
            if (strcmp(name, "limit") == 0 &&
                i64_add(skip, *(const int64_t *)p->stages[k].data, &n))
                ((struct sort_stage *)p->stages[i].data)->limit = n;
            break;
        }
    }
}

/* ---- what a scan may do itself ---- */

/* any_of(): what the $match stages at the head of a stage's input pipelines let through, all together. */
static struct bdoc any_of(const struct stage *s, struct arena *a)
{
    struct slice name = SLICE_LIT("$or");
    struct vals l = vals_in(a);
    struct bval arr, o;

    for (int i = 0; i < s->n_subs; i++) {
        struct pipeline_lead lead;
        pipeline_leading(s->subs[i], &lead);
        if (bdoc_is_empty(lead.filter))
            return BDOC_EMPTY;
        vals_push(&l, bval_of_doc(lead.filter, BT_DOCUMENT));
    }
    if (l.n == 0)
        return BDOC_EMPTY;
    if (l.n == 1)
        return bval_doc(l.v[0]);
    if (vals_array(a, l.v, l.n, &arr, NULL).failed ||
        vals_object(a, &name, &arr, 1, &o, NULL).failed)
        return BDOC_EMPTY;
    return bval_doc(o);
}

void pipeline_leading(const struct pipeline *p, struct pipeline_lead *out)
{
    int i = 0;

    *out = (struct pipeline_lead){ .filter = BDOC_EMPTY, .sort = BVAL_MISSING };
    if (p->n > 0 && (p->stages[0].def->flags & STAGE_HYBRID)) {
        out->filter = any_of(&p->stages[0], p->arena);
        return;
    }
    if (i < p->n && strcmp(p->stages[i].def->name, "match") == 0) {
        out->filter = bval_doc(p->stages[i].spec);
        out->n_filter_stages = 1;
        i++;
        /* Further filters join it, as one conjunction. */
        struct vals l = vals_in(p->arena);
        vals_push(&l, p->stages[0].spec);
        for (; i < p->n && strcmp(p->stages[i].def->name, "match") == 0; i++)
            vals_push(&l, p->stages[i].spec);
        struct bval arr, o;
        struct slice name = SLICE_LIT("$and");
        if (l.n > 1 && !vals_array(p->arena, l.v, l.n, &arr, NULL).failed &&
            !vals_object(p->arena, &name, &arr, 1, &o, NULL).failed) {
            out->filter = bval_doc(o);
            out->n_filter_stages = (int)l.n;
        }
        i = out->n_filter_stages;
    }
    if (i < p->n && strcmp(p->stages[i].def->name, "sort") == 0) {
        const struct sort_stage *ss = p->stages[i].data;
        bool random = false;
        for (int k = 0; k < ss->spec->n; k++)
            random |= ss->spec->keys[k].random || ss->spec->keys[k].meta.len;
        if (!random) {
            out->sort = p->stages[i].spec;
            out->n_sort_stages = 1;
            out->limit = ss->limit;
        }
    } else if (i < p->n && strcmp(p->stages[i].def->name, "limit") == 0) {
        out->limit = *(const int64_t *)p->stages[i].data;
    }
}
