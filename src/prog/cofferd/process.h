/* process.h - one cofferd process: its settings, its places, and the images it goes through.
 *
 *   main ── helper_arg? ──▶ key_helper_main()                     the unwrap helper (keys/helper.h)
 *     │
 *     ├── hand-off says sealed ──▶ sealed_run() ── key is back ──▶ exec: hand-off ready
 *     └── else ──▶ ready_run() ── key denied, or the grace period over ──▶ exec: hand-off sealed
 *
 * A node that cannot unwrap its SMK at start (denied, unreachable) goes on as sealed_run() in the same image: it never held a key.
 */
#ifndef COFFERD_PROCESS_H
#define COFFERD_PROCESS_H

#include "base/settings.h"
#include "handoff.h"
#include "keys/custody.h"

struct process {
    struct settings *set;
    int argc;
    char **argv;
    int self_fd; /* the binary, opened at start: what sealing executes is what was started */
    int lock_fd; /* flock on the data directory, held for life; -1 before */
    struct handoff handoff;
    enum key_mode mode;
    /* Places, absolute; owned. */
    char *data_dir, *store_dir, *state_dir;
    char *pin_path, *root_key_path, *machine_path, *making_path, *admin_path;
};

/* process_places(): work the places out of the settings and make the directories (mode 0700). Errors: ERR_CONFIG, ERR_IO. */
RC process_places(struct process *p, struct err *e);
/* process_lock(): one process a data directory: ERR_DIRECTORY_BUSY names it. Before anything in it is touched. The lock that an
 * image before left is taken over. */
RC process_lock(struct process *p, struct err *e);
void process_fini(struct process *p);

/* Exit codes of the two runs: */
enum run_end { RUN_STOPPED = 0, RUN_FAILED = 1 };
enum run_end ready_run(struct process *p);
/* sealed_run(): why and since when, from the hand-off or from a start that failed. */
enum run_end sealed_run(struct process *p, const struct handoff *why);

#endif
