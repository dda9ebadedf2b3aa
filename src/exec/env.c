/* env.c - what pipelines and sorts need from below: sealed temporary files, other collections (foreign.c), stages of the node. */
#include "exec_priv.h"

static RC spill_open(void *env, void **file, struct err *e)
{
    struct store_spill *f = NULL;

    *file = NULL;
    TRY(store_spill_new(catalog_store(((struct exec_env_state *)env)->cat), &f, e));
    *file = f;
    return RC_OK;
}

static RC spill_write(void *file, struct slice bytes, struct err *e)
{
    return store_spill_write(file, bytes, e);
}

static RC spill_rewind(void *file, struct err *e)
{
    return store_spill_rewind(file, e);
}

static RC spill_read(void *file, void *out, size_t len, size_t *got, struct err *e)
{
    return store_spill_read(file, out, len, got, e);
}

static void spill_close(void *file)
{
    store_spill_free(file);
}

static const struct agg_spill_ops spill_ops = {
    .open = spill_open,
    .write = spill_write,
    .rewind = spill_rewind,
    .read = spill_read,
    .close = spill_close,
};

static RC open_stage(void *arg, struct qctx *q, const char *name, struct bval spec,
                     struct doc_source *in, struct doc_source **out, struct err *e)
{
    const struct exec_stages *s = ((struct exec_env_state *)arg)->stages;

    return s->open(s->arg, q, name, spec, in, out, e);
}

static RC check_stage(void *arg, struct qctx *q, const char *name, struct bval spec, struct err *e)
{
    const struct exec_stages *s = ((struct exec_env_state *)arg)->stages;

    return s->check(s->arg, q, name, spec, e);
}

void exec_env_stages(struct agg_env *env, const struct exec_stages *s)
{
    struct exec_env_state *v = env->env;

    v->stages = s;
    v->agg.stage = open_stage;
    v->agg.check_stage = check_stage;
}

struct agg_env *exec_env(struct catalog *cat, struct qctx *q, struct slice db, bool allow_disk_use,
                         size_t memory_limit)
{
    struct exec_env_state *v = ARENA_NEW(q->arena, struct exec_env_state);

    v->cat = cat;
    v->agg = (struct agg_env){
        .env = v,
        .spill = &spill_ops,
        .allow_disk_use = allow_disk_use,
        .memory_limit = memory_limit,
        .db = arena_strndup(q->arena, (const char *)db.p, db.len),
        .open_collection = exec__foreign_open,
    };
    return &v->agg;
}
