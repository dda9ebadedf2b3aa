/* agg.h - pipelines: stages parsed to nodes, run as iterators that pull documents from a source.
 *
 * Pure     No store here: collections, temporary files and collection-less sources arrive through struct agg_env.
 * Lifetime Parsed stages live in q->arena; the specification's bytes, q and env must outlive the running pipeline (a cursor keeps all three).
 * Scratch  The caller rewinds q->scratch between results, after it used the document that next() gave.
 * Memory   A blocking stage ($group, $sort, ...) over its budget spills through agg_env.spill, or fails with 292 when that is not allowed.
 */
#ifndef QUERY_AGG_H
#define QUERY_AGG_H

#include "query/project.h"

/* A source of documents: next() sets *valid false at the end. *doc is valid until the next call. */
struct doc_source {
    RC (*next)(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e);
    void (*close)(struct doc_source *s); /* frees s */
};
static inline void doc_source_close(struct doc_source *s)
{
    if (s)
        s->close(s);
}

/* A sealed temporary file (the store's spill). */
struct agg_spill_ops {
    RC (*open)(void *env, void **file, struct err *e);
    RC (*write)(void *file, struct slice bytes, struct err *e);
    RC (*rewind)(void *file, struct err *e);
    RC (*read)(void *file, void *out, size_t len, size_t *got, struct err *e);
    void (*close)(void *file);
};

struct agg_env {
    void *env;
    const struct agg_spill_ops *spill;
    bool allow_disk_use;
    size_t memory_limit; /* bytes a blocking stage may hold; 0 = 100 MiB */
    const char *db;
    /* stage(): opens a stage that only the executor can run ($collStats, $indexStats, $currentOp, $out, $merge, ...); takes in (NULL for a
     * stage that makes its documents itself). NULL when there is none: such a stage is then refused. */
    RC (*stage)(void *env, struct qctx *q, const char *name, struct bval spec,
                struct doc_source *in, struct doc_source **out, struct err *e);
    /* check_stage(): the same stages, at parse time. May be NULL. */
    RC (*check_stage)(void *env, struct qctx *q, const char *name, struct bval spec, struct err *e);
    /* open_collection(): documents of the collection or view db.coll that match filter (it and q outlive *out). A missing collection is empty. */
    RC (*open_collection)(void *env, struct qctx *q, struct slice coll, struct bdoc filter,
                          struct doc_source **out, struct err *e);
};

struct pipeline;
enum pipeline_flags {
    PIPELINE_UPDATE = 1, /* only the stages that an update allows */
    PIPELINE_SUB = 2,    /* inside of $lookup or $unionWith */
    PIPELINE_FACET = 4,
    PIPELINE_UNION = 8, /* with PIPELINE_SUB: inside of $unionWith */
    PIPELINE_VIEW = 16, /* a view's definition */
    /* a view's stages and those over it, which were parsed alone before */
    PIPELINE_BEHIND_VIEW = 32,
    PIPELINE_SAME = 64, /* a sub-pipeline over what the command's own collection holds */
};

RC pipeline_parse(struct qctx *q, struct bdoc array, unsigned flags, const struct agg_env *env,
                  struct pipeline **out, struct err *e);
/* pipeline_leading(): (filter may be given with no stage that it covers: all that the stages need passes it) what the executor can push into the collection scan: leading $match (as a filter), $sort, $limit after $sort, and the number of stages that this consumed.
 * The executor passes `skip_stages` to pipeline_run() accordingly. deps: whether the pipeline needs whole documents. */
struct pipeline_lead {
    struct bdoc filter;  /* BDOC_EMPTY if none */
    int n_filter_stages; /* stages covered by filter */
    struct bval sort;    /* document, or missing */
    int n_sort_stages;   /* further stages covered if the scan delivers this order */
    /* 0 = none: at most so many documents are needed from the scan after filter and sort */
    int64_t limit;
};
void pipeline_leading(const struct pipeline *p, struct pipeline_lead *out);
/* pipeline_run(): takes source (closed with the result). */
RC pipeline_run(const struct pipeline *p, struct qctx *q, const struct agg_env *env,
                struct doc_source *source, int skip_stages, struct doc_source **out, struct err *e);
/* What stands where: a first stage that needs no collection ($documents, $currentOp, ...); a last one that writes. */
bool pipeline_has_source(const struct pipeline *p);
bool pipeline_writes(const struct pipeline *p);
/* without the dollar; NULL past the end */
const char *pipeline_stage_name(const struct pipeline *p, int i);
struct bval pipeline_stage_spec(const struct pipeline *p, int i);
/* For update.h: a pipeline as an update. The parse makes `c` part of q->let. */
RC pipeline_update_parse(struct qctx *q, struct bdoc array, struct bval constants, void **out,
                         struct err *e);
RC pipeline_update_apply(void *pipeline, struct qctx *q, struct bdoc doc, struct bdoc *out,
                         struct err *e);
/* pipeline_collections(): calls fn for each foreign collection it reads ($lookup, ...), for privileges. */
void pipeline_collections(const struct pipeline *p, void (*fn)(struct slice coll, void *arg),
                          void *arg);
/* pipeline_to_bson(): stages as parsed, for explain. */
struct bdoc pipeline_to_bson(const struct pipeline *p, struct arena *a);

/* Sort keys, shared with find (compatibility 8). */
struct sort_spec;
RC sort_spec_parse(struct qctx *q, struct bdoc spec, struct sort_spec **out, struct err *e);
/* false past the last */
bool sort_spec_key(const struct sort_spec *s, int i, struct slice *path, int *dir);
/* sort_source(): sorts source (spilling as env allows); limit 0 = all, else top-k. */
RC sort_source(const struct sort_spec *s, struct qctx *q, const struct agg_env *env,
               struct doc_source *source, int64_t limit, struct doc_source **out, struct err *e);

#endif
