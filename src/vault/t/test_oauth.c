/* test_oauth.c - the token endpoint: who gets a token there, what exactly is refused, and whose keys sign. */
#include "base/fault.h"
#include "base/text.h"
#include "vault/vault_admin.h"
#include "vault_audit_log_priv.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"
#define SCOPE "scope=https://vault.localhost/.default"
#define GRANT "grant_type=client_credentials"

struct app {
    char *client_id, *object_id, *secret;
};

/* One member of the description of a principal. */
static char *fact(struct vaultfix *f, const char *tenant, const char *name, const char *member)
{
    struct buf text = BUF_INIT;
    struct err e = { 0 };
    json_t *j;

    CHECK_RC_OK(vault_principals(f->vault, tenant, name, &text, &e), &e);
    CHECK_RC_OK(kjson_load(buf_view(&text), 8, &j, &e), &e);
    char *value = mem_strdup(kjson_str(json_array_get(kjson_arr(j, "principals"), 0), member));
    json_decref(j);
    buf_fini(&text);
    return value;
}

static char *new_secret(struct vaultfix *f, const char *tenant, const char *name,
                        int64_t lifetime_s, char id[VAULT_CREDENTIAL_ID])
{
    struct buf secret = BUF_INIT;
    struct err e = { 0 };

    CHECK_RC_OK(vault_secret_add(f->vault, tenant, name, "test", lifetime_s, id, &secret, &e), &e);
    char *text = mem_strdup(buf_cstr(&secret));
    buf_wipe(&secret);
    return text;
}

static void app_new(struct vaultfix *f, const char *tenant, const char *name, struct app *out)
{
    char id[VAULT_CREDENTIAL_ID];
    struct err e = { 0 };

    CHECK_RC_OK(vault_principal_create(f->vault, tenant, name, VAULT_APPLICATION, &e), &e);
    out->client_id = fact(f, tenant, name, "clientId");
    out->object_id = fact(f, tenant, name, "objectId");
    out->secret = new_secret(f, tenant, name, 3600, id);
}

static void app_fini(struct app *a)
{
    mem_free(a->client_id);
    mem_free(a->object_id);
    mem_free(a->secret);
}

static int login(struct vaultfix *f, const char *method, const char *path, const char *form,
                 json_t **out)
{
    struct http_answer a;
    struct err e = { 0 };
    char *url = mem_printf("https://login.localhost:%u%s", vault_port(f->vault), path);
    struct http_call q = {
        .method = method,
        .url = url,
        .body = slice_str(form),
        .content_type = form ? "application/x-www-form-urlencoded" : NULL,
        .deadline_us = clock_mono_us() + 20000000,
    };

    http_client_call(f->client, &q, &a);
    if (a.outcome != HTTP_OUT_ANSWER)
        fail_msg("%s: %s: %s", path, http_outcome_name(a.outcome), a.detail);
    CHECK_RC_OK(kjson_load(buf_view(&a.body), 8, out, &e), &e);
    int status = a.status;
    http_answer_fini(&a);
    mem_free(url);
    return status;
}

static int ask(struct vaultfix *f, const char *tenant, const char *form, json_t **out)
{
    char *path = mem_printf("/%s/oauth2/v2.0/token", tenant);
    int status = login(f, "POST", path, form, out);

    mem_free(path);
    return status;
}

/* A token for the application; the test fails when there is none. */
/* more: fields of the form; "" = none */
static char *token_with(struct vaultfix *f, const char *tenant, const struct app *a,
                        const char *more)
{
    char *form = mem_printf(GRANT "&" SCOPE "&client_id=%s&client_secret=%s%s", a->client_id,
                            a->secret, more);
    json_t *j;
    int status = ask(f, tenant, form, &j);

    if (status != 200)
        fail_msg("%d: %s", status, kjson_str(j, "error_description"));
    char *token = mem_strdup(kjson_str(j, "access_token"));
    json_decref(j);
    mem_free(form);
    return token;
}

static char *token_of(struct vaultfix *f, const char *tenant, const struct app *a)
{
    return token_with(f, tenant, a, "");
}

static json_t *part_of(const char *token, int part)
{
    struct buf text = BUF_INIT;
    struct err e = { 0 };
    json_t *j;

    for (; part > 0; part--)
        token = strchr(token, '.') + 1;
    assert_true(base64url_decode(SLICE(token, strcspn(token, ".")), &text));
    CHECK_RC_OK(kjson_load(buf_view(&text), 4, &j, &e), &e);
    buf_fini(&text);
    return j;
}

static void an_application_gets_in_with_its_secret(void **state)
{
    struct vaultfix *f = *state;
    struct app a;
    struct err e = { 0 };

    app_new(f, NULL, "backup-tool", &a);
    char *token = token_of(f, vault_tenant(f->vault), &a);
    /* known, and allowed nothing */
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, token, NULL, NULL), 403);
    CHECK_RC_OK(vault_grant(f->vault, "main", "backup-tool", "crypto-user", &e), &e);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, token, NULL, NULL), 200);

    json_t *claims = part_of(token, 1);
    char *issuer =
        mem_printf("https://login.localhost:%u/%s/", vault_port(f->vault), vault_tenant(f->vault));
    const char *const want[][2] = {
        { "aud", "https://vault.localhost" },
        { "iss", issuer },
        { "idp", issuer },
        { "appid", a.client_id },
        { "oid", a.object_id },
        { "sub", a.object_id },
        { "tid", vault_tenant(f->vault) },
        { "appidacr", "1" },
        { "idtyp", "app" },
        { "ver", "1.0" },
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(kjson_str(claims, want[i][0]), want[i][1]);
    int64_t iat, nbf, exp;
    assert_true(kjson_i64(claims, "iat", &iat) && kjson_i64(claims, "nbf", &nbf) &&
                kjson_i64(claims, "exp", &exp));
    assert_true(iat == nbf && exp == iat + 600);
    assert_null(kjson_str(claims, "xms_mirid")); /* no managed identity */
    json_decref(claims);

    /* the identity of a node has one */
    claims = part_of(f->token_node, 1);
    char *mirid = fact(f, NULL, "node", "resourceId");
    assert_string_equal(kjson_str(claims, "xms_mirid"), mirid);
    assert_string_equal(kjson_str(claims, "appidacr"), "2");
    json_decref(claims);
    mem_free(mirid);
    mem_free(issuer);
    mem_free(token);
    app_fini(&a);
}

static void refusals_are_exact(void **state)
{
    struct vaultfix *f = *state;
    struct app a, other;
    struct err e = { 0 };
    char *node = fact(f, NULL, "node", "clientId");

    app_new(f, NULL, "tool", &a);
    CHECK_RC_OK(vault_tenant_create(f->vault, "other", &e), &e);
    app_new(f, "other", "stranger", &other);
    const char *t = vault_tenant(f->vault);
    const struct {
        const char *tenant, *form, *client, *secret;
        int status, code;
        const char *error;
    } cases[] = {
        { "11111111-2222-3333-4444-555555555555", GRANT "&" SCOPE, a.client_id, a.secret, 400,
          90002, "invalid_request" },
        { "common", GRANT "&" SCOPE, a.client_id, a.secret, 400, 90002, "invalid_request" },
        { t, SCOPE, a.client_id, a.secret, 400, 900144, "invalid_request" },
        { t, "grant_type=password&" SCOPE, a.client_id, a.secret, 400, 70003,
          "unsupported_grant_type" },
        { t, GRANT "&" SCOPE, NULL, a.secret, 400, 900144, "invalid_request" },
        { t, GRANT "&" SCOPE, "11111111-2222-3333-4444-555555555555", a.secret, 400, 700016,
          "unauthorized_client" },
        { t, GRANT "&" SCOPE, other.client_id, other.secret, 400, 700016, "unauthorized_client" },
        { t, GRANT "&" SCOPE, a.client_id, NULL, 401, 7000216, "invalid_client" },
        { t, GRANT "&" SCOPE, a.client_id, "guess", 401, 7000215, "invalid_client" },
        { t, GRANT "&" SCOPE, a.client_id, other.secret, 401, 7000215, "invalid_client" },
        { t, GRANT "&" SCOPE, node, a.secret, 401, 7000215, "invalid_client" },
        { t, GRANT, a.client_id, a.secret, 400, 900144, "invalid_request" },
        { t, GRANT "&scope=https%3A%2F%2Fvault.localhost", a.client_id, a.secret, 400, 70011,
          "invalid_scope" },
        { t, GRANT "&scope=https%3A%2F%2Felsewhere.example%2F.default", a.client_id, a.secret, 400,
          500011, "invalid_resource" },
        { t, GRANT "&" SCOPE "&" GRANT, a.client_id, a.secret, 400, 900144, "invalid_request" },
        { t, GRANT "&" SCOPE "&x=%zz", a.client_id, a.secret, 400, 900144, "invalid_request" },
        { t, GRANT "&" SCOPE "&client_assertion=x", a.client_id, a.secret, 401, 7000216,
          "invalid_client" },
        { t, GRANT "&" SCOPE "&client_assertion=x", a.client_id, NULL, 400, 900144,
          "invalid_request" },
        { t,
          GRANT
          "&" SCOPE
          "&client_assertion=x&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer",
          a.client_id, NULL, 401, 700027, "invalid_client" },
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *j;
        char *id = cases[i].client ? mem_printf("&client_id=%s", cases[i].client) : mem_strdup("");
        char *secret =
            cases[i].secret ? mem_printf("&client_secret=%s", cases[i].secret) : mem_strdup("");
        char *form = mem_printf("%s%s%s", cases[i].form, id, secret);
        int status = ask(f, cases[i].tenant, form, &j);
        char prefix[32];
        (void)snprintf(prefix, sizeof prefix, "AADSTS%d: ", cases[i].code);
        const char *error = kjson_str(j, "error"), *text = kjson_str(j, "error_description");
        if (status != cases[i].status || !error || strcmp(error, cases[i].error) != 0 || !text ||
            strncmp(text, prefix, strlen(prefix)) != 0 ||
            json_integer_value(json_array_get(kjson_arr(j, "error_codes"), 0)) != cases[i].code)
            fail_msg("case %zu: %d %s %s", i, status, error ? error : "", text ? text : "");
        assert_int_equal(strlen(kjson_str(j, "trace_id")), 36);
        assert_int_equal(strlen(kjson_str(j, "correlation_id")), 36);
        assert_int_equal(strlen(kjson_str(j, "timestamp")), 20);
        json_decref(j);
        mem_free(form);
        mem_free(id);
        mem_free(secret);
    }
    mem_free(node);
    app_fini(&a);
    app_fini(&other);
}

static void a_secret_ends(void **state)
{
    struct vaultfix *f = *state;
    char id[VAULT_CREDENTIAL_ID], second[VAULT_CREDENTIAL_ID];
    struct app a;
    struct err e = { 0 };
    json_t *j;

    app_new(f, NULL, "tool", &a);
    char *brief = new_secret(f, NULL, "tool", 1, id),
         *other = new_secret(f, NULL, "tool", 60, second);
    char *form = mem_printf(GRANT "&" SCOPE "&client_id=%s&client_secret=%s", a.client_id, brief);
    int status;
    do { /* it is good for a second, at most */
        status = ask(f, vault_tenant(f->vault), form, &j);
        int64_t code = json_integer_value(json_array_get(kjson_arr(j, "error_codes"), 0));
        if (status != 200 && code != 7000222)
            fail_msg("%d %d", status, (int)code);
        json_decref(j);
        clock_sleep_us(20000);
    } while (status == 200);
    mem_free(form);
    /* one that is taken away is as good as none */
    form = mem_printf(GRANT "&" SCOPE "&client_id=%s&client_secret=%s", a.client_id, other);
    assert_int_equal(ask(f, vault_tenant(f->vault), form, &j), 200);
    json_decref(j);
    CHECK_RC_OK(vault_credential_remove(f->vault, NULL, "tool", second, &e), &e);
    assert_int_equal(ask(f, vault_tenant(f->vault), form, &j), 401);
    json_decref(j);
    CHECK_RC_FAILS(vault_credential_remove(f->vault, NULL, "tool", second, &e), &e, ERR_NOT_FOUND);
    mem_free(form);
    mem_free(brief);
    mem_free(other);
    app_fini(&a);
}

static void the_same_name_is_not_the_same_principal(void **state)
{
    struct vaultfix *f = *state;
    struct app a, again;
    struct err e = { 0 };
    json_t *j;

    app_new(f, NULL, "tool", &a);
    CHECK_RC_OK(vault_grant(f->vault, "main", "tool", "administrator", &e), &e);
    char *token = token_of(f, vault_tenant(f->vault), &a);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, token, NULL, NULL), 200);
    CHECK_RC_OK(vault_principal_delete(f->vault, NULL, "tool", &e), &e);
    /* its token is good for minutes, but stands for nobody */
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, token, NULL, NULL), 401);

    app_new(f, NULL, "tool", &again);
    assert_string_not_equal(a.client_id, again.client_id);
    assert_string_not_equal(a.object_id, again.object_id);
    char *fresh = token_of(f, vault_tenant(f->vault), &again);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, fresh, NULL, NULL), 403);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, token, NULL, NULL), 401);
    char *form =
        mem_printf(GRANT "&" SCOPE "&client_id=%s&client_secret=%s", again.client_id, a.secret);
    assert_int_equal(ask(f, vault_tenant(f->vault), form, &j), 401);
    json_decref(j);
    mem_free(form);
    mem_free(token);
    mem_free(fresh);
    app_fini(&a);
    app_fini(&again);
}

/* All until a moment, whoever signed them; what comes after, even within the same second, is good. */
static void tokens_of_a_principal_are_taken_back(void **state)
{
    struct vaultfix *f = *state;
    const char *here = vault_tenant(f->vault);
    struct app a;
    struct err e = { 0 };
    int64_t from_s, again_s;
    char why[640];

    app_new(f, NULL, "tool", &a);
    char *
        able = token_with(
           f, here, &a,
           "&claims=%7B%22access_token%22%3A%7B%22xms_cc%22%3A%7B%22values%22%3A%5B%22cp1%22%5D%7D%7D%7D"),
       *plain = token_of(f, here, &a);
    fault_arm("file.create", "ENOSPC", 0, -1);
    CHECK_RC_FAILS(vault_tokens_revoke(f->vault, NULL, "tool", &from_s, &e), &e, ERR_DISK_FULL);
    fault_disarm_all();
    err_reset(&e);
    assert_int_equal(from_s, 0);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, plain, NULL, NULL), 403);
    CHECK_RC_OK(vault_tokens_revoke(f->vault, NULL, "tool", &from_s, &e), &e);
    CHECK_RC_OK(vault_tokens_revoke(f->vault, NULL, "tool", &again_s, &e), &e);
    assert_true(from_s > 0 && again_s > from_s);
    for (int i = 0; i < 2; i++) {
        struct token_claims who;
        assert_false(vault__token_check(f->vault, slice_str(i ? able : plain), here, clock_real_s(),
                                        &who, why, sizeof why));
        assert_int_equal(who.stale, i); /* told to come with another, who understands that */
        assert_non_null(strstr(why, "taken back"));
    }
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, plain, NULL, NULL), 401);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, f->token_op, NULL, NULL), 200);
    char *fresh = token_of(f, here, &a);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, fresh, NULL, NULL), 403);
    json_t *claims = part_of(fresh, 1);
    int64_t iat = 0;
    assert_true(kjson_i64(claims, "iat", &iat) && iat == again_s);
    json_decref(claims);
    CHECK_RC_FAILS(vault_tokens_revoke(f->vault, NULL, "nobody", &from_s, &e), &e, ERR_NOT_FOUND);
    mem_free(able);
    mem_free(plain);
    mem_free(fresh);
    app_fini(&a);
}

static void another_tenants_token_is_worthless(void **state)
{
    struct vaultfix *f = *state;
    struct app a;
    struct err e = { 0 };
    json_t *j;

    CHECK_RC_OK(vault_tenant_create(f->vault, "other", &e), &e);
    CHECK_RC_FAILS(vault_tenant_create(f->vault, "OTHER", &e), &e, ERR_CONFLICT);
    app_new(f, "other", "tool", &a);
    /* a tenant goes by its name too */
    char *token = token_of(f, "other", &a);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, token, NULL, &j), 401);
    const char *text = kjson_str(kjson_obj(j, "error"), "message");
    assert_non_null(
        strstr(text, "AKV10032: Invalid issuer. Expected one of https://login.localhost"));
    assert_non_null(strstr(text, vault_tenant(f->vault)));
    json_decref(j);
    mem_free(token);
    app_fini(&a);
}

/* ---- signing keys ---- */

static size_t n_keys(struct vaultfix *f)
{
    char *path = mem_printf("/%s/discovery/v2.0/keys", vault_tenant(f->vault));
    json_t *j;

    assert_int_equal(login(f, "GET", path, NULL, &j), 200);
    size_t n = json_array_size(kjson_arr(j, "keys"));
    json_decref(j);
    mem_free(path);
    return n;
}

static char *kid_of(const char *token)
{
    json_t *header = part_of(token, 0);
    assert_string_equal(kjson_str(header, "alg"), "RS256");
    assert_string_equal(kjson_str(header, "typ"), "JWT");
    assert_string_equal(kjson_str(header, "x5t"), kjson_str(header, "kid"));
    char *kid = mem_strdup(kjson_str(header, "kid"));
    json_decref(header);
    return kid;
}

static void another_key_takes_over(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };

    assert_int_equal(n_keys(f), 1);
    CHECK_RC_OK(vault_signing_key_rotate(f->vault, false, &e), &e);
    assert_int_equal(n_keys(f), 2);
    /* what the older one signed is good until it expires */
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, f->token_op, NULL, NULL), 200);
    char *fresh = vaultfix_token(f, f->operator_secret), *was = kid_of(f->token_op),
         *now = kid_of(fresh);
    assert_string_not_equal(was, now);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, fresh, NULL, NULL), 200);

    /* and it stays so over a restart */
    uint16_t port = vault_port(f->vault);
    char *old = mem_strdup(f->token_op);
    vaultfix_down(f);
    f->config.port = port;
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    assert_int_equal(n_keys(f), 2);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, old, NULL, NULL), 200);

    CHECK_RC_OK(vault_signing_key_rotate(f->vault, true, &e), &e);
    assert_int_equal(n_keys(f), 1);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, old, NULL, NULL), 401);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, fresh, NULL, NULL), 401);
    mem_free(old);
    mem_free(fresh);
    mem_free(was);
    mem_free(now);
}

static void too_many_keys_are_refused(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };
    int n = 1;

    while (!vault_signing_key_rotate(f->vault, false, &e).failed)
        assert_true(++n < 20);
    assert_int_equal(e.code, ERR_CONFLICT);
    assert_int_equal(n_keys(f), (size_t)n);
    err_reset(&e);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, f->token_op, NULL, NULL), 200);
    CHECK_RC_OK(vault_signing_key_rotate(f->vault, true, &e), &e);
}

/* A life of seconds: keys take over by themselves, and go when their tokens have expired. */
static void keys_come_and_go(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };

    vaultfix_down(f);
    f->config.signing_key_lifetime_s = 1;
    f->config.port = 0;
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    char *first = kid_of(f->token_op), *kid = mem_strdup(first);
    while (strcmp(first, kid) == 0) {
        clock_sleep_us(50000);
        char *token = vaultfix_token(f, f->operator_secret);
        mem_free(kid);
        kid = kid_of(token);
        mem_free(token);
    }
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, f->token_op, NULL, NULL), 200);
    /* the first until the last token that it may have signed is no longer taken */
    int64_t last = clock_real_s() + f->config.token_lifetime_s + TOKEN_SKEW_S + 1;
    struct rsa_public pub;
    assert_true(vault__signer_public(f->vault, first, clock_real_s(), &pub));
    assert_false(vault__signer_public(f->vault, first, last, &pub));
    assert_true(vault__signer_public(f->vault, kid, last, &pub));
    json_t *set = vault__jwks(f->vault, last);
    assert_int_equal(json_array_size(kjson_arr(set, "keys")), 1);
    json_decref(set);
    mem_free(first);
    mem_free(kid);
}

/* A key whose time is over signs on when none can take over: tokens do not wait for the key set or the disk. */
static void a_key_without_a_successor_signs_on(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };

    vaultfix_down(f);
    f->config.signing_key_lifetime_s = 1;
    f->config.port = 0;
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    f->vault->audit->pin_us = UINT64_MAX; /* the log can be written, the state cannot */
    fault_arm("file.create", "ENOSPC", 0, -1);
    clock_sleep_us(1100000);
    mem_free(vaultfix_token(f, f->operator_secret));
    fault_disarm_all();
    while (!vault_signing_key_rotate(f->vault, false, &e).failed)
        ;
    assert_int_equal(e.code, ERR_CONFLICT);
    err_reset(&e);
    size_t n = n_keys(f);
    clock_sleep_us(1100000);
    char *token = vaultfix_token(f, f->operator_secret);
    assert_int_equal(vaultfix_call(f, "GET", "/keys" V, token, NULL, NULL), 200);
    assert_int_equal(n_keys(f), n);
    mem_free(token);
}

static void discovery_says_where(void **state)
{
    struct vaultfix *f = *state;
    const char *t = vault_tenant(f->vault);
    json_t *j;

    for (int v2 = 0; v2 < 2; v2++) {
        char *path = mem_printf("/%s/%s.well-known/openid-configuration", t, v2 ? "v2.0/" : "");
        char *base = mem_printf("https://login.localhost:%u/%s/", vault_port(f->vault), t);
        char *issuer = mem_printf("%s%s", base, v2 ? "v2.0" : ""),
             *token = mem_printf("%soauth2/%stoken", base, v2 ? "v2.0/" : ""),
             *keys = mem_printf("%sdiscovery/%skeys", base, v2 ? "v2.0/" : "");
        assert_int_equal(login(f, "GET", path, NULL, &j), 200);
        assert_string_equal(kjson_str(j, "issuer"), issuer);
        assert_string_equal(kjson_str(j, "token_endpoint"), token);
        assert_string_equal(kjson_str(j, "jwks_uri"), keys);
        assert_non_null(kjson_str(j, "authorization_endpoint"));
        json_decref(j);
        mem_free(path);
        mem_free(base);
        mem_free(issuer);
        mem_free(token);
        mem_free(keys);
    }
    assert_int_equal(login(f, "GET", "/nobody/v2.0/.well-known/openid-configuration", NULL, &j),
                     400);
    json_decref(j);
}

/* v1: resource in place of scope, numbers as texts. */
static void the_older_form_is_served(void **state)
{
    struct vaultfix *f = *state;
    struct app a;
    json_t *j;

    app_new(f, NULL, "tool", &a);
    char *path = mem_printf("/%s/oauth2/token", vault_tenant(f->vault));
    char *form = mem_printf(
        GRANT
        "&resource=https%%3A%%2F%%2Fvault.localhost&client_id=%s&client_secret=%s"
        "&claims=%%7B%%22access_token%%22%%3A%%7B%%22xms_cc%%22%%3A%%7B%%22values%%22%%3A%%5B%%22cp1%%22%%5D%%7D%%7D%%7D",
        a.client_id, a.secret);
    assert_int_equal(login(f, "POST", path, form, &j), 200);
    assert_string_equal(kjson_str(j, "expires_in"), "600");
    assert_string_equal(kjson_str(j, "resource"), "https://vault.localhost");
    json_t *claims = part_of(kjson_str(j, "access_token"), 1);
    assert_string_equal(json_string_value(json_array_get(kjson_arr(claims, "xms_cc"), 0)), "cp1");
    json_decref(claims);
    json_decref(j);
    mem_free(path);
    mem_free(form);
    app_fini(&a);
}

/* A client is told to come with a new token where that would do, and where it understands. */
static void what_is_stale_is_told_apart(void **state)
{
    enum { ABLE, PLAIN, FORGED, NR };
    static const char *const nowhere = "11111111-2222-3333-4444-555555555555";
    struct vaultfix *f = *state;
    const char *here = vault_tenant(f->vault);
    int64_t now_s = clock_real_s(),
            late_s = now_s + f->config.client_token_lifetime_s + TOKEN_SKEW_S + 60;
    struct app a;

    app_new(f, NULL, "tool", &a);
    char *token[NR] = {
        [ABLE] = token_with(
            f, here, &a,
            "&claims=%7B%22access_token%22%3A%7B%22xms_cc%22%3A%7B%22values%22%3A%5B%22cp1%22%5D%7D%7D%7D"),
        [PLAIN] = token_of(f, here, &a),
    };
    token[FORGED] = mem_strdup(token[ABLE]);
    memset(token[FORGED] + strlen(token[FORGED]) - 8, 'A', 7);
    static const struct {
        int which;
        bool late, elsewhere, good, stale;
    } want[] = {
        { ABLE, false, false, true, false },   { ABLE, true, false, false, true },
        { ABLE, false, true, false, false },   { PLAIN, false, false, true, false },
        { PLAIN, true, false, false, false },  { FORGED, false, false, false, false },
        { FORGED, true, false, false, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct token_claims who;
        char why[640];
        bool good = vault__token_check(f->vault, slice_str(token[want[i].which]),
                                       want[i].elsewhere ? nowhere : here,
                                       want[i].late ? late_s : now_s + 1, &who, why, sizeof why);
        if (good != want[i].good || who.stale != want[i].stale)
            fail_msg("case %zu: good %d, stale %d", i, good, who.stale);
    }
    for (int i = 0; i < NR; i++)
        mem_free(token[i]);
    app_fini(&a);
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct vaultfix *f = *state;
    struct vault_service *s = f->vault;
    char id[VAULT_CREDENTIAL_ID];
    struct buf out = BUF_INIT;
    struct err e = { 0 };

    CHECK_RC_OK(vault_principal_create(s, NULL, "tool", VAULT_APPLICATION, &e), &e);
    CHECK_RC_FAILS(vault_principal_create(s, NULL, "TOOL", VAULT_MANAGED_IDENTITY, &e), &e,
                   ERR_CONFLICT);
    CHECK_RC_FAILS(vault_principal_create(s, NULL, "a b", VAULT_APPLICATION, &e), &e,
                   ERR_BAD_VALUE);
    CHECK_RC_FAILS(vault_principal_create(s, "nobody", "x", VAULT_APPLICATION, &e), &e,
                   ERR_NOT_FOUND);
    CHECK_RC_FAILS(vault_identity_credential(s, NULL, "tool", &out, &e), &e, ERR_BAD_VALUE);
    CHECK_RC_FAILS(vault_secret_add(s, NULL, "node", "", 60, id, &out, &e), &e, ERR_BAD_VALUE);
    CHECK_RC_FAILS(vault_secret_add(s, NULL, "tool", "", 0, id, &out, &e), &e, ERR_BAD_VALUE);
    assert_int_equal(out.len, 0);
    CHECK_RC_FAILS(vault_certificate_add(s, NULL, "tool", "", SLICE_LIT("no PEM"), id, &e), &e,
                   ERR_BAD_VALUE);
    /* an EC certificate */
    CHECK_RC_FAILS(vault_certificate_add(s, NULL, "tool", "", vault_ca_pem(s), id, &e), &e,
                   ERR_BAD_VALUE);
    const struct vault_federation bad[] = {
        { "k8s", "http://issuer.example", "system:serviceaccount:db:node", NULL },
        { "k8s", "https://issuer.example/?x", "s", NULL },
        { "k8s", "https://issuer.example", "", NULL },
        { "k 8", "https://issuer.example", "s", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK_RC_FAILS(vault_federation_add(s, NULL, "node", &bad[i], &e), &e, ERR_BAD_VALUE);
    struct vault_federation good = { "k8s", "https://issuer.example", "s", NULL };
    CHECK_RC_OK(vault_federation_add(s, NULL, "node", &good, &e), &e);
    CHECK_RC_FAILS(vault_federation_add(s, NULL, "node", &good, &e), &e, ERR_CONFLICT);
    CHECK_RC_OK(vault_credential_remove(s, NULL, "node", "k8s", &e), &e);
    CHECK_RC_FAILS(vault_principal_delete(s, NULL, "nobody", &e), &e, ERR_NOT_FOUND);
}

#define T(x) cmocka_unit_test_setup_teardown(x, vaultfix_setup, vaultfix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_application_gets_in_with_its_secret),
        T(refusals_are_exact),
        T(a_secret_ends),
        T(the_same_name_is_not_the_same_principal),
        T(another_tenants_token_is_worthless),
        T(another_key_takes_over),
        T(tokens_of_a_principal_are_taken_back),
        T(too_many_keys_are_refused),
        T(keys_come_and_go),
        T(a_key_without_a_successor_signs_on),
        T(discovery_says_where),
        T(the_older_form_is_served),
        T(what_is_stale_is_told_apart),
        T(what_makes_no_sense_is_refused),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
