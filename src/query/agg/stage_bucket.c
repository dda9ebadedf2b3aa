/* stage_bucket.c - $bucket, which is a $group over a $switch and a $sort; $bucketAuto, which sorts all values and cuts. */
#include "acc_priv.h"

#include <math.h>

#include "base/mem.h"

/* {name: v} in the request's arena. */
static RC obj1(struct arena *a, const char *name, struct bval v, struct bval *out, struct err *e)
{
    struct slice n = slice_str(name);

    return vals_object(a, &n, &v, 1, out, e);
}

static RC pair(struct arena *a, struct bval x, struct bval y, struct bval *out, struct err *e)
{
    struct bval v[2] = { x, y };

    return vals_array(a, v, 2, out, e);
}

static bool is_group_by(struct bval v)
{
    if (v.type == BT_STRING)
        return bval_str(v).len > 0 && bval_str(v).p[0] == '$';
    if (v.type != BT_DOCUMENT)
        return false;
    struct biter it;
    biter_init(&it, bval_doc(v));
    return biter_next(&it) && it.name.len && it.name.p[0] == '$';
}

/* One branch of the $switch: low <= x < high gives low. */
static RC branch(struct arena *a, struct bval by, struct bval low, struct bval high,
                 struct bval *out, struct err *e)
{
    struct bval lit, p, ge, lt, both, cond, then;
    struct slice names[2] = { SLICE_LIT("case"), SLICE_LIT("then") };

    TRY(obj1(a, "$literal", low, &then, e));
    TRY(pair(a, by, then, &p, e));
    TRY(obj1(a, "$gte", p, &ge, e));
    TRY(obj1(a, "$literal", high, &lit, e));
    TRY(pair(a, by, lit, &p, e));
    TRY(obj1(a, "$lt", p, &lt, e));
    TRY(pair(a, ge, lt, &both, e));
    TRY(obj1(a, "$and", both, &cond, e));
    struct bval v[2] = { cond, then };
    return vals_object(a, names, v, 2, out, e);
}

/* The boundaries: constants of one type class, rising. */
static RC parse_boundaries(struct qctx *q, struct bval b, struct vals *out, struct err *e)
{
    struct biter it;

    *out = vals_in(q->arena);
    if (b.type != BT_ARRAY)
        FAIL(e, ERR_LOC(40200),
             "The $bucket 'boundaries' field must be an array, but found type: %s",
             btype_name(b.type));
    biter_init(&it, bval_doc(b));
    while (biter_next(&it)) {
        struct expr *x;
        struct bval v;
        TRY(expr_parse(q, it.val, &x, e));
        if (!expr_is_const(x, &v))
            FAIL(e, ERR_LOC(40191),
                 "The $bucket 'boundaries' field must be an array of constant values");
        vals_push(out, v);
    }
    if (out->n < 2)
        FAIL(e, ERR_LOC(40192),
             "The $bucket 'boundaries' field must have at least 2 values, but found %u value(s)",
             out->n);
    for (uint32_t i = 1; i < out->n; i++) {
        if (bval_canonical(out->v[i - 1].type) != bval_canonical(out->v[i].type))
            FAIL(e, ERR_LOC(40193),
                 "All values in the 'boundaries' option to $bucket must have the same type");
        if (bval_cmp_in(q->collator, out->v[i - 1], out->v[i]) >= 0)
            FAIL(
                e, ERR_LOC(40194),
                "The 'boundaries' option to $bucket must be sorted, but elements %u and %u are not in ascending order",
                i - 1, i);
    }
    return RC_OK;
}

static RC parse_default(struct qctx *q, struct bval d, const struct vals *b, struct bval *out,
                        struct err *e)
{
    struct expr *x;

    *out = BVAL_MISSING;
    if (bval_is_missing(d))
        return RC_OK;
    TRY(expr_parse(q, d, &x, e));
    if (!expr_is_const(x, out))
        FAIL(e, ERR_LOC(40195), "The $bucket 'default' field must be a constant expression");
    if (b->n && bval_cmp_in(q->collator, *out, b->v[0]) >= 0 &&
        bval_cmp_in(q->collator, *out, b->v[b->n - 1]) < 0)
        FAIL(
            e, ERR_LOC(40199),
            "The $bucket 'default' field must be less than the lowest boundary or greater than or equal to the highest boundary.");
    return RC_OK;
}

static RC default_output(struct arena *a, struct bval *out, struct err *e)
{
    struct bval sum;

    TRY(obj1(a, "$sum", bval_new_i32(a, 1), &sum, e));
    return obj1(a, "count", sum, out, e);
}

static RC add_bucket_group(struct stage_parser *sp, struct bval by, const struct vals *b,
                           struct bval def_val, struct bval output, struct err *e)
{
    struct arena *a = sp->q->arena;
    struct vals branches = vals_in(a);
    struct fields sw = fields_in(a), group = fields_in(a);
    struct bval v, lit, sv, id, st;

    for (uint32_t i = 1; i < b->n; i++) {
        TRY(branch(a, by, b->v[i - 1], b->v[i], &v, e));
        vals_push(&branches, v);
    }
    TRY(vals_array(a, branches.v, branches.n, &v, e));
    fields_push(&sw, SLICE_LIT("branches"), v);
    if (!bval_is_missing(def_val)) {
        TRY(obj1(a, "$literal", def_val, &lit, e));
        fields_push(&sw, SLICE_LIT("default"), lit);
    }
    TRY(fields_object(&sw, &sv, e));
    TRY(obj1(a, "$switch", sv, &id, e));
    fields_push(&group, SLICE_LIT("_id"), id);
    fields_push_all(&group, bval_doc(output));
    TRY(fields_object(&group, &v, e));
    TRY(obj1(a, "$group", v, &st, e));
    TRY(pipeline__add_spec(sp, bval_doc(st), e));
    TRY(obj1(a, "_id", bval_new_i32(a, 1), &v, e));
    TRY(obj1(a, "$sort", v, &st, e));
    return pipeline__add_spec(sp, bval_doc(st), e);
}

STAGE_PARSE(stage__parse_bucket)
{
    struct bval by, bounds, dv, output, def_val;
    const struct stage_opt opts[] = {
        { "groupBy", &by }, { "boundaries", &bounds }, { "default", &dv }, { "output", &output }
    };
    struct vals b = vals_in(sp->q->arena);
    struct biter it;

    (void)def;
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40201), "Argument to $bucket stage must be an object, but found type: %s",
             btype_name(spec.type));
    by = bounds = dv = output = BVAL_MISSING;
    biter_init(&it, bval_doc(spec));
    /* each is checked where it stands, so that the first mistake is the one told */
    while (biter_next(&it)) {
        int i = 0;
        while (i < 4 && !slice_eq_str(it.name, opts[i].name))
            i++;
        if (i == 4)
            FAIL(e, ERR_LOC(40197), "Unrecognized option to $bucket: %.*s", (int)it.name.len,
                 (const char *)it.name.p);
        *opts[i].out = it.val;
        if (i == 0 && !is_group_by(by))
            FAIL(
                e, ERR_LOC(40202),
                "The $bucket 'groupBy' field must be defined as a $-prefixed path or an expression");
        if (i == 1)
            TRY(parse_boundaries(sp->q, bounds, &b, e));
        if (i == 3 && output.type != BT_DOCUMENT)
            FAIL(e, ERR_LOC(40196),
                 "The $bucket 'output' field must be an object, but found type: %s",
                 btype_name(output.type));
    }
    if (bval_is_missing(by) || bval_is_missing(bounds))
        FAIL(e, ERR_LOC(40198), "$bucket requires 'groupBy' and 'boundaries' to be specified");
    TRY(parse_default(sp->q, dv, &b, &def_val, e));
    if (bval_is_missing(output))
        TRY(default_output(sp->q->arena, &output, e));
    return add_bucket_group(sp, by, &b, def_val, output, e);
}

/* ---- $bucketAuto ---- */

struct bucket_auto {
    struct expr *by;
    int32_t n_buckets;
    struct acc *accs;
    int n_accs;
    const double *series; /* granularity: the preferred numbers within 1..10; NULL none */
    int n_series;
    bool power_of_two;
    struct sort_spec *order; /* by k */
};

struct auto_iter {
    struct iter it;
    struct arena *mem; /* of the bucket being filled */
    struct doc_source *sorted;
    struct docbuf docs; /* {k: value, d: document}, sorted */
    int64_t total;
    struct bdoc ahead; /* read but not yet in a bucket; in buf */
    struct buf ahead_buf;
    bool has_ahead, loaded;
    int32_t given;
    struct bval last_max;
    struct arena *keep;
};

/* {k, d} of each input document, as a source for the sorter. */
static RC pairs_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct iter *it = (struct iter *)s;
    const struct bucket_auto *ba = it->s->data;
    struct arena *a = it->r.q->scratch;
    struct slice names[2] = { SLICE_LIT("k"), SLICE_LIT("d") };
    struct bdoc d;
    struct bval v[2], o;

    TRY(iter_pull(it, &d, valid, e));
    if (!*valid)
        return RC_OK;
    TRY(stage__eval(ba->by, it->r.q, d, &v[0], e));
    if (bval_is_missing(v[0]))
        v[0] = bval_new_null();
    if (ba->n_series || ba->power_of_two) {
        if (!bval_is_number(v[0]))
            FAIL(
                e, ERR_LOC(40258),
                "$bucketAuto can specify a 'granularity' with numeric boundaries only, but found a value with type: %s",
                btype_name(v[0].type));
        double x = bval_to_double(v[0]);
        if (isnan(x))
            FAIL(
                e, ERR_LOC(40259),
                "$bucketAuto can specify a 'granularity' with numeric boundaries only, but found a NaN");
        if (x < 0)
            FAIL(
                e, ERR_LOC(40260),
                "$bucketAuto can specify a 'granularity' with non-negative numbers only, but found a negative number");
    }
    v[1] = bval_of_doc(d, BT_DOCUMENT);
    TRY(vals_object(a, names, v, 2, &o, e));
    *doc = bval_doc(o);
    return RC_OK;
}

static RC read_ahead(struct auto_iter *ai, struct err *e)
{
    struct bdoc d;

    TRY(docbuf_next(&ai->docs, &d, &ai->has_ahead, e));
    if (ai->has_ahead) {
        buf_clear(&ai->ahead_buf);
        buf_push(&ai->ahead_buf, d.p, d.len);
        ai->ahead = (struct bdoc){ .p = ai->ahead_buf.p, .len = d.len };
    }
    return RC_OK;
}

static RC auto_load(struct auto_iter *ai, struct err *e)
{
    const struct bucket_auto *ba = ai->it.s->data;
    struct iter *pairs = iter_new(sizeof(*pairs), ai->it.s, &ai->it.r, ai->it.in, pairs_next, NULL);

    ai->it.in = NULL;
    TRY(sort_source(ba->order, ai->it.r.q, ai->it.r.env, &pairs->src, 0, &ai->sorted, e));
    for (;;) {
        struct arena_mark mark = arena_mark(ai->it.r.q->scratch);
        struct bdoc d;
        bool valid;
        TRY(ai->sorted->next(ai->sorted, &d, &valid, e));
        if (!valid)
            break;
        TRY(docbuf_add(&ai->docs, d, e));
        ai->total++;
        arena_rewind(ai->it.r.q->scratch, mark);
        TRY(qctx_check(ai->it.r.q, e));
    }
    TRY(docbuf_rewind(&ai->docs, e));
    ai->loaded = true;
    return read_ahead(ai, e);
}

/* Rounding to the preferred numbers. */
static double round_up(const struct bucket_auto *ba, double x)
{
    if (x <= 0)
        return 0;
    if (ba->power_of_two)
        return exp2(floor(log2(x)) + 1);
    double scale = pow(10, floor(log10(x)));
    for (int tries = 0; tries < 3; tries++, scale *= 10)
        for (int i = 0; i < ba->n_series; i++)
            if (ba->series[i] * scale > x)
                return ba->series[i] * scale;
    return x;
}

static double round_down(const struct bucket_auto *ba, double x)
{
    if (x <= 0)
        return 0;
    if (ba->power_of_two)
        return exp2(ceil(log2(x)) - 1);
    double scale = pow(10, floor(log10(x)) + 1);
    for (int tries = 0; tries < 3; tries++, scale /= 10)
        for (int i = ba->n_series - 1; i >= 0; i--)
            if (ba->series[i] * scale < x)
                return ba->series[i] * scale;
    return x;
}

struct filling {
    struct acc_state *st;
    struct bval min, max;
};

static RC take_ahead(struct auto_iter *ai, struct filling *f, struct err *e)
{
    const struct bucket_auto *ba = ai->it.s->data;
    struct qctx *q = ai->it.r.q;
    struct bdoc d = bval_doc(bdoc_get(ai->ahead, "d"));

    f->max = bval_dup(ai->mem, bdoc_get(ai->ahead, "k"));
    for (int i = 0; i < ba->n_accs; i++) {
        struct bval v;
        TRY(acc_eval(&ba->accs[i], q, d, &v, e));
        TRY(acc_add(&ba->accs[i], &f->st[i], ai->mem, v, e));
    }
    TRY(qctx_check(q, e));
    return read_ahead(ai, e);
}

static bool same_as_max(const struct auto_iter *ai, struct bval max)
{
    return ai->has_ahead && bval_cmp_in(ai->it.r.q->collator, bdoc_get(ai->ahead, "k"), max) == 0;
}

/* Fills one bucket; its upper bound is the next bucket's lower one, or the largest value in the last. */
static RC fill(struct auto_iter *ai, struct filling *f, struct err *e)
{
    const struct bucket_auto *ba = ai->it.s->data;
    int64_t left = ai->total, buckets = ba->n_buckets;
    int64_t size = MAX((int64_t)1, (int64_t)llround((double)left / (double)buckets));
    bool grain = ba->n_series || ba->power_of_two;
    bool last = ai->given + 1 == ba->n_buckets;

    f->min = bval_dup(ai->mem, bdoc_get(ai->ahead, "k"));
    for (int64_t i = 0; ai->has_ahead && (i < size || last); i++)
        TRY(take_ahead(ai, f, e));
    while (same_as_max(ai, f->max))
        TRY(take_ahead(ai, f, e));
    if (!grain) {
        if (ai->has_ahead)
            f->max = bval_dup(ai->mem, bdoc_get(ai->ahead, "k"));
        return RC_OK;
    }
    double up = round_up(ba, bval_to_double(f->max));
    while (ai->has_ahead && bval_to_double(bdoc_get(ai->ahead, "k")) < up)
        TRY(take_ahead(ai, f, e));
    f->max =
        bval_to_double(f->max) == 0 && ai->has_ahead
            ? bval_new_double(ai->mem, round_down(ba, bval_to_double(bdoc_get(ai->ahead, "k"))))
            : bval_new_double(ai->mem, up);
    f->min = ai->given ? bval_dup(ai->mem, ai->last_max)
                       : bval_new_double(ai->mem, round_down(ba, bval_to_double(f->min)));
    return RC_OK;
}

static RC auto_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct auto_iter *ai = (struct auto_iter *)s;
    const struct bucket_auto *ba = ai->it.s->data;
    struct arena *a = ai->it.r.q->scratch;
    struct filling f = { 0 };
    struct fields o = fields_in(a), id = fields_in(a);
    struct bval v;

    *valid = false;
    if (!ai->loaded)
        TRY(auto_load(ai, e));
    if (!ai->has_ahead)
        return RC_OK;
    arena_reset(ai->mem);
    f.st = arena_alloc(ai->mem, sizeof(*f.st) * ((size_t)ba->n_accs + 1));
    for (int i = 0; i < ba->n_accs; i++)
        TRY(acc_init(&ba->accs[i], &f.st[i], ai->mem, ai->it.r.q, BVAL_MISSING, e));
    TRY(fill(ai, &f, e));
    ai->given++;
    arena_reset(ai->keep);
    ai->last_max = bval_dup(ai->keep, f.max);
    fields_push(&id, SLICE_LIT("min"), f.min);
    fields_push(&id, SLICE_LIT("max"), f.max);
    TRY(fields_object(&id, &v, e));
    fields_push(&o, SLICE_LIT("_id"), v);
    for (int i = 0; i < ba->n_accs; i++) {
        TRY(acc_result(&ba->accs[i], &f.st[i], a, &v, e));
        fields_push(&o, ba->accs[i].field, v);
    }
    TRY(fields_object(&o, &v, e));
    *doc = bval_doc(v);
    *valid = true;
    return stage__check_made(*doc, e);
}

static void auto_fini(struct iter *it)
{
    struct auto_iter *ai = (struct auto_iter *)it;

    doc_source_close(ai->sorted);
    docbuf_fini(&ai->docs);
    buf_fini(&ai->ahead_buf);
    arena_free(ai->mem);
    arena_free(ai->keep);
}

static STAGE_OPEN(open_auto)
{
    struct auto_iter *ai = iter_new(sizeof(*ai), s, r, in, auto_next, auto_fini);

    (void)e;
    ai->mem = arena_new(0);
    ai->keep = arena_new(0);
    docbuf_init(&ai->docs, r, "$bucketAuto");
    *out = &ai->it.src;
    return RC_OK;
}

static RC parse_granularity(struct bval g, struct bucket_auto *ba, struct err *e)
{
    static const double r5[] = { 1.0, 1.6, 2.5, 4.0, 6.3 },
                        r10[] = { 1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0 };
    static const double r20[] = { 1.0,  1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 2.24, 2.5, 2.8,
                                  3.15, 3.55, 4.0,  4.5, 5.0, 5.6, 6.3, 7.1,  8.0, 9.0 };
    static const double r40[] = { 1.0,  1.06, 1.12, 1.18, 1.25, 1.32, 1.4, 1.5,  1.6, 1.7,
                                  1.8,  1.9,  2.0,  2.12, 2.24, 2.36, 2.5, 2.65, 2.8, 3.0,
                                  3.15, 3.35, 3.55, 3.75, 4.0,  4.25, 4.5, 4.75, 5.0, 5.3,
                                  5.6,  6.0,  6.3,  6.7,  7.1,  7.5,  8.0, 8.5,  9.0, 9.5 };
    static const double r80[] = { 1.0,  1.03, 1.06, 1.09, 1.12, 1.15, 1.18, 1.22, 1.25, 1.28,
                                  1.32, 1.36, 1.4,  1.45, 1.5,  1.55, 1.6,  1.65, 1.7,  1.75,
                                  1.8,  1.85, 1.9,  1.95, 2.0,  2.06, 2.12, 2.18, 2.24, 2.3,
                                  2.36, 2.43, 2.5,  2.58, 2.65, 2.72, 2.8,  2.9,  3.0,  3.07,
                                  3.15, 3.25, 3.35, 3.45, 3.55, 3.65, 3.75, 3.87, 4.0,  4.12,
                                  4.25, 4.37, 4.5,  4.62, 4.75, 4.87, 5.0,  5.15, 5.3,  5.45,
                                  5.6,  5.8,  6.0,  6.15, 6.3,  6.5,  6.7,  6.9,  7.1,  7.3,
                                  7.5,  7.75, 8.0,  8.25, 8.5,  8.75, 9.0,  9.25, 9.5,  9.75 };
    static const double e6[] = { 1.0, 1.5, 2.2, 3.3, 4.7, 6.8 },
                        e12[] = { 1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2 };
    static const double e24[] = { 1.0, 1.1, 1.2, 1.3, 1.5, 1.6, 1.8, 2.0, 2.2, 2.4, 2.7, 3.0,
                                  3.3, 3.6, 3.9, 4.3, 4.7, 5.1, 5.6, 6.2, 6.8, 7.5, 8.2, 9.1 };
    static const double s125[] = { 1.0, 2.0, 5.0 };
    static const struct {
        const char *name;
        const double *v;
        int n;
    } series[] = { { "R5", r5, 5 },    { "R10", r10, 10 }, { "R20", r20, 20 },
                   { "R40", r40, 40 }, { "R80", r80, 80 }, { "E6", e6, 6 },
                   { "E12", e12, 12 }, { "E24", e24, 24 }, { "1-2-5", s125, 3 } };

    if (g.type != BT_STRING)
        FAIL(e, ERR_LOC(40261),
             "The $bucketAuto 'granularity' field must be a string, but found type: %s",
             btype_name(g.type));
    if (slice_eq_str(bval_str(g), "POWERSOF2")) {
        ba->power_of_two = true;
        return RC_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(series); i++) {
        if (slice_eq_str(bval_str(g), series[i].name)) {
            ba->series = series[i].v;
            ba->n_series = series[i].n;
            return RC_OK;
        }
    }
    FAIL(e, ERR_LOC(40257), "Unknown rounding granularity");
}

static RC parse_auto_output(struct qctx *q, struct bval output, struct bucket_auto *ba,
                            struct err *e)
{
    struct biter it;

    ba->accs = ARENA_ARRAY(q->arena, struct acc, bdoc_count(bval_doc(output)) + 1);
    biter_init(&it, bval_doc(output));
    while (biter_next(&it)) {
        TRY(acc_parse_field(q, it.name, it.val, &ba->accs[ba->n_accs], e));
        ba->n_accs++;
    }
    return RC_OK;
}

static RC parse_auto_field(struct qctx *q, const char *name, struct bval v, struct bucket_auto *ba,
                           struct err *e)
{
    int64_t n;

    if (strcmp(name, "groupBy") == 0) {
        if (!is_group_by(v))
            FAIL(
                e, ERR_LOC(40239),
                "The $bucketAuto 'groupBy' field must be defined as a $-prefixed path or an expression object");
        return expr_parse(q, v, &ba->by, e);
    }
    if (strcmp(name, "buckets") == 0) {
        if (!bval_is_number(v))
            FAIL(e, ERR_LOC(40241),
                 "The $bucketAuto 'buckets' field must be a numeric value, but found type: %s",
                 btype_name(v.type));
        if (!bval_to_i64(v, &n) || n > INT32_MAX || n < INT32_MIN)
            FAIL(e, ERR_LOC(40242),
                 "The $bucketAuto 'buckets' field must be representable as a 32-bit integer");
        if (n <= 0)
            FAIL(e, ERR_LOC(40243), "The $bucketAuto 'buckets' field must be greater than 0");
        ba->n_buckets = (int32_t)n;
        return RC_OK;
    }
    if (strcmp(name, "output") == 0) {
        if (v.type != BT_DOCUMENT)
            FAIL(e, ERR_LOC(40244),
                 "The $bucketAuto 'output' field must be an object, but found type: %s",
                 btype_name(v.type));
        return parse_auto_output(q, v, ba, e);
    }
    return parse_granularity(v, ba, e);
}

STAGE_PARSE(stage__parse_bucket_auto)
{
    static const char *const names[] = { "groupBy", "buckets", "output", "granularity" };
    struct bucket_auto *ba = ARENA_NEW(sp->q->arena, struct bucket_auto);
    struct bval output, by_k;
    struct biter it;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(40240), "The argument to $bucketAuto must be an object, but found type: %s",
             btype_name(spec.type));
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        size_t i = 0;
        while (i < ARRAY_LEN(names) && !slice_eq_str(it.name, names[i]))
            i++;
        if (i == ARRAY_LEN(names))
            FAIL(e, ERR_LOC(40245), "Unrecognized option to $bucketAuto: %.*s", (int)it.name.len,
                 (const char *)it.name.p);
        TRY(parse_auto_field(sp->q, names[i], it.val, ba, e));
    }
    if (!ba->by || !ba->n_buckets)
        FAIL(e, ERR_LOC(40246), "$bucketAuto requires 'groupBy' and 'buckets' to be specified");
    if (ba->n_accs == 0) {
        TRY(default_output(sp->q->arena, &output, e));
        TRY(parse_auto_output(sp->q, output, ba, e));
    }
    TRY(obj1(sp->q->arena, "k", bval_new_i32(sp->q->arena, 1), &by_k, e));
    TRY(sort_spec_parse(sp->q, bval_doc(by_k), &ba->order, e));
    pipeline__add(sp, def, spec, ba)->open = open_auto;
    return RC_OK;
}
