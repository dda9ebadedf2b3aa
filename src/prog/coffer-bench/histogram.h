/* histogram.h - latencies in microseconds, counted in log-linear buckets: 64 for each power of two, so a quantile is right within 1.6 %. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB = 64, HISTOGRAM_NR = 64 * HISTOGRAM_SUB };

struct histogram {
    uint64_t count, bucket[HISTOGRAM_NR];
};

void histogram_add(struct histogram *h, uint64_t us);
void histogram_merge(struct histogram *into, const struct histogram *from);
double histogram_quantile(const struct histogram *h, double q); /* q in 0..1; 0 when empty */

#endif
