/* vault_access_priv.h - who may do what in one vault, and from where. Included by vault_priv.h. */
#ifndef VAULT_ACCESS_PRIV_H
#define VAULT_ACCESS_PRIV_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "vault_identity_priv.h"

struct keyvault;
struct rest_call;
struct sockaddr;
struct vault_service;

enum {
    ASSIGNMENTS_MAX = 2000, /* of one vault */
    POLICIES_MAX = 1024,    /* what the reference service takes */
    FIREWALL_RULES_MAX = 1000,
    CIDR_TEXT_MAX = 64,
};

/* ---- vault_rbac.c: permissions, and the roles that are made of them ---- */
enum vault_perm {
    PERM_GET,
    PERM_LIST,
    PERM_CREATE,
    PERM_UPDATE,
    PERM_IMPORT,
    PERM_DELETE,
    PERM_RECOVER,
    PERM_PURGE,
    PERM_BACKUP,
    PERM_RESTORE,
    PERM_ENCRYPT,
    PERM_DECRYPT,
    PERM_WRAP,
    PERM_UNWRAP,
    PERM_SIGN,
    PERM_VERIFY,
    PERM_ROTATE,
    PERM_GET_POLICY,
    PERM_SET_POLICY,
    PERM_RELEASE,
    PERM_NR
};
struct vault_role {
    const char *name, *short_name, *id;
    uint32_t perms; /* 1 << enum vault_perm */
};
const struct vault_role *vault__builtin_role(const char *name_or_short_or_id);
/* vault__builtin_next(): each built-in role, in turn: NULL begins, and ends. */
const struct vault_role *vault__builtin_next(const struct vault_role *r);
/* vault__actions_match(): the permissions whose data action the pattern means; "*" in it stands for any text. */
uint32_t vault__actions_match(const char *pattern);
const char *vault__perm_action(enum vault_perm p); /* "Microsoft.KeyVault/vaults/keys/read" */
const char *vault__perm_name(enum vault_perm p);   /* "wrapKey", as in an access policy */
/* vault__perms_read(): "get,wrapKey" or "all", without regard to case, as bits. Errors: ERR_BAD_VALUE, which names what is none. */
RC vault__perms_read(const char *list, uint32_t *out, struct err *e);

/* ---- vault_roles.c: the owner's own roles ---- */
enum { ROLES_MAX = 1000, ROLE_NAME_MAX = 128, ROLE_ACTIONS_MAX = 64, ROLE_ACTION_LEN_MAX = 128 };
struct custom_role {
    struct vault_role role; /* its texts are the two below */
    char name[ROLE_NAME_MAX + 1], id[UUID_LEN + 1];
    json_t *actions, *not_actions; /* arrays of patterns, as they were given */
};
/* vault__role(): a built-in role by name, short name or id, or one of the owner's by name or id. Good while the lock is held; one that is assigned stays. */
const struct vault_role *vault__role(struct vault_service *s, const char *text);
json_t *vault__roles_json(struct vault_service *s); /* of the state */
/* vault__roles_read(): before the vaults, whose assignments name them. */
bool vault__roles_read(struct vault_service *s, const json_t *list);
void vault__roles_free(struct vault_service *s);

/* ---- vault_firewall.c: addresses ---- */
struct cidr {
    uint8_t address[16]; /* IPv6; IPv4 as ::ffff:a.b.c.d */
    int bits;            /* 0 to 128 */
    char text[CIDR_TEXT_MAX];
};
/* vault__cidr_read(): "10.1.2.3", "10.0.0.0/8", "2001:db8::/32". Errors: ERR_BAD_VALUE. */
RC vault__cidr_read(const char *text, struct cidr *out, struct err *e);
bool vault__cidr_holds(const struct cidr *c, const struct sockaddr *address);
/* vault__address_text(): numeric, without port; "unknown". */
const char *vault__address_text(const struct sockaddr *address, char *out, size_t len);

/* ---- vault_access.c: who may what in one vault ---- */
struct assignment {
    char object_id[UUID_LEN + 1];
    const struct vault_role *role;
    char *key; /* NULL: the whole vault */
    /* The oldest version of that key: a key that is made again under its name is another. */
    char origin[33];
};
struct access_policy {
    char object_id[UUID_LEN + 1];
    uint32_t perms; /* 1 << enum vault_perm */
};
/* Never changed once a vault has it: a change puts another in its place. */
struct vault_access {
    struct assignment *assignments;
    int n_assignments;
    struct access_policy *policies;
    int n_policies;
    bool deny_others; /* addresses that no rule names */
    struct cidr *rules;
    int n_rules;
};
struct vault_access *vault__access_new(void);
void vault__access_free(struct vault_access *a);
/* vault__access_json(): adds its members to a vault's object; a list that is empty is left out. */
void vault__access_json(const struct vault_access *a, json_t *vault);
bool vault__access_read(struct vault_service *s, const json_t *vault, struct vault_access *out);
/* vault__allowed(): whether the principal may, with this key ("": the vault itself). In a vault of roles by its roles, else by its policy. */
bool vault__allowed(const struct keyvault *v, const char *object_id, enum vault_perm p,
                    const char *key);
/* vault__forget_principal(): takes all that names it out of every vault. The old parts, in order of the vaults, go to was: for
 * vault__remember_principal() when the change cannot be saved, or to be freed. */
void vault__forget_principal(struct vault_service *s, const char *object_id,
                             struct vault_access **was);
void vault__remember_principal(struct vault_service *s, struct vault_access **was);

/* ---- vault_admit.c: the checks of a request ---- */
/* Each answers the request itself when it returns false. */
bool vault__admit_address(struct rest_call *c);
bool vault__admit_permission(struct rest_call *c);

#endif
