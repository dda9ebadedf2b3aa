/* vault_rate.c - how many operations a vault does in any 10 seconds (key-vault.md 8), and when to come again.
 *
 * A slot for each second; the window is the current second and the ten before it, so that no 10 seconds, wherever they begin, see
 * more than the limit. What is refused is not counted.
 */
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

uint32_t vault__rate_take(struct rate *r, uint32_t limit, uint32_t cost, uint64_t now_s)
{
    uint32_t wait_s = 0;

    if (limit == 0)
        return 0;
    cost = MIN(cost, limit); /* an idle vault does any one operation */
    now_s += RATE_WINDOW_S;  /* a clock may have begun at 0 */
    while (used_since(r, now_s - RATE_WINDOW_S + wait_s) > limit - cost)
        wait_s++;
    if (wait_s > 0)
        return wait_s;
    int slot = (int)(now_s % RATE_SLOTS);
    if (r->second[slot] != now_s) {
        r->second[slot] = now_s;
        r->used[slot] = 0;
    }
    r->used[slot] += cost;
    return 0;
}

uint32_t vault__rate_cost(const struct vkey *k, const char *version)
{
    const struct key_version *v = k ? vault__find_version(k, version) : NULL;
    int bits = v ? vault__key_bits(&v->pub) : 0;

    /* in operations with an RSA key of 2048 bits */
    return bits > 3072 ? 8 : bits > 2048 ? 4 : 1;
}
