/* test_rest.c - the keys protocol over real HTTPS: every row of the table of states, errors and oddities that clients rely on. */
#include "base/text.h"
#include "vaultfix.h"

#define V "?api-version=7.4"
#define WRAP_BODY                                                                                  \
    "{\"alg\":\"RSA-OAEP-256\",\"value\":\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA\"}"

static const char *path_str(const json_t *j, const char *a, const char *b)
{
    const char *s = kjson_str(kjson_obj(j, a), b);
    return s ? s : "";
}

struct refused {
    const char *method, *path, *body;
    char who; /* 'o'perator, 'n'ode, '-' nobody */
    int status;
    const char *code, *inner;
};

static void check_refused(struct vaultfix *f, const struct refused *c, size_t i)
{
    json_t *j;
    const char *token = c->who == 'o' ? f->token_op : c->who == 'n' ? f->token_node : NULL;
    int status = vaultfix_call(f, c->method, c->path, token, c->body, &j);

    if (status != c->status || strcmp(path_str(j, "error", "code"), c->code) != 0)
        fail_msg("case %zu: %s %s: %d %s", i, c->method, c->path, status,
                 path_str(j, "error", "code"));
    const char *inner = path_str(kjson_obj(j, "error"), "innererror", "code");
    if (strcmp(inner, c->inner ? c->inner : "") != 0)
        fail_msg("case %zu: inner code \"%s\"", i, inner);
    assert_true(strlen(path_str(j, "error", "message")) > 5);
    json_decref(j);
}

static void refusals_are_exact(void **state)
{
    static const struct refused cases[] = {
        { "GET", "/keys" V, NULL, '-', 401, "Unauthorized", NULL },
        { "GET", "/keys", NULL, '-', 401, "Unauthorized", NULL },
        { "POST", "/keys/data//wrapkey" V, NULL, '-', 401, "Unauthorized", NULL },
        { "GET", "/keys", NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys?api-version=", NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys?api-version=6.9", NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys?api-version=2019-01-01", NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys/nope/" V, NULL, 'o', 404, "KeyNotFound", NULL },
        { "GET", "/keys/data/00000000000000000000000000000000" V, NULL, 'o', 404, "KeyNotFound",
          NULL },
        { "GET", "/keys/data/xyz" V, NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys/da_ta/" V, NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys/da%2Fta/" V, NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/certificates" V, NULL, 'o', 404, "NotFound", NULL },
        { "PUT", "/keys/data/create" V, "{}", 'o', 405, "MethodNotAllowed", NULL },
        { "GET", "/keys" V "&maxresults=26", NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys" V "&maxresults=0", NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys" V "&$skiptoken=!!", NULL, 'o', 400, "BadParameter", NULL },
        { "GET", "/keys" V "&$skiptoken=YQBi", NULL, 'o', 400, "BadParameter", NULL }, /* a NUL */
        { "GET", "/deletedkeys" V "&$skiptoken=YV9i", NULL, 'o', 400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\"}", 'n', 403, "Forbidden",
          "ForbiddenByRbac" },
        { "PATCH", "/keys/data/" V, "{\"attributes\":{\"enabled\":false}}", 'n', 403, "Forbidden",
          "ForbiddenByRbac" },
        { "POST", "/keys/data//decrypt" V, WRAP_BODY, 'n', 403, "Forbidden", "ForbiddenByRbac" },
        { "POST", "/keys/k/create" V, NULL, 'o', 400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":", 'o', 400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{}", 'o', 400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"oct\"}", 'o', 400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"key_size\":1024}", 'o', 400,
          "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"key_size\":\"2048\"}", 'o', 400,
          "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"public_exponent\":3}", 'o', 400,
          "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"key_ops\":[\"fly\"]}", 'o', 400,
          "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"attributes\":{\"nbf\":200,\"exp\":100}}",
          'o', 400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"attributes\":{\"exp\":\"soon\"}}", 'o',
          400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"attributes\":{\"exportable\":true}}", 'o',
          400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"attributes\":{\"exportable\":1}}", 'o',
          400, "BadParameter", NULL },
        { "POST", "/keys/k/create" V, "{\"kty\":\"RSA\",\"tags\":{\"a\":1}}", 'o', 400,
          "BadParameter", NULL },
        { "POST", "/keys/k/create" V,
          "{\"kty\":\"RSA\",\"tags\":{\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":\"\",\"6\":\"\",\"7\":\"\",\"8\":\"\",\"9\":\"\",\"10\":\"\",\"11\":\"\",\"12\":\"\",\"13\":\"\",\"14\":\"\",\"15\":\"\",\"16\":\"\"}}",
          'o', 400, "BadParameter", NULL },
        { "POST", "/keys/data//wrapkey" V, "{\"alg\":\"RSA-OAEP-512\",\"value\":\"AAAA\"}", 'o',
          400, "BadParameter", NULL },
        { "POST", "/keys/data//wrapkey" V, "{\"alg\":\"RSA-OAEP-256\",\"value\":\"A+/=\"}", 'o',
          400, "BadParameter", NULL },
        { "POST", "/keys/data//wrapkey" V, "{\"alg\":\"RSA-OAEP-256\",\"value\":\"\"}", 'o', 400,
          "BadParameter", NULL },
        { "POST", "/keys/data//wrapkey" V, "{\"alg\":\"RSA-OAEP-256\"}", 'o', 400, "BadParameter",
          NULL },
        { "POST", "/keys/data//unwrapkey" V, "{\"alg\":\"RSA-OAEP-256\",\"value\":\"AAAA\"}", 'o',
          400, "BadParameter", NULL },
        { "POST", "/keys/nope//wrapkey" V, WRAP_BODY, 'o', 404, "KeyNotFound", NULL },
    };
    struct vaultfix *f = *state;
    json_t *j;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_refused(f, &cases[i], i);
    /* nothing of it was made */
    assert_int_equal(vaultfix_call(f, "GET", "/keys/k/versions" V, f->token_op, NULL, &j), 200);
    assert_int_equal(json_array_size(kjson_arr(j, "value")), 0);
    json_decref(j);
}

static void wrap_with(struct vaultfix *f, const char *op, const char *alg, const char *value,
                      int want, char **out)
{
    json_t *j;
    char *body = mem_printf("{\"alg\":\"%s\",\"value\":\"%s\"}", alg, value);
    char *path = mem_printf("/keys/data//%s" V, op);
    int status = vaultfix_call(f, "POST", path, f->token_op, body, &j);

    if (status != want)
        fail_msg("%s %s: %d", op, alg, status);
    if (out)
        *out = mem_strdup(kjson_str(j, "value"));
    json_decref(j);
    mem_free(body);
    mem_free(path);
}

static void every_algorithm_goes_there_and_back(void **state)
{
    static const char *const algs[] = { "RSA-OAEP-256", "RSA-OAEP", "RSA1_5" };
    static const char *const ops[][2] = { { "wrapkey", "unwrapkey" }, { "encrypt", "decrypt" } };
    struct vaultfix *f = *state;

    for (size_t a = 0; a < ARRAY_LEN(algs); a++)
        for (size_t o = 0; o < ARRAY_LEN(ops); o++) {
            char *closed, *opened;
            wrap_with(f, ops[o][0], algs[a], "c2VjcmV0IQ", 200, &closed);
            wrap_with(f, ops[o][1], algs[a], closed, 200, &opened);
            assert_string_equal(opened, "c2VjcmV0IQ");
            wrap_with(f, ops[o][1], algs[(a + 1) % 2], closed, 400, NULL); /* another padding */
            mem_free(closed);
            mem_free(opened);
        }
}

/* As clients of other languages write them. */
static void paths_are_read_mildly(void **state)
{
    static const struct {
        const char *method, *path, *body;
    } cases[] = {
        { "POST", "/keys/data/wrapKey" V, WRAP_BODY },
        { "POST", "/keys/data//wrapKey" V, WRAP_BODY },
        { "POST", "/keys/data//wrapkey/" V, WRAP_BODY },
        { "POST", "/keys/data/encrypt" V, WRAP_BODY },
        { "GET", "/Keys/DATA" V, NULL },
        { "GET", "/keys/" V, NULL },
        { "GET", "/keys/data/Versions/" V, NULL },
        { "GET", "/keys/data/rotationPolicy" V, NULL },
        { "POST", "/keys/data/rotate/" V, "{}" },
        { "DELETE", "/keys/data/" V, NULL },
        { "GET", "/DeletedKeys/" V, NULL },
        { "GET", "/deletedkeys/data/" V, NULL },
        { "POST", "/deletedKeys/data/recover/" V, "{}" },
    };
    struct vaultfix *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status =
            vaultfix_call(f, cases[i].method, cases[i].path, f->token_op, cases[i].body, NULL);
        if (status != 200)
            fail_msg("%s %s: %d", cases[i].method, cases[i].path, status);
    }
}

static void patch(struct vaultfix *f, const char *body, int want)
{
    int status = vaultfix_call(f, "PATCH", "/keys/data/" V, f->token_op, body, NULL);
    if (status != want)
        fail_msg("PATCH %s: %d", body, status);
}

static void state_and_dates_decide(void **state)
{
    /* attributes; then what wrap, unwrap and get answer */
    static const struct {
        const char *body;
        int wrap, unwrap, get;
    } cases[] = {
        { "{\"attributes\":{\"enabled\":false}}", 403, 403, 403 },
        { "{\"attributes\":{\"enabled\":true}}", 200, 200, 200 },
        { "{\"attributes\":{\"exp\":1600000000}}", 403, 200, 200 },
        { "{\"attributes\":{\"exp\":null,\"nbf\":4000000000}}", 403, 200, 200 },
        { "{\"attributes\":{\"nbf\":1600000000,\"exp\":4000000000}}", 200, 200, 200 },
        { "{\"attributes\":{\"nbf\":null,\"exp\":null}}", 200, 200, 200 },
        { "{\"key_ops\":[\"unwrapKey\"]}", 403, 200, 200 },
        { "{\"key_ops\":[]}", 403, 403, 200 },
        { "{\"key_ops\":[\"wrapKey\",\"unwrapKey\"]}", 200, 200, 200 },
    };
    struct vaultfix *f = *state;
    char *closed;

    wrap_with(f, "wrapkey", "RSA-OAEP-256", "c2VjcmV0IQ", 200, &closed);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        patch(f, cases[i].body, 200);
        wrap_with(f, "wrapkey", "RSA-OAEP-256", "c2VjcmV0IQ", cases[i].wrap, NULL);
        wrap_with(f, "unwrapkey", "RSA-OAEP-256", closed, cases[i].unwrap, NULL);
        int got = vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, NULL);
        if (got != cases[i].get)
            fail_msg("case %zu: get %d", i, got);
        /* lists go on */
        assert_int_equal(vaultfix_call(f, "GET", "/keys" V, f->token_op, NULL, NULL), 200);
    }
    patch(f, "{\"attributes\":{\"nbf\":4000000000,\"exp\":1600000000}}", 400);
    mem_free(closed);
}

static void tags_and_attributes_come_back(void **state)
{
    struct vaultfix *f = *state;
    json_t *j;

    patch(
        f,
        "{\"tags\":{\"owner\":\"gr\xc3\xbc\xc3\x9f\xe2\x82\xac\",\"empty\":\"\"},\"attributes\":{\"exp\":4000000000}}",
        200);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/DATA" V, f->token_op, NULL, &j), 200);
    assert_string_equal(path_str(j, "tags", "owner"), "gr\xc3\xbc\xc3\x9f\xe2\x82\xac");
    assert_string_equal(path_str(j, "tags", "empty"), "");
    assert_string_equal(path_str(j, "attributes", "recoveryLevel"), "Recoverable");
    json_decref(j);
    patch(f, "{\"attributes\":{}}", 200); /* what is not named stays */
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, &j), 200);
    assert_int_equal(json_object_size(kjson_obj(j, "tags")), 2);
    int64_t exp = 0;
    assert_true(kjson_i64(kjson_obj(j, "attributes"), "exp", &exp));
    assert_int_equal(exp, 4000000000);
    json_decref(j);
}

static void versions_are_kept_apart(void **state)
{
    struct vaultfix *f = *state;
    char *closed, *opened;
    json_t *j;

    wrap_with(f, "wrapkey", "RSA-OAEP-256", "c2VjcmV0IQ", 200, &closed);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, &j), 200);
    char *first = mem_strdup(strrchr(path_str(j, "key", "kid"), '/') + 1);
    json_decref(j);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/data/create" V, f->token_op,
                                   "{\"kty\":\"RSA\",\"key_size\":3072}", &j),
                     200);
    assert_string_not_equal(strrchr(path_str(j, "key", "kid"), '/') + 1, first);
    json_decref(j);
    /* versionless is the newest one */
    wrap_with(f, "unwrapkey", "RSA-OAEP-256", closed, 400, NULL);
    char *path = mem_printf("/keys/data/%s/unwrapkey" V, first),
         *body = mem_printf("{\"alg\":\"RSA-OAEP-256\",\"value\":\"%s\"}", closed);
    assert_int_equal(vaultfix_call(f, "POST", path, f->token_node, body, &j), 200);
    opened = mem_strdup(kjson_str(j, "value"));
    assert_string_equal(opened, "c2VjcmV0IQ");
    json_decref(j);
    mem_free(path);
    /* disabling the old version leaves the new one alone */
    path = mem_printf("/keys/data/%s" V, first);
    assert_int_equal(vaultfix_call(f, "PATCH", path, f->token_op,
                                   "{\"attributes\":{\"enabled\":false}}", NULL),
                     200);
    assert_int_equal(vaultfix_call(f, "GET", path, f->token_op, NULL, NULL), 403);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, NULL), 200);
    mem_free(path);
    mem_free(body);
    mem_free(first);
    mem_free(closed);
    mem_free(opened);
}

/* Follows nextLink; the number of items, each name once. */
static int walk(struct vaultfix *f, const char *path)
{
    char *next = mem_strdup(path);
    int n = 0, pages = 0;
    struct buf seen = BUF_INIT;

    while (next) {
        json_t *j;
        assert_int_equal(vaultfix_call(f, "GET", next, f->token_op, NULL, &j), 200);
        const json_t *items = kjson_arr(j, "value");
        for (size_t i = 0; i < json_array_size(items); i++, n++) {
            const char *kid = kjson_str(json_array_get(items, i), "kid"), *leaf = strrchr(kid, '/');
            if (strstr(buf_cstr(&seen), leaf))
                fail_msg("%s twice", kid);
            buf_printf(&seen, "%s", leaf);
        }
        const char *link = kjson_str(j, "nextLink");
        mem_free(next);
        if (link)
            assert_memory_equal(link, f->url, strlen(f->url));
        next = link ? mem_strdup(link + strlen(f->url)) : NULL;
        json_decref(j);
        assert_true(++pages < 100);
    }
    buf_fini(&seen);
    return n;
}

static void lists_are_paged(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };

    for (int i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "key-%d", i);
        CHECK_RC_OK(vault_ensure_key(f->vault, "main", name, 2048, &e), &e);
    }
    assert_int_equal(walk(f, "/keys" V "&maxresults=3"), 7);
    assert_int_equal(walk(f, "/keys" V "&maxresults=1"), 7);
    assert_int_equal(walk(f, "/keys" V), 7);
    for (int i = 0; i < 4; i++)
        assert_int_equal(vaultfix_call(f, "POST", "/keys/key-1/create" V, f->token_op,
                                       "{\"kty\":\"RSA\"}", NULL),
                         200);
    assert_int_equal(walk(f, "/keys/key-1/versions" V "&maxresults=2"), 5);
    assert_int_equal(walk(f, "/keys/key-1/versions" V "&maxresults=5"), 5);
}

static void deleted_keys_come_back(void **state)
{
    static const struct refused while_deleted[] = {
        { "GET", "/keys/data/" V, NULL, 'o', 404, "KeyNotFound", NULL },
        { "PATCH", "/keys/data/" V, "{\"attributes\":{\"enabled\":true}}", 'o', 404, "KeyNotFound",
          NULL },
        { "POST", "/keys/data//wrapkey" V, WRAP_BODY, 'o', 404, "KeyNotFound", NULL },
        { "POST", "/keys/data//unwrapkey" V, WRAP_BODY, 'n', 404, "KeyNotFound", NULL },
        { "DELETE", "/keys/data" V, NULL, 'o', 404, "KeyNotFound", NULL },
        { "POST", "/keys/data/create" V, "{\"kty\":\"RSA\"}", 'o', 409, "Conflict",
          "ObjectIsDeletedButRecoverable" },
        { "DELETE", "/deletedkeys/data" V, NULL, 'o', 403, "Forbidden", "ForbiddenByPolicy" },
        { "DELETE", "/deletedkeys/data" V, NULL, 'n', 403, "Forbidden", "ForbiddenByRbac" },
        { "POST", "/deletedkeys/data/recover" V, NULL, 'n', 403, "Forbidden", "ForbiddenByRbac" },
        { "GET", "/deletedkeys/other" V, NULL, 'o', 404, "KeyNotFound", NULL },
    };
    struct vaultfix *f = *state;
    struct err e = { 0 };
    char *closed, *opened;
    json_t *j;
    int64_t deleted, purge;

    wrap_with(f, "wrapkey", "RSA-OAEP-256", "c2VjcmV0IQ", 200, &closed);
    assert_int_equal(vaultfix_call(f, "DELETE", "/keys/data" V, f->token_node, NULL, NULL), 403);
    assert_int_equal(vaultfix_call(f, "GET", "/deletedkeys/data" V, f->token_op, NULL, NULL), 404);
    assert_int_equal(vaultfix_call(f, "DELETE", "/keys/data" V, f->token_op, NULL, &j), 200);
    assert_true(kjson_i64(j, "deletedDate", &deleted) &&
                kjson_i64(j, "scheduledPurgeDate", &purge));
    assert_int_equal(purge - deleted, 90 * 86400);
    char *id = mem_printf("%s/deletedkeys/data", f->url);
    assert_string_equal(kjson_str(j, "recoveryId"), id);
    json_decref(j);
    for (size_t i = 0; i < ARRAY_LEN(while_deleted); i++)
        check_refused(f, &while_deleted[i], i);
    /* what its owner deleted stays deleted */
    CHECK_RC_OK(vault_ensure_key(f->vault, "main", "data", 2048, &e), &e);
    assert_int_equal(vaultfix_call(f, "GET", "/deletedkeys" V, f->token_op, NULL, &j), 200);
    assert_int_equal(json_array_size(kjson_arr(j, "value")), 1);
    json_decref(j);
    assert_int_equal(walk(f, "/keys" V), 0);

    uint16_t port = vault_port(f->vault);
    vaultfix_down(f); /* and a restart changes nothing of it */
    f->config.port = port;
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(vaultfix_call(f, "GET", "/deletedkeys/data" V, f->token_op, NULL, NULL), 200);
    assert_int_equal(vaultfix_call(f, "POST", "/deletedkeys/data/recover" V, f->token_op, NULL,
                                   NULL),
                     200);
    assert_int_equal(vaultfix_call(f, "GET", "/deletedkeys/data" V, f->token_op, NULL, NULL), 404);
    wrap_with(f, "unwrapkey", "RSA-OAEP-256", closed, 200, &opened);
    assert_string_equal(opened, "c2VjcmV0IQ");
    mem_free(id);
    mem_free(closed);
    mem_free(opened);
}

static void vaults_are_apart(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };
    char *main_url = f->url;

    CHECK_RC_OK(vault_ensure_vault(f->vault, "second", &e), &e);
    CHECK_RC_FAILS(vault_ensure_vault(f->vault, "2nd", &e), &e, ERR_BAD_VALUE);
    f->url = mem_printf("https://second.vault.localhost:%u", vault_port(f->vault));
    /* a role on one is none on the other */
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, f->token_op, NULL, NULL), 403);
    CHECK_RC_OK(vault_grant(f->vault, "second", "operator", "Key Vault Reader", &e), &e);
    assert_int_equal(vaultfix_call(f, "GET", "/keys/data/" V, f->token_op, NULL, NULL), 404);
    assert_int_equal(vaultfix_call(f, "POST", "/keys/data/create" V, f->token_op,
                                   "{\"kty\":\"RSA\"}", NULL),
                     403);
    mem_free(f->url);
    f->url = mem_printf("https://third.vault.localhost:%u", vault_port(f->vault));
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, f->token_op, NULL, NULL), 404);
    mem_free(f->url);
    f->url = main_url;
}

/* ---- tokens ---- */

static int token_call(struct vaultfix *f, const char *path, const char *h1, const char *h2,
                      json_t **out)
{
    struct http_answer a;
    struct err e = { 0 };
    char *url = mem_printf("http://127.0.0.1:%u%s", vault_token_port(f->vault), path);
    const char *headers[] = { h1, h1 ? h2 : NULL, NULL };
    struct http_call q = {
        .method = "GET", .url = url, .headers = headers, .deadline_us = clock_mono_us() + 5000000
    };

    http_client_call(f->token_client, &q, &a);
    assert_int_equal(a.outcome, HTTP_OUT_ANSWER);
    int status = a.status;
    if (out)
        CHECK_RC_OK(kjson_load(buf_view(&a.body), 4, out, &e), &e);
    http_answer_fini(&a);
    mem_free(url);
    return status;
}

static void imds_shape_is_exact(void **state)
{
#define IMDS "/metadata/identity/oauth2/token"
#define Q "api-version=2018-02-01&resource=https%3A%2F%2Fvault.localhost"
    static const struct {
        const char *path, *h1, *h2;
        int status;
        const char *error;
    } cases[] = {
        { IMDS "?" Q "&client_id=@", NULL, NULL, 400, "bad_request_102" },
        { IMDS "?" Q "&client_id=@", "Metadata: false", NULL, 400, "bad_request_102" },
        { IMDS "?" Q "&client_id=@", "Metadata: true", "X-Forwarded-For: 1.2.3.4", 403,
          "forbidden" },
        { IMDS "?" Q, "Metadata: true", NULL, 400, "invalid_request" }, /* two identities: which? */
        { IMDS "?" Q "&client_id=11111111-1111-1111-1111-111111111111", "Metadata: true", NULL, 400,
          "invalid_request" },
        { IMDS "?" Q "&client_id=@&object_id=@", "Metadata: true", NULL, 400, "invalid_request" },
        { IMDS "?api-version=2018-02-01&resource=https%3A%2F%2Fother&client_id=@", "Metadata: true",
          NULL, 400, "invalid_resource" },
        { IMDS "?api-version=2018-02-01&client_id=@", "Metadata: true", NULL, 400,
          "invalid_request" },
        { IMDS "?resource=https%3A%2F%2Fvault.localhost&client_id=@", "Metadata: true", NULL, 400,
          "invalid_request" },
        { "/msi/token?" Q, "X-IDENTITY-HEADER: wrong", NULL, 401, "unauthorized_client" },
        { "/msi/token?" Q, NULL, NULL, 401, "unauthorized_client" },
        { "/elsewhere", "Metadata: true", NULL, 404, "not_found" },
        { IMDS "?" Q "&client_id=@", "Metadata: true", NULL, 200, NULL },
        { IMDS "/?" Q "%2F&client_id=@&xms_cc=cp1", "metadata: TRUE", NULL, 200, NULL },
    };
    struct vaultfix *f = *state;
    struct buf facts = BUF_INIT;
    struct err e = { 0 };
    json_t *j, *d;

    CHECK_RC_OK(vault_describe(f->vault, &facts, &e), &e);
    CHECK_RC_OK(kjson_load(buf_view(&facts), 6, &d, &e), &e);
    const char *client = kjson_str(kjson_obj(kjson_obj(d, "identities"), "operator"), "clientId");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *at = strchr(cases[i].path, '@');
        char *path =
            at ? mem_printf("%.*s%s%s", (int)(at - cases[i].path), cases[i].path, client, at + 1)
               : mem_strdup(cases[i].path);
        int status = token_call(f, path, cases[i].h1, cases[i].h2, &j);
        const char *error = kjson_str(j, "error");
        if (status != cases[i].status ||
            strcmp(error ? error : "", cases[i].error ? cases[i].error : "") != 0)
            fail_msg("case %zu: %d %s", i, status, error ? error : "");
        if (status == 200) {
            assert_string_equal(kjson_str(j, "token_type"), "Bearer");
            assert_string_equal(kjson_str(j, "refresh_token"), "");
            /* a text: the SDKs expect one here */
            assert_string_equal(kjson_str(j, "expires_in"), "3600");
            assert_non_null(kjson_str(j, "expires_on"));
            assert_string_equal(kjson_str(j, "client_id"), client);
        }
        json_decref(j);
        mem_free(path);
    }
    json_decref(d);
    buf_fini(&facts);
}

static void a_credential_opens_one_identity(void **state)
{
    struct vaultfix *f = *state;
    struct buf facts = BUF_INIT, secret = BUF_INIT;
    struct err e = { 0 };
    json_t *d;

    CHECK_RC_OK(vault_describe(f->vault, &facts, &e), &e);
    CHECK_RC_OK(kjson_load(buf_view(&facts), 6, &d, &e), &e);
    CHECK_RC_OK(file_read(f->node_secret, 4096, &secret, &e), &e);
    const char *operator_id =
        kjson_str(kjson_obj(kjson_obj(d, "identities"), "operator"), "clientId");
    const char *node_id = kjson_str(kjson_obj(kjson_obj(d, "identities"), "node"), "clientId");
    char *header = mem_printf("X-IDENTITY-HEADER: %s", buf_cstr(&secret));
    char *mine = mem_printf("/msi/token?%s&client_id=%s", Q, node_id),
         *theirs = mem_printf("/msi/token?%s&client_id=%s", Q, operator_id);
    assert_int_equal(token_call(f, mine, header, NULL, NULL), 200);
    assert_int_equal(token_call(f, theirs, header, NULL, NULL), 400);
    assert_int_equal(token_call(f, "/msi/token?" Q, header, "Via: proxy", NULL), 403);
    mem_free(header);
    mem_free(mine);
    mem_free(theirs);
    json_decref(d);
    buf_fini(&facts);
    buf_wipe(&secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refusals_are_exact, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(every_algorithm_goes_there_and_back, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(paths_are_read_mildly, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(state_and_dates_decide, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(tags_and_attributes_come_back, vaultfix_setup,
                                        vaultfix_teardown),
        cmocka_unit_test_setup_teardown(versions_are_kept_apart, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(lists_are_paged, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(deleted_keys_come_back, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(vaults_are_apart, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(imds_shape_is_exact, vaultfix_setup, vaultfix_teardown),
        cmocka_unit_test_setup_teardown(a_credential_opens_one_identity, vaultfix_setup,
                                        vaultfix_teardown),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
