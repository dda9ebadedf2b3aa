/* fuzz: links bsonx query_expr query_match query_project query_agg */
/* Documents, one behind the other: {p: pipeline}, then the collection, which is also every foreign one. Parsing refuses, or the pipeline ends; what it
 * gives is BSON of a depth that readers bear. A pipeline of one stage gives as many documents when next to nothing fits in memory. */
#include <stdlib.h>

#include "base/mem.h"
#include "fuzz_docs.h"
#include "query/agg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET = 64 << 20, DOCS_MAX = 16, RESULTS_MAX = 20000, SMALL = 256 };

/* ---- spill files in memory ---- */

struct memfile {
    struct buf b;
    size_t at;
};

static RC mf_open(void *env, void **file, struct err *e)
{
    (void)env;
    (void)e;
    *file = NEW(struct memfile);
    return RC_OK;
}

static RC mf_write(void *file, struct slice bytes, struct err *e)
{
    (void)e;
    buf_push(&((struct memfile *)file)->b, bytes.p, bytes.len);
    return RC_OK;
}

static RC mf_rewind(void *file, struct err *e)
{
    (void)e;
    ((struct memfile *)file)->at = 0;
    return RC_OK;
}

static RC mf_read(void *file, void *out, size_t len, size_t *got, struct err *e)
{
    struct memfile *f = file;

    (void)e;
    *got = MIN(len, f->b.len - f->at);
    memcpy(out, f->b.p + f->at, *got);
    f->at += *got;
    return RC_OK;
}

static void mf_close(void *file)
{
    buf_fini(&((struct memfile *)file)->b);
    mem_free(file);
}

static const struct agg_spill_ops spill = { mf_open, mf_write, mf_rewind, mf_read, mf_close };

/* ---- the collection ---- */

struct coll {
    const struct bdoc *docs;
    int n;
};

struct coll_source {
    struct doc_source src;
    const struct coll *c;
    struct match *m; /* NULL: all */
    struct qctx *q;
    int at;
};

static RC coll_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct coll_source *cs = (struct coll_source *)s;
    bool hit = true;

    for (*valid = false; cs->at < cs->c->n; cs->at++) {
        if (cs->m)
            TRY(match_eval(cs->m, cs->q, cs->c->docs[cs->at], NULL, &hit, e));
        if (hit) {
            *doc = cs->c->docs[cs->at++];
            *valid = true;
            return RC_OK;
        }
    }
    return RC_OK;
}

static void coll_close(struct doc_source *s)
{
    mem_free(s);
}

static RC open_collection(void *env, struct qctx *q, struct slice coll, struct bdoc filter,
                          struct doc_source **out, struct err *e)
{
    struct match *m = NULL;

    (void)coll;
    *out = NULL;
    if (filter.len > 5)
        TRY(match_parse(q, filter, MATCH_IN_AGG, &m, e));
    struct coll_source *cs = NEW(struct coll_source);
    *cs = (struct coll_source){ { coll_next, coll_close }, env, m, q, 0 };
    *out = &cs->src;
    return RC_OK;
}

/* run(): how many documents, or -1. */
static int run(struct bdoc spec, const struct coll *c, size_t memory, int *n_stages)
{
    struct qctx q = { .arena = arena_new(BUDGET),
                      .scratch = arena_new(BUDGET),
                      .let = BDOC_EMPTY,
                      .now_ms = 1500000000000 };
    struct agg_env env = { .env = (void *)(uintptr_t)c,
                           .spill = &spill,
                           .allow_disk_use = true,
                           .memory_limit = memory,
                           .db = "t",
                           .open_collection = open_collection };
    struct doc_source *in, *top = NULL;
    struct bdoc d, check;
    struct pipeline *p;
    struct err e = { 0 };
    bool valid = true, ok = false;
    int n = 0;

    if (!pipeline_parse(&q, bval_doc(bdoc_get(spec, "p")), 0, &env, &p, &e).failed) {
        for (*n_stages = 0; pipeline_stage_name(p, *n_stages);)
            ++*n_stages;
        ok = !open_collection(env.env, &q, SLICE_LIT("c"), BDOC_EMPTY, &in, &e).failed &&
             !pipeline_run(p, &q, &env, in, 0, &top, &e).failed;
    }
    while (ok && n < RESULTS_MAX) {
        ok = !top->next(top, &d, &valid, &e).failed;
        if (!ok || !valid)
            break;
        if (bdoc_validate(d.p, d.len, QUERY_DEPTH_MAX, &check, &e).failed)
            abort();
        n++;
        arena_reset(q.scratch);
    }
    doc_source_close(top);
    arena_free(q.arena);
    arena_free(q.scratch);
    return ok ? n : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(BUDGET);
    struct bdoc d[1 + DOCS_MAX];
    int n = fuzz_docs(a, data, size, d, 1 + DOCS_MAX), n_stages = 0;

    if (n > 0 && bdoc_get(d[0], "p").type == BT_ARRAY) {
        struct coll c = { d + 1, n - 1 };
        int whole = run(d[0], &c, 0, &n_stages);
        int spilled = whole >= 0 && n_stages == 1 ? run(d[0], &c, SMALL, &n_stages) : -1;

        if (spilled >= 0 && whole != spilled)
            abort();
    }
    arena_free(a);
    return 0;
}
