/* vault_retention.c - deleted keys whose time is over: they go by themselves, each with a record of its own (KeyPurge).
 *
 * The rotator looks at every pass, and whoever asks for a deleted key, or wants its name, has its vault looked at first. Room for the records is
 * taken before anything goes; what cannot be put on record, or cannot be saved, stays for the next look, and is not recoverable meanwhile.
 */
#include "base/clock.h"
#include "base/log.h"
#include "vault_priv.h"

enum { BATCH = 64 }; /* keys that go with one save */

bool vault__is_over(const struct vkey *k, int64_t now_s)
{
    return k->deleted_s && k->purge_s <= now_s;
}

static int take_due(struct vault_service *s, struct keyvault *kv, int64_t now_s,
                    struct vkey *out[BATCH], struct err *e) TS_REQUIRES(s->lock)
{
    int n = 0;

    for (int i = 0; i < kv->n_keys && n < BATCH;) {
        const struct vkey *k = kv->keys[i];
        if (!vault__is_over(k, now_s)) {
            i++;
            continue;
        }
        if (vault__audit_ready(s, e).failed)
            break;
        out[n++] = vault__take_key(kv, k->name);
    }
    return n;
}

/* True when there may be more of them. */
static bool purge_some(struct vault_service *s, struct keyvault *kv, int64_t now_s)
    TS_REQUIRES(s->lock)
{
    struct vkey *gone[BATCH];
    struct err unready = { 0 }, unsaved = { 0 };
    int n = take_due(s, kv, now_s, gone, &unready);
    bool saved = n > 0 && !vault__state_save(s, &unsaved).failed;

    for (int i = 0; i < n; i++) {
        if (saved) {
            vault__record_own(s, "KeyPurge", "retention", kv->name, gone[i]->name,
                              /* version= */ "",
                              /* refusal= */ "");
            vault__key_free(gone[i]);
        } else {
            vault__audit_skip(s);
            vault__give_key(kv, gone[i]);
        }
    }
    if (err_is(&unready))
        log_err(EV_VAULT_FAILED, &unready, NULL, 0);
    if (err_is(&unsaved))
        log_err(EV_VAULT_FAILED, &unsaved, NULL, 0);
    return saved && n == BATCH;
}

void vault__purge_due(struct vault_service *s, struct keyvault *kv, int64_t now_s)
{
    while (purge_some(s, kv, now_s))
        ;
}

bool vault__name_is_kept(struct vault_service *s, struct keyvault *kv, const char *key)
{
    const struct vkey *k = vault__find_deleted(kv, key);
    int64_t now_s = clock_real_s();

    if (k && vault__is_over(k, now_s))
        vault__purge_due(s, kv, now_s);
    return vault__find_deleted(kv, key) != NULL;
}

void vault__purge_all(struct vault_service *s, int64_t now_s)
{
    mutex_lock(&s->lock);
    for (int i = 0; i < s->n_vaults; i++)
        vault__purge_due(s, s->vaults[i], now_s);
    mutex_unlock(&s->lock);
}
