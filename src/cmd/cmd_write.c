/* cmd_write.c - write errors, and which failures are the command's rather than a statement's. */
#include "cmd_write.h"

void write_errors_add(struct write_errors *x, int index, const struct err *e)
{
    if (x->n++ == 0) {
        bw_init(&x->w, &x->buf);
        bw_array_begin(&x->w, "writeErrors");
    }
    bw_doc_begin(&x->w, NULL);
    bw_i32(&x->w, "index", index);
    cmd_write_error_fields(e, &x->w);
    bw_doc_end(&x->w);
}

void write_errors_put(struct write_errors *x, struct bw *w)
{
    if (x->n == 0)
        return;
    bw_array_end(&x->w);
    bw_fields(w, bw_finish(&x->w));
}

void write_errors_fini(struct write_errors *x)
{
    buf_fini(&x->buf);
}

bool cmd_is_fatal(const struct err *e)
{
    switch (e->code) {
    case ERR_MAX_TIME_MS_EXPIRED:
    case ERR_INTERRUPTED:
    case ERR_INTERRUPTED_AT_SHUTDOWN:
    case ERR_COMMAND_NOT_SUPPORTED_ON_VIEW:
    case ERR_INVALID_NAMESPACE:
    case ERR_DATABASE_DIFFERS_IN_CASE:
    case ERR_EXCEEDED_MEMORY_LIMIT: return true;
    default: return e->code >= ERR_COFFER_FIRST; /* the storage's and the keys' own */
    }
}

/* Seconds in the upper half, a counter in the lower: distinct within the process. */
uint64_t cmd_now_timestamp(void)
{
    static atomic_uint_least32_t counter;

    return ((uint64_t)clock_real_s() << 32) |
           (atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed) % 0xffffff + 1);
}
