/* kmsg_p11.c - see kmsg/kmsg_p11.h; spec: RFC 7512. No error repeats a URI: somebody may have put a PIN into it. */
#include "kmsg/kmsg_p11.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"
#include "kmsg_priv.h"

/* Percent-decodes a value; false when it is empty, malformed or too long. */
static bool decode(const char *s, size_t len, uint8_t *out, size_t max, uint32_t *out_len)
{
    uint32_t n = 0;

    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)s[i];
        if (s[i] == '%') {
            if (len - i < 3 || kmsg__hex_digit(s[i + 1]) < 0 || kmsg__hex_digit(s[i + 2]) < 0)
                return false;
            c = kmsg__hex_digit(s[i + 1]) * 16 + kmsg__hex_digit(s[i + 2]);
            i += 2;
        }
        if (n == max)
            return false;
        out[n++] = (uint8_t)c;
    }
    *out_len = n;
    return n > 0;
}

static bool decode_text(const char *s, size_t len, char *out, size_t room)
{
    uint32_t n;

    if (!decode(s, len, (uint8_t *)out, room - 1, &n) || memchr(out, 0, n))
        return false;
    out[n] = 0;
    return true;
}

static bool decode_path(const char *s, size_t len, char *out, size_t room)
{
    static const char file[] = "file:", triple[] = "file:///";

    if (len > sizeof triple - 1 && strncmp(s, triple, sizeof triple - 1) == 0)
        return decode_text(s + sizeof triple - 2, len - (sizeof triple - 2), out, room);
    if (len > sizeof file - 1 && strncmp(s, file, sizeof file - 1) == 0) {
        s += sizeof file - 1;
        len -= sizeof file - 1;
    }
    return decode_text(s, len, out, room) && out[0] == '/';
}

/* "NAME=VALUE"; nothing that the loader itself obeys. */
static bool take_env(struct kmsg_p11_uri *u, const char *s, size_t len)
{
    size_t name = 0;

    while (name < len && s[name] != '=')
        name++;
    if (u->n_env == KMSG_P11_ENV_MAX || name == len || name < 1 || name >= sizeof u->env[0].name ||
        (name > 2 && memcmp(s, "LD_", 3) == 0))
        return false;
    for (size_t i = 0; i < name; i++)
        if (!isupper((unsigned char)s[i]) && s[i] != '_' &&
            (i == 0 || !isdigit((unsigned char)s[i])))
            return false;
    memcpy(u->env[u->n_env].name, s, name);
    u->env[u->n_env].name[name] = 0;
    if (!decode_text(s + name + 1, len - name - 1, u->env[u->n_env].value, sizeof u->env[0].value))
        return false;
    u->n_env++;
    return true;
}

/* One "name=value" of the path (or of the query). Each may stand once. */
static bool take(struct kmsg_p11_uri *u, bool query, const char *name, size_t name_len,
                 const char *value, size_t len)
{
#define IS(text) (name_len == sizeof(text) - 1 && memcmp(name, text, name_len) == 0)
    if (query && IS("module-path"))
        return !*u->module && decode_path(value, len, u->module, sizeof u->module);
    if (query && IS("x-env"))
        return take_env(u, value, len);
    if (query)
        return false;
    if (IS("token"))
        return !*u->token && decode_text(value, len, u->token, sizeof u->token);
    if (IS("serial"))
        return !*u->serial && decode_text(value, len, u->serial, sizeof u->serial);
    if (IS("object"))
        return !*u->object && decode_text(value, len, u->object, sizeof u->object);
    if (IS("id"))
        return !u->id_len && decode(value, len, u->id, sizeof u->id, &u->id_len);
    if (IS("type")) /* what is used says the key itself */
        return (len == 7 && memcmp(value, "private", 7) == 0) ||
               (len == 10 && memcmp(value, "secret-key", 10) == 0);
    return false;
#undef IS
}

static bool take_all(struct kmsg_p11_uri *u, bool query, const char *s, size_t len)
{
    const char *ends = query ? "&" : ";";

    while (len > 0) {
        size_t part = 0, name = 0;
        while (part < len && !strchr(ends, s[part]))
            part++;
        while (name < part && s[name] != '=')
            name++;
        if (name == part || !take(u, query, s, name, s + name + 1, part - name - 1))
            return false;
        s += part;
        len -= part;
        if (len > 0) {
            s++;
            len--;
        }
    }
    return true;
}

RC kmsg_p11_uri(const char *uri, struct kmsg_p11_uri *out, struct err *e)
{
    static const char scheme[] = "pkcs11:";
    struct kmsg_p11_uri u = { 0 };

    memset(out, 0, sizeof *out);
    if (strncasecmp(uri, scheme, sizeof scheme - 1) != 0)
        FAIL(e, ERR_CONFIG, "the key's URL is not a PKCS #11 URI");
    if (strcasestr(uri, "pin-value") || strcasestr(uri, "pin-source"))
        FAIL(
            e, ERR_CONFIG,
            "the PIN of a PKCS #11 token stands in the file that token-secret-file names, not in the URI");
    const char *path = uri + sizeof scheme - 1;
    size_t len = strcspn(path, "?");
    if (!take_all(&u, false, path, len) ||
        (path[len] && !take_all(&u, true, path + len + 1, strlen(path + len + 1))))
        FAIL(e, ERR_CONFIG,
             "the key's PKCS #11 URI has an attribute that is not known, twice, or malformed");
    if ((!*u.token && !*u.serial) || (!*u.object && !u.id_len) || !*u.module)
        FAIL(e, ERR_CONFIG,
             "the key's PKCS #11 URI must name token or serial, object or id, and module-path");
    *out = u;
    return RC_OK;
}

bool kmsg_p11_is_version(const char *v)
{
    size_t len = strlen(v);

    return len >= 2 && len <= 2 * KMSG_P11_ID_MAX && len % 2 == 0 &&
           strspn(v, "0123456789abcdef") == len;
}

bool kmsg_p11_is_later(struct slice a, struct slice b)
{
    while (a.len > 0 && a.p[0] == 0)
        a = SLICE(a.p + 1, a.len - 1);
    while (b.len > 0 && b.p[0] == 0)
        b = SLICE(b.p + 1, b.len - 1);
    return a.len != b.len ? a.len > b.len : slice_cmp(a, b) > 0;
}

bool kmsg_p11_date(const char text[8], int64_t *unix_s)
{
    static const int days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t y, m, d;

    for (int i = 0; i < 8; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    if (!text_i64(SLICE(text, 4), &y) || !text_i64(SLICE(text + 4, 2), &m) ||
        !text_i64(SLICE(text + 6, 2), &d) || y < 1970 || m < 1 || m > 12 || d < 1 ||
        d > days[m - 1])
        return false;
    struct tm tm = { .tm_year = (int)y - 1900, .tm_mon = (int)m - 1, .tm_mday = (int)d };
    *unix_s = (int64_t)timegm(&tm);
    return true;
}
