/* stage_fill.c - $fill: made of $setWindowFields (method: linear, locf) and $addFields (value), which do the work. */
#include "agg_priv.h"

#include "base/mem.h"

struct fill {
    struct bval partition;  /* an expression, or missing */
    struct bval sort;       /* or missing */
    struct fields windows;  /* field: {$linearFill | $locf: "$field"} */
    struct fields defaults; /* field: {$ifNull: ["$field", value]} */
};

static struct bval field_path(struct arena *a, struct slice name)
{
    return bval_new_str(a,
                        slice_str(arena_printf(a, "$%.*s", (int)name.len, (const char *)name.p)));
}

static RC one_field(struct arena *a, const char *name, struct bval v, struct bval *out,
                    struct err *e)
{
    struct slice n = slice_str(name);

    return vals_object(a, &n, &v, 1, out, e);
}

static RC add_method(struct arena *a, struct fill *f, struct slice field, struct bval method,
                     struct err *e)
{
    struct bval fn;

    if (method.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$fill.output.method' is the wrong type '%s', expected type 'string'",
             btype_name(method.type));
    bool linear = slice_eq_str(bval_str(method), "linear");
    if (!linear && !slice_eq_str(bval_str(method), "locf"))
        FAIL(e, ERR_LOC(6050202), "Method must be either locf or linear");
    TRY(one_field(a, linear ? "$linearFill" : "$locf", field_path(a, field), &fn, e));
    fields_push(&f->windows, field, fn);
    return RC_OK;
}

static RC add_value(struct arena *a, struct fill *f, struct slice field, struct bval value,
                    struct err *e)
{
    struct bval args[2] = { field_path(a, field), value }, list, x;

    TRY(vals_array(a, args, 2, &list, e));
    TRY(one_field(a, "$ifNull", list, &x, e));
    fields_push(&f->defaults, field, x);
    return RC_OK;
}

static RC parse_output(struct arena *a, struct fill *f, struct bval output, struct err *e)
{
    struct biter it;

    if (bval_is_missing(output))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field '$fill.output' is missing but a required field");
    if (output.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$fill.output' is the wrong type '%s', expected type 'object'",
             btype_name(output.type));
    biter_init(&it, bval_doc(output));
    while (biter_next(&it)) {
        struct bval value, method;
        const struct stage_opt opts[] = { { "value", &value }, { "method", &method } };
        if (it.val.type != BT_DOCUMENT)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "BSON field '$fill.output.%.*s' is the wrong type '%s', expected type 'object'",
                 (int)MIN(it.name.len, 100u), it.name.p, btype_name(it.val.type));
        TRY(stage__options(it.val, "fill.output", opts, 2, ERR_IDL_UNKNOWN_FIELD, e));
        if (bval_is_missing(value) == bval_is_missing(method))
            FAIL(e, ERR_LOC(6050201),
                 "Each field in 'output' must have exactly one of 'value' and 'method'");
        if (!bval_is_missing(method))
            TRY(add_method(a, f, it.name, method, e));
        else
            TRY(add_value(a, f, it.name, value, e));
    }
    return RC_OK;
}

/* A document literal of the fields, so that missing ones make a partition of their own. */
static RC partition_of(struct arena *a, struct bval list, struct bval *out, struct err *e)
{
    struct fields f = fields_in(a);
    struct biter it;

    if (list.type != BT_ARRAY)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$fill.partitionByFields' is the wrong type '%s', expected type 'array'",
             btype_name(list.type));
    biter_init(&it, bval_doc(list));
    for (int i = 0; biter_next(&it); i++) {
        if (it.val.type != BT_STRING)
            FAIL(
                e, ERR_TYPE_MISMATCH,
                "BSON field '$fill.partitionByFields' holds the wrong type '%s', expected type 'string'",
                btype_name(it.val.type));
        struct slice name = bval_str(it.val);
        if (name.len && name.p[0] == '$')
            FAIL(e, ERR_LOC(6050203),
                 "Each field in 'partitionByFields' must be a field name, not a path with '$'");
        fields_push(&f, slice_str(arena_printf(a, "f%d", i)), field_path(a, name));
    }
    return fields_object(&f, out, e);
}

static RC add_windows(struct stage_parser *sp, const struct fill *f, struct err *e)
{
    struct arena *a = sp->q->arena;
    struct fields w = fields_in(a);
    struct bval output, spec, stage;

    TRY(fields_object(&f->windows, &output, e));
    if (!bval_is_missing(f->partition))
        fields_push(&w, SLICE_LIT("partitionBy"), f->partition);
    if (!bval_is_missing(f->sort))
        fields_push(&w, SLICE_LIT("sortBy"), f->sort);
    fields_push(&w, SLICE_LIT("output"), output);
    TRY(fields_object(&w, &spec, e));
    TRY(one_field(a, "$setWindowFields", spec, &stage, e));
    return pipeline__add_spec(sp, bval_doc(stage), e);
}

STAGE_PARSE(stage__parse_fill)
{
    struct arena *a = sp->q->arena;
    struct fill f = { .windows = fields_in(a), .defaults = fields_in(a) };
    struct bval by_fields, output, spec_out, stage;
    const struct stage_opt opts[] = { { "partitionBy", &f.partition },
                                      { "partitionByFields", &by_fields },
                                      { "sortBy", &f.sort },
                                      { "output", &output } };

    (void)def;
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "The $fill stage specification must be an object, found %s",
             btype_name(spec.type));
    TRY(stage__options(spec, "fill", opts, 4, ERR_IDL_UNKNOWN_FIELD, e));
    if (!bval_is_missing(f.partition) && !bval_is_missing(by_fields))
        FAIL(e, ERR_LOC(6050204),
             "Maximum one of 'partitionBy' and 'partitionByFields' can be specified in '$fill'");
    if (!bval_is_missing(f.partition) && f.partition.type != BT_STRING &&
        f.partition.type != BT_DOCUMENT)
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field '$fill.partitionBy' is the wrong type '%s', expected types '[string, object]'",
            btype_name(f.partition.type));
    if (!bval_is_missing(f.sort) && f.sort.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$fill.sortBy' is the wrong type '%s', expected type 'object'",
             btype_name(f.sort.type));
    if (!bval_is_missing(f.sort)) {
        struct sort_spec *checked;
        TRY(sort_spec_parse(sp->q, bval_doc(f.sort), &checked, e));
    }
    TRY(parse_output(a, &f, output, e));
    if (!bval_is_missing(by_fields))
        TRY(partition_of(a, by_fields, &f.partition, e));
    if (f.windows.n)
        TRY(add_windows(sp, &f, e));
    if (!f.defaults.n)
        return RC_OK;
    TRY(fields_object(&f.defaults, &spec_out, e));
    TRY(one_field(a, "$addFields", spec_out, &stage, e));
    return pipeline__add_spec(sp, bval_doc(stage), e);
}
