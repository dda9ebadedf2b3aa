/* node.h - one database node: what every command of a process shares.
 *
 * Model    The program fills a struct node before the first request and empties it after the last one. Commands read it; the
 *          objects behind its pointers take their own locks.
 * Edges    What lies above this layer (connections, the key state machine, the program) is reached through tables of
 *          functions that the program hands in, so that cmd links neither server nor kms.
 * Threads  [any] Plain fields do not change while requests run, but for the atomics.
 */
#ifndef CMD_NODE_H
#define CMD_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "base/thread.h"

struct admin_ops;
struct bw;
struct catalog;
struct cmd_client;
struct cmd_req;
struct cursors;
struct identity;
struct sessions;
struct settings;
struct store;

/* The key state machine, as commands see it. A NULL table means a node whose keys are always there (unit tests). */
struct node_key_ops {
    /* check(): RC_OK while Ready; else ERR_CLUSTER_INACCESSIBLE with the documented text. Called for each request: cheap. */
    RC (*check)(void *ctx, struct err *e);
    /* status(): fields of serverStatus's `coffer` section: mode, state, since, key ids and versions, last probe, grace. */
    void (*status)(void *ctx, struct bw *w);
    /* revalidate(): probe now; NULL when the program has no prober. */
    RC (*revalidate)(void *ctx, struct err *e);
};

/* Connections and the network, as commands see them. A NULL table means none (unit tests). */
struct node_net_stats {
    int64_t current, available, total_created; /* connections */
    int64_t bytes_in, bytes_out, n_requests;
};
struct node_net_ops {
    void (*stats)(void *ctx, struct node_net_stats *out);
    /* shutdown(): the program stops in order, soon after the present reply; asynchronous. */
    void (*shutdown)(void *ctx);
    /* each_client(): fn for every connection, one after the other; connections do not end meanwhile. fn takes no lock but op_lock. May be NULL. */
    void (*each_client)(void *ctx, void (*fn)(void *arg, struct cmd_client *c), void *arg);
};

enum {
    NODE_OPCOUNTER_INSERT,
    NODE_OPCOUNTER_QUERY,
    NODE_OPCOUNTER_UPDATE,
    NODE_OPCOUNTER_DELETE,
    NODE_OPCOUNTER_GETMORE,
    NODE_OPCOUNTER_COMMAND,
    NODE_OPCOUNTER_NR
};

/* Limits that the program copies from its settings; all have defaults from node_defaults(). */
struct node_limits {
    int64_t cursor_timeout_ms;    /* idle cursors are closed after so long */
    int64_t session_timeout_ms;   /* idle sessions */
    int64_t max_cursors;          /* open at once; ERR_EXCEEDED_MEMORY_LIMIT past it */
    int64_t max_sessions;         /* ERR_TOO_MANY_LOGICAL_SESSIONS past it */
    int64_t query_memory_bytes;   /* of a blocking stage before it spills */
    int64_t request_memory_bytes; /* arena budget of a cursor */
    int64_t ttl_sleep_ms;         /* between two passes of the TTL monitor */
};

/* What setParameter changes while the node runs (cmd_parameters.c). */
enum { NODE_DESCRIPTOR_MAX = 64 };
struct node_params {
    atomic_bool no_disk_use; /* of commands that do not say; they spill otherwise */
    atomic_bool no_ttl;      /* documents do not expire */
    atomic_bool quiet;       /* connections are not logged */
    atomic_int verbosity;
    atomic_int_least64_t default_max_time_ms; /* of reads that set none; 0: no bound */
    atomic_int_least64_t ttl_sleep_ms;
    struct mutex lock; /* before kept's; around changes of verbosity and of the default time too */
    int usual_level;   /* of the log, at verbosity 0; guarded by lock */
    char descriptor[NODE_DESCRIPTOR_MAX + 1]; /* shown in hello; guarded by lock */
};

struct auto_compact; /* cmd_auto_compact.c */
struct profiler;     /* cmd_profile.c */
struct kept;         /* kept.c */

struct node {
    struct store *store;
    struct catalog *catalog;
    struct cursors *cursors;
    struct sessions *sessions;
    struct profiler *profiler;
    struct auto_compact *auto_compact;
    struct kept *kept;     /* cluster parameters and the like */
    atomic_int n_profiled; /* databases with a profiling level above 0 */
    /* users, roles, SCRAM; NULL in unit tests without authentication */
    struct identity *identity;
    struct settings *settings; /* the program's; may be NULL in unit tests */

    const struct node_key_ops *key;
    void *key_ctx;
    const struct node_net_ops *net;
    void *net_ctx;

    const struct admin_ops *admin; /* operations of the command `coffer`; NULL: none */

    bool auth_enabled;  /* requests need a user (default true in the program) */
    bool test_commands; /* configureFailPoint and friends; off by default */
    struct node_limits limits;
    struct node_params p;
    char host[256]; /* "host:port" as shown by serverStatus */
    int port;
    /* of the program, for getCmdLineOpts; secrets are never on a command line */
    int argc;
    char **argv;
    uint64_t start_us;       /* monotonic */
    int64_t start_ms;        /* real time */
    uint8_t process_oid[12]; /* topologyVersion.processId */

    atomic_bool stopping; /* requests are answered ERR_INTERRUPTED_AT_SHUTDOWN */
    atomic_int_least64_t opcounters[NODE_OPCOUNTER_NR];
    atomic_int_least64_t n_errors; /* requests answered with an error */
    /* fsync {lock: true}: writers stay out while there is a lock (cmd_fsync.c) */
    atomic_int_least64_t n_write_locks, n_writers;
};

/* node_init(): zero everything, set the limits' defaults and the start times. */
void node_init(struct node *n);
/* node_open(): open catalogue, cursors and sessions over n->store, finish what a crash left half-done (dropped tables).
 * The program sets store, settings, limits and tables first, and identity after it (identity needs the catalogue). */
RC node_open(struct node *n, struct err *e);
/* node_close(): close cursors, then sessions and catalogue; before store_close(). NULL members are fine. */
void node_close(struct node *n);

/* node_descriptor(): what the automation that runs this node calls it, "" if it gave no name. */
void node_descriptor(struct node *n, char out[NODE_DESCRIPTOR_MAX + 1]);
void node_set_descriptor(struct node *n, struct slice text);

/* node_tick(): background work that is due: idle cursors and sessions, expired documents (TTL). The program's background
 * thread calls it about once a second; it returns early when n->stopping. [long] */
void node_tick(struct node *n);
/* node_kill_cursors_of(): a connection, user or session is gone: close what it left. */
void node_client_gone(struct node *n, struct cmd_client *client);

#endif
