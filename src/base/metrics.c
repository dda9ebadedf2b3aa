/* metrics.c - one cache line for each metric, so that hot counters do not share one. */
#include "base/metrics.h"

#include <stdalign.h>
#include <stdatomic.h>

#include "base/err.h"

static struct {
    alignas(64) _Atomic int64_t v;
} values[METRIC_NR];

static const struct metric_def defs[METRIC_NR] = {
#define METRIC(id, kind_, name_, unit_, sentence_)                                                 \
    [id] = { .name = (name_), .unit = (unit_), .sentence = (sentence_), .kind = (kind_) },
#include "metrics.def"
#undef METRIC
};

void metric_add(enum metric m, int64_t n)
{
    atomic_fetch_add_explicit(&values[m].v, n, memory_order_relaxed);
}

void metric_set(enum metric m, int64_t v)
{
    atomic_store_explicit(&values[m].v, v, memory_order_relaxed);
}

int64_t metric_get(enum metric m)
{
    return atomic_load_explicit(&values[m].v, memory_order_relaxed);
}

const struct metric_def *metric_def(enum metric m)
{
    INVARIANT(m < METRIC_NR);
    return &defs[m];
}
