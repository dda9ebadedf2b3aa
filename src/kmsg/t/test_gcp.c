/* test_gcp.c - the dialect of Google Cloud KMS and of its token endpoints: URLs, requests byte by byte, answers that are taken and that are refused. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kmsg_gcp.h"
#include "reply.h"
#include "unit.h"

#define NAME "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
#define VERSION(n) NAME "/cryptoKeyVersions/" n

static void urls_name_a_key(void **state)
{
    static const struct {
        const char *url, *host, *location; /* host NULL: refused */
    } cases[] = {
        { "gcp-kms://" NAME, "cloudkms.googleapis.com", "europe-west1" },
        { "GCP-KMS://projects/example.com:p-1/locations/global/keyRings/R_1/cryptoKeys/k-2",
          "cloudkms.googleapis.com", "global" },
        { "gcp-kms://Private.example:8443/" NAME, "private.example:8443", "europe-west1" },
        { "gcp-kms://" VERSION("1"), NULL, NULL },
        { "gcp-kms://" NAME "/", NULL, NULL },
        { "gcp-kms:///" NAME, NULL, NULL },
        { "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/", NULL, NULL },
        { "gcp-kms://projects/p/locations/l/keyRings/r", NULL, NULL },
        { "gcp-kms://projects/p/locations/l/keyRings/../cryptoKeys/k", NULL, NULL },
        { "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k?x", NULL, NULL },
        { "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k:decrypt", NULL, NULL },
        { "gcp-kms://user@h/" NAME, NULL, NULL },
        { "gcp-kms://", NULL, NULL },
        { "https://h/" NAME, NULL, NULL },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_gcp_target t;
        struct err e = { 0 };
        rc_t rc = kmsg_gcp_target(cases[i].url, &t, &e);
        if (rc.failed != (cases[i].host == NULL))
            fail_msg("\"%s\"", cases[i].url);
        assert_string_equal(t.host, cases[i].host ? cases[i].host : "");
        assert_string_equal(t.location, cases[i].host ? cases[i].location : "");
    }
}

static struct kmsg_gcp_target target(void)
{
    struct kmsg_gcp_target t;
    struct err e = { 0 };

    CHECK_RC_OK(kmsg_gcp_target("gcp-kms://" NAME, &t, &e), &e);
    return t;
}

static void requests_are_exact(void **state)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct kmsg_gcp_target t = target();
    (void)state;

    /* RFC 3720 B.4 */
    assert_int_equal(kmsg_gcp_crc32c(slice_str("123456789")), 0xe3069283);
    assert_int_equal(kmsg_gcp_crc32c(SLICE_EMPTY), 0);
    kmsg_gcp_url(&t, "", ":decrypt", &b);
    assert_string_equal(buf_cstr(&b), "https://cloudkms.googleapis.com/v1/" NAME ":decrypt");
    buf_clear(&b);
    kmsg_gcp_url(&t, "7", ":encrypt", &b);
    assert_string_equal(buf_cstr(&b),
                        "https://cloudkms.googleapis.com/v1/" VERSION("7") ":encrypt");
    buf_clear(&b);
    kmsg_gcp_encrypt_body("x", slice_str("123456789"), &b);
    assert_string_equal(buf_cstr(&b),
                        "{\"plaintext\":\"MTIzNDU2Nzg5\",\"plaintextCrc32c\":\"3808858755\","
                        "\"additionalAuthenticatedData\":\"Y29mZmVyZGItY2x1c3Rlcj14\","
                        "\"additionalAuthenticatedDataCrc32c\":\"875963270\"}");
    buf_clear(&b);
    kmsg_gcp_assertion_form(slice_str("a.b"), &b);
    assert_string_equal(
        buf_cstr(&b),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b");
    assert_true(kmsg_gcp_is_version("12"));
    assert_false(kmsg_gcp_is_version("0"));
    assert_false(kmsg_gcp_is_version("1a"));
    assert_false(kmsg_gcp_is_version(""));
    assert_false(kmsg_gcp_is_version("1234567890"));
}

#define SAYS(status, message)                                                                      \
    "{\"error\":{\"code\":1,\"message\":\"" message "\",\"status\":\"" status "\"}}"

static void answers_have_classes(void **state)
{
    static const struct class_case cases[] = {
        { 200, "{}", KMSG_OK, "" },
        { 403,
          SAYS(
              "PERMISSION_DENIED",
              "Permission 'cloudkms.cryptoKeys.get' denied on resource 'x' (or it may not exist)."),
          KMSG_DENIED, "lacks the permission cloudkms.cryptoKeys.get" },
        { 403,
          "{\"error\":{\"status\":\"PERMISSION_DENIED\",\"message\":\"no\",\"details\":[{\"reason\":\"x\"},{\"metadata\":{\"permission\":\"a.b.c\"}}]}}",
          KMSG_DENIED, "lacks the permission a.b.c" },
        { 403, SAYS("PERMISSION_DENIED", "Request is prohibited by organization's policy"),
          KMSG_DENIED, "prohibited" },
        { 401, SAYS("UNAUTHENTICATED", "no"), KMSG_UNAUTHORIZED, "token" },
        { 404, SAYS("NOT_FOUND", "no"), KMSG_NOT_FOUND, "gone" },
        { 400, SAYS("FAILED_PRECONDITION", "x is not enabled, current state is: DISABLED."),
          KMSG_DENIED, "disabled" },
        { 400,
          SAYS("FAILED_PRECONDITION", "x is not enabled, current state is: DESTROY_SCHEDULED."),
          KMSG_DENIED, "scheduled" },
        { 400, SAYS("FAILED_PRECONDITION", "x is not enabled, current state is: DESTROYED."),
          KMSG_NOT_FOUND, "destroyed" },
        { 400, SAYS("FAILED_PRECONDITION", "x is not enabled, current state is: PENDING_IMPORT."),
          KMSG_UNREACHABLE, "imported" },
        { 400, SAYS("FAILED_PRECONDITION", "the moon is not full"), KMSG_BAD, "moon" },
        { 429, SAYS("RESOURCE_EXHAUSTED", "Quota exceeded"), KMSG_THROTTLED, "limit" },
        { 429, "", KMSG_THROTTLED, "429" },
        { 503, SAYS("UNAVAILABLE", "no"), KMSG_UNREACHABLE, "unavailable" },
        { 500, SAYS("INTERNAL", "no"), KMSG_UNREACHABLE, "inside" },
        { 504, "<html>", KMSG_UNREACHABLE, "504" },
        { 400, SAYS("INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid."), KMSG_BAD,
          "key-context" },
        { 400, SAYS("INVALID_ARGUMENT", "odd"), KMSG_BAD, "INVALID_ARGUMENT: odd" },
        { 403, "<html>", KMSG_BAD, "403" },
        { 403, "{\"error\":\"PERMISSION_DENIED\"}", KMSG_BAD, "403" },
        { 302, SAYS("PERMISSION_DENIED", "no"), KMSG_BAD, "302" },
    };
    (void)state;

    check_classes(kmsg_gcp_classify, cases, ARRAY_LEN(cases));
}

#define KEY(primary) "{\"name\":\"" NAME "\",\"purpose\":\"ENCRYPT_DECRYPT\"" primary "}"
#define PRIMARY(n, state)                                                                          \
    ",\"primary\":{\"name\":\"" VERSION(                                                           \
        n) "\",\"state\":\"" state                                                                 \
           "\",\"algorithm\":\"GOOGLE_SYMMETRIC_ENCRYPTION\",\"protectionLevel\":\"HSM\"}"

static void a_key_is_described(void **state)
{
    static const struct {
        const char *body;
        enum err_code code;
        const char *version;
        bool enabled;
        int64_t grace_ms; /* -1: malformed */
    } cases[] = {
        { KEY(PRIMARY("3", "ENABLED")), ERR_NONE, "3", true, 0 },
        { KEY(PRIMARY("3", "DISABLED")), ERR_NONE, "3", false, 0 },
        { KEY(PRIMARY("3", "DESTROYED")), ERR_NONE, "3", false, 0 },
        { KEY(PRIMARY("3", "ENABLED") ",\"labels\":{\"coffer-grace-period\":\"10min\"}"), ERR_NONE,
          "3", true, 600000 },
        { KEY(PRIMARY("3", "ENABLED") ",\"labels\":{\"coffer-grace-period\":\"long\"}"), ERR_NONE,
          "3", true, -1 },
        { KEY(""), ERR_NONE, "", false, 0 },
        { KEY(",\"primary\":{\"name\":\"" VERSION(
              "3") "\",\"state\":\"ENABLED\",\"protectionLevel\":\"SOFTWARE\"}"),
          ERR_NONE, "3", true, 0 },
        { KEY(",\"primary\":{\"name\":\"" VERSION(
              "3") "\",\"state\":\"ENABLED\",\"algorithm\":\"AES_256_GCM\"}"),
          ERR_CONFIG, "", false, 0 },
        { KEY(",\"primary\":{\"name\":\"" NAME "\",\"state\":\"ENABLED\"}"), ERR_KEY_BAD_ANSWER, "",
          false, 0 },
        { KEY(",\"primary\":{\"name\":\"" VERSION("x") "\",\"state\":\"ENABLED\"}"),
          ERR_KEY_BAD_ANSWER, "", false, 0 },
        { "{\"name\":\"" NAME "\",\"purpose\":\"ASYMMETRIC_DECRYPT\"}", ERR_CONFIG, "", false, 0 },
        { "{\"name\":\"" NAME "2\",\"purpose\":\"ENCRYPT_DECRYPT\"}", ERR_KEY_BAD_ANSWER, "", false,
          0 },
        { "{\"name\":\"" NAME "\"}", ERR_KEY_BAD_ANSWER, "", false, 0 },
        { "[]", ERR_KEY_BAD_ANSWER, "", false, 0 },
    };
    struct kmsg_gcp_target t = target();
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_gcp_key k;
        struct err e = { 0 };
        struct kmsg_reply r = reply(200, cases[i].body);
        (void)!kmsg_gcp_read_key(&r, &t, &k, &e).failed;
        if (e.code != cases[i].code)
            fail_msg("%s: %d %s", cases[i].body, (int)e.code, e.msg);
        assert_string_equal(k.version, cases[i].version);
        assert_int_equal(k.enabled, cases[i].enabled);
        assert_int_equal(k.is_hsm, strstr(cases[i].body, "\"HSM\"") != NULL);
        assert_int_equal(k.grace_malformed ? -1 : k.grace_ms, cases[i].grace_ms);
    }
}

static void states_of_a_version(void **state)
{
    static const struct {
        const char *state;
        enum err_code code;
        bool enabled;
    } cases[] = {
        { "ENABLED", ERR_NONE, true },
        { "DISABLED", ERR_NONE, false },
        { "DESTROY_SCHEDULED", ERR_KEY_DENIED, false },
        { "IMPORT_FAILED", ERR_KEY_DENIED, false },
        { "DESTROYED", ERR_KEY_NOT_FOUND, false },
        { "PENDING_GENERATION", ERR_KEY_UNREACHABLE, false },
        { "MOONSTRUCK", ERR_KEY_BAD_ANSWER, false },
    };
    struct kmsg_gcp_target t = target();
    bool enabled;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(mem_freep) char *body =
            mem_printf("{\"name\":\"" VERSION("3") "\",\"state\":\"%s\"}", cases[i].state);
        struct err e = { 0 };
        struct kmsg_reply r = reply(200, body);
        (void)!kmsg_gcp_read_version(&r, &t, "3", &enabled, &e).failed;
        if (e.code != cases[i].code || enabled != cases[i].enabled)
            fail_msg("%s: %d %s", cases[i].state, (int)e.code, e.msg);
        err_reset(&e);
        CHECK_RC_FAILS(kmsg_gcp_read_version(&r, &t, "4", &enabled, &e), &e, ERR_KEY_BAD_ANSWER);
    }
}

#define CIPHER(name, value, crc, verified)                                                         \
    "{\"name\":\"" name "\",\"ciphertext\":\"" value "\",\"ciphertextCrc32c\":" crc verified "}"
#define VERIFIED                                                                                   \
    ",\"verifiedPlaintextCrc32c\":true,\"verifiedAdditionalAuthenticatedDataCrc32c\":true"
#define PLAIN "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define PLAIN_CRC "1188919630" /* of 0 to 31: RFC 3720 B.4 has 46 dd 79 4e */

static void values_are_checked(void **state)
{
    static const struct {
        const char *body;
        bool good;
    } cipher[] = {
        { CIPHER(VERSION("3"), "MTIzNDU2Nzg5", "\"3808858755\"", VERIFIED), true },
        { CIPHER(VERSION("3"), "MTIzNDU2Nzg5", "3808858755", VERIFIED), true },
        { CIPHER(VERSION("4"), "MTIzNDU2Nzg5", "\"3808858755\"", VERIFIED), false },
        { CIPHER(NAME, "MTIzNDU2Nzg5", "\"3808858755\"", VERIFIED), false },
        { CIPHER(VERSION("3"), "MTIzNDU2Nzg5", "\"3808858754\"", VERIFIED), false },
        { CIPHER(VERSION("3"), "MTIzNDU2Nzg5", "null", VERIFIED), false },
        { CIPHER(VERSION("3"), "", "\"0\"", VERIFIED), false },
        { CIPHER(VERSION("3"), "MTIzNDU2Nzg5", "\"3808858755\"", ""), false },
        { CIPHER(VERSION("3"), "MTIzNDU2Nzg5", "\"3808858755\"",
                 ",\"verifiedPlaintextCrc32c\":true"),
          false },
        { CIPHER(
              VERSION("3"), "MTIzNDU2Nzg5", "\"3808858755\"",
              ",\"verifiedPlaintextCrc32c\":false,\"verifiedAdditionalAuthenticatedDataCrc32c\":true"),
          false },
    };
    static const struct {
        const char *body;
        bool good;
    } plain[] = {
        { "{\"plaintext\":\"" PLAIN "\",\"plaintextCrc32c\":\"" PLAIN_CRC "\"}", true },
        { "{\"plaintext\":\"" PLAIN "\",\"plaintextCrc32c\":\"1188919631\"}", false },
        { "{\"plaintext\":\"" PLAIN "\"}", false },
        { "{\"plaintext\":\"AAAA\",\"plaintextCrc32c\":\"0\"}", false },
        { "{}", false },
    };
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct kmsg_gcp_target t = target();
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cipher); i++) {
        struct err e = { 0 };
        struct kmsg_reply r = reply(200, cipher[i].body);
        if (kmsg_gcp_read_ciphertext(&r, &t, "3", &b, &e).failed == cipher[i].good)
            fail_msg("%s: %s", cipher[i].body, e.msg);
        assert_int_equal(b.len, cipher[i].good ? 9 : 0);
        buf_clear(&b);
    }
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        struct err e = { 0 };
        struct kmsg_reply r = reply(200, plain[i].body);
        if (kmsg_gcp_read_plaintext(&r, 32, &b, &e).failed == plain[i].good)
            fail_msg("%s: %s", plain[i].body, e.msg);
        assert_int_equal(b.len, plain[i].good ? 32 : 0);
        buf_wipe(&b);
    }
}

#define ACCOUNT(type, url)                                                                                 \
    "{\"type\":\"" type                                                                                    \
    "\",\"client_email\":\"a@b\",\"private_key_id\":\"1\",\"private_key\":\"PEM\\n\",\"token_uri\":\"" url \
    "\"}"
#define FEDERATION(source, more)                                                                                               \
    "{\"type\":\"external_account\",\"audience\":\"//iam/x\",\"subject_token_type\":\"jwt\",\"token_url\":\"https://sts/v1\"," \
    "\"credential_source\":{" source "}" more "}"

static void files_are_read(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } federations[] = {
        { FEDERATION("\"file\":\"/t\"", ""), true },
        { FEDERATION("\"file\":\"/t\"", ",\"service_account_impersonation_url\":\"https://i\""),
          true },
        { FEDERATION("\"file\":\"/t\"", ",\"service_account_impersonation_url\":\"http://i\""),
          false },
        { FEDERATION("\"file\":\"/t\",\"format\":{\"type\":\"text\"}", ""), true },
        { FEDERATION(
              "\"file\":\"/t\",\"format\":{\"type\":\"json\",\"subject_token_field_name\":\"t\"}",
              ""),
          true },
        { FEDERATION("\"file\":\"/t\",\"format\":{\"type\":\"json\"}", ""), false },
        { FEDERATION("\"file\":\"/t\",\"format\":{\"type\":\"xml\"}", ""), false },
        { FEDERATION("\"url\":\"http://169.254.169.254\"", ""), false },
        { "{\"type\":\"service_account\"}", false },
        { "{", false },
    };
    AUTO(buf_wipe) struct buf b = BUF_INIT;
    struct kmsg_gcp_account a;
    struct kmsg_gcp_federation f;
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(kmsg_gcp_read_account(slice_str(ACCOUNT("service_account", "https://t")), &a, &b,
                                      &e),
                &e);
    assert_string_equal(a.email, "a@b");
    assert_string_equal(buf_cstr(&b), "PEM\n");
    buf_wipe(&b);
    CHECK_RC_FAILS(kmsg_gcp_read_account(slice_str(ACCOUNT("service_account", "http://t")), &a, &b,
                                         &e),
                   &e, ERR_CONFIG);
    CHECK_RC_FAILS(kmsg_gcp_read_account(slice_str(ACCOUNT("authorized_user", "https://t")), &a, &b,
                                         &e),
                   &e, ERR_CONFIG);
    assert_int_equal(b.len, 0);
    for (size_t i = 0; i < ARRAY_LEN(federations); i++) {
        if (kmsg_gcp_read_federation(slice_str(federations[i].text), &f, &e).failed ==
            federations[i].good)
            fail_msg("%s: %s", federations[i].text, e.msg);
        err_reset(&e);
    }
    f = (struct kmsg_gcp_federation){ .token_field = "" };
    CHECK_RC_OK(kmsg_gcp_read_subject(&f, slice_str("a.b.c\n"), &b, &e), &e);
    assert_string_equal(buf_cstr(&b), "a.b.c");
    buf_wipe(&b);
    CHECK_RC_FAILS(kmsg_gcp_read_subject(&f, slice_str("a b"), &b, &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(kmsg_gcp_read_subject(&f, slice_str("\n"), &b, &e), &e, ERR_CONFIG);
    f = (struct kmsg_gcp_federation){ .token_field = "t" };
    CHECK_RC_OK(kmsg_gcp_read_subject(&f, slice_str("{\"t\":\"a.b.c\"}"), &b, &e), &e);
    assert_string_equal(buf_cstr(&b), "a.b.c");
    CHECK_RC_FAILS(kmsg_gcp_read_subject(&f, slice_str("{\"u\":\"a\"}"), &b, &e), &e, ERR_CONFIG);
}

static void token_endpoints_have_classes(void **state)
{
    static const struct class_case cases[] = {
        { 200, "{}", KMSG_OK, NULL },
        { 400,
          "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid grant: account not found\"}",
          KMSG_DENIED, NULL },
        { 400, "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT Signature.\"}",
          KMSG_DENIED, NULL },
        { 400,
          "{\"error\":\"invalid_grant\",\"error_description\":\"Invalid JWT: Token must be a short-lived token\"}",
          KMSG_BAD, NULL },
        { 401, "{\"error\":\"disabled_client\"}", KMSG_DENIED, NULL },
        { 403, "{\"error\":\"unauthorized_client\"}", KMSG_DENIED, NULL },
        { 400, "{\"error\":\"invalid_target\"}", KMSG_DENIED, NULL },
        { 400, "{\"error\":\"invalid_request\"}", KMSG_BAD, NULL },
        { 400, "<html>", KMSG_BAD, NULL },
        { 429, "", KMSG_THROTTLED, NULL },
        { 503, "", KMSG_UNREACHABLE, NULL },
    };
    AUTO(buf_wipe) struct buf b = BUF_INIT;
    char cause[KMSG_CAUSE_MAX];
    struct err e = { 0 };
    int64_t life_s;
    (void)state;

    check_classes(kmsg_gcp_classify_token, cases, ARRAY_LEN(cases));
    struct kmsg_reply r = reply(404, "");
    assert_int_equal(kmsg_gcp_classify_metadata(&r, cause), KMSG_UNREACHABLE);
    r = reply(403, "");
    assert_int_equal(kmsg_gcp_classify_metadata(&r, cause), KMSG_BAD);
    r = reply(200, "{\"accessToken\":\"t\",\"expireTime\":\"2026-01-01T01:00:00Z\"}");
    CHECK_RC_OK(kmsg_gcp_read_impersonated(&r, 1767225600, &b, &life_s, &e), &e);
    assert_int_equal(life_s, 3600);
    buf_wipe(&b);
    r.date_s = 1767225600 + 1800; /* the endpoint's own clock counts */
    CHECK_RC_OK(kmsg_gcp_read_impersonated(&r, 1767225600, &b, &life_s, &e), &e);
    assert_int_equal(life_s, 1800);
    buf_wipe(&b);
    r.date_s = 0;
    CHECK_RC_FAILS(kmsg_gcp_read_impersonated(&r, 1767229200, &b, &life_s, &e), &e,
                   ERR_KEY_BAD_ANSWER);
    r = reply(200, "{\"accessToken\":\"a b\",\"expireTime\":\"2026-01-01T01:00:00Z\"}");
    CHECK_RC_FAILS(kmsg_gcp_read_impersonated(&r, 1767225600, &b, &life_s, &e), &e,
                   ERR_KEY_BAD_ANSWER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_name_a_key),      cmocka_unit_test(requests_are_exact),
        cmocka_unit_test(answers_have_classes), cmocka_unit_test(a_key_is_described),
        cmocka_unit_test(states_of_a_version),  cmocka_unit_test(values_are_checked),
        cmocka_unit_test(files_are_read),       cmocka_unit_test(token_endpoints_have_classes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
