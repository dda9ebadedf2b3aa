/* ready.c - the image that serves: keys in memory, the store open, clients answered.
 *
 * Start    keys, store, catalogue, users, server, prober, administration: each needs the one before. A key that cannot be reached is no failure of the
 *          start: the node waits for it, sealed.
 * Stop     the other way round.
 * Seal     The prober asks for it, the main thread does it, and a watchdog makes sure of it: whatever hangs, the keys are wiped when the
 *          deadline passes, and a process that could not replace itself soon after kills itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backup.h"
#include "backups.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cmd/client.h"
#include "cmd/node.h"
#include "crypto/aead.h"
#include "crypto/secret.h"
#include "frontdoor.h"
#include "healer.h"
#include "identity/identity.h"
#include "keyctl.h"
#include "keyloop.h"
#include "node_secret.h"
#include "ops.h"
#include "outside.h"
#include "provider.h"
#include "rotator.h"
#include "store/store.h"
#include "unlock.h"
#include "user_store.h"
#include "verify.h"

enum { DOG_PATIENCE_US = 2000000, DOG_LOOKS_US = 500000 };

struct ready {
    struct process *p;
    struct custody *custody;
    struct store *store;
    struct node node;
    struct secret *salt_key;
    struct identity_store users;
    struct identity *identity;
    struct frontdoor *door;
    struct keyloop *loop;
    struct admin_server *admin;
    struct keyctl keys;
    struct rotator *rotator;
    struct healer *healer;
    struct outside *outside;
    struct outside_found found_outside;
    struct ops_ctx ops;
    struct admin_ops admin_ops;
    pthread_t main_thread, ticker, dog;
    bool ticking, dog_runs;
    struct mutex dog_lock;
    struct cond dog_wake;
    bool dog_loose, dog_done; /* guarded by dog_lock */
    struct keyloop *watched;  /* guarded by dog_lock: the loop, while it may be looked at */

    bool opening; /* of the start: what fails now concerns the data and its keys */
    atomic_bool stop, seal, reopen, replace; /* asked for; the main thread looks after SIGUSR1 */
    _Atomic uint64_t fatal_us; /* monotonic: when the engine stopped; 0 while it runs */
    atomic_bool sealing;       /* requests are refused from now on */
    struct handoff why;        /* written before seal is set */
};

static void wake_main(struct ready *r)
{
    pthread_kill(r->main_thread, SIGUSR1);
}

static void ask_stop(void *arg)
{
    struct ready *r = arg;
    atomic_store(&r->stop, true);
    wake_main(r);
}

static void ask_replace(void *arg)
{
    struct ready *r = arg;
    atomic_store(&r->replace, true);
    wake_main(r);
}

/* ---- the watchdog of sealing -------------------------------------------------------------------------------------- */

/* Waits until the deadline; true: the image ended in order before it. */
static bool dog_waits(struct ready *r, uint64_t us)
{
    uint64_t deadline = clock_mono_us() + us;
    mutex_lock(&r->dog_lock);
    while (!r->dog_done && cond_wait_until(&r->dog_wake, &r->dog_lock, deadline)) {
    }
    bool done = r->dog_done;
    mutex_unlock(&r->dog_lock);
    return done;
}

static void on_seal(void *arg, const struct handoff *why);

/* Until somebody decides to seal: a prober that hangs never would. */
static void dog_watches(struct ready *r)
{
    struct handoff why;
    mutex_lock(&r->dog_lock);
    while (!r->dog_loose && !r->dog_done) {
        bool woken = cond_wait_until(&r->dog_wake, &r->dog_lock, clock_mono_us() + DOG_LOOKS_US);
        if (woken || !r->watched || !keyloop_watch(r->watched, &why))
            continue;
        mutex_unlock(&r->dog_lock);
        on_seal(r, &why);
        mutex_lock(&r->dog_lock);
    }
    mutex_unlock(&r->dog_lock);
}

static void watch(struct ready *r, struct keyloop *k)
{
    mutex_lock(&r->dog_lock);
    r->watched = k;
    mutex_unlock(&r->dog_lock);
}

/* Started with the node, so that sealing needs nothing that the system could refuse. */
static void *seal_watchdog(void *arg)
{
    struct ready *r = arg;
    dog_watches(r);
    if (dog_waits(r, settings_us(r->p->set, SET_WIPE_DEADLINE)))
        return NULL;
    secret_arena_wipe();
    /* The main thread had its time; an image that cannot replace itself must not live on with decrypted pages. */
    if (!dog_waits(r, DOG_PATIENCE_US))
        raise(SIGKILL);
    return NULL;
}

static void tell_watchdog(struct ready *r, bool *what)
{
    mutex_lock(&r->dog_lock);
    *what = true;
    cond_broadcast(&r->dog_wake);
    mutex_unlock(&r->dog_lock);
}

/* ---- what the prober asks for ------------------------------------------------------------------------------------ */

static void on_seal(void *arg, const struct handoff *why)
{
    struct ready *r = arg;
    r->why = *why;
    atomic_store(&r->sealing, true);
    tell_watchdog(r, &r->dog_loose); /* now: the main thread may be busy with a stop */
    atomic_store(&r->seal, true);
    wake_main(r);
}

static void on_return(void *arg)
{
    /* The machine of a Ready image never returns: it would have to be sealed first. */
    (void)arg;
    INVARIANT(!"a ready node cannot return");
}

static void on_newer(void *arg, const char *version)
{
    struct ready *r = arg;
    struct err e = { 0 };
    if (keyctl_follow(&r->keys, KEYCTL_ITSELF, version, /* compromised= */ false, &e).failed &&
        e.code != ERR_CONFLICT)
        log_err(EV_KEY_REWRAP_FAILED, &e, NULL, 0);
    err_reset(&e);
}

/* ---- tables that commands see ------------------------------------------------------------------------------------ */

static RC key_check(void *ctx, struct err *e)
{
    struct ready *r = ctx;
    if (atomic_load_explicit(&r->sealing, memory_order_relaxed))
        FAIL(e, ERR_CLUSTER_INACCESSIBLE,
             "the cluster is Inaccessible: its customer-managed key cannot be used");
    return RC_OK;
}

static void key_status(void *ctx, struct bw *w)
{
    struct ready *r = ctx;
    status_write(&r->ops.source, w);
}

static RC key_revalidate(void *ctx, struct err *e)
{
    struct ready *r = ctx;
    if (!keyloop_is_active(r->loop))
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "this cluster is in smk mode: there is no customer's key to look at");
    keyloop_revalidate(r->loop);
    return RC_OK;
}

static const struct node_key_ops key_ops = { .check = key_check,
                                             .status = key_status,
                                             .revalidate = key_revalidate };

/* ---- start ------------------------------------------------------------------------------------------------------- */

static void on_store_event(void *arg, enum store_event ev, const char *text)
{
    static const enum event events[STORE_EV_NR] = {
        [STORE_EV_TORN_TAIL] = EV_STORE_TORN_TAIL,
        [STORE_EV_LEFTOVER] = EV_STORE_LEFTOVER,
        [STORE_EV_READ_ONLY] = EV_STORE_READ_ONLY,
        [STORE_EV_WRITABLE] = EV_STORE_WRITABLE,
        [STORE_EV_FATAL] = EV_STORE_FATAL,
        [STORE_EV_ANCHOR_FAILED] = EV_STORE_ANCHOR_FAILED,
        [STORE_EV_ENGINE] = EV_STORE_ENGINE,
    };
    struct ready *r = arg;
    INVARIANT(ev < STORE_EV_NR);
    log_event(events[ev], KV_STR("what", text));
    uint64_t running = 0;
    if (ev == STORE_EV_FATAL)
        atomic_compare_exchange_strong(&r->fatal_us, &running, clock_mono_us());
}

static RC open_store(struct ready *r, bool created, struct err *e)
{
    struct settings *s = r->p->set;
    struct custody_status *st = NEW(struct custody_status);
    custody_status(r->custody, st);
    struct store_config c = {
        .dir = r->p->store_dir,
        .keyring = custody_keyring(r->custody),
        .cache_bytes = settings_i64(s, SET_CACHE_SIZE),
        .memtable_bytes = settings_i64(s, SET_MEMTABLE_SIZE),
        .max_txn_bytes = settings_i64(s, SET_MAX_TXN_SIZE),
        .anchor_interval_us = (int64_t)settings_us(s, SET_ANCHOR_INTERVAL),
        .anchor_bytes = settings_i64(s, SET_ANCHOR_BYTES),
        .reserve_bytes = settings_i64(s, SET_RESERVE_SIZE),
        .envelope_seq = st->sequence,
        .anchor_floor = r->found_outside.floor,
        .anchor_raise = r->found_outside.ticket,
        .create = created,
        .null_cipher = aead_algorithm() == AEAD_ALG_NULL,
        .on_event = on_store_event,
        .event_arg = r,
    };
    mem_free(st);
    return store_open(&c, &r->store, e);
}

static RC open_node(struct ready *r, struct err *e)
{
    struct settings *s = r->p->set;
    struct node *n = &r->node;
    node_init(n);
    n->store = r->store;
    n->settings = s;
    n->key = &key_ops;
    n->key_ctx = r;
    n->admin = &r->admin_ops;
    n->auth_enabled = settings_bool(s, SET_AUTH);
    n->test_commands = settings_bool(s, SET_TEST_COMMANDS);
    n->argc = r->p->argc;
    n->argv = r->p->argv;
    n->limits.cursor_timeout_ms = settings_i64(s, SET_CURSOR_TIMEOUT);
    n->limits.max_cursors = settings_i64(s, SET_MAX_CURSORS);
    n->limits.max_sessions = settings_i64(s, SET_MAX_SESSIONS);
    n->limits.query_memory_bytes = settings_i64(s, SET_QUERY_MEMORY);
    n->limits.request_memory_bytes = settings_i64(s, SET_REQUEST_MEMORY);
    arena_limit_all((size_t)settings_i64(s, SET_ALL_REQUESTS_MEMORY));
    n->limits.ttl_sleep_ms = settings_i64(s, SET_TTL_INTERVAL);
    TRY(node_open(n, e));
    user_store_init(&r->users, r->store);
    TRY(node_secret_get(r->store, NODE_SECRET_FAKE_SALT, &r->salt_key, e));
    struct identity_config ic = { .store = &r->users,
                                  .fake_salt_key = r->salt_key,
                                  .auth = n->auth_enabled };
    r->identity = identity_new(&ic);
    n->identity = r->identity;
    return RC_OK;
}

/* An engine that stopped (design: fatal errors) comes back only by being opened anew, and that needs room: for a new journal, a manifest, an anchor. Until then
 * reads go on and writes say why they cannot. */
static void consider_reopening(struct ready *r)
{
    uint64_t since = atomic_load(&r->fatal_us);
    if (!since || clock_mono_us() - since < settings_us(r->p->set, SET_ENGINE_REOPEN_DELAY))
        return;
    struct store_stats st;
    store_stats(r->store, &st);
    int64_t need =
        settings_i64(r->p->set, SET_RESERVE_SIZE) + settings_i64(r->p->set, SET_MEMTABLE_SIZE);
    if (st.free_bytes < (uint64_t)need)
        return;
    atomic_store(&r->reopen, true);
    wake_main(r);
}

static void *tick(void *arg)
{
    struct ready *r = arg;
    while (!atomic_load(&r->node.stopping)) {
        node_tick(&r->node);
        consider_reopening(r);
        clock_sleep_us(200000);
    }
    return NULL;
}

static RC start_prober(struct ready *r, struct err *e)
{
    struct keyloop_config c = { .process = r->p,
                                .custody = r->custody,
                                .state = KEY_READY,
                                .on_seal = on_seal,
                                .on_return = on_return,
                                .on_newer = on_newer,
                                .arg = r };
    TRY(keyloop_start(&c, &r->loop, e));
    r->ops.source.loop = r->keys.loop = r->loop;
    watch(r, r->loop);
    return RC_OK;
}

static RC unlock(struct ready *r, enum making *making, struct err *e)
{
    const char *backup = settings_str(r->p->set, SET_RESTORE_FROM);
    TRY(making_read(r->p, making, e));
    if (*backup && !custody_exists(r->p->data_dir)) {
        TRY(restore_copy(r->p, backup, e));
        *making = MAKING_RESTORE;
    }
    return unlock_keys(r->p, making, &r->custody, e);
}

/* What is made is there only when it can be opened; what is restored, when every byte of it was authenticated. */
static RC open_data(struct ready *r, struct err *e)
{
    enum making making;
    TRY(unlock(r, &making, e));
    TRY(outside_look(r->p, r->custody, making == MAKING_NEW, &r->found_outside, e));
    TRY(open_store(r, making == MAKING_NEW, e));
    if (making == MAKING_RESTORE)
        TRY(restore_verify(r->store, e));
    TRY(outside_drop_ticket(r->p, e));
    return making == MAKING_NOTHING ? RC_OK : making_done(r->p, e);
}

/* ---- SMK generations ----------------------------------------------------------------------------------------------- */

static RC make_generation(struct custody *custody, void *arg, struct err *e)
{
    (void)arg;
    return custody_new_generation(custody, e);
}

static RC new_generation(void *arg, struct err *e)
{
    struct ready *r = arg;
    return keyctl_with_provider(&r->keys, KEYCTL_ASKED, make_generation, NULL, e);
}

static RC finish_rotation(struct custody *custody, void *arg, struct err *e)
{
    bool did;
    (void)arg;
    return custody_resume(custody, &did, e);
}

static RC resume(void *arg, struct err *e)
{
    struct ready *r = arg;
    return keyctl_with_provider(&r->keys, KEYCTL_ITSELF, finish_rotation, NULL, e);
}

struct wanted {
    uint32_t gen;
    bool is;
};

static void look_at_backup(const struct backup_facts *b, void *arg)
{
    struct wanted *w = arg;
    w->is |= b->present && b->generation == w->gen;
}

/* A list that cannot be read holds up: a wrapped form that is erased does not come back. */
static bool needed_by_backup(void *arg, uint32_t gen)
{
    struct ready *r = arg;
    AUTO(arena_freep) struct arena *a = arena_new(0);
    struct wanted w = { .gen = gen };
    struct err e = { 0 };
    if (backups_each(r->p, a, look_at_backup, &w, &e).failed) {
        log_err(EV_ROTATION_FAILED, &e, NULL, 0);
        w.is = true;
    }
    err_reset(&e);
    return w.is;
}

static RC start_rotator(struct ready *r, struct err *e)
{
    struct rotator_config c = { .process = r->p,
                                .custody = r->custody,
                                .store = r->store,
                                .new_generation = new_generation,
                                .resume = resume,
                                .needed = needed_by_backup,
                                .arg = r };
    TRY(rotator_start(&c, &r->rotator, e));
    r->ops.source.rotator = r->rotator;
    return RC_OK;
}

static RC start(struct ready *r, struct err *e)
{
    r->opening = true;
    TRY(open_data(r, e));
    TRY(open_node(r, e));
    r->opening = false;
    r->keys.custody = r->custody;
    r->keys.store = r->store;
    r->ops =
        (struct ops_ctx){ .source = { .process = r->p, .custody = r->custody, .store = r->store },
                          .keys = &r->keys,
                          .stop = ask_stop,
                          .replace = ask_replace,
                          .stop_arg = r };
    ops_table(&r->ops, /* sealed= */ false, &r->admin_ops);
    struct frontdoor_config fc = { .process = r->p,
                                   .node = &r->node,
                                   .identity = r->identity,
                                   .shutdown = ask_stop,
                                   .shutdown_arg = r };
    TRY(frontdoor_open(&fc, &r->door, e));
    r->dog = thread_start("seal-watchdog", seal_watchdog, r);
    r->dog_runs = true;
    TRY(start_prober(r, e));
    verify_clean(r->p);
    TRY(start_rotator(r, e));
    r->healer = healer_start(r->p, r->custody);
    r->ops.source.outside = r->outside =
        outside_start(r->p, r->custody, r->store, &r->found_outside);
    TRY(ops_listen(r->p, &r->admin_ops, &r->admin, e));
    r->ticker = thread_start("ticker", tick, r);
    r->ticking = true;
    return frontdoor_start(r->door, e);
}

/* ---- end --------------------------------------------------------------------------------------------------------- */

static RC stop(struct ready *r, struct err *e)
{
    atomic_store(&r->node.stopping, true);
    frontdoor_stop(r->door);
    admin_close(r->admin); /* it looks at the loop and the store */
    rotator_stop(r->rotator);
    healer_stop(r->healer);
    outside_stop(r->outside);
    watch(r, NULL);
    keyloop_stop(r->loop);
    r->loop = NULL;
    if (r->ticking)
        thread_join(r->ticker);
    frontdoor_free(r->door);
    node_close(&r->node);
    identity_free(r->identity);
    secret_free(r->salt_key);
    rc_t rc = store_close(r->store, e);
    custody_free(r->custody);
    /* to the last: a key that is lost during the stop is wiped in time all the same */
    if (r->dog_runs) {
        tell_watchdog(r, &r->dog_done);
        thread_join(r->dog);
    }
    keyctl_fini(&r->keys);
    return rc;
}

static void seal(struct ready *r)
{
    struct kv kv[] = { KV_STR("cause", r->why.cause_text) };
    log_write(EV_KEY_SEALING, kv, 1);
    struct cmd_seal what = { .state = key_state_name(KEY_INACCESSIBLE),
                             .since_ms = r->why.since_ms };
    frontdoor_seal(r->door, &what);
    struct err e = { 0 };
    if (store_sync(r->store, &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
    secret_arena_wipe();
    frontdoor_fds(r->door, &r->why);
    r->why.lock_fd = r->p->lock_fd;
    err_reset(&e);
    if (handoff_exec(r->p->self_fd, r->p->argv, &r->why, &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
    raise(SIGKILL);
}

/* A new image instead of a second life for this one: what a stopped engine leaves in memory is of no use, and the start is the path that is tested most. */
static void reopen(struct ready *r)
{
    struct handoff next = { .mode = HANDOFF_READY,
                            .since_ms = clock_real_ms(),
                            .lock_fd = r->p->lock_fd };
    struct err e = { 0 };
    log_event0(EV_STORE_REOPENING);
    atomic_store(&r->node.stopping, true);
    frontdoor_stop(r->door);
    secret_arena_wipe();
    frontdoor_fds(r->door, &next);
    if (handoff_exec(r->p->self_fd, r->p->argv, &next, &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
    raise(SIGKILL);
}

/* Somebody asked for what only an image without keys does. The answer to that goes out first; then nothing of this one may write any more. */
static void replace(struct ready *r)
{
    struct handoff next = { .mode = HANDOFF_READY,
                            .since_ms = clock_real_ms(),
                            .lock_fd = r->p->lock_fd };
    struct err e = { 0 };
    tell_watchdog(r, &r->dog_loose); /* whatever hangs: the keys go in time */
    admin_close(r->admin);
    atomic_store(&r->node.stopping, true);
    frontdoor_stop(r->door);
    secret_arena_wipe();
    if (handoff_exec(r->p->self_fd, r->p->argv, &next, &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
    raise(SIGKILL);
}

static void wait_for_end(struct ready *r)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    for (;;) {
        int sig = sigwaitinfo(&set, NULL);
        if (sig == SIGTERM || sig == SIGINT || atomic_load(&r->stop))
            return;
        if (atomic_load(&r->replace))
            replace(r);
        if (atomic_load(&r->seal))
            seal(r);
        if (atomic_load(&r->reopen))
            reopen(r);
    }
}

/* The key cannot be reached at start: nothing secret is in this image, so it can wait as it is. */
static enum run_end wait_sealed(struct ready *r, const struct err *e)
{
    struct handoff why = {
        .mode = HANDOFF_SEALED, .since_ms = clock_real_ms(), .cause = e->code, .lock_fd = -1
    };
    if (r->p->handoff.mode == HANDOFF_READY && r->p->handoff.since_ms)
        why.since_ms = r->p->handoff.since_ms;
    snprintf(why.cause_text, sizeof(why.cause_text), "%s", e->msg);
    return sealed_run(r->p, &why);
}

/* The key is there, and the disk will not have it. An image that follows another one does not end over that: the next one waits, without a key in its memory, and
 * tries again. A start by hand ends with the error instead: whoever starts a node sees it, and nothing was served yet. */
static void wait_for_storage(struct ready *r, struct err *e)
{
    struct handoff *before = &r->p->handoff;
    struct handoff why = { .mode = HANDOFF_SEALED,
                           .since_ms = before->since_ms ? before->since_ms : clock_real_ms(),
                           .cause = e->code,
                           .storage_tries = MIN(before->storage_tries, INT32_MAX - 1) + 1,
                           .n_fds = before->n_fds,
                           .lock_fd = r->p->lock_fd };
    struct kv kv[] = { KV_I64("tries", why.storage_tries) };
    log_err(EV_STORAGE_UNAVAILABLE, e, kv, ARRAY_LEN(kv));
    secret_arena_wipe();
    snprintf(why.cause_text, sizeof(why.cause_text), "%s", e->msg);
    memcpy(why.fds, before->fds, sizeof(why.fds));
    err_reset(e);
    if (handoff_exec(r->p->self_fd, r->p->argv, &why, e).failed)
        log_err(EV_BACKGROUND_ERROR, e, NULL, 0);
    raise(SIGKILL);
}

enum run_end ready_run(struct process *p)
{
    struct ready *r = NEW(struct ready);
    struct err e = { 0 }, e2 = { 0 };
    r->p = p;
    r->main_thread = pthread_self();
    mutex_init(&r->dog_lock);
    cond_init(&r->dog_wake);
    keyctl_init(&r->keys, p);
    rc_t rc = start(r, &e);
    if (rc.failed && !r->custody && unlock_may_wait(&e) && custody_exists(p->data_dir)) {
        enum run_end end = wait_sealed(r, &e);
        mem_free(r);
        return end;
    }
    if (rc.failed && r->opening && p->handoff.mode == HANDOFF_READY && file_may_pass(&e))
        wait_for_storage(r, &e);
    if (rc.failed) {
        log_err(EV_START_FAILED, &e, NULL, 0);
        fprintf(stderr, "cofferd: %s\n", e.msg);
    } else {
        log_event(EV_READY, KV_I64("port", frontdoor_port(r->door)),
                  KV_STR("mode", key_mode_name(process_mode(p))));
        wait_for_end(r);
        log_event0(EV_STOPPING);
    }
    rc_t closed = stop(r, &e2);
    if (closed.failed)
        log_err(EV_BACKGROUND_ERROR, &e2, NULL, 0);
    log_event0(EV_STOPPED);
    mem_free(r);
    return rc.failed || closed.failed ? RUN_FAILED : RUN_STOPPED;
}
