/* vault_federation.c - the keys of issuers that a principal trusts, fetched as OpenID Connect Discovery 1.0 says, and kept for a while.
 *
 * Only issuers that the owner named in a federation are ever asked, over https, without redirects. A request shows an unproven token, so
 * what it can make us do is bounded: one fetch at a time and for each issuer one in RETRY_US, whatever key ids the tokens name; an answer
 * is limited in size and time; no worker waits for another's fetch.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/http_client.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum {
    ISSUERS_KEPT = 32,
    KEYS_KEPT = 32,
    FETCH_US = 4000000,
    RETRY_US = 5000000,
    STALE_S = 86400, /* how long keys serve an issuer that has fallen silent */
    DOCUMENT_MAX = 262144,
};

struct issuer_key {
    char *kid;
    struct rsa_public pub;
};

struct issuer_keys {
    char *issuer;
    struct issuer_key keys[KEYS_KEPT];
    int n_keys;
    uint64_t fetched_us; /* of the last success; 0: none */
    uint64_t tried_us;   /* of the last attempt */
};

struct federation_cache {
    struct mutex lock;
    struct http_client *client; /* used by one request at a time: busy */
    uint64_t refresh_us;
    struct issuer_keys issuers[ISSUERS_KEPT]; /* guarded by lock */
    int n_issuers;                            /* guarded by lock */
    bool busy;                                /* guarded by lock: a fetch is under way */
};

RC vault__federation_new(const char *ca_file, uint64_t refresh_s, struct federation_cache **out,
                         struct err *e)
{
    struct federation_cache *c = NEW(struct federation_cache);
    struct http_client_config config = { .ca_file = ca_file };

    *out = NULL;
    mutex_init(&c->lock);
    c->refresh_us = refresh_s * 1000000;
    if (http_client_new(&config, &c->client, e).failed) {
        vault__federation_free(c);
        return RC_FAILED;
    }
    *out = c;
    return RC_OK;
}

static void forget_keys(struct issuer_keys *k)
{
    for (int i = 0; i < k->n_keys; i++)
        mem_free(k->keys[i].kid);
    k->n_keys = 0;
}

void vault__federation_free(struct federation_cache *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n_issuers; i++) {
        forget_keys(&c->issuers[i]);
        mem_free(c->issuers[i].issuer);
    }
    http_client_free(c->client);
    mutex_fini(&c->lock);
    mem_free(c);
}

/* ---- fetching ---- */

static json_t *get_json(struct federation_cache *c, const char *url, uint64_t deadline_us,
                        char *why, size_t why_len)
{
    struct http_answer a;
    struct err e = { 0 };
    json_t *j = NULL;
    struct http_call q = {
        .method = "GET", .url = url, .deadline_us = deadline_us, .max_body = DOCUMENT_MAX
    };

    http_client_call(c->client, &q, &a);
    if (a.outcome != HTTP_OUT_ANSWER)
        (void)snprintf(why, why_len, "%s: %s", http_outcome_name(a.outcome), a.detail);
    else if (a.status != 200)
        (void)snprintf(why, why_len, "it answered %d", a.status);
    else if (kjson_load(buf_view(&a.body), KJSON_DEPTH_MAX, &j, &e).failed)
        (void)snprintf(why, why_len, "its answer is not JSON");
    http_answer_fini(&a);
    return j;
}

static bool read_keys(const json_t *set, struct issuer_keys *out)
{
    const json_t *list = kjson_arr(set, "keys");

    for (size_t i = 0; i < json_array_size(list) && out->n_keys < KEYS_KEPT; i++) {
        const json_t *jwk = json_array_get(list, i);
        struct issuer_key *k = &out->keys[out->n_keys];
        const char *kid = kjson_str(jwk, "kid");
        if (kid && vault__jwks_key_read(jwk, &k->pub)) {
            k->kid = mem_strdup(kid);
            out->n_keys++;
        }
    }
    return out->n_keys > 0;
}

static bool fetch(struct federation_cache *c, const char *issuer, struct issuer_keys *out,
                  char *why, size_t why_len)
{
    size_t len = strlen(issuer);
    AUTO(mem_freep) char *url = mem_printf("%s%s.well-known/openid-configuration", issuer,
                                           len > 0 && issuer[len - 1] == '/' ? "" : "/");
    uint64_t deadline_us = clock_mono_us() + FETCH_US;
    AUTO(kjson_freep) json_t *about = get_json(c, url, deadline_us, why, why_len);

    if (!about)
        return false;
    const char *named = kjson_str(about, "issuer"), *keys_at = kjson_str(about, "jwks_uri");
    if (!named || strcmp(named, issuer) != 0 || !keys_at || strncmp(keys_at, "https://", 8) != 0) {
        (void)snprintf(why, why_len,
                       "its discovery document names another issuer, or no key set over https");
        return false;
    }
    AUTO(kjson_freep) json_t *set = get_json(c, keys_at, deadline_us, why, why_len);
    if (!set)
        return false;
    if (!read_keys(set, out)) {
        (void)snprintf(why, why_len, "its key set has no RSA key for RS256");
        return false;
    }
    return true;
}

/* ---- the cache ---- */

/* The entry of an issuer; the one that was tried longest ago makes room when there is none. */
static struct issuer_keys *entry(struct federation_cache *c, const char *issuer)
    TS_REQUIRES(c->lock)
{
    struct issuer_keys *oldest = &c->issuers[0];

    for (int i = 0; i < c->n_issuers; i++) {
        if (strcmp(c->issuers[i].issuer, issuer) == 0)
            return &c->issuers[i];
        if (c->issuers[i].tried_us < oldest->tried_us)
            oldest = &c->issuers[i];
    }
    struct issuer_keys *k = c->n_issuers < ISSUERS_KEPT ? &c->issuers[c->n_issuers++] : oldest;
    forget_keys(k);
    mem_free(k->issuer);
    *k = (struct issuer_keys){ .issuer = mem_strdup(issuer) };
    return k;
}

static bool known_key(const struct issuer_keys *k, const char *kid, struct rsa_public *out)
{
    for (int i = 0; i < k->n_keys; i++)
        if (strcmp(k->keys[i].kid, kid) == 0) {
            *out = k->keys[i].pub;
            return true;
        }
    return false;
}

/* Fetches without the lock: busy keeps others from fetching too. */
static bool refresh(struct federation_cache *c, const char *issuer, char *why, size_t why_len)
    TS_REQUIRES(c->lock)
{
    struct issuer_keys *fresh = NEW(struct issuer_keys);

    c->busy = true;
    entry(c, issuer)->tried_us = clock_mono_us();
    mutex_unlock(&c->lock);
    bool ok = fetch(c, issuer, fresh, why, why_len);
    mutex_lock(&c->lock);
    c->busy = false;
    if (ok) {
        struct issuer_keys *k = entry(c, issuer);
        forget_keys(k);
        memcpy(k->keys, fresh->keys, sizeof k->keys);
        k->n_keys = fresh->n_keys;
        k->fetched_us = k->tried_us = clock_mono_us();
    } else {
        forget_keys(fresh);
    }
    mem_free(fresh);
    return ok;
}

/* The key, or why there is none. Keys past their time are used for a day while the issuer is silent. */
static enum federation_verdict key_of(struct federation_cache *c, const char *issuer,
                                      const char *kid, struct rsa_public *out, char *why,
                                      size_t why_len) TS_REQUIRES(c->lock)
{
    struct issuer_keys *k = entry(c, issuer);
    uint64_t now = clock_mono_us();
    bool had = k->fetched_us != 0, fresh = had && now - k->fetched_us < c->refresh_us;
    bool known = had && now - k->fetched_us < (uint64_t)STALE_S * 1000000 && known_key(k, kid, out);

    if (known && fresh)
        return FEDERATION_HOLDS;
    if (k->tried_us && now - k->tried_us < RETRY_US) {
        (void)snprintf(why, why_len, "%s", had ? "" : "it was asked a moment ago in vain");
        return known ? FEDERATION_HOLDS : had ? FEDERATION_FORGED : FEDERATION_SILENT;
    }
    if (c->busy)
        return known ? FEDERATION_HOLDS : FEDERATION_BUSY;
    if (!refresh(c, issuer, why, why_len))
        return known ? FEDERATION_HOLDS : FEDERATION_SILENT;
    return known_key(entry(c, issuer), kid, out) ? FEDERATION_HOLDS : FEDERATION_FORGED;
}

enum federation_verdict vault__federation_holds(struct federation_cache *c, const char *issuer,
                                                const struct jwt *t, char *why, size_t why_len)
{
    const char *kid = kjson_str(t->header, "kid");
    struct rsa_public pub;

    why[0] = 0;
    if (!kid || strcmp(t->alg, "RS256") != 0)
        return FEDERATION_FORGED;
    mutex_lock(&c->lock);
    enum federation_verdict v = key_of(c, issuer, kid, &pub, why, why_len);
    mutex_unlock(&c->lock);
    if (v == FEDERATION_HOLDS && !vault__jwt_holds(t, &pub, "RS256"))
        return FEDERATION_FORGED;
    return v;
}
