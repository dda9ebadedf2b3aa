/* test_state.c - the state machine, as transcripts: each line is a probe, when it ended, what it found, and what was to be done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "keys/state.h"

static struct key_machine m;
static struct ks_time now;

static const struct ks_config plain = { .interval_us = 15000000,
                                        .sealed_interval_us = 5000000,
                                        .confirm_us = 5000000,
                                        .grace_us = 3600000000,
                                        .overdue_us = 10000000,
                                        .jitter_pct = 0 };

static void start(enum key_state s)
{
    now = (struct ks_time){ .boot_us = 1000000000, .real_ms = 1700000000000 };
    ks_init(&m, &plain, s, now, 1);
}

static void pass_ms(int64_t boot, int64_t real)
{
    now.boot_us += (uint64_t)boot * 1000;
    now.real_ms += real;
}

/* plan(): when the next probe is due, relative to now, and how: "15.0s", "0.0s fresh". */
static const char *plan(void)
{
    static char text[64];
    struct ks_plan p = ks_next(&m);

    snprintf(text, sizeof(text), "%.1fs%s", ((double)p.due_boot_us - (double)now.boot_us) / 1e6,
             p.fresh ? " fresh" : "");
    return text;
}

static const char *actions(unsigned a)
{
    static char text[64];

    snprintf(text, sizeof(text), "%s%s%s", a & KS_SEAL ? "seal " : "",
             a & KS_RETURN ? "return " : "", a & KS_ALARM ? "alarm " : "");
    if (*text)
        text[strlen(text) - 1] = '\0';
    return text;
}

/* A script: lines of "WAIT CLASS [fresh] -> ACTIONS | STATE | NEXT", WAIT being seconds, or "due". */
struct line {
    double wait_s; /* < 0: until the probe is due */
    enum probe_class cls;
    const char *actions;
    enum key_state state;
    const char *next;
};
enum { DUE = -1 };

static void play(const struct line *l, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ks_plan p = ks_next(&m);
        int64_t ms =
            l[i].wait_s < 0
                ? (int64_t)(p.due_boot_us > now.boot_us ? (p.due_boot_us - now.boot_us) / 1000 : 0)
                : (int64_t)(l[i].wait_s * 1000);

        pass_ms(ms, ms);
        ks_began(&m, now);
        const char *did = actions(ks_probed(&m, l[i].cls, p.fresh, -1, now));
        if (strcmp(did, l[i].actions) != 0 || m.state != l[i].state ||
            strcmp(plan(), l[i].next) != 0)
            fail_msg("line %zu: did \"%s\" (%s), state %s, next %s (%s)", i, did, l[i].actions,
                     key_state_name(m.state), plan(), l[i].next);
    }
}
#define PLAY(...)                                                                                  \
    play((const struct line[]){ __VA_ARGS__ },                                                     \
         sizeof((const struct line[]){ __VA_ARGS__ }) / sizeof(struct line))

static void all_is_well(void **state)
{
    (void)state;
    start(KEY_READY);
    PLAY({ DUE, PROBE_OK, "", KEY_READY, "15.0s" }, { DUE, PROBE_OK, "", KEY_READY, "15.0s" });
}

static void revoked_and_given_back(void **state)
{
    (void)state;
    start(KEY_READY);
    /* on a reused connection: look again */
    PLAY({ DUE, PROBE_DENIED, "", KEY_READY, "0.0s fresh" },
         { DUE, PROBE_DENIED, "", KEY_READY, "5.0s fresh" }, /* the first that counts */
         { DUE, PROBE_DENIED, "seal", KEY_INACCESSIBLE, "5.0s fresh" });
    assert_int_equal(m.cause, KS_CAUSE_DENIED);
    PLAY({ DUE, PROBE_DENIED, "", KEY_INACCESSIBLE, "5.0s fresh" },
         { DUE, PROBE_UNREACHABLE, "", KEY_INACCESSIBLE, "5.0s fresh" },
         { DUE, PROBE_OK, "return", KEY_INACCESSIBLE, "5.0s fresh" });
    ks_return_failed(&m, now);
    PLAY({ DUE, PROBE_OK, "return", KEY_INACCESSIBLE, "5.0s fresh" });
    ks_returned(&m, now);
    assert_string_equal(plan(), "15.0s");
    PLAY({ DUE, PROBE_OK, "", KEY_READY, "15.0s" });
}

/* The disk, not the key, keeps a node out: the tries come further and further apart, and what is saved says nothing of it. */
static void the_disk_is_in_the_way(void **state)
{
    static const char *const waits[] = { "5.0s fresh",  "10.0s fresh", "20.0s fresh",
                                         "40.0s fresh", "60.0s fresh", "60.0s fresh" };
    AUTO(buf_fini) struct buf saved = BUF_INIT;
    uint8_t boot[16] = { 1 };
    struct err e = { 0 };

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        start(KEY_INACCESSIBLE);
        ks_storage_failed(&m, i + 1, now);
        assert_string_equal(plan(), waits[i]);
    }
    ks_storage_failed(&m, INT32_MAX, now);
    assert_string_equal(plan(), "60.0s fresh");
    assert_string_equal(ks_cause_name(m.cause), "storage");
    ks_save(&m, boot, &saved);
    ks_revalidate(&m, now); /* somebody has made room, and says so */
    PLAY({ DUE, PROBE_OK, "return", KEY_INACCESSIBLE, "5.0s fresh" });
    PLAY({ DUE, PROBE_UNREACHABLE, "", KEY_INACCESSIBLE, "5.0s fresh" });
    assert_int_equal(m.cause, KS_CAUSE_STORAGE);
    PLAY({ DUE, PROBE_DENIED, "", KEY_INACCESSIBLE, "5.0s fresh" });
    assert_int_equal(m.cause, KS_CAUSE_DENIED);
    start(KEY_INACCESSIBLE);
    assert_false(ks_restore(&m, boot, buf_view(&saved), now, &e).failed);
    assert_int_equal(m.cause, KS_CAUSE_NONE);
    /* an interval that is longer than the limit is the limit */
    m.cfg.sealed_interval_us = 600000000;
    ks_storage_failed(&m, 3, now);
    assert_string_equal(plan(), "600.0s fresh");
}

static void one_denial_is_not_enough(void **state)
{
    (void)state;
    start(KEY_READY);
    PLAY({ DUE, PROBE_DENIED, "", KEY_READY, "0.0s fresh" },
         { DUE, PROBE_DENIED, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_OK, "", KEY_READY, "15.0s" }, /* it was a slip: forgotten */
         { DUE, PROBE_DENIED, "", KEY_READY, "0.0s fresh" },
         { DUE, PROBE_OK, "", KEY_READY, "15.0s" });
}

/* Asking early never makes the confirmation come sooner. */
static void the_two_must_be_apart(void **state)
{
    (void)state;
    start(KEY_READY);
    PLAY({ DUE, PROBE_DENIED, "", KEY_READY, "0.0s fresh" },
         { DUE, PROBE_DENIED, "", KEY_READY, "5.0s fresh" });
    pass_ms(1000, 1000);
    ks_revalidate(&m, now);
    assert_string_equal(plan(), "4.0s fresh");
    PLAY({ 0, PROBE_DENIED, "", KEY_READY, "4.0s fresh" },
         { 3.9, PROBE_DENIED, "", KEY_READY, "0.1s fresh" },
         { 0.1, PROBE_DENIED, "seal", KEY_INACCESSIBLE, "5.0s fresh" });
}

static void silence_neither_confirms_nor_clears(void **state)
{
    (void)state;
    start(KEY_READY);
    PLAY({ DUE, PROBE_DENIED, "", KEY_READY, "0.0s fresh" },
         { DUE, PROBE_UNREACHABLE, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_DENIED, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_UNREACHABLE, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_THROTTLED, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_CREDENTIAL, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_BAD, "alarm", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_DENIED, "seal", KEY_INACCESSIBLE, "5.0s fresh" });
    start(KEY_READY);
    PLAY({ DUE, PROBE_DENIED, "", KEY_READY, "0.0s fresh" },
         { DUE, PROBE_DENIED, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_THROTTLED, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_OK, "", KEY_READY, "15.0s" },
         { DUE, PROBE_DENIED, "", KEY_READY, "0.0s fresh" },
         { DUE, PROBE_DENIED, "", KEY_READY, "5.0s fresh" });
}

static void grace_runs_down(enum probe_class cls)
{
    int probes = 0;

    start(KEY_READY);
    while (m.state == KEY_READY && probes < 1000) {
        unsigned did;

        pass_ms(15000, 15000);
        did = ks_probed(&m, cls, false, -1, now);
        assert_int_equal(!!(did & KS_SEAL), m.state == KEY_INACCESSIBLE);
        probes++;
    }
    assert_int_equal(probes, 240); /* 60 minutes, to the probe */
    assert_int_equal(m.cause, KS_CAUSE_GRACE);
    assert_int_equal(ks_grace_left_us(&m, now), 0);
}

static void every_class_but_ok_runs_the_grace_down(void **state)
{
    (void)state;
    grace_runs_down(PROBE_UNREACHABLE);
    grace_runs_down(PROBE_THROTTLED);
    grace_runs_down(PROBE_CREDENTIAL);
    grace_runs_down(PROBE_BAD); /* bad answers never revoke, but they are no OK either */
    start(KEY_READY);
    for (int i = 0; i < 2000; i++) { /* one OK in 200 is enough */
        pass_ms(15000, 15000);
        (void)ks_probed(&m, i % 200 ? PROBE_UNREACHABLE : PROBE_OK, false, -1, now);
        assert_int_equal(m.state, KEY_READY);
    }
}

static void counted_down_in_the_open(void **state)
{
    (void)state;
    start(KEY_READY);
    assert_int_equal(ks_grace_left_us(&m, now), 3600000000);
    pass_ms(600000, 600000);
    assert_int_equal(ks_grace_left_us(&m, now), 3000000000);
    (void)ks_probed(&m, PROBE_OK, false, -1, now);
    assert_int_equal(ks_grace_left_us(&m, now), 3600000000);
}

static void the_customers_tag(void **state)
{
    (void)state;
    start(KEY_READY);
    (void)ks_probed(&m, PROBE_OK, false, 120000, now);
    assert_int_equal(ks_grace_us(&m), 120000000);
    pass_ms(119000, 119000);
    assert_int_equal(ks_probed(&m, PROBE_UNREACHABLE, false, -1, now) & KS_SEAL, 0);
    pass_ms(1000, 1000);
    assert_int_equal(ks_probed(&m, PROBE_UNREACHABLE, false, -1, now) & KS_SEAL, KS_SEAL);
    start(KEY_READY);
    (void)ks_probed(&m, PROBE_OK, false, 7200000, now); /* a tag cannot raise it */
    assert_int_equal(ks_grace_us(&m), 3600000000);
    (void)ks_probed(&m, PROBE_OK, false, INT64_MAX, now);
    assert_int_equal(ks_grace_us(&m), 3600000000);
    assert_int_equal(ks_probed(&m, PROBE_OK, false, 1000, now) & KS_SAVE, KS_SAVE);
    /* not told is not taken off */
    assert_int_equal(ks_probed(&m, PROBE_OK, false, GRACE_UNREAD, now) & KS_SAVE, 0);
    assert_int_equal(ks_grace_us(&m), 1000000);
    (void)ks_probed(&m, PROBE_OK, false, GRACE_NONE, now); /* taken off again */
    assert_int_equal(ks_grace_us(&m), 3600000000);
}

static void a_clock_that_jumps(void **state)
{
    const int64_t ten_years = 315360000000;

    (void)state;
    start(KEY_READY);
    pass_ms(15000, ten_years); /* forward, while the vault is well: nothing happens */
    assert_int_equal(ks_probed(&m, PROBE_OK, false, -1, now) & KS_SEAL, 0);
    pass_ms(15000, -2 * ten_years); /* back: boot time goes on counting */
    assert_int_equal(ks_probed(&m, PROBE_UNREACHABLE, false, -1, now) & KS_SEAL, 0);
    pass_ms(3585000 - 1, 0);
    assert_int_equal(ks_probed(&m, PROBE_UNREACHABLE, false, -1, now) & KS_SEAL, 0);
    pass_ms(1, 0);
    assert_int_equal(ks_probed(&m, PROBE_UNREACHABLE, false, -1, now) & KS_SEAL, KS_SEAL);
    start(KEY_READY);
    /* a paused machine: only real time went on, and the vault does not answer */
    pass_ms(15000, 3600000);
    assert_int_equal(ks_probed(&m, PROBE_UNREACHABLE, false, -1, now) & KS_SEAL, KS_SEAL);
    start(KEY_READY);
    pass_ms(3600000, 0); /* suspended for an hour with a stopped real-time clock */
    assert_int_equal(ks_probed(&m, PROBE_UNREACHABLE, false, -1, now) & KS_SEAL, KS_SEAL);
}

static void flapping(void **state)
{
    unsigned seals = 0, alarms = 0;

    (void)state;
    start(KEY_READY);
    for (int i = 0; i < 120; i++) { /* up and down every 5 s for 10 minutes */
        unsigned did;

        pass_ms(5000, 5000);
        did = ks_probed(&m, i % 2 ? PROBE_OK : PROBE_UNREACHABLE, true, -1, now);
        seals += !!(did & KS_SEAL);
    }
    assert_int_equal(seals, 0);
    for (int i = 0; i < 120; i++) {
        pass_ms(5000, 5000);
        seals += !!(ks_probed(&m, i % 2 ? PROBE_OK : PROBE_DENIED, true, -1, now) & KS_SEAL);
    }
    assert_int_equal(seals, 0);
    assert_int_equal(m.state, KEY_READY);
    for (int i = 0; i < 100; i++) { /* a lasting bad answer alarms once */
        pass_ms(5000, 5000);
        alarms += !!(ks_probed(&m, PROBE_BAD, true, -1, now) & KS_ALARM);
    }
    assert_int_equal(alarms, 1);
    assert_int_equal(m.state, KEY_READY);
}

static void a_probe_that_hangs(void **state)
{
    int counted = 0;

    (void)state;
    start(KEY_READY);
    pass_ms(15000, 15000);
    ks_began(&m, now);
    assert_int_equal(ks_overdue(&m, now), KS_NOTHING);
    while (m.state == KEY_READY && counted < 1000) {
        pass_ms(10000, 10000);
        (void)ks_overdue(&m, now);
        counted++;
    }
    assert_int_equal(counted, 359); /* 60 minutes after the last OK */
    assert_int_equal(m.cause, KS_CAUSE_GRACE);
}

static void revalidation(void **state)
{
    (void)state;
    start(KEY_READY);
    pass_ms(3000, 3000);
    assert_string_equal(plan(), "12.0s");
    ks_revalidate(&m, now);
    assert_string_equal(plan(), "0.0s");
    ks_began(&m, now);
    pass_ms(500, 500);
    ks_revalidate(&m, now); /* one is under way: that one counts */
    (void)ks_probed(&m, PROBE_OK, false, -1, now);
    assert_string_equal(plan(), "15.0s");
    start(KEY_INACCESSIBLE);
    assert_string_equal(plan(), "0.0s fresh"); /* at start there is nothing to wait for */
    (void)ks_probed(&m, PROBE_DENIED, true, -1, now);
    assert_string_equal(plan(), "5.0s fresh");
    ks_revalidate(&m, now);
    assert_string_equal(plan(), "0.0s fresh");
}

static void jitter_spreads(void **state)
{
    struct ks_config c = plain;
    double min = 1e9, max = 0;

    (void)state;
    c.jitter_pct = 10;
    now = (struct ks_time){ 0 };
    ks_init(&m, &c, KEY_READY, now, 42);
    for (int i = 0; i < 1000; i++) {
        (void)ks_probed(&m, PROBE_OK, false, -1, now);
        double d = (double)(ks_next(&m).due_boot_us - now.boot_us) / 1e6;
        min = d < min ? d : min;
        max = d > max ? d : max;
        assert_true(d > 13.5 && d <= 15.0);
    }
    assert_true(max - min > 1.0);
}

static void saved_and_restored(void **state)
{
    uint8_t boot[16] = { 1, 2, 3 }, other[16] = { 4 };
    struct key_machine r;
    struct buf b = BUF_INIT;
    struct err e = { 0 };

    (void)state;
    start(KEY_READY);
    PLAY({ DUE, PROBE_OK, "", KEY_READY, "15.0s" },
         { DUE, PROBE_DENIED, "", KEY_READY, "0.0s fresh" },
         { DUE, PROBE_DENIED, "", KEY_READY, "5.0s fresh" },
         { DUE, PROBE_DENIED, "seal", KEY_INACCESSIBLE, "5.0s fresh" });
    ks_save(&m, boot, &b);
    pass_ms(100, 100); /* the exec */
    ks_init(&r, &plain, KEY_INACCESSIBLE, now, 2);
    assert_false(ks_restore(&r, boot, buf_view(&b), now, &e).failed);
    assert_int_equal(r.cause, KS_CAUSE_DENIED);
    assert_int_equal(r.since.real_ms, m.since.real_ms);
    assert_int_equal(r.since.boot_us, m.since.boot_us);
    assert_int_equal(r.last_ok.boot_us, m.last_ok.boot_us);
    /* another boot, a day later: only real time is known */
    struct ks_time later = { .boot_us = 5000000, .real_ms = now.real_ms + 86400000 };
    ks_init(&r, &plain, KEY_INACCESSIBLE, later, 2);
    assert_false(ks_restore(&r, other, buf_view(&b), later, &e).failed);
    assert_int_equal(r.last_ok.boot_us, later.boot_us);
    assert_int_equal(r.last_ok.real_ms, m.last_ok.real_ms);
    assert_int_equal(ks_grace_left_us(&r, later), 0);
    /* the key was used at this start: Ready, with the whole grace period */
    ks_init(&r, &plain, KEY_READY, later, 2);
    assert_false(ks_restore(&r, other, buf_view(&b), later, &e).failed);
    assert_int_equal(ks_grace_left_us(&r, later), plain.grace_us);
    for (size_t len = 0; len < b.len; len++) {
        struct err f = { 0 };
        assert_true(ks_restore(&r, boot, SLICE(b.p, len), now, &f).failed);
        assert_int_equal(f.code, ERR_CORRUPT);
    }
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        struct err f = { 0 };
        b.p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_true(ks_restore(&r, boot, buf_view(&b), now, &f).failed);
        b.p[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    buf_fini(&b);
}

static void saving_is_asked_for_sparingly(void **state)
{
    int saves = 0;

    (void)state;
    start(KEY_READY);
    for (int i = 0; i < 40; i++) {
        pass_ms(15000, 15000);
        saves += !!(ks_probed(&m, PROBE_OK, false, -1, now) & KS_SAVE);
    }
    assert_int_equal(saves, 10);
}

static void the_boot_id(void **state)
{
    uint8_t a[16], b[16], zero[16] = { 0 };

    (void)state;
    ks_boot_id(a);
    ks_boot_id(b);
    assert_memory_equal(a, b, 16);
    assert_memory_not_equal(a, zero, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_well),
        cmocka_unit_test(revoked_and_given_back),
        cmocka_unit_test(the_disk_is_in_the_way),
        cmocka_unit_test(one_denial_is_not_enough),
        cmocka_unit_test(the_two_must_be_apart),
        cmocka_unit_test(silence_neither_confirms_nor_clears),
        cmocka_unit_test(every_class_but_ok_runs_the_grace_down),
        cmocka_unit_test(counted_down_in_the_open),
        cmocka_unit_test(the_customers_tag),
        cmocka_unit_test(a_clock_that_jumps),
        cmocka_unit_test(flapping),
        cmocka_unit_test(a_probe_that_hangs),
        cmocka_unit_test(revalidation),
        cmocka_unit_test(jitter_spreads),
        cmocka_unit_test(saved_and_restored),
        cmocka_unit_test(saving_is_asked_for_sparingly),
        cmocka_unit_test(the_boot_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
