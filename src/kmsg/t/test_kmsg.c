/* test_kmsg.c - what answers mean, and that only answers which speak of what was asked are believed. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "kmsg/kmsg_kv.h"
#include "kmsg/kmsg_token.h"
#include "unit.h"

#define VERSION "0123456789abcdef0123456789abcdef"
#define KID "https://v.example/keys/data/" VERSION

static const struct kmsg_kv_target target = { .host = "v.example", .key = "data" };

static struct kmsg_reply reply(int status, const char *body)
{
    return (struct kmsg_reply){
        .status = status, .is_json = true, .body = slice_str(body), .date_s = 1000
    };
}

static void refusals_have_their_class(void **state)
{
    static const struct {
        int status;
        bool json;
        const char *body;
        enum kmsg_class want;
        const char *cause;
    } cases[] = {
        { 200, true, "{}", KMSG_OK, NULL },
        { 200, false, "{}", KMSG_BAD, NULL },
        { 204, true, "", KMSG_BAD, NULL },
        { 301, true, "{}", KMSG_BAD, NULL },
        { 401, true,
          "{\"error\":{\"code\":\"Unauthorized\",\"message\":\"AKV10022: Invalid audience.\"}}",
          KMSG_UNAUTHORIZED, "AKV10022" },
        { 401, false, "<html>", KMSG_UNAUTHORIZED, NULL },
        { 403, true,
          "{\"error\":{\"code\":\"Forbidden\",\"message\":\"x\",\"innererror\":{\"code\":\"KeyDisabled\"}}}",
          KMSG_DENIED, "disabled" },
        { 403, true,
          "{\"error\":{\"code\":\"Forbidden\",\"message\":\"x\",\"innererror\":{\"code\":\"ForbiddenByFirewall\"}}}",
          KMSG_DENIED, "firewall" },
        { 403, true,
          "{\"error\":{\"code\":\"Forbidden\",\"message\":\"Action: 'Microsoft.KeyVault/vaults/keys/unwrap/action'\\r\\n\",\"innererror\":{\"code\":\"ForbiddenByRbac\"}}}",
          KMSG_DENIED, "Microsoft.KeyVault/vaults/keys/unwrap/action" },
        { 403, true,
          "{\"error\":{\"code\":\"Forbidden\",\"message\":\"The user ... does not have keys unwrapKey permission on key vault 'v'\",\"innererror\":{\"code\":\"AccessDenied\"}}}",
          KMSG_DENIED, "keys unwrapKey" },
        { 403, true,
          "{\"error\":{\"code\":\"Forbidden\",\"message\":\"something new\",\"innererror\":{\"code\":\"ForbiddenByMoon\"}}}",
          KMSG_DENIED, "ForbiddenByMoon" },
        { 403, true, "{\"error\":{\"code\":\"Forbidden\",\"message\":\"x\"}}", KMSG_DENIED, NULL },
        { 403, false, "<html>blocked by proxy</html>", KMSG_BAD, NULL },
        { 403, true, "{\"message\":\"Forbidden\"}", KMSG_BAD, NULL },
        { 403, true, "{\"error\":\"Forbidden\"}", KMSG_BAD, NULL },
        { 403, true, "{\"error\":{\"code\":\"Teapot\"}}", KMSG_BAD, NULL },
        { 403, true, "{\"error\":{\"code\":\"Forbidden\"}", KMSG_BAD, NULL },
        { 404, true, "{\"error\":{\"code\":\"KeyNotFound\",\"message\":\"x\"}}", KMSG_NOT_FOUND,
          NULL },
        { 404, true, "{\"error\":{\"code\":\"VaultNotFound\",\"message\":\"x\"}}", KMSG_NOT_FOUND,
          "vault" },
        { 404, true, "{\"error\":{\"code\":\"Forbidden\",\"message\":\"x\"}}", KMSG_BAD, NULL },
        { 404, false, "not found", KMSG_BAD, NULL },
        { 400, true, "{\"error\":{\"code\":\"BadParameter\",\"message\":\"x\"}}", KMSG_BAD, NULL },
        { 409, true, "{\"error\":{\"code\":\"Conflict\",\"message\":\"x\"}}", KMSG_BAD, NULL },
        { 408, false, "", KMSG_UNREACHABLE, NULL },
        { 429, false, "", KMSG_THROTTLED, NULL },
        { 500, true, "{\"error\":{\"code\":\"Forbidden\"}}", KMSG_UNREACHABLE, NULL },
        { 503, false, "", KMSG_UNREACHABLE, NULL },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char cause[KMSG_CAUSE_MAX];
        struct kmsg_reply r = reply(cases[i].status, cases[i].body);
        r.is_json = cases[i].json;
        enum kmsg_class got = kmsg_kv_classify(&r, cause);
        if (got != cases[i].want || (cases[i].cause && !strstr(cause, cases[i].cause)) ||
            (got != KMSG_OK) != (cause[0] != 0))
            fail_msg("case %zu: class %d, cause \"%s\"", i, (int)got, cause);
    }
}

static void token_refusals_have_their_class(void **state)
{
    static const struct {
        int status;
        bool json;
        const char *body;
        enum kmsg_class want;
    } cases[] = {
        { 200, true, "{}", KMSG_OK },
        { 400, true, "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}",
          KMSG_DENIED },
        { 400, true, "{\"error\":\"invalid_request\",\"error_description\":\"resource missing\"}",
          KMSG_BAD },
        { 400, true,
          "{\"error\":\"invalid_resource\",\"error_description\":\"Identity not found\"}",
          KMSG_BAD },
        { 400, true, "{\"error\":\"unauthorized_client\"}", KMSG_DENIED },
        { 401, true, "{\"error\":\"unauthorized_client\",\"error_description\":\"x\"}",
          KMSG_DENIED },
        { 403, true, "{\"error\":\"forbidden\"}", KMSG_DENIED },
        { 403, false, "<html>", KMSG_BAD },
        { 401, true, "{\"error\":7}", KMSG_BAD },
        { 404, false, "", KMSG_UNREACHABLE },
        { 410, false, "", KMSG_UNREACHABLE },
        { 429, false, "", KMSG_THROTTLED },
        { 500, false, "", KMSG_UNREACHABLE },
        { 302, false, "", KMSG_BAD },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char cause[KMSG_CAUSE_MAX];
        struct kmsg_reply r = reply(cases[i].status, cases[i].body);
        r.is_json = cases[i].json;
        enum kmsg_class got = kmsg_token_classify(&r, cause);
        if (got != cases[i].want)
            fail_msg("case %zu: class %d, cause \"%s\"", i, (int)got, cause);
    }
}

static void unwrapped_values_are_checked(void **state)
{
    struct buf right = BUF_INIT, zeros = BUF_INIT, shorter = BUF_INIT, longer = BUF_INIT,
               value = BUF_INIT;
    uint8_t bytes[33], zero[32] = { 0 };
    struct err e = { 0 };
    (void)state;

    for (int i = 0; i < 33; i++)
        bytes[i] = (uint8_t)(i + 1);
    base64url_encode(SLICE(bytes, 32), &right);
    base64url_encode(SLICE(bytes, 31), &shorter);
    base64url_encode(SLICE(bytes, 33), &longer);
    base64url_encode(SLICE(zero, 32), &zeros);
    const char *r = buf_cstr(&right), *s = buf_cstr(&shorter), *l = buf_cstr(&longer),
               *z = buf_cstr(&zeros);
    const struct {
        const char *kid, *value, *extra;
        bool ok;
    } cases[] = {
        { KID, r, "", true },
        { "https://V.EXAMPLE:443/KEYS/Data/0123456789ABCDEF0123456789ABCDEF", r, ",\"x\":[1]",
          true },
        { KID, s, "", false },
        { KID, l, "", false },
        { KID, z, "", false },
        { KID, "", "", false },
        { "https://v.example/keys/data/", r, "", false },
        { "https://v.example/keys/data", r, "", false },
        { "https://v.example/keys/data/ffffffffffffffffffffffffffffffff", r, "", false },
        { "https://v.example/keys/other/" VERSION, r, "", false },
        { "https://w.example/keys/data/" VERSION, r, "", false },
        { "https://v.example:444/keys/data/" VERSION, r, "", false },
        { "https://v.example.evil/keys/data/" VERSION, r, "", false },
        { "https://evil@v.example/keys/data/" VERSION, r, "", false },
        { "http://v.example/keys/data/" VERSION, r, "", false },
        { KID "/x", r, "", false },
        { KID, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=", "", false }, /* padded */
        /* not the URL alphabet */
        { KID, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e+/8", "", false },
        { KID, r, ",\"value\":\"AAAA\"", false },          /* twice */
        { KID, r, ",\"x\":[[[[[[[[[[1]]]]]]]]]]", false }, /* too deep */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *body = mem_printf("{\"kid\":\"%s\",\"value\":\"%s\"%s}", cases[i].kid, cases[i].value,
                                cases[i].extra);
        struct kmsg_reply a = reply(200, body);
        rc_t rc = kmsg_kv_read_unwrapped(&a, &target, VERSION, 32, &value, &e);
        if (rc.failed == cases[i].ok)
            fail_msg("case %zu: %s", i, e.msg);
        if (rc.failed) {
            assert_int_equal(e.code, ERR_KEY_BAD_ANSWER);
            assert_int_equal(value.len, 0);
        } else {
            assert_int_equal(value.len, 32);
            assert_memory_equal(value.p, bytes, 32);
        }
        err_reset(&e);
        buf_clear(&value);
        mem_free(body);
    }
    buf_fini(&right);
    buf_fini(&shorter);
    buf_fini(&longer);
    buf_fini(&zeros);
    buf_fini(&value);
}

/* 342 digits: 256 bytes */
#define N256                                                                                       \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                     \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                     \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                     \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"                     \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxw"

static void keys_are_checked(void **state)
{
    static const char jwk[] =
        "\"kid\":\"" KID "\",\"kty\":\"RSA\",\"n\":\"" N256 "\",\"e\":\"AQAB\"";
    static const struct {
        const char *key, *rest;
        bool ok;
        int64_t grace_ms;
    } cases[] = {
        { jwk, ",\"attributes\":{\"enabled\":true}", true, -1 },
        { jwk, ",\"attributes\":{\"enabled\":true},\"tags\":{\"coffer-grace-period\":\"10min\"}",
          true, 600000 },
        { jwk, ",\"attributes\":{\"enabled\":true},\"tags\":{\"coffer-grace-period\":\"90\"}", true,
          90000 },
        { jwk, ",\"attributes\":{\"enabled\":true},\"tags\":{\"coffer-grace-period\":\"soon\"}",
          true, -2 },
        { jwk, ",\"attributes\":{\"enabled\":true,\"exp\":\"tomorrow\"}", false, 0 },
        { jwk, ",\"attributes\":{\"enabled\":true,\"nbf\":1.5}", false, 0 },
        { jwk, ",\"attributes\":{\"enabled\":\"true\"}", false, 0 },
        { jwk, ",\"attributes\":{}", false, 0 },
        { jwk, "", false, 0 },
        { "\"kid\":\"" KID "\",\"n\":\"" N256 "\",\"e\":\"AQAB\"",
          ",\"attributes\":{\"enabled\":true}", false, 0 },
        { "\"kid\":\"" KID "\",\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"",
          ",\"attributes\":{\"enabled\":true}", false, 0 },
        { "\"kid\":\"" KID "\",\"kty\":\"RSA\",\"n\":\"" N256 "\"",
          ",\"attributes\":{\"enabled\":true}", false, 0 },
        { "\"kid\":\"" KID "\",\"kty\":\"RSA\",\"n\":\"" N256 "\",\"e\":\"AQABAQABAQABAQAB\"",
          ",\"attributes\":{\"enabled\":true}", false, 0 },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_kv_key k;
        struct err e = { 0 };
        char *body = mem_printf("{\"key\":{%s,\"key_ops\":[\"wrapKey\",7,\"sign\"]}%s}",
                                cases[i].key, cases[i].rest);
        struct kmsg_reply a = reply(200, body);
        rc_t rc = kmsg_kv_read_key(&a, &target, i % 2 ? VERSION : "", &k, &e);
        if (rc.failed == cases[i].ok)
            fail_msg("case %zu: %s", i, e.msg);
        if (!rc.failed) {
            assert_true(k.enabled && k.can_wrap && !k.can_unwrap);
            assert_string_equal(k.version, VERSION);
            assert_int_equal(k.n_len, 256);
            assert_int_equal(k.has_grace         ? k.grace_ms
                             : k.grace_malformed ? -2
                                                 : -1,
                             cases[i].grace_ms);
        }
        mem_free(body);
    }
}

/* What it is and says of itself is told, so that everything that is wrong with it can be; nothing is ever wrapped with it. */
static void a_key_of_another_type_is_told(void **state)
{
    static const char *const types[] = { "EC", "EC-HSM", "oct-HSM" };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct kmsg_kv_key k;
        struct err e = { 0 };
        char *body = mem_printf(
            "{\"key\":{\"kid\":\"" KID
            "\",\"kty\":\"%s\",\"key_ops\":[\"wrapKey\",\"unwrapKey\"],\"x\":\"AQAB\"},\"attributes\":{\"enabled\":false,\"exp\":7}}",
            types[i]);
        struct kmsg_reply a = reply(200, body);
        CHECK_RC_OK(kmsg_kv_read_key(&a, &target, "", &k, &e), &e);
        assert_string_equal(k.kty, types[i]);
        assert_false(k.is_rsa || k.n_len || k.enabled || k.can_wrap || k.can_unwrap);
        assert_int_equal(k.expires_s, 7);
        mem_free(body);
    }
}

static void one_tag_changes_and_the_others_stay(void **state)
{
    static const struct {
        const char *tags, *value, *body;
    } cases[] = {
        { "", "", "{\"tags\":{\"mine\":\"8\"}}" },
        { ",\"tags\":null", "", "{\"tags\":{\"mine\":\"8\"}}" },
        { ",\"tags\":{\"mine\":\"7\",\"a\":\"\\u00fc \\\"\"}", "7",
          "{\"tags\":{\"mine\":\"8\",\"a\":\"ü \\\"\"}}" },
        { ",\"tags\":{\"mine\":\"longer than fits\"}", "", "{\"tags\":{\"mine\":\"8\"}}" },
        { ",\"tags\":{\"mine\":7}", "", "{\"tags\":{\"mine\":\"8\"}}" },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_fini) struct buf body = BUF_INIT;
        char version[KMSG_VERSION_MAX], value[8];
        struct err e = { 0 };
        char *text = mem_printf("{\"key\":{\"kid\":\"" KID "\"}%s}", cases[i].tags);
        struct kmsg_reply a = reply(200, text);
        CHECK_RC_OK(kmsg_kv_read_tag(&a, &target, VERSION, "mine", version, value, sizeof value,
                                     &e),
                    &e);
        assert_string_equal(version, VERSION);
        assert_string_equal(value, cases[i].value);
        CHECK_RC_OK(kmsg_kv_tags_body(&a, "mine", "8", &body, &e), &e);
        assert_string_equal(buf_cstr(&body), cases[i].body);
        mem_free(text);
    }
    char version[KMSG_VERSION_MAX], value[8];
    struct err e = { 0 };
    struct kmsg_reply other =
        reply(200, "{\"key\":{\"kid\":\"https://else.example/keys/x/" VERSION "\"}}");
    CHECK_RC_FAILS(kmsg_kv_read_tag(&other, &target, "", "mine", version, value, sizeof value, &e),
                   &e, ERR_KEY_BAD_ANSWER);
}

static void tokens_are_checked(void **state)
{
    static const struct {
        const char *body;
        int64_t lifetime; /* 0: refused */
    } cases[] = {
        { "{\"access_token\":\"a.b.c\",\"expires_on\":\"1600\",\"token_type\":\"Bearer\",\"resource\":\"https://r/\"}",
          600 },
        { "{\"access_token\":\"a.b.c\",\"expires_on\":1600,\"expires_in\":\"5\"}", 600 },
        { "{\"access_token\":\"a.b.c\",\"expires_in\":\"5\"}", 5 },
        { "{\"access_token\":\"a.b.c\",\"expires_in\":99999999}", 7 * 86400 },
        { "{\"access_token\":\"a.b.c\",\"expires_on\":\"900\"}", 0 },
        { "{\"access_token\":\"a.b.c\"}", 0 },
        { "{\"access_token\":\"a b\",\"expires_in\":5}", 0 },
        { "{\"access_token\":\"a\\r\\nX: y\",\"expires_in\":5}", 0 },
        { "{\"access_token\":\"\",\"expires_in\":5}", 0 },
        { "{\"access_token\":\"a\",\"expires_in\":5,\"token_type\":\"mac\"}", 0 },
        { "{\"access_token\":\"a\",\"expires_in\":5,\"resource\":\"https://other\"}", 0 },
        { "{\"access_token\":7,\"expires_in\":5}", 0 },
        { "[]", 0 },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf token = BUF_INIT;
        struct err e = { 0 };
        int64_t lifetime;
        struct kmsg_reply a = reply(200, cases[i].body);
        rc_t rc = kmsg_token_read(&a, "https://r", 5, &token, &lifetime, &e);
        if (rc.failed != (cases[i].lifetime == 0) || (!rc.failed && lifetime != cases[i].lifetime))
            fail_msg("case %zu: lifetime %lld, %s", i, (long long)lifetime, e.msg);
        buf_fini(&token);
    }
}

static void requests_are_well_formed(void **state)
{
    struct buf b = BUF_INIT;
    struct kmsg_kv_target t;
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(kmsg_kv_target("HTTPS://Main.Vault.localhost:8443/keys/Data/", &t, &e), &e);
    assert_string_equal(t.host, "main.vault.localhost:8443");
    kmsg_kv_url(&t, "", "", &b);
    assert_string_equal(buf_cstr(&b),
                        "https://main.vault.localhost:8443/keys/Data/?api-version=7.4");
    buf_clear(&b);
    kmsg_kv_url(&t, VERSION, "unwrapkey", &b);
    assert_string_equal(buf_cstr(&b), "https://main.vault.localhost:8443/keys/Data/" VERSION
                                      "/unwrapkey?api-version=7.4");
    buf_clear(&b);
    kmsg_kv_body(SLICE("\xff\xfe\xfd", 3), &b);
    assert_string_equal(buf_cstr(&b), "{\"alg\":\"RSA-OAEP-256\",\"value\":\"__79\"}");
    buf_clear(&b);
    kmsg_token_url(KMSG_TOKEN_IMDS, "http://h/t", "https://vault.azure.net", "a&b=c", &b);
    assert_string_equal(
        buf_cstr(&b),
        "http://h/t?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net&client_id=a%26b%3Dc");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_have_their_class),
        cmocka_unit_test(token_refusals_have_their_class),
        cmocka_unit_test(unwrapped_values_are_checked),
        cmocka_unit_test(keys_are_checked),
        cmocka_unit_test(a_key_of_another_type_is_told),
        cmocka_unit_test(one_tag_changes_and_the_others_stay),
        cmocka_unit_test(tokens_are_checked),
        cmocka_unit_test(requests_are_well_formed),
    };

    return cmocka_run_group_tests_name("kmsg", tests, NULL, NULL);
}
