/* cmd_count.c - count and distinct. */
#include "cmd_view.h"

#include <stdlib.h>

#include "query/vals.h"

struct count_args {
    struct bval query, hint, collation, limit, uuid;
    int64_t skip;
};

static const struct arg count_table[] = {
    ARG(struct count_args, query, "query", ARG_DOC, 0),
    ARG(struct count_args, limit, "limit", ARG_ANY, 0),
    ARG(struct count_args, skip, "skip", ARG_I64, ARG_NOT_NEGATIVE),
    ARG(struct count_args, hint, "hint", ARG_ANY, 0),
    ARG(struct count_args, collation, "collation", ARG_ANY, 0),
    ARG(struct count_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("fields"),
    ARG_SKIP("includeQueryStatsMetrics"),
};

/* A source of the documents that match a filter, views resolved. */
static RC open_filtered(struct cmd_req *r, const struct cmd_ns *ns, struct bval query,
                        struct bval hint, struct bval collation, int64_t skip, int64_t limit,
                        struct cursor *c, struct err *e)
{
    struct find_args f = { .filter = query,
                           .hint = hint,
                           .collation = collation,
                           .skip = skip,
                           .limit = limit,
                           .allow_disk_use = true };
    struct exec *x;

    c->coll = cmd_coll(r, ns);
    if (c->coll && c->coll->is_view)
        return cmd_find_view(r, &f, ns, c, e);
    TRY(cmd_find_open(r, &f, ns, c, &x, e));
    c->source = exec_source(x);
    return RC_OK;
}

static RC count_source(struct cursor *c, int64_t *n, struct err *e)
{
    for (;;) {
        struct bdoc doc;
        bool valid;
        arena_reset(c->scratch);
        TRY(c->source->next(c->source, &doc, &valid, e));
        if (!valid)
            return RC_OK;
        ++*n;
    }
}

static RC count_limit(struct bval v, int64_t *out, struct err *e)
{
    *out = 0;
    if (bval_is_missing(v) || v.type == BT_NULL)
        return RC_OK;
    int64_t n;
    if (!bval_is_number(v))
        FAIL(e, ERR_BAD_VALUE, "limit value for count must be a number, not %s",
             btype_name(v.type));
    if (!bval_to_i64(v, &n))
        FAIL(e, ERR_FAILED_TO_PARSE, "limit value for count must be a whole number of 64 bits");
    if (n == INT64_MIN)
        FAIL(e, ERR_BAD_VALUE, "limit value for count cannot be min long");
    *out = n < 0 ? -n : n;
    return RC_OK;
}

RC cmd__count(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(cursor_freep) struct cursor *c = NULL;
    struct count_args a = { 0 };
    struct cmd_ns ns;
    int64_t limit, n = 0;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, count_table, ARRAY_LEN(count_table), &a, e));
    TRY(count_limit(a.limit, &limit, e));
    TRY(cmd_hint(a.hint, e));
    TRY(cmd_collation(a.collation, e));
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    AUTO(catalog_coll_unrefp) struct catalog_coll *coll = cmd_coll(r, &ns);
    bool all = bval_is_missing(a.query) || bdoc_is_empty(bval_doc(a.query));
    if (coll && !coll->is_view && all && bval_is_missing(a.hint)) {
        TRY(coll_count(coll, &n, e));
        n = MAX(n - a.skip, (int64_t)0);
        if (limit)
            n = MIN(n, limit);
    } else {
        c = cursor_new((size_t)r->node->limits.request_memory_bytes);
        TRY(open_filtered(r, &ns, a.query, a.hint, a.collation, a.skip, limit, c, e));
        TRY(count_source(c, &n, e));
    }
    cmd_note_use(r, coll, USE_READ);
    bw_count(w, "n", n);
    return RC_OK;
}

/* ---- distinct ---- */

struct distinct_args {
    struct slice key;
    struct bval query, collation, hint, uuid;
};

static const struct arg distinct_table[] = {
    ARG(struct distinct_args, key, "key", ARG_STR, ARG_REQUIRED),
    ARG(struct distinct_args, query, "query", ARG_DOC, 0),
    ARG(struct distinct_args, collation, "collation", ARG_ANY, 0),
    ARG(struct distinct_args, hint, "hint", ARG_ANY, 0),
    ARG(struct distinct_args, uuid, "collectionUUID", ARG_ANY, 0),
    ARG_SKIP("includeQueryStatsMetrics"),
};

enum { DISTINCT_BYTES_MAX = 16 << 20 };

struct values {
    struct valset set;
    size_t bytes;
};

static RC add_value(struct values *s, struct bval v, struct err *e)
{
    if (valset_find(&s->set, v) >= 0)
        return RC_OK;
    s->bytes += v.len + 8;
    if (s->bytes > DISTINCT_BYTES_MAX)
        FAIL(e, ERR_LOC(17217), "distinct too big, 16mb cap");
    valset_add(&s->set, bval_dup(s->set.arena, v));
    return RC_OK;
}

static int by_value(const void *a, const void *b, void *collator)
{
    return bval_cmp_in(collator, *(const struct bval *)a, *(const struct bval *)b);
}

static bool is_index(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.len > 0;
}

/* One array level is unwound at the end of the path; on the way, arrays are entered as the matcher enters them. */
static RC collect(struct values *s, struct bval v, struct slice path, bool in_array, struct err *e)
{
    struct biter it;

    if (path.len == 0) {
        if (v.type != BT_ARRAY)
            return bval_is_missing(v) ? RC_OK : add_value(s, v, e);
        biter_init(&it, bval_doc(v));
        while (biter_next(&it))
            TRY(add_value(s, it.val, e));
        return RC_OK;
    }
    const uint8_t *dot = memchr(path.p, '.', path.len);
    struct slice part = SLICE(path.p, dot ? (size_t)(dot - path.p) : path.len);
    struct slice rest = dot ? SLICE(dot + 1, path.len - part.len - 1) : SLICE_EMPTY;
    if (v.type == BT_DOCUMENT)
        return collect(s, bdoc_get_slice(bval_doc(v), part), rest, false, e);
    if (v.type != BT_ARRAY)
        return RC_OK;
    if (is_index(part))
        TRY(collect(s, bdoc_get_slice(bval_doc(v), part), rest, false, e));
    biter_init(&it, bval_doc(v));
    while (!in_array && biter_next(&it))
        if (it.val.type == BT_DOCUMENT)
            TRY(collect(s, it.val, path, true, e));
    return RC_OK;
}

static RC collect_all(struct cursor *c, struct values *s, struct slice key, struct err *e)
{
    for (;;) {
        struct bdoc doc;
        bool valid;
        arena_reset(c->scratch);
        TRY(c->source->next(c->source, &doc, &valid, e));
        if (!valid)
            return RC_OK;
        TRY(collect(s, bval_of_doc(doc, BT_DOCUMENT), key, false, e));
    }
}

RC cmd__distinct(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(cursor_freep) struct cursor *c = NULL;
    struct distinct_args a = { 0 };
    struct values s = { 0 };
    struct cmd_ns ns;

    TRY(cmd_ns(r, &ns, e));
    TRY(cmd_args(r, distinct_table, ARRAY_LEN(distinct_table), &a, e));
    if (a.key.len && memchr(a.key.p, 0, a.key.len))
        FAIL(e, ERR_LOC(31032), "Key field cannot contain an embedded null byte");
    TRY(cmd_hint(a.hint, e));
    TRY(cmd_collation(a.collation, e));
    TRY(cmd_uuid_check(r, a.uuid, &ns, e));
    c = cursor_new((size_t)r->node->limits.request_memory_bytes);
    TRY(open_filtered(r, &ns, a.query, a.hint, a.collation, 0, 0, c, e));
    s.set = valset_of(r->arena, c->q.collator);
    TRY(collect_all(c, &s, a.key, e));
    if (s.set.n) /* in their order, as MongoDB gives them */
        qsort_r(s.set.v, s.set.n, sizeof(*s.set.v), by_value, (void *)(uintptr_t)c->q.collator);
    bw_array_begin(w, "values");
    for (uint32_t i = 0; i < s.set.n; i++)
        bw_val(w, NULL, s.set.v[i]);
    bw_array_end(w);
    return RC_OK;
}
