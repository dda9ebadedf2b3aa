/* vault_rbac.c - built-in roles and the data actions in them. Access follows the object id alone (identity.md: an identity made
 * again under an old name is another principal). */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "vault_priv.h"

#define ACTION(x) "Microsoft.KeyVault/vaults/" x

static const char *const actions[PERM_NR] = {
    [PERM_GET] = ACTION("keys/read"),
    [PERM_LIST] = ACTION("keys/read"),
    [PERM_CREATE] = ACTION("keys/create/action"),
    [PERM_UPDATE] = ACTION("keys/update/action"),
    [PERM_IMPORT] = ACTION("keys/import/action"),
    [PERM_DELETE] = ACTION("keys/delete"),
    [PERM_RECOVER] = ACTION("keys/recover/action"),
    [PERM_PURGE] = ACTION("keys/purge/action"),
    [PERM_BACKUP] = ACTION("keys/backup/action"),
    [PERM_RESTORE] = ACTION("keys/restore/action"),
    [PERM_ENCRYPT] = ACTION("keys/encrypt/action"),
    [PERM_DECRYPT] = ACTION("keys/decrypt/action"),
    [PERM_WRAP] = ACTION("keys/wrap/action"),
    [PERM_UNWRAP] = ACTION("keys/unwrap/action"),
    [PERM_SIGN] = ACTION("keys/sign/action"),
    [PERM_VERIFY] = ACTION("keys/verify/action"),
    [PERM_ROTATE] = ACTION("keys/rotate/action"),
    [PERM_GET_POLICY] = ACTION("keyrotationpolicies/read"),
    [PERM_SET_POLICY] = ACTION("keyrotationpolicies/write"),
    [PERM_RELEASE] = ACTION("keys/release/action"),
};

#define P(x) (1u << PERM_##x)
#define READ (P(GET) | P(LIST))
#define ALL ((1u << PERM_NR) - 1)

static const struct vault_role roles[] = {
    { "Key Vault Administrator", "administrator", "00482a5a-887f-4fb3-b363-3b7fe8e74483", ALL },
    { "Key Vault Crypto Officer", "crypto-officer", "14b46e9e-c2b7-41b4-b07b-48a6ebf60603", ALL },
    { "Key Vault Crypto User", "crypto-user", "12338af0-0e69-4776-bea7-57ae8d297424",
      READ | P(UPDATE) | P(BACKUP) | P(ENCRYPT) | P(DECRYPT) | P(WRAP) | P(UNWRAP) | P(SIGN) |
          P(VERIFY) },
    { "Key Vault Crypto Service Encryption User", "crypto-service-encryption-user",
      "e147488a-f6f5-4113-8e2d-b22465e65bf6", READ | P(WRAP) | P(UNWRAP) },
    { "Key Vault Reader", "reader", "21090545-7ca7-4776-b22c-e363652d74d2", READ },
};

const struct vault_role *vault__role(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (strcasecmp(roles[i].name, name) == 0 || strcasecmp(roles[i].short_name, name) == 0 ||
            strcasecmp(roles[i].id, name) == 0)
            return &roles[i];
    return NULL;
}

const char *vault__perm_action(enum vault_perm p)
{
    return actions[p];
}

bool vault__allowed(const struct keyvault *v, const char *object_id, enum vault_perm p)
{
    for (int i = 0; i < v->n_assignments; i++)
        if (strcasecmp(v->assignments[i].object_id, object_id) == 0 &&
            (v->assignments[i].role->perms & (1u << p)))
            return true;
    return false;
}
