/* main.c - coffer-bench: one workload against one server; prints one line of JSON. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/settings.h"
#include "load.h"

enum {
    B_HOST,
    B_PORT,
    B_WORKLOAD,
    B_CONNECTIONS,
    B_THREADS,
    B_IDLE,
    B_WARM,
    B_RUN,
    B_REQUESTS,
    B_DOCS,
    B_FIRST_ID,
    B_NR
};

static const struct setting_def defs[B_NR] = {
    [B_HOST] = { "host", SET_T_STR, "127.0.0.1", 0, 0, 0, "address of the server" },
    [B_PORT] = { "port", SET_T_I64, "27017", 1, 65535, 0, "its port" },
    [B_WORKLOAD] = { "workload", SET_T_STR, "ping", 0, 0, 0, "what to ask for; see below" },
    [B_CONNECTIONS] = { "connections", SET_T_I64, "32", 1, 20000, 0,
                        "each has one request under way" },
    [B_THREADS] = { "threads", SET_T_I64, "1", 1, 64, 0, "threads of the generator" },
    [B_IDLE] = { "idle-connections", SET_T_I64, "0", 0, 20000, 0, "opened beside, and left alone" },
    [B_WARM] = { "warm", SET_T_DURATION_MS, "500ms", 0, 600000, 0, "not counted, first" },
    [B_RUN] = { "run", SET_T_DURATION_MS, "3s", 10, 3600000, 0, "counted time" },
    [B_REQUESTS] = { "requests", SET_T_I64, "0", 0, 1000000000, 0,
                     "requests of each connection instead of a time; 0: go by time" },
    [B_DOCS] = { "docs", SET_T_I64, "100000", 1, 1000000000, 0,
                 "documents that the collection bench.c holds, ids from 0" },
    [B_FIRST_ID] = { "first-id", SET_T_I64, "0", 0, 1099511627775, 0,
                     "where the ids of inserted documents begin" },
};

static void print_help(const struct settings *s)
{
    printf("coffer-bench: load on a MongoDB wire server\n\n");
    settings_print_help(s, stdout);
    printf("\nworkloads:\n");
    for (int i = 0; workload_at(i); i++)
        printf("  %-16s %s\n", workload_at(i)->name, workload_at(i)->what);
}

static RC run(struct settings *s, int argc, char **argv, struct err *e)
{
    int rest;
    bool help, version;
    TRY(settings_parse_args(s, argc, argv, &rest, &help, &version, e));
    if (help || version) {
        if (help)
            print_help(s);
        else
            printf("coffer-bench %s\n", COFFER_VERSION);
        return RC_OK;
    }
    if (rest < argc)
        FAIL(e, ERR_CONFIG, "\"%s\" is not a flag", argv[rest]);
    struct load_config c = {
        .host = settings_str(s, B_HOST),
        .port = (int)settings_i64(s, B_PORT),
        .work = workload_find(settings_str(s, B_WORKLOAD)),
        .connections = (int)settings_i64(s, B_CONNECTIONS),
        .threads = (int)settings_i64(s, B_THREADS),
        .idle_connections = (int)settings_i64(s, B_IDLE),
        .max_requests = settings_i64(s, B_REQUESTS),
        .warm_us = settings_i64(s, B_REQUESTS) ? 0 : settings_us(s, B_WARM),
        .run_us = settings_us(s, B_RUN),
        .n_docs = settings_i64(s, B_DOCS),
        .first_id = settings_i64(s, B_FIRST_ID),
    };
    if (!c.work)
        FAIL(e, ERR_CONFIG, "there is no workload \"%s\"; see --help", settings_str(s, B_WORKLOAD));
    struct load_result *r = NEW(struct load_result);
    rc_t rc = load_run(&c, r, e);
    if (!rc.failed) {
        printf(
            "{\"workload\": \"%s\", \"connections\": %d, \"seconds\": %.3f, \"requests\": %llu, \"ops_per_s\": %.1f, "
            "\"docs_per_s\": %.1f, \"p50_us\": %.0f, \"p99_us\": %.0f}\n",
            c.work->name, c.connections, r->seconds, (unsigned long long)r->requests,
            (double)r->requests / r->seconds, (double)r->documents / r->seconds,
            histogram_quantile(&r->latency, 0.5), histogram_quantile(&r->latency, 0.99));
    }
    mem_free(r);
    return rc;
}

int main(int argc, char **argv)
{
    struct settings *s = settings_new(defs, B_NR);
    struct err e = { 0 };
    rc_t rc = run(s, argc, argv, &e);
    if (rc.failed)
        fprintf(stderr, "coffer-bench: %s\n", e.msg);
    settings_free(s);
    return rc.failed ? 1 : 0;
}
