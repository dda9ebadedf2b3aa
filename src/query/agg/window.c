/* window.c - the values of window functions. A frame that starts with its partition only grows: its accumulator goes on; any other is added up for each
 * document. */
#include "window_priv.h"

#include <math.h>

#include "base/mem.h"
#include "bsonx/dec.h"

/* ---- frames ---- */

RC window__check_key(const struct window_fn *fn, struct bval key, struct err *e)
{
    const struct window_frame *f = &fn->frame;

    if (!f->range || (f->lo.kind == BOUND_UNBOUNDED && f->hi.kind == BOUND_UNBOUNDED))
        return RC_OK;
    if (f->has_unit && key.type != BT_DATE)
        FAIL(e, ERR_LOC(5429513), "Expected the sortBy field to be a Date, but it was %s",
             btype_name(key.type));
    if (!f->has_unit && !bval_is_number(key))
        FAIL(e, ERR_LOC(5429414), "Expected the sortBy field to be a number, but it was %s",
             btype_name(key.type));
    return RC_OK;
}

static struct bval plus(struct arena *a, struct bval x, struct bval y)
{
    struct num_sum s;

    num_sum_init(&s);
    num_sum_add(&s, x);
    num_sum_add(&s, y);
    return num_sum_value(&s, a);
}

/* The sort key that a bound of a range stands at. */
static RC bound_key(const struct window_part *p, const struct window_frame *f,
                    const struct window_bound *b, struct bval key, struct bval *out, struct err *e)
{
    int64_t ms;

    *out = key;
    if (b->kind == BOUND_CURRENT)
        return RC_OK;
    if (!f->has_unit) {
        *out = plus(p->q->scratch, key, b->v);
        return RC_OK;
    }
    TRY(date_unit_add(bval_i64(key), f->unit, b->n, &ms, e));
    *out = bval_new_date(p->q->scratch, ms);
    return RC_OK;
}

/* How many rows have a key below v (or, with or_equal, not above it). */
static uint32_t count_below(const struct window_part *p, struct bval v, bool or_equal)
{
    uint32_t lo = 0, hi = p->n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = bval_cmp(p->rows[mid].key, v);
        if (c < 0 || (or_equal && c == 0))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static uint32_t clamp(const struct window_part *p, uint32_t i, int64_t by)
{
    if (by < 0)
        return by < -(int64_t)i ? 0 : i - (uint32_t)-by;
    return by > (int64_t)p->n - (int64_t)i ? p->n : i + (uint32_t)by;
}

/* frame_of(): rows [from, to). */
static RC frame_of(const struct window_part *p, const struct window_frame *f, uint32_t i,
                   uint32_t *from, uint32_t *to, struct err *e)
{
    struct bval v;

    *from = 0;
    *to = p->n;
    if (f->lo.kind != BOUND_UNBOUNDED) {
        *from = clamp(p, i, f->lo.n);
        if (f->range) {
            TRY(bound_key(p, f, &f->lo, p->rows[i].key, &v, e));
            *from = count_below(p, v, false);
        }
    }
    if (f->hi.kind != BOUND_UNBOUNDED) {
        int64_t end = (int64_t)i + MIN(f->hi.n, (int64_t)INT32_MAX) + 1;
        *to = end < 0 ? 0 : end > p->n ? p->n : (uint32_t)end;
        if (f->range) {
            TRY(bound_key(p, f, &f->hi, p->rows[i].key, &v, e));
            *to = count_below(p, v, true);
        }
    }
    return RC_OK;
}

/* ---- functions ---- */

/* What the deviation of a frame that leaves rows behind says before any is computed: null with an infinity or NaN, 0 of one value. */
static bool sliding_deviation(const struct window_part *p, const struct window_fn *fn, int k,
                              uint32_t from, uint32_t to, struct bval *out)
{
    uint32_t n = 0;
    bool odd = false;

    if (fn->acc.kind != ACC_DEV_POP && fn->acc.kind != ACC_DEV_SAMP)
        return false;
    for (uint32_t i = from; i < to; i++) {
        struct bval x = p->rows[i].x[k];
        if (!bval_is_number(x))
            continue;
        n++;
        odd = odd || !isfinite(bval_to_double(x));
    }
    if (!odd && (n != 1 || fn->acc.kind == ACC_DEV_SAMP))
        return false;
    *out = odd ? bval_new_null() : bval_new_i32(p->q->scratch, 0);
    return true;
}

static RC accumulate(struct window_part *p, const struct window_fn *fn, struct window_state *st,
                     int k, uint32_t from, uint32_t to, struct bval *out, struct err *e)
{
    bool grows = fn->frame.lo.kind == BOUND_UNBOUNDED;

    if (!grows && sliding_deviation(p, fn, k, from, to, out))
        return RC_OK;
    struct acc_state once, *acc = grows ? &st->acc : &once;
    struct arena *mem = grows ? p->mem : p->q->scratch;
    uint32_t at = grows ? st->upto : from;

    if (!grows || !st->started)
        TRY(acc_init(&fn->acc, acc, mem, p->q, bval_new_null(), e));
    st->started = true;
    for (; at < to; at++) {
        TRY(acc_add(&fn->acc, acc, mem, p->rows[at].x[k], e));
        TRY(qctx_check(p->q, e));
    }
    if (grows)
        st->upto = MAX(st->upto, to);
    TRY(acc_result(&fn->acc, acc, p->q->scratch, out, e));
    *out = bval_dup(p->q->scratch, *out); /* the state goes on */
    return RC_OK;
}

/* One pass over two variables; means are sums divided, so that they overflow as sums do. In doubles and in decimals side by side. */
struct covariance {
    int64_t n;
    bool decimal;
    struct num_sum sx, sy;
    double my, c;
    struct dec128 dmy, dc;
    struct num_sum odd; /* infinities and NaN */
    bool any_odd;
};

static void cov_add(struct covariance *v, struct bval x, struct bval y)
{
    double dx = bval_to_double(x), dy = bval_to_double(y);

    v->decimal = v->decimal || x.type == BT_DECIMAL128 || y.type == BT_DECIMAL128;
    bool finite = v->decimal ? !dec_is_inf(bval_to_dec(x)) && !dec_is_inf(bval_to_dec(y)) &&
                                   !dec_is_nan(bval_to_dec(x)) && !dec_is_nan(bval_to_dec(y))
                             : isfinite(dx) && isfinite(dy);
    if (!finite) {
        num_sum_add(&v->odd, x);
        num_sum_add(&v->odd, y);
        v->any_odd = true;
        return;
    }
    v->n++;
    num_sum_add(&v->sx, x);
    num_sum_add(&v->sy, y);
    v->c += (dy - v->my) * (dx - num_sum_double(&v->sx) / (double)v->n);
    v->my = num_sum_double(&v->sy) / (double)v->n;

    struct dec128 n = dec_from_i64(v->n), mx = dec_div(num_sum_dec(&v->sx), n, NULL);
    v->dc = dec_add(v->dc,
                    dec_mul(dec_sub(bval_to_dec(y), v->dmy, NULL),
                            dec_sub(bval_to_dec(x), mx, NULL), NULL),
                    NULL);
    v->dmy = dec_div(num_sum_dec(&v->sy), n, NULL);
}

/* The pair of a row: two expressions, or what one gave if that is an array of two. */
static void pair_of(const struct window_fn *fn, const struct window_row *r, int k, struct bval *x,
                    struct bval *y)
{
    struct biter it;

    *x = r->x[k];
    *y = r->y[k];
    if (fn->y || x->type != BT_ARRAY || bdoc_count(bval_doc(*x)) != 2)
        return;
    biter_init(&it, bval_doc(*x));
    biter_next(&it);
    *x = it.val;
    biter_next(&it);
    *y = it.val;
}

static RC covariance(struct window_part *p, const struct window_fn *fn, int k, uint32_t from,
                     uint32_t to, struct bval *out, struct err *e)
{
    struct covariance v = { .dmy = DEC_ZERO, .dc = DEC_ZERO };
    int64_t less = fn->kind == WIN_COV_SAMP;

    num_sum_init(&v.odd);
    num_sum_init(&v.sx);
    num_sum_init(&v.sy);
    for (uint32_t i = from; i < to; i++) {
        struct bval x, y;
        pair_of(fn, &p->rows[i], k, &x, &y);
        if (bval_is_number(x) && bval_is_number(y))
            cov_add(&v, x, y);
        TRY(qctx_check(p->q, e));
    }
    if (v.n <= less)
        *out = bval_new_null();
    else if (v.any_odd && v.n > 1)
        *out = num_sum_value(&v.odd, p->q->scratch);
    else if (v.decimal)
        *out = bval_new_dec(p->q->scratch, dec_div(v.dc, dec_from_i64(v.n - less), NULL));
    else
        *out = bval_new_double(p->q->scratch, v.c / (double)(v.n - less));
    return RC_OK;
}

/* A sort key as a number of units. */
static RC time_of(const struct window_fn *fn, struct bval key, double *out, struct err *e)
{
    int derivative = fn->kind == WIN_DERIVATIVE;

    if (key.type == BT_DATE) {
        if (!fn->has_unit)
            FAIL(e, derivative ? ERR_LOC(5624901) : ERR_LOC(5423902),
                 "%s where the sortBy is a Date requires a 'unit'", fn->name);
        *out = (double)bval_i64(key) / (double)date_unit_ms(fn->unit);
        return RC_OK;
    }
    if (fn->has_unit)
        FAIL(e, derivative ? ERR_LOC(5624900) : ERR_LOC(5423901),
             "%s with 'unit' expects the sortBy field to be a Date", fn->name);
    if (!bval_is_number(key))
        FAIL(e, derivative ? ERR_LOC(5624902) : ERR_LOC(5423900),
             "%s expects the sortBy field to be numeric", fn->name);
    *out = bval_to_double(key);
    return RC_OK;
}

static RC derivative(struct window_part *p, const struct window_fn *fn, int k, uint32_t from,
                     uint32_t to, struct bval *out, struct err *e)
{
    double t0, t1;

    *out = bval_new_null();
    if (to <= from)
        return RC_OK;
    TRY(time_of(fn, p->rows[from].key, &t0, e));
    TRY(time_of(fn, p->rows[to - 1].key, &t1, e));
    struct bval y0 = p->rows[from].x[k], y1 = p->rows[to - 1].x[k];
    if (t0 == t1 || !bval_is_number(y0) || !bval_is_number(y1))
        return RC_OK;
    *out = bval_new_double(p->q->scratch, (bval_to_double(y1) - bval_to_double(y0)) / (t1 - t0));
    return RC_OK;
}

static RC integral(struct window_part *p, const struct window_fn *fn, int k, uint32_t from,
                   uint32_t to, struct bval *out, struct err *e)
{
    double sum = 0, t0 = 0, y0 = 0;

    *out = bval_new_null();
    for (uint32_t i = from; i < to; i++) {
        double t1, y1;
        TRY(time_of(fn, p->rows[i].key, &t1, e));
        if (!bval_is_number(p->rows[i].x[k]))
            return RC_OK;
        y1 = bval_to_double(p->rows[i].x[k]);
        if (i > from)
            sum += (t1 - t0) * (y0 + y1) / 2;
        t0 = t1;
        y0 = y1;
        TRY(qctx_check(p->q, e));
    }
    if (to > from)
        *out = bval_new_double(p->q->scratch, sum);
    return RC_OK;
}

static struct bval exp_avg(struct window_part *p, const struct window_fn *fn,
                           struct window_state *st, struct bval x)
{
    if (!bval_is_number(x))
        return st->started ? st->last : bval_new_null();
    if (!st->started) {
        st->last = x.type == BT_DECIMAL128 ? x : bval_new_double(p->mem, bval_to_double(x));
    } else if (x.type == BT_DECIMAL128 || st->last.type == BT_DECIMAL128) {
        struct dec128 a = dec_from_double(fn->alpha), b = dec_sub(dec_from_i64(1), a, NULL);
        st->last = bval_new_dec(p->mem, dec_add(dec_mul(bval_to_dec(x), a, NULL),
                                                dec_mul(bval_to_dec(st->last), b, NULL), NULL));
    } else {
        st->last = bval_new_double(p->mem, bval_to_double(x) * fn->alpha +
                                               bval_to_double(st->last) * (1 - fn->alpha));
    }
    st->started = true;
    return st->last;
}

static RC linear_fill(struct window_part *p, struct window_state *st, int k, uint32_t i,
                      struct bval *out, struct err *e)
{
    struct window_row *r = p->rows;

    if (i > 0 && bval_cmp_in(p->q->collator, r[i].key, r[i - 1].key) == 0)
        FAIL(e, ERR_LOC(6050106), "there can be no repeated values in the sort field");
    *out = bval_is_missing(r[i].x[k]) ? bval_new_null() : r[i].x[k];
    if (bval_is_number(r[i].x[k])) {
        st->started = true;
        st->rank = (int32_t)i; /* the last known value's row */
        return RC_OK;
    }
    if (!bval_is_nullish(r[i].x[k]))
        FAIL(e, ERR_TYPE_MISMATCH, "value to be filled must be numeric or nullish");
    if (st->upto <= i)
        st->upto = i + 1;
    while (st->upto < p->n && bval_is_nullish(r[st->upto].x[k]))
        st->upto++;
    if (!st->started || st->upto == p->n || !bval_is_number(r[st->upto].x[k]))
        return RC_OK;
    const struct window_row *a = &r[st->rank], *b = &r[st->upto];
    if (a->key.type != b->key.type && (a->key.type == BT_DATE || b->key.type == BT_DATE))
        FAIL(e, ERR_TYPE_MISMATCH, "conflicting types of the sort field");
    double x0, x1, x;
    struct window_fn plain = { .kind = WIN_LINEAR_FILL,
                               .name = "$linearFill",
                               .has_unit = r[i].key.type == BT_DATE };
    TRY(time_of(&plain, a->key, &x0, e));
    TRY(time_of(&plain, b->key, &x1, e));
    TRY(time_of(&plain, r[i].key, &x, e));
    double y0 = bval_to_double(a->x[k]), y1 = bval_to_double(b->x[k]);
    *out = bval_new_double(p->q->scratch, y0 + (x - x0) * ((y1 - y0) / (x1 - x0)));
    return RC_OK;
}

static struct bval rank(struct window_part *p, const struct window_fn *fn, struct window_state *st,
                        uint32_t i)
{
    bool tie = i > 0 && bval_cmp_in(p->q->collator, p->rows[i].key, p->rows[i - 1].key) == 0;

    if (fn->kind == WIN_DENSE_RANK)
        st->rank += !tie;
    else if (!tie || fn->kind == WIN_DOC_NUMBER)
        st->rank = (int32_t)i + 1;
    return bval_new_i32(p->q->scratch, st->rank);
}

RC window__value(struct window_part *p, const struct window_fn *fn, struct window_state *st,
                 uint32_t i, struct bval *out, struct err *e)
{
    int k = (int)(st - p->st);
    struct bval x = p->rows[i].x[k];
    uint32_t from, to;
    int64_t at;

    switch (fn->kind) {
    case WIN_RANK:
    case WIN_DENSE_RANK:
    case WIN_DOC_NUMBER: *out = rank(p, fn, st, i); return RC_OK;
    case WIN_SHIFT:
        at = (int64_t)i + fn->by;
        *out = at < 0 || at >= p->n ? fn->fallback : p->rows[at].x[k];
        if (bval_is_missing(*out))
            *out = bval_new_null();
        return RC_OK;
    case WIN_LOCF:
        if (!bval_is_nullish(x))
            st->last = x;
        *out = bval_is_missing(st->last) ? bval_new_null() : st->last;
        return RC_OK;
    case WIN_EXP_AVG: *out = exp_avg(p, fn, st, x); return RC_OK;
    case WIN_LINEAR_FILL: return linear_fill(p, st, k, i, out, e);
    default: break;
    }
    TRY(frame_of(p, &fn->frame, i, &from, &to, e));
    switch (fn->kind) {
    case WIN_COV_POP:
    case WIN_COV_SAMP: return covariance(p, fn, k, from, to, out, e);
    case WIN_DERIVATIVE: return derivative(p, fn, k, from, to, out, e);
    case WIN_INTEGRAL: return integral(p, fn, k, from, to, out, e);
    default: return accumulate(p, fn, st, k, from, to, out, e);
    }
}
