/* kmsg_sigv4.c - see kmsg/kmsg_sigv4.h. */
#include "kmsg/kmsg_sigv4.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "kmsg_priv.h"

void kmsg_sigv4_date(int64_t unix_s, char out[KMSG_SIGV4_DATE_LEN + 1])
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    gmtime_r(&t, &tm);
    if (strftime(out, KMSG_SIGV4_DATE_LEN + 1, "%Y%m%dT%H%M%SZ", &tm) != KMSG_SIGV4_DATE_LEN)
        out[0] = 0; /* a year past 9999 */
}

/* ---- the canonical request ---- */

static void push_path(struct slice path, struct buf *out)
{
    for (size_t i = 0, from = 0; i <= path.len; i++) {
        if (i < path.len && path.p[i] != '/')
            continue;
        kmsg_escape(SLICE(path.p + from, i - from), out);
        if (i < path.len)
            buf_push_u8(out, '/');
        from = i + 1;
    }
}

/* Escapes as another encoder wrote them, in the one form that is signed. */
static void push_reescaped(struct slice in, struct buf *out)
{
    AUTO(buf_fini) struct buf plain = BUF_INIT;

    for (size_t i = 0; i < in.len; i++) {
        int high = i + 2 < in.len ? kmsg__hex_digit((char)in.p[i + 1]) : -1;
        int low = i + 2 < in.len ? kmsg__hex_digit((char)in.p[i + 2]) : -1;
        if (in.p[i] == '%' && high >= 0 && low >= 0) {
            buf_push_u8(&plain, (uint8_t)(high * 16 + low));
            i += 2;
        } else {
            buf_push_u8(&plain, in.p[i]);
        }
    }
    kmsg_escape(buf_view(&plain), out);
}

static int by_text(const void *a, const void *b)
{
    const struct buf *x = a, *y = b;

    return slice_cmp(buf_view(x), buf_view(y));
}

static void free_all(struct buf *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_fini(&parts[i]);
}

/* Sorted by name, then by value, both encoded: '=' would sort above what may follow it in a name, so a NUL stands between them. */
static RC push_query(struct slice query, struct buf *out, struct err *e)
{
    struct buf parts[KMSG_SIGV4_PARTS_MAX] = { 0 };
    size_t n = 0;

    for (size_t i = 0, from = 0; query.len > 0 && i <= query.len; i++) {
        if (i < query.len && query.p[i] != '&')
            continue;
        if (n == KMSG_SIGV4_PARTS_MAX) {
            free_all(parts, n);
            FAIL(e, ERR_BAD_VALUE, "a query to sign has too many members");
        }
        struct slice member = SLICE(query.p + from, i - from);
        const uint8_t *equals = memchr(member.p, '=', member.len);
        size_t name_len = equals ? (size_t)(equals - member.p) : member.len;
        push_reescaped(SLICE(member.p, name_len), &parts[n]);
        buf_push_u8(&parts[n], 0);
        if (equals)
            push_reescaped(SLICE(equals + 1, member.len - name_len - 1), &parts[n]);
        n++;
        from = i + 1;
    }
    qsort(parts, n, sizeof parts[0], by_text);
    for (size_t i = 0; i < n; i++) {
        *(uint8_t *)memchr(parts[i].p, 0, parts[i].len) = '=';
        if (i > 0)
            buf_push_u8(out, '&');
        buf_push(out, parts[i].p, parts[i].len);
    }
    free_all(parts, n);
    return RC_OK;
}

/* Without white space at the ends, and one blank for any other run of it. */
static void push_trimmed(struct slice value, struct buf *out)
{
    bool gap = false, any = false;

    for (size_t i = 0; i < value.len; i++) {
        if (isspace(value.p[i])) {
            gap = any;
            continue;
        }
        if (gap)
            buf_push_u8(out, ' ');
        buf_push_u8(out, value.p[i]);
        any = true;
        gap = false;
    }
}

/* By name; headers of one name keep their order. */
static RC sort_headers(const struct kmsg_sigv4 *s,
                       const struct kmsg_sigv4_header *sorted[KMSG_SIGV4_PARTS_MAX], struct err *e)
{
    if (s->n_headers > KMSG_SIGV4_PARTS_MAX)
        FAIL(e, ERR_BAD_VALUE, "a request to sign has too many headers");
    for (size_t i = 0; i < s->n_headers; i++) {
        size_t at = i;
        for (; at > 0 && strcasecmp(sorted[at - 1]->name, s->headers[i].name) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = &s->headers[i];
    }
    return RC_OK;
}

static void push_lower(const char *name, struct buf *out)
{
    for (; *name; name++)
        buf_push_u8(out, (uint8_t)tolower((unsigned char)*name));
}

/* "a;b;c" */
static RC push_names(const struct kmsg_sigv4 *s, struct buf *out, struct err *e)
{
    const struct kmsg_sigv4_header *sorted[KMSG_SIGV4_PARTS_MAX];

    TRY(sort_headers(s, sorted, e));
    for (size_t i = 0; i < s->n_headers; i++) {
        if (i > 0 && strcasecmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            continue;
        if (i > 0)
            buf_push_u8(out, ';');
        push_lower(sorted[i]->name, out);
    }
    return RC_OK;
}

static RC push_headers(const struct kmsg_sigv4 *s, struct buf *out, struct err *e)
{
    const struct kmsg_sigv4_header *sorted[KMSG_SIGV4_PARTS_MAX];

    TRY(sort_headers(s, sorted, e));
    for (size_t i = 0; i < s->n_headers; i++) {
        if (i > 0 && strcasecmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            out->p[out->len - 1] = ','; /* goes on in the same line */
        } else {
            push_lower(sorted[i]->name, out);
            buf_push_u8(out, ':');
        }
        push_trimmed(sorted[i]->value, out);
        buf_push_u8(out, '\n');
    }
    return RC_OK;
}

static RC push_hash(struct slice text, struct buf *out, struct err *e)
{
    uint8_t hash[SHA256_LEN];

    TRY(sha256(&text, 1, hash, e));
    hex_encode(SLICE(hash, sizeof hash), out);
    return RC_OK;
}

RC kmsg_sigv4_canonical(const struct kmsg_sigv4 *s, struct buf *out, struct err *e)
{
    buf_printf(out, "%s\n", s->method);
    push_path(s->path, out);
    buf_push_u8(out, '\n');
    TRY(push_query(s->query, out, e));
    buf_push_u8(out, '\n');
    TRY(push_headers(s, out, e));
    buf_push_u8(out, '\n');
    TRY(push_names(s, out, e));
    buf_push_u8(out, '\n');
    return push_hash(s->body, out, e);
}

/* ---- the signature ---- */

static void push_scope(const struct kmsg_sigv4 *s, struct buf *out)
{
    buf_printf(out, "%.8s/%s/%s/aws4_request", s->date, s->region, s->service);
}

RC kmsg_sigv4_string_to_sign(const struct kmsg_sigv4 *s, struct buf *out, struct err *e)
{
    AUTO(buf_wipe) struct buf canonical = BUF_INIT; /* a session token stands in it */

    TRY(kmsg_sigv4_canonical(s, &canonical, e));
    buf_printf(out, "AWS4-HMAC-SHA256\n%s\n", s->date);
    push_scope(s, out);
    buf_push_u8(out, '\n');
    return push_hash(buf_view(&canonical), out, e);
}

static RC derive(const struct secret *key, struct slice text, struct secret **out, struct err *e)
{
    uint8_t mac[SHA256_LEN];
    rc_t rc = hmac_sha256(key, &text, 1, mac, e);

    *out = NULL;
    if (!rc.failed)
        rc = secret_from(mac, sizeof mac, out, e);
    mem_wipe(mac, sizeof mac);
    return rc;
}

static RC signing_key(const struct kmsg_sigv4 *s, const struct secret *secret_key,
                      struct secret **out, struct err *e)
{
    AUTO(secret_freep) struct secret *start = NULL, *date = NULL, *region = NULL, *service = NULL;
    size_t len = secret_len(secret_key);

    *out = NULL;
    TRY(secret_new(len + 4, &start, e));
    memcpy(secret_bytes(start), "AWS4", 4);
    memcpy(secret_bytes(start) + 4, secret_view(secret_key), len);
    TRY(derive(start, SLICE(s->date, 8), &date, e));
    TRY(derive(date, slice_str(s->region), &region, e));
    TRY(derive(region, slice_str(s->service), &service, e));
    return derive(service, SLICE_LIT("aws4_request"), out, e);
}

RC kmsg_sigv4_authorization(const struct kmsg_sigv4 *s, const char *access_key_id,
                            const struct secret *secret_key, struct buf *out, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    AUTO(secret_freep) struct secret *key = NULL;
    uint8_t mac[SHA256_LEN];

    if (strlen(s->date) != KMSG_SIGV4_DATE_LEN)
        FAIL(e, ERR_BAD_VALUE, "the clock stands at no date that a request can be signed for");
    TRY(kmsg_sigv4_string_to_sign(s, &text, e));
    TRY(signing_key(s, secret_key, &key, e));
    struct slice view = buf_view(&text);
    TRY(hmac_sha256(key, &view, 1, mac, e));
    buf_printf(out, "AWS4-HMAC-SHA256 Credential=%s/", access_key_id);
    push_scope(s, out);
    buf_printf(out, ", SignedHeaders=");
    TRY(push_names(s, out, e));
    buf_printf(out, ", Signature=");
    hex_encode(SLICE(mac, sizeof mac), out);
    return RC_OK;
}
