/* test_aws.c - the dialect of AWS KMS and of the places that give credentials: URLs, requests byte by byte, answers that are taken and that are refused. */
#include <string.h>

#include "base/mem.h"
#include "kmsg/kmsg_aws.h"
#include "reply.h"
#include "unit.h"

#define ID "1234abcd-12ab-34cd-56ef-1234567890ab"
#define ARN "arn:aws:kms:eu-west-1:111122223333:key/" ID
#define MATERIAL "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define PLAIN "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static void urls_name_a_key(void **state)
{
    static const struct {
        const char *url, *host, *region, *partition; /* host NULL: refused */
    } cases[] = {
        { "aws-kms:///" ARN, "kms.eu-west-1.amazonaws.com", "eu-west-1", "aws" },
        { "AWS-KMS://" ARN, "kms.eu-west-1.amazonaws.com", "eu-west-1", "aws" },
        { "aws-kms://VPCE-1.kms.eu-west-1.vpce.amazonaws.com/" ARN,
          "vpce-1.kms.eu-west-1.vpce.amazonaws.com", "eu-west-1", "aws" },
        { "aws-kms://h:8443/" ARN, "h:8443", "eu-west-1", "aws" },
        { "aws-kms://h:443/" ARN, "h", "eu-west-1", "aws" },
        { "aws-kms://[::1]:8443/" ARN, "[::1]:8443", "eu-west-1", "aws" },
        { "aws-kms:///arn:aws-cn:kms:cn-north-1:111122223333:key/" ID,
          "kms.cn-north-1.amazonaws.com.cn", "cn-north-1", "aws-cn" },
        { "aws-kms:///arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/" ID,
          "kms.us-gov-west-1.amazonaws.com", "us-gov-west-1", "aws-us-gov" },
        { "aws-kms:///arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/" ID,
          "kms.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "aws-eusc" },
        { "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef",
          "kms.eu-west-1.amazonaws.com", "eu-west-1", "aws" },
        /* a region of another partition */
        { "aws-kms:///arn:aws:kms:cn-north-1:111122223333:key/" ID, NULL, NULL, NULL },
        { "aws-kms:///arn:aws-cn:kms:eu-west-1:111122223333:key/" ID, NULL, NULL, NULL },
        { "aws-kms:///arn:aws-xx:kms:eu-west-1:111122223333:key/" ID, NULL, NULL, NULL },
        /* an alias can be moved to another key */
        { "aws-kms:///arn:aws:kms:eu-west-1:111122223333:alias/db", NULL, NULL, NULL },
        { "aws-kms:///arn:aws:s3:eu-west-1:111122223333:key/" ID, NULL, NULL, NULL },
        { "aws-kms:///arn:aws:kms::111122223333:key/" ID, NULL, NULL, NULL },
        { "aws-kms:///arn:aws:kms:eu-west-1:1111:key/" ID, NULL, NULL, NULL },
        { "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/", NULL, NULL, NULL },
        { "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/a/b", NULL, NULL, NULL },
        { "aws-kms:///arn:aws:kms:eu-west-1:111122223333:key/a\"b", NULL, NULL, NULL },
        { "aws-kms:///arn:aws:kms:EU-west-1:111122223333:key/" ID, NULL, NULL, NULL },
        { "aws-kms://user@h/" ARN, NULL, NULL, NULL },
        { "aws-kms://h" ARN, NULL, NULL, NULL },
        { "aws-kms://h/x/" ARN, NULL, NULL, NULL },
        { "aws-kms://", NULL, NULL, NULL },
        { "https://h/" ARN, NULL, NULL, NULL },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_aws_target t;
        struct err e = { 0 };
        rc_t rc = kmsg_aws_target(cases[i].url, &t, &e);
        if (rc.failed != (cases[i].host == NULL))
            fail_msg("\"%s\"", cases[i].url);
        assert_string_equal(t.host, cases[i].host ? cases[i].host : "");
        assert_string_equal(t.region, cases[i].host ? cases[i].region : "");
        if (cases[i].host)
            assert_string_equal(t.partition, cases[i].partition);
    }
}

static struct kmsg_aws_target target(void)
{
    struct kmsg_aws_target t;
    struct err e = { 0 };

    CHECK_RC_OK(kmsg_aws_target("aws-kms:///" ARN, &t, &e), &e);
    return t;
}

static void requests_are_exact(void **state)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct kmsg_aws_target t = target();
    (void)state;

    kmsg_aws_describe_body(&t, &b);
    assert_string_equal(buf_cstr(&b), "{\"KeyId\":\"" ARN "\"}");
    buf_clear(&b);
    kmsg_aws_tags_body(&t, "", &b);
    assert_string_equal(buf_cstr(&b), "{\"KeyId\":\"" ARN "\",\"Limit\":50}");
    buf_clear(&b);
    kmsg_aws_tags_body(&t, "m", &b);
    assert_string_equal(buf_cstr(&b), "{\"KeyId\":\"" ARN "\",\"Limit\":50,\"Marker\":\"m\"}");
    buf_clear(&b);
    kmsg_aws_encrypt_body(&t, "orders", SLICE("\xff\xfe\xfd", 3), &b);
    assert_string_equal(buf_cstr(&b), "{\"KeyId\":\"" ARN
                                      "\",\"EncryptionContext\":{\"cofferdb-cluster\":\"orders\"},"
                                      "\"Plaintext\":\"//79\"}");
    buf_clear(&b);
    kmsg_aws_decrypt_body(&t, "orders", SLICE("\xff\xfe\xfd", 3), &b);
    assert_string_equal(buf_cstr(&b), "{\"KeyId\":\"" ARN
                                      "\",\"EncryptionContext\":{\"cofferdb-cluster\":\"orders\"},"
                                      "\"CiphertextBlob\":\"//79\"}");
    buf_clear(&b);
    kmsg_aws_web_identity_form("arn:aws:iam::1:role/a", slice_str("a.b+c"), &b);
    assert_string_equal(
        buf_cstr(&b),
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa"
        "&RoleSessionName=cofferdb&WebIdentityToken=a.b%2Bc");
    assert_true(kmsg_is_context("a cluster/1"));
    assert_false(kmsg_is_context(""));
    assert_false(kmsg_is_context("a\"b"));
    assert_false(kmsg_is_context("a\\b"));
    assert_false(kmsg_is_context("a\nb"));
    assert_true(kmsg_aws_is_version(MATERIAL));
    assert_true(kmsg_aws_is_version("0"));
    assert_false(kmsg_aws_is_version("1"));
    assert_false(kmsg_aws_is_version(""));
    assert_false(kmsg_aws_is_version("0" MATERIAL));
    assert_false(
        kmsg_aws_is_version("00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg"));
}

#define SAYS(type, message) "{\"__type\":\"" type "\",\"message\":\"" message "\"}"

static void answers_have_classes(void **state)
{
    static const struct class_case cases[] = {
        { 200, "{}", KMSG_OK, "" },
        { 400,
          SAYS(
              "AccessDeniedException",
              "User: arn:aws:iam::1:user/n is not authorized to perform: kms:Decrypt on resource: x"),
          KMSG_DENIED, "lacks the permission kms:Decrypt" },
        { 400, SAYS("AccessDeniedException", "The ciphertext refers to a key that you may not use"),
          KMSG_DENIED, "refers to a key" },
        { 400, "{\"__type\":\"com.amazonaws.kms#DisabledException\"}", KMSG_DENIED, "disabled" },
        { 400, SAYS("DisabledException:http://x", "a is disabled."), KMSG_DENIED, "disabled" },
        { 400, SAYS("KMSInvalidStateException", "a is pending deletion."), KMSG_DENIED,
          "pending deletion" },
        { 400, SAYS("KMSInvalidStateException", "a is pending import."), KMSG_DENIED, "imported" },
        { 400, SAYS("KMSInvalidStateException", "a is unavailable."), KMSG_UNREACHABLE,
          "unavailable" },
        { 400, SAYS("KMSInvalidStateException", "a is moonstruck."), KMSG_BAD, "moonstruck" },
        { 400, SAYS("NotFoundException", "Key 'a' does not exist"), KMSG_NOT_FOUND, "gone" },
        { 500, SAYS("KeyUnavailableException", ""), KMSG_UNREACHABLE, "unavailable" },
        { 503, SAYS("DependencyTimeoutException", ""), KMSG_UNREACHABLE, "timed out" },
        { 500, SAYS("KMSInternalException", ""), KMSG_UNREACHABLE, "inside" },
        { 400, SAYS("ThrottlingException", "Rate exceeded"), KMSG_THROTTLED, "limit" },
        { 400, SAYS("LimitExceededException", ""), KMSG_THROTTLED, "limit" },
        { 429, "", KMSG_THROTTLED, "429" },
        { 400, SAYS("UnrecognizedClientException", ""), KMSG_UNAUTHORIZED, "access key is gone" },
        { 400, SAYS("ExpiredTokenException", ""), KMSG_EXPIRED, "clock" },
        { 400, SAYS("InvalidSignatureException", ""), KMSG_EXPIRED, "clock" },
        { 400, SAYS("InvalidCiphertextException", ""), KMSG_BAD, "key-context" },
        { 400, SAYS("IncorrectKeyException", ""), KMSG_BAD, "another key" },
        { 400, SAYS("ValidationException", "no"), KMSG_BAD, "ValidationException: no" },
        { 403, "<html>", KMSG_BAD, "403" },
        { 404, "{}", KMSG_BAD, "404" },
        { 302, SAYS("AccessDeniedException", ""), KMSG_BAD, "302" },
        { 502, "<html>", KMSG_UNREACHABLE, "502" },
        { 408, "", KMSG_UNREACHABLE, "408" },
    };
    (void)state;

    check_classes(kmsg_aws_classify, cases, ARRAY_LEN(cases));
}

#define META(more)                                                                                 \
    "{\"KeyMetadata\":{\"Arn\":\"" ARN "\",\"KeySpec\":\"SYMMETRIC_DEFAULT\","                     \
    "\"KeyUsage\":\"ENCRYPT_DECRYPT\"" more "}}"

static void a_key_is_described(void **state)
{
    static const struct {
        const char *body;
        enum err_code code;
        const char *version;
        bool enabled;
        int64_t expires_s;
    } cases[] = {
        { META(",\"KeyState\":\"Enabled\",\"CurrentKeyMaterialId\":\"" MATERIAL "\""), ERR_NONE,
          MATERIAL, true, 0 },
        { META(",\"KeyState\":\"Disabled\",\"CurrentKeyMaterialId\":\"" MATERIAL "\""), ERR_NONE,
          MATERIAL, false, 0 },
        { META(",\"KeyState\":\"Enabled\",\"ValidTo\":1.8e9"), ERR_NONE, "0", true, 1800000000 },
        { META(",\"KeyState\":\"Updating\""), ERR_NONE, "0", true, 0 },
        { META(",\"KeyState\":\"PendingDeletion\""), ERR_KEY_DENIED, "", false, 0 },
        { META(",\"KeyState\":\"PendingImport\""), ERR_KEY_DENIED, "", false, 0 },
        { META(",\"KeyState\":\"Unavailable\""), ERR_KEY_UNREACHABLE, "", false, 0 },
        { META(",\"KeyState\":\"Moonstruck\""), ERR_KEY_BAD_ANSWER, "", false, 0 },
        { META(""), ERR_KEY_BAD_ANSWER, "", false, 0 },
        { META(",\"KeyState\":\"Enabled\",\"ValidTo\":\"never\""), ERR_KEY_BAD_ANSWER, "", false,
          0 },
        { META(",\"KeyState\":\"Enabled\",\"CurrentKeyMaterialId\":\"x\""), ERR_KEY_BAD_ANSWER, "",
          false, 0 },
        { META(",\"KeyState\":\"Enabled\",\"CurrentKeyMaterialId\":7"), ERR_KEY_BAD_ANSWER, "",
          false, 0 },
        { "{\"KeyMetadata\":{\"Arn\":\"" ARN
          "\",\"KeySpec\":\"RSA_2048\",\"KeyUsage\":\"ENCRYPT_DECRYPT\","
          "\"KeyState\":\"Enabled\"}}",
          ERR_CONFIG, "", false, 0 },
        { "{\"KeyMetadata\":{\"Arn\":\"" ARN
          "\",\"KeySpec\":\"SYMMETRIC_DEFAULT\",\"KeyUsage\":\"GENERATE_VERIFY_MAC\","
          "\"KeyState\":\"Enabled\"}}",
          ERR_CONFIG, "", false, 0 },
        { META(",\"KeyState\":\"Enabled\",\"ValidTo\":0"), ERR_KEY_BAD_ANSWER, "", false, 0 },
        { META(",\"KeyState\":\"Enabled\",\"ValidTo\":1e300"), ERR_KEY_BAD_ANSWER, "", false, 0 },
        { "{\"KeyMetadata\":{\"Arn\":\"" ARN
          "0\",\"KeySpec\":\"SYMMETRIC_DEFAULT\",\"KeyUsage\":\"ENCRYPT_DECRYPT\","
          "\"KeyState\":\"Enabled\"}}",
          ERR_KEY_BAD_ANSWER, "", false, 0 },
        { "{}", ERR_KEY_BAD_ANSWER, "", false, 0 },
        { "[]", ERR_KEY_BAD_ANSWER, "", false, 0 },
    };
    struct kmsg_aws_target t = target();
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_aws_key k;
        struct err e = { 0 };
        struct kmsg_reply r = reply(200, cases[i].body);
        (void)!kmsg_aws_read_key(&r, &t, &k, &e).failed;
        if (e.code != cases[i].code)
            fail_msg("%s: %d %s", cases[i].body, (int)e.code, e.msg);
        assert_string_equal(k.version, cases[i].version);
        assert_int_equal(k.enabled, cases[i].enabled);
        assert_int_equal(k.expires_s, cases[i].expires_s);
    }
}

static void values_are_checked(void **state)
{
    static const struct {
        const char *body;
        const char *version; /* NULL: refused */
    } plain[] = {
        { "{\"KeyId\":\"" ARN "\",\"Plaintext\":\"" PLAIN "\",\"KeyMaterialId\":\"" MATERIAL "\"}",
          MATERIAL },
        { "{\"KeyId\":\"" ARN "\",\"Plaintext\":\"" PLAIN "\"}", "0" },
        { "{\"KeyId\":\"" ARN "\",\"Plaintext\":\"" PLAIN "\",\"KeyMaterialId\":\"1\"}", NULL },
        { "{\"KeyId\":\"x\",\"Plaintext\":\"" PLAIN "\"}", NULL },
        { "{\"Plaintext\":\"" PLAIN "\"}", NULL },
        { "{\"KeyId\":\"" ARN "\",\"Plaintext\":\"AAAA\"}", NULL },
        { "{\"KeyId\":\"" ARN "\",\"Plaintext\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}",
          NULL },
        { "{\"KeyId\":\"" ARN "\"}", NULL },
    };
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct kmsg_aws_target t = target();
    char version[KMSG_AWS_VERSION_MAX];
    struct err e = { 0 };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        struct kmsg_reply r = reply(200, plain[i].body);
        bool failed = kmsg_aws_read_plaintext(&r, &t, 32, &b, version, &e).failed;
        if (failed != (plain[i].version == NULL))
            fail_msg("%s", plain[i].body);
        assert_int_equal(b.len, failed ? 0 : 32);
        assert_string_equal(version, failed ? "" : plain[i].version);
        buf_wipe(&b);
        err_reset(&e);
    }
    struct kmsg_reply r = reply(200, "{\"KeyId\":\"" ARN "\",\"CiphertextBlob\":\"AQID\"}");
    CHECK_RC_OK(kmsg_aws_read_ciphertext(&r, &t, &b, &e), &e);
    assert_true(slice_eq(buf_view(&b), SLICE("\1\2\3", 3)));
    static const char *const bad[] = { "{\"KeyId\":\"" ARN "\",\"CiphertextBlob\":\"\"}",
                                       "{\"KeyId\":\"" ARN "\",\"CiphertextBlob\":\"A\"}",
                                       "{\"KeyId\":\"x\",\"CiphertextBlob\":\"AQID\"}", "{}" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_clear(&b);
        r = reply(200, bad[i]);
        CHECK_RC_FAILS(kmsg_aws_read_ciphertext(&r, &t, &b, &e), &e, ERR_KEY_BAD_ANSWER);
        assert_int_equal(b.len, 0);
    }
}

static void tags_are_read(void **state)
{
    static const char grace[] = "coffer-grace-period";
    static const struct {
        const char *body;
        bool ok, has, malformed;
        int64_t ms;
        const char *marker;
    } cases[] = {
        { "{\"Tags\":[],\"Truncated\":false}", true, false, false, 0, "" },
        { "{\"Tags\":[]}", true, false, false, 0, "" },
        { "{\"Tags\":[{\"TagKey\":\"a\",\"TagValue\":\"\"},{\"TagKey\":\"coffer-grace-period\",\"TagValue\":\"10min\"}]}",
          true, true, false, 600000, "" },
        { "{\"Tags\":[{\"TagKey\":\"coffer-grace-period\",\"TagValue\":\"soon\"}]}", true, false,
          true, 0, "" },
        { "{\"Tags\":[{\"TagKey\":\"Coffer-Grace-Period\",\"TagValue\":\"1s\"}]}", true, false,
          false, 0, "" },
        { "{\"Tags\":[],\"Truncated\":true,\"NextMarker\":\"a+/=\"}", true, false, false, 0,
          "a+/=" },
        { "{\"Tags\":[],\"Truncated\":false,\"NextMarker\":\"a\"}", true, false, false, 0, "" },
        { "{\"Tags\":[],\"Truncated\":true}", false, false, false, 0, "" },
        { "{\"Tags\":[],\"Truncated\":true,\"NextMarker\":\"\"}", false, false, false, 0, "" },
        { "{\"Tags\":[],\"Truncated\":true,\"NextMarker\":\"a\\\"b\"}", false, false, false, 0,
          "" },
        { "{\"Tags\":[],\"Truncated\":1}", false, false, false, 0, "" },
        { "{\"Tags\":[{\"TagKey\":\"coffer-grace-period\"}]}", false, false, false, 0, "" },
        { "{\"Tags\":[1]}", false, false, false, 0, "" },
        { "{\"Tags\":{}}", false, false, false, 0, "" },
        { "{}", false, false, false, 0, "" },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_reply r = { .status = 200, .is_json = true, .body = slice_str(cases[i].body) };
        struct kmsg_aws_tags t;
        struct err e = { 0 };
        if (kmsg_aws_read_tags(&r, &t, &e).failed == cases[i].ok)
            fail_msg("case %zu: %s", i, e.msg);
        assert_int_equal(e.code, cases[i].ok ? ERR_NONE : ERR_KEY_BAD_ANSWER);
        assert_true(t.has_grace == cases[i].has && t.grace_malformed == cases[i].malformed);
        assert_int_equal(t.grace_ms, cases[i].ms);
        assert_string_equal(t.marker, cases[i].marker);
        assert_true(!t.has_grace || strstr(cases[i].body, grace));
    }
}

static void what_is_done_is_said_with_nothing(void **state)
{
    static const struct {
        int status;
        bool is_json;
        const char *body;
        bool ok;
    } cases[] = {
        { 200, true, "", true },     { 200, false, "", true },          { 200, true, "{}", true },
        { 200, false, "{}", false }, { 200, true, "{\"a\":1}", false }, { 200, true, "[]", false },
        { 200, true, "<", false },   { 204, true, "", false },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_reply r = { .status = cases[i].status,
                                .is_json = cases[i].is_json,
                                .body = slice_str(cases[i].body) };
        char cause[KMSG_CAUSE_MAX];
        struct err e = { 0 };
        if (kmsg_aws_read_done(&r, &e).failed == cases[i].ok)
            fail_msg("case %zu", i);
        assert_int_equal(e.code, cases[i].ok ? ERR_NONE : ERR_KEY_BAD_ANSWER);
        assert_true(!cases[i].ok || kmsg_aws_classify(&r, cause) == KMSG_OK);
    }
}

static void profiles_are_read(void **state)
{
    static const char file[] =
        "[default]\r\naws_access_key_id = AKIA1\r\naws_secret_access_key=s1/+\r\n"
        "# [other]\n[ other ]\naws_session_token = t2==\n aws_secret_access_key = s2\n"
        "region = x\naws_access_key_id=AKIA2\n[half]\naws_access_key_id=AKIA3\n"
        "[wrong]\naws_access_key_id=A/B\naws_secret_access_key=s";
    AUTO(buf_wipe) struct buf b = BUF_INIT;
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(kmsg_aws_read_profile(slice_str(file), "default", &b, &e), &e);
    struct kmsg_aws_credential c = kmsg_aws_credential_of(&b);
    assert_string_equal(c.access_key, "AKIA1");
    assert_string_equal(c.secret_key, "s1/+");
    assert_string_equal(c.token, "");
    buf_wipe(&b);
    CHECK_RC_OK(kmsg_aws_read_profile(slice_str(file), "other", &b, &e), &e);
    c = kmsg_aws_credential_of(&b);
    assert_string_equal(c.access_key, "AKIA2");
    assert_string_equal(c.secret_key, "s2");
    assert_string_equal(c.token, "t2==");
    buf_wipe(&b);
    CHECK_RC_FAILS(kmsg_aws_read_profile(slice_str(file), "half", &b, &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(kmsg_aws_read_profile(slice_str(file), "wrong", &b, &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(kmsg_aws_read_profile(slice_str(file), "none", &b, &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(kmsg_aws_read_profile(SLICE(file, sizeof file), "default", &b, &e), &e,
                   ERR_CONFIG); /* a NUL in it */
    assert_int_equal(b.len, 0);
}

#define DOCUMENT(until)                                                                            \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","   \
    "\"Expiration\":\"" until "\"}"
#define STS(until)                                                                                      \
    "{\"AssumeRoleWithWebIdentityResponse\":{\"AssumeRoleWithWebIdentityResult\":{\"Credentials\":"     \
    "{\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"s\",\"SessionToken\":\"t\",\"Expiration\":" until \
    "}}}}"

static void credentials_have_a_life(void **state)
{
    static const struct {
        const char *body;
        int64_t life_s; /* at 2026-01-01T00:00:00Z; 0: refused */
        bool sts;
    } cases[] = {
        { DOCUMENT("2026-01-01T01:00:00Z"), 3600, false },
        { DOCUMENT("2026-01-01T01:00:00.25Z"), 3600, false },
        { DOCUMENT("2027-01-01T00:00:00Z"), 604800, false },
        { DOCUMENT("2026-01-01T00:00:00Z"), 0, false },
        { DOCUMENT("2026-01-01T01:00:00+00:00"), 0, false },
        { DOCUMENT("tomorrow"), 0, false },
        { "{\"AccessKeyId\":\"ASIA1\",\"SecretAccessKey\":\"s\",\"Expiration\":\"2026-01-01T01:00:00Z\"}",
          0, false },
        { "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\\nX: y\",\"Token\":\"t\",\"Expiration\":\"2026-01-01T01:00:00Z\"}",
          0, false },
        { "[]", 0, false },
        { STS("1767229200.5"), 3600, true },
        { STS("1767225600"), 0, true },
        { STS("\"1767229200\""), 0, true },
        { STS("1e300"), 0, true },
        { "{\"AssumeRoleWithWebIdentityResponse\":{}}", 0, true },
    };
    AUTO(buf_wipe) struct buf b = BUF_INIT;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = { 0 };
        int64_t life_s;
        struct kmsg_reply r = reply(200, cases[i].body);
        r.date_s = 1767225600;
        bool failed = (cases[i].sts ? kmsg_aws_read_sts(&r, 7, &b, &life_s, &e)
                                    : kmsg_aws_read_credential(&r, 7, &b, &life_s, &e))
                          .failed;
        if (failed != (cases[i].life_s == 0) || life_s != cases[i].life_s)
            fail_msg("%s: %lld, %s", cases[i].body, (long long)life_s, e.msg);
        if (!failed)
            assert_string_equal(kmsg_aws_credential_of(&b).token, "t");
        assert_true(failed == (b.len == 0));
        buf_wipe(&b);
    }
}

static void givers_of_credentials_have_classes(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum kmsg_class sts, metadata;
    } cases[] = {
        { 200, "{}", KMSG_OK, KMSG_OK },
        { 200, "{\"Code\":\"AssumeRoleUnauthorizedAccess\"}", KMSG_OK, KMSG_DENIED },
        { 200, "{\"Code\":\"Failed\"}", KMSG_OK, KMSG_UNREACHABLE },
        { 403, "{\"Error\":{\"Code\":\"AccessDenied\",\"Message\":\"no\"}}", KMSG_DENIED,
          KMSG_BAD },
        { 400,
          "{\"Error\":{\"Code\":\"InvalidIdentityToken\",\"Message\":\"No OpenIDConnect provider found in your account\"}}",
          KMSG_DENIED, KMSG_BAD },
        { 400,
          "{\"Error\":{\"Code\":\"InvalidIdentityToken\",\"Message\":\"Couldn't retrieve verification key from your identity provider\"}}",
          KMSG_UNREACHABLE, KMSG_BAD },
        { 400, "{\"Error\":{\"Code\":\"InvalidIdentityToken\",\"Message\":\"odd\"}}", KMSG_BAD,
          KMSG_BAD },
        { 400, "{\"Error\":{\"Code\":\"ExpiredTokenException\"}}", KMSG_BAD, KMSG_BAD },
        { 400, "{\"Error\":{\"Code\":\"Throttling\"}}", KMSG_THROTTLED, KMSG_BAD },
        { 400, "{\"code\":\"AccessDeniedException\"}", KMSG_BAD, KMSG_DENIED },
        { 404, "<html>", KMSG_BAD, KMSG_UNREACHABLE },
        { 429, "", KMSG_THROTTLED, KMSG_THROTTLED },
        { 503, "", KMSG_UNREACHABLE, KMSG_UNREACHABLE },
        { 301, "", KMSG_BAD, KMSG_BAD },
    };
    char cause[KMSG_CAUSE_MAX];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kmsg_reply r = reply(cases[i].status, cases[i].body);
        if (kmsg_aws_classify_sts(&r, cause) != cases[i].sts ||
            kmsg_aws_classify_metadata(&r, "place", cause) != cases[i].metadata)
            fail_msg("%d %s: %s", cases[i].status, cases[i].body, cause);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_name_a_key),
        cmocka_unit_test(requests_are_exact),
        cmocka_unit_test(answers_have_classes),
        cmocka_unit_test(a_key_is_described),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(tags_are_read),
        cmocka_unit_test(what_is_done_is_said_with_nothing),
        cmocka_unit_test(profiles_are_read),
        cmocka_unit_test(credentials_have_a_life),
        cmocka_unit_test(givers_of_credentials_have_classes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
