/* test_tamper.c - a data directory that somebody else wrote to: edited, cut, swapped, replayed, mixed. Each is refused with the right class, or the data is complete.
 *
 * Two images of one store: `clean` was closed, `crash` is what kill -9 leaves (copied while the store was open and everything was synced).
 */
#include "histories.h"

enum { ROWS = 400 };

static struct keyring *keys;
static char clean[192], crash[192], earlier[192], other[192];
static uint64_t flips;

static void copy_file(const char *from, const char *to)
{
    struct buf b = BUF_INIT;
    int fd;

    OK(file_read(from, 64 << 20, &b, &err));
    fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    OK(file_write_fd(fd, buf_view(&b), &err));
    close(fd);
    buf_fini(&b);
}

static void copy_dir(const char *from, const char *to)
{
    DIR *d = opendir(from);
    struct dirent *ent;

    assert_non_null(d);
    mkdir(to, 0700);
    while ((ent = readdir(d))) {
        char a[512], b[512];
        struct stat st;

        if (ent->d_name[0] == '.')
            continue;
        snprintf(a, sizeof(a), "%s/%s", from, ent->d_name);
        snprintf(b, sizeof(b), "%s/%s", to, ent->d_name);
        if (stat(a, &st) == 0 && S_ISREG(st.st_mode))
            copy_file(a, b);
    }
    closedir(d);
}

/* A text that does not compress, so that tables have many chunks. */
static void text_of(int i, uint8_t out[256])
{
    uint64_t x = (uint64_t)i * 0x9e3779b97f4a7c15u + 1;

    for (int n = 0; n < 256; n++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out[n] = (uint8_t)x;
    }
}

static void fill(struct store *s, int from, int to)
{
    for (int i = from; i < to; i++) {
        char key[32];
        uint8_t value[256];

        snprintf(key, sizeof(key), "key-%05d", i);
        text_of(i, value);
        struct store_txn *t;
        OK(store_begin(s, &t, &err));
        OK(store_put(t, STORE_RECORDS, slice_str(key), SLICE(value, sizeof(value)), &err));
        OK(store_put(t, STORE_INDEXES, slice_str(key), SLICE_EMPTY, &err));
        OK(store_commit(&t, i % 8 ? STORE_NOSYNC : STORE_SYNC, &err));
    }
    OK(store_sync(s, &err));
}

static void make_images(void)
{
    const char *dir = tmp_path();
    struct store_config c = config_for(dir, keys);
    struct store *s;

    snprintf(clean, sizeof(clean), "%s", tmp_path());
    snprintf(crash, sizeof(crash), "%s", tmp_path());
    snprintf(earlier, sizeof(earlier), "%s", tmp_path());
    snprintf(other, sizeof(other), "%s", tmp_path());
    c.envelope_seq = 5;
    OK(store_open(&c, &s, &err));
    fill(s, 0, 150);
    OK(store_flush(s, &err));
    fill(s, 150, 300);
    OK(store_flush(s, &err));
    fill(s, 300, 380);
    clock_sleep_us(1200000); /* the anchor is renewed behind the last sync */
    copy_dir(dir, earlier);
    fill(s, 380, ROWS);
    clock_sleep_us(1200000);
    copy_dir(dir, crash);
    OK(store_close(s, &err));
    copy_dir(dir, clean);
    rm_rf(dir);
    s = open_at(other, keys); /* another store under the same key */
    fill(s, 0, 150);
    OK(store_flush(s, &err));
    fill(s, 150, 300);
    OK(store_flush(s, &err));
    fill(s, 300, ROWS);
    OK(store_close(s, &err));
}

static int init(void **state)
{
    (void)state;
    keys = key_ring(5);
    make_images();
    return 0;
}

static int fini(void **state)
{
    (void)state;
    keyring_unref(keys);
    return 0;
}

/* Examine only. */
static enum err_code examine(const char *dir, struct keyring *k)
{
    struct store__seal seal = { .keys = k, .alg = store__build_alg() };
    struct store__examination x = { .seal = &seal, .dir = dir };
    struct store__anchor_data d;
    struct store__dir_report r;
    struct err e = { 0 };

    (void)store__dir_check(&x, &d, &r, &e).failed;
    store__anchor_data_fini(&d);
    return e.code;
}

/* Open and read everything. ERR_NONE only when every row is there and right; *rows says how many are. */
static enum err_code open_and_read(const char *dir, struct keyring *k, int *rows)
{
    struct store_config c = config_for(dir, k);
    struct store_cursor_opts o = { .space = STORE_RECORDS };
    struct store_cursor *cur = NULL;
    struct store *s;
    struct err e = { 0 }, e2 = { 0 };
    bool valid = false;

    *rows = 0;
    c.create = false;
    if (store_open(&c, &s, &e).failed) {
        if (getenv("COFFER_SHOW"))
            printf("%s\n", e.msg);
        return e.code;
    }
    if (!store_cursor_open(s, NULL, NULL, &o, &cur, &e).failed &&
        !store_cursor_first(cur, &valid, &e).failed) {
        while (valid) {
            uint8_t want[256];

            text_of(*rows, want);
            if (!slice_eq(store_cursor_value(cur), SLICE(want, sizeof(want))))
                fail_msg("wrong data served from %s", dir);
            ++*rows;
            if (store_cursor_next(cur, &valid, &e).failed)
                break;
        }
    }
    store_cursor_close(cur);
    (void)store_close(s, &e2).failed;
    return e.code;
}

static bool is_integrity(enum err_code c)
{
    return c == ERR_CORRUPT || c == ERR_STALE || c == ERR_FOREIGN_FILE || c == ERR_UNKNOWN_FORMAT ||
           c == ERR_MISSING_GENERATION;
}

/* Call fn for each file of dir whose name has the suffix or prefix. */
static void each_file(const char *dir, const char *what,
                      void (*fn)(const char *dir, const char *path))
{
    DIR *d = opendir(dir);
    struct dirent *ent;
    int n = 0;

    assert_non_null(d);
    while ((ent = readdir(d))) {
        size_t len = strlen(ent->d_name), wl = strlen(what);
        char path[512];

        if (ent->d_name[0] == '.' || !(strncmp(ent->d_name, what, wl) == 0 ||
                                       (len > wl && strcmp(ent->d_name + len - wl, what) == 0)))
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, ent->d_name);
        fn(dir, path);
        n++;
    }
    closedir(d);
    assert_true(n > 0);
}

/* The path of one file that matches. Static ring. */
static const char *a_file(const char *dir, const char *what, int nth)
{
    static char ring[4][512];
    static int at;
    char *out = ring[at++ % 4];
    DIR *d = opendir(dir);
    struct dirent *ent;
    char names[64][64];
    int n = 0;

    assert_non_null(d);
    while ((ent = readdir(d)) && n < 64) {
        size_t len = strlen(ent->d_name), wl = strlen(what);

        if (strncmp(ent->d_name, what, wl) == 0 ||
            (len > wl && strcmp(ent->d_name + len - wl, what) == 0))
            snprintf(names[n++], sizeof(names[0]), "%.63s", ent->d_name);
    }
    closedir(d);
    qsort(names, (size_t)n, sizeof(names[0]), (int (*)(const void *, const void *))strcmp);
    assert_true(nth < n);
    snprintf(out, sizeof(ring[0]), "%s/%s", dir, names[nth]);
    return out;
}

static const char *base_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

static void flip(const char *path, size_t at, uint8_t bits)
{
    int fd = open(path, O_RDWR);
    uint8_t b;

    assert_true(fd >= 0 && pread(fd, &b, 1, (off_t)at) == 1);
    b ^= bits;
    assert_int_equal(pwrite(fd, &b, 1, (off_t)at), 1);
    close(fd);
}

static size_t size_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

static size_t flip_step; /* beyond the header */

static void flip_all(const char *dir, const char *path)
{
    size_t len = size_of(path), undetected = 0;

    for (size_t i = 0; i < len; i += i < STORE__HEADER_LEN ? 1 : flip_step) {
        enum err_code code;

        flip(path, i, (uint8_t)(1u << (i % 8)));
        code = examine(dir, keys);
        flip(path, i, (uint8_t)(1u << (i % 8)));
        flips++;
        if (code == ERR_NONE)
            undetected++;
        else if (!is_integrity(code))
            fail_msg("%s byte %zu: class %d", path, i, (int)code);
        /* What may go unseen: the mark behind the last sync, which holds nothing. */
        if (code == ERR_NONE &&
            (i < len - 64 || !(strstr(path, ".log") || strstr(path, "MANIFEST"))))
            fail_msg("%s byte %zu of %zu: not seen", path, i, len);
    }
    (void)undetected;
}

static void every_byte_that_is_read_at_open_is_authenticated(void **state)
{
    const char *const images[] = { clean, crash };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(images); i++) {
        assert_int_equal(examine(images[i], keys), ERR_NONE);
        flip_step = 1;
        each_file(images[i], "ANCHOR", flip_all);
        each_file(images[i], "CURRENT", flip_all);
        each_file(images[i], "IDENTITY", flip_all);
        flip_step = 5;
        each_file(images[i], "MANIFEST", flip_all);
        flip_step = 97;
        each_file(images[i], "OPTIONS", flip_all);
        flip_step = 211;
        each_file(images[i], ".log", flip_all);
        assert_int_equal(examine(images[i], keys), ERR_NONE);
    }
    printf("%llu flips\n", (unsigned long long)flips);
}

static void flip_header(const char *dir, const char *path)
{
    for (size_t i = 0; i < STORE__HEADER_LEN; i++) {
        flip(path, i, 0x80);
        enum err_code code = examine(dir, keys);
        flip(path, i, 0x80);
        if (!is_integrity(code))
            fail_msg("%s byte %zu: class %d", path, i, (int)code);
    }
}

static void flip_chunks(const char *dir, const char *path)
{
    size_t len = size_of(path);

    (void)dir;
    for (int n = 0; n < 12; n++) {
        const char *copy = tmp_path();
        size_t at = STORE__HEADER_LEN + (size_t)n * (len - STORE__HEADER_LEN - 1) / 11;
        char victim[512];
        enum err_code code;
        int rows;

        copy_dir(clean, copy);
        snprintf(victim, sizeof(victim), "%s/%s", copy, base_of(path));
        flip(victim, at, 0x01);
        code = open_and_read(copy, keys, &rows);
        /* An index table's damage shows only when it is read; then reading records goes well. */
        if (code == ERR_NONE ? rows != ROWS : code != ERR_CORRUPT)
            fail_msg("%s byte %zu: class %d, %d rows", path, at, (int)code, rows);
        rm_rf(copy);
    }
}

static void tables_are_authenticated_where_they_are_read(void **state)
{
    (void)state;
    each_file(clean, ".sst", flip_header);
    each_file(clean, ".sst", flip_chunks);
}

/* ---- replaced, removed, mixed -------------------------------------------------------------------- */

static char work[192];

static int setup(void **state)
{
    (void)state;
    snprintf(work, sizeof(work), "%s", tmp_path());
    copy_dir(crash, work);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rm_rf(work);
    return 0;
}

static void expect(enum err_code want, const char *what)
{
    int rows;
    enum err_code code = open_and_read(work, keys, &rows);

    if (code != want)
        fail_msg("%s: %d instead of %d (%d rows)", what, (int)code, (int)want, rows);
    if (want == ERR_NONE && rows != ROWS)
        fail_msg("%s: %d rows", what, rows);
}

static void both_images_open(void **state)
{
    int rows;

    (void)state;
    expect(ERR_NONE, "crash image");
    rm_rf(work);
    copy_dir(clean, work);
    assert_int_equal(open_and_read(work, keys, &rows), ERR_NONE);
    assert_int_equal(rows, ROWS);
}

static void a_wrong_key_says_so_and_changes_nothing(void **state)
{
    struct keyring *wrong = key_ring(6), *none = keyring_new();
    int rows;

    (void)state;
    key_add(none, 2, 5);
    assert_int_equal(open_and_read(work, wrong, &rows), ERR_WRONG_KEY);
    assert_int_equal(open_and_read(work, none, &rows), ERR_MISSING_GENERATION);
    keyring_unref(wrong);
    keyring_unref(none);
    expect(ERR_NONE, "the right key afterwards");
}

static void a_second_process_is_refused(void **state)
{
    struct store_config c = config_for(work, keys);
    struct store *s, *again;

    (void)state;
    OK(store_open(&c, &s, &err));
    FAILS(ERR_DIRECTORY_BUSY, store_open(&c, &again, &err));
    assert_null(again);
    OK(store_close(s, &err));
    expect(ERR_NONE, "afterwards");
}

static void an_old_envelope_is_refused(void **state)
{
    struct store_config c = config_for(work, keys);
    struct store *s;

    (void)state;
    c.envelope_seq = 4;
    FAILS(ERR_ENVELOPE_STALE, store_open(&c, &s, &err));
    c.envelope_seq = 5;
    OK(store_open(&c, &s, &err));
    FAILS(ERR_ENVELOPE_STALE, store_pin_envelope(s, 4, &err));
    OK(store_pin_envelope(s, 9, &err));
    OK(store_close(s, &err));
    FAILS(ERR_ENVELOPE_STALE, store_open(&c, &s, &err));
}

/* What is kept outside refuses what is older, and lets what is restored on purpose go on from there. */
static void what_is_older_than_outside_is_refused(void **state)
{
    struct store_config c = config_for(tmp_path(), keys);
    uint64_t at;
    struct store *s;

    (void)state;
    OK(store_open(&c, &s, &err));
    at = store_anchor_durable(s);
    assert_true(at > 0);
    /* the counter of one that could not be written is not told: the disk may have the one before */
    fault_arm("fs.rename.anchor", "EIO", 0, 1);
    FAILS(ERR_IO, store_pin_envelope(s, 100, &err));
    fault_disarm_all();
    assert_int_equal(store_anchor_durable(s), at);
    OK(store_pin_envelope(s, 100, &err));
    assert_true(store_anchor_durable(s) > at);
    at = store_anchor_durable(s);
    OK(store_close(s, &err)); /* writes another */
    c.anchor_floor = at + 100;
    FAILS(ERR_STALE, store_open(&c, &s, &err));
    c.anchor_floor = at + 1; /* what is remembered is exactly what is there */
    OK(store_open(&c, &s, &err));
    assert_true(store_anchor_durable(s) > at + 1);
    OK(store_close(s, &err));
    c.anchor_floor = at + 100;
    FAILS(ERR_STALE, store_open(&c, &s, &err));
    c.anchor_raise = true;
    OK(store_open(&c, &s, &err));
    assert_true(store_anchor_durable(s) > c.anchor_floor);
    OK(store_close(s, &err));
    c.anchor_raise = false;
    OK(store_open(&c, &s, &err));
    OK(store_close(s, &err));
    c.dir = tmp_path();
    FAILS(ERR_STALE, store_open(&c, &s, &err)); /* nothing at all is older, too */
}

static void missing_files_are_missed(void **state)
{
    static const struct {
        const char *what;
        enum err_code want;
    } cases[] = { { "ANCHOR", ERR_STALE },
                  { "CURRENT", ERR_STALE },
                  { "MANIFEST", ERR_STALE },
                  { ".log", ERR_STALE },
                  { ".sst", ERR_CORRUPT } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(unlink(a_file(work, cases[i].what, 0)), 0);
        expect(cases[i].want, cases[i].what);
        rm_rf(work);
        copy_dir(crash, work);
    }
}

/* Where the frames of a stream of the directory end; [0] is the end of the header. */
static int borders_of(const char *path, size_t *borders, int max)
{
    struct store__seal seal = { .keys = keys, .alg = store__build_alg() };
    struct store__anchor_data d;
    struct store__stream *s;
    struct store__stream_end end;
    struct store__name n;
    struct slice plain;
    bool more = true;
    int nb = 0;

    OK(store__anchor_load(keys, seal.alg, work, seal.id, &d, &err));
    store__anchor_data_fini(&d);
    store__path_parse(path, &n);
    OK(store__stream_open(&seal, path, n.role, n.number, &s, &err));
    while (more && nb < max) {
        store__stream_state(s, &end);
        borders[nb++] = (size_t)end.physical;
        OK(store__stream_next(s, &plain, &more, &err));
    }
    store__stream_free(s);
    return nb;
}

static void cut_streams_are_noticed(void **state)
{
    static const char *const what[] = { ".log", "MANIFEST" };

    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(what); w++) {
        const char *path = a_file(work, what[w], 0);
        size_t borders[512];
        int nb = borders_of(path, borders, 512);

        assert_true(nb > 5);
        for (int i = 0; i < nb - 3;
             i += nb > 60 ? nb / 20
                          : 1) { /* at each border: nothing torn, so only the anchor can tell */
            assert_int_equal(truncate(path, (off_t)borders[i]), 0);
            assert_int_equal(examine(work, keys), ERR_STALE);
            char from[512];
            snprintf(from, sizeof(from), "%s/%s", crash, base_of(path));
            copy_file(from, path);
        }
    }
    expect(ERR_NONE, "put back");
}

/* As long as the anchor remembers, sealed under its own key, chained and whole, but what another machine wrote that was resumed from the same image. */
static void another_history_is_noticed(void **state)
{
    static const char *const what[] = { ".log", "MANIFEST" };

    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(what); w++) {
        const char *path = a_file(work, what[w], 0);
        AUTO(buf_fini) struct buf file = BUF_INIT;
        struct store__anchor_data d;
        uint8_t id[STORE_ID_LEN];
        struct store__name n;
        size_t borders[512];
        uint32_t frames = 0;
        int nb = borders_of(path, borders, 512);

        store__path_parse(path, &n);
        OK(store__anchor_load(keys, store__build_alg(), work, id, &d, &err));
        for (uint32_t i = 0; i < d.n; i++)
            if (d.pins[i].role == n.role && d.pins[i].number == n.number)
                frames = d.pins[i].reach.frames;
        store__anchor_data_fini(&d);
        assert_in_range(frames, 1, nb - 1);
        OK(file_read(path, 1 << 24, &file, &err));
        rewrite_frame(keys, file.p, borders[frames - 1], borders[frames]);
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        OK(file_write_fd(fd, SLICE(file.p, borders[frames]), &err));
        close(fd);
        expect(ERR_STALE, what[w]);
        rm_rf(work);
        copy_dir(crash, work);
    }
}

static void older_files_are_stale(void **state)
{
    static const char *const what[] = { ".log", "MANIFEST" };
    char from[512];

    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(what); w++) {
        const char *path = a_file(work, what[w], 0);

        snprintf(from, sizeof(from), "%s/%s", earlier, base_of(path));
        if (access(from, F_OK) != 0 || size_of(from) == size_of(path))
            continue;
        copy_file(from, path);
        expect(ERR_STALE, what[w]);
        rm_rf(work);
        copy_dir(crash, work);
    }
    /* The journal alone of the older image was tried, since it grew. */
    snprintf(from, sizeof(from), "%s/%s", earlier, base_of(a_file(work, ".log", 0)));
    assert_true(size_of(from) < size_of(a_file(work, ".log", 0)));
}

static void a_whole_older_image_shows_by_its_counter(void **state)
{
    struct store__anchor_data now, then;
    uint8_t id[STORE_ID_LEN];
    int rows;

    (void)state;
    OK(store__anchor_load(keys, store__build_alg(), crash, id, &now, &err));
    OK(store__anchor_load(keys, store__build_alg(), earlier, id, &then, &err));
    assert_true(then.counter < now.counter);
    store__anchor_data_fini(&now);
    store__anchor_data_fini(&then);
    rm_rf(work);
    copy_dir(earlier, work);
    assert_int_equal(open_and_read(work, keys, &rows), ERR_NONE); /* the declared residual risk */
    assert_int_equal(rows, 380);
}

static void files_of_another_store_are_foreign(void **state)
{
    static const char *const what[] = { "ANCHOR",  "CURRENT", "IDENTITY", "MANIFEST",
                                        "OPTIONS", ".log",    ".sst" };
    char from[512];

    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(what); w++) {
        const char *victim = a_file(work, what[w], 0);

        snprintf(from, sizeof(from), "%s", a_file(other, what[w], 0));
        copy_file(from, victim);
        expect(ERR_FOREIGN_FILE, what[w]);
        rm_rf(work);
        copy_dir(crash, work);
    }
}

static void swapped_tables_are_refused(void **state)
{
    char a[512], b[512], t[512];

    (void)state;
    snprintf(a, sizeof(a), "%s", a_file(work, ".sst", 0));
    snprintf(b, sizeof(b), "%s", a_file(work, ".sst", 1));
    snprintf(t, sizeof(t), "%s.t", work);
    assert_int_equal(rename(a, t) | rename(b, a) | rename(t, b), 0);
    expect(ERR_CORRUPT, "swapped");
}

static void strangers_are_refused_by_name(void **state)
{
    static const struct {
        const char *name, *text;
        enum err_code want;
    } cases[] = {
        { "notes.txt", "plain", ERR_FOREIGN_FILE },
        { "LOG", "plain", ERR_FOREIGN_FILE },
        { "000999.blob", "plain", ERR_FOREIGN_FILE },
        { "LOCK", "plain", ERR_FOREIGN_FILE },
        { "999999.sst",
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
          "012345678901234567890123456789",
          ERR_FOREIGN_FILE },
        { "999999.log",
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
          "012345678901234567890123456789",
          ERR_FOREIGN_FILE },
        { "999999.dbtmp",
          "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
          "012345678901234567890123456789",
          ERR_FOREIGN_FILE },
        { "999999.sst", "", ERR_NONE }, /* a crash may leave it: removed */
        { "999999.log", "short", ERR_NONE },
        { "999999.dbtmp", "short", ERR_NONE },
    };
    char path[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(path, sizeof(path), "%s/%s", work, cases[i].name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        OK(file_write_fd(fd, slice_str(cases[i].text), &err));
        close(fd);
        expect(cases[i].want, cases[i].name);
        rm_rf(work);
        copy_dir(crash, work);
    }
    snprintf(path, sizeof(path), "%s/999999.sst", work);
    assert_int_equal(symlink("/dev/zero", path), 0);
    expect(ERR_FOREIGN_FILE, "symlink");
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    expect(ERR_FOREIGN_FILE, "directory");
}

static void zeroes_are_not_taken_for_data(void **state)
{
    static const char *const what[] = { "ANCHOR",  "CURRENT", "IDENTITY", "MANIFEST",
                                        "OPTIONS", ".log",    ".sst" };

    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(what); w++) {
        const char *path = a_file(work, what[w], 0);
        size_t len = size_of(path);
        int rows;

        for (int all = 0; all < 2; all++) {
            uint8_t *zero = mem_calloc(1, len);
            int fd = open(path, O_WRONLY);

            assert_true(pwrite(fd, zero, all ? len : 32, 0) > 0);
            close(fd);
            mem_free(zero);
            if (!is_integrity(open_and_read(work, keys, &rows)))
                fail_msg("%s zeroed: opened with %d rows", what[w], rows);
            rm_rf(work);
            copy_dir(crash, work);
        }
    }
}

static int torn_events;

static void count_torn(void *arg, enum store_event ev, const char *text)
{
    (void)arg;
    (void)text;
    torn_events += ev == STORE_EV_TORN_TAIL;
}

static void a_torn_tail_is_cut_off_with_a_warning(void **state)
{
    struct store_config c = config_for(work, keys);
    const char *log = a_file(work, ".log", 0);
    struct store *s;
    int fd = open(log, O_WRONLY | O_APPEND), rows;

    (void)state;
    assert_int_equal(write(fd, "half a frame", 12), 12);
    close(fd);
    c.on_event = count_torn;
    torn_events = 0;
    OK(store_open(&c, &s, &err));
    assert_int_equal(torn_events, 1);
    OK(store_close(s, &err));
    torn_events = 0;
    OK(store_open(&c, &s, &err));
    assert_int_equal(torn_events, 0);
    OK(store_close(s, &err));
    assert_int_equal(open_and_read(work, keys, &rows), ERR_NONE);
    assert_int_equal(rows, ROWS);
}

static void there_is_no_store_in_an_empty_directory(void **state)
{
    const char *dir = tmp_path();
    struct store_config c = config_for(dir, keys);
    struct store *s;

    (void)state;
    c.create = false;
    FAILS(ERR_NOT_FOUND, store_open(&c, &s, &err));
    mkdir(dir, 0700);
    FAILS(ERR_NOT_FOUND, store_open(&c, &s, &err));
    c.create = true;
    c.null_cipher = store__build_alg() != STORE__ALG_NULL;
    FAILS(ERR_CONFIG, store_open(&c, &s, &err));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_that_is_read_at_open_is_authenticated),
        cmocka_unit_test(tables_are_authenticated_where_they_are_read),
        T(both_images_open),
        T(a_wrong_key_says_so_and_changes_nothing),
        T(a_second_process_is_refused),
        T(an_old_envelope_is_refused),
        T(what_is_older_than_outside_is_refused),
        T(missing_files_are_missed),
        T(cut_streams_are_noticed),
        T(another_history_is_noticed),
        T(older_files_are_stale),
        T(a_whole_older_image_shows_by_its_counter),
        T(files_of_another_store_are_foreign),
        T(swapped_tables_are_refused),
        T(strangers_are_refused_by_name),
        T(zeroes_are_not_taken_for_data),
        T(a_torn_tail_is_cut_off_with_a_warning),
        T(there_is_no_store_in_an_empty_directory),
    };

    support_init();
    support_tmp();
    int rc = cmocka_run_group_tests(tests, init, fini);
    support_fini();
    return rc;
}
