/* file.c - whole files, durably. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/mem.h"

RC file_err(struct err *e, int sys, const char *what, const char *path)
{
    enum err_code code = sys == ENOENT                    ? ERR_NOT_FOUND
                         : sys == ENOSPC || sys == EDQUOT ? ERR_DISK_FULL
                                                          : ERR_IO;
    char text[128];
    const char *why = strerror_r(sys, text, sizeof(text));
    bool first = e && !err_is(e);
    rc_t rc = err_set(e, code, __FILE__, __LINE__, "could not %s \"%s\": %s", what, path, why);
    if (first)
        e->sys = sys;
    return rc;
}

bool file_may_pass(const struct err *e)
{
    if (e->code == ERR_DISK_FULL)
        return true;
    if (e->code != ERR_IO && e->code != ERR_ENGINE_FATAL)
        return false;
    switch (e->sys) {
    case ENOSPC:
    case EDQUOT:
    case EIO:
    case EROFS:
    case EACCES:
    case EPERM:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case ENOLCK:
    case EAGAIN:
    case EBUSY:
    case EINTR:
    case ENXIO:
    case ENODEV:
    case ESTALE:
    case ETIMEDOUT:
    case EHOSTDOWN:
    case ENOTCONN: return true;
    default: return false;
    }
}

RC file_read_fd(int fd, size_t max, struct buf *out, struct err *e)
{
    for (;;) {
        if (out->len > max)
            FAIL(e, ERR_IO, "the input is larger than %zu bytes", max);
        if (out->len == out->cap)
            buf_reserve(out, 16384);
        ssize_t n = read(fd, out->p + out->len, out->cap - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_err(e, errno, "read", "input");
        if (n == 0)
            return RC_OK;
        out->len += (size_t)n;
    }
}

RC file_read(const char *path, size_t max, struct buf *out, struct err *e)
{
    int fault = fault_hit("file.read");
    AUTO(fd_closep) int fd = fault ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return file_err(e, fault ? fault : errno, "open", path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return file_err(e, errno, "examine", path);
    if (!S_ISREG(st.st_mode))
        FAIL(e, ERR_IO, "\"%s\" is not a regular file", path);
    if ((uint64_t)st.st_size > max)
        FAIL(e, ERR_IO, "\"%s\" is larger than %zu bytes", path, max);
    /* one byte more finds the end: growing would leave a copy behind of what may be a key */
    buf_reserve(out, (size_t)st.st_size + 1);
    if (file_read_fd(fd, max, out, e).failed) {
        err_wrap(e, "%s", path);
        return RC_FAILED;
    }
    return RC_OK;
}

RC file_write_fd(int fd, struct slice content, struct err *e)
{
    while (content.len) {
        int fault = fault_hit("file.write");
        ssize_t n = fault ? -1 : write(fd, content.p, content.len);
        if (n < 0 && !fault && errno == EINTR)
            continue;
        if (n < 0)
            return file_err(e, fault ? fault : errno, "write", "output");
        content.p += n;
        content.len -= (size_t)n;
    }
    return RC_OK;
}

RC dir_sync(const char *path, struct err *e)
{
    int fault = fault_hit("dir.sync");
    AUTO(fd_closep) int fd = fault ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return file_err(e, fault ? fault : errno, "sync the directory", path);
    return RC_OK;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_strdup(".");
    return slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
}

/* Write, sync and rename; the caller removes tmp on a failure. */
static RC replace(int fd, const char *tmp, const char *path, struct slice content, struct err *e)
{
    TRY(file_write_fd(fd, content, e));
    int fault = fault_hit("file.sync");
    if (fault || fsync(fd) < 0)
        return file_err(e, fault ? fault : errno, "sync", tmp);
    fault = fault_hit("file.rename");
    if (fault || rename(tmp, path) < 0)
        return file_err(e, fault ? fault : errno, "rename", path);
    return RC_OK;
}

/* What no one calls a copy of his own: "pin.backup" looks like a name of mkostemp()'s, and is somebody's. */
#define TMP_MARK ".writing-"
enum { TMP_RANDOM = 6 };

RC file_write_atomic(const char *path, mode_t mode, struct slice content, struct err *e)
{
    AUTO(mem_freep) char *tmp = mem_printf("%s" TMP_MARK "XXXXXX", path);
    AUTO(mem_freep) char *dir = parent_of(path);
    int fault = fault_hit("file.create");
    AUTO(fd_closep) int fd = fault ? -1 : mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return file_err(e, fault ? fault : errno, "create", path);
    if (fchmod(fd, mode) < 0) {
        int sys = errno;
        unlink(tmp);
        return file_err(e, sys, "set the mode of", tmp);
    }
    if (replace(fd, tmp, path, content, e).failed) {
        unlink(tmp);
        err_wrap(e, "%s", path);
        return RC_FAILED;
    }
    return dir_sync(dir, e);
}

static bool is_temporary(const char *name)
{
    size_t len = strlen(name), tail = strlen(TMP_MARK) + TMP_RANDOM;

    return len > tail && strncmp(name + len - tail, TMP_MARK, strlen(TMP_MARK)) == 0 &&
           strspn(name + len - TMP_RANDOM, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789") == TMP_RANDOM;
}

static bool is_regular(int dir, const char *name)
{
    struct stat st;

    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

int file_sweep(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *de;
    int n = 0;

    if (!d)
        return 0;
    while ((de = readdir(d)))
        if (is_temporary(de->d_name) && is_regular(dirfd(d), de->d_name) &&
            unlinkat(dirfd(d), de->d_name, 0) == 0)
            n++;
    closedir(d);
    return n;
}

RC file_remove(const char *path, struct err *e)
{
    AUTO(mem_freep) char *dir = parent_of(path);
    int fault = fault_hit("file.remove");
    if (fault || (unlink(path) < 0 && errno != ENOENT))
        return file_err(e, fault ? fault : errno, "remove", path);
    return dir_sync(dir, e);
}

RC dir_make(const char *path, mode_t mode, struct err *e)
{
    AUTO(mem_freep) char *copy = mem_strdup(path);
    for (char *p = copy + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char keep = *p;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return file_err(e, errno, "make the directory", copy);
        *p = keep;
        if (!keep)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return file_err(e, errno, "examine", path);
    if (!S_ISDIR(st.st_mode))
        FAIL(e, ERR_IO, "\"%s\" is not a directory", path);
    return RC_OK;
}

bool path_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

bool path_same_device(const char *a, const char *b)
{
    struct stat sa, sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev;
}

bool path_same_file(const char *a, const char *b)
{
    struct stat sa, sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

void fd_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

void fd_closep(int *fd)
{
    fd_close(*fd);
    *fd = -1;
}
