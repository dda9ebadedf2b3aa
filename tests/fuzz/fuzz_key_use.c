/* fuzz: links admin crypto bsonx */
/* fuzz_key_use - lines of an audit log as a hostile one would write them: what is summed up stays within its bounds, and does not depend on whether
 * the lines come at once. */
#include <stdlib.h>
#include <string.h>

#include "admin/key_use.h"
#include "base/mem.h"
#include "bsonx/bval.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void sums(struct slice lines, bool one_by_one, struct buf *text)
{
    struct key_use *u = key_use_new("main", "k", "2026-11-24T18:00:00.000Z");
    struct buf space = BUF_INIT;
    struct bw w;

    while (one_by_one && lines.len > 0) {
        const uint8_t *end = memchr(lines.p, '\n', lines.len);
        size_t len = end ? (size_t)(end - lines.p) + 1 : lines.len;
        key_use_add(u, SLICE(lines.p, len));
        lines = SLICE(lines.p + len, lines.len - len);
    }
    key_use_add(u, lines);
    bw_init(&w, &space);
    key_use_write(u, &w);
    struct bdoc d = bw_finish(&w);
    check(d.len < 2 * KEY_USE_ROWS * (4 * KEY_USE_TEXT + 256) + 4096);
    bval_to_json(bval_of_doc(d, BT_DOCUMENT), text);
    buf_fini(&space);
    key_use_free(u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf whole = BUF_INIT, pieces = BUF_INIT;

    sums(SLICE(data, len), false, &whole);
    sums(SLICE(data, len), true, &pieces);
    check(slice_eq(buf_view(&whole), buf_view(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
    return 0;
}
