/* anchor.c - the file that remembers how far every stream reaches.
 *
 * Encryption and chaining can't show that the end of a file was cut off, that the newest journal is missing, or that a whole file was put back to an older state.
 * The anchor can: it pins each stream {role, number, salt, frames, tag}, what CURRENT may name, the envelope's sequence and a counter.
 *
 * Plaintext of its one frame (big-endian)
 *    0  8 counter            24  8 next manifest, 0 = none      40 + 72 n  1 role      16 32 salt      56 16 tag
 *    8  8 envelope sequence  32  4 number of pins                      +1  1 state     48  4 frames
 *   16  8 current manifest   36  4 zero                                +8  8 number    52  4 1 = ended
 *
 * Order    sync the file -> write the anchor -> delete what it no longer needs. A stream is listed before its first frame: the header is synced, then the
 *          anchor written, then the engine gets it. CURRENT: the new manifest is listed as `next`, CURRENT renamed, and at the next writing it is `current`.
 *          Deleting: the pin is marked doomed, the anchor written, the file unlinked. So after a crash every file is known.
 * Locks    mu, then a writer's. mu is held during the writing, which makes writers of the anchor follow one another.
 */
#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "store_priv.h"

enum {
    A_COUNTER = 0,
    A_ENVELOPE = 8,
    A_CURRENT = 16,
    A_NEXT = 24,
    A_N = 32,
    A_ZERO = 36,
    A_PINS = 40
};
enum {
    P_ROLE = 0,
    P_STATE = 1,
    P_ZERO = 2,
    P_NUMBER = 8,
    P_SALT = 16,
    P_FRAMES = 48,
    P_ENDED = 52,
    P_TAG = 56,
    PIN_LEN = 72
};
enum { PINS_MAX = 100000, SMALL_MAX = 16 << 20 };
static_assert(P_TAG + STORE__TAG_LEN == PIN_LEN && P_SALT + STORE__SALT_LEN == P_FRAMES,
              "offset table");

struct store__anchor {
    struct mutex mu;
    const struct store__seal *seal;
    char *dir;
    struct store__anchor_data d; /* guarded by mu */
    uint64_t durable;            /* guarded by mu: the counter of the last one that was written */
    uint64_t emitted;            /* guarded by mu: journal bytes when it was last written */
    bool dirty;                  /* guarded by mu: something changed that no writing has covered */
    bool frozen; /* guarded by mu: what is on disk must stay: see store__anchor_reseal() */
};

void store__anchor_data_fini(struct store__anchor_data *d)
{
    mem_free(d->pins);
    *d = (struct store__anchor_data){ 0 };
}

void store__anchor_encode(const struct store__anchor_data *d, struct buf *out)
{
    buf_push_be64(out, d->counter);
    buf_push_be64(out, d->envelope_seq);
    buf_push_be64(out, d->current);
    buf_push_be64(out, d->next);
    buf_push_be32(out, d->n);
    buf_push_be32(out, 0);
    for (uint32_t i = 0; i < d->n; i++) {
        const struct store__pin *p = &d->pins[i];

        buf_push_u8(out, p->role);
        buf_push_u8(out, p->state);
        memset(buf_extend(out, 6), 0, 6);
        buf_push_be64(out, p->number);
        buf_push(out, p->salt, sizeof(p->salt));
        buf_push_be32(out, p->reach.frames);
        buf_push_be32(out, p->reach.ended);
        buf_push(out, p->reach.tag, sizeof(p->reach.tag));
    }
}

RC store__anchor_decode(struct slice in, struct store__anchor_data *d, struct err *e)
{
    static const uint8_t zero[6] = { 0 };
    struct store__anchor_data got = { 0 };

    *d = (struct store__anchor_data){ 0 };
    if (in.len < A_PINS || get_be32(in.p + A_ZERO) != 0)
        FAIL(e, ERR_CORRUPT, "the anchor is malformed");
    got.counter = get_be64(in.p + A_COUNTER);
    got.envelope_seq = get_be64(in.p + A_ENVELOPE);
    got.current = get_be64(in.p + A_CURRENT);
    got.next = get_be64(in.p + A_NEXT);
    got.n = get_be32(in.p + A_N);
    if (got.n > PINS_MAX || in.len != A_PINS + (size_t)got.n * PIN_LEN)
        FAIL(e, ERR_CORRUPT, "the anchor is malformed");
    got.cap = got.n;
    got.pins = NEW_ARRAY(struct store__pin, MAX(got.n, 1u));
    for (uint32_t i = 0; i < got.n; i++) {
        const uint8_t *p = in.p + A_PINS + (size_t)i * PIN_LEN;
        struct store__pin *pin = &got.pins[i];

        pin->role = p[P_ROLE];
        pin->state = p[P_STATE];
        pin->number = get_be64(p + P_NUMBER);
        memcpy(pin->salt, p + P_SALT, sizeof(pin->salt));
        pin->reach.frames = get_be32(p + P_FRAMES);
        pin->reach.ended = get_be32(p + P_ENDED) == 1;
        memcpy(pin->reach.tag, p + P_TAG, sizeof(pin->reach.tag));
        if ((pin->role != STORE__JOURNAL && pin->role != STORE__MANIFEST) ||
            pin->state > STORE__PIN_SUCCESSOR || memcmp(p + P_ZERO, zero, sizeof(zero)) != 0 ||
            get_be32(p + P_ENDED) > 1) {
            store__anchor_data_fini(&got);
            FAIL(e, ERR_CORRUPT, "the anchor is malformed");
        }
    }
    *d = got;
    return RC_OK;
}

RC store__anchor_load(struct keyring *keys, uint8_t alg, const char *dir, uint8_t *id,
                      struct store__anchor_data *d, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/ANCHOR", dir);
    struct buf plain AUTO(buf_fini) = BUF_INIT;
    AUTO(fd_closep) int fd = -1;
    uint8_t raw[STORE__HEADER_LEN];
    struct store__header h;
    struct store__seal seal = { .keys = keys, .alg = alg };
    size_t got;

    *d = (struct store__anchor_data){ 0 };
    if (store__io_open(path, STORE__ANCHOR, &fd, e).failed)
        return RC_FAILED;
    TRY(store__io_pread(fd, path, STORE__ANCHOR, 0, raw, sizeof(raw), &got, e));
    TRY(store__header_verify(keys, alg, NULL, SLICE(raw, got), path, &h, e));
    memcpy(seal.id, h.id, STORE_ID_LEN);
    TRY(store__small_read(&seal, path, STORE__ANCHOR, 0, A_PINS + (size_t)PINS_MAX * PIN_LEN,
                          &plain, e));
    TRY(store__anchor_decode(buf_view(&plain), d, e));
    memcpy(id, h.id, STORE_ID_LEN);
    return RC_OK;
}

RC store__anchor_store(const struct store__seal *s, const char *dir,
                       const struct store__anchor_data *d, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/ANCHOR", dir);
    AUTO(mem_freep) char *temp = mem_printf("%s/ANCHOR.tmp", dir);
    struct buf plain AUTO(buf_fini) = BUF_INIT;
    struct store__stream_writer *w;
    rc_t rc;

    store__anchor_encode(d, &plain);
    TRY(store__stream_create(s, temp, STORE__ANCHOR, 0, &w, e));
    rc = store__stream_append(w, buf_view(&plain), e);
    if (!rc.failed)
        rc = store__stream_close(w, e);
    store__stream_writer_free(w);
    if (!rc.failed)
        rc = store__io_rename(temp, path, STORE__ANCHOR, e);
    if (!rc.failed)
        rc = store__io_dir_sync(dir, e);
    return rc;
}

/* ---- the live anchor --------------------------------------------------------------------------------------------- */

RC store__anchor_new(const struct store__seal *s, const char *dir, struct store__anchor_data *d,
                     struct store__anchor **out)
{
    struct store__anchor *a = NEW(struct store__anchor);

    mutex_init(&a->mu);
    a->seal = s;
    a->dir = mem_strdup(dir);
    a->d = *d;
    *d = (struct store__anchor_data){ 0 };
    *out = a;
    return RC_OK;
}

void store__anchor_free(struct store__anchor *a)
{
    if (!a)
        return;
    store__anchor_data_fini(&a->d);
    mutex_fini(&a->mu);
    mem_free(a->dir);
    mem_free(a);
}

static struct store__pin *find(struct store__anchor *a, enum store__role role, uint64_t number)
{
    for (uint32_t i = 0; i < a->d.n; i++)
        if (a->d.pins[i].role == (uint8_t)role && a->d.pins[i].number == number &&
            a->d.pins[i].state != STORE__PIN_SUCCESSOR)
            return &a->d.pins[i];
    return NULL;
}

static void forget(struct store__anchor *a, struct store__pin *p)
{
    *p = a->d.pins[--a->d.n];
}

/* Room for one more pin; moves the others. */
static struct store__pin *add(struct store__anchor *a)
{
    if (a->d.n == a->d.cap) {
        a->d.cap = MAX(16u, 2 * a->d.cap);
        a->d.pins = (struct store__pin *)mem_realloc(a->d.pins, a->d.cap * sizeof(*a->d.pins));
    }
    return &a->d.pins[a->d.n++];
}

/* Bring the pins up to what is on disk. True when one moved. */
static bool refresh(struct store__anchor *a, uint64_t *emitted)
{
    bool moved = false;

    *emitted = 0;
    for (uint32_t i = 0; i < a->d.n; i++) {
        struct store__pin *p = &a->d.pins[i];
        struct store__reach r;
        uint64_t bytes;

        if (!p->writer)
            continue;
        store__stream_reach(p->writer, &r, &bytes);
        if (p->role == STORE__JOURNAL)
            *emitted += bytes;
        moved |= r.frames != p->reach.frames || r.ended != p->reach.ended;
        p->reach = r;
    }
    return moved;
}

static RC write_locked(struct store__anchor *a, struct err *e)
{
    uint64_t emitted;

    if (a->frozen)
        FAIL(e, ERR_ENGINE_FATAL, "the anchor may not be written any more");
    (void)refresh(a, &emitted);
    a->dirty = true; /* until it is written */
    a->d.counter++;
    TRY(store__anchor_store(a->seal, a->dir, &a->d, e));
    a->durable = a->d.counter;
    a->emitted = emitted;
    a->dirty = false;
    return RC_OK;
}

RC store__anchor_write(struct store__anchor *a, struct err *e)
{
    rc_t rc;

    mutex_lock(&a->mu);
    rc = write_locked(a, e);
    mutex_unlock(&a->mu);
    return rc;
}

RC store__anchor_created(struct store__anchor *a, struct store__stream_writer *w, struct err *e)
{
    const struct store__header *h = store__stream_header(w);
    struct store__pin *p;
    rc_t rc;

    mutex_lock(&a->mu);
    p = find(a, (enum store__role)h->role, h->number);
    if (!p)
        p = add(a);
    *p = (struct store__pin){
        .role = h->role, .state = STORE__PIN_LIVE, .number = h->number, .writer = w
    };
    memcpy(p->salt, h->salt, sizeof(p->salt));
    rc = write_locked(a, e);
    if (rc.failed) { /* the engine will not get the file: it must not be expected either */
        p = find(a, (enum store__role)h->role, h->number);
        forget(a, p);
    }
    mutex_unlock(&a->mu);
    return rc;
}

RC store__anchor_closed(struct store__anchor *a, struct store__stream_writer *w, struct err *e)
{
    const struct store__header *h = store__stream_header(w);
    rc_t rc = RC_OK;

    mutex_lock(&a->mu);
    if (find(a, (enum store__role)h->role, h->number))
        rc = write_locked(a, e);
    mutex_unlock(&a->mu);
    return rc;
}

void store__anchor_abandoned(struct store__anchor *a, struct store__stream_writer *w)
{
    mutex_lock(&a->mu);
    for (uint32_t i = 0; i < a->d.n; i++) {
        if (a->d.pins[i].writer == w) {
            store__stream_reach(w, &a->d.pins[i].reach, NULL);
            a->d.pins[i].writer = NULL;
        }
    }
    mutex_unlock(&a->mu);
}

RC store__anchor_before_delete(struct store__anchor *a, enum store__role role, uint64_t number,
                               struct err *e)
{
    struct store__pin *p;
    rc_t rc = RC_OK;

    mutex_lock(&a->mu);
    p = find(a, role, number);
    if (p && p->state != STORE__PIN_DOOMED) {
        uint8_t was = p->state;

        p->state = STORE__PIN_DOOMED;
        rc = write_locked(a, e);
        if (rc.failed)
            p->state = was;
    }
    mutex_unlock(&a->mu);
    return rc;
}

void store__anchor_deleted(struct store__anchor *a, enum store__role role, uint64_t number)
{
    struct store__pin *p;

    mutex_lock(&a->mu);
    p = find(a, role, number);
    if (p) {
        forget(a, p);
        a->dirty = true;
    }
    mutex_unlock(&a->mu);
}

RC store__anchor_before_archive(struct store__anchor *a, uint64_t number, struct err *e)
{
    struct store__pin *p;
    rc_t rc = RC_OK;

    mutex_lock(&a->mu);
    p = find(a, STORE__JOURNAL, number);
    if (p && p->state == STORE__PIN_LIVE) {
        p->state = STORE__PIN_ARCHIVED;
        rc = write_locked(a, e);
        if (rc.failed)
            p->state = STORE__PIN_LIVE;
    }
    mutex_unlock(&a->mu);
    return rc;
}

RC store__anchor_before_current(struct store__anchor *a, uint64_t manifest, struct err *e)
{
    uint64_t was;
    rc_t rc;

    mutex_lock(&a->mu);
    was = a->d.next;
    a->d.next = manifest;
    rc = write_locked(a, e);
    if (rc.failed)
        a->d.next = was;
    mutex_unlock(&a->mu);
    return rc;
}

void store__anchor_current_set(struct store__anchor *a, uint64_t manifest)
{
    mutex_lock(&a->mu);
    a->d.current = manifest;
    a->d.next = 0;
    a->dirty = true;
    mutex_unlock(&a->mu);
}

RC store__anchor_set_envelope(struct store__anchor *a, uint64_t seq, struct err *e)
{
    uint64_t was;
    rc_t rc = RC_OK;

    mutex_lock(&a->mu);
    was = a->d.envelope_seq;
    if (seq < was) {
        rc = err_set(e, ERR_ENVELOPE_STALE, __FILE__, __LINE__,
                     "the key envelope is at %llu, the anchor remembers %llu",
                     (unsigned long long)seq, (unsigned long long)was);
    } else if (seq > was) {
        a->d.envelope_seq = seq;
        rc = write_locked(a, e);
        if (rc.failed)
            a->d.envelope_seq = was;
    }
    mutex_unlock(&a->mu);
    return rc;
}

uint64_t store__anchor_envelope(struct store__anchor *a)
{
    uint64_t v;

    mutex_lock(&a->mu);
    v = a->d.envelope_seq;
    mutex_unlock(&a->mu);
    return v;
}

uint64_t store__anchor_counter(struct store__anchor *a)
{
    uint64_t v;

    mutex_lock(&a->mu);
    v = a->d.counter;
    mutex_unlock(&a->mu);
    return v;
}

uint64_t store__anchor_durable(struct store__anchor *a)
{
    uint64_t v;

    mutex_lock(&a->mu);
    v = a->durable;
    mutex_unlock(&a->mu);
    return v;
}

/* A writer leaves only through store__anchor_abandoned(), which takes mu: so none goes away under this loop. */
static RC sync_journals_locked(struct store__anchor *a, const struct store__stream_writer *except,
                               struct err *e)
{
    for (uint32_t i = 0; i < a->d.n; i++) {
        struct store__pin *p = &a->d.pins[i];

        if (p->writer && p->writer != except && p->role == STORE__JOURNAL &&
            store__stream_unsynced(p->writer))
            TRY(store__stream_sync(p->writer, e));
    }
    return RC_OK;
}

RC store__anchor_sync_journals(struct store__anchor *a, const struct store__stream_writer *except,
                               struct err *e)
{
    rc_t rc;

    mutex_lock(&a->mu);
    rc = sync_journals_locked(a, except, e);
    mutex_unlock(&a->mu);
    return rc;
}

RC store__anchor_renew(struct store__anchor *a, struct err *e)
{
    uint64_t emitted;
    rc_t rc;

    mutex_lock(&a->mu);
    rc = sync_journals_locked(a, NULL, e);
    if (!rc.failed && (refresh(a, &emitted) || a->dirty))
        rc = write_locked(a, e);
    mutex_unlock(&a->mu);
    return rc;
}

static uint64_t journal_bytes(struct store__anchor *a)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < a->d.n; i++)
        if (a->d.pins[i].writer && a->d.pins[i].role == STORE__JOURNAL)
            n += store__stream_physical(a->d.pins[i].writer);
    return n;
}

uint64_t store__anchor_journal_bytes(struct store__anchor *a)
{
    uint64_t n;

    mutex_lock(&a->mu);
    n = journal_bytes(a);
    mutex_unlock(&a->mu);
    return n;
}

bool store__anchor_due(struct store__anchor *a, uint64_t bytes)
{
    uint64_t emitted;
    bool due;

    mutex_lock(&a->mu);
    emitted = journal_bytes(a);
    due = emitted > a->emitted && emitted - a->emitted > bytes;
    mutex_unlock(&a->mu);
    return due;
}

bool store__anchor_live_size(struct store__anchor *a, enum store__role role, uint64_t number,
                             uint64_t *logical, uint64_t *physical)
{
    struct store__pin *p;
    bool is;

    mutex_lock(&a->mu);
    p = find(a, role, number);
    is = p && p->writer;
    if (is) {
        *logical = store__stream_length(p->writer);
        *physical = store__stream_physical(p->writer);
    }
    mutex_unlock(&a->mu);
    return is;
}

/* ---- another file in place of one -------------------------------------------------------------------------------- */

static RC sync_parent(struct store__anchor *a, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    AUTO(mem_freep) char *parent = mem_strndup(path, (size_t)(slash - path));

    if (strcmp(parent, a->dir) != 0)
        TRY(store__io_dir_sync(parent, e));
    return store__io_dir_sync(a->dir, e);
}

/* The anchor lists both files, the new one takes the name, the anchor lists the new one alone. A crash leaves one of them, and an anchor that knows it. */
static RC exchange(struct store__anchor *a, const struct store__stream_source *file,
                   const char *temp, struct store__stream_writer *fresh, bool *renamed,
                   struct err *e)
{
    struct store__pin *next = add(a);
    rc_t rc;

    *renamed = false;
    *next = (struct store__pin){ .role = (uint8_t)file->role,
                                 .state = STORE__PIN_SUCCESSOR,
                                 .number = file->number };
    memcpy(next->salt, store__stream_header(fresh)->salt, sizeof(next->salt));
    store__stream_reach(fresh, &next->reach, NULL);
    rc = write_locked(a, e);
    if (!rc.failed)
        rc = store__io_rename(temp, file->path, file->role, e);
    *renamed = !rc.failed;
    if (!rc.failed && sync_parent(a, file->path, e).failed) {
        a->frozen = true;
        err_reset(e);
        rc = err_set(e, ERR_ENGINE_FATAL, __FILE__, __LINE__,
                     "it is not known whether file \"%s\" was replaced", file->path);
    }
    a->dirty = true;
    a->d.n--; /* the successor is the last one */
    return rc;
}

static RC reseal_locked(struct store__anchor *a, const struct store__stream_source *file,
                        const char *temp, struct store__stream_writer **fresh, bool *renamed,
                        struct err *e)
{
    struct store__pin *p = find(a, file->role, file->number);
    struct store__stream_writer *w = p->writer;
    struct store__stream_source from = *file;
    rc_t rc;

    if (w)
        from.limit = store__stream_held_size(w);
    TRY(store__stream_copy(a->seal, &from, temp, fresh, e));
    p->writer = NULL; /* it is held: its pin stays as it is */
    rc = exchange(a, file, temp, *fresh, renamed, e);
    p = find(a, file->role, file->number);
    p->writer = w;
    if (*renamed) {
        memcpy(p->salt, store__stream_header(*fresh)->salt, sizeof(p->salt));
        store__stream_reach(*fresh, &p->reach, NULL);
        if (w)
            store__stream_become(w, *fresh);
        if (w && rc.failed)
            store__stream_poison(w);
    }
    return rc;
}

RC store__anchor_reseal(struct store__anchor *a, const struct store__stream_source *file,
                        const char *temp, bool *done, struct err *e)
{
    struct store__stream_writer *w, *fresh = NULL;
    struct err ignored = { 0 };
    struct store__pin *p;
    bool renamed = false;
    rc_t rc;

    *done = false;
    mutex_lock(&a->mu);
    p = find(a, file->role, file->number);
    w = p ? p->writer : NULL;
    if (!p || p->state == STORE__PIN_DOOMED || (w && !store__stream_hold(w))) {
        mutex_unlock(&a->mu);
        return RC_OK;
    }
    rc = reseal_locked(a, file, temp, &fresh, &renamed, e);
    if (w)
        store__stream_release(w);
    if (!rc.failed)
        rc = write_locked(a, e);
    if (!renamed)
        (void)store__io_unlink(temp, file->role, &ignored).failed;
    mutex_unlock(&a->mu);
    store__stream_writer_free(fresh);
    *done = !rc.failed;
    return rc;
}

RC store__anchor_reseal_small(struct store__anchor *a, enum store__role role, const char *path,
                              const char *temp, bool *done, struct err *e)
{
    struct buf text AUTO(buf_fini) = BUF_INIT;
    struct store__stream_writer *w = NULL;
    struct err mine = { 0 };
    rc_t rc = RC_OK;

    *done = false;
    mutex_lock(&a->mu);
    if (role == STORE__CURRENT && a->d.next != 0) { /* the engine is about to replace it */
        mutex_unlock(&a->mu);
        return RC_OK;
    }
    rc = store__small_read(a->seal, path, role, 0, SMALL_MAX, &text, &mine);
    if (!rc.failed)
        rc = store__stream_create(a->seal, temp, role, 0, &w, &mine);
    if (!rc.failed)
        rc = store__stream_append(w, buf_view(&text), &mine);
    if (!rc.failed)
        rc = store__stream_close(w, &mine);
    store__stream_writer_free(w);
    if (!rc.failed)
        rc = store__io_rename(temp, path, role, &mine);
    if (!rc.failed)
        rc = sync_parent(a, path, &mine);
    mutex_unlock(&a->mu);
    if (rc.failed && mine.code == ERR_NOT_FOUND) /* the engine removed it meanwhile */
        return RC_OK;
    if (rc.failed)
        return err_take(e, &mine);
    *done = true;
    return RC_OK;
}
