/* rocks.h - what the engine adapter's files share. Everything here is C++ and nothing of it leaves this directory.
 *
 * The adapter is the only code that sees RocksDB. It holds no database logic and no sealing: it maps calls and errors, sets every option
 * explicitly (two releases of the library have different defaults), and hands files to the sealing layouts.
 */
#ifndef STORE_ROCKS_ROCKS_H
#define STORE_ROCKS_ROCKS_H

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <pthread.h>
#include <string.h>

#include <rocksdb/file_system.h>
#include <rocksdb/listener.h>
#include <rocksdb/utilities/transaction.h>
#include <rocksdb/utilities/transaction_db.h>

#include <rocksdb/utilities/write_batch_with_index.h>

extern "C" {
#include "base/err.h"
#include "base/slice.h"
#include "base/thread.h"
#include "store/store.h"
#include "store_priv.h"
}

namespace store_rocks {

/* What the file system, the listener and the store share. Outlives the engine. */
struct Shared {
    struct store__seal seal = {};
    std::string dir;
    struct store__anchor *anchor = nullptr;
    uint64_t reserve_bytes = 0;
    store_event_fn on_event = nullptr;
    void *event_arg = nullptr;
    std::atomic<bool> read_only{ false }, fatal{ false }, low_room{ false };
    /* A manifest could not be written: what it says on disk is not known, and no table may be deleted until there is a new one. The engine knows that of its own
     * compactions, but not of those that it is asked for. */
    std::atomic<bool> manifest_doubt{ false };
    std::atomic<bool> stalled{ false }; /* the engine's background work stopped for want of room */
    std::atomic<uint64_t> free_bytes{ 0 };

    void event(enum store_event ev, const char *text) const
    {
        if (on_event)
            on_event(event_arg, ev, text);
    }
};

/* ---- status.cc: errors of ours through the engine and back ------------------------------------------------------- */

/* to_io(): ours, as the engine wants it; the code travels in the text. as_io: never Corruption (the engine asserts on IDENTITY). */
rocksdb::IOStatus to_io(const struct err &e, bool as_io = false);
/* from_status(): FAIL with the code that st stands for. what says what could not be done. */
rc_t from_status(const rocksdb::Status &st, const char *what, struct err *e);

/* A struct err of its own, for a call. */
class Err {
  public:
    Err()
    {
        memset(&e_, 0, sizeof(e_));
    }
    ~Err()
    {
        err_reset(&e_);
    }
    Err(const Err &) = delete;
    Err &operator=(const Err &) = delete;
    operator struct err *()
    {
        return &e_;
    }
    const struct err &get() const
    {
        return e_;
    }
    rocksdb::IOStatus io(bool as_io = false) const
    {
        return to_io(e_, as_io);
    }

  private:
    struct err e_;
};

/* ---- files.cc: handles; each takes what it is given ---------------------------------------------- */

std::unique_ptr<rocksdb::FSWritableFile> table_writer(struct store__block_writer *w);
std::unique_ptr<rocksdb::FSRandomAccessFile> table_reader(struct store__block *b);
std::unique_ptr<rocksdb::FSSequentialFile> table_scanner(struct store__block *b);
/* anchored: the anchor pins it. ours: a file of the open store, which may be in writing. */
std::unique_ptr<rocksdb::FSWritableFile> stream_writer(const std::shared_ptr<Shared> &shared,
                                                       struct store__stream_writer *w,
                                                       enum store__role role, bool anchored);
std::unique_ptr<rocksdb::FSSequentialFile> stream_reader(const std::shared_ptr<Shared> &shared,
                                                         struct store__stream *s,
                                                         enum store__role role, uint64_t number,
                                                         bool ours);
std::unique_ptr<rocksdb::FSWritableFile> frozen_stream(uint64_t length);
std::unique_ptr<rocksdb::FSRandomAccessFile> memory_file(std::string &&text);

/* ---- fs.cc ------------------------------------------------------------------------------------------------------- */

std::shared_ptr<rocksdb::FileSystem> make_file_system(const std::shared_ptr<Shared> &shared);

/* ---- engine.cc: what the library is handed ------------------------------------------------------------------------ */

std::shared_ptr<rocksdb::TransactionDBMutexFactory> make_mutex_factory();
std::shared_ptr<rocksdb::Logger> make_logger(const std::shared_ptr<Shared> &shared);
std::shared_ptr<rocksdb::EventListener> make_listener(const std::shared_ptr<Shared> &shared);

enum { TABLE_BYTES = 64 << 20 }; /* how large a table is to become, whoever writes it */

/* ---- rewrite.cc: re-encryption ------------------------------------------------------------------------------------- */

struct Rewriter {
    struct mutex mu;
    struct cond cond;
    bool running = false, stop = false, paused = false; /* guarded by mu */
    bool full = false; /* the rewriting thread's: the job at hand found no room */
    /* guarded by mu: bytes a second, 0 = none */
    uint64_t limit = 0;
    struct store_rewrite_status status = {}; /* guarded by mu */
    /* guarded by mu: where the rate is measured from */
    uint64_t started_us = 0, started_bytes = 0;
    uint64_t next_us = 0;       /* guarded by mu: when the next bytes may be written */
    uint64_t next_flush_us = 0; /* the rewriting thread's */
};

/* pace(): called with each piece that a table grows by; only the thread that rewrites waits. False when it is to stop: given_up() then ends its compaction, which the
 * engine takes for no error. table_failed(): want of room ends it in the same way, where it would be a fatal error of a compaction; every other error, and every
 * other thread's, is passed on. */
class Err;
bool pace(size_t bytes);
rocksdb::IOStatus given_up();
rocksdb::IOStatus table_failed(const Err &e);

inline rocksdb::Slice to_slice(struct slice s)
{
    return rocksdb::Slice(reinterpret_cast<const char *>(
                              s.p ? s.p : reinterpret_cast<const uint8_t *>("")),
                          s.len);
}

inline struct slice from_slice(const rocksdb::Slice &s)
{
    return SLICE(s.data(), s.size());
}

} /* namespace store_rocks */

/* The store. Fields are set at open and only read afterwards, but for those with a lock. */
struct store {
    std::shared_ptr<store_rocks::Shared> shared;
    struct keyring *keyring = nullptr;
    struct secret *spill_key = nullptr;
    int lock_fd = -1;
    std::unique_ptr<rocksdb::Env> env;
    rocksdb::TransactionDB *db = nullptr;
    std::shared_ptr<rocksdb::Cache> cache;
    std::vector<rocksdb::CompressionType> compressions;
    rocksdb::ColumnFamilyHandle *cf[STORE_SPACE_NR] = {};
    rocksdb::TransactionOptions txn_options;
    uint64_t anchor_bytes = 0, anchor_interval_us = 0;

    struct mutex pool_mu;
    std::vector<rocksdb::Transaction *>
        pool; /* guarded by pool_mu: finished transactions to use again */

    struct mutex ident_mu;
    uint64_t ident_next = 0,
             ident_end = 0; /* guarded by ident_mu: idents promised to the disk and not given out */

    store_rocks::Rewriter rw;
    struct mutex files_mu; /* a copy of the files and the replacing of files exclude each other */

    struct mutex tick_mu;
    struct cond tick_cond;
    pthread_t tick_thread = {};
    bool ticking = false, stop = false; /* guarded by tick_mu */
};

struct store_snapshot {
    struct store *s;
    const rocksdb::Snapshot *snap;
};

struct store_txn {
    struct store *s;
    rocksdb::Transaction *t;
    rocksdb::ReadOptions ro;
};

/* store__writable(): may this store be written now? ERR_DISK_FULL, ERR_ENGINE_FATAL. */
extern "C" rc_t store__writable(struct store *s, struct err *e);
/* tick.cc */
void store__tick_start(struct store *s);
void store__tick_stop(struct store *s);
/* store__room(): look at the free room, and say when it crosses the reserve. */
void store__room(struct store *s);

#endif
