/* cmd_ping.c - ping. */
#include "cmd_priv.h"

RC cmd__ping(struct cmd_req *r, struct bw *w, struct err *e)
{
    (void)w;
    return cmd_no_args(r, e);
}
