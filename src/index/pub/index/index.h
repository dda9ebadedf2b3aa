/* index.h - what an index is: its definition, the keys of a document, their encoding as ordered bytes.
 *
 * Model    A definition is compiled from its specification (the document that listIndexes shows). index_extract() gives the
 *          keys of a document; each is the concatenation of its fields' encodings. memcmp order of encodings is the order of
 *          compatibility 6, so numbers of all types that are equal have equal keys. What the encoding forgets (int or double,
 *          string or symbol, null or missing) is kept beside it as tags, so that a covered query gives the exact value back.
 *          docs/formats/keys.md has every byte.
 * Pure     No store here. Threads: a definition is shared and does not change, but for its multikey bits (atomic).
 */
#ifndef INDEX_INDEX_H
#define INDEX_INDEX_H

#include <stdatomic.h>

#include "query/match.h"

enum { INDEX_FIELDS_MAX = 32, INDEX_NAME_MAX = 1024, INDEXES_MAX = 64 };

struct index_field {
    struct slice path;
    struct slice *parts;
    int n_parts;
    bool desc;
    uint8_t geo; /* 0: the value itself is the key; enum geo_index: the cells of the place are */
};

struct qctx;
struct index_def {
    uint64_t ident;
    const char *name;
    struct bdoc spec;    /* as listIndexes shows it */
    struct bdoc pattern; /* {a: 1, b: -1} as given */
    struct index_field *fields;
    int n_fields;
    const struct collator *collator; /* how it holds strings; NULL: by their bytes */
    const char *collator_version;    /* what makes the keys of its strings; "" without a collator */
    bool is_id, unique, sparse, hidden;
    bool geo;                  /* some field is of places: documents without any are not in it */
    double grid_min, grid_max; /* of a 2d index */
    bool ttl;
    int64_t ttl_s;
    const struct match *partial; /* NULL: every document */
    struct bdoc partial_doc;
    /* A bit for each field along whose path an array was ever met. Set before the write that needs it becomes visible;
     * never cleared. multikey_durable: the bits that are known to be in the catalogue. */
    atomic_uint multikey, multikey_durable;
    atomic_int_least64_t n_uses; /* plans that read it */
    int64_t since_ms;            /* Unix time from which n_uses counts */
    atomic_int refs;
    atomic_bool dropped;
    /* runs before the last reference frees d; NULL for none */
    void (*on_last)(struct index_def *d, void *arg);
    void *on_last_arg;
    struct arena *arena;
};

/* index_spec_check(): validate what createIndexes was given and complete it ({v: 2, key, name, ...}); *out lives in a.
 * Errors: the codes of compatibility 13. */
RC index_spec_check(struct arena *a, struct bdoc spec, struct bdoc *out, struct err *e);
/* index_pattern_check(): key pattern alone (67, 13103, ...). */
RC index_pattern_check(struct bdoc pattern, struct err *e);
/* index_default_name(): "a_1_b_-1". */
char *index_default_name(struct arena *a, struct bdoc pattern);
/* index_spec_same(): do two completed specifications name the same index (key, partial filter, sparse, unique)? */
bool index_spec_same_identity(struct bdoc a, struct bdoc b);
bool index_spec_same_options(struct bdoc a, struct bdoc b);

/* index_def_new(): compile a completed specification. Shared: index_def_unref(). */
RC index_def_new(struct bdoc spec, uint64_t ident, struct index_def **out, struct err *e);
struct index_def *index_def_ref(struct index_def *d);
void index_def_unref(struct index_def *d);

/* A document's key in one index: ordered bytes of the fields, and the tags that restore the exact values. */
struct index_key {
    struct slice key, tags;
};
struct index_keys {
    struct index_key *v;
    int n;
    uint32_t multikey; /* fields along which this document has arrays */
};
struct geo_grid;
/* index_grid(): over what a field of places has its cells. */
void index_grid(const struct index_def *d, int field, struct geo_grid *out);
/* index_extract(): run: who may end it, as qctx_check() says; NULL: nobody. What it gives is sorted, without duplicates; in a. ERR_CANNOT_INDEX_PARALLEL_ARRAYS; what geo_cells() says. */
RC index_extract(const struct index_def *d, struct bdoc doc, const struct qctx *run,
                 struct arena *a, struct index_keys *out, struct err *e);
/* index_refuses(): the code of an error of index_extract() says that no index like it can hold the document; false: that it was not found out. */
bool index_refuses(enum err_code code);

/* Encoding of one value, its strings by c (NULL: by their bytes). tags may be NULL (bounds). desc inverts. */
void index_encode(const struct collator *c, struct buf *key, struct buf *tags, struct bval v,
                  bool desc);
/* index_by_order(): whether v has strings in it, which a collation orders in its own way. */
bool index_by_order(struct bval v);
/* index_decode(): the values of the n fields of a key, as they were (but strings under a collation: their keys in hexadecimal digits); missing ones are BVAL_MISSING. They live in a.
 * rest: what follows the fields in key. ERR_CORRUPT. */
RC index_decode(const struct index_def *d, struct slice key, struct slice tags, struct arena *a,
                struct bval *out, struct slice *rest, struct err *e);

/* Intervals over one field, in the ascending encoding: lo inclusive, hi exclusive, both taken as prefixes. */
/* index_rank_range(): every value of v's type class; for numbers without NaN. */
void index_rank_range(enum btype t, uint8_t *lo, uint8_t *hi);
enum { INDEX_RANK_MIN = 0x01, INDEX_RANK_END = 0xff };
/* index_succ(): the shortest byte string above every string that starts with buf's content from offset `from`. */
void index_succ(struct buf *b, size_t from);

#endif
