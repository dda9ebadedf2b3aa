/* node_secret.h - random values that a cluster keeps for life inside its encrypted store. */
#ifndef COFFERD_NODE_SECRET_H
#define COFFERD_NODE_SECRET_H

#include "base/err.h"

struct secret;
struct store;

enum node_secret { NODE_SECRET_FAKE_SALT = 1 }; /* numbers stand in stored keys: never renumber */

/* node_secret_get(): 32 random bytes, made at the first call and the same ever after. */
RC node_secret_get(struct store *store, enum node_secret which, struct secret **out, struct err *e);

#endif
