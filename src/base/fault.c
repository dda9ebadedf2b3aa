/* fault.c - fault points: inert unless armed. */
#include "base/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/text.h"
#include "base/thread.h"

enum { ARMED_MAX = 32 };

struct armed {
    char name[48];
    int err; /* errno, 0: none */
    bool kill;
    uint64_t delay_us;
    int skip, times; /* times -1: for ever */
    uint64_t hits;
};

static struct {
    struct mutex lock;
    struct armed row[ARMED_MAX]; /* guarded by lock */
    int n;                       /* guarded by lock */
    bool counting;               /* guarded by lock */
    uint64_t total, fail_at;     /* guarded by lock */
} st = { .lock = MUTEX_INIT };

static _Atomic bool active;

static const struct {
    const char *name;
    int value;
} errnos[] = {
    { "EIO", EIO },
    { "ENOSPC", ENOSPC },
    { "EDQUOT", EDQUOT },
    { "EMFILE", EMFILE },
    { "ENOMEM", ENOMEM },
    { "EACCES", EACCES },
    { "ECONNRESET", ECONNRESET },
    { "ETIMEDOUT", ETIMEDOUT },
};

static bool parse_action(struct armed *a, const char *action)
{
    if (strcmp(action, "kill") == 0) {
        a->kill = true;
        return true;
    }
    if (strncmp(action, "delay", 5) == 0) {
        uint64_t ms;
        if (!text_u64(slice_str(action + 5), &ms))
            return false;
        a->delay_us = ms * 1000;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(errnos); i++) {
        if (strcmp(action, errnos[i].name) == 0) {
            a->err = errnos[i].value;
            return true;
        }
    }
    return false;
}

void fault_arm(const char *name, const char *action, int skip, int times)
{
    struct armed a = { .skip = skip, .times = times };
    INVARIANT(strlen(name) < sizeof(a.name) && parse_action(&a, action));
    memcpy(a.name, name, strlen(name) + 1);
    mutex_lock(&st.lock);
    INVARIANT(st.n < ARMED_MAX);
    st.row[st.n++] = a;
    mutex_unlock(&st.lock);
    atomic_store(&active, true);
}

void fault_disarm_all(void)
{
    mutex_lock(&st.lock);
    st.n = 0;
    st.counting = false;
    st.total = st.fail_at = 0;
    mutex_unlock(&st.lock);
    atomic_store(&active, false);
}

static struct armed find_locked(const char *name, bool *found)
{
    *found = false;
    for (int i = 0; i < st.n; i++) {
        struct armed *a = &st.row[i];
        if (strcmp(a->name, name) != 0)
            continue;
        a->hits++;
        if (a->skip > 0) {
            a->skip--;
            continue;
        }
        if (a->times == 0)
            continue;
        if (a->times > 0)
            a->times--;
        *found = true;
        return *a;
    }
    return (struct armed){ 0 };
}

int fault_hit(const char *name)
{
    if (!atomic_load_explicit(&active, memory_order_relaxed))
        return 0;
    bool found;
    mutex_lock(&st.lock);
    if (st.counting && ++st.total == st.fail_at) {
        mutex_unlock(&st.lock);
        return EIO;
    }
    struct armed a = find_locked(name, &found);
    mutex_unlock(&st.lock);
    if (!found)
        return 0;
    if (a.kill)
        raise(SIGKILL);
    if (a.delay_us)
        clock_sleep_us(a.delay_us);
    return a.err;
}

RC fault_step(const char *name, const char *what, struct err *e)
{
    int sys = fault_hit(name);

    return sys ? file_err(e, sys, "go on with", what) : RC_OK;
}

uint64_t fault_count(const char *name)
{
    uint64_t n = 0;
    mutex_lock(&st.lock);
    for (int i = 0; i < st.n; i++) {
        if (strcmp(st.row[i].name, name) == 0)
            n += st.row[i].hits;
    }
    mutex_unlock(&st.lock);
    return n;
}

void fault_count_all(void)
{
    fault_fail_nth(0);
}

void fault_fail_nth(uint64_t n)
{
    mutex_lock(&st.lock);
    st.counting = true;
    st.total = 0;
    st.fail_at = n;
    mutex_unlock(&st.lock);
    atomic_store(&active, true);
}

uint64_t fault_total(void)
{
    mutex_lock(&st.lock);
    uint64_t n = st.total;
    mutex_unlock(&st.lock);
    return n;
}

static void arm_from_text(char *item)
{
    char *eq = strchr(item, '=');
    INVARIANT(eq && "COFFER_FAULTS: NAME=ACTION[:SKIP[:TIMES]]");
    *eq = '\0';
    int64_t skip = 0, times = -1;
    char *save, *action = strtok_r(eq + 1, ":", &save);
    char *a = strtok_r(NULL, ":", &save), *b = strtok_r(NULL, ":", &save);
    INVARIANT(action && (!a || text_i64(slice_str(a), &skip)) &&
              (!b || text_i64(slice_str(b), &times)));
    fault_arm(item, action, (int)skip, (int)times);
}

void fault_init_from_env(void)
{
    const char *env = getenv("COFFER_FAULTS");
    if (!env || !*env)
        return;
    AUTO(mem_freep) char *copy = mem_strdup(env);
    char *save;
    for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save))
        arm_from_text(item);
}
