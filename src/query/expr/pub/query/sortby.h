/* sortby.h - sort patterns over values: of $sortArray, of $push's $sort, of $top and $bottom. No arrays are spread here (agg's sort_spec
 * does that): the key is what the path means to an expression.
 */
#ifndef QUERY_SORTBY_H
#define QUERY_SORTBY_H

#include "query/vals.h"

enum { SORT_KEYS_MAX = 32 };

struct sort_by_key {
    const struct slice *parts; /* n_parts 0: the value itself */
    int n_parts;
    int dir;
};
struct sort_by {
    int n;
    struct sort_by_key *keys;
    /* for keys that a comparison has to build; set before sort_by_cmp() */
    struct arena *scratch;
    const struct collator *collator; /* likewise */
};

/* sort_by_parse(): 1, -1 or a document of paths. ERR_LOC(2942505..7). */
RC sort_by_parse(struct arena *a, struct bval spec, struct sort_by *out, struct err *e);
int sort_by_cmp(const struct sort_by *s, struct bval x, struct bval y);

#endif
