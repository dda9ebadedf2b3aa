/* backup.h - a backup is a data directory that no process has open: the store's checkpoint and the key envelope. Encrypted as it is.
 *
 * It opens under the same keys as the node it came from, and only there: no key is in it.
 */
#ifndef COFFERD_BACKUP_H
#define COFFERD_BACKUP_H

#include "process.h"

struct store;

/* backup_check(): dir is an absolute path, and nothing is there: ERR_CONFIG. */
RC backup_check(const char *dir, struct err *e);
/* backup_copy_file(): byte for byte, into a new file. Errors: ERR_NOT_FOUND, ERR_DISK_FULL, ERR_IO. */
RC backup_copy_file(const char *from, const char *to, struct err *e);
/* backup_make(): into dir, which does not exist yet; its parent does. Complete when the envelope, written last, is there. [long]
 * Errors: ERR_CONFIG (the path), ERR_DISK_FULL, ERR_IO. */
RC backup_make(struct process *p, struct store *store, const char *dir, struct err *e);
/* restore_copy(): an offline restore into an empty data directory: the backup's store, byte for byte, then its envelope; synced. As in a backup, the envelope
 * says that all is there. Opening then authenticates every file. [long] Errors: ERR_CONFIG (not empty), ERR_BACKUP_INVALID, ERR_DISK_FULL, ERR_IO. */
RC restore_copy(struct process *p, const char *from, struct err *e);
/* restore_verify(): last: read every record of the opened store, so that every byte of it was authenticated before a client sees it. [long] */
RC restore_verify(struct store *store, struct err *e);

#endif
