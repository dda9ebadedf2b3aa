/* harden.h - what the process does to itself before it holds anything secret, at every start and after every re-exec (exec sets dumpable
 * to 1, keeps the signal mask and drops locked memory). */
#ifndef COFFERD_HARDEN_H
#define COFFERD_HARDEN_H

#include "base/err.h"

/* harden_process(): no core dumps, not dumpable, an environment without SSLKEYLOGFILE and proxies, no inherited signal mask, umask 077; raises the soft
 * limits of open files and locked memory to the hard ones. */
RC harden_process(struct err *e);
/* harden_warn_swap(): log a warning when the machine swaps. */
void harden_warn_swap(void);

#endif
