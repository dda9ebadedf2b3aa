/* fuzz: links bsonx query_expr query_match query_update */
/* Three documents: {u: update, f: arrayFilters}, a filter, a document. What comes out is valid BSON with the same _id, and applying an update that
 * changed nothing once more changes nothing. */
#include <stdlib.h>

#include "bsonx/bw.h"
#include "query/update.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET = 256 << 20 };

static void check(struct bdoc d)
{
    struct err e = { 0 };
    struct bdoc out;

    if (bdoc_validate(d.p, d.len, 500, &out, &e).failed || out.len != d.len)
        abort();
}

static void update(struct qctx *q, struct bdoc spec, struct bdoc filter, struct bdoc doc)
{
    struct update_spec us = { .u = bdoc_get(spec, "u"), .array_filters = bdoc_get(spec, "f") };
    struct match_hit hit = { 0 };
    struct err e = { 0 };
    struct update *u;
    struct match *m;
    struct bdoc out, again;
    bool matched, changed;

    if (us.u.type != BT_DOCUMENT || update_parse(q, &us, &u, &e).failed ||
        match_parse(q, filter, 0, &m, &e).failed)
        return;
    if (!update_upsert(u, q, m, &out, &e).failed)
        check(out);
    err_reset(&e);
    if (match_eval(m, q, doc, &hit, &matched, &e).failed ||
        update_apply(u, q, doc, &hit, &out, &changed, &e).failed)
        return;
    check(out);
    struct bval id = bdoc_get(doc, "_id");

    if (!bval_is_missing(id) && !bval_eq(id, bdoc_get(out, "_id")))
        abort();
    if (!changed && (update_apply(u, q, out, &hit, &again, &changed, &e).failed || changed))
        abort();
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
    struct qctx q = { .arena = arena_new(BUDGET),
                      .scratch = arena_new(BUDGET),
                      .let = BDOC_EMPTY,
                      .now_ms = 1700000000000 };
    struct bdoc d[3];

    if (read_all(q.arena, data, size, d, 3))
        update(&q, d[0], d[1], d[2]);
    arena_free(q.arena);
    arena_free(q.scratch);
    return 0;
}
