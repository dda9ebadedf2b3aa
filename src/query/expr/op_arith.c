/* op_arith.c - $add, $subtract, $multiply, $divide, $mod and the operators of one number.
 *
 * Types    int and int give int, beyond its range long, beyond that double; a double makes a double, a decimal a decimal.
 * Null     Any null or missing operand makes null.
 */
#include <math.h>

#include "num_priv.h"
#include "query/accum.h"

#include "base/mem.h"

struct bval val__int(struct arena *a, int64_t v)
{
    if (v >= INT32_MIN && v <= INT32_MAX)
        return bval_new_i32(a, (int32_t)v);
    return bval_new_i64(a, v);
}

static int64_t int_of(struct bval v)
{
    return v.type == BT_INT32 ? bval_i32(v) : bval_i64(v);
}

static bool is_int(struct bval v)
{
    return v.type == BT_INT32 || v.type == BT_INT64;
}

RC num__to_long(struct bval v, int64_t *out, struct err *e)
{
    *out = 0;
    switch (v.type) {
    case BT_INT32:
    case BT_INT64: *out = int_of(v); return RC_OK;
    case BT_DOUBLE: {
        double d = bval_double(v);
        if (isnan(d) || d < -9223372036854775808.0 || d >= 9223372036854775808.0)
            FAIL(e, ERR_LOC(31109), "Can't coerce out of range value %g to long", d);
        *out = (int64_t)d;
        return RC_OK;
    }
    case BT_DECIMAL128: /* unchecked there: what does not fit becomes the least long */
        if (!dec_to_i64(bval_dec(v), DEC_HALF_EVEN, out, NULL))
            *out = INT64_MIN;
        return RC_OK;
    default: FAIL(e, ERR_LOC(16004), "can't convert from BSON type %s to long", btype_name(v.type));
    }
}

bool num__to_i32(struct bval v, int32_t *out)
{
    int64_t n;

    if (!bval_is_number(v) || !bval_to_i64(v, &n) || n < INT32_MIN || n > INT32_MAX)
        return false;
    *out = (int32_t)n;
    return true;
}

/* ---- $add ---- */

/* A date plus numbers: milliseconds, rounded; what int64 cannot hold is an overflow. */
static RC date_sum(int64_t base, const struct bval *v, int n, int64_t *out, struct err *e)
{
    struct num_sum s;
    int64_t ms = 0;
    bool ok = true;

    num_sum_init(&s);
    for (int i = 0; i < n; i++)
        num_sum_add(&s, v[i]);
    if (s.type == BT_DECIMAL128) {
        ok = dec_to_i64(num_sum_dec(&s), DEC_HALF_EVEN, &ms, NULL);
    } else if (s.type == BT_DOUBLE) {
        double d = num_sum_double(&s);
        ok = d >= -9223372036854775808.0 && d < 9223372036854775808.0;
        if (ok)
            ms = llround(d);
    } else {
        ok = s.whole >= INT64_MIN && s.whole <= INT64_MAX;
        ms = ok ? (int64_t)s.whole : 0;
    }
    if (!ok || !i64_add(base, ms, out))
        FAIL(e, ERR_OVERFLOW, "date overflow in $add");
    return RC_OK;
}

/* A sum of plain numbers, left to right in the widest type met so far; long overflow goes on as double. */
static struct bval add_up(const struct bval *v, int n, struct arena *a)
{
    enum btype type = BT_INT32;
    struct dec128 dec = DEC_ZERO;
    double dbl = 0;
    int64_t whole = 0;

    for (int i = 0; i < n; i++) {
        enum btype was = type;
        type = num__widest(type, v[i].type);
        if (type == BT_DOUBLE && was != BT_DOUBLE)
            dbl = (double)whole;
        if (type == BT_DECIMAL128 && was != BT_DECIMAL128)
            dec = was == BT_DOUBLE ? dec_from_double(dbl) : dec_from_i64(whole);
        if (type == BT_DECIMAL128) {
            dec = dec_add(dec, bval_to_dec(v[i]), NULL);
        } else if (type == BT_DOUBLE) {
            dbl += bval_to_double(v[i]);
        } else {
            int64_t before = whole;
            if (!i64_add(before, int_of(v[i]), &whole)) {
                type = BT_DOUBLE;
                dbl = (double)before + (double)int_of(v[i]);
            }
        }
    }
    if (type == BT_DECIMAL128)
        return bval_new_dec(a, dec);
    if (type == BT_DOUBLE)
        return bval_new_double(a, dbl);
    return type == BT_INT32 ? val__int(a, whole) : bval_new_i64(a, whole);
}

EXPR_EVAL(expr__eval_add)
{
    struct bval *args = ARENA_ARRAY(env_arena(env), struct bval, (size_t)x->n_args + 1);
    int64_t date = 0;
    bool has_date = false;
    int n = 0;

    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(qctx_check(env->q, e));
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_is_nullish(v)) {
            *out = val_null();
            return RC_OK;
        }
        if (v.type == BT_DATE) {
            if (has_date)
                FAIL(e, ERR_LOC(16612), "only one date allowed in an $add expression");
            has_date = true;
            date = bval_i64(v);
        } else if (bval_is_number(v)) {
            args[n++] = v;
        } else {
            FAIL(e, ERR_TYPE_MISMATCH, "$add only supports numeric or date types, not %s",
                 btype_name(v.type));
        }
    }
    if (!has_date) {
        *out = add_up(args, n, env_arena(env));
        return RC_OK;
    }
    TRY(date_sum(date, args, n, &date, e));
    *out = bval_new_date(env_arena(env), date);
    return RC_OK;
}

/* ---- $subtract ---- */

static RC date_minus(struct bval date, struct bval by, struct arena *a, struct bval *out,
                     struct err *e)
{
    int64_t ms, r;

    if (by.type == BT_DATE) {
        if (!i64_sub(bval_i64(date), bval_i64(by), &r))
            FAIL(e, ERR_OVERFLOW, "date overflow in $subtract");
        *out = bval_new_i64(a, r);
        return RC_OK;
    }
    TRY(date_sum(0, &by, 1, &ms, e));
    if (!i64_sub(bval_i64(date), ms, &r))
        FAIL(e, ERR_OVERFLOW, "date overflow in $subtract");
    *out = bval_new_date(a, r);
    return RC_OK;
}

EXPR_EVAL(expr__eval_subtract)
{
    struct arena *ar = env_arena(env);
    struct bval a, b;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    if (bval_is_nullish(a) || bval_is_nullish(b)) {
        *out = val_null();
        return RC_OK;
    }
    if (a.type == BT_DATE && (b.type == BT_DATE || bval_is_number(b)))
        return date_minus(a, b, ar, out, e);
    if (!bval_is_number(a) || !bval_is_number(b))
        FAIL(e, ERR_TYPE_MISMATCH, "can't $subtract %s from %s", btype_name(b.type),
             btype_name(a.type));
    switch (num__widest(a.type, b.type)) {
    case BT_DECIMAL128:
        *out = bval_new_dec(ar, dec_sub(bval_to_dec(a), bval_to_dec(b), NULL));
        return RC_OK;
    case BT_DOUBLE: *out = bval_new_double(ar, bval_to_double(a) - bval_to_double(b)); return RC_OK;
    default: {
        int64_t r;
        if (!i64_sub(int_of(a), int_of(b), &r))
            *out = bval_new_double(ar, (double)int_of(a) - (double)int_of(b));
        else
            *out = a.type == BT_INT32 && b.type == BT_INT32 ? val__int(ar, r) : bval_new_i64(ar, r);
        return RC_OK;
    }
    }
}

/* ---- $multiply ---- */

EXPR_EVAL(expr__eval_multiply)
{
    enum btype type = BT_INT32;
    struct dec128 dec = dec_from_i64(1);
    double dbl = 1;
    int64_t whole = 1;
    bool fits = true;

    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_is_nullish(v)) {
            *out = val_null();
            return RC_OK;
        }
        if (!bval_is_number(v))
            FAIL(e, ERR_TYPE_MISMATCH, "$multiply only supports numeric types, not %s",
                 btype_name(v.type));
        enum btype was = type;
        type = num__widest(type, v.type);
        if (type == BT_DECIMAL128) {
            if (was != BT_DECIMAL128)
                dec = was == BT_DOUBLE || !fits ? dec_from_double(dbl) : dec_from_i64(whole);
            dec = dec_mul(dec, bval_to_dec(v), NULL);
            continue;
        }
        dbl *= bval_to_double(v);
        if (is_int(v) && fits)
            fits = i64_mul(whole, int_of(v), &whole);
    }
    struct arena *a = env_arena(env);
    if (type == BT_DECIMAL128)
        *out = bval_new_dec(a, dec);
    else if (type == BT_DOUBLE || !fits)
        *out = bval_new_double(a, dbl);
    else
        *out = type == BT_INT32 ? val__int(a, whole) : bval_new_i64(a, whole);
    return RC_OK;
}

/* ---- $divide, $mod ---- */

static bool is_zero(struct bval v)
{
    return v.type == BT_DECIMAL128 ? dec_is_zero(bval_dec(v)) : bval_to_double(v) == 0;
}

EXPR_EVAL(expr__eval_divide)
{
    struct bval a, b;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    if (bval_is_nullish(a) || bval_is_nullish(b)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(a) || !bval_is_number(b))
        FAIL(e, ERR_TYPE_MISMATCH, "$divide only supports numeric types, not %s and %s",
             btype_name(a.type), btype_name(b.type));
    if (is_zero(b))
        FAIL(e, ERR_BAD_VALUE, "can't $divide by zero");
    if (num__widest(a.type, b.type) == BT_DECIMAL128)
        *out = bval_new_dec(env_arena(env), dec_div(bval_to_dec(a), bval_to_dec(b), NULL));
    else
        *out = bval_new_double(env_arena(env), bval_to_double(a) / bval_to_double(b));
    return RC_OK;
}

EXPR_EVAL(expr__eval_mod)
{
    struct arena *ar = env_arena(env);
    struct bval a, b;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    if (bval_is_nullish(a) || bval_is_nullish(b)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(a) || !bval_is_number(b))
        FAIL(e, ERR_LOC(16611), "$mod only supports numeric types, not %s and %s",
             btype_name(a.type), btype_name(b.type));
    enum btype type = num__widest(a.type, b.type);
    if (type == BT_DECIMAL128) {
        struct dec128 d = bval_to_dec(b);
        if (dec_is_zero(d))
            FAIL(e, ERR_LOC(5733415), "can't $mod by zero");
        *out = bval_new_dec(ar, dec_mod(bval_to_dec(a), d, NULL));
        return RC_OK;
    }
    if (is_zero(b))
        FAIL(e, ERR_LOC(16610), "can't $mod by zero");
    if (type == BT_DOUBLE) {
        *out = bval_new_double(ar, fmod(bval_to_double(a), bval_to_double(b)));
        return RC_OK;
    }
    int64_t r = int_of(b) == -1 ? 0 : int_of(a) % int_of(b);
    *out = type == BT_INT32 ? bval_new_i32(ar, (int32_t)r) : bval_new_i64(ar, r);
    return RC_OK;
}

/* ---- one number: $abs, $ceil, $floor ---- */

static RC abs_of(struct bval v, struct arena *a, struct bval *out, struct err *e)
{
    switch (v.type) {
    case BT_DECIMAL128: *out = bval_new_dec(a, dec_abs(bval_dec(v))); return RC_OK;
    case BT_DOUBLE: *out = bval_new_double(a, fabs(bval_double(v))); return RC_OK;
    default: {
        int64_t n = int_of(v);
        if (n == INT64_MIN)
            FAIL(e, ERR_LOC(28680), "can't take $abs of long long min");
        n = n < 0 ? -n : n;
        *out = v.type == BT_INT32 ? val__int(a, n) : bval_new_i64(a, n);
        return RC_OK;
    }
    }
}

EXPR_EVAL(expr__eval_abs_like)
{
    struct arena *a = env_arena(env);
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(28765), "$%s only supports numeric types, not %s", x->op->name,
             btype_name(v.type));
    if (x->op->aux == UNARY_ABS)
        return abs_of(v, a, out, e);
    bool up = x->op->aux == UNARY_CEIL;
    if (v.type == BT_DECIMAL128) /* to exponent 0: NaN where that takes more than 34 digits */
        *out =
            bval_new_dec(a, dec_quantize(bval_dec(v), DEC_ZERO, up ? DEC_CEIL : DEC_FLOOR, NULL));
    else if (v.type == BT_DOUBLE)
        *out = bval_new_double(a, up ? ceil(bval_double(v)) : floor(bval_double(v)));
    else
        *out = v;
    return RC_OK;
}

/* ---- $round, $trunc ---- */

static RC round_place(const struct expr *x, struct expr_env *env, bool *is_null, int *place,
                      struct err *e)
{
    struct bval v;
    bool given;
    int64_t n = 0, exact;

    *is_null = false;
    *place = 0;
    TRY(expr__opt(x, 1, env, &given, &v, e));
    if (!given)
        return RC_OK;
    *is_null = bval_is_nullish(v);
    if (*is_null)
        return RC_OK;
    TRY(num__to_long(v, &n, e));
    if (!bval_to_i64(v, &exact))
        FAIL(e, ERR_LOC(51082), "precision argument to  $%s must be a integral value", x->op->name);
    if (n < -20 || n > 100)
        FAIL(e, ERR_LOC(51083),
             "cannot apply $%s with precision value %lld value must be in [-20, 100]", x->op->name,
             (long long)n);
    *place = (int)n;
    return RC_OK;
}

static RC round_int(const struct expr *x, struct bval v, int place, enum dec_round r,
                    struct arena *a, struct bval *out, struct err *e)
{
    int64_t n;

    *out = v;
    if (place >= 0)
        return RC_OK;
    if (!dec_to_i64(dec_round_place(dec_from_i64(int_of(v)), place, r), DEC_TRUNC, &n, NULL))
        FAIL(e, ERR_LOC(51080), "invalid conversion from Decimal128 result in $%s", x->op->name);
    *out = v.type == BT_INT32 ? val__int(a, n) : bval_new_i64(a, n);
    return RC_OK;
}

EXPR_EVAL(expr__eval_round)
{
    enum dec_round r = x->op->aux == UNARY_ROUND ? DEC_HALF_EVEN : DEC_TRUNC;
    struct arena *a = env_arena(env);
    struct bval v;
    bool is_null;
    int place;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(51081), "$%s only supports numeric types, not %s", x->op->name,
             btype_name(v.type));
    TRY(round_place(x, env, &is_null, &place, e));
    if (is_null) {
        *out = val_null();
        return RC_OK;
    }
    if (v.type == BT_DECIMAL128) {
        struct dec128 d = bval_dec(v);
        *out = dec_is_inf(d) || dec_is_nan(d) ? v : bval_new_dec(a, dec_round_place(d, place, r));
        return RC_OK;
    }
    if (v.type == BT_DOUBLE) {
        double d = bval_double(v);
        if (isfinite(d))
            d = dec_to_double(dec_round_place(dec_from_double_34(d, DEC_HALF_EVEN, NULL), place, r),
                              NULL);
        *out = bval_new_double(a, d);
        return RC_OK;
    }
    return round_int(x, v, place, r, a, out, e);
}
