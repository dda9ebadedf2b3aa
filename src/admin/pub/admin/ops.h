/* ops.h - the operations of one node, as a table that two transports offer: the administration socket, always, and the database command
 * `coffer`, while the node is Ready.
 *
 * Model    A row says what an operation is called, which fields it takes, what it needs, and how it is run; a new operation is a row.
 *          Both transports go through admin_run(), so that what is refused, and what is logged, is the same for both.
 * Rights   Over the socket whoever may connect may do everything (admin.h). Over the database a row with ADMIN_OP_CHANGES needs the
 *          action cofferAdmin on the cluster, any other cofferRead: module cmd asks before it calls admin_run().
 * Threads  [any] several at once; operations take their own locks. [net] or [long] where the operation is.
 */
#ifndef ADMIN_OPS_H
#define ADMIN_OPS_H

#include <stdbool.h>

#include "base/err.h"
#include "bsonx/bw.h"

enum admin_op_flags {
    /* changes something: logged, and the action cofferAdmin over the database */
    ADMIN_OP_CHANGES = 1,
    ADMIN_OP_SEALED = 2, /* may also run while the node is Inaccessible */
    ADMIN_OP_LOCAL = 4,  /* names files of the machine, or ends the process: the socket only */
};

/* args: the operation's own fields, without the one that names it; none that the row does not list. The answer's fields go to w. */
typedef RC (*admin_op_fn)(void *ctx, struct bdoc args, struct bw *w, struct err *e);

struct admin_op {
    const char *name;
    /* names of its fields, separated by commas; "" = none, "*" = it looks itself */
    const char *args;
    unsigned flags;
    const char *help;
    admin_op_fn run;
};

struct admin_ops {
    const struct admin_op *row;
    int n;
    void *ctx;
    bool sealed; /* this image of the node is Inaccessible */
    /* runs an operation that changes something, for a program that puts it on a record of its own; NULL: it is run, and logged */
    RC (*change)(void *ctx, const struct admin_op *op, const char *who, struct bdoc args,
                 struct bw *w, struct err *e);
};

enum admin_via { ADMIN_VIA_SOCKET, ADMIN_VIA_COMMAND };
struct admin_caller {
    enum admin_via via;
    const char *who; /* for the log: "uid 0", "admin.root" */
};

/* admin_find(): NULL when there is none of that name. */
const struct admin_op *admin_find(const struct admin_ops *t, struct slice name);
/* admin_run(): Errors: ERR_COMMAND_NOT_FOUND, ERR_ILLEGAL_OPERATION (not over this transport), ERR_CLUSTER_INACCESSIBLE, ERR_BAD_VALUE (a
 * field that the operation does not take), and the operation's own. */
RC admin_run(const struct admin_ops *t, const struct admin_caller *c, struct slice name,
             struct bdoc args, struct bw *w, struct err *e);

/* For the operations: a text field, as a new string; NULL when it is absent. ERR_TYPE_MISMATCH. */
RC admin_arg_str(struct bdoc args, const char *name, char **out, struct err *e);
RC admin_arg_bool(struct bdoc args, const char *name, bool *out, struct err *e);

#endif
