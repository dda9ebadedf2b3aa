/* vault_rbac.c - permissions on keys, as access policies name them and as the data actions that built-in roles are made of. */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "vault_priv.h"

#define ACTION(x) "Microsoft.KeyVault/vaults/" x

static const struct {
    const char *name, *action;
} perms[PERM_NR] = {
    [PERM_GET] = { "get", ACTION("keys/read") },
    [PERM_LIST] = { "list", ACTION("keys/read") },
    [PERM_CREATE] = { "create", ACTION("keys/create/action") },
    [PERM_UPDATE] = { "update", ACTION("keys/update/action") },
    [PERM_IMPORT] = { "import", ACTION("keys/import/action") },
    [PERM_DELETE] = { "delete", ACTION("keys/delete") },
    [PERM_RECOVER] = { "recover", ACTION("keys/recover/action") },
    [PERM_PURGE] = { "purge", ACTION("keys/purge/action") },
    [PERM_BACKUP] = { "backup", ACTION("keys/backup/action") },
    [PERM_RESTORE] = { "restore", ACTION("keys/restore/action") },
    [PERM_ENCRYPT] = { "encrypt", ACTION("keys/encrypt/action") },
    [PERM_DECRYPT] = { "decrypt", ACTION("keys/decrypt/action") },
    [PERM_WRAP] = { "wrapKey", ACTION("keys/wrap/action") },
    [PERM_UNWRAP] = { "unwrapKey", ACTION("keys/unwrap/action") },
    [PERM_SIGN] = { "sign", ACTION("keys/sign/action") },
    [PERM_VERIFY] = { "verify", ACTION("keys/verify/action") },
    [PERM_ROTATE] = { "rotate", ACTION("keys/rotate/action") },
    [PERM_GET_POLICY] = { "getrotationpolicy", ACTION("keyrotationpolicies/read") },
    [PERM_SET_POLICY] = { "setrotationpolicy", ACTION("keyrotationpolicies/write") },
    [PERM_RELEASE] = { "release", ACTION("keys/release/action") },
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
    { "Key Vault Crypto Service Release User", "crypto-service-release-user",
      "08bbd89e-9f13-488c-ac41-acfcb10c90ab", P(RELEASE) },
    { "Key Vault Purge Operator", "purge-operator", "a68e7c17-0ab2-4c09-9a58-125dae29748c",
      P(PURGE) },
    { "Key Vault Reader", "reader", "21090545-7ca7-4776-b22c-e363652d74d2", READ | P(GET_POLICY) },
};

const struct vault_role *vault__builtin_role(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (strcasecmp(roles[i].name, name) == 0 || strcasecmp(roles[i].short_name, name) == 0 ||
            strcasecmp(roles[i].id, name) == 0)
            return &roles[i];
    return NULL;
}

const struct vault_role *vault__builtin_next(const struct vault_role *r)
{
    if (!r)
        return &roles[0];
    return r + 1 < roles + ARRAY_LEN(roles) ? r + 1 : NULL;
}

/* Without regard to case, as the reference service compares actions. A star that fails is tried one character further on: no recursion. */
static bool matches(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
        } else if (strncasecmp(pattern, text, 1) == 0) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

uint32_t vault__actions_match(const char *pattern)
{
    uint32_t bits = 0;

    for (int p = 0; p < PERM_NR; p++)
        if (matches(pattern, perms[p].action))
            bits |= 1u << p;
    return bits;
}

const char *vault__perm_action(enum vault_perm p)
{
    return perms[p].action;
}

const char *vault__perm_name(enum vault_perm p)
{
    return perms[p].name;
}

static uint32_t perm_bits(const char *name, size_t len)
{
    if (len == 3 && strncasecmp(name, "all", len) == 0)
        return ALL;
    for (int p = 0; p < PERM_NR; p++)
        if (strlen(perms[p].name) == len && strncasecmp(perms[p].name, name, len) == 0)
            return 1u << p;
    return 0;
}

RC vault__perms_read(const char *list, uint32_t *out, struct err *e)
{
    uint32_t bits = 0;

    *out = 0;
    while (*(list += strspn(list, ", "))) {
        size_t len = strcspn(list, ", ");
        uint32_t one = perm_bits(list, len);
        if (!one)
            FAIL(e, ERR_BAD_VALUE, "\"%.*s\" is not a permission on keys",
                 (int)MIN(len, (size_t)60), list);
        bits |= one;
        list += len;
    }
    *out = bits;
    return RC_OK;
}
