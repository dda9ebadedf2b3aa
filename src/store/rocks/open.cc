/* open.cc - options, opening and closing.
 *
 * Order    directory lock; examination (dir.c), which refuses before anything is written; the anchor of a new store; the engine; free-room watch and anchor renewal.
 * Options  every option whose default differs between the two releases, or whose default would be wrong here, is set. Never kPointInTimeRecovery, which swallows authentication
 *          errors; never RepairDB or DestroyDB.
 */
#include "rocks.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

extern "C" {
#include "base/file.h"
#include "base/mem.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "keys/keyring.h"
#include "spill_priv.h"
}

using namespace rocksdb;

namespace {

enum {
    SPACE_DEFAULT = STORE_META
}; /* the column family that the engine calls "default" holds the meta space */

const char *const space_names[STORE_SPACE_NR] = { "default", "records", "indexes", "oplog" };

DBOptions db_options(const struct store_config *c, struct store *s)
{
    DBOptions o;

    o.env = s->env.get();
    o.info_log = store_rocks::make_logger(s->shared);
    o.listeners.push_back(store_rocks::make_listener(s->shared));
    o.create_if_missing = true;
    o.create_missing_column_families = true;
    o.error_if_exists = false;
    o.paranoid_checks = true;
    o.wal_recovery_mode = WALRecoveryMode::kTolerateCorruptedTailRecords;
    o.track_and_verify_wals_in_manifest = true;
    o.verify_sst_unique_id_in_manifest = true;
    /* nothing reads that file; failing after the handles exist is an assertion in 7.8 */
    o.fail_if_options_file_error = false;
    o.write_dbid_to_manifest = true;
    o.recycle_log_file_num = 0;
    o.max_manifest_file_size = 32 << 20; /* a copy of it is quick: see rewrite.cc */
    o.manual_wal_flush = false;
    o.wal_compression = kNoCompression;
    o.WAL_ttl_seconds = static_cast<uint64_t>(c->journal_keep_s > 0 ? c->journal_keep_s : 0);
    o.WAL_size_limit_MB = 0;
    o.allow_mmap_reads = o.allow_mmap_writes = false;
    o.use_direct_reads = o.use_direct_io_for_flush_and_compaction = false;
    o.allow_fallocate = false;
    o.allow_2pc = false; /* TransactionDB sets it as it needs */
    o.avoid_flush_during_shutdown = true;
    o.avoid_flush_during_recovery = false;
    o.max_open_files = -1;
    o.max_background_jobs = 4;
    o.max_subcompactions = 1;
    o.max_total_wal_size = static_cast<uint64_t>(4 * c->memtable_bytes);
    o.db_write_buffer_size = static_cast<size_t>(2 * c->memtable_bytes);
    o.compaction_readahead_size = 2 << 20;
    o.max_bgerror_resume_count = 0; /* recovery is store_resume()'s */
    o.stats_dump_period_sec = 0;
    o.stats_persist_period_sec = 0;
    o.persist_stats_to_disk = false;
    o.keep_log_file_num = 1;
    o.bytes_per_sync = 0;
    o.wal_bytes_per_sync = 0;
    o.enable_pipelined_write = false;
    o.unordered_write = false;
    o.two_write_queues = false;
    o.allow_concurrent_memtable_write = true;
    o.enable_write_thread_adaptive_yield = true;
    o.skip_stats_update_on_db_open = true;
    return o;
}

ColumnFamilyOptions space_options(enum store_space sp, const struct store_config *c,
                                  struct store *s)
{
    static const size_t block_sizes[STORE_SPACE_NR] = { 8 << 10, 16 << 10, 8 << 10, 16 << 10 };
    ColumnFamilyOptions o;
    BlockBasedTableOptions t;
    bool packs = sp == STORE_RECORDS || sp == STORE_OPLOG;

    t.block_size = block_sizes[sp];
    t.block_cache = s->cache;
    t.format_version = 5; /* 6 can't be read by 7.8 */
    t.checksum = kXXH3;
    t.filter_policy.reset(NewBloomFilterPolicy(10));
    t.whole_key_filtering = true;
    t.cache_index_and_filter_blocks = false;
    t.max_auto_readahead_size = 0; /* readahead(2) at every scan even when all is in the cache */
    t.initial_auto_readahead_size = 0;
    o.table_factory.reset(NewBlockBasedTableFactory(t));
    o.compression =
        packs && std::count(s->compressions.begin(), s->compressions.end(), kLZ4Compression)
            ? kLZ4Compression
            : kNoCompression;
    o.bottommost_compression = kDisableCompressionOption;
    o.write_buffer_size = static_cast<size_t>(
        sp == STORE_META ? std::min<int64_t>(c->memtable_bytes, 4 << 20) : c->memtable_bytes);
    o.max_write_buffer_number = 3;
    o.memtable_prefix_bloom_size_ratio = 0.02;
    o.memtable_whole_key_filtering = true;
    o.level_compaction_dynamic_level_bytes = true;
    o.target_file_size_base = store_rocks::TABLE_BYTES;
    o.max_bytes_for_level_base = 256 << 20;
    o.level0_file_num_compaction_trigger = 4;
    o.paranoid_file_checks = false;
    o.force_consistency_checks = true;
    o.enable_blob_files = false;
    o.ttl = 0;
    o.periodic_compaction_seconds = 0;
    return o;
}

TransactionDBOptions txn_db_options()
{
    TransactionDBOptions o;

    o.num_stripes = 64;
    o.max_num_locks = -1;
    o.transaction_lock_timeout = 0; /* a lock that is taken is a write conflict, at once */
    o.default_lock_timeout = 0;
    o.custom_mutex_factory = store_rocks::make_mutex_factory();
    o.write_policy = TxnDBWritePolicy::WRITE_COMMITTED;
    return o;
}

rc_t check_config(const struct store_config *c, struct err *e)
{
    bool null_build = store__build_alg() == STORE__ALG_NULL;

    if (!c->dir || !c->dir[0] || !c->keyring)
        FAIL(e, ERR_CONFIG, "a store needs a directory and a keyring");
    if (c->cache_bytes < 0 || c->memtable_bytes < (64 << 10) || c->max_txn_bytes < (64 << 10) ||
        c->anchor_interval_us < 1000 || c->anchor_bytes < 4096 || c->reserve_bytes < 0 ||
        c->journal_keep_s < 0)
        FAIL(e, ERR_CONFIG, "a size or interval of the store is out of range");
    if (c->null_cipher != null_build)
        FAIL(e, ERR_CONFIG, "this build %s the null cipher", null_build ? "has" : "does not have");
    return RC_OK;
}

/* The very first anchor, before the engine writes anything: it carries the new store's id. */
rc_t first_anchor(const struct store_config *c, struct store *s, struct store__anchor_data *d,
                  struct err *e)
{
    bool made = false;

    for (int i = 0; i < STORE_ID_LEN; i++)
        made |= s->shared->seal.id[i] != 0;
    if (!made) /* else the making was interrupted after the anchor: go on with its id */
        TRY(random_bytes(s->shared->seal.id, STORE_ID_LEN, e));
    d->counter++;
    d->envelope_seq = c->envelope_seq;
    return store__anchor_store(&s->shared->seal, c->dir, d, e);
}

rc_t examine(const struct store_config *c, struct store *s, struct err *e)
{
    struct store__examination check = {};
    struct store__anchor_data d = {};
    struct store__dir_report r = {};

    check.seal = &s->shared->seal;
    check.dir = c->dir;
    check.repair = true;
    check.envelope_seq = c->envelope_seq;
    check.anchor_floor = c->anchor_raise ? 0 : c->anchor_floor;
    check.on_event = c->on_event;
    check.event_arg = c->event_arg;
    TRY(store__dir_check(&check, &d, &r, e));
    if (!r.exists && !c->create) {
        store__anchor_data_fini(&d);
        FAIL(e, ERR_NOT_FOUND, "there is no store in \"%s\"", c->dir);
    }
    if (!r.exists && c->anchor_floor && !c->anchor_raise) {
        store__anchor_data_fini(&d);
        FAIL(e, ERR_STALE, "there is no store in \"%s\", and the copy kept outside remembers one",
             c->dir);
    }
    d.counter = std::max(d.counter, c->anchor_floor);
    if (!r.exists && first_anchor(c, s, &d, e).failed) {
        store__anchor_data_fini(&d);
        return RC_FAILED;
    }
    return store__anchor_new(&s->shared->seal, c->dir, &d, &s->shared->anchor);
}

rc_t open_engine(const struct store_config *c, struct store *s, struct err *e)
{
    std::vector<ColumnFamilyDescriptor> families;
    std::vector<ColumnFamilyHandle *> handles;
    Status st;

    s->compressions = GetSupportedCompressions();
    s->cache = NewLRUCache(static_cast<size_t>(c->cache_bytes));
    s->env = NewCompositeEnv(store_rocks::make_file_system(s->shared));
    s->env->SetBackgroundThreads(2, Env::Priority::LOW);
    s->env->SetBackgroundThreads(2, Env::Priority::HIGH);
    for (int i = 0; i < STORE_SPACE_NR; i++)
        families.emplace_back(space_names[i],
                              space_options(static_cast<enum store_space>(i), c, s));
    st =
        TransactionDB::Open(db_options(c, s), txn_db_options(), c->dir, families, &handles, &s->db);
    /* read again, it worked: the engine takes that for direct I/O, which is never asked for */
    if (st.IsInvalidArgument() && st.ToString().find("Direct I/O") != std::string::npos)
        return file_err(e, EIO, "read at first", (s->shared->dir + "/CURRENT").c_str());
    if (!st.ok())
        return store_rocks::from_status(st, "open the store", e);
    for (size_t i = 0; i < handles.size(); i++)
        s->cf[i] = handles[i];
    return RC_OK;
}

/* Transactions are never prepared here (no two-phase commit), so a prepared one was made by something else; it would hold no locks. */
rc_t no_prepared(struct store *s, struct err *e)
{
    std::vector<Transaction *> prepared;

    s->db->GetAllPreparedTransactions(&prepared);
    if (!prepared.empty()) {
        for (Transaction *t : prepared)
            delete t;
        FAIL(e, ERR_CORRUPT, "the store holds %zu prepared transactions", prepared.size());
    }
    return RC_OK;
}

rc_t close_engine(struct store *s, struct err *e)
{
    Status st;

    for (Transaction *t : s->pool)
        delete t;
    s->pool.clear();
    for (int i = 0; i < STORE_SPACE_NR; i++) {
        if (s->cf[i]) /* a live handle at Close() is an assertion */
            (void)s->db->DestroyColumnFamilyHandle(s->cf[i]);
        s->cf[i] = nullptr;
    }
    if (s->db) {
        st = s->db->Close();
        delete s->db;
        s->db = nullptr;
    }
    return st.ok() ? RC_OK : store_rocks::from_status(st, "close the store", e);
}

void destroy(struct store *s)
{
    struct err ignored = {};

    (void)close_engine(s, &ignored).failed;
    s->cache.reset();
    s->env.reset();
    if (s->shared)
        store__anchor_free(s->shared->anchor);
    secret_free(s->spill_key);
    if (s->keyring)
        keyring_unref(s->keyring);
    fd_close(s->lock_fd);
    mutex_fini(&s->pool_mu);
    mutex_fini(&s->ident_mu);
    mutex_fini(&s->tick_mu);
    cond_fini(&s->tick_cond);
    mutex_fini(&s->files_mu);
    mutex_fini(&s->rw.mu);
    cond_fini(&s->rw.cond);
    delete s;
}

rc_t open_steps(const struct store_config *c, struct store *s, struct err *e)
{
    struct stat st;

    if (c->create)
        TRY(dir_make(c->dir, 0700, e));
    else if (stat(c->dir, &st) != 0)
        return file_err(e, errno, "open", c->dir);
    TRY(store__dir_lock(c->dir, &s->lock_fd, e));
    TRY(store__spill_key_new(&s->spill_key, e));
    TRY(examine(c, s, e));
    TRY(open_engine(c, s, e));
    TRY(no_prepared(s, e));
    if (c->envelope_seq)
        TRY(store__anchor_set_envelope(s->shared->anchor, c->envelope_seq, e));
    return store__anchor_write(s->shared->anchor, e);
}

} /* namespace */

extern "C" RC store_open(const struct store_config *c, struct store **out, struct err *e)
{
    struct store *s;

    *out = NULL;
    TRY(check_config(c, e));
    s = new struct store();
    mutex_init(&s->pool_mu);
    mutex_init(&s->ident_mu);
    mutex_init(&s->tick_mu);
    cond_init(&s->tick_cond);
    mutex_init(&s->files_mu);
    mutex_init(&s->rw.mu);
    cond_init(&s->rw.cond);
    s->keyring = keyring_ref(c->keyring);
    s->shared = std::make_shared<store_rocks::Shared>();
    s->shared->seal.keys = s->keyring;
    s->shared->seal.alg = store__build_alg();
    s->shared->dir = c->dir;
    while (s->shared->dir.size() > 1 && s->shared->dir.back() == '/')
        s->shared->dir.pop_back();
    s->shared->reserve_bytes = static_cast<uint64_t>(c->reserve_bytes);
    s->shared->on_event = c->on_event;
    s->shared->event_arg = c->event_arg;
    s->anchor_bytes = static_cast<uint64_t>(c->anchor_bytes);
    s->anchor_interval_us = static_cast<uint64_t>(c->anchor_interval_us);
    s->txn_options.set_snapshot = true;
    s->txn_options.lock_timeout = 0;
    s->txn_options.max_write_batch_size = static_cast<size_t>(c->max_txn_bytes);
    if (open_steps(c, s, e).failed) {
        destroy(s);
        return RC_FAILED;
    }
    store__room(s);
    store__tick_start(s);
    *out = s;
    return RC_OK;
}

extern "C" RC store_close(struct store *s, struct err *e)
{
    rc_t rc = RC_OK;

    if (!s)
        return RC_OK;
    store__tick_stop(s);
    if (!s->shared->fatal)
        rc = store_sync(s, e);
    if (close_engine(s, e).failed)
        rc = RC_FAILED;
    if (!s->shared->fatal && store__anchor_write(s->shared->anchor, e).failed)
        rc = RC_FAILED;
    destroy(s);
    return rc;
}

extern "C" void store_id(const struct store *s, uint8_t out[STORE_ID_LEN])
{
    memcpy(out, s->shared->seal.id, STORE_ID_LEN);
}

extern "C" RC store_pin_envelope(struct store *s, uint64_t seq, struct err *e)
{
    return store__anchor_set_envelope(s->shared->anchor, seq, e);
}
