/* relate.c - within and intersects: a query's shape against a stored one. */
#include <math.h>

#include "geo_priv.h"

/* Two places closer than this are one: MongoDB compares points by cells of about a centimetre. */
static const double same_place = 1e-9; /* radians: 6 mm */

/* ---- the plane ---- */

static bool in_box(const struct geo__point *c, double x, double y)
{
    return x >= fmin(c[0].x, c[1].x) && x <= fmax(c[0].x, c[1].x) && y >= fmin(c[0].y, c[1].y) &&
           y <= fmax(c[0].y, c[1].y);
}

/* in_flat(): corners and level or upright edges belong to the polygon; of slanting ones, those to the left of which it lies. */
static bool in_flat(const struct geo_shape *s, double x, double y)
{
    bool inside = false;

    for (int i = 0; i < s->n_corners; i++) {
        const struct geo__point *a = &s->corner[i], *b = &s->corner[(i + 1) % s->n_corners];

        if ((x == a->x && y == a->y) || (x == b->x && y == b->y))
            return true;
        if (a->y == b->y) {
            if (y == a->y && x >= fmin(a->x, b->x) && x <= fmax(a->x, b->x))
                return true;
            continue;
        }
        if (y <= fmin(a->y, b->y) || y > fmax(a->y, b->y) || x > fmax(a->x, b->x))
            continue;
        if (a->x == b->x && x == a->x)
            return true;
        if (a->x == b->x || x <= (y - a->y) * (b->x - a->x) / (b->y - a->y) + a->x)
            inside = !inside;
    }
    return inside;
}

static bool within_flat(const struct geo_shape *query, const struct geo_shape *s)
{
    if (s->multi || s->n_points != 1)
        return false;
    double x = s->points[0].x, y = s->points[0].y;

    switch (query->kind) {
    case GEO__BOX: return in_box(query->corner, x, y);
    case GEO__CIRCLE: return hypot(x - query->corner[0].x, y - query->corner[0].y) <= query->radius;
    default: return in_flat(query, x, y);
    }
}

/* ---- a cap of the sphere ---- */

/* arc_in_cap(): no point of the arc is nearer to what is opposite the centre than the cap's edge is. */
static bool arc_in_cap(const struct geo_shape *cap, struct geo__vec a, struct geo__vec b)
{
    return geo__edge_distance(geo__opposite(cap->centre), a, b) >= M_PI - cap->radius - same_place;
}

static bool line_in_cap(const struct geo_shape *cap, const struct geo__vec *v, int n, bool closed)
{
    for (int i = 0; i + (closed ? 0 : 1) < n; i++) {
        if (!arc_in_cap(cap, v[i], v[(i + 1) % n]))
            return false;
    }
    return true;
}

static bool within_cap(const struct geo_shape *cap, const struct geo_shape *s)
{
    bool everything = cap->radius >= M_PI;

    for (int i = 0; i < s->n_points; i++) {
        if (!s->points[i].on_sphere)
            return false;
        if (!everything && geo__angle(cap->centre, s->points[i].v) > cap->radius + same_place)
            return false;
    }
    for (int i = 0; !everything && i < s->n_lines; i++) {
        if (!line_in_cap(cap, s->lines[i].v, s->lines[i].n, false))
            return false;
    }
    for (int i = 0; !everything && i < s->n_polygons; i++) {
        const struct geo__polygon *p = &s->polygons[i];

        if (!line_in_cap(cap, p->loops[0].v, p->loops[0].n, true) ||
            geo__polygon_has(p, geo__opposite(cap->centre)))
            return false;
    }
    return true;
}

/* ---- one polygon ---- */

bool geo__polygon_has(const struct geo__polygon *p, struct geo__vec v)
{
    if (!geo__loop_has(&p->loops[0], v))
        return false;
    for (int i = 1; i < p->n; i++) {
        if (geo__loop_has(&p->loops[i], v))
            return false;
    }
    return true;
}

static bool is_corner(const struct geo__polygon *p, struct geo__vec v)
{
    for (int i = 0; i < p->n; i++) {
        if (geo__loop_vertex(&p->loops[i], v))
            return true;
    }
    return false;
}

static RC line_crosses(struct qctx *q, const struct geo__polygon *p, const struct geo__line *l,
                       bool *out, struct err *e)
{
    uint64_t steps = 0;

    *out = false;
    for (int i = 0; i < p->n; i++) {
        const struct geo__loop *loop = &p->loops[i];

        for (int k = 0; k < loop->n; k++) {
            for (int m = 0; m + 1 < l->n && !*out; m++) {
                if (++steps % GEO__STEPS == 0)
                    TRY(qctx_check(q, e));
                *out =
                    geo__crossing(loop->v[k], loop->v[(k + 1) % loop->n], l->v[m], l->v[m + 1]) > 0;
            }
        }
    }
    return RC_OK;
}

static RC polygon_holds_line(struct qctx *q, const struct geo__polygon *p,
                             const struct geo__line *l, bool *out, struct err *e)
{
    bool crosses;

    *out = false;
    for (int i = 0; i < l->n; i++) {
        bool corner = is_corner(p, l->v[i]);

        TRY(qctx_check(q, e));
        if (!corner && !geo__polygon_has(p, l->v[i]))
            return RC_OK;
        if (corner && i + 1 < l->n && is_corner(p, l->v[i + 1]) &&
            !geo__polygon_has(p, geo__middle(l->v[i], l->v[i + 1])))
            return RC_OK;
    }
    TRY(line_crosses(q, p, l, &crosses, e));
    *out = !crosses;
    return RC_OK;
}

static RC polygon_meets_line(struct qctx *q, const struct geo__polygon *p,
                             const struct geo__line *l, bool *out, struct err *e)
{
    *out = false;
    for (int i = 0; i < l->n && !*out; i++) {
        TRY(qctx_check(q, e));
        *out = geo__polygon_has(p, l->v[i]) ||
               (i + 1 < l->n && geo__polygon_has(p, geo__middle(l->v[i], l->v[i + 1])));
    }
    return *out ? RC_OK : line_crosses(q, p, l, out, e);
}

/* spared(): the hole leaves b alone, or b has a hole around it. */
static RC spared(struct qctx *q, const struct geo__loop *hole, const struct geo__polygon *b,
                 bool *out, struct err *e)
{
    bool touched, around = false;

    TRY(geo__loop_intersects(q, hole, &b->loops[0], &touched, e));
    for (int i = 1; touched && !around && i < b->n; i++)
        TRY(geo__loop_contains(q, &b->loops[i], hole, &around, e));
    *out = !touched || around;
    return RC_OK;
}

static RC polygon_holds_polygon(struct qctx *q, const struct geo__polygon *a,
                                const struct geo__polygon *b, bool *out, struct err *e)
{
    TRY(geo__loop_contains(q, &a->loops[0], &b->loops[0], out, e));
    for (int i = 1; *out && i < a->n; i++)
        TRY(spared(q, &a->loops[i], b, out, e));
    return RC_OK;
}

/* in_a_hole(): all of b lies in one hole of a. */
static RC in_a_hole(struct qctx *q, const struct geo__polygon *a, const struct geo__polygon *b,
                    bool *out, struct err *e)
{
    *out = false;
    for (int i = 1; !*out && i < a->n; i++)
        TRY(geo__loop_contains(q, &a->loops[i], &b->loops[0], out, e));
    return RC_OK;
}

static RC polygon_meets_polygon(struct qctx *q, const struct geo__polygon *a,
                                const struct geo__polygon *b, bool *out, struct err *e)
{
    bool apart;

    TRY(geo__loop_intersects(q, &a->loops[0], &b->loops[0], out, e));
    if (!*out)
        return RC_OK;
    TRY(in_a_hole(q, a, b, &apart, e));
    if (!apart)
        TRY(in_a_hole(q, b, a, &apart, e));
    *out = !apart;
    return RC_OK;
}

static bool polygon_meets_point(const struct geo__polygon *p, struct geo__vec v)
{
    if (geo__polygon_has(p, v))
        return true;
    for (int i = 0; i < p->n; i++) {
        const struct geo__loop *l = &p->loops[i];

        for (int k = 0; k < l->n; k++) {
            if (geo__edge_distance(v, l->v[k], l->v[(k + 1) % l->n]) <= same_place)
                return true;
        }
    }
    return false;
}

/* ---- within ---- */

/* Each part of s is looked for in every polygon of the query. */
static RC within_polygons(struct qctx *q, const struct geo_shape *query, const struct geo_shape *s,
                          bool *out, struct err *e)
{
    bool yes = true;

    *out = false;
    for (int i = 0; yes && i < s->n_points; i++) {
        TRY(qctx_check(q, e));
        yes = false;
        for (int k = 0; !yes && s->points[i].on_sphere && k < query->n_polygons; k++)
            yes = geo__polygon_has(&query->polygons[k], s->points[i].v);
    }
    for (int i = 0; yes && i < s->n_lines; i++) {
        yes = false;
        for (int k = 0; !yes && k < query->n_polygons; k++)
            TRY(polygon_holds_line(q, &query->polygons[k], &s->lines[i], &yes, e));
    }
    for (int i = 0; yes && i < s->n_polygons; i++) {
        yes = false;
        for (int k = 0; !yes && k < query->n_polygons; k++)
            TRY(polygon_holds_polygon(q, &query->polygons[k], &s->polygons[i], &yes, e));
    }
    *out = yes;
    return RC_OK;
}

RC geo__within(struct qctx *q, const struct geo_shape *query, const struct geo_shape *s, bool *out,
               struct err *e)
{
    switch (query->kind) {
    case GEO__SPHERE: return within_polygons(q, query, s, out, e);
    case GEO__CAP: *out = within_cap(query, s); return RC_OK;
    default: *out = within_flat(query, s); return RC_OK;
    }
}

/* ---- intersects ---- */

static bool line_meets_point(const struct geo__line *l, struct geo__vec v)
{
    for (int i = 0; i + 1 < l->n; i++) {
        if (geo__edge_distance(v, l->v[i], l->v[i + 1]) <= same_place)
            return true;
    }
    return false;
}

static RC line_meets_line(struct qctx *q, const struct geo__line *a, const struct geo__line *b,
                          bool *out, struct err *e)
{
    uint64_t steps = 0;

    *out = false;
    for (int i = 0; i + 1 < a->n; i++) {
        for (int k = 0; k + 1 < b->n && !*out; k++) {
            if (++steps % GEO__STEPS == 0)
                TRY(qctx_check(q, e));
            *out = geo__crossing(a->v[i], a->v[i + 1], b->v[k], b->v[k + 1]) >= 0;
        }
    }
    return RC_OK;
}

static RC meets_point(struct qctx *q, const struct geo_shape *s, const struct geo__point *p,
                      bool *out, struct err *e)
{
    *out = false;
    TRY(qctx_check(q, e));
    if (!p->on_sphere)
        return RC_OK;
    for (int i = 0; !*out && i < s->n_points; i++)
        *out = s->points[i].on_sphere && geo__angle(s->points[i].v, p->v) <= same_place;
    for (int i = 0; !*out && i < s->n_lines; i++)
        *out = line_meets_point(&s->lines[i], p->v);
    for (int i = 0; !*out && i < s->n_polygons; i++)
        *out = polygon_meets_point(&s->polygons[i], p->v);
    return RC_OK;
}

static RC meets_line(struct qctx *q, const struct geo_shape *s, const struct geo__line *l,
                     bool *out, struct err *e)
{
    *out = false;
    for (int i = 0; !*out && i < s->n_points; i++)
        *out = s->points[i].on_sphere && line_meets_point(l, s->points[i].v);
    for (int i = 0; !*out && i < s->n_lines; i++)
        TRY(line_meets_line(q, &s->lines[i], l, out, e));
    for (int i = 0; !*out && i < s->n_polygons; i++)
        TRY(polygon_meets_line(q, &s->polygons[i], l, out, e));
    return RC_OK;
}

static RC meets_polygon(struct qctx *q, const struct geo_shape *s, const struct geo__polygon *p,
                        bool *out, struct err *e)
{
    *out = false;
    for (int i = 0; !*out && i < s->n_points; i++)
        *out = s->points[i].on_sphere && polygon_meets_point(p, s->points[i].v);
    for (int i = 0; !*out && i < s->n_lines; i++)
        TRY(polygon_meets_line(q, p, &s->lines[i], out, e));
    for (int i = 0; !*out && i < s->n_polygons; i++)
        TRY(polygon_meets_polygon(q, &s->polygons[i], p, out, e));
    return RC_OK;
}

RC geo__intersects(struct qctx *q, const struct geo_shape *query, const struct geo_shape *s,
                   bool *out, struct err *e)
{
    *out = false;
    for (int i = 0; !*out && i < query->n_points; i++)
        TRY(meets_point(q, s, &query->points[i], out, e));
    for (int i = 0; !*out && i < query->n_lines; i++)
        TRY(meets_line(q, s, &query->lines[i], out, e));
    for (int i = 0; !*out && i < query->n_polygons; i++)
        TRY(meets_polygon(q, s, &query->polygons[i], out, e));
    return RC_OK;
}
