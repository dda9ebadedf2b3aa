/* x509.h - certificates that an installation makes for itself: one authority, and the servers' under it (RFC 5280). EC P-256.
 *
 * Model    The authority's key is DER in a struct secret. A server's key exists as PEM in memory only, for the TLS stack that is handed it.
 * Threads  [any]
 */
#ifndef CRYPTO_X509_H
#define CRYPTO_X509_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "crypto/rsa.h"

struct secret;

/* x509_make_ca(): a self-signed authority, path length 0, that starts an hour ago and lasts days. */
RC x509_make_ca(const char *common_name, int days, struct secret **key_der, struct buf *cert_pem,
                struct err *e);

struct x509_leaf {
    const char *common_name;
    const char *const *dns; /* subject alternative names; wildcards allowed */
    int n_dns;
    const char *const *ips; /* numeric */
    int n_ips;
    int days;
};
/* x509_make_leaf(): cert_pem gets the certificate, key_pem its private key: buf_wipe() it. */
RC x509_make_leaf(const struct secret *ca_key_der, struct slice ca_cert_pem,
                  const struct x509_leaf *spec, struct buf *cert_pem, struct buf *key_pem,
                  struct err *e);
/* x509_expires(): the end of a certificate's life in Unix seconds. */
RC x509_expires(struct slice cert_pem, int64_t *unix_s, struct err *e);
/* x509_sha256(): of the DER of the first certificate of cert_pem: its thumbprint. Errors: ERR_CRYPTO. */
RC x509_sha256(struct slice cert_pem, uint8_t out[32], struct err *e);
/* x509_read(): an RSA certificate of 2048 to 4096 bits. Errors: ERR_BAD_VALUE for anything else. */
struct x509_facts {
    struct rsa_public pub;
    uint8_t sha1[20], sha256[32]; /* thumbprints: of the whole certificate's DER */
    int64_t from_s, until_s;      /* Unix seconds */
};
RC x509_read(struct slice cert_pem, struct x509_facts *out, struct err *e);

#endif
