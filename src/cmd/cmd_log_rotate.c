/* cmd_log_rotate.c - logRotate (compatibility 20): the log's file is put aside under a name with the time, and a new one begun. */
#include "base/log.h"

#include "cmd_priv.h"

RC cmd__logRotate(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct bval v = cmd_first(r);

    (void)w;
    if (v.type != BT_STRING && v.type != BT_BOOL && !bval_is_number(v))
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '%s.%s' is the wrong type '%s', expected types '[string, bool, number]'",
             r->def->name, r->def->name, btype_name(v.type));
    TRY(cmd_no_args(r, e));
    if (v.type == BT_STRING && !slice_eq_str(bval_str(v), "server"))
        FAIL(e, ERR_NO_SUCH_KEY, "no such log: the only one is 'server'");
    TRY(log_rotate(e));
    log_event0(EV_LOG_ROTATED);
    return RC_OK;
}
