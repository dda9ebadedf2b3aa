/* parse.c - a pipeline to stages: one document a stage, its name looked up in the sorted table, its place checked. */
#include "agg_priv.h"

#include <stdlib.h>

#include "base/mem.h"

#define ROW(name, flags, fn, aux) { name, flags, stage__parse_##fn, NULL, aux, 0 }
#define BY_EXECUTOR(name, flags) GIVING(name, flags, 0)
/* a stage of the executor whose documents have metadata */
#define GIVING(name, flags, metas)                                                                 \
    { name, STAGE_EXECUTOR | (flags), stage__parse_executor, NULL, 0, metas }

static const struct stage_def defs[] = {
    ROW("addFields", STAGE_UPDATE, add_fields, 0),
    ROW("bucket", STAGE_NO_META, bucket, 0),
    ROW("bucketAuto", STAGE_NO_META | STAGE_BLIND, bucket_auto, 0),
    BY_EXECUTOR("changeStream",
                STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET | STAGE_NO_SUB | STAGE_NO_VIEW),
    BY_EXECUTOR("collStats", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    ROW("count", STAGE_NO_META, count, 0),
    BY_EXECUTOR("currentOp", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET | STAGE_NO_VIEW),
    ROW("densify", STAGE_NO_META | STAGE_BLIND, densify, 0),
    ROW("documents", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET | STAGE_NO_VIEW, documents, 0),
    ROW("facet", STAGE_NO_FACET | STAGE_NO_META, facet, 0),
    ROW("fill", STAGE_NO_META | STAGE_BLIND, fill, 0),
    GIVING("geoNear", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET, META_GEO),
    ROW("graphLookup", 0, graph_lookup, 0),
    ROW("group", STAGE_NO_META, group, 0),
    BY_EXECUTOR("indexStats", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    ROW("limit", 0, limit, 0),
    BY_EXECUTOR("listCatalog", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    BY_EXECUTOR("listClusterCatalog", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    BY_EXECUTOR("listLocalSessions", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET | STAGE_NO_VIEW),
    BY_EXECUTOR("listSampledQueries", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    BY_EXECUTOR("listSearchIndexes", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    BY_EXECUTOR("listSessions", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET | STAGE_NO_VIEW),
    ROW("lookup", 0, lookup, 0),
    ROW("match", 0, match, 0),
    BY_EXECUTOR("merge", STAGE_LAST | STAGE_NO_FACET | STAGE_NO_SUB),
    BY_EXECUTOR("out", STAGE_LAST | STAGE_NO_FACET | STAGE_NO_SUB),
    BY_EXECUTOR("planCacheStats", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    ROW("project", STAGE_UPDATE, project, 0),
    BY_EXECUTOR("querySettings", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    BY_EXECUTOR("queryStats", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    ROW("rankFusion", STAGE_HYBRID, rank_fusion, 0),
    ROW("redact", 0, redact, 0),
    ROW("replaceRoot", STAGE_UPDATE, replace_root, 0),
    ROW("replaceWith", STAGE_UPDATE, replace_with, 0),
    ROW("sample", 0, sample, 0),
    BY_EXECUTOR("scoreFusion", STAGE_HYBRID),
    BY_EXECUTOR("search", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    BY_EXECUTOR("searchMeta", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
    ROW("set", STAGE_UPDATE, add_fields, 0),
    ROW("setWindowFields", STAGE_NO_META | STAGE_BLIND, set_window_fields, 0),
    ROW("skip", 0, skip, 0),
    ROW("sort", 0, sort, 0),
    ROW("sortByCount", STAGE_NO_META, sort_by_count, 0),
    ROW("unionWith", 0, union_with, 0),
    ROW("unset", STAGE_UPDATE, unset, 0),
    ROW("unwind", 0, unwind, 0),
    BY_EXECUTOR("vectorSearch", STAGE_FIRST | STAGE_SOURCE | STAGE_NO_FACET),
};

static int cmp_name(const void *key, const void *row)
{
    return slice_cmp(*(const struct slice *)key, slice_str(((const struct stage_def *)row)->name));
}

const struct stage_def *stage_def_find(struct slice name)
{
    if (name.len < 2 || name.p[0] != '$')
        return NULL;
    struct slice bare = SLICE(name.p + 1, name.len - 1);
    return bsearch(&bare, defs, ARRAY_LEN(defs), sizeof(defs[0]), cmp_name);
}

const struct stage_def *stage_def_table(int *n)
{
    *n = (int)ARRAY_LEN(defs);
    return defs;
}

struct stage *pipeline__add(struct stage_parser *sp, const struct stage_def *def, struct bval spec,
                            void *data)
{
    struct pipeline *p = sp->p;

    if (p->n == p->cap) {
        int cap = p->cap ? p->cap * 2 : 8;
        struct stage *more = ARENA_ARRAY(p->arena, struct stage, (size_t)cap);
        if (p->n)
            memcpy(more, p->stages, sizeof(*more) * (size_t)p->n);
        p->stages = more;
        p->cap = cap;
    }
    struct stage *s = &p->stages[p->n++];
    *s = (struct stage){ .def = def, .spec = spec, .data = data };
    return s;
}

static RC check_place(const struct stage_parser *sp, const struct stage_def *def, struct err *e)
{
    if ((sp->flags & PIPELINE_UPDATE) && !(def->flags & STAGE_UPDATE))
        FAIL(e, ERR_INVALID_OPTIONS, "$%s is not allowed to be used within an update", def->name);
    if ((sp->flags & PIPELINE_VIEW) && (def->flags & STAGE_NO_VIEW))
        FAIL(e, strcmp(def->name, "changeStream") == 0 ? ERR_LOC(40573) : ERR_INVALID_NAMESPACE,
             "$%s cannot be part of a view: it reads no collection", def->name);
    if ((sp->flags & PIPELINE_SUB) && (def->flags & STAGE_NO_SUB))
        FAIL(e, sp->flags & PIPELINE_UNION ? ERR_LOC(31441) : ERR_LOC(51047),
             "$%s is not allowed within a sub-pipeline", def->name);
    if ((sp->flags & PIPELINE_FACET) && (def->flags & STAGE_NO_FACET))
        FAIL(e, ERR_LOC(40600), "$%s is not allowed to be used within a $facet stage", def->name);
    if ((def->flags & STAGE_FIRST) && sp->index > 0)
        FAIL(e, strcmp(def->name, "geoNear") == 0 ? ERR_LOC(40603) : ERR_LOC(40602),
             "$%s is only valid as the first stage in a pipeline", def->name);
    if ((def->flags & STAGE_HYBRID) && sp->index > 0 && !(sp->flags & PIPELINE_BEHIND_VIEW))
        FAIL(e, ERR_LOC(10170100), "$%s is only valid as the first stage in a pipeline", def->name);
    if ((def->flags & STAGE_LAST) && !sp->last)
        FAIL(e, ERR_LOC(40601), "$%s can only be the final stage in the pipeline", def->name);
    return RC_OK;
}

RC pipeline__add_spec(struct stage_parser *sp, struct bdoc stage, struct err *e)
{
    struct biter it;

    biter_init(&it, stage);
    if (!biter_next(&it) || bdoc_count(stage) != 1)
        FAIL(e, ERR_LOC(40323),
             "A pipeline stage specification object must contain exactly one field.");
    const struct stage_def *def = stage_def_find(it.name);
    if (!def)
        FAIL(e, ERR_LOC(40324), "Unrecognized pipeline stage name: '%.*s'", (int)it.name.len,
             (const char *)it.name.p);
    TRY(check_place(sp, def, e));
    if (def->flags & STAGE_BLIND)
        sp->q->metas = 0;
    TRY(def->parse(sp, def, it.val, e));
    if (def->flags & STAGE_NO_META)
        sp->q->metas = 0;
    sp->q->metas |= def->gives;
    return RC_OK;
}

static RC parse_stages(struct stage_parser *sp, struct bdoc array, struct err *e)
{
    uint32_t n = bdoc_count(array);
    struct biter it;

    if (n > PIPELINE_STAGES_MAX)
        FAIL(e, ERR_LOC(7749501), "Pipeline length must be no longer than %d stages",
             PIPELINE_STAGES_MAX);
    biter_init(&it, array);
    for (sp->index = 0; biter_next(&it); sp->index++) {
        TRY(qctx_check(sp->q, e));
        if (it.val.type != BT_DOCUMENT)
            FAIL(e, ERR_TYPE_MISMATCH, "Each element of the 'pipeline' array must be an object");
        sp->last = (uint32_t)sp->index == n - 1;
        TRY(pipeline__add_spec(sp, bval_doc(it.val), e));
    }
    return RC_OK;
}

/* parse_at(): the documents of the source have the metadata that q says. */
static RC parse_at(struct qctx *q, struct bdoc array, unsigned flags, int depth,
                   const struct agg_env *env, struct pipeline **out, struct err *e)
{
    struct pipeline *p = ARENA_NEW(q->arena, struct pipeline);
    struct stage_parser sp = { .q = q, .env = env, .flags = flags, .depth = depth, .p = p };

    *out = NULL;
    p->arena = q->arena;
    p->spec = array;
    if (depth > PIPELINE_DEPTH_MAX)
        FAIL(e, ERR_MAX_SUB_PIPELINE_DEPTH_EXCEEDED,
             "Maximum number of nested sub-pipelines exceeded. Limit is %d", PIPELINE_DEPTH_MAX);
    TRY(parse_stages(&sp, array, e));
    pipeline__fuse_limits(p);
    *out = p;
    return RC_OK;
}

RC pipeline_parse(struct qctx *q, struct bdoc array, unsigned flags, const struct agg_env *env,
                  struct pipeline **out, struct err *e)
{
    q->metas = 0;
    rc_t rc = parse_at(q, array, flags, 0, env, out, e);
    q->metas = 0;
    return rc;
}

RC pipeline__parse_sub(struct stage_parser *sp, struct qctx *q, struct bdoc array, unsigned flags,
                       struct pipeline **out, struct err *e)
{
    unsigned outer = q->metas;

    if (flags & PIPELINE_SUB)
        q->metas = 0; /* of other documents */
    rc_t rc = parse_at(q, array, flags, sp->depth + 1, sp->env, out, e);
    q->metas = outer;
    return rc;
}

/* ---- what the executor asks ---- */

void pipeline_collections(const struct pipeline *p, void (*fn)(struct slice coll, void *arg),
                          void *arg)
{
    for (int i = 0; i < p->n; i++) {
        if (p->stages[i].from.len)
            fn(p->stages[i].from, arg);
        for (int k = 0; k < p->stages[i].n_subs; k++)
            pipeline_collections(p->stages[i].subs[k], fn, arg);
    }
}

struct bdoc pipeline_to_bson(const struct pipeline *p, struct arena *a)
{
    struct vals l = vals_in(a);
    struct bval out;

    for (int i = 0; i < p->n; i++) {
        struct slice name = slice_str(arena_printf(a, "$%s", p->stages[i].def->name));
        struct bval o;
        if (!vals_object(a, &name, &p->stages[i].spec, 1, &o, NULL).failed)
            vals_push(&l, o);
    }
    if (vals_array(a, l.v, l.n, &out, NULL).failed)
        return p->spec;
    return bval_doc(out);
}

bool pipeline_has_source(const struct pipeline *p)
{
    return p->n > 0 && (p->stages[0].def->flags & STAGE_SOURCE);
}

const char *pipeline_stage_name(const struct pipeline *p, int i)
{
    return i >= 0 && i < p->n ? p->stages[i].def->name : NULL;
}

struct bval pipeline_stage_spec(const struct pipeline *p, int i)
{
    return i >= 0 && i < p->n ? p->stages[i].spec : BVAL_MISSING;
}

bool pipeline_writes(const struct pipeline *p)
{
    return p->n > 0 && (p->stages[p->n - 1].def->flags & STAGE_LAST);
}
