/* workload.h - what the load generator asks for: one builder of requests and one check of replies for each workload. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bsonx/bw.h"

struct workload_state {
    uint64_t seed;   /* xorshift state of this connection */
    int64_t n_docs;  /* documents loaded, ids 0 .. n_docs-1 */
    int64_t next_id; /* for inserting workloads: ids of this connection's own range */
    int64_t expect;  /* what the last request must give back */
    int64_t asked;   /* documents that the last request wrote or asked for */
};

struct workload {
    const char *name, *what;
    void (*build)(struct workload_state *s, struct bw *w);
    /* check(): true when the reply is what was asked for; a wrong or failed answer ends the run. */
    bool (*check)(struct workload_state *s, struct bdoc reply);
};

const struct workload *workload_find(const char *name);
const struct workload *workload_at(int i); /* NULL past the end */
/* workload_document(): the document of id i, about 1 KB, the same in every run. */
void workload_document(struct bw *w, int64_t i);

#endif
