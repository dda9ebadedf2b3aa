/* vault_admin.h - tenants and who is in them: managed identities, applications, what each proves itself by, and what each may do in a vault.
 *
 * Model    A tenant issues tokens. A principal belongs to one tenant and is known by its object id: one that is deleted and made again
 *          under its name is another principal, and none of the old one's access applies to it.
 *          Managed identities get tokens from the machine's own endpoints; applications from the token endpoint, with a secret or with an
 *          assertion that one of their certificates signed. Both may trust another issuer's tokens (workload identity federation).
 * Secrets  A new secret is handed out once, in a buffer that the caller wipes with buf_wipe(). Only its hash is kept.
 * Names    tenant is an id or a name; NULL or "" means the first. A principal's name is one in its tenant.
 * Threads  [any]. Blocking: disk.
 */
#ifndef VAULT_VAULT_ADMIN_H
#define VAULT_VAULT_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct vault_service;

enum vault_principal_kind { VAULT_MANAGED_IDENTITY, VAULT_APPLICATION };

/* Errors of all: ERR_NOT_FOUND, ERR_CONFLICT (the name is taken), ERR_BAD_VALUE, ERR_IO, ERR_DISK_FULL. */
RC vault_tenant_create(struct vault_service *s, const char *name, struct err *e);
RC vault_principal_create(struct vault_service *s, const char *tenant, const char *name,
                          enum vault_principal_kind kind, struct err *e);
/* vault_principal_place(): what a file of its own is named by: "NAME", or "NAME@TENANT" in another tenant than the first, spelled as they were
 * when they were made, however they are spelled here. */
RC vault_principal_place(struct vault_service *s, const char *tenant, const char *name,
                         struct buf *out, struct err *e);
/* vault_principal_delete(): with it go its credentials, and every role and policy that names it. */
RC vault_principal_delete(struct vault_service *s, const char *tenant, const char *name,
                          struct err *e);
/* vault_identity_credential(): a new credential for the App Service endpoint; the old one is worthless from now on. */
RC vault_identity_credential(struct vault_service *s, const char *tenant, const char *name,
                             struct buf *secret, struct err *e);

enum { VAULT_CREDENTIAL_ID = 37 }; /* room for a credential's id */
RC vault_secret_add(struct vault_service *s, const char *tenant, const char *app, const char *label,
                    int64_t lifetime_s, char id[VAULT_CREDENTIAL_ID], struct buf *secret,
                    struct err *e);
/* vault_certificate_add(): pem is an RSA certificate of 2048 to 4096 bits; its private key never comes here. */
RC vault_certificate_add(struct vault_service *s, const char *tenant, const char *app,
                         const char *label, struct slice pem, char id[VAULT_CREDENTIAL_ID],
                         struct err *e);
struct vault_federation {
    const char *name, *issuer, *subject;
    const char *audience; /* NULL or "": api://AzureADTokenExchange */
};
/* vault_federation_add(): the issuer's discovery document and key set must be reachable over https when a token is shown. */
RC vault_federation_add(struct vault_service *s, const char *tenant, const char *principal,
                        const struct vault_federation *f, struct err *e);
/* vault_credential_remove(): a secret or certificate by its id, a federation by its name. */
RC vault_credential_remove(struct vault_service *s, const char *tenant, const char *principal,
                           const char *id_or_name, struct err *e);

/* vault_tokens_revoke(): every token that the principal was given until now is refused from now on; clients that can are told to come with a new one. What
 * it proves itself by stays: replace a credential that has leaked first. *from_s: Unix seconds; tokens issued before are refused. */
RC vault_tokens_revoke(struct vault_service *s, const char *tenant, const char *principal,
                       int64_t *from_s, struct err *e);

/* vault_principals(): JSON {"tenants": [...], "principals": [...]}; name NULL: all. */
RC vault_principals(struct vault_service *s, const char *tenant, const char *name, struct buf *out,
                    struct err *e);
/* vault_signing_key_rotate(): with compromised, tokens of all older keys are refused from now on. */
RC vault_signing_key_rotate(struct vault_service *s, bool compromised, struct err *e);

enum { VAULT_KEY_VERSION = 33 }; /* room for a version's id */
/* vault_key_import(): a key's newest version from a private key in PEM: RSA of 2048, 3072 or 4096 bits, or EC. A key of this name must not be deleted.
 * by: for the record, as in struct vault_act. */
RC vault_key_import(struct vault_service *s, const char *vault, const char *key, struct slice pem,
                    const char *by, char version[VAULT_KEY_VERSION], struct err *e);

/* What a principal may do in a vault. It is named by its name in the vault's tenant, its object id or its client id; key NULL: the whole vault.
 * Assigning what is there, or removing what is not, changes nothing. A role on a key is for that key alone: one that is made again under its name
 * after a purge is another. In a vault of access policies (enableRbacAuthorization false, vault_put_vault()) roles are kept but not asked. */
RC vault_role_assign(struct vault_service *s, const char *vault, const char *key,
                     const char *principal, const char *role, struct err *e);
RC vault_role_remove(struct vault_service *s, const char *vault, const char *key,
                     const char *principal, const char *role, struct err *e);
/* Roles of the owner's own, besides the built-in ones: name, and data actions with commas between, in which a star stands for any text;
 * except takes some of them out again (NULL or "": none). vault_role_define() makes one, or changes the one of that
 * name for all that have it. Errors: ERR_BAD_VALUE (an action that means nothing on keys, a built-in name), ERR_CONFLICT (vault_role_delete(): somebody has
 * it), ERR_NOT_FOUND. vault_roles(): JSON {"roles": [...]}, the built-in ones too. */
RC vault_role_define(struct vault_service *s, const char *name, const char *actions,
                     const char *except, struct err *e);
RC vault_role_delete(struct vault_service *s, const char *name, struct err *e);
RC vault_roles(struct vault_service *s, struct buf *out, struct err *e);
/* vault_policy_set(): "get,list,wrapKey,unwrapKey" or "all" in place of what the principal had; "" takes its policy away. */
RC vault_policy_set(struct vault_service *s, const char *vault, const char *principal,
                    const char *permissions, struct err *e);
/* From where: an address that no rule holds gets the default, which is to allow. Tokens and challenges are given to all. */
RC vault_firewall_default(struct vault_service *s, const char *vault, bool allow, struct err *e);
RC vault_firewall_rule(struct vault_service *s, const char *vault, const char *range, bool add,
                       struct err *e);
/* vault_access(): JSON: mode, roleAssignments, accessPolicies, firewall. */
RC vault_access(struct vault_service *s, const char *vault, struct buf *out, struct err *e);

/* What the owner changes is on record like what clients do: vault_act_begin() before the change, which it refuses when there is no room for the record;
 * vault_act_end() after it, whatever came of it. */
enum { VAULT_ACT_FIELDS = 8 };
struct vault_act {
    const char *operation; /* "RoleAssign" */
    const char *by;        /* "uid 1000" */
    struct {
        const char *name, *value;
    } field[VAULT_ACT_FIELDS]; /* no secrets; long values are cut */
    int n_fields;
};
RC vault_act_begin(struct vault_service *s, struct err *e);
/* vault_act_end(): outcome: the change's error, empty when it was done. Without vault_act_begin() before it a full disk may keep the record out, which is
 * logged: for what is done in any case. */
void vault_act_end(struct vault_service *s, const struct vault_act *a, const struct err *outcome);
/* vault_saves(): a number that is another once something has changed. */
uint64_t vault_saves(struct vault_service *s);

/* The audit log: one record for each operation on keys, refused ones too. vault_audit_verify(): every byte of what is kept of it. Errors: ERR_CORRUPT, which says where.
 * vault_audit_read(): records after number `after` as lines of JSON, each with its number (seq) and the chain over all up to it; about 1 MB of them;
 * *last is the last one's number, or after when there are no more. Where a segment does not hold there is a line that says so. */
struct vault_audit_extent {
    uint64_t records; /* that were ever written */
    /* the number of the first that is kept, its time ("" when there is none), and the chain before it: 1, and zeros, where all are kept */
    uint64_t first;
    char since[32];
    uint8_t chain_before[32];
};
RC vault_audit_verify(struct vault_service *s, struct vault_audit_extent *out, struct err *e);
RC vault_audit_read(struct vault_service *s, uint64_t after, struct buf *out, uint64_t *last,
                    struct err *e);

#endif
