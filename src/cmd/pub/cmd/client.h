/* client.h - what the server remembers of one connection, as commands see it.
 *
 * Owner    The connection. Made by cmd_client_new() when it is accepted, freed when it ends.
 * Threads  One request of a connection runs at a time, on one thread, so fields need no lock; `interrupt` and `op` are the exceptions.
 * Waiting  A handler never sleeps for long. It calls cmd_client_park(), returns RC_OK, and is run again from the start with `resumed` set: when the
 *          deadline is over or cmd_client_park_key() is signalled. What it wrote before is thrown away.
 * Exhaust  When the request allowed it (r->exhaust_allowed), a handler may set `exhaust_more`: the reply goes out with moreToCome, and the handler is run again
 *          for the next one, with `exhaust_round` counting up.
 */
#ifndef CMD_CLIENT_H
#define CMD_CLIENT_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/slice.h"
#include "base/thread.h"
#include "bsonx/bval.h"

struct cmd_def;
struct cmd_req;
struct identity;
struct identity_session;
struct scram;

enum client_transport { CLIENT_TCP, CLIENT_TLS, CLIENT_UNIX };
/* ids of OP_COMPRESSED */
enum client_compressor {
    COMPRESS_NOOP,
    COMPRESS_SNAPPY,
    COMPRESS_ZLIB,
    COMPRESS_ZSTD,
    COMPRESS_NR
};
enum { CLIENT_METADATA_MAX = 512, CLIENT_APP_NAME_MAX = 128 };

/* What a parked request waits for, besides its deadline. */
enum park_on { PARK_TIME, PARK_TOPOLOGY, PARK_KEY, PARK_WRITES };

/* The command that a connection runs. Pointers hold while op_lock is held. */
struct cmd_op {
    const struct cmd_def *def; /* NULL: none runs */
    int32_t id;                /* what killOp names it by */
    uint64_t since_us;         /* monotonic */
    struct bdoc body;
    struct slice db;
    const char *user; /* "db.user", "" without authentication */
    bool has_lsid;
    bool nobody_waits; /* sent without waiting for an answer */
    bool waits;        /* for a lock; parked, so what it points at is in op_kept */
    uint8_t lsid[16];
};

struct cmd_client {
    int32_t id; /* hello's connectionId */
    enum client_transport transport;
    bool loopback;                     /* loopback interface or Unix socket */
    char peer[64];                     /* "ip:port", as whatsmyuri says it */
    struct identity_session *identity; /* never NULL */

    struct scram *scram; /* a SASL conversation under way, or NULL */
    struct buf metadata; /* the `client` document of the first hello; empty before */
    char app_name[CLIENT_APP_NAME_MAX + 1];
    bool hello_done;
    uint8_t compressors; /* bit 1 << enum client_compressor: agreed in hello */

    /* Parking and exhaust: set by a handler, taken back by the server before the next run. */
    bool parked, resumed;
    enum park_on park_on;
    uint64_t park_key;      /* PARK_KEY: e.g. a collection's ident */
    uint64_t park_until_us; /* monotonic */
    bool exhaust_more;
    uint32_t exhaust_round;
    int64_t hello_counter; /* topology counter of the last streamed hello */
    bool close_after;      /* end the connection once the reply is out */

    /* An enum err_code that running commands fail with at their next check; 0 = go on. Set from other threads: when the node seals or stops, for good; by
     * cmd_client_interrupt(), for the command that runs. */
    _Atomic int interrupt;
    struct mutex op_lock; /* a leaf */
    struct cmd_op op;     /* guarded by op_lock, as op_kept */
    struct buf op_kept;
};

struct cmd_client_config {
    struct identity *identity;
    int32_t id;
    enum client_transport transport;
    bool loopback;
    const char *peer;
};
struct cmd_client *cmd_client_new(const struct cmd_client_config *c);
void cmd_client_free(struct cmd_client *c); /* NULL is fine */

/* cmd_client_check(): fails with the code that interrupts this client, if any. */
RC cmd_client_check(const struct cmd_client *c, struct err *e);
/* cmd_client_interrupt(): the command that c runs, if it runs one and pick() says so, fails with code at its next check; whether pick() did. Nothing is left
 * for the next command. pick() is called with op_lock held. [any], while c is known to live */
typedef bool (*cmd_op_fn)(void *arg, const struct cmd_client *c, const struct cmd_op *op);
bool cmd_client_interrupt(struct cmd_client *c, cmd_op_fn pick, void *arg, enum err_code code);
/* cmd_client_park(): ask the server to run this request again at until_us, or when the event comes. */
void cmd_client_park(struct cmd_client *c, enum park_on on, uint64_t key, uint64_t until_us);
/* cmd_client_signal(): run again every request parked on (on, key); [any]. The server installs the function that does it. */
void cmd_client_signal(enum park_on on, uint64_t key);
void cmd_client_set_signal_fn(void (*fn)(void *arg, enum park_on on, uint64_t key), void *arg);

/* What clients are told while the node holds no keys (docs/sealed-state.md). */
struct cmd_seal {
    const char *state;     /* "Inaccessible" */
    int64_t since_ms;      /* Unix time */
    int64_t next_probe_ms; /* Unix time; 0 = unknown */
    bool storage;          /* not the key is in the way: the data cannot be opened */
};
/* cmd_write_sealed(): the whole error document {ok: 0, errmsg, code, codeName, state, since, nextProbe}. */
void cmd_write_sealed(const struct cmd_seal *s, struct buf *out);

#endif
