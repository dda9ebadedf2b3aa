/* keyloop.c - see keyloop.h.
 *
 * The machine decides, this thread does: it sleeps until the machine wants a probe (or somebody revalidates), probes without holding the lock, and carries out
 * what the machine answers. A probe never waits for a rotation: the canary's target is a copy.
 *
 * Whatever this thread waits for (a vault, a disk, a log that nobody reads) could keep it for ever, and with it the data readable. So another thread watches
 * it: a round that does not end counts as a vault that does not answer, and the grace period runs out on it as well.
 */
#include "keyloop.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "crypto/kdf.h"
#include "making.h"
#include "provider.h"

enum { CLOCK_OFF_S = 300 };

struct keyloop {
    struct keyloop_config c;
    struct key_provider *prober; /* the thread's alone */
    pthread_t thread;
    uint8_t boot_id[16];
    atomic_uint_least64_t epoch; /* odd while the key is being changed */

    struct mutex lock;
    struct cond wake;
    struct key_machine m; /* guarded by lock */
    bool stopping;        /* guarded by lock */
    /* guarded by lock: monotonic: since when the thread is in one round; 0 = it is in none */
    uint64_t round_us;
    /* guarded by lock: the watch has decided to seal: the thread has no say any more */
    bool taken;
    bool active; /* guarded by lock: there is a customer's key */
    /* guarded by lock: the prober is of a configuration that counts no more */
    bool reload;
    uint64_t follow_due_boot_us; /* guarded by lock */
    bool tag_malformed;          /* guarded by lock: and told */
    /* guarded by lock: of the vault's clock, when it is told; else 0 */
    int64_t clock_ahead_s;
    struct err last_err; /* guarded by lock: of the last probe that was not OK */
    int64_t expires_s;   /* guarded by lock: of the version in use */
};

static void save_machine(struct keyloop *k)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };
    mutex_lock(&k->lock);
    ks_save(&k->m, k->boot_id, &text);
    mutex_unlock(&k->lock);
    if (file_write_atomic(k->c.process->machine_path, 0600, buf_view(&text), &e).failed)
        log_err(EV_KEY_STATE_NOT_SAVED, &e, NULL, 0);
}

/* A state file that cannot be read must not keep the node down; it only means that the grace period starts anew, and is said. */
static void restore_machine(struct keyloop *k)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };
    if (file_read(k->c.process->machine_path, 4096, &text, &e).failed) {
        if (e.code != ERR_NOT_FOUND)
            log_err(EV_KEY_STATE_NOT_READ, &e, NULL, 0);
        return;
    }
    if (ks_restore(&k->m, k->boot_id, buf_view(&text), ks_now(), &e).failed)
        log_err(EV_KEY_STATE_NOT_READ, &e, NULL, 0);
}

static RC read_target(struct keyloop *k, struct probe_target *out, struct err *e)
{
    if (k->c.custody) {
        custody_probe_target(k->c.custody, out);
        return RC_OK;
    }
    enum making making;
    TRY(making_read(k->c.process, &making, e));
    struct custody_config cc = { .dir = k->c.process->data_dir,
                                 .pin_path = k->c.process->pin_path,
                                 .mode = process_mode(k->c.process),
                                 .adopt = making == MAKING_RESTORE ||
                                          settings_bool(k->c.process->set, SET_ADOPT) };
    return custody_read_target(&cc, out, e);
}

/* The prober of the configuration in force. */
static RC have_prober(struct keyloop *k, struct err *e)
{
    struct keyconf conf;
    mutex_lock(&k->lock);
    bool reload = k->reload;
    k->reload = false;
    mutex_unlock(&k->lock);
    if (reload)
        provider_freep(&k->prober);
    if (k->prober)
        return RC_OK;
    process_conf(k->c.process, &conf);
    rc_t rc = provider_for_probe(k->c.process, &conf, &k->prober, e);
    keyconf_fini(&conf);
    return rc;
}

/* A new version is to be seen within the follow interval: this probe looks for it when the next one would be too late. */
static bool look_for_newer(struct keyloop *k)
{
    struct settings *s = k->c.process->set;
    if (!k->c.custody)
        return false;
    uint64_t now = clock_boot_us();
    mutex_lock(&k->lock);
    bool due = now + settings_us(s, SET_PROBE_INTERVAL) >= k->follow_due_boot_us;
    if (due)
        k->follow_due_boot_us = now + settings_us(s, SET_KEY_FOLLOW_INTERVAL);
    mutex_unlock(&k->lock);
    return due;
}

static void probe(struct keyloop *k, bool fresh, struct probe_result *out)
{
    struct probe_target target;
    struct err e = { 0 };
    struct settings *s = k->c.process->set;
    *out = (struct probe_result){ .cls = PROBE_BAD, .grace_ms = -1 };
    if (read_target(k, &target, &e).failed || have_prober(k, &e).failed) {
        out->err = e;
        return;
    }
    struct probe_options o = { .fresh = fresh,
                               .timeout_us = settings_us(s, SET_PROBE_TIMEOUT),
                               .look_newer = look_for_newer(k) };
    probe_run(k->prober, &target, &o, out);
}

static void report_probe(const struct probe_result *r, unsigned actions)
{
    metric_set(M_KEY_PROBE_US, (int64_t)r->took_us);
    metric_add(r->cls == PROBE_OK ? M_KEY_PROBES_OK : M_KEY_PROBES_FAILED, 1);
    if (r->cls == PROBE_OK) {
        log_event(EV_KEY_PROBED, KV_STR("class", probe_class_name(r->cls)),
                  KV_U64("us", r->took_us));
        return;
    }
    struct kv kv[] = { KV_STR("class", probe_class_name(r->cls)), KV_U64("us", r->took_us) };
    log_err(actions & KS_ALARM ? EV_KEY_ALARM : EV_KEY_PROBE_FAILED, &r->err, kv, ARRAY_LEN(kv));
}

/* The customer wanted to shorten the grace period and did not manage to: that is told once. */
static void report_tag(struct keyloop *k, bool malformed)
{
    mutex_lock(&k->lock);
    bool news = malformed && !k->tag_malformed;
    k->tag_malformed = malformed;
    mutex_unlock(&k->lock);
    if (news)
        log_event(EV_KEY_TAG_MALFORMED,
                  KV_U64("graceMillis", settings_us(k->c.process->set, SET_GRACE_PERIOD) / 1000));
}

/* Dates of keys are judged by the vault's clock. Whoever runs either of the two machines is told, once, when one of them must be wrong. */
static void report_clock(struct keyloop *k, int64_t ahead_s)
{
    bool off = ahead_s > CLOCK_OFF_S || ahead_s < -CLOCK_OFF_S;
    mutex_lock(&k->lock);
    bool news = off && !k->clock_ahead_s;
    k->clock_ahead_s = off ? ahead_s : 0;
    mutex_unlock(&k->lock);
    if (news)
        log_event(EV_KEY_CLOCK, KV_I64("vaultAheadSeconds", ahead_s));
}

static void handoff_of(struct keyloop *k, const struct probe_result *r, struct handoff *out)
{
    *out = (struct handoff){ .mode = HANDOFF_SEALED,
                             .since_ms = clock_real_ms(),
                             .cause = r->err.code ? r->err.code : ERR_KEY_UNREACHABLE,
                             .lock_fd = -1 };
    mutex_lock(&k->lock);
    const char *cause = ks_cause_name(k->m.cause);
    mutex_unlock(&k->lock);
    snprintf(out->cause_text, sizeof(out->cause_text), "%s: %s", cause, r->err.msg);
}

/* With the lock held, or before there is a thread. */
static void note_grace(struct keyloop *k)
{
    uint64_t left_us = k->active ? ks_grace_left_us(&k->m, ks_now()) : 0;

    metric_set(M_KEY_GRACE_LEFT_MS, (int64_t)(left_us / 1000));
}

/* One probe, and what follows from it. False: this image is asked to make way for another, and has nothing to decide any more. */
static bool round_of(struct keyloop *k, bool fresh)
{
    struct probe_result r;
    uint64_t before = atomic_load(&k->epoch);
    if (!keyloop_is_active(k)) { /* nothing to ask: the wait for the disk is over */
        k->c.on_return(k->c.arg);
        return false;
    }
    probe(k, fresh, &r);
    mutex_lock(&k->lock);
    if (k->taken) {
        mutex_unlock(&k->lock);
        return false;
    }
    if (r.cls != PROBE_OK && (before % 2 || atomic_load(&k->epoch) != before)) {
        ks_discard(&k->m, ks_now());
        mutex_unlock(&k->lock);
        return true;
    }
    unsigned actions = ks_probed(&k->m, r.cls, fresh, r.grace_ms, ks_now());
    k->last_err = r.err;
    k->expires_s = r.expires_s;
    note_grace(k);
    mutex_unlock(&k->lock);
    report_probe(&r, actions);
    if (r.clock_known)
        report_clock(k, r.clock_ahead_s);
    if (r.cls == PROBE_OK)
        report_tag(k, r.grace_malformed);
    if (actions & KS_SAVE)
        save_machine(k);
    if (actions & KS_SEAL) {
        struct handoff why;
        handoff_of(k, &r, &why);
        k->c.on_seal(k->c.arg, &why);
        return false;
    }
    if (actions & KS_RETURN) {
        k->c.on_return(k->c.arg);
        return false;
    }
    if (r.cls == PROBE_OK && r.newer && k->c.custody)
        k->c.on_newer(k->c.arg, r.newest);
    return true;
}

static void *loop(void *arg)
{
    struct keyloop *k = arg;
    bool deciding = true;
    mutex_lock(&k->lock);
    while (deciding && !k->stopping && !k->taken) {
        if (!k->active && k->m.cause != KS_CAUSE_STORAGE) {
            cond_wait(&k->wake, &k->lock);
            continue;
        }
        struct ks_plan plan = ks_next(&k->m);
        uint64_t now = clock_boot_us();
        if (plan.due_boot_us > now) {
            /* In short steps, since the condition's clock stands still while the machine sleeps and the plan's does not. */
            uint64_t step = MIN(plan.due_boot_us - now, (uint64_t)1000000);
            cond_wait_until(&k->wake, &k->lock, clock_mono_us() + step);
            continue;
        }
        ks_began(&k->m, ks_now());
        k->round_us = clock_mono_us();
        mutex_unlock(&k->lock);
        deciding = round_of(k, plan.fresh);
        mutex_lock(&k->lock);
        k->round_us = 0;
    }
    mutex_unlock(&k->lock);
    return NULL;
}

bool keyloop_watch(struct keyloop *k, struct handoff *why)
{
    struct probe_result r = { 0 };
    unsigned actions = KS_NOTHING;
    mutex_lock(&k->lock);
    uint64_t now = clock_mono_us();
    /* By the clock that stands still while the machine sleeps: having slept is no reason to seal. */
    if (k->round_us && !k->taken && k->m.state == KEY_READY &&
        now - k->round_us >= k->m.cfg.overdue_us) {
        k->round_us = now;
        actions = ks_overdue(&k->m, ks_now());
        err_reset(&k->last_err);
        (void)!err_set(&k->last_err, ERR_KEY_UNREACHABLE, __FILE__, __LINE__,
                       "the look at the key does not come to an end")
            .failed;
        r.err = k->last_err;
        k->taken = actions & KS_SEAL;
        note_grace(k);
    }
    mutex_unlock(&k->lock);
    if (actions & KS_SEAL)
        handoff_of(k, &r, why);
    return actions & KS_SEAL;
}

/* A new machine: the state that this image starts in, or a key that was just put to use. */
static RC begin_machine(struct keyloop *k, enum key_state state, struct err *e)
{
    struct settings *s = k->c.process->set;
    uint64_t seed;
    TRY(random_bytes(&seed, sizeof(seed), e));
    struct ks_config cfg = KS_CONFIG_DEFAULT;
    cfg.interval_us = settings_us(s, SET_PROBE_INTERVAL);
    cfg.sealed_interval_us = settings_us(s, SET_PROBE_SEALED_INTERVAL);
    cfg.confirm_us = settings_us(s, SET_CONFIRM_DELAY);
    cfg.grace_us = settings_us(s, SET_GRACE_PERIOD);
    cfg.overdue_us = settings_us(s, SET_PROBE_TIMEOUT) * 2;
    ks_init(&k->m, &cfg, state, ks_now(), seed);
    return RC_OK;
}

RC keyloop_start(const struct keyloop_config *c, struct keyloop **out, struct err *e)
{
    *out = NULL;
    struct keyloop *k = NEW(struct keyloop);
    k->c = *c;
    if (begin_machine(k, c->state, e).failed) {
        mem_free(k);
        return RC_FAILED;
    }
    mutex_init(&k->lock);
    cond_init(&k->wake);
    ks_boot_id(k->boot_id);
    k->active = process_mode(c->process) == KEY_MODE_CMK;
    restore_machine(k);
    if (c->state == KEY_INACCESSIBLE) {
        k->m.since.real_ms = c->why->since_ms;
        if (c->why->storage_tries)
            ks_storage_failed(&k->m, (unsigned)c->why->storage_tries, ks_now());
    } else if (c->process->start_grace_ms >= -1) {
        k->m.tag_grace_ms = c->process->start_grace_ms;
    }
    note_grace(k);
    k->thread = thread_start("key-loop", loop, k);
    if (k->active)
        save_machine(k);
    *out = k;
    return RC_OK;
}

void keyloop_stop(struct keyloop *k)
{
    if (!k)
        return;
    mutex_lock(&k->lock);
    k->stopping = true;
    cond_broadcast(&k->wake);
    mutex_unlock(&k->lock);
    thread_join(k->thread);
    provider_freep(&k->prober);
    cond_fini(&k->wake);
    mutex_fini(&k->lock);
    mem_free(k);
}

void keyloop_revalidate(struct keyloop *k)
{
    mutex_lock(&k->lock);
    ks_revalidate(&k->m, ks_now());
    cond_broadcast(&k->wake);
    mutex_unlock(&k->lock);
}

static int64_t real_of_boot(uint64_t boot_us)
{
    return clock_real_ms() + ((int64_t)boot_us - (int64_t)clock_boot_us()) / 1000;
}

void keyloop_times(struct keyloop *k, int64_t *since_ms, int64_t *next_probe_ms)
{
    mutex_lock(&k->lock);
    *since_ms = k->m.since.real_ms;
    *next_probe_ms = real_of_boot(ks_next(&k->m).due_boot_us);
    mutex_unlock(&k->lock);
}

bool keyloop_is_ready(struct keyloop *k)
{
    mutex_lock(&k->lock);
    bool ready = k->m.state == KEY_READY;
    mutex_unlock(&k->lock);
    return ready;
}

bool keyloop_is_active(struct keyloop *k)
{
    mutex_lock(&k->lock);
    bool active = k->active;
    mutex_unlock(&k->lock);
    return active;
}

RC keyloop_change_begin(struct keyloop *k, struct err *e)
{
    mutex_lock(&k->lock);
    bool sealing = k->c.custody && k->m.state != KEY_READY;
    if (!sealing)
        atomic_fetch_add(&k->epoch, 1);
    mutex_unlock(&k->lock);
    if (sealing)
        FAIL(e, ERR_CLUSTER_INACCESSIBLE,
             "the cluster is sealing itself: its key is not changed any more");
    return RC_OK;
}

void keyloop_change_end(struct keyloop *k, bool changed, int64_t grace_ms)
{
    struct err e = { 0 };
    mutex_lock(&k->lock);
    atomic_fetch_add(&k->epoch, 1);
    if (changed) {
        k->reload = true;
        k->active = process_mode(k->c.process) == KEY_MODE_CMK;
        if (k->m.state == KEY_READY) {
            int64_t known_ms = k->m.tag_grace_ms;
            /* Without random bytes the old machine goes on: it is right but for what it remembers of the old key. */
            if (begin_machine(k, KEY_READY, &e).failed)
                log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
            k->m.tag_grace_ms = grace_ms == GRACE_UNREAD ? known_ms : grace_ms;
            k->expires_s = 0;
            k->follow_due_boot_us = 0;
        }
        ks_revalidate(&k->m, ks_now());
        note_grace(k);
        cond_broadcast(&k->wake);
    }
    bool save = changed && k->active;
    mutex_unlock(&k->lock);
    if (save)
        save_machine(k);
}

static void write_storage(const struct handoff *why, int64_t next_ms, struct bw *w)
{
    char name[32];
    bw_doc_begin(w, "storage");
    bw_str(w, "error", why->cause_text);
    bw_i32(w, "code", (int32_t)why->cause);
    bw_str(w, "codeName", err_code_name(why->cause, name, sizeof(name)));
    bw_i32(w, "tries", why->storage_tries);
    bw_date(w, "nextTry", next_ms);
    bw_doc_end(w);
}

void keyloop_status(struct keyloop *k, struct bw *w)
{
    mutex_lock(&k->lock);
    struct ks_time now = ks_now();
    bw_str(w, "state", key_state_name(k->m.state));
    bw_date(w, "since", k->m.since.real_ms);
    if (k->m.cause != KS_CAUSE_NONE)
        bw_str(w, "cause", ks_cause_name(k->m.cause));
    if (k->m.cause == KS_CAUSE_STORAGE)
        write_storage(k->c.why, real_of_boot(ks_next(&k->m).due_boot_us), w);
    if (!k->active) {
        mutex_unlock(&k->lock);
        return;
    }
    bw_doc_begin(w, "lastProbe");
    if (k->m.last_probe.real_ms) {
        bw_date(w, "at", k->m.last_probe.real_ms);
        bw_str(w, "class", probe_class_name(k->m.last_class));
        if (k->m.last_class != PROBE_OK)
            bw_str(w, "error", k->last_err.msg);
    }
    bw_doc_end(w);
    bw_date(w, "nextProbe", real_of_boot(ks_next(&k->m).due_boot_us));
    if (k->c.custody && k->follow_due_boot_us)
        bw_date(w, "nextFollow", real_of_boot(k->follow_due_boot_us));
    if (k->clock_ahead_s)
        bw_i64(w, "vaultClockAheadSeconds", k->clock_ahead_s);
    bw_doc_begin(w, "gracePeriod");
    bw_i64(w, "totalMillis", (int64_t)(ks_grace_us(&k->m) / 1000));
    bw_i64(w, "leftMillis", (int64_t)(ks_grace_left_us(&k->m, now) / 1000));
    bw_str(w, "from", ks_grace_us(&k->m) < k->m.cfg.grace_us ? "tag" : "setting");
    bw_bool(w, "tagMalformed", k->tag_malformed);
    bw_doc_end(w);
    if (k->expires_s)
        bw_date(w, "keyExpires", k->expires_s * 1000);
    mutex_unlock(&k->lock);
}
