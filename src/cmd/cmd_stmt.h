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
    struct bval hint, collation;
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

/* ---- One statement of a write command, also for bulkWrite ---- */
struct write_run {
    struct cmd_req *r;
    const struct cmd_ns *ns;
    struct bdoc let; /* evaluated */
    bool bypass;     /* bypassDocumentValidation */
    bool sync;       /* the statement is the command's only one: it commits durably itself */
};
/* What was done, also when the statement failed half-way. */
struct write_result {
    int64_t n_matched, n_changed;
    struct bval upserted_id; /* in the request's arena; missing: no upsert */
    bool unsynced;           /* the caller owes a store_sync() */
};

struct update_stmt {
    struct bval q, u, c, array_filters, collation, hint, sort;
    bool multi, upsert;
};
/* cmd_update_check(): what the argument parser cannot say of one statement. */
RC cmd_update_check(const struct update_stmt *st, struct err *e);
RC cmd_update_one(const struct write_run *x, const struct update_stmt *st, struct write_result *out,
                  struct err *e);

struct delete_stmt {
    struct bval q, hint, collation;
    bool multi;
};
RC cmd_delete_one(const struct write_run *x, const struct delete_stmt *st, struct write_result *out,
                  struct err *e);

/* Inserts into one namespace, in transactions of many. */
struct inserter {
    struct cmd_req *r;
    const struct cmd_ns *ns;
    bool bypass;
    struct qctx run;
    struct catalog_coll *coll; /* a reference, or NULL: found or made when it is needed */
    struct coll_txn *w;
    int in_txn;    /* documents in the open transaction */
    bool unsynced; /* a transaction was committed without waiting for the journal */
};
/* cmd_inserter_add(): doc is prepared already. On failure nothing of doc stays. */
RC cmd_inserter_add(struct inserter *x, struct bdoc doc, struct err *e);
/* cmd_inserter_full(): time to commit. */
bool cmd_inserter_full(const struct inserter *x);
RC cmd_inserter_commit(struct inserter *x, enum store_durability d, struct err *e);
void cmd_inserter_fini(struct inserter *x); /* what is not committed is undone */

/* The pipeline form of updates, through agg. */
struct update_spec;
void stmt_update_spec(struct update_spec *spec);

#endif
