/* handoff.h - what one image of the process leaves to the next across exec: why, and the listening sockets.
 *
 * Sealing replaces the whole memory image (design 4): after exec nothing of the old one is left. The successor gets a memfd whose number
 * stands in the environment; it holds one BSON document. No key, no user data.
 */
#ifndef COFFERD_HANDOFF_H
#define COFFERD_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum handoff_mode { HANDOFF_NONE, HANDOFF_SEALED, HANDOFF_READY, HANDOFF_MODE_NR };
enum { HANDOFF_FDS_MAX = 16 };

struct handoff {
    enum handoff_mode mode;
    int64_t since_ms;     /* Unix time of the change of state */
    bool key_seen;        /* the image before has just found the key in order */
    enum err_code cause;  /* the class that sealed the node */
    char cause_text[512]; /* for the administration socket and the log */
    /* how often in a row the data could not be opened although the key was there; 0: it is not that */
    int32_t storage_tries;
    int fds[HANDOFF_FDS_MAX]; /* listening sockets, in the order of the listeners */
    int n_fds;
    int lock_fd; /* the data directory, with the lock that goes along; -1 when there is none */
};

/* handoff_take(): read and remove what a predecessor left; mode HANDOFF_NONE when there is none. Once, before threads. */
RC handoff_take(struct handoff *out, struct err *e);
/* handoff_exec(): replace this process by a new image of self_fd (an fd of the binary) with the same arguments, keeping only the sockets, the
 * lock and the standard streams: no moment passes in which another process could take the directory. Returns only by failing; the caller then kills the process, since it must not go on. */
RC handoff_exec(int self_fd, char **argv, const struct handoff *h, struct err *e);

#endif
