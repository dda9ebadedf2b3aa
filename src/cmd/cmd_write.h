/* cmd_write.h - what the write commands share: write errors, statements over matching documents. */
#ifndef CMD_WRITE_H
#define CMD_WRITE_H

#include "cmd_priv.h"

/* writeErrors of a reply, gathered while the statements run. */
struct write_errors {
    struct buf buf;
    struct bw w;
    int n;
};
void write_errors_add(struct write_errors *x, int index, const struct err *e);
void write_errors_put(struct write_errors *x, struct bw *w); /* nothing when there are none */
void write_errors_fini(struct write_errors *x);

/* cmd_copy_documents(): all of from into to, whose validator is not asked; durable at the end. */
RC cmd_copy_documents(struct cmd_req *r, struct catalog_coll *from, struct catalog_coll *to,
                      struct err *e);
/* cmd_copy_indexes(): all but _id of from, made anew on to. */
RC cmd_copy_indexes(struct catalog_coll *from, struct catalog_coll *to, struct err *e);
/* Collections on their way (cmd_temporary.c). cmd_temporary_new(): empty, under a name that nobody uses, which goes to *ns.
 * cmd_temporary_settle(): it is durable and takes its options and its name, at once with the end of target (NULL: there is none). cmd_temporary_is():
 * whether a collection is one, so a left-over when the node opens. */
enum cmd_temporary { CMD_TEMPORARY_OUT, CMD_TEMPORARY_COPY };
RC cmd_temporary_new(struct cmd_req *r, enum cmd_temporary kind, struct slice db,
                     struct bdoc options, struct cmd_ns *ns, struct catalog_coll **out,
                     struct err *e);
RC cmd_temporary_settle(struct cmd_req *r, struct catalog_coll *made, struct bdoc options,
                        struct slice ns, struct catalog_coll *target, struct err *e);
void cmd_temporary_drop(struct catalog_coll *made);
bool cmd_temporary_is(struct slice name, struct bdoc options);
/* cmd_is_fatal(): the command as a whole fails (interrupted, storage, namespace), not one statement. */
bool cmd_is_fatal(const struct err *e);
uint64_t cmd_now_timestamp(void);
RC cmd_prepare_insert(struct arena *a, struct bdoc doc, struct bdoc *out, struct err *e);

#endif
