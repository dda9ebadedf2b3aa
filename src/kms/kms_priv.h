/* kms_priv.h - what the files of kms share. */
#ifndef KMS_PRIV_H
#define KMS_PRIV_H

#include "base/slice.h"
#include "base/thread.h"
#include "kms/kms.h"
#include "kmsg/kmsg_reply.h"

struct http_client;
struct http_answer;

/* A credential that a service gave for a while, as the text of a header or whatever its user keeps in it. Not for several threads at once:
 * the provider's lock is held. */
struct kms_cache {
    struct buf text;        /* empty: none. Wiped. */
    uint64_t renew_at_us;   /* boot time from which on a new one is asked for */
    uint64_t expires_at_us; /* boot time from which on it is not used any more */
};
typedef RC (*kms_fetch_fn)(void *arg, uint64_t deadline_us, struct buf *text, int64_t *lifetime_s,
                           struct err *e);
/* kms__cache_get(): c->text is there until the next call. Errors as in keys/provider.h. */
RC kms__cache_get(struct kms_cache *c, kms_fetch_fn fetch, void *arg, uint64_t deadline_us,
                  struct err *e);
/* kms__cache_drop(): the service did not take it. */
void kms__cache_drop(struct kms_cache *c);

/* A source of Entra's tokens for one identity and one audience. */
struct kms_tokens {
    struct http_client *http;
    enum kms_token_source source;
    char *endpoint, *secret_file, *client_id, *audience;
    struct kms_cache cache; /* "Authorization: Bearer ..." */
};

/* authority: of the cloud that the key is in, "https://login.microsoftonline.com". */
RC kms__tokens_init(struct kms_tokens *t, const struct kms_azure_config *c, const char *audience,
                    const char *authority, struct err *e);
void kms__tokens_fini(struct kms_tokens *t);
/* kms__tokens_get(): *header is valid until the next call. Errors as in keys/provider.h. */
RC kms__tokens_get(struct kms_tokens *t, uint64_t deadline_us, const char **header, struct err *e);
/* kms__tokens_drop(): the vault did not take it. */
void kms__tokens_drop(struct kms_tokens *t);

/* What a provider is whose service is far away: the first member of its struct. Arguments are checked, one call runs at a time, and errors
 * name the key before and behind these. version "" = the newest. */
enum { KMS_PLAIN_LEN = 32, KMS_HEADERS_MAX = 6 /* with the NULL at the end */ };
struct kms_remote;
struct kms_exchange;
struct kms_remote_ops {
    const char *name;
    bool (*is_version)(const char *version);
    bool (*is_alg)(const char *alg);
    RC (*get_key)(struct kms_remote *r, const char *version, uint64_t deadline_us,
                  struct key_info *out, struct err *e);
    RC (*wrap)(struct kms_remote *r, const char *version, const struct secret *plain,
               uint64_t deadline_us, struct wrapped_key *out, struct err *e);
    RC (*unwrap)(struct kms_remote *r, const struct wrapped_key *w, bool fresh,
                 uint64_t deadline_us, struct secret **out, struct err *e);
    RC (*set_enabled)(struct kms_remote *r, const char *version, bool enabled, uint64_t deadline_us,
                      struct err *e); /* NULL: the service has nothing like it */
    /* both or none */
    RC (*get_tag)(struct kms_remote *r, const char *name, uint64_t deadline_us,
                  char value[KEY_TAG_MAX], struct err *e);
    RC (*set_tag)(struct kms_remote *r, const char *name, const char *value, uint64_t deadline_us,
                  struct err *e);
    void (*free)(struct kms_remote *r); /* the whole object, half-built too */

    /* what kms__exchange() needs */
    RC (*headers)(struct kms_remote *r, const struct kms_exchange *x,
                  const char *out[KMS_HEADERS_MAX],
                  struct err *e);       /* the credential and what else; good until the next call */
    void (*drop)(struct kms_remote *r); /* the service did not take the credential */
    enum kmsg_class (*classify)(const struct kmsg_reply *reply, char cause[KMSG_CAUSE_MAX]);
    bool second_refusal_denies; /* KMSG_UNAUTHORIZED again, with a new credential, is a denial */
};
struct kms_remote {
    struct key_provider table;
    uint32_t magic;
    const struct kms_remote_ops *ops;
    struct mutex lock; /* of all that the provider keeps */
    char *shown;       /* the key in messages */
    struct http_client *http;
    uint64_t paused_until_us; /* boot time: the service's Retry-After, 5 min at most */
};
void kms__remote_init(struct kms_remote *r, const struct kms_remote_ops *ops);

/* kms__exchange(): one request to the service, again with a new credential when the first was not taken. On success *a is an answer of
 * class KMSG_OK; the caller wipes it in any case. While a Retry-After runs nothing is asked: ERR_KEY_THROTTLED. */
struct kms_exchange {
    const char *method, *url;
    const char *operation;    /* for headers(); NULL where the URL says it all */
    const char *content_type; /* NULL: application/json */
    struct slice body;
    bool fresh;
    uint64_t deadline_us;
};
RC kms__exchange(struct kms_remote *r, const struct kms_exchange *x, struct http_answer *a,
                 struct err *e);

/* The makers of the table in kms.c. */
RC kms__transit_new(const struct kms_config *c, const char *url, struct key_provider **out,
                    struct err *e);
/* kms__allow_modules(): this process is a helper (kms_helper_main()): PKCS #11 modules may be loaded into it. */
void kms__allow_modules(void);
RC kms__p11_new(const struct kms_config *c, const char *url, struct key_provider **out,
                struct err *e);
RC kms__kmip_new(const struct kms_config *c, const char *url, struct key_provider **out,
                 struct err *e);
RC kms__gcp_new(const struct kms_config *c, const char *url, struct key_provider **out,
                struct err *e);
RC kms__aws_new(const struct kms_config *c, const char *url, struct key_provider **out,
                struct err *e);

/* What kms_enable_by_hand() appends. */
void kms__aws_by_hand(const char *url, const char *version, struct buf *out);
void kms__gcp_by_hand(const char *url, const char *version, struct buf *out);

/* kms__no_answer(): the error of a call that got no answer; what is "vault" or "token endpoint". */
RC kms__no_answer(struct err *e, const char *what, const struct http_answer *a);
struct kmsg_reply kms__reply(const struct http_answer *a);
/* kms__fail(): the error of a class other than KMSG_OK. */
RC kms__fail(struct err *e, enum kmsg_class class, const char *cause);

/* kms__is_line(): no control characters: it may stand in a header or a URL's query. */
bool kms__is_line(const char *s);
/* kms__is_local_http(): "http://" on this machine or the link-local metadata address. */
bool kms__is_local_http(const char *url);

/* kms__read_line(): one line of a credential's file, without its end. The result is wiped by the caller. Errors: ERR_KEY_CREDENTIAL. */
RC kms__read_line(const char *path, struct buf *out, struct err *e);
/* kms__one_line(): what was read from path, without the line's end. Errors: ERR_KEY_CREDENTIAL (not one printable line). */
RC kms__one_line(const char *path, struct buf *out, struct err *e);
/* kms__read_own(): the whole of a file that nobody but the node's own user, or root, can read. The result is wiped by the caller. Errors:
 * ERR_KEY_CREDENTIAL. */
RC kms__read_own(const char *path, struct buf *out, struct err *e);
/* kms__credential_fail(): ERR_KEY_CREDENTIAL: what is wrong with the file of the node's own credential; why is emptied. */
RC kms__credential_fail(const char *path, struct err *why, struct err *e);
/* kms__ask(): one call to a place where credentials come from; what: its name in errors. */
struct http_call;
RC kms__ask(struct http_client *c, const struct http_call *q, const char *what,
            struct http_answer *a, struct err *e);
/* kms__endpoint_client(): for a token endpoint: https, or http on this machine. Errors: ERR_CONFIG. */
RC kms__endpoint_client(const struct kms_config *c, const char *endpoint, struct http_client **out,
                        struct err *e);
/* kms__context(): what wrapped keys are bound to where the service can: the setting key-context, or its default. *out is the caller's to free.
 * Errors: ERR_CONFIG. */
RC kms__context(const struct kms_config *c, char **out, struct err *e);

#endif
