/* kms_list.c - several vaults that hold the same key, in order: the next is asked when one is out of reach, never after a denial.
 *
 *   unwrap, get_key(version)   first ──out of reach──▶ second ──out of reach──▶ ...      any other answer is the verdict
 *   wrap, get_key(newest)      first only: what a later vault wrapped might not be there when the first one is back
 *
 * "The same key" is the same key material. A key that was restored from a backup, or replicated, has the same versions everywhere; one
 * that was imported has versions of its own in each vault. So a vault that does not know the version is asked with its newest one: key
 * material that is not the same cannot pass, since whoever unwraps compares the canary's MAC or the SMK's commitment. A later vault
 * that does not know the key at all is no witness: then the first one's outage is the answer, and the grace period runs.
 *
 * Each vault gets an equal share of the time that is left, so that one that swallows packets does not use it up.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "kms_priv.h"

enum { KMS_LIST_MAGIC = 0x4b4d534c };

struct kms_list {
    struct key_provider table; /* first: what callers hold */
    uint32_t magic;
    size_t n;
    struct key_provider *vault[KMS_LIST_MAX];
};

static struct kms_list *list_of(struct key_provider *p)
{
    struct kms_list *l = CONTAINER_OF(p, struct kms_list, table);

    INVARIANT(l->magic == KMS_LIST_MAGIC);
    return l;
}

static uint64_t share_of(uint64_t deadline_us, size_t vaults_left)
{
    uint64_t now = clock_mono_us();

    return deadline_us > now ? now + (deadline_us - now) / vaults_left : deadline_us;
}

static RC list_get_newest(struct kms_list *l, uint64_t deadline_us, struct key_info *out,
                          struct err *e)
{
    return l->vault[0]->get_key(l->vault[0], NULL, deadline_us, out, e);
}

/* What differs between the two calls that go down the list. */
struct ask {
    const char *version;
    const struct wrapped_key *wrapped; /* unwrap */
    bool fresh;
    struct secret **plain;
    struct key_info *info; /* get_key */
};

static RC ask_one(struct key_provider *p, const struct ask *a, const char *version,
                  uint64_t deadline_us, struct err *e)
{
    if (a->info)
        return p->get_key(p, version, deadline_us, a->info, e);
    struct wrapped_key w = *a->wrapped;
    memcpy(w.version, version, strlen(version) + 1);
    return p->unwrap(p, &w, a->fresh, deadline_us, a->plain, e);
}

/* A vault past the first, which may know the same key under another version. */
static RC ask_later(struct key_provider *p, const struct ask *a, uint64_t deadline_us,
                    struct err *e)
{
    struct err first = { 0 };
    struct key_info newest;

    if (!ask_one(p, a, a->version, deadline_us, &first).failed)
        return RC_OK;
    if (first.code != ERR_KEY_NOT_FOUND && first.code != ERR_BAD_VALUE)
        return err_take(e, &first);
    TRY(p->get_key(p, NULL, deadline_us, &newest, e));
    TRY(ask_one(p, a, newest.version, deadline_us, e));
    if (a->info) /* the caller asked about the first vault's version */
        memcpy(a->info->version, a->version, strlen(a->version) + 1);
    return RC_OK;
}

static RC ask_all(struct kms_list *l, const struct ask *a, uint64_t deadline_us, struct err *e)
{
    struct err outage = { 0 };

    if (!ask_one(l->vault[0], a, a->version, share_of(deadline_us, l->n), &outage).failed)
        return RC_OK;
    for (size_t i = 1; i < l->n && outage.code == ERR_KEY_UNREACHABLE; i++) {
        struct err why = { 0 };
        if (!ask_later(l->vault[i], a, share_of(deadline_us, l->n - i), &why).failed)
            return RC_OK;
        if (why.code != ERR_KEY_UNREACHABLE && why.code != ERR_KEY_NOT_FOUND) {
            err_wrap(&why, "vault %zu of %zu", i + 1, l->n);
            return err_take(e, &why);
        }
    }
    return err_take(e, &outage);
}

static RC list_get_key(struct key_provider *table, const char *version, uint64_t deadline_us,
                       struct key_info *out, struct err *e)
{
    struct kms_list *l = list_of(table);
    struct ask a = { .version = version, .info = out };

    memset(out, 0, sizeof *out);
    if (!version)
        return list_get_newest(l, deadline_us, out, e);
    if (strlen(version) >= sizeof out->version)
        FAIL(e, ERR_BAD_VALUE, "the key's version is too long");
    return ask_all(l, &a, deadline_us, e);
}

static RC list_wrap(struct key_provider *table, const char *version, const struct secret *plain,
                    uint64_t deadline_us, struct wrapped_key *out, struct err *e)
{
    struct kms_list *l = list_of(table);

    return l->vault[0]->wrap(l->vault[0], version, plain, deadline_us, out, e);
}

static RC list_unwrap(struct key_provider *table, const struct wrapped_key *w, bool fresh,
                      uint64_t deadline_us, struct secret **out, struct err *e)
{
    struct ask a = { .version = w->version, .wrapped = w, .fresh = fresh, .plain = out };

    *out = NULL;
    return ask_all(list_of(table), &a, deadline_us, e);
}

/* In every vault: one that keeps it opens what the others close. The first failure is told, after all have been asked. */
static RC list_set_enabled(struct key_provider *table, const char *version, bool enabled,
                           uint64_t deadline_us, struct err *e)
{
    struct kms_list *l = list_of(table);
    rc_t rc = RC_OK;

    for (size_t i = 0; i < l->n; i++) {
        struct err why = { 0 };
        struct key_provider *p = l->vault[i];
        uint64_t share_us = share_of(deadline_us, l->n - i);
        if (!p->set_enabled(p, version, enabled, share_us, &why).failed)
            continue;
        err_wrap(&why, "vault %zu of %zu", i + 1, l->n);
        rc = err_take(e, &why);
    }
    return rc;
}

static void list_free(struct key_provider *table)
{
    if (!table)
        return;
    struct kms_list *l = list_of(table);
    for (size_t i = 0; i < l->n; i++)
        l->vault[i]->free(l->vault[i]);
    l->magic = 0;
    mem_free(l);
}

RC kms_list_new(struct key_provider **providers, size_t n, struct key_provider **out, struct err *e)
{
    *out = NULL;
    INVARIANT(n >= 1 && n <= KMS_LIST_MAX);
    struct kms_list *l = NEW(struct kms_list);
    l->magic = KMS_LIST_MAGIC;
    l->n = n;
    memcpy(l->vault, providers, n * sizeof *providers);
    l->table = (struct key_provider){
        .name = providers[0]->name,
        .get_key = list_get_key,
        .wrap = list_wrap,
        .unwrap = list_unwrap,
        .set_enabled = providers[0]->set_enabled ? list_set_enabled : NULL, /* all of one kind */
        .free = list_free,
    };
    for (size_t i = 1; i < n; i++)
        if (strcmp(providers[i]->name, providers[0]->name) != 0) {
            /* what one of them wrapped means nothing to the other */
            rc_t rc = err_set(e, ERR_CONFIG, __FILE__, __LINE__,
                              "the list of the key's URLs mixes %s and %s", providers[0]->name,
                              providers[i]->name);
            list_free(&l->table);
            return rc;
        }
    *out = &l->table;
    return RC_OK;
}
