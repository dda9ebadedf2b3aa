/* test_table.c - which provider a URL gets, and what a list of vaults does when some of them are out of reach or say no. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "kms/kms.h"
#include "unit.h"

/* ---- the table ---- */

#define AWS "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/k"
#define GOOGLE "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k"

#define CONFIG(url)                                                                                \
    ((struct kms_config){ .key_url = (url),                                                        \
                          .ca_file = "",                                                           \
                          .proxy = "",                                                             \
                          .audience = "",                                                          \
                          .key_context = "",                                                       \
                          .token_source = "imds",                                                  \
                          .token_endpoint = "",                                                    \
                          .token_secret_file = "",                                                 \
                          .client_id = "",                                                         \
                          .tenant_id = "" })

static enum err_code make(const struct kms_config *c)
{
    struct key_provider *p;
    struct err e = { 0 };
    rc_t rc = kms_provider_new(c, &p, &e);

    assert_true((p == NULL) == rc.failed);
    if (p)
        p->free(p);
    return e.code;
}

static void urls_pick_providers(void **state)
{
    static const struct {
        const char *url;
        enum err_code code;
    } cases[] = {
        { "https://v.vault.azure.net/keys/k", ERR_NONE },
        { "HTTPS://V.Vault.Azure.Net/keys/k", ERR_NONE },
        { "https://v.managedhsm.azure.net/keys/k", ERR_NONE },
        { "https://v.vault.usgovcloudapi.net/keys/k", ERR_NONE },
        { "https://v.managedhsm.usgovcloudapi.net/keys/k", ERR_NONE },
        { "https://v.vault.azure.cn/keys/k", ERR_NONE },
        { "https://v.managedhsm.azure.cn/keys/k", ERR_NONE },
        { "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/k", ERR_NONE },
        { "AWS-KMS://arn:aws:kms:eu-west-1:111122223333:key/k", ERR_NONE },
        { "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/mrk-1,aws-kms:///arn:aws:kms:eu-west-2:111122223333:key/mrk-1",
          ERR_NONE },
        { "aws-kms:///arn:aws:kms:eu-west-1:111122223333:alias/k", ERR_CONFIG },
        { "gcp-kms://projects/p/locations/global/keyRings/r/cryptoKeys/k", ERR_NONE },
        { "gcp-kms://projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
          ERR_CONFIG },
        { "https://v.vault.azure.net/keys/k,https://w.vault.azure.net/keys/k", ERR_NONE },
        { "https://v.vault.azure.net/keys/k , https://w.vault.azure.net/keys/k", ERR_NONE },
        /* none of Azure's own: the audience must be said */
        { "https://v.example/keys/k", ERR_CONFIG },
        { "https://vault.azure.net.example/keys/k", ERR_CONFIG },
        { "https://v.vault.azure.net/secrets/k", ERR_CONFIG },
        { "https://v.vault.azure.net/keys/k/0123456789abcdef0123456789abcdef", ERR_CONFIG },
        { "http://v.vault.azure.net/keys/k", ERR_CONFIG },
        { "pkcs11:token=t;object=k?module-path=/m.so", ERR_CONFIG },
        { "kmip://h/1", ERR_CONFIG }, /* with a token source of another's */
        { "", ERR_CONFIG },
        { ",", ERR_CONFIG },
        { "https://v.vault.azure.net/keys/k,", ERR_CONFIG },
        { "https://v.vault.azure.net/keys/k,    https://w.vault.azure.net/keys/k", ERR_NONE },
        { "    ", ERR_CONFIG },
        { "https://v.vault.azure.net/keys/k https://w.vault.azure.net/keys/k", ERR_CONFIG },
        { "https://v.vault.azure.net/keys/k,    ", ERR_CONFIG },
        { "https://a.vault.azure.net/keys/k,https://a.vault.azure.net/keys/k,https://a.vault.azure.net/keys/k,"
          "https://a.vault.azure.net/keys/k,https://a.vault.azure.net/keys/k",
          ERR_CONFIG },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kms_config c = CONFIG(cases[i].url);
        if (make(&c) != cases[i].code)
            fail_msg("\"%s\"", cases[i].url);
    }
}

/* Each part may have 255 characters, an identifier 511. */
static void urls_are_whole_or_refused(void **state)
{
    char part[256], url[800];
    (void)state;

    for (size_t len = 100; len <= 250; len += 150) {
        memset(part, 'a', len);
        part[len] = 0;
        assert_in_range(snprintf(url, sizeof(url), "vault://%s/%s/%s", part, part, part), 1, 799);
        struct kms_config c = CONFIG(url);
        c.token_source = "token-file";
        c.token_secret_file = "/f";
        assert_int_equal(make(&c), len == 100 ? ERR_NONE : ERR_CONFIG);
    }
}

static void credentials_are_complete_or_refused(void **state)
{
    static const struct {
        const char *source, *endpoint, *file, *client, *tenant;
        enum err_code code;
    } cases[] = {
        { "imds", "", "", "", "", ERR_NONE },
        { "arc", "", "", "", "", ERR_NONE },
        { "app-service", "http://127.0.0.1:1/t", "/f", "", "", ERR_NONE },
        { "app-service", "", "/f", "", "", ERR_CONFIG },
        { "app-service", "http://127.0.0.1:1/t", "", "", "", ERR_CONFIG },
        { "app-service", "http://elsewhere/t", "/f", "", "", ERR_CONFIG },
        { "app-service", "http://127.0.0.1:1@elsewhere/t", "/f", "", "", ERR_CONFIG },
        { "client-secret", "", "/f", "id", "tenant", ERR_NONE },
        { "client-secret", "", "/f", "id", "te/nant", ERR_CONFIG },
        { "client-secret", "", "/f", "id", "", ERR_CONFIG },
        { "client-secret", "", "/f", "", "tenant", ERR_CONFIG },
        { "client-secret", "", "", "id", "tenant", ERR_CONFIG },
        { "client-secret", "https://login.example/t", "/f", "id", "", ERR_NONE },
        { "client-certificate", "", "/f", "id", "tenant", ERR_NONE },
        { "workload", "", "/f", "id", "tenant", ERR_NONE },
        { "workload", "", "/f", "i\nd", "tenant", ERR_CONFIG },
        { "password", "", "/f", "id", "tenant", ERR_CONFIG },
    };
    static const struct {
        const char *source, *endpoint, *file, *client;
        enum err_code code;
    } vault_cases[] = {
        { "approle", "", "/f", "role", ERR_NONE },
        { "approle", "auth/other", "/f", "role", ERR_NONE },
        { "approle", "https://v/x", "/f", "role", ERR_CONFIG },
        { "approle", "auth/../sys", "/f", "role", ERR_CONFIG },
        { "approle", "", "/f", "", ERR_CONFIG },
        { "kubernetes", "", "", "role", ERR_CONFIG },
        { "token-file", "", "/f", "", ERR_NONE },
        { "token-file", "", "", "", ERR_CONFIG },
        { "imds", "", "/f", "", ERR_CONFIG },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(vault_cases); i++) {
        struct kms_config c = CONFIG("vault://v:8200/transit/k");
        c.token_source = vault_cases[i].source;
        c.token_endpoint = vault_cases[i].endpoint;
        c.token_secret_file = vault_cases[i].file;
        c.client_id = vault_cases[i].client;
        if (make(&c) != vault_cases[i].code)
            fail_msg("vault case %zu: %s", i, vault_cases[i].source);
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kms_config c = CONFIG("https://v.vault.azure.net/keys/k");
        c.token_source = cases[i].source;
        c.token_endpoint = cases[i].endpoint;
        c.token_secret_file = cases[i].file;
        c.client_id = cases[i].client;
        c.tenant_id = cases[i].tenant;
        if (make(&c) != cases[i].code)
            fail_msg("case %zu: %s", i, cases[i].source);
    }
}

/* Whatever the node proves itself with: without it nobody is asked, and that is no answer of the vault. */
static void a_credential_that_is_gone(void **state)
{
    static const struct {
        const char *url, *source, *file;
    } cases[] = {
        { "https://v.vault.azure.net/keys/k", "app-service", "/nowhere/f" },
        { "https://v.vault.azure.net/keys/k", "app-service", "/dev/null" },
        { "https://v.vault.azure.net/keys/k", "app-service", "/" },
        { "https://v.vault.azure.net/keys/k", "client-secret", "/nowhere/f" },
        { "https://v.vault.azure.net/keys/k", "client-certificate", "/nowhere/f" },
        { "https://v.vault.azure.net/keys/k", "client-certificate", "/etc/hostname" },
        { "https://v.vault.azure.net/keys/k", "workload", "/nowhere/f" },
        { "vault://v:8200/transit/k", "token-file", "/nowhere/f" },
        { AWS, "credentials-file", "/nowhere/f" },
        { AWS, "credentials-file", "/dev/null" },
        { AWS, "credentials-file", "/" },
        { GOOGLE, "service-account", "/nowhere/f" },
        { GOOGLE, "external-account", "/nowhere/f" },
        { GOOGLE, "external-account", "/dev/null" },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kms_config c = CONFIG(cases[i].url);
        struct key_provider *p;
        struct key_info info;
        struct err e = { 0 };

        c.token_source = cases[i].source;
        c.token_endpoint = strcmp(c.token_source, "app-service") == 0 ? "http://127.0.0.1:1/t" : "";
        c.token_secret_file = cases[i].file;
        c.client_id = "id";
        c.tenant_id = "tenant";
        CHECK_RC_OK(kms_provider_new(&c, &p, &e), &e);
        assert_true(p->get_key(p, NULL, clock_mono_us() + 1000000, &info, &e).failed);
        if (e.code != ERR_KEY_CREDENTIAL || !strstr(e.msg, cases[i].file))
            fail_msg("case %zu: code %d: %s", i, (int)e.code, e.msg);
        err_reset(&e);
        p->free(p);
    }
}

static void others_take_one_source(void **state)
{
    static const struct {
        const char *url, *source, *file;
        enum err_code code;
    } cases[] = {
        { "kmip://h/1", "cert", "/f", ERR_NONE },
        { "kmip://h/1?mode=cbc,kmip://g/2?mode=cbc", "cert", "/f", ERR_NONE },
        { "kmip://h/1", "cert", "", ERR_CONFIG },
        { "kmip://h/1", "imds", "/f", ERR_CONFIG },
        { "kmip://h/1?mode=ecb", "cert", "/f", ERR_CONFIG },
        { "kmip://h/1,vault://v/transit/k", "cert", "/f", ERR_CONFIG },
        { "pkcs11:token=t;object=k?module-path=/m.so", "pin-file", "/f", ERR_NONE },
        { "PKCS11:token=t;object=k?module-path=/m.so", "pin-file", "/f", ERR_NONE },
        { "pkcs11:token=t;object=k?module-path=/m.so", "pin-file", "", ERR_CONFIG },
        { "pkcs11:token=t;object=k", "pin-file", "/f", ERR_CONFIG },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kms_config c = CONFIG(cases[i].url);
        c.token_source = cases[i].source;
        c.token_secret_file = cases[i].file;
        if (make(&c) != cases[i].code)
            fail_msg("case %zu: %s", i, cases[i].url);
    }
}

static void modules_are_for_helpers(void **state)
{
    struct kms_config c = CONFIG("pkcs11:token=t;object=k?module-path=/lib/libc.so.6");
    struct key_provider *p;
    struct key_info info;
    struct err e = { 0 };
    (void)state;

    assert_true(kms_needs_process(c.key_url));
    assert_true(kms_needs_process("kmip://h/1, PKCS11:token=t"));
    assert_false(kms_needs_process("https://v.vault.azure.net/keys/pkcs11:"));
    c.token_source = "pin-file";
    c.token_secret_file = "/f";
    CHECK_RC_OK(kms_provider_new(&c, &p, &e), &e);
    CHECK_RC_FAILS(p->get_key(p, NULL, clock_mono_us() + 1000000, &info, &e), &e, ERR_INTERNAL);
    p->free(p);
}

static void credentials_of_clouds_are_complete_or_refused(void **state)
{
    static const struct {
        const char *url, *source, *endpoint, *file, *client, *context;
        enum err_code code;
    } cases[] = {
        { AWS, "imds", "", "", "", "", ERR_NONE },
        { AWS, "imds", "", "", "role", "orders", ERR_NONE },
        { AWS, "imds", "", "", "a/b", "", ERR_CONFIG },
        { AWS, "imds", "http://elsewhere", "", "", "", ERR_CONFIG },
        { AWS, "imds", "", "", "", "a\"b", ERR_CONFIG },
        { AWS, "container", "http://169.254.170.2/v2/x", "", "", "", ERR_NONE },
        { AWS, "container", "http://169.254.170.23/v1/credentials", "/f", "", "", ERR_NONE },
        { AWS, "container", "https://agent.example/c", "/f", "", "", ERR_NONE },
        { AWS, "container", "http://169.254.170.24/v1", "/f", "", "", ERR_CONFIG },
        { AWS, "container", "", "/f", "", "", ERR_CONFIG },
        { AWS, "web-identity", "", "/f", "arn:aws:iam::1:role/r", "", ERR_NONE },
        { AWS, "web-identity", "", "/f", "r", "", ERR_CONFIG },
        { AWS, "web-identity", "", "", "arn:aws:iam::1:role/r", "", ERR_CONFIG },
        { AWS, "credentials-file", "", "/f", "", "", ERR_NONE },
        { AWS, "credentials-file", "", "", "", "", ERR_CONFIG },
        { AWS, "client-secret", "", "/f", "id", "", ERR_CONFIG },
        { GOOGLE, "imds", "", "", "", "", ERR_NONE },
        { GOOGLE, "imds", "", "", "node@p.iam.gserviceaccount.com", "orders", ERR_NONE },
        { GOOGLE, "imds", "", "", "a/b", "", ERR_CONFIG },
        { GOOGLE, "imds", "http://elsewhere", "", "", "", ERR_CONFIG },
        { GOOGLE, "imds", "", "", "", "a\\b", ERR_CONFIG },
        { GOOGLE, "service-account", "", "/f", "", "", ERR_NONE },
        { GOOGLE, "service-account", "", "", "", "", ERR_CONFIG },
        { GOOGLE, "service-account", "https://elsewhere/token", "/f", "", "", ERR_CONFIG },
        { GOOGLE, "external-account", "", "/f", "", "", ERR_NONE },
        { GOOGLE, "external-account", "", "", "", "", ERR_CONFIG },
        { GOOGLE, "client-secret", "", "/f", "id", "", ERR_CONFIG },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kms_config c = CONFIG(cases[i].url);
        c.token_source = cases[i].source;
        c.token_endpoint = cases[i].endpoint;
        c.token_secret_file = cases[i].file;
        c.client_id = cases[i].client;
        c.key_context = cases[i].context;
        if (make(&c) != cases[i].code)
            fail_msg("case %zu: %s %s", i, cases[i].url, cases[i].source);
    }
}

/* ---- lists ---- */

struct fake {
    struct key_provider table;
    enum err_code fails; /* ERR_NONE: knows `version` alone */
    const char *version;
    uint8_t byte; /* what it unwraps to */
    int calls, wraps;
    uint64_t last_share_us;
};

static struct fake *fake_of(struct key_provider *p)
{
    return CONTAINER_OF(p, struct fake, table);
}

static RC fake_answer(struct fake *f, const char *version, uint64_t deadline_us, struct err *e)
{
    uint64_t now = clock_mono_us();

    f->calls++;
    f->last_share_us = deadline_us > now ? deadline_us - now : 0;
    if (f->fails)
        FAIL(e, f->fails, "as the test says");
    if (version && strcmp(version, f->version) != 0)
        FAIL(e, ERR_KEY_NOT_FOUND, "no such version");
    return RC_OK;
}

static RC fake_get(struct key_provider *p, const char *version, uint64_t deadline_us,
                   struct key_info *out, struct err *e)
{
    TRY(fake_answer(fake_of(p), version, deadline_us, e));
    *out = (struct key_info){ .enabled = true };
    snprintf(out->version, sizeof out->version, "%s", fake_of(p)->version);
    return RC_OK;
}

static RC fake_wrap(struct key_provider *p, const char *version, const struct secret *plain,
                    uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    (void)plain;
    (void)out;
    fake_of(p)->wraps++;
    return fake_answer(fake_of(p), version, deadline_us, e);
}

static RC fake_unwrap(struct key_provider *p, const struct wrapped_key *w, bool fresh,
                      uint64_t deadline_us, struct secret **out, struct err *e)
{
    (void)fresh;
    TRY(fake_answer(fake_of(p), w->version, deadline_us, e));
    return secret_from(&fake_of(p)->byte, 1, out, e);
}

static void fake_free(struct key_provider *p)
{
    (void)p;
}

#define FAKE(f, v, b)                                                                              \
    { .table = { .name = "fake",                                                                   \
                 .get_key = fake_get,                                                              \
                 .wrap = fake_wrap,                                                                \
                 .unwrap = fake_unwrap,                                                            \
                 .free = fake_free },                                                              \
      .fails = (f),                                                                                \
      .version = (v),                                                                              \
      .byte = (b) }

/* What three vaults together answer to an unwrap with version "v1": 0 for an error, whose code goes to *code. */
static uint8_t unwrap_of(struct fake f[3], enum err_code *code)
{
    struct key_provider *p[] = { &f[0].table, &f[1].table, &f[2].table }, *list;
    struct wrapped_key w = { .version = "v1", .alg = "x", .len = 1 };
    struct secret *s;
    struct err e = { 0 };

    CHECK_RC_OK(kms_list_new(p, 3, &list, &e), &e);
    rc_t rc = list->unwrap(list, &w, false, clock_mono_us() + 3000000, &s, &e);
    uint8_t byte = rc.failed ? 0 : secret_view(s)[0];
    assert_true((s == NULL) == rc.failed);
    secret_free(s);
    list->free(list);
    *code = e.code;
    return byte;
}

static void the_next_vault_is_asked_on_outage_alone(void **state)
{
    static const struct {
        enum err_code a, b, c;
        uint8_t byte;
        enum err_code code;
        int calls[3];
    } cases[] = {
        { ERR_NONE, ERR_NONE, ERR_NONE, 1, ERR_NONE, { 1, 0, 0 } },
        { ERR_KEY_UNREACHABLE, ERR_NONE, ERR_NONE, 2, ERR_NONE, { 1, 1, 0 } },
        { ERR_KEY_UNREACHABLE, ERR_KEY_UNREACHABLE, ERR_NONE, 3, ERR_NONE, { 1, 1, 1 } },
        { ERR_KEY_UNREACHABLE,
          ERR_KEY_UNREACHABLE,
          ERR_KEY_UNREACHABLE,
          0,
          ERR_KEY_UNREACHABLE,
          { 1, 1, 1 } },
        { ERR_KEY_DENIED, ERR_NONE, ERR_NONE, 0, ERR_KEY_DENIED, { 1, 0, 0 } },
        { ERR_KEY_NOT_FOUND, ERR_NONE, ERR_NONE, 0, ERR_KEY_NOT_FOUND, { 1, 0, 0 } },
        { ERR_KEY_THROTTLED, ERR_NONE, ERR_NONE, 0, ERR_KEY_THROTTLED, { 1, 0, 0 } },
        { ERR_KEY_BAD_ANSWER, ERR_NONE, ERR_NONE, 0, ERR_KEY_BAD_ANSWER, { 1, 0, 0 } },
        { ERR_KEY_UNREACHABLE, ERR_KEY_DENIED, ERR_NONE, 0, ERR_KEY_DENIED, { 1, 1, 0 } },
        { ERR_KEY_UNREACHABLE, ERR_KEY_BAD_ANSWER, ERR_NONE, 0, ERR_KEY_BAD_ANSWER, { 1, 1, 0 } },
        /* a vault that does not have the key is no witness */
        { ERR_KEY_UNREACHABLE, ERR_KEY_NOT_FOUND, ERR_NONE, 3, ERR_NONE, { 1, 2, 1 } },
        { ERR_KEY_UNREACHABLE,
          ERR_KEY_NOT_FOUND,
          ERR_KEY_NOT_FOUND,
          0,
          ERR_KEY_UNREACHABLE,
          { 1, 2, 2 } },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fake f[3] = { FAKE(cases[i].a, "v1", 1), FAKE(cases[i].b, "v1", 2),
                             FAKE(cases[i].c, "v1", 3) };
        enum err_code code;
        uint8_t byte = unwrap_of(f, &code);
        if (byte != cases[i].byte || code != cases[i].code)
            fail_msg("case %zu: %u, code %d", i, byte, (int)code);
        for (int k = 0; k < 3; k++)
            assert_int_equal(f[k].calls, cases[i].calls[k]);
    }
}

static void each_vault_gets_its_share_of_the_time(void **state)
{
    struct fake f[3] = { FAKE(ERR_KEY_UNREACHABLE, "v1", 1), FAKE(ERR_KEY_UNREACHABLE, "v1", 2),
                         FAKE(ERR_NONE, "v1", 3) };
    enum err_code code;
    (void)state;

    assert_int_equal(unwrap_of(f, &code), 3);
    assert_in_range(f[0].last_share_us, 500000, 1000000);
    assert_in_range(f[1].last_share_us, 500000, 1500000);
    assert_in_range(f[2].last_share_us, 1500000, 3000000);
}

static void an_imported_key_has_versions_of_its_own(void **state)
{
    struct fake f[2] = { FAKE(ERR_NONE, "v1", 1), FAKE(ERR_NONE, "x9", 2) };
    struct key_provider *p[] = { &f[0].table, &f[1].table }, *list;
    struct wrapped_key w = { .version = "v1", .alg = "x", .len = 1 };
    struct secret *s;
    struct key_info info;
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(kms_list_new(p, 2, &list, &e), &e);
    f[0].fails = ERR_KEY_UNREACHABLE;
    CHECK_RC_OK(list->unwrap(list, &w, true, clock_mono_us() + 1000000, &s, &e), &e);
    assert_int_equal(secret_view(s)[0], 2);
    secret_free(s);
    CHECK_RC_OK(list->get_key(list, "v1", clock_mono_us() + 1000000, &info, &e), &e);
    assert_string_equal(info.version, "v1"); /* nothing to follow */
    /* nothing new is made of the second vault's versions */
    CHECK_RC_FAILS(list->get_key(list, NULL, clock_mono_us() + 1000000, &info, &e), &e,
                   ERR_KEY_UNREACHABLE);
    CHECK_RC_FAILS(list->wrap(list, NULL, NULL, clock_mono_us() + 1000000, &w, &e), &e,
                   ERR_KEY_UNREACHABLE);
    assert_int_equal(f[1].wraps, 0);
    list->free(list);
    f[1].table.name = "other";
    CHECK_RC_FAILS(kms_list_new(p, 2, &list, &e), &e, ERR_CONFIG);
    assert_null(list);
}

static RC fake_set_enabled(struct key_provider *p, const char *version, bool enabled,
                           uint64_t deadline_us, struct err *e)
{
    assert_false(enabled);
    return fake_answer(fake_of(p), version, deadline_us, e);
}

static void every_vault_is_told_to_disable(void **state)
{
    struct fake f[3] = { FAKE(ERR_KEY_DENIED, "v1", 1), FAKE(ERR_KEY_UNREACHABLE, "v1", 2),
                         FAKE(ERR_NONE, "v1", 3) };
    struct key_provider *p[] = { &f[0].table, &f[1].table, &f[2].table }, *list;
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(kms_list_new(p, 3, &list, &e), &e);
    assert_null(list->set_enabled); /* whose vaults have nothing like it */
    list->free(list);
    for (size_t i = 0; i < ARRAY_LEN(f); i++)
        f[i].table.set_enabled = fake_set_enabled;
    CHECK_RC_OK(kms_list_new(p, 3, &list, &e), &e);
    assert_true(list->set_enabled(list, "v1", false, clock_mono_us() + 3000000, &e).failed);
    assert_int_equal(e.code, ERR_KEY_DENIED);
    assert_non_null(strstr(e.msg, "vault 1 of 3"));
    for (size_t i = 0; i < ARRAY_LEN(f); i++)
        assert_int_equal(f[i].calls, 1);
    f[0].fails = f[1].fails = ERR_NONE;
    err_reset(&e);
    CHECK_RC_OK(list->set_enabled(list, "v1", false, clock_mono_us() + 3000000, &e), &e);
    list->free(list);
}

static void who_gives_back_says_how(void **state)
{
    static const struct {
        const char *url;
        bool gives_back;
        const char *note, *by_hand;
    } cases[] = {
        { "https://v.vault.azure.net/keys/k", true, "",
          "az keyvault key set-attributes --enabled true --id https://v.vault.azure.net/keys/k/7" },
        { "https://v.vault.azure.net/keys/k , https://w.vault.azure.net/keys/k", true, "",
          "az keyvault key set-attributes --enabled true --id https://v.vault.azure.net/keys/k/7" },
        { AWS, true, "whole key",
          "aws kms enable-key --region eu-west-1 --key-id arn:aws:kms:eu-west-1:111122223333:key/k" },
        { GOOGLE, true, "",
          "gcloud kms keys versions enable projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/7" },
        { "vault://v/transit/k", false, "min_decryption_version", "" },
        { "kmip://h/1", false, "revokes or destroys", "" },
        { "pkcs11:token=t;object=k?module-path=/m.so", false, "no switch", "" },
        { "gopher://x", false, "", "" },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kms_disabling d = kms_disabling(cases[i].url);
        AUTO(buf_fini) struct buf command = BUF_INIT;
        kms_enable_by_hand(cases[i].url, "7", &command);
        assert_int_equal(d.gives_back, cases[i].gives_back);
        assert_non_null(strstr(d.note, cases[i].note));
        assert_string_equal(buf_cstr(&command), cases[i].by_hand);
        assert_true(d.gives_back || *cases[i].by_hand == 0);
    }
}

/* Every provider either has the verb, or a sentence that says what the owner does instead. */
static void every_provider_disables_or_says_why_not(void **state)
{
    static const struct {
        const char *url, *source;
        bool has;
    } cases[] = {
        { "https://v.vault.azure.net/keys/k", "imds", true },
        { AWS, "imds", true },
        { GOOGLE, "imds", true },
        { "vault://v/transit/k", "token-file", true },
        { "kmip://h/1", "cert", false },
        { "pkcs11:token=t;object=k?module-path=/m.so", "pin-file", false },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kms_config c = CONFIG(cases[i].url);
        struct key_provider *p;
        struct err e = { 0 };

        c.token_source = cases[i].source;
        c.token_secret_file = strcmp(c.token_source, "imds") == 0 ? "" : "/f";
        CHECK_RC_OK(kms_provider_new(&c, &p, &e), &e);
        assert_int_equal(p->set_enabled != NULL, cases[i].has);
        assert_true(cases[i].has || *kms_disabling(cases[i].url).note);
        if (p->set_enabled)
            CHECK_RC_FAILS(p->set_enabled(p, "no version/", true, clock_mono_us() + 1000000, &e),
                           &e, ERR_BAD_VALUE);
        p->free(p);
    }
}

int main(void)
{
    struct err e = { 0 };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_pick_providers),
        cmocka_unit_test(urls_are_whole_or_refused),
        cmocka_unit_test(credentials_are_complete_or_refused),
        cmocka_unit_test(a_credential_that_is_gone),
        cmocka_unit_test(others_take_one_source),
        cmocka_unit_test(modules_are_for_helpers),
        cmocka_unit_test(credentials_of_clouds_are_complete_or_refused),
        cmocka_unit_test(the_next_vault_is_asked_on_outage_alone),
        cmocka_unit_test(each_vault_gets_its_share_of_the_time),
        cmocka_unit_test(an_imported_key_has_versions_of_its_own),
        cmocka_unit_test(every_vault_is_told_to_disable),
        cmocka_unit_test(who_gives_back_says_how),
        cmocka_unit_test(every_provider_disables_or_says_why_not),
    };

    if (secret_arena_init(1 << 20, &e).failed || crypto_init(&e).failed ||
        kms_init(true, &e).failed) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
