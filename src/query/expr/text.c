/* text.c - values as text, and walking UTF-8. */
#include "text_priv.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "date_priv.h"

RC val__new_str(struct arena *a, struct slice s, struct bval *out, struct err *e)
{
    *out = BVAL_MISSING;
    if (s.len >= STRING_BYTES_MAX)
        FAIL(e, ERR_LOC(16493), "string of %zu bytes is above the limit of %d", s.len,
             STRING_BYTES_MAX);
    *out = bval_new_str(a, s);
    return RC_OK;
}

bool val__is_string(struct bval v)
{
    return v.type == BT_STRING || v.type == BT_SYMBOL || v.type == BT_CODE;
}

/* Digits after the first that the shortest text needs to read back as the same double. Up to 15 digits a normal number's shortest text is
 * its 15 digits without trailing zeros; below DBL_MIN fewer digits may do. */
static int shortest_digits(double d)
{
    char buf[40];

    for (int prec = fabs(d) < DBL_MIN ? 0 : 14; prec < 16; prec++) {
        snprintf(buf, sizeof(buf), "%.*e", prec, d);
        if (strtod(buf, NULL) != d)
            continue;
        const char *end = strchr(buf, 'e');
        while (prec > 0 && *--end == '0')
            prec--;
        return prec;
    }
    return 16;
}

/* Shortest text that reads back as the same double: plain for exponents from -4 to 15 ("1", "1.5", "0.0001"), else "1e+16". */
struct slice val__double_text(struct arena *a, double d)
{
    char buf[40];

    if (isnan(d))
        return SLICE_LIT("NaN");
    if (isinf(d))
        return d < 0 ? SLICE_LIT("-Infinity") : SLICE_LIT("Infinity");
    int prec = shortest_digits(d);
    snprintf(buf, sizeof(buf), "%.*e", prec, d);
    long exp = strtol(strchr(buf, 'e') + 1, NULL, 10);
    if (exp >= -4 && exp < 16)
        snprintf(buf, sizeof(buf), "%.*f", (int)MAX(prec - exp, 0L), d);
    return slice_str(arena_strdup(a, buf));
}

struct slice val__date_iso(struct arena *a, int64_t ms)
{
    struct date_parts p;

    date_split(ms, &p);
    if (p.year >= 0 && p.year <= 9999)
        return slice_str(arena_printf(a, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)p.year,
                                      p.month, p.day, p.hour, p.minute, p.second, p.ms));
    return slice_str(arena_printf(a, "%lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)p.year,
                                  p.month, p.day, p.hour, p.minute, p.second, p.ms));
}

RC val__to_string(struct arena *a, struct bval v, struct slice *out, struct err *e)
{
    char dec[DEC_STR_MAX];

    *out = SLICE_LIT("");
    switch (v.type) {
    case BT_MISSING:
    case BT_NULL:
    case BT_UNDEFINED: return RC_OK;
    case BT_STRING:
    case BT_SYMBOL:
    case BT_CODE: *out = bval_str(v); return RC_OK;
    case BT_INT32: *out = slice_str(arena_printf(a, "%d", bval_i32(v))); return RC_OK;
    case BT_INT64: *out = slice_str(arena_printf(a, "%lld", (long long)bval_i64(v))); return RC_OK;
    /* six digits, as C++ streams print: only $toString and $convert keep them all */
    case BT_DOUBLE: *out = slice_str(arena_printf(a, "%g", bval_double(v))); return RC_OK;
    case BT_DECIMAL128:
        dec_to_str(bval_dec(v), dec);
        *out = slice_str(arena_strdup(a, dec));
        return RC_OK;
    case BT_DATE: *out = val__date_iso(a, bval_i64(v)); return RC_OK;
    case BT_TIMESTAMP: {
        struct date_parts p;
        uint64_t t = bval_timestamp(v);
        date_split((int64_t)(t >> 32) * 1000, &p);
        *out = slice_str(arena_printf(a, "%s %2d %02d:%02d:%02d:%u", date_month_name(p.month),
                                      p.day, p.hour, p.minute, p.second, (unsigned)t));
        return RC_OK;
    }
    default:
        FAIL(e, ERR_LOC(16007), "can't convert from BSON type %s to String", btype_name(v.type));
    }
}

/* ---- UTF-8 ---- */

size_t text_next(struct slice s, size_t at)
{
    at++;
    while (at < s.len && (s.p[at] & 0xc0) == 0x80)
        at++;
    return at;
}

size_t text_count(struct slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += (s.p[i] & 0xc0) != 0x80;
    return n;
}

size_t text_offset(struct slice s, size_t n)
{
    size_t at = 0;

    while (n-- > 0 && at < s.len)
        at = text_next(s, at);
    return at;
}

size_t text_find(struct slice hay, struct slice needle, size_t from)
{
    if (from > hay.len || needle.len > hay.len - from)
        return SIZE_MAX;
    if (needle.len == 0)
        return from;
    const uint8_t *p = memmem(hay.p + from, hay.len - from, needle.p, needle.len);
    return p ? (size_t)(p - hay.p) : SIZE_MAX;
}
