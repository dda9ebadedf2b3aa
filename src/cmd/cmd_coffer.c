/* cmd_coffer.c - {coffer: NAME, ...}: the operations of module admin, over the database protocol.
 *
 * What an operation does is handed in by the program (node.h); here it is only found, authorized and given its fields.
 */
#include "admin/ops.h"
#include "cmd_priv.h"

static RC find_op(struct cmd_req *r, const struct admin_op **out, struct err *e)
{
    struct bval name = cmd_first(r);

    *out = NULL;
    if (name.type != BT_STRING)
        return RC_OK; /* the list */
    *out = r->node->admin ? admin_find(r->node->admin, bval_str(name)) : NULL;
    if (!*out)
        FAIL(e, ERR_COMMAND_NOT_FOUND,
             "there is no operation of that name; {coffer: 1} lists them");
    return RC_OK;
}

RC cmd__coffer_auth(struct cmd_req *r, struct err *e)
{
    const struct admin_op *op;

    TRY(find_op(r, &op, e));
    return identity_require(r->client->identity, RES_CLUSTER,
                            op && (op->flags & ADMIN_OP_CHANGES) ? ACT_COFFER_ADMIN
                                                                 : ACT_COFFER_READ,
                            "coffer", e);
}

static void list(const struct admin_ops *t, struct bw *w)
{
    bw_array_begin(w, "operations");
    for (int i = 0; t && i < t->n; i++) {
        const struct admin_op *op = &t->row[i];

        if (op->flags & ADMIN_OP_LOCAL)
            continue;
        bw_doc_begin(w, NULL);
        bw_str(w, "name", op->name);
        bw_str(w, "fields", op->args);
        bw_bool(w, "changes", (op->flags & ADMIN_OP_CHANGES) != 0);
        bw_str(w, "help", op->help);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

/* The body without the command's name and what every command may carry. */
static struct bdoc args_of(struct cmd_req *r, struct buf *space)
{
    struct biter it;
    struct bw w;

    bw_init(&w, space);
    biter_init(&it, r->body);
    for (bool first = true; biter_next(&it); first = false)
        if (!first && !cmd_is_generic(it.name))
            bw_val_slice(&w, it.name, it.val);
    return bw_finish(&w);
}

RC cmd__coffer(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(buf_fini) struct buf space = BUF_INIT;
    const struct admin_op *op;

    TRY(find_op(r, &op, e));
    if (!op) {
        list(r->node->admin, w);
        return RC_OK;
    }
    struct admin_caller who = { .via = ADMIN_VIA_COMMAND, .who = cmd_user(r, r->arena) };
    return admin_run(r->node->admin, &who, slice_str(op->name), args_of(r, &space), w, e);
}
