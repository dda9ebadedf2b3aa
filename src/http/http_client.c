/* http_client.c - bounded calls over libcurl. See http_client.h. */
#include "http/http_client.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/wipe.h"
#include "http_client_priv.h"

enum { HEADERS_MAX = 32768, BODY_DEFAULT = 65536 };

struct transfer {
    struct http_answer *a;
    size_t max_body;
    size_t header_bytes;
    bool too_big;
};

RC http_client_global_init(bool wiping, struct err *e)
{
    static const char *const names[] = {
        "SSLKEYLOGFILE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy",
        "ALL_PROXY",     "no_proxy",   "NO_PROXY",    "ftp_proxy",  "CURL_HOME",   "NETRC",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    CURLcode rc = wiping ? curl_global_init_mem(CURL_GLOBAL_DEFAULT, wipe_malloc, wipe_free,
                                                wipe_realloc, wipe_strdup, wipe_calloc)
                         : curl_global_init(CURL_GLOBAL_DEFAULT);
    if (rc != CURLE_OK)
        FAIL(e, ERR_INTERNAL, "could not initialise the HTTP client: %s", curl_easy_strerror(rc));
    return RC_OK;
}

static char *text_or_null(const char *s)
{
    return s && *s ? mem_strdup(s) : NULL;
}

RC http_client_new(const struct http_client_config *c, struct http_client **out, struct err *e)
{
    *out = NULL;
    struct http_client *h = NEW(struct http_client);
    mutex_init(&h->lock);
    h->ca_file = text_or_null(c->ca_file);
    h->proxy = text_or_null(c->proxy);
    h->cert_file = text_or_null(c->cert_file);
    h->key_file = text_or_null(c->key_file);
    h->allow_http = c->allow_http;
    h->connect_timeout_ms = c->connect_timeout_ms ? (long)c->connect_timeout_ms : 3000;
    h->easy = curl_easy_init();
    if (!h->easy) {
        http_client_free(h);
        FAIL(e, ERR_INTERNAL, "could not make an HTTP client");
    }
    *out = h;
    return RC_OK;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
    mem_free(c->ca_file);
    mem_free(c->proxy);
    mem_free(c->cert_file);
    mem_free(c->key_file);
    mutex_fini(&c->lock);
    mem_free(c);
}

void http_client_freep(struct http_client **c)
{
    http_client_free(*c);
    *c = NULL;
}

const char *http_outcome_name(enum http_outcome o)
{
    static const char *const names[] = {
        [HTTP_OUT_ANSWER] = "answer",   [HTTP_OUT_DNS] = "DNS",
        [HTTP_OUT_TCP] = "TCP",         [HTTP_OUT_TLS] = "TLS",
        [HTTP_OUT_TIMEOUT] = "timeout", [HTTP_OUT_BAD] = "bad",
        [HTTP_OUT_LOCAL] = "local",     [HTTP_OUT_CREDENTIAL] = "credential",
    };
    return names[o];
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * n; /* size is 1 (libcurl's contract) */

    if (len > t->max_body - t->a->body.len) {
        t->too_big = true;
        return 0;
    }
    buf_push(&t->a->body, p, len);
    return len;
}

/* The value of a header line "name: value\r\n" when it has that name. */
static bool header_value(struct slice line, const char *name, char *out, size_t out_len)
{
    size_t nl = strlen(name);

    if (line.len <= nl || line.p[nl] != ':' || strncasecmp((const char *)line.p, name, nl) != 0)
        return false;
    size_t from = nl + 1, to = line.len;
    while (from < to && (line.p[from] == ' ' || line.p[from] == '\t'))
        from++;
    while (to > from && (line.p[to - 1] == '\r' || line.p[to - 1] == '\n' || line.p[to - 1] == ' '))
        to--;
    if (to - from >= out_len)
        return false;
    memcpy(out, line.p + from, to - from);
    out[to - from] = 0;
    return true;
}

static void read_retry_after(struct http_answer *a, const char *text)
{
    int64_t v;

    if (text_i64(slice_str(text), &v)) {
        if (v >= 0)
            a->retry_after_s = v;
        return;
    }
    time_t when = curl_getdate(text, NULL);
    if (when != (time_t)-1)
        a->retry_after_s =
            MAX((int64_t)0, (int64_t)when - (a->date_s ? a->date_s : clock_real_s()));
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct http_answer *a = t->a;
    struct slice line = SLICE(p, size * n);
    char text[128];

    t->header_bytes += line.len;
    if (t->header_bytes > HEADERS_MAX) {
        t->too_big = true;
        return 0;
    }
    if (slice_has_prefix(line, SLICE_LIT("HTTP/"))) { /* an interim answer may have come before */
        a->content_type[0] = a->request_id[0] = a->challenge[0] = a->region[0] = 0;
        a->date_s = 0;
        a->retry_after_s = -1;
    } else if (header_value(line, "Content-Type", a->content_type, sizeof a->content_type) ||
               header_value(line, "x-ms-request-id", a->request_id, sizeof a->request_id) ||
               header_value(line, "WWW-Authenticate", a->challenge, sizeof a->challenge) ||
               header_value(line, "x-ms-keyvault-region", a->region, sizeof a->region)) {
        return line.len;
    } else if (header_value(line, "Date", text, sizeof text)) {
        time_t when = curl_getdate(text, NULL);
        a->date_s = when == (time_t)-1 ? 0 : (int64_t)when;
    } else if (header_value(line, "Retry-After", text, sizeof text)) {
        read_retry_after(a, text);
    }
    return line.len;
}

enum http_outcome http__client_outcome(CURLcode rc)
{
    switch (rc) {
    case CURLE_OK: return HTTP_OUT_ANSWER;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST: return HTTP_OUT_DNS;
    case CURLE_COULDNT_CONNECT:
    case CURLE_PROXY:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE: return HTTP_OUT_TCP;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CLIENTCERT: /* the server wants one, or another one */
    case CURLE_SSL_SHUTDOWN_FAILED: return HTTP_OUT_TLS;
    case CURLE_OPERATION_TIMEDOUT: return HTTP_OUT_TIMEOUT;
    case CURLE_SSL_CERTPROBLEM: return HTTP_OUT_CREDENTIAL; /* our own */
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_NOT_BUILT_IN:
    case CURLE_FAILED_INIT: return HTTP_OUT_LOCAL;
    default: /* not HTTP, too large, refused by a callback of ours */ return HTTP_OUT_BAD;
    }
}

/* "host:port:127.0.0.1" for a name under .localhost: such names never leave the machine, whatever its resolver thinks. */
struct curl_slist *http__client_pin_localhost(const char *url)
{
    struct curl_slist *list = NULL;
    char *host = NULL, *port = NULL;
    CURLU *u = curl_url();

    if (u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        size_t len = strlen(host);
        if (len > 10 && strcasecmp(host + len - 10, ".localhost") == 0) {
            char *text = mem_printf("%s:%s:127.0.0.1", host, port);
            list = curl_slist_append(NULL, text);
            mem_free(text);
        }
    }
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return list;
}

static struct curl_slist *build_headers(const struct http_call *q)
{
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");

    for (const char *const *h = q->headers; h && *h; h++)
        list = curl_slist_append(list, *h);
    list = curl_slist_append(list, "Expect:");
    if (q->body.len > 0) {
        char *text = mem_printf("Content-Type: %s", q->content_type);
        list = curl_slist_append(list, text);
        mem_free(text);
    }
    return list;
}

/* A row that cannot be set is a security rule that would not hold: the call must not be made. */
#define SET(opt, value)                                                                            \
    do {                                                                                           \
        if (curl_easy_setopt(easy, (opt), (value)) != CURLE_OK)                                    \
            return false;                                                                          \
    } while (0)

bool http__client_rules(struct http_client *c, CURL *easy, bool fresh)
{
    const char *schemes = c->allow_http ? "https,http" : "https";

    SET(CURLOPT_PROTOCOLS_STR, schemes);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    if (c->proxy) {
        SET(CURLOPT_PROXY, c->proxy);
        SET(CURLOPT_NOPROXY, "");
        SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
        SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    } else {
        SET(CURLOPT_PROXY, "");
        SET(CURLOPT_NOPROXY, "*");
    }
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (c->ca_file) {
        SET(CURLOPT_CAINFO, c->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (c->cert_file) {
        SET(CURLOPT_SSLCERT, c->cert_file);
        SET(CURLOPT_SSLKEY, c->key_file ? c->key_file : c->cert_file);
    }
    SET(CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
    SET(CURLOPT_SSL_SESSIONID_CACHE, fresh ? 0L : 1L);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, fresh ? 0L : 30L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, c->connect_timeout_ms);
    SET(CURLOPT_USERAGENT, "cofferdb/" COFFER_VERSION);
    return true;
}

static bool set_call(CURL *easy, const struct http_call *q, struct transfer *t)
{
    SET(CURLOPT_URL, q->url);
    SET(CURLOPT_CUSTOMREQUEST, q->method);
    if (q->body.len > 0 || strcmp(q->method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, q->body.len > 0 ? (const char *)q->body.p : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
    }
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    return true;
}

static void perform(struct http_client *c, const struct http_call *q, struct transfer *t)
{
    struct http_answer *a = t->a;
    struct curl_slist *headers = build_headers(q), *resolve = http__client_pin_localhost(q->url);
    char why[CURL_ERROR_SIZE] = "";
    uint64_t now = clock_mono_us();

    curl_easy_reset(c->easy);
    if (now >= q->deadline_us) {
        a->outcome = HTTP_OUT_TIMEOUT;
    } else if (!http__client_rules(c, c->easy, q->fresh) || !set_call(c->easy, q, t) ||
               curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
               curl_easy_setopt(c->easy, CURLOPT_RESOLVE, resolve) != CURLE_OK ||
               curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, why) != CURLE_OK ||
               curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS,
                                (long)((q->deadline_us - now + 999) / 1000)) != CURLE_OK) {
        a->outcome = HTTP_OUT_LOCAL;
    } else {
        CURLcode rc = curl_easy_perform(c->easy);
        long status = 0;
        long sent = 0;
        a->outcome = t->too_big ? HTTP_OUT_BAD : http__client_outcome(rc);
        (void)curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &sent);
        if (a->outcome == HTTP_OUT_LOCAL && sent > 0) /* HTTP/0.9 is reported like a wrong scheme */
            a->outcome = HTTP_OUT_BAD;
        (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        a->status = a->outcome == HTTP_OUT_ANSWER ? (int)status : 0;
        if (a->outcome != HTTP_OUT_ANSWER)
            (void)snprintf(a->detail, sizeof a->detail, "%s",
                           t->too_big ? "the answer is too large"
                           : *why     ? why
                                      : curl_easy_strerror(rc));
    }
    (void)curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(c->easy, CURLOPT_RESOLVE, NULL);
    (void)curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    curl_slist_free_all(resolve);
}

void http_client_call(struct http_client *c, const struct http_call *q, struct http_answer *a)
{
    *a = HTTP_ANSWER_INIT;
    struct transfer t = { .a = a, .max_body = q->max_body ? q->max_body : BODY_DEFAULT };

    /* whole at once: an answer with key bytes in it never moves */
    buf_reserve(&a->body, t.max_body);
    mutex_lock(&c->lock);
    perform(c, q, &t);
    mutex_unlock(&c->lock);
    if (a->outcome != HTTP_OUT_ANSWER)
        buf_wipe(&a->body);
}

void http_answer_fini(struct http_answer *a)
{
    buf_wipe(&a->body);
}

/* AWS names its protocol instead; "x-amz-json-1.1" is JSON. */
bool http_answer_is_json(const struct http_answer *a)
{
    static const char *const types[] = { "application/json", "application/x-amz-json-1.1" };

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        size_t len = strlen(types[i]);
        if (strncasecmp(a->content_type, types[i], len) == 0 &&
            (a->content_type[len] == 0 || a->content_type[len] == ';' ||
             a->content_type[len] == ' '))
            return true;
    }
    return false;
}
