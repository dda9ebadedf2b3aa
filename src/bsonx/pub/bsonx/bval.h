/* bval.h - a BSON value in place: type, and a pointer to its bytes inside somebody's document.
 *
 * Model    Nothing is copied to be read. A struct bdoc is a whole document (or array) in its encoded form; a struct bval is a value in
 *          one, or a value built in an arena. A missing value is a bval of type BT_MISSING. Both borrow: they are valid as long as the
 *          bytes under them.
 * Input    Documents from outside go through bdoc_validate() once; after that, reading is unchecked by design (assertions only).
 * Threads  Plain values.
 */
#ifndef BSONX_BVAL_H
#define BSONX_BVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

enum btype { /* BSON 1.1 type bytes */
             BT_MISSING = 0x00,
             BT_DOUBLE = 0x01,
             BT_STRING = 0x02,
             BT_DOCUMENT = 0x03,
             BT_ARRAY = 0x04,
             BT_BINARY = 0x05,
             BT_UNDEFINED = 0x06,
             BT_OBJECT_ID = 0x07,
             BT_BOOL = 0x08,
             BT_DATE = 0x09,
             BT_NULL = 0x0a,
             BT_REGEX = 0x0b,
             BT_DB_POINTER = 0x0c,
             BT_CODE = 0x0d,
             BT_SYMBOL = 0x0e,
             BT_CODE_W_SCOPE = 0x0f,
             BT_INT32 = 0x10,
             BT_TIMESTAMP = 0x11,
             BT_INT64 = 0x12,
             BT_DECIMAL128 = 0x13,
             BT_MAX_KEY = 0x7f,
             BT_MIN_KEY = 0xff,
};

struct bval {
    uint8_t type;     /* enum btype */
    uint32_t len;     /* bytes of the encoded value at p */
    const uint8_t *p; /* the encoded value, after type and name; may be unaligned */
};

struct bdoc {
    const uint8_t *p; /* starts with the int32 length */
    uint32_t len;
};

#define BVAL_MISSING ((struct bval){ .type = BT_MISSING })
#define BDOC_EMPTY ((struct bdoc){ .p = (const uint8_t *)"\x05\0\0\0", .len = 5 })

/* Validation (compatibility 6): lengths, terminators, UTF-8 of keys and strings, known types, nesting. ERR_INVALID_BSON; ERR_OVERFLOW past max_depth.
 * The document at p must fit in len bytes and may be followed by others: out->len is its own length. */
RC bdoc_validate(const void *p, size_t len, int max_depth, struct bdoc *out, struct err *e);

/* Iteration in document order. */
struct biter {
    const uint8_t *at, *end;
    struct slice name; /* of the current element, without the NUL; p is NUL-terminated */
    struct bval val;
};
void biter_init(struct biter *it, struct bdoc d);
bool biter_next(struct biter *it);
struct bdoc bval_doc(struct bval v); /* v is a document or an array */
struct bval bval_of_doc(struct bdoc d, enum btype type /* BT_DOCUMENT or BT_ARRAY */);
bool bdoc_is_empty(struct bdoc d);
/* bdoc_deeper_than(): nests more than so many levels (a flat document is one); looks no deeper than that. Whatever computes documents asks before it hands
 * them on, because readers recurse. */
bool bdoc_deeper_than(struct bdoc d, int levels);
uint32_t bdoc_count(struct bdoc d); /* elements; walks */
/* first field of that name, or BVAL_MISSING; no path */
struct bval bdoc_get(struct bdoc d, const char *name);
struct bval bdoc_get_slice(struct bdoc d, struct slice name);
/* bdoc_get_path(): a dotted path through documents only, no arrays crossed. */
struct bval bdoc_get_path(struct bdoc d, const char *path);

/* Reading; the type must fit (asserted). */
double bval_double(struct bval v);
int32_t bval_i32(struct bval v);
int64_t bval_i64(struct bval v); /* BT_INT64, BT_DATE */
uint64_t bval_timestamp(struct bval v);
bool bval_bool(struct bval v);
struct slice bval_str(struct bval v); /* BT_STRING, BT_CODE, BT_SYMBOL: without the NUL */
struct slice bval_oid(struct bval v); /* 12 bytes */
struct slice bval_bin(struct bval v, uint8_t *subtype); /* subtype 2: the inner bytes */
void bval_regex(struct bval v, struct slice *pattern, struct slice *flags);
struct dec128 {
    uint64_t lo, hi;
}; /* IEEE 754-2008 BID, as in BSON */
struct dec128 bval_dec(struct bval v);

static inline bool bval_is_missing(struct bval v)
{
    return v.type == BT_MISSING;
}
static inline bool bval_is_nullish(struct bval v)
{
    return v.type == BT_MISSING || v.type == BT_NULL || v.type == BT_UNDEFINED;
}
static inline bool bval_is_number(struct bval v)
{
    return v.type == BT_INT32 || v.type == BT_INT64 || v.type == BT_DOUBLE ||
           v.type == BT_DECIMAL128;
}
bool bval_truthy(struct bval v); /* compatibility 15 "Truth" */
/* bval_to_i64(): exact integer value of a number; false when it has a fraction, is NaN or out of range. */
bool bval_to_i64(struct bval v, int64_t *out);
double bval_to_double(struct bval v); /* nearest double of any number */
/* "int", "object", "missing": as $type prints; static */
const char *btype_name(enum btype t);
/* type number of "objectId" ...; -1 minKey, -2 unknown ("number" is the matcher's) */
int btype_alias(struct slice name);

/* Order and equality of compatibility 6 (all types, numbers across types, NaN equal to itself and lowest). */
int bval_canonical(enum btype t); /* rank of the type in the order */
int bval_cmp(struct bval a, struct bval b);
static inline bool bval_eq(struct bval a, struct bval b)
{
    return bval_cmp(a, b) == 0;
}
uint64_t bval_hash(struct bval v); /* equal values hash equally */
/* How strings stand to each other when not by their bytes (a collation). Immutable: [any]. Code and field names keep to bytes. */
struct collator {
    int (*cmp)(const struct collator *c, struct slice a, struct slice b);
    /* key(): appends bytes that compare, and are equal, as the strings do */
    void (*key)(const struct collator *c, struct slice s, struct buf *out);
};
/* The same order, equality and hash under a collator; NULL: by bytes. */
int bval_cmp_in(const struct collator *c, struct bval a, struct bval b);
uint64_t bval_hash_in(const struct collator *c, struct bval v);
bool bval_identical(struct bval a, struct bval b); /* same type, same bytes */

/* Building in an arena. */
struct bval bval_new_i32(struct arena *a, int32_t v);
struct bval bval_new_i64(struct arena *a, int64_t v);
struct bval bval_new_double(struct arena *a, double v);
struct bval bval_new_dec(struct arena *a, struct dec128 v);
struct bval bval_new_bool(struct arena *a, bool v);
struct bval bval_new_date(struct arena *a, int64_t ms);
struct bval bval_new_str(struct arena *a, struct slice s);
struct bval bval_new_null(void);
struct bval bval_new_oid(struct arena *a, const uint8_t oid[12]);
struct bval bval_new_bin(struct arena *a, uint8_t subtype, struct slice bytes);
struct bval bval_new_timestamp(struct arena *a, uint64_t v);
struct bval bval_dup(struct arena *a, struct bval v);
/* time, process random, counter; [any thread] */
void oid_new(uint8_t out[12]);

/* Extended JSON (relaxed) for messages to the client that owns the data, and tests; never for the log. */
void bval_to_json(struct bval v, struct buf *out);
/* bdoc_from_json(): for tests and tools. */
RC bdoc_from_json(struct arena *a, const char *json, struct bdoc *out, struct err *e);

#endif
