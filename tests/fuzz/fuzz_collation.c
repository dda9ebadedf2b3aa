/* fuzz: links bsonx query_collate */
/* Documents, one behind the other: a collation, then values. It is refused, or completing it again changes nothing, and comparison, keys and
 * hashes of the values agree. */
#include <stdlib.h>

#include "base/mem.h"
#include "fuzz_docs.h"
#include "query/collate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DOCS_MAX = 4 };

static void check(const struct collator *c, struct bval a, struct bval b)
{
    AUTO(buf_fini) struct buf x = BUF_INIT, y = BUF_INIT;
    int order = bval_cmp_in(c, a, b);

    if (order != -bval_cmp_in(c, b, a))
        abort();
    if (order == 0 && bval_hash_in(c, a) != bval_hash_in(c, b))
        abort();
    if (a.type != BT_STRING || b.type != BT_STRING)
        return;
    c->key(c, bval_str(a), &x);
    c->key(c, bval_str(b), &y);
    int by_key = slice_cmp(buf_view(&x), buf_view(&y));
    if ((by_key > 0) - (by_key < 0) != order)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    const struct collator *c;
    struct bdoc d[DOCS_MAX], spec, again;
    struct err e = { 0 };
    struct biter i, j;
    int n = fuzz_docs(a, data, size, d, DOCS_MAX);

    if (n == 0)
        return 0;
    if (collation_complete(a, bval_of_doc(d[0], BT_DOCUMENT), &spec, &e).failed) {
        err_reset(&e);
        return 0;
    }
    if (bdoc_is_empty(spec))
        return 0;
    if (collation_complete(a, bval_of_doc(spec, BT_DOCUMENT), &again, &e).failed ||
        bval_cmp(bval_of_doc(spec, BT_DOCUMENT), bval_of_doc(again, BT_DOCUMENT)) != 0 ||
        collation_in(a, spec, &c, &e).failed)
        abort();
    for (int k = 1; k < n; k++) {
        biter_init(&i, d[k]);
        for (int p = 0; p < 16 && biter_next(&i); p++) {
            biter_init(&j, d[k]);
            for (int r = 0; r < 16 && biter_next(&j); r++)
                check(c, i.val, j.val);
        }
    }
    return 0;
}
