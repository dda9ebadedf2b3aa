/* verify.c - see verify.h. */
#include "verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/inspect.h"
#include "backup.h"
#include "backups.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "keys/inspect.h"
#include "keys/keyring.h"
#include "provider.h"
#include "store/inspect.h"
#include "store/store.h"

enum { CACHE_BYTES = 8 << 20, MEMTABLE_BYTES = 1 << 20, TXN_BYTES = 16 << 20, NAME_MAX_LEN = 120 };

/* ---- its keys ------------------------------------------------------------------------------------------------------ */

struct listed {
    const char *dir;
    char *url; /* owned */
};

static void take_url(const struct backup_facts *b, void *arg)
{
    struct listed *l = arg;

    if (strcmp(b->dir, l->dir) != 0 || !*b->url)
        return;
    mem_free(l->url);
    l->url = mem_strdup(b->url);
}

/* The way to the key that wrapped it: today's, to the key of its time. */
static RC way_to(struct process *p, const char *dir, enum key_mode mode, struct keyconf *out,
                 struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct listed l = { .dir = dir };

    process_conf(p, out);
    if (mode == KEY_MODE_CMK && out->mode != KEY_MODE_CMK)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "the backup needs a customer's key, and this cluster is in smk mode now");
    out->mode = mode;
    rc_t rc = backups_each(p, a, take_url, &l, e);
    if (!rc.failed && l.url && mode == KEY_MODE_CMK &&
        strcmp(l.url, out->value[KEYCONF_KEY_URL]) != 0) {
        keyconf_set(out, KEYCONF_KEY_URL, l.url);
        out->alias_from[0] = out->alias_to[0] = '\0';
    }
    mem_free(l.url);
    return rc;
}

static RC same_lineage(struct custody *custody, const struct custody_status *st, const char *dir,
                       struct err *e)
{
    AUTO(mem_freep) struct custody_status *ours = NEW(struct custody_status);

    custody_status(custody, ours);
    if (memcmp(ours->lineage, st->lineage, LINEAGE_LEN) != 0)
        FAIL(e, ERR_ENVELOPE_FOREIGN, "\"%.80s\" is another cluster's", dir);
    return RC_OK;
}

static RC open_keys(struct process *p, struct custody *custody, const char *dir,
                    struct custody_status *st, struct keyring **out, struct err *e)
{
    AUTO(provider_freep) struct key_provider *provider = NULL;
    AUTO(keyconf_fini) struct keyconf conf = KEYCONF_INIT;

    TRY(envelope_inspect_dir(dir, st, e));
    TRY(same_lineage(custody, st, dir, e));
    TRY(way_to(p, dir, st->mode, &conf, e));
    TRY(provider_for_smk(p, &conf, /* make_root= */ false, &provider, e));
    struct custody_config cc = { .dir = dir,
                                 .pin_path = "",
                                 .mode = st->mode,
                                 .provider = provider,
                                 .timeout_us = settings_us(p->set, SET_PROBE_TIMEOUT) * 2 };
    return custody_read_copy(&cc, out, e);
}

/* ---- its files ------------------------------------------------------------------------------------------------------ */

struct problem {
    char name[NAME_MAX_LEN], text[160];
};

static void look(void *arg, const struct store_file_facts *f)
{
    struct problem *first = arg;

    if (!f->problem || *first->text)
        return;
    snprintf(first->name, sizeof(first->name), "%s", f->name);
    snprintf(first->text, sizeof(first->text), "%s", f->problem);
}

static RC verify_tags(const char *store_dir, struct keyring *ring, struct store_inspection *sum,
                      struct err *e)
{
    struct problem first = { .text = "" };

    TRY(store_inspect(store_dir, ring, look, &first, sum, e));
    if (sum->n_problems)
        FAIL(e, ERR_BACKUP_INVALID, "file \"%s\": %s", first.name, first.text);
    return RC_OK;
}

/* ---- opened, as a restore would --------------------------------------------------------------------------------------- */

/* A table is never written again: a link will do. All else an opening may change. */
static RC mirror(const char *from, const char *to, struct err *e)
{
    DIR *d = opendir(from);
    struct dirent *entry;
    rc_t rc = dir_make(to, 0700, e);

    if (!d)
        return file_err(e, errno, "open", from);
    while (!rc.failed && (entry = readdir(d))) {
        const char *name = entry->d_name, *dot = strrchr(name, '.');
        AUTO(mem_freep) char *a = mem_printf("%s/%s", from, name);
        AUTO(mem_freep) char *b = mem_printf("%s/%s", to, name);
        struct stat st;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (lstat(a, &st) < 0)
            rc = file_err(e, errno, "examine", a);
        else if (S_ISDIR(st.st_mode))
            rc = mirror(a, b, e);
        else if (!dot || strcmp(dot, ".sst") != 0 || link(a, b) < 0)
            rc = backup_copy_file(a, b, e);
    }
    closedir(d);
    return rc;
}

static void remove_tree(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!d)
        fd_close(fd);
    while (d && (entry = readdir(d))) {
        AUTO(mem_freep) char *child = mem_printf("%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlink(child) < 0 && (errno == EISDIR || errno == EPERM))
            remove_tree(child);
    }
    if (d)
        closedir(d);
    (void)rmdir(path);
}

/* What mkdtemp() makes of make_scratch()'s template; nothing else is ever removed. */
#define SCRATCH_PATTERN "/*.verify-??????"

/* Where the copy is stands in the state directory while there is one: neither a kill nor a sealing, which replaces the image, gives it away. */
static char *note_path(const struct process *p)
{
    return mem_printf("%s/verifying", p->state_dir);
}

void verify_clean(const struct process *p)
{
    AUTO(mem_freep) char *note = note_path(p);
    AUTO(buf_fini) struct buf scratch = BUF_INIT;
    struct err e = { 0 };

    if (!file_read(note, PATH_MAX, &scratch, &e).failed) {
        const char *copy = buf_cstr(&scratch);
        if (fnmatch(SCRATCH_PATTERN, copy, 0) == 0)
            remove_tree(copy);
        else
            (void)err_set(&e, ERR_CORRUPT, __FILE__, __LINE__,
                          "\"%s\" names no copy of a verification: nothing is removed", note)
                .failed;
        if (e.code || !path_exists(copy))
            (void)file_remove(note, &e).failed;
    }
    if (e.code && e.code != ERR_NOT_FOUND)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
    err_reset(&e);
}

static RC make_scratch(const struct process *p, char *scratch, struct err *e)
{
    AUTO(mem_freep) char *note = note_path(p);

    if (!mkdtemp(scratch))
        return file_err(e, errno, "make the directory", scratch);
    if (file_write_atomic(note, 0600, slice_str(scratch), e).failed) {
        (void)rmdir(scratch);
        return RC_FAILED;
    }
    return RC_OK;
}

static RC read_all(const char *dir, struct keyring *ring, uint64_t envelope_seq, struct err *e)
{
    struct store_config c = { .dir = dir,
                              .keyring = ring,
                              .cache_bytes = CACHE_BYTES,
                              .memtable_bytes = MEMTABLE_BYTES,
                              .max_txn_bytes = TXN_BYTES,
                              .anchor_interval_us = 1000000,
                              .anchor_bytes = 4 << 20,
                              .envelope_seq = envelope_seq,
                              .null_cipher = aead_algorithm() == AEAD_ALG_NULL };
    struct store *s;
    struct err late = { 0 };

    TRY(store_open(&c, &s, e));
    rc_t rc = restore_verify(s, e);
    if (store_close(s, rc.failed ? &late : e).failed)
        rc = RC_FAILED;
    err_reset(&late);
    return rc;
}

static RC open_copy(const struct process *p, const char *dir, const char *store_dir,
                    struct keyring *ring, uint64_t seq, struct err *e)
{
    AUTO(mem_freep) char *scratch = mem_printf("%s.verify-XXXXXX", dir);

    verify_clean(p);
    TRY(make_scratch(p, scratch, e));
    AUTO(mem_freep) char *copy = mem_printf("%s/store", scratch);
    rc_t rc = mirror(store_dir, copy, e);
    if (!rc.failed)
        rc = fault_step("verify.copied", "the verification", e);
    if (!rc.failed)
        rc = read_all(copy, ring, seq, e);
    verify_clean(p);
    return rc;
}

/* ---- the node's own files ------------------------------------------------------------------------------------------------ */

RC verify_own(struct process *p, struct custody *custody, struct store *store, const char *shown_as,
              struct bw *w, struct err *e)
{
    AUTO(mem_freep) char *scratch = mem_printf("%s.verify-XXXXXX", p->data_dir);
    uint64_t problems; /* they are in the answer */

    verify_clean(p);
    TRY(make_scratch(p, scratch, e));
    AUTO(mem_freep) char *copy = mem_printf("%s/copy", scratch);
    rc_t rc = backup_make(p, store, copy, e);
    if (!rc.failed)
        rc = fault_step("verify.copied", "the verification", e);
    if (!rc.failed)
        rc = admin_inspect(copy, shown_as, custody_keyring(custody), w, &problems, e);
    verify_clean(p);
    if (!rc.failed)
        bw_bool(w, "consistentCopy", true);
    return rc;
}

RC verify_copy(struct process *p, struct custody *custody, const char *dir, struct bw *w,
               struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct keyring *ring = NULL;
    struct err why = { 0 };
    uint64_t problems; /* they are in the answer */

    if (open_keys(p, custody, dir, st, &ring, &why).failed && why.code == ERR_ENVELOPE_FOREIGN)
        return err_take(e, &why);
    rc_t rc = admin_inspect(dir, NULL, ring ? ring : custody_keyring(custody), w, &problems, e);
    if (!ring && !rc.failed)
        bw_str(w, "envelopeNotOpened", why.msg);
    err_reset(&why);
    keyring_unref(ring);
    return rc;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------------- */

/* What says of the files that they are not what was written makes the backup worthless; what the vault or the disk says does not. */
static bool is_verdict(enum err_code code)
{
    switch (code) {
    case ERR_CORRUPT:
    case ERR_TORN:
    case ERR_STALE:
    case ERR_FOREIGN_FILE:
    case ERR_WRONG_KEY:
    case ERR_MISSING_GENERATION:
    case ERR_ENVELOPE_CORRUPT:
    case ERR_ENVELOPE_FORGED:
    case ERR_ENVELOPE_STALE:
    case ERR_BACKUP_INVALID: return true;
    default: return false;
    }
}

static RC verify(struct process *p, struct custody *custody, const char *dir,
                 struct custody_status *st, struct store_inspection *sum, struct err *e)
{
    AUTO(mem_freep) char *store_dir = mem_printf("%s/store", dir);
    struct keyring *ring = NULL;

    if (!path_exists(store_dir))
        FAIL(e, ERR_BACKUP_INVALID, "\"%.80s\" holds no store", dir);
    TRY(open_keys(p, custody, dir, st, &ring, e));
    rc_t rc = verify_tags(store_dir, ring, sum, e);
    if (!rc.failed)
        rc = open_copy(p, dir, store_dir, ring, st->sequence, e);
    keyring_unref(ring);
    return rc;
}

RC verify_backup(struct process *p, struct custody *custody, const char *dir, struct bw *w,
                 struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct store_inspection sum = { .n_files = 0 };
    struct err why = { 0 }, late = { 0 };
    int64_t began_ms = clock_real_ms();

    if (dir[0] != '/')
        FAIL(e, ERR_CONFIG, "the backup's directory \"%s\" must be an absolute path", dir);
    if (!path_exists(dir))
        FAIL(e, ERR_NOT_FOUND, "there is no directory \"%.100s\"", dir);
    bool good = !verify(p, custody, dir, st, &sum, &why).failed;
    bool verdict = good || is_verdict(why.code);
    if (verdict && backups_verified(p, dir, began_ms, good ? "" : why.msg, &late).failed)
        log_err(EV_BACKGROUND_ERROR, &late, NULL, 0);
    err_reset(&late);
    log_event(EV_BACKUP_VERIFIED, KV_STR("dir", dir), KV_BOOL("good", good),
              KV_STR("why", why.msg));
    if (!good)
        return err_set(e, verdict ? ERR_BACKUP_INVALID : why.code, why.file, why.line, "%s",
                       why.msg);
    bw_str(w, "dir", dir);
    bw_date(w, "verified", began_ms);
    bw_str(w, "keyVersion", st->version);
    bw_i32(w, "generation", (int32_t)st->current);
    bw_i64(w, "files", (int64_t)sum.n_files);
    bw_i64(w, "bytes", (int64_t)sum.bytes);
    return RC_OK;
}
