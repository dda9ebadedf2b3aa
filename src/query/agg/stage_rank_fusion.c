/* stage_rank_fusion.c - $rankFusion: several rankings of one collection's documents made one by reciprocal rank fusion.
 *
 * The input is kept once and every input pipeline reads it from the front (one that starts with $geoNear reads the collection by itself).
 * What a pipeline gives is ranked by its place; documents that its last $sort holds for equal, or that are as far away, share a rank and
 * the next one skips. Each becomes {d: document, s: weight / (60 + rank), p: number of the pipeline, r: rank}, and an inner
 * $group and $sort, which spill by themselves, make of them the documents in order, the score of each, and from where it comes.
 */
#include "agg_priv.h"

#include <stdlib.h>

#include "base/mem.h"
#include "bsonx/bw.h"

enum { RANK_CONSTANT = 60 };

struct ranked {
    struct slice name;
    struct pipeline *p;
    double weight;
    /* what makes equal: the last $sort's order, or the distance; neither: no two are */
    const struct sort_spec *ties;
    bool by_distance;
};

struct fusion {
    struct ranked *in;
    int n;
    bool details;
    struct pipeline *inner;
};

/* ---- documents with a part of their score ---- */

struct parts_source {
    struct doc_source src;
    struct stage_run r;
    const struct fusion *f;
    struct docbuf docs;
    struct doc_source *in, *top; /* top: of the present pipeline */
    bool kept;
    int at; /* the present pipeline */
    int32_t place, rank;
    struct arena *mem; /* the keys of the document before */
    struct bval *keys;
    struct buf out;
};

/* keys_of(): what a document is compared by with the one before it; NULL: with nothing. */
static RC keys_of(struct parts_source *s, struct bdoc d, int *n, struct bval **keys, struct err *e)
{
    const struct ranked *in = &s->f->in[s->at];
    struct arena *a = s->r.q->scratch;

    *keys = NULL;
    *n = in->by_distance ? 1 : in->ties ? in->ties->n : 0;
    if (*n == 0)
        return RC_OK;
    struct bval *k = arena_alloc(a, sizeof(*k) * (size_t)*n);
    if (in->by_distance)
        k[0] = qctx_meta(s->r.q, SLICE_LIT("geoNearDistance"));
    else
        TRY(sort_keys(in->ties, s->r.q, d, k, e));
    *keys = k;
    return RC_OK;
}

static RC set_rank(struct parts_source *s, struct bdoc d, struct err *e)
{
    const struct ranked *in = &s->f->in[s->at];
    struct bval *keys;
    int n;

    s->place++;
    TRY(keys_of(s, d, &n, &keys, e));
    bool same = keys && s->keys &&
                (in->by_distance ? bval_identical(keys[0], s->keys[0])
                                 : sort_keys_cmp(in->ties, keys, s->keys) == 0);
    if (same)
        return RC_OK;
    s->rank = s->place;
    arena_reset(s->mem);
    s->keys = keys ? arena_alloc(s->mem, sizeof(*keys) * (size_t)n) : NULL;
    for (int i = 0; keys && i < n; i++)
        s->keys[i] = bval_dup(s->mem, keys[i]);
    return RC_OK;
}

static RC open_ranked(struct parts_source *s, struct err *e)
{
    const struct pipeline *p = s->f->in[s->at].p;
    struct doc_source *src;

    s->place = s->rank = 0;
    s->keys = NULL;
    s->r.q->meta = (struct bdoc){ 0 }; /* the pipeline before may have left its last document's */
    if (pipeline_has_source(p))
        return pipeline__run(p, &s->r, source_empty(), 0, &s->top, e);
    if (!s->kept)
        TRY(docbuf_fill(&s->docs, s->in, e));
    s->kept = true;
    TRY(docbuf_source(&s->docs, &src, e));
    return pipeline__run(p, &s->r, src, 0, &s->top, e);
}

static RC parts_next(struct doc_source *src, struct bdoc *doc, bool *valid, struct err *e)
{
    struct parts_source *s = (struct parts_source *)src;
    struct bdoc d;
    struct bw w;

    for (*valid = false;;) {
        if (s->at == s->f->n)
            return RC_OK;
        if (!s->top)
            TRY(open_ranked(s, e));
        TRY(s->top->next(s->top, &d, valid, e));
        if (*valid)
            break;
        doc_source_close(s->top);
        s->top = NULL;
        s->at++;
    }
    TRY(set_rank(s, d, e));
    buf_clear(&s->out);
    bw_init(&w, &s->out);
    bw_doc(&w, "d", d);
    bw_double(&w, "s", s->f->in[s->at].weight * (1.0 / (RANK_CONSTANT + s->rank)));
    bw_i32(&w, "p", s->at);
    bw_i32(&w, "r", s->rank);
    *doc = bw_finish(&w);
    return RC_OK;
}

static void parts_close(struct doc_source *src)
{
    struct parts_source *s = (struct parts_source *)src;

    doc_source_close(s->top);
    doc_source_close(s->in);
    docbuf_fini(&s->docs);
    arena_free(s->mem);
    buf_fini(&s->out);
    mem_free(s);
}

/* ---- documents with their score ---- */

struct fusion_iter {
    struct iter it;
    struct buf meta;
};

static void put_details(const struct fusion *f, struct bdoc sums, struct bw *w)
{
    struct biter it;
    bool more;

    bw_doc_begin(w, "scoreDetails");
    bw_val(w, "value", bdoc_get(sums, "s"));
    bw_str(w, "description",
           "value output by reciprocal rank fusion algorithm, computed as sum of (weight * (1 / "
           "(60 + rank))) across input pipelines from which this document is output, from:");
    bw_array_begin(w, "details");
    biter_init(&it, bval_doc(bdoc_get(sums, "r")));
    more = biter_next(&it);
    for (int i = 0; i < f->n; i++) { /* those that gave the document come in this order too */
        bool here = more && bval_i32(bdoc_get(bval_doc(it.val), "p")) == i;

        bw_doc_begin(w, NULL);
        bw_str_slice(w, "inputPipelineName", f->in[i].name);
        if (!here) {
            bw_str(w, "rank", "NA");
        } else {
            bw_val(w, "rank", bdoc_get(bval_doc(it.val), "r"));
            bw_double(w, "weight", f->in[i].weight);
            bw_array_begin(w, "details");
            bw_array_end(w);
        }
        bw_doc_end(w);
        /* a pipeline over documents without ids may give one twice */
        while (more && bval_i32(bdoc_get(bval_doc(it.val), "p")) <= i)
            more = biter_next(&it);
    }
    bw_array_end(w);
    bw_doc_end(w);
}

static RC fusion_next(struct doc_source *src, struct bdoc *doc, bool *valid, struct err *e)
{
    struct fusion_iter *fi = (struct fusion_iter *)src;
    const struct fusion *f = fi->it.s->data;
    struct bdoc sums;
    struct bw w;

    TRY(iter_pull(&fi->it, &sums, valid, e));
    if (!*valid)
        return RC_OK;
    buf_clear(&fi->meta);
    bw_init(&w, &fi->meta);
    bw_val(&w, "score", bdoc_get(sums, "s"));
    if (f->details)
        put_details(f, sums, &w);
    fi->it.r.q->meta = bw_finish(&w);
    *doc = bval_doc(bdoc_get(sums, "d"));
    return RC_OK;
}

static void fusion_fini(struct iter *it)
{
    buf_fini(&((struct fusion_iter *)it)->meta);
}

static STAGE_OPEN(open_fusion)
{
    const struct fusion *f = s->data;
    struct parts_source *parts = NEW(struct parts_source);
    struct doc_source *sums;

    *out = NULL;
    parts->src = (struct doc_source){ parts_next, parts_close };
    parts->r = *r;
    parts->f = f;
    parts->in = in;
    parts->mem = arena_new(0);
    docbuf_init(&parts->docs, r, "$rankFusion");
    TRY(pipeline__run(f->inner, r, &parts->src, 0, &sums, e));
    *out = iter_new(sizeof(struct fusion_iter), s, r, sums, fusion_next, fusion_fini);
    return RC_OK;
}

/* ---- parsing ---- */

static RC wrong_type(struct bval v, const char *field, enum btype want, const char *name,
                     struct err *e)
{
    if (v.type != want)
        FAIL(e, ERR_TYPE_MISMATCH,
             "BSON field '$rankFusion.%s' is the wrong type '%s', expected type '%s'", field,
             btype_name(v.type), name);
    return RC_OK;
}

/* required(): null is as good as nothing. */
static RC required(struct bval v, const char *field, struct err *e)
{
    if (bval_is_missing(v) || v.type == BT_NULL)
        FAIL(e, ERR_IDL_FAILED_TO_PARSE,
             "BSON field '$rankFusion.%s' is missing but a required field", field);
    return wrong_type(v, field, BT_DOCUMENT, "object", e);
}

static RC parse_fields(struct bval spec, struct bval *pipelines, struct bval *weights,
                       bool *details, struct err *e)
{
    struct bval input, combination, detail;
    const struct stage_opt opts[] = { { "input", &input },
                                      { "combination", &combination },
                                      { "scoreDetails", &detail } };
    const struct stage_opt in[] = { { "pipelines", pipelines } },
                           comb[] = { { "weights", weights } };
    struct biter it, st;

    *weights = BVAL_MISSING;
    TRY(stage__options(spec, "rankFusion", opts, 3, ERR_IDL_UNKNOWN_FIELD, e));
    TRY(required(input, "input", e));
    TRY(stage__options(input, "rankFusion.input", in, 1, ERR_IDL_UNKNOWN_FIELD, e));
    TRY(required(*pipelines, "input.pipelines", e));
    biter_init(&it, bval_doc(*pipelines));
    while (biter_next(&it)) {
        TRY(wrong_type(it.val, "input.pipelines", BT_ARRAY, "array", e));
        biter_init(&st, bval_doc(it.val));
        while (biter_next(&st))
            TRY(wrong_type(st.val, "input.pipelines", BT_DOCUMENT, "object", e));
    }
    if (!bval_is_missing(combination) && combination.type != BT_NULL) {
        TRY(wrong_type(combination, "combination", BT_DOCUMENT, "object", e));
        TRY(stage__options(combination, "rankFusion.combination", comb, 1, ERR_IDL_UNKNOWN_FIELD,
                           e));
        TRY(required(*weights, "combination.weights", e));
    }
    *details = false;
    if (!bval_is_missing(detail) && detail.type != BT_NULL) {
        TRY(wrong_type(detail, "scoreDetails", BT_BOOL, "bool", e));
        *details = bval_bool(detail);
    }
    return RC_OK;
}

static bool is_one_of(struct slice name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq_str(name, names[i]))
            return true;
    return false;
}

static bool is_ranking(struct slice stage, struct bval spec)
{
    static const char *const ranking[] = { "$geoNear", "$search", "$vectorSearch" };

    if (slice_eq_str(stage, "$match") && spec.type == BT_DOCUMENT)
        return !bval_is_missing(bdoc_get(bval_doc(spec), "$text"));
    return is_one_of(stage, ranking, ARRAY_LEN(ranking));
}

static bool changes_documents(struct slice stage, struct bval spec)
{
    static const char *const selecting[] = { "$match",      "$sort",         "$limit",
                                             "$skip",       "$sample",       "$geoNear",
                                             "$search",     "$vectorSearch", "$rankFusion",
                                             "$scoreFusion" };

    if (slice_eq_str(stage, "$geoNear") && spec.type == BT_DOCUMENT &&
        (!bval_is_missing(bdoc_get(bval_doc(spec), "distanceField")) ||
         !bval_is_missing(bdoc_get(bval_doc(spec), "includeLocs"))))
        return true;
    return stage_def_find(stage) && !is_one_of(stage, selecting, ARRAY_LEN(selecting));
}

/* check_stages(): an input pipeline ranks, and leaves documents as they are. */
static RC check_stages(struct bdoc array, struct err *e)
{
    static const char *const hybrid[] = { "$rankFusion", "$scoreFusion" };
    struct slice bad = SLICE_EMPTY;
    bool ranks = false;
    struct biter it, st;
    int i = 0;

    if (bdoc_is_empty(array))
        FAIL(e, ERR_LOC(9834300), "$rankFusion input pipeline cannot be empty");
    biter_init(&it, array);
    for (; biter_next(&it); i++) {
        biter_init(&st, bval_doc(it.val));
        if (bdoc_count(bval_doc(it.val)) != 1 || !biter_next(&st))
            continue; /* the parser of stages tells */
        if (i == 0 && is_one_of(st.name, hybrid, ARRAY_LEN(hybrid)))
            FAIL(e, ERR_LOC(10473002), "$rankFusion input pipeline has a nested hybrid search");
        ranks |= slice_eq_str(st.name, "$sort") || (i == 0 && is_ranking(st.name, st.val));
        if (changes_documents(st.name, st.val))
            bad = st.name;
    }
    if (!ranks)
        FAIL(
            e, ERR_LOC(9191100),
            "All subpipelines to the $rankFusion stage must begin with one of $search, $vectorSearch, $geoNear, or have a custom $sort in the pipeline.");
    if (bad.len)
        FAIL(
            e, ERR_LOC(9191103),
            "%.*s is not allowed in a $rankFusion input pipeline: it must only retrieve, limit or order documents.",
            (int)MIN(bad.len, 64u), (const char *)bad.p);
    return RC_OK;
}

static void find_ties(struct ranked *in)
{
    for (int i = 0; i < in->p->n; i++) {
        const struct stage *s = &in->p->stages[i];

        if (strcmp(s->def->name, "sort") == 0) {
            in->ties = sort__of_stage(s);
            in->by_distance = false;
            for (int k = 0; k < sort__of_stage(s)->n; k++)
                if (sort__of_stage(s)->keys[k].random)
                    in->ties = NULL;
        } else if (strcmp(s->def->name, "sample") == 0) {
            in->ties = NULL;
            in->by_distance = false;
        } else if (strcmp(s->def->name, "geoNear") == 0) {
            in->by_distance = true;
        }
    }
}

static int by_name(const void *a, const void *b)
{
    return slice_cmp(((const struct ranked *)a)->name, ((const struct ranked *)b)->name);
}

static RC parse_pipelines(struct stage_parser *sp, struct bdoc pipelines, struct fusion *f,
                          struct err *e)
{
    unsigned flags = sp->flags & ~(unsigned)PIPELINE_BEHIND_VIEW;
    struct biter it;

    if (bdoc_is_empty(pipelines))
        FAIL(e, ERR_BAD_VALUE, "$rankFusion must have at least one input pipeline");
    if (sp->depth == 0 && sp->index == 0)
        flags |= PIPELINE_SAME;
    f->in = ARENA_ARRAY(sp->q->arena, struct ranked, bdoc_count(pipelines));
    biter_init(&it, pipelines);
    while (biter_next(&it)) {
        struct ranked *in = &f->in[f->n++];

        in->name = it.name;
        in->weight = 1;
        TRY(expr_check_field_name(it.name, e));
        TRY(check_stages(bval_doc(it.val), e));
        TRY(pipeline__parse_sub(sp, sp->q, bval_doc(it.val), flags, &in->p, e));
        find_ties(in);
    }
    qsort(f->in, (size_t)f->n, sizeof(*f->in), by_name);
    for (int i = 1; i < f->n; i++)
        if (slice_eq(f->in[i - 1].name, f->in[i].name))
            FAIL(e, ERR_IDL_DUPLICATE_FIELD, "$rankFusion has two input pipelines of one name");
    return RC_OK;
}

static RC parse_weights(struct bval weights, struct fusion *f, struct err *e)
{
    struct biter it;

    if (bval_is_missing(weights))
        return RC_OK;
    if ((int)bdoc_count(bval_doc(weights)) > f->n)
        FAIL(e, ERR_LOC(9460301), "$rankFusion has more weights than input pipelines");
    biter_init(&it, bval_doc(weights));
    while (biter_next(&it)) {
        struct ranked key = { .name = it.name };
        struct ranked *in = bsearch(&key, f->in, (size_t)f->n, sizeof(*f->in), by_name);

        if (!in)
            FAIL(e, ERR_LOC(9967500), "a weight of $rankFusion names no input pipeline: '%.*s'",
                 (int)MIN(it.name.len, 64u), (const char *)it.name.p);
        if (!bval_is_number(it.val))
            FAIL(e, ERR_LOC(13118), "a weight of $rankFusion must be a number, not %s",
                 btype_name(it.val.type));
        in->weight = bval_to_double(it.val);
        if (!(in->weight >= 0))
            FAIL(e, ERR_LOC(9460300), "a weight of $rankFusion must not be negative");
    }
    return RC_OK;
}

/* parse_inner(): what makes one document of its parts, best first. */
static RC parse_inner(struct stage_parser *sp, struct fusion *f, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_doc_begin(&w, "0");
    bw_doc_begin(&w, "$group");
    bw_str(&w, "_id", "$d._id");
    bw_doc_begin(&w, "d");
    bw_str(&w, "$first", "$d");
    bw_doc_end(&w);
    bw_doc_begin(&w, "s");
    bw_str(&w, "$sum", "$s");
    bw_doc_end(&w);
    if (f->details) {
        bw_doc_begin(&w, "r");
        bw_doc_begin(&w, "$push");
        bw_str(&w, "p", "$p");
        bw_str(&w, "r", "$r");
        bw_doc_end(&w);
        bw_doc_end(&w);
    }
    bw_doc_end(&w);
    bw_doc_end(&w);
    bw_doc_begin(&w, "1");
    bw_doc_begin(&w, "$sort");
    bw_i32(&w, "s", -1);
    bw_i32(&w, "_id", 1);
    bw_doc_end(&w);
    bw_doc_end(&w);
    return pipeline__parse_sub(sp, sp->q, bw_done_arena(&w, sp->q->arena), 0, &f->inner, e);
}

STAGE_PARSE(stage__parse_rank_fusion)
{
    struct fusion *f = ARENA_NEW(sp->q->arena, struct fusion);
    struct bval pipelines, weights;

    if (spec.type != BT_DOCUMENT)
        FAIL(e, ERR_FAILED_TO_PARSE, "$rankFusion must take a nested object but found: %s",
             btype_name(spec.type));
    TRY(parse_fields(spec, &pipelines, &weights, &f->details, e));
    TRY(parse_pipelines(sp, bval_doc(pipelines), f, e));
    TRY(parse_weights(weights, f, e));
    TRY(parse_inner(sp, f, e));
    struct stage *s = pipeline__add(sp, def, spec, f);
    s->open = open_fusion;
    s->subs = ARENA_ARRAY(sp->q->arena, struct pipeline *, (size_t)f->n);
    s->n_subs = f->n;
    for (int i = 0; i < f->n; i++)
        s->subs[i] = f->in[i].p;
    sp->q->metas |= META_SCORE | META_SEARCH | (f->details ? META_SCORE_DETAILS : 0);
    return RC_OK;
}
