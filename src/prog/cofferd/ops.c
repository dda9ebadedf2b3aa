/* ops.c - see ops.h. */
#include "ops.h"

#include <unistd.h>

#include "admin/inspect.h"
#include "backup.h"
#include "base/file.h"
#include "base/mem.h"
#include "keyops.h"

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
    struct slice s = bval_str(dir);
    AUTO(mem_freep) char *path = mem_strndup((const char *)s.p, s.len);
    TRY(backup_make(o->source.process, o->source.store, path, e));
    bw_str(w, "dir", path);
    return RC_OK;
}

static RC op_inspect(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    AUTO(mem_freep) char *dir = NULL;
    uint64_t problems; /* they are in the answer */
    TRY(admin_arg_str(args, "dir", &dir, e));
    if (!dir || dir[0] != '/')
        FAIL(e, ERR_BAD_VALUE, "the operation \"inspect\" needs the absolute path \"dir\"");
    AUTO(mem_freep) char *lock = mem_printf("%s/store/LOCK", dir);
    AUTO(mem_freep) char *own = mem_printf("%s/LOCK", o->source.process->store_dir);
    if (path_same_file(lock, own))
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "this node writes to \"%s\": inspect it without keys, or inspect a backup of it", dir);
    return admin_inspect(dir, custody_keyring(o->source.custody), w, &problems, e);
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

/* A new operation is a row here, and a subcommand of the CLI where people are to use it (src/prog/coffer/cluster.c). */
static const struct admin_op table[] = {
    { "status", "", ADMIN_OP_SEALED, "state of the node and of its keys", op_status },
    { "revalidate", "", ADMIN_OP_SEALED, "look at the customer's key now", op_revalidate },
    { "keyShow", "", ADMIN_OP_SEALED,
      "the key, the versions in use and still needed, the next probe", keyops_show },
    { "backup", "dir", ADMIN_OP_CHANGES | ADMIN_OP_LOCAL,
      "copy the store, encrypted as it is, into a new directory", op_backup },
    { "inspect", "dir", ADMIN_OP_LOCAL,
      "verify every tag of a directory that is under this node's keys", op_inspect },
    { "stop", "", ADMIN_OP_CHANGES | ADMIN_OP_SEALED | ADMIN_OP_LOCAL, "stop the node in order",
      op_stop },
};

void ops_table(struct ops_ctx *o, bool sealed, struct admin_ops *out)
{
    *out = (struct admin_ops){ .row = table, .n = ARRAY_LEN(table), .ctx = o, .sealed = sealed };
}
