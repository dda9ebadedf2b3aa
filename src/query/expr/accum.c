/* accum.c - running sums, deviations and percentiles. */
#include "query/accum.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "num_priv.h"

void num_sum_init(struct num_sum *s)
{
    *s = (struct num_sum){ .type = BT_INT32, .dec = DEC_ZERO, .special = -0.0, .sum = -0.0 };
}

enum btype num__widest(enum btype a, enum btype b)
{
    static const enum btype order[] = { BT_INT32, BT_INT64, BT_DOUBLE, BT_DECIMAL128 };

    for (int i = 3; i >= 0; i--)
        if (a == order[i] || b == order[i])
            return order[i];
    return BT_INT32;
}

/* Two-sum: sum and comp together hold the exact sum of two doubles. */
static void add_double(struct num_sum *s, double v)
{
    s->special += v;
    double t = s->sum + v;
    double bb = t - s->sum;
    s->comp += (s->sum - (t - bb)) + (v - bb);
    s->sum = t;
}

void num_sum_add(struct num_sum *s, struct bval v)
{
    if (!bval_is_number(v))
        return;
    s->type = num__widest(s->type, v.type);
    s->n++;
    switch (v.type) {
    case BT_INT32: s->whole += bval_i32(v); break;
    case BT_INT64: s->whole += bval_i64(v); break;
    case BT_DOUBLE: add_double(s, bval_double(v)); break;
    default: s->dec = dec_add(s->dec, bval_dec(v), NULL); break;
    }
}

void num_avg_add(struct num_sum *s, struct bval v)
{
    if (v.type != BT_INT64) {
        num_sum_add(s, v);
        return;
    }
    s->type = num__widest(s->type, BT_DOUBLE);
    s->n++;
    add_double(s, (double)bval_i64(v));
}

void num_sum_merge(struct num_sum *s, const struct num_sum *o)
{
    s->type = num__widest(s->type, o->type);
    s->n += o->n;
    s->whole += o->whole;
    s->dec = dec_add(s->dec, o->dec, NULL);
    double special = s->special + o->special;
    add_double(s, o->sum);
    s->comp += o->comp;
    s->special = special;
}

/* The whole part enters the compensated sum in pieces that a double holds exactly. */
double num_sum_double(const struct num_sum *s)
{
    struct num_sum t = *s;
    __int128 w = s->whole;

    if (!isfinite(s->sum))
        return s->special + (double)w;
    if (w != 0) {
        __int128 rest = w;
        for (int i = 0; i < 3 && rest != 0; i++) {
            double d = (double)rest;
            add_double(&t, d);
            rest -= (__int128)d;
        }
    }
    return t.sum + t.comp;
}

static struct dec128 dec_from_i128(__int128 w)
{
    const __int128 base = 1000000000000000000; /* 10^18 */
    struct dec128 hi = dec_from_i64((int64_t)(w / base)), lo = dec_from_i64((int64_t)(w % base));

    if (w / base == 0)
        return lo;
    return dec_add(dec_mul(hi, dec_from_i64((int64_t)base), NULL), lo, NULL);
}

struct dec128 num_sum_dec(const struct num_sum *s)
{
    struct dec128 d = s->dec;

    if (s->whole != 0)
        d = dec_add(d, dec_from_i128(s->whole), NULL);
    if (s->special != 0 || s->sum != 0 || s->whole == 0) { /* even a zero limits the exponent */
        if (isfinite(s->sum)) {
            d = dec_add(d, dec_from_double_34(s->sum, DEC_HALF_EVEN, NULL), NULL);
            if (s->comp != 0)
                d = dec_add(d, dec_from_double_34(s->comp, DEC_HALF_EVEN, NULL), NULL);
        } else {
            d = dec_add(d, dec_from_double(s->special), NULL);
        }
    }
    return d;
}

struct bval num_sum_value(const struct num_sum *s, struct arena *a)
{
    switch (s->type) {
    case BT_DECIMAL128: return bval_new_dec(a, num_sum_dec(s));
    case BT_DOUBLE: return bval_new_double(a, num_sum_double(s));
    default:
        if (s->whole > INT64_MAX || s->whole < INT64_MIN)
            return bval_new_double(a, (double)s->whole);
        if (s->type == BT_INT32)
            return val__int(a, (int64_t)s->whole);
        return bval_new_i64(a, (int64_t)s->whole);
    }
}

struct bval num_sum_avg(const struct num_sum *s, struct arena *a)
{
    if (s->n == 0)
        return bval_new_null();
    if (s->type == BT_DECIMAL128)
        return bval_new_dec(a, dec_div(num_sum_dec(s), dec_from_i64(s->n), NULL));
    return bval_new_double(a, num_sum_double(s) / (double)s->n);
}

void num_dev_add(struct num_dev *d, double v)
{
    double delta = v - d->mean;

    d->n++;
    if (d->n == 1) {
        d->mean = v;
        d->m2 = isfinite(v) ? 0 : NAN;
        return;
    }
    d->mean += delta / (double)d->n;
    d->m2 += delta * (v - d->mean);
}

void num_dev_merge(struct num_dev *d, const struct num_dev *o)
{
    if (o->n == 0)
        return;
    if (d->n == 0) {
        *d = *o;
        return;
    }
    double delta = o->mean - d->mean, n = (double)(d->n + o->n);
    d->m2 += o->m2 + delta * delta * ((double)d->n * (double)o->n / n);
    d->mean += delta * (double)o->n / n;
    d->n += o->n;
}

struct bval num_dev_value(const struct num_dev *d, bool samp, struct arena *a)
{
    int64_t by = samp ? d->n - 1 : d->n;

    if (by <= 0)
        return bval_new_null();
    return bval_new_double(a, sqrt(d->m2 / (double)by));
}

static int cmp_double(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;

    if (isnan(a) || isnan(b))
        return isnan(b) - isnan(a) ? (isnan(a) ? -1 : 1) : 0;
    return (a > b) - (a < b);
}

RC percentiles_of(struct arena *a, double *v, uint32_t n, const double *p, uint32_t n_p,
                  struct bval *out, struct err *e)
{
    struct vals l = vals_in(a);

    if (n > 0)
        qsort(v, n, sizeof(*v), cmp_double);
    for (uint32_t i = 0; i < n_p; i++) {
        if (n == 0) {
            vals_push(&l, bval_new_null());
            continue;
        }
        double rank = ceil((double)n * p[i]) - 1;
        vals_push(&l, bval_new_double(a, v[rank < 0 ? 0 : MIN((uint32_t)rank, n - 1)]));
    }
    return vals_array(a, l.v, l.n, out, e);
}

RC percentile_p_parse(struct arena *a, struct bval p, double **out, uint32_t *n, struct err *e)
{
    struct biter it;

    *out = NULL;
    *n = 0;
    if (p.type != BT_ARRAY || bdoc_count(bval_doc(p)) == 0)
        FAIL(e, ERR_LOC(7750301),
             "The $percentile 'p' field must be an array of numbers from [0.0, 1.0]");
    double *v = ARENA_ARRAY(a, double, bdoc_count(bval_doc(p)));
    uint32_t k = 0;
    biter_init(&it, bval_doc(p));
    while (biter_next(&it)) {
        if (!bval_is_number(it.val))
            FAIL(e, ERR_LOC(7750302),
                 "The $percentile 'p' field must be an array of numbers from [0.0, 1.0]");
        v[k] = bval_to_double(it.val);
        if (!(v[k] >= 0 && v[k] <= 1))
            FAIL(e, ERR_LOC(7750303),
                 "The $percentile 'p' field must be an array of numbers from [0.0, 1.0]");
        k++;
    }
    *out = v;
    *n = k;
    return RC_OK;
}
