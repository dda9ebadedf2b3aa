/* test_backup.c - backup and restore: the same key comes back, whole, where it may, and nothing else does. And what release answers. */
#include "base/fault.h"
#include "base/text.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"

static int call(struct vaultfix *f, const char *method, const char *path, const char *body,
                json_t **out)
{
    return vaultfix_call(f, method, path, f->token_op, body, out);
}

static void put_vault(struct vaultfix *f, const char *vault, const char *settings)
{
    struct err e = { 0 };

    CHECK_RC_OK(vault_put_vault(f->vault, vault, slice_str(settings), &e), &e);
    CHECK_RC_OK(vault_grant(f->vault, vault, "operator", "crypto-officer", &e), &e);
}

/* {"value": "..."}: the answer of a backup, which is the body of a restore. */
static char *backup(struct vaultfix *f, const char *key)
{
    char *path = mem_printf("/keys/%s/backup" V, key);
    struct buf b = BUF_INIT;
    json_t *j;

    assert_int_equal(call(f, "POST", path, NULL, &j), 200);
    assert_int_equal(json_object_size(j), 1);
    assert_non_null(kjson_str(j, "value"));
    kjson_dump(j, &b);
    char *body = mem_strdup(buf_cstr(&b));
    json_decref(j);
    buf_fini(&b);
    mem_free(path);
    return body;
}

static int restore_at(struct vaultfix *f, const char *vault, const char *body, json_t **out)
{
    return vaultfix_call_at(f, vault, "POST", "/keys/restore" V, body, out);
}

static void a_key_comes_back_whole(void **state)
{
    struct vaultfix *f = *state;
    json_t *j, *before, *after;

    /* two versions, of which the older one wrapped something */
    assert_int_equal(call(f, "POST", "/keys/data//wrapkey" V,
                          "{\"alg\":\"RSA-OAEP-256\",\"value\":\"c2VjcmV0\"}", &j),
                     200);
    const char *kid = kjson_str(j, "kid");
    char *path = mem_printf("/keys/data/%s/unwrapkey" V, strrchr(kid, '/') + 1),
         *opening =
             mem_printf("{\"alg\":\"RSA-OAEP-256\",\"value\":\"%s\"}", kjson_str(j, "value"));
    json_decref(j);
    assert_int_equal(
        call(
            f, "POST", "/keys/data/create" V,
            "{\"kty\":\"EC\",\"tags\":{\"a\":\"b\"},\"attributes\":{\"nbf\":1600000000,\"exp\":4000000000}}",
            &before),
        200);
    assert_int_equal(call(f, "PUT", "/keys/data/rotationpolicy" V,
                          "{\"attributes\":{\"expiryTime\":\"P90D\"}}", NULL),
                     200);
    char *body = backup(f, "data");

    put_vault(f, "second", "{}");
    assert_int_equal(restore_at(f, "second", body, &after), 200);
    assert_non_null(strstr(kjson_str(kjson_obj(after, "key"), "kid"), "https://second."));
    json_object_del(json_object_get(before, "key"), "kid");
    json_object_del(json_object_get(after, "key"), "kid");
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    assert_int_equal(vaultfix_call_at(f, "second", "POST", path, opening, &j), 200);
    assert_string_equal(kjson_str(j, "value"), "c2VjcmV0");
    json_decref(j);
    assert_int_equal(vaultfix_call_at(f, "second", "GET", "/keys/data/rotationpolicy" V, NULL, &j),
                     200);
    assert_string_equal(kjson_str(kjson_obj(j, "attributes"), "expiryTime"), "P90D");
    json_decref(j);

    /* where it came from, after it is gone for good */
    put_vault(f, "loose", "{\"properties\":{\"enablePurgeProtection\":false}}");
    assert_int_equal(restore_at(f, "loose", body, NULL), 200);
    assert_int_equal(restore_at(f, "loose", body, &j), 409); /* it is there */
    assert_string_equal(kjson_str(kjson_obj(j, "error"), "code"), "Conflict");
    json_decref(j);
    assert_int_equal(vaultfix_call_at(f, "loose", "DELETE", "/keys/data" V, NULL, NULL), 200);
    assert_int_equal(restore_at(f, "loose", body, &j), 409);
    assert_string_equal(kjson_str(kjson_obj(kjson_obj(j, "error"), "innererror"), "code"),
                        "ObjectIsDeletedButRecoverable");
    json_decref(j);
    assert_int_equal(vaultfix_call_at(f, "loose", "DELETE", "/deletedkeys/data" V, NULL, NULL),
                     204);
    assert_int_equal(vaultfix_call_at(f, "loose", "POST", path, opening, NULL), 404);
    assert_int_equal(restore_at(f, "loose", body, NULL), 200);
    /* and it stays */
    struct err e = { 0 };
    vaultfix_down(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(vaultfix_call_at(f, "loose", "POST", path, opening, NULL), 200);
    mem_free(body);
    mem_free(path);
    mem_free(opening);
}

static void only_where_it_may(void **state)
{
    struct vaultfix *f = *state, *other = vaultfix_start();
    char *body = backup(f, "data");
    json_t *j;

    put_vault(f, "far", "{\"geography\":\"Elsewhere\"}");
    put_vault(f, "foreign", "{\"subscriptionId\":\"11111111-2222-3333-4444-555555555555\"}");
    assert_int_equal(restore_at(f, "far", body, &j), 400);
    assert_non_null(strstr(kjson_str(kjson_obj(j, "error"), "message"), "geography"));
    json_decref(j);
    assert_int_equal(restore_at(f, "foreign", body, &j), 400);
    assert_non_null(strstr(kjson_str(kjson_obj(j, "error"), "message"), "subscription"));
    json_decref(j);
    put_vault(other, "fresh", "{}");
    assert_int_equal(restore_at(other, "fresh", body, NULL), 400); /* another root key */
    vaultfix_stop(other);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/data/backup" V, f->token_node, NULL, NULL),
                     403);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/restore" V, f->token_node, body, NULL), 403);
    assert_int_equal(call(f, "POST", "/keys/nope/backup" V, NULL, NULL), 404);
    put_vault(f, "second", "{}");
    fault_arm("file.write", "ENOSPC", 0, -1);
    assert_int_equal(restore_at(f, "second", body, NULL), 500);
    fault_disarm_all();
    assert_int_equal(vaultfix_call_at(f, "second", "GET", "/keys/data/" V, NULL, NULL), 404);
    assert_int_equal(restore_at(f, "second", body, NULL), 200);
    mem_free(body);
}

static void every_flipped_byte_is_found(void **state)
{
    struct vaultfix *f = *state;
    struct vault_props *props = vault__find_vault(f->vault, "main")->props;
    struct buf blob = BUF_INIT;
    struct err e = { 0 };
    struct vkey *k;

    assert_int_equal(call(f, "POST", "/keys/small/create" V, "{\"kty\":\"EC\"}", NULL), 200);
    const struct keyvault *kv = vault__find_vault(f->vault, "main");
    CHECK_RC_OK(vault__backup_make(f->vault, kv, vault__find_key(kv, "small"), &blob, &e), &e);
    CHECK_RC_OK(vault__backup_open(f->vault, buf_view(&blob), "main", props, &k, &e), &e);
    vault__key_free(k);
    for (size_t i = 0; i < blob.len; i++) {
        struct err why = { 0 };
        blob.p[i] ^= 1;
        CHECK_RC_FAILS(vault__backup_open(f->vault, buf_view(&blob), "main", props, &k, &why), &why,
                       ERR_CORRUPT);
        assert_null(k);
        blob.p[i] ^= 1;
    }
    for (size_t len = 0; len < blob.len; len++) {
        struct err why = { 0 };
        CHECK_RC_FAILS(vault__backup_open(f->vault, SLICE(blob.p, len), "main", props, &k, &why),
                       &why, ERR_CORRUPT);
    }
    buf_fini(&blob);
    static const char *const bad[] = {
        "{}", "{\"value\":1}", "{\"value\":\"\"}", "{\"value\":\"!\"}", "{\"value\":\"AAAA\"}", "["
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(call(f, "POST", "/keys/restore" V, bad[i], NULL), 400);
}

/* Whether a body was too long for the vault to hear to its end. Who goes on sending may lose the answer with the connection. */
static bool is_cut_off(struct vaultfix *f, const char *path, const char *token, const char *body)
{
    struct http_answer a;
    char *url = mem_printf("%s%s", f->url, path);
    char *header = token ? mem_printf("Authorization: Bearer %s", token) : NULL;
    const char *headers[] = { header, NULL };
    struct http_call q = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = slice_str(body),
        .content_type = "application/json",
        .deadline_us = clock_mono_us() + 20000000,
    };

    http_client_call(f->client, &q, &a);
    bool cut = a.outcome != HTTP_OUT_ANSWER || a.status == 413;
    http_answer_fini(&a);
    mem_free(url);
    mem_free(header);
    return cut;
}

/* As many as a key can have: more than other bodies may hold. */
static void all_versions_come_back(void **state)
{
    struct vaultfix *f = *state;
    struct key_spec spec = { .type = KEY_EC, .curve = EC_P256 };
    struct keyvault *kv = vault__find_vault(f->vault, "main");
    struct key_version *v;
    struct err e = { 0 };
    json_t *j;

    for (int i = 0; i < VERSIONS_MAX; i++) {
        CHECK_RC_OK(vault__make_version(f->vault, "main", "many", &spec, &v, &e), &e);
        vault__put_version(kv, "many", v);
    }
    /* no more fit */
    assert_int_equal(call(f, "POST", "/keys/many/create" V, "{\"kty\":\"EC\"}", NULL), 403);
    char *body = backup(f, "many");
    assert_true(strlen(body) > 65536);
    put_vault(f, "second", "{}");
    /* who has shown no token is not listened to for so long, nor is anybody elsewhere */
    assert_true(is_cut_off(f, "/keys/restore" V, NULL, body));
    assert_true(is_cut_off(f, "/keys/restore" V, "no.token.this", body));
    assert_true(is_cut_off(f, "/keys/x/create" V, f->token_op, body));
    assert_int_equal(restore_at(f, "second", body, &j), 200);
    json_decref(j);
    assert_int_equal(vault__find_key(vault__find_vault(f->vault, "second"), "many")->n_versions,
                     VERSIONS_MAX);
    mem_free(body);
}

static void release_is_refused_exactly(void **state)
{
    static const struct {
        const char *path, *body;
        int status;
        const char *code, *inner;
    } cases[] = {
        { "/keys/data//release" V, "{\"target\":\"a.b.c\"}", 403, "Forbidden",
          "KeyOperationForbidden" },
        { "/keys/data//release" V,
          "{\"target\":\"a.b.c\",\"nonce\":\"n\",\"enc\":\"RSA_AES_KEY_WRAP_256\"}", 403,
          "Forbidden", "KeyOperationForbidden" },
        { "/keys/data//release" V, "{\"target\":\"a.b.c\",\"enc\":\"ROT13\"}", 400, "BadParameter",
          "" },
        { "/keys/data//release" V, "{\"target\":\"\"}", 400, "BadParameter", "" },
        { "/keys/data/release" V, "{\"target\":\"a.b.c\"}", 403, "Forbidden",
          "KeyOperationForbidden" },
        { "/keys/data//release" V, "{}", 400, "BadParameter", "" },
        { "/keys/nope//release" V, "{\"target\":\"a.b.c\"}", 404, "KeyNotFound", "" },
        { "/keys/off//release" V, "{\"target\":\"a.b.c\"}", 403, "Forbidden", "KeyDisabled" },
    };
    struct vaultfix *f = *state;
    json_t *j;

    assert_int_equal(call(f, "POST", "/keys/off/create" V,
                          "{\"kty\":\"EC\",\"attributes\":{\"enabled\":false}}", NULL),
                     200);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = call(f, "POST", cases[i].path, cases[i].body, &j);
        const json_t *error = kjson_obj(j, "error");
        const char *inner = kjson_str(kjson_obj(error, "innererror"), "code");
        if (status != cases[i].status || strcmp(kjson_str(error, "code"), cases[i].code) != 0 ||
            strcmp(inner ? inner : "", cases[i].inner) != 0)
            fail_msg("case %zu: %d", i, status);
        json_decref(j);
    }
    assert_int_equal(vaultfix_call(f, "POST", "/keys/data//release" V, f->token_node,
                                   "{\"target\":\"a.b.c\"}", NULL),
                     403);
    /* nor can a key be made that could be released, and what only managed HSMs offer is not here */
    assert_int_equal(call(f, "POST", "/keys/k/create" V,
                          "{\"kty\":\"RSA\",\"attributes\":{\"exportable\":true}}", NULL),
                     400);
    assert_int_equal(call(f, "POST", "/keys/k/create" V,
                          "{\"kty\":\"RSA\",\"release_policy\":{\"data\":\"e30\"}}", NULL),
                     400);
    assert_int_equal(call(f, "POST", "/rng" V, "{\"count\":1}", NULL), 404);
    assert_int_equal(call(f, "GET", "/keys/data//attestation" V, NULL, NULL), 404);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_comes_back_whole, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(only_where_it_may, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(every_flipped_byte_is_found, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(all_versions_come_back, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(release_is_refused_exactly, vaultfix_setup,
                                        vaultfix_teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
