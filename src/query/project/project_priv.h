/* project_priv.h - a parsed projection: a tree of path components, shared by the parser and the evaluator. */
#ifndef QUERY_PROJECT_PRIV_H
#define QUERY_PROJECT_PRIV_H

#include "bsonx/bw.h"
#include "query/project.h"

enum { PROJECT_PATH_PARTS_MAX = 200 };

enum project__leaf {
    LEAF_NONE, /* an inner node */
    LEAF_INCLUDE,
    LEAF_EXCLUDE,
    LEAF_EXPR,
    LEAF_SLICE,
    LEAF_ELEM_MATCH,
};

struct project__node {
    struct slice name;
    enum project__leaf leaf;
    bool computed; /* an expression stands here or below */
    /* on the path of "a.b.$": the first array met is cut to the element that the query found */
    bool positional;
    struct expr *expr;
    /* LEAF_SLICE; has_skip: [skip, limit], else the first (or last, negative) limit */
    int64_t skip, limit;
    bool has_skip;
    struct match *match;             /* LEAF_ELEM_MATCH: {name: {$elemMatch: ...}} */
    struct project__node **children; /* in the order of the specification */
    int n, cap;
    /* Of a node with many children: their numbers + 1 by the hash of the name, 0 where there is none; twice as long as `children`, a power of 2. */
    int32_t *slots;
};

enum project__mode { MODE_INCLUDE, MODE_EXCLUDE, MODE_ADD };

struct project {
    enum project__mode mode;
    struct project__node *root;
    bool positional;
    bool empty; /* the find projection {}: every document as it is */
};

int project__find(const struct project__node *n, struct slice name);

#endif
