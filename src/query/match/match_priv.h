/* match_priv.h - what the files of query/match share: the private halves of nodes, the parser's state, entry points between files. */
#ifndef QUERY_MATCH_PRIV_H
#define QUERY_MATCH_PRIV_H

#include "query/geo.h"
#include "query/match.h"

enum { MATCH_DEPTH_MAX = 100 };

/* ---- private halves (struct match_node.impl) ---- */

struct match__regex;  /* regex.c */
struct match__schema; /* schema.c */

/* A set of BSON types: bit t for types 0x01 to 0x13, and the two keys. */
struct match__types {
    uint32_t bits;
    bool min_key, max_key;
};

enum match__bits_kind { BITS_ALL_SET, BITS_ALL_CLEAR, BITS_ANY_SET, BITS_ANY_CLEAR };
struct match__bits {
    enum match__bits_kind kind;
    uint64_t low;              /* positions below 64 */
    const uint32_t *positions; /* all positions */
    uint32_t n_positions;
};

/* ---- parsing ---- */

struct match__parser {
    struct qctx *q;
    unsigned flags; /* enum match_flags */
    int depth;
    /* below $or, $nor, $not or $elemMatch: no $near */
    bool below;
    struct match_node *near;
    bool nested; /* inside $elemMatch: no $expr, $text, $where, $jsonSchema */
};

struct match__list {
    struct match_node **v;
    int n, cap;
};

void match__list_push(struct arena *a, struct match__list *l, struct match_node *n);
struct match_node *match__node(struct arena *a, enum match_op op, struct slice path);
/* match__combine(): the nodes of l under op; a list of one under $and or $or is that node itself. */
struct match_node *match__combine(struct arena *a, enum match_op op, const struct match__list *l);
/* match__in(): values are sorted in place and made unique; one value and no regexes make an equality, nothing at all MATCH_FALSE. */
struct match_node *match__in(const struct qctx *q, struct slice path, struct bval *values, int n,
                             const struct match__list *regexes);
struct match_node *match__not(struct arena *a, struct match_node *child);
/* match__parse_filter(): appends one conjunct for each predicate of filter. */
RC match__parse_filter(struct match__parser *p, struct bdoc filter, struct match__list *out,
                       struct err *e);
/* match__parse_ops(): {$gt: 1, ...} on a path; a path without parts is the value itself (inside value $elemMatch). */
RC match__parse_ops(struct match__parser *p, struct slice path, struct bdoc ops,
                    struct match__list *out, struct err *e);
/* match__is_operator_doc(): its first name starts with $ and it is no DBRef. */
bool match__is_operator_doc(struct bval v);
RC match__enter(struct match__parser *p, struct err *e); /* p->depth + 1, bounded */

RC match__bits_parse(struct match__parser *p, enum match__bits_kind kind, struct slice name,
                     struct bval v, struct match__bits **out, struct err *e);
RC match__types_parse(struct bval v, struct slice name, struct match__types *out, struct err *e);
bool match__types_has(const struct match__types *t, uint8_t type);
RC match__regex_parse(struct qctx *q, struct slice pattern, struct slice flags,
                      struct match__regex **out, struct err *e);
RC match__schema_parse(struct match__parser *p, struct bval v, struct match__schema **out,
                       struct err *e);

/* ---- evaluating ---- */

struct match__eval {
    struct qctx *q;
    struct err *e;
    bool failed; /* e is set; every result is void */
    uint32_t steps;
    /* the nearest value that the walk of a $near met */
    double distance;
    struct bval nearest;
};

/* match__test(): the node's predicate on one value, no path and no array crossed. */
bool match__test(struct match__eval *ev, const struct match_node *n, struct bval v);
bool match__bits_test(const struct match__bits *b, struct bval v);
bool match__regex_test(struct match__eval *ev, const struct match__regex *r, struct bval v);
bool match__regex_run(struct match__eval *ev, const struct match__regex *r, struct slice text);
bool match__schema_test(struct match__eval *ev, const struct match__schema *s, struct bdoc doc);
void match__regex_source(const struct match__regex *r, struct slice *pattern, struct slice *flags);
bool match__node_equal(const struct match_node *a, const struct match_node *b);

#endif
