/* test_keys.c - the order of encoded keys is bval_cmp's, and every value comes back as it was. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bsonx/bw.h"
#include "index_priv.h"

static struct err err;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call).failed)                                                                         \
            fail_msg("%s: %d %s", #call, (int)err.code, err.msg);                                  \
    } while (0)
#define FAILS(want, call)                                                                          \
    do {                                                                                           \
        err_reset(&err);                                                                           \
        assert_true((call).failed);                                                                \
        if (err.code != (want))                                                                    \
            fail_msg("%s: %d instead of %d: %s", #call, (int)err.code, (int)(want), err.msg);      \
        err_reset(&err);                                                                           \
    } while (0)

static struct bdoc json(struct arena *a, const char *text)
{
    struct bdoc d = BDOC_EMPTY;

    OK(bdoc_from_json(a, text, &d, &err));
    return d;
}

/* Neighbours are the hard cases: equal across types, one ulp or one unit apart, prefixes of each other. In rising order; '=' ties to the one before. */
static const char *const ladder[] = {
    "{\"v\": {\"$minKey\": 1}}",
    "{\"v\": null}",
    "{\"v\": {\"$numberDouble\": \"NaN\"}}",
    "={\"v\": {\"$numberDecimal\": \"NaN\"}}",
    "{\"v\": {\"$numberDouble\": \"-Infinity\"}}",
    "={\"v\": {\"$numberDecimal\": \"-Infinity\"}}",
    "{\"v\": {\"$numberDecimal\": \"-1E+6144\"}}",
    "{\"v\": {\"$numberDouble\": \"-1.7976931348623157e308\"}}",
    "{\"v\": {\"$numberLong\": \"-9223372036854775808\"}}",
    "={\"v\": {\"$numberDouble\": \"-9223372036854775808\"}}",
    "{\"v\": {\"$numberLong\": \"-9007199254740993\"}}",
    "{\"v\": {\"$numberDouble\": \"-9007199254740992\"}}",
    "{\"v\": {\"$numberDecimal\": \"-1.1\"}}",
    "{\"v\": {\"$numberInt\": \"-1\"}}",
    "={\"v\": {\"$numberDecimal\": \"-1.000\"}}",
    "{\"v\": {\"$numberDecimal\": \"-1E-6176\"}}",
    "{\"v\": {\"$numberInt\": \"0\"}}",
    "={\"v\": {\"$numberDouble\": \"-0.0\"}}",
    "={\"v\": {\"$numberDecimal\": \"0E-10\"}}",
    "{\"v\": {\"$numberDecimal\": \"1E-6176\"}}",
    "{\"v\": {\"$numberDouble\": \"5e-324\"}}",
    "{\"v\": {\"$numberDecimal\": \"5E-324\"}}",
    "{\"v\": {\"$numberDecimal\": \"0.1\"}}",
    "{\"v\": {\"$numberDouble\": \"0.1\"}}",
    "{\"v\": {\"$numberInt\": \"1\"}}",
    "={\"v\": {\"$numberLong\": \"1\"}}",
    "={\"v\": {\"$numberDouble\": \"1.0\"}}",
    "={\"v\": {\"$numberDecimal\": \"1.00\"}}",
    "{\"v\": {\"$numberDecimal\": \"1.000000000000000000000000000000001\"}}",
    "{\"v\": {\"$numberDouble\": \"1.0000000000000002\"}}",
    "{\"v\": {\"$numberDouble\": \"9007199254740992\"}}",
    "{\"v\": {\"$numberLong\": \"9007199254740993\"}}",
    "={\"v\": {\"$numberDecimal\": \"9007199254740993\"}}",
    "{\"v\": {\"$numberDouble\": \"9007199254740994\"}}",
    "{\"v\": {\"$numberLong\": \"9223372036854775806\"}}",
    "{\"v\": {\"$numberLong\": \"9223372036854775807\"}}",
    "{\"v\": {\"$numberDouble\": \"9223372036854775808\"}}",
    "{\"v\": {\"$numberDouble\": \"1.7976931348623157e308\"}}",
    "{\"v\": {\"$numberDecimal\": \"1.8E+308\"}}",
    "{\"v\": {\"$numberDecimal\": \"9.999999999999999999999999999999999E+6144\"}}",
    "{\"v\": {\"$numberDouble\": \"Infinity\"}}",
    "={\"v\": {\"$numberDecimal\": \"Infinity\"}}",
    "{\"v\": \"\"}",
    "{\"v\": \"a\"}",
    "={\"v\": {\"$symbol\": \"a\"}}",
    "{\"v\": \"a\\u0000\"}",
    "{\"v\": \"a\\u0000b\"}",
    "{\"v\": \"a\\u0001\"}",
    "{\"v\": \"ab\"}",
    "{\"v\": \"\\u00ff\"}",
    "{\"v\": {}}",
    "{\"v\": {\"a\": 1}}",
    "={\"v\": {\"a\": 1.0}}",
    "{\"v\": {\"a\": 1, \"b\": 0}}",
    "{\"v\": {\"a\": 2}}",
    "{\"v\": {\"b\": 1}}",
    "{\"v\": {\"a\": \"x\"}}",
    "{\"v\": []}",
    "{\"v\": [1]}",
    "{\"v\": [1, 1]}",
    "{\"v\": [2]}",
    "{\"v\": [\"x\"]}",
    "{\"v\": {\"$binary\": {\"base64\": \"\", \"subType\": \"00\"}}}",
    "{\"v\": {\"$binary\": {\"base64\": \"/w==\", \"subType\": \"00\"}}}",
    "{\"v\": {\"$binary\": {\"base64\": \"AA==\", \"subType\": \"05\"}}}",
    "{\"v\": {\"$binary\": {\"base64\": \"AAA=\", \"subType\": \"00\"}}}",
    "{\"v\": {\"$oid\": \"000000000000000000000000\"}}",
    "{\"v\": {\"$oid\": \"0000000000000000000000ff\"}}",
    "{\"v\": false}",
    "{\"v\": true}",
    "{\"v\": {\"$date\": {\"$numberLong\": \"-1\"}}}",
    "{\"v\": {\"$date\": {\"$numberLong\": \"0\"}}}",
    "{\"v\": {\"$timestamp\": {\"t\": 0, \"i\": 1}}}",
    "{\"v\": {\"$timestamp\": {\"t\": 4294967295, \"i\": 0}}}",
    "{\"v\": {\"$regularExpression\": {\"pattern\": \"a\", \"options\": \"\"}}}",
    "{\"v\": {\"$regularExpression\": {\"pattern\": \"a\", \"options\": \"i\"}}}",
    "{\"v\": {\"$regularExpression\": {\"pattern\": \"ab\", \"options\": \"\"}}}",
    "{\"v\": {\"$code\": \"f\"}}",
    "{\"v\": {\"$maxKey\": 1}}",
};

static int sign(int c)
{
    return (c > 0) - (c < 0);
}

static int cmp_encoded(struct bval a, struct bval b, bool desc)
{
    struct buf x = BUF_INIT, y = BUF_INIT;

    index_encode(NULL, &x, NULL, a, desc);
    index_encode(NULL, &y, NULL, b, desc);
    int c = slice_cmp(buf_view(&x), buf_view(&y));
    buf_fini(&x);
    buf_fini(&y);
    return sign(c);
}

static struct index_def *def_of(const char *pattern)
{
    struct arena *a = arena_new(0);
    struct index_def *d = NULL;
    struct bdoc spec;
    char text[512];

    snprintf(text, sizeof(text), "{\"key\": %s, \"name\": \"x\"}", pattern);
    OK(index_spec_check(a, json(a, text), &spec, &err));
    OK(index_def_new(spec, 99, &d, &err));
    arena_free(a);
    return d;
}

static void round_trip(const struct index_def *d, struct bval v)
{
    struct arena *a = arena_new(0);
    struct buf key = BUF_INIT, tags = BUF_INIT;
    struct bval out[INDEX_FIELDS_MAX];
    struct slice rest;

    index_encode(NULL, &key, &tags, v, d->fields[0].desc);
    while (tags.len && tags.p[tags.len - 1] == 0)
        tags.len--;
    buf_push(&key, "REST", 4);
    OK(index_decode(d, buf_view(&key), buf_view(&tags), a, out, &rest, &err));
    assert_int_equal(rest.len, 4);
    if (!bval_identical(v, out[0])) {
        struct buf t = BUF_INIT;
        bval_to_json(v, &t);
        buf_printf(&t, " came back as ");
        bval_to_json(out[0], &t);
        fail_msg("%s", buf_cstr(&t));
    }
    buf_fini(&key);
    buf_fini(&tags);
    arena_free(a);
}

static void test_ladder(void **state)
{
    struct arena *a = arena_new(0);
    struct bval v[ARRAY_LEN(ladder)];
    int rung[ARRAY_LEN(ladder)], r = 0;
    struct index_def *up = def_of("{\"v\": 1}"), *down = def_of("{\"v\": -1}");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ladder); i++) {
        const char *text = ladder[i];
        r += *text != '=';
        rung[i] = r;
        v[i] = bdoc_get(json(a, *text == '=' ? text + 1 : text), "v");
    }
    for (size_t i = 0; i < ARRAY_LEN(ladder); i++) {
        round_trip(up, v[i]);
        round_trip(down, v[i]);
        for (size_t j = 0; j < ARRAY_LEN(ladder); j++) {
            int want = sign(rung[i] - rung[j]);
            if (cmp_encoded(v[i], v[j], false) != want)
                fail_msg("order of %s and %s", ladder[i], ladder[j]);
            if (cmp_encoded(v[i], v[j], true) != -want)
                fail_msg("descending order of %s and %s", ladder[i], ladder[j]);
            if (sign(bval_cmp(v[i], v[j])) != want)
                fail_msg("bval_cmp of %s and %s", ladder[i], ladder[j]);
        }
    }
    index_def_unref(up);
    index_def_unref(down);
    arena_free(a);
}

static uint64_t seed = 42;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct bval random_number(struct arena *a)
{
    union {
        uint64_t u;
        double d;
    } x = { .u = rnd() };
    int64_t small = (int64_t)(rnd() % 5) - 2;

    switch (rnd() % 8) {
    case 0: return bval_new_i32(a, (int32_t)rnd());
    case 1: return bval_new_i64(a, (int64_t)rnd());
    case 2: return bval_new_double(a, x.d);
    case 3: return bval_new_dec(a, (struct dec128){ .lo = rnd(), .hi = rnd() });
    case 4:
        return bval_new_dec(a, (struct dec128){ .lo = rnd() % 1000,
                                                .hi = (6176ull - rnd() % 3) << 49 });
    case 5: return bval_new_i32(a, (int32_t)small);
    case 6: return bval_new_double(a, (double)small + 0.5 * (double)(rnd() % 2));
    default: return bval_new_i64(a, (1ll << 53) + small);
    }
}

static struct bval random_value(struct arena *a, int depth)
{
    struct buf b = BUF_INIT;
    struct bw w;
    char text[4];
    size_t n = rnd() % 4;

    switch (rnd() % (depth > 2 ? 5 : 7)) {
    case 0:
        for (size_t i = 0; i < n; i++)
            text[i] = (char)(rnd() % 3);
        return bval_new_str(a, SLICE(text, n));
    case 1: return bval_new_null();
    case 2: return bval_new_bool(a, rnd() % 2);
    case 3:
    case 4: return random_number(a);
    default:
        bw_init(&w, &b);
        for (size_t i = 0; i < n; i++) {
            char name[3] = { (char)('a' + rnd() % 2), 0, 0 };
            bw_val(&w, name, random_value(a, depth + 1));
        }
        struct bdoc d = bw_finish(&w);
        struct bval v = bval_dup(a, bval_of_doc(d, BT_DOCUMENT));
        buf_fini(&b);
        return v;
    }
}

static void test_random_order(void **state)
{
    struct index_def *d = def_of("{\"v\": 1}");

    (void)state;
    for (int i = 0; i < 200000; i++) {
        struct arena *a = arena_new(0);
        struct bval x = random_value(a, 0), y = random_value(a, 0);
        if (cmp_encoded(x, y, false) != sign(bval_cmp(x, y))) {
            struct buf t = BUF_INIT;
            bval_to_json(x, &t);
            buf_printf(&t, " and ");
            bval_to_json(y, &t);
            fail_msg("%s: encoded %d, bval_cmp %d", buf_cstr(&t), cmp_encoded(x, y, false),
                     sign(bval_cmp(x, y)));
        }
        round_trip(d, x);
        arena_free(a);
    }
    index_def_unref(d);
}

static int count_keys(const char *pattern, const char *doc, uint32_t *multikey)
{
    struct arena *a = arena_new(0);
    struct index_def *d = def_of(pattern);
    struct index_keys k;

    OK(index_extract(d, json(a, doc), NULL, a, &k, &err));
    int n = k.n;
    *multikey = k.multikey;
    index_def_unref(d);
    arena_free(a);
    return n;
}

static void test_extract(void **state)
{
    static const struct {
        const char *pattern, *doc;
        int n;
        uint32_t multikey;
    } cases[] = {
        { "{\"a\": 1}", "{\"a\": 1}", 1, 0 },
        { "{\"a\": 1}", "{}", 1, 0 },
        { "{\"a\": 1}", "{\"a\": [1, 2, 2, 1.0]}", 2, 1 },
        { "{\"a\": 1}", "{\"a\": []}", 1, 1 },
        { "{\"a\": 1}", "{\"a\": [[1, 2], 3]}", 2, 1 },
        { "{\"a.b\": 1}", "{\"a\": [{\"b\": 1}, {\"b\": [2, 3]}, {}, 7]}", 4, 1 },
        { "{\"a.0\": 1}", "{\"a\": [5, 6]}", 1, 0 },
        { "{\"a.b\": 1, \"c\": -1}", "{\"a\": [{\"b\": 1}, {\"b\": 2}], \"c\": 9}", 2, 1 },
        { "{\"a.b\": 1, \"a.c\": 1}", "{\"a\": [{\"b\": 1, \"c\": 2}, {\"b\": 3, \"c\": 4}]}", 2,
          3 },
        { "{\"c\": 1, \"a\": 1}", "{\"a\": [1, 2, 3], \"c\": 9}", 3, 2 },
        { "{\"a\": \"2dsphere\"}", "{\"a\": [1, 2]}", 1, 0 },
        { "{\"a\": \"2dsphere\"}", "{\"a\": null}", 0, 0 },
        { "{\"a.b\": \"2dsphere\"}", "{\"a\": [{\"b\": [1, 2]}, {\"b\": [3, 4]}]}", 2, 1 },
        { "{\"a\": \"2d\", \"c\": 1}", "{\"a\": [[1, 2], [3, 4]], \"c\": 1}", 2, 1 },
        { "{\"c\": 1, \"a\": \"2dsphere\"}", "{\"c\": [1, 2]}", 0, 1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t multikey;
        int n = count_keys(cases[i].pattern, cases[i].doc, &multikey);
        if (n != cases[i].n || multikey != cases[i].multikey)
            fail_msg("%s of %s: %d keys, multikey %u", cases[i].pattern, cases[i].doc, n, multikey);
    }
    struct arena *a = arena_new(0);
    struct index_def *d = def_of("{\"a\": 1, \"b\": 1}");
    struct index_keys k;
    FAILS(ERR_CANNOT_INDEX_PARALLEL_ARRAYS,
          index_extract(d, json(a, "{\"a\": [1], \"b\": [2]}"), NULL, a, &k, &err));
    index_def_unref(d);
    d = def_of("{\"a\": \"2dsphere\"}");
    FAILS(ERR_LOC(16755), index_extract(d, json(a, "{\"a\": [200, 2]}"), NULL, a, &k, &err));
    FAILS(ERR_LOC(16755), index_extract(d, json(a, "{\"a\": 5}"), NULL, a, &k, &err));
    index_def_unref(d);
    d = def_of("{\"a\": \"2d\"}");
    FAILS(ERR_LOC(13027), index_extract(d, json(a, "{\"a\": [200, 2]}"), NULL, a, &k, &err));
    FAILS(ERR_LOC(13068), index_extract(d, json(a, "{\"a\": \"x\"}"), NULL, a, &k, &err));
    index_def_unref(d);
    arena_free(a);
}

/* A shape of many corners takes long to look through: whoever waits for it can end it. */
static void test_a_long_extraction_can_be_ended(void **state)
{
    enum { CORNERS = 500 };
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    atomic_int interrupt = 0;
    struct qctx run = { .interrupt = &interrupt };
    struct index_def *d = def_of("{\"a\": \"2dsphere\"}");
    struct index_keys k;

    (void)state;
    buf_printf(&text, "{\"a\": {\"type\": \"Polygon\", \"coordinates\": [[");
    for (int i = 0; i <= CORNERS; i++) {
        double turn = 2 * M_PI * (i % CORNERS) / CORNERS;
        buf_printf(&text, "%s[%.9f, %.9f]", i ? ", " : "", cos(turn), sin(turn));
    }
    buf_printf(&text, "]]}}");
    struct bdoc doc = json(a, buf_cstr(&text));
    OK(index_extract(d, doc, &run, a, &k, &err));
    assert_true(k.n > 0);
    atomic_store(&interrupt, ERR_INTERRUPTED);
    FAILS(ERR_INTERRUPTED, index_extract(d, doc, &run, a, &k, &err));
    index_def_unref(d);
}

static void test_spec(void **state)
{
    static const struct {
        const char *spec;
        int code;
    } cases[] = {
        { "{\"key\": {\"a\": 1}, \"name\": \"a_1\"}", 0 },
        { "{\"key\": {\"a\": 0.5}, \"name\": \"a_1\"}", 0 },
        { "{\"key\": {\"a\": 1}}", 9 },
        { "{\"name\": \"a\"}", 9 },
        { "{\"key\": {}, \"name\": \"a\"}", 67 },
        { "{\"key\": {\"a\": 1}, \"name\": \"\"}", 67 },
        { "{\"key\": {\"a\": 0}, \"name\": \"a\"}", 67 },
        { "{\"key\": {\"a\": true}, \"name\": \"a\"}", 67 },
        { "{\"key\": {\"$a\": 1}, \"name\": \"a\"}", 67 },
        { "{\"key\": {\"a..b\": 1}, \"name\": \"a\"}", 67 },
        { "{\"key\": {\"a\": \"wildcard\"}, \"name\": \"a\"}", 7246202 },
        { "{\"key\": {\"a\": 1}, \"name\": \"a\", \"what\": 1}", 197 },
        { "{\"key\": {\"a\": 1}, \"name\": 1}", 14 },
        { "{\"key\": {\"_id\": 1}, \"name\": \"x\", \"sparse\": true}", 197 },
        { "{\"key\": {\"a\": 1, \"b\": 1}, \"name\": \"x\", \"expireAfterSeconds\": 1}", 67 },
        { "{\"key\": {\"a\": 1}, \"name\": \"x\", \"expireAfterSeconds\": -1}", 67 },
        { "{\"key\": {\"a\": 1}, \"name\": \"x\", \"sparse\": true, \"partialFilterExpression\": {\"a\": 1}}",
          67 },
        { "{\"key\": {\"a\": \"2dsphere\"}, \"name\": \"x\", \"2dsphereIndexVersion\": 3}", 0 },
        { "{\"key\": {\"a\": \"2dsphere\"}, \"name\": \"x\", \"2dsphereIndexVersion\": 4}", 67 },
        { "{\"key\": {\"a\": \"2dsphere\"}, \"name\": \"x\", \"bits\": 4}", 67 },
        { "{\"key\": {\"a\": \"2d\"}, \"name\": \"x\", \"min\": -5, \"max\": 5, \"bits\": 20}", 0 },
        { "{\"key\": {\"a\": \"2d\"}, \"name\": \"x\", \"bits\": 33}", 72 },
        { "{\"key\": {\"a\": \"2d\"}, \"name\": \"x\", \"min\": 5, \"max\": 5}", 72 },
        { "{\"key\": {\"_id\": -1}, \"name\": \"x\"}", 2 },
        { "{\"key\": {\"a\": 1}, \"name\": \"_id_\"}", 2 },
        { "{\"key\": {\"c\": 1, \"a\": \"2d\"}, \"name\": \"x\"}", 67 },
        { "{\"key\": {\"a\": 1}, \"name\": \"x\", \"partialFilterExpression\": {\"$nor\": [{\"a\": 1}]}}",
          67 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *a = arena_new(0);
        struct bdoc out;
        err_reset(&err);
        bool failed = index_spec_check(a, json(a, cases[i].spec), &out, &err).failed;
        if (failed != (cases[i].code != 0) || (int)err.code != cases[i].code)
            fail_msg("%s: %d %s", cases[i].spec, (int)err.code, err.msg);
        err_reset(&err);
        arena_free(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ladder),  cmocka_unit_test(test_random_order),
        cmocka_unit_test(test_extract), cmocka_unit_test(test_a_long_extraction_can_be_ended),
        cmocka_unit_test(test_spec),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
