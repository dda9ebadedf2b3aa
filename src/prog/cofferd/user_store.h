/* user_store.h - the users' documents in the node's store, for module identity: key META_USERS || "db.user", value the document. */
#ifndef COFFERD_USER_STORE_H
#define COFFERD_USER_STORE_H

#include "identity/identity.h"

struct store;

/* user_store_init(): fill the table; store outlives it. */
void user_store_init(struct identity_store *out, struct store *store);

#endif
