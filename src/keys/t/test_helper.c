/* test_helper.c - the unwrap helper: a real child process, its surroundings, its failures, and what the parent's memory holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "crypto/aead.h"
#include "helper_proto.h"
#include "keys/helper.h"
#include "keys/service_root.h"
#include "scene.h"

/* The child's part: this program, started with HELPER_ARG. Its config says what to be. */

static struct fake_vault vault;

/* What unwrapping gives in mode "pattern": not in the text of the program, so that the parent's memory has it only by the answer. */
static void pattern(uint8_t out[32])
{
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(0x5a ^ (i * 37 + 11));
}

static RC odd_unwrap(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                     uint64_t deadline_us, struct secret **out, struct err *e)
{
    (void)p;
    (void)fresh;
    (void)deadline_us;
    *out = NULL;
    if (strcmp(w->version, "hang") == 0)
        clock_sleep_us(60000000);
    if (strcmp(w->version, "die") == 0)
        _exit(1);
    if (strcmp(w->version, "abort") == 0)
        raise(SIGKILL);
    if (strcmp(w->version, "garbage") == 0) {
        static const char junk[] = "\xff\xff\xff\xff garbage";
        (void)!send(HELPER_FD, junk, sizeof(junk), MSG_NOSIGNAL);
    }
    if (strcmp(w->version, "half") == 0) {
        static const uint8_t half[] = { 0, 0, 0, 40, HELPER_OK, 0, 32 };
        (void)!send(HELPER_FD, half, sizeof(half), MSG_NOSIGNAL);
        _exit(0);
    }
    if (strcmp(w->version, "pattern") == 0) {
        TRY(secret_new(32, out, e));
        pattern(secret_bytes(*out));
        return RC_OK;
    }
    FAIL(e, ERR_KEY_DENIED, "the key is disabled: %s", w->version);
}

/* their options come by the environment, their files stay open */
#if !defined(COFFER_ASAN) && !defined(COFFER_TSAN)
/* surroundings(): what a helper must find: nothing in the environment, no descriptor but its own, no core. */
static RC surroundings(struct err *e)
{
    extern char **environ;
    DIR *d = opendir("/proc/self/fd");
    struct dirent *de;

    if (environ && *environ && strcmp(*environ, "HELPER_TEST=1") != 0)
        FAIL(e, ERR_CONFIG, "the environment has %s", *environ);
    while (d && (de = readdir(d))) {
        int fd = atoi(de->d_name);

        if (de->d_name[0] != '.' && fd > HELPER_FD + 1 && fd != dirfd(d))
            FAIL(e, ERR_CONFIG, "descriptor %d is open", fd);
    }
    closedir(d);
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        FAIL(e, ERR_CONFIG, "the helper can be dumped");
    return RC_OK;
}
#endif

static RC make(struct slice config, void *arg, struct key_provider **out, struct err *e)
{
    (void)arg;
    *out = NULL;
    if (slice_eq_str(config, "refuse"))
        FAIL(e, ERR_CONFIG, "this configuration is refused");
    if (slice_eq_str(config, "die"))
        _exit(9);
/* their options come by the environment, their files stay open */
#if !defined(COFFER_ASAN) && !defined(COFFER_TSAN)
    TRY(surroundings(e));
#endif
    if (slice_has_prefix(config, SLICE_LIT("/"))) { /* "ROOT DATA": the service root */
        char root[128], data[128];
        struct service_root_info info;

        if (sscanf((const char *)config.p, "%127s %127s", root, data) != 2)
            FAIL(e, ERR_CONFIG, "bad configuration");
        return service_root_open(root, data, out, &info, e);
    }
    fake_init(&vault);
    memset(vault.v[0].kek, 7, 32);
    if (slice_eq_str(config, "odd"))
        vault.p.unwrap = odd_unwrap;
    *out = &vault.p;
    return RC_OK;
}

static int child_main(void)
{
    struct err e = { 0 };

    if (helper_harden(&e).failed || secret_arena_init(1 << 16, &e).failed ||
        crypto_init(&e).failed || helper_serve(HELPER_FD, make, NULL, &e).failed)
        return 1;
    return 0;
}

/* The parent's part. */

static int exe_fd = -1;

static struct key_provider *start(const char *config)
{
    struct key_provider *p = NULL;
    struct helper_config c = { .exe_fd = exe_fd,
                               .argv0 = "test-helper",
                               .config = slice_str(config) };
    struct err e = { 0 };

    scene_must(helper_provider_new(&c, &p, &e), &e);
    return p;
}

static uint64_t soon(void)
{
    return clock_mono_us() + 3000000;
}

/* no_children(): every helper was waited for. */
static void no_children(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void every_call_goes_through(void **state)
{
    struct key_provider *p = start("honest");
    struct secret *plain = NULL, *back = NULL;
    struct wrapped_key w;
    struct key_info info;
    struct err e = { 0 };

    (void)state;
    scene_must(p->get_key(p, NULL, soon(), &info, &e), &e);
    assert_string_equal(info.version, "v1");
    assert_string_equal(info.kty, "RSA");
    assert_int_equal(info.bits, 2048);
    assert_true(info.enabled && info.can_wrap && info.can_unwrap);
    assert_int_equal(info.server_date_s, 1700000000);
    assert_int_equal(info.grace_ms, -1);
    assert_int_equal(info.public_sha256[31], 1);
    for (size_t len = 1; len <= 200; len += 33) {
        scene_must(secret_random(len, &plain, &e), &e);
        scene_must(p->wrap(p, "v1", plain, soon(), &w, &e), &e);
        assert_string_equal(w.version, "v1");
        scene_must(p->unwrap(p, &w, true, soon(), &back, &e), &e);
        assert_true(secret_equal(plain, back));
        secret_freep(&plain);
        secret_freep(&back);
    }
    /* errors come through as they are */
    assert_true(p->get_key(p, "v2", soon(), &info, &e).failed);
    assert_int_equal(e.code, ERR_KEY_NOT_FOUND);
    assert_string_equal(e.msg, "there is no such version");
    err_reset(&e);
    scene_must(p->get_key(p, "v1", soon(), &info, &e), &e); /* and the helper goes on serving */
    p->free(p);
    no_children();
}

static void unwrap_of(struct key_provider *p, const char *what, uint64_t deadline,
                      enum err_code want)
{
    struct wrapped_key w = { .alg = "X", .len = 1 };
    struct secret *out = NULL;
    struct err e = { 0 };

    snprintf(w.version, sizeof(w.version), "%s", what);
    rc_t rc = p->unwrap(p, &w, false, deadline, &out, &e);
    assert_int_equal(e.code, want);
    assert_int_equal(rc.failed, want != ERR_NONE);
    assert_int_equal(out == NULL, rc.failed);
    secret_free(out);
}

static void failures_are_told_apart(void **state)
{
    struct key_provider *p = start("odd");
    uint64_t began;

    (void)state;
    unwrap_of(p, "denied", soon(), ERR_KEY_DENIED);
    unwrap_of(p, "die", soon(), ERR_KEY_UNREACHABLE);
    no_children(); /* taken down, and a new one is started by the next call */
    unwrap_of(p, "pattern", soon(), ERR_NONE);
    unwrap_of(p, "abort", soon(), ERR_KEY_UNREACHABLE);
    unwrap_of(p, "garbage", soon(), ERR_KEY_BAD_ANSWER);
    unwrap_of(p, "half", soon(), ERR_KEY_BAD_ANSWER);
    no_children();
    began = clock_mono_us();
    unwrap_of(p, "hang", clock_mono_us() + 100000, ERR_KEY_UNREACHABLE);
    assert_true(clock_mono_us() - began < 2000000);
    no_children();
    unwrap_of(p, "pattern", soon(), ERR_NONE);
    p->free(p);
    no_children();
}

static void a_bad_start_is_told(void **state)
{
    struct key_provider *p = start("refuse");
    struct key_info info;
    struct err e = { 0 };

    (void)state;
    assert_true(p->get_key(p, NULL, soon(), &info, &e).failed);
    assert_int_equal(e.code, ERR_CONFIG);
    assert_string_equal(e.msg, "this configuration is refused");
    no_children();
    p->free(p);
    err_reset(&e);
    p = start("die");
    assert_true(p->get_key(p, NULL, soon(), &info, &e).failed);
    assert_int_equal(e.code, ERR_KEY_UNREACHABLE);
    p->free(p);
    no_children();
    struct helper_config c = { .exe_fd = open("/dev/null", O_RDONLY | O_CLOEXEC), .argv0 = "x" };
    err_reset(&e);
    scene_must(helper_provider_new(&c, &p, &e), &e);
    assert_true(p->get_key(p, NULL, soon(), &info, &e).failed); /* not a program */
    assert_int_equal(e.code, ERR_INTERNAL);
    p->free(p);
    close(c.exe_fd);
    AUTO(buf_fini) struct buf big = BUF_INIT;
    (void)buf_extend(&big, HELPER_CONFIG_MAX + 1);
    c.config = buf_view(&big);
    err_reset(&e);
    assert_true(helper_provider_new(&c, &p, &e).failed);
    assert_int_equal(e.code, ERR_CONFIG);
}

/* Every send, receive and spawn in turn fails once. */
static void every_failure_is_clean(void **state)
{
    const uint64_t before = secret_live_count(); /* schedules of the known answers */
    bool reached = true;

    (void)state;
    for (uint64_t n = 1; reached; n++) {
        struct key_provider *p = start("honest");
        struct secret *plain = NULL, *back = NULL;
        struct wrapped_key w;
        struct err e = { 0 };
        bool ok;

        scene_must(secret_random(32, &plain, &e), &e);
        fault_fail_nth(n);
        ok = !p->wrap(p, "v1", plain, soon(), &w, &e).failed &&
             !p->unwrap(p, &w, false, soon(), &back, &e).failed;
        reached = fault_total() >= n;
        fault_disarm_all();
        assert_int_equal(ok, !reached);
        assert_int_equal(back == NULL, !ok);
        secret_freep(&back);
        err_reset(&e);
        scene_must(p->wrap(p, "v1", plain, soon(), &w, &e), &e);
        secret_free(plain);
        p->free(p);
        assert_int_equal(secret_live_count(), before);
        no_children();
    }
}

/* A helper whose parent is killed ends too. */
static void it_dies_with_its_parent(void **state)
{
    int status, report[2];
    pid_t helper = 0, pid;

    (void)state;
    assert_int_equal(pipe(report), 0);
    pid = fork();
    if (pid == 0) {
        char name[64];
        FILE *f;
        struct key_provider *p = start("honest");
        struct key_info info;
        struct err e = { 0 };

        if (p->get_key(p, NULL, soon(), &info, &e).failed)
            _exit(2);
        snprintf(name, sizeof(name), "/proc/self/task/%d/children", (int)getpid());
        f = fopen(name, "re");
        if (!f || fscanf(f, "%d", &helper) != 1)
            _exit(3);
        (void)!write(report[1], &helper, sizeof(helper));
        raise(SIGKILL);
    }
    close(report[1]);
    assert_int_equal(read(report[0], &helper, sizeof(helper)), sizeof(helper));
    close(report[0]);
    waitpid(pid, &status, 0);
    for (int i = 0; i < 200 && kill(helper, 0) == 0; i++) {
        char path[64], line[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)helper);
        FILE *f = fopen(path, "re");
        bool zombie = f && fgets(line, sizeof(line), f) && strstr(line, ") Z ");
        if (f)
            fclose(f);
        if (!f || zombie)
            return;
        clock_sleep_us(10000);
    }
    assert_int_not_equal(kill(helper, 0), 0);
}

#if !defined(COFFER_ASAN) && !defined(COFFER_TSAN) /* their shadows are too large to read */
/* count_in_memory(): how often bytes stand in this process's writable memory, outside of the range given. */
static int count_in_memory(const uint8_t *bytes, size_t len, uintptr_t skip_lo, uintptr_t skip_hi)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC), found = 0;
    char line[512], perm[8];
    uintptr_t lo, hi;
    enum { CHUNK = 1 << 16 };
    /* holds copies while scanning: left out below, and cleared */
    static uint8_t window[CHUNK + 64];

    while (fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx %7s", &lo, &hi, perm) != 3 || perm[0] != 'r' || perm[1] != 'w' ||
            (skip_lo >= lo && skip_lo < hi))
            continue;
        for (uintptr_t at = lo; at < hi; at += CHUNK) {
            ssize_t n = pread(mem, window, MIN((size_t)(hi - at), (size_t)CHUNK + 32), (off_t)at);

            for (ssize_t i = 0; n > 0 && i + (ssize_t)len <= MIN(n, (ssize_t)CHUNK); i++) {
                uintptr_t here = at + (uintptr_t)i;

                if (memcmp(window + i, bytes, len) == 0 &&
                    !(here >= (uintptr_t)window && here < (uintptr_t)window + sizeof(window)) &&
                    !(here >= skip_lo && here < skip_hi) && here != (uintptr_t)bytes)
                    found++;
            }
        }
    }
    memset(window, 0, sizeof(window));
    fclose(maps);
    close(mem);
    return found;
}

/* The answer went through the arena only: no buffer of the parent's heap or stack holds it. The positive control: a copy is found. */
static void the_parent_holds_it_only_in_the_arena(void **state)
{
    struct key_provider *p = start("odd");
    struct wrapped_key w = { .version = "pattern", .alg = "X", .len = 1 };
    struct secret *out = NULL;
    uint8_t want[32];
    char *copy;
    struct err e = { 0 };

    (void)state;
    scene_must(p->unwrap(p, &w, false, soon(), &out, &e), &e);
    pattern(want);
    assert_memory_equal(secret_view(out), want, 32);
    assert_int_equal(count_in_memory(want, 32, (uintptr_t)out, (uintptr_t)out + 64), 0);
    copy = mem_dup(want, 32);
    assert_true(count_in_memory(want, 32, (uintptr_t)out, (uintptr_t)out + 64) >= 1);
    mem_free(copy);
    secret_free(out);
    p->free(p);
}
#endif

static void a_cluster_lives_on_it(void **state)
{
    struct scene s;
    char config[256], root[128];
    struct key_provider *p;
    bool made;
    struct err e = { 0 };
    uint8_t fp[32], now[32];

    (void)state;
    scene_init(&s);
    snprintf(root, sizeof(root), "%s/outside/root.key", s.root);
    scene_must(service_root_ensure(root, &made, &e), &e);
    snprintf(config, sizeof(config), "%s %s", root, s.dir);
    p = start(config);
    s.cfg.provider = p;
    s.cfg.mode = KEY_MODE_SMK;
    scene_create(&s);
    scene_fingerprint(&s, 1, fp);
    scene_must(custody_new_generation(s.k, &e), &e);
    scene_open(&s);
    scene_fingerprint(&s, 1, now);
    assert_memory_equal(fp, now, 32);
    p->free(p);
    scene_fini(&s);
    no_children();
}

/* What a hostile parent might say to a helper, and a hostile helper to its parent: no length is believed. */
static void malformed_requests_end_it(void **state)
{
    static const uint8_t hello[] = { 0, 0, 0, 2, HELPER_HELLO, 'x' };
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        { "\0\0\0\0", 4 },     { "\0\0\x0f\xff", 4 },           { "\xff\xff\xff\xff", 4 },
        { "\0\0\0\1\x63", 5 }, { "\0\0\0\2\2\2", 6 },           { "\0\0\0\3\2\1\xff", 7 },
        { "\0\0\0\1\3", 5 },   { "\0\0\0\5\4\0\0\xff\xff", 9 }, { "\0\0\0\1\1", 5 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int pair[2], status;
        pid_t pid;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        pid = fork();
        if (pid == 0) {
            struct err e = { 0 };
            close(pair[1]);
            fake_init(&vault);
            _exit(helper_serve(pair[0], make, NULL, &e).failed ? 42 : 0);
        }
        close(pair[0]);
        (void)!send(pair[1], hello, sizeof(hello), MSG_NOSIGNAL);
        /* it may be gone after the hello */
        (void)!send(pair[1], bad[i].bytes, bad[i].len, MSG_NOSIGNAL);
        shutdown(pair[1], SHUT_WR);
        waitpid(pid, &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 42);
        close(pair[1]);
    }
}

static int setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    return exe_fd < 0 || secret_arena_init(1 << 18, &e).failed || crypto_init(&e).failed;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_goes_through),
        cmocka_unit_test(failures_are_told_apart),
        cmocka_unit_test(a_bad_start_is_told),
        cmocka_unit_test(every_failure_is_clean),
        cmocka_unit_test(it_dies_with_its_parent),
#if !defined(COFFER_ASAN) && !defined(COFFER_TSAN)
        cmocka_unit_test(the_parent_holds_it_only_in_the_arena),
#endif
        cmocka_unit_test(a_cluster_lives_on_it),
        cmocka_unit_test(malformed_requests_end_it),
    };

    if (argc == 2 && strcmp(argv[1], HELPER_ARG) == 0)
        return child_main();
    return cmocka_run_group_tests(tests, setup, NULL);
}
