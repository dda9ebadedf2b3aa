/* test_geo.c - shapes refused, and what stored values are to a query's shape. */
#include "qtest.h"

#include "query/geo.h"

#define SQUARE(w, s, e, n) "[[" w "," s "],[" e "," s "],[" e "," n "],[" w "," n "],[" w "," s "]]"
#define GEOMETRY(type, coordinates) "{$geometry:{type:'" type "',coordinates:" coordinates "}}"
#define POLYGON(loops) GEOMETRY("Polygon", "[" loops "]")
#define STRICT(loops)                                                                              \
    "{$geometry:{type:'Polygon',coordinates:[" loops "],crs:{type:'name',properties:{name:"        \
    "'urn:x-mongodb:crs:strictwinding:EPSG:4326'}}}}"
#define TEN SQUARE("-10", "-10", "10", "10")
#define P(x, y) "{type:'Point',coordinates:[" x "," y "]}"
#define L(list) "{type:'LineString',coordinates:" list "}"
#define A(loops) "{type:'Polygon',coordinates:[" loops "]}"

static const struct {
    enum geo_relation relation;
    const char *shape, *yes[6], *no[8];
} rows[] = {
    { GEO_WITHIN,
      POLYGON(TEN),
      { P("0", "0"), "[1,1]", "{x:1,y:2}", P("9.999", "0"), L("[[0,0],[5,5]]"),
        A(SQUARE("-1", "-1", "1", "1")) },
      { P("10.001", "0"), "[200,0]", "null", "'x'", "{type:'Polygon',coordinates:[]}",
        L("[[0,0],[50,50]]"), A(SQUARE("-50", "-50", "50", "50")),
        "{type:'MultiPoint',coordinates:[[0,0],[50,50]]}" } },
    { GEO_WITHIN,
      POLYGON(TEN "," SQUARE("-1", "-1", "1", "1")),
      { P("5", "5"), A(SQUARE("2", "2", "3", "3")), A(TEN "," SQUARE("-2", "-2", "2", "2")) },
      { P("0", "0"), A(SQUARE("-5", "-5", "5", "5")), L("[[-5,0.5],[5,0.5]]") } },
    { GEO_WITHIN,
      POLYGON(SQUARE("178", "-2", "-178", "2")),
      { P("179", "0"), P("-179", "0"), P("180", "1") },
      { P("0", "0"), P("177", "0") } },
    { GEO_WITHIN, STRICT(TEN), { P("0", "0") }, { P("50", "50") } },
    { GEO_WITHIN,
      STRICT("[[-10,-10],[-10,10],[10,10],[10,-10],[-10,-10]]"),
      { P("50", "50"), P("0", "90") },
      { P("0", "0") } },
    { GEO_WITHIN,
      "{$box:[[10,10],[0,0]]}",
      { "[5,5]", "[0,0]", "[10,5]", "[5,5,99]", P("5", "5") },
      { "[10.001,5]", "[-1,5]", "{type:'LineString',coordinates:[[1,1],[2,2]]}", "5", "[5]",
        "{type:'MultiPoint',coordinates:[[1,1]]}" } },
    { GEO_WITHIN, "{$center:[[0,0],5]}", { "[3,4]", "[5,0]" }, { "[5,5]", "[5.0000001,0]" } },
    { GEO_WITHIN,
      "{$polygon:[[0,0],[10,10],[10,0]]}",
      { "[5,1]", "[0,0]", "[10,5]", "[5,0]" },
      { "[5,5]", "[15,15]", "[0,10]" } },
    { GEO_WITHIN, "{$polygon:[[0,0],[10,10],[10,0],[0,10]]}", { "[2,2]", "[5,5]" }, { "[5,9]" } },
    { GEO_WITHIN,
      "{$centerSphere:[[0,0],0.1]}",
      { P("1", "1"), "[1,1]", L("[[0,0],[2,2]]"), A(SQUARE("0", "0", "1", "1")) },
      { P("10", "10"), L("[[0,0],[20,20]]"), A(SQUARE("-20", "-20", "20", "20")), "[0,100]" } },
    { GEO_WITHIN,
      "{$centerSphere:[[0,0],3]}",
      { L("[[0,0],[100,10]]") },
      { P("180", "0"), A(SQUARE("170", "-10", "-170", "10")) } },
    { GEO_INTERSECTS,
      POLYGON(SQUARE("0", "0", "10", "10")),
      { P("10", "5"), P("10", "10"), A(SQUARE("5", "5", "15", "15")), L("[[-5,5],[15,5]]"),
        A(SQUARE("0", "0", "10", "10")), A(SQUARE("-5", "-5", "15", "15")) },
      { A(SQUARE("10", "10", "20", "20")), "[50,50]", L("[[20,20],[30,30]]"),
        A(SQUARE("-5", "-5", "15", "15") "," SQUARE("-1", "-1", "11", "11")) } },
    { GEO_INTERSECTS,
      GEOMETRY("LineString", "[[-1,1],[1,-1]]"),
      { L("[[-1,-1],[1,1]]"), P("0", "0"), L("[[1,-1],[5,5]]") },
      { L("[[10,10],[11,11]]"), P("1", "1"), "[0.5,0]" } },
    { GEO_INTERSECTS,
      "{$geometry:[0,0]}",
      { P("0", "0"), "[0,0]", "{type:'MultiPoint',coordinates:[[9,9],[0,0]]}",
        "{type:'GeometryCollection',geometries:[" P("0", "0") "]}" },
      { P("0", "0.001"), A(TEN "," SQUARE("-5", "-5", "5", "5")) } },
    { GEO_INTERSECTS, POLYGON("[[0,0],[1,0],[2,0],[0,0]]"), { P("0", "0") }, { P("0", "1") } },
};

/* value(): what the text of an operand or a stored value stands for. */
static struct bval value(struct qtest *t, const char *text)
{
    return bdoc_get(qtest_doc(t, arena_printf(t->q.arena, "{v:%s}", text)), "v");
}

static void relations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct qtest t;
        struct err e = { 0 };
        struct geo_shape *s;

        qtest_open(&t);
        if (geo_parse_predicate(&t.q, rows[i].relation, value(&t, rows[i].shape), &s, &e).failed)
            fail_msg("%s: %s", rows[i].shape, e.msg);
        for (int k = 0; k < 14; k++) {
            const char *text = k < 6 ? rows[i].yes[k] : rows[i].no[k - 6];
            bool got;

            if (!text)
                continue;
            CHECK_RC_OK(geo_test(&t.q, s, rows[i].relation, value(&t, text), &got, &e), &e);
            if (got != (k < 6))
                fail_msg("%s on %s: %d", rows[i].shape, text, got);
        }
        qtest_close(&t);
    }
}

static const struct {
    enum geo_relation relation;
    const char *operand;
} refused[] = {
    { GEO_WITHIN, "{}" },
    { GEO_WITHIN, "null" },
    { GEO_WITHIN, "'x'" },
    { GEO_WITHIN, GEOMETRY("Point", "[0,0]") },
    { GEO_WITHIN, GEOMETRY("LineString", "[[0,0],[1,1]]") },
    { GEO_WITHIN, GEOMETRY("Polygon", "[]") },
    { GEO_WITHIN, POLYGON("[[0,0],[1,0],[1,1],[0,1]]") },       /* open */
    { GEO_WITHIN, POLYGON("[[0,0],[2,2],[2,0],[0,2],[0,0]]") }, /* crosses itself */
    { GEO_WITHIN, POLYGON("[[0,0],[1,0],[0,0]]") },             /* two corners */
    { GEO_WITHIN, POLYGON("[[0,91],[1,91],[1,92],[0,91]]") },   /* no latitude */
    { GEO_WITHIN, POLYGON(TEN "," SQUARE("50", "50", "51", "51")) } /* a hole outside */,
    { GEO_WITHIN, POLYGON(TEN "," SQUARE("-20", "-20", "20", "20")) },
    { GEO_WITHIN, STRICT(TEN "," SQUARE("-1", "-1", "1", "1")) },
    { GEO_WITHIN, "{$geometry:{type:'Polygon',coordinates:[" TEN
                  "],crs:{type:'name',properties:{name:'x'}}}}" },
    { GEO_WITHIN, "{$geometry:{type:'Polygon',coordinates:[" TEN "],crs:{type:'link'}}}" },
    { GEO_WITHIN, "{$box:[[0,0]]}" },
    { GEO_WITHIN, "{$box:[[0,0,0],[1,1,1]]}" },
    { GEO_WITHIN, "{$box:[[0,0],[1,{$numberDouble:'Infinity'}]]}" },
    { GEO_WITHIN, "{$center:[[0,0],-1]}" },
    { GEO_WITHIN, "{$center:[[0,0],1,1]}" },
    { GEO_WITHIN, "{$centerSphere:[[181,0],1]}" },
    { GEO_WITHIN, "{$polygon:[[0,0],[1,1]]}" },
    { GEO_WITHIN, "{$box:[[0,0],[1,1]],$center:[[0,0],1]}" },
    { GEO_WITHIN, "{$sphere:[[0,0],1]}" },
    { GEO_INTERSECTS, "{$box:[[0,0],[1,1]]}" },
    { GEO_INTERSECTS, "{$geometry:{type:'point',coordinates:[0,0]}}" },
    { GEO_INTERSECTS, "{$geometry:[0,0,0]}" },
    { GEO_INTERSECTS, GEOMETRY("Point", "[-181,0]") },
    { GEO_INTERSECTS, GEOMETRY("Point", "[{$numberDouble:'NaN'},0]") },
    { GEO_INTERSECTS, GEOMETRY("LineString", "[[0,0]]") },
    { GEO_INTERSECTS, GEOMETRY("MultiPoint", "[]") },
    { GEO_INTERSECTS,
      "{$geometry:{type:'GeometryCollection',geometries:[{type:'GeometryCollection',geometries:[" P(
          "0", "0") "]}]}}" },
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct qtest t;
        struct err e = { 0 };
        struct geo_shape *s;

        qtest_open(&t);
        if (!geo_parse_predicate(&t.q, refused[i].relation, value(&t, refused[i].operand), &s, &e)
                 .failed)
            fail_msg("%s was taken", refused[i].operand);
        assert_int_equal(e.code, ERR_BAD_VALUE);
        qtest_close(&t);
    }
}

/* Polygons that share an edge share none of its points between them, whichever way they are told. */
static void edges_belong_to_one(void **state)
{
    static const char *const halves[2] = { POLYGON(SQUARE("0", "-5", "10", "5")),
                                           POLYGON(SQUARE("-10", "-5", "0", "5")) };
    (void)state;
    for (int y = -4; y <= 4; y++) {
        struct qtest t;
        int n = 0;

        qtest_open(&t);
        struct bval v = value(&t, arena_printf(t.q.arena, "[0,%d]", y));
        for (int i = 0; i < 2; i++) {
            struct err e = { 0 };
            struct geo_shape *s;
            bool got;

            CHECK_RC_OK(geo_parse_predicate(&t.q, GEO_WITHIN, value(&t, halves[i]), &s, &e), &e);
            CHECK_RC_OK(geo_test(&t.q, s, GEO_WITHIN, v, &got, &e), &e);
            n += got;
        }
        assert_int_equal(n, 1);
        qtest_close(&t);
    }
}

/* A polygon of many corners does not outlast the query's deadline. */
static void deadline(void **state)
{
    struct qtest t;
    struct err e = { 0 };
    struct geo_shape *s;
    AUTO(buf_fini) struct buf b = BUF_INIT;

    (void)state;
    qtest_open(&t);
    buf_printf(&b, "{v:{$geometry:{type:'Polygon',coordinates:[[");
    for (int i = 0; i < 20000; i++)
        buf_printf(&b, "[%.6f,%d],", -90 + i * 0.004, i % 2);
    buf_printf(&b, "[-90,30],[-90,0]]]}}}");
    buf_push_u8(&b, 0);
    struct bval op = bdoc_get(qtest_doc(&t, (const char *)b.p), "v");
    t.q.deadline_us = 1;
    assert_true(geo_parse_predicate(&t.q, GEO_WITHIN, op, &s, &e).failed);
    assert_int_equal(e.code, ERR_MAX_TIME_MS_EXPIRED);
    qtest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relations),
        cmocka_unit_test(refusals),
        cmocka_unit_test(edges_belong_to_one),
        cmocka_unit_test(deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
