/* acc.c - accumulators: state, addition, result. */
#include "acc_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

static bool is_top(enum acc_kind k)
{
    return k == ACC_TOP || k == ACC_TOP_N || k == ACC_BOTTOM || k == ACC_BOTTOM_N;
}

RC acc_init(const struct acc *a, struct acc_state *st, struct arena *mem, struct qctx *q,
            struct bval key, struct err *e)
{
    *st = (struct acc_state){ .n = 1 };
    switch (a->kind) {
    case ACC_SUM:
    case ACC_AVG: num_sum_init(&st->u.sum); break;
    case ACC_ADD_TO_SET:
    case ACC_SET_UNION: st->u.set = valset_of(mem, a->collator); break;
    case ACC_PUSH:
    case ACC_CONCAT_ARRAYS:
    case ACC_FIRST_N:
    case ACC_LAST_N:
    case ACC_MAX_N:
    case ACC_MIN_N:
    case ACC_TOP:
    case ACC_TOP_N:
    case ACC_BOTTOM:
    case ACC_BOTTOM_N: st->u.list = vals_in(mem); break;
    default: break;
    }
    if (!a->n)
        return RC_OK;
    struct bval n;
    TRY(stage__eval(a->n, q, key.type == BT_DOCUMENT ? bval_doc(key) : BDOC_EMPTY, &n, e));
    if (!bval_is_number(n) || !bval_to_i64(n, &st->n) || st->n <= 0)
        FAIL(e, ERR_LOC(7548606), "'n' must be greater than 0 and an integer");
    return RC_OK;
}

RC acc_eval(const struct acc *a, struct qctx *q, struct bdoc doc, struct bval *out, struct err *e)
{
    *out = BVAL_MISSING;
    if (!a->arg)
        return RC_OK;
    if (!is_top(a->kind))
        return stage__eval(a->arg, q, doc, out, e);
    struct bval v[SORT_KEYS_MAX + 1];
    TRY(sort_keys(a->sort, q, doc, v, e));
    TRY(stage__eval(a->arg, q, doc, &v[a->sort->n], e));
    return vals_array(q->scratch, v, (uint32_t)a->sort->n + 1, out, e);
}

/* Keeps one value, in a place that is used again when the next fits. */
static void keep_one(struct acc_state *st, struct arena *mem, struct bval v)
{
    if (v.len > st->u.one.cap) {
        st->u.one.cap = MAX(v.len * 2, (uint32_t)32);
        st->u.one.p = arena_alloc(mem, st->u.one.cap);
    }
    if (v.len)
        memcpy(st->u.one.p, v.p, v.len);
    st->u.one.v = (struct bval){ .type = v.type, .len = v.len, .p = st->u.one.p };
    st->u.one.has = true;
}

static int cmp_keys(const struct acc *a, struct bval x, struct bval y)
{
    struct biter p, q;

    biter_init(&p, bval_doc(x));
    biter_init(&q, bval_doc(y));
    for (int i = 0; i < a->sort->n && biter_next(&p) && biter_next(&q); i++) {
        int c = bval_cmp_in(a->collator, p.val, q.val);
        if (c)
            return c * a->sort->keys[i].dir;
    }
    return 0;
}

/* Sorted insertion into a list of at most n; equal values stay in the order they came. which < 0 keeps the lowest, > 0 the highest. */
static void insert_bounded(const struct acc *a, struct acc_state *st, struct arena *mem,
                           struct bval v)
{
    struct vals *l = &st->u.list;
    bool top = is_top(a->kind), high = a->kind == ACC_MAX_N,
         bottom = a->kind == ACC_BOTTOM || a->kind == ACC_BOTTOM_N;
    uint32_t lo = 0, hi = l->n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int c = top ? cmp_keys(a, l->v[mid], v) : bval_cmp_in(a->collator, l->v[mid], v);
        if (high ? c < 0 : c > 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    if (!bottom && (int64_t)l->n >= st->n && lo >= l->n)
        return;
    if (bottom && (int64_t)l->n >= st->n && lo == 0)
        return;
    struct bval own = bval_dup(mem, v);
    bool full = (int64_t)l->n >= st->n;
    if (!full)
        vals_push(l, own);
    if (bottom && full) { /* the first goes */
        memmove(l->v, l->v + 1, sizeof(*l->v) * (lo - 1));
        l->v[lo - 1] = own;
        return;
    }
    memmove(l->v + lo + 1, l->v + lo, sizeof(*l->v) * (l->n - lo - 1));
    l->v[lo] = own;
}

static RC add_array(const struct acc *a, struct acc_state *st, struct arena *mem, struct bval v,
                    struct err *e)
{
    struct biter it;

    if (bval_is_missing(v))
        return RC_OK;
    if (v.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH, "%s requires array inputs, but input is of type %s", a->name,
             btype_name(v.type));
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        if (a->kind == ACC_CONCAT_ARRAYS)
            vals_push(&st->u.list, bval_dup(mem, it.val));
        else if (valset_find(&st->u.set, it.val) < 0)
            valset_add(&st->u.set, bval_dup(mem, it.val));
    }
    return RC_OK;
}

static RC merge_object(struct acc_state *st, struct arena *mem, struct bval v, struct err *e)
{
    struct bval r;

    if (bval_is_nullish(v))
        return RC_OK;
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(5911200), "$mergeObjects requires object inputs, but input is of type %s",
             btype_name(v.type));
    if (!st->u.one.has) {
        keep_one(st, mem, v);
        return RC_OK;
    }
    struct arena *tmp = arena_new(0);
    struct fields f = fields_in(tmp);
    struct biter it;
    fields_push_all(&f, bval_doc(st->u.one.v));
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        fields_set(&f, it.name, it.val);
    rc_t rc = fields_object(&f, &r, e);
    if (!rc.failed)
        keep_one(st, mem, r);
    arena_free(tmp);
    return rc;
}

static void push_number(struct acc_state *st, struct arena *mem, struct bval v)
{
    if (!bval_is_number(v))
        return;
    if (st->u.nums.n == st->u.nums.cap) {
        uint32_t cap = st->u.nums.cap ? st->u.nums.cap * 2 : 16;
        double *more = arena_alloc(mem, sizeof(double) * cap);
        if (st->u.nums.n)
            memcpy(more, st->u.nums.v, sizeof(double) * st->u.nums.n);
        st->u.nums.v = more;
        st->u.nums.cap = cap;
    }
    st->u.nums.v[st->u.nums.n++] = bval_to_double(v);
}

static void add_last_n(struct acc_state *st, struct arena *mem, struct bval v)
{
    struct vals *l = &st->u.list;

    v = bval_is_missing(v) ? bval_new_null() : bval_dup(mem, v);
    if ((int64_t)l->n < st->n) {
        vals_push(l, v);
        return;
    }
    memmove(l->v, l->v + 1, sizeof(*l->v) * (l->n - 1));
    l->v[l->n - 1] = v;
}

RC acc_add(const struct acc *a, struct acc_state *st, struct arena *mem, struct bval v,
           struct err *e)
{
    switch (a->kind) {
    case ACC_SUM:
    /* longs exactly, here for averages too */
    case ACC_AVG: num_sum_add(&st->u.sum, v); return RC_OK;
    case ACC_COUNT: st->u.count++; return RC_OK;
    case ACC_DEV_POP:
    case ACC_DEV_SAMP:
        if (bval_is_number(v))
            num_dev_add(&st->u.dev, bval_to_double(v));
        return RC_OK;
    case ACC_MEDIAN:
    case ACC_PERCENTILE: push_number(st, mem, v); return RC_OK;
    case ACC_FIRST:
        if (!st->u.one.has)
            keep_one(st, mem, bval_is_missing(v) ? bval_new_null() : v);
        return RC_OK;
    case ACC_LAST: keep_one(st, mem, bval_is_missing(v) ? bval_new_null() : v); return RC_OK;
    case ACC_MIN:
    case ACC_MAX:
        if (bval_is_nullish(v))
            return RC_OK;
        if (!st->u.one.has || (a->kind == ACC_MAX ? bval_cmp_in(a->collator, v, st->u.one.v) > 0
                                                  : bval_cmp_in(a->collator, v, st->u.one.v) < 0))
            keep_one(st, mem, v);
        return RC_OK;
    case ACC_PUSH:
        if (!bval_is_missing(v))
            vals_push(&st->u.list, bval_dup(mem, v));
        return RC_OK;
    case ACC_ADD_TO_SET:
        if (!bval_is_missing(v) && valset_find(&st->u.set, v) < 0)
            valset_add(&st->u.set, bval_dup(mem, v));
        return RC_OK;
    case ACC_MERGE_OBJECTS: return merge_object(st, mem, v, e);
    case ACC_CONCAT_ARRAYS:
    case ACC_SET_UNION: return add_array(a, st, mem, v, e);
    case ACC_FIRST_N:
        if ((int64_t)st->u.list.n < st->n)
            vals_push(&st->u.list, bval_is_missing(v) ? bval_new_null() : bval_dup(mem, v));
        return RC_OK;
    case ACC_LAST_N: add_last_n(st, mem, v); return RC_OK;
    case ACC_MAX_N:
    case ACC_MIN_N:
        if (!bval_is_nullish(v))
            insert_bounded(a, st, mem, v);
        return RC_OK;
    default: insert_bounded(a, st, mem, v); return RC_OK;
    }
}

/* The outputs that stand behind the sort keys. */
static RC top_result(const struct acc *a, struct acc_state *st, struct arena *m, struct bval *out,
                     struct err *e)
{
    struct vals l = vals_in(m);
    char name[12];

    snprintf(name, sizeof(name), "%d", a->sort->n);
    for (uint32_t i = 0; i < st->u.list.n; i++)
        vals_push(&l, bdoc_get(bval_doc(st->u.list.v[i]), name));
    if (a->kind == ACC_TOP_N || a->kind == ACC_BOTTOM_N)
        return vals_array(m, l.v, l.n, out, e);
    *out = l.n ? l.v[0] : bval_new_null();
    return RC_OK;
}

RC acc_result(const struct acc *a, struct acc_state *st, struct arena *m, struct bval *out,
              struct err *e)
{
    switch (a->kind) {
    case ACC_SUM: *out = num_sum_value(&st->u.sum, m); return RC_OK;
    case ACC_AVG: *out = num_sum_avg(&st->u.sum, m); return RC_OK;
    case ACC_COUNT:
        *out = st->u.count <= INT32_MAX ? bval_new_i32(m, (int32_t)st->u.count)
                                        : bval_new_i64(m, st->u.count);
        return RC_OK;
    case ACC_DEV_POP:
    case ACC_DEV_SAMP: *out = num_dev_value(&st->u.dev, a->kind == ACC_DEV_SAMP, m); return RC_OK;
    case ACC_MEDIAN:
    case ACC_PERCENTILE: {
        struct bval all;
        TRY(percentiles_of(m, st->u.nums.v, st->u.nums.n, a->p, a->n_p, &all, e));
        *out = a->kind == ACC_PERCENTILE && (st->u.nums.n || a->n_p) ? all
                                                                     : bdoc_get(bval_doc(all), "0");
        return RC_OK;
    }
    case ACC_FIRST:
    case ACC_LAST:
    case ACC_MIN:
    case ACC_MAX: *out = st->u.one.has ? st->u.one.v : bval_new_null(); return RC_OK;
    case ACC_MERGE_OBJECTS:
        *out = st->u.one.has ? st->u.one.v : bval_of_doc(BDOC_EMPTY, BT_DOCUMENT);
        return RC_OK;
    case ACC_ADD_TO_SET:
    case ACC_SET_UNION: return vals_array(m, st->u.set.v, st->u.set.n, out, e);
    case ACC_TOP:
    case ACC_TOP_N:
    case ACC_BOTTOM:
    case ACC_BOTTOM_N: return top_result(a, st, m, out, e);
    default: return vals_array(m, st->u.list.v, st->u.list.n, out, e);
    }
}
