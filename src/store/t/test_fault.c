/* test_fault.c - full disks and I/O errors, by fault points in every file operation: clear errors, reads go on, nothing acknowledged is lost,
 * and writing comes back by itself when there is room. */
#include "support.h"

#include <stdatomic.h>

#include "base/text.h"

static struct keyring *keys;
static const char *dir;
static struct store *st;
static atomic_int events[STORE_EV_NR]; /* counted in whatever thread reports them */

static void on_event(void *arg, enum store_event ev, const char *text)
{
    (void)arg;
    if (getenv("COFFER_SHOW"))
        fprintf(stderr, "event %d: %s\n", (int)ev, text);
    atomic_fetch_add(&events[ev], 1);
}

/* A report may come a little after what it reports. */
static bool told_once(enum store_event ev)
{
    for (int i = 0; i < 500 && events[ev] == 0; i++)
        clock_sleep_us(10000);
    return events[ev] == 1;
}

static bool read_only_within(unsigned ms)
{
    struct store_stats s = { 0 };

    for (uint64_t end = clock_mono_us() + ms * 1000u; !s.read_only && clock_mono_us() < end;
         clock_sleep_us(10000))
        store_stats(st, &s);
    return s.read_only;
}

static struct store_config fault_config(void)
{
    struct store_config c = config_for(dir, keys);

    c.on_event = on_event;
    c.anchor_interval_us = 20000;
    return c;
}

static void reopen(void)
{
    struct store_config c = fault_config();

    OK(store_open(&c, &st, &err));
}

static int setup(void **state)
{
    (void)state;
    keys = key_ring(9);
    dir = tmp_path();
    for (int i = 0; i < STORE_EV_NR; i++)
        atomic_store(&events[i], 0);
    reopen();
    put1(st, STORE_RECORDS, "before", "1", STORE_SYNC);
    return 0;
}

static int teardown(void **state)
{
    struct err e = { 0 };

    (void)state;
    fault_disarm_all();
    (void)store_close(st, &e).failed;
    keyring_unref(keys);
    rm_rf(dir);
    return 0;
}

static enum err_code try_put(const char *key)
{
    struct store_txn *t = NULL;
    struct err e = { 0 };

    if (!store_begin(st, &t, &e).failed &&
        !store_put(t, STORE_RECORDS, slice_str(key), SLICE_LIT("1"), &e).failed)
        (void)store_commit(&t, STORE_SYNC, &e).failed;
    store_abort(&t);
    return e.code;
}

static bool writable_within(unsigned ms, const char *key)
{
    for (uint64_t end = clock_mono_us() + ms * 1000u; clock_mono_us() < end; clock_sleep_us(20000))
        if (try_put(key) == ERR_NONE)
            return true;
    return false;
}

static void check_after_reopen(const char *const *present)
{
    OK(store_close(st, &err));
    reopen();
    assert_string_equal(get1(st, STORE_RECORDS, "before"), "1");
    for (; *present; present++)
        if (strcmp(get1(st, STORE_RECORDS, *present), "1") != 0)
            fail_msg("%s was acknowledged and is lost", *present);
}

static void a_full_disk_under_the_journal(void **state)
{
    struct store_stats s;

    (void)state;
    fault_arm("fs.append.journal", "ENOSPC", 0, -1);
    fault_arm("fs.create.journal", "ENOSPC", 0, -1);
    fault_arm("fs.free", "ENOSPC", 0, -1);
    assert_int_equal(try_put("lost"), ERR_DISK_FULL);
    assert_int_equal(try_put("lost too"), ERR_DISK_FULL);
    assert_string_equal(get1(st, STORE_RECORDS, "before"), "1"); /* reads go on */
    assert_true(read_only_within(5000)); /* the engine reports it when it has answered */
    store_stats(st, &s);
    assert_false(s.fatal);
    FAILS(ERR_DISK_FULL, store_resume(st, &err)); /* not into a full disk */
    fault_disarm_all();
    assert_true(writable_within(4000, "after")); /* by itself */
    store_stats(st, &s);
    assert_false(s.read_only);
    assert_true(told_once(STORE_EV_READ_ONLY));
    assert_true(told_once(STORE_EV_WRITABLE));
    check_after_reopen((const char *const[]){ "after", NULL });
    assert_string_equal(get1(st, STORE_RECORDS, "lost"), "");
}

static void a_full_disk_under_a_flush(void **state)
{
    (void)state;
    fault_arm("fs.append.table", "ENOSPC", 0, -1);
    fault_arm("fs.free", "ENOSPC", 0, -1);
    FAILS(ERR_DISK_FULL, store_flush(st, &err));
    assert_string_equal(get1(st, STORE_RECORDS, "before"), "1");
    assert_int_equal(try_put("lost"), ERR_DISK_FULL);
    fault_disarm_all();
    assert_true(writable_within(4000, "after"));
    OK(store_flush(st, &err));
    check_after_reopen((const char *const[]){ "after", NULL });
}

static void writing_can_be_resumed_by_hand(void **state)
{
    (void)state;
    fault_arm("fs.append.journal", "ENOSPC", 0, 1);
    assert_int_equal(try_put("lost"), ERR_DISK_FULL);
    fault_disarm_all();
    OK(store_resume(st, &err));
    assert_int_equal(try_put("after"), ERR_NONE);
    OK(store_resume(st, &err)); /* nothing to do */
    check_after_reopen((const char *const[]){ "after", NULL });
}

static void the_reserve_is_kept(void **state)
{
    (void)state;
    fault_arm("fs.free", "ENOSPC", 0, -1);
    for (uint64_t end = clock_mono_us() + 2000000;
         clock_mono_us() < end && try_put("early") == ERR_NONE;)
        clock_sleep_us(10000);
    assert_int_equal(try_put("lost"), ERR_DISK_FULL);
    FAILS(ERR_DISK_FULL, store_flush(st, &err));
    FAILS(ERR_DISK_FULL, store_checkpoint(st, tmp_path(), &err));
    assert_string_equal(get1(st, STORE_RECORDS, "before"), "1");
    fault_disarm_all();
    assert_true(writable_within(2000, "after"));
    check_after_reopen((const char *const[]){ "early", "after", NULL });
}

static void a_failed_sync_stops_all_acknowledging(void **state)
{
    struct store_stats s;

    (void)state;
    fault_arm("fs.sync.journal", "EIO", 0, 1);
    assert_int_not_equal(try_put("unsure"), ERR_NONE);
    assert_int_equal(try_put("refused"), ERR_ENGINE_FATAL);
    FAILS(ERR_ENGINE_FATAL, store_resume(st, &err));
    store_stats(st, &s);
    assert_true(s.fatal && s.read_only);
    assert_true(told_once(STORE_EV_FATAL));
    fault_disarm_all();
    (void)store_close(st, &err).failed;
    err_reset(&err);
    reopen();
    assert_string_equal(get1(st, STORE_RECORDS, "before"), "1");
    assert_string_equal(get1(st, STORE_RECORDS, "refused"), "");
    assert_int_equal(try_put("after"), ERR_NONE);
}

static void an_unreadable_disk_is_an_error_and_no_wrong_data(void **state)
{
    struct store_pin pin = { 0 };
    struct store_txn *t;
    struct slice v;

    (void)state;
    OK(store_flush(st, &err));
    OK(store_close(st, &err));
    reopen();
    OK(store_begin(st, &t, &err));
    fault_arm("fs.read.table", "EIO", 0, 1);
    FAILS(ERR_IO, store_get(t, STORE_RECORDS, SLICE_LIT("before"), &pin, &v, &err));
    fault_disarm_all();
    OK(store_get(t, STORE_RECORDS, SLICE_LIT("before"), &pin, &v, &err));
    assert_true(slice_eq_str(v, "1"));
    store_pin_release(&pin);
    store_abort(&t);
}

static void the_anchor_is_tried_again(void **state)
{
    (void)state;
    fault_arm("fs.rename.anchor", "EIO", 0, 2);
    for (int i = 0; i < 100 && !events[STORE_EV_ANCHOR_FAILED]; i++) {
        assert_int_equal(try_put("k"), ERR_NONE); /* commits do not depend on it */
        clock_sleep_us(10000);
    }
    assert_true(events[STORE_EV_ANCHOR_FAILED] > 0);
    fault_disarm_all();
    check_after_reopen((const char *const[]){ "k", NULL });
}

static void spilling_to_a_full_disk_fails_alone(void **state)
{
    struct store_spill *sp;
    uint8_t bytes[100000] = { 0 };

    (void)state;
    fault_arm("fs.create.spill", "ENOSPC", 0, 1);
    FAILS(ERR_DISK_FULL, store_spill_new(st, &sp, &err));
    assert_null(sp);
    OK(store_spill_new(st, &sp, &err));
    fault_arm("fs.append.spill", "ENOSPC", 0, 1);
    FAILS(ERR_DISK_FULL, store_spill_write(sp, SLICE(bytes, sizeof(bytes)), &err));
    FAILS(ERR_IO, store_spill_write(sp, SLICE(bytes, 1), &err));
    FAILS(ERR_IO, store_spill_rewind(sp, &err));
    store_spill_free(sp);
    fault_disarm_all();
    assert_int_equal(try_put("after"), ERR_NONE);
}

enum { STRIDE = 197 }; /* of the thousands of calls, in the quick loop */

/* ---- each call in turn -------------------------------------------------------------------------- */

/* What a process does with a store; stops at the first error. acked counts the commits that were acknowledged. */
static rc_t life(const char *where, int *acked, struct err *e)
{
    struct store_config c = config_for(where, keys);
    struct store *s = NULL;
    rc_t rc;

    *acked = 0;
    c.anchor_interval_us = 1000000;
    rc = store_open(&c, &s, e);
    for (int i = 0; i < 6 && !rc.failed; i++) {
        struct store_txn *t = NULL;
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        rc = store_begin(s, &t, e);
        if (!rc.failed)
            rc = store_put(t, STORE_RECORDS, slice_str(key), SLICE_LIT("1"), e);
        if (!rc.failed)
            rc = store_commit(&t, STORE_SYNC, e);
        store_abort(&t);
        *acked += !rc.failed;
        if (i == 2 && !rc.failed)
            rc = store_flush(s, e);
    }
    if (store_close(s, e).failed)
        rc = RC_FAILED;
    return rc;
}

static void check_life(const char *where, int acked, uint64_t n)
{
    struct store_config c = config_for(where, keys);
    struct err e = { 0 };
    struct store *s;

    if (store_open(&c, &s, &e).failed)
        fail_msg("call %llu: cannot be opened afterwards: %d %s", (unsigned long long)n,
                 (int)e.code, e.msg);
    for (int i = 0; i < acked; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        if (strcmp(get1(s, STORE_RECORDS, key), "1") != 0)
            fail_msg("call %llu: %s was acknowledged and is lost", (unsigned long long)n, key);
    }
    OK(store_close(s, &err));
}

static void each_call_fails_in_turn(void **state)
{
    uint64_t total, failed = 0, secrets = secret_live_count();
    const char *step = getenv("COFFER_FAULT_STEP"); /* 1 takes every call (make faults) */
    uint64_t stride = STRIDE;
    int acked;

    (void)state;
    assert_true(!step || (text_u64(slice_str(step), &stride) && stride > 0));
    for (int second = 0; second < 2; second++) { /* making a store, and opening one that exists */
        const char *model = tmp_path();
        struct err e = { 0 };

        if (second)
            OK(life(model, &acked, &err));
        fault_count_all();
        OK(life(model, &acked, &err));
        total = fault_total();
        fault_disarm_all();
        rm_rf(model);
        assert_true(total > 30);
        for (uint64_t n = 1; n <= total; n += stride) {
            const char *where = tmp_path();
            rc_t rc;

            if (second)
                OK(life(where, &acked, &err));
            err_reset(&e);
            fault_fail_nth(n);
            rc = life(where, &acked, &e);
            fault_disarm_all();
            assert_int_equal(rc.failed, err_is(&e));
            if (rc.failed && e.code != ERR_IO && e.code != ERR_ENGINE_FATAL &&
                e.code != ERR_CRYPTO && e.code != ERR_DISK_FULL)
                fail_msg("call %llu: class %d: %s", (unsigned long long)n, (int)e.code, e.msg);
            failed += rc.failed;
            check_life(where, acked, n);
            rm_rf(where);
        }
        printf("%llu calls, %llu of them made the run fail\n", (unsigned long long)total,
               (unsigned long long)failed);
    }
    assert_true(failed > 4);
    /* Hundreds of stores were opened. The engine's few threads, which stay, each keep some expanded keys; nothing else may. */
    assert_true(secret_live_count() < secrets + 60);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_full_disk_under_the_journal),
        T(a_full_disk_under_a_flush),
        T(writing_can_be_resumed_by_hand),
        T(the_reserve_is_kept),
        T(a_failed_sync_stops_all_acknowledging),
        T(an_unreadable_disk_is_an_error_and_no_wrong_data),
        T(the_anchor_is_tried_again),
        T(spilling_to_a_full_disk_fails_alone),
        T(each_call_fails_in_turn),
    };

    support_init();
    support_tmp();
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    support_fini();
    return rc;
}
