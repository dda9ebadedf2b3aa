/* vault_backup.c - a key as one sealed text that leaves the vault, and back. docs/formats/vault.md 5 has every byte.
 *
 * A backup holds the key whole: all its versions, their private halves, dates, tags, and its rotation policy. It opens under the root
 * key that made it and nowhere else, and only a vault of the same subscription and geography takes it in. Inside, each private key is
 * sealed once more, for the vault that it came from: the text and its parser never hold key bytes, here as in the state.
 *
 * What was taken away comes back with it: a backup outlives the deletion and the purge of its key.
 */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "crypto/secret.h"
#include "kmsg/kjson.h"
#include "vault_priv.h"

enum { BACKUP_DEPTH = 10 };

RC vault__backup_make(struct vault_service *s, const struct keyvault *kv, const struct vkey *k,
                      struct buf *blob, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(kjson_freep) json_t *all =
        json_pack("{s:i,s:s,s:s,s:s,s:o}", "format", VAULT_STATE_FORMAT, "vault", kv->name,
                  "subscription", kv->props->subscription, "geography", kv->props->geography, "key",
                  vault__key_json(k));

    INVARIANT(all != NULL); /* every text in it was valid UTF-8 when it came in */
    kjson_dump(all, &text);
    return vault__backup_seal(s, buf_view(&text), blob, e);
}

/* The private halves, which are sealed for the vault that the backup was made in, sealed for another. */
static RC reseal(struct vault_service *s, const char *from, const char *to, struct vkey *k,
                 struct err *e)
{
    for (int i = 0; i < k->n_versions; i++) {
        AUTO(secret_freep) struct secret *der = NULL;
        AUTO(buf_fini) struct buf context = BUF_INIT;
        AUTO(buf_fini) struct buf sealed = BUF_INIT;
        struct key_version *v = k->versions[i];

        TRY(vault__open_version(s, from, k->name, v->id, buf_view(&v->sealed), &der, e));
        vault__key_context(&context, to, k->name, v->id);
        TRY(vault__seal_key(s, buf_view(&context), der, &sealed, e));
        buf_clear(&v->sealed);
        buf_push(&v->sealed, sealed.p, sealed.len);
    }
    return RC_OK;
}

static RC check_place(const json_t *all, const struct vault_props *into, struct err *e)
{
    const char *subscription = kjson_str(all, "subscription"),
               *geography = kjson_str(all, "geography");

    if (!subscription || !geography)
        FAIL(e, ERR_CORRUPT, "a key's backup does not say where it was made");
    if (strcasecmp(subscription, into->subscription) != 0)
        FAIL(e, ERR_BAD_VALUE, "The backup was made in another subscription.");
    if (strcasecmp(geography, into->geography) != 0)
        FAIL(e, ERR_BAD_VALUE, "The backup was made in another geography.");
    return RC_OK;
}

RC vault__backup_open(struct vault_service *s, struct slice blob, const char *vault,
                      const struct vault_props *into, struct vkey **out, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(kjson_freep) json_t *all = NULL;
    int64_t format;

    *out = NULL;
    TRY(vault__backup_unseal(s, blob, &text, e));
    TRY(kjson_load(buf_view(&text), BACKUP_DEPTH, &all, e));
    const char *from = kjson_str(all, "vault");
    if (!kjson_i64(all, "format", &format) || !from || !json_object_get(all, "key"))
        FAIL(e, ERR_CORRUPT, "a key's backup does not have the form that it should have");
    if (format > VAULT_STATE_FORMAT)
        FAIL(e, ERR_BAD_VALUE, "The backup was made by a later release.");
    TRY(check_place(all, into, e));
    struct vkey *k = vault__key_read(json_object_get(all, "key"), format);
    if (!k)
        FAIL(e, ERR_CORRUPT, "a key's backup does not have the form that it should have");
    if (reseal(s, from, vault, k, e).failed) {
        vault__key_free(k);
        return RC_FAILED;
    }
    *out = k;
    return RC_OK;
}
