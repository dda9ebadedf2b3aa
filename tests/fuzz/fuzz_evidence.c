/* fuzz: links admin crypto bsonx */
/* fuzz_evidence - a report as a hostile one would write it: what verifies must be what the key of this target signed; and public keys. The first
 * byte says what is done: 0, the rest is a whole text; 1, the rest is signed first and then holds; 2, it is a public key. */
#include <stdlib.h>
#include <string.h>

#include "admin/evidence.h"
#include "base/mem.h"
#include "crypto/secret.h"

static struct secret *key;
static uint8_t trusted[EVIDENCE_KEY_LEN];

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void prepare(void)
{
    struct buf pem = BUF_INIT;
    struct err e = { 0 };
    uint8_t seed[32];

    memset(seed, 7, sizeof(seed));
    check(!secret_arena_init(65536, &e).failed);
    check(!secret_from(seed, sizeof(seed), &key, &e).failed);
    check(!evidence_public(key, &pem, &e).failed);
    check(!evidence_read_public(buf_view(&pem), trusted, &e).failed);
    buf_fini(&pem);
}

static void round_trip(struct slice in)
{
    struct buf text = BUF_INIT;
    struct err e = { 0 };
    struct slice body;

    buf_push(&text, in.p, in.len);
    buf_push_u8(&text, '\n');
    check(!evidence_sign(key, &text, &e).failed);
    check(!evidence_verify(buf_view(&text), trusted, &body, &e).failed);
    check(body.len == in.len + 1);
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = { 0 };
    struct slice body;
    uint8_t out[EVIDENCE_KEY_LEN];

    if (!key)
        prepare();
    if (!size)
        return 0;
    struct slice in = SLICE(data + 1, size - 1);
    if (data[0] == 1)
        round_trip(in);
    else if (data[0] == 2)
        (void)evidence_read_public(in, out, &e).failed;
    else if (!evidence_verify(in, trusted, &body, &e).failed)
        check(body.p == in.p && body.len < in.len);
    err_reset(&e);
    return 0;
}
