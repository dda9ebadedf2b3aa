/* http_linger.c - connections that were answered before their request had been read.
 *
 * Who closes a socket on which bytes arrive that nobody has read makes the system reset the connection, and the reset overtakes the
 * answer: a client that was still sending sees a broken pipe in its place. So the socket of such a connection comes here when
 * libmicrohttpd has let go of it: its sending side is closed, and what still arrives is thrown away, as it came (of TLS too: nothing is
 * decrypted), until the client has read the answer and hangs up.
 *
 * A stranger gets nothing out of it. A socket stays for so many bytes, so long altogether and so long in silence; there are
 * HTTP_LINGER_MAX of them at a time, for which the oldest one gives way; none counts as a connection of the server, and none has memory
 * of its own. Past any of these bounds the connection is reset, as it was without this.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "http_priv.h"

enum { PIECE = 1 << 20 };

struct lingering {
    int fd;
    uint64_t until_us, quiet_us; /* monotonic: it ends at the first of them */
    size_t left;                 /* bytes that are still read */
};

struct http_linger {
    struct http_linger_bounds bounds;
    int wake; /* an eventfd */
    pthread_t thread;
    struct mutex lock;
    bool stopping;             /* guarded by lock */
    int come[HTTP_LINGER_MAX]; /* guarded by lock: sockets that the thread has not seen */
    int n_come;                /* guarded by lock */
    /* the thread's alone, oldest first */
    struct lingering held[HTTP_LINGER_MAX];
    int n_held;
};

static void let_go(struct http_linger *l, int i)
{
    fd_close(l->held[i].fd);
    l->n_held--;
    for (; i < l->n_held; i++)
        l->held[i] = l->held[i + 1];
}

/* False when the thread is to end. */
static bool take_in(struct http_linger *l)
{
    uint64_t now = clock_mono_us();

    mutex_lock(&l->lock);
    bool stopping = l->stopping;
    for (int i = 0; i < l->n_come; i++) {
        if (l->n_held == HTTP_LINGER_MAX)
            let_go(l, 0);
        l->held[l->n_held++] = (struct lingering){
            .fd = l->come[i],
            .until_us = now + (uint64_t)l->bounds.ms * 1000,
            .quiet_us = now + (uint64_t)l->bounds.quiet_ms * 1000,
            .left = l->bounds.bytes,
        };
        (void)shutdown(l->come[i], SHUT_WR); /* libmicrohttpd says the end of TLS, not of TCP */
    }
    l->n_come = 0;
    mutex_unlock(&l->lock);
    return !stopping;
}

/* One piece of what has arrived, which the system drops (MSG_TRUNC, tcp(7)): a key that somebody sent in vain is nowhere in our memory. False when the
 * socket has nothing more to give, or has given all that it may. */
static bool throw_away(struct http_linger *l, struct lingering *g, uint64_t now)
{
    ssize_t n = recv(g->fd, NULL, MIN((size_t)PIECE, g->left), MSG_DONTWAIT | MSG_TRUNC);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    g->left -= (size_t)n;
    g->quiet_us = now + (uint64_t)l->bounds.quiet_ms * 1000;
    return n > 0 && g->left > 0;
}

static uint64_t ends_us(const struct lingering *g)
{
    return MIN(g->until_us, g->quiet_us);
}

static int wait_ms(const struct http_linger *l)
{
    uint64_t now = clock_mono_us(), first = UINT64_MAX;

    for (int i = 0; i < l->n_held; i++)
        first = MIN(first, ends_us(&l->held[i]));
    if (first == UINT64_MAX)
        return -1;
    return first <= now ? 0 : (int)MIN((first - now) / 1000 + 1, (uint64_t)60000);
}

static void *drain(void *arg)
{
    struct http_linger *l = arg;
    struct pollfd fds[HTTP_LINGER_MAX + 1];
    uint64_t count;

    while (take_in(l)) {
        fds[HTTP_LINGER_MAX] = (struct pollfd){ .fd = l->wake, .events = POLLIN };
        for (int i = 0; i < HTTP_LINGER_MAX; i++)
            fds[i] = (struct pollfd){ .fd = i < l->n_held ? l->held[i].fd : -1, .events = POLLIN };
        (void)poll(fds, HTTP_LINGER_MAX + 1, wait_ms(l));
        if (fds[HTTP_LINGER_MAX].revents)
            (void)!read(l->wake, &count, sizeof count);
        uint64_t now = clock_mono_us();
        /* from the end: what goes moves the later ones */
        for (int i = l->n_held - 1; i >= 0; i--) {
            struct lingering *g = &l->held[i];
            if ((fds[i].revents && !throw_away(l, g, now)) || now >= ends_us(g))
                let_go(l, i);
        }
    }
    return NULL;
}

static void wake(struct http_linger *l)
{
    (void)!write(l->wake, &(uint64_t){ 1 }, sizeof(uint64_t));
}

RC http__linger_new(const struct http_linger_bounds *b, struct http_linger **out, struct err *e)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    *out = NULL;
    if (fd < 0)
        return file_err(e, errno, "could not open", "an eventfd");
    struct http_linger *l = NEW(struct http_linger);
    l->bounds = *b;
    l->wake = fd;
    mutex_init(&l->lock);
    l->thread = thread_start("http-linger", drain, l);
    *out = l;
    return RC_OK;
}

void http__linger_add(struct http_linger *l, int fd)
{
    int gone = -1;

    mutex_lock(&l->lock);
    if (l->n_come == HTTP_LINGER_MAX) { /* here too the oldest gives way */
        gone = l->come[0];
        memmove(l->come, l->come + 1, (size_t)--l->n_come * sizeof l->come[0]);
    }
    l->come[l->n_come++] = fd;
    mutex_unlock(&l->lock);
    fd_close(gone);
    wake(l);
}

void http__linger_free(struct http_linger *l)
{
    if (!l)
        return;
    mutex_lock(&l->lock);
    l->stopping = true;
    mutex_unlock(&l->lock);
    wake(l);
    thread_join(l->thread);
    for (int i = 0; i < l->n_come; i++)
        fd_close(l->come[i]);
    while (l->n_held > 0)
        let_go(l, l->n_held - 1);
    fd_close(l->wake);
    mutex_fini(&l->lock);
    mem_free(l);
}
