/* eval.c - a filter on a document, in place.
 *
 * A path is walked through documents. Where it meets an array, the rest of the path is tried on each element that is a document and, when the
 * next component is a number, on that element. At the end of the path an array offers its elements and then itself. The first value that
 * satisfies the predicate ends the walk; a path that leads nowhere offers one missing value. Nothing is allocated.
 */
#include <math.h>

#include "bsonx/dec.h"
#include "match_priv.h"

enum subject_kind {
    SUBJECT_DOC,   /* paths start at the fields of a document */
    SUBJECT_VALUE, /* the first component of every path stands for a value (arrayFilters, $pull) */
    SUBJECT_SELF,  /* nodes without a path test the value itself (inside value $elemMatch) */
};

struct subject {
    enum subject_kind kind;
    struct bdoc doc;
    struct bval val;
};

static bool eval(struct match__eval *ev, const struct match_node *n, const struct subject *s,
                 struct match_hit *hit);

/* ---- predicates on one value ---- */

static bool is_nan(struct bval v)
{
    if (v.type == BT_DOUBLE)
        return isnan(bval_double(v));
    return v.type == BT_DECIMAL128 && dec_is_nan(bval_dec(v));
}

static bool compare_ok(enum match_op op, int c)
{
    switch (op) {
    case MATCH_EQ: return c == 0;
    case MATCH_GT: return c > 0;
    case MATCH_GTE: return c >= 0;
    case MATCH_LT: return c < 0;
    default: return c <= 0;
    }
}

static const struct collator *collator_of(const struct match__eval *ev)
{
    return ev->q ? ev->q->collator : NULL;
}

static bool test_compare(const struct collator *in, enum match_op op, struct bval operand,
                         struct bval v)
{
    bool or_equal = op == MATCH_EQ || op == MATCH_GTE || op == MATCH_LTE;

    if (v.type == BT_MISSING)
        return (operand.type == BT_NULL && or_equal) ||
               (operand.type == BT_MIN_KEY && (op == MATCH_GT || op == MATCH_GTE)) ||
               (operand.type == BT_MAX_KEY && (op == MATCH_LT || op == MATCH_LTE));
    if (bval_canonical(v.type) != bval_canonical(operand.type)) {
        if (operand.type == BT_MIN_KEY)
            return op == MATCH_GT || op == MATCH_GTE;
        if (operand.type == BT_MAX_KEY)
            return op == MATCH_LT || op == MATCH_LTE;
        return false; /* ranges stay within their class of types */
    }
    if (bval_is_number(v)) {
        bool vn = is_nan(v), on = is_nan(operand);

        if (vn || on)
            return vn && on && or_equal;
    }
    return compare_ok(op, bval_cmp_in(in, v, operand));
}

static bool test_in(struct match__eval *ev, const struct match_node *n, struct bval v)
{
    struct bval key = v.type == BT_MISSING ? bval_new_null() : v;
    const struct collator *in = collator_of(ev);
    int lo = 0, hi = n->n_operands;

    if (v.type != BT_UNDEFINED) {
        while (lo < hi) {
            int mid = lo + (hi - lo) / 2;
            int c = bval_cmp_in(in, key, n->operands[mid]);

            if (c == 0)
                return true;
            if (c < 0)
                hi = mid;
            else
                lo = mid + 1;
        }
    }
    for (int i = 0; i < n->n_children; i++) {
        if (match__regex_test(ev, n->children[i]->impl, v))
            return true;
    }
    return false;
}

static bool test_mod(const int64_t pair[2], struct bval v)
{
    int64_t x;

    switch (v.type) {
    case BT_INT32:
    case BT_INT64: bval_to_i64(v, &x); break;
    case BT_DOUBLE: {
        double d = trunc(bval_double(v));

        if (!(d >= -0x1p63 && d < 0x1p63))
            return false;
        x = (int64_t)d;
        break;
    }
    case BT_DECIMAL128:
        if (!dec_to_i64(bval_dec(v), DEC_TRUNC, &x, NULL))
            return false;
        break;
    default: return false;
    }
    return (pair[0] == -1 ? 0 : x % pair[0]) == pair[1]; /* INT64_MIN % -1 traps */
}

static bool test_elem_match(struct match__eval *ev, const struct match_node *n, struct bval v,
                            struct match_hit *hit)
{
    struct biter it;

    if (v.type != BT_ARRAY)
        return false;
    biter_init(&it, bval_doc(v));
    for (uint32_t index = 0; biter_next(&it); index++) {
        struct subject s = { .kind = SUBJECT_SELF, .val = it.val };
        bool all = true;

        if (n->op == MATCH_ELEM_MATCH_OBJECT) {
            if (it.val.type != BT_DOCUMENT && it.val.type != BT_ARRAY)
                continue;
            s = (struct subject){ .kind = SUBJECT_DOC, .doc = bval_doc(it.val) };
        }
        for (int i = 0; all && i < n->n_children; i++)
            all = eval(ev, n->children[i], &s, NULL);
        if (all) {
            if (hit) {
                hit->has_index = true;
                hit->index = index;
                hit->array_path = n->path;
            }
            return true;
        }
    }
    return false;
}

static bool test_geo(struct match__eval *ev, const struct match_node *n, enum geo_relation relation,
                     struct bval v)
{
    bool yes = false;

    if (!ev->failed)
        ev->failed = geo_test(ev->q, n->impl, relation, v, &yes, ev->e).failed;
    return yes && !ev->failed;
}

/* note_distance(): never true, so that the walk meets every value. */
static bool note_distance(struct match__eval *ev, const struct match_node *n, struct bval v)
{
    double d;
    bool has = false;

    if (!ev->failed)
        ev->failed = geo_distance(ev->q, n->impl, v, &d, &has, ev->e).failed;
    if (has && d < ev->distance) {
        ev->distance = d;
        ev->nearest = v;
    }
    return false;
}

static bool test(struct match__eval *ev, const struct match_node *n, struct bval v,
                 struct match_hit *hit)
{
    switch (n->op) {
    case MATCH_EQ:
    case MATCH_GT:
    case MATCH_GTE:
    case MATCH_LT:
    case MATCH_LTE: return test_compare(collator_of(ev), n->op, n->operand, v);
    case MATCH_IN: return test_in(ev, n, v);
    case MATCH_EXISTS: return v.type != BT_MISSING;
    case MATCH_TYPE: return match__types_has(n->impl, v.type);
    case MATCH_REGEX: return match__regex_test(ev, n->impl, v);
    case MATCH_SIZE:
        return v.type == BT_ARRAY && bdoc_count(bval_doc(v)) == (uint32_t)bval_i32(n->operand);
    case MATCH_MOD: return test_mod(n->impl, v);
    case MATCH_BITS: return match__bits_test(n->impl, v);
    case MATCH_GEO_WITHIN: return test_geo(ev, n, GEO_WITHIN, v);
    case MATCH_GEO_INTERSECTS: return test_geo(ev, n, GEO_INTERSECTS, v);
    case MATCH_GEO_NEAR: return note_distance(ev, n, v);
    case MATCH_ELEM_MATCH_OBJECT:
    case MATCH_ELEM_MATCH_VALUE: return test_elem_match(ev, n, v, hit);
    default: INVARIANT(!"a node with a path is a predicate");
    }
    return false;
}

bool match__test(struct match__eval *ev, const struct match_node *n, struct bval v)
{
    return test(ev, n, v, NULL);
}

/* ---- walking a path ---- */

/* crosses_leaf(): whether an array at the end of the path offers its elements too. */
static bool crosses_leaf(enum match_op op)
{
    return op != MATCH_SIZE && op != MATCH_ELEM_MATCH_OBJECT && op != MATCH_ELEM_MATCH_VALUE;
}

enum { STEPS_BETWEEN_CHECKS = 256 };

/* A query and a document may each hold a million things, and every pair of them be looked at: so the request's limits are looked at inside a document too. */
static bool ended(struct match__eval *ev)
{
    if (!ev->failed && ++ev->steps % STEPS_BETWEEN_CHECKS == 0 && ev->q)
        ev->failed = qctx_check(ev->q, ev->e).failed;
    return ev->failed;
}

static bool walk_value(struct match__eval *ev, const struct match_node *n, struct bval v, int part,
                       struct match_hit *hit);

static bool walk_doc(struct match__eval *ev, const struct match_node *n, struct bdoc d, int part,
                     struct match_hit *hit)
{
    return walk_value(ev, n, bdoc_get_slice(d, n->parts[part]), part + 1, hit);
}

/* note(): the outermost array wins, so outer calls overwrite what inner ones left. */
static void note(const struct match_node *n, int part, uint32_t index, struct match_hit *hit)
{
    if (!hit)
        return;
    const struct slice *last = &n->parts[part - 1];

    hit->has_index = true;
    hit->index = index;
    hit->array_path = SLICE(n->path.p, (size_t)(last->p + last->len - n->path.p));
}

static bool is_index(struct slice part, uint32_t index)
{
    uint32_t x = 0;

    if (part.len == 0 || part.len > 9 || (part.len > 1 && part.p[0] == '0'))
        return false;
    for (size_t i = 0; i < part.len; i++) {
        if (part.p[i] < '0' || part.p[i] > '9')
            return false;
        x = x * 10 + (uint32_t)(part.p[i] - '0');
    }
    return x == index;
}

/* walk_array(): the path goes on at part behind this array. */
static bool walk_array(struct match__eval *ev, const struct match_node *n, struct bval array,
                       int part, struct match_hit *hit)
{
    struct slice next = n->parts[part];
    bool numeric = next.len > 0 && next.p[0] >= '0' && next.p[0] <= '9';
    struct biter it;

    biter_init(&it, bval_doc(array));
    for (uint32_t index = 0; !ended(ev) && biter_next(&it); index++) {
        if (it.val.type == BT_DOCUMENT && walk_doc(ev, n, bval_doc(it.val), part, hit)) {
            note(n, part, index, hit);
            return true;
        }
        if (!numeric || !is_index(next, index))
            continue;
        if (part + 1 == n->n_parts) { /* the element itself is the end: it is offered whole */
            if (test(ev, n, it.val, hit))
                return true; /* an index in the path leaves no position behind */
        } else if (it.val.type == BT_ARRAY) {
            if (walk_array(ev, n, it.val, part + 1, hit))
                return true;
        } else if (it.val.type == BT_DOCUMENT) {
            if (walk_doc(ev, n, bval_doc(it.val), part + 1, hit))
                return true;
        }
    }
    return false;
}

static bool walk_leaf_array(struct match__eval *ev, const struct match_node *n, struct bval array,
                            int part, struct match_hit *hit)
{
    struct biter it;

    if (crosses_leaf(n->op)) {
        biter_init(&it, bval_doc(array));
        for (uint32_t index = 0; !ended(ev) && biter_next(&it); index++) {
            if (test(ev, n, it.val, hit)) {
                note(n, part, index, hit);
                return true;
            }
        }
    }
    return test(ev, n, array, hit);
}

/* walk_value(): v was reached by the first `part` components. */
static bool walk_value(struct match__eval *ev, const struct match_node *n, struct bval v, int part,
                       struct match_hit *hit)
{
    if (part == n->n_parts)
        return v.type == BT_ARRAY ? walk_leaf_array(ev, n, v, part, hit) : test(ev, n, v, hit);
    if (v.type == BT_DOCUMENT)
        return walk_doc(ev, n, bval_doc(v), part, hit);
    if (v.type == BT_ARRAY)
        return walk_array(ev, n, v, part, hit);
    return test(ev, n, BVAL_MISSING, hit);
}

static bool eval_path(struct match__eval *ev, const struct match_node *n, const struct subject *s,
                      struct match_hit *hit)
{
    if (n->n_parts == 0)
        return test(ev, n, s->val, NULL);
    if (s->kind == SUBJECT_VALUE)
        return walk_value(ev, n, s->val, 1, hit);
    return walk_doc(ev, n, s->doc, 0, hit);
}

static bool eval_near(struct match__eval *ev, const struct match_node *n, const struct subject *s)
{
    ev->distance = INFINITY;
    (void)eval_path(ev, n, s, NULL);
    return isfinite(ev->distance) && geo_near_accepts(n->impl, ev->distance);
}

/* ---- trees ---- */

static bool eval_expr(struct match__eval *ev, const struct match_node *n, const struct subject *s)
{
    struct bval root = s->kind == SUBJECT_DOC ? bval_of_doc(s->doc, BT_DOCUMENT) : s->val;
    struct expr_env env = { .q = ev->q, .root = root, .current = root };
    struct arena *scratch = ev->q->scratch;
    bool own = scratch && scratch != ev->q->arena, yes;
    struct arena_mark mark;
    struct bval v;

    if (own)
        mark = arena_mark(scratch);
    if (expr_eval(n->impl, &env, &v, ev->e).failed) {
        ev->failed = true;
        return false;
    }
    yes = bval_truthy(v);
    if (own) /* of many expressions that one document meets, only one is in memory at a time */
        arena_rewind(scratch, mark);
    return yes;
}

static bool eval(struct match__eval *ev, const struct match_node *n, const struct subject *s,
                 struct match_hit *hit)
{
    if (ended(ev))
        return false;
    switch (n->op) {
    case MATCH_AND:
        for (int i = 0; i < n->n_children; i++) {
            if (!eval(ev, n->children[i], s, hit))
                return false;
        }
        return true;
    case MATCH_OR:
        for (int i = 0; i < n->n_children; i++) {
            if (eval(ev, n->children[i], s, NULL))
                return true;
        }
        return false;
    case MATCH_NOR:
        for (int i = 0; i < n->n_children; i++) {
            if (eval(ev, n->children[i], s, NULL))
                return false;
        }
        return true;
    case MATCH_NOT: return !eval(ev, n->children[0], s, NULL);
    case MATCH_EXPR: return eval_expr(ev, n, s);
    case MATCH_JSON_SCHEMA:
        return s->kind == SUBJECT_DOC && match__schema_test(ev, n->impl, s->doc);
    case MATCH_TRUE:
    case MATCH_COMMENT: return true;
    case MATCH_FALSE: return false;
    case MATCH_GEO_NEAR: return eval_near(ev, n, s);
    default: return eval_path(ev, n, s, hit);
    }
}

static RC run(const struct match *m, struct qctx *q, const struct subject *s, struct match_hit *hit,
              bool *out, struct err *e)
{
    struct match__eval ev = { .q = q, .e = e };

    *out = false;
    if (hit)
        *hit = (struct match_hit){ 0 };
    bool matched = eval(&ev, m->root, s, hit);

    if (ev.failed)
        return RC_FAILED;
    *out = matched;
    return RC_OK;
}

RC match_eval(const struct match *m, struct qctx *q, struct bdoc doc, struct match_hit *hit,
              bool *out, struct err *e)
{
    struct subject s = { .kind = SUBJECT_DOC, .doc = doc };

    return run(m, q, &s, hit, out, e);
}

RC match_distance(const struct match *m, struct qctx *q, struct bdoc doc, double *out, bool *has,
                  struct bval *where, struct err *e)
{
    struct match__eval ev = { .q = q, .e = e, .distance = INFINITY };
    struct subject s = { .kind = SUBJECT_DOC, .doc = doc };

    *has = false;
    (void)eval_path(&ev, m->near, &s, NULL);
    if (ev.failed)
        return RC_FAILED;
    *has = isfinite(ev.distance);
    *out = ev.distance;
    if (where)
        *where = ev.nearest;
    return RC_OK;
}

RC match_eval_value(const struct match *m, struct qctx *q, struct bval v, bool *out, struct err *e)
{
    struct subject s = { .kind = SUBJECT_VALUE, .val = v };

    return run(m, q, &s, NULL, out, e);
}
