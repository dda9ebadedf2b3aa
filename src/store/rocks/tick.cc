/* tick.cc - the store's one thread: it renews the anchor, watches the free room, and resumes writing when there is room again.
 *
 * Lock order: tick_mu is held by nobody who takes another lock.
 */
#include "rocks.h"

#include <rocksdb/db.h>

extern "C" {
#include "base/clock.h"
}

namespace {

enum { POLL_US = 50000, ROOM_US = 500000, RESUME_US = 1000000 };

bool wait_until(struct store *s, uint64_t deadline_us)
{
    bool stop;

    mutex_lock(&s->tick_mu);
    while (!s->stop && cond_wait_until(&s->tick_cond, &s->tick_mu, deadline_us))
        ;
    stop = s->stop;
    mutex_unlock(&s->tick_mu);
    return !stop;
}

void renew(struct store *s)
{
    struct err e = {};

    if (s->shared->fatal)
        return;
    if (store__anchor_renew(s->shared->anchor, &e).failed)
        s->shared->event(STORE_EV_ANCHOR_FAILED, e.msg);
}

void *run(void *arg)
{
    struct store *s = static_cast<struct store *>(arg);
    uint64_t now = clock_mono_us(), next_anchor = now + s->anchor_interval_us,
             next_room = now + ROOM_US, next_resume = now;

    while (wait_until(s, clock_mono_us() + std::min<uint64_t>(POLL_US, s->anchor_interval_us))) {
        now = clock_mono_us();
        if (now >= next_anchor || store__anchor_due(s->shared->anchor, s->anchor_bytes)) {
            renew(s);
            next_anchor = now + s->anchor_interval_us;
        }
        if (now >= next_room) {
            store__room(s);
            next_room = now + ROOM_US;
        }
        if ((s->shared->read_only || s->shared->stalled) && !s->shared->fatal &&
            !s->shared->low_room && now >= next_resume) {
            struct err e = {};

            (void)store_resume(s, &e)
                .failed; /* told by the events when it works; tried again when not */
            next_resume = now + RESUME_US;
        }
    }
    return NULL;
}

} /* namespace */

void store__room(struct store *s)
{
    struct err ignored = {};
    uint64_t bytes;
    bool low;

    if (store__io_free_bytes(s->shared->dir.c_str(), &bytes, &ignored).failed)
        return; /* what can't be examined is not judged; a write will tell */
    s->shared->free_bytes = bytes;
    low = bytes < s->shared->reserve_bytes;
    if (low != s->shared->low_room.exchange(low) && !s->shared->read_only)
        s->shared->event(low ? STORE_EV_READ_ONLY : STORE_EV_WRITABLE,
                         low ? "less room than the reserve" : "room again");
}

extern "C" rc_t store__writable(struct store *s, struct err *e)
{
    if (s->shared->fatal)
        FAIL(e, ERR_ENGINE_FATAL,
             "the storage engine stopped after an error; the store must be opened again");
    if (s->shared->low_room)
        FAIL(e, ERR_DISK_FULL, "less room than the reserve is left for \"%s\"",
             s->shared->dir.c_str());
    return RC_OK;
}

extern "C" RC store_resume(struct store *s, struct err *e)
{
    rocksdb::Status st;

    store__room(s);
    TRY(store__writable(s, e)); /* resuming into a full disk would make the error fatal */
    if (!s->shared->read_only && !s->shared->stalled)
        return RC_OK;
    st = s->db->GetRootDB()->Resume(); /* TransactionDB does not forward it */
    if (!st.ok())
        return store_rocks::from_status(st, "resume writing", e);
    s->shared->stalled = false;
    if (s->shared->read_only.exchange(false))
        s->shared->event(STORE_EV_WRITABLE, "writing resumed");
    return RC_OK;
}

void store__tick_start(struct store *s)
{
    s->ticking = true;
    s->tick_thread = thread_start("store-tick", run, s);
}

void store__tick_stop(struct store *s)
{
    if (!s->ticking)
        return;
    mutex_lock(&s->tick_mu);
    s->stop = true;
    cond_broadcast(&s->tick_cond);
    mutex_unlock(&s->tick_mu);
    thread_join(s->tick_thread);
    s->ticking = false;
}
