/* kms.h - key providers that live elsewhere, behind the table of keys/provider.h, picked by the scheme of the key's URL.
 *
 * Model    A provider drives a dialect of kmsg over its own HTTP client. It trusts nothing that comes back: the headers of kmsg say what is
 *          checked, README.md has the table of classes. It never follows a challenge or a redirect, never retries by itself
 *          but for one new token after a 401, and holds a service's Retry-After.
 * Lists    A URL that is a list, separated by commas, names several vaults that hold the same key. The first that answers gives the
 *          verdict: the next one is asked only when a vault is out of reach, never after a denial. See kms_list.c.
 * Tokens   are kept in wiped memory, renewed from half of their life on; the old one serves while renewal
 *          fails for want of an answer, but not when the endpoint says that the identity is gone.
 * Threads  [any] calls on one provider queue up. [net] until the deadline at most.
 */
#ifndef KMS_KMS_H
#define KMS_KMS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"
#include "keys/helper.h"
#include "keys/provider.h"

/* kms_init(): once in a process, before threads and before the first provider. wiping: libcurl and jansson overwrite what they release;
 * a process that sees an SMK also calls wipe_install_openssl() first. */
RC kms_init(bool wiping, struct err *e);

/* What a provider is made from: X(name of the node's setting without SET_, field). Texts; "" = not set. docs/providers.md says what each
 * provider takes. Files are read when they are needed, so that they may be renewed. */
#define KMS_CONFIG(X)                                                                              \
    X(KEY_URL, key_url)                                                                            \
    X(KEY_CA_FILE, ca_file)                                                                        \
    X(KEY_PROXY, proxy)                                                                            \
    X(KEY_AUDIENCE, audience)                                                                      \
    X(KEY_CONTEXT, key_context)                                                                    \
    X(TOKEN_SOURCE, token_source)                                                                  \
    X(TOKEN_ENDPOINT, token_endpoint)                                                              \
    X(TOKEN_SECRET_FILE, token_secret_file)                                                        \
    X(CLIENT_ID, client_id)                                                                        \
    X(TENANT_ID, tenant_id)

struct kms_config {
#define KMS_FIELD(setting, field) const char *field;
    KMS_CONFIG(KMS_FIELD)
#undef KMS_FIELD
};

/* kms_provider_new(): by the scheme of key_url, or of each URL of the list. Strings are copied; nothing is sent yet. Errors: ERR_CONFIG. */
RC kms_provider_new(const struct kms_config *c, struct key_provider **out, struct err *e);
enum { KMS_LIST_MAX = 4 };
/* kms_needs_process(): the provider of key_url loads code of somebody else's and works in a helper process alone, for every call. Elsewhere it can be
 * made, and each of its calls fails. */
bool kms_needs_process(const char *key_url);
/* kms_helper_main(): main() of such a helper, which was found to be one by HELPER_ARG; program: its name in the log. make() gets a struct arena that lasts
 * as long as the helper. Returns the exit code. */
int kms_helper_main(const char *program, helper_make_fn make);
/* kms_is_refused_pin(): whether e says that a token did not take the PIN. Tokens lock themselves after a few tries: do not try that PIN again. */
bool kms_is_refused_pin(const struct err *e);
/* kms_list_new(): takes the providers over, in order, also when it fails; n from 1 to KMS_LIST_MAX. */
RC kms_list_new(struct key_provider **providers, size_t n, struct key_provider **out,
                struct err *e);

/* ---- what the key's owner does ---- */

/* kms_disabling(): what set_enabled() does in the service of key_url, the first of a list, beside what it is asked for. */
struct kms_disabling {
    bool gives_back; /* enabling the version leaves the key as it was before */
    /* what else it does; without the verb: what the owner does instead. "" = nothing to say */
    const char *note;
};
struct kms_disabling kms_disabling(const char *key_url);
/* kms_enable_by_hand(): appends the command of the service's own tool that enables version. Only where kms_disabling() gives back. */
void kms_enable_by_hand(const char *key_url, const char *version, struct buf *out);

/* ---- Azure Key Vault and Managed HSM, and the embedded vault ---- */

enum kms_token_source {
    KMS_TOKEN_IMDS,
    KMS_TOKEN_APP_SERVICE,
    KMS_TOKEN_ARC,
    KMS_TOKEN_WORKLOAD, /* a federated token from a file */
    KMS_TOKEN_CLIENT_SECRET,
    KMS_TOKEN_CLIENT_CERTIFICATE,
};

struct kms_azure_config {
    const char *key_url;  /* versionless: https://VAULT/keys/NAME */
    const char *ca_file;  /* "" = the system's authorities */
    const char *proxy;    /* "http://HOST:PORT"; NULL or "": none. Never for plain HTTP. */
    const char *audience; /* NULL or "": by the host of key_url when it is one of Azure's */
    enum kms_token_source token_source;
    /* NULL or "": the source's own. http only on this machine or the link-local metadata address */
    const char *token_endpoint;
    /* What the source needs, read anew for each token. app-service: its header. arc: the directory that challenges may name, "" = the
     * agent's. workload: the federated token. client-secret: the secret. client-certificate: PEM with certificate and private RSA key. */
    const char *token_secret_file;
    const char *client_id; /* "" = the machine's only identity */
    /* workload, client-secret, client-certificate without a token_endpoint */
    const char *tenant_id;
};

/* kms_azure_new(): strings are copied; nothing is sent yet. Errors: ERR_CONFIG. */
RC kms_azure_new(const struct kms_azure_config *c, struct key_provider **out, struct err *e);

#endif
