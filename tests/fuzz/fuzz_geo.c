/* fuzz: links bsonx query_expr query_geo */
/* Two documents: {op: operand} and {v: value}. Parsing refuses, or every relation of the two is told, twice alike. */
#include <stdlib.h>

#include "fuzz_docs.h"
#include "query/geo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET = 64 << 20 };

/* within(): some cell is in some range. */
static bool within(const int64_t *cells, int n, const struct geo_range *r, int n_ranges)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n_ranges; k++) {
            if (cells[i] >= r[k].lo && cells[i] <= r[k].hi)
                return true;
        }
    }
    return false;
}

/* near(): what is near enough is in the cells that the query would read. */
static void near(struct qctx *q, struct bdoc ops, struct bval v)
{
    static const struct geo_grid grid = { .min = -180, .max = 180 };
    struct geo_range *r;
    struct geo_near *n;
    struct err e = { 0 };
    int64_t *cells;
    double distance;
    bool has;
    int n_cells, n_ranges;

    if (geo_parse_near(q, ops, &n, &e).failed ||
        geo_cells(q, &grid, v, &cells, &n_cells, &e).failed ||
        geo_distance(q, n, v, &distance, &has, &e).failed)
        return;
    if (has && geo_near_accepts(n, distance) && geo_near_ranges(q, &grid, n, &r, &n_ranges) &&
        !within(cells, n_cells, r, n_ranges))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qctx q = { .arena = arena_new(BUDGET), .scratch = arena_new(BUDGET), .let = BDOC_EMPTY };
    struct bdoc d[2];

    if (fuzz_docs(q.arena, data, size, d, 2) == 2) {
        near(&q, d[0], bdoc_get(d[1], "v"));
        for (int i = GEO_WITHIN; i <= GEO_INTERSECTS; i++) {
            struct err e = { 0 };
            struct geo_shape *shape;
            bool yes, again;
            struct bval v = bdoc_get(d[1], "v");

            if (geo_parse_predicate(&q, (enum geo_relation)i, bdoc_get(d[0], "op"), &shape, &e)
                    .failed)
                continue;
            if (geo_test(&q, shape, (enum geo_relation)i, v, &yes, &e).failed)
                continue;
            if (geo_test(&q, shape, (enum geo_relation)i, v, &again, &e).failed || yes != again)
                abort();
        }
    }
    arena_free(q.arena);
    arena_free(q.scratch);
    return 0;
}
