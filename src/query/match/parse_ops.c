/* parse_ops.c - the operators of a field: {$gt: 1, $in: [...], ...}. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "bsonx/dec.h"
#include "match_priv.h"

struct op_ctx {
    struct match__parser *p;
    struct slice path;
    struct slice name; /* of the operator */
    struct bdoc ops;   /* the document it stands in */
    struct match__list *out;
};

static void push(const struct op_ctx *c, struct match_node *n)
{
    match__list_push(c->p->q->arena, c->out, n);
}

static struct match_node *node(const struct op_ctx *c, enum match_op op)
{
    return match__node(c->p->q->arena, op, c->path);
}

static void push_not(const struct op_ctx *c, struct match_node *n)
{
    push(c, match__not(c->p->q->arena, n));
}

/* push_parsed(): a node that keeps its operand and what was made of it. */
static struct match_node *push_parsed(const struct op_ctx *c, enum match_op op, struct bval operand,
                                      void *impl)
{
    struct match_node *n = node(c, op);

    n->operand = operand;
    n->impl = impl;
    push(c, n);
    return n;
}

/* ---- comparison ---- */

static RC comparison(const struct op_ctx *c, enum match_op op, struct bval v,
                     struct match_node **out, struct err *e)
{
    *out = NULL;
    if (v.type == BT_UNDEFINED)
        FAIL(e, ERR_BAD_VALUE, "cannot compare to undefined");
    if (v.type == BT_REGEX && !slice_eq_str(c->name, "$eq"))
        FAIL(e, ERR_BAD_VALUE, "cannot have a regular expression as the argument of %.*s",
             (int)c->name.len, c->name.p);
    struct match_node *n = node(c, op);

    n->operand = v;
    *out = n;
    return RC_OK;
}

#define COMPARISON(fn, op)                                                                         \
    static RC fn(const struct op_ctx *c, struct bval v, struct err *e)                             \
    {                                                                                              \
        struct match_node *n;                                                                      \
                                                                                                   \
        TRY(comparison(c, op, v, &n, e));                                                          \
        push(c, n);                                                                                \
        return RC_OK;                                                                              \
    }
COMPARISON(op_eq, MATCH_EQ)
COMPARISON(op_gt, MATCH_GT)
COMPARISON(op_gte, MATCH_GTE)
COMPARISON(op_lt, MATCH_LT)
COMPARISON(op_lte, MATCH_LTE)
#undef COMPARISON

static RC op_ne(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct match_node *n;

    TRY(comparison(c, MATCH_EQ, v, &n, e));
    push_not(c, n);
    return RC_OK;
}

/* ---- sets ---- */

static RC regex_node(const struct op_ctx *c, struct bval v, struct match_node **out, struct err *e)
{
    struct slice pattern, flags;
    struct match__regex *r;

    *out = NULL;
    bval_regex(v, &pattern, &flags);
    TRY(match__regex_parse(c->p->q, pattern, flags, &r, e));
    struct match_node *n = node(c, MATCH_REGEX);

    n->operand = v;
    n->impl = r;
    *out = n;
    return RC_OK;
}

static int by_value(const void *a, const void *b, void *in)
{
    return bval_cmp_in(in, *(const struct bval *)a, *(const struct bval *)b);
}

struct match_node *match__in(const struct qctx *q, struct slice path, struct bval *values, int n,
                             const struct match__list *regexes)
{
    struct arena *a = q->arena;
    int kept = 0, n_regexes = regexes ? regexes->n : 0;

    if (n > 1)
        qsort_r(values, (size_t)n, sizeof(*values), by_value, (void *)q->collator);
    for (int i = 0; i < n; i++) {
        if (kept == 0 || bval_cmp_in(q->collator, values[kept - 1], values[i]) != 0)
            values[kept++] = values[i];
    }
    if (kept == 0 && n_regexes == 0)
        return match__node(a, MATCH_FALSE, SLICE_EMPTY);
    struct match_node *in = match__node(a, kept == 1 && n_regexes == 0 ? MATCH_EQ : MATCH_IN, path);

    if (in->op == MATCH_EQ) {
        in->operand = values[0];
        return in;
    }
    in->operands = values;
    in->n_operands = kept;
    in->children = regexes ? regexes->v : NULL;
    in->n_children = n_regexes;
    return in;
}

static RC parse_in(const struct op_ctx *c, struct bval v, struct match_node **out, struct err *e)
{
    struct arena *a = c->p->q->arena;
    struct match__list regexes = { 0 };
    struct biter it;
    int n = 0;

    *out = NULL;
    if (v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "%.*s needs an array", (int)c->name.len, c->name.p);
    struct bval *values = ARENA_ARRAY(a, struct bval, bdoc_count(bval_doc(v)));

    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        struct match_node *r;

        if (match__is_operator_doc(it.val))
            FAIL(e, ERR_BAD_VALUE, "cannot nest $ under %.*s", (int)c->name.len, c->name.p);
        if (it.val.type == BT_UNDEFINED)
            FAIL(e, ERR_BAD_VALUE, "%.*s cannot hold undefined", (int)c->name.len, c->name.p);
        if (it.val.type == BT_REGEX) {
            TRY(regex_node(c, it.val, &r, e));
            match__list_push(a, &regexes, r);
        } else {
            values[n++] = it.val;
        }
    }
    *out = match__in(c->p->q, c->path, values, n, &regexes);
    return RC_OK;
}

static RC op_in(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct match_node *n;

    TRY(parse_in(c, v, &n, e));
    push(c, n);
    return RC_OK;
}

static RC op_nin(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct match_node *n;

    TRY(parse_in(c, v, &n, e));
    push_not(c, n);
    return RC_OK;
}

/* ---- existence and type ---- */

static RC op_exists(const struct op_ctx *c, struct bval v, struct err *e)
{
    (void)e;
    struct match_node *n = node(c, MATCH_EXISTS);

    if (bval_truthy(v))
        push(c, n);
    else
        push_not(c, n);
    return RC_OK;
}

static RC one_type(struct bval v, struct slice name, struct match__types *t, struct err *e)
{
    int64_t number;
    int type;

    if (v.type == BT_STRING) {
        if (slice_eq_str(bval_str(v), "number")) {
            t->bits |= 1u << BT_INT32 | 1u << BT_INT64 | 1u << BT_DOUBLE | 1u << BT_DECIMAL128;
            return RC_OK;
        }
        type = btype_alias(bval_str(v));
        if (type == -2)
            FAIL(e, ERR_BAD_VALUE, "unknown type name alias in %.*s", (int)name.len, name.p);
    } else if (bval_is_number(v)) {
        if (!bval_to_i64(v, &number) ||
            !((number >= 1 && number <= BT_DECIMAL128) || number == -1 || number == BT_MAX_KEY))
            FAIL(e, ERR_BAD_VALUE, "invalid numerical type code in %.*s", (int)name.len, name.p);
        type = (int)number;
    } else {
        FAIL(e, ERR_TYPE_MISMATCH, "type must be represented as a number or a string, not %s",
             btype_name(v.type));
    }
    if (type == -1)
        t->min_key = true;
    else if (type == BT_MAX_KEY)
        t->max_key = true;
    else
        t->bits |= 1u << type;
    return RC_OK;
}

RC match__types_parse(struct bval v, struct slice name, struct match__types *out, struct err *e)
{
    struct biter it;

    *out = (struct match__types){ 0 };
    if (v.type != BT_ARRAY)
        return one_type(v, name, out, e);
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_FAILED_TO_PARSE, "%.*s must match at least one type", (int)name.len, name.p);
    biter_init(&it, bval_doc(v));
    while (biter_next(&it))
        TRY(one_type(it.val, name, out, e));
    return RC_OK;
}

bool match__types_has(const struct match__types *t, uint8_t type)
{
    if (type == BT_MIN_KEY)
        return t->min_key;
    if (type == BT_MAX_KEY)
        return t->max_key;
    return type != BT_MISSING && (t->bits >> type & 1);
}

static RC op_type(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct match__types t;

    TRY(match__types_parse(v, c->name, &t, e));
    struct match_node *n = node(c, MATCH_TYPE);

    n->operand = v;
    n->impl = arena_dup(c->p->q->arena, &t, sizeof(t));
    push(c, n);
    return RC_OK;
}

/* ---- numbers ---- */

static RC op_size(const struct op_ctx *c, struct bval v, struct err *e)
{
    int64_t size;

    if (!bval_is_number(v) || !bval_to_i64(v, &size))
        FAIL(e, ERR_BAD_VALUE, "failed to parse $size. Expected an integer");
    if (size < 0 || size > INT32_MAX)
        FAIL(e, ERR_BAD_VALUE, "failed to parse $size. Expected a non-negative 32-bit number");
    struct match_node *n = node(c, MATCH_SIZE);

    n->operand = bval_new_i32(c->p->q->arena, (int32_t)size);
    push(c, n);
    return RC_OK;
}

/* truncated(): a number without its fraction; false when it is not finite or does not fit. */
static bool truncated(struct bval v, int64_t *out)
{
    *out = 0;
    if (v.type == BT_DOUBLE) {
        double d = trunc(bval_double(v));

        if (!(d >= -0x1p63 && d < 0x1p63))
            return false;
        *out = (int64_t)d;
        return true;
    }
    if (v.type == BT_DECIMAL128)
        return dec_to_i64(bval_dec(v), DEC_TRUNC, out, NULL);
    return bval_to_i64(v, out);
}

static RC op_mod(const struct op_ctx *c, struct bval v, struct err *e)
{
    int64_t pair[2];
    struct biter it;
    int n = 0;

    if (v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "malformed mod, needs to be an array");
    biter_init(&it, bval_doc(v));
    while (biter_next(&it)) {
        if (n == 2)
            FAIL(e, ERR_BAD_VALUE, "malformed mod, too many elements");
        if (!bval_is_number(it.val) || !truncated(it.val, &pair[n]))
            FAIL(e, ERR_BAD_VALUE, "malformed mod, %s must be a number that fits in 64 bits",
                 n ? "remainder" : "divisor");
        n++;
    }
    if (n < 2)
        FAIL(e, ERR_BAD_VALUE, "malformed mod, not enough elements");
    if (pair[0] == 0)
        FAIL(e, ERR_BAD_VALUE, "divisor cannot be 0");
    push_parsed(c, MATCH_MOD, v, arena_dup(c->p->q->arena, pair, sizeof(pair)));
    return RC_OK;
}

static RC bits(const struct op_ctx *c, enum match__bits_kind kind, struct bval v, struct err *e)
{
    struct match__bits *b;

    TRY(match__bits_parse(c->p, kind, c->name, v, &b, e));
    push_parsed(c, MATCH_BITS, v, b);
    return RC_OK;
}

static RC op_bits_all_set(const struct op_ctx *c, struct bval v, struct err *e)
{
    return bits(c, BITS_ALL_SET, v, e);
}

static RC op_bits_all_clear(const struct op_ctx *c, struct bval v, struct err *e)
{
    return bits(c, BITS_ALL_CLEAR, v, e);
}

static RC op_bits_any_set(const struct op_ctx *c, struct bval v, struct err *e)
{
    return bits(c, BITS_ANY_SET, v, e);
}

static RC op_bits_any_clear(const struct op_ctx *c, struct bval v, struct err *e)
{
    return bits(c, BITS_ANY_CLEAR, v, e);
}

/* ---- regular expressions ---- */

/* op_regex(): handles $regex and $options together, when the first of the two is met. */
static RC op_regex(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct slice pattern, flags = SLICE_LIT(""), given;
    struct bval regex = bdoc_get(c->ops, "$regex"), options = bdoc_get(c->ops, "$options");
    bool options_first = slice_eq_str(c->name, "$options");
    struct match__regex *r;

    (void)v;
    if (bval_is_missing(regex))
        FAIL(e, ERR_BAD_VALUE, "$options needs a $regex");
    if (!options_first && !bval_is_missing(options) && options.p < regex.p)
        return RC_OK; /* done with $options */
    if (options_first && regex.p < options.p)
        return RC_OK; /* done with $regex */
    if (!bval_is_missing(options)) {
        if (options.type != BT_STRING)
            FAIL(e, ERR_BAD_VALUE, "$options has to be a string");
        flags = bval_str(options);
    }
    if (regex.type == BT_REGEX) {
        bval_regex(regex, &pattern, &given);
        if (given.len > 0 && !bval_is_missing(options))
            FAIL(e, ERR_LOC(options_first ? 51074 : 51075),
                 "options set in both $regex and $options");
        if (given.len > 0)
            flags = given;
    } else if (regex.type == BT_STRING) {
        pattern = bval_str(regex);
        if (memchr(pattern.p, 0, pattern.len))
            FAIL(e, ERR_BAD_VALUE, "a regular expression cannot contain an embedded null byte");
    } else {
        FAIL(e, ERR_BAD_VALUE, "$regex has to be a string");
    }
    TRY(match__regex_parse(c->p->q, pattern, flags, &r, e));
    struct match_node *n = node(c, MATCH_REGEX);

    n->operand = regex;
    n->impl = r;
    push(c, n);
    return RC_OK;
}

/* ---- arrays ---- */

static bool is_logical_name(struct slice name)
{
    static const char *const names[] = { "$and",        "$or",      "$nor",  "$where",     "$expr",
                                         "$jsonSchema", "$comment", "$text", "$sampleRate" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq_str(name, names[i]))
            return true;
    }
    return false;
}

static RC op_elem_match(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct match__list l = { 0 };
    struct biter it;
    bool was_nested = c->p->nested;

    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_BAD_VALUE, "$elemMatch needs an Object");
    biter_init(&it, bval_doc(v));
    bool by_value_form = match__is_operator_doc(v) && biter_next(&it) && !is_logical_name(it.name);
    struct match_node *n =
        node(c, by_value_form ? MATCH_ELEM_MATCH_VALUE : MATCH_ELEM_MATCH_OBJECT);

    c->p->nested = true;
    if (by_value_form)
        TRY(match__parse_ops(c->p, SLICE_EMPTY, bval_doc(v), &l, e));
    else
        TRY(match__parse_filter(c->p, bval_doc(v), &l, e));
    c->p->nested = was_nested;
    n->children = l.v;
    n->n_children = l.n;
    push(c, n);
    return RC_OK;
}

static bool is_elem_match(struct bval v)
{
    struct biter it;

    if (v.type != BT_DOCUMENT)
        return false;
    biter_init(&it, bval_doc(v));
    return biter_next(&it) && slice_eq_str(it.name, "$elemMatch");
}

/* op_all(): the conjunction of an equality, a regular expression or an $elemMatch for each entry. */
static RC op_all(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct biter it;
    bool elems = false, first = true;

    if (v.type != BT_ARRAY)
        FAIL(e, ERR_BAD_VALUE, "$all needs an array");
    if (bdoc_is_empty(bval_doc(v))) {
        push(c, match__node(c->p->q->arena, MATCH_FALSE, SLICE_EMPTY));
        return RC_OK;
    }
    biter_init(&it, bval_doc(v));
    for (; biter_next(&it); first = false) {
        struct match_node *n;
        bool elem = is_elem_match(it.val);

        if (first)
            elems = elem;
        if (elem != elems)
            FAIL(e, ERR_BAD_VALUE, "$all/$elemMatch has to be consistent");
        if (elem) {
            TRY(match__parse_ops(c->p, c->path, bval_doc(it.val), c->out, e));
            continue;
        }
        if (match__is_operator_doc(it.val))
            FAIL(e, ERR_BAD_VALUE, "no $ expressions in $all");
        if (it.val.type == BT_UNDEFINED)
            FAIL(e, ERR_BAD_VALUE, "cannot compare to undefined");
        if (it.val.type == BT_REGEX) {
            TRY(regex_node(c, it.val, &n, e));
        } else {
            n = node(c, MATCH_EQ);
            n->operand = it.val;
        }
        push(c, n);
    }
    return RC_OK;
}

/* ---- negation ---- */

static RC op_not(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct match__list l = { 0 };
    struct match_node *n;

    if (v.type == BT_REGEX) {
        TRY(regex_node(c, v, &n, e));
        push_not(c, n);
        return RC_OK;
    }
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_BAD_VALUE, "$not needs a regex or a document");
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_BAD_VALUE, "$not cannot be empty");
    bool was_below = c->p->below;

    c->p->below = true;
    TRY(match__parse_ops(c->p, c->path, bval_doc(v), &l, e));
    c->p->below = was_below;
    push_not(c, match__combine(c->p->q->arena, MATCH_AND, &l));
    return RC_OK;
}

static RC geo(const struct op_ctx *c, enum match_op op, enum geo_relation relation, struct bval v,
              struct err *e)
{
    struct geo_shape *shape;

    if (bdoc_count(c->ops) != 1)
        FAIL(e, ERR_BAD_VALUE, "%.*s cannot stand beside other operators of its field",
             (int)c->name.len, c->name.p);
    TRY(geo_parse_predicate(c->p->q, relation, v, &shape, e));
    push_parsed(c, op, v, shape);
    return RC_OK;
}

static RC op_geo_within(const struct op_ctx *c, struct bval v, struct err *e)
{
    return geo(c, MATCH_GEO_WITHIN, GEO_WITHIN, v, e);
}

static RC op_geo_intersects(const struct op_ctx *c, struct bval v, struct err *e)
{
    return geo(c, MATCH_GEO_INTERSECTS, GEO_INTERSECTS, v, e);
}

/* op_near(): takes the whole document of the field, because a legacy $near has its limits beside it. */
static RC op_near(const struct op_ctx *c, struct bval v, struct err *e)
{
    struct match__parser *p = c->p;
    struct geo_near *near;

    (void)v;
    if (p->flags & (MATCH_IN_AGG | MATCH_NO_EXPR | MATCH_PARTIAL_INDEX))
        FAIL(e, ERR_LOC(5626500), "%.*s is not allowed in this context", (int)c->name.len,
             c->name.p);
    TRY(geo_parse_near(p->q, c->ops, &near, e));
    if (p->nested || p->below || p->near)
        FAIL(e, ERR_BAD_VALUE, "geo $near must be a single top-level expression");
    p->near = push_parsed(c, MATCH_GEO_NEAR, bval_of_doc(c->ops, BT_DOCUMENT), near);
    return RC_OK;
}

static const struct {
    const char *name;
    RC (*parse)(const struct op_ctx *c, struct bval v, struct err *e);
} operators[] = {
    { "$eq", op_eq },
    { "$gt", op_gt },
    { "$gte", op_gte },
    { "$lt", op_lt },
    { "$lte", op_lte },
    { "$ne", op_ne },
    { "$in", op_in },
    { "$nin", op_nin },
    { "$exists", op_exists },
    { "$type", op_type },
    { "$size", op_size },
    { "$mod", op_mod },
    { "$regex", op_regex },
    { "$options", op_regex },
    { "$all", op_all },
    { "$elemMatch", op_elem_match },
    { "$not", op_not },
    { "$bitsAllSet", op_bits_all_set },
    { "$bitsAllClear", op_bits_all_clear },
    { "$bitsAnySet", op_bits_any_set },
    { "$bitsAnyClear", op_bits_any_clear },
    { "$geoWithin", op_geo_within },
    { "$within", op_geo_within },
    { "$geoIntersects", op_geo_intersects },
    { "$near", op_near },
    { "$nearSphere", op_near },
    { "$geoNear", op_near },
};

static bool is_near(const struct op_ctx *c, struct bval v)
{
    return (v.type == BT_DOCUMENT || v.type == BT_ARRAY) &&
           (slice_has_prefix(c->name, SLICE_LIT("$near")) || slice_eq_str(c->name, "$geoNear"));
}

static RC parse_op(const struct op_ctx *c, struct bval v, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        if (slice_eq_str(c->name, operators[i].name))
            return operators[i].parse(c, v, e);
    }
    FAIL(e, ERR_BAD_VALUE, "unknown operator: %.*s", (int)c->name.len, c->name.p);
}

RC match__parse_ops(struct match__parser *p, struct slice path, struct bdoc ops,
                    struct match__list *out, struct err *e)
{
    struct biter it;

    TRY(match__enter(p, e));
    biter_init(&it, ops);
    for (bool first = true; biter_next(&it); first = false) {
        struct op_ctx c = { .p = p, .path = path, .name = it.name, .ops = ops, .out = out };

        TRY(parse_op(&c, it.val, e));
        if (first && is_near(&c, it.val))
            break; /* it took the others along */
    }
    p->depth--;
    return RC_OK;
}
