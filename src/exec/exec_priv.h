/* exec_priv.h - intervals, plans and iterators. */
#ifndef EXEC_PRIV_H
#define EXEC_PRIV_H

#include "base/clock.h"
#include "base/mem.h"
#include "bsonx/bw.h"
#include "exec/exec.h"
#include "query/collate.h"
#include "query/geo.h"

/* One interval of a field in the ascending encoding, as byte prefixes: lo inclusive, hi exclusive. The values beside them are for explain. */
struct interval {
    struct slice lo, hi;
    struct bval v_lo, v_hi;
    bool lo_incl, hi_incl;
    bool point;
};

/* What is known of one index field: sorted, disjoint intervals. */
struct field_bounds {
    struct interval *v;
    int n;
    bool full; /* no restriction */
    int n_predicates;
    /* of the index, when that is known better than by the number of intervals; else 0 */
    double share;
};

struct key_range {
    struct slice lo, hi; /* whole store keys, ident included; hi exclusive */
};

enum plan_kind { PLAN_EOF, PLAN_COLLSCAN, PLAN_IDHACK, PLAN_IXSCAN, PLAN_OR };

struct plan {
    enum plan_kind kind;
    struct index_def *index;     /* borrowed from the exec's list */
    struct field_bounds *bounds; /* one a field, for explain */
    struct key_range *ranges;
    int n_ranges;
    bool backward;
    bool covered;  /* documents are made from the keys */
    bool multikey; /* de-duplicate by record id */
    bool gives_sort;
    bool point; /* one key of a unique index */
    int n_bound_fields;
    double cost;
    struct plan **sub; /* PLAN_OR */
    int n_sub;
    /* PLAN_OR's branches: nothing; the whole filter is checked above */
    const struct match *match;
};

/* bounds.c */
RC exec__field_bounds(struct qctx *q, struct arena *a, const struct match_node *root,
                      const struct index_def *d, int field, struct field_bounds *out);
struct field_bounds exec__full(struct arena *a);
RC exec__ranges(struct arena *a, const struct index_def *d, const struct field_bounds *b,
                struct key_range **out, int *n, int *n_used);
bool exec__is_point(const struct field_bounds *b);

/* plan.c */
struct planner {
    const struct exec_spec *s;
    struct arena *a;
    struct coll_indexes *indexes;
    bool natural; /* {$natural: ..} in sort or hint */
    int natural_dir;
    struct bdoc sort; /* BDOC_EMPTY when natural */
    bool filtered;    /* by an index filter: to the indexes that `allowed` names */
    struct bdoc allowed;
};
RC exec__plan(struct planner *p, struct plan **out, struct err *e);

/* env.c */
struct exec_env_state {
    struct agg_env agg;
    struct catalog *cat;
    const struct exec_stages *stages;
    int view_depth; /* views that are being read one inside of the other */
};

/* foreign.c: the open_collection() of struct agg_env; env is an exec_env_state. */
RC exec__foreign_open(void *env, struct qctx *q, struct slice coll, struct bdoc filter,
                      struct doc_source **out, struct err *e);

/* filters.c: exec__filter_find(): whether the query's shape has one; *indexes lives in a. */
bool exec__filter_find(const struct exec_spec *s, struct arena *a, struct bdoc *indexes);
bool exec__filter_allows(struct bdoc indexes, const struct index_def *d);

/* ridset.c: record ids seen */
struct ridset {
    uint64_t *v;
    size_t n, cap;
};
bool ridset_add(struct ridset *s, uint64_t rid); /* false when it was there */
void ridset_fini(struct ridset *s);

/* scan.c */
struct scan;
struct scan *exec__scan_new(struct exec *x, const struct plan *p);
RC exec__scan_next(struct scan *s, struct exec_row *row, bool *valid, struct err *e);
void exec__scan_close(struct scan *s);

struct exec {
    struct exec_spec s;
    struct qctx q; /* the spec's with a scratch of our own */
    struct arena *scratch;
    struct store *store;
    struct store_snapshot *snap;
    struct coll_indexes *indexes;
    struct plan *plan;
    struct scan *scan;
    bool filtered;     /* by an index filter */
    bool check_filter; /* false when the plan proves it (IDHACK) */
    bool blocking_sort;
    bool by_distance; /* the sort is by the filter's $near */
    struct sort_spec *sort_spec;
    struct doc_source *sorted;
    int64_t skipped, returned;
    struct exec_stats stats;
    struct buf row_buf;
    /* return_key: the last entry's key as a document; empty when there is none */
    struct buf key_doc;
    struct store_pin pin;
    bool done;
};

#endif
