/* kmsg_reply.c - what every dialect does with an answer, and with text for one. See kmsg/kmsg_reply.h. */
#include "kmsg/kmsg_reply.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "kmsg_priv.h"

void kmsg_printable(const char *in, char *out, size_t len)
{
    size_t n = 0;
    bool gap = false;

    for (; *in && n + 1 < len; in++) {
        if (*in > ' ' && *in < 0x7f) {
            out[n++] = *in;
            gap = false;
        } else if (!gap && n > 0) {
            out[n++] = ' ';
            gap = true;
        }
    }
    out[n] = 0;
}

void kmsg_escape(struct slice in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '.' || c == '_' || c == '~')
            buf_push_u8(out, c); /* RFC 3986 2.3: unreserved */
        else
            buf_printf(out, "%%%02X", c);
    }
}

RC kmsg__bad(struct err *e, const char *what)
{
    FAIL(e, ERR_KEY_BAD_ANSWER, "the vault's answer %s", what);
}

RC kmsg__load(const struct kmsg_reply *r, json_t **out, struct err *e)
{
    struct err inner = { 0 };

    *out = NULL;
    if (r->status != 200 || !r->is_json)
        return kmsg__bad(e, "is not JSON with the status 200");
    if (kjson_load(r->body, KMSG_ANSWER_DEPTH, out, &inner).failed)
        FAIL(e, ERR_KEY_BAD_ANSWER, "the vault's answer cannot be read: %s", inner.msg);
    return RC_OK;
}

RC kmsg__read_plaintext(const char *text, uint32_t len, struct buf *out, struct err *e)
{
    uint8_t any = 0;

    buf_reserve(out, (size_t)len + 4);
    bool ok = text && strlen(text) == ((size_t)len + 2) / 3 * 4 &&
              base64_decode(slice_str(text), out) && out->len == len;
    for (size_t i = 0; ok && i < out->len; i++)
        any |= out->p[i];
    if (!any) {
        buf_wipe(out);
        return kmsg__bad(e, "has a value of another length or form than asked for, or zeros only");
    }
    return RC_OK;
}

const struct kmsg__error *kmsg__find_error(const struct kmsg__error *rows, size_t n,
                                           const char *code, const char *said)
{
    for (size_t i = 0; code && i < n; i++)
        if (strcmp(code, rows[i].code) == 0 &&
            (!rows[i].words || (said && strcasestr(said, rows[i].words))))
            return &rows[i];
    return NULL;
}

enum kmsg_class kmsg__class_of_status(int status)
{
    if (status == 429)
        return KMSG_THROTTLED;
    return status == 408 || status >= 500 ? KMSG_UNREACHABLE : KMSG_BAD;
}

int kmsg__hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool kmsg__copy_part(const char *s, size_t len, const char *allowed, char *out, size_t room)
{
    if (len < 1 || len >= room)
        return false;
    memcpy(out, s, len);
    out[len] = 0;
    return strspn(out, allowed) == len;
}

bool kmsg__copy_host(const char *s, size_t len, char *out, size_t room)
{
    if (!kmsg__copy_part(s, len, KMSG__LETTERS KMSG__DIGITS ".-:[]", out, room))
        return false;
    for (; *out; out++)
        *out = (char)tolower((unsigned char)*out);
    return true;
}

RC kmsg__bad_url(struct err *e, const char *url, const char *what)
{
    char shown[128];

    kmsg_printable(url, shown, sizeof shown);
    FAIL(e, ERR_CONFIG, "\"%s\" is not the URL of %s", shown, what);
}

bool kmsg__read_time(const char *text, int64_t *unix_s)
{
    struct tm tm = { 0 };
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

    if (!rest)
        return false;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    *unix_s = (int64_t)timegm(&tm);
    return strcmp(rest, "Z") == 0;
}

bool kmsg__read_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = { { "", 1000 },   { "s", 1000 },    { "min", 60000 },
                  { "m", 60000 }, { "h", 3600000 }, { "ms", 1 } };
    size_t digits = strspn(text, "0123456789");
    int64_t n;

    if (digits == 0 || digits > 9 || !text_i64(SLICE(text, digits), &n))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(text + digits, units[i].unit) == 0) {
            *ms = n * units[i].ms;
            return true;
        }
    return false;
}

bool kmsg_is_context(const char *s)
{
    size_t len = strlen(s);

    for (size_t i = 0; i < len; i++)
        if (s[i] < ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '\\')
            return false;
    return len >= 1 && len <= KMSG_CONTEXT_MAX;
}
