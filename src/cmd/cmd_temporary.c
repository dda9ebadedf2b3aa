/* cmd_temporary.c - collections that are made under a name of their own and take the wanted one when they are whole: $out, copies.
 *
 * Such a one has the option `temp` and a name that begins with tmp.agg_out. or tmp.copy.: what a stop leaves of them goes when the node opens. The
 * option alone would not do, since a client may set it; nor the name, since a client may use it.
 */
#include "cmd_write.h"

#include "base/fault.h"

static const char *const prefixes[] = { [CMD_TEMPORARY_OUT] = "tmp.agg_out.",
                                        [CMD_TEMPORARY_COPY] = "tmp.copy." };

static struct bdoc with_temp(struct arena *a, struct bdoc options)
{
    AUTO(buf_fini) struct buf b = BUF_INIT;
    struct bw w;

    bw_init(&w, &b);
    bw_fields(&w, options);
    bw_bool(&w, "temp", true);
    return bw_done_arena(&w, a);
}

RC cmd_temporary_new(struct cmd_req *r, enum cmd_temporary kind, struct slice db,
                     struct bdoc options, struct cmd_ns *ns, struct catalog_coll **out,
                     struct err *e)
{
    AUTO(buf_fini) struct buf hex = BUF_INIT;
    uint8_t oid[12];

    oid_new(oid);
    for (size_t i = 0; i < sizeof(oid); i++)
        buf_printf(&hex, "%02x", oid[i]);
    ns->db = db;
    ns->coll = slice_str(arena_printf(r->arena, "%s%s", prefixes[kind], buf_cstr(&hex)));
    ns->ns = arena_printf(r->arena, "%.*s.%s", (int)db.len, (const char *)db.p,
                          (const char *)ns->coll.p);
    return coll_create(r->node->catalog, slice_str(ns->ns), with_temp(r->arena, options), out, e);
}

RC cmd_temporary_settle(struct cmd_req *r, struct catalog_coll *made, struct bdoc options,
                        struct slice ns, struct catalog_coll *target, struct err *e)
{
    TRY(store_sync(r->node->store, e));
    if (fault_hit("temporary.whole"))
        FAIL(e, ERR_IO, "could not go on with a copy");
    TRY(coll_set_options(made, options, e));
    return coll_rename(made, ns, target, e);
}

void cmd_temporary_drop(struct catalog_coll *made)
{
    struct err ignored = { 0 };

    if (coll_drop(made, &ignored).failed) /* it goes when the node opens the next time */
        err_reset(&ignored);
}

bool cmd_temporary_is(struct slice name, struct bdoc options)
{
    struct bval temp = bdoc_get(options, "temp");

    if (bval_is_missing(temp) || !bval_truthy(temp))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (slice_has_prefix(name, slice_str(prefixes[i])))
            return true;
    return false;
}
