/* log.h - events with typed fields, as text or JSON lines.
 *
 * Model    An event is a row of tables/events.def (name, level, sentence) plus fields. A field's type decides how it is printed: what
 *          a client sent goes through KV_USER, which prints only its length and a per-process keyed hash, never the bytes. There
 *          is no field type for keys or tokens. log_err() prints a struct err.
 * Levels   LOG_WARN and LOG_ERROR mean that somebody should act.
 * Crash    Each thread keeps a ring of its last events; base_panic() prints it.
 * Threads  Everything here is callable from any thread after log_init(); one write(2) for a line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_NR };

enum event {
#define EVENT(id, level, name, sentence) id,
#include "events.def"
#undef EVENT
    EV_NR
};

enum kv_type { KV_T_STR, KV_T_I64, KV_T_U64, KV_T_BOOL, KV_T_F64, KV_T_HEX, KV_T_USER };

struct kv {
    const char *key;
    enum kv_type type;
    union {
        const char *str;
        int64_t i64;
        uint64_t u64;
        double f64;
        bool flag;
        struct slice bytes;
    } v;
};

/* operator's text: paths, names of keys */
#define KV_STR(k, x) ((struct kv){ .key = (k), .type = KV_T_STR, .v.str = (x) })
#define KV_I64(k, x) ((struct kv){ .key = (k), .type = KV_T_I64, .v.i64 = (int64_t)(x) })
#define KV_U64(k, x) ((struct kv){ .key = (k), .type = KV_T_U64, .v.u64 = (uint64_t)(x) })
#define KV_F64(k, x) ((struct kv){ .key = (k), .type = KV_T_F64, .v.f64 = (x) })
#define KV_BOOL(k, x) ((struct kv){ .key = (k), .type = KV_T_BOOL, .v.flag = (x) })
/* ids, salts; never keys */
#define KV_HEX(k, p_, n_) ((struct kv){ .key = (k), .type = KV_T_HEX, .v.bytes = SLICE(p_, n_) })
/* a struct slice from a client: redacted */
#define KV_USER(k, s) ((struct kv){ .key = (k), .type = KV_T_USER, .v.bytes = (s) })

struct log_config {
    int fd; /* written to, not owned; 2 = stderr */
    enum log_level min_level;
    bool json;           /* JSON lines instead of text */
    const char *program; /* "cofferd"; static */
    /* of the file that fd is open on, for log_rotate(); NULL: none. Lives as long as the process logs */
    const char *path;
};

/* log_init(): call once before threads start; may be called again to change the settings. */
void log_init(const struct log_config *c);
/* log_rotate(): the file goes on as PATH.TIME (2026-11-24T03-37-34), what is logged from now on goes to a new one at PATH. Nothing is done when the log is
 * not a file. Errors: ERR_FILE_RENAME_FAILED (there is one of that second already, or the directory refuses), ERR_IO: the log is as it was. */
RC log_rotate(struct err *e);
bool log_enabled(enum log_level level);
/* log_set_level(): from now on; the one before. */
enum log_level log_set_level(enum log_level level);
void log_write(enum event ev, const struct kv *kvs, size_t n);
#define log_event(ev, ...)                                                                         \
    log_write((ev), (const struct kv[]){ __VA_ARGS__ },                                            \
              sizeof((const struct kv[]){ __VA_ARGS__ }) / sizeof(struct kv))
#define log_event0(ev) log_write((ev), NULL, 0)
/* log_err(): an event that reports an error: code, name, msg is included only when no client document can be in it
 * (codes from ERR_COFFER_FIRST on); detail, place and advice always. */
void log_err(enum event ev, const struct err *e, const struct kv *kvs, size_t n);
/* log_ring_dump(): the calling thread's recent events to fd; async-signal-safe. */
void log_ring_dump(int fd);
/* log_recent(): the newest lines of the process for getLog, oldest first, handed to fn one at a time. */
void log_recent(void (*fn)(const char *line, void *arg), void *arg);

#endif
