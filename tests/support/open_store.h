/* open_store.h - a sealed store in a temporary directory, for the unit tests of the layers above it. */
#ifndef TESTS_OPEN_STORE_H
#define TESTS_OPEN_STORE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypto/aead.h"
#include "crypto/secret.h"
#include "keys/keyring.h"
#include "store/store.h"

static struct err err;

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call).failed)                                                                         \
            fail_msg("%s: %d %s", #call, (int)err.code, err.msg);                                  \
    } while (0)
#define FAILS(want, call)                                                                          \
    do {                                                                                           \
        err_reset(&err);                                                                           \
        assert_true((call).failed);                                                                \
        if ((int)err.code != (int)(want))                                                          \
            fail_msg("%s: %d instead of %d: %s", #call, (int)err.code, (int)(want), err.msg);      \
        err_reset(&err);                                                                           \
    } while (0)

static char open_store_dir[128];
static struct keyring *open_store_keys;

static inline int open_store_rm(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

static inline void open_store_init(void)
{
    struct secret *s;
    uint8_t raw[SMK_LEN];

    OK(secret_arena_init(1 << 20, &err));
    OK(crypto_init(&err));
    snprintf(open_store_dir, sizeof(open_store_dir), "%s/coffer-test-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(open_store_dir))
        fail_msg("mkdtemp");
    memset(raw, 7, sizeof(raw));
    open_store_keys = keyring_new();
    OK(secret_from(raw, sizeof(raw), &s, &err));
    OK(keyring_add(open_store_keys, 1, s, &err));
    OK(keyring_set_current(open_store_keys, 1, &err));
}

/* The same directory each time: close and open again to see what lasts. */
static inline struct store *open_store(void)
{
    struct store_config c = { .dir = open_store_dir,
                              .keyring = open_store_keys,
                              .cache_bytes = 8 << 20,
                              .memtable_bytes = 4 << 20,
                              .max_txn_bytes = 64 << 20,
                              .anchor_interval_us = 1000000,
                              .anchor_bytes = 4 << 20,
                              .reserve_bytes = 1 << 20,
                              .create = true };
    struct store *s = NULL;

    OK(store_open(&c, &s, &err));
    return s;
}

static inline void open_store_fini(void)
{
    keyring_unref(open_store_keys);
    nftw(open_store_dir, open_store_rm, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
