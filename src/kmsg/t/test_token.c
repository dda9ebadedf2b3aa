/* test_token.c - what a node sends to prove itself, and what Azure's token endpoints say when they do not believe it. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "crypto/aead.h"
#include "crypto/rsa.h"
#include "crypto/secret.h"
#include "kmsg/kjson.h"
#include "kmsg/kmsg_jwt.h"
#include "kmsg/kmsg_token.h"
#include "rfc7515_key.h"
#include "unit.h"

static void forms_are_escaped(void **state)
{
    struct buf b = BUF_INIT;
    struct slice none = { 0 };
    (void)state;

    kmsg_token_form("id", "https://vault.azure.net", slice_str("a&b=c d+~%"), none, &b);
    assert_string_equal(buf_cstr(&b), "grant_type=client_credentials&client_id=id"
                                      "&scope=https%3A%2F%2Fvault.azure.net%2F.default"
                                      "&client_secret=a%26b%3Dc%20d%2B~%25");
    buf_clear(&b);
    kmsg_token_form("i d", "https://managedhsm.azure.net/", none, slice_str("h.c.s"), &b);
    assert_string_equal(
        buf_cstr(&b),
        "grant_type=client_credentials&client_id=i%20d"
        "&scope=https%3A%2F%2Fmanagedhsm.azure.net%2F.default"
        "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        "&client_assertion=h.c.s");
    buf_fini(&b);
}

static void arc_names_a_file_of_its_own_directory(void **state)
{
    static const struct {
        const char *challenge, *path; /* NULL: refused */
    } cases[] = {
        { "Basic realm=/v/tokens/ab12.key", "/v/tokens/ab12.key" },
        { "Basic realm=\"/v/tokens/ab12.key\"", "/v/tokens/ab12.key" },
        { "Basic realm=/v/tokens/../../etc/shadow.key", NULL },
        { "Basic realm=/v/tokens/sub/x.key", NULL },
        { "Basic realm=/v/tokens/.key", NULL },
        { "Basic realm=/v/tokens/x.pem", NULL },
        { "Basic realm=/v/tokensx.key", NULL },
        { "Basic realm=/etc/x.key", NULL },
        { "Basic realm=", NULL },
        { "Bearer authorization=\"https://evil.example\"", NULL },
        { "", NULL },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf path = BUF_INIT;
        bool taken = kmsg_token_arc_file(cases[i].challenge, "/v/tokens/", &path);
        assert_true(taken == (cases[i].path != NULL));
        assert_string_equal(buf_cstr(&path), taken ? cases[i].path : "");
        buf_fini(&path);
    }
}

static void entras_numbers_have_their_class(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum kmsg_class class;
    } cases[] = {
        { 401, "{\"error\":\"invalid_client\",\"error_codes\":[7000215]}", KMSG_DENIED },
        { 401, "{\"error\":\"invalid_client\",\"error_codes\":[7000222]}", KMSG_DENIED },
        { 400, "{\"error\":\"unauthorized_client\",\"error_codes\":[700016]}", KMSG_DENIED },
        { 400, "{\"error\":\"invalid_request\",\"error_codes\":[90002]}", KMSG_DENIED },
        { 400, "{\"error\":\"invalid_client\",\"error_codes\":[1,700213]}", KMSG_DENIED },
        /* a clock that is off takes no key away, whatever the status */
        { 401, "{\"error\":\"invalid_client\",\"error_codes\":[700024]}", KMSG_BAD },
        { 400, "{\"error\":\"invalid_resource\",\"error_codes\":[500011]}", KMSG_BAD },
        { 400, "{\"error\":\"invalid_scope\",\"error_codes\":[\"700016\"]}", KMSG_BAD },
        { 400, "{\"error\":\"temporarily_unavailable\",\"error_codes\":[90033]}",
          KMSG_UNREACHABLE },
        { 400, "{\"error\":\"temporarily_unavailable\"}", KMSG_UNREACHABLE },
        { 400, "{\"error_codes\":[700016]}", KMSG_BAD },
        { 401, "<html>", KMSG_BAD },
        { 503, "", KMSG_UNREACHABLE },
        { 429, "{}", KMSG_THROTTLED },
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char cause[KMSG_CAUSE_MAX];
        struct kmsg_reply r = { .status = cases[i].status,
                                .is_json = true,
                                .body = slice_str(cases[i].body) };
        enum kmsg_class class = kmsg_token_classify(&r, cause);
        if (class != cases[i].class)
            fail_msg("case %zu: class %d: %s", i, class, cause);
        assert_true(*cause);
    }
}

/* The text is header.claims.signature; with RS256 the signature is the one that RSA makes of the first two. */
static void assertions_are_signed(void **state)
{
    struct secret *key;
    struct buf token = BUF_INIT, sig = BUF_INIT, want = BUF_INIT;
    struct err e = { 0 };
    AUTO(kjson_freep) json_t *header = json_object();
    AUTO(kjson_freep) json_t *claims = json_object();
    (void)state;

    CHECK_RC_OK(rsa_private_from_pem(slice_str(rfc7515_pem), &key, &e), &e);
    json_object_set_new(claims, "iss", json_string("joe \"x\""));
    CHECK_RC_OK(kmsg_jwt(KMSG_JWT_RS256, header, claims, key, &token, &e), &e);
    /* {"alg":"RS256","typ":"JWT"} . {"iss":"joe \"x\""} */
    static const char start[] = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJqb2UgXCJ4XCIifQ";
    assert_memory_equal(token.p, start, sizeof start - 1);
    CHECK_RC_OK(rsa_sign_sha256(key, slice_str(start), &sig, &e), &e);
    buf_printf(&want, "%s.", start);
    base64url_encode(buf_view(&sig), &want);
    assert_string_equal(buf_cstr(&token), buf_cstr(&want));
    secret_free(key);
    buf_fini(&token);
    buf_fini(&sig);
    buf_fini(&want);
}

int main(void)
{
    struct err e = { 0 };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_escaped),
        cmocka_unit_test(arc_names_a_file_of_its_own_directory),
        cmocka_unit_test(entras_numbers_have_their_class),
        cmocka_unit_test(assertions_are_signed),
    };

    if (secret_arena_init(1 << 20, &e).failed || crypto_init(&e).failed) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
