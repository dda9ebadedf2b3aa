/* support.h - what the store's tests share: a keyring, temporary directories, an opened store. */
#ifndef STORE_T_SUPPORT_H
#define STORE_T_SUPPORT_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/keyring.h"
#include "store_priv.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call).failed)                                                                         \
            fail_msg("%s: %d %s", #call, (int)err.code, err.msg);                                  \
    } while (0)
#define FAILS(want, call)                                                                          \
    do {                                                                                           \
        err_reset(&err);                                                                           \
        assert_true((call).failed);                                                                \
        if (err.code != (want))                                                                    \
            fail_msg("%s: %d instead of %d: %s", #call, (int)err.code, (int)(want), err.msg);      \
        err_reset(&err);                                                                           \
    } while (0)

static struct err err;
static char tmp_root[128];
static int tmp_n;

static inline void support_init(void)
{
    struct err e = { 0 };

    if (secret_arena_init(1 << 20, &e).failed || crypto_init(&e).failed) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
}

static inline void support_tmp(void)
{
    snprintf(tmp_root, sizeof(tmp_root), "%s/coffer-store-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(tmp_root))
        exit(1);
}

static inline int rm_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
    (void)st;
    (void)type;
    (void)f;
    return remove(path);
}

static inline void rm_rf(const char *path)
{
    nftw(path, rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void support_fini(void)
{
    if (tmp_root[0])
        rm_rf(tmp_root);
}

/* A new path below the test's own directory. Static ring of four. */
static inline const char *tmp_path(void)
{
    static char ring[8][192];
    char *p = ring[tmp_n % 8];

    snprintf(p, sizeof(ring[0]), "%s/%d", tmp_root, tmp_n++);
    return p;
}

static inline void key_add(struct keyring *k, uint32_t gen, uint8_t fill)
{
    struct secret *s;
    uint8_t raw[SMK_LEN];

    memset(raw, fill, sizeof(raw));
    OK(secret_from(raw, sizeof(raw), &s, &err));
    OK(keyring_add(k, gen, s, &err));
    OK(keyring_set_current(k, gen, &err));
}

static inline struct keyring *key_ring(uint8_t fill)
{
    struct keyring *k = keyring_new();

    key_add(k, 1, fill);
    return k;
}

static inline struct store_config config_for(const char *dir, struct keyring *k)
{
    return (struct store_config){ .dir = dir,
                                  .keyring = k,
                                  .cache_bytes = 8 << 20,
                                  .memtable_bytes = 1 << 20,
                                  .max_txn_bytes = 16 << 20,
                                  .anchor_interval_us = 1000000,
                                  .anchor_bytes = 4 << 20,
                                  .reserve_bytes = 1 << 20,
                                  .create = true };
}

static inline struct store *open_at(const char *dir, struct keyring *k)
{
    struct store_config c = config_for(dir, k);
    struct store *s;

    OK(store_open(&c, &s, &err));
    return s;
}

static inline void put1(struct store *s, enum store_space sp, const char *key, const char *value,
                        enum store_durability d)
{
    struct store_txn *t;

    OK(store_begin(s, &t, &err));
    OK(store_put(t, sp, slice_str(key), slice_str(value), &err));
    OK(store_commit(&t, d, &err));
}

/* The value of key now, "" when there is none. Static ring. */
static inline const char *get1(struct store *s, enum store_space sp, const char *key)
{
    static char ring[4][4096];
    static int n;
    char *out = ring[n++ % 4];
    struct store_snapshot *snap = store_snapshot(s);
    struct store_pin pin = { 0 };
    struct slice v;
    struct err e = { 0 };

    out[0] = 0;
    if (!store_snapshot_get(s, snap, sp, slice_str(key), &pin, &v, &e).failed)
        snprintf(out, sizeof(ring[0]), "%.*s", (int)v.len, (const char *)v.p);
    else if (e.code != ERR_NOT_FOUND)
        fail_msg("get: %d %s", (int)e.code, e.msg);
    store_pin_release(&pin);
    store_snapshot_release(snap);
    return out;
}

#endif
