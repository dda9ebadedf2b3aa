/* child.c - see child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/slice.h"

enum { POLL_US = 20000, TAIL_BYTES = 1200, STAT_MAX = 4096 };

/* start_time(): field 22 of /proc/PID/stat; 0 when there is no such process or it has ended. A first thread that is a zombie while others of
 * the process are still ending (num_threads, field 20) has not ended: its ports and locks are still held. */
static uint64_t start_time(pid_t pid)
{
    char path[64];
    struct buf text = BUF_INIT;
    struct err e = { 0 };
    uint64_t when = 0;
    char state = 'Z';
    long threads = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        /* The name of the program, in parentheses, may hold anything: the fields begin after the last one. */
        if (!file_read_fd(fd, STAT_MAX, &text, &e).failed) {
            const char *s = strrchr(buf_cstr(&text), ')');
            if (!s ||
                sscanf(
                    s,
                    ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %lu",
                    &state, &threads, &when) != 3)
                when = 0;
        }
        close(fd);
    }
    err_reset(&e);
    buf_fini(&text);
    return state == 'Z' && threads <= 1 ? 0 : when;
}

static bool read_pid_file(const char *path, pid_t *pid, uint64_t *when)
{
    struct buf text = BUF_INIT;
    struct err e = { 0 };
    bool ok = false;

    if (!file_read(path, 128, &text, &e).failed) {
        int n;
        unsigned long t;
        ok = sscanf(buf_cstr(&text), "%d %lu", &n, &t) == 2 && n > 1;
        if (ok) {
            *pid = n;
            *when = t;
        }
    }
    err_reset(&e);
    buf_fini(&text);
    return ok;
}

pid_t child_find(const char *pid_file)
{
    pid_t pid;
    uint64_t when;

    if (!read_pid_file(pid_file, &pid, &when) || start_time(pid) != when)
        return 0;
    return pid;
}

/* become(): in the child. Only what is safe between fork and exec; a failure shows as exit status 127 and a line of output. */
static void become(char *const argv[], int out_fd) __attribute__((noreturn));
static void become(char *const argv[], int out_fd)
{
    static const char failed[] = "cannot run the program\n";
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (setsid() >= 0 && null_fd >= 0 && dup2(null_fd, 0) == 0 && dup2(out_fd, 1) == 1 &&
        dup2(out_fd, 2) == 2)
        execv(argv[0], argv);
    if (write(out_fd, failed, sizeof(failed) - 1) < 0)
        _exit(126);
    _exit(127);
}

RC child_start(char *const argv[], const char *output_file, const char *pid_file, pid_t *out,
               struct err *e)
{
    char line[64];
    AUTO(fd_closep) int fd = open(output_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    *out = 0;
    if (fd < 0)
        return file_err(e, errno, "could not open", output_file);
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        FAIL(e, ERR_OPERATION_FAILED, "could not start \"%s\": %s", argv[0], strerror(errno));
    if (pid == 0)
        become(argv, fd);
    snprintf(line, sizeof(line), "%d %lu\n", (int)pid, (unsigned long)start_time(pid));
    if (file_write_atomic(pid_file, 0600, slice_str(line), e).failed) {
        kill(pid, SIGTERM);
        return RC_FAILED;
    }
    *out = pid;
    return RC_OK;
}

/* quote_tail(): the end of a log, for the message about a program that ended. */
static void quote_tail(struct err *e, const char *path)
{
    char tail[TAIL_BYTES + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    off_t size = lseek(fd, 0, SEEK_END);
    ssize_t n =
        size > 0 ? pread(fd, tail, TAIL_BYTES, size > TAIL_BYTES ? size - TAIL_BYTES : 0) : 0;
    close(fd);
    if (n <= 0)
        return;
    tail[n] = '\0';
    err_detail(e, "%s ends with: %s", path, tail);
}

RC child_wait_file(pid_t pid, const char *path, const char *output_file, const char *log_file,
                   uint64_t timeout_ms, struct err *e)
{
    uint64_t deadline = clock_mono_us() + timeout_ms * 1000;

    while (!path_exists(path)) {
        int status;
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid || (ended < 0 && !start_time(pid))) {
            rc_t rc = err_set(e, ERR_OPERATION_FAILED, __FILE__, __LINE__,
                              "the program ended before it was ready; see %s", log_file);
            quote_tail(e, output_file);
            quote_tail(e, log_file);
            return rc;
        }
        if (clock_mono_us() > deadline) {
            rc_t rc = err_set(e, ERR_TIMEOUT, __FILE__, __LINE__,
                              "the program was not ready after %llu ms; see %s",
                              (unsigned long long)timeout_ms, log_file);
            quote_tail(e, log_file);
            return rc;
        }
        clock_sleep_us(POLL_US);
    }
    return RC_OK;
}

/* wait_end(): true when the process ended before the deadline. Reaps it when it is our own child. */
static bool wait_end(pid_t pid, uint64_t when, uint64_t deadline_us)
{
    for (;;) {
        (void)waitpid(pid, NULL, WNOHANG);
        if (start_time(pid) != when)
            return true;
        if (clock_mono_us() > deadline_us)
            return false;
        clock_sleep_us(POLL_US);
    }
}

RC child_stop(const char *pid_file, uint64_t timeout_ms, struct err *e)
{
    pid_t pid;
    uint64_t when;

    if (read_pid_file(pid_file, &pid, &when) && start_time(pid) == when) {
        if (kill(pid, SIGTERM) != 0 && errno != ESRCH)
            FAIL(e, ERR_OPERATION_FAILED, "could not end process %d: %s", (int)pid,
                 strerror(errno));
        if (!wait_end(pid, when, clock_mono_us() + timeout_ms * 1000)) {
            kill(pid, SIGKILL);
            if (!wait_end(pid, when, clock_mono_us() + timeout_ms * 1000))
                FAIL(e, ERR_TIMEOUT, "process %d does not end", (int)pid);
        }
    }
    if (unlink(pid_file) != 0 && errno != ENOENT)
        return file_err(e, errno, "could not remove", pid_file);
    return RC_OK;
}

RC child_port_free(const char *setting, int64_t port, struct err *e)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    AUTO(fd_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0)
        FAIL(e, ERR_OPERATION_FAILED, "could not make a socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 1) != 0)
        FAIL(e, ERR_CONFIG,
             "port %lld of setting %s cannot be used: %s; choose another one with --%s=PORT",
             (long long)port, setting, strerror(errno), setting);
    return RC_OK;
}
