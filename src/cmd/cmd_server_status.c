/* cmd_server_status.c - serverStatus: a table of sections; {name: 0} in the request leaves one out. The `coffer` section is ours: key state and census. */
#include "cmd_ops.h"

#include <stdio.h>
#include <sys/resource.h>
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

    struct cmd_ops_count ops;

    cmd_ops_count(r, &ops);
    bw_i64(w, "current", st.current);
    bw_i64(w, "available", st.available);
    bw_i64(w, "totalCreated", st.total_created);
    bw_i64(w, "active", ops.running);
}

static void put_readers_writers(struct bw *w, const char *name, int all, int writers)
{
    bw_doc_begin(w, name);
    bw_i32(w, "total", all);
    bw_i32(w, "readers", all - writers);
    bw_i32(w, "writers", writers);
    bw_doc_end(w);
}

static void put_global_lock(struct cmd_req *r, struct bw *w)
{
    struct cmd_ops_count ops;

    cmd_ops_count(r, &ops);
    bw_i64(w, "totalTime", (int64_t)(clock_mono_us() - r->node->start_us));
    put_readers_writers(w, "currentQueue", ops.waiting, ops.waiting);
    put_readers_writers(w, "activeClients", ops.running - ops.waiting, ops.writing - ops.waiting);
}

/* No statistics of locks are kept: documents have none that readers wait for. */
static void put_locks(struct cmd_req *r, struct bw *w)
{
    (void)r;
    (void)w;
}

static void put_catalog(struct cmd_req *r, struct bw *w)
{
    int64_t collections = 0, capped = 0, views = 0, own = 0, own_views = 0, profiles = 0;
    struct catalog_list l;

    catalog_list(r->node->catalog, SLICE_EMPTY, &l);
    for (int i = 0; i < l.n; i++) {
        const struct catalog_named *c = &l.v[i];
        bool internal = slice_eq_str(c->db, "admin") || slice_eq_str(c->db, "config") ||
                        slice_eq_str(c->db, "local") ||
                        slice_has_prefix(c->name, SLICE_LIT("system."));
        profiles += slice_eq_str(c->name, "system.profile");
        if (internal) {
            own += !c->x->is_view;
            own_views += c->x->is_view;
            continue;
        }
        views += c->x->is_view;
        collections += !c->x->is_view;
        capped += !c->x->is_view && catalog_is_capped(c->x);
    }
    catalog_list_free(&l);
    bw_count(w, "collections", collections);
    bw_count(w, "capped", capped);
    bw_i32(w, "clustered", 0);
    bw_i32(w, "timeseries", 0);
    bw_count(w, "views", views);
    bw_count(w, "internalCollections", own);
    bw_count(w, "internalViews", own_views);
    bw_count(w, "systemProfile", profiles);
}

/* What the system counts of this process. */
static void put_extra(struct cmd_req *r, struct bw *w)
{
    struct rusage u;

    (void)r;
    bw_str(w, "note", "fields vary by platform");
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return;
    bw_i64(w, "user_time_us", (int64_t)u.ru_utime.tv_sec * 1000000 + u.ru_utime.tv_usec);
    bw_i64(w, "system_time_us", (int64_t)u.ru_stime.tv_sec * 1000000 + u.ru_stime.tv_usec);
    bw_i64(w, "maximum_resident_set_kb", u.ru_maxrss);
    bw_i64(w, "input_blocks", u.ru_inblock);
    bw_i64(w, "output_blocks", u.ru_oublock);
    bw_i64(w, "page_reclaims", u.ru_minflt);
    bw_i64(w, "page_faults", u.ru_majflt);
    bw_i64(w, "voluntary_context_switches", u.ru_nvcsw);
    bw_i64(w, "involuntary_context_switches", u.ru_nivcsw);
}

/* Nothing is replicated to a standalone node, and it has no transactions of several statements. */
static void put_replicated(struct cmd_req *r, struct bw *w)
{
    static const char *const names[] = {
        "insert", "query", "update", "delete", "getmore", "command"
    };

    (void)r;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        bw_i64(w, names[i], 0);
}

static void put_transactions(struct cmd_req *r, struct bw *w)
{
    static const char *const names[] = { "retriedCommandsCount", "retriedStatementsCount",
                                         "currentActive",        "currentInactive",
                                         "currentOpen",          "totalStarted",
                                         "totalCommitted",       "totalAborted" };

    (void)r;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        bw_i64(w, names[i], 0);
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
    { "catalogStats", put_catalog },
    { "extra_info", put_extra },
    { "globalLock", put_global_lock },
    { "locks", put_locks },
    { "network", put_network },
    { "opcounters", put_opcounters },
    { "opcountersRepl", put_replicated },
    { "transactions", put_transactions },
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
