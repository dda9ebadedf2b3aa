/* stage_densify.c - $densify: documents for the values that a field skips.
 *
 * The input is sorted by the partition's fields and the field (by the field alone when the range is "full", since every partition then reaches
 * from the least value of all to the greatest). A partition knows the next value of its grid; a document makes all grid values before its own,
 * and takes the place of its own. A document without the field passes through.
 */
#include "agg_priv.h"

#include "base/mem.h"
#include "query/accum.h"
#include "query/dateunit.h"

enum { MADE_MAX = 500000 };
enum range_kind { RANGE_FULL, RANGE_PARTITION, RANGE_BOUNDS };

struct path {
    const struct slice *parts;
    int n;
    struct slice text;
};

struct densify {
    struct path field, *by;
    int n_by;
    enum range_kind kind;
    struct bval step, lo, hi;
    bool has_unit;
    enum date_unit unit;
    int64_t n_units;
    struct sort_spec *order;
};

/* A number or a date, kept. */
struct point {
    uint8_t bytes[16];
    struct bval v;
};

/* A partition: its fields' values as an array (NULL where missing), and the next value of its grid. */
struct part {
    struct bval key;
    struct point next;
};

struct densify_iter {
    struct iter it;
    struct arena *mem; /* of keys */
    struct valset keys;
    struct part *parts;
    uint32_t n_parts, cap, at; /* at: the first partition that is not complete */
    struct part *cur;
    struct buf doc; /* what comes after the values being made */
    bool has_doc, met;
    struct point until; /* values are made below it, or up to it when inclusive */
    bool inclusive, making, ended;
    struct point base, max; /* of a full range: the least and the greatest value met */
    int64_t n_made;
};

static void keep(struct point *p, struct bval v)
{
    memcpy(p->bytes, v.p, v.len);
    p->v = (struct bval){ .type = v.type, .len = v.len, .p = p->bytes };
}

/* A point moves with what holds it. */
static struct bval value_of(const struct point *p)
{
    return (struct bval){ .type = p->v.type, .len = p->v.len, .p = p->bytes };
}

static RC step_up(const struct densify *d, struct arena *a, struct point *p, struct err *e)
{
    struct bval v = value_of(p);
    struct num_sum s;
    int64_t ms;

    if (v.type == BT_DATE) {
        TRY(date_unit_add(bval_i64(v), d->unit, d->n_units, &ms, e));
        keep(p, bval_new_date(a, ms));
        return RC_OK;
    }
    num_sum_init(&s);
    num_sum_add(&s, v);
    num_sum_add(&s, d->step);
    keep(p, num_sum_value(&s, a));
    return RC_OK;
}

static RC check_value(const struct densify *d, struct bval v, struct err *e)
{
    if (!bval_is_number(v) && v.type != BT_DATE)
        FAIL(e, ERR_LOC(5733201), "Densify field type must be numeric or a date");
    if (bval_is_number(v) && d->has_unit)
        FAIL(e, ERR_LOC(6053600),
             "Encountered numeric densify value in collection when step has a date unit.");
    if (v.type == BT_DATE && !d->has_unit)
        FAIL(e, ERR_LOC(6053600),
             "Encountered date densify value in collection when step does not have a date unit.");
    return RC_OK;
}

/* ---- partitions ---- */

static RC part_key(const struct densify *d, struct arena *a, struct bdoc doc, struct bval *out,
                   struct err *e)
{
    struct vals l = vals_in(a);

    for (int i = 0; i < d->n_by; i++)
        vals_push(&l, doc_plain_path(doc, d->by[i].parts, d->by[i].n));
    return vals_array(a, l.v, l.n, out, e);
}

static RC add_part(struct densify_iter *x, struct bval key, struct bval next, struct part **out,
                   struct err *e)
{
    if (x->n_parts == x->cap) {
        uint32_t cap = x->cap ? x->cap * 2 : 16;
        struct part *more = mem_calloc(cap, sizeof(*more));
        if (x->n_parts)
            memcpy(more, x->parts, sizeof(*more) * x->n_parts);
        mem_free(x->parts);
        x->parts = more;
        x->cap = cap;
        x->cur = NULL;
    }
    struct part *p = &x->parts[x->n_parts++];
    p->key = bval_dup(x->mem, key);
    keep(&p->next, next);
    valset_add(&x->keys, p->key);
    if (arena_used(x->mem) + x->cap * sizeof(*p) > stage__memory(&x->it.r))
        FAIL(e, ERR_LOC(6007200), "$densify exceeded memory limit of %zu", stage__memory(&x->it.r));
    *out = p;
    return RC_OK;
}

/* ---- making documents ---- */

static RC make(struct densify_iter *x, struct bdoc *doc, struct err *e)
{
    const struct densify *d = x->it.s->data;
    struct arena *a = x->it.r.q->scratch;
    struct bdoc out = BDOC_EMPTY;
    struct biter it;

    biter_init(&it, bval_doc(x->cur->key));
    for (int i = 0; biter_next(&it) && i < d->n_by; i++)
        if (it.val.type != BT_NULL)
            TRY(doc_set_path(a, out, d->by[i].parts, d->by[i].n, it.val, &out, e));
    TRY(doc_set_path(a, out, d->field.parts, d->field.n, value_of(&x->cur->next), &out, e));
    if (++x->n_made > MADE_MAX)
        FAIL(e, ERR_LOC(5897900),
             "Generated more than %d documents in $densify, which is over the limit", MADE_MAX);
    TRY(step_up(d, a, &x->cur->next, e));
    *doc = out;
    return stage__check_made(out, e);
}

/* Whether the grid's next value is still to be made before x->until. */
static bool wanted(const struct densify_iter *x)
{
    int c = bval_cmp(value_of(&x->cur->next), value_of(&x->until));

    return c < 0 || (c == 0 && x->inclusive);
}

static void begin(struct densify_iter *x, struct part *p, struct bval until, bool inclusive)
{
    x->cur = p;
    keep(&x->until, until);
    x->inclusive = inclusive;
    x->making = true;
}

/* The next partition that is not complete yet, up to the end of the range. */
static void complete_one(struct densify_iter *x)
{
    const struct densify *d = x->it.s->data;
    struct part *p = &x->parts[x->at++];

    if (d->kind == RANGE_BOUNDS)
        begin(x, p, d->hi, false);
    else
        begin(x, p, value_of(&x->max), true);
}

/* A document with a value: where its partition's grid stands, and what is to be made before it. In the order of partitions, those that
 * are over are completed first: then *again is set. */
static RC meet(struct densify_iter *x, struct bdoc doc, struct bval v, bool *again, struct err *e)
{
    const struct densify *d = x->it.s->data;
    struct bval key;
    struct part *p;

    *again = false;
    TRY(check_value(d, v, e));
    TRY(part_key(d, x->it.r.q->scratch, doc, &key, e));
    int64_t at = valset_find(&x->keys, key);
    if (at >= 0) {
        p = &x->parts[at];
    } else {
        if (d->kind == RANGE_BOUNDS && x->at < x->n_parts) {
            complete_one(x);
            *again = true;
            return RC_OK;
        }
        if (d->kind == RANGE_FULL && bval_is_missing(x->base.v))
            keep(&x->base, v);
        TRY(add_part(x, key,
                     d->kind == RANGE_BOUNDS ? d->lo
                     : d->kind == RANGE_FULL ? value_of(&x->base)
                                             : v,
                     &p, e));
    }
    if (d->kind == RANGE_FULL)
        keep(&x->max, v);
    begin(x, p, d->kind == RANGE_BOUNDS && bval_cmp(v, d->hi) >= 0 ? d->hi : v, false);
    return RC_OK;
}

/* The document itself: it stands for a grid value that equals its own. */
static RC take_doc(struct densify_iter *x, struct bdoc *doc, struct err *e)
{
    const struct densify *d = x->it.s->data;

    *doc = (struct bdoc){ .p = x->doc.p, .len = (uint32_t)x->doc.len };
    x->has_doc = false;
    struct bval v = doc_plain_path(*doc, d->field.parts, d->field.n);
    if (bval_is_nullish(v) || !x->cur || bval_cmp(value_of(&x->cur->next), v) != 0 ||
        (d->kind == RANGE_BOUNDS && bval_cmp(v, d->hi) >= 0))
        return RC_OK;
    return step_up(d, x->it.r.q->scratch, &x->cur->next, e);
}

static RC pull(struct densify_iter *x, struct err *e)
{
    const struct densify *d = x->it.s->data;
    struct bdoc doc;
    bool valid;

    TRY(iter_pull(&x->it, &doc, &valid, e));
    x->ended = !valid;
    x->met = false;
    if (valid) {
        buf_clear(&x->doc);
        buf_push(&x->doc, doc.p, doc.len);
        x->has_doc = true;
    } else if (d->kind == RANGE_BOUNDS && x->n_parts == 0 && d->n_by == 0) {
        struct part *p;
        struct bval key; /* no document at all: the range stands by itself */
        TRY(part_key(d, x->it.r.q->scratch, BDOC_EMPTY, &key, e));
        TRY(add_part(x, key, d->lo, &p, e));
    }
    return RC_OK;
}

static RC densify_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct densify_iter *x = (struct densify_iter *)s;
    const struct densify *d = x->it.s->data;

    *valid = true;
    for (;;) {
        TRY(qctx_check(x->it.r.q, e));
        if (x->making && wanted(x))
            return make(x, doc, e);
        x->making = false;
        if (x->has_doc && x->met)
            return take_doc(x, doc, e);
        if (!x->has_doc && !x->ended)
            TRY(pull(x, e));
        if (x->has_doc) {
            struct bdoc held = { .p = x->doc.p, .len = (uint32_t)x->doc.len };
            struct bval v = doc_plain_path(held, d->field.parts, d->field.n);
            bool again = false;
            if (!bval_is_nullish(v))
                TRY(meet(x, held, v, &again, e));
            x->met = !again;
        } else if (d->kind != RANGE_PARTITION && x->at < x->n_parts) {
            complete_one(x);
        } else {
            *valid = false;
            return RC_OK;
        }
    }
}

static void densify_fini(struct iter *it)
{
    struct densify_iter *x = (struct densify_iter *)it;

    buf_fini(&x->doc);
    mem_free(x->parts);
    arena_free(x->mem);
}

static STAGE_OPEN(open_densify)
{
    const struct densify *d = s->data;
    struct doc_source *sorted;

    TRY(sort_source(d->order, r->q, r->env, in, 0, &sorted, e));
    struct densify_iter *x = iter_new(sizeof(*x), s, r, sorted, densify_next, densify_fini);
    x->mem = arena_new(0);
    x->keys = valset_of(x->mem, r->q->collator);
    *out = &x->it.src;
    return RC_OK;
}

/* ---- parsing ---- */

static RC want_type(const char *name, struct bval v, enum btype t, struct err *e)
{
    if (bval_is_missing(v))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE, "BSON field '$densify.%s' is missing but a required field",
             name);
    if (v.type != t)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$densify.%s' is the wrong type '%s', expected type '%s'", name,
             btype_name(v.type), btype_name(t));
    return RC_OK;
}

static RC parse_bounds(struct densify *d, struct bval b, struct err *e)
{
    struct biter it;
    struct bval v[2] = { BVAL_MISSING, BVAL_MISSING };

    if (b.type == BT_STRING) {
        if (!slice_eq_str(bval_str(b), "full") && !slice_eq_str(bval_str(b), "partition"))
            FAIL(e, ERR_LOC(5946802), "Bounds string must either be 'full' or 'partition'");
        d->kind = slice_eq_str(bval_str(b), "full") ? RANGE_FULL : RANGE_PARTITION;
        return RC_OK;
    }
    if (b.type != BT_ARRAY)
        FAIL(e, ERR_LOC(5733404),
             "a range statement must have bounds that are an array or a string");
    if (bdoc_count(bval_doc(b)) != 2)
        FAIL(e, ERR_LOC(5733403),
             "a bounding array in a range statement must have exactly two elements");
    biter_init(&it, bval_doc(b));
    for (int i = 0; i < 2 && biter_next(&it); i++)
        v[i] = it.val;
    if (bval_canonical(v[0].type) != bval_canonical(v[1].type) || bval_cmp(v[0], v[1]) > 0 ||
        (!bval_is_number(v[0]) && v[0].type != BT_DATE))
        FAIL(e, ERR_LOC(5733402),
             "a bounding array must be an ascending array of either two dates or two numbers");
    if (bval_is_number(v[0]) && d->has_unit)
        FAIL(e, ERR_LOC(5733409), "numeric bounds may not have unit parameter");
    if (v[0].type == BT_DATE && !d->has_unit)
        FAIL(e, ERR_LOC(5733410), "a bounding array of dates must specify a unit");
    d->kind = RANGE_BOUNDS;
    d->lo = v[0];
    d->hi = v[1];
    return RC_OK;
}

static RC parse_range(struct qctx *q, struct densify *d, struct bval range, struct err *e)
{
    struct bval step, bounds, unit;
    const struct stage_opt opts[] = { { "step", &step }, { "bounds", &bounds }, { "unit", &unit } };
    struct bval zero = bval_new_i32(q->arena, 0);

    TRY(stage__options(range, "densify.range", opts, 3, ERR_IDL_UNKNOWN_FIELD, e));
    if (bval_is_missing(step) || bval_is_missing(bounds))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field '$densify.range.%s' is missing but a required field",
             bval_is_missing(step) ? "step" : "bounds");
    if (!bval_is_number(step) || bval_cmp(step, zero) <= 0)
        FAIL(e, ERR_LOC(5733401),
             "the step parameter in a range statement must be a strictly positive numeric value");
    d->step = step;
    d->has_unit = !bval_is_nullish(unit);
    if (d->has_unit) {
        if (unit.type != BT_STRING)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "BSON field '$densify.range.unit' is the wrong type '%s', expected type 'string'",
                 btype_name(unit.type));
        if (!bval_to_i64(step, &d->n_units))
            FAIL(
                e, ERR_LOC(6586400),
                "The step parameter in a range statement must be a whole number when densifying a date range");
        if (!date_unit_of(bval_str(unit), &d->unit))
            FAIL(e, ERR_FAILED_TO_PARSE, "unknown time unit value");
    }
    return parse_bounds(d, bounds, e);
}

static RC parse_partitions(struct qctx *q, struct densify *d, struct bval by, struct err *e)
{
    struct biter it;

    if (bval_is_missing(by))
        return RC_OK;
    TRY(want_type("partitionByFields", by, BT_ARRAY, e));
    d->by = ARENA_ARRAY(q->arena, struct path, bdoc_count(bval_doc(by)) + 1);
    biter_init(&it, bval_doc(by));
    while (biter_next(&it)) {
        struct path *p = &d->by[d->n_by++];
        TRY(want_type("partitionByFields.0", it.val, BT_STRING, e));
        p->text = bval_str(it.val);
        TRY(expr_split_path(q->arena, p->text, &p->parts, &p->n, e));
        if (slice_eq(p->text, d->field.text))
            FAIL(
                e, ERR_LOC(8993000),
                "BSON field '$densify.partitionByFields' contains the field that is being densified");
    }
    return RC_OK;
}

static RC parse_order(struct qctx *q, struct densify *d, struct err *e)
{
    struct fields f = fields_in(q->arena);
    struct bval o;

    for (int i = 0; i < d->n_by && d->kind != RANGE_FULL; i++)
        fields_set(&f, d->by[i].text, bval_new_i32(q->arena, 1));
    fields_set(&f, d->field.text, bval_new_i32(q->arena, 1));
    TRY(fields_object(&f, &o, e));
    return sort_spec_parse(q, bval_doc(o), &d->order, e);
}

STAGE_PARSE(stage__parse_densify)
{
    struct densify *d = ARENA_NEW(sp->q->arena, struct densify);
    struct bval field, by, range;
    const struct stage_opt opts[] = { { "field", &field },
                                      { "partitionByFields", &by },
                                      { "range", &range } };

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "The $densify stage specification must be an object, found %s",
             btype_name(spec.type));
    TRY(stage__options(spec, "densify", opts, 3, ERR_IDL_UNKNOWN_FIELD, e));
    TRY(want_type("field", field, BT_STRING, e));
    TRY(want_type("range", range, BT_DOCUMENT, e));
    d->field.text = bval_str(field);
    TRY(expr_split_path(sp->q->arena, d->field.text, &d->field.parts, &d->field.n, e));
    TRY(parse_partitions(sp->q, d, by, e));
    TRY(parse_range(sp->q, d, range, e));
    if (d->kind == RANGE_PARTITION && d->n_by == 0)
        FAIL(
            e, ERR_LOC(5733408),
            "One may not specify the bounds as 'partition' without specifying a non-empty array of partitionByFields. You may have meant to specify 'full' bounds.");
    TRY(parse_order(sp->q, d, e));
    pipeline__add(sp, def, spec, d)->open = open_densify;
    return RC_OK;
}
