/* cmd_args.c - the strict, table-driven argument parser (compatibility 4).
 *
 * An unknown field is 40415, a field twice 40413, a required one that is missing or null 40414, the wrong type 14. An optional field that is null counts
 * as absent. Generic arguments are skipped here: cmd_generic.c has read them.
 */
#include "cmd_priv.h"

#include <math.h>

enum { ARGS_MAX = 64 };

int64_t cmd_i64(struct bval v)
{
    int64_t n;

    if (bval_to_i64(v, &n))
        return n;
    double d = bval_to_double(v);
    /* half to even, decided on the decimal itself */
    if (v.type == BT_DECIMAL128 && !isnan(d) && fabs(d) < 0x1p52) {
        uint8_t bits[8];
        double half = floor(d) + 0.5;
        memcpy(bits, &half, sizeof(bits));
        int c = bval_cmp(v, (struct bval){ .type = BT_DOUBLE, .len = 8, .p = bits });
        int64_t low = (int64_t)floor(d);
        return c < 0 ? low : c > 0 ? low + 1 : low + (low & 1);
    }
    if (isnan(d))
        return 0;
    if (d >= 0x1p63)
        return INT64_MAX;
    if (d < -0x1p63)
        return INT64_MIN;
    return (int64_t)d;
}

RC cmd_wrong_type(const char *what, const char *name, struct bval v, const char *expected,
                  struct err *e)
{
    FAIL(e, ERR_TYPE_MISMATCH, "BSON field '%s.%s' is the wrong type '%s', expected type '%s'",
         what, name, btype_name(v.type), expected);
}

static RC store_number(const struct arg *a, const char *what, struct bval v, int64_t *out,
                       struct err *e)
{
    if (!bval_is_number(v))
        FAIL(
            e, ERR_TYPE_MISMATCH,
            "BSON field '%s.%s' is the wrong type '%s', expected types '[long, int, decimal, double]'",
            what, a->name, btype_name(v.type));
    *out = cmd_i64(v);
    if ((a->flags & ARG_NOT_NEGATIVE) && *out < 0)
        FAIL(e, ERR_BAD_VALUE, "BSON field '%s' value must be >= 0, actual value '%lld'", a->name,
             (long long)*out);
    if ((a->flags & ARG_POSITIVE) && *out <= 0)
        FAIL(e, ERR_BAD_VALUE, "BSON field '%s' value must be > 0, actual value '%lld'", a->name,
             (long long)*out);
    return RC_OK;
}

static RC store_value(const struct arg *a, const char *what, struct bval v, void *out,
                      struct err *e)
{
    void *p = (char *)out + a->at;
    uint8_t subtype;

    switch (a->type) {
    case ARG_IGNORED: return RC_OK;
    case ARG_ANY: *(struct bval *)p = v; return RC_OK;
    case ARG_STR:
        if (v.type != BT_STRING)
            return cmd_wrong_type(what, a->name, v, "string", e);
        *(struct slice *)p = bval_str(v);
        return RC_OK;
    case ARG_DOC:
        if (v.type != BT_DOCUMENT)
            return cmd_wrong_type(what, a->name, v, "object", e);
        *(struct bval *)p = v;
        return RC_OK;
    case ARG_ARRAY:
        if (v.type != BT_ARRAY)
            return cmd_wrong_type(what, a->name, v, "array", e);
        *(struct bval *)p = v;
        return RC_OK;
    case ARG_BOOL:
        if (v.type != BT_BOOL)
            return cmd_wrong_type(what, a->name, v, "bool", e);
        *(bool *)p = bval_bool(v);
        return RC_OK;
    case ARG_SAFE_BOOL:
        if (v.type != BT_BOOL && !bval_is_number(v))
            FAIL(
                e, ERR_TYPE_MISMATCH,
                "BSON field '%s.%s' is the wrong type '%s', expected types '[bool, long, int, decimal, double]'",
                what, a->name, btype_name(v.type));
        *(bool *)p = bval_truthy(v);
        return RC_OK;
    case ARG_I64: return store_number(a, what, v, p, e);
    case ARG_TIMESTAMP:
        if (v.type != BT_TIMESTAMP)
            return cmd_wrong_type(what, a->name, v, "timestamp", e);
        *(struct bval *)p = v;
        return RC_OK;
    case ARG_UUID:
        if (v.type != BT_BINARY)
            return cmd_wrong_type(what, a->name, v, "binData", e);
        *(struct slice *)p = bval_bin(v, &subtype);
        if (subtype != 4)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "BSON field '%s.%s' is the wrong binData type, expected type 'UUID'", what,
                 a->name);
        if (((struct slice *)p)->len != 16)
            FAIL(e, ERR_INVALID_UUID, "uuid must be a 16-byte binary field with UUID (4) subtype");
        return RC_OK;
    }
    base_panic(__FILE__, __LINE__, "an argument without a type");
}

static const struct arg *find_arg(const struct arg *args, size_t n, struct slice name, size_t *at)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq_str(name, args[i].name)) {
            *at = i;
            return &args[i];
        }
    }
    return NULL;
}

static RC check_required(const char *what, const struct arg *args, size_t n, uint64_t seen,
                         struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if ((args[i].flags & ARG_REQUIRED) && !(seen & (1ull << i)))
            FAIL(e, ERR_IDL_FAILED_TO_PARSE, "BSON field '%s.%s' is missing but a required field",
                 what, args[i].name);
    return RC_OK;
}

static RC parse(struct biter *it, const char *what, const struct arg *args, size_t n,
                const struct cmd_req *r, void *out, struct err *e)
{
    uint64_t met = 0, seen = 0;

    INVARIANT(n <= ARGS_MAX);
    while (biter_next(it)) {
        size_t at;
        const struct arg *a = find_arg(args, n, it->name, &at);
        if (!a && r && cmd_is_generic(it->name))
            continue;
        if (!a && r && (r->def->flags & CMD_LENIENT))
            continue;
        if (!a)
            FAIL(e, ERR_IDL_UNKNOWN_FIELD, "BSON field '%s.%.*s' is an unknown field.", what,
                 (int)MIN(it->name.len, 200u), it->name.p);
        if (met & (1ull << at))
            FAIL(e, ERR_IDL_DUPLICATE_FIELD, "BSON field '%s.%s' is a duplicate field", what,
                 a->name);
        met |= 1ull << at;
        if (it->val.type == BT_NULL || it->val.type == BT_UNDEFINED) {
            if (a->type == ARG_ANY)
                TRY(store_value(a, what, it->val, out, e));
            continue;
        }
        if ((a->flags & ARG_UNSTABLE) && r && r->g.api_strict)
            FAIL(e, ERR_API_STRICT_ERROR, "BSON field '%s.%s' is not allowed with apiStrict:true.",
                 what, a->name);
        TRY(store_value(a, what, it->val, out, e));
        seen |= 1ull << at;
    }
    /* a section of the message stands for the field of its name */
    for (int i = 0; r && i < r->n_seqs; i++) {
        size_t at;
        if (!find_arg(args, n, r->seqs[i].name, &at))
            FAIL(e, ERR_IDL_UNKNOWN_FIELD, "BSON field '%s.%.*s' is an unknown field.", what,
                 (int)MIN(r->seqs[i].name.len, 200u), r->seqs[i].name.p);
        if (met & (1ull << at))
            FAIL(e, ERR_IDL_DUPLICATE_FIELD, "BSON field '%s.%s' is a duplicate field", what,
                 args[at].name);
        met |= 1ull << at;
        seen |= 1ull << at;
    }
    return check_required(what, args, n, seen, e);
}

RC cmd_args(struct cmd_req *r, const struct arg *args, size_t n, void *out, struct err *e)
{
    struct biter it;

    biter_init(&it, r->body);
    biter_next(&it); /* the command's name */
    return parse(&it, r->def->name, args, n, r, out, e);
}

RC cmd_fields(struct bdoc d, const char *what, const struct arg *args, size_t n, void *out,
              struct err *e)
{
    struct biter it;

    biter_init(&it, d);
    return parse(&it, what, args, n, NULL, out, e);
}

RC cmd_no_args(struct cmd_req *r, struct err *e)
{
    return cmd_args(r, NULL, 0, NULL, e);
}
