/* dec.c - decimal128 over Intel's BID library.
 *
 * The library is linked in the variant that takes rounding mode and flags as arguments (by value, no globals), so the three macros
 * below must stay as they are. struct dec128 has the bits of BSON's decimal128, which are the library's own.
 */
#include "bsonx/dec.h"

#include <math.h>
#include <stdio.h>

#define DECIMAL_CALL_BY_REFERENCE 0
#define DECIMAL_GLOBAL_ROUNDING 0
#define DECIMAL_GLOBAL_EXCEPTION_FLAGS 0
#include <bid_conf.h>
#include <bid_functions.h>

enum { DIGITS = 34, BIAS = 6176, LITERAL_MAX = 8192 };

static BID_UINT128 bid(struct dec128 d)
{
    BID_UINT128 b;

    b.w[0] = d.lo;
    b.w[1] = d.hi;
    return b;
}

static struct dec128 unbid(BID_UINT128 b)
{
    return (struct dec128){ .lo = b.w[0], .hi = b.w[1] };
}

static void note(unsigned *flags, unsigned f)
{
    if (flags)
        *flags |= f;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool eq_nocase(struct slice s, const char *lit)
{
    if (s.len != strlen(lit))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if ((s.p[i] | 0x20) != (uint8_t)lit[i])
            return false;
    }
    return true;
}

/* literal_ok(): [digits][.digits][(e|E)[sign]digits] with a digit in the mantissa. */
static bool literal_ok(struct slice s)
{
    size_t i = 0, digits = 0;

    for (; i < s.len && is_digit(s.p[i]); i++)
        digits++;
    if (i < s.len && s.p[i] == '.') {
        for (i++; i < s.len && is_digit(s.p[i]); i++)
            digits++;
    }
    if (digits == 0)
        return false;
    if (i == s.len)
        return true;
    if ((s.p[i] | 0x20) != 'e')
        return false;
    i++;
    if (i < s.len && (s.p[i] == '+' || s.p[i] == '-'))
        i++;
    digits = 0;
    for (; i < s.len && is_digit(s.p[i]); i++)
        digits++;
    return i == s.len && digits > 0;
}

bool dec_from_str(struct slice s, struct dec128 *out, unsigned *flags)
{
    char text[LITERAL_MAX + 2];
    struct slice body = s;
    bool neg = false;
    unsigned f = 0;

    *out = DEC_ZERO;
    if (s.len == 0)
        return false;
    if (s.p[0] == '+' || s.p[0] == '-') {
        neg = s.p[0] == '-';
        body = SLICE(s.p + 1, s.len - 1);
    }
    while (body.len > 1 && body.p[0] == '0' && is_digit(body.p[1]))
        body = SLICE(body.p + 1, body.len - 1);
    if (body.len >= LITERAL_MAX)
        return false;
    if (eq_nocase(body, "inf") || eq_nocase(body, "infinity")) {
        *out = neg ? DEC_NEG_INF : DEC_INF;
        return true;
    }
    if (eq_nocase(body, "nan")) {
        *out = neg ? dec_neg(DEC_NAN) : DEC_NAN;
        return true;
    }
    if (!literal_ok(body))
        return false;
    text[0] = neg ? '-' : '+';
    memcpy(text + 1, body.p, body.len);
    text[body.len + 1] = 0;
    *out = unbid(bid128_from_string(text, BID_ROUNDING_TO_NEAREST, &f));
    note(flags, f);
    return true;
}

/* split(): coefficient and exponent of a finite value; a coefficient past 34 digits counts as zero (IEEE 754-2008 3.5.2). */
static unsigned __int128 split(struct dec128 d, int *exponent)
{
    uint64_t hi = d.hi;
    unsigned __int128 c;
    static const unsigned __int128 limit =
        (unsigned __int128)100000000000000000ull * 100000000000000000ull; /* 10^34 */

    if (((hi >> 61) & 3) == 3) { /* the large-coefficient form: never canonical in 128 bits */
        *exponent = (int)((hi >> 47) & 0x3fff) - BIAS;
        return 0;
    }
    *exponent = (int)((hi >> 49) & 0x3fff) - BIAS;
    c = ((unsigned __int128)(hi & 0x1ffffffffffffull) << 64) | d.lo;
    return c < limit ? c : 0;
}

int dec_to_str(struct dec128 d, char out[DEC_STR_MAX])
{
    char digits[DIGITS + 1];
    int n = 0, exponent, sci;
    char *o = out;
    unsigned __int128 c;

    if (dec_is_nan(d))
        return snprintf(out, DEC_STR_MAX, "NaN");
    if (dec_is_inf(d))
        return snprintf(out, DEC_STR_MAX, "%sInfinity", dec_is_neg(d) ? "-" : "");
    c = split(d, &exponent);
    do {
        digits[DIGITS - 1 - n++] = (char)('0' + (int)(c % 10));
        c /= 10;
    } while (c > 0 && n < DIGITS);
    const char *first = digits + DIGITS - n;

    if (dec_is_neg(d))
        *o++ = '-';
    sci = n - 1 + exponent;
    if (exponent > 0 || sci < -6) { /* scientific */
        *o++ = first[0];
        if (n > 1) {
            *o++ = '.';
            memcpy(o, first + 1, (size_t)n - 1);
            o += n - 1;
        }
        o += snprintf(o, (size_t)(out + DEC_STR_MAX - o), "E%+d", sci);
        return (int)(o - out);
    }
    int whole = n + exponent; /* digits before the point */

    if (whole <= 0) {
        *o++ = '0';
        *o++ = '.';
        for (int i = 0; i < -whole; i++)
            *o++ = '0';
        memcpy(o, first, (size_t)n);
        o += n;
    } else {
        memcpy(o, first, (size_t)whole);
        o += whole;
        if (exponent < 0) {
            *o++ = '.';
            memcpy(o, first + whole, (size_t)(n - whole));
            o += n - whole;
        }
    }
    *o = 0;
    return (int)(o - out);
}

struct dec128 dec_from_i64(int64_t v)
{
    return unbid(bid128_from_int64(v));
}

struct dec128 dec_from_double(double v)
{
    char text[32];
    struct dec128 d;

    if (v == 0 || isnan(v) || isinf(v))
        return dec_from_double_34(v, DEC_HALF_EVEN, NULL);
    snprintf(text, sizeof(text), "%.14e",
             v); /* exact decimal expansion, correctly rounded to 15 digits */
    bool ok = dec_from_str(slice_str(text), &d, NULL);
    INVARIANT(ok);
    return d;
}

struct dec128 dec_from_double_34(double v, enum dec_round r, unsigned *flags)
{
    unsigned f = 0;

    if (isnan(v))
        return DEC_NAN;
    struct dec128 d = unbid(binary64_to_bid128(v, (_IDEC_round)r, &f));
    note(flags, f);
    return d;
}

double dec_to_double(struct dec128 d, unsigned *flags)
{
    unsigned f = 0;
    double v = bid128_to_binary64(bid(d), BID_ROUNDING_TO_NEAREST, &f);

    note(flags, f);
    return v;
}

bool dec_to_i64(struct dec128 d, enum dec_round r, int64_t *out, bool *exact)
{
    unsigned f = 0;
    int64_t v = 0;

    switch (r) {
    case DEC_HALF_EVEN: v = bid128_to_int64_xrnint(bid(d), &f); break;
    case DEC_FLOOR: v = bid128_to_int64_xfloor(bid(d), &f); break;
    case DEC_CEIL: v = bid128_to_int64_xceil(bid(d), &f); break;
    case DEC_TRUNC: v = bid128_to_int64_xint(bid(d), &f); break;
    }
    *out = 0;
    if (exact)
        *exact = false;
    if (f & BID_INVALID_EXCEPTION)
        return false;
    if (exact)
        *exact = !(f & BID_INEXACT_EXCEPTION);
    *out = v;
    return true;
}

struct dec128 bval_to_dec(struct bval v)
{
    switch (v.type) {
    case BT_INT32: return dec_from_i64(bval_i32(v));
    case BT_INT64: return dec_from_i64(bval_i64(v));
    case BT_DOUBLE: return dec_from_double(bval_double(v));
    default: return bval_dec(v);
    }
}

bool dec_is_nan(struct dec128 d)
{
    return (d.hi & 0x7c00000000000000ull) == 0x7c00000000000000ull;
}

bool dec_is_inf(struct dec128 d)
{
    return (d.hi & 0x7c00000000000000ull) == 0x7800000000000000ull;
}

bool dec_is_neg(struct dec128 d)
{
    return d.hi >> 63;
}

bool dec_is_zero(struct dec128 d)
{
    int exponent;

    return !dec_is_nan(d) && !dec_is_inf(d) && split(d, &exponent) == 0;
}

int dec_cmp(struct dec128 a, struct dec128 b)
{
    bool an = dec_is_nan(a), bn = dec_is_nan(b);
    unsigned f = 0;

    if (an || bn)
        return bn - an;
    if (bid128_quiet_less(bid(a), bid(b), &f))
        return -1;
    return bid128_quiet_less(bid(b), bid(a), &f) ? 1 : 0;
}

/* A double has up to 767 digits, a decimal 34. Rounding is monotone and leaves every decimal where it is, so when the double rounded to
 * 34 digits differs from the decimal, that is the answer; when it is the same but inexact, the direction of the rounding decides. */
int dec_cmp_double(struct dec128 a, double b)
{
    unsigned f = 0;

    if (isnan(b) || dec_is_nan(a))
        return (isnan(b) != 0) - dec_is_nan(a);
    struct dec128 near = dec_from_double_34(b, DEC_HALF_EVEN, &f);
    int c = dec_cmp(a, near);

    if (c != 0 || !(f & BID_INEXACT_EXCEPTION))
        return c;
    struct dec128 below = dec_from_double_34(b, DEC_FLOOR, NULL);
    return dec_cmp(a, below) == 0 ? -1 : 1;
}

#define BINARY(name, call)                                                                         \
    struct dec128 name(struct dec128 a, struct dec128 b, unsigned *flags)                          \
    {                                                                                              \
        unsigned f = 0;                                                                            \
        struct dec128 r = unbid(call);                                                             \
                                                                                                   \
        note(flags, f);                                                                            \
        return r;                                                                                  \
    }
BINARY(dec_add, bid128_add(bid(a), bid(b), BID_ROUNDING_TO_NEAREST, &f))
BINARY(dec_sub, bid128_sub(bid(a), bid(b), BID_ROUNDING_TO_NEAREST, &f))
BINARY(dec_mul, bid128_mul(bid(a), bid(b), BID_ROUNDING_TO_NEAREST, &f))
BINARY(dec_div, bid128_div(bid(a), bid(b), BID_ROUNDING_TO_NEAREST, &f))
BINARY(dec_mod, bid128_fmod(bid(a), bid(b), &f))
BINARY(dec_pow, bid128_pow(bid(a), bid(b), BID_ROUNDING_TO_NEAREST, &f))
BINARY(dec_atan2, bid128_atan2(bid(a), bid(b), BID_ROUNDING_TO_NEAREST, &f))
#undef BINARY

struct dec128 dec_abs(struct dec128 a)
{
    a.hi &= ~(1ull << 63);
    return a;
}

struct dec128 dec_neg(struct dec128 a)
{
    a.hi ^= 1ull << 63;
    return a;
}

struct dec128 dec_quantize(struct dec128 a, struct dec128 like, enum dec_round r, unsigned *flags)
{
    unsigned f = 0;
    struct dec128 q = unbid(bid128_quantize(bid(a), bid(like), (_IDEC_round)r, &f));

    note(flags, f);
    return q;
}

struct dec128 dec_round_place(struct dec128 a, int place, enum dec_round r)
{
    unsigned f = 0;
    struct dec128 like = { .lo = 1, .hi = (uint64_t)(BIAS - place) << 49 };

    if (dec_is_nan(a) || dec_is_inf(a))
        return a;
    struct dec128 q = dec_quantize(a, like, r, &f);
    return (f & BID_INVALID_EXCEPTION)
               ? a
               : q; /* more digits asked for than 34 can hold: nothing to round */
}

struct dec128 dec_integral(struct dec128 a, enum dec_round r)
{
    unsigned f = 0;

    switch (r) {
    case DEC_FLOOR: return unbid(bid128_round_integral_negative(bid(a), &f));
    case DEC_CEIL: return unbid(bid128_round_integral_positive(bid(a), &f));
    case DEC_TRUNC: return unbid(bid128_round_integral_zero(bid(a), &f));
    case DEC_HALF_EVEN: break;
    }
    return unbid(bid128_round_integral_nearest_even(bid(a), &f));
}

struct dec128 dec_fn(enum dec_fn fn, struct dec128 a, unsigned *flags)
{
    static BID_UINT128 (*const table[DEC_FN_NR])(BID_UINT128, _IDEC_round, _IDEC_flags *) = {
        [DEC_SQRT] = bid128_sqrt,   [DEC_EXP] = bid128_exp,     [DEC_LN] = bid128_log,
        [DEC_LOG10] = bid128_log10, [DEC_SIN] = bid128_sin,     [DEC_COS] = bid128_cos,
        [DEC_TAN] = bid128_tan,     [DEC_ASIN] = bid128_asin,   [DEC_ACOS] = bid128_acos,
        [DEC_ATAN] = bid128_atan,   [DEC_SINH] = bid128_sinh,   [DEC_COSH] = bid128_cosh,
        [DEC_TANH] = bid128_tanh,   [DEC_ASINH] = bid128_asinh, [DEC_ACOSH] = bid128_acosh,
        [DEC_ATANH] = bid128_atanh,
    };
    unsigned f = 0;

    INVARIANT(fn < DEC_FN_NR);
    struct dec128 r = unbid(table[fn](bid(a), BID_ROUNDING_TO_NEAREST, &f));
    note(flags, f);
    return r;
}
