/* rotator.c - see rotator.h. */
#include "rotator.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/text.h"
#include "base/thread.h"
#include "crypto/secret.h"
#include "keys/keyring.h"
#include "store/store.h"

enum {
    LOOK_US = 500000,
    RETRY_US = 2000000,
    BACKUPS_LOOK_US = 5000000, /* whether a backup still holds a generation is read from files */
    RESUME_US = 5000000,       /* each try is a helper process and calls of the vault */
    STATE_FILE_MAX = 256,
    ROWS_MAX = 256
};

/* What survives a stop. */
struct wish {
    bool paused;
    bool urgent; /* as soon as the current generation is above `above` */
    uint32_t above;
};

struct rotator {
    struct rotator_config c;
    pthread_t thread;
    char *state_path;
    uint64_t next_look_us;   /* the thread's: when the backups are looked at again */
    uint64_t next_resume_us; /* the thread's: when what was cut off is tried again */
    /* the thread's: the generations that were in the envelope, so that whoever takes one out of it, its end is told */
    uint32_t seen[CUSTODY_GEN_MAX];
    size_t n_seen;

    struct mutex op; /* one rotation, pause or resume at a time; held over [net]; above lock */
    struct mutex removing; /* a generation leaves the envelope, or may not */

    struct mutex lock;
    struct cond wake;
    bool stopping;           /* guarded by lock */
    struct wish wish;        /* guarded by lock */
    bool working;            /* guarded by lock: an old generation is still there */
    uint64_t completed;      /* guarded by lock: generations destroyed since the start */
    char error[ERR_MSG_MAX]; /* guarded by lock: of the last try, "" when it worked */
};

/* ---- what survives a stop ---------------------------------------------------------------------------------------- */

static uint32_t current(const struct rotator *r)
{
    return keyring_current(custody_keyring(r->c.custody));
}

static bool hurries(const struct rotator *r, const struct wish *w)
{
    return w->urgent && current(r) > w->above;
}

static struct wish wish_of(struct rotator *r)
{
    mutex_lock(&r->lock);
    struct wish w = r->wish;
    mutex_unlock(&r->lock);
    return w;
}

/* Lines of words; what is not known is not there. "urgent" alone is what an earlier release wrote. */
static struct wish parse(const char *text)
{
    struct wish w = { .paused = strstr(text, "paused\n") != NULL };
    const char *urgent = strstr(text, "urgent");
    uint64_t above = 0;

    if (!urgent)
        return w;
    urgent += strlen("urgent");
    w.urgent = *urgent == '\n' ||
               (*urgent == ' ' &&
                text_u64(SLICE((const uint8_t *)urgent + 1, strcspn(urgent + 1, "\n")), &above) &&
                above <= UINT32_MAX);
    w.above = (uint32_t)above;
    return w;
}

static void load(struct rotator *r)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct err e = { 0 };

    if (file_read(r->state_path, STATE_FILE_MAX, &text, &e).failed) {
        if (e.code != ERR_NOT_FOUND)
            log_err(EV_ROTATION_FAILED, &e, NULL, 0);
        return;
    }
    r->wish = parse(buf_cstr(&text));
}

static void set_pace(struct rotator *r)
{
    struct wish w = wish_of(r);
    uint64_t rate = (uint64_t)settings_i64(r->c.process->set, SET_ROTATION_RATE);

    store_rewrite_set(r->c.store, hurries(r, &w) ? 0 : rate, w.paused);
}

static RC save(struct rotator *r, struct wish w, struct err *e)
{
    char text[48], urgent[32] = "";

    if (w.urgent)
        snprintf(urgent, sizeof(urgent), "urgent %u\n", w.above);
    int n = snprintf(text, sizeof(text), "%s%s", w.paused ? "paused\n" : "", urgent);
    TRY(file_write_atomic(r->state_path, 0600, SLICE(text, (size_t)n), e));
    mutex_lock(&r->lock);
    r->wish = w;
    cond_broadcast(&r->wake);
    mutex_unlock(&r->lock);
    set_pace(r);
    return RC_OK;
}

/* A change that was cut short before its generation came into force: what is urgent is the next one that is called so, not the next one. */
static void forget_intention(struct rotator *r)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct wish w = wish_of(r);
    struct err e = { 0 };

    custody_status(r->c.custody, st);
    if (!w.urgent || st->current > w.above || st->rotation != ROT_IDLE)
        return;
    w.urgent = false;
    if (save(r, w, &e).failed)
        log_err(EV_ROTATION_FAILED, &e, NULL, 0);
    err_reset(&e);
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static bool wait_us(struct rotator *r, uint64_t us)
{
    uint64_t until = clock_mono_us() + us;

    mutex_lock(&r->lock);
    if (!r->stopping)
        cond_wait_until(&r->wake, &r->lock, until);
    bool go = !r->stopping;
    mutex_unlock(&r->lock);
    return go;
}

static bool is_old(const struct custody_status *st, size_t i)
{
    return st->row[i].state == GEN_LIVE && st->row[i].gen != st->current;
}

static bool has_old(const struct custody_status *st)
{
    for (size_t i = 0; i < st->n; i++)
        if (is_old(st, i))
            return true;
    return false;
}

static RC count(struct store *store, struct census_row *rows, size_t *n, struct err *e)
{
    struct store_census_row found[ROWS_MAX];
    int n_found = 0;

    TRY(store_census(store, found, ROWS_MAX, &n_found, e));
    *n = (size_t)n_found;
    for (int i = 0; i < n_found; i++)
        rows[i] = (struct census_row){ .gen = found[i].gen,
                                       .n_files = found[i].n_files,
                                       .bytes = found[i].bytes };
    return RC_OK;
}

/* The envelope moved on: the store refuses an older one from now on. A failure is made good by the next change, or the next start. */
static void pin_envelope(struct rotator *r)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct err e = { 0 };

    custody_status(r->c.custody, st);
    if (store_pin_envelope(r->c.store, st->sequence, &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
}

/* The census counts nothing under them: they leave the ring, and their MACs the envelope. */
static RC retire(struct rotator *r, const struct custody_status *st, struct err *e)
{
    AUTO(mem_freep) struct census_row *rows = NEW_ARRAY(struct census_row, ROWS_MAX);
    size_t n;

    if (keyring_current(custody_keyring(r->c.custody)) != st->current)
        FAIL(e, ERR_CONFLICT, "the generation has just changed");
    TRY(count(r->c.store, rows, &n, e));
    for (size_t i = 0; i < st->n; i++) {
        if (!is_old(st, i))
            continue;
        TRY(custody_retire(r->c.custody, st->row[i].gen, rows, n, e));
        pin_envelope(r);
        r->next_look_us = 0;
        log_event(EV_GENERATION_RETIRED, KV_U64("generation", st->row[i].gen));
    }
    return RC_OK;
}

/* One that is only prepared may be given up, and is nothing that data was ever under. */
static void see(struct rotator *r, const struct custody_status *st)
{
    r->n_seen = 0;
    for (size_t i = 0; i < st->n; i++)
        if (st->row[i].state != GEN_PREPARED)
            r->seen[r->n_seen++] = st->row[i].gen;
}

/* What left the envelope since the last look: destroyed here, or by a change that needed its room. */
static void tell_destroyed(struct rotator *r)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);

    custody_status(r->c.custody, st);
    for (size_t i = 0; i < r->n_seen; i++) {
        if (custody_status_of(st, r->seen[i]))
            continue;
        pin_envelope(r);
        mutex_lock(&r->lock);
        r->completed++;
        mutex_unlock(&r->lock);
        metric_add(M_ROTATIONS, 1);
        log_event(EV_GENERATION_DESTROYED, KV_U64("generation", r->seen[i]),
                  KV_BOOL("inBackups", r->c.needed(r->c.arg, r->seen[i])));
    }
    see(r, st);
}

static RC destroy(struct rotator *r, const struct custody_status *st, bool whoever_wants_it,
                  struct err *e)
{
    uint64_t now = clock_mono_us();

    if (!whoever_wants_it && now < r->next_look_us)
        return RC_OK;
    r->next_look_us = now + BACKUPS_LOOK_US;
    for (size_t i = 0; i < st->n; i++) {
        uint32_t gen = st->row[i].gen;

        if (st->row[i].state != GEN_RETIRED || (!whoever_wants_it && r->c.needed(r->c.arg, gen)))
            continue;
        TRY(custody_destroy(r->c.custody, gen, e));
        tell_destroyed(r);
    }
    return RC_OK;
}

static void set_working(struct rotator *r, bool working)
{
    mutex_lock(&r->lock);
    r->working = working;
    mutex_unlock(&r->lock);
}

/* All is done, so nothing is urgent, unless another rotation began just now. */
static RC calm_down(struct rotator *r, struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    rc_t rc = RC_OK;

    mutex_lock(&r->op);
    struct wish w = wish_of(r);
    custody_status(r->c.custody, st);
    if (st->n == 1 && hurries(r, &w)) {
        w.urgent = false;
        rc = save(r, w, e);
    }
    mutex_unlock(&r->op);
    return rc;
}

/* Those that nothing is under any more go, unless somebody holds them. */
static RC remove_old(struct rotator *r, struct custody_status *st, bool urgent, struct err *e)
{
    rc_t rc = RC_OK;

    mutex_lock(&r->removing);
    if (has_old(st)) {
        rc = retire(r, st, e);
        custody_status(r->c.custody, st);
    }
    if (!rc.failed)
        rc = destroy(r, st, urgent, e);
    mutex_unlock(&r->removing);
    return rc;
}

/* A change of the envelope that an outage cut off between two of its steps goes on, or is given up, as at a start. */
static void finish_what_was_begun(struct rotator *r, const struct custody_status *st)
{
    uint64_t now = clock_mono_us();
    struct err e = { 0 };

    if (st->rotation == ROT_IDLE || now < r->next_resume_us)
        return;
    r->next_resume_us = now + RESUME_US;
    if (!r->c.resume(r->c.arg, &e).failed) {
        log_event(EV_ENVELOPE_ROTATION, KV_BOOL("finished", true));
        mutex_lock(&r->op);
        forget_intention(r); /* a change to another key is given up */
        mutex_unlock(&r->op);
        set_pace(r); /* what is in force now may be urgent */
    } else if (e.code != ERR_CONFLICT && !secret_arena_sealed())
        log_err(EV_ENVELOPE_ROTATION, &e, NULL, 0);
    err_reset(&e);
}

static RC round_of(struct rotator *r, struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    bool done = true;

    custody_status(r->c.custody, st);
    finish_what_was_begun(r, st);
    tell_destroyed(r);
    custody_status(r->c.custody, st);
    struct wish w = wish_of(r);
    bool urgent = hurries(r, &w);
    if (has_old(st)) {
        set_working(r, true);
        TRY(store_rewrite(r->c.store, &done, e));
        if (!done) /* it is to stop */
            return RC_OK;
        custody_status(r->c.custody, st);
    }
    if (wish_of(r).paused) /* since the last step began: what cannot be undone waits too */
        return RC_OK;
    TRY(remove_old(r, st, urgent, e));
    set_working(r, false);
    return urgent ? calm_down(r, e) : RC_OK;
}

static void note(struct rotator *r, const struct err *e)
{
    struct store_rewrite_status st;

    mutex_lock(&r->lock);
    bool news = e->code && strcmp(r->error, e->msg) != 0;
    snprintf(r->error, sizeof(r->error), "%s", e->code ? e->msg : "");
    mutex_unlock(&r->lock);
    /* a node that is sealing itself has no keys any more, and that is no failure of this */
    if (news && e->code != ERR_CONFLICT && !secret_arena_sealed())
        log_err(EV_ROTATION_FAILED, e, NULL, 0);
    store_rewrite_status(r->c.store, &st);
    metric_set(M_ROTATION_BYTES_LEFT, (int64_t)st.bytes_left);
    metric_set(M_ROTATION_BYTES_DONE, (int64_t)st.bytes_done);
}

static void *loop(void *arg)
{
    struct rotator *r = arg;
    bool go = true;

    while (go) {
        struct err e = { 0 };

        rc_t rc = round_of(r, &e);

        note(r, &e);
        go = wait_us(r, rc.failed ? RETRY_US : LOOK_US);
        err_reset(&e);
    }
    return NULL;
}

/* ---- the outside ------------------------------------------------------------------------------------------------- */

RC rotator_start(const struct rotator_config *c, struct rotator **out, struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct rotator *r = NEW(struct rotator);

    (void)e;
    r->c = *c;
    r->state_path = mem_printf("%s/rotation", c->process->state_dir);
    mutex_init(&r->op);
    mutex_init(&r->removing);
    mutex_init(&r->lock);
    cond_init(&r->wake);
    load(r);
    forget_intention(r);
    set_pace(r);
    custody_status(r->c.custody, st);
    see(r, st);
    r->thread = thread_start("rotator", loop, r);
    *out = r;
    return RC_OK;
}

void rotator_stop(struct rotator *r)
{
    if (!r)
        return;
    mutex_lock(&r->lock);
    r->stopping = true;
    cond_broadcast(&r->wake);
    mutex_unlock(&r->lock);
    store_rewrite_stop(r->c.store);
    thread_join(r->thread);
    mutex_fini(&r->op);
    mutex_fini(&r->removing);
    mutex_fini(&r->lock);
    cond_fini(&r->wake);
    mem_free(r->state_path);
    mem_free(r);
}

static void begun(struct rotator *r, bool compromised)
{
    log_event(EV_ROTATION_BEGUN, KV_U64("generation", current(r)),
              KV_BOOL("compromised", compromised));
    set_working(r, true);
}

static RC rotate_locked(struct rotator *r, struct err *e)
{
    struct wish w = wish_of(r);

    TRY(r->c.new_generation(r->c.arg, e));
    begun(r, /* compromised= */ false);
    w.paused = false;
    return save(r, w, e);
}

static RC make_urgently(RC (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
    TRY(fault_step("rotator.intended", "the rotation", e));
    TRY(fn(arg, e));
    return fault_step("rotator.made", "the rotation", e);
}

static bool goes_on(struct rotator *r)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);

    custody_status(r->c.custody, st);
    return st->rotation != ROT_IDLE;
}

static RC urgently_locked(struct rotator *r, RC (*fn)(void *arg, struct err *e), void *arg,
                          struct err *e)
{
    struct wish before = wish_of(r), w = before;
    struct err late = { 0 };
    uint32_t gen = current(r);

    if (!hurries(r, &before)) {
        w.urgent = true;
        w.above = gen;
    }
    TRY(save(r, w, e));
    rc_t rc = make_urgently(fn, arg, e);
    if (current(r) != gen) {
        w.paused = false;
        begun(r, /* compromised= */ true);
    } else if (!goes_on(r)) { /* none came into force, and none will */
        w = before;
    }
    /* What is urgent stands there already. */
    if (save(r, w, &late).failed)
        log_err(EV_ROTATION_FAILED, &late, NULL, 0);
    err_reset(&late);
    return rc;
}

RC rotator_urgently(struct rotator *r, RC (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
    mutex_lock(&r->op);
    rc_t rc = urgently_locked(r, fn, arg, e);
    mutex_unlock(&r->op);
    return rc;
}

RC rotator_rotate(struct rotator *r, bool compromised, struct err *e)
{
    if (compromised)
        return rotator_urgently(r, r->c.new_generation, r->c.arg, e);
    mutex_lock(&r->op);
    rc_t rc = rotate_locked(r, e);
    mutex_unlock(&r->op);
    return rc;
}

RC rotator_holding(struct rotator *r, RC (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
    mutex_lock(&r->removing);
    rc_t rc = fn(arg, e);
    mutex_unlock(&r->removing);
    return rc;
}

RC rotator_pause(struct rotator *r, bool paused, struct err *e)
{
    mutex_lock(&r->op);
    struct wish w = wish_of(r);
    w.paused = paused;
    rc_t rc = save(r, w, e);
    mutex_unlock(&r->op);
    return rc;
}

void rotator_status(struct rotator *r, struct bw *w)
{
    struct store_rewrite_status st;

    store_rewrite_status(r->c.store, &st);
    mutex_lock(&r->lock);
    bw_str(w, "state",
           r->wish.paused ? store_rewrite_state_name(STORE_RW_PAUSED)
           : !r->working  ? "idle"
           : st.state == STORE_RW_IDLE || st.state == STORE_RW_PAUSED
               ? "waiting" /* between two tries, or to go on after a pause */
               : store_rewrite_state_name(st.state));
    bw_i32(w, "generation", (int32_t)current(r));
    bw_i64(w, "filesLeft", r->working ? (int64_t)st.files_left : 0);
    bw_i64(w, "bytesLeft", r->working ? (int64_t)st.bytes_left : 0);
    bw_i64(w, "bytesDone", (int64_t)st.bytes_done);
    bw_i64(w, "bytesPerSecond", (int64_t)st.bytes_per_s);
    bw_i64(w, "secondsLeft", (int64_t)((st.left_us + 999999) / 1000000));
    bw_i64(w, "completed", (int64_t)r->completed);
    bw_bool(w, "urgent", hurries(r, &r->wish));
    if (*r->error)
        bw_str(w, "error", r->error);
    mutex_unlock(&r->lock);
}
