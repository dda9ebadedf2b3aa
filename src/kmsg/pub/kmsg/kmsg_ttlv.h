/* kmsg_ttlv.h - KMIP's encoding: what is read is untrusted, and every length is compared before it is used.
 *
 *   offset 0  tag     3 bytes, big-endian, 0x42xxxx (KMIP's own) or 0x54xxxx (extensions)
 *          3  type    1 byte
 *          4  length  4 bytes, big-endian: of the value without its padding
 *          8  value   padded with zeroes to a multiple of 8 bytes; a structure's value is items again
 *
 * Readers are driven by what they look for, never by the depth of what is there: a structure that nobody asks about is not entered.
 */
#ifndef KMSG_KMSG_TTLV_H
#define KMSG_KMSG_TTLV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum kmsg_ttlv_type {
    KMSG_TTLV_STRUCTURE = 1,
    KMSG_TTLV_INTEGER,      /* 4 bytes */
    KMSG_TTLV_LONG_INTEGER, /* 8 */
    KMSG_TTLV_BIG_INTEGER,  /* a multiple of 8 */
    KMSG_TTLV_ENUMERATION,  /* 4 */
    KMSG_TTLV_BOOLEAN,      /* 8 */
    KMSG_TTLV_TEXT,
    KMSG_TTLV_BYTES,
    KMSG_TTLV_DATE_TIME, /* 8: Unix seconds */
    KMSG_TTLV_INTERVAL,  /* 4 */
};

enum { KMSG_TTLV_HEAD_LEN = 8 };

struct kmsg_ttlv {
    uint32_t tag;
    enum kmsg_ttlv_type type;
    struct slice value; /* into what was read */
};

/* kmsg_ttlv_next(): takes the first item off *in, which is not empty. False: it is malformed, and *in is as it was. */
bool kmsg_ttlv_next(struct slice *in, struct kmsg_ttlv *out);

enum kmsg_ttlv_found { KMSG_TTLV_ABSENT, KMSG_TTLV_FOUND, KMSG_TTLV_MALFORMED };
/* kmsg_ttlv_find(): the value of the one item with that tag among the items of in. Malformed: any item of in is, the tag is there twice, or it has
 * another type. */
enum kmsg_ttlv_found kmsg_ttlv_find(struct slice in, uint32_t tag, enum kmsg_ttlv_type type,
                                    struct slice *value);

/* kmsg_ttlv_begin(): a structure's head; what is pushed until kmsg_ttlv_end() with its result is in the structure. */
size_t kmsg_ttlv_begin(struct buf *out, uint32_t tag);
void kmsg_ttlv_end(struct buf *out, size_t begun);
void kmsg_ttlv_put_int(struct buf *out, uint32_t tag, int32_t v);
void kmsg_ttlv_put_enum(struct buf *out, uint32_t tag, uint32_t v);
void kmsg_ttlv_put_bool(struct buf *out, uint32_t tag, bool v);
void kmsg_ttlv_put_text(struct buf *out, uint32_t tag, const char *v);
void kmsg_ttlv_put_bytes(struct buf *out, uint32_t tag, struct slice v);

#endif
