/* histories.h - what the other of two machines wrote that were resumed from one image: frames under the same key at the same place. */
#ifndef STORE_T_HISTORIES_H
#define STORE_T_HISTORIES_H

#include "stream_priv.h"
#include "support.h"

/* rewrite_frame(): another frame in the place from at to end of a stream file in memory, sealed under the file's own key. */
static inline void rewrite_frame(struct keyring *ring, uint8_t *file, size_t at, size_t end)
{
    uint8_t *p = file + at, mac[SHA256_LEN], nonce[AEAD_NONCE_LEN], aad[STORE__FRAME_AAD];
    size_t len = end - at - STORE__FRAME_HEAD - STORE__TAG_LEN;
    struct buf plain = BUF_INIT;
    struct store__header h;
    struct store__keys k;

    OK(store__header_parse(SLICE(file, STORE__HEADER_LEN), "f", &h, &err));
    OK(store__keys_derive(ring, &h, file, &k, &err));
    if (len)
        memset(buf_extend(&plain, len), 'x', len);
    p[STORE__F_SYNCED + 3] ^= 1; /* so that a frame without text is another one as well */
    struct slice parts[3] = { SLICE(p, STORE__F_TAIL), SLICE(p + STORE__F_PREV, STORE__TAG_LEN),
                              buf_view(&plain) };
    OK(hmac_sha256(k.nonce, parts, 3, mac, &err));
    memcpy(p + STORE__F_TAIL, mac, 8);
    store__frame_nonce(p, nonce);
    store__frame_aad(&k, p, aad);
    OK(aead_seal(k.data,
                 &(struct aead_seal){ .nonce = nonce,
                                      .aad = SLICE(aad, sizeof(aad)),
                                      .plain = buf_view(&plain),
                                      .out = p + STORE__FRAME_HEAD,
                                      .tag = p + STORE__FRAME_HEAD + len },
                 &err));
    store__keys_fini(&k);
    buf_fini(&plain);
}

#endif
