/* test_rate.c - the limit holds in every 10 seconds, and the wait that is told is long enough and no longer. */
#include "base/text.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"

static void no_window_sees_more_than_the_limit(void **state)
{
    enum { SECONDS = 400, LIMIT = 37 };
    uint32_t taken[SECONDS] = { 0 };
    struct rate r = { 0 };
    uint64_t seed = 1;

    (void)state;
    for (int s = 0; s < SECONDS; s++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        for (unsigned i = 0, n = (unsigned)(seed >> 60); i < n; i++) {
            uint32_t cost = (seed >> (20 + i)) % 8 + 1;
            if (vault__rate_take(&r, LIMIT, cost, (uint64_t)s + 1000) == 0)
                taken[s] += cost;
        }
    }
    uint32_t most = 0;
    for (int from = 0; from + RATE_SLOTS <= SECONDS; from++) {
        uint32_t sum = 0;
        for (int s = from; s < from + RATE_SLOTS; s++)
            sum += taken[s];
        most = sum > most ? sum : most;
    }
    assert_true(most <= LIMIT);
    assert_true(most > LIMIT - 8); /* and the limit is reached */
}

static void the_wait_is_exact(void **state)
{
    struct rate r = { 0 };

    (void)state;
    assert_int_equal(vault__rate_take(&r, 10, 6, 100), 0);
    assert_int_equal(vault__rate_take(&r, 10, 4, 103), 0);
    for (uint64_t now = 103; now <= 110; now++)
        assert_int_equal(vault__rate_take(&r, 10, 1, now), 111 - now);
    assert_int_equal(vault__rate_take(&r, 10, 7, 110), 4); /* until what came at 103 is gone too */
    assert_int_equal(vault__rate_take(&r, 10, 6, 111), 0);
    assert_int_equal(vault__rate_take(&r, 10, 4, 112), 2);
    /* more than the limit fits into an idle vault */
    assert_int_equal(vault__rate_take(&r, 10, 99, 200), 0);
    assert_int_equal(vault__rate_take(&r, 10, 1, 200), 11);
    assert_int_equal(vault__rate_take(&r, 0, 99, 200), 0); /* no limit */
    struct rate young = { 0 };                             /* a clock that just began */
    assert_int_equal(vault__rate_take(&young, 2, 2, 0), 0);
    assert_int_equal(vault__rate_take(&young, 2, 1, 1), 1 + RATE_WINDOW_S - 1);
}

static int get_at(struct vaultfix *f, const char *vault, json_t **answer)
{
    return vaultfix_call_at(f, vault, "GET", "/keys" V, "", answer);
}

/* Seven vaults of one subscription, which may do five times what one may; another has its own. */
static void a_subscription_has_a_limit(void **state)
{
    enum { LIMIT = 10, VAULTS = 7 };
    static const char of[] = "{\"subscriptionId\":\"%s\",\"properties\":{\"throttling\":{"
                             "\"createPer10Seconds\":5,\"otherPer10Seconds\":%d}}}";
    static const char *const ids[] = { "11111111-2222-3333-4444-555555555555",
                                       "66666666-2222-3333-4444-555555555555" };
    struct vaultfix *f = *state;
    int done = 0, refused = 0;
    struct err e = { 0 };
    json_t *j;

    for (int i = 0; i <= VAULTS; i++) {
        AUTO(mem_freep) char *settings = mem_printf(of, ids[i == VAULTS], LIMIT);
        AUTO(mem_freep) char *name = mem_printf("vault%d", i);
        CHECK_RC_OK(vault_put_vault(f->vault, name, slice_str(settings), &e), &e);
        CHECK_RC_OK(vault_grant(f->vault, name, "operator", "crypto-officer", &e), &e);
    }
    uint64_t began_us = clock_mono_us();
    for (int i = 0; i < VAULTS * LIMIT; i++) {
        AUTO(mem_freep) char *name = mem_printf("vault%d", i % VAULTS);
        int got = get_at(f, name, &j);
        if (got == 200) {
            done++;
        } else {
            assert_int_equal(got, 429);
            assert_non_null(strstr(kjson_str(json_object_get(j, "error"), "message"),
                                   "SubscriptionRequestTypeLimitReached"));
            refused++;
        }
        json_decref(j);
    }
    /* no vault has done more than it may; a machine so slow that the window passed proves nothing */
    if (clock_mono_us() - began_us < (uint64_t)(RATE_WINDOW_S - 1) * 1000000) {
        assert_int_equal(done, 5 * LIMIT);
        assert_int_equal(refused, (VAULTS - 5) * LIMIT);
    }
    assert_int_equal(get_at(f, "vault7", NULL), 200);
    assert_int_equal(get_at(f, "main", NULL), 200);
    /* keys that are made have a limit of their own */
    int made = 0;
    mutex_lock(&f->vault->lock);
    for (int i = 0; i < VAULTS * 5; i++) {
        AUTO(mem_freep) char *name = mem_printf("vault%d", i % VAULTS);
        bool by_subscription;
        struct keyvault *kv = vault__find_vault(f->vault, name);
        uint32_t wait_s =
            vault__rate_take_both(f->vault, kv, /* creates= */ true, 1, 1000, &by_subscription);
        assert_true(by_subscription == (wait_s > 0));
        made += wait_s == 0;
    }
    mutex_unlock(&f->vault->lock);
    assert_int_equal(made, 5 * 5);
}

static int ask(struct vaultfix *f, const char *method, const char *path, const char *body,
               int64_t *retry_after)
{
    struct http_answer a;
    char *url = mem_printf("%s%s", f->url, path);
    char *header = mem_printf("Authorization: Bearer %s", f->token_op);
    const char *headers[] = { header, NULL };
    struct http_call q = { .method = method,
                           .url = url,
                           .headers = headers,
                           .body = slice_str(body),
                           .content_type = "application/json",
                           .deadline_us = clock_mono_us() + 20000000 };

    http_client_call(f->client, &q, &a);
    assert_int_equal(a.outcome, HTTP_OUT_ANSWER);
    int status = a.status;
    *retry_after = a.retry_after_s;
    if (status == 429)
        assert_non_null(strstr(buf_cstr(&a.body), "VaultRequestTypeLimitReached"));
    http_answer_fini(&a);
    mem_free(url);
    mem_free(header);
    return status;
}

static void past_the_rate_one_is_told_when_to_come_back(void **state)
{
    struct vaultfix *f = vaultfix_start();
    struct err e = { 0 };
    int64_t after;
    int refused = 0;

    (void)state;
    CHECK_RC_OK(
        vault_put_vault(
            f->vault, "main",
            slice_str(
                "{\"properties\":{\"throttling\":{\"createPer10Seconds\":1,\"otherPer10Seconds\":5}}}"),
            &e),
        &e);
    for (int i = 0; i < 30 && refused < 3; i++) {
        int status = ask(f, "GET", "/keys/data/" V, NULL, &after);
        if (status == 429) {
            assert_in_range(after, 1, RATE_SLOTS);
            refused++;
        } else {
            assert_int_equal(status, 200);
        }
    }
    assert_int_equal(refused, 3);
    /* making keys is counted apart, and what is refused for another reason comes first */
    assert_int_equal(ask(f, "POST", "/keys/k/create" V, "{\"kty\":\"RSA\"}", &after), 200);
    assert_int_equal(ask(f, "GET", "/keys/data/", NULL, &after), 400);
    /* no limit */
    CHECK_RC_OK(
        vault_put_vault(
            f->vault, "main",
            slice_str(
                "{\"properties\":{\"throttling\":{\"createPer10Seconds\":0,\"otherPer10Seconds\":0}}}"),
            &e),
        &e);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask(f, "GET", "/keys/data/" V, NULL, &after), 200);
    vaultfix_stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_window_sees_more_than_the_limit),
        cmocka_unit_test(the_wait_is_exact),
        cmocka_unit_test(past_the_rate_one_is_told_when_to_come_back),
        cmocka_unit_test_setup_teardown(a_subscription_has_a_limit, vaultfix_setup,
                                        vaultfix_teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
