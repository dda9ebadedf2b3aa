/* erase.h - crypto-erase: every wrapped copy of the cluster's keys that is known is destroyed. The data stays where it is, and nobody can read it.
 *
 *   asked for ──▶ marker: erasing ──▶ new image ──▶ key version disabled ──▶ copies destroyed, one after the other ──▶ marker: erased
 *                     (no way back)
 *
 * One way  Ready, Inaccessible or stopped: what is asked for is written to the state directory, and carried out by an image that has no key and nothing
 *          open, before it does anything else. So a stop anywhere is taken up by the next start, and what may still write an envelope is gone.
 * Trust    The marker in the state directory decides. The one in the data directory only says why nothing is there: who writes the data directory can
 *          have nothing erased by it.
 * Marker   STATE/erased, JSON {format, cluster, lineage, state, asked, done, mode, url, keyVersion, disable, rows: [{what, path, outcome, why}]}: also the
 *          report. DATA/ERASED, one line of text.
 */
#ifndef COFFERD_ERASE_H
#define COFFERD_ERASE_H

#include "process.h"

/* erase_mark(): the point of no return: the next image of this process, or the next start, erases. confirm is the cluster's name, or ERR_BAD_VALUE.
 *   keep_version  do not ask the vault to disable the version of the key
 * Errors: also ERR_NOT_FOUND (no cluster is here), ERR_IO. */
RC erase_mark(struct process *p, const char *confirm, bool keep_version, struct err *e);
/* erase_is_due(): it was marked, and not everything is done. */
bool erase_is_due(const struct process *p);
/* erase_run(): carry it out. What is not destroyed and has to be is ERR_OPERATION_FAILED, and the next start goes on. [net] */
RC erase_run(struct process *p, struct err *e);
/* erase_refuse(): ERR_CLUSTER_ERASED when there was a cluster here, and it was erased. */
RC erase_refuse(const struct process *p, struct err *e);

#endif
