/* Signed text: written, read, and refused when any byte of it is another. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/evidence.h"
#include "base/file.h"
#include "base/mem.h"
#include "crypto/secret.h"

static const char body[] = "{\"cluster\":\"cmk\"}\nmore\n";

static struct buf sign(const struct secret *key, uint8_t public_key[EVIDENCE_KEY_LEN])
{
    struct buf text = BUF_INIT, pem = BUF_INIT;
    struct err e = { 0 };

    buf_printf(&text, "%s", body);
    assert_false(evidence_sign(key, &text, &e).failed);
    assert_false(evidence_public(key, &pem, &e).failed);
    assert_false(evidence_read_public(buf_view(&pem), public_key, &e).failed);
    buf_fini(&pem);
    return text;
}

static struct secret *new_key(void)
{
    struct secret *key = NULL;
    struct err e = { 0 };

    assert_false(secret_random(32, &key, &e).failed);
    return key;
}

static bool holds(struct slice text, const uint8_t *trusted)
{
    struct slice got;
    struct err e = { 0 };
    bool failed = evidence_verify(text, trusted, &got, &e).failed;

    assert_true(!failed || (e.code == ERR_EVIDENCE_CHANGED && !got.len));
    assert_true(failed || slice_eq_str(got, body));
    err_reset(&e);
    return !failed;
}

static void every_changed_byte_is_refused(void **state)
{
    struct secret *key = new_key(), *other = new_key();
    uint8_t trusted[EVIDENCE_KEY_LEN], untrusted[EVIDENCE_KEY_LEN];
    struct buf text = sign(key, trusted), again = sign(key, trusted),
               foreign = sign(other, untrusted);

    (void)state;
    assert_true(slice_eq(buf_view(&text), buf_view(&again)));
    assert_true(holds(buf_view(&text), trusted));
    for (size_t i = 0; i < text.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text.p[i] ^= (uint8_t)(1u << bit);
            assert_false(holds(buf_view(&text), trusted));
            text.p[i] ^= (uint8_t)(1u << bit);
        }
    }
    for (size_t len = 0; len < text.len; len++)
        assert_false(holds(SLICE(text.p, len), trusted));
    buf_push_u8(&again, '\n');
    assert_false(holds(buf_view(&again), trusted));
    assert_true(holds(buf_view(&foreign), untrusted));
    assert_false(holds(buf_view(&foreign), trusted));
    secret_free(key);
    secret_free(other);
    buf_fini(&text);
    buf_fini(&again);
    buf_fini(&foreign);
}

static void a_key_is_made_once_and_kept(void **state)
{
    char dir[] = "/tmp/evidence-XXXXXX";
    struct secret *one = NULL, *two = NULL;
    struct err e = { 0 };
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    AUTO(mem_freep) char *path = mem_printf("%s/key", dir);
    assert_false(evidence_key(path, &one, &e).failed);
    assert_false(evidence_key(path, &two, &e).failed);
    assert_true(secret_equal(one, two));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    secret_free(two);
    assert_false(file_write_atomic(path, 0600, SLICE_LIT("00"), &e).failed);
    assert_true(evidence_key(path, &two, &e).failed);
    assert_int_equal(e.code, ERR_CONFIG);
    assert_null(two);
    err_reset(&e);
    secret_free(one);
    unlink(path);
    rmdir(dir);
}

static void what_is_no_public_key_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n",
    };
    uint8_t out[EVIDENCE_KEY_LEN];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err e = { 0 };
        assert_true(evidence_read_public(slice_str(texts[i]), out, &e).failed);
        assert_int_equal(e.code, ERR_CONFIG);
        err_reset(&e);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_byte_is_refused),
        cmocka_unit_test(a_key_is_made_once_and_kept),
        cmocka_unit_test(what_is_no_public_key_is_refused),
    };
    struct err e = { 0 };

    if (secret_arena_init(65536, &e).failed)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
