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
            return refused("a file of this name");
        if (n.role == STORE__TABLE) {
            struct store__block_writer *w;

            if (store__block_create(&shared_->seal, path.c_str(), n.number, &w, e).failed)
                return table_failed(e);
            *out = table_writer(w);
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
            *out = frozen_stream(length);
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
            *out = table_reader(b);
            return IOStatus::OK();
        }
        struct buf text = {};
        if (store__small_read(&shared_->seal, path.c_str(), n.role, n.number, SMALL_MAX, &text, e)
                .failed)
            return e.io(n.role == STORE__IDENTITY);
        *out = memory_file(std::string(reinterpret_cast<char *>(text.p), text.len));
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
            *out = table_scanner(b);
            return IOStatus::OK();
        }
        struct store__stream *s;
        if (store__stream_open(&shared_->seal, path.c_str(), n.role, n.number, &s, e).failed)
            return e.io(n.role == STORE__IDENTITY);
        *out = stream_reader(shared_, s, n.role, n.number, in_store(path));
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
        if (shared_->manifest_doubt && in_store(path) && n.kind == STORE__K_SEALED &&
            n.role == STORE__TABLE)
            return refused("deleting while the manifest is in doubt");
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
            shared_->manifest_doubt = false;
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
        if (access(path.c_str(), F_OK) != 0) /* the engine asks for .ldb when an .sst is missing */
            return IOStatus::PathNotFound("E" + std::to_string(static_cast<int>(ERR_NOT_FOUND)),
                                          "\"" + path + "\" is missing");
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
        *out = stream_writer(shared_, w, n.role, pinned);
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
