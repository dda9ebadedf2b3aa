/* vault_material.c - a version's key: made, taken in, sealed for its place. The private half is in the clear only in a struct secret,
 * for as long as one call. */
#include <ctype.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "vault_priv.h"

unsigned vault__ops_of(enum key_type type)
{
    return type == KEY_EC ? OP_EC_ALL : OP_RSA_ALL;
}

void vault__key_context(struct buf *out, const char *vault, const char *key, const char *version)
{
    /* Lower case, since names are compared without case; NUL cannot occur in any of the three. */
    const char *parts[] = { vault, key, version };

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        for (const char *p = parts[i]; *p; p++)
            buf_push_u8(out, (uint8_t)tolower((unsigned char)*p));
        buf_push_u8(out, 0);
    }
}

RC vault__public_of(enum key_type type, const struct secret *der, struct key_public *out,
                    struct err *e)
{
    memset(out, 0, sizeof *out);
    out->type = type;
    return type == KEY_EC ? ec_public_of(der, &out->ec, e) : rsa_public_of(der, &out->rsa, e);
}

/* The rest of a version whose public half is known. */
static RC seal_version(struct vault_service *s, const char *vault, const char *key,
                       const struct secret *der, struct key_version *v, struct err *e)
{
    AUTO(buf_fini) struct buf context = BUF_INIT;

    TRY(vault__random_hex(v->id, VERSION_LEN, e));
    vault__key_context(&context, vault, key, v->id);
    TRY(vault__seal_key(s, buf_view(&context), der, &v->sealed, e));
    v->enabled = true;
    v->created = v->updated = clock_real_s();
    v->ops = vault__ops_of(v->pub.type);
    return RC_OK;
}

RC vault__version_of(struct vault_service *s, const char *vault, const char *key,
                     const struct key_public *pub, const struct secret *der,
                     struct key_version **out, struct err *e)
{
    struct key_version *v = NEW(struct key_version);

    *out = NULL;
    v->pub = *pub;
    if (seal_version(s, vault, key, der, v, e).failed) {
        vault__version_free(v);
        return RC_FAILED;
    }
    *out = v;
    return RC_OK;
}

RC vault__make_version(struct vault_service *s, const char *vault, const char *key,
                       const struct key_spec *spec, struct key_version **out, struct err *e)
{
    AUTO(secret_freep) struct secret *der = NULL;
    struct key_public pub;

    *out = NULL;
    if (spec->type == KEY_EC)
        TRY(ec_generate(spec->curve, &der, e));
    else
        TRY(rsa_generate(spec->bits, &der, e));
    TRY(vault__public_of(spec->type, der, &pub, e));
    return vault__version_of(s, vault, key, &pub, der, out, e);
}

struct key_spec vault__spec_like(const struct key_public *pub)
{
    if (pub->type == KEY_EC)
        return (struct key_spec){ .type = KEY_EC, .curve = pub->ec.curve };
    return (struct key_spec){ .type = KEY_RSA, .bits = rsa_bits(&pub->rsa) };
}

int vault__key_bits(const struct key_public *pub)
{
    static const int curve_bits[EC_CURVE_NR] = {
        [EC_P256] = 256, [EC_P384] = 384, [EC_P521] = 521, [EC_P256K] = 256
    };

    return pub->type == KEY_EC ? curve_bits[pub->ec.curve] : rsa_bits(&pub->rsa);
}

RC vault__open_version(struct vault_service *s, const char *vault, const char *key,
                       const char *version, struct slice sealed, struct secret **out, struct err *e)
{
    AUTO(buf_fini) struct buf context = BUF_INIT;

    vault__key_context(&context, vault, key, version);
    return vault__unseal_key(s, buf_view(&context), sealed, out, e);
}
