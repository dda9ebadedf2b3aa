/* test_access.c - roles and access policies, on a vault and on one key; address rules; and that an access outlives neither its principal nor its
 * key. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/fault.h"
#include "vault/vault_admin.h"
#include "vault_priv.h"
#include "vaultfix.h"

#define V "?api-version=7.4"
#define WRAP_BODY                                                                                  \
    "{\"alg\":\"RSA-OAEP-256\",\"value\":\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA\"}"

/* The answer's status; its inner code and message when it is a refusal. */
static int call(struct vaultfix *f, const char *method, const char *path, const char *token,
                const char *body, char inner[64], char message[1200])
{
    json_t *j;
    int status = vaultfix_call(f, method, path, token, body, &j);
    const json_t *error = kjson_obj(j, "error");
    const char *code = kjson_str(kjson_obj(error, "innererror"), "code");

    if (inner)
        (void)snprintf(inner, 64, "%s", code ? code : "");
    if (message)
        (void)snprintf(message, 1200, "%s",
                       kjson_str(error, "message") ? kjson_str(error, "message") : "");
    json_decref(j);
    return status;
}

/* What each operation of the node's token is answered with: 'y'es, 'n'o, not with this 't'oken. In order: get, list, versions, wrap, update, create, delete. */
static void check_rights(struct vaultfix *f, const char *key, const char *want)
{
    const struct {
        const char *method, *before, *behind, *body; /* of the key's name in the path */
    } ops[] = {
        { "GET", "/", V, NULL },
        { "GET", "", V, NULL },
        { "GET", "/", "/versions" V, NULL },
        { "POST", "/", "//wrapkey" V, WRAP_BODY },
        { "PATCH", "/", "/" V, "{}" },
        { "POST", "/", "/create" V, "{}" }, /* 400 when it is let through */
        { "DELETE", "/never-", V, NULL },
    };
    char got[ARRAY_LEN(ops) + 1] = "";

    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        char inner[64];
        AUTO(mem_freep) char *path =
            mem_printf("/keys%s%s%s", ops[i].before, *ops[i].before ? key : "", ops[i].behind);
        int status = call(f, ops[i].method, path, f->token_node, ops[i].body, inner, NULL);
        if (status == 403 && strcmp(inner, "ForbiddenByRbac") != 0 &&
            strcmp(inner, "AccessDenied") != 0)
            fail_msg("%s %s: inner code \"%s\"", ops[i].method, path, inner);
        got[i] = status == 403 ? 'n' : status == 401 ? 't' : 'y';
    }
    assert_string_equal(got, want);
}

static void roles_hold_what_they_say(void **state)
{
    /* get, list, versions, wrap, update, create, delete */
    static const char *const cases[][2] = {
        { "reader", "yyynnnn" },
        { "crypto-service-encryption-user", "yyyynnn" },
        { "Key Vault Crypto User", "yyyyynn" },
        { "14b46e9e-c2b7-41b4-b07b-48a6ebf60603", "yyyyyyy" },
        { "administrator", "yyyyyyy" },
        { "purge-operator", "nnnnnnn" },
        { "crypto-service-release-user", "nnnnnnn" },
    };
    struct vaultfix *f = *state;
    struct err e = { 0 };

    CHECK_RC_OK(vault_role_remove(f->vault, "main", NULL, "node", "crypto-service-encryption-user",
                                  &e),
                &e);
    check_rights(f, "data", "nnnnnnn");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CHECK_RC_OK(vault_role_assign(f->vault, "main", NULL, "node", cases[i][0], &e), &e);
        check_rights(f, "data", cases[i][1]);
        CHECK_RC_OK(vault_role_remove(f->vault, "main", NULL, "node", cases[i][0], &e), &e);
    }
    check_rights(f, "data", "nnnnnnn");
    /* several add up, and each goes by itself */
    CHECK_RC_OK(vault_role_assign(f->vault, "main", NULL, "node", "reader", &e), &e);
    CHECK_RC_OK(vault_role_assign(f->vault, "main", NULL, "node", "crypto-user", &e), &e);
    CHECK_RC_OK(vault_role_assign(f->vault, "main", NULL, "node", "crypto-user", &e), &e);
    CHECK_RC_OK(vault_role_remove(f->vault, "main", NULL, "node", "crypto-user", &e), &e);
    check_rights(f, "data", "yyynnnn");
}

static void a_role_on_one_key(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };

    CHECK_RC_OK(vault_ensure_key(f->vault, "main", "other", 2048, &e), &e);
    CHECK_RC_OK(vault_role_remove(f->vault, "main", NULL, "node", "crypto-service-encryption-user",
                                  &e),
                &e);
    CHECK_RC_OK(vault_role_assign(f->vault, "main", "DATA", "node",
                                  "crypto-service-encryption-user", &e),
                &e);
    /* the list of keys is the vault's, not the key's */
    check_rights(f, "data", "ynyynnn");
    check_rights(f, "Data", "ynyynnn");
    check_rights(f, "other", "nnnnnnn");
    /* one on the vault is another one */
    CHECK_RC_OK(vault_role_remove(f->vault, "main", NULL, "node", "crypto-service-encryption-user",
                                  &e),
                &e);
    check_rights(f, "data", "ynyynnn");

    /* it is there after a restart */
    uint16_t port = vault_port(f->vault);
    char *token = mem_strdup(f->token_node);
    vaultfix_down(f);
    f->config.port = port;
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    mem_free(f->token_node);
    f->token_node = token;
    check_rights(f, "data", "ynyynnn");
    check_rights(f, "other", "nnnnnnn");
}

/* A key that is purged and made again is another key: what one might with the old one, one may not with the new one. */
static void a_key_made_again_is_another(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };
    static const char purgeable[] = "{\"properties\":{\"enablePurgeProtection\":false}}";

    CHECK_RC_OK(vault_put_vault(f->vault, "brief", slice_str(purgeable), &e), &e);
    CHECK_RC_OK(vault_ensure_key(f->vault, "brief", "data", 2048, &e), &e);
    CHECK_RC_OK(vault_grant(f->vault, "brief", "operator", "crypto-officer", &e), &e);
    CHECK_RC_OK(vault_role_assign(f->vault, "brief", "data", "node", "crypto-user", &e), &e);
    char *main_url = f->url;
    f->url = mem_printf("https://brief.vault.localhost:%u", vault_port(f->vault));
    assert_int_equal(call(f, "GET", "/keys/data" V, f->token_node, NULL, NULL, NULL), 200);
    /* deleted and recovered it is the same */
    assert_int_equal(call(f, "DELETE", "/keys/data" V, f->token_op, NULL, NULL, NULL), 200);
    assert_int_equal(call(f, "GET", "/deletedkeys/data" V, f->token_node, NULL, NULL, NULL), 200);
    assert_int_equal(call(f, "POST", "/deletedkeys/data/recover" V, f->token_op, NULL, NULL, NULL),
                     200);
    assert_int_equal(call(f, "GET", "/keys/data" V, f->token_node, NULL, NULL, NULL), 200);
    assert_int_equal(call(f, "DELETE", "/keys/data" V, f->token_op, NULL, NULL, NULL), 200);
    assert_int_equal(call(f, "DELETE", "/deletedkeys/data" V, f->token_op, NULL, NULL, NULL), 204);
    CHECK_RC_OK(vault_ensure_key(f->vault, "brief", "data", 2048, &e), &e);
    assert_int_equal(call(f, "GET", "/keys/data" V, f->token_node, NULL, NULL, NULL), 403);
    /* until it is said again */
    CHECK_RC_OK(vault_role_assign(f->vault, "brief", "data", "node", "crypto-user", &e), &e);
    assert_int_equal(call(f, "GET", "/keys/data" V, f->token_node, NULL, NULL, NULL), 200);
    mem_free(f->url);
    f->url = main_url;
}

static void policies_hold_what_they_say(void **state)
{
    static const char *const cases[][2] = {
        { "get", "ynnnnnn" },
        { "list", "nyynnnn" },
        { "get,list,WRAPKEY", "yyyynnn" },
        { "update", "nnnnynn" },
        { "create", "nnnnnyn" },
        { "delete", "nnnnnny" },
        { "all", "yyyyyyy" },
        { "sign, verify, release", "nnnnnnn" },
    };
    struct vaultfix *f = *state;
    struct err e = { 0 };
    static const char off[] = "{\"properties\":{\"enableRbacAuthorization\":false}}",
                      on[] = "{\"properties\":{\"enableRbacAuthorization\":true}}";

    /* kept while roles decide, but not asked */
    CHECK_RC_OK(vault_policy_set(f->vault, "main", "node", "all", &e), &e);
    check_rights(f, "data", "yyyynnn");
    CHECK_RC_OK(vault_put_vault(f->vault, "main", slice_str(off), &e), &e);
    check_rights(f, "data", "yyyyyyy");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CHECK_RC_OK(vault_policy_set(f->vault, "main", "node", cases[i][0], &e), &e);
        check_rights(f, "data", cases[i][1]);
    }
    CHECK_RC_OK(vault_policy_set(f->vault, "main", "node", "", &e), &e);
    check_rights(f, "data", "nnnnnnn");
    CHECK_RC_FAILS(vault_policy_set(f->vault, "main", "node", "get,fly", &e), &e, ERR_BAD_VALUE);
    CHECK_RC_OK(vault_put_vault(f->vault, "main", slice_str(on), &e), &e);
    check_rights(f, "data", "yyyynnn");
}

static void refusals_say_why(void **state)
{
    struct vaultfix *f = *state;
    const struct identity *p = vault__find_identity(f->vault, vault_tenant(f->vault), "node");
    char inner[64], message[1200], who[400];
    struct err e = { 0 };
    static const char off[] = "{\"properties\":{\"enableRbacAuthorization\":false}}";

    (void)snprintf(who, sizeof who, "appid=%s;oid=%s;iss=https://login.localhost:%u/%s/",
                   p->client_id, p->object_id, vault_port(f->vault), vault_tenant(f->vault));
    assert_int_equal(call(f, "DELETE", "/keys/data" V, f->token_node, NULL, inner, message), 403);
    assert_string_equal(inner, "ForbiddenByRbac");
    char *resource = mem_printf(
        "\r\nResource: '/subscriptions/%s/resourcegroups/coffer/providers/microsoft.keyvault/vaults/main/keys/data'\r\n",
        vault_tenant(f->vault));
    const char *rbac[] = { who, "\r\nAction: 'Microsoft.KeyVault/vaults/keys/delete'\r\n", resource,
                           "\r\nVault: main;location=local\r\n" };
    for (size_t i = 0; i < ARRAY_LEN(rbac); i++)
        assert_non_null(strstr(message, rbac[i]));
    mem_free(resource);

    CHECK_RC_OK(vault_put_vault(f->vault, "main", slice_str(off), &e), &e);
    assert_int_equal(call(f, "POST", "/keys/data//unwrapkey" V, f->token_node, "{}", inner,
                          message),
                     403);
    assert_string_equal(inner, "AccessDenied");
    char *want = mem_printf(
        "The user, group or application '%s' does not have keys unwrapKey permission on key vault 'main;location=local'.",
        who);
    assert_string_equal(message, want);
    mem_free(want);
}

static void access_goes_with_its_principal(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };
    struct buf secret = BUF_INIT;

    CHECK_RC_OK(vault_policy_set(f->vault, "main", "node", "get", &e), &e);
    CHECK_RC_OK(vault_role_assign(f->vault, "main", "data", "node", "reader", &e), &e);
    const struct vault_access *a = f->vault->vaults[0]->access;
    assert_int_equal(a->n_assignments, 3); /* with the operator's */
    assert_int_equal(a->n_policies, 1);
    /* a save that fails takes nothing */
    fault_arm("file.write", "ENOSPC", 0, 1);
    CHECK_RC_FAILS(vault_principal_delete(f->vault, NULL, "node", &e), &e, ERR_DISK_FULL);
    fault_disarm_all();
    check_rights(f, "data", "yyyynnn");
    CHECK_RC_OK(vault_principal_delete(f->vault, NULL, "node", &e), &e);
    a = f->vault->vaults[0]->access;
    assert_int_equal(a->n_assignments, 1);
    assert_int_equal(a->n_policies, 0);
    check_rights(f, "data", "ttttttt");
    CHECK_RC_OK(vault_ensure_identity(f->vault, "node", false, &secret, &e), &e);
    check_rights(f, "data", "ttttttt");
    CHECK_RC_OK(file_write_atomic(f->node_secret, 0600, buf_view(&secret), &e), &e);
    mem_free(f->token_node);
    f->token_node = vaultfix_token(f, f->node_secret);
    check_rights(f, "data", "nnnnnnn");
    buf_wipe(&secret);
}

/* Every start grants what its settings list: a disk that is full keeps no vault from coming up. */
static void what_is_so_already_is_not_saved(void **state)
{
    struct vaultfix *f = *state;
    struct vault_service *s = f->vault;
    struct err e = { 0 };

    CHECK_RC_OK(vault_role_assign(s, "main", "data", "node", "reader", &e), &e);
    CHECK_RC_OK(vault_policy_set(s, "main", "node", "get", &e), &e);
    CHECK_RC_OK(vault_firewall_rule(s, "main", "10.0.0.0/8", true, &e), &e);
    uint64_t saves = s->counter;
    fault_arm("file.write", "ENOSPC", 0, -1);
    CHECK_RC_OK(vault_grant(s, "main", "operator", "crypto-officer", &e), &e);
    CHECK_RC_OK(vault_role_assign(s, "main", "data", "node", "reader", &e), &e);
    CHECK_RC_OK(vault_role_remove(s, "main", NULL, "node", "reader", &e), &e);
    CHECK_RC_OK(vault_policy_set(s, "main", "node", "get", &e), &e);
    CHECK_RC_OK(vault_policy_set(s, "main", "operator", "", &e), &e);
    CHECK_RC_OK(vault_firewall_rule(s, "main", "10.0.0.0/8", true, &e), &e);
    CHECK_RC_OK(vault_firewall_default(s, "main", true, &e), &e);
    CHECK_RC_FAILS(vault_role_assign(s, "main", NULL, "node", "reader", &e), &e, ERR_DISK_FULL);
    CHECK_RC_FAILS(vault_policy_set(s, "main", "node", "list", &e), &e, ERR_DISK_FULL);
    CHECK_RC_FAILS(vault_firewall_default(s, "main", false, &e), &e, ERR_DISK_FULL);
    fault_disarm_all();
    assert_true(s->counter == saves);
}

/* ---- addresses ---- */

static void ranges_are_read_and_hold(void **state)
{
    static const struct {
        const char *range, *in, *out;
    } cases[] = {
        { "10.1.2.3", "10.1.2.3", "10.1.2.4" },
        { "10.0.0.0/8", "10.255.255.255", "11.0.0.0" },
        { "192.168.4.0/22", "192.168.7.255", "192.168.8.0" },
        { "128.0.0.0/1", "255.0.0.1", "127.255.255.255" },
        { "0.0.0.0/0", "8.8.8.8", "::1" },
        { "10.1.2.3/32", "::ffff:10.1.2.3", "10.1.2.2" },
        { "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1" },
        { "::1", "::1", "127.0.0.1" },
        { "::/0", "10.0.0.1", NULL },
        { "::ffff:10.0.0.0/104", "10.9.8.7", "11.0.0.1" },
    };
    static const char *const bad[] = {
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "10.0.0",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        " 10.0.0.0",
        "::/129",
        "2001:db8::1/64",
        "localhost",
        "010.0.0.1",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb/64"
    };
    struct err e = { 0 };
    struct cidr c;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *sides[] = { cases[i].in, cases[i].out };
        CHECK_RC_OK(vault__cidr_read(cases[i].range, &c, &e), &e);
        for (int n = 0; n < 2 && sides[n]; n++) {
            struct sockaddr_in v4 = { .sin_family = AF_INET };
            struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
            bool is_v4 = inet_pton(AF_INET, sides[n], &v4.sin_addr) == 1;
            assert_true(is_v4 || inet_pton(AF_INET6, sides[n], &v6.sin6_addr) == 1);
            if (vault__cidr_holds(&c, is_v4 ? (void *)&v4 : (void *)&v6) != (n == 0))
                fail_msg("%s and %s", cases[i].range, sides[n]);
        }
        assert_false(vault__cidr_holds(&c, NULL));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (!vault__cidr_read(bad[i], &c, &e).failed)
            fail_msg("\"%s\" is taken", bad[i]);
        else
            err_reset(&e);
}

static void addresses_are_kept_out(void **state)
{
    struct vaultfix *f = *state;
    struct vault_service *s = f->vault;
    char inner[64], message[1200];
    struct err e = { 0 };

    CHECK_RC_OK(vault_firewall_rule(s, "main", "10.0.0.0/8", true, &e), &e);
    assert_int_equal(call(f, "GET", "/keys" V, f->token_op, NULL, NULL, NULL), 200);
    CHECK_RC_OK(vault_firewall_default(s, "main", false, &e), &e);
    assert_int_equal(call(f, "GET", "/keys" V, f->token_op, NULL, inner, message), 403);
    assert_string_equal(inner, "ForbiddenByFirewall");
    assert_non_null(strstr(message, "\r\nClient address: 127.0.0.1\r\nCaller: appid="));
    assert_non_null(strstr(message, "\r\nVault: main;location=local"));
    /* where tokens come from is told to all: a client behind another address needs it */
    assert_int_equal(call(f, "GET", "/keys" V, NULL, NULL, NULL, NULL), 401);
    CHECK_RC_OK(vault_firewall_rule(s, "main", "127.0.0.0/8", true, &e), &e);
    CHECK_RC_OK(vault_firewall_rule(s, "main", "127.0.0.0/8", true, &e), &e);
    assert_int_equal(call(f, "GET", "/keys" V, f->token_op, NULL, NULL, NULL), 200);
    CHECK_RC_OK(vault_firewall_rule(s, "main", "127.0.0.0/8", false, &e), &e);
    assert_int_equal(call(f, "GET", "/keys" V, f->token_op, NULL, NULL, NULL), 403);
    CHECK_RC_FAILS(vault_firewall_rule(s, "main", "127.0.0.0/8", false, &e), &e, ERR_NOT_FOUND);
    CHECK_RC_FAILS(vault_firewall_rule(s, "main", "127.0.0.1/8", true, &e), &e, ERR_BAD_VALUE);
    CHECK_RC_FAILS(vault_firewall_rule(s, "gone", "127.0.0.0/8", true, &e), &e, ERR_NOT_FOUND);
    CHECK_RC_OK(vault_firewall_default(s, "main", true, &e), &e);
    assert_int_equal(call(f, "GET", "/keys" V, f->token_op, NULL, NULL, NULL), 200);
}

static void what_is_not_there_is_named(void **state)
{
    struct vaultfix *f = *state;
    struct buf out = BUF_INIT;
    struct err e = { 0 };
    json_t *j;

    CHECK_RC_FAILS(vault_role_assign(f->vault, "main", NULL, "nobody", "reader", &e), &e,
                   ERR_NOT_FOUND);
    CHECK_RC_FAILS(vault_role_assign(f->vault, "main", NULL, "node", "emperor", &e), &e,
                   ERR_NOT_FOUND);
    CHECK_RC_FAILS(vault_role_assign(f->vault, "main", "nokey", "node", "reader", &e), &e,
                   ERR_NOT_FOUND);
    CHECK_RC_FAILS(vault_role_assign(f->vault, "gone", NULL, "node", "reader", &e), &e,
                   ERR_NOT_FOUND);
    CHECK_RC_FAILS(vault_access(f->vault, "gone", &out, &e), &e, ERR_NOT_FOUND);
    CHECK_RC_OK(vault_access(f->vault, "main", &out, &e), &e);
    CHECK_RC_OK(kjson_load(buf_view(&out), 6, &j, &e), &e);
    assert_string_equal(kjson_str(j, "mode"), "rbac");
    assert_int_equal(json_array_size(kjson_arr(j, "roleAssignments")), 2);
    assert_string_equal(kjson_str(kjson_obj(j, "firewall"), "defaultAction"), "Allow");
    json_decref(j);
    buf_fini(&out);
}

#define KEYS "Microsoft.KeyVault/vaults/keys/"

/* Roles of the owner's own: what their data actions say, for all who have them, from the moment that they say it. */
static void own_roles(void **state)
{
    struct vaultfix *f = *state;
    struct vault_service *s = f->vault;
    struct err e = { 0 };

    CHECK_RC_OK(vault_role_remove(s, "main", NULL, "node", "crypto-service-encryption-user", &e),
                &e);
    CHECK_RC_OK(vault_role_define(s, "Wrapper", KEYS "wrap/action," KEYS "unwrap/action", NULL, &e),
                &e);
    CHECK_RC_OK(vault_role_assign(s, "main", NULL, "node", "wrapper", &e), &e);
    /* get, list, versions, wrap, update, create, delete */
    check_rights(f, "data", "nnnynnn");
    /* a change reaches those who have the role */
    CHECK_RC_OK(vault_role_define(s, "wrapper", "microsoft.keyvault/vaults/KEYS/*",
                                  KEYS "delete, " KEYS "*/action", &e),
                &e);
    check_rights(f, "data", "yyynnnn");
    CHECK_RC_OK(vault_role_define(s, "Wrapper", "*", KEYS "create/*", &e), &e);
    check_rights(f, "data", "yyyyyny");
    CHECK_RC_FAILS(vault_role_delete(s, "Wrapper", &e), &e, ERR_CONFLICT);
    /* a change that cannot be saved is none */
    fault_arm("file.rename", "EIO", 0, 1);
    CHECK_RC_FAILS(vault_role_define(s, "Wrapper", KEYS "read", NULL, &e), &e, ERR_IO);
    fault_disarm_all();
    check_rights(f, "data", "yyyyyny");
    fault_arm("file.rename", "EIO", 0, 1);
    CHECK_RC_FAILS(vault_role_define(s, "Another", KEYS "read", NULL, &e), &e, ERR_IO);
    fault_disarm_all();
    CHECK_RC_FAILS(vault_role_assign(s, "main", NULL, "node", "Another", &e), &e, ERR_NOT_FOUND);
    CHECK_RC_OK(vault_role_remove(s, "main", NULL, "node", "Wrapper", &e), &e);
    check_rights(f, "data", "nnnnnnn");
    fault_arm("file.rename", "EIO", 0, 1);
    CHECK_RC_FAILS(vault_role_delete(s, "Wrapper", &e), &e, ERR_IO);
    fault_disarm_all();
    CHECK_RC_OK(vault_role_assign(s, "main", "data", "node", "Wrapper", &e), &e);
    check_rights(f, "data", "ynyyynn"); /* on one key: no list, and no other key to delete */
    CHECK_RC_OK(vault_role_remove(s, "main", "data", "node", "Wrapper", &e), &e);
    CHECK_RC_OK(vault_role_delete(s, "Wrapper", &e), &e);
    CHECK_RC_FAILS(vault_role_delete(s, "Wrapper", &e), &e, ERR_NOT_FOUND);
    CHECK_RC_FAILS(vault_role_assign(s, "main", NULL, "node", "Wrapper", &e), &e, ERR_NOT_FOUND);
}

static void own_roles_that_make_no_sense(void **state)
{
    static const char *const wrong[][3] = {
        { "", KEYS "read", NULL },
        { "line\nbreak", KEYS "read", NULL },
        { "\xff", KEYS "read", NULL },
        { "Key Vault Reader", KEYS "read", NULL },
        { "crypto-user", KEYS "read", NULL },
        { "typo", KEYS "reed", NULL },
        { "typo", KEYS "read", KEYS "rea" },
        { "secrets", "Microsoft.KeyVault/vaults/secrets/*", NULL },
        { "nothing", "", NULL },
        { "nothing", KEYS "read", "*" },
    };
    struct vaultfix *f = *state;
    struct buf out = BUF_INIT;
    struct err e = { 0 };
    char long_name[ROLE_NAME_MAX + 2], many[ROLE_ACTIONS_MAX * 2 + 8] = "";
    json_t *j;

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        CHECK_RC_FAILS(vault_role_define(f->vault, wrong[i][0], wrong[i][1], wrong[i][2], &e), &e,
                       ERR_BAD_VALUE);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    CHECK_RC_FAILS(vault_role_define(f->vault, long_name, "*", NULL, &e), &e, ERR_BAD_VALUE);
    for (size_t i = 0; i <= ROLE_ACTIONS_MAX; i++)
        memcpy(many + i * 2, "*,", 3);
    CHECK_RC_FAILS(vault_role_define(f->vault, "many", many, NULL, &e), &e, ERR_BAD_VALUE);
    CHECK_RC_OK(vault_roles(f->vault, &out, &e), &e);
    CHECK_RC_OK(kjson_load(buf_view(&out), 6, &j, &e), &e);
    assert_int_equal(json_array_size(kjson_arr(j, "roles")), 7); /* the built-in ones */
    json_decref(j);
    buf_fini(&out);
}

static void own_roles_come_back(void **state)
{
    struct vaultfix *f = *state;
    struct err e = { 0 };

    CHECK_RC_OK(vault_role_remove(f->vault, "main", NULL, "node", "crypto-service-encryption-user",
                                  &e),
                &e);
    CHECK_RC_OK(vault_role_define(f->vault, "Wrapper", KEYS "wrap/action", NULL, &e), &e);
    CHECK_RC_OK(vault_role_define(f->vault, "Other", KEYS "read", NULL, &e), &e);
    CHECK_RC_OK(vault_role_assign(f->vault, "main", NULL, "node", "Wrapper", &e), &e);
    vaultfix_down(f);
    CHECK_RC_OK(vault_open(&f->config, &f->vault, &e), &e);
    vaultfix_serve(f);
    check_rights(f, "data", "nnnynnn");
    CHECK_RC_FAILS(vault_role_delete(f->vault, "wrapper", &e), &e, ERR_CONFLICT);
    CHECK_RC_OK(vault_role_delete(f->vault, "other", &e), &e);
}

#define T(x) cmocka_unit_test_setup_teardown(x, vaultfix_setup, vaultfix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(roles_hold_what_they_say),
        T(a_role_on_one_key),
        T(a_key_made_again_is_another),
        T(policies_hold_what_they_say),
        T(refusals_say_why),
        T(access_goes_with_its_principal),
        T(what_is_so_already_is_not_saved),
        cmocka_unit_test(ranges_are_read_and_hold),
        T(addresses_are_kept_out),
        T(what_is_not_there_is_named),
        T(own_roles),
        T(own_roles_that_make_no_sense),
        T(own_roles_come_back),
    };

    vaultfix_init_process();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
