/* test_checkpoint.c - copies of a store in use: complete, independent, with an anchor of their own; and the census of keys over all that is there. */
#include <pthread.h>
#include <stdatomic.h>

#include "support.h"

/* ---- copies under load ----------------------------------------------------------------------- */

enum { WRITERS = 4, COPIES = 5 };

struct writer {
    struct store *s;
    unsigned id;
    atomic_uint acked; /* writes 0 to acked-1 are acknowledged */
    atomic_bool stop;
    pthread_t thread;
};

static void name_of(char out[24], unsigned id, unsigned n)
{
    snprintf(out, 24, "w%u-%08u", id, n);
}

static void *write_on(void *arg)
{
    struct writer *w = arg;
    uint8_t pad[600];

    memset(pad, 'p', sizeof(pad));
    for (unsigned n = 0; !w->stop; n++) {
        struct err e = { 0 };
        struct store_txn *t;
        char key[24];

        name_of(key, w->id, n);
        if (store_begin(w->s, &t, &e).failed ||
            store_put(t, STORE_RECORDS, slice_str(key), SLICE(pad, sizeof(pad)), &e).failed ||
            store_put(t, STORE_INDEXES, slice_str(key), SLICE_LIT("i"), &e).failed ||
            store_commit(&t, STORE_SYNC, &e).failed) {
            fprintf(stderr, "writer %u: %s\n", w->id, e.msg);
            abort();
        }
        w->acked = n + 1;
    }
    return NULL;
}

static unsigned count(struct store *s, enum store_space sp)
{
    struct store_cursor_opts o = { .space = sp };
    struct store_snapshot *snap = store_snapshot(s);
    struct store_cursor *c;
    unsigned n = 0;
    bool valid;

    OK(store_cursor_open(s, NULL, snap, &o, &c, &err));
    OK(store_cursor_first(c, &valid, &err));
    for (; valid; n++)
        OK(store_cursor_next(c, &valid, &err));
    store_cursor_close(c);
    store_snapshot_release(snap);
    return n;
}

/* Each writer's writes without a gap, at least those acknowledged before; documents and indexes agree. */
static unsigned check_copy(struct store *s, const unsigned before[WRITERS])
{
    unsigned total = 0;
    char key[24];

    for (unsigned i = 0; i < WRITERS; i++) {
        unsigned n = 0;

        for (;; n++) {
            name_of(key, i, n);
            bool record = get1(s, STORE_RECORDS, key)[0] != 0,
                 index = get1(s, STORE_INDEXES, key)[0] != 0;

            assert_int_equal(record, index);
            if (!record)
                break;
        }
        if (n < before[i])
            fail_msg("writer %u: %u of %u acknowledged writes are in the copy", i, n, before[i]);
        total += n;
    }
    assert_int_equal(count(s, STORE_RECORDS), total); /* nothing behind a gap */
    assert_int_equal(count(s, STORE_INDEXES), total);
    return total;
}

static void anchor_of(const char *dir, struct buf *out)
{
    AUTO(mem_freep) char *path = mem_printf("%s/ANCHOR", dir);

    buf_clear(out);
    OK(file_read(path, 1 << 20, out, &err));
}

static void a_copy_under_writers_is_whole(void **state)
{
    struct buf theirs = BUF_INIT, ours = BUF_INIT;
    struct keyring *k = key_ring(3);
    AUTO(mem_freep) char *dir = mem_strdup(tmp_path());
    struct store_config c = config_for(dir, k);
    struct writer w[WRITERS];
    char *copies[COPIES];
    unsigned before[COPIES][WRITERS];
    struct store *s, *copy;

    (void)state;
    c.memtable_bytes = 128 << 10; /* flushes and compactions go on meanwhile */
    OK(store_open(&c, &s, &err));
    for (unsigned i = 0; i < WRITERS; i++) {
        w[i] = (struct writer){ .s = s, .id = i };
        w[i].thread = thread_start("writer", write_on, &w[i]);
    }
    for (unsigned n = 0; n < COPIES; n++) {
        usleep(60000);
        copies[n] = mem_strdup(tmp_path());
        for (unsigned i = 0; i < WRITERS; i++)
            before[n][i] = w[i].acked;
        OK(store_checkpoint(s, copies[n], &err));
    }
    /* One is used beside the store that it came from, written to and flushed: files are shared, so neither may change one. */
    copy = open_at(copies[0], k);
    check_copy(copy, before[0]);
    put1(copy, STORE_META, "mine", "1", STORE_SYNC);
    OK(store_flush(copy, &err));
    OK(store_close(copy, &err));
    for (unsigned i = 0; i < WRITERS; i++) {
        w[i].stop = true;
        thread_join(w[i].thread);
    }
    assert_string_equal(get1(s, STORE_META, "mine"), "");
    anchor_of(dir, &ours);
    OK(store_close(s, &err));
    rm_rf(dir); /* the rest needs nothing of it */
    for (unsigned n = 0; n < COPIES; n++) {
        anchor_of(copies[n], &theirs);
        assert_false(slice_eq(buf_view(&theirs), buf_view(&ours)));
        copy = open_at(copies[n], k);
        assert_true(check_copy(copy, before[n]) > 0);
        OK(store_close(copy, &err));
        rm_rf(copies[n]);
        mem_free(copies[n]);
    }
    buf_fini(&theirs);
    buf_fini(&ours);
    keyring_unref(k);
}

/* ---- where a copy may stand, and what it is worth ------------------------------------------------------- */

static void a_copy_stands_apart(void **state)
{
    struct keyring *k = key_ring(3);
    AUTO(mem_freep) char *dir = mem_strdup(tmp_path());
    AUTO(mem_freep) char *inside = mem_printf("%s/copy", dir);
    struct store *s = open_at(dir, k);

    (void)state;
    FAILS(ERR_CONFIG, store_checkpoint(s, dir, &err));
    FAILS(ERR_CONFIG, store_checkpoint(s, inside, &err));
    FAILS(ERR_CONFIG, store_checkpoint(s, "somewhere", &err));
    FAILS(ERR_CONFIG, store_checkpoint(s, "", &err));
    put1(s, STORE_RECORDS, "k", "v", STORE_SYNC); /* none of this did it harm */
    OK(store_close(s, &err));
    rm_rf(dir);
    keyring_unref(k);
}

static void move_file(const char *from_dir, const char *to_dir, const char *name)
{
    AUTO(mem_freep) char *from = mem_printf("%s/%s", from_dir, name);
    AUTO(mem_freep) char *to = mem_printf("%s/%s", to_dir, name);
    struct buf b = BUF_INIT;

    OK(file_read(from, 16 << 20, &b, &err));
    OK(file_write_atomic(to, 0600, buf_view(&b), &err));
    buf_fini(&b);
}

static void an_anchor_belongs_to_one_copy(void **state)
{
    struct keyring *k = key_ring(3);
    AUTO(mem_freep) char *dir = mem_strdup(tmp_path());
    AUTO(mem_freep) char *copy = mem_strdup(tmp_path());
    AUTO(mem_freep) char *saved = mem_printf("%s.saved", dir);
    struct store_config c = config_for(dir, k), cc = config_for(copy, k);
    struct store *s;

    (void)state;
    c.envelope_seq = 5;
    OK(store_open(&c, &s, &err));
    put1(s, STORE_RECORDS, "k", "old", STORE_SYNC);
    OK(store_checkpoint(s, copy, &err));
    put1(s, STORE_RECORDS, "k", "new", STORE_SYNC);
    OK(store_close(s, &err));

    OK(dir_make(saved, 0700, &err));
    move_file(dir, saved, "ANCHOR");
    move_file(copy, dir, "ANCHOR"); /* the copy's does not know the files of the store */
    FAILS(ERR_STALE, store_open(&c, &s, &err));
    move_file(saved, copy, "ANCHOR"); /* and the other way round */
    cc.create = false;
    FAILS(ERR_STALE, store_open(&cc, &s, &err));
    move_file(dir, copy, "ANCHOR");
    move_file(saved, dir, "ANCHOR");

    cc.envelope_seq = 4; /* what the store knew of its envelope, the copy knows */
    FAILS(ERR_ENVELOPE_STALE, store_open(&cc, &s, &err));
    cc.envelope_seq = 5;
    OK(store_open(&cc, &s, &err));
    assert_string_equal(get1(s, STORE_RECORDS, "k"), "old");
    OK(store_close(s, &err));
    OK(store_open(&c, &s, &err));
    assert_string_equal(get1(s, STORE_RECORDS, "k"), "new");
    OK(store_close(s, &err));

    AUTO(mem_freep) char *anchor = mem_printf("%s/ANCHOR", copy);
    assert_int_equal(unlink(anchor), 0); /* a copy that was not finished */
    FAILS(ERR_STALE, store_open(&cc, &s, &err));
    rm_rf(dir);
    rm_rf(copy);
    rm_rf(saved);
    keyring_unref(k);
}

/* ---- census ------------------------------------------------------------------------------------- */

struct tally {
    uint64_t files, bytes;
    unsigned archived;
};

/* What is under generation gen in a directory, by reading the four bytes that say it; independent of the store's own walk. */
static struct tally tally_of(const char *dir, uint32_t gen)
{
    struct tally t = { 0 };
    DIR *d = opendir(dir);
    struct dirent *ent;

    assert_non_null(d);
    while ((ent = readdir(d))) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", dir, ent->d_name);
        struct buf b = BUF_INIT;

        if (ent->d_name[0] == '.' || strcmp(ent->d_name, "LOCK") == 0)
            continue;
        if (strcmp(ent->d_name, "archive") == 0) {
            struct tally more = tally_of(path, gen);

            t.files += more.files;
            t.bytes += more.bytes;
            t.archived += (unsigned)more.files;
            continue;
        }
        if (file_read(path, 64 << 20, &b, &err).failed) { /* ANCHOR.tmp, renamed meanwhile */
            assert_int_equal(err.code, ERR_NOT_FOUND);
            err_reset(&err);
        }
        if (b.len >= STORE__HEADER_LEN && get_be32(b.p + 12) == gen) {
            t.files++;
            t.bytes += b.len;
        }
        buf_fini(&b);
    }
    closedir(d);
    return t;
}

static void check_row(const struct store_census_row *row, const struct tally *t, uint32_t gen)
{
    assert_int_equal(row->gen, gen);
    assert_int_equal(row->n_files, t[gen].files);
    assert_int_equal(row->bytes, t[gen].bytes);
    assert_true(row->n_files > 0);
}

static bool same_tally(const struct tally *a, const struct tally *b)
{
    return a->files == b->files && a->bytes == b->bytes && a->archived == b->archived;
}

static bool agree(const struct store_census_row *rows, int n, const struct tally t[3])
{
    for (int i = 0; i < n; i++)
        if (rows[i].n_files != t[rows[i].gen].files || rows[i].bytes != t[rows[i].gen].bytes)
            return false;
    return true;
}

/* A census and the tallies of generations 1 and 2 at one moment: the engine removes and archives files in the background for a while after a flush, so they are taken
 * again until no file moved between the tally before and the one after. A file that came and went again in between shows in neither, so a census that
 * differs gets more looks, too; one that is wrong differs in each. */
static void count_at_rest(struct store *s, const char *dir, struct store_census_row rows[4], int *n,
                          struct tally t[3])
{
    struct tally before[3] = { { 0 } };

    bool at_rest = false;

    for (int i = 0; i < 300; i++) {
        for (uint32_t gen = 1; gen <= 2; gen++)
            before[gen] = tally_of(dir, gen);
        OK(store_census(s, rows, 4, n, &err));
        for (uint32_t gen = 1; gen <= 2; gen++)
            t[gen] = tally_of(dir, gen);
        at_rest = same_tally(&before[1], &t[1]) && same_tally(&before[2], &t[2]);
        if (at_rest && agree(rows, *n, t))
            return;
        clock_sleep_us(10000);
    }
    if (!at_rest)
        fail_msg("the files of the store do not come to rest");
}

static void the_census_counts_every_file(void **state)
{
    struct keyring *k = key_ring(3);
    AUTO(mem_freep) char *dir = mem_strdup(tmp_path());
    AUTO(mem_freep) char *copy = mem_strdup(tmp_path());
    struct store_config c = config_for(dir, k);
    struct store_census_row rows[4];
    struct tally t[3] = { { 0 } };
    struct store *s;
    int n;

    (void)state;
    c.journal_keep_s = 3600;
    c.anchor_interval_us = 3600 * 1000000LL; /* no file changes while it is counted */
    OK(store_open(&c, &s, &err));
    put1(s, STORE_RECORDS, "first", "1", STORE_SYNC);
    OK(store_flush(s, &err)); /* a table; the journal goes to the archive */
    put1(s, STORE_RECORDS, "second", "1", STORE_SYNC);
    OK(store_flush(s, &err));
    count_at_rest(s, dir, rows, &n, t);
    assert_int_equal(n, 1);
    check_row(&rows[0], t, 1);
    assert_true(t[1].archived > 0);

    key_add(k, 2, 4); /* what is written from here on is under the second */
    put1(s, STORE_RECORDS, "third", "2", STORE_SYNC);
    OK(store_flush(s, &err));
    count_at_rest(s, dir, rows, &n, t);
    assert_int_equal(n, 2);
    check_row(&rows[0], t, 1);
    check_row(&rows[1], t, 2);
    FAILS(ERR_EXCEEDED_MEMORY_LIMIT, store_census(s, rows, 1, &n, &err));

    /* its tables are the store's own, linked: they count in both places */
    OK(store_checkpoint(s, copy, &err));
    OK(store_census_dir(copy, rows, 4, &n, &err));
    for (uint32_t gen = 1; gen <= 2; gen++)
        t[gen] = tally_of(copy, gen);
    assert_int_equal(n, 2);
    check_row(&rows[0], t, 1);
    check_row(&rows[1], t, 2);
    assert_int_equal(t[1].archived, 0);
    OK(store_close(s, &err));

    keyring_unref(k);
    k = keyring_new();
    key_add(k, 2, 4); /* the census said that the first is in use, and it is */
    c.keyring = k;
    FAILS(ERR_MISSING_GENERATION, store_open(&c, &s, &err));
    rm_rf(dir);
    rm_rf(copy);
    keyring_unref(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_under_writers_is_whole),
        cmocka_unit_test(a_copy_stands_apart),
        cmocka_unit_test(an_anchor_belongs_to_one_copy),
        cmocka_unit_test(the_census_counts_every_file),
    };
    int rc;

    support_init();
    support_tmp();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    support_fini();
    return rc;
}
