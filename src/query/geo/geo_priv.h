/* geo_priv.h - shapes from inside, and the arithmetic of the sphere. */
#ifndef QUERY_GEO_PRIV_H
#define QUERY_GEO_PRIV_H

#include "query/geo.h"

/* ---- the unit sphere (sphere.c) ---- */

struct geo__vec {
    double x, y, z;
};

struct geo__vec geo__vec_of(double lng, double lat);     /* degrees */
double geo__angle(struct geo__vec a, struct geo__vec b); /* radians */
bool geo__vec_eq(struct geo__vec a, struct geo__vec b);
struct geo__vec geo__middle(struct geo__vec a, struct geo__vec b);
struct geo__vec geo__opposite(struct geo__vec a);
/* geo__ccw(): 1 when a, b, c turn counter-clockwise seen from outside, -1 when clockwise; 0 only when two of them are the same point. Points on one great
 * circle are treated as if each had been moved a little, always alike. */
int geo__ccw(struct geo__vec a, struct geo__vec b, struct geo__vec c);
/* geo__ordered(): a, b, c come in that order counter-clockwise around o; true when a == b or b == c. */
bool geo__ordered(struct geo__vec a, struct geo__vec b, struct geo__vec c, struct geo__vec o);
/* geo__crossing(): 1 when the arcs ab and cd cross at an inner point, 0 when they share an end, -1 else. */
int geo__crossing(struct geo__vec a, struct geo__vec b, struct geo__vec c, struct geo__vec d);
/* geo__crosses(): crossings at shared ends count once in a pass around a loop. */
bool geo__crosses(struct geo__vec a, struct geo__vec b, struct geo__vec c, struct geo__vec d);
/* at b, left is positive */
double geo__turn(struct geo__vec a, struct geo__vec b, struct geo__vec c);
/* geo__edge_distance(): from p to the nearest point of the arc ab, radians. */
double geo__edge_distance(struct geo__vec p, struct geo__vec a, struct geo__vec b);
struct geo__vec geo__ortho(struct geo__vec a); /* a fixed direction at right angles to a */
struct geo__vec geo__origin(void);             /* a point that nobody's polygon has as a corner */

/* ---- loops (loop.c) ---- */

struct geo__loop { /* closed; its inside is on the left of its edges */
    struct geo__vec *v;
    int n;
    bool origin_inside;
    struct geo__vec centre; /* every inner point makes a cosine of at least reach with it */
    double reach;           /* -2: not known */
};

/* geo__loop_check(): at least three corners, none twice, no edges that cross. */
RC geo__loop_check(struct qctx *q, const struct geo__loop *l, struct err *e);
void geo__loop_init(struct geo__loop *l);
/* turns it round when its inside is more than half of the sphere */
void geo__loop_normalize(struct geo__loop *l);
bool geo__loop_has(const struct geo__loop *l, struct geo__vec p);
bool geo__loop_vertex(const struct geo__loop *l, struct geo__vec p);
RC geo__loop_contains(struct qctx *q, const struct geo__loop *a, const struct geo__loop *b,
                      bool *out, struct err *e);
RC geo__loop_intersects(struct qctx *q, const struct geo__loop *a, const struct geo__loop *b,
                        bool *out, struct err *e);

/* ---- shapes ---- */

struct geo__point {
    double x, y; /* in the plane; longitude and latitude */
    struct geo__vec v;
    bool on_sphere; /* v holds */
};

struct geo__line {
    struct geo__vec *v;
    int n;
};

struct geo__polygon {
    struct geo__loop *loops; /* the first is the outer one, the others are holes */
    int n;
    bool strict; /* its winding says which side is inside, however large */
};

enum geo__kind {
    GEO__SPHERE, /* points, lines, polygons */
    GEO__PAIR,   /* one legacy point */
    GEO__BOX,    /* corner[0] to corner[1] */
    GEO__CIRCLE, /* around corner[0], radius */
    GEO__FLAT,   /* a polygon of the plane: corner[] */
    GEO__CAP     /* $centerSphere: centre, radius in radians */
};

struct geo_shape {
    enum geo__kind kind;
    struct geo__point *points;
    struct geo__line *lines;
    struct geo__polygon *polygons;
    int n_points, n_lines, n_polygons;
    bool multi; /* not a single point, line or polygon */
    struct geo__point *corner;
    int n_corners;
    double radius;
    struct geo__vec centre;
};

/* geo__parse(): a stored value or the operand of $geometry. strict_pair: a legacy pair has nothing behind its two numbers. ERR_BAD_VALUE. */
RC geo__parse(struct qctx *q, struct arena *a, struct bval v, bool strict_pair,
              struct geo_shape *out, struct err *e);
/* geo__parse_stored(): a stored value that a query comes to, and whether it is a shape at all. The errors are those of the query's limits. */
RC geo__parse_stored(struct qctx *q, struct arena *a, struct bval v, struct geo_shape *out,
                     bool *is_shape, struct err *e);
RC geo__parse_pair(struct bval v, bool strict, struct geo__point *out, struct err *e);
RC geo__parse_legacy_shape(struct qctx *q, struct slice name, struct bval v, struct geo_shape *out,
                           struct err *e);

RC geo__within(struct qctx *q, const struct geo_shape *query, const struct geo_shape *s, bool *out,
               struct err *e);
RC geo__intersects(struct qctx *q, const struct geo_shape *query, const struct geo_shape *s,
                   bool *out, struct err *e);
bool geo__polygon_has(const struct geo__polygon *p, struct geo__vec v);

struct geo_near {
    struct geo__point point;
    bool sphere; /* distances on the sphere; else in the plane */
    bool metres; /* else radians, or the plane's unit */
    bool pair;   /* the point was told as a legacy pair */
    double min, max;
};

/* geo__extremes(): the least and the greatest z on the arc ab. */
void geo__extremes(struct geo__vec a, struct geo__vec b, double *lo, double *hi);

enum { GEO__STEPS = 4096 }; /* pairs of edges between two looks at the limits */

#endif
