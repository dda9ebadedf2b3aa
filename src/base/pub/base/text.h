/* text.h - hex, base64 (RFC 4648), numbers and names from text. Decoders are strict: they refuse what encoders would not write. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

void hex_encode(struct slice in, struct buf *out); /* lower case */
/* either case; false on odd length or other characters */
bool hex_decode(struct slice in, struct buf *out);
void base64_encode(struct slice in, struct buf *out); /* with padding, RFC 4648 4 */
/* padding required; no white space; unused bits zero */
bool base64_decode(struct slice in, struct buf *out);
/* without padding, RFC 4648 5 */
void base64url_encode(struct slice in, struct buf *out);
bool base64url_decode(struct slice in, struct buf *out); /* padding refused */

/* whole text, optional sign, no space */
bool text_i64(struct slice in, int64_t *out);
bool text_u64(struct slice in, uint64_t *out);
bool text_f64(struct slice in, double *out);
/* RFC 3629: no surrogates, no overlong forms */
bool utf8_valid(struct slice in);
/* utf8_next(): the length of the code point at p (p < end), 1 for a byte that is not valid. */
size_t utf8_next(const uint8_t *p, const uint8_t *end, uint32_t *code);

#endif
