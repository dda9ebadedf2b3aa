/* fuzz: links index query_match query_expr bsonx */
/* A valid document: the encoded order of its values is bval_cmp's, and each comes back as it was. Any bytes as a key: the decoder refuses or reads them, within bounds. */
#include <stdlib.h>

#include "base/mem.h"
#include "bsonx/bw.h"
#include "index/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VALUES_MAX = 16 };

static struct index_def *def_of(int desc)
{
    static struct index_def *defs[2];
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct err e = { 0 };
    struct bw w;

    if (defs[desc])
        return defs[desc];
    bw_init(&w, &b);
    bw_doc_begin(&w, "key");
    bw_i32(&w, "v", desc ? -1 : 1);
    bw_doc_end(&w);
    bw_str(&w, "name", "v");
    if (index_def_new(bw_finish(&w), 1, &defs[desc], &e).failed)
        abort();
    return defs[desc];
}

static void round_trip(struct arena *a, struct bval v, int desc)
{
    AUTO(buf_fini) struct buf key = BUF_INIT, tags = BUF_INIT;
    struct bval back[INDEX_FIELDS_MAX];
    struct slice rest;
    struct err e = { 0 };

    index_encode(NULL, &key, &tags, v, desc);
    if (index_decode(def_of(desc), buf_view(&key), buf_view(&tags), a, back, &rest, &e).failed ||
        rest.len)
        abort();
    if (bval_cmp(v, back[0]) != 0 || v.type != back[0].type)
        abort();
}

static void compare(struct bval x, struct bval y)
{
    AUTO(buf_fini) struct buf a = BUF_INIT, b = BUF_INIT;

    index_encode(NULL, &a, NULL, x, false);
    index_encode(NULL, &b, NULL, y, false);
    int c = slice_cmp(buf_view(&a), buf_view(&b)), want = bval_cmp(x, y);
    if ((c > 0) - (c < 0) != (want > 0) - (want < 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bval v[VALUES_MAX], out[INDEX_FIELDS_MAX];
    struct err e = { 0 };
    struct slice rest;
    struct bdoc d;
    int n = 0;

    for (int desc = 0; desc < 2; desc++) { /* the first half as a key, the second as its tags */
        (void)!index_decode(def_of(desc), SLICE(data, size / 2),
                            SLICE(data + size / 2, size - size / 2), a, out, &rest, &e)
            .failed;
        err_reset(&e);
    }
    if (bdoc_validate(data, size, QUERY_DEPTH_MAX - 20, &d, &e).failed) {
        err_reset(&e);
        return 0;
    }
    struct biter it;
    biter_init(&it, d);
    while (n < VALUES_MAX && biter_next(&it))
        v[n++] = it.val;
    for (int i = 0; i < n; i++) {
        round_trip(a, v[i], 0);
        round_trip(a, v[i], 1);
        for (int j = 0; j < n; j++)
            compare(v[i], v[j]);
    }
    return 0;
}
