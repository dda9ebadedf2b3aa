/* backup.c - see backup.h. */
#include "backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "making.h"
#include "outside.h"
#include "store/store.h"

enum { SMALL_FILE_MAX = 1 << 20, COPY_STEP = 1 << 24 };

/* What stands beside the store. */
static const char *const beside[] = { "envelope.1", "envelope.2" };

static RC copy_small(const char *from_dir, const char *to_dir, const char *name, struct err *e)
{
    AUTO(mem_freep) char *from = mem_printf("%s/%s", from_dir, name);
    AUTO(mem_freep) char *to = mem_printf("%s/%s", to_dir, name);
    AUTO(buf_fini) struct buf content = BUF_INIT;
    TRY(file_read(from, SMALL_FILE_MAX, &content, e));
    return file_write_atomic(to, 0600, buf_view(&content), e);
}

/* One copy of the envelope may be missing: it is made anew at the next start. */
static RC copy_beside(const char *from_dir, const char *to_dir, struct err *e)
{
    bool envelope = false;
    for (size_t i = ARRAY_LEN(beside); i-- > 0;) {
        struct err why = { 0 };
        if (!copy_small(from_dir, to_dir, beside[i], &why).failed) {
            envelope = true;
            continue;
        }
        if (why.code != ERR_NOT_FOUND)
            return err_take(e, &why);
    }
    if (!envelope)
        FAIL(e, ERR_BACKUP_INVALID, "\"%s\" holds no key envelope", from_dir);
    return RC_OK;
}

RC backup_check(const char *dir, struct err *e)
{
    if (dir[0] != '/')
        FAIL(e, ERR_CONFIG, "the backup's directory \"%s\" must be an absolute path", dir);
    if (path_exists(dir))
        FAIL(e, ERR_CONFIG, "a backup is made in a new directory; \"%s\" exists", dir);
    return RC_OK;
}

RC backup_make(struct process *p, struct store *store, const char *dir, struct err *e)
{
    TRY(backup_check(dir, e));
    if (mkdir(dir, 0700) < 0)
        return file_err(e, errno, "make the directory", dir);
    AUTO(mem_freep) char *to = mem_printf("%s/store", dir);
    TRY(store_checkpoint(store, to, e));
    TRY(fault_step("backup.store-copied", "the backup", e));
    TRY(copy_beside(p->data_dir, dir, e));
    return dir_sync(dir, e);
}

static RC check_empty_dir(const char *path, struct err *e)
{
    DIR *d = opendir(path);
    if (!d)
        return file_err(e, errno, "open", path);
    struct dirent *entry;
    int n = 0;
    while ((entry = readdir(d)))
        n++;
    closedir(d);
    if (n > 2)
        FAIL(e, ERR_CONFIG, "a restore needs an empty data directory; \"%s\" is not", path);
    return RC_OK;
}

/* Byte for byte: the files are sealed, and stay so. */
RC backup_copy_file(const char *from, const char *to, struct err *e)
{
    AUTO(fd_closep) int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0)
        return file_err(e, errno, "open", from);
    AUTO(fd_closep) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return file_err(e, errno, "create", to);
    ssize_t n;
    while ((n = copy_file_range(in, NULL, out, NULL, COPY_STEP, 0)) > 0) {
    }
    if (n < 0 || fsync(out) < 0)
        return file_err(e, errno, "copy", from);
    return RC_OK;
}

static RC copy_dir(const char *from, const char *to, struct err *e)
{
    DIR *d = opendir(from);
    if (!d)
        return file_err(e, errno, "open", from);
    struct dirent *entry;
    rc_t rc = dir_make(to, 0700, e);
    while (!rc.failed && (entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        AUTO(mem_freep) char *a = mem_printf("%s/%s", from, entry->d_name);
        AUTO(mem_freep) char *b = mem_printf("%s/%s", to, entry->d_name);
        struct stat st;
        if (lstat(a, &st) < 0)
            rc = file_err(e, errno, "examine", a);
        else if (S_ISDIR(st.st_mode))
            rc = copy_dir(a, b, e);
        else
            rc = backup_copy_file(a, b, e);
    }
    closedir(d);
    return rc.failed ? rc : dir_sync(to, e);
}

RC restore_copy(struct process *p, const char *from, struct err *e)
{
    AUTO(mem_freep) char *source = mem_printf("%s/store", from);
    TRY(check_empty_dir(p->data_dir, e));
    if (!custody_exists(from))
        FAIL(e, ERR_BACKUP_INVALID, "\"%s\" holds no key envelope", from);
    if (!path_exists(source))
        FAIL(e, ERR_BACKUP_INVALID, "\"%s\" holds no store", from);
    TRY(making_begin(p, MAKING_RESTORE, e));
    TRY(copy_dir(source, p->store_dir, e));
    TRY(dir_sync(p->data_dir, e));
    /* It is older than what is remembered outside, and that is meant. Before the envelope, which says that all is there. */
    TRY(outside_write_ticket(p, from, e));
    return copy_beside(from, p->data_dir, e);
}

static RC read_space(struct store *store, enum store_space space, struct err *e)
{
    struct store_cursor_opts o = { .space = space, .long_scan = true };
    struct store_snapshot *snap = store_snapshot(store);
    AUTO(store_cursor_closep) struct store_cursor *c = NULL;
    bool valid = false;
    rc_t rc = store_cursor_open(store, NULL, snap, &o, &c, e);
    if (!rc.failed)
        rc = store_cursor_first(c, &valid, e);
    while (!rc.failed && valid)
        rc = store_cursor_next(c, &valid, e);
    store_snapshot_release(snap);
    return rc;
}

RC restore_verify(struct store *store, struct err *e)
{
    for (int space = 0; space < STORE_SPACE_NR; space++)
        TRY(read_space(store, (enum store_space)space, e));
    return RC_OK;
}
