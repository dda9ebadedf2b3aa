/* client.h - one outgoing connection, plain or TLS, that waits: how the command line speaks to a node, as any driver would.
 *
 * TLS      1.2 or newer, as the server speaks it; the server's certificate must be of an authority that is trusted, and of the host's name or address.
 *          No setting weakens that. A process that uses it ignores SIGPIPE.
 * Blocking Every call waits, for one step of the peer's at most the timeout; looking a name up takes what the resolver takes.
 * Threads  One at a time.
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct net_client;

struct net_client_config {
    const char *host; /* a name or an address */
    int port;
    uint64_t timeout_ms;
    bool tls;
    const char *ca_file;   /* PEM of the authorities; NULL or "": the system's */
    const char *cert_file; /* PEM with a certificate of ours and its key; NULL or "": none */
};

/* net_client_open(): errors: ERR_HOST_UNREACHABLE, also for a certificate that does not hold; ERR_INVALID_SSL_CONFIGURATION for a file of ours. */
RC net_client_open(const struct net_client_config *c, struct net_client **out, struct err *e);
/* net_client_send(), net_client_receive(): all of it. Errors: ERR_IO, ERR_TIMEOUT; then the connection is of no more use. */
RC net_client_send(struct net_client *c, struct slice s, struct err *e);
RC net_client_receive(struct net_client *c, void *p, size_t len, struct err *e);
void net_client_close(struct net_client *c); /* NULL is fine */
void net_client_closep(struct net_client **c);

#endif
