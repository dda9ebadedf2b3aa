/* stage_facet.c - $facet: the input is kept, each sub-pipeline reads it from the front, one document holds all results.
 * $sample: a reservoir of random documents. */
#include "agg_priv.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "bsonx/dec.h"

struct facet {
    struct slice *names;
    struct pipeline **subs;
    int n;
};

struct facet_iter {
    struct iter it;
    struct docbuf docs;
    bool done;
};

/* One sub-pipeline's results, gathered outside of scratch, since each step may rewind it. */
static RC run_one(struct facet_iter *f, const struct pipeline *p, struct arena *keep,
                  struct bval *out, struct err *e)
{
    struct vals l = vals_in(keep);
    struct doc_source *kept, *top = NULL;
    rc_t rc;

    TRY(docbuf_source(&f->docs, &kept, e));
    TRY(pipeline__run(p, &f->it.r, kept, 0, &top, e));
    for (size_t total = 0;;) {
        struct arena_mark mark = arena_mark(f->it.r.q->scratch);
        struct bdoc d;
        bool valid;
        rc = top->next(top, &d, &valid, e);
        if (rc.failed || !valid)
            break;
        total += d.len;
        if (total > DOC_BYTES_MAX) {
            rc = err_set(e, ERR_BSON_OBJECT_TOO_LARGE, __FILE__, __LINE__,
                         "document constructed by $facet is above the limit of %d bytes",
                         DOC_BYTES_MAX);
            break;
        }
        vals_push(&l, bval_dup(keep, bval_of_doc(d, BT_DOCUMENT)));
        arena_rewind(f->it.r.q->scratch, mark);
        rc = qctx_check(f->it.r.q, e);
        if (rc.failed)
            break;
    }
    doc_source_close(top);
    TRY(rc);
    return vals_array(keep, l.v, l.n, out, e);
}

static RC facet_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct facet_iter *f = (struct facet_iter *)s;
    const struct facet *fc = f->it.s->data;
    struct bval o;

    *valid = false;
    if (f->done)
        return RC_OK;
    f->done = true;
    TRY(docbuf_fill(&f->docs, f->it.in, e));
    struct arena *keep = f->docs.arena;
    struct bval *v = arena_alloc(keep, sizeof(*v) * ((size_t)fc->n + 1));
    for (int i = 0; i < fc->n; i++)
        TRY(run_one(f, fc->subs[i], keep, &v[i], e));
    TRY(vals_object(keep, fc->names, v, (uint32_t)fc->n, &o, e));
    if (o.len > DOC_BYTES_MAX)
        FAIL(e, ERR_BSON_OBJECT_TOO_LARGE,
             "document constructed by $facet is %u bytes, which exceeds the limit of %d bytes",
             o.len, DOC_BYTES_MAX);
    *doc = bval_doc(o);
    *valid = true;
    return stage__check_made(*doc, e);
}

static void facet_fini(struct iter *it)
{
    docbuf_fini(&((struct facet_iter *)it)->docs);
}

static STAGE_OPEN(open_facet)
{
    struct facet_iter *f = iter_new(sizeof(*f), s, r, in, facet_next, facet_fini);

    (void)e;
    docbuf_init(&f->docs, r, "$facet");
    *out = &f->it.src;
    return RC_OK;
}

STAGE_PARSE(stage__parse_facet)
{
    struct facet *fc = ARENA_NEW(sp->q->arena, struct facet);
    struct biter it, st;

    if (spec.type != BT_DOCUMENT || bdoc_is_empty(bval_doc(spec)))
        FAIL(e, ERR_LOC(40169), "the $facet specification must be a non-empty object");
    uint32_t n = bdoc_count(bval_doc(spec));
    fc->names = ARENA_ARRAY(sp->q->arena, struct slice, n);
    fc->subs = ARENA_ARRAY(sp->q->arena, struct pipeline *, n);
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        TRY(expr_check_field_name(it.name, e));
        if (it.val.type != BT_ARRAY)
            FAIL(e, ERR_LOC(40170), "arguments to $facet must be arrays, %.*s is type %s",
                 (int)it.name.len, (const char *)it.name.p, btype_name(it.val.type));
        biter_init(&st, bval_doc(it.val));
        while (biter_next(&st))
            if (st.val.type != BT_DOCUMENT)
                FAIL(e, ERR_LOC(40171),
                     "elements of arrays in $facet spec must be non-empty objects, but found %s",
                     btype_name(st.val.type));
        fc->names[fc->n] = it.name;
        TRY(pipeline__parse_sub(sp, sp->q, bval_doc(it.val),
                                (sp->flags & ~(unsigned)PIPELINE_UPDATE) | PIPELINE_FACET,
                                &fc->subs[fc->n], e));
        fc->n++;
    }
    struct stage *s = pipeline__add(sp, def, spec, fc);
    s->open = open_facet;
    s->subs = fc->subs;
    s->n_subs = fc->n;
    return RC_OK;
}

/* ---- $sample ---- */

struct sample_iter {
    struct iter it;
    struct arena *arena;
    struct bdoc *docs;
    struct buf *bufs;
    int64_t n, at;
    bool loaded;
};

static uint64_t random_below(unsigned short st[3], uint64_t n)
{
    uint64_t r = (uint64_t)nrand48(st) << 31 | (uint64_t)nrand48(st);

    return r % n;
}

/* Algorithm R: every document has the same chance to be among the kept ones. */
static RC sample_load(struct sample_iter *sa, int64_t want, struct err *e)
{
    uint8_t seed[12];
    unsigned short st[3];
    size_t bytes = 0;

    oid_new(seed);
    memcpy(st, seed + 4, sizeof(st));
    st[0] ^= (unsigned short)(seed[10] << 8 | seed[11]);
    st[1] ^= (unsigned short)(seed[2] << 8 | seed[3]);
    for (int64_t seen = 0;; seen++) {
        struct arena_mark mark = arena_mark(sa->it.r.q->scratch);
        struct bdoc d;
        bool valid;
        TRY(iter_pull(&sa->it, &d, &valid, e));
        if (!valid)
            break;
        int64_t at = seen < want ? seen : (int64_t)random_below(st, (uint64_t)seen + 1);
        if (at < want) {
            if (at == sa->n) {
                sa->bufs = mem_realloc(sa->bufs, sizeof(*sa->bufs) * (size_t)(sa->n + 1));
                sa->bufs[sa->n++] = BUF_INIT;
            }
            bytes -= sa->bufs[at].cap;
            buf_clear(&sa->bufs[at]);
            buf_push(&sa->bufs[at], d.p, d.len);
            if (sa->it.r.q->meta.p) /* behind its document */
                buf_push(&sa->bufs[at], sa->it.r.q->meta.p, sa->it.r.q->meta.len);
            bytes += sa->bufs[at].cap;
            if (bytes > stage__memory(&sa->it.r))
                FAIL(e, ERR_EXCEEDED_MEMORY_LIMIT,
                     "$sample used too much memory: the limit is %zu bytes",
                     stage__memory(&sa->it.r));
        }
        arena_rewind(sa->it.r.q->scratch, mark);
        TRY(qctx_check(sa->it.r.q, e));
    }
    for (int64_t i = sa->n - 1; i > 0; i--) { /* and their order says nothing */
        int64_t k = (int64_t)random_below(st, (uint64_t)i + 1);
        struct buf t = sa->bufs[i];
        sa->bufs[i] = sa->bufs[k];
        sa->bufs[k] = t;
    }
    sa->loaded = true;
    return RC_OK;
}

static RC sample_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct sample_iter *sa = (struct sample_iter *)s;

    if (!sa->loaded)
        TRY(sample_load(sa, *(const int64_t *)sa->it.s->data, e));
    *valid = sa->at < sa->n;
    if (*valid) {
        const struct buf *b = &sa->bufs[sa->at++];
        uint32_t len = get_le32(b->p);
        *doc = (struct bdoc){ .p = b->p, .len = len };
        sa->it.r.q->meta =
            b->len > len ? (struct bdoc){ b->p + len, (uint32_t)b->len - len } : (struct bdoc){ 0 };
    }
    return RC_OK;
}

static void sample_fini(struct iter *it)
{
    struct sample_iter *sa = (struct sample_iter *)it;

    for (int64_t i = 0; i < sa->n; i++)
        buf_fini(&sa->bufs[i]);
    mem_free(sa->bufs);
}

static STAGE_OPEN(open_sample)
{
    (void)e;
    *out = iter_new(sizeof(struct sample_iter), s, r, in, sample_next, sample_fini);
    return RC_OK;
}

STAGE_PARSE(stage__parse_sample)
{
    int64_t *n = ARENA_NEW(sp->q->arena, int64_t);
    struct bval size = BVAL_MISSING;
    struct biter it;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_LOC(28745), "the $sample stage specification must be an object");
    biter_init(&it, bval_doc(spec));
    while (biter_next(&it)) {
        if (!slice_eq_str(it.name, "size"))
            FAIL(e, ERR_LOC(28748), "unrecognized option to $sample: %.*s", (int)it.name.len,
                 (const char *)it.name.p);
        if (!bval_is_number(it.val))
            FAIL(e, ERR_LOC(28746), "size argument to $sample must be a number");
        size = it.val;
    }
    if (bval_is_missing(size))
        FAIL(e, ERR_LOC(28749), "$sample stage must specify a size");
    double d = trunc(bval_to_double(size));
    int64_t whole;
    if (size.type == BT_DECIMAL128 && dec_to_i64(bval_dec(size), DEC_HALF_EVEN, &whole, NULL))
        d = (double)whole; /* a decimal rounds half to even, a double is cut */
    *n = d >= 9.2e18 ? INT64_MAX : d <= -9.2e18 || isnan(d) ? 0 : (int64_t)d;
    if (*n <= 0)
        FAIL(e, ERR_LOC(28747), "size argument to $sample must be a positive integer");
    pipeline__add(sp, def, spec, n)->open = open_sample;
    return RC_OK;
}
