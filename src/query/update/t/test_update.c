/* test_update.c - updates on documents: results, no-ops, refusals, upserts. */
#include "qtest.h"

#include "query/update.h"

struct row {
    const char *u, *doc, *want; /* want NULL: refused with code */
    int code;
    const char *filter, *array_filters;
};

#define OK(update, before, after) { update, before, after, 0, NULL, NULL }
#define NO(update, before, error) { update, before, NULL, error, NULL, NULL }

static RC run(struct qtest *t, const struct row *r, struct bdoc *out, bool *changed, struct err *e)
{
    struct update_spec spec = { .u = bval_of_doc(qtest_doc(t, r->u), BT_DOCUMENT) };
    struct match_hit hit = { 0 };
    struct bdoc doc = qtest_doc(t, r->doc);
    struct match *m;
    struct update *u;
    bool matched;

    if (r->array_filters)
        spec.array_filters = bval_of_doc(qtest_doc(t, r->array_filters), BT_ARRAY);
    TRY(update_parse(&t->q, &spec, &u, e));
    TRY(match_parse(&t->q, qtest_doc(t, r->filter ? r->filter : "{}"), 0, &m, e));
    TRY(match_eval(m, &t->q, doc, &hit, &matched, e));
    assert_true(matched);
    return update_apply(u, &t->q, doc, &hit, out, changed, e);
}

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct err e = { 0 };
        struct qtest t;
        struct bdoc out;
        bool changed;

        qtest_open(&t);
        bool failed = run(&t, &rows[i], &out, &changed, &e).failed;

        if (failed != (rows[i].want == NULL) || (failed && (int)e.code != rows[i].code))
            fail_msg("%s on %s: %d %s", rows[i].u, rows[i].doc, (int)e.code, e.msg);
        if (!failed) {
            const char *got = qtest_json(&t, out);
            AUTO(buf_fini) struct buf copy = BUF_INIT;

            buf_push(&copy, got, strlen(got));
            const char *want = qtest_json(&t, qtest_doc(&t, rows[i].want));

            if (strcmp(buf_cstr(&copy), want) != 0)
                fail_msg("%s on %s: %s instead of %s", rows[i].u, rows[i].doc, buf_cstr(&copy),
                         want);
            if (!bval_identical(bval_of_doc(out, BT_DOCUMENT),
                                bval_of_doc(qtest_doc(&t, rows[i].want), BT_DOCUMENT)))
                fail_msg("%s on %s: types differ from %s", rows[i].u, rows[i].doc, want);
            bool replaced = rows[i].u[1] != '$';

            if (changed !=
                (replaced || !bval_identical(bval_of_doc(out, BT_DOCUMENT),
                                             bval_of_doc(qtest_doc(&t, rows[i].doc), BT_DOCUMENT))))
                fail_msg("%s on %s: changed %d", rows[i].u, rows[i].doc, changed);
        }
        qtest_close(&t);
    }
}

static void fields(void **state)
{
    static const struct row rows[] = {
        OK("{$set:{a:2}}", "{_id:1,a:1,b:3}", "{_id:1,a:2,b:3}"),
        OK("{$set:{a:1}}", "{_id:1,a:1}", "{_id:1,a:1}"),
        OK("{$set:{a:1.0}}", "{_id:1,a:1}", "{_id:1,a:1.0}"),
        OK("{$set:{z:1,b:2,a:3}}", "{_id:1}", "{_id:1,a:3,b:2,z:1}"),
        OK("{$set:{'10':1,'9':2}}", "{_id:1}", "{_id:1,'9':2,'10':1}"),
        OK("{$set:{'a.b.c':1}}", "{_id:1}", "{_id:1,a:{b:{c:1}}}"),
        OK("{$set:{'a.0':1}}", "{_id:1}", "{_id:1,a:{'0':1}}"),
        OK("{$set:{'a.0':1}}", "{_id:1,a:[5,6]}", "{_id:1,a:[1,6]}"),
        OK("{$set:{'a.4':1}}", "{_id:1,a:[5,6]}", "{_id:1,a:[5,6,null,null,1]}"),
        OK("{$set:{'a.1.x':1}}", "{_id:1,a:[5,{y:2}]}", "{_id:1,a:[5,{y:2,x:1}]}"),
        NO("{$set:{'a.x':1}}", "{_id:1,a:[5]}", 28),
        NO("{$set:{'a.x':1}}", "{_id:1,a:5}", 28),
        NO("{$set:{'a.x':1}}", "{_id:1,a:null}", 28),
        NO("{$set:{'a.9999999':1}}", "{_id:1,a:[]}", 2),
        NO("{$set:{a:1,'a.b':2}}", "{_id:1}", 40),
        NO("{$set:{'a.b':1},$unset:{a:1}}", "{_id:1}", 40),
        NO("{$set:{_id:2}}", "{_id:1}", 66),
        OK("{$set:{_id:1}}", "{_id:1}", "{_id:1}"),
        NO("{$unset:{_id:1}}", "{_id:1}", 66),
        NO("{$set:{'':1}}", "{_id:1}", 56),
        NO("{$set:{'a..b':1}}", "{_id:1}", 56),
        NO("{$set:{$x:1}}", "{_id:1}", 52),
        OK("{$set:{'a.$x':1}}", "{_id:1,a:{}}", "{_id:1,a:{$x:1}}"),
        NO("{$set:5}", "{_id:1}", 9),
        NO("{$bogus:{a:1}}", "{_id:1}", 9),
        NO("{$set:{a:1},b:2}", "{_id:1}", 9),
        OK("{$unset:{a:1,'b.c':1,'x.y':1}}", "{_id:1,a:1,b:{c:1,d:2},x:5}", "{_id:1,b:{d:2},x:5}"),
        OK("{$unset:{'a.1':1}}", "{_id:1,a:[1,2,3]}", "{_id:1,a:[1,null,3]}"),
        OK("{$unset:{'a.b.c':1}}", "{_id:1}", "{_id:1}"),
        OK("{$setOnInsert:{a:1}}", "{_id:1}", "{_id:1}"),
        OK("{$currentDate:{a:true}}", "{_id:1}", "{_id:1,a:{$date:'2023-11-14T22:13:20.123Z'}}"),
        NO("{$currentDate:{a:{$type:'bogus'}}}", "{_id:1}", 2),
        NO("{$currentDate:{a:1}}", "{_id:1}", 2),
        OK("{$rename:{a:'b'}}", "{_id:1,a:1,c:2}", "{_id:1,c:2,b:1}"),
        OK("{$rename:{a:'b.c'}}", "{_id:1,a:1}", "{_id:1,b:{c:1}}"),
        OK("{$rename:{x:'b.c'}}", "{_id:1,a:1}", "{_id:1,a:1}"),
        NO("{$rename:{a:'a'}}", "{_id:1,a:1}", 2),
        NO("{$rename:{'a.0':'b'}}", "{_id:1,a:[1]}", 2),
        NO("{$rename:{b:'a.0'}}", "{_id:1,a:[1],b:1}", 2),
        NO("{$rename:{'a.x':'b'}}", "{_id:1,a:1}", 28),
        NO("{$rename:{a:'_id'}}", "{_id:1,a:1}", 66),
        NO("{$rename:{a:'b'},$set:{b:1}}", "{_id:1,a:1}", 40),
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void numbers(void **state)
{
    static const struct row rows[] = {
        OK("{$inc:{a:1}}", "{_id:1,a:1}", "{_id:1,a:2}"),
        OK("{$inc:{a:1}}", "{_id:1}", "{_id:1,a:1}"),
        OK("{$inc:{a:0}}", "{_id:1,a:1}", "{_id:1,a:1}"),
        OK("{$inc:{a:1}}", "{_id:1,a:2147483647}", "{_id:1,a:{$numberLong:'2147483648'}}"),
        NO("{$inc:{a:1}}", "{_id:1,a:{$numberLong:'9223372036854775807'}}", 2),
        OK("{$inc:{a:{$numberLong:'1'}}}", "{_id:1,a:1}", "{_id:1,a:{$numberLong:'2'}}"),
        OK("{$inc:{a:0.5}}", "{_id:1,a:1}", "{_id:1,a:1.5}"),
        OK("{$inc:{a:{$numberDecimal:'0.10'}}}", "{_id:1,a:1}",
           "{_id:1,a:{$numberDecimal:'1.10'}}"),
        NO("{$inc:{a:'x'}}", "{_id:1,a:1}", 14),
        NO("{$inc:{a:1}}", "{_id:1,a:'x'}", 14),
        NO("{$inc:{a:1}}", "{_id:1,a:null}", 14),
        OK("{$mul:{a:3}}", "{_id:1,a:2}", "{_id:1,a:6}"),
        OK("{$mul:{a:3}}", "{_id:1}", "{_id:1,a:0}"),
        OK("{$mul:{a:{$numberDecimal:'3'}}}", "{_id:1}", "{_id:1,a:{$numberDecimal:'0'}}"),
        OK("{$mul:{a:65536}}", "{_id:1,a:65536}", "{_id:1,a:{$numberLong:'4294967296'}}"),
        NO("{$mul:{a:{$numberLong:'4294967296'}}}", "{_id:1,a:{$numberLong:'4294967296'}}", 2),
        OK("{$min:{a:1}}", "{_id:1,a:2}", "{_id:1,a:1}"),
        OK("{$min:{a:2.0}}", "{_id:1,a:2}", "{_id:1,a:2}"),
        OK("{$max:{a:'x'}}", "{_id:1,a:2}", "{_id:1,a:'x'}"),
        OK("{$max:{a:1}}", "{_id:1}", "{_id:1,a:1}"),
        OK("{$bit:{a:{or:4}}}", "{_id:1,a:1}", "{_id:1,a:5}"),
        OK("{$bit:{a:{and:{$numberLong:'12'},xor:1}}}", "{_id:1,a:10}",
           "{_id:1,a:{$numberLong:'9'}}"),
        OK("{$bit:{a:{xor:3}}}", "{_id:1}", "{_id:1,a:3}"),
        NO("{$bit:{a:{or:1.0}}}", "{_id:1,a:1}", 2),
        NO("{$bit:{a:{not:1}}}", "{_id:1,a:1}", 2),
        NO("{$bit:{a:{or:1}}}", "{_id:1,a:1.0}", 2),
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void arrays(void **state)
{
    static const struct row rows[] = {
        OK("{$push:{a:1}}", "{_id:1}", "{_id:1,a:[1]}"),
        OK("{$push:{a:[1]}}", "{_id:1,a:[0]}", "{_id:1,a:[0,[1]]}"),
        NO("{$push:{a:1}}", "{_id:1,a:1}", 2),
        OK("{$push:{a:{$each:[3,1],$sort:1,$slice:2}}}", "{_id:1,a:[2]}", "{_id:1,a:[1,2]}"),
        OK("{$push:{a:{$each:[3,1],$sort:-1,$slice:-2}}}", "{_id:1,a:[2]}", "{_id:1,a:[2,1]}"),
        OK("{$push:{a:{$each:[9],$position:1}}}", "{_id:1,a:[1,2]}", "{_id:1,a:[1,9,2]}"),
        OK("{$push:{a:{$each:[9],$position:-1}}}", "{_id:1,a:[1,2]}", "{_id:1,a:[1,9,2]}"),
        OK("{$push:{a:{$each:[9],$position:-7}}}", "{_id:1,a:[1,2]}", "{_id:1,a:[9,1,2]}"),
        OK("{$push:{a:{$each:[],$slice:0}}}", "{_id:1,a:[1,2]}", "{_id:1,a:[]}"),
        OK("{$push:{a:{$each:[{x:1,y:1}],$sort:{x:-1,y:1}}}}", "{_id:1,a:[{x:1,y:0},{x:2},5]}",
           "{_id:1,a:[{x:2},{x:1,y:0},{x:1,y:1},5]}"),
        NO("{$push:{a:{$each:1}}}", "{_id:1}", 2),
        NO("{$push:{a:{$each:[],$slice:1.5}}}", "{_id:1}", 2),
        NO("{$push:{a:{$each:[],$sort:{'a.':1}}}}", "{_id:1}", 2),
        NO("{$push:{a:{$each:[],$x:1}}}", "{_id:1}", 2),
        OK("{$addToSet:{a:1}}", "{_id:1,a:[1.0]}", "{_id:1,a:[1.0]}"),
        OK("{$addToSet:{a:{$each:[1,2,2,3]}}}", "{_id:1,a:[1,1]}", "{_id:1,a:[1,1,2,3]}"),
        OK("{$addToSet:{a:{x:1,y:2}}}", "{_id:1,a:[{y:2,x:1}]}", "{_id:1,a:[{y:2,x:1},{x:1,y:2}]}"),
        OK("{$addToSet:{a:{$each:[]}}}", "{_id:1}", "{_id:1,a:[]}"),
        NO("{$addToSet:{a:{$each:1}}}", "{_id:1}", 14),
        NO("{$addToSet:{a:1}}", "{_id:1,a:1}", 2),
        OK("{$pop:{a:1}}", "{_id:1,a:[1,2,3]}", "{_id:1,a:[1,2]}"),
        OK("{$pop:{a:-1}}", "{_id:1,a:[1,2,3]}", "{_id:1,a:[2,3]}"),
        OK("{$pop:{a:1}}", "{_id:1,a:[]}", "{_id:1,a:[]}"),
        OK("{$pop:{a:1}}", "{_id:1}", "{_id:1}"),
        NO("{$pop:{a:2}}", "{_id:1,a:[]}", 9),
        NO("{$pop:{a:1}}", "{_id:1,a:1}", 14),
        OK("{$pull:{a:1}}", "{_id:1,a:[1,2,1.0,[1]]}", "{_id:1,a:[2,[1]]}"),
        OK("{$pull:{a:{$gte:2}}}", "{_id:1,a:[1,2,3,'x']}", "{_id:1,a:[1,'x']}"),
        OK("{$pull:{a:{x:1}}}", "{_id:1,a:[{x:1,y:2},{x:2},1]}", "{_id:1,a:[{x:2},1]}"),
        OK("{$pull:{a:{y:{$gt:1},x:1}}}", "{_id:1,a:[{x:1,y:2},{x:1,y:1}]}",
           "{_id:1,a:[{x:1,y:1}]}"),
        OK("{$pull:{a:{$regularExpression:{pattern:'^x',options:''}}}}", "{_id:1,a:['xa','b']}",
           "{_id:1,a:['b']}"),
        OK("{$pull:{a:1,b:{$in:[1,2]}}}", "{_id:1,a:[1],b:[1,2,3]}", "{_id:1,a:[],b:[3]}"),
        NO("{$pull:{a:{$each:[1]}}}", "{_id:1,a:[1]}", 2),
        NO("{$pull:{a:1}}", "{_id:1,a:1}", 2),
        OK("{$pull:{a:1}}", "{_id:1}", "{_id:1}"),
        OK("{$pullAll:{a:[1,{x:1}]}}", "{_id:1,a:[1,2,{x:1},{x:1,y:1}]}",
           "{_id:1,a:[2,{x:1,y:1}]}"),
        NO("{$pullAll:{a:1}}", "{_id:1,a:[1]}", 2),
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void positional(void **state)
{
    static const struct row rows[] = {
        { "{$set:{'a.$':9}}", "{_id:1,a:[1,2,3]}", "{_id:1,a:[1,9,3]}", 0, "{a:2}", NULL },
        { "{$inc:{'a.$.x':9}}", "{_id:1,a:[{x:1},{x:2}]}", "{_id:1,a:[{x:1},{x:11}]}", 0,
          "{'a.x':2}", NULL },
        NO("{$set:{'a.$':9}}", "{_id:1,a:[1,2,3]}", 2),
        { "{$set:{'a.$.b.$':9}}", "{_id:1,a:[1]}", NULL, 2, "{a:1}", NULL },
        NO("{$set:{$:9}}", "{_id:1,a:[1]}", 2),
        OK("{$inc:{'a.$[]':1}}", "{_id:1,a:[1,2]}", "{_id:1,a:[2,3]}"),
        OK("{$set:{'a.$[].x':1}}", "{_id:1,a:[{},{x:0}]}", "{_id:1,a:[{x:1},{x:1}]}"),
        NO("{$set:{'a.$[]':1}}", "{_id:1}", 2),
        NO("{$set:{'a.$[]':1}}", "{_id:1,a:1}", 2),
        NO("{$set:{'a.$[]':1}}", "{_id:1,a:{b:1}}", 2),
        { "{$set:{'a.$[e]':0}}", "{_id:1,a:[1,5,7]}", "{_id:1,a:[1,0,0]}", 0, NULL,
          "[{e:{$gt:3}}]" },
        { "{$set:{'a.$[e].y':0}}", "{_id:1,a:[{x:1},{x:2}]}", "{_id:1,a:[{x:1},{x:2,y:0}]}", 0,
          NULL, "[{'e.x':2}]" },
        { "{$set:{'a.$[e].b.$[f]':0}}", "{_id:1,a:[{b:[1,2]},{b:[2]}]}",
          "{_id:1,a:[{b:[1,0]},{b:[0]}]}", 0, NULL, "[{f:2},{'e.b':2}]" },
        NO("{$set:{'a.$[e]':0}}", "{_id:1,a:[1]}", 2),
        { "{$set:{'a.$[e]':0}}", "{_id:1,a:[1]}", NULL, 9, NULL, "[{e:1},{f:1}]" },
        { "{$set:{'a.$[e]':0}}", "{_id:1,a:[1]}", NULL, 9, NULL, "[{e:1},{e:2}]" },
        { "{$set:{'a.$[e]':0}}", "{_id:1,a:[1]}", NULL, 9, NULL, "[{e:1,f:2}]" },
        { "{$set:{'a.$[E]':0}}", "{_id:1,a:[1]}", NULL, 2, NULL, "[{E:1}]" },
        NO("{$set:{'a.$[]':0,'a.1':5}}", "{_id:1,a:[1,2]}", 40),
        OK("{$set:{'a.$[].x':0,'a.1.y':5}}", "{_id:1,a:[{},{}]}", "{_id:1,a:[{x:0},{x:0,y:5}]}"),
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void replacements(void **state)
{
    static const struct row rows[] = {
        OK("{a:2}", "{_id:1,b:1}", "{_id:1,a:2}"),
        OK("{a:2,_id:1}", "{_id:1,b:1}", "{_id:1,a:2}"),
        NO("{_id:2}", "{_id:1}", 66),
        OK("{}", "{_id:1,b:1}", "{_id:1}"),
        NO("{a:1,$set:{b:1}}", "{_id:1}", 52),
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void upserts(void **state)
{
    static const struct row rows[] = {
        /* doc: the query */
        OK("{$set:{b:2}}", "{_id:7,a:1}", "{_id:7,a:1,b:2}"),
        OK("{$set:{b:2}}", "{a:1,_id:7}", "{_id:7,a:1,b:2}"),
        OK("{$setOnInsert:{c:3},$inc:{n:1}}", "{_id:7,n:{$gt:5}}", "{_id:7,c:3,n:1}"),
        OK("{$set:{'a.y':2}}", "{_id:7,'a.x':1}", "{_id:7,a:{x:1,y:2}}"),
        OK("{$push:{a:3}}", "{_id:7,a:{$all:[[1,2]]}}", "{_id:7,a:[1,2,3]}"),
        OK("{x:1}", "{_id:7,a:1}", "{_id:7,x:1}"),
        NO("{x:1,_id:8}", "{_id:7}", 66),
        NO("{$set:{_id:8}}", "{_id:7}", 66),
        OK("{$set:{_id:8}}", "{a:1}", "{_id:8,a:1}"),
        NO("{$setOnInsert:{'_id.b':2}}", "{'_id.a':1}", 66),
        OK("{$set:{b:1}}", "{'_id.a':1}", "{_id:{a:1},b:1}"),
        NO("{$set:{b:1}}", "{_id:1,$and:[{a:1},{a:2}]}", 54),
        NO("{$set:{'a.$':1}}", "{_id:7,a:1}", 2),
        NO("{$set:{_id:[1]}}", "{a:1}", 53),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = { 0 };
        struct update *u;
        struct match *m;
        struct qtest t;
        struct bdoc out;

        qtest_open(&t);
        struct update_spec spec = { .u = bval_of_doc(qtest_doc(&t, rows[i].u), BT_DOCUMENT),
                                    .upsert = true };

        CHECK_RC_OK(update_parse(&t.q, &spec, &u, &e), &e);
        CHECK_RC_OK(match_parse(&t.q, qtest_doc(&t, rows[i].doc), 0, &m, &e), &e);
        bool failed = update_upsert(u, &t.q, m, &out, &e).failed;

        if (failed != (rows[i].want == NULL) || (failed && (int)e.code != rows[i].code))
            fail_msg("%s for %s: %d %s", rows[i].u, rows[i].doc, (int)e.code, e.msg);
        if (!failed && !bval_identical(bval_of_doc(out, BT_DOCUMENT),
                                       bval_of_doc(qtest_doc(&t, rows[i].want), BT_DOCUMENT)))
            fail_msg("%s for %s: %s", rows[i].u, rows[i].doc, qtest_json(&t, out));
        qtest_close(&t);
    }
}

static void upsert_makes_an_id(void **state)
{
    struct err e = { 0 };
    struct update *u;
    struct match *m;
    struct qtest t;
    struct bdoc out;
    struct biter it;

    (void)state;
    qtest_open(&t);
    struct update_spec spec = { .u = bval_of_doc(qtest_doc(&t, "{$set:{b:2}}"), BT_DOCUMENT),
                                .upsert = true };

    CHECK_RC_OK(update_parse(&t.q, &spec, &u, &e), &e);
    CHECK_RC_OK(match_parse(&t.q, qtest_doc(&t, "{a:1}"), 0, &m, &e), &e);
    CHECK_RC_OK(update_upsert(u, &t.q, m, &out, &e), &e);
    biter_init(&it, out);
    assert_true(biter_next(&it));
    assert_true(slice_eq_str(it.name, "_id"));
    assert_int_equal(it.val.type, BT_OBJECT_ID);
    qtest_close(&t);
}

static void spec_errors(void **state)
{
    struct qtest t;
    struct update *u;
    struct err e = { 0 };

    (void)state;
    qtest_open(&t);
    struct bval replacement = bval_of_doc(qtest_doc(&t, "{a:1}"), BT_DOCUMENT),
                filters = bval_of_doc(qtest_doc(&t, "[{e:1}]"), BT_ARRAY);

    CHECK_RC_FAILS(update_parse(&t.q, &(struct update_spec){ .u = replacement, .multi = true }, &u,
                                &e),
                   &e, 9);
    CHECK_RC_FAILS(update_parse(&t.q,
                                &(struct update_spec){ .u = replacement, .constants = replacement },
                                &u, &e),
                   &e, 51198);
    CHECK_RC_FAILS(update_parse(&t.q,
                                &(struct update_spec){ .u = replacement, .array_filters = filters },
                                &u, &e),
                   &e, 9);
    CHECK_RC_FAILS(update_parse(&t.q, &(struct update_spec){ .u = bval_new_null() }, &u, &e), &e,
                   9);
    qtest_close(&t);
}

/* Padding cannot be made to outgrow the limit of a document by asking for it many times. */
static void results_are_bounded(void **state)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct row r = {
        .doc = "{_id:1,a:{b0:[],b1:[],b2:[],b3:[],b4:[],b5:[],b6:[],b7:[],b8:[],b9:[]}}"
    };
    struct err e = { 0 };
    struct qtest t;
    struct bdoc out;
    bool changed;

    (void)state;
    qtest_open(&t);
    buf_printf(&text, "{$set:{");
    for (int i = 0; i < 10; i++)
        buf_printf(&text, "%s'a.b%d.1400000':1", i ? "," : "", i);
    buf_printf(&text, "}}");
    r.u = buf_cstr(&text);
    CHECK_RC_FAILS(run(&t, &r, &out, &changed, &e), &e, ERR_BSON_OBJECT_TOO_LARGE);
    qtest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(numbers),
        cmocka_unit_test(arrays),
        cmocka_unit_test(positional),
        cmocka_unit_test(replacements),
        cmocka_unit_test(upserts),
        cmocka_unit_test(upsert_makes_an_id),
        cmocka_unit_test(spec_errors),
        cmocka_unit_test(results_are_bounded),
    };

    return cmocka_run_group_tests_name("update", tests, NULL, NULL);
}
