/* cmd_aggregate.h - aggregate's arguments, shared with explain. */
#ifndef CMD_AGGREGATE_H
#define CMD_AGGREGATE_H

#include "cmd_view.h"

struct aggregate_args {
    struct bval pipeline, cursor, hint, let, collation, uuid;
    bool allow_disk_use, explain, bypass;
    int64_t batch_size;
};
RC cmd_aggregate_parse(struct cmd_req *r, bool explaining, struct aggregate_args *a, struct err *e);
RC cmd_aggregate_ns(struct cmd_req *r, struct bdoc pipeline, struct cmd_ns *ns, struct err *e);

enum explain_verbosity { EXPLAIN_PLANNER, EXPLAIN_STATS, EXPLAIN_ALL };
RC cmd_explain_aggregate(struct cmd_req *r, const struct aggregate_args *a, const struct cmd_ns *ns,
                         enum explain_verbosity v, struct bw *w, struct err *e);

#endif
