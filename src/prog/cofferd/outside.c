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
#include "outside_tag.h"
#include "store/store.h"

enum { ANCHOR_MAX = 16 << 20 };

/* Keeps one copy. */
struct keeper {
    const struct place *place;
    struct process *process;
    struct store *store;
    uint8_t lineage[LINEAGE_LEN];
    pthread_t thread;
    struct outside_tag *tag; /* the thread's; the place on a key alone */

    struct mutex lock;
    struct cond wake;
    bool stopping;    /* guarded by lock */
    uint64_t counter; /* guarded by lock: what was written; 0 = nothing yet */
    int64_t written_ms;
    bool lost;       /* guarded by lock: at the start */
    char error[160]; /* guarded by lock: of the last try, "" when it worked */
};

/* Where a copy may be. */
struct place {
    /* its field in the status and what that is called; its name in errors */
    const char *status, *what;
    const char *named;
    enum setting_id setting, interval;
    enum metric failing;
    /* ERR_CONFIG */
    RC (*check)(const struct process *p, struct err *e);
    /* any error but ERR_UNKNOWN_FORMAT: it is lost */
    RC (*read)(struct process *p, const uint8_t lineage[LINEAGE_LEN], struct outside_mark *out,
               struct err *e);
    RC (*write)(struct keeper *k, const struct outside_mark *m, struct err *e);
};

enum { PLACES = 2 };
struct outside {
    struct keeper *keeper[PLACES]; /* NULL: nothing is kept there */
};

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

/* ---- the places --------------------------------------------------------------------------------------------------- */

static RC file_check(const struct process *p, struct err *e)
{
    const char *path = settings_str(p->set, SET_EXTERNAL_ANCHOR);
    const char *const inside[] = { p->data_dir, p->state_dir };

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
    AUTO(mem_freep) char *folder = mem_strdup(path);
    *strrchr(folder, '/') = '\0';
    if (path_same_device(*folder ? folder : "/", p->data_dir))
        log_event(EV_EXTERNAL_ANCHOR_SAME_DEVICE, KV_STR("path", path));
    return RC_OK;
}

static RC file_read_mark(struct process *p, const uint8_t lineage[LINEAGE_LEN],
                         struct outside_mark *out, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;
    (void)lineage;

    TRY(file_read(settings_str(p->set, SET_EXTERNAL_ANCHOR), OUTSIDE_LEN, &bytes, e));
    return outside_decode(buf_view(&bytes), out, e);
}

static RC file_write_mark(struct keeper *k, const struct outside_mark *m, struct err *e)
{
    AUTO(buf_fini) struct buf bytes = BUF_INIT;

    outside_encode(m, &bytes);
    return file_write_atomic(settings_str(k->process->set, SET_EXTERNAL_ANCHOR), 0600,
                             buf_view(&bytes), e);
}

static RC tag_write_mark(struct keeper *k, const struct outside_mark *m, struct err *e)
{
    if (!k->tag)
        k->tag = outside_tag_new(k->process);
    return outside_tag_write(k->tag, m, e);
}

static const struct place places[PLACES] = {
    { .status = "externalAnchor",
      .what = "path",
      .named = "the anchor kept outside",
      .setting = SET_EXTERNAL_ANCHOR,
      .interval = SET_EXTERNAL_ANCHOR_INTERVAL,
      .failing = M_EXTERNAL_ANCHOR_FAILING,
      .check = file_check,
      .read = file_read_mark,
      .write = file_write_mark },
    { .status = "externalAnchorKey",
      .what = "key",
      .named = "the anchor kept as a tag of a key",
      .setting = SET_EXTERNAL_ANCHOR_KEY,
      .interval = SET_EXTERNAL_ANCHOR_KEY_INTERVAL,
      .failing = M_EXTERNAL_ANCHOR_KEY_FAILING,
      .check = outside_tag_check,
      .read = outside_tag_read,
      .write = tag_write_mark },
};

static const char *where(const struct place *at, const struct process *p)
{
    return settings_str(p->set, at->setting);
}

/* ---- a start ------------------------------------------------------------------------------------------------------ */

static RC look_at(const struct place *at, struct process *p, const uint8_t lineage[LINEAGE_LEN],
                  bool fresh, uint64_t *counter, bool *lost, struct err *e)
{
    struct outside_mark m;
    struct err why = { 0 };

    *counter = 0;
    *lost = false;
    TRY(at->check(p, e));
    if (at->read(p, lineage, &m, &why).failed) {
        /* a newer release's: it is not to be replaced by ours */
        if (why.code == ERR_UNKNOWN_FORMAT)
            return err_take(e, &why);
        *lost = !fresh;
        struct kv kv[] = { KV_STR("place", where(at, p)) };
        if (*lost)
            log_err(EV_EXTERNAL_ANCHOR_LOST, &why, kv, ARRAY_LEN(kv));
        err_reset(&why);
        return RC_OK;
    }
    if (memcmp(m.lineage, lineage, LINEAGE_LEN) != 0)
        FAIL(e, ERR_FOREIGN_FILE, "%s, \"%.80s\", is another cluster's", at->named, where(at, p));
    *counter = m.counter;
    return RC_OK;
}

RC outside_look(struct process *p, struct custody *custody, bool fresh, struct outside_found *out,
                struct err *e)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);

    *out = (struct outside_found){ 0 };
    custody_status(custody, st);
    for (size_t i = 0; i < PLACES; i++) {
        uint64_t counter;
        if (!*where(&places[i], p))
            continue;
        TRY(look_at(&places[i], p, st->lineage, fresh, &counter, &out->lost[i], e));
        out->floor = MAX(out->floor, counter);
    }
    if (out->floor)
        out->ticket = has_ticket(p, st->lineage);
    if (out->ticket)
        log_event(EV_RESTORE_TICKET_USED, KV_U64("remembered", out->floor));
    return RC_OK;
}

/* ---- keeping it --------------------------------------------------------------------------------------------------- */

static RC write_mark(struct keeper *k, uint64_t counter, struct err *e)
{
    struct outside_mark m = { .counter = counter, .written_s = clock_real_s() };

    memcpy(m.lineage, k->lineage, LINEAGE_LEN);
    TRY(fault_step("outside.before", k->place->named, e));
    TRY(k->place->write(k, &m, e));
    return fault_step("outside.after", k->place->named, e);
}

static void note(struct keeper *k, uint64_t counter, const struct err *e)
{
    struct kv kv[] = { KV_STR("place", where(k->place, k->process)) };

    mutex_lock(&k->lock);
    bool news = e->code && strcmp(k->error, e->msg) != 0;
    snprintf(k->error, sizeof(k->error), "%s", e->code ? e->msg : "");
    if (!e->code) {
        k->counter = counter;
        k->written_ms = clock_real_ms();
    }
    mutex_unlock(&k->lock);
    metric_set(k->place->failing, e->code != ERR_NONE);
    if (news)
        log_err(EV_EXTERNAL_ANCHOR_FAILED, e, kv, ARRAY_LEN(kv));
}

/* Only what is on disk: the copy outside may lag, and never leads. */
static void follow(struct keeper *k)
{
    uint64_t counter = store_anchor_durable(k->store);
    struct err e = { 0 };

    mutex_lock(&k->lock);
    bool news = counter > k->counter;
    mutex_unlock(&k->lock);
    if (!news)
        return;
    (void)write_mark(k, counter, &e).failed;
    note(k, counter, &e);
    err_reset(&e);
}

static void *loop(void *arg)
{
    struct keeper *k = arg;
    bool go = true;

    while (go) {
        follow(k);
        uint64_t until = clock_mono_us() + settings_us(k->process->set, k->place->interval);
        mutex_lock(&k->lock);
        while (!k->stopping && cond_wait_until(&k->wake, &k->lock, until)) {
        }
        go = !k->stopping;
        mutex_unlock(&k->lock);
    }
    return NULL;
}

struct outside *outside_start(struct process *p, struct custody *custody, struct store *store,
                              const struct outside_found *found)
{
    AUTO(mem_freep) struct custody_status *st = NEW(struct custody_status);
    struct outside *o = NEW(struct outside);

    custody_status(custody, st);
    for (size_t i = 0; i < PLACES; i++) {
        if (!*where(&places[i], p))
            continue;
        struct keeper *k = o->keeper[i] = NEW(struct keeper);
        k->place = &places[i];
        k->process = p;
        k->store = store;
        k->lost = found->lost[i];
        memcpy(k->lineage, st->lineage, LINEAGE_LEN);
        mutex_init(&k->lock);
        cond_init(&k->wake);
        k->thread = thread_start("outside-anchor", loop, k);
    }
    return o;
}

static void keeper_stop(struct keeper *k)
{
    mutex_lock(&k->lock);
    k->stopping = true;
    cond_broadcast(&k->wake);
    mutex_unlock(&k->lock);
    thread_join(k->thread);
    follow(k);
    outside_tag_free(k->tag);
    mutex_fini(&k->lock);
    cond_fini(&k->wake);
    mem_free(k);
}

void outside_stop(struct outside *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < PLACES; i++)
        if (o->keeper[i])
            keeper_stop(o->keeper[i]);
    mem_free(o);
}

static void keeper_status(struct keeper *k, struct bw *w)
{
    bw_doc_begin(w, k->place->status);
    bw_str(w, k->place->what, where(k->place, k->process));
    bw_i64(w, "storeCounter", (int64_t)store_anchor_durable(k->store));
    mutex_lock(&k->lock);
    bw_i64(w, "counter", (int64_t)k->counter);
    if (k->written_ms)
        bw_date(w, "written", k->written_ms);
    bw_bool(w, "lostAtStart", k->lost);
    if (*k->error)
        bw_str(w, "error", k->error);
    mutex_unlock(&k->lock);
    bw_doc_end(w);
}

void outside_status(struct outside *o, struct bw *w)
{
    for (size_t i = 0; o && i < PLACES; i++)
        if (o->keeper[i])
            keeper_status(o->keeper[i], w);
}
