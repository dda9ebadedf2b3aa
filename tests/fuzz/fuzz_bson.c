/* fuzz: links bsonx */
/* Any bytes: validation refuses them or leaves a document that every reader walks safely. */
#include <stdlib.h>

#include "base/mem.h"
#include "bsonx/bw.h"
#include "bsonx/dec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct bdoc d)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it)) {
        int64_t whole;

        if (bval_cmp(it.val, it.val) != 0)
            abort();
        if (bval_is_number(it.val) && bval_to_i64(it.val, &whole))
            (void)bval_to_double(it.val);
        if (it.val.type == BT_DOCUMENT || it.val.type == BT_ARRAY)
            walk(bval_doc(it.val));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(buf_fini) struct buf text = BUF_INIT, again = BUF_INIT;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct err e = { 0 };
    struct bdoc d, back;
    struct dec128 dec;

    char number[DEC_STR_MAX];

    if (dec_from_str(SLICE(data, size), &dec, NULL))
        dec_to_str(dec, number);
    if (bdoc_validate(data, size, 100, &d, &e).failed) {
        char *json = mem_strndup((const char *)data, size);

        err_reset(&e);
        (void)bdoc_from_json(a, json, &d, &e).failed;
        mem_free(json);
        return 0;
    }
    walk(d);
    struct bval v = bval_of_doc(d, BT_DOCUMENT);

    if (bval_hash(v) != bval_hash(bval_dup(a, v)))
        abort();
    bval_to_json(v, &text);
    if (!bdoc_from_json(a, buf_cstr(&text), &back, &e)
             .failed) /* names such as "$oid" may not read back */
        bval_to_json(bval_of_doc(back, BT_DOCUMENT), &again);
    return 0;
}
