/* test_audit_keep.c - what the audit log keeps: old segments go and the rest still proves itself; refusals cost a bounded number of records. */
#include <sys/stat.h>

#include "base/fault.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "vault_audit_log_priv.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"

enum { HOUR = 3600 };

static char *segment(struct vaultfix *f, unsigned number)
{
    return mem_printf("%s/audit/%08u.log", f->state_dir, number);
}

static bool is_there(struct vaultfix *f, unsigned number)
{
    AUTO(mem_freep) char *path = segment(f, number);

    return path_exists(path);
}

static void reopen(struct vaultfix *f)
{
    struct err e = { 0 };

    vaultfix_down(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
}

static void get(struct vaultfix *f, int times)
{
    while (times-- > 0)
        assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_node, NULL, NULL), 200);
}

static struct vault_audit_extent verified(struct vaultfix *f)
{
    struct vault_audit_extent x;
    struct err e = { 0 };

    CHECK_RC_OK(vault_audit_verify(f->vault, &x, &e), &e);
    return x;
}

static void check_damaged(struct vaultfix *f)
{
    struct vault_audit_extent x;
    struct err e = { 0 };

    CHECK_RC_FAILS(vault_audit_verify(f->vault, &x, &e), &e, ERR_CORRUPT);
}

/* The records that are there, one object each; the caller's to json_decref(). */
static json_t *records(struct vaultfix *f)
{
    struct buf lines = BUF_INIT;
    json_t *all = json_array(), *j;
    uint64_t last;
    struct err e = { 0 };

    CHECK_RC_OK(vault_audit_read(f->vault, 0, &lines, &last, &e), &e);
    for (char *line = (char *)buf_cstr(&lines), *end; (end = strchr(line, '\n')); line = end + 1) {
        CHECK_RC_OK(kjson_load(SLICE(line, (size_t)(end - line)), 6, &j, &e), &e);
        json_array_append_new(all, j);
    }
    buf_fini(&lines);
    return all;
}

static int n_of(const json_t *all, const char *operation)
{
    int n = 0;

    for (size_t i = 0; i < json_array_size(all); i++)
        n += strcmp(kjson_str(json_array_get(all, i), "operationName"), operation) == 0;
    return n;
}

static json_int_t seq_of(const json_t *all, size_t i)
{
    return json_integer_value(json_object_get(json_array_get(all, i), "seq"));
}

static void keep(struct vaultfix *f, int64_t later_s)
{
    vault__audit_keep(f->vault, clock_real_s() + later_s);
}

/* Three segments with records, the third one open. */
static void three_segments(struct vaultfix *f)
{
    get(f, 3);
    reopen(f);
    get(f, 4);
    reopen(f);
    get(f, 2);
    f->vault->audit_keep_s = HOUR;
}

static void old_segments_go(void **state)
{
    struct vaultfix *f = *state;
    struct buf hex = BUF_INIT;

    three_segments(f);
    assert_int_equal(verified(f).first, 1);
    json_t *before = records(f);
    keep(f, HOUR / 32);
    assert_true(is_there(f, 1) && !is_there(f, 4));
    f->vault->audit->readers = 1; /* somebody reads */
    keep(f, 2 * HOUR);
    assert_true(is_there(f, 1) && !is_there(f, 4));
    f->vault->audit->readers = 0;
    keep(f, 2 * HOUR);
    assert_false(is_there(f, 1) || is_there(f, 2) || is_there(f, 3));
    assert_true(is_there(f, 4));
    /* what is left says from where on it proves itself, and the chain that earlier readings end with */
    struct vault_audit_extent x = verified(f);
    assert_true(x.first == 16 && x.records == 18); /* each start: two tokens */
    hex_encode(SLICE(x.chain_before, 32), &hex);
    assert_string_equal(buf_cstr(&hex), kjson_str(json_array_get(before, 14), "chain"));
    json_t *after = records(f);
    assert_int_equal(seq_of(after, 0), 16);
    assert_int_equal(n_of(after, "AuditRetired"), 3);
    assert_string_equal(x.since, kjson_str(json_array_get(after, 0), "time"));
    json_decref(after);
    /* over restarts, with more to come */
    reopen(f);
    get(f, 2);
    assert_int_equal(verified(f).first, 16);
    assert_int_equal(verified(f).records, 22);
    keep(f, 2 * HOUR); /* the setting is gone with the start: nothing happens */
    assert_true(is_there(f, 4));
    json_decref(before);
    buf_fini(&hex);
}

static void too_many_bytes_go(void **state)
{
    struct vaultfix *f = *state;

    three_segments(f);
    f->vault->audit_keep_s = 0;
    f->vault->audit_keep_bytes = 1 << 20;
    keep(f, 0);
    assert_true(is_there(f, 1));
    f->vault->audit_keep_bytes = 1; /* the one that is written stays in any case */
    keep(f, 0);
    assert_false(is_there(f, 1) || is_there(f, 2));
    assert_true(is_there(f, 3));
    assert_int_equal(verified(f).first, 12);
    reopen(f);
    assert_int_equal(verified(f).first, 12);
}

static void copy(const char *from, const char *to)
{
    struct buf b = BUF_INIT;
    struct err e = { 0 };

    CHECK_RC_OK(file_read(from, 1 << 24, &b, &e), &e);
    CHECK_RC_OK(file_write_atomic(to, 0600, buf_view(&b), &e), &e);
    buf_fini(&b);
}

static void only_the_vault_takes_away(void **state)
{
    struct vaultfix *f = *state;
    char *pin = mem_printf("%s.pin.audit", f->root_key), *old_pin = mem_printf("%s.old", pin),
         *first = segment(f, 1), *saved = mem_printf("%s/first", f->dir), *third = segment(f, 3);

    three_segments(f);
    keep(f, HOUR / 8); /* begins the fourth segment */
    assert_true(is_there(f, 4));
    copy(pin, old_pin);
    copy(first, saved);
    f->vault->audit_keep_bytes = 1500;
    f->vault->audit_keep_s = 0;
    keep(f, 0);
    assert_false(is_there(f, 1));
    uint64_t begins = verified(f).first;
    assert_true(begins > 1);
    /* an end that did not come: the file is still there, and goes at the next start */
    copy(saved, first);
    reopen(f);
    assert_false(is_there(f, 1));
    assert_int_equal(verified(f).first, begins);
    /* what an old pin counts on is gone */
    char *now = mem_printf("%s.now", pin);
    copy(pin, now);
    copy(old_pin, pin);
    check_damaged(f);
    copy(now, pin);
    verified(f);
    /* and so is what somebody else took */
    if (is_there(f, 3)) {
        assert_int_equal(unlink(third), 0);
        check_damaged(f);
    }
    mem_free(now);
    mem_free(pin);
    mem_free(old_pin);
    mem_free(first);
    mem_free(saved);
    mem_free(third);
}

/* Records without what they are known by: they are shown, and that something is wrong. */
static void what_lost_its_pin_or_its_files_is_still_read(void **state)
{
    struct vaultfix *f = *state;
    char *pin = mem_printf("%s.pin.audit", f->root_key);

    three_segments(f);
    keep(f, 2 * HOUR);
    assert_true(!is_there(f, 3) && is_there(f, 4));
    vaultfix_down(f);
    assert_int_equal(unlink(pin), 0);
    struct err e = { 0 };
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    check_damaged(f);
    json_t *all = records(f);
    assert_int_equal(seq_of(all, 0), 16); /* and no line says that the first segments are missing */
    assert_int_equal(n_of(all, "AuditRetired"), 3);
    assert_int_equal(n_of(all, "AuditDamaged"), 1);
    json_decref(all);
    vault_close(f->vault);
    for (unsigned n = 4; n < 8; n++) {
        AUTO(mem_freep) char *path = segment(f, n);
        (void)unlink(path);
    }
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    check_damaged(f);
    all = records(f);
    assert_int_equal(json_array_size(all), 1);
    assert_true(is_there(f, 4) && !is_there(f, 1)); /* numbers are not given twice */
    assert_int_equal(n_of(all, "AuditDamaged"), 1);
    json_decref(all);
    mem_free(pin);
}

static void nothing_goes_unrecorded(void **state)
{
    static const char *const points[] = { "audit.write", "audit.sync", "file.rename",
                                          "file.write" };
    struct vaultfix *f = *state;

    three_segments(f);
    keep(f, HOUR / 8);
    f->vault->audit_keep_s = 0;
    f->vault->audit_keep_bytes = 1500;
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        fault_arm(points[i], "EIO", 0, -1);
        keep(f, 0);
        fault_disarm_all();
        assert_true(is_there(f, 1));
        get(f, 1);
        assert_int_equal(verified(f).first, 1);
    }
    keep(f, 0);
    assert_false(is_there(f, 1));
    assert_true(verified(f).first > 1);
}

static void a_segment_that_does_not_hold_stays(void **state)
{
    struct vaultfix *f = *state;
    struct buf b = BUF_INIT;
    struct err e = { 0 };
    char *first = segment(f, 1);

    three_segments(f);
    CHECK_RC_OK(file_read(first, 1 << 24, &b, &e), &e);
    b.p[200] ^= 1;
    CHECK_RC_OK(file_write_atomic(first, 0600, buf_view(&b), &e), &e);
    keep(f, 2 * HOUR);
    assert_true(is_there(f, 1) && is_there(f, 2));
    check_damaged(f);
    /* nor does one that lacks its end */
    b.p[200] ^= 1;
    CHECK_RC_OK(file_write_atomic(first, 0600, SLICE(b.p, b.len - 5), &e), &e);
    keep(f, 2 * HOUR);
    assert_true(is_there(f, 1) && is_there(f, 2));
    check_damaged(f);
    /* the control */
    CHECK_RC_OK(file_write_atomic(first, 0600, buf_view(&b), &e), &e);
    keep(f, 2 * HOUR);
    assert_false(is_there(f, 1) || is_there(f, 2));
    verified(f);
    buf_fini(&b);
    mem_free(first);
}

/* A pin of 96 bytes, as earlier releases wrote it. */
static void earlier_pins_are_read(void **state)
{
    struct vaultfix *f = *state;
    struct buf b = BUF_INIT;
    struct secret *k = NULL;
    struct err e = { 0 };
    char *pin = mem_printf("%s.pin.audit", f->root_key);

    get(f, 3);
    vault__audit_close(f->vault);
    CHECK_RC_OK(vault__audit_open(f->vault, &e), &e);
    CHECK_RC_OK(file_read(pin, 1 << 10, &b, &e), &e);
    b.len = 96;
    memcpy(b.p, "CFRVAPN1", 8);
    struct slice part = SLICE(b.p, 64);
    CHECK_RC_OK(vault__derive(f->vault, LABEL_PIN, SLICE(b.p + 8, 16), SLICE_LIT("vault audit"), &k,
                              &e),
                &e);
    CHECK_RC_OK(hmac_sha256(k, &part, 1, b.p + 64, &e), &e);
    CHECK_RC_OK(file_write_atomic(pin, 0600, buf_view(&b), &e), &e);
    assert_int_equal(verified(f).records, 5);
    vault__audit_close(f->vault);
    CHECK_RC_OK(file_write_atomic(pin, 0600, buf_view(&b), &e), &e);
    CHECK_RC_OK(vault__audit_open(f->vault, &e), &e);
    assert_int_equal(verified(f).first, 1);
    json_t *all = records(f);
    assert_int_equal(n_of(all, "AuditDamaged"), 0);
    json_decref(all);
    secret_free(k);
    buf_fini(&b);
    mem_free(pin);
}

/* ---- refusals ---- */

static json_int_t sum_of(const json_t *all)
{
    json_int_t n = 0;

    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *r = json_array_get(all, i);
        if (strcmp(kjson_str(r, "operationName"), "RequestsRefused") == 0)
            n += json_integer_value(json_object_get(json_object_get(r, "properties"), "count"));
    }
    return n;
}

static void strangers_fill_no_disk(void **state)
{
    enum { TIMES = 230, BUCKET = 200, MORE = 20 };
    struct vaultfix *f = *state;

    for (int i = 0; i < TIMES; i++) {
        int got = i % 2 ? vaultfix_call(f, "GET", "/keys/data/" V, NULL, NULL, NULL)
                        : vaultfix_call(f, "GET", "/nothing/here" V, NULL, NULL, NULL);
        assert_int_equal(got, i % 2 ? 401 : 404);
    }
    /* a principal's refusals are not hidden by theirs */
    assert_int_equal(vaultfix_call(f, "DELETE", "/keys/data" V, f->token_node, NULL, NULL), 403);
    vault__refused_sum(f->vault);
    vault__refused_sum(f->vault); /* there is nothing left to sum up */
    json_t *all = records(f);
    int single = n_of(all, "KeyGet") + n_of(all, "RequestRefused");
    /* the bucket fills a little meanwhile */
    assert_in_range(single, BUCKET, TIMES - 1);
    assert_int_equal(single + sum_of(all), TIMES);
    assert_int_equal(n_of(all, "KeyDelete"), 1);
    const json_t *sum = json_array_get(all, json_array_size(all) - 1),
                 *what = json_object_get(sum, "properties"),
                 *one = json_array_get(json_object_get(what, "sources"), 0);
    assert_string_equal(kjson_str(sum, "operationName"), "RequestsRefused");
    assert_string_equal(kjson_str(one, "address"), "127.0.0.1");
    assert_int_equal(json_integer_value(json_object_get(one, "count")), TIMES - single);
    json_t *by = json_object_get(what, "byStatus");
    assert_int_equal(json_integer_value(json_object_get(by, "401")) +
                         json_integer_value(json_object_get(by, "404")),
                     TIMES - single);
    json_decref(all);
    verified(f);
    /* no promise of room is left over */
    assert_int_equal(f->vault->audit->coming, 0);
    /* what is counted when the vault ends is on record */
    for (int i = 0; i < MORE; i++)
        assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, NULL, NULL, NULL), 401);
    reopen(f);
    all = records(f);
    assert_int_equal(n_of(all, "KeyGet") + n_of(all, "RequestRefused") + sum_of(all), TIMES + MORE);
    assert_int_equal(n_of(all, "RequestsRefused"), 2);
    json_decref(all);
}

static void what_reaches_no_operation_is_recorded(void **state)
{
    struct vaultfix *f = *state;

    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/one/two/three" V, f->token_op, NULL, NULL),
                     404);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/data" V, f->token_op, "{}", NULL), 405);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/%zz" V, f->token_op, NULL, NULL), 400);
    json_t *all = records(f);
    static const struct {
        int status;
        const char *code, *path;
    } want[] = {
        { 404, "NotFound", "/keys/data/one/two/three" },
        { 405, "MethodNotAllowed", "/keys/data" },
        { 400, "BadParameter", "/keys/%zz" },
    };
    assert_int_equal(json_array_size(all), 2 + ARRAY_LEN(want)); /* behind two tokens */
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const json_t *r = json_array_get(all, 2 + i), *what = json_object_get(r, "properties");
        assert_string_equal(kjson_str(r, "operationName"), "RequestRefused");
        assert_string_equal(kjson_str(r, "resultDescription"), want[i].code);
        assert_string_equal(kjson_str(r, "callerIpAddress"), "127.0.0.1");
        assert_string_equal(kjson_str(what, "requestPath"), want[i].path);
        assert_int_equal(json_integer_value(json_object_get(what, "httpStatusCode")),
                         want[i].status);
    }
    json_decref(all);
}

#define T(test) cmocka_unit_test_setup_teardown(test, vaultfix_setup, vaultfix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(old_segments_go),
        T(too_many_bytes_go),
        T(only_the_vault_takes_away),
        T(what_lost_its_pin_or_its_files_is_still_read),
        T(nothing_goes_unrecorded),
        T(a_segment_that_does_not_hold_stays),
        T(earlier_pins_are_read),
        T(strangers_fill_no_disk),
        T(what_reaches_no_operation_is_recorded),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests_name("audit_keep", tests, NULL, NULL);
}
