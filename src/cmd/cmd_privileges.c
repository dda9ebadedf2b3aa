/* cmd_privileges.c - what a request must be allowed to do: by its row's scope, and for the commands where one action on one resource does not say it.
 *
 * Everything here reads the request before its own parser did: what is malformed is passed over, since the parser refuses it before anything is done.
 */
#include "cmd_view.h"

static struct slice name_of(struct bval v)
{
    return v.type == BT_STRING ? bval_str(v) : SLICE_EMPTY;
}

static struct identity_res named(const struct cmd_req *r, struct bval coll)
{
    return RES_COLL(r->db, name_of(coll));
}

static bool set(struct bdoc d, const char *name)
{
    struct bval v = bdoc_get(d, name);

    return !bval_is_missing(v) && bval_truthy(v);
}

static RC need(struct cmd_req *r, struct identity_res res, enum action a, struct err *e)
{
    return identity_require(r->client->identity, res, a, r->def->name, e);
}

/* bypassDocumentValidation is a privilege of its own. */
static RC need_bypass(struct cmd_req *r, struct identity_res res, struct err *e)
{
    if (!set(r->body, "bypassDocumentValidation"))
        return RC_OK;
    return need(r, res, ACT_BYPASS_DOCUMENT_VALIDATION, e);
}

RC cmd_check_privileges(struct cmd_req *r, struct err *e)
{
    const struct cmd_def *d = r->def;

    if (!r->node->auth_enabled)
        return RC_OK;
    switch (d->scope) {
    case CMD_SCOPE_NONE: break;
    case CMD_SCOPE_COLL: TRY(need(r, named(r, cmd_first(r)), (enum action)d->action, e)); break;
    case CMD_SCOPE_DB: TRY(need(r, RES_DB(r->db), (enum action)d->action, e)); break;
    case CMD_SCOPE_CLUSTER: TRY(need(r, RES_CLUSTER, (enum action)d->action, e)); break;
    }
    return d->auth ? d->auth(r, e) : RC_OK;
}

/* ---- Pipelines ---- */

static RC need_read(struct bval name, void *arg, struct err *e)
{
    struct cmd_req *r = arg;

    return need(r, named(r, name), ACT_FIND, e);
}

/* The collection that a stage that writes names: a string, or {db, coll}, perhaps in `into`. */
static struct identity_res written(struct cmd_req *r, struct bval spec)
{
    struct slice db = r->db, coll = SLICE_EMPTY;

    if (spec.type == BT_DOCUMENT && !bval_is_missing(bdoc_get(bval_doc(spec), "into")))
        spec = bdoc_get(bval_doc(spec), "into");
    if (spec.type == BT_STRING)
        coll = bval_str(spec);
    if (spec.type == BT_DOCUMENT) {
        struct bval d = bdoc_get(bval_doc(spec), "db"), n = bdoc_get(bval_doc(spec), "coll");
        if (d.type == BT_STRING && bval_str(d).len)
            db = bval_str(d);
        if (n.type == BT_STRING)
            coll = bval_str(n);
    }
    return RES_COLL(db, coll);
}

static RC need_written(struct cmd_req *r, struct bdoc stage, struct err *e)
{
    struct biter it;

    biter_init(&it, stage);
    while (biter_next(&it)) {
        bool out = slice_eq_str(it.name, "$out");

        if (!out && !slice_eq_str(it.name, "$merge"))
            continue;
        struct identity_res res = written(r, it.val);
        TRY(need(r, res, ACT_INSERT, e));
        TRY(need(r, res, out ? ACT_REMOVE : ACT_UPDATE, e));
        TRY(need_bypass(r, res, e));
    }
    return RC_OK;
}

/* Most pipelines read the collection that the command names; some begin with a stage that makes its own documents. */
static RC need_source(struct cmd_req *r, struct bval coll, struct bval stage, struct err *e)
{
    struct biter it;

    if (stage.type != BT_DOCUMENT)
        return need(r, named(r, coll), ACT_FIND, e);
    biter_init(&it, bval_doc(stage));
    if (!biter_next(&it))
        return need(r, named(r, coll), ACT_FIND, e);
    if (slice_eq_str(it.name, "$collStats"))
        return need(r, named(r, coll), ACT_COLL_STATS, e);
    if (slice_eq_str(it.name, "$indexStats"))
        return need(r, named(r, coll), ACT_INDEX_STATS, e);
    if (slice_eq_str(it.name, "$currentOp")) {
        if (it.val.type == BT_DOCUMENT && set(bval_doc(it.val), "allUsers"))
            return need(r, RES_CLUSTER, ACT_INPROG, e);
        return RC_OK;
    }
    /* what of others these two show is asked for where they are parsed */
    if (slice_eq_str(it.name, "$listLocalSessions") || slice_eq_str(it.name, "$listSessions") ||
        slice_eq_str(it.name, "$documents"))
        return RC_OK;
    return need(r, named(r, coll), ACT_FIND, e);
}

static RC need_pipeline(struct cmd_req *r, struct bval coll, struct bval stages, struct err *e)
{
    struct bval first = BVAL_MISSING;
    struct biter it;

    if (stages.type == BT_ARRAY) {
        biter_init(&it, bval_doc(stages));
        if (biter_next(&it))
            first = it.val;
    }
    TRY(need_source(r, coll, first, e));
    /* too many names can only ask for too much */
    TRY(cmd_foreign_each(stages, 0, need_read, r, e));
    if (stages.type != BT_ARRAY)
        return RC_OK;
    biter_init(&it, bval_doc(stages));
    while (biter_next(&it))
        if (it.val.type == BT_DOCUMENT)
            TRY(need_written(r, bval_doc(it.val), e));
    return RC_OK;
}

RC cmd__aggregate_auth(struct cmd_req *r, struct err *e)
{
    return need_pipeline(r, cmd_first(r), bdoc_get(r->body, "pipeline"), e);
}

RC cmd_view_privileges(struct cmd_req *r, struct bval view_on, struct bval stages, struct err *e)
{
    if (!r->node->auth_enabled ||
        !identity_allows(r->client->identity, named(r, cmd_first(r)), ACT_FIND))
        return RC_OK; /* who cannot read the view learns nothing by it */
    return need_pipeline(r, view_on, stages, e);
}

RC cmd__create_auth(struct cmd_req *r, struct err *e)
{
    struct bval view_on = bdoc_get(r->body, "viewOn");

    TRY(need(r, named(r, cmd_first(r)), ACT_CREATE_COLLECTION, e));
    if (view_on.type != BT_STRING)
        return RC_OK;
    return cmd_view_privileges(r, view_on, bdoc_get(r->body, "pipeline"), e);
}

/* ---- Writes ---- */

RC cmd__insert_auth(struct cmd_req *r, struct err *e)
{
    struct identity_res res = named(r, cmd_first(r));

    TRY(need(r, res, ACT_INSERT, e));
    return need_bypass(r, res, e);
}

RC cmd__update_auth(struct cmd_req *r, struct err *e)
{
    struct identity_res res = named(r, cmd_first(r));
    struct cmd_docs docs;
    struct bval u;

    TRY(need(r, res, ACT_UPDATE, e));
    cmd_docs_any(r, "updates", bdoc_get(r->body, "updates"), &docs);
    while (cmd_docs_next(&docs, &u))
        if (u.type == BT_DOCUMENT && set(bval_doc(u), "upsert")) {
            TRY(need(r, res, ACT_INSERT, e));
            break;
        }
    return need_bypass(r, res, e);
}

RC cmd__find_and_modify_auth(struct cmd_req *r, struct err *e)
{
    struct identity_res res = named(r, cmd_first(r));

    TRY(need(r, res, ACT_FIND, e));
    TRY(need(r, res, set(r->body, "remove") ? ACT_REMOVE : ACT_UPDATE, e));
    if (set(r->body, "upsert"))
        TRY(need(r, res, ACT_INSERT, e));
    return need_bypass(r, res, e);
}

/* ---- Others ---- */

RC cmd__clone_capped_auth(struct cmd_req *r, struct err *e)
{
    struct identity_res to = named(r, bdoc_get(r->body, "toCollection"));

    TRY(need(r, named(r, cmd_first(r)), ACT_FIND, e));
    TRY(need(r, to, ACT_INSERT, e));
    TRY(need(r, to, ACT_CREATE_INDEX, e));
    return need(r, to, ACT_CONVERT_TO_CAPPED, e);
}

RC cmd__auto_compact_auth(struct cmd_req *r, struct err *e)
{
    return need(r, RES_ANY_DB, ACT_COMPACT, e);
}

RC cmd__validate_metadata_auth(struct cmd_req *r, struct err *e)
{
    struct bval db = bdoc_get(r->body, "db"), coll = bdoc_get(r->body, "collection");

    return need(r, RES_COLL(name_of(db), name_of(coll)), ACT_VALIDATE, e);
}

/* ---- Cursors ---- */

void cmd_cursor_keep(struct cmd_req *r, struct cursor *c)
{
    c->user = cmd_user(r, c->arena);
    if (r->node->auth_enabled && r->n_seqs == 0)
        c->origin =
            (struct bdoc){ .p = arena_dup(c->arena, r->body.p, r->body.len), .len = r->body.len };
}

RC cmd_cursor_privileges(struct cmd_req *r, const struct cursor *c, struct err *e)
{
    struct cmd_req made = *r;
    struct biter it;

    if (!r->node->auth_enabled)
        return RC_OK;
    if (strcmp(c->user, cmd_user(r, r->arena)) != 0)
        FAIL(e, ERR_UNAUTHORIZED, "cursor id %lld was not created by the authenticated user",
             (long long)c->id);
    if (!c->origin.len)
        return RC_OK;
    biter_init(&it, c->origin);
    made.def = biter_next(&it) ? cmd_find(it.name) : NULL;
    INVARIANT(made.def); /* it ran once */
    made.body = c->origin;
    made.n_seqs = 0;
    return cmd_check_privileges(&made, e);
}
