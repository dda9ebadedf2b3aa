/* server.h - MongoDB clients: connections, their messages, and the commands that answer them.
 *
 * Model    A server has a net (loop, workers, listeners). Each connection has a struct cmd_client. A message is parsed into the worker's arena, becomes a struct cmd_req,
 *          and cmd_run() writes the reply behind the room for its headers. A request that has to wait is kept with its connection and run again.
 * Access   Only loopback is served unless authentication and TLS are both on: server_listen() refuses other addresses, and a connection that comes from elsewhere
 *          (an inherited listener) is closed.
 * Sealed   While config.sealed says so, the hello family is answered and every other command, authentication included, gets the one error of docs/sealed-state.md.
 * Threads  [any] unless said otherwise.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/err.h"
#include "cmd/client.h"
#include "cmd/node.h"
#include "net/net.h"

struct server;

struct server_config {
    struct node *node;
    /* never NULL; its `auth` decides what "authentication is on" means */
    struct identity *identity;
    struct net_tls *tls; /* NULL: no TLS. Borrowed */
    /* sealed(): true while the keys are out of reach, with what to tell clients. Called for each request: cheap. NULL: never sealed. */
    bool (*sealed)(void *ctx, struct cmd_seal *out);
    void *sealed_ctx;
    /* shutdown(): the shutdown command was accepted; must return at once. NULL: not offered. */
    void (*shutdown)(void *ctx);
    void *shutdown_ctx;

    /* Limits; server_config_init() sets the defaults of tables/settings.def. */
    int workers; /* 0: twice the processors */
    int max_workers;
    int max_connections;
    int64_t max_inflight_bytes;
    int64_t request_memory_bytes; /* arena budget of a request */
    uint64_t handshake_timeout_us, message_timeout_us, write_timeout_us, idle_timeout_us;
};
void server_config_init(struct server_config *c);

RC server_new(const struct server_config *c, struct server **out, struct err *e);
/* server_listen(): hosts is a comma-separated list of addresses, all on the same port; port 0 chooses one. Before or after server_start(). Errors: ERR_CONFIG. */
RC server_listen(struct server *s, const char *hosts, int port, struct err *e);
/* server_listen_unix(): a Unix socket for clients, mode 0700 of its owner. */
RC server_listen_unix(struct server *s, const char *path, struct err *e);
/* server_adopt(): take over a listening socket inherited over exec. */
RC server_adopt(struct server *s, int fd, struct err *e);
int server_port(const struct server *s); /* of the first TCP listener; 0 without */
/* server_listener_fds(): the listeners, to be inherited; returns how many there are. They stay the server's. */
int server_listener_fds(const struct server *s, int *fds, int max);

RC server_start(struct server *s, struct err *e);
/* server_end_clients(): for sealing. Stops accepting, interrupts what runs with ERR_CLUSTER_INACCESSIBLE, answers what waits with the documented error, closes every
 * connection. Listeners stay open. Returns false when the deadline (monotonic) passed first. */
bool server_end_clients(struct server *s, uint64_t deadline_us);
/* server_resume(): accept again, after server_end_clients(). */
void server_resume(struct server *s);
/* server_stop(): stop accepting, interrupt what runs with ERR_INTERRUPTED_AT_SHUTDOWN once the deadline passed, end the workers. Not from a worker. */
void server_stop(struct server *s, uint64_t deadline_us);
void server_free(struct server *s); /* after server_stop(); NULL is fine */

/* server_node_ops: how commands see the network; ctx is the server. */
extern const struct node_net_ops server_node_ops;

#endif
