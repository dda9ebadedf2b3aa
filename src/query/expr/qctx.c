/* qctx.c - the limits of one request. */
#include "query/qctx.h"

#include "base/clock.h"

RC qctx_check(const struct qctx *q, struct err *e)
{
    int code = q->interrupt ? atomic_load_explicit(q->interrupt, memory_order_relaxed) : 0;

    if (code)
        FAIL(e, (enum err_code)code, "operation was interrupted");
    if (q->check)
        TRY(q->check(q->check_arg, e));
    if (q->deadline_us && clock_mono_us() >= q->deadline_us)
        FAIL(e, ERR_MAX_TIME_MS_EXPIRED, "operation exceeded time limit");
    if (arena_over(q->arena))
        return arena_check(q->arena, e);
    if (q->scratch && q->scratch != q->arena && arena_over(q->scratch))
        return arena_check(q->scratch, e);
    return RC_OK;
}
