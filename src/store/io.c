/* io.c - system calls on files of a store. Each call is a fault point, by operation and by operation and kind of file, so that a test can fill
 * the disk for the journal alone. Short writes and EINTR are handled here and nowhere else. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "store_priv.h"

enum op {
    OP_CREATE,
    OP_OPEN,
    OP_APPEND,
    OP_READ,
    OP_SYNC,
    OP_TRUNCATE,
    OP_RENAME,
    OP_DELETE,
    OP_LINK,
    OP_NR
};

static int fault_of(enum op op, enum store__role role)
{
    static const char *const ops[OP_NR] = { "fs.create", "fs.open",   "fs.append",
                                            "fs.read",   "fs.sync",   "fs.truncate",
                                            "fs.rename", "fs.delete", "fs.link" };
    static const char *const kinds[OP_NR][5] = {
#define KINDS(o)                                                                                   \
    { "fs." o ".table", "fs." o ".journal", "fs." o ".manifest", "fs." o ".small",                 \
      "fs." o ".anchor" }
        KINDS("create"),   KINDS("open"),   KINDS("append"), KINDS("read"), KINDS("sync"),
        KINDS("truncate"), KINDS("rename"), KINDS("delete"), KINDS("link"),
#undef KINDS
    };
    int kind = role == STORE__TABLE      ? 0
               : role == STORE__JOURNAL  ? 1
               : role == STORE__MANIFEST ? 2
               : role == STORE__ANCHOR   ? 4
                                         : 3;
    int sys = fault_hit(ops[op]);

    return sys ? sys : fault_hit(kinds[op][kind]);
}

RC store__io_create(const char *path, enum store__role role, int *fd, struct err *e)
{
    int sys = fault_of(OP_CREATE, role);

    *fd = -1;
    if (sys == 0) {
        /* Never truncate what is there: it may be hard-linked into a checkpoint. */
        if (unlink(path) != 0 && errno != ENOENT)
            return file_err(e, errno, "replace", path);
        *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        sys = *fd < 0 ? errno : 0;
    }
    return sys ? file_err(e, sys, "create", path) : RC_OK;
}

RC store__io_open(const char *path, enum store__role role, int *fd, struct err *e)
{
    int sys = fault_of(OP_OPEN, role);
    struct stat st;

    *fd = -1;
    if (sys)
        return file_err(e, sys, "open", path);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0)
        return errno == ELOOP ? err_set(e, ERR_FOREIGN_FILE, __FILE__, __LINE__,
                                        "\"%s\" is a symbolic link", path)
                              : file_err(e, errno, "open", path);
    if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        fd_closep(fd);
        *fd = -1;
        FAIL(e, ERR_FOREIGN_FILE, "\"%s\" is not a regular file", path);
    }
    return RC_OK;
}

RC store__io_size(int fd, const char *path, uint64_t *size, struct err *e)
{
    struct stat st;

    *size = 0;
    if (fstat(fd, &st) != 0)
        return file_err(e, errno, "examine", path);
    *size = (uint64_t)st.st_size;
    return RC_OK;
}

RC store__io_append(int fd, const char *path, enum store__role role, const void *p, size_t len,
                    struct err *e)
{
    const uint8_t *at = (const uint8_t *)p;
    int sys = fault_of(OP_APPEND, role);

    if (sys)
        return file_err(e, sys, "write", path);
    while (len > 0) {
        ssize_t n = write(fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_err(e, errno, "write", path);
        at += n;
        len -= (size_t)n;
    }
    return RC_OK;
}

RC store__io_pread(int fd, const char *path, enum store__role role, uint64_t off, void *p,
                   size_t len, size_t *got, struct err *e)
{
    uint8_t *at = (uint8_t *)p;
    int sys = fault_of(OP_READ, role);

    *got = 0;
    if (sys)
        return file_err(e, sys, "read", path);
    while (*got < len) {
        ssize_t n = pread(fd, at + *got, len - *got, (off_t)(off + *got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_err(e, errno, "read", path);
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return RC_OK;
}

RC store__io_sync(int fd, const char *path, enum store__role role, struct err *e)
{
    int sys = fault_of(OP_SYNC, role);

    if (sys == 0 && fdatasync(fd) != 0)
        sys = errno;
    return sys ? file_err(e, sys, "sync", path) : RC_OK;
}

RC store__io_truncate(int fd, const char *path, enum store__role role, uint64_t len, struct err *e)
{
    int sys = fault_of(OP_TRUNCATE, role);

    if (sys == 0 && (ftruncate(fd, (off_t)len) != 0 || lseek(fd, (off_t)len, SEEK_SET) < 0))
        sys = errno;
    return sys ? file_err(e, sys, "truncate", path) : RC_OK;
}

RC store__io_rename(const char *from, const char *to, enum store__role role, struct err *e)
{
    int sys = fault_of(OP_RENAME, role);

    if (sys == 0 && rename(from, to) != 0)
        sys = errno;
    return sys ? file_err(e, sys, "rename", from) : RC_OK;
}

RC store__io_unlink(const char *path, enum store__role role, struct err *e)
{
    int sys = fault_of(OP_DELETE, role);

    if (sys == 0 && unlink(path) != 0)
        sys = errno;
    return sys ? file_err(e, sys, "delete", path) : RC_OK;
}

RC store__io_link(const char *from, const char *to, enum store__role role, struct err *e)
{
    int sys = fault_of(OP_LINK, role);

    if (sys == 0 && link(from, to) != 0)
        sys = errno;
    return sys ? file_err(e, sys, "link", from) : RC_OK;
}

RC store__io_dir_sync(const char *dir, struct err *e)
{
    int sys = fault_hit("fs.dirsync");

    return sys ? file_err(e, sys, "sync", dir) : dir_sync(dir, e);
}

RC store__io_free_bytes(const char *dir, uint64_t *bytes, struct err *e)
{
    struct statvfs v;
    int sys = fault_hit("fs.free");

    *bytes = 0;
    if (sys)
        return RC_OK;
    if (statvfs(dir, &v) != 0)
        return file_err(e, errno, "examine", dir);
    *bytes = (uint64_t)v.f_bavail * v.f_frsize;
    return RC_OK;
}
