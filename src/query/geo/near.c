/* near.c - $near and $nearSphere: the point, the limits, and how far a stored value is. */
#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "geo_priv.h"

static bool is_near(struct slice name)
{
    return slice_eq_str(name, "$near") || slice_eq_str(name, "$nearSphere") ||
           slice_eq_str(name, "$geoNear");
}

/* parse_point(): a legacy pair, or GeoJSON whose type may be left out. */
static RC parse_point(struct bval v, struct geo_near *n, struct err *e)
{
    struct biter it;

    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "Point must be an array or object, instead got type %s",
             btype_name(v.type));
    biter_init(&it, bval_doc(v));
    n->pair = v.type == BT_ARRAY || (biter_next(&it) && bval_is_number(it.val));
    if (n->pair)
        return geo__parse_pair(v, false, &n->point, e);
    struct bval type = bdoc_get(bval_doc(v), "type");
    if (!bval_is_missing(type) &&
        (type.type != BT_STRING || !slice_eq_str(bval_str(type), "Point")))
        FAIL(e, ERR_BAD_VALUE, "$near requires a point");
    TRY(geo__parse_pair(bdoc_get(bval_doc(v), "coordinates"), false, &n->point, e));
    if (!n->point.on_sphere)
        FAIL(e, ERR_BAD_VALUE, "Longitude/latitude is out of bounds");
    n->sphere = n->metres = true;
    return RC_OK;
}

static RC legacy_limit(const char *name, int not_number, struct bval v, double *out, struct err *e)
{
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(not_number), "%s must be a number", name);
    *out = bval_to_double(v);
    if (!(*out >= 0))
        FAIL(e, ERR_LOC(not_number + 1), "%s must be non-negative", name);
    return RC_OK;
}

/* parse_legacy(): {$near: point, $minDistance: ..., $maxDistance: ...}; *found when it is one. */
static RC parse_legacy(struct bdoc ops, struct geo_near *n, bool *found, struct err *e)
{
    struct biter it;

    *found = false;
    biter_init(&it, ops);
    while (biter_next(&it)) {
        if (is_near(it.name)) {
            struct err why = { 0 };

            if (it.val.type != BT_DOCUMENT && it.val.type != BT_ARRAY)
                return RC_OK;
            *found = !parse_point(it.val, n, &why).failed;
            err_reset(&why);
            if (*found && slice_eq_str(it.name, "$nearSphere"))
                n->sphere = true;
        } else if (slice_eq_str(it.name, "$minDistance")) {
            TRY(legacy_limit("$minDistance", 16893, it.val, &n->min, e));
        } else if (slice_eq_str(it.name, "$maxDistance")) {
            TRY(legacy_limit("$maxDistance", 16895, it.val, &n->max, e));
        } else if (!slice_eq_str(it.name, "$uniqueDocs")) {
            FAIL(e, ERR_LOC(34413), "invalid argument in geo near query: %.*s", (int)it.name.len,
                 (const char *)it.name.p);
        }
    }
    return RC_OK;
}

static RC limit(struct slice name, struct bval v, double *out, struct err *e)
{
    if (!bval_is_number(v))
        FAIL(e, ERR_BAD_VALUE, "%.*s must be a number", (int)name.len, (const char *)name.p);
    *out = bval_to_double(v);
    if (!(*out >= 0) || isinf(*out))
        FAIL(e, ERR_BAD_VALUE, "%.*s must be a finite non-negative number", (int)name.len,
             (const char *)name.p);
    return RC_OK;
}

/* parse_geometry(): {$near: {$geometry: point, $minDistance: ..., $maxDistance: ...}}. */
static RC parse_geometry(struct bdoc ops, struct geo_near *n, struct err *e)
{
    struct biter it;
    bool found = false;

    biter_init(&it, ops);
    if (!biter_next(&it) || bdoc_count(ops) != 1)
        FAIL(e, ERR_BAD_VALUE,
             "geo near accepts just one argument when querying for a GeoJSON point");
    if (it.val.type != BT_DOCUMENT && it.val.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "geo near query argument is not an object");
    biter_init(&it, bval_doc(it.val));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "$geometry")) {
            TRY(parse_point(it.val, n, e));
            if (n->pair)
                FAIL(e, ERR_BAD_VALUE, "$near requires geojson point");
            found = true;
        } else if (slice_eq_str(it.name, "$minDistance")) {
            TRY(limit(it.name, it.val, &n->min, e));
        } else if (slice_eq_str(it.name, "$maxDistance")) {
            TRY(limit(it.name, it.val, &n->max, e));
        } else {
            FAIL(e, ERR_BAD_VALUE, "invalid argument in geo near query: %.*s", (int)it.name.len,
                 (const char *)it.name.p);
        }
    }
    if (!found)
        FAIL(e, ERR_BAD_VALUE, "$geometry is required for geo near query");
    return RC_OK;
}

static RC check_sphere(const struct geo_near *n, struct err *e)
{
    if (n->sphere && !n->point.on_sphere)
        FAIL(e, ERR_BAD_VALUE, "Legacy point is out of bounds for spherical query");
    return RC_OK;
}

RC geo_parse_near(struct qctx *q, struct bdoc ops, struct geo_near **out, struct err *e)
{
    struct geo_near *n = ARENA_NEW(q->arena, struct geo_near);
    bool found;

    *out = NULL;
    n->max = INFINITY;
    TRY(parse_legacy(ops, n, &found, e));
    if (!found) {
        *n = (struct geo_near){ .max = INFINITY };
        TRY(parse_geometry(ops, n, e));
    }
    TRY(check_sphere(n, e));
    *out = n;
    return RC_OK;
}

unsigned geo_near_indexes(const struct geo_near *n)
{
    if (!n->sphere)
        return GEO_INDEX_PLANE;
    return n->pair ? GEO_INDEX_SPHERE | GEO_INDEX_PLANE : GEO_INDEX_SPHERE;
}

bool geo_near_fits(const struct geo_near *n, const struct geo_grid *g)
{
    return !g->plane || (n->point.x >= g->min && n->point.x <= g->max && n->point.y >= g->min &&
                         n->point.y <= g->max);
}

bool geo_near_accepts(const struct geo_near *n, double distance)
{
    double unit = n->sphere && !n->metres ? GEO_EARTH_M : 1;

    return distance >= n->min * unit && distance <= n->max * unit;
}

double geo_near_shown(const struct geo_near *n, double distance)
{
    return n->sphere && !n->metres ? distance / GEO_EARTH_M : distance;
}

/* ---- distances ---- */

static double to_polygon(struct geo__vec p, const struct geo__polygon *g)
{
    double best = INFINITY;

    if (geo__polygon_has(g, p))
        return 0;
    for (int i = 0; i < g->n; i++) {
        const struct geo__loop *l = &g->loops[i];

        for (int k = 0; k < l->n; k++)
            best = fmin(best, geo__edge_distance(p, l->v[k], l->v[(k + 1) % l->n]));
    }
    return best;
}

static RC on_sphere(struct qctx *q, const struct geo_near *n, const struct geo_shape *s,
                    double *out, struct err *e)
{
    struct geo__vec p = n->point.v;
    double best = INFINITY;

    for (int i = 0; i < s->n_points; i++) {
        if (s->points[i].on_sphere)
            best = fmin(best, geo__angle(p, s->points[i].v));
    }
    for (int i = 0; i < s->n_lines; i++) {
        TRY(qctx_check(q, e));
        for (int k = 0; k + 1 < s->lines[i].n; k++)
            best = fmin(best, geo__edge_distance(p, s->lines[i].v[k], s->lines[i].v[k + 1]));
    }
    for (int i = 0; i < s->n_polygons; i++) {
        TRY(qctx_check(q, e));
        best = fmin(best, to_polygon(p, &s->polygons[i]));
    }
    *out = best * GEO_EARTH_M;
    return RC_OK;
}

static RC distance(struct qctx *q, const struct geo_near *n, const struct geo_shape *s, double *out,
                   bool *has, struct err *e)
{
    if (n->sphere) {
        TRY(on_sphere(q, n, s, out, e));
    } else if (!s->multi && s->n_points == 1) {
        *out = hypot(s->points[0].x - n->point.x, s->points[0].y - n->point.y);
    } else {
        return RC_OK;
    }
    *has = isfinite(*out);
    return RC_OK;
}

RC geo_distance(struct qctx *q, const struct geo_near *n, struct bval v, double *out, bool *has,
                struct err *e)
{
    struct arena *a = q->scratch ? q->scratch : q->arena;
    struct arena_mark mark = arena_mark(a);
    struct geo_shape s;
    bool is_shape;

    *has = false;
    *out = INFINITY;
    rc_t rc = geo__parse_stored(q, a, v, &s, &is_shape, e);
    if (is_shape)
        rc = distance(q, n, &s, out, has, e);
    arena_rewind(a, mark);
    return rc;
}
