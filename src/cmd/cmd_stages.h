/* cmd_stages.h - the stages of a pipeline that need the node: figures of collections, what runs, sessions, and the two that write.
 *
 * They only stand first or last in a command's own pipeline, so each is opened while the command that made it runs: a source makes its documents then, and a
 * writer reads its input to the end then. Nothing of the request is needed when a getMore goes on.
 */
#ifndef CMD_STAGES_H
#define CMD_STAGES_H

#include "cmd_view.h"

struct cmd_stages {
    struct exec_stages hooks;
    struct cmd_req *r;
    struct cmd_ns ns;          /* what the pipeline reads */
    struct catalog_coll *coll; /* borrowed; NULL: there is none */
    bool explain;              /* nothing is written */
    bool bypass;               /* bypassDocumentValidation */
};
/* cmd_stages(): lives in q's arena. */
struct cmd_stages *cmd_stages(struct cmd_req *r, struct qctx *q, const struct cmd_ns *ns,
                              struct catalog_coll *coll);

/* A stage: check() at parse time; open() takes in. */
typedef
    RC (*cmd_stage_check_fn)(struct cmd_stages *s, struct qctx *q, struct bval spec, struct err *e);
typedef RC (*cmd_stage_open_fn)(struct cmd_stages *s, struct qctx *q, struct bval spec,
                                struct doc_source *in, struct doc_source **out, struct err *e);

#define CMD_STAGE(name)                                                                            \
    RC cmd_stage_check_##name(struct cmd_stages *s, struct qctx *q, struct bval spec,              \
                              struct err *e);                                                      \
    RC cmd_stage_open_##name(struct cmd_stages *s, struct qctx *q, struct bval spec,               \
                             struct doc_source *in, struct doc_source **out, struct err *e);
CMD_STAGE(coll_stats)
CMD_STAGE(index_stats)
CMD_STAGE(current_op)
CMD_STAGE(geo_near)
CMD_STAGE(list_sessions)
CMD_STAGE(merge)
CMD_STAGE(out)
#undef CMD_STAGE

/* cmd_stage_docs(): the documents of the finished array in w (named "d") as a source; copied to q's arena. */
struct doc_source *cmd_stage_docs(struct qctx *q, struct bw *w);

/* cmd_put_coll_stats(): figures of a collection, as collStats and $collStats show them. */
RC cmd_put_coll_stats(struct catalog_coll *x, int64_t scale, struct bw *w, struct err *e);

#endif
