/* accum.h - what folds many values into one: sums, averages, deviations, picks. Shared by expressions ($sum: [..]), $group and windows.
 *
 * Numbers  Integer sums are exact and widen int, long, double; doubles are summed with compensation; one decimal makes the result decimal.
 * Memory   A kept value is copied to the accumulator's arena.
 */
#ifndef QUERY_ACCUM_H
#define QUERY_ACCUM_H

#include "query/expr.h"
#include "query/vals.h"

/* A sum of numbers of any type. */
struct num_sum {
    enum btype type;  /* the widest type seen; BT_INT32 at first */
    __int128 whole;   /* sum of ints and longs */
    double sum, comp; /* doubles, and what rounding lost */
    double special;   /* the plain sum: tells the kind of infinity or NaN */
    struct dec128 dec;
    int64_t n;
};
void num_sum_init(struct num_sum *s);
void num_sum_add(struct num_sum *s, struct bval v); /* ignores non-numbers */
/* num_avg_add(): for an average, which takes longs as doubles. */
void num_avg_add(struct num_sum *s, struct bval v);
void num_sum_merge(struct num_sum *s, const struct num_sum *o);
/* long results beyond int64 become double */
struct bval num_sum_value(const struct num_sum *s, struct arena *a);
struct bval num_sum_avg(const struct num_sum *s, struct arena *a); /* null of none */
double num_sum_double(const struct num_sum *s);
struct dec128 num_sum_dec(const struct num_sum *s);

/* Mean and deviation by Welford's update. */
struct num_dev {
    int64_t n;
    double mean, m2;
};
void num_dev_add(struct num_dev *d, double v);
void num_dev_merge(struct num_dev *d, const struct num_dev *o);
struct bval num_dev_value(const struct num_dev *d, bool samp, struct arena *a);

/* percentile_of(): nearest-rank percentile of n doubles, sorted in place. */
RC percentiles_of(struct arena *a, double *v, uint32_t n, const double *p, uint32_t n_p,
                  struct bval *out, struct err *e);
/* percentile_p_parse(): the p array; ERR_LOC(7750301) and friends. */
RC percentile_p_parse(struct arena *a, struct bval p, double **out, uint32_t *n, struct err *e);

#endif
