/* workload.c - the workloads of `make bench`. */
#include "workload.h"

#include <stdio.h>

#include "base/mem.h"

enum { PAD_LEN = 880, BATCH = 1000, SCAN_DOCS = 100, AGG_DOCS = 1000 };

static uint64_t next_random(struct workload_state *s)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return s->seed;
}

static int64_t random_id(struct workload_state *s, int64_t room)
{
    int64_t n = s->n_docs - room;
    return n > 0 ? (int64_t)(next_random(s) % (uint64_t)n) : 0;
}

void workload_document(struct bw *w, int64_t i)
{
    static const char letters[] = "etaoinshrdlucmfwypvbgkjqxz ETAOINSHRDLU0123456789";
    char pad[PAD_LEN];
    uint64_t x = (uint64_t)i * 0x9e3779b97f4a7c15u + 1;
    for (int k = 0; k < PAD_LEN; k++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        pad[k] = letters[x % (sizeof(letters) - 1)];
    }
    bw_i64(w, "_id", i);
    bw_i32(w, "group", (int32_t)(i % 97));
    bw_double(w, "price", (double)(i % 1000) / 10);
    bw_i32(w, "n", 0);
    bw_str_slice(w, "text", SLICE(pad, PAD_LEN));
}

static bool reply_ok(struct bdoc reply)
{
    struct bval ok = bdoc_get(reply, "ok");
    return ok.type == BT_DOUBLE && bval_double(ok) == 1.0 &&
           bval_is_missing(bdoc_get(reply, "writeErrors"));
}

static bool batch_holds(struct bdoc reply, int64_t want)
{
    struct bval cursor = bdoc_get(reply, "cursor");
    if (!reply_ok(reply) || cursor.type != BT_DOCUMENT)
        return false;
    struct bval batch = bdoc_get(bval_doc(cursor), "firstBatch");
    return batch.type == BT_ARRAY && (int64_t)bdoc_count(bval_doc(batch)) == want;
}

static void build_ping(struct workload_state *s, struct bw *w)
{
    (void)s;
    bw_i32(w, "ping", 1);
    bw_str(w, "$db", "admin");
}

static bool check_ok(struct workload_state *s, struct bdoc reply)
{
    (void)s;
    return reply_ok(reply);
}

static void build_point(struct workload_state *s, struct bw *w)
{
    bw_str(w, "find", "c");
    bw_doc_begin(w, "filter");
    bw_i64(w, "_id", random_id(s, 0));
    bw_doc_end(w);
    bw_i32(w, "limit", 1);
    bw_bool(w, "singleBatch", true);
    bw_str(w, "$db", "bench");
    s->expect = 1;
}

static bool check_batch(struct workload_state *s, struct bdoc reply)
{
    return batch_holds(reply, s->expect);
}

static void build_scan(struct workload_state *s, struct bw *w)
{
    bw_str(w, "find", "c");
    bw_doc_begin(w, "filter");
    bw_doc_begin(w, "_id");
    bw_i64(w, "$gte", random_id(s, SCAN_DOCS));
    bw_doc_end(w);
    bw_doc_end(w);
    bw_doc_begin(w, "sort");
    bw_i32(w, "_id", 1);
    bw_doc_end(w);
    bw_i32(w, "limit", SCAN_DOCS);
    bw_bool(w, "singleBatch", true);
    bw_str(w, "$db", "bench");
    s->expect = MIN((int64_t)SCAN_DOCS, s->n_docs);
}

static void build_update(struct workload_state *s, struct bw *w, bool durable)
{
    bw_str(w, "update", "c");
    bw_array_begin(w, "updates");
    bw_doc_begin(w, NULL);
    bw_doc_begin(w, "q");
    bw_i64(w, "_id", random_id(s, 0));
    bw_doc_end(w);
    bw_doc_begin(w, "u");
    bw_doc_begin(w, "$inc");
    bw_i32(w, "n", 1);
    bw_doc_end(w);
    bw_doc_end(w);
    bw_doc_end(w);
    bw_array_end(w);
    bw_doc_begin(w, "writeConcern");
    bw_i32(w, "w", 1);
    bw_bool(w, "j", durable);
    bw_doc_end(w);
    bw_str(w, "$db", "bench");
    s->expect = 1;
}

static void build_update_fast(struct workload_state *s, struct bw *w)
{
    build_update(s, w, false);
}

static void build_update_durable(struct workload_state *s, struct bw *w)
{
    build_update(s, w, true);
}

static bool check_n(struct workload_state *s, struct bdoc reply)
{
    int64_t n;
    return reply_ok(reply) && bval_to_i64(bdoc_get(reply, "n"), &n) && n == s->expect;
}

static void build_agg(struct workload_state *s, struct bw *w)
{
    int64_t from = random_id(s, AGG_DOCS);
    bw_str(w, "aggregate", "c");
    bw_array_begin(w, "pipeline");
    bw_doc_begin(w, NULL);
    bw_doc_begin(w, "$match");
    bw_doc_begin(w, "_id");
    bw_i64(w, "$gte", from);
    bw_i64(w, "$lt", from + AGG_DOCS);
    bw_doc_end(w);
    bw_doc_end(w);
    bw_doc_end(w);
    bw_doc_begin(w, NULL);
    bw_doc_begin(w, "$group");
    bw_str(w, "_id", "$group");
    bw_doc_begin(w, "total");
    bw_str(w, "$sum", "$price");
    bw_doc_end(w);
    bw_doc_begin(w, "n");
    bw_i32(w, "$sum", 1);
    bw_doc_end(w);
    bw_doc_end(w);
    bw_doc_end(w);
    bw_array_end(w);
    bw_doc_begin(w, "cursor");
    bw_doc_end(w);
    bw_str(w, "$db", "bench");
    s->expect = MIN((int64_t)97, s->n_docs);
}

static void build_insert(struct workload_state *s, struct bw *w, int n, bool durable)
{
    bw_str(w, "insert", "c");
    bw_array_begin(w, "documents");
    for (int i = 0; i < n; i++) {
        bw_doc_begin(w, NULL);
        workload_document(w, s->next_id++);
        bw_doc_end(w);
    }
    bw_array_end(w);
    bw_doc_begin(w, "writeConcern");
    bw_i32(w, "w", 1);
    bw_bool(w, "j", durable);
    bw_doc_end(w);
    bw_str(w, "$db", "bench");
    s->expect = n;
    s->asked = n;
}

static void build_bulk(struct workload_state *s, struct bw *w)
{
    build_insert(s, w, BATCH, false);
}

static void build_journal(struct workload_state *s, struct bw *w)
{
    build_insert(s, w, 1, true);
}

static const struct workload table[] = {
    { "ping", "the smallest command", build_ping, check_ok },
    { "point", "find one document by _id", build_point, check_batch },
    { "scan", "find 100 documents from a random _id on", build_scan, check_batch },
    { "update", "$inc by _id, not waiting for the journal", build_update_fast, check_n },
    { "update_durable", "$inc by _id, journalled", build_update_durable, check_n },
    { "agg", "$match of 1,000 documents and $group", build_agg, check_batch },
    { "bulk", "inserts of 1,000 documents, not waiting for the journal", build_bulk, check_n },
    { "journal", "inserts of one document, journalled", build_journal, check_n },
};

const struct workload *workload_at(int i)
{
    return i >= 0 && (size_t)i < ARRAY_LEN(table) ? &table[i] : NULL;
}

const struct workload *workload_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (slice_eq_str(slice_str(name), table[i].name))
            return &table[i];
    }
    return NULL;
}
