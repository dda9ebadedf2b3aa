/* cmd_server_status.c - serverStatus: a table of sections; {name: 0} in the request leaves one out. The `coffer` section is ours: key state and census. */
#include "cmd_priv.h"

#include <stdio.h>
#include <unistd.h>

#include "base/metrics.h"
#include "cmd_version.h"
#include "crypto/aead.h"

enum { CENSUS_MAX = 64 };

static struct node_net_stats net_stats(const struct node *n)
{
    struct node_net_stats st = { 0 };

    if (n->net)
        n->net->stats(n->net_ctx, &st);
    return st;
}

static void put_asserts(struct cmd_req *r, struct bw *w)
{
    bw_i32(w, "regular", 0);
    bw_i32(w, "warning", 0);
    bw_i32(w, "msg", 0);
    bw_i64(w, "user", atomic_load(&r->node->n_errors));
    bw_i32(w, "rollovers", 0);
}

static void put_connections(struct cmd_req *r, struct bw *w)
{
    struct node_net_stats st = net_stats(r->node);

    bw_i64(w, "current", st.current);
    bw_i64(w, "available", st.available);
    bw_i64(w, "totalCreated", st.total_created);
}

static void put_network(struct cmd_req *r, struct bw *w)
{
    struct node_net_stats st = net_stats(r->node);

    bw_i64(w, "bytesIn", st.bytes_in);
    bw_i64(w, "bytesOut", st.bytes_out);
    bw_i64(w, "numRequests", st.n_requests);
}

static void put_opcounters(struct cmd_req *r, struct bw *w)
{
    static const char *const names[NODE_OPCOUNTER_NR] = { "insert", "query",   "update",
                                                          "delete", "getmore", "command" };

    for (int i = 0; i < NODE_OPCOUNTER_NR; i++)
        bw_i64(w, names[i], atomic_load_explicit(&r->node->opcounters[i], memory_order_relaxed));
}

/* Pages of the process: total and resident. */
static void put_mem(struct cmd_req *r, struct bw *w)
{
    long total = 0, resident = 0, page = sysconf(_SC_PAGESIZE);
    FILE *f = fopen("/proc/self/statm", "r");

    (void)r;
    if (f) {
        if (fscanf(f, "%ld %ld", &total, &resident) != 2)
            total = resident = 0;
        fclose(f);
    }
    bw_i32(w, "bits", 64);
    bw_i64(w, "resident", (int64_t)resident * page >> 20);
    bw_i64(w, "virtual", (int64_t)total * page >> 20);
    bw_bool(w, "supported", f != NULL);
}

static void put_engine(struct cmd_req *r, struct bw *w)
{
    struct store_stats st = { 0 };

    bw_str(w, "name", "rocksdb");
    bw_bool(w, "supportsCommittedReads", true);
    bw_bool(w, "persistent", true);
    if (!r->node->store)
        return;
    store_stats(r->node->store, &st);
    bw_i64(w, "dataBytes", (int64_t)st.data_bytes);
    bw_i64(w, "journalBytes", (int64_t)st.journal_bytes);
    bw_i64(w, "memtableBytes", (int64_t)st.memtable_bytes);
    bw_i64(w, "cacheBytes", (int64_t)st.cache_bytes);
    bw_i64(w, "files", (int64_t)st.n_files);
    bw_i64(w, "freeBytes", (int64_t)st.free_bytes);
    bw_bool(w, "readOnly", st.read_only);
}

static void put_sessions(struct cmd_req *r, struct bw *w)
{
    bw_i64(w, "activeSessionsCount", r->node->sessions ? sessions_count(r->node->sessions) : 0);
}

static void put_metrics(struct cmd_req *r, struct bw *w)
{
    (void)r;
    for (int i = 0; i < METRIC_NR; i++)
        bw_i64(w, metric_def((enum metric)i)->name, metric_get((enum metric)i));
}

/* Bytes and files on disk under each key generation. */
static void put_census(struct store *s, struct bw *w)
{
    struct store_census_row rows[CENSUS_MAX];
    struct err e = { 0 };
    int n;

    if (store_census(s, rows, CENSUS_MAX, &n, &e).failed) {
        err_reset(&e);
        return; /* left out: figures that cannot be had are not given */
    }
    bw_array_begin(w, "census");
    for (int i = 0; i < n; i++) {
        bw_doc_begin(w, NULL);
        bw_i32(w, "generation", (int32_t)rows[i].gen);
        bw_i64(w, "files", (int64_t)rows[i].n_files);
        bw_i64(w, "bytes", (int64_t)rows[i].bytes);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

static void put_coffer(struct cmd_req *r, struct bw *w)
{
    bw_str(w, "version", COFFER_VERSION);
    bw_str(w, "cryptoEngine", crypto_engine());
    if (r->node->key && r->node->key->status)
        r->node->key->status(r->node->key_ctx, w);
    if (r->node->store)
        put_census(r->node->store, w);
}

static const struct section {
    const char *name;
    void (*put)(struct cmd_req *r, struct bw *w);
} sections[] = {
    { "asserts", put_asserts },
    { "connections", put_connections },
    { "network", put_network },
    { "opcounters", put_opcounters },
    { "mem", put_mem },
    { "storageEngine", put_engine },
    { "logicalSessionRecordCache", put_sessions },
    { "metrics", put_metrics },
    { "coffer", put_coffer },
};

RC cmd__serverStatus(struct cmd_req *r, struct bw *w, struct err *e)
{
    uint64_t up_us = clock_mono_us() - r->node->start_us;
    uint64_t up_s = up_us / 1000000;

    (void)e;
    bw_str(w, "host", r->node->host);
    bw_str(w, "version", CMD_VERSION);
    bw_str(w, "process", "mongod");
    bw_i64(w, "pid", getpid());
    bw_double(w, "uptime", (double)up_s);
    bw_i64(w, "uptimeMillis", (int64_t)(up_us / 1000));
    bw_i64(w, "uptimeEstimate", (int64_t)up_s);
    bw_date(w, "localTime", clock_real_ms());
    for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
        struct bval asked = bdoc_get(r->body, sections[i].name);

        if (asked.type != BT_MISSING && !bval_truthy(asked))
            continue;
        bw_doc_begin(w, sections[i].name);
        sections[i].put(r, w);
        bw_doc_end(w);
    }
    return RC_OK;
}
