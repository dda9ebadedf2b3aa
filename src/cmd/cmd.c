/* cmd.c - from a request to a reply: find the row, check state, authentication and privileges, run, and put the ending on.
 *
 * The order of checks is MongoDB's: an unknown command before anything else, then authentication, then the generic arguments, then the database that the
 * command may run on and the privileges, then the command's own arguments.
 */
#include "cmd_ops.h"

#include <stdlib.h>

#define AUTH_NONE .scope = CMD_SCOPE_NONE
#define AUTH_COLL(a) .scope = CMD_SCOPE_COLL, .action = (a)
#define AUTH_DB(a) .scope = CMD_SCOPE_DB, .action = (a)
#define AUTH_CLUSTER(a) .scope = CMD_SCOPE_CLUSTER, .action = (a)
#define AUTH_FN(f) .auth = (f)

static const struct cmd_def defs[] = {
#define COMMAND(id, name_, aliases_, flags_, auth_, help_)                                         \
    { .name = (name_),                                                                             \
      .aliases = (aliases_),                                                                       \
      .flags = (flags_),                                                                           \
      .help = (help_),                                                                             \
      .run = cmd__##id,                                                                            \
      auth_ },
#include "commands.def"
#undef COMMAND
};

static bool has_alias(const char *aliases, struct slice name)
{
    for (const char *p = aliases; p && *p;) {
        const char *end = strchrnul(p, ',');
        if (slice_eq(SLICE(p, (size_t)(end - p)), name))
            return true;
        p = *end ? end + 1 : end;
    }
    return false;
}

const struct cmd_def *cmd_find(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(defs); i++)
        if (slice_eq_str(name, defs[i].name) || has_alias(defs[i].aliases, name))
            return &defs[i];
    return NULL;
}

int cmd_count(void)
{
    return (int)ARRAY_LEN(defs);
}

static int cmp_defs(const void *a, const void *b)
{
    return strcmp((*(const struct cmd_def *const *)a)->name,
                  (*(const struct cmd_def *const *)b)->name);
}

static const struct cmd_def *sorted_defs[ARRAY_LEN(defs)];

static void sort_defs(void)
{
    for (size_t i = 0; i < ARRAY_LEN(defs); i++)
        sorted_defs[i] = &defs[i];
    qsort(sorted_defs, ARRAY_LEN(defs), sizeof(sorted_defs[0]), cmp_defs);
}

const struct cmd_def *cmd_at(int i)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, sort_defs);
    return sorted_defs[i];
}

static RC find_row(struct cmd_req *r, struct err *e)
{
    struct biter it;

    biter_init(&it, r->body);
    if (!biter_next(&it))
        FAIL(e, ERR_COMMAND_NOT_FOUND, "no such command: ''");
    r->def = cmd_find(it.name);
    if (!r->def || ((r->def->flags & CMD_TEST_ONLY) && !r->node->test_commands)) {
        r->def = NULL;
        FAIL(e, ERR_COMMAND_NOT_FOUND, "no such command: '%.*s'", (int)MIN(it.name.len, 100u),
             it.name.p);
    }
    return RC_OK;
}

static RC check_state(struct cmd_req *r, struct err *e)
{
    const struct node *n = r->node;

    if (atomic_load_explicit(&n->stopping, memory_order_relaxed) &&
        !(r->def->flags & CMD_SEALED_OK))
        FAIL(e, ERR_INTERRUPTED_AT_SHUTDOWN, "the node is shutting down");
    if (n->key && !(r->def->flags & CMD_SEALED_OK))
        TRY(n->key->check(n->key_ctx, e));
    return r->client ? cmd_client_check(r->client, e) : RC_OK;
}

static bool has_writing_stage(struct bval stages)
{
    struct biter it, stage;

    if (stages.type != BT_ARRAY)
        return false;
    biter_init(&it, bval_doc(stages));
    while (biter_next(&it)) {
        if (it.val.type != BT_DOCUMENT)
            continue;
        biter_init(&stage, bval_doc(it.val));
        if (biter_next(&stage) &&
            (slice_eq_str(stage.name, "$out") || slice_eq_str(stage.name, "$merge")))
            return true;
    }
    return false;
}

bool cmd_writes(const struct cmd_def *d, struct bdoc body)
{
    return (d->flags & CMD_WRITES) ||
           ((d->flags & CMD_STAGES_WRITE) && has_writing_stage(bdoc_get(body, "pipeline")));
}

static RC check_authenticated(struct cmd_req *r, struct err *e)
{
    if (!r->node->auth_enabled || (r->def->flags & CMD_NO_AUTH))
        return RC_OK;
    struct identity_session *s = r->client->identity;
    if (identity_is_authenticated(s) || identity_localhost_exception(s))
        return RC_OK;
    FAIL(e, ERR_UNAUTHORIZED, "Command %s requires authentication", r->def->name);
}

static RC check_database(struct cmd_req *r, struct err *e)
{
    if (slice_eq_str(r->db, "$external") && (r->def->flags & CMD_NO_AUTH))
        return RC_OK;
    TRY(catalog_db_check(r->db, e));
    if ((r->def->flags & CMD_ADMIN_ONLY) && !slice_eq_str(r->db, "admin"))
        FAIL(e, ERR_UNAUTHORIZED, "%s may only be run against the admin database.", r->def->name);
    return RC_OK;
}

static RC run(struct cmd_req *r, struct bw *w, struct err *e)
{
    TRY(find_row(r, e));
    if (r->wire == CMD_OP_QUERY && !(r->def->flags & CMD_SEALED_OK))
        FAIL(e, ERR_UNSUPPORTED_OP_QUERY_COMMAND,
             "Unsupported OP_QUERY command: %s. The client driver may require an upgrade.",
             r->def->name);
    TRY(check_state(r, e));
    TRY(check_authenticated(r, e));
    TRY(cmd_parse_generic(r, e));
    TRY(check_database(r, e));
    TRY(cmd_check_privileges(r, e));
    if (r->g.has_lsid && r->node->sessions)
        TRY(sessions_touch(r, r->g.lsid, e));
    r->admitted = true;
    cmd__op_begin(r);
    bool gated = !(r->def->flags & CMD_UNGATED) && cmd_writes(r->def, r->body), in = false;
    if (gated) {
        TRY(cmd__gate(r, &in, e));
        if (!in)
            return RC_OK; /* parked */
    }
    if (!(r->def->flags & CMD_COUNTED))
        atomic_fetch_add_explicit(&r->node->opcounters[NODE_OPCOUNTER_COMMAND], 1,
                                  memory_order_relaxed);
    struct bdoc body = r->body; /* a handler may point it at a copy, which its cursor owns */
    rc_t rc = r->def->run(r, w, e);
    r->body = body;
    if (in)
        node__write_leave(r->node);
    return rc;
}

void cmd_run(struct cmd_req *r, struct buf *out)
{
    struct err e = { 0 };
    size_t start = out->len;
    struct bw w;

    uint64_t since_us = cmd__op_since(r->client);
    if (since_us)
        r->start_us = since_us; /* it waited: its time goes on */
    if (!r->start_us)
        r->start_us = clock_mono_us();
    bw_init(&w, out);
    struct bdoc reply;
    if (!run(r, &w, &e).failed) {
        bw_double(&w, "ok", 1.0);
        reply = bw_finish(&w);
    } else {
        out->len = start;
        bw_init(&w, out);
        cmd_write_error(&e, &w);
        reply = bw_finish(&w);
        atomic_fetch_add_explicit(&r->node->n_errors, 1, memory_order_relaxed);
    }
    if (atomic_load_explicit(&r->node->n_profiled, memory_order_relaxed) > 0 &&
        !(r->client && r->client->parked))
        cmd_profiler_note(r, reply);
    cmd__op_end(r);
    err_reset(&e);
}
