/* inspect.h - what a data directory, or a backup, consists of: evidence that all of it is encrypted. Reads only.
 * [any thread]; [long]: it reads every byte. */
#ifndef ADMIN_INSPECT_H
#define ADMIN_INSPECT_H

#include <stdint.h>

#include "base/err.h"
#include "bsonx/bw.h"

struct keyring;

/* admin_inspect(): writes the fields directory (shown_as, or dir when that is NULL), storeId, algorithm, envelopes[], files[], generations[], and totals
 * {files, bytes, problems, authenticated}.
 * keys NULL: nothing is authenticated, and the node may be running on it; else every tag is verified, of a directory at rest.
 * What is wrong with a file is its field "problem" and counts in *n_problems; it is no error.
 * Errors: ERR_NOT_FOUND (no directory, or no data directory of ours), ERR_IO, ERR_ACCESS_DENIED. */
RC admin_inspect(const char *dir, const char *shown_as, struct keyring *keys, struct bw *w,
                 uint64_t *n_problems, struct err *e);

#endif
