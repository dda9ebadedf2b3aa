/* vault_priv.h - what the files of the embedded vault share. */
#ifndef VAULT_PRIV_H
#define VAULT_PRIV_H

#include <jansson.h>

#include "base/arena.h"
#include "base/thread.h"
#include "crypto/ec.h"
#include "crypto/rsa.h"
#include "http/http_server.h"
#include "keys/label.h"
#include "vault/vault.h"
#include "vault_access_priv.h"
#include "vault_audit_priv.h"
#include "vault_identity_priv.h"

struct secret;

enum {
    VAULT_NAME_MAX = 24, /* a vault's name: 3 to 24 letters, digits, hyphens */
    KEY_NAME_MAX = 127,
    VERSION_LEN = 32, /* hex digits */
    TAGS_MAX = 15,
    TAG_TEXT_MAX = 256,
    VERSIONS_MAX = 500, /* of one key: what the reference service can back up */
    KEYS_MAX = 10000,   /* of one vault */
    VAULTS_MAX = 64,
    STATE_BYTES_MAX = 256 << 20,
    VAULT_STATE_FORMAT = 6,    /* of the text in it: docs/formats/vault.md 4 */
    BACKUP_BODY_MAX = 4 << 20, /* of a request that brings a backup: 500 versions of 4096 bits */
};

#define FIRST_TENANT "default" /* its name, when it is made by the first start */

/* What an operator decides for one vault (vault_props.c). Never changed once a vault has it: a change puts another in its place. */
struct vault_props {
    _Atomic int refs;
    char *location, *geography; /* fixed when the vault is made */
    char subscription[UUID_LEN + 1];
    char tenant[UUID_LEN + 1]; /* whose tokens the vault takes */
    bool soft_delete, purge_protection;
    bool rbac;                              /* access by roles; false: by access policies */
    uint32_t retention_days;                /* of a deleted key */
    uint32_t create_per_10s, other_per_10s; /* operations; 0 = no limit */
};

/* What a key may be used for, a bit each; names in vault_keys.c. */
enum key_op {
    OP_ENCRYPT = 1,
    OP_DECRYPT = 2,
    OP_SIGN = 4,
    OP_VERIFY = 8,
    OP_WRAP = 16,
    OP_UNWRAP = 32,
    OP_RSA_ALL = 63,
    OP_EC_ALL = OP_SIGN | OP_VERIFY
};

enum key_type { KEY_RSA, KEY_EC };

/* The public half of a key. */
struct key_public {
    enum key_type type;
    union {
        struct rsa_public rsa;
        struct ec_public ec;
    };
};

/* A key that is to be made. */
struct key_spec {
    enum key_type type;
    int bits;            /* KEY_RSA */
    enum ec_curve curve; /* KEY_EC */
};

struct tag {
    char *name, *value;
};

/* What was told of a version's end (vault_rotator.c). */
enum key_told { TOLD_NEAR = 1, TOLD_EXPIRED = 2 };

/* A length of time as ISO 8601 has it: vault_policy.c. */
struct duration {
    int months; /* of no fixed length */
    int64_t seconds;
    char text[32]; /* as it was written; "" = none */
};

/* When a key rotates by itself and what is told of it. All zero: the policy of a key that was given none. */
struct rotation_policy {
    struct duration expiry; /* life of the versions that rotation makes */
    struct duration rotate; /* of the newest version: after its creation, or before its expiry */
    bool rotates_after_create;
    struct duration notify;   /* before the expiry; none: 30 days */
    int64_t created, updated; /* Unix seconds */
};

struct key_version {
    char id[VERSION_LEN + 1];
    struct key_public pub;
    struct buf sealed; /* the private key: vault__seal_key() */
    bool enabled;
    int64_t nbf, exp; /* Unix seconds; 0 = none */
    int64_t created, updated;
    unsigned ops; /* enum key_op bits */
    struct tag tags[TAGS_MAX];
    int n_tags;
    unsigned told; /* enum key_told bits: of the exp that it has */
};

struct vkey {
    char name[KEY_NAME_MAX + 1];
    struct key_version **versions; /* oldest first */
    int n_versions;
    /* Unix seconds; both 0: not deleted. Kept until purge_s, and recoverable until then */
    int64_t deleted_s, purge_s;
    struct rotation_policy policy;
};

/* The operations of the last seconds: vault_rate.c. */
enum { RATE_WINDOW_S = 10, RATE_SLOTS = RATE_WINDOW_S + 1 };
struct rate {
    uint64_t second[RATE_SLOTS]; /* monotonic */
    uint32_t used[RATE_SLOTS];
};

/* of all vaults of a subscription together */
struct subscription_rate {
    char id[UUID_LEN + 1];
    struct rate created, other;
};

struct keyvault {
    char name[VAULT_NAME_MAX + 1];
    struct vault_props *props;
    struct vkey **keys; /* by name, ascending */
    int n_keys;
    struct vault_access *access;
    struct rate created, other; /* not kept over a restart */
};

struct vault_service {
    /* guards everything below but what is set once in vault_open() and vault_serve() */
    struct mutex lock;

    /* set once */
    char *address, *state_dir, *state_file, *pin_file, *domain, *login_host, *region, *wildcard,
        *audience;
    /* as asked for; what the system chose once vault_serve() has listened */
    _Atomic uint16_t port, token_port;
    uint32_t token_lifetime_s, client_token_lifetime_s, token_lifetime_max_s;
    int64_t signing_key_lifetime_s; /* 0: a key signs until it is told otherwise */
    uint32_t *token_uids;
    int n_token_uids;
    int lock_fd;
    struct secret *root;
    char root_version[65]; /* of the token's key that wraps the root key; "" without one */
    bool root_rewrapped, ca_renewed; /* by this start */
    struct buf ca_pem, ca_sealed;
    struct http_server *https, *tokens;
    struct http_site sites[8], token_sites[4];
    struct federation_cache *federation;
    struct vault_audit *audit;
    struct vault_refusals *refusals;
    uint64_t rotation_check_ms;
    int64_t audit_keep_s;      /* 0: for ever */
    uint64_t audit_keep_bytes; /* 0: any number */
    pthread_t rotator;
    bool rotator_runs;

    bool rotator_stops;
    struct cond rotator_wakes; /* when it is to stop */
    uint8_t store_id[16];
    uint64_t counter, pinned; /* of the last state written, of the pin beside the root key */
    struct tenant *tenants[TENANTS_MAX]; /* the first is the one that what names none belongs to */
    int n_tenants;
    struct signer *signers[SIGNERS_MAX]; /* the last one signs */
    int n_signers;
    struct identity **identities;
    int n_identities;
    struct keyvault **vaults;
    int n_vaults;
    struct subscription_rate subscriptions[VAULTS_MAX]; /* not kept over a restart */
    int n_subscriptions;
    struct custom_role *roles[ROLES_MAX]; /* the owner's own */
    int n_roles;
};

/* ---- vault_root.c: where the root key comes from ---- */
enum { ROOT_LEN = 32 };
/* vault__root_open(): s->root. With may_create a source that can makes one when there is none. */
RC vault__root_open(struct vault_service *s, const struct vault_config *c, bool may_create,
                    struct err *e);
/* vault__root_settle(): once the root key has opened the state, or the state was made. */
RC vault__root_settle(struct vault_service *s, const struct vault_config *c, struct err *e);
/* vault__root_read(): what: "the root key file". forbidden: bits of its mode that other users would get in by. */
RC vault__root_read(const char *path, const char *what, mode_t forbidden, struct secret **out,
                    struct err *e);

/* ---- vault_root_wrapped.c: a root key that a token's key wraps ---- */
struct wrapped_key;
RC vault__wrapped_open(struct vault_service *s, const struct vault_config *c, bool may_create,
                       struct secret **out, struct err *e);
RC vault__wrapped_settle(struct vault_service *s, const struct vault_config *c, struct err *e);
/* The file's bytes. vault__wrapped_decode() believes nothing: ERR_CORRUPT, ERR_UNKNOWN_FORMAT. vault__wrapped_check(): that whoever wrote what was decoded
 * had the root key. */
RC vault__wrapped_encode(const struct secret *root, const struct wrapped_key *w, struct buf *out,
                         struct err *e);
RC vault__wrapped_decode(struct slice file, struct wrapped_key *out, struct err *e);
RC vault__wrapped_check(struct slice file, const struct secret *root, struct err *e);

/* ---- vault_seal.c: single sealed objects, the sealed file, the pin ---- */
/* vault__derive(): 32 bytes of key for one use. */
RC vault__derive(struct vault_service *s, enum key_label label, struct slice salt,
                 struct slice context, struct secret **out, struct err *e);
RC vault__derive_from(const struct secret *root, enum key_label label, struct slice salt,
                      struct slice context, struct secret **out, struct err *e);
/* vault__seal_key(): plain sealed for the place named by context (docs/formats/vault.md 3). */
RC vault__seal_key(struct vault_service *s, struct slice context, const struct secret *plain,
                   struct buf *out, struct err *e);
RC vault__unseal_key(struct vault_service *s, struct slice context, struct slice sealed,
                     struct secret **out, struct err *e);
/* vault__pin_first(): before the first save of a new state; refuses when the pin remembers one that is gone. */
RC vault__pin_first(struct vault_service *s, struct err *e);
/* vault__file_save(): counter + 1, whole file, then the pin. s->counter is raised on success only. */
RC vault__file_save(struct vault_service *s, struct slice plain, struct err *e);
RC vault__file_load(struct vault_service *s, bool adopt, struct buf *plain, struct err *e);
/* vault__backup_seal(), vault__backup_unseal(): a key's backup (docs/formats/vault.md 5). Errors of the latter: ERR_CORRUPT. */
RC vault__backup_seal(struct vault_service *s, struct slice text, struct buf *out, struct err *e);
RC vault__backup_unseal(struct vault_service *s, struct slice blob, struct buf *text,
                        struct err *e);

/* ---- vault_state.c: the state as JSON ---- */
RC vault__state_save(struct vault_service *s, struct err *e) TS_REQUIRES(s->lock);
RC vault__state_load(struct vault_service *s, struct slice text, struct err *e);
void vault__state_free(struct vault_service *s);
json_t *vault__key_json(const struct vkey *k);
/* vault__key_read(): a key as a text of that format has it; NULL when it is malformed. */
struct vkey *vault__key_read(const json_t *o, int64_t format);
json_t *vault__bytes_json(struct slice in); /* base64url */
bool vault__get_bytes(const json_t *o, const char *member, struct buf *out);
bool vault__get_text(const json_t *o, const char *member, char *out, size_t len);
bool vault__get_public(const json_t *o, struct rsa_public *out); /* n and e */

/* ---- vault_props.c: the settings of one vault ---- */
struct vault_props *vault__props_new(const char *location, const char *tenant);
struct vault_props *vault__props_ref(struct vault_props *p);
void vault__props_unref(struct vault_props *p);
/* vault__props_with(): was with what from names in place of its own; strict. Errors: ERR_BAD_VALUE, which names the setting. */
RC vault__props_with(const struct vault_props *was, json_t *from, struct vault_props **out,
                     struct err *e);
/* vault__props_may_change(): refuses what a vault that exists cannot have changed. */
RC vault__props_may_change(const struct vault_props *was, const struct vault_props *now,
                           struct err *e);
bool vault__props_equal(const struct vault_props *a, const struct vault_props *b);
json_t *vault__props_json(const struct vault_props *p);
const char *vault__recovery_level(const struct vault_props *p); /* "Recoverable" */

/* ---- vault_rate.c: operations in any 10 seconds ---- */
/* vault__rate_take(): 0 when cost still fits and was counted; else the seconds after which it would. limit 0: always fits. */
uint32_t vault__rate_take(struct rate *r, uint32_t limit, uint32_t cost, uint64_t now_s);
/* vault__rate_take_both(): in its vault and in its vault's subscription, or in neither. creates: a key. */
uint32_t vault__rate_take_both(struct vault_service *s, struct keyvault *kv, bool creates,
                               uint32_t cost, uint64_t now_s, bool *by_subscription)
    TS_REQUIRES(s->lock);
/* vault__rate_cost(): of one operation with this key; k may be NULL. */
uint32_t vault__rate_cost(const struct vkey *k, const char *version);

/* ---- vault_keys.c: keys and versions in memory ---- */
struct keyvault *vault__find_vault(struct vault_service *s, const char *name);
/* not a deleted one */
struct vkey *vault__find_key(const struct keyvault *v, const char *name);
/* only a deleted one */
struct vkey *vault__find_deleted(const struct keyvault *v, const char *name);
/* vault__take_key(), vault__give_key(): a key out of its vault, which is then the caller's, and back into it. */
struct vkey *vault__take_key(struct keyvault *v, const char *name);
void vault__give_key(struct keyvault *v, struct vkey *k);
void vault__key_free(struct vkey *k);
/* "" = newest */
struct key_version *vault__find_version(const struct vkey *k, const char *version);
/* vault__vault_new(): takes props. */
struct keyvault *vault__vault_new(const char *name, struct vault_props *props);
void vault__vault_free(struct keyvault *v);
void vault__version_free(struct key_version *v);
void vault__tags_free(struct tag *tags, int n);
/* vault__put_version(): takes v as the newest version of the key, made if need be. */
void vault__put_version(struct keyvault *kv, const char *key, struct key_version *v);
/* vault__drop_newest(): takes back what vault__put_version() did. */
void vault__drop_newest(struct keyvault *kv, const char *key);
bool vault__valid_vault_name(const char *s);
bool vault__valid_key_name(const char *s);
bool vault__valid_uuid(const char *s);
RC vault__random_hex(char *out, int n_digits, struct err *e);
RC vault__random_uuid(char out[UUID_LEN + 1], struct err *e);
const char *vault__op_name(unsigned op_bit);
unsigned vault__op_bit(const char *name); /* 0 when unknown */

/* ---- vault_material.c: the key of a version ---- */
unsigned vault__ops_of(enum key_type type); /* what such a key can do */
/* vault__make_version(): a version with a new key. Takes up to seconds: not under the lock. */
RC vault__make_version(struct vault_service *s, const char *vault, const char *key,
                       const struct key_spec *spec, struct key_version **out, struct err *e);
/* vault__version_of(): a version with the key that was brought. */
RC vault__version_of(struct vault_service *s, const char *vault, const char *key,
                     const struct key_public *pub, const struct secret *der,
                     struct key_version **out, struct err *e);
RC vault__public_of(enum key_type type, const struct secret *der, struct key_public *out,
                    struct err *e);
struct key_spec vault__spec_like(const struct key_public *pub);
int vault__key_bits(const struct key_public *pub);
/* vault__key_context(): what a version's private key is bound to. */
void vault__key_context(struct buf *out, const char *vault, const char *key, const char *version);
RC vault__open_version(struct vault_service *s, const char *vault, const char *key,
                       const char *version, struct slice sealed, struct secret **out,
                       struct err *e);

/* ---- vault_jwk.c: keys as JSON ---- */
void vault__jwk_write(const struct key_public *k, json_t *o); /* adds kty and the public numbers */
/* vault__jwk_read(): a private key. Errors: ERR_BAD_VALUE with a sentence for the client. */
RC vault__jwk_read(const json_t *jwk, struct key_public *pub, struct secret **der, struct err *e);
/* vault__key_type(): of "RSA" or "EC". Errors: ERR_BAD_VALUE with a sentence for the client. */
RC vault__key_type(const char *kty, enum key_type *out, struct err *e);
/* vault__base64url(): false when text is empty or malformed. Padding is let pass. */
bool vault__base64url(const char *text, struct buf *out);
/* vault__pem_read(): a private key (vault_pem.c). Errors: ERR_BAD_VALUE. */
RC vault__pem_read(struct slice pem, struct key_public *pub, struct secret **der, struct err *e);

/* ---- vault_policy.c: rotation policies ---- */
bool vault__duration_read(const char *text, struct duration *out);
bool vault__duration_is_set(const struct duration *d);
/* vault__duration_after(): with sign -1, before. */
int64_t vault__duration_after(int64_t from_s, const struct duration *d, int sign);
/* vault__policy_read(): without its dates. Errors: ERR_BAD_VALUE with a sentence for the client. */
RC vault__policy_read(const json_t *from, struct rotation_policy *out, struct err *e);
json_t *vault__policy_json(const struct rotation_policy *p);
/* when the newest version is to be rotated, or its end to be told; 0: never */
int64_t vault__policy_rotates_at(const struct vkey *k);
int64_t vault__policy_notifies_at(const struct vkey *k);

/* ---- vault_retention.c: deleted keys whose time is over ---- */
bool vault__is_over(const struct vkey *k, int64_t now_s);
/* vault__purge_due(): takes such keys out of the vault, and records that. What cannot be recorded or saved (which is logged) stays for the next time. */
void vault__purge_due(struct vault_service *s, struct keyvault *kv, int64_t now_s)
    TS_REQUIRES(s->lock);
/* vault__name_is_kept(): a deleted key has the name, and its time is not over. One whose time is over goes first. */
bool vault__name_is_kept(struct vault_service *s, struct keyvault *kv, const char *key)
    TS_REQUIRES(s->lock);
void vault__purge_all(struct vault_service *s, int64_t now_s); /* of all vaults; takes the lock */

/* ---- vault_rotator.c: what happens to keys by itself ---- */
void vault__rotator_start(struct vault_service *s);
void vault__rotator_stop(struct vault_service *s);
/* vault__rotator_pass(): one look at all keys, and what has to be done at that time. */
void vault__rotator_pass(struct vault_service *s, int64_t now_s);

/* ---- vault_backup.c: a key that leaves the vault, sealed, and comes back ---- */
RC vault__backup_make(struct vault_service *s, const struct keyvault *kv, const struct vkey *k,
                      struct buf *blob, struct err *e);
/* vault__backup_open(): the key, sealed for a vault of that name and those settings.
 * Errors: ERR_BAD_VALUE with a sentence for the client, ERR_CORRUPT: it is no backup of this service's. */
RC vault__backup_open(struct vault_service *s, struct slice blob, const char *vault,
                      const struct vault_props *into, struct vkey **out, struct err *e);

/* ---- vault.c: new versions; by is the operation, "" at the first start ---- */
/* vault__add_version(): takes *v, in any case, as the key's newest version, saves, and logs that it is there. */
RC vault__add_version(struct vault_service *s, struct keyvault *kv, const char *key, const char *by,
                      struct key_version **v, struct err *e) TS_REQUIRES(s->lock);
/* vault__publish(): the same, where the key may have it. Errors: ERR_NOT_FOUND, ERR_CONFLICT (*v stays), ERR_IO. */
RC vault__publish(struct vault_service *s, const char *vault, const char *key, const char *by,
                  struct key_version **v, struct err *e) TS_REQUIRES(s->lock);

/* ---- vault_rest.c: one entrance for every operation on keys ---- */
struct rest_call {
    struct vault_service *s;
    struct http_request *q;
    struct http_reply *r;
    const struct vault_op *op;
    const char *vault; /* its name */
    /* the vault's, as they were when the request came; NULL: there is no such vault */
    struct vault_props *props;
    const char *key, *version; /* from the path; "" when the route has none */
    struct token_claims who;
    char request_id[UUID_LEN + 1];
    int status;
    const char *refusal; /* the code of the error; "" when it succeeded. Static */
    bool known;          /* its token is good */
    bool entered;        /* the operation was begun */
};
struct vault_op {
    const char *name; /* as in an audit record: "KeyWrap" */
    enum vault_perm perm;
    void (*run)(struct rest_call *c);
    unsigned use;     /* crypto operations: the enum key_op bit */
    bool makes_a_key; /* counted against the smaller of the two rates */
};
extern const struct http_route vault__rest_routes[];
extern const int vault__n_rest_routes;
size_t vault__rest_max_body(struct http_request *q); /* http_site.max_body */
void vault__rest_error(struct rest_call *c, int status, const char *code, const char *inner,
                       const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* 500, and the error is logged */
void vault__rest_internal(struct rest_call *c, const struct err *e);
void vault__rest_answer(struct rest_call *c, int status, json_t *body); /* takes body */
void vault__rest_empty(struct rest_call *c, int status);                /* without a body */
void vault__rest_on_error(struct http_request *q, struct http_reply *r, int status,
                          const char *why);
/* vault__rest_base(): "https://main.vault.localhost:8443" in the request's arena. */
const char *vault__rest_base(struct rest_call *c);
/* ---- vault_rest_record.c: what is written down of a request ---- */
/* vault__record_ready(): there is room for the record; else it has been answered with 500. vault__record() must follow. */
bool vault__record_ready(struct rest_call *c);
/* vault__record(): the record in the audit log. When it cannot be written the answer is taken back. A refusal may be counted instead: false. */
bool vault__record(struct rest_call *c, uint64_t started_us);
/* vault__record_stray(): of a request that fits no operation, or is too large for one. */
void vault__record_stray(struct vault_service *s, struct http_request *q, int status,
                         const char *code, const char *request_id);
void vault__record_log(const struct rest_call *c, uint64_t started_us);
/* vault__record_own(): of what the vault does by itself or for its owner, after vault__audit_ready(). by: who asked for it. refusal: the code of the error; "": it was done. A
 * record that cannot be written is in the log of events. */
void vault__record_own(struct vault_service *s, const char *operation, const char *by,
                       const char *vault, const char *key, const char *version,
                       const char *refusal);
/* vault__header_or_empty(): a header that may stand in a record: UTF-8 of at most 200 bytes; else "". */
const char *vault__header_or_empty(struct http_request *q, const char *name);
bool vault__is_version(const char *text); /* up to 32 hex digits; "" is one */

json_t *vault__bundle_json(struct rest_call *c, const char *key, const struct key_version *v);
void vault__not_found(struct rest_call *c);

/* ---- vault_rest_wishes.c: what a client may set on a version ---- */
struct wishes {
    bool has_enabled, enabled;
    bool has_nbf, has_exp;
    int64_t nbf, exp; /* 0 = none */
    bool has_ops;
    unsigned ops;
    bool has_tags;
    struct tag tags[TAGS_MAX];
    int n_tags;
    unsigned told; /* granted with exp */
};
bool vault__bad(struct rest_call *c, const char *text); /* answers 400; false */
bool vault__read_body(struct rest_call *c, json_t **body);
/* vault__wishes_read(): attributes, tags and key_ops of the body; false when it was answered. Release what it read in any case. */
bool vault__wishes_read(struct rest_call *c, const json_t *body, struct wishes *w);
bool vault__wishes_fit(struct rest_call *c, const struct wishes *w, enum key_type type);
void vault__wishes_free(struct wishes *w);
/* vault__wishes_grant(): what v had goes to w, so that granting twice takes it back. */
void vault__wishes_grant(struct key_version *v, struct wishes *w);
bool vault__dates_fit(int64_t nbf, int64_t exp);
/* vault__next_version(): what the version after the newest one is to be, by the key's policy. Release w. */
void vault__next_version(const struct vkey *k, int64_t now_s, struct key_spec *spec,
                         struct wishes *w);
/* vault__publish_new(): takes v as the newest version of the call's key, with what w says, and answers. */
void vault__publish_new(struct rest_call *c, struct key_version *v, struct wishes *w);

/* Lists, a page at a time; a page starts after the name or version in $skiptoken. */
bool vault__page_read(struct rest_call *c, int64_t *max, struct buf *after);
void vault__page_finish(struct rest_call *c, json_t *items, const char *path, int64_t max,
                        const char *last);
json_t *vault__item_json(struct rest_call *c, const char *kid, const struct key_version *v);

/* vault_rest_keys.c, vault_rest_deleted.c and vault_rest_crypto.c: the handlers */
void vault__key_create(struct rest_call *c);
void vault__key_import(struct rest_call *c);
void vault__key_get(struct rest_call *c);
void vault__key_update(struct rest_call *c);
void vault__key_list(struct rest_call *c);
void vault__key_list_versions(struct rest_call *c);
void vault__key_delete(struct rest_call *c);
void vault__deleted_get(struct rest_call *c);
void vault__deleted_list(struct rest_call *c);
void vault__deleted_recover(struct rest_call *c);
void vault__deleted_purge(struct rest_call *c);
void vault__key_seal(struct rest_call *c);   /* wrapkey, encrypt */
void vault__key_unseal(struct rest_call *c); /* unwrapkey, decrypt */
void vault__key_sign(struct rest_call *c);
void vault__key_verify(struct rest_call *c);

/* vault_rest_rotate.c, vault_rest_backup.c */
void vault__key_rotate(struct rest_call *c);
void vault__policy_get(struct rest_call *c);
void vault__policy_put(struct rest_call *c);
void vault__key_backup(struct rest_call *c);
void vault__key_restore(struct rest_call *c);
void vault__key_release(struct rest_call *c);

/* ---- vault_issuer.c, vault_issuer_oauth.c: the token endpoints ---- */
extern const struct http_route vault__token_routes[];
extern const int vault__n_token_routes;
extern const struct http_route vault__login_routes[];
extern const int vault__n_login_routes;
#endif
