/* test_inspect.c - what an inspection says of the files of a store, with keys and without, and of files that were tampered with. */
#include <pthread.h>

#include "store/inspect.h"
#include "support.h"

struct seen {
    unsigned n, authenticated, problems, tables, unfinished;
    uint64_t units, torn;
    char last_problem[ERR_MSG_MAX], problem_file[128];
};

static void see(void *arg, const struct store_file_facts *f)
{
    struct seen *s = arg;

    s->n++;
    s->authenticated += f->authenticated;
    s->units += f->units;
    s->torn += f->torn;
    s->tables += strcmp(f->role, "table") == 0;
    s->unfinished += f->unfinished;
    if (f->problem) {
        s->problems++;
        snprintf(s->last_problem, sizeof(s->last_problem), "%s", f->problem);
        snprintf(s->problem_file, sizeof(s->problem_file), "%s", f->name);
    } else if (strcmp(f->role, "lock") != 0 && !f->unfinished) {
        assert_int_equal(f->gen, 1);
        assert_string_not_equal(f->layout, "");
    }
}

static struct seen inspect(const char *dir, struct keyring *k)
{
    struct seen s = { 0 };
    struct store_inspection sum;

    OK(store_inspect(dir, k, see, &s, &sum, &err));
    assert_int_equal(sum.n_files, s.n);
    assert_int_equal(sum.n_problems, s.problems);
    return s;
}

static void fill(struct store *s, const char *prefix, unsigned n)
{
    char key[32], value[1024];

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = 0;
    for (unsigned i = 0; i < n; i++) {
        snprintf(key, sizeof(key), "%s%06u", prefix, i);
        put1(s, STORE_RECORDS, key, value, STORE_NOSYNC);
    }
}

/* A store at rest with tables and a journal with frames. */
static const char *make(struct keyring *k)
{
    const char *dir = tmp_path();
    struct store *s = open_at(dir, k);

    fill(s, "a", 300);
    OK(store_flush(s, &err));
    fill(s, "b", 50);
    OK(store_close(s, &err));
    return dir;
}

static void find(const char *dir, const char *suffix, char out[256])
{
    DIR *d = opendir(dir);
    struct dirent *ent;

    out[0] = 0;
    while ((ent = readdir(d))) {
        size_t n = strlen(ent->d_name), ns = strlen(suffix);
        if (n >= ns && strcmp(ent->d_name + n - ns, suffix) == 0)
            snprintf(out, 256, "%s/%s", dir, ent->d_name);
    }
    closedir(d);
    assert_true(out[0]);
}

static void overwrite(const char *path, off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

static void expect(const char *dir, const char *file, const char *what)
{
    struct seen s = inspect(dir, NULL);

    assert_int_equal(s.problems, 1);
    assert_string_equal(s.problem_file, file);
    if (!strstr(s.last_problem, what))
        fail_msg("%s: \"%s\" does not say \"%s\"", file, s.last_problem, what);
}

static void test_all_files_are_told(void **state)
{
    (void)state;
    struct keyring *k = key_ring(7);
    const char *dir = make(k);
    struct seen without = inspect(dir, NULL), with = inspect(dir, k);

    assert_int_equal(without.problems, 0);
    assert_int_equal(without.authenticated, 0);
    assert_true(without.tables >= 1 && without.units > 80);
    assert_int_equal(with.problems, 0);
    assert_int_equal(with.n, without.n);
    assert_int_equal(with.authenticated, with.n - 1); /* all but LOCK */
    keyring_unref(k);
}

static void test_a_store_in_use(void **state)
{
    (void)state;
    struct keyring *k = key_ring(7);
    const char *dir = tmp_path();
    struct store *s = open_at(dir, k);

    for (int i = 0; i < 5; i++) {
        char prefix[8];
        snprintf(prefix, sizeof(prefix), "p%d-", i);
        fill(s, prefix, 100);
        assert_int_equal(inspect(dir, NULL).problems, 0);
    }
    OK(store_close(s, &err));
    keyring_unref(k);
}

static RC put_and_flush(struct store *s, int n, struct err *e)
{
    char key[32], value[3000];
    struct store_txn *t;

    memset(value, 'v', sizeof(value));
    TRY(store_begin(s, &t, e));
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof(key), "t%d-%d", n, i);
        TRY(store_put(t, STORE_RECORDS, slice_str(key), SLICE(value, sizeof(value)), e));
    }
    TRY(store_commit(&t, STORE_NOSYNC, e));
    return store_flush(s, e);
}

static void *write_and_flush(void *arg)
{
    static struct err why; /* of this thread; the test's own is the other one's */

    for (int i = 0; i < 40; i++)
        if (put_and_flush(arg, i, &why).failed)
            return why.msg;
    return NULL;
}

/* Tables come and go while they are looked at, and the manifest and the anchor change. */
static void test_a_store_that_flushes(void **state)
{
    (void)state;
    struct keyring *k = key_ring(7);
    const char *dir = tmp_path();
    struct store *s = open_at(dir, k);
    pthread_t t;
    void *failed = NULL;
    int busy;

    assert_int_equal(pthread_create(&t, NULL, write_and_flush, s), 0);
    do {
        struct seen seen = inspect(dir, NULL);
        busy = pthread_tryjoin_np(t, &failed);
        if (seen.problems)
            fail_msg("%s: %s", seen.problem_file, seen.last_problem);
    } while (busy);
    if (failed)
        fail_msg("%s", (const char *)failed);
    OK(store_close(s, &err));
    keyring_unref(k);
}

static void cut_to(const char *path, off_t len)
{
    assert_int_equal(truncate(path, len), 0);
}

/* The same bytes are no finding while somebody has the file open to add the rest, and one afterwards. */
static void test_a_file_without_an_end(void **state)
{
    (void)state;
    static const struct {
        const char *suffix, *what;
        off_t len;
    } row[] = {
        { ".sst", "length", STORE__HEADER_LEN + 4112 + 7 },
        { "CURRENT", "end is missing", STORE__HEADER_LEN },
    };
    struct keyring *k = key_ring(7);
    char path[256];

    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        const char *dir = make(k);
        find(dir, row[i].suffix, path);
        cut_to(path, row[i].len);
        int fd = open(path, O_WRONLY | O_APPEND);
        assert_true(fd >= 0);
        struct seen s = inspect(dir, NULL);
        assert_int_equal(s.problems, 0);
        assert_int_equal(s.unfinished, 1);
        close(fd);
        expect(dir, strrchr(path, '/') + 1, row[i].what);
    }
    keyring_unref(k);
}

/* A writer excuses a missing end, nothing else. */
static void test_a_writer_excuses_no_plaintext(void **state)
{
    (void)state;
    struct keyring *k = key_ring(7);
    const char *dir = make(k);
    char path[256], text[64];

    find(dir, ".sst", path);
    memset(text, 'x', sizeof(text));
    overwrite(path, 500, text, sizeof(text));
    cut_to(path, STORE__HEADER_LEN + 4112 + 7);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    expect(dir, strrchr(path, '/') + 1, "printable");
    close(fd);
    keyring_unref(k);
}

static void test_other_keys_authenticate_nothing(void **state)
{
    (void)state;
    struct keyring *k = key_ring(7), *other = key_ring(8);
    const char *dir = make(k);
    struct seen s = inspect(dir, other);

    assert_int_equal(s.authenticated, 0);
    assert_int_equal(s.problems, s.n - 1);
    keyring_unref(k);
    keyring_unref(other);
}

static void test_a_flipped_bit_is_seen_with_keys(void **state)
{
    (void)state;
    static const char *const suffixes[] = { ".sst", ".log", "CURRENT", "ANCHOR" };
    struct keyring *k = key_ring(7);
    char path[256];

    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        const char *dir = make(k);
        find(dir, suffixes[i], path);
        int fd = open(path, O_RDWR);
        uint8_t b;
        assert_int_equal(pread(fd, &b, 1, STORE__HEADER_LEN + STORE__FRAME_HEAD + 3), 1);
        b ^= 4;
        assert_int_equal(pwrite(fd, &b, 1, STORE__HEADER_LEN + STORE__FRAME_HEAD + 3), 1);
        close(fd);
        assert_int_equal(inspect(dir, NULL).problems, 0); /* nobody can see it without the key */
        struct seen s = inspect(dir, k);
        assert_int_equal(s.problems, 1);
        assert_non_null(strstr(path, s.problem_file));
    }
    keyring_unref(k);
}

static void test_what_is_in_the_clear_is_seen_without_keys(void **state)
{
    (void)state;
    struct keyring *k = key_ring(7);
    char path[256], text[64];
    uint8_t pattern[4096];

    const char *dir = make(k);
    find(dir, ".sst", path);
    memset(text, 'x', sizeof(text));
    overwrite(path, 5000, text, sizeof(text));
    expect(dir, strrchr(path, '/') + 1, "printable");

    /* Not printable, but no ciphertext either. */
    dir = make(k);
    find(dir, ".sst", path);
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i % 7 == 0 ? 0 : 0x80 + i % 32);
    overwrite(path, 5000, pattern, sizeof(pattern));
    expect(dir, strrchr(path, '/') + 1, "distributed");

    dir = make(k);
    snprintf(path, sizeof(path), "%s/notes.txt", dir);
    OK(file_write_atomic(path, 0600, slice_str("a backup of the customers"), &err));
    expect(dir, "notes.txt", "no file of a store");

    dir = make(k);
    snprintf(path, sizeof(path), "%s/999999.sst", dir);
    OK(file_write_atomic(
        path, 0600,
        slice_str(
            "a table that never was: but it is longer than a header is, which makes it a file with content, and no header of ours in front of it, so that it is refused"),
        &err));
    expect(dir, "999999.sst", "not an encrypted file");

    dir = make(k);
    find(dir, "LOCK", path);
    overwrite(path, 0, "secret", 6);
    expect(dir, "LOCK", "empty");
    keyring_unref(k);
}

static void test_what_was_exchanged_is_seen_without_keys(void **state)
{
    (void)state;
    struct keyring *k = key_ring(7);
    char path[256], other[256];
    struct buf content = BUF_INIT;

    /* A copy under another number: the header says which it was. */
    const char *dir = make(k);
    find(dir, ".sst", path);
    OK(file_read(path, 1 << 24, &content, &err));
    snprintf(other, sizeof(other), "%s/888888.sst", dir);
    OK(file_write_atomic(other, 0600, buf_view(&content), &err));
    expect(dir, "888888.sst", "another number");

    /* The table of another store under the same key. */
    const char *second = make(k);
    find(second, ".sst", other);
    buf_clear(&content);
    OK(file_read(other, 1 << 24, &content, &err));
    dir = make(k);
    find(dir, ".sst", path);
    OK(file_write_atomic(path, 0600, buf_view(&content), &err));
    struct seen s = inspect(dir, NULL);
    assert_true(s.problems >= 1);
    assert_non_null(strstr(s.last_problem, "another store"));

    /* Cut in the middle of a chunk where no table can end. */
    dir = make(k);
    find(dir, ".sst", path);
    assert_int_equal(truncate(path, STORE__HEADER_LEN + 4112 + 7), 0);
    expect(dir, strrchr(path, '/') + 1, "length");

    /* Nothing behind an END. */
    dir = make(k);
    find(dir, "CURRENT", path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    overwrite(path, st.st_size, "\x91\xe2", 2);
    expect(dir, "CURRENT", "behind its end");
    buf_fini(&content);
    keyring_unref(k);
}

static void test_torn_tails_are_told(void **state)
{
    (void)state;
    struct keyring *k = key_ring(7);
    const char *dir = make(k);
    char path[256];
    struct stat st;

    find(dir, ".log", path);
    assert_int_equal(stat(path, &st), 0);
    /* END is 64 bytes, and the frame before it is cut too. */
    assert_int_equal(truncate(path, st.st_size - 70), 0);
    struct seen s = inspect(dir, NULL);
    assert_int_equal(s.problems, 0);
    assert_true(s.torn > 0);
    keyring_unref(k);
}

static void test_no_directory(void **state)
{
    (void)state;
    struct store_inspection sum;
    struct seen s = { 0 };

    FAILS(ERR_NOT_FOUND, store_inspect("/nonexistent/store", NULL, see, &s, &sum, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_files_are_told),
        cmocka_unit_test(test_a_store_in_use),
        cmocka_unit_test(test_a_store_that_flushes),
        cmocka_unit_test(test_a_file_without_an_end),
        cmocka_unit_test(test_a_writer_excuses_no_plaintext),
        cmocka_unit_test(test_other_keys_authenticate_nothing),
        cmocka_unit_test(test_a_flipped_bit_is_seen_with_keys),
        cmocka_unit_test(test_what_is_in_the_clear_is_seen_without_keys),
        cmocka_unit_test(test_what_was_exchanged_is_seen_without_keys),
        cmocka_unit_test(test_torn_tails_are_told),
        cmocka_unit_test(test_no_directory),
    };

    support_init();
    support_tmp();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    support_fini();
    return failed;
}
