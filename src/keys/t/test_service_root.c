/* test_service_root.c - the root file's conditions, wrapping under it, and other roots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "keys/service_root.h"
#include "scene.h"

static struct scene s;
static char path[160];

static int setup(void **state)
{
    (void)state;
    scene_init(&s);
    snprintf(path, sizeof(path), "%s/outside/root.key", s.root);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_disarm_all();
    scene_fini(&s);
    assert_int_equal(secret_live_count(), 0);
    return 0;
}

static struct key_provider *root(void)
{
    struct key_provider *p = NULL;
    struct service_root_info info;
    struct err e = { 0 };
    bool made;

    scene_must(service_root_ensure(path, &made, &e), &e);
    scene_must(service_root_open(path, s.dir, &p, &info, &e), &e);
    assert_true(info.same_device); /* both are below one directory here */
    return p;
}

static enum err_code refused(const char *what)
{
    struct key_provider *p = NULL;
    struct service_root_info info;
    struct err e = { 0 };

    assert_true(service_root_open(what, s.dir, &p, &info, &e).failed);
    assert_null(p);
    return e.code;
}

static void made_once(void **state)
{
    struct buf a = BUF_INIT, b = BUF_INIT;
    struct stat st;
    struct err e = { 0 };
    bool made;

    (void)state;
    scene_must(service_root_ensure(path, &made, &e), &e);
    assert_true(made);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, SERVICE_ROOT_LEN);
    scene_must(file_read(path, 100, &a, &e), &e);
    scene_must(service_root_ensure(path, &made, &e), &e);
    assert_false(made);
    scene_must(file_read(path, 100, &b, &e), &e);
    assert_true(slice_eq(buf_view(&a), buf_view(&b)));
    unlink(path);
    scene_must(service_root_ensure(path, &made, &e), &e);
    buf_clear(&b);
    scene_must(file_read(path, 100, &b, &e), &e);
    assert_false(slice_eq(buf_view(&a), buf_view(&b)));
    buf_fini(&a);
    buf_fini(&b);
}

static void files_refused(void **state)
{
    static const mode_t open_modes[] = { 0640, 0604, 0660, 0606, 0610, 0601, 0777 };
    AUTO(mem_freep) char *link = mem_printf("%s/outside/link", s.root);
    AUTO(mem_freep) char *inside = mem_printf("%s/root.key", s.dir);
    AUTO(mem_freep) char *detour = mem_printf("%s/outside/../data/root.key", s.root);
    AUTO(mem_freep) char *dir = mem_printf("%s/outside", s.root);
    struct key_provider *p = root();

    (void)state;
    p->free(p);
    for (size_t i = 0; i < ARRAY_LEN(open_modes); i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(refused(path), ERR_CONFIG);
    }
    chmod(path, 0400);
    p = root();
    p->free(p);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(refused(link), ERR_CONFIG);
    assert_int_equal(refused(dir), ERR_CONFIG);
    assert_int_equal(refused("/dev/zero"), ERR_CONFIG);
    chmod(path, 0600);
    scene_write_path(inside, SLICE_LIT("12345678901234567890123456789012"));
    assert_int_equal(refused(inside), ERR_CONFIG);
    assert_int_equal(refused(detour), ERR_CONFIG);
    for (size_t len = 0; len < 64; len++) {
        static const uint8_t bytes[64];

        if (len == SERVICE_ROOT_LEN)
            continue;
        scene_write_path(path, SLICE(bytes, len));
        assert_int_equal(refused(path), ERR_CONFIG);
    }
    unlink(path);
    assert_int_equal(refused(path), ERR_NOT_FOUND);
    if (geteuid() == 0) { /* another user's */
        scene_write_path(path, SLICE_LIT("12345678901234567890123456789012"));
        assert_int_equal(chown(path, 65534, 65534), 0);
        assert_int_equal(refused(path), ERR_CONFIG);
    }
}

static void wraps_and_unwraps(void **state)
{
    struct key_provider *p = root();
    struct secret *plain = NULL, *back = NULL;
    struct wrapped_key w, again;
    struct key_info info;
    struct err e = { 0 };

    (void)state;
    scene_must(p->get_key(p, NULL, 0, &info, &e), &e);
    assert_int_equal(strlen(info.version), 16);
    scene_must(secret_random(32, &plain, &e), &e);
    scene_must(p->wrap(p, NULL, plain, 0, &w, &e), &e);
    scene_must(p->wrap(p, info.version, plain, 0, &again, &e), &e);
    assert_string_equal(w.version, info.version);
    assert_string_equal(w.alg, "A256KWP");
    assert_int_equal(w.len, 16 + 40);
    assert_memory_not_equal(w.bytes, again.bytes, w.len); /* a salt each */
    scene_must(p->unwrap(p, &w, false, 0, &back, &e), &e);
    assert_true(secret_equal(plain, back));
    secret_freep(&back);
    for (size_t bit = 0; bit < w.len * 8; bit++) {
        struct err f = { 0 };

        w.bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_true(p->unwrap(p, &w, false, 0, &back, &f).failed);
        assert_int_equal(f.code, ERR_ENVELOPE_FORGED);
        assert_null(back);
        w.bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    for (uint32_t len = 0; len < w.len; len++) {
        struct wrapped_key cut = w;
        struct err f = { 0 };

        cut.len = len;
        assert_true(p->unwrap(p, &cut, false, 0, &back, &f).failed);
        assert_int_equal(f.code, ERR_ENVELOPE_FORGED);
    }
    secret_free(plain);
    p->free(p);
}

/* The file was lost and made anew, or belongs to another machine: said as what it is. */
static void another_root(void **state)
{
    struct key_provider *p = root();

    (void)state;
    s.cfg.provider = p;
    s.cfg.mode = KEY_MODE_SMK;
    scene_create(&s);
    scene_close(&s);
    p->free(p);
    unlink(path);
    p = s.cfg.provider = root();
    assert_int_equal(scene_refused(&s), ERR_WRONG_KEY);
    p->free(p);
}

static int group_setup(void **state)
{
    struct err e = { 0 };

    (void)state;
    return secret_arena_init(1 << 18, &e).failed;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = { T(made_once), T(files_refused), T(wraps_and_unwraps),
                                        T(another_root) };

    return cmocka_run_group_tests(tests, group_setup, NULL);
}
