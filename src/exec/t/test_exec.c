/* test_exec.c - whatever plan is chosen, the answer is the collection scan's; and the plans that must be chosen are. */
#include "open_store.h"

#include "exec/cursors.h"
#include "exec_priv.h"

struct fixture {
    struct store *s;
    struct catalog *cat;
    struct arena *a;
    struct catalog_coll *x;
};

static uint64_t seed = 7;

static unsigned rnd(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % n);
}

static struct bdoc json(struct arena *a, const char *text)
{
    struct bdoc d = BDOC_EMPTY;

    OK(bdoc_from_json(a, text, &d, &err));
    return d;
}

static const char *scalar(void)
{
    static const char *const v[] = { "null",
                                     "1",
                                     "2",
                                     "3",
                                     "2.5",
                                     "\"x\"",
                                     "\"y\"",
                                     "true",
                                     "{\"$numberLong\": \"2\"}",
                                     "{\"$numberDouble\": \"NaN\"}" };

    return v[rnd(ARRAY_LEN(v))];
}

static void random_value(struct buf *b)
{
    switch (rnd(8)) {
    case 0: buf_printf(b, "[%s, %s]", scalar(), scalar()); return;
    case 1: buf_printf(b, "[]"); return;
    case 2: buf_printf(b, "{\"x\": %s}", scalar()); return;
    case 3:
        buf_printf(b, "[{\"x\": %s, \"y\": %s}, {\"x\": %s}]", scalar(), scalar(), scalar());
        return;
    default: buf_printf(b, "%s", scalar());
    }
}

static void random_document(struct buf *b, int id)
{
    bool array = false;

    buf_printf(b, "{\"_id\": %d", id);
    for (const char *f = "abc"; *f; f++) {
        if (rnd(5) == 0)
            continue;
        buf_printf(b, ", \"%c\": ", *f);
        size_t from = b->len;
        random_value(b);
        if (b->p[from] == '[' && array) { /* one array a document: no parallel ones */
            b->len = from;
            buf_printf(b, "%s", scalar());
        }
        array |= b->p[from] == '[';
    }
    buf_printf(b, "}");
}

static void random_point(struct buf *b)
{
    buf_printf(b, "[%d.%u, %d.%u]", (int)rnd(359) - 179, rnd(10), (int)rnd(178) - 88, rnd(10));
}

/* random_place(): p on the sphere, q in the plane; both sometimes missing. */
static void random_place(struct buf *b)
{
    int x = (int)rnd(350) - 180, y = (int)rnd(170) - 90, d = 1 + (int)rnd(9);

    switch (rnd(5)) {
    case 0: break;
    case 1:
        buf_printf(b, ", \"p\": ");
        random_point(b);
        break;
    case 2:
        buf_printf(b, ", \"p\": {\"type\": \"LineString\", \"coordinates\": [");
        random_point(b);
        buf_printf(b, ", [%d.5, 33]]}", (int)rnd(180) - 90);
        break;
    case 3:
        buf_printf(
            b,
            ", \"p\": {\"type\": \"Polygon\", \"coordinates\": [[[%d, %d], [%d, %d], [%d, %d], [%d, %d]]]}",
            x, y, x + d, y, x, y + d, x, y);
        break;
    default:
        buf_printf(b, ", \"p\": {\"type\": \"MultiPoint\", \"coordinates\": [");
        random_point(b);
        buf_printf(b, ", ");
        random_point(b);
        buf_printf(b, "]}");
    }
    if (rnd(4))
        buf_printf(b, ", \"q\": [%d, %d.5]", x, y);
}

static void create_index(struct fixture *f, const char *spec)
{
    struct bdoc done;
    struct coll_build b = { .specs = &done, .n_specs = 1 };

    OK(index_spec_check(f->a, json(f->a, spec), &done, &err));
    OK(coll_create_indexes(f->x, &b, &err));
}

static int setup(void **state)
{
    struct fixture *f = NEW(struct fixture);
    struct coll_txn *w;

    open_store_init();
    f->s = open_store();
    OK(catalog_open(f->s, &f->cat, &err));
    f->a = arena_new(0);
    OK(coll_open(f->cat, SLICE_LIT("db.c"), true, &f->x, &err));
    create_index(f, "{\"key\": {\"a\": 1, \"b\": -1}, \"name\": \"ab\"}");
    create_index(f, "{\"key\": {\"b\": 1}, \"name\": \"b\", \"sparse\": true}");
    create_index(f, "{\"key\": {\"c.x\": 1, \"c.y\": 1}, \"name\": \"cxy\"}");
    create_index(f, "{\"key\": {\"c\": -1, \"_id\": 1}, \"name\": \"c\"}");
    create_index(
        f,
        "{\"key\": {\"a\": 1, \"_id\": 1}, \"name\": \"p\", \"partialFilterExpression\": {\"a\": {\"$gte\": 2}}}");
    create_index(f, "{\"key\": {\"p\": \"2dsphere\"}, \"name\": \"p_sphere\"}");
    create_index(f, "{\"key\": {\"q\": \"2d\", \"a\": 1}, \"name\": \"q_plane\"}");
    OK(coll_begin(f->x, &w, &err));
    for (int i = 0; i < 400; i++) {
        AUTO(buf_fini) struct buf b = BUF_INIT;
        random_document(&b, i);
        b.len--; /* its last brace */
        random_place(&b);
        buf_printf(&b, "}");
        OK(coll_insert(w, json(f->a, buf_cstr(&b)), f->a, &err));
    }
    OK(coll_commit(&w, STORE_NOSYNC, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    catalog_coll_unref(f->x);
    arena_free(f->a);
    catalog_close(f->cat);
    OK(store_close(f->s, &err));
    open_store_fini();
    mem_free(f);
    return 0;
}

static void random_predicate(struct buf *b, int depth)
{
    static const char *const fields[] = { "a", "b", "c", "c.x", "c.y", "_id" };
    static const char *const ops[] = { "$eq", "$gt", "$gte", "$lt", "$lte", "$ne" };
    const char *f = fields[rnd(ARRAY_LEN(fields))];

    switch (rnd(depth > 1 ? 6 : 8)) {
    case 0: buf_printf(b, "{\"%s\": %s}", f, scalar()); return;
    case 1:
        buf_printf(b, "{\"%s\": {\"$in\": [%s, %s, %s]}}", f, scalar(), scalar(), scalar());
        return;
    case 2: buf_printf(b, "{\"%s\": {\"$gt\": 1, \"$lt\": 3}}", f); return;
    case 3: buf_printf(b, "{\"%s\": {\"$elemMatch\": {\"$gte\": 1, \"$lte\": 2}}}", f); return;
    case 4:
        buf_printf(b, "{\"c\": {\"$elemMatch\": {\"x\": %s, \"y\": %s}}}", scalar(), scalar());
        return;
    case 5: buf_printf(b, "{\"%s\": {\"%s\": %s}}", f, ops[rnd(ARRAY_LEN(ops))], scalar()); return;
    default:
        buf_printf(b, "{\"%s\": [", rnd(2) ? "$or" : "$and");
        random_predicate(b, depth + 1);
        buf_printf(b, ", ");
        random_predicate(b, depth + 1);
        buf_printf(b, "]}");
    }
}

struct answer {
    int n;
    int ids[512];
};

static void run(struct fixture *f, struct arena *a, struct bdoc filter, const char *sort,
                const char *hint, const char *projection, struct answer *out, struct buf *plan)
{
    AUTO(arena_freep) struct arena *scratch = arena_new(0);
    struct qctx q = { .arena = a, .scratch = scratch, .let = BDOC_EMPTY };
    struct match *m;
    struct exec *x;
    struct exec_row row;
    struct project *p = NULL;
    bool valid;

    OK(match_parse(&q, filter, 0, &m, &err));
    struct exec_spec s = { .catalog = f->cat,
                           .coll = f->x,
                           .q = &q,
                           .match = m,
                           .sort = sort ? json(a, sort) : BDOC_EMPTY,
                           .hint = BVAL_MISSING,
                           .min = BDOC_EMPTY,
                           .max = BDOC_EMPTY,
                           .project_doc = BDOC_EMPTY };
    if (hint)
        s.hint = bval_of_doc(json(a, hint), BT_DOCUMENT);
    if (projection) {
        s.project_doc = json(a, projection);
        OK(project_parse(&q, PROJECT_FIND, s.project_doc, m, &p, &err));
        s.project = p;
    }
    OK(exec_open(&s, &x, &err));
    out->n = 0;
    for (;;) {
        OK(exec_next(x, &row, &valid, &err));
        if (!valid)
            break;
        struct bval id = bdoc_get(row.doc, "_id");
        out->ids[out->n++] = id.type == BT_INT32 ? bval_i32(id) : -1;
    }
    if (plan) {
        struct buf b = BUF_INIT;
        struct bw w;
        bw_init(&w, &b);
        exec_explain(x, &w, "plan", true);
        bval_to_json(bval_of_doc(bw_finish(&w), BT_DOCUMENT), plan);
        buf_fini(&b);
    }
    exec_close(x);
}

static int cmp_int(const void *x, const void *y)
{
    return *(const int *)x - *(const int *)y;
}

static void test_same_answers(void **state)
{
    static const char *const sorts[] = { NULL,
                                         "{\"_id\": 1}",
                                         "{\"a\": 1, \"_id\": 1}",
                                         "{\"c\": -1, \"_id\": 1}",
                                         "{\"c\": 1, \"_id\": -1}",
                                         "{\"a\": -1, \"b\": 1, \"_id\": 1}" };
    struct fixture *f = *state;
    int indexed = 0;

    for (int i = 0; i < 3000; i++) {
        AUTO(buf_fini) struct buf text = BUF_INIT, plan = BUF_INIT;
        AUTO(arena_freep) struct arena *a = arena_new(0);
        static struct answer got, want;
        const char *sort = sorts[rnd(ARRAY_LEN(sorts))];
        random_predicate(&text, 0);
        struct bdoc filter = json(a, buf_cstr(&text));
        run(f, a, filter, sort, NULL, NULL, &got, &plan);
        run(f, a, filter, sort, "{\"$natural\": 1}", NULL, &want, NULL);
        indexed += strstr(buf_cstr(&plan), "COLLSCAN") == NULL;
        if (!sort) {
            qsort(got.ids, (size_t)got.n, sizeof(int), cmp_int);
            qsort(want.ids, (size_t)want.n, sizeof(int), cmp_int);
        }
        if (got.n != want.n || memcmp(got.ids, want.ids, (size_t)got.n * sizeof(int)) != 0)
            fail_msg("%s sort %s: %d rows instead of %d\n%s", buf_cstr(&text), sort ? sort : "none",
                     got.n, want.n, buf_cstr(&plan));
    }
    assert_true(indexed > 1000); /* the comparison says something */
}

static void plan_has(struct fixture *f, const char *filter, const char *sort,
                     const char *projection, const char *want)
{
    AUTO(buf_fini) struct buf plan = BUF_INIT;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    static struct answer got;

    run(f, a, json(a, filter), sort, NULL, projection, &got, &plan);
    if (!strstr(buf_cstr(&plan), want))
        fail_msg("%s: no %s in %s", filter, want, buf_cstr(&plan));
}

static void test_plans(void **state)
{
    struct fixture *f = *state;

    plan_has(f, "{\"_id\": 5}", NULL, NULL, "IDHACK");
    plan_has(f, "{}", NULL, NULL, "COLLSCAN");
    plan_has(f, "{\"a\": 2}", NULL, NULL, "IXSCAN");
    plan_has(f, "{\"$or\": [{\"a\": 1}, {\"c\": 2}]}", NULL, NULL, "\"OR\"");
    plan_has(f, "{\"b\": {\"$gt\": 1}}", NULL, NULL, "\"indexName\":\"b\"");
    plan_has(f, "{\"b\": null}", NULL, NULL, "COLLSCAN"); /* sparse */
    plan_has(f, "{\"_id\": {\"$gt\": 5}}", "{\"_id\": -1}", NULL, "backward");
    plan_has(f, "{\"_id\": {\"$gt\": 5}}", "{\"_id\": -1}", "{\"_id\": 1}", "PROJECTION_COVERED");
    plan_has(f, "{\"d\": 5}", "{\"d\": 1}", NULL, "SORT");
}

static void random_place_query(struct buf *b)
{
    int x = (int)rnd(280) - 180, y = (int)rnd(150) - 90, w = 1 + (int)rnd(20), h = 1 + (int)rnd(15);

    switch (rnd(5)) {
    case 0:
        buf_printf(
            b,
            "{\"p\": {\"%s\": {\"$geometry\": {\"type\": \"Polygon\", \"coordinates\": [[[%d, %d], [%d, %d], [%d, %d], [%d, %d], [%d, %d]]]}}}}",
            rnd(2) ? "$geoWithin" : "$geoIntersects", x, y, x + w, y, x + w, y + h, x, y + h, x, y);
        return;
    case 1:
        buf_printf(b, "{\"p\": {\"$geoWithin\": {\"$centerSphere\": [[%d, %d], 0.%d]}}}", x, y, h);
        return;
    case 2:
        buf_printf(
            b,
            "{\"p\": {\"$geoIntersects\": {\"$geometry\": {\"type\": \"LineString\", \"coordinates\": [[%d, %d], [%d, %d]]}}}}",
            x, y, x + 3 * w, y + h);
        return;
    case 3:
        buf_printf(
            b, "{\"q\": {\"$geoWithin\": {\"$box\": [[%d, %d], [%d, %d]]}}, \"a\": {\"$gte\": 1}}",
            x, y, x + 3 * w, y + 3 * h);
        return;
    default: buf_printf(b, "{\"q\": {\"$geoWithin\": {\"$center\": [[%d, %d], %d]}}}", x, y, w + h);
    }
}

/* Through an index of places or past it, the answer is one. */
static void test_places(void **state)
{
    struct fixture *f = *state;
    int indexed = 0, found = 0;

    for (int i = 0; i < 600; i++) {
        AUTO(buf_fini) struct buf text = BUF_INIT, plan = BUF_INIT;
        AUTO(arena_freep) struct arena *a = arena_new(0);
        static struct answer got, want;

        random_place_query(&text);
        struct bdoc filter = json(a, buf_cstr(&text));
        run(f, a, filter, "{\"_id\": 1}", NULL, NULL, &got, &plan);
        run(f, a, filter, "{\"_id\": 1}", "{\"$natural\": 1}", NULL, &want, NULL);
        indexed += strstr(buf_cstr(&plan), "p_sphere") || strstr(buf_cstr(&plan), "q_plane");
        found += want.n;
        if (got.n != want.n || memcmp(got.ids, want.ids, (size_t)got.n * sizeof(int)) != 0)
            fail_msg("%s: %d rows instead of %d\n%s", buf_cstr(&text), got.n, want.n,
                     buf_cstr(&plan));
    }
    assert_true(indexed > 500 && found > 500);
}

/* same_set(): of what is equally far, the order is not told. */
static void same_set(int *a, int *b, int n)
{
    qsort(a, (size_t)n, sizeof(int), cmp_int);
    qsort(b, (size_t)n, sizeof(int), cmp_int);
    assert_memory_equal(a, b, (size_t)n * sizeof(int));
}

/* $near: nearest first, all of them, and no further than asked for. */
static void test_near(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 100; i++) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        static struct answer all, some;
        int x = (int)rnd(360) - 180, y = (int)rnd(180) - 90, far = 100000 + (int)rnd(9) * 500000;
        const char *open = arena_printf(
            a,
            "{\"p\": {\"$near\": {\"$geometry\": {\"type\": \"Point\", \"coordinates\": [%d, %d]}",
            x, y);

        run(f, a, json(a, arena_printf(a, "%s}}}", open)), NULL, NULL, NULL, &all, NULL);
        run(f, a, json(a, arena_printf(a, "%s, \"$maxDistance\": %d}}}", open, far)), NULL, NULL,
            NULL, &some, NULL);
        assert_true(all.n > 250 && some.n <= all.n);
        same_set(all.ids, some.ids, some.n);
        run(f, a, json(a, arena_printf(a, "%s, \"$minDistance\": %d.000001}}}", open, far)), NULL,
            NULL, NULL, &some, NULL);
        same_set(all.ids + all.n - some.n, some.ids, some.n);
    }
}

static void test_dropped_under(void **state)
{
    struct fixture *f = *state;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };
    struct catalog_coll *x;
    struct coll_txn *w;
    struct exec *ex;
    struct exec_row row;
    bool valid;

    OK(coll_open(f->cat, SLICE_LIT("db.gone"), true, &x, &err));
    OK(coll_begin(x, &w, &err));
    OK(coll_insert(w, json(a, "{\"_id\": 1}"), a, &err));
    OK(coll_insert(w, json(a, "{\"_id\": 2}"), a, &err));
    OK(coll_commit(&w, STORE_NOSYNC, &err));
    struct exec_spec s = { .catalog = f->cat,
                           .coll = x,
                           .q = &q,
                           .sort = BDOC_EMPTY,
                           .hint = BVAL_MISSING,
                           .min = BDOC_EMPTY,
                           .max = BDOC_EMPTY,
                           .project_doc = BDOC_EMPTY };
    OK(exec_open(&s, &ex, &err));
    OK(exec_next(ex, &row, &valid, &err));
    assert_true(valid);
    OK(coll_drop(x, &err));
    FAILS(ERR_QUERY_PLAN_KILLED, exec_next(ex, &row, &valid, &err));
    exec_close(ex);
    catalog_coll_unref(x);
}

static void test_cursors(void **state)
{
    struct cursors_config c = { .max = 2, .timeout_us = 1000 };
    struct cursors *r = cursors_new(&c);
    struct cursor *a = cursor_new(0), *b = cursor_new(0), *d = cursor_new(0), *out;

    (void)state;
    a->ns = b->ns = d->ns = "db.c";
    a->user = b->user = d->user = "";
    OK(cursors_add(r, a, &err));
    OK(cursors_add(r, b, &err));
    FAILS(ERR_EXCEEDED_MEMORY_LIMIT, cursors_add(r, d, &err));
    cursor_free(d);
    assert_true(a->id > 0 && b->id > 0 && a->id != b->id);
    int64_t ida = a->id, idb = b->id;
    OK(cursors_checkout(r, ida, NULL, &out, &err));
    FAILS(ERR_CURSOR_IN_USE, cursors_checkout(r, ida, NULL, &out, &err));
    assert_int_equal(cursors_kill(r, ida, SLICE_LIT("db.c"), ""), CURSOR_KILLED);
    FAILS(ERR_CURSOR_NOT_FOUND, cursors_checkout(r, ida, NULL, &out, &err));
    cursors_checkin(r, a); /* killed while busy: gone now */
    assert_int_equal(cursors_kill(r, idb, SLICE_LIT("db.c"), "db.other"), CURSOR_REFUSED);
    cursors_reap(r, clock_mono_us() + 10000);
    FAILS(ERR_CURSOR_NOT_FOUND, cursors_checkout(r, idb, NULL, &out, &err));
    cursors_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_answers),  cmocka_unit_test(test_plans),
        cmocka_unit_test(test_places),        cmocka_unit_test(test_near),
        cmocka_unit_test(test_dropped_under), cmocka_unit_test(test_cursors),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
