/* ops.c - see ops.h. */
#include "ops.h"

#include <unistd.h>

#include "backup.h"
#include "backups.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "erase.h"
#include "keyops.h"
#include "rotator.h"
#include "verify.h"

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
    if (!keyloop_is_active(o->source.loop))
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "this cluster is in smk mode: there is no customer's key to look at");
    keyloop_revalidate(o->source.loop);
    return RC_OK;
}

struct backup_wanted {
    struct ops_ctx *o;
    const char *path;
};

static RC make_backup(void *arg, struct err *e)
{
    const struct backup_wanted *b = arg;
    struct status_source *s = &b->o->source;
    struct err late = { 0 };

    TRY(backup_check(b->path, e));
    TRY(backups_note(s->process, s->custody, b->path, e));
    rc_t rc = backup_make(s->process, s->store, b->path, e);
    /* One that nobody can open: that it stays in the list does no harm. */
    if (rc.failed && backups_forget(s->process, b->path, &late).failed)
        log_err(EV_BACKGROUND_ERROR, &late, NULL, 0);
    err_reset(&late);
    return rc;
}

static RC op_backup(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    struct bval dir = bdoc_get(args, "dir");
    if (dir.type != BT_STRING)
        FAIL(e, ERR_BAD_VALUE, "the operation \"backup\" needs the text field \"dir\"");
    struct slice s = bval_str(dir);
    AUTO(mem_freep) char *path = mem_strndup((const char *)s.p, s.len);
    struct backup_wanted b = { .o = o, .path = path };
    TRY(rotator_holding(o->source.rotator, make_backup, &b, e));
    bw_str(w, "dir", path);
    return RC_OK;
}

struct verify_wanted {
    struct ops_ctx *o;
    const char *path;
    struct bw *w;
};

static RC verify_one(void *arg, struct err *e)
{
    const struct verify_wanted *v = arg;
    struct status_source *s = &v->o->source;

    return verify_backup(s->process, s->custody, v->path, v->w, e);
}

/* One at a time, and none while one is being made. */
static RC op_backup_verify(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    AUTO(mem_freep) char *path = NULL;
    TRY(admin_arg_str(args, "dir", &path, e));
    if (!path)
        FAIL(e, ERR_BAD_VALUE, "the operation \"backupVerify\" needs the text field \"dir\"");
    struct verify_wanted v = { .o = o, .path = path, .w = w };
    return rotator_holding(o->source.rotator, verify_one, &v, e);
}

static RC op_rotate(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    bool compromised = false;
    TRY(admin_arg_bool(args, "compromised", &compromised, e));
    TRY(rotator_rotate(o->source.rotator, compromised, e));
    rotator_status(o->source.rotator, w);
    return RC_OK;
}

static RC op_rotation_pause(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    bool paused;
    TRY(admin_arg_bool(args, "paused", &paused, e));
    paused |= bval_is_missing(bdoc_get(args, "paused"));
    TRY(rotator_pause(o->source.rotator, paused, e));
    rotator_status(o->source.rotator, w);
    return RC_OK;
}

static RC op_rotation_status(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    (void)args;
    (void)e;
    rotator_status(o->source.rotator, w);
    return RC_OK;
}

static RC inspect_own(void *arg, struct err *e)
{
    const struct verify_wanted *v = arg;
    struct status_source *s = &v->o->source;

    return verify_own(s->process, s->custody, s->store, v->path, v->w, e);
}

static RC op_inspect(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    AUTO(mem_freep) char *dir = NULL;
    TRY(admin_arg_str(args, "dir", &dir, e));
    if (!dir || dir[0] != '/')
        FAIL(e, ERR_BAD_VALUE, "the operation \"inspect\" needs the absolute path \"dir\"");
    AUTO(mem_freep) char *lock = mem_printf("%s/store/LOCK", dir);
    AUTO(mem_freep) char *own = mem_printf("%s/LOCK", o->source.process->store_dir);
    struct verify_wanted v = { .o = o, .path = dir, .w = w };
    if (path_same_file(lock, own))
        return rotator_holding(o->source.rotator, inspect_own, &v, e);
    return verify_copy(o->source.process, o->source.custody, dir, w, e);
}

static RC op_erase(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct ops_ctx *o = ctx;
    struct process *p = o->source.process;
    AUTO(mem_freep) char *confirm = NULL;
    bool keep;
    TRY(admin_arg_str(args, "confirm", &confirm, e));
    TRY(admin_arg_bool(args, "keep-key-version", &keep, e));
    TRY(erase_mark(p, confirm ? confirm : "", keep, e));
    AUTO(mem_freep) char *report = mem_printf("%s/erased", p->state_dir);
    bw_str(w, "state", "erasing");
    bw_str(w, "report", report);
    o->replace(o->stop_arg);
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

/* A new operation is a row here, and a subcommand of the CLI where people are to use it (src/prog/coffer/cluster.c). */
static const struct admin_op table[] = {
    { "status", "", ADMIN_OP_SEALED, "state of the node and of its keys", op_status },
    { "revalidate", "", ADMIN_OP_SEALED, "look at the customer's key now", op_revalidate },
    { "keyShow", "", ADMIN_OP_SEALED,
      "the key, the versions in use and still needed, the next probe", keyops_show },
    { "keyCheck", "*", ADMIN_OP_SEALED,
      "would this key do? Every rule, what is found, and nothing is changed; without fields: the key in use",
      keyops_check },
    { "keySet", "*", ADMIN_OP_CHANGES | ADMIN_OP_SEALED,
      "another key, vault, identity or way to it; while Inaccessible only to the same key material",
      keyops_set },
    { "keySwitch", "*", ADMIN_OP_CHANGES, "from the service's key to the customer's, or back",
      keyops_switch },
    { "keyFollow", "compromised", ADMIN_OP_CHANGES,
      "wrap the SMK with the newest version of the key now; compromised: make a new SMK as well, and go on as rotateKey does",
      keyops_follow },
    { "rotateKey", "compromised", ADMIN_OP_CHANGES,
      "a new SMK, and everything on disk re-encrypted to it in the background; compromised: without a limit of speed, and older ones are destroyed whatever backup may want them",
      op_rotate },
    { "rotationPause", "paused", ADMIN_OP_CHANGES, "pause the re-encryption, or go on with it",
      op_rotation_pause },
    { "rotationStatus", "", 0, "how far the re-encryption is", op_rotation_status },
    { "backup", "dir", ADMIN_OP_CHANGES | ADMIN_OP_LOCAL,
      "copy the store, encrypted as it is, into a new directory", op_backup },
    { "inspect", "dir", ADMIN_OP_LOCAL,
      "verify every tag of a directory that is under this node's keys; its own: of a consistent copy by links",
      op_inspect },
    { "backupVerify", "dir", ADMIN_OP_LOCAL,
      "verify a backup: its keys by the vault, every tag of it, and that it opens",
      op_backup_verify },
    { "erase", "confirm,keep-key-version", ADMIN_OP_CHANGES | ADMIN_OP_SEALED | ADMIN_OP_LOCAL,
      "destroy every known wrapped copy of the cluster's keys, for ever; confirm is the cluster's name",
      op_erase },
    { "stop", "", ADMIN_OP_CHANGES | ADMIN_OP_SEALED | ADMIN_OP_LOCAL, "stop the node in order",
      op_stop },
};

RC ops_listen(struct process *p, const struct admin_ops *ops, struct admin_server **out,
              struct err *e)
{
    if (p->handoff.mode == HANDOFF_NONE)
        return admin_listen(p->admin_path, ops, out, e);
    *out = admin_listen_patiently(p->admin_path, ops);
    return RC_OK;
}

void ops_table(struct ops_ctx *o, bool sealed, struct admin_ops *out)
{
    *out = (struct admin_ops){ .row = table, .n = ARRAY_LEN(table), .ctx = o, .sealed = sealed };
}
