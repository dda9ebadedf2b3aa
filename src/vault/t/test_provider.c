/* test_provider.c - the Key Vault provider (module kms) against the embedded vault: every cause of loss and its class. */
#include "vault/vault_admin.h"
#include "vaultfix.h"

#define SOON (clock_mono_us() + 5000000)

static uint64_t live_before; /* what the crypto module keeps for itself once it has been used */

static struct key_provider *provider(struct vaultfix *f, const char *key, const char *secret_file)
{
    return vaultfix_provider(f, key, secret_file);
}

static void patch(struct vaultfix *f, const char *body)
{
    assert_int_equal(vaultfix_call(f, "PATCH", "/keys/data/?api-version=7.4", f->token_op, body,
                                   NULL),
                     200);
}

static void expect(struct key_provider *p, const struct wrapped_key *w, enum err_code want,
                   const char *text)
{
    struct secret *s;
    struct err e = { 0 };

    rc_t rc = p->unwrap(p, w, true, SOON, &s, &e);
    if (rc.failed != (want != ERR_NONE) || e.code != want || (text && !strstr(e.msg, text)))
        fail_msg("code %d instead of %d: %s", (int)e.code, (int)want, e.msg);
    assert_true((s == NULL) == rc.failed);
    secret_free(s);
}

static void wraps_and_unwraps(void **state)
{
    struct vaultfix *f = *state;
    struct key_provider *p = provider(f, "data", f->node_secret);
    struct err e = { 0 };
    struct secret *plain, *back;
    struct wrapped_key w;
    struct key_info first, second;

    CHECK_RC_OK(secret_random(32, &plain, &e), &e);
    CHECK_RC_OK(p->get_key(p, NULL, SOON, &first, &e), &e);
    assert_string_equal(first.kty, "RSA");
    assert_int_equal(first.bits, 2048);
    assert_true(first.enabled && first.can_wrap && first.can_unwrap);
    assert_int_equal(first.grace_ms, -1);
    assert_true(first.server_date_s > 1700000000);
    assert_string_equal(first.recovery_level, "Recoverable");
    CHECK_RC_OK(p->wrap(p, NULL, plain, SOON, &w, &e), &e);
    assert_string_equal(w.version, first.version);
    assert_int_equal(w.len, 256);
    CHECK_RC_OK(p->unwrap(p, &w, false, SOON, &back, &e), &e);
    assert_true(secret_equal(plain, back));
    secret_free(back);

    /* a newer version: wraps go to it, the old one still opens what it closed */
    assert_int_equal(
        vaultfix_call(
            f, "POST", "/keys/data/create?api-version=7.4", f->token_op,
            "{\"kty\":\"RSA\",\"key_size\":3072,\"tags\":{\"coffer-grace-period\":\"10min\"}}",
            NULL),
        200);
    CHECK_RC_OK(p->get_key(p, NULL, SOON, &second, &e), &e);
    assert_string_not_equal(second.version, first.version);
    assert_memory_not_equal(second.public_sha256, first.public_sha256, 32);
    assert_int_equal(second.grace_ms, 600000);
    CHECK_RC_OK(p->unwrap(p, &w, false, SOON, &back, &e), &e);
    assert_true(secret_equal(plain, back));
    secret_free(back);
    CHECK_RC_OK(p->wrap(p, NULL, plain, SOON, &w, &e), &e);
    assert_string_equal(w.version, second.version);
    assert_int_equal(w.len, 384);
    CHECK_RC_OK(p->wrap(p, first.version, plain, SOON, &w, &e), &e);
    assert_string_equal(w.version, first.version);
    secret_free(plain);
    p->free(p);
}

static void every_cause_has_its_class(void **state)
{
    struct vaultfix *f = *state;
    struct key_provider *p = provider(f, "data", f->node_secret);
    struct err e = { 0 };
    struct secret *plain;
    struct wrapped_key w, bad;
    struct key_info info;

    CHECK_RC_OK(secret_random(32, &plain, &e), &e);
    CHECK_RC_OK(p->wrap(p, NULL, plain, SOON, &w, &e), &e);
    expect(p, &w, ERR_NONE, NULL);

    patch(f, "{\"attributes\":{\"enabled\":false}}");
    expect(p, &w, ERR_KEY_DENIED, "KeyDisabled");
    CHECK_RC_FAILS(p->get_key(p, NULL, SOON, &info, &e), &e, ERR_KEY_DENIED);
    patch(f, "{\"attributes\":{\"enabled\":true}}");
    expect(p, &w, ERR_NONE, NULL);

    patch(f, "{\"attributes\":{\"exp\":1600000000}}"); /* expired: opens still, closes no more */
    expect(p, &w, ERR_NONE, NULL);
    CHECK_RC_OK(p->get_key(p, NULL, SOON, &info, &e), &e);
    assert_int_equal(info.expires_s, 1600000000);
    CHECK_RC_FAILS(p->wrap(p, NULL, plain, SOON, &bad, &e), &e, ERR_KEY_DENIED);
    assert_int_equal(bad.len, 0);
    patch(f, "{\"attributes\":{\"exp\":null}}");

    patch(f, "{\"key_ops\":[\"wrapKey\"]}");
    expect(p, &w, ERR_KEY_DENIED, "KeyOperationForbidden");
    patch(f, "{\"key_ops\":[\"wrapKey\",\"unwrapKey\"]}");

    CHECK_RC_OK(vault_role_remove(f->vault, "main", NULL, "node", "crypto-service-encryption-user",
                                  &e),
                &e);
    expect(p, &w, ERR_KEY_DENIED, "Microsoft.KeyVault/vaults/keys/unwrap/action");
    CHECK_RC_OK(vault_grant(f->vault, "main", "node", "crypto-service-encryption-user", &e), &e);
    expect(p, &w, ERR_NONE, NULL);

    assert_int_equal(vaultfix_call(f, "DELETE", "/keys/data?api-version=7.4", f->token_op, NULL,
                                   NULL),
                     200);
    expect(p, &w, ERR_KEY_NOT_FOUND, NULL);
    assert_int_equal(vaultfix_call(f, "POST", "/deletedkeys/data/recover?api-version=7.4",
                                   f->token_op, NULL, NULL),
                     200);
    expect(p, &w, ERR_NONE, NULL);

    bad = w;
    memset(bad.version, 'a', 32);
    expect(p, &bad, ERR_KEY_NOT_FOUND, NULL);
    bad = w;
    bad.bytes[9] ^= 1;
    expect(p, &bad, ERR_KEY_BAD_ANSWER, NULL); /* 400: never a reason to revoke */
    bad = w;
    (void)snprintf(bad.version, sizeof bad.version, "../../other/x");
    expect(p, &bad, ERR_BAD_VALUE, NULL);

    struct key_provider *gone = provider(f, "no-such-key", f->node_secret);
    CHECK_RC_FAILS(gone->get_key(gone, NULL, SOON, &info, &e), &e, ERR_KEY_NOT_FOUND);
    gone->free(gone);

    /* the identity is deleted: its token stops working, the endpoint says so, and a namesake is somebody else */
    CHECK_RC_OK(vault_principal_delete(f->vault, NULL, "node", &e), &e);
    expect(p, &w, ERR_KEY_DENIED, NULL);
    struct key_provider *fresh = provider(f, "data", f->node_secret);
    expect(fresh, &w, ERR_KEY_DENIED, "token endpoint");
    struct buf secret = BUF_INIT;
    CHECK_RC_OK(vault_ensure_identity(f->vault, "node", false, &secret, &e), &e);
    CHECK_RC_OK(file_write_atomic(f->node_secret, 0600, buf_view(&secret), &e), &e);
    expect(fresh, &w, ERR_KEY_DENIED, "ForbiddenByRbac");
    CHECK_RC_OK(vault_grant(f->vault, "main", "node", "crypto-service-encryption-user", &e), &e);
    expect(fresh, &w, ERR_NONE, NULL);
    buf_wipe(&secret);
    fresh->free(fresh);

    vault_close(f->vault);
    f->vault = NULL;
    expect(p, &w, ERR_KEY_UNREACHABLE, "TCP");
    secret_free(plain);
    p->free(p);
}

static void tls_is_checked(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };
    struct key_info info;
    struct vaultfix other = *f;
    struct buf empty_ca = BUF_INIT;

    other.ca_file = mem_printf("%s/other.pem", f->dir); /* another installation's authority */
    struct vaultfix *second = vaultfix_start();
    CHECK_RC_OK(file_write_atomic(other.ca_file, 0644, vault_ca_pem(second->vault), &e), &e);
    vaultfix_stop(second);
    struct key_provider *p = provider(&other, "data", f->node_secret);
    CHECK_RC_FAILS(p->get_key(p, NULL, SOON, &info, &e), &e, ERR_KEY_UNREACHABLE);
    p->free(p);
    mem_free(other.ca_file);

    other = *f;
    /* a name that is not in the certificate */
    other.url = mem_printf("https://elsewhere.localhost:%u", vault_port(f->vault));
    p = provider(&other, "data", f->node_secret);
    rc_t rc = p->get_key(p, NULL, SOON, &info, &e);
    assert_true(rc.failed);
    assert_int_equal(e.code, ERR_KEY_UNREACHABLE);
    assert_non_null(strstr(e.msg, "TLS"));
    p->free(p);
    mem_free(other.url);
    buf_fini(&empty_ca);
}

static void settings_are_checked(void **state)
{
    struct vaultfix *f = *state;
    struct key_provider *p;
    static const struct {
        const char *url, *endpoint, *audience;
    } cases[] = {
        { "http://main.vault.localhost/keys/data", "http://127.0.0.1/t", "https://v" },
        { "https://main.vault.localhost/keys/data/52bb86c146ab92a1852825e933642032",
          "http://127.0.0.1/t", "https://v" },
        { "https://main.vault.localhost/secrets/data", "http://127.0.0.1/t", "https://v" },
        { "https://main.vault.localhost/keys/da_ta", "http://127.0.0.1/t", "https://v" },
        { "https://u@main.vault.localhost/keys/data", "http://127.0.0.1/t", "https://v" },
        { "https://main.vault.localhost/keys/data?x", "http://127.0.0.1/t", "https://v" },
        { "https://main.vault.localhost/keys/data", "http://192.0.2.1/t", "https://v" },
        { "https://main.vault.localhost/keys/data", "http://127.0.0.1:80@192.0.2.1/t",
          "https://v" },
        { "https://main.vault.localhost/keys/data", "http://127.0.0.1.example/t", "https://v" },
        { "https://main.vault.localhost/keys/data", "http://127.0.0.1/t", "" },
        { "https://main.vault.localhost/keys/data", "http://127.0.0.1/t", "https://v\r\nx: y" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = { 0 };
        struct kms_azure_config c = {
            .key_url = cases[i].url,
            .ca_file = f->ca_file,
            .audience = cases[i].audience,
            .token_source = KMS_TOKEN_IMDS,
            .token_endpoint = cases[i].endpoint,
            .client_id = "",
        };
        if (!kms_azure_new(&c, &p, &e).failed)
            fail_msg("case %zu was taken", i);
        assert_int_equal(e.code, ERR_CONFIG);
        assert_null(p);
    }
}

static int teardown(void **state)
{
    vaultfix_stop(*state);
    assert_int_equal(secret_live_count(), live_before); /* nothing leaks, whatever failed */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wraps_and_unwraps, vaultfix_setup, teardown),
        cmocka_unit_test_setup_teardown(every_cause_has_its_class, vaultfix_setup, teardown),
        cmocka_unit_test_setup_teardown(tls_is_checked, vaultfix_setup, teardown),
        cmocka_unit_test_setup_teardown(settings_are_checked, vaultfix_setup, teardown),
    };

    vaultfix_init_process();
    vaultfix_stop(vaultfix_start());
    live_before = secret_live_count();
    return cmocka_run_group_tests_name("provider", tests, NULL, NULL);
}
