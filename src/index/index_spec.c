/* index_spec.c - index specifications: checking what createIndexes was given, completing it, comparing two (compatibility 13). */
#include "index_priv.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "bsonx/bw.h"

/* A key pattern's field: a dotted path of non-empty components that do not start with '$' (but for DBRef's). */
static RC check_path(struct slice path, struct err *e)
{
    const uint8_t *p = path.p, *end = path.p + path.len;

    if (path.len == 0)
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "index keys cannot be an empty field");
    for (;;) {
        const uint8_t *dot = memchr(p, '.', (size_t)(end - p));
        struct slice part = SLICE(p, (size_t)((dot ? dot : end) - p));
        if (part.len == 0)
            FAIL(e, ERR_CANNOT_CREATE_INDEX, "index keys cannot contain an empty field");
        if (part.p[0] == '$' && !slice_eq_str(part, "$id") && !slice_eq_str(part, "$ref") &&
            !slice_eq_str(part, "$db"))
            FAIL(e, ERR_CANNOT_CREATE_INDEX,
                 "index key contains an illegal field name: field name starts with '$'");
        if (!dot)
            return RC_OK;
        p = dot + 1;
    }
}

static RC check_type_name(struct slice type, struct err *e)
{
    if (slice_eq_str(type, "wildcard"))
        FAIL(e, ERR_LOC(7246202), "the 'wildcard' index type must be written as the field \"$**\"");
    if (slice_eq_str(type, "2d") || slice_eq_str(type, "2dsphere"))
        return RC_OK;
    if (slice_eq_str(type, "text") || slice_eq_str(type, "hashed"))
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "indexes of type '%.*s' are not available in this release",
             (int)type.len, type.p);
    FAIL(e, ERR_CANNOT_CREATE_INDEX, "unknown index plugin '%.*s'", (int)MIN(type.len, 64u),
         type.p);
}

static RC check_direction(struct bval v, struct err *e)
{
    if (v.type == BT_STRING)
        return check_type_name(bval_str(v), e);
    if (!bval_is_number(v))
        FAIL(e, ERR_CANNOT_CREATE_INDEX,
             "values in the index key pattern must be numbers or strings, not %s",
             btype_name(v.type));
    double d = bval_to_double(v);
    if (d == 0 || isnan(d))
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "values in the index key pattern cannot be 0");
    return RC_OK;
}

static bool is_wildcard(struct slice path)
{
    return slice_eq_str(path, "$**") ||
           (path.len > 4 && memcmp(path.p + path.len - 4, ".$**", 4) == 0);
}

RC index_pattern_check(struct bdoc pattern, struct err *e)
{
    struct biter it, seen;
    int n = 0, n_hashed = 0;

    if (bdoc_is_empty(pattern))
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "index keys cannot be an empty object");
    biter_init(&it, pattern);
    while (biter_next(&it)) {
        if (++n > INDEX_FIELDS_MAX)
            FAIL(e, ERR_LOC(13103), "too many compound keys: at most %d", INDEX_FIELDS_MAX);
        n_hashed += it.val.type == BT_STRING && slice_eq_str(bval_str(it.val), "hashed");
    }
    if (n_hashed > 1)
        FAIL(e, ERR_LOC(31303), "a maximum of one index field is allowed to be hashed, found %d",
             n_hashed);
    biter_init(&it, pattern);
    while (biter_next(&it)) {
        TRY(check_direction(it.val, e));
        if (is_wildcard(it.name))
            FAIL(e, ERR_CANNOT_CREATE_INDEX, "wildcard indexes are not available in this release");
        TRY(check_path(it.name, e));
        biter_init(&seen, pattern);
        while (biter_next(&seen) && seen.name.p != it.name.p)
            if (slice_eq(seen.name, it.name))
                FAIL(e, ERR_BAD_VALUE, "the field '%.*s' appears twice in the index key pattern",
                     (int)it.name.len, it.name.p);
    }
    return RC_OK;
}

char *index_default_name(struct arena *a, struct bdoc pattern)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;

    biter_init(&it, pattern);
    while (biter_next(&it)) {
        int64_t dir;
        if (b.len)
            buf_push_u8(&b, '_');
        buf_push(&b, it.name.p, it.name.len);
        if (it.val.type == BT_STRING)
            buf_printf(&b, "_%.*s", (int)bval_str(it.val).len, bval_str(it.val).p);
        else if (bval_to_i64(it.val, &dir))
            buf_printf(&b, "_%" PRId64, dir);
        else
            buf_printf(&b, "_%g", bval_to_double(it.val));
    }
    return arena_strndup(a, (const char *)b.p, b.len);
}

struct spec {
    bool is_id;
    struct bval key, name, unique, sparse, hidden, expire, partial, collation;
    struct bval sphere_version, bits, min, max;
    bool text_option;
};

static RC check_bool(const char *name, struct bval v, struct err *e)
{
    if (v.type != BT_BOOL && !bval_is_number(v))
        FAIL(e, ERR_TYPE_MISMATCH, "the field '%s' must be a bool, not %s", name,
             btype_name(v.type));
    return RC_OK;
}

static bool truthy(struct bval v)
{
    return !bval_is_missing(v) && bval_truthy(v);
}

static RC check_collation(struct bval v, struct err *e)
{
    if (v.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "the field 'collation' must be an object, not %s",
             btype_name(v.type));
    if (bdoc_is_empty(bval_doc(v)))
        FAIL(e, ERR_BAD_VALUE, "the field 'collation' cannot be an empty object");
    struct bval locale = bdoc_get(bval_doc(v), "locale");
    if (bval_is_missing(locale))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'collation.locale' is missing but a required field");
    if (locale.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH, "the field 'collation.locale' must be a string");
    return RC_OK;
}

static RC check_expire(struct bval v, struct err *e)
{
    double d;

    if (!bval_is_number(v))
        FAIL(e, ERR_CANNOT_CREATE_INDEX,
             "TTL index 'expireAfterSeconds' option must be numeric, but received a type of '%s'",
             btype_name(v.type));
    d = bval_to_double(v);
    if (isnan(d))
        return RC_OK; /* MongoDB reads NaN as the largest value */
    if (d < 0 || d > (double)INT32_MAX)
        FAIL(e, ERR_CANNOT_CREATE_INDEX,
             "TTL index 'expireAfterSeconds' option must be within 0 and 2147483647");
    return RC_OK;
}

static RC check_version(struct bval v, struct err *e)
{
    int64_t n;

    if (!bval_is_number(v))
        FAIL(e, ERR_TYPE_MISMATCH, "the field 'v' must be a number, but got %s",
             btype_name(v.type));
    if (!bval_to_i64(v, &n) || (n != 1 && n != 2))
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "invalid index version");
    return RC_OK;
}

/* geo_option(): notes an option that only indexes of places have. */
static bool geo_option(struct spec *s, struct slice name, struct bval v)
{
    struct bval *to = slice_eq_str(name, "2dsphereIndexVersion") ? &s->sphere_version
                      : slice_eq_str(name, "bits")               ? &s->bits
                      : slice_eq_str(name, "min")                ? &s->min
                      : slice_eq_str(name, "max")                ? &s->max
                                                                 : NULL;

    if (to)
        *to = v;
    return to;
}

static RC check_number(struct slice name, struct bval v, struct err *e)
{
    if (!bval_is_number(v))
        FAIL(e, ERR_TYPE_MISMATCH, "the field '%.*s' must be a number, not %s", (int)name.len,
             name.p, btype_name(v.type));
    return RC_OK;
}

static RC check_option(struct spec *s, struct slice name, struct bval v, struct err *e)
{
    static const char *const bools[] = { "unique", "sparse", "hidden", "background",
                                         "prepareUnique" };
    static const char *const text[] = { "weights", "default_language", "language_override",
                                        "textIndexVersion" };
    static const char *const geo[] = { "coarsestIndexedLevel", "finestIndexedLevel", "bucketSize" };

    for (size_t i = 0; i < ARRAY_LEN(bools); i++) {
        if (!slice_eq_str(name, bools[i]))
            continue;
        if (i == 2 && v.type != BT_BOOL)
            FAIL(e, ERR_TYPE_MISMATCH, "the field 'hidden' must be a bool, not %s",
                 btype_name(v.type));
        TRY(check_bool(bools[i], v, e));
        if (i == 0)
            s->unique = v;
        else if (i == 1)
            s->sparse = v;
        else if (i == 2)
            s->hidden = v;
        else if (i == 4 && truthy(v))
            FAIL(e, ERR_CANNOT_CREATE_INDEX, "prepareUnique is not available in this release");
        return RC_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        if (slice_eq_str(name, text[i]))
            FAIL(e, i == 2 && v.type != BT_STRING ? ERR_TYPE_MISMATCH : ERR_CANNOT_CREATE_INDEX,
                 "the option '%s' is for text indexes", text[i]);
    for (size_t i = 0; i < ARRAY_LEN(geo); i++)
        if (slice_eq_str(name, geo[i]))
            FAIL(e, ERR_CANNOT_CREATE_INDEX, "the option '%s' is for geospatial indexes", geo[i]);
    if (geo_option(s, name, v))
        return check_number(name, v, e);
    if (slice_eq_str(name, "expireAfterSeconds")) {
        TRY(check_expire(v, e));
        s->expire = v;
    } else if (slice_eq_str(name, "partialFilterExpression")) {
        if (v.type != BT_DOCUMENT)
            FAIL(e, ERR_TYPE_MISMATCH,
                 "the field 'partialFilterExpression' must be an object, but got %s",
                 btype_name(v.type));
        s->partial = v;
    } else if (slice_eq_str(name, "collation")) {
        TRY(check_collation(v, e));
        s->collation = v;
    } else if (slice_eq_str(name, "v")) {
        TRY(check_version(v, e));
    } else if (slice_eq_str(name, "wildcardProjection")) {
        if (v.type != BT_DOCUMENT)
            FAIL(e, ERR_TYPE_MISMATCH, "the field 'wildcardProjection' must be a non-empty object");
        FAIL(e, ERR_BAD_VALUE,
             "the field 'wildcardProjection' is only allowed in an 'wildcard' index");
    } else if (slice_eq_str(name, "storageEngine")) {
        if (v.type != BT_DOCUMENT)
            FAIL(e, ERR_TYPE_MISMATCH, "the field 'storageEngine' must be an object");
    } else if (!slice_eq_str(name, "ns")) {
        FAIL(e, ERR_INVALID_INDEX_SPECIFICATION_OPTION,
             "the field '%.*s' is not valid for an index specification", (int)MIN(name.len, 64u),
             name.p);
    }
    return RC_OK;
}

static bool pattern_is_id(struct bdoc pattern)
{
    struct biter it;

    biter_init(&it, pattern);
    return biter_next(&it) && slice_eq_str(it.name, "_id") && bval_is_number(it.val) &&
           bval_to_double(it.val) > 0 && !biter_next(&it);
}

/* The index of _id has its pattern and its name to itself. */
static RC check_id_index(const struct spec *s, struct err *e)
{
    struct biter it;

    if (s->is_id)
        return RC_OK;
    if (slice_eq_str(bval_str(s->name), "_id_"))
        FAIL(
            e, ERR_BAD_VALUE,
            "The index name '_id_' is reserved for the _id index, which must have key pattern {_id: 1}");
    biter_init(&it, bval_doc(s->key));
    if (biter_next(&it) && slice_eq_str(it.name, "_id") && bval_is_number(it.val) &&
        !biter_next(&it))
        FAIL(e, ERR_BAD_VALUE, "The field 'key' for an _id index must be {_id: 1}");
    return RC_OK;
}

static RC check_together(const struct spec *s, struct err *e)
{
    if (s->is_id) {
        if (!bval_is_missing(s->expire) || truthy(s->hidden) || truthy(s->sparse) ||
            !bval_is_missing(s->partial))
            FAIL(e, ERR_INVALID_INDEX_SPECIFICATION_OPTION,
                 "the option is not valid for an _id index specification");
        return RC_OK;
    }
    if (!bval_is_missing(s->partial)) {
        AUTO(arena_freep) struct arena *a = arena_new(0);
        struct qctx q = { .arena = a, .scratch = a, .let = BDOC_EMPTY };
        struct match *m;
        if (truthy(s->sparse))
            FAIL(e, ERR_CANNOT_CREATE_INDEX,
                 "cannot mix \"partialFilterExpression\" and \"sparse\" options");
        TRY(match_parse(&q, bval_doc(s->partial), MATCH_PARTIAL_INDEX, &m, e));
    }
    if (!bval_is_missing(s->expire) && bdoc_count(bval_doc(s->key)) != 1)
        FAIL(e, ERR_CANNOT_CREATE_INDEX,
             "TTL indexes are single-field indexes, compound indexes do not support TTL");
    return RC_OK;
}

static bool has_type(struct bdoc pattern, const char *type)
{
    struct biter it;

    biter_init(&it, pattern);
    while (biter_next(&it)) {
        if (it.val.type == BT_STRING && slice_eq_str(bval_str(it.val), type))
            return true;
    }
    return false;
}

static RC check_plane(const struct spec *s, struct err *e)
{
    struct biter it;
    int n = 0;
    int64_t bits = 26;
    double min = bval_is_missing(s->min) ? -180 : bval_to_double(s->min),
           max = bval_is_missing(s->max) ? 180 : bval_to_double(s->max);

    biter_init(&it, bval_doc(s->key));
    while (biter_next(&it)) {
        n += it.val.type == BT_STRING;
        if (it.val.type != BT_STRING && n == 0)
            FAIL(e, ERR_CANNOT_CREATE_INDEX, "2d has to be first in index");
        if (it.val.type == BT_STRING && !slice_eq_str(bval_str(it.val), "2d"))
            FAIL(e, ERR_CANNOT_CREATE_INDEX, "an index cannot be of several special types");
    }
    if (n > 1)
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "can't have 2 geo fields");
    if (!bval_is_missing(s->bits) &&
        (!bval_to_i64(s->bits, &bits) || s->bits.type == BT_DECIMAL128 || bits < 1 || bits > 32))
        FAIL(e, ERR_INVALID_OPTIONS, "bits for hash must be > 0 and <= 32");
    if (!(min < max) || isinf(min) || isinf(max))
        FAIL(e, ERR_INVALID_OPTIONS, "region for hash must be valid and have positive area");
    return RC_OK;
}

/* check_geo(): what indexes of places ask beyond their pattern. */
static RC check_geo(const struct spec *s, struct err *e)
{
    struct bdoc pattern = bval_doc(s->key);
    bool plane = has_type(pattern, "2d"), sphere = has_type(pattern, "2dsphere");
    int64_t version = 3;

    if (!bval_is_missing(s->sphere_version) &&
        (!sphere || s->sphere_version.type == BT_DECIMAL128 ||
         !bval_to_i64(s->sphere_version, &version) || version < 1 || version > 3))
        FAIL(e, ERR_CANNOT_CREATE_INDEX,
             "2dsphereIndexVersion of a 2dsphere index must be 1, 2 or 3");
    if (!plane &&
        (!bval_is_missing(s->bits) || !bval_is_missing(s->min) || !bval_is_missing(s->max)))
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "the options bits, min and max are for 2d indexes");
    if ((plane || sphere) && !bval_is_missing(s->expire))
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "TTL indexes are of dates, not of places");
    return plane ? check_plane(s, e) : RC_OK;
}

static RC read_spec(struct bdoc doc, struct spec *s, struct err *e)
{
    struct biter it;

    s->key = bdoc_get(doc, "key");
    s->name = bdoc_get(doc, "name");
    if (bval_is_missing(s->key))
        FAIL(e, ERR_FAILED_TO_PARSE,
             "the 'key' field is a required property of an index specification");
    if (s->key.type != BT_DOCUMENT)
        FAIL(e, ERR_TYPE_MISMATCH, "the field 'key' must be an object, but got %s",
             btype_name(s->key.type));
    if (bval_is_missing(s->name))
        FAIL(e, ERR_FAILED_TO_PARSE,
             "the 'name' field is a required property of an index specification");
    if (s->name.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH, "the field 'name' must be a string, but got %s",
             btype_name(s->name.type));
    biter_init(&it, doc);
    while (biter_next(&it))
        if (!slice_eq_str(it.name, "key") && !slice_eq_str(it.name, "name"))
            TRY(check_option(s, it.name, it.val, e));
    return RC_OK;
}

/* completed_collation(): *out is empty for the simple one, which is not shown. */
static RC completed_collation(struct arena *a, const struct spec *s, struct bdoc *out,
                              struct err *e)
{
    *out = BDOC_EMPTY;
    if (bval_is_missing(s->collation))
        return RC_OK;
    TRY(collation_complete(a, s->collation, out, e));
    if (!bdoc_is_empty(*out) && has_type(bval_doc(s->key), "2d"))
        FAIL(e, ERR_CANNOT_CREATE_INDEX,
             "Index type '2d' does not support collation; give it {collation: {locale: 'simple'}}");
    return RC_OK;
}

RC index_spec_check(struct arena *a, struct bdoc doc, struct bdoc *out, struct err *e)
{
    struct spec s = { 0 };

    *out = BDOC_EMPTY;
    TRY(read_spec(doc, &s, e));
    struct slice name = bval_str(s.name);
    if (name.len == 0)
        FAIL(e, ERR_CANNOT_CREATE_INDEX, "index names cannot be empty");
    if (name.len > INDEX_NAME_MAX || memchr(name.p, 0, name.len) || slice_eq_str(name, "*"))
        FAIL(e, slice_eq_str(name, "*") ? ERR_BAD_VALUE : ERR_CANNOT_CREATE_INDEX,
             "the index name is not valid");
    bool hashed_unique = false;
    struct biter it;
    biter_init(&it, bval_doc(s.key));
    while (biter_next(&it))
        hashed_unique |= truthy(s.unique) && it.val.type == BT_STRING &&
                         slice_eq_str(bval_str(it.val), "hashed");
    if (hashed_unique)
        FAIL(e, ERR_LOC(16764),
             "currently hashed indexes cannot guarantee uniqueness: use a regular index");
    TRY(index_pattern_check(bval_doc(s.key), e));
    s.is_id = pattern_is_id(bval_doc(s.key));
    TRY(check_id_index(&s, e));
    TRY(check_together(&s, e));
    TRY(check_geo(&s, e));
    struct bdoc collation;
    TRY(completed_collation(a, &s, &collation, e));

    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;
    bw_init(&w, &b);
    bw_i32(&w, "v", 2);
    bw_val(&w, "key", s.key);
    bw_str_slice(&w, "name", s.is_id ? SLICE_LIT("_id_") : name);
    biter_init(&it, doc);
    while (biter_next(&it)) {
        if (slice_eq_str(it.name, "v") || slice_eq_str(it.name, "key") ||
            slice_eq_str(it.name, "name") || slice_eq_str(it.name, "ns") ||
            slice_eq_str(it.name, "collation") || slice_eq_str(it.name, "storageEngine"))
            continue;
        bool is_flag = slice_eq_str(it.name, "unique") || slice_eq_str(it.name, "sparse") ||
                       slice_eq_str(it.name, "hidden") || slice_eq_str(it.name, "prepareUnique");
        if (is_flag && (s.is_id || !truthy(it.val)))
            continue; /* off is not shown */
        if (is_flag)
            bw_bool(&w, (const char *)it.name.p, true);
        else if (slice_eq_str(it.name, "expireAfterSeconds"))
            bw_i32(&w, "expireAfterSeconds",
                   isnan(bval_to_double(it.val)) ? INT32_MAX : (int32_t)bval_to_double(it.val));
        else
            bw_val_slice(&w, it.name, it.val);
    }
    if (has_type(bval_doc(s.key), "2dsphere") && bval_is_missing(s.sphere_version))
        bw_i32(&w, "2dsphereIndexVersion", 3);
    if (!bdoc_is_empty(collation))
        bw_doc(&w, "collation", collation);
    *out = bw_done_arena(&w, a);
    return RC_OK;
}

static bool same_patterns(struct bdoc a, struct bdoc b)
{
    struct biter x, y;

    biter_init(&x, a);
    biter_init(&y, b);
    for (;;) {
        bool more = biter_next(&x);
        if (more != biter_next(&y))
            return false;
        if (!more)
            return true;
        if (!slice_eq(x.name, y.name) || bval_cmp(x.val, y.val))
            return false;
    }
}

static bool same_field(struct bdoc a, struct bdoc b, const char *name)
{
    return bval_eq(bdoc_get(a, name), bdoc_get(b, name));
}

bool index_spec_same_identity(struct bdoc a, struct bdoc b)
{
    return same_patterns(bval_doc(bdoc_get(a, "key")), bval_doc(bdoc_get(b, "key"))) &&
           same_field(a, b, "partialFilterExpression") && same_field(a, b, "sparse") &&
           same_field(a, b, "unique") && same_field(a, b, "collation");
}

bool index_spec_same_options(struct bdoc a, struct bdoc b)
{
    return index_spec_same_identity(a, b) && same_field(a, b, "expireAfterSeconds") &&
           same_field(a, b, "hidden");
}
