/* cmd_find.h - a find's arguments and its plan, shared with explain. */
#ifndef CMD_FIND_H
#define CMD_FIND_H

#include "cmd_priv.h"

struct find_args {
    struct bval filter, projection, sort, hint, let, collation, min, max, uuid;
    int64_t skip, limit, batch_size; /* batch_size -1: default */
    bool single_batch, return_key, show_record_id, tailable, await_data, no_timeout, allow_disk_use;
};

/* cmd_find_open(): parse the arguments in r->body (which lives as long as c) and open the plan in c. *x is also c's source when as_source. */
RC cmd_find_parse(struct cmd_req *r, struct find_args *a, struct err *e);
RC cmd_find_open(struct cmd_req *r, const struct find_args *a, const struct cmd_ns *ns,
                 struct cursor *c, struct exec **x, struct err *e);

#endif
