/* block.c - files that are written once from the front and read anywhere: the engine's tables.
 *
 * Layout   header, then chunks of STORE__CHUNK plaintext bytes, each followed by its tag; only the last may be shorter, and it is sealed as the last. A full
 *          chunk is sealed only when more follows, so a file that was cut, even between chunks, or that was lengthened, fails at open.
 * Nonce    the chunk's index (12 bytes, big-endian). An index is sealed once: after the last chunk, or after a write that failed, nothing is appended.
 *          At most 2^32 chunks for a key, which every file has of its own.
 * AAD      header MAC (32), index (8), 1 for the last chunk else 0.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "store_priv.h"

enum {
    STORED = STORE__CHUNK + STORE__TAG_LEN,
    BATCH = 16,
    READ_BATCH = 8,
    AAD_LEN = STORE__MAC_LEN + 9
};
#define MAX_CHUNKS (UINT64_C(1) << 32)

struct store__block_writer {
    int fd;
    char *path;
    struct store__keys keys;
    uint64_t next;    /* index of the next chunk */
    uint64_t length;  /* plaintext bytes appended */
    struct buf plain; /* not sealed yet; at least one byte of it stays until the last seal */
    struct buf out;
    bool sealed, broken;
    enum err_code why; /* of broken */
};

struct store__block {
    int fd;
    char *path;
    struct store__keys keys;
    uint64_t size;   /* plaintext bytes */
    uint64_t chunks; /* at least 1 */
};

static void chunk_nonce(uint64_t index, uint8_t nonce[AEAD_NONCE_LEN])
{
    put_be32(nonce, 0);
    put_be64(nonce + 4, index);
}

static void chunk_aad(const struct store__keys *k, uint64_t index, bool last, uint8_t aad[AAD_LEN])
{
    memcpy(aad, k->mac, STORE__MAC_LEN);
    put_be64(aad + STORE__MAC_LEN, index);
    aad[STORE__MAC_LEN + 8] = last ? 1 : 0;
}

bool store__block_logical(uint64_t physical, uint64_t *logical)
{
    uint64_t body, chunks;

    *logical = 0;
    if (physical < STORE__HEADER_LEN + STORE__TAG_LEN)
        return false;
    body = physical - STORE__HEADER_LEN;
    chunks = body / STORED + (body % STORED != 0);
    if (body - (chunks - 1) * STORED < STORE__TAG_LEN || chunks > MAX_CHUNKS)
        return false;
    if (body - (chunks - 1) * STORED == STORE__TAG_LEN &&
        chunks > 1) /* an empty last chunk exists only in an empty file */
        return false;
    *logical = body - chunks * STORE__TAG_LEN;
    return true;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

RC store__block_create(const struct store__seal *s, const char *path, uint64_t number,
                       struct store__block_writer **out, struct err *e)
{
    struct store__block_writer *w = NEW(struct store__block_writer);
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;

    *out = NULL;
    w->fd = -1;
    w->path = mem_strdup(path);
    do { /* once, unless the generation changes meanwhile */
        fd_close(w->fd);
        w->fd = -1;
        store__keys_fini(&w->keys);
        if (store__header_make(s, STORE__TABLE, number, raw, &h, e).failed ||
            store__keys_derive(s->keys, &h, raw, &w->keys, e).failed ||
            store__io_create(path, STORE__TABLE, &w->fd, e).failed ||
            store__io_append(w->fd, path, STORE__TABLE, raw, sizeof(raw), e).failed) {
            store__block_writer_free(w);
            return RC_FAILED;
        }
    } while (!store__header_current(s, &h));
    *out = w;
    return RC_OK;
}

static RC seal_chunk(struct store__block_writer *w, const uint8_t *p, size_t len, bool last,
                     struct err *e)
{
    uint8_t nonce[AEAD_NONCE_LEN], aad[AAD_LEN];
    uint8_t *to;

    if (w->next >= MAX_CHUNKS)
        FAIL(e, ERR_IO, "file \"%s\" is too large for one key", w->path);
    chunk_nonce(w->next, nonce);
    chunk_aad(&w->keys, w->next, last, aad);
    to = buf_extend(&w->out, len + STORE__TAG_LEN);
    w->next++;
    return aead_seal(w->keys.data,
                     &(struct aead_seal){ .nonce = nonce,
                                          .aad = SLICE(aad, sizeof(aad)),
                                          .plain = SLICE(p, len),
                                          .out = to,
                                          .tag = to + len },
                     e);
}

static RC emit(struct store__block_writer *w, bool last, struct err *e)
{
    size_t full = w->plain.len ? (w->plain.len - 1) / STORE__CHUNK : 0, used = full * STORE__CHUNK;

    w->broken = true; /* until everything below has worked */
    w->why = ERR_IO;
    for (size_t i = 0; i < full; i++)
        TRY(seal_chunk(w, w->plain.p + i * STORE__CHUNK, STORE__CHUNK, false, e));
    if (last) {
        const uint8_t *rest = w->plain.len ? w->plain.p + used : NULL;

        TRY(seal_chunk(w, rest, w->plain.len - used, true, e));
        used = w->plain.len;
        w->sealed = true;
    }
    if (store__io_append(w->fd, w->path, STORE__TABLE, w->out.p, w->out.len, e).failed) {
        w->why = e->code == ERR_DISK_FULL ? ERR_DISK_FULL : ERR_IO;
        return RC_FAILED;
    }
    buf_clear(&w->out);
    if (used)
        memmove(w->plain.p, w->plain.p + used, w->plain.len - used);
    w->plain.len -= used;
    w->broken = false;
    return RC_OK;
}

static RC usable(const struct store__block_writer *w, struct err *e)
{
    if (w->broken)
        FAIL(e, w->why, "file \"%s\" could not be written before", w->path);
    return RC_OK;
}

RC store__block_append(struct store__block_writer *w, struct slice bytes, struct err *e)
{
    TRY(usable(w, e));
    if (w->sealed)
        FAIL(e, ERR_IO, "file \"%s\" is sealed", w->path);
    buf_push(&w->plain, bytes.p, bytes.len);
    w->length += bytes.len;
    if (w->plain.len > (size_t)BATCH * STORE__CHUNK)
        TRY(emit(w, false, e));
    return RC_OK;
}

RC store__block_close(struct store__block_writer *w, struct err *e)
{
    TRY(usable(w, e));
    return w->sealed ? RC_OK : emit(w, true, e);
}

RC store__block_sync(struct store__block_writer *w, struct err *e)
{
    TRY(store__block_close(w, e));
    return store__io_sync(w->fd, w->path, STORE__TABLE, e);
}

uint64_t store__block_length(const struct store__block_writer *w)
{
    return w->length;
}

void store__block_writer_free(struct store__block_writer *w)
{
    if (!w)
        return;
    fd_close(w->fd);
    store__keys_fini(&w->keys);
    buf_wipe(&w->plain);
    buf_fini(&w->out);
    mem_free(w->path);
    mem_free(w);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static size_t chunk_len(const struct store__block *b, uint64_t index)
{
    return index + 1 < b->chunks ? STORE__CHUNK : (size_t)(b->size - index * STORE__CHUNK);
}

static RC open_chunk(const struct store__block *b, uint64_t index, const uint8_t *stored,
                     uint8_t *out, struct err *e)
{
    size_t len = chunk_len(b, index);
    uint8_t nonce[AEAD_NONCE_LEN], aad[AAD_LEN];
    struct err mine = { 0 };

    chunk_nonce(index, nonce);
    chunk_aad(&b->keys, index, index + 1 == b->chunks, aad);
    if (!aead_open(b->keys.data,
                   &(struct aead_open){ .nonce = nonce,
                                        .aad = SLICE(aad, sizeof(aad)),
                                        .cipher = SLICE(stored, len),
                                        .tag = stored + len,
                                        .out = out },
                   &mine)
             .failed)
        return RC_OK;
    if (mine.code != ERR_CORRUPT)
        return err_take(e, &mine);
    FAIL(e, ERR_CORRUPT, "chunk %llu of file \"%s\" is damaged", (unsigned long long)index,
         b->path);
}

static RC open_fd(const struct store__seal *s, struct store__block *b, uint64_t number,
                  struct err *e)
{
    uint8_t raw[STORE__HEADER_LEN], last[STORED];
    struct store__header h;
    uint64_t physical;
    size_t got, want;

    TRY(store__io_pread(b->fd, b->path, STORE__TABLE, 0, raw, sizeof(raw), &got, e));
    TRY(store__header_verify(s->keys, s->alg, s->id, SLICE(raw, got), b->path, &h, e));
    TRY(store__header_expect(&h, STORE__TABLE, number, b->path, e));
    TRY(store__io_size(b->fd, b->path, &physical, e));
    if (!store__block_logical(physical, &b->size))
        FAIL(e, ERR_CORRUPT, "file \"%s\" has an impossible length", b->path);
    b->chunks = b->size ? (b->size + STORE__CHUNK - 1) / STORE__CHUNK : 1;
    TRY(store__keys_derive(s->keys, &h, raw, &b->keys, e));
    want = chunk_len(b, b->chunks - 1) + STORE__TAG_LEN;
    TRY(store__io_pread(b->fd, b->path, STORE__TABLE, STORE__HEADER_LEN + (b->chunks - 1) * STORED,
                        last, want, &got, e));
    if (got != want)
        FAIL(e, ERR_CORRUPT, "file \"%s\" became shorter", b->path);
    return open_chunk(b, b->chunks - 1, last, last, e);
}

RC store__block_open_fd(const struct store__seal *s, int fd, const char *name, uint64_t number,
                        struct store__block **out, struct err *e)
{
    struct store__block *b = NEW(struct store__block);

    *out = NULL;
    b->fd = fd;
    b->path = mem_strdup(name);
    if (open_fd(s, b, number, e).failed) {
        b->fd = -1; /* stays the caller's */
        store__block_free(b);
        return RC_FAILED;
    }
    *out = b;
    return RC_OK;
}

RC store__block_open(const struct store__seal *s, const char *path, uint64_t number,
                     struct store__block **out, struct err *e)
{
    AUTO(fd_closep) int fd = -1;

    *out = NULL;
    TRY(store__io_open(path, STORE__TABLE, &fd, e));
    TRY(store__block_open_fd(s, fd, path, number, out, e));
    fd = -1;
    return RC_OK;
}

/* Whole chunks are opened straight into the caller's memory, the cut ones at both ends through a scratch chunk. */
RC store__block_read(struct store__block *b, uint64_t off, size_t len, void *out, size_t *got,
                     struct err *e)
{
    uint8_t stored[READ_BATCH * STORED], scratch[STORE__CHUNK];
    uint8_t *to = (uint8_t *)out;
    uint64_t end;

    *got = 0;
    if (off >= b->size || len == 0)
        return RC_OK;
    len = (size_t)MIN((uint64_t)len, b->size - off);
    end = off + len;
    for (uint64_t c = off / STORE__CHUNK; c * STORE__CHUNK < end;) {
        uint64_t n = MIN((uint64_t)READ_BATCH, (end + STORE__CHUNK - 1) / STORE__CHUNK - c);
        size_t want = (size_t)(n - 1) * STORED + chunk_len(b, c + n - 1) + STORE__TAG_LEN, have;

        TRY(store__io_pread(b->fd, b->path, STORE__TABLE, STORE__HEADER_LEN + c * STORED, stored,
                            want, &have, e));
        if (have != want)
            FAIL(e, ERR_CORRUPT, "file \"%s\" became shorter", b->path);
        for (uint64_t i = 0; i < n; i++, c++) {
            uint64_t start = c * STORE__CHUNK, from = MAX(start, off),
                     upto = MIN(start + chunk_len(b, c), end);

            if (from == start && upto == start + chunk_len(b, c)) {
                TRY(open_chunk(b, c, stored + i * STORED, to + (from - off), e));
            } else {
                TRY(open_chunk(b, c, stored + i * STORED, scratch, e));
                memcpy(to + (from - off), scratch + (from - start), (size_t)(upto - from));
            }
        }
    }
    *got = len;
    return RC_OK;
}

void store__block_prefetch(struct store__block *b, uint64_t off, size_t len)
{
    uint64_t first = off / STORE__CHUNK, last = (off + len) / STORE__CHUNK + 1;

    (void)posix_fadvise(b->fd, (off_t)(STORE__HEADER_LEN + first * STORED),
                        (off_t)((last - first) * STORED), POSIX_FADV_WILLNEED);
}

uint64_t store__block_size(const struct store__block *b)
{
    return b->size;
}

void store__block_free(struct store__block *b)
{
    if (!b)
        return;
    fd_close(b->fd);
    store__keys_fini(&b->keys);
    mem_free(b->path);
    mem_free(b);
}
