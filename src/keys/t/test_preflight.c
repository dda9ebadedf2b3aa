/* Would this key do? All that is wrong is listed, not only the first of it. */
#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "fake_vault.h"
#include "keys/preflight.h"

static struct fake_vault vault;
static struct preflight found;
static struct key_info twist; /* what get_key() says beyond what the fake vault knows */
static bool twisted;

static RC twisted_get_key(struct key_provider *p, const char *version, uint64_t deadline_us,
                          struct key_info *out, struct err *e)
{
    TRY(fake_get_key(p, version, deadline_us, out, e));
    if (!twisted)
        return RC_OK;
    memcpy(out->recovery_level, twist.recovery_level, sizeof(out->recovery_level));
    memcpy(out->region, twist.region, sizeof(out->region));
    out->bits = twist.bits;
    out->wrong_type = twist.wrong_type;
    if (twist.wrong_type)
        memcpy(out->kty, twist.kty, sizeof(out->kty));
    out->can_wrap = twist.can_wrap;
    out->can_unwrap = twist.can_unwrap;
    out->grace_malformed = twist.grace_malformed;
    if (twist.grace_ms)
        out->grace_ms = twist.grace_ms;
    memcpy(out->grace_why, twist.grace_why, sizeof(out->grace_why));
    return RC_OK;
}

static int setup(void **state)
{
    (void)state;
    fake_init(&vault);
    vault.p.get_key = twisted_get_key;
    twisted = false;
    twist = (struct key_info){ .bits = 2048, .can_wrap = true, .can_unwrap = true };
    snprintf(twist.recovery_level, sizeof(twist.recovery_level), "Recoverable");
    return 0;
}

static void look(const char *region)
{
    struct preflight_options o = { .timeout_us = 1000000, .region = region };

    preflight_run(&vault.p, &o, &found);
}

static void expect_failed(unsigned rules)
{
    for (int r = 0; r < PREFLIGHT_NR; r++)
        if ((found.rule[r].verdict == PREFLIGHT_FAILED) != ((rules >> r & 1) != 0))
            fail_msg("rule %s: %s, \"%s\"", preflight_rule_name((enum preflight_rule)r),
                     preflight_verdict_name(found.rule[r].verdict), found.rule[r].text);
    for (int r = 0; r < PREFLIGHT_NR; r++)
        assert_true(found.rule[r].text[0] != '\0');
}

#define R(x) (1u << PREFLIGHT_##x)

static void a_good_key(void **state)
{
    struct err e = { 0 };

    (void)state;
    twisted = true;
    look("");
    expect_failed(0);
    CHECK_RC_OK(preflight_require(&found, &e), &e);
    assert_string_equal(found.key.version, "v1");
}

static void everything_at_once(void **state)
{
    struct err e = { 0 };

    (void)state;
    twisted = true;
    twist.bits = 1024;
    twist.can_unwrap = false;
    snprintf(twist.recovery_level, sizeof(twist.recovery_level), "Purgeable");
    snprintf(twist.region, sizeof(twist.region), "westeurope");
    vault.v[0].disabled = true;
    vault.v[0].expires_s = vault.now_s - 1;
    look("northeurope");
    expect_failed(R(WRAP) | R(REGION) | R(SIZE) | R(ENABLED) | R(DATES) | R(OPERATIONS) |
                  R(SOFT_DELETE) | R(PURGE));
    assert_int_equal(found.rule[PREFLIGHT_UNWRAP].verdict, PREFLIGHT_UNKNOWN);
    assert_true(preflight_require(&found, &e).failed);
    assert_int_equal(e.code, ERR_KEY_DENIED);
    assert_non_null(strstr(e.msg, "wrapKey, region, size, enabled, dates, keyOps, softDelete"));
}

static void a_key_of_another_type(void **state)
{
    struct err e = { 0 };

    (void)state;
    twisted = true;
    twist.wrong_type = true;
    snprintf(twist.kty, sizeof(twist.kty), "EC");
    twist.bits = 0;
    vault.v[0].disabled = true;
    vault.v[0].expires_s = vault.now_s - 1;
    look("");
    expect_failed(R(WRAP) | R(TYPE) | R(ENABLED) | R(DATES));
    assert_non_null(strstr(found.rule[PREFLIGHT_TYPE].text, "EC"));
    assert_int_equal(found.rule[PREFLIGHT_GET].verdict, PREFLIGHT_OK);
    CHECK_RC_FAILS(key_info_valid(&found.key, /* for_wrap= */ false, &e), &e, ERR_KEY_BAD_ANSWER);
}

static void classes_are_kept(void **state)
{
    static const enum err_code codes[] = { ERR_KEY_UNREACHABLE, ERR_KEY_THROTTLED, ERR_KEY_DENIED,
                                           ERR_KEY_NOT_FOUND, ERR_KEY_BAD_ANSWER };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct err e = { 0 };

        vault.fail = codes[i];
        look("");
        assert_false(found.have_key);
        expect_failed(R(GET) | R(WRAP));
        CHECK_RC_FAILS(preflight_require(&found, &e), &e, codes[i]);
    }
}

static void a_refused_token_is_the_tenants(void **state)
{
    struct err e = { 0 };

    (void)state;
    vault.fail = ERR_KEY_TOKEN_REFUSED;
    look("");
    expect_failed(R(GET) | R(WRAP) | R(TENANT));
    CHECK_RC_FAILS(preflight_require(&found, &e), &e, ERR_KEY_TOKEN_REFUSED);
    vault.fail = ERR_KEY_UNREACHABLE;
    look("");
    assert_int_equal(found.rule[PREFLIGHT_TENANT].verdict, PREFLIGHT_UNKNOWN);
    vault.fail = 0;
    look("");
    assert_int_equal(found.rule[PREFLIGHT_TENANT].verdict, PREFLIGHT_OK);
}

static void liars_are_refused(void **state)
{
    static const enum fake_lie lies[] = { FAKE_OTHER_KEY, FAKE_SHORT, FAKE_LONG, FAKE_ZERO,
                                          FAKE_ECHO };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        struct err e = { 0 };

        vault.lie = lies[i];
        look("");
        expect_failed(R(UNWRAP));
        CHECK_RC_FAILS(preflight_require(&found, &e), &e, ERR_KEY_BAD_ANSWER);
    }
}

static void dates_and_tags(void **state)
{
    (void)state;
    twisted = true;
    twist.grace_malformed = true;
    vault.v[0].expires_s = vault.now_s + 10 * 86400;
    look("");
    expect_failed(0);
    assert_int_equal(found.rule[PREFLIGHT_DATES].verdict, PREFLIGHT_WARNING);
    assert_int_equal(found.rule[PREFLIGHT_GRACE].verdict, PREFLIGHT_WARNING);
    twist.grace_malformed = false;
    twist.grace_ms = GRACE_UNREAD;
    (void)snprintf(twist.grace_why, sizeof(twist.grace_why), "may not");
    look("");
    expect_failed(0);
    assert_int_equal(found.rule[PREFLIGHT_GRACE].verdict, PREFLIGHT_WARNING);
    assert_non_null(strstr(found.rule[PREFLIGHT_GRACE].text, "(may not)"));
    vault.v[0].expires_s = 0;
    vault.v[0].not_before_s = vault.now_s + 1;
    look("");
    expect_failed(R(DATES));
    assert_non_null(strstr(found.rule[PREFLIGHT_DATES].text, "not valid yet"));
}

static int group_setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(1 << 20, &e).failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_good_key, setup),
        cmocka_unit_test_setup(everything_at_once, setup),
        cmocka_unit_test_setup(a_key_of_another_type, setup),
        cmocka_unit_test_setup(classes_are_kept, setup),
        cmocka_unit_test_setup(liars_are_refused, setup),
        cmocka_unit_test_setup(a_refused_token_is_the_tenants, setup),
        cmocka_unit_test_setup(dates_and_tags, setup),
    };

    return cmocka_run_group_tests(tests, group_setup, NULL);
}
