/* vault_jwk.c - keys as JSON (RFC 7517, RFC 7518 6): the public half written, a private key that a client brings read. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "crypto/secret.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

static void set_number(json_t *o, const char *member, const void *p, size_t len)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    base64url_encode(SLICE(p, len), &text);
    json_object_set_new(o, member, json_stringn((const char *)text.p, text.len));
}

void vault__jwk_write(const struct key_public *k, json_t *o)
{
    if (k->type == KEY_EC) {
        json_object_set_new(o, "kty", json_string("EC"));
        json_object_set_new(o, "crv", json_string(ec_curve_name(k->ec.curve)));
        set_number(o, "x", k->ec.x, k->ec.len);
        set_number(o, "y", k->ec.y, k->ec.len);
    } else {
        json_object_set_new(o, "kty", json_string("RSA"));
        set_number(o, "n", k->rsa.n, k->rsa.n_len);
        set_number(o, "e", k->rsa.e, k->rsa.e_len);
    }
}

bool vault__base64url(const char *text, struct buf *out)
{
    struct slice raw = slice_str(text);

    while (raw.len > 0 && raw.p[raw.len - 1] == '=') /* some clients pad */
        raw.len--;
    buf_reserve(out, raw.len + 1); /* growing would leave copies behind */
    return raw.len > 0 && base64url_decode(raw, out);
}

/* ---- reading ---- */

static RC missing(const char *member, struct err *e)
{
    FAIL(e, ERR_BAD_VALUE, "The member %s of the key is missing or is not base64url.", member);
}

/* A number without the zeros before it. */
static RC get_public(const json_t *jwk, const char *member, uint8_t *out, size_t max, uint32_t *len,
                     struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    const char *text = kjson_str(jwk, member);
    size_t zeros = 0;

    if (!text || !vault__base64url(text, &b))
        return missing(member, e);
    while (zeros < b.len && b.p[zeros] == 0)
        zeros++;
    if (b.len - zeros > max || b.len == zeros)
        FAIL(e, ERR_BAD_VALUE, "The member %s of the key is too long or zero.", member);
    memcpy(out, b.p + zeros, b.len - zeros);
    *len = (uint32_t)(b.len - zeros);
    return RC_OK;
}

static RC get_private(const json_t *jwk, const char *member, size_t max, struct secret **out,
                      struct err *e)
{
    AUTO(buf_wipe) struct buf b = BUF_INIT;
    const char *text = kjson_str(jwk, member);

    if (!text || !vault__base64url(text, &b))
        return missing(member, e);
    if (b.len > max)
        FAIL(e, ERR_BAD_VALUE, "The member %s of the key is too long.", member);
    return secret_from(b.p, b.len, out, e);
}

static RC read_rsa(const json_t *jwk, struct key_public *pub, struct secret **der, struct err *e)
{
    static const char *const names[RSA_NUMBER_NR] = {
        [RSA_D] = "d",   [RSA_P] = "p",   [RSA_Q] = "q",
        [RSA_DP] = "dp", [RSA_DQ] = "dq", [RSA_QI] = "qi",
    };
    struct secret *numbers[RSA_NUMBER_NR] = { NULL };
    const struct secret *views[RSA_NUMBER_NR];
    rc_t rc = get_public(jwk, "n", pub->rsa.n, RSA_BYTES_MAX, &pub->rsa.n_len, e);

    if (!rc.failed)
        rc = get_public(jwk, "e", pub->rsa.e, RSA_EXPONENT_MAX, &pub->rsa.e_len, e);
    for (int i = 0; i < RSA_NUMBER_NR && !rc.failed; i++) {
        rc = get_private(jwk, names[i], RSA_BYTES_MAX + 1, &numbers[i], e);
        views[i] = numbers[i];
    }
    if (!rc.failed)
        rc = rsa_private(&pub->rsa, views, der, e);
    for (int i = 0; i < RSA_NUMBER_NR; i++)
        secret_free(numbers[i]);
    return rc;
}

/* RFC 7518 6.2.1.2: a coordinate has the length of its field. Those that are shorter are zeros left out. */
static RC get_coordinate(const json_t *jwk, const char *member, uint32_t want, uint8_t *out,
                         struct err *e)
{
    uint8_t raw[EC_BYTES_MAX];
    uint32_t len;

    TRY(get_public(jwk, member, raw, want, &len, e));
    memcpy(out + (want - len), raw, len);
    return RC_OK;
}

static RC read_ec(const json_t *jwk, struct key_public *pub, struct secret **der, struct err *e)
{
    AUTO(secret_freep) struct secret *d = NULL;
    const char *crv = kjson_str(jwk, "crv");

    if (!crv || !ec_curve_named(crv, &pub->ec.curve))
        FAIL(e, ERR_BAD_VALUE, "The member crv of the key is P-256, P-384, P-521 or P-256K.");
    pub->ec.len = ec_coordinate_len(pub->ec.curve);
    TRY(get_coordinate(jwk, "x", pub->ec.len, pub->ec.x, e));
    TRY(get_coordinate(jwk, "y", pub->ec.len, pub->ec.y, e));
    TRY(get_private(jwk, "d", pub->ec.len + 1, &d, e));
    return ec_private(&pub->ec, d, der, e);
}

RC vault__jwk_read(const json_t *jwk, struct key_public *pub, struct secret **der, struct err *e)
{
    const char *kty = kjson_str(jwk, "kty");

    memset(pub, 0, sizeof *pub);
    *der = NULL;
    if (!kty)
        FAIL(e, ERR_BAD_VALUE, "The member kty of the key is missing.");
    TRY(vault__key_type(kty, &pub->type, e));
    return pub->type == KEY_EC ? read_ec(jwk, pub, der, e) : read_rsa(jwk, pub, der, e);
}

RC vault__key_type(const char *kty, enum key_type *out, struct err *e)
{
    *out = KEY_RSA;
    if (strcmp(kty, "RSA-HSM") == 0 || strcmp(kty, "EC-HSM") == 0 || strcmp(kty, "oct-HSM") == 0)
        FAIL(e, ERR_BAD_VALUE, "This vault holds no keys protected by hardware.");
    if (strcmp(kty, "EC") == 0)
        *out = KEY_EC;
    else if (strcmp(kty, "RSA") != 0)
        FAIL(e, ERR_BAD_VALUE, "The type of a key is RSA or EC.");
    return RC_OK;
}
