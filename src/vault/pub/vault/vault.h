/* vault.h - the embedded key vault: the Key Vault keys data plane and the tokens that open it, over one sealed state.
 *
 * Model    A service holds a tenant, identities, vaults, and in each vault keys with versions and role assignments. Private keys never
 *          leave it: they are sealed one by one under the root key, opened for one operation, and the whole state is sealed again
 *          as a file (docs/formats/vault.md).
 * Hosts    A vault NAME answers at https://NAME.DOMAIN:PORT, the token service's public part at https://LOGIN:PORT, and
 *          managed identities get their tokens on a loopback port of its own over plain HTTP (README.md says what protects it).
 * Threads  [any] after vault_open(). Blocking: disk; RSA key generation takes up to seconds.
 */
#ifndef VAULT_VAULT_H
#define VAULT_VAULT_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct key_provider;
struct vault_service;

struct vault_config {
    const char *address;       /* "127.0.0.1" */
    uint16_t port, token_port; /* 0: the system chooses */
    const char *state_dir;     /* made when it is not there */
    const char *root_key_file; /* outside state_dir; made at the first start, mode 0600 */
    /* file with a credential of the service manager that holds the root key in place of root_key_file; "" or NULL: none */
    const char *root_credential;
    /* a token's key that wraps the root key, in place of both; used in vault_open() alone, the caller's. NULL: none */
    struct key_provider *root_provider;
    uint64_t root_timeout_us;   /* for each answer of root_provider */
    const char *root_move_from; /* file of a root key that is to be wrapped; "" or NULL: none */
    const char *pin_file; /* outside state_dir; "" or NULL: root_key_file with ".pin" appended */
    /* "vault.localhost": a vault's host is NAME.domain, the audience of tokens is https://domain */
    const char *domain;
    const char *login_host;           /* "login.localhost" */
    const char *tenant;               /* a UUID; "" = chosen at the first start */
    const char *region;               /* of vaults that are made without saying theirs: "local" */
    uint32_t token_lifetime_s;        /* of managed identities' tokens */
    uint32_t client_token_lifetime_s; /* of those that the token endpoint gives */
    int64_t signing_key_lifetime_s;   /* 0: a signing key has no end of its own */
    const char *federation_ca_file;   /* "": the system's authorities */
    uint32_t federation_refresh_s;    /* how long another issuer's keys are believed */
    /* how often the vault looks which keys are to be rotated, or are near their end */
    uint64_t rotation_check_ms;
    int64_t audit_keep_s;      /* records of the audit log; 0: for ever */
    uint64_t audit_keep_bytes; /* of the audit log, the oldest going first; 0: any number */
    /* go on without the pin, and make a new one */
    bool adopt;
    const uint32_t
        *token_uids; /* local users, besides our own and root, that the IMDS endpoint serves */
    int n_token_uids;
};

/* vault_open(): reads the state, or makes a new one. Strings of c are copied.
 * Errors: ERR_DIRECTORY_BUSY, ERR_WRONG_KEY, ERR_CORRUPT, ERR_STALE, ERR_PIN_MISSING, ERR_CONFIG, ERR_IO, and with root_provider those of keys/provider.h. */
RC vault_open(const struct vault_config *c, struct vault_service **out, struct err *e);
/* vault_serve(): listens on both ports. Call after what has to be there first was made. */
RC vault_serve(struct vault_service *s, struct err *e);
void vault_close(struct vault_service *s); /* stops both servers in order; NULL is fine */
void vault_closep(struct vault_service **s);

uint16_t vault_port(const struct vault_service *s);
uint16_t vault_token_port(const struct vault_service *s);
/* vault_ca_pem(): the authority's certificate; valid until vault_close(). */
struct slice vault_ca_pem(const struct vault_service *s);
const char *vault_tenant(const struct vault_service *s);

/* What a first installation needs; each does nothing when the thing is there. */
RC vault_ensure_vault(struct vault_service *s, const char *vault, struct err *e);
/* vault_put_vault(): makes a vault, or changes one that is there, and saves. settings is JSON text: README.md lists the members, those
 * left out stay as they are. Errors: ERR_FAILED_TO_PARSE, ERR_BAD_VALUE (names the setting), ERR_IO. */
RC vault_put_vault(struct vault_service *s, const char *vault, struct slice settings,
                   struct err *e);
RC vault_ensure_key(struct vault_service *s, const char *vault, const char *key, int bits,
                    struct err *e);
/* vault_ensure_identity(): header_secret gets the credential for the App Service endpoint when it is new, else stays empty: only its
 * hash is kept. With renew, a new credential replaces the old one. */
RC vault_ensure_identity(struct vault_service *s, const char *name, bool renew,
                         struct buf *header_secret, struct err *e);
/* vault_grant(): to an identity of the first tenant. role is a built-in role's name ("Key Vault Crypto Officer") or its short form ("crypto-officer"). */
RC vault_grant(struct vault_service *s, const char *vault, const char *identity, const char *role,
               struct err *e);

/* vault_describe(): where everything is, as JSON text (README.md lists the members). After vault_serve(). */
RC vault_describe(struct vault_service *s, struct buf *out, struct err *e);

#endif
