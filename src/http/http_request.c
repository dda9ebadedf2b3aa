/* http_request.c - one request: which route it takes, what it says, what it is answered. See http_server.h. */
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http_priv.h"
#include "kmsg/kjson.h"

enum { REQUEST_BUDGET = 1 << 20 };

static const char *const method_names[HTTP_METHOD_NR] = {
    [HTTP_GET] = "GET",     [HTTP_POST] = "POST",     [HTTP_PUT] = "PUT",
    [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
};

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool http_unescape(struct slice in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.p[i];
        if (c == '%') {
            if (in.len - i < 3)
                return false;
            int hi = hex_value(in.p[i + 1]), lo = hex_value(in.p[i + 2]);
            if (hi < 0 || lo < 0)
                return false;
            c = (uint8_t)(hi << 4 | lo);
            i += 2;
        }
        if (c == 0)
            return false;
        buf_push_u8(out, c);
    }
    return true;
}

/* Decoded text in the request's arena, or NULL when it is malformed. */
static const char *decode(struct http_request *q, struct slice raw)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    if (!http_unescape(raw, &b))
        return NULL;
    return arena_strndup(q->arena, (const char *)b.p, b.len);
}

struct http_request *http__request_new(struct http_server *s, struct MHD_Connection *conn,
                                       const char *url)
{
    struct http_request *q = NEW(struct http_request);

    q->magic = HTTP_REQUEST_MAGIC;
    q->server = s;
    q->conn = conn;
    q->arena = arena_new(REQUEST_BUDGET);
    q->path = arena_strdup(q->arena, url);
    q->reply.q = q;
    list_init(&q->queued);

    const char *host = MHD_lookup_connection_value(conn, MHD_HEADER_KIND, "Host");
    q->host_port = arena_strdup(q->arena, host ? host : "");
    char *bare = arena_strdup(q->arena, q->host_port);
    char *colon = strrchr(bare, ':');
    if (colon && !strchr(colon, ']')) /* "[::1]" has colons of its own */
        *colon = 0;
    for (char *p = bare; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p += 'a' - 'A';
    q->host = bare;
    return q;
}

void http__request_free(struct http_request *q)
{
    if (!q)
        return;
    kjson_freep(&q->json);
    buf_wipe(&q->body);
    buf_wipe(&q->reply.body);
    arena_free(q->arena);
    q->magic = 0;
    mem_free(q);
}

static bool host_fits(const char *pattern, const char *host)
{
    if (strcmp(pattern, "*") == 0)
        return true;
    if (pattern[0] == '*') { /* "*.vault.localhost": one label or more before it */
        size_t hl = strlen(host), pl = strlen(pattern) - 1;
        return hl > pl && strcasecmp(host + hl - pl, pattern + 1) == 0;
    }
    return strcasecmp(pattern, host) == 0;
}

/* Segment by segment, so that "//" and a trailing slash mean what they say. On success the raw parameters are set. */
static bool path_fits(struct http_request *q, const struct http_site *site, const char *pattern)
{
    const char *p = pattern, *s = q->path;
    int n = 0;

    for (;;) {
        if (*p == 0 && (*s == 0 || (site->slash_ends && strcmp(s, "/") == 0))) {
            q->n_params = n;
            return true;
        }
        if (*p != '/' || *s != '/')
            return false;
        p++;
        s++;
        size_t pl = strcspn(p, "/"), sl = strcspn(s, "/");
        if (pl == 2 && p[0] == '{' && p[1] == '}') {
            INVARIANT(n < HTTP_PARAMS_MAX);
            q->raw_params[n++] = SLICE(s, sl);
        } else if (pl != sl || (site->nocase ? strncasecmp(p, s, pl) : strncmp(p, s, pl)) != 0) {
            return false;
        }
        p += pl;
        s += sl;
    }
}

static void refuse_early(struct http_request *q, int status, const char *why)
{
    q->route = NULL;
    q->refusal = status;
    q->refusal_why = why;
}

static bool decode_params(struct http_request *q)
{
    for (int i = 0; i < q->n_params; i++)
        if (!(q->params[i] = decode(q, q->raw_params[i])))
            return false;
    return true;
}

static const char *method_meant(const struct http_request *q, const char *method)
{
    const char *meant = NULL;

    if (q->site->tunnels && strcmp(method, "POST") == 0 &&
        !(meant = http_header(q, "X-HTTP-Method")))
        meant = http_header(q, "X-HTTP-Method-Override");
    return meant ? meant : method;
}

/* "GET, PUT" */
static const char *method_list(struct http_request *q, unsigned methods)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;

    for (int m = 0; m < HTTP_METHOD_NR; m++)
        if (methods & 1u << m)
            buf_printf(&b, "%s%s", b.len ? ", " : "", method_names[m]);
    return arena_strdup(q->arena, buf_cstr(&b));
}

void http__route(struct http_request *q, const char *method)
{
    struct http_server *s = q->server;
    unsigned allowed = 0; /* a bit for each method */
    int m;

    for (int i = 0; i < s->n_sites && !q->site; i++)
        if (host_fits(s->sites[i].host, q->host))
            q->site = &s->sites[i];
    if (!q->site) {
        refuse_early(q, 404, "no such host here");
        return;
    }
    method = method_meant(q, method);
    for (m = 0; m < HTTP_METHOD_NR; m++)
        if (strcmp(method, method_names[m]) == 0)
            break;
    q->method = (enum http_method)m;
    for (int i = 0; i < q->site->n_routes; i++) {
        const struct http_route *row = &q->site->routes[i];
        if (!path_fits(q, q->site, row->pattern))
            continue;
        allowed |= 1u << row->method;
        if ((int)row->method != m)
            continue;
        q->route = row;
        if (!decode_params(q))
            refuse_early(q, 400, "the path is not well encoded");
        return;
    }
    if (allowed) {
        q->allow = method_list(q, allowed);
        refuse_early(q, 405, "the method is not allowed here");
    } else {
        refuse_early(q, 404, "no such resource");
    }
}

void http__refuse(struct http_request *q, int status, const char *why)
{
    struct http_reply *r = &q->reply;

    buf_clear(&r->body);
    r->content_type = NULL;
    r->n_headers = 0;
    r->status = status;
    if (q->site && q->site->on_error)
        q->site->on_error(q, r, status, why);
    else
        http_reply_body(r, "text/plain", slice_str(why));
    if (status == 405 && q->allow) /* RFC 9110 15.5.6 */
        http_reply_header(r, "Allow", q->allow);
}

void *http_ctx(const struct http_request *q)
{
    return q->site->ctx;
}
const void *http_route_arg(const struct http_request *q)
{
    return q->route ? q->route->arg : NULL;
}
struct arena *http_arena(struct http_request *q)
{
    return q->arena;
}
enum http_method http_method(const struct http_request *q)
{
    return q->method;
}
const char *http_path(const struct http_request *q)
{
    return q->path;
}
const char *http_host(const struct http_request *q)
{
    return q->host;
}
const char *http_host_port(const struct http_request *q)
{
    return q->host_port;
}
struct slice http_body(const struct http_request *q)
{
    return buf_view(&q->body);
}
bool http_is_tls(const struct http_request *q)
{
    return q->server->tls;
}

const char *http_param(const struct http_request *q, int i)
{
    INVARIANT(i >= 0 && i < q->n_params);
    return q->params[i];
}

const char *http_param_or(const struct http_request *q, int i, const char *otherwise)
{
    return i < q->n_params ? q->params[i] : otherwise;
}

struct query_find {
    struct http_request *q;
    const char *name;
    const char *value;
};

static enum MHD_Result match_query(void *arg, enum MHD_ValueKind kind, const char *key,
                                   size_t key_len, const char *value, size_t value_len)
{
    struct query_find *f = arg;
    const char *name = decode(f->q, SLICE(key, key_len));

    (void)kind;
    if (!name || strcmp(name, f->name) != 0)
        return MHD_YES;
    f->value = value ? decode(f->q, SLICE(value, value_len)) : "";
    return MHD_NO;
}

const char *http_query(const struct http_request *q, const char *name)
{
    struct query_find f = { .q = (struct http_request *)q, .name = name };

    MHD_get_connection_values_n(q->conn, MHD_GET_ARGUMENT_KIND, match_query, &f);
    return f.value;
}

const char *http_header(const struct http_request *q, const char *name)
{
    return MHD_lookup_connection_value(q->conn, MHD_HEADER_KIND, name);
}

struct slice http_bearer(const struct http_request *q)
{
    const char *h = http_header(q, "Authorization");

    if (!h || strncasecmp(h, "Bearer ", 7) != 0)
        return SLICE_EMPTY;
    h += 7;
    h += strspn(h, " ");
    return slice_str(h);
}

RC http_json(struct http_request *q, json_t **out, struct err *e)
{
    const char *type = http_header(q, "Content-Type");

    *out = NULL;
    if (!type || strncasecmp(type, "application/json", 16) != 0 || !strchr("; \t", type[16]))
        FAIL(e, ERR_FAILED_TO_PARSE, "the content type of the request is not application/json");
    if (!q->json)
        TRY(kjson_load(http_body(q), KJSON_DEPTH_MAX, &q->json, e));
    *out = q->json;
    return RC_OK;
}

const struct sockaddr *http_peer(const struct http_request *q)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(q->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    return i ? i->client_addr : NULL;
}

const struct sockaddr *http_local(const struct http_request *q)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(q->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    if (!i || getsockname(i->connect_fd, (struct sockaddr *)&ss, &len) != 0 || len > sizeof ss)
        return NULL;
    return arena_dup(q->arena, &ss, sizeof ss);
}

void http_reply_status(struct http_reply *r, int status)
{
    r->status = status;
}

void http_reply_header(struct http_reply *r, const char *name, const char *value)
{
    INVARIANT(r->n_headers < HTTP_REPLY_HEADERS_MAX);
    r->headers[r->n_headers].name = arena_strdup(r->q->arena, name);
    r->headers[r->n_headers++].value = arena_strdup(r->q->arena, value);
}

void http_reply_body(struct http_reply *r, const char *content_type, struct slice body)
{
    r->content_type = content_type;
    buf_clear(&r->body);
    buf_push(&r->body, body.p, body.len);
}

void http_reply_json(struct http_reply *r, int status, const json_t *j)
{
    r->status = status;
    r->content_type = "application/json; charset=utf-8";
    buf_clear(&r->body);
    buf_reserve(&r->body, 4096); /* most answers fit: growing would leave copies behind */
    kjson_dump(j, &r->body);
}
