/* kms.h - key providers that live elsewhere, behind the table of keys/provider.h. Azure Key Vault is the first.
 *
 * Model    A provider drives a dialect of kmsg over its own HTTP client. It trusts nothing that comes back: see kmsg/kmsg_kv.h for what is
 *          checked, and README.md for the table of classes. It never follows a challenge or a redirect, never retries by itself
 *          but for one new token after a 401, and holds a vault's Retry-After.
 * Tokens   are asked for as a managed identity, kept in wiped memory, renewed from half of their life on; the old one serves while renewal
 *          fails for want of an answer, but not when the endpoint says that the identity is gone.
 * Threads  [any] calls on one provider queue up. [net] until the deadline at most.
 */
#ifndef KMS_KMS_H
#define KMS_KMS_H

#include "base/err.h"
#include "keys/provider.h"

/* kms_init(): once in a process, before threads and before the first provider. wiping: libcurl and jansson overwrite what they release;
 * a process that sees an SMK also calls wipe_install_openssl() first. */
RC kms_init(bool wiping, struct err *e);

enum kms_token_source { KMS_TOKEN_IMDS, KMS_TOKEN_APP_SERVICE };

struct kms_azure_config {
    const char *key_url;  /* versionless: https://VAULT/keys/NAME */
    const char *ca_file;  /* "" = the system's authorities */
    const char *audience; /* "https://vault.azure.net" */
    enum kms_token_source token_source;
    /* http only on this machine or the link-local metadata address */
    const char *token_endpoint;
    const char *token_secret_file; /* KMS_TOKEN_APP_SERVICE: read anew for each token */
    const char *client_id;         /* "" = the machine's only identity */
};

/* kms_azure_new(): strings are copied; nothing is sent yet. Errors: ERR_CONFIG. */
RC kms_azure_new(const struct kms_azure_config *c, struct key_provider **out, struct err *e);

#endif
