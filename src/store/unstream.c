/* unstream.c - reading streams, and telling a torn tail from damage.
 *
 * Frames are read in order; each must continue the chain. At the first that does not:
 *   - it authenticates by itself (it carries the tag of its predecessor): it was moved, repeated or its predecessor was dropped       -> damage
 *   - a later frame authenticates and says that this one was on disk (synced > index), or is the END                                  -> damage
 *   - otherwise                                                                                                                        -> torn tail: the end of the file
 * What a cut at a frame's border removes can't be seen here; the anchor sees it.
 *
 * The search for later frames looks for the file's keyed mark at every byte, and opens at most SCAN_MAX bytes of candidates: more can only be the work of
 * somebody who wants us to spend time, hence damage.
 */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "stream_priv.h"

enum { WINDOW = 256 << 10 };
#define SCAN_MAX (UINT64_C(256) << 20)

struct store__stream {
    int fd;
    char *path;
    struct store__header head;
    struct store__keys keys;
    enum store__role role;
    uint64_t size;    /* bytes that may be read */
    uint64_t at;      /* where the next frame starts */
    uint64_t logical; /* plaintext bytes so far */
    uint8_t prev[STORE__TAG_LEN];
    uint32_t frames;
    bool
        /* size was set by store__stream_limit(): what lies behind is none of our business */
        limited;
    bool ended, stopped;
    struct buf window; /* bytes of the file from window_at on */
    uint64_t window_at;
    struct buf plain;
};

struct frame {
    const uint8_t *p; /* head, ciphertext, tag */
    uint32_t len, flags, index, synced;
};

/* View len bytes at off, or fewer at the end of the file. Valid until the next call. */
static RC view(struct store__stream *s, uint64_t off, size_t len, struct slice *out, struct err *e)
{
    *out = SLICE_EMPTY;
    if (off >= s->size)
        return RC_OK;
    len = (size_t)MIN((uint64_t)len, s->size - off);
    if (off < s->window_at || off + len > s->window_at + s->window.len) {
        size_t want = (size_t)MIN((uint64_t)MAX(len, (size_t)WINDOW), s->size - off), got;

        buf_clear(&s->window);
        s->window_at = off;
        TRY(store__io_pread(s->fd, s->path, s->role, off, buf_extend(&s->window, want), want, &got,
                            e));
        s->window.len = got;
        len = MIN(len, got);
    }
    *out = SLICE(s->window.p + (off - s->window_at), len);
    return RC_OK;
}

/* Parse a head. False when it cannot be one. */
static bool frame_head(const struct store__stream *s, struct slice head, struct frame *f)
{
    if (head.len < STORE__FRAME_HEAD || memcmp(head.p, s->keys.mark, 4) != 0)
        return false;
    f->len = get_be32(head.p + STORE__F_LEN);
    f->flags = get_be32(head.p + STORE__F_FLAGS);
    f->index = get_be32(head.p + STORE__F_INDEX);
    f->synced = get_be32(head.p + STORE__F_SYNCED);
    return f->len <= STORE__FRAME_MAX && get_be32(head.p + STORE__F_ZERO) == 0 &&
           !(f->flags & ~(uint32_t)(STORE__FRAME_END | STORE__FRAME_MARK));
}

/* Open the frame at off by itself, to s->plain. *ok is false when there is none. */
static RC frame_at(struct store__stream *s, uint64_t off, struct frame *f, bool *ok, struct err *e)
{
    uint8_t nonce[AEAD_NONCE_LEN], aad[STORE__FRAME_AAD];
    struct err mine = { 0 };
    struct slice v;
    size_t whole;

    *ok = false;
    TRY(view(s, off, STORE__FRAME_HEAD, &v, e));
    if (!frame_head(s, v, f))
        return RC_OK;
    whole = STORE__FRAME_HEAD + (size_t)f->len + STORE__TAG_LEN;
    TRY(view(s, off, whole, &v, e));
    if (v.len < whole)
        return RC_OK;
    f->p = v.p;
    store__frame_nonce(f->p, nonce);
    store__frame_aad(&s->keys, f->p, aad);
    buf_clear(&s->plain);
    if (aead_open(s->keys.data,
                  &(struct aead_open){ .nonce = nonce,
                                       .aad = SLICE(aad, sizeof(aad)),
                                       .cipher = SLICE(f->p + STORE__FRAME_HEAD, f->len),
                                       .tag = f->p + STORE__FRAME_HEAD + f->len,
                                       .out = buf_extend(&s->plain, f->len) },
                  &mine)
            .failed) {
        buf_clear(&s->plain);
        if (mine.code != ERR_CORRUPT)
            return err_take(e, &mine);
        return RC_OK;
    }
    *ok = true;
    return RC_OK;
}

static RC damaged(const struct store__stream *s, const char *how, struct err *e)
{
    FAIL(e, ERR_CORRUPT, "file \"%s\" is damaged at frame %u, byte %llu: %s", s->path, s->frames,
         (unsigned long long)s->at, how);
}

/* There is no good frame at s->at. Look for one behind it that says that there was. */
static RC torn_or_damaged(struct store__stream *s, struct err *e)
{
    uint64_t opened = 0;
    struct frame f = { 0 };
    struct slice v;
    bool ok;

    for (uint64_t off = s->at + 1; off + STORE__FRAME_HEAD + STORE__TAG_LEN <= s->size;) {
        const uint8_t *hit;

        TRY(view(s, off, WINDOW, &v, e));
        hit = v.len >= 4 ? (const uint8_t *)memmem(v.p, v.len, s->keys.mark, 4) : NULL;
        if (!hit) {
            off += v.len > 3 ? v.len - 3 : s->size - off; /* a mark may lie across the border */
            continue;
        }
        off += (uint64_t)(hit - v.p);
        TRY(frame_at(s, off, &f, &ok, e));
        if (ok && (f.synced > s->frames || (f.flags & STORE__FRAME_END)))
            return damaged(s, "a later frame says that this one was on disk", e);
        opened += f.len <= STORE__FRAME_MAX ? f.len + STORE__FRAME_HEAD : STORE__FRAME_HEAD;
        if (opened > SCAN_MAX)
            return damaged(s, "too many pieces of frames behind it", e);
        off += ok ? STORE__FRAME_HEAD + (uint64_t)f.len + STORE__TAG_LEN : 1;
    }
    return RC_OK;
}

RC store__stream_next(struct store__stream *s, struct slice *plain, bool *more, struct err *e)
{
    struct frame f = { 0 };
    bool ok;

    *plain = SLICE_EMPTY;
    *more = false;
    if (s->stopped || s->at >= s->size) {
        s->stopped = !s->limited || s->stopped;
        return RC_OK;
    }
    TRY(frame_at(s, s->at, &f, &ok, e));
    if (ok && (f.index != s->frames || memcmp(f.p + STORE__F_PREV, s->prev, STORE__TAG_LEN) != 0))
        return damaged(s, "a frame stands in another's place", e);
    if (!ok) {
        TRY(torn_or_damaged(s, e));
        s->stopped = true;
        return RC_OK;
    }
    memcpy(s->prev, f.p + STORE__FRAME_HEAD + f.len, STORE__TAG_LEN);
    s->frames++;
    s->at += STORE__FRAME_HEAD + (uint64_t)f.len + STORE__TAG_LEN;
    s->logical += f.len;
    if (f.flags & STORE__FRAME_END) {
        s->ended = s->stopped = true;
        if (s->at < s->size && !s->limited)
            return damaged(s, "something follows the end", e);
        return RC_OK;
    }
    *plain = buf_view(&s->plain);
    *more = true;
    return RC_OK;
}

void store__stream_limit(struct store__stream *s, uint64_t physical)
{
    s->limited = true;
    s->size = physical;
    if (s->window_at + s->window.len > physical || s->window.len == 0)
        buf_clear(&s->window);
}

void store__stream_state(const struct store__stream *s, struct store__stream_end *end)
{
    end->reach.frames = s->frames;
    end->reach.ended = s->ended;
    memcpy(end->reach.tag, s->prev, sizeof(end->reach.tag));
    end->physical = s->at;
    end->logical = s->logical;
    end->torn = s->size > s->at ? s->size - s->at : 0;
}

const struct store__header *store__stream_head(const struct store__stream *s)
{
    return &s->head;
}

static RC open_fd(const struct store__seal *seal, struct store__stream *s, uint64_t number,
                  struct err *e)
{
    uint8_t raw[STORE__HEADER_LEN];
    size_t got;

    TRY(store__io_size(s->fd, s->path, &s->size, e));
    TRY(store__io_pread(s->fd, s->path, s->role, 0, raw, sizeof(raw), &got, e));
    TRY(store__header_verify(seal->keys, seal->alg, seal->id, SLICE(raw, got), s->path, &s->head,
                             e));
    TRY(store__header_expect(&s->head, s->role, number, s->path, e));
    TRY(store__keys_derive(seal->keys, &s->head, raw, &s->keys, e));
    memcpy(s->prev, s->head.mac, sizeof(s->prev));
    s->at = sizeof(raw);
    return RC_OK;
}

RC store__stream_open_fd(const struct store__seal *seal, int fd, const char *name,
                         enum store__role role, uint64_t number, struct store__stream **out,
                         struct err *e)
{
    struct store__stream *s = NEW(struct store__stream);

    *out = NULL;
    s->fd = fd;
    s->role = role;
    s->path = mem_strdup(name);
    if (open_fd(seal, s, number, e).failed) {
        s->fd = -1; /* stays the caller's */
        store__stream_free(s);
        return RC_FAILED;
    }
    *out = s;
    return RC_OK;
}

RC store__stream_open(const struct store__seal *seal, const char *path, enum store__role role,
                      uint64_t number, struct store__stream **out, struct err *e)
{
    AUTO(fd_closep) int fd = -1;

    *out = NULL;
    TRY(store__io_open(path, role, &fd, e));
    TRY(store__stream_open_fd(seal, fd, path, role, number, out, e));
    fd = -1;
    return RC_OK;
}

void store__stream_free(struct store__stream *s)
{
    if (!s)
        return;
    fd_close(s->fd);
    store__keys_fini(&s->keys);
    buf_fini(&s->window);
    buf_wipe(&s->plain);
    mem_free(s->path);
    mem_free(s);
}

RC store__small_read(const struct store__seal *seal, const char *path, enum store__role role,
                     uint64_t number, size_t max, struct buf *out, struct err *e)
{
    struct store__stream *s;
    struct slice plain;
    bool more;
    rc_t rc;

    TRY(store__stream_open(seal, path, role, number, &s, e));
    do {
        rc = store__stream_next(s, &plain, &more, e);
        if (!rc.failed && more)
            buf_push(out, plain.p, plain.len);
        if (!rc.failed && out->len > max)
            rc = err_set(e, ERR_CORRUPT, __FILE__, __LINE__,
                         "file \"%s\" is longer than any such file", path);
    } while (!rc.failed && more);
    if (!rc.failed && !s->ended)
        rc = err_set(e, ERR_CORRUPT, __FILE__, __LINE__, "file \"%s\" has no end", path);
    store__stream_free(s);
    if (rc.failed)
        buf_wipe(out);
    return rc;
}
