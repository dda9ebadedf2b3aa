/* filters.c - index filters: for queries of one shape, which indexes of a collection may be used. They hang on the collection, in memory alone: they go with it, and
 * when the node stops.
 */
#include "exec_priv.h"

struct filter {
    struct filter *next;
    struct buf shape;
    struct arena *arena; /* of what follows */
    struct exec_filter f;
};

struct filters {
    struct filter *first;
    int n;
};

static void filter_free(struct filter *f)
{
    buf_fini(&f->shape);
    arena_free(f->arena);
    mem_free(f);
}

static void filters_free(void *p)
{
    struct filters *all = p;

    while (all->first) {
        struct filter *f = all->first;
        all->first = f->next;
        filter_free(f);
    }
    mem_free(all);
}

static bool is_shape(const struct filter *f, struct slice shape)
{
    return slice_eq(buf_view(&f->shape), shape);
}

/* take_out(): the filter of that shape; an empty shape stands for any. */
static struct filter *take_out(struct filters *all, struct slice shape)
{
    for (struct filter **at = &all->first; *at; at = &(*at)->next) {
        struct filter *f = *at;
        if (shape.len && !is_shape(f, shape))
            continue;
        *at = f->next;
        all->n--;
        return f;
    }
    return NULL;
}

static struct bdoc doc_dup(struct arena *a, struct bdoc d)
{
    return (struct bdoc){ .p = arena_dup(a, d.p, d.len), .len = d.len };
}

RC exec_filter_set(struct catalog_coll *x, struct slice shape, const struct exec_filter *given,
                   struct err *e)
{
    struct filter *f = NEW(struct filter), *old;
    rc_t rc = RC_OK;

    f->arena = arena_new(0);
    buf_push(&f->shape, shape.p, shape.len);
    f->f = (struct exec_filter){ .query = doc_dup(f->arena, given->query),
                                 .sort = doc_dup(f->arena, given->sort),
                                 .projection = doc_dup(f->arena, given->projection),
                                 .collation = doc_dup(f->arena, given->collation),
                                 .indexes = doc_dup(f->arena, given->indexes) };
    mutex_lock(&x->rt_lock);
    struct filters *all = x->filters;
    if (!all) {
        all = x->filters = NEW(struct filters);
        x->filters_free = filters_free;
    }
    old = take_out(all, shape);
    if (all->n >= EXEC_FILTERS_MAX)
        rc = err_set(e, ERR_BAD_VALUE, __FILE__, __LINE__,
                     "too many index filters on one collection: at most %d", EXEC_FILTERS_MAX);
    if (!rc.failed) {
        struct filter **last = &all->first;
        while (*last)
            last = &(*last)->next;
        *last = TAKE(f);
        all->n++;
        atomic_store(&x->has_filters, true);
    }
    mutex_unlock(&x->rt_lock);
    if (f)
        filter_free(f);
    if (old)
        filter_free(old);
    return rc;
}

void exec_filter_clear(struct catalog_coll *x, struct slice shape)
{
    struct filter *f = NULL;

    do {
        mutex_lock(&x->rt_lock);
        f = x->filters ? take_out(x->filters, shape) : NULL;
        atomic_store(&x->has_filters, x->filters && ((struct filters *)x->filters)->n > 0);
        mutex_unlock(&x->rt_lock);
        if (f)
            filter_free(f);
    } while (f);
}

void exec_filters_write(struct catalog_coll *x, struct bw *w)
{
    mutex_lock(&x->rt_lock);
    struct filters *all = x->filters;
    for (struct filter *f = all ? all->first : NULL; f; f = f->next) {
        bw_doc_begin(w, NULL);
        bw_doc(w, "query", f->f.query);
        bw_doc(w, "sort", f->f.sort);
        bw_doc(w, "projection", f->f.projection);
        if (!bdoc_is_empty(f->f.collation))
            bw_doc(w, "collation", f->f.collation);
        bw_val(w, "indexes", bval_of_doc(f->f.indexes, BT_ARRAY));
        bw_doc_end(w);
    }
    mutex_unlock(&x->rt_lock);
}

bool exec__filter_find(const struct exec_spec *s, struct arena *a, struct bdoc *indexes)
{
    AUTO(buf_fini) struct buf shape = BUF_INIT;
    bool found = false;

    if (!atomic_load_explicit(&s->coll->has_filters, memory_order_acquire))
        return false;
    exec_shape(s, &shape);
    mutex_lock(&s->coll->rt_lock);
    struct filters *all = s->coll->filters;
    for (struct filter *f = all ? all->first : NULL; f && !found; f = f->next) {
        found = is_shape(f, buf_view(&shape));
        if (found)
            *indexes = doc_dup(a, f->f.indexes);
    }
    mutex_unlock(&s->coll->rt_lock);
    return found;
}

bool exec__filter_allows(struct bdoc indexes, const struct index_def *d)
{
    struct biter it;

    biter_init(&it, indexes);
    while (biter_next(&it))
        if (it.val.type == BT_STRING ? slice_eq_str(bval_str(it.val), d->name)
                                     : bval_eq(it.val, bval_of_doc(d->pattern, BT_DOCUMENT)))
            return true;
    return false;
}
