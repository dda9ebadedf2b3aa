/* cmd_stmt.h - one update or delete statement: find the documents, lock each, check it again, change it. */
#ifndef CMD_STMT_H
#define CMD_STMT_H

#include "cmd_write.h"

struct stmt;
/* A change of one locked document: old is a copy that stays. *wrote: whether anything was written. */
typedef RC (*stmt_apply_fn)(struct stmt *s, struct coll_txn *w, uint64_t rid, struct bdoc old,
                            const struct match_hit *hit, bool *wrote, struct err *e);

struct stmt {
    struct cmd_req *r;
    const struct cmd_ns *ns;
    struct catalog_coll *coll; /* borrowed; NULL: nothing matches */
    struct qctx q;             /* the request's arenas */
    struct match *match;
    struct bdoc sort;
    struct bval hint;
    bool multi, bypass;
    bool sync; /* commit durably by itself; else the command syncs at its end */
    stmt_apply_fn apply;
    void *arg;
    /* out */
    int64_t n_matched, n_changed;
    bool unsynced; /* something was committed without waiting for the journal */
};

/* stmt_init(): q with let, filter parsed. */
RC stmt_init(struct stmt *s, struct cmd_req *r, const struct cmd_ns *ns, struct bdoc filter,
             struct bdoc let, struct err *e);
RC stmt_run(struct stmt *s, struct err *e);
/* stmt_insert(): an upsert's document. ERR_DUPLICATE_KEY is the caller's to retry once. */
RC stmt_insert(struct stmt *s, struct bdoc doc, struct err *e);

/* The pipeline form of updates, through agg. */
struct update_spec;
void stmt_update_spec(struct update_spec *spec);

#endif
