/* test_vaults.c - several vaults in one process: each with its own settings, which decide about deletion, place and tenant. */
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"
#define OTHER_TENANT "11111111-2222-3333-4444-555555555555"

static void put(struct vaultfix *f, const char *vault, const char *settings)
{
    struct err e = { 0 };

    CHECK_RC_OK(vault_put_vault(f->vault, vault, slice_str(settings), &e), &e);
    CHECK_RC_OK(vault_grant(f->vault, vault, "operator", "crypto-officer", &e), &e);
    CHECK_RC_OK(vault_ensure_key(f->vault, vault, "data", 2048, &e), &e);
}

static void each_has_its_own_settings(void **state)
{
    static const struct {
        const char *vault, *settings, *level;
        int days;
        int purged; /* the answer to a purge, 0: there is nothing left to purge */
    } cases[] = {
        { "strict", "{}", "Recoverable", 90, 403 },
        { "strict-7", "{\"properties\":{\"softDeleteRetentionInDays\":7}}", "CustomizedRecoverable",
          7, 403 },
        { "loose", "{\"properties\":{\"enablePurgeProtection\":false}}", "Recoverable+Purgeable",
          90, 204 },
        { "loose-30",
          "{\"properties\":{\"enablePurgeProtection\":false,\"softDeleteRetentionInDays\":30}}",
          "CustomizedRecoverable+Purgeable", 30, 204 },
        { "hard", "{\"properties\":{\"enablePurgeProtection\":false,\"enableSoftDelete\":false}}",
          "Purgeable", 0, 0 },
    };
    struct vaultfix *f = *state;
    json_t *j;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put(f, cases[i].vault, cases[i].settings);
        assert_int_equal(vaultfix_call_at(f, cases[i].vault, "GET", "/keys/data/" V, NULL, &j),
                         200);
        const json_t *a = kjson_obj(j, "attributes");
        int64_t days = -1, deleted = 0, purge = 0;
        assert_string_equal(kjson_str(a, "recoveryLevel"), cases[i].level);
        assert_true(kjson_i64(a, "recoverableDays", &days));
        assert_int_equal(days, cases[i].days);
        json_decref(j);
        assert_int_equal(vaultfix_call_at(f, cases[i].vault, "DELETE", "/keys/data" V, NULL, &j),
                         200);
        bool soft = kjson_i64(j, "deletedDate", &deleted) &&
                    kjson_i64(j, "scheduledPurgeDate", &purge) && kjson_str(j, "recoveryId");
        assert_int_equal(soft, cases[i].days > 0);
        assert_int_equal(purge - deleted, cases[i].days * 86400);
        json_decref(j);
        int want = cases[i].purged ? cases[i].purged : 404;
        assert_int_equal(vaultfix_call_at(f, cases[i].vault, "DELETE", "/deletedkeys/data" V, NULL,
                                          NULL),
                         want);
        /* a name that is free again can be used; one that is not, not */
        assert_int_equal(vaultfix_call_at(f, cases[i].vault, "POST", "/keys/data/create" V,
                                          "{\"kty\":\"RSA\"}", NULL),
                         want == 403 ? 409 : 200);
    }
    /* the first vault was not touched by any of it */
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, NULL), 200);
}

static void settings_are_kept(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };
    json_t *before, *after;
    struct buf text = BUF_INIT;

    put(f, "east",
        "{\"location\":\"eastus\",\"geography\":\"United States\",\"subscriptionId\":\"" OTHER_TENANT
        "\",\"properties\":{\"softDeleteRetentionInDays\":14,\"throttling\":{\"createPer10Seconds\":5}}}");
    CHECK_RC_OK(vault_describe(f->vault, &text, &e), &e);
    CHECK_RC_OK(kjson_load(buf_view(&text), KJSON_DEPTH_MAX, &before, &e), &e);
    vaultfix_down(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    buf_clear(&text);
    CHECK_RC_OK(vault_describe(f->vault, &text, &e), &e);
    CHECK_RC_OK(kjson_load(buf_view(&text), KJSON_DEPTH_MAX, &after, &e), &e);
    const json_t *was = kjson_obj(kjson_obj(kjson_obj(before, "vaults"), "east"), "settings"),
                 *is = kjson_obj(kjson_obj(kjson_obj(after, "vaults"), "east"), "settings");
    assert_true(json_equal(was, is));
    assert_string_equal(kjson_str(is, "location"), "eastus");
    assert_string_equal(kjson_str(is, "geography"), "United States");
    const json_t *limits = kjson_obj(kjson_obj(is, "properties"), "throttling");
    int64_t create = 0, other = 0;
    assert_true(kjson_i64(limits, "createPer10Seconds", &create) &&
                kjson_i64(limits, "otherPer10Seconds", &other));
    assert_int_equal(create, 5);
    assert_int_equal(other, 4000);
    json_decref(before);
    json_decref(after);
    buf_fini(&text);
}

static void what_cannot_be_is_refused_and_changes_nothing(void **state)
{
    static const struct {
        const char *settings, *says;
    } cases[] = {
        { "[]", NULL },
        { "{\"place\":\"x\"}", "\"place\"" },
        { "{\"location\":1}", "\"location\"" },
        { "{\"location\":\"\"}", "\"location\"" },
        { "{\"properties\":1}", "properties" },
        { "{\"properties\":{\"sku\":1}}", "\"sku\"" },
        { "{\"properties\":{\"tenantId\":\"me\"}}", "\"tenantId\"" },
        { "{\"properties\":{\"tenantId\":\"11111111-2222-3333-4444-55555555555g\"}}",
          "\"tenantId\"" },
        { "{\"properties\":{\"enableSoftDelete\":1}}", "\"enableSoftDelete\"" },
        { "{\"properties\":{\"softDeleteRetentionInDays\":6}}", "7 to 90" },
        { "{\"properties\":{\"softDeleteRetentionInDays\":91}}", "7 to 90" },
        { "{\"properties\":{\"softDeleteRetentionInDays\":\"7\"}}", "7 to 90" },
        { "{\"properties\":{\"throttling\":{\"createPer10Seconds\":-1}}}",
          "\"createPer10Seconds\"" },
        { "{\"properties\":{\"throttling\":{\"x\":1}}}", "\"x\"" },
        /* what was promised */
        { "{\"location\":\"elsewhere\"}", "location" },
        { "{\"geography\":\"elsewhere\"}", "geography" },
        { "{\"subscriptionId\":\"" OTHER_TENANT "\"}", "subscription" },
        { "{\"properties\":{\"enablePurgeProtection\":false}}", "purge protection" },
        { "{\"properties\":{\"enablePurgeProtection\":false,\"enableSoftDelete\":false}}",
          "soft delete" },
        { "{\"properties\":{\"enableSoftDelete\":false}}", "soft delete" },
        { "{\"properties\":{\"softDeleteRetentionInDays\":7}}", "days" },
    };
    struct vaultfix *f = *state;
    struct buf before = BUF_INIT, after = BUF_INIT;
    struct err e = { 0 };

    CHECK_RC_OK(vault_describe(f->vault, &before, &e), &e);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err why = { 0 };
        if (!vault_put_vault(f->vault, "main", slice_str(cases[i].settings), &why).failed)
            fail_msg("accepted: %s", cases[i].settings);
        if (cases[i].says && !strstr(why.msg, cases[i].says))
            fail_msg("%s: \"%s\"", cases[i].settings, why.msg);
    }
    struct err named = { 0 };
    assert_true(vault_put_vault(f->vault, "no_name", slice_str("{}"), &named).failed);
    assert_int_equal(named.code, ERR_BAD_VALUE);
    CHECK_RC_OK(vault_describe(f->vault, &after, &e), &e);
    assert_string_equal(buf_cstr(&before), buf_cstr(&after));
    buf_fini(&before);
    buf_fini(&after);
}

static void protection_can_be_turned_on_later(void **state)
{
    struct vaultfix *f = *state;

    put(f, "later", "{\"properties\":{\"enablePurgeProtection\":false}}");
    assert_int_equal(vaultfix_call_at(f, "later", "DELETE", "/keys/data" V, NULL, NULL), 200);
    struct err e = { 0 };
    CHECK_RC_OK(vault_put_vault(f->vault, "later",
                                slice_str("{\"properties\":{\"enablePurgeProtection\":true}}"), &e),
                &e);
    assert_int_equal(vaultfix_call_at(f, "later", "DELETE", "/deletedkeys/data" V, NULL, NULL),
                     403);
    assert_int_equal(vaultfix_call_at(f, "later", "POST", "/deletedkeys/data/recover" V, NULL,
                                      NULL),
                     200);
}

static void a_vault_takes_tokens_of_its_tenant_alone(void **state)
{
    struct vaultfix *f = *state;

    put(f, "foreign", "{\"properties\":{\"tenantId\":\"" OTHER_TENANT "\"}}");
    assert_int_equal(vaultfix_call_at(f, "foreign", "GET", "/keys/data/" V, NULL, NULL), 401);
    /* and says so before anything else about itself */
    assert_int_equal(vaultfix_call_at(f, "foreign", "GET", "/keys/data/", NULL, NULL), 401);
    assert_int_equal(vaultfix_call_at(f, "nowhere", "GET", "/keys/data/" V, NULL, NULL), 404);
}

/* Other vaults of the process know nothing of a role on one. */
static void a_role_is_for_one_vault(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };

    CHECK_RC_OK(vault_put_vault(f->vault, "closed", slice_str("{}"), &e), &e);
    CHECK_RC_OK(vault_ensure_key(f->vault, "closed", "data", 2048, &e), &e);
    assert_int_equal(vaultfix_call_at(f, "closed", "GET", "/keys/data/" V, NULL, NULL), 403);
    CHECK_RC_OK(vault_grant(f->vault, "closed", "operator", "reader", &e), &e);
    assert_int_equal(vaultfix_call_at(f, "closed", "GET", "/keys/data/" V, NULL, NULL), 200);
    assert_int_equal(vaultfix_call_at(f, "closed", "DELETE", "/keys/data" V, NULL, NULL), 403);
}

/* The text of format 1, as the first release wrote it. */
static void an_old_state_is_read(void **state)
{
    struct vaultfix *f = *state;
    struct vault_service *s = f->vault;
    struct buf text = BUF_INIT;
    struct err e = { 0 };
    json_t *all;

    /* what is on the disk, taken back to the old form */
    CHECK_RC_OK(vault__file_load(s, false, &text, &e), &e);
    CHECK_RC_OK(kjson_load(buf_view(&text), KJSON_DEPTH_MAX, &all, &e), &e);
    json_object_set_new(all, "format", json_integer(1));
    json_t *one = json_array_get(json_object_get(all, "vaults"), 0);
    json_object_del(one, "settings");
    json_object_set_new(one, "region", json_string("old-place"));
    json_t *version =
        json_array_get(json_object_get(json_array_get(json_object_get(one, "keys"), 0), "versions"),
                       0);
    assert_int_equal(json_object_del(version, "kty"), 0);  /* since format 4 */
    assert_int_equal(json_object_del(version, "told"), 0); /* since format 5 */
    json_object_set_new(all, "tenant", json_string(vault_tenant(s)));
    json_object_del(all, "tenants");
    size_t i;
    json_array_foreach(json_object_get(all, "identities"), i, one) json_object_del(one, "kind");
    buf_clear(&text);
    kjson_dump(all, &text);
    CHECK_RC_OK(vault__file_save(s, buf_view(&text), &e), &e);
    json_decref(all);
    vaultfix_down(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, &all), 200);
    assert_string_equal(kjson_str(kjson_obj(all, "attributes"), "recoveryLevel"), "Recoverable");
    json_decref(all);
    assert_string_equal(f->vault->vaults[0]->props->location, "old-place");
    assert_string_equal(f->vault->vaults[0]->props->tenant, vault_tenant(f->vault));
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_has_its_own_settings, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(settings_are_kept, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused_and_changes_nothing,
                                        vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(protection_can_be_turned_on_later, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(a_vault_takes_tokens_of_its_tenant_alone, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(a_role_is_for_one_vault, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(an_old_state_is_read, vaultfix_setup, vaultfix_teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
