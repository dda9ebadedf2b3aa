/* stream.c - writing files that grow: journal, manifest and the small files. Reading them: unstream.c.
 *
 * Layout   header, then frames. A frame is 48 bytes of head, the ciphertext, a tag:
 *              0  4 mark (keyed)       16  4 synced: frames known to be on disk when this one was sealed
 *              4  4 plaintext length   20  4 zero
 *              8  4 flags              24  8 nonce tail
 *             12  4 index              32 16 tag of the frame before (head of the header MAC for the first)
 * Nonce    index (4) ‖ tail (8), the tail being the head of HMAC(nonce key, bytes 0 to 23 ‖ bytes 32 to 47 ‖ plaintext). So a machine snapshot that is resumed twice
 *          seals two different frames of one index under two nonces; what is authenticated is part of the tail's input, since equal plaintexts
 *          under one nonce with different associated data would give away the authentication key. At most 2^32 - 1 frames for a key.
 * AAD      header MAC (32) ‖ the head (48).
 * Marks    After each sync an empty frame says how many frames are on disk for certain, itself not synced. It tells a reader whether a bad frame is a torn
 *          tail or damage. END says that the file is complete.
 * Failure  A write that failed is cut off again and the writer takes nothing more, but what was written before can still be synced and closed.
 */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "store_priv.h"
#include "stream_priv.h"

struct store__stream_writer {
    struct mutex mu;
    char *path;
    struct store__header head;
    struct store__keys keys;
    enum store__role role;
    int fd;
    struct buf frame; /* guarded by mu: head room, then plaintext not emitted yet */
    uint8_t prev[STORE__TAG_LEN], synced_tag[STORE__TAG_LEN]; /* guarded by mu */
    uint32_t frames, synced;    /* guarded by mu: emitted, and on disk for certain */
    uint64_t physical, logical; /* guarded by mu: bytes of whole frames; plaintext accepted */
    bool ended, broken, sync_failed, data_unsynced; /* guarded by mu */
    unsigned syncing; /* guarded by mu: threads inside fdatasync(), which hold fd */
    /* guarded by mu: of broken; want of room stays want of room, or the engine would take it for a bad disk */
    enum err_code why;
};

/* Small files get their names by a rename that follows their sync: nobody sees them unfinished, so they need no sync in between and no marks. */
static bool is_small(enum store__role role)
{
    return role != STORE__JOURNAL && role != STORE__MANIFEST;
}

RC store__stream_create(const struct store__seal *s, const char *path, enum store__role role,
                        uint64_t number, struct store__stream_writer **out, struct err *e)
{
    struct store__stream_writer *w = NEW(struct store__stream_writer);
    uint8_t raw[STORE__HEADER_LEN];

    *out = NULL;
    mutex_init(&w->mu);
    w->fd = -1;
    w->role = role;
    w->path = mem_strdup(path);
    do { /* once, unless the generation changes meanwhile */
        fd_close(w->fd);
        w->fd = -1;
        store__keys_fini(&w->keys);
        if (store__header_make(s, role, number, raw, &w->head, e).failed ||
            store__keys_derive(s->keys, &w->head, raw, &w->keys, e).failed ||
            store__io_create(path, role, &w->fd, e).failed ||
            store__io_append(w->fd, path, role, raw, sizeof(raw), e).failed ||
            (!is_small(role) && store__io_sync(w->fd, path, role, e).failed)) {
            store__stream_writer_free(w);
            return RC_FAILED;
        }
    } while (!store__header_current(s, &w->head));
    w->physical = sizeof(raw);
    memcpy(w->prev, w->head.mac, sizeof(w->prev));
    memcpy(w->synced_tag, w->prev, sizeof(w->prev));
    buf_extend(&w->frame, STORE__FRAME_HEAD);
    *out = w;
    return RC_OK;
}

static RC unusable(const struct store__stream_writer *w, struct err *e)
{
    FAIL(e, w->ended ? ERR_IO : w->why, "file \"%s\" %s", w->path,
         w->ended                  ? "is closed"
         : w->why == ERR_DISK_FULL ? "could not be written before: no room"
                                   : "could not be written before");
}

/* The plaintext of w->frame becomes a frame in place and goes out in one write. */
static RC emit(struct store__stream_writer *w, uint32_t flags, struct err *e)
{
    size_t len = w->frame.len - STORE__FRAME_HEAD;
    uint8_t *p, mac[SHA256_LEN], nonce[AEAD_NONCE_LEN], aad[STORE__FRAME_AAD];
    struct slice parts[3];

    if (w->broken || w->ended)
        return unusable(w, e);
    if (w->frames == UINT32_MAX)
        FAIL(e, ERR_IO, "file \"%s\" is too long for one key", w->path);
    w->broken = true; /* until it is on its way */
    w->why = ERR_IO;
    buf_extend(&w->frame, STORE__TAG_LEN);
    p = w->frame.p;
    memcpy(p, w->keys.mark, 4);
    put_be32(p + STORE__F_LEN, (uint32_t)len);
    put_be32(p + STORE__F_FLAGS, flags);
    put_be32(p + STORE__F_INDEX, w->frames);
    put_be32(p + STORE__F_SYNCED, w->synced);
    put_be32(p + STORE__F_ZERO, 0);
    memcpy(p + STORE__F_PREV, w->prev, STORE__TAG_LEN);
    parts[0] = SLICE(p, STORE__F_TAIL);
    parts[1] = SLICE(p + STORE__F_PREV, STORE__TAG_LEN);
    parts[2] = SLICE(p + STORE__FRAME_HEAD, len);
    TRY(hmac_sha256(w->keys.nonce, parts, 3, mac, e));
    memcpy(p + STORE__F_TAIL, mac, 8);
    store__frame_nonce(p, nonce);
    store__frame_aad(&w->keys, p, aad);
    TRY(aead_seal(w->keys.data,
                  &(struct aead_seal){ .nonce = nonce,
                                       .aad = SLICE(aad, sizeof(aad)),
                                       .plain = parts[2],
                                       .out = p + STORE__FRAME_HEAD,
                                       .tag = p + STORE__FRAME_HEAD + len },
                  e));
    if (store__io_append(w->fd, w->path, w->role, p, w->frame.len, e).failed) {
        struct err ignored = { 0 };

        w->why = e->code == ERR_DISK_FULL ? ERR_DISK_FULL : ERR_IO;
        (void)store__io_truncate(w->fd, w->path, w->role, w->physical, &ignored)
            .failed; /* what stays behind is a torn tail */
        w->frame.len = STORE__FRAME_HEAD;
        return RC_FAILED;
    }
    memcpy(w->prev, p + STORE__FRAME_HEAD + len, STORE__TAG_LEN);
    w->physical += w->frame.len;
    w->frames++;
    w->frame.len = STORE__FRAME_HEAD;
    w->ended = flags & STORE__FRAME_END;
    w->data_unsynced |= !(flags & STORE__FRAME_MARK);
    w->broken = false;
    return RC_OK;
}

static RC flush(struct store__stream_writer *w, struct err *e)
{
    return w->frame.len > STORE__FRAME_HEAD ? emit(w, 0, e) : RC_OK;
}

RC store__stream_append(struct store__stream_writer *w, struct slice bytes, struct err *e)
{
    rc_t rc = RC_OK;

    mutex_lock(&w->mu);
    if (w->broken || w->ended)
        rc = unusable(w, e);
    while (!rc.failed && bytes.len > 0) {
        size_t room = STORE__FRAME_MAX + STORE__FRAME_HEAD - w->frame.len, n = MIN(room, bytes.len);

        buf_reserve(&w->frame, n + STORE__TAG_LEN);
        buf_push(&w->frame, bytes.p, n);
        w->logical += n;
        bytes = SLICE(bytes.p + n, bytes.len - n);
        if (n == room)
            rc = flush(w, e);
    }
    mutex_unlock(&w->mu);
    return rc;
}

RC store__stream_flush(struct store__stream_writer *w, struct err *e)
{
    rc_t rc;

    mutex_lock(&w->mu);
    rc = flush(w, e);
    mutex_unlock(&w->mu);
    return rc;
}

/* The system call runs outside of the lock: others append meanwhile. What they append is not counted as synced. */
static RC sync_upto_now(struct store__stream_writer *w, bool mark, struct err *e)
{
    uint8_t tag[STORE__TAG_LEN];
    uint32_t frames;
    rc_t rc = RC_OK;

    mutex_lock(&w->mu);
    if (w->sync_failed)
        rc = err_set(e, ERR_IO, __FILE__, __LINE__, "file \"%s\" could not be synced before",
                     w->path);
    else if (!w->broken)
        rc = flush(w, e);
    frames = w->frames;
    memcpy(tag, w->prev, sizeof(tag));
    w->data_unsynced = false;
    w->syncing += !rc.failed;
    mutex_unlock(&w->mu);
    if (rc.failed)
        return rc;
    rc = store__io_sync(w->fd, w->path, w->role, e);
    mutex_lock(&w->mu);
    w->syncing--;
    if (rc.failed) {
        w->why = ERR_IO;
        w->broken = w->sync_failed =
            /* the kernel may have dropped the pages: a later sync would promise what is gone */
            true;
    } else if (frames > w->synced) {
        w->synced = frames;
        memcpy(w->synced_tag, tag, sizeof(tag));
        if (mark && !is_small(w->role) && !w->broken && !w->ended &&
            w->frame.len == STORE__FRAME_HEAD) {
            struct err ignored = { 0 };

            (void)emit(w, STORE__FRAME_MARK, &ignored)
                /* a mark is a help for the reader, not a promise; the writer is broken now */
                .failed;
        }
    }
    mutex_unlock(&w->mu);
    return rc;
}

RC store__stream_close(struct store__stream_writer *w, struct err *e)
{
    rc_t rc;

    mutex_lock(&w->mu);
    if (w->ended) {
        mutex_unlock(&w->mu);
        return RC_OK;
    }
    mutex_unlock(&w->mu);
    if (!is_small(w->role)) /* END says that all before it is on disk */
        TRY(sync_upto_now(w, /* mark= */ false, e));
    mutex_lock(&w->mu);
    rc = w->broken ? RC_OK : flush(w, e);
    if (!rc.failed && !w->broken)
        rc = emit(w, STORE__FRAME_END, e);
    mutex_unlock(&w->mu);
    if (rc.failed)
        return rc;
    return sync_upto_now(w, /* mark= */ false, e);
}

RC store__stream_sync(struct store__stream_writer *w, struct err *e)
{
    if (is_small(
            /* the engine syncs them once, when they are complete, and does not always close them */
            w->role))
        return store__stream_close(w, e);
    return sync_upto_now(w, /* mark= */ true, e);
}

/* ---- another file in place of this one ----------------------------------------------------------------------------- */

RC store__stream_copy(const struct store__seal *s, const struct store__stream_source *from,
                      const char *to, struct store__stream_writer **out, struct err *e)
{
    struct store__stream_writer *w = NULL;
    struct store__stream *r;
    struct store__stream_end end;
    struct slice plain;
    bool more = true;
    rc_t rc;

    *out = NULL;
    TRY(store__stream_open(s, from->path, from->role, from->number, &r, e));
    if (from->limit)
        store__stream_limit(r, from->limit);
    rc = store__stream_create(s, to, from->role, from->number, &w, e);
    while (!rc.failed && more) {
        rc = store__stream_next(r, &plain, &more, e);
        if (!rc.failed && more)
            rc = store__stream_append(w, plain, e);
    }
    store__stream_state(r, &end);
    store__stream_free(r);
    if (!rc.failed)
        rc = end.reach.ended ? store__stream_close(w, e) : store__stream_sync(w, e);
    if (rc.failed) {
        store__stream_writer_free(w);
        return rc;
    }
    *out = w;
    return RC_OK;
}

bool store__stream_hold(struct store__stream_writer *w) TS_NO_ANALYSIS
{
    struct err ignored = { 0 };

    mutex_lock(&w->mu);
    if (!w->broken && !w->ended && !w->sync_failed && !w->syncing && !flush(w, &ignored).failed)
        return true;
    mutex_unlock(&w->mu);
    return false;
}

uint64_t store__stream_held_size(const struct store__stream_writer *w)
{
    return w->physical;
}

void store__stream_become(struct store__stream_writer *w, struct store__stream_writer *fresh)
{
    struct store__keys keys = w->keys;
    int fd = w->fd;

    INVARIANT(w->logical == fresh->logical && w->frame.len == STORE__FRAME_HEAD);
    w->keys = fresh->keys;
    fresh->keys = keys;
    w->fd = fresh->fd;
    fresh->fd = fd;
    w->head = fresh->head;
    memcpy(w->prev, fresh->prev, sizeof(w->prev));
    memcpy(w->synced_tag, fresh->synced_tag, sizeof(w->synced_tag));
    w->frames = fresh->frames;
    w->synced = fresh->synced;
    w->physical = fresh->physical;
    w->data_unsynced = fresh->data_unsynced;
    w->broken = fresh->broken;
    w->why = fresh->why;
}

void store__stream_poison(struct store__stream_writer *w)
{
    w->broken = w->sync_failed = true;
    w->why = ERR_IO;
}

void store__stream_release(struct store__stream_writer *w) TS_NO_ANALYSIS
{
    mutex_unlock(&w->mu);
}

uint64_t store__stream_length(struct store__stream_writer *w)
{
    uint64_t n;

    mutex_lock(&w->mu);
    n = w->logical;
    mutex_unlock(&w->mu);
    return n;
}

uint64_t store__stream_physical(struct store__stream_writer *w)
{
    uint64_t n;

    mutex_lock(&w->mu);
    n = w->physical;
    mutex_unlock(&w->mu);
    return n;
}

void store__stream_reach(struct store__stream_writer *w, struct store__reach *r, uint64_t *emitted)
{
    mutex_lock(&w->mu);
    r->frames = w->synced;
    r->ended = w->ended && w->synced == w->frames;
    memcpy(r->tag, w->synced_tag, sizeof(r->tag));
    if (emitted)
        *emitted = w->physical;
    mutex_unlock(&w->mu);
}

bool store__stream_unsynced(struct store__stream_writer *w)
{
    bool is;

    mutex_lock(&w->mu);
    is = w->data_unsynced && !w->sync_failed;
    mutex_unlock(&w->mu);
    return is;
}

const struct store__header *store__stream_header(const struct store__stream_writer *w)
{
    return &w->head;
}

void store__stream_writer_free(struct store__stream_writer *w)
{
    if (!w)
        return;
    fd_close(w->fd);
    store__keys_fini(&w->keys);
    buf_wipe(&w->frame);
    mutex_fini(&w->mu);
    mem_free(w->path);
    mem_free(w);
}
