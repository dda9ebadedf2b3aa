/* metrics.h - counters and gauges. A metric is a row of tables/metrics.def with a unit and a sentence that says when an
 * operator looks at it. [any thread], relaxed atomics. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdint.h>

enum metric {
#define METRIC(id, kind, name, unit, sentence) id,
#include "metrics.def"
#undef METRIC
    METRIC_NR
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric_def {
    const char *name, *unit, *sentence;
    enum metric_kind kind;
};

void metric_add(enum metric m, int64_t n);
void metric_set(enum metric m, int64_t v);
int64_t metric_get(enum metric m);
const struct metric_def *metric_def(enum metric m);

#endif
