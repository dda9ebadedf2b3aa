/* handoff.c - see handoff.h. */
#include "handoff.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "bsonx/bw.h"

#define HANDOFF_ENV "COFFER_HANDOFF"

enum { HANDOFF_MAX = 8192 };

static void encode(const struct handoff *h, struct buf *out)
{
    struct bw w;
    bw_init(&w, out);
    bw_i32(&w, "mode", (int32_t)h->mode);
    bw_i64(&w, "since", h->since_ms);
    bw_i32(&w, "cause", (int32_t)h->cause);
    bw_str(&w, "text", h->cause_text);
    bw_array_begin(&w, "fds");
    for (int i = 0; i < h->n_fds; i++)
        bw_i32(&w, NULL, h->fds[i]);
    bw_array_end(&w);
    bw_i32(&w, "lock", h->lock_fd);
    bw_bool(&w, "keySeen", h->key_seen);
    bw_i32(&w, "storageTries", h->storage_tries);
    bw_finish(&w);
}

static bool is_listening_socket(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

static RC decode_fds(struct bdoc array, struct handoff *out, struct err *e)
{
    struct biter it;
    biter_init(&it, array);
    while (biter_next(&it)) {
        int64_t fd;
        if (out->n_fds == HANDOFF_FDS_MAX || !bval_to_i64(it.val, &fd) || fd < 3 ||
            fd > INT32_MAX || !is_listening_socket((int)fd))
            FAIL(e, ERR_CONFIG, "the hand-off names something that is not a listening socket");
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        out->fds[out->n_fds++] = (int)fd;
    }
    return RC_OK;
}

static RC decode(struct slice in, struct handoff *out, struct err *e)
{
    struct bdoc d;
    int64_t mode, cause, lock, tries;
    TRY(bdoc_validate(in.p, in.len, 4, &d, e));
    struct bval since = bdoc_get(d, "since"), text = bdoc_get(d, "text"), fds = bdoc_get(d, "fds"),
                seen = bdoc_get(d, "keySeen");
    if (!bval_to_i64(bdoc_get(d, "mode"), &mode) || mode <= HANDOFF_NONE ||
        mode >= HANDOFF_MODE_NR || since.type != BT_INT64 ||
        !bval_to_i64(bdoc_get(d, "cause"), &cause) || !bval_to_i64(bdoc_get(d, "lock"), &lock) ||
        lock < -1 || lock > INT32_MAX || !bval_to_i64(bdoc_get(d, "storageTries"), &tries) ||
        tries < 0 || tries > INT32_MAX || text.type != BT_STRING || fds.type != BT_ARRAY ||
        seen.type != BT_BOOL)
        FAIL(e, ERR_CONFIG, "the hand-off of the process before cannot be read");
    out->mode = (enum handoff_mode)mode;
    out->since_ms = bval_i64(since);
    out->key_seen = bval_bool(seen);
    out->cause = (enum err_code)cause;
    out->storage_tries = (int32_t)tries;
    out->lock_fd = (int)lock;
    if (lock >= 0 && fcntl((int)lock, F_SETFD, FD_CLOEXEC) < 0)
        FAIL(e, ERR_CONFIG, "the hand-off names a lock that is not open");
    struct slice t = bval_str(text);
    snprintf(out->cause_text, sizeof(out->cause_text), "%.*s", (int)t.len, (const char *)t.p);
    return decode_fds(bval_doc(fds), out, e);
}

RC handoff_take(struct handoff *out, struct err *e)
{
    *out = (struct handoff){ .mode = HANDOFF_NONE, .lock_fd = -1 };
    const char *env = getenv(HANDOFF_ENV);
    if (!env)
        return RC_OK;
    int64_t number;
    if (!text_i64(slice_str(env), &number) || number < 3 || number > INT32_MAX)
        FAIL(e, ERR_CONFIG, "the environment's " HANDOFF_ENV " is not a file descriptor");
    unsetenv(HANDOFF_ENV);
    AUTO(fd_closep) int fd = (int)number;
    AUTO(buf_fini) struct buf text = BUF_INIT;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return file_err(e, errno, "read", "the hand-off");
    TRY(file_read_fd(fd, HANDOFF_MAX, &text, e));
    struct handoff h = { .mode = HANDOFF_NONE, .lock_fd = -1 };
    TRY(decode(buf_view(&text), &h, e));
    *out = h;
    return RC_OK;
}

static void keep_open(int fd)
{
    fcntl(fd, F_SETFD, 0);
}

RC handoff_exec(int self_fd, char **argv, const struct handoff *h, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    encode(h, &text);
    int fd = memfd_create("coffer-handoff", 0);
    if (fd < 0)
        return file_err(e, errno, "make", "the hand-off");
    TRY(file_write_fd(fd, buf_view(&text), e));
    char number[16];
    snprintf(number, sizeof(number), "%d", fd);
    if (setenv(HANDOFF_ENV, number, 1) < 0)
        FAIL(e, ERR_INTERNAL, "cannot set the environment: %s", strerror(errno));
    /* Everything closes on exec but what the successor needs. */
    if (syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) < 0)
        FAIL(e, ERR_INTERNAL, "cannot mark the file descriptors: %s", strerror(errno));
    keep_open(fd);
    for (int i = 0; i < h->n_fds; i++)
        keep_open(h->fds[i]);
    if (h->lock_fd >= 0)
        keep_open(h->lock_fd);
    fexecve(self_fd, argv, environ);
    FAIL(e, ERR_INTERNAL, "cannot execute the program again: %s", strerror(errno));
}
