/* test_project.c - projections on documents and the refusals of their parser. */
#include "qtest.h"

#include "query/project.h"

#define F PROJECT_FIND
#define S PROJECT_STAGE
#define A PROJECT_ADD_FIELDS
#define U PROJECT_UNSET

struct row {
    enum project_kind kind;
    const char *spec, *doc, *want; /* want NULL: refused with code */
    int code;
    const char *filter;
};

static const struct row rows[] = {
    { F, "{}", "{_id:1,a:2}", "{_id:1,a:2}", 0, NULL },
    { F, "{a:1}", "{_id:1,b:2,a:3}", "{_id:1,a:3}", 0, NULL },
    { F, "{a:1,_id:0}", "{_id:1,b:2,a:3}", "{a:3}", 0, NULL },
    { F, "{a:0}", "{_id:1,b:2,a:3}", "{_id:1,b:2}", 0, NULL },
    { F, "{_id:0}", "{_id:1,b:2}", "{b:2}", 0, NULL },
    { F, "{_id:1}", "{_id:1,b:2}", "{_id:1}", 0, NULL },
    { F, "{b:1,a:1}", "{_id:1,a:3,b:2}", "{_id:1,a:3,b:2}", 0, NULL },
    { F, "{'a.b':1}", "{_id:1,a:{b:1,c:2}}", "{_id:1,a:{b:1}}", 0, NULL },
    { F, "{a:{b:1}}", "{_id:1,a:{b:1,c:2}}", "{_id:1,a:{b:1}}", 0, NULL },
    { F, "{'a.b':1}", "{_id:1,a:[{b:1,c:2},5,[{b:3},6]]}", "{_id:1,a:[{b:1},[{b:3}]]}", 0, NULL },
    { F, "{'a.b':1}", "{_id:1,a:5}", "{_id:1}", 0, NULL },
    { F, "{'a.b':0}", "{_id:1,a:[{b:1,c:2},5]}", "{_id:1,a:[{c:2},5]}", 0, NULL },
    { F, "{a:1,c:{$add:['$a',1]}}", "{_id:1,a:3,c:9}", "{_id:1,a:3,c:4}", 0, NULL },
    { F, "{c:'$a'}", "{_id:1,a:3}", "{_id:1,c:3}", 0, NULL },
    { F, "{c:'x'}", "{_id:1,a:3}", "{_id:1,c:'x'}", 0, NULL },
    { F, "{'a.x':'$b'}", "{_id:1,b:7,a:[{y:1},2]}", "{_id:1,a:[{x:7},{x:7}]}", 0, NULL },
    { F, "{a:{$slice:2}}", "{_id:1,a:[1,2,3],b:1}", "{_id:1,a:[1,2],b:1}", 0, NULL },
    { F, "{a:{$slice:-2}}", "{_id:1,a:[1,2,3]}", "{_id:1,a:[2,3]}", 0, NULL },
    { F, "{a:{$slice:[1,1]}}", "{_id:1,a:[1,2,3]}", "{_id:1,a:[2]}", 0, NULL },
    { F, "{a:{$slice:[-2,1]},b:1}", "{_id:1,a:[1,2,3],b:1,c:1}", "{_id:1,a:[2],b:1}", 0, NULL },
    { F, "{a:{$slice:1}}", "{_id:1,a:5}", "{_id:1,a:5}", 0, NULL },
    { F, "{a:{$slice:[0,-1]}}", "{_id:1}", NULL, 28724, NULL },
    { F, "{a:{$elemMatch:{x:2}}}", "{_id:1,a:[{x:1},{x:2},{x:2,y:1}],b:1}", "{_id:1,a:[{x:2}]}", 0,
      NULL },
    { F, "{a:{$elemMatch:{$gt:1}},b:1}", "{_id:1,a:[1,2,3],b:1}", "{_id:1,b:1,a:[2]}", 0, NULL },
    { F, "{a:{$elemMatch:{$gt:9}}}", "{_id:1,a:[1]}", "{_id:1}", 0, NULL },
    { F, "{'a.$':1}", "{_id:1,a:[1,2,3],b:1}", "{_id:1,a:[2]}", 0, "{a:2}" },
    { F, "{'a.b.$':1,c:1}", "{_id:1,a:{b:[1,2],d:1},c:1}", "{_id:1,a:{b:[2]},c:1}", 0,
      "{'a.b':2}" },
    { F, "{'a.$':1}", "{_id:1,a:[1]}", NULL, 51246, "{_id:1}" },
    { F, "{'b.$':1}", "{_id:1,a:[1,2],b:[1]}", NULL, 51247, "{a:2}" },
    { F, "{'a.$':1,'b.$':1}", "{}", NULL, 31276, NULL },
    { F, "{'a.$.b':1}", "{}", NULL, 31394, NULL },
    { F, "{'a.$':1,b:0}", "{}", NULL, 31254, NULL },
    { F, "{'a.$':1,a:{$elemMatch:{x:1}}}", "{}", NULL, 31255, NULL },
    { F, "{'a.$':0}", "{}", NULL, 31395, NULL },
    { F, "{a:1,b:0}", "{}", NULL, 31254, NULL },
    { F, "{a:0,b:1}", "{}", NULL, 31253, NULL },
    { F, "{a:1,'a.b':1}", "{}", NULL, 31249, NULL },
    { F, "{'a.b':1,a:1}", "{}", NULL, 31250, NULL },
    { F, "{'a.b':{$elemMatch:{x:1}}}", "{}", NULL, 31275, NULL },
    { F, "{a:{$elemMatch:1}}", "{}", NULL, 31274, NULL },
    { F, "{a:{$bogus:1}}", "{}", NULL, 31325, NULL },
    { F, "{a:0,b:{$add:[1,2]}}", "{}", NULL, 31252, NULL },
    { F, "{a:0,b:'$c'}", "{}", NULL, 31310, NULL },
    { F, "{a:{}}", "{}", NULL, 51270, NULL },
    { F, "{'':1}", "{}", NULL, 40352, NULL },
    { F, "{'a.':1}", "{}", NULL, 40353, NULL },
    { F, "{'a..b':1}", "{}", NULL, 15998, NULL },
    { F, "{$a:1}", "{}", NULL, 16410, NULL },
    { S, "{}", "{}", NULL, 51272, NULL },
    { S, "{a:{$elemMatch:{x:1}}}", "{}", NULL, 168, NULL },
    { S, "{'a.$':1}", "{}", NULL, 31324, NULL },
    { S, "{a:{b:1,c:'$_id'}}", "{_id:1,a:{b:2,d:3}}", "{_id:1,a:{b:2,c:1}}", 0, NULL },
    { S, "{a:{c:'$_id'}}", "{_id:1}", "{_id:1,a:{c:1}}", 0, NULL },
    { S, "{x:['$a','$zz']}", "{_id:1,a:2}", "{_id:1,x:[2,null]}", 0, NULL },
    { S, "{x:'$zz'}", "{_id:1,a:2}", "{_id:1}", 0, NULL },
    { A, "{a:5}", "{_id:1,a:2,b:3}", "{_id:1,a:5,b:3}", 0, NULL },
    { A, "{c:'$a',d:{e:true}}", "{_id:1,a:2}", "{_id:1,a:2,c:2,d:{e:true}}", 0, NULL },
    { A, "{'a.b':1}", "{_id:1,a:[{c:1},2]}", "{_id:1,a:[{c:1,b:1},{b:1}]}", 0, NULL },
    { A, "{'a.b':1}", "{_id:1,a:5}", "{_id:1,a:{b:1}}", 0, NULL },
    { A, "{a:'$$REMOVE'}", "{_id:1,a:5,b:1}", "{_id:1,b:1}", 0, NULL },
    { A, "{a:{}}", "{_id:1,a:5}", "{_id:1,a:{}}", 0, NULL },
    { A, "{a:1,'a.b':2}", "{}", NULL, 40176, NULL },
    { A, "{'a.b':1,a:2}", "{}", NULL, 40176, NULL },
    { A, "{a:{'x.y':1}}", "{}", NULL, 40183, NULL },
    { A, "{a:{$add:[1,2],$multiply:[3,4]}}", "{}", NULL, 40181, NULL },
    { U, "{a:0,'b.c':0}", "{_id:1,a:5,b:{c:1,d:2}}", "{_id:1,b:{d:2}}", 0, NULL },
};

static RC run(struct qtest *t, const struct row *r, struct bdoc *out, struct err *e)
{
    struct match_hit hit = { 0 };
    struct bdoc doc = qtest_doc(t, r->doc);
    struct project *p;
    struct match *m;
    bool matched;

    TRY(match_parse(&t->q, qtest_doc(t, r->filter ? r->filter : "{}"), 0, &m, e));
    TRY(match_eval(m, &t->q, doc, &hit, &matched, e));
    TRY(project_parse(&t->q, r->kind, qtest_doc(t, r->spec), m, &p, e));
    assert_int_equal(project_needs_hit(p), strstr(r->spec, ".$'") != NULL);
    return project_apply(p, &t->q, doc, &hit, out, e);
}

static void projecting(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err e = { 0 };
        struct qtest t;
        struct bdoc out;

        qtest_open(&t);
        bool failed = run(&t, &rows[i], &out, &e).failed;

        if (failed != (rows[i].want == NULL) || (failed && (int)e.code != rows[i].code))
            fail_msg("%s on %s: %d %s", rows[i].spec, rows[i].doc, (int)e.code, e.msg);
        if (!failed && !bval_identical(bval_of_doc(out, BT_DOCUMENT),
                                       bval_of_doc(qtest_doc(&t, rows[i].want), BT_DOCUMENT)))
            fail_msg("%s on %s: %s", rows[i].spec, rows[i].doc, qtest_json(&t, out));
        qtest_close(&t);
    }
}

/* Projections of projections cannot nest without end. */
static void nesting_is_bounded(void **state)
{
    AUTO(buf_fini) struct buf spec = BUF_INIT;
    struct err e = { 0 };
    struct project *p;
    struct bdoc doc;
    struct qtest t;

    (void)state;
    qtest_open(&t);
    buf_printf(&spec, "{'a");
    for (int i = 0; i < 120; i++)
        buf_printf(&spec, ".a");
    buf_printf(&spec, "':'$$ROOT'}");
    doc = qtest_doc(&t, "{_id:1}");
    CHECK_RC_OK(project_parse(&t.q, PROJECT_STAGE, qtest_doc(&t, buf_cstr(&spec)), NULL, &p, &e),
                &e);
    CHECK_RC_OK(project_apply(p, &t.q, doc, NULL, &doc, &e), &e);
    CHECK_RC_FAILS(project_apply(p, &t.q, doc, NULL, &doc, &e), &e, ERR_OVERFLOW);
    qtest_close(&t);
}

static void note(struct slice path, void *arg)
{
    buf_printf(arg, "%.*s;", (int)path.len, (const char *)path.p);
}

static void dependencies(void **state)
{
    static const struct {
        enum project_kind kind;
        const char *spec, *want; /* NULL: whole */
    } cases[] = {
        { F, "{a:1,'b.c':1}", "a;b.c;_id;" },
        { F, "{a:1,_id:0}", "a;" },
        { F, "{a:0}", NULL },
        { F, "{}", NULL },
        { F, "{a:'$x.y',_id:0}", "x.y;" },
        { A, "{a:1}", NULL },
        { F, "{a:1,b:'$$ROOT'}", NULL },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_fini) struct buf got = BUF_INIT;
        struct err e = { 0 };
        struct project *p;
        struct qtest t;
        bool whole = false;

        qtest_open(&t);
        CHECK_RC_OK(project_parse(&t.q, cases[i].kind, qtest_doc(&t, cases[i].spec), NULL, &p, &e),
                    &e);
        project_deps(p, note, &got, &whole);
        assert_int_equal(whole, cases[i].want == NULL);
        if (!whole)
            assert_string_equal(buf_cstr(&got), cases[i].want);
        qtest_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(projecting),
                                        cmocka_unit_test(nesting_is_bounded),
                                        cmocka_unit_test(dependencies) };

    return cmocka_run_group_tests_name("project", tests, NULL, NULL);
}
