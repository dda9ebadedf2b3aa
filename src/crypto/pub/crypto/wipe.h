/* wipe.h - allocation functions that overwrite what is freed, for processes in whose ordinary heap a key may pass: the helper that
 * unwraps the SMK. Install them first thing, before the library in question allocates. [any thread] */
#ifndef CRYPTO_WIPE_H
#define CRYPTO_WIPE_H

#include <stddef.h>

#include "base/err.h"

/* also jansson's json_malloc_t and curl's malloc callback */
void *wipe_malloc(size_t len);
void *wipe_calloc(size_t n, size_t len);
void *wipe_realloc(void *p, size_t len); /* always moves, and wipes what it left */
char *wipe_strdup(const char *s);
void wipe_free(void *p);

/* wipe_install_openssl(): CRYPTO_set_mem_functions(); fails when OpenSSL has allocated already. */
RC wipe_install_openssl(struct err *e);

#endif
