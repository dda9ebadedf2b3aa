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
/* cmd_is_fatal(): the command as a whole fails (interrupted, storage, namespace), not one statement. */
bool cmd_is_fatal(const struct err *e);
uint64_t cmd_now_timestamp(void);
RC cmd_prepare_insert(struct arena *a, struct bdoc doc, struct bdoc *out, struct err *e);

#endif
