/* num_priv.h - numbers of mixed types: sums that keep their type, and rounding. */
#ifndef QUERY_EXPR_NUM_PRIV_H
#define QUERY_EXPR_NUM_PRIV_H

#include "bsonx/dec.h"
#include "expr_priv.h"

/* The wider of two number types: int < long < double < decimal. */
enum btype num__widest(enum btype a, enum btype b);

/* num__add(): into a running sum; see struct num_sum in query/accum.h. */
struct num_sum;

/* num__to_long(): coercion as MongoDB's coerceToLong: 16004 for a non-number, 31109 for what int64 cannot hold. */
RC num__to_long(struct bval v, int64_t *out, struct err *e);
/* num__to_int32(): a double or decimal only when integral; false otherwise. */
bool num__to_i32(struct bval v, int32_t *out);

#endif
