/* sphere.c - orientation, order and crossings on the unit sphere.
 *
 * Everything rests on geo__ccw(). Where its determinant cannot be told from zero, the differences of the points are taken first, which loses least;
 * where that is zero too, the points are ordered as if each had been moved by (e, e^2, e^3) with e vanishing. So no three distinct points are ever on
 * one line, and a point belongs to exactly one of the polygons that meet in it. This is the method of Google's S2 library, which MongoDB uses.
 */
#include <math.h>

#include "geo_priv.h"

static struct geo__vec cross(struct geo__vec a, struct geo__vec b)
{
    return (struct geo__vec){ a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x };
}

static double dot(struct geo__vec a, struct geo__vec b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static struct geo__vec scaled(struct geo__vec a, double by)
{
    return (struct geo__vec){ a.x * by, a.y * by, a.z * by };
}

static struct geo__vec plus(struct geo__vec a, struct geo__vec b)
{
    return (struct geo__vec){ a.x + b.x, a.y + b.y, a.z + b.z };
}

static struct geo__vec unit(struct geo__vec a)
{
    double n = sqrt(dot(a, a));

    return n > 0 ? scaled(a, 1 / n) : a;
}

static bool before(struct geo__vec a, struct geo__vec b)
{
    if (a.x != b.x)
        return a.x < b.x;
    return a.y != b.y ? a.y < b.y : a.z < b.z;
}

struct geo__vec geo__vec_of(double lng, double lat)
{
    double phi = lat * (M_PI / 180), theta = remainder(lng * (M_PI / 180), 2 * M_PI);

    return (struct geo__vec){ cos(theta) * cos(phi), sin(theta) * cos(phi), sin(phi) };
}

bool geo__vec_eq(struct geo__vec a, struct geo__vec b)
{
    return a.x == b.x && a.y == b.y && a.z == b.z;
}

double geo__angle(struct geo__vec a, struct geo__vec b)
{
    struct geo__vec c = cross(a, b);

    return atan2(sqrt(dot(c, c)), dot(a, b));
}

struct geo__vec geo__middle(struct geo__vec a, struct geo__vec b)
{
    return unit(plus(a, b));
}

struct geo__vec geo__opposite(struct geo__vec a)
{
    return scaled(a, -1);
}

struct geo__vec geo__ortho(struct geo__vec a)
{
    double x = fabs(a.x), y = fabs(a.y), z = fabs(a.z);
    struct geo__vec t = { 0.012, 0.0053, 0.00457 };

    /* the component before the largest one */
    if (x > y ? x > z : false)
        t.z = 1;
    else if (x > y || z >= y)
        t.y = 1;
    else
        t.x = 1;
    return unit(cross(a, t));
}

struct geo__vec geo__origin(void)
{
    return unit((struct geo__vec){ 0.00457, 1, 0.0321 });
}

/* ---- orientation ---- */

struct pair {
    double u, v;
};

/* flat_ccw(): the sign of a x b, taken from the shorter of the two and the sum or difference. */
static int flat_ccw(struct pair a, struct pair b)
{
    double sab = a.u * b.u + a.v * b.v > 0 ? -1 : 1;
    struct pair d = { a.u + sab * b.u, a.v + sab * b.v };
    double da = a.u * a.u + a.v * a.v, db = b.u * b.u + b.v * b.v;
    bool a_first = da < db || (da == db && (a.u < b.u || (a.u == b.u && a.v < b.v)));
    double sign = a_first ? (a.u * d.v - a.v * d.u) * sab : d.u * b.v - d.v * b.u;

    return (sign > 0) - (sign < 0);
}

static int flat_order(struct pair a, struct pair b, struct pair c)
{
    int sum = flat_ccw(a, b) + flat_ccw(b, c) + flat_ccw(c, a);

    return (sum > 0) - (sum < 0);
}

static int perturbed(struct geo__vec a, struct geo__vec b, struct geo__vec c)
{
    int order =
        flat_order((struct pair){ a.y, a.z }, (struct pair){ b.y, b.z }, (struct pair){ c.y, c.z });

    if (order == 0)
        order = flat_order((struct pair){ a.z, a.x }, (struct pair){ b.z, b.x },
                           (struct pair){ c.z, c.x });
    if (order == 0)
        order = flat_order((struct pair){ a.x, a.y }, (struct pair){ b.x, b.y },
                           (struct pair){ c.x, c.y });
    return order;
}

/* close_ccw(): the corner opposite the longest side is the one that the others are seen from. */
static int close_ccw(struct geo__vec a, struct geo__vec b, struct geo__vec c)
{
    double sab = dot(a, b) > 0 ? -1 : 1, sbc = dot(b, c) > 0 ? -1 : 1, sca = dot(c, a) > 0 ? -1 : 1;
    struct geo__vec ab = plus(a, scaled(b, sab)), bc = plus(b, scaled(c, sbc)),
                    ca = plus(c, scaled(a, sca));
    double dab = dot(ab, ab), dbc = dot(bc, bc), dca = dot(ca, ca), sign;

    if (geo__vec_eq(a, b) || geo__vec_eq(b, c) || geo__vec_eq(c, a))
        return 0;
    if (dca < dbc || (dca == dbc && before(a, b))) {
        if (dab < dbc || (dab == dbc && before(a, c)))
            sign = dot(cross(ab, ca), a) * sab;
        else
            sign = dot(cross(ca, bc), c) * sca;
    } else if (dab < dca || (dab == dca && before(b, c))) {
        sign = dot(cross(bc, ab), b) * sbc;
    } else {
        sign = dot(cross(ca, bc), c) * sca;
    }
    if (sign != 0)
        return sign > 0 ? 1 : -1;
    return perturbed(a, b, c);
}

int geo__ccw(struct geo__vec a, struct geo__vec b, struct geo__vec c)
{
    static const double certain = 1.6e-15; /* 14 operations on unit vectors, each off by 2^-54 */
    double det = dot(cross(a, b), c);

    if (det > certain)
        return 1;
    return det < -certain ? -1 : close_ccw(a, b, c);
}

bool geo__ordered(struct geo__vec a, struct geo__vec b, struct geo__vec c, struct geo__vec o)
{
    return (geo__ccw(b, o, a) >= 0) + (geo__ccw(c, o, b) >= 0) + (geo__ccw(a, o, c) > 0) >= 2;
}

/* ---- crossings ---- */

int geo__crossing(struct geo__vec a, struct geo__vec b, struct geo__vec c, struct geo__vec d)
{
    int acb = -geo__ccw(a, b, c), bda = geo__ccw(a, b, d);

    if (bda == -acb && bda != 0)
        return -1;
    if (acb == 0 || bda == 0)
        return 0;
    return -geo__ccw(c, d, b) == acb && geo__ccw(c, d, a) == acb ? 1 : -1;
}

/* at_vertex(): the arcs share an end. They cross there when, turning around it from a fixed direction, one comes before the other. */
static bool at_vertex(struct geo__vec a, struct geo__vec b, struct geo__vec c, struct geo__vec d)
{
    if (geo__vec_eq(a, b) || geo__vec_eq(c, d))
        return false;
    if (geo__vec_eq(a, d))
        return geo__ordered(geo__ortho(a), c, b, a);
    if (geo__vec_eq(b, c))
        return geo__ordered(geo__ortho(b), d, a, b);
    if (geo__vec_eq(a, c))
        return geo__ordered(geo__ortho(a), d, b, a);
    if (geo__vec_eq(b, d))
        return geo__ordered(geo__ortho(b), c, a, b);
    return false;
}

bool geo__crosses(struct geo__vec a, struct geo__vec b, struct geo__vec c, struct geo__vec d)
{
    int x = geo__crossing(a, b, c, d);

    return x > 0 || (x == 0 && at_vertex(a, b, c, d));
}

/* ---- angles and distances ---- */

/* normal(): at right angles to a and b, also when they are close to each other or opposite. */
static struct geo__vec normal(struct geo__vec a, struct geo__vec b)
{
    struct geo__vec x = cross(plus(b, a), plus(b, scaled(a, -1)));

    return x.x == 0 && x.y == 0 && x.z == 0 ? geo__ortho(a) : x;
}

double geo__turn(struct geo__vec a, struct geo__vec b, struct geo__vec c)
{
    double angle = geo__angle(normal(a, b), normal(b, c));

    return geo__ccw(a, b, c) > 0 ? angle : -angle;
}

/* closest(): the point of the arc ab that is nearest to p. */
static struct geo__vec closest(struct geo__vec p, struct geo__vec a, struct geo__vec b)
{
    struct geo__vec n = normal(a, b), to_a = plus(p, scaled(a, -1)), to_b = plus(p, scaled(b, -1));
    struct geo__vec foot = plus(p, scaled(n, -(dot(p, n) / dot(n, n))));

    if (dot(cross(foot, n), a) > 0 && dot(cross(n, foot), b) > 0) /* between the ends */
        return unit(foot);
    return dot(to_a, to_a) <= dot(to_b, to_b) ? a : b;
}

double geo__edge_distance(struct geo__vec p, struct geo__vec a, struct geo__vec b)
{
    return geo__angle(p, closest(p, a, b));
}

void geo__extremes(struct geo__vec a, struct geo__vec b, double *lo, double *hi)
{
    struct geo__vec n = normal(a, b), up = { 0, 0, 1 };
    struct geo__vec top = unit(cross(cross(n, up), n)); /* where the great circle is highest */

    *lo = fmin(a.z, b.z);
    *hi = fmax(a.z, b.z);
    if (dot(cross(n, a), top) > 0 && dot(cross(b, n), top) > 0)
        *hi = fmax(*hi, top.z);
    top = geo__opposite(top);
    if (dot(cross(n, a), top) > 0 && dot(cross(b, n), top) > 0)
        *lo = fmin(*lo, top.z);
}
