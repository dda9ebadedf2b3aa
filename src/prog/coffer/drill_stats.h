/* drill_stats.h - what a drill measured: its rounds, their medians and 99th percentiles, as a document and as text. */
#ifndef COFFER_DRILL_STATS_H
#define COFFER_DRILL_STATS_H

#include <stdint.h>

#include "bsonx/bw.h"

enum { ROUNDS_MAX = 1000 };

/* Microseconds. */
struct drill_round {
    int64_t at_ms;      /* Unix time at which the vault had disabled the key */
    uint64_t detect_us; /* from then to the first operation refused or connection ended */
    /* from there until nothing answers data and the process that held the keys is gone */
    uint64_t seal_us;
    /* from the vault's answer that the key is enabled to the first successful read */
    uint64_t return_us;
    uint64_t last_read_us; /* from the disabling to the last read that was answered */
    int64_t reads;         /* answered while the key was disabled */
};

/* stats_median(), stats_p99(): of n > 0 values; sorts them. The median of an even number is the mean of the middle two; the percentile is the value
 * of nearest rank, ceil(0.99 n): with less than 100 rounds the greatest. */
double stats_median(uint64_t *us, int n);
double stats_p99(uint64_t *us, int n);
/* stats_write(): the members detect_s, seal_s, return_s and rounds; without rounds only an empty list of those. */
void stats_write(const struct drill_round *rounds, int n, struct bw *w);
/* stats_print(): for people. d is a whole report. */
void stats_print(struct bdoc d);

#endif
