/* vault_rest_keys.c - create, get, update and list keys. See vault_rest.c for what happened before these run. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { PAGE_MAX = 25, LISTED_URL_MAX = 512 };

/* What a client may set on a version, read and checked before anything is touched. */
struct wishes {
    bool has_enabled, enabled;
    bool has_nbf, has_exp;
    int64_t nbf, exp; /* 0 = none */
    bool has_ops;
    unsigned ops;
    bool has_tags;
    struct tag tags[TAGS_MAX];
    int n_tags;
};

static json_t *ops_json(unsigned ops)
{
    json_t *list = json_array();

    for (unsigned bit = 1; bit <= OP_UNWRAP; bit <<= 1)
        if (ops & bit)
            json_array_append_new(list, json_string(vault__op_name(bit)));
    return list;
}

static json_t *attributes_json(const struct rest_call *c, const struct key_version *v)
{
    json_t *a = json_pack("{s:b,s:I,s:I,s:s,s:i}", "enabled", v->enabled, "created",
                          (json_int_t)v->created, "updated", (json_int_t)v->updated,
                          "recoveryLevel", vault__recovery_level(c->props), "recoverableDays",
                          c->props->soft_delete ? (int)c->props->retention_days : 0);

    if (v->nbf)
        json_object_set_new(a, "nbf", json_integer(v->nbf));
    if (v->exp)
        json_object_set_new(a, "exp", json_integer(v->exp));
    json_object_set_new(a, "exportable", json_false());
    json_object_set_new(a, "hsmPlatform", json_string("0"));
    return a;
}

static json_t *tags_json(const struct key_version *v)
{
    json_t *t = json_object();

    for (int i = 0; i < v->n_tags; i++)
        json_object_set_new(t, v->tags[i].name, json_string(v->tags[i].value));
    return t;
}

json_t *vault__bundle_json(struct rest_call *c, const char *key, const struct key_version *v)
{
    AUTO(mem_freep) char *kid = mem_printf("%s/keys/%s/%s", vault__rest_base(c), key, v->id);
    AUTO(buf_fini) struct buf n = BUF_INIT;
    AUTO(buf_fini) struct buf x = BUF_INIT;

    base64url_encode(SLICE(v->pub.n, v->pub.n_len), &n);
    base64url_encode(SLICE(v->pub.e, v->pub.e_len), &x);
    return json_pack("{s:{s:s,s:s,s:o,s:s,s:s},s:o,s:o}", "key", "kid", kid, "kty", "RSA",
                     "key_ops", ops_json(v->ops), "n", buf_cstr(&n), "e", buf_cstr(&x),
                     "attributes", attributes_json(c, v), "tags", tags_json(v));
}

/* ---- reading wishes ---- */

static bool bad(struct rest_call *c, const char *text)
{
    vault__rest_error(c, 400, "BadParameter", NULL, "%s", text);
    return false;
}

/* null takes a date away. */
static bool read_date(struct rest_call *c, const json_t *a, const char *member, bool *has,
                      int64_t *out)
{
    const json_t *v = json_object_get(a, member);

    if (!v)
        return true;
    *has = true;
    *out = 0;
    if (json_is_null(v))
        return true;
    if (!kjson_i64(a, member, out) || *out <= 0 || *out > (int64_t)253402300799) /* the year 9999 */
        return bad(c, "A date in the attributes is not a number of seconds since 1970.");
    return true;
}

static bool read_attributes(struct rest_call *c, const json_t *body, struct wishes *w)
{
    const json_t *a = json_object_get(body, "attributes");
    bool exportable;

    if (!a || json_is_null(a))
        return true;
    if (!json_is_object(a))
        return bad(c, "The attributes are not an object.");
    if (kjson_has(a, "enabled")) {
        if (!kjson_bool(a, "enabled", &w->enabled))
            return bad(c, "The attribute enabled is not a boolean.");
        w->has_enabled = true;
    }
    if (kjson_bool(a, "exportable", &exportable) && exportable)
        return bad(c, "Exportable keys are not offered by this vault.");
    return read_date(c, a, "nbf", &w->has_nbf, &w->nbf) &&
           read_date(c, a, "exp", &w->has_exp, &w->exp);
}

static bool read_ops(struct rest_call *c, const json_t *body, struct wishes *w)
{
    const json_t *list = json_object_get(body, "key_ops");

    if (!list || json_is_null(list))
        return true;
    if (!json_is_array(list))
        return bad(c, "key_ops is not a list.");
    w->has_ops = true;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        unsigned bit = name ? vault__op_bit(name) : 0;
        if (!bit)
            return bad(c, "key_ops names an operation that this key cannot do.");
        w->ops |= bit;
    }
    return true;
}

static bool read_tags(struct rest_call *c, const json_t *body, struct wishes *w)
{
    json_t *tags = json_object_get(body, "tags");
    const char *name;
    json_t *value;

    if (!tags || json_is_null(tags))
        return true;
    if (!json_is_object(tags) || json_object_size(tags) > TAGS_MAX)
        return bad(c, "A key has at most 15 tags.");
    w->has_tags = true;
    json_object_foreach(tags, name, value)
    {
        const char *text = json_string_value(value);
        if (!text || !*name || strlen(name) > TAG_TEXT_MAX || strlen(text) > TAG_TEXT_MAX)
            return bad(c, "The name and the value of a tag are texts of at most 256 characters.");
        w->tags[w->n_tags].name = mem_strdup(name);
        w->tags[w->n_tags++].value = mem_strdup(text);
    }
    return true;
}

static bool read_wishes(struct rest_call *c, const json_t *body, struct wishes *w)
{
    if (kjson_has(body, "release_policy"))
        return bad(c, "Release policies are not offered by this vault.");
    return read_attributes(c, body, w) && read_ops(c, body, w) && read_tags(c, body, w);
}

static void wishes_free(struct wishes *w)
{
    vault__tags_free(w->tags, w->n_tags);
    w->n_tags = 0;
}

/* Moves the tags of w into v; what v had goes to w, so that granting twice takes it back. */
static void grant(struct key_version *v, struct wishes *w)
{
    struct key_version old = *v;

    if (w->has_enabled)
        v->enabled = w->enabled;
    if (w->has_nbf)
        v->nbf = w->nbf;
    if (w->has_exp)
        v->exp = w->exp;
    if (w->has_ops)
        v->ops = w->ops;
    if (w->has_tags) {
        memcpy(v->tags, w->tags, sizeof v->tags);
        v->n_tags = w->n_tags;
        memcpy(w->tags, old.tags, sizeof w->tags);
        w->n_tags = old.n_tags;
    }
    w->enabled = old.enabled;
    w->nbf = old.nbf;
    w->exp = old.exp;
    w->ops = old.ops;
}

static bool dates_fit(int64_t nbf, int64_t exp)
{
    return !nbf || !exp || nbf < exp;
}

/* ---- the operations ---- */

static bool read_body(struct rest_call *c, json_t **body)
{
    struct err e = { 0 };

    if (!http_json(c->q, body, &e).failed)
        return true;
    vault__rest_error(c, 400, "BadParameter", NULL, "The request body is malformed: %s.", e.msg);
    return false;
}

static bool read_size(struct rest_call *c, const json_t *body, int *bits)
{
    const char *kty = kjson_str(body, "kty");
    int64_t n = 2048, exponent;

    if (!kty)
        return bad(c, "The property kty is required.");
    if (strcmp(kty, "RSA") != 0)
        return bad(c, "Only keys of the type RSA can be made here.");
    if (kjson_has(body, "key_size") && !kjson_i64(body, "key_size", &n))
        return bad(c, "key_size is not a number.");
    if (n != 2048 && n != 3072 && n != 4096)
        return bad(c, "key_size is 2048, 3072 or 4096.");
    if (kjson_has(body, "public_exponent") &&
        (!kjson_i64(body, "public_exponent", &exponent) || exponent != 65537))
        return bad(c, "public_exponent is 65537.");
    *bits = (int)n;
    return true;
}

/* With the lock held: takes *v on success. */
static bool publish(struct rest_call *c, struct key_version **v, struct err *e)
    TS_REQUIRES(c->s->lock)
{
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;

    if (kv && vault__find_deleted(kv, c->key)) {
        vault__rest_error(
            c, 409, "Conflict", "ObjectIsDeletedButRecoverable",
            "Key %s is currently in a deleted but recoverable state, and its name cannot be reused; in "
            "this state, the key can only be recovered or purged.",
            c->key);
        return false;
    }
    if (!kv || (!k && kv->n_keys >= KEYS_MAX) || (k && k->n_versions >= VERSIONS_MAX)) {
        vault__rest_error(c, 403, "Forbidden", "LimitReached",
                          "The vault or the key is at its limit.");
        return false;
    }
    struct key_version *mine = TAKE(*v);
    c->version = arena_strdup(http_arena(c->q), mine->id);
    vault__put_version(kv, c->key, mine);
    if (vault__state_save(c->s, e).failed) {
        vault__drop_newest(kv, c->key);
        vault__rest_internal(c, e);
        return false;
    }
    vault__rest_answer(c, 200, vault__bundle_json(c, vault__find_key(kv, c->key)->name, mine));
    return true;
}

static void create_with(struct rest_call *c, const json_t *body, struct wishes *w)
{
    struct key_version *v = NULL;
    struct err e = { 0 };
    int bits;

    if (!read_size(c, body, &bits) || !read_wishes(c, body, w))
        return;
    if (!dates_fit(w->nbf, w->exp)) {
        bad(c, "nbf must be before exp.");
        return;
    }
    /* takes its time: not under the lock */
    if (vault__make_version(c->s, c->vault, c->key, bits, &v, &e).failed) {
        vault__rest_internal(c, &e);
        return;
    }
    grant(v, w);
    mutex_lock(&c->s->lock);
    (void)publish(c, &v, &e);
    mutex_unlock(&c->s->lock);
    vault__version_free(v);
}

void vault__key_create(struct rest_call *c)
{
    struct wishes w = { 0 };
    json_t *body;

    if (!*c->key) {
        bad(c, "The request URI contains an invalid name.");
        return;
    }
    if (read_body(c, &body))
        create_with(c, body, &w);
    wishes_free(&w);
}

static struct key_version *find(struct rest_call *c, struct vkey **key)
{
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;
    struct key_version *v = k ? vault__find_version(k, c->version) : NULL;

    *key = k;
    if (!v)
        vault__not_found(c);
    else
        c->version = arena_strdup(http_arena(c->q), v->id); /* for the record */
    return v;
}

void vault__key_get(struct rest_call *c)
{
    struct vkey *k;

    mutex_lock(&c->s->lock);
    struct key_version *v = find(c, &k);
    if (v && !v->enabled)
        vault__rest_error(c, 403, "Forbidden", "KeyDisabled",
                          "Operation get is not allowed on a disabled key.");
    else if (v)
        vault__rest_answer(c, 200, vault__bundle_json(c, k->name, v));
    mutex_unlock(&c->s->lock);
}

static void update_locked(struct rest_call *c, struct wishes *w) TS_REQUIRES(c->s->lock)
{
    struct vkey *k;
    struct key_version *v = find(c, &k);
    struct err e = { 0 };

    if (!v)
        return;
    if (!dates_fit(w->has_nbf ? w->nbf : v->nbf, w->has_exp ? w->exp : v->exp)) {
        bad(c, "nbf must be before exp.");
        return;
    }
    int64_t was_updated = v->updated;
    grant(v, w);
    v->updated = clock_real_s();
    if (vault__state_save(c->s, &e).failed) {
        grant(v, w);
        v->updated = was_updated;
        vault__rest_internal(c, &e);
        return;
    }
    vault__rest_answer(c, 200, vault__bundle_json(c, k->name, v));
}

void vault__key_update(struct rest_call *c)
{
    struct wishes w = { 0 };
    json_t *body;

    if (read_body(c, &body) && read_wishes(c, body, &w)) {
        mutex_lock(&c->s->lock);
        update_locked(c, &w);
        mutex_unlock(&c->s->lock);
    }
    wishes_free(&w);
}

/* ---- lists, a page at a time; a page starts after the name or version in $skiptoken ---- */

bool vault__page_read(struct rest_call *c, int64_t *max, struct buf *after)
{
    const char *text = http_query(c->q, "maxresults"), *token = http_query(c->q, "$skiptoken");

    *max = PAGE_MAX;
    if (text && (!text_i64(slice_str(text), max) || *max < 1 || *max > PAGE_MAX))
        return bad(c, "maxresults is 1 to 25.");
    if (token && !base64url_decode(slice_str(token), after))
        return bad(c, "$skiptoken was not given out by this vault.");
    return true;
}

void vault__page_finish(struct rest_call *c, json_t *items, const char *path, int64_t max,
                        const char *last)
{
    json_t *page = json_pack("{s:o}", "value", items);
    AUTO(buf_fini) struct buf token = BUF_INIT;

    if (last) {
        base64url_encode(slice_str(last), &token);
        json_object_set_new(
            page, "nextLink",
            json_string(arena_printf(http_arena(c->q),
                                     "%s/%s?api-version=%s&$skiptoken=%s&maxresults=%lld",
                                     vault__rest_base(c), path, http_query(c->q, "api-version"),
                                     buf_cstr(&token), (long long)max)));
    } else {
        json_object_set_new(page, "nextLink", json_null());
    }
    vault__rest_answer(c, 200, page);
}

json_t *vault__item_json(struct rest_call *c, const char *kid, const struct key_version *v)
{
    return json_pack("{s:s,s:o,s:o}", "kid", kid, "attributes", attributes_json(c, v), "tags",
                     tags_json(v));
}

void vault__key_list(struct rest_call *c)
{
    AUTO(buf_fini) struct buf after = BUF_INIT;
    int64_t max;
    const char *last = NULL;

    if (!vault__page_read(c, &max, &after))
        return;
    json_t *items = json_array();
    const char *base = vault__rest_base(c), *from = after.len ? buf_cstr(&after) : "";
    mutex_lock(&c->s->lock);
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    for (int i = 0; kv && i < kv->n_keys; i++) {
        const struct vkey *k = kv->keys[i];
        if (k->deleted_s || (*from && strcasecmp(k->name, from) <= 0))
            continue;
        if ((int64_t)json_array_size(items) == max) {
            last = arena_strdup(http_arena(c->q), kv->keys[i - 1]->name);
            break;
        }
        json_array_append_new(
            items, vault__item_json(c, arena_printf(http_arena(c->q), "%s/keys/%s", base, k->name),
                                    k->versions[k->n_versions - 1]));
    }
    mutex_unlock(&c->s->lock);
    vault__page_finish(c, items, "keys", max, last);
}

void vault__key_list_versions(struct rest_call *c)
{
    AUTO(buf_fini) struct buf after = BUF_INIT;
    int64_t max;
    const char *last = NULL;
    int at = 0;

    if (!vault__page_read(c, &max, &after))
        return;
    json_t *items = json_array();
    mutex_lock(&c->s->lock);
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;
    if (k && after.len) {
        while (at < k->n_versions && strcasecmp(k->versions[at]->id, buf_cstr(&after)) != 0)
            at++;
        at++; /* past the end when the token names no version: an empty page */
    }
    for (; k && at < k->n_versions; at++) {
        if ((int64_t)json_array_size(items) == max) {
            last = arena_strdup(http_arena(c->q), k->versions[at - 1]->id);
            break;
        }
        const char *kid = arena_printf(http_arena(c->q), "%s/keys/%s/%s", vault__rest_base(c),
                                       k->name, k->versions[at]->id);
        json_array_append_new(items, vault__item_json(c, kid, k->versions[at]));
    }
    mutex_unlock(&c->s->lock);
    if (k) {
        vault__page_finish(c, items, arena_printf(http_arena(c->q), "keys/%s/versions", c->key),
                           max, last);
    } else { /* the reference service answers an empty list too */
        vault__page_finish(c, items, "keys", max, NULL);
    }
}
