/* histogram.c - see histogram.h. */
#include "histogram.h"

static int bucket_of(uint64_t us)
{
    if (us < HISTOGRAM_SUB)
        return (int)us;
    int shift = 63 - __builtin_clzll(us) - 6; /* leaves 7 significant bits, the first of them set */
    return (shift + 1) * HISTOGRAM_SUB + (int)((us >> shift) & (HISTOGRAM_SUB - 1));
}

static double middle_of(int bucket)
{
    if (bucket < HISTOGRAM_SUB)
        return bucket;
    int shift = bucket / HISTOGRAM_SUB - 1;
    uint64_t low = (uint64_t)(HISTOGRAM_SUB + bucket % HISTOGRAM_SUB) << shift;
    return (double)low + (double)(1ull << shift) / 2;
}

void histogram_add(struct histogram *h, uint64_t us)
{
    h->count++;
    h->bucket[bucket_of(us)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    for (int i = 0; i < HISTOGRAM_NR; i++)
        into->bucket[i] += from->bucket[i];
}

double histogram_quantile(const struct histogram *h, double q)
{
    uint64_t seen = 0;
    double want = q * (double)h->count;
    for (int i = 0; i < HISTOGRAM_NR; i++) {
        seen += h->bucket[i];
        if (h->bucket[i] && (double)seen >= want)
            return middle_of(i);
    }
    return 0;
}
