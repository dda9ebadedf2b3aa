/* test_probe.c - what each answer of a vault means, and the dates judged by the vault's clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "keys/probe.h"
#include "scene.h"

static struct scene s;
static struct probe_target target;

static int setup(void **state)
{
    (void)state;
    scene_init(&s);
    scene_create(&s);
    custody_probe_target(s.k, &target);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scene_fini(&s);
    assert_int_equal(secret_live_count(), 0);
    return 0;
}

static struct probe_result look(bool newer)
{
    struct probe_options o = { .fresh = true, .look_newer = newer, .timeout_us = 1000000 };
    struct probe_result r;

    probe_run(&s.vault.p, &target, &o, &r);
    assert_int_equal(r.cls == PROBE_OK, r.err.code == ERR_NONE);
    return r;
}

static void classes(void **state)
{
    static const struct {
        enum err_code code;
        enum probe_class cls;
    } t[] = {
        { ERR_NONE, PROBE_OK },
        { ERR_KEY_DENIED, PROBE_DENIED },
        { ERR_KEY_NOT_FOUND, PROBE_DENIED },
        { ERR_KEY_THROTTLED, PROBE_THROTTLED },
        { ERR_KEY_UNREACHABLE, PROBE_UNREACHABLE },
        { ERR_TIMEOUT, PROBE_UNREACHABLE },
        { ERR_KEY_CREDENTIAL, PROBE_CREDENTIAL },
        { ERR_KEY_BAD_ANSWER, PROBE_BAD },
        { ERR_CRYPTO, PROBE_BAD },
        { ERR_INTERNAL, PROBE_BAD },
        { ERR_WRONG_KEY, PROBE_BAD },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        s.vault.fail = t[i].code;
        s.vault.fail_after = 0;
        assert_int_equal(look(false).cls, t[i].cls);
        s.vault.fail_after = 1; /* the canary opens, the description fails */
        assert_int_equal(look(false).cls, t[i].cls);
    }
}

static void lies_are_bad(void **state)
{
    (void)state;
    for (enum fake_lie lie = FAKE_OTHER_KEY; lie <= FAKE_ECHO; lie++) {
        s.vault.lie = lie;
        assert_int_equal(look(false).cls, PROBE_BAD);
    }
    s.vault.lie = FAKE_HONEST;
    s.vault.v[0].kek[0] ^= 1; /* the same version, other material */
    assert_int_equal(look(false).cls, PROBE_BAD);
}

static void dates(void **state)
{
    (void)state;
    int64_t ahead = s.vault.now_s - clock_real_s();
    assert_in_range(look(false).clock_ahead_s - ahead + 2, 0, 4); /* the fake vault lives in 2023 */
    s.vault.v[0].expires_s = s.vault.now_s + 10;
    assert_int_equal(look(false).cls, PROBE_OK);
    assert_int_equal(look(false).expires_s, s.vault.now_s + 10);
    s.vault.now_s += 10; /* by the vault's clock, not ours */
    assert_int_equal(look(false).cls, PROBE_DENIED);
    s.vault.v[0].expires_s += 3600; /* extended */
    assert_int_equal(look(false).cls, PROBE_OK);
    s.vault.v[0].not_before_s = s.vault.now_s + 1;
    assert_int_equal(look(false).cls, PROBE_DENIED);
    s.vault.v[0].not_before_s = 0;
    s.vault.v[0].disabled = true;
    assert_int_equal(look(false).cls, PROBE_DENIED);
}

/* A newer version is seen; it saves an expired one, but neither a disabled one nor, when it cannot wrap, anything. */
static void newer_versions(void **state)
{
    struct probe_result r = look(true);
    struct err e = { 0 };

    (void)state;
    assert_false(r.newer);
    fake_add_version(&s.vault);
    r = look(true);
    assert_true(r.cls == PROBE_OK && r.newer);
    assert_string_equal(r.newest, "v2");
    assert_false(look(false).newer);
    s.vault.v[1].disabled = true;
    assert_false(look(true).newer);
    s.vault.v[1].disabled = false;
    s.vault.v[1].not_before_s = s.vault.now_s + 60;
    assert_false(look(true).newer);
    s.vault.v[1].not_before_s = 0;
    s.vault.v[0].expires_s = s.vault.now_s;
    r = look(false); /* not asked for, but needed now */
    assert_true(r.cls == PROBE_OK && r.newer);
    scene_must(custody_rewrap(s.k, r.newest, &e), &e);
    custody_probe_target(s.k, &target);
    r = look(true);
    assert_true(r.cls == PROBE_OK && !r.newer);
    fake_add_version(&s.vault);
    s.vault.v[1].expires_s = s.vault.now_s;
    s.vault.v[2].disabled = true;
    assert_int_equal(look(true).cls, PROBE_DENIED);
    s.vault.v[2].disabled = false;
    s.vault.v[1].disabled = true;
    assert_int_equal(look(true).cls, PROBE_DENIED);
}

/* A sealed process has the files and no key. */
static void from_the_files_alone(void **state)
{
    struct probe_target read;
    struct err e = { 0 };

    (void)state;
    scene_close(&s);
    s.vault.fail = ERR_KEY_DENIED; /* reading asks the vault nothing */
    scene_must(custody_read_target(&s.cfg, &read, &e), &e);
    assert_memory_equal(&read, &target, sizeof(read));
    assert_int_equal(look(false).cls, PROBE_DENIED);
    s.vault.fail = ERR_NONE;
    assert_int_equal(look(false).cls, PROBE_OK);
    unlink(s.pin);
    assert_true(custody_read_target(&s.cfg, &read, &e).failed);
    assert_int_equal(e.code, ERR_PIN_MISSING);
}

static int group_setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(1 << 18, &e).failed;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = { T(classes), T(lies_are_bad), T(dates), T(newer_versions),
                                        T(from_the_files_alone) };

    return cmocka_run_group_tests(tests, group_setup, NULL);
}
