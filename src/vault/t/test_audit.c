/* test_audit.c - the audit log: one record for each operation, chained; what was changed, cut, moved or put back is found; a disk that is full
 * refuses operations. */
#include <sys/stat.h>

#include "base/fault.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "vault_audit_log_priv.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"

static char *segment(struct vaultfix *f, unsigned number)
{
    return mem_printf("%s/audit/%08u.log", f->state_dir, number);
}

static void slurp(const char *path, struct buf *out)
{
    struct err e = { 0 };

    buf_clear(out);
    CHECK_RC_OK(file_read(path, 1 << 25, out, &e), &e);
}

static void spill(const char *path, struct slice content)
{
    struct err e = { 0 };

    CHECK_RC_OK(file_write_atomic(path, 0600, content, &e), &e);
}

static void reopen(struct vaultfix *f)
{
    struct err e = { 0 };

    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
}

static void check_verdict(struct vaultfix *f, bool good)
{
    struct vault_audit_extent x;
    struct err e = { 0 };

    if (good)
        CHECK_RC_OK(vault_audit_verify(f->vault, &x, &e), &e);
    else
        CHECK_RC_FAILS(vault_audit_verify(f->vault, &x, &e), &e, ERR_CORRUPT);
    assert_true(good || x.records == 0);
}

static void get(struct vaultfix *f, int times)
{
    while (times-- > 0)
        assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_node, NULL, NULL), 200);
}

/* Records behind `after`, one text each; the caller's to json_decref(). */
static json_t *records(struct vaultfix *f, uint64_t after)
{
    struct buf lines = BUF_INIT;
    json_t *all = json_array(), *j;
    uint64_t last;
    struct err e = { 0 };

    CHECK_RC_OK(vault_audit_read(f->vault, after, &lines, &last, &e), &e);
    for (char *line = (char *)buf_cstr(&lines), *end; (end = strchr(line, '\n')); line = end + 1) {
        CHECK_RC_OK(kjson_load(SLICE(line, (size_t)(end - line)), 6, &j, &e), &e);
        json_array_append_new(all, j);
    }
    if (json_array_size(all))
        assert_int_equal(last, (uint64_t)json_integer_value(
                                   json_object_get(json_array_get(all, json_array_size(all) - 1),
                                                   "seq")));
    buf_fini(&lines);
    return all;
}

static const char *member(const json_t *record, const char *name)
{
    const char *v = kjson_str(record, name);

    v = v ? v : kjson_str(json_object_get(record, "properties"), name);
    if (!v)
        v = kjson_str(json_object_get(json_object_get(record, "identity"), "claim"), name);
    if (!v)
        fail_msg("the record has no \"%s\"", name);
    return v;
}

static void check_record(const json_t *r, const char *op, const char *key, const char *who,
                         const char *result, const char *code)
{
    assert_string_equal(member(r, "operationName"), op);
    assert_string_equal(member(r, "key"), key);
    assert_string_equal(member(r, "name"), who);
    assert_string_equal(member(r, "resultType"), *code ? "Failed" : "Success");
    assert_string_equal(member(r, "resultSignature"), result);
    assert_string_equal(member(r, "resultDescription"), code);
    assert_string_equal(member(r, "callerIpAddress"), "127.0.0.1");
    assert_int_equal(strlen(member(r, "correlationId")), 36);
    assert_true(!*who || strlen(member(r, "oid")) == 36);
}

static void each_operation_leaves_one_record(void **state)
{
    struct vaultfix *f = *state;
    json_t *wrapped, *opened;
    const char *wrap = "{\"alg\":\"RSA-OAEP-256\",\"value\":\"c2VjcmV0\"}";

    json_t *before = records(f, 0);
    uint64_t n = json_array_size(before);
    json_decref(before);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, NULL, NULL, NULL), 401);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/none/" V, f->token_node, NULL, NULL), 404);
    assert_int_equal(vaultfix_call(f, "DELETE", "/keys/data" V, f->token_node, NULL, NULL), 403);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/data//wrapkey" V, f->token_node, wrap,
                                   &wrapped),
                     200);
    const char *kid = kjson_str(wrapped, "kid"), *version = strrchr(kid, '/') + 1;
    char *path = mem_printf("/keys/data/%s/unwrapkey" V, version);
    char *body =
        mem_printf("{\"alg\":\"RSA-OAEP-256\",\"value\":\"%s\"}", kjson_str(wrapped, "value"));
    assert_int_equal(vaultfix_call(f, "POST", path, f->token_node, body, &opened), 200);
    assert_string_equal(kjson_str(opened, "value"), "c2VjcmV0");
    assert_int_equal(vaultfix_call(f, "PATCH", "/keys/bad_name/" V, f->token_op, "{}", NULL), 400);

    json_t *all = records(f, n);
    assert_int_equal(json_array_size(all), 6);
    check_record(json_array_get(all, 0), "KeyList", "", "", "401", "Unauthorized");
    check_record(json_array_get(all, 1), "KeyGet", "none", "node", "404", "KeyNotFound");
    check_record(json_array_get(all, 2), "KeyDelete", "data", "node", "403", "ForbiddenByRbac");
    check_record(json_array_get(all, 3), "KeyWrap", "data", "node", "200", "");
    check_record(json_array_get(all, 4), "KeyUnwrap", "data", "node", "200", "");
    check_record(json_array_get(all, 5), "KeyUpdate", "", "operator", "400", "BadParameter");
    /* also where the request named none */
    assert_string_equal(member(json_array_get(all, 3), "version"), version);
    assert_string_equal(member(json_array_get(all, 4), "version"), version);
    /* what was wrapped is in no record */
    char *text = json_dumps(all, 0);
    assert_null(strstr(text, "c2VjcmV0"));
    free(text);
    check_verdict(f, true);
    json_decref(all);
    json_decref(wrapped);
    json_decref(opened);
    mem_free(path);
    mem_free(body);
}

static void push_hex(struct buf *out, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%02x", p[i]);
}

/* A reader of the lines alone can check that none is missing: the chain is over their texts. */
static void the_chain_is_over_the_texts(void **state)
{
    struct vaultfix *f = *state;
    struct buf lines = BUF_INIT;
    uint8_t chain[32] = { 0 }, next[32], number[8];
    uint64_t last, n = 0;
    struct err e = { 0 };

    get(f, 5);
    CHECK_RC_OK(vault_audit_read(f->vault, 0, &lines, &last, &e), &e);
    for (char *line = (char *)buf_cstr(&lines), *end; (end = strchr(line, '\n')); line = end + 1) {
        struct buf head = BUF_INIT, text = BUF_INIT;
        char *rest = strstr(line, "\",") + 2;
        buf_printf(&text, "{%.*s", (int)(end - rest), rest);
        put_be64(number, ++n);
        struct slice parts[] = { SLICE(chain, 32), SLICE(number, 8), buf_view(&text) };
        CHECK_RC_OK(sha256(parts, 3, next, &e), &e);
        memcpy(chain, next, sizeof chain);
        buf_printf(&head, "{\"seq\":%llu,\"chain\":\"", (unsigned long long)n);
        push_hex(&head, chain, 32);
        if (strncmp(line, buf_cstr(&head), head.len) != 0)
            fail_msg("record %llu: %.120s", (unsigned long long)n, line);
        buf_fini(&head);
        buf_fini(&text);
    }
    assert_true(n >= 5 && n == last);
    buf_fini(&lines);
}

static bool count_record(void *ctx, const struct audit_at *at, struct slice text)
{
    (void)at;
    (void)text;
    ++*(int *)ctx;
    return true;
}

/* Every byte of a segment, in its own bits. */
static void every_flip_is_found(void **state)
{
    struct vaultfix *f = *state;
    struct buf b = BUF_INIT;
    char *path = segment(f, 1);
    struct err e = { 0 };
    int whole = 0;

    get(f, 3);
    slurp(path, &b);
    struct audit_walk w = { 0 };
    CHECK_RC_OK(vault__audit_walk(f->vault, buf_view(&b), 1, &w, count_record, &whole, &e), &e);
    assert_true(whole >= 3 && !w.torn && w.good == b.len);
    for (size_t i = 0; i < b.len; i++) {
        int seen = 0;
        w = (struct audit_walk){ 0 };
        b.p[i] ^= (uint8_t)(1u << (i % 8));
        bool failed =
            vault__audit_walk(f->vault, buf_view(&b), 1, &w, count_record, &seen, &e).failed;
        if (!failed || (e.code != ERR_CORRUPT && e.code != ERR_UNKNOWN_FORMAT) || w.good > i)
            fail_msg("byte %zu flipped: code %d, %zu bytes hold", i, (int)e.code, w.good);
        err_reset(&e);
        b.p[i] ^= (uint8_t)(1u << (i % 8));
    }
    buf_fini(&b);
    mem_free(path);
}

/* At each length it is torn, or it ends behind a record and is shorter than what came after it remembers. */
static void every_cut_is_seen(void **state)
{
    struct vaultfix *f = *state;
    struct buf b = BUF_INIT;
    char *path = segment(f, 1);
    struct err e = { 0 };
    int ends = 0;

    get(f, 3);
    slurp(path, &b);
    for (size_t len = 0; len < b.len; len++) {
        struct audit_walk w = { 0 };
        bool failed = vault__audit_walk(f->vault, SLICE(b.p, len), 1, &w, NULL, NULL, &e).failed;
        assert_int_equal(failed, len < AUDIT_HEADER_LEN);
        err_reset(&e);
        if (!failed && !w.torn) {
            assert_int_equal(w.good, len);
            ends++;
        }
    }
    struct audit_walk all = { 0 };
    CHECK_RC_OK(vault__audit_walk(f->vault, buf_view(&b), 1, &all, NULL, NULL, &e), &e);
    assert_int_equal(ends, all.at.seq); /* the header alone, and behind each record but the last */
    buf_fini(&b);
    mem_free(path);
}

static const char *note_of(json_t *all, const char *operation, int *times)
{
    const char *what = NULL;

    *times = 0;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *r = json_array_get(all, i);
        if (!kjson_has(r, "operationName") || strcmp(kjson_str(r, "operationName"), operation) != 0)
            continue;
        what = kjson_str(r, "resultDescription");
        ++*times;
    }
    return what;
}

static void check_noted_times(struct vaultfix *f, const char *operation, int want)
{
    json_t *all = records(f, 0);
    int times;
    const char *what = note_of(all, operation, &times);

    if (times != want)
        fail_msg("%s: noted %d times in place of %d, last: %s", operation, times, want,
                 what ? what : "");
    json_decref(all);
}

static void check_noted(struct vaultfix *f, const char *operation, bool there)
{
    check_noted_times(f, operation, there);
}

static void a_torn_end_is_a_crash(void **state)
{
    struct vaultfix *f = *state;
    struct buf b = BUF_INIT;
    char *path = segment(f, 1);
    size_t n;

    get(f, 3);
    vaultfix_down(f);
    slurp(path, &b);
    n = b.len;
    /* as if the process had ended inside of a write: the length's own frame, then nothing */
    buf_push(&b, "\0\0\1", 3);
    spill(path, buf_view(&b));
    reopen(f);
    check_noted(f, "AuditDamaged", false);
    check_noted(f, "AuditTornEnd", true);
    check_verdict(f, true);
    slurp(path, &b);
    assert_int_equal(b.len, n);
    buf_fini(&b);
    mem_free(path);
}

static void records_cut_off_are_missed(void **state)
{
    struct vaultfix *f = *state;
    struct buf b = BUF_INIT;
    char *path = segment(f, 1);
    struct err e = { 0 };

    get(f, 3);
    slurp(path, &b);
    struct audit_walk w = { 0 };
    size_t first = 0;
    CHECK_RC_OK(vault__audit_walk(f->vault, buf_view(&b), 1, &w, NULL, NULL, &e), &e);
    first = AUDIT_HEADER_LEN + 12 + get_be32(b.p + AUDIT_HEADER_LEN) + 16;
    /* while it runs */
    assert_int_equal(truncate(path, (off_t)first), 0);
    check_verdict(f, false);
    spill(path, buf_view(&b));
    check_verdict(f, true);
    /* while it does not: the pin remembers how many there were */
    vaultfix_down(f);
    assert_int_equal(truncate(path, (off_t)first), 0);
    reopen(f);
    check_noted(f, "AuditDamaged", true);
    check_verdict(f, false);
    /* the records that follow do not heal it */
    vaultfix_down(f);
    reopen(f);
    check_verdict(f, false);
    buf_fini(&b);
    mem_free(path);
}

static void records_do_not_change_places(void **state)
{
    struct vaultfix *f = *state;
    struct buf b = BUF_INIT, other = BUF_INIT;
    char *path = segment(f, 1);
    struct err e = { 0 };

    get(f, 2);
    slurp(path, &b);
    size_t at = AUDIT_HEADER_LEN, one = 28 + get_be32(b.p + at),
           two = 28 + get_be32(b.p + at + one);
    buf_push(&other, b.p, at);
    buf_push(&other, b.p + at + one, two);
    buf_push(&other, b.p + at, one);
    struct audit_walk w = { 0 };
    CHECK_RC_FAILS(vault__audit_walk(f->vault, buf_view(&other), 1, &w, NULL, NULL, &e), &e,
                   ERR_CORRUPT);
    /* left out; twice */
    buf_clear(&other);
    buf_push(&other, b.p, at);
    buf_push(&other, b.p + at + one, b.len - at - one);
    w = (struct audit_walk){ 0 };
    CHECK_RC_FAILS(vault__audit_walk(f->vault, buf_view(&other), 1, &w, NULL, NULL, &e), &e,
                   ERR_CORRUPT);
    buf_clear(&other);
    buf_push(&other, b.p, at + one);
    buf_push(&other, b.p + at, b.len - at);
    w = (struct audit_walk){ 0 };
    CHECK_RC_FAILS(vault__audit_walk(f->vault, buf_view(&other), 1, &w, NULL, NULL, &e), &e,
                   ERR_CORRUPT);
    buf_fini(&b);
    buf_fini(&other);
    mem_free(path);
}

static void restart(struct vaultfix *f)
{
    vaultfix_down(f);
    reopen(f);
    vaultfix_serve(f);
}

static void segments_do_not_change_places(void **state)
{
    struct vaultfix *f = *state;
    struct buf one = BUF_INIT, two = BUF_INIT, three = BUF_INIT;
    char *first = segment(f, 1), *second = segment(f, 2), *third = segment(f, 3);

    get(f, 2);
    restart(f);
    get(f, 2);
    restart(f);
    get(f, 2);
    check_verdict(f, true);
    slurp(first, &one);
    slurp(second, &two);
    slurp(third, &three);
    spill(first, buf_view(&two)); /* swapped */
    spill(second, buf_view(&one));
    check_verdict(f, false);
    spill(first, buf_view(&one));
    assert_int_equal(unlink(second), 0); /* gone from the middle */
    check_verdict(f, false);
    spill(second, buf_view(&one)); /* an old one in its place */
    check_verdict(f, false);
    spill(second, buf_view(&two));
    check_verdict(f, true);
    /* replayed at the end, and at the beginning, of what is there */
    vaultfix_down(f);
    char *fourth = segment(f, 4);
    spill(fourth, buf_view(&two));
    reopen(f);
    check_noted(f, "AuditDamaged", true);
    check_verdict(f, false);
    json_t *all = records(f, 0); /* the rest can be read, and what cannot is said */
    int damaged = 0;
    for (size_t i = 0; i < json_array_size(all); i++)
        damaged += kjson_has(json_array_get(all, i), "damage");
    assert_int_equal(damaged, 1);
    json_decref(all);
    buf_fini(&one);
    buf_fini(&two);
    buf_fini(&three);
    mem_free(first);
    mem_free(second);
    mem_free(third);
    mem_free(fourth);
}

static void an_old_whole_is_missed(void **state)
{
    struct vaultfix *f = *state;
    struct buf old = BUF_INIT;
    char *path = segment(f, 1), *second = segment(f, 2);

    get(f, 2);
    vaultfix_down(f);
    slurp(path, &old);
    reopen(f);
    vaultfix_serve(f);
    get(f, 2);
    vaultfix_down(f);
    spill(path, buf_view(&old));
    assert_int_equal(unlink(second), 0);
    reopen(f);
    check_noted(f, "AuditDamaged", true);
    check_verdict(f, false);
    buf_fini(&old);
    mem_free(path);
    mem_free(second);
}

static void the_pin_counts(void **state)
{
    struct vaultfix *f = *state;
    struct buf pin = BUF_INIT;
    char *path = mem_printf("%s.pin.audit", f->root_key);
    int damaged = 0;

    get(f, 2);
    vaultfix_down(f);
    slurp(path, &pin);
    assert_int_equal(pin.len, 144);
    for (size_t i = 0; i < pin.len; i++) {
        pin.p[i] ^= 4;
        spill(path, buf_view(&pin));
        pin.p[i] ^= 4;
        reopen(f);
        check_verdict(f, false);
        check_noted_times(f, "AuditDamaged", ++damaged); /* each time anew */
        vaultfix_down(f);
        i += i < 8 ? 0 : 6;
    }
    for (size_t n = 0; n < 2; n++) { /* too short, too long */
        spill(path, SLICE(pin.p, pin.len - 1));
        reopen(f);
        check_noted_times(f, "AuditDamaged", ++damaged);
        vaultfix_down(f);
        buf_push_u8(&pin, 0);
        buf_push_u8(&pin, 0);
    }
    buf_fini(&pin);
    mem_free(path);
}

/* Its place has a name that no JSON can hold. */
static void an_unreadable_pin_is_noted(void **state)
{
    struct vaultfix *f = *state;
    char *state_pin = mem_printf("%s.pin", f->root_key),
         *audit_pin = mem_printf("%s.pin.audit", f->root_key),
         *moved = mem_printf("%s/\xfc.pin", f->dir),
         *moved_audit = mem_printf("%s/\xfc.pin.audit", f->dir);
    uint8_t long_one[97] = { 0 };

    vaultfix_down(f);
    assert_int_equal(rename(state_pin, moved), 0);
    assert_int_equal(rename(audit_pin, moved_audit), 0);
    f->config.pin_file = moved;
    reopen(f);
    check_verdict(f, true);
    vaultfix_down(f);
    spill(moved_audit, SLICE(long_one, sizeof long_one));
    reopen(f);
    check_noted(f, "AuditDamaged", true);
    check_verdict(f, false);
    vaultfix_down(f);
    f->config.pin_file = NULL;
    mem_free(state_pin);
    mem_free(audit_pin);
    mem_free(moved);
    mem_free(moved_audit);
}

static void a_lost_pin_is_noted(void **state)
{
    struct vaultfix *f = *state;
    char *path = mem_printf("%s.pin.audit", f->root_key);

    get(f, 1);
    vaultfix_down(f);
    assert_int_equal(unlink(path), 0);
    reopen(f);
    check_noted(f, "AuditDamaged", true);
    check_verdict(f, false);
    mem_free(path);
}

static void another_vaults_log_is_not_taken(void **state)
{
    struct vaultfix *f = *state, *other = vaultfix_start();
    struct buf b = BUF_INIT;
    char *path = segment(other, 1), *mine = segment(f, 1);

    get(other, 2);
    get(f, 2);
    slurp(path, &b);
    spill(mine, buf_view(&b));
    check_verdict(f, false);
    buf_fini(&b);
    mem_free(path);
    mem_free(mine);
    vaultfix_stop(other);
}

/* Nothing is done without a record: the key is not deleted by the request that is refused. */
static void a_full_disk_refuses(void **state)
{
    struct vaultfix *f = *state;
    json_t *body;

    get(f, 1);
    restart(f);
    f->vault->audit->room = f->vault->audit->len; /* none is left */
    fault_arm("audit.room", "ENOSPC", 0, -1);
    assert_int_equal(vaultfix_call(f, "DELETE", "/keys/data" V, f->token_op, NULL, &body), 500);
    const json_t *error = json_object_get(body, "error");
    assert_string_equal(kjson_str(json_object_get(error, "innererror"), "code"),
                        "AuditLogUnavailable");
    assert_non_null(strstr(kjson_str(error, "message"), "audit"));
    json_decref(body);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, NULL), 500);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, NULL, NULL, NULL), 500);
    fault_disarm_all();
    get(f, 1); /* by itself, and the key is still there */
    check_verdict(f, true);
    check_noted(f, "KeyDelete", false);
}

/* The disk fails when the record is written: what was unwrapped stays inside. */
static void a_failing_disk_withholds_the_answer(void **state)
{
    struct vaultfix *f = *state;
    json_t *wrapped, *body;

    assert_int_equal(vaultfix_call(f, "POST", "/keys/data//wrapkey" V, f->token_node,
                                   "{\"alg\":\"RSA-OAEP-256\",\"value\":\"c2VjcmV0\"}", &wrapped),
                     200);
    char *ask =
        mem_printf("{\"alg\":\"RSA-OAEP-256\",\"value\":\"%s\"}", kjson_str(wrapped, "value"));
    fault_arm("audit.write", "EIO", 0, 1);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/data//unwrapkey" V, f->token_node, ask, &body),
                     500);
    assert_null(kjson_str(body, "value"));
    json_decref(body);
    check_noted(f, "KeyUnwrap", false);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/data//unwrapkey" V, f->token_node, ask, &body),
                     200);
    assert_string_equal(kjson_str(body, "value"), "c2VjcmV0");
    json_decref(body);
    check_noted(f, "KeyUnwrap", true);
    check_verdict(f, true);
    /* the nonce of the record that failed is not used again: another segment goes on */
    char *second = segment(f, 2);
    assert_true(path_exists(second));
    json_decref(wrapped);
    mem_free(second);
    mem_free(ask);
}

/* An owed pin holds operations up, and no longer than it is owed. */
static void a_pin_that_fails_is_owed(void **state)
{
    struct vaultfix *f = *state;

    f->vault->audit->pin_us = UINT64_MAX; /* by time there is none in between */
    get(f, 1);
    /* the state is saved, with its pin; then the record's own pin fails */
    fault_arm("file.rename", "EIO", 2, 2);
    assert_int_equal(vaultfix_call(f, "PATCH", "/keys/data/" V, f->token_op,
                                   "{\"tags\":{\"a\":\"b\"}}", NULL),
                     200);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, NULL), 500);
    get(f, 1);
    fault_disarm_all();
    check_verdict(f, true);
}

/* What the vault does by itself is on record too, and not done when it cannot be. */
static void rotations_of_its_own(void **state)
{
    struct vaultfix *f = *state;
    json_t *all;
    const json_t *r;

    assert_int_equal(
        vaultfix_call(f, "PUT", "/keys/data/rotationpolicy" V, f->token_op,
                      "{\"lifetimeActions\":[{\"trigger\":{\"timeAfterCreate\":\"P30D\"},"
                      "\"action\":{\"type\":\"Rotate\"}}]}",
                      NULL),
        200);
    int64_t then_s = clock_real_s() + 31 * 86400;
    fault_arm("audit.room", "ENOSPC", 0, -1);
    /* the room that is taken already is used up first */
    struct err e = { 0 };
    while (!vault__audit_ready(f->vault, &e).failed)
        ;
    vault__rotator_pass(f->vault, then_s);
    fault_disarm_all();
    check_noted(f, "KeyRotateIfDue", false);
    vault__rotator_pass(f->vault, then_s);
    all = records(f, 0);
    r = json_array_get(all, json_array_size(all) - 1);
    assert_string_equal(member(r, "operationName"), "KeyRotateIfDue");
    assert_string_equal(member(r, "key"), "data");
    assert_string_equal(member(r, "resultType"), "Success");
    assert_int_equal(strlen(member(r, "version")), 32);
    json_decref(all);
    check_verdict(f, true);
}

static void long_logs_have_many_segments(void **state)
{
    struct vaultfix *f = *state;
    struct buf text = BUF_INIT;
    struct err e = { 0 };
    struct vault_audit_extent before, after;
    struct stat st;
    char *path = segment(f, 1), *second = segment(f, 2);

    CHECK_RC_OK(vault_audit_verify(f->vault, &before, &e), &e);
    buf_printf(&text, "{\"operationName\":\"%0*d\"}", AUDIT_RECORD_MAX - 32, 7);
    for (int i = 0; i < 1100; i++) {
        CHECK_RC_OK(vault__audit_ready(f->vault, &e), &e);
        CHECK_RC_OK(vault__audit_write(f->vault, buf_view(&text), false, &e), &e);
    }
    assert_true(path_exists(second));
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size <= AUDIT_SEGMENT_MAX);
    /* the room that was not used has been given back */
    assert_true(st.st_blocks * 512 <= st.st_size + (1 << 16));
    CHECK_RC_OK(vault_audit_verify(f->vault, &after, &e), &e);
    assert_int_equal(after.records, before.records + 1100);
    uint64_t last = 0, sum = 0;
    for (;;) {
        json_t *some = records(f, last);
        size_t n = json_array_size(some);
        if (n)
            last =
                (uint64_t)json_integer_value(json_object_get(json_array_get(some, n - 1), "seq"));
        json_decref(some);
        sum += n;
        if (n == 0)
            break;
    }
    assert_int_equal(sum, after.records);
    buf_push(&text, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 32); /* longer than a record may be */
    CHECK_RC_OK(vault__audit_ready(f->vault, &e), &e);
    CHECK_RC_FAILS(vault__audit_write(f->vault, buf_view(&text), false, &e), &e, ERR_BAD_VALUE);
    get(f, 1);
    check_verdict(f, true);
    buf_fini(&text);
    mem_free(path);
    mem_free(second);
}

/* What another segment builds on is on the disk first: a power cut must not make a whole log look damaged. */
static void a_segment_is_kept_before_the_next(void **state)
{
    struct vaultfix *f = *state;
    struct buf text = BUF_INIT;
    struct err e = { 0 };
    char *second = segment(f, 2), *third = segment(f, 3);

    /* at a start, which goes on behind what the process before it left */
    get(f, 1);
    vaultfix_down(f);
    fault_arm("audit.sync", "EIO", 0, 1);
    CHECK_RC_FAILS(vault_open(&f->config, &f->vault, &e), &e, ERR_IO);
    assert_false(path_exists(second));
    fault_disarm_all();
    reopen(f);
    assert_true(path_exists(second));
    /* and when one is full */
    buf_printf(&text, "{\"operationName\":\"%0*d\"}", AUDIT_RECORD_MAX - 32, 7);
    for (int i = 0; i < AUDIT_SEGMENT_MAX / AUDIT_FRAME_MAX - 1; i++) {
        CHECK_RC_OK(vault__audit_ready(f->vault, &e), &e);
        CHECK_RC_OK(vault__audit_write(f->vault, buf_view(&text), /* lasting= */ i % 100 == 0, &e),
                    &e);
    }
    fault_arm("audit.sync", "EIO", 0, -1);
    while (!vault__audit_ready(f->vault, &e).failed)
        CHECK_RC_OK(vault__audit_write(f->vault, buf_view(&text), false, &e), &e);
    assert_int_equal(e.code, ERR_IO);
    assert_false(path_exists(third));
    fault_disarm_all();
    err_reset(&e);
    CHECK_RC_OK(vault__audit_ready(f->vault, &e), &e);
    CHECK_RC_OK(vault__audit_write(f->vault, buf_view(&text), false, &e), &e);
    check_verdict(f, true);
    buf_fini(&text);
    mem_free(second);
    mem_free(third);
}

#define T(name) cmocka_unit_test_setup_teardown(name, vaultfix_setup, vaultfix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_operation_leaves_one_record),
        T(the_chain_is_over_the_texts),
        T(every_flip_is_found),
        T(every_cut_is_seen),
        T(a_torn_end_is_a_crash),
        T(records_cut_off_are_missed),
        T(records_do_not_change_places),
        T(segments_do_not_change_places),
        T(an_old_whole_is_missed),
        T(the_pin_counts),
        T(an_unreadable_pin_is_noted),
        T(a_lost_pin_is_noted),
        T(another_vaults_log_is_not_taken),
        T(a_full_disk_refuses),
        T(a_failing_disk_withholds_the_answer),
        T(a_pin_that_fails_is_owed),
        T(rotations_of_its_own),
        T(long_logs_have_many_segments),
        T(a_segment_is_kept_before_the_next),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
