/* test_secret.c - the key arena: its limits, what a fork sees, what a wipe leaves, what a dump would hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/thread.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"

enum { ARENA = 1 << 20 };

static struct secret *fresh(size_t len)
{
    struct secret *s = NULL;
    struct err e = { 0 };

    assert_false(secret_random(len, &s, &e).failed);
    return s;
}

/* in_child(): how a forked child ends that runs fn. */
static int in_child(void (*fn)(void *), void *arg)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = { 0, 0 };

        setrlimit(RLIMIT_CORE, &none);
        (void)!freopen("/dev/null", "w", stderr);
        signal(SIGABRT, SIG_DFL);
        fn(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void every_length(void **state)
{
    (void)state;
    for (size_t len = 1; len <= SECRET_MAX; len += len < 200 ? 1 : 97) {
        struct secret *s = fresh(len), *t = NULL, *z = NULL;
        struct err e = { 0 };

        assert_int_equal(secret_len(s), len);
        assert_int_equal((uintptr_t)secret_bytes(s) % 16, 0);
        memset(secret_bytes(s), 0xa5, len); /* all of it is ours: the canary behind survives */
        assert_false(secret_dup(s, &t, &e).failed);
        assert_true(secret_equal(s, t));
        secret_bytes(t)[len - 1] ^= 1;
        assert_false(secret_equal(s, t));
        secret_free(s);
        assert_false(secret_new(len, &z, &e).failed); /* zeroed, also where another lay */
        for (size_t i = 0; i < len; i++)
            assert_int_equal(secret_view(z)[i], 0);
        secret_free(z);
        secret_free(t);
    }
    assert_int_equal(secret_live_count(), 0);
}

static void lengths_refused(void **state)
{
    const size_t bad[] = { 0, SECRET_MAX + 1, SIZE_MAX };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct secret *s = NULL;
        struct err e = { 0 };

        assert_true(secret_new(bad[i], &s, &e).failed);
        assert_int_equal(e.code, ERR_CRYPTO);
        assert_null(s);
    }
}

static void full_and_reused(void **state)
{
    static struct secret *all[ARENA / 64 + 1];
    size_t n = 0;
    struct err e = { 0 };

    (void)state;
    for (int round = 0; round < 2; round++) {
        n = 0;
        err_reset(&e);
        while (!secret_new(32, &all[n], &e).failed)
            n++;
        /* a file key takes one granule, and nothing is lost between rounds */
        assert_int_equal(n, ARENA / 64);
        assert_int_equal(e.code, ERR_CRYPTO);
        assert_non_null(strstr(e.msg, "full"));
        for (size_t i = 0; i < n; i++)
            secret_freep(&all[i]);
    }
    /* every second granule free: no room for two in a row, room for one */
    for (n = 0; n < ARENA / 64; n++)
        assert_false(secret_new(32, &all[n], &e).failed);
    for (size_t i = 0; i < n; i += 2)
        secret_freep(&all[i]);
    struct secret *wide = NULL, *narrow = NULL;
    err_reset(&e);
    assert_true(secret_new(64, &wide, &e).failed);
    err_reset(&e);
    assert_false(secret_new(40, &narrow, &e).failed);
    secret_free(narrow);
    for (size_t i = 1; i < n; i += 2)
        secret_freep(&all[i]);
    assert_int_equal(secret_live_count(), 0);
}

static void view_in_child(void *s)
{
    (void)!secret_view(s);
}

static void overrun(void *p)
{
    struct secret *s = NULL;
    struct err e = { 0 };

    (void)p;
    if (secret_arena_init(ARENA, &e).failed || secret_new(32, &s, &e).failed)
        _exit(3);
    secret_bytes(s)[32] ^= 1;
    secret_free(s);
}

static void free_twice(void *p)
{
    struct secret *s = NULL;
    struct err e = { 0 };

    (void)p;
    if (secret_arena_init(ARENA, &e).failed || secret_new(32, &s, &e).failed)
        _exit(3);
    secret_free(s);
    secret_free(s);
}

static void a_forked_child_sees_nothing(void **state)
{
    struct secret *s = fresh(32);
    int status = in_child(view_in_child, s);

    (void)state;
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    (void)secret_view(s); /* the parent's is untouched */
    secret_free(s);
}

/* The wipe closes the arena for good, so it is tried in processes of their own, where the arena is made anew. */
struct plan {
    int what;
    int ready[2];
};
enum { USE_VIEW, USE_SEAL, USE_HKDF, USE_NEW, USE_FREE };

static void *park(void *s)
{
    (void)!secret_view(s);
    return NULL;
}

static void after_wipe(void *arg)
{
    struct plan *p = arg;
    struct secret *s = NULL, *out = NULL;
    struct aead_key *k = NULL;
    uint8_t text[40] = "plain", tag[16];
    static const uint8_t nonce[12];
    struct err e = { 0 };

    if (secret_arena_init(ARENA, &e).failed || secret_random(32, &s, &e).failed ||
        crypto_init(&e).failed || aead_key_new(s, &k, &e).failed)
        _exit(3);
    secret_arena_wipe();
    if (!secret_arena_sealed())
        _exit(4);
    for (int i = 0; i < 32; i++)
        if (((volatile uint8_t *)s)[16 + i])
            _exit(5);
    switch (p->what) {
    case USE_VIEW: { /* the thread stays parked, the process goes on */
        pthread_t t = thread_start("park", park, s);

        clock_sleep_us(50000);
        if (pthread_tryjoin_np(t, NULL) != EBUSY)
            _exit(6);
        break;
    }
    case USE_SEAL: {
        struct aead_seal m = {
            .nonce = nonce, .plain = SLICE(text, sizeof(text)), .out = text, .tag = tag
        };

        if (!aead_seal(k, &m, &e).failed || e.code != ERR_KEY_LOCKED)
            _exit(7);
        break;
    }
    case USE_HKDF:
        if (!hkdf_sha256(s, SLICE_EMPTY, SLICE_EMPTY, 32, &out, &e).failed ||
            e.code != ERR_KEY_LOCKED || out)
            _exit(8);
        break;
    case USE_NEW:
        if (!secret_new(32, &out, &e).failed || e.code != ERR_KEY_LOCKED)
            _exit(9);
        break;
    case USE_FREE:
        secret_free(s);
        aead_key_free(k);
        break;
    default: _exit(10);
    }
    _exit(0);
}

static void wipe_closes_the_arena(void **state)
{
    (void)state;
    for (int what = USE_VIEW; what <= USE_FREE; what++) {
        struct plan p = { .what = what };
        int status = in_child(after_wipe, &p);

        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* Threads that seal while the arena is wiped under them: whatever was handed out as a success is what the key gives, never what
 * zeroes give. (A schedule of zeroes would make the cipher text readable by anyone.) */
enum { SEALERS = 4, TEXT = 4096 };
static struct {
    struct aead_key *k;
    struct secret *mac_key;
    uint8_t plain[TEXT], sealed[TEXT], mac[SHA256_LEN];
    atomic_uint done;
} race;

static void *seal_until_locked(void *arg)
{
    static const uint8_t nonce[12];
    uint8_t out[TEXT], tag[16], mac[SHA256_LEN];
    bool locked = false;

    (void)arg;
    while (!locked) {
        struct err e = { 0 };
        struct aead_seal m = {
            .nonce = nonce, .plain = SLICE(race.plain, TEXT), .out = out, .tag = tag
        };

        if (!aead_seal(race.k, &m, &e).failed) {
            if (memcmp(out, race.sealed, TEXT) != 0)
                _exit(20);
            atomic_fetch_add(&race.done, 1);
        } else if (e.code != ERR_KEY_LOCKED) {
            _exit(21);
        } else {
            locked = true;
        }
        err_reset(&e);
        if (!locked && !hmac_sha256(race.mac_key, &SLICE(race.plain, TEXT), 1, mac, &e).failed &&
            memcmp(mac, race.mac, SHA256_LEN) != 0)
            _exit(22);
    }
    return NULL;
}

static void wipe_under_load(void *arg)
{
    static const uint8_t nonce[12];
    uint8_t tag[16];
    struct secret *s = NULL;
    struct err e = { 0 };

    if (secret_arena_init(ARENA, &e).failed || secret_random(32, &s, &e).failed ||
        crypto_init(&e).failed || aead_key_new(s, &race.k, &e).failed ||
        secret_random(32, &race.mac_key, &e).failed || random_bytes(race.plain, TEXT, &e).failed ||
        hmac_sha256(race.mac_key, &SLICE(race.plain, TEXT), 1, race.mac, &e).failed ||
        aead_seal(race.k,
                  &(struct aead_seal){ .nonce = nonce,
                                       .plain = SLICE(race.plain, TEXT),
                                       .out = race.sealed,
                                       .tag = tag },
                  &e)
            .failed)
        _exit(3);
    for (int i = 0; i < SEALERS; i++)
        pthread_detach(thread_start("sealer", seal_until_locked, NULL));
    while (atomic_load(&race.done) < 200)
        clock_sleep_us(100);
    clock_sleep_us((uint64_t)(uintptr_t)arg * 137);
    secret_arena_wipe();
    /* some end, some are parked in the middle: none may exit with an error */
    clock_sleep_us(20000);
    _exit(0);
}

static void nothing_is_sealed_under_zeroes(void **state)
{
    (void)state;
    for (uintptr_t i = 0; i < 30; i++) {
        int status = in_child(wipe_under_load, (void *)i);

        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void misuse_panics(void **state)
{
    int status = in_child(overrun, NULL);

    (void)state;
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    status = in_child(free_twice, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void no_locked_memory(void *arg)
{
    struct rlimit none = { 0, 0 };
    struct err e = { 0 };

    (void)arg;
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 ||
        (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0))
        _exit(77);
    _exit(secret_arena_init(ARENA, &e).failed && e.code == ERR_CRYPTO &&
                  strstr(e.msg, "RLIMIT_MEMLOCK")
              ? 0
              : 1);
}

static void init_faults(void *arg)
{
    struct err e = { 0 };

    fault_arm(arg, "EIO", 0, -1);
    if (!secret_arena_init(ARENA, &e).failed || e.code != ERR_CRYPTO)
        _exit(1);
    fault_disarm_all();
    err_reset(&e);
    _exit(secret_arena_init(ARENA, &e).failed ? 2 : 0); /* nothing was left behind */
}

static void no_silent_fallback(void **state)
{
    static const char *const points[] = { "secret.mlock", "secret.madvise", "crypto.random" };
    int status;

    (void)state;
    status = in_child(no_locked_memory, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        status = in_child(init_faults, (void *)(uintptr_t)points[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* The kernel's own word on the mapping: locked (lo), not dumped (dd), wiped on fork (wf). */
static void mapping_flags(void **state)
{
    struct secret *s = fresh(32);
    uintptr_t at = (uintptr_t)s, lo, hi;
    char line[512];
    bool inside = false, seen = false;
    FILE *f = fopen("/proc/self/smaps", "re");

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
            inside = at >= lo && at < hi;
        if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            seen = true;
            assert_non_null(strstr(line, " lo"));
            assert_non_null(strstr(line, " dd"));
            assert_non_null(strstr(line, " wf"));
        }
    }
    fclose(f);
    assert_true(seen);
    secret_free(s);
}

static void *churn(void *arg)
{
    struct secret *held[32] = { 0 };
    unsigned seed = (unsigned)(uintptr_t)arg;

    for (int i = 0; i < 20000; i++) {
        int at = rand_r(&seed) % 32;
        struct err e = { 0 };

        if (held[at]) {
            for (size_t j = 0; j < secret_len(held[at]); j++)
                INVARIANT(secret_view(held[at])[j] == (uint8_t)(uintptr_t)arg);
            secret_freep(&held[at]);
        } else {
            INVARIANT(!secret_new(1 + (size_t)(rand_r(&seed) % 300), &held[at], &e).failed);
            memset(secret_bytes(held[at]), (uint8_t)(uintptr_t)arg, secret_len(held[at]));
        }
    }
    for (int i = 0; i < 32; i++)
        secret_free(held[i]);
    return NULL;
}

static void threads_do_not_share(void **state)
{
    pthread_t t[8];

    (void)state;
    for (uintptr_t i = 0; i < 8; i++)
        t[i] = thread_start("churn", churn, (void *)(i + 1));
    for (int i = 0; i < 8; i++)
        thread_join(t[i]);
    assert_int_equal(secret_live_count(), 0);
}

static int setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(ARENA, &e).failed;
}

int main(void)
{
    /* those that need a process without an arena fork before there is one */
    const struct CMUnitTest before[] = {
        cmocka_unit_test(wipe_closes_the_arena),
        cmocka_unit_test(nothing_is_sealed_under_zeroes),
        cmocka_unit_test(misuse_panics),
        cmocka_unit_test(no_silent_fallback),
    };
    const struct CMUnitTest with_arena[] = {
        cmocka_unit_test(every_length),    cmocka_unit_test(lengths_refused),
        cmocka_unit_test(full_and_reused), cmocka_unit_test(a_forked_child_sees_nothing),
        cmocka_unit_test(mapping_flags),   cmocka_unit_test(threads_do_not_share),
    };
    int failed = cmocka_run_group_tests(before, NULL, NULL);

    return failed + cmocka_run_group_tests(with_arena, setup, NULL);
}
