/* Errors, settings, log, files, fault points. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"

static void the_first_error_wins(void **state)
{
    (void)state;
    struct err e = { 0 };
    char name[24];
    assert_true(err_set(&e, ERR_BAD_VALUE, "a.c", 1, "first %d", 1).failed);
    assert_true(err_set(&e, ERR_INTERNAL, "b.c", 2, "second").failed);
    assert_int_equal(e.code, ERR_BAD_VALUE);
    assert_string_equal(e.msg, "first 1");
    err_wrap(&e, "while testing");
    assert_string_equal(e.msg, "while testing: first 1");
    assert_string_equal(err_code_name(ERR_LOC(40323), name, sizeof(name)), "Location40323");
    assert_string_equal(err_code_name(ERR_BAD_VALUE, name, sizeof(name)), "BadValue");
    err_reset(&e);
    assert_false(err_is(&e));
}

static int n_freed;

static void count_free(void *info)
{
    (void)info;
    n_freed++;
}

static struct err with_info(const char *msg)
{
    static char info;
    struct err e = { 0 };

    assert_true(err_set(&e, ERR_BAD_VALUE, "a.c", 7, "%s", msg).failed);
    err_detail(&e, "for the log");
    e.labels = ERR_LABEL_TRANSIENT_TXN;
    e.sys = 5;
    e.info = &info;
    e.info_free = count_free;
    return e;
}

static void an_error_is_passed_on_whole(void **state)
{
    struct err e = { 0 }, why = with_info("100 %s");

    (void)state;
    n_freed = 0;
    assert_true(err_take(&e, &why).failed);
    assert_false(err_is(&why));
    assert_null(why.info);
    assert_int_equal(e.code, ERR_BAD_VALUE);
    assert_string_equal(e.msg, "100 %s");
    assert_string_equal(e.detail, "for the log");
    assert_int_equal(e.labels, ERR_LABEL_TRANSIENT_TXN);
    assert_int_equal(e.sys, 5);
    assert_int_equal(e.line, 7);
    assert_non_null(e.info);
    why = with_info("second");
    /* the first one wins, and the other's info is not lost */
    assert_true(err_take(&e, &why).failed);
    assert_string_equal(e.msg, "100 %s");
    assert_int_equal(n_freed, 1);
    why = with_info("nobody asks");
    assert_true(err_take(NULL, &why).failed);
    assert_false(err_is(&why));
    assert_int_equal(n_freed, 2);
    err_reset(&e);
    assert_int_equal(n_freed, 3);
}

static const struct setting_def defs[] = {
    { "port", SET_T_I64, "27017", 0, 65535, 0, "where to listen" },
    { "interval", SET_T_DURATION_MS, "15s", 1, 3600000, SET_RUNTIME, "how often" },
    { "cache", SET_T_BYTES, "64MB", 0, INT64_MAX, 0, "how much" },
    { "verbose", SET_T_BOOL, "false", 0, 1, 0, "more" },
    { "name", SET_T_STR, "", 0, 0, 0, "who" },
    { "password", SET_T_I64, "0", 0, 9, SET_SECRET, "secret" },
};

static void settings_from_flags(void **state)
{
    (void)state;
    struct err e = { 0 };
    struct settings *s = settings_new(defs, ARRAY_LEN(defs));
    char *argv[] = { "p",           "--port=0", "--interval", "150ms", "--verbose",
                     "--cache=2GB", "--name",   "x y",        "rest" };
    int rest;
    bool help, version;
    CHECK_RC_OK(settings_parse_args(s, ARRAY_LEN(argv), argv, &rest, &help, &version, &e), &e);
    assert_int_equal(rest, 8);
    assert_int_equal(settings_i64(s, 0), 0);
    assert_int_equal(settings_us(s, 1), 150000);
    assert_int_equal(settings_i64(s, 2), 2ll << 30);
    assert_true(settings_bool(s, 3));
    assert_string_equal(settings_str(s, 4), "x y");
    assert_true(settings_is_default(s, 5));
    CHECK_RC_FAILS(settings_set(s, "port", "70000", &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(settings_set(s, "port", "12x", &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(settings_set(s, "interval", "5 parsecs", &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(settings_set(s, "cache", "9999999999TB", &e), &e, ERR_CONFIG);
    CHECK_RC_FAILS(settings_set(s, "nothing", "1", &e), &e, ERR_CONFIG);
    assert_int_equal(settings_i64(s, 0), 0);
    assert_true(settings_set(s, "password", "hunter2", &e).failed);
    assert_null(strstr(e.msg, "hunter2"));
    settings_free(s);
}

static char *temp_dir(void)
{
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/coffer-base-XXXXXX");
    assert_non_null(mkdtemp(path));
    return path;
}

static void settings_from_a_file(void **state)
{
    (void)state;
    struct err e = { 0 };
    char *dir = temp_dir();
    AUTO(mem_freep) char *path = mem_printf("%s/c", dir);
    CHECK_RC_OK(file_write_atomic(path, 0600,
                                  SLICE_LIT("# comment\n\nport = 1234\r\n name=n\nverbose = on"),
                                  &e),
                &e);
    struct settings *s = settings_new(defs, ARRAY_LEN(defs));
    CHECK_RC_OK(settings_load_file(s, path, &e), &e);
    assert_int_equal(settings_i64(s, 0), 1234);
    assert_string_equal(settings_str(s, 4), "n");
    CHECK_RC_OK(file_write_atomic(path, 0600, SLICE_LIT("port = 1\nport 2\n"), &e), &e);
    assert_true(settings_load_file(s, path, &e).failed);
    assert_non_null(strstr(e.msg, "line 2"));
    settings_free(s);
    unlink(path);
    rmdir(dir);
}

/* Of a child killed before its rename the temporary file is left; it goes, and nothing that only looks like one. */
static void what_a_kill_left_is_swept(void **state)
{
    (void)state;
    static const char *const stay[] = { "f.backup",        "f.AbC123",          "f.writing-",
                                        "f.writing-abc12", "f.writing-abc1234", "f.writing-ab.123",
                                        ".writing-abc123", "f.Writing-abc123" };
    struct err e = { 0 };
    char *dir = temp_dir();
    AUTO(mem_freep) char *path = mem_printf("%s/f", dir);
    AUTO(mem_freep) char *link = mem_printf("%s/l.writing-abc123", dir);
    AUTO(mem_freep) char *folder = mem_printf("%s/d.writing-abc123", dir);
    CHECK_RC_OK(file_write_atomic(path, 0600, SLICE_LIT("old"), &e), &e);
    assert_int_equal(symlink("f", link), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(stay); i++) {
        AUTO(mem_freep) char *other = mem_printf("%s/%s", dir, stay[i]);
        CHECK_RC_OK(file_write_atomic(other, 0600, SLICE_LIT("x"), &e), &e);
    }
    assert_int_equal(file_sweep(dir), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fault_arm("file.rename", "kill", 0, 1);
        _exit(file_write_atomic(path, 0600, SLICE_LIT("new"), &e).failed);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(file_sweep(dir), 1);
    assert_int_equal(file_sweep(dir), 0);
    struct buf b = BUF_INIT;
    CHECK_RC_OK(file_read(path, 100, &b, &e), &e);
    assert_true(slice_eq_str(buf_view(&b), "old"));
    buf_fini(&b);
    for (size_t i = 0; i < ARRAY_LEN(stay); i++) {
        AUTO(mem_freep) char *other = mem_printf("%s/%s", dir, stay[i]);
        assert_int_equal(unlink(other), 0);
    }
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(folder), 0);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(file_sweep(dir), 0);
}

/* Each failing step of an atomic write leaves the old content and no temporary file. */
static void atomic_write_survives_every_failure(void **state)
{
    (void)state;
    struct err e = { 0 };
    char *dir = temp_dir();
    AUTO(mem_freep) char *path = mem_printf("%s/f", dir);
    CHECK_RC_OK(file_write_atomic(path, 0600, SLICE_LIT("old"), &e), &e);
    for (uint64_t n = 1;; n++) {
        err_reset(&e);
        fault_fail_nth(n);
        rc_t rc = file_write_atomic(path, 0600, SLICE_LIT("new"), &e);
        bool fired = fault_total() >= n;
        fault_disarm_all();
        assert_int_equal(rc.failed, fired);
        struct buf b = BUF_INIT;
        struct err e2 = { 0 };
        CHECK_RC_OK(file_read(path, 100, &b, &e2), &e2);
        /* The last step, the directory's sync, comes after the rename: then either content is right. */
        assert_true(slice_eq_str(buf_view(&b), "old") || slice_eq_str(buf_view(&b), "new"));
        buf_fini(&b);
        if (!fired)
            break;
        assert_int_equal(e.code, ERR_IO);
    }
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* fails when a temporary file was left */
}

static void odd_files_are_refused(void **state)
{
    (void)state;
    struct err e = { 0 };
    struct buf b = BUF_INIT;
    char *dir = temp_dir();
    AUTO(mem_freep) char *link_path = mem_printf("%s/zero", dir);
    assert_int_equal(symlink("/dev/zero", link_path), 0);
    CHECK_RC_FAILS(file_read(link_path, 100, &b, &e), &e, ERR_IO);
    CHECK_RC_FAILS(file_read(dir, 100, &b, &e), &e, ERR_IO);
    unlink(link_path);
    CHECK_RC_FAILS(file_read(link_path, 100, &b, &e), &e, ERR_NOT_FOUND);
    CHECK_RC_OK(file_write_atomic(link_path, 0600, SLICE_LIT("12345"), &e), &e);
    CHECK_RC_FAILS(file_read(link_path, 4, &b, &e), &e, ERR_IO);
    buf_fini(&b);
    unlink(link_path);
    rmdir(dir);
}

/* What is read may be a key: where its reader made room, no copy of it stays in memory that was given back. */
static void a_file_is_read_in_place(void **state)
{
    (void)state;
    struct err e = { 0 };
    struct buf b = BUF_INIT;
    char *dir = temp_dir();
    AUTO(mem_freep) char *path = mem_printf("%s/key", dir);
    CHECK_RC_OK(file_write_atomic(path, 0600, SLICE_LIT("0123456789"), &e), &e);
    buf_reserve(&b, 11);
    const uint8_t *was = b.p;
    CHECK_RC_OK(file_read(path, 10, &b, &e), &e);
    assert_true(slice_eq_str(buf_view(&b), "0123456789"));
    assert_ptr_equal(b.p, was);
    buf_fini(&b);
    CHECK_RC_OK(file_read(path, 10, &b, &e), &e);
    assert_in_range(b.cap, 11, 64);
    buf_fini(&b);
    unlink(path);
    rmdir(dir);
}

static void the_log_never_prints_what_a_user_sent(void **state)
{
    (void)state;
    char path[] = "/tmp/coffer-log-XXXXXX";
    int fd = mkstemp(path);
    struct err e = { 0 };
    log_init(
        &(struct log_config){ .fd = fd, .min_level = LOG_DEBUG, .json = true, .program = "test" });
    log_event(EV_STARTING, KV_USER("query", SLICE_LIT("canary-in-query")),
              KV_STR("path", "a \"b\"\n"), KV_I64("n", -5));
    assert_true(err_set(&e, ERR_BAD_VALUE, __FILE__, __LINE__, "canary-in-message").failed);
    log_err(EV_REQUEST_FAILED, &e, NULL, 0);
    log_init(&(struct log_config){ .fd = 2, .min_level = LOG_INFO, .program = "test" });
    struct buf b = BUF_INIT;
    struct err e2 = { 0 };
    CHECK_RC_OK(file_read(path, 1 << 20, &b, &e2), &e2);
    const char *text = buf_cstr(&b);
    assert_null(strstr(text, "canary"));
    assert_non_null(strstr(text, "\"path\":\"a \\\"b\\\"\\u000a\""));
    assert_non_null(strstr(text, "\"n\":-5"));
    assert_non_null(strstr(text, "\"codeName\":\"BadValue\""));
    buf_fini(&b);
    close(fd);
    unlink(path);
}

static void faults_fire_as_armed(void **state)
{
    (void)state;
    assert_int_equal(fault_hit("x"), 0);
    fault_arm("x", "ENOSPC", 1, 2);
    assert_int_equal(fault_hit("x"), 0);
    assert_int_equal(fault_hit("y"), 0);
    assert_int_equal(fault_hit("x"), ENOSPC);
    assert_int_equal(fault_hit("x"), ENOSPC);
    assert_int_equal(fault_hit("x"), 0);
    assert_int_equal(fault_count("x"), 4);
    fault_disarm_all();
    assert_int_equal(fault_hit("x"), 0);
}

static void a_step_fails_as_armed_and_says_of_what(void **state)
{
    struct err e = { 0 };

    (void)state;
    CHECK_RC_OK(fault_step("step", "the work", &e), &e);
    fault_arm("step", "ENOSPC", 0, 1);
    assert_true(fault_step("step", "the work", &e).failed);
    assert_int_equal(e.code, ERR_DISK_FULL);
    assert_non_null(strstr(e.msg, "the work"));
    err_reset(&e);
    CHECK_RC_OK(fault_step("step", "the work", &e), &e);
    fault_disarm_all();
}

static void what_the_system_refuses_may_pass(void **state)
{
    static const int passing[] = { ENOSPC, EDQUOT, EIO, EROFS, EACCES, EMFILE, ENFILE, ENOMEM };
    static const int final[] = { ENOENT, ENOTDIR, ELOOP, EISDIR, EINVAL, ENAMETOOLONG };
    static const enum err_code damage[] = { ERR_CORRUPT,      ERR_STALE,          ERR_WRONG_KEY,
                                            ERR_FOREIGN_FILE, ERR_ENVELOPE_STALE, ERR_NOT_FOUND,
                                            ERR_CONFIG };
    struct err e = { 0 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
        (void)file_err(&e, passing[i], "open", "x").failed;
        assert_true(file_may_pass(&e));
        for (size_t j = 0; j < ARRAY_LEN(damage); j++) {
            e.code = damage[j];
            assert_false(file_may_pass(&e));
        }
        err_reset(&e);
    }
    for (size_t i = 0; i < ARRAY_LEN(final); i++) {
        (void)file_err(&e, final[i], "open", "x").failed;
        assert_false(file_may_pass(&e));
        err_reset(&e);
    }
    /* an I/O error that the system did not raise: of the wrong kind, too large */
    (void)err_set(&e, ERR_IO, __FILE__, __LINE__, "it is no regular file").failed;
    assert_false(file_may_pass(&e));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_first_error_wins),
    cmocka_unit_test(an_error_is_passed_on_whole),
    cmocka_unit_test(settings_from_flags),
    cmocka_unit_test(settings_from_a_file),
    cmocka_unit_test(what_a_kill_left_is_swept),
    cmocka_unit_test(atomic_write_survives_every_failure),
    cmocka_unit_test(odd_files_are_refused),
    cmocka_unit_test(a_file_is_read_in_place),
    cmocka_unit_test(the_log_never_prints_what_a_user_sent),
    cmocka_unit_test(faults_fire_as_armed),
    cmocka_unit_test(a_step_fails_as_armed_and_says_of_what),
    cmocka_unit_test(what_the_system_refuses_may_pass),
};

TEST_MAIN(tests)
