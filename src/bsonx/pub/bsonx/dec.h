/* dec.h - decimal128 arithmetic over Intel's BID library (struct dec128 holds BSON's own bits).
 *
 * Rounding Results have 34 digits, rounded half to even. The exponent and the trailing zeros that arithmetic gives are kept.
 * Flags    Operations OR what happened (enum dec_flag) into *flags; NULL when nobody asks.
 * Threads  No state: every call may run on any thread.
 */
#ifndef BSONX_DEC_H
#define BSONX_DEC_H

#include "bsonx/bval.h"

enum dec_flag {
    DEC_INVALID = 0x01,
    DEC_DIV_BY_ZERO = 0x04,
    DEC_OVERFLOW = 0x08,
    DEC_UNDERFLOW = 0x10,
    DEC_INEXACT = 0x20
};
enum dec_round { DEC_HALF_EVEN = 0, DEC_FLOOR = 1, DEC_CEIL = 2, DEC_TRUNC = 3 };
enum { DEC_STR_MAX = 48 };

#define DEC_ZERO ((struct dec128){ .lo = 0, .hi = 0x3040000000000000ull })
#define DEC_NAN ((struct dec128){ .lo = 0, .hi = 0x7c00000000000000ull })
#define DEC_INF ((struct dec128){ .lo = 0, .hi = 0x7800000000000000ull })
#define DEC_NEG_INF ((struct dec128){ .lo = 0, .hi = 0xf800000000000000ull })

/* Text. dec_from_str() takes what the Extended JSON specification allows (digits, point, exponent, Infinity, NaN) and rounds to 34 digits; false: not a number. */
bool dec_from_str(struct slice s, struct dec128 *out, unsigned *flags);
int dec_to_str(struct dec128 d,
               char out[DEC_STR_MAX]); /* as MongoDB prints it; returns the length */

/* Conversion. */
struct dec128 dec_from_i64(int64_t v);
struct dec128 dec_from_double(
    double v); /* to 15 significant digits: what MongoDB does when a double meets a decimal */
struct dec128 dec_from_double_34(double v, enum dec_round r, unsigned *flags);
double dec_to_double(struct dec128 d, unsigned *flags);
/* dec_to_i64(): rounded as r says; false for NaN and out of range. *exact may be NULL. */
bool dec_to_i64(struct dec128 d, enum dec_round r, int64_t *out, bool *exact);
struct dec128 bval_to_dec(struct bval v); /* of any number; a double by dec_from_double() */

bool dec_is_nan(struct dec128 d);
bool dec_is_inf(struct dec128 d);
bool dec_is_neg(struct dec128 d); /* the sign bit */
bool dec_is_zero(struct dec128 d);
/* dec_cmp(): by value, NaN equal to itself and lowest. */
int dec_cmp(struct dec128 a, struct dec128 b);
/* dec_cmp_double(): exactly. */
int dec_cmp_double(struct dec128 a, double b);

struct dec128 dec_add(struct dec128 a, struct dec128 b, unsigned *flags);
struct dec128 dec_sub(struct dec128 a, struct dec128 b, unsigned *flags);
struct dec128 dec_mul(struct dec128 a, struct dec128 b, unsigned *flags);
struct dec128 dec_div(struct dec128 a, struct dec128 b, unsigned *flags);
struct dec128 dec_mod(struct dec128 a, struct dec128 b, unsigned *flags); /* sign of the dividend */
struct dec128 dec_abs(struct dec128 a);
struct dec128 dec_neg(struct dec128 a);
/* dec_quantize(): a with the exponent of like. */
struct dec128 dec_quantize(struct dec128 a, struct dec128 like, enum dec_round r, unsigned *flags);
/* dec_round_place(): to 10^-place; place 2 keeps two decimals, -2 rounds to hundreds. */
struct dec128 dec_round_place(struct dec128 a, int place, enum dec_round r);
struct dec128 dec_integral(struct dec128 a, enum dec_round r);

/* dec_fn(): the functions of one argument. */
enum dec_fn {
    DEC_SQRT,
    DEC_EXP,
    DEC_LN,
    DEC_LOG10,
    DEC_SIN,
    DEC_COS,
    DEC_TAN,
    DEC_ASIN,
    DEC_ACOS,
    DEC_ATAN,
    DEC_SINH,
    DEC_COSH,
    DEC_TANH,
    DEC_ASINH,
    DEC_ACOSH,
    DEC_ATANH,
    DEC_FN_NR
};
struct dec128 dec_fn(enum dec_fn fn, struct dec128 a, unsigned *flags);
struct dec128 dec_pow(struct dec128 a, struct dec128 b, unsigned *flags);
struct dec128 dec_atan2(struct dec128 y, struct dec128 x, unsigned *flags);

#endif
