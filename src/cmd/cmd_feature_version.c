/* cmd_feature_version.c - setFeatureCompatibilityVersion (compatibility 20): which release's data clients may expect to find. What the node stores is the same at either
 * version; the version is kept, for the tools that set it and read it back before and after an upgrade. */
#include "cmd_version.h"
#include "kept.h"

#include "cmd_priv.h"

#define NAME "featureCompatibilityVersion"

/* Of the release before and of this one. */
static const char *const versions[] = { "8.0", CMD_FEATURE_VERSION };

/* NULL: none of them. */
static const char *known(struct bval v)
{
    for (size_t i = 0; v.type == BT_STRING && i < ARRAY_LEN(versions); i++)
        if (slice_eq_str(bval_str(v), versions[i]))
            return versions[i];
    return NULL;
}

const char *cmd_feature_version(struct node *n)
{
    AUTO(arena_freep) struct arena *a = arena_new(0);
    const char *v = known(bdoc_get(kept_get(n->kept, NAME, a), "version"));

    return v ? v : CMD_FEATURE_VERSION;
}

struct args {
    bool confirm;
};

static const struct arg table[] = {
    ARG(struct args, confirm, "confirm", ARG_SAFE_BOOL, 0),
    ARG_SKIP("fromConfigServer"),
};

static RC new_version(void *arg, struct bdoc old, struct arena *a, struct bdoc *out, struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    (void)old;
    (void)e;
    bw_init(&w, &b);
    bw_str(&w, "version", arg);
    *out = bw_done_arena(&w, a);
    return RC_OK;
}

RC cmd__setFeatureCompatibilityVersion(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct bval v = cmd_first(r);
    struct args a = { 0 };

    (void)w;
    TRY(cmd_first_required(r, e));
    if (v.type != BT_STRING)
        return cmd_wrong_type(r->def->name, r->def->name, v, "string", e);
    TRY(cmd_args(r, table, ARRAY_LEN(table), &a, e));
    const char *to = known(v);
    if (!to)
        FAIL(e, ERR_LOC(4926900), "Invalid feature compatibility version value '%.*s'; expected %s",
             (int)MIN(bval_str(v).len, 32u), bval_str(v).p, "'8.0' or '" CMD_FEATURE_VERSION "'");
    if (!a.confirm)
        FAIL(e, ERR_LOC(7369100),
             "to change the feature compatibility version, repeat the command with confirm: true");
    return kept_change(r->node->kept, NAME, new_version, (void *)to, e);
}
