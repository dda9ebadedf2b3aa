/* ops.c - see ops.h. Each operation takes its fields, calls one function of vault/vault_admin.h and says what came of it. */
#include "ops.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "bootstrap.h"
#include "vault/vault.h"
#include "vault/vault_admin.h"

enum { FIELDS_MAX = 6, PEM_MAX = 65536, DAY_S = 86400 };

/* The text fields of one request, by their place in the list of names; NULL where a field is absent. */
struct fields {
    char *v[FIELDS_MAX];
};

static void fields_fini(struct fields *f)
{
    for (int i = 0; i < FIELDS_MAX; i++)
        mem_free(f->v[i]);
}

/* names[0..n_needed) must be there. */
static RC fields_read(struct bdoc args, const char *const *names, int n, int n_needed,
                      struct fields *out, struct err *e)
{
    INVARIANT(n <= FIELDS_MAX);
    for (int i = 0; i < n; i++) {
        TRY(admin_arg_str(args, names[i], &out->v[i], e));
        if (i < n_needed && (!out->v[i] || !*out->v[i]))
            FAIL(e, ERR_BAD_VALUE, "the field \"%s\" is missing", names[i]);
    }
    return RC_OK;
}

#define FIELDS(f, n_needed, ...)                                                                   \
    AUTO(fields_fini) struct fields f = { 0 };                                                     \
    static const char *const f##_names[] = { __VA_ARGS__ };                                        \
    TRY(fields_read(args, f##_names, (int)ARRAY_LEN(f##_names), n_needed, &(f), e))

static struct vault_service *vault_of(void *ctx)
{
    return ((struct ops_ctx *)ctx)->vault;
}

/* The JSON object in text, as fields of the answer. */
static RC answer_json(struct bw *w, struct buf *text, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct bdoc d;

    TRY(bdoc_from_json(a, buf_cstr(text), &d, e));
    bw_fields(w, d);
    return RC_OK;
}

/* ---- tenants and principals ---- */

static RC tenant_create(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 1, "name");
    (void)w;
    return vault_tenant_create(vault_of(ctx), f.v[0], e);
}

static RC principals(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    FIELDS(f, 0, "name", "tenant");

    TRY(vault_principals(vault_of(ctx), f.v[1], f.v[0], &text, e));
    return answer_json(w, &text, e);
}

/* A secret, in a file that only the owner can read. */
static RC hand_out(struct ops_ctx *c, const char *tenant, const char *name, const char *id,
                   const struct buf *secret, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf place = BUF_INIT;
    AUTO(mem_freep) char *dir = bootstrap_path(c->settings, VS_CREDENTIAL_DIR, ".credentials");

    TRY(vault_principal_place(c->vault, tenant, name, &place, e));
    AUTO(mem_freep) char *file = bootstrap_credential_file(c->settings, buf_cstr(&place), id);
    TRY(dir_make(dir, 0700, e));
    TRY(file_write_atomic(file, 0600, buf_view(secret), e));
    bw_str(w, "file", file);
    return RC_OK;
}

static RC new_credential(struct ops_ctx *c, const char *tenant, const char *name, struct bw *w,
                         struct err *e)
{
    AUTO(buf_wipe) struct buf secret = BUF_INIT;

    TRY(vault_identity_credential(c->vault, tenant, name, &secret, e));
    return hand_out(c, tenant, name, NULL, &secret, w, e);
}

static RC identity_create(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    FIELDS(f, 1, "name", "tenant");

    TRY(vault_principal_create(vault_of(ctx), f.v[1], f.v[0], VAULT_MANAGED_IDENTITY, e));
    TRY(new_credential(ctx, f.v[1], f.v[0], w, e));
    TRY(vault_principals(vault_of(ctx), f.v[1], f.v[0], &text, e));
    return answer_json(w, &text, e);
}

static RC app_create(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    FIELDS(f, 1, "name", "tenant");

    TRY(vault_principal_create(vault_of(ctx), f.v[1], f.v[0], VAULT_APPLICATION, e));
    TRY(vault_principals(vault_of(ctx), f.v[1], f.v[0], &text, e));
    return answer_json(w, &text, e);
}

static RC principal_delete(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 1, "name", "tenant");
    AUTO(buf_fini) struct buf place = BUF_INIT;
    struct ops_ctx *c = ctx;

    (void)w;
    TRY(vault_principal_place(c->vault, f.v[1], f.v[0], &place, e));
    TRY(vault_principal_delete(c->vault, f.v[1], f.v[0], e));
    AUTO(mem_freep) char *file = bootstrap_credential_file(c->settings, buf_cstr(&place), NULL);
    (void)unlink(file); /* worthless from now on */
    return RC_OK;
}

/* ---- what they prove themselves by ---- */

static RC identity_credential(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 1, "name", "tenant");

    return new_credential(ctx, f.v[1], f.v[0], w, e);
}

static RC app_secret(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_wipe) struct buf secret = BUF_INIT;
    struct ops_ctx *c = ctx;
    char id[VAULT_CREDENTIAL_ID];
    int64_t days = 90;
    FIELDS(f, 1, "name", "tenant", "label", "days");

    if (f.v[3] && (!text_i64(slice_str(f.v[3]), &days) || days < 1 || days > 3650))
        FAIL(e, ERR_BAD_VALUE, "the field \"days\" is a number from 1 to 3650");
    TRY(vault_secret_add(c->vault, f.v[1], f.v[0], f.v[2], days * DAY_S, id, &secret, e));
    bw_str(w, "id", id);
    return hand_out(c, f.v[1], f.v[0], id, &secret, w, e);
}

static RC app_certificate(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf pem = BUF_INIT;
    char id[VAULT_CREDENTIAL_ID];
    FIELDS(f, 2, "name", "file", "tenant", "label");

    TRY(file_read(f.v[1], PEM_MAX, &pem, e));
    TRY(vault_certificate_add(vault_of(ctx), f.v[2], f.v[0], f.v[3], buf_view(&pem), id, e));
    bw_str(w, "id", id);
    return RC_OK;
}

static RC federate(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 4, "name", "federation", "issuer", "subject", "audience", "tenant");
    struct vault_federation one = {
        .name = f.v[1], .issuer = f.v[2], .subject = f.v[3], .audience = f.v[4]
    };

    (void)w;
    return vault_federation_add(vault_of(ctx), f.v[5], f.v[0], &one, e);
}

static RC credential_remove(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 2, "name", "id", "tenant");
    AUTO(buf_fini) struct buf place = BUF_INIT;
    struct ops_ctx *c = ctx;

    (void)w;
    TRY(vault_principal_place(c->vault, f.v[2], f.v[0], &place, e));
    TRY(vault_credential_remove(c->vault, f.v[2], f.v[0], f.v[1], e));
    AUTO(mem_freep) char *file = bootstrap_credential_file(c->settings, buf_cstr(&place), f.v[1]);
    (void)unlink(file);
    return RC_OK;
}

static RC tokens_revoke(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 1, "name", "tenant");
    int64_t from_s;

    TRY(vault_tokens_revoke(vault_of(ctx), f.v[1], f.v[0], &from_s, e));
    bw_i64(w, "tokensFrom", from_s);
    return RC_OK;
}

static RC signing_key_rotate(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    bool compromised;

    (void)w;
    TRY(admin_arg_bool(args, "compromised", &compromised, e));
    return vault_signing_key_rotate(vault_of(ctx), compromised, e);
}

/* ---- keys ---- */

static __thread const char *by; /* who runs this thread's change */

static RC key_import(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_wipe) struct buf pem = BUF_INIT;
    char version[VAULT_KEY_VERSION];
    FIELDS(f, 3, "name", "vault", "pem");

    buf_reserve(&pem, PEM_MAX + 1); /* growing would leave copies behind */
    TRY(file_read(f.v[2], PEM_MAX, &pem, e));
    TRY(vault_key_import(vault_of(ctx), f.v[1], f.v[0], buf_view(&pem), by, version, e));
    bw_str(w, "name", f.v[0]);
    bw_str(w, "version", version);
    return RC_OK;
}

/* ---- what they may do ---- */

static RC role_assign(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 3, "role", "vault", "principal", "key");

    (void)w;
    return vault_role_assign(vault_of(ctx), f.v[1], f.v[3], f.v[2], f.v[0], e);
}

static RC role_remove(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 3, "role", "vault", "principal", "key");

    (void)w;
    return vault_role_remove(vault_of(ctx), f.v[1], f.v[3], f.v[2], f.v[0], e);
}

static RC role_define(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 2, "role", "actions", "except");

    (void)w;
    return vault_role_define(vault_of(ctx), f.v[0], f.v[1], f.v[2], e);
}

static RC role_delete(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 1, "role");

    (void)w;
    return vault_role_delete(vault_of(ctx), f.v[0], e);
}

static RC roles(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    (void)args;
    TRY(vault_roles(vault_of(ctx), &text, e));
    return answer_json(w, &text, e);
}

static RC policy_set(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 3, "principal", "vault", "permissions");

    (void)w;
    return vault_policy_set(vault_of(ctx), f.v[1], f.v[0], f.v[2], e);
}

static RC policy_delete(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 2, "principal", "vault");

    (void)w;
    return vault_policy_set(vault_of(ctx), f.v[1], f.v[0], "", e);
}

static RC access_mode(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 2, "mode", "vault");
    bool rbac = strcmp(f.v[0], "rbac") == 0;

    (void)w;
    if (!rbac && strcmp(f.v[0], "policies") != 0)
        FAIL(e, ERR_BAD_VALUE, "the field \"mode\" is rbac or policies");
    AUTO(buf_fini) struct buf known = BUF_INIT;
    TRY(vault_access(vault_of(ctx), f.v[1], &known, e)); /* a name out of nothing makes no vault */
    return vault_put_vault(vault_of(ctx), f.v[1],
                           rbac ? SLICE_LIT("{\"properties\":{\"enableRbacAuthorization\":true}}")
                                : SLICE_LIT("{\"properties\":{\"enableRbacAuthorization\":false}}"),
                           e);
}

static RC firewall_default(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 2, "action", "vault");
    bool allow = strcmp(f.v[0], "allow") == 0;

    (void)w;
    if (!allow && strcmp(f.v[0], "deny") != 0)
        FAIL(e, ERR_BAD_VALUE, "the field \"action\" is allow or deny");
    return vault_firewall_default(vault_of(ctx), f.v[1], allow, e);
}

static RC firewall_add(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 2, "range", "vault");

    (void)w;
    return vault_firewall_rule(vault_of(ctx), f.v[1], f.v[0], /* add= */ true, e);
}

static RC firewall_remove(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    FIELDS(f, 2, "range", "vault");

    (void)w;
    return vault_firewall_rule(vault_of(ctx), f.v[1], f.v[0], /* add= */ false, e);
}

static RC access_show(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    FIELDS(f, 1, "vault");

    TRY(vault_access(vault_of(ctx), f.v[0], &text, e));
    return answer_json(w, &text, e);
}

static RC audit_verify(struct vault_service *v, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf chain = BUF_INIT, verdict = BUF_INIT;
    struct vault_audit_extent x;

    TRY(vault_audit_verify(v, &x, e));
    bw_i64(w, "records", (int64_t)x.records);
    bw_i64(w, "first", (int64_t)x.first);
    if (*x.since)
        bw_str(w, "since", x.since);
    if (x.first == 1) {
        bw_str(w, "verdict", "every record is whole and in its place");
        return RC_OK;
    }
    hex_encode(SLICE(x.chain_before, sizeof x.chain_before), &chain);
    bw_str(w, "chainBefore", buf_cstr(&chain));
    buf_printf(&verdict,
               "every record from number %llu on is whole and in its place; the %llu before it are "
               "kept no longer",
               (unsigned long long)x.first, (unsigned long long)x.first - 1);
    bw_str(w, "verdict", buf_cstr(&verdict));
    return RC_OK;
}

static RC audit(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf lines = BUF_INIT;
    FIELDS(f, 0, "after");
    uint64_t after = 0, last;
    bool verify;

    TRY(admin_arg_bool(args, "verify", &verify, e));
    if (verify)
        return audit_verify(vault_of(ctx), w, e);
    if (f.v[0] && !text_u64(slice_str(f.v[0]), &after))
        FAIL(e, ERR_BAD_VALUE, "the field \"after\" is the number of a record");
    TRY(vault_audit_read(vault_of(ctx), after, &lines, &last, e));
    bw_i64(w, "last", (int64_t)last);
    bw_str_slice(w, "lines", buf_view(&lines));
    return RC_OK;
}

static RC describe(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    (void)args;
    TRY(vault_describe(vault_of(ctx), &text, e));
    return answer_json(w, &text, e);
}

#define CHANGES (ADMIN_OP_CHANGES | ADMIN_OP_LOCAL)

static const struct admin_op rows[] = {
    { "status", "", ADMIN_OP_LOCAL, "where everything is", describe },
    { "tenantCreate", "name", CHANGES, "a tenant", tenant_create },
    { "principals", "name,tenant", ADMIN_OP_LOCAL, "tenants, identities and applications",
      principals },
    { "identityCreate", "name,tenant", CHANGES, "a managed identity, and its credential in a file",
      identity_create },
    { "identityCredential", "name,tenant", CHANGES, "a new credential for a managed identity",
      identity_credential },
    { "appCreate", "name,tenant", CHANGES, "an application", app_create },
    { "appSecret", "name,tenant,label,days", CHANGES, "a secret for an application, in a file",
      app_secret },
    { "appCertificate", "name,tenant,label,file", CHANGES, "a certificate of an application",
      app_certificate },
    { "federate", "name,tenant,federation,issuer,subject,audience", CHANGES,
      "tokens of another issuer that stand for a principal", federate },
    { "credentialRemove", "name,tenant,id", CHANGES,
      "takes a secret, a certificate or a federation away", credential_remove },
    { "principalDelete", "name,tenant", CHANGES, "deletes an identity or an application",
      principal_delete },
    { "tokensRevoke", "name,tenant", CHANGES,
      "refuses the tokens that an identity or an application was given until now", tokens_revoke },
    { "keyImport", "name,vault,pem", CHANGES, "takes a private key from a PEM file into a vault",
      key_import },
    { "access", "vault", ADMIN_OP_LOCAL, "who may what in a vault, and from where", access_show },
    { "accessMode", "mode,vault", CHANGES, "whether roles or access policies decide", access_mode },
    { "roleAssign", "role,vault,principal,key", CHANGES,
      "gives a principal a role on a vault or a key", role_assign },
    { "roleRemove", "role,vault,principal,key", CHANGES, "takes a role away", role_remove },
    { "roleDefine", "role,actions,except", CHANGES, "a role of data actions, or a change of one",
      role_define },
    { "roleDelete", "role", CHANGES, "deletes such a role, which nobody may have", role_delete },
    { "roles", "", ADMIN_OP_LOCAL, "the roles that there are, and what they allow", roles },
    { "policySet", "principal,vault,permissions", CHANGES, "a principal's access policy",
      policy_set },
    { "policyDelete", "principal,vault", CHANGES, "takes it away", policy_delete },
    { "firewallDefault", "action,vault", CHANGES, "what an address that no rule holds gets",
      firewall_default },
    { "firewallAdd", "range,vault", CHANGES, "lets an address or range in", firewall_add },
    { "firewallRemove", "range,vault", CHANGES, "takes that back", firewall_remove },
    { "audit", "verify,after", ADMIN_OP_LOCAL, "the audit log: verified, or read", audit },
    { "signingKeyRotate", "compromised", CHANGES, "another key signs tokens from now on",
      signing_key_rotate },
};

/* ---- on record ---- */

/* "RoleAssign" of "roleAssign"; the fields that are texts or a yes. */
static void act_of(const struct admin_op *op, struct bdoc args, struct arena *a,
                   struct vault_act *out)
{
    char *name = arena_strdup(a, op->name);
    struct biter it;

    name[0] = (char)toupper((unsigned char)name[0]);
    *out = (struct vault_act){ .operation = name, .by = by };
    biter_init(&it, args);
    while (biter_next(&it) && out->n_fields < VAULT_ACT_FIELDS) {
        bool text = it.val.type == BT_STRING;
        if (!text && (it.val.type != BT_BOOL || !bval_bool(it.val)))
            continue;
        struct slice value = text ? bval_str(it.val) : SLICE_LIT("true");
        out->field[out->n_fields].name = arena_strndup(a, (const char *)it.name.p, it.name.len);
        out->field[out->n_fields++].value = arena_strndup(a, (const char *)value.p, value.len);
    }
}

static RC change(void *ctx, const struct admin_op *op, const char *who, struct bdoc args,
                 struct bw *w, struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct vault_act act;

    by = who;
    if (op->run == key_import) /* has a record of its own, as an operation on a key */
        return op->run(ctx, args, w, e);
    act_of(op, args, a, &act);
    TRY(vault_act_begin(vault_of(ctx), e));
    rc_t rc = op->run(ctx, args, w, e);
    vault_act_end(vault_of(ctx), &act, e);
    return rc;
}

struct admin_ops ops_table(struct ops_ctx *ctx)
{
    return (
        struct admin_ops){ .row = rows, .n = (int)ARRAY_LEN(rows), .ctx = ctx, .change = change };
}
