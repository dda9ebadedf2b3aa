/* vault_identity_priv.h - tenants, the principals in them, and the tokens that they get. Included by vault_priv.h. */
#ifndef VAULT_IDENTITY_PRIV_H
#define VAULT_IDENTITY_PRIV_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/thread.h"
#include "crypto/rsa.h"
#include "vault/vault_admin.h"

struct vault_service;
struct http_request;
struct http_reply;

enum {
    UUID_LEN = 36,
    TENANTS_MAX = 16,
    IDENTITIES_MAX = 1000,
    CREDENTIALS_MAX = 20, /* of one principal and one kind */
    SIGNERS_MAX = 8,
    FEDERATION_TEXT_MAX = 600, /* issuer, subject, audience */
    LABEL_MAX = 120,
    JWT_MAX = 8192,
    TOKEN_SKEW_S = 300,
    VAULT_AUDIENCE_MAX = 300,
    ISSUER_MAX = 360,
};

struct tenant {
    char id[UUID_LEN + 1];
    char *name;
};

/* A secret of an application: only its hash is kept. It has 256 random bits, so that the hash needs neither salt nor stretching. */
struct app_secret {
    char id[UUID_LEN + 1];
    char *label;
    uint8_t sha256[32];
    int64_t from_s, until_s; /* Unix seconds */
};

struct app_certificate {
    char id[UUID_LEN + 1];
    char *label;
    uint8_t sha1[20], sha256[32]; /* thumbprints */
    struct rsa_public pub;
    int64_t from_s, until_s;
};

/* Whoever holds a token of this issuer for this subject and audience is taken for the principal. */
struct federation {
    char *name, *issuer, *subject, *audience;
};

/* A principal: a managed identity, or an application (the name and the service principal of one tenant are one thing here). */
struct identity {
    enum vault_principal_kind kind;
    char *name; /* one in its tenant */
    char tenant[UUID_LEN + 1];
    char client_id[UUID_LEN + 1], object_id[UUID_LEN + 1];
    int64_t created;
    int64_t tokens_from_s;     /* Unix seconds: tokens issued before are refused; 0: none is */
    char *resource_id;         /* ARM id; NULL: an application */
    uint8_t secret_sha256[32]; /* managed identities: of the App Service header */
    struct app_secret secrets[CREDENTIALS_MAX];
    int n_secrets;
    struct app_certificate certificates[CREDENTIALS_MAX];
    int n_certificates;
    struct federation federations[CREDENTIALS_MAX];
    int n_federations;
};

/* A key that signs tokens. It stays in the key set, and its tokens good, until the last of them has expired. */
struct signer {
    char kid[44]; /* base64url of the SHA-256 of the public key */
    struct buf sealed;
    struct rsa_public pub;
    int64_t created;
    int64_t retired; /* when another took over; 0: it signs */
};

/* ---- vault_identity.c: principals in memory, and as JSON in the state. Callers hold the service's lock. ---- */
/* NULL, "": the first */
struct tenant *vault__find_tenant(struct vault_service *s, const char *id_or_name);
void vault__tenant_free(struct tenant *t);
RC vault__tenant_new(const char *id, const char *name, struct tenant **out, struct err *e);
struct identity *vault__find_identity(struct vault_service *s, const char *tenant_id,
                                      const char *name);
struct identity *vault__identity_by_client(struct vault_service *s, const char *client_id);
struct identity *vault__identity_by_object(struct vault_service *s, const char *object_id);
struct identity *vault__identity_dup(const struct identity *p);
void vault__identity_free(struct identity *p);
void vault__federation_fini(struct federation *f);
json_t *vault__tenant_json(const struct tenant *t);
bool vault__tenant_read(struct vault_service *s, const json_t *o);
json_t *vault__identity_json(const struct identity *p);
/* vault__identity_read(): up to format 2 there were managed identities only, all of the first tenant. */
bool vault__identity_read(struct vault_service *s, const json_t *o, int64_t format);

/* ---- vault_signer.c: the keys that sign tokens ---- */
RC vault__signer_new(struct vault_service *s, struct signer **out, struct err *e);
void vault__signer_free(struct signer *k);
json_t *vault__signer_json(const struct signer *k);
bool vault__signer_read(struct vault_service *s, const json_t *o, int64_t format);
/* vault__signer_turn(): lets another key take over from one that has signed for its time. While none can, for want of room or because the
 * state cannot be saved (which is logged), the old one signs on. Takes the lock. */
void vault__signer_turn(struct vault_service *s, int64_t now_s);
/* vault__sign(): header.claims signed by the key that signs now, as a JWT. Takes the lock for a moment. */
RC vault__sign(struct vault_service *s, const json_t *claims, struct buf *out, struct err *e);
/* vault__signer_public(): of a key whose tokens are good at now_s. Takes the lock. */
bool vault__signer_public(struct vault_service *s, const char *kid, int64_t now_s,
                          struct rsa_public *out);
json_t *vault__jwks(struct vault_service *s, int64_t now_s); /* takes the lock */

/* ---- vault_jwt.c: signed tokens of anybody's, read ---- */
struct jwt {
    struct slice text; /* borrowed */
    json_t *header, *claims;
    const char *alg; /* in header */
};
/* vault__jwt_read(): three parts, the first two JSON objects; nothing is verified yet. jwt_fini() also after a failure. */
bool vault__jwt_read(struct slice text, struct jwt *out);
void vault__jwt_fini(struct jwt *t);
/* vault__jwt_holds(): the signature, by this key and by exactly this algorithm: "RS256" or "PS256". */
bool vault__jwt_holds(const struct jwt *t, const struct rsa_public *key, const char *alg);
/* vault__jwt_has_audience(): aud is this text, or a list with it. */
bool vault__jwt_has_audience(const struct jwt *t, const char *audience);
/* vault__jwt_date(): a NumericDate, which may have a fraction (RFC 7519 2); false when it is absent or none. */
bool vault__jwt_date(const struct jwt *t, const char *claim, int64_t *out);
/* vault__jwks_key_read(): an RSA key of a key set, 2048 to 4096 bits. */
bool vault__jwks_key_read(const json_t *jwk, struct rsa_public *out);

/* ---- vault_token.c: access tokens ---- */
/* vault__audience(): "https://vault.localhost", or with_port "https://vault.localhost:8443": some SDKs compare the challenge's resource
 * with the request's host and port, some leave the port out, and with the port in it both are content. Tokens are made and taken for
 * either. */
const char *vault__audience(struct vault_service *s, bool with_port, char *out, size_t len);
/* vault__audience_asked(): which of the two a client means, with a slash at its end or without; NULL: neither. */
const char *vault__audience_asked(struct vault_service *s, const char *asked, char *out,
                                  size_t len);
/* vault__issuer(): what tokens of a tenant name: "https://login.localhost:8444/TENANT/"; v2: what discovery of v2.0 names. */
const char *vault__issuer(struct vault_service *s, const char *tenant_id, bool v2, char *out,
                          size_t len);
struct token_claims {
    char object_id[UUID_LEN + 1], client_id[UUID_LEN + 1], tenant[UUID_LEN + 1];
    char uti[UUID_LEN + 1]; /* the token's name in the audit log */
    /* of a token that was refused: a new one would be taken, and its client says that it can be told so */
    bool stale;
};
/* Who gets a token: copied out of an identity, so that it is made without the lock. */
struct token_subject {
    char client_id[UUID_LEN + 1], object_id[UUID_LEN + 1], tenant[UUID_LEN + 1];
    int64_t tokens_from_s;
    const char *resource_id; /* NULL: none; as long as whoever made the subject says */
};
struct arena;
void vault__subject_of(const struct identity *who, struct arena *a, struct token_subject *out);
struct token_wish {
    const struct token_subject *who;
    const char *audience;
    const char *id;    /* of the request: the token's uti */
    const char *proof; /* "1": a secret, "2": a certificate, an assertion or the platform */
    bool cae;          /* the client declared "cp1" */
    int64_t now_s;
    uint32_t lifetime_s;
};
/* vault__token_issue(): also looks whether the signing key's time is over. */
RC vault__token_issue(struct vault_service *s, const struct token_wish *w, struct buf *out,
                      struct err *e);
/* vault__token_check(): signature, algorithm, issuer, tenant, audience and dates, for a vault of this tenant. why is the sentence of the
 * 401 answer. */
bool vault__token_check(struct vault_service *s, struct slice token, const char *tenant_id,
                        int64_t now_s, struct token_claims *out, char *why, size_t why_len);

/* ---- vault_sign_in.c: requests for tokens, on record ---- */
struct sign_in {
    struct vault_service *s;
    struct http_request *q;
    /* "imds", "app-service", "token" */
    const char *endpoint;
    /* "local-user", "identity-header", "client-secret", "client-assertion"; "": none yet */
    const char *proof;
    /* id of the secret or certificate, name of the federation; "" */
    const char *credential;
    /* of the request: ours, and the client's when it gave one */
    char id[UUID_LEN + 1], correlation[UUID_LEN + 1];
    /* who was named; that it is him holds of a token that was given */
    struct token_subject who;
    bool managed;
    const char *name, *resource;
    /* the local user at the other end */
    bool uid_known;
    uint32_t uid;
    /* the client only wants to know whether there is an endpoint: no line in the log of events */
    bool probe;
    bool ready;
    uint64_t started_us;
};
void vault__sign_in_begin(struct sign_in *in, struct vault_service *s, struct http_request *q,
                          const char *endpoint);
/* vault__sign_in_is(): with the lock held, or of a copy. */
void vault__sign_in_is(struct sign_in *in, const struct identity *who);
/* vault__sign_in_ready(): there is room for the record; else no token may be made. vault__sign_in_granted() or _refused() must follow. */
bool vault__sign_in_ready(struct sign_in *in);
/* vault__sign_in_granted(): false: the record could not be written, and the token is not given. */
bool vault__sign_in_granted(struct sign_in *in);
/* vault__sign_in_refused(): error is static; code: the number in it, 0: none. */
void vault__sign_in_refused(struct sign_in *in, int status, const char *error, int code);

/* ---- vault_issuer.c: managed identities' endpoints; vault_issuer_oauth.c: client credentials, discovery, key sets ---- */
void vault__token_on_error(struct http_request *q, struct http_reply *r, int status,
                           const char *why);
/* vault__peer_uid(): the local user at the other end of a loopback TCP connection. */
struct sockaddr;
bool vault__peer_uid(const struct sockaddr *peer, const struct sockaddr *local, uint32_t *uid);

/* Why the token endpoint gives no token, as it tells the client. */
struct oauth_refusal {
    int status;
    const char *error; /* "invalid_client" */
    int code;          /* AADSTS number */
    char text[400];
};
/* vault__refuse(): fills it in. Always false. */
bool vault__refuse(struct oauth_refusal *why, int status, const char *error, int code,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ---- vault_issuer_assertion.c: client assertions ---- */
/* vault__assertion_proves(): the assertion comes from one of the application's certificates, or from an issuer that the principal
 * trusts. who is a copy: an issuer may have to be asked. *credential: which of its own it was; as long as who. [net] */
bool vault__assertion_proves(struct vault_service *s, const struct identity *who,
                             struct slice assertion, int64_t now_s, const char **credential,
                             struct oauth_refusal *why);

/* ---- vault_federation.c: the keys of other issuers ---- */
struct federation_cache;
RC vault__federation_new(const char *ca_file, uint64_t refresh_s, struct federation_cache **out,
                         struct err *e);
void vault__federation_free(struct federation_cache *c);
enum federation_verdict {
    FEDERATION_HOLDS,
    FEDERATION_FORGED, /* the issuer is there, and does not know the key or the signature */
    FEDERATION_SILENT, /* its discovery or key set cannot be had */
    FEDERATION_BUSY,   /* another request is asking it */
};
/* vault__federation_holds(): whether the token is signed by a key of the issuer's. [net] */
enum federation_verdict vault__federation_holds(struct federation_cache *c, const char *issuer,
                                                const struct jwt *t, char *why, size_t why_len);

#endif
