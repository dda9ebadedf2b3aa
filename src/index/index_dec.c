/* index_dec.c - decimal128 for key encoding: taking apart, and rounding down to a double (Intel's BID library). */
#include "index_priv.h"

#include <math.h>

#define DECIMAL_CALL_BY_REFERENCE 0
#define DECIMAL_GLOBAL_ROUNDING 0
#define DECIMAL_GLOBAL_EXCEPTION_FLAGS 0
#include <bid_conf.h>
#include <bid_functions.h>

#define COEFF_MAX_HI 0x1ed09bead87c0ull /* 10^34 - 1 */
#define COEFF_MAX_LO 0x378d8e63ffffffffull

void index__dec_split(struct dec128 d, struct dec_parts *out)
{
    *out = (struct dec_parts){ .neg = d.hi >> 63 };
    if ((d.hi & 0x7c00000000000000ull) == 0x7c00000000000000ull) {
        out->nan = true;
        return;
    }
    if ((d.hi & 0x7800000000000000ull) == 0x7800000000000000ull) {
        out->inf = true;
        return;
    }
    if ((d.hi & 0x6000000000000000ull) == 0x6000000000000000ull) {
        out->zero = true; /* the large form is never canonical for 128 bits: it stands for zero */
        return;
    }
    uint64_t hi = d.hi & 0x1ffffffffffffull;
    if (hi > COEFF_MAX_HI || (hi == COEFF_MAX_HI && d.lo > COEFF_MAX_LO)) {
        out->zero = true;
        return;
    }
    out->coeff = ((unsigned __int128)hi << 64) | d.lo;
    out->exp = (int)((d.hi >> 49) & 0x3fff) - 6176;
    out->zero = out->coeff == 0;
}

double index__dec_floor(struct dec128 d, bool *exact)
{
    BID_UINT128 x;
    unsigned flags = 0;

    x.w[0] = d.lo;
    x.w[1] = d.hi & 0x7fffffffffffffffull;
    double r = bid128_to_binary64(x, BID_ROUNDING_TO_ZERO, &flags);
    *exact = !(flags & BID_INEXACT_EXCEPTION);
    return r;
}
