/* test_cells.c - what matches is in the cells that a query would read: by the poles, at the antimeridian, and millimetres apart. */
#include "qtest.h"

#include <math.h>
#include <stdlib.h>

#include "query/geo.h"

enum { ROUNDS = 60000 };

static unsigned seed = 7;

static unsigned rnd(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

static double fraction(void)
{
    return rnd(1000001) / 1e6;
}

/* little(): of any order of magnitude, often none. */
static double little(void)
{
    return rnd(3) ? pow(10, -(double)rnd(9)) * (fraction() - 0.5) : 0;
}

struct place {
    double lng, lat;
};

static struct place inside(double lng, double lat)
{
    return (struct place){ fmax(-180, fmin(180, lng)), fmax(-90, fmin(90, lat)) };
}

/* spot(): where it is difficult, and elsewhere. */
static struct place spot(void)
{
    static const double lngs[] = { -180, 180, -90, 90, 0 }, lats[] = { -90, 90, 80, -80, 60, 0 };
    double lng = rnd(2) ? lngs[rnd(5)] : 360 * fraction() - 180,
           lat = rnd(2) ? lats[rnd(6)] : 180 * fraction() - 90;

    return inside(lng + little(), lat + little());
}

static struct place by(struct place p)
{
    return inside(p.lng + little(), p.lat + little());
}

static double around(double lng)
{
    return remainder(lng, 360);
}

/* put_loop(): a box of edges w to e, s to n; it may go across the antimeridian. */
static void put_loop(struct buf *b, double w, double s, double e, double n)
{
    buf_printf(b, "[[%.12g,%.12g],[%.12g,%.12g],[%.12g,%.12g],[%.12g,%.12g],[%.12g,%.12g]]",
               around(w), s, around(e), s, around(e), n, around(w), n, around(w), s);
}

/* put_ring(): around a pole, on one parallel. */
static void put_ring(struct buf *b, double lat, double turn)
{
    buf_printf(b, "[");
    for (int i = 0; i <= 5; i++)
        buf_printf(b, "%s[%.12g,%.12g]", i ? "," : "", around(i % 5 * 72 + turn), lat);
    buf_printf(b, "]");
}

static void put_polygon(struct buf *b, struct place p)
{
    double w = 0.001 + 40 * fraction(), h = 0.001 + 20 * fraction(), turn = 72 * fraction(),
           side = rnd(2) ? 1 : -1, lat = 20 + 60 * fraction();

    buf_printf(b, "{type:'Polygon',coordinates:[");
    switch (rnd(3)) {
    case 0: put_ring(b, side * lat, turn); break;
    case 1: /* the pole is in its hole */
        put_ring(b, side * lat, turn);
        buf_printf(b, ",");
        put_ring(b, side * (lat + (89 - lat) * fraction()), turn);
        break;
    default: put_loop(b, p.lng - w, fmax(p.lat - h, -89.9), p.lng + w, fmin(p.lat + h, 89.9));
    }
    buf_printf(b, "]}");
}

static void put_geometry(struct buf *b, struct place p)
{
    struct place q = by(p);

    switch (rnd(4)) {
    case 0: put_polygon(b, p); return;
    case 1:
        q = rnd(2) ? q : spot();
        buf_printf(b, "{type:'LineString',coordinates:[[%.12g,%.12g],[%.12g,%.12g]]}", p.lng, p.lat,
                   q.lng, q.lat);
        return;
    case 2:
        buf_printf(b, "{type:'MultiPoint',coordinates:[[%.12g,%.12g],[%.12g,%.12g]]}", p.lng, p.lat,
                   q.lng, q.lat);
        return;
    default: buf_printf(b, "{type:'Point',coordinates:[%.12g,%.12g]}", p.lng, p.lat);
    }
}

struct row {
    struct qtest t;
    struct buf text;
    struct bval op, v;
};

static void row_open(struct row *r, bool near)
{
    struct place p = spot(), q = rnd(3) ? by(p) : spot();
    double far = rnd(2) ? 1e7 * fraction() : fabs(little());

    *r = (struct row){ .text = BUF_INIT };
    qtest_open(&r->t);
    buf_printf(&r->text, "{v:");
    put_geometry(&r->text, p);
    buf_printf(&r->text, ",op:{");
    if (near) {
        buf_printf(&r->text,
                   "$near:{$geometry:{type:'Point',coordinates:[%.12g,%.12g]},$maxDistance:%.12g}",
                   q.lng, q.lat, far);
    } else if (rnd(4) == 0) {
        buf_printf(&r->text, "$centerSphere:[[%.12g,%.12g],%.12g]", q.lng, q.lat, far / 6378100);
    } else {
        buf_printf(&r->text, "$geometry:");
        put_geometry(&r->text, q);
    }
    buf_printf(&r->text, "}}");
    struct bdoc d = qtest_doc(&r->t, buf_cstr(&r->text));
    r->v = bdoc_get(d, "v");
    r->op = bdoc_get(d, "op");
}

static void row_close(struct row *r)
{
    buf_fini(&r->text);
    qtest_close(&r->t);
}

static const struct geo_grid sphere = { .min = -180, .max = 180 };

static void check(struct row *r, const struct geo_range *ranges, int n_ranges)
{
    struct err e = { 0 };
    int64_t *cells;
    int n;

    CHECK_RC_OK(geo_cells(&r->t.q, &sphere, r->v, &cells, &n, &e), &e);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n_ranges; k++) {
            if (cells[i] >= ranges[k].lo && cells[i] <= ranges[k].hi)
                return;
        }
    }
    fail_msg("not in the cells that are read: %s", buf_cstr(&r->text));
}

/* taken(): what the parser makes of a random shape: lines of one point, and edges that cross, are none. */
static bool taken(rc_t rc, struct err *e)
{
    err_reset(e);
    return !rc.failed;
}

static void shapes(void **state)
{
    int n = 0;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        enum geo_relation relation = rnd(2) ? GEO_WITHIN : GEO_INTERSECTS;
        struct geo_range *ranges;
        struct geo_shape *s;
        struct err e = { 0 };
        struct row r;
        bool yes = false;
        int n_ranges;

        row_open(&r, false);
        if (taken(geo_parse_predicate(&r.t.q, relation, r.op, &s, &e), &e))
            CHECK_RC_OK(geo_test(&r.t.q, s, relation, r.v, &yes, &e), &e);
        if (yes && geo_shape_ranges(&r.t.q, &sphere, s, &ranges, &n_ranges)) {
            check(&r, ranges, n_ranges);
            n++;
        }
        row_close(&r);
    }
    assert_true(n > ROUNDS / 10);
}

static void near(void **state)
{
    int n = 0;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct geo_range *ranges;
        struct geo_near *at;
        struct err e = { 0 };
        struct row r;
        double distance;
        bool has;
        int n_ranges;

        row_open(&r, true);
        CHECK_RC_OK(geo_parse_near(&r.t.q, bval_doc(r.op), &at, &e), &e);
        CHECK_RC_OK(geo_distance(&r.t.q, at, r.v, &distance, &has, &e), &e);
        if (has && geo_near_accepts(at, distance) &&
            geo_near_ranges(&r.t.q, &sphere, at, &ranges, &n_ranges)) {
            check(&r, ranges, n_ranges);
            n++;
        }
        row_close(&r);
    }
    assert_true(n > ROUNDS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
