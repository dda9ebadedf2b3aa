/* http_cut.c - an answer in the middle of a request's body.
 *
 * libmicrohttpd takes answers before a body and behind it, and throws a whole body away for those behind. A body of chunks has no end that
 * a server could wait for: past the limit its client is answered here, on the connection itself, which is ended and lingers (http_linger.c).
 * Nothing of ours is under way on it at that time: answers go out in the order of the requests, and this is the request's only one.
 */
#include <gnutls/gnutls.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http_priv.h"

static void write_head(const struct http_reply *r, struct buf *out)
{
    time_t now = (time_t)clock_real_s();
    char date[64] = "";
    struct tm tm;

    if (gmtime_r(&now, &tm))
        (void)strftime(date, sizeof date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    buf_printf(out, "HTTP/1.1 %d %s\r\n%s", r->status,
               MHD_get_reason_phrase_for((unsigned)r->status), date);
    if (r->content_type)
        buf_printf(out, "Content-Type: %s\r\n", r->content_type);
    for (int i = 0; i < r->n_headers; i++)
        buf_printf(out, "%s: %s\r\n", r->headers[i].name, r->headers[i].value);
    buf_printf(out,
               "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
               "Content-Length: %zu\r\n\r\n",
               r->body.len);
}

void http__cut(struct http_request *q)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(q->conn, q->server->tls ? MHD_CONNECTION_INFO_GNUTLS_SESSION
                                                        : MHD_CONNECTION_INFO_CONNECTION_FD);
    AUTO(buf_fini) struct buf b = BUF_INIT;

    q->phase = PHASE_ANSWERED;
    if (!i)
        return;
    write_head(&q->reply, &b);
    buf_push(&b, q->reply.body.p, q->reply.body.len);
    /* whole or not at all: it is a fraction of what any socket has room for */
    if (q->server->tls)
        (void)!gnutls_record_send(i->tls_session, b.p, b.len);
    else
        (void)!send(i->connect_fd, b.p, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}
