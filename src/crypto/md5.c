/* md5.c - MD5 of what comes in pieces. */
#include "crypto/md5.h"

#include <openssl/evp.h>

#include "base/mem.h"

struct md5 {
    EVP_MD_CTX *c;
};

RC md5_new(struct md5 **out, struct err *e)
{
    struct md5 *h = NEW(struct md5);

    *out = NULL;
    h->c = EVP_MD_CTX_new();
    if (!h->c || !EVP_DigestInit_ex2(h->c, EVP_md5(), NULL)) {
        md5_freep(&h);
        FAIL(e, ERR_INTERNAL, "MD5 is not available");
    }
    *out = h;
    return RC_OK;
}

void md5_freep(struct md5 **h)
{
    if (!*h)
        return;
    EVP_MD_CTX_free((*h)->c);
    mem_free(*h);
    *h = NULL;
}

RC md5_add(struct md5 *h, struct slice bytes, struct err *e)
{
    if (bytes.len && !EVP_DigestUpdate(h->c, bytes.p, bytes.len))
        FAIL(e, ERR_INTERNAL, "MD5 failed");
    return RC_OK;
}

RC md5_end(struct md5 *h, uint8_t out[MD5_LEN], struct err *e)
{
    if (!EVP_DigestFinal_ex(h->c, out, NULL))
        FAIL(e, ERR_INTERNAL, "MD5 failed");
    return RC_OK;
}
