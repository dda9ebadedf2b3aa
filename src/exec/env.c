/* env.c - what pipelines and sorts need from below: sealed temporary files and other collections. */
#include "exec_priv.h"

struct env {
    struct agg_env agg;
    struct catalog *cat;
    const struct exec_stages *stages;
};

static RC spill_open(void *env, void **file, struct err *e)
{
    struct store_spill *f = NULL;

    *file = NULL;
    TRY(store_spill_new(catalog_store(((struct env *)env)->cat), &f, e));
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

static RC open_collection(void *arg, struct qctx *q, struct slice coll, struct bdoc filter,
                          struct bval sort, struct doc_source **out, struct err *e)
{
    struct env *v = arg;
    AUTO(buf_fini) struct buf ns = BUF_INIT;
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct match *m;
    struct exec *ex;

    *out = NULL;
    buf_printf(&ns, "%s.%.*s", v->agg.db, (int)coll.len, coll.p);
    x = catalog_find(v->cat, buf_view(&ns));
    if (x && x->is_view)
        FAIL(e, ERR_COMMAND_NOT_SUPPORTED_ON_VIEW,
             "a view cannot be read from inside a pipeline in this release");
    TRY(match_parse(q, filter, 0, &m, e));
    struct exec_spec s = { .catalog = v->cat,
                           .coll = x,
                           .q = q,
                           .match = m,
                           .hint = BVAL_MISSING,
                           .min = BDOC_EMPTY,
                           .max = BDOC_EMPTY,
                           .sort = sort.type == BT_DOCUMENT ? bval_doc(sort) : BDOC_EMPTY,
                           .project_doc = BDOC_EMPTY,
                           .env = &v->agg };
    TRY(exec_open(&s, &ex, e));
    *out = exec_source(ex);
    return RC_OK;
}

static RC open_stage(void *arg, struct qctx *q, const char *name, struct bval spec,
                     struct doc_source *in, struct doc_source **out, struct err *e)
{
    const struct exec_stages *s = ((struct env *)arg)->stages;

    return s->open(s->arg, q, name, spec, in, out, e);
}

static RC check_stage(void *arg, struct qctx *q, const char *name, struct bval spec, struct err *e)
{
    const struct exec_stages *s = ((struct env *)arg)->stages;

    return s->check(s->arg, q, name, spec, e);
}

void exec_env_stages(struct agg_env *env, const struct exec_stages *s)
{
    struct env *v = env->env;

    v->stages = s;
    v->agg.stage = open_stage;
    v->agg.check_stage = check_stage;
}

struct agg_env *exec_env(struct catalog *cat, struct qctx *q, struct slice db, bool allow_disk_use,
                         size_t memory_limit)
{
    struct env *v = ARENA_NEW(q->arena, struct env);

    v->cat = cat;
    v->agg = (struct agg_env){
        .env = v,
        .spill = &spill_ops,
        .allow_disk_use = allow_disk_use,
        .memory_limit = memory_limit,
        .db = arena_strndup(q->arena, (const char *)db.p, db.len),
        .open_collection = open_collection,
    };
    return &v->agg;
}
