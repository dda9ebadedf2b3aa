/* window_parse.c - window functions as they are written: {operator: argument, window: {documents | range, unit}}. */
#include "window_priv.h"

#include <math.h>

#include "base/mem.h"

static const struct window_name {
    const char *name;
    enum window_kind kind;
    bool frameless; /* takes no window */
    bool ranking;   /* {} as argument, one sort key */
} names[] = {
    { "$covariancePop", WIN_COV_POP, false, false },
    { "$covarianceSamp", WIN_COV_SAMP, false, false },
    { "$denseRank", WIN_DENSE_RANK, true, true },
    { "$derivative", WIN_DERIVATIVE, false, false },
    { "$documentNumber", WIN_DOC_NUMBER, true, true },
    { "$expMovingAvg", WIN_EXP_AVG, true, false },
    { "$integral", WIN_INTEGRAL, false, false },
    { "$linearFill", WIN_LINEAR_FILL, true, false },
    { "$locf", WIN_LOCF, true, false },
    { "$rank", WIN_RANK, true, true },
    { "$shift", WIN_SHIFT, true, false },
};

static const struct window_name *find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq_str(name, names[i].name))
            return &names[i];
    return NULL;
}

static RC parse_unit(struct bval v, enum date_unit *out, struct err *e)
{
    if (v.type != BT_STRING || !date_unit_of(bval_str(v), out))
        FAIL(e, ERR_FAILED_TO_PARSE, "'unit' must be a string that names a unit of time");
    return RC_OK;
}

static RC parse_bound(struct bval v, bool whole, struct window_bound *b, struct err *e)
{
    *b = (struct window_bound){ .v = v };
    if (v.type == BT_STRING) {
        if (slice_eq_str(bval_str(v), "unbounded"))
            b->kind = BOUND_UNBOUNDED;
        else if (slice_eq_str(bval_str(v), "current"))
            b->kind = BOUND_CURRENT;
        else
            FAIL(e, ERR_FAILED_TO_PARSE,
                 "Window bounds must be 'unbounded', 'current', or a number");
        return RC_OK;
    }
    if (!bval_is_number(v))
        FAIL(e, ERR_FAILED_TO_PARSE, "Window bounds must be 'unbounded', 'current', or a number");
    b->kind = BOUND_OFFSET;
    if (!bval_to_i64(v, &b->n) && whole)
        FAIL(e, ERR_FAILED_TO_PARSE, "Numeric bounds of documents or units must be whole numbers");
    return RC_OK;
}

/* Whether the lower bound lies above the upper one; "current" stands for 0. */
static bool crossed(const struct window_frame *f, struct qctx *q)
{
    struct bval zero = bval_new_i32(q->arena, 0);

    if (f->lo.kind == BOUND_UNBOUNDED || f->hi.kind == BOUND_UNBOUNDED)
        return false;
    return bval_cmp(f->lo.kind == BOUND_OFFSET ? f->lo.v : zero,
                    f->hi.kind == BOUND_OFFSET ? f->hi.v : zero) > 0;
}

static RC check_sort(const struct windows *w, const struct window_frame *f, struct err *e)
{
    if (f->range) {
        if (!w->sort || w->sort->n != 1)
            FAIL(e, ERR_LOC(5339902), "Range-based bounds require sortBy a single field");
        if (w->sort->keys[0].dir < 0)
            FAIL(e, ERR_LOC(8947401), "Range-based bounds require an ascending sortBy");
    } else if (!w->sort && (f->lo.kind != BOUND_UNBOUNDED || f->hi.kind != BOUND_UNBOUNDED)) {
        FAIL(e, ERR_LOC(5339901), "Document-based bounds require a sortBy");
    }
    return RC_OK;
}

static RC parse_frame(struct qctx *q, const struct windows *w, struct bval spec,
                      struct window_frame *f, struct err *e)
{
    struct bval docs, range, unit, b[2];
    const struct stage_opt opts[] = { { "documents", &docs },
                                      { "range", &range },
                                      { "unit", &unit } };
    struct biter it;

    *f = (struct window_frame){ 0 };
    if (bval_is_missing(spec))
        return RC_OK;
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "'window' field must be an object");
    TRY(stage__options(spec, "setWindowFields.window", opts, 3, ERR_FAILED_TO_PARSE, e));
    f->range = !bval_is_missing(range);
    f->has_unit = !bval_is_missing(unit);
    if (f->range && !bval_is_missing(docs))
        FAIL(e, ERR_FAILED_TO_PARSE, "Window bounds can specify either 'documents' or 'range'");
    if (f->has_unit && !f->range)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "Window bounds can only specify 'unit' with range-based bounds");
    if (f->has_unit)
        TRY(parse_unit(unit, &f->unit, e));
    struct bval bounds = f->range ? range : docs;
    if (bval_is_missing(bounds))
        return RC_OK;
    if (bounds.type != BT_ARRAY || bdoc_count(bval_doc(bounds)) != 2)
        FAIL(e, ERR_FAILED_TO_PARSE, "Window bounds must be a 2-element array");
    biter_init(&it, bval_doc(bounds));
    for (int i = 0; i < 2 && biter_next(&it); i++)
        b[i] = it.val;
    TRY(parse_bound(b[0], !f->range || f->has_unit, &f->lo, e));
    TRY(parse_bound(b[1], !f->range || f->has_unit, &f->hi, e));
    if (crossed(f, q))
        FAIL(e, ERR_LOC(5339900), "Lower bound must not exceed upper bound");
    return check_sort(w, f, e);
}

static RC parse_ranking(const struct windows *w, struct bval arg, const char *name, struct err *e)
{
    if (arg.type != BT_DOCUMENT || !bdoc_is_empty(bval_doc(arg)))
        FAIL(e, ERR_LOC(5371603), "%s must be specified with '{}' as the value", name);
    if (!w->sort || w->sort->n != 1)
        FAIL(e, ERR_LOC(5371602),
             "%s must be specified with a top level sortBy expression with exactly one element",
             name);
    return RC_OK;
}

/* {output, by[, default]} */
static RC parse_shift(struct qctx *q, struct bval arg, struct window_fn *fn, struct err *e)
{
    struct bval output, by, fallback;
    const struct stage_opt opts[] = { { "output", &output },
                                      { "by", &by },
                                      { "default", &fallback } };
    struct qctx cq = *q;
    struct expr *x;

    cq.scratch = cq.arena;
    if (arg.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "Argument to $shift must be an object");
    TRY(stage__options(arg, "shift", opts, 3, ERR_FAILED_TO_PARSE, e));
    if (bval_is_missing(output) || bval_is_missing(by))
        FAIL(e, ERR_FAILED_TO_PARSE, "$shift requires 'output' and 'by'");
    if (!bval_is_number(by) || !bval_to_i64(by, &fn->by) || fn->by < INT32_MIN ||
        fn->by > INT32_MAX)
        FAIL(e, ERR_FAILED_TO_PARSE, "'$shift:by' field must be an integer");
    fn->fallback = bval_new_null();
    if (!bval_is_missing(fallback)) {
        TRY(expr_parse(&cq, fallback, &x, e));
        if (!expr_is_const(x, &fn->fallback))
            FAIL(e, ERR_FAILED_TO_PARSE, "'$shift:default' expression must yield a constant value");
    }
    return expr_parse(q, output, &fn->x, e);
}

/* {input, N | alpha} */
static RC parse_exp_avg(struct qctx *q, struct bval arg, struct window_fn *fn, struct err *e)
{
    struct bval input, n, alpha;
    const struct stage_opt opts[] = { { "input", &input }, { "N", &n }, { "alpha", &alpha } };
    int64_t count;

    if (arg.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE,
             "$expMovingAvg must have exactly one argument that is an object");
    TRY(stage__options(arg, "expMovingAvg", opts, 3, ERR_FAILED_TO_PARSE, e));
    if (bval_is_missing(input) || bval_is_missing(n) == bval_is_missing(alpha))
        FAIL(
            e, ERR_FAILED_TO_PARSE,
            "$expMovingAvg sub object must have exactly two fields: An 'input' field, and either an 'N' field or an 'alpha' field");
    if (!bval_is_missing(n)) {
        if (!bval_is_number(n) || !bval_to_i64(n, &count) || count <= 0)
            FAIL(e, ERR_FAILED_TO_PARSE, "'N' field must be an integer greater than zero");
        fn->alpha = 2.0 / ((double)count + 1);
    } else {
        fn->alpha = bval_is_number(alpha) ? bval_to_double(alpha) : NAN;
        if (!(fn->alpha > 0 && fn->alpha < 1))
            FAIL(e, ERR_FAILED_TO_PARSE,
                 "'alpha' must be between 0 and 1 (exclusive), found another");
    }
    return expr_parse(q, input, &fn->x, e);
}

/* {input[, unit]} of $derivative and $integral */
static RC parse_slope(struct qctx *q, const struct windows *w, struct bval arg,
                      struct window_fn *fn, struct err *e)
{
    struct bval input, unit;
    const struct stage_opt opts[] = { { "input", &input }, { "unit", &unit } };

    if (arg.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "%s expects an object", fn->name);
    TRY(stage__options(arg, fn->name + 1, opts, 2, ERR_FAILED_TO_PARSE, e));
    if (bval_is_missing(input))
        FAIL(e, ERR_FAILED_TO_PARSE, "%s requires an 'input' expression", fn->name);
    if (!w->sort || w->sort->n != 1)
        FAIL(e, ERR_FAILED_TO_PARSE, "%s requires a sortBy of one field", fn->name);
    fn->has_unit = !bval_is_missing(unit);
    if (fn->has_unit) {
        TRY(parse_unit(unit, &fn->unit, e));
        if (date_unit_ms(fn->unit) == 0)
            FAIL(e, ERR_LOC(5490704), "unit must be 'week' or smaller");
    }
    return expr_parse(q, input, &fn->x, e);
}

static RC parse_pair(struct qctx *q, struct bval arg, struct window_fn *fn, struct err *e)
{
    struct biter it;

    if (arg.type != BT_ARRAY || bdoc_count(bval_doc(arg)) != 2)
        return expr_parse(q, arg, &fn->x, e); /* no pairs: null */
    biter_init(&it, bval_doc(arg));
    biter_next(&it);
    TRY(expr_parse(q, it.val, &fn->x, e));
    biter_next(&it);
    return expr_parse(q, it.val, &fn->y, e);
}

static RC parse_own(struct qctx *q, const struct windows *w, struct bval arg, struct window_fn *fn,
                    struct err *e)
{
    switch (fn->kind) {
    case WIN_RANK:
    case WIN_DENSE_RANK:
    case WIN_DOC_NUMBER: return parse_ranking(w, arg, fn->name, e);
    case WIN_COV_POP:
    case WIN_COV_SAMP: return parse_pair(q, arg, fn, e);
    case WIN_DERIVATIVE:
    case WIN_INTEGRAL: return parse_slope(q, w, arg, fn, e);
    case WIN_LINEAR_FILL:
        if (!w->sort || w->sort->n != 1)
            FAIL(e, ERR_LOC(605001), "$linearFill requires a sortBy of exactly one field");
        return expr_parse(q, arg, &fn->x, e);
    case WIN_EXP_AVG:
    case WIN_SHIFT:
        if (!w->sort)
            FAIL(e, ERR_FAILED_TO_PARSE, "'%s' requires a sortBy", fn->name);
        return fn->kind == WIN_SHIFT ? parse_shift(q, arg, fn, e) : parse_exp_avg(q, arg, fn, e);
    default: return expr_parse(q, arg, &fn->x, e);
    }
}

/* split(): the operator, its argument, and the window; anything else is counted in extra. */
static void split(struct bdoc spec, struct slice *name, struct bval *arg, struct bval *window,
                  int *extra)
{
    struct biter it;

    *name = (struct slice){ 0 };
    *arg = *window = BVAL_MISSING;
    *extra = 0;
    biter_init(&it, spec);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "window")) {
            *window = it.val;
        } else if (!name->len && it.name.len && it.name.p[0] == '$') {
            *name = it.name;
            *arg = it.val;
        } else {
            ++*extra;
        }
    }
}

RC window__parse_fn(struct qctx *q, const struct windows *w, struct slice path, struct bval spec,
                    struct window_fn *fn, struct err *e)
{
    struct slice name;
    struct bval arg, window;
    int extra;

    *fn = (struct window_fn){ 0 };
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "The field '%.*s' must be a window function object",
             (int)path.len, (const char *)path.p);
    TRY(expr_split_path(q->arena, path, &fn->parts, &fn->n_parts, e));
    split(bval_doc(spec), &name, &arg, &window, &extra);
    if (!name.len)
        FAIL(e, ERR_FAILED_TO_PARSE, "Expected a $-prefixed window function");
    const struct window_name *own = find(name);
    if (own && own->ranking && (extra || !bval_is_missing(window)))
        FAIL(e, ERR_LOC(5371601), "Rank style window functions take no other arguments");
    if (extra)
        FAIL(e, ERR_FAILED_TO_PARSE, "Window function found an unknown argument");
    if (own && own->frameless && !bval_is_missing(window))
        FAIL(e, ERR_FAILED_TO_PARSE, "'window' field is not allowed in %s", own->name);
    TRY(parse_frame(q, w, window, &fn->frame, e));
    if (own) {
        fn->kind = own->kind;
        fn->name = own->name;
        return parse_own(q, w, arg, fn, e);
    }
    if (!acc_is_name(name) || slice_eq_str(name, "$mergeObjects"))
        FAIL(e, ERR_FAILED_TO_PARSE, "Unrecognized window function, %.*s", (int)name.len,
             (const char *)name.p);
    fn->kind = WIN_ACC;
    return acc_parse(q, path, name, arg, &fn->acc, e);
}
