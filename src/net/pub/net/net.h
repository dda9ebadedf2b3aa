/* net.h - many connections on few threads: an epoll loop, a pool of workers, timers, listeners.
 *
 * Model    A connection is owned by at most one worker at a time. It is read until whole messages stand in the buffer (net_proto.frame says where one ends), each is handed to
 *          net_proto.message, which appends its answer to `out`. An idle connection holds no buffer; a message that came whole is never copied.
 * Waiting  A protocol that has to wait returns NET_PARK: the connection keeps its place in the timer wheel, and net_proto.wake is called when the time is over or net_wake() names it.
 * Writing  What the socket does not take at once waits with its connection; nothing more is read from it until that is gone.
 * Workers  n_workers run at a time. Around a wait of unknown length a protocol says net_block_begin()/net_block_end(), and another worker takes over meanwhile, max_workers at most.
 *          When all of them are busy for long without saying so, one more is started for a while.
 * Limits   max_conns, max_inflight_bytes (partial messages and unsent answers together), the time for a handshake, a message, a write. They are what keeps a slow or hostile
 *          client from holding anything for long.
 * Threads  Calls marked [any] are for any thread; those that take a struct net_conn from inside a callback are for the worker that runs it.
 * Locks    Leaf locks only; none is held while a callback runs.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct net;
struct net_conn;
struct net_listener;
struct net_tls;

enum net_next {
    NET_READ,  /* go on reading */
    NET_PARK,  /* call wake() at the time given to net_conn_park_until(), or on net_wake() */
    NET_AGAIN, /* call wake() as soon as what was written has gone out */
    NET_CLOSE, /* send what was written, then close */
};

enum net_why {
    NET_WHY_TIME,
    NET_WHY_NAMED,
    NET_WHY_AGAIN,
    NET_WHY_END /* the last call: the connection closes after it */
};

/* Names a connection from anywhere; stale names are harmless, 0 names nobody. */
typedef uint64_t net_ref;

struct net_proto {
    /* opened(): a connection was accepted, before its handshake. *user is the protocol's. Failing closes it. */
    RC (*opened)(void *arg, struct net_conn *c, void **user, struct err *e);
    /* ready(): the handshake is done; NULL when of no interest. */
    void (*ready)(struct net_conn *c);
    /* frame(): *need = length of the message at the head of have, or how many bytes are needed to know. Failing closes the connection. */
    RC (*frame)(struct net_conn *c, struct slice have, size_t *need, struct err *e);
    enum net_next (*message)(struct net_conn *c, void *worker, struct slice msg, struct buf *out);
    enum net_next (*wake)(struct net_conn *c, void *worker, enum net_why why, struct buf *out);
    /* closed(): the last call for it. e says why when something was wrong. */
    void (*closed)(struct net_conn *c, const struct err *e);
    void *arg;
};

struct net_config {
    int n_workers, max_workers;
    int max_conns;
    int64_t max_inflight_bytes;
    uint64_t handshake_timeout_us, message_timeout_us, write_timeout_us;
    uint64_t idle_timeout_us; /* 0 = none */
    /* State of a worker, handed to message() and wake(): arenas and the like. Either may be NULL. */
    void *(*worker_new)(void *arg);
    void (*worker_free)(void *arg, void *worker);
    void *worker_arg;
};

RC net_new(const struct net_config *c, struct net **out, struct err *e);
/* net_start(): start the workers; listeners begin to accept. */
RC net_start(struct net *n, struct err *e);
/* net_stop_accepting(): listeners stay open (for a successor over exec) and are no longer read. [any] */
void net_stop_accepting(struct net *n);
/* net_resume_accepting(): the opposite. [any] */
void net_resume_accepting(struct net *n);
/* net_end_all(): every connection gets wake(NET_WHY_END), after what it is doing, and is closed. [any] */
void net_end_all(struct net *n);
/* net_drain(): wait until no connection is left; false when the deadline (monotonic) passed. [any] but a worker. */
bool net_drain(struct net *n, uint64_t deadline_us);
/* net_stop(): stop accepting, end all, wait for the workers. Not from a worker. */
void net_stop(struct net *n);
void net_free(struct net *n); /* after net_stop(); closes the listeners; NULL is fine */

/* Listeners. port 0 chooses one. host is a numeric address or a name; each address of a name is a listener of its own and *port is shared.
 * Errors: ERR_CONFIG naming the address, and the holder's chance to free a busy port. */
RC net_listen_tcp(struct net *n, const char *host, int port, struct net_tls *tls,
                  const struct net_proto *p, struct net_listener **out, struct err *e);
/* net_listen_unix(): an abandoned socket file is replaced, one in use is not. mode: 0600 as a rule. */
RC net_listen_unix(struct net *n, const char *path, unsigned mode, const struct net_proto *p,
                   struct net_listener **out, struct err *e);
/* net_listen_fd(): adopt an open listening socket (inherited over exec); owned from here on. */
RC net_listen_fd(struct net *n, int fd, struct net_tls *tls, const struct net_proto *p,
                 struct net_listener **out, struct err *e);
int net_listener_fd(const struct net_listener *l);
int net_listener_port(const struct net_listener *l); /* 0 for a Unix socket */

/* net_adopt(): make a connection of an open socket (tests, socket activation). The fd is owned from here on, in case of failure too. */
RC net_adopt(struct net *n, int fd, struct net_tls *tls, const struct net_proto *p, struct err *e);

/* Of a connection, from its callbacks. */
void *net_conn_user(const struct net_conn *c);
net_ref net_conn_ref(const struct net_conn *c);
/* "127.0.0.1:51234", "[::1]:4711", "unix"; static per connection */
const char *net_conn_peer(const struct net_conn *c);
bool net_conn_is_loopback(const struct net_conn *c); /* loopback interface or Unix socket */
bool net_conn_is_unix(const struct net_conn *c);
bool net_conn_has_tls(const struct net_conn *c);
/* net_conn_peer_uid(): of a Unix socket's other end (SO_PEERCRED); false when it cannot be known. */
bool net_conn_peer_uid(const struct net_conn *c, uint32_t *uid);
void net_conn_park_until(struct net_conn *c, uint64_t deadline_us);
/* net_wake(): call wake(NET_WHY_NAMED) of a parked connection; if it is busy right now, after that. [any] */
void net_wake(struct net *n, net_ref ref);

/* net_is_lost(): the other end has closed its side. Only while it is certain that the connection is in a callback. [any] */
bool net_is_lost(struct net *n, net_ref ref);

/* net_block_begin()/net_block_end(): the calling worker waits for something (a journal sync, a lock). No-ops in other threads. */
void net_block_begin(void);
void net_block_end(void);

struct net_stats {
    int64_t n_conns, n_conns_total, n_refused;
    int64_t bytes_in, bytes_out;
    int64_t inflight_bytes;
    int n_workers, n_blocked;
};
void net_stats(const struct net *n, struct net_stats *out);

/* TLS 1.2 or newer, forward secrecy only, no renegotiation, no tickets. */
enum net_client_cert { NET_CLIENT_CERT_NONE, NET_CLIENT_CERT_OPTIONAL, NET_CLIENT_CERT_REQUIRED };
struct net_tls_config {
    const char *cert_file; /* PEM: certificate and chain; may hold the key too */
    const char *key_file;  /* PEM; NULL or "": in cert_file */
    const char *ca_file;   /* for client certificates; NULL or "" when none are looked at */
    enum net_client_cert client_cert;
};
/* Errors: ERR_INVALID_SSL_CONFIGURATION naming the file. */
RC net_tls_new(const struct net_tls_config *c, struct net_tls **out, struct err *e);
void net_tls_free(struct net_tls *t); /* after the net that uses it; NULL is fine */

#endif
