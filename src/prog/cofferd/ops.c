/* ops.c - see ops.h. */
#include "ops.h"

#include <unistd.h>

#include "backup.h"
#include "base/mem.h"

static RC op_status(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    (void)args;
    (void)e;
    struct ops_ctx *o = ctx;
    bw_i32(w, "pid", (int32_t)getpid());
    status_write(&o->source, w);
    return RC_OK;
}

static RC op_revalidate(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    (void)args;
    (void)w;
    struct ops_ctx *o = ctx;
    if (!o->source.loop)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "this cluster is in smk mode: there is no customer's key to look at");
    keyloop_revalidate(o->source.loop);
    return RC_OK;
}

static RC op_backup(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    struct bval dir = bdoc_get(args, "dir");
    if (dir.type != BT_STRING)
        FAIL(e, ERR_BAD_VALUE, "the operation \"backup\" needs the text field \"dir\"");
    if (!o->source.store)
        FAIL(e, ERR_CLUSTER_INACCESSIBLE, "the node is Inaccessible: a backup needs its store");
    struct slice s = bval_str(dir);
    AUTO(mem_freep) char *path = mem_strndup((const char *)s.p, s.len);
    TRY(backup_make(o->source.process, o->source.store, path, e));
    bw_str(w, "dir", path);
    return RC_OK;
}

static RC op_stop(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    (void)args;
    (void)w;
    (void)e;
    struct ops_ctx *o = ctx;
    o->stop(o->stop_arg);
    return RC_OK;
}

static const struct admin_op table[] = {
    { "status", "state of the node and of its keys", op_status },
    { "revalidate", "look at the customer's key now", op_revalidate },
    { "backup", "{dir}: copy the store, encrypted as it is, into a new directory", op_backup },
    { "stop", "stop the node in order", op_stop },
};

RC ops_listen(struct ops_ctx *o, struct admin_server **out, struct err *e)
{
    return admin_listen(o->source.process->admin_path, table, ARRAY_LEN(table), o, out, e);
}
