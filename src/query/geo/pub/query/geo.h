/* geo.h - places: GeoJSON and legacy pairs parsed to shapes, and what one shape is to another (compatibility 7 "Geo").
 *
 * Model    A shape on the sphere is a set of points, lines and polygons: every GeoJSON kind comes down to that. A legacy pair is a point of the
 *          plane, and also one of the sphere when it is a longitude and a latitude. Boxes, circles and legacy polygons exist in queries only, in the plane.
 * Edges    of lines and polygons are arcs of great circles. Each point lies in exactly one of the polygons that share an edge.
 * Memory   Shapes live in the arena that they were parsed in.
 * Limits   Whatever is quadratic in the vertices looks at the query's limits.
 * Threads  A shape is immutable once parsed.
 */
#ifndef QUERY_GEO_H
#define QUERY_GEO_H

#include "query/qctx.h"

#define GEO_EARTH_M 6378100.0 /* radius in metres: what turns radians to distances */

struct geo_shape;

enum geo_relation { GEO_WITHIN, GEO_INTERSECTS };

/* geo_parse_predicate(): the operand of $geoWithin (also $within) or $geoIntersects. ERR_BAD_VALUE. */
RC geo_parse_predicate(struct qctx *q, enum geo_relation relation, struct bval operand,
                       struct geo_shape **out, struct err *e);
/* geo_test(): whether the stored value v is, to the shape of a query, in that relation. A value that is no geometry is not. Uses q->scratch and gives it
 * back. The errors are those of the query's limits. */
RC geo_test(struct qctx *q, const struct geo_shape *shape, enum geo_relation relation,
            struct bval v, bool *out, struct err *e);

/* ---- $near ---- */

struct geo_near;

struct geo_grid {
    bool plane;
    double min, max; /* of both axes; plane only */
};

enum geo_index { GEO_INDEX_SPHERE = 1, GEO_INDEX_PLANE = 2 }; /* "2dsphere", "2d" */

/* geo_parse_near(): ops is the whole document of the field, {$near: ..., $maxDistance: ...}. Codes 2, 16893 to 16896, 18522, 34413. */
RC geo_parse_near(struct qctx *q, struct bdoc ops, struct geo_near **out, struct err *e);
/* geo_near_indexes(): a set of enum geo_index: by which of them the distances can be asked for. */
unsigned geo_near_indexes(const struct geo_near *n);
/* geo_near_fits(): the point lies on the grid of a 2d index; true for others. */
bool geo_near_fits(const struct geo_near *n, const struct geo_grid *g);
bool geo_near_accepts(const struct geo_near *n, double distance);
/* geo_near_shown(): a distance in the unit of the query. */
double geo_near_shown(const struct geo_near *n, double distance);
/* geo_distance(): from the point to the value v, in metres on the sphere; false in *has when v is no geometry. */
RC geo_distance(struct qctx *q, const struct geo_near *n, struct bval v, double *out, bool *has,
                struct err *e);

/* ---- cells: what an index holds of a place ----
 *
 * A square of 2^30 by 2^30 leaves lies over longitude and latitude, or over the plane between an index's bounds. A cell of level L is one of 2^L by 2^L
 * parts of it; its number is the interleaved bits of its place, a one, and zeros. So the cells within a cell make one range of numbers, and those around
 * it can be computed.
 */
enum { GEO_CELLS_MAX = 16 };

struct geo_range {
    int64_t lo, hi; /* both within */
};

/* geo_cells(): cells that together cover the stored value. None for null and missing. ERR_LOC(16755), (13027), (13068). */
RC geo_cells(struct qctx *q, const struct geo_grid *g, struct bval v, int64_t **out, int *n,
             struct err *e);
/* geo_shape_ranges(), geo_near_ranges(): ranges of the numbers of all cells that may hold what matches, ascending, apart. False when the grid cannot tell. */
bool geo_shape_ranges(struct qctx *q, const struct geo_grid *g, const struct geo_shape *s,
                      struct geo_range **out, int *n);
bool geo_near_ranges(struct qctx *q, const struct geo_grid *g, const struct geo_near *near,
                     struct geo_range **out, int *n);

#endif
