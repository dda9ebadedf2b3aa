/* test_crash.c - kill -9 under load: what was acknowledged is there, and records and indexes agree.
 *
 *   store_test_crash                     LOOPS rounds (COFFER_CRASH_LOOPS, 6 by default) from COFFER_SEED
 *   store_test_crash write DIR FD        the child: writers, each acknowledgement a line on FD; runs until killed
 *   store_test_crash make DIR clean|dirty  a store with every kind of file in it, for the tests of what is on disk
 *
 * Thread t commits, for s = 0, 1, 2 ...: record (t, s) with a text that follows from it, and its index entry, in one transaction; every fifth also deletes
 * record s - 3 and its entry. So for each thread the store must hold exactly a prefix of that history, at least as long as was acknowledged.
 */
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>

#include "support.h"

enum { WRITERS = 6, TEXT_MAX = 1500 };

extern char **environ;

static size_t text_of(unsigned t, unsigned s, char *out)
{
    size_t len = 20 + (s * 7919u + t * 104729u) % (TEXT_MAX - 20);

    for (size_t i = 0; i < len; i++)
        out[i] = (char)('a' + (i * 31 + s * 7 + t) % 26);
    return len;
}

static void key_of(uint8_t key[20], unsigned ident, unsigned t, unsigned s)
{
    put_be64(key, ident);
    put_be32(key + 8, t);
    put_be64(key + 12, s);
}

static struct store_config crash_config(const char *dir, struct keyring *k)
{
    struct store_config c = config_for(dir, k);

    c.memtable_bytes = 256 << 10;
    c.anchor_interval_us = 20000;
    c.anchor_bytes = 64 << 10;
    return c;
}

/* ---- the child ---------------------------------------------------------------------------------- */

struct writer {
    struct store *s;
    unsigned t, next;
    int fd;
};

static void step(struct writer *w, unsigned s)
{
    char text[TEXT_MAX];
    uint8_t key[20];
    struct store_txn *t;
    struct err e = { 0 };
    rc_t rc;

    rc = store_begin(w->s, &t, &e);
    key_of(key, 1, w->t, s);
    if (!rc.failed)
        rc = store_put(t, STORE_RECORDS, SLICE(key, sizeof(key)),
                       SLICE(text, text_of(w->t, s, text)), &e);
    key_of(key, 2, w->t, s);
    if (!rc.failed)
        rc = store_put(t, STORE_INDEXES, SLICE(key, sizeof(key)), SLICE_EMPTY, &e);
    if (s % 5 == 4) {
        key_of(key, 1, w->t, s - 3);
        if (!rc.failed)
            rc = store_del(t, STORE_RECORDS, SLICE(key, sizeof(key)), &e);
        key_of(key, 2, w->t, s - 3);
        if (!rc.failed)
            rc = store_del(t, STORE_INDEXES, SLICE(key, sizeof(key)), &e);
    }
    if (!rc.failed)
        rc = store_commit(&t, STORE_SYNC, &e);
    if (rc.failed) {
        fprintf(stderr, "writer %u: %d %s\n", w->t, (int)e.code, e.msg);
        _exit(3);
    }
}

static void *write_for_ever(void *arg)
{
    struct writer *w = arg;

    for (unsigned s = w->next;; s++) {
        char line[32];
        int n;

        step(w, s);
        n = snprintf(line, sizeof(line), "%u %u\n", w->t, s);
        if (write(w->fd, line, (size_t)n) != n)
            _exit(4);
    }
    return NULL;
}

/* The first s of thread t that is not there. */
static unsigned next_of(struct store *st, unsigned t)
{
    uint8_t lo[20], hi[20];
    struct store_cursor_opts o = { .space = STORE_RECORDS };
    struct store_cursor *c;
    unsigned next = 0;
    bool valid;

    key_of(lo, 1, t, 0);
    key_of(hi, 1, t + 1, 0);
    o.lower = SLICE(lo, sizeof(lo));
    o.upper = SLICE(hi, sizeof(hi));
    OK(store_cursor_open(st, NULL, NULL, &o, &c, &err));
    OK(store_cursor_last(c, &valid, &err));
    if (valid)
        next = (unsigned)get_be64(store_cursor_key(c).p + 12) + 1;
    store_cursor_close(c);
    return next;
}

static int child_write(const char *dir, int fd)
{
    struct keyring *k = key_ring(3);
    struct store_config c = crash_config(dir, k);
    struct writer w[WRITERS];
    pthread_t th[WRITERS];
    struct store *s;
    struct err e = { 0 };

    if (store_open(&c, &s, &e).failed) {
        fprintf(stderr, "open: %d %s\n", (int)e.code, e.msg);
        return 2;
    }
    for (unsigned t = 0; t < WRITERS; t++)
        w[t] = (struct writer){ .s = s, .t = t, .next = next_of(s, t), .fd = fd };
    for (unsigned t = 0; t < WRITERS; t++)
        th[t] = thread_start("writer", write_for_ever, &w[t]);
    for (unsigned t = 0; t < WRITERS; t++)
        thread_join(th[t]);
    return 0;
}

static int child_make(const char *dir, bool clean)
{
    struct keyring *k = key_ring(3);
    struct store_config c = crash_config(dir, k);
    struct store *s;

    c.journal_keep_s = 3600; /* an archive, too */
    OK(store_open(&c, &s, &err));
    for (int round = 0; round < 2; round++) {
        struct writer w = { .s = s };

        for (w.t = 0; w.t < 3; w.t++)
            for (unsigned i = next_of(s, w.t), n = i + 400; i < n; i++)
                step(&w, i);
        put1(s, STORE_META, "canary-key-QXZJKV", "canary-value-QXZJKV", STORE_SYNC);
        if (round == 0) {
            OK(store_flush(s, &err));
            if (clean) {
                OK(store_close(s, &err));
                OK(store_open(&c, &s, &err));
            }
        }
    }
    if (!clean)
        kill(getpid(), SIGKILL);
    OK(store_close(s, &err));
    keyring_unref(k);
    return 0;
}

/* ---- the parent --------------------------------------------------------------------------------- */

static uint64_t rng;

static unsigned rnd(unsigned n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((rng >> 33) % n);
}

static pid_t start_child(const char *dir, int *out)
{
    char fd_text[16];
    char *argv[] = { "/proc/self/exe", "write", (char *)dir, fd_text, NULL };
    int pipe_fd[2];
    pid_t pid;

    assert_int_equal(pipe2(pipe_fd, 0), 0);
    assert_int_equal(fcntl(pipe_fd[0], F_SETFD, FD_CLOEXEC), 0);
    snprintf(fd_text, sizeof(fd_text), "%d", pipe_fd[1]);
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    close(pipe_fd[1]);
    *out = pipe_fd[0];
    return pid;
}

/* Acknowledgements up to the kill; acked[t] is the number of commits that thread t was told of. */
static void run_and_kill(const char *dir, unsigned acked[WRITERS])
{
    struct buf in = BUF_INIT;
    uint64_t deadline;
    int fd, status;
    pid_t pid = start_child(dir, &fd);
    bool killed = false;
    size_t at = 0;

    deadline = clock_mono_us() + 20000000;
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        uint64_t now = clock_mono_us();
        ssize_t n;

        if (!killed && (now >= deadline)) {
            kill(pid, SIGKILL);
            killed = true;
        }
        if (poll(&p, 1, killed ? -1 : (int)((deadline - now) / 1000) + 1) == 0)
            continue;
        buf_reserve(&in, 65536);
        n = read(fd, in.p + in.len, 65536);
        if (n <= 0)
            break;
        if (in.len == 0) /* the first acknowledgement: from here on at a random moment */
            deadline = clock_mono_us() + 5000 + rnd(250) * 1000;
        in.len += (size_t)n;
    }
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (at < in.len) {
        const uint8_t *nl = memchr(in.p + at, '\n', in.len - at);
        unsigned t, s;

        if (!nl)
            break; /* cut off with the process */
        assert_int_equal(sscanf((const char *)in.p + at, "%u %u", &t, &s), 2);
        assert_true(t < WRITERS && s + 1 > acked[t]);
        acked[t] = s + 1;
        at = (size_t)(nl - in.p) + 1;
    }
    buf_fini(&in);
}

static bool expected(unsigned s, unsigned next)
{
    return s < next && !(s % 5 == 1 && s + 3 < next); /* s % 5 == 1 is deleted by s + 3 */
}

static void check_thread(struct store *st, unsigned t, unsigned acked)
{
    unsigned next = next_of(st, t);
    struct store_snapshot *snap = store_snapshot(st);
    struct store_pin pin = { 0 };
    char text[TEXT_MAX];
    uint8_t key[20];

    if (next < acked)
        fail_msg("thread %u: %u acknowledged, %u there", t, acked, next);
    for (unsigned s = 0; s < next; s++) {
        struct slice v;
        struct err e = { 0 };
        bool record, entry;

        key_of(key, 1, t, s);
        record = !store_snapshot_get(st, snap, STORE_RECORDS, SLICE(key, sizeof(key)), &pin, &v, &e)
                      .failed;
        if (record != expected(s, next))
            fail_msg("thread %u: record %u of %u is %s", t, s, next,
                     record ? "still there" : "lost");
        if (record && !slice_eq(v, SLICE(text, text_of(t, s, text))))
            fail_msg("thread %u: record %u has a wrong text", t, s);
        err_reset(&e);
        key_of(key, 2, t, s);
        entry = !store_snapshot_get(st, snap, STORE_INDEXES, SLICE(key, sizeof(key)), &pin, &v, &e)
                     .failed;
        if (record != entry)
            fail_msg("thread %u: record and index of %u do not agree", t, s);
    }
    store_pin_release(&pin);
    store_snapshot_release(snap);
}

static void nothing_acknowledged_is_lost(void **state)
{
    const char *loops_text = getenv("COFFER_CRASH_LOOPS"), *seed_text = getenv("COFFER_SEED");
    unsigned loops = loops_text ? (unsigned)strtoul(loops_text, NULL, 10) : 6,
             acked[WRITERS] = { 0 }, sum = 0;
    struct keyring *k = key_ring(3);
    const char *dir = tmp_path();

    (void)state;
    rng = seed_text ? strtoull(seed_text, NULL, 0) : clock_mono_us();
    printf("seed %llu, %u loops\n", (unsigned long long)rng, loops);
    for (unsigned i = 0; i < loops; i++) {
        struct store_config c = crash_config(dir, k);
        struct store *s;

        run_and_kill(dir, acked);
        OK(store_open(&c, &s, &err));
        for (unsigned t = 0; t < WRITERS; t++)
            check_thread(s, t, acked[t]);
        for (unsigned t = 0; t < WRITERS; t++)
            acked[t] = next_of(s, t); /* what survived once stays */
        OK(store_close(s, &err));
        if (i % 10 == 9) { /* not for ever larger */
            for (unsigned t = 0; t < WRITERS; t++) {
                sum += acked[t];
                acked[t] = 0;
            }
            rm_rf(dir);
        }
    }
    for (unsigned t = 0; t < WRITERS; t++)
        sum += acked[t];
    printf("%u commits survived, none was lost\n", sum);
    rm_rf(dir);
    keyring_unref(k);
}

/* A crash during the recovery of a crash, over and over. */
static void recovery_can_be_killed(void **state)
{
    static const char *const points[] = {
        "fs.create.table",   "fs.append.table",   "fs.sync.table",    "fs.append.manifest",
        "fs.sync.manifest",  "fs.rename.small",   "fs.append.anchor", "fs.rename.anchor",
        "fs.create.journal", "fs.delete.journal", "fs.dirsync"
    };
    unsigned acked[WRITERS] = { 0 };
    struct keyring *k = key_ring(3);
    const char *dir = tmp_path();
    struct store_config c = crash_config(dir, k);
    struct store *s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        char fault[64], *argv[] = { "/proc/self/exe", "write", (char *)dir, "1", NULL };
        char *env[] = { fault, NULL };
        int status;
        posix_spawn_file_actions_t fa;
        pid_t pid;

        if (i % 4 == 0)
            run_and_kill(dir, acked);
        snprintf(fault, sizeof(fault), "COFFER_FAULTS=%s=kill:%zu", points[i], i % 2);
        posix_spawn_file_actions_init(&fa);
        posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
        assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &fa, NULL, argv, env), 0);
        posix_spawn_file_actions_destroy(&fa);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s was not reached: status %x", points[i], (unsigned)status);
    }
    OK(store_open(&c, &s, &err));
    for (unsigned t = 0; t < WRITERS; t++)
        check_thread(s, t, acked[t]);
    OK(store_close(s, &err));
    rm_rf(dir);
    keyring_unref(k);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost),
        cmocka_unit_test(recovery_can_be_killed),
    };
    int rc;

    support_init();
    fault_init_from_env();
    if (argc == 4 && strcmp(argv[1], "write") == 0)
        rc = child_write(argv[2], (int)strtol(argv[3], NULL, 10));
    else if (argc == 4 && strcmp(argv[1], "make") == 0)
        rc = child_make(argv[2], strcmp(argv[3], "clean") == 0);
    else {
        support_tmp();
        rc = cmocka_run_group_tests(tests, NULL, NULL);
        support_fini();
    }
    return rc;
}
