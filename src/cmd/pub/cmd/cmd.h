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

/* the process's shared state: catalog, store, cursors, users, settings; defined in cmd/node.h */
struct node;
/* a connection's state: authenticated users, SCRAM conversation, metadata; defined in cmd/client.h */
struct cmd_client;

/* A kind-1 section of OP_MSG: documents end to end, already validated. */
struct cmd_seq {
    struct slice name;
    struct bdoc *docs;
    int n_docs;
};

enum cmd_wire { CMD_OP_MSG, CMD_OP_QUERY };

/* Arguments that every command takes (compatibility 4), checked. */
struct cmd_generic {
    struct bval comment; /* missing if none */
    bool has_max_time;
    bool has_lsid;
    uint8_t lsid[16];
    /* {j: false} with w: 1: acknowledged before the journal is on disk */
    bool no_journal;
    bool api_strict;
};

struct cmd_req {
    struct node *node;
    struct cmd_client *client;
    struct arena *arena; /* the request's; freed after the reply was sent */
    struct arena *scratch;
    struct bdoc body; /* validated */
    struct slice db;  /* $db, or the OP_QUERY namespace's */
    const struct cmd_seq *seqs;
    int n_seqs;
    enum cmd_wire wire;
    bool exhaust_allowed;
    uint64_t start_us; /* monotonic */

    /* Filled by cmd_run() before the handler runs. */
    const struct cmd_def *def;
    bool admitted;        /* by the node's state and the user's privileges */
    uint64_t deadline_us; /* from maxTimeMS; 0 = none */
    bool w0;
    struct cmd_generic g;
};

enum cmd_flags {
    CMD_NO_AUTH = 1 << 0,    /* runs before authentication */
    CMD_ADMIN_ONLY = 1 << 1, /* 13 elsewhere than on admin */
    CMD_WRITES = 1 << 2,
    CMD_LENIENT = 1 << 3,      /* unknown top-level fields are ignored */
    CMD_SEALED_OK = 1 << 4,    /* answered while Inaccessible (hello) */
    CMD_NO_LOG = 1 << 5,       /* carries credentials: never printed, never compressed */
    CMD_READ_CONCERN = 1 << 6, /* takes readConcern other than local */
    CMD_WRITE_CONCERN = 1 << 7,
    CMD_API_V1 = 1 << 8,        /* part of the Stable API, version 1 */
    CMD_TEST_ONLY = 1 << 9,     /* exists only when the node offers test commands */
    CMD_STAGES_WRITE = 1 << 10, /* writes when its pipeline has $out or $merge */
    CMD_LONG = 1 << 11,         /* works through a whole collection whoever asks */
    CMD_COUNTED = 1 << 12,      /* counts what it does itself, under another name than "command" */
    CMD_UNGATED = 1 << 13,      /* goes on while the node is locked against writes */
};

/* What a request must be allowed to do, for the commands where one action on one resource says it. */
enum cmd_scope {
    CMD_SCOPE_NONE,
    CMD_SCOPE_COLL /* $db and the first value */,
    CMD_SCOPE_DB,
    CMD_SCOPE_CLUSTER
};

struct cmd_def {
    const char *name;
    const char *aliases; /* comma-separated or NULL */
    unsigned flags;
    const char *help;
    enum cmd_scope scope;
    int action; /* enum action, with scope */
    /* auth(): the privileges this request needs, where scope does not say it; FAILs with ERR_UNAUTHORIZED. May be NULL. */
    RC (*auth)(struct cmd_req *r, struct err *e);
    RC (*run)(struct cmd_req *r, struct bw *reply, struct err *e);
};

/* Rows come from tables/commands.def. cmd_find() knows aliases too; cmd_each() gives every row once, sorted by name. */
const struct cmd_def *cmd_find(struct slice name);
int cmd_count(void);
const struct cmd_def *cmd_at(int i);
/* cmd_writes(): whether this request does. Then it waits for the journal, and goes on when its client leaves. */
bool cmd_writes(const struct cmd_def *d, struct bdoc body);
/* cmd_run(): always leaves a complete reply document in out; never fails. */
void cmd_run(struct cmd_req *r, struct buf *out);

#endif
