/* test_sigv4.c - signatures as AWS's own suite has them, and the bounds of what is signed. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "sigv4_vectors.h"
#include "unit.h"

static struct kmsg_sigv4 request_of(const struct sigv4_vector *v)
{
    size_t n = 0;

    while (n < ARRAY_LEN(v->headers) && v->headers[n].name)
        n++;
    return (struct kmsg_sigv4){
        .method = v->method,
        .path = v->path,
        .query = v->query,
        .headers = v->headers,
        .n_headers = n,
        .body = v->body,
        .date = SUITE_DATE,
        .region = SUITE_REGION,
        .service = SUITE_SERVICE,
    };
}

static void check_text(const char *name, const char *want, struct buf *got)
{
    if (strcmp(buf_cstr(got), want) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\"", name, buf_cstr(got), want);
    buf_clear(got);
}

static void the_suite_of_aws(void **state)
{
    AUTO(secret_freep) struct secret *key = NULL;
    AUTO(buf_fini) struct buf b = BUF_INIT;
    char to_sign[160];
    struct err e = { 0 };
    (void)state;

    CHECK_RC_OK(secret_from(SUITE_SECRET_KEY, strlen(SUITE_SECRET_KEY), &key, &e), &e);
    for (size_t i = 0; i < ARRAY_LEN(sigv4_vectors); i++) {
        const struct sigv4_vector *v = &sigv4_vectors[i];
        struct kmsg_sigv4 s = request_of(v);
        CHECK_RC_OK(kmsg_sigv4_canonical(&s, &b, &e), &e);
        check_text(v->name, v->canonical, &b);
        CHECK_RC_OK(kmsg_sigv4_string_to_sign(&s, &b, &e), &e);
        (void)snprintf(to_sign, sizeof to_sign,
                       "AWS4-HMAC-SHA256\n" SUITE_DATE "\n20150830/" SUITE_REGION "/" SUITE_SERVICE
                       "/aws4_request\n%s",
                       v->hash);
        check_text(v->name, to_sign, &b);
        CHECK_RC_OK(kmsg_sigv4_authorization(&s, SUITE_ACCESS_KEY, key, &b, &e), &e);
        assert_true(slice_has_prefix(
            buf_view(&b),
            SLICE_LIT("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/"
                      "aws4_request, SignedHeaders=")));
        char *signature = strstr(buf_cstr(&b), ", Signature=");
        assert_non_null(signature);
        if (strcmp(signature + strlen(", Signature="), v->signature) != 0)
            fail_msg("%s: %s instead of %s", v->name, signature, v->signature);
        buf_clear(&b);
    }
}

static void dates_are_written(void **state)
{
    char date[KMSG_SIGV4_DATE_LEN + 1];
    (void)state;

    kmsg_sigv4_date(SUITE_UNIX_S, date);
    assert_string_equal(date, SUITE_DATE);
    kmsg_sigv4_date(0, date);
    assert_string_equal(date, "19700101T000000Z");
    kmsg_sigv4_date(400000000000, date); /* the year 14645 has no such text */
    assert_string_equal(date, "");
}

static void too_much_is_refused(void **state)
{
    struct kmsg_sigv4_header headers[KMSG_SIGV4_PARTS_MAX + 1];
    AUTO(buf_fini) struct buf query = BUF_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct kmsg_sigv4 s = request_of(&sigv4_vectors[0]);
    struct err e = { 0 };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        headers[i] = (struct kmsg_sigv4_header){ "x", SLICE_LIT("y") };
        buf_printf(&query, "%sa=%zu", i ? "&" : "", i);
    }
    s.headers = headers;
    s.n_headers = KMSG_SIGV4_PARTS_MAX;
    CHECK_RC_OK(kmsg_sigv4_canonical(&s, &b, &e), &e);
    s.n_headers++;
    CHECK_RC_FAILS(kmsg_sigv4_canonical(&s, &b, &e), &e, ERR_BAD_VALUE);
    s.n_headers = 1;
    s.query = buf_view(&query);
    CHECK_RC_FAILS(kmsg_sigv4_canonical(&s, &b, &e), &e, ERR_BAD_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_suite_of_aws),
        cmocka_unit_test(dates_are_written),
        cmocka_unit_test(too_much_is_refused),
    };
    struct err e = { 0 };

    if (secret_arena_init(1 << 16, &e).failed)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
