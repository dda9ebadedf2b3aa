/* cells.c - the quadtree that indexes of places are made of: cells of stored values, and the ranges that a query has to read. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "geo_priv.h"

enum { LEVELS = 30 };

struct box {
    double x0, y0, x1, y1; /* in parts of the grid, 0 to 1 */
};

static uint64_t spread(uint64_t v)
{
    v = (v | v << 16) & 0x0000ffff0000ffffull;
    v = (v | v << 8) & 0x00ff00ff00ff00ffull;
    v = (v | v << 4) & 0x0f0f0f0f0f0f0f0full;
    v = (v | v << 2) & 0x3333333333333333ull;
    return (v | v << 1) & 0x5555555555555555ull;
}

/* number(): of the cell of that level at column x, row y. */
static int64_t number(int level, uint64_t x, uint64_t y)
{
    uint64_t place = spread(x) << 1 | spread(y);

    return (int64_t)((place << 1 | 1) << 2 * (LEVELS - level));
}

static int64_t lowest_bit(int64_t cell)
{
    return cell & -cell;
}

/* leaf(): the leaf's column or row. */
static uint64_t leaf(double part)
{
    double at = part * (1 << LEVELS);

    if (!(at > 0))
        return 0;
    return at >= (1 << LEVELS) ? (1u << LEVELS) - 1 : (uint64_t)at;
}

/* cover(): the box by cells of the finest level at which it touches no more than so many columns and rows. */
static int cover(const struct box *b, unsigned across, int64_t out[GEO_CELLS_MAX])
{
    uint64_t x0 = leaf(b->x0), x1 = leaf(b->x1), y0 = leaf(b->y0), y1 = leaf(b->y1);
    int level = LEVELS, n = 0;

    while (x1 - x0 >= across || y1 - y0 >= across) {
        x0 >>= 1, x1 >>= 1, y0 >>= 1, y1 >>= 1;
        level--;
    }
    for (uint64_t x = x0; x <= x1; x++) {
        for (uint64_t y = y0; y <= y1; y++)
            out[n++] = number(level, x, y);
    }
    return n;
}

/* ---- boxes ---- */

static double degrees(double radians)
{
    return radians * (180 / M_PI);
}

static struct box sphere_box(double lng0, double lat0, double lng1, double lat1)
{
    /* degrees, a metre: what rounding may cost, most of all by the poles, where the sine hardly tells latitudes apart; and places millimetres apart are one */
    static const double more = 1e-5;
    double far = fmin(fmax(fabs(lat0), fabs(lat1)) + more, 90);
    double aside = more / cos(far * (M_PI / 180)); /* as many metres, where meridians are closest */

    /* at the antimeridian and by a pole, one place has several longitudes */
    if (lng0 - aside <= -180 || lng1 + aside >= 180)
        lng0 = -180, lng1 = 180;
    return (struct box){ (lng0 - aside + 180) / 360, (lat0 - more + 90) / 180,
                         (lng1 + aside + 180) / 360, (lat1 + more + 90) / 180 };
}

struct bounds {
    double lng0, lng1, z0, z1;
};

static void add_arc(struct bounds *b, struct geo__vec u, struct geo__vec v)
{
    double lu = degrees(atan2(u.y, u.x)), lv = degrees(atan2(v.y, v.x)), lo, hi;

    geo__extremes(u, v, &lo, &hi);
    b->z0 = fmin(b->z0, lo);
    b->z1 = fmax(b->z1, hi);
    if (fabs(lu - lv) >= 179.999 || hi > 0.999999 || lo < -0.999999) {
        b->lng0 = -180; /* across the antimeridian or by a pole */
        b->lng1 = 180;
    }
    b->lng0 = fmin(b->lng0, fmin(lu, lv));
    b->lng1 = fmax(b->lng1, fmax(lu, lv));
}

static struct box shape_box(const struct geo_shape *s)
{
    static const struct geo__vec north = { 0, 0, 1 }, south = { 0, 0, -1 };
    struct bounds b = { .lng0 = 180, .lng1 = -180, .z0 = 1, .z1 = -1 };

    for (int i = 0; i < s->n_points; i++)
        add_arc(&b, s->points[i].v, s->points[i].v);
    for (int i = 0; i < s->n_lines; i++) {
        for (int k = 0; k + 1 < s->lines[i].n; k++)
            add_arc(&b, s->lines[i].v[k], s->lines[i].v[k + 1]);
    }
    for (int i = 0; i < s->n_polygons; i++) {
        const struct geo__loop *l = &s->polygons[i].loops[0];
        /* a pole in a hole still has the polygon all around it */
        bool n = geo__loop_has(l, north), t = geo__loop_has(l, south);

        for (int k = 0; k < l->n; k++)
            add_arc(&b, l->v[k], l->v[(k + 1) % l->n]);
        if (n || t || s->polygons[i].strict)
            b.lng0 = -180, b.lng1 = 180;
        b.z1 = n || s->polygons[i].strict ? 1 : b.z1;
        b.z0 = t || s->polygons[i].strict ? -1 : b.z0;
    }
    return sphere_box(b.lng0, degrees(asin(fmax(b.z0, -1))), b.lng1, degrees(asin(fmin(b.z1, 1))));
}

static bool cap_box(const struct geo__point *centre, double radius, struct box *out)
{
    double lat = centre->y, reach = degrees(radius);
    double lat0 = lat - reach, lat1 = lat + reach;

    if (!(reach < 180))
        return false;
    if (lat0 <= -90 || lat1 >= 90) {
        *out = sphere_box(-180, fmax(lat0, -90), 180, fmin(lat1, 90));
        return true;
    }
    double aside = degrees(asin(fmin(sin(radius) / cos(lat * (M_PI / 180)), 1)));
    double lng0 = centre->x - aside, lng1 = centre->x + aside;
    *out = sphere_box(lng0, lat0, lng1, lat1);
    return true;
}

static struct box plane_box(const struct geo_grid *g, double x0, double y0, double x1, double y1)
{
    double width = g->max - g->min, more = width * 1e-9;

    return (struct box){ (x0 - more - g->min) / width, (y0 - more - g->min) / width,
                         (x1 + more - g->min) / width, (y1 + more - g->min) / width };
}

/* ---- stored values ---- */

static RC sphere_cells(struct qctx *q, struct bval v, int64_t **out, int *n, struct err *e)
{
    struct geo_shape s;
    struct err why = { 0 };

    if (geo__parse(q, q->arena, v, false, &s, &why).failed) {
        if (why.code != ERR_BAD_VALUE)
            return err_take(e, &why);
        FAIL(e, ERR_LOC(16755), "Can't extract geo keys: %s", why.msg);
    }
    if (s.n_polygons == 1 && s.polygons[0].strict)
        FAIL(e, ERR_LOC(16755),
             "Can't extract geo keys: a polygon with strict winding cannot be indexed");
    if (s.kind == GEO__PAIR && !s.points[0].on_sphere)
        FAIL(e, ERR_LOC(16755), "Can't extract geo keys: longitude/latitude is out of bounds");
    *out = ARENA_ARRAY(q->arena, int64_t, GEO_CELLS_MAX);
    if (!s.multi && s.n_points == 1) {
        double x = (s.points[0].x + 180) / 360, y = (s.points[0].y + 90) / 180;
        *n = cover(&(struct box){ x, y, x, y }, 1, *out);
        return RC_OK;
    }
    struct box b = shape_box(&s);
    *n = cover(&b, 2, *out);
    return RC_OK;
}

static RC plane_cell(const struct geo_grid *g, struct bval v, int64_t *out, struct err *e)
{
    struct geo__point p;
    struct err why = { 0 };
    int64_t cells[GEO_CELLS_MAX];

    if (geo__parse_pair(v, false, &p, &why).failed)
        FAIL(e, ERR_LOC(13068), "geo field of a 2d index: %s", why.msg);
    if (!(p.x >= g->min && p.x <= g->max && p.y >= g->min && p.y <= g->max))
        FAIL(e, ERR_LOC(13027), "point not in interval of [ %g, %g ]", g->min, g->max);
    double width = g->max - g->min, x = (p.x - g->min) / width, y = (p.y - g->min) / width;

    cover(&(struct box){ x, y, x, y }, 1, cells);
    *out = cells[0];
    return RC_OK;
}

/* plane_cells(): one pair, or several in an array or document. */
static RC plane_cells(struct qctx *q, const struct geo_grid *g, struct bval v, int64_t **out,
                      int *n, struct err *e)
{
    struct biter it;

    if (v.type != BT_DOCUMENT && v.type != BT_ARRAY)
        FAIL(e, ERR_LOC(13068), "geo field of a 2d index must be a pair of numbers");
    if (bdoc_is_empty(bval_doc(v)))
        return RC_OK;
    *out = ARENA_ARRAY(q->arena, int64_t, bdoc_count(bval_doc(v)) + 1);
    biter_init(&it, bval_doc(v));
    (void)biter_next(&it);
    if (it.val.type != BT_DOCUMENT && it.val.type != BT_ARRAY) {
        TRY(plane_cell(g, v, *out, e));
        *n = 1;
        return RC_OK;
    }
    do {
        TRY(qctx_check(q, e));
        TRY(plane_cell(g, it.val, &(*out)[*n], e));
        (*n)++;
    } while (biter_next(&it));
    return RC_OK;
}

RC geo_cells(struct qctx *q, const struct geo_grid *g, struct bval v, int64_t **out, int *n,
             struct err *e)
{
    *out = NULL;
    *n = 0;
    if (bval_is_nullish(v))
        return RC_OK;
    return g->plane ? plane_cells(q, g, v, out, n, e) : sphere_cells(q, v, out, n, e);
}

/* ---- queries ---- */

static int by_start(const void *a, const void *b)
{
    const struct geo_range *x = a, *y = b;

    return x->lo != y->lo ? (x->lo > y->lo) - (x->lo < y->lo) : (x->hi < y->hi) - (x->hi > y->hi);
}

/* ranges_of(): what lies in the box's cells, and every cell around them. */
static void ranges_of(struct qctx *q, const struct box *b, struct geo_range **out, int *n)
{
    int64_t cells[GEO_CELLS_MAX];
    int n_cells = cover(b, 4, cells), at = 0, kept = 0;
    struct geo_range *r = ARENA_ARRAY(q->arena, struct geo_range, (size_t)n_cells * (LEVELS + 1));

    for (int i = 0; i < n_cells; i++) {
        int64_t cell = cells[i], bit = lowest_bit(cell);

        r[at++] = (struct geo_range){ cell - (bit - 1), cell + (bit - 1) };
        for (bit <<= 2; bit <= (int64_t)1 << 2 * LEVELS; bit <<= 2) {
            int64_t around = (cell & -bit) | bit;
            r[at++] = (struct geo_range){ around, around };
        }
    }
    qsort(r, (size_t)at, sizeof(*r), by_start);
    for (int i = 0; i < at; i++) {
        if (kept && r[i].lo <= r[kept - 1].hi + 1)
            r[kept - 1].hi = r[i].hi > r[kept - 1].hi ? r[i].hi : r[kept - 1].hi;
        else
            r[kept++] = r[i];
    }
    *out = r;
    *n = kept;
}

bool geo_shape_ranges(struct qctx *q, const struct geo_grid *g, const struct geo_shape *s,
                      struct geo_range **out, int *n)
{
    struct box b;

    *out = NULL;
    *n = 0;
    if (g->plane) {
        double x0 = INFINITY, y0 = INFINITY, x1 = -INFINITY, y1 = -INFINITY;

        if (s->kind != GEO__BOX && s->kind != GEO__CIRCLE && s->kind != GEO__FLAT)
            return false;
        for (int i = 0; i < s->n_corners; i++) {
            x0 = fmin(x0, s->corner[i].x - s->radius);
            x1 = fmax(x1, s->corner[i].x + s->radius);
            y0 = fmin(y0, s->corner[i].y - s->radius);
            y1 = fmax(y1, s->corner[i].y + s->radius);
        }
        b = plane_box(g, x0, y0, x1, y1);
    } else if (s->kind == GEO__CAP) {
        if (!cap_box(s->corner, s->radius, &b))
            return false;
    } else if (s->kind == GEO__SPHERE || (s->kind == GEO__PAIR && s->points[0].on_sphere)) {
        b = shape_box(s);
    } else {
        return false;
    }
    ranges_of(q, &b, out, n);
    return true;
}

bool geo_near_ranges(struct qctx *q, const struct geo_grid *g, const struct geo_near *near,
                     struct geo_range **out, int *n)
{
    const struct geo__point *p = &near->point;
    struct box b;

    *out = NULL;
    *n = 0;
    if (!isfinite(near->max) || g->plane == near->sphere)
        return false;
    if (g->plane)
        b = plane_box(g, p->x - near->max, p->y - near->max, p->x + near->max, p->y + near->max);
    else if (!cap_box(p, near->metres ? near->max / GEO_EARTH_M : near->max, &b))
        return false;
    ranges_of(q, &b, out, n);
    return true;
}
