/* vault_audit.c - one record for each operation on keys, sealed and chained (vault_audit_segment.c), and the pin that says how many there are.
 *
 * Order     Before an operation vault__audit_ready() takes room for its record from the file system and renews the pin when it is due; then the operation;
 *           then its record; then the answer. So a full disk refuses an operation before it has done anything. A record that cannot be written
 *           after all (the disk itself fails) withholds the answer.
 * Segments  Every start, and every AUDIT_SEGMENT_MAX bytes, begins a file of its own; so does a record that failed, whose nonce has been used.
 * Pin       Beside the root key: at least so many records, and the chain over them. Renewed at the first operation PIN_US after the last time, at
 *           operations that change a key before they are answered, and at the end. What came after the last pin can be lost with the machine's power, or
 *           be cut off unnoticed: the price of not syncing each record. It also says from which segment on the log is kept, and the chain before that.
 * Retention A segment whose records are all too old, or one too many, is told of in a record, then left out in the pin, then removed (vault__audit_keep()).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"
#include "crypto/secret.h"
#include "kmsg/kjson.h"
#include "vault_audit_log_priv.h"
#include "vault_priv.h"

enum {
    ROOM_STEP = 1 << 20, /* taken from the file system at a time */
    PIN_US = 1000000,
    P_STORE = 8,
    P_SEQ = 24,
    P_CHAIN = 32,
    P_FIRST = 64,
    P_BEFORE_SEQ = 72,
    P_BEFORE_CHAIN = 80,
    P_MAC = 112,
    PIN_LEN = 144,
    /* of a pin that an earlier release wrote: nothing had been taken away */
    P1_MAC = 64,
    P1_LEN = 96,
    PIECES = 16, /* of the time that records are kept: a segment is never open for longer */
};
_Static_assert(P_MAC + SHA256_LEN == PIN_LEN && P1_MAC + SHA256_LEN == P1_LEN,
               "a pin ends with its MAC");

static const char pin_magic[8] = "CFRVAPN2", pin1_magic[8] = "CFRVAPN1";

char *vault__audit_path(const struct vault_audit *a, uint64_t number)
{
    return mem_printf("%s/%08llu.log", a->dir, (unsigned long long)number);
}

RC vault__audit_segment(const struct vault_audit *a, uint64_t number, struct buf *out,
                        struct err *e)
{
    AUTO(mem_freep) char *path = vault__audit_path(a, number);

    buf_clear(out);
    if (!path_exists(path))
        FAIL(e, ERR_CORRUPT, "audit segment %llu is gone", (unsigned long long)number);
    return file_read(path, AUDIT_SEGMENT_MAX, out, e);
}

/* What later bytes build on, a pin or another segment's header, is on the disk before them: else a machine that loses its power then would seem to have
 * lost records. */
static RC sync_segment(const struct vault_audit *a, int fd, struct err *e)
{
    int sys = fault_hit("audit.sync");

    if (!sys && fdatasync(fd) != 0)
        sys = errno;
    return sys ? file_err(e, sys, "sync", a->dir) : RC_OK;
}

/* ---- the pin ---- */

static RC pin_mac(struct vault_service *s, const uint8_t *pin, size_t len, uint8_t out[SHA256_LEN],
                  struct err *e)
{
    AUTO(secret_freep) struct secret *k = NULL;
    struct slice part = SLICE(pin, len);

    TRY(vault__derive(s, LABEL_PIN, SLICE(pin + P_STORE, 16), SLICE_LIT("vault audit"), &k, e));
    return hmac_sha256(k, &part, 1, out, e);
}

static RC pin_write(struct vault_service *s, struct err *e)
{
    struct vault_audit *a = s->audit;
    uint8_t pin[PIN_LEN];

    a->pin_owed = true;
    if (a->fd >= 0)
        TRY(sync_segment(a, a->fd, e));
    memcpy(pin, pin_magic, sizeof pin_magic);
    memcpy(pin + P_STORE, s->store_id, 16);
    put_be64(pin + P_SEQ, a->at.seq);
    memcpy(pin + P_CHAIN, a->at.chain, 32);
    put_be64(pin + P_FIRST, a->first);
    put_be64(pin + P_BEFORE_SEQ, a->before.seq);
    memcpy(pin + P_BEFORE_CHAIN, a->before.chain, 32);
    TRY(pin_mac(s, pin, P_MAC, pin + P_MAC, e));
    TRY(file_write_atomic(a->pin_file, 0600, SLICE(pin, sizeof pin), e));
    a->pinned_seq = a->at.seq;
    a->pinned_us = clock_mono_us();
    a->pin_owed = false;
    return RC_OK;
}

RC vault__audit_pin(struct vault_service *s, struct audit_pin *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    uint8_t mac[SHA256_LEN];

    *out = (struct audit_pin){ .first = 1 };
    if (!path_exists(s->audit->pin_file))
        FAIL(e, ERR_PIN_MISSING, "the pin of the audit log is gone");
    TRY(file_read(s->audit->pin_file, PIN_LEN, &b, e));
    bool older = b.len == P1_LEN && memcmp(b.p, pin1_magic, sizeof pin1_magic) == 0;
    if (!older && (b.len != PIN_LEN || memcmp(b.p, pin_magic, sizeof pin_magic) != 0))
        FAIL(e, ERR_CORRUPT, "the pin of the audit log is damaged");
    size_t body = b.len - SHA256_LEN;
    TRY(pin_mac(s, b.p, body, mac, e));
    if (!ct_equal(mac, b.p + body, sizeof mac) || memcmp(b.p + P_STORE, s->store_id, 16) != 0)
        FAIL(e, ERR_CORRUPT, "the pin of the audit log is damaged, or another vault's");
    out->end.seq = get_be64(b.p + P_SEQ);
    memcpy(out->end.chain, b.p + P_CHAIN, 32);
    if (older)
        return RC_OK;
    out->first = get_be64(b.p + P_FIRST);
    out->before.seq = get_be64(b.p + P_BEFORE_SEQ);
    memcpy(out->before.chain, b.p + P_BEFORE_CHAIN, 32);
    return RC_OK;
}

/* ---- writing ---- */

/* The room that was taken and not used goes back, and with it what was written of a record that failed. */
static void segment_close(struct vault_audit *a)
{
    struct err e = { 0 };

    if (a->fd >= 0 && ftruncate(a->fd, (off_t)a->len) != 0)
        log_event(EV_VAULT_AUDIT_DAMAGED, KV_STR("why", "a record that was written in part stays"));
    if (a->fd >= 0 && sync_segment(a, a->fd, &e).failed)
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
    fd_close(a->fd);
    a->fd = -1;
}

static RC segment_open(struct vault_service *s, struct err *e)
{
    struct vault_audit *a = s->audit;
    AUTO(mem_freep) char *path = vault__audit_path(a, a->number + 1);
    uint8_t header[AUDIT_HEADER_LEN];
    struct audit_keys k;

    if (a->fd >= 0)
        TRY(sync_segment(a, a->fd, e));
    if (vault__audit_begin(s, a->number + 1, &a->at, header, &k, e).failed ||
        file_write_atomic(path, 0600, SLICE(header, sizeof header), e).failed) {
        vault__audit_keys_fini(&k);
        return RC_FAILED;
    }
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) {
        vault__audit_keys_fini(&k);
        return file_err(e, errno, "open", path);
    }
    segment_close(a);
    vault__audit_keys_fini(&a->keys);
    a->fd = fd;
    a->keys = k;
    a->number++;
    a->first_seq = a->at.seq;
    a->began_s = clock_real_s();
    a->len = a->room = AUDIT_HEADER_LEN;
    return RC_OK;
}

/* Room for all that is promised and one more. A file system that cannot take room ahead is found full when the record is written. */
static RC take_room(struct vault_audit *a, struct err *e)
{
    size_t wanted = a->len + (size_t)(a->coming + 1) * AUDIT_FRAME_MAX;

    if (wanted <= a->room)
        return RC_OK;
    wanted += ROOM_STEP;
    int sys = fault_hit("audit.room");
    if (!sys && fallocate(a->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)wanted) != 0 &&
        errno != EOPNOTSUPP && errno != ENOSYS)
        sys = errno;
    if (sys)
        return file_err(e, sys, "take room for", a->dir);
    a->room = wanted;
    return RC_OK;
}

static RC ready_locked(struct vault_service *s, struct err *e)
{
    struct vault_audit *a = s->audit;

    if (a->fd < 0 || a->len + (size_t)(a->coming + 1) * AUDIT_FRAME_MAX > AUDIT_SEGMENT_MAX)
        TRY(segment_open(s, e));
    TRY(take_room(a, e));
    if (a->pin_owed || (a->at.seq > a->pinned_seq && clock_mono_us() - a->pinned_us >= a->pin_us))
        TRY(pin_write(s, e));
    a->coming++;
    return RC_OK;
}

RC vault__audit_ready(struct vault_service *s, struct err *e)
{
    mutex_lock(&s->audit->lock);
    rc_t rc = ready_locked(s, e);
    mutex_unlock(&s->audit->lock);
    return rc;
}

void vault__audit_skip(struct vault_service *s)
{
    mutex_lock(&s->audit->lock);
    if (s->audit->coming > 0)
        s->audit->coming--;
    mutex_unlock(&s->audit->lock);
}

static RC write_locked(struct vault_service *s, struct slice text, struct err *e)
{
    struct vault_audit *a = s->audit;
    AUTO(buf_fini) struct buf out = BUF_INIT;
    struct audit_at next;

    if (a->fd < 0)
        TRY(segment_open(s, e));
    next = a->at;
    TRY(vault__audit_seal(&a->keys, next.seq - a->first_seq, &next, text, &out, e));
    int sys = fault_hit("audit.write");
    rc_t rc = sys ? file_err(e, sys, "write", a->dir) : file_write_fd(a->fd, buf_view(&out), e);
    if (rc.failed) {
        segment_close(a);
        return rc;
    }
    a->len += out.len;
    a->at = next;
    return RC_OK;
}

RC vault__audit_write(struct vault_service *s, struct slice text, bool lasting, struct err *e)
{
    struct vault_audit *a = s->audit;
    struct err why = { 0 };

    mutex_lock(&a->lock);
    if (a->coming > 0)
        a->coming--;
    rc_t rc = write_locked(s, text, e);
    /* the record stands; if its pin does not, the next operation waits for that */
    if (!rc.failed && lasting && pin_write(s, &why).failed)
        log_err(EV_VAULT_FAILED, &why, NULL, 0);
    mutex_unlock(&a->lock);
    return rc;
}

/* ---- opening ---- */

/* Something that a reader must know, as a record of its own. */
static void note_text(const char *operation, const char *what, struct buf *out)
{
    char at[32];

    clock_iso8601(clock_real_ms(), at, sizeof at);
    AUTO(kjson_freep) json_t *j = json_pack("{s:s,s:s,s:s,s:s}", "time", at, "category", "AuditLog",
                                            "operationName", operation, "resultDescription", what);
    INVARIANT(j != NULL);
    kjson_dump(j, out);
}

static RC note(struct vault_service *s, const char *operation, const char *what, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;

    note_text(operation, what, &text);
    return vault__audit_write(s, buf_view(&text), /* lasting= */ true, e);
}

/* The numbers of the oldest and the newest segment; 0: there is none. */
static RC ends_of(const struct vault_audit *a, uint64_t *oldest, uint64_t *newest, struct err *e)
{
    DIR *d = opendir(a->dir);
    struct dirent *entry;

    *oldest = *newest = 0;
    if (!d)
        return file_err(e, errno, "open", a->dir);
    while ((entry = readdir(d))) {
        const char *dot = strchr(entry->d_name, '.');
        uint64_t n;
        if (!dot || strcmp(dot, ".log") != 0 ||
            !text_u64(SLICE(entry->d_name, (size_t)(dot - entry->d_name)), &n) || n == 0)
            continue;
        *newest = MAX(*newest, n);
        *oldest = *oldest ? MIN(*oldest, n) : n;
    }
    closedir(d);
    return RC_OK;
}

/* Goes to the end of the newest segment. what gets what is wrong with it; "" is nothing. */
static RC walk_newest(struct vault_service *s, struct audit_walk *w, size_t *torn, char what[256],
                      struct err *e)
{
    struct vault_audit *a = s->audit;
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct err why = { 0 };

    TRY(vault__audit_segment(a, a->number, &b, e));
    if (vault__audit_start_of(s, buf_view(&b), a->number, &w->at, &why).failed ||
        vault__audit_walk(s, buf_view(&b), a->number, w, NULL, NULL, &why).failed)
        (void)snprintf(what, 256, "%.200s", why.msg);
    *torn = w->torn ? b.len - w->good : 0;
    return RC_OK;
}

/* Without the path that a failed call names: it need not be the UTF-8 that a record is. */
static void why_no_pin(const struct err *why, char what[256])
{
    bool told = why->code == ERR_CORRUPT || why->code == ERR_PIN_MISSING;

    (void)snprintf(what, 256, "%.200s", told ? why->msg : "the pin of the audit log is unreadable");
    if (!told)
        log_err(EV_VAULT_FAILED, why, NULL, 0);
}

/* Without a pin nobody says from where on the log is kept: it begins with what is there. */
static void begin_at(struct vault_service *s, uint64_t oldest)
{
    struct vault_audit *a = s->audit;
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct err ignored = { 0 };

    a->first = MAX(oldest, (uint64_t)1);
    if (a->first > 1 &&
        (vault__audit_segment(a, a->first, &b, &ignored).failed ||
         vault__audit_start_of(s, buf_view(&b), a->first, &a->before, &ignored).failed))
        a->before = (struct audit_at){ 0 };
}

static void compare_pin(struct vault_service *s, uint64_t oldest, struct audit_walk *w,
                        char what[256])
{
    struct vault_audit *a = s->audit;
    struct audit_pin pin;
    struct err why = { 0 };

    if (vault__audit_pin(s, &pin, &why).failed) {
        /* the first start ever has no pin: neither has one whose process ended before it wrote that */
        if (!*what && (why.code != ERR_PIN_MISSING || w->at.seq > 0))
            why_no_pin(&why, what);
        begin_at(s, oldest);
        return;
    }
    a->first = pin.first;
    a->before = pin.before;
    a->number = MAX(a->number, pin.first - 1); /* those numbers were given */
    if (!*what &&
        (pin.end.seq > w->at.seq ||
         (pin.end.seq == w->at.seq && memcmp(pin.end.chain, w->at.chain, sizeof w->at.chain) != 0)))
        (void)snprintf(what, 256, "%llu records were pinned, and %llu are there",
                       (unsigned long long)pin.end.seq, (unsigned long long)w->at.seq);
    if (*what && pin.end.seq > w->at.seq)
        w->at = pin.end; /* numbers are not given twice */
}

/* What is taken away was written down and pinned before: a process that ended in between left files. */
static RC remove_segments(const struct vault_audit *a, uint64_t from, uint64_t to, struct err *e)
{
    for (uint64_t number = from; number < to; number++) {
        AUTO(mem_freep) char *path = vault__audit_path(a, number);
        TRY(file_remove(path, e));
    }
    return RC_OK;
}

/* A torn end is a crash's doing, and goes, with the room that was taken behind it: the segment is complete then. */
static RC settle_newest(const struct vault_audit *a, size_t good, struct err *e)
{
    AUTO(mem_freep) char *path = vault__audit_path(a, a->number);
    AUTO(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)good) != 0)
        return file_err(e, errno, fd < 0 ? "open" : "cut", path);
    return sync_segment(a, fd, e);
}

static RC find_end(struct vault_service *s, char what[256], size_t *torn, struct err *e)
{
    struct vault_audit *a = s->audit;
    struct audit_walk w = { 0 };
    uint64_t oldest, newest;

    TRY(ends_of(a, &oldest, &newest, e));
    a->number = newest;
    if (newest > 0)
        TRY(walk_newest(s, &w, torn, what, e));
    compare_pin(s, oldest, &w, what);
    a->at = w.at;
    if (newest > 0 && !*what)
        TRY(settle_newest(a, w.good, e));
    return oldest > 0 ? remove_segments(a, oldest, MIN(a->first, newest), e) : RC_OK;
}

RC vault__audit_open(struct vault_service *s, struct err *e)
{
    struct vault_audit *a = s->audit = NEW(struct vault_audit);
    char what[256] = "";
    size_t torn = 0;

    mutex_init(&a->lock);
    a->fd = -1;
    a->pin_us = PIN_US;
    a->dir = mem_printf("%s/audit", s->state_dir);
    a->pin_file = mem_printf("%s.audit", s->pin_file);
    TRY(dir_make(a->dir, 0700, e));
    TRY(find_end(s, what, &torn, e));
    TRY(segment_open(s, e));
    if (*what) {
        log_event(EV_VAULT_AUDIT_DAMAGED, KV_STR("why", what));
        TRY(note(s, "AuditDamaged", what, e));
    } else if (torn > 0) {
        (void)snprintf(what, sizeof what, "%zu bytes of a record that a crash tore were cut off",
                       torn);
        TRY(note(s, "AuditTornEnd", what, e));
    }
    return pin_write(s, e);
}

/* ---- what is kept no longer ---- */

void vault__audit_time(struct slice text, char out[32])
{
    static const char mark[] = "\"time\":\"";
    const char *at = memmem(text.p, text.len, mark, sizeof mark - 1);
    size_t left = at ? text.len - (size_t)((const uint8_t *)at - text.p) - (sizeof mark - 1) : 0,
           n = 0;

    if (at)
        at += sizeof mark - 1;
    while (n < left && n < 31 && at[n] != '"')
        n++;
    memcpy(out, at ? at : "", n);
    out[n] = 0;
}

static bool last_time(void *ctx, const struct audit_at *at, struct slice text)
{
    (void)at;
    vault__audit_time(text, ctx);
    return true;
}

/* Looks, once, at the oldest segment, which is not written to any more. One that does not hold is evidence, and stays. */
static RC look_at_first(struct vault_service *s, struct err *e)
{
    struct vault_audit *a = s->audit;
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct audit_walk w = { .at = a->before };
    char ends[32] = "-"; /* before all times: a segment without records */

    if (*a->ends)
        return RC_OK;
    TRY(vault__audit_segment(a, a->first, &b, e));
    TRY(vault__audit_walk(s, buf_view(&b), a->first, &w, last_time, ends, e));
    if (w.torn)
        FAIL(e, ERR_CORRUPT, "audit segment %llu was cut", (unsigned long long)a->first);
    a->next = w.at;
    memcpy(a->ends, ends, sizeof ends);
    return RC_OK;
}

static uint64_t bytes_kept(const struct vault_audit *a)
{
    uint64_t sum = 0;

    for (uint64_t number = a->first; number <= a->number; number++) {
        AUTO(mem_freep) char *path = vault__audit_path(a, number);
        struct stat st;
        if (stat(path, &st) == 0)
            sum += (uint64_t)st.st_size;
    }
    return sum;
}

static bool is_due(struct vault_service *s, int64_t now_s)
{
    const struct vault_audit *a = s->audit;
    char limit[32];

    if (s->audit_keep_bytes > 0 && bytes_kept(a) > s->audit_keep_bytes)
        return true;
    clock_iso8601((now_s - s->audit_keep_s) * 1000, limit, sizeof limit);
    return s->audit_keep_s > 0 && strcmp(a->ends, limit) < 0;
}

/* The record and the pin that say so come before the file goes. */
static RC retire_locked(struct vault_service *s, struct err *e)
{
    struct vault_audit *a = s->audit;
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct audit_at was = a->before;
    char what[160];

    (void)snprintf(what, sizeof what,
                   "records up to number %llu, of %s at the latest, are kept no longer",
                   (unsigned long long)a->next.seq, *a->ends == '-' ? "no time" : a->ends);
    note_text("AuditRetired", what, &text);
    TRY(ready_locked(s, e));
    a->coming--;
    a->before = a->next;
    a->first++;
    if (write_locked(s, buf_view(&text), e).failed || pin_write(s, e).failed) {
        a->before = was;
        a->first--;
        return RC_FAILED;
    }
    *a->ends = 0;
    return RC_OK;
}

/* A segment whose first record is old goes to its end, so that it can grow old as a whole. */
static RC turn_page(struct vault_service *s, int64_t now_s, struct err *e)
{
    const struct vault_audit *a = s->audit;

    if (s->audit_keep_s > 0 && a->at.seq > a->first_seq &&
        now_s - a->began_s > s->audit_keep_s / PIECES)
        return segment_open(s, e);
    return RC_OK;
}

static RC keep_locked(struct vault_service *s, int64_t now_s, uint64_t *from, struct err *e)
{
    struct vault_audit *a = s->audit;

    *from = a->first;
    TRY(turn_page(s, now_s, e));
    while (a->first < a->number) {
        TRY(look_at_first(s, e));
        if (!is_due(s, now_s))
            break;
        TRY(retire_locked(s, e));
    }
    return RC_OK;
}

void vault__audit_keep(struct vault_service *s, int64_t now_s)
{
    struct vault_audit *a = s->audit;
    struct err e = { 0 };
    uint64_t from = 0;

    if (s->audit_keep_s <= 0 && s->audit_keep_bytes == 0)
        return;
    mutex_lock(&a->lock);
    if (a->readers == 0) { /* else at the next look */
        rc_t rc = keep_locked(s, now_s, &from, &e);
        if (remove_segments(a, from, a->first, &e).failed || rc.failed)
            log_err(EV_VAULT_FAILED, &e, NULL, 0);
    }
    mutex_unlock(&a->lock);
}

void vault__audit_close(struct vault_service *s)
{
    struct vault_audit *a = s->audit;
    struct err e = { 0 };

    if (!a)
        return;
    if (a->fd >= 0 && a->at.seq != a->pinned_seq && pin_write(s, &e).failed)
        log_err(EV_VAULT_FAILED, &e, NULL, 0);
    segment_close(a);
    vault__audit_keys_fini(&a->keys);
    mem_free(a->dir);
    mem_free(a->pin_file);
    mutex_fini(&a->lock);
    mem_free(a);
    s->audit = NULL;
}
