/* verify.h - would this backup open, and is every byte of it there and ours? Looked at now, instead of on the day it is needed. And: is every byte of the
 * data directory itself authentic? */
#ifndef COFFERD_VERIFY_H
#define COFFERD_VERIFY_H

#include "bsonx/bw.h"
#include "process.h"

struct store;

/* verify_backup(): its own envelope is unwrapped by real calls and authenticated; every tag of every file is verified; then it is opened, from a copy by
 * links that is made beside it and removed, as a restore would, and every record read. The backup stays as it is. The outcome is kept in the list of
 * backups. Writes {dir, verified, keyVersion, generation, files, bytes}. [net] [long]
 * Errors: ERR_BACKUP_INVALID (what is wrong with it), ERR_NOT_FOUND, ERR_ENVELOPE_FOREIGN (another cluster's), and those of the key's provider. */
RC verify_backup(struct process *p, struct custody *custody, const char *dir, struct bw *w,
                 struct err *e);
/* verify_copy(): every tag of a directory of this cluster's at rest, such as a backup, under the keys of its own envelope, unwrapped by real calls: it may be
 * of generations that the cluster has no more. Where that envelope cannot be opened, under those that the cluster has; envelopeNotOpened says why. Writes what
 * admin_inspect() does. [net] [long] Errors: ERR_ENVELOPE_FOREIGN (another cluster's), ERR_NOT_FOUND, ERR_IO. */
RC verify_copy(struct process *p, struct custody *custody, const char *dir, struct bw *w,
               struct err *e);
/* verify_own(): every tag of what the node's own data directory holds at this moment. The node writes to it, so a consistent copy is made beside it, tables by
 * links, looked at, and removed. Writes what admin_inspect() does, and consistentCopy: true. One at a time, and none beside verify_backup(). [long]
 * Errors: ERR_IO, ERR_DISK_FULL. */
RC verify_own(struct process *p, struct custody *custody, struct store *store, const char *shown_as,
              struct bw *w, struct err *e);
/* verify_clean(): remove the copy that a verification left that was cut short by a kill or by sealing. At each start with keys; failures are logged. */
void verify_clean(const struct process *p);

#endif
