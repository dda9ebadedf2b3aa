/* vault_rate.c - how many operations a vault, and all vaults of a subscription, do in any 10 seconds (key-vault.md 8), and when to come again.
 *
 * A slot for each second; the window is the current second and the ten before it, so that no 10 seconds, wherever they begin, see
 * more than the limit. What is refused is not counted.
 */
#include <stdio.h>
#include <strings.h>

#include "base/mem.h"
#include "vault_priv.h"

static uint32_t used_since(const struct rate *r, uint64_t from_s)
{
    uint32_t sum = 0;

    for (int i = 0; i < RATE_SLOTS; i++)
        if (r->used[i] && r->second[i] >= from_s)
            sum += r->used[i];
    return sum;
}

static uint32_t wait_for(const struct rate *r, uint32_t limit, uint32_t cost, uint64_t now_s)
{
    uint32_t wait_s = 0;

    if (limit == 0)
        return 0;
    cost = MIN(cost, limit); /* an idle vault does any one operation */
    now_s += RATE_WINDOW_S;  /* a clock may have begun at 0 */
    while (used_since(r, now_s - RATE_WINDOW_S + wait_s) > limit - cost)
        wait_s++;
    return wait_s;
}

static void add(struct rate *r, uint32_t limit, uint32_t cost, uint64_t now_s)
{
    if (limit == 0)
        return;
    cost = MIN(cost, limit);
    now_s += RATE_WINDOW_S;
    int slot = (int)(now_s % RATE_SLOTS);
    if (r->second[slot] != now_s) {
        r->second[slot] = now_s;
        r->used[slot] = 0;
    }
    r->used[slot] += cost;
}

uint32_t vault__rate_take(struct rate *r, uint32_t limit, uint32_t cost, uint64_t now_s)
{
    uint32_t wait_s = wait_for(r, limit, cost, now_s);

    if (wait_s == 0)
        add(r, limit, cost, now_s);
    return wait_s;
}

static struct subscription_rate *rate_of(struct vault_service *s, const char *id)
    TS_REQUIRES(s->lock)
{
    int i = 0;

    while (i < s->n_subscriptions && strcasecmp(s->subscriptions[i].id, id) != 0)
        i++;
    INVARIANT(i < VAULTS_MAX); /* a vault never changes its own */
    if (i == s->n_subscriptions)
        (void)snprintf(s->subscriptions[s->n_subscriptions++].id, UUID_LEN + 1, "%s", id);
    return &s->subscriptions[i];
}

/* spec: key-vault 8, "Subscription-wide limit = 5 x vault limit": of the vault that may do most, lest it starve the others. */
static uint32_t subscription_limit(const struct vault_service *s, const char *id, bool creates)
    TS_REQUIRES(s->lock)
{
    uint32_t most = 0;

    for (int i = 0; i < s->n_vaults; i++) {
        const struct vault_props *p = s->vaults[i]->props;
        if (strcasecmp(p->subscription, id) == 0)
            most = MAX(most, creates ? p->create_per_10s : p->other_per_10s);
    }
    return most > UINT32_MAX / 5 ? UINT32_MAX : most * 5;
}

uint32_t vault__rate_take_both(struct vault_service *s, struct keyvault *kv, bool creates,
                               uint32_t cost, uint64_t now_s, bool *by_subscription)
{
    const struct vault_props *p = kv->props;
    struct subscription_rate *sub = rate_of(s, p->subscription);
    struct rate *one = creates ? &kv->created : &kv->other,
                *all = creates ? &sub->created : &sub->other;
    uint32_t limit = creates ? p->create_per_10s : p->other_per_10s,
             limit_all = limit ? subscription_limit(s, p->subscription, creates) : 0;
    uint32_t wait_one = wait_for(one, limit, cost, now_s),
             wait_all = wait_for(all, limit_all, cost, now_s);

    *by_subscription = wait_all > wait_one;
    if (wait_one == 0 && wait_all == 0) {
        add(one, limit, cost, now_s);
        add(all, limit_all, cost, now_s);
    }
    return MAX(wait_one, wait_all);
}

uint32_t vault__rate_cost(const struct vkey *k, const char *version)
{
    const struct key_version *v = k ? vault__find_version(k, version) : NULL;
    int bits = v ? vault__key_bits(&v->pub) : 0;

    /* in operations with an RSA key of 2048 bits */
    return bits > 3072 ? 8 : bits > 2048 ? 4 : 1;
}
