/* cmd_data_size.c - dataSize: how many documents, and how many bytes, a collection or a range of one of its indexes has. */
#include "cmd_priv.h"

struct size_args {
    struct bval pattern, min, max;
    int64_t max_bytes, max_docs;
    bool estimate;
};

static const struct arg size_table[] = {
    ARG(struct size_args, pattern, "keyPattern", ARG_DOC, 0),
    ARG(struct size_args, min, "min", ARG_DOC, 0),
    ARG(struct size_args, max, "max", ARG_DOC, 0),
    ARG(struct size_args, estimate, "estimate", ARG_SAFE_BOOL, 0),
    ARG(struct size_args, max_bytes, "maxSize", ARG_I64, ARG_NOT_NEGATIVE),
    ARG(struct size_args, max_docs, "maxObjects", ARG_I64, ARG_NOT_NEGATIVE),
};

struct size {
    int64_t n_docs, n_bytes;
    bool max_reached;
};

RC cmd__data_size_auth(struct cmd_req *r, struct err *e)
{
    struct bval v = cmd_first(r);
    struct slice s = v.type == BT_STRING ? bval_str(v) : SLICE_EMPTY;
    const uint8_t *dot = s.len ? memchr(s.p, '.', s.len) : NULL;
    struct slice db = dot ? SLICE(s.p, (size_t)(dot - s.p)) : r->db;
    struct slice coll = dot ? SLICE(dot + 1, s.len - db.len - 1) : SLICE_EMPTY;

    return identity_require(r->client->identity, RES_COLL(db, coll), ACT_FIND, "dataSize", e);
}

/* begins(): the index's pattern is this one, or this one and more. */
static bool begins(struct bdoc whole, struct bdoc with)
{
    struct biter a, b;

    biter_init(&a, whole);
    biter_init(&b, with);
    while (biter_next(&b))
        if (!biter_next(&a) || !slice_eq(a.name, b.name) || bval_cmp(a.val, b.val) != 0)
            return false;
    return true;
}

/* has_names(): the bound's fields are the first of the pattern's, in that order. */
static bool has_names(struct bdoc pattern, struct bdoc bound)
{
    struct biter a, b;

    biter_init(&a, pattern);
    biter_init(&b, bound);
    while (biter_next(&b))
        if (!biter_next(&a) || !slice_eq(a.name, b.name))
            return false;
    return true;
}

static RC find_index(struct catalog_coll *x, struct arena *a, struct bdoc pattern,
                     const struct size_args *s, struct bdoc *whole, const char **name,
                     struct err *e)
{
    struct coll_indexes *l;

    *name = NULL;
    TRY(coll_ref_indexes(x, &l, e));
    for (int i = 0; i < l->n && !*name; i++) {
        const struct index_def *d = l->v[i];
        if (d->partial || d->sparse || d->hidden || !begins(d->pattern, pattern) ||
            !has_names(d->pattern, bval_doc(s->min)) || !has_names(d->pattern, bval_doc(s->max)))
            continue;
        *name = arena_strdup(a, d->name);
        *whole = bval_doc(bval_dup(a, bval_of_doc(d->pattern, BT_DOCUMENT)));
    }
    coll_indexes_unref(l);
    if (!*name)
        FAIL(e, ERR_OPERATION_FAILED, "couldn't find valid index containing key pattern");
    return RC_OK;
}

/* A bound that names the first fields alone stands before all keys that begin with them. */
static struct bdoc extend(struct arena *a, struct bdoc pattern, struct bdoc bound)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct biter it;
    struct bw w;

    bw_init(&w, &b);
    biter_init(&it, pattern);
    while (biter_next(&it)) {
        struct bval v = bdoc_get_slice(bound, it.name);
        bool desc = bval_to_double(it.val) < 0;
        if (bval_is_missing(v))
            v = (struct bval){ .type = desc ? BT_MAX_KEY : BT_MIN_KEY };
        bw_val_slice(&w, it.name, v);
    }
    return bval_doc(bval_dup(a, bval_of_doc(bw_finish(&w), BT_DOCUMENT)));
}

static RC sum(struct exec *x, const struct size_args *a, struct size *out, struct err *e)
{
    for (;;) {
        struct exec_row row;
        bool valid;
        TRY(exec_next(x, &row, &valid, e));
        if (!valid)
            return RC_OK;
        out->n_docs++;
        out->n_bytes += row.doc.len;
        if ((a->max_bytes && out->n_bytes > a->max_bytes) ||
            (a->max_docs && out->n_docs > a->max_docs)) {
            out->max_reached = true;
            return RC_OK;
        }
    }
}

static RC sum_range(struct cmd_req *r, struct catalog_coll *x, const struct size_args *a,
                    struct size *out, struct err *e)
{
    AUTO(exec_closep) struct exec *scan = NULL;
    struct bdoc min = bval_doc(a->min), max = bval_doc(a->max), whole;
    struct bdoc pattern = bval_is_missing(a->pattern) ? BDOC_EMPTY : bval_doc(a->pattern);
    const char *name;
    struct qctx q;
    struct err why = { 0 };

    TRY(find_index(x, r->arena, pattern, a, &whole, &name, e));
    cmd_qctx(r, r->arena, r->scratch, &q);
    struct exec_spec s = { .catalog = r->node->catalog,
                           .coll = x,
                           .q = &q,
                           .sort = BDOC_EMPTY,
                           .hint = bval_new_str(r->arena, slice_str(name)),
                           .min = extend(r->arena, whole, min),
                           .max = extend(r->arena, whole, max),
                           .project_doc = BDOC_EMPTY };
    if (!exec_open(&s, &scan, &why).failed)
        return sum(scan, a, out, e);
    if (why.code != ERR_LOC(51175)) {
        *e = why;
        return RC_FAILED;
    }
    err_reset(&why); /* the range is empty */
    return RC_OK;
}

static RC sum_all(struct cmd_req *r, struct catalog_coll *x, const struct size_args *a,
                  struct size *out, struct err *e)
{
    AUTO(exec_closep) struct exec *scan = NULL;
    struct coll_info i;
    struct qctx q;

    if (!a->max_bytes && !a->max_docs) { /* what is kept is exact */
        TRY(coll_info(x, &i, e));
        out->n_docs = i.n_docs;
        out->n_bytes = i.n_bytes;
        return RC_OK;
    }
    cmd_qctx(r, r->arena, r->scratch, &q);
    struct exec_spec s = { .catalog = r->node->catalog,
                           .coll = x,
                           .q = &q,
                           .sort = BDOC_EMPTY,
                           .min = BDOC_EMPTY,
                           .max = BDOC_EMPTY,
                           .project_doc = BDOC_EMPTY };
    TRY(exec_open(&s, &scan, e));
    return sum(scan, a, out, e);
}

RC cmd__dataSize(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct size_args a = { 0 };
    struct size s = { 0 };
    struct cmd_ns ns;

    if (bval_is_nullish(cmd_first(r)))
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field 'dataSize.dataSize' is missing but a required field");
    TRY(cmd_ns_full(r, cmd_first(r), &ns, e));
    TRY(cmd_args(r, size_table, ARRAY_LEN(size_table), &a, e));
    bool range = !bval_is_missing(a.min);
    if (range == bval_is_missing(a.max))
        FAIL(e, ERR_BAD_VALUE, "only one of min or max specified");
    x = cmd_coll(r, &ns);
    TRY(cmd_not_view(x, e));
    if (x && range)
        TRY(sum_range(r, x, &a, &s, e));
    else if (x)
        TRY(sum_all(r, x, &a, &s, e));
    bw_bool(w, "estimate", a.estimate);
    bw_i64(w, "size", s.n_bytes);
    bw_i64(w, "numObjects", s.n_docs);
    bw_i64(w, "millis", (int64_t)((clock_mono_us() - r->start_us) / 1000));
    if (s.max_reached)
        bw_bool(w, "maxReached", true);
    return RC_OK;
}
