/* fuzz: links vault kms http kmsg keys crypto */
/* The vault's wrapped root key, as read from a disk that anyone may have written to: as it is, or with a checksum that fits. What is taken for well formed
 * has fields within their limits and fills the file; nothing but what the root key's holder wrote passes the check. */
#include <stdlib.h>
#include <string.h>

#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/provider.h"
#include "vault_priv.h"

enum { HEADER_LEN = 48, SUM_LEN = 16, END_LEN = SUM_LEN + 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct secret *root;
static struct buf good;

static void make(void)
{
    struct wrapped_key w = { .version = "01", .alg = "AES-KW", .len = 40 };
    struct err e = { 0 };

    INVARIANT(!secret_arena_init(1 << 18, &e).failed && !crypto_init(&e).failed);
    INVARIANT(!secret_random(32, &root, &e).failed);
    INVARIANT(!vault__wrapped_encode(root, &w, &good, &e).failed);
    INVARIANT(!vault__wrapped_decode(buf_view(&good), &w, &e).failed);
    INVARIANT(!vault__wrapped_check(buf_view(&good), root, &e).failed);
}

static void one(struct slice file)
{
    struct wrapped_key w;
    struct err e = { 0 };

    if (vault__wrapped_decode(file, &w, &e).failed) {
        INVARIANT(e.code == ERR_CORRUPT || e.code == ERR_UNKNOWN_FORMAT);
        INVARIANT(w.len == 0 && !*w.version && !*w.alg);
        return;
    }
    size_t v = strlen(w.version), a = strlen(w.alg);
    INVARIANT(v > 0 && a > 0 && w.len > 0 && w.len <= WRAP_MAX);
    INVARIANT(file.len == HEADER_LEN + v + a + w.len + END_LEN);
    INVARIANT(memcmp(file.p + HEADER_LEN, w.version, v) == 0);
    INVARIANT(memcmp(file.p + HEADER_LEN + v + a, w.bytes, w.len) == 0);
    bool ours = file.len == good.len && memcmp(file.p, good.p, good.len) == 0;
    INVARIANT(vault__wrapped_check(file, root, &e).failed == !ours);
}

static void with_a_sum_that_fits(struct slice in)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    uint8_t sum[32];
    struct err e = { 0 };

    buf_push(&b, in.p, in.len);
    if (b.len < HEADER_LEN + END_LEN)
        return;
    struct slice body = SLICE(b.p, b.len - END_LEN);
    INVARIANT(!sha256(&body, 1, sum, &e).failed);
    memcpy(b.p + b.len - END_LEN, sum, SUM_LEN);
    one(buf_view(&b));
}

/* Pairs of a place and what is flipped there. */
static void changed(struct slice in)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    buf_push(&b, good.p, good.len);
    for (size_t i = 0; i + 1 < in.len; i += 2)
        b.p[in.p[i] % b.len] ^= in.p[i + 1];
    one(buf_view(&b));
    with_a_sum_that_fits(buf_view(&b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!root)
        make();
    if (size == 0)
        return 0;
    struct slice in = SLICE(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0: one(in); break;
    case 1: with_a_sum_that_fits(in); break;
    default: changed(in); break;
    }
    return 0;
}
