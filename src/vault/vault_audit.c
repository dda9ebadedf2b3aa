/* vault_audit.c - one record for each operation on keys, sealed and chained (vault_audit_segment.c), and the pin that says how many there are.
 *
 * Order     Before an operation vault__audit_ready() takes room for its record from the file system and renews the pin when it is due; then the operation;
 *           then its record; then the answer. So a full disk refuses an operation before it has done anything. A record that cannot be written
 *           after all (the disk itself fails) withholds the answer.
 * Segments  Every start, and every AUDIT_SEGMENT_MAX bytes, begins a file of its own; so does a record that failed, whose nonce has been used.
 * Pin       Beside the root key: at least so many records, and the chain over them. Renewed at the first operation PIN_US after the last time, at
 *           operations that change a key before they are answered, and at the end. What came after the last pin can be lost with the machine's power, or
 *           be cut off unnoticed: the price of not syncing each record.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
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
#include "vault_priv.h"

enum {
    ROOM_STEP = 1 << 20, /* taken from the file system at a time */
    PIN_US = 1000000,
    P_STORE = 8,
    P_SEQ = 24,
    P_CHAIN = 32,
    P_MAC = 64,
    PIN_LEN = 96,
    READ_BATCH_BYTES = 1 << 20,
};
_Static_assert(P_MAC + SHA256_LEN == PIN_LEN, "the pin ends with its MAC");

static const char pin_magic[8] = "CFRVAPN1";

struct vault_audit {
    struct mutex lock; /* guards all below but the two paths */
    char *dir, *pin_file;
    int fd;                 /* of the segment that is written; -1: none, after a failure */
    uint64_t number;        /* of that segment */
    uint64_t first_seq;     /* records before it */
    size_t len, room;       /* of it: written, and taken from the file system */
    struct audit_keys keys; /* of it */
    int coming;             /* records that vault__audit_ready() has promised room to */
    struct audit_at at;
    uint64_t pinned_seq, pinned_us;
    bool pin_owed; /* renewing it failed */
};

static char *segment_path(const struct vault_audit *a, uint64_t number)
{
    return mem_printf("%s/%08llu.log", a->dir, (unsigned long long)number);
}

static RC read_segment(const struct vault_audit *a, uint64_t number, struct buf *out, struct err *e)
{
    AUTO(mem_freep) char *path = segment_path(a, number);

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

static RC pin_mac(struct vault_service *s, const uint8_t *pin, uint8_t out[SHA256_LEN],
                  struct err *e)
{
    AUTO(secret_freep) struct secret *k = NULL;
    struct slice part = SLICE(pin, P_MAC);

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
    TRY(pin_mac(s, pin, pin + P_MAC, e));
    TRY(file_write_atomic(a->pin_file, 0600, SLICE(pin, sizeof pin), e));
    a->pinned_seq = a->at.seq;
    a->pinned_us = clock_mono_us();
    a->pin_owed = false;
    return RC_OK;
}

static RC pin_read(struct vault_service *s, struct audit_at *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    uint8_t mac[SHA256_LEN];

    *out = (struct audit_at){ 0 };
    if (!path_exists(s->audit->pin_file))
        FAIL(e, ERR_PIN_MISSING, "the pin of the audit log is gone");
    TRY(file_read(s->audit->pin_file, PIN_LEN, &b, e));
    if (b.len != PIN_LEN || memcmp(b.p, pin_magic, sizeof pin_magic) != 0)
        FAIL(e, ERR_CORRUPT, "the pin of the audit log is damaged");
    TRY(pin_mac(s, b.p, mac, e));
    if (!ct_equal(mac, b.p + P_MAC, sizeof mac) || memcmp(b.p + P_STORE, s->store_id, 16) != 0)
        FAIL(e, ERR_CORRUPT, "the pin of the audit log is damaged, or another vault's");
    out->seq = get_be64(b.p + P_SEQ);
    memcpy(out->chain, b.p + P_CHAIN, 32);
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
    AUTO(mem_freep) char *path = segment_path(a, a->number + 1);
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
    if (a->pin_owed || (a->at.seq > a->pinned_seq && clock_mono_us() - a->pinned_us >= PIN_US))
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
static RC note(struct vault_service *s, const char *operation, const char *what, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    char at[32];

    clock_iso8601(clock_real_ms(), at, sizeof at);
    AUTO(kjson_freep) json_t *j = json_pack("{s:s,s:s,s:s,s:s}", "time", at, "category", "AuditLog",
                                            "operationName", operation, "resultDescription", what);
    INVARIANT(j != NULL);
    kjson_dump(j, &text);
    return vault__audit_write(s, buf_view(&text), /* lasting= */ true, e);
}

/* The number of the newest segment; 0: there is none. */
static RC newest(const struct vault_audit *a, uint64_t *out, struct err *e)
{
    DIR *d = opendir(a->dir);
    struct dirent *entry;

    *out = 0;
    if (!d)
        return file_err(e, errno, "open", a->dir);
    while ((entry = readdir(d))) {
        const char *dot = strchr(entry->d_name, '.');
        uint64_t n;
        if (dot && strcmp(dot, ".log") == 0 &&
            text_u64(SLICE(entry->d_name, (size_t)(dot - entry->d_name)), &n) && n > *out)
            *out = n;
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

    TRY(read_segment(a, a->number, &b, e));
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

static void compare_pin(struct vault_service *s, struct audit_walk *w, char what[256])
{
    struct audit_at pin;
    struct err why = { 0 };

    if (pin_read(s, &pin, &why).failed) {
        /* the first start ever has no pin: neither has one whose process ended before it wrote that */
        if (!*what && (why.code != ERR_PIN_MISSING || w->at.seq > 0))
            why_no_pin(&why, what);
        return;
    }
    if (!*what && (pin.seq > w->at.seq ||
                   (pin.seq == w->at.seq && memcmp(pin.chain, w->at.chain, sizeof pin.chain) != 0)))
        (void)snprintf(what, 256, "%llu records were pinned, and %llu are there",
                       (unsigned long long)pin.seq, (unsigned long long)w->at.seq);
    if (*what && pin.seq > w->at.seq)
        w->at = pin; /* numbers are not given twice */
}

/* A torn end is a crash's doing, and goes, with the room that was taken behind it: the segment is complete then. */
static RC settle_newest(const struct vault_audit *a, size_t good, struct err *e)
{
    AUTO(mem_freep) char *path = segment_path(a, a->number);
    AUTO(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)good) != 0)
        return file_err(e, errno, fd < 0 ? "open" : "cut", path);
    return sync_segment(a, fd, e);
}

static RC find_end(struct vault_service *s, char what[256], size_t *torn, struct err *e)
{
    struct vault_audit *a = s->audit;
    struct audit_walk w = { 0 };

    TRY(newest(a, &a->number, e));
    if (a->number > 0)
        TRY(walk_newest(s, &w, torn, what, e));
    compare_pin(s, &w, what);
    a->at = w.at;
    return a->number > 0 && !*what ? settle_newest(a, w.good, e) : RC_OK;
}

RC vault__audit_open(struct vault_service *s, struct err *e)
{
    struct vault_audit *a = s->audit = NEW(struct vault_audit);
    char what[256] = "";
    size_t torn = 0;

    mutex_init(&a->lock);
    a->fd = -1;
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

/* ---- for the owner ---- */

/* How far the log reaches now; what is written meanwhile is not looked at. */
struct present {
    uint64_t number;
    size_t len; /* of the newest segment */
    struct audit_at at;
};

static struct present present(struct vault_audit *a)
{
    mutex_lock(&a->lock);
    struct present p = { .number = a->number, .len = a->len, .at = a->at };
    mutex_unlock(&a->lock);
    return p;
}

static RC read_present(const struct vault_audit *a, const struct present *p, uint64_t number,
                       struct buf *out, struct err *e)
{
    TRY(read_segment(a, number, out, e));
    if (number == p->number && out->len > p->len)
        out->len = p->len;
    return RC_OK;
}

struct found {
    struct audit_at pin;
    bool pin_seen, damage_noted;
};

static bool look(void *ctx, const struct audit_at *at, struct slice text)
{
    static const char mark[] = "\"operationName\":\"AuditDamaged\"";
    struct found *f = ctx;

    if (at->seq == f->pin.seq)
        f->pin_seen = memcmp(at->chain, f->pin.chain, sizeof at->chain) == 0;
    if (memmem(text.p, text.len, mark, sizeof mark - 1))
        f->damage_noted = true;
    return true;
}

static RC walk_all(struct vault_service *s, const struct present *p, struct found *f, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct audit_walk w = { 0 };

    for (uint64_t number = 1; number <= p->number; number++) {
        TRY(read_present(s->audit, p, number, &b, e));
        TRY(vault__audit_walk(s, buf_view(&b), number, &w, look, f, e));
        if (w.torn)
            FAIL(e, ERR_CORRUPT, "audit segment %llu was cut", (unsigned long long)number);
    }
    if (w.at.seq != p->at.seq || memcmp(w.at.chain, p->at.chain, sizeof w.at.chain) != 0)
        FAIL(e, ERR_CORRUPT, "%llu audit records were written, and %llu are there",
             (unsigned long long)p->at.seq, (unsigned long long)w.at.seq);
    return RC_OK;
}

RC vault_audit_verify(struct vault_service *s, uint64_t *records, struct err *e)
{
    struct found f = { 0 };

    *records = 0;
    mutex_lock(&s->audit->lock);
    rc_t rc = pin_read(s, &f.pin, e);
    mutex_unlock(&s->audit->lock);
    TRY(rc);
    f.pin_seen = f.pin.seq == 0;
    struct present p = present(s->audit);
    TRY(walk_all(s, &p, &f, e));
    if (!f.pin_seen)
        FAIL(e, ERR_CORRUPT, "the audit log does not hold the record that is pinned");
    if (f.damage_noted)
        FAIL(e, ERR_CORRUPT,
             "the audit log was found damaged at an earlier start: see its record AuditDamaged");
    *records = p.at.seq;
    return RC_OK;
}

/* The first segment that may hold a record behind `after`. */
static uint64_t first_behind(struct vault_service *s, const struct present *p, uint64_t after)
{
    uint64_t number = p->number;

    for (; number > 1; number--) {
        AUTO(mem_freep) char *path = segment_path(s->audit, number);
        AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        uint8_t header[AUDIT_HEADER_LEN];
        struct audit_at start;
        struct err e = { 0 };
        ssize_t n = fd < 0 ? 0 : pread(fd, header, sizeof header, 0);
        if (n > 0 &&
            !vault__audit_start_of(s, SLICE(header, (size_t)n), number, &start, &e).failed &&
            start.seq <= after)
            break;
    }
    return number;
}

struct reading {
    struct buf *out, damage; /* damage: lines that wait for a record to follow */
    uint64_t after, last;
    bool full;
};

static bool take(void *ctx, const struct audit_at *at, struct slice text)
{
    struct reading *r = ctx;

    if (at->seq <= r->after)
        return true;
    r->full = r->out->len + text.len > READ_BATCH_BYTES;
    if (r->full)
        return false;
    buf_push(r->out, r->damage.p, r->damage.len);
    buf_clear(&r->damage);
    buf_printf(r->out, "{\"seq\":%llu,\"chain\":\"", (unsigned long long)at->seq);
    for (size_t i = 0; i < sizeof at->chain; i++)
        buf_printf(r->out, "%02x", at->chain[i]);
    buf_printf(r->out, "\",%.*s\n", (int)text.len - 1, (const char *)text.p + 1);
    r->last = at->seq;
    return true;
}

/* Only what the whole reading needs is an error; a segment that does not hold is told as a line, and the next one read. */
static RC read_one(struct vault_service *s, const struct present *p, uint64_t number,
                   struct reading *r, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct audit_walk w = { 0 };
    struct err why = { 0 };

    if (!read_present(s->audit, p, number, &b, &why).failed &&
        !vault__audit_start_of(s, buf_view(&b), number, &w.at, &why).failed &&
        !vault__audit_walk(s, buf_view(&b), number, &w, take, r, &why).failed)
        return RC_OK;
    if (why.code != ERR_CORRUPT && why.code != ERR_UNKNOWN_FORMAT)
        return err_set(e, why.code, why.file, why.line, "%s", why.msg);
    AUTO(kjson_freep) json_t *j =
        json_pack("{s:I,s:s}", "segment", (json_int_t)number, "damage", why.msg);
    INVARIANT(j != NULL);
    kjson_dump(j, &r->damage);
    buf_push_u8(&r->damage, '\n');
    return RC_OK;
}

RC vault_audit_read(struct vault_service *s, uint64_t after, struct buf *out, uint64_t *last,
                    struct err *e)
{
    struct present p = present(s->audit);
    struct reading r = { .out = out, .damage = BUF_INIT, .after = after, .last = after };
    rc_t rc = RC_OK;

    *last = after;
    for (uint64_t number = first_behind(s, &p, after); number <= p.number && !r.full && !rc.failed;
         number++)
        rc = read_one(s, &p, number, &r, e);
    if (r.last > after)
        buf_push(out, r.damage.p, r.damage.len);
    buf_fini(&r.damage);
    TRY(rc);
    *last = r.last;
    return RC_OK;
}
