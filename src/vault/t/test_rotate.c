/* test_rotate.c - rotation: asked for, by policy, and what is told of keys that expire. Over real HTTPS; the passes of the rotator at
 * times of the test's choice. */
#include "base/fault.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"
enum { DAY = 86400 };

static int call(struct vaultfix *f, const char *method, const char *path, const char *body,
                json_t **out)
{
    return vaultfix_call(f, method, path, f->token_op, body, out);
}

static int64_t utc(int year, int month, int day, int hour)
{
    struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour };

    return (int64_t)timegm(&tm);
}

static void durations_are_reckoned_in_the_calendar(void **state)
{
    static const struct {
        const char *text;
        int y, m, d, h, sign, to_y, to_m, to_d, to_h;
    } good[] = {
        { "P90D", 2024, 1, 1, 5, 1, 2024, 3, 31, 5 },
        { "P1M", 2024, 1, 31, 0, 1, 2024, 2, 29, 0 },
        { "P1M", 2024, 3, 31, 0, -1, 2024, 2, 29, 0 },
        { "P1Y", 2024, 2, 29, 0, 1, 2025, 2, 28, 0 },
        { "P2Y", 1971, 6, 1, 0, -1, 1969, 6, 1, 0 },
        { "P14M", 2024, 11, 3, 0, 1, 2026, 1, 3, 0 },
        { "P2W", 2024, 1, 1, 0, 1, 2024, 1, 15, 0 },
        { "PT36H", 2024, 1, 1, 0, 1, 2024, 1, 2, 12 },
        { "P1Y2M3DT60M", 2024, 1, 1, 0, 1, 2025, 3, 4, 1 },
        { "P1DT3600S", 2024, 3, 1, 0, -1, 2024, 2, 28, 23 },
        { "P100Y", 2000, 2, 29, 0, 1, 2100, 2, 28, 0 },
    };
    static const char *const bad[] = { "",         "P",
                                       "PT",       "90D",
                                       "P90",      "P90H",
                                       "PT1D",     "P1D2M",
                                       "P1M1M",    "P-1D",
                                       "P1.5D",    "P0D",
                                       "P101Y",    "p90d",
                                       "P1DT",     "P1D ",
                                       "P123456D", "P1YT1H1H",
                                       "P99999D",  "PD",
                                       "P1DTT1H",  "P00000000000000000000000000001D" };
    struct duration d;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(vault__duration_read(good[i].text, &d));
        assert_string_equal(d.text, good[i].text);
        int64_t got = vault__duration_after(utc(good[i].y, good[i].m, good[i].d, good[i].h), &d,
                                            good[i].sign);
        if (got != utc(good[i].to_y, good[i].to_m, good[i].to_d, good[i].to_h))
            fail_msg("%s: %lld", good[i].text, (long long)got);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (vault__duration_read(bad[i], &d))
            fail_msg("\"%s\" is taken", bad[i]);
}

/* The policy as one text, without what changes from run to run. */
static char *policy_text(json_t *j)
{
    struct buf b = BUF_INIT;

    assert_non_null(strstr(kjson_str(j, "id"), "/keys/data/rotationpolicy"));
    kjson_dump(json_object_get(j, "lifetimeActions"), &b);
    const char *expiry = kjson_str(kjson_obj(j, "attributes"), "expiryTime");
    char *text = mem_printf("%s %s", buf_cstr(&b), expiry ? expiry : "-");
    buf_fini(&b);
    json_decref(j);
    return text;
}

#define ROTATE(when, time)                                                                         \
    "{\"trigger\":{\"" when "\":\"" time "\"},\"action\":{\"type\":\"Rotate\"}}"
#define NOTIFY(time)                                                                               \
    "{\"trigger\":{\"timeBeforeExpiry\":\"" time "\"},\"action\":{\"type\":\"Notify\"}}"

static void policies_are_kept_as_they_were_given(void **state)
{
    static const struct {
        const char *put, *want;
    } cases[] = {
        { "{\"lifetimeActions\":[" ROTATE("timeAfterCreate", "P2M") "],\"attributes\":{}}",
          "[" ROTATE("timeAfterCreate", "P2M") "," NOTIFY("P30D") "] -" },
        { "{\"lifetimeActions\":[" ROTATE("timeBeforeExpiry",
                                          "P30D") "],\"attributes\":{\"expiryTime\":\"P90D\"}}",
          "[" ROTATE("timeBeforeExpiry", "P30D") "," NOTIFY("P30D") "] P90D" },
        { "{\"lifetimeActions\":[" NOTIFY("P7D") "," ROTATE(
              "timeAfterCreate", "P1Y") "],\"attributes\":{\"expiryTime\":\"P2Y\"}}",
          "[" ROTATE("timeAfterCreate", "P1Y") "," NOTIFY("P7D") "] P2Y" },
        { "{\"lifetimeActions\":[{\"trigger\":{\"timeAfterCreate\":\"P7D\",\"timeBeforeExpiry\":null},"
          "\"action\":{\"type\":\"rOTATE\"}}],\"attributes\":null}",
          "[" ROTATE("timeAfterCreate", "P7D") "," NOTIFY("P30D") "] -" },
        { "{\"attributes\":{\"expiryTime\":\"P28D\"}}", "[" NOTIFY("P30D") "] P28D" },
        { "{\"lifetimeActions\":[]}", "[" NOTIFY("P30D") "] -" },
        { "{}", "[" NOTIFY("P30D") "] -" },
    };
    struct vaultfix *f = *state;
    int64_t created = 0, updated = 0;
    struct err e = { 0 };
    json_t *j;

    assert_int_equal(call(f, "GET", "/keys/data/rotationpolicy" V, NULL, &j), 200);
    assert_false(kjson_has(kjson_obj(j, "attributes"), "created")); /* nobody gave it one */
    char *text = policy_text(j);
    assert_string_equal(text, "[" NOTIFY("P30D") "] -");
    mem_free(text);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(call(f, "PUT", "/keys/data/rotationpolicy" V, cases[i].put, &j), 200);
        assert_true(kjson_i64(kjson_obj(j, "attributes"), "created", &created));
        assert_true(kjson_i64(kjson_obj(j, "attributes"), "updated", &updated));
        assert_true(created > 0 && updated >= created);
        text = policy_text(j);
        assert_string_equal(text, cases[i].want);
        mem_free(text);
        vaultfix_down(f); /* and it is there after a restart */
        CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
        vaultfix_serve(f);
        assert_int_equal(call(f, "GET", "/keys/data/rotationpolicy" V, NULL, &j), 200);
        text = policy_text(j);
        assert_string_equal(text, cases[i].want);
        mem_free(text);
    }
}

static void policies_that_make_no_sense_are_refused(void **state)
{
    static const char *const bad[] = {
        "{\"lifetimeActions\":{}}",
        "{\"attributes\":[]}",
        "{\"lifetimeActions\":[1]}",
        "{\"lifetimeActions\":[{\"action\":{\"type\":\"Rotate\"}}]}",
        "{\"lifetimeActions\":[{\"trigger\":{\"timeAfterCreate\":\"P90D\"}}]}",
        "{\"lifetimeActions\":[{\"trigger\":{},\"action\":{\"type\":\"Rotate\"}}]}",
        "{\"lifetimeActions\":[{\"trigger\":{\"timeAfterCreate\":\"P90D\"},\"action\":{\"type\":\"Delete\"}}]}",
        "{\"lifetimeActions\":[{\"trigger\":{\"timeAfterCreate\":\"P90D\"},\"action\":{\"type\":\"Notify\"}}]}",
        "{\"lifetimeActions\":[" ROTATE("timeAfterCreate", "P6D") "]}",
        "{\"lifetimeActions\":[" ROTATE("timeAfterCreate", "ninety days") "]}",
        "{\"lifetimeActions\":[" ROTATE("timeBeforeExpiry", "P30D") "]}",
        "{\"lifetimeActions\":[" ROTATE("timeBeforeExpiry",
                                        "P6D") "],\"attributes\":{\"expiryTime\":\"P90D\"}}",
        "{\"lifetimeActions\":[" ROTATE("timeBeforeExpiry",
                                        "P85D") "],\"attributes\":{\"expiryTime\":\"P90D\"}}",
        "{\"lifetimeActions\":[" ROTATE("timeAfterCreate",
                                        "P85D") "],\"attributes\":{\"expiryTime\":\"P90D\"}}",
        "{\"lifetimeActions\":[" ROTATE("timeAfterCreate", "P30D") "," ROTATE("timeAfterCreate",
                                                                              "P31D") "]}",
        "{\"lifetimeActions\":[" NOTIFY("P30D") "," NOTIFY("P31D") "]}",
        "{\"attributes\":{\"expiryTime\":\"P27D\"}}",
        "{\"attributes\":{\"expiryTime\":28}}",
        "[]",
        "{",
    };
    struct vaultfix *f = *state;
    json_t *j;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int status = call(f, "PUT", "/keys/data/rotationpolicy" V, bad[i], &j);
        const char *code = kjson_str(kjson_obj(j, "error"), "code");
        if (status != 400 || !code || strcmp(code, "BadParameter") != 0)
            fail_msg("case %zu: %d", i, status);
        json_decref(j);
    }
    assert_int_equal(call(f, "GET", "/keys/nope/rotationpolicy" V, NULL, NULL), 404);
    assert_int_equal(call(f, "PUT", "/keys/nope/rotationpolicy" V, "{}", NULL), 404);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/rotationpolicy" V, f->token_node, NULL,
                                   NULL),
                     403);
    assert_int_equal(vaultfix_call(f, "PUT", "/keys/data/rotationpolicy" V, f->token_node, "{}",
                                   NULL),
                     403);
    fault_arm("file.write", "ENOSPC", 0, -1);
    assert_int_equal(call(f, "PUT", "/keys/data/rotationpolicy" V,
                          "{\"attributes\":{\"expiryTime\":\"P90D\"}}", NULL),
                     500);
    fault_disarm_all();
    assert_int_equal(call(f, "GET", "/keys/data/rotationpolicy" V, NULL, &j), 200);
    char *text = policy_text(j);
    assert_string_equal(text, "[" NOTIFY("P30D") "] -"); /* taken back */
    mem_free(text);
}

static struct vkey *key_in(struct vaultfix *f, const char *name)
{
    return vault__find_key(vault__find_vault(f->vault, "main"), name);
}

static const struct key_version *newest(struct vaultfix *f, const char *name)
{
    const struct vkey *k = key_in(f, name);

    return k->versions[k->n_versions - 1];
}

static void a_rotated_key_is_like_the_one_before(void **state)
{
    struct vaultfix *f = *state;
    int64_t exp = 0;
    json_t *j;

    assert_int_equal(
        call(f, "POST", "/keys/rsa/create" V,
             "{\"kty\":\"RSA\",\"key_size\":3072,\"key_ops\":[\"wrapKey\",\"unwrapKey\"],"
             "\"tags\":{\"a\":\"b\"},\"attributes\":{\"exp\":4000000000}}",
             &j),
        200);
    char *first = mem_strdup(kjson_str(kjson_obj(j, "key"), "kid"));
    json_decref(j);
    assert_int_equal(call(f, "POST", "/keys/rsa/rotate" V, NULL, &j), 200);
    assert_string_not_equal(kjson_str(kjson_obj(j, "key"), "kid"), first);
    assert_int_equal(json_array_size(kjson_arr(kjson_obj(j, "key"), "key_ops")), 2);
    assert_string_equal(kjson_str(kjson_obj(j, "tags"), "a"), "b");
    assert_false(kjson_has(kjson_obj(j, "attributes"), "exp")); /* no policy gives it one */
    json_decref(j);
    assert_int_equal(rsa_bits(&newest(f, "rsa")->pub.rsa), 3072);
    assert_true(key_in(f, "rsa")->versions[0]->enabled); /* old ones stay */
    assert_int_equal(call(f, "PUT", "/keys/rsa/rotationpolicy" V,
                          "{\"attributes\":{\"expiryTime\":\"P28D\"}}", NULL),
                     200);
    int64_t before = clock_real_s();
    assert_int_equal(call(f, "POST", "/keys/rsa/rotate" V, NULL, &j), 200);
    assert_true(kjson_i64(kjson_obj(j, "attributes"), "exp", &exp));
    assert_in_range(exp, before + (int64_t)28 * DAY, clock_real_s() + (int64_t)28 * DAY);
    json_decref(j);
    assert_int_equal(call(f, "POST", "/keys/ec/create" V, "{\"kty\":\"EC\",\"crv\":\"P-384\"}",
                          NULL),
                     200);
    assert_int_equal(call(f, "POST", "/keys/ec/rotate" V, NULL, &j), 200);
    assert_string_equal(kjson_str(kjson_obj(j, "key"), "crv"), "P-384");
    json_decref(j);

    assert_int_equal(call(f, "POST", "/keys/nope/rotate" V, NULL, NULL), 404);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/rsa/rotate" V, f->token_node, NULL, NULL),
                     403);
    assert_int_equal(call(f, "PATCH", "/keys/rsa/" V, "{\"attributes\":{\"enabled\":false}}", NULL),
                     200);
    assert_int_equal(call(f, "POST", "/keys/rsa/rotate" V, NULL, &j), 403);
    assert_string_equal(kjson_str(kjson_obj(kjson_obj(j, "error"), "innererror"), "code"),
                        "KeyDisabled");
    json_decref(j);
    fault_arm("file.write", "ENOSPC", 0, -1);
    assert_int_equal(call(f, "POST", "/keys/ec/rotate" V, NULL, NULL), 500);
    fault_disarm_all();
    assert_int_equal(key_in(f, "ec")->n_versions, 2);
    assert_int_equal(key_in(f, "rsa")->n_versions, 3);
    mem_free(first);
}

static void what_is_due_rotates_by_itself(void **state)
{
    struct vaultfix *f = *state;
    int64_t now = clock_real_s();

    /* so long after the creation */
    assert_int_equal(call(f, "PUT", "/keys/data/rotationpolicy" V,
                          "{\"lifetimeActions\":[" ROTATE("timeAfterCreate", "P7D") "]}", NULL),
                     200);
    vault__rotator_pass(f->vault, now + (int64_t)7 * DAY - 60);
    assert_int_equal(key_in(f, "data")->n_versions, 1);
    fault_arm("file.write", "ENOSPC", 0, -1);
    vault__rotator_pass(f->vault, now + (int64_t)7 * DAY + 60);
    fault_disarm_all();
    assert_int_equal(key_in(f, "data")->n_versions, 1); /* could not be kept: taken back */
    vault__rotator_pass(f->vault, now + (int64_t)7 * DAY + 60);
    assert_int_equal(key_in(f, "data")->n_versions, 2);
    assert_true(newest(f, "data")->enabled && newest(f, "data")->exp == 0);
    vault__rotator_pass(f->vault, now + 60); /* the new one is new */
    assert_int_equal(key_in(f, "data")->n_versions, 2);

    /* so long before the expiry */
    assert_int_equal(call(f, "POST", "/keys/ec/create" V, "{\"kty\":\"EC\",\"tags\":{\"a\":\"b\"}}",
                          NULL),
                     200);
    assert_int_equal(
        call(f, "PUT", "/keys/ec/rotationpolicy" V,
             "{\"lifetimeActions\":[" ROTATE("timeBeforeExpiry",
                                             "P7D") "],\"attributes\":{\"expiryTime\":\"P28D\"}}",
             NULL),
        200);
    vault__rotator_pass(f->vault, now + (int64_t)60 * DAY / 10);
    assert_int_equal(key_in(f, "ec")->n_versions, 1); /* it does not expire */
    char *body = mem_printf("{\"attributes\":{\"exp\":%lld}}", (long long)now + (int64_t)3 * DAY);
    assert_int_equal(call(f, "PATCH", "/keys/ec/" V, body, NULL), 200);
    for (int i = 0; i < 2; i++)
        vault__rotator_pass(f->vault, now);
    assert_int_equal(key_in(f, "ec")->n_versions, 2);
    assert_int_equal(newest(f, "ec")->exp, now + (int64_t)28 * DAY);
    assert_int_equal(newest(f, "ec")->n_tags, 1);

    /* a key that was taken away does not come back by itself */
    assert_int_equal(call(f, "DELETE", "/keys/data" V, NULL, NULL), 200);
    assert_int_equal(call(f, "PATCH", "/keys/ec/" V, "{\"attributes\":{\"enabled\":false}}", NULL),
                     200);
    vault__rotator_pass(f->vault, now + (int64_t)27 * DAY);
    assert_int_equal(key_in(f, "ec")->n_versions, 2);
    vault__rotator_pass(f->vault, now + (int64_t)30 * DAY);
    assert_int_equal(call(f, "POST", "/deletedkeys/data/recover" V, NULL, NULL), 200);
    assert_int_equal(key_in(f, "data")->n_versions, 2);
    mem_free(body);
}

static unsigned told(struct vaultfix *f, int64_t now)
{
    vault__rotator_pass(f->vault, now);
    return newest(f, "data")->told;
}

static void an_expiry_is_told_once(void **state)
{
    struct vaultfix *f = *state;
    int64_t now = clock_real_s(), exp = now + (int64_t)100 * DAY;
    char *body = mem_printf("{\"attributes\":{\"exp\":%lld}}", (long long)exp);
    struct err e = { 0 };

    assert_int_equal(told(f, now + (int64_t)1000 * DAY), 0); /* it has no end */
    assert_int_equal(call(f, "PATCH", "/keys/data/" V, body, NULL), 200);
    assert_int_equal(told(f, exp - (int64_t)31 * DAY), 0);
    fault_arm("file.write", "ENOSPC", 0, -1);
    assert_int_equal(told(f, exp - (int64_t)29 * DAY), 0); /* not kept: told another time */
    fault_disarm_all();
    assert_int_equal(told(f, exp - (int64_t)29 * DAY), TOLD_NEAR);
    vaultfix_down(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(newest(f, "data")->told, TOLD_NEAR);
    assert_int_equal(told(f, exp), TOLD_NEAR | TOLD_EXPIRED);
    /* another end, another word; the policy says how early */
    assert_int_equal(call(f, "PATCH", "/keys/data/" V, body, NULL), 200);
    assert_int_equal(newest(f, "data")->told, 0);
    assert_int_equal(call(f, "PUT", "/keys/data/rotationpolicy" V,
                          "{\"lifetimeActions\":[" NOTIFY("P2D") "]}", NULL),
                     200);
    assert_int_equal(told(f, exp - (int64_t)3 * DAY), 0);
    assert_int_equal(told(f, exp - DAY), TOLD_NEAR);
    mem_free(body);
}

static void the_thread_does_it(void **state)
{
    struct vaultfix *f = *state;
    uint64_t until_us = clock_mono_us() + 60000000;
    struct err e = { 0 };
    int n = 1;

    vaultfix_down(f);
    f->config.rotation_check_ms = 20;
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(
        call(f, "PUT", "/keys/data/rotationpolicy" V,
             "{\"lifetimeActions\":[" ROTATE("timeBeforeExpiry",
                                             "P7D") "],\"attributes\":{\"expiryTime\":\"P28D\"}}",
             NULL),
        200);
    char *body = mem_printf("{\"attributes\":{\"exp\":%lld}}", (long long)clock_real_s() + DAY);
    assert_int_equal(call(f, "PATCH", "/keys/data/" V, body, NULL), 200);
    while (n < 2 && clock_mono_us() < until_us) {
        json_t *j;
        assert_int_equal(call(f, "GET", "/keys/data/versions" V, NULL, &j), 200);
        n = (int)json_array_size(kjson_arr(j, "value"));
        json_decref(j);
        clock_sleep_us(20000);
    }
    assert_int_equal(n, 2);
    mem_free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_reckoned_in_the_calendar),
        cmocka_unit_test_setup_teardown(policies_are_kept_as_they_were_given, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(policies_that_make_no_sense_are_refused, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(a_rotated_key_is_like_the_one_before, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(what_is_due_rotates_by_itself, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(an_expiry_is_told_once, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(the_thread_does_it, vaultfix_setup, vaultfix_teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
