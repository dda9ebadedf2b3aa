/* stage_geo_near.c - $geoNear: a collection by its distance from a point.
 *
 * The stage is a find with $near (or $nearSphere) on the field of the collection's only index of places, or on the one that `key` names. Each document gets
 * its distance, and if asked for the place that is so near, at a path of its own.
 */
#include "cmd_stages.h"

#include <math.h>

#include "index/index.h"
#include "query/geo.h"
#include "query/match.h"

struct geo_near_spec {
    struct bval near, query;
    struct slice key, distance, locs; /* empty: not given */
    const struct slice *distance_parts, *locs_parts;
    int n_distance, n_locs;
    struct bval min, max;
    double multiplier;
    bool spherical;
};

/* constant(): the value of an expression that no document has a say in. */
static RC constant(struct qctx *q, struct bval v, int code, const char *name, struct bval *out,
                   struct err *e)
{
    struct expr *x;

    TRY(expr_parse(q, v, &x, e));
    if (!expr_is_const(x, out))
        FAIL(e, ERR_LOC(code), "$geoNear requires a constant expression for '%s'", name);
    return RC_OK;
}

static RC check_near(struct qctx *q, struct geo_near_spec *s, struct err *e)
{
    struct bval v = BVAL_MISSING;

    if (bval_is_missing(s->near))
        FAIL(e, ERR_LOC(5860400), "$geoNear requires a 'near' argument");
    TRY(constant(q, s->near, 5860402, "near", &v, e));
    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY)
        FAIL(e, ERR_LOC(5860401), "$geoNear requires a point or array for 'near', not %s",
             btype_name(v.type));
    if (v.type == BT_ARRAY && bdoc_count(bval_doc(v)) > 3)
        FAIL(e, ERR_BAD_VALUE, "the array 'near' of $geoNear has too many elements");
    s->near = v;
    return RC_OK;
}

static RC check_distance(struct qctx *q, struct bval *v, int code, const char *name, struct err *e)
{
    if (bval_is_missing(*v))
        return RC_OK;
    TRY(constant(q, *v, code, name, v, e));
    if (!bval_is_number(*v))
        FAIL(e, ERR_TYPE_MISMATCH, "%s must be a number, not %s", name, btype_name(v->type));
    if (!(bval_to_double(*v) >= 0))
        FAIL(e, ERR_BAD_VALUE, "%s must be non-negative", name);
    return RC_OK;
}

static RC check_path(struct qctx *q, struct bval v, int code, const char *name, struct slice *path,
                     const struct slice **parts, int *n, struct err *e)
{
    if (v.type != BT_STRING)
        FAIL(e, ERR_LOC(code), "$geoNear requires that '%s' is a string, not %s", name,
             btype_name(v.type));
    *path = bval_str(v);
    TRY(expr_split_path(q->arena, *path, parts, n, e));
    if (*n >= QUERY_DEPTH_MAX)
        FAIL(e, ERR_LOC(5984700), "the path '%s' of $geoNear nests too deeply", name);
    return RC_OK;
}

static RC check_query(struct qctx *q, struct bval v, struct err *e)
{
    struct match *m;

    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "$geoNear requires that 'query' is an object, not %s",
             btype_name(v.type));
    if (!bval_is_missing(bdoc_get(bval_doc(v), "$text")))
        FAIL(e, ERR_BAD_VALUE, "$text cannot stand in the query of $geoNear");
    return match_parse(q, bval_doc(v), MATCH_IN_AGG, &m, e);
}

static RC check_key(struct qctx *q, struct bval v, struct slice *key, struct err *e)
{
    enum { PARTS_MAX = 180 };
    const struct slice *parts;
    int n;

    if (v.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH, "$geoNear requires that 'key' is a string, not %s",
             btype_name(v.type));
    *key = bval_str(v);
    if (key->len == 0)
        FAIL(e, ERR_BAD_VALUE, "$geoNear requires that 'key' is not empty");
    TRY(expr_split_path(q->arena, *key, &parts, &n, e));
    if (n > PARTS_MAX)
        FAIL(e, ERR_LOC(5729100), "'key' of $geoNear has more than %d components", PARTS_MAX);
    return RC_OK;
}

static RC check_multiplier(struct bval v, double *out, struct err *e)
{
    if (!bval_is_number(v))
        FAIL(e, ERR_TYPE_MISMATCH, "$geoNear requires that 'distanceMultiplier' is a number");
    *out = bval_to_double(v);
    if (!(*out >= 0))
        FAIL(e, ERR_BAD_VALUE, "$geoNear requires that 'distanceMultiplier' is non-negative");
    return RC_OK;
}

static RC read_option(struct qctx *q, struct geo_near_spec *s, struct slice name, struct bval v,
                      struct err *e)
{
    if (slice_eq_str(name, "near"))
        s->near = v;
    else if (slice_eq_str(name, "distanceField"))
        return check_path(q, v, 16606, "distanceField", &s->distance, &s->distance_parts,
                          &s->n_distance, e);
    else if (slice_eq_str(name, "includeLocs"))
        return check_path(q, v, 16607, "includeLocs", &s->locs, &s->locs_parts, &s->n_locs, e);
    else if (slice_eq_str(name, "minDistance"))
        s->min = v;
    else if (slice_eq_str(name, "maxDistance"))
        s->max = v;
    else if (slice_eq_str(name, "spherical"))
        s->spherical = bval_truthy(v);
    else if (slice_eq_str(name, "key"))
        return check_key(q, v, &s->key, e);
    else if (slice_eq_str(name, "distanceMultiplier"))
        return check_multiplier(v, &s->multiplier, e);
    else if (slice_eq_str(name, "query")) {
        TRY(check_query(q, v, e));
        s->query = v;
    } else if (!slice_eq_str(name, "uniqueDocs")) {
        FAIL(e, ERR_BAD_VALUE, "unknown argument to $geoNear: %.*s", (int)MIN(name.len, 64u),
             name.p);
    }
    return RC_OK;
}

static RC parse(struct qctx *q, struct bval spec, struct geo_near_spec *s, struct err *e)
{
    struct biter it;

    *s = (struct geo_near_spec){ .multiplier = 1 };
    if (spec.type != BT_DOCUMENT && spec.type != BT_ARRAY)
        FAIL(e, ERR_LOC(10065), "invalid parameter: expected an object ($geoNear)");
    if (spec.type == BT_DOCUMENT) {
        biter_init(&it, bval_doc(spec));
        while (biter_next(&it))
            TRY(read_option(q, s, it.name, it.val, e));
    }
    TRY(check_near(q, s, e));
    TRY(check_distance(q, &s->min, 7555701, "minDistance", e));
    return check_distance(q, &s->max, 7555702, "maxDistance", e);
}

RC cmd_stage_check_geo_near(struct cmd_stages *s, struct qctx *q, struct bval spec, struct err *e)
{
    struct geo_near_spec g;

    (void)s;
    return parse(q, spec, &g, e);
}

/* ---- the find ---- */

/* index_field(): the only field of places that an index of that kind has; *n counts them. */
static struct slice index_field(const struct coll_indexes *l, unsigned kind, int *n)
{
    struct slice found = SLICE_EMPTY;

    *n = 0;
    for (int i = 0; i < l->n; i++) {
        const struct index_def *d = l->v[i];

        for (int k = 0; k < d->n_fields && !d->hidden; k++) {
            if (d->fields[k].geo != kind)
                continue;
            found = d->fields[k].path;
            ++*n;
        }
    }
    return found;
}

static RC choose_key(struct catalog_coll *x, struct arena *a, struct slice *key, struct err *e)
{
    struct coll_indexes *l;
    int n_plane, n_sphere;

    TRY(coll_ref_indexes(x, &l, e));
    struct slice plane = index_field(l, GEO_INDEX_PLANE, &n_plane),
                 sphere = index_field(l, GEO_INDEX_SPHERE, &n_sphere),
                 chosen = n_plane ? plane : sphere;
    int n = n_plane ? n_plane : n_sphere;

    *key = SLICE(arena_dup(a, chosen.p ? chosen.p : (const uint8_t *)"", chosen.len), chosen.len);
    coll_indexes_unref(l);
    if (n == 0)
        FAIL(e, ERR_INDEX_NOT_FOUND,
             "$geoNear requires a 2d or 2dsphere index, but none were found");
    if (n > 1)
        FAIL(e, ERR_INDEX_NOT_FOUND,
             "There is more than one index of places; unsure which to use for $geoNear");
    return RC_OK;
}

static struct bdoc filter_of(struct qctx *q, const struct geo_near_spec *s, struct slice key)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_array_begin(&w, "$and");
    if (!bval_is_missing(s->query))
        bw_val(&w, NULL, s->query);
    bw_doc_begin(&w, NULL);
    bw_doc_begin_slice(&w, key);
    bw_val(&w, s->spherical ? "$nearSphere" : "$near", s->near);
    bw_val(&w, "$minDistance", s->min);
    bw_val(&w, "$maxDistance", s->max);
    bw_doc_end(&w);
    bw_doc_end(&w);
    bw_array_end(&w);
    return bw_done_arena(&w, q->arena);
}

/* ---- its documents ---- */

struct near_source {
    struct doc_source base;
    struct exec *x;
    struct qctx q, *outer; /* outer: the pipeline's, whose metadata this source gives */
    struct geo_near_spec spec;
    struct buf buf[2], meta;
};

/* put_path(): d with v at the path; what is in its way and no document gives way. */
static void put_path(struct bw *w, struct bdoc d, const struct slice *parts, int n, struct bval v)
{
    struct biter it;
    bool put = false;

    biter_init(&it, d);
    for (;;) {
        bool more = biter_next(&it), here = !put && (!more || slice_eq(it.name, parts[0]));

        if (more && !here)
            bw_val_slice(w, it.name, it.val);
        if (here && n == 1) {
            bw_val_slice(w, parts[0], v);
        } else if (here) {
            bw_doc_begin_slice(w, parts[0]);
            put_path(w, more && it.val.type == BT_DOCUMENT ? bval_doc(it.val) : BDOC_EMPTY,
                     parts + 1, n - 1, v);
            bw_doc_end(w);
        }
        put |= here;
        if (!more)
            return;
    }
}

static struct bdoc with(struct buf *b, struct bdoc d, const struct slice *parts, int n,
                        struct bval v)
{
    struct bw w;

    buf_clear(b);
    bw_init(&w, b);
    put_path(&w, d, parts, n, v);
    return bw_finish(&w);
}

static void set_meta(struct near_source *s, double distance, struct bval where)
{
    struct bw w;

    buf_clear(&s->meta);
    bw_init(&w, &s->meta);
    bw_double(&w, "geoNearDistance", distance);
    bw_val(&w, "geoNearPoint", where);
    s->outer->meta = bw_finish(&w);
}

static RC near_next(struct doc_source *base, struct bdoc *doc, bool *valid, struct err *e)
{
    struct near_source *s = CONTAINER_OF(base, struct near_source, base);
    const struct geo_near_spec *g = &s->spec;
    const struct match *m = exec_match(s->x);
    struct exec_row row;
    struct bval where = BVAL_MISSING;
    double distance;
    bool has;

    TRY(exec_next(s->x, &row, valid, e));
    if (!*valid)
        return RC_OK;
    arena_reset(s->q.scratch);
    TRY(match_distance(m, &s->q, row.doc, &distance, &has, &where, e));
    double shown = geo_near_shown(m->near->impl, distance);

    set_meta(s, shown, where);

    *doc = row.doc;
    if (g->n_distance)
        *doc = with(&s->buf[0], *doc, g->distance_parts, g->n_distance,
                    bval_new_double(s->q.scratch, shown * g->multiplier));
    if (g->n_locs)
        *doc = with(&s->buf[1], *doc, g->locs_parts, g->n_locs, where);
    return RC_OK;
}

static void near_close(struct doc_source *base)
{
    struct near_source *s = CONTAINER_OF(base, struct near_source, base);

    exec_close(s->x);
    arena_free(s->q.scratch);
    buf_fini(&s->buf[0]);
    buf_fini(&s->buf[1]);
    buf_fini(&s->meta);
    mem_free(s);
}

static RC open_find(struct cmd_stages *st, struct qctx *q, const struct geo_near_spec *g,
                    struct exec **out, struct err *e)
{
    struct slice key = g->key;
    struct match *m;

    if (!st->coll)
        FAIL(e, ERR_NAMESPACE_NOT_FOUND, "$geoNear needs a collection");
    if (key.len == 0)
        TRY(choose_key(st->coll, q->arena, &key, e));
    TRY(match_parse(q, filter_of(q, g, key), 0, &m, e));
    struct exec_spec s = { .catalog = st->r->node->catalog,
                           .coll = st->coll,
                           .q = q,
                           .match = m,
                           .sort = BDOC_EMPTY,
                           .hint = BVAL_MISSING,
                           .min = BDOC_EMPTY,
                           .max = BDOC_EMPTY,
                           .project_doc = BDOC_EMPTY,
                           .env = exec_env(st->r->node->catalog, q, st->ns.db, true,
                                           (size_t)st->r->node->limits.query_memory_bytes) };
    return exec_open(&s, out, e);
}

RC cmd_stage_open_geo_near(struct cmd_stages *st, struct qctx *q, struct bval spec,
                           struct doc_source *in, struct doc_source **out, struct err *e)
{
    struct geo_near_spec g;
    struct exec *x;

    *out = NULL;
    doc_source_close(in);
    TRY(parse(q, spec, &g, e));
    TRY(open_find(st, q, &g, &x, e));
    struct near_source *s = NEW(struct near_source);

    s->base = (struct doc_source){ .next = near_next, .close = near_close };
    s->x = x;
    s->q = *q;
    s->outer = q;
    s->q.scratch = arena_new(0);
    s->spec = g;
    *out = &s->base;
    return RC_OK;
}
