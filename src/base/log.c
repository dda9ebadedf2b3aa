/* log.c - one line for an event, one write(2) for a line.
 *
 * Each thread keeps its last RING_NR lines for the crash report; the process keeps the last RECENT_NR for getLog. Lines hold no user
 * data (KV_USER prints a length and a keyed hash), so neither does a ring.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "base/thread.h"

enum { RING_NR = 16, LINE_MAX_LEN = 2048, RING_LINE = 240, RECENT_NR = 256 };

static const struct {
    enum log_level level;
    const char *name, *sentence;
} events[EV_NR] = {
#define EVENT(id, level, name, sentence) [id] = { level, name, sentence },
#include "events.def"
#undef EVENT
};

static const char *const level_names[LOG_LEVEL_NR] = { "debug", "info", "warn", "error" };

static struct {
    _Atomic int fd, min_level;
    _Atomic bool json;
    const char *_Atomic program;
    const char *_Atomic path;
} config = { .fd = STDERR_FILENO, .min_level = LOG_INFO, .program = "coffer" };

static _Thread_local struct {
    char line[RING_NR][RING_LINE];
    unsigned next;
} ring;

static struct {
    struct mutex lock;
    char *line[RECENT_NR]; /* guarded by lock */
    unsigned next;         /* guarded by lock */
} recent = { .lock = MUTEX_INIT };

void log_init(const struct log_config *c)
{
    atomic_store(&config.fd, c->fd);
    atomic_store(&config.min_level, (int)c->min_level);
    atomic_store(&config.json, c->json);
    atomic_store(&config.program, c->program);
    atomic_store(&config.path, c->path);
}

static struct mutex rotation = MUTEX_INIT; /* one at a time; a leaf */

/* The descriptor stays the same: whoever is writing a line writes it whole, to the file before or to the one after. */
static RC begin_file(const char *path, int fd, struct err *e)
{
    int fresh = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);

    if (fresh < 0)
        return file_err(e, errno, "open the log", path);
    rc_t rc = RC_OK;
    if (dup3(fresh, fd, O_CLOEXEC) < 0) {
        rc = file_err(e, errno, "replace the log", path);
        unlink(path); /* the old one takes its name back */
    }
    close(fresh);
    return rc;
}

static RC rotate(const char *path, struct err *e)
{
    AUTO(buf_fini) struct buf old = BUF_INIT;
    char when[32];

    clock_iso8601(clock_real_ms(), when, sizeof(when));
    for (char *p = when; *p; p++)
        if (*p == ':')
            *p = '-';
    when[strlen("2026-11-24T03-37-34")] = 0;
    buf_printf(&old, "%s.%s", path, when);
    buf_push_u8(&old, 0);
    const char *aside = (const char *)old.p;
    /* never over one that is there */
    if (renameat2(AT_FDCWD, path, AT_FDCWD, aside, RENAME_NOREPLACE) < 0) {
        int why = errno;
        FAIL(e, ERR_FILE_RENAME_FAILED, "could not rename the log: %s", strerrordesc_np(why));
    }
    if (begin_file(path, atomic_load(&config.fd), e).failed) {
        (void)renameat2(AT_FDCWD, aside, AT_FDCWD, path, RENAME_NOREPLACE);
        return RC_FAILED;
    }
    return RC_OK;
}

RC log_rotate(struct err *e)
{
    const char *path = atomic_load(&config.path);

    if (!path)
        return RC_OK;
    mutex_lock(&rotation);
    rc_t rc = rotate(path, e);
    mutex_unlock(&rotation);
    return rc;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&config.min_level, memory_order_relaxed);
}

enum log_level log_set_level(enum log_level level)
{
    return (enum log_level)atomic_exchange(&config.min_level, (int)level);
}

/* A JSON string; also used for text values that hold a space, a quote or a control character. */
static void put_json_str(struct buf *b, const char *s)
{
    buf_push_u8(b, '"');
    for (; *s; s++) {
        uint8_t c = (uint8_t)*s;
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_printf(b, "\\u%04x", c);
        else
            buf_push_u8(b, c);
    }
    buf_push_u8(b, '"');
}

static bool is_plain(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++) {
        if ((uint8_t)*s <= ' ' || *s == '"' || *s == '\\' || *s == '=' || *s == 0x7f)
            return false;
    }
    return true;
}

static void put_value(struct buf *b, const struct kv *kv, bool json)
{
    switch (kv->type) {
    case KV_T_STR: {
        const char *s = kv->v.str ? kv->v.str : "";
        if (!json && is_plain(s))
            buf_push(b, s, strlen(s));
        else
            put_json_str(b, s);
        break;
    }
    case KV_T_I64: buf_printf(b, "%lld", (long long)kv->v.i64); break;
    case KV_T_U64: buf_printf(b, "%llu", (unsigned long long)kv->v.u64); break;
    case KV_T_BOOL: buf_printf(b, "%s", kv->v.flag ? "true" : "false"); break;
    case KV_T_F64: buf_printf(b, "%.3f", kv->v.f64); break;
    case KV_T_HEX:
        if (json)
            buf_push_u8(b, '"');
        hex_encode(kv->v.bytes, b);
        if (json)
            buf_push_u8(b, '"');
        break;
    case KV_T_USER:
        buf_printf(b, json ? "\"<%zu bytes #%08x>\"" : "<%zu-bytes#%08x>", kv->v.bytes.len,
                   (uint32_t)hash_bytes(kv->v.bytes));
        break;
    }
}

static void format(struct buf *b, enum event ev, const struct kv *kvs, size_t n, bool json)
{
    char when[32];
    clock_iso8601(clock_real_ms(), when, sizeof(when));
    const char *program = atomic_load(&config.program);
    if (json) {
        buf_printf(
            b,
            "{\"t\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"pid\":%d,\"event\":\"%s\",\"msg\":",
            when, level_names[events[ev].level], program, (int)getpid(), events[ev].name);
        put_json_str(b, events[ev].sentence);
    } else {
        buf_printf(b, "%s %-5s %s[%d] %s", when, level_names[events[ev].level], program,
                   (int)getpid(), events[ev].name);
    }
    for (size_t i = 0; i < n; i++) {
        buf_printf(b, json ? ",\"%s\":" : " %s=", kvs[i].key);
        put_value(b, &kvs[i], json);
    }
    if (json)
        buf_push_u8(b, '}');
}

static void remember(const struct buf *b)
{
    char *slot = ring.line[ring.next++ % RING_NR];
    size_t n = MIN(b->len, (size_t)RING_LINE - 1);
    memcpy(slot, b->p, n);
    slot[n] = '\0';

    char *line = mem_strndup((const char *)b->p, b->len);
    mutex_lock(&recent.lock);
    char **at = &recent.line[recent.next++ % RECENT_NR];
    mem_free(*at);
    *at = line;
    mutex_unlock(&recent.lock);
}

void log_write(enum event ev, const struct kv *kvs, size_t n)
{
    INVARIANT(ev < EV_NR);
    if (!log_enabled(events[ev].level))
        return;
    struct buf b = BUF_INIT;
    format(&b, ev, kvs, n, atomic_load(&config.json));
    if (b.len > LINE_MAX_LEN)
        b.len = LINE_MAX_LEN;
    remember(&b);
    buf_push_u8(&b, '\n');
    metric_add(M_LOG_LINES, 1);
    if (write(atomic_load(&config.fd), b.p, b.len) != (ssize_t)b.len)
        metric_add(M_LOG_DROPPED, 1);
    buf_fini(&b);
}

void log_err(enum event ev, const struct err *e, const struct kv *kvs, size_t n)
{
    struct kv all[24];
    char name[24], place[128];
    size_t k = 0;
    for (; k < n && k < ARRAY_LEN(all) - 6; k++)
        all[k] = kvs[k];
    all[k++] = KV_I64("code", e->code);
    all[k++] = KV_STR("codeName", err_code_name(e->code, name, sizeof(name)));
    /* MongoDB's own codes are raised about what a client sent, and their messages may quote it; that of a full disk is raised about our files alone. */
    if (e->code >= ERR_COFFER_FIRST || e->code == ERR_DISK_FULL)
        all[k++] = KV_STR("error", e->msg);
    if (e->detail[0])
        all[k++] = KV_STR("detail", e->detail);
    const char *file = e->file ? strrchr(e->file, '/') : NULL;
    snprintf(place, sizeof(place), "%s:%d", file ? file + 1 : e->file ? e->file : "?", e->line);
    all[k++] = KV_STR("at", place);
    if (err_advice(e->code)[0])
        all[k++] = KV_STR("advice", err_advice(e->code));
    log_write(ev, all, k);
}

void log_ring_dump(int fd)
{
    for (unsigned i = 0; i < RING_NR; i++) {
        const char *line = ring.line[(ring.next + i) % RING_NR];
        size_t n = strnlen(line, RING_LINE);
        if (n && (write(fd, line, n) < 0 || write(fd, "\n", 1) < 0))
            return;
    }
}

void log_recent(void (*fn)(const char *line, void *arg), void *arg)
{
    mutex_lock(&recent.lock);
    for (unsigned i = 0; i < RECENT_NR; i++) {
        const char *line = recent.line[(recent.next + i) % RECENT_NR];
        if (line)
            fn(line, arg);
    }
    mutex_unlock(&recent.lock);
}
