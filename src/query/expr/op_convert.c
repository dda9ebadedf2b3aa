/* op_convert.c - $convert with all its arguments, and conversions from and to binary data. */
#include "convert_priv.h"
#include "num_priv.h"
#include "text_priv.h"

#include "base/mem.h"

/* ---- base64 ---- */

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static struct slice base64_encode(struct arena *a, struct slice s, bool url)
{
    const char *set = url ? b64url : b64;
    char *p = arena_alloc(a, s.len / 3 * 4 + 5), *start = p;

    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = MIN(s.len - i, (size_t)3);
        uint32_t w = (uint32_t)s.p[i] << 16 | (n > 1 ? (uint32_t)s.p[i + 1] << 8 : 0) |
                     (n > 2 ? s.p[i + 2] : 0);
        *p++ = set[w >> 18];
        *p++ = set[w >> 12 & 63];
        if (n > 1)
            *p++ = set[w >> 6 & 63];
        else if (!url)
            *p++ = '=';
        if (n > 2)
            *p++ = set[w & 63];
        else if (!url)
            *p++ = '=';
    }
    return SLICE(start, (size_t)(p - start));
}

static bool base64_decode(struct arena *a, struct slice s, bool url, struct slice *out)
{
    const char *set = url ? b64url : b64;
    uint8_t *p = arena_alloc(a, s.len / 4 * 3 + 4);
    size_t n = 0, len = s.len, pad = 0;
    uint32_t w = 0;

    while (len > 0 && pad < 2 && s.p[len - 1] == '=') {
        len--;
        pad++;
    }
    if ((pad && s.len % 4 != 0) || (!url && s.len % 4 != 0) || len % 4 == 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        const char *at = s.p[i] ? strchr(set, s.p[i]) : NULL;
        if (!at)
            return false;
        w = w << 6 | (uint32_t)(at - set);
        if (i % 4 == 3) {
            p[n++] = (uint8_t)(w >> 16);
            p[n++] = (uint8_t)(w >> 8);
            p[n++] = (uint8_t)w;
            w = 0;
        }
    }
    if (len % 4 == 2)
        p[n++] = (uint8_t)(w >> 4);
    if (len % 4 == 3) {
        p[n++] = (uint8_t)(w >> 10);
        p[n++] = (uint8_t)(w >> 2);
    }
    *out = SLICE(p, n);
    return true;
}

/* ---- text ---- */

static bool valid_utf8(struct slice s)
{
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.p[i];
        size_t n = c < 0x80                ? 1
                   : c >= 0xc2 && c < 0xe0 ? 2
                   : (c & 0xf0) == 0xe0    ? 3
                   : c >= 0xf0 && c < 0xf5 ? 4
                                           : 0;
        if (n == 0 || n > s.len - i)
            return false;
        for (size_t k = 1; k < n; k++)
            if ((s.p[i + k] & 0xc0) != 0x80)
                return false;
        if ((c == 0xe0 && s.p[i + 1] < 0xa0) || (c == 0xed && s.p[i + 1] >= 0xa0) ||
            (c == 0xf0 && s.p[i + 1] < 0x90) || (c == 0xf4 && s.p[i + 1] >= 0x90))
            return false;
        i += n;
    }
    return true;
}

static struct slice hex_encode(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.len * 2 + 1);

    for (size_t i = 0; i < s.len; i++) {
        p[2 * i] = "0123456789ABCDEF"[s.p[i] >> 4];
        p[2 * i + 1] = "0123456789ABCDEF"[s.p[i] & 15];
    }
    return SLICE(p, s.len * 2);
}

static struct slice uuid_text(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, 37);
    int at = 0;

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            p[at++] = '-';
        p[at++] = "0123456789abcdef"[s.p[i] >> 4];
        p[at++] = "0123456789abcdef"[s.p[i] & 15];
    }
    return SLICE(p, 36);
}

static bool uuid_parse(struct slice s, uint8_t out[16])
{
    uint8_t hex[32];
    size_t n = 0;

    if (s.len != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash != (s.p[i] == '-'))
            return false;
        if (!dash)
            hex[n++] = s.p[i];
    }
    return text_unhex(SLICE(hex, 32), out);
}

/* The bytes as they are stored: subtype 2 with the length that it carries inside. */
static struct slice stored_bytes(struct bval v, uint8_t *sub)
{
    struct slice s = bval_bin(v, sub);

    return *sub == 2 ? SLICE(v.p + 5, v.len - 5) : s;
}

RC convert_bin_to_string(struct arena *a, struct bval v, const struct convert_opts *o,
                         struct bval *out, struct err *e)
{
    uint8_t sub;
    struct slice s = stored_bytes(v, &sub);
    enum convert_format f = o->format;

    if (f == FORMAT_NONE)
        FAIL(e, ERR_LOC(4341115),
             "Format must be specified when converting from 'binData' to 'string'");
    if (f == FORMAT_AUTO)
        f = sub == 4 && s.len == 16 ? FORMAT_UUID : FORMAT_BASE64;
    switch (f) {
    case FORMAT_UUID:
        if (sub != 4 || s.len != 16)
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Failed to parse BinData in $convert with no onError value: not a UUID");
        s = uuid_text(a, s);
        break;
    case FORMAT_BASE64:
    case FORMAT_BASE64URL: s = base64_encode(a, s, f == FORMAT_BASE64URL); break;
    case FORMAT_HEX: s = hex_encode(a, s); break;
    default:
        if (sub == 4 || !valid_utf8(s))
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Failed to parse BinData in $convert with no onError value: invalid UTF-8");
        break;
    }
    if (s.len >= STRING_BYTES_MAX)
        FAIL(e, ERR_CONVERSION_FAILURE,
             "Failed to convert BinData to string in $convert with no onError value: too long");
    return val__new_str(a, s, out, e);
}

/* Bytes of an integer in the asked order, as a little-endian number with sign. */
static uint64_t load_bytes(struct slice s, bool big)
{
    uint64_t w = 0;

    for (size_t i = 0; i < s.len; i++)
        w |= (uint64_t)s.p[big ? s.len - 1 - i : i] << (8 * i);
    return w;
}

RC convert_bin_to_number(struct arena *a, struct bval v, const struct convert_opts *o,
                         struct bval *out, struct err *e)
{
    uint8_t sub;
    struct slice s = stored_bytes(v, &sub);
    uint64_t w = s.len <= 8 ? load_bytes(s, o->big_endian) : 0;
    bool is_double = o->to == BT_DOUBLE;
    bool ok = is_double
                  ? s.len == 4 || s.len == 8
                  : s.len == 1 || s.len == 2 || s.len == 4 || (s.len == 8 && o->to == BT_INT64);

    if (!ok)
        FAIL(e, ERR_CONVERSION_FAILURE,
             "Failed to convert '%zu' bytes of BinData to %s in $convert because of invalid length",
             s.len, btype_name(o->to));
    if (is_double) {
        double d;
        float f;
        uint32_t w32 = (uint32_t)w;
        if (s.len == 4) {
            memcpy(&f, &w32, 4);
            d = f;
        } else {
            memcpy(&d, &w, 8);
        }
        *out = bval_new_double(a, d);
        return RC_OK;
    }
    int shift = 64 - 8 * (int)s.len;
    int64_t n = (int64_t)(w << shift) >> shift;
    *out = o->to == BT_INT32 ? bval_new_i32(a, (int32_t)n) : bval_new_i64(a, n);
    return RC_OK;
}

static RC text_to_bin(struct arena *a, struct slice s, const struct convert_opts *o,
                      struct bval *out, struct err *e)
{
    struct slice raw = s;
    uint8_t uuid[16], *p;

    switch (o->format) {
    case FORMAT_NONE:
        FAIL(e, ERR_LOC(4341115),
             "Format must be specified when converting from 'string' to 'binData'");
    case FORMAT_UUID:
        if (o->subtype != 4 || !uuid_parse(s, uuid))
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Failed to parse BinData in $convert with no onError value: Invalid UUID string");
        raw = SLICE(uuid, 16);
        break;
    case FORMAT_AUTO:
        if (o->subtype == 4) {
            if (!uuid_parse(s, uuid))
                FAIL(
                    e, ERR_CONVERSION_FAILURE,
                    "Failed to parse BinData in $convert with no onError value: Invalid UUID string");
            raw = SLICE(uuid, 16);
        } else {
            FAIL(
                e, ERR_CONVERSION_FAILURE,
                "Failed to parse BinData in $convert with no onError value: 'auto' makes UUIDs only");
        }
        break;
    case FORMAT_HEX:
        p = arena_alloc(a, s.len / 2 + 1);
        if (o->subtype == 4 || !text_unhex(s, p))
            FAIL(
                e, ERR_CONVERSION_FAILURE,
                "Failed to parse BinData in $convert with no onError value: input is not hexadecimal");
        raw = SLICE(p, s.len / 2);
        break;
    case FORMAT_BASE64:
    case FORMAT_BASE64URL:
        if (o->subtype == 4 || !base64_decode(a, s, o->format == FORMAT_BASE64URL, &raw))
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Failed to parse BinData in $convert with no onError value: input is not base64");
        break;
    case FORMAT_UTF8:
        if (o->subtype == 4)
            FAIL(
                e, ERR_CONVERSION_FAILURE,
                "Failed to parse BinData in $convert with no onError value: subtype 4 needs the uuid format");
        break;
    }
    *out = bval_new_bin(a, o->subtype, raw);
    return RC_OK;
}

RC convert_to_bin(struct arena *a, struct bval v, const struct convert_opts *o, struct bval *out,
                  struct err *e)
{
    uint8_t le[8], sub;
    size_t n = v.type == BT_INT32 ? 4 : 8;

    switch (v.type) {
    case BT_STRING: return text_to_bin(a, bval_str(v), o, out, e);
    case BT_BINARY:
        bval_bin(v, &sub);
        if (sub != o->subtype)
            FAIL(e, ERR_CONVERSION_FAILURE,
                 "Conversions between different binary subtypes are not supported");
        *out = v;
        return RC_OK;
    case BT_INT32:
    case BT_INT64:
    case BT_DOUBLE:
        memcpy(le, v.p, n);
        for (size_t i = 0; o->big_endian && i < n / 2; i++) {
            uint8_t t = le[i];
            le[i] = le[n - 1 - i];
            le[n - 1 - i] = t;
        }
        *out = bval_new_bin(a, o->subtype, SLICE(le, n));
        return RC_OK;
    default:
        FAIL(e, ERR_CONVERSION_FAILURE,
             "Unsupported conversion from %s to binData in $convert with no onError value",
             btype_name(v.type));
    }
}

/* ---- $convert: input, to, onError, onNull, format, byteOrder ---- */

static RC target_type(struct bval t, int *to, struct err *e)
{
    int64_t n;

    if (t.type == BT_STRING) {
        int code = btype_alias(bval_str(t));
        if (code == -2)
            FAIL(e, ERR_BAD_VALUE, "Unknown type name");
        *to = code == -1 ? BT_MIN_KEY : code;
        return RC_OK;
    }
    if (!bval_is_number(t))
        FAIL(e, ERR_FAILED_TO_PARSE,
             "$convert's 'to' argument must be a string or number, but is %s", btype_name(t.type));
    if (!bval_to_i64(t, &n))
        FAIL(e, ERR_FAILED_TO_PARSE, "In $convert, numeric 'to' argument is not an integer");
    if (!((n >= 0 && n <= 19) || n == -1 || n == 127))
        FAIL(e, ERR_FAILED_TO_PARSE,
             "In $convert, numeric value for 'to' does not correspond to a BSON type: %lld",
             (long long)n);
    *to = n == -1 ? BT_MIN_KEY : (int)n;
    return RC_OK;
}

static RC subtype_of(struct bval s, uint8_t *out, struct err *e)
{
    int64_t n;

    if (!bval_is_number(s))
        FAIL(e, ERR_LOC(4341108), "In $convert, 'subtype' must be a number, but is %s",
             btype_name(s.type));
    if (!bval_to_i64(s, &n))
        FAIL(e, ERR_LOC(4341106), "In $convert, numeric 'subtype' argument is not an integer");
    if (!((n >= 0 && n <= 9) || (n >= 128 && n <= 255)))
        FAIL(e, ERR_LOC(4341107),
             "In $convert, numeric value for 'subtype' does not correspond to a BinData type: %lld",
             (long long)n);
    *out = (uint8_t)n;
    return RC_OK;
}

/* 'to': a type, or {type, subtype} with other fields passed over. *subtype is read only once there is something to convert. */
static RC target_of(struct bval to, struct convert_opts *o, struct bval *subtype, bool *is_null,
                    struct err *e)
{
    struct biter it;
    struct bval type = BVAL_MISSING;

    *subtype = BVAL_MISSING;

    *is_null = bval_is_nullish(to);
    if (*is_null)
        return RC_OK;
    if (to.type != BT_DOCUMENT)
        return target_type(to, &o->to, e);
    biter_init(&it, bval_doc(to));
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "type"))
            type = it.val;
        else if (slice_eq_str(it.name, "subtype"))
            *subtype = it.val;
    }
    if (bval_is_missing(type))
        FAIL(e, ERR_FAILED_TO_PARSE, "Missing 'type' in $convert's 'to'");
    return target_type(type, &o->to, e);
}

static RC format_of(struct bval f, enum convert_format *out, struct err *e)
{
    static const char *const names[] = { "", "auto", "base64", "base64url", "hex", "utf8", "uuid" };

    if (f.type != BT_STRING)
        FAIL(e, ERR_LOC(4341114), "$convert requires that 'format' be a string, found: %s",
             btype_name(f.type));
    for (size_t i = 1; i < ARRAY_LEN(names); i++) {
        if (slice_eq_str(bval_str(f), names[i])) {
            *out = (enum convert_format)i;
            return RC_OK;
        }
    }
    FAIL(e, ERR_LOC(4341125), "Invalid 'format' argument for $convert");
}

static RC byte_order_of(struct bval b, bool *big, struct err *e)
{
    if (b.type != BT_STRING)
        FAIL(e, ERR_LOC(9130001), "$convert requires that 'byteOrder' be a string, found: %s",
             btype_name(b.type));
    *big = slice_eq_str(bval_str(b), "big");
    if (!*big && !slice_eq_str(bval_str(b), "little"))
        FAIL(e, ERR_LOC(9130002), "Invalid 'byteOrder' argument for $convert");
    return RC_OK;
}

enum { CONV_INPUT, CONV_TO, CONV_ON_ERROR, CONV_ON_NULL, CONV_FORMAT, CONV_BYTE_ORDER };

EXPR_EVAL(expr__eval_convert)
{
    struct convert_opts o = { 0 };
    struct bval v, to, f, b, subtype;
    bool has_f, has_b, to_null, has;
    struct err mine = { 0 };

    TRY(expr__arg(x, CONV_INPUT, env, &v, e));
    TRY(expr__arg(x, CONV_TO, env, &to, e));
    TRY(expr__opt(x, CONV_FORMAT, env, &has_f, &f, e));
    TRY(expr__opt(x, CONV_BYTE_ORDER, env, &has_b, &b, e));
    TRY(target_of(to, &o, &subtype, &to_null, e));
    if (bval_is_nullish(v)) {
        TRY(expr__opt(x, CONV_ON_NULL, env, &has, out, e));
        if (!has)
            *out = val_null();
        return RC_OK;
    }
    if (to_null) {
        *out = val_null();
        return RC_OK;
    }
    if (!bval_is_missing(subtype))
        TRY(subtype_of(subtype, &o.subtype, e));
    if (has_f && !bval_is_nullish(f))
        TRY(format_of(f, &o.format, e));
    if (has_b && !bval_is_nullish(b))
        TRY(byte_order_of(b, &o.big_endian, e));
    if (has_f && bval_is_nullish(f) && v.type == BT_BINARY && o.to == BT_STRING) {
        *out = val_null();
        return RC_OK;
    }
    if (!convert_value(env_arena(env), v, &o, out, &mine).failed)
        return RC_OK;
    if (mine.code == ERR_CONVERSION_FAILURE) {
        TRY(expr__opt(x, CONV_ON_ERROR, env, &has, out, e));
        if (has)
            return RC_OK;
    }
    FAIL(e, mine.code, "%s", mine.msg);
}
