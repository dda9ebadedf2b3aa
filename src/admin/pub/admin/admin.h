/* admin.h - administration of one node over a Unix socket, also while it is sealed.
 *
 * Protocol A line of JSON for a request, {"op": "status"}, and a line of JSON for the answer, {"ok": true, ...} or
 *          {"ok": false, "code": N, "codeName": "...", "error": "..."}. Several requests may follow each other on one connection.
 * Access   Peer credentials (SO_PEERCRED): root and the node's own user, nobody else. The socket is mode 0600 as well.
 * Limits   ADMIN_LINE_MAX bytes a request, ADMIN_ANSWER_MAX an answer, ADMIN_CONNECTIONS_MAX connections, ADMIN_IDLE_MS for a whole line, and for an answer to be read (ADMIN_STOP_MS
 *          once the server stops).
 * Threads  A thread a connection; operations are called from those threads, several at once.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "admin/ops.h"

enum {
    ADMIN_LINE_MAX = 65536,
    ADMIN_ANSWER_MAX = 4 << 20,
    ADMIN_CONNECTIONS_MAX = 8,
    ADMIN_IDLE_MS = 10000,
    ADMIN_STOP_MS = 1000
};

struct admin_server;

/* admin_listen(): replaces a socket file that nobody listens on; ERR_DIRECTORY_BUSY when somebody does. ops outlives the server. */
RC admin_listen(const char *path, const struct admin_ops *ops, struct admin_server **out,
                struct err *e);
/* admin_listen_patiently(): for a program that serves on without: what is in the way (a directory that is gone or cannot be written) is logged, and tried
 * again once a second until it is not there any more. */
struct admin_server *admin_listen_patiently(const char *path, const struct admin_ops *ops);
/* admin_close(): stops accepting, ends the connections (an operation under way is waited for), removes the socket file. NULL is fine. */
void admin_close(struct admin_server *s);

/* admin_call(): the client's side: one request, one answer in a. Errors: ERR_NOT_FOUND (nobody listens), ERR_TIMEOUT, ERR_IO; an answer with
 * ok false is an error with its code and message. */
RC admin_call(const char *path, struct bdoc request, uint64_t timeout_ms, struct arena *a,
              struct bdoc *answer, struct err *e);
/* admin_call_patiently(): the same, for a node that may be replacing its image and has no socket for a moment: while nobody listens it tries again, for patience_ms.
 * Only to connect: once a byte may have been sent, the operation may have been done, and is not asked for twice. */
RC admin_call_patiently(const char *path, struct bdoc request, uint64_t timeout_ms,
                        uint64_t patience_ms, struct arena *a, struct bdoc *answer, struct err *e);

#endif
