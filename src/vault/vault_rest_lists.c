/* vault_rest_lists.c - lists of keys and of versions, a page at a time; a page starts after the name or version in $skiptoken. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

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
