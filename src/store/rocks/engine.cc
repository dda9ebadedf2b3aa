/* engine.cc - mutexes, logger and listener for the engine. */
#include "rocks.h"

#include <chrono>
#include <condition_variable>
#include <stdarg.h>

#include <rocksdb/env.h>
#include <rocksdb/utilities/transaction_db_mutex.h>

namespace store_rocks {
namespace {

/* The library's own mutex honours lock_timeout = 0 for its *internal* stripe mutexes too, and then fails transactions on disjoint keys. This one always locks. */
class Mutex : public rocksdb::TransactionDBMutex {
  public:
    rocksdb::Status Lock() override
    {
        m_.lock();
        return rocksdb::Status::OK();
    }
    rocksdb::Status TryLockFor(int64_t) override
    {
        return Lock();
    }
    void UnLock() override
    {
        m_.unlock();
    }

  private:
    friend class CondVar;
    std::mutex m_;
};

class CondVar : public rocksdb::TransactionDBCondVar {
  public:
    rocksdb::Status Wait(std::shared_ptr<rocksdb::TransactionDBMutex> mutex) override
    {
        std::unique_lock<std::mutex> l(static_cast<Mutex *>(mutex.get())->m_, std::adopt_lock);
        cv_.wait(l);
        l.release();
        return rocksdb::Status::OK();
    }
    rocksdb::Status WaitFor(std::shared_ptr<rocksdb::TransactionDBMutex> mutex,
                            int64_t timeout_us) override
    {
        std::unique_lock<std::mutex> l(static_cast<Mutex *>(mutex.get())->m_, std::adopt_lock);
        bool woken = true;

        if (timeout_us < 0)
            cv_.wait(l);
        else
            woken = cv_.wait_for(l, std::chrono::microseconds(timeout_us)) ==
                    std::cv_status::no_timeout;
        l.release();
        return woken ? rocksdb::Status::OK()
                     : rocksdb::Status::TimedOut(rocksdb::Status::SubCode::kMutexTimeout);
    }
    void Notify() override
    {
        cv_.notify_one();
    }
    void NotifyAll() override
    {
        cv_.notify_all();
    }

  private:
    std::condition_variable cv_;
};

class MutexFactory : public rocksdb::TransactionDBMutexFactory {
  public:
    std::shared_ptr<rocksdb::TransactionDBMutex> AllocateMutex() override
    {
        return std::make_shared<Mutex>();
    }
    std::shared_ptr<rocksdb::TransactionDBCondVar> AllocateCondVar() override
    {
        return std::make_shared<CondVar>();
    }
};

/* The library's log lines can hold keys. Of an error, the constant part of the text goes to the owner; everything else is dropped. */
class Logger : public rocksdb::Logger {
  public:
    explicit Logger(const std::shared_ptr<Shared> &shared)
        : rocksdb::Logger(rocksdb::InfoLogLevel::ERROR_LEVEL), shared_(shared)
    {
    }
    using rocksdb::Logger::Logv;
    void Logv(const char *, va_list) override
    {
    }
    void Logv(const rocksdb::InfoLogLevel level, const char *format, va_list) override
    {
        if (level == rocksdb::InfoLogLevel::ERROR_LEVEL ||
            level == rocksdb::InfoLogLevel::FATAL_LEVEL)
            shared_->event(STORE_EV_ENGINE, format);
    }
    void LogHeader(const char *, va_list) override
    {
    }

  private:
    std::shared_ptr<Shared> shared_;
};

/* Background errors. Recovery is ours (store_resume()): the library would resume into a full disk and make the error fatal. */
class Listener : public rocksdb::EventListener {
  public:
    explicit Listener(const std::shared_ptr<Shared> &shared) : shared_(shared)
    {
    }
    void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status *status) override
    {
        if (status->severity() >= rocksdb::Status::Severity::kFatalError) {
            if (!shared_->fatal.exchange(true))
                shared_->event(
                    STORE_EV_FATAL,
                    "a write or sync failed in a way that cannot be mended while the store is open");
        } else if (status->severity() >= rocksdb::Status::Severity::kHardError &&
                   !shared_->read_only.exchange(true)) {
            shared_->event(STORE_EV_READ_ONLY,
                           status->subcode() == rocksdb::Status::SubCode::kNoSpace ? "no room"
                                                                                   : "I/O error");
        } else {
            shared_->stalled = true;
        }
    }
    void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                              bool *auto_recovery) override
    {
        *auto_recovery = false;
    }

  private:
    std::shared_ptr<Shared> shared_;
};

} /* namespace */

std::shared_ptr<rocksdb::TransactionDBMutexFactory> make_mutex_factory()
{
    return std::make_shared<MutexFactory>();
}

std::shared_ptr<rocksdb::Logger> make_logger(const std::shared_ptr<Shared> &shared)
{
    return std::make_shared<Logger>(shared);
}

std::shared_ptr<rocksdb::EventListener> make_listener(const std::shared_ptr<Shared> &shared)
{
    return std::make_shared<Listener>(shared);
}

} /* namespace store_rocks */
