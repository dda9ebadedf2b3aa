/* net_priv.h - between the files of net.
 *
 * A connection's life (the low bits of `word`; the high ones count how often the slot was used, so that a name of an earlier user is recognised):
 *
 *   FREE ──▶ RUNNING ◀──▶ ARMED          FREE: in the free list. ARMED: the kernel, the wheel or a name may call a worker.
 *              └──▶ FREE                 RUNNING: one worker (or the run queue) owns everything in it.
 *
 * Whoever brings news (an event, a timer, a name) does one compare-and-swap: ARMED becomes RUNNING and the news bringer owns the connection, or a pending bit is
 * added to RUNNING and the owner finds it when it wants to let go. The owner arms the kernel and the wheel first and lets go last, so it never touches a
 * connection that it does not own, and no news is lost. Slots are never returned to malloc while the net lives: a late event finds memory, and a number that is not its own.
 *
 * Locks: slots_lock, run_lock, wheel_lock, pool_lock, listen_lock. All are leaves, but run_lock may be taken inside wheel_lock.
 */
#ifndef NET_NET_PRIV_H
#define NET_NET_PRIV_H

#include <openssl/types.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/list.h"
#include "base/thread.h"
#include "net/net.h"

enum {
    NET__RBUF = 64 * 1024,      /* a worker's receive buffer */
    NET__OUT_KEEP = 256 * 1024, /* a worker's answer buffer is given back above this */
    NET__FLUSH_AT = 256 * 1024, /* pipelined answers are sent when so much stands */
    NET__ACCEPT_BATCH = 32,
    NET__WHEEL = 1024, /* slots of the timer wheel */
    NET__TICK_US = 5000,
    NET__WATCH_US = 10000,     /* how often the pool is looked at while everybody is busy */
    NET__CHUNK = 64,           /* connection slots allocated at once */
    NET__MIN_RATE = 32 * 1024, /* bytes a second that extend the time for a message */
    NET__LISTENERS = 16,
    NET__CONN_MAGIC = 0x6e657463,
};

enum net__state { NET__FREE, NET__RUNNING, NET__ARMED };
enum {
    NET__STATE_MASK = 0x3,
    NET__P_IO = 1 << 2,
    NET__P_TIME = 1 << 3,
    NET__P_NAMED = 1 << 4,
    NET__P_END = 1 << 5,
    NET__P_GONE = 1 << 6, /* the other side has ended its half */
    NET__P_MASK = NET__P_IO | NET__P_TIME | NET__P_NAMED | NET__P_END | NET__P_GONE,
    NET__GEN_SHIFT = 8,
};

enum net__phase { NET__HANDSHAKE, NET__OPEN };
enum net__wait { NET__WAIT_READ, NET__WAIT_PARKED, NET__WAIT_AGAIN };

struct net_conn {
    uint32_t magic;
    uint32_t slot;
    _Atomic uint64_t word; /* generation << 8 | pending bits | state */
    struct net *net;
    struct net_listener *listener; /* NULL for adopted sockets */
    const struct net_proto *proto;
    void *user;
    int fd;
    SSL *ssl;
    enum net__phase phase;
    enum net__wait wait;
    bool end_seen; /* NET_WHY_END was delivered */
    bool close_when_sent;
    bool want_write; /* TLS asked for it while reading */
    bool named;      /* woken by name while an answer was still going out */
    bool opened;     /* closed() is owed */
    bool armed;      /* epoll knows the descriptor */
    struct buf in;   /* a partial message */
    struct buf out;  /* what the socket did not take yet */
    size_t out_at;
    int64_t charged; /* of max_inflight_bytes */
    /* first byte of the partial message, last progress of a write, start of a handshake */
    uint64_t since_us;
    uint64_t park_until_us;
    uint64_t idle_since_us;
    struct sockaddr_storage addr;
    char peer[64];
    bool loopback, is_unix;

    struct list timer; /* guarded by wheel_lock */
    /* written under wheel_lock; 0 = not in the wheel, and the timekeeper is done with it */
    _Atomic uint64_t timer_at_us;
    struct list run;  /* guarded by run_lock while in the run queue */
    unsigned run_why; /* pending bits that brought it there */
};

struct net_listener {
    struct net *net;
    int index, fd, port;
    bool is_unix;
    struct net_tls *tls;
    const struct net_proto *proto;
    char path[108]; /* of a Unix socket, to remove it */
};

struct net_tls {
    SSL_CTX *ctx;
};

struct net__worker {
    struct list link; /* guarded by pool_lock */
    struct net *net;
    pthread_t thread;
    void *user;
    uint8_t *rbuf; /* NET__RBUF bytes */
    struct buf out;
    bool blocked;
    bool done; /* guarded by pool_lock: may be joined */
};

struct net {
    struct net_config cfg;
    int ep, kick; /* epoll; eventfd that announces the run queue and the end */
    atomic_bool stopping, accepting;

    struct mutex slots_lock;
    struct net_conn **chunks; /* guarded by slots_lock for growth; entries do not move */
    int n_chunks, max_chunks;
    uint32_t *free_slots; /* guarded by slots_lock */
    int n_free;
    atomic_int n_conns;
    struct cond none_left; /* with slots_lock */

    struct mutex listen_lock;
    struct net_listener *listeners[NET__LISTENERS]; /* grows only; entries do not change once set */
    int n_listeners;
    /* guarded by listen_lock: given up to refuse a client when descriptors run out */
    int spare_fd;

    struct mutex run_lock;
    struct list run_queue;

    struct mutex wheel_lock;
    struct cond wheel_cond;
    struct list wheel[NET__WHEEL];
    uint64_t wheel_now; /* tick up to which the wheel was turned */
    int n_timers;
    bool watching; /* guarded by wheel_lock: the pool is looked at regularly */
    pthread_t timekeeper;
    bool timekeeper_on;

    struct mutex pool_lock;
    struct cond pool_cond;
    struct list workers;
    int n_threads, n_reserve, n_tokens; /* guarded by pool_lock */
    /* how many may run; n_workers, or more while all are busy for long */
    atomic_int target;
    atomic_int n_runnable, n_polling, n_blocked;
    atomic_uint_least64_t n_picked;
    atomic_bool watch_wanted;

    atomic_int_least64_t inflight, total, refused, bytes_in, bytes_out;
};

/* net_conn.c */
RC net__conn_new(struct net *n, int fd, struct net_listener *l, struct net_tls *tls,
                 const struct net_proto *p, struct err *e);
struct net_conn *net__conn_at(struct net *n, uint32_t slot); /* NULL when there is no such slot */
void net__conn_name(struct net_conn *c); /* net_listen.c: fills peer, loopback, is_unix */
/* net__news(): bring news (pending bits) to a connection; true when the caller now owns it and must run it with them. */
bool net__news(struct net_conn *c, uint64_t gen, unsigned bits);
void net__conn_run(struct net_conn *c, struct net__worker *w, unsigned why);
void net__run_later(struct net_conn *c, unsigned why);

/* net_io.c: reading and writing, TLS or not. */
enum net__io { NET__IO_OK, NET__IO_AGAIN, NET__IO_EOF, NET__IO_ERROR };
enum net__io net__recv(struct net_conn *c, void *p, size_t len, size_t *got);
enum net__io net__send(struct net_conn *c, const void *p, size_t len, size_t *sent);
enum net__io net__handshake(struct net_conn *c);
bool net__has_buffered(const struct net_conn *c); /* TLS holds decrypted bytes */
RC net__tls_attach(struct net_conn *c, struct net_tls *t, struct err *e);
void net__tls_detach(struct net_conn *c);

/* net_listen.c */
void net__accept(struct net_listener *l);
void net__listen_arm(struct net_listener *l, bool add);

/* net_timer.c */
void net__timer_set(struct net_conn *c, uint64_t at_us); /* 0 = none */
void *net__timekeeper(void *net);

/* net_pool.c */
void net__pool_start(struct net *n, int count);
void net__pool_stop(struct net *n);
void net__pool_picked(struct net *n);
void net__pool_watch(struct net *n);
bool net__pool_rest(struct net__worker *w); /* false: the thread is to end */

/* net_loop.c */
void net__worker_loop(struct net__worker *w);
void net__kick(struct net *n);

/* Marks in epoll_data beside connections: the slot number is in the low half, its generation in the high half. */
enum { NET__TAG_KICK = 0xfffffffe, NET__TAG_LISTENER = 0xffffffff };

#endif
