/* test_retention.c - deleted keys whose time is over: they go by themselves, on record, wherever that is found first. */
#include "base/fault.h"
#include "vault_audit_log_priv.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"
enum { DAY = 86400 };

static int call(struct vaultfix *f, const char *method, const char *path, const char *body)
{
    return vaultfix_call(f, method, path, f->token_op, body, NULL);
}

/* How many records there are of keys that went by themselves; all have to be of that key. */
static int purged(struct vaultfix *f, const char *key)
{
    struct vault_audit_extent x;
    struct buf lines = BUF_INIT;
    struct err e = { 0 };
    uint64_t last;
    int n = 0;
    json_t *j;

    CHECK_RC_OK(vault_audit_verify(f->vault, &x, &e), &e);
    CHECK_RC_OK(vault_audit_read(f->vault, 0, &lines, &last, &e), &e);
    for (char *line = (char *)buf_cstr(&lines), *end; (end = strchr(line, '\n')); line = end + 1) {
        CHECK_RC_OK(kjson_load(SLICE(line, (size_t)(end - line)), 6, &j, &e), &e);
        const char *by = kjson_str(kjson_obj(kjson_obj(j, "identity"), "claim"), "by");
        const json_t *what = kjson_obj(j, "properties");
        if (by && strcmp(by, "retention") == 0) {
            n++;
            assert_string_equal(kjson_str(j, "operationName"), "KeyPurge");
            assert_string_equal(kjson_str(j, "category"), "AuditEvent");
            assert_string_equal(kjson_str(j, "resultType"), "Success");
            assert_string_equal(kjson_str(what, "vault"), "main");
            assert_string_equal(kjson_str(what, "key"), key);
        }
        json_decref(j);
    }
    buf_fini(&lines);
    return n;
}

static int held(struct vaultfix *f)
{
    return f->vault->vaults[0]->n_keys;
}

/* As if it had been deleted so long ago that its time is over. */
static void make_old(struct vaultfix *f)
{
    struct vkey *k = vault__find_deleted(f->vault->vaults[0], "data");

    assert_non_null(k);
    k->deleted_s -= (int64_t)91 * DAY;
    k->purge_s -= (int64_t)91 * DAY;
}

static void a_deleted_key_goes_when_its_time_is_over(void **state)
{
    struct vaultfix *f = *state;
    int64_t now = clock_real_s();
    struct err e = { 0 };

    assert_int_equal(call(f, "DELETE", "/keys/data" V, NULL), 200);
    vault__rotator_pass(f->vault, now + (int64_t)89 * DAY);
    assert_int_equal(held(f), 1);
    assert_int_equal(purged(f, "data"), 0);
    /* neither what cannot be recorded goes, nor what cannot be saved */
    fault_arm("audit.room", "ENOSPC", 0, -1);
    f->vault->audit->room = f->vault->audit->len;
    vault__rotator_pass(f->vault, now + (int64_t)91 * DAY);
    fault_disarm_all();
    assert_int_equal(held(f), 1);
    fault_arm("file.create", "ENOSPC", 0, -1);
    vault__rotator_pass(f->vault, now + (int64_t)91 * DAY);
    fault_disarm_all();
    assert_int_equal(held(f), 1);
    assert_int_equal(purged(f, "data"), 0);
    for (int i = 0; i < 2; i++)
        vault__rotator_pass(f->vault, now + (int64_t)91 * DAY);
    assert_int_equal(held(f), 0);
    assert_int_equal(purged(f, "data"), 1);
    /* it was saved */
    vaultfix_down(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(held(f), 0);
    assert_int_equal(call(f, "GET", "/deletedkeys/data" V, NULL), 404);
    assert_int_equal(purged(f, "data"), 1);
}

static void whoever_asks_first_finds_it_gone(void **state)
{
    static const struct {
        const char *method, *path, *body;
        int status, left;
    } asked[] = {
        { "GET", "/deletedkeys/data" V, NULL, 404, 0 },
        { "POST", "/deletedkeys/data/recover" V, NULL, 404, 0 },
        { "DELETE", "/deletedkeys/data" V, NULL, 404, 0 },
        { "POST", "/keys/data/create" V, "{\"kty\":\"EC\"}", 200, 1 },
    };
    struct vaultfix *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        if (i > 0)
            assert_int_equal(call(f, "POST", "/keys/data/create" V, "{\"kty\":\"EC\"}"), 200);
        assert_int_equal(call(f, "DELETE", "/keys/data" V, NULL), 200);
        make_old(f);
        assert_int_equal(call(f, asked[i].method, asked[i].path, asked[i].body), asked[i].status);
        assert_int_equal(held(f), asked[i].left);
        assert_int_equal(purged(f, "data"), (int)i + 1);
    }
}

/* What must stay for want of room for its record is no more to be had all the same. */
static void what_is_over_is_not_recovered(void **state)
{
    struct vaultfix *f = *state;
    json_t *j;

    assert_int_equal(call(f, "DELETE", "/keys/data" V, NULL), 200);
    make_old(f);
    fault_arm("file.create", "ENOSPC", 0, -1);
    assert_int_equal(call(f, "POST", "/deletedkeys/data/recover" V, NULL), 404);
    fault_disarm_all();
    assert_int_equal(held(f), 1);
    assert_int_equal(vaultfix_call(f, "GET", "/deletedkeys" V, f->token_op, NULL, &j), 200);
    assert_int_equal(json_array_size(kjson_arr(j, "value")), 0);
    assert_int_equal(purged(f, "data"), 0);
    json_decref(j);
}

/* A start that finds it is over, too: and what the settings ask for can then be made anew. */
static void a_start_lets_it_go(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };

    assert_int_equal(call(f, "DELETE", "/keys/data" V, NULL), 200);
    make_old(f);
    assert_int_equal(call(f, "POST", "/keys/other/create" V, "{\"kty\":\"EC\"}"), 200); /* saves */
    vaultfix_down(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    CHECK_RC_OK(vault_ensure_key(f->vault, "main", "data", 2048, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(call(f, "GET", "/keys/data/" V, NULL), 200);
    assert_int_equal(purged(f, "data"), 1);
}

static void many_go_at_once(void **state)
{
    enum { MANY = 150 };
    struct vaultfix *f = *state;
    struct keyvault *kv = f->vault->vaults[0];

    mutex_lock(&f->vault->lock);
    for (int i = 0; i < MANY; i++) {
        struct vkey *k = NEW(struct vkey);
        (void)snprintf(k->name, sizeof k->name, "many-%d", i);
        k->deleted_s = 1;
        k->purge_s = i % 3 ? 2 : INT64_MAX;
        vault__give_key(kv, k);
    }
    vault__purge_due(f->vault, kv, clock_real_s());
    assert_int_equal(kv->n_keys, 1 + MANY / 3);
    for (int i = 0; i < MANY; i += 3) { /* a state with a key without versions is none */
        char name[16];
        (void)snprintf(name, sizeof name, "many-%d", i);
        vault__key_free(vault__take_key(kv, name));
    }
    mutex_unlock(&f->vault->lock);
    assert_int_equal(f->vault->audit->coming, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_deleted_key_goes_when_its_time_is_over, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(whoever_asks_first_finds_it_gone, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(what_is_over_is_not_recovered, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(a_start_lets_it_go, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(many_go_at_once, vaultfix_setup, vaultfix_teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
