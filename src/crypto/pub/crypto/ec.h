/* ec.h - elliptic curve keys: made, used, described. ECDSA (FIPS 186-5) on P-256, P-384, P-521 and secp256k1. The private key is DER
 * (RFC 5915, the curve by name) in a struct secret and is parsed for one operation at a time.
 *
 * Signatures  are the two numbers r and s, big-endian, each as long as the curve's order (RFC 7518 3.4), over a digest that the caller
 *             computed: of 32, 48, 64 and 32 bytes.
 * Heap        as in crypto/rsa.h.
 * Threads     [any]
 */
#ifndef CRYPTO_EC_H
#define CRYPTO_EC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct secret;

enum ec_curve { EC_P256, EC_P384, EC_P521, EC_P256K, EC_CURVE_NR };
enum { EC_BYTES_MAX = 66 };

struct ec_public {
    enum ec_curve curve;
    uint32_t len;            /* of a coordinate: ec_coordinate_len(curve) */
    uint8_t x[EC_BYTES_MAX]; /* big-endian, with leading zeros */
    uint8_t y[EC_BYTES_MAX];
};

/* ec_curve_named(): "P-256", "P-384", "P-521", "P-256K" (RFC 7518 6.2.1.1, and what the key service calls secp256k1). */
bool ec_curve_named(const char *name, enum ec_curve *out);
const char *ec_curve_name(enum ec_curve c);
uint32_t ec_coordinate_len(enum ec_curve c);
uint32_t ec_digest_len(enum ec_curve c); /* of what is signed on this curve */

RC ec_generate(enum ec_curve c, struct secret **private_der, struct err *e);
/* ec_private(): from the private number d and the public point, which must belong together. Errors: ERR_BAD_VALUE. */
RC ec_private(const struct ec_public *pub, const struct secret *d, struct secret **private_der,
              struct err *e);
/* ec_private_from_pem(): the first private key of an unencrypted PEM text (PKCS #8 or RFC 5915). Errors: ERR_BAD_VALUE. */
RC ec_private_from_pem(struct slice pem, struct secret **private_der, struct err *e);
/* ec_private_number(): d, big-endian, as long as a coordinate. */
RC ec_private_number(const struct secret *private_der, struct secret **out, struct err *e);
RC ec_public_of(const struct secret *private_der, struct ec_public *out, struct err *e);
/* ec_public_check(): ERR_BAD_VALUE when the point is not on its curve. */
RC ec_public_check(const struct ec_public *k, struct err *e);

RC ec_sign(const struct secret *private_der, struct slice digest, struct buf *signature,
           struct err *e);
/* ec_verify(): *holds is false for any signature that is not this key's over digest, whatever its length. */
RC ec_verify(const struct ec_public *k, struct slice digest, struct slice signature, bool *holds,
             struct err *e);

#endif
