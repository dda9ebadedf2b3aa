/* text.c - strict encoders and decoders. */
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char hex_digits[] = "0123456789abcdef";

void hex_encode(struct slice in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        buf_push_u8(out, (uint8_t)hex_digits[in.p[i] >> 4]);
        buf_push_u8(out, (uint8_t)hex_digits[in.p[i] & 15]);
    }
}

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

bool hex_decode(struct slice in, struct buf *out)
{
    size_t start = out->len;
    if (in.len % 2)
        return false;
    for (size_t i = 0; i < in.len; i += 2) {
        int hi = hex_value(in.p[i]), lo = hex_value(in.p[i + 1]);
        if (hi < 0 || lo < 0) {
            out->len = start;
            return false;
        }
        buf_push_u8(out, (uint8_t)(hi << 4 | lo));
    }
    return true;
}

static const char b64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode64(struct slice in, const char *alphabet, bool pad, struct buf *out)
{
    for (size_t i = 0; i < in.len; i += 3) {
        size_t n = MIN(in.len - i, (size_t)3);
        uint32_t v = (uint32_t)in.p[i] << 16;
        if (n > 1)
            v |= (uint32_t)in.p[i + 1] << 8;
        if (n > 2)
            v |= in.p[i + 2];
        for (size_t k = 0; k < 4; k++) {
            if (k <= n)
                buf_push_u8(out, (uint8_t)alphabet[(v >> (18 - 6 * k)) & 63]);
            else if (pad)
                buf_push_u8(out, '=');
        }
    }
}

static int value64(uint8_t c, const char *alphabet)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (uint8_t)alphabet[62])
        return 62;
    if (c == (uint8_t)alphabet[63])
        return 63;
    return -1;
}

static bool decode64(struct slice in, const char *alphabet, struct buf *out)
{
    size_t start = out->len, rest = in.len % 4;
    if (rest == 1)
        return false;
    for (size_t i = 0; i < in.len; i += 4) {
        size_t n = MIN(in.len - i, (size_t)4);
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k < n ? value64(in.p[i + k], alphabet) : 0;
            if (d < 0) {
                out->len = start;
                return false;
            }
            v = v << 6 | (uint32_t)d;
        }
        /* The bits that the last group does not use must be zero (RFC 4648 3.5). */
        if ((n == 2 && (v & 0xffff)) || (n == 3 && (v & 0xff))) {
            out->len = start;
            return false;
        }
        for (size_t k = 0; k + 1 < n; k++)
            buf_push_u8(out, (uint8_t)(v >> (16 - 8 * k)));
    }
    return true;
}

void base64_encode(struct slice in, struct buf *out)
{
    encode64(in, b64_std, true, out);
}

bool base64_decode(struct slice in, struct buf *out)
{
    if (in.len % 4)
        return false;
    for (int i = 0; i < 2 && in.len && in.p[in.len - 1] == '='; i++)
        in.len--;
    return decode64(in, b64_std, out);
}

void base64url_encode(struct slice in, struct buf *out)
{
    encode64(in, b64_url, false, out);
}

bool base64url_decode(struct slice in, struct buf *out)
{
    return decode64(in, b64_url, out);
}

/* A NUL-terminated copy for strto*(), which skip leading space: that is refused here. */
static bool number_text(struct slice in, char *copy, size_t cap)
{
    if (in.len == 0 || in.len >= cap || memchr(in.p, 0, in.len))
        return false;
    if (in.p[0] <= ' ')
        return false;
    memcpy(copy, in.p, in.len);
    copy[in.len] = '\0';
    return true;
}

bool text_i64(struct slice in, int64_t *out)
{
    char copy[32], *end;
    if (!number_text(in, copy, sizeof(copy)))
        return false;
    errno = 0;
    long long v = strtoll(copy, &end, 10);
    if (errno || *end)
        return false;
    *out = v;
    return true;
}

bool text_u64(struct slice in, uint64_t *out)
{
    char copy[32], *end;
    if (!number_text(in, copy, sizeof(copy)) || copy[0] == '-')
        return false;
    errno = 0;
    unsigned long long v = strtoull(copy, &end, 10);
    if (errno || *end)
        return false;
    *out = v;
    return true;
}

bool text_f64(struct slice in, double *out)
{
    char copy[512], *end;
    if (!number_text(in, copy, sizeof(copy)))
        return false;
    errno = 0;
    double v = strtod(copy, &end);
    if (*end || (errno == ERANGE && (v > 1 || v < -1)))
        return false;
    *out = v;
    return true;
}

/* RFC 3629 4: the table of well-formed byte sequences. */
static size_t sequence(const uint8_t *p, size_t len, uint32_t *code)
{
    uint8_t c = p[0];
    if (c < 0x80) {
        *code = c;
        return 1;
    }
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint8_t lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < lo || p[1] > hi)
        return 0;
    uint32_t v = c & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    *code = v;
    return n;
}

bool utf8_valid(struct slice in)
{
    for (size_t i = 0; i < in.len;) {
        uint32_t code;
        /* Eight ASCII bytes at once: most text is. */
        while (in.len - i >= 8 && !(get_le64(in.p + i) & 0x8080808080808080u))
            i += 8;
        if (i == in.len)
            break;
        size_t n = sequence(in.p + i, in.len - i, &code);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

size_t utf8_next(const uint8_t *p, const uint8_t *end, uint32_t *code)
{
    size_t n = sequence(p, (size_t)(end - p), code);
    if (n)
        return n;
    *code = 0xfffd;
    return 1;
}
