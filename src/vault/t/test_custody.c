/* test_custody.c - a cluster's key envelope, made, opened, probed and re-wrapped through the real provider against the real vault: each
 * layer of the way that an SMK takes, in one process. */
#include <sys/stat.h>

#include "keys/custody.h"
#include "keys/keyring.h"
#include "keys/probe.h"
#include "vault/vault_admin.h"
#include "vaultfix.h"

#define V "?api-version=7.4"

struct cluster {
    struct vaultfix *f;
    char *dir, *pin;
    struct key_provider *provider;
    struct custody_config config;
    struct custody *custody;
};

static int setup(void **state)
{
    struct cluster *c = NEW(struct cluster);
    struct err e = { 0 };

    c->f = vaultfix_start();
    c->dir = mem_printf("%s/data", c->f->dir);
    c->pin = mem_printf("%s/pin", c->f->dir);
    assert_int_equal(mkdir(c->dir, 0700), 0);
    c->provider = vaultfix_provider(c->f, "data", c->f->node_secret);
    c->config = (struct custody_config){
        .dir = c->dir,
        .pin_path = c->pin,
        .mode = KEY_MODE_CMK,
        .provider = c->provider,
        .timeout_us = 5000000,
    };
    CHECK_RC_OK(custody_create(&c->config, &c->custody, &e), &e);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct cluster *c = *state;

    custody_free(c->custody);
    c->provider->free(c->provider);
    vaultfix_stop(c->f);
    mem_free(c->dir);
    mem_free(c->pin);
    mem_free(c);
    return 0;
}

static void reopen(struct cluster *c, enum err_code want)
{
    struct custody_report report = { 0 };
    struct err e = { 0 };

    custody_free(c->custody);
    c->custody = NULL;
    rc_t rc = custody_open(&c->config, &c->custody, &report, &e);
    if (rc.failed != (want != ERR_NONE) || e.code != want)
        fail_msg("code %d instead of %d: %s", (int)e.code, (int)want, e.msg);
    if (!rc.failed)
        assert_true(keyring_has(custody_keyring(c->custody), 1));
}

static void patch(struct cluster *c, const char *path, const char *body)
{
    assert_int_equal(vaultfix_call(c->f, "PATCH", path, c->f->token_op, body, NULL), 200);
}

static struct probe_result probe(struct cluster *c, enum probe_class want)
{
    struct probe_options o = { .fresh = true, .look_newer = true, .timeout_us = 4000000 };
    struct probe_target t;
    struct probe_result r;
    struct err e = { 0 };

    CHECK_RC_OK(custody_read_target(&c->config, &t, &e), &e);
    probe_run(c->provider, &t, &o, &r);
    if (r.cls != want)
        fail_msg("%s instead of %s: %s", probe_class_name(r.cls), probe_class_name(want),
                 r.err.msg);
    return r;
}

static void what_was_made_is_opened(void **state)
{
    struct cluster *c = *state;

    reopen(c, ERR_NONE);
    assert_int_equal(probe(c, PROBE_OK).newer, false);
}

static void a_revoked_key_opens_nothing_until_it_is_back(void **state)
{
    static const char *const losses[][2] = {
        { "{\"attributes\":{\"enabled\":false}}", "{\"attributes\":{\"enabled\":true}}" },
        { "{\"key_ops\":[\"wrapKey\"]}", "{\"key_ops\":[\"wrapKey\",\"unwrapKey\"]}" },
    };
    struct cluster *c = *state;
    struct err e = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(losses); i++) {
        patch(c, "/keys/data/" V, losses[i][0]);
        (void)probe(c, PROBE_DENIED);
        reopen(c, ERR_KEY_DENIED);
        patch(c, "/keys/data/" V, losses[i][1]);
        (void)probe(c, PROBE_OK);
        reopen(c, ERR_NONE);
    }
    /* expired by attribute: the vault still unwraps, the judgement is the cluster's */
    patch(c, "/keys/data/" V, "{\"attributes\":{\"exp\":1600000000}}");
    (void)probe(c, PROBE_DENIED);
    patch(c, "/keys/data/" V, "{\"attributes\":{\"exp\":null}}");
    (void)probe(c, PROBE_OK);
    CHECK_RC_OK(vault_role_remove(c->f->vault, "main", NULL, "node",
                                  "crypto-service-encryption-user", &e),
                &e);
    struct probe_result r = probe(c, PROBE_DENIED);
    assert_non_null(strstr(r.err.msg, "keys/unwrap/action"));
    reopen(c, ERR_KEY_DENIED);
    CHECK_RC_OK(vault_grant(c->f->vault, "main", "node", "crypto-service-encryption-user", &e), &e);
    reopen(c, ERR_NONE);
    assert_int_equal(vaultfix_call(c->f, "DELETE", "/keys/data" V, c->f->token_op, NULL, NULL),
                     200);
    (void)probe(c, PROBE_DENIED);
    assert_int_equal(vaultfix_call(c->f, "POST", "/deletedkeys/data/recover" V, c->f->token_op,
                                   NULL, NULL),
                     200);
    (void)probe(c, PROBE_OK);
}

static void a_newer_version_is_followed(void **state)
{
    struct cluster *c = *state;
    struct custody_status st;
    struct err e = { 0 };

    custody_status(c->custody, &st);
    char *old = mem_printf("/keys/data/%s" V, st.version);
    assert_int_equal(vaultfix_call(c->f, "POST", "/keys/data/create" V, c->f->token_op,
                                   "{\"kty\":\"RSA\",\"key_size\":3072}", NULL),
                     200);
    struct probe_result r = probe(c, PROBE_OK);
    assert_true(r.newer);
    assert_string_not_equal(r.newest, st.version);
    CHECK_RC_OK(custody_rewrap(c->custody, r.newest, &e), &e);
    custody_status(c->custody, &st);
    assert_string_equal(st.version, r.newest);
    patch(c, old, "{\"attributes\":{\"enabled\":false}}"); /* nothing needs the old one any more */
    (void)probe(c, PROBE_OK);
    reopen(c, ERR_NONE);
    mem_free(old);
}

static void a_vault_that_is_away_is_no_refusal(void **state)
{
    struct cluster *c = *state;

    vault_close(c->f->vault);
    c->f->vault = NULL;
    (void)probe(c, PROBE_UNREACHABLE);
    reopen(c, ERR_KEY_UNREACHABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_made_is_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(a_revoked_key_opens_nothing_until_it_is_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_newer_version_is_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_vault_that_is_away_is_no_refusal, setup, teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests_name("custody", tests, NULL, NULL);
}
