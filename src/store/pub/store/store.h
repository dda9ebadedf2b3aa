/* store.h - ordered keys and values, transactional, durable, sealed.
 *
 * Model    A store has four spaces (column families). A table is an 8-byte ident, big-endian, at the head of each key of its space;
 *          idents come from store_new_ident() and are never reused. Keys are ordered by bytes.
 *          A transaction is snapshot isolation: reads see the snapshot taken at begin plus own writes; a write to a key that another transaction
 *          holds, or changed since, fails at once with ERR_WRITE_CONFLICT.
 * Durable  store_commit(.., STORE_SYNC) returns after the journal is on disk, by group commit; STORE_NOSYNC after the write.
 * Sealed   Everything in the directory is encrypted and authenticated (docs/formats/store.md). Damage is ERR_CORRUPT, ERR_TORN, ERR_STALE, ERR_WRONG_KEY or
 *          ERR_FOREIGN_FILE; never wrong data.
 * Threads  A store is shared [any]. A transaction, a cursor: one thread at a time, not bound to one thread.
 * Order    Close cursors and transactions before store_close().
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct keyring;
struct store;
struct store_txn;
struct store_cursor;
struct store_snapshot;

enum store_space { STORE_META, STORE_RECORDS, STORE_INDEXES, STORE_OPLOG, STORE_SPACE_NR };
enum store_durability {
    STORE_NOSYNC,
    STORE_SYNC
}; /* STORE_NOSYNC reaches the disk within anchor_interval_us */
enum {
    STORE_IDENT_LEN = 8,
    STORE_ID_LEN = 16,
    STORE_IDENT_FIRST =
        /* store_new_ident() starts here; 1 to 1023 are for tables whose ident is fixed in the code; 0 is the store's own */
    1024,
};

/* What the store noticed and its owner should log. The store itself logs nothing; text is file names, sizes and causes, never keys or values. */
enum store_event {
    STORE_EV_TORN_TAIL,     /* open: the unacknowledged end of a journal was cut off */
    STORE_EV_LEFTOVER,      /* open: an unfinished file of a crash was removed */
    STORE_EV_READ_ONLY,     /* writes are refused from now on: room or disk */
    STORE_EV_WRITABLE,      /* and accepted again */
    STORE_EV_FATAL,         /* the engine stopped: close and open again */
    STORE_EV_ANCHOR_FAILED, /* the anchor could not be renewed; it is tried again */
    STORE_EV_ENGINE, /* the engine wrote an error to its log: only the constant part of the text */
    STORE_EV_NR,
};
typedef void (*store_event_fn)(void *arg, enum store_event ev,
                               const char *text); /* [any thread]; must not call the store */

struct store_config {
    const char *dir;
    struct keyring *keyring; /* referenced */
    int64_t cache_bytes;     /* block cache */
    int64_t memtable_bytes;
    int64_t max_txn_bytes; /* a larger transaction fails with ERR_LOC(257) TransactionTooLarge */
    int64_t anchor_interval_us,
        anchor_bytes;       /* the journal's anchor is renewed at the latest after so much */
    int64_t reserve_bytes;  /* free room below which writes are refused with ERR_DISK_FULL */
    int64_t journal_keep_s; /* closed journals are kept so long in archive/; 0 = not at all */
    uint64_t
        /* of the key envelope at hand: older than the anchor remembers is ERR_ENVELOPE_STALE; 0 = not compared */
        envelope_seq;
    uint64_t
        /* what is remembered outside of a counter of the anchor: one with a lower counter is ERR_STALE; 0 = not compared */
        anchor_floor;
    /* it may be lower for this once, and goes on from there: for what is restored on purpose */
    bool anchor_raise;
    bool create; /* make a new store when the directory holds none; else that is ERR_NOT_FOUND */
    bool null_cipher;        /* only a build linked with the null cipher accepts this */
    store_event_fn on_event; /* may be NULL */
    void *event_arg;
};

/* store_open(): takes the directory lock first (ERR_DIRECTORY_BUSY), then refuses foreign files, authenticates the anchor, every small file, every journal and
 * every header, and cuts off a torn tail. Nothing is written before all that has passed.
 * Errors: ERR_CORRUPT, ERR_STALE, ERR_WRONG_KEY, ERR_MISSING_GENERATION, ERR_FOREIGN_FILE, ERR_UNKNOWN_FORMAT, ERR_ENVELOPE_STALE, ERR_CONFIG. */
RC store_open(const struct store_config *c, struct store **out, struct err *e);
/* store_close(): syncs the journal; flushes nothing else. The handle is gone even when it fails. NULL is fine. */
RC store_close(struct store *s, struct err *e);
void store_id(const struct store *s, uint8_t out[STORE_ID_LEN]);
/* store_pin_envelope(): remember, durably, that the key envelope has reached seq: an older one is refused from now on. */
RC store_pin_envelope(struct store *s, uint64_t seq, struct err *e);
RC store_new_ident(struct store *s, uint64_t *out, struct err *e);

/* Transactions. store_abort() accepts NULL and finished ones; both end the handle. Errors of writes: ERR_WRITE_CONFLICT, ERR_LOC(257)
 * (max_txn_bytes), ERR_DISK_FULL, ERR_IO, ERR_ENGINE_FATAL. A transaction that only reads costs more than store_snapshot(): prefer that. */
RC store_begin(struct store *s, struct store_txn **out, struct err *e);
RC store_commit(struct store_txn **t, enum store_durability d,
                struct err *e); /* *t is NULL afterwards in any case */
void store_abort(struct store_txn **t);
/* store_savepoint() / store_rollback(): undo the writes since the newest savepoint, and forget it. store_savepoint_keep() forgets it and keeps the writes. */
void store_savepoint(struct store_txn *t);
RC store_rollback(struct store_txn *t, struct err *e);
void store_savepoint_keep(struct store_txn *t);

/* store_get(): *value borrows from the pin (no copy) and is valid until the pin is used again or released, whatever becomes of t.
 * A pin starts zeroed ("struct store_pin pin = { 0 };"); release it before store_close().
 * Errors: ERR_NOT_FOUND. */
struct store_pin {
    void *impl[20];
};
RC store_get(struct store_txn *t, enum store_space sp, struct slice key, struct store_pin *pin,
             struct slice *value, struct err *e);
void store_pin_release(struct store_pin *pin); /* zeroed pins are fine */
/* store_get_for_update(): also locks the key until the end, present or not (a unique index's probe). */
RC store_get_for_update(struct store_txn *t, enum store_space sp, struct slice key,
                        struct store_pin *pin, struct slice *value, struct err *e);
RC store_put(struct store_txn *t, enum store_space sp, struct slice key, struct slice value,
             struct err *e);
RC store_del(struct store_txn *t, enum store_space sp, struct slice key, struct err *e);

/* Cursors read t's snapshot and writes (or, with t NULL, a snapshot: store_snapshot()). Bounds are borrowed until close:
 * lower inclusive, upper exclusive; an empty slice is open. A new cursor stands before the first entry: call store_cursor_first() or _last() or _seek(). */
struct store_cursor_opts {
    enum store_space space;
    struct slice lower, upper;
    bool fill_cache; /* false for a long scan that nobody repeats */
    bool long_scan;  /* read ahead */
};
/* A cursor sees the writes of t made before it was opened; whether it sees later ones is not said (collect, then write). */
RC store_cursor_open(struct store *s, struct store_txn *t, struct store_snapshot *snap,
                     const struct store_cursor_opts *o, struct store_cursor **out, struct err *e);
void store_cursor_close(struct store_cursor *c);
void store_cursor_closep(struct store_cursor **c);
/* Each sets *valid to false at the end. key and value are valid until the cursor moves or closes. */
RC store_cursor_first(struct store_cursor *c, bool *valid, struct err *e);
RC store_cursor_last(struct store_cursor *c, bool *valid, struct err *e);
RC store_cursor_seek(struct store_cursor *c, struct slice key, bool *valid,
                     struct err *e); /* first >= key */
RC store_cursor_seek_for_prev(struct store_cursor *c, struct slice key, bool *valid,
                              struct err *e); /* last <= key */
RC store_cursor_next(struct store_cursor *c, bool *valid, struct err *e);
RC store_cursor_prev(struct store_cursor *c, bool *valid, struct err *e);
struct slice store_cursor_key(const struct store_cursor *c);
struct slice store_cursor_value(const struct store_cursor *c);

/* Snapshots for reads outside of a transaction. Cursors keep reading it after the release; release them before store_close(). */
struct store_snapshot *store_snapshot(struct store *s);
void store_snapshot_release(struct store_snapshot *snap);
RC store_snapshot_get(struct store *s, struct store_snapshot *snap, enum store_space sp,
                      struct slice key, struct store_pin *pin, struct slice *value, struct err *e);

/* Whether a long call may go on: its caller's patience, as an error. */
typedef rc_t (*store_check_fn)(void *arg, struct err *e);

/* store_drop_range(): delete every key in [lower, upper) of a space, durably, outside of transactions (a dropped table). */
RC store_drop_range(struct store *s, enum store_space sp, struct slice lower, struct slice upper,
                    struct err *e);
/* store_compact_range(): rewrite what is in [lower, upper) without what was deleted or replaced; [long]. Readers and writers go on. check, which may be NULL,
 * is asked before it begins and some times a second: when it fails, the work ends early, and so does the call, with check's error. */
RC store_compact_range(struct store *s, enum store_space sp, struct slice lower, struct slice upper,
                       store_check_fn check, void *check_arg, struct err *e);
/* store_checkpoint(): a consistent copy in a directory that does not exist yet (hard links where it can), encrypted as it is, with its own anchor;
 * [long]. It opens like any store. A directory without ANCHOR is one that was not finished. */
RC store_checkpoint(struct store *s, const char *dir, struct err *e);
RC store_sync(struct store *s, struct err *e);  /* journal to disk, no flush */
RC store_flush(struct store *s, struct err *e); /* memtables to files */
RC store_resume(struct store *s,
                struct err *e); /* after ERR_DISK_FULL, once there is room; also tried by itself */

struct store_stats {
    uint64_t data_bytes, journal_bytes, memtable_bytes, cache_bytes, n_files, free_bytes;
    uint64_t
        /* of the last anchor that is on disk */
        anchor_counter;
    bool read_only; /* writes are refused at present (disk full, I/O error) */
    bool fatal;     /* the engine stopped: close and open again */
};
void store_stats(struct store *s, struct store_stats *out);
/* store_anchor_durable(): rises with each anchor, after it is on disk: keep it outside, and give it as anchor_floor, to notice an older image. [any thread] */
uint64_t store_anchor_durable(struct store *s);
/* store_range_size(): estimate of bytes on disk and of keys in [lower, upper). */
void store_range_size(struct store *s, enum store_space sp, struct slice lower, struct slice upper,
                      uint64_t *bytes);

/* Census: what is on disk under each key generation, from the headers of the files; archived journals included. store_census_dir() does the same for a
 * checkpoint (a file hard-linked into it counts there too). Rows are ascending; ERR_EXCEEDED_MEMORY_LIMIT when max is too small. */
struct store_census_row {
    uint32_t gen;
    uint64_t n_files, bytes;
};
RC store_census(struct store *s, struct store_census_row *rows, int max, int *n, struct err *e);
RC store_census_dir(const char *dir, struct store_census_row *rows, int max, int *n, struct err *e);

/* Re-encryption: everything that is not under the key ring's current generation is written anew under it, file by file, while the store is in use. Tables go through
 * the engine's compaction, one after the other; the journal by a flush; manifest, CURRENT, OPTIONS, IDENTITY and archived journals are copied and take the
 * old ones' names. Nothing of it needs to be remembered: what is left to do stands in the files, and a crash at any point leaves old or new ones.
 * Room: at most one job at a time, so the size of the largest table (64 MB), or of all of level 0 and what it overlaps (some hundred MB), on top of the data; and
 * the old files stay while an open cursor reads them. Without that room it waits.
 *
 * store_rewrite(): returns when the census counts nothing under other generations (*done), or after store_rewrite_stop(). One thread at a time. [long]
 * Errors: those of reading and writing files; what was done stays done, and it can be called again. */
enum store_rewrite_state {
    STORE_RW_IDLE,    /* store_rewrite() is not running */
    STORE_RW_RUNNING, /* a file is being written */
    STORE_RW_PAUSED,
    STORE_RW_NO_ROOM, /* waits for room on the disk */
    STORE_RW_HELD,    /* all is rewritten; open cursors, or the engine, still hold old files */
};
const char *store_rewrite_state_name(enum store_rewrite_state st); /* "idle", "running", ... */
struct store_rewrite_status {
    enum store_rewrite_state state;
    uint32_t gen;                    /* the one that all is to be under */
    uint64_t files_left, bytes_left; /* under others, by the last look at the disk */
    uint64_t files_done, bytes_done; /* rewritten since the store was opened */
    uint64_t bytes_per_s;            /* measured, while running */
    uint64_t left_us;                /* estimate from that; 0 when there is none */
};
RC store_rewrite(struct store *s, bool *done, struct err *e);
void store_rewrite_stop(struct store *s); /* for good, and waits; before store_close() */
/* store_rewrite_set(): how fast at the most, in bytes written a second (0: as fast as it can), and whether it pauses, after the file at hand. [any time] */
void store_rewrite_set(struct store *s, uint64_t bytes_per_s, bool paused);
void store_rewrite_status(struct store *s, struct store_rewrite_status *out);

/* Spill: an unnamed, sealed temporary file (O_TMPFILE) under the process's spill key; written once from the front, then read from the front, as often as needed. */
struct store_spill;
RC store_spill_new(struct store *s, struct store_spill **out, struct err *e);
RC store_spill_write(struct store_spill *sp, struct slice bytes, struct err *e);
RC store_spill_rewind(struct store_spill *sp, struct err *e); /* ends writing */
RC store_spill_read(struct store_spill *sp, void *out, size_t len, size_t *got,
                    struct err *e); /* *got < len only at the end */
void store_spill_free(struct store_spill *sp);

#endif
