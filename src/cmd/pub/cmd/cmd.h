/* cmd.h - database commands: one table row, one handler each.
 *
 * Model    The server turns a message into a struct cmd_req and calls cmd_run(). cmd_run() finds the row, checks state, authentication and privileges,
 *          parses generic arguments, runs the handler and writes a complete reply ({..., ok: 1} or the error document of compatibility 5).
 * Threads  [any] A request belongs to one thread; the node is shared.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include "base/settings.h"
#include "bsonx/bw.h"

struct node;        /* the process's shared state: catalog, store, cursors, users, settings; defined in cmd/node.h */
struct cmd_client;  /* a connection's state: authenticated users, SCRAM conversation, metadata; defined in cmd/client.h */

/* A kind-1 section of OP_MSG: documents end to end, already validated. */
struct cmd_seq {
    struct slice name;
    struct bdoc *docs;
    int n_docs;
};

enum cmd_wire { CMD_OP_MSG, CMD_OP_QUERY };

struct cmd_req {
    struct node *node;
    struct cmd_client *client;
    struct arena *arena;          /* the request's; freed after the reply was sent */
    struct arena *scratch;
    struct bdoc body;             /* validated */
    struct slice db;              /* $db, or the OP_QUERY namespace's */
    const struct cmd_seq *seqs;
    int n_seqs;
    enum cmd_wire wire;
    bool exhaust_allowed;
    uint64_t start_us;            /* monotonic */

    /* Filled by cmd_run() before the handler runs. */
    const struct cmd_def *def;
    uint64_t deadline_us;         /* from maxTimeMS; 0 = none */
    bool w0;
};

enum cmd_flags {
    CMD_NO_AUTH = 1 << 0,         /* runs before authentication */
    CMD_ADMIN_ONLY = 1 << 1,      /* 13 elsewhere than on admin */
    CMD_WRITES = 1 << 2,
    CMD_LENIENT = 1 << 3,         /* unknown top-level fields are ignored */
    CMD_SEALED_OK = 1 << 4,       /* answered while Inaccessible (hello) */
    CMD_NO_LOG = 1 << 5,          /* carries credentials: never printed, never compressed */
    CMD_READ_CONCERN = 1 << 6,    /* takes readConcern other than local */
    CMD_WRITE_CONCERN = 1 << 7,
};

struct cmd_def {
    const char *name;
    const char *aliases;          /* comma-separated or NULL */
    unsigned flags;
    const char *help;
    /* auth(): the privileges this request needs; FAILs with ERR_UNAUTHORIZED. NULL: none needed beyond being authenticated. */
    RC (*auth)(struct cmd_req *r, struct err *e);
    RC (*run)(struct cmd_req *r, struct bw *reply, struct err *e);
};

const struct cmd_def *cmd_find(struct slice name);
/* cmd_run(): always leaves a complete reply document in out; never fails. */
void cmd_run(struct cmd_req *r, struct buf *out);

#endif
