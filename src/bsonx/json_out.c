/* json_out.c - relaxed Extended JSON (version 2): for messages to the client that owns the data, and for tests. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "bsonx/dec.h"
#include "bsonx_priv.h"

#define MS_YEAR_10000 253402300800000ll

static void lit(struct buf *out, const char *s)
{
    buf_push(out, s, strlen(s));
}

static void quoted(struct buf *out, struct slice s)
{
    buf_push_u8(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];

        if (c == '"' || c == '\\') {
            buf_push_u8(out, '\\');
            buf_push_u8(out, c);
        } else if (c == '\n') {
            lit(out, "\\n");
        } else if (c == '\t') {
            lit(out, "\\t");
        } else if (c == '\r') {
            lit(out, "\\r");
        } else if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
        } else {
            buf_push_u8(out, c);
        }
    }
    buf_push_u8(out, '"');
}

static void number(struct buf *out, double d)
{
    char text[40];

    if (isnan(d)) {
        lit(out, "{\"$numberDouble\":\"NaN\"}");
        return;
    }
    if (isinf(d)) {
        lit(out, d > 0 ? "{\"$numberDouble\":\"Infinity\"}" : "{\"$numberDouble\":\"-Infinity\"}");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) { /* the shortest that reads back as the same */
        snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    lit(out, text);
    if (!strpbrk(text, ".e"))
        lit(out, ".0");
}

static void date(struct buf *out, int64_t ms)
{
    struct tm tm;

    if (ms < 0 || ms >= MS_YEAR_10000) {
        buf_printf(out, "{\"$date\":{\"$numberLong\":\"%lld\"}}", (long long)ms);
        return;
    }
    time_t s = (time_t)(ms / 1000);

    gmtime_r(&s, &tm);
    buf_printf(out, "{\"$date\":\"%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
               tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (ms % 1000)
        buf_printf(out, ".%03d", (int)(ms % 1000));
    lit(out, "Z\"}");
}

static void children(struct bdoc d, bool names, struct buf *out)
{
    struct biter it;
    bool first = true;

    buf_push_u8(out, names ? '{' : '[');
    biter_init(&it, d);
    while (biter_next(&it)) {
        if (!first)
            buf_push_u8(out, ',');
        first = false;
        if (names) {
            quoted(out, it.name);
            buf_push_u8(out, ':');
        }
        bval_to_json(it.val, out);
    }
    buf_push_u8(out, names ? '}' : ']');
}

static void regex(struct bval v, struct buf *out)
{
    struct slice pattern, flags;

    bval_regex(v, &pattern, &flags);
    lit(out, "{\"$regularExpression\":{\"pattern\":");
    quoted(out, pattern);
    lit(out, ",\"options\":");
    quoted(out, flags);
    lit(out, "}}");
}

static void binary(struct bval v, struct buf *out)
{
    uint8_t subtype;
    struct slice bytes = bval_bin(v, &subtype);

    lit(out, "{\"$binary\":{\"base64\":\"");
    base64_encode(bytes, out);
    buf_printf(out, "\",\"subType\":\"%02x\"}}", subtype);
}

static void code(struct bval v, struct buf *out)
{
    const uint8_t *p = v.p + (v.type == BT_CODE_W_SCOPE ? 4 : 0);
    uint32_t len = get_le32(p);

    lit(out, "{\"$code\":");
    quoted(out, SLICE(p + 4, len - 1));
    if (v.type == BT_CODE_W_SCOPE) {
        lit(out, ",\"$scope\":");
        children((struct bdoc){ .p = p + 4 + len, .len = get_le32(p + 4 + len) }, true, out);
    }
    buf_push_u8(out, '}');
}

static void db_pointer(struct bval v, struct buf *out)
{
    uint32_t len = get_le32(v.p);

    lit(out, "{\"$dbPointer\":{\"$ref\":");
    quoted(out, SLICE(v.p + 4, len - 1));
    lit(out, ",\"$id\":{\"$oid\":\"");
    hex_encode(SLICE(v.p + 4 + len, 12), out);
    lit(out, "\"}}}");
}

void bval_to_json(struct bval v, struct buf *out)
{
    char text[DEC_STR_MAX];

    switch (v.type) {
    case BT_MISSING: lit(out, "null"); break;
    case BT_DOUBLE: number(out, bval_double(v)); break;
    case BT_STRING: quoted(out, bval_str(v)); break;
    case BT_DOCUMENT: children(bval_doc(v), true, out); break;
    case BT_ARRAY: children(bval_doc(v), false, out); break;
    case BT_BINARY: binary(v, out); break;
    case BT_UNDEFINED: lit(out, "{\"$undefined\":true}"); break;
    case BT_OBJECT_ID:
        lit(out, "{\"$oid\":\"");
        hex_encode(bval_oid(v), out);
        lit(out, "\"}");
        break;
    case BT_BOOL: lit(out, bval_bool(v) ? "true" : "false"); break;
    case BT_DATE: date(out, bval_i64(v)); break;
    case BT_NULL: lit(out, "null"); break;
    case BT_REGEX: regex(v, out); break;
    case BT_DB_POINTER: db_pointer(v, out); break;
    case BT_CODE:
    case BT_CODE_W_SCOPE: code(v, out); break;
    case BT_SYMBOL:
        lit(out, "{\"$symbol\":");
        quoted(out, bval_str(v));
        buf_push_u8(out, '}');
        break;
    case BT_INT32: buf_printf(out, "%d", bval_i32(v)); break;
    case BT_INT64: buf_printf(out, "%lld", (long long)bval_i64(v)); break;
    case BT_TIMESTAMP:
        buf_printf(out, "{\"$timestamp\":{\"t\":%u,\"i\":%u}}", get_le32(v.p + 4), get_le32(v.p));
        break;
    case BT_DECIMAL128:
        dec_to_str(bval_dec(v), text);
        buf_printf(out, "{\"$numberDecimal\":\"%s\"}", text);
        break;
    case BT_MIN_KEY: lit(out, "{\"$minKey\":1}"); break;
    case BT_MAX_KEY: lit(out, "{\"$maxKey\":1}"); break;
    default: INVARIANT(!"known types only");
    }
}
