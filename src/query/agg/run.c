/* run.c - running a pipeline: iterators chained over a source, and what they share. */
#include "agg_priv.h"

#include "base/mem.h"

static void iter_close(struct doc_source *src)
{
    struct iter *it = (struct iter *)src;

    if (it->fini)
        it->fini(it);
    doc_source_close(it->in);
    mem_free(it);
}

void *iter_new(size_t size, const struct stage *s, const struct stage_run *r, struct doc_source *in,
               iter_next_fn next, void (*fini)(struct iter *it))
{
    struct iter *it = mem_calloc(1, size);

    it->src.next = next;
    it->src.close = iter_close;
    it->in = in;
    it->r = *r;
    it->s = s;
    it->fini = fini;
    return it;
}

RC stage__eval(const struct expr *x, struct qctx *q, struct bdoc doc, struct bval *out,
               struct err *e)
{
    struct bval root = bval_of_doc(doc, BT_DOCUMENT);
    struct expr_env env = { .q = q, .root = root, .current = root };

    return expr_eval(x, &env, out, e);
}

RC stage__check_made(struct bdoc d, struct err *e)
{
    if (bdoc_deeper_than(d, QUERY_DEPTH_MAX))
        FAIL(e, ERR_OVERFLOW, "the resulting document is nested deeper than %d levels",
             QUERY_DEPTH_MAX);
    return RC_OK;
}

RC stage__may_spill(const struct stage_run *r, const char *what, struct err *e)
{
    if (!r->env || !r->env->allow_disk_use || !r->env->spill)
        FAIL(
            e, ERR_QUERY_EXCEEDED_MEMORY_LIMIT_NO_DISK_USE_ALLOWED,
            "%s exceeded its memory limit of %zu bytes and may not use the disk; pass allowDiskUse:true to opt in",
            what, stage__memory(r));
    return RC_OK;
}

RC stage__options(struct bval spec, const char *stage, const struct stage_opt *opts, int n,
                  int unknown_code, struct err *e)
{
    struct biter it;

    for (int i = 0; i < n; i++)
        *opts[i].out = BVAL_MISSING;
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        int i = 0;
        while (i < n && !slice_eq_str(it.name, opts[i].name))
            i++;
        if (i == n)
            FAIL(e, ERR_LOC(unknown_code), "Unrecognized option to $%s: %.*s", stage,
                 (int)it.name.len, (const char *)it.name.p);
        if (unknown_code == ERR_IDL_UNKNOWN_FIELD && !bval_is_missing(*opts[i].out))
            FAIL(e, ERR_IDL_DUPLICATE_FIELD, "BSON field '$%s.%s' is a duplicate field", stage,
                 opts[i].name);
        *opts[i].out = it.val;
    }
    return RC_OK;
}

/* ---- sources ---- */

struct docs_source {
    struct doc_source src;
    const struct bdoc *docs;
    uint32_t n, at;
};

static RC docs_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct docs_source *d = (struct docs_source *)s;

    (void)e;
    *valid = d->at < d->n;
    if (*valid)
        *doc = d->docs[d->at++];
    return RC_OK;
}

static void docs_close(struct doc_source *s)
{
    mem_free(s);
}

struct doc_source *source_docs(const struct bdoc *docs, uint32_t n)
{
    struct docs_source *d = NEW(struct docs_source);

    d->src = (struct doc_source){ docs_next, docs_close };
    d->docs = docs;
    d->n = n;
    return &d->src;
}

struct doc_source *source_empty(void)
{
    return source_docs(NULL, 0);
}

/* ---- the whole ---- */

RC pipeline__run(const struct pipeline *p, const struct stage_run *r, struct doc_source *source,
                 int skip, struct doc_source **out, struct err *e)
{
    struct doc_source *at = source;

    *out = NULL;
    for (int i = skip; i < p->n; i++) {
        const struct stage *s = &p->stages[i];
        struct doc_source *next = NULL;
        if (s->open(s, r, at, &next, e).failed)
            return RC_FAILED; /* open took what stood before it */
        at = next;
    }
    *out = at;
    return RC_OK;
}

RC pipeline_run(const struct pipeline *p, struct qctx *q, const struct agg_env *env,
                struct doc_source *source, int skip_stages, struct doc_source **out, struct err *e)
{
    struct stage_run r = { .q = q, .env = env };

    return pipeline__run(p, &r, source ? source : source_empty(), skip_stages, out, e);
}

/* ---- paths ---- */

struct bval doc_plain_path(struct bdoc doc, const struct slice *parts, int n_parts)
{
    struct bval v = bval_of_doc(doc, BT_DOCUMENT);

    for (int i = 0; i < n_parts; i++) {
        if (v.type != BT_DOCUMENT)
            return BVAL_MISSING;
        v = bdoc_get_slice(bval_doc(v), parts[i]);
    }
    return v;
}

/* A value set at a dotted path: documents on the way are kept or made, anything else on the way is replaced. A missing value removes. */
static RC set_in(struct arena *a, struct bval base, const struct slice *parts, int n, struct bval v,
                 struct bval *out, struct err *e)
{
    struct fields f = fields_in(a);
    struct bval old = BVAL_MISSING, sub = v;

    if (base.type == BT_DOCUMENT) {
        fields_push_all(&f, bval_doc(base));
        old = bdoc_get_slice(bval_doc(base), parts[0]);
    }
    if (n > 1)
        TRY(set_in(a, old, parts + 1, n - 1, v, &sub, e));
    fields_set(&f, parts[0], sub);
    return fields_object(&f, out, e);
}

RC doc_set_path(struct arena *a, struct bdoc doc, const struct slice *parts, int n_parts,
                struct bval v, struct bdoc *out, struct err *e)
{
    struct bval r;

    TRY(set_in(a, bval_of_doc(doc, BT_DOCUMENT), parts, n_parts, v, &r, e));
    *out = bval_doc(r);
    return RC_OK;
}

/* ---- pipelines of updates ---- */

RC pipeline_update_parse(struct qctx *q, struct bdoc array, struct bval constants, void **out,
                         struct err *e)
{
    struct pipeline *p;
    struct bdoc outer = q->let;
    struct fields f = fields_in(q->arena);
    struct bval both;

    *out = NULL;
    if (constants.type == BT_DOCUMENT) { /* `c` stands beside let, and hides it */
        fields_push_all(&f, outer);
        struct biter it;
        biter_init(&it, bval_doc(constants));
        while (biter_next(&it))
            fields_set(&f, it.name, it.val);
        TRY(fields_object(&f, &both, e));
        q->let = bval_doc(both);
    }
    TRY(pipeline_parse(q, array, PIPELINE_UPDATE, NULL, &p, e));
    *out = p;
    return RC_OK;
}

RC pipeline_update_apply(void *pipeline, struct qctx *q, struct bdoc doc, struct bdoc *out,
                         struct err *e)
{
    struct doc_source *top;
    struct bdoc got;
    bool valid;

    TRY(pipeline_run(pipeline, q, NULL, source_docs(&doc, 1), 0, &top, e));
    rc_t rc = top->next(top, &got, &valid, e);
    if (!rc.failed) {
        INVARIANT(valid); /* the stages of an update map one to one */
        *out = (struct bdoc){ .p = arena_dup(q->scratch, got.p, got.len), .len = got.len };
    }
    doc_source_close(top);
    return rc;
}
