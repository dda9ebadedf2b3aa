/* child.h - a program that this one started and that outlives it: begin, watch, find again, end.
 *
 * Model    What was started is remembered in a pid file with the process's start time from /proc, so that a number which the
 *          system has given to another process meanwhile is never taken for ours, and never signalled.
 */
#ifndef COFFER_CHILD_H
#define COFFER_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* child_find(): the pid that pid_file names, 0 when that process has ended or there is no such file. */
pid_t child_find(const char *pid_file);
/* child_start(): argv[0] is the program's path; its output is appended to output_file; it gets a session of its own. Writes
 * pid_file. */
RC child_start(char *const argv[], const char *output_file, const char *pid_file, pid_t *out,
               struct err *e);
/* child_wait_file(): until path exists. An end of the process before that is an error which quotes the end of output_file and
 * log_file. Errors: ERR_OPERATION_FAILED, ERR_TIMEOUT. */
RC child_wait_file(pid_t pid, const char *path, const char *output_file, const char *log_file,
                   uint64_t timeout_ms, struct err *e);
/* child_stop(): ask it to end, insist after timeout_ms; removes pid_file. A process that has ended is fine. */
RC child_stop(const char *pid_file, uint64_t timeout_ms, struct err *e);
/* child_port_free(): ERR_CONFIG naming the setting when nobody can listen on the loopback port. */
RC child_port_free(const char *setting, int64_t port, struct err *e);

#endif
