/* vault.c - `coffer vault ...`: who is in the embedded vault's tenants and what each may do, over the vault's administration socket.
 *
 * A command is a row: its words, the operation of coffer-vault (src/prog/coffer-vault/ops.c) that it stands for, and the fields that it takes, from its
 * operands first and then from flags of the same names.
 */
#include <stdio.h>
#include <string.h>

#include "admin/admin.h"
#include "base/mem.h"
#include "coffer.h"
#include "talk.h"

enum { VAULT_TIMEOUT_MS = 60 * 1000, FIELD_MAX = 40 };

struct vault_command {
    const char *words;    /* after "vault" */
    const char *operands; /* fields that are operands: "name" or "name,id" */
    const char *flags;    /* fields that are flags */
    const char *op, *what;
};

static const struct vault_command commands[] = {
    { "status", "", "", "status", "ports, vaults and keys" },
    { "tenant create", "name", "", "tenantCreate", "a tenant: what issues tokens" },
    { "identity list", "", "tenant", "principals", "tenants, identities and applications" },
    { "identity show", "name", "tenant", "principals", "one identity or application" },
    { "identity create", "name", "tenant", "identityCreate",
      "a managed identity; its credential goes to a file" },
    { "identity credential", "name", "tenant", "identityCredential",
      "a new credential in place of the old one" },
    { "identity federate", "name", "tenant,federation,issuer,subject,audience", "federate",
      "takes another issuer's tokens for this identity" },
    { "identity delete", "name", "tenant", "principalDelete",
      "deletes an identity or application: one made again under its name is another" },
    { "identity revoke-tokens", "name", "tenant", "tokensRevoke",
      "ends every token that it was given until now; a credential that has leaked is replaced first" },
    { "app create", "name", "tenant", "appCreate", "an application (service principal)" },
    { "app secret", "name", "tenant,label,days", "appSecret",
      "a secret for it, in a file; good for 90 days unless days says otherwise" },
    { "app certificate", "name", "tenant,label,file", "appCertificate",
      "a certificate (PEM in file) whose key proves who it is" },
    { "app revoke-tokens", "name", "tenant", "tokensRevoke",
      "ends every token that it was given until now" },
    { "app delete", "name", "tenant", "principalDelete", "deletes an application" },
    { "credential remove", "name,id", "tenant", "credentialRemove",
      "takes a secret or certificate (by id) or a federation (by name) away" },
    { "key import", "name", "vault,pem", "keyImport",
      "a private key (RSA or EC, PEM in a file that the vault can read) as a key's newest version" },
    { "access show", "vault", "", "access", "who may what in a vault, and from where" },
    { "access mode", "mode", "vault", "accessMode", "rbac or policies: what decides" },
    { "role assign", "role", "vault,principal,key", "roleAssign",
      "gives a principal a role on a vault, or on one key of it" },
    { "role remove", "role", "vault,principal,key", "roleRemove", "takes it away" },
    { "role list", "", "", "roles", "the roles that there are, and what they allow" },
    { "role define", "role", "actions,except", "roleDefine",
      "a role of your own: data actions, with commas between and * for any text, but not those of except" },
    { "role delete", "role", "", "roleDelete", "deletes a role of your own that nobody has" },
    { "policy set", "principal", "vault,permissions", "policySet",
      "what a principal may in a vault of access policies: get,wrapKey,... or all" },
    { "policy delete", "principal", "vault", "policyDelete", "takes it away" },
    { "firewall default", "action", "vault", "firewallDefault",
      "allow or deny: what an address that no rule holds gets" },
    { "firewall add", "range", "vault", "firewallAdd", "lets an address or a range in" },
    { "firewall remove", "range", "vault", "firewallRemove", "takes that back" },
    { "audit", "", "verify,after", "audit",
      "the audit log as lines of JSON; verify: whether it is all there as it was written" },
    { "signing-key rotate", "", "compromised", "signingKeyRotate",
      "another key signs tokens; compromised: tokens of older ones end at once" },
};

/* The next name of a list with commas between; false at its end. */
static bool next_field(const char **list, char out[FIELD_MAX])
{
    size_t len = strcspn(*list, ",");

    if (!len)
        return false;
    INVARIANT(len < FIELD_MAX);
    memcpy(out, *list, len);
    out[len] = 0;
    *list += len;
    *list += **list == ',';
    return true;
}

static RC add_operands(const struct vault_command *k, int argc, char **argv, struct bw *w,
                       struct err *e)
{
    const char *list = k->operands;
    char name[FIELD_MAX];
    int n = 0;

    for (; next_field(&list, name); n++) {
        if (n >= argc)
            FAIL(e, ERR_CONFIG, "coffer vault %s needs %s", k->words, k->operands);
        bw_str(w, name, argv[n]);
    }
    if (n < argc)
        FAIL(e, ERR_CONFIG, "coffer vault %s takes %s", k->words, n ? k->operands : "no operand");
    return RC_OK;
}

static RC add_flags(const struct coffer *c, const struct vault_command *k, struct bw *w,
                    struct err *e)
{
    const char *list = k->flags;
    char name[FIELD_MAX];

    while (next_field(&list, name)) {
        int row = settings_find(c->settings, name);
        INVARIANT(row >= 0);
        TRY(talk_put_setting(c, row, w, e));
    }
    return RC_OK;
}

static void print_commands(void)
{
    printf("usage: coffer vault COMMAND [OPERAND ...] [--FIELD=VALUE ...]\n\ncommands:\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %-20s %-9s %-42s %s\n", commands[i].words, commands[i].operands,
               commands[i].flags, commands[i].what);
}

/* The lines of one answer; their end is the number to go on from, or -1 when there are none. */
static int64_t print_lines(struct bdoc answer)
{
    struct bval lines = bdoc_get(answer, "lines");
    int64_t last = -1;

    if (lines.type != BT_STRING || bval_str(lines).len == 0 ||
        !bval_to_i64(bdoc_get(answer, "last"), &last))
        return -1;
    (void)fwrite(bval_str(lines).p, 1, bval_str(lines).len, stdout);
    return last;
}

/* The whole log, a piece at a time. */
static RC print_audit(const char *socket, const char *after, struct err *e)
{
    char from[24];

    (void)snprintf(from, sizeof from, "%.20s", *after ? after : "0");
    for (;;) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        AUTO(buf_fini) struct buf space = BUF_INIT;
        struct bdoc answer;
        struct bw w;

        bw_init(&w, &space);
        bw_str(&w, "op", "audit");
        bw_str(&w, "after", from);
        TRY(admin_call(socket, bw_finish(&w), VAULT_TIMEOUT_MS, a, &answer, e));
        int64_t last = print_lines(answer);
        if (last < 0)
            return RC_OK;
        (void)snprintf(from, sizeof from, "%lld", (long long)last);
    }
}

static RC run(const struct coffer *c, const struct vault_command *k, int argc, char **argv,
              struct err *e)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    AUTO(buf_fini) struct buf space = BUF_INIT;
    const char *given = settings_str(c->settings, CS_ADMIN_SOCKET);
    AUTO(mem_freep) char *socket =
        *given ? mem_strdup(given) : coffer_path(c, "vault", "state/admin.sock");
    struct bdoc answer;
    struct bw w;

    bool audit = strcmp(k->op, "audit") == 0,
         verify = audit && settings_bool(c->settings, CS_VERIFY);

    bw_init(&w, &space);
    bw_str(&w, "op", k->op);
    TRY(add_operands(k, argc, argv, &w, e));
    if (audit && !verify)
        return print_audit(socket, settings_str(c->settings, CS_AFTER), e);
    if (verify)
        bw_bool(&w, "verify", true);
    else
        TRY(add_flags(c, k, &w, e));
    TRY(admin_call(socket, bw_finish(&w), VAULT_TIMEOUT_MS, a, &answer, e));
    return talk_print(c, bval_of_doc(answer, BT_DOCUMENT), e);
}

RC coffer_vault(struct coffer *c, int argc, char **argv, struct err *e)
{
    if (argc == 0 || strcmp(argv[0], "help") == 0) {
        print_commands();
        return RC_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        int n = coffer_words(commands[i].words, argc, argv);
        if (n)
            return run(c, &commands[i], argc - n, argv + n, e);
    }
    FAIL(e, ERR_CONFIG, "there is no command \"vault %s%s%s\"; see coffer vault help", argv[0],
         argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
}
