/* exec.h - plans: which index a query uses, and the iterator that runs it.
 *
 * Model    exec_open() takes a snapshot and the collection's index list, chooses a plan from the filter's tree and opens it. exec_next() pulls rows:
 *          scan, filter, sort (spilling through struct agg_env), skip, limit, projection. Every document is checked against the whole filter after it was
 *          fetched, so that bounds only ever need to be wide enough.
 * Memory   Nodes live in the qctx's arena. A row's document is valid until the next call. exec_close() releases snapshot, cursors and references.
 * Threads  An exec is used by one thread at a time, not bound to one.
 */
#ifndef EXEC_EXEC_H
#define EXEC_EXEC_H

#include "bsonx/bw.h"
#include "coll/coll.h"
#include "query/agg.h"

struct exec;

struct exec_spec {
    struct catalog *catalog;
    struct catalog_coll *coll; /* NULL: a missing collection, which is empty */
    struct qctx *q;            /* outlives the exec */
    struct match *match;       /* NULL: everything */
    /* BDOC_EMPTY: none; {$natural: ±1} sets the direction of the scan */
    struct bdoc sort;
    struct bval hint;              /* name, key pattern, {$natural: ±1}, or missing */
    struct bdoc min, max;          /* BDOC_EMPTY: none */
    int64_t skip, limit;           /* limit 0: none */
    const struct project *project; /* NULL: whole documents */
    struct bdoc project_doc;       /* its specification, for covered plans */
    bool show_record_id;
    bool return_key;
    bool want_rid;           /* rows carry record ids through a sort */
    struct slice shape_more; /* what else its shape depends on: stages behind it */
    /* spilling; NULL: sorts stay in memory and fail past the default limit */
    const struct agg_env *env;
};

struct exec_row {
    /* 0 when the row has none (covered, or sorted without want_rid) */
    uint64_t rid;
    struct bdoc doc;
};

struct exec_stats {
    int64_t keys_examined, docs_examined, returned;
};

RC exec_open(const struct exec_spec *s, struct exec **out, struct err *e);
/* exec_next(): ERR_QUERY_PLAN_KILLED once the collection was dropped; ERR_MAX_TIME_MS_EXPIRED, ERR_INTERRUPTED. */
RC exec_next(struct exec *x, struct exec_row *row, bool *valid, struct err *e);
void exec_close(struct exec *x); /* NULL is fine */
void exec_closep(struct exec **x);
/* exec_source(): the rows' documents as a source that owns x. exec_lend(): as one that leaves x to the caller; it may be closed after x, and not read then. */
struct doc_source *exec_source(struct exec *x);
struct doc_source *exec_lend(struct exec *x);
void exec_stats(const struct exec *x, struct exec_stats *out);
const struct match *exec_match(const struct exec *x); /* NULL: everything */
bool exec_is_point(const struct exec *x);             /* at most one row, by a unique key */

/* exec_shape(): appends the text that queries have in common which have the same plans to choose from. exec_shape_of(): of an opened one. */
void exec_shape(const struct exec_spec *s, struct buf *out);
void exec_shape_of(const struct exec *x, struct buf *out);

/* Index filters: queries of a shape choose among these indexes of x alone, whatever their hint. [any] */
enum { EXEC_FILTERS_MAX = 1000 }; /* of a collection */
struct exec_filter {
    struct bdoc query, sort, projection, collation; /* BDOC_EMPTY: none; as they were given */
    struct bdoc indexes;                            /* an array of names and key patterns */
};
/* exec_filter_set(): instead of the one that the shape had. */
RC exec_filter_set(struct catalog_coll *x, struct slice shape, const struct exec_filter *given,
                   struct err *e);
void exec_filter_clear(struct catalog_coll *x, struct slice shape); /* empty: all of them */
void exec_filters_write(struct catalog_coll *x, struct bw *w);      /* into an open array */
bool exec_is_filtered(const struct exec *x); /* one of them decided what x may use */

/* exec_explain(): the winning plan as a document of stages. with_stats: each stage with its counters (executionStages). */
void exec_explain(const struct exec *x, struct bw *w, const char *name, bool with_stats);

/* exec_env(): an agg_env that spills to s and opens collections of db in cat. Lives in q->arena. */
struct agg_env *exec_env(struct catalog *cat, struct qctx *q, struct slice db, bool allow_disk_use,
                         size_t memory_limit);
/* exec_env_stages(): who runs the stages that neither the pipeline nor this module knows ($collStats, $out, ...); see struct agg_env. *s outlives env. */
struct exec_stages {
    void *arg;
    RC (*open)(void *arg, struct qctx *q, const char *name, struct bval spec, struct doc_source *in,
               struct doc_source **out, struct err *e);
    RC (*check)(void *arg, struct qctx *q, const char *name, struct bval spec, struct err *e);
};
void exec_env_stages(struct agg_env *env, const struct exec_stages *s);

/* exec_collator(): the default collation of a collection, or the one of a view, released with a; NULL: by bytes. x may be NULL. */
RC exec_collator(struct catalog_coll *x, struct arena *a, const struct collator **out,
                 struct err *e);

enum { EXEC_VIEW_DEPTH_MAX = 20 }; /* views one over the other */
/* exec_view_resolve(): what a view shows: the collection below it and all views between (db and coll; it need not exist), and their stages in the order they run.
 * In a. ERR_VIEW_DEPTH_LIMIT_EXCEEDED. */
RC exec_view_resolve(struct catalog *cat, struct catalog_coll *view, struct arena *a,
                     struct slice *db, struct slice *coll, struct bdoc *stages, struct err *e);
/* exec_join_stages(): first's stages, then second's, as one array in a. */
struct bdoc exec_join_stages(struct arena *a, struct bdoc first, struct bdoc second);

#endif
