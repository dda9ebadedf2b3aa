/* vault_firewall.c - the addresses that a vault answers: rules in CIDR form (RFC 4632, RFC 4291 2.3). All are compared as IPv6, IPv4 ones mapped
 * into it (RFC 4291 2.5.5.2), so that a dual-stack socket's IPv4 clients meet the same rules. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "vault_priv.h"

enum { V4_PREFIX = 96, V6_BITS = 128 };

static void map_v4(const void *v4, uint8_t out[16])
{
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, v4, 4);
}

static bool bits_are_zero(const uint8_t *address, int from)
{
    for (int i = from; i < V6_BITS; i++)
        if (address[i / 8] & (0x80 >> i % 8))
            return false;
    return true;
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, int bits)
{
    size_t whole = (size_t)bits / 8;
    int rest = bits % 8;

    return memcmp(a, b, whole) == 0 &&
           (rest == 0 || ((a[whole] ^ b[whole]) & (0xff << (8 - rest)) & 0xff) == 0);
}

RC vault__cidr_read(const char *text, struct cidr *out, struct err *e)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN];
    uint8_t v4[4];
    uint64_t bits;

    memset(out, 0, sizeof *out);
    if (len >= sizeof address || strlen(text) >= sizeof out->text)
        FAIL(e, ERR_BAD_VALUE, "the address range is too long");
    memcpy(address, text, len);
    address[len] = 0;
    bool is_v4 = inet_pton(AF_INET, address, v4) == 1;
    if (is_v4)
        map_v4(v4, out->address);
    else if (inet_pton(AF_INET6, address, out->address) != 1)
        FAIL(e, ERR_BAD_VALUE, "\"%s\" is not an address or range such as 10.0.0.0/8", text);
    if (!slash)
        bits = is_v4 ? 32 : V6_BITS;
    else if (!text_u64(slice_str(slash + 1), &bits) || bits > (is_v4 ? 32u : (unsigned)V6_BITS))
        FAIL(e, ERR_BAD_VALUE, "\"%s\" has no number of bits behind its slash", text);
    out->bits = (int)bits + (is_v4 ? V4_PREFIX : 0);
    if (!bits_are_zero(out->address, out->bits))
        FAIL(e, ERR_BAD_VALUE, "\"%s\" names an address inside of a range, not the range", text);
    memcpy(out->text, text, strlen(text) + 1);
    return RC_OK;
}

static bool address_of(const struct sockaddr *a, uint8_t out[16])
{
    if (a && a->sa_family == AF_INET) {
        map_v4(&((const struct sockaddr_in *)a)->sin_addr, out);
        return true;
    }
    if (a && a->sa_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
        return true;
    }
    return false;
}

bool vault__cidr_holds(const struct cidr *c, const struct sockaddr *address)
{
    uint8_t a[16];

    return address_of(address, a) && same_prefix(c->address, a, c->bits);
}

const char *vault__address_text(const struct sockaddr *address, char *out, size_t len)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    uint8_t a[16];

    if (!address_of(address, a) ||
        !(memcmp(a, mapped, sizeof mapped) == 0 ? inet_ntop(AF_INET, a + 12, out, (socklen_t)len)
                                                : inet_ntop(AF_INET6, a, out, (socklen_t)len)))
        (void)snprintf(out, len, "unknown");
    return out;
}
