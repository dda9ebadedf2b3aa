/* Arenas, buffers, maps. */
#include "unit.h"

#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"

static int order[4], n_order;

static void note(void *arg)
{
    order[n_order++] = (int)(intptr_t)arg;
}

static void arena_runs_defers_last_first(void **state)
{
    (void)state;
    n_order = 0;
    struct arena *a = arena_new(0);
    arena_defer(a, note, (void *)1);
    struct arena_mark m = arena_mark(a);
    arena_defer(a, note, (void *)2);
    arena_defer(a, note, (void *)3);
    arena_rewind(a, m);
    assert_int_equal(n_order, 2);
    assert_int_equal(order[0], 3);
    assert_int_equal(order[1], 2);
    arena_free(a);
    assert_int_equal(n_order, 3);
    assert_int_equal(order[2], 1);
}

static void arena_budget_is_an_error(void **state)
{
    (void)state;
    struct err e = { 0 };
    AUTO(arena_freep) struct arena *a = arena_new(1000);
    CHECK_RC_OK(arena_check(a, &e), &e);
    struct arena_mark m = arena_mark(a);
    memset(arena_alloc(a, 5000), 1, 5000);
    CHECK_RC_FAILS(arena_check(a, &e), &e, ERR_EXCEEDED_MEMORY_LIMIT);
    arena_rewind(a, m);
    CHECK_RC_OK(arena_check(a, &e), &e);
}

/* Past the limit of all together the large ones are over, whoever is to blame, and the small ones go on. */
static void arenas_have_a_limit_together(void **state)
{
    (void)state;
    struct err e = { 0 };
    size_t before = arena_all();
    AUTO(arena_freep) struct arena *greedy = arena_new(0), *large = arena_new(64 << 20),
                                   *small = arena_new(64 << 20);
    (void)arena_alloc(large, 4 << 20);
    (void)arena_alloc(small, 1000);
    assert_true(arena_all() >= before + (4 << 20));
    arena_limit_all(arena_all() + (32 << 20));
    assert_false(arena_scarce());
    (void)arena_alloc(greedy, 30 << 20);
    assert_true(arena_scarce());
    CHECK_RC_OK(arena_check(large, &e), &e);
    (void)arena_alloc(greedy, 30 << 20);
    CHECK_RC_OK(arena_check(small, &e), &e);
    /* it has no budget of its own: who owns it looks at arena_scarce() */
    CHECK_RC_OK(arena_check(greedy, &e), &e);
    assert_true(arena_check(large, &e).failed);
    assert_int_equal(e.code, ERR_EXCEEDED_MEMORY_LIMIT);
    assert_non_null(strstr(e.msg, "of all clients together"));
    err_reset(&e);
    arena_reset(greedy);
    CHECK_RC_OK(arena_check(large, &e), &e);
    assert_false(arena_scarce());
    arena_limit_all(0);
    arena_freep(&greedy);
    arena_freep(&large);
    arena_freep(&small);
    assert_int_equal(arena_all(), before);
}

static void arena_rewind_gives_back(void **state)
{
    (void)state;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    char *keep = arena_strdup(a, "keep");
    for (int round = 0; round < 1000; round++) {
        struct arena_mark m = arena_mark(a);
        for (int i = 0; i < 20; i++)
            memset(arena_alloc(a, 777), round, 777);
        arena_rewind(a, m);
        assert_string_equal(keep, "keep");
    }
    assert_true(arena_used(a) <= 32);
}

static void buf_grows(void **state)
{
    (void)state;
    AUTO(buf_fini) struct buf b = BUF_INIT;
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    assert_int_equal(b.len, 3890);
    assert_memory_equal(buf_cstr(&b), "0,1,2,", 6);
    buf_clear(&b);
    buf_push_be32(&b, 0x01020304);
    buf_push_le64(&b, 5);
    assert_int_equal(b.len, 12);
    assert_int_equal(get_be32(b.p), 0x01020304);
    assert_int_equal(get_le64(b.p + 4), 5);
}

/* A model: the map against an array, through many puts and deletes that make chains and holes. */
static void map_agrees_with_a_model(void **state)
{
    (void)state;
    enum { N = 500 };
    static int present[N], values[N];
    struct map *m = map_new();
    uint32_t seed = 7;
    size_t count = 0;
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t k = (seed >> 8) % N;
        struct slice key = SLICE(&k, sizeof(k));
        if (seed >> 31) {
            void *old = map_put(m, key, &values[k]);
            assert_int_equal(old != NULL, present[k]);
            count += !present[k];
            present[k] = 1;
        } else {
            void *old = map_del(m, key);
            assert_int_equal(old != NULL, present[k]);
            count -= (size_t)present[k];
            present[k] = 0;
        }
        assert_int_equal(map_count(m), count);
    }
    for (uint32_t k = 0; k < N; k++)
        assert_ptr_equal(map_get(m, SLICE(&k, sizeof(k))), present[k] ? &values[k] : NULL);
    size_t it = 0, seen = 0;
    struct slice key;
    void *value;
    while (map_next(m, &it, &key, &value))
        seen++;
    assert_int_equal(seen, count);
    map_free(m);
}

/* A walk that removes what it meets leaves nothing out, however the slots collide; ones that stay are met too. */
static void a_walk_may_remove(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 300; n += 7) {
        struct map *m = map_new();
        bool met[300] = { false };
        uint32_t kept = 0;
        struct slice key;
        size_t it = 0;
        void *value;

        for (uint32_t k = 0; k < n; k++)
            map_put(m, SLICE(&k, sizeof(k)), &met[k]);
        while (map_next(m, &it, &key, &value)) {
            uint32_t k;

            memcpy(&k, key.p, sizeof(k));
            met[k] = true;
            if (k % 3 != 0)
                assert_ptr_equal(map_del_last(m, &it), &met[k]);
        }
        for (uint32_t k = 0; k < n; k++) {
            assert_true(met[k]);
            assert_ptr_equal(map_get(m, SLICE(&k, sizeof(k))), k % 3 == 0 ? &met[k] : NULL);
            kept += k % 3 == 0;
        }
        assert_int_equal(map_count(m), kept);
        map_free(m);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(arena_runs_defers_last_first),
    cmocka_unit_test(arena_budget_is_an_error),
    cmocka_unit_test(arenas_have_a_limit_together),
    cmocka_unit_test(arena_rewind_gives_back),
    cmocka_unit_test(buf_grows),
    cmocka_unit_test(map_agrees_with_a_model),
    cmocka_unit_test(a_walk_may_remove),
};

TEST_MAIN(tests)
