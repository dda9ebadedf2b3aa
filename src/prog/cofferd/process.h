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
#include "base/thread.h"
#include "handoff.h"
#include "keyconf.h"
#include "keys/custody.h"

struct process {
    struct settings *set;
    int argc;
    char **argv;
    int self_fd; /* the binary, opened at start: what sealing executes is what was started */
    int lock_fd; /* flock on the data directory, held for life; -1 before */
    struct handoff handoff;
    struct mutex conf_lock; /* a leaf */
    struct keyconf conf;    /* guarded by conf_lock: in force */
    /* guarded by conf_lock: key-config.next is there, and conf is what was found to count */
    bool conf_pending;
    /* the tag of the key as the start saw it: -1 = there is none, -2 = it was not seen */
    int64_t start_grace_ms;
    /* Places, absolute; owned. */
    char *data_dir, *store_dir, *state_dir;
    char *pin_path, *root_key_path, *machine_path, *making_path, *admin_path;
    char *conf_path, *conf_next_path, *backups_path, *ticket_path;
};

/* process_places(): work the places out of the settings and make the directories (mode 0700). Errors: ERR_CONFIG, ERR_IO. */
RC process_places(struct process *p, struct err *e);
/* process_lock(): one process a data directory: ERR_DIRECTORY_BUSY names it. Before anything in it is touched. The lock that an
 * image before left is taken over. */
RC process_lock(struct process *p, struct err *e);
/* process_load_conf(): the key configuration: the settings', or the one that an online change has left. After process_lock(). */
RC process_load_conf(struct process *p, struct err *e);
/* process_settle_conf(): the envelope was opened and authenticated, so what process_load_conf() found out about an interrupted change holds: finish it,
 * or forget it. */
RC process_settle_conf(struct process *p, struct err *e);
/* process_conf(): a copy of what is in force, for the caller to free. [any] */
void process_conf(struct process *p, struct keyconf *out);
enum key_mode process_mode(struct process *p);
/* process_set_conf(): c is on disk and counts from now on. [any] */
void process_set_conf(struct process *p, const struct keyconf *c);
void process_fini(struct process *p);

/* Exit codes of the two runs: */
enum run_end { RUN_STOPPED = 0, RUN_FAILED = 1 };
enum run_end ready_run(struct process *p);
/* sealed_run(): why and since when, from the hand-off or from a start that failed. */
enum run_end sealed_run(struct process *p, const struct handoff *why);

#endif
