/* cmd_stages.c - finding the stage that is meant. */
#include "cmd_stages.h"

static const struct {
    const char *name;
    cmd_stage_check_fn check;
    cmd_stage_open_fn open;
} stages[] = {
    { "collStats", cmd_stage_check_coll_stats, cmd_stage_open_coll_stats },
    { "currentOp", cmd_stage_check_current_op, cmd_stage_open_current_op },
    { "geoNear", cmd_stage_check_geo_near, cmd_stage_open_geo_near },
    { "indexStats", cmd_stage_check_index_stats, cmd_stage_open_index_stats },
    { "listLocalSessions", cmd_stage_check_list_sessions, cmd_stage_open_list_sessions },
    { "listSessions", cmd_stage_check_list_sessions, cmd_stage_open_list_sessions },
    { "merge", cmd_stage_check_merge, cmd_stage_open_merge },
    { "out", cmd_stage_check_out, cmd_stage_open_out },
};

static RC find_stage(const char *name, size_t *at, struct err *e)
{
    for (*at = 0; *at < ARRAY_LEN(stages); ++*at)
        if (strcmp(stages[*at].name, name) == 0)
            return RC_OK;
    FAIL(e, ERR_COMMAND_NOT_SUPPORTED, "$%s is not available in this release", name);
}

static RC check(void *arg, struct qctx *q, const char *name, struct bval spec, struct err *e)
{
    size_t i;

    TRY(find_stage(name, &i, e));
    return stages[i].check(arg, q, spec, e);
}

static RC open_stage(void *arg, struct qctx *q, const char *name, struct bval spec,
                     struct doc_source *in, struct doc_source **out, struct err *e)
{
    size_t i;

    if (find_stage(name, &i, e).failed) {
        doc_source_close(in);
        return RC_FAILED;
    }
    return stages[i].open(arg, q, spec, in, out, e);
}

struct cmd_stages *cmd_stages(struct cmd_req *r, struct qctx *q, const struct cmd_ns *ns,
                              struct catalog_coll *coll)
{
    struct cmd_stages *s = ARENA_NEW(q->arena, struct cmd_stages);

    *s = (struct cmd_stages){
        .hooks = { .arg = s, .open = open_stage, .check = check }, .r = r, .ns = *ns, .coll = coll
    };
    return s;
}

struct docs_source {
    struct doc_source base;
    struct biter it;
};

static RC docs_next(struct doc_source *s, struct bdoc *doc, bool *valid, struct err *e)
{
    struct docs_source *d = CONTAINER_OF(s, struct docs_source, base);

    (void)e;
    *valid = biter_next(&d->it);
    if (*valid)
        *doc = bval_doc(d->it.val);
    return RC_OK;
}

static void docs_close(struct doc_source *s)
{
    mem_free(CONTAINER_OF(s, struct docs_source, base));
}

struct doc_source *cmd_stage_docs(struct qctx *q, struct bw *w)
{
    struct docs_source *d = NEW(struct docs_source);
    struct bdoc all = bw_finish(w);

    all = (struct bdoc){ .p = arena_dup(q->arena, all.p, all.len), .len = all.len };
    d->base = (struct doc_source){ .next = docs_next, .close = docs_close };
    biter_init(&d->it, bval_doc(bdoc_get(all, "d")));
    return &d->base;
}
