/* fuzz_store.h - what the fuzz targets of the store's readers share: keys, files in memory, and an input read field by field. */
#ifndef TESTS_FUZZ_STORE_H
#define TESTS_FUZZ_STORE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/keyring.h"
#include "store_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_NUMBER = 7 };

/* The seal of all files here: one generation, one store. */
static inline const struct store__seal *fuzz_seal(void)
{
    static struct store__seal seal;
    static const uint8_t raw[SMK_LEN] = { 1, 2, 3 };
    struct secret *smk;
    struct err e = { 0 };

    if (seal.keys)
        return &seal;
    INVARIANT(!secret_arena_init(1 << 20, &e).failed && !crypto_init(&e).failed);
    seal.keys = keyring_new();
    seal.alg = store__build_alg();
    memset(seal.id, 0xa5, sizeof(seal.id));
    INVARIANT(!secret_from(raw, sizeof(raw), &smk, &e).failed);
    INVARIANT(!keyring_add(seal.keys, 1, smk, &e).failed &&
              !keyring_set_current(seal.keys, 1, &e).failed);
    return &seal;
}

/* A file in memory that holds bytes; the caller closes it, or a reader does. */
static inline int fuzz_file(struct slice bytes)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    INVARIANT(fd >= 0 && write(fd, bytes.p, bytes.len) == (ssize_t)bytes.len);
    return fd;
}

/* A path for a writer that wants one, and its bytes afterwards; the file is gone then. */
static inline const char *fuzz_path(void)
{
    static char path[64];

    snprintf(path, sizeof(path), "/tmp/coffer-fuzz-%d", (int)getpid());
    return path;
}

static inline void fuzz_slurp(struct buf *out)
{
    struct err e = { 0 };

    INVARIANT(!file_read(fuzz_path(), 16 << 20, out, &e).failed);
    INVARIANT(unlink(fuzz_path()) == 0);
}

/* The input, field by field; zeroes behind its end. */
static inline uint8_t fuzz_u8(struct slice *in)
{
    uint8_t v = in->len ? in->p[0] : 0;

    if (in->len)
        *in = SLICE(in->p + 1, in->len - 1);
    return v;
}

static inline uint32_t fuzz_u16(struct slice *in)
{
    uint32_t high = fuzz_u8(in);

    return high << 8 | fuzz_u8(in);
}

#endif
