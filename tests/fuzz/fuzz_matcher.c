/* fuzz: links bsonx query_expr query_match query_project */
/* Two documents, one behind the other: a filter (also tried as a projection) and a document. Parsing refuses, or evaluation ends; the filter's text
 * parses again and selects alike. */
#include <stdlib.h>

#include "bsonx/bw.h"
#include "query/project.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET = 64 << 20 };

static void ignore(struct slice path, void *arg)
{
    (void)path;
    (void)arg;
}

static RC note(struct slice path, struct bval v, void *arg, struct err *e)
{
    (void)path;
    (void)v;
    (void)arg;
    (void)e;
    return RC_OK;
}

static void project(struct qctx *q, struct bdoc spec, struct bdoc doc, const struct match *m,
                    const struct match_hit *hit)
{
    for (int kind = PROJECT_FIND; kind <= PROJECT_UNSET; kind++) {
        struct err e = { 0 };
        struct project *p;
        struct bdoc out, check;
        bool whole = false;

        if (project_parse(q, (enum project_kind)kind, spec, m, &p, &e).failed)
            continue;
        project_deps(p, ignore, NULL, &whole);
        if (!project_apply(p, q, doc, hit, &out, &e).failed &&
            bdoc_validate(out.p, out.len, 500, &check, &e).failed)
            abort();
    }
}

static void match(struct qctx *q, struct bdoc filter, struct bdoc doc)
{
    struct match_hit hit = { 0 };
    struct err e = { 0 };
    struct match *m, *again;
    bool got, got_again;

    if (match_parse(q, filter, 0, &m, &e).failed) {
        project(q, filter, doc, NULL, NULL);
        return;
    }
    (void)match_equalities(m, note, NULL, &e).failed;
    if (!match_implies(q, m, m) && m->root->n_children == 0)
        abort();
    err_reset(&e);
    struct bdoc text = match_to_bson(m, q->arena);

    if (match_eval(m, q, doc, &hit, &got, &e).failed)
        return;
    if (match_parse(q, text, 0, &again, &e).failed) {
        if (e.code != ERR_BAD_VALUE) /* its text may nest deeper than the filter */
            abort();
    } else if (!match_eval(again, q, doc, NULL, &got_again, &e).failed && got != got_again &&
               !strstr((const char *)filter.p, "$rand")) {
        abort();
    }
    project(q, filter, doc, m, &hit);
}

/* read_all(): n documents, as BSON one behind the other, or as Extended JSON on a line each. */
static bool read_all(struct arena *a, const uint8_t *data, size_t size, struct bdoc *d, int n)
{
    bool text = size > 0 && (data[0] == '{' || data[0] == '[') && memchr(data, '\n', size);
    const uint8_t *end = data + size;

    for (int i = 0; i < n; i++) {
        const uint8_t *stop = text ? memchr(data, '\n', (size_t)(end - data)) : NULL;
        struct err e = { 0 };

        if (text) {
            if (!stop)
                stop = end;
            const char *line = arena_strndup(a, (const char *)data, (size_t)(stop - data));

            if (bdoc_from_json(a, line, &d[i], &e).failed ||
                bdoc_validate(d[i].p, d[i].len, 100, &d[i], &e).failed)
                return false;
            data = stop < end ? stop + 1 : end;
        } else {
            if (bdoc_validate(data, (size_t)(end - data), 100, &d[i], &e).failed)
                return false;
            data += d[i].len;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qctx q = { .arena = arena_new(BUDGET), .scratch = arena_new(BUDGET), .let = BDOC_EMPTY };
    struct bdoc d[2];

    if (read_all(q.arena, data, size, d, 2))
        match(&q, d[0], d[1]);
    arena_free(q.arena);
    arena_free(q.scratch);
    return 0;
}
