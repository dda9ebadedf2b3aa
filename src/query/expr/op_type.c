/* op_type.c - $type, $isNumber, $convert and the $to... operators.
 *
 * One table of conversions: a function for each target, which looks at the input's type. What cannot be converted is
 * ERR_CONVERSION_FAILURE, the only error that onError catches.
 */
#include "convert_priv.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "date_priv.h"
#include "num_priv.h"
#include "text_priv.h"

#include "base/mem.h"

EXPR_EVAL(expr__eval_type)
{
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    *out = bval_new_str(env_arena(env), slice_str(btype_name(v.type)));
    return RC_OK;
}

EXPR_EVAL(expr__eval_is_number)
{
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    *out = bval_new_bool(env_arena(env), bval_is_number(v));
    return RC_OK;
}

#define UNSUPPORTED(v, to)                                                                         \
    FAIL(e, ERR_CONVERSION_FAILURE,                                                                \
         "Unsupported conversion from %s to %s in $convert with no onError value",                 \
         btype_name((v).type), to)

/* ---- to int and long ---- */

static RC parse_int(struct slice s, int64_t low, int64_t high, int64_t *out, struct err *e)
{
    size_t i = s.len && (s.p[0] == '-' || s.p[0] == '+');
    bool neg = s.len && s.p[0] == '-';
    __int128 n = 0;

    *out = 0;
    if (i == s.len)
        FAIL(e, ERR_CONVERSION_FAILURE, "Failed to parse number in $convert with no onError value");
    for (; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Failed to parse number in $convert with no onError value");
        n = n * 10 + (s.p[i] - '0');
        if (n > (__int128)INT64_MAX + 1)
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Failed to parse number in $convert with no onError value: overflow");
    }
    n = neg ? -n : n;
    if (n < low || n > high)
        FAIL(e, ERR_CONVERSION_FAILURE,
             "Failed to parse number in $convert with no onError value: overflow");
    *out = (int64_t)n;
    return RC_OK;
}

/* to_whole(): a number, bool, date or string as an integer within low..high. */
static RC to_whole(struct bval v, const char *to, int64_t low, int64_t high, int64_t *out,
                   struct err *e)
{
    switch (v.type) {
    case BT_INT32: *out = bval_i32(v); break;
    case BT_INT64: *out = bval_i64(v); break;
    case BT_DATE:
        if (high != INT64_MAX)
            UNSUPPORTED(v, to);
        *out = bval_i64(v);
        break;
    case BT_BOOL: *out = bval_bool(v); break;
    case BT_DOUBLE: {
        double d = bval_double(v);
        if (!isfinite(d))
            FAIL(
                e, ERR_CONVERSION_FAILURE,
                "Attempt to convert NaN or infinity value to integer type in $convert with no onError value");
        if (d <= -9223372036854777856.0 || d >= 9223372036854775808.0)
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Conversion would overflow target type in $convert with no onError value");
        *out = (int64_t)d;
        break;
    }
    case BT_DECIMAL128: {
        struct dec128 d = bval_dec(v);
        if (!dec_to_i64(d, DEC_TRUNC, out, NULL))
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Conversion would overflow target type in $convert with no onError value");
        break;
    }
    case BT_STRING: return parse_int(bval_str(v), low, high, out, e);
    default: UNSUPPORTED(v, to);
    }
    if (*out < low || *out > high)
        FAIL(e, ERR_CONVERSION_FAILURE,
             "Conversion would overflow target type in $convert with no onError value");
    return RC_OK;
}

/* ---- to double and decimal ---- */

/* No NUL, no space around. */
static bool bare_text(struct slice s)
{
    return s.len > 0 && !memchr(s.p, 0, s.len) && s.p[0] != ' ' &&
           !(s.p[0] >= '\t' && s.p[0] <= '\r');
}

static bool decimal_text(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (strchr("xXpP(", s.p[i]))
            return false;
    return bare_text(s);
}

/* Hexadecimal floats are taken, but not behind an unsigned lower-case "0x": MongoDB's parser takes that for a base. */
static bool double_text(struct slice s)
{
    return bare_text(s) && !memchr(s.p, '(', s.len) &&
           !(s.len >= 2 && s.p[0] == '0' && s.p[1] == 'x');
}

static RC text_to_double(struct arena *a, struct slice s, double *out, struct err *e)
{
    char *end;

    *out = 0;
    if (double_text(s)) {
        const char *z = arena_strndup(a, (const char *)s.p, s.len);
        errno = 0;
        *out = strtod(z, &end);
        bool lost = errno == ERANGE && (isinf(*out) || *out == 0);
        if (end == z + s.len && !lost)
            return RC_OK;
    }
    FAIL(e, ERR_CONVERSION_FAILURE, "Failed to parse number in $convert with no onError value");
}

static RC to_double(struct arena *a, struct bval v, struct bval *out, struct err *e)
{
    double d = 0;
    unsigned flags = 0;

    switch (v.type) {
    case BT_DOUBLE:
    case BT_INT32:
    case BT_INT64: d = bval_to_double(v); break;
    case BT_DECIMAL128:
        d = dec_to_double(bval_dec(v), &flags);
        if (isinf(d) && !dec_is_inf(bval_dec(v)))
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Conversion would overflow target type in $convert with no onError value");
        break;
    case BT_BOOL: d = bval_bool(v); break;
    case BT_DATE: d = (double)bval_i64(v); break;
    case BT_STRING: TRY(text_to_double(a, bval_str(v), &d, e)); break;
    default: UNSUPPORTED(v, "double");
    }
    *out = bval_new_double(a, d);
    return RC_OK;
}

static RC to_decimal(struct arena *a, struct bval v, struct bval *out, struct err *e)
{
    struct dec128 d = DEC_ZERO;
    unsigned flags = 0;

    switch (v.type) {
    case BT_DOUBLE:
    case BT_INT32:
    case BT_INT64:
    case BT_DECIMAL128: d = bval_to_dec(v); break;
    case BT_BOOL: d = dec_from_i64(bval_bool(v)); break;
    case BT_DATE: d = dec_from_i64(bval_i64(v)); break;
    case BT_STRING:
        if (!decimal_text(bval_str(v)) || !dec_from_str(bval_str(v), &d, &flags) ||
            (flags & (DEC_OVERFLOW | DEC_UNDERFLOW | DEC_INVALID)))
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Failed to parse number in $convert with no onError value");
        break;
    default: UNSUPPORTED(v, "decimal");
    }
    *out = bval_new_dec(a, d);
    return RC_OK;
}

/* ---- to bool, date, objectId, string ---- */

static RC to_date(struct arena *a, struct bval v, struct bval *out, struct err *e)
{
    int64_t ms = 0;

    switch (v.type) {
    case BT_DATE:
    case BT_TIMESTAMP:
    case BT_OBJECT_ID: TRY(date_of(v, 16006, &ms, e)); break;
    case BT_DOUBLE:
    case BT_DECIMAL128:
    case BT_INT64: TRY(to_whole(v, "date", INT64_MIN, INT64_MAX, &ms, e)); break;
    case BT_STRING: TRY(date_parse(a, bval_str(v), &tz_utc, false, &ms, e)); break;
    default: UNSUPPORTED(v, "date");
    }
    *out = bval_new_date(a, ms);
    return RC_OK;
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool text_unhex(struct slice s, uint8_t *out)
{
    for (size_t i = 0; i + 1 < s.len; i += 2) {
        int h = hex_digit(s.p[i]), l = hex_digit(s.p[i + 1]);
        if (h < 0 || l < 0)
            return false;
        out[i / 2] = (uint8_t)(h << 4 | l);
    }
    return s.len % 2 == 0;
}

static RC to_oid(struct arena *a, struct bval v, struct bval *out, struct err *e)
{
    uint8_t oid[12];

    if (v.type == BT_OBJECT_ID) {
        *out = v;
        return RC_OK;
    }
    if (v.type != BT_STRING)
        UNSUPPORTED(v, "objectId");
    if (bval_str(v).len != 24 || !text_unhex(bval_str(v), oid))
        FAIL(
            e, ERR_CONVERSION_FAILURE,
            "Failed to parse objectId in $convert with no onError value: Invalid string length for parsing to OID, expected 24 hex digits");
    *out = bval_new_oid(a, oid);
    return RC_OK;
}

static RC to_string(struct arena *a, struct bval v, const struct convert_opts *o, struct bval *out,
                    struct err *e)
{
    struct slice s;
    struct date_parts p;
    char hex[25];

    switch (v.type) {
    case BT_BOOL: s = slice_str(bval_bool(v) ? "true" : "false"); break;
    case BT_OBJECT_ID:
        for (int i = 0; i < 12; i++)
            snprintf(hex + 2 * i, 3, "%02x", bval_oid(v).p[i]);
        s = SLICE(hex, 24);
        break;
    case BT_DATE:
        date_split(bval_i64(v), &p);
        if (p.year < 0 || p.year > 9999)
            FAIL(e, ERR_LOC(18537),
                 "$dateToString is only defined on year 0-9999, tried to use year %lld",
                 (long long)p.year);
        s = val__date_iso(a, bval_i64(v));
        break;
    case BT_BINARY: return convert_bin_to_string(a, v, o, out, e);
    case BT_DOUBLE: s = val__double_text(a, bval_double(v)); break;
    case BT_INT32:
    case BT_INT64:
    case BT_DECIMAL128:
    case BT_STRING: TRY(val__to_string(a, v, &s, e)); break;
    default: UNSUPPORTED(v, "string");
    }
    return val__new_str(a, s, out, e);
}

/* ---- the dispatcher ---- */

RC convert_value(struct arena *a, struct bval v, const struct convert_opts *o, struct bval *out,
                 struct err *e)
{
    int64_t n;

    *out = BVAL_MISSING;
    if (v.type == BT_BINARY && (o->to == BT_INT32 || o->to == BT_INT64 || o->to == BT_DOUBLE))
        return convert_bin_to_number(a, v, o, out, e);
    switch ((enum btype)o->to) {
    case BT_DOUBLE: return to_double(a, v, out, e);
    case BT_DECIMAL128: return to_decimal(a, v, out, e);
    case BT_STRING: return to_string(a, v, o, out, e);
    case BT_OBJECT_ID: return to_oid(a, v, out, e);
    case BT_BOOL: *out = bval_new_bool(a, bval_truthy(v)); return RC_OK;
    case BT_DATE: return to_date(a, v, out, e);
    case BT_INT32:
        TRY(to_whole(v, "int", INT32_MIN, INT32_MAX, &n, e));
        *out = bval_new_i32(a, (int32_t)n);
        return RC_OK;
    case BT_INT64:
        TRY(to_whole(v, "long", INT64_MIN, INT64_MAX, &n, e));
        *out = bval_new_i64(a, n);
        return RC_OK;
    case BT_BINARY: return convert_to_bin(a, v, o, out, e);
    default: UNSUPPORTED(v, btype_name(o->to));
    }
}

/* ---- $toInt and the like ---- */

EXPR_EVAL(expr__eval_to)
{
    struct convert_opts o = { .to = x->op->aux };
    struct bval v;

    TRY(expr__arg(x, 0, env, &v, e));
    if (bval_is_nullish(v)) {
        *out = val_null();
        return RC_OK;
    }
    /* $toString of binary data takes what suits it: a UUID's text, else base64 */
    if (o.to == BT_STRING && v.type == BT_BINARY)
        o.format = FORMAT_AUTO;
    if (o.to == BT_BINARY) {
        o.subtype = 4;
        o.format = FORMAT_UUID;
    }
    return convert_value(env_arena(env), v, &o, out, e);
}

EXPR_PARSE(expr__parse_conversion)
{
    if (arg.type == BT_ARRAY && bdoc_count(bval_doc(arg)) != 1)
        FAIL(e, ERR_LOC(50723), "$%s requires a single argument, got %u", op->name,
             bdoc_count(bval_doc(arg)));
    return expr__parse_list(ps, op, arg, out, e);
}
