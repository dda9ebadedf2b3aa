/* http_exchange.c - one message out and one in over TLS, by libcurl's connection without its HTTP. See http_client.h.
 *
 * A connection is for one exchange: nothing of an earlier one can be taken for the answer, and a connection that died while it was idle is
 * nobody's concern. The socket does not block; every wait is a poll() until the deadline.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http_client_priv.h"

struct line {
    CURL *easy;
    curl_socket_t fd;
    const struct http_exchange *x;
    struct http_answer *a;
    char why[CURL_ERROR_SIZE];
};

static bool end(struct line *l, enum http_outcome o, const char *why)
{
    l->a->outcome = o;
    (void)snprintf(l->a->detail, sizeof l->a->detail, "%s", why);
    return false;
}

static bool fail(struct line *l, CURLcode rc)
{
    return end(l, http__client_outcome(rc), *l->why ? l->why : curl_easy_strerror(rc));
}

static bool wait_for(struct line *l, short events)
{
    for (;;) {
        uint64_t now = clock_mono_us();
        struct pollfd p = { .fd = l->fd, .events = events };
        if (now >= l->x->deadline_us)
            return end(l, HTTP_OUT_TIMEOUT, "no answer in time");
        int n = poll(&p, 1, (int)MIN((l->x->deadline_us - now + 999) / 1000, (uint64_t)60000));
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return end(l, HTTP_OUT_LOCAL, strerror(errno));
    }
}

static bool send_all(struct line *l)
{
    struct slice left = l->x->request;

    while (left.len > 0) {
        size_t n = 0;
        CURLcode rc = curl_easy_send(l->easy, left.p, left.len, &n);
        if (rc == CURLE_AGAIN) {
            if (!wait_for(l, POLLOUT | POLLIN)) /* TLS may have to read first */
                return false;
            continue;
        }
        if (rc != CURLE_OK)
            return fail(l, rc);
        left = SLICE(left.p + n, left.len - n);
    }
    return true;
}

/* Until the body has len bytes, for which there is room. */
static bool receive(struct line *l, size_t len)
{
    struct buf *b = &l->a->body;

    while (b->len < len) {
        size_t n = 0, room = len - b->len;
        uint8_t *at = buf_extend(b, room);
        CURLcode rc = curl_easy_recv(l->easy, at, room, &n);
        b->len -= room - n;
        if (rc == CURLE_AGAIN) {
            if (!wait_for(l, POLLIN))
                return false;
        } else if (rc != CURLE_OK) {
            return fail(l, rc);
        } else if (n == 0) {
            return end(l, HTTP_OUT_TCP, "the connection was closed before the answer was whole");
        }
    }
    return true;
}

static bool converse(struct line *l)
{
    if (curl_easy_getinfo(l->easy, CURLINFO_ACTIVESOCKET, &l->fd) != CURLE_OK ||
        l->fd == CURL_SOCKET_BAD)
        return end(l, HTTP_OUT_LOCAL, "there is no socket");
    if (!send_all(l) || !receive(l, l->x->head_len))
        return false;
    size_t len = l->x->frame(buf_view(&l->a->body));
    if (len < l->x->head_len || len > l->x->max_answer)
        return end(l, HTTP_OUT_BAD, "what came is no message of the protocol, or is too large");
    return receive(l, len);
}

static bool connect_to(struct http_client *c, struct line *l, struct curl_slist *resolve)
{
    uint64_t now = clock_mono_us();

    if (now >= l->x->deadline_us)
        return end(l, HTTP_OUT_TIMEOUT, "the deadline has passed");
    if (!http__client_rules(c, l->easy, /* fresh= */ true) ||
        curl_easy_setopt(l->easy, CURLOPT_URL, l->x->url) != CURLE_OK ||
        curl_easy_setopt(l->easy, CURLOPT_SSL_ENABLE_ALPN, 0L) != CURLE_OK || /* it is not HTTP */
        curl_easy_setopt(l->easy, CURLOPT_CONNECT_ONLY, 1L) != CURLE_OK ||
        curl_easy_setopt(l->easy, CURLOPT_RESOLVE, resolve) != CURLE_OK ||
        curl_easy_setopt(l->easy, CURLOPT_ERRORBUFFER, l->why) != CURLE_OK ||
        curl_easy_setopt(l->easy, CURLOPT_TIMEOUT_MS,
                         (long)((l->x->deadline_us - now + 999) / 1000)) != CURLE_OK)
        return end(l, HTTP_OUT_LOCAL, "the connection's rules cannot be set");
    CURLcode rc = curl_easy_perform(l->easy);
    return rc == CURLE_OK || fail(l, rc);
}

void http_client_exchange(struct http_client *c, const struct http_exchange *x,
                          struct http_answer *a)
{
    struct line l = { .easy = curl_easy_init(), .fd = CURL_SOCKET_BAD, .x = x, .a = a };
    struct curl_slist *resolve = http__client_pin_localhost(x->url);

    *a = HTTP_ANSWER_INIT;
    /* whole at once: an answer with key bytes in it never moves */
    buf_reserve(&a->body, x->max_answer);
    if (!l.easy)
        (void)end(&l, HTTP_OUT_LOCAL, "there is no memory for a connection");
    else if (connect_to(c, &l, resolve) && converse(&l))
        a->outcome = HTTP_OUT_ANSWER;
    curl_easy_cleanup(l.easy);
    curl_slist_free_all(resolve);
    if (a->outcome != HTTP_OUT_ANSWER)
        buf_wipe(&a->body);
}
