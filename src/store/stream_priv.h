/* stream_priv.h - the head of a frame, shared by stream.c (writes) and unstream.c (reads). */
#ifndef STORE_STREAM_PRIV_H
#define STORE_STREAM_PRIV_H

#include <string.h>

#include "crypto/aead.h"
#include "store_priv.h"

enum {
    STORE__F_LEN = 4,
    STORE__F_FLAGS = 8,
    STORE__F_INDEX = 12,
    STORE__F_SYNCED = 16,
    STORE__F_ZERO = 20,
    STORE__F_TAIL = 24,
    STORE__F_PREV = 32,
    STORE__FRAME_AAD = STORE__MAC_LEN + STORE__FRAME_HEAD,
};
enum { STORE__FRAME_END = 1u << 0, STORE__FRAME_MARK = 1u << 1 };

static inline void store__frame_nonce(const uint8_t *head, uint8_t nonce[AEAD_NONCE_LEN])
{
    memcpy(nonce, head + STORE__F_INDEX, 4);
    memcpy(nonce + 4, head + STORE__F_TAIL, 8);
}

static inline void store__frame_aad(const struct store__keys *k, const uint8_t *head,
                                    uint8_t aad[STORE__FRAME_AAD])
{
    memcpy(aad, k->mac, STORE__MAC_LEN);
    memcpy(aad + STORE__MAC_LEN, head, STORE__FRAME_HEAD);
}

#endif
