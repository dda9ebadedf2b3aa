/* fuzz: links identity crypto bsonx */
/* Two messages of a SCRAM client, the second after the first newline: refused, or answered without a proof ever fitting. */
#include <stdlib.h>

#include "base/arena.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "identity/identity.h"
#include "identity/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct identity *identity;

static void prepare(void)
{
    struct identity_config c = { .auth = true };
    struct err e = { 0 };

    if (secret_arena_init(1 << 18, &e).failed || crypto_init(&e).failed)
        abort();
    identity = identity_new(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nl = size ? memchr(data, '\n', size) : NULL;
    struct slice first = SLICE(data, nl ? (size_t)(nl - data) : size);
    struct slice second = nl ? SLICE(nl + 1, size - (size_t)(nl + 1 - data)) : SLICE_EMPTY;
    struct arena *a = arena_new(0);
    struct buf reply = BUF_INIT;
    struct scram *s = NULL;
    struct err e = { 0 };
    bool done = false;

    if (!identity)
        prepare();
    if (!scram_begin_with_nonce(identity, SLICE_LIT("admin"), first, true,
                                SLICE_LIT("servernonceservernonce++"), a, &s, &reply, &e)
             .failed &&
        !scram_continue(s, second, &reply, &done, &e).failed)
        abort(); /* there is no user */
    if (done)
        abort();
    scram_free(s);
    err_reset(&e);
    buf_fini(&reply);
    arena_free(a);
    return 0;
}
