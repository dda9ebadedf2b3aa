/* expr.h - aggregation expressions: parsed once to typed nodes (constants folded), evaluated many times on BSON in place.
 *
 * Errors   MongoDB's codes, of parsing and of evaluation (compatibility 15).
 * Input    The bytes of a specification must live as long as its nodes, which borrow names and constants from them.
 * Memory   Nodes live in qctx.arena; results live in qctx.scratch, in the document, or in the nodes. They are valid until scratch is rewound.
 */
#ifndef QUERY_EXPR_H
#define QUERY_EXPR_H

#include "query/qctx.h"

struct expr;

/* A chain of user variables ($let, $map, ...), innermost first. */
struct expr_var {
    const struct expr_var *up;
    uint32_t id; /* given at parse time */
    struct bval val;
};

struct expr_env {
    struct qctx *q;
    struct bval root;    /* $$ROOT */
    struct bval current; /* $$CURRENT: what "$a.b" starts at; a document as a rule */
    const struct expr_var *vars;
};

/* expr_parse(): names in scope are the command's let and, inside the expression, what it binds itself. */
RC expr_parse(struct qctx *q, struct bval spec, struct expr **out, struct err *e);
/* Rules of names, shared by stages: a variable that a user may bind ("let"); one path component; a dotted path split into components. */
RC expr_check_var_name(struct slice name, struct err *e);
RC expr_check_field_name(struct slice name, struct err *e);
RC expr_split_path(struct arena *a, struct slice path, const struct slice **parts, int *n,
                   struct err *e);
/* out may be missing */
RC expr_eval(const struct expr *x, struct expr_env *env, struct bval *out, struct err *e);
/* expr_is_operator(): whether "$add" (with its dollar) names an expression. */
bool expr_is_operator(struct slice name);
bool expr_is_const(const struct expr *x, struct bval *val);
/* expr_path(): when x is a plain field path ("$a.b"), its text without the dollar; false otherwise. */
bool expr_path(const struct expr *x, struct slice *path);
bool expr_is_field_path(const struct expr *x); /* any path, of a variable too */
/* expr_deps(): calls fn for each field path that x reads from the document; whole is set when it reads $$ROOT or $$CURRENT whole. */
void expr_deps(const struct expr *x, void (*fn)(struct slice path, void *arg), void *arg,
               bool *whole);

#endif
