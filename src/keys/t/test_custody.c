/* test_custody.c - making, rotating and retiring keys: against a vault that refuses, lies and fails at each call, and a disk that fails
 * at each write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "scene.h"

static struct scene s;

static int setup(void **state)
{
    (void)state;
    scene_init(&s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_disarm_all();
    scene_fini(&s);
    assert_int_equal(secret_live_count(), 0);
    return 0;
}

static const char *version_of(uint32_t gen)
{
    static struct custody_status st;

    custody_status(s.k, &st);
    for (size_t i = 0; i < st.n; i++)
        if (st.row[i].gen == gen)
            return st.row[i].version;
    return "none";
}

static struct custody_status status(void)
{
    struct custody_status st;

    custody_status(s.k, &st);
    return st;
}

/* A vault that lies when a cluster is made: nothing is stored, nothing is in memory. */
static void lies_at_creation(void **state)
{
    (void)state;
    for (enum fake_lie lie = FAKE_OTHER_KEY; lie < FAKE_LIES; lie++) {
        struct err e = { 0 };

        s.vault.lie = lie;
        assert_true(custody_create(&s.cfg, &s.k, &e).failed);
        assert_int_equal(e.code, ERR_KEY_BAD_ANSWER);
        assert_null(s.k);
        assert_false(custody_exists(s.dir));
        assert_false(path_exists(s.pin));
        assert_int_equal(secret_live_count(), 0);
    }
    s.vault.lie = FAKE_HONEST;
    scene_create(&s);
}

static void lies_at_opening(void **state)
{
    (void)state;
    scene_create(&s);
    for (enum fake_lie lie = FAKE_OTHER_KEY; lie <= FAKE_ECHO; lie++) {
        s.vault.lie = lie;
        assert_int_equal(scene_refused(&s), ERR_KEY_BAD_ANSWER);
    }
    s.vault.lie = FAKE_HONEST;
    scene_open(&s);
}

/* A lie during a rotation: the old wraps stay in force, nothing of the new ones is kept. */
static void lies_at_rotation(void **state)
{
    uint8_t fp[32], now[32];

    (void)state;
    scene_create(&s);
    scene_fingerprint(&s, 1, fp);
    fake_add_version(&s.vault);
    for (enum fake_lie lie = FAKE_OTHER_KEY; lie < FAKE_LIES; lie++) {
        struct err e = { 0 };

        s.vault.lie = lie;
        assert_true(custody_rewrap(s.k, NULL, &e).failed);
        assert_int_equal(e.code, ERR_KEY_BAD_ANSWER);
        err_reset(&e);
        assert_true(custody_new_generation(s.k, &e).failed);
        assert_int_equal(e.code, ERR_KEY_BAD_ANSWER);
        assert_int_equal(status().rotation, ROT_IDLE);
        assert_int_equal(status().n, 1);
        assert_string_equal(version_of(1), "v1");
    }
    s.vault.lie = FAKE_HONEST;
    scene_open(&s);
    scene_fingerprint(&s, 1, now);
    assert_memory_equal(fp, now, 32);
}

static void classes_stay_apart(void **state)
{
    static const enum err_code codes[] = { ERR_KEY_UNREACHABLE, ERR_KEY_THROTTLED, ERR_KEY_DENIED,
                                           ERR_KEY_NOT_FOUND, ERR_KEY_BAD_ANSWER };

    (void)state;
    scene_create(&s);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        s.vault.fail = codes[i];
        assert_int_equal(scene_refused(&s), codes[i]);
    }
    s.vault.fail = ERR_NONE;
    scene_open(&s);
}

static void what_may_not_wrap(void **state)
{
    struct err e = { 0 };

    (void)state;
    s.vault.v[0].disabled = true;
    assert_true(custody_create(&s.cfg, &s.k, &e).failed);
    assert_int_equal(e.code, ERR_KEY_DENIED);
    s.vault.v[0].disabled = false;
    s.vault.v[0].expires_s = s.vault.now_s;
    err_reset(&e);
    assert_true(custody_create(&s.cfg, &s.k, &e).failed);
    assert_non_null(strstr(e.msg, "expired"));
    s.vault.v[0].expires_s = s.vault.now_s + 1;
    s.vault.v[0].not_before_s = s.vault.now_s + 1;
    err_reset(&e);
    assert_true(custody_create(&s.cfg, &s.k, &e).failed);
    assert_non_null(strstr(e.msg, "not valid yet"));
    s.vault.v[0].not_before_s = s.vault.now_s;
    scene_create(&s);
    err_reset(&e);
    scene_close(&s);
    assert_true(custody_create(&s.cfg, &s.k, &e).failed); /* not over an existing one */
    assert_int_equal(e.code, ERR_CONFLICT);
}

/* Each generation is unwrapped with exactly the version stored: losing another one does no harm, losing that one does. */
static void exact_versions(void **state)
{
    struct err e = { 0 };

    (void)state;
    scene_create(&s);
    fake_add_version(&s.vault);
    scene_open(&s); /* v2 exists, v1 is used */
    assert_string_equal(version_of(1), "v1");
    s.vault.v[1].gone = true;
    scene_open(&s);
    s.vault.v[1].gone = false;
    scene_must(custody_rewrap(s.k, NULL, &e), &e);
    assert_string_equal(version_of(1), "v2");
    s.vault.v[0].gone = true;
    scene_open(&s);
    s.vault.v[1].disabled = true;
    assert_int_equal(scene_refused(&s), ERR_KEY_DENIED);
    s.vault.v[1].gone = true;
    assert_int_equal(scene_refused(&s), ERR_KEY_NOT_FOUND);
    s.vault.v[1] = (struct fake_version){ 0 }; /* the same name, other key material */
    s.vault.v[1].kek[0] = 1;
    assert_int_equal(scene_refused(&s), ERR_KEY_BAD_ANSWER);
}

static void rewrap_to_the_same_does_nothing(void **state)
{
    struct err e = { 0 };
    uint64_t seq;

    (void)state;
    scene_create(&s);
    seq = status().sequence;
    scene_must(custody_rewrap(s.k, NULL, &e), &e);
    scene_must(custody_rewrap(s.k, "v1", &e), &e);
    assert_int_equal(status().sequence, seq);
    assert_int_equal(s.vault.wraps, 2); /* the SMK and the canary, when it was made */
}

static void retiring(void **state)
{
    struct census_row rows[4] = { { 1, 2, 4096 }, { 2, 1, 10 } },
                      more[] = { { 1, 1, 5 }, { 3, 1, 1 } };
    size_t n = 2;
    struct err e = { 0 };

    (void)state;
    scene_create(&s);
    scene_must(custody_new_generation(s.k, &e), &e);
    assert_true(census_merge(rows, &n, 4, more, 2));
    assert_int_equal(n, 3);
    assert_int_equal(census_bytes(rows, n, 1), 4101);
    assert_false(census_merge(rows, &n, 3, (struct census_row[]){ { 9, 1, 1 } }, 1));
    assert_true(custody_retire(s.k, 1, rows, n, &e).failed);
    assert_int_equal(e.code, ERR_CONFLICT);
    err_reset(&e);
    assert_true(custody_retire(s.k, 2, NULL, 0, &e).failed); /* the current one */
    assert_int_equal(e.code, ERR_CONFLICT);
    err_reset(&e);
    assert_true(custody_destroy(s.k, 1, &e).failed); /* not retired */
    err_reset(&e);
    rows[0] = (struct census_row){ .gen = 1 };
    scene_must(custody_retire(s.k, 1, rows, n, &e), &e);
    assert_false(keyring_has(custody_keyring(s.k), 1));
    scene_open(&s);
    assert_false(keyring_has(custody_keyring(s.k), 1));
    assert_string_equal(version_of(1), "v1"); /* its wrapped form is still there */
    scene_must(custody_destroy(s.k, 1, &e), &e);
    assert_string_equal(version_of(1), "none");
    scene_open(&s); /* and the pin's first commitment still holds without it */
    assert_true(custody_retire(s.k, 1, NULL, 0, &e).failed);
    assert_int_equal(e.code, ERR_MISSING_GENERATION);
}

/* From the service root to the customer's key: a new generation, and the old one is marked. */
static void switching(void **state)
{
    struct custody_target to = { .mode = KEY_MODE_CMK, .provider = &s.vault.p };
    struct fake_vault service;
    struct custody_status st;
    struct err e = { 0 };

    (void)state;
    fake_init(&service);
    s.cfg.mode = KEY_MODE_SMK;
    s.cfg.provider = &service.p;
    scene_create(&s);
    s.vault.fail = ERR_KEY_DENIED;
    assert_true(custody_switch(s.k, &to, &e).failed);
    assert_int_equal(e.code, ERR_KEY_DENIED);
    assert_int_equal(status().mode, KEY_MODE_SMK);
    s.vault.fail = ERR_NONE;
    err_reset(&e);
    scene_must(custody_switch(s.k, &to, &e), &e);
    st = status();
    assert_int_equal(st.mode, KEY_MODE_CMK);
    assert_int_equal(st.current, 2);
    assert_true(st.row[0].exposed);
    assert_false(st.row[1].exposed);
    assert_int_equal(scene_refused(&s), ERR_CONFIG);
    s.cfg.mode = KEY_MODE_CMK;
    s.cfg.provider = &s.vault.p;
    service.fail = ERR_KEY_UNREACHABLE; /* nothing needs the service root any more */
    scene_open(&s);
    assert_true(status().row[0].exposed);
}

/* A new version that is disabled at each moment of the rotation to it: the data stays reachable, and a later one gets through. */
static void disabled_in_the_middle(void **state)
{
    (void)state;
    for (int after = 0; after < 12; after++) {
        uint8_t fp[32], now[32];
        struct err e = { 0 };

        scene_wipe(&s);
        fake_init(&s.vault);
        scene_create(&s);
        scene_fingerprint(&s, 1, fp);
        fake_add_version(&s.vault);
        s.vault.fail = ERR_KEY_DENIED;
        s.vault.fail_after = after;
        bool failed = custody_new_generation(s.k, &e).failed;
        s.vault.fail = ERR_NONE;
        /* get, 2 wraps, canary's 2, 2 verifications: then it is done */
        assert_int_equal(failed, after < 7);
        scene_open(&s);
        fake_add_version(&s.vault);
        err_reset(&e);
        scene_must(custody_rewrap(s.k, NULL, &e), &e);
        assert_string_equal(version_of(1), "v3");
        scene_open(&s);
        scene_fingerprint(&s, 1, now);
        assert_memory_equal(fp, now, 32);
    }
}

/* An outage in the middle: what was prepared waits, and is finished by the next call, or at the next opening. */
static void outage_in_the_middle(void **state)
{
    (void)state;
    for (int reopen = 0; reopen < 2; reopen++) {
        struct err e = { 0 };
        bool did = false;

        scene_wipe(&s);
        fake_init(&s.vault);
        scene_create(&s);
        fake_add_version(&s.vault);
        s.vault.fail = ERR_KEY_UNREACHABLE;
        s.vault.fail_after = 4; /* the verification is cut off */
        assert_true(custody_rewrap(s.k, NULL, &e).failed);
        assert_int_equal(e.code, ERR_KEY_UNREACHABLE);
        assert_int_equal(status().rotation, ROT_PREPARED);
        assert_string_equal(version_of(1), "v1");
        s.vault.fail = ERR_NONE;
        if (reopen) {
            scene_open(&s);
            assert_true(s.r.resumed);
        } else {
            err_reset(&e);
            scene_must(custody_resume(s.k, &did, &e), &e);
            assert_true(did);
        }
        assert_int_equal(status().rotation, ROT_IDLE);
        assert_string_equal(version_of(1), "v2");
        scene_open(&s);
        assert_string_equal(version_of(1), "v2");
    }
}

/* What a test program does step by step while something fails at the n-th fallible call. */
static bool story(struct err *e)
{
    struct custody_report r;

    if (custody_create(&s.cfg, &s.k, e).failed)
        return false;
    fake_add_version(&s.vault);
    if (custody_rewrap(s.k, NULL, e).failed || custody_new_generation(s.k, e).failed ||
        custody_retire(s.k, 1, NULL, 0, e).failed || custody_destroy(s.k, 1, e).failed)
        return false;
    custody_freep(&s.k);
    return !custody_open(&s.cfg, &s.k, &r, e).failed;
}

/* Every fallible call in turn (each write, sync, rename, allocation of a secret, call of the vault) fails once. Nothing leaks; the process
 * goes on with what it had; what is on the disk opens, with the same keys. */
static void every_failure_is_clean(void **state)
{
    uint64_t n = 1, failures = 0;
    bool reached = true;

    (void)state;
    for (; reached; n++) {
        uint8_t fp[32], now[32];
        struct err e = { 0 };
        bool ok;

        scene_wipe(&s);
        fake_init(&s.vault);
        fault_fail_nth(n);
        ok = story(&e);
        reached = fault_total() >= n;
        fault_disarm_all();
        failures += !ok;
        assert_true(ok || reached);
        assert_true(ok || e.code != ERR_NONE);
        assert_true(e.code != ERR_INTERNAL && e.code != ERR_ENVELOPE_CORRUPT &&
                    e.code != ERR_ENVELOPE_FORGED && e.code != ERR_ENVELOPE_STALE);
        if (s.k) { /* still works, and what it has is what the disk has */
            uint32_t cur = keyring_current(custody_keyring(s.k));
            struct err f = { 0 };

            scene_fingerprint(&s, cur, fp);
            fake_add_version(&s.vault);
            scene_must(custody_rewrap(s.k, NULL, &f), &f);
            assert_false(status().degraded);
            scene_open(&s);
            assert_false(s.r.repaired || s.r.degraded || s.r.pin_moved || s.r.pending);
            scene_fingerprint(&s, cur, now);
            assert_memory_equal(fp, now, 32);
        } else if (custody_exists(s.dir)) {
            scene_open(&s);
        } else {
            scene_create(&s); /* a failed creation does not stand in the way of the next */
        }
        scene_close(&s);
        assert_int_equal(secret_live_count(), 0);
    }
    print_message("%llu fallible calls, %llu failed the story\n", (unsigned long long)n - 1,
                  (unsigned long long)failures);
    assert_true(failures > 100);
}

static bool heal(void)
{
    struct err e = { 0 };
    bool did;

    scene_must(custody_heal(s.k, &did, &e), &e);
    assert_false(status().degraded);
    return did;
}

/* What opening finds whole afterwards. */
static void expect_whole(void)
{
    scene_open(&s);
    assert_false(s.r.repaired || s.r.degraded || s.r.pin_moved);
    assert_false(heal());
}

/* While the keys are in memory, copies and pin are made good whatever befell them. */
static void copies_heal(void **state)
{
    AUTO(buf_fini) struct buf older = BUF_INIT;
    struct err e = { 0 };

    (void)state;
    scene_create(&s);
    assert_false(heal());
    older = scene_read(&s, "envelope.2");
    fake_add_version(&s.vault);
    fault_arm("envelope.after-copy-1", "EIO", 0, 0);
    scene_must(custody_rewrap(s.k, NULL, &e), &e);
    int n_writes = (int)fault_count("envelope.after-copy-1");
    fake_add_version(&s.vault);
    fault_arm("envelope.after-copy-1", "EIO", n_writes - 1, 1);
    scene_must(custody_rewrap(s.k, NULL, &e), &e); /* in force: the first copy holds it */
    fault_disarm_all();
    assert_true(status().degraded);
    assert_true(heal());
    assert_string_equal(version_of(1), "v3");
    expect_whole();
    for (int copy = 1; copy <= 2; copy++) {
        AUTO(mem_freep) char *name = mem_printf("envelope.%d", copy);
        AUTO(mem_freep) char *path = mem_printf("%s/%s", s.dir, name);

        scene_write(&s, name, SLICE_LIT("damaged"));
        assert_true(heal());
        expect_whole();
        scene_write(&s, name, buf_view(&older)); /* undamaged, and of another time */
        assert_true(heal());
        expect_whole();
        assert_int_equal(unlink(path), 0);
        assert_true(heal());
        expect_whole();
    }
    assert_int_equal(unlink(s.pin), 0);
    assert_true(heal());
    expect_whole();
}

/* No room for it: it is degraded, says so, and the next try makes it good. */
static void healing_is_tried_again(void **state)
{
    struct err e = { 0 };
    bool did;

    (void)state;
    scene_create(&s);
    scene_write(&s, "envelope.1", SLICE_LIT("damaged"));
    fault_arm("file.write", "ENOSPC", 0, -1);
    assert_true(custody_heal(s.k, &did, &e).failed);
    assert_int_equal(e.code, ERR_DISK_FULL);
    assert_false(did);
    assert_true(status().degraded);
    fault_disarm_all();
    assert_true(heal());
    expect_whole();
}

/* kill -9 at each durable step: a child does the story and is killed at the n-th of them; the parent opens what it left. */
static const char *const kill_points[] = {
    "file.create",           "file.write",           "file.sync", "file.rename", "dir.sync",
    "envelope.after-copy-1", "envelope.after-copy-2"
};

/* The child's part. The arena it inherited reads as zero, but holds nothing of it yet, and serves as well as a new one. */
__attribute__((noreturn)) static void child_story(const char *point, int skip)
{
    struct custody_report r;
    struct custody *k = NULL;
    struct err e = { 0 };

    if (custody_open(&s.cfg, &k, &r, &e).failed)
        _exit(2);
    fault_arm(point, "kill", skip, 1);
    if (custody_rewrap(k, NULL, &e).failed || custody_new_generation(k, &e).failed)
        _exit(3);
    _exit(0);
}

static void killed_at_every_step(void **state)
{
    int kills = 0;

    (void)state;
    for (size_t p = 0; p < ARRAY_LEN(kill_points); p++) {
        for (int skip = 0;; skip++) {
            struct err e = { 0 };
            int status_ = 0;
            pid_t pid;

            scene_wipe(&s);
            fake_init(&s.vault);
            fake_add_version(&s.vault); /* here, so that the parent's vault knows it */
            s.vault.n = 1;
            scene_create(&s);
            s.vault.n = 2;
            scene_close(&s);
            pid = fork();
            assert_true(pid >= 0);
            if (pid == 0)
                child_story(kill_points[p], skip);
            assert_int_equal(waitpid(pid, &status_, 0), pid);
            assert_true(WIFSIGNALED(status_) ? WTERMSIG(status_) == SIGKILL
                                             : WEXITSTATUS(status_) == 0);
            kills += WIFSIGNALED(status_);
            scene_open(&s);
            assert_int_equal(status().rotation, ROT_IDLE);
            assert_true(strcmp(version_of(1), "v1") == 0 || strcmp(version_of(1), "v2") == 0);
            scene_must(custody_new_generation(s.k, &e), &e); /* and life goes on */
            scene_open(&s);
            assert_false(s.r.repaired || s.r.pin_moved || s.r.n_leftovers);
            scene_close(&s);
            if (!WIFSIGNALED(status_))
                break;
        }
    }
    print_message("%d kills\n", kills);
    assert_true(kills > 60);
}

static void many_rotations(void **state)
{
    struct err e = { 0 };
    struct buf after = BUF_INIT;

    (void)state;
    scene_create(&s);
    /* the envelope stays small: what is retired and destroyed is gone, the history is bounded */
    for (int i = 0; i < 300; i++) {
        uint32_t old = keyring_current(custody_keyring(s.k));

        if (i % 10 == 0 && s.vault.n < FAKE_VERSIONS)
            fake_add_version(&s.vault);
        scene_must(custody_new_generation(s.k, &e), &e);
        scene_must(custody_retire(s.k, old, NULL, 0, &e), &e);
        scene_must(custody_destroy(s.k, old, &e), &e);
    }
    assert_int_equal(status().n, 1);
    after = scene_read(&s, "envelope.1");
    assert_true(after.len < 1024);
    buf_fini(&after);
    for (int i = 0; i < 300; i++)
        scene_must(custody_rewrap(s.k, i % 2 ? "v1" : "v2", &e), &e);
    assert_true(status().row[0].n_versions > ENV_HISTORY_MAX);
    after = scene_read(&s, "envelope.1");
    assert_true(after.len < 8192);
    buf_fini(&after);
    scene_open(&s);
}

static bool has_generation(uint32_t gen)
{
    return strcmp(version_of(gen), "none") != 0;
}

/* As many as an envelope holds, none of them retired. */
static void fill_envelope(void)
{
    struct err e = { 0 };

    scene_create(&s);
    for (int i = 1; i < CUSTODY_GEN_MAX; i++)
        scene_must(custody_new_generation(s.k, &e), &e);
    assert_int_equal(status().n, CUSTODY_GEN_MAX);
}

/* In a full envelope the oldest retired one makes room, and nothing that data is under. */
static void the_oldest_retired_makes_room(void **state)
{
    struct err e = { 0 };

    (void)state;
    fill_envelope();
    scene_must(custody_retire(s.k, 5, NULL, 0, &e), &e);
    scene_must(custody_retire(s.k, 3, NULL, 0, &e), &e);
    s.vault.fail = ERR_KEY_UNREACHABLE;
    assert_true(custody_new_generation(s.k, &e).failed); /* no room is made for nothing */
    err_reset(&e);
    assert_true(has_generation(3) && has_generation(5));
    s.vault.fail = 0;
    scene_must(custody_new_generation(s.k, &e), &e);
    assert_int_equal(status().current, CUSTODY_GEN_MAX + 1);
    assert_false(has_generation(3));
    assert_true(has_generation(1) && has_generation(5));
    scene_open(&s);
    assert_false(has_generation(3));
    scene_must(custody_new_generation(s.k, &e), &e);
    assert_false(has_generation(5));
    assert_true(custody_new_generation(s.k, &e).failed); /* data is under all that are left */
    assert_int_equal(e.code, ERR_CONFLICT);
    err_reset(&e);
    assert_int_equal(status().n, CUSTODY_GEN_MAX);
    assert_true(has_generation(1));
}

__attribute__((noreturn)) static void child_rotation(const char *point, int skip)
{
    struct custody_report r;
    struct custody *k = NULL;
    struct err e = { 0 };

    if (custody_open(&s.cfg, &k, &r, &e).failed)
        _exit(2);
    fault_arm(point, "kill", skip, 1);
    _exit(custody_new_generation(k, &e).failed ? 3 : 0);
}

/* What makes room leaves with the write that prepares the new one: after a stop anywhere both are as before, or the new one comes into force. */
static void killed_while_room_is_made(void **state)
{
    int before = 0, after = 0;
    struct err e = { 0 };

    (void)state;
    fill_envelope();
    scene_must(custody_retire(s.k, 1, NULL, 0, &e), &e);
    AUTO(buf_fini) struct buf full = scene_read(&s, "envelope.1");
    AUTO(buf_fini) struct buf pin = scene_read_pin(&s);
    for (size_t p = 0; p < ARRAY_LEN(kill_points); p++) {
        for (int skip = 0, killed = 1; killed; skip++) {
            int status_ = 0;

            scene_wipe(&s);
            scene_write_both(&s, buf_view(&full));
            scene_write_path(s.pin, buf_view(&pin));
            pid_t pid = fork();
            assert_true(pid >= 0);
            if (pid == 0)
                child_rotation(kill_points[p], skip);
            assert_int_equal(waitpid(pid, &status_, 0), pid);
            killed = WIFSIGNALED(status_);
            assert_true(killed ? WTERMSIG(status_) == SIGKILL : WEXITSTATUS(status_) == 0);
            scene_open(&s);
            assert_int_equal(status().rotation, ROT_IDLE);
            assert_int_equal(status().n, CUSTODY_GEN_MAX);
            bool made = status().current == CUSTODY_GEN_MAX + 1;
            assert_true(made != has_generation(1));
            for (uint32_t gen = 2; gen <= CUSTODY_GEN_MAX; gen++)
                assert_true(keyring_has(custody_keyring(s.k), gen));
            before += !made;
            after += made;
            scene_close(&s);
        }
    }
    print_message("the old one stayed %d times, made room %d times\n", before, after);
    assert_true(before > 0 && after > (int)ARRAY_LEN(kill_points));
}

static void too_many_generations(void **state)
{
    struct err e = { 0 };

    (void)state;
    fill_envelope();
    assert_true(custody_new_generation(s.k, &e).failed);
    assert_int_equal(e.code, ERR_CONFLICT);
    assert_int_equal(status().rotation, ROT_IDLE);
    scene_open(&s);
    err_reset(&e);
    fake_add_version(&s.vault);
    scene_must(custody_rewrap(s.k, NULL, &e), &e); /* re-wrapping all of them still works */
}

/* Looking at the status never waits for a rotation that waits for the network. */
static RC slow_wrap(struct key_provider *p, const char *version, const struct secret *plain,
                    uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    clock_sleep_us(300000);
    return fake_wrap(p, version, plain, deadline_us, out, e);
}

static void *rotate_slowly(void *arg)
{
    struct err e = { 0 };

    (void)arg;
    INVARIANT(!custody_new_generation(s.k, &e).failed);
    return NULL;
}

static void status_does_not_wait(void **state)
{
    pthread_t t;
    uint64_t began;
    struct probe_target target;

    (void)state;
    scene_create(&s);
    s.vault.p.wrap = slow_wrap;
    t = thread_start("rotate", rotate_slowly, NULL);
    clock_sleep_us(50000);
    began = clock_mono_us();
    assert_int_equal(status().n, 1);
    custody_probe_target(s.k, &target);
    assert_true(clock_mono_us() - began < 200000);
    thread_join(t);
    assert_int_equal(status().n, 2);
}

static int group_setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(1 << 20, &e).failed;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(lies_at_creation),
        T(lies_at_opening),
        T(lies_at_rotation),
        T(classes_stay_apart),
        T(what_may_not_wrap),
        T(exact_versions),
        T(rewrap_to_the_same_does_nothing),
        T(retiring),
        T(switching),
        T(disabled_in_the_middle),
        T(outage_in_the_middle),
        T(every_failure_is_clean),
        T(copies_heal),
        T(healing_is_tried_again),
        T(killed_at_every_step),
        T(many_rotations),
        T(too_many_generations),
        T(the_oldest_retired_makes_room),
        T(killed_while_room_is_made),
        T(status_does_not_wait),
    };

    return cmocka_run_group_tests(tests, group_setup, NULL);
}
