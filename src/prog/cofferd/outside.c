/* outside.c - see outside.h. */
#include "outside.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "crypto/kdf.h"
#include "keys/inspect.h"
#include "keys/outside.h"
#include "store/store.h"

enum { ANCHOR_MAX = 16 << 20 };

struct outside {
    struct process *process;
    struct store *store;
    uint8_t lineage[LINEAGE_LEN];
    pthread_t thread;

    struct mutex lock;
    struct cond wake;
    bool stopping;    /* guarded by lock */
    uint64_t counter; /* guarded by lock: what was written; 0 = nothing yet */
    int64_t written_ms;
    bool lost;       /* guarded by lock: at the start */
    char error[160]; /* guarded by lock: of the last try, "" when it worked */
};

static const char *place(const struct process *p)
{
    return settings_str(p->set, SET_EXTERNAL_ANCHOR);
}

/* ---- tickets ------------------------------------------------------------------------------------------------------ */

static RC anchor_sha256(const struct process *p, uint8_t out[SHA256_LEN], struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/ANCHOR", p->store_dir);
    AUTO(buf_fini) struct buf bytes = BUF_INIT;

    TRY(file_read(path, ANCHOR_MAX, &bytes, e));
    return sha256(&SLICE(bytes.p, bytes.len), 1, out, e);
}

RC outside_write_ticket(struct process *p, const char *envelope_dir, struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    struct restore_ticket t = { .made_s = clock_real_s() };

    TRY(envelope_inspect_dir(envelope_dir, st, e));
    memcpy(t.lineage, st->lineage, LINEAGE_LEN);
    TRY(anchor_sha256(p, t.anchor_sha256, e));
    outside_ticket_encode(&t, &bytes);
    TRY(file_write_atomic(p->ticket_path, 0600, buf_view(&bytes), e));
    return fault_step("ticket.written", "the anchor kept outside", e);
}

RC outside_drop_ticket(struct process *p, struct err *e)
{
    if (!path_exists(p->ticket_path))
        return RC_OK;
    TRY(fault_step("ticket.used", "the anchor kept outside", e));
    return file_remove(p->ticket_path, e);
}

/* One that is damaged or for something else gives no permission; it is said why. */
static bool has_ticket(struct process *p, const uint8_t lineage[LINEAGE_LEN])
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    struct restore_ticket t;
    uint8_t sha[SHA256_LEN];
    struct err why = { 0 };
    bool read;

    if (!path_exists(p->ticket_path))
        return false;
    read = !file_read(p->ticket_path, TICKET_LEN, &bytes, &why).failed &&
           !outside_ticket_decode(buf_view(&bytes), &t, &why).failed &&
           !anchor_sha256(p, sha, &why).failed;
    if (read && memcmp(t.lineage, lineage, LINEAGE_LEN) == 0 &&
        memcmp(t.anchor_sha256, sha, sizeof(sha)) == 0)
        return true;
    if (read)
        (void)err_set(&why, ERR_STALE, __FILE__, __LINE__,
                      "the restore ticket is for another state of the store")
            .failed;
    log_err(EV_RESTORE_TICKET_REFUSED, &why, NULL, 0);
    err_reset(&why);
    return false;
}

/* ---- a start ------------------------------------------------------------------------------------------------------ */

static RC check_place(const struct process *p, struct err *e)
{
    const char *path = place(p), *const inside[] = { p->data_dir, p->state_dir };

    if (path[0] != '/')
        FAIL(e, ERR_CONFIG, "setting \"external-anchor\" needs an absolute path, not \"%.100s\"",
             path);
    for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
        size_t n = strlen(inside[i]);
        if (strncmp(path, inside[i], n) == 0 && path[n] == '/')
            FAIL(e, ERR_CONFIG,
                 "the anchor kept outside must not lie in \"%.80s\": it would be put back with it",
                 inside[i]);
    }
    return RC_OK;
}

static RC read_mark(const struct process *p, struct outside_mark *out, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;

    TRY(file_read(place(p), OUTSIDE_LEN, &bytes, e));
    return outside_decode(buf_view(&bytes), out, e);
}

static void warn_same_device(const struct process *p)
{
    AUTO(mem_freep) char *folder = mem_strdup(place(p));

    *strrchr(folder, '/') = '\0';
    if (path_same_device(*folder ? folder : "/", p->data_dir))
        log_event(EV_EXTERNAL_ANCHOR_SAME_DEVICE, KV_STR("path", place(p)));
}

RC outside_look(struct process *p, struct custody *custody, bool fresh, struct outside_found *out,
                struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct outside_mark m;
    struct err why = { 0 };

    *out = (struct outside_found){ 0 };
    if (!*place(p))
        return RC_OK;
    TRY(check_place(p, e));
    warn_same_device(p);
    custody_status(custody, st);
    if (read_mark(p, &m, &why).failed) {
        /* a newer release's: it is not to be replaced by ours */
        if (why.code == ERR_UNKNOWN_FORMAT)
            return err_take(e, &why);
        out->lost = !fresh;
        if (out->lost)
            log_err(EV_EXTERNAL_ANCHOR_LOST, &why, NULL, 0);
        err_reset(&why);
        return RC_OK;
    }
    if (memcmp(m.lineage, st->lineage, LINEAGE_LEN) != 0)
        FAIL(e, ERR_FOREIGN_FILE, "the anchor kept outside, \"%.80s\", is another cluster's",
             place(p));
    out->floor = m.counter;
    out->ticket = has_ticket(p, st->lineage);
    if (out->ticket)
        log_event(EV_RESTORE_TICKET_USED, KV_U64("remembered", m.counter));
    return RC_OK;
}

/* ---- keeping it --------------------------------------------------------------------------------------------------- */

static RC write_mark(struct outside *o, uint64_t counter, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    struct outside_mark m = { .counter = counter, .written_s = clock_real_s() };

    memcpy(m.lineage, o->lineage, LINEAGE_LEN);
    outside_encode(&m, &bytes);
    TRY(fault_step("outside.before", "the anchor kept outside", e));
    TRY(file_write_atomic(place(o->process), 0600, buf_view(&bytes), e));
    return fault_step("outside.after", "the anchor kept outside", e);
}

static void note(struct outside *o, uint64_t counter, const struct err *e)
{
    mutex_lock(&o->lock);
    bool news = e->code && strcmp(o->error, e->msg) != 0;
    snprintf(o->error, sizeof(o->error), "%s", e->code ? e->msg : "");
    if (!e->code) {
        o->counter = counter;
        o->written_ms = clock_real_ms();
    }
    mutex_unlock(&o->lock);
    metric_set(M_EXTERNAL_ANCHOR_FAILING, e->code != ERR_NONE);
    if (news)
        log_err(EV_EXTERNAL_ANCHOR_FAILED, e, NULL, 0);
}

/* Only what is on disk: the copy outside may lag, and never leads. */
static void follow(struct outside *o)
{
    uint64_t counter = store_anchor_durable(o->store);
    struct err e = { 0 };

    mutex_lock(&o->lock);
    bool news = counter > o->counter;
    mutex_unlock(&o->lock);
    if (!news)
        return;
    (void)write_mark(o, counter, &e).failed;
    note(o, counter, &e);
    err_reset(&e);
}

static void *loop(void *arg)
{
    struct outside *o = arg;
    bool go = true;

    while (go) {
        follow(o);
        uint64_t until =
            clock_mono_us() + settings_us(o->process->set, SET_EXTERNAL_ANCHOR_INTERVAL);
        mutex_lock(&o->lock);
        while (!o->stopping && cond_wait_until(&o->wake, &o->lock, until)) {
        }
        go = !o->stopping;
        mutex_unlock(&o->lock);
    }
    return NULL;
}

struct outside *outside_start(struct process *p, struct custody *custody, struct store *store,
                              const struct outside_found *found)
{
    if (!*place(p))
        return NULL;
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct outside *o = NEW(struct outside);
    custody_status(custody, st);
    o->process = p;
    o->store = store;
    o->lost = found->lost;
    memcpy(o->lineage, st->lineage, LINEAGE_LEN);
    mutex_init(&o->lock);
    cond_init(&o->wake);
    o->thread = thread_start("outside-anchor", loop, o);
    return o;
}

void outside_stop(struct outside *o)
{
    if (!o)
        return;
    mutex_lock(&o->lock);
    o->stopping = true;
    cond_broadcast(&o->wake);
    mutex_unlock(&o->lock);
    thread_join(o->thread);
    follow(o);
    mutex_fini(&o->lock);
    cond_fini(&o->wake);
    mem_free(o);
}

void outside_status(struct outside *o, struct bw *w)
{
    if (!o)
        return;
    bw_doc_begin(w, "externalAnchor");
    bw_str(w, "path", place(o->process));
    bw_i64(w, "storeCounter", (int64_t)store_anchor_durable(o->store));
    mutex_lock(&o->lock);
    bw_i64(w, "counter", (int64_t)o->counter);
    if (o->written_ms)
        bw_date(w, "written", o->written_ms);
    bw_bool(w, "lostAtStart", o->lost);
    if (*o->error)
        bw_str(w, "error", o->error);
    mutex_unlock(&o->lock);
    bw_doc_end(w);
}
