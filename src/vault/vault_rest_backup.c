/* vault_rest_backup.c - backup and restore of keys, and the answer to release. */
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

void vault__key_backup(struct rest_call *c)
{
    AUTO(buf_fini) struct buf blob = BUF_INIT;
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };
    bool ok = false;

    mutex_lock(&c->s->lock);
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;
    if (!k)
        vault__not_found(c);
    else if (vault__backup_make(c->s, kv, k, &blob, &e).failed)
        vault__rest_internal(c, &e);
    else
        ok = true;
    mutex_unlock(&c->s->lock);
    if (!ok)
        return;
    base64url_encode(buf_view(&blob), &text);
    vault__rest_answer(c, 200, json_pack("{s:s%}", "value", (const char *)text.p, text.len));
}

/* ---- restore ---- */

/* Whether the name is free and there is room. */
static bool has_place(struct rest_call *c, struct keyvault *kv, const struct vkey *k)
    TS_REQUIRES(c->s->lock)
{
    if (vault__name_is_kept(c->s, kv, k->name)) {
        vault__rest_error(
            c, 409, "Conflict", "ObjectIsDeletedButRecoverable",
            "Key %s is currently in a deleted but recoverable state, and its name cannot be reused; in "
            "this state, the key can only be recovered or purged.",
            k->name);
        return false;
    }
    if (vault__find_key(kv, k->name)) {
        vault__rest_error(c, 409, "Conflict", NULL,
                          "The key %s cannot be restored: there is a key of this name.", k->name);
        return false;
    }
    if (kv->n_keys >= KEYS_MAX) {
        vault__rest_error(c, 403, "Forbidden", "LimitReached",
                          "The vault or the key is at its limit.");
        return false;
    }
    return true;
}

/* Takes *k on success. */
static void put_back(struct rest_call *c, struct vkey **k) TS_REQUIRES(c->s->lock)
{
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct err e = { 0 };

    if (!kv || !has_place(c, kv, *k))
        return;
    struct vkey *mine = *k;
    vault__give_key(kv, mine);
    if (vault__state_save(c->s, &e).failed) {
        (void)vault__take_key(kv, mine->name);
        vault__rest_internal(c, &e);
        return;
    }
    *k = NULL;
    vault__rest_answer(c, 200,
                       vault__bundle_json(c, mine->name, mine->versions[mine->n_versions - 1]));
}

static bool read_blob(struct rest_call *c, const json_t *body, struct buf *blob)
{
    const char *text = kjson_str(body, "value");

    if (!text)
        return vault__bad(c, "The property value is required.");
    return vault__base64url(text, blob) || vault__bad(c, "The property value is not base64url.");
}

void vault__key_restore(struct rest_call *c)
{
    AUTO(buf_fini) struct buf blob = BUF_INIT;
    struct vkey *k = NULL;
    struct err e = { 0 };
    json_t *body;

    if (!vault__read_body(c, &body) || !read_blob(c, body, &blob))
        return;
    if (vault__backup_open(c->s, buf_view(&blob), c->vault, c->props, &k, &e).failed) {
        if (e.code == ERR_BAD_VALUE)
            (void)vault__bad(c, e.msg);
        else if (e.code == ERR_CORRUPT)
            (void)vault__bad(c, "The value is no backup that this vault made.");
        else
            vault__rest_internal(c, &e);
        return;
    }
    c->key = arena_strdup(http_arena(c->q), k->name); /* for the record */
    mutex_lock(&c->s->lock);
    put_back(c, &k);
    mutex_unlock(&c->s->lock);
    vault__key_free(k);
}

/* ---- release ---- */

static bool names_algorithm(const char *enc)
{
    static const char *const known[] = { "CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_256",
                                         "RSA_AES_KEY_WRAP_384" };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(enc, known[i]) == 0)
            return true;
    return false;
}

static bool read_release(struct rest_call *c)
{
    json_t *body;

    if (!vault__read_body(c, &body))
        return false;
    const char *target = kjson_str(body, "target"), *enc = kjson_str(body, "enc");
    if (!target || !*target)
        return vault__bad(c, "The property target is required.");
    if (kjson_has(body, "enc") && (!enc || !names_algorithm(enc)))
        return vault__bad(c, "enc names no algorithm for the release of a key.");
    return true;
}

/* No key here is exportable (vault_rest_wishes.c refuses to make one): what is well asked is refused, as the reference service does. */
void vault__key_release(struct rest_call *c)
{
    if (!read_release(c))
        return;
    mutex_lock(&c->s->lock);
    struct keyvault *kv = vault__find_vault(c->s, c->vault);
    struct vkey *k = kv ? vault__find_key(kv, c->key) : NULL;
    struct key_version *v = k ? vault__find_version(k, c->version) : NULL;
    if (!v)
        vault__not_found(c);
    else if (!v->enabled)
        vault__rest_error(c, 403, "Forbidden", "KeyDisabled",
                          "Operation release is not allowed on a disabled key.");
    else
        vault__rest_error(c, 403, "Forbidden", "KeyOperationForbidden",
                          "Operation release is not permitted on this key: it is not exportable.");
    if (v)
        c->version = arena_strdup(http_arena(c->q), v->id); /* for the record */
    mutex_unlock(&c->s->lock);
}
