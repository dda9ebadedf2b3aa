/* harden.c - see harden.h. */
#include "harden.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

/* Names that make libraries write secrets to files, or send traffic by another way than the settings say. */
static const char *const unwanted[] = {
    "SSLKEYLOGFILE",   "http_proxy",      "https_proxy", "HTTP_PROXY", "HTTPS_PROXY",
    "all_proxy",       "ALL_PROXY",       "no_proxy",    "NO_PROXY",   "OPENSSL_CONF",
    "OPENSSL_MODULES", "OPENSSL_ENGINES", "CURL_HOME",   "LD_PRELOAD",
};

static void raise_limit(int what)
{
    struct rlimit l;
    if (getrlimit(what, &l) < 0)
        return;
    l.rlim_cur = l.rlim_max;
    /* Refused by some containers: then the soft limit stands, and whoever needs more says so. */
    (void)!setrlimit(what, &l);
}

/* Leave all memory out of any core, also one that root makes with gcore, which honours this filter. Before the process becomes undumpable: then the file
 * belongs to root. A kernel without it has no such cores to filter. */
static void empty_core_filter(void)
{
    AUTO(fd_closep) int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    struct err e = { 0 };
    if (fd >= 0 && file_write_fd(fd, SLICE_LIT("0"), &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
}

RC harden_process(struct err *e)
{
    empty_core_filter();
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        FAIL(e, ERR_CRYPTO, "cannot make the process undumpable: %s", strerror(errno));
    struct rlimit none = { 0, 0 };
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        FAIL(e, ERR_CRYPTO, "cannot turn core dumps off: %s", strerror(errno));
    for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
        unsetenv(unwanted[i]);
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_MEMLOCK);
    return RC_OK;
}

void harden_warn_swap(void)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };
    AUTO(fd_closep) int fd = open("/proc/swaps", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || file_read_fd(fd, 1 << 16, &text, &e).failed)
        return;
    /* The first line is the heading. */
    const char *line = strchr(buf_cstr(&text), '\n');
    if (line && line[1])
        log_event0(EV_SWAP_ENABLED);
}
