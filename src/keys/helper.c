/* helper.c - the parent's side of the unwrap helper: a key provider that asks a child process. */
#include "keys/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "helper_proto.h"

enum {
    EXE_FD = HELPER_FD + 1, /* where the program stands in the child, for exec */
    /* descriptors are moved above this before they are given their places */
    ABOVE = 10,
    START_US = 5 * 1000 * 1000, /* for the helper to say WELCOME */
    /* the helper is given so much more than its own deadline, to say what it saw */
    MARGIN_US = 500 * 1000,
    END_US = 1000 * 1000, /* to end once its socket is closed */
};

struct helper {
    struct key_provider p;
    int exe_fd; /* the caller's */
    char *argv0;
    struct buf config;
    const char *const *env; /* the caller's */
    pid_t pid;              /* 0: none runs */
    int fd;
    bool locked;
};

static struct helper *of(struct key_provider *p)
{
    return CONTAINER_OF(p, struct helper, p);
}

static const struct helper *of_const(const struct key_provider *p)
{
    return CONTAINER_OF((struct key_provider *)(uintptr_t)p, struct helper, p);
}

/* end(): close the socket, let the helper wipe and end, kill it if it does not. */
static void end(struct helper *h, bool at_once)
{
    uint64_t until = clock_mono_us() + END_US;

    fd_close(h->fd);
    h->fd = -1;
    if (!h->pid)
        return;
    while (!at_once && clock_mono_us() < until) {
        pid_t done = waitpid(h->pid, NULL, WNOHANG);

        if (done == h->pid || (done < 0 && errno == ECHILD)) {
            h->pid = 0;
            return;
        }
        clock_sleep_us(1000);
    }
    kill(h->pid, SIGKILL);
    while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    h->pid = 0;
}

static int arrange(posix_spawn_file_actions_t *fa, int sock, int exe)
{
    int rc = posix_spawn_file_actions_init(fa);

    if (!rc)
        rc = posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0);
    if (!rc)
        rc = posix_spawn_file_actions_addopen(fa, 1, "/dev/null", O_WRONLY, 0);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(fa, sock, HELPER_FD);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(fa, exe, EXE_FD);
    if (!rc)
        rc = posix_spawn_file_actions_addclosefrom_np(fa, EXE_FD + 1);
    return rc;
}

/* Signals as a program expects them at its start: none blocked, none ignored. */
static int signals(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    int rc = posix_spawnattr_init(attr);

    sigemptyset(&none);
    sigfillset(&all);
    if (!rc)
        rc = posix_spawnattr_setsigmask(attr, &none);
    if (!rc)
        rc = posix_spawnattr_setsigdefault(attr, &all);
    if (!rc)
        rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return rc;
}

static int spawn_with(struct helper *h, int sock, int exe)
{
    static char arg[] = HELPER_ARG;
    char path[32];
    char *argv[] = { h->argv0, arg, NULL }, *no_env[] = { NULL };
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    int rc = arrange(&fa, sock, exe);

    snprintf(path, sizeof(path), "/proc/self/fd/%d", EXE_FD);
    if (!rc)
        rc = signals(&attr);
    if (!rc) {
        rc = posix_spawn(&h->pid, path, &fa, &attr, argv,
                         h->env ? (char *const *)(uintptr_t)h->env : no_env);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&fa);
    if (rc)
        h->pid = 0;
    return rc;
}

static RC spawn(struct helper *h, struct err *e)
{
    AUTO(fd_closep) int theirs = -1;
    AUTO(fd_closep) int sock = -1;
    AUTO(fd_closep) int exe = -1;
    int pair[2], rc = fault_hit("helper.spawn");

    if (!rc && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        rc = errno;
    if (rc)
        FAIL(e, ERR_INTERNAL, "could not make a socket pair for the unwrap helper: %s",
             strerror(rc));
    h->fd = pair[0];
    theirs = pair[1];
    sock = fcntl(theirs, F_DUPFD_CLOEXEC, ABOVE);
    exe = fcntl(h->exe_fd, F_DUPFD_CLOEXEC, ABOVE);
    rc = sock < 0 || exe < 0 ? errno : spawn_with(h, sock, exe);
    if (rc) {
        end(h, true);
        FAIL(e, ERR_INTERNAL, "could not start the unwrap helper: %s", strerror(rc));
    }
    return RC_OK;
}

/* answer(): wait for a frame of type want; an ERROR becomes e. */
static RC answer(struct helper *h, struct helper_frame *f, enum helper_type want,
                 uint64_t deadline_us, struct in *in, struct err *e)
{
    enum helper_type t;
    bool closed;

    TRY(helper_receive(h->fd, deadline_us, f, &closed, e));
    if (closed) /* no answer is no verdict: whatever ended it, a provider's library perhaps */
        FAIL(e, ERR_KEY_UNREACHABLE, "the unwrap helper ended without an answer");
    *in = helper_fields(f, &t);
    if (t == HELPER_ERROR) {
        char msg[ERR_MSG_MAX] = { 0 }, detail[ERR_DETAIL_MAX] = { 0 };
        int64_t code = (int32_t)take_u32(in);
        size_t len = take_u16(in);

        take_bytes(in, msg, MIN(len, sizeof(msg) - 1));
        len = take_u16(in);
        take_bytes(in, detail, MIN(len, sizeof(detail) - 1));
        if (in->bad || in->left || code <= 0)
            FAIL(e, ERR_KEY_BAD_ANSWER, "the unwrap helper sent a malformed error");
        (void)!err_set(e, (enum err_code)code, __FILE__, __LINE__, "%s", msg).failed;
        if (e && detail[0])
            err_detail(e, "%s", detail);
        return RC_FAILED;
    }
    if (t != want)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the unwrap helper sent another answer than asked for");
    return RC_OK;
}

static RC start(struct helper *h, struct helper_frame *f, struct err *e)
{
    struct out o;
    struct in in;

    if (h->pid)
        return RC_OK;
    TRY(spawn(h, e));
    o = helper_begin(f, HELPER_HELLO);
    put_bytes(&o, h->config.p, h->config.len);
    TRY(helper_send(h->fd, f, &o, e));
    TRY(answer(h, f, HELPER_WELCOME, clock_mono_us() + START_US, &in, e));
    h->locked = take_u8(&in) == 1;
    return RC_OK;
}

/* The three calls: begin, send, wait, and take the helper down when anything but an orderly answer comes. */
struct call {
    struct helper_frame f;
    struct out o;
    struct in in;
    enum helper_type type;
};

static RC call_begin(struct helper *h, struct call *c, enum helper_type t, struct err *e)
{
    memset(c, 0, sizeof(*c));
    c->type = t;
    TRY(helper_frame_init(&c->f, e));
    if (start(h, &c->f, e).failed) {
        end(h, true);
        return RC_FAILED;
    }
    c->o = helper_begin(&c->f, t);
    return RC_OK;
}

static bool is_providers_verdict(const struct err *e)
{
    switch (e->code) {
    case ERR_KEY_UNREACHABLE:
    case ERR_KEY_THROTTLED:
    case ERR_KEY_DENIED:
    case ERR_KEY_NOT_FOUND:
    case ERR_KEY_CREDENTIAL:
    case ERR_WRONG_KEY: return true;
    default: return false;
    }
}

static RC call_run(struct helper *h, struct call *c, uint64_t deadline_us, struct err *e)
{
    struct err local = { 0 }, *why = e ? e : &local;

    if (!helper_send(h->fd, &c->f, &c->o, why).failed &&
        !answer(h, &c->f, HELPER_OK, deadline_us + MARGIN_US, &c->in, why).failed)
        return RC_OK;
    if (why->code == ERR_TIMEOUT)
        why->code = ERR_KEY_UNREACHABLE;
    if (!is_providers_verdict(why) || why->code == ERR_KEY_UNREACHABLE)
        end(h, true);
    return RC_FAILED;
}

static RC call_end(struct helper *h, struct call *c, struct err *e)
{
    if (!c->in.bad && c->in.left == 0)
        return RC_OK;
    end(h, true);
    FAIL(e, ERR_KEY_BAD_ANSWER, "the unwrap helper sent a malformed answer");
}

static void call_fini(struct call *c)
{
    helper_frame_fini(&c->f);
}

static RC helper_get_key(struct key_provider *p, const char *version, uint64_t deadline_us,
                         struct key_info *out, struct err *e)
{
    AUTO(call_fini) struct call c;
    struct helper *h = of(p);
    rc_t rc;

    memset(out, 0, sizeof(*out));
    TRY(call_begin(h, &c, HELPER_GET_KEY, e));
    put_version(&c.o, version);
    put_u64(&c.o, deadline_us);
    TRY(call_run(h, &c, deadline_us, e));
    take_info(&c.in, out);
    rc = call_end(h, &c, e);
    if (rc.failed)
        memset(out, 0, sizeof(*out));
    return rc;
}

static RC helper_wrap(struct key_provider *p, const char *version, const struct secret *plain,
                      uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    AUTO(call_fini) struct call c;
    struct helper *h = of(p);
    rc_t rc;

    memset(out, 0, sizeof(*out));
    TRY(call_begin(h, &c, HELPER_WRAP, e));
    put_version(&c.o, version);
    put_u64(&c.o, deadline_us);
    put_u16(&c.o, (uint16_t)secret_len(plain));
    put_bytes(&c.o, secret_view(plain), secret_len(plain));
    TRY(call_run(h, &c, deadline_us, e));
    take_wrapped(&c.in, out);
    rc = call_end(h, &c, e);
    if (rc.failed)
        memset(out, 0, sizeof(*out));
    return rc;
}

static RC helper_unwrap(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                        uint64_t deadline_us, struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *plain = NULL;
    AUTO(call_fini) struct call c;
    struct helper *h = of(p);
    const uint8_t *bytes;
    size_t len;

    *out = NULL;
    TRY(call_begin(h, &c, HELPER_UNWRAP, e));
    put_wrapped(&c.o, w);
    put_u8(&c.o, fresh);
    put_u64(&c.o, deadline_us);
    TRY(call_run(h, &c, deadline_us, e));
    len = take_u16(&c.in);
    bytes = take(&c.in, len);
    TRY(call_end(h, &c, e));
    if (!bytes || len == 0)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the unwrap helper sent an empty key");
    TRY(secret_from(bytes, len, &plain, e));
    *out = TAKE(plain);
    return RC_OK;
}

static void helper_free(struct key_provider *p)
{
    struct helper *h;

    if (!p)
        return;
    h = of(p);
    end(h, false);
    mem_free(h->argv0);
    buf_fini(&h->config);
    mem_free(h);
}

RC helper_provider_new(const struct helper_config *c, struct key_provider **out, struct err *e)
{
    struct helper *h;

    *out = NULL;
    if (c->config.len > HELPER_CONFIG_MAX)
        FAIL(e, ERR_CONFIG,
             "the key provider's configuration of %zu bytes is too long for the unwrap helper",
             c->config.len);
    h = NEW(struct helper);
    h->p = (struct key_provider){ .name = "unwrap-helper",
                                  .get_key = helper_get_key,
                                  .wrap = helper_wrap,
                                  .unwrap = helper_unwrap,
                                  .free = helper_free };
    h->exe_fd = c->exe_fd;
    h->argv0 = mem_strdup(c->argv0);
    h->env = c->env;
    h->fd = -1;
    buf_push(&h->config, c->config.p, c->config.len);
    *out = &h->p;
    return RC_OK;
}

bool helper_provider_locked(const struct key_provider *p)
{
    return of_const(p)->locked;
}
