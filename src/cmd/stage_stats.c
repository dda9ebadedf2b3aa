/* stage_stats.c - $collStats and $indexStats: what is known of a collection and how it was used. */
#include "cmd_stages.h"

#include "index/index.h"

struct parts {
    bool latency, histograms, storage, count, exec;
    int64_t scale;
};

static RC part_type(const char *name, struct bval v, struct err *e)
{
    FAIL(e, ERR_TYPE_MISMATCH,
         "BSON field '$collStats.%s' is the wrong type '%s', expected type 'object'", name,
         btype_name(v.type));
}

struct latency_arg {
    bool histograms;
};

static RC parse_storage(struct bdoc d, struct parts *p, struct err *e)
{
    struct bval scale = bdoc_get(d, "scale"); /* other fields are not looked at */

    p->storage = true;
    p->scale = 1;
    if (bval_is_nullish(scale))
        return RC_OK;
    if (!bval_is_number(scale))
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$collStats.storageStats.scale' is the wrong type '%s', expected a number",
             btype_name(scale.type));
    p->scale = MIN(cmd_i64(scale), (int64_t)INT32_MAX);
    if (p->scale < 1)
        FAIL(e, ERR_BAD_VALUE, "BSON field 'scale' value must be >= 1, actual value '%lld'",
             (long long)p->scale);
    return RC_OK;
}

static RC parse_latency(struct bdoc d, struct parts *p, struct err *e)
{
    static const struct arg table[] = {
        ARG(struct latency_arg, histograms, "histograms", ARG_BOOL, 0),
    };
    struct latency_arg a = { 0 };

    p->latency = true;
    if (bdoc_get(d, "histograms").type == BT_NULL)
        return cmd_wrong_type("$collStats.latencyStats", "histograms", bdoc_get(d, "histograms"),
                              "bool", e);
    TRY(cmd_fields(d, "$collStats.latencyStats", table, ARRAY_LEN(table), &a, e));
    p->histograms = a.histograms;
    return RC_OK;
}

/* A part that is null is not asked for; of one that is there twice, both count. */
static RC parse(struct bval spec, struct parts *p, struct err *e)
{
    struct biter it;

    *p = (struct parts){ .scale = 1 };
    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(5447000), "$collStats must take a nested object but found a %s",
             btype_name(spec.type));
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        bool latency = slice_eq_str(it.name, "latencyStats"),
             storage = slice_eq_str(it.name, "storageStats"),
             count = slice_eq_str(it.name, "count"), exec = slice_eq_str(it.name, "queryExecStats");
        if (!latency && !storage && !count && !exec)
            FAIL(e, ERR_IDL_UNKNOWN_FIELD, "BSON field '$collStats.%.*s' is an unknown field.",
                 (int)MIN(it.name.len, 200u), it.name.p);
        if (it.val.type == BT_NULL)
            continue;
        if (it.val.type != BT_DOCUMENT)
            return part_type(latency   ? "latencyStats"
                             : storage ? "storageStats"
                             : count   ? "count"
                                       : "queryExecStats",
                             it.val, e);
        struct bdoc d = bval_doc(it.val);
        if (latency)
            TRY(parse_latency(d, p, e));
        if (storage)
            TRY(parse_storage(d, p, e));
        p->count |= count;
        p->exec |= exec;
        if ((count || exec) && !bdoc_is_empty(d))
            FAIL(e, ERR_LOC(31170), "the option to $collStats takes an empty object");
    }
    return RC_OK;
}

RC cmd_stage_check_coll_stats(struct cmd_stages *s, struct qctx *q, struct bval spec, struct err *e)
{
    struct parts p;

    (void)s;
    (void)q;
    return parse(spec, &p, e);
}

static void put_latency(const struct catalog_coll *x, bool histograms, struct bw *w)
{
    static const char *const names[] = { "reads", "writes", "commands", "transactions" };

    bw_doc_begin(w, "latencyStats");
    for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
        bool known = x && i < USE_NR; /* transactions of several statements: none in this release */
        bw_doc_begin(w, names[i]);
        bw_i64(w, "latency", known ? atomic_load(&x->usage.latency[i].us) : 0);
        bw_i64(w, "ops", known ? atomic_load(&x->usage.latency[i].n) : 0);
        if (histograms) {
            bw_array_begin(w, "histogram");
            for (int k = 0; known && k < CATALOG_HISTOGRAM; k++) {
                int64_t n = atomic_load(&x->usage.latency[i].histogram[k]);
                if (n == 0)
                    continue;
                bw_doc_begin(w, NULL);
                bw_i64(w, "micros", k ? (int64_t)1 << k : 0);
                bw_i64(w, "count", n);
                bw_doc_end(w);
            }
            bw_array_end(w);
        }
        bw_doc_end(w);
    }
    bw_doc_end(w);
}

static void put_exec(const struct catalog_coll *x, struct bw *w)
{
    int64_t all = atomic_load(&x->usage.n_scans);

    bw_doc_begin(w, "queryExecStats");
    bw_doc_begin(w, "collectionScans");
    bw_i64(w, "total", all);
    bw_i64(w, "nonTailable", all - atomic_load(&x->usage.n_tailable_scans));
    bw_doc_end(w);
    bw_doc_end(w);
}

static RC put_coll_stats(struct cmd_stages *s, const struct parts *p, struct bw *w, struct err *e)
{
    struct catalog_coll *x = s->coll;

    if (p->storage || p->count || p->exec) {
        TRY(cmd_not_view(x, e));
        if (!x)
            FAIL(e, ERR_NAMESPACE_NOT_FOUND, "Collection [%s] not found.", s->ns.ns);
    }
    bw_array_begin(w, "d");
    bw_doc_begin(w, NULL);
    bw_str(w, "ns", s->ns.ns);
    bw_str(w, "host", s->r->node->host);
    bw_date(w, "localTime", clock_real_ms());
    if (p->latency)
        put_latency(x && !x->is_view ? x : NULL, p->histograms, w);
    if (p->storage) {
        bw_doc_begin(w, "storageStats");
        TRY(cmd_put_coll_stats(x, p->scale, w, e));
        bw_doc_end(w);
    }
    if (p->count) {
        int64_t n;
        TRY(coll_count(x, &n, e));
        if (n <= INT32_MAX)
            bw_i32(w, "count", (int32_t)n);
        else
            bw_i64(w, "count", n);
    }
    if (p->exec)
        put_exec(x, w);
    bw_doc_end(w);
    bw_array_end(w);
    return RC_OK;
}

RC cmd_stage_open_coll_stats(struct cmd_stages *s, struct qctx *q, struct bval spec,
                             struct doc_source *in, struct doc_source **out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct parts p;
    struct bw w;

    doc_source_close(in);
    bw_init(&w, &b);
    TRY(parse(spec, &p, e));
    TRY(put_coll_stats(s, &p, &w, e));
    *out = cmd_stage_docs(q, &w);
    return RC_OK;
}

/* ---- $indexStats ---- */

RC cmd_stage_check_index_stats(struct cmd_stages *s, struct qctx *q, struct bval spec,
                               struct err *e)
{
    (void)s;
    (void)q;
    if (spec.type != BT_DOCUMENT || !bdoc_is_empty(bval_doc(spec)))
        FAIL(e, ERR_LOC(28803), "The $indexStats stage specification must be an empty object");
    return RC_OK;
}

RC cmd_stage_open_index_stats(struct cmd_stages *s, struct qctx *q, struct bval spec,
                              struct doc_source *in, struct doc_source **out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct coll_indexes *l = NULL;
    struct bw w;

    (void)spec;
    doc_source_close(in);
    bw_init(&w, &b);
    bw_array_begin(&w, "d");
    if (s->coll)
        TRY(coll_ref_indexes(s->coll, &l, e));
    for (int i = 0; l && i < l->n; i++) {
        const struct index_def *d = l->v[i];
        bw_doc_begin(&w, NULL);
        bw_str(&w, "name", d->name);
        bw_doc(&w, "key", d->pattern);
        bw_str(&w, "host", s->r->node->host);
        bw_doc_begin(&w, "accesses");
        bw_i64(&w, "ops", atomic_load(&d->n_uses));
        bw_date(&w, "since", d->since_ms);
        bw_doc_end(&w);
        bw_doc(&w, "spec", d->spec);
        bw_doc_end(&w);
    }
    bw_array_end(&w);
    if (l)
        coll_indexes_unref(l);
    *out = cmd_stage_docs(q, &w);
    return RC_OK;
}
