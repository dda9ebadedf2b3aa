/* evidence.h - text that carries its signature on its last line, and the key that signs: what `coffer cluster report` hands to an auditor.
 *
 * Model    The text is anything whose last byte is a line end. Signed, one line of JSON follows,
 *            {"signature":{"algorithm":"Ed25519","publicKey":"<base64>","value":"<base64>"}}
 *          over every byte before it (docs/formats/evidence.md). The key in it is a hint: what counts is the one that the reader trusts.
 * Says     that the text is as whoever has the key wrote it. Whether that is true is another question: docs/threat-model.md.
 * Threads  [any]
 */
#ifndef ADMIN_EVIDENCE_H
#define ADMIN_EVIDENCE_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct secret;

enum { EVIDENCE_KEY_LEN = 32 };

/* evidence_key(): the key in the file, made (mode 0600) when there is no such file. Errors: ERR_CONFIG for a file that holds none. */
RC evidence_key(const char *path, struct secret **out, struct err *e);
/* evidence_public(): its public half as PEM (RFC 8410), as other tools take it. */
RC evidence_public(const struct secret *key, struct buf *pem, struct err *e);
/* evidence_read_public(): the other way; errors: ERR_CONFIG. */
RC evidence_read_public(struct slice pem, uint8_t out[EVIDENCE_KEY_LEN], struct err *e);

/* evidence_sign(): adds the last line to text, which ends with a line end. */
RC evidence_sign(const struct secret *key, struct buf *text, struct err *e);
/* evidence_verify(): *body is what was signed, inside text. Errors: ERR_EVIDENCE_CHANGED, also for what is no signed text at all and for a signature by
 * another key than the trusted one. */
RC evidence_verify(struct slice text, const uint8_t trusted[EVIDENCE_KEY_LEN], struct slice *body,
                   struct err *e);

#endif
