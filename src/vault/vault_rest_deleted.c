/* vault_rest_deleted.c - deletion that can be taken back: a deleted key does nothing and keeps its name for the days that its vault
 * says, then it is gone.
 *
 * Under purge protection nobody, whatever his role, can shorten these days. That is what recoveryLevel "Recoverable" says, and what a
 * cluster asks of the vault that its key lives in. A vault without soft delete forgets a key at once; its recoveryLevel is "Purgeable".
 */
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { DAY_S = 86400 };

static void add_deleted(struct rest_call *c, json_t *o, const struct vkey *k)
{
    json_object_set_new(o, "recoveryId",
                        json_string(arena_printf(http_arena(c->q), "%s/deletedkeys/%s",
                                                 vault__rest_base(c), k->name)));
    json_object_set_new(o, "deletedDate", json_integer(k->deleted_s));
    json_object_set_new(o, "scheduledPurgeDate", json_integer(k->purge_s));
}

static json_t *deleted_json(struct rest_call *c, const struct vkey *k)
{
    json_t *o = vault__bundle_json(c, k->name, k->versions[k->n_versions - 1]);

    add_deleted(c, o, k);
    return o;
}

/* Saves, or puts the dates back. */
static bool set_dates(struct rest_call *c, struct vkey *k, int64_t deleted_s, int64_t purge_s)
    TS_REQUIRES(c->s->lock)
{
    struct err e = { 0 };
    int64_t was_deleted = k->deleted_s, was_purge = k->purge_s;

    k->deleted_s = deleted_s;
    k->purge_s = purge_s;
    if (!vault__state_save(c->s, &e).failed)
        return true;
    k->deleted_s = was_deleted;
    k->purge_s = was_purge;
    vault__rest_internal(c, &e);
    return false;
}

/* Out of the state for ever, or back in its place. */
static bool destroy(struct rest_call *c, struct keyvault *kv, struct vkey *k)
    TS_REQUIRES(c->s->lock)
{
    struct err e = { 0 };

    (void)vault__take_key(kv, k->name);
    if (!vault__state_save(c->s, &e).failed)
        return true;
    vault__give_key(kv, k);
    vault__rest_internal(c, &e);
    return false;
}

void vault__key_delete(struct rest_call *c)
{
    int64_t now_s = clock_real_s(), kept_s = (int64_t)c->props->retention_days * DAY_S;

    mutex_lock(&c->s->lock);
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;
    if (!k)
        vault__not_found(c);
    else if (c->props->soft_delete && set_dates(c, k, now_s, now_s + kept_s))
        vault__rest_answer(c, 200, deleted_json(c, k));
    else if (!c->props->soft_delete && destroy(c, kv, k)) {
        vault__rest_answer(c, 200, vault__bundle_json(c, k->name, k->versions[k->n_versions - 1]));
        vault__key_free(k);
    }
    mutex_unlock(&c->s->lock);
}

/* With the lock held: the deleted key, or the answer that there is none. */
static struct vkey *find(struct rest_call *c) TS_REQUIRES(c->s->lock)
{
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    int64_t now_s = clock_real_s();

    if (kv)
        vault__purge_due(c->s, kv, now_s);
    struct vkey *k = kv ? vault__find_deleted(kv, c->key) : NULL;
    if (k && !vault__is_over(k, now_s))
        return k;
    vault__rest_error(c, 404, "KeyNotFound", NULL, "Deleted Key not found: %s", c->key);
    return NULL;
}

void vault__deleted_get(struct rest_call *c)
{
    mutex_lock(&c->s->lock);
    struct vkey *k = find(c);
    if (k)
        vault__rest_answer(c, 200, deleted_json(c, k));
    mutex_unlock(&c->s->lock);
}

void vault__deleted_recover(struct rest_call *c)
{
    mutex_lock(&c->s->lock);
    struct vkey *k = find(c);
    if (k && set_dates(c, k, 0, 0))
        vault__rest_answer(c, 200, vault__bundle_json(c, k->name, k->versions[k->n_versions - 1]));
    mutex_unlock(&c->s->lock);
}

void vault__deleted_purge(struct rest_call *c)
{
    mutex_lock(&c->s->lock);
    struct vkey *k = find(c);
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    if (k && kv->props->purge_protection) {
        vault__rest_error(
            c, 403, "Forbidden", "ForbiddenByPolicy",
            "Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key \"%s\" is "
            "purged by itself once its scheduled purge date has passed.",
            k->name);
    } else if (k && destroy(c, kv, k)) {
        vault__key_free(k);
        vault__rest_empty(c, 204);
    }
    mutex_unlock(&c->s->lock);
}

void vault__deleted_list(struct rest_call *c)
{
    AUTO(buf_fini) struct buf after = BUF_INIT;
    const struct vkey *last = NULL;
    bool more = false;
    int64_t max, now_s = clock_real_s();

    if (!vault__page_read(c, &max, &after))
        return;
    json_t *items = json_array();
    const char *base = vault__rest_base(c), *from = after.len ? buf_cstr(&after) : "";
    mutex_lock(&c->s->lock);
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    for (int i = 0; kv && i < kv->n_keys && !more; i++) {
        const struct vkey *k = kv->keys[i];
        if (!k->deleted_s || vault__is_over(k, now_s) || (*from && strcasecmp(k->name, from) <= 0))
            continue;
        if ((int64_t)json_array_size(items) == max) {
            more = true;
            continue;
        }
        json_t *item =
            vault__item_json(c, arena_printf(http_arena(c->q), "%s/keys/%s", base, k->name),
                             k->versions[k->n_versions - 1]);
        add_deleted(c, item, k);
        json_array_append_new(items, item);
        last = k;
    }
    const char *next = more ? arena_strdup(http_arena(c->q), last->name) : NULL;
    mutex_unlock(&c->s->lock);
    vault__page_finish(c, items, "deletedkeys", max, next);
}
