/* scene.h - a data directory, a directory outside of it and a fake vault, for tests of custody. */
#ifndef KEYS_T_SCENE_H
#define KEYS_T_SCENE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "fake_vault.h"
#include "keys/custody.h"
#include "keys/keyring.h"
#include "keys_priv.h"

struct scene {
    char root[64], dir[96], pin[96];
    struct fake_vault vault;
    struct custody_config cfg;
    struct custody *k;
    struct custody_report r;
};

static inline void scene_init(struct scene *s)
{
    struct err e = { 0 };

    memset(s, 0, sizeof(*s));
    /* in memory where there is such a place: thousands of syncs are made below */
    snprintf(s->root, sizeof(s->root), "/dev/shm/coffer-keys-XXXXXX");
    if (!mkdtemp(s->root)) {
        snprintf(s->root, sizeof(s->root), "/tmp/coffer-keys-XXXXXX");
        INVARIANT(mkdtemp(s->root) != NULL);
    }
    snprintf(s->dir, sizeof(s->dir), "%s/data", s->root);
    snprintf(s->pin, sizeof(s->pin), "%s/outside/pin", s->root);
    INVARIANT(!dir_make(s->dir, 0700, &e).failed);
    AUTO(mem_freep) char *outside = mem_printf("%s/outside", s->root);
    INVARIANT(!dir_make(outside, 0700, &e).failed);
    fake_init(&s->vault);
    s->cfg = (struct custody_config){ .dir = s->dir,
                                      .pin_path = s->pin,
                                      .mode = KEY_MODE_CMK,
                                      .provider = &s->vault.p,
                                      .timeout_us = 1000000 };
}

static inline void scene_empty_dir(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *de;

    INVARIANT(d != NULL);
    while ((de = readdir(d)))
        if (de->d_name[0] != '.')
            unlinkat(dirfd(d), de->d_name, 0);
    closedir(d);
}

static inline void scene_close(struct scene *s)
{
    custody_freep(&s->k);
}

static inline void scene_wipe(struct scene *s)
{
    AUTO(mem_freep) char *outside = mem_printf("%s/outside", s->root);

    scene_close(s);
    scene_empty_dir(s->dir);
    scene_empty_dir(outside);
}

static inline void scene_fini(struct scene *s)
{
    AUTO(mem_freep) char *outside = mem_printf("%s/outside", s->root);

    scene_wipe(s);
    rmdir(s->dir);
    rmdir(outside);
    rmdir(s->root);
}

/* scene_create() / scene_open(): succeed or abort the test with the reason. */
static inline void scene_must(rc_t rc, const struct err *e)
{
    if (rc.failed) {
        fprintf(stderr, "unexpected: %d %s (%s)\n", (int)e->code, e->msg, e->detail);
        fail();
    }
}
static inline void scene_create(struct scene *s)
{
    struct err e = { 0 };
    scene_must(custody_create(&s->cfg, &s->k, &e), &e);
}
static inline void scene_open(struct scene *s)
{
    struct err e = { 0 };
    scene_close(s);
    scene_must(custody_open(&s->cfg, &s->k, &s->r, &e), &e);
}
/* scene_refused(): opening fails; the code. Nothing may be left behind. */
static inline enum err_code scene_refused(struct scene *s)
{
    struct err e = { 0 };
    uint64_t before;

    scene_close(s);
    before = secret_live_count();
    if (!custody_open(&s->cfg, &s->k, &s->r, &e).failed) {
        scene_close(s);
        return ERR_NONE;
    }
    assert_null(s->k);
    assert_int_equal(secret_live_count(), before);
    return e.code;
}

/* scene_fingerprint(): a value derived from a generation: equal if and only if the SMK is. */
static inline void scene_fingerprint(struct scene *s, uint32_t gen, uint8_t out[32])
{
    struct secret *d = NULL;
    struct err e = { 0 };

    scene_must(keyring_derive(custody_keyring(s->k), gen, LABEL_DIAGNOSTICS, SLICE_EMPTY,
                              SLICE_EMPTY, &d, &e),
               &e);
    memcpy(out, secret_view(d), 32);
    secret_free(d);
}

static inline struct buf scene_read(struct scene *s, const char *name)
{
    AUTO(mem_freep) char *path = mem_printf("%s/%s", s->dir, name);
    struct buf b = BUF_INIT;
    struct err e = { 0 };

    scene_must(file_read(path, 1 << 22, &b, &e), &e);
    return b;
}
/* scene_write_path(): as an attacker or a failing disk would: no care taken, and no sync waited for. */
static inline void scene_write_path(const char *path, struct slice bytes)
{
    struct err e = { 0 };
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    INVARIANT(fd >= 0);
    scene_must(file_write_fd(fd, bytes, &e), &e);
    fd_close(fd);
}
static inline void scene_write(struct scene *s, const char *name, struct slice bytes)
{
    AUTO(mem_freep) char *path = mem_printf("%s/%s", s->dir, name);
    scene_write_path(path, bytes);
}
static inline void scene_write_both(struct scene *s, struct slice bytes)
{
    scene_write(s, "envelope.1", bytes);
    scene_write(s, "envelope.2", bytes);
}
static inline struct buf scene_read_pin(struct scene *s)
{
    struct buf b = BUF_INIT;
    struct err e = { 0 };

    scene_must(file_read(s->pin, 4096, &b, &e), &e);
    return b;
}
/* scene_redigest(): what an attacker does after a change: make the digest right again. */
static inline void scene_redigest(struct buf *b)
{
    struct err e = { 0 };
    scene_must(sha256(&SLICE(b->p, b->len - ENV_DIGEST_LEN), 1, b->p + b->len - ENV_DIGEST_LEN, &e),
               &e);
}

#endif
