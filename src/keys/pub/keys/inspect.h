/* inspect.h - what an envelope and a pin say of themselves, without keys: for `coffer inspect`. Nothing of it is authenticated.
 * [any thread] */
#ifndef KEYS_INSPECT_H
#define KEYS_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "keys/custody.h"

/* envelope_inspect(): Errors: ERR_ENVELOPE_CORRUPT, ERR_UNKNOWN_FORMAT. */
RC envelope_inspect(struct slice bytes, struct custody_status *out, struct err *e);
/* envelope_inspect_dir(): the newest undamaged copy in dir. Errors: the same, ERR_NOT_FOUND. */
RC envelope_inspect_dir(const char *dir, struct custody_status *out, struct err *e);
/* envelope_canonical(): whether the fields, written again, give the bytes that they were read from. So it is with every envelope
 * that envelope_inspect() accepts; tests ask. */
bool envelope_canonical(struct slice bytes);

struct pin_facts {
    uint64_t sequence; /* 0: an envelope was about to be made */
    uint8_t lineage[LINEAGE_LEN];
    uint32_t current;
};
/* ERR_PIN_MISSING, ERR_UNKNOWN_FORMAT */
RC pin_inspect(struct slice bytes, struct pin_facts *out, struct err *e);

#endif
