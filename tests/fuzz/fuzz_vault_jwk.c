/* fuzz: links vault kmsg crypto http keys */
/* fuzz_vault_jwk - private keys as JSON, as a client would bring them. What is taken in must be a key whose public half is the one that
 * came with it. */
#include <stdlib.h>

#include "fuzz_keys.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(kjson_freep) json_t *jwk = NULL;
    AUTO(secret_freep) struct secret *der = NULL;
    struct key_public pub, back;
    struct err e = { 0 };

    if (size > 16384 || kjson_load(SLICE(data, size), KJSON_DEPTH_MAX, &jwk, &e).failed)
        return 0;
    if (vault__jwk_read(jwk, &pub, &der, &e).failed) {
        if (der || e.code != ERR_BAD_VALUE)
            abort();
        return 0;
    }
    if (vault__public_of(pub.type, der, &back, &e).failed)
        abort();
    AUTO(kjson_freep) json_t *told = json_object();
    AUTO(kjson_freep) json_t *held = json_object();
    vault__jwk_write(&pub, told);
    vault__jwk_write(&back, held);
    if (!json_equal(told, held))
        abort();
    return 0;
}
