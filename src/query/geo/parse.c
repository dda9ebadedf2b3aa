/* parse.c - GeoJSON and legacy pairs to shapes. The same code reads queries, where what is wrong is told, and stored values, where it just is no geometry. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "geo_priv.h"

struct parser {
    struct qctx *q;
    struct arena *a;
    struct geo_shape *s;
};

static bool is_nested(struct bval v)
{
    return v.type == BT_DOCUMENT || v.type == BT_ARRAY;
}

static bool is_lng_lat(double lng, double lat)
{
    return fabs(lng) <= 180 && fabs(lat) <= 90;
}

RC geo__parse_pair(struct bval v, bool strict, struct geo__point *out, struct err *e)
{
    double xy[2];
    struct biter it;

    *out = (struct geo__point){ 0 };
    if (!is_nested(v))
        FAIL(e, ERR_BAD_VALUE, "Point must be an array or object, instead got type %s",
             btype_name(v.type));
    biter_init(&it, bval_doc(v));
    for (int i = 0; i < 2; i++) {
        if (!biter_next(&it) || !bval_is_number(it.val))
            FAIL(e, ERR_BAD_VALUE, "Point must only contain numeric elements");
        xy[i] = bval_to_double(it.val);
    }
    if (strict && biter_next(&it))
        FAIL(e, ERR_BAD_VALUE, "Point must only contain two numeric elements");
    if (!isfinite(xy[0]) || !isfinite(xy[1]))
        FAIL(e, ERR_BAD_VALUE, "Point coordinates must be finite numbers");
    out->x = xy[0];
    out->y = xy[1];
    out->on_sphere = is_lng_lat(xy[0], xy[1]);
    if (out->on_sphere)
        out->v = geo__vec_of(xy[0], xy[1]);
    return RC_OK;
}

/* ---- GeoJSON ---- */

static RC parse_position(struct bval v, struct geo__point *out, struct err *e)
{
    TRY(geo__parse_pair(v, false, out, e));
    if (!out->on_sphere)
        FAIL(e, ERR_BAD_VALUE, "Longitude/latitude is out of bounds");
    return RC_OK;
}

/* parse_path(): an array of positions, one after another the same left out. */
static RC parse_path(struct parser *p, struct bval v, struct geo__vec **out, int *n, struct err *e)
{
    struct biter it;

    *out = NULL;
    *n = 0;
    if (v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "GeoJSON coordinates must be an array of coordinates");
    struct geo__vec *list = ARENA_ARRAY(p->a, struct geo__vec, (size_t)bdoc_count(bval_doc(v)) + 1);

    biter_init(&it, bval_doc(v));
    for (uint32_t i = 0; biter_next(&it); i++) {
        struct geo__point at;

        if (i % GEO__STEPS == 0)
            TRY(qctx_check(p->q, e));
        if (it.val.type != BT_ARRAY)
            FAIL(e, ERR_BAD_VALUE, "GeoJSON coordinates must be an array of coordinates");
        TRY(parse_position(it.val, &at, e));
        if (*n == 0 || !geo__vec_eq(list[*n - 1], at.v))
            list[(*n)++] = at.v;
    }
    *out = list;
    return RC_OK;
}

static RC parse_line(struct parser *p, struct bval v, struct err *e)
{
    struct geo__line *l = &p->s->lines[p->s->n_lines];

    TRY(parse_path(p, v, &l->v, &l->n, e));
    if (l->n < 2)
        FAIL(e, ERR_BAD_VALUE, "GeoJSON LineString must have at least 2 vertices");
    for (int i = 0; i + 1 < l->n; i++) {
        if (geo__vec_eq(l->v[i], geo__opposite(l->v[i + 1])))
            FAIL(e, ERR_BAD_VALUE, "GeoJSON LineString cannot join opposite points of the sphere");
    }
    p->s->n_lines++;
    return RC_OK;
}

static RC parse_point(struct parser *p, struct bval v, struct err *e)
{
    TRY(parse_position(v, &p->s->points[p->s->n_points], e));
    p->s->n_points++;
    return RC_OK;
}

static RC parse_loop(struct parser *p, struct bval v, bool strict, struct geo__loop *l,
                     struct err *e)
{
    struct geo__vec *list;
    int n;

    TRY(parse_path(p, v, &list, &n, e));
    if (n == 0)
        FAIL(e, ERR_BAD_VALUE, "Loop has no vertices");
    struct biter it;
    struct bval first = BVAL_MISSING, last = BVAL_MISSING;

    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        first = bval_is_missing(first) ? it.val : first;
        last = it.val;
    }
    struct geo__point a, b;
    TRY(parse_position(first, &a, e));
    TRY(parse_position(last, &b, e));
    if (!geo__vec_eq(a.v, b.v))
        FAIL(e, ERR_BAD_VALUE, "Loop is not closed, first vertex does not equal last vertex");
    l->v = list;
    l->n = n - 1; /* the first corner is not told again */
    TRY(geo__loop_check(p->q, l, e));
    geo__loop_init(l);
    if (!strict)
        geo__loop_normalize(l);
    return RC_OK;
}

/* check_holes(): each within the outer loop, none in another's way. */
static RC check_holes(struct parser *p, const struct geo__polygon *g, struct err *e)
{
    for (int i = 1; i < g->n; i++) {
        bool in, meets = false;

        TRY(geo__loop_contains(p->q, &g->loops[0], &g->loops[i], &in, e));
        if (!in)
            FAIL(
                e, ERR_BAD_VALUE,
                "Secondary loops not contained by first exterior loop - secondary loops must be holes");
        for (int k = 0; k < g->loops[i].n && !meets; k++) {
            for (int m = 0; m < i; m++) {
                const struct geo__loop *l = &g->loops[m];
                struct geo__vec a = g->loops[i].v[k], b = g->loops[i].v[(k + 1) % g->loops[i].n];

                meets = meets || (geo__loop_vertex(l, a) && geo__loop_vertex(l, b));
            }
            TRY(qctx_check(p->q, e));
        }
        for (int k = 1; k < i && !meets; k++)
            TRY(geo__loop_intersects(p->q, &g->loops[i], &g->loops[k], &meets, e));
        if (meets)
            FAIL(e, ERR_BAD_VALUE, "Polygon isn't valid: its loops share edges or overlap");
    }
    return RC_OK;
}

static RC parse_polygon(struct parser *p, struct bval v, bool strict, struct err *e)
{
    struct geo__polygon *g = &p->s->polygons[p->s->n_polygons];
    struct biter it;

    if (v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "Polygon coordinates must be an array");
    *g = (struct geo__polygon){ .strict = strict };
    g->loops = ARENA_ARRAY(p->a, struct geo__loop, (size_t)bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        TRY(parse_loop(p, it.val, strict, &g->loops[g->n], e));
        g->n++;
    }
    if (g->n == 0)
        FAIL(e, ERR_BAD_VALUE, "Polygon has no loops");
    if (strict && g->n > 1)
        FAIL(e, ERR_BAD_VALUE, "Only one simple loop is allowed in a big polygon");
    TRY(check_holes(p, g, e));
    p->s->n_polygons++;
    return RC_OK;
}

/* parse_crs(): which coordinates are meant; only a polygon may ask for strict winding. */
static RC parse_crs(struct bdoc d, bool may_be_strict, bool *strict, struct err *e)
{
    static const char names[3][46] = { "urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326",
                                       "urn:x-mongodb:crs:strictwinding:EPSG:4326" };
    struct bval crs = bdoc_get(d, "crs"), type, properties, name;

    *strict = false;
    if (bval_is_missing(crs))
        return RC_OK;
    if (!is_nested(crs))
        FAIL(e, ERR_BAD_VALUE, "GeoJSON CRS must be an object");
    type = bdoc_get(bval_doc(crs), "type");
    if (type.type != BT_STRING || !slice_eq_str(bval_str(type), "name"))
        FAIL(e, ERR_BAD_VALUE, "GeoJSON CRS must have field \"type\": \"name\"");
    properties = bdoc_get(bval_doc(crs), "properties");
    if (!is_nested(properties))
        FAIL(e, ERR_BAD_VALUE, "CRS must have field \"properties\" which is an object");
    name = bdoc_get(bval_doc(properties), "name");
    if (name.type != BT_STRING)
        FAIL(e, ERR_BAD_VALUE, "In CRS, \"properties.name\" must be a string");
    for (int i = 0; i < 3; i++) {
        if (!slice_eq_str(bval_str(name), names[i]))
            continue;
        if (i == 2 && !may_be_strict)
            FAIL(e, ERR_BAD_VALUE, "Strict winding order is only supported by polygon");
        *strict = i == 2;
        return RC_OK;
    }
    FAIL(e, ERR_BAD_VALUE, "Unknown CRS name");
}

enum kind { POINT, LINE, POLYGON, MULTI_POINT, MULTI_LINE, MULTI_POLYGON, COLLECTION, UNKNOWN };

static enum kind kind_of(struct bdoc d)
{
    static const char names[UNKNOWN][20] = {
        "Point",           "LineString",   "Polygon",           "MultiPoint",
        "MultiLineString", "MultiPolygon", "GeometryCollection"
    };
    struct bval type = bdoc_get(d, "type");

    if (type.type == BT_STRING) {
        for (int i = 0; i < UNKNOWN; i++) {
            if (slice_eq_str(bval_str(type), names[i]))
                return (enum kind)i;
        }
    }
    return UNKNOWN;
}

/* room(): for n more parts of the kind. */
static void room(struct parser *p, enum kind kind, size_t n)
{
    struct geo_shape *s = p->s;

    if (kind == POINT) {
        struct geo__point *more = ARENA_ARRAY(p->a, struct geo__point, (size_t)s->n_points + n);
        if (s->n_points)
            memcpy(more, s->points, sizeof(*more) * (size_t)s->n_points);
        s->points = more;
    } else if (kind == LINE) {
        struct geo__line *more = ARENA_ARRAY(p->a, struct geo__line, (size_t)s->n_lines + n);
        if (s->n_lines)
            memcpy(more, s->lines, sizeof(*more) * (size_t)s->n_lines);
        s->lines = more;
    } else {
        struct geo__polygon *more =
            ARENA_ARRAY(p->a, struct geo__polygon, (size_t)s->n_polygons + n);
        if (s->n_polygons)
            memcpy(more, s->polygons, sizeof(*more) * (size_t)s->n_polygons);
        s->polygons = more;
    }
}

static RC parse_single(struct parser *p, enum kind kind, struct bval v, bool strict, struct err *e)
{
    switch (kind) {
    case POINT: return parse_point(p, v, e);
    case LINE: return parse_line(p, v, e);
    default: return parse_polygon(p, v, strict, e);
    }
}

static RC parse_multi(struct parser *p, enum kind one, struct bval v, struct err *e)
{
    struct biter it;

    if (v.type != BT_ARRAY || bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_BAD_VALUE, "coordinates of several parts must be an array of at least one");
    room(p, one, bdoc_count(bval_doc(v)));
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        if (it.val.type != BT_ARRAY)
            FAIL(e, ERR_BAD_VALUE, "each part's coordinates must be an array");
        TRY(parse_single(p, one, it.val, false, e));
        TRY(qctx_check(p->q, e));
    }
    return RC_OK;
}

static RC parse_geojson(struct parser *p, struct bdoc d, bool in_collection, struct err *e);

static RC parse_collection(struct parser *p, struct bdoc d, struct err *e)
{
    struct bval list = bdoc_get(d, "geometries");
    struct biter it;

    if (list.type != BT_ARRAY || bdoc_is_empty(bval_doc(list)))
        FAIL(e, ERR_BAD_VALUE,
             "GeometryCollection geometries must be an array of at least one element");
    biter_init(&it, bval_doc(list));
    while (biter_next(&it)) {
        if (it.val.type != BT_DOCUMENT)
            FAIL(e, ERR_BAD_VALUE, "Element %.*s of \"geometries\" is not an object",
                 (int)it.name.len, (const char *)it.name.p);
        TRY(parse_geojson(p, bval_doc(it.val), true, e));
        TRY(qctx_check(p->q, e));
    }
    return RC_OK;
}

static RC parse_geojson(struct parser *p, struct bdoc d, bool in_collection, struct err *e)
{
    enum kind kind = kind_of(d);
    struct bval coordinates = bdoc_get(d, "coordinates");
    bool strict;

    if (kind == UNKNOWN)
        FAIL(e, ERR_BAD_VALUE, "unknown GeoJSON type");
    if (kind == COLLECTION && in_collection)
        FAIL(e, ERR_BAD_VALUE, "GeometryCollections cannot be nested");
    TRY(parse_crs(d, kind == POLYGON && !in_collection, &strict, e));
    if (kind == COLLECTION)
        return parse_collection(p, d, e);
    if (kind >= MULTI_POINT)
        return parse_multi(p, (enum kind)(kind - MULTI_POINT), coordinates, e);
    room(p, kind, 1);
    return parse_single(p, kind, coordinates, strict, e);
}

RC geo__parse(struct qctx *q, struct arena *a, struct bval v, bool strict_pair,
              struct geo_shape *out, struct err *e)
{
    struct parser p = { .q = q, .a = a, .s = out };

    *out = (struct geo_shape){ .kind = GEO__SPHERE };
    if (!is_nested(v))
        FAIL(e, ERR_BAD_VALUE, "geo element must be an array or object");
    if (v.type == BT_DOCUMENT && bdoc_get(bval_doc(v), "type").type == BT_STRING) {
        out->multi = kind_of(bval_doc(v)) >= MULTI_POINT;
        return parse_geojson(&p, bval_doc(v), false, e);
    }
    out->kind = GEO__PAIR;
    room(&p, POINT, 1);
    TRY(geo__parse_pair(v, strict_pair, &out->points[0], e));
    out->n_points = 1;
    return RC_OK;
}

RC geo__parse_stored(struct qctx *q, struct arena *a, struct bval v, struct geo_shape *out,
                     bool *is_shape, struct err *e)
{
    struct err why = { 0 };

    *is_shape = is_nested(v) && !geo__parse(q, a, v, false, out, &why).failed;
    if (why.code != ERR_NONE && why.code != ERR_BAD_VALUE)
        return err_take(e, &why); /* the query's limits */
    err_reset(&why);
    return RC_OK;
}

/* ---- the shapes that only queries have ---- */

static RC parse_corners(struct qctx *q, struct bval v, struct geo_shape *s, struct err *e)
{
    struct biter it;

    s->corner = ARENA_ARRAY(q->arena, struct geo__point, (size_t)bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        TRY(geo__parse_pair(it.val, true, &s->corner[s->n_corners], e));
        s->n_corners++;
        TRY(qctx_check(q, e));
    }
    return RC_OK;
}

/* parse_circle(): [centre, radius]. */
static RC parse_circle(struct qctx *q, struct bval v, struct geo_shape *s, struct err *e)
{
    struct biter it;

    s->corner = ARENA_NEW(q->arena, struct geo__point);
    s->n_corners = 1;
    biter_init(&it, bval_doc(v));
    TRY(geo__parse_pair(biter_next(&it) ? it.val : BVAL_MISSING, true, s->corner, e));
    if (!biter_next(&it) || !bval_is_number(it.val) || !(bval_to_double(it.val) >= 0))
        FAIL(e, ERR_BAD_VALUE, "radius must be a non-negative number");
    s->radius = bval_to_double(it.val);
    if (biter_next(&it))
        FAIL(e, ERR_BAD_VALUE, "Only 2 fields allowed for circular region, but more were provided");
    if (s->kind != GEO__CAP)
        return RC_OK;
    if (!s->corner->on_sphere)
        FAIL(e, ERR_BAD_VALUE, "Longitude/latitude is out of bounds");
    s->centre = s->corner->v;
    return RC_OK;
}

RC geo__parse_legacy_shape(struct qctx *q, struct slice name, struct bval v, struct geo_shape *out,
                           struct err *e)
{
    *out = (struct geo_shape){ 0 };
    if (!is_nested(v))
        FAIL(e, ERR_BAD_VALUE, "%.*s needs an array", (int)name.len, (const char *)name.p);
    if (slice_eq_str(name, "$box")) {
        out->kind = GEO__BOX;
        TRY(parse_corners(q, v, out, e));
        if (out->n_corners < 2) /* MongoDB lets more stand */
            FAIL(e, ERR_BAD_VALUE, "$box needs two corners");
        return RC_OK;
    }
    if (slice_eq_str(name, "$polygon")) {
        out->kind = GEO__FLAT;
        TRY(parse_corners(q, v, out, e));
        if (out->n_corners < 3)
            FAIL(e, ERR_BAD_VALUE, "Polygon must have at least 3 points");
        return RC_OK;
    }
    if (slice_eq_str(name, "$center"))
        out->kind = GEO__CIRCLE;
    else if (slice_eq_str(name, "$centerSphere"))
        out->kind = GEO__CAP;
    else
        FAIL(e, ERR_BAD_VALUE, "unknown geo specifier: %.*s", (int)name.len, (const char *)name.p);
    return parse_circle(q, v, out, e);
}
