/* fuzz: links bsonx query_expr query_geo */
/* Two documents: {op: operand} and {v: value}. Parsing refuses, or every relation of the two is told, twice alike; what matches is in the cells that the query would read. */
#include <stdlib.h>

#include "fuzz_docs.h"
#include "query/geo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET = 64 << 20 };

static const struct geo_grid grid = { .min = -180, .max = 180 };

/* check_read(): what an index would hold of v is in one of the ranges that the query reads. */
static void check_read(struct qctx *q, struct bval v, const struct geo_range *r, int n_ranges)
{
    struct err e = { 0 };
    int64_t *cells;
    int n;

    if (geo_cells(q, &grid, v, &cells, &n, &e).failed)
        return;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n_ranges; k++) {
            if (cells[i] >= r[k].lo && cells[i] <= r[k].hi)
                return;
        }
    }
    abort();
}

static void near(struct qctx *q, struct bdoc ops, struct bval v)
{
    struct geo_range *r;
    struct geo_near *n;
    struct err e = { 0 };
    double distance;
    bool has;
    int n_ranges;

    if (geo_parse_near(q, ops, &n, &e).failed || geo_distance(q, n, v, &distance, &has, &e).failed)
        return;
    if (has && geo_near_accepts(n, distance) && geo_near_ranges(q, &grid, n, &r, &n_ranges))
        check_read(q, v, r, n_ranges);
}

static void relation(struct qctx *q, enum geo_relation relation, struct bval operand, struct bval v)
{
    struct err e = { 0 };
    struct geo_shape *shape;
    struct geo_range *r;
    bool yes, again;
    int n_ranges;

    if (geo_parse_predicate(q, relation, operand, &shape, &e).failed ||
        geo_test(q, shape, relation, v, &yes, &e).failed)
        return;
    if (geo_test(q, shape, relation, v, &again, &e).failed || yes != again)
        abort();
    if (yes && geo_shape_ranges(q, &grid, shape, &r, &n_ranges))
        check_read(q, v, r, n_ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qctx q = { .arena = arena_new(BUDGET), .scratch = arena_new(BUDGET), .let = BDOC_EMPTY };
    struct bdoc d[2];

    if (fuzz_docs(q.arena, data, size, d, 2) == 2) {
        struct bval v = bdoc_get(d[1], "v"), operand = bdoc_get(d[0], "op");

        near(&q, d[0], v);
        relation(&q, GEO_WITHIN, operand, v);
        relation(&q, GEO_INTERSECTS, operand, v);
    }
    arena_free(q.arena);
    arena_free(q.scratch);
    return 0;
}
