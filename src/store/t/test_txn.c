/* test_txn.c - what store.h promises about transactions, cursors, snapshots, savepoints and idents. */
#include "support.h"

struct fix {
    struct keyring *k;
    struct store *s;
    const char *dir;
};

static int setup(void **state)
{
    struct fix *f = NEW(struct fix);

    f->k = key_ring(7);
    f->dir = tmp_path();
    f->s = open_at(f->dir, f->k);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    OK(store_close(f->s, &err));
    keyring_unref(f->k);
    rm_rf(f->dir);
    mem_free(f);
    return 0;
}

static void reads_its_own_writes_and_nobody_elses(void **state)
{
    struct fix *f = *state;
    struct store_txn *a, *b;
    struct store_pin pin = { 0 };
    struct slice v;

    put1(f->s, STORE_RECORDS, "k", "old", STORE_SYNC);
    OK(store_begin(f->s, &a, &err));
    OK(store_begin(f->s, &b, &err));
    OK(store_put(a, STORE_RECORDS, SLICE_LIT("k"), SLICE_LIT("new"), &err));
    OK(store_get(a, STORE_RECORDS, SLICE_LIT("k"), &pin, &v, &err));
    assert_true(slice_eq_str(v, "new"));
    OK(store_get(b, STORE_RECORDS, SLICE_LIT("k"), &pin, &v, &err));
    assert_true(slice_eq_str(v, "old"));
    OK(store_commit(&a, STORE_SYNC, &err));
    assert_null(a);
    OK(store_get(b, STORE_RECORDS, SLICE_LIT("k"), &pin, &v, &err)); /* the snapshot of begin */
    assert_true(slice_eq_str(v, "old"));
    FAILS(ERR_NOT_FOUND, store_get(b, STORE_RECORDS, SLICE_LIT("absent"), &pin, &v, &err));
    assert_int_equal(v.len, 0);
    store_abort(&b);
    assert_null(b);
    store_pin_release(&pin);
    store_pin_release(&pin);
    assert_string_equal(get1(f->s, STORE_RECORDS, "k"), "new");
    assert_string_equal(get1(f->s, STORE_INDEXES, "k"), ""); /* spaces are apart */
}

static void a_pin_outlives_its_transaction(void **state)
{
    struct fix *f = *state;
    struct store_pin pin = { 0 };
    struct store_txn *t;
    struct slice v;

    put1(f->s, STORE_RECORDS, "k", "value", STORE_SYNC);
    OK(store_flush(f->s, &err));
    OK(store_begin(f->s, &t, &err));
    OK(store_get(t, STORE_RECORDS, SLICE_LIT("k"), &pin, &v, &err));
    store_abort(&t);
    assert_true(slice_eq_str(v, "value"));
    store_pin_release(&pin);
}

static void the_first_updater_wins_at_once(void **state)
{
    struct fix *f = *state;
    struct store_txn *a, *b;
    struct store_pin pin = { 0 };
    struct slice v;

    put1(f->s, STORE_RECORDS, "k", "0", STORE_NOSYNC);
    OK(store_begin(f->s, &a, &err));
    OK(store_begin(f->s, &b, &err));
    OK(store_put(a, STORE_RECORDS, SLICE_LIT("k"), SLICE_LIT("a"), &err));
    uint64_t before = clock_mono_us();
    FAILS(ERR_WRITE_CONFLICT,
          store_put(b, STORE_RECORDS, SLICE_LIT("k"), SLICE_LIT("b"), &err)); /* held by a */
    assert_true(clock_mono_us() - before < 500000);
    OK(store_put(b, STORE_RECORDS, SLICE_LIT("other"), SLICE_LIT("b"),
                 &err)); /* the rest of b goes on */
    OK(store_commit(&a, STORE_NOSYNC, &err));
    FAILS(ERR_WRITE_CONFLICT,
          store_put(b, STORE_RECORDS, SLICE_LIT("k"), SLICE_LIT("b"), &err)); /* changed since */
    FAILS(ERR_WRITE_CONFLICT,
          store_get_for_update(b, STORE_RECORDS, SLICE_LIT("k"), &pin, &v, &err));
    FAILS(ERR_WRITE_CONFLICT, store_del(b, STORE_RECORDS, SLICE_LIT("k"), &err));
    OK(store_commit(&b, STORE_NOSYNC, &err));
    store_pin_release(&pin);
    assert_string_equal(get1(f->s, STORE_RECORDS, "k"), "a");
    assert_string_equal(get1(f->s, STORE_RECORDS, "other"), "b");
}

static void a_conflict_is_seen_after_flush_too(void **state)
{
    struct fix *f = *state;
    struct store_txn *a;

    put1(f->s, STORE_RECORDS, "k", "0", STORE_NOSYNC);
    OK(store_begin(f->s, &a, &err));
    put1(f->s, STORE_RECORDS, "k", "1", STORE_NOSYNC);
    OK(store_flush(f->s, &err));
    FAILS(ERR_WRITE_CONFLICT, store_put(a, STORE_RECORDS, SLICE_LIT("k"), SLICE_LIT("a"), &err));
    store_abort(&a);
}

static void an_absent_key_can_be_locked(void **state)
{
    struct fix *f = *state;
    struct store_txn *a, *b;
    struct store_pin pin = { 0 };
    struct slice v;

    OK(store_begin(f->s, &a, &err));
    OK(store_begin(f->s, &b, &err));
    FAILS(ERR_NOT_FOUND, store_get_for_update(a, STORE_INDEXES, SLICE_LIT("u"), &pin, &v, &err));
    FAILS(ERR_WRITE_CONFLICT,
          store_get_for_update(b, STORE_INDEXES, SLICE_LIT("u"), &pin, &v, &err));
    store_abort(&a);
    FAILS(ERR_NOT_FOUND, store_get_for_update(b, STORE_INDEXES, SLICE_LIT("u"), &pin, &v,
                                              &err)); /* freed with a */
    store_abort(&b);
    store_pin_release(&pin);
}

static void savepoints_undo_a_statement(void **state)
{
    struct fix *f = *state;
    struct store_txn *t;

    OK(store_begin(f->s, &t, &err));
    OK(store_put(t, STORE_META, SLICE_LIT("a"), SLICE_LIT("1"), &err));
    store_savepoint(t);
    OK(store_put(t, STORE_META, SLICE_LIT("a"), SLICE_LIT("2"), &err));
    OK(store_put(t, STORE_META, SLICE_LIT("b"), SLICE_LIT("2"), &err));
    OK(store_rollback(t, &err));
    store_savepoint(t);
    OK(store_put(t, STORE_META, SLICE_LIT("c"), SLICE_LIT("3"), &err));
    store_savepoint_keep(t);
    OK(store_commit(&t, STORE_SYNC, &err));
    assert_string_equal(get1(f->s, STORE_META, "a"), "1");
    assert_string_equal(get1(f->s, STORE_META, "b"), "");
    assert_string_equal(get1(f->s, STORE_META, "c"), "3");
    /* a transaction from the pool starts with nothing left of the one before */
    OK(store_begin(f->s, &t, &err));
    OK(store_put(t, STORE_META, SLICE_LIT("d"), SLICE_LIT("4"), &err));
    store_abort(&t);
    OK(store_begin(f->s, &t, &err));
    OK(store_commit(&t, STORE_SYNC, &err));
    assert_string_equal(get1(f->s, STORE_META, "d"), "");
}

static void a_transaction_has_a_limit(void **state)
{
    struct fix *f = *state;
    uint8_t *big = mem_calloc(1, 1 << 20);
    struct store_txn *t;
    bool full = false;

    OK(store_begin(f->s, &t, &err));
    for (int i = 0; i < 20 && !full; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        err_reset(&err);
        full = store_put(t, STORE_RECORDS, slice_str(key), SLICE(big, 1 << 20), &err).failed;
    }
    assert_true(full);
    assert_int_equal(err.code, 257);
    err_reset(&err);
    store_abort(&t);
    mem_free(big);
    put1(f->s, STORE_RECORDS, "k", "v", STORE_SYNC);
}

/* Walk a cursor to a string of keys. */
static void keys_of(struct store *s, struct store_txn *t, struct store_snapshot *snap,
                    const char *lo, const char *hi, bool back, char *out)
{
    struct store_cursor_opts o = {
        .space = STORE_RECORDS, .lower = slice_str(lo), .upper = slice_str(hi), .fill_cache = true
    };
    struct store_cursor *c;
    bool valid;

    size_t n = 0;

    *out = 0;
    OK(store_cursor_open(s, t, snap, &o, &c, &err));
    OK(back ? store_cursor_last(c, &valid, &err) : store_cursor_first(c, &valid, &err));
    while (valid) {
        struct slice key = store_cursor_key(c);

        assert_true(n + key.len < 256);
        memcpy(out + n, key.p, key.len);
        out[n += key.len] = 0;
        OK(back ? store_cursor_prev(c, &valid, &err) : store_cursor_next(c, &valid, &err));
    }
    store_cursor_close(c);
}

static void cursors_keep_to_their_bounds(void **state)
{
    struct fix *f = *state;
    struct store_snapshot *snap;
    struct store_txn *t;
    char out[256];

    for (const char *p = "acegi"; *p; p++)
        put1(f->s, STORE_RECORDS, (char[]){ *p, 0 }, "v", STORE_NOSYNC);
    snap = store_snapshot(f->s);
    OK(store_begin(f->s, &t, &err));
    for (int own = 0; own < 2; own++) {
        const char *all = own ? "abdegi" : "acegi", *all_back = own ? "igedba" : "igeca";

        if (own) {
            OK(store_put(t, STORE_RECORDS, SLICE_LIT("b"), SLICE_LIT("v"), &err));
            OK(store_put(t, STORE_RECORDS, SLICE_LIT("d"), SLICE_LIT("v"), &err));
            OK(store_del(t, STORE_RECORDS, SLICE_LIT("c"), &err));
        }
        keys_of(f->s, t, NULL, "", "", false, out);
        assert_string_equal(out, all);
        keys_of(f->s, t, NULL, "", "", true, out);
        assert_string_equal(out, all_back);
        keys_of(f->s, t, NULL, "c", "g", false, out);
        assert_string_equal(out, own ? "de" : "ce");
        keys_of(f->s, t, NULL, "c", "g", true, out);
        assert_string_equal(out, own ? "ed" : "ec");
        keys_of(f->s, t, NULL, "d", "e", false, out);
        assert_string_equal(out, own ? "d" : "");
        keys_of(f->s, t, NULL, "x", "", false, out);
        assert_string_equal(out, "");
    }
    OK(store_commit(&t, STORE_NOSYNC, &err));
    keys_of(f->s, NULL, snap, "", "", false, out);
    assert_string_equal(out, "acegi"); /* the snapshot does not move */
    keys_of(f->s, NULL, NULL, "", "", false, out);
    assert_string_equal(out, "abdegi");
    store_snapshot_release(snap);
}

static void cursors_seek(void **state)
{
    struct fix *f = *state;
    struct store_cursor_opts o = { .space = STORE_RECORDS,
                                   .lower = SLICE_LIT("b"),
                                   .upper = SLICE_LIT("h") };
    struct store_cursor *c;
    bool valid;

    for (const char *p = "acegi"; *p; p++)
        put1(f->s, STORE_RECORDS, (char[]){ *p, 0 }, "v", STORE_NOSYNC);
    OK(store_cursor_open(f->s, NULL, NULL, &o, &c, &err));
    OK(store_cursor_seek(c, SLICE_LIT("d"), &valid, &err));
    assert_true(valid && slice_eq_str(store_cursor_key(c), "e") &&
                slice_eq_str(store_cursor_value(c), "v"));
    OK(store_cursor_seek_for_prev(c, SLICE_LIT("d"), &valid, &err));
    assert_true(valid && slice_eq_str(store_cursor_key(c), "c"));
    OK(store_cursor_prev(c, &valid, &err));
    assert_false(valid);                                    /* "a" is below the bound */
    OK(store_cursor_seek(c, SLICE_LIT("a"), &valid, &err)); /* clamped */
    assert_true(valid && slice_eq_str(store_cursor_key(c), "c"));
    OK(store_cursor_seek_for_prev(c, SLICE_LIT("z"), &valid, &err));
    assert_true(valid && slice_eq_str(store_cursor_key(c), "g"));
    OK(store_cursor_next(c, &valid, &err));
    assert_false(valid);
    OK(store_cursor_seek(c, SLICE_LIT("h"), &valid, &err));
    assert_false(valid);
    store_cursor_closep(&c);
    assert_null(c);
}

static void a_dropped_range_is_gone_for_good(void **state)
{
    struct fix *f = *state;
    char out[256];

    for (const char *p = "acegi"; *p; p++)
        put1(f->s, STORE_RECORDS, (char[]){ *p, 0 }, "v", STORE_NOSYNC);
    OK(store_drop_range(f->s, STORE_RECORDS, SLICE_LIT("b"), SLICE_LIT("g"), &err));
    keys_of(f->s, NULL, NULL, "", "", false, out);
    assert_string_equal(out, "agi");
    OK(store_close(f->s, &err));
    f->s = open_at(f->dir, f->k);
    keys_of(f->s, NULL, NULL, "", "", false, out);
    assert_string_equal(out, "agi");
}

static void a_compacted_range_keeps_its_keys(void **state)
{
    struct fix *f = *state;
    char out[256];

    for (const char *p = "acegi"; *p; p++)
        put1(f->s, STORE_RECORDS, (char[]){ *p, 0 }, "v", STORE_NOSYNC);
    OK(store_drop_range(f->s, STORE_RECORDS, SLICE_LIT("b"), SLICE_LIT("d"), &err));
    OK(store_compact_range(f->s, STORE_RECORDS, SLICE_LIT("a"), SLICE_LIT("z"), NULL, NULL, &err));
    keys_of(f->s, NULL, NULL, "", "", false, out);
    assert_string_equal(out, "aegi");
    OK(store_close(f->s, &err));
    f->s = open_at(f->dir, f->k);
    keys_of(f->s, NULL, NULL, "", "", false, out);
    assert_string_equal(out, "aegi");
}

static RC no_patience(void *arg, struct err *e)
{
    int *left = arg;

    if ((*left)-- > 0)
        return RC_OK;
    FAIL(e, ERR_INTERRUPTED, "interrupted");
}

static void a_compaction_is_interrupted(void **state)
{
    struct fix *f = *state;
    int left = 0;

    put1(f->s, STORE_RECORDS, "a", "v", STORE_NOSYNC);
    FAILS(ERR_INTERRUPTED, store_compact_range(f->s, STORE_RECORDS, SLICE_LIT("a"), SLICE_LIT("z"),
                                               no_patience, &left, &err));
    fault_arm("store.compact", "delay300", 0, 1);
    left = 1; /* once before it begins */
    FAILS(ERR_INTERRUPTED, store_compact_range(f->s, STORE_RECORDS, SLICE_LIT("a"), SLICE_LIT("z"),
                                               no_patience, &left, &err));
    fault_arm("store.compact", "EIO", 0, 1);
    FAILS(ERR_IO, store_compact_range(f->s, STORE_RECORDS, SLICE_LIT("a"), SLICE_LIT("z"), NULL,
                                      NULL, &err));
    fault_disarm_all();
    OK(store_compact_range(f->s, STORE_RECORDS, SLICE_LIT("a"), SLICE_LIT("z"), NULL, NULL, &err));
    assert_string_equal(get1(f->s, STORE_RECORDS, "a"), "v");
}

static void idents_are_never_given_twice(void **state)
{
    struct fix *f = *state;
    uint64_t last = 0, id;

    for (int open = 0; open < 3; open++) {
        for (int i = 0; i < 100; i++) {
            OK(store_new_ident(f->s, &id, &err));
            assert_true(id > last && id >= STORE_IDENT_FIRST);
            last = id;
        }
        OK(store_close(f->s, &err));
        f->s = open_at(f->dir, f->k);
    }
}

static void what_was_committed_is_there_after_reopening(void **state)
{
    struct fix *f = *state;
    char key[32], value[64];
    struct store_stats st;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof(key), "r%d-%d", round, i);
            snprintf(value, sizeof(value), "value %d of %d", i, round);
            put1(f->s, STORE_RECORDS, key, value, i % 50 ? STORE_NOSYNC : STORE_SYNC);
        }
        if (round == 1)
            OK(store_flush(f->s, &err));
        OK(store_close(f->s, &err));
        f->s = open_at(f->dir, f->k);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof(key), "r%d-%d", round, i);
            snprintf(value, sizeof(value), "value %d of %d", i, round);
            assert_string_equal(get1(f->s, STORE_RECORDS, key), value);
        }
    }
    store_stats(f->s, &st);
    assert_true(st.n_files > 0 && st.data_bytes > 0 && st.free_bytes > 0 && !st.read_only &&
                st.anchor_counter > 0);
}

static void spills_come_back_as_they_were(void **state)
{
    static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 300000 };
    struct fix *f = *state;
    struct store_spill *sp;
    size_t got;

    for (size_t n = 0; n < ARRAY_LEN(sizes); n++) {
        uint8_t *in = mem_calloc(1, sizes[n] + 1), *out = mem_calloc(1, sizes[n] + 9);

        OK(random_bytes(in, sizes[n] + 1, &err));
        OK(store_spill_new(f->s, &sp, &err));
        for (size_t at = 0; at < sizes[n]; at += 7777)
            OK(store_spill_write(sp, SLICE(in + at, MIN((size_t)7777, sizes[n] - at)), &err));
        for (int pass = 0; pass < 2; pass++) {
            OK(store_spill_rewind(sp, &err));
            OK(store_spill_read(sp, out, sizes[n] / 2, &got, &err));
            assert_int_equal(got, sizes[n] / 2);
            OK(store_spill_read(sp, out + got, sizes[n] + 9 - got, &got, &err));
            assert_int_equal(got, sizes[n] - sizes[n] / 2);
            assert_memory_equal(in, out, sizes[n]);
        }
        FAILS(ERR_IO, store_spill_write(sp, SLICE_LIT("late"), &err));
        store_spill_free(sp);
        mem_free(in);
        mem_free(out);
    }
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(reads_its_own_writes_and_nobody_elses),
        T(a_pin_outlives_its_transaction),
        T(the_first_updater_wins_at_once),
        T(a_conflict_is_seen_after_flush_too),
        T(an_absent_key_can_be_locked),
        T(savepoints_undo_a_statement),
        T(a_transaction_has_a_limit),
        T(cursors_keep_to_their_bounds),
        T(cursors_seek),
        T(a_dropped_range_is_gone_for_good),
        T(a_compacted_range_keeps_its_keys),
        T(a_compaction_is_interrupted),
        T(idents_are_never_given_twice),
        T(what_was_committed_is_there_after_reopening),
        T(spills_come_back_as_they_were),
    };

    support_init();
    support_tmp();
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    support_fini();
    return rc;
}
