/* test_entropy.c - a kernel whose random bytes are always the same: nothing is started with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <sys/random.h>

#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"

static bool constant = true;
static uint8_t next;

/* In the place of the C library's. */
ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = constant ? 42 : next++;
    return (ssize_t)len;
}

static void a_source_that_repeats_itself_is_refused(void **state)
{
    uint8_t bytes[4] = { 0 }, same[4] = { 42, 42, 42, 42 };
    struct err e = { 0 };

    (void)state;
    assert_false(random_bytes(bytes, sizeof(bytes), &e).failed);
    /* the control: it is this source that is asked */
    assert_memory_equal(bytes, same, sizeof(bytes));
    assert_true(crypto_init(&e).failed);
    assert_int_equal(e.code, ERR_CRYPTO);
    assert_non_null(strstr(e.msg, "repeats itself"));
    assert_string_equal(crypto_engine(), "none");
    err_reset(&e);
    constant = false;
    assert_false(crypto_init(&e).failed);
    assert_string_not_equal(crypto_engine(), "none");
}

static int group_setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(1 << 18, &e).failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_source_that_repeats_itself_is_refused) };

    return cmocka_run_group_tests(tests, group_setup, NULL);
}
