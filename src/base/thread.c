/* thread.c - pthread wrappers; a failure of one is our own mistake. */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"

void mutex_init(struct mutex *m)
{
    INVARIANT(pthread_mutex_init(&m->m, NULL) == 0);
}

void mutex_fini(struct mutex *m)
{
    INVARIANT(pthread_mutex_destroy(&m->m) == 0);
}

void mutex_lock(struct mutex *m) TS_NO_ANALYSIS
{
    INVARIANT(pthread_mutex_lock(&m->m) == 0);
}

void mutex_unlock(struct mutex *m) TS_NO_ANALYSIS
{
    INVARIANT(pthread_mutex_unlock(&m->m) == 0);
}

void cond_init(struct cond *c)
{
    pthread_condattr_t attr;
    INVARIANT(pthread_condattr_init(&attr) == 0);
    INVARIANT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    INVARIANT(pthread_cond_init(&c->c, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

void cond_fini(struct cond *c)
{
    INVARIANT(pthread_cond_destroy(&c->c) == 0);
}

void cond_wait(struct cond *c, struct mutex *m)
{
    INVARIANT(pthread_cond_wait(&c->c, &m->m) == 0);
}

bool cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_us)
{
    struct timespec t = { .tv_sec = (time_t)(deadline_us / 1000000u),
                          .tv_nsec = (long)(deadline_us % 1000000u) * 1000 };
    int rc = pthread_cond_timedwait(&c->c, &m->m, &t);
    INVARIANT(rc == 0 || rc == ETIMEDOUT);
    return rc == 0;
}

void cond_signal(struct cond *c)
{
    INVARIANT(pthread_cond_signal(&c->c) == 0);
}

void cond_broadcast(struct cond *c)
{
    INVARIANT(pthread_cond_broadcast(&c->c) == 0);
}

struct start {
    void *(*fn)(void *);
    void *arg;
    char name[16];
};

static void *run(void *arg)
{
    struct start s = *(struct start *)arg;
    mem_free(arg);
    pthread_setname_np(pthread_self(), s.name);
    return s.fn(s.arg);
}

bool thread_try_start(const char *name, void *(*fn)(void *), void *arg, pthread_t *out)
{
    struct start *s = NEW(struct start);
    s->fn = fn;
    s->arg = arg;
    for (size_t i = 0; i + 1 < sizeof(s->name) && name[i]; i++)
        s->name[i] = name[i];
    sigset_t all, old;
    sigfillset(&all);
    INVARIANT(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
    bool started = pthread_create(out, NULL, run, s) == 0;
    INVARIANT(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
    if (!started)
        mem_free(s);
    return started;
}

pthread_t thread_start(const char *name, void *(*fn)(void *), void *arg)
{
    pthread_t t;
    INVARIANT(thread_try_start(name, fn, arg, &t));
    return t;
}

void thread_join(pthread_t t)
{
    INVARIANT(pthread_join(t, NULL) == 0);
}
