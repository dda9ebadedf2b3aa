/* fuzz: links wire bsonx */
/* Any bytes as one message: refused, or parsed to documents that can be walked and answered in kind. */
#include <stdlib.h>

#include "base/arena.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(struct bdoc d)
{
    struct biter it;
    size_t n = 0;

    biter_init(&it, d);
    while (biter_next(&it))
        n += it.val.len;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_codec *codec;
    struct arena *a = arena_new(0);
    struct err e = { 0 };
    struct wire_msg m;
    size_t need;

    if (!codec)
        codec = wire_codec_new();
    if (wire_frame(SLICE(data, size), WIRE_MAX_MESSAGE, &need, &e).failed || need != size)
        goto out;
    if (!wire_parse(SLICE(data, size), codec, a, &m, &e).failed) {
        struct buf b = BUF_INIT;
        struct wire_msg again;

        walk(m.body);
        for (int i = 0; i < m.n_seqs; i++)
            for (int k = 0; k < m.seqs[i].n_docs; k++)
                walk(m.seqs[i].docs[k]);
        wire_put_msg(&b, 1, 0, m.body);
        if (wire_compress(codec, WIRE_SNAPPY, 0, &b, &e).failed ||
            wire_parse(buf_view(&b), codec, a, &again, &e).failed || again.body.len != m.body.len)
            abort();
        buf_fini(&b);
    }
out:
    err_reset(&e);
    arena_free(a);
    return 0;
}
