/* ops.h - what the local owner may do to the vault over its administration socket (admin/admin.h): tenants, principals, credentials, access.
 *
 * Secrets  never cross the socket: a new credential is written to a file of the credential directory, mode 0600, and the answer names it.
 */
#ifndef COFFER_VAULT_OPS_H
#define COFFER_VAULT_OPS_H

#include "admin/ops.h"
#include "base/settings.h"

struct vault_service;

struct ops_ctx {
    const struct settings *settings;
    struct vault_service *vault;
};
/* ops_table(): the operations, with ctx handed to each; ctx must outlive the table. */
struct admin_ops ops_table(struct ops_ctx *ctx);

#endif
