/* fuzz: links bsonx query_expr query_geo */
/* Two documents: {op: operand} and {v: value}. Parsing refuses, or every relation of the two is told, twice alike. */
#include <stdlib.h>

#include "fuzz_docs.h"
#include "query/geo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qctx q = { .arena = arena_new(BUDGET), .scratch = arena_new(BUDGET), .let = BDOC_EMPTY };
    struct bdoc d[2];

    if (fuzz_docs(q.arena, data, size, d, 2) == 2) {
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
