/* index_def.c - a compiled index definition and its references. */
#include "index_priv.h"

#include "base/clock.h"

static void split_path(struct arena *a, struct index_field *f)
{
    int n = 1;

    for (size_t i = 0; i < f->path.len; i++)
        n += f->path.p[i] == '.';
    f->parts = ARENA_ARRAY(a, struct slice, (size_t)n);
    const uint8_t *p = f->path.p, *end = f->path.p + f->path.len;
    for (;;) {
        const uint8_t *dot = memchr(p, '.', (size_t)(end - p));
        f->parts[f->n_parts++] = SLICE(p, (size_t)((dot ? dot : end) - p));
        if (!dot)
            return;
        p = dot + 1;
    }
}

static bool flag(struct bdoc spec, const char *name)
{
    struct bval v = bdoc_get(spec, name);

    return !bval_is_missing(v) && bval_truthy(v);
}

static RC compile(struct index_def *d, struct bdoc spec, struct err *e)
{
    struct biter it;

    d->spec = (struct bdoc){ .p = arena_dup(d->arena, spec.p, spec.len), .len = spec.len };
    struct bval key = bdoc_get(d->spec, "key"), name = bdoc_get(d->spec, "name");
    if (key.type != BT_DOCUMENT || name.type != BT_STRING || bdoc_is_empty(bval_doc(key)) ||
        bdoc_count(bval_doc(key)) > INDEX_FIELDS_MAX)
        FAIL(e, ERR_CORRUPT, "an index specification in the catalogue does not parse");
    d->name = arena_strndup(d->arena, (const char *)bval_str(name).p, bval_str(name).len);
    d->pattern = bval_doc(key);
    d->fields = ARENA_ARRAY(d->arena, struct index_field, bdoc_count(d->pattern));
    biter_init(&it, d->pattern);
    while (biter_next(&it)) {
        struct index_field *f = &d->fields[d->n_fields++];
        f->path = it.name;
        f->desc = bval_is_number(it.val) && bval_to_double(it.val) < 0;
        if (it.val.type == BT_STRING)
            f->geo = slice_eq_str(bval_str(it.val), "2d") ? GEO_INDEX_PLANE : GEO_INDEX_SPHERE;
        d->geo |= f->geo != 0;
        split_path(d->arena, f);
    }
    struct bval min = bdoc_get(d->spec, "min"), max = bdoc_get(d->spec, "max");
    d->grid_min = bval_is_number(min) ? bval_to_double(min) : -180;
    d->grid_max = bval_is_number(max) ? bval_to_double(max) : 180;
    d->since_ms = clock_real_ms();
    d->is_id = strcmp(d->name, "_id_") == 0;
    d->unique = d->is_id || flag(d->spec, "unique");
    d->sparse = flag(d->spec, "sparse");
    d->hidden = flag(d->spec, "hidden");
    struct bval ttl = bdoc_get(d->spec, "expireAfterSeconds");
    d->ttl = bval_is_number(ttl);
    if (d->ttl)
        d->ttl_s = (int64_t)bval_to_double(ttl);
    struct bval collation = bdoc_get(d->spec, "collation");
    if (collation.type == BT_DOCUMENT) {
        TRY(collation_in(d->arena, bval_doc(collation), &d->collator, e));
    }
    char *build = arena_alloc(d->arena, COLLATION_BUILD_MAX);
    collation_build(d->collator, build);
    d->collator_version = build;
    struct bval partial = bdoc_get(d->spec, "partialFilterExpression");
    if (partial.type == BT_DOCUMENT) {
        struct qctx q = { .arena = d->arena, .scratch = d->arena, .let = BDOC_EMPTY };
        struct match *m;
        q.collator = d->collator;
        d->partial_doc = bval_doc(partial);
        TRY(match_parse(&q, d->partial_doc, MATCH_PARTIAL_INDEX, &m, e));
        d->partial = m;
    }
    return RC_OK;
}

void index_grid(const struct index_def *d, int field, struct geo_grid *out)
{
    *out = (struct geo_grid){ .plane = d->fields[field].geo == GEO_INDEX_PLANE,
                              .min = d->grid_min,
                              .max = d->grid_max };
}

RC index_def_new(struct bdoc spec, uint64_t ident, struct index_def **out, struct err *e)
{
    *out = NULL;
    struct arena *a = arena_new(0);
    struct index_def *d = ARENA_NEW(a, struct index_def);
    d->arena = a;
    d->ident = ident;
    atomic_init(&d->refs, 1);
    if (compile(d, spec, e).failed) {
        arena_free(a);
        return RC_FAILED;
    }
    *out = d;
    return RC_OK;
}

struct index_def *index_def_ref(struct index_def *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void index_def_unref(struct index_def *d)
{
    if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (d->on_last)
        d->on_last(d, d->on_last_arg);
    arena_free(d->arena);
}
