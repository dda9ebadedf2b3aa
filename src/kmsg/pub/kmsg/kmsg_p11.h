/* kmsg_p11.h - PKCS #11 URIs (RFC 7512) that name a key of a token: pkcs11:token=T;object=LABEL?module-path=/M.so[&x-env=NAME=VALUE]
 *
 * token or serial, object or id, and module-path must be there. A PIN (pin-value) and its place (pin-source) are refused: the first would stand in
 * settings and logs, the second is a setting of its own. x-env, up to KMSG_P11_ENV_MAX times, is what the module finds in its environment. An attribute that is not known is
 * refused: it would have narrowed what is meant.
 */
#ifndef KMSG_KMSG_P11_H
#define KMSG_KMSG_P11_H

#include "base/err.h"
#include "base/slice.h"

enum { KMSG_P11_ID_MAX = 32, KMSG_P11_TEXT_MAX = 256, KMSG_P11_ENV_MAX = 4 };

struct kmsg_p11_uri {
    char token[33], serial[17];     /* "" = any; as in CK_TOKEN_INFO, without the blanks behind */
    char object[KMSG_P11_TEXT_MAX]; /* CKA_LABEL; "" = any */
    uint8_t id[KMSG_P11_ID_MAX];    /* CKA_ID */
    uint32_t id_len;                /* 0 = any: keys of one label are versions of one key */
    char module[KMSG_P11_TEXT_MAX]; /* an absolute path */
    struct {
        char name[64], value[KMSG_P11_TEXT_MAX];
    } env[KMSG_P11_ENV_MAX];
    uint32_t n_env;
};

/* Errors: ERR_CONFIG. */
RC kmsg_p11_uri(const char *uri, struct kmsg_p11_uri *out, struct err *e);
/* A version is the CKA_ID in lower-case hex. */
bool kmsg_p11_is_version(const char *v);
/* kmsg_p11_is_later(): ids are numbers, big-endian: the greatest is the newest version. */
bool kmsg_p11_is_later(struct slice a, struct slice b);
/* kmsg_p11_date(): a CK_DATE ("YYYYMMDD") as Unix seconds of its beginning; false when it is none. */
bool kmsg_p11_date(const char text[8], int64_t *unix_s);

#endif
