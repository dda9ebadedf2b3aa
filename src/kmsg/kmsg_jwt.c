/* kmsg_jwt.c - see kmsg/kmsg_jwt.h. */
#include "kmsg/kmsg_jwt.h"

#include "base/text.h"
#include "crypto/rsa.h"
#include "kmsg/kjson.h"

static void push_part(const json_t *j, struct buf *out)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    kjson_dump(j, &text);
    base64url_encode(buf_view(&text), out);
}

RC kmsg_jwt(enum kmsg_jwt_alg alg, json_t *header, const json_t *claims, const struct secret *key,
            struct buf *out, struct err *e)
{
    AUTO(buf_wipe) struct buf token = BUF_INIT;
    AUTO(buf_wipe) struct buf signature = BUF_INIT;

    json_object_set_new(header, "alg", json_string(alg == KMSG_JWT_RS256 ? "RS256" : "PS256"));
    json_object_set_new(header, "typ", json_string("JWT"));
    push_part(header, &token);
    buf_push_u8(&token, '.');
    push_part(claims, &token);
    TRY(alg == KMSG_JWT_RS256 ? rsa_sign_sha256(key, buf_view(&token), &signature, e)
                              : rsa_sign_pss_sha256(key, buf_view(&token), &signature, e));
    buf_push_u8(&token, '.');
    base64url_encode(buf_view(&signature), &token);
    buf_push(out, token.p, token.len);
    return RC_OK;
}
