/* making.h - a data directory in the making: what a stop in the middle of a first start, or of a restore, leaves behind must be told from data that was lost.
 *
 * A word in the state directory says so, from before the first file is made until the store is open (and, after a restore, verified). Without it, an envelope
 * without its store is a loss, and refused; with it, the making goes on.
 */
#ifndef COFFERD_MAKING_H
#define COFFERD_MAKING_H

#include "process.h"

enum making { MAKING_NOTHING, MAKING_NEW, MAKING_RESTORE, MAKING_NR };

/* making_read(): MAKING_NOTHING when there is no word. Errors: ERR_IO, ERR_CORRUPT. */
RC making_read(const struct process *p, enum making *out, struct err *e);
/* making_begin(), making_done(): durable when they return. */
RC making_begin(const struct process *p, enum making what, struct err *e);
RC making_done(const struct process *p, struct err *e);

#endif
