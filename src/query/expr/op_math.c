/* op_math.c - powers, logarithms, trigonometry and bits. */
#include <math.h>

#include "num_priv.h"

#include "base/mem.h"

/* A function of one number: double in, double out; decimal in, decimal out; a domain outside of which it is refused. */
struct math_fn {
    double (*dbl)(double);
    enum dec_fn dec;
    double low, high;         /* the domain */
    bool open_low, open_high; /* the bound itself is outside (but see inf_ok) */
    int code;                 /* error outside of the domain; 0 = no domain */
    bool inf_refused;
};

static const struct math_fn math_fns[] = {
    [MATH_SQRT] = { sqrt, DEC_SQRT, 0, INFINITY, false, false, 28714, false },
    [MATH_EXP] = { exp, DEC_EXP, 0, 0, false, false, 0, false },
    [MATH_LN] = { log, DEC_LN, 0, INFINITY, true, false, 28766, false },
    [MATH_LOG10] = { log10, DEC_LOG10, 0, INFINITY, true, false, 28761, false },
    [MATH_SIN] = { sin, DEC_SIN, -INFINITY, INFINITY, true, true, 50989, true },
    [MATH_COS] = { cos, DEC_COS, -INFINITY, INFINITY, true, true, 50989, true },
    [MATH_TAN] = { tan, DEC_TAN, -INFINITY, INFINITY, true, true, 50989, true },
    [MATH_ASIN] = { asin, DEC_ASIN, -1, 1, false, false, 50989, false },
    [MATH_ACOS] = { acos, DEC_ACOS, -1, 1, false, false, 50989, false },
    [MATH_ATAN] = { atan, DEC_ATAN, 0, 0, false, false, 0, false },
    [MATH_SINH] = { sinh, DEC_SINH, 0, 0, false, false, 0, false },
    [MATH_COSH] = { cosh, DEC_COSH, 0, 0, false, false, 0, false },
    [MATH_TANH] = { tanh, DEC_TANH, 0, 0, false, false, 0, false },
    [MATH_ASINH] = { asinh, DEC_ASINH, 0, 0, false, false, 0, false },
    [MATH_ACOSH] = { acosh, DEC_ACOSH, 1, INFINITY, false, false, 50989, false },
    [MATH_ATANH] = { atanh, DEC_ATANH, -1, 1, false, false, 50989, false },
};

static bool in_domain(const struct math_fn *f, struct bval v)
{
    int low, high;

    if (!f->code)
        return true;
    if (v.type == BT_DECIMAL128) {
        struct dec128 d = bval_dec(v);
        if (dec_is_nan(d))
            return true;
        low = dec_cmp_double(d, f->low);
        high = dec_cmp_double(d, f->high);
    } else {
        double d = bval_to_double(v);
        if (isnan(d))
            return true;
        low = (d > f->low) - (d < f->low);
        high = (d > f->high) - (d < f->high);
    }
    return low >= (f->open_low ? 1 : 0) && high <= (f->open_high ? -1 : 0);
}

EXPR_EVAL(expr__eval_math)
{
    const struct math_fn *f = &math_fns[x->op->aux];
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(28765), "$%s only supports numeric types, not %s", x->op->name,
             btype_name(v.type));
    if (!in_domain(f, v))
        FAIL(e, ERR_LOC(f->code), "cannot apply $%s to a value outside of its domain", x->op->name);
    bool log_of_nan =
        v.type == BT_DECIMAL128 && dec_is_nan(bval_dec(v)) && (f->dbl == log || f->dbl == log10);
    if (v.type == BT_DECIMAL128 && !log_of_nan)
        *out = bval_new_dec(env_arena(env), dec_fn(f->dec, bval_dec(v), NULL));
    else /* a decimal NaN's logarithm is the double NaN */
        *out = bval_new_double(env_arena(env), f->dbl(bval_to_double(v)));
    return RC_OK;
}

EXPR_EVAL(expr__eval_atan2)
{
    struct bval a, b;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    if (bval_is_nullish(a) || bval_is_nullish(b)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(a) || !bval_is_number(b))
        FAIL(e, ERR_LOC(51044), "$atan2 only supports numeric types, not %s and %s",
             btype_name(a.type), btype_name(b.type));
    if (num__widest(a.type, b.type) == BT_DECIMAL128)
        *out = bval_new_dec(env_arena(env), dec_atan2(bval_to_dec(a), bval_to_dec(b), NULL));
    else
        *out = bval_new_double(env_arena(env), atan2(bval_to_double(a), bval_to_double(b)));
    return RC_OK;
}

/* π in 34 digits over 180, and its inverse. */
EXPR_EVAL(expr__eval_degrees)
{
    bool to_rad = x->op->aux == MATH_TO_RADIANS;
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(v))
        FAIL(e, ERR_LOC(28765), "$%s only supports numeric types, not %s", x->op->name,
             btype_name(v.type));
    if (v.type == BT_DECIMAL128) {
        struct dec128 f = DEC_ZERO;
        bool ok = dec_from_str(to_rad ? SLICE_LIT("0.01745329251994329576923690768488613")
                                      : SLICE_LIT("57.29577951308232087679815481410517"),
                               &f, NULL);
        INVARIANT(ok);
        *out = bval_new_dec(env_arena(env), dec_mul(bval_dec(v), f, NULL));
        return RC_OK;
    }
    double d = bval_to_double(v);
    *out = bval_new_double(env_arena(env), to_rad ? d * (M_PI / 180.0) : d * (180.0 / M_PI));
    return RC_OK;
}

EXPR_EVAL(expr__eval_log)
{
    struct bval a, b;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    if (bval_is_nullish(a) || bval_is_nullish(b)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(a))
        FAIL(e, ERR_LOC(28756), "$log's argument must be numeric, not %s", btype_name(a.type));
    if (!bval_is_number(b))
        FAIL(e, ERR_LOC(28757), "$log's base must be numeric, not %s", btype_name(b.type));
    if (num__widest(a.type, b.type) == BT_DECIMAL128) {
        struct dec128 da = bval_to_dec(a), db = bval_to_dec(b);
        if (!dec_is_nan(da) && dec_cmp_double(da, 0) <= 0)
            FAIL(e, ERR_LOC(28758), "$log's argument must be a positive number");
        if (!dec_is_nan(db) && (dec_cmp_double(db, 0) <= 0 || dec_cmp_double(db, 1) == 0))
            FAIL(e, ERR_LOC(28759), "$log's base must be a positive number not equal to 1");
        if (dec_is_nan(da) || dec_is_nan(db))
            *out = bval_new_double(env_arena(env), NAN);
        else
            *out = bval_new_dec(env_arena(env),
                                dec_div(dec_fn(DEC_LN, da, NULL), dec_fn(DEC_LN, db, NULL), NULL));
        return RC_OK;
    }
    double da = bval_to_double(a), db = bval_to_double(b);
    if (da <= 0)
        FAIL(e, ERR_LOC(28758), "$log's argument must be a positive number");
    if (db <= 0 || db == 1)
        FAIL(e, ERR_LOC(28759), "$log's base must be a positive number not equal to 1");
    *out = bval_new_double(env_arena(env), log(da) / log(db));
    return RC_OK;
}

/* An integer power while it is exact: false when it leaves int64. */
static bool int_pow(int64_t base, int64_t exp, int64_t *out)
{
    int64_t r = 1;

    if (base == 0 || base == 1) {
        *out = exp == 0 ? 1 : base;
        return true;
    }
    if (base == -1) {
        *out = exp % 2 ? -1 : 1;
        return true;
    }
    if (exp < 0 || exp > 62 + (base == -2))
        return false;
    for (; exp > 0; exp--)
        if (!i64_mul(r, base, &r))
            return false;
    *out = r;
    return true;
}

EXPR_EVAL(expr__eval_pow)
{
    struct arena *ar = env_arena(env);
    struct bval a, b;
    int64_t ia, ib, r;

    TRY(expr__arg(x, 0, env, &a, e));
    TRY(expr__arg(x, 1, env, &b, e));
    if (bval_is_nullish(a) || bval_is_nullish(b)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(a))
        FAIL(e, ERR_LOC(28762), "$pow's base must be numeric, not %s", btype_name(a.type));
    if (!bval_is_number(b))
        FAIL(e, ERR_LOC(28763), "$pow's exponent must be numeric, not %s", btype_name(b.type));
    bool zero = a.type == BT_DECIMAL128 ? dec_is_zero(bval_dec(a)) : bval_to_double(a) == 0;
    bool negative = b.type == BT_DECIMAL128
                        ? !dec_is_nan(bval_dec(b)) && dec_cmp_double(bval_dec(b), 0) < 0
                        : bval_to_double(b) < 0;
    if (zero && negative)
        FAIL(e, ERR_LOC(28764), "$pow cannot take a base of 0 and a negative exponent");
    enum btype type = num__widest(a.type, b.type);
    /* brought to all 34 digits, as a zero of the least exponent does */
    if (type == BT_DECIMAL128) {
        struct dec128 least = { .lo = 0, .hi = 0 };
        *out =
            bval_new_dec(ar, dec_add(dec_pow(bval_to_dec(a), bval_to_dec(b), NULL), least, NULL));
        return RC_OK;
    }
    if (type != BT_DOUBLE && bval_to_i64(a, &ia) && bval_to_i64(b, &ib) && int_pow(ia, ib, &r)) {
        *out = type == BT_INT32 ? val__int(ar, r) : bval_new_i64(ar, r);
        return RC_OK;
    }
    *out = bval_new_double(ar, pow(bval_to_double(a), bval_to_double(b)));
    return RC_OK;
}

EXPR_EVAL(expr__eval_sigmoid)
{
    struct arena *ar = env_arena(env);
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_number(v))
        FAIL(e, ERR_TYPE_MISMATCH, "$sigmoid only supports numeric types, not %s",
             btype_name(v.type));
    if (v.type == BT_DECIMAL128) {
        struct dec128 one = dec_from_i64(1);
        *out = bval_new_dec(
            ar, dec_div(one,
                        dec_add(one,
                                dec_fn(DEC_EXP, dec_mul(dec_from_i64(-1), bval_dec(v), NULL), NULL),
                                NULL),
                        NULL));
        return RC_OK;
    }
    *out = bval_new_double(ar, 1 / (1 + exp(-bval_to_double(v))));
    return RC_OK;
}

/* One operand, never a list: an array is an operand of the wrong type. */
EXPR_PARSE(expr__parse_sigmoid)
{
    struct expr *x = expr__new_call(ps, op, 1);

    TRY(expr__parse(ps, arg, &x->args[0], e));
    TRY(expr__fold(ps, &x, e));
    *out = x;
    return RC_OK;
}

/* ---- bits ---- */

EXPR_EVAL(expr__eval_bits)
{
    int64_t acc = x->op->aux == BITS_AND ? -1 : 0;
    bool is_long = false, is_null = false;

    for (int i = 0; i < x->n_args; i++) {
        struct bval v;
        TRY(expr__arg(x, i, env, &v, e));
        if (bval_is_nullish(v)) {
            is_null = true;
            continue;
        }
        if (v.type != BT_INT32 && v.type != BT_INT64)
            FAIL(e, ERR_TYPE_MISMATCH, "$%s only supports int and long operands, not %s",
                 x->op->name, btype_name(v.type));
        is_long |= v.type == BT_INT64;
        int64_t n = v.type == BT_INT32 ? bval_i32(v) : bval_i64(v);
        switch (x->op->aux) {
        case BITS_AND: acc &= n; break;
        case BITS_OR: acc |= n; break;
        case BITS_XOR: acc ^= n; break;
        default: acc = ~n; break;
        }
    }
    if (is_null)
        *out = val_null();
    else
        *out = is_long ? bval_new_i64(env_arena(env), acc)
                       : bval_new_i32(env_arena(env), (int32_t)acc);
    return RC_OK;
}
