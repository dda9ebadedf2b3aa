/* vault_audit_read.c - the audit log for its owner: verified, or read. While it is read no segment is taken away. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "kmsg/kjson.h"
#include "vault_audit_log_priv.h"
#include "vault_priv.h"

enum { READ_BATCH_BYTES = 1 << 20 };

/* How far the log reaches now; what is written meanwhile is not looked at. */
struct present {
    uint64_t first, number;
    size_t len; /* of the newest segment */
    struct audit_at before, at;
};

static struct present reading_begin(struct vault_audit *a)
{
    mutex_lock(&a->lock);
    a->readers++;
    struct present p = {
        .first = a->first, .number = a->number, .len = a->len, .before = a->before, .at = a->at
    };
    mutex_unlock(&a->lock);
    return p;
}

static void reading_end(struct vault_audit *a)
{
    mutex_lock(&a->lock);
    a->readers--;
    mutex_unlock(&a->lock);
}

static RC read_present(const struct vault_audit *a, const struct present *p, uint64_t number,
                       struct buf *out, struct err *e)
{
    TRY(vault__audit_segment(a, number, out, e));
    if (number == p->number && out->len > p->len)
        out->len = p->len;
    return RC_OK;
}

struct found {
    struct audit_at pin;
    bool pin_seen, damage_noted;
    char since[32]; /* the first record's time */
};

static bool look(void *ctx, const struct audit_at *at, struct slice text)
{
    static const char mark[] = "\"operationName\":\"AuditDamaged\"";
    struct found *f = ctx;

    if (!*f->since)
        vault__audit_time(text, f->since);
    if (at->seq == f->pin.seq)
        f->pin_seen = memcmp(at->chain, f->pin.chain, sizeof at->chain) == 0;
    if (memmem(text.p, text.len, mark, sizeof mark - 1))
        f->damage_noted = true;
    return true;
}

static RC walk_all(struct vault_service *s, const struct present *p, struct found *f, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct audit_walk w = { .at = p->before };

    for (uint64_t number = p->first; number <= p->number; number++) {
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

static RC verify(struct vault_service *s, const struct present *p, struct found *f, struct err *e)
{
    struct audit_pin pin;

    mutex_lock(&s->audit->lock);
    rc_t rc = vault__audit_pin(s, &pin, e);
    mutex_unlock(&s->audit->lock);
    TRY(rc);
    f->pin = pin.end;
    if (pin.first != p->first || pin.before.seq != p->before.seq ||
        memcmp(pin.before.chain, p->before.chain, sizeof pin.before.chain) != 0)
        FAIL(e, ERR_CORRUPT, "the pin of the audit log says another beginning than the vault");
    /* all that the pin counts may have been taken away; then the beginning is pinned itself */
    f->pin_seen = pin.end.seq == p->before.seq &&
                  memcmp(pin.end.chain, p->before.chain, sizeof pin.end.chain) == 0;
    return walk_all(s, p, f, e);
}

RC vault_audit_verify(struct vault_service *s, struct vault_audit_extent *out, struct err *e)
{
    struct found f = { 0 };

    *out = (struct vault_audit_extent){ 0 };
    struct present p = reading_begin(s->audit);
    rc_t rc = verify(s, &p, &f, e);
    reading_end(s->audit);
    TRY(rc);
    if (!f.pin_seen)
        FAIL(e, ERR_CORRUPT, "the audit log does not hold the record that is pinned");
    if (f.damage_noted)
        FAIL(e, ERR_CORRUPT,
             "the audit log was found damaged at an earlier start: see its record AuditDamaged");
    out->records = p.at.seq;
    out->first = p.before.seq + 1;
    memcpy(out->chain_before, p.before.chain, sizeof out->chain_before);
    (void)snprintf(out->since, sizeof out->since, "%s", f.since);
    return RC_OK;
}

/* The first segment that may hold a record behind `after`. */
static uint64_t first_behind(struct vault_service *s, const struct present *p, uint64_t after)
{
    uint64_t number = p->number;

    for (; number > p->first; number--) {
        AUTO(mem_freep) char *path = vault__audit_path(s->audit, number);
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
    hex_encode(SLICE(at->chain, sizeof at->chain), r->out);
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
    struct present p = reading_begin(s->audit);
    struct reading r = { .out = out, .damage = BUF_INIT, .after = after, .last = after };
    rc_t rc = RC_OK;

    *last = after;
    for (uint64_t number = first_behind(s, &p, after); number <= p.number && !r.full && !rc.failed;
         number++)
        rc = read_one(s, &p, number, &r, e);
    reading_end(s->audit);
    if (r.last > after)
        buf_push(out, r.damage.p, r.damage.len);
    buf_fini(&r.damage);
    TRY(rc);
    *last = r.last;
    return RC_OK;
}
