/* agg_priv.h - parsed stages, running stages, and the helpers they share.
 *
 * Scratch  The executor rewinds q->scratch between results. So an iterator keeps nothing there across next() calls; one that pulls many
 *          documents in a next() marks and rewinds around each.
 */
#ifndef QUERY_AGG_PRIV_H
#define QUERY_AGG_PRIV_H

#include "base/mem.h"
#include "query/agg.h"
#include "query/vals.h"

enum {
    PIPELINE_STAGES_MAX = 1000,
    PIPELINE_DEPTH_MAX = 20,
    DOC_BYTES_MAX = 16 * 1024 * 1024 + 16 * 1024
};
enum { DEFAULT_MEMORY_LIMIT = 100 * 1024 * 1024 };

struct stage;
struct stage_def;

struct stage_run {
    struct qctx *q;
    const struct agg_env *env;
};

struct stage_parser {
    struct qctx *q;
    const struct agg_env *env;
    unsigned flags;     /* enum pipeline_flags */
    int depth;          /* of sub-pipelines */
    int index;          /* of the stage being parsed */
    bool last;          /* it is the pipeline's last */
    struct pipeline *p; /* what parse() appends to */
};

enum stage_flags {
    STAGE_FIRST = 1,      /* only first (40602) */
    STAGE_SOURCE = 2,     /* makes documents itself, reads no input */
    STAGE_NO_FACET = 4,   /* not in $facet (40600) */
    STAGE_UPDATE = 8,     /* allowed in an update */
    STAGE_LAST = 16,      /* only last (40601); writes */
    STAGE_NO_SUB = 32,    /* not in $lookup (51047) or $unionWith (31441) */
    STAGE_EXECUTOR = 64,  /* run by agg_env.stage */
    STAGE_NO_META = 128,  /* its documents are new ones: metadata ends here */
    STAGE_BLIND = 512,    /* nor does it see any */
    STAGE_NO_VIEW = 1024, /* not in a view's definition (73, 40573): it is about no collection */
    STAGE_HYBRID = 256,   /* only first (10170100), though a view's stages may stand before it */
};

typedef RC (*stage_parse_fn)(struct stage_parser *sp, const struct stage_def *def, struct bval spec,
                             struct err *e);
/* open: takes in (also on failure). */
typedef RC (*stage_open_fn)(const struct stage *s, const struct stage_run *r, struct doc_source *in,
                            struct doc_source **out, struct err *e);

struct stage_def {
    const char *name; /* without the dollar */
    unsigned flags;
    stage_parse_fn parse;
    stage_open_fn open;
    int aux;
    unsigned gives; /* enum query_meta: metadata of its documents */
};

struct stage {
    const struct stage_def *def;
    struct bval spec; /* as written, or as desugared */
    void *data;       /* parsed; the stage's own */
    stage_open_fn open;
    struct slice from;      /* foreign collection, or empty */
    struct pipeline **subs; /* sub-pipelines, for pipeline_collections() */
    int n_subs;
    struct expr **exprs; /* expressions whose paths the stage reads: for dependencies */
};

struct pipeline {
    struct stage *stages;
    int n, cap;
    struct arena *arena;
    struct bdoc spec; /* the array as written */
};

const struct stage_def *stage_def_find(struct slice name);
const struct stage_def *stage_def_table(int *n); /* for the test that it is sorted */
struct stage *pipeline__add(struct stage_parser *sp, const struct stage_def *def, struct bval spec,
                            void *data);
/* pipeline__add_spec(): parses a stage that another one is made of ({$group: ...} of $sortByCount). */
RC pipeline__add_spec(struct stage_parser *sp, struct bdoc stage, struct err *e);
/* pipeline__parse_sub(): a nested pipeline, one level deeper. */
RC pipeline__parse_sub(struct stage_parser *sp, struct qctx *q, struct bdoc array, unsigned flags,
                       struct pipeline **out, struct err *e);
/* tells each $sort how many documents are wanted of it */
void pipeline__fuse_limits(struct pipeline *p);
RC pipeline__run(const struct pipeline *p, const struct stage_run *r, struct doc_source *source,
                 int skip, struct doc_source **out, struct err *e);

/* Evaluates x with doc as $$ROOT and $$CURRENT. */
RC stage__eval(const struct expr *x, struct qctx *q, struct bdoc doc, struct bval *out,
               struct err *e);
/* stage__check_made(): a document that a stage built nests no deeper than readers bear. */
RC stage__check_made(struct bdoc d, struct err *e);
static inline size_t stage__memory(const struct stage_run *r)
{
    return r->env && r->env->memory_limit ? r->env->memory_limit : DEFAULT_MEMORY_LIMIT;
}
/* stage__spill_at(): from how many bytes on a stage that can spill does: early when the requests of all clients together hold much. */
static inline size_t stage__spill_at(const struct stage_run *r)
{
    return arena_scarce() ? MIN(stage__memory(r), (size_t)ARENA_FEW) : stage__memory(r);
}
/* stage__may_spill(): 292 when disk use is not allowed. */
RC stage__may_spill(const struct stage_run *r, const char *what, struct err *e);

/* Iterators. iter_new() makes one of size bytes whose first member is a struct iter; close() frees it and its input. */
struct iter {
    struct doc_source src; /* must be first */
    struct doc_source *in;
    struct stage_run r;
    const struct stage *s;
    void (*fini)(struct iter *it);
};
typedef RC (*iter_next_fn)(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e);
void *iter_new(size_t size, const struct stage *s, const struct stage_run *r, struct doc_source *in,
               iter_next_fn next, void (*fini)(struct iter *it));
static inline RC iter_pull(struct iter *it, struct bdoc *doc, bool *valid, struct err *e)
{
    return it->in->next(it->in, doc, valid, e);
}
struct doc_source *source_empty(void);
/* source_docs(): the n documents (borrowed). */
struct doc_source *source_docs(const struct bdoc *docs, uint32_t n);

/* A document that is kept, and its metadata (.p NULL: none). */
struct kept_doc {
    struct bdoc doc, meta;
};
static inline struct bdoc bdoc_keep(struct arena *a, struct bdoc d)
{
    return d.p ? (struct bdoc){ .p = arena_dup(a, d.p, d.len), .len = d.len } : d;
}

/* A growing list of documents, with their metadata, that spills: written once, read often. */
struct docbuf {
    struct stage_run r;
    struct arena *arena;
    struct kept_doc *docs;
    uint32_t n, cap, at;
    void *file;        /* what did not fit, behind docs; NULL if all did */
    struct buf rec[2]; /* the record being read, and its metadata */
    bool reading_file;
    const char *what;
};
void docbuf_init(struct docbuf *b, const struct stage_run *r, const char *what);
void docbuf_fini(struct docbuf *b);
RC docbuf_add(struct docbuf *b, struct bdoc d, struct err *e);
RC docbuf_rewind(struct docbuf *b, struct err *e);
/* docbuf_next(): the document's metadata becomes the query's. */
RC docbuf_next(struct docbuf *b, struct bdoc *doc, bool *valid, struct err *e);
/* docbuf_fill(): adds all that in has. */
RC docbuf_fill(struct docbuf *b, struct doc_source *in, struct err *e);
/* docbuf_source(): reads b, which outlives it, from the front. */
RC docbuf_source(struct docbuf *b, struct doc_source **out, struct err *e);
/* Records of a spill file: length, then bytes. */
RC spill_write_doc(const struct agg_spill_ops *ops, void *file, struct bdoc d, struct err *e);
RC spill_read_doc(const struct agg_spill_ops *ops, void *file, struct buf *rec, struct bdoc *doc,
                  bool *valid, struct err *e);
/* The same with metadata, as a second document that is empty when there is none. */
RC spill_write_kept(const struct agg_spill_ops *ops, void *file, struct kept_doc d, struct err *e);
RC spill_read_kept(const struct agg_spill_ops *ops, void *file, struct buf rec[2],
                   struct kept_doc *d, bool *valid, struct err *e);

/* Options documents: {name: value, ...} with unknown names refused. */
struct stage_opt {
    const char *name;
    struct bval *out;
};
RC stage__options(struct bval spec, const char *stage, const struct stage_opt *opts, int n,
                  int unknown_code, struct err *e);

/* Paths that are set or read in documents. */
RC doc_set_path(struct arena *a, struct bdoc doc, const struct slice *parts, int n_parts,
                struct bval v, struct bdoc *out, struct err *e);
/* through documents only */
struct bval doc_plain_path(struct bdoc doc, const struct slice *parts, int n_parts);

/* Sorting. */
struct sort_key_spec {
    const struct slice *parts;
    int n_parts;
    int dir;
    struct slice path;
    bool random;       /* {$meta: "randVal"}: no order of its own */
    struct slice meta; /* {$meta: "score"} and the like; empty: a field */
};
struct sort_spec {
    int n;
    struct sort_key_spec *keys;
    const struct collator *collator;
    struct bdoc spec;
};
/* sort_keys(): n keys of doc, whose metadata is q's; they borrow from both or are static. */
RC sort_keys(const struct sort_spec *s, struct qctx *q, struct bdoc doc, struct bval *keys,
             struct err *e);
/* sort__of_stage(): what a $sort stage sorts by. */
const struct sort_spec *sort__of_stage(const struct stage *s);
int sort_keys_cmp(const struct sort_spec *s, const struct bval *a, const struct bval *b);

#define STAGE_PARSE(name)                                                                          \
    RC name(struct stage_parser *sp, const struct stage_def *def, struct bval spec, struct err *e)
#define STAGE_OPEN(name)                                                                           \
    RC name(const struct stage *s, const struct stage_run *r, struct doc_source *in,               \
            struct doc_source **out, struct err *e)

/* clang-format off */
#define STAGES(X) \
    X(add_fields) X(bucket) X(bucket_auto) X(count) X(densify) X(documents) X(executor) X(facet) X(fill) X(graph_lookup) X(group) \
    X(limit) X(lookup) X(match) X(project) X(rank_fusion) X(redact) X(replace_root) X(replace_with) X(sample) \
    X(set_window_fields) X(skip) X(sort) X(sort_by_count) X(union_with) X(unset) X(unwind)
/* clang-format on */
#define DECLARE_STAGE(name) STAGE_PARSE(stage__parse_##name);
STAGES(DECLARE_STAGE)

#endif
