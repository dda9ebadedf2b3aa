/* kjson.h - JSON from outside, parsed within bounds, and read without surprises.
 *
 * Model    kjson_load() counts nesting before the parser sees the text, so that neither a bomb of brackets nor a duplicate
 *          member gets through. Getters return NULL (or false) for a member that is absent or of another type: callers decide
 *          whether that is an error.
 * Threads  A json_t belongs to one thread at a time.
 */
#ifndef KMSG_KJSON_H
#define KMSG_KJSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum { KJSON_DEPTH_MAX = 12 };

/* kjson_load(): the whole of in must be one JSON object: UTF-8, no duplicate members, no more than max_depth levels.
 * Errors: ERR_FAILED_TO_PARSE, without quoting the text. */
RC kjson_load(struct slice in, int max_depth, json_t **out, struct err *e);
void kjson_freep(json_t **j);

/* valid as long as o; NULL when absent or no string */
const char *kjson_str(const json_t *o, const char *member);
const json_t *kjson_obj(const json_t *o, const char *member);
const json_t *kjson_arr(const json_t *o, const char *member);
bool kjson_i64(const json_t *o, const char *member, int64_t *out); /* an integer */
bool kjson_bool(const json_t *o, const char *member, bool *out);
bool kjson_has(const json_t *o, const char *member); /* present and not null */

/* kjson_dump(): compact text appended to out. */
void kjson_dump(const json_t *j, struct buf *out);

/* kjson_wiping(): from now on jansson's memory is overwritten before it is released. Process-wide, before threads. */
void kjson_wiping(void);

#endif
