/* index_priv.h - the bytes of a key, shared by the encoder and the decoder (docs/formats/keys.md). */
#ifndef INDEX_PRIV_H
#define INDEX_PRIV_H

#include "base/mem.h"
#include "index/index.h"
#include "query/collate.h"
#include "query/geo.h"

/* The first byte of a value: its class, in the order of compatibility 6. 0x00 ends an object or an array. */
enum rank {
    RANK_END = 0x00,
    RANK_MIN_KEY = 0x0a,
    RANK_UNDEFINED = 0x0f, /* also the empty array of a multikey index */
    RANK_NULL = 0x14,      /* and missing */
    RANK_NUMBER = 0x1e,    /* as the class of an object's field */
    RANK_NAN = 0x1e,
    RANK_NEGATIVE = 0x1f,
    RANK_ZERO = 0x20,
    RANK_POSITIVE = 0x21,
    RANK_STRING = 0x3c,
    RANK_OBJECT = 0x46,
    RANK_ARRAY = 0x50,
    RANK_BINARY = 0x5a,
    RANK_OBJECT_ID = 0x64,
    RANK_BOOL = 0x6e,
    RANK_DATE = 0x78,
    RANK_TIMESTAMP = 0x82,
    RANK_REGEX = 0x8c,
    RANK_DB_POINTER = 0x96,
    RANK_CODE = 0xa0,
    RANK_CODE_W_SCOPE = 0xaa,
    RANK_MAX_KEY = 0xf0,
};

/* Tags: one for each value that the key alone does not determine, in the order of encoding; trailing zero bytes are not stored. */
enum tag {
    TAG_INT32 = 0,
    TAG_INT64 = 1,
    TAG_DOUBLE = 2,
    TAG_DOUBLE_NEG_ZERO = 3,
    TAG_DOUBLE_RAW = 4,
    TAG_DECIMAL = 5,
    TAG_STRING = 0,
    TAG_SYMBOL = 1,
    TAG_NULL = 0,
    TAG_MISSING = 1,
    TAG_UNDEFINED = 0,
    TAG_EMPTY_ARRAY = 1,
};

enum { NUM_EXACT = 0x00, NUM_MORE = 0x01, DEC_BIAS = 8192, DEC_DIGITS_MAX = 34 };

uint8_t index__rank(enum btype t); /* RANK_NUMBER for all numbers */
void index__encode_empty_array(struct buf *key, struct buf *tags, bool desc);

/* A decimal128 taken apart: (-1)^neg * digits * 10^exp. */
struct dec_parts {
    bool neg, nan, inf, zero;
    unsigned __int128 coeff;
    int exp;
};
void index__dec_split(struct dec128 d, struct dec_parts *out);
/* index__dec_floor(): the double nearest to |d| that is not above it; *exact when equal. */
double index__dec_floor(struct dec128 d, bool *exact);

#endif
