/* bw.h - writes one BSON document front to back.
 *
 * Model    bw_init() opens the outer document over a struct buf; nested ones are opened and closed in pairs; array elements get their decimal
 *          names by themselves. bw_finish() closes the outer document. Writing cannot fail; callers bound sizes (bw_size()).
 * Memory   The buf is the caller's. bw_done_arena() copies the finished document to an arena.
 */
#ifndef BSONX_BW_H
#define BSONX_BW_H

#include "bsonx/bval.h"

enum { BW_DEPTH_MAX = 512 };

struct bw {
    struct buf *buf;
    int depth;
    uint32_t start[BW_DEPTH_MAX]; /* offset of each open document */
    uint32_t index[BW_DEPTH_MAX]; /* next array index; UINT32_MAX in a document */
};

void bw_init(struct bw *w, struct buf *buf); /* starts at buf's present end */
struct bdoc bw_finish(struct bw *w);         /* view into the buf, valid until it changes */
struct bdoc bw_done_arena(struct bw *w, struct arena *a); /* the finished document, copied to a */
size_t bw_size(const struct bw *w);                       /* bytes so far */

/* name NULL inside an array. */
/* a missing value writes nothing */
void bw_val(struct bw *w, const char *name, struct bval v);
void bw_val_slice(struct bw *w, struct slice name, struct bval v);
void bw_i32(struct bw *w, const char *name, int32_t v);
void bw_i64(struct bw *w, const char *name, int64_t v);
/* int when it fits, else long: as counts are shown */
void bw_count(struct bw *w, const char *name, int64_t v);
void bw_double(struct bw *w, const char *name, double v);
void bw_bool(struct bw *w, const char *name, bool v);
void bw_str(struct bw *w, const char *name, const char *v);
void bw_str_slice(struct bw *w, const char *name, struct slice v);
void bw_null(struct bw *w, const char *name);
void bw_date(struct bw *w, const char *name, int64_t ms);
void bw_oid(struct bw *w, const char *name, const uint8_t oid[12]);
void bw_bin(struct bw *w, const char *name, uint8_t subtype, struct slice bytes);
void bw_timestamp(struct bw *w, const char *name, uint64_t v);
void bw_doc(struct bw *w, const char *name, struct bdoc d);
void bw_array_doc(struct bw *w, const char *name, struct bdoc array);
void bw_doc_begin(struct bw *w, const char *name);
void bw_doc_begin_slice(struct bw *w, struct slice name);
void bw_doc_end(struct bw *w);
void bw_array_begin(struct bw *w, const char *name);
void bw_array_begin_slice(struct bw *w, struct slice name);
void bw_array_end(struct bw *w);
/* bw_fields(): append every element of d at this level. */
void bw_fields(struct bw *w, struct bdoc d);

#endif
