/* net_listen.c - listening sockets, accepting, and what an address says. */
#include "net_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

void net__listen_arm(struct net_listener *l, bool add)
{
    struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT,
                              .data.u64 = ((uint64_t)l->index << 32) | NET__TAG_LISTENER };

    if (epoll_ctl(l->net->ep, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, l->fd, &ev) != 0)
        INVARIANT(errno == EEXIST || errno == ENOENT); /* stopped or resumed meanwhile */
}

/* Descriptors ran out: take the client with the spare one and drop it, or it would knock for ever. */
static void refuse_one(struct net_listener *l)
{
    struct net *n = l->net;
    int fd;

    mutex_lock(&n->listen_lock);
    fd_close(n->spare_fd);
    fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
    fd_close(fd);
    n->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    mutex_unlock(&n->listen_lock);
    atomic_fetch_add(&n->refused, 1);
}

void net__accept(struct net_listener *l)
{
    for (int i = 0; i < NET__ACCEPT_BATCH; i++) {
        struct err e = { 0 };
        int on = 1, fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                refuse_one(l);
            else if (errno == EAGAIN || errno == EWOULDBLOCK)
                break;
            /* a client that was gone before it was looked at, or a moment's shortage: bounded by the batch */
            continue;
        }
        if (!l->is_unix) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        }
        /* The protocol was told, or the refusal counted. */
        if (net__conn_new(l->net, fd, l, l->tls, l->proto, &e).failed)
            err_reset(&e);
    }
    mutex_lock(&l->net->listen_lock);
    if (atomic_load(&l->net->accepting))
        net__listen_arm(l, /* add= */ false);
    mutex_unlock(&l->net->listen_lock);
}

static RC add_listener(struct net *n, int fd, struct net_tls *tls, const struct net_proto *p,
                       struct net_listener **out, struct err *e)
{
    struct net_listener *l;
    struct sockaddr_storage a;
    socklen_t len = sizeof(a);
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        int sys = errno;

        fd_close(fd);
        FAIL(e, ERR_CONFIG, "descriptor %d is not a listening socket: %s", fd, strerror(sys));
    }
    mutex_lock(&n->listen_lock);
    if (n->n_listeners == NET__LISTENERS) {
        mutex_unlock(&n->listen_lock);
        fd_close(fd);
        FAIL(e, ERR_CONFIG, "more than %d addresses to listen on", NET__LISTENERS);
    }
    l = NEW(struct net_listener);
    l->net = n;
    l->fd = fd;
    l->tls = tls;
    l->proto = p;
    l->is_unix = a.ss_family == AF_UNIX;
    if (a.ss_family == AF_INET)
        l->port = ntohs(((struct sockaddr_in *)&a)->sin_port);
    else if (a.ss_family == AF_INET6)
        l->port = ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
    l->index = n->n_listeners;
    n->listeners[n->n_listeners++] = l;
    if (n->timekeeper_on)
        net__listen_arm(l, /* add= */ true);
    mutex_unlock(&n->listen_lock);
    *out = l;
    return RC_OK;
}

RC net_listen_fd(struct net *n, int fd, struct net_tls *tls, const struct net_proto *p,
                 struct net_listener **out, struct err *e)
{
    int on = 0;
    socklen_t len = sizeof(on);

    *out = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) != 0 || !on)
        FAIL(e, ERR_CONFIG, "descriptor %d is not a listening socket", fd);
    return add_listener(n, fd, tls, p, out, e);
}

static int bind_one(const struct addrinfo *ai)
{
    int on = 1, sys, fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    sys = errno;
    fd_close(fd);
    errno = sys;
    return -1;
}

RC net_listen_tcp(struct net *n, const char *host, int port, struct net_tls *tls,
                  const struct net_proto *p, struct net_listener **out, struct err *e)
{
    struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM },
                    *list, *ai;
    char service[12];
    int rc, fd = -1, sys = 0;

    *out = NULL;
    snprintf(service, sizeof(service), "%d", port);
    rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0)
        FAIL(e, ERR_CONFIG, "cannot listen on \"%s\": %s", host, gai_strerror(rc));
    for (ai = list; ai && fd < 0; ai = ai->ai_next) {
        fd = bind_one(ai);
        if (fd < 0)
            sys = errno;
    }
    freeaddrinfo(list);
    if (fd < 0 && sys == EADDRINUSE)
        FAIL(e, ERR_CONFIG,
             "port %d on %s is in use by another program; stop it or choose another port", port,
             host);
    if (fd < 0)
        FAIL(e, ERR_CONFIG, "cannot listen on %s port %d: %s", host, port, strerror(sys));
    return add_listener(n, fd, tls, p, out, e);
}

/* A socket file that nobody answers on is left over from a process that died. */
static bool is_abandoned(const struct sockaddr_un *a)
{
    struct stat st;
    int fd, rc, sys;

    if (lstat(a->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    rc = connect(fd, (const struct sockaddr *)a, sizeof(*a));
    sys = errno;
    fd_close(fd);
    return rc != 0 && sys == ECONNREFUSED;
}

RC net_listen_unix(struct net *n, const char *path, unsigned mode, const struct net_proto *p,
                   struct net_listener **out, struct err *e)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd, rc, sys;
    mode_t mask;

    *out = NULL;
    if (strlen(path) >= sizeof(a.sun_path))
        FAIL(e, ERR_CONFIG, "socket path \"%s\" is longer than %zu bytes", path,
             sizeof(a.sun_path) - 1);
    memcpy(a.sun_path, path, strlen(path) + 1);
    if (is_abandoned(&a))
        unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return file_err(e, errno, "could not make a socket for", path);
    /* The file must never be open to more than mode says, not even for a moment. Called before threads that make files start. */
    mask = umask(0777 & ~mode);
    rc = bind(fd, (struct sockaddr *)&a, sizeof(a));
    sys = errno;
    umask(mask);
    if (rc == 0 && listen(fd, SOMAXCONN) != 0) {
        rc = -1;
        sys = errno;
    }
    if (rc != 0) {
        fd_close(fd);
        FAIL(e, ERR_CONFIG, "cannot listen on socket \"%s\": %s", path, strerror(sys));
    }
    TRY(add_listener(n, fd, NULL, p, out, e));
    memcpy((*out)->path, path, strlen(path) + 1);
    return RC_OK;
}

int net_listener_fd(const struct net_listener *l)
{
    return l->fd;
}

int net_listener_port(const struct net_listener *l)
{
    return l->port;
}

/* ---- addresses ---- */

void net__conn_name(struct net_conn *c)
{
    socklen_t len = sizeof(c->addr);
    char host[INET6_ADDRSTRLEN] = "?";

    if (getpeername(c->fd, (struct sockaddr *)&c->addr, &len) != 0)
        c->addr.ss_family = AF_UNSPEC;
    switch (c->addr.ss_family) {
    case AF_INET: {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&c->addr;

        inet_ntop(AF_INET, &a->sin_addr, host, sizeof(host));
        snprintf(c->peer, sizeof(c->peer), "%s:%u", host, ntohs(a->sin_port));
        c->loopback = (ntohl(a->sin_addr.s_addr) >> 24) == 127;
        break;
    }
    case AF_INET6: {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&c->addr;

        inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof(host));
        snprintf(c->peer, sizeof(c->peer), "[%s]:%u", host, ntohs(a->sin6_port));
        c->loopback = IN6_IS_ADDR_LOOPBACK(&a->sin6_addr) ||
                      (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr) && a->sin6_addr.s6_addr[12] == 127);
        break;
    }
    case AF_UNIX:
        snprintf(c->peer, sizeof(c->peer), "unix");
        c->loopback = c->is_unix = true;
        break;
    default: snprintf(c->peer, sizeof(c->peer), "gone"); break;
    }
}

const char *net_conn_peer(const struct net_conn *c)
{
    return c->peer;
}

bool net_conn_is_loopback(const struct net_conn *c)
{
    return c->loopback;
}

bool net_conn_is_unix(const struct net_conn *c)
{
    return c->is_unix;
}

bool net_conn_has_tls(const struct net_conn *c)
{
    return c->ssl != NULL;
}

bool net_conn_peer_uid(const struct net_conn *c, uint32_t *uid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (!c->is_unix || getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return false;
    *uid = cred.uid;
    return true;
}
