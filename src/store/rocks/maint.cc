/* maint.cc - durability on demand, idents, dropping, copies, numbers. */
#include "rocks.h"

#include <atomic>
#include <cstring>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/metadata.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/version.h>
#if ROCKSDB_MAJOR >= 8 /* where the members of a cache went */
#include <rocksdb/advanced_cache.h>
#endif

extern "C" {
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/thread.h"
#include "keys/keyring.h"
#include "spill_priv.h"
}

using rocksdb::Status;

namespace {

enum { IDENT_BATCH = 64, COMPACT_LOOK_US = 50000 };

/* Key of the counter: ident 0 belongs to the store itself. */
const rocksdb::Slice ident_key("\0\0\0\0\0\0\0\0ident", 13);

rc_t result(const Status &st, const char *what, struct err *e)
{
    return st.ok() ? RC_OK : store_rocks::from_status(st, what, e);
}

/* Promise the next idents to the disk before one is given out. */
rc_t reserve_idents(struct store *s, struct err *e)
{
    rocksdb::WriteOptions w;
    std::string text;
    uint8_t value[8];
    uint64_t next = STORE_IDENT_FIRST;
    Status st = s->db->Get(rocksdb::ReadOptions(), s->cf[STORE_META], ident_key, &text);

    if (!st.ok() && !st.IsNotFound())
        return result(st, "read the ident counter", e);
    if (st.ok()) {
        if (text.size() != sizeof(value))
            FAIL(e, ERR_CORRUPT, "the ident counter is malformed");
        next = get_be64(reinterpret_cast<const uint8_t *>(text.data()));
    }
    put_be64(value, next + IDENT_BATCH);
    w.sync = true;
    TRY(store__writable(s, e));
    TRY(result(s->db->Put(w, s->cf[STORE_META], ident_key,
                          rocksdb::Slice(reinterpret_cast<char *>(value), sizeof(value))),
               "write the ident counter", e));
    s->ident_next = next;
    s->ident_end = next + IDENT_BATCH;
    return RC_OK;
}

} /* namespace */

extern "C" RC store_new_ident(struct store *s, uint64_t *out, struct err *e)
{
    rc_t rc = RC_OK;

    *out = 0;
    mutex_lock(&s->ident_mu);
    if (s->ident_next == s->ident_end)
        rc = reserve_idents(s, e);
    if (!rc.failed)
        *out = s->ident_next++;
    mutex_unlock(&s->ident_mu);
    return rc;
}

extern "C" RC store_sync(struct store *s, struct err *e)
{
    /* Not through the engine, whose writer asserts when a write of its failed before. With every commit it has handed over all that it has. */
    TRY(store__anchor_sync_journals(s->shared->anchor, nullptr, e));
    if (s->shared->fatal)
        FAIL(e, ERR_ENGINE_FATAL,
             "the storage engine stopped after an error; the store must be opened again");
    return RC_OK;
}

extern "C" RC store_flush(struct store *s, struct err *e)
{
    std::vector<rocksdb::ColumnFamilyHandle *> all(s->cf, s->cf + STORE_SPACE_NR);
    rocksdb::FlushOptions o;

    TRY(store__writable(s, e));
    o.wait = true;
    o.allow_write_stall = true;
    return result(s->db->Flush(o, all), "flush", e);
}

extern "C" RC store_drop_range(struct store *s, enum store_space sp, struct slice lower,
                               struct slice upper, struct err *e)
{
    rocksdb::TransactionDBWriteOptimizations direct;
    rocksdb::WriteOptions w;
    rocksdb::WriteBatch batch;

    TRY(store__writable(s, e));
    w.sync = true;
    direct.skip_concurrency_control =
        true; /* idents are never used again: nobody else writes there */
    TRY(result(batch.DeleteRange(s->cf[sp], store_rocks::to_slice(lower),
                                 store_rocks::to_slice(upper)),
               "drop", e));
    TRY(result(s->db->Write(w, direct, &batch), "drop", e));
    return RC_OK;
}

namespace {

/* A compaction in a thread of its own, since the engine's call cannot be asked to look around. */
struct Compaction {
    struct store *s;
    rocksdb::ColumnFamilyHandle *cf;
    rocksdb::Slice from, to;
    std::atomic<bool> canceled{ false };
    struct mutex mu;
    struct cond cond;
    bool over = false; /* guarded by mu, as is st */
    Status st;
};

void *compact(void *arg)
{
    Compaction *c = static_cast<Compaction *>(arg);
    rocksdb::CompactRangeOptions o;
    Status st;

    o.exclusive_manual_compaction = false;
    o.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kIfHaveCompactionFilter;
    o.canceled = &c->canceled;
    int sys = fault_hit("store.compact");
    st = sys ? Status::IOError("compact", strerror(sys))
             : c->s->db->CompactRange(o, c->cf, &c->from, &c->to);
    mutex_lock(&c->mu);
    c->over = true;
    c->st = st;
    cond_signal(&c->cond);
    mutex_unlock(&c->mu);
    return nullptr;
}

/* Until it is over, whatever check says: then it is over soon. */
rc_t watch(Compaction *c, store_check_fn check, void *check_arg, struct err *e)
{
    rc_t rc = RC_OK;

    mutex_lock(&c->mu);
    while (!c->over) {
        if (cond_wait_until(&c->cond, &c->mu, clock_mono_us() + COMPACT_LOOK_US) || !check ||
            rc.failed)
            continue;
        mutex_unlock(&c->mu);
        rc = check(check_arg, e);
        if (rc.failed)
            c->canceled = true;
        mutex_lock(&c->mu);
    }
    mutex_unlock(&c->mu);
    return rc;
}

} /* namespace */

extern "C" RC store_compact_range(struct store *s, enum store_space sp, struct slice lower,
                                  struct slice upper, store_check_fn check, void *check_arg,
                                  struct err *e)
{
    Compaction c;
    pthread_t t;

    TRY(store__writable(s, e));
    if (check)
        TRY(check(check_arg, e));
    c.s = s;
    c.cf = s->cf[sp];
    c.from = store_rocks::to_slice(lower);
    c.to = store_rocks::to_slice(upper);
    mutex_init(&c.mu);
    cond_init(&c.cond);
    rc_t rc = RC_OK;
    if (thread_try_start("compact", compact, &c, &t)) {
        rc = watch(&c, check, check_arg, e);
        thread_join(t);
    } else {
        compact(&c);
    }
    mutex_fini(&c.mu);
    cond_fini(&c.cond);
    TRY(rc);
    return result(c.st, "compact", e);
}

extern "C" RC store_checkpoint(struct store *s, const char *dir, struct err *e)
{
    std::unique_ptr<rocksdb::Checkpoint> point;
    rocksdb::Checkpoint *raw = nullptr;
    std::string path = dir;

    if (path.empty() || path[0] != '/')
        FAIL(e, ERR_CONFIG, "the directory of a checkpoint must be an absolute path");
    while (path.size() > 1 && path.back() == '/')
        path.pop_back();
    if (path_exists(path.c_str()))
        FAIL(e, ERR_CONFIG, "\"%s\" exists already", dir);
    if (path.compare(0, s->shared->dir.size() + 1, s->shared->dir + "/") == 0)
        FAIL(e, ERR_CONFIG, "a checkpoint cannot stand in the data directory");
    TRY(store__writable(s, e));
    TRY(result(rocksdb::Checkpoint::Create(s->db, &raw), "make a checkpoint", e));
    point.reset(raw);
    mutex_lock(&s->files_mu);
    Status made = point->CreateCheckpoint(path);
    mutex_unlock(&s->files_mu);
    TRY(result(made, "make a checkpoint", e));
    /* The anchor comes last: a copy without it was not finished. */
    return store__dir_anchor(&s->shared->seal, path.c_str(),
                             store__anchor_counter(s->shared->anchor),
                             store__anchor_envelope(s->shared->anchor), e);
}

extern "C" uint64_t store_anchor_durable(struct store *s)
{
    return store__anchor_durable(s->shared->anchor);
}

extern "C" void store_stats(struct store *s, struct store_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (int i = 0; i < STORE_SPACE_NR; i++) {
        rocksdb::ColumnFamilyMetaData meta;
        uint64_t v;

        s->db->GetColumnFamilyMetaData(s->cf[i], &meta);
        out->data_bytes += meta.size;
        out->n_files += meta.file_count;
        if (s->db->GetIntProperty(s->cf[i], rocksdb::DB::Properties::kSizeAllMemTables, &v))
            out->memtable_bytes += v;
    }
    out->journal_bytes = store__anchor_journal_bytes(s->shared->anchor);
    out->cache_bytes = s->cache->GetUsage();
    out->free_bytes = s->shared->free_bytes;
    out->anchor_counter = store__anchor_durable(s->shared->anchor);
    out->fatal = s->shared->fatal;
    out->read_only = s->shared->read_only || s->shared->low_room || s->shared->fatal;
}

extern "C" void store_range_size(struct store *s, enum store_space sp, struct slice lower,
                                 struct slice upper, uint64_t *bytes)
{
    rocksdb::Range r(store_rocks::to_slice(lower), store_rocks::to_slice(upper));
    rocksdb::SizeApproximationOptions o;

    *bytes = 0;
    o.include_memtables = true;
    o.include_files = true;
    if (!s->db->GetApproximateSizes(o, s->cf[sp], &r, 1, bytes).ok())
        *bytes = 0; /* an estimate that can't be made is none */
}

extern "C" RC store_census(struct store *s, struct store_census_row *rows, int max, int *n,
                           struct err *e)
{
    return store_census_dir(s->shared->dir.c_str(), rows, max, n, e);
}

extern "C" RC store_spill_new(struct store *s, struct store_spill **out, struct err *e)
{
    return store__spill_open(s->shared->dir.c_str(), s->spill_key, out, e);
}
