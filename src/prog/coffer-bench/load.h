/* load.h - many connections, each with one request under way, driven by a few threads. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "histogram.h"
#include "workload.h"

struct load_config {
    const char *host;
    int port;
    const struct workload *work;
    int connections, threads;
    int idle_connections;     /* opened beside, and left alone */
    uint64_t warm_us, run_us; /* counted after warm_us, for run_us */
    /* per connection, 0 = no bound: then the run ends when all are done */
    int64_t max_requests;
    int64_t n_docs, first_id; /* ids loaded; where inserted ids begin */
};

struct load_result {
    struct histogram latency;
    double seconds;
    uint64_t requests, documents;
};

/* load_run(): errors: ERR_HOST_UNREACHABLE, ERR_OPERATION_FAILED when a reply is not what was asked for. */
RC load_run(const struct load_config *c, struct load_result *out, struct err *e);

#endif
