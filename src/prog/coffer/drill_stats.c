/* drill_stats.c - see drill_stats.h. */
#include "drill_stats.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

static const struct {
    const char *name, *what;
    size_t offset;
} measures[] = {
    { "detect_s", "refused or ended", offsetof(struct drill_round, detect_us) },
    { "seal_s", "sealed after that", offsetof(struct drill_round, seal_us) },
    { "return_s", "read again", offsetof(struct drill_round, return_us) },
};

/* Seconds, to the millisecond: what is beyond is the machine's own unrest. */
static double seconds(double us)
{
    return (double)(int64_t)(us / 1000 + 0.5) / 1000;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

double stats_median(uint64_t *us, int n)
{
    int lower = (n - 1) / 2, upper = n / 2;

    qsort(us, (size_t)n, sizeof(us[0]), by_value);
    return seconds(((double)us[lower] + (double)us[upper]) / 2);
}

double stats_p99(uint64_t *us, int n)
{
    int rank = (n * 99 + 99) / 100;

    qsort(us, (size_t)n, sizeof(us[0]), by_value);
    return seconds((double)us[rank - 1]);
}

static uint64_t measured(const struct drill_round *r, size_t offset)
{
    return *(const uint64_t *)((const char *)r + offset);
}

static void write_round(const struct drill_round *r, struct bw *w)
{
    bw_doc_begin(w, NULL);
    bw_date(w, "at", r->at_ms);
    for (size_t m = 0; m < ARRAY_LEN(measures); m++)
        bw_double(w, measures[m].name, seconds((double)measured(r, measures[m].offset)));
    bw_double(w, "last_read_s", seconds((double)r->last_read_us));
    bw_i64(w, "reads", r->reads);
    bw_doc_end(w);
}

void stats_write(const struct drill_round *rounds, int n, struct bw *w)
{
    uint64_t us[ROUNDS_MAX];

    for (size_t m = 0; n > 0 && m < ARRAY_LEN(measures); m++) {
        for (int i = 0; i < n; i++)
            us[i] = measured(&rounds[i], measures[m].offset);
        bw_doc_begin(w, measures[m].name);
        bw_double(w, "median", stats_median(us, n));
        bw_double(w, "p99", stats_p99(us, n));
        bw_doc_end(w);
    }
    bw_array_begin(w, "rounds");
    for (int i = 0; i < n; i++)
        write_round(&rounds[i], w);
    bw_array_end(w);
}

static double number_at(struct bdoc d, const char *path)
{
    struct bval v = bdoc_get_path(d, path);

    return bval_is_number(v) ? bval_to_double(v) : 0;
}

void stats_print(struct bdoc d)
{
    struct biter it;
    int n = 0;

    printf("round  refused after  sealed after that  read again after  (seconds)\n");
    biter_init(&it, bval_doc(bdoc_get(d, "rounds")));
    while (biter_next(&it)) {
        struct bdoc r = bval_doc(it.val);
        printf("%5d  %13.3f  %17.3f  %16.3f\n", ++n, number_at(r, "detect_s"),
               number_at(r, "seal_s"), number_at(r, "return_s"));
    }
    printf("%5s  %13.3f  %17.3f  %16.3f\n", "median", number_at(d, "detect_s.median"),
           number_at(d, "seal_s.median"), number_at(d, "return_s.median"));
    printf("%5s  %13.3f  %17.3f  %16.3f\n", "p99", number_at(d, "detect_s.p99"),
           number_at(d, "seal_s.p99"), number_at(d, "return_s.p99"));
}
