/* window_priv.h - $setWindowFields: functions over the neighbours of each document in its partition. */
#ifndef QUERY_AGG_WINDOW_PRIV_H
#define QUERY_AGG_WINDOW_PRIV_H

#include "acc_priv.h"
#include "query/dateunit.h"

enum window_kind {
    WIN_ACC,
    WIN_COV_POP,
    WIN_COV_SAMP,
    WIN_DENSE_RANK,
    WIN_DERIVATIVE,
    WIN_DOC_NUMBER,
    WIN_EXP_AVG,
    WIN_INTEGRAL,
    WIN_LINEAR_FILL,
    WIN_LOCF,
    WIN_RANK,
    WIN_SHIFT
};

enum bound_kind { BOUND_UNBOUNDED, BOUND_CURRENT, BOUND_OFFSET };

struct window_bound {
    enum bound_kind kind;
    int64_t n;     /* documents, or units of time */
    struct bval v; /* of a range: what is added to the sort key */
};

struct window_frame {
    bool range; /* by the sort key's value, not by position */
    bool has_unit;
    enum date_unit unit;
    struct window_bound lo, hi;
};

struct window_fn {
    enum window_kind kind;
    const char *name;
    const struct slice *parts; /* where the result goes */
    int n_parts;
    struct window_frame frame;
    struct acc acc;     /* WIN_ACC */
    struct expr *x, *y; /* the input; the second of a covariance */
    int64_t by;         /* $shift */
    struct bval fallback;
    bool has_unit; /* $derivative, $integral */
    enum date_unit unit;
    double alpha; /* $expMovingAvg */
};

struct windows {
    struct expr *partition;  /* NULL: one partition */
    struct sort_spec *sort;  /* NULL: none */
    struct sort_spec *order; /* of {p: partition, d: document}; NULL: as they come */
    struct window_fn *fns;
    int n;
};

RC window__parse_fn(struct qctx *q, const struct windows *w, struct slice path, struct bval spec,
                    struct window_fn *fn, struct err *e);

/* A partition while its documents are given out. */
struct window_row {
    struct bdoc doc;
    struct bval key; /* the first sort key */
    struct bval *x, *y;
};

struct window_state {
    struct acc_state acc;
    bool started;
    uint32_t upto; /* rows added so far, of a frame that starts with the partition */
    int32_t rank;
    struct bval last;
};

struct window_part {
    struct qctx *q;
    struct arena *mem; /* rows, and states that grow with them */
    struct window_row *rows;
    uint32_t n, cap;
    struct window_state *st;
};

/* window__check_key(): whether a range can be counted from this sort key. 5429414, 5429513. */
RC window__check_key(const struct window_fn *fn, struct bval key, struct err *e);
/* window__value(): of row i; rows are asked for in order. The value lives in q->scratch or with the partition. */
RC window__value(struct window_part *p, const struct window_fn *fn, struct window_state *st,
                 uint32_t i, struct bval *out, struct err *e);

#endif
