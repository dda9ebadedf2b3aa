/* read.c - walking and reading validated BSON in place. Nothing here checks bounds against hostile input: bdoc_validate() did. */
#include "bsonx/dec.h"
#include "bsonx_priv.h"

void biter_init(struct biter *it, struct bdoc d)
{
    INVARIANT(d.len >= 5);
    it->at = d.p + 4;
    it->end = d.p + d.len - 1; /* the terminator */
    it->name = SLICE_EMPTY;
    it->val = BVAL_MISSING;
}

bool biter_next(struct biter *it)
{
    const uint8_t *p = it->at;

    if (p >= it->end)
        return false;
    it->val.type = *p++;
    it->name.p = p;
    while (*p)
        p++;
    it->name.len = (size_t)(p - it->name.p);
    p++;
    it->val.p = p;
    it->val.len = bsonx__value_len(it->val.type, p);
    it->at = p + it->val.len;
    return true;
}

uint32_t bsonx__value_len(uint8_t type, const uint8_t *p)
{
    switch (type) {
    case BT_DOUBLE:
    case BT_DATE:
    case BT_TIMESTAMP:
    case BT_INT64: return 8;
    case BT_INT32: return 4;
    case BT_STRING:
    case BT_CODE:
    case BT_SYMBOL: return 4 + get_le32(p);
    case BT_DOCUMENT:
    case BT_ARRAY:
    case BT_CODE_W_SCOPE: return get_le32(p);
    case BT_BINARY: return 5 + get_le32(p);
    case BT_OBJECT_ID: return 12;
    case BT_BOOL: return 1;
    case BT_DECIMAL128: return 16;
    case BT_DB_POINTER: return 4 + get_le32(p) + 12;
    case BT_REGEX: {
        size_t pattern = strlen((const char *)p) + 1;

        return (uint32_t)(pattern + strlen((const char *)p + pattern) + 1);
    }
    case BT_UNDEFINED:
    case BT_NULL:
    case BT_MIN_KEY:
    case BT_MAX_KEY: return 0;
    default: INVARIANT(!"a validated document has known types only");
    }
    return 0;
}

struct bdoc bval_doc(struct bval v)
{
    INVARIANT(v.type == BT_DOCUMENT || v.type == BT_ARRAY);
    return (struct bdoc){ .p = v.p, .len = v.len };
}

struct bval bval_of_doc(struct bdoc d, enum btype type)
{
    return (struct bval){ .type = (uint8_t)type, .len = d.len, .p = d.p };
}

bool bdoc_is_empty(struct bdoc d)
{
    return d.len <= 5;
}

uint32_t bdoc_count(struct bdoc d)
{
    struct biter it;
    uint32_t n = 0;

    biter_init(&it, d);
    while (biter_next(&it))
        n++;
    return n;
}

bool bdoc_deeper_than(struct bdoc d, int levels)
{
    struct biter it;

    if (levels <= 0)
        return true;
    biter_init(&it, d);
    while (biter_next(&it)) {
        if ((it.val.type == BT_DOCUMENT || it.val.type == BT_ARRAY) &&
            bdoc_deeper_than(bval_doc(it.val), levels - 1))
            return true;
    }
    return false;
}

struct bval bdoc_get_slice(struct bdoc d, struct slice name)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it)) {
        if (it.name.len == name.len && memcmp(it.name.p, name.p, name.len) == 0)
            return it.val;
    }
    return BVAL_MISSING;
}

struct bval bdoc_get(struct bdoc d, const char *name)
{
    return bdoc_get_slice(d, slice_str(name));
}

struct bval bdoc_get_path(struct bdoc d, const char *path)
{
    struct bval v = bval_of_doc(d, BT_DOCUMENT);

    while (path) {
        const char *dot = strchr(path, '.');
        size_t len = dot ? (size_t)(dot - path) : strlen(path);

        if (v.type != BT_DOCUMENT)
            return BVAL_MISSING;
        v = bdoc_get_slice(bval_doc(v), SLICE(path, len));
        path = dot ? dot + 1 : NULL;
    }
    return v;
}

double bval_double(struct bval v)
{
    INVARIANT(v.type == BT_DOUBLE);
    uint64_t bits = get_le64(v.p);
    double d;

    memcpy(&d, &bits, sizeof(d));
    return d;
}

int32_t bval_i32(struct bval v)
{
    INVARIANT(v.type == BT_INT32);
    return (int32_t)get_le32(v.p);
}

int64_t bval_i64(struct bval v)
{
    INVARIANT(v.type == BT_INT64 || v.type == BT_DATE);
    return (int64_t)get_le64(v.p);
}

uint64_t bval_timestamp(struct bval v)
{
    INVARIANT(v.type == BT_TIMESTAMP);
    return get_le64(v.p);
}

bool bval_bool(struct bval v)
{
    INVARIANT(v.type == BT_BOOL);
    return v.p[0] != 0;
}

struct slice bval_str(struct bval v)
{
    INVARIANT(v.type == BT_STRING || v.type == BT_CODE || v.type == BT_SYMBOL);
    return SLICE(v.p + 4, get_le32(v.p) - 1);
}

struct slice bval_oid(struct bval v)
{
    INVARIANT(v.type == BT_OBJECT_ID);
    return SLICE(v.p, 12);
}

struct slice bval_bin(struct bval v, uint8_t *subtype)
{
    INVARIANT(v.type == BT_BINARY);
    uint32_t len = get_le32(v.p);
    uint8_t sub = v.p[4];

    if (subtype)
        *subtype = sub;
    if (sub == 2 && len >= 4)
        return SLICE(v.p + 9, len - 4);
    return SLICE(v.p + 5, len);
}

void bval_regex(struct bval v, struct slice *pattern, struct slice *flags)
{
    INVARIANT(v.type == BT_REGEX);
    *pattern = slice_str((const char *)v.p);
    *flags = slice_str((const char *)v.p + pattern->len + 1);
}

struct dec128 bval_dec(struct bval v)
{
    INVARIANT(v.type == BT_DECIMAL128);
    return (struct dec128){ .lo = get_le64(v.p), .hi = get_le64(v.p + 8) };
}

bool bval_truthy(struct bval v)
{
    switch (v.type) {
    case BT_MISSING:
    case BT_NULL:
    case BT_UNDEFINED: return false;
    case BT_BOOL: return bval_bool(v);
    case BT_INT32: return bval_i32(v) != 0;
    case BT_INT64: return bval_i64(v) != 0;
    case BT_DOUBLE: return bval_double(v) != 0; /* NaN is true */
    case BT_DECIMAL128: return !dec_is_zero(bval_dec(v));
    default: return true;
    }
}

bool bval_to_i64(struct bval v, int64_t *out)
{
    bool exact;
    double d;

    *out = 0;
    switch (v.type) {
    case BT_INT32: *out = bval_i32(v); return true;
    case BT_INT64: *out = bval_i64(v); return true;
    case BT_DOUBLE:
        d = bval_double(v);
        if (!(d >= -0x1p63 && d < 0x1p63) || d != (double)(int64_t)d)
            return false;
        *out = (int64_t)d;
        return true;
    case BT_DECIMAL128:
        if (!dec_to_i64(bval_dec(v), DEC_TRUNC, out, &exact))
            return false;
        if (!exact)
            *out = 0;
        return exact;
    default: return false;
    }
}

double bval_to_double(struct bval v)
{
    switch (v.type) {
    case BT_INT32: return bval_i32(v);
    case BT_INT64: return (double)bval_i64(v);
    case BT_DECIMAL128: return dec_to_double(bval_dec(v), NULL);
    default: return bval_double(v);
    }
}

static const struct {
    uint8_t type;
    const char *name;
} type_names[] = {
    { BT_DOUBLE, "double" },
    { BT_STRING, "string" },
    { BT_DOCUMENT, "object" },
    { BT_ARRAY, "array" },
    { BT_BINARY, "binData" },
    { BT_UNDEFINED, "undefined" },
    { BT_OBJECT_ID, "objectId" },
    { BT_BOOL, "bool" },
    { BT_DATE, "date" },
    { BT_NULL, "null" },
    { BT_REGEX, "regex" },
    { BT_DB_POINTER, "dbPointer" },
    { BT_CODE, "javascript" },
    { BT_SYMBOL, "symbol" },
    { BT_CODE_W_SCOPE, "javascriptWithScope" },
    { BT_INT32, "int" },
    { BT_TIMESTAMP, "timestamp" },
    { BT_INT64, "long" },
    { BT_DECIMAL128, "decimal" },
    { BT_MIN_KEY, "minKey" },
    { BT_MAX_KEY, "maxKey" },
    { BT_MISSING, "missing" },
};

const char *btype_name(enum btype t)
{
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (type_names[i].type == (uint8_t)t)
            return type_names[i].name;
    }
    return "unknown";
}

int btype_alias(struct slice name)
{
    for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
        if (type_names[i].type != BT_MISSING && slice_eq_str(name, type_names[i].name))
            return type_names[i].type == BT_MIN_KEY ? -1 : type_names[i].type;
    }
    return -2;
}
