/* fault.h - fault points: named places where a test makes the next fallible call fail or wait.
 *
 * Compiled into every build and inert unless armed: by fault_arm() in a test, or by the environment COFFER_FAULTS at start,
 * "NAME=ACTION[:SKIP[:TIMES]],..." where ACTION is an errno name (EIO, ENOSPC), "kill" (SIGKILL oneself) or "delayMS".
 * A fault point never weakens a check: it can only make things fail, stop or be slow. [any thread]
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* fault_hit(): 0 to go on, or the errno to fail with. Sleeps or kills as armed. Costs one relaxed load when nothing is armed. */
int fault_hit(const char *name);
/* fault_step(): a place between two durable steps of what ("the backup"), for tests to fail, to wait or to end the process at. */
RC fault_step(const char *name, const char *what, struct err *e);
/* fault_arm(): action as above; skip = calls to let pass first; times = how often then, -1 for ever. */
void fault_arm(const char *name, const char *action, int skip, int times);
void fault_disarm_all(void);
uint64_t fault_count(const char *name); /* hits seen since armed */
void fault_init_from_env(void);         /* panics on a text that does not parse */

/* Counting mode, for tests that fail each call in turn: after fault_count_all() every fault_hit() is counted under one
 * counter; fault_fail_nth(n) makes the n-th one (from 1) fail with EIO. */
void fault_count_all(void);
void fault_fail_nth(uint64_t n);
uint64_t fault_total(void);

#endif
