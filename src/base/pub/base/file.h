/* file.h - whole files and directories, durably. Errors: ERR_NOT_FOUND (ENOENT), ERR_DISK_FULL (ENOSPC, EDQUOT), ERR_IO. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/slice.h"

/* file_read(): the whole of a regular file, refused past max bytes (ERR_IO) and when it is not a regular file. What is
 * read is never moved, so that wiping out wipes all of it. */
RC file_read(const char *path, size_t max, struct buf *out, struct err *e);
/* file_write_atomic(): temp file "PATH.writing-XXXXXX", fsync, rename, fsync of the directory. Old content intact on any failure. */
RC file_write_atomic(const char *path, mode_t mode, struct slice content, struct err *e);
/* file_sweep(): remove the temp files that a process killed in file_write_atomic() left in dir (regular files of that name, nothing else); how many.
 * Only where nobody else may be writing: under a lock. A directory that cannot be read has none. */
int file_sweep(const char *dir);
/* file_remove(): and make that durable. One that is not there is fine. */
RC file_remove(const char *path, struct err *e);
RC file_read_fd(int fd, size_t max, struct buf *out, struct err *e);
/* all of it, through EINTR and short writes */
RC file_write_fd(int fd, struct slice content, struct err *e);
/* with parents; an existing directory is fine */
RC dir_make(const char *path, mode_t mode, struct err *e);
RC dir_sync(const char *path, struct err *e);
bool path_exists(const char *path);
/* false when either cannot be examined */
bool path_same_device(const char *a, const char *b);
bool path_same_file(const char *a, const char *b);
/* file_err(): turn errno value sys into an error about path. */
RC file_err(struct err *e, int sys, const char *what, const char *path);
/* file_may_pass(): the system would not do what was asked of it (no room, no memory, no descriptors, no permission, read-only, the device does not answer), and may
 * do it later, unchanged. Not: what is missing, of the wrong kind, or damaged; nor anything that says no errno. */
bool file_may_pass(const struct err *e);
void fd_close(int fd);   /* negative is fine */
void fd_closep(int *fd); /* AUTO(fd_closep) int fd = -1; */

#endif
