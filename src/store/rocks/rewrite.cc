/* rewrite.cc - re-encryption in place: until the census counts nothing under another generation than the current one.
 *
 * Rounds   look at the disk; flush when a journal is under an old generation (a key of our own makes sure that there is something to flush); compact each table by itself,
 *          onto the level where it is (level 0 as one job, onto the first level that holds anything); replace the other files by copies; look again.
 *          What others do meanwhile only helps: each new file is under the current generation.
 * Pace     The engine writes the tables of CompactFiles() in the calling thread, so waiting in Append() slows this work down and nothing else.
 * Refused  A rate limiter of the engine (it slows flushes down as well), a range compaction (all of a space at once: twice the room, no pause), an own list of what
 *          is done (it would have to be right after a crash; the headers are).
 */
#include "rocks.h"

#include <dirent.h>

#include <rocksdb/db.h>
#include <rocksdb/metadata.h>

extern "C" {
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "keys/keyring.h"
}

using rocksdb::Status;

namespace {

enum { ROUND_US = 100000, FLUSH_EVERY_US = 1000000, BURST_US = 100000, ROWS_MAX = 256 };

/* Ident 0 is the store's own; the value is the generation. */
const rocksdb::Slice marker_key("\0\0\0\0\0\0\0\0rewrite", 15);

thread_local store_rocks::Rewriter *pacer = nullptr;

class Pacing {
  public:
    explicit Pacing(store_rocks::Rewriter *rw)
    {
        pacer = rw;
    }
    ~Pacing()
    {
        pacer = nullptr;
    }
};

void set_state(struct store *s, enum store_rewrite_state st)
{
    mutex_lock(&s->rw.mu);
    s->rw.status.state = st;
    mutex_unlock(&s->rw.mu);
}

/* False when it is to stop. */
bool wait_us(struct store *s, uint64_t us)
{
    uint64_t until = clock_mono_us() + us;
    bool go;

    mutex_lock(&s->rw.mu);
    while (!s->rw.stop && cond_wait_until(&s->rw.cond, &s->rw.mu, until))
        ;
    go = !s->rw.stop;
    mutex_unlock(&s->rw.mu);
    return go;
}

/* Wait while paused. False when it is to stop. */
bool may_go_on(struct store *s)
{
    store_rocks::Rewriter *rw = &s->rw;
    bool go, waited = false;

    mutex_lock(&rw->mu);
    while (rw->paused && !rw->stop) {
        rw->status.state = STORE_RW_PAUSED;
        waited = true;
        cond_wait(&rw->cond, &rw->mu);
    }
    go = !rw->stop;
    if (go && waited) { /* the rate is that of the work, not of the pause */
        rw->status.state = STORE_RW_RUNNING;
        rw->started_us = clock_mono_us();
        rw->started_bytes = rw->status.bytes_done;
    }
    mutex_unlock(&rw->mu);
    return go;
}

/* What is left, from the disk: for the status, and the number of files. */
rc_t look(struct store *s, uint32_t gen, uint64_t *files, struct err *e)
{
    struct store_census_row rows[ROWS_MAX];
    uint64_t bytes = 0;
    int n;

    TRY(store_census(s, rows, ROWS_MAX, &n, e));
    *files = 0;
    for (int i = 0; i < n; i++) {
        if (rows[i].gen == gen)
            continue;
        *files += rows[i].n_files;
        bytes += rows[i].bytes;
    }
    mutex_lock(&s->rw.mu);
    s->rw.status.gen = gen;
    s->rw.status.files_left = *files;
    s->rw.status.bytes_left = bytes;
    mutex_unlock(&s->rw.mu);
    return RC_OK;
}

void count_done(struct store *s, uint64_t files, uint64_t bytes)
{
    store_rocks::Rewriter *rw = &s->rw;

    mutex_lock(&rw->mu);
    rw->status.files_done += files;
    rw->status.bytes_done += bytes;
    rw->status.files_left -= std::min(rw->status.files_left, files);
    rw->status.bytes_left -= std::min(rw->status.bytes_left, bytes);
    mutex_unlock(&rw->mu);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

struct Job {
    rocksdb::ColumnFamilyHandle *cf;
    int level;
    std::vector<std::string> names;
    uint64_t bytes = 0, need = 0;
};

rc_t is_old(struct store *s, uint32_t gen, const std::string &name, bool *old, uint64_t *size,
            struct err *e)
{
    std::string path = s->shared->dir + name;
    uint32_t is;

    TRY(store__file_generation(path.c_str(), STORE__TABLE, &is, size, e));
    *old = is != 0 && is != gen;
    return RC_OK;
}

/* Tables of one space that are under another generation: those of level 0 together, every other by itself; the lowest level first. */
rc_t list_jobs(struct store *s, rocksdb::ColumnFamilyHandle *cf, uint32_t gen,
               std::vector<Job> *jobs, struct err *e)
{
    rocksdb::ColumnFamilyMetaData meta;
    int first = static_cast<int>(s->db->NumberLevels(cf)) - 1;
    uint64_t first_bytes = 0;
    Job zero{ cf, 0, {}, 0, 0 };

    s->db->GetColumnFamilyMetaData(cf, &meta);
    for (const rocksdb::LevelMetaData &level : meta.levels) {
        if (level.level > 0 && level.level < first && !level.files.empty())
            first = level.level;
        if (level.level == first)
            first_bytes = level.size;
    }
    for (auto level = meta.levels.rbegin(); level != meta.levels.rend(); ++level) {
        for (const rocksdb::SstFileMetaData &file : level->files) {
            uint64_t size;
            bool old;

            TRY(is_old(s, gen, file.name, &old, &size, e));
            if (!old)
                continue;
            if (level->level == 0) {
                zero.names.push_back(file.name);
                zero.bytes += size;
            } else {
                jobs->push_back(Job{ cf, level->level, { file.name }, size, size });
            }
        }
        if (level->level == 0)
            zero.need = level->size + first_bytes;
    }
    zero.level = first;
    if (!zero.names.empty())
        jobs->push_back(zero);
    return RC_OK;
}

bool is_room(struct store *s, uint64_t need)
{
    store__room(s);
    return !s->shared->low_room && s->shared->free_bytes >= need + s->shared->reserve_bytes;
}

/* Wait for room. False when it is to stop. */
bool wait_for_room(struct store *s, uint64_t need)
{
    if (is_room(s, need))
        return true;
    set_state(s, STORE_RW_NO_ROOM);
    while (!is_room(s, need))
        if (!wait_us(s, 5 * ROUND_US))
            return false;
    set_state(s, STORE_RW_RUNNING);
    return true;
}

/* Losing a race with the engine is no error: the next round looks again. */
bool benign(const Status &st)
{
    return st.IsInvalidArgument() || st.IsAborted() || st.IsNotFound() || st.IsBusy() ||
           st.IsTryAgain() || st.IsIncomplete() || st.IsShutdownInProgress();
}

rc_t run_job(struct store *s, const Job &job, bool *did, struct err *e)
{
    rocksdb::CompactionOptions o;
    Status st;

    *did = false;
    if (!wait_for_room(s, job.need))
        return RC_OK;
    set_state(s, STORE_RW_RUNNING);
    o.compression = rocksdb::kDisableCompressionOption; /* the space's */
    o.output_file_size_limit = store_rocks::TABLE_BYTES;
    o.max_subcompactions = 1;
    {
        Pacing here(&s->rw);
        st = s->db->CompactFiles(o, job.cf, job.names, job.level);
    }
    *did = st.ok();
    if (st.ok())
        count_done(s, job.names.size(), job.bytes);
    if (s->rw.full) { /* there seemed to be room, and there was none */
        s->rw.full = false;
        set_state(s, STORE_RW_NO_ROOM);
        (void)wait_us(s, 5 * ROUND_US);
        return RC_OK;
    }
    if (st.ok() || benign(st))
        return RC_OK;
    return store_rocks::from_status(st, "rewrite a table", e);
}

rc_t rewrite_tables(struct store *s, uint32_t gen, bool *did, struct err *e)
{
    std::vector<Job> jobs;

    for (int i = 0; i < STORE_SPACE_NR; i++)
        TRY(list_jobs(s, s->cf[i], gen, &jobs, e));
    for (const Job &job : jobs) {
        bool old = false, one;
        uint64_t size;

        if (!may_go_on(s))
            return RC_OK;
        for (const std::string &name : job.names) { /* the job before may have taken it along */
            bool is;

            TRY(is_old(s, gen, name, &is, &size, e));
            old |= is;
        }
        if (!old)
            continue;
        TRY(run_job(s, job, &one, e));
        *did |= one;
    }
    return RC_OK;
}

/* ---- the journal ------------------------------------------------------------------------------------------------- */

/* A full disk is no failure: the round comes again. */
rc_t await_room(struct err *e)
{
    if (e->code != ERR_DISK_FULL)
        return RC_FAILED;
    err_reset(e);
    return RC_OK;
}

/* A new journal begins when a memtable is changed, and that needs something in it. */
rc_t change_journal(struct store *s, uint32_t gen, struct err *e)
{
    rocksdb::WriteOptions w;
    uint8_t value[4];
    Status st;

    if (store__writable(s, e).failed)
        return await_room(e);
    put_be32(value, gen);
    st = s->db->Put(w, s->cf[STORE_META], marker_key,
                    rocksdb::Slice(reinterpret_cast<char *>(value), sizeof(value)));
    if (!st.ok())
        return benign(st) || st.IsTimedOut() ? RC_OK
                                             : store_rocks::from_status(st, "write a marker", e);
    return store_flush(s, e).failed ? await_room(e) : RC_OK;
}

/* ---- all other files ----------------------------------------------------------------------------------------------- */

struct File {
    std::string path;
    struct store__name n;
};

rc_t list_files(const std::string &dir, std::vector<File> *out, struct err *e)
{
    DIR *d = opendir(dir.c_str());

    if (!d)
        return errno == ENOENT ? RC_OK : file_err(e, errno, "list", dir.c_str());
    while (struct dirent *ent = readdir(d)) {
        File f{ dir + "/" + ent->d_name, {} };

        store__name_parse(ent->d_name, &f.n);
        if (f.n.kind == STORE__K_SEALED && f.n.role != STORE__TABLE)
            out->push_back(f);
    }
    closedir(d);
    return RC_OK;
}

uint64_t manifest_of(const std::vector<File> &files)
{
    uint64_t n = 1;

    for (const File &f : files)
        if (f.n.role == STORE__MANIFEST)
            n = std::max(n, f.n.number);
    return n;
}

rc_t replace(struct store *s, const File &f, uint64_t manifest, bool *done, struct err *e)
{
    std::string dir = s->shared->dir + "/";
    struct store__anchor *a = s->shared->anchor;
    AUTO(mem_freep) char *number =
        mem_printf("%06llu", static_cast<unsigned long long>(
                                 f.n.role == STORE__CURRENT ? manifest : f.n.number));
    struct store__stream_source from = { f.path.c_str(), f.n.role, f.n.number, 0 };
    std::string temp;

    switch (f.n.role) {
    case STORE__ANCHOR: *done = true; return store__anchor_write(a, e);
    case STORE__JOURNAL: /* those in the directory itself go with their memtables */
        if (f.path.compare(0, dir.size() + 8, dir + "archive/") != 0)
            return RC_OK;
        temp = dir + number + ".log.dbtmp";
        return store__anchor_reseal(a, &from, temp.c_str(), done, e);
    case STORE__MANIFEST:
        temp = dir + "MANIFEST-" + number + ".dbtmp";
        return store__anchor_reseal(a, &from, temp.c_str(), done, e);
    case STORE__CURRENT: temp = dir + number + ".dbtmp"; break;
    case STORE__OPTIONS: temp = dir + "OPTIONS-" + number + ".dbtmp"; break;
    default: temp = dir + "000000.dbtmp"; break;
    }
    return store__anchor_reseal_small(a, f.n.role, f.path.c_str(), temp.c_str(), done, e);
}

rc_t rewrite_others(struct store *s, uint32_t gen, struct err *e)
{
    std::vector<File> files;
    bool journal = false;

    TRY(list_files(s->shared->dir, &files, e));
    uint64_t manifest = manifest_of(files);
    TRY(list_files(s->shared->dir + "/archive", &files, e));
    for (const File &f : files) {
        uint64_t size;
        uint32_t is;
        bool done = false;
        rc_t rc;

        TRY(store__file_generation(f.path.c_str(), f.n.role, &is, &size, e));
        if (is == 0 || is == gen)
            continue;
        journal |= f.n.role == STORE__JOURNAL;
        if (!wait_for_room(s, 2 * size))
            return RC_OK;
        mutex_lock(&s->files_mu);
        rc = replace(s, f, manifest, &done, e);
        mutex_unlock(&s->files_mu);
        if (rc.failed && e->code == ERR_ENGINE_FATAL && !s->shared->fatal.exchange(true))
            s->shared->event(STORE_EV_FATAL, e->msg);
        TRY(rc);
        if (done)
            count_done(s, 1, size);
    }
    if (journal && clock_mono_us() >= s->rw.next_flush_us) {
        s->rw.next_flush_us = clock_mono_us() + FLUSH_EVERY_US;
        TRY(change_journal(s, gen, e));
    }
    return RC_OK;
}

/* Files that nothing needs any more are deleted when the engine next looks: make it look. */
void nudge(struct store *s)
{
    if (!s->db->DisableFileDeletions().ok())
        return;
#if ROCKSDB_MAJOR >= 9
    (void)s->db->EnableFileDeletions().ok();
#else
    (void)s->db->EnableFileDeletions(/* force= */ false).ok();
#endif
}

rc_t sync_dirs(struct store *s, struct err *e)
{
    std::string archive = s->shared->dir + "/archive";

    if (path_exists(archive.c_str()))
        TRY(store__io_dir_sync(archive.c_str(), e));
    return store__io_dir_sync(s->shared->dir.c_str(), e);
}

rc_t rounds(struct store *s, bool *done, struct err *e)
{
    uint64_t wait = ROUND_US / 10;

    for (;;) {
        uint32_t gen = keyring_current(s->keyring);
        bool did = false;
        uint64_t left;

        TRY(look(s, gen, &left, e));
        if (left == 0 && gen == keyring_current(s->keyring)) {
            /* files that were deleted do not come back after a power loss, when their key is gone */
            TRY(sync_dirs(s, e));
            *done = true;
            return RC_OK;
        }
        if (!may_go_on(s))
            return RC_OK;
        if (s->shared->fatal)
            FAIL(e, ERR_ENGINE_FATAL,
                 "the storage engine stopped after an error; the store must be opened again");
        TRY(rewrite_others(s, gen, e));
        TRY(rewrite_tables(s, gen, &did, e));
        nudge(s);
        if (did) {
            wait = ROUND_US / 10;
            continue;
        }
        set_state(s, STORE_RW_HELD);
        if (!wait_us(s, wait))
            return RC_OK;
        wait = std::min<uint64_t>(2 * wait, 10 * ROUND_US);
    }
}

} /* namespace */

namespace store_rocks {

bool pace(size_t bytes)
{
    Rewriter *rw = pacer;
    uint64_t now;
    bool go;

    if (!rw)
        return true;
    mutex_lock(&rw->mu);
    now = clock_mono_us();
    if (rw->next_us + BURST_US < now)
        rw->next_us = now - BURST_US;
    while (rw->limit && !rw->stop && rw->next_us > now) {
        (void)cond_wait_until(&rw->cond, &rw->mu, rw->next_us);
        now = clock_mono_us();
    }
    if (rw->limit)
        rw->next_us += bytes * UINT64_C(1000000) / rw->limit;
    go = !rw->stop;
    mutex_unlock(&rw->mu);
    return go;
}

rocksdb::IOStatus given_up()
{
    return rocksdb::status_to_io_status(
        Status::Incomplete(Status::SubCode::kManualCompactionPaused));
}

rocksdb::IOStatus table_failed(const Err &e)
{
    if (!pacer || e.get().code != ERR_DISK_FULL)
        return e.io();
    pacer->full = true;
    return given_up();
}

} /* namespace store_rocks */

extern "C" const char *store_rewrite_state_name(enum store_rewrite_state st)
{
    static const char *const names[] = { "idle", "running", "paused", "noRoom", "held" };

    return st <= STORE_RW_HELD ? names[st] : "unknown";
}

extern "C" RC store_rewrite(struct store *s, bool *done, struct err *e)
{
    rc_t rc;

    *done = false;
    mutex_lock(&s->rw.mu);
    if (s->rw.running) {
        mutex_unlock(&s->rw.mu);
        FAIL(e, ERR_CONFLICT, "the store is being rewritten already");
    }
    s->rw.running = true;
    s->rw.status.state = STORE_RW_RUNNING;
    s->rw.started_us = clock_mono_us();
    s->rw.started_bytes = s->rw.status.bytes_done;
    mutex_unlock(&s->rw.mu);
    rc = rounds(s, done, e);
    mutex_lock(&s->rw.mu);
    s->rw.running = false;
    s->rw.status.state = STORE_RW_IDLE;
    cond_broadcast(&s->rw.cond);
    mutex_unlock(&s->rw.mu);
    return rc;
}

extern "C" void store_rewrite_stop(struct store *s)
{
    mutex_lock(&s->rw.mu);
    s->rw.stop = true;
    cond_broadcast(&s->rw.cond);
    while (s->rw.running)
        cond_wait(&s->rw.cond, &s->rw.mu);
    mutex_unlock(&s->rw.mu);
}

extern "C" void store_rewrite_set(struct store *s, uint64_t bytes_per_s, bool paused)
{
    mutex_lock(&s->rw.mu);
    s->rw.limit = bytes_per_s;
    s->rw.next_us = 0; /* what the old limit still owed is forgiven */
    s->rw.paused = paused;
    cond_broadcast(&s->rw.cond);
    mutex_unlock(&s->rw.mu);
}

extern "C" void store_rewrite_status(struct store *s, struct store_rewrite_status *out)
{
    store_rocks::Rewriter *rw = &s->rw;
    uint64_t us, bytes;

    mutex_lock(&rw->mu);
    *out = rw->status;
    us = clock_mono_us() - rw->started_us;
    bytes = rw->status.bytes_done - rw->started_bytes;
    out->bytes_per_s = 0;
    if (rw->running && us)
        out->bytes_per_s =
            static_cast<uint64_t>(static_cast<double>(bytes) * 1e6 / static_cast<double>(us));
    if (out->bytes_per_s)
        out->left_us = static_cast<uint64_t>(static_cast<double>(out->bytes_left) * 1e6 /
                                             static_cast<double>(out->bytes_per_s));
    mutex_unlock(&rw->mu);
}
