/* ops.h - the operations of the administration socket. */
#ifndef COFFERD_OPS_H
#define COFFERD_OPS_H

#include "admin/admin.h"
#include "status.h"

/* What operations work on; the same while Ready and while sealed, but for what is NULL. */
struct ops_ctx {
    struct status_source source;
    void (*stop)(void *arg); /* ask the process to stop in order */
    void *stop_arg;
};

RC ops_listen(struct ops_ctx *o, struct admin_server **out, struct err *e);

#endif
