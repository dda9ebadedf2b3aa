/* status.cc - errors. Ours cross the engine as text "E9900002: ..." inside its Status, since that is all that it carries through; "E9900000/5: ..." when the
 * system said why. */
#include "rocks.h"

#include <stdio.h>
#include <stdlib.h>

namespace store_rocks {

rocksdb::IOStatus to_io(const struct err &e, bool as_io)
{
    char code[32];

    if (e.sys)
        snprintf(code, sizeof(code), "E%d/%d", static_cast<int>(e.code), e.sys);
    else
        snprintf(code, sizeof(code), "E%d", static_cast<int>(e.code));
    switch (e.code) {
    case ERR_NONE: return rocksdb::IOStatus::OK();
    case ERR_NOT_FOUND: return rocksdb::IOStatus::PathNotFound(code, e.msg);
    case ERR_DISK_FULL: {
        rocksdb::IOStatus s = rocksdb::IOStatus::NoSpace(code, e.msg);
        s.SetRetryable(true);
        return s;
    }
    case ERR_CORRUPT:
    case ERR_STALE:
    case ERR_FOREIGN_FILE:
    case ERR_UNKNOWN_FORMAT:
    case ERR_WRONG_KEY:
    case ERR_MISSING_GENERATION:
        if (!as_io)
            return rocksdb::IOStatus::Corruption(code, e.msg);
        return rocksdb::IOStatus::IOError(code, e.msg);
    default: return rocksdb::IOStatus::IOError(code, e.msg);
    }
}

/* The code that to_io() put into a text, or ERR_NONE; *sys is the errno with it, or 0; *rest is what follows. */
static enum err_code carried(const std::string &text, int *sys, std::string *rest)
{
    *sys = 0;
    for (size_t at = text.find('E'); at != std::string::npos; at = text.find('E', at + 1)) {
        char *end;
        long n = strtol(text.c_str() + at + 1, &end, 10);

        if (n != ERR_DISK_FULL && (n < ERR_COFFER_FIRST || n > ERR_COFFER_FIRST + 999))
            continue;
        if (*end == '/')
            *sys = static_cast<int>(strtol(end + 1, &end, 10));
        *rest = *end == ':' ? std::string(end + 1) : std::string(end);
        if (!rest->empty() && (*rest)[0] == ' ')
            rest->erase(0, 1);
        return static_cast<enum err_code>(n);
    }
    return ERR_NONE;
}

static enum err_code code_of(const rocksdb::Status &st)
{
    using S = rocksdb::Status;

    if (st.severity() >= S::Severity::kFatalError)
        return ERR_ENGINE_FATAL;
    switch (st.code()) {
    case S::Code::kNotFound: return ERR_NOT_FOUND;
    case S::Code::
        kTimedOut: /* kMutexTimeout can't happen with our mutexes and would not be a conflict */
        return st.subcode() == S::SubCode::kMutexTimeout ? ERR_INTERNAL : ERR_WRITE_CONFLICT;
    case S::Code::kBusy:
    case S::Code::kTryAgain: return ERR_WRITE_CONFLICT;
    case S::Code::kAborted:
        return st.subcode() == S::SubCode::kMemoryLimit ? ERR_LOC(257) : ERR_INTERNAL;
    case S::Code::kIOError: return st.subcode() == S::SubCode::kNoSpace ? ERR_DISK_FULL : ERR_IO;
    case S::Code::kCorruption: return ERR_CORRUPT;
    case S::Code::kShutdownInProgress: return ERR_SHUTDOWN_IN_PROGRESS;
    case S::Code::kIncomplete: /* "Memory limit" in some releases, a stalled write in others */
        return st.subcode() == S::SubCode::kMemoryLimit ? ERR_LOC(257) : ERR_IO;
    default: return ERR_INTERNAL;
    }
}

/* Texts of the engine go to the client only when they are ours: its own may hold keys. The log gets its code and sub-code. */
static rc_t raise(const rocksdb::Status &st, enum err_code own, const std::string &rest,
                  const char *what, struct err *e)
{
    enum err_code code = own != ERR_NONE ? own : code_of(st);

    if (st.severity() >= rocksdb::Status::Severity::kFatalError &&
        (own == ERR_NONE || own == ERR_IO || own == ERR_DISK_FULL))
        code = ERR_ENGINE_FATAL;
    if (own ==
        ERR_NOT_FOUND) /* a file that the manifest names; that a key is not there carries no code */
        code = ERR_CORRUPT;
    if (code == ERR_WRITE_CONFLICT)
        FAIL(
            e, code,
            "WriteConflict error: this operation conflicted with another operation. Please retry your operation or multi-document transaction.");
    if (code == ERR_LOC(257))
        FAIL(e, code, "the transaction is too large");
    if (own != ERR_NONE)
        FAIL(e, code, "could not %s: %s", what, rest.c_str());
    FAIL(e, code, "could not %s (engine status %d/%d)", what, static_cast<int>(st.code()),
         static_cast<int>(st.subcode()));
}

rc_t from_status(const rocksdb::Status &st, const char *what, struct err *e)
{
    std::string rest;
    bool first = e && !err_is(e);
    int sys;
    enum err_code own = carried(st.ToString(), &sys, &rest);
    rc_t rc = raise(st, own, rest, what, e);

    if (first)
        e->sys = sys;
    return rc;
}

} /* namespace store_rocks */
