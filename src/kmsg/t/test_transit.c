/* test_transit.c - the dialect of Vault's transit engine: URLs, requests byte by byte, answers that are taken and that are refused. */
#include <string.h>

#include "base/mem.h"
#include "kmsg/kmsg_transit.h"
#include "unit.h"

static void urls_name_a_key(void **state)
{
    static const struct {
        const char *url, *host, *mount, *key, *ns; /* host NULL: refused */
    } cases[] = {
        { "vault://v.example:8200/transit/db", "v.example:8200", "transit", "db", "" },
        { "VAULT://V.example/kms/eu/db-1_x.y", "v.example", "kms/eu", "db-1_x.y", "" },
        { "vault://[::1]:8200/transit/db?namespace=a/b", "[::1]:8200", "transit", "db", "a/b" },
        { "vault://v/transit/", NULL, NULL, NULL, NULL },
        { "vault://v/db", NULL, NULL, NULL, NULL },
        { "vault:///transit/db", NULL, NULL, NULL, NULL },
        { "vault://v//db", NULL, NULL, NULL, NULL },
        { "vault://v/a/../db", NULL, NULL, NULL, NULL },
        { "vault://user@v/transit/db", NULL, NULL, NULL, NULL },
        { "vault://v/transit/d%62", NULL, NULL, NULL, NULL },
        { "vault://v/transit/db?x=1", NULL, NULL, NULL, NULL },
        { "vault://v/transit/db?namespace=", NULL, NULL, NULL, NULL },
        { "https://v/transit/db", NULL, NULL, NULL, NULL },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_transit_target t;
        struct err e = { 0 };
        rc_t rc = kmsg_transit_target(cases[i].url, &t, &e);
        if (rc.failed != (cases[i].host == NULL))
            fail_msg("\"%s\"", cases[i].url);
        assert_string_equal(t.host, cases[i].host ? cases[i].host : "");
        assert_string_equal(t.mount, cases[i].host ? cases[i].mount : "");
        assert_string_equal(t.key, cases[i].host ? cases[i].key : "");
        assert_string_equal(t.ns, cases[i].host ? cases[i].ns : "");
    }
}

static void requests_are_exact(void **state)
{
    struct kmsg_transit_target t;
    struct buf b = BUF_INIT;
    struct slice none = { 0 };
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(kmsg_transit_target("vault://v:8200/kms/eu/db", &t, &e), &e);
    kmsg_transit_url(&t, "decrypt", &b);
    assert_string_equal(buf_cstr(&b), "https://v:8200/v1/kms/eu/decrypt/db");
    buf_clear(&b);
    kmsg_transit_login_url(&t, "auth/approle", &b);
    assert_string_equal(buf_cstr(&b), "https://v:8200/v1/auth/approle/login");
    buf_clear(&b);
    kmsg_transit_encrypt_body(SLICE("\xff\xfe\xfd", 3), "7", &b);
    assert_string_equal(buf_cstr(&b), "{\"plaintext\":\"//79\",\"key_version\":7}");
    buf_clear(&b);
    kmsg_transit_config_body(8, &b);
    assert_string_equal(buf_cstr(&b), "{\"min_decryption_version\":8}");
    buf_clear(&b);
    kmsg_transit_decrypt_body(slice_str("vault:v1:AAAA"), &b);
    assert_string_equal(buf_cstr(&b), "{\"ciphertext\":\"vault:v1:AAAA\"}");
    buf_clear(&b);
    CHECK_RC_OK(kmsg_transit_login_body("role_id", "r", "secret_id", slice_str("s"), &b, &e), &e);
    assert_string_equal(buf_cstr(&b), "{\"role_id\":\"r\",\"secret_id\":\"s\"}");
    buf_clear(&b);
    CHECK_RC_OK(kmsg_transit_login_body("name", "r", NULL, none, &b, &e), &e);
    assert_string_equal(buf_cstr(&b), "{\"name\":\"r\"}");
    buf_clear(&b);
    CHECK_RC_FAILS(kmsg_transit_login_body("a", "r\"", NULL, none, &b, &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(kmsg_transit_login_body("a", "r", "b", slice_str("x\\"), &b, &e), &e,
                   ERR_CONFIG);
    CHECK_RC_FAILS(kmsg_transit_login_body("a", "r", "b", none, &b, &e), &e, ERR_CONFIG);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static struct kmsg_reply reply(int status, const char *body)
{
    return (
        struct kmsg_reply){ .status = status, .is_json = *body == '{', .body = slice_str(body) };
}

static void answers_have_their_class(void **state)
{
    static const struct {
        bool login;
        int status;
        const char *body;
        enum kmsg_class class;
    } cases[] = {
        { false, 200, "{}", KMSG_OK },
        { false, 200, "<html>", KMSG_BAD },
        { false, 204, "", KMSG_OK },
        { false, 201, "{}", KMSG_BAD },
        { false, 403, "{\"errors\":[\"1 error occurred:\\n\\t* permission denied\\n\\n\"]}",
          KMSG_UNAUTHORIZED },
        { false, 403, "<html>permission denied</html>", KMSG_BAD },
        { false, 403, "{\"errors\":[\"something else\"]}", KMSG_BAD },
        { false, 403, "{\"errors\":[]}", KMSG_BAD },
        { false, 404, "{\"errors\":[]}", KMSG_NOT_FOUND },
        { false, 404, "{}", KMSG_BAD },
        { false, 404, "{\"errors\":[\"no handler for route \\\"transit/keys/x\\\"\"]}",
          KMSG_NOT_FOUND },
        { false, 400, "{\"errors\":[\"encryption key not found\"]}", KMSG_NOT_FOUND },
        { false, 400,
          "{\"errors\":[\"ciphertext or signature version is disallowed by policy (too old)\"]}",
          KMSG_DENIED },
        { false, 400,
          "{\"errors\":[\"requested version for encryption is less than the minimum encryption key version\"]}",
          KMSG_DENIED },
        { false, 400, "{\"errors\":[\"cipher: message authentication failed\"]}", KMSG_BAD },
        { false, 307, "", KMSG_BAD },
        { false, 408, "", KMSG_UNREACHABLE },
        { false, 412, "{\"errors\":[]}", KMSG_UNREACHABLE },
        { false, 429, "", KMSG_THROTTLED },
        { false, 472, "", KMSG_UNREACHABLE },
        { false, 473, "", KMSG_UNREACHABLE },
        { false, 503, "{\"errors\":[\"Vault is sealed\"]}", KMSG_UNREACHABLE },
        { true, 200, "{}", KMSG_OK },
        { true, 400, "{\"errors\":[\"invalid role or secret ID\"]}", KMSG_DENIED },
        { true, 400, "{\"errors\":[\"invalid secret id\"]}", KMSG_DENIED },
        { true, 404, "{\"errors\":[\"no handler for route \\\"auth/x/login\\\"\"]}",
          KMSG_NOT_FOUND },
        { true, 404, "{\"errors\":[]}", KMSG_BAD },
        { true, 429, "", KMSG_THROTTLED },
        { true, 400, "{\"errors\":[\"role \\\"x\\\" could not be found\"]}", KMSG_DENIED },
        { true, 400, "{\"errors\":[\"error validating token: expired\"]}", KMSG_BAD },
        { true, 403, "{\"errors\":[\"permission denied\"]}", KMSG_DENIED },
        { true, 403, "", KMSG_BAD },
        { true, 500, "", KMSG_UNREACHABLE },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char cause[KMSG_CAUSE_MAX];
        struct kmsg_reply r = reply(cases[i].status, cases[i].body);
        enum kmsg_class class = cases[i].login ? kmsg_transit_classify_login(&r, cause)
                                               : kmsg_transit_classify(&r, cause);
        if (class != cases[i].class)
            fail_msg("case %zu: class %d: %s", i, class, cause);
    }
}

#define KEY(rest) "{\"data\":{\"type\":\"aes256-gcm96\"," rest "}}"

static void keys_are_checked(void **state)
{
    static const struct {
        const char *body, *version, *found; /* found NULL: refused */
        enum err_code code;
        bool enabled, can_wrap;
    } cases[] = {
        { KEY("\"latest_version\":3,\"min_decryption_version\":1,\"min_encryption_version\":0"), "",
          "3", ERR_NONE, true, true },
        { KEY("\"latest_version\":3,\"min_decryption_version\":2,\"min_encryption_version\":3"),
          "2", "2", ERR_NONE, true, false },
        { KEY("\"latest_version\":3,\"min_decryption_version\":3,\"min_encryption_version\":0"),
          "2", "2", ERR_NONE, false, false },
        { KEY("\"latest_version\":3,\"min_decryption_version\":1,\"min_encryption_version\":0"),
          "4", NULL, ERR_KEY_NOT_FOUND, false, false },
        { KEY("\"latest_version\":3,\"min_decryption_version\":1"), "", NULL, ERR_KEY_BAD_ANSWER,
          false, false },
        { KEY("\"latest_version\":\"3\",\"min_decryption_version\":1,\"min_encryption_version\":0"),
          "", NULL, ERR_KEY_BAD_ANSWER, false, false },
        { KEY("\"latest_version\":0,\"min_decryption_version\":1,\"min_encryption_version\":0"), "",
          NULL, ERR_KEY_BAD_ANSWER, false, false },
        { KEY("\"derived\":true,\"latest_version\":3,\"min_decryption_version\":1,\"min_encryption_version\":0"),
          "", NULL, ERR_CONFIG, false, false },
        { "{\"data\":{\"type\":\"ed25519\",\"latest_version\":3,\"min_decryption_version\":1,\"min_encryption_version\":0}}",
          "", NULL, ERR_CONFIG, false, false },
        { "{\"data\":[]}", "", NULL, ERR_KEY_BAD_ANSWER, false, false },
        { "{", "", NULL, ERR_KEY_BAD_ANSWER, false, false },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_reply r = reply(200, cases[i].body);
        struct kmsg_transit_key k;
        struct err e = { 0 };
        rc_t rc = kmsg_transit_read_key(&r, cases[i].version, &k, &e);
        if (rc.failed != (cases[i].found == NULL) || e.code != cases[i].code)
            fail_msg("case %zu: code %d: %s", i, (int)e.code, e.msg);
        if (rc.failed)
            continue;
        assert_string_equal(k.version, cases[i].found);
        assert_true(k.newest == 3 && k.number == (*k.version - '0'));
        assert_true(k.enabled == cases[i].enabled && k.can_wrap == cases[i].can_wrap);
        assert_int_equal(k.bits, 256);
    }
}

static void values_are_checked(void **state)
{
    static const struct {
        const char *plaintext;
        bool ok;
    } plains[] = {
        { "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", true },
        { "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA", false },
        { "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==", false },
        { "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false },
        { "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHy_=", false },
        { "", false },
    };
    static const struct {
        const char *text;
        bool ok;
    } ciphers[] = {
        { "vault:v2:AAAA", true },     { "vault:v3:AAAA", false },  { "vault:v2:", false },
        { "vault:v2:AAA", false },     { "vault:v22:AAAA", false }, { "AAAA", false },
        { "vault:v2:AA\\nAA", false },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(plains); i++) {
        struct buf out = BUF_INIT;
        struct err e = { 0 };
        char *body = mem_printf("{\"data\":{\"plaintext\":\"%s\"}}", plains[i].plaintext);
        struct kmsg_reply r = reply(200, body);
        rc_t rc = kmsg_transit_read_plaintext(&r, 32, &out, &e);
        if (rc.failed == plains[i].ok || out.len != (plains[i].ok ? 32 : 0))
            fail_msg("%s", plains[i].plaintext);
        buf_wipe(&out);
        mem_free(body);
    }
    for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
        struct buf out = BUF_INIT;
        struct err e = { 0 };
        char *body = mem_printf("{\"data\":{\"ciphertext\":\"%s\"}}", ciphers[i].text);
        struct kmsg_reply r = reply(200, body);
        rc_t rc = kmsg_transit_read_ciphertext(&r, "2", &out, &e);
        if (rc.failed == ciphers[i].ok || (out.len > 0) != ciphers[i].ok)
            fail_msg("%s", ciphers[i].text);
        buf_fini(&out);
        mem_free(body);
    }
}

static void logins_are_checked(void **state)
{
    static const struct {
        const char *body;
        int64_t lifetime; /* 0: refused */
    } cases[] = {
        { "{\"auth\":{\"client_token\":\"hvs.x\",\"lease_duration\":3600}}", 3600 },
        { "{\"auth\":{\"client_token\":\"hvs.x\",\"lease_duration\":0}}", 86400 },
        { "{\"auth\":{\"client_token\":\"hvs.x\",\"lease_duration\":99999999}}", 7 * 86400 },
        { "{\"auth\":{\"client_token\":\"hvs.x\",\"lease_duration\":-1}}", 0 },
        { "{\"auth\":{\"client_token\":\"hvs.x\"}}", 0 },
        { "{\"auth\":{\"client_token\":\"h\\r\\nX: y\",\"lease_duration\":1}}", 0 },
        { "{\"auth\":{\"client_token\":\"a b\",\"lease_duration\":1}}", 0 },
        { "{\"auth\":{\"client_token\":\"\",\"lease_duration\":1}}", 0 },
        { "{\"auth\":null}", 0 },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf token = BUF_INIT;
        struct err e = { 0 };
        int64_t lifetime;
        struct kmsg_reply r = reply(200, cases[i].body);
        rc_t rc = kmsg_transit_read_login(&r, &token, &lifetime, &e);
        if (rc.failed != (cases[i].lifetime == 0) || (!rc.failed && lifetime != cases[i].lifetime))
            fail_msg("case %zu", i);
        buf_wipe(&token);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_name_a_key),          cmocka_unit_test(requests_are_exact),
        cmocka_unit_test(answers_have_their_class), cmocka_unit_test(keys_are_checked),
        cmocka_unit_test(values_are_checked),       cmocka_unit_test(logins_are_checked),
    };

    return cmocka_run_group_tests_name("transit", tests, NULL, NULL);
}
