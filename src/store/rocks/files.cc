/* files.cc - the engine's file handles over the sealing layouts: tables are blocks, everything else a stream. */
#include "rocks.h"

namespace store_rocks {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus refused(const char *what)
{
    return IOStatus::NotSupported(what);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

class TableWriter : public rocksdb::FSWritableFile {
  public:
    explicit TableWriter(struct store__block_writer *w) : w_(w)
    {
    }
    ~TableWriter() override
    {
        store__block_writer_free(w_);
    }
    using FSWritableFile::Append;
    IOStatus Append(const Slice &data, const IOOptions &, IODebugContext *) override
    {
        Err e;

        if (!pace(data.size()))
            return given_up();
        return store__block_append(w_, from_slice(data), e).failed ? table_failed(e)
                                                                   : IOStatus::OK();
    }
    IOStatus Append(const Slice &data, const IOOptions &o, const rocksdb::DataVerificationInfo &,
                    IODebugContext *d) override
    {
        return Append(data, o, d);
    }
    IOStatus Flush(const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus Sync(const IOOptions &, IODebugContext *) override
    {
        Err e;
        return store__block_sync(w_, e).failed ? table_failed(e) : IOStatus::OK();
    }
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        Err e;
        return store__block_close(w_, e).failed ? table_failed(e) : IOStatus::OK();
    }
    IOStatus Truncate(uint64_t size, const IOOptions &, IODebugContext *) override
    {
        return size == store__block_length(w_) ? IOStatus::OK() : refused("truncate");
    }
    uint64_t GetFileSize(const IOOptions &, IODebugContext *) override
    {
        return store__block_length(w_);
    }
    IOStatus Allocate(uint64_t, uint64_t, const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus RangeSync(uint64_t, uint64_t, const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    void PrepareWrite(size_t, size_t, const IOOptions &, IODebugContext *) override
    {
    }

  private:
    struct store__block_writer *w_;
};

class TableReader : public rocksdb::FSRandomAccessFile {
  public:
    explicit TableReader(struct store__block *b) : b_(b)
    {
    }
    ~TableReader() override
    {
        store__block_free(b_);
    }
    IOStatus Read(uint64_t off, size_t n, const IOOptions &, Slice *result, char *scratch,
                  IODebugContext *) const override
    {
        Err e;
        size_t got;

        *result = Slice();
        if (store__block_read(b_, off, n, scratch, &got, e).failed)
            return e.io();
        *result = Slice(scratch, got);
        return IOStatus::OK();
    }
    IOStatus Prefetch(uint64_t off, size_t n, const IOOptions &, IODebugContext *) override
    {
        store__block_prefetch(b_, off, n);
        return IOStatus::OK();
    }

  private:
    struct store__block *b_;
};

class TableScanner : public rocksdb::FSSequentialFile {
  public:
    explicit TableScanner(struct store__block *b) : b_(b)
    {
    }
    ~TableScanner() override
    {
        store__block_free(b_);
    }
    IOStatus Read(size_t n, const IOOptions &, Slice *result, char *scratch,
                  IODebugContext *) override
    {
        Err e;
        size_t got;

        *result = Slice();
        if (store__block_read(b_, at_, n, scratch, &got, e).failed)
            return e.io();
        at_ += got;
        *result = Slice(scratch, got);
        return IOStatus::OK();
    }
    IOStatus Skip(uint64_t n) override
    {
        at_ += n;
        return IOStatus::OK();
    }

  private:
    struct store__block *b_;
    uint64_t at_ = 0;
};

/* ---- streams ----------------------------------------------------------------------------------------------------- */

class StreamWriter : public rocksdb::FSWritableFile {
  public:
    StreamWriter(const std::shared_ptr<Shared> &shared, struct store__stream_writer *w,
                 enum store__role role, bool anchored)
        : shared_(shared), w_(w), role_(role), anchored_(anchored)
    {
    }
    ~StreamWriter() override
    {
        if (anchored_)
            store__anchor_abandoned(shared_->anchor, w_);
        store__stream_writer_free(w_);
    }
    using FSWritableFile::Append;
    IOStatus Append(const Slice &data, const IOOptions &, IODebugContext *) override
    {
        return done(store__stream_append(w_, from_slice(data), e_));
    }
    IOStatus Append(const Slice &data, const IOOptions &o, const rocksdb::DataVerificationInfo &,
                    IODebugContext *d) override
    {
        return Append(data, o, d);
    }
    IOStatus Flush(const IOOptions &, IODebugContext *) override
    {
        Err e;

        return store__stream_flush(w_, e).failed ? failed_write(e) : IOStatus::OK();
    }
    IOStatus Sync(const IOOptions &, IODebugContext *) override
    {
        Err e;

        if (store__stream_sync(w_, e).failed)
            return failed_sync(e);
        /* What the manifest says decides which files are deleted: it is pinned before that can happen. */
        if (anchored_ && role_ == STORE__MANIFEST && store__anchor_write(shared_->anchor, e).failed)
            return failed_write(e);
        return IOStatus::OK();
    }
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        Err e;

        if (closed_)
            return IOStatus::OK();
        closed_ = true;
        if (store__stream_close(w_, e).failed)
            return failed_sync(e);
        if (anchored_ && store__anchor_closed(shared_->anchor, w_, e).failed)
            return failed_write(e);
        return IOStatus::OK();
    }
    bool IsSyncThreadSafe() const override
    {
        return true;
    }
    IOStatus Truncate(uint64_t size, const IOOptions &, IODebugContext *) override
    {
        return size == store__stream_length(w_) ? IOStatus::OK() : refused("truncate");
    }
    uint64_t GetFileSize(const IOOptions &, IODebugContext *) override
    {
        return store__stream_length(w_);
    }
    IOStatus Allocate(uint64_t, uint64_t, const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus RangeSync(uint64_t, uint64_t, const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    void PrepareWrite(size_t, size_t, const IOOptions &, IODebugContext *) override
    {
    }

  private:
    IOStatus io(const Err &e) const
    {
        return e.io(role_ == STORE__IDENTITY);
    }
    IOStatus failed_write(const Err &e)
    {
        if (anchored_ && role_ == STORE__MANIFEST)
            shared_->manifest_doubt = true;
        return io(e);
    }
    /* Only appends of one thread at a time use e_. */
    IOStatus done(rc_t rc)
    {
        IOStatus s = rc.failed ? failed_write(e_) : IOStatus::OK();

        if (rc.failed)
            err_reset(e_);
        return s;
    }
    /* After a sync that failed nobody knows what is on the disk. Nothing is acknowledged any more until the store is opened again. */
    IOStatus failed_sync(const Err &e)
    {
        if (e.get().code != ERR_DISK_FULL &&
            (role_ == STORE__JOURNAL || role_ == STORE__MANIFEST) && anchored_ &&
            !shared_->fatal.exchange(true))
            shared_->event(STORE_EV_FATAL, e.get().msg);
        return failed_write(e);
    }

    std::shared_ptr<Shared> shared_;
    struct store__stream_writer *w_;
    enum store__role role_;
    bool anchored_, closed_ = false;
    Err e_;
};

/* The engine reopens the last journal at each start to cut off preallocated room. There is none, and nothing may ever be appended. */
class FrozenStream : public rocksdb::FSWritableFile {
  public:
    explicit FrozenStream(uint64_t length) : length_(length)
    {
    }
    using FSWritableFile::Append;
    IOStatus Append(const Slice &, const IOOptions &, IODebugContext *) override
    {
        return refused("append to a closed stream");
    }
    IOStatus Flush(const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus Sync(const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }
    IOStatus Truncate(uint64_t size, const IOOptions &, IODebugContext *) override
    {
        return size == length_ ? IOStatus::OK() : refused("truncate");
    }
    uint64_t GetFileSize(const IOOptions &, IODebugContext *) override
    {
        return length_;
    }

  private:
    uint64_t length_;
};

class StreamReader : public rocksdb::FSSequentialFile {
  public:
    StreamReader(const std::shared_ptr<Shared> &shared, struct store__stream *s,
                 enum store__role role, uint64_t number, bool ours)
        : shared_(shared), s_(s), role_(role), number_(number), ours_(ours)
    {
    }
    ~StreamReader() override
    {
        store__stream_free(s_);
    }
    /* An error is returned at once, even with bytes at hand: a short read would be taken for the end of the file. */
    IOStatus Read(size_t n, const IOOptions &, Slice *result, char *scratch,
                  IODebugContext *) override
    {
        size_t have = 0;

        *result = Slice();
        while (have < n) {
            size_t take;
            bool more;
            Err e;

            if (rest_.len == 0) {
                limit();
                if (store__stream_next(s_, &rest_, &more, e).failed)
                    return e.io(role_ == STORE__IDENTITY);
                if (!more)
                    break;
                continue;
            }
            take = std::min(n - have, rest_.len);
            memcpy(scratch + have, rest_.p, take);
            rest_ = SLICE(rest_.p + take, rest_.len - take);
            have += take;
        }
        *result = Slice(scratch, have);
        return IOStatus::OK();
    }
    IOStatus Skip(uint64_t n) override
    {
        char scratch[4096];
        Slice got;

        while (n > 0) {
            IOStatus s = Read(static_cast<size_t>(std::min<uint64_t>(n, sizeof(scratch))),
                              IOOptions(), &got, scratch, nullptr);

            if (!s.ok() || got.empty())
                return s;
            n -= got.size();
        }
        return IOStatus::OK();
    }

  private:
    /* Of a stream that is being written, only whole frames may be looked at. */
    void limit()
    {
        uint64_t logical, physical;

        if (ours_ &&
            store__anchor_live_size(shared_->anchor, role_, number_, &logical, &physical)) {
            store__stream_limit(s_, physical);
            limited_ = true;
        } else if (limited_) {
            limited_ = false; /* closed meanwhile: what was seen last stands */
        }
    }

    std::shared_ptr<Shared> shared_;
    struct store__stream *s_;
    enum store__role role_;
    uint64_t number_;
    bool ours_, limited_ = false;
    struct slice rest_ = SLICE_EMPTY;
};

class MemoryFile : public rocksdb::FSRandomAccessFile {
  public:
    explicit MemoryFile(std::string &&text) : text_(std::move(text))
    {
    }
    IOStatus Read(uint64_t off, size_t n, const IOOptions &, Slice *result, char *scratch,
                  IODebugContext *) const override
    {
        size_t take = off < text_.size() ? std::min(n, text_.size() - static_cast<size_t>(off)) : 0;

        if (take)
            memcpy(scratch, text_.data() + off, take);
        *result = Slice(scratch, take);
        return IOStatus::OK();
    }

  private:
    std::string text_;
};

} /* namespace */

std::unique_ptr<rocksdb::FSWritableFile> table_writer(struct store__block_writer *w)
{
    return std::make_unique<TableWriter>(w);
}

std::unique_ptr<rocksdb::FSRandomAccessFile> table_reader(struct store__block *b)
{
    return std::make_unique<TableReader>(b);
}

std::unique_ptr<rocksdb::FSSequentialFile> table_scanner(struct store__block *b)
{
    return std::make_unique<TableScanner>(b);
}

std::unique_ptr<rocksdb::FSWritableFile> stream_writer(const std::shared_ptr<Shared> &shared,
                                                       struct store__stream_writer *w,
                                                       enum store__role role, bool anchored)
{
    return std::make_unique<StreamWriter>(shared, w, role, anchored);
}

std::unique_ptr<rocksdb::FSWritableFile> frozen_stream(uint64_t length)
{
    return std::make_unique<FrozenStream>(length);
}

std::unique_ptr<rocksdb::FSSequentialFile> stream_reader(const std::shared_ptr<Shared> &shared,
                                                         struct store__stream *s,
                                                         enum store__role role, uint64_t number,
                                                         bool ours)
{
    return std::make_unique<StreamReader>(shared, s, role, number, ours);
}

std::unique_ptr<rocksdb::FSRandomAccessFile> memory_file(std::string &&text)
{
    return std::make_unique<MemoryFile>(std::move(text));
}

} /* namespace store_rocks */
