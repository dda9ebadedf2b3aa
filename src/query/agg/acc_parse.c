/* acc_parse.c - accumulators as they are written. */
#include "acc_priv.h"

#include <stdlib.h>

#include "base/mem.h"

static const struct acc_name {
    const char *name;
    enum acc_kind kind;
} names[] = {
    { "$addToSet", ACC_ADD_TO_SET },
    { "$avg", ACC_AVG },
    { "$bottom", ACC_BOTTOM },
    { "$bottomN", ACC_BOTTOM_N },
    { "$concatArrays", ACC_CONCAT_ARRAYS },
    { "$count", ACC_COUNT },
    { "$first", ACC_FIRST },
    { "$firstN", ACC_FIRST_N },
    { "$last", ACC_LAST },
    { "$lastN", ACC_LAST_N },
    { "$max", ACC_MAX },
    { "$maxN", ACC_MAX_N },
    { "$median", ACC_MEDIAN },
    { "$mergeObjects", ACC_MERGE_OBJECTS },
    { "$min", ACC_MIN },
    { "$minN", ACC_MIN_N },
    { "$percentile", ACC_PERCENTILE },
    { "$push", ACC_PUSH },
    { "$setUnion", ACC_SET_UNION },
    { "$stdDevPop", ACC_DEV_POP },
    { "$stdDevSamp", ACC_DEV_SAMP },
    { "$sum", ACC_SUM },
    { "$top", ACC_TOP },
    { "$topN", ACC_TOP_N },
};

static const struct acc_name *find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq_str(name, names[i].name))
            return &names[i];
    return NULL;
}

bool acc_is_name(struct slice name)
{
    return find(name) != NULL;
}

/* Where an option document must be one, and holds nothing unknown. */
static RC options(const struct acc *a, struct bval arg, const struct stage_opt *opts, int n,
                  int not_object, int unknown, struct err *e)
{
    if (arg.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(not_object), "specification must be an object; found %s: %s", a->name,
             btype_name(arg.type));
    return stage__options(arg, a->name + 1, opts, n, unknown, e);
}

/* {n, input} */
static RC parse_n(struct qctx *q, struct bval arg, struct acc *a, struct err *e)
{
    struct bval n, input;
    const struct stage_opt opts[] = { { "n", &n }, { "input", &input } };

    TRY(options(a, arg, opts, 2, 5787900, 5787901, e));
    if (bval_is_missing(n))
        FAIL(e, ERR_LOC(5787906), "Missing value for 'n'");
    if (bval_is_missing(input))
        FAIL(e, ERR_LOC(5787907), "Missing value for 'input'");
    TRY(expr_parse(q, n, &a->n, e));
    return expr_parse(q, input, &a->arg, e);
}

/* {sortBy, output[, n]} */
static RC parse_top(struct qctx *q, struct bval arg, struct acc *a, struct err *e)
{
    struct bval n, sort, output;
    const struct stage_opt opts[] = { { "sortBy", &sort }, { "output", &output }, { "n", &n } };
    bool many = a->kind == ACC_TOP_N || a->kind == ACC_BOTTOM_N;

    TRY(options(a, arg, opts, many ? 3 : 2, 5788001, 5788002, e));
    if (many && bval_is_missing(n))
        FAIL(e, ERR_LOC(5788003), "Missing value for 'n'");
    if (bval_is_missing(output))
        FAIL(e, ERR_LOC(5788004), "Missing value for 'output'");
    if (bval_is_missing(sort))
        FAIL(e, ERR_LOC(5788005), "Missing value for 'sortBy'");
    if (sort.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(5788604),
             "expected 'sortBy' to already be an object in the arguments to %s", a->name);
    TRY(sort_spec_parse(q, bval_doc(sort), &a->sort, e));
    if (many)
        TRY(expr_parse(q, n, &a->n, e));
    return expr_parse(q, output, &a->arg, e);
}

/* {input, method[, p]} */
static RC parse_percentile(struct qctx *q, struct bval arg, struct acc *a, struct err *e)
{
    struct bval input, method, p;
    const struct stage_opt opts[] = { { "input", &input }, { "method", &method }, { "p", &p } };
    bool many = a->kind == ACC_PERCENTILE;
    struct qctx cq = *q;
    struct expr *px;

    cq.scratch = cq.arena;
    TRY(options(a, arg, opts, many ? 3 : 2, many ? 7429703 : 7436100, ERR_IDL_UNKNOWN_FIELD, e));
    if (bval_is_missing(input) || bval_is_missing(method) || (many && bval_is_missing(p)))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE, "BSON field '%s.%s' is missing but a required field",
             a->name,
             bval_is_missing(input)    ? "input"
             : bval_is_missing(method) ? "method"
                                       : "p");
    if (method.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '%s.method' is the wrong type '%s', expected type 'string'", a->name,
             btype_name(method.type));
    if (!slice_eq_str(bval_str(method), "approximate"))
        FAIL(e, ERR_BAD_VALUE, "Currently only 'approximate' can be used as a percentile 'method'");
    if (many) {
        TRY(expr_parse(q, p, &px, e));
        struct bval pv;
        if (!expr_is_const(px, &pv))
            FAIL(e, ERR_LOC(7750300),
                 "The $percentile 'p' field must be an array of constant values");
        TRY(percentile_p_parse(q->arena, pv, &a->p, &a->n_p, e));
    } else {
        a->p = ARENA_NEW(q->arena, double);
        *a->p = 0.5;
        a->n_p = 1;
    }
    return expr_parse(q, input, &a->arg, e);
}

RC acc_parse(struct qctx *q, struct slice field, struct slice name, struct bval arg, struct acc *a,
             struct err *e)
{
    const struct acc_name *nm = find(name);

    *a = (struct acc){ .field = field, .collator = q->collator };
    if (!nm)
        FAIL(e, ERR_LOC(15952), "unknown group operator '%.*s'", (int)name.len,
             (const char *)name.p);
    a->kind = nm->kind;
    a->name = nm->name;
    switch (nm->kind) {
    case ACC_COUNT:
        if (arg.type != BT_DOCUMENT || !bdoc_is_empty(bval_doc(arg)))
            FAIL(e, ERR_TYPE_MISMATCH, "$count takes no arguments, i.e. $count:{}");
        return RC_OK;
    case ACC_FIRST_N:
    case ACC_LAST_N:
    case ACC_MAX_N:
    case ACC_MIN_N: return parse_n(q, arg, a, e);
    case ACC_TOP:
    case ACC_TOP_N:
    case ACC_BOTTOM:
    case ACC_BOTTOM_N: return parse_top(q, arg, a, e);
    case ACC_MEDIAN:
    case ACC_PERCENTILE: return parse_percentile(q, arg, a, e);
    default: return expr_parse(q, arg, &a->arg, e);
    }
}

RC acc_parse_field(struct qctx *q, struct slice field, struct bval spec, struct acc *out,
                   struct err *e)
{
    struct biter it;

    if (memchr(field.p, '.', field.len))
        FAIL(e, ERR_LOC(40235), "The field name '%.*s' cannot contain '.'", (int)field.len,
             (const char *)field.p);
    if (field.len && field.p[0] == '$')
        FAIL(e, ERR_LOC(40236), "The field name '%.*s' cannot be an operator name", (int)field.len,
             (const char *)field.p);
    if (spec.type != BT_DOCUMENT || bdoc_is_empty(bval_doc(spec)))
        FAIL(e, ERR_LOC(40234), "The field '%.*s' must be an accumulator object", (int)field.len,
             (const char *)field.p);
    biter_init(&it, bval_doc(spec));
    biter_next(&it);
    if (!it.name.len || it.name.p[0] != '$')
        FAIL(e, ERR_LOC(40234), "The field '%.*s' must be an accumulator object", (int)field.len,
             (const char *)field.p);
    if (bdoc_count(bval_doc(spec)) != 1)
        FAIL(e, ERR_LOC(40238), "The field '%.*s' must specify one accumulator", (int)field.len,
             (const char *)field.p);
    if (it.val.type == BT_ARRAY)
        FAIL(e, ERR_LOC(40237), "The %.*s accumulator is a unary operator", (int)it.name.len,
             (const char *)it.name.p);
    return acc_parse(q, field, it.name, it.val, out, e);
}
