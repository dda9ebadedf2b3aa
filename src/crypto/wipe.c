/* wipe.c - allocation functions that overwrite what is freed. See crypto/wipe.h. */
#include "crypto/wipe.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void *wipe_malloc(size_t len)
{
    return malloc(len);
}

void *wipe_calloc(size_t n, size_t len)
{
    return calloc(n, len);
}

void wipe_free(void *p)
{
    if (p)
        mem_wipe(p, malloc_usable_size(p));
    free(p);
}

void *wipe_realloc(void *p, size_t len)
{
    if (!p)
        return malloc(len);
    if (len == 0) {
        wipe_free(p);
        return NULL;
    }
    size_t old = malloc_usable_size(p);
    void *q = malloc(len);
    if (!q)
        return NULL;
    memcpy(q, p, MIN(old, len));
    wipe_free(p);
    return q;
}

char *wipe_strdup(const char *s)
{
    return strdup(s);
}

/* OpenSSL says where it calls from; nobody wants to know. */
static void *ossl_malloc(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return wipe_malloc(len);
}

static void *ossl_realloc(void *p, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return wipe_realloc(p, len);
}

static void ossl_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    wipe_free(p);
}

RC wipe_install_openssl(struct err *e)
{
    if (CRYPTO_set_mem_functions(ossl_malloc, ossl_realloc, ossl_free) != 1)
        FAIL(e, ERR_CRYPTO,
             "OpenSSL has allocated already: its memory cannot be made to wipe itself");
    return RC_OK;
}
