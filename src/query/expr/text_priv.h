/* text_priv.h - strings of bounded length, and UTF-8. */
#ifndef QUERY_EXPR_TEXT_PRIV_H
#define QUERY_EXPR_TEXT_PRIV_H

#include "bsonx/dec.h"
#include "expr_priv.h"

enum { STRING_BYTES_MAX = 16 * 1024 * 1024 };

/* val__new_str(): 16493 at or above STRING_BYTES_MAX. */
RC val__new_str(struct arena *a, struct slice s, struct bval *out, struct err *e);

/* offset of the code point after the one at `at` */
size_t text_next(struct slice s, size_t at);
size_t text_count(struct slice s);            /* code points */
size_t text_offset(struct slice s, size_t n); /* offset of code point n; s.len past the end */
size_t text_find(struct slice hay, struct slice needle, size_t from); /* SIZE_MAX when absent */

#endif
