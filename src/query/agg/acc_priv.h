/* acc_priv.h - accumulators of $group, $bucketAuto and windows: parsed once, a state for each group.
 *
 * A document's contribution is one value (acc_eval()), so that it can be spilled and added later; for $top and its kin that value is an
 * array: the sort keys, then the output.
 */
#ifndef QUERY_AGG_ACC_PRIV_H
#define QUERY_AGG_ACC_PRIV_H

#include "agg_priv.h"
#include "query/accum.h"
#include "query/sortby.h"

enum acc_kind {
    ACC_ADD_TO_SET,
    ACC_AVG,
    ACC_BOTTOM,
    ACC_BOTTOM_N,
    ACC_CONCAT_ARRAYS,
    ACC_COUNT,
    ACC_FIRST,
    ACC_FIRST_N,
    ACC_LAST,
    ACC_LAST_N,
    ACC_MAX,
    ACC_MAX_N,
    ACC_MEDIAN,
    ACC_MERGE_OBJECTS,
    ACC_MIN,
    ACC_MIN_N,
    ACC_PERCENTILE,
    ACC_PUSH,
    ACC_SET_UNION,
    ACC_DEV_POP,
    ACC_DEV_SAMP,
    ACC_SUM,
    ACC_TOP,
    ACC_TOP_N
};

struct acc {
    enum acc_kind kind;
    const char *name;
    struct slice field;     /* where the result goes */
    struct expr *arg;       /* NULL: none ($count) */
    struct expr *n;         /* of the ...N kinds */
    struct sort_spec *sort; /* $top and $bottom */
    const struct collator *collator;
    double *p; /* $percentile, $median */
    uint32_t n_p;
};

struct acc_state {
    union {
        struct num_sum sum;
        struct num_dev dev;
        struct vals list;
        struct valset set;
        struct {
            double *v;
            uint32_t n, cap;
        } nums;
        struct {
            uint8_t *p;
            uint32_t cap;
            struct bval v;
            bool has;
        } one;
        int64_t count;
    } u;
    int64_t n; /* of the ...N kinds */
};

/* acc_parse(): name is with the dollar. 15952 for an unknown one. */
RC acc_parse(struct qctx *q, struct slice field, struct slice name, struct bval arg,
             struct acc *out, struct err *e);
/* acc_parse_field(): {field: {$op: arg}} with the checks of $group's fields (40234..40238). */
RC acc_parse_field(struct qctx *q, struct slice field, struct bval spec, struct acc *out,
                   struct err *e);
bool acc_is_name(struct slice name);
/* acc_init(): key is the group's _id: an n may depend on it. n_code is the error of a bad n. */
RC acc_init(const struct acc *a, struct acc_state *st, struct arena *mem, struct qctx *q,
            struct bval key, struct err *e);
RC acc_eval(const struct acc *a, struct qctx *q, struct bdoc doc, struct bval *out, struct err *e);
/* acc_add(): copies what it keeps to mem. */
RC acc_add(const struct acc *a, struct acc_state *st, struct arena *mem, struct bval v,
           struct err *e);
RC acc_result(const struct acc *a, struct acc_state *st, struct arena *out_mem, struct bval *out,
              struct err *e);

#endif
