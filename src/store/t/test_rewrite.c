/* test_rewrite.c - re-encryption: from one key generation to the next, with writers, pauses, full disks, open cursors; killed and failed at every step.
 *
 *   store_test_rewrite                          everything; COFFER_REWRITE_STEP=1: at every single step (default: a few)
 *   store_test_rewrite rewrite DIR POINT SKIP   the child: rewrites DIR to generation 2, killed at the SKIP-th call of POINT
 */
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>

#include "support.h"

extern char **environ;

enum { DOCS = 600, FEW_DOCS = 200, ROWS = 64 };

static void doc_key(char out[32], unsigned n)
{
    snprintf(out, 32, "doc%06u", n);
}

static void doc_text(char out[200], unsigned n)
{
    snprintf(out, 200, "%u:", n);
    for (size_t i = strlen(out); i < 199; i++)
        out[i] = (char)('a' + (n * 7 + i * i) % 26);
    out[199] = 0;
}

static void on_event(void *arg, enum store_event ev, const char *text)
{
    (void)arg;
    if (getenv("COFFER_SHOW"))
        fprintf(stderr, "event %d: %s\n", (int)ev, text);
}

static struct store_config rw_config(const char *dir, struct keyring *k)
{
    struct store_config c = config_for(dir, k);

    c.on_event = on_event;

    c.memtable_bytes = 64 << 10;
    c.journal_keep_s = 3600; /* an archive, too */
    c.anchor_interval_us = 20000;
    return c;
}

static void fill(struct store *s, unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++) {
        char key[32], text[200];

        doc_key(key, n);
        doc_text(text, n);
        put1(s, n % 3 ? STORE_RECORDS : STORE_INDEXES, key, text, STORE_NOSYNC);
        if (n % 100 == 99)
            OK(store_flush(s, &err));
    }
    OK(store_sync(s, &err));
}

static void check(struct store *s, unsigned to)
{
    for (unsigned n = 0; n < to; n++) {
        char key[32], text[200];

        doc_key(key, n);
        doc_text(text, n);
        assert_string_equal(get1(s, n % 3 ? STORE_RECORDS : STORE_INDEXES, key), text);
    }
}

/* Files under gen, by the census. */
static uint64_t files_under(const char *dir, uint32_t gen)
{
    struct store_census_row rows[ROWS];
    int n;

    OK(store_census_dir(dir, rows, ROWS, &n, &err));
    for (int i = 0; i < n; i++)
        if (rows[i].gen == gen)
            return rows[i].n_files;
    return 0;
}

/* A ring with generations lo to hi, all different; hi is current. */
static struct keyring *ring_of(uint32_t lo, uint32_t hi)
{
    struct keyring *k = keyring_new();

    for (uint32_t g = lo; g <= hi; g++)
        key_add(k, g, (uint8_t)(40 + g));
    return k;
}

/* Two tables in each space: too few for the engine to compact by itself, which it does at its own pace. */
static void make_small_old(const char *dir)
{
    struct keyring *k = ring_of(1, 1);
    struct store_config c = rw_config(dir, k);
    struct store *s;

    OK(store_open(&c, &s, &err));
    fill(s, 0, FEW_DOCS);
    OK(store_close(s, &err));
    keyring_unref(k);
}

/* A store under generation 1 with every kind of file: tables on several levels, archived journals, a second manifest. */
static void make_old(const char *dir)
{
    struct keyring *k = ring_of(1, 1);
    struct store_config c = rw_config(dir, k);
    struct store *s;

    for (unsigned round = 0; round < 2; round++) {
        OK(store_open(&c, &s, &err));
        fill(s, round * DOCS / 2, (round + 1) * DOCS / 2);
        OK(store_close(s, &err));
    }
    keyring_unref(k);
}

static void copy_dir(const char *from, const char *to)
{
    char *argv[] = { "cp", "-a", (char *)from, (char *)to, NULL };
    int status;
    pid_t pid;

    rm_rf(to);
    assert_int_equal(posix_spawnp(&pid, "cp", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Opens with the new generation alone, and everything is there. */
static void check_with_new_alone(const char *dir, uint32_t gen, unsigned docs)
{
    struct keyring *k = ring_of(gen, gen);
    struct store_config c = rw_config(dir, k);
    struct store *s;

    c.create = false;
    OK(store_open(&c, &s, &err));
    check(s, docs);
    OK(store_close(s, &err));
    keyring_unref(k);
}

struct rewriter {
    struct store *s;
    bool done;
    struct err e;
    pthread_t thread;
    atomic_bool over;
};

static void *rewrite_on(void *arg)
{
    struct rewriter *r = arg;

    if (store_rewrite(r->s, &r->done, &r->e).failed)
        r->done = false;
    atomic_store(&r->over, true);
    return NULL;
}

static void start(struct rewriter *r, struct store *s)
{
    *r = (struct rewriter){ .s = s };
    r->thread = thread_start("rewriter", rewrite_on, r);
}

static bool reaches(struct store *s, enum store_rewrite_state want)
{
    struct store_rewrite_status st;

    for (int i = 0; i < 3000; i++, clock_sleep_us(10000)) {
        store_rewrite_status(s, &st);
        if (st.state == want)
            return true;
    }
    return false;
}

static void everything_moves(void **state)
{
    const char *dir = tmp_path();
    struct keyring *k = ring_of(1, 2), *two = ring_of(2, 2);
    struct store_config c = rw_config(dir, k);
    struct store_rewrite_status st;
    struct store *s;
    bool done;

    (void)state;
    make_old(dir);
    assert_true(files_under(dir, 1) > 10);
    assert_int_equal(files_under(dir, 2), 0);
    c.keyring = two; /* the control: without the old generation nothing opens before */
    FAILS(ERR_MISSING_GENERATION, store_open(&c, &s, &err));
    c.keyring = k;
    OK(store_open(&c, &s, &err));
    assert_true(files_under(dir, 1) > 0);
    OK(store_rewrite(s, &done, &err));
    assert_true(done);
    assert_int_equal(files_under(dir, 1), 0);
    assert_true(files_under(dir, 2) > 10);
    store_rewrite_status(s, &st);
    assert_int_equal(st.state, STORE_RW_IDLE);
    assert_int_equal(st.gen, 2);
    assert_int_equal(st.files_left, 0);
    assert_true(st.files_done > 5 && st.bytes_done > 20000);
    keyring_drop(k, 1);
    check(s, DOCS); /* without the old key, also what must be read from disk */
    fill(s, DOCS, DOCS + 50);
    OK(store_close(s, &err));
    check_with_new_alone(dir, 2, DOCS + 50);
    keyring_unref(k);
    keyring_unref(two);
    rm_rf(dir);
}

/* ---- under load -------------------------------------------------------------------------------- */

struct load {
    struct store *s;
    unsigned id;
    atomic_bool stop;
    atomic_uint acked;
    pthread_t thread;
};

static void *load_on(void *arg)
{
    struct load *l = arg;

    for (unsigned n = 0; !atomic_load(&l->stop); n++) {
        struct err e = { 0 };
        struct store_txn *t;
        char key[32], value[200];

        snprintf(key, sizeof(key), "load%u-%08u", l->id, n);
        doc_text(value, n);
        if (store_begin(l->s, &t, &e).failed ||
            store_put(t, STORE_RECORDS, slice_str(key), slice_str(value), &e).failed ||
            store_commit(&t, n % 16 ? STORE_NOSYNC : STORE_SYNC, &e).failed) {
            fprintf(stderr, "load: %d %s\n", (int)e.code, e.msg);
            abort();
        }
        atomic_store(&l->acked, n + 1);
    }
    return NULL;
}

static void many_in_a_row_under_load(void **state)
{
    const char *dir = tmp_path(), *rounds_text = getenv("COFFER_ROTATIONS");
    uint32_t rounds = rounds_text ? (uint32_t)strtoul(rounds_text, NULL, 10) : 20;
    struct keyring *k = ring_of(1, 1);
    struct store_config c = rw_config(dir, k);
    struct load l[2];
    struct store *s;
    size_t before = 0;
    bool done;

    (void)state;
    c.journal_keep_s = 0;
    OK(store_open(&c, &s, &err));
    fill(s, 0, DOCS);
    for (unsigned i = 0; i < 2; i++) {
        l[i] = (struct load){ .s = s, .id = i };
        l[i].thread = thread_start("load", load_on, &l[i]);
    }
    for (uint32_t g = 2; g < 2 + rounds; g++) {
        key_add(k, g, (uint8_t)(40 + g));
        OK(store_rewrite(s, &done, &err));
        assert_true(done);
        assert_int_equal(files_under(dir, g - 1), 0);
        keyring_drop(k, g - 1);
        if (g == 3)
            before = secret_live_count();
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&l[i].stop, true);
        thread_join(l[i].thread);
    }
    check(s, DOCS);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned n = 0; n < l[i].acked; n += 7) {
            char key[32], value[200];

            snprintf(key, sizeof(key), "load%u-%08u", i, n);
            doc_text(value, n);
            assert_string_equal(get1(s, STORE_RECORDS, key), value);
        }
    /* Keys in memory are those of the files that are open now, which the load has not made many more of. */
    if (secret_live_count() > 2 * before + 64)
        fail_msg("%zu secrets live, %zu after the first rotation", secret_live_count(), before);
    OK(store_close(s, &err));
    assert_int_equal(keyring_list(k, NULL, 0), 1);
    keyring_unref(k);
    rm_rf(dir);
}

/* ---- pace, pause, room, readers ------------------------------------------------------------------ */

static void it_keeps_to_its_pace_and_pauses(void **state)
{
    const char *dir = tmp_path();
    struct keyring *k = ring_of(1, 2);
    struct store_config c = rw_config(dir, k);
    struct store_rewrite_status a, b;
    struct rewriter r;
    struct store *s;
    uint64_t began;

    (void)state;
    make_small_old(dir);
    OK(store_open(&c, &s, &err));
    store_rewrite_set(s, 0, /* paused= */ true);
    start(&r, s);
    assert_true(reaches(s, STORE_RW_PAUSED));
    store_rewrite_status(s, &a);
    clock_sleep_us(300000);
    store_rewrite_status(s, &b);
    assert_int_equal(a.bytes_done, b.bytes_done);
    assert_true(b.bytes_left > 0 && b.files_left > 0);
    fill(s, FEW_DOCS, FEW_DOCS + 10); /* others write on */

    began = clock_mono_us();
    store_rewrite_set(s, /* bytes_per_s= */ 2000, false);
    for (int i = 0; i < 3000 && b.bytes_done == a.bytes_done; i++, clock_sleep_us(10000))
        store_rewrite_status(s, &b);
    assert_true(b.bytes_done > a.bytes_done && !atomic_load(&r.over));
    while (!atomic_load(&r.over)) /* some KB that are paced, so some seconds */
        clock_sleep_us(10000);
    assert_true(clock_mono_us() - began > 400000);
    thread_join(r.thread);
    assert_true(r.done);

    /* stopped in the middle, at a snail's pace: it returns at once, and the rest is left */
    key_add(k, 3, 77);
    store_rewrite_set(s, 1000, false);
    start(&r, s);
    clock_sleep_us(200000);
    began = clock_mono_us();
    store_rewrite_stop(s);
    assert_true(clock_mono_us() - began < 20000000);
    thread_join(r.thread);
    assert_false(r.done);
    assert_int_equal(r.e.code, ERR_NONE);
    check(s, FEW_DOCS + 10);
    OK(store_close(s, &err));
    keyring_unref(k);
    rm_rf(dir);
}

static void a_full_disk_is_waited_for(void **state)
{
    const char *dir = tmp_path();
    struct keyring *k = ring_of(1, 2);
    struct store_config c = rw_config(dir, k);
    struct rewriter r;
    struct store *s;

    (void)state;
    make_old(dir);
    OK(store_open(&c, &s, &err));
    fault_arm("fs.free", "ENOSPC", 0, -1);
    start(&r, s);
    assert_true(reaches(s, STORE_RW_NO_ROOM));
    check(s, DOCS);
    assert_true(files_under(dir, 1) > 0);
    fault_disarm_all();
    thread_join(r.thread);
    assert_true(r.done);
    /* Room that was there when it began, and was not while it wrote. */
    key_add(k, 3, 43);
    fault_arm("fs.append.table", "ENOSPC", 1, 3);
    start(&r, s);
    thread_join(r.thread);
    if (!r.done)
        fail_msg("%d %s", (int)r.e.code, r.e.msg);
    assert_int_equal(files_under(dir, 2), 0);
    check(s, DOCS);
    fill(s, DOCS, DOCS + 20);
    OK(store_flush(s, &err));
    OK(store_close(s, &err));
    check_with_new_alone(dir, 3, DOCS + 20);
    keyring_unref(k);
    rm_rf(dir);
}

static void an_open_cursor_holds_old_files(void **state)
{
    const char *dir = tmp_path();
    struct keyring *k = ring_of(1, 2);
    struct store_config c = rw_config(dir, k);
    struct store_cursor_opts o = { .space = STORE_RECORDS };
    struct store_cursor *cur;
    struct rewriter r;
    struct store *s;
    unsigned n = 0;
    bool valid;

    (void)state;
    make_old(dir);
    OK(store_open(&c, &s, &err));
    OK(store_cursor_open(s, NULL, NULL, &o, &cur, &err));
    OK(store_cursor_first(cur, &valid, &err));
    start(&r, s);
    assert_true(reaches(s, STORE_RW_HELD));
    clock_sleep_us(300000);
    assert_false(atomic_load(&r.over)); /* what can still be read is still there, and counted */
    assert_true(files_under(dir, 1) > 0);
    for (; valid; n++)
        OK(store_cursor_next(cur, &valid, &err));
    assert_int_equal(n, DOCS * 2 / 3);
    store_cursor_close(cur);
    thread_join(r.thread);
    assert_true(r.done);
    assert_int_equal(files_under(dir, 1), 0);
    OK(store_close(s, &err));
    keyring_unref(k);
    rm_rf(dir);
}

static void a_copy_keeps_its_generation(void **state)
{
    const char *dir = tmp_path(), *copy = tmp_path();
    struct keyring *k = ring_of(1, 2), *one = ring_of(1, 1);
    struct store_config c = rw_config(dir, k);
    struct store *s;
    bool done;

    (void)state;
    make_old(dir);
    c.keyring = one;
    OK(store_open(&c, &s, &err));
    OK(store_checkpoint(s, copy, &err)); /* hard links */
    OK(store_close(s, &err));
    c.keyring = k;
    OK(store_open(&c, &s, &err));
    OK(store_rewrite(s, &done, &err));
    assert_true(done);
    OK(store_close(s, &err));
    assert_int_equal(files_under(dir, 1), 0);
    assert_true(files_under(copy, 1) > 5);
    check_with_new_alone(dir, 2, DOCS);
    c.keyring = one;
    c.dir = copy;
    OK(store_open(&c, &s, &err));
    check(s, DOCS);
    OK(store_close(s, &err));
    keyring_unref(k);
    keyring_unref(one);
    rm_rf(dir);
    rm_rf(copy);
}

/* ---- killed, and failed, at every step ------------------------------------------------------------ */

static int child_rewrite(const char *dir, const char *point, int skip)
{
    struct keyring *k = ring_of(1, 2);
    struct store_config c = rw_config(dir, k);
    struct store *s;
    bool done;

    c.create = false;
    c.anchor_interval_us = 60000000; /* calls come in one order */
    OK(store_open(&c, &s, &err));
    fault_arm(point, "kill", skip, 1);
    OK(store_rewrite(s, &done, &err));
    assert_true(done);
    OK(store_close(s, &err));
    keyring_unref(k);
    return 0;
}

/* False when the child came to its end. */
static bool killed_child(const char *dir, const char *point, int skip)
{
    char number[16];
    char *argv[] = { "/proc/self/exe", "rewrite", (char *)dir, (char *)point, number, NULL };
    int status;
    pid_t pid;

    snprintf(number, sizeof(number), "%d", skip);
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child ended with %x at %s %d", (unsigned)status, point, skip);
    return false;
}

static int step_of_test(int by_default)
{
    const char *text = getenv("COFFER_REWRITE_STEP");

    long step = text ? strtol(text, NULL, 10) : 0;

    return step > 0 && step < 10000 ? (int)step : by_default;
}

static void finish(const char *dir)
{
    struct keyring *k = ring_of(1, 2);
    struct store_config c = rw_config(dir, k);
    struct store *s;
    bool done;

    OK(store_open(&c, &s, &err));
    check(s, DOCS);
    OK(store_rewrite(s, &done, &err));
    assert_true(done);
    assert_int_equal(files_under(dir, 1), 0);
    OK(store_close(s, &err));
    keyring_unref(k);
    check_with_new_alone(dir, 2, DOCS);
}

static void killed_at_every_step(void **state)
{
    static const char *const points[] = { "fs.create", "fs.append",  "fs.sync",
                                          "fs.rename", "fs.dirsync", "fs.delete" };
    AUTO(mem_freep) char *from = mem_strdup(tmp_path());
    AUTO(mem_freep) char *dir = mem_strdup(tmp_path());
    int step = step_of_test(47), kills = 0;

    (void)state;
    make_old(from);
    for (size_t p = 0; p < ARRAY_LEN(points); p++) {
        for (int skip = (int)p % step;; skip += step) {
            copy_dir(from, dir);
            if (!killed_child(dir, points[p], skip))
                break;
            kills++;
            if (skip % 3 == 1 && killed_child(dir, points[p], skip / 2)) /* and once more */
                kills++;
            finish(dir);
        }
    }
    printf("%d kills\n", kills);
    assert_true(kills > 5);
    rm_rf(from);
    rm_rf(dir);
}

/* Each fallible call fails once: an error or none, and nothing is lost. */
static void failed_at_every_step(void **state)
{
    AUTO(mem_freep) char *from = mem_strdup(tmp_path());
    AUTO(mem_freep) char *dir = mem_strdup(tmp_path());
    int step = step_of_test(397), failures = 0;

    (void)state;
    make_old(from);
    for (uint64_t n = 1;; n += (uint64_t)step) {
        struct keyring *k = ring_of(1, 2);
        struct store_config c = rw_config(dir, k);
        struct rewriter r;
        struct store *s;
        uint64_t total;

        copy_dir(from, dir);
        OK(store_open(&c, &s, &err));
        fault_count_all();
        fault_fail_nth(n);
        start(&r, s);
        /* it may wait for ever for an engine that a bad disk stopped */
        for (int i = 0; i < 200 && !atomic_load(&r.over); i++)
            clock_sleep_us(20000);
        total = fault_total();
        fault_disarm_all();
        store_rewrite_stop(s);
        thread_join(r.thread);
        if (store_close(s, &err).failed)
            err_reset(&err);
        keyring_unref(k);
        if (getenv("COFFER_SHOW"))
            fprintf(stderr, "failed call %llu: done %d, %d %s\n", (unsigned long long)n, r.done,
                    (int)r.e.code, r.e.msg);
        finish(dir);
        failures++;
        if (getenv("COFFER_SHOW"))
            fprintf(stderr, "call %llu of %llu\n", (unsigned long long)n,
                    (unsigned long long)total);
        if (n > total)
            break;
    }
    printf("%d failures\n", failures);
    assert_true(failures > 3);
    rm_rf(from);
    rm_rf(dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_moves),
        cmocka_unit_test(it_keeps_to_its_pace_and_pauses),
        cmocka_unit_test(a_full_disk_is_waited_for),
        cmocka_unit_test(an_open_cursor_holds_old_files),
        cmocka_unit_test(a_copy_keeps_its_generation),
        cmocka_unit_test(many_in_a_row_under_load),
        cmocka_unit_test(killed_at_every_step),
        cmocka_unit_test(failed_at_every_step),
    };
    int failed;

    support_init();
    if (argc == 5 && strcmp(argv[1], "rewrite") == 0)
        return child_rewrite(argv[2], argv[3], (int)strtol(argv[4], NULL, 10));
    support_tmp();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    support_fini();
    return failed;
}
