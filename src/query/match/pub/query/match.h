/* match.h - query filters (compatibility 7): parsed to typed nodes, evaluated on BSON in place.
 *
 * Planner  The tree is public read-only: the planner (exec) walks struct match_node for bounds. Normalisation: $and flattened, {a: {x, y}}
 *          split to one node a predicate, path components split once.
 */
#ifndef QUERY_MATCH_H
#define QUERY_MATCH_H

#include "query/expr.h"

enum match_op {
    MATCH_AND,
    MATCH_OR,
    MATCH_NOR,
    MATCH_NOT, /* children */
    MATCH_EQ,
    MATCH_GT,
    MATCH_GTE,
    MATCH_LT,
    MATCH_LTE, /* path, operand ($ne is NOT over EQ) */
    MATCH_IN,  /* path, operands sorted, regexes beside */
    MATCH_EXISTS,
    MATCH_TYPE,
    MATCH_REGEX,
    MATCH_SIZE,
    MATCH_MOD,
    MATCH_ALL,
    MATCH_ELEM_MATCH_OBJECT,
    MATCH_ELEM_MATCH_VALUE,
    MATCH_BITS, /* the four $bits operators */
    MATCH_GEO_WITHIN,
    MATCH_GEO_INTERSECTS,
    MATCH_GEO_NEAR, /* at most one, a conjunct of the whole filter */
    MATCH_EXPR,
    MATCH_JSON_SCHEMA,
    MATCH_COMMENT,
    MATCH_TRUE,
    MATCH_FALSE,
    MATCH_OP_NR
};

struct match_node {
    enum match_op op;
    /* dotted; empty for logical nodes and inside value $elemMatch */
    struct slice path;
    const struct slice *parts; /* its components */
    int n_parts;
    struct bval operand;         /* comparison, $mod pair, $size */
    const struct bval *operands; /* MATCH_IN: non-regex values, sorted by bval_cmp, unique */
    int n_operands;
    struct match_node **children; /* logical, $elemMatch, $all's parts, MATCH_IN's regexes */
    int n_children;
    /* compiled regex, expression, schema, type set; private to match */
    void *impl;
};

struct match {
    struct match_node *root;       /* always a MATCH_AND, perhaps empty */
    const struct match_node *near; /* the filter's $near; NULL: none */
    bool uses_positional;          /* some node walks an array: `$` may ask for the index */
};

enum match_flags {
    MATCH_NO_EXPR = 1,
    MATCH_IN_AGG = 2,
    MATCH_PARTIAL_INDEX = 4 /* only what partialFilterExpression allows */
};
RC match_parse(struct qctx *q, struct bdoc filter, unsigned flags, struct match **out,
               struct err *e);

/* What a match leaves behind for the positional operators: the index of the first element that matched the last array condition. */
struct match_hit {
    bool has_index;
    uint32_t index;
    struct slice array_path; /* where it was found */
};
/* match_eval(): hit may be NULL. */
RC match_eval(const struct match *m, struct qctx *q, struct bdoc doc, struct match_hit *hit,
              bool *out, struct err *e);
/* match_distance(): how far the document is by m->near, and (where is not NULL) which of its values is the nearest; false in *has when it has no geometry there. */
RC match_distance(const struct match *m, struct qctx *q, struct bdoc doc, double *out, bool *has,
                  struct bval *where, struct err *e);
/* match_eval_value(): the filter of $pull, arrayFilters: v is what the path "" (or the filter's identifier) stands for. */
RC match_eval_value(const struct match *m, struct qctx *q, struct bval v, bool *out, struct err *e);
/* match_equalities(): calls fn for each path that the filter binds to one value (upsert seeds, IDHACK), compatibility 10. ERR_NOT_SINGLE_VALUE_FIELD on a contradiction. */
RC match_equalities(const struct match *m,
                    RC (*fn)(struct slice path, struct bval v, void *arg, struct err *e), void *arg,
                    struct err *e);
/* match_implies(): true when every document that matches a surely matches b, both parsed and compared as q says (partial indexes). */
bool match_implies(struct qctx *q, const struct match *a, const struct match *b);
/* match_to_bson(): the normalised filter, for explain's parsedQuery. */
struct bdoc match_to_bson(const struct match *m, struct arena *a);

#endif
