/* update_priv.h - a parsed update: a tree of path components with one modification at each leaf, shared by the files of query/update. */
#ifndef QUERY_UPDATE_PRIV_H
#define QUERY_UPDATE_PRIV_H

#include "bsonx/bw.h"
#include "query/update.h"

enum {
    UPDATE_DOC_MAX = 16 * 1024 * 1024, /* bytes of the result */
    UPDATE_PAD_MAX = 1500000,          /* nulls that one update adds to an array */
    UPDATE_PATH_PARTS_MAX = 200,
};

enum update__op {
    MOD_SET,
    MOD_SET_ON_INSERT,
    MOD_UNSET,
    MOD_INC,
    MOD_MUL,
    MOD_MIN,
    MOD_MAX,
    MOD_RENAME_FROM,
    MOD_RENAME_TO,
    MOD_CURRENT_DATE,
    MOD_BIT,
    MOD_PUSH,
    MOD_ADD_TO_SET,
    MOD_POP,
    MOD_PULL,
    MOD_PULL_ALL,
};

struct update__path {
    struct slice text;
    const struct slice *parts;
    int n;
};

struct update__sort_key {
    struct update__path path;
    bool descending;
};

struct update__bit {
    char op; /* 'a'nd, 'o'r, 'x'or */
    struct bval operand;
};

enum update__pull {
    PULL_EQUAL,
    PULL_VALUE /* a condition on the element */,
    PULL_DOC /* a query on elements that are documents */
};

struct update__mod {
    enum update__op op;
    struct update__path path;
    struct bval operand;
    const struct collator *collator;
    /* $rename */
    struct update__path from; /* MOD_RENAME_TO */
    /* $currentDate */
    bool timestamp;
    /* $bit */
    const struct update__bit *bits;
    int n_bits;
    /* $push, $addToSet, $pullAll */
    const struct bval *each;
    int n_each;
    bool has_position, has_slice, has_sort, sort_whole, sort_descending;
    int64_t position, slice;
    const struct update__sort_key *sort;
    int n_sort;
    /* $pop */
    bool pop_first;
    /* $pull */
    enum update__pull pull;
    struct match *match;
};

struct update__filter { /* arrayFilters */
    struct slice id;
    struct match *match;
    bool used;
};

enum update__kind {
    NODE_FIELD,
    NODE_POSITIONAL /* $ */,
    NODE_ALL /* $[] */,
    NODE_FILTERED /* $[id] */
};

struct update__node {
    enum update__kind kind;
    struct slice name;
    bool numeric; /* NODE_FIELD: name is an array index */
    uint32_t index;
    const struct update__filter *filter;
    struct update__mod *mod;        /* a leaf */
    struct update__node **children; /* by name, indexes by number */
    int n, cap;
};

enum update__style { UPDATE_OPERATORS, UPDATE_REPLACEMENT, UPDATE_PIPELINE };

struct update {
    enum update__style style;
    struct update__node *root;
    struct update__mod **renames; /* MOD_RENAME_TO */
    int n_renames;
    struct bdoc replacement;
    void *pipeline;
    RC (*pipeline_apply)(void *pipeline, struct qctx *q, struct bdoc doc, struct bdoc *out,
                         struct err *e);
    int depth; /* levels that the update can add */
};

struct update__apply {
    const struct update *u;
    struct qctx *q;
    const struct match_hit *hit; /* NULL: none */
    bool inserting;
    struct bdoc root; /* the document as it was */
};

/* paths.c */
RC update__path_parse(struct arena *a, struct slice text, struct update__path *out, struct err *e);
bool update__index(struct slice name, uint32_t *out); /* a decimal index without leading zeros */
int update__name_cmp(struct slice a, struct slice b);
/* update__path_get(): through documents only. *blocked: an array or a scalar stands in the way (its value), else missing. */
struct bval update__path_get(struct bdoc d, const struct update__path *p, struct bval *blocked);
int update__value_depth(struct bval v);

/* mods_parse.c, mods_array_parse.c */
RC update__mod_parse(struct qctx *q, struct update__mod *m, struct slice op, struct err *e);
RC update__push_parse(struct qctx *q, struct update__mod *m, struct err *e);
RC update__add_to_set_parse(struct qctx *q, struct update__mod *m, struct err *e);
RC update__pop_parse(struct update__mod *m, struct err *e);
RC update__pull_parse(struct qctx *q, struct update__mod *m, struct err *e);
RC update__pull_all_parse(struct qctx *q, struct update__mod *m, struct err *e);
const char *update__op_name(enum update__op op);
bool update__is_operator(struct slice name);

/* mods_apply.c: *out is the new value in q->scratch; missing means that the field goes; *keep that it stays as it is. */
RC update__mod_apply(struct update__apply *a, const struct update__mod *m, struct bval old,
                     struct bval *out, bool *keep, struct err *e);
bool update__mod_creates(const struct update__apply *a, const struct update__mod *m);
/* update__mod_needs_path(): a value that stands in the way is an error although nothing would be created. */
bool update__mod_needs_path(const struct update__mod *m);
RC update__array_apply(struct update__apply *a, const struct update__mod *m, struct bval old,
                       struct bval *out, bool *keep, struct err *e);

/* tree.c */
RC update__tree_add(struct arena *a, struct update__node *root, struct update__mod *m,
                    struct update__filter *filters, int n_filters, struct err *e);
RC update__tree_apply(struct update__apply *a, struct bdoc doc, struct bw *w, struct err *e);

#endif
