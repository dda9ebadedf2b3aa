/* fuzz: links keys vault http kmsg crypto */
/* fuzz_jwt - tokens and keys of other issuers, as a hostile one would write them. The first byte picks the reader. No signature can hold: the
 * key that is asked for belongs to nobody. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void nobodys_key(struct rsa_public *out)
{
    memset(out, 0, sizeof *out);
    out->n_len = 256;
    memset(out->n, 0xa5, out->n_len);
    out->n[255] = 0x01;
    out->e_len = 3;
    memcpy(out->e, "\x01\0\x01", 3);
}

static void read_token(struct slice text)
{
    struct rsa_public key;
    struct jwt t;
    int64_t date;

    if (vault__jwt_read(text, &t)) {
        check(t.header && t.claims && t.alg);
        nobodys_key(&key);
        check(!vault__jwt_holds(&t, &key, "RS256") && !vault__jwt_holds(&t, &key, "PS256"));
        check(!vault__jwt_holds(&t, &key, "HS256") && !vault__jwt_holds(&t, &key, "none"));
        (void)vault__jwt_has_audience(&t, "api://AzureADTokenExchange");
        if (vault__jwt_date(&t, "exp", &date))
            check(date > INT64_MIN / 2 && date < INT64_MAX / 2);
    }
    vault__jwt_fini(&t);
}

static void read_key(struct slice text)
{
    AUTO(kjson_freep) json_t *j = NULL;
    struct err e = { 0 };
    struct rsa_public key;

    if (kjson_load(text, KJSON_DEPTH_MAX, &j, &e).failed)
        return;
    if (vault__jwks_key_read(j, &key))
        check(rsa_bits(&key) >= 2048 && key.n_len <= RSA_BYTES_MAX &&
              key.e_len <= RSA_EXPONENT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'k')
        read_key(SLICE(data + 1, size - 1));
    else
        read_token(SLICE(data + 1, size - 1));
    return 0;
}
