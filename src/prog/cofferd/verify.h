/* verify.h - would this backup open, and is every byte of it there and ours? Looked at now, instead of on the day it is needed. */
#ifndef COFFERD_VERIFY_H
#define COFFERD_VERIFY_H

#include "bsonx/bw.h"
#include "process.h"

/* verify_backup(): its own envelope is unwrapped by real calls and authenticated; every tag of every file is verified; then it is opened, from a copy by
 * links that is made beside it and removed, as a restore would, and every record read. The backup stays as it is. The outcome is kept in the list of
 * backups. Writes {dir, verified, keyVersion, generation, files, bytes}. [net] [long]
 * Errors: ERR_BACKUP_INVALID (what is wrong with it), ERR_NOT_FOUND, ERR_ENVELOPE_FOREIGN (another cluster's), and those of the key's provider. */
RC verify_backup(struct process *p, struct custody *custody, const char *dir, struct bw *w,
                 struct err *e);
/* verify_clean(): remove the copy that a verification left that was cut short by a kill or by sealing. At each start with keys; failures are logged. */
void verify_clean(const struct process *p);

#endif
