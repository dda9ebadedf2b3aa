/* test_match.c - filters on documents: which match, which are refused, what they leave behind. */
#include "qtest.h"

#include "query/match.h"

static struct match *parse(struct qtest *t, const char *filter, unsigned flags)
{
    struct err e = { 0 };
    struct match *m;

    if (match_parse(&t->q, qtest_doc(t, filter), flags, &m, &e).failed)
        fail_msg("%s: %d %s", filter, (int)e.code, e.msg);
    return m;
}

static const struct {
    const char *filter, *yes[6], *no[6];
} rows[] = {
    { "{}", { "{}", "{a:1}" }, { NULL } },
    { "{a:1}",
      { "{a:1}", "{a:1.0}", "{a:{$numberDecimal:'1.0'}}", "{a:[2,1]}" },
      { "{}", "{a:'1'}", "{a:[[1]]}", "{a:{b:1}}", "{a:true}" } },
    { "{a:[1,2]}", { "{a:[1,2]}", "{a:[[1,2],3]}" }, { "{a:[2,1]}", "{a:1}", "{a:[1,2,3]}" } },
    { "{a:null}",
      { "{}", "{a:null}", "{a:[1,null]}" },
      { "{a:0}", "{a:[]}", "{a:{$undefined:true}}" } },
    { "{'a.b':null}",
      { "{}", "{a:5}", "{a:{}}", "{a:[{c:1}]}", "{a:[{b:1},{}]}" },
      { "{a:[]}", "{a:[1,2]}", "{a:{b:1}}", "{a:[{b:1}]}" } },
    { "{'a.b':1}",
      { "{a:{b:1}}", "{a:[{b:1}]}", "{a:[{b:[1]}]}" },
      { "{a:[[{b:1}]]}", "{a:1}", "{b:1}" } },
    { "{'a.0':1}",
      { "{a:[1]}", "{a:{'0':1}}", "{a:[{'0':1}]}" },
      { "{a:[2,1]}", "{a:1}", "{a:[[1]]}" } },
    { "{'a.0.b':1}", { "{a:[{b:1}]}", "{a:[{b:[1]}]}", "{a:[[{b:1}]]}" }, { "{a:[{b:2},{b:1}]}" } },
    { "{'a.00':1}", { "{a:{'00':1}}" }, { "{a:[1]}" } },
    { "{a:{b:1,c:2}}", { "{a:{b:1,c:2}}" }, { "{a:{c:2,b:1}}", "{a:{b:1}}" } },
    { "{a:{$ref:'c',$id:1}}", { "{a:{$ref:'c',$id:1}}" }, { "{a:1}" } },
    { "{a:{$gt:5}}",
      { "{a:6}", "{a:[1,9]}", "{a:5.5}" },
      { "{a:5}", "{a:'6'}", "{}", "{a:null}", "{a:{$numberDouble:'NaN'}}", "{a:true}" } },
    { "{a:{$gt:5,$lt:3}}", { "{a:[1,9]}" }, { "{a:4}" } },
    { "{a:{$gte:null}}", { "{}", "{a:null}" }, { "{a:1}" } },
    { "{a:{$gte:{$numberDouble:'NaN'}}}", { "{a:{$numberDecimal:'NaN'}}" }, { "{a:1}", "{}" } },
    { "{a:{$gt:{$minKey:1}}}", { "{a:1}", "{a:null}", "{}" }, { "{a:{$minKey:1}}" } },
    { "{a:{$lt:[2]}}", { "{a:[1,9]}", "{a:[[1]]}" }, { "{a:1}", "{a:[3]}" } },
    { "{a:{$ne:1}}", { "{}", "{a:2}" }, { "{a:1}", "{a:[1,2]}" } },
    { "{a:{$in:[1,'x',null]}}", { "{a:1}", "{a:['x']}", "{}" }, { "{a:2}" } },
    { "{a:{$in:[{$regularExpression:{pattern:'^x',options:''}},3]}}",
      { "{a:'xy'}", "{a:3}" },
      { "{a:'yx'}", "{}" } },
    { "{a:{$in:[]}}", { NULL }, { "{}", "{a:1}" } },
    { "{a:{$nin:[1,2]}}", { "{}", "{a:3}", "{a:[3]}" }, { "{a:1}", "{a:[3,2]}" } },
    { "{a:{$exists:true}}", { "{a:null}", "{a:[]}" }, { "{}", "{b:1}" } },
    { "{a:{$exists:0}}", { "{}" }, { "{a:null}" } },
    { "{a:{$type:'number'}}", { "{a:1}", "{a:[{$numberDecimal:'1'}]}" }, { "{a:'1'}", "{}" } },
    { "{a:{$type:['array',2]}}", { "{a:[]}", "{a:'s'}" }, { "{a:1}" } },
    { "{a:{$type:-1}}", { "{a:{$minKey:1}}" }, { "{a:{$maxKey:1}}" } },
    { "{a:{$size:2}}", { "{a:[1,2]}" }, { "{a:[[1,2]]}", "{a:2}", "{}" } },
    { "{a:{$mod:[4,1]}}",
      { "{a:5}", "{a:[2,9.9]}", "{a:{$numberDecimal:'13.5'}}" },
      { "{a:4}", "{a:'5'}", "{a:{$numberDouble:'Infinity'}}" } },
    { "{a:{$mod:[-1,0]}}", { "{a:{$numberLong:'-9223372036854775808'}}" }, { NULL } },
    { "{a:{$regex:'^B',$options:'i'}}", { "{a:'bar'}", "{a:['x','b']}" }, { "{a:'ab'}", "{a:1}" } },
    { "{a:{$regularExpression:{pattern:'x',options:'i'}}}",
      { "{a:'X'}", "{a:{$regularExpression:{pattern:'x',options:'i'}}}" },
      { "{a:{$regularExpression:{pattern:'x',options:''}}}" } },
    { "{a:{$eq:{$regularExpression:{pattern:'x',options:''}}}}",
      { "{a:{$regularExpression:{pattern:'x',options:''}}}" },
      { "{a:'x'}" } },
    { "{a:{$all:[1,2]}}", { "{a:[2,1,3]}" }, { "{a:[1]}", "{a:1}" } },
    { "{a:{$all:[]}}", { NULL }, { "{a:[]}", "{}" } },
    { "{a:{$all:[{$elemMatch:{x:1}},{$elemMatch:{x:2}}]}}",
      { "{a:[{x:1},{x:2}]}" },
      { "{a:[{x:1}]}" } },
    { "{a:{$elemMatch:{$gt:1,$lt:5}}}", { "{a:[9,3]}" }, { "{a:[1,9]}", "{a:3}", "{a:[[3]]}" } },
    { "{a:{$elemMatch:{x:1,y:2}}}",
      { "{a:[{x:1,y:2}]}", "{a:[0,{x:[1],y:2}]}" },
      { "{a:[{x:1},{y:2}]}", "{a:{x:1,y:2}}" } },
    { "{a:{$elemMatch:{}}}", { "{a:[{}]}", "{a:[[]]}" }, { "{a:[1]}", "{a:[]}" } },
    { "{a:{$elemMatch:{'0':7}}}", { "{a:[[7]]}" }, { "{a:[7]}" } },
    { "{a:{$not:{$gt:5}}}", { "{}", "{a:5}", "{a:'x'}" }, { "{a:6}", "{a:[1,6]}" } },
    { "{a:{$bitsAllSet:5}}",
      { "{a:7}", "{a:-1}", "{a:{$binary:{base64:'BQ==',subType:'00'}}}" },
      { "{a:4}", "{a:5.5}", "{a:'5'}" } },
    { "{a:{$bitsAnyClear:[200]}}", { "{a:1}" }, { "{a:-1}" } },
    { "{'p.at':{$geoWithin:{$box:[[0,0],[9,9]]}}}",
      { "{p:{at:[1,1]}}", "{p:[{at:[99,1]},{at:[1,1]}]}", "{p:{at:[[99,1],[1,1]]}}" },
      { "{}", "{p:{at:1}}", "{p:{at:[99,1]}}" } },
    { "{p:{$not:{$geoIntersects:{$geometry:{type:'Point',coordinates:[1,1]}}}}}",
      { "{}", "{p:[2,2]}" },
      { "{p:[1,1]}" } },
    { "{$or:[{a:1},{b:2}]}", { "{a:1}", "{b:2}" }, { "{a:2}" } },
    { "{$nor:[{a:1},{b:2}]}", { "{}" }, { "{a:1}", "{b:2}" } },
    { "{$and:[{a:1},{$and:[{b:2}]}],c:3}", { "{a:1,b:2,c:3}" }, { "{a:1,b:2}" } },
    { "{$expr:{$gt:['$a','$b']}}", { "{a:2,b:1}" }, { "{a:1,b:2}", "{b:1}" } },
    { "{$comment:'x',a:1}", { "{a:1}" }, { "{}" } },
    { "{$alwaysFalse:1}", { NULL }, { "{}" } },
    { "{$jsonSchema:{required:['a'],properties:{a:{bsonType:'int',minimum:3},b:{type:'array',uniqueItems:true}}}}",
      { "{a:3}", "{a:4,b:[1,2]}" },
      { "{}", "{a:2}", "{a:3.5}", "{a:3,b:[1,1.0]}", "{a:3,b:1}" } },
    { "{$jsonSchema:{oneOf:[{required:['a']},{required:['b']}],additionalProperties:false,properties:{a:{},b:{},_id:{}}}}",
      { "{a:1}", "{b:1}" },
      { "{a:1,b:1}", "{a:1,c:1}" } },
};

static void matching(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct qtest t;

        qtest_open(&t);
        struct match *m = parse(&t, rows[i].filter, 0);

        for (int k = 0; k < 12; k++) {
            const char *text = k < 6 ? rows[i].yes[k] : rows[i].no[k - 6];
            struct err e = { 0 };
            bool got;

            if (!text)
                continue;
            CHECK_RC_OK(match_eval(m, &t.q, qtest_doc(&t, text), NULL, &got, &e), &e);
            if (got != (k < 6))
                fail_msg("%s on %s: %d", rows[i].filter, text, got);
        }
        qtest_close(&t);
    }
}

/* The normalised filter selects the same documents. */
static void text_means_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct qtest t;
        struct err e = { 0 };
        struct match *again;

        qtest_open(&t);
        struct match *m = parse(&t, rows[i].filter, 0);
        struct bdoc text = match_to_bson(m, t.q.arena);

        if (match_parse(&t.q, text, 0, &again, &e).failed)
            fail_msg("%s became %s: %s", rows[i].filter, qtest_json(&t, text), e.msg);
        for (int k = 0; k < 12; k++) {
            const char *doc = k < 6 ? rows[i].yes[k] : rows[i].no[k - 6];
            bool got;

            if (!doc)
                continue;
            CHECK_RC_OK(match_eval(again, &t.q, qtest_doc(&t, doc), NULL, &got, &e), &e);
            if (got != (k < 6))
                fail_msg("%s became %s: differs on %s", rows[i].filter, qtest_json(&t, text), doc);
        }
        qtest_close(&t);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *filter;
        int code;
        unsigned flags;
    } bad[] = {
        { "{a:{$foo:1}}", 2, 0 },
        { "{$foo:1}", 2, 0 },
        { "{a:{$gt:1,b:2}}", 2, 0 },
        { "{$and:[]}", 2, 0 },
        { "{$or:{a:1}}", 2, 0 },
        { "{$nor:[1]}", 2, 0 },
        { "{a:{$in:1}}", 2, 0 },
        { "{a:{$in:[{$gt:1}]}}", 2, 0 },
        { "{a:{$not:1}}", 2, 0 },
        { "{a:{$not:{}}}", 2, 0 },
        { "{a:{$size:-1}}", 2, 0 },
        { "{a:{$size:1.5}}", 2, 0 },
        { "{a:{$mod:[0,1]}}", 2, 0 },
        { "{a:{$mod:[1]}}", 2, 0 },
        { "{a:{$type:'bogus'}}", 2, 0 },
        { "{a:{$type:[]}}", 9, 0 },
        { "{a:{$type:true}}", 14, 0 },
        { "{a:{$bitsAllSet:-1}}", 9, 0 },
        { "{a:{$bitsAllSet:'x'}}", 2, 0 },
        { "{a:{$regex:'['}}", 51091, 0 },
        { "{a:{$regex:'a',$options:'g'}}", 51108, 0 },
        { "{a:{$regex:{$regularExpression:{pattern:'a',options:'i'}},$options:'m'}}", 51075, 0 },
        { "{a:{$options:'m',$regex:{$regularExpression:{pattern:'a',options:'i'}}}}", 51074, 0 },
        { "{a:{$options:'m'}}", 2, 0 },
        { "{a:{$gt:{$regularExpression:{pattern:'a',options:''}}}}", 2, 0 },
        { "{a:{$elemMatch:1}}", 2, 0 },
        { "{a:{$elemMatch:{$expr:true}}}", 2, 0 },
        { "{a:{$all:[1,{$elemMatch:{x:1}}]}}", 2, 0 },
        { "{a:{$undefined:true}}", 2, 0 },
        { "{$where:'1'}", 2, 0 },
        { "{$text:{$search:'x'}}", 27, 0 },
        { "{$jsonSchema:{bogus:1}}", 9, 0 },
        { "{$jsonSchema:{type:'integer'}}", 9, 0 },
        { "{$jsonSchema:1}", 14, 0 },
        { "{$expr:true}", 224, MATCH_NO_EXPR },
        { "{$expr:true}", 224, MATCH_PARTIAL_INDEX },
        { "{a:{$ne:1}}", 67, MATCH_PARTIAL_INDEX },
        { "{a:{$exists:false}}", 67, MATCH_PARTIAL_INDEX },
        { "{a:{$regex:'x'}}", 67, MATCH_PARTIAL_INDEX },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = { 0 };
        struct match *m;
        struct qtest t;

        qtest_open(&t);
        if (!match_parse(&t.q, qtest_doc(&t, bad[i].filter), bad[i].flags, &m, &e).failed ||
            (int)e.code != bad[i].code)
            fail_msg("%s: %d instead of %d: %s", bad[i].filter, (int)e.code, bad[i].code, e.msg);
        qtest_close(&t);
    }
}

static void positions(void **state)
{
    static const struct {
        const char *filter, *doc;
        int index; /* -1: none */
    } cases[] = {
        { "{a:3}", "{a:[1,3]}", 1 },
        { "{a:3}", "{a:3}", -1 },
        { "{'a.b':3}", "{a:[{b:1},{b:[9,3]}]}", 1 }, /* the outermost array */
        { "{a:{$elemMatch:{$gt:2}}}", "{a:[1,2,3]}", 2 },
        { "{a:{$elemMatch:{x:2}}}", "{a:[{x:1},{x:2}]}", 1 },
        { "{a:1,b:2}", "{a:[1],b:[0,2]}", 1 }, /* the last condition wins */
        { "{a:{$ne:7}}", "{a:[1]}", -1 },
        { "{$or:[{a:1},{b:1}]}", "{a:[1]}", -1 },
        { "{'a.1':3}", "{a:[1,3]}", -1 },
        { "{a:{$size:1}}", "{a:[1]}", -1 },
        { "{a:[1,2]}", "{a:[1,2]}", -1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct match_hit hit;
        struct err e = { 0 };
        struct qtest t;
        bool got;

        qtest_open(&t);
        CHECK_RC_OK(match_eval(parse(&t, cases[i].filter, 0), &t.q, qtest_doc(&t, cases[i].doc),
                               &hit, &got, &e),
                    &e);
        assert_true(got);
        if ((hit.has_index ? (int)hit.index : -1) != cases[i].index)
            fail_msg("%s on %s: index %d", cases[i].filter, cases[i].doc,
                     hit.has_index ? (int)hit.index : -1);
        qtest_close(&t);
    }
}

static void implication(void **state)
{
    static const struct {
        const char *a, *b;
        bool want;
    } cases[] = {
        { "{a:5}", "{a:{$gt:3}}", true },
        { "{a:3}", "{a:{$gt:3}}", false },
        { "{a:3}", "{a:{$gte:3}}", true },
        { "{a:{$gt:3}}", "{a:{$gte:3}}", true },
        { "{a:{$gte:3}}", "{a:{$gt:3}}", false },
        { "{a:{$gt:5}}", "{a:{$gt:3}}", true },
        { "{a:{$lt:5}}", "{a:{$gt:3}}", false },
        { "{a:'x'}", "{a:{$gt:3}}", false },
        { "{a:{$in:[4,5]}}", "{a:{$gt:3}}", true },
        { "{a:{$in:[1,5]}}", "{a:{$gt:3}}", false },
        { "{a:5}", "{a:{$exists:true}}", true },
        { "{a:null}", "{a:{$exists:true}}", false },
        { "{a:{$ne:5}}", "{a:{$exists:true}}", false },
        { "{b:1}", "{a:{$exists:true}}", false },
        { "{a:5,b:1}", "{a:{$gt:3}}", true },
        { "{a:5}", "{a:{$gt:3},b:1}", false },
        { "{a:'x'}", "{a:{$type:'string'}}", false },
        { "{a:'x'}", "{a:{$type:['string','symbol']}}", true },
        { "{a:1}", "{a:{$type:'int'}}", false },
        { "{a:1}", "{a:{$type:'number'}}", true },
        { "{$or:[{a:4},{a:5}]}", "{a:{$gt:3}}", true },
        { "{$or:[{a:4},{b:5}]}", "{a:{$gt:3}}", false },
        { "{a:5}", "{$or:[{a:{$gt:3}},{b:1}]}", true },
        { "{a:{$gt:{$numberDouble:'NaN'}}}", "{a:{$gt:3}}", false },
        { "{a:1}", "{}", true },
        { "{}", "{a:1}", false },
        { "{$alwaysFalse:1}", "{a:1}", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct qtest t;

        qtest_open(&t);
        if (match_implies(&t.q, parse(&t, cases[i].a, 0), parse(&t, cases[i].b, 0)) !=
            cases[i].want)
            fail_msg("%s implies %s: not %d", cases[i].a, cases[i].b, cases[i].want);
        qtest_close(&t);
    }
}

/* Whatever implication claims holds on every document at hand. */
static void implication_is_sound(void **state)
{
    static const char *const docs[] = { "{}",           "{a:null}",
                                        "{a:1}",        "{a:3.0}",
                                        "{a:5}",        "{a:'x'}",
                                        "{a:[]}",       "{a:[1,5]}",
                                        "{a:{b:1}}",    "{a:{$numberDouble:'NaN'}}",
                                        "{a:true,b:1}", "{a:[null]}",
                                        "{a:[[5]]}",    "{a:{$minKey:1}}",
                                        "{a:5,b:1}",    "{a:{$symbol:'x'}}" };
    static const char *const filters[] = { "{a:1}",
                                           "{a:null}",
                                           "{a:{$gt:1}}",
                                           "{a:{$gte:3}}",
                                           "{a:{$lt:5}}",
                                           "{a:{$lte:1}}",
                                           "{a:{$in:[1,5]}}",
                                           "{a:{$in:[null,5]}}",
                                           "{a:{$exists:true}}",
                                           "{a:{$exists:false}}",
                                           "{a:{$type:'number'}}",
                                           "{a:{$type:['string','array']}}",
                                           "{a:'x'}",
                                           "{a:[1,5]}",
                                           "{a:{$size:0}}",
                                           "{a:{$ne:1}}",
                                           "{b:1}",
                                           "{a:5,b:1}",
                                           "{$or:[{a:1},{b:1}]}",
                                           "{a:{$gt:{$minKey:1}}}",
                                           "{a:{$elemMatch:{$gt:1}}}",
                                           "{a:{$gte:null}}",
                                           "{a:{$gte:{$numberDouble:'NaN'}}}",
                                           "{}" };
    struct qtest t;

    (void)state;
    qtest_open(&t);
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        for (size_t k = 0; k < ARRAY_LEN(filters); k++) {
            struct match *a = parse(&t, filters[i], 0), *b = parse(&t, filters[k], 0);

            for (size_t d = 0; match_implies(&t.q, a, b) && d < ARRAY_LEN(docs); d++) {
                struct err e = { 0 };
                bool in_a, in_b;

                CHECK_RC_OK(match_eval(a, &t.q, qtest_doc(&t, docs[d]), NULL, &in_a, &e), &e);
                CHECK_RC_OK(match_eval(b, &t.q, qtest_doc(&t, docs[d]), NULL, &in_b, &e), &e);
                if (in_a && !in_b)
                    fail_msg("%s claims to imply %s; not on %s", filters[i], filters[k], docs[d]);
            }
        }
    }
    qtest_close(&t);
}

static RC seen(struct slice path, struct bval v, void *arg, struct err *e)
{
    (void)e;
    buf_printf(arg, "%.*s=", (int)path.len, (const char *)path.p);
    bval_to_json(v, arg);
    buf_push_u8(arg, ';');
    return RC_OK;
}

static void equalities(void **state)
{
    static const struct {
        const char *filter, *want;
        int code;
    } cases[] = {
        { "{a:1,'b.c':{$eq:2},d:{$gt:1}}", "a=1;b.c=2;", 0 },
        { "{$and:[{a:1},{$or:[{b:2}]}],c:{$in:[3]},d:{$all:[4]}}", "a=1;b=2;c=3;d=4;", 0 },
        { "{$or:[{a:1},{b:2}]}", "", 0 },
        { "{a:1,$and:[{a:2}]}", "", 54 },
        { "{a:{x:1},'a.y':2}", "", 54 },
        { "{'a.y':2,a:{x:1}}", "", 54 },
        { "{'a.y':2,'a.x':1}", "a.x=1;a.y=2;", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_fini) struct buf got = BUF_INIT;
        struct err e = { 0 };
        struct qtest t;

        qtest_open(&t);
        rc_t rc = match_equalities(parse(&t, cases[i].filter, 0), seen, &got, &e);

        assert_int_equal(rc.failed, cases[i].code != 0);
        assert_int_equal(e.code, cases[i].code);
        if (!rc.failed)
            assert_string_equal(buf_cstr(&got), cases[i].want);
        qtest_close(&t);
    }
}

static void value_filters(void **state)
{
    static const struct {
        const char *filter, *doc; /* the value is doc.v */
        bool want;
    } cases[] = {
        { "{i:5}", "{v:5}", true },
        { "{i:{$gt:5}}", "{v:5}", false },
        { "{'i.x':1}", "{v:{x:1}}", true },
        { "{'i.x':1}", "{v:3}", false },
        { "{$or:[{i:1},{'i.y':2}]}", "{v:{y:2}}", true },
        { "{'':{$gt:3}}", "{v:[1,5]}", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = { 0 };
        struct qtest t;
        bool got;

        qtest_open(&t);
        CHECK_RC_OK(match_eval_value(parse(&t, cases[i].filter, 0), &t.q,
                                     bdoc_get(qtest_doc(&t, cases[i].doc), "v"), &got, &e),
                    &e);
        if (got != cases[i].want)
            fail_msg("%s on %s", cases[i].filter, cases[i].doc);
        qtest_close(&t);
    }
}

static void nesting_is_bounded(void **state)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct err e = { 0 };
    struct match *m;
    struct qtest t;

    (void)state;
    qtest_open(&t);
    for (int i = 0; i < 150; i++)
        buf_printf(&b, "{a:{$elemMatch:");
    buf_printf(&b, "{x:1}");
    for (int i = 0; i < 150; i++)
        buf_printf(&b, "}}");
    struct bdoc d;

    if (!bdoc_from_json(t.q.arena, buf_cstr(&b), &d, &e).failed)
        assert_true(match_parse(&t.q, d, 0, &m, &e).failed);
    buf_clear(&b);
    for (int i = 0; i < 60; i++)
        buf_printf(&b, "{$nor:[");
    buf_printf(&b, "{x:1}");
    for (int i = 0; i < 60; i++)
        buf_printf(&b, "]}");
    m = parse(&t, buf_cstr(&b), 0);
    match_to_bson(m, t.q.arena);
    qtest_close(&t);
}

/* A pattern that backtracks without end is stopped. */
static void regex_has_limits(void **state)
{
    struct err e = { 0 };
    struct qtest t;
    bool got;

    (void)state;
    qtest_open(&t);
    struct match *m = parse(&t, "{a:{$regex:'^(([a-z])+.)+[A-Z]([a-z])+$'}}", 0);

    CHECK_RC_FAILS(
        match_eval(
            m, &t.q,
            qtest_doc(&t,
                      "{a:'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}"),
            NULL, &got, &e),
        &e, 51156);
    qtest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matching),
        cmocka_unit_test(text_means_the_same),
        cmocka_unit_test(refused),
        cmocka_unit_test(positions),
        cmocka_unit_test(implication),
        cmocka_unit_test(implication_is_sound),
        cmocka_unit_test(equalities),
        cmocka_unit_test(value_filters),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(regex_has_limits),
    };

    return cmocka_run_group_tests_name("match", tests, NULL, NULL);
}
