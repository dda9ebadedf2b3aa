/* sealed.c - the image that waits: no key, no store, no user. It answers hello and one documented error, looks at the key, and replaces
 * itself when the key is back.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cmd/client.h"
#include "frontdoor.h"
#include "keyloop.h"
#include "ops.h"

struct sealed {
    struct process *p;
    struct handoff why;
    struct frontdoor *door;
    struct keyloop *loop;
    struct admin_server *admin;
    struct keyctl keys;
    struct ops_ctx ops;
    struct admin_ops admin_ops;
    pthread_t main_thread;
    atomic_bool stop, back, replace;
};

static void wake_main(struct sealed *s)
{
    pthread_kill(s->main_thread, SIGUSR1);
}

static void ask_stop(void *arg)
{
    struct sealed *s = arg;
    atomic_store(&s->stop, true);
    wake_main(s);
}

static void ask_replace(void *arg)
{
    struct sealed *s = arg;
    atomic_store(&s->replace, true);
    wake_main(s);
}

static void on_seal(void *arg, const struct handoff *why)
{
    (void)arg;
    (void)why;
    INVARIANT(!"a sealed node cannot seal");
}

static void on_return(void *arg)
{
    struct sealed *s = arg;
    atomic_store(&s->back, true);
    wake_main(s);
}

static void on_newer(void *arg, const char *version)
{
    (void)arg;
    (void)version;
    INVARIANT(!"a sealed node has no keys to wrap");
}

static void describe(void *arg, struct cmd_seal *out)
{
    struct sealed *s = arg;
    *out = (struct cmd_seal){ .state = key_state_name(KEY_INACCESSIBLE),
                              .storage = s->why.storage_tries > 0 };
    keyloop_times(s->loop, &out->since_ms, &out->next_probe_ms);
}

static RC start(struct sealed *s, struct err *e)
{
    struct keyloop_config kc = { .process = s->p,
                                 .state = KEY_INACCESSIBLE,
                                 .why = &s->why,
                                 .on_seal = on_seal,
                                 .on_return = on_return,
                                 .on_newer = on_newer,
                                 .arg = s };
    TRY(keyloop_start(&kc, &s->loop, e));
    s->keys.loop = s->loop;
    s->ops = (struct ops_ctx){ .source = { .process = s->p, .loop = s->loop },
                               .keys = &s->keys,
                               .stop = ask_stop,
                               .replace = ask_replace,
                               .stop_arg = s };
    struct frontdoor_config fc = { .process = s->p, .describe = describe, .describe_arg = s };
    TRY(frontdoor_open(&fc, &s->door, e));
    ops_table(&s->ops, /* sealed= */ true, &s->admin_ops);
    TRY(ops_listen(s->p, &s->admin_ops, &s->admin, e));
    return frontdoor_start(s->door, e);
}

static bool wait_for_end(struct sealed *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    for (;;) {
        int sig = sigwaitinfo(&set, NULL);
        if (sig == SIGTERM || sig == SIGINT || atomic_load(&s->stop))
            return false;
        if (atomic_load(&s->back) || atomic_load(&s->replace))
            return true;
    }
}

static void replace_image(struct sealed *s)
{
    struct handoff h = { .mode = HANDOFF_READY,
                         .since_ms = s->why.since_ms,
                         .storage_tries = s->why.storage_tries,
                         .lock_fd = s->p->lock_fd };
    struct err e = { 0 };
    bool back = !atomic_load(&s->replace);
    h.key_seen = back;
    if (back)
        log_event0(EV_KEY_RETURNING);
    /* the change that brought the key back, or what else was asked for, is answered first */
    admin_close(s->admin);
    if (back)
        frontdoor_fds(s->door, &h);
    if (handoff_exec(s->p->self_fd, s->p->argv, &h, &e).failed)
        log_err(EV_BACKGROUND_ERROR, &e, NULL, 0);
    raise(SIGKILL);
}

enum run_end sealed_run(struct process *p, const struct handoff *why)
{
    struct sealed *s = NEW(struct sealed);
    struct err e = { 0 };
    s->p = p;
    s->why = *why;
    s->main_thread = pthread_self();
    keyctl_init(&s->keys, p);
    if (!why->storage_tries) /* else the image before has said what is in the way */
        log_event(EV_KEY_SEALED, KV_STR("cause", why->cause_text), KV_I64("code", why->cause));
    rc_t rc = start(s, &e);
    if (rc.failed) {
        log_err(EV_START_FAILED, &e, NULL, 0);
        fprintf(stderr, "cofferd: %s\n", e.msg);
    } else if (wait_for_end(s)) {
        replace_image(s);
    }
    log_event0(EV_STOPPING);
    frontdoor_stop(s->door);
    admin_close(s->admin); /* it looks at the loop */
    keyloop_stop(s->loop);
    frontdoor_free(s->door);
    keyctl_fini(&s->keys);
    log_event0(EV_STOPPED);
    mem_free(s);
    return rc.failed ? RUN_FAILED : RUN_STOPPED;
}
