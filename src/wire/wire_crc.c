/* wire_crc.c - CRC-32C (Castagnoli), eight bytes a step from tables made on first use. */
#include <pthread.h>

#include "wire/wire.h"

static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    /* RFC 3720 12.1: the polynomial 0x11EDC6F41, here with its bits reversed. */
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int k = 0; k < 8; k++)
            c = (c >> 1) ^ ((c & 1) ? 0x82f63b78u : 0);
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            table[t][i] = (table[t - 1][i] >> 8) ^ table[0][table[t - 1][i] & 0xff];
}

uint32_t wire_crc32c(struct slice in)
{
    uint32_t c = 0xffffffffu;
    const uint8_t *p = in.p;
    size_t n = in.len;

    pthread_once(&once, make_tables);
    for (; n >= 8; p += 8, n -= 8) {
        uint32_t lo = get_le32(p) ^ c, hi = get_le32(p + 4);

        c = table[7][lo & 0xff] ^ table[6][(lo >> 8) & 0xff] ^ table[5][(lo >> 16) & 0xff] ^
            table[4][lo >> 24] ^ table[3][hi & 0xff] ^ table[2][(hi >> 8) & 0xff] ^
            table[1][(hi >> 16) & 0xff] ^ table[0][hi >> 24];
    }
    for (; n > 0; p++, n--)
        c = (c >> 8) ^ table[0][(c ^ *p) & 0xff];
    return c ^ 0xffffffffu;
}
