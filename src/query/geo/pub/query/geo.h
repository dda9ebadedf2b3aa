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

#endif
