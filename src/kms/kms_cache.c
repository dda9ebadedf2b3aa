/* kms_cache.c - one cached credential, renewed early. Times are boot time: a wall clock that steps changes nothing.
 *
 *      none ──▶ good ──half of its life──▶ due ──▶ good
 *                                           ├── no answer: the old one serves on until it expires, next try in 10 s
 *                                           └── refused: the refusal is the answer
 */
#include "base/clock.h"
#include "kms_priv.h"

enum { RETRY_US = 10000000 };

static RC fill(struct kms_cache *c, kms_fetch_fn fetch, void *arg, uint64_t deadline_us,
               struct err *e)
{
    AUTO(buf_wipe) struct buf text = BUF_INIT;
    int64_t lifetime_s = 0;

    TRY(fetch(arg, deadline_us, &text, &lifetime_s, e));
    uint64_t life_us = (uint64_t)lifetime_s * 1000000, now = clock_boot_us();
    buf_wipe(&c->text);
    c->text = text;
    text = BUF_INIT;
    c->expires_at_us = now + life_us;
    c->renew_at_us = now + life_us / 2;
    return RC_OK;
}

void kms__cache_drop(struct kms_cache *c)
{
    buf_wipe(&c->text);
    c->renew_at_us = c->expires_at_us = 0;
}

static bool is_no_answer(const struct err *e)
{
    return e->code == ERR_KEY_UNREACHABLE || e->code == ERR_KEY_THROTTLED;
}

RC kms__cache_get(struct kms_cache *c, kms_fetch_fn fetch, void *arg, uint64_t deadline_us,
                  struct err *e)
{
    struct err why = { 0 };
    uint64_t now = clock_boot_us();

    if (c->text.len > 0 && now >= c->expires_at_us)
        kms__cache_drop(c);
    if (c->text.len == 0)
        return fill(c, fetch, arg, deadline_us, e);
    if (now >= c->renew_at_us && fill(c, fetch, arg, deadline_us, &why).failed) {
        if (!is_no_answer(&why)) {
            kms__cache_drop(c);
            return err_take(e, &why);
        }
        c->renew_at_us = now + RETRY_US;
    }
    return RC_OK;
}
