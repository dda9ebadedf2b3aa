/* vals.h - lists of values, and the arrays and documents built from them in an arena.
 *
 * Model    Evaluation gathers bvals that borrow, then encodes once: the size is known before the first byte is written, so nothing is
 *          copied twice and nothing recursive stands on the stack.
 * Limits   A built value above VALS_BYTES_MAX is ERR_BSON_OBJECT_TOO_LARGE.
 */
#ifndef QUERY_VALS_H
#define QUERY_VALS_H

#include "bsonx/bval.h"

enum { VALS_BYTES_MAX = 64 * 1024 * 1024 };

struct vals {
    struct arena *arena;
    struct bval *v;
    uint32_t n, cap;
};

static inline struct vals vals_in(struct arena *a)
{
    return (struct vals){ .arena = a };
}
void vals_push(struct vals *l, struct bval v);
/* vals_push_all(): every element of an array or document. */
void vals_push_all(struct vals *l, struct bdoc d);
/* vals_array(): a BT_ARRAY of n values; a missing one becomes null. */
RC vals_array(struct arena *a, const struct bval *v, uint32_t n, struct bval *out, struct err *e);
/* vals_object(): a BT_DOCUMENT; a missing value leaves its field out. */
RC vals_object(struct arena *a, const struct slice *names, const struct bval *v, uint32_t n,
               struct bval *out, struct err *e);

/* Fields under construction: names and values side by side, in order, later values replacing earlier ones of the same name. */
struct fields {
    struct arena *arena;
    struct slice *names;
    struct bval *v;
    uint32_t n, cap;
};
static inline struct fields fields_in(struct arena *a)
{
    return (struct fields){ .arena = a };
}
void fields_push(struct fields *f, struct slice name, struct bval v);
void fields_push_all(struct fields *f, struct bdoc d);
/* fields_set(): replaces the first field of that name in place, or appends. A missing value removes it from the result. */
void fields_set(struct fields *f, struct slice name, struct bval v);
RC fields_object(const struct fields *f, struct bval *out, struct err *e);

/* val_path(): what the field path "a.b.c" (split) means to an expression: arrays of documents are mapped over, arrays are never
 * indexed by number. Missing when nothing is there. The result may be a new array in a. */
RC val_path(struct arena *a, struct bval v, const struct slice *parts, int n_parts,
            struct bval *out, struct err *e);

/* val_sort(): sorts in place by cmp, stable. */
typedef int (*val_cmp_fn)(const struct bval *x, const struct bval *y, void *arg);
void val_sort(struct arena *tmp, struct bval *v, uint32_t n, val_cmp_fn cmp, void *arg);

/* A set of values by equality of compatibility 6: open addressing, in an arena. */
struct valset {
    struct arena *arena;
    const struct collator *collator;
    struct bval *v; /* in order of arrival */
    uint32_t *slot; /* index + 1 into v; 0 = free */
    uint32_t n, cap, n_slots;
};
static inline struct valset valset_in(struct arena *a)
{
    return (struct valset){ .arena = a };
}
/* valset_of(): one whose strings are equal as c says. */
static inline struct valset valset_of(struct arena *a, const struct collator *c)
{
    return (struct valset){ .arena = a, .collator = c };
}
/* valset_add(): false when an equal value was there. The value is not copied. */
bool valset_add(struct valset *s, struct bval v);
/* valset_find(): its place in arrival order, or -1. */
int64_t valset_find(const struct valset *s, struct bval v);

#endif
