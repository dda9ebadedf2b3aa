/* collate.h - collations (compatibility 16): their documents checked and completed, and the collators that ICU makes of them.
 *
 * Model    A completed document names every option, in one order, so two collations are the same when their documents are the same bytes.
 *          The simple collation is the empty document and no collator at all (NULL).
 * Lifetime Collators are shared and counted; those that nobody uses stay open for the next request, up to a small number.
 * Threads  [any]
 */
#ifndef QUERY_COLLATE_H
#define QUERY_COLLATE_H

#include "bsonx/bval.h"

/* collation_complete(): v is what a command or an index gave, a document; *out lives in a. what names it in messages.
 * Errors: 14, 40414, 40415, ERR_BAD_VALUE, ERR_INCOMPATIBLE_COLLATION_VERSION. */
RC collation_complete(struct arena *a, struct bval v, struct bdoc *out, struct err *e);

/* collation_ref(): the collator of a completed document; NULL for the empty one. */
RC collation_ref(struct bdoc complete, const struct collator **out, struct err *e);
void collation_unref(const struct collator *c); /* NULL is fine */
/* collation_in(): the same, released with the arena. */
RC collation_in(struct arena *a, struct bdoc complete, const struct collator **out, struct err *e);
/* collation_doc(): the completed document of a collator; BDOC_EMPTY for NULL. Lives as long as c. */
struct bdoc collation_doc(const struct collator *c);
/* collation_build(): what makes c's keys: the versions of ICU and of its data for the locale, as text. Keys of two builds do not compare. Empty for NULL. */
enum { COLLATION_BUILD_MAX = 32 };
void collation_build(const struct collator *c, char out[COLLATION_BUILD_MAX]);
bool collation_same(const struct collator *a, const struct collator *b);

#endif
