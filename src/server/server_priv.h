/* server_priv.h - between the files of server.
 *
 * Locks: conns_lock before a client's op_lock; park_lock and watch_lock are leaves.
 */
#ifndef SERVER_SERVER_PRIV_H
#define SERVER_SERVER_PRIV_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/thread.h"
#include "cmd/cmd.h"
#include "server/server.h"
#include "wire/wire.h"

/* the last: of enum park_on */
enum { SERVER__CONN_MAGIC = 0x73636f6e, SERVER__LISTENERS = 16, SERVER__PARK_NR = 4 };

struct server__conn {
    uint32_t magic;
    struct server *s;
    struct cmd_client *client;
    struct list link; /* guarded by conns_lock */
    net_ref ref;
    /* The request that waits or streams, as it came; empty otherwise. */
    struct buf request;
    /* requestID of the request, or of the reply before in an exhaust stream */
    int32_t respond_to;
    /* Where it is parked. */
    struct list park; /* guarded by park_lock; points at itself when not parked */
    uint64_t park_key;
};

struct server {
    struct server_config cfg;
    struct net *net;
    struct net_proto proto;
    struct net_listener *listeners[SERVER__LISTENERS];
    int n_listeners;
    atomic_int next_client_id; /* connectionId */
    atomic_int next_reply_id;
    atomic_int ending; /* enum err_code that ends requests; 0 while serving */

    struct mutex conns_lock;
    struct list conns;
    struct mutex park_lock;
    struct list parked[SERVER__PARK_NR];

    struct mutex watch_lock;
    struct cond watch_cond;
    bool watch_ends; /* guarded by watch_lock */
    bool watching;
    pthread_t watch;
};

/* A worker's own tools. */
struct server__worker {
    struct arena *arena, *scratch;
    struct wire_codec *codec;
};

/* server_watch.c: long requests whose clients are gone. Without the thread they run on, which costs time and nothing else. */
void server__watch_start(struct server *s);
void server__watch_stop(struct server *s);

/* server_park.c: requests that wait. */
void server__park(struct server__conn *c);
void server__unpark(struct server__conn *c);
void server__signal(void *server, enum park_on on, uint64_t key);

/* server_request.c: one request, from message to reply. */
enum net_next server__message(struct net_conn *nc, void *worker, struct slice msg, struct buf *out);
enum net_next server__wake(struct net_conn *nc, void *worker, enum net_why why, struct buf *out);
struct server__conn *server__conn_of(struct net_conn *nc);

#endif
