/* state.c - Ready or Inaccessible. The drawing and the rules are in the header. */
#include "keys/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/kdf.h"

enum {
    SAVE_EVERY_US = 60 * 1000 * 1000,
    STORAGE_MAX_US = 60 * 1000 * 1000,
    STORAGE_DOUBLINGS = 12
};

const char *key_state_name(enum key_state s)
{
    return s == KEY_READY ? "Ready" : "Inaccessible";
}

const char *ks_cause_name(enum ks_cause c)
{
    return c == KS_CAUSE_DENIED    ? "denied"
           : c == KS_CAUSE_GRACE   ? "gracePeriod"
           : c == KS_CAUSE_STORAGE ? "storage"
                                   : "";
}

struct ks_time ks_now(void)
{
    return (struct ks_time){ .boot_us = clock_boot_us(), .real_ms = clock_real_ms() };
}

/* interval(): shortened by up to jitter_pct per cent, so that many nodes do not ask in step. splitmix64. */
static uint64_t interval(struct key_machine *m)
{
    uint64_t z = m->seed += 0x9e3779b97f4a7c15u;
    uint64_t range = m->cfg.interval_us / 100 * MIN(m->cfg.jitter_pct, 100u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return m->cfg.interval_us - (range ? z % range : 0);
}

static void schedule(struct key_machine *m, uint64_t at_boot_us, bool fresh)
{
    m->next_boot_us = at_boot_us;
    m->next_fresh = fresh;
}

static void enter(struct key_machine *m, enum key_state s, enum ks_cause cause, struct ks_time now)
{
    m->state = s;
    m->cause = cause;
    m->since = now;
    m->denied = false;
    if (s == KEY_READY)
        schedule(m, now.boot_us + interval(m), false);
    else
        schedule(m, now.boot_us + m->cfg.sealed_interval_us, true);
}

void ks_init(struct key_machine *m, const struct ks_config *cfg, enum key_state s,
             struct ks_time now, uint64_t seed)
{
    memset(m, 0, sizeof(*m));
    m->cfg = *cfg;
    m->seed = seed;
    m->tag_grace_ms = -1;
    m->last_class = s == KEY_READY ? PROBE_OK : PROBE_UNREACHABLE;
    m->have_ok = s == KEY_READY;
    m->last_ok = m->last_probe = now;
    enter(m, s, KS_CAUSE_NONE, now);
    if (s == KEY_INACCESSIBLE)
        schedule(m, now.boot_us, true); /* nothing was asked yet */
}

struct ks_plan ks_next(const struct key_machine *m)
{
    return (struct ks_plan){ .due_boot_us = m->next_boot_us, .fresh = m->next_fresh };
}

void ks_began(struct key_machine *m, struct ks_time now)
{
    m->probing = true;
    m->probe_boot_us = now.boot_us;
}

uint64_t ks_grace_us(const struct key_machine *m)
{
    if (m->tag_grace_ms >= 0 && (uint64_t)m->tag_grace_ms < m->cfg.grace_us / 1000)
        return (uint64_t)m->tag_grace_ms * 1000;
    return m->cfg.grace_us;
}

/* since_ok_us(): on the larger of the two clocks. Boot time cannot be set, real time goes on while a machine is paused. */
static uint64_t since_ok_us(const struct key_machine *m, struct ks_time now)
{
    uint64_t boot = now.boot_us > m->last_ok.boot_us ? now.boot_us - m->last_ok.boot_us : 0;
    int64_t real_ms;

    if (now.real_ms <= m->last_ok.real_ms)
        return boot;
    if (!i64_sub(now.real_ms, m->last_ok.real_ms, &real_ms) || real_ms > INT64_MAX / 1000)
        return UINT64_MAX;
    return MAX(boot, (uint64_t)real_ms * 1000);
}

uint64_t ks_grace_left_us(const struct key_machine *m, struct ks_time now)
{
    uint64_t gone = m->have_ok ? since_ok_us(m, now) : UINT64_MAX, grace = ks_grace_us(m);

    return gone < grace ? grace - gone : 0;
}

static unsigned seal(struct key_machine *m, enum ks_cause cause, struct ks_time now)
{
    enter(m, KEY_INACCESSIBLE, cause, now);
    return KS_SEAL | KS_SAVE;
}

/* worth_saving(): an OK moves the grace period; writing that down once a minute is enough. */
static unsigned worth_saving(struct key_machine *m, struct ks_time now)
{
    if (m->saved_boot_us && now.boot_us - m->saved_boot_us < SAVE_EVERY_US)
        return KS_NOTHING;
    m->saved_boot_us = now.boot_us;
    return KS_SAVE;
}

static unsigned on_ok(struct key_machine *m, struct ks_time now)
{
    unsigned todo = worth_saving(m, now);

    m->last_ok = now;
    m->have_ok = true;
    m->denied = false;
    if (m->state == KEY_INACCESSIBLE) {
        schedule(m, now.boot_us + m->cfg.sealed_interval_us, true); /* should coming back fail */
        return todo | KS_RETURN;
    }
    schedule(m, now.boot_us + interval(m), false);
    return todo;
}

/* on_denied(): while Ready. */
static unsigned on_denied(struct key_machine *m, bool fresh, struct ks_time now)
{
    if (!fresh) { /* an old connection may carry an old verdict: look again, at once */
        schedule(m, now.boot_us, true);
        return KS_NOTHING;
    }
    if (m->denied && now.boot_us - m->denied_boot_us >= m->cfg.confirm_us)
        return seal(m, KS_CAUSE_DENIED, now);
    if (!m->denied) {
        m->denied = true;
        m->denied_boot_us = now.boot_us;
    }
    schedule(m, m->denied_boot_us + m->cfg.confirm_us, true);
    return KS_NOTHING;
}

/* on_silence(): throttled, unreachable or bad, while Ready: no verdict on the key. */
static void on_silence(struct key_machine *m, struct ks_time now)
{
    bool suspect = m->denied || m->next_fresh;

    schedule(m, now.boot_us + (suspect ? MIN(m->cfg.confirm_us, m->cfg.interval_us) : interval(m)),
             suspect);
}

unsigned ks_probed(struct key_machine *m, enum probe_class cls, bool fresh, int64_t tag_grace_ms,
                   struct ks_time now)
{
    unsigned todo = KS_NOTHING;

    m->probing = false;
    m->last_probe = now;
    m->last_class = cls;
    if (cls == PROBE_BAD && !m->alarmed)
        todo |= KS_ALARM;
    m->alarmed = cls == PROBE_BAD;
    if (cls == PROBE_OK) {
        if (tag_grace_ms != GRACE_UNREAD && tag_grace_ms != m->tag_grace_ms) {
            m->tag_grace_ms = tag_grace_ms;
            m->saved_boot_us = 0; /* a restart is not to forget the owner's word */
        }
        return todo | on_ok(m, now);
    }
    if (m->state == KEY_INACCESSIBLE) {
        if (m->cause == KS_CAUSE_STORAGE && cls == PROBE_DENIED)
            m->cause = KS_CAUSE_DENIED;
        schedule(m, now.boot_us + m->cfg.sealed_interval_us, true);
        return todo;
    }
    if (cls == PROBE_DENIED)
        todo |= on_denied(m, fresh, now);
    else
        on_silence(m, now);
    if (m->state == KEY_READY && ks_grace_left_us(m, now) == 0)
        todo |= seal(m, KS_CAUSE_GRACE, now);
    return todo;
}

void ks_discard(struct key_machine *m, struct ks_time now)
{
    m->probing = false;
    schedule(m, now.boot_us + MIN(m->cfg.confirm_us, m->cfg.interval_us), true);
}

unsigned ks_overdue(struct key_machine *m, struct ks_time now)
{
    bool probing = m->probing;
    unsigned todo;

    if (now.boot_us - m->probe_boot_us < m->cfg.overdue_us)
        return KS_NOTHING;
    todo = ks_probed(m, PROBE_UNREACHABLE, false, m->tag_grace_ms, now);
    m->probing = probing; /* it hangs still: counted again after as long */
    m->probe_boot_us = now.boot_us;
    return todo;
}

void ks_revalidate(struct key_machine *m, struct ks_time now)
{
    if (m->probing || (m->state == KEY_READY && m->denied))
        return;
    m->next_boot_us = MIN(m->next_boot_us, now.boot_us);
}

void ks_returned(struct key_machine *m, struct ks_time now)
{
    m->last_ok = now;
    m->have_ok = true;
    enter(m, KEY_READY, KS_CAUSE_NONE, now);
}

void ks_return_failed(struct key_machine *m, struct ks_time now)
{
    schedule(m, now.boot_us + m->cfg.sealed_interval_us, true);
}

void ks_storage_failed(struct key_machine *m, unsigned tries, struct ks_time now)
{
    uint64_t most = MAX((uint64_t)STORAGE_MAX_US, m->cfg.sealed_interval_us);
    unsigned doublings = MIN(tries > 0 ? tries - 1 : 0, (unsigned)STORAGE_DOUBLINGS);

    m->cause = KS_CAUSE_STORAGE;
    m->last_class = PROBE_OK;
    schedule(m, now.boot_us + MIN(m->cfg.sealed_interval_us << doublings, most), true);
}

/*   off  size                                off  size
 *     0     8  magic "COFERKST"                52     8  last OK, real ms
 *     8     2  format, 1                       60     8  since, boot us
 *    10     1  state                           68     8  since, real ms
 *    11     1  cause                           76     8  tag's grace period, ms
 *    12     1  have a last OK                  84    32  SHA-256 of all before
 *    13     3  zero
 *    16    16  boot id
 *    32    12  zero
 *    44     8  last OK, boot us */
enum { SAVED_BODY = 84, SAVED_LEN = SAVED_BODY + SHA256_LEN, SAVED_FORMAT = 1, BOOT_ID_LEN = 16 };
static const char saved_magic[8] = "COFERKST"; /* no NUL */

void ks_save(const struct key_machine *m, const uint8_t boot_id[16], struct buf *out)
{
    static const uint8_t zero[12];
    uint8_t digest[SHA256_LEN];
    struct err e = { 0 };

    buf_clear(out);
    buf_push(out, saved_magic, sizeof(saved_magic));
    buf_push_be16(out, SAVED_FORMAT);
    buf_push_u8(out, (uint8_t)m->state);
    buf_push_u8(out, m->cause == KS_CAUSE_STORAGE ? KS_CAUSE_NONE : (uint8_t)m->cause);
    buf_push_u8(out, m->have_ok);
    buf_push(out, zero, 3);
    buf_push(out, boot_id, BOOT_ID_LEN);
    buf_push(out, zero, sizeof(zero));
    buf_push_be64(out, m->last_ok.boot_us);
    buf_push_be64(out, (uint64_t)m->last_ok.real_ms);
    buf_push_be64(out, m->since.boot_us);
    buf_push_be64(out, (uint64_t)m->since.real_ms);
    buf_push_be64(out, (uint64_t)m->tag_grace_ms);
    INVARIANT(out->len == SAVED_BODY);
    INVARIANT(!sha256(&SLICE(out->p, out->len), 1, digest, &e).failed);
    buf_push(out, digest, sizeof(digest));
}

RC ks_restore(struct key_machine *m, const uint8_t boot_id[16], struct slice saved,
              struct ks_time now, struct err *e)
{
    static const uint8_t zero[12];
    const uint8_t *p = saved.p;
    struct ks_time last_ok, since;
    uint8_t digest[SHA256_LEN];
    bool same_boot;

    if (saved.len != SAVED_LEN || memcmp(p, saved_magic, sizeof(saved_magic)) != 0 ||
        get_be16(p + 8) != SAVED_FORMAT)
        FAIL(e, ERR_CORRUPT, "the saved key state is damaged");
    TRY(sha256(&SLICE(p, SAVED_BODY), 1, digest, e));
    if (!ct_equal(digest, p + SAVED_BODY, SHA256_LEN) || p[10] > KEY_INACCESSIBLE ||
        p[11] > KS_CAUSE_GRACE || p[12] > 1 || memcmp(p + 13, zero, 3) != 0 ||
        memcmp(p + 32, zero, sizeof(zero)) != 0)
        FAIL(e, ERR_CORRUPT, "the saved key state is damaged");
    same_boot =
        memcmp(p + 16, boot_id, BOOT_ID_LEN) == 0 && memcmp(boot_id, zero, sizeof(zero)) != 0;
    /* of another boot: boot time began anew, only real time tells how long it was */
    last_ok =
        (struct ks_time){ same_boot ? get_be64(p + 44) : now.boot_us, (int64_t)get_be64(p + 52) };
    since =
        (struct ks_time){ same_boot ? get_be64(p + 60) : now.boot_us, (int64_t)get_be64(p + 68) };
    /* the customer's wish holds until a probe has seen what it is now */
    m->tag_grace_ms = (int64_t)get_be64(p + 76);
    if (m->state == KEY_READY) /* the key was just used: nothing older matters */
        return RC_OK;
    m->have_ok = p[12];
    m->last_ok = last_ok;
    if (p[10] == KEY_INACCESSIBLE) {
        m->since = since;
        m->cause = (enum ks_cause)p[11];
    }
    return RC_OK;
}

void ks_boot_id(uint8_t out[16])
{
    AUTO(fd_closep) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    char text[64] = { 0 }, plain[33] = { 0 };
    size_t n = 0;

    memset(out, 0, BOOT_ID_LEN);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 36)
        return;
    for (const char *c = text; *c && n < 32; c++)
        if (*c != '-' && *c != '\n')
            plain[n++] = *c;
    if (hex_decode(SLICE(plain, n), &bytes) && bytes.len == BOOT_ID_LEN)
        memcpy(out, bytes.p, BOOT_ID_LEN);
}
