/* making.c - see making.h. */
#include "making.h"

#include "base/file.h"
#include "base/mem.h"

static const char *const words[MAKING_NR] = { [MAKING_NEW] = "new\n",
                                              [MAKING_RESTORE] = "restore\n" };

RC making_read(const struct process *p, enum making *out, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err why = { 0 };
    *out = MAKING_NOTHING;
    if (file_read(p->making_path, 64, &text, &why).failed) {
        if (why.code == ERR_NOT_FOUND)
            return RC_OK;
        return err_take(e, &why);
    }
    for (int i = MAKING_NEW; i < MAKING_NR; i++) {
        if (slice_eq_str(buf_view(&text), words[i])) {
            *out = (enum making)i;
            return RC_OK;
        }
    }
    FAIL(e, ERR_CORRUPT, "\"%s\" says neither \"new\" nor \"restore\"", p->making_path);
}

RC making_begin(const struct process *p, enum making what, struct err *e)
{
    return file_write_atomic(p->making_path, 0600, slice_str(words[what]), e);
}

RC making_done(const struct process *p, struct err *e)
{
    return file_remove(p->making_path, e);
}
