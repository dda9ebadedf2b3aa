/* spill_priv.h - how the store makes spill files. */
#ifndef STORE_SPILL_PRIV_H
#define STORE_SPILL_PRIV_H

#include "base/err.h"
#include "store/store.h"

struct secret;

/* store__spill_key_new(): the key of all spill files of an open store; the caller frees it. */
RC store__spill_key_new(struct secret **out, struct err *e);
RC store__spill_open(const char *dir, const struct secret *process_key, struct store_spill **out,
                     struct err *e);

#endif
