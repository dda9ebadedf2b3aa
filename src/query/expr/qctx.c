/* qctx.c - the limits of one request. */
#include "query/qctx.h"

#include "base/clock.h"

RC qctx_check(const struct qctx *q, struct err *e)
{
    if (q->interrupted && __atomic_load_n(q->interrupted, __ATOMIC_RELAXED))
        FAIL(e, ERR_INTERRUPTED, "operation was interrupted");
    if (q->deadline_us && clock_mono_us() >= q->deadline_us)
        FAIL(e, ERR_MAX_TIME_MS_EXPIRED, "operation exceeded time limit");
    if (arena_over(q->arena))
        return arena_check(q->arena, e);
    if (q->scratch && q->scratch != q->arena && arena_over(q->scratch))
        return arena_check(q->scratch, e);
    return RC_OK;
}
