/* fs.cc - the engine's file system: every file goes through the sealing layouts; directories and names go to the kernel.
 *
 * It derives from FileSystem itself and forwards nothing by default, so an entry that a later release adds is refused and not passed on in plaintext.
 * Never needed by the engine with our options, hence refused: reuse, random writes, memory maps, truncation by name, direct I/O.
 */
#include "rocks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

extern "C" {
#include "base/file.h"
}

namespace store_rocks {
namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

enum { SMALL_MAX = 256 << 20 };

class Err { /* a struct err of its own, for a call */
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
    IOStatus io(bool as_io = false) const
    {
        return to_io(e_, as_io);
    }

  private:
    struct err e_;
};

IOStatus from_errno(int sys, const char *what, const std::string &path)
{
    Err e;

    if (sys == ENOENT)
        return IOStatus::PathNotFound(path);
    (void)file_err(e, sys, what, path.c_str()).failed;
    return e.io();
}

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
        return store__block_append(w_, from_slice(data), e).failed ? e.io() : IOStatus::OK();
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
        return store__block_sync(w_, e).failed ? e.io() : IOStatus::OK();
    }
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        Err e;
        return store__block_close(w_, e).failed ? e.io() : IOStatus::OK();
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
        return store__stream_flush(w_, e).failed ? io(e) : IOStatus::OK();
    }
    IOStatus Sync(const IOOptions &, IODebugContext *) override
    {
        Err e;

        if (store__stream_sync(w_, e).failed)
            return failed_sync(e);
        /* What the manifest says decides which files are deleted: it is pinned before that can happen. */
        if (anchored_ && role_ == STORE__MANIFEST && store__anchor_write(shared_->anchor, e).failed)
            return io(e);
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
            return io(e);
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
    /* Only appends of one thread at a time use e_. */
    IOStatus done(rc_t rc)
    {
        IOStatus s = rc.failed ? io(e_) : IOStatus::OK();

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
        return io(e);
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

class Directory : public rocksdb::FSDirectory {
  public:
    explicit Directory(const std::string &path) : path_(path)
    {
    }
    IOStatus Fsync(const IOOptions &, IODebugContext *) override
    {
        Err e;
        return store__io_dir_sync(path_.c_str(), e).failed ? e.io() : IOStatus::OK();
    }
    IOStatus Close(const IOOptions &, IODebugContext *) override
    {
        return IOStatus::OK();
    }

  private:
    std::string path_;
};

class Lock : public rocksdb::FileLock {};

/* ---- the file system --------------------------------------------------------------------------------------------- */

class SealedFileSystem : public rocksdb::FileSystem {
  public:
    explicit SealedFileSystem(const std::shared_ptr<Shared> &shared) : shared_(shared)
    {
    }

    static const char *kClassName()
    {
        return "SealedFileSystem";
    }
    const char *Name() const override
    {
        return kClassName();
    }

    IOStatus NewWritableFile(const std::string &path, const FileOptions &,
                             std::unique_ptr<rocksdb::FSWritableFile> *out,
                             IODebugContext *) override
    {
        struct store__name n;
        Err e;

        out->reset();
        if (!sealed_name(path, &n))
            return unknown(path);
        if (n.role == STORE__TABLE) {
            struct store__block_writer *w;

            if (store__block_create(&shared_->seal, path.c_str(), n.number, &w, e).failed)
                return e.io();
            out->reset(new TableWriter(w));
            return IOStatus::OK();
        }
        return new_stream(path, n, out);
    }

    IOStatus ReopenWritableFile(const std::string &path, const FileOptions &,
                                std::unique_ptr<rocksdb::FSWritableFile> *out,
                                IODebugContext *d) override
    {
        uint64_t length;
        IOStatus s = GetFileSize(path, IOOptions(), &length, d);

        out->reset();
        if (s.ok())
            out->reset(new FrozenStream(length));
        return s;
    }

    IOStatus NewRandomAccessFile(const std::string &path, const FileOptions &,
                                 std::unique_ptr<rocksdb::FSRandomAccessFile> *out,
                                 IODebugContext *) override
    {
        struct store__name n;
        Err e;

        out->reset();
        if (!sealed_name(path, &n))
            return unknown(path);
        if (n.role == STORE__TABLE) {
            struct store__block *b;

            if (store__block_open(&shared_->seal, path.c_str(), n.number, &b, e).failed)
                return e.io();
            out->reset(new TableReader(b));
            return IOStatus::OK();
        }
        struct buf text = {};
        if (store__small_read(&shared_->seal, path.c_str(), n.role, n.number, SMALL_MAX, &text, e)
                .failed)
            return e.io(n.role == STORE__IDENTITY);
        out->reset(new MemoryFile(std::string(reinterpret_cast<char *>(text.p), text.len)));
        buf_wipe(&text);
        return IOStatus::OK();
    }

    IOStatus NewSequentialFile(const std::string &path, const FileOptions &,
                               std::unique_ptr<rocksdb::FSSequentialFile> *out,
                               IODebugContext *) override
    {
        struct store__name n;
        Err e;

        out->reset();
        if (!sealed_name(path, &n))
            return unknown(path);
        if (n.role == STORE__TABLE) {
            struct store__block *b;

            if (store__block_open(&shared_->seal, path.c_str(), n.number, &b, e).failed)
                return e.io();
            out->reset(new TableScanner(b));
            return IOStatus::OK();
        }
        struct store__stream *s;
        if (store__stream_open(&shared_->seal, path.c_str(), n.role, n.number, &s, e).failed)
            return e.io(n.role == STORE__IDENTITY);
        out->reset(new StreamReader(shared_, s, n.role, n.number, in_store(path)));
        return IOStatus::OK();
    }

    IOStatus ReuseWritableFile(const std::string &, const std::string &, const FileOptions &,
                               std::unique_ptr<rocksdb::FSWritableFile> *,
                               IODebugContext *) override
    {
        return refused("reuse of a file");
    }
    IOStatus NewRandomRWFile(const std::string &, const FileOptions &,
                             std::unique_ptr<rocksdb::FSRandomRWFile> *, IODebugContext *) override
    {
        return refused("writing in place");
    }
    IOStatus Truncate(const std::string &, size_t, const IOOptions &, IODebugContext *) override
    {
        return refused("truncation");
    }
    IOStatus NewLogger(const std::string &, const IOOptions &, std::shared_ptr<rocksdb::Logger> *,
                       IODebugContext *) override
    {
        return refused("a log file");
    }
#if ROCKSDB_MAJOR >=                                                                               \
    8 /* 9.x asks; nothing beyond the plain calls is offered: no asynchronous reads, no buffers of the file system's own */
    void SupportedOps(int64_t &ops) override
    {
        ops = 0;
    }
    IOStatus DiscardCacheForDirectory(const std::string &, const IOOptions &,
                                      IODebugContext *) override
    {
        return IOStatus::OK();
    }
#endif

    IOStatus NewDirectory(const std::string &path, const IOOptions &,
                          std::unique_ptr<rocksdb::FSDirectory> *out, IODebugContext *) override
    {
        out->reset(new Directory(path));
        return IOStatus::OK();
    }

    IOStatus FileExists(const std::string &path, const IOOptions &, IODebugContext *) override
    {
        return access(path.c_str(), F_OK) == 0 ? IOStatus::OK()
               : errno == ENOENT               ? IOStatus::NotFound()
                                               : from_errno(errno, "examine", path);
    }

    IOStatus GetChildren(const std::string &path, const IOOptions &, std::vector<std::string> *out,
                         IODebugContext *) override
    {
        DIR *d = opendir(path.c_str());
        int sys;

        out->clear();
        if (!d)
            return errno == ENOENT ? IOStatus::NotFound() : from_errno(errno, "list", path);
        for (;;) {
            errno = 0;
            struct dirent *ent = readdir(d);
            if (!ent)
                break;
            if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
                out->push_back(ent->d_name);
        }
        sys = errno;
        closedir(d);
        return sys ? from_errno(sys, "list", path) : IOStatus::OK();
    }

    IOStatus DeleteFile(const std::string &path, const IOOptions &, IODebugContext *) override
    {
        struct store__name n;
        bool pinned;
        Err e;

        store__path_parse(path.c_str(), &n);
        pinned = in_store(path) && n.kind == STORE__K_SEALED &&
                 (n.role == STORE__JOURNAL || n.role == STORE__MANIFEST);
        if (pinned && store__anchor_before_delete(shared_->anchor, n.role, n.number, e).failed)
            return e.io();
        if (store__io_unlink(path.c_str(), n.role, e).failed)
            return e.io();
        if (pinned)
            store__anchor_deleted(shared_->anchor, n.role, n.number);
        return IOStatus::OK();
    }

    IOStatus RenameFile(const std::string &from, const std::string &to, const IOOptions &,
                        IODebugContext *) override
    {
        struct store__name n, m;
        Err e;
        bool current, archive;

        store__path_parse(from.c_str(), &n);
        store__path_parse(to.c_str(), &m);
        current = in_store(to) && m.kind == STORE__K_SEALED && m.role == STORE__CURRENT;
        archive = in_store(from) && n.kind == STORE__K_SEALED && n.role == STORE__JOURNAL;
        if (current && store__anchor_before_current(shared_->anchor, n.number, e).failed)
            return e.io();
        if (archive && store__anchor_before_archive(shared_->anchor, n.number, e).failed)
            return e.io();
        if (store__io_rename(from.c_str(), to.c_str(), n.role, e).failed)
            return e.io();
        if (current) {
            if (store__io_dir_sync(shared_->dir.c_str(), e).failed)
                return e.io();
            store__anchor_current_set(shared_->anchor, n.number);
        }
        return IOStatus::OK();
    }

    IOStatus LinkFile(const std::string &from, const std::string &to, const IOOptions &,
                      IODebugContext *) override
    {
        struct store__name n;
        Err e;

        store__path_parse(from.c_str(), &n);
        if (store__io_link(from.c_str(), to.c_str(), n.role, e).failed)
            return e.get().sys == EXDEV ? IOStatus::NotSupported("another file system") : e.io();
        return IOStatus::OK();
    }

    IOStatus GetFileSize(const std::string &path, const IOOptions &, uint64_t *size,
                         IODebugContext *) override
    {
        struct store__name n;
        struct stat st;
        uint64_t physical;

        *size = 0;
        if (stat(path.c_str(), &st) != 0)
            return from_errno(errno, "examine", path);
        physical = static_cast<uint64_t>(st.st_size);
        if (!sealed_name(path, &n))
            return IOStatus::OK(); /* LOCK and the like: empty */
        if (n.role == STORE__TABLE) {
            (void)store__block_logical(
                physical, size); /* an impossible length is 0 here and an error when it is opened */
            return IOStatus::OK();
        }
        if (in_store(path) &&
            store__anchor_live_size(shared_->anchor, n.role, n.number, size, &physical))
            return IOStatus::OK();
        return stream_size(path, n, size);
    }

    IOStatus GetFileModificationTime(const std::string &path, const IOOptions &, uint64_t *time,
                                     IODebugContext *) override
    {
        struct stat st;

        *time = 0;
        if (stat(path.c_str(), &st) != 0)
            return from_errno(errno, "examine", path);
        *time = static_cast<uint64_t>(st.st_mtime);
        return IOStatus::OK();
    }

    IOStatus CreateDir(const std::string &path, const IOOptions &, IODebugContext *) override
    {
        return mkdir(path.c_str(), 0700) == 0 ? IOStatus::OK() : from_errno(errno, "create", path);
    }
    IOStatus CreateDirIfMissing(const std::string &path, const IOOptions &,
                                IODebugContext *) override
    {
        return mkdir(path.c_str(), 0700) == 0 || errno == EEXIST
                   ? IOStatus::OK()
                   : from_errno(errno, "create", path);
    }
    IOStatus DeleteDir(const std::string &path, const IOOptions &, IODebugContext *) override
    {
        return rmdir(path.c_str()) == 0 ? IOStatus::OK() : from_errno(errno, "delete", path);
    }
    IOStatus IsDirectory(const std::string &path, const IOOptions &, bool *is,
                         IODebugContext *) override
    {
        struct stat st;

        *is = false;
        if (stat(path.c_str(), &st) != 0)
            return from_errno(errno, "examine", path);
        *is = S_ISDIR(st.st_mode);
        return IOStatus::OK();
    }
    IOStatus NumFileLinks(const std::string &path, const IOOptions &, uint64_t *count,
                          IODebugContext *) override
    {
        struct stat st;

        *count = 0;
        if (stat(path.c_str(), &st) != 0)
            return from_errno(errno, "examine", path);
        *count = st.st_nlink;
        return IOStatus::OK();
    }
    IOStatus AreFilesSame(const std::string &a, const std::string &b, const IOOptions &, bool *same,
                          IODebugContext *) override
    {
        struct stat x, y;

        *same = false;
        if (stat(a.c_str(), &x) != 0 || stat(b.c_str(), &y) != 0)
            return from_errno(errno, "examine", a);
        *same = x.st_dev == y.st_dev && x.st_ino == y.st_ino;
        return IOStatus::OK();
    }
    IOStatus GetFreeSpace(const std::string &path, const IOOptions &, uint64_t *bytes,
                          IODebugContext *) override
    {
        Err e;
        return store__io_free_bytes(path.c_str(), bytes, e).failed ? e.io() : IOStatus::OK();
    }
    IOStatus GetAbsolutePath(const std::string &path, const IOOptions &, std::string *out,
                             IODebugContext *) override
    {
        if (!path.empty() && path[0] == '/') {
            *out = path;
            return IOStatus::OK();
        }
        char here[PATH_MAX];
        if (!getcwd(here, sizeof(here)))
            return from_errno(errno, "examine", path);
        *out = std::string(here) + "/" + path;
        return IOStatus::OK();
    }
    IOStatus GetTestDirectory(const IOOptions &, std::string *, IODebugContext *) override
    {
        return refused("a test directory");
    }

    /* The store holds the directory's lock before the engine is opened. */
    IOStatus LockFile(const std::string &, const IOOptions &, rocksdb::FileLock **lock,
                      IODebugContext *) override
    {
        *lock = new Lock;
        return IOStatus::OK();
    }
    IOStatus UnlockFile(rocksdb::FileLock *lock, const IOOptions &, IODebugContext *) override
    {
        delete lock;
        return IOStatus::OK();
    }

  private:
    static bool sealed_name(const std::string &path, struct store__name *n)
    {
        store__path_parse(path.c_str(), n);
        return (n->kind == STORE__K_SEALED || n->kind == STORE__K_TEMP) && n->role != STORE__ANCHOR;
    }

    static IOStatus unknown(const std::string &path)
    {
        return IOStatus::NotSupported("a file of this name is never used", path);
    }

    /* Is it a file of the open store (or its archive), and not of a checkpoint that is being made? */
    bool in_store(const std::string &path) const
    {
        std::string parent = path.substr(0, path.rfind('/'));

        while (!parent.empty() && parent.back() == '/')
            parent.pop_back();
        return parent == shared_->dir || parent == shared_->dir + "/archive";
    }

    IOStatus new_stream(const std::string &path, const struct store__name &n,
                        std::unique_ptr<rocksdb::FSWritableFile> *out)
    {
        bool pinned = in_store(path) && (n.role == STORE__JOURNAL || n.role == STORE__MANIFEST);
        struct store__stream_writer *w;
        Err e;

        /* When a journal is listed, those before it are complete on disk: so no later one can hold a commit whose predecessors are lost. */
        if (pinned && n.role == STORE__JOURNAL &&
            store__anchor_sync_journals(shared_->anchor, nullptr, e).failed)
            return e.io();
        if (store__stream_create(&shared_->seal, path.c_str(), n.role, n.number, &w, e).failed)
            return e.io(n.role == STORE__IDENTITY);
        if (pinned && store__anchor_created(shared_->anchor, w, e).failed) {
            store__stream_writer_free(w);
            return e.io();
        }
        out->reset(new StreamWriter(shared_, w, n.role, pinned));
        return IOStatus::OK();
    }

    IOStatus stream_size(const std::string &path, const struct store__name &n, uint64_t *size)
    {
        struct store__stream_end end;
        struct store__stream *s;
        struct slice plain;
        bool more = true;
        Err e;
        rc_t rc = RC_OK;

        if (store__stream_open(&shared_->seal, path.c_str(), n.role, n.number, &s, e).failed)
            return e.io(n.role == STORE__IDENTITY);
        while (more && !rc.failed)
            rc = store__stream_next(s, &plain, &more, e);
        store__stream_state(s, &end);
        store__stream_free(s);
        *size = end.logical;
        return rc.failed ? e.io(n.role == STORE__IDENTITY) : IOStatus::OK();
    }

    std::shared_ptr<Shared> shared_;
};

} /* namespace */

std::shared_ptr<rocksdb::FileSystem> make_file_system(const std::shared_ptr<Shared> &shared)
{
    return std::make_shared<SealedFileSystem>(shared);
}

} /* namespace store_rocks */
