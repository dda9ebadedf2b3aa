/* cmd_view.h - aggregations, and the reads that become one on a view. */
#ifndef CMD_VIEW_H
#define CMD_VIEW_H

#include "cmd_find.h"

struct agg_request {
    struct bdoc pipeline; /* the command's array */
    struct bval hint;
    struct bdoc let; /* evaluated already */
    bool allow_disk_use, bypass;
    bool explain; /* stages that write do not */
};

/* cmd_agg_open(): the pipeline over ns as c's source (views resolved). c->q is set up by the caller. *plan: the scan's exec; may be NULL. For
 * explain it is the caller's to close, before c, also after a failure (it stays as it was until there is one); else c's source owns it. *stages: the parsed pipeline, may be NULL. */
RC cmd_agg_open(struct cmd_req *r, const struct cmd_ns *ns, const struct agg_request *a,
                struct cursor *c, struct exec **plan, struct pipeline **stages, struct err *e);
/* cmd_collate_cursor(): c->q compares as the command says, or else as ns does. */
RC cmd_collate_cursor(struct cmd_req *r, const struct cmd_ns *ns, struct bval collation,
                      struct cursor *c, struct err *e);
/* cmd_find_view(): a find on a view, as an aggregation. */
RC cmd_find_view(struct cmd_req *r, const struct find_args *a, const struct cmd_ns *ns,
                 struct cursor *c, struct err *e);
/* cmd_view_resolve(): the collection below a view and the stages of all views between, in a. ERR_VIEW_DEPTH_LIMIT_EXCEEDED, ERR_GRAPH_CONTAINS_CYCLE. */
RC cmd_view_resolve(struct cmd_req *r, struct catalog_coll *view, struct arena *a,
                    struct cmd_ns *base, struct bdoc *pipeline, struct err *e);
/* cmd_view_check_cycle(): may ns become a view on view_on with these stages (each may be missing: it stays as it is), or would it read itself, through other views
 * too? ERR_GRAPH_CONTAINS_CYCLE, ERR_VIEW_DEPTH_LIMIT_EXCEEDED. */
RC cmd_view_check_cycle(struct cmd_req *r, const struct cmd_ns *ns, struct bval view_on,
                        struct bval stages, struct err *e);
/* cmd_view_check_collation(): a view that compares by own reads only views that do. ERR_OPTION_NOT_SUPPORTED_ON_VIEW. */
RC cmd_view_check_collation(struct cmd_req *r, const struct collator *own, struct bval view_on,
                            struct bval stages, struct err *e);
/* cmd_foreign_each(): fn(name) for each collection that the stages name beside the one they run over: `from` and `coll` of $lookup, $graphLookup and $unionWith, at any
 * depth. Data that only looks like a stage counts too. depth: 0. ERR_OVERFLOW. */
typedef RC (*cmd_foreign_fn)(struct bval name, void *arg, struct err *e);
RC cmd_foreign_each(struct bval stages, int depth, cmd_foreign_fn fn, void *arg, struct err *e);

#endif
