/* unlock.h - from a data directory to a key ring: create or open the custody of the cluster's SMK. */
#ifndef COFFERD_UNLOCK_H
#define COFFERD_UNLOCK_H

#include "keys/custody.h"
#include "making.h"
#include "process.h"

/* unlock_keys(): opens the custody, or makes a new cluster when the data directory holds nothing. Logs what was found and repaired. [net]
 *   making   in: what was being made. MAKING_RESTORE: the envelope came from a backup and is adopted, since its pin stayed with the cluster that it came
 *            from. Out: MAKING_NEW when a cluster is made
 * Errors: those of custody.h and provider.h. */
RC unlock_keys(struct process *p, enum making *making, struct custody **out, struct err *e);
/* unlock_may_wait(): the error says that the key is out of reach (not that anything is wrong with the files): the node can wait, sealed, for it to come back. */
bool unlock_may_wait(const struct err *e);

#endif
