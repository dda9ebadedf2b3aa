/* admin_ops.c - see admin/ops.h. */
#include "admin/ops.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

const struct admin_op *admin_find(const struct admin_ops *t, struct slice name)
{
    for (int i = 0; i < t->n; i++)
        if (slice_eq_str(name, t->row[i].name))
            return &t->row[i];
    return NULL;
}

static bool takes(const struct admin_op *op, struct slice name)
{
    for (const char *p = op->args; *p;) {
        const char *end = strchrnul(p, ',');
        if (slice_eq(SLICE(p, (size_t)(end - p)), name))
            return true;
        p = *end ? end + 1 : end;
    }
    return false;
}

static RC check_args(const struct admin_op *op, struct bdoc args, struct err *e)
{
    struct biter it;

    if (strcmp(op->args, "*") == 0)
        return RC_OK;
    biter_init(&it, args);
    while (biter_next(&it))
        if (!takes(op, it.name))
            FAIL(e, ERR_BAD_VALUE, "the operation \"%s\" takes no field \"%.*s\"", op->name,
                 (int)MIN(it.name.len, (size_t)60), (const char *)it.name.p);
    return RC_OK;
}

static RC may_run(const struct admin_ops *t, const struct admin_caller *c,
                  const struct admin_op *op, struct bdoc args, struct err *e)
{
    if ((op->flags & ADMIN_OP_LOCAL) && c->via != ADMIN_VIA_SOCKET)
        FAIL(e, ERR_ILLEGAL_OPERATION,
             "the operation \"%s\" is offered on the administration socket only", op->name);
    if (t->sealed && !(op->flags & ADMIN_OP_SEALED))
        FAIL(e, ERR_CLUSTER_INACCESSIBLE,
             "the cluster is Inaccessible: the operation \"%s\" needs its keys", op->name);
    return check_args(op, args, e);
}

RC admin_run(const struct admin_ops *t, const struct admin_caller *c, struct slice name,
             struct bdoc args, struct bw *w, struct err *e)
{
    const struct admin_op *op = admin_find(t, name);

    if (!op)
        FAIL(e, ERR_COMMAND_NOT_FOUND, "there is no operation of that name");
    TRY(may_run(t, c, op, args, e));
    if (!(op->flags & ADMIN_OP_CHANGES))
        return op->run(t->ctx, args, w, e);
    rc_t rc = t->change ? t->change(t->ctx, op, c->who, args, w, e) : op->run(t->ctx, args, w, e);
    bool local = c->via == ADMIN_VIA_SOCKET;
    log_event(EV_ADMIN_OPERATION, KV_STR("op", op->name),
              KV_STR("via", local ? "socket" : "command"),
              local ? KV_STR("by", c->who) : KV_USER("by", slice_str(c->who)),
              KV_BOOL("done", !rc.failed));
    return rc;
}

RC admin_arg_str(struct bdoc args, const char *name, char **out, struct err *e)
{
    struct bval v = bdoc_get(args, name);

    *out = NULL;
    if (bval_is_missing(v))
        return RC_OK;
    if (v.type != BT_STRING)
        FAIL(e, ERR_TYPE_MISMATCH, "the field \"%s\" is a text", name);
    struct slice s = bval_str(v);
    if (memchr(s.p, '\0', s.len))
        FAIL(e, ERR_BAD_VALUE, "the field \"%s\" holds a zero byte", name);
    *out = mem_strndup((const char *)s.p, s.len);
    return RC_OK;
}

RC admin_arg_bool(struct bdoc args, const char *name, bool *out, struct err *e)
{
    struct bval v = bdoc_get(args, name);

    *out = false;
    if (bval_is_missing(v))
        return RC_OK;
    if (v.type != BT_BOOL)
        FAIL(e, ERR_TYPE_MISMATCH, "the field \"%s\" is true or false", name);
    *out = bval_bool(v);
    return RC_OK;
}
