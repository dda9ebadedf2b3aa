/* ops.h - the operations of this node, for the administration socket and the database command `coffer`. */
#ifndef COFFERD_OPS_H
#define COFFERD_OPS_H

#include "admin/admin.h"
#include "keyctl.h"
#include "status.h"

/* What operations work on; the same while Ready and while sealed, but for what is NULL. */
struct ops_ctx {
    struct status_source source;
    struct keyctl *keys;
    void (*stop)(void *arg); /* ask the process to stop in order */
    /* ask it to replace its image, which then looks at what is to be done */
    void (*replace)(void *arg);
    void *stop_arg; /* of both */
};

/* ops_table(): the operations over o, which outlives what is done with them. While sealed those that need keys are refused. */
void ops_table(struct ops_ctx *o, bool sealed, struct admin_ops *out);
/* ops_listen(): on the administration socket. An image that follows another one goes on without when it must, and tries again: a cluster that seals, or
 * returns, does not end over it. At a start whoever starts it is told. */
RC ops_listen(struct process *p, const struct admin_ops *ops, struct admin_server **out,
              struct err *e);

#endif
