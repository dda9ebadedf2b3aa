/* thread.h - mutexes, conditions and threads, annotated for clang's -Wthread-safety.
 *
 * A failure of pthread calls here is our own mistake (or no memory at start-up) and aborts.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define TS_CAPABILITY(x) __attribute__((capability(x)))
#define TS_ACQUIRE(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define TS_RELEASE(...) __attribute__((release_capability(__VA_ARGS__)))
#define TS_REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define TS_NO_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define TS_CAPABILITY(x)
#define TS_ACQUIRE(...)
#define TS_RELEASE(...)
#define TS_REQUIRES(...)
#define TS_NO_ANALYSIS
#endif

struct TS_CAPABILITY("mutex") mutex {
    pthread_mutex_t m;
};
#define MUTEX_INIT { PTHREAD_MUTEX_INITIALIZER }

void mutex_init(struct mutex *m);
void mutex_fini(struct mutex *m);
void mutex_lock(struct mutex *m) TS_ACQUIRE(*m);
void mutex_unlock(struct mutex *m) TS_RELEASE(*m);

struct cond {
    pthread_cond_t c; /* on CLOCK_MONOTONIC */
};

void cond_init(struct cond *c);
void cond_fini(struct cond *c);
void cond_wait(struct cond *c, struct mutex *m) TS_REQUIRES(*m);
/* cond_wait_until(): false when the deadline (monotonic microseconds) passed. */
bool cond_wait_until(struct cond *c, struct mutex *m, uint64_t deadline_us) TS_REQUIRES(*m);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

/* thread_try_start(): false when the system gives no thread: for threads that one can do without. They also cannot be had while another thread
 * is replacing the process by exec. name is at most 15 characters; signals are blocked in the new thread. */
bool thread_try_start(const char *name, void *(*fn)(void *), void *arg, pthread_t *out);
/* thread_start(): the same for threads without which the program cannot run: panics instead. */
pthread_t thread_start(const char *name, void *(*fn)(void *), void *arg);
void thread_join(pthread_t t);

#endif
