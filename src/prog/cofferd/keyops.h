/* keyops.h - the administrative operations on this cluster's keys, for the table in ops.c. */
#ifndef COFFERD_KEYOPS_H
#define COFFERD_KEYOPS_H

#include "ops.h"

/* keyShow: {mode, state, key {url, clientId, version, alg, wrapped}, versions [...], nextProbe, gracePeriod, ...}. Also while sealed, with what the
 * files and the prober know. */
RC keyops_show(void *ctx, struct bdoc args, struct bw *w, struct err *e);

#endif
