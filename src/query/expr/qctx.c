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

RC qctx_check_meta(const struct qctx *q, struct slice name, struct err *e)
{
    static const struct {
        const char *name;
        unsigned any; /* enum query_meta: one of them will do */
    } known[] = {
        { "textScore", 0 },
        { "geoNearDistance", META_GEO },
        { "geoNearPoint", META_GEO },
        { "searchScore", META_SEARCH },
        { "vectorSearchScore", META_SEARCH },
        { "score", META_SCORE },
        { "scoreDetails", META_SCORE_DETAILS },
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (slice_eq_str(name, known[i].name) && !(q->metas & known[i].any))
            FAIL(e, ERR_LOC(40218), "query requires %s metadata, but it is not available",
                 known[i].name);
    return RC_OK;
}
