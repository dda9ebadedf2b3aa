/* Pipelines over documents in memory: (pipeline, input, output or error code); spilling; what a scan may do itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "agg_priv.h"
#include "base/mem.h"

/* ---- an environment: collections as JSON, spill files in memory ---- */

struct memfile {
    struct buf b;
    size_t at;
};
static int files_open, files_made;

static RC mf_open(void *env, void **file, struct err *e)
{
    (void)env;
    (void)e;
    *file = NEW(struct memfile);
    files_open++;
    files_made++;
    return RC_OK;
}
static RC mf_write(void *file, struct slice bytes, struct err *e)
{
    (void)e;
    buf_push(&((struct memfile *)file)->b, bytes.p, bytes.len);
    return RC_OK;
}
static RC mf_rewind(void *file, struct err *e)
{
    (void)e;
    ((struct memfile *)file)->at = 0;
    return RC_OK;
}
static RC mf_read(void *file, void *out, size_t len, size_t *got, struct err *e)
{
    struct memfile *f = file;

    (void)e;
    *got = MIN(len, f->b.len - f->at);
    memcpy(out, f->b.p + f->at, *got);
    f->at += *got;
    return RC_OK;
}
static void mf_close(void *file)
{
    buf_fini(&((struct memfile *)file)->b);
    mem_free(file);
    files_open--;
}
static const struct agg_spill_ops spill = { mf_open, mf_write, mf_rewind, mf_read, mf_close };

struct foreign {
    struct arena *a;
    const char *json; /* {coll: [documents], ...} */
};

struct filtered {
    struct doc_source src;
    struct doc_source *in;
    struct match *m;
    struct qctx *q;
};
static RC filtered_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct filtered *f = (struct filtered *)s;

    for (;;) {
        bool hit;
        TRY(f->in->next(f->in, doc, valid, e));
        if (!*valid)
            return RC_OK;
        TRY(match_eval(f->m, f->q, *doc, NULL, &hit, e));
        if (hit)
            return RC_OK;
    }
}
static void filtered_close(struct doc_source *s)
{
    doc_source_close(((struct filtered *)s)->in);
    mem_free(s);
}

static struct bdoc *docs_of(struct arena *a, struct bval arr, uint32_t *n)
{
    struct bdoc *d = ARENA_ARRAY(a, struct bdoc, bdoc_count(bval_doc(arr)) + 1);
    struct biter it;

    *n = 0;
    biter_init(&it, bval_doc(arr));
    while (biter_next(&it))
        d[(*n)++] = bval_doc(it.val);
    return d;
}

static RC open_collection(void *env, struct qctx *q, struct slice coll, struct bdoc filter,
                          struct doc_source **out, struct err *e)
{
    struct foreign *f = env;
    struct bdoc all;
    struct match *m;
    uint32_t n = 0;

    TRY(bdoc_from_json(f->a, f->json, &all, e));
    struct bval arr = bdoc_get_slice(all, coll);
    struct bdoc *docs = arr.type == BT_ARRAY ? docs_of(f->a, arr, &n) : NULL;
    TRY(match_parse(q, filter, MATCH_IN_AGG, &m, e));
    struct filtered *s = NEW(struct filtered);
    *s = (struct filtered){ { filtered_next, filtered_close }, source_docs(docs, n), m, q };
    *out = &s->src;
    return RC_OK;
}

struct row {
    const char *pipeline, *in, *want;
    int code;
};

static RC run(const char *pipeline, const char *in, const char *foreign, size_t memory, bool disk,
              struct buf *got, struct err *e)
{
    struct arena *a = arena_new(0), *s = arena_new(0);
    struct foreign f = { a, foreign };
    struct agg_env env = { .env = &f,
                           .spill = &spill,
                           .allow_disk_use = disk,
                           .memory_limit = memory,
                           .db = "t",
                           .open_collection = open_collection };
    struct qctx q = { .arena = a, .scratch = s, .let = BDOC_EMPTY, .now_ms = 1500000000000 };
    struct bdoc pd, id;
    struct pipeline *p;
    struct doc_source *top;
    uint32_t n;
    rc_t rc;

    if (bdoc_from_json(a, arena_printf(a, "{\"p\": %s}", pipeline), &pd, e).failed ||
        bdoc_from_json(a, arena_printf(a, "{\"d\": %s}", in), &id, e).failed)
        fail_msg("bad JSON: %s / %s: %s", pipeline, in, e->msg);
    struct bdoc *docs = docs_of(a, bdoc_get(id, "d"), &n);
    rc = pipeline_parse(&q, bval_doc(bdoc_get(pd, "p")), 0, &env, &p, e);
    if (!rc.failed)
        rc = pipeline_run(p, &q, &env, source_docs(docs, n), 0, &top, e);
    for (bool first = true; !rc.failed; first = false) {
        struct bdoc d;
        bool valid;
        rc = top->next(top, &d, &valid, e);
        if (rc.failed || !valid) {
            doc_source_close(top);
            break;
        }
        if (!first)
            buf_push(got, ", ", 2);
        bval_to_json(bval_of_doc(d, BT_DOCUMENT), got);
        arena_reset(s); /* what an executor does at worst */
    }
    arena_free(s);
    arena_free(a);
    return rc;
}

static const struct row rows[] = {
#include "rows_agg.inc"
};

static const char foreign_json[] =
    "{\"f\": [{\"_id\": 1, \"k\": 1, \"v\": \"a\"}, {\"_id\": 2, \"k\": [1, 2], \"v\": \"b\"}, {\"_id\": 3, \"v\": \"c\"}],"
    " \"g\": [{\"_id\": 1, \"to\": 2}, {\"_id\": 2, \"to\": 3}, {\"_id\": 3, \"to\": 1}],"
    " \"no_ids\": [{\"k\": 1}, {\"k\": 1}]}";

static void normalise(const char *json, struct buf *out)
{
    struct arena *a = arena_new(0);
    struct err e = { 0 };
    struct bdoc d;
    struct biter it;

    if (bdoc_from_json(a, arena_printf(a, "{\"d\": [%s]}", json), &d, &e).failed)
        fail_msg("bad JSON: %s: %s", json, e.msg);
    biter_init(&it, bval_doc(bdoc_get(d, "d")));
    for (bool first = true; biter_next(&it); first = false) {
        if (!first)
            buf_push(out, ", ", 2);
        bval_to_json(it.val, out);
    }
    arena_free(a);
}

static void run_row(const struct row *r, size_t memory)
{
    struct buf got = BUF_INIT, want = BUF_INIT;
    struct err e = { 0 };
    rc_t rc = run(r->pipeline, r->in, foreign_json, memory, true, &got, &e);

    if (r->code) {
        if (!rc.failed || e.code != (enum err_code)r->code)
            fail_msg("%s: want error %d, got %d (%s) %s", r->pipeline, r->code, (int)e.code, e.msg,
                     buf_cstr(&got));
    } else {
        if (rc.failed)
            fail_msg("%s: error %d: %s", r->pipeline, (int)e.code, e.msg);
        normalise(r->want, &want);
        if (!slice_eq(buf_view(&got), buf_view(&want)))
            fail_msg("%s: want %s, got %s", r->pipeline, buf_cstr(&want), buf_cstr(&got));
    }
    buf_fini(&got);
    buf_fini(&want);
    err_reset(&e);
    assert_int_equal(files_open, 0);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        run_row(&rows[i], 0);
}

static void test_stage_table_is_sorted(void **state)
{
    int n;
    const struct stage_def *t = stage_def_table(&n);

    (void)state;
    for (int i = 1; i < n; i++)
        if (slice_cmp(slice_str(t[i - 1].name), slice_str(t[i].name)) >= 0)
            fail_msg("stages out of order: %s, %s", t[i - 1].name, t[i].name);
}

/* Many documents under a small budget: the same results as in memory, through several files, all of them closed. */
static void test_spill(void **state)
{
    static const char *const pipelines[] = {
        "[{\"$sort\": {\"r\": 1, \"i\": -1}}, {\"$project\": {\"i\": 1, \"_id\": 0}}]",
        "[{\"$group\": {\"_id\": \"$i\", \"s\": {\"$sum\": \"$r\"}, \"f\": {\"$first\": \"$nope\"}}}, {\"$sort\": {\"_id\": 1}}]",
        "[{\"$sort\": {\"r\": -1, \"i\": 1}}, {\"$skip\": 3}, {\"$limit\": 5}]",
        "[{\"$facet\": {\"a\": [{\"$count\": \"n\"}], \"b\": [{\"$sort\": {\"r\": 1, \"i\": 1}}, {\"$limit\": 2}]}}]",
        "[{\"$bucketAuto\": {\"groupBy\": \"$i\", \"buckets\": 4}}]",
        "[{\"$rankFusion\": {\"input\": {\"pipelines\": {\"p\": [{\"$sort\": {\"r\": 1}}], \"q\": [{\"$sort\": {\"i\": -1}}, {\"$limit\": 2000}]}}, \"scoreDetails\": true}}, {\"$sort\": {\"i\": 1}}, {\"$project\": {\"s\": {\"$meta\": \"score\"}, \"d\": {\"$meta\": \"scoreDetails\"}}}]",
        "[{\"$rankFusion\": {\"input\": {\"pipelines\": {\"p\": [{\"$sort\": {\"r\": 1}}]}}}}, {\"$sort\": {\"s\": {\"$meta\": \"score\"}, \"i\": -1}}, {\"$project\": {\"i\": 1, \"s\": {\"$meta\": \"score\"}}}]",
    };
    struct buf in = BUF_INIT;

    (void)state;
    buf_printf(&in, "[");
    for (int i = 0; i < 3000; i++)
        buf_printf(
            &in,
            "%s{\"_id\": %d, \"i\": %d, \"r\": %d, \"pad\": \"0123456789012345678901234567890123456789\"}",
            i ? ", " : "", i, i, (i * 7919) % 101);
    buf_printf(&in, "]");
    for (size_t k = 0; k < sizeof(pipelines) / sizeof(pipelines[0]); k++) {
        struct buf small = BUF_INIT, large = BUF_INIT;
        struct err e = { 0 };
        files_made = 0;
        if (run(pipelines[k], buf_cstr(&in), "{}", 0, true, &large, &e).failed || files_made != 0)
            fail_msg("%s: %s, %d files", pipelines[k], e.msg, files_made);
        if (run(pipelines[k], buf_cstr(&in), "{}", 40000, true, &small, &e).failed)
            fail_msg("%s: %s", pipelines[k], e.msg);
        if (k != 2)
            assert_true(files_made > 0);
        assert_string_equal(buf_cstr(&small), buf_cstr(&large));
        assert_int_equal(files_open, 0);
        buf_clear(&small);
        if (k != 2) {
            assert_true(run(pipelines[k], buf_cstr(&in), "{}", 40000, false, &small, &e).failed);
            assert_int_equal(e.code, ERR_QUERY_EXCEEDED_MEMORY_LIMIT_NO_DISK_USE_ALLOWED);
        }
        err_reset(&e);
        buf_fini(&small);
        buf_fini(&large);
    }
    buf_fini(&in);
}

/* Stages that build documents refuse to nest them deeper than readers bear. */
static void test_depth(void **state)
{
    static const char *const last[] = {
        "{\"$replaceWith\": %s}",
        "{\"$addFields\": {\"x\": %s}}",
        "{\"$group\": {\"_id\": %s}}",
        "{\"$group\": {\"_id\": 1, \"x\": {\"$push\": %s}}}",
        "{\"$bucketAuto\": {\"groupBy\": \"$a\", \"buckets\": 1, \"output\": {\"x\": {\"$first\": %s}}}}",
    };
    struct buf nest = BUF_INIT;

    (void)state;
    for (int i = 0; i < 70; i++)
        buf_printf(&nest, "{\"a\": ");
    buf_printf(&nest, "\"$$ROOT\"");
    for (int i = 0; i < 70; i++)
        buf_printf(&nest, "}");
    for (size_t k = 0; k < sizeof(last) / sizeof(last[0]); k++) {
        struct arena *a = arena_new(0);
        struct buf got = BUF_INIT;
        struct err e = { 0 };
        const char *at = strchr(last[k], '%'), *n = buf_cstr(&nest);
        const char *p = arena_printf(a, "[{\"$replaceWith\": %s}, %.*s%s%s]", n,
                                     (int)(at - last[k]), last[k], n, at + 2);
        const char *deep = arena_printf(a, "[{\"$replaceWith\": %s}, %s", n, p + 1);

        if (run(p, "[{}]", "{}", 0, true, &got, &e).failed)
            fail_msg("%s: %s", last[k], e.msg);
        if (!run(deep, "[{}]", "{}", 0, true, &got, &e).failed || e.code != ERR_OVERFLOW)
            fail_msg("%s: want a refusal, got %d", last[k], (int)e.code);
        err_reset(&e);
        buf_fini(&got);
        arena_free(a);
    }
    buf_fini(&nest);
}

static void test_leading(void **state)
{
    struct arena *a = arena_new(0);
    struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };
    struct err e = { 0 };
    struct bdoc d;
    struct pipeline *p;
    struct pipeline_lead lead;
    struct buf b = BUF_INIT;

    (void)state;
    assert_false(
        bdoc_from_json(
            a,
            "{\"p\": [{\"$match\": {\"a\": 1}}, {\"$match\": {\"b\": 2}}, {\"$sort\": {\"c\": 1}}, {\"$skip\": 2}, {\"$limit\": 3}]}",
            &d, &e)
            .failed);
    assert_false(pipeline_parse(&q, bval_doc(bdoc_get(d, "p")), 0, NULL, &p, &e).failed);
    pipeline_leading(p, &lead);
    bval_to_json(bval_of_doc(lead.filter, BT_DOCUMENT), &b);
    assert_non_null(strstr(buf_cstr(&b), "$and"));
    assert_int_equal(lead.n_filter_stages, 2);
    assert_int_equal(lead.n_sort_stages, 1);
    assert_int_equal(lead.limit, 5);
    buf_fini(&b);
    arena_free(a);
}

/* Input pipelines that all start with a $match need no more of the scan than one of them takes. */
static void test_leading_of_fusion(void **state)
{
    static const struct {
        const char *pipelines, *filter;
    } cases[] = {
        { "{\"p\": [{\"$match\": {\"a\": 1}}, {\"$sort\": {\"c\": 1}}]}", "{\"a\": 1}" },
        { "{\"p\": [{\"$match\": {\"a\": 1}}, {\"$sort\": {\"c\": 1}}], \"q\": [{\"$match\": {\"b\": 2}}, {\"$sort\": {\"c\": 1}}]}",
          "{\"$or\": [{\"a\": 1}, {\"b\": 2}]}" },
        { "{\"p\": [{\"$match\": {\"a\": 1}}, {\"$sort\": {\"c\": 1}}], \"q\": [{\"$sort\": {\"c\": 1}}]}",
          "{}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct arena *a = arena_new(0);
        struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };
        struct buf b = BUF_INIT, want = BUF_INIT;
        struct pipeline_lead lead;
        struct err e = { 0 };
        struct pipeline *p;
        struct bdoc d;

        assert_false(
            bdoc_from_json(
                a,
                arena_printf(a, "{\"p\": [{\"$rankFusion\": {\"input\": {\"pipelines\": %s}}}]}",
                             cases[i].pipelines),
                &d, &e)
                .failed);
        assert_false(pipeline_parse(&q, bval_doc(bdoc_get(d, "p")), 0, NULL, &p, &e).failed);
        pipeline_leading(p, &lead);
        assert_int_equal(lead.n_filter_stages, 0);
        bval_to_json(bval_of_doc(lead.filter, BT_DOCUMENT), &b);
        normalise(cases[i].filter, &want);
        assert_string_equal(buf_cstr(&b), buf_cstr(&want));
        buf_fini(&b);
        buf_fini(&want);
        arena_free(a);
    }
}

static void test_update_pipeline(void **state)
{
    struct arena *a = arena_new(0), *s = arena_new(0);
    struct qctx q = { .arena = a, .scratch = s, .let = BDOC_EMPTY };
    struct err e = { 0 };
    struct bdoc d, doc, out;
    struct buf b = BUF_INIT;
    void *p;

    (void)state;
    assert_false(
        bdoc_from_json(
            a,
            "{\"p\": [{\"$set\": {\"n\": {\"$add\": [\"$n\", \"$$k\"]}}}, {\"$unset\": \"x\"}], \"c\": {\"k\": 4}, \"bad\": [{\"$group\": {\"_id\": 1}}]}",
            &d, &e)
            .failed);
    assert_false(bdoc_from_json(a, "{\"_id\": 1, \"n\": 1, \"x\": 1}", &doc, &e).failed);
    assert_false(
        pipeline_update_parse(&q, bval_doc(bdoc_get(d, "p")), bdoc_get(d, "c"), &p, &e).failed);
    assert_false(pipeline_update_apply(p, &q, doc, &out, &e).failed);
    assert_int_equal(bval_i32(bdoc_get(out, "n")), 5);
    assert_true(bval_is_missing(bdoc_get(out, "x")));
    assert_true(
        pipeline_update_parse(&q, bval_doc(bdoc_get(d, "bad")), BVAL_MISSING, &p, &e).failed);
    assert_int_equal(e.code, ERR_INVALID_OPTIONS);
    buf_fini(&b);
    arena_free(s);
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_stage_table_is_sorted),
        cmocka_unit_test(test_spill),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_leading),
        cmocka_unit_test(test_update_pipeline),
        cmocka_unit_test(test_leading_of_fusion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
