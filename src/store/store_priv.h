/* store_priv.h - what the files of this module share: the sealing layouts (C) and what the engine adapter (rocks/, C++) uses of them.
 *
 * Model    header.c turns 128 bytes into keys. block.c writes and reads table files, stream.c every other file. io.c is the only place that
 *          makes a system call that can fail for want of room or by a bad disk: every call there is a fault point. anchor.c remembers how far each
 *          stream reaches. dir.c knows the names, takes the lock, and examines a directory before the engine sees it.
 * Format   docs/formats/store.md. Nothing here is overlaid on bytes.
 * Locks    anchor -> stream writer. Neither is held while calling the engine.
 */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/slice.h"
#include "base/thread.h"
#include "store/store.h"

struct aead_key;
struct keyring;
struct secret;

enum {
    STORE__HEADER_LEN = 128,
    STORE__SALT_LEN = 32,
    STORE__CHECK_LEN = 8,
    STORE__MAC_LEN = 32,
    STORE__TAG_LEN = 16,
    STORE__CHUNK = 4096,        /* plaintext bytes in a chunk of a block file */
    STORE__FRAME_HEAD = 48,     /* before the ciphertext of a frame */
    STORE__FRAME_MAX = 1 << 20, /* plaintext bytes in a frame */
    STORE__NAME_MAX = 64,
};

enum store__layout { STORE__BLOCK = 1, STORE__STREAM = 2 };
enum store__role {
    STORE__TABLE = 1,
    STORE__JOURNAL = 2,
    STORE__MANIFEST = 3,
    STORE__CURRENT = 4,
    STORE__OPTIONS = 5,
    STORE__IDENTITY = 6,
    STORE__ANCHOR = 7,
    STORE__ROLE_NR,
};
enum store__alg { STORE__ALG_AES_256_GCM = 1, STORE__ALG_NULL = 255 };

/* What every file of one store shares. Immutable once the store is open. */
struct store__seal {
    struct keyring *keys; /* referenced by the owner */
    uint8_t id[STORE_ID_LEN];
    uint8_t alg; /* of this build: enum store__alg */
};

/* ---- header.c ---------------------------------------------------------------------------------------------------- */

struct store__header {
    uint8_t alg, layout, role;
    uint32_t gen, chunk;
    uint64_t number;
    uint8_t id[STORE_ID_LEN], salt[STORE__SALT_LEN], check[STORE__CHECK_LEN], mac[STORE__MAC_LEN];
};

/* Keys of one open file. */
struct store__keys {
    struct aead_key *data;
    struct secret *nonce; /* streams only */
    uint8_t mark[4];      /* streams only: what a frame starts with */
    uint8_t mac[STORE__MAC_LEN];
};

uint8_t store__build_alg(void);
/* store__header_make(): a header for a new file under the current generation, with a new salt. */
RC store__header_make(const struct store__seal *s, enum store__role role, uint64_t number,
                      uint8_t raw[STORE__HEADER_LEN], struct store__header *h, struct err *e);
/* store__header_current(): is h's generation still the one for new files? Asked once the header stands on disk: then a census that follows a change of generations
 * sees every file that is under the old one. */
bool store__header_current(const struct store__seal *s, const struct store__header *h);
/* store__header_parse(): the fields, without any key. Errors: ERR_FOREIGN_FILE, ERR_UNKNOWN_FORMAT, ERR_CORRUPT. name is for messages. */
RC store__header_parse(struct slice raw, const char *name, struct store__header *h, struct err *e);
/* store__header_verify(): parse, and authenticate. want_id may be NULL (the anchor, before the store's id is known).
 * Errors: also ERR_WRONG_KEY, ERR_MISSING_GENERATION. */
RC store__header_verify(struct keyring *keys, uint8_t alg, const uint8_t *want_id, struct slice raw,
                        const char *name, struct store__header *h, struct err *e);
/* store__header_expect(): is it the file that its name says? number is not compared for roles without one. */
RC store__header_expect(const struct store__header *h, enum store__role role, uint64_t number,
                        const char *name, struct err *e);
RC store__keys_derive(struct keyring *keys, const struct store__header *h,
                      const uint8_t raw[STORE__HEADER_LEN], struct store__keys *k, struct err *e);
void store__keys_fini(struct store__keys *k);
enum store__layout store__role_layout(enum store__role role);
bool store__role_numbered(enum store__role role);

/* ---- io.c -------------------------------------------------------------------------------------------------------- */

/* Each is a fault point "fs.OP" and "fs.OP.KIND", KIND being table, journal, manifest, small or anchor. path is for messages. */
RC store__io_create(const char *path, enum store__role role, int *fd, struct err *e);
RC store__io_open(const char *path, enum store__role role, int *fd, struct err *e);
RC store__io_size(int fd, const char *path, uint64_t *size, struct err *e);
RC store__io_append(int fd, const char *path, enum store__role role, const void *p, size_t len,
                    struct err *e);
RC store__io_pread(int fd, const char *path, enum store__role role, uint64_t off, void *p,
                   size_t len, size_t *got, struct err *e);
RC store__io_sync(int fd, const char *path, enum store__role role, struct err *e);
RC store__io_truncate(int fd, const char *path, enum store__role role, uint64_t len, struct err *e);
RC store__io_rename(const char *from, const char *to, enum store__role role, struct err *e);
RC store__io_unlink(const char *path, enum store__role role, struct err *e);
RC store__io_link(const char *from, const char *to, enum store__role role, struct err *e);
RC store__io_dir_sync(const char *dir, struct err *e);
RC store__io_free_bytes(
    const char *dir, uint64_t *bytes,
    struct err *e); /* fault point fs.free: the errno is taken as "0 bytes free" */

/* ---- block.c ----------------------------------------------------------------------------------------------------- */

struct store__block_writer;
struct store__block;

RC store__block_create(const struct store__seal *s, const char *path, uint64_t number,
                       struct store__block_writer **out, struct err *e);
RC store__block_append(struct store__block_writer *w, struct slice bytes, struct err *e);
/* store__block_sync(): seals the last chunk: nothing can be appended afterwards. */
RC store__block_sync(struct store__block_writer *w, struct err *e);
RC store__block_close(struct store__block_writer *w, struct err *e); /* seals; does not sync */
uint64_t store__block_length(const struct store__block_writer *w);
void store__block_writer_free(struct store__block_writer *w);

/* store__block_open(): authenticates the header and the last chunk. path's name gives the messages. */
RC store__block_open(const struct store__seal *s, const char *path, uint64_t number,
                     struct store__block **out, struct err *e);
RC store__block_open_fd(const struct store__seal *s, int fd, const char *name, uint64_t number,
                        struct store__block **out, struct err *e); /* takes fd on success */
RC store__block_read(struct store__block *b, uint64_t off, size_t len, void *out, size_t *got,
                     struct err *e); /* [any] */
void store__block_prefetch(struct store__block *b, uint64_t off, size_t len);
uint64_t store__block_size(const struct store__block *b);
void store__block_free(struct store__block *b);
/* store__block_logical(): plaintext bytes in a block file of so many bytes; false when no such file can exist. */
bool store__block_logical(uint64_t physical, uint64_t *logical);

/* ---- stream.c ---------------------------------------------------------------------------------------------------- */

struct store__stream_writer;
struct store__stream;

/* How far a stream reaches: the first `frames` frames, of which the last one's tag is `tag` (the header MAC's head when 0). */
struct store__reach {
    uint32_t frames;
    bool ended; /* the last one is an END frame */
    uint8_t tag[STORE__TAG_LEN];
};

/* store__stream_create(): the header is written and synced before it returns. */
RC store__stream_create(const struct store__seal *s, const char *path, enum store__role role,
                        uint64_t number, struct store__stream_writer **out, struct err *e);
RC store__stream_append(struct store__stream_writer *w, struct slice bytes,
                        struct err *e);                                /* [any] buffers */
RC store__stream_flush(struct store__stream_writer *w, struct err *e); /* [any] emits a frame */
RC store__stream_sync(struct store__stream_writer *w,
                      struct err *e); /* [any] flush, to disk, sync mark */
RC store__stream_close(struct store__stream_writer *w, struct err *e); /* sync, END frame, sync */
uint64_t store__stream_length(struct store__stream_writer *w);         /* [any] plaintext bytes */
uint64_t store__stream_physical(
    struct store__stream_writer *w); /* [any] bytes that hold whole frames */
/* store__stream_reach(): what is on disk for certain, and how many bytes were emitted since the start. [any] */
void store__stream_reach(struct store__stream_writer *w, struct store__reach *r, uint64_t *emitted);
bool store__stream_unsynced(struct store__stream_writer *w); /* [any] */
const struct store__header *store__stream_header(const struct store__stream_writer *w);
/* Putting another file in place of one, with the same text under another key.
 * store__stream_copy(): a new file with the text of a whole one (its first limit bytes, unless 0), on disk when it returns. */
struct store__stream_source {
    const char *path;
    enum store__role role;
    uint64_t number, limit;
};
RC store__stream_copy(const struct store__seal *s, const struct store__stream_source *from,
                      const char *to, struct store__stream_writer **out, struct err *e);
/* store__stream_hold(): nothing is appended or synced until store__stream_release(); all that was appended is in the file. False, and not held, when that
 * cannot be had now. While it is held: store__stream_become() makes w go on writing fresh's file; store__stream_poison(): nothing may be written any more. */
bool store__stream_hold(struct store__stream_writer *w);
uint64_t store__stream_held_size(const struct store__stream_writer *w);
void store__stream_become(struct store__stream_writer *w, struct store__stream_writer *fresh);
void store__stream_poison(struct store__stream_writer *w);
void store__stream_release(struct store__stream_writer *w);
void store__stream_writer_free(struct store__stream_writer *w);

RC store__stream_open(const struct store__seal *s, const char *path, enum store__role role,
                      uint64_t number, struct store__stream **out, struct err *e);
RC store__stream_open_fd(const struct store__seal *s, int fd, const char *name,
                         enum store__role role, uint64_t number, struct store__stream **out,
                         struct err *e); /* takes fd on success */
/* store__stream_limit(): do not look past so many bytes (a file that is being written). */
void store__stream_limit(struct store__stream *s, uint64_t physical);
/* store__stream_next(): the next frame's plaintext (may be empty), valid until the next call; *more is false at the end of what can be trusted.
 * Errors: ERR_CORRUPT when something that was on disk for certain is damaged or missing. */
RC store__stream_next(struct store__stream *s, struct slice *plain, bool *more, struct err *e);
struct store__stream_end {
    struct store__reach reach;
    uint64_t physical, logical; /* bytes up to there */
    uint64_t torn;              /* bytes behind it that hold no frame that counts */
};
/* store__stream_state(): where the reader stands; final after *more was false. */
void store__stream_state(const struct store__stream *s, struct store__stream_end *end);
const struct store__header *store__stream_head(const struct store__stream *s);
void store__stream_free(struct store__stream *s);

/* store__small_read(): a whole small file; it must end with an END frame. */
RC store__small_read(const struct store__seal *s, const char *path, enum store__role role,
                     uint64_t number, size_t max, struct buf *out, struct err *e);

/* ---- anchor.c ---------------------------------------------------------------------------------------------------- */

enum store__pin_state {
    STORE__PIN_LIVE = 0,
    STORE__PIN_ARCHIVED = 1,
    STORE__PIN_DOOMED = 2,
    STORE__PIN_SUCCESSOR = 3, /* of another pin's file: about to take its place */
};

struct store__pin {
    uint8_t role, state;
    uint64_t number;
    uint8_t salt[STORE__SALT_LEN];
    struct store__reach reach;
    struct store__stream_writer *writer; /* while it is being written; not stored */
};

struct store__anchor_data {
    uint64_t counter, envelope_seq;
    uint64_t current, next; /* numbers of the manifests that CURRENT may name; 0 = none */
    struct store__pin *pins;
    uint32_t n, cap;
};

struct store__anchor;

/* Encoding, for anchor.c and its fuzz target. */
void store__anchor_encode(const struct store__anchor_data *d, struct buf *out);
RC store__anchor_decode(struct slice in, struct store__anchor_data *d, struct err *e);
void store__anchor_data_fini(struct store__anchor_data *d);

/* store__anchor_load(): reads DIR/ANCHOR; id (16 bytes) is set from its header. ERR_STALE when there is none. */
RC store__anchor_load(struct keyring *keys, uint8_t alg, const char *dir, uint8_t *id,
                      struct store__anchor_data *d, struct err *e);
/* store__anchor_store(): temporary file, sync, rename, sync of the directory. */
RC store__anchor_store(const struct store__seal *s, const char *dir,
                       const struct store__anchor_data *d, struct err *e);

/* The live anchor of an open store. [any] */
RC store__anchor_new(const struct store__seal *s, const char *dir, struct store__anchor_data *d,
                     struct store__anchor **out); /* empties *d */
void store__anchor_free(struct store__anchor *a);
RC store__anchor_write(struct store__anchor *a, struct err *e);
RC store__anchor_created(struct store__anchor *a, struct store__stream_writer *w, struct err *e);
RC store__anchor_closed(struct store__anchor *a, struct store__stream_writer *w, struct err *e);
void store__anchor_abandoned(
    struct store__anchor *a,
    struct store__stream_writer *w); /* the writer goes away without a close */
RC store__anchor_before_delete(struct store__anchor *a, enum store__role role, uint64_t number,
                               struct err *e);
void store__anchor_deleted(struct store__anchor *a, enum store__role role, uint64_t number);
RC store__anchor_before_archive(struct store__anchor *a, uint64_t number, struct err *e);
RC store__anchor_before_current(struct store__anchor *a, uint64_t manifest, struct err *e);
void store__anchor_current_set(struct store__anchor *a, uint64_t manifest);
RC store__anchor_set_envelope(struct store__anchor *a, uint64_t seq, struct err *e);
uint64_t store__anchor_envelope(struct store__anchor *a);
uint64_t store__anchor_counter(struct store__anchor *a);
/* store__anchor_durable(): the counter of the last anchor that this one has written, and that is on disk: the other rises before that. 0 = none yet */
uint64_t store__anchor_durable(struct store__anchor *a);
uint64_t store__anchor_journal_bytes(
    struct store__anchor *a); /* of the journals open for writing */
/* store__anchor_reseal(): the file of a pin that nobody else moves now (a manifest in writing, an archived journal) is replaced by one with the same text under the
 * current generation; temp is written first. *done is false when that cannot be had at this moment. ERR_ENGINE_FATAL: it is not known which of the two the
 * disk holds; nothing may be written any more. store__anchor_reseal_small(): the same for CURRENT, OPTIONS and IDENTITY. */
RC store__anchor_reseal(struct store__anchor *a, const struct store__stream_source *file,
                        const char *temp, bool *done, struct err *e);
RC store__anchor_reseal_small(struct store__anchor *a, enum store__role role, const char *path,
                              const char *temp, bool *done, struct err *e);
/* store__anchor_sync_journals(): every journal but `except` is on disk when it returns. */
RC store__anchor_sync_journals(struct store__anchor *a, const struct store__stream_writer *except,
                               struct err *e);
/* store__anchor_renew(): sync the journals that are behind, and write the anchor if anything moved. */
RC store__anchor_renew(struct store__anchor *a, struct err *e);
/* store__anchor_due(): have the journals grown by more than bytes since the anchor was written? */
bool store__anchor_due(struct store__anchor *a, uint64_t bytes);
/* store__anchor_live_size(): plaintext and physical bytes of a stream open for writing; false when it is not. */
bool store__anchor_live_size(struct store__anchor *a, enum store__role role, uint64_t number,
                             uint64_t *logical, uint64_t *physical);

/* ---- dir.c ------------------------------------------------------------------------------------------------------- */

enum store__kind {
    STORE__K_SEALED, /* carries a header: role and number are set */
    STORE__K_TEMP,   /* a leftover of ours: carries a header if it carries anything */
    STORE__K_LOCK,
    STORE__K_ARCHIVE, /* the directory of closed journals */
    STORE__K_FOREIGN,
};
struct store__name {
    enum store__kind kind;
    enum store__role role;
    uint64_t number;
};
/* store__name_parse(): what is a file of this (base) name? Pure. */
void store__name_parse(const char *base, struct store__name *n);
void store__path_parse(const char *path,
                       struct store__name *n); /* the same for the last component of a path */

/* store__list_dir(): the names in a directory but "." and "..", sorted. Errors: ERR_NOT_FOUND, ERR_IO. */
struct store__listing {
    char **names;
    size_t n, cap;
};
RC store__list_dir(const char *dir, struct store__listing *l, struct err *e);
void store__listing_fini(struct store__listing *l);

/* store__dir_lock(): makes LOCK if needed and holds flock on it until the fd is closed. ERR_DIRECTORY_BUSY. */
RC store__dir_lock(const char *dir, int *fd, struct err *e);

struct store__dir_report {
    bool exists; /* there is a store: an anchor that names a manifest */
    uint32_t n_torn;
    uint64_t torn_bytes;
};
/* store__dir_check(): refuse foreign files, load and check the anchor, authenticate every small file and every header. Repairs torn tails
 * (cuts them off) when repair is set. s->id is set. d is filled. on_torn is told each. */
struct store__examination {
    struct store__seal *seal;
    const char *dir;
    bool repair;
    uint64_t envelope_seq; /* of the envelope at hand; 0 = not compared */
    uint64_t anchor_floor; /* a lower counter is ERR_STALE; 0 = not compared */
    store_event_fn on_event;
    void *event_arg;
};
RC store__dir_check(const struct store__examination *c, struct store__anchor_data *d,
                    struct store__dir_report *r, struct err *e);
/* store__dir_anchor(): pin the streams of a directory that was just copied, and write its ANCHOR. */
RC store__dir_anchor(const struct store__seal *s, const char *dir, uint64_t counter,
                     uint64_t envelope_seq, struct err *e);
/* store__file_generation(): what its header says; 0 when it holds nothing or is not there. */
RC store__file_generation(const char *path, enum store__role role, uint32_t *gen, uint64_t *size,
                          struct err *e);
/* store__dir_census(): add what the headers say; checkpoints and archives are walked by the caller. */
RC store__dir_census(const char *dir, struct store_census_row *rows, int max, int *n,
                     struct err *e);

#endif
